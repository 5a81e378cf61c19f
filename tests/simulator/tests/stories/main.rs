//! The simulator judged by stories: what it lets through, and what it sends away.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod alerts;
mod assertions;
mod blobs;
mod consent;
mod export;
mod graph;
mod home;
mod machines;
mod queues;
mod scripts;
mod serving;
mod sign_in;
mod stage;
mod storage_stage;
mod tokens;

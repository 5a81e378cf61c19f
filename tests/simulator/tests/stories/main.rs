//! The simulator judged by stories: what it lets through, and what it sends away.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod alerts;
mod assertions;
mod consent;
mod graph;
mod machines;
mod serving;
mod sign_in;
mod stage;
mod tokens;

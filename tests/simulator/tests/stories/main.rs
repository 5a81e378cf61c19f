//! The simulator judged by stories: what it lets through, and what it sends away.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod alerts;
mod assertions;
mod serving;
mod stage;
mod tokens;

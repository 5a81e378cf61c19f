//! What no linter knows: rules of our own, read from the template.

mod columns;
pub mod functions;
mod iam;
mod lake;
mod public;
mod queues;
mod rotation;
mod schedules;
pub mod watching;

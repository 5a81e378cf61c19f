//! The single-machine host: the very same handlers as on AWS, on embedded ports, with a scheduler of its own.

pub mod accept;
pub mod connect;
pub mod demo;
pub mod doctor;
pub mod invite;
pub mod rotate;
pub mod serve;
pub mod tenants;
pub mod vault;
pub mod web;
pub mod worker;

/// A verb failed; the text is for the person at the keyboard.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Wrong usage or configuration: exit status 64.
    #[error("{0}")]
    Usage(String),
    /// It did not work: exit status 1.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    pub fn failed(cause: impl std::fmt::Display) -> Self {
        Self::Failed(cause.to_string())
    }
}

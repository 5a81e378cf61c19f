//! Telemetry: the network events that Defender's streaming API drops into a tenant's storage account.

pub mod blob;
pub mod check;
mod commit;
pub mod drain;
pub mod event;
mod hint;
pub mod line;
pub mod marks;
pub mod progress;

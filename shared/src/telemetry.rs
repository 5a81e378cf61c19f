//! Telemetry: the network events that Defender's streaming API drops into a tenant's storage account.

pub mod check;
pub mod drain;
pub mod event;
pub mod line;

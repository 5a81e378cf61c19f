//! Telemetry: the network events that Defender's streaming API drops into a tenant's storage account.

pub mod drain;

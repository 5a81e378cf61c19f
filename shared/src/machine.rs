//! Machines: a tenant's device inventory from Defender's `/api/machines`, as OCSF events of what changed.

pub mod pull;

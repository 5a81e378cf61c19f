//! `muster accept`: the operator's word that machines which vanished in a crowd are gone indeed.

use shared::{
    App,
    audit::Actor,
    machine::accept::{Accepted, accept},
    tenant::TenantId,
};

use crate::Failure;

/// # Errors
/// [`Failure`] when the tenant's machines are not ours to speak of, or the platform fails; nothing is changed then.
pub async fn run(app: &App, tenant: TenantId) -> Result<(), Failure> {
    match accept(app, tenant, &Actor::CommandLine).await.map_err(Failure::failed)? {
        Accepted::Machines(machines) => {
            eprintln!("{machines} machines of {tenant} are let go, each as soon as Defender does not know it either.");
            Ok(())
        }
        Accepted::Nothing => {
            eprintln!("No machine of {tenant} is held back.");
            Ok(())
        }
        Accepted::NotHere => Err(Failure::failed(format!(
            "{tenant} is not connected, or without the feed machines; `muster tenants` lists who is"
        ))),
    }
}

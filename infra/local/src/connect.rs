//! `muster connect`: the operator vouches for a tenant, Microsoft proves it.

use shared::{
    App,
    consent::connect::{ConnectError, NewConnection, connect},
    tenant::account,
};

use crate::Failure;

/// # Errors
/// [`Failure`] with the next step in words; nothing is bound then.
pub async fn run(app: &App, new: &NewConnection) -> Result<(), Failure> {
    account::name(&new.account).map_err(|error| Failure::Usage(format!("--account: {error}")))?;
    let connection = connect(app, new).await.map_err(|error| match error {
        ConnectError::Unsupported(_) => Failure::Usage(error.to_string()),
        other => Failure::failed(format!("{} is not connected. {other}", new.tenant_id)),
    })?;
    eprintln!(
        "{} is connected to the account {}; its alerts flow from the next tick on.",
        connection.tenant_id, connection.account
    );
    Ok(())
}

//! An operator vouches for the person who signed in, where nothing says that they are an administrator.

use super::{
    Connection, State, TenantId,
    change::{ChangeError, known},
    dispatch,
};
use crate::{
    App,
    audit::{Action, Actor},
    consent::connect::{NewConnection, SOMEBODY_ELSE, Word, take_in},
};

/// Proves access, binds the tenant, spends the invitation, and begins the first pull. `seen` is the object id of the person
/// whom the operator was shown; whoever has signed in since is not vouched for.
///
/// # Errors
/// [`ChangeError`]; the tenant waits on then.
pub async fn confirm(app: &App, tenant: TenantId, seen: Option<&str>, by: &Actor) -> Result<Connection, ChangeError> {
    let claim = known(app, tenant).await?.connection;
    if claim.state != State::Confirming {
        return Err(ChangeError::Refused(not_waiting(claim.state).to_owned()));
    }
    let person = claim.consent_for(&claim.account).map_or("whoever signed in", |consent| consent.name.as_str());
    let detail = format!("Vouched for {person}.");
    let new = NewConnection {
        tenant_id: tenant,
        account: claim.account.clone(),
        feeds: claim.feeds.keys().copied().collect(),
        region: claim.region,
        storage: claim.storage.clone(),
    };
    let oid = claim.consent_for(&claim.account).map(|consent| consent.oid.clone());
    if seen.is_some() && seen != oid.as_deref() {
        return Err(ChangeError::Refused(SOMEBODY_ELSE.to_owned()));
    }
    let word = Word { action: Action::Confirmed, detail, vouching_for: oid };
    let connection = take_in(app, &new, by, &word).await?;
    if let Err(error) = dispatch::at_once(&app.ports.queues, &connection, app.clock.now()).await {
        tracing::warn!(tenant.id = %tenant, %error, "the first pull waits for the next tick");
    }
    Ok(connection)
}

fn not_waiting(state: State) -> &'static str {
    match state {
        State::Active => "the tenant is connected already, so there is nothing to confirm",
        State::Propagating => {
            "an administrator approved, and Microsoft is still spreading that; there is nothing to confirm"
        }
        State::Invited | State::Consenting => "nobody of the tenant has signed in yet, so there is nobody to vouch for",
        State::NeedsConsent => "the tenant's administrator has to approve; send an invitation",
        State::Unlicensed | State::Blocked => "the person is known; what is missing is the customer's to mend first",
        State::CredentialFault => "the person is known; what is missing is our own credential",
        State::Confirming | State::Removed => "the tenant is not waiting for anybody's word",
    }
}

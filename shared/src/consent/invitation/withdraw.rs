//! Taking an invitation back before anybody has used it.

use uuid::Uuid;

use super::{Invitation, InvitationState, put, read};
use crate::{
    App,
    audit::{Action, Actor, Entry},
    ports::store::{Expect, StoreError},
    tenant::TenantId,
};

/// Whoever loses the race for an invitation reads it again: then it is used, and the answer another one.
const TRIES: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum WithdrawError {
    #[error("there is no such invitation, or it was over so long ago that its record is gone")]
    Unknown,
    #[error(
        "the invitation has been used already, by the tenant {0}; to end that tenant's connection, remove the tenant"
    )]
    Used(TenantId),
    #[error("the invitation has expired already; nobody can use it any more")]
    Expired,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// From now on the link leads to a page that says so. One that is withdrawn already stays so.
///
/// # Errors
/// [`WithdrawError`]; nothing is changed then.
pub async fn withdraw(app: &App, id: Uuid, by: &Actor) -> Result<Invitation, WithdrawError> {
    let store = app.ports.store.as_ref();
    for _ in 0..TRIES {
        let now = app.clock.now();
        let (invitation, version) = read(store, id).await?.ok_or(WithdrawError::Unknown)?;
        match invitation.state(now) {
            InvitationState::Open => {}
            InvitationState::Withdrawn { .. } => return Ok(invitation),
            InvitationState::Used(used) => return Err(WithdrawError::Used(used.tenant_id)),
            InvitationState::Expired => return Err(WithdrawError::Expired),
        }
        let withdrawn = Invitation { withdrawn_at: Some(now), ..invitation };
        let entry = Entry::new(now, by, Action::InvitationWithdrawn).of_account(&withdrawn.account);
        let made = withdrawn.created_at.strftime("%Y-%m-%d %H:%M UTC");
        let entry = entry.saying(format!("The one made on {made}."));
        match store.commit(vec![put(&withdrawn, Expect::Version(version))?, entry.write()?]).await {
            Ok(()) => return Ok(withdrawn),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}

//! Telemetry: the network events that Defender's streaming API drops into a tenant's storage account.

mod batch;
pub mod blob;
pub mod check;
mod commit;
pub mod drain;
pub mod event;
mod hint;
pub mod line;
pub mod marks;
mod news;
pub mod progress;

pub use progress::outlives_removal;

use crate::{
    App,
    microsoft::{
        storage::{Account, Wire},
        token::TokenError,
        tokens::ApplicationName,
    },
    record::CommitError,
    storage::Storage,
    tenant::{State, TenantId},
};

/// Lets go of the state of a removed tenant, but for the registry of its blobs, by which a return goes on where it was.
/// How many items it was.
///
/// # Errors
/// [`CommitError::Conflict`] when somebody else wrote first.
pub async fn leave(app: &App, tenant: TenantId) -> Result<usize, CommitError> {
    match commit::Desk::open(app, tenant).await? {
        Some(desk) if desk.state.connection.state == State::Removed => desk.leave().await.map(usize::from),
        _ => Ok(0),
    }
}

/// A tenant's storage, asked in the name of this application.
async fn open_account(
    app: &App,
    tenant: TenantId,
    application: &ApplicationName,
    storage: &Storage,
) -> Result<Account, TokenError> {
    let wire = Wire {
        http: app.http.clone(),
        tokens: app.tokens.clone(),
        clock: app.clock.clone(),
        tenant,
        application: application.clone(),
    };
    Account::open(wire, &app.config, storage).await
}

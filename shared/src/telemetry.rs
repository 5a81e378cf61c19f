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

use crate::{
    App,
    microsoft::{
        storage::{Account, Wire},
        token::TokenError,
        tokens::ApplicationName,
    },
    storage::Storage,
    tenant::TenantId,
};

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

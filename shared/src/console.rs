//! The console: how operators see and change everything without a shell, and scripts by its API.
//!
//! `answer` is the operation, one request at a time. `sign_in` lets people in and `session` knows them again; `page` is
//! what they see, `api` what scripts call. Both are thin: what is done is done by the operations of the other modules,
//! which pages and API call alike.

mod api;
mod application;
mod page;
mod session;
mod sign_in;

use std::sync::Arc;

use jiff::SignedDuration;

use crate::{
    App,
    credential::renewal,
    microsoft::token::TokenError,
    ports::store::StoreError,
    random::NoRandomness,
    sign_in::NotIdentified,
    signing::{NoSigningKey, SigningKeys},
    web,
};

pub use api::KnownKeys;
pub use session::Role;
pub use sign_in::CALLBACK;

/// Our own trouble. The person is asked to come back, the cause goes to the log.
#[derive(Debug, thiserror::Error)]
enum Broken {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    SigningKey(#[from] NoSigningKey),
    #[error("the console's application cannot be used: {0}")]
    Application(TokenError),
    #[error("the console's application has no home tenant: {0}")]
    Home(String),
    #[error(transparent)]
    Entra(NotIdentified),
    #[error("MUSTER_PUBLIC_URL is not set")]
    NoPublicUrl,
    #[error(transparent)]
    Random(#[from] NoRandomness),
    #[error("{0}")]
    Operation(String),
}

impl From<renewal::Broken> for Broken {
    fn from(broken: renewal::Broken) -> Self {
        Self::Operation(broken.to_string())
    }
}

async fn signing_keys(app: &App) -> Result<Arc<SigningKeys>, NoSigningKey> {
    app.signing.load(app.ports.vault.as_ref(), &app.config.secrets_prefix, app.clock.now()).await
}

/// Answers one request in the time that is left: with a page, or below `/api/` with JSON.
pub async fn answer(app: &App, request: &web::Request, left: SignedDuration) -> web::Response {
    let began = app.clock.now();
    let is_api = request.path.starts_with("/api/");
    let answered = app.clock.within(left, async {
        if is_api { api::answer(app, request).await } else { page::answer(app, request).await }
    });
    let broken = match answered.await {
        Some(Ok(response)) => {
            let (status, duration_ms) = (response.status, app.clock.milliseconds_since(began));
            // Addresses hold ids of customers' tenants, and nothing secret; queries may hold codes.
            tracing::debug!(request.id, method = request.method, status, duration_ms, "the console has answered");
            return response;
        }
        Some(Err(broken)) => broken,
        None => Broken::Operation("it was not there in time".to_owned()),
    };
    tracing::error!(request.id, error = %broken, "the console cannot answer");
    if is_api { api::out_of_order(request) } else { page::out_of_order(app, request) }
}

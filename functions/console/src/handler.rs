//! `console`: the pages of operators, and the API of their scripts.
//!
//! - **Trigger**: HTTP (API Gateway payload 2.0): everything that is not the consent's.
//! - **Reads**: all state; the vault's signing keys and applications; Entra's discovery, keys and tokens; Defender and
//!   storage where access is proven.
//! - **Writes**: accounts, invitations, connections, sessions that ended, the audit trail; applications of tenants' own in
//!   the vault; messages to the queues; of a tenant that is removed, what workers have left open in the lake.
//! - **Idempotency**: every change is one transaction over what was read; a form or a call that comes twice finds it done.
//! - **On failure**: a page or a problem with the one next step. State changes whole or not at all; a removal, or an application
//!   being saved, that is cut off between vault and state is completed by asking for it again.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use jiff::SignedDuration;
use shared::App;

/// Answers one request in the time that is left.
pub async fn handle(app: &App, event: ApiGatewayV2httpRequest, left: SignedDuration) -> ApiGatewayV2httpResponse {
    shared::console::answer(app, &event.into(), left).await.into()
}

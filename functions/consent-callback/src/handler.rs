//! `consent-callback`: the pages on which a tenant's administrator lets us in.
//!
//! - **Trigger**: HTTP (API Gateway payload 2.0): `/connect/{invitation}`, `/connect/{invitation}/start`, `/consent/callback`.
//! - **Reads**: invitations, consent attempts, connections; the vault; Entra's discovery, keys and tokens; Defender once.
//! - **Writes**: the attempt, the invitation's use, the connection with its evidence, the trail; the first messages to
//!   the queues.
//! - **Idempotency**: every `state` and every code is good once; the binding is one transaction that spends the invitation.
//! - **On failure**: a page with the one next step, also when time runs out; nothing is bound unless everything is proven,
//!   and then all at once.

use aws_lambda_events::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use jiff::SignedDuration;
use shared::{App, consent};

/// Answers one request of a browser in the time that is left.
pub async fn handle(app: &App, event: ApiGatewayV2httpRequest, left: SignedDuration) -> ApiGatewayV2httpResponse {
    consent::answer(app, &event.into(), left).await.into()
}

//! Whether we have access to a tenant: a token with the right roles, then one real call.

use jiff::SignedDuration;

use super::{Ability, Condition, TenantId};
use crate::{
    App,
    config::Region,
    microsoft::{
        defender::{ALERT_ROLES, AlertsQuery, Refusal, alerts_request, refusal},
        token::AccessToken,
        tokens::ApplicationName,
    },
};

/// What the tenant let us do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// Access is proven. `roles` are those of our token, where it can be read.
    Proven { condition: Condition, roles: Vec<String> },
    /// Not, or not yet; the condition says why and who must act.
    NotYet(Condition),
}

/// Asks for a token afresh, looks at its roles, and calls Defender once. A throttled call was let in, so it proves
/// access too.
pub async fn prove(app: &App, tenant: TenantId, application: &ApplicationName, region: Option<Region>) -> Proof {
    let token = match app.tokens.defender(tenant, application, true).await {
        Ok(token) => token,
        Err(error) => {
            return Proof::NotYet(Condition::from_token_error(&error, &ALERT_ROLES));
        }
    };
    if !token.has_any(&ALERT_ROLES) {
        return Proof::NotYet(Condition::role_missing(&ALERT_ROLES));
    }
    match call_once(app, region, &token).await {
        Ok(condition) => Proof::Proven { condition, roles: token.roles.clone().unwrap_or_default() },
        Err(condition) => Proof::NotYet(condition),
    }
}

async fn call_once(app: &App, region: Option<Region>, token: &AccessToken) -> Result<Condition, Condition> {
    let now = app.clock.now();
    let after = now.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(now);
    let query = AlertsQuery { after, until: now, top: 1, skip: 0, evidence: false };
    let mut request = alerts_request(&app.config.defender(region), &query);
    request.bearer = Some(token.bearer.clone());
    let response = app.http.send(request).await.map_err(|error| {
        Condition::failing(format!("Defender could not be reached ({error}); check MUSTER_DEFENDER_URL and try again."))
    })?;
    if response.status == 200 {
        return Ok(Condition::ok());
    }
    let (status, retry_after) = (response.status, response.header("retry-after").map(str::to_owned));
    let body = response.body.small(&app.clock).await.unwrap_or_default();
    match refusal(status, retry_after.as_deref(), &body) {
        Refusal::Throttled { pause } => Ok(Condition { ability: Ability::Throttled, ..Condition::throttled(pause) }),
        Refusal::Unauthorized { message } => Err(Condition::unauthorized(&message)),
        Refusal::Forbidden { code, message } => Err(Condition::from_forbidden(&code, &message, &ALERT_ROLES)),
        Refusal::NotFound => Err(Condition::no_such_api()),
        Refusal::BadRequest { message } | Refusal::Unavailable { message } => {
            Err(Condition::failing(format!("Defender did not answer properly ({message}); try again in a minute.")))
        }
    }
}

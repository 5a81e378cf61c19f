//! Whether we have access to a tenant: for each feed a token with the right role, then one real call.

use std::collections::BTreeMap;

use futures::future::join_all;
use jiff::SignedDuration;

use super::{
    Ability, Condition, Feed, TenantId,
    missing::{Field, Missing},
};
use crate::{
    App,
    cloud::Region,
    http::Request,
    microsoft::{
        defender::{AlertsQuery, Refusal, alerts_request, first_machine_request, is_error, refusal},
        token::{AccessToken, TokenError},
        tokens::ApplicationName,
    },
    storage::Storage,
    telemetry::check::{self, StorageCheck},
};

/// Who is asked, and as whom.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub tenant: TenantId,
    pub application: &'a ApplicationName,
    pub region: Option<Region>,
    pub storage: Option<&'a Storage>,
}

/// What one feed let us do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub condition: Condition,
    /// Entra takes the credential, whatever the feed says.
    pub has_token: bool,
    pub is_proven: bool,
    /// Nothing where access is proven.
    pub missing: Vec<Missing>,
}

impl Found {
    fn proven(condition: Condition) -> Self {
        Self { condition, has_token: true, is_proven: true, missing: Vec::new() }
    }

    /// The condition says why and who must act.
    fn not_yet(feed: Feed, field: Field, condition: Condition) -> Self {
        let missing = vec![Missing::of_feed(feed, field, &condition.next_step)];
        Self { missing, condition, has_token: false, is_proven: false }
    }

    /// The credential is good, and does not open this feed.
    fn refused(feed: Feed, condition: Condition) -> Self {
        Self { has_token: true, ..Self::not_yet(feed, Field::Feeds, condition) }
    }

    fn no_token(feed: Feed, error: &TokenError) -> Self {
        let condition = Condition::from_token_error(error, feed);
        let missing = vec![Missing::of_token(feed, error, &condition.next_step)];
        Self { missing, condition, has_token: false, is_proven: false }
    }
}

/// What the tenant let us do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    pub feeds: BTreeMap<Feed, Found>,
    /// Those of our token for Defender, where it can be read.
    pub roles: Vec<String>,
}

impl Proof {
    /// None of these feeds is proven, for this reason.
    pub fn not_yet(feeds: &[Feed], condition: &Condition) -> Self {
        let feeds = feeds.iter().map(|feed| (*feed, Found::not_yet(*feed, Field::Feeds, condition.clone()))).collect();
        Self { feeds, roles: Vec::new() }
    }

    /// Whether the tenant is proven to be ours to read: by one of Defender's feeds, or by telemetry where that is all.
    pub fn is_proven(&self) -> bool {
        let alone = self.feeds.keys().all(|feed| *feed == Feed::Telemetry);
        self.feeds.iter().any(|(feed, found)| found.is_proven && (alone || *feed != Feed::Telemetry))
    }

    /// Whether Entra gives tokens for what was tried, and that is all there is to say of it.
    pub fn has_token(&self) -> bool {
        self.feeds.values().any(|found| found.has_token)
    }

    /// Everything that is missing, feed by feed.
    pub fn missing(&self) -> Vec<Missing> {
        self.feeds.values().flat_map(|found| found.missing.iter().cloned()).collect()
    }

    pub fn conditions(&self) -> BTreeMap<Feed, Condition> {
        self.feeds.iter().map(|(feed, found)| (*feed, found.condition.clone())).collect()
    }
}

/// Asks for a token afresh, looks at its roles, and makes one real call for each feed. A throttled call was let in, so it
/// proves access too.
pub async fn prove(app: &App, subject: &Subject<'_>, feeds: &[Feed]) -> Proof {
    let token = if feeds.iter().any(|feed| *feed != Feed::Telemetry) {
        Some(app.tokens.defender(subject.tenant, subject.application, true).await)
    } else {
        None
    };
    let found = join_all(feeds.iter().map(|feed| async {
        let found = match &token {
            Some(token) if *feed != Feed::Telemetry => prove_defender(app, subject, *feed, token).await,
            _ => prove_storage(app, subject).await,
        };
        (*feed, found)
    }))
    .await;
    let roles = token.and_then(Result::ok).and_then(|token| token.roles.clone()).unwrap_or_default();
    let mut proof = Proof { feeds: found.into_iter().collect(), roles };
    if !proof.is_proven() {
        proof.roles.clear();
    }
    proof
}

async fn prove_defender(
    app: &App,
    subject: &Subject<'_>,
    feed: Feed,
    token: &Result<std::sync::Arc<AccessToken>, TokenError>,
) -> Found {
    let token = match token {
        Ok(token) => token,
        Err(error) => return Found::no_token(feed, error),
    };
    if !token.has_any(feed.roles()) {
        return Found::refused(feed, Condition::role_missing(feed));
    }
    match call_once(app, subject.region, feed, token).await {
        Ok(condition) => Found::proven(condition),
        Err(condition) => Found::refused(feed, condition),
    }
}

async fn call_once(app: &App, region: Option<Region>, feed: Feed, token: &AccessToken) -> Result<Condition, Condition> {
    let mut request = smallest_request(app, region, feed);
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
        Refusal::Forbidden { code, message } => Err(Condition::from_forbidden(&code, &message, feed)),
        // An empty inventory, as it is documented; any other server's 404 is none.
        Refusal::NotFound if feed == Feed::Machines && is_error(&body) => Ok(Condition::ok()),
        Refusal::NotFound => Err(Condition::no_such_api(feed)),
        Refusal::BadRequest { message } | Refusal::Unavailable { message } => {
            Err(Condition::failing(format!("Defender did not answer properly ({message}); try again in a minute.")))
        }
    }
}

fn smallest_request(app: &App, region: Option<Region>, feed: Feed) -> Request {
    let base = app.config.defender(region);
    if feed == Feed::Machines {
        return first_machine_request(&base);
    }
    let now = app.clock.now();
    let after = now.saturating_sub(SignedDuration::from_secs(1)).unwrap_or(now);
    alerts_request(&base, &AlertsQuery { after, until: now, top: 1, skip: 0, evidence: false })
}

/// Each right on the storage account and its queue is tried. That the export has not begun yet is no lack of a right.
async fn prove_storage(app: &App, subject: &Subject<'_>) -> Found {
    let Some(storage) = subject.storage else {
        let condition = Condition::not_configured(
            "Operator: say where the telemetry is, with `muster connect TENANT_ID --storage ACCOUNT/QUEUE`.",
        );
        return Found::not_yet(Feed::Telemetry, Field::StorageAccount, condition);
    };
    match check::check(app, subject.tenant, subject.application, storage).await {
        Ok(check) => found_of(&check),
        Err(error) => Found::no_token(Feed::Telemetry, &error),
    }
}

fn found_of(check: &StorageCheck) -> Found {
    let missing: Vec<&check::Finding> = check.findings.iter().filter(|finding| !finding.is_granted()).collect();
    if let Some(first) = missing.first() {
        let sentences: Vec<String> = missing.iter().map(|finding| finding.next_step.clone()).collect();
        let condition = match first.ability {
            Ability::Failing => Condition::failing(sentences.join(" ")),
            ability => Condition { ability, ..Condition::storage_refused(sentences.join(" ")) },
        };
        let missing =
            missing.iter().map(|finding| Missing::of_feed(Feed::Telemetry, finding.field, &finding.next_step));
        let mut missing: Vec<Missing> = missing.collect();
        // A firewall keeps us out whatever right is tried.
        missing.dedup();
        return Found { condition, has_token: true, is_proven: false, missing };
    }
    let waiting = check.findings.iter().find(|finding| finding.ability == Ability::NotConfigured);
    Found::proven(waiting.map_or_else(Condition::ok, |finding| Condition::not_configured(finding.next_step.clone())))
}

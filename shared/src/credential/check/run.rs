//! Gathers what [`examine`] decides about, entry by entry, and removes what nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

use futures::{FutureExt, StreamExt, stream};
use jiff::{SignedDuration, Timestamp};

use super::{
    CheckEvent, Finding, Kind, Report, Severity,
    examine::{Access, Facts, Listing, examine},
    told::{News, news},
};
use crate::{
    App,
    audit::{Action, Actor, Entry},
    credential::{
        Application,
        directory::{Directory, home_token},
        entry,
        name::{EntryKind, EntryName},
        ownership::Holding,
        read, renewal,
        rotation::{RotationError, Tidied, tidy},
        status::{self, Status},
    },
    microsoft::{
        entra::Refusal,
        graph::{self, GraphError},
        token::{AccessToken, TokenError},
    },
    ports::{
        store::{Expect, StoreError},
        vault::{Stage, VaultError},
    },
    tenant::{TenantId, list},
};

/// How often replicas are asked before their answer counts, and how far apart.
const ATTEMPTS: u32 = 3;
const REREAD: SignedDuration = SignedDuration::from_secs(5);
/// Entries looked at in parallel: one in trouble mostly waits.
const AT_ONCE: usize = 8;
/// All that one entry gets, so that a service which never answers for it takes nothing from the others.
const SHARE: SignedDuration = SignedDuration::from_mins(2);

/// Looks at every entry of the vault, first at who was looked at longest ago. One that fails is a finding and never stops the
/// others. Whatever is asked and does not answer, all is over when that much time has passed.
///
/// # Errors
/// When the vault does not even list its entries.
pub async fn check(app: &App, _: &CheckEvent, left: SignedDuration) -> Result<Report, VaultError> {
    let (prefix, began) = (&app.config.secrets_prefix, app.clock.now());
    let until = began.saturating_add(left).unwrap_or(Timestamp::MAX);
    let before = known(app).await;
    let names = in_turn(app.ports.vault.list(&format!("{prefix}/")).await?, prefix, &before);
    let looks = names.iter().enumerate().map(|(place, (short, name))| {
        let look = look_in_time(app, name, short, before.get(short), until);
        look.map(move |looked| (place, looked)).boxed()
    });
    let looks = stream::iter(looks.collect::<Vec<_>>()).buffer_unordered(AT_ONCE);
    let looked: BTreeMap<usize, Looked> = looks.collect().await;
    let mut report = Report::default();
    for looked in looked.into_values() {
        report.checked += usize::from(looked.is_checked);
        report.first_end = report.first_end.into_iter().chain(looked.ends).min();
        report.due.extend(looked.due);
        report.findings.extend(looked.findings);
    }
    forget_the_gone(app, &names.iter().map(|(short, _)| short.as_str()).collect(), began).await;
    report.findings.iter().for_each(tell);
    let (findings, duration_ms) = (report.findings.len(), app.clock.milliseconds_since(began));
    tracing::info!(checked = report.checked, findings, due = ?report.due, duration_ms, "credentials are checked");
    Ok(report)
}

/// The entries to look at, each after what people call it: who was never looked at, then who was longest ago.
fn in_turn(all: Vec<String>, prefix: &str, before: &BTreeMap<String, Status>) -> Vec<(String, EntryName)> {
    let named = all.iter().filter_map(|full| EntryName::parse(full, prefix));
    let named = named.filter(|name| name.kind != EntryKind::Signing);
    let mut names: Vec<_> = named.map(|name| (name.short(prefix).to_owned(), name)).collect();
    names.sort_by_key(|(short, _)| before.get(short).map(|status| status.checked_at));
    names
}

/// What a look at one entry has shown.
struct Looked {
    /// There was time for it.
    is_checked: bool,
    findings: Vec<Finding>,
    ends: Option<Timestamp>,
    /// Its name, if its rotation is due.
    due: Option<String>,
}

async fn look_in_time(app: &App, name: &EntryName, short: &str, before: Option<&Status>, until: Timestamp) -> Looked {
    let now = app.clock.now();
    let until = until.min(now + SHARE);
    let looked = async {
        complete_renewal(app, name).await;
        look(app, name, short, until).await
    };
    if now < until
        && let Some(looked) = app.clock.within(until.duration_since(now), looked).await
    {
        return looked;
    }
    let text = "There was too little time for this entry, so it is looked at before the others tomorrow.".to_owned();
    let finding = Finding::of(name, short, Kind::NotChecked, Severity::Warning, text);
    let ends = before.and_then(|status| status.expires_at);
    Looked { is_checked: false, findings: vec![finding], ends, due: None }
}

/// Looks at one entry, and writes down what people are shown of it.
async fn look(app: &App, name: &EntryName, short: &str, until: Timestamp) -> Looked {
    let (before, expect) = match status::as_read(app.ports.store.as_ref(), short).await {
        Ok((before, expect)) => (before, Some(expect)),
        Err(error) => {
            tracing::warn!(vault.name = short, %error, "what was known of a credential before cannot be read");
            (None, None)
        }
    };
    let before = before.unwrap_or_else(|| Status::new(short, None, Timestamp::MIN));
    let facts = gather(app, name, short, &before, until).await;
    let now = app.clock.now();
    let is_unknown = |kind: Kind| facts.as_ref().map_or(true, |facts| facts.is_unknown(kind));
    let (stored, ends, (mut findings, is_due)) = match &facts {
        Ok(facts) => (Some(facts.holding.current.clone()), facts.end(), examine(facts, now)),
        Err(error) => {
            // Whatever went wrong must not hide when the credential ends.
            let stored = read::current(app, &name.full).await.ok();
            let ends = stored.as_ref().and_then(|entry| entry.expires_at).or(before.expires_at);
            (stored, ends, (vec![failed(name, error, short)], false))
        }
    };
    let news = news(&before.told, &findings, is_unknown, now);
    for place in &news.new {
        findings[*place].is_new = true;
    }
    let warnings = warnings(&before, &findings, is_unknown);
    let entries = entries(name, short, &findings, &news, now);
    let status = Status::new(short, stored.as_ref(), now);
    let status = Status { expires_at: ends, warnings, told: news.told, rotated_to: before.rotated_to, ..status };
    if let Some(expect) = expect {
        keep(app, &status, expect, &entries).await;
    }
    Looked { is_checked: true, findings, ends, due: is_due.then(|| name.full.clone()) }
}

/// What people are shown: today's findings, and of what could not be judged today those of before.
fn warnings(before: &Status, findings: &[Finding], is_unknown: impl Fn(Kind) -> bool) -> BTreeMap<Kind, String> {
    let quiet = [Kind::Expiry, Kind::UnknownEnd];
    let is_shown = |finding: &&Finding| finding.severity >= Severity::Warning || quiet.contains(&finding.kind);
    let stands = before.warnings.iter().filter(|(kind, _)| is_unknown(**kind));
    let stands = stands.map(|(kind, text)| (*kind, text.clone()));
    stands.chain(findings.iter().filter(is_shown).map(|finding| (finding.kind, finding.text.clone()))).collect()
}

async fn complete_renewal(app: &App, name: &EntryName) {
    let EntryKind::Tenant(tenant) = name.kind else { return };
    if let Err(error) = renewal::complete(app, tenant).await {
        tracing::warn!(tenant.id = %tenant, %error, "whether a renewal broke off is looked at again tomorrow");
    }
}

/// What was known of each entry before. Without it everything is news, which is better than nothing.
async fn known(app: &App) -> BTreeMap<String, Status> {
    status::all(app.ports.store.as_ref()).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "what was known of credentials before cannot be read");
        BTreeMap::new()
    })
}

/// What the trail is told of one entry.
fn entries(name: &EntryName, short: &str, findings: &[Finding], news: &News, now: Timestamp) -> Vec<Entry> {
    let new = news.new.iter().map(|place| findings[*place].text.as_str());
    let told = new.chain(news.over.iter().map(|kind| kind.over()));
    let entry = |text: &str| {
        let entry = Entry::new(now, &Actor::Muster, Action::CredentialWarned).saying(format!("{short}: {text}"));
        match name.kind {
            EntryKind::Tenant(tenant) => entry.of_tenant(tenant),
            _ => entry,
        }
    };
    told.map(entry).collect()
}

/// Writes down what people are shown, and tells the trail what is news in the same transaction. Whoever saves the same
/// application at this moment knows as much; what was news then is so tomorrow.
async fn keep(app: &App, status: &Status, expect: Expect, entries: &[Entry]) {
    let store = app.ports.store.as_ref();
    let kept = async {
        let mut writes = entries.iter().map(Entry::write).collect::<Result<Vec<_>, _>>()?;
        writes.push(status.put(expect));
        store.commit(writes).await
    };
    match kept.await {
        Ok(()) | Err(StoreError::Conflict) => {}
        Err(error) => {
            tracing::warn!(vault.name = status.name, %error, "what is known of a credential is not written down")
        }
    }
}

/// Forgets what is no longer in the vault; not what has come since it was listed.
async fn forget_the_gone(app: &App, listed: &BTreeSet<&str>, began: Timestamp) {
    let store = app.ports.store.as_ref();
    let forgotten = async {
        let known = status::all(store).await?.into_values();
        for gone in known.filter(|status| !listed.contains(status.name.as_str()) && status.checked_at < began) {
            if let Some(write) = status::forget(store, &gone.name, app.clock.now()).await? {
                store.commit(vec![write]).await?;
            }
        }
        Ok::<_, StoreError>(())
    };
    if let Err(error) = forgotten.await {
        tracing::warn!(%error, "what is known of credentials that are gone is not cleared away");
    }
}

fn failed(name: &EntryName, error: &RotationError, short: &str) -> Finding {
    let (kind, severity) = match error {
        RotationError::Unusable { .. } => (Kind::Unusable, Severity::Critical),
        _ => (Kind::NotChecked, Severity::Warning),
    };
    let text = format!("{error}. {}", error.next_step(short, &name.full));
    Finding::of(name, short, kind, severity, text)
}

fn tell(finding: &Finding) {
    let Finding { vault, kind, severity, text, .. } = finding;
    match severity {
        Severity::Critical => tracing::error!(vault.name = vault, finding = ?kind, "{text}"),
        Severity::Warning => tracing::warn!(vault.name = vault, finding = ?kind, "{text}"),
        Severity::Notice => tracing::info!(vault.name = vault, finding = ?kind, "{text}"),
    }
}

async fn gather(
    app: &App,
    name: &EntryName,
    short: &str,
    before: &Status,
    until: Timestamp,
) -> Result<Facts, RotationError> {
    let holding = read::holding(app, &name.full, false).await?;
    // What was found out before counts as long as it was of the same credential.
    let stored =
        holding.description.version(Stage::Current).and_then(|current| holding.description.created.get(current));
    let is_of_this_one = stored.is_some_and(|stored| *stored <= before.checked_at);
    let mut facts = Facts {
        name: name.clone(),
        short: short.to_owned(),
        holding,
        access: Access::Granted,
        listed: Listing::NotAsked,
        remembered_end: before.expires_at.filter(|_| is_of_this_one),
        graph_roles: None,
        defender_roles: None,
        stubborn: Vec::new(),
    };
    let (access, means) = access(app, &facts.holding).await;
    facts.access = access;
    let Some((application, token)) = means else { return Ok(facts) };
    facts.graph_roles = token.roles.clone();
    facts.defender_roles = defender_roles(app, &facts.holding.current, short).await;
    let mut directory = Directory::new(app, &application, token, until);
    let listing = match listing(app, &mut directory, &facts.holding).await {
        Ok(listing) => listing,
        Err(unread) => return Ok(Facts { listed: unread, ..facts }),
    };
    // What Graph shows was made before it was listed. Read after that, the vault says of each whether it is in use.
    facts.holding = read::holding(app, &name.full, false).await?;
    let mut listed = listing.credentials.clone();
    let Tidied { gone, stay } = tidy(app, name, &facts.holding, listing, until).await?;
    listed.retain(|registered| !gone.contains(&registered.key_id));
    Ok(Facts { listed: Listing::Read(listed), stubborn: stay, ..facts })
}

/// A token for Graph by the current credential, or else by the previous one: the one is a fact, the other a means.
async fn access(app: &App, holding: &Holding) -> (Access, Option<(Application, AccessToken)>) {
    let current = &holding.current.application;
    let mut access = Access::Granted;
    // A secret that was stored a moment ago works at one replica and not at the next.
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            app.clock.sleep(REREAD).await;
        }
        access = match home_token(app, current).await {
            Ok(token) => return (Access::Granted, Some((current.clone(), token))),
            Err(TokenError::Refused(refused)) => match refused.refusal() {
                // How a secret or certificate is replaced depends on whose it is; what Entra compares does not.
                Refusal::OurCredential if current.credential.is_held() => Access::Refused(refused.to_string()),
                Refusal::OurCredential => Access::Refused(refused.explained()),
                Refusal::Throttled | Refusal::Transient => Access::Unknown(refused.explained()),
                _ => return (Access::Barred(refused.explained()), None),
            },
            Err(TokenError::NoIdentity(cause)) => return (Access::Refused(cause.to_string()), None),
            Err(error) => Access::Unknown(error.to_string()),
        };
    }
    let previous = holding.previous.as_ref().filter(|entry| entry.is_same_principal(&holding.current));
    let means = match previous.filter(|_| matches!(access, Access::Refused(_))) {
        Some(previous) => {
            let token = home_token(app, &previous.application).await;
            token.ok().map(|token| (previous.application.clone(), token))
        }
        None => None,
    };
    (access, means)
}

/// One replica's answer; where it lacks the current credential, other replicas are asked.
async fn listing(app: &App, directory: &mut Directory<'_>, holding: &Holding) -> Result<graph::Listing, Listing> {
    let current = &holding.current;
    let mut listed = Err(Listing::NotAsked);
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            app.clock.sleep(REREAD).await;
        }
        match directory.list().await {
            Ok(found) => {
                let names_none = current.identities().next().is_none();
                let is_there = names_none || holding.at_entra(current, &found.credentials).is_some();
                listed = Ok(found);
                if is_there {
                    break;
                }
            }
            Err(GraphError::Denied(_)) => return Err(Listing::Denied),
            Err(error) if listed.is_err() => listed = Err(Listing::Unknown(error.to_string())),
            // Another replica has answered.
            Err(_) => break,
        }
    }
    listed
}

/// The roles in a token for Defender: in the home tenant, or, for the application that customers approve, in the first
/// of their tenants. `None` where there is no such token; that is the pullers' matter.
async fn defender_roles(app: &App, current: &entry::Entry, short: &str) -> Option<Vec<String>> {
    let customer = if short == "app" { list::a_customer(app.ports.store.as_ref()).await } else { Ok(None) };
    // What cannot be known of the roles must not hide when the credential ends.
    let customer = customer.unwrap_or_else(|error| {
        tracing::warn!(%error, "no customer's tenant can be asked which roles the application has");
        None
    });
    // Who has withdrawn what they approved says nothing about what the application asks for.
    let tenant = customer
        .filter(|connection| connection.state.should_be_fresh())
        .map(|connection| connection.tenant_id)
        .or_else(|| current.application.home_tenant_id.parse::<TenantId>().ok())?;
    let token = app.tokens.by_credential(tenant, &current.application, app.config.audience()).await;
    token.ok().and_then(|token| token.roles)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_was_looked_at_longest_ago_comes_first() {
        let full = ["muster/app", "muster/apps/late", "muster/console", "muster/signing", "muster/tenants/x"];
        let at = |seconds: i64| Timestamp::from_second(seconds).unwrap();
        let status = |name: &str, seconds: i64| (name.to_owned(), Status::new(name, None, at(seconds)));
        let before = [status("app", 20), status("console", 10)].into();
        let turn = in_turn(full.map(str::to_owned).to_vec(), "muster", &before);
        let turn: Vec<&str> = turn.iter().map(|(short, _)| short.as_str()).collect();
        assert_eq!(turn, ["apps/late", "console", "app"]);
    }

    #[test]
    fn what_cannot_be_judged_today_stands_as_it_was() {
        let name = EntryName::parse("muster/app", "muster").unwrap();
        let before =
            [(Kind::Drift, "yesterday's"), (Kind::Refused, "yesterday's")].map(|(kind, text)| (kind, text.to_owned()));
        let before = Status { warnings: before.into(), ..Status::new("app", None, Timestamp::UNIX_EPOCH) };
        let found = |kind, severity| Finding::of(&name, "app", kind, severity, "today's".to_owned());
        let findings = [
            found(Kind::Refused, Severity::Critical),
            found(Kind::UnknownEnd, Severity::Notice),
            found(Kind::MayNotRotate, Severity::Notice),
        ];
        let shown = |is_unknown: fn(Kind) -> bool| {
            let warnings = warnings(&before, &findings, is_unknown);
            warnings.into_iter().collect::<Vec<_>>()
        };
        let today = [(Kind::UnknownEnd, "today's".to_owned()), (Kind::Refused, "today's".to_owned())];
        assert_eq!(shown(|_| false), today);
        let stands = [today[0].clone(), (Kind::Drift, "yesterday's".to_owned()), today[1].clone()];
        assert_eq!(shown(|_| true), stands);
    }
}

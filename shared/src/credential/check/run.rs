//! Gathers what [`examine`] decides about, entry by entry, and removes what nobody needs any more.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use super::{
    Access, CheckEvent, Facts, Finding, Kind, Listing, Report, Severity, examine,
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
        read,
        rotation::{RotationError, Tidied, tidy},
        status::{self, Status},
    },
    microsoft::{
        entra::Refusal,
        graph::{self, GraphError},
        token::{AccessToken, TokenError},
        tokens::ApplicationName,
    },
    ports::{Unavailable, store::StoreError, vault::VaultError},
    tenant::{SHARDS, State, TenantId, load_shard},
};

/// How often replicas are asked before their answer counts, and how far apart.
const ATTEMPTS: u32 = 3;
const REREAD: SignedDuration = SignedDuration::from_secs(5);

/// Looks at every entry of the vault. One that fails is a finding and never stops the others.
///
/// # Errors
/// When the vault does not even list its entries.
pub async fn check(app: &App, _: &CheckEvent, left: SignedDuration) -> Result<Report, VaultError> {
    let (prefix, began) = (&app.config.secrets_prefix, app.clock.now());
    let until = app.clock.now().saturating_add(left).unwrap_or(Timestamp::MAX);
    let mut report = Report::default();
    let mut listed = BTreeSet::new();
    let before = known(app).await;
    for full in app.ports.vault.list(&format!("{prefix}/")).await? {
        let Some(name) = EntryName::parse(&full, prefix).filter(|name| name.kind != EntryKind::Signing) else {
            continue;
        };
        let short = name.short(prefix).to_owned();
        listed.insert(short.clone());
        if app.clock.now() >= until {
            let text = "There was no time left for this entry: give the function more.".to_owned();
            report.findings.push(Finding::of(&name, &short, Kind::NotChecked, Severity::Warning, text));
            continue;
        }
        report.checked += 1;
        let told = before.get(&short).map(|status| status.told.clone()).unwrap_or_default();
        let (status, mut findings, news) = match gather(app, &name, &short, until).await {
            Ok(facts) => {
                let now = app.clock.now();
                let (findings, is_due) = examine(&facts, now);
                report.due.extend(is_due.then_some(full));
                let status = Status::new(&short, Some(&facts.holding.current), now);
                let news = news(&told, &findings, |kind| facts.is_unknown(kind), now);
                (Status { expires_at: facts.end(), ..status }, findings, news)
            }
            Err(error) => {
                // Whatever went wrong must not hide when the credential ends.
                let stored = read::current(app, &full).await.ok();
                let status = Status::new(&short, stored.as_ref(), app.clock.now());
                let findings = vec![failed(&name, &error, &short)];
                let news = news(&told, &findings, |_| true, app.clock.now());
                (status, findings, news)
            }
        };
        report.first_end = report.first_end.into_iter().chain(status.expires_at).min();
        let is_pressing = |finding: &&Finding| finding.severity >= Severity::Warning || finding.kind == Kind::Expiry;
        let pressing = findings.iter().filter(is_pressing);
        let warnings = pressing.map(|finding| finding.text.clone()).collect();
        let rotated_to = before.get(&short).and_then(|status| status.rotated_to.clone());
        let status = Status { warnings, told: news.told.clone(), rotated_to, ..status };
        for place in &news.new {
            findings[*place].is_new = true;
        }
        keep(app, &status, &entries(&name, &short, &findings, &news, app.clock.now())).await;
        report.findings.extend(findings);
    }
    forget_the_gone(app, &listed, began).await;
    report.findings.iter().for_each(tell);
    let (findings, duration_ms) = (report.findings.len(), app.clock.milliseconds_since(began));
    tracing::info!(checked = report.checked, findings, due = ?report.due, duration_ms, "credentials are checked");
    Ok(report)
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
async fn keep(app: &App, status: &Status, entries: &[Entry]) {
    let store = app.ports.store.as_ref();
    let kept = async {
        let mut writes = entries.iter().map(Entry::write).collect::<Result<Vec<_>, _>>()?;
        writes.push(status.write(store).await?);
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
async fn forget_the_gone(app: &App, listed: &BTreeSet<String>, began: Timestamp) {
    let store = app.ports.store.as_ref();
    let forgotten = async {
        let known = status::all(store).await?.into_values();
        for gone in known.filter(|status| !listed.contains(&status.name) && status.checked_at < began) {
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

async fn gather(app: &App, name: &EntryName, short: &str, until: Timestamp) -> Result<Facts, RotationError> {
    let holding = read::holding(app, &name.full, false).await?;
    let mut facts = Facts {
        name: name.clone(),
        short: short.to_owned(),
        holding,
        access: Access::Unknown,
        listed: Listing::Unknown,
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
    let listing = match list(app, &mut directory, &facts.holding).await {
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
    let mut refusal = String::new();
    // A secret that was stored a moment ago works at one replica and not at the next.
    for _ in 0..ATTEMPTS {
        let refused = match home_token(app, current).await {
            Ok(token) => return (Access::Granted, Some((current.clone(), token))),
            Err(TokenError::Refused(refused)) => refused,
            Err(TokenError::NoIdentity(cause)) => return (Access::Refused(cause.to_string()), None),
            Err(_) => return (Access::Unknown, None),
        };
        match refused.refusal() {
            Refusal::OurCredential => refusal = refused.explained(),
            Refusal::Throttled | Refusal::Transient => return (Access::Unknown, None),
            _ => return (Access::Barred(refused.explained()), None),
        }
        app.clock.sleep(REREAD).await;
    }
    let means = match holding.previous.as_ref().filter(|entry| entry.is_same_principal(&holding.current)) {
        Some(previous) => {
            let token = home_token(app, &previous.application).await;
            token.ok().map(|token| (previous.application.clone(), token))
        }
        None => None,
    };
    (Access::Refused(refusal), means)
}

/// One replica's answer; where it lacks the current credential, other replicas are asked.
async fn list(app: &App, directory: &mut Directory<'_>, holding: &Holding) -> Result<graph::Listing, Listing> {
    let current = &holding.current;
    let mut listed = Err(Listing::Unknown);
    for _ in 0..ATTEMPTS {
        match directory.list().await {
            Ok(found) => {
                let names_none = current.identities().next().is_none();
                let is_there = names_none || holding.at_entra(current, &found.credentials).is_some();
                listed = Ok(found);
                if is_there {
                    break;
                }
                app.clock.sleep(REREAD).await;
            }
            Err(GraphError::Denied(_)) => return Err(Listing::Denied),
            Err(error) => {
                tracing::warn!(%error, "the application's credentials at Entra cannot be read today");
                return listed;
            }
        }
    }
    listed
}

/// The roles in a token for Defender: in the home tenant, or, for the application that customers approve, in the first
/// of their tenants. `None` where there is no such token; that is the pullers' matter.
async fn defender_roles(app: &App, current: &entry::Entry, short: &str) -> Option<Vec<String>> {
    let customer = if short == "app" { a_customer(app).await } else { Ok(None) };
    // What cannot be known of the roles must not hide when the credential ends.
    let customer = customer.unwrap_or_else(|error| {
        tracing::warn!(%error, "no customer's tenant can be asked which roles the application has");
        None
    });
    let tenant = customer.or_else(|| current.application.home_tenant_id.parse::<TenantId>().ok())?;
    let token = app.tokens.by_credential(tenant, &current.application, app.config.audience()).await;
    token.ok().and_then(|token| token.roles)
}

async fn a_customer(app: &App) -> Result<Option<TenantId>, RotationError> {
    for shard in 0..SHARDS {
        let loaded = load_shard(app.ports.store.as_ref(), shard)
            .await
            .map_err(|error| VaultError::from(Unavailable::new("store", error)))?;
        let approved = loaded
            .into_iter()
            .map(|loaded| loaded.connection)
            .find(|connection| connection.state == State::Active && connection.application == ApplicationName::App);
        if let Some(connection) = approved {
            return Ok(Some(connection.tenant_id));
        }
    }
    Ok(None)
}

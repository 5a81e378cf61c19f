//! What somebody gives by a renewal link: tried for real, and saved when it works.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Broken, Grant, Kept, Taken, Unusable, entry_name, is_by_its_own, kept, look};
use crate::{
    App,
    audit::{Action, Actor, Entry},
    credential::{
        self, Application,
        candidate::Candidate,
        status::{self, Status},
    },
    microsoft::tokens::ApplicationName,
    ports::{
        store::{Expect, StoreError},
        vault::{Stage, VaultError},
    },
    random,
    secret::Secret,
    tenant::{
        Connection, Feed, FeedState, Loaded, TenantId, bind, dispatch, load,
        missing::{Field, Missing},
        proof::{Proof, Subject, prove},
    },
};

/// Times a saving is tried anew because a puller wrote first.
const TRIES: usize = 5;
/// What a credential consists of. Whatever else stands in one is somebody's note, and stays.
const PARTS: [&str; 7] = ["kind", "value", "key_id", "expires_at", "certificate_pem", "private_key_pem", "audience"];

/// A credential that is in the place of the old one now.
#[derive(Debug)]
pub struct Renewed {
    pub grant: Grant,
    /// When it ends, as far as anybody knows.
    pub ends: Option<Timestamp>,
    /// What it does not open, and the old one did not either.
    pub missing: Vec<Missing>,
}

/// Why the old credential is still there.
#[derive(Debug)]
pub enum NotRenewed {
    Unusable(Unusable),
    /// Everything that is wrong with what was given.
    Missing(Vec<Missing>),
    Broken(Broken),
}

impl<E: Into<Broken>> From<E> for NotRenewed {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

/// Tries the credential, `{"kind",…}` as in the vault, with tokens of its own, and puts it in the place of the version that
/// the link was made for. Nobody signs in for it: what is proven is that it opens the tenant as this very application.
///
/// # Errors
/// [`NotRenewed`]; the old credential is as it was then, unless something is broken: then the new one may be in its place.
pub async fn renew(app: &App, token: &str, credential: Map<String, Value>) -> Result<Renewed, NotRenewed> {
    let (grant, known) = look(app, token).await?.map_err(NotRenewed::Unusable)?;
    let name = entry_name(app, grant.tenant);
    let old = match app.ports.vault.read(&name, Stage::Current, Some(&grant.version)).await {
        Ok(version) => version.value,
        Err(VaultError::NotFound(_)) => return Err(NotRenewed::Unusable(Unusable::Spent)),
        Err(error) => return Err(error.into()),
    };
    let text = replaced(&old, credential).map_err(|one| NotRenewed::Missing(vec![one]))?;
    let candidate = Candidate::read(&text, grant.tenant, app.clock.now()).map_err(NotRenewed::Missing)?;
    let subject = Subject {
        tenant: grant.tenant,
        application: &ApplicationName::Own,
        region: known.connection.region,
        storage: known.connection.storage.as_ref(),
    };
    let feeds: Vec<Feed> = known.connection.feeds.keys().copied().collect();
    let proof = prove(&candidate.trial(app, &name), &subject, &feeds).await;
    let missing = proof.missing().into_iter().map(|one| candidate.in_words_of_a_form(one, grant.tenant));
    let missing: Vec<Missing> = missing.collect();
    if !is_enough(&proof, &known.connection) {
        return Err(NotRenewed::Missing(missing));
    }
    save(app, &grant, known, &candidate, &proof).await?;
    Ok(Renewed { grant, ends: candidate.entry.expires_at, missing })
}

/// Whether it is good to be saved: Entra gives a token for it, and nothing that works now stops by it. A role or a licence
/// that the application lacks it lacks with every credential, so that alone keeps nobody from renewing.
fn is_enough(proof: &Proof, known: &Connection) -> bool {
    let stops = |feed: &Feed| known.feeds.get(feed).is_some_and(FeedState::works);
    proof.has_token() && !proof.feeds.iter().any(|(feed, found)| !found.is_proven && stops(feed))
}

/// The entry with another credential; every field that we do not know is kept.
fn replaced(old: &Secret<String>, new: Map<String, Value>) -> Result<Secret<String>, Missing> {
    let mut fields: Map<String, Value> = serde_json::from_str(old.expose()).unwrap_or_default();
    let mut credential = match fields.remove("credential") {
        Some(Value::Object(credential)) => credential,
        _ => Map::new(),
    };
    let given = |name: &str| new.get(name).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty());
    let had = |name: &str| credential.get(name).and_then(Value::as_str).map(str::trim);
    if ["value", "certificate_pem"].into_iter().any(|part| given(part).is_some() && given(part) == had(part)) {
        let detail = "This is the credential that is in use already; make a new one in Entra and give that.";
        return Err(Missing::of(Field::Credential, detail));
    }
    // What was named as ours stays ours to remove.
    if let Some(named) = credential.get("key_id").filter(|named| named.is_string())
        && let Value::Array(retired) = fields.entry("retired_key_ids").or_insert_with(|| Value::Array(Vec::new()))
        && !retired.contains(named)
    {
        retired.push(named.clone());
    }
    credential.retain(|name, _| !PARTS.contains(&name.as_str()));
    credential.extend(new);
    fields.insert("credential".to_owned(), Value::Object(credential));
    Ok(Secret::new(Value::Object(fields).to_string()))
}

/// Puts it into the vault, and then into the state with its entry in the trail, in one transaction. Of two who do this at
/// once for the same version one goes on; whoever stores another one by another way meanwhile is not overwritten.
async fn save(app: &App, grant: &Grant, known: Loaded, candidate: &Candidate, proof: &Proof) -> Result<(), NotRenewed> {
    let (vault, store) = (app.ports.vault.as_ref(), app.ports.store.as_ref());
    let (name, version) = (entry_name(app, grant.tenant), random::id()?.to_string());
    let taken = Taken { by: version.clone(), at: app.clock.now(), done: false };
    let (before, expect) = kept(store, grant.tenant).await?;
    if before.is_some_and(|kept| kept.is_taken(&grant.version, taken.at)) {
        return Err(NotRenewed::Unusable(Unusable::Busy));
    }
    match store.commit(vec![Kept { grant: grant.clone(), taken: Some(taken.clone()) }.write(expect)?]).await {
        Ok(()) => {}
        Err(StoreError::Conflict) => return Err(NotRenewed::Unusable(Unusable::Busy)),
        Err(error) => return Err(error.into()),
    }
    vault.put(&name, &version, &candidate.text, &[Stage::Current], None).await?;
    let labels = vault.describe(&name).await?;
    if labels.version(Stage::Current) != Some(&version) {
        // Somebody has stored another one right after.
        return Err(NotRenewed::Unusable(Unusable::Spent));
    }
    if labels.version(Stage::Previous) != Some(&grant.version) {
        // Somebody has stored another one while this was tried.
        take_back(app, &name, &version).await?;
        return Err(NotRenewed::Unusable(Unusable::Spent));
    }
    let done = Kept { grant: grant.clone(), taken: Some(Taken { done: true, ..taken }) };
    // Where only the writing down fails, what works stays, and `complete` makes it good.
    let connection = settle(app, done, Expect::Version(expect.next_version()), known, candidate, proof).await?;
    first_pull(app, &connection).await;
    Ok(())
}

/// Writes down what has become of it.
async fn settle(
    app: &App,
    done: Kept,
    expect: Expect,
    mut known: Loaded,
    candidate: &Candidate,
    proof: &Proof,
) -> Result<Connection, NotRenewed> {
    let (store, tenant) = (app.ports.store.as_ref(), done.grant.tenant);
    for _ in 0..TRIES {
        let now = app.clock.now();
        let connection = bind::renewed(&known.connection, proof.conditions(), now);
        let status = Status::new(&status::own(tenant), Some(&candidate.entry), now);
        let of_tenant = Loaded { connection: connection.clone(), version: known.version };
        let entry = entry(&connection, &candidate.entry, now);
        let writes = vec![of_tenant.put()?, entry.write()?, status.write(store).await?, done.write(expect)?];
        let failed = match store.commit(writes).await {
            Ok(()) => return Ok(connection),
            Err(error) => error,
        };
        // The answer may have been lost, and not the transaction.
        if kept(store, tenant).await?.0.is_some_and(|kept| kept.taken == done.taken) {
            return Ok(connection);
        }
        if !matches!(failed, StoreError::Conflict) {
            return Err(failed.into());
        }
        let now = load(store, tenant).await?.filter(|now| is_by_its_own(&now.connection));
        known = now.ok_or(NotRenewed::Unusable(Unusable::Ended))?;
    }
    Err(StoreError::Conflict.into())
}

/// Completes a saving that broke off after the vault took its credential: the trail is told of it. Where somebody had stored
/// another one meanwhile, that one becomes current again. All else heals by itself.
///
/// # Errors
/// [`Broken`]
pub async fn complete(app: &App, tenant: TenantId) -> Result<(), Broken> {
    let (store, now) = (app.ports.store.as_ref(), app.clock.now());
    let (Some(Kept { grant, taken: Some(taken) }), expect) = kept(store, tenant).await? else { return Ok(()) };
    if taken.done || taken.is_at_it(now) {
        return Ok(());
    }
    let name = entry_name(app, tenant);
    let labels = match app.ports.vault.describe(&name).await {
        Ok(labels) => labels,
        Err(VaultError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let [current, previous] = [Stage::Current, Stage::Previous].map(|stage| labels.version(stage));
    let stored_at = |version: Option<&str>| version.and_then(|version| labels.created.get(version));
    let stage = match (current == Some(&taken.by), previous == Some(&taken.by)) {
        (true, _) if previous != Some(&grant.version) => return Ok(take_back(app, &name, &taken.by).await?),
        (true, _) => Stage::Current,
        // Something newer is current since. What is older was there before, and this one was taken back.
        (false, true) if stored_at(current) > stored_at(previous) => Stage::Previous,
        (false, _) => return Ok(()),
    };
    let stored = match app.ports.vault.read(&name, stage, Some(&taken.by)).await {
        Ok(version) => credential::entry::Entry::parse(&version.value),
        Err(VaultError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let known = load(store, tenant).await?.filter(|known| is_by_its_own(&known.connection));
    let (Ok(stored), Some(known)) = (stored, known) else { return Ok(()) };
    let entry = entry(&known.connection, &stored, now);
    let done = Kept { grant, taken: Some(Taken { done: true, ..taken }) };
    match store.commit(vec![entry.write()?, done.write(expect)?]).await {
        // Somebody else has done it at this very moment.
        Ok(()) | Err(StoreError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn entry(connection: &Connection, stored: &credential::entry::Entry, now: Timestamp) -> Entry {
    let Application { client_id, credential, .. } = &stored.application;
    let kind = credential.kind().replace('_', " ");
    let until = stored.expires_at.map(|end| format!("; it ends on {}", end.strftime("%Y-%m-%d")));
    let entry = Entry::new(now, &Actor::LinkHolder, Action::CredentialRenewed);
    let entry = entry.of_tenant(connection.tenant_id).of_account(&connection.account);
    let until = until.unwrap_or_default();
    entry.saying(format!("A {kind} of the application {client_id} was tried and is stored{until}."))
}

/// Makes what was current before it current again, unless something else is current since. It stays under `AWSPREVIOUS`.
async fn take_back(app: &App, name: &str, version: &str) -> Result<(), VaultError> {
    let vault = app.ports.vault.as_ref();
    let description = match vault.describe(name).await {
        Ok(description) => description,
        Err(VaultError::NotFound(_)) => return Ok(()),
        Err(error) => return Err(error),
    };
    let before = description.version(Stage::Previous).filter(|_| description.version(Stage::Current) == Some(version));
    let Some(before) = before else { return Ok(()) };
    match vault.promote(name, before, version).await {
        // Somebody has stored another one at this very moment.
        Ok(()) | Err(VaultError::InvalidRequest(_) | VaultError::NotFound(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// What has stood still goes on now; where the queue fails, a tick makes it good.
async fn first_pull(app: &App, connection: &Connection) {
    if let Err(error) = dispatch::at_once(&app.ports.queues, connection, app.clock.now()).await {
        tracing::warn!(tenant.id = %connection.tenant_id, %error, "the first pull by a new credential waits for its tick");
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_takes_the_place_of_a_credential_takes_nothing_else() {
        let old = json!({
            "client_id": "c", "home_tenant_id": "t", "later": {"x": 1}, "retired_key_ids": ["k0"],
            "credential": {"kind": "certificate", "certificate_pem": "c", "private_key_pem": "p", "key_id": "k1",
                "expires_at": "2026-11-30T00:00:00Z", "note": "made by Kim"},
        });
        let old = Secret::new(old.to_string());
        let new = json!({"kind": "client_secret", "value": "new"}).as_object().unwrap().clone();
        let text = replaced(&old, new).unwrap();
        let expected = json!({
            "client_id": "c", "home_tenant_id": "t", "later": {"x": 1}, "retired_key_ids": ["k0", "k1"],
            "credential": {"kind": "client_secret", "value": "new", "note": "made by Kim"},
        });
        assert_eq!(serde_json::from_str::<Value>(text.expose()).unwrap(), expected);
        let same = json!({"kind": "client_secret", "value": " new "}).as_object().unwrap().clone();
        assert!(replaced(&text, same).unwrap_err().detail.contains("in use already"));
    }
}

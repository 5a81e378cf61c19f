//! Taking in a tenant by an application of its own: tried for real first, and stored only once it is proven.

use super::{
    ConnectError, Ground, NewConnection, bind_proven, feeds_to_prove, is_at_home, keep_if_taken, proven_words,
    remove_unless_lived_by,
};
use crate::{
    App,
    audit::{Action, Actor},
    credential::{
        candidate::Candidate,
        status::{self, Status},
    },
    microsoft::tokens::ApplicationName,
    ports::vault::{Stage, VaultError},
    random,
    secret::Secret,
    tenant::{
        Connection, Feed, TenantId, account, dispatch,
        missing::{Field, Missing},
        proof::Proof,
    },
};

/// Times a binding is tried anew because a puller wrote first.
const TRIES: usize = 5;

/// As [`super::connect`], with the application that is given: `{"client_id","home_tenant_id"?,"credential"}`, of kind
/// `client_secret` or `certificate`. It is tried with tokens of its own, and stored when every feed is proven by it, those
/// included that work by what the tenant has now.
///
/// # Errors
/// [`ConnectError`]; nothing is stored and nothing is bound then.
pub async fn connect_own(
    app: &App,
    new: &NewConnection,
    application: &Secret<String>,
    by: &Actor,
) -> Result<Connection, ConnectError> {
    is_at_home(app, new.tenant_id).await?;
    let ground = match account::name(&new.account) {
        Ok(_) => Ground::survey(app, new, by).await?,
        Err(error) => return Err(not_proven(vec![Missing::of(Field::Account, format!("Sorry, {error}."))], false)),
    };
    let already = ground.ours().is_some();
    let candidate = read(app, new, &ground, application).map_err(|missing| not_proven(missing, already))?;
    let name = ApplicationName::Own.vault_name(&app.config.secrets_prefix, new.tenant_id);
    let subject = ground.subject(new, &ApplicationName::Own);
    // Whatever works now is to work by this.
    let feeds = feeds_to_prove(new, ground.ours(), |_, _| true);
    let proof = ground.prove(&candidate.trial(app, &name), &subject, &feeds).await;
    let proof = proof.map_err(|error| in_words_of_a_form(error, &candidate, new))?;
    let stored = Stored::put(app, new.tenant_id, &name, &candidate).await?;
    let bound = bind_stored(app, new, ground, &proof, &candidate, &stored, by).await;
    keep_if_taken(app, &name, &bound).await?;
    match bound {
        Ok(connection) => {
            // The first pull does not wait for a tick. Where the queue fails, a tick makes it good.
            if let Err(error) = dispatch::at_once(&app.ports.queues, &connection, app.clock.now()).await {
                tracing::warn!(tenant.id = %new.tenant_id, %error, "the first pull of a tenant waits for its tick");
            }
            Ok(connection)
        }
        Err(error) => {
            stored.take_back(app, new.tenant_id).await?;
            Err(error)
        }
    }
}

fn not_proven(missing: Vec<Missing>, connected_already: bool) -> ConnectError {
    ConnectError::NotProven { missing, connected_already }
}

/// Everything that is wrong with what was given, at once.
fn read(
    app: &App,
    new: &NewConnection,
    ground: &Ground,
    application: &Secret<String>,
) -> Result<Candidate, Vec<Missing>> {
    let mut missing = Vec::new();
    if new.feeds.is_empty() {
        missing.push(Missing::of(Field::Feeds, "Choose at least one feed."));
    }
    if new.feeds.contains(&Feed::Telemetry) && ground.storage.is_none() {
        let detail = "Say which storage account the tenant's Defender exports to, and which queue announces its blobs.";
        missing.push(Missing { feed: Some(Feed::Telemetry), ..Missing::of(Field::StorageAccount, detail) });
    }
    match Candidate::read(application, new.tenant_id, app.clock.now()) {
        Ok(candidate) if missing.is_empty() => Ok(candidate),
        Ok(_) => Err(missing),
        Err(more) => Err(missing.into_iter().chain(more).collect()),
    }
}

/// Entra's refusals, for whoever has just filled in the fields.
fn in_words_of_a_form(error: ConnectError, candidate: &Candidate, new: &NewConnection) -> ConnectError {
    let ConnectError::NotProven { missing, connected_already } = error else { return error };
    let reworded = missing.into_iter().map(|one| candidate.in_words_of_a_form(one, new.tenant_id));
    not_proven(reworded.collect(), connected_already)
}

/// What was put into the vault, and how it was there before.
struct Stored {
    name: String,
    version: String,
    before: Option<String>,
    /// It had been removed, and could be restored.
    restored: bool,
}

impl Stored {
    async fn put(app: &App, tenant: TenantId, name: &str, candidate: &Candidate) -> Result<Self, ConnectError> {
        let vault = app.ports.vault.as_ref();
        let version = random::id().map_err(|error| ConnectError::Platform(error.to_string()))?.to_string();
        let restored = vault.restore(name).await?;
        let mut stored = Self { name: name.to_owned(), version, before: None, restored };
        stored.before = match vault.describe(name).await {
            Ok(description) => description.version(Stage::Current).map(str::to_owned),
            Err(VaultError::NotFound(_)) => None,
            Err(error) => return Err(error.into()),
        };
        if let Err(error) = vault.put(name, &stored.version, &candidate.text, &[Stage::Current], None).await {
            // What is there is not ours: somebody may have stored it at the same moment.
            if restored {
                remove_unless_lived_by(app, tenant, name).await?;
            }
            return Err(error.into());
        }
        Ok(stored)
    }

    /// As if it had never been put, unless somebody has stored another one since or lives by it.
    async fn take_back(&self, app: &App, tenant: TenantId) -> Result<(), ConnectError> {
        let vault = app.ports.vault.as_ref();
        if let Some(before) = &self.before {
            match vault.promote(&self.name, before, &self.version).await {
                // It did not get as far as that.
                Ok(()) | Err(VaultError::InvalidRequest(_) | VaultError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let current = vault.describe(&self.name).await.ok();
        let current = current.as_ref().and_then(|description| description.version(Stage::Current));
        let is_as_we_left_it = current.is_some() && current == self.before.as_deref().or(Some(self.version.as_str()));
        if is_as_we_left_it && (self.before.is_none() || self.restored) {
            remove_unless_lived_by(app, tenant, &self.name).await?;
        }
        Ok(())
    }
}

/// Binds the tenant; the trail tells of both in the same transaction.
async fn bind_stored(
    app: &App,
    new: &NewConnection,
    mut ground: Ground,
    proof: &Proof,
    candidate: &Candidate,
    stored: &Stored,
    by: &Actor,
) -> Result<Connection, ConnectError> {
    let (store, application) = (app.ports.store.as_ref(), &candidate.entry.application);
    let kind = application.credential.title();
    for _ in 0..TRIES {
        let mut trail = vec![ground.entry(app, new, by, Action::Connected).saying(proven_words(&new.feeds))];
        if stored.restored {
            let entry = ground.entry(app, new, by, Action::SecretRestored);
            trail.push(entry.saying(format!("{} is in use again.", stored.name)));
        }
        let entry = ground.entry(app, new, by, Action::CredentialStored);
        let client_id = &application.client_id;
        trail.push(entry.saying(format!("A {kind} of the application {client_id} is stored as {}.", stored.name)));
        let mut writes = trail.iter().map(|entry| entry.write()).collect::<Result<Vec<_>, _>>()?;
        let status = Status::new(&status::own(new.tenant_id), Some(&candidate.entry), app.clock.now());
        writes.push(status.write(store).await?);
        if let Some(connection) = bind_proven(app, new, &ground, ApplicationName::Own, proof, writes).await? {
            return Ok(connection);
        }
        ground = Ground::survey(app, new, by).await?;
    }
    Err(ConnectError::Platform("the tenant is changed by others all the time; try again".to_owned()))
}

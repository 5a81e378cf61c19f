//! Taking in a tenant that has approved the application already: an operator vouches for it, Microsoft proves it.

mod own;

pub use own::connect_own;

use super::invitation;
use crate::{
    App,
    audit::{Action, Actor, Entry},
    cloud::Region,
    microsoft::tokens::ApplicationName,
    ports::{
        store::{StoreError, Write},
        vault::{Stage, VaultError},
    },
    sign_in,
    storage::Storage,
    tenant::{
        Connection, Consent, Feed, Loaded, State, TenantId,
        account::{self, AccountError, Prepared},
        bind::{Binding, bind},
        load,
        missing::{Field, Missing, lines},
        proof::{Proof, Subject, prove},
    },
};

/// What an operator asks for.
#[derive(Debug, Clone)]
pub struct NewConnection {
    pub tenant_id: TenantId,
    pub account: String,
    pub feeds: Vec<Feed>,
    pub region: Option<Region>,
    /// Where the telemetry is; demanded with that feed, unless it is known already.
    pub storage: Option<Storage>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Access could not be proven to all that was asked for; nothing was changed. As text, one line for each thing missing.
    #[error("{}", lines(missing).join("\n"))]
    NotProven { missing: Vec<Missing>, connected_already: bool },
    /// A tenant belongs to one account; another one is a matter for people, never an overwrite.
    #[error("It belongs to the account `{0}` already, and a tenant belongs to one account.")]
    BoundElsewhere(String),
    #[error("{0}")]
    Unsupported(String),
    #[error("{0}")]
    Platform(String),
}

impl From<AccountError> for ConnectError {
    fn from(error: AccountError) -> Self {
        match error {
            AccountError::Name | AccountError::Taken(_) => Self::Unsupported(error.to_string()),
            other => Self::Platform(other.to_string()),
        }
    }
}

impl From<StoreError> for ConnectError {
    fn from(error: StoreError) -> Self {
        Self::Platform(error.to_string())
    }
}

impl From<VaultError> for ConnectError {
    fn from(error: VaultError) -> Self {
        Self::Platform(error.to_string())
    }
}

/// Proves access to each feed and binds the tenant. Connecting a tenant of the same account again proves these feeds anew,
/// adds those it did not have, wakes it up, and changes nothing of its other feeds and of what has been pulled. Another
/// application or region is everybody's, so what works now is proven by it too. A tenant that was removed gets the secret
/// of its own application back, while it can be restored.
///
/// # Errors
/// [`ConnectError`]; nothing is bound then.
pub async fn connect(app: &App, new: &NewConnection, by: &Actor) -> Result<Connection, ConnectError> {
    let word = Word { action: Action::Connected, detail: proven_words(&new.feeds), vouching_for: None };
    take_in(app, new, by, &word).await
}

/// What an operator's word is called in the trail, and for whom it is given.
pub(crate) struct Word {
    pub action: Action,
    pub detail: String,
    /// The object id of the person who signed in; nobody in particular, where the tenant itself is meant.
    pub vouching_for: Option<String>,
}

/// As [`connect`], by this word.
pub(crate) async fn take_in(
    app: &App,
    new: &NewConnection,
    by: &Actor,
    word: &Word,
) -> Result<Connection, ConnectError> {
    check(new)?;
    is_at_home(app, new.tenant_id).await?;
    let ground = Ground::survey(app, new, by).await?;
    if let Some(oid) = &word.vouching_for
        && ground.last_consent().is_none_or(|consent| consent.oid != *oid)
    {
        return Err(ConnectError::Unsupported(SOMEBODY_ELSE.to_owned()));
    }
    if new.feeds.contains(&Feed::Telemetry) && ground.storage.is_none() {
        return Err(ConnectError::Unsupported(
            "the feed `telemetry` lies in a storage account of the tenant's; say which and which queue announces its blobs, \
             with --storage ACCOUNT/QUEUE"
                .to_owned(),
        ));
    }
    let name = ApplicationName::Own.vault_name(&app.config.secrets_prefix, new.tenant_id);
    let restored = ground.is_return() && app.ports.vault.restore(&name).await?;
    let mut trail = vec![ground.entry(app, new, by, word.action).saying(&word.detail)];
    if restored {
        trail.push(ground.entry(app, new, by, Action::SecretRestored).saying(format!("{name} is in use again.")));
    }
    let taken = prove_and_bind(app, new, &ground, &trail).await;
    keep_if_taken(app, &name, &taken).await?;
    if taken.is_err() && restored {
        // A tenant that is not connected keeps no secret.
        remove_unless_lived_by(app, new.tenant_id, &name).await?;
    }
    taken
}

/// Asks where the tenant lives before anything is tried there: what a token request to the wrong cloud is told says little.
///
/// # Errors
/// [`ConnectError::NotProven`] of a tenant that lives in another of Microsoft's clouds.
async fn is_at_home(app: &App, tenant: TenantId) -> Result<(), ConnectError> {
    let home = sign_in::lives_elsewhere(app, tenant).await;
    match home.and_then(|home| home.refusal(app.config.cloud)) {
        None => Ok(()),
        Some(why) => {
            let missing = vec![Missing::of(Field::TenantId, why)];
            Err(ConnectError::NotProven { missing, connected_already: false })
        }
    }
}

/// What is said to an operator whose word would be for another person than the one they know of.
pub(crate) const SOMEBODY_ELSE: &str =
    "somebody else has signed in since; look who it is, and confirm again if you vouch for them";

/// Takes the secret of a tenant's own application away again, unless the tenant is connected by it: by somebody else
/// meanwhile, or by ourselves where the answer to that was lost.
async fn remove_unless_lived_by(app: &App, tenant: TenantId, name: &str) -> Result<(), ConnectError> {
    if is_lived_by(app, tenant).await? {
        return Ok(());
    }
    app.ports.vault.remove(name).await?;
    if is_lived_by(app, tenant).await? {
        // Whoever connected it between the two looks found it there.
        app.ports.vault.restore(name).await?;
    }
    Ok(())
}

/// A removal may have come between our look at the secret and the binding. Of the two, the binding holds.
async fn keep_if_taken(app: &App, name: &str, taken: &Result<Connection, ConnectError>) -> Result<(), ConnectError> {
    if taken.as_ref().is_ok_and(|connection| connection.application == ApplicationName::Own) {
        app.ports.vault.restore(name).await?;
    }
    Ok(())
}

async fn is_lived_by(app: &App, tenant: TenantId) -> Result<bool, ConnectError> {
    let known = load(app.ports.store.as_ref(), tenant).await?.map(|known| known.connection);
    Ok(known.is_some_and(|known| known.state != State::Removed && known.application == ApplicationName::Own))
}

async fn prove_and_bind(
    app: &App,
    new: &NewConnection,
    ground: &Ground,
    trail: &[Entry],
) -> Result<Connection, ConnectError> {
    let application = choose_application(app, new.tenant_id).await?;
    let subject = ground.subject(new, &application);
    // Storage knows no region.
    let moves = |known: &Connection, feed: Feed| {
        known.application != application || (known.region != subject.region && feed != Feed::Telemetry)
    };
    let proof = ground.prove(app, &subject, &feeds_to_prove(new, ground.ours(), moves)).await?;
    let writes = trail.iter().map(Entry::write).collect::<Result<Vec<_>, _>>()?;
    let bound = bind_proven(app, new, ground, application.clone(), &proof, writes).await?;
    bound.ok_or_else(|| ConnectError::Platform("the tenant changed meanwhile; run the command again".to_owned()))
}

fn proven_words(feeds: &[Feed]) -> String {
    let names: Vec<&str> = feeds.iter().map(|feed| feed.name()).collect();
    format!("Access is proven to {}.", names.join(", "))
}

/// What is there before a tenant is connected.
struct Ground {
    /// As the account calls itself.
    account: String,
    /// What makes the account, where it is new.
    making: Vec<Write>,
    known: Option<Loaded>,
    storage: Option<Storage>,
    region: Option<Region>,
}

impl Ground {
    async fn survey(app: &App, new: &NewConnection, by: &Actor) -> Result<Self, ConnectError> {
        let store = app.ports.store.as_ref();
        let Prepared { account, writes } = account::prepare(store, &new.account, app.clock.now(), by).await?;
        let account = account.name;
        let known = load(store, new.tenant_id).await?;
        if let Some(bound) = known.as_ref().filter(|known| known.connection.is_bound_elsewhere(&account)) {
            return Err(ConnectError::BoundElsewhere(bound.connection.account.clone()));
        }
        let ours = known.as_ref().map(|known| &known.connection).filter(|known| known.is_bound_to(&account));
        let storage = new.storage.clone().or(ours.and_then(|known| known.storage.clone()));
        let region = new.region.or(ours.and_then(|known| known.region));
        Ok(Self { account, making: writes, known, storage, region })
    }

    /// Who signed in last, if that was for this account.
    fn last_consent(&self) -> Option<&Consent> {
        let known = self.known.as_ref().map(|known| &known.connection);
        known.filter(|known| known.account == self.account).and_then(|known| known.consent_for(&self.account))
    }

    /// The connection, if the account has it already.
    fn ours(&self) -> Option<&Connection> {
        self.known.as_ref().map(|known| &known.connection).filter(|known| known.is_bound_to(&self.account))
    }

    fn is_return(&self) -> bool {
        self.known.as_ref().is_some_and(|known| known.connection.state == State::Removed)
    }

    fn subject<'a>(&'a self, new: &NewConnection, application: &'a ApplicationName) -> Subject<'a> {
        Subject { tenant: new.tenant_id, application, region: self.region, storage: self.storage.as_ref() }
    }

    fn entry(&self, app: &App, new: &NewConnection, by: &Actor, action: Action) -> Entry {
        Entry::new(app.clock.now(), by, action).of_tenant(new.tenant_id).of_account(&self.account)
    }

    /// # Errors
    /// [`ConnectError::NotProven`]
    async fn prove(&self, app: &App, subject: &Subject<'_>, feeds: &[Feed]) -> Result<Proof, ConnectError> {
        let proof = prove(app, subject, feeds).await;
        let missing = proof.missing();
        if missing.is_empty() {
            Ok(proof)
        } else {
            Err(ConnectError::NotProven { missing, connected_already: self.ours().is_some() })
        }
    }
}

/// Binds what is proven, together with these writes. `None` when the tenant changed meanwhile.
async fn bind_proven(
    app: &App,
    new: &NewConnection,
    ground: &Ground,
    application: ApplicationName,
    proof: &Proof,
    mut writes: Vec<Write>,
) -> Result<Option<Connection>, ConnectError> {
    let binding = Binding {
        tenant_id: new.tenant_id,
        account: ground.account.clone(),
        application,
        region: new.region,
        storage: new.storage.clone(),
        feeds: proof.conditions(),
        state: State::Active,
        proven: true,
        consent: None,
    };
    writes.extend(ground.making.iter().cloned());
    let known = ground.known.as_ref();
    if let Some(consent) = known.and_then(|known| known.connection.consent_for(&binding.account)) {
        // What this person came by is used up with it.
        writes.extend(invitation::spend_by_vouching(app, consent, new.tenant_id).await?);
    }
    match bind(app, known, &binding, writes).await {
        Ok(connection) => Ok(Some(connection)),
        Err(StoreError::Conflict) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Those asked for; and of the others that nothing refuses now those that `moves`, because their application or region
/// becomes another one: what works must not be moved untried.
fn feeds_to_prove(
    new: &NewConnection,
    ours: Option<&Connection>,
    moves: impl Fn(&Connection, Feed) -> bool,
) -> Vec<Feed> {
    let others = ours.into_iter().flat_map(|known| {
        let works = known.feeds.iter().filter(|(_, state)| state.refused.is_none()).map(|(feed, _)| *feed);
        let others: Vec<Feed> = works.filter(|feed| !new.feeds.contains(feed) && moves(known, *feed)).collect();
        others
    });
    new.feeds.iter().copied().chain(others).collect()
}

/// What can be said of a request before anything is opened.
///
/// # Errors
/// [`ConnectError::Unsupported`], with what to write instead.
pub fn check(new: &NewConnection) -> Result<(), ConnectError> {
    account::name(&new.account)?;
    if new.feeds.is_empty() {
        return Err(ConnectError::Unsupported("a connection needs at least one feed".to_owned()));
    }
    if new.storage.is_some() && !new.feeds.contains(&Feed::Telemetry) {
        return Err(ConnectError::Unsupported(
            "--storage belongs to the telemetry feed; name that too, as in --feeds telemetry (the tenant's other feeds stay \
             as they are)"
                .to_owned(),
        ));
    }
    Ok(())
}

/// A tenant whose own application lies in the vault uses that; every other one the provider's.
async fn choose_application(app: &App, tenant: TenantId) -> Result<ApplicationName, ConnectError> {
    let own = ApplicationName::Own.vault_name(&app.config.secrets_prefix, tenant);
    match app.ports.vault.read(&own, Stage::Current, None).await {
        Ok(_) => Ok(ApplicationName::Own),
        Err(VaultError::NotFound(_)) => Ok(ApplicationName::App),
        Err(error) => Err(error.into()),
    }
}

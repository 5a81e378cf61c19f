//! One stage: a simulator with an application and tenants, the app under test, and what came of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use embedded::{Database, Deliveries, Machine, Rotations, VaultKey};
use futures::executor::block_on;
use jiff::{SignedDuration, Timestamp};
use local::worker::Worker;
use serde_json::{Value, json};
use shared::{
    App,
    audit::{self, Action, Actor},
    clock::Clock,
    cloud::Region,
    config::Config,
    consent::{
        connect::{NewConnection, connect},
        invitation::{InviteError, Invited, NewInvitation, invite},
    },
    http::Client,
    metrics::Metrics,
    ports::{PerFeed, Ports, vault::Stage as Label},
    record::read_object,
    secret::Secret,
    tenant::{
        Capability, Consent, Feed, TenantId,
        list::{TenantView, list},
        shard_partition,
    },
};
use simulator::{
    AccessTokenVersion, AdminRole, Alert, AppRole, AppRoleAssignment, Application, ClientSecret, Entry, Fault,
    GroupMembershipClaims, Route, Simulator, Tenant, User, UserKind, World,
};
use url::Url;

use crate::{
    Canary, Issuer, MemoryLake, RecordingStore, SimulatorTransport, Visitor,
    canary::{Listener, overhear},
};

pub const CLIENT: &str = "a0000000-0000-4000-8000-00000000c11e";
pub const HOME: &str = "a0000000-0000-4000-8000-000000000001";
pub const TENANT: &str = "a0000000-0000-4000-8000-0000000000aa";
/// A Global Administrator of that tenant.
pub const ADMIN: &str = "a0000000-0000-4000-8000-0000000ad111";
pub const PUBLIC_URL: &str = "https://muster.example.com";
pub const ALERT_ROLE: &str = "Alert.Read.All";
pub const MACHINE_ROLE: &str = "Machine.Read.All";
/// The canary: it must appear in no log, no error and no state.
pub const SECRET: &str = "canary-secret-5d1f";

/// Noon; every story begins here.
pub fn at(minute: i64) -> Timestamp {
    let noon: Timestamp = "2026-11-22T12:00:00Z".parse().expect("a constant");
    noon + minutes(minute)
}

pub fn minutes(minutes: i64) -> SignedDuration {
    SignedDuration::from_mins(minutes)
}

pub fn seconds(seconds: i64) -> SignedDuration {
    SignedDuration::from_secs(seconds)
}

/// A time as Microsoft would write it.
pub fn stamp(at: Timestamp) -> String {
    simulator::dotnet(at)
}

/// The multi-tenant application with its one secret.
pub fn application() -> Application {
    Application {
        client_id: CLIENT.to_owned(),
        home_tenant_id: HOME.to_owned(),
        name: "Muster".to_owned(),
        secrets: vec![ClientSecret {
            key_id: "a0000000-0000-4000-8000-00000000000c".to_owned(),
            value: SECRET.to_owned(),
            start: at(-100_000),
            end: at(1_000_000),
            usable_from: None,
        }],
        roles: vec![ALERT_ROLE.to_owned()],
        ..Application::default()
    }
}

#[derive(Debug)]
pub struct Stage {
    pub simulator: Simulator,
    pub app: App,
    pub deliveries: PerFeed<Arc<dyn Deliveries>>,
    pub rotations: Arc<dyn Rotations>,
    pub lake: Arc<MemoryLake>,
    pub store: Arc<RecordingStore>,
    /// Every origin that a request was sent to.
    pub origins: Arc<Mutex<BTreeSet<String>>>,
    /// The documents of metrics, one for each invocation that had something to tell.
    documents: Arc<Mutex<Vec<String>>>,
    /// What visitors were shown.
    pages: Mutex<Vec<String>>,
    /// The tokens of invitations, which stand in links, and on the page of whoever follows one.
    links: Mutex<Vec<String>>,
    /// What browsers keep for us.
    cookies: Mutex<Vec<String>>,
    listener: Listener,
}

impl Stage {
    /// One tenant that has approved, nothing connected yet.
    pub fn new() -> Self {
        Self::with(&[])
    }

    /// With these settings of the environment.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let listener = Listener::new();
        let simulator = Simulator::new(7, at(0));
        let clock = Clock::manual(at(0));
        let public = [("MUSTER_PUBLIC_URL", PUBLIC_URL), ("MUSTER_PROVIDER_NAME", "Example & Sons Security")];
        let settings: BTreeMap<String, String> =
            public.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let config = Config::from_lookup(|name| settings.get(name).cloned()).expect("a valid configuration");
        let database = Database::in_memory().expect("SQLite in memory");
        let lake = Arc::new(MemoryLake::default());
        let key = VaultKey::ephemeral().expect("randomness");
        let embedded::Platform { mut ports, deliveries, rotations } =
            embedded::platform(&database, key, lake.clone(), &clock);
        let store = RecordingStore::over(ports.store.clone());
        ports.store = store.clone();
        let origins = Arc::default();
        let transport =
            SimulatorTransport { simulator: simulator.clone(), clock: clock.clone(), origins: Arc::clone(&origins) };
        let http = Client::in_process(Arc::new(transport), config.trusted_origins());
        let mut app = App::new(Arc::new(config), ports, http, clock);
        let documents = Arc::default();
        app.metrics = Metrics::Kept(Arc::clone(&documents));
        simulator.world(|world| {
            world.add_application(application());
            let registration = world.registration(CLIENT);
            registration.redirect_uris = ["consent", "login"].map(|of| format!("{PUBLIC_URL}/{of}/callback")).into();
            registration.app_roles = ["Muster.Operator", "Muster.Reader"].map(AppRole::new).into();
            registration.delegated_permissions = vec!["openid".to_owned(), "profile".to_owned()];
            registration.group_membership_claims = GroupMembershipClaims::DirectoryRole;
            world.add_tenant(Tenant::new(HOME, "Example & Sons Security"));
            world.add_tenant(Tenant::new(TENANT, "Contoso").consented(CLIENT, &[ALERT_ROLE], at(-10_000)));
        });
        let (pages, links, cookies) = Default::default();
        let stage = Self {
            simulator,
            app,
            deliveries,
            rotations,
            lake,
            store,
            origins,
            documents,
            pages,
            links,
            cookies,
            listener,
        };
        stage.store_application(&json!({"kind": "client_secret", "value": SECRET}), "v1");
        block_on(local::vault::ensure_signing_key(&stage.app)).expect("the vault takes a key");
        stage
    }

    /// As [`Stage::new`], without any secret: the platform issues tokens, and the application trusts them.
    pub fn federated() -> (Self, Arc<Issuer>) {
        let (stage, issuer) = Self::new().on_a_platform_with_identity();
        issuer.is_trusted_by(CLIENT);
        // Nothing stored before stands in for it.
        for version in ["v2", "v3"] {
            stage.store_application(&json!({"kind": "federated"}), version);
        }
        (stage, issuer)
    }

    /// The same stage, whose platform issues tokens that no application trusts yet.
    pub fn on_a_platform_with_identity(mut self) -> (Self, Arc<Issuer>) {
        let issuer = Arc::new(Issuer::known_to(&self.simulator));
        let App { config, ports, http, clock, metrics, .. } = self.app.clone();
        let ports = Ports { identity: issuer.clone(), ..ports };
        self.app = App { metrics, ..App::new(config, ports, http, clock) };
        (self, issuer)
    }

    /// Nobody has approved anything; the tenant has an administrator.
    pub fn unapproved() -> Self {
        let stage = Self::new();
        stage.world(|world| world.add_tenant(Tenant::new(TENANT, "Contoso").with_user(Self::admin(ADMIN))));
        stage
    }

    /// A Global Administrator of this object id.
    pub fn admin(oid: &str) -> User {
        User {
            oid: oid.to_owned(),
            name: "Ada <b>Admin</b>".to_owned(),
            upn: format!("{oid}@contoso.example"),
            kind: UserKind::Member,
            roles: vec![AdminRole::Global],
        }
    }

    /// Somebody of this tenant's who holds that role of our application there: of the provider's, or of a customer's, who
    /// may assign our roles to himself.
    pub fn colleague(&self, tenant: &str, oid: &str, role: Option<&str>) {
        self.world(|world| {
            let user = User { oid: oid.to_owned(), roles: Vec::new(), ..Self::admin(oid) };
            let user = User { name: "Olga <i>Operator</i>".to_owned(), upn: format!("{oid}@example.com"), ..user };
            world.tenant(tenant).expect("a tenant of the stage's").users.push(user);
            if let Some(role) = role {
                world.assign(tenant, AppRoleAssignment::to_user(CLIENT, oid, role)).expect("Graph takes it");
            }
        });
    }

    /// A browser in which an operator has signed in.
    pub fn operator(&self) -> Visitor<'_> {
        self.signed_in("Muster.Operator", "a0000000-0000-4000-8000-0000000000e1")
    }

    /// A browser in which somebody has signed in who may only look.
    pub fn reader(&self) -> Visitor<'_> {
        self.signed_in("Muster.Reader", "a0000000-0000-4000-8000-0000000000e2")
    }

    /// An access token for our application that this tenant gives to a program of its own, which holds that role there.
    pub fn script_token(&self, tenant: &str, role: Option<&str>) -> String {
        let client = "a0000000-0000-4000-8000-00000000bee5";
        self.world(|world| {
            world.registration(CLIENT).access_token_version = AccessTokenVersion::V2;
            let name = "Nightly script".to_owned();
            let own =
                Application { client_id: client.to_owned(), home_tenant_id: tenant.to_owned(), name, ..application() };
            world.add_application(own);
            if let Some(role) = role {
                world.assign(tenant, AppRoleAssignment::to_application(CLIENT, client, role)).expect("Graph takes it");
            }
        });
        let form = format!(
            "client_id={client}&client_secret={SECRET}&grant_type=client_credentials&scope={CLIENT}%2F.default"
        );
        let target = format!("/{tenant}/oauth2/v2.0/token");
        let asked = simulator::Request::post(&target, "application/x-www-form-urlencoded", form);
        let answer: Value = serde_json::from_slice(&self.simulator.handle(asked).body.collect_bytes()).expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    fn signed_in(&self, role: &str, oid: &str) -> Visitor<'_> {
        self.colleague(HOME, oid, Some(role));
        let mut visitor = self.visitor();
        let arrived = visitor.log_in(oid);
        assert_eq!((arrived.status, arrived.location.as_str()), (303, "/"), "{}", arrived.body);
        visitor
    }

    /// A link for this account, for any tenant.
    pub fn invite(&self, account: &str) -> String {
        self.try_invite(account, None).expect("an invitation")
    }

    pub fn invite_expecting(&self, account: &str, tenant: Option<&str>) -> String {
        self.try_invite(account, tenant).expect("an invitation")
    }

    /// A link for this account and these feeds, for any tenant.
    pub fn invite_for(&self, account: &str, feeds: &[Feed]) -> Result<String, String> {
        self.invite_to(account, feeds, None)
    }

    pub fn try_invite(&self, account: &str, expected_tenant: Option<&str>) -> Result<String, String> {
        self.invite_to(account, &[Feed::Alerts], expected_tenant)
    }

    fn invite_to(&self, account: &str, feeds: &[Feed], expected_tenant: Option<&str>) -> Result<String, String> {
        let new = NewInvitation {
            account: account.to_owned(),
            feeds: feeds.to_vec(),
            expected_tenant: expected_tenant.map(str::to_owned),
            lifetime: shared::consent::invitation::LIFETIME,
            once: None,
        };
        self.invited(&new).map(|invited| invited.link.to_string()).map_err(|error| error.to_string())
    }

    /// What an operator asked for.
    pub fn invited(&self, new: &NewInvitation) -> Result<Invited, InviteError> {
        let invited = block_on(invite(&self.app, new, &Actor::CommandLine));
        match &invited {
            Ok(invited) => self.sent(&invited.link),
            Err(error) => overhear(error),
        }
        invited
    }

    /// This link is a secret from now on.
    pub fn sent(&self, link: &Url) {
        note(&self.links, link.path().rsplit('/').next().unwrap_or_default());
    }

    /// Everything that was ever done here, oldest first.
    pub fn trail(&self) -> Vec<audit::Entry> {
        let all = audit::before(self.app.ports.store.as_ref(), self.now() + seconds(1), usize::MAX);
        let mut entries = block_on(all).expect("the store answers");
        // Those of one moment as their actions are listed: their keys are random.
        entries.sort_by_key(|entry| (entry.at, entry.action as u8));
        entries
    }

    /// The actions of the trail and what each says.
    pub fn deeds(&self) -> Vec<(Action, String)> {
        self.trail().into_iter().map(|entry| (entry.action, entry.detail)).collect()
    }

    pub fn visitor(&self) -> Visitor<'_> {
        Visitor::new(self)
    }

    /// All tenants, as operators see them.
    pub fn tenants(&self) -> Vec<TenantView> {
        block_on(list(self.app.ports.store.as_ref(), self.now())).expect("the store answers")
    }

    /// As [`Stage::new`]; the tenant has approved what these feeds need, and is connected with them at noon.
    pub fn with_feeds(feeds: &[Feed]) -> Self {
        let stage = Self::new();
        stage.approves(&[ALERT_ROLE, MACHINE_ROLE]);
        stage.connect_feeds(feeds, None).expect("the tenant has approved");
        stage
    }

    /// The first tenant's administrator approves these roles, in the place of those before, and they are in force.
    pub fn approves(&self, roles: &[&str]) {
        let consents = Tenant::new(TENANT, "").consented(CLIENT, roles, at(-10_000)).consents;
        self.tenant(|tenant| tenant.consents = consents);
    }

    /// As [`Stage::new`], with the tenant connected at noon.
    pub fn connected() -> Self {
        let stage = Self::new();
        stage.connect(TENANT).expect("the tenant has approved");
        stage
    }

    /// The first tenant's own application, in the vault.
    pub fn store_own_application(&self, client_id: &str) {
        let credential = json!({"kind": "client_secret", "value": SECRET});
        let entry = json!({"client_id": client_id, "home_tenant_id": TENANT, "credential": credential}).to_string();
        let name = format!("muster/tenants/{TENANT}");
        block_on(self.app.ports.vault.put(&name, "v1", &Secret::new(entry), &[Label::Current], None))
            .expect("the vault takes an application");
    }

    pub fn store_application(&self, credential: &Value, version: &str) {
        let entry = json!({"client_id": CLIENT, "home_tenant_id": HOME, "credential": credential}).to_string();
        let entry = Secret::new(entry);
        block_on(self.app.ports.vault.put("muster/app", version, &entry, &[Label::Current], None))
            .expect("the vault takes an application");
    }

    pub fn connect(&self, tenant: &str) -> Result<(), String> {
        self.connect_for(tenant, "Contoso")
    }

    /// Any tenant, for the account of this name.
    pub fn connect_tenant(&self, tenant: &str, account: &str) -> Result<(), String> {
        self.connect_for(tenant, account)
    }

    /// The first tenant, for the account of this name.
    pub fn connect_as(&self, account: &str) -> Result<(), String> {
        self.connect_for(TENANT, account)
    }

    fn connect_for(&self, tenant: &str, account: &str) -> Result<(), String> {
        self.connect_with(tenant, account, &[Feed::Alerts], None)
    }

    /// The first tenant, proven for these feeds; its telemetry lies in `ACCOUNT/QUEUE`.
    pub fn connect_feeds(&self, feeds: &[Feed], storage: Option<&str>) -> Result<(), String> {
        self.connect_with(TENANT, "Contoso", feeds, storage)
    }

    /// As [`Stage::connect_feeds`], in this region.
    pub fn connect_in(&self, region: Region, feeds: &[Feed]) -> Result<(), String> {
        let new = NewConnection {
            tenant_id: TENANT.parse()?,
            account: "Contoso".to_owned(),
            feeds: feeds.to_vec(),
            region: Some(region),
            storage: None,
        };
        self.connect_new(&new)
    }

    pub(crate) fn connect_with(
        &self,
        tenant: &str,
        account: &str,
        feeds: &[Feed],
        storage: Option<&str>,
    ) -> Result<(), String> {
        let new = NewConnection {
            tenant_id: tenant.parse()?,
            account: account.to_owned(),
            feeds: feeds.to_vec(),
            region: None,
            storage: storage.map(str::parse).transpose()?,
        };
        self.connect_new(&new)
    }

    fn connect_new(&self, new: &NewConnection) -> Result<(), String> {
        block_on(connect(&self.app, new, &Actor::CommandLine))
            .map(|_| ())
            .map_err(|error| error.to_string())
            .inspect_err(|error| overhear(error))
    }

    pub fn world<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        self.simulator.world(change)
    }

    /// Changes the first tenant's world.
    pub fn tenant<R>(&self, change: impl FnOnce(&mut Tenant) -> R) -> R {
        self.world(|world| change(world.tenant(TENANT).expect("the first tenant")))
    }

    pub fn put(&self, alert: Alert) {
        self.tenant(|tenant| tenant.alerts.put(alert));
    }

    /// Scripts Defender's next answers to `/api/alerts`.
    pub fn script(&self, faults: impl IntoIterator<Item = Fault>) {
        self.world(|world| world.script(Route::Alerts, faults));
    }

    /// The host of everything on this stage.
    pub fn machine(&self) -> Machine {
        let (app, deliveries, rotations) = (self.app.clone(), self.deliveries.clone(), self.rotations.clone());
        Machine { app, deliveries, rotations }
    }

    pub fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    /// Moves both clocks.
    pub fn pass(&self, time: SignedDuration) {
        self.simulator.advance(time);
        self.app.clock.advance(time);
    }

    /// One minute later, one tick of the alerts, everything it sets going.
    pub fn tick(&self) {
        self.pass(minutes(1));
        self.pull(Feed::Alerts);
    }

    /// One tick of a feed now, everything it sets going.
    pub fn pull(&self, feed: Feed) {
        block_on(local::serve::fire(&self.app, feed, self.now(), 60));
        self.drain();
    }

    pub fn ticks(&self, count: usize) {
        for _ in 0..count {
            self.tick();
        }
    }

    /// Handles messages of every feed until the queues are empty.
    pub fn drain(&self) {
        Feed::ALL.into_iter().for_each(|feed| self.drain_of(feed));
    }

    /// As [`Stage::drain`], of one feed.
    pub fn drain_of(&self, feed: Feed) {
        let worker = Worker::new(self.machine(), feed);
        while block_on(worker.drain(10)).expect("the queue answers") > 0 {}
    }

    /// Ticks until no older data is outstanding, at most `most` times.
    pub fn walk_through(&self, most: usize) {
        for _ in 0..most {
            self.tick();
            if !self.view().backlog {
                return;
            }
        }
        panic!("the backlog is not done after {most} ticks: {:?}", self.view());
    }

    pub fn view(&self) -> TenantView {
        self.tenants().into_iter().find(|view| view.tenant_id.to_string() == TENANT).expect("the tenant is connected")
    }

    pub fn capability(&self) -> Capability {
        self.capability_of(Feed::Alerts)
    }

    pub fn capability_of(&self, feed: Feed) -> Capability {
        self.view().capabilities[&feed].clone()
    }

    /// The version of every state item of the first tenant and of its connection.
    pub fn state_versions(&self) -> Vec<(String, u64)> {
        let tenant: TenantId = TENANT.parse().expect("a constant");
        [tenant.partition(), shard_partition(tenant.shard())]
            .iter()
            .flat_map(|partition| block_on(self.app.ports.store.query(partition, "")).expect("the store answers"))
            .map(|(key, item)| (key.sort, item.version))
            .collect()
    }

    /// All consents to a tenant, oldest first.
    pub fn consents(&self, tenant: &str) -> Vec<Consent> {
        let tenant = tenant.parse().expect("a tenant id");
        let known = block_on(shared::tenant::load(self.app.ports.store.as_ref(), tenant)).expect("the store answers");
        known.map(|known| known.connection.consents).unwrap_or_default()
    }

    /// Every event in the lake, object by object.
    pub fn events(&self) -> Vec<Value> {
        let mut events = Vec::new();
        for (key, object) in self.lake.objects().iter().filter(|(key, _)| key.starts_with("alerts/")) {
            read_object(object, |line| {
                events.push(serde_json::from_str(line)?);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{key}: {error}"));
        }
        events
    }

    pub fn quarantined(&self) -> Vec<Value> {
        let objects = self.lake.objects();
        let records = objects.iter().filter(|(key, _)| key.starts_with("quarantine/alerts/"));
        records.map(|(key, object)| serde_json::from_slice(object).unwrap_or_else(|e| panic!("{key}: {e}"))).collect()
    }

    /// (alert id, `lastUpdateTime`, activity) of every event, sorted.
    pub fn delivered(&self) -> Vec<(String, String, String)> {
        let text = |event: &Value, pointer: &str| {
            event.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let mut all: Vec<_> = self
            .events()
            .iter()
            .map(|event| {
                (
                    text(event, "/finding_info/uid"),
                    text(event, "/metadata/original_time"),
                    text(event, "/activity_name"),
                )
            })
            .collect();
        all.sort();
        all
    }

    pub fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.delivered().into_iter().map(|(id, _, _)| id).collect();
        ids.dedup();
        ids
    }

    /// The requests that reached `/api/alerts` since the log was last cleared.
    pub fn defender_calls(&self) -> Vec<Entry> {
        self.simulator.log().into_iter().filter(|entry| entry.target.starts_with("/api/")).collect()
    }

    /// The metrics of every invocation since this was last asked, each without what the format adds.
    pub fn metrics(&self) -> Vec<Value> {
        let bare = |document: String| {
            let mut root: serde_json::Map<String, Value> = serde_json::from_str(&document).expect("JSON");
            root.retain(|name, _| name != "_aws" && name != "function");
            Value::Object(root)
        };
        self.documents().into_iter().map(bare).collect()
    }

    /// The documents themselves. None names a tenant: an id has hyphens, and nothing else here does.
    pub fn documents(&self) -> Vec<String> {
        let documents = std::mem::take(&mut *self.documents.lock().unwrap_or_else(PoisonError::into_inner));
        for document in &documents {
            assert!(!document.contains('-'), "{document}");
            overhear(document);
        }
        documents
    }

    /// Everything that was logged so far, at whatever level.
    pub fn heard(&self) -> String {
        self.listener.heard()
    }

    /// A browser was shown this page.
    pub(crate) fn shown(&self, page: &str) {
        note(&self.pages, page);
    }

    /// A browser was given this to keep.
    pub(crate) fn given(&self, cookie: &str) {
        note(&self.cookies, cookie);
    }

    /// Nothing secret is in anything that leaves us, and nobody's name where it does not belong.
    fn assert_nothing_leaked(&self) {
        let canary = Canary::of(&self.simulator).and(noted(&self.cookies));
        canary.look_for_secrets(&noted(&self.pages).join("\n")).expect("a page is no place for a secret");
        // Whoever was invited sees their own link on a page; a log shows it to others.
        let canary = canary.and(noted(&self.links));
        self.documents();
        canary.look_for_anything(&self.heard()).expect("a log is no place for a secret, nor for a name");
        let inside = format!("{:?} {:?} {:?}", self.app.config, self.app.tokens, self.app.ports.vault);
        canary.look_for_anything(&inside).expect("whatever is printed of ourselves, no secret is");
        canary.look_for_secrets(&self.store.written()).expect("the state is no place for a secret");
        for (key, object) in self.lake.objects() {
            let mut text = key.clone();
            let unpacked = read_object(&object, |line| {
                text.push_str(line);
                Ok(())
            });
            if unpacked.is_err() {
                text.push_str(&String::from_utf8_lossy(&object));
            }
            canary.look_for_secrets(&text).expect("the lake is no place for a secret");
        }
    }

    /// No version twice, and the ledger says what the lake holds.
    pub fn assert_exactly_once(&self) {
        let uids: Vec<String> = self
            .events()
            .iter()
            .map(|event| event["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
            .collect();
        let distinct: BTreeSet<&String> = uids.iter().collect();
        assert_eq!(distinct.len(), uids.len(), "a version was delivered twice");
        let ledger = self.view().ledger;
        assert!(ledger.balances(), "{ledger:?}");
        assert_eq!(ledger.delivered, uids.len() as u64, "{ledger:?}");
        assert_eq!(ledger.quarantined, self.quarantined().len() as u64, "{ledger:?}");
    }
}

fn note(book: &Mutex<Vec<String>>, text: &str) {
    book.lock().unwrap_or_else(PoisonError::into_inner).push(text.to_owned());
}

fn noted(book: &Mutex<Vec<String>>) -> Vec<String> {
    book.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Stage {
    /// A request that the simulator does not know is a defect, and so is a leak, whatever else the story shows.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.simulator.refusals(), Vec::<String>::new(), "requests unknown to the simulator");
            self.assert_nothing_leaked();
        }
    }
}

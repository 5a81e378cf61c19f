//! Everything the simulator pretends to know: applications, tenants, issuers, quotas, and the faults to come.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::{SignedDuration, Timestamp};

use crate::admin_consent::{ConsentErrors, ConsentPropagation};
use crate::application::{Application, FederatedIssuer, Registration};
use crate::code_grant::Codes;
use crate::fault::{Fault, Route};
use crate::quota::Quota;
use crate::replication::{CredentialPropagation, Replication};
use crate::session::Session;
use crate::storage::StorageAccount;
use crate::tenant::Tenant;

/// The state behind the answers; a test changes it through `Simulator::world`.
#[derive(Debug)]
pub struct World {
    pub now: Timestamp,
    /// How long an access token lives. Entra's default is random between 60 and 90 minutes (MICROSOFT 2.2).
    pub token_lifetime: SignedDuration,
    pub quota: Quota,
    pub consent_propagation: ConsentPropagation,
    pub consent_errors: ConsentErrors,
    /// The id_token the next redeemed code gets in the place of its own, for attacks.
    pub next_id_token: Option<String>,
    pub(crate) codes: Codes,
    /// How long a credential changed through Graph takes to settle.
    pub credential_propagation: CredentialPropagation,
    /// Writes to one application that follow closer than this are refused: 409 `Directory_ConcurrencyViolation`.
    pub graph_write_spacing: SignedDuration,
    pub(crate) replication: Replication,
    /// Who is signed in, by cookie.
    pub(crate) sessions: HashMap<String, Session>,
    pub(crate) issuers: Vec<FederatedIssuer>,
    /// When each tenant and application called Defender, over the last hour.
    pub(crate) calls: HashMap<(String, String), VecDeque<Timestamp>>,
    applications: BTreeMap<String, Application>,
    registrations: BTreeMap<String, Registration>,
    tenants: BTreeMap<String, Tenant>,
    storage_accounts: BTreeMap<String, StorageAccount>,
    scripts: HashMap<(Option<String>, Route), VecDeque<Fault>>,
}

impl World {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            token_lifetime: SignedDuration::from_secs(3599),
            quota: Quota::default(),
            consent_propagation: ConsentPropagation::default(),
            consent_errors: ConsentErrors::default(),
            next_id_token: None,
            codes: Codes::default(),
            credential_propagation: CredentialPropagation::default(),
            graph_write_spacing: SignedDuration::from_secs(1),
            replication: Replication::default(),
            sessions: HashMap::new(),
            issuers: Vec::new(),
            calls: HashMap::new(),
            applications: BTreeMap::new(),
            registrations: BTreeMap::new(),
            tenants: BTreeMap::new(),
            storage_accounts: BTreeMap::new(),
            scripts: HashMap::new(),
        }
    }

    /// Adds an application, or replaces the one with its client id.
    pub fn add_application(&mut self, application: Application) {
        self.applications.insert(application.client_id.to_ascii_lowercase(), application);
    }

    pub fn application(&mut self, client_id: &str) -> Option<&mut Application> {
        self.applications.get_mut(&client_id.to_ascii_lowercase())
    }

    /// What the application's manifest says of people; empty until it is filled.
    pub fn registration(&mut self, client_id: &str) -> &mut Registration {
        self.registrations.entry(client_id.to_ascii_lowercase()).or_default()
    }

    /// Adds a tenant, or replaces the one with its id.
    pub fn add_tenant(&mut self, mut tenant: Tenant) {
        tenant.alerts.belong_to(&tenant.id);
        self.tenants.insert(tenant.id.to_ascii_lowercase(), tenant);
    }

    pub fn tenant(&mut self, tenant_id: &str) -> Option<&mut Tenant> {
        self.tenants.get_mut(&tenant_id.to_ascii_lowercase())
    }

    /// Adds a storage account, or replaces the one of this name.
    pub fn add_storage(&mut self, account: StorageAccount) {
        self.storage_accounts.insert(account.name.clone(), account);
    }

    /// The storage account of this name, at the world's time.
    pub fn storage(&mut self, account: &str) -> Option<&mut StorageAccount> {
        let account = self.storage_accounts.get_mut(account)?;
        account.clock = self.now;
        Some(account)
    }

    /// The `displayName` that Graph shows for a secret or a certificate.
    pub fn name_credential(&mut self, key_id: &str, display_name: &str) {
        self.replication.names.insert(key_id.into(), display_name.into());
    }

    /// The names of everybody in every directory.
    pub fn people(&self) -> Vec<String> {
        self.tenants().flat_map(|tenant| &tenant.users).flat_map(|user| [user.name.clone(), user.upn.clone()]).collect()
    }

    pub(crate) fn find_tenant(&self, tenant_id: &str) -> Option<&Tenant> {
        self.tenants.get(&tenant_id.to_ascii_lowercase())
    }

    pub(crate) fn find_registration(&self, client_id: &str) -> Option<&Registration> {
        self.registrations.get(&client_id.to_ascii_lowercase())
    }

    pub(crate) fn applications(&self) -> impl Iterator<Item = &Application> {
        self.applications.values()
    }

    pub(crate) fn storage_accounts(&self) -> impl Iterator<Item = &StorageAccount> {
        self.storage_accounts.values()
    }

    pub(crate) fn tenants(&self) -> impl Iterator<Item = &Tenant> {
        self.tenants.values()
    }

    /// An external OpenID issuer whose signing keys Entra can fetch.
    pub fn add_issuer(&mut self, issuer: FederatedIssuer) {
        self.issuers.retain(|known| known.issuer != issuer.issuer);
        self.issuers.push(issuer);
    }

    /// What happens to the next requests on this route, whichever tenant they are for.
    pub fn script(&mut self, route: Route, faults: impl IntoIterator<Item = Fault>) {
        self.scripts.entry((None, route)).or_default().extend(faults);
    }

    /// The same for one tenant; its own script comes before the one for all.
    pub fn script_tenant(&mut self, tenant_id: &str, route: Route, faults: impl IntoIterator<Item = Fault>) {
        self.scripts.entry((Some(tenant_id.to_ascii_lowercase()), route)).or_default().extend(faults);
    }

    /// Forgets every fault that has not happened yet.
    pub fn clear_scripts(&mut self) {
        self.scripts.clear();
    }

    pub(crate) fn next_fault(&mut self, tenant_id: Option<&str>, route: Route) -> Fault {
        let own = tenant_id.map(|tenant| (Some(tenant.to_ascii_lowercase()), route));
        let keys = own.into_iter().chain([(None, route)]);
        keys.into_iter()
            .find_map(|key| self.scripts.get_mut(&key).and_then(VecDeque::pop_front))
            .unwrap_or(Fault::Normal)
    }
}

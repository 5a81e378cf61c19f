//! The simulated Microsoft over TCP, on the machine's clock, and a data folder that knows its application.

use std::path::Path;

use harness::{ADMIN, ALERT_ROLE, CLIENT, HOME, SECRET, Stage, TENANT};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Alerts, Application, ClientSecret, GroupMembershipClaims, Quota, Simulator, Tenant};
use tempfile::TempDir;
use tokio::{net::TcpListener, runtime::Runtime};

use crate::programs::Start;

/// A tenant that nobody has approved us in.
pub const STRANGER: &str = "a0000000-0000-4000-8000-0000000000ee";

pub struct Microsoft {
    pub simulator: Simulator,
    pub origin: String,
    /// What serves it.
    _runtime: Runtime,
}

impl Microsoft {
    /// One application, one tenant that has approved it and one that has not, and a quota for a tick a second.
    pub fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let now = Timestamp::now();
        let simulator = Simulator::new(11, now);
        simulator.follow_real_clock();
        let yesterday = now - SignedDuration::from_hours(24);
        simulator.world(|world| {
            world.quota = Quota { per_minute: 1_000_000, per_hour: 1_000_000 };
            world.add_application(Application {
                client_id: CLIENT.to_owned(),
                home_tenant_id: HOME.to_owned(),
                name: "Muster".to_owned(),
                secrets: vec![ClientSecret {
                    key_id: "a0000000-0000-4000-8000-00000000000c".to_owned(),
                    value: SECRET.to_owned(),
                    start: yesterday,
                    end: now + SignedDuration::from_hours(24),
                    usable_from: None,
                }],
                roles: vec![ALERT_ROLE.to_owned()],
                ..Application::default()
            });
            world.add_tenant(Tenant::new(TENANT, "Contoso").consented(CLIENT, &[ALERT_ROLE], yesterday));
            world.add_tenant(Tenant::new(STRANGER, "Fabrikam").with_user(Stage::admin(ADMIN)));
        });
        runtime.spawn(simulator::serve::serve(simulator.clone(), listener));
        Self { simulator, origin, _runtime: runtime }
    }

    pub fn alerts<R>(&self, change: impl FnOnce(&mut Alerts) -> R) -> R {
        self.simulator.world(|world| change(&mut world.tenant(TENANT).unwrap().alerts))
    }

    /// The first tenant's administrator has approved these roles, in the place of those before.
    pub fn approves(&self, roles: &[&str]) {
        let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
        let consents = Tenant::new(TENANT, "Contoso").consented(CLIENT, roles, yesterday).consents;
        self.tenant(|tenant| tenant.consents = consents);
    }

    /// Changes the first tenant.
    pub fn tenant<R>(&self, change: impl FnOnce(&mut Tenant) -> R) -> R {
        self.simulator.world(|world| change(world.tenant(TENANT).unwrap()))
    }

    /// Lets people sign in who are sent back to this origin.
    pub fn sends_back_to(&self, public_url: &str) {
        self.simulator.world(|world| {
            let registration = world.registration(CLIENT);
            registration.redirect_uris = vec![format!("{public_url}/consent/callback")];
            registration.delegated_permissions = vec!["openid".to_owned(), "profile".to_owned()];
            registration.group_membership_claims = GroupMembershipClaims::DirectoryRole;
        });
    }

    /// Points a program here.
    pub fn seen_by(&self, start: Start) -> Start {
        let names = ["MUSTER_LOGIN_URL", "MUSTER_DEFENDER_URL", "MUSTER_GRAPH_URL"];
        let start = names.into_iter().fold(start.asks(&self.simulator), |start, name| start.env(name, &self.origin));
        let storage = |service: &str| format!("{}/storage/{{account}}/{service}", self.origin);
        start.env("MUSTER_BLOB_URL", storage("blob")).env("MUSTER_AZURE_QUEUE_URL", storage("queue"))
    }

    pub fn muster(&self, words: &[&str], data: &Path) -> Start {
        self.seen_by(Start::muster(words).data(data))
    }

    /// A data folder whose vault holds the application.
    pub fn data_folder(&self) -> TempDir {
        let data = tempfile::tempdir().unwrap();
        self.muster(&["vault", "put", "app"], data.path()).input(&vault_entry().to_string()).finish().exits(0);
        data
    }

    /// A data folder with the tenant connected.
    pub fn connected_folder(&self) -> TempDir {
        let data = self.data_folder();
        self.muster(&["connect", TENANT, "--account", "Contoso"], data.path()).finish().exits(0);
        data
    }

    /// What `muster tenants --json` says.
    pub fn tenants(&self, data: &Path) -> Value {
        self.muster(&["tenants", "--json"], data).finish().exits(0).json()
    }
}

impl Drop for Microsoft {
    /// A request that the simulator does not know is a defect, whatever else the test shows.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.simulator.refusals(), Vec::<String>::new());
        }
    }
}

pub fn vault_entry() -> Value {
    json!({
        "client_id": CLIENT,
        "home_tenant_id": HOME,
        "credential": {"kind": "client_secret", "value": SECRET, "expires_at": "2099-01-01T00:00:00Z"},
    })
}

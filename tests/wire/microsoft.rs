//! The simulated Microsoft over TCP, on the machine's clock.

use harness::{ADMIN, ALERT_ROLE, CLIENT, HOME, MACHINE_ROLE, SECRET, Stage, TENANT};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{
    Alert, AppRole, AppRoleAssignment, Application, ClientSecret, CredentialPropagation, Exporter, FederatedCredential,
    FederatedIssuer, GroupMembershipClaims, Machine, Quota, Request, SignInAudience, Simulator, Step, StorageAccount,
    StorageRole, Tenant, User,
};
use tokio::{net::TcpListener, runtime::Runtime};
use url::form_urlencoded;

/// A tenant that brought an application of its own, and that application.
pub const OWNER: &str = "a0000000-0000-4000-8000-0000000000bb";
pub const OWN_CLIENT: &str = "a0000000-0000-4000-8000-00000000b11e";
pub const OWN_SECRET: &str = "canary-own-secret-7c1a";
/// The provider's application for another set of permissions, and the console's own.
pub const EXTRA_CLIENT: &str = "a0000000-0000-4000-8000-00000000e11e";
pub const CONSOLE_CLIENT: &str = "a0000000-0000-4000-8000-00000000d11e";
/// A tenant whose administrator nobody can vouch for but an operator.
pub const UNPROVEN: &str = "a0000000-0000-4000-8000-0000000000cc";
/// The provider's people, who work in the console.
pub const OPERATOR: &str = "a0000000-0000-4000-8000-0000000ad111";
pub const READER: &str = "a0000000-0000-4000-8000-0000000ad222";
/// The provider's scripts: one may do everything, one may look.
pub const SCRIPT: (&str, &str) = ("a0000000-0000-4000-8000-00000000f11e", "canary-script-secret-5a0e");
pub const WATCHER: (&str, &str) = ("a0000000-0000-4000-8000-00000000f22e", "canary-watcher-secret-9d41");
const HAND_MADE: &str = "a0000000-0000-4000-8000-00000000000c";

pub const UNPROVEN_ADMIN: &str = "a0000000-0000-4000-8000-0000000ad333";
/// Every application with its home tenant and the secret that somebody made for it by hand.
pub const APPLICATIONS: [(&str, &str, &str); 4] = [
    (CLIENT, HOME, SECRET),
    (OWN_CLIENT, OWNER, OWN_SECRET),
    (EXTRA_CLIENT, HOME, "canary-extra-secret-83b2"),
    (CONSOLE_CLIENT, HOME, "canary-console-secret-2f6e"),
];

/// Where each tenant's telemetry lies, and for whom.
pub const STORAGE: [(&str, &str, &str); 2] =
    [("contosotelemetry", TENANT, CLIENT), ("fabrikamtelemetry", OWNER, OWN_CLIENT)];
pub const HINTS: &str = "defender-events";

pub struct Microsoft {
    pub simulator: Simulator,
    pub origin: String,
    /// What serves it.
    _runtime: Runtime,
}

impl Microsoft {
    /// The provider's application, which may change itself; a tenant whose administrator will approve it; and a tenant
    /// with an application of its own.
    pub fn new(public_url: &str) -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let now = Timestamp::now();
        let yesterday = now - SignedDuration::from_hours(24);
        let simulator = Simulator::new(12, now);
        simulator.follow_real_clock();
        simulator.world(|world| {
            world.quota = Quota { per_minute: 1_000_000, per_hour: 1_000_000 };
            world.credential_propagation =
                CredentialPropagation { least: SignedDuration::ZERO, most: SignedDuration::from_secs(1) };
            for (client, home, secret) in APPLICATIONS {
                world.add_application(application(client, home, secret, yesterday));
                world.registration(client).owners.push(client.to_owned());
            }
            for (client, secret) in [SCRIPT, WATCHER] {
                world.add_application(Application { roles: vec![], ..application(client, HOME, secret, yesterday) });
            }
            let right = "Application.ReadWrite.OwnedBy";
            let of_home = [CLIENT, EXTRA_CLIENT, CONSOLE_CLIENT].into_iter();
            let provider = Tenant::new(HOME, "Provider")
                .with_user(User::member(OPERATOR, "Olga <i>", "olga@provider.example"))
                .with_user(User::member(READER, "Rita <i>", "rita@provider.example"));
            world.add_tenant(of_home.fold(provider, |tenant, client| tenant.consented(client, &[right], yesterday)));
            world.add_tenant(Tenant::new(TENANT, "Contoso").with_user(Stage::admin(ADMIN)));
            world.add_tenant(Tenant::new(OWNER, "Fabrikam").consented(
                OWN_CLIENT,
                &[ALERT_ROLE, MACHINE_ROLE, right],
                yesterday,
            ));
            world.add_tenant(Tenant::new(UNPROVEN, "Proseware").with_user(Stage::admin(UNPROVEN_ADMIN)));
            for (account, tenant, client) in STORAGE {
                let account =
                    StorageAccount::new(account, tenant).with_container(Exporter::CONTAINER).with_queue(HINTS);
                let account = account.with_role(client, StorageRole::BlobDataReader);
                world.add_storage(account.with_role(client, StorageRole::QueueDataMessageProcessor));
            }
            let sign_in = || vec!["openid".to_owned(), "profile".to_owned()];
            let roles = ["Muster.Operator", "Muster.Reader"];
            for client in [CLIENT, CONSOLE_CLIENT] {
                let registration = world.registration(client);
                registration.redirect_uris = vec![format!("{public_url}/login/callback")];
                registration.delegated_permissions = sign_in();
                registration.app_roles = roles.map(AppRole::new).into();
                for ((person, script), role) in [(OPERATOR, SCRIPT), (READER, WATCHER)].into_iter().zip(roles) {
                    world.assign(HOME, AppRoleAssignment::to_user(client, person, role)).unwrap();
                    world.assign(HOME, AppRoleAssignment::to_application(client, script.0, role)).unwrap();
                }
            }
            world.registration(CONSOLE_CLIENT).sign_in_audience = SignInAudience::MyOrg;
            let registration = world.registration(CLIENT);
            registration.redirect_uris.push(format!("{public_url}/consent/callback"));
            registration.group_membership_claims = GroupMembershipClaims::DirectoryRole;
        });
        runtime.spawn(simulator::serve::serve(simulator.clone(), listener));
        Self { simulator, origin, _runtime: runtime }
    }

    /// Entra knows this issuer and its keys, and lets its subject be any of the provider's applications.
    pub fn trusts(&self, issuer: &str, jwks: &Value, subject: &str, audience: &str) {
        self.simulator.world(|world| {
            let (issuer, jwks) = (issuer.to_owned(), jwks.clone());
            world.add_issuer(FederatedIssuer { issuer: issuer.clone(), jwks, usable_from: None });
            for client in [CLIENT, CONSOLE_CLIENT] {
                world.application(client).unwrap().federated = vec![FederatedCredential {
                    name: "muster".to_owned(),
                    issuer: issuer.clone(),
                    subject: subject.to_owned(),
                    audience: audience.to_owned(),
                    usable_from: None,
                }];
            }
        });
    }

    pub fn put_alert(&self, tenant: &str, alert: Alert) {
        self.simulator.world(|world| world.tenant(tenant).unwrap().alerts.put(alert));
    }

    pub fn put_machine(&self, tenant: &str, id: &str, risk: &str) {
        let machine = Machine::new(id, Timestamp::now()).with("riskScore", json!(risk));
        self.simulator.world(|world| world.tenant(tenant).unwrap().machines.put(machine));
    }

    /// What an exporter does to its storage.
    pub fn export(&self, account: &str, steps: Vec<Step>) {
        self.storage(account, |account| steps.into_iter().for_each(|step| account.export(HINTS, step)));
    }

    pub fn storage<R>(&self, account: &str, change: impl FnOnce(&mut StorageAccount) -> R) -> R {
        self.simulator.world(|world| change(world.storage(account).unwrap()))
    }

    /// Requests whose address holds this, since the log was that long.
    pub fn asked(&self, mark: usize, part: &str) -> usize {
        self.simulator.log()[mark..].iter().filter(|entry| entry.target.contains(part)).count()
    }

    pub fn mark(&self) -> usize {
        self.simulator.log().len()
    }

    /// What a script shows to the console, which is this application.
    pub fn token(&self, script: (&str, &str), console: &str) -> String {
        let (client, secret) = script;
        let scope = format!("{console}/.default");
        let form = [("grant_type", "client_credentials"), ("client_id", client), ("client_secret", secret)];
        let form =
            form_urlencoded::Serializer::new(String::new()).extend_pairs(form).append_pair("scope", &scope).finish();
        let path = format!("/{HOME}/oauth2/v2.0/token");
        let answer = self.simulator.handle(Request::post(&path, "application/x-www-form-urlencoded", form));
        let answer: Value = serde_json::from_slice(&answer.body.collect_bytes()).unwrap();
        answer["access_token"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Every secret that one of the applications has or had.
    pub fn secrets(&self) -> Vec<String> {
        let mut all: Vec<String> = APPLICATIONS.iter().map(|(_, _, secret)| (*secret).to_owned()).collect();
        all.extend([SCRIPT, WATCHER].map(|(_, secret)| secret.to_owned()));
        self.simulator.world(|world| {
            for (client, _, _) in APPLICATIONS {
                all.extend(world.application(client).unwrap().secrets.iter().map(|secret| secret.value.clone()));
            }
        });
        all
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

fn application(client: &str, home: &str, secret: &str, since: Timestamp) -> Application {
    let first = ClientSecret {
        key_id: HAND_MADE.to_owned(),
        value: secret.to_owned(),
        start: since,
        end: since + SignedDuration::from_hours(24 * 90),
        usable_from: None,
    };
    Application {
        client_id: client.to_owned(),
        home_tenant_id: home.to_owned(),
        name: "Muster".to_owned(),
        secrets: vec![first],
        roles: vec![ALERT_ROLE.to_owned(), MACHINE_ROLE.to_owned()],
        ..Application::default()
    }
}

/// An entry of the vault, as an operator stores it.
pub fn entry(client: &str, home: &str, secret: &str) -> Value {
    let credential = json!({
        "kind": "client_secret", "value": secret, "key_id": HAND_MADE, "expires_at": "2099-01-01T00:00:00Z",
    });
    json!({"client_id": client, "home_tenant_id": home, "credential": credential})
}

//! A managed security provider: its Muster, its people, its customers, and the Microsoft they all use.

use std::net::{TcpListener, TcpStream};

use futures::executor::block_on;
use harness::{ADMIN, ALERT_ROLE, CLIENT, HOME, MACHINE_ROLE, Stage, TENANT};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use shared::{
    audit::Actor,
    clock::Clock,
    config::Config,
    consent::invitation::{LIFETIME, NewInvitation, invite},
    tenant::Feed,
};
use simulator::{AdminRole, AppRole, AppRoleAssignment, Consent, Tenant, User, UserKind};
use tempfile::TempDir;

use crate::{
    browser::Browser,
    microsoft::{Microsoft, STRANGER},
    programs::{Running, until},
};

pub const NAME: &str = "Example & Sons Security";
pub const CONTACT: &str = "help@example.com";
/// The customer who has yet to approve, and its Global Administrator as Microsoft's pages name them.
pub const CUSTOMER: &str = STRANGER;
pub const ADMINISTRATOR: &str = "Ada <b>Admin</b>";
/// Somebody there without any role.
pub const EMPLOYEE: &str = "Emil Employee";
/// An administrator of another customer.
pub const NEIGHBOUR: &str = "Nora Neighbour";
/// The provider's own people: who may change things, and who may look.
pub const OPERATOR: &str = "Olga Operator";
pub const READER: &str = "Rita Reader";
/// One of them who has no business here.
pub const COLLEAGUE: &str = "Colin Colleague";

pub struct Provider {
    /// First, because what it has printed is compared with what Microsoft knows.
    _serving: Running,
    pub microsoft: Microsoft,
    /// Where browsers find Muster, without a slash at the end.
    pub origin: String,
    data: TempDir,
}

impl Provider {
    pub fn new() -> Self {
        let mut microsoft = Microsoft::new();
        // Another site than Muster's, as in life: cookies know hosts, and no ports.
        microsoft.origin = microsoft.origin.replace("127.0.0.1", "localhost");
        let origin = free_origin();
        microsoft.sends_back_to(&origin);
        microsoft.simulator.world(|world| {
            let registration = world.registration(CLIENT);
            registration.redirect_uris.push(format!("{origin}/login/callback"));
            registration.app_roles = ["Muster.Operator", "Muster.Reader"].map(AppRole::new).into();
            world.application(CLIENT).unwrap().roles.push(MACHINE_ROLE.to_owned());
            let home = [("0b", OPERATOR), ("0c", READER), ("0f", COLLEAGUE)].map(|(id, name)| person(id, name, &[]));
            world.add_tenant(home.into_iter().fold(Tenant::new(HOME, NAME), Tenant::with_user));
            for (id, role) in [("0b", "Muster.Operator"), ("0c", "Muster.Reader")] {
                world.assign(HOME, AppRoleAssignment::to_user(CLIENT, &oid(id), role)).unwrap();
            }
            let customer = Tenant::new(CUSTOMER, "Fabrikam").with_user(Stage::admin(ADMIN));
            world.add_tenant(customer.with_user(person("0d", EMPLOYEE, &[])));
            world.tenant(TENANT).unwrap().users.push(person("0e", NEIGHBOUR, &[AdminRole::Global]));
        });
        microsoft.approves(&[ALERT_ROLE, MACHINE_ROLE]);
        let data = microsoft.data_folder();
        let listen = origin.strip_prefix("http://").unwrap().to_owned();
        let mut serving = microsoft.muster(&["serve", "--listen", &listen, "--tick", "1"], data.path());
        for (name, value) in settings(&origin) {
            serving = serving.env(name, value);
        }
        let serving = serving.run();
        until("the server listens", || TcpStream::connect(&listen).ok());
        Self { _serving: serving, microsoft, origin, data }
    }

    /// Makes an invitation for this customer account on the command line. The link.
    pub fn invite(&self, account: &str, words: &[&str]) -> String {
        let words = [&["invite", account], words].concat();
        let start = self.microsoft.muster(&words, self.data.path()).env("MUSTER_PUBLIC_URL", &self.origin);
        start.finish().exits(0).stdout.trim().to_owned()
    }

    /// An invitation that was sent this long ago.
    pub fn invited(&self, account: &str, ago: SignedDuration) -> String {
        let clock = Clock::manual(Timestamp::now() - ago);
        let lookup = |name: &str| settings(&self.origin).into_iter().find(|(known, _)| *known == name);
        let config = Config::from_lookup(|name| lookup(name).map(|(_, value)| value.to_owned())).unwrap();
        let machine = embedded::machine(self.data.path(), config, clock).unwrap();
        let new = NewInvitation {
            account: account.to_owned(),
            feeds: vec![Feed::Alerts],
            expected_tenant: None,
            lifetime: LIFETIME,
            once: None,
        };
        block_on(invite(&machine.app, &new, &Actor::CommandLine)).unwrap().link.to_string()
    }

    /// The application has one more secret from now on.
    pub fn makes_a_secret(&self, value: &str) {
        self.microsoft.simulator.world(|world| {
            let secrets = &mut world.application(CLIENT).unwrap().secrets;
            let mut newer = secrets[0].clone();
            (newer.key_id, newer.value) = ("a0000000-0000-4000-8000-0000000000f2".to_owned(), value.to_owned());
            secrets.push(newer);
        });
    }

    /// What `muster tenants --json` says.
    pub fn tenants(&self) -> Value {
        self.microsoft.tenants(self.data.path())
    }

    /// The state of a tenant; none if it is not connected.
    pub fn state(&self, tenant: &str) -> Option<String> {
        let tenants = self.tenants();
        let found = tenants.as_array().into_iter().flatten().find(|each| each["tenant_id"] == tenant)?;
        Some(found["state"].as_str()?.to_owned())
    }

    /// Whether this tenant has let our application in, as far as Microsoft is concerned.
    pub fn is_approved_in(&self, tenant: &str) -> bool {
        let is_ours = |consent: &Consent| consent.client_id == CLIENT;
        self.microsoft.simulator.world(|world| world.tenant(tenant).unwrap().consents.iter().any(is_ours))
    }
}

impl Browser {
    /// At one of Microsoft's pages: signs in as this person, with the button of this name.
    #[track_caller]
    pub fn at_microsoft(&self, heading: &str, person: &str, button: &str) {
        self.sees(heading);
        self.choose(person);
        self.press(button);
    }

    /// Opens the console, and signs in at Microsoft as this person.
    #[track_caller]
    pub fn enters(provider: &Provider, person: &str) -> Self {
        let browser = Self::new();
        browser.open(&provider.origin);
        browser.signs_in_as(person);
        browser
    }

    /// At Microsoft's page of permissions: approves as this person.
    #[track_caller]
    pub fn approves_as(&self, person: &str) {
        self.at_microsoft("Permissions requested", person, "Approve");
    }

    /// At Microsoft's sign-in page, for whom is not signed in yet.
    #[track_caller]
    pub fn signs_in_as(&self, person: &str) {
        self.at_microsoft("Sign in", person, "Sign in");
    }
}

fn settings(origin: &str) -> [(&'static str, &str); 3] {
    [("MUSTER_PUBLIC_URL", origin), ("MUSTER_PROVIDER_NAME", NAME), ("MUSTER_SUPPORT_CONTACT", CONTACT)]
}

/// An origin that nobody uses, as yet.
fn free_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn oid(end: &str) -> String {
    format!("a0000000-0000-4000-8000-0000000000{end}")
}

/// A member of the directory, whose object id ends so.
fn person(id: &str, name: &str, roles: &[AdminRole]) -> User {
    User {
        oid: oid(id),
        name: name.to_owned(),
        upn: format!("{}@example.com", name.replace(' ', ".").to_lowercase()),
        kind: UserKind::Member,
        roles: roles.to_vec(),
    }
}

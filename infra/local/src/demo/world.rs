//! The demo's cast: one tenant for each thing that happens to tenants.

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use simulator::{
    AdminRole, Alert, AppRole, AppRoleAssignment, Application, ClientSecret, ConsentPropagation, Fault, Flood,
    GroupMembershipClaims, Licence, Machine, Machines, Route, Simulator, Tenant, User, UserKind,
};
use url::Url;

#[derive(Debug)]
pub struct Cast {
    pub id: &'static str,
    pub name: &'static str,
}

pub const CLIENT: &str = "0b5e7a10-0000-4000-8000-00000000a990";
const HOME: &str = "0b5e7a10-0000-4000-8000-000000000001";
const KEY_ID: &str = "0b5e7a10-0000-4000-8000-0000000000c1";
const SECRET: &str = "demo-secret-of-no-value";

pub const CONTOSO: Cast = Cast { id: "c0000000-0000-4000-8000-000000000001", name: "Contoso" };
const FABRIKAM: Cast = Cast { id: "c0000000-0000-4000-8000-000000000002", name: "Fabrikam" };
const NORTHWIND: Cast = Cast { id: "c0000000-0000-4000-8000-000000000003", name: "Northwind" };
const TAILSPIN: Cast = Cast { id: "c0000000-0000-4000-8000-000000000004", name: "Tailspin" };
pub const LITWARE: Cast = Cast { id: "c0000000-0000-4000-8000-000000000005", name: "Litware" };
pub const ADATUM: Cast = Cast { id: "c0000000-0000-4000-8000-000000000006", name: "Adatum" };
const WINGTIP: Cast = Cast { id: "c0000000-0000-4000-8000-000000000007", name: "Wingtip" };

/// Comes in by a link during the story, withdraws its consent and comes back.
pub const PROSEWARE: Cast = Cast { id: "c0000000-0000-4000-8000-000000000008", name: "Proseware" };
/// Is left for whoever watches.
pub const WOODGROVE: Cast = Cast { id: "c0000000-0000-4000-8000-000000000009", name: "Woodgrove" };
pub const PROSEWARES_ADMINISTRATOR: &str = "c0000000-0000-4000-8000-0000000ad008";

/// Those who approved long ago.
pub const TENANTS: [Cast; 7] = [CONTOSO, FABRIKAM, NORTHWIND, TAILSPIN, LITWARE, ADATUM, WINGTIP];

/// Those of the provider who sign in to the console, and as what.
pub const OPERATOR: &str = "Olga Operator";
pub const READER: &str = "Rita Reader";
const CONSOLE: [(&str, &str, &str); 2] = [
    ("0b5e7a10-0000-4000-8000-0000000000e1", OPERATOR, "Muster.Operator"),
    ("0b5e7a10-0000-4000-8000-0000000000e2", READER, "Muster.Reader"),
];

pub const INVITE_MINUTE: u32 = 2;
pub const ROTATE_MINUTE: u32 = 20;
pub const CRASH_MINUTE: u32 = 24;
const WITHDRAW_MINUTE: u32 = 36;
pub const INVITE_AGAIN_MINUTE: u32 = 54;
pub const ACCEPT_MINUTE: u32 = 52;

/// What every tenant approves.
const ROLES: [&str; 2] = ["Alert.Read.All", "Machine.Read.All"];
/// How many machines each tenant has, and how many of Adatum's vanish at once.
const MACHINES: u32 = 40;
pub const CROWD: u32 = 15;

pub fn application_entry() -> String {
    let credential = json!({ "kind": "client_secret", "value": SECRET, "key_id": KEY_ID });
    json!({ "client_id": CLIENT, "home_tenant_id": HOME, "credential": credential }).to_string()
}

/// Seven have approved, everyone has a past of a few days. `public_url` is where people's browsers find us.
pub fn build(simulator: &Simulator, start: Timestamp, public_url: &Url) {
    let long_ago = start - SignedDuration::from_hours(24 * 30);
    simulator.world(|world| {
        // Short, so that a withdrawn consent shows within the hour.
        world.token_lifetime = SignedDuration::from_mins(12);
        world.consent_propagation = ConsentPropagation {
            service_principal: SignedDuration::from_secs(10),
            roles: SignedDuration::from_secs(90),
        };
        let registration = world.registration(CLIENT);
        registration.redirect_uris =
            vec![format!("{public_url}consent/callback"), format!("{public_url}login/callback")];
        registration.app_roles = CONSOLE.map(|(_, _, role)| AppRole::new(role)).into();
        registration.delegated_permissions = vec!["openid".to_owned(), "profile".to_owned()];
        registration.group_membership_claims = GroupMembershipClaims::DirectoryRole;
        registration.owners = vec![CLIENT.to_owned()];
        let mut home =
            Tenant::new(HOME, "Example Security").consented(CLIENT, &["Application.ReadWrite.OwnedBy"], long_ago);
        home.users = CONSOLE.map(|(oid, name, _)| colleague(oid, name)).into();
        world.add_tenant(home);
        world.add_application(Application {
            client_id: CLIENT.to_owned(),
            home_tenant_id: HOME.to_owned(),
            name: "Example Security".to_owned(),
            secrets: vec![ClientSecret {
                key_id: KEY_ID.to_owned(),
                value: SECRET.to_owned(),
                start: long_ago,
                end: start + SignedDuration::from_hours(24 * 365),
                usable_from: None,
            }],
            roles: ROLES.map(str::to_owned).into(),
            ..Application::default()
        });
        for (oid, _, role) in CONSOLE {
            // The simulator refuses what Entra would; here it cannot.
            let _assigned = world.assign(HOME, AppRoleAssignment::to_user(CLIENT, oid, role));
        }
        let approved =
            TENANTS.iter().map(|cast| (cast, Tenant::new(cast.id, cast.name).consented(CLIENT, &ROLES, long_ago)));
        let people = [
            (&PROSEWARE, ["Pia Admin", "Per User", "Pat Guest"]),
            (&WOODGROVE, ["Ada Admin", "Ulf User", "Gil Guest"]),
        ];
        let newcomers = people.map(|(cast, names)| (cast, with_people(Tenant::new(cast.id, cast.name), names)));
        for (cast, mut tenant) in approved.chain(newcomers) {
            for n in 0..20_u32 {
                let at = start - SignedDuration::from_mins(i64::from(n) * 430 + 17);
                tenant.alerts.put(Alert::new(&format!("da{n:03}_{}", cast.name), at));
            }
            for n in 0..MACHINES {
                tenant.machines.put(Machine::new(&machine_id(cast, n), start - SignedDuration::from_mins(n.into())));
            }
            world.add_tenant(tenant);
        }
        if let Some(fabrikam) = world.tenant(FABRIKAM.id) {
            fabrikam.alerts.flood(Flood {
                prefix: "da9".to_owned(),
                count: 3000,
                start: start - SignedDuration::from_hours(30),
                step: SignedDuration::from_secs(20),
                evidence: 2,
            });
        }
    });
}

fn colleague(oid: &str, name: &str) -> User {
    User {
        oid: oid.to_owned(),
        name: name.to_owned(),
        upn: format!("{}@security.example", name.to_lowercase().replace(' ', ".")),
        kind: UserKind::Member,
        roles: Vec::new(),
    }
}

/// An administrator, somebody without a role, and a guest who is an administrator at home.
fn with_people(tenant: Tenant, [admin, user, guest]: [&str; 3]) -> Tenant {
    let number = &tenant.id[33..];
    let person = |kind: &str, name: &str, roles: &[AdminRole]| User {
        oid: format!("c0000000-0000-4000-8000-0000000{kind}{number}"),
        name: name.to_owned(),
        upn: format!("{}@{}.example", name.to_lowercase().replace(' ', "."), tenant.name.to_lowercase()),
        kind: UserKind::Member,
        roles: roles.to_vec(),
    };
    let admin = person("ad", admin, &[AdminRole::Global]);
    let user = person("0e", user, &[]);
    let kind = UserKind::Guest { home_tenant: CONTOSO.id.to_owned() };
    let guest = User { kind, ..person("0f", guest, &[AdminRole::Global]) };
    tenant.with_user(admin).with_user(user).with_user(guest)
}

fn machine_id(cast: &Cast, n: u32) -> String {
    format!("{n:032x}{}", &cast.id[28..])
}

/// What happens in this minute, told in a line each.
pub fn happen(simulator: &Simulator, minute: u32, now: Timestamp) -> Vec<String> {
    alerts_happen(simulator, minute, now).into_iter().chain(machines_happen(simulator, minute, now)).collect()
}

fn machines_happen(simulator: &Simulator, minute: u32, now: Timestamp) -> Option<String> {
    let change = |cast: &Cast, change: &dyn Fn(&mut Machines)| {
        simulator.world(|world| {
            if let Some(tenant) = world.tenant(cast.id) {
                change(&mut tenant.machines);
            }
        });
    };
    let line = match minute {
        6 => {
            change(&CONTOSO, &|machines| machines.put(Machine::new(&machine_id(&CONTOSO, MACHINES), now)));
            "Contoso: a new machine is onboarded"
        }
        13 => {
            change(&CONTOSO, &|machines| {
                machines.update(&machine_id(&CONTOSO, 3), |fields| {
                    fields.insert("riskScore".to_owned(), json!("High"));
                    fields.insert("healthStatus".to_owned(), json!("ImpairedCommunication"));
                });
            });
            "Contoso: a machine is at high risk, and its sensor hardly answers"
        }
        16 => {
            let (old, new) = (machine_id(&NORTHWIND, 5), machine_id(&NORTHWIND, MACHINES));
            change(&NORTHWIND, &|machines| {
                machines.put(Machine::new(&new, now));
                machines.update(&old, |fields| {
                    fields.insert("mergedIntoMachineId".to_owned(), json!(new));
                });
            });
            "Northwind: a machine is installed anew; Defender merges its old record into the new one"
        }
        22 => {
            change(&CONTOSO, &|machines| machines.remove(&machine_id(&CONTOSO, 7)));
            "Contoso: a machine is retired; it counts as gone after two lists without it and a 404 of its own"
        }
        26 => {
            change(&ADATUM, &|machines| (0..CROWD).for_each(|n| machines.remove(&machine_id(&ADATUM, n))));
            "Adatum: 15 of 40 machines vanish at once, and nobody is reported as removed before somebody says so"
        }
        _ => return None,
    };
    Some(line.to_owned())
}

fn alerts_happen(simulator: &Simulator, minute: u32, now: Timestamp) -> Vec<String> {
    let just = now - SignedDuration::from_secs(20);
    let put = |cast: &Cast, alert: Alert| {
        simulator.world(|world| {
            if let Some(tenant) = world.tenant(cast.id) {
                tenant.alerts.put(alert);
            }
        });
    };
    let update = |cast: &Cast, id: &str, status: &str| {
        simulator.world(|world| {
            if let Some(tenant) = world.tenant(cast.id) {
                tenant.alerts.update(id, just, |fields| {
                    fields.insert("status".to_owned(), json!(status));
                });
            }
        });
    };
    let script = |cast: &Cast, faults: Vec<Fault>| {
        simulator.world(|world| world.script_tenant(cast.id, Route::Alerts, faults));
    };
    let line = match minute {
        1 => "Fabrikam has 3,000 alerts of the last days; they are walked through beside the live ones",
        4 => {
            put(&CONTOSO, Alert::new("da-new_Contoso", just));
            "Contoso: a new alert"
        }
        8 => {
            update(&CONTOSO, "da-new_Contoso", "InProgress");
            "Contoso: an analyst takes the alert; an update follows"
        }
        11 => {
            let throttled = Fault::Throttled { seconds: 150, header: false, words: true };
            script(&FABRIKAM, vec![throttled]);
            "Fabrikam: Microsoft throttles us for two and a half minutes"
        }
        14 => {
            let late = Alert::new("da-late_Northwind", now - SignedDuration::from_mins(2));
            put(&NORTHWIND, late.visible_from(now + SignedDuration::from_mins(12)));
            "Northwind: an alert that becomes visible only in twelve minutes"
        }
        18 => {
            script(&TAILSPIN, vec![Fault::ExpiredToken]);
            put(&TAILSPIN, Alert::new("da-token_Tailspin", just));
            "Tailspin: our token is refused as expired"
        }
        CRASH_MINUTE => {
            put(&LITWARE, Alert::new("da-crash_Litware", just));
            "Litware: a new alert, and bad luck for the worker that brings it"
        }
        30 => {
            put(&ADATUM, Alert::new("da-broken_Adatum", just).without("lastUpdateTime"));
            put(&ADATUM, Alert::new("da-sound_Adatum", just));
            "Adatum: an alert without a time beside a sound one"
        }
        34 => {
            script(&TAILSPIN, vec![Fault::Status(500), Fault::Html(502), Fault::Truncated { after: 200 }]);
            put(&TAILSPIN, Alert::new("da-storm_Tailspin", just));
            "Tailspin: Defender answers 500, then HTML, then breaks off"
        }
        40 => {
            update(&CONTOSO, "da-new_Contoso", "Resolved");
            "Contoso: the alert is resolved"
        }
        WITHDRAW_MINUTE => {
            simulator.world(|world| {
                if let Some(tenant) = world.tenant(PROSEWARE.id) {
                    tenant.withdraw(CLIENT);
                }
            });
            "Proseware: somebody removes our application"
        }
        46 => {
            simulator.world(|world| {
                if let Some(tenant) = world.tenant(WINGTIP.id) {
                    tenant.licence = Licence::AccountInactive;
                }
            });
            "Wingtip: the licence has run out"
        }
        _ => return Vec::new(),
    };
    vec![line.to_owned()]
}

/// A new alert somewhere, for the demo in real time.
pub fn trickle(simulator: &Simulator, number: usize, now: Timestamp) {
    let cast = &TENANTS[number % (TENANTS.len() - 1)];
    simulator.world(|world| {
        if let Some(tenant) = world.tenant(cast.id) {
            tenant.alerts.put(Alert::new(&format!("da-live{number}_{}", cast.name), now));
        }
    });
}

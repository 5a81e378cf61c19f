//! `muster doctor`: each kind of broken setup is named, with its fix, and hides no other.

use futures::executor::block_on;
use harness::{ALERT_ROLE, CLIENT, HOME, ISSUER, Issuer, SUBJECT, Stage, TENANT, at, minutes};
use local::doctor::{Line, examine};
use serde_json::{Value, json};
use shared::{
    ports::{identity::IdentityError, vault::Stage as Label},
    secret::Secret,
    tenant::{Feed, State},
};
use simulator::{Fault, Route, Tenant};

use crate::own;

fn lines(stage: &Stage) -> Vec<Line> {
    block_on(examine(&stage.app))
}

fn line<'a>(lines: &'a [Line], check: &str) -> &'a Line {
    lines.iter().find(|line| line.check == check).unwrap_or_else(|| panic!("{check} was not looked at: {lines:#?}"))
}

/// Twice, so that nothing stored before stands in for it.
fn store(stage: &Stage, text: &str) {
    for version in ["d1", "d2"] {
        let text = Secret::new(text.to_owned());
        block_on(stage.app.ports.vault.put("muster/app", version, &text, &[Label::Current], None)).unwrap();
    }
}

fn entry(home: &str, credential: &Value) -> String {
    json!({"client_id": CLIENT, "home_tenant_id": home, "credential": credential}).to_string()
}

#[test]
fn what_is_well_is_said_and_what_entra_compares_is_shown() {
    let (stage, _issuer) = Stage::federated();
    stage.connect(TENANT).unwrap();
    let lines = lines(&stage);
    let bad: Vec<&Line> = lines.iter().filter(|line| !line.ok).collect();
    assert!(bad.is_empty(), "{bad:#?}");
    let identity = line(&lines, "app, identity");
    for told in [ISSUER, SUBJECT, "api://AzureADTokenExchange"] {
        assert!(identity.found.contains(told), "{identity:?}");
    }
    assert!(line(&lines, "app, at a customer").found.contains(TENANT));
    let all = format!("{lines:?}");
    assert!(!all.contains("eyJ"), "never the token: {all}");
}

#[test]
fn every_broken_setup_is_told_with_its_fix() {
    type Break = fn(&Stage, &Issuer);
    let cases: [(Break, &str, &str); 17] = [
        (|stage, _| stage.app.clock.advance(minutes(10)), "clock", "Set this machine's clock right"),
        (
            |stage, _| stage.world(|world| world.script(Route::Discovery, [Fault::Status(503)])),
            "login",
            "MUSTER_LOGIN_URL",
        ),
        (|stage, _| remove(stage, "muster/signing"), "signing", "muster serve"),
        (|stage, _| remove(stage, "muster/app"), "app", "`muster vault put app`"),
        (|stage, _| store(stage, "{"), "app", "`muster vault put app`"),
        (
            |stage, _| store(stage, &entry("a0000000-0000-4000-8000-0000000000ff", &json!({"kind": "federated"}))),
            "app, home tenant",
            "`home_tenant_id`",
        ),
        (
            |stage, _| store(stage, &entry(HOME, &json!({"kind": "client_secret", "value": "mistyped"}))),
            "app, token",
            "`muster vault put`",
        ),
        (
            |stage, _| {
                let ended = json!({"kind": "client_secret", "value": "x", "expires_at": "2026-11-01"});
                store(stage, &entry(HOME, &ended));
            },
            "app",
            "`muster vault put app`",
        ),
        (
            |stage, _| {
                let half = json!({"kind": "certificate", "certificate_pem": "half", "private_key_pem": "half"});
                store(stage, &entry(HOME, &half));
            },
            "app",
            "`muster vault put app`",
        ),
        (
            |_, issuer| issuer.fails(Some(IdentityError::FederationDisabled)),
            "app, identity",
            "aws iam enable-outbound-web-identity-federation",
        ),
        (
            |_, issuer| {
                let (role, cause) = (SUBJECT.to_owned(), "AccessDenied".to_owned());
                issuer.fails(Some(IdentityError::RoleNotAssumable { role, cause }));
            },
            "app, identity",
            "sts:AssumeRole",
        ),
        (
            |stage, _| {
                stage.world(|world| {
                    let trust = &mut world.application(CLIENT).unwrap().federated[0];
                    trust.subject = trust.subject.to_lowercase();
                });
            },
            "app, token",
            "capitals alone",
        ),
        (
            |stage, _| stage.tenant(|tenant| tenant.consents[0].roles.clear()),
            "app, at a customer",
            "approve the application again",
        ),
        (
            |stage, _| stage.tenant(|tenant| tenant.conditional_access_blocks = true),
            "app, at a customer",
            "Conditional Access",
        ),
        // The same when a pull has found it out already.
        (
            |stage, _| {
                stage.tenant(|tenant| tenant.consents[0].roles.clear());
                stage.pass(minutes(100));
                stage.tick();
                assert_eq!(stage.view().state, State::NeedsConsent);
            },
            "app, at a customer",
            "approve the application again",
        ),
        (
            |stage, _| {
                stage.tenant(|tenant| tenant.conditional_access_blocks = true);
                stage.pass(minutes(100));
                stage.tick();
                assert_eq!(stage.view().state, State::Blocked);
            },
            "app, at a customer",
            "Conditional Access",
        ),
        (
            |stage, _| {
                let (vault, damaged) = (&stage.app.ports.vault, Secret::new("{}".to_owned()));
                block_on(vault.put("muster/signing", "d1", &damaged, &[Label::Current], None)).unwrap();
            },
            "signing",
            "backup",
        ),
    ];
    for (number, (change, check, fix)) in cases.into_iter().enumerate() {
        let (stage, issuer) = Stage::federated();
        stage.connect(TENANT).unwrap();
        change(&stage, &issuer);
        let lines = lines(&stage);
        let line = line(&lines, check);
        let told = line.fix.as_deref().unwrap_or_default();
        assert!(!line.ok && told.contains(fix), "{number}: {line:?}");
        // Whatever is wrong, the rest is looked at all the same.
        assert!(lines.iter().any(|line| line.ok) && lines.len() >= 5, "{number}: {lines:#?}");
        assert!(!format!("{lines:?}").contains("eyJ"), "{number}: never a token");
    }
}

fn remove(stage: &Stage, name: &str) {
    block_on(stage.app.ports.vault.remove(name)).unwrap();
}

#[test]
fn who_may_not_renew_its_own_secret_is_told_what_to_grant() {
    let stage = Stage::connected();
    let lines = lines(&stage);
    let renewal = line(&lines, "app, renewal");
    assert!(!renewal.ok && renewal.fix.as_deref().unwrap().contains("Application.ReadWrite.OwnedBy"), "{renewal:?}");
    assert!(line(&lines, "app, token").ok, "the secret itself is well");
}

#[test]
fn who_may_look_at_itself_and_not_change_anything_is_told_so() {
    let stage = Stage::rotating();
    stage.world(|world| {
        world.add_tenant(Tenant::new(HOME, "Provider").consented(CLIENT, &["Application.Read.All"], at(-10_000)));
    });
    let lines = lines(&stage);
    let renewal = line(&lines, "app, renewal");
    assert!(!renewal.ok && renewal.found.contains("lacks the role"), "{renewal:?}");
}

#[test]
fn a_customers_own_secret_is_the_customers_to_replace() {
    let stage = own::stage(&[ALERT_ROLE]);
    own::give(&stage, &own::new(&[Feed::Alerts]), own::OWN, own::OWN_SECRET).unwrap();
    stage.world(|world| world.application(own::OWN).unwrap().secrets.clear());
    let lines = lines(&stage);
    let token = line(&lines, &format!("tenants/{TENANT}, token"));
    let fix = token.fix.as_deref().unwrap();
    assert!(fix.contains("renewal link") && !fix.contains("vault put"), "{token:?}");
}

#[test]
fn a_link_is_named_only_where_one_can_be_made() {
    let stage = own::stage(&[ALERT_ROLE]);
    let entry = |version: &str, text: &str| {
        let name = format!("muster/tenants/{TENANT}");
        let text = Secret::new(text.to_owned());
        block_on(stage.app.ports.vault.put(&name, version, &text, &[Label::Current], None)).unwrap();
    };
    let fix = || line(&lines(&stage), &format!("tenants/{TENANT}")).fix.clone().unwrap();
    let nameless = json!({"credential": {"kind": "client_secret", "value": "x"}}).to_string();
    entry("e1", &nameless);
    assert!(fix().contains("`muster vault put tenants/"), "nobody is connected: {}", fix());
    own::give(&stage, &own::new(&[Feed::Alerts]), own::OWN, own::OWN_SECRET).unwrap();
    for text in [nameless.as_str(), "half"] {
        entry(&format!("e{}", text.len()), text);
        assert!(fix().contains("Connect the tenant again"), "{text}: {}", fix());
    }
    let no_secret = json!({"client_id": own::OWN, "home_tenant_id": TENANT, "credential": {"kind": "client_secret"}});
    entry("e9", &no_secret.to_string());
    assert!(fix().contains("renewal link"), "{}", fix());
}

#[test]
fn what_can_be_seen_of_a_credential_is_named_before_entra_is_asked() {
    let pem = |until: i32| {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let ((good, _), (ended, its_key)) = (pem(2030), pem(2026));
    let certificate =
        |pem: &str, key: &str| json!({"kind": "certificate", "certificate_pem": pem, "private_key_pem": key});
    for (credential, words) in [
        (json!({"kind": "client_secret", "value": "a0000000-0000-4000-8000-0000000005ec"}), "This is the secret's ID"),
        (certificate(&good, &its_key), "do not belong together"),
        (certificate(&ended, &its_key), "ended on 2026-01-01"),
        (certificate(&good[..200], &its_key), "no PEM text that begins"),
    ] {
        let (stage, _issuer) = Stage::federated();
        store(&stage, &entry(HOME, &credential));
        let lines = lines(&stage);
        let line = line(&lines, "app");
        assert!(!line.ok && line.found.contains(words), "{line:?}");
        assert!(lines.iter().any(|line| line.check == "signing" && line.ok), "and the rest is looked at: {lines:#?}");
    }
}

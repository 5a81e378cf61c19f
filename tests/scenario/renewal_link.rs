//! The link by which a customer's administrator gives a new credential: good once, and only for what works.

use futures::executor::block_on;
use harness::{ALERT_ROLE, HOME, MACHINE_ROLE, PUBLIC_URL, Page, Stage, TENANT, Visitor, at, minutes};
use serde_json::{Value, json};
use shared::{
    audit::{Action, Actor},
    consent::connect::connect_own,
    credential::{
        check::Kind,
        renewal::{self, LIFETIME},
    },
    ports::{
        store::{Expect, Key, Write},
        vault::Stage::Current,
    },
    secret::Secret,
    tenant::{Feed, State},
};
use simulator::{Alert, ClientSecret, Tenant};

use crate::own::{OWN, OWN_SECRET, give, new, stage, stored};

const NEWER: &str = "canary-newer-own-secret-9b1e";

/// A tenant whose own secret has just ended, and a link to renew it.
fn ended(stage: &Stage) -> String {
    give(stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    stage.walk_through(20);
    stage.world(|world| world.application(OWN).unwrap().secrets[0].end = at(30));
    stage.pass(minutes(100));
    stage.tick();
    assert_eq!(stage.view().state, State::CredentialFault);
    link(stage)
}

fn link(stage: &Stage) -> String {
    let made = block_on(renewal::make(&stage.app, TENANT.parse().unwrap(), &Actor::CommandLine)).unwrap();
    stage.sent(&made.link);
    made.link.to_string()
}

/// What the administrator makes in Entra.
fn makes_a_new_one(stage: &Stage) {
    let secret = ClientSecret {
        key_id: "a0000000-0000-4000-8000-00000000000f".to_owned(),
        value: NEWER.to_owned(),
        start: stage.now(),
        end: stage.now() + minutes(365 * 24 * 60),
        usable_from: None,
    };
    stage.world(|world| world.application(OWN).unwrap().secrets.push(secret));
}

fn send(visitor: &mut Visitor<'_>, link: &str, fields: &[(&str, &str)]) -> Page {
    let page = visitor.post_form(link, fields);
    for (name, value) in fields.iter().filter(|(name, _)| !matches!(*name, "kind" | "ends")) {
        assert!(value.is_empty() || !page.body.contains(value), "{name} is repeated");
    }
    page
}

fn secret(value: &str) -> [(&str, &str); 3] {
    [("kind", "client_secret"), ("client_secret", value), ("ends", "2027-11-01")]
}

#[test]
fn pain_15_a_secret_that_has_ended_is_renewed_by_whoever_may_without_anybody_sending_it() {
    let stage = stage(&[ALERT_ROLE]);
    let link = ended(&stage);
    let (before, versions) = (stored(&stage), stage.state_versions());
    let mut visitor = stage.visitor();
    // Mail scanners open links, and then a person does.
    for method in ["HEAD", "GET", "GET"] {
        let page = visitor.ask(method, &link);
        assert_eq!(page.status, 200);
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
    }
    let page = visitor.get(&link);
    for words in ["Example &#38; Sons Security", OWN, TENANT, "Secret ID", "Contoso"] {
        assert!(page.body.contains(words), "{words}");
    }
    assert!(!page.body.contains("<script"));
    makes_a_new_one(&stage);
    let expired = {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.not_before = rcgen::date_time_ymd(2024, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2025, 1, 1);
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    };
    let certificate =
        [("kind", "certificate"), ("certificate_pem", expired.0.as_str()), ("private_key_pem", &expired.1)];
    let with_end = [("kind", "client_secret"), ("client_secret", NEWER), ("ends", "2026-01-01")];
    for (fields, words) in [
        (&secret("a wrong one")[..], "AADSTS7000215"),
        (&secret("a0000000-0000-4000-8000-00000000000f"), "This is the secret&#39;s ID"),
        (&secret(""), "value is missing"),
        (&secret(OWN_SECRET), "in use already"),
        (&certificate, "The certificate ended on 2025-01-01"),
        (&with_end, "ended on 2026-01-01"),
    ] {
        let page = send(&mut visitor, &link, fields);
        assert!(page.status == 422 && page.body.contains(words), "{words}: {} {}", page.status, page.body);
        assert!(page.body.contains("Nothing was saved"));
    }
    assert_eq!((stored(&stage), stage.state_versions()), (before, versions), "nothing is kept of what was refused");

    stage.put(Alert::new("da1", stage.now()));
    let page = send(&mut visitor, &link, &secret(NEWER));
    assert!(page.status == 200 && page.body.contains("1 November 2027"), "{}", page.body);
    assert!(page.body.contains("Delete the old one in Entra tomorrow"), "a replica may still need it: {}", page.body);
    assert_eq!(stage.view().state, State::Active);
    stage.drain();
    assert_eq!(stage.ids(), ["da1"], "the first pull did not wait for a tick");
    let entry: Value = serde_json::from_str(&stored(&stage).unwrap()).unwrap();
    assert_eq!((&entry["client_id"], &entry["home_tenant_id"]), (&json!(OWN), &json!(TENANT)));
    assert_eq!(entry["credential"]["expires_at"], "2027-11-01T00:00:00Z");
    let trail = stage.trail();
    let renewed = trail.last().unwrap();
    assert_eq!((renewed.action, &renewed.actor), (Action::CredentialRenewed, &Actor::LinkHolder));
    assert!(renewed.detail.contains(OWN) && renewed.detail.contains("2027-11-01"), "{}", renewed.detail);

    // The same once more, by reloading or by whoever has the letter too.
    let after = stored(&stage);
    for page in [
        visitor.get(&link),
        send(&mut visitor, &link, &secret(NEWER)),
        send(&mut visitor, &link, &secret("another one")),
    ] {
        assert!(page.status == 410 && page.heading().contains("has done its work"), "{}", page.body);
    }
    assert_eq!(stored(&stage), after);
}

#[test]
fn what_an_operator_stores_meanwhile_spends_the_link_and_is_not_overwritten() {
    let stage = stage(&[ALERT_ROLE]);
    let link = ended(&stage);
    makes_a_new_one(&stage);
    let mut visitor = stage.visitor();
    assert_eq!(visitor.get(&link).status, 200);
    let name = format!("muster/tenants/{TENANT}");
    let entry =
        json!({"client_id": OWN, "home_tenant_id": TENANT, "credential": {"kind": "client_secret", "value": NEWER}});
    let entry = Secret::new(entry.to_string());
    block_on(stage.app.ports.vault.put(&name, "by-hand", &entry, &[Current], None)).unwrap();
    let before = stored(&stage);
    for page in [visitor.get(&link), send(&mut visitor, &link, &secret(NEWER))] {
        assert_eq!(page.status, 410, "{}", page.body);
    }
    assert_eq!(stored(&stage), before);
    // A new link is for what is current now.
    let again = self::link(&stage);
    assert_ne!(again, link);
    assert_eq!(visitor.get(&again).status, 200);
}

#[test]
fn only_a_link_of_ours_opens_anything_and_only_for_its_time_and_its_tenant() {
    let stage = stage(&[ALERT_ROLE]);
    let link = ended(&stage);
    makes_a_new_one(&stage);
    let invitation = stage.invite("Fabrikam");
    let mut visitor = stage.visitor();
    let foreign = invitation.replace("/connect/", "/renew/");
    let token = link.rsplit('/').next().unwrap();
    let (payload, signature) = token.split_once('.').unwrap();
    let forged = [
        foreign,
        format!("{PUBLIC_URL}/renew/"),
        format!("{PUBLIC_URL}/renew/{payload}"),
        format!("{PUBLIC_URL}/renew/A{payload}.{signature}"),
        format!("{PUBLIC_URL}/renew/{token}/more"),
        format!("{PUBLIC_URL}/renew/{}", "x".repeat(5000)),
    ];
    let before = (stored(&stage), stage.state_versions());
    for forged in forged {
        for page in [visitor.get(&forged), send(&mut visitor, &forged, &secret(NEWER))] {
            assert_eq!(page.status, 400, "{forged}");
        }
    }
    assert_eq!(visitor.ask("PUT", &link).status, 405);
    // Another site's form, something that is no form, and more than anybody types.
    visitor.fetch_site = Some("cross-site");
    assert_eq!(send(&mut visitor, &link, &secret(NEWER)).status, 403);
    visitor.fetch_site = None;
    assert_eq!(visitor.post(&link).status, 400);
    assert_eq!(visitor.post_form(&link, &[("client_secret", &"x".repeat(300_000))]).status, 400);
    assert_eq!((stored(&stage), stage.state_versions()), before);
    stage.pass(LIFETIME - minutes(1));
    assert_eq!(visitor.get(&link).status, 200);
    stage.pass(minutes(1));
    for page in [visitor.get(&link), send(&mut visitor, &link, &secret(NEWER))] {
        assert!(page.status == 410 && page.body.contains("expired"), "{}", page.body);
    }
    let fresh = self::link(&stage);
    stage.remove().unwrap();
    for page in [visitor.get(&fresh), send(&mut visitor, &fresh, &secret(NEWER))] {
        assert!(page.status == 410 && page.body.contains("not needed any more"), "{}", page.body);
    }
}

#[test]
fn a_link_of_one_tenant_changes_nothing_of_another() {
    const OTHER: &str = "a0000000-0000-4000-8000-0000000000bb";
    let stage = stage(&[ALERT_ROLE]);
    let link = ended(&stage);
    // The other tenant's application, of another customer, whose secret is given by mistake.
    stage.world(|world| {
        let mut theirs = world.application(OWN).unwrap().clone();
        theirs.client_id = "a0000000-0000-4000-8000-0000000000ef".to_owned();
        theirs.home_tenant_id = OTHER.to_owned();
        theirs.secrets[0].value = "canary-their-secret-11aa".to_owned();
        theirs.secrets[0].end = at(1_000_000);
        world.add_application(theirs);
        world.add_tenant(Tenant::new(OTHER, "Fabrikam").consented(
            "a0000000-0000-4000-8000-0000000000ef",
            &[ALERT_ROLE],
            at(-10_000),
        ));
    });
    let page = send(&mut stage.visitor(), &link, &secret("canary-their-secret-11aa"));
    assert!(page.status == 422 && page.body.contains("7000215"), "{}", page.body);
    assert_eq!(stage.view().state, State::CredentialFault);
}

#[test]
fn what_the_application_lacks_anyway_keeps_nobody_from_renewing_and_is_told() {
    let stage = stage(&[ALERT_ROLE, MACHINE_ROLE]);
    give(&stage, &new(&[Feed::Alerts, Feed::Machines]), OWN, OWN_SECRET).unwrap();
    let link = self::link(&stage);
    makes_a_new_one(&stage);
    stage.world(|world| {
        let fewer = Tenant::new(TENANT, "").consented(OWN, &[ALERT_ROLE], at(-10_000));
        world.tenant(TENANT).unwrap().consents = fewer.consents;
    });
    // As far as we know the machines work: they are not to stop by this.
    let page = send(&mut stage.visitor(), &link, &secret(NEWER));
    assert!(page.status == 422 && page.body.contains(MACHINE_ROLE), "{}", page.body);
    stage.world(|world| world.application(OWN).unwrap().secrets[0].end = at(30));
    stage.pass(minutes(100));
    for feed in [Feed::Alerts, Feed::Machines] {
        stage.pull(feed);
    }
    assert_eq!(stage.view().state, State::CredentialFault);
    let page = send(&mut stage.visitor(), &link, &secret(NEWER));
    assert!(
        page.status == 200 && page.body.contains("Still missing") && page.body.contains(MACHINE_ROLE),
        "{}",
        page.body
    );
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn a_secret_that_opens_nothing_for_lack_of_a_role_is_renewed_all_the_same() {
    let stage = stage(&[ALERT_ROLE]);
    give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    let link = self::link(&stage);
    makes_a_new_one(&stage);
    let roles = |roles: &[&str]| {
        let consents = Tenant::new(TENANT, "").consented(OWN, roles, at(-10_000)).consents;
        stage.world(|world| world.tenant(TENANT).unwrap().consents = consents);
        stage.pass(minutes(100));
        stage.pull(Feed::Alerts);
    };
    roles(&["Application.ReadWrite.OwnedBy"]);
    let lacking = stage.view().state;
    assert_eq!(lacking, State::NeedsConsent);
    let mut visitor = stage.visitor();
    let page = send(&mut visitor, &link, &secret("a wrong one"));
    assert!(page.status == 422 && page.body.contains("AADSTS7000215"), "{}", page.body);
    let page = send(&mut visitor, &link, &secret(NEWER));
    assert!(page.status == 200 && page.body.contains("Still missing"), "{}: {}", page.status, page.body);
    assert_eq!(stage.view().state, lacking, "what it lacked it lacks");
    stage.world(|world| world.application(OWN).unwrap().secrets.remove(0));
    roles(&[ALERT_ROLE]);
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn while_somebody_saves_by_a_link_there_is_no_other() {
    let stage = stage(&[ALERT_ROLE]);
    let link = ended(&stage);
    makes_a_new_one(&stage);
    let at_it = |done: bool| {
        let (key, store) = (Key::new("credentials", format!("renewal#{TENANT}")), stage.app.ports.store.as_ref());
        let item = block_on(store.get(&key)).unwrap().unwrap();
        let mut value = item.value;
        value["link"]["taken"] = json!({"by": "another", "at": stage.now(), "done": done});
        block_on(store.commit(vec![Write::Put { key, value, expect: Expect::Version(item.version) }])).unwrap();
    };
    at_it(false);
    let made = || block_on(renewal::make(&stage.app, TENANT.parse().unwrap(), &Actor::CommandLine));
    let refused = made().unwrap_err().to_string();
    assert!(refused.contains("at this moment") && refused.contains("two minutes"), "{refused}");
    let page = send(&mut stage.visitor(), &link, &secret(NEWER));
    assert_eq!(page.status, 409, "{}", page.body);
    // Whoever began and did not come back is not waited for.
    stage.pass(minutes(2));
    let again = made().unwrap().link.to_string();
    assert_eq!(send(&mut stage.visitor(), &again, &secret(NEWER)).status, 200);
}

#[test]
fn operators_make_links_and_find_them_again_and_readers_do_not() {
    let stage = stage(&[ALERT_ROLE]);
    give(&stage, &new(&[Feed::Alerts]), OWN, OWN_SECRET).unwrap();
    let page = format!("/tenants/{TENANT}");
    let mut operator = stage.operator();
    let open = operator.get(&page);
    assert!(open.body.contains("Renewal link") && !open.body.contains("/renew/"));
    for _ in 0..2 {
        let answer = operator.submit(&open, &format!("{page}/renewal"), &[]);
        assert_eq!((answer.status, answer.location.as_str()), (303, format!("{page}?done=renewal").as_str()));
    }
    let expected = link(&stage);
    let shown = operator.get(&page);
    assert!(shown.body.contains(&format!("value=\"{expected}\"")) && shown.body.contains("mailto:?subject="));
    assert_eq!(
        stage.trail().iter().filter(|entry| entry.action == Action::RenewalLinkMade).count(),
        1,
        "pressed twice"
    );
    assert!(stage.trail().iter().all(|entry| !entry.detail.contains("renew/")));

    let mut reader = stage.reader();
    let look = reader.get(&page);
    assert!(!look.body.contains("/renew/") && !look.body.contains("Renewal link"));
    assert_eq!(reader.submit(&look, &format!("{page}/renewal"), &[]).status, 403);
    let call = format!("/api/tenants/{TENANT}/renewal");
    let (readers, operators) =
        ["Muster.Reader", "Muster.Operator"].map(|role| stage.script_token(HOME, Some(role))).into();
    let mut script = stage.visitor();
    assert_eq!(script.call(Some(&readers), "POST", &call, None).0, 403);
    let (status, made) = script.call(Some(&operators), "POST", &call, None);
    assert_eq!((status, &made["link"]), (201, &json!(expected)));
    assert_eq!(made.as_object().unwrap().len(), 2);
    let nobody = call.replace(TENANT, HOME);
    assert_eq!(script.call(Some(&operators), "POST", &nobody, None).0, 404);

    // After three weeks and more it would not last: another one is made, and both lead to the page.
    stage.pass(LIFETIME - minutes(6 * 24 * 60));
    assert!(!stage.operator().get(&page).body.contains("/renew/"));
    let later = link(&stage);
    assert_ne!(later, expected);
    assert_eq!([stage.visitor().get(&expected).status, stage.visitor().get(&later).status], [200, 200]);
}

#[test]
fn what_is_ours_is_no_customers_to_renew() {
    let stage = Stage::connected();
    let token = stage.script_token(HOME, Some("Muster.Operator"));
    let (status, problem) = stage.visitor().call(Some(&token), "POST", &format!("/api/tenants/{TENANT}/renewal"), None);
    assert!(status == 409 && problem["detail"].as_str().unwrap().contains("provider's application"), "{problem}");
    assert!(!stage.operator().get(&format!("/tenants/{TENANT}")).body.contains("Renewal link"));
}

/// What the trail was told of credentials, each with the whole days since noon of the first.
fn warned(stage: &Stage) -> Vec<(i64, String)> {
    let entries = stage.trail().into_iter().filter(|entry| entry.action == Action::CredentialWarned);
    entries.map(|entry| (entry.at.duration_since(at(0)).as_hours() / 24, entry.detail)).collect()
}

#[test]
fn an_end_is_told_at_30_14_7_and_1_days_once_each_and_when_it_is_over() {
    let stage = stage(&[ALERT_ROLE]);
    let credential = json!({"kind": "client_secret", "value": OWN_SECRET, "expires_at": "2027-01-01T12:00:00Z"});
    let application = Secret::new(json!({"client_id": OWN, "credential": credential}).to_string());
    let by = Actor::CommandLine;
    block_on(connect_own(&stage.app, &new(&[Feed::Alerts]), &application, &by)).unwrap();
    // 40 days are left.
    stage.world(|world| world.application(OWN).unwrap().secrets[0].end = at(40 * 24 * 60));
    let mut pressing = Vec::new();
    for day in 1..=42 {
        stage.days(1);
        let report = stage.check();
        let of_tenant = report.findings.iter().filter(|finding| finding.tenant_id.is_some());
        let expiry: Vec<_> = of_tenant.filter(|finding| finding.kind == Kind::Expiry).collect();
        pressing.extend(expiry.iter().filter(|finding| finding.is_worth_an_event()).map(|_| day));
        assert!(expiry.iter().all(|finding| finding.text.contains("send the renewal link from the tenant's page")));
    }
    let told = warned(&stage);
    let is_end = |text: &str| text.starts_with("tenants/") && text.contains("current credential end");
    let ends: Vec<i64> = told.iter().filter(|(_, text)| is_end(text)).map(|(day, _)| *day).collect();
    assert_eq!(ends, [10, 26, 33, 39, 40], "{told:?}");
    assert!(told.iter().all(|(_, text)| text.starts_with("tenants/") || text.starts_with("app:")), "{told:?}");
    // An event when it is new, and every day once it presses.
    assert_eq!(pressing, [10].into_iter().chain(26..=42).collect::<Vec<_>>());
    assert!(told.iter().any(|(day, text)| *day == 40 && text.contains("7000222")), "refused, once: {told:?}");

    let link = self::link(&stage);
    makes_a_new_one(&stage);
    stage.world(|world| world.application(OWN).unwrap().secrets[1].end = stage.now() + minutes(400 * 24 * 60));
    assert_eq!(send(&mut stage.visitor(), &link, &secret(NEWER)).status, 200);
    stage.days(1);
    stage.check();
    assert_eq!(warned(&stage), told, "a renewed credential begins with a clean slate, and its entry has told so");
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn what_is_found_today_is_told_today_and_that_it_is_over_when_it_is() {
    let stage = Stage::rotating();
    stage.check();
    stage.approves(&[ALERT_ROLE, "Machine.Isolate"]);
    for _ in 0..3 {
        stage.days(1);
        stage.check();
    }
    let told = warned(&stage);
    assert!(told.len() == 1 && told[0].1.contains("holds more than it needs: Machine.Isolate"), "{told:?}");
    stage.approves(&[ALERT_ROLE]);
    stage.days(1);
    stage.check();
    let told = warned(&stage);
    assert!(told.len() == 2 && told[1].1 == "app: The application holds no more than it needs.", "{told:?}");
}

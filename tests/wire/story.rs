//! The whole story: a customer is invited, approves, is pulled from; a second brings its own application; a credential is
//! renewed; and at the end everybody has used what they may do, and nothing that must be secret is written anywhere.

use std::{collections::BTreeSet, sync::mpsc::channel, time::Duration};

use harness::{ADMIN, CLIENT, HOME, SECRET, TENANT};
use jiff::{SignedDuration, Timestamp};
use laboratory::{When, until};
use serde_json::{Value, json};
use shared::{metrics::Metric, record::read_object};
use simulator::{Alert, ClientSecret, GroupMembershipClaims};

use crate::{
    browser::Browser,
    microsoft::{APPLICATIONS, Microsoft, OWN_CLIENT, OWN_SECRET, OWNER, UNPROVEN, UNPROVEN_ADMIN, entry},
    poison::hurry,
    rotation::Driver,
    rules::{functions::names, watching::OF_TROUBLE},
    stack::{CANARY_SECRET_KEY, CANARY_SESSION, PUBLIC_URL, Stack},
};

const PATIENCE: Duration = Duration::from_secs(60);
const ROTATION: &str = "50000000-0000-4000-8000-000000000005";

/// What a role may do and no call of a function shows, each with its reason.
const NOT_TO_BE_SEEN: [(&str, &str); 5] = [
    ("logs:CreateLogStream", "Lambda itself writes the log, as the function"),
    ("logs:PutLogEvents", "Lambda itself writes the log, as the function"),
    ("sqs:ReceiveMessage", "the event source mapping polls, as the function"),
    ("sqs:DeleteMessage", "the event source mapping deletes, as the function"),
    ("sqs:GetQueueAttributes", "the event source mapping looks at the queue, as the function"),
];

#[test]
fn from_consent_to_rotation_everything_works_with_what_the_template_grants() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = Stack::deploy(&microsoft, &[]);
    let link = invited(&stack);
    let visited = consented(&stack, &microsoft, &link);
    the_lake_fills(&stack, &microsoft);
    a_tenant_with_its_own_application_is_pulled(&stack, &microsoft);
    an_unproven_administrator_waits_for_the_operator(&stack, &microsoft);
    an_idle_poll_costs_one_call(&stack, &microsoft);
    a_credential_is_renewed(&stack, &microsoft);
    so_is_every_other_kind(&stack);
    a_pull_that_dies_over_its_object_is_finished(&stack, &microsoft);
    an_application_that_is_gone_is_told_as_missing(&stack);
    the_measures_are_told(&stack);
    nobody_was_refused_and_nothing_is_granted_beyond(&stack);
    nothing_secret_is_written_anywhere(&stack, &microsoft, &visited);
}

/// The operator's verbs. The link, which somebody opens before there is an application to approve.
fn invited(stack: &Stack) -> String {
    let link = stack.muster(&["invite", "Contoso", "--expect", TENANT], "");
    let link = link.trim().to_owned();
    assert!(link.starts_with(&format!("{PUBLIC_URL}/connect/")), "{link}");
    assert_eq!(Browser::new(stack, ADMIN).get(&link).status, 200, "the page is there all the same");
    stack.muster(&["vault", "put", "app"], &entry(CLIENT, HOME, SECRET).to_string());
    link
}

/// Every address that the administrator's browser saw.
fn consented(stack: &Stack, microsoft: &Microsoft, link: &str) -> Vec<String> {
    for (minutes, number) in [(1, 1), (90, 2), (60 * 24 * 3, 3)] {
        let at = Timestamp::now() - SignedDuration::from_mins(minutes);
        microsoft.put_alert(TENANT, Alert::new(&format!("da63800000000000000{number}_1"), at));
    }
    let mut browser = Browser::new(stack, ADMIN);
    assert_eq!(browser.get("/elsewhere").status, 404, "the API has three routes and no others");
    assert_eq!(browser.get("/consent/callback").status, 400);
    let page = browser.consent(link, &microsoft.simulator);
    assert!(page.status == 200 && page.text().contains("Connected"), "{}: {}", page.status, page.text());
    assert_eq!(browser.get(link).status, 410, "an invitation is good once");
    let tenant = stack.tenant(TENANT);
    assert_eq!((&tenant["account"], &tenant["consent"]["oid"]), (&json!("Contoso"), &json!(ADMIN)));
    browser.visited
}

/// A tick, with the time that the scheduler would have filled in. How many messages it sent.
fn tick(stack: &Stack) -> u64 {
    let event = json!({"feed": "alerts", "scheduled_time": Timestamp::now(), "every_seconds": 60});
    let sent = stack.invoke("pull-dispatch", &event).unwrap()["messages"].as_u64().unwrap();
    stack.drained();
    sent
}

/// The events of a tenant in the lake, each once.
fn events(stack: &Stack, tenant: &str) -> Vec<Value> {
    let mut events = Vec::new();
    for object in stack.objects(&format!("alerts/tenant={tenant}/")).values() {
        read_object(object, |line| {
            events.push(serde_json::from_str::<Value>(line)?);
            Ok(())
        })
        .unwrap();
    }
    let uids: BTreeSet<String> = events.iter().map(|event| event["metadata"]["uid"].to_string()).collect();
    assert_eq!(uids.len(), events.len(), "a version was delivered twice");
    events
}

fn the_lake_fills(stack: &Stack, microsoft: &Microsoft) {
    until("the first look is done", PATIENCE, || {
        tick(stack);
        (stack.tenant(TENANT)["backlog"] == false && events(stack, TENANT).len() == 3).then_some(())
    });
    microsoft.put_alert(TENANT, Alert::new("da638000000000000009_1", Timestamp::now()));
    let broken = Alert::new("da638000000000000010_1", Timestamp::now()).with("lastUpdateTime", json!("soon"));
    microsoft.put_alert(TENANT, broken);
    until("what is new is in the lake", PATIENCE, || {
        tick(stack);
        (events(stack, TENANT).len() == 4).then_some(())
    });
    let tenant = stack.tenant(TENANT);
    let count = |name: &str| tenant["ledger"][name].as_u64().unwrap();
    assert_eq!(count("fetched"), count("delivered") + count("deduplicated") + count("quarantined"), "{tenant:#}");
    assert_eq!((&tenant["state"], count("delivered")), (&json!("active"), 4), "{tenant:#}");
    stack.no_dead_letters();
}

fn a_tenant_with_its_own_application_is_pulled(stack: &Stack, microsoft: &Microsoft) {
    microsoft.put_alert(OWNER, Alert::new("da638000000000000020_1", Timestamp::now()));
    let own = format!("tenants/{OWNER}");
    stack.muster(&["vault", "put", &own], &entry(OWN_CLIENT, OWNER, OWN_SECRET).to_string());
    stack.muster(&["connect", OWNER, "--account", "Fabrikam"], "");
    until("the second tenant's alert is in the lake", PATIENCE, || {
        tick(stack);
        (stack.tenant(OWNER)["backlog"] == false && events(stack, OWNER).len() == 1).then_some(())
    });
}

/// An id_token proves a user and not an administrator: without `wids` an operator has to vouch.
fn an_unproven_administrator_waits_for_the_operator(stack: &Stack, microsoft: &Microsoft) {
    let say_roles =
        |claims| microsoft.simulator.world(|world| world.registration(CLIENT).group_membership_claims = claims);
    say_roles(GroupMembershipClaims::None);
    let link = stack.muster(&["invite", "Proseware", "--expect", UNPROVEN], "");
    let page = Browser::new(stack, UNPROVEN_ADMIN).consent(link.trim(), &microsoft.simulator);
    assert_eq!(page.status, 400, "{}", page.text());
    assert_eq!(stack.tenant(UNPROVEN)["state"], "confirming");
    say_roles(GroupMembershipClaims::DirectoryRole);
}

/// The number that the issue asks for: one call to Defender for each tenant, and nothing else but reading the state.
fn an_idle_poll_costs_one_call(stack: &Stack, microsoft: &Microsoft) {
    let journal = stack.gateway.journal();
    let seen = until("a poll finds its environment warm", PATIENCE, || {
        let (calls, requests) = (journal.mark(), microsoft.mark());
        assert_eq!(tick(stack), 2, "one message for each tenant, and no backlog");
        let names: Vec<String> =
            journal.since(calls).iter().filter(|entry| entry.door == "alert-pull").map(|entry| entry.name()).collect();
        // Another environment than the last one has to read the vault first.
        let cold = names.iter().any(|name| name.starts_with("secretsmanager:"));
        (!cold).then_some((names, requests))
    });
    let (names, requests) = seen;
    assert_eq!(microsoft.asked(requests, "/api/alerts"), 2, "one call to Defender for each tenant");
    assert_eq!(microsoft.mark() - requests, 2, "and nothing else of Microsoft: no token was asked for");
    let reads = ["dynamodb:GetItem", "dynamodb:Query"];
    assert!(!names.is_empty() && names.iter().all(|name| reads.contains(&name.as_str())), "{names:?}");
}

fn a_credential_is_renewed(stack: &Stack, microsoft: &Microsoft) {
    let driver = Driver::schedule(stack);
    driver.rotate(ROTATION);
    // Were the new secret refused, the previous one would open the door; and the new one does without it.
    let made = secrets_but(microsoft, SECRET);
    assert_eq!(made.len(), 1);
    remove_secrets(microsoft, &made);
    flows_on_after_a_cold_start(stack, microsoft, 30, 5);
    microsoft.simulator.world(|world| world.application(CLIENT).unwrap().secrets.extend(made));
    let old = secrets_but(microsoft, &made_value(microsoft));
    remove_secrets(microsoft, &old);
    flows_on_after_a_cold_start(stack, microsoft, 31, 6);
    let event = json!({"check": "credentials", "scheduled_time": Timestamp::now()});
    let report = stack.invoke("credential-rotation", &event).unwrap();
    assert_eq!(report["checked"], 2, "{report:#}");
}

/// The application's secrets, but for the one with this text.
fn secrets_but(microsoft: &Microsoft, value: &str) -> Vec<ClientSecret> {
    let secrets = microsoft.simulator.world(|world| world.application(CLIENT).unwrap().secrets.clone());
    secrets.into_iter().filter(|secret| secret.value != value).collect()
}

fn made_value(microsoft: &Microsoft) -> String {
    secrets_but(microsoft, SECRET)[0].value.clone()
}

fn remove_secrets(microsoft: &Microsoft, gone: &[ClientSecret]) {
    let is_gone = |secret: &ClientSecret| gone.iter().any(|gone| gone.key_id == secret.key_id);
    microsoft.simulator.world(|world| world.application(CLIENT).unwrap().secrets.retain(|secret| !is_gone(secret)));
}

/// A new environment has no token yet and must ask for one.
fn flows_on_after_a_cold_start(stack: &Stack, microsoft: &Microsoft, number: u32, delivered: usize) {
    stack.killer("alert-pull")();
    microsoft.put_alert(TENANT, Alert::new(&format!("da6380000000000000{number}_1"), Timestamp::now()));
    until("alerts flow on", PATIENCE, || {
        tick(stack);
        (events(stack, TENANT).len() == delivered).then_some(())
    });
}

/// What a person schedules by a command: other permission sets, tenants' own applications, the console's.
fn so_is_every_other_kind(stack: &Stack) {
    let own = format!("tenants/{OWNER}");
    for (number, (name, application)) in [("apps/extra", 2), ("console", 3), (own.as_str(), 1)].into_iter().enumerate()
    {
        let (client, home, secret) = APPLICATIONS[application];
        if name != own {
            stack.muster(&["vault", "put", name], &entry(client, home, secret).to_string());
        }
        Driver::of(stack, &format!("muster/{name}")).rotate(&format!("60000000-0000-4000-8000-{number:012}"));
    }
}

/// Dies before its object is written, and after: whoever comes next finds the open intent and finishes it.
fn a_pull_that_dies_over_its_object_is_finished(stack: &Stack, microsoft: &Microsoft) {
    hurry(stack);
    let before = events(stack, TENANT).len();
    for (number, when) in [When::Before, When::After].into_iter().enumerate() {
        let killed = stack.killer("alert-pull");
        let (died, was_killed) = channel();
        stack.gateway.upon("alert-pull", "PutObject", when, move || {
            killed();
            died.send(()).unwrap();
        });
        microsoft.put_alert(TENANT, Alert::new(&format!("da63800000000000004{number}_1"), Timestamp::now()));
        until("it is delivered all the same", PATIENCE, || {
            tick(stack);
            (events(stack, TENANT).len() == before + number + 1).then_some(())
        });
        assert!(was_killed.try_recv().is_ok(), "{when:?}: nobody was killed");
    }
    let ledger = &stack.tenant(TENANT)["ledger"];
    assert_eq!(ledger["delivered"], before + 2, "{ledger}");
}

/// AWS judges a call about a secret that is not there by its bare name. Where that is not granted, "missing" reads as
/// "refused", which is the platform's trouble, and its messages become dead letters.
fn an_application_that_is_gone_is_told_as_missing(stack: &Stack) {
    let gone = json!({"SecretId": "muster/app", "ForceDeleteWithoutRecovery": true});
    assert_eq!(stack.operator.json("secretsmanager", "secretsmanager.DeleteSecret", &gone).status, 200);
    stack.killer("alert-pull")();
    until("the operator is told to store it", PATIENCE, || {
        tick(stack);
        let tenant = stack.tenant(TENANT);
        (tenant["state"] == "credential_fault" && tenant.to_string().contains("muster vault put")).then_some(())
    });
    stack.no_dead_letters();
}

/// The metrics that the functions' logs hold, in the one shape that CloudWatch reads.
fn the_measures_are_told(stack: &Stack) {
    let mut told = BTreeSet::new();
    for name in names() {
        for line in stack.output(&name).lines().filter(|line| line.contains("\"_aws\"")) {
            let document: Value = serde_json::from_str(line).unwrap();
            for directive in document["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                assert_eq!(directive["Namespace"], "Muster", "{line}");
                assert_eq!(directive["Dimensions"], json!([["function"]]), "{line}");
                assert_eq!(document["function"], format!("muster-{name}"), "{line}");
                let metrics = directive["Metrics"].as_array().unwrap();
                told.extend(metrics.iter().map(|metric| metric["Name"].as_str().unwrap().to_owned()));
            }
            assert!(!line.contains(TENANT) && !line.contains(OWNER), "a measure names a tenant: {line}");
        }
    }
    let told: BTreeSet<&str> = told.iter().map(String::as_str).collect();
    let expected = Metric::ALL.iter().filter(|metric| !OF_TROUBLE.contains(metric)).map(|metric| metric.name());
    let expected: BTreeSet<&str> = expected.collect();
    assert_eq!(&expected - &told, BTreeSet::new(), "alarms and dashboard ask for what nobody tells");
}

fn nobody_was_refused_and_nothing_is_granted_beyond(stack: &Stack) {
    let journal = stack.gateway.journal();
    assert_eq!(journal.faults(), Vec::<String>::new());
    assert_eq!(journal.refusals(), Vec::<String>::new());
    let mut beyond = Vec::new();
    for name in names() {
        let unused = stack.roles[&name].policies.unused(&journal.granted(&name));
        let to_be_seen = |grant: &String| !NOT_TO_BE_SEEN.iter().any(|(action, _)| grant.starts_with(action));
        beyond.extend(unused.into_iter().filter(to_be_seen).map(|grant| format!("{name}: {grant}")));
    }
    assert_eq!(beyond, Vec::<String>::new(), "granted, and needed by nobody");
}

fn nothing_secret_is_written_anywhere(stack: &Stack, microsoft: &Microsoft, visited: &[String]) {
    let mut places: Vec<(String, String)> =
        names().into_iter().map(|name| (format!("the output of {name}"), stack.output(&name))).collect();
    for (place, text) in &places {
        assert!(text.contains('{'), "{place} is empty, so nothing was looked at");
    }
    places.push(("ministack's log".to_owned(), stack.ministack.log()));
    let mut state = vec![("the table".to_owned(), stack.items().to_string())];
    for (key, object) in stack.objects("") {
        let mut text = String::from_utf8_lossy(&object).into_owned();
        // What is no object of ours is looked at as it is.
        let _lines = read_object(&object, |line| {
            text.push_str(line);
            Ok(())
        });
        state.push((key, text));
    }
    let mut secrets = microsoft.secrets();
    secrets.extend([CANARY_SECRET_KEY, CANARY_SESSION, "canary-rotation-token", "eyJ"].map(str::to_owned));
    for (place, text) in places.iter().chain(&state) {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} stands in {place}");
        }
    }
    // What a browser carries is secret until it is used; and a person's name is nobody's business in a log.
    let mut carried: Vec<String> = vec!["Ada <b>".to_owned(), ADMIN.to_owned()];
    for address in visited {
        let values = address.split(['?', '&']).filter_map(|pair| pair.split_once('='));
        let secret = ["state", "code", "nonce", "code_challenge"];
        carried.extend(values.filter(|(name, _)| secret.contains(name)).map(|(_, value)| value.to_owned()));
        carried.extend(address.split("/connect/").nth(1).map(|rest| rest.split('/').next().unwrap().to_owned()));
    }
    assert!(carried.len() > 6, "{carried:?}");
    // ministack writes every address that it is asked for into its own log; a function must not.
    for (place, text) in places.iter().filter(|(place, _)| place != "ministack's log") {
        for secret in &carried {
            assert!(!text.contains(secret.as_str()), "{secret} stands in {place}");
        }
    }
}

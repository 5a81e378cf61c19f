//! The whole story: a customer is invited, approves, is pulled from; a second brings its own application; credentials are
//! renewed, by us and by whose they are; and at the end everybody has used what they may do, and nothing that must be
//! secret is written anywhere.

use std::{
    collections::BTreeSet,
    sync::mpsc::{Receiver, channel},
    time::Duration,
};

use harness::{ADMIN, CLIENT, HOME, SECRET, TENANT};
use jiff::{SignedDuration, Timestamp};
use laboratory::{When, until};
use serde_json::{Value, json};
use shared::{metrics::Metric, record::read_object};
use simulator::{Alert, ClientSecret, Exporter, GroupMembershipClaims, Habits};

use crate::{
    browser::Browser,
    console::{self, Script},
    microsoft::{
        APPLICATIONS, CONSOLE_CLIENT, HINTS, Microsoft, OPERATOR, OWNER, READER, SCRIPT, STORAGE, UNPROVEN,
        UNPROVEN_ADMIN, entry,
    },
    poison::{hide_for, hurry},
    renewal,
    rotation::Driver,
    rules::{
        functions::{PULLERS, names},
        watching::OF_TROUBLE,
    },
    stack::{CANARY_SECRET_KEY, CANARY_SESSION, IDENTITY, PUBLIC_URL, Stack},
};

const PATIENCE: Duration = Duration::from_secs(60);
const AUDIENCE: &str = "api://AzureADTokenExchange";
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
    let mut exports = Exports::new();
    let link = invited(&stack);
    let mut carried = consented(&stack, &microsoft, &link);
    carried.extend(console::people_sign_in_and_out(&stack, &microsoft));
    the_lake_fills(&stack, &microsoft);
    machines_come_change_and_go(&stack, &microsoft);
    a_storage_is_drained(&stack, &microsoft, &mut exports);
    a_tenant_with_its_own_application_is_pulled(&stack, &microsoft, &mut exports);
    carried.extend(an_unproven_administrator_waits_for_the_operator(&stack, &microsoft));
    an_operator_looks_and_changes(&stack, &microsoft);
    an_idle_poll_costs_one_call(&stack, &microsoft);
    a_credential_is_renewed(&stack, &microsoft);
    so_is_every_other_kind(&stack, &microsoft);
    carried.extend(console::it_signs_in_with_its_own_application(&stack, &microsoft));
    carried.extend(renewal::a_customer_gives_a_new_secret_by_a_link(&stack, &microsoft));
    carried.extend(renewal::what_broke_off_is_completed_by_the_daily_check(&stack, &microsoft));
    carried.extend(nobody_needs_a_secret(&stack, &microsoft));
    who_dies_over_an_object_is_finished(&stack, &microsoft, &mut exports);
    carried.extend(an_approval_that_is_given_again_starts_every_feed(&stack, &microsoft));
    a_tenant_leaves_over_its_dead_workers(&stack, &microsoft, &mut exports);
    an_application_that_is_gone_is_told_as_missing(&stack);
    the_measures_are_told(&stack);
    nobody_was_refused_and_nothing_is_granted_beyond(&stack);
    nothing_secret_is_written_anywhere(&stack, &microsoft, carried);
}

/// The operator's verbs. The link, which somebody opens before there is an application to approve.
fn invited(stack: &Stack) -> String {
    let link = stack.muster(&["invite", "Contoso", "--feeds", "alerts,machines", "--expect", TENANT], "");
    let link = link.trim().to_owned();
    assert!(link.starts_with(&format!("{PUBLIC_URL}/connect/")), "{link}");
    assert_eq!(Browser::new(stack, ADMIN).get(&link).status, 200, "the page is there all the same");
    console::nobody_signs_in_without_an_application(stack);
    stack.muster(&["vault", "put", "app"], &entry(CLIENT, HOME, SECRET).to_string());
    link
}

/// What the administrator's browser has carried.
fn consented(stack: &Stack, microsoft: &Microsoft, link: &str) -> Vec<String> {
    for (minutes, number) in [(1, 1), (90, 2), (60 * 24 * 3, 3)] {
        let at = Timestamp::now() - SignedDuration::from_mins(minutes);
        microsoft.put_alert(TENANT, Alert::new(&format!("da63800000000000000{number}_1"), at));
    }
    MACHINES.into_iter().for_each(|id| microsoft.put_machine(TENANT, id, "Low"));
    let mut browser = Browser::new(stack, ADMIN);
    assert_eq!(browser.get("/consent/callback").status, 400);
    let page = browser.consent(link, &microsoft.simulator);
    assert!(page.status == 200 && page.text().contains("Connected"), "{}: {}", page.status, page.text());
    assert_eq!(browser.get(link).status, 410, "an invitation is good once");
    let tenant = stack.tenant(TENANT);
    assert_eq!((&tenant["account"], &tenant["consent"]["oid"]), (&json!("Contoso"), &json!(ADMIN)));
    browser.carried()
}

/// A tick of the alerts.
fn tick(stack: &Stack) -> u64 {
    tick_of(stack, "alerts")
}

/// A tick, and what it sets going. How many messages it sent.
fn tick_of(stack: &Stack, feed: &str) -> u64 {
    let sent = dispatch(stack, feed);
    stack.drained();
    sent
}

/// With the times that the scheduler would have filled in. How many messages it sent.
fn dispatch(stack: &Stack, feed: &str) -> u64 {
    let every = match feed {
        "alerts" => 60,
        "machines" => 3600,
        _ => 300,
    };
    let event = json!({"feed": feed, "scheduled_time": Timestamp::now(), "every_seconds": every});
    stack.invoke("pull-dispatch", &event).unwrap()["messages"].as_u64().unwrap()
}

/// A tenant's alerts in the lake, each version once.
fn events(stack: &Stack, tenant: &str) -> Vec<Value> {
    events_of(stack, "alerts", tenant)
}

/// The events of a tenant's feed in the lake, each once.
fn events_of(stack: &Stack, feed: &str, tenant: &str) -> Vec<Value> {
    let mut events = Vec::new();
    for object in stack.objects(&format!("{feed}/tenant={tenant}/")).values() {
        read_object(object, |line| {
            events.push(serde_json::from_str::<Value>(line)?);
            Ok(())
        })
        .unwrap();
    }
    let uids: BTreeSet<String> = events.iter().map(|event| event["metadata"]["uid"].to_string()).collect();
    assert_eq!(uids.len(), events.len(), "an event of {feed} was delivered twice");
    events
}

/// What `muster tenants` says of one feed of a tenant.
fn view(stack: &Stack, feed: &str, tenant: &str) -> Value {
    stack.tenant(tenant)["feeds"][feed].clone()
}

#[track_caller]
fn balances(view: &Value) {
    let count = |name: &str| view["ledger"][name].as_u64().unwrap();
    assert_eq!(count("fetched"), count("delivered") + count("deduplicated") + count("quarantined"), "{view:#}");
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
    balances(&tenant);
    assert_eq!((&tenant["state"], &tenant["ledger"]["delivered"]), (&json!("active"), &json!(4)), "{tenant:#}");
    stack.no_dead_letters();
}

/// More than ten, and more than a fifth, vanish at once.
const MACHINES: [&str; 14] =
    ["m00", "m01", "m02", "m03", "m04", "m05", "m06", "m07", "m08", "m09", "m10", "m11", "m12", "m13"];
const CROWD: usize = 12;

fn machines_come_change_and_go(stack: &Stack, microsoft: &Microsoft) {
    // The consent has begun it; no tick was needed.
    let delivered = || events_of(stack, "machines", TENANT);
    until("the inventory is in the lake", PATIENCE, || (delivered().len() == MACHINES.len()).then_some(()));
    microsoft.put_machine(TENANT, MACHINES[0], "High");
    microsoft.simulator.world(|world| {
        let nameless = simulator::Machine::new("nobody", Timestamp::now()).without("id");
        world.tenant(TENANT).unwrap().machines.put(nameless);
    });
    run(stack, "what has changed is told", || (delivered().len() == MACHINES.len() + 1).then_some(()));
    assert_eq!(stack.objects("quarantine/machines/").len(), 1, "and what has no name lies apart");
    let (calls, lake) = (stack.gateway.journal().mark(), stack.objects("").len());
    assert_eq!(tick_of(stack, "machines"), 1);
    let journal = stack.gateway.journal().since(calls);
    let of_it = journal.iter().filter(|entry| entry.door == "machine-pull").map(|entry| entry.name());
    let names: BTreeSet<String> = of_it.collect();
    assert!(names.contains("s3:GetObject") && !names.contains("s3:PutObject"), "nothing has changed: {names:?}");
    assert_eq!(stack.objects("").len(), lake, "nothing has changed");
    microsoft.simulator.world(|world| {
        let machines = &mut world.tenant(TENANT).unwrap().machines;
        MACHINES[..CROWD].iter().for_each(|id| machines.remove(id));
    });
    let held = || view(stack, "machines", TENANT)["held"] == CROWD;
    run(stack, "a crowd that vanishes is not believed", || held().then_some(()));
    assert_eq!(delivered().len(), MACHINES.len() + 1);
    stack.muster(&["accept", TENANT], "");
    let gone = || delivered().iter().filter(|event| event["activity_name"] == "Removed").count();
    run(stack, "what an operator believes is told", || (gone() == CROWD).then_some(()));
    balances(&view(stack, "machines", TENANT));
    stack.no_dead_letters();
}

/// Lets inventories be read until this is so.
fn run(stack: &Stack, what: &str, done: impl Fn() -> Option<()>) {
    until(what, PATIENCE, || {
        tick_of(stack, "machines");
        done()
    });
}

/// Two tenants' exports, which write on from minute to minute.
struct Exports {
    /// Each with the time up to which it has written.
    each: Vec<(Exporter, Timestamp)>,
}

impl Exports {
    fn new() -> Self {
        let begun = Timestamp::now() - SignedDuration::from_hours(2);
        // What comes again in another blob comes again under its id; here each id is counted once.
        let habits = Habits { lines_per_minute: 1..=3, repeats_across_blobs: 0, expired_hints: 0, ..Habits::default() };
        let exporter = |(account, tenant, _): (&str, &str, &str)| {
            (Exporter::new(7, tenant, account, begun).with_habits(habits.clone()), begun)
        };
        Self { each: STORAGE.map(exporter).into() }
    }

    /// Another ten minutes of one of them, whole lines at their end. How many records it has written so far.
    fn write(&mut self, microsoft: &Microsoft, which: usize) -> usize {
        let (exporter, until) = &mut self.each[which];
        *until += SignedDuration::from_mins(10);
        let mut steps = exporter.advance(*until);
        steps.extend(exporter.finish());
        microsoft.export(STORAGE[which].0, steps);
        exporter.ledger().deliveries()
    }
}

fn a_storage_is_drained(stack: &Stack, microsoft: &Microsoft, exports: &mut Exports) {
    let (account, ..) = STORAGE[0];
    let place = format!("{account}/{HINTS}");
    stack.muster(&["connect", TENANT, "--account", "Contoso", "--feeds", "telemetry", "--storage", &place], "");
    let delivered = || events_of(stack, "telemetry", TENANT).len();
    // Once as it is found, and twice as it grows: then there are marks to fold, and old ones to let go.
    for _ in 0..3 {
        let written = exports.write(microsoft, 0);
        drain(stack, "what was written is in the lake", || (delivered() == written).then_some(()));
    }
    let blob = microsoft.storage(account, |account| account.blobs(Exporter::CONTAINER).pop().unwrap());
    microsoft.storage(account, |account| account.append(Exporter::CONTAINER, &blob, "{half\n"));
    drain(stack, "what cannot be read lies apart", || {
        (stack.objects("quarantine/telemetry/").len() == 1).then_some(())
    });
    let known = || view(stack, "telemetry", TENANT)["blobs"].as_u64().unwrap();
    let (before, name) = (known(), blob.replace("/m=00/", "/m=30/"));
    microsoft.storage(account, |account| {
        account.subscribe(Exporter::CONTAINER, HINTS);
        account.create_append_blob(Exporter::CONTAINER, &name);
        account.unsubscribe();
    });
    drain(stack, "a blob is known by its hint", || (known() == before + 1).then_some(()));
    microsoft.storage(account, |account| account.delete_blob(Exporter::CONTAINER, &name));
    drain(stack, "and forgotten when it is no more", || (known() == before).then_some(()));
    balances(&view(stack, "telemetry", TENANT));
    stack.no_dead_letters();
}

/// Lets storages be read until this is so.
fn drain(stack: &Stack, what: &str, done: impl Fn() -> Option<()>) {
    until(what, PATIENCE, || {
        tick_of(stack, "telemetry");
        done()
    });
}

fn a_tenant_with_its_own_application_is_pulled(stack: &Stack, microsoft: &Microsoft, exports: &mut Exports) {
    microsoft.put_alert(OWNER, Alert::new("da638000000000000020_1", Timestamp::now()));
    console::a_tenant_brings_its_own_application(stack, microsoft);
    until("the second tenant's alert is in the lake", PATIENCE, || {
        tick(stack);
        (stack.tenant(OWNER)["backlog"] == false && events(stack, OWNER).len() == 1).then_some(())
    });
    microsoft.put_machine(OWNER, "f01", "Low");
    run(stack, "so is its machine", || (events_of(stack, "machines", OWNER).len() == 1).then_some(()));
    let written = exports.write(microsoft, 1);
    let drained = || (events_of(stack, "telemetry", OWNER).len() == written).then_some(());
    drain(stack, "so is its telemetry", drained);
}

/// An id_token proves a user and not an administrator: without `wids` an operator has to vouch.
fn an_unproven_administrator_waits_for_the_operator(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    let say_roles =
        |claims| microsoft.simulator.world(|world| world.registration(CLIENT).group_membership_claims = claims);
    say_roles(GroupMembershipClaims::None);
    let link = stack.muster(&["invite", "Proseware", "--expect", UNPROVEN], "");
    let page = Browser::new(stack, UNPROVEN_ADMIN).consent(link.trim(), &microsoft.simulator);
    assert_eq!(page.status, 400, "{}", page.text());
    assert_eq!(stack.tenant(UNPROVEN)["state"], "confirming");
    say_roles(GroupMembershipClaims::DirectoryRole);
    console::an_operator_vouches_for_who_signed_in(stack, microsoft)
}

fn an_operator_looks_and_changes(stack: &Stack, microsoft: &Microsoft) {
    console::an_operator_does_not_wait_for_the_next_tick(stack, microsoft);
    until("what is older is looked at again", PATIENCE, || {
        tick(stack);
        (stack.tenant(TENANT)["backlog"] == false).then_some(())
    });
    console::a_script_that_may_look_does_no_more(stack, microsoft);
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
    let report = stack.daily_check();
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
    for (feed, puller) in &PULLERS[1..] {
        stack.killer(puller)();
        let mark = microsoft.mark();
        tick_of(stack, feed);
        // Both tenants', and each has a credential of its own.
        assert!(microsoft.asked(mark, "/token") >= 2, "{feed}: no token was asked for");
        assert_eq!(view(stack, feed, TENANT)["freshness_seconds"].as_u64().unwrap() / 60, 0, "{feed}");
        assert_eq!(stack.tenant(TENANT)["capabilities"][feed]["status"], "ok");
    }
    stack.killer("alert-pull")();
    microsoft.put_alert(TENANT, Alert::new(&format!("da6380000000000000{number}_1"), Timestamp::now()));
    until("alerts flow on", PATIENCE, || {
        tick(stack);
        (events(stack, TENANT).len() == delivered).then_some(())
    });
}

/// Of other permission sets, tenants' own applications and the console's the daily check begins the rotation when it is due,
/// and tells of each on the bus; from then on Secrets Manager does it by itself.
fn so_is_every_other_kind(stack: &Stack, microsoft: &Microsoft) {
    let own = format!("tenants/{OWNER}");
    let names = [("apps/extra", 2), ("console", 3), (own.as_str(), 1)];
    for (name, application) in names {
        let (client, home, secret) = APPLICATIONS[application];
        // Whoever names the credential's id knows from Entra when it ends.
        stack.muster(&["vault", "put", name], &entry(client, home, secret).to_string());
        // It is high time: another ten days, of more than a year.
        microsoft.simulator.world(|world| {
            for secret in &mut world.application(client).unwrap().secrets {
                let days = |days: i64| SignedDuration::from_hours(24 * days);
                (secret.start, secret.end) = (Timestamp::now() - days(400), Timestamp::now() + days(10));
            }
        });
    }
    let mark = stack.gateway.journal().mark();
    let report = stack.daily_check();
    assert_eq!(report["due"].as_array().map(Vec::len), Some(names.len()), "{report:#}");
    let calls = stack.gateway.journal().since(mark);
    let of = |name: &str| calls.iter().filter(|entry| entry.name() == name).count();
    assert_eq!(of("secretsmanager:RotateSecret"), names.len(), "{}", stack.output("credential-rotation"));
    assert_eq!(of("events:PutEvents"), 1, "all in one batch: {report:#}");
    for (name, _) in names {
        let driver = Driver::of(stack, &format!("muster/{name}"));
        let token = driver.begun();
        driver.attempt(&token).unwrap_or_else(|error| panic!("{error:#}\n{}", stack.output("credential-rotation")));
        driver.conclude(&token);
    }
    assert_eq!(stack.daily_check()["due"], json!([]), "whoever has a schedule is not ours to begin");
}

/// The provider's applications without a secret, first with each mistake that can be made on the way there.
fn nobody_needs_a_secret(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    let subject = stack.outputs["EntraIdentity"].clone();
    let (issuer, jwks) = (stack.gateway.issuer(), stack.gateway.jwks());
    let trusts = |subject: &str, audience: &str| microsoft.trusts(&issuer, &jwks, subject, audience);
    let federated =
        |client: &str| json!({"client_id": client, "home_tenant_id": HOME, "credential": {"kind": "federated"}});
    // Twice, so that no secret stands in for it.
    for name in ["app", "app", "console", "console"] {
        let client = if name == "app" { CLIENT } else { CONSOLE_CLIENT };
        stack.muster(&["vault", "put", name], &federated(client).to_string());
    }
    let told = |words: &str| {
        stack.killer("alert-pull")();
        until(words, PATIENCE, || {
            tick(stack);
            let said = stack.tenant(TENANT)["capabilities"]["alerts"]["next_step"].to_string();
            said.contains(words).then_some(())
        });
        let tenant = stack.tenant(TENANT);
        let said = tenant["capabilities"]["alerts"]["next_step"].as_str().unwrap();
        assert!(said.starts_with("Operator: ") && said.contains("the tenant did nothing wrong"), "{said}");
        assert_eq!(tenant["state"], "credential_fault", "{said}");
    };
    trusts(&subject, AUDIENCE);
    told("aws iam enable-outbound-web-identity-federation");
    stack.gateway.enable_federation(true);
    trusts(&subject.to_uppercase(), AUDIENCE);
    told("differs from our token's in capitals alone");
    trusts(&subject, "api://AnotherExchange");
    told("must be api://AzureADTokenExchange");
    trusts(&subject, AUDIENCE);
    for (feed, puller) in PULLERS {
        stack.killer(puller)();
        let mark = microsoft.mark();
        until("it flows on", PATIENCE, || {
            tick_of(stack, feed);
            (stack.tenant(TENANT)["capabilities"][feed]["status"] == "ok").then_some(())
        });
        let log = microsoft.simulator.log();
        let by = |kind: &str| log[mark..].iter().filter(|entry| entry.credential.as_deref() == Some(kind)).count();
        assert!(by("federated") > 0, "{feed}");
    }
    assert_eq!(stack.tenant(TENANT)["state"], "active");
    let report = stack.daily_check();
    let refused = |finding: &&Value| finding["kind"] == "refused";
    assert_eq!(report["findings"].as_array().unwrap().iter().filter(refused).count(), 0, "{report:#}");
    let carried = console::it_signs_in_with_its_own_application(stack, microsoft);
    // With what an operator may do, and as the stack is at Entra.
    let looked = stack.muster(&["doctor"], "");
    assert!(looked.contains(&subject) && looked.contains(&issuer) && !looked.contains("eyJ"), "{looked}");
    let identity = stack.gateway.journal().granted(IDENTITY);
    assert_eq!(stack.identity_policies().unused(&identity), Vec::<String>::new(), "granted, and needed by nobody");
    carried
}

/// At each object that it puts: before it is written, and after. Whoever comes next finds the open intent and finishes it.
/// Machines and telemetry put what they remember first, and then what leaves them.
fn who_dies_over_an_object_is_finished(stack: &Stack, microsoft: &Microsoft, exports: &mut Exports) {
    hurry(stack);
    let both = [(1, When::Before), (1, When::After), (2, When::After)];
    let cases = [
        ("alerts", "alert-pull", &both[..2]),
        ("machines", "machine-pull", &both),
        ("telemetry", "telemetry-drain", &both),
    ];
    for (feed, puller, moments) in cases {
        for (number, (object, when)) in moments.iter().enumerate() {
            let before = events_of(stack, feed, TENANT).len();
            let was_killed = dies(stack, puller, *object, *when, || {});
            let expected = match feed {
                "alerts" => {
                    let id = format!("da63800000000000004{number}_1");
                    microsoft.put_alert(TENANT, Alert::new(&id, Timestamp::now()));
                    before + 1
                }
                "machines" => {
                    microsoft.put_machine(TENANT, MACHINES[CROWD], ["High", "Medium", "Informational"][number]);
                    before + 1
                }
                _ => exports.write(microsoft, 0),
            };
            assert!(expected > before, "nothing new of {feed}");
            until("it is delivered all the same", PATIENCE, || {
                tick_of(stack, feed);
                (events_of(stack, feed, TENANT).len() == expected).then_some(())
            });
            assert!(was_killed.try_recv().is_ok(), "{feed}, object {object}, {when:?}: nobody was killed");
        }
        // An object is there before the state says so. Whoever wrote the last one may be about to, or dead.
        let view = until("the ledger says what the lake has", PATIENCE, || {
            tick_of(stack, feed);
            let view = view(stack, feed, TENANT);
            (view["ledger"]["delivered"] == events_of(stack, feed, TENANT).len()).then_some(view)
        });
        balances(&view);
    }
    stack.no_dead_letters();
}

/// Kills a puller's environments at the moment that it puts so many objects, and does this right before.
fn dies(
    stack: &Stack,
    puller: &str,
    object: usize,
    when: When,
    before: impl FnOnce() + Send + 'static,
) -> Receiver<()> {
    let killed = stack.killer(puller);
    let (died, was_killed) = channel();
    stack.gateway.upon_nth(puller, "PutObject", object, when, move || {
        before();
        killed();
        died.send(()).unwrap();
    });
    was_killed
}

/// The feeds that a tenant has by then, those that no invitation asks for, too.
fn an_approval_that_is_given_again_starts_every_feed(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    let (link, of_the_operator) = console::invited(stack, microsoft);
    let mark = stack.gateway.journal().mark();
    let mut browser = Browser::new(stack, ADMIN);
    let page = browser.consent(&link, &microsoft.simulator);
    assert_eq!(page.status, 200, "{}", page.text());
    let journal = stack.gateway.journal().since(mark);
    let sent = journal.iter().filter(|entry| entry.door == "consent-callback" && entry.operation == "SendMessageBatch");
    assert_eq!(sent.count(), PULLERS.len(), "a first pull of each");
    stack.drained();
    [of_the_operator, browser.carried()].concat()
}

/// Nobody else comes to AWS after the dead, whatever messages there are, so what they have left open is the removal's to
/// settle.
fn a_tenant_leaves_over_its_dead_workers(stack: &Stack, microsoft: &Microsoft, exports: &mut Exports) {
    hide_for(stack, 3600);
    console::news_of_who_will_leave(microsoft);
    let written = exports.write(microsoft, 1);
    for ((feed, puller), object) in PULLERS.into_iter().zip([1, 2, 2]) {
        let was_killed = dies(stack, puller, object, When::Before, stack.gateway.shutter(puller));
        dispatch(stack, feed);
        until("a worker is dead", PATIENCE, || was_killed.try_recv().ok());
        let progress = stack.item(&format!("tenant#{OWNER}"), &format!("{feed}#progress"));
        assert!(!progress["intent"].is_null(), "{feed}: nothing is left open: {progress:#}");
    }
    console::a_tenant_leaves_and_comes_back(stack, &Script::of(stack, microsoft, SCRIPT, CONSOLE_CLIENT));
    stack.purge();
    hurry(stack);
    PULLERS.into_iter().for_each(|(_, puller)| stack.gateway.reopen(puller));
    for (feed, expected) in [("alerts", 2), ("machines", 2), ("telemetry", written)] {
        until("it is delivered once", PATIENCE, || {
            tick_of(stack, feed);
            (events_of(stack, feed, OWNER).len() == expected).then_some(())
        });
    }
    stack.no_dead_letters();
}

/// AWS judges a call about a secret that is not there by its bare name. Where that is not granted, "missing" reads as
/// "refused", which is the platform's trouble, and its messages become dead letters.
fn an_application_that_is_gone_is_told_as_missing(stack: &Stack) {
    let gone = json!({"SecretId": "muster/app", "ForceDeleteWithoutRecovery": true});
    assert_eq!(stack.operator.json("secretsmanager", "secretsmanager.DeleteSecret", &gone).status, 200);
    for (feed, puller) in PULLERS {
        stack.killer(puller)();
        until("the operator is told to store it", PATIENCE, || {
            tick_of(stack, feed);
            let told = stack.tenant(TENANT)["capabilities"][feed]["next_step"].to_string();
            told.contains("muster vault put").then_some(())
        });
    }
    assert_eq!(stack.tenant(TENANT)["state"], "credential_fault");
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

fn nothing_secret_is_written_anywhere(stack: &Stack, microsoft: &Microsoft, carried: Vec<String>) {
    let mut places: Vec<(String, String)> =
        names().into_iter().map(|name| (format!("the output of {name}"), stack.output(&name))).collect();
    for (place, text) in &places {
        assert!(text.contains('{'), "{place} is empty, so nothing was looked at");
    }
    let table = ("the table".to_owned(), stack.items().to_string());
    let mut lake = Vec::new();
    for (key, object) in stack.objects("") {
        let mut text = String::from_utf8_lossy(&object).into_owned();
        // What is no object of ours is looked at as it is.
        let _lines = read_object(&object, |line| {
            text.push_str(line);
            Ok(())
        });
        lake.push((key, text));
    }
    // What a browser carries is secret until it is used, and a session is until it ends.
    assert!(carried.len() > 20, "{carried:?}");
    for (place, text) in places.iter().chain([&table]).chain(&lake) {
        for secret in &carried {
            assert!(!text.contains(secret.as_str()), "{secret} stands in {place}");
        }
    }
    // A person's name is nobody's business in a log, nor in the lake; the table has who consented, and who did what.
    let people = ["Ada <b>", ADMIN, "Olga", OPERATOR, "Rita", READER];
    for (place, text) in places.iter().chain(&lake) {
        for person in people {
            assert!(!text.contains(person), "{person} stands in {place}");
        }
    }
    // ministack writes every address that it is asked for into its own log; a function must not.
    places.push(("ministack's log".to_owned(), stack.ministack.log()));
    let mut secrets = microsoft.secrets();
    let further = [CANARY_SECRET_KEY, CANARY_SESSION, "canary-rotation-token", "canary-assumed", "eyJ"];
    secrets.extend(further.map(str::to_owned));
    for (place, text) in places.iter().chain([&table]).chain(&lake) {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{secret} stands in {place}");
        }
    }
}

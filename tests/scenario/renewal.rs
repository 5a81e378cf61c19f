//! What the host and the daily check do about credentials day after day, and what a person reads of it.

use std::{collections::BTreeSet, time::Duration};

use futures::executor::block_on;
use harness::{CLIENT, HAND_MADE, HOME, LOOK_ALIKE, SECRET, STEPS, Stage, at, keys, minutes, seconds};
use serde_json::json;
use shared::{
    credential::{
        check::{Kind, Report, Severity},
        status,
    },
    ports::vault::Stage::{Current, Pending, Previous},
    secret::Secret,
};
use simulator::{Fault, Route, Tenant};

/// One expired vendor secret took every tenant of others down, twice in the same product (n8n#22567, n8n#25368).
#[test]
fn pain_06_one_expiring_secret_takes_nobody_down() {
    let stage = Stage::rotating().with_short_tokens();
    let ends = stage.now() + minutes(120 * 24 * 60);
    stage.world(|world| {
        let secrets = &mut world.application(CLIENT).unwrap().secrets;
        let hand_made = secrets.iter_mut().find(|secret| secret.key_id == HAND_MADE).unwrap();
        (hand_made.start, hand_made.end) = (at(0), ends);
    });
    let daily = |stage: &Stage| stage.drive(local::rotate::daily(&stage.machine()), Stage::assert_polls);
    // Before half of its life is over nothing happens; then it is replaced, and replaced again.
    let (mut lives, mut current) = (vec![], HAND_MADE.to_owned());
    for day in 1..=400 {
        stage.days(1);
        daily(&stage);
        stage.assert_polls();
        assert!(stage.at_entra().len() <= 4, "day {day}: {:?}", stage.at_entra());
        if stage.key_id(Current) != current {
            current = stage.key_id(Current);
            lives.push(day);
        }
    }
    assert_eq!(lives[0], 60, "{lives:?}");
    assert!(lives.windows(2).all(|pair| (90..=91).contains(&(pair[1] - pair[0]))), "{lives:?}");
    // Two live credentials always: each polls alone.
    for stage_of in [Current, Previous] {
        let token = block_on(stage.app.tokens.by_credential(
            HOME.parse().unwrap(),
            &stage.entry(stage_of).unwrap().application,
            stage.app.config.graph_audience(),
        ));
        assert!(token.is_ok(), "{stage_of:?}: {token:?}");
    }
}

#[test]
fn pain_06_a_secret_that_nobody_can_renew_is_warned_about_in_good_time() {
    let stage = Stage::rotating();
    stage.world(|world| {
        world.registration(CLIENT).owners.clear();
        let secrets = &mut world.application(CLIENT).unwrap().secrets;
        secrets.iter_mut().for_each(|secret| secret.end = at(100 * 24 * 60));
    });
    let ends = json!({"kind": "client_secret", "value": SECRET, "key_id": HAND_MADE, "expires_at": at(100 * 24 * 60)});
    stage.store_application(&ends, "v1b");
    let mut warned = Vec::new();
    for day in 1..=101 {
        stage.days(1);
        let expiry = stage.check().findings.into_iter().find(|finding| finding.kind == Kind::Expiry);
        if let Some(finding) = expiry
            && warned.last().is_none_or(|(_, severity, text): &(i64, Severity, String)| {
                *severity != finding.severity || text.split(',').nth(1) != finding.text.split(',').nth(1)
            })
        {
            assert!(finding.text.contains("muster vault put app"), "{}", finding.text);
            warned.push((day, finding.severity, finding.text));
        }
    }
    let days: Vec<_> = warned.iter().map(|(day, severity, _)| (*day, *severity)).collect();
    assert_eq!(
        days,
        [
            (70, Severity::Notice),
            (86, Severity::Warning),
            (93, Severity::Warning),
            (99, Severity::Critical),
            (100, Severity::Critical),
        ],
        "{warned:#?}"
    );
}

/// Rotations that half-commit and propagate slowly (microsoft-graph-docs#17966, hashicorp/vault-plugin-secrets-azure#64).
#[test]
fn pain_15_a_half_committed_rotation_keeps_the_current_secret_working_and_converges() {
    for broken_off in STEPS {
        let stage = Stage::rotating().with_short_tokens();
        stage.begin("v2");
        for name in STEPS.iter().take_while(|name| **name != broken_off) {
            stage.step(name, "v2").unwrap();
        }
        // The step is begun and never ended: whatever it had done is done.
        {
            let mut begun = Box::pin(harness::step(&stage.app, broken_off, "v2"));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let _half_done = begun.as_mut().poll(&mut context);
        }
        // Nobody comes back to it for a day; everything goes on.
        for _ in 0..24 {
            stage.pass(minutes(60));
            stage.assert_polls();
        }
        let report = stage.check();
        if broken_off != "finishSecret" {
            let stuck = report.findings.iter().any(|finding| finding.kind == Kind::RotationStuck);
            assert!(stuck && report.due == ["muster/app"], "{broken_off}: {report:?}");
        }
        // The host resumes it under its own token.
        stage.drive(local::rotate::daily(&stage.machine()), Stage::assert_polls);
        assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]), "{broken_off}");
        assert_eq!(block_on(stage.app.ports.vault.describe("muster/app")).unwrap().version(Current), Some("v2"));
    }
}

#[test]
fn a_rotation_that_can_never_succeed_is_given_up_for_another() {
    let stage = Stage::rotating();
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    // Somebody tidies up in the portal.
    let pending = stage.key_id(Pending);
    stage.world(|world| world.application(CLIENT).unwrap().secrets.retain(|secret| secret.key_id != pending));
    let first = stage.drive(local::rotate::run(&stage.machine(), "app"), |_| {}).unwrap_err();
    assert!(first.to_string().contains("goes on where it stands"), "{first}");
    stage.pass(minutes(60));
    stage.drive(local::rotate::run(&stage.machine(), "app"), |_| {}).unwrap();
    let described = block_on(stage.app.ports.vault.describe("muster/app")).unwrap();
    assert!(described.version(Current).is_some_and(|version| version != "v2") && described.open_rotation().is_none());
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]));
}

#[test]
fn a_rotation_left_open_by_an_entry_that_became_federated_is_ended() {
    let (stage, issuer) = Stage::rotating().on_a_platform_with_identity();
    stage.begin("v2");
    stage.step("createSecret", "v2").unwrap();
    let pending = stage.key_id(Pending);
    stage.world(|world| world.application(CLIENT).unwrap().federated.push(issuer.trusted()));
    stage.store_application(&json!({"kind": "federated"}), "v3");
    let told = stage.drive(local::rotate::run(&stage.machine(), "app"), |_| {}).unwrap_err();
    assert!(told.to_string().contains("nothing to rotate"), "{told}");
    assert_eq!(block_on(stage.app.ports.vault.describe("muster/app")).unwrap().open_rotation(), None);
    stage.days(2);
    stage.check();
    assert!(!stage.at_entra().contains(&pending), "what it had made is of no use to anybody");
}

#[test]
fn pain_06_a_key_id_that_is_mistyped_twice_costs_no_secret() {
    let stage = Stage::rotating();
    stage.rotate("v2");
    let (ours, text) = (stage.key_id(Current), stage.secret_text(&stage.key_id(Current)));
    for version in ["typo-1", "typo-2"] {
        stage.store_application(&json!({"kind": "client_secret", "value": text, "key_id": LOOK_ALIKE}), version);
        stage.days(2);
        let found: Vec<Kind> = stage.check().findings.iter().map(|finding| finding.kind).collect();
        assert!(found.contains(&Kind::Drift), "{found:?}");
    }
    assert!(stage.at_entra().contains(&ours), "it is what the application lives by");
    stage.days(1);
    stage.assert_polls();
}

#[test]
fn what_was_damaged_in_another_entry_once_keeps_nothing_from_being_cleared_away() {
    let stage = Stage::rotating();
    let good = json!({"client_id": OTHER, "home_tenant_id": HOME, "credential": {"kind": "federated"}}).to_string();
    let put = |version: &str, text: &str| {
        let text = Secret::new(text.to_owned());
        block_on(stage.app.ports.vault.put("muster/console", version, &text, &[Current], None)).unwrap();
    };
    let life = |version: &str| {
        stage.rotate(version);
        stage.days(2);
        stage.check();
        stage.key_id(Current)
    };
    put("half", &good[..20]);
    let [first, second] = ["v2", "v3"].map(life);
    let third = life("v4");
    assert!(stage.at_entra().contains(&first), "nobody knows what whoever mends it lives by");
    put("whole", &good);
    stage.days(1);
    stage.check();
    let there = stage.at_entra();
    assert!(!there.contains(&first) && there.contains(&second) && there.contains(&third), "{there:?}");
}

#[test]
fn a_day_on_which_graph_is_silent_takes_nothing_back_that_was_found_before() {
    let stage = Stage::rotating();
    // Only Graph knows its end.
    stage.world(|world| {
        let secrets = &mut world.application(CLIENT).unwrap().secrets;
        secrets.iter_mut().find(|secret| secret.key_id == HAND_MADE).unwrap().end = at(10 * 24 * 60);
    });
    let known = || block_on(status::all(stage.app.ports.store.as_ref())).unwrap()["app"].clone();
    stage.days(1);
    stage.check();
    let first = known();
    assert_eq!(first.expires_at, Some(at(10 * 24 * 60)));
    assert!(first.warnings.contains_key(&Kind::Expiry), "{first:?}");
    stage.world(|world| world.script(Route::GraphRead, vec![Fault::Status(503); 200]));
    stage.days(1);
    let report = stage.check();
    let found: Vec<Kind> = report.findings.iter().map(|finding| finding.kind).collect();
    assert!(found.contains(&Kind::Expiry) && found.contains(&Kind::NotChecked), "{report:?}");
    let second = known();
    assert_eq!((second.expires_at, report.first_end), (first.expires_at, first.expires_at));
    let over = |entry: &shared::audit::Entry| entry.detail.contains("does not end soon any more");
    assert!(!stage.trail().iter().any(over), "nobody has found that out");
    stage.world(simulator::World::clear_scripts);
    stage.days(1);
    let found: Vec<Kind> = stage.check().findings.iter().map(|finding| finding.kind).collect();
    assert!(!found.contains(&Kind::NotChecked) && found.contains(&Kind::Expiry), "{found:?}");
}

#[test]
fn extra_privileges_and_drift_are_found() {
    let stage = Stage::rotating();
    assert_eq!(stage.check().findings.iter().map(|finding| finding.kind).collect::<Vec<_>>(), []);
    stage.world(|world| {
        world.add_tenant(Tenant::new(HOME, "Provider").consented(
            CLIENT,
            &["Application.ReadWrite.OwnedBy", "Application.Read.All"],
            at(-10_000),
        ));
        let tenant = Tenant::new(harness::TENANT, "Contoso");
        world.add_tenant(tenant.consented(CLIENT, &[harness::ALERT_ROLE, "Machine.Isolate"], at(-10_000)));
    });
    let unknown = json!({"kind": "client_secret", "value": SECRET, "key_id": "b0000000-0000-4000-8000-00000000000b"});
    stage.store_application(&unknown, "v1b");
    let report = stage.check();
    let text = |kind| {
        let finding = report.findings.iter().find(|finding| finding.kind == kind);
        finding.unwrap_or_else(|| panic!("{report:?}")).text.clone()
    };
    assert!(text(Kind::ExtraPrivileges).contains("Application.Read.All, Machine.Isolate"), "{report:?}");
    assert!(text(Kind::Drift).contains("b0000000-0000-4000-8000-00000000000b"), "{report:?}");
    stage.world(|world| world.application(CLIENT).unwrap().secrets.clear());
    let report = stage.check();
    assert!(
        report.findings.iter().any(|finding| finding.kind == Kind::Refused && finding.severity == Severity::Critical)
    );
    let text = serde_json::to_string(&report).unwrap();
    assert!(!text.contains(SECRET) && !format!("{report:?}").contains(SECRET));
}

#[test]
fn one_entry_that_cannot_be_read_does_not_hide_the_others() {
    let stage = Stage::rotating();
    for (name, text) in [
        ("muster/console", "half an entry".to_owned()),
        ("muster/signing", json!({"key": "x"}).to_string()),
        ("muster/something/else", "whatever".to_owned()),
        ("muster/tenants/a0000000-0000-4000-8000-0000000000aa", json!({"client_id": CLIENT}).to_string()),
    ] {
        block_on(stage.app.ports.vault.put(name, "v1", &Secret::new(text), &[Current], None)).unwrap();
    }
    let report = stage.check();
    let found: Vec<_> = report.findings.iter().map(|finding| (finding.vault.as_str(), finding.kind)).collect();
    let own = "muster/tenants/a0000000-0000-4000-8000-0000000000aa";
    assert_eq!((report.checked, found), (3, vec![("muster/console", Kind::Unusable), (own, Kind::Unusable)]));
}

/// Entries with this secret. Those that Entra refuses are asked for thrice, and each waits in between.
fn entries(stage: &Stage, name: &str, count: usize, secret: &str) {
    let credential = json!({"kind": "client_secret", "value": secret});
    let entry = json!({"client_id": CLIENT, "home_tenant_id": HOME, "credential": credential}).to_string();
    for number in 0..count {
        let (name, entry) = (format!("muster/apps/{name}-{number:03}"), Secret::new(entry.clone()));
        block_on(stage.app.ports.vault.put(&name, "v1", &entry, &[Current], None)).unwrap();
    }
}

/// An application of nobody's concern here.
const OTHER: &str = "a0000000-0000-4000-8000-0000000000dd";
const NOBODYS: &str = "one that nobody has made";

fn not_checked(report: &Report) -> BTreeSet<String> {
    let findings = report.findings.iter().filter(|finding| finding.kind == Kind::NotChecked);
    findings.map(|finding| finding.name.clone()).collect()
}

#[test]
fn a_check_of_hundreds_of_refused_credentials_ends_within_its_time() {
    let stage = Stage::rotating();
    entries(&stage, "refused", 300, NOBODYS);
    let began = stage.now();
    let report = stage.check();
    assert_eq!((report.checked, not_checked(&report)), (301, BTreeSet::new()));
    let refused = report.findings.iter().filter(|finding| finding.kind == Kind::Refused).count();
    assert_eq!(refused, 300);
    assert!(stage.now().duration_since(began) < minutes(10), "{}", stage.now());
}

#[test]
fn entries_that_are_throttled_take_no_time_from_the_others() {
    let stage = Stage::rotating();
    entries(&stage, "asked", 8, SECRET);
    entries(&stage, "refused", 300, NOBODYS);
    let throttled = Fault::Throttled { seconds: 400, header: true, words: false };
    stage.world(|world| world.script(Route::GraphRead, vec![throttled; 200]));
    let report = stage.check_within(Duration::from_secs(450));
    assert_eq!((report.checked, not_checked(&report).len()), (309, 9));
    assert!(report.findings.iter().any(|finding| finding.text.contains("Graph asks us to wait")));
}

#[test]
fn a_check_is_over_in_time_though_graph_never_answers() {
    let stage = Stage::rotating();
    entries(&stage, "asked", 24, SECRET);
    let silent = Fault::Slow { pause: seconds(60), chunk: 1 };
    stage.world(|world| world.script(Route::GraphRead, vec![silent; 500]));
    let began = stage.now();
    let report = stage.check_within(Duration::from_secs(150));
    // There is one clock, so of eight who wait for the network at once each moves it for all.
    let at_most = seconds(150 + 8 * 30);
    assert!(stage.now().duration_since(began) <= at_most, "{}", stage.now());
    assert_eq!((report.checked, not_checked(&report).len()), (0, 25));
    stage.world(simulator::World::clear_scripts);
    stage.days(1);
    let report = stage.check();
    assert_eq!((report.checked, not_checked(&report)), (25, BTreeSet::new()));
}

#[test]
fn whoever_found_no_time_in_a_check_is_looked_at_first_the_next_day() {
    let stage = Stage::rotating();
    entries(&stage, "refused", 40, NOBODYS);
    let time = Duration::from_secs(35);
    let yesterday = stage.check_within(time);
    let late = not_checked(&yesterday);
    assert_eq!(yesterday.checked + late.len(), 41);
    assert!(!late.is_empty() && late.len() <= 20, "{late:?}");
    stage.days(1);
    let today = not_checked(&stage.check_within(time));
    assert!(!today.is_empty() && today.is_disjoint(&late), "{today:?} and {late:?}");
}

#[test]
fn what_an_operator_stores_after_a_rotation_stays() {
    let stage = Stage::rotating();
    stage.rotate("v2");
    let by_hand = json!({"kind": "client_secret", "value": SECRET, "key_id": HAND_MADE});
    stage.store_application(&by_hand, "v3");
    stage.drive(local::rotate::daily(&stage.machine()), |_| {});
    assert_eq!(stage.key_id(Current), HAND_MADE, "the daily work does not bring the old one back");
    let findings = stage.check().findings;
    assert!(findings.iter().all(|finding| finding.kind != Kind::RotationStuck), "{findings:?}");
    let pace = shared::credential::rotation::Pace::new(local::rotate::UNHURRIED, |_, _| {});
    stage.drive(local::rotate::rotate(&stage.machine(), "muster/app", &pace), |_| {}).unwrap();
    assert_eq!(stage.key_id(Previous), HAND_MADE, "and the next rotation begins from it");
}

#[test]
fn what_an_operator_stores_during_a_rotation_stays() {
    for done in 0..4 {
        let stage = Stage::rotating();
        stage.begin("v2");
        for name in &STEPS[..done] {
            stage.step(name, "v2").unwrap();
        }
        stage.pass(minutes(1));
        let by_hand = json!({"kind": "client_secret", "value": SECRET, "key_id": HAND_MADE});
        stage.store_application(&by_hand, "v3");
        for name in STEPS {
            assert!(stage.step(name, "v2").is_err(), "{name} after {done} steps");
        }
        assert_eq!(stage.key_id(Current), HAND_MADE, "after {done} steps");
        // The host begins another one, and nothing is left of the first.
        let pace = shared::credential::rotation::Pace::new(local::rotate::UNHURRIED, |_, _| {});
        stage.drive(local::rotate::rotate(&stage.machine(), "muster/app", &pace), |_| {}).unwrap();
        assert_eq!(stage.key_id(Previous), HAND_MADE, "after {done} steps");
    }
}

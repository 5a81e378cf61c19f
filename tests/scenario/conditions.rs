//! What a tenant can give now, and the one sentence that says what to do about it.

use harness::{ALERT_ROLE, CLIENT, Stage, TENANT, at, minutes, seconds};
use shared::tenant::{Ability, State};
use simulator::{Alert, Consent, Fault, Licence, Route, Tenant};

/// Runs a story and returns (state, ability, next step) after two ticks.
fn after(change: impl FnOnce(&mut Tenant)) -> (State, Ability, String) {
    let stage = Stage::connected();
    stage.ticks(2);
    stage.tenant(change);
    // Past the life of the token we hold.
    stage.pass(minutes(90));
    stage.ticks(2);
    let view = stage.view();
    let capability = stage.capability();
    (view.state, capability.status, capability.next_step)
}

#[test]
fn pain_09_a_refusal_says_which_of_the_four_things_it_means() {
    let (state, ability, words) = after(|tenant| tenant.consents[0].roles = vec!["Machine.Read.All".to_owned()]);
    assert_eq!((state, ability), (State::NeedsConsent, Ability::RoleMissing));
    assert!(words.contains("Alert.Read.All"), "{words}");

    let (state, ability, words) = after(|tenant| tenant.licence = Licence::InvalidLicense);
    assert_eq!((state, ability), (State::Unlicensed, Ability::Unlicensed));
    assert!(words.contains("license"), "{words}");

    let (state, ability, _) = after(|tenant| tenant.rbac_denied = true);
    assert_eq!((state, ability), (State::Blocked, Ability::Failing));

    let (state, ability, words) = after(|tenant| tenant.conditional_access_blocks = true);
    assert_eq!((state, ability), (State::Blocked, Ability::Failing));
    assert!(words.contains("Conditional Access"), "{words}");
}

#[test]
fn every_other_condition_has_its_own_state_and_next_step() {
    type Change = fn(&mut Tenant);
    let cases: [(Change, State, Ability, &str); 6] = [
        (|t| t.licence = Licence::AccountInactive, State::Unlicensed, Ability::Unlicensed, "Account mode is inactive"),
        (|t| t.licence = Licence::NoTvmLicence, State::Unlicensed, Ability::Unlicensed, "Tvm"),
        (|t| t.consents.clear(), State::NeedsConsent, Ability::RoleMissing, "approve the application"),
        (|t| t.consents[0].enabled = false, State::Blocked, Ability::Failing, "enable our application"),
        (|t| t.has_defender = false, State::Unlicensed, Ability::Unlicensed, "WindowsDefenderATP"),
        (|t| t.deleted = true, State::Blocked, Ability::Failing, "still exists"),
    ];
    for (change, state, ability, word) in cases {
        let (found_state, found, words) = after(change);
        assert_eq!((found_state, found), (state, ability), "{words}");
        assert!(words.contains(word), "{words}");
    }
}

#[test]
fn an_unlicensed_tenant_is_asked_once_a_day_and_recovers_by_itself() {
    let stage = Stage::connected();
    stage.ticks(2);
    stage.tenant(|tenant| tenant.licence = Licence::AccountInactive);
    stage.ticks(2);
    stage.simulator.clear_log();
    stage.ticks(23 * 60);
    assert_eq!(stage.defender_calls().len(), 0);
    stage.put(Alert::new("da-meanwhile", stage.now() - minutes(600)));
    stage.tenant(|tenant| tenant.licence = Licence::Active);
    stage.ticks(65);
    assert_eq!(stage.ids(), ["da-meanwhile"]);
    assert_eq!(stage.view().state, State::Active);
    stage.assert_exactly_once();
}

#[test]
fn a_tenant_cannot_be_connected_before_it_is_proven() {
    for (consents, word) in [
        (Vec::new(), "approve the application"),
        (
            vec![Consent {
                client_id: CLIENT.to_owned(),
                roles: vec!["Machine.Read.All".to_owned()],
                service_principal_from: at(-100),
                roles_from: at(-100),
                enabled: true,
            }],
            "Alert.Read.All",
        ),
    ] {
        let stage = Stage::new();
        stage.tenant(|tenant| tenant.consents = consents);
        let error = stage.connect(TENANT).unwrap_err();
        assert!(error.contains(word), "{error}");
        assert!(
            futures::executor::block_on(shared::tenant::list::list(stage.app.ports.store.as_ref(), stage.now()))
                .unwrap()
                .is_empty()
        );
    }
    let stage = Stage::new();
    stage.tenant(|tenant| tenant.licence = Licence::NoTvmLicence);
    assert!(stage.connect(TENANT).unwrap_err().contains("license"));
}

#[test]
fn entra_in_trouble_is_nobodys_fault() {
    for fault in [Fault::Aadsts(90_033), Fault::Status(503), Fault::Html(502)] {
        let stage = Stage::connected();
        stage.ticks(2);
        stage.pass(minutes(90));
        stage.put(Alert::new("da1", stage.now() + seconds(5)));
        stage.world(|world| world.script(Route::Token, [fault.clone()]));
        stage.ticks(3);
        assert_eq!((stage.view().state, stage.capability().status), (State::Active, Ability::Ok), "{fault:?}");
        assert_eq!(stage.ids(), ["da1"]);
    }
}

#[test]
fn entra_asking_for_quiet_is_heard() {
    let stage = Stage::connected();
    stage.ticks(2);
    stage.pass(minutes(90));
    stage.world(|world| {
        world.script(Route::Token, [Fault::Throttled { seconds: 300, header: true, words: false }]);
    });
    stage.tick();
    stage.simulator.clear_log();
    stage.ticks(4);
    assert_eq!(stage.simulator.log().len(), 0);
    stage.ticks(2);
    assert_eq!(stage.capability().status, Ability::Ok);
}

#[test]
fn a_tenant_that_approves_again_comes_back() {
    let stage = Stage::connected();
    stage.ticks(2);
    stage.tenant(|tenant| tenant.consents.clear());
    stage.pass(minutes(90));
    stage.ticks(2);
    assert_eq!(stage.view().state, State::NeedsConsent);
    stage.tenant(|tenant| {
        tenant.consents = Tenant::new(TENANT, "").consented(CLIENT, &[ALERT_ROLE], at(0)).consents;
    });
    // The operator need not wait for the daily look.
    stage.connect(TENANT).unwrap();
    assert_eq!((stage.view().state, stage.capability().status), (State::Active, Ability::Ok));
}

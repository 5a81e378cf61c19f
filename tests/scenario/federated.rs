//! Credentials without a secret: the platform's own token opens every customer's tenant, or says plainly why it does not.

use harness::{ADMIN, CLIENT, LOOK_ALIKE, SUBJECT, Stage, TENANT, minutes, seconds};
use serde_json::json;
use shared::{
    credential::check::Kind,
    ports::{Unavailable, identity::IdentityError, vault::Stage::Current},
    tenant::{Ability, State},
};
use simulator::{Alert, Fault, Route, Tenant};

/// Connected, then past the life of its token, with this changed meanwhile: (state, ability, next step).
fn after(change: impl FnOnce(&Stage, &harness::Issuer)) -> (State, Ability, String) {
    let (stage, issuer) = Stage::federated();
    stage.connect(TENANT).unwrap();
    stage.ticks(2);
    change(&stage, &issuer);
    stage.pass(minutes(90));
    stage.ticks(2);
    let capability = stage.capability();
    (stage.view().state, capability.status, capability.next_step)
}

fn trusts(stage: &Stage, change: impl FnOnce(&mut simulator::FederatedCredential)) {
    stage.world(|world| change(&mut world.application(CLIENT).unwrap().federated[0]));
}

#[test]
fn a_tenant_is_pulled_without_any_secret_and_with_one_token_an_hour() {
    let (stage, issuer) = Stage::federated();
    stage.connect(TENANT).unwrap();
    stage.tick();
    stage.simulator.clear_log();
    let before = issuer.asked();
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    stage.ticks(50);
    assert_eq!(stage.ids(), ["da1"]);
    stage.ticks(20);
    let log = stage.simulator.log();
    let tokens: Vec<_> = log.iter().filter_map(|entry| entry.credential.as_deref()).collect();
    assert_eq!(tokens, ["federated"], "one in seventy minutes");
    assert_eq!(issuer.asked() - before, 1);
}

#[test]
fn an_administrator_signs_in_and_approves_without_any_secret_of_ours() {
    let (stage, _issuer) = Stage::federated();
    stage.world(|world| world.add_tenant(Tenant::new(TENANT, "Contoso").with_user(Stage::admin(ADMIN))));
    let link = stage.invite("Contoso");
    let page = stage.visitor().consent(&link, ADMIN);
    assert_eq!((page.status, page.heading()), (200, "Connected"));
}

#[test]
fn what_entra_compares_to_the_letter_is_the_operators_matter_and_named() {
    type Change = fn(&mut simulator::FederatedCredential);
    let cases: [(Change, &str, &str); 5] = [
        (|trust| trust.subject = trust.subject.to_lowercase(), "7002138", "capitals alone"),
        (|trust| trust.subject.push_str("-of-another-stage"), "700213", "MUSTER_IDENTITY_ROLE_ARN"),
        (
            |trust| trust.issuer = "https://elsewhere.example".to_owned(),
            "700211",
            "get-outbound-web-identity-federation-info",
        ),
        (|trust| trust.issuer = trust.issuer.to_uppercase(), "7002137", "capitals alone"),
        (|trust| trust.audience = "api://other".to_owned(), "700212", "api://AzureADTokenExchange"),
    ];
    for (change, code, words) in cases {
        let (state, ability, told) = after(|stage, _| trusts(stage, change));
        assert_eq!((state, ability), (State::CredentialFault, Ability::Failing), "{told}");
        assert!(told.contains(&format!("AADSTS{code}")) && told.contains("the tenant did nothing wrong"), "{told}");
        assert!(told.contains(words) && told.contains("infra/azure"), "{told}");
    }
}

#[test]
fn a_platform_that_issues_no_token_is_the_operators_matter_and_the_fix_is_named() {
    let role = || SUBJECT.to_owned();
    let cause = || "AccessDenied".to_owned();
    for (error, words) in [
        (IdentityError::NotConfigured("MUSTER_IDENTITY_ROLE_ARN is not set"), "MUSTER_IDENTITY_ROLE_ARN"),
        (IdentityError::FederationDisabled, "`aws iam enable-outbound-web-identity-federation`"),
        (IdentityError::RoleNotAssumable { role: role(), cause: cause() }, "sts:AssumeRole"),
        (
            IdentityError::NotAllowed { role: role(), audience: "api://x".to_owned(), cause: cause() },
            "sts:GetWebIdentityToken",
        ),
        (IdentityError::SessionTooShort { role: role(), cause: cause() }, "maximum session duration"),
        (IdentityError::NoToken { place: "/run/token".to_owned(), cause: "it is empty".to_owned() }, "/run/token"),
    ] {
        let (state, ability, told) = after(|_, issuer| issuer.fails(Some(error)));
        assert_eq!((state, ability), (State::CredentialFault, Ability::Failing), "{told}");
        assert!(told.starts_with("Operator: ") && told.contains("the tenant did nothing wrong"), "{told}");
        assert!(told.contains(words), "{told}");
    }
}

#[test]
fn a_platform_in_trouble_is_waited_for_and_nobody_is_blamed() {
    let (stage, issuer) = Stage::federated();
    stage.connect(TENANT).unwrap();
    stage.ticks(2);
    let trouble = Unavailable::new("identity", "GetWebIdentityToken: no answer in time");
    issuer.fails(Some(trouble.into()));
    stage.pass(minutes(90));
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    futures::executor::block_on(local::serve::fire(&stage.app, shared::tenant::Feed::Alerts, stage.now(), 60));
    let worker = local::worker::Worker::new(stage.machine(), shared::tenant::Feed::Alerts);
    futures::executor::block_on(worker.drain(10)).unwrap();
    assert_eq!(stage.view().state, State::Active);
    issuer.fails(None);
    stage.ticks(2);
    assert_eq!((stage.ids(), stage.view().state), (vec!["da1".to_owned()], State::Active));
}

#[test]
fn an_issuers_keys_change_and_nobody_notices_once_entra_has_read_them() {
    let (stage, issuer) = Stage::federated();
    stage.connect(TENANT).unwrap();
    issuer.rotate_key("second");
    stage.pass(minutes(90));
    stage.tick();
    assert_eq!(stage.view().state, State::CredentialFault, "{:?}", stage.capability());
    issuer.publish();
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    stage.tick();
    assert_eq!((stage.ids(), stage.view().state), (vec!["da1".to_owned()], State::Active));
}

#[test]
fn the_first_half_hour_of_an_issuer_is_named_for_what_it_is() {
    let (state, _, told) = after(|stage, _| {
        stage.world(|world| world.script(Route::Token, std::iter::repeat_n(Fault::Aadsts(7_000_272), 8)));
    });
    assert_eq!(state, State::CredentialFault);
    assert!(told.contains("AADSTS7000272") && told.contains("half an hour"), "{told}");
}

#[test]
fn the_daily_check_tries_a_federated_credential_and_says_what_to_compare() {
    let (stage, issuer) = Stage::federated();
    let refused = |stage: &Stage| {
        let findings = stage.check().findings.into_iter();
        findings.filter(|finding| finding.kind == Kind::Refused).map(|finding| finding.text).collect::<Vec<_>>()
    };
    assert_eq!(refused(&stage), Vec::<String>::new());
    issuer.fails(Some(IdentityError::FederationDisabled));
    let [told] = &refused(&stage)[..] else { panic!("one entry, one finding") };
    assert!(told.contains("aws iam enable-outbound-web-identity-federation"), "{told}");
    issuer.fails(None);
    trusts(&stage, |trust| trust.subject.push('x'));
    let [told] = &refused(&stage)[..] else { panic!("one entry, one finding") };
    assert!(told.contains("AADSTS700213") && told.contains("MUSTER_IDENTITY_ROLE_ARN"), "{told}");
    assert!(!told.contains("new secret"), "{told}");
}

#[test]
fn what_an_earlier_kind_left_is_taken_away_once_no_version_names_it() {
    let (stage, issuer) = Stage::rotating().on_a_platform_with_identity();
    stage.rotate("v2");
    let ours = stage.key_id(Current);
    stage.world(|world| world.application(CLIENT).unwrap().federated.push(issuer.trusted()));
    stage.store_application(&json!({"kind": "federated"}), "v3");
    stage.days(2);
    stage.check();
    assert!(stage.at_entra().contains(&ours), "AWSPREVIOUS names it, so the way back is open");
    stage.rotate("v4");
    stage.days(2);
    stage.check();
    let left = stage.at_entra();
    assert!(!left.contains(&ours) && left.contains(LOOK_ALIKE), "{left:?}");
    stage.assert_polls();
}

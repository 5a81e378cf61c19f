//! A tenant that lives in another of Microsoft's clouds: refused wherever one could come in, with its cloud's name and the fix.

use futures::executor::block_on;
use harness::{ADMIN, CLIENT, HOME, SECRET, Stage, TENANT};
use serde_json::json;
use shared::{
    audit::Actor,
    consent::connect::{ConnectError, NewConnection, connect_own},
    secret::Secret,
    tenant::{Feed, State},
};
use simulator::Home;

const OLGA: &str = "a0000000-0000-4000-8000-0000000000e1";
const CLOUDS: [(Home, &str, &str); 3] =
    [(Home::Gcc, "GCC", "gcc"), (Home::GccHigh, "GCC High", "gcc-high"), (Home::Dod, "DoD", "dod")];

fn living_in(stage: &Stage, home: Home) {
    stage.tenant(|tenant| tenant.home = home);
}

#[test]
fn an_operator_is_told_the_cloud_and_the_setting_before_anything_is_tried() {
    let stage = Stage::new();
    stage.tenant(|tenant| tenant.domains.push("contoso.example".to_owned()));
    for (home, title, setting) in CLOUDS {
        living_in(&stage, home);
        let words = [
            format!("lives in {title}, and this stage is for the commercial cloud"),
            format!("MUSTER_CLOUD={setting},"),
        ];
        let refused = stage.connect(TENANT).unwrap_err();
        let invited = stage.try_invite("Contoso", Some("contoso.example")).unwrap_err();
        for word in words {
            assert!(refused.contains(&word) && invited.contains(&word), "{refused}\n{invited}");
        }
    }
    assert_eq!(stage.tenants().len(), 0);
    living_in(&stage, Home::Commercial);
    stage.connect(TENANT).unwrap();
}

#[test]
fn an_application_of_its_own_makes_no_difference_and_is_not_kept() {
    let stage = Stage::new();
    living_in(&stage, Home::GccHigh);
    let new = NewConnection {
        tenant_id: TENANT.parse().unwrap(),
        account: "Contoso".to_owned(),
        feeds: vec![Feed::Alerts],
        region: None,
        storage: None,
    };
    let own = json!({"client_id": CLIENT, "credential": {"kind": "client_secret", "value": SECRET}}).to_string();
    let by = Actor::Operator { oid: ADMIN.to_owned(), name: "Olga Operator".to_owned() };
    let error = block_on(connect_own(&stage.app, &new, &Secret::new(own), &by)).unwrap_err();
    let ConnectError::NotProven { missing, .. } = error else { panic!("{error}") };
    let missing = serde_json::to_value(missing).unwrap();
    assert_eq!(missing[0]["field"], "tenant_id");
    assert!(missing[0]["detail"].as_str().unwrap().contains("MUSTER_CLOUD=gcc-high"), "{missing}");
}

#[test]
fn an_administrator_who_was_expected_is_told_before_microsoft_is_asked() {
    for (home, title, _) in CLOUDS {
        let stage = Stage::unapproved();
        let link = stage.try_invite("Contoso", Some(TENANT)).unwrap();
        living_in(&stage, home);
        let mut admin = stage.visitor();
        let page = admin.get(&link);
        let told = admin.post(page.action());
        assert_eq!((told.status, told.heading()), (400, "Your organization is in another Microsoft cloud"));
        assert!(told.body.contains(&format!("It lives in {title}.")), "{}", told.body);
        assert_eq!(stage.tenants().len(), 0);
    }
}

#[test]
fn an_administrator_of_whom_nobody_knew_is_told_after_the_approval_and_nothing_is_bound() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    let back = admin.approve(&link, ADMIN);
    living_in(&stage, Home::Gcc);
    let told = admin.get(&back);
    assert_eq!((told.status, told.heading()), (400, "Your organization is in another Microsoft cloud"));
    assert!(told.body.contains("It lives in GCC."), "{}", told.body);
    assert_eq!(stage.tenants().len(), 0);
}

#[test]
fn a_token_that_crosses_clouds_is_the_operators_matter_and_names_the_setting() {
    let stage = Stage::connected();
    stage.tick();
    living_in(&stage, Home::GccHigh);
    for _ in 0..70 {
        stage.tick();
    }
    let tenant = &stage.tenants()[0];
    let next_step = &tenant.capabilities[&Feed::Alerts].next_step;
    assert_eq!(tenant.state, State::CredentialFault, "{next_step}");
    for words in ["another national cloud", "AADSTS900382", "MUSTER_CLOUD"] {
        assert!(next_step.contains(words), "{next_step}");
    }
}

/// A provider may be at home in GCC, whose login is the commercial one, and have a stage for commercial customers.
#[test]
fn where_the_provider_lives_is_nobodys_matter_at_the_console() {
    let stage = Stage::new();
    stage.colleague(HOME, OLGA, Some("Muster.Operator"));
    stage.world(|world| world.tenant(HOME).unwrap().home = Home::Gcc);
    assert_eq!(stage.visitor().log_in(OLGA).status, 303);
}

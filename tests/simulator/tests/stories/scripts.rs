//! Stories of a script that asks for a token for an API of ours: in which format it comes, with which roles, for which
//! tenant.

use crate::stage::*;
use serde_json::{Value, json};
use simulator::{
    AccessTokenVersion, AppRole, AppRoleAssignment, Application, ClientSecret, Principal, Request, Response,
    SignInAudience, Simulator,
};

const SCRIPT: &str = "00000000-0000-4000-8000-00000000bee5";
const READER: &str = "Muster.Reader";

/// The application as an API with one role, and a script of this tenant.
fn api(home_of_the_script: &str) -> Simulator {
    let simulator = people();
    simulator.world(|world| {
        let registration = world.registration(CLIENT);
        registration.identifier_uris = vec![uri()];
        registration.app_roles = vec![AppRole::new(READER)];
        world.add_application(Application {
            client_id: SCRIPT.into(),
            home_tenant_id: home_of_the_script.into(),
            name: "Script".into(),
            secrets: vec![ClientSecret {
                key_id: "1".into(),
                value: SECRET.into(),
                start: at("2026-01-01T00:00:00Z"),
                end: at("2027-01-01T00:00:00Z"),
                usable_from: None,
            }],
            ..Application::default()
        });
    });
    simulator
}

fn uri() -> String {
    format!("api://{CLIENT}")
}

fn assign(simulator: &Simulator, tenant: &str) {
    let assignment = AppRoleAssignment::to_application(CLIENT, SCRIPT, READER);
    simulator.world(|world| world.assign(tenant, assignment).unwrap());
}

fn ask(simulator: &Simulator, tenant: &str, scope: &str) -> Response {
    let parameters =
        [("client_id", SCRIPT), ("client_secret", SECRET), ("grant_type", "client_credentials"), ("scope", scope)];
    simulator.handle(token_request(tenant, &parameters))
}

fn claims(simulator: &Simulator, tenant: &str, scope: &str) -> Value {
    payload(body(ask(simulator, tenant, scope))["access_token"].as_str().unwrap())
}

#[test]
fn the_resource_says_in_which_format_its_tokens_come() {
    let simulator = api(HOME);
    assign(&simulator, HOME);
    let by_uri = claims(&simulator, HOME, &format!("{}/.default", uri()));
    assert_eq!(by_uri["iss"], format!("https://sts.windows.net/{HOME}/"));
    assert_eq!((&by_uri["aud"], &by_uri["ver"]), (&json!(uri()), &json!("1.0")));
    assert_eq!((&by_uri["appid"], &by_uri["appidacr"]), (&json!(SCRIPT), &json!("1")));
    assert_eq!((&by_uri["tid"], &by_uri["roles"]), (&json!(HOME), &json!([READER])));
    assert_eq!(by_uri["exp"], noon().as_second() + 3599);
    assert!(by_uri["oid"].is_string() && by_uri["oid"] == by_uri["sub"]);
    assert_eq!(claims(&simulator, HOME, &format!("{CLIENT}/.default"))["aud"], CLIENT);
    simulator.world(|world| world.registration(CLIENT).access_token_version = AccessTokenVersion::V2);
    for scope in [format!("{}/.default", uri()), format!("{CLIENT}/.default")] {
        let second = claims(&simulator, HOME, &scope);
        assert_eq!(second["iss"], format!("https://login.microsoftonline.com/{HOME}/v2.0"));
        assert_eq!((&second["aud"], &second["ver"]), (&json!(CLIENT), &json!("2.0")));
        assert_eq!((&second["azp"], &second["azpacr"]), (&json!(SCRIPT), &json!("1")));
        assert_eq!((&second["oid"], &second["roles"]), (&by_uri["oid"], &json!([READER])));
        // Neither format has the claims of the other, nor what nobody asked for, nor a name.
        for claim in ["appid", "appidacr", "idtyp", "name", "app_displayname", "scp", "nonce"] {
            assert_eq!(second.get(claim), None, "{claim}");
        }
    }
    assert_eq!((by_uri.get("azp"), by_uri.get("idtyp")), (None, None));
    simulator.world(|world| world.registration(CLIENT).idtyp = true);
    assert_eq!(claims(&simulator, HOME, &format!("{CLIENT}/.default"))["idtyp"], "app");
    // The endpoint of the first version gives the format of the resource too.
    let form = format!(
        "client_id={SCRIPT}&client_secret={}&grant_type=client_credentials&resource={CLIENT}",
        SECRET.replace(' ', "+")
    );
    let first = Request::post(&format!("/{HOME}/oauth2/token"), "application/x-www-form-urlencoded", form);
    let first = body(simulator.handle(first));
    assert_eq!((&first["resource"], &first["expires_in"]), (&json!(CLIENT), &json!("3599")));
    assert_eq!(payload(first["access_token"].as_str().unwrap())["ver"], "2.0");
    assert!(simulator.refusals().is_empty());
}

#[test]
fn a_script_without_a_role_gets_a_token_without_roles_or_none() {
    let simulator = api(HOME);
    let scope = format!("{}/.default", uri());
    assert_eq!(claims(&simulator, HOME, &scope).get("roles"), None);
    simulator.world(|world| world.tenant(HOME).unwrap().assignment_required.push(CLIENT.into()));
    let refused = ask(&simulator, HOME, &scope);
    assert_eq!(refused.status, 400);
    let refused = body(refused);
    assert_eq!((&refused["error"], &refused["error_codes"][0]), (&json!("invalid_grant"), &json!(501051)));
    // A person's assignment is not a program's, even under the same id.
    simulator.world(|world| {
        let access =
            |principal| AppRoleAssignment { resource: CLIENT.into(), principal, role: Some(READER.to_owned()) };
        let all = &mut world.tenant(HOME).unwrap().app_role_assignments;
        all.push(access(Principal::User(SCRIPT.into())));
    });
    assert_eq!(code(ask(&simulator, HOME, &scope)), 501051);
    assign(&simulator, HOME);
    assert_eq!(claims(&simulator, HOME, &scope)["roles"], json!([READER]));
}

#[test]
fn a_customers_script_gets_our_roles_with_the_customers_tenant() {
    let simulator = api(TENANT);
    let scope = format!("{}/.default", uri());
    assert_eq!(code(ask(&simulator, TENANT, &scope)), 500011);
    simulator.approve(&consent_link(), ADMIN);
    assert_eq!(claims(&simulator, TENANT, &scope).get("roles"), None);
    assign(&simulator, TENANT);
    let claims = claims(&simulator, TENANT, &scope);
    assert_eq!((&claims["tid"], &claims["roles"]), (&json!(TENANT), &json!([READER])));
    assert_eq!((&claims["aud"], &claims["iss"]), (&json!(uri()), &json!(format!("https://sts.windows.net/{TENANT}/"))));
    // At our home the customer's script is nobody.
    assert_eq!(code(ask(&simulator, HOME, &scope)), 700016);
    let audience = |simulator: &Simulator, audience| {
        simulator.world(|world| world.registration(CLIENT).sign_in_audience = audience);
        code(ask(simulator, TENANT, &scope))
    };
    assert_eq!(audience(&simulator, SignInAudience::MyOrg), 500011);
    assert_eq!(audience(&simulator, SignInAudience::MultipleOrgs), 0);
    simulator.world(|world| world.tenant(TENANT).unwrap().consents[0].enabled = false);
    assert_eq!(code(ask(&simulator, TENANT, &scope)), 500014);
}

#[test]
fn a_resource_is_asked_for_by_a_name_it_has() {
    let simulator = api(HOME);
    for (scope, expected) in [
        (format!("api://{SCRIPT}/.default"), 500011),
        (format!("API://{CLIENT}/.default"), 500011),
        (format!("{}/{READER}", uri()), 1002012),
        // Its own token a script may have.
        (format!("{SCRIPT}/.default"), 0),
    ] {
        assert_eq!(code(ask(&simulator, HOME, &scope)), expected, "{scope}");
    }
    assert!(simulator.refusals().is_empty());
    assert_eq!(ask(&simulator, HOME, &format!("{}//.default", uri())).status, 501);
}

#[test]
fn a_token_for_an_api_opens_nothing_of_microsofts() {
    let simulator = api(TENANT);
    simulator.approve(&consent_link(), ADMIN);
    // Not even by a role that is called as one of Defender's.
    simulator.world(|world| {
        world.registration(CLIENT).app_roles = vec![AppRole::new("Alert.Read.All")];
        world.assign(TENANT, AppRoleAssignment::to_application(CLIENT, SCRIPT, "Alert.Read.All")).unwrap();
    });
    let token = body(ask(&simulator, TENANT, &format!("{}/.default", uri())))["access_token"].clone();
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    assert_eq!(get(&simulator, &bearer, "/api/alerts").status, 403);
}

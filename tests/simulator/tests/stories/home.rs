//! Stories of an application at home: its own people sign in to it, with the roles they were assigned, or not at all.

use std::collections::BTreeMap;

use crate::stage::*;
use serde_json::{Value, json};
use simulator::{
    AppRole, AppRoleAssignment, Choice, MemberType, Principal, Registration, Request, Response, SignInAudience,
    Simulator, Tenant, User,
};

const CONSOLE: &str = "00000000-0000-4000-8000-00000000c0de";
const LOGIN_CALLBACK: &str = "https://muster.example/login/callback";
const OLGA: &str = "00000000-0000-4000-8000-0000000000e1";
const RITA: &str = "00000000-0000-4000-8000-0000000000e2";
const NOBODY: &str = "00000000-0000-4000-8000-0000000000e3";
const OPERATOR: &str = "Muster.Operator";
const READER: &str = "Muster.Reader";

/// A console of the provider's, and its people: one operator, one reader, and one without a role.
fn console() -> Simulator {
    let simulator = people();
    simulator.world(|world| {
        let mut application = world.application(CLIENT).unwrap().clone();
        application.client_id = CONSOLE.into();
        application.name = "Console".into();
        application.roles.clear();
        world.add_application(application);
        *world.registration(CONSOLE) = Registration {
            redirect_uris: vec![LOGIN_CALLBACK.into()],
            delegated_permissions: vec!["openid".into(), "profile".into()],
            sign_in_audience: SignInAudience::MyOrg,
            app_roles: vec![AppRole::new(OPERATOR), AppRole::new(READER)],
            ..Registration::default()
        };
        world.add_tenant(
            Tenant::new(HOME, "Provider")
                .with_user(User::member(OLGA, "Olga", "olga@provider.example"))
                .with_user(User::member(RITA, "Rita", "rita@provider.example"))
                .with_user(User::member(NOBODY, "Nora", "nora@provider.example")),
        );
        world.assign(HOME, AppRoleAssignment::to_user(CONSOLE, OLGA, OPERATOR)).unwrap();
        world.assign(HOME, AppRoleAssignment::to_user(CONSOLE, OLGA, READER)).unwrap();
        world.assign(HOME, AppRoleAssignment::to_user(CONSOLE, RITA, READER)).unwrap();
    });
    simulator
}

fn link(tenant: &str, changed: &[(&str, &str)]) -> String {
    let own = [("client_id", CONSOLE), ("redirect_uri", LOGIN_CALLBACK)];
    let own = own.into_iter().filter(|(name, _)| changed.iter().all(|(other, _)| other != name));
    sign_in_link(tenant, &own.chain(changed.iter().copied()).collect::<Vec<_>>())
}

fn target(link: &str) -> &str {
    link.split_once(LOGIN).unwrap().1
}

/// The parameters that came back to the console.
fn back(location: &str) -> BTreeMap<String, String> {
    let url = url::Url::parse(location).unwrap();
    assert_eq!(format!("{}{}", url.origin().ascii_serialization(), url.path()), LOGIN_CALLBACK);
    url.query_pairs().into_owned().collect()
}

fn text(response: Response) -> String {
    String::from_utf8(response.body.collect_bytes()).unwrap()
}

/// The claims of who signs in to the console with these scopes.
fn claims(simulator: &Simulator, user: &str, scope: &str) -> Value {
    let code = back(&simulator.approve(&link(HOME, &[("scope", scope)]), user))["code"].clone();
    let redeemed =
        redeem(simulator, HOME, &code, &[("client_id", CONSOLE), ("redirect_uri", LOGIN_CALLBACK), ("scope", scope)]);
    payload(body(redeemed)["id_token"].as_str().unwrap())
}

/// The code of a page that Microsoft shows itself.
fn own_page(response: Response) -> String {
    assert_eq!((response.status, response.header("location")), (400, None));
    let text = text(response);
    let at = text.find("AADSTS").unwrap();
    text[at..].split(':').next().unwrap().to_owned()
}

#[test]
fn a_token_carries_the_roles_of_its_person_whatever_scopes_were_asked() {
    let simulator = console();
    let operator = claims(&simulator, OLGA, "openid profile");
    assert_eq!((&operator["roles"], &operator["tid"]), (&json!([OPERATOR, READER]), &json!(HOME)));
    assert_eq!((&operator["aud"], &operator["oid"]), (&json!(CONSOLE), &json!(OLGA)));
    assert_eq!(claims(&simulator, RITA, "openid")["roles"], json!([READER]));
    assert_eq!(claims(&simulator, NOBODY, "openid profile").get("roles"), None);
    assert_eq!(simulator.id_token_claims(CONSOLE, RITA, "n")["roles"], json!([READER]));
    // Roles are an application's own.
    assert_eq!(simulator.id_token_claims(CLIENT, OLGA, "n").get("roles"), None);
    // Taken away, or no longer defined, they are gone from the next token.
    simulator.world(|world| {
        let all = &mut world.tenant(HOME).unwrap().app_role_assignments;
        all.retain(|assignment| assignment.role.as_deref() != Some(OPERATOR));
    });
    assert_eq!(claims(&simulator, OLGA, "openid profile")["roles"], json!([READER]));
    simulator.world(|world| world.registration(CONSOLE).app_roles.clear());
    assert_eq!(claims(&simulator, OLGA, "openid profile").get("roles"), None);
    assert!(simulator.refusals().is_empty());
}

#[test]
fn a_customers_admin_assigns_our_roles_in_the_customers_tenant() {
    let simulator = people();
    simulator.world(|world| {
        world.registration(CLIENT).app_roles = vec![AppRole::new(OPERATOR)];
        let own = AppRoleAssignment::to_user(CLIENT, ADMIN, OPERATOR);
        assert!(world.assign(TENANT, own.clone()).is_err(), "before the consent there is no service principal");
        world.add_tenant(Tenant::new(HOME, "Provider").with_user(User::member(OLGA, "Olga", "olga@provider.example")));
    });
    simulator.approve(&consent_link(), ADMIN);
    simulator.world(|world| world.assign(TENANT, AppRoleAssignment::to_user(CLIENT, ADMIN, OPERATOR)).unwrap());
    for tenant in [TENANT, "organizations"] {
        let code = answer(&simulator.approve(&sign_in_link(tenant, &[]), ADMIN))["code"].clone();
        let claims = payload(body(redeem(&simulator, tenant, &code, &[]))["id_token"].as_str().unwrap());
        assert_eq!((&claims["roles"], &claims["tid"]), (&json!([OPERATOR]), &json!(TENANT)), "{tenant}");
    }
    // At home nobody was assigned anything; and a consent that is withdrawn takes the assignment along.
    assert_eq!(simulator.id_token_claims(CLIENT, OLGA, "n").get("roles"), None);
    simulator.world(|world| {
        let tenant = world.tenant(TENANT).unwrap();
        tenant.withdraw(CLIENT);
        assert_eq!(tenant.app_role_assignments, []);
    });
}

#[test]
fn nothing_is_assigned_that_graph_would_not_assign() {
    let simulator = console();
    let assign = |tenant: &str, assignment| simulator.world(|world| world.assign(tenant, assignment));
    assert!(assign(HOME, AppRoleAssignment::to_user(CONSOLE, RITA, "Muster.Owner")).is_err());
    assert!(assign(HOME, AppRoleAssignment::to_user(CONSOLE, STRANGER, READER)).is_err());
    assert!(assign(OTHER, AppRoleAssignment::to_user(CONSOLE, STRANGER, READER)).is_err());
    // A single-tenant application is in no other tenant, whatever somebody claims to have consented to there.
    let consents = Tenant::new(OTHER, "").consented(CONSOLE, &[], noon()).consents;
    simulator.world(|world| world.tenant(OTHER).unwrap().consents = consents);
    assert!(assign(OTHER, AppRoleAssignment::to_user(CONSOLE, STRANGER, READER)).is_err());
    assert!(assign(HOME, AppRoleAssignment::to_application(CONSOLE, "nothing", READER)).is_err());
    assert!(assign("nowhere", AppRoleAssignment::to_user(CONSOLE, RITA, READER)).is_err());
    simulator.world(|world| {
        world.registration(CONSOLE).app_roles = vec![AppRole { value: READER.into(), allowed: vec![MemberType::User] }];
    });
    assert!(assign(HOME, AppRoleAssignment::to_user(CONSOLE, NOBODY, READER)).is_ok());
    assert!(assign(HOME, AppRoleAssignment::to_application(CONSOLE, CLIENT, READER)).is_err());
}

#[test]
fn an_application_that_requires_assignment_lets_in_nobody_else() {
    let simulator = console();
    let cookie = simulator.session(NOBODY);
    let silently =
        |changed: &[(&str, &str)]| simulator.handle(Request::get(target(&link(HOME, changed))).with("Cookie", &cookie));
    assert_eq!(silently(&[]).status, 302);
    simulator.world(|world| world.tenant(HOME).unwrap().assignment_required.push(CONSOLE.into()));
    assert_eq!(own_page(simulator.choose(&link(HOME, &[]), Choice::Approve, Some(NOBODY))), "AADSTS50105");
    assert_eq!(own_page(silently(&[])), "AADSTS50105");
    let silent = back(silently(&[("prompt", "none")]).header("location").unwrap());
    assert_eq!(silent["error"], "interaction_required");
    assert!(silent["error_description"].starts_with("AADSTS50105: "));
    assert_eq!(claims(&simulator, RITA, "openid")["roles"], json!([READER]));
    // Access without a role is access.
    let access = AppRoleAssignment { resource: CONSOLE.into(), principal: Principal::User(NOBODY.into()), role: None };
    simulator.world(|world| world.assign(HOME, access).unwrap());
    assert_eq!(claims(&simulator, NOBODY, "openid").get("roles"), None);
}

#[test]
fn at_home_nobody_is_asked_to_consent() {
    let simulator = console();
    let cookie = simulator.session(RITA);
    let silent = simulator.handle(Request::get(target(&link(HOME, &[("prompt", "none")]))).with("Cookie", &cookie));
    assert!(back(silent.header("location").unwrap()).contains_key("code"));
    // To what the manifest does not ask for, nobody has consented.
    simulator.world(|world| world.registration(CONSOLE).delegated_permissions.pop());
    let silent = simulator.handle(Request::get(target(&link(HOME, &[("prompt", "none")]))).with("Cookie", &cookie));
    assert_eq!(back(silent.header("location").unwrap())["error"], "interaction_required");
}

#[test]
fn a_single_tenant_application_is_known_at_home_and_nowhere_else() {
    let simulator = console();
    let open = |tenant: &str| own_page(simulator.choose(&link(tenant, &[]), Choice::Approve, Some(STRANGER)));
    assert_eq!(open(OTHER), "AADSTS700016");
    assert_eq!(open("common"), "AADSTS50194");
    assert_eq!(open("organizations"), "AADSTS50194");
    // Whoever is a stranger at home is told so.
    assert_eq!(open(HOME), "AADSTS50020");
    let parameters = [("client_id", CONSOLE), ("redirect_uri", LOGIN_CALLBACK), ("scope", SCOPE)];
    let consent = |tenant: &str| page(&format!("{tenant}/v2.0/adminconsent"), &parameters);
    assert_eq!(own_page(simulator.choose(&consent("organizations"), Choice::Approve, Some(STRANGER))), "AADSTS50194");
    assert_eq!(own_page(simulator.choose(&consent(OTHER), Choice::Approve, Some(STRANGER))), "AADSTS700016");
    // The token endpoint says the same, even where somebody claims to have consented.
    simulator.world(|world| {
        let tenant = Tenant::new(OTHER, "Fabrikam").consented(CONSOLE, &[], noon());
        world.add_tenant(tenant);
    });
    let credentials =
        [("client_id", CONSOLE), ("client_secret", SECRET), ("grant_type", "client_credentials"), ("scope", SCOPE)];
    assert_eq!(code(simulator.handle(token_request(OTHER, &credentials))), 700016);
    assert_eq!(code(simulator.handle(token_request(HOME, &credentials))), 0);
    let redeemed = redeem(&simulator, "common", "1.any", &[("client_id", CONSOLE)]);
    assert_eq!(redeemed.status, 400);
    let redeemed = body(redeemed);
    assert_eq!((&redeemed["error"], &redeemed["error_codes"][0]), (&json!("invalid_request"), &json!(50194)));
    assert!(simulator.refusals().is_empty());
}

#[test]
fn an_address_is_registered_to_the_letter_or_not_at_all() {
    let simulator = console();
    for uri in [
        "https://muster.example/login/callback/",
        "https://muster.example/login/Callback",
        "https://muster.example/login/callback?a=b",
        "http://muster.example/login/callback",
        "https://muster.example/login",
    ] {
        let page = simulator.choose(&link(HOME, &[("redirect_uri", uri)]), Choice::Approve, Some(OLGA));
        assert_eq!(own_page(page), "AADSTS50011", "{uri}");
    }
}

/// The cookie that an answer sets.
fn cookie(response: &Response) -> String {
    response.header("set-cookie").unwrap().split(';').next().unwrap().to_owned()
}

fn sign_out(simulator: &Simulator, cookie: &str, parameters: &[(&str, &str)]) -> Response {
    let link = page(&format!("{HOME}/oauth2/v2.0/logout"), parameters);
    simulator.handle(Request::get(target(&link)).with("Cookie", cookie))
}

#[test]
fn whoever_signs_out_is_asked_again_and_goes_where_the_application_wants() {
    let simulator = console();
    let document = simulator.handle(Request::get(&format!("/{HOME}/v2.0/.well-known/openid-configuration")));
    let address = format!("https://login.microsoftonline.com/{HOME}/oauth2/v2.0/logout");
    assert_eq!(body(document)["end_session_endpoint"], address);
    simulator.world(|world| world.registration(CONSOLE).redirect_uris.push("https://muster.example/login".into()));
    let onward = [("post_logout_redirect_uri", "https://muster.example/login")];
    let form = format!("user={OLGA}&action=approve");
    let signed_in =
        simulator.handle(Request::post(target(&link(HOME, &[])), "application/x-www-form-urlencoded", form));
    let cookie = cookie(&signed_in);
    let open = || simulator.handle(Request::get(target(&link(HOME, &[]))).with("Cookie", &cookie)).status;
    assert_eq!(open(), 302);
    let out = sign_out(&simulator, &cookie, &onward);
    assert_eq!((out.status, out.header("location")), (302, Some("https://muster.example/login")));
    assert!(out.header("set-cookie").unwrap().starts_with("ESTSAUTH=; Path=/; Max-Age=0"));
    assert_eq!(open(), 200);
    // Nobody is signed in any more, and nobody knows whose address that is.
    let again = sign_out(&simulator, &cookie, &onward);
    assert_eq!((again.status, again.header("location")), (200, None));
    assert!(text(again).contains("<h1>You signed out of your account</h1>"));
    assert!(simulator.refusals().is_empty());
}

#[test]
fn signing_out_leads_only_to_an_application_that_was_signed_in_to() {
    let simulator = console();
    let onward = |cookie: &str, uri: &str| {
        let out = sign_out(&simulator, cookie, &[("post_logout_redirect_uri", uri)]);
        out.header("location").map(str::to_owned)
    };
    let signed_in = |user: &str, client: &str| {
        let cookie = simulator.session(user);
        let link = if client == CLIENT { sign_in_link(HOME, &[]) } else { link(HOME, &[]) };
        let answer = simulator.handle(Request::get(target(&link)).with("Cookie", &cookie));
        assert_eq!(answer.status, 302);
        cookie
    };
    assert_eq!(onward(&signed_in(OLGA, CONSOLE), LOGIN_CALLBACK).as_deref(), Some(LOGIN_CALLBACK));
    assert_eq!(onward(&signed_in(OLGA, CONSOLE), CALLBACK), None);
    assert_eq!(onward(&signed_in(OLGA, CLIENT), CALLBACK).as_deref(), Some(CALLBACK));
    assert_eq!(onward(&signed_in(OLGA, CONSOLE), "https://evil.example/"), None);
    assert_eq!(onward(&signed_in(OLGA, CONSOLE), "https://muster.example/login/callback/"), None);
    // Whoever was kept out had not signed in to anything, but is signed out all the same.
    simulator.world(|world| world.tenant(HOME).unwrap().assignment_required.push(CONSOLE.into()));
    let form = format!("user={NOBODY}&action=approve");
    let kept_out = simulator.handle(Request::post(target(&link(HOME, &[])), "application/x-www-form-urlencoded", form));
    assert_eq!(onward(&cookie(&kept_out), LOGIN_CALLBACK), None);
    // A second sign-in in the same browser forgets nothing of the first.
    let again = [("prompt", "select_account")];
    let first = signed_in(OLGA, CLIENT);
    let form = format!("user={OLGA}&action=approve");
    let request = Request::post(target(&link(HOME, &again)), "application/x-www-form-urlencoded", form);
    let second = cookie(&simulator.handle(request.with("Cookie", &first)));
    assert_eq!(onward(&second, CALLBACK).as_deref(), Some(CALLBACK));
    assert!(simulator.refusals().is_empty());
    for parameter in ["logout_hint", "id_token_hint", "state"] {
        assert_eq!(sign_out(&simulator, "", &[(parameter, "x")]).status, 501, "{parameter}");
    }
    let unknown = "/00000000-0000-4000-8000-00000000ffff/oauth2/v2.0/logout";
    assert_eq!(own_page(simulator.handle(Request::get(unknown))), "AADSTS90002");
}

#[test]
fn a_world_file_describes_a_console_its_people_and_a_script() {
    const OLE: &str = "00000000-0000-4000-8000-0000000001a1";
    const NED: &str = "00000000-0000-4000-8000-0000000001a3";
    let simulator = Simulator::new(1, noon());
    let world: simulator::WorldFile = serde_json::from_str(include_str!("../../example-world.json")).unwrap();
    simulator.world(|known| world.add_to(known)).unwrap();
    let link = link(HOME, &[("redirect_uri", "http://127.0.0.1:8080/login/callback")]);
    let page = text(simulator.handle(Request::get(target(&link))));
    for part in ["<html lang=\"en\">", "<main id=\"question\">", "<legend>", "id=\"approve\"", "id=\"cancel\""] {
        assert!(page.contains(part), "{part}");
    }
    let person = format!(
        "id=\"user-{OLE}\"> Ole Operator (ole@provider.example) of Example provider: no admin role, Muster.Operator<"
    );
    assert!(page.contains(&person), "{page}");
    assert!(page.find("Ned Norole").unwrap() < page.find("Nora Admin").unwrap(), "the tenant's own come first");
    assert!(simulator.approve(&link, OLE).contains("code="));
    assert_eq!(simulator.id_token_claims(CONSOLE, OLE, "n")["roles"], json!([OPERATOR]));
    let credentials = [
        ("client_id", "00000000-0000-4000-8000-00000000bee5"),
        ("client_secret", "an-example-secret-of-a-script"),
        ("grant_type", "client_credentials"),
        ("scope", "api://00000000-0000-4000-8000-00000000c0de/.default"),
    ];
    let token = body(simulator.handle(token_request(HOME, &credentials)))["access_token"].clone();
    let claims = payload(token.as_str().unwrap());
    assert_eq!((&claims["roles"], &claims["ver"], &claims["aud"]), (&json!([READER]), &json!("2.0"), &json!(CONSOLE)));
    // Somebody is given a role while the program runs, and nobody what cannot be given.
    let order = |role: &str| {
        let order = json!({"tenant": HOME, "assignment": {"application": CONSOLE, "user": NED, "role": role}});
        simulator.handle(Request::post("/_simulator/assignments", "application/json", order.to_string())).status
    };
    assert_eq!(simulator.id_token_claims(CONSOLE, NED, "n").get("roles"), None);
    assert_eq!((order("Muster.Owner"), order(READER)), (400, 200));
    assert_eq!(simulator.id_token_claims(CONSOLE, NED, "n")["roles"], json!([READER]));
    let tenant = json!({
        "id": HOME, "name": "Provider", "users": [{"oid": NED, "name": "Ned", "upn": "ned@provider.example"}],
        "assignments": [{"application": CONSOLE, "user": NED}], "assignment_required": [CONSOLE],
    });
    let put = |tenant: &Value| {
        simulator.handle(Request::post("/_simulator/tenants", "application/json", tenant.to_string())).status
    };
    assert_eq!(put(&tenant), 200);
    assert!(simulator.approve(&link, NED).contains("code="));
    assert_eq!(simulator.id_token_claims(CONSOLE, NED, "n").get("roles"), None);
    let mut wrong = tenant;
    wrong["assignments"][0]["user"] = OLE.into();
    assert_eq!(put(&wrong), 400);
    assert_eq!(own_page(simulator.choose(&link, Choice::Approve, Some(NED))), "AADSTS50105");
}

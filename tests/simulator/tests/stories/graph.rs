//! Stories of an application that changes its own credentials at Microsoft Graph.

use crate::stage::*;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use simulator::{AdminRole, CredentialPropagation, Fault, Request, Response, Route, Simulator, Tenant, User};
use std::collections::BTreeSet;

const GRAPH: &str = "https://graph.microsoft.com/.default";

/// The stage with an application that owns itself and may write what it owns; changes are in force at once.
fn owner() -> Simulator {
    let simulator = people();
    simulator.world(|world| {
        let home = Tenant::new(HOME, "Provider").consented(CLIENT, &["Application.ReadWrite.OwnedBy"], noon());
        world.add_tenant(home);
        world.credential_propagation = CredentialPropagation { least: seconds(0), most: seconds(0) };
    });
    simulator
}

fn token_for(simulator: &Simulator, tenant: &str, secret: &str, scope: &str) -> Response {
    let parameters =
        [("client_id", CLIENT), ("scope", scope), ("grant_type", "client_credentials"), ("client_secret", secret)];
    simulator.handle(token_request(tenant, &parameters))
}

fn graph_bearer(simulator: &Simulator) -> String {
    let body = body(token_for(simulator, HOME, SECRET, GRAPH));
    format!("Bearer {}", body["access_token"].as_str().unwrap())
}

fn by_app_id(action: &str) -> String {
    format!("/v1.0/applications(appId='{CLIENT}'){action}")
}

/// A write, a second after whatever was written before.
fn write(simulator: &Simulator, method: &str, target: &str, body: &Value) -> Response {
    simulator.advance(seconds(1));
    write_at_once(simulator, method, target, body)
}

fn write_at_once(simulator: &Simulator, method: &str, target: &str, body: &Value) -> Response {
    let bearer = graph_bearer(simulator);
    let request = Request::post(target, "application/json", body.to_string()).with("Authorization", &bearer);
    simulator.handle(Request { method: method.into(), ..request })
}

fn add_password(simulator: &Simulator, name: &str) -> Value {
    let asked = json!({"passwordCredential": {"displayName": name, "endDateTime": "2026-12-01T00:00:00Z"}});
    let response = write(simulator, "POST", &by_app_id("/addPassword"), &asked);
    assert_eq!(response.status, 200);
    body(response)
}

fn read(simulator: &Simulator) -> Value {
    body(get(simulator, &graph_bearer(simulator), &by_app_id("")))
}

fn key_ids(application: &Value, kind: &str) -> Vec<String> {
    let all = application[kind].as_array().unwrap().iter();
    all.map(|credential| credential["keyId"].as_str().unwrap().to_owned()).collect()
}

fn error(response: Response) -> (u16, String, String) {
    let status = response.status;
    let error = body(response)["error"].clone();
    assert!(error["innerError"]["request-id"].is_string() && error["innerError"]["date"] != Value::Null);
    (status, error["code"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
}

#[test]
fn a_new_password_is_shown_once_and_works() {
    let simulator = owner();
    let made = add_password(&simulator, "rot-1");
    assert_eq!(made["@odata.context"], "https://graph.microsoft.com/v1.0/$metadata#microsoft.graph.passwordCredential");
    assert_eq!((&made["displayName"], &made["endDateTime"]), (&json!("rot-1"), &json!("2026-12-01T00:00:00Z")));
    let secret = made["secretText"].as_str().unwrap();
    assert_eq!((secret.len(), made["hint"].as_str()), (40, Some(&secret[..3])));
    simulator.world(|world| {
        let home = world.tenant(HOME).unwrap();
        assert_eq!(home.consents.len(), 1);
    });
    assert_eq!(code(token_for(&simulator, HOME, secret, GRAPH)), 0);
    let shown = read(&simulator);
    assert_eq!((&shown["appId"], &shown["displayName"]), (&json!(CLIENT), &json!("Connector")));
    let passwords = shown["passwordCredentials"].as_array().unwrap();
    assert_eq!(key_ids(&shown, "passwordCredentials"), [KEY_ID, made["keyId"].as_str().unwrap()]);
    assert!(passwords.iter().all(|password| password["secretText"].is_null()));
    assert_eq!((&passwords[0]["displayName"], &passwords[1]["displayName"]), (&Value::Null, &json!("rot-1")));
    assert!(!format!("{simulator:?} {:?}", simulator.log()).contains(secret));
    assert!(simulator.refusals().is_empty());
}

#[test]
fn without_a_date_a_password_lasts_two_years() {
    let simulator = owner();
    let made = body(write(&simulator, "POST", &by_app_id("/addPassword"), &json!({})));
    assert_eq!(
        (&made["startDateTime"], &made["endDateTime"]),
        (&json!("2026-06-01T12:00:01Z"), &json!("2028-06-01T12:00:01Z"))
    );
    assert_eq!(made["displayName"], Value::Null);
    let later = json!({"passwordCredential": {"startDateTime": "2026-07-01T00:00:00Z"}});
    let made = body(write(&simulator, "POST", &by_app_id("/addPassword"), &later));
    assert_eq!(made["endDateTime"], "2028-07-01T00:00:00Z");
}

#[test]
fn either_name_of_the_application_leads_to_it_and_a_selection_to_a_part() {
    let simulator = owner();
    let id = simulator.world(|world| world.application(CLIENT).unwrap().object_id());
    let bearer = graph_bearer(&simulator);
    let whole = body(get(&simulator, &bearer, &format!("/v1.0/applications/{id}")));
    assert_eq!((&whole["id"], &whole), (&json!(id), &read(&simulator)));
    let escaped = format!("/v1.0/applications%28appId%3D%27{CLIENT}%27%29?$select=id,passwordCredentials");
    let part = body(get(&simulator, &bearer, &escaped));
    assert_eq!(part["passwordCredentials"], whole["passwordCredentials"]);
    assert_eq!(part.get("keyCredentials"), None);
    assert_eq!(whole["keyCredentials"][0]["type"], "AsymmetricX509Cert");
    assert_eq!(whole["keyCredentials"][0]["endDateTime"], "2027-01-01T00:00:00Z");
}

#[test]
fn a_removed_password_is_gone_and_cannot_be_removed_again() {
    let simulator = owner();
    let made = add_password(&simulator, "rot-1");
    let asked = json!({"keyId": made["keyId"]});
    assert_eq!(write(&simulator, "POST", &by_app_id("/removePassword"), &asked).status, 204);
    assert_eq!(key_ids(&read(&simulator), "passwordCredentials"), [KEY_ID]);
    assert_eq!(code(token_for(&simulator, HOME, made["secretText"].as_str().unwrap(), GRAPH)), 7000215);
    let again = error(write(&simulator, "POST", &by_app_id("/removePassword"), &asked));
    assert_eq!(again, (400, "Request_BadRequest".into(), "No credentials found to be removed.".into()));
}

#[test]
fn a_new_password_flaps_until_it_has_settled() {
    let simulator = owner();
    simulator.world(|world| world.credential_propagation = CredentialPropagation::default());
    let made = add_password(&simulator, "rot-1");
    let secret = made["secretText"].as_str().unwrap();
    let mut seen = BTreeSet::new();
    for second in 0..25 {
        for _ in 0..10 {
            let works = code(token_for(&simulator, HOME, secret, GRAPH)) == 0;
            let shown = key_ids(&read_with(&simulator, SECRET), "passwordCredentials").len() == 2;
            assert!(second < 18 || works && shown, "{second}");
            seen.insert((works, shown));
        }
        simulator.advance(seconds(1));
    }
    // Before that it works here and not there, and so it is with reading; the one says nothing of the other.
    for expected in [(true, true), (true, false), (false, true), (false, false)] {
        assert!(seen.contains(&expected), "{expected:?}");
    }
}

fn read_with(simulator: &Simulator, secret: &str) -> Value {
    let token = body(token_for(simulator, HOME, secret, GRAPH));
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    body(get(simulator, &bearer, &by_app_id("")))
}

#[test]
fn a_removed_password_still_shows_and_works_for_a_while() {
    let simulator = owner();
    let made = add_password(&simulator, "rot-1");
    let secret = made["secretText"].as_str().unwrap().to_owned();
    let spread = CredentialPropagation { least: seconds(18), most: seconds(18) };
    simulator.world(|world| world.credential_propagation = spread);
    let asked = json!({"keyId": made["keyId"]});
    assert_eq!(write(&simulator, "POST", &by_app_id("/removePassword"), &asked).status, 204);
    let works =
        |simulator: &Simulator| (0..30).filter(|_| code(token_for(simulator, HOME, &secret, GRAPH)) == 0).count();
    let shows =
        |simulator: &Simulator| (0..30).filter(|_| key_ids(&read(simulator), "passwordCredentials").len() == 2).count();
    assert!(works(&simulator) > 0 && shows(&simulator) > 0);
    simulator.advance(seconds(18));
    assert_eq!((works(&simulator), shows(&simulator)), (0, 0));
}

#[test]
fn a_password_removed_before_it_arrived_appears_nowhere() {
    let simulator = owner();
    simulator.world(|world| {
        world.credential_propagation = CredentialPropagation { least: seconds(18), most: seconds(18) };
        world.graph_write_spacing = seconds(0);
    });
    let made = add_password(&simulator, "rot-1");
    let secret = made["secretText"].as_str().unwrap();
    let asked = json!({"keyId": made["keyId"]});
    assert_eq!(write_at_once(&simulator, "POST", &by_app_id("/removePassword"), &asked).status, 204);
    for _ in 0..30 {
        assert_eq!(code(token_for(&simulator, HOME, secret, GRAPH)), 7000215);
        assert_eq!(key_ids(&read(&simulator), "passwordCredentials"), [KEY_ID]);
    }
}

#[test]
fn a_removed_password_does_not_take_its_tokens_with_it() {
    let simulator = owner();
    let bearer = graph_bearer(&simulator);
    simulator.advance(seconds(1));
    let body = json!({"keyId": KEY_ID}).to_string();
    let remove = Request::post(&by_app_id("/removePassword"), "application/json", body);
    assert_eq!(simulator.handle(remove.with("Authorization", &bearer)).status, 204);
    assert_eq!(code(token_for(&simulator, HOME, SECRET, GRAPH)), 7000215);
    assert_eq!(get(&simulator, &bearer, &by_app_id("")).status, 200);
}

#[test]
fn equal_seeds_settle_equally() {
    let run = || {
        let simulator = owner();
        simulator.world(|world| world.credential_propagation = CredentialPropagation::default());
        let made = add_password(&simulator, "rot-1");
        let secret = made["secretText"].as_str().unwrap().to_owned();
        let works: Vec<bool> = (0..40)
            .map(|_| {
                simulator.advance(seconds(1));
                code(token_for(&simulator, HOME, &secret, GRAPH)) == 0
            })
            .collect();
        (secret, works)
    };
    assert_eq!(run(), run());
}

#[test]
fn writes_that_follow_closely_disturb_each_other() {
    let simulator = owner();
    add_password(&simulator, "rot-1");
    let second = error(write_at_once(&simulator, "POST", &by_app_id("/addPassword"), &json!({})));
    let text = "Error due to concurrent requests being made to the tenant. Please wait briefly and retry.";
    assert_eq!(second, (409, "Directory_ConcurrencyViolation".into(), text.into()));
    assert_eq!(write(&simulator, "POST", &by_app_id("/addPassword"), &json!({})).status, 200);
    simulator.world(|world| world.graph_write_spacing = seconds(0));
    assert_eq!(write_at_once(&simulator, "POST", &by_app_id("/addPassword"), &json!({})).status, 200);
    assert_eq!(key_ids(&read(&simulator), "passwordCredentials").len(), 4);
}

#[test]
fn only_an_owner_with_the_role_may_write() {
    let ask = |role: &str, owners: &[&str]| {
        let simulator = owner();
        simulator.world(|world| {
            world.add_tenant(Tenant::new(HOME, "Provider").consented(CLIENT, &[role], noon()));
            world.registration(CLIENT).owners = owners.iter().map(|owner| (*owner).to_owned()).collect();
        });
        let read = get(&simulator, &graph_bearer(&simulator), &by_app_id("")).status;
        let response = write(&simulator, "POST", &by_app_id("/addPassword"), &json!({}));
        let written = response.status;
        if written == 403 {
            assert_eq!(error(response).1, "Authorization_RequestDenied");
        }
        (read, written)
    };
    assert_eq!(ask("Application.ReadWrite.OwnedBy", &[CLIENT]), (200, 200));
    assert_eq!(ask("Application.ReadWrite.OwnedBy", &[OTHER]), (403, 403));
    assert_eq!(ask("Application.ReadWrite.All", &[]), (200, 200));
    assert_eq!(ask("Application.Read.All", &[CLIENT]), (200, 403));
    assert_eq!(ask("Alert.Read.All", &[CLIENT]), (403, 403));
}

#[test]
fn an_application_has_its_object_at_home_only() {
    let simulator = owner();
    simulator.world(|world| {
        let customer = Tenant::new(TENANT, "Contoso").consented(CLIENT, &["Application.ReadWrite.All"], noon());
        world.add_tenant(customer);
    });
    let token = body(token_for(&simulator, TENANT, SECRET, GRAPH));
    let bearer = format!("Bearer {}", token["access_token"].as_str().unwrap());
    let (status, code, text) = error(get(&simulator, &bearer, &by_app_id("")));
    assert_eq!((status, code.as_str()), (404, "Request_ResourceNotFound"));
    assert!(text.contains(CLIENT) && text.ends_with("queried reference-property objects are not present."));
    let unknown = format!("/v1.0/applications/{OTHER}");
    assert_eq!(error(get(&simulator, &graph_bearer(&simulator), &unknown)).0, 404);
}

#[test]
fn graph_believes_tokens_for_graph_alone() {
    let simulator = owner();
    let code_with = |authorization: &str| error(get(&simulator, authorization, &by_app_id("")));
    let defender = body(token_for(&simulator, HOME, SECRET, SCOPE.replace("securitycenter", "security").as_str()));
    let defender = format!("Bearer {}", defender["access_token"].as_str().unwrap());
    assert_eq!(code_with(&defender).1, "InvalidAuthenticationToken");
    assert_eq!(code_with("").2, "Access token is empty.");
    assert_eq!(code_with("Bearer x").2, "CompactToken parsing failed.");
    let graph = graph_bearer(&simulator);
    simulator.advance(seconds(3600));
    assert_eq!(code_with(&graph).2, "Lifetime validation failed, the token is expired.");
    assert_eq!(get(&simulator, &graph_bearer(&simulator), "/api/alerts").status, 403);
}

/// A proof of possession by the first certificate, with these claims in the place of its own.
fn proof(simulator: &Simulator, changed: &[(&str, Value)]) -> String {
    let now = simulator.now().as_second();
    let id = simulator.world(|world| world.application(CLIENT).unwrap().object_id());
    let audience = "00000002-0000-0000-c000-000000000000";
    let mut claims = json!({"aud": audience, "iss": id, "nbf": now, "exp": now + 600});
    for (name, value) in changed {
        claims[*name] = value.clone();
    }
    certificate_assertion(Algorithm::Rs256, &claims)
}

fn new_key(proof: &str) -> Value {
    let der = STANDARD.encode(certificate());
    let key = json!({"type": "AsymmetricX509Cert", "usage": "Verify", "key": der});
    json!({"keyCredential": key, "passwordCredential": null, "proof": proof})
}

#[test]
fn a_key_is_added_and_removed_with_proof_and_without_any_role() {
    let simulator = owner();
    simulator.world(|world| world.add_tenant(Tenant::new(HOME, "Provider")));
    simulator.advance(seconds(1));
    let added = write_at_once(&simulator, "POST", &by_app_id("/addKey"), &new_key(&proof(&simulator, &[])));
    assert_eq!(added.status, 200);
    let added = body(added);
    assert_eq!((&added["type"], &added["key"]), (&json!("AsymmetricX509Cert"), &Value::Null));
    let keys = |simulator: &Simulator| simulator.world(|world| world.application(CLIENT).unwrap().certificates.len());
    assert_eq!(keys(&simulator), 2);
    simulator.advance(seconds(1));
    let by_client_id = proof(&simulator, &[("iss", json!(CLIENT))]);
    let asked = json!({"keyId": added["keyId"], "proof": by_client_id});
    assert_eq!(write_at_once(&simulator, "POST", &by_app_id("/removeKey"), &asked).status, 204);
    assert_eq!(keys(&simulator), 1);
    simulator.advance(seconds(1));
    let asked = json!({"keyId": added["keyId"], "proof": proof(&simulator, &[])});
    let again = error(write_at_once(&simulator, "POST", &by_app_id("/removeKey"), &asked));
    assert_eq!(again, (400, "Request_BadRequest".into(), "No credentials found to be removed.".into()));
}

#[test]
fn a_key_is_rolled_in_the_name_of_the_application_alone() {
    let simulator = owner();
    simulator.world(|world| {
        let user = User::member(ADMIN, "Adele", "adele@provider.example").with_role(AdminRole::Global);
        let home = world.tenant(HOME).unwrap();
        home.users.push(user);
        world.tenant(TENANT).unwrap().users.clear();
    });
    let code = answer(&simulator.approve(&sign_in_link(HOME, &[]), ADMIN))["code"].clone();
    let token = body(redeem(&simulator, HOME, &code, &[]))["access_token"].as_str().unwrap().to_owned();
    let key = new_key(&proof(&simulator, &[])).to_string();
    let request = Request::post(&by_app_id("/addKey"), "application/json", key);
    assert_eq!(simulator.handle(request.with("Authorization", &format!("Bearer {token}"))).status, 501);
    assert_eq!(simulator.refusals().len(), 1);
}

#[test]
fn every_claim_of_a_proof_is_judged() {
    let simulator = owner();
    let now = noon().as_second();
    let ask = |proof: &str| write_at_once(&simulator, "POST", &by_app_id("/addKey"), &new_key(proof));
    for changed in [
        ("aud", json!("https://graph.microsoft.com")),
        ("iss", json!(OTHER)),
        ("exp", json!(now)),
        ("exp", json!(now + 601)),
        ("nbf", json!(now + 301)),
        ("nbf", Value::Null),
    ] {
        let refused = error(ask(&proof(&simulator, std::slice::from_ref(&changed))));
        assert_eq!((refused.0, refused.1.as_str()), (401, "Authentication_MissingOrMalformed"), "{changed:?}");
    }
    let good = proof(&simulator, &[]);
    assert_eq!(error(ask(&format!("{good}="))).0, 401);
    assert_eq!(error(ask("")).0, 401);
    let mut named = new_key(&good);
    named["keyCredential"]["keyId"] = json!(OTHER);
    let refused = error(write_at_once(&simulator, "POST", &by_app_id("/addKey"), &named));
    assert_eq!((refused.0, refused.2.as_str()), (400, "KeyId value must be null."));
    assert_eq!(ask(&good).status, 200);
    // A certificate that has not propagated yet proves nothing, and without a valid one there is no way back.
    simulator.world(|world| {
        for certificate in &mut world.application(CLIENT).unwrap().certificates {
            certificate.usable_from = Some(noon() + seconds(60));
        }
    });
    simulator.advance(seconds(30));
    assert_eq!(error(ask(&proof(&simulator, &[]))).0, 401);
    simulator.world(|world| world.application(CLIENT).unwrap().certificates.clear());
    simulator.advance(seconds(30));
    assert_eq!(error(ask(&proof(&simulator, &[]))).0, 401);
}

#[test]
fn a_patch_replaces_the_keys_and_keeps_those_it_names() {
    let simulator = owner();
    let der = STANDARD.encode(certificate());
    let fresh = json!({"type": "AsymmetricX509Cert", "usage": "Verify", "key": der, "displayName": "new"});
    let both = json!({"keyCredentials": [{"keyId": "1", "key": null}, fresh]});
    assert_eq!(write(&simulator, "PATCH", &by_app_id(""), &both).status, 204);
    let shown = read(&simulator);
    assert_eq!(key_ids(&shown, "keyCredentials").len(), 2);
    assert_eq!(shown["keyCredentials"][1]["displayName"], "new");
    let one = json!({"keyCredentials": [{"keyId": shown["keyCredentials"][1]["keyId"]}]});
    assert_eq!(write(&simulator, "PATCH", &by_app_id(""), &one).status, 204);
    assert_eq!(key_ids(&read(&simulator), "keyCredentials"), [shown["keyCredentials"][1]["keyId"].as_str().unwrap()]);
}

#[test]
fn scripted_faults_have_the_shape_of_graph() {
    let simulator = owner();
    simulator.world(|world| {
        let throttled = Fault::Throttled { seconds: 7, header: true, words: false };
        world.script(Route::GraphAddPassword, [Fault::Status(409), Fault::Status(503), throttled]);
        world.script(Route::GraphAddPassword, [Fault::Broken { after: 0 }]);
        world.script(Route::GraphRead, [Fault::Status(404), Fault::ExpiredToken]);
        world.script(Route::GraphRemovePassword, [Fault::Status(400)]);
    });
    let add = || write(&simulator, "POST", &by_app_id("/addPassword"), &json!({}));
    assert_eq!(error(add()).1, "Directory_ConcurrencyViolation");
    assert_eq!(error(add()).0, 503);
    assert_eq!(add().header("retry-after"), Some("7"));
    let nothing = write(&simulator, "POST", &by_app_id("/removePassword"), &json!({"keyId": KEY_ID}));
    assert_eq!(error(nothing).2, "No credentials found to be removed.");
    let missing = error(get(&simulator, &graph_bearer(&simulator), &by_app_id("")));
    assert!(missing.0 == 404 && missing.2.contains(CLIENT));
    assert_eq!(error(get(&simulator, &graph_bearer(&simulator), &by_app_id(""))).1, "InvalidAuthenticationToken");
    // The answer is lost; the password is not.
    assert!(add().body.collect_bytes().is_empty());
    assert_eq!(key_ids(&read(&simulator), "passwordCredentials").len(), 2);
    assert!(simulator.refusals().is_empty());
}

#[test]
fn what_graph_is_not_known_to_do_is_not_guessed() {
    let cases = [
        ("POST", "/addPassword", json!({"passwordCredential": {"secretText": "mine"}})),
        ("POST", "/addPassword", json!({"passwordCredential": {"keyId": OTHER}})),
        ("PATCH", "", json!({"passwordCredentials": []})),
        ("PATCH", "", json!({"displayName": "x"})),
        ("POST", "/addPassword", json!({"passwordCredential": "rot-1"})),
        ("PATCH", "", json!({"keyCredentials": [{"keyId": "1", "key": STANDARD.encode(certificate())}]})),
        ("PATCH", "", json!({"keyCredentials": ["1"]})),
        ("POST", "/removePassword?api-version=1", json!({"keyId": KEY_ID})),
        ("POST", "/removePassword", json!({})),
        ("POST", "/addOwner", json!({})),
        ("DELETE", "", json!({})),
        ("GET", "?$expand=owners", json!({})),
    ];
    for (method, action, body) in cases {
        let simulator = owner();
        assert_eq!(write(&simulator, method, &by_app_id(action), &body).status, 501, "{method} {action}");
        assert_eq!(simulator.refusals().len(), 1);
    }
    let simulator = owner();
    let mut dated = new_key(&proof(&simulator, &[]));
    dated["keyCredential"]["endDateTime"] = json!("2026-07-01T00:00:00Z");
    assert_eq!(write(&simulator, "POST", &by_app_id("/addKey"), &dated).status, 501);
    let request = Request::post(&by_app_id("/addPassword"), "application/json", "{")
        .with("Authorization", &graph_bearer(&simulator));
    assert_eq!(error(simulator.handle(request)).1, "BadRequest");
}

//! Stories of the token endpoint: who gets a token, and with which words everybody else is sent away.

use crate::stage::*;
use serde_json::json;
use simulator::{Fault, Home, Request, Route, Tenant};

#[test]
fn a_secret_buys_a_token_in_the_form_defender_reads() {
    let simulator = simulator();
    let response = simulator.handle(with_secret(SECRET));
    assert_eq!(response.status, 200);
    assert_eq!(response.header("date"), Some("Mon, 01 Jun 2026 12:00:00 GMT"));
    let body = body(response);
    assert_eq!((&body["token_type"], &body["expires_in"]), (&json!("Bearer"), &json!(3599)));
    let claims = payload(body["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], "https://api.securitycenter.microsoft.com");
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{TENANT}/"));
    assert_eq!((&claims["tid"], &claims["appid"]), (&json!(TENANT), &json!(CLIENT)));
    assert_eq!((&claims["ver"], &claims["appidacr"]), (&json!("1.0"), &json!("1")));
    assert_eq!(claims["roles"], json!(["Alert.Read.All"]));
    assert_eq!(claims["oid"], claims["sub"]);
    assert_eq!(claims["exp"], noon().as_second() + 3599);
}

#[test]
fn the_first_version_wants_a_resource_and_writes_numbers_as_strings() {
    let form = format!(
        "client_id={CLIENT}&client_secret={}&grant_type=client_credentials&resource=https%3A%2F%2Fapi.securitycenter.microsoft.com",
        SECRET.replace(' ', "+")
    );
    let path = format!("/{TENANT}/oauth2/token");
    let body = body(simulator().handle(Request::post(&path, "application/x-www-form-urlencoded", form)));
    assert_eq!(body["expires_in"], "3599");
    assert_eq!(body["expires_on"], (noon().as_second() + 3599).to_string());
    assert_eq!(body["resource"], "https://api.securitycenter.microsoft.com");
    assert_eq!(payload(body["access_token"].as_str().unwrap())["aud"], "https://api.securitycenter.microsoft.com");
}

#[test]
fn the_secret_may_come_in_the_header() {
    use base64::Engine;
    let parameters = [("scope", SCOPE), ("grant_type", "client_credentials")];
    let header = |secret: &str| {
        let pair = format!("{CLIENT}:{}", secret.replace(' ', "+"));
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
    };
    let ask =
        |secret| code(simulator().handle(token_request(TENANT, &parameters).with("Authorization", &header(secret))));
    assert_eq!(ask(SECRET), 0);
    assert_eq!(ask("another"), 7000215);
}

#[test]
fn every_parameter_is_judged() {
    let good =
        [("client_id", CLIENT), ("scope", SCOPE), ("grant_type", "client_credentials"), ("client_secret", SECRET)];
    let ask = |changed: &str, value: Option<&str>| {
        let parameters: Vec<_> = good
            .iter()
            .filter_map(|(name, old)| if *name == changed { value.map(|v| (*name, v)) } else { Some((*name, *old)) })
            .collect();
        let response = simulator().handle(token_request(TENANT, &parameters));
        (response.status, code(response))
    };
    assert_eq!(ask("nothing", None), (200, 0));
    assert_eq!(ask("client_id", None), (400, 900144));
    assert_eq!(ask("scope", None), (400, 900144));
    assert_eq!(ask("grant_type", None), (400, 900144));
    assert_eq!(ask("client_secret", None), (401, 7000216));
    assert_eq!(ask("grant_type", Some("password")), (400, 70003));
    assert_eq!(ask("scope", Some("https://api.securitycenter.microsoft.com/Alert.Read.All")), (400, 1002012));
    assert_eq!(ask("scope", Some("a/.default b/.default")), (400, 70011));
    assert_eq!(ask("scope", Some("https://nobody.example/.default")), (400, 500011));
    assert_eq!(ask("client_id", Some("00000000-0000-4000-8000-00000000dead")), (400, 700016));
    assert_eq!(ask("client_secret", Some("wrong")), (401, 7000215));
    assert_eq!(ask("client_secret", Some(KEY_ID)), (401, 7000215));
}

#[test]
fn a_scope_with_two_slashes_gives_an_audience_with_one() {
    let scope = "https://api.securitycenter.windows.com//.default";
    let parameters =
        [("client_id", CLIENT), ("scope", scope), ("grant_type", "client_credentials"), ("client_secret", SECRET)];
    let body = body(simulator().handle(token_request(TENANT, &parameters)));
    assert_eq!(payload(body["access_token"].as_str().unwrap())["aud"], "https://api.securitycenter.windows.com/");
}

#[test]
fn the_path_must_name_a_tenant_that_exists() {
    let simulator = simulator();
    simulator.world(|world| {
        let mut deleted = Tenant::new("00000000-0000-4000-8000-0000000000dd", "Gone");
        deleted.deleted = true;
        world.add_tenant(deleted);
    });
    for (tenant, expected) in [
        ("common", 9001023),
        ("organizations", 9001023),
        ("not-a-guid", 900023),
        ("00000000-0000-4000-8000-00000000ffff", 90002),
        ("00000000-0000-4000-8000-0000000000dd", 5000224),
        (&TENANT.to_uppercase(), 0),
    ] {
        let parameters =
            [("client_id", CLIENT), ("scope", SCOPE), ("grant_type", "client_credentials"), ("client_secret", SECRET)];
        assert_eq!(code(simulator.handle(token_request(tenant, &parameters))), expected, "{tenant}");
    }
    assert!(simulator.refusals().is_empty());
}

#[test]
fn a_tenant_can_keep_an_application_out_in_many_ways() {
    let with = |change: fn(&mut Tenant)| {
        let simulator = simulator();
        simulator.world(|world| change(world.tenant(TENANT).unwrap()));
        code(simulator.handle(with_secret(SECRET)))
    };
    assert_eq!(with(|_| {}), 0);
    assert_eq!(with(|tenant| tenant.consents.clear()), 700016);
    assert_eq!(with(|tenant| tenant.consents[0].enabled = false), 7000112);
    assert_eq!(with(|tenant| tenant.consents[0].service_principal_from = at("2026-06-01T12:00:01Z")), 7000229);
    assert_eq!(with(|tenant| tenant.has_defender = false), 500011);
    assert_eq!(with(|tenant| tenant.conditional_access_blocks = true), 53003);
}

#[test]
fn roles_come_after_the_consent_and_a_token_keeps_what_it_had() {
    let simulator = simulator();
    simulator.world(|world| world.tenant(TENANT).unwrap().consents[0].roles_from = at("2026-06-01T12:01:00Z"));
    let early = bearer(&simulator);
    assert_eq!(payload(&early).get("roles"), None);
    simulator.advance(seconds(60));
    let later = bearer(&simulator);
    assert_eq!(get(&simulator, &later, "/api/alerts").status, 200);
    let refused = body(get(&simulator, &early, "/api/alerts"));
    assert_eq!(
        refused["error"]["message"],
        "Missing application roles. API required roles: Alert.Read.All,Alert.ReadWrite.All, application roles: ."
    );
}

#[test]
fn a_new_secret_propagates_and_an_old_one_expires() {
    let simulator = simulator();
    simulator.world(|world| {
        let application = world.application(CLIENT).unwrap();
        let mut fresh = application.secrets[0].clone();
        fresh.value = "fresh".into();
        fresh.usable_from = Some(at("2026-06-01T12:00:10Z"));
        application.secrets.push(fresh);
    });
    assert_eq!(code(simulator.handle(with_secret("fresh"))), 7000215);
    simulator.advance(seconds(10));
    assert_eq!(code(simulator.handle(with_secret("fresh"))), 0);
    simulator.set_now(at("2027-01-01T00:00:00Z"));
    assert_eq!(code(simulator.handle(with_secret(SECRET))), 7000222);
}

#[test]
fn scripted_faults_come_in_order_and_the_tenant_s_own_first() {
    let simulator = simulator();
    simulator.world(|world| {
        world.script(Route::Token, [Fault::Status(503), Fault::Throttled { seconds: 9, header: true, words: false }]);
        world.script_tenant(TENANT, Route::Token, [Fault::Aadsts(90033), Fault::Html(502), Fault::Normal]);
    });
    let mut statuses = Vec::new();
    for _ in 0..6 {
        let response = simulator.handle(with_secret(SECRET));
        statuses.push((response.status, response.header("Retry-After").map(str::to_owned)));
    }
    let nine = Some("9".to_owned());
    assert_eq!(statuses, [(503, None), (502, None), (200, None), (503, None), (429, nine), (200, None)]);
}

#[test]
fn the_log_tells_the_kind_of_credential_and_nothing_secret() {
    let simulator = simulator();
    let bearer = bearer(&simulator);
    get(&simulator, &bearer, "/api/alerts?$top=1");
    let log = simulator.log();
    assert_eq!(log[0].credential.as_deref(), Some("client_secret"));
    assert_eq!((log[1].tenant.as_deref(), log[1].application.as_deref()), (Some(TENANT), Some(CLIENT)));
    assert_eq!((simulator.count("/token"), simulator.count("/api/alerts")), (1, 1));
    let shown = format!("{log:?} {simulator:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(&bearer[7..]));
    simulator.clear_log();
    assert!(simulator.log().is_empty());
}

#[test]
fn discovery_knows_tenants_and_templates() {
    let simulator = simulator();
    let ask = |path: String| simulator.handle(Request::get(&path).with("Host", "127.0.0.1:8086"));
    let own = body(ask(format!("/{TENANT}/v2.0/.well-known/openid-configuration")));
    assert_eq!(own["issuer"], format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    assert_eq!(own["token_endpoint"], format!("http://127.0.0.1:8086/{TENANT}/oauth2/v2.0/token"));
    let any = body(ask("/organizations/v2.0/.well-known/openid-configuration".into()));
    assert_eq!(any["issuer"], "https://login.microsoftonline.com/{tenantid}/v2.0");
    let keys = body(ask("/common/discovery/v2.0/keys".into()));
    assert_eq!(keys["keys"][0]["issuer"], "https://login.microsoftonline.com/{tenantid}/v2.0");
    for field in ["kty", "use", "kid", "x5t", "n", "e", "x5c"] {
        assert!(!keys["keys"][0][field].is_null(), "{field}");
    }
    let unknown = ask("/00000000-0000-4000-8000-00000000ffff/v2.0/.well-known/openid-configuration".into());
    assert_eq!(unknown.status, 400);
    let unknown = body(unknown);
    assert_eq!((&unknown["error"], &unknown["error_codes"][0]), (&json!("invalid_tenant"), &json!(90002)));
}

#[test]
fn the_published_key_is_the_one_that_signs() {
    use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
    use base64::Engine;
    let decode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap();
    let simulator = simulator();
    let keys = body(simulator.handle(Request::get("/common/discovery/v2.0/keys")));
    let (n, e) = (decode(keys["keys"][0]["n"].as_str().unwrap()), decode(keys["keys"][0]["e"].as_str().unwrap()));
    let bearer = bearer(&simulator);
    let (signed, signature) = bearer[7..].rsplit_once('.').unwrap();
    let key = RsaPublicKeyComponents { n, e };
    assert!(key.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decode(signature)).is_ok());
    assert!(key.verify(&RSA_PKCS1_2048_8192_SHA256, b"other", &decode(signature)).is_err());
}

#[test]
fn equal_seeds_and_requests_give_equal_answers() {
    let run = || {
        let simulator = simulator();
        let token = bearer(&simulator);
        (token, body(simulator.handle(with_secret("wrong"))))
    };
    assert_eq!(run(), run());
}

#[test]
fn discovery_fails_when_it_is_told_to() {
    let simulator = simulator();
    simulator.world(|world| world.script(Route::Discovery, [Fault::Status(500), Fault::NextLink("/x".into())]));
    let ask = || simulator.handle(Request::get("/common/discovery/v2.0/keys")).status;
    // A next link has no place in a key set: the script is mistaken, and says so.
    assert_eq!((ask(), ask(), ask()), (500, 501, 200));
    assert_eq!(simulator.refusals().len(), 1);
}

#[test]
fn what_the_token_endpoint_is_not_known_to_do_is_not_guessed() {
    let good =
        [("client_id", CLIENT), ("scope", SCOPE), ("grant_type", "client_credentials"), ("client_secret", SECRET)];
    for more in [("claims", "{}"), ("scope", SCOPE), ("client_assertion", "a.b.c")] {
        let simulator = simulator();
        let parameters: Vec<_> = good.into_iter().chain([more]).collect();
        assert_eq!(simulator.handle(token_request(TENANT, &parameters)).status, 501, "{more:?}");
        assert_eq!(simulator.refusals().len(), 1);
        // The refusal names what is missing, and no value.
        assert!(!simulator.refusals()[0].contains(SECRET));
    }
    for address in ["discovery/v2.0/keys?appid=1", "v2.0/.well-known/openid-configuration?appid=1"] {
        assert_eq!(simulator().handle(Request::get(&format!("/{TENANT}/{address}"))).status, 501, "{address}");
    }
    let simulator = simulator();
    let with_query = with_secret(SECRET);
    let target = format!("{}?grant_type=client_credentials", with_query.target);
    assert_eq!(simulator.handle(Request { target, ..with_query }).status, 501);
    let get = Request { method: "GET".into(), ..with_secret(SECRET) };
    assert_eq!(simulator.handle(get).status, 501);
    let json = Request::post(&format!("/{TENANT}/oauth2/v2.0/token"), "application/json", "{}");
    assert_eq!(code(simulator.handle(json)), 900144);
}

#[test]
fn an_application_is_at_home_in_its_own_tenant_but_has_no_roles_there() {
    let good =
        [("client_id", CLIENT), ("scope", SCOPE), ("grant_type", "client_credentials"), ("client_secret", SECRET)];
    let body = body(simulator().handle(token_request(HOME, &good)));
    assert_eq!(payload(body["access_token"].as_str().unwrap()).get("roles"), None);
}

#[test]
fn a_tenant_of_another_cloud_says_so_and_gets_no_token_here() {
    let simulator = simulator();
    let document = |simulator: &simulator::Simulator| {
        body(simulator.handle(Request::get(&format!("/{TENANT}/v2.0/.well-known/openid-configuration"))))
    };
    for (home, instance, scope, sub_scope, login) in [
        (Home::Commercial, "microsoftonline.com", json!(null), json!(null), "https://login.microsoftonline.com/"),
        (Home::Gcc, "microsoftonline.com", json!("NA"), json!("GCC"), "https://login.microsoftonline.com/"),
        (Home::GccHigh, "microsoftonline.us", json!("USGov"), json!("DODCON"), "https://login.microsoftonline.us/"),
        (Home::Dod, "microsoftonline.us", json!("USGov"), json!("DOD"), "https://login.microsoftonline.us/"),
    ] {
        simulator.world(|world| world.tenant(TENANT).unwrap().home = home);
        let said = document(&simulator);
        assert_eq!(said["cloud_instance_name"], instance);
        assert_eq!((&said["tenant_region_scope"], &said["tenant_region_sub_scope"]), (&scope, &sub_scope));
        assert!(said["token_endpoint"].as_str().unwrap().starts_with(login), "{said}");
        let answer = simulator.handle(with_secret(SECRET));
        assert_eq!(answer.status == 200, login.ends_with(".com/"), "{home:?}");
        if answer.status != 200 {
            assert_eq!(code(answer), 900382);
        }
    }
}

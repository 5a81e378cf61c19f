//! What scripts get, and what they do not.

use harness::{CLIENT, HOME, SECRET, Stage, TENANT};
use serde_json::{Value, json};

/// Every call, with a body that fits and one that its own schema refuses.
fn calls() -> Vec<(&'static str, String, Option<Value>)> {
    let tenant = format!("/api/tenants/{TENANT}");
    vec![
        ("GET", "/api/accounts".to_owned(), None),
        ("POST", "/api/accounts".to_owned(), Some(json!({"name": "Fabrikam"}))),
        ("POST", "/api/invitations".to_owned(), Some(json!({"account": "Fabrikam", "feeds": ["alerts"]}))),
        ("GET", "/api/tenants".to_owned(), None),
        ("GET", tenant.clone(), None),
        ("PATCH", tenant.clone(), Some(json!({"paused": true}))),
        ("PATCH", tenant.clone(), Some(json!({"paused": false}))),
        ("POST", "/api/connections".to_owned(), Some(own_application(SECRET))),
        ("POST", format!("{tenant}/renewal"), None),
        ("POST", format!("{tenant}/pull"), None),
        ("POST", format!("{tenant}/backfill"), Some(json!({"since": "2026-10-01"}))),
        ("GET", "/api/activity".to_owned(), None),
        ("DELETE", tenant, None),
    ]
}

fn own_application(secret: &str) -> Value {
    let credential = json!({"kind": "client_secret", "value": secret});
    json!({"account": "Contoso", "tenant_id": TENANT, "client_id": CLIENT, "credential": credential, "feeds": ["alerts"]})
}

#[test]
fn every_answer_is_what_the_document_says() {
    let stage = Stage::connected();
    let token = stage.script_token(HOME, Some("Muster.Operator"));
    let mut script = stage.visitor();
    let document = script.call(None, "GET", "/api/openapi.json", None).1;
    assert_eq!(document["openapi"], "3.1.0");
    for (method, path, body) in calls() {
        let (status, answer) = script.call(Some(&token), method, &path, body.as_ref());
        let described = path.replace(TENANT, "{id}");
        let operation = &document["paths"][&described][method.to_lowercase()];
        let response = &operation["responses"][status.to_string()];
        assert!(status < 300 && response.is_object(), "{method} {path}: {status} {answer}");
        let reference = &response["content"]["application/json"]["schema"];
        let schema = json!({"allOf": [reference], "components": document["components"]});
        let schema = jsonschema::draft202012::new(&schema).expect("a schema");
        let wrong: Vec<String> = schema.iter_errors(&answer).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{method} {path}: {wrong:?} {answer}");
    }
}

#[test]
fn a_reader_looks_and_whoever_is_nobody_is_told_nothing() {
    let stage = Stage::connected();
    let mut script = stage.visitor();
    let reader = stage.script_token(HOME, Some("Muster.Reader"));
    for (method, path, body) in calls() {
        let (status, problem) = script.call(None, method, &path, body.as_ref());
        assert_eq!((status, &problem["status"]), (401, &json!(401)), "{method} {path}");
        let (status, answer) = script.call(Some(&reader), method, &path, body.as_ref());
        let expected = if method == "GET" { 200 } else { 403 };
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
    assert_eq!(script.call(None, "GET", "/api/there-is-no-such-thing", None).0, 401);
    assert_eq!(script.call(Some(&reader), "GET", "/api/there-is-no-such-thing", None).0, 404);
    assert_eq!(script.call(Some(&reader), "PUT", "/api/accounts", None).0, 405);
    assert_eq!(script.call(None, "GET", "/api/health", None), (200, json!({"status": "ok"})));
    assert_eq!(stage.tenants()[0].account, "Contoso", "nothing was changed");
}

#[test]
fn a_token_counts_when_it_is_of_the_provider_for_this_application_with_a_role_and_in_time() {
    let stage = Stage::connected();
    let mut script = stage.visitor();
    let theirs = stage.script_token(TENANT, Some("Muster.Operator"));
    let (status, problem) = script.call(Some(&theirs), "GET", "/api/tenants", None);
    assert_eq!(status, 401, "a customer gave himself our role in his own tenant: {problem}");
    let without = stage.script_token(HOME, None);
    assert_eq!(script.call(Some(&without), "GET", "/api/tenants", None).0, 403);
    let good = stage.script_token(HOME, Some("Muster.Operator"));
    assert_eq!(script.call(Some(&good), "GET", "/api/tenants", None).0, 200);
    let (head, rest) = good.split_once('.').expect("a token");
    let (claims, signature) = rest.split_once('.').expect("a token");
    for forged in
        [format!("{head}.{claims}."), format!("{head}.{claims}.{}", &signature[4..]), String::new(), "x".to_owned()]
    {
        assert_eq!(script.call(Some(&forged), "GET", "/api/tenants", None).0, 401);
    }
    stage.pass(harness::minutes(70));
    assert_eq!(script.call(Some(&good), "GET", "/api/tenants", None).0, 401, "it was good for an hour");
}

#[test]
fn what_is_wrong_is_named_and_nothing_is_done() {
    let stage = Stage::connected();
    let token = stage.script_token(HOME, Some("Muster.Operator"));
    let mut script = stage.visitor();
    let tenant = format!("/api/tenants/{TENANT}");
    let unknown = "/api/tenants/a0000000-0000-4000-8000-0000000000ff";
    let long = "x".repeat(201);
    for (method, path, body, status, word) in [
        ("POST", "/api/accounts", json!({"name": "contoso"}), 409, "Contoso"),
        ("POST", "/api/accounts", json!({"name": long}), 422, "200"),
        ("POST", "/api/accounts", json!({"name": "a\u{202e}b"}), 422, "printable"),
        ("POST", "/api/accounts", json!({"nome": "x"}), 422, "nome"),
        ("POST", "/api/accounts", json!([]), 422, "NewAccount"),
        ("POST", "/api/invitations", json!({"account": "Contoso", "feeds": []}), 422, "feed"),
        ("POST", "/api/invitations", json!({"account": "Contoso", "feeds": ["telemetry"]}), 422, "storage"),
        ("POST", "/api/invitations", json!({"account": "Contoso", "feeds": ["all"]}), 422, "all"),
        (
            "POST",
            "/api/invitations",
            json!({"account": "Contoso", "feeds": ["alerts"], "expires_in_hours": 0}),
            422,
            "60 days",
        ),
        (
            "POST",
            "/api/invitations",
            json!({"account": "a0000000-0000-4000-8000-0000000000ff", "feeds": ["alerts"]}),
            404,
            "account",
        ),
        (
            "POST",
            "/api/invitations",
            json!({"account": "C", "feeds": ["alerts"], "expected_tenant": "no/where"}),
            422,
            "GUID",
        ),
        ("GET", unknown, Value::Null, 404, "tenant"),
        ("DELETE", unknown, Value::Null, 404, "not connected"),
        ("PATCH", unknown, json!({"paused": true}), 404, "a0000000"),
        ("GET", "/api/tenants/..%2f..%2fapi", Value::Null, 404, "GUID"),
        ("PATCH", &tenant, json!({"feeds": []}), 409, "feed"),
        ("PATCH", &tenant, json!({"region": "mars"}), 422, "mars"),
        ("PATCH", &tenant, json!({"storage": {"account_name": "../x", "queue_name": "q-1"}}), 422, "storage account"),
        ("POST", &format!("{tenant}/backfill"), json!({"since": "soon"}), 422, "2026-11-22"),
        ("POST", &format!("{tenant}/backfill"), json!({"since": "2027-01-01"}), 409, ""),
        ("POST", &format!("{tenant}/confirm"), Value::Null, 409, ""),
        ("GET", "/api/activity?before=yesterday", Value::Null, 422, "before"),
    ] {
        let body = (!body.is_null()).then_some(&body);
        let (got, problem) = script.call(Some(&token), method, path, body);
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert_eq!((got, detail.contains(word)), (status, true), "{method} {path} {body:?}: {problem}");
        assert!(detail.ends_with('.'), "a sentence: {detail}");
    }
    let view = stage.tenants().remove(0);
    assert_eq!((view.account.as_str(), view.paused), ("Contoso", false));
}

#[test]
fn an_application_of_the_tenants_own_is_tested_before_it_is_kept_and_what_is_missing_named() {
    let stage = Stage::connected();
    let token = stage.script_token(HOME, Some("Muster.Operator"));
    let mut script = stage.visitor();
    let (status, problem) = script.call(Some(&token), "POST", "/api/connections", Some(&own_application("wrong")));
    assert_eq!((status, &problem["missing"][0]["field"]), (422, &json!("credential")), "{problem}");
    let mut with_storage = own_application(SECRET);
    with_storage["feeds"] = json!(["alerts", "machines"]);
    let (status, problem) = script.call(Some(&token), "POST", "/api/connections", Some(&with_storage));
    let missing = &problem["missing"][0];
    assert_eq!((status, &missing["field"], &missing["feed"]), (422, &json!("feeds"), &json!("machines")), "{problem}");
    let tenant = format!("/api/tenants/{TENANT}");
    assert_eq!(script.call(Some(&token), "GET", &tenant, None).1["application"], "app", "nothing was kept");
    let (status, made) = script.call(Some(&token), "POST", "/api/connections", Some(&own_application(SECRET)));
    assert_eq!(
        (status, &made["application"], &made["credential"]["kind"]),
        (201, &json!("own"), &json!("client_secret"))
    );
}

#[test]
fn a_session_calls_too_but_not_from_another_site() {
    let stage = Stage::connected();
    let mut browser = stage.operator();
    assert_eq!(browser.call(None, "GET", "/api/tenants", None).0, 200);
    let account = json!({"name": "Fabrikam"});
    assert_eq!(browser.call(None, "POST", "/api/accounts", Some(&account)).0, 201);
    let pull = format!("/api/tenants/{TENANT}/pull");
    assert_eq!(browser.call(None, "POST", &pull, None).0, 403, "a form could send this");
    browser.fetch_site = Some("cross-site");
    assert_eq!(browser.call(None, "POST", "/api/accounts", Some(&json!({"name": "Evil"}))).0, 403);
}

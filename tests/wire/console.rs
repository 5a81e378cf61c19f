//! The story's parts in the console: people in browsers, scripts with tokens.

use std::time::Duration;

use harness::{CLIENT, TENANT};
use jiff::{SignedDuration, Timestamp};
use laboratory::{Method, Said, Trouble, until};
use serde_json::{Value, json};
use simulator::Alert;

use crate::{
    browser::Browser,
    microsoft::{
        CONSOLE_CLIENT, HINTS, Microsoft, OPERATOR, OWN_CLIENT, OWN_SECRET, OWNER, READER, SCRIPT, STORAGE, UNPROVEN,
        WATCHER,
    },
    stack::{PUBLIC_URL, Stack},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Times that taking in a tenant is tried anew because somebody else wrote first.
const TRIES: usize = 5;

/// There is an answer for probes already, and a page that asks people to come back.
pub fn nobody_signs_in_without_an_application(stack: &Stack) {
    let probe = stack.knock(Method::GET, "/api/health", &[], Vec::new());
    assert_eq!((probe.status, probe.text().as_str()), (200, "{\"status\":\"ok\"}"));
    let mut browser = Browser::new(stack, OPERATOR);
    assert_eq!(browser.get("/accounts").location.as_deref(), Some("/login?back=%2Faccounts"));
    assert_eq!(browser.get("/login").status, 503);
}

/// What the people's browsers have carried.
pub fn people_sign_in_and_out(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    let mut browser = Browser::new(stack, OPERATOR);
    let page = browser.look("/", &microsoft.simulator);
    assert!(page.text().contains("Olga &#60;i&#62;</bdi> (operator)"), "{}", page.text());
    let account = browser.submit(&page, "/accounts", &[("name", "Fabrikam")], &microsoft.simulator);
    assert!(account.status == 200 && account.text().contains("<h1>Fabrikam"), "{}", account.text());
    let page = browser.submit(&page, "/logout", &[], &microsoft.simulator);
    assert_eq!(page.status, 200, "{}", page.text());
    let mut reader = Browser::new(stack, READER);
    let page = reader.look("/accounts", &microsoft.simulator);
    assert!(page.text().contains("(reader)") && !page.text().contains("Create account"), "{}", page.text());
    [browser.carried(), reader.carried()].concat()
}

/// The console has an application of its own by now, and people come in by that one.
pub fn it_signs_in_with_its_own_application(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    stack.killer("console")();
    // Whoever asks an environment that has just died is told so.
    let healthy = || stack.knock(Method::GET, "/api/health", &[], Vec::new()).status == 200;
    until("the console is back", PATIENCE, || healthy().then_some(()));
    let (mark, by_its_own) = (microsoft.mark(), format!("client_id={CONSOLE_CLIENT}"));
    let mut browser = Browser::new(stack, OPERATOR);
    assert!(browser.look("/accounts", &microsoft.simulator).text().contains("(operator)"));
    assert!(microsoft.asked(mark, "/authorize?") > 0);
    assert_eq!(microsoft.asked(mark, "/authorize?"), microsoft.asked(mark, &by_its_own));
    let script = Script::of(stack, microsoft, SCRIPT, CONSOLE_CLIENT);
    assert_eq!(script.get("/api/accounts").as_array().unwrap().len(), 3);
    browser.carried()
}

/// A script of the provider's, with a token that is good for an hour.
pub struct Script<'a> {
    stack: &'a Stack,
    authorization: String,
}

impl<'a> Script<'a> {
    /// One that may do everything.
    pub fn operator(stack: &'a Stack, microsoft: &Microsoft) -> Self {
        Self::of(stack, microsoft, SCRIPT, CLIENT)
    }

    pub fn of(stack: &'a Stack, microsoft: &Microsoft, script: (&str, &str), console: &str) -> Self {
        Self { stack, authorization: format!("Bearer {}", microsoft.token(script, console)) }
    }

    pub fn ask(&self, method: Method, path: &str, body: &Value) -> Said {
        let headers = [("authorization", self.authorization.as_str()), ("content-type", "application/json")];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.stack.knock(method, path, &headers, body.into_bytes())
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path, &Value::Null).json()
    }

    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Value {
        self.ask(Method::POST, path, body).json()
    }
}

/// The link for an administrator of the first tenant's; and what the operator's browser has carried.
pub fn invited(stack: &Stack, microsoft: &Microsoft) -> (String, Vec<String>) {
    let mut browser = Browser::new(stack, OPERATOR);
    let accounts = browser.look("/accounts", &microsoft.simulator);
    let account = between(&accounts.text(), "href=\"/accounts/", "\">Contoso").rsplit('/').next().unwrap().to_owned();
    let account = format!("/accounts/{account}");
    let page = browser.look(&account, &microsoft.simulator);
    let fields = [("feeds", "alerts"), ("feeds", "machines"), ("expected_tenant", TENANT), ("lifetime_days", "7")];
    let page = browser.submit(&page, &format!("{account}/invitations"), &fields, &microsoft.simulator);
    assert_eq!(page.status, 200, "{}", page.text());
    let link =
        format!("{PUBLIC_URL}/connect/{}", between(&page.text(), &format!("value=\"{PUBLIC_URL}/connect/"), "\""));
    (link, browser.carried())
}

/// What stands right before `end` and after the last `begin` before it.
fn between<'a>(text: &'a str, begin: &str, end: &str) -> &'a str {
    let pieces = text.split(begin).skip(1).filter_map(|rest| rest.split_once(end)).map(|(piece, _)| piece);
    pieces.min_by_key(|piece| piece.len()).unwrap_or_else(|| panic!("no {begin}…{end} in {text}"))
}

fn own_application(secret: &str) -> Value {
    json!({
        "account": "Fabrikam", "tenant_id": OWNER, "client_id": OWN_CLIENT,
        "credential": {"kind": "client_secret", "value": secret, "expires_at": "2099-01-01T00:00:00Z"},
        "feeds": ["alerts", "machines", "telemetry"],
        "storage": {"account_name": STORAGE[1].0, "queue_name": HINTS},
    })
}

/// It is tried before it is kept; and what cannot be brought to its end leaves what works as it was.
pub fn a_tenant_brings_its_own_application(stack: &Stack, microsoft: &Microsoft) {
    let script = Script::operator(stack, microsoft);
    let refused = script.ask(Method::POST, "/api/connections", &own_application("canary-no-secret-03ce"));
    let problem: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, &problem["missing"][0]["field"]), (422, &json!("credential")), "{problem:#}");
    assert!(stack.tenant(OWNER).is_null());
    let connected = script.post("/api/connections", &own_application(OWN_SECRET));
    assert_eq!((&connected["account"], &connected["state"]), (&json!("Fabrikam"), &json!("active")), "{connected:#}");

    let current = || stack.current(&format!("muster/tenants/{OWNER}"));
    let before = current();
    for _ in 0..TRIES {
        stack.gateway.trouble("console", "TransactWriteItems", Trouble::Cancelled { reason: "ConditionalCheckFailed" });
    }
    let busy = script.ask(Method::POST, "/api/connections", &own_application(OWN_SECRET));
    assert_eq!((busy.status, current()), (503, before), "{}", busy.text());
}

/// And pauses the tenant, which nothing else of the story needs. What the operator's browser has carried.
pub fn an_operator_vouches_for_who_signed_in(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    let mut browser = Browser::new(stack, OPERATOR);
    let tenant = format!("/tenants/{UNPROVEN}");
    let page = browser.look(&tenant, &microsoft.simulator);
    let seen = between(&page.text(), "name=\"oid\" value=\"", "\"").to_owned();
    let page = browser.submit(&page, &format!("{tenant}/confirm"), &[("oid", &seen)], &microsoft.simulator);
    assert!(page.status == 200 && page.text().contains("Confirmed."), "{}: {}", page.status, page.text());
    let page = browser.submit(&page, &format!("{tenant}/pause"), &[], &microsoft.simulator);
    assert!(page.status == 200 && page.text().contains("Paused."), "{}: {}", page.status, page.text());
    assert_eq!((&stack.tenant(UNPROVEN)["state"], &stack.tenant(UNPROVEN)["paused"]), (&json!("active"), &json!(true)));
    stack.drained();
    browser.carried()
}

/// Older alerts, and all feeds at once.
pub fn an_operator_does_not_wait_for_the_next_tick(stack: &Stack, microsoft: &Microsoft) {
    let script = Script::operator(stack, microsoft);
    let tenant = format!("/api/tenants/{TENANT}");
    let pulled = script.post(&format!("{tenant}/pull"), &Value::Null);
    assert_eq!(pulled["feeds"].as_array().map(Vec::len), Some(3), "{pulled}");
    let since = Timestamp::now() - SignedDuration::from_hours(24 * 20);
    let begun = script.post(&format!("{tenant}/backfill"), &json!({ "since": since }));
    let begins: Timestamp = begun["backfill"]["since"].as_str().unwrap().parse().unwrap();
    assert_eq!(begins, since, "{begun:#}");
    for paused in [true, false] {
        let changed = script.ask(Method::PATCH, &tenant, &json!({ "paused": paused })).json();
        assert_eq!(changed["paused"], paused, "{changed:#}");
    }
    stack.drained();
}

/// A reader reads, and nobody without a token.
pub fn a_script_that_may_look_does_no_more(stack: &Stack, microsoft: &Microsoft) {
    let watcher = Script::of(stack, microsoft, WATCHER, CLIENT);
    let tenants = watcher.get("/api/tenants");
    let ids: Vec<&Value> = tenants.as_array().unwrap().iter().map(|tenant| &tenant["tenant_id"]).collect();
    assert!(ids.contains(&&json!(TENANT)) && ids.contains(&&json!(OWNER)), "{ids:?}");
    let seen = watcher.get(&format!("/api/tenants/{OWNER}"));
    assert_eq!(seen["credential"]["application"], "own", "{seen:#}");
    let deleted = watcher.ask(Method::DELETE, &format!("/api/tenants/{OWNER}"), &Value::Null);
    assert_eq!(deleted.status, 403, "{}", deleted.text());
    assert_eq!(stack.knock(Method::GET, "/api/tenants", &[], Vec::new()).status, 401);
    let trail = watcher.get("/api/activity").to_string();
    for what in ["signed_in", "invited", "consented", "connected", "credential_stored", "confirmed", "paused"] {
        assert!(trail.contains(&format!("\"{what}\"")), "{what} is not in the trail: {trail}");
    }
}

/// A tenant is removed while three workers lie dead over its objects, with whatever lies in its partition and is nobody's;
/// and comes back with its secret.
pub fn a_tenant_leaves_and_comes_back(stack: &Stack, script: &Script<'_>) {
    let (path, secret) = (format!("/api/tenants/{OWNER}"), format!("muster/tenants/{OWNER}"));
    stack.put_item(&format!("tenant#{OWNER}"), "of-another-time");
    let removed = script.ask(Method::DELETE, &path, &Value::Null).json();
    assert_eq!((&removed["account"], &removed["outcome"]), (&json!("Fabrikam"), &json!("removed")), "{removed:#}");
    assert_eq!(removed["removed"]["secret"]["name"], secret, "{removed:#}");
    let until: Timestamp = removed["removed"]["secret"]["recoverable_until"].as_str().unwrap().parse().unwrap();
    let days = until.duration_since(Timestamp::now()).as_hours() / 24;
    assert!((29..=30).contains(&days), "{until}");
    assert_eq!(
        (stack.tenant(OWNER)["state"].as_str(), stack.secret(&secret)["DeletedDate"].is_null()),
        (Some("removed"), false)
    );
    assert!(!stack.items().to_string().contains("of-another-time"));
    let again = script.ask(Method::DELETE, &path, &Value::Null).json();
    assert_eq!(again["outcome"], "nothing_left", "{again:#}");
    let back = script.post("/api/connections", &own_application(OWN_SECRET));
    assert_eq!((&back["state"], stack.secret(&secret)["DeletedDate"].is_null()), (&json!("active"), true), "{back:#}");
    // By the other way in, too.
    script.ask(Method::DELETE, &path, &Value::Null).json();
    let place = format!("{}/{HINTS}", STORAGE[1].0);
    let feeds = ["--feeds", "alerts,machines,telemetry", "--storage", &place];
    stack.muster(&[&["connect", OWNER, "--account", "Fabrikam"][..], &feeds].concat(), "");
}

/// What is new of every feed of the tenant that will leave.
pub fn news_of_who_will_leave(microsoft: &Microsoft) {
    microsoft.put_alert(OWNER, Alert::new("da638000000000000021_1", Timestamp::now()));
    microsoft.put_machine(OWNER, "f02", "High");
}

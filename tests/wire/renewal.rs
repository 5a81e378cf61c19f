//! The story's parts with renewal links: a customer gives a new secret of its own application, through the HTTP API's routes
//! and as the console's role; and what breaks off between vault and state the daily check completes, as its role.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use laboratory::{Method, Said, When, until};
use serde_json::{Value, json};
use simulator::ClientSecret;

use crate::{
    browser::Browser,
    console::Script,
    microsoft::{CONSOLE_CLIENT, Microsoft, OWN_CLIENT, OWNER, SCRIPT},
    stack::Stack,
};

const PATIENCE: Duration = Duration::from_secs(60);
/// The link is all that is proven of its holder.
const NOBODY: &str = "";
/// What the customer makes in Entra, one for each link; and what they type who have copied something else.
const FIRST: &str = "canary-renewed-secret-1c7d";
const SECOND: &str = "canary-renewed-secret-8e24";
const MISTYPED: &str = "canary-mistyped-secret-40bb";
/// How long a secret is good that the customer makes.
const LIFE: SignedDuration = SignedDuration::from_hours(24 * 365);
/// Longer than anybody who saves is waited for.
const WAITED: SignedDuration = SignedDuration::from_mins(3);

/// What the customer's browser has carried.
pub fn a_customer_gives_a_new_secret_by_a_link(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    let script = Script::of(stack, microsoft, SCRIPT, CONSOLE_CLIENT);
    let (link, before) = (made(&script), current(stack));
    assert_eq!(made(&script), link, "asked for again it is the same");
    let mut browser = Browser::new(stack, NOBODY);
    let form = browser.get(&link);
    assert!(form.status == 200 && form.text().contains("Fabrikam"), "{}: {}", form.status, form.text());
    is_made_in_entra(microsoft, FIRST);
    let refused = send(&mut browser, microsoft, &form, &link, MISTYPED);
    assert!(refused.status == 422 && refused.text().contains("Nothing was saved"), "{}", refused.text());
    assert_eq!(current(stack), before, "what does not work takes nothing's place");
    let saved = send(&mut browser, microsoft, &form, &link, FIRST);
    assert!(saved.status == 200 && saved.text().contains("It works, and is saved"), "{}", saved.text());
    assert_ne!(current(stack), before);
    for again in [browser.get(&link), send(&mut browser, microsoft, &form, &link, FIRST)] {
        assert!(again.status == 410 && again.text().contains("has done its work"), "{}", again.text());
    }
    assert_eq!(told(&script).len(), 1);
    stack.drained();
    assert_eq!(stack.tenant(OWNER)["state"], "active");
    [browser.carried(), vec![MISTYPED.to_owned()]].concat()
}

/// What the customer's browser has carried.
pub fn what_broke_off_is_completed_by_the_daily_check(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    let script = Script::of(stack, microsoft, SCRIPT, CONSOLE_CLIENT);
    let (link, before) = (made(&script), current(stack));
    let mut browser = Browser::new(stack, NOBODY);
    let form = browser.get(&link);
    is_made_in_entra(microsoft, SECOND);
    // The vault has taken it, and whoever would have written so is dead.
    stack.gateway.upon("console", "PutSecretValue", When::After, stack.killer("console"));
    let lost = send(&mut browser, microsoft, &form, &link, SECOND);
    assert!(lost.status >= 500, "{}: {}", lost.status, lost.text());
    let healthy = || stack.knock(Method::GET, "/api/health", &[], Vec::new()).status == 200;
    until("the console is back", PATIENCE, || healthy().then_some(()));
    assert_ne!(current(stack), before);
    assert_eq!(browser.get(&link).status, 410, "the new one is current, so the link is spent");
    stack.daily_check();
    assert_eq!(told(&script).len(), 1, "whoever has just begun may still be at it");

    // Time is the machine's here, so it is not the check that comes later but the beginning that lies longer ago.
    stack.change_item("credentials", &format!("renewal#{OWNER}"), |kept| {
        let taken = &mut kept["link"]["taken"];
        assert_eq!(taken["done"], false, "nothing has broken off: {taken}");
        let began: Timestamp = taken["at"].as_str().unwrap().parse().unwrap();
        taken["at"] = json!(began - WAITED);
    });
    let after = current(stack);
    for _ in 0..2 {
        stack.daily_check();
        assert_eq!(told(&script).len(), 2, "once, of what broke off: {}", stack.output("credential-rotation"));
    }
    assert_eq!(current(stack), after, "it is told of, and stays");
    browser.carried()
}

/// The link that an operator's script gets.
fn made(script: &Script<'_>) -> String {
    let made = script.ask(Method::POST, &format!("/api/tenants/{OWNER}/renewal"), &Value::Null);
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["link"].as_str().unwrap().to_owned()
}

fn current(stack: &Stack) -> String {
    stack.current(&format!("muster/tenants/{OWNER}"))
}

fn is_made_in_entra(microsoft: &Microsoft, value: &str) {
    let now = Timestamp::now();
    microsoft.simulator.world(|world| {
        let secrets = &mut world.application(OWN_CLIENT).unwrap().secrets;
        secrets.push(ClientSecret {
            key_id: format!("a0000000-0000-4000-8000-00000000f0{:02}", secrets.len()),
            value: value.to_owned(),
            start: now,
            end: now + LIFE,
            usable_from: None,
        });
    });
}

/// Fills in the form that the link has led to.
fn send(browser: &mut Browser<'_>, microsoft: &Microsoft, form: &Said, link: &str, secret: &str) -> Said {
    let action = &link[link.find("/renew/").unwrap()..];
    let ends = (Timestamp::now() + LIFE).strftime("%Y-%m-%d").to_string();
    let fields = [("kind", "client_secret"), ("client_secret", secret), ("ends", &ends)];
    browser.submit(form, action, &fields, &microsoft.simulator)
}

/// What the trail says of credentials that were given by a link.
fn told(script: &Script<'_>) -> Vec<Value> {
    let mut told = script.get("/api/activity").as_array().unwrap().clone();
    told.retain(|entry| entry["action"] == "credential_renewed");
    for entry in &told {
        assert_eq!((&entry["tenant_id"], &entry["account"]), (&json!(OWNER), &json!("Fabrikam")), "{entry:#}");
        assert_eq!(entry["actor"]["kind"], "link_holder", "{entry:#}");
        assert!(entry["detail"].as_str().unwrap().contains(OWN_CLIENT), "{entry:#}");
    }
    told
}

//! A customer comes in over TCP: `muster invite`, a browser, `muster serve`.

use std::{net::TcpListener, path::Path};

use harness::{ADMIN, TENANT};
use local::demo::administrator::Administrator;
use serde_json::json;
use shared::clock::Clock;
use simulator::Alert;
use tokio::runtime::Runtime;
use url::Url;

use crate::{
    microsoft::{Microsoft, STRANGER},
    programs::until,
};

/// An origin that nobody uses, as yet.
fn free_origin() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// The link, which is all that standard output holds.
fn invite(microsoft: &Microsoft, public_url: &str, words: &[&str], data: &Path) -> Url {
    let words = [&["invite", "Fabrikam Europe"], words].concat();
    let invited = microsoft.muster(&words, data).env("MUSTER_PUBLIC_URL", public_url).finish().exits(0);
    let invited = invited.says(&["Good for one approval until", "Fabrikam Europe"]);
    let link = invited.stdout.strip_suffix('\n').unwrap();
    assert!(link.starts_with(&format!("{public_url}/connect/")) && !link.contains(char::is_whitespace), "{link}");
    Url::parse(link).unwrap()
}

#[test]
fn an_invited_administrator_lets_a_tenant_in_and_nothing_on_the_way_is_logged() {
    let microsoft = Microsoft::new();
    let public_url = free_origin();
    microsoft.sends_back_to(&public_url);
    let data = microsoft.data_folder();
    let link = invite(&microsoft, &public_url, &["--expect", STRANGER], data.path());
    let listen = public_url.strip_prefix("http://").unwrap();
    let serving = microsoft
        .muster(&["serve", "--listen", listen, "--tick", "1"], data.path())
        .env("MUSTER_PUBLIC_URL", &public_url)
        .never_says(link.path().rsplit('/').next().unwrap())
        .run();
    until("the server listens", || std::net::TcpStream::connect(listen).ok());

    let alert = Alert::new("da638000000000000001_1", jiff::Timestamp::now());
    microsoft.simulator.world(|world| world.tenant(STRANGER).unwrap().alerts.put(alert));
    let runtime = Runtime::new().unwrap();
    let administrator = Administrator::new(&microsoft.simulator, ADMIN, Clock::System).unwrap();
    let page = runtime.block_on(administrator.approve(&link)).unwrap();
    assert_eq!(page, "Connected");
    let tenants = until("the new tenant's alert is delivered", || {
        let tenants = microsoft.tenants(data.path());
        (tenants[0]["ledger"]["delivered"] == 1).then_some(tenants)
    });
    assert_eq!((&tenants[0]["account"], &tenants[0]["state"]), (&json!("Fabrikam Europe"), &json!("active")));
    assert_eq!(tenants[0]["consent"]["oid"], json!(ADMIN));

    let log = serving.terminate().exits(0).stderr;
    assert!(log.contains("TRACE"), "the log was not talkative");
    // Secrets and names are looked for in whatever a program prints; these belong to the way.
    for part in ["code=", "state=", "nonce=", "code_challenge="] {
        assert!(!log.contains(part), "`{part}` was logged");
    }
}

#[test]
fn an_invitation_without_what_it_needs_says_what_to_set() {
    let microsoft = Microsoft::new();
    let data = tempfile::tempdir().unwrap();
    microsoft.muster(&["invite", "Contoso"], data.path()).finish().exits(64).says(&["MUSTER_PUBLIC_URL"]);
    let start =
        |words: &[&str]| microsoft.muster(words, data.path()).env("MUSTER_PUBLIC_URL", "https://muster.example.com");
    start(&["invite", "Contoso", "--expect", "contoso"]).finish().exits(64).says(&["neither a tenant id"]);
    assert!(!data.path().join("muster.db").exists(), "what is refused makes nothing");
    start(&["invite", "Contoso", "--expect", "contoso.example"]).finish().exits(64).says(&["no domain of an Entra"]);
    // It may be made before the application is stored, but says so.
    start(&["invite", "Contoso", "--expect", TENANT]).finish().exits(0).says(&["muster vault put app"]);
}

//! What `muster` answers to the person at the keyboard: exit statuses, next steps, and never a secret.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::Path,
};

use harness::{ALERT_ROLE, CLIENT, HOME, MACHINE_ROLE, SECRET, TENANT};
use serde_json::{Value, json};
use simulator::{Alert, StorageAccount, StorageRole};

use crate::{
    microsoft::{Microsoft, STRANGER, vault_entry},
    programs::{Running, Start, until},
};

const USAGE: i32 = 64;
const STORAGE: &str = "contosologs1/muster-hints";

/// An empty data folder.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn wrong_usage_is_64_and_makes_nothing() {
    let parent = folder();
    let data = parent.path().join("data");
    for words in [
        &[][..],
        &["frobnicate"],
        &["vault"],
        &["vault", "get", "app"],
        &["tenants", "--yaml"],
        &["connect", TENANT],
        &["connect", "not-a-guid", "--account", "Contoso"],
        &["connect", "a0000000-0000-4000-8000-0000000000a", "--account", "Contoso"],
        &["connect", TENANT, "--account", "Contoso", "--feeds", "alarms"],
        &["connect", TENANT, "--account", "Contoso", "--feeds", "alerts,,"],
        &["connect", TENANT, "--account", "Contoso", "--region", "mars"],
        &["invite"],
        &["invite", "Contoso"],
        &["invite", "", "--feeds", "alerts"],
        &["invite", "Contoso", "--feeds", "telemetry"],
        &["connect", TENANT, "--account", "Contoso", "--storage", "contosologs1/muster-hints"],
        &["connect", TENANT, "--account", "Contoso", "--feeds", "telemetry", "--storage", "contosologs1"],
        &["accept"],
        &["accept", "not-a-guid"],
        &["doctor", "app"],
        &["invite", "Contoso", "--hours", "0"],
        &["rotate"],
        &["rotate", "app", "console"],
        &["serve", "--tick", "0"],
        &["serve", "--listen", "everywhere"],
    ] {
        let start = Start::muster(words);
        let start = if words.is_empty() { start } else { start.data(&data) };
        let finished = start.finish().exits(USAGE);
        assert!(!finished.stderr.is_empty(), "{words:?} is refused without a word");
        assert_eq!(finished.stdout, "", "{words:?}");
    }
    for words in [&["tenants"][..], &["serve"], &["vault", "list"]] {
        Start::muster(words).finish().exits(USAGE).says(&["--data"]);
    }
    assert!(!data.exists(), "a refused command made the data folder");
}

#[test]
fn help_and_version_are_answers() {
    let help = Start::muster(&["--help"]).finish().exits(0);
    for verb in ["demo", "serve", "vault", "invite", "rotate", "connect", "accept", "doctor", "tenants"] {
        assert!(help.stdout.contains(verb), "{}", help.stdout);
    }
    Start::muster(&["--version"]).finish().exits(0);
}

#[test]
fn a_stack_that_is_not_named_or_not_reached_is_told_in_one_message() {
    let invite = || Start::muster(&["invite", "Contoso", "--aws"]);
    let missing = invite().env("MUSTER_CLOUD", "mars").finish().exits(64);
    let missing = missing.says(&["6 mistake(s)", "MUSTER_CLOUD", "MUSTER_TABLE", "MUSTER_BUCKET"]);
    missing.says(&["MUSTER_ALERTS_QUEUE_URL", "MUSTER_MACHINES_QUEUE_URL", "MUSTER_TELEMETRY_QUEUE_URL"]);
    let named = || {
        invite()
            .env("MUSTER_PUBLIC_URL", "https://muster.example.com")
            .env("MUSTER_TABLE", "muster-state")
            .env("MUSTER_BUCKET", "muster-lake")
            .env("MUSTER_ALERTS_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/muster-alerts")
            .env("MUSTER_MACHINES_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/muster-machines")
            .env("MUSTER_TELEMETRY_QUEUE_URL", "https://sqs.eu-west-1.amazonaws.com/000000000000/muster-telemetry")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_CONFIG_FILE", "/nowhere")
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    };
    named().finish().exits(64).says(&["AWS_REGION"]);
    named().env("AWS_REGION", "eu-west-1").finish().exits(64).says(&["aws configure export-credentials"]);
    Start::muster(&["invite", "Contoso"]).finish().exits(64).says(&["--data", "--aws"]);
    Start::muster(&["invite", "Contoso", "--aws", "--data", "/nowhere"])
        .finish()
        .exits(64)
        .says(&["cannot be used with"]);
}

#[test]
fn every_mistake_in_the_configuration_is_told_at_once() {
    let data = folder();
    for verb in [&["tenants"][..], &["vault", "list"], &["connect", TENANT, "--account", "Contoso"], &["serve"]] {
        Start::muster(verb)
            .data(data.path())
            .env("MUSTER_CLOUD", "mars")
            .env("MUSTER_PAGE_SIZE", "0")
            .env("MUSTER_LOGIN_URL", "http://login.example.com")
            .finish()
            .exits(USAGE)
            .says(&["MUSTER_CLOUD", "`mars`", "MUSTER_PAGE_SIZE", "`0`", "MUSTER_LOGIN_URL", "https"]);
    }
    // A setting that is there but empty counts as not set.
    Start::muster(&["tenants"]).data(data.path()).env("MUSTER_CLOUD", "").finish().exits(0);
}

#[test]
fn half_a_vault_entry_is_refused_by_its_fields_and_nothing_is_stored() {
    let data = folder();
    let put =
        |entry: &str| Start::muster(&["vault", "put", "app"]).data(data.path()).input(entry).finish().exits(USAGE);
    put("{}").says(&["`client_id`", "`home_tenant_id`", "`credential`", "nothing was stored"]);
    put("").says(&["not JSON"]);
    put(&json!({"client_id": CLIENT, "credential": {"kind": "client_secret", "value": SECRET}}).to_string())
        .says(&["`home_tenant_id` is missing"]);
    put(&json!({"client_id": SECRET, "home_tenant_id": HOME, "credential": {"kind": "client_secret"}}).to_string())
        .says(&["`client_id` is not a GUID", "`credential.value` is missing"]);
    put(&json!({"client_id": CLIENT, "home_tenant_id": HOME, "credential": {"kind": SECRET.len()}}).to_string())
        .says(&["`credential.kind`"]);
    put(&"x".repeat((64 << 10) + 1)).says(&["64 KB"]);
    for name in ["App", "signing", "apps/", "apps/a/b", "tenants/contoso", "../app", ""] {
        Start::muster(&["vault", "put", name])
            .data(data.path())
            .input(&vault_entry().to_string())
            .finish()
            .exits(USAGE);
    }
    let listed = Start::muster(&["vault", "list"]).data(data.path()).finish().exits(0);
    assert_eq!(listed.stdout, "");
}

#[test]
fn the_vault_lists_names_stages_and_expiry_and_never_a_value() {
    let data = folder();
    let own = format!("tenants/{TENANT}");
    for name in ["app", "app", &own] {
        Start::muster(&["vault", "put", name]).data(data.path()).input(&vault_entry().to_string()).finish().exits(0);
    }
    // `finish` looks for the secret in every output; the data folder must not hold it either.
    let listed = Start::muster(&["vault", "list"]).data(data.path()).finish().exits(0).stdout;
    let lines = |name: &str, stage: &str| {
        listed.lines().filter(|line| line.contains(name) && line.contains(stage) && line.contains("2099-01-01")).count()
    };
    assert_eq!((lines("muster/app", "AWSCURRENT"), lines("muster/app", "AWSPREVIOUS")), (1, 1), "{listed}");
    assert_eq!((lines(&own, "AWSCURRENT"), lines(&own, "AWSPREVIOUS")), (1, 0), "{listed}");
    for entry in fs::read_dir(data.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = fs::read(&path).unwrap();
            let found = bytes.windows(SECRET.len()).any(|part| part == SECRET.as_bytes());
            assert!(!found, "the secret lies in {}", path.display());
        }
    }
}

#[test]
fn a_tenant_without_consent_is_not_connected_and_the_next_step_is_told() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let connect =
        |tenant: &str, account: &str| microsoft.muster(&["connect", tenant, "--account", account], data.path());
    connect(STRANGER, "Fabrikam").finish().exits(1).says(&[STRANGER, "is not connected", "administrator", "approve"]);
    assert_eq!(microsoft.tenants(data.path()), json!([]));
    for account in ["", "  ", "line\nbreak"] {
        connect(TENANT, account).finish().exits(USAGE).says(&["--account"]);
    }
    connect(TENANT, "Contoso").finish().exits(0);
    connect(TENANT, "Contoso").finish().exits(0);
    connect(TENANT, "Fabrikam").finish().exits(1).says(&["Contoso"]);
    assert_eq!(microsoft.tenants(data.path())[0]["account"], "Contoso");
}

#[test]
fn without_an_application_in_the_vault_nothing_is_connected() {
    let microsoft = Microsoft::new();
    let data = folder();
    let refused = microsoft.muster(&["connect", TENANT, "--account", "Contoso"], data.path()).finish().exits(1);
    refused.says(&["is not connected", "muster/app"]);
}

#[test]
fn storage_without_telemetry_and_telemetry_without_storage_are_wrong_usage() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let connect = |words: &[&str]| {
        microsoft
            .muster(&[&["connect", TENANT, "--account", "Contoso"], words].concat(), data.path())
            .finish()
            .exits(USAGE)
    };
    connect(&["--storage", STORAGE]).says(&["--feeds telemetry"]);
    connect(&["--feeds", "alerts,telemetry"]).says(&["--storage ACCOUNT/QUEUE"]);
    connect(&["--feeds", "telemetry", "--storage", "contosologs1"]).says(&["ACCOUNT/QUEUE"]);
    connect(&["--feeds", "telemetry", "--storage", "evil.example/queue"]).says(&["no storage account"]);
    let invite = microsoft.muster(&["invite", "Contoso", "--feeds", "alerts,telemetry"], data.path());
    let refused = invite.env("MUSTER_PUBLIC_URL", "https://muster.example.com").finish().exits(USAGE);
    refused.says(&["muster connect TENANT_ID", "--storage ACCOUNT/QUEUE"]);
    assert_eq!(microsoft.tenants(data.path()), json!([]));
}

#[test]
fn what_is_missing_is_told_one_a_line_and_what_is_there_stays() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let storage = StorageAccount::new("contosologs1", TENANT).with_queue("muster-hints");
    microsoft.simulator.world(|world| world.add_storage(storage));
    let connect = |feeds: &str| {
        let words = ["connect", TENANT, "--account", "Contoso", "--feeds", feeds];
        let storage: &[&str] = if feeds.contains("telemetry") { &["--storage", STORAGE] } else { &[] };
        microsoft.muster(&[&words, storage].concat(), data.path()).finish()
    };
    let refused = connect("alerts,machines,telemetry").exits(1).says(&["is not connected"]);
    let line = |text: &str, feed: &str, word: &str| {
        assert!(text.lines().any(|line| line.starts_with(feed) && line.contains(word)), "{feed} {word}: {text}");
    };
    line(&refused.stderr, "machines: ", "Machine.Read.All");
    line(&refused.stderr, "telemetry: ", "Storage Blob Data Reader");
    line(&refused.stderr, "telemetry: ", "Storage Queue Data Message Processor");
    assert_eq!(microsoft.tenants(data.path()), json!([]));

    connect("alerts").exits(0).says(&["its alerts flow"]);
    connect("machines").exits(1).says(&["stays as it was", "Machine.Read.All"]);
    microsoft.approves(&[ALERT_ROLE, MACHINE_ROLE]);
    connect("machines").exits(0).says(&["its machines flow", "a slower tick"]);
    microsoft.simulator.world(|world| {
        let storage = world.storage("contosologs1").unwrap();
        for role in [StorageRole::BlobDataReader, StorageRole::QueueDataMessageProcessor] {
            storage.assign(CLIENT, role, jiff::Timestamp::UNIX_EPOCH);
        }
    });
    // The export has not begun, which is nobody's fault.
    connect("telemetry").exits(0).says(&["is connected", "telemetry: Ask the customer to stream"]);
    let tenant = &microsoft.tenants(data.path())[0];
    assert_eq!(tenant["storage"], json!({"account_name": "contosologs1", "queue_name": "muster-hints"}));
    let status = |feed: &str| tenant["capabilities"][feed]["status"].as_str();
    assert_eq!(["alerts", "machines", "telemetry"].map(status), [Some("ok"), Some("ok"), Some("not_configured")]);
    let table = microsoft.muster(&["tenants"], data.path()).finish().exits(0).stdout;
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head[..6], ["account", "tenant", "state", "alerts", "machines", "telemetry"], "{table}");
}

#[test]
fn machines_that_vanish_in_a_crowd_are_shown_and_let_go_on_the_operators_word() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    microsoft.approves(&[ALERT_ROLE, MACHINE_ROLE]);
    let now = jiff::Timestamp::now();
    microsoft.tenant(|tenant| tenant.machines.bulk(40, now));
    let words = ["connect", TENANT, "--account", "Contoso", "--feeds", "alerts,machines"];
    microsoft.muster(&words, data.path()).finish().exits(0);
    let accept = || microsoft.muster(&["accept", TENANT], data.path());
    accept().finish().exits(0).says(&["No machine", "is held back"]);
    // Every start is a tick of the machines.
    let pulled = |known: u64, held: Option<u64>| {
        // A tick stands for a whole second, and one second's inventory is read once.
        let second = jiff::Timestamp::now().as_second();
        until("the second is over", || (jiff::Timestamp::now().as_second() > second).then_some(()));
        let serving = serve(&microsoft, data.path()).run();
        until("the machines are pulled", || {
            let machines = &microsoft.tenants(data.path())[0]["feeds"]["machines"];
            (machines["machines"] == json!(known) && machines["held"].as_u64() == held).then_some(())
        });
        serving.terminate().exits(0);
    };
    pulled(40, None);
    microsoft.tenant(|tenant| tenant.machines.bulk(1, now));
    pulled(40, Some(39));
    let table = microsoft.muster(&["tenants"], data.path()).finish().exits(0).stdout;
    for words in ["40 known", "muster accept"] {
        assert!(table.contains(words), "{words}: {table}");
    }
    accept().finish().exits(0).says(&["39 machines"]);
    pulled(1, None);
}

#[test]
fn only_a_tenant_with_machines_has_any_to_let_go() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let accept = || microsoft.muster(&["accept", TENANT], data.path()).finish();
    accept().exits(1).says(&["is not connected"]);
    microsoft.muster(&["connect", TENANT, "--account", "Contoso"], data.path()).finish().exits(0);
    accept().exits(1).says(&["without the feed machines"]);
}

/// The address that `muster serve` prints once it listens.
fn address(serving: &mut Running) -> String {
    until("muster serve prints its address", || {
        assert!(!serving.has_ended(), "{}", serving.stderr());
        let stderr = serving.stderr();
        let after = stderr.split_once("http://")?.1;
        Some(after.split_once(',')?.0.to_owned())
    })
}

/// Status line and body of one request.
fn get(address: &str, path: &str) -> (String, Value) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), serde_json::from_str(body).unwrap())
}

fn serve(microsoft: &Microsoft, data: &Path) -> Start {
    microsoft.muster(&["serve", "--listen", "127.0.0.1:0", "--tick", "1"], data)
}

#[test]
fn verbs_work_while_serve_runs_and_sigterm_ends_it_well() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let mut serving = serve(&microsoft, data.path()).run();
    let address = address(&mut serving);
    assert_eq!(get(&address, "/api/health"), ("HTTP/1.1 200 OK".to_owned(), json!({"status": "ok"})));
    assert_eq!(get(&address, "/api/unknown").0, "HTTP/1.1 401 Unauthorized");

    microsoft.muster(&["vault", "put", "console"], data.path()).input(&vault_entry().to_string()).finish().exits(0);
    microsoft.muster(&["vault", "list"], data.path()).finish().exits(0);
    microsoft.muster(&["connect", TENANT, "--account", "Contoso"], data.path()).finish().exits(0);
    microsoft.alerts(|alerts| alerts.put(Alert::new("da638000000000000001_1", jiff::Timestamp::now())));
    let tenants = until("the new tenant's alert is delivered", || {
        let tenants = microsoft.tenants(data.path());
        (tenants[0]["ledger"]["delivered"] == 1).then_some(tenants)
    });
    let tenant = &tenants.as_array().unwrap()[0];
    assert_eq!((&tenant["tenant_id"], &tenant["account"]), (&json!(TENANT), &json!("Contoso")));
    assert_eq!((&tenant["state"], &tenant["capabilities"]["alerts"]["status"]), (&json!("active"), &json!("ok")));
    assert!(tenant["watermark"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{tenant:#}");
    assert!((0..60).contains(&tenant["freshness_seconds"].as_i64().unwrap()), "{tenant:#}");
    for count in ["fetched", "delivered", "deduplicated", "quarantined"] {
        assert!(tenant["ledger"][count].is_u64(), "{count}: {tenant:#}");
    }
    let table = microsoft.muster(&["tenants"], data.path()).finish().exits(0).stdout;
    assert!(table.contains(TENANT) && table.contains("Contoso"), "{table}");

    let taken = microsoft.muster(&["serve", "--listen", &address], data.path()).finish().exits(1);
    taken.says(&[&address]);
    assert_eq!(get(&address, "/api/health").0, "HTTP/1.1 200 OK");
    let ended = serving.terminate().exits(0);
    assert!(TcpStream::connect(&address).is_err(), "it still listens: {ended:?}");
}

#[test]
fn the_most_talkative_log_does_not_tell_the_secret() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let words = ["connect", TENANT, "--account", "Contoso"];
    let connected = microsoft.muster(&words, data.path()).env("RUST_LOG", "trace").finish().exits(0);
    assert!(!connected.stderr.contains("eyJ"), "a bearer token was printed");
    microsoft.alerts(|alerts| alerts.put(Alert::new("da638000000000000001_1", jiff::Timestamp::now())));
    let serving = serve(&microsoft, data.path()).env("RUST_LOG", "trace").run();
    until("an alert is delivered", || (microsoft.tenants(data.path())[0]["ledger"]["delivered"] == 1).then_some(()));
    let ended = serving.terminate().exits(0);
    assert!(ended.stderr.contains("TRACE"), "the log was not talkative: {}", ended.stderr);
    assert!(!ended.stderr.contains("eyJ"), "a bearer token was printed");
}

#[test]
fn the_demo_tells_its_story_to_the_end() {
    let told = Start::muster(&["demo", "--once"]).finish().exits(0);
    for words in [
        "Proseware is invited",
        "The new secret has earned its tokens",
        "invited again",
        "the operator accepts that they are gone",
    ] {
        assert!(told.stderr.contains(words), "{words}: {}", told.stderr);
    }
    assert!(told.stdout.contains("Every ledger balances"), "{}", told.stdout);
    let proseware = told.stdout.lines().find(|line| line.starts_with("Proseware")).unwrap();
    assert!(proseware.contains("active"), "{proseware}");
    let contoso = told.stdout.lines().find(|line| line.starts_with("Contoso")).unwrap();
    assert!(contoso.contains("40 known") && contoso.contains("0 B behind"), "{contoso}");
}

#[test]
fn doctor_tells_what_is_well_and_what_to_do_and_changes_nothing() {
    let microsoft = Microsoft::new();
    let data = folder();
    // Nothing is made of a mistyped name.
    microsoft.muster(&["doctor"], &data.path().join("nowhere")).finish().exits(1).says(&["no data folder"]);
    assert!(!data.path().join("nowhere").exists());
    let data = microsoft.data_folder();
    let looked = microsoft.muster(&["doctor"], data.path()).finish().exits(1);
    let looked = looked.says(&["are not well"]);
    for words in ["✓ login, well", "✗ app, home tenant, NOT WELL", "To do: Correct `home_tenant_id`", "✓ signing, well"]
    {
        assert!(looked.stdout.contains(words), "{words}: {}", looked.stdout);
    }
    assert!(!looked.stdout.contains(SECRET) && !looked.stdout.contains("eyJ"), "{}", looked.stdout);
    let looked = microsoft.muster(&["doctor", "--json"], data.path()).finish().exits(1).stdout;
    let lines: Value = serde_json::from_str(&looked).unwrap();
    let home = lines.as_array().unwrap().iter().find(|line| line["check"] == "app, home tenant").unwrap();
    assert!(home["ok"] == false && home["fix"].as_str().unwrap().contains("home_tenant_id"), "{lines:#}");
}

#[test]
fn doctor_stores_nothing_anew_and_makes_no_key_where_the_vault_cannot_be_opened() {
    let microsoft = Microsoft::new();
    let data = microsoft.data_folder();
    let key = data.path().join("vault.key");
    fs::write(&key, [7; 32]).unwrap();
    let looked = microsoft.muster(&["doctor"], data.path()).finish().exits(1).stdout;
    for words in ["✗ app, NOT WELL", "✗ signing, NOT WELL", "To do: See that the vault can be read"] {
        assert!(looked.contains(words), "{words}: {looked}");
    }
    assert!(!looked.contains("muster vault put"), "what is stored is well: {looked}");
    fs::remove_file(&key).unwrap();
    for verb in [&["doctor"][..], &["tenants"], &["vault", "list"]] {
        let refused = microsoft.muster(verb, data.path()).finish();
        assert!(!refused.status.success() && !key.exists(), "{verb:?}");
    }
    microsoft.muster(&["doctor"], data.path()).finish().exits(1).says(&["vault.key", "restore it from your backup"]);
}

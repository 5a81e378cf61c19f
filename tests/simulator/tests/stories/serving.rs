//! Stories over TCP: the same simulator with a socket in between, and the program around it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::stage::*;
use crate::storage_stage;
use simulator::{Alert, Fault, Route, Simulator};
use tokio::runtime::Runtime;

/// Serves on a free loopback port until the runtime is dropped.
fn serve(simulator: &Simulator) -> (Runtime, SocketAddr) {
    let runtime = Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    runtime.spawn(simulator::serve::serve(simulator.clone(), listener));
    (runtime, address)
}

/// Everything the server sends until it closes; the client asks it to.
fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get_over_tcp(address: SocketAddr, bearer: &str, target: &str) -> String {
    exchange(
        address,
        &format!("GET {target} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {bearer}\r\nConnection: close\r\n\r\n"),
    )
}

fn post_over_tcp(address: SocketAddr, target: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    exchange(
        address,
        &format!(
            "POST {target} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        ),
    )
}

#[test]
fn answers_travel_with_the_simulator_s_own_date() {
    let simulator = simulator();
    simulator.world(|world| world.tenant(TENANT).unwrap().alerts.put(Alert::new("da1_1", noon())));
    let bearer = bearer(&simulator);
    let (_runtime, address) = serve(&simulator);
    let answer = get_over_tcp(address, &bearer, "/api/alerts");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert_eq!(answer.to_lowercase().matches("\r\ndate: ").count(), 1);
    assert!(answer.contains("Mon, 01 Jun 2026 12:00:00 GMT"));
    assert!(answer.contains("da1_1") && answer.ends_with("0\r\n\r\n"));
}

#[test]
fn a_person_with_a_browser_and_no_script_approves_and_signs_in() {
    let simulator = people();
    let (_runtime, address) = serve(&simulator);
    let target = |link: String| link.split_once(LOGIN).unwrap().1.to_owned();
    let consent = target(consent_link());
    let page = get_over_tcp(address, "", &consent);
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("<form method=\"post\">"), "{page}");
    assert!(
        page.contains(&format!("<input type=\"radio\" name=\"user\" value=\"{ADMIN}\" required id=\"user-{ADMIN}\">")),
        "{page}"
    );
    // Who cancels need not choose an account first.
    assert!(page.contains("value=\"cancel\" formnovalidate"), "{page}");
    let header = |answer: &str, name: &str| {
        let line =
            answer.lines().find(|line| line.to_lowercase().starts_with(&format!("{name}: "))).unwrap().to_owned();
        line.split_once(": ").unwrap().1.to_owned()
    };
    for (form, expected) in [
        ("action=cancel".to_owned(), "error_subcode"),
        (format!("user={ADMIN}&action=decline"), "error_description"),
        (format!("user={ADMIN}&action=approve"), "tenant"),
    ] {
        let redirect = post_over_tcp(address, &consent, "application/x-www-form-urlencoded", &form);
        assert!(redirect.starts_with("HTTP/1.1 302 Found\r\n"), "{redirect}");
        assert!(answer(&header(&redirect, "location")).contains_key(expected), "{redirect}");
    }
    let approved = format!("user={ADMIN}&action=approve");
    let approved = post_over_tcp(address, &consent, "application/x-www-form-urlencoded", &approved);
    let cookie = header(&approved, "set-cookie").split(';').next().unwrap().to_owned();
    let sign_in = target(sign_in_link(TENANT, &[]));
    let silent = exchange(
        address,
        &format!("GET {sign_in} HTTP/1.1\r\nHost: {address}\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"),
    );
    assert!(silent.starts_with("HTTP/1.1 302 Found\r\n"), "{silent}");
    assert!(answer(&header(&silent, "location")).contains_key("code"));
    assert!(simulator.refusals().is_empty());
}

#[test]
fn a_cut_breaks_the_connection_and_a_truncation_does_not() {
    let simulator = simulator();
    simulator.world(|world| {
        world.tenant(TENANT).unwrap().alerts.put(Alert::new("da1_1", noon()));
        world.script(Route::Alerts, [Fault::Broken { after: 50 }, Fault::Truncated { after: 50 }]);
    });
    let bearer = bearer(&simulator);
    let (_runtime, address) = serve(&simulator);
    let broken = get_over_tcp(address, &bearer, "/api/alerts");
    assert!(!broken.ends_with("0\r\n\r\n"), "{broken}");
    let truncated = get_over_tcp(address, &bearer, "/api/alerts");
    assert!(truncated.ends_with("0\r\n\r\n") && !truncated.contains("lastUpdateTime"), "{truncated}");
}

#[test]
fn a_pause_takes_the_time_it_says() {
    let simulator = simulator();
    let pause = jiff::SignedDuration::from_millis(60);
    simulator.world(|world| world.script(Route::Alerts, [Fault::Slow { pause, chunk: 50 }]));
    let bearer = bearer(&simulator);
    let (_runtime, address) = serve(&simulator);
    let started = Instant::now();
    let answer = get_over_tcp(address, &bearer, "/api/alerts");
    assert!(answer.ends_with("0\r\n\r\n"));
    assert!(started.elapsed() >= Duration::from_millis(120), "{:?}", started.elapsed());
}

#[test]
fn storage_travels_byte_for_byte_and_a_head_without_its_body() {
    use storage_stage::{ACCOUNT, CONTAINER, QUEUE, account, blob_target, queue_target, storage, storage_bearer};
    let simulator = storage();
    let bytes: Vec<u8> = (0..200_000_u32).map(|number| (number % 251) as u8).collect();
    account(&simulator, |account| {
        bytes.chunks(36_000).for_each(|block| account.append(CONTAINER, "a/b", block.to_vec()));
        account.queue(QUEUE).unwrap().put_raw("hint");
    });
    let bearer = storage_bearer(&simulator, TENANT);
    let (_runtime, address) = serve(&simulator);
    let ask = |method: &str, target: &str, headers: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head =
            format!("Host: {address}\r\nAuthorization: {bearer}\r\nx-ms-version: 2026-04-06\r\nConnection: close");
        stream.write_all(format!("{method} {target} HTTP/1.1\r\n{head}\r\n{headers}\r\n").as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8(answer[..end].to_vec()).unwrap().to_lowercase(), answer[end + 4..].to_vec())
    };
    let (head, body) = ask("GET", &blob_target("a/b"), "Range: bytes=100-\r\n");
    assert!(head.starts_with("http/1.1 206 ") && head.contains("\r\ncontent-length: 199900"), "{head}");
    assert!(head.contains("\r\ncontent-range: bytes 100-199999/200000"), "{head}");
    assert!(body == bytes[100..], "the bytes are others");
    let (head, body) = ask("HEAD", &blob_target("a/b"), "");
    assert!(head.starts_with("http/1.1 200 ") && head.contains("\r\ncontent-length: 200000"), "{head}");
    assert_eq!(body, b"");
    let (head, body) = ask("HEAD", &blob_target("none"), "");
    assert!(head.starts_with("http/1.1 404 ") && head.contains("\r\nx-ms-error-code: blobnotfound"), "{head}");
    assert_eq!(body, b"");
    let (_, body) = ask("GET", &queue_target(""), "");
    let xml = String::from_utf8(body).unwrap();
    let [id, receipt] = ["MessageId", "PopReceipt"].map(|name| storage_stage::elements(&xml, name).pop().unwrap());
    let target = queue_target(&format!("/{id}?popreceipt={}", storage_stage::escaped(&receipt)));
    let (head, _) = ask("DELETE", &target, "");
    assert!(head.starts_with("http/1.1 204 "), "{head}");
    simulator.world(|world| world.script(Route::Blob, [Fault::Broken { after: 70_000 }]));
    let (head, body) = ask("GET", &blob_target("a/b"), "");
    assert!(head.contains("\r\ncontent-length: 200000"), "{head}");
    assert!(body == bytes[..70_000], "{} bytes left before the cut", body.len());
    assert!(simulator.refusals().is_empty());
    let (head, _) = ask("PUT", &format!("/storage/{ACCOUNT}/blob/{CONTAINER}/new"), "Content-Length: 0\r\n");
    assert!(head.starts_with("http/1.1 501 "), "{head}");
}

#[test]
fn the_program_serves_the_example_world_and_takes_orders() {
    let world = concat!(env!("CARGO_MANIFEST_DIR"), "/example-world.json");
    let mut program = Command::new(env!("CARGO_BIN_EXE_simulator"))
        .args(["--listen", "127.0.0.1:0", "--world", world])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(program.stderr.take().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().rsplit_once("http://").unwrap().1.parse().unwrap();

    let json = "application/json";
    let form = format!(
        "client_id={CLIENT}&client_secret=an-example-secret-of-the-simulator&grant_type=client_credentials&scope={SCOPE}"
    );
    let ask = || {
        let answer =
            post_over_tcp(address, &format!("/{TENANT}/oauth2/v2.0/token"), "application/x-www-form-urlencoded", &form);
        let body: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        format!("Bearer {}", body["access_token"].as_str().unwrap())
    };
    let bearer = ask();
    assert!(get_over_tcp(address, &bearer, "/api/alerts?$top=1").contains("\"value\":[{"));
    let faults =
        r#"{"route":"alerts","faults":[{"throttled":{"seconds":3,"header":true,"words":false}},{"status":503}]}"#;
    assert!(post_over_tcp(address, "/_simulator/faults", json, faults).contains("\"done\":true"));
    assert!(get_over_tcp(address, &bearer, "/api/alerts").starts_with("HTTP/1.1 429"));
    assert!(get_over_tcp(address, &bearer, "/api/alerts").starts_with("HTTP/1.1 503"));
    let alert = format!(r#"{{"tenant":"{TENANT}","alert":{{"id":"da7_7","fields":{{"severity":"Low"}}}}}}"#);
    assert!(post_over_tcp(address, "/_simulator/alerts", json, &alert).contains("\"done\":true"));
    assert!(get_over_tcp(address, &bearer, "/api/alerts/da7_7").contains("\"severity\":\"Low\""));
    let form = form.replace(SCOPE, "https://storage.azure.com/.default");
    let path = format!("/{TENANT}/oauth2/v2.0/token");
    let answer = post_over_tcp(address, &path, "application/x-www-form-urlencoded", &form);
    let token: serde_json::Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
    let for_storage = format!("Bearer {}\r\nx-ms-version: 2026-04-06", token["access_token"].as_str().unwrap());
    let blob = r#"{"account":"contosotelemetry","blob":{"container":"c","name":"b","text":"line"}}"#;
    assert!(post_over_tcp(address, "/_simulator/blobs", json, blob).contains("\"done\":true"));
    assert!(get_over_tcp(address, &for_storage, "/storage/contosotelemetry/blob/c/b").ends_with("\r\n\r\nline"));
    let hints = get_over_tcp(address, &for_storage, "/storage/contosotelemetry/queue/defender-events/messages");
    assert_eq!(storage_stage::elements(&hints, "MessageText").len(), 1);
    assert!(post_over_tcp(address, "/_simulator/clock", json, r#"{"advance_seconds":7200}"#).contains("\"now\""));
    assert!(get_over_tcp(address, &bearer, "/api/alerts").starts_with("HTTP/1.1 401"));
    assert!(get_over_tcp(address, &ask(), "/api/alerts?$top=1").starts_with("HTTP/1.1 200"));
    assert!(post_over_tcp(address, "/_simulator/clock", json, r#"{"advance":1}"#).starts_with("HTTP/1.1 400"));
    assert!(get_over_tcp(address, "", "/nowhere").starts_with("HTTP/1.1 501"));
    assert!(get_over_tcp(address, "", "/_simulator/refusals").contains("GET /nowhere"));
    assert!(get_over_tcp(address, "", "/_simulator/log").contains("client_secret"));
    program.kill().unwrap();
    program.wait().unwrap();
}

//! Stories of the queue service: hints are leased, come back, and vanish; Event Grid speaks once for each blob.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::stage::*;
use crate::storage_stage::*;
use simulator::{Fault, Request, Response, Route, StorageRole};

fn put(simulator: &simulator::Simulator, texts: &[&str]) {
    account(simulator, |account| texts.iter().for_each(|text| account.queue(QUEUE).unwrap().put_raw(text)));
}

/// Id, receipt, dequeue count and text of each message.
fn messages(response: Response) -> Vec<[String; 4]> {
    assert!(matches!(response.status, 200 | 201), "{}", response.status);
    let xml = text(response);
    assert!(xml.starts_with("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessagesList"), "{xml}");
    let one = |message: &str, name| elements(message, name).pop().unwrap_or_default();
    let parts: Vec<&str> = xml.split("<QueueMessage>").skip(1).collect();
    parts
        .iter()
        .map(|part| ["MessageId", "PopReceipt", "DequeueCount", "MessageText"].map(|name| one(part, name)))
        .collect()
}

#[test]
fn a_message_is_leased_comes_back_and_is_deleted_by_its_latest_receipt() {
    let simulator = storage();
    put(&simulator, &["a<&>", "b"]);
    let receive = |query: &str| messages(send(&simulator, "GET", &queue_target(query)));
    let first = receive("").remove(0);
    assert_eq!((first[2].as_str(), first[3].as_str()), ("1", "a<&>"), "one message, for 30 seconds, by default");
    assert_eq!(receive("?numofmessages=32&visibilitytimeout=60").len(), 1);
    assert!(receive("").is_empty());
    simulator.advance(seconds(30));
    let again = receive("?numofmessages=32&visibilitytimeout=60").remove(0);
    assert_eq!((&again[0], again[2].as_str()), (&first[0], "2"));

    let delete = |message: &[String; 4]| {
        let target = queue_target(&format!("/{}?popreceipt={}", message[0], escaped(&message[1])));
        send(&simulator, "DELETE", &target)
    };
    assert_eq!(refusal(delete(&first)), (400, "PopReceiptMismatch".into()));
    let deleted = delete(&again);
    assert_eq!(deleted.status, 204);
    assert_eq!(text(deleted), "");
    assert_eq!(refusal(delete(&again)), (404, "MessageNotFound".into()));
    let unescaped = queue_target(&format!("/{}?popreceipt={}", first[0], again[1]));
    assert_eq!(refusal(send(&simulator, "DELETE", &unescaped)), (404, "MessageNotFound".into()));
    let none = queue_target(&format!("/{}", first[0]));
    assert_eq!(refusal(send(&simulator, "DELETE", &none)), (400, "MissingRequiredQueryParameter".into()));
    assert_eq!(account(&simulator, |account| account.queue(QUEUE).unwrap().texts()), ["b"]);
}

#[test]
fn a_receipt_that_was_not_escaped_is_another_receipt() {
    let simulator = storage();
    put(&simulator, &["a"]);
    let message = messages(send(&simulator, "GET", &queue_target(""))).remove(0);
    let target = queue_target(&format!("/{}?popreceipt={}", message[0], message[1]));
    assert_eq!(refusal(send(&simulator, "DELETE", &target)), (400, "PopReceiptMismatch".into()));
}

#[test]
fn peeking_takes_no_lease_and_shows_no_receipt() {
    let simulator = storage();
    put(&simulator, &["a", "b", "c"]);
    let peek = || messages(send(&simulator, "GET", &queue_target("?peekonly=true&numofmessages=2")));
    let peeked = peek();
    assert_eq!(peeked, peek());
    assert_eq!(peeked.len(), 2);
    assert!(peeked.iter().all(|message| message[1].is_empty() && message[2] == "0"), "{peeked:?}");
    messages(send(&simulator, "GET", &queue_target("?numofmessages=2")));
    assert_eq!(peek()[0][3], "c", "what is leased is not seen");
}

#[test]
fn a_message_nobody_deletes_is_gone_after_seven_days() {
    let simulator = storage();
    put(&simulator, &["a"]);
    simulator.advance(seconds(7 * 86_400 - 1));
    assert_eq!(messages(send(&simulator, "GET", &queue_target("?peekonly=true"))).len(), 1);
    simulator.advance(seconds(1));
    let empty = send(&simulator, "GET", &queue_target(""));
    assert_eq!(empty.status, 200);
    assert!(text(empty).ends_with("<QueueMessagesList />"));
}

#[test]
fn numbers_out_of_their_range_are_named_with_the_range() {
    let simulator = storage();
    for (query, least, most) in [
        ("?numofmessages=33", 1, 32),
        ("?numofmessages=0", 1, 32),
        ("?peekonly=true&numofmessages=33", 1, 32),
        ("?visibilitytimeout=0", 1, 604_800),
        ("?visibilitytimeout=604801", 1, 604_800),
    ] {
        let response = send(&simulator, "GET", &queue_target(query));
        assert_eq!(response.header("x-ms-error-code"), Some("OutOfRangeQueryParameterValue"), "{query}");
        let xml = text(response);
        assert_eq!(
            (elements(&xml, "MinimumAllowed"), elements(&xml, "MaximumAllowed")),
            (vec![least.to_string()], vec![most.to_string()])
        );
    }
    let no_number = send(&simulator, "GET", &queue_target("?numofmessages=all"));
    assert_eq!(refusal(no_number), (400, "InvalidQueryParameterValue".into()));
    account(&simulator, |account| account.delete_queue(QUEUE));
    assert_eq!(refusal(send(&simulator, "GET", &queue_target(""))), (404, "QueueNotFound".into()));
}

#[test]
fn each_role_opens_what_it_opens_and_nothing_else() {
    use StorageRole::*;
    let body = "<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessage><MessageText>eA==</MessageText></QueueMessage>";
    for (role, allowed) in [
        (QueueDataMessageProcessor, [true, true, true, false, false]),
        (QueueDataReader, [true, false, false, false, false]),
        (QueueDataMessageSender, [false, false, false, true, false]),
        (QueueDataContributor, [true; 5]),
        (BlobDataReader, [false; 5]),
        (Contributor, [false; 5]),
    ] {
        let simulator = storage();
        account(&simulator, |account| {
            account.unassign(CLIENT, BlobDataReader);
            account.unassign(CLIENT, QueueDataMessageProcessor);
            account.assign(CLIENT, role, noon());
        });
        let targets = [
            ("GET", "?peekonly=true"),
            ("GET", ""),
            ("DELETE", "/00000000-0000-4000-8000-000000000001?popreceipt=x"),
            ("POST", ""),
            ("PUT", "/00000000-0000-4000-8000-000000000001?popreceipt=x&visibilitytimeout=1"),
        ];
        let opened = targets.map(|(method, rest)| {
            let request = request(&simulator, method, &queue_target(rest));
            let request = if method == "POST" { Request { body: body.into(), ..request } } else { request };
            let response = simulator.handle(request);
            response.header("x-ms-error-code") != Some("AuthorizationPermissionMismatch")
        });
        assert_eq!(opened, allowed, "{role:?}");
        assert!(simulator.refusals().is_empty());
    }
}

#[test]
fn a_sender_puts_and_a_contributor_updates() {
    let simulator = storage();
    account(&simulator, |account| account.assign(CLIENT, StorageRole::QueueDataContributor, noon()));
    let send = |method: &str, rest: &str, body: &str| {
        simulator.handle(Request { body: body.into(), ..request(&simulator, method, &queue_target(rest)) })
    };
    let text_of = |text: &str| format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
    let sent = send("POST", "?visibilitytimeout=5&messagettl=10", &text_of("a &lt;b&gt;"));
    assert_eq!(sent.status, 201);
    let message = messages(sent).remove(0);
    assert!(!message[1].is_empty() && message[3].is_empty(), "{message:?}");
    assert!(messages(send("GET", "", "")).is_empty(), "hidden for five seconds");
    let receipt = escaped(&message[1]);
    let updated = send("PUT", &format!("/{}?popreceipt={receipt}&visibilitytimeout=0", message[0]), &text_of("c"));
    assert_eq!(updated.status, 204);
    let receipt = updated.header("x-ms-popreceipt").unwrap().to_owned();
    assert_ne!(receipt, message[1]);
    assert!(updated.header("x-ms-time-next-visible").is_some());
    assert_eq!(messages(send("GET", "?peekonly=true", ""))[0][3], "c");
    simulator.advance(seconds(10));
    assert!(account(&simulator, |account| account.queue(QUEUE).unwrap().is_empty()));
    for bad in
        ["", "text", "<QueueMessage></QueueMessage>", "<QueueMessage><MessageText>a&b</MessageText></QueueMessage>"]
    {
        assert_eq!(refusal(send("POST", "", bad)), (400, "InvalidXmlDocument".into()), "{bad}");
    }
    assert_eq!(send("POST", "", &text_of(&"x".repeat(65_536))).status, 201);
    let large = text_of(&"x".repeat(65_537));
    assert_eq!(refusal(send("POST", "", &large)), (413, "RequestBodyTooLarge".into()));
}

#[test]
fn event_grid_announces_a_blob_once_and_is_silent_when_it_grows() {
    let simulator = storage();
    account(&simulator, |account| {
        account.subscribe(CONTAINER, QUEUE);
        account.append(CONTAINER, "y=2026/PT1H.json", "first");
        account.append(CONTAINER, "y=2026/PT1H.json", "second");
        account.append("another-container", "b", "x");
    });
    let texts = account(&simulator, |account| account.queue(QUEUE).unwrap().texts());
    assert_eq!(texts.len(), 1);
    let event: Value = serde_json::from_slice(&STANDARD.decode(&texts[0]).unwrap()).unwrap();
    assert_eq!(event["eventType"], "Microsoft.Storage.BlobCreated");
    assert_eq!(event["subject"], format!("/blobServices/default/containers/{CONTAINER}/blobs/y=2026/PT1H.json"));
    assert_eq!(event["data"]["blobType"], "AppendBlob");
    account(&simulator, |account| account.replace(CONTAINER, "y=2026/PT1H.json", "new"));
    assert_eq!(account(&simulator, |account| account.queue(QUEUE).unwrap().len()), 2);
}

#[test]
fn a_queue_has_faults_of_its_own() {
    let simulator = storage();
    put(&simulator, &["a"]);
    simulator.world(|world| {
        world.script(Route::QueueReceive, [Fault::Status(503), Fault::Status(404), Fault::Broken { after: 10 }]);
        world.script(Route::QueuePeek, [Fault::Status(409)]);
        world.script(Route::QueueDelete, [Fault::Status(404)]);
    });
    let get = |rest: &str| send(&simulator, "GET", &queue_target(rest));
    assert_eq!(refusal(get("")), (503, "ServerBusy".into()));
    assert_eq!(refusal(get("")), (404, "QueueNotFound".into()));
    assert_eq!(refusal(get("?peekonly=true")), (409, "QueueBeingDeleted".into()));
    get("");
    assert!(messages(get("")).is_empty(), "whose answer was lost has its lease all the same");
    let delete = send(&simulator, "DELETE", &queue_target("/1?popreceipt=x"));
    assert_eq!(refusal(delete), (404, "MessageNotFound".into()));
}

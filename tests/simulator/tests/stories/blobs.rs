//! Stories of the blob service: lists page by page, ranges, changes, and who is let in.

use crate::stage::*;
use crate::storage_stage::*;
use simulator::{Chunk, Fault, Request, Route, StorageAccount, StorageRole};

const BLOB: &str = "tenantId=00000000-0000-4000-8000-0000000000aa/y=2026/m=06/d=01/h=12/m=00/PT1H.json";

#[test]
fn a_range_is_answered_exactly_and_the_end_is_no_content() {
    let simulator = storage();
    account(&simulator, |account| {
        account.append(CONTAINER, BLOB, "0123456789");
        account.append(CONTAINER, BLOB, "abcde");
    });
    let ask = |header: &str, range: &str| {
        simulator.handle(request(&simulator, "GET", &blob_target(BLOB)).with(header, range))
    };
    let part = ask("x-ms-range", "bytes=8-");
    assert_eq!(part.status, 206);
    for (header, value) in [
        ("Content-Range", "bytes 8-14/15"),
        ("Content-Length", "7"),
        ("x-ms-blob-type", "AppendBlob"),
        ("x-ms-blob-committed-block-count", "2"),
        ("x-ms-creation-time", "Mon, 01 Jun 2026 12:00:00 GMT"),
        ("Last-Modified", "Mon, 01 Jun 2026 12:00:00 GMT"),
        ("Date", "Mon, 01 Jun 2026 12:00:00 GMT"),
        ("x-ms-version", VERSION),
    ] {
        assert_eq!(part.header(header), Some(value), "{header}");
    }
    assert!(part.header("x-ms-request-id").is_some());
    assert_eq!(text(part), "89abcde");
    assert_eq!(text(ask("Range", "bytes=3-4")), "34");
    let clamped = ask("Range", "bytes=3-8796093022307");
    assert_eq!(clamped.header("Content-Range"), Some("bytes 3-14/15"));
    let whole = send(&simulator, "GET", &blob_target(BLOB));
    assert_eq!((whole.status, whole.header("Content-Range")), (200, None));
    assert_eq!(text(whole), "0123456789abcde");
    for beyond in ["bytes=15-", "bytes=16-20"] {
        let response = ask("Range", beyond);
        assert_eq!(response.header("Content-Range"), Some("bytes */15"));
        assert_eq!(refusal(response), (416, "InvalidRange".into()));
    }
    let head = simulator.handle(request(&simulator, "HEAD", &blob_target(BLOB)).with("Range", "bytes=3-"));
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("15")), "properties are the whole blob's");
    account(&simulator, |account| account.create_append_blob(CONTAINER, "empty"));
    let empty = simulator.handle(request(&simulator, "GET", &blob_target("empty")).with("Range", "bytes=0-"));
    assert_eq!(refusal(empty), (416, "InvalidRange".into()));
    assert_eq!(text(send(&simulator, "GET", &blob_target("empty"))), "");
    assert!(simulator.refusals().is_empty(), "{:?}", simulator.refusals());
}

#[test]
fn an_etag_holds_until_the_next_append_and_a_creation_time_until_the_blob_is_replaced() {
    let simulator = storage();
    account(&simulator, |account| account.append(CONTAINER, BLOB, "one"));
    let head = || send(&simulator, "HEAD", &blob_target(BLOB));
    let etag = head().header("ETag").unwrap().to_owned();
    assert!(etag.starts_with("\"0x8D") && etag.ends_with('"'), "{etag}");
    let conditional = || {
        simulator
            .handle(request(&simulator, "GET", &blob_target(BLOB)).with("If-Match", &etag).with("Range", "bytes=1-"))
    };
    assert_eq!(conditional().status, 206);
    simulator.advance(seconds(60));
    account(&simulator, |account| account.append(CONTAINER, BLOB, "two"));
    assert_eq!(refusal(conditional()), (412, "ConditionNotMet".into()));
    let times = || {
        let head = head();
        [head.header("x-ms-creation-time").unwrap().to_owned(), head.header("Last-Modified").unwrap().to_owned()]
    };
    assert_eq!(times(), ["Mon, 01 Jun 2026 12:00:00 GMT", "Mon, 01 Jun 2026 12:01:00 GMT"]);
    simulator.advance(seconds(60));
    account(&simulator, |account| account.replace(CONTAINER, BLOB, "other"));
    assert_eq!(times(), ["Mon, 01 Jun 2026 12:02:00 GMT"; 2]);
    account(&simulator, |account| {
        account.shrink(CONTAINER, BLOB, 2);
        account.set_creation_time(CONTAINER, BLOB, at("2026-05-01T00:00:00Z"));
    });
    assert_eq!(times()[0], "Fri, 01 May 2026 00:00:00 GMT");
    assert_eq!(head().header("Content-Length"), Some("2"));
    account(&simulator, |account| account.delete_blob(CONTAINER, BLOB));
    let gone = head();
    assert_eq!((gone.status, gone.header("x-ms-error-code")), (404, Some("BlobNotFound")));
    assert_eq!(text(gone), "", "an answer to HEAD has no body");
}

#[test]
fn a_list_goes_on_page_by_page_from_its_marker() {
    let simulator = storage();
    account(&simulator, |account| {
        for hour in ["10", "11", "12", "13", "14"] {
            account.append(CONTAINER, &format!("h={hour}/a&b.json"), "x".repeat(hour.parse().unwrap()));
        }
        account.append(CONTAINER, "other", "");
        account.list_page = 3;
    });
    let mut pages = Vec::new();
    let mut marker = String::new();
    loop {
        let query = format!("&prefix={}&maxresults=2&marker={}", escaped("h="), escaped(&marker));
        let response = send(&simulator, "GET", &list_target(&query));
        assert_eq!((response.status, response.header("Content-Type")), (200, Some("application/xml")));
        let page = text(response);
        assert!(page.starts_with("\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults "), "{page}");
        pages.push(elements(&page, "Name"));
        let Some(next) = elements(&page, "NextMarker").pop() else { break };
        assert!(next.contains('!'), "a marker has to be escaped: {next}");
        marker = next;
    }
    assert_eq!(
        pages,
        [vec!["h=10/a&b.json", "h=11/a&b.json"], vec!["h=12/a&b.json", "h=13/a&b.json"], vec!["h=14/a&b.json"]]
    );
    let most = text(send(&simulator, "GET", &list_target("&maxresults=9999")));
    assert_eq!(elements(&most, "Name").len(), 3, "a page may be shorter than asked for");
    assert_eq!(elements(&most, "Content-Length"), ["10", "11", "12"]);
    assert_eq!(elements(&most, "BlobType"), ["AppendBlob"; 3]);
    assert_eq!(elements(&most, "Creation-Time"), ["Mon, 01 Jun 2026 12:00:00 GMT"; 3]);
    assert!(elements(&most, "Etag").iter().all(|etag| etag.starts_with("0x8D")));
    for (query, code) in [
        ("&maxresults=0", "OutOfRangeQueryParameterValue"),
        ("&maxresults=many", "OutOfRangeQueryParameterValue"),
        ("&marker=anything", "InvalidQueryParameterValue"),
    ] {
        assert_eq!(refusal(send(&simulator, "GET", &list_target(query))), (400, code.into()), "{query}");
    }
    account(&simulator, |account| account.delete_container(CONTAINER));
    for target in [list_target(""), blob_target("other")] {
        assert_eq!(refusal(send(&simulator, "GET", &target)), (404, "ContainerNotFound".into()));
    }
}

#[test]
fn a_page_that_ends_with_the_last_blob_has_no_marker() {
    let simulator = storage();
    account(&simulator, |account| {
        account.append(CONTAINER, "a", "");
        account.append(CONTAINER, "b", "");
    });
    for (query, names) in [("&maxresults=2", 2), ("&maxresults=2&prefix=b", 1), ("&prefix=none", 0)] {
        let page = text(send(&simulator, "GET", &list_target(query)));
        assert_eq!((elements(&page, "Name").len(), page.contains("<NextMarker />")), (names, true), "{query}");
    }
}

#[test]
fn only_a_token_for_storage_from_the_account_s_own_tenant_is_believed() {
    let simulator = storage();
    simulator.world(|world| {
        world.add_tenant(simulator::Tenant::new(OTHER, "Fabrikam").consented(CLIENT, &[], noon()));
    });
    account(&simulator, |account| account.append(CONTAINER, BLOB, "x"));
    let ask = |authorization: &str| {
        let request = Request::get(&blob_target(BLOB)).with("x-ms-version", VERSION);
        simulator.handle(if authorization.is_empty() { request } else { request.with("Authorization", authorization) })
    };
    let good = storage_bearer(&simulator, TENANT);
    assert_eq!(ask(&good).status, 200);
    let other = storage_bearer(&simulator, OTHER);
    let forged = format!("{}.{}", good.rsplit_once('.').unwrap().0, other.rsplit_once('.').unwrap().1);
    let wrong = "InvalidAuthenticationInfo";
    for (authorization, code, words) in [
        (bearer(&simulator), wrong, "Audience validation failed"),
        (other, wrong, "Issuer validation failed"),
        (forged, wrong, "Signature validation failed"),
        (String::new(), "NoAuthenticationInformation", "www-authenticate"),
    ] {
        let response = ask(&authorization);
        let challenge = response.header("WWW-Authenticate").unwrap().to_owned();
        assert!(challenge.contains(TENANT) && challenge.contains("https://storage.azure.com"), "{challenge}");
        assert_eq!((response.status, response.header("x-ms-error-code")), (401, Some(code)));
        let body = text(response);
        assert!(body.contains(words), "{body}");
    }
    simulator.advance(seconds(3600));
    assert!(text(ask(&good)).contains("Lifetime validation failed. The token is expired."));
    let claims = payload(good.strip_prefix("Bearer ").unwrap());
    assert_eq!((&claims["aud"], claims.get("roles")), (&"https://storage.azure.com".into(), None));
}

#[test]
fn without_a_version_bearer_tokens_are_unheard_of() {
    let simulator = storage();
    let bearer = storage_bearer(&simulator, TENANT);
    let ask = |version: Option<&str>| {
        let request = Request::get(&list_target("")).with("Authorization", &bearer);
        simulator.handle(version.map(|version| request.clone().with("x-ms-version", version)).unwrap_or(request))
    };
    for good in ["2017-11-09", "2025-11-05", "2026-04-06"] {
        assert_eq!(ask(Some(good)).status, 200, "{good}");
    }
    for old in [None, Some("2017-07-29")] {
        assert_eq!(refusal(ask(old)), (403, "AuthenticationFailed".into()));
    }
    for bad in ["2099-01-01", "latest", "2025-1-05"] {
        assert_eq!(refusal(ask(Some(bad))), (400, "InvalidHeaderValue".into()), "{bad}");
    }
}

#[test]
fn a_missing_role_and_a_firewall_are_told_apart() {
    let simulator = storage();
    account(&simulator, |account| {
        account.append(CONTAINER, BLOB, "x");
        account.unassign(CLIENT, StorageRole::BlobDataReader);
    });
    let (list, read) = (list_target(""), blob_target(BLOB));
    let ask = |target: &str| refusal(send(&simulator, "GET", target));
    let mismatch = (403, "AuthorizationPermissionMismatch".to_owned());
    assert_eq!((ask(&list), ask(&read)), (mismatch.clone(), mismatch.clone()));
    // Whoever owns the account in Resource Manager sees what there is, and may not look into it.
    account(&simulator, |account| account.assign(CLIENT, StorageRole::Contributor, noon()));
    assert_eq!((send(&simulator, "GET", &list).status, ask(&read)), (200, mismatch.clone()));
    // An assignment takes minutes.
    account(&simulator, |account| account.assign(CLIENT, StorageRole::BlobDataReader, noon() + seconds(300)));
    assert_eq!(ask(&read), mismatch);
    simulator.advance(seconds(300));
    assert_eq!(send(&simulator, "GET", &read).status, 200);
    account(&simulator, |account| account.firewall = true);
    let firewall = (403, "AuthorizationFailure".to_owned());
    assert_eq!((ask(&list), ask(&read)), (firewall.clone(), firewall));
}

#[test]
fn a_write_to_a_customer_s_blob_is_remembered() {
    let simulator = storage();
    account(&simulator, |account| account.append(CONTAINER, BLOB, "x"));
    for (method, target) in [
        ("DELETE", blob_target(BLOB)),
        ("PUT", blob_target("new")),
        ("PUT", format!("{}?comp=appendblock", blob_target(BLOB))),
        ("DELETE", format!("/storage/{ACCOUNT}/blob/{CONTAINER}?restype=container")),
    ] {
        simulator.world(|world| world.script(Route::Blob, [Fault::Status(503)]));
        assert_eq!(send(&simulator, method, &target).status, 501, "{method} {target}");
    }
    assert_eq!(simulator.refusals().len(), 4);
    assert!(simulator.refusals()[0].contains("a write to a customer's blobs"), "{:?}", simulator.refusals());
    assert_eq!(account(&simulator, |account| account.read(CONTAINER, BLOB)), Some(b"x".to_vec()));
}

#[test]
fn what_is_not_modelled_is_said_so() {
    let simulator = storage();
    simulator.world(|world| world.add_storage(StorageAccount::new("other", OTHER)));
    account(&simulator, |account| account.append(CONTAINER, BLOB, "x"));
    let with = |name: &str, value: &str| {
        simulator.handle(request(&simulator, "GET", &blob_target(BLOB)).with(name, value)).status
    };
    assert_eq!(with("If-None-Match", "*"), 501);
    assert_eq!(with("If-Match", "0x8D1"), 501);
    assert_eq!(with("Range", "bytes=-5"), 501);
    assert_eq!(with("x-ms-lease-id", "1"), 501);
    assert_eq!(send(&simulator, "GET", &list_target("&include=metadata")).status, 501);
    assert_eq!(send(&simulator, "GET", "/storage/nobodys/blob/c/b").status, 501);
    assert_eq!(send(&simulator, "GET", "/storage/other/table/c").status, 501);
    assert_eq!(simulator.refusals().len(), 7);
}

#[test]
fn faults_come_in_order_and_in_azure_s_own_words() {
    let simulator = storage();
    account(&simulator, |account| account.append(CONTAINER, BLOB, "0123456789"));
    simulator.world(|world| {
        world.script_tenant(
            TENANT,
            Route::Blob,
            [
                Fault::Status(503),
                Fault::Throttled { seconds: 7, header: true, words: false },
                Fault::Status(500),
                Fault::Status(429),
                Fault::ExpiredToken,
                Fault::Truncated { after: 4 },
                Fault::Broken { after: 4 },
                Fault::Slow { pause: seconds(600), chunk: 100 },
            ],
        );
        world.script(Route::BlobList, [Fault::Status(404), Fault::Status(409), Fault::Truncated { after: 60 }]);
    });
    let get = || send(&simulator, "GET", &blob_target(BLOB));
    assert_eq!(refusal(get()), (503, "ServerBusy".into()));
    let throttled = get();
    assert_eq!(throttled.header("Retry-After"), Some("7"));
    assert_eq!(refusal(throttled), (503, "ServerBusy".into()));
    assert_eq!(refusal(get()), (500, "OperationTimedOut".into()));
    assert_eq!(refusal(get()), (429, "TooManyRequests".into()));
    assert_eq!(refusal(get()), (401, "InvalidAuthenticationInfo".into()));
    let truncated = get();
    assert_eq!((truncated.status, truncated.header("Content-Length")), (200, None));
    assert_eq!(text(truncated), "0123");
    let broken = get();
    assert_eq!(broken.header("Content-Length"), Some("10"));
    assert_eq!(broken.body.last(), Some(Chunk::Cut));
    assert_eq!(get().body.next(), Some(Chunk::Pause(seconds(600))));
    let list = || send(&simulator, "GET", &list_target(""));
    assert_eq!(refusal(list()), (404, "ContainerNotFound".into()));
    assert_eq!(refusal(list()), (409, "ContainerBeingDeleted".into()));
    assert_eq!(list().body.collect_bytes().len(), 60);
    assert!(simulator.refusals().is_empty());
}

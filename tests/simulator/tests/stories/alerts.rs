//! Stories of the alerts API: what a caller gets to see, in which order, and what stands in the way.

use std::collections::BTreeSet;

use crate::stage::*;
use serde_json::{Value, json};
use simulator::{Alert, Chunk, Fault, Flood, Licence, Request, Route, Simulator, Tenant};

fn flooded(count: u32, step: i64, evidence: u32) -> Simulator {
    let simulator = simulator();
    simulator.world(|world| {
        let start = at("2026-06-01T00:00:00Z");
        let flood = Flood { prefix: "da1".into(), count, start, step: seconds(step), evidence };
        world.tenant(TENANT).unwrap().alerts.flood(flood);
    });
    simulator
}

fn put(simulator: &Simulator, alert: Alert) {
    simulator.world(|world| world.tenant(TENANT).unwrap().alerts.put(alert));
}

fn ask(simulator: &Simulator, target: &str) -> Value {
    let response = get(simulator, &bearer(simulator), target);
    assert_eq!(response.status, 200, "{target}");
    body(response)
}

#[test]
fn a_window_of_last_updates_is_answered_exactly() {
    let simulator = flooded(60, 60, 1);
    let filter = "$filter=lastUpdateTime+gt+2026-06-01T00:10:00Z+and+lastUpdateTime+le+2026-06-01T00:13:00Z";
    let page = ask(&simulator, &format!("/api/alerts?{filter}&$expand=evidence"));
    assert_eq!(page["@odata.context"], "https://api.securitycenter.microsoft.com/api/$metadata#Alerts");
    assert_eq!(ids(&page).into_iter().collect::<BTreeSet<_>>(), ["da1_11", "da1_12", "da1_13"].map(Into::into).into());
    assert_eq!(page["value"][0]["evidence"].as_array().unwrap().len(), 1);
    assert_eq!(ask(&simulator, &format!("/api/alerts?{filter}"))["value"][0]["evidence"], json!([]));
    let none = ask(&simulator, "/api/alerts?$filter=lastUpdateTime+gt+2026-06-02T00:00:00Z");
    assert_eq!(none["value"], json!([]));
}

#[test]
fn every_documented_field_is_there() {
    let simulator = simulator();
    put(&simulator, Alert::new("da9_-1", at("2026-06-01T11:00:00.25Z")));
    let alert = &ask(&simulator, "/api/alerts?$expand=evidence")["value"][0];
    let fields = "id incidentId investigationId assignedTo severity status classification determination \
        investigationState detectionSource detectorId category threatFamilyName title description alertCreationTime \
        firstEventTime lastEventTime lastUpdateTime resolvedTime machineId computerDnsName rbacGroupName aadTenantId \
        threatName mitreTechniques relatedUser comments evidence";
    for field in fields.split_whitespace() {
        assert!(alert.get(field).is_some(), "{field}");
    }
    assert_eq!(alert["lastUpdateTime"], "2026-06-01T11:00:00.25Z");
    assert_eq!(alert["aadTenantId"], TENANT);
    let entity = "entityType evidenceCreationTime sha1 sha256 fileName filePath processId processCommandLine \
        processCreationTime parentProcessId parentProcessCreationTime parentProcessFileName parentProcessFilePath \
        ipAddress url registryKey registryHive registryValueType registryValue accountName domainName userSid \
        aadUserId userPrincipalName detectionStatus";
    assert_eq!(alert["evidence"].as_array().unwrap().len(), 2);
    for one in alert["evidence"].as_array().unwrap() {
        assert_eq!(one.as_object().unwrap().len(), entity.split_whitespace().count());
        assert!(entity.split_whitespace().all(|field| one.get(field).is_some()));
    }
}

#[test]
fn the_order_changes_from_request_to_request_unless_it_is_told_to_be_stable() {
    let simulator = flooded(200, 1, 0);
    let first = ids(&ask(&simulator, "/api/alerts"));
    assert_ne!(first, ids(&ask(&simulator, "/api/alerts")));
    simulator.world(|world| world.tenant(TENANT).unwrap().alerts.unstable_order = false);
    let stable = ids(&ask(&simulator, "/api/alerts"));
    assert_eq!(stable, ids(&ask(&simulator, "/api/alerts")));
    let mut by_time = stable.clone();
    by_time.sort_by_key(|id| id[4..].parse::<u32>().unwrap());
    assert_ne!(stable, by_time);
    let paged: Vec<String> =
        (0..4).flat_map(|page| ids(&ask(&simulator, &format!("/api/alerts?$top=50&$skip={}", page * 50)))).collect();
    assert_eq!(paged, stable);
}

#[test]
fn a_page_ends_at_ten_thousand_and_says_so_only_where_the_tenant_does() {
    let simulator = flooded(10_001, 0, 0);
    let page = ask(&simulator, "/api/alerts");
    assert_eq!(page["value"].as_array().unwrap().len(), 10_000);
    assert_eq!(page.get("@odata.nextLink"), None);
    simulator.world(|world| world.tenant(TENANT).unwrap().next_links = true);
    let page = ask(&simulator, "/api/alerts?$filter=severity+ne+'None'");
    let link = page["@odata.nextLink"].as_str().unwrap();
    let (_, target) = link.split_once("securitycenter.microsoft.com").unwrap();
    let rest = ask(&simulator, target);
    assert_eq!(rest["value"].as_array().unwrap().len(), 1);
    assert_eq!(rest.get("@odata.nextLink"), None);
}

#[test]
fn an_alert_that_is_not_yet_visible_is_nowhere() {
    let simulator = simulator();
    put(&simulator, Alert::new("da9_1", at("2026-06-01T11:00:00Z")).visible_from(at("2026-06-01T12:20:00Z")));
    assert_eq!(ids(&ask(&simulator, "/api/alerts")), [""; 0]);
    assert_eq!(get(&simulator, &bearer(&simulator), "/api/alerts/da9_1").status, 404);
    simulator.advance(seconds(20 * 60));
    assert_eq!(ids(&ask(&simulator, "/api/alerts?$filter=lastUpdateTime+le+2026-06-01T11:00:00Z")), ["da9_1"]);
    assert_eq!(ask(&simulator, "/api/alerts/da9_1")["id"], "da9_1");
}

#[test]
fn alerts_change_while_somebody_pages() {
    let simulator = flooded(4, 60, 0);
    simulator.world(|world| {
        world.tenant(TENANT).unwrap().alerts.between_requests(|alerts| {
            alerts.update("da1_0", at("2026-06-01T11:59:59Z"), |fields| {
                fields.insert("status".into(), "Resolved".into());
            });
        });
    });
    let window = "/api/alerts?$filter=lastUpdateTime+lt+2026-06-01T01:00:00Z";
    assert_eq!(ids(&ask(&simulator, window)).len(), 4);
    assert_eq!(ids(&ask(&simulator, window)).len(), 3);
    assert_eq!(ids(&ask(&simulator, "/api/alerts?$filter=status+eq+'Resolved'")), ["da1_0"]);
}

#[test]
fn one_poisoned_alert_spoils_its_page_but_only_with_evidence() {
    let simulator = flooded(10, 60, 1);
    simulator.world(|world| {
        world.tenant(TENANT).unwrap().alerts.poison.insert("da1_5".into());
    });
    let bearer = bearer(&simulator);
    let status = |target: &str| get(&simulator, &bearer, target).status;
    assert_eq!(status("/api/alerts"), 200);
    assert_eq!(status("/api/alerts?$expand=evidence"), 500);
    assert_eq!(status("/api/alerts?$expand=evidence&$filter=lastUpdateTime+lt+2026-06-01T00:05:00Z"), 200);
    assert_eq!(status("/api/alerts/da1_5?$expand=evidence"), 500);
    assert_eq!(status("/api/alerts/da1_5"), 200);
}

#[test]
fn one_alert_is_asked_for_by_its_id() {
    let simulator = flooded(2, 60, 1);
    let alert = ask(&simulator, "/api/alerts/da1_1?$expand=evidence");
    assert_eq!(alert["@odata.context"], "https://api.securitycenter.microsoft.com/api/$metadata#Alerts/$entity");
    assert_eq!((&alert["id"], alert["evidence"].as_array().unwrap().len()), (&json!("da1_1"), 1));
    let unknown = get(&simulator, &bearer(&simulator), "/api/alerts/da1_2");
    assert_eq!((unknown.status, body(unknown)["error"]["code"].clone()), (404, json!("ResourceNotFound")));
}

#[test]
fn a_token_opens_its_own_tenant_until_it_expires() {
    let simulator = flooded(1, 60, 1);
    simulator.world(|world| {
        world.token_lifetime = seconds(60);
        let other = "00000000-0000-4000-8000-0000000000bb";
        let mut tenant = Tenant::new(other, "Fabrikam").consented(CLIENT, &["Alert.Read.All"], noon());
        tenant.alerts.put(Alert::new("da2_0", noon()));
        world.add_tenant(tenant);
    });
    let bearer = bearer(&simulator);
    assert_eq!(ids(&body(get(&simulator, &bearer, "/api/alerts"))), ["da1_0"]);
    simulator.advance(seconds(60));
    let refused = get(&simulator, &bearer, "/api/alerts");
    assert_eq!(refused.status, 401);
    assert_eq!(body(refused)["error"]["code"], "Unauthorized");
    assert_eq!(simulator.handle(Request::get("/api/alerts")).status, 401);
}

#[test]
fn licence_roles_and_access_control_each_have_their_refusal() {
    let with = |change: fn(&mut Tenant)| {
        let simulator = simulator();
        simulator.world(|world| change(world.tenant(TENANT).unwrap()));
        let response = get(&simulator, &bearer(&simulator), "/api/alerts");
        (response.status, body(response)["error"]["message"].as_str().unwrap_or_default().to_owned())
    };
    let said = |status, text: &str| (status, text.to_owned());
    assert_eq!(with(|_| {}).0, 200);
    assert_eq!(
        with(|tenant| tenant.licence = Licence::AccountInactive),
        said(401, "Unauthorized request - reason of failure: Account mode is inactive")
    );
    assert_eq!(
        with(|tenant| tenant.licence = Licence::NoTvmLicence),
        said(401, "Unauthorized request - reason of failure: No Tvm license")
    );
    assert_eq!(with(|tenant| tenant.licence = Licence::InvalidLicense), said(403, "Missing consent"));
    assert_eq!(with(|tenant| tenant.rbac_denied = true).0, 403);
    assert_eq!(
        with(|tenant| tenant.consents[0].roles = vec!["Machine.Read.All".into()]),
        said(
            403,
            "Missing application roles. API required roles: Alert.Read.All,Alert.ReadWrite.All, application roles: Machine.Read.All."
        )
    );
    assert_eq!(with(|tenant| tenant.consents[0].roles = vec!["Alert.ReadWrite.All".into()]).0, 200);
}

#[test]
fn a_token_for_another_resource_is_forbidden() {
    let simulator = simulator();
    let scope = "https://api.security.microsoft.com/.default";
    let parameters =
        [("client_id", CLIENT), ("scope", scope), ("grant_type", "client_credentials"), ("client_secret", SECRET)];
    let body = body(simulator.handle(token_request(TENANT, &parameters)));
    let bearer = format!("Bearer {}", body["access_token"].as_str().unwrap());
    assert_eq!(get(&simulator, &bearer, "/api/alerts").status, 403);
}

#[test]
fn the_hundred_and_first_call_in_a_minute_is_throttled() {
    let simulator = simulator();
    let bearer = bearer(&simulator);
    for _ in 0..100 {
        assert_eq!(get(&simulator, &bearer, "/api/alerts?$top=1").status, 200);
    }
    simulator.advance(seconds(52));
    let refused = get(&simulator, &bearer, "/api/alerts?$top=1");
    assert_eq!((refused.status, refused.header("Retry-After")), (429, Some("8")));
    let error = &body(refused)["error"];
    assert_eq!(error["code"], "429");
    assert_eq!(
        error["message"],
        "API calls quota exceeded! Maximum allowed 100 per 00:01:00 for the key Destination+TenantID+AppID. You can send requests again in 8 seconds."
    );
    assert_eq!(error["target"], TENANT);
    simulator.advance(seconds(8));
    assert_eq!(get(&simulator, &bearer, "/api/alerts?$top=1").status, 200);
}

#[test]
fn a_bad_query_is_the_caller_s_fault_and_an_unknown_one_ours() {
    let simulator = simulator();
    let bearer = bearer(&simulator);
    let status = |target: &str| get(&simulator, &bearer, target).status;
    for target in
        ["/api/alerts?$orderby=id", "/api/alerts?$top=10001", "/api/alerts?$filter=lastUpdateTime+ge+'2026-01-01'"]
    {
        assert_eq!(status(target), 400, "{target}");
    }
    assert!(simulator.refusals().is_empty());
    let unknown =
        ["/api/alerts?$select=id", "/api/alerts?$filter=title+eq+'x'", "/api/software", "/api/alerts/da1_1/comments"];
    for (index, target) in unknown.iter().enumerate() {
        assert_eq!(status(target), 501, "{target}");
        assert_eq!(simulator.refusals().len(), index + 1);
    }
    // A scripted fault does not hide what is not modelled.
    simulator.world(|world| world.script(Route::Alerts, [Fault::Status(500)]));
    assert_eq!(status("/api/alerts?$select=id"), 501);
}

#[test]
fn faults_have_the_faces_they_have_in_the_field() {
    let simulator = flooded(3, 60, 1);
    let bearer = bearer(&simulator);
    let answer = |fault: Fault| {
        simulator.world(|world| world.script_tenant(TENANT, Route::Alerts, [fault]));
        get(&simulator, &bearer, "/api/alerts")
    };
    for (status, code) in [
        (400, "BadRequest"),
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (404, "ResourceNotFound"),
        (429, "429"),
        (500, "InternalServerError"),
    ] {
        let response = answer(Fault::Status(status));
        assert_eq!((response.status, body(response)["error"]["code"].as_str()), (status, Some(code)));
    }
    assert_eq!(answer(Fault::Html(503)).header("content-type"), Some("text/html; charset=utf-8"));
    assert_eq!(answer(Fault::ExpiredToken).status, 401);
    let bare = answer(Fault::Throttled { seconds: 5, header: false, words: true });
    assert_eq!((bare.status, bare.header("Retry-After")), (429, None));
    assert!(body(bare)["error"]["message"].as_str().unwrap().ends_with("You can send requests again in 5 seconds."));
    let silent = answer(Fault::Throttled { seconds: 5, header: true, words: false });
    assert_eq!(silent.header("Retry-After"), Some("5"));
    assert!(!body(silent)["error"]["message"].as_str().unwrap().contains("again"));
    assert_eq!(
        body(answer(Fault::NextLink("https://evil.example/api/alerts".into())))["@odata.nextLink"],
        "https://evil.example/api/alerts"
    );
    assert_eq!(answer(Fault::Truncated { after: 100 }).body.collect_bytes().len(), 100);
    assert_eq!(answer(Fault::Broken { after: 100 }).body.last(), Some(Chunk::Cut));
    assert!(answer(Fault::Endless).body.collect_at_most(1 << 20).starts_with(br#"{"@odata.context":"#));
    let text = Fault::Body { status: 200, content_type: "text/plain".into(), text: "hm".into() };
    assert_eq!(answer(text).body.collect_bytes(), b"hm");
    let slow = answer(Fault::Slow { pause: seconds(1), chunk: 1000 });
    assert!(slow.body.filter(|chunk| *chunk == Chunk::Pause(seconds(1))).count() > 2);
    assert_eq!(answer(Fault::Normal).status, 200);
    assert_eq!(answer(Fault::Aadsts(90033)).status, 501);
    assert_eq!(simulator.refusals().len(), 1);
}

#[test]
fn a_page_of_hundreds_of_megabytes_comes_in_small_pieces() {
    let simulator = flooded(10_000, 0, 30);
    let response = get(&simulator, &bearer(&simulator), "/api/alerts?$expand=evidence");
    let mut sizes = response.body.map(|chunk| match chunk {
        Chunk::Data(data) => data.len(),
        other => panic!("{other:?}"),
    });
    let first = sizes.by_ref().take(50).collect::<Vec<_>>();
    assert!(first.iter().all(|size| *size < 128 * 1024), "{first:?}");
    assert!(first.iter().sum::<usize>() > 3_000_000);
}

//! Stories of the machines API: pages, what they hide, and what a machine answers by its id.

use crate::stage::*;
use serde_json::{Value, json};
use simulator::{EmptyInventory, Fault, Machine, Machines, NextLinks, Request, Route, Simulator, Tenant};

fn world() -> Simulator {
    let simulator = simulator();
    simulator.world(|world| {
        let roles = ["Machine.Read.All"];
        world.add_tenant(Tenant::new(TENANT, "Contoso").consented(CLIENT, &roles, at("2026-01-01T00:00:00Z")));
    });
    simulator
}

fn machines<R>(simulator: &Simulator, change: impl FnOnce(&mut Machines) -> R) -> R {
    simulator.world(|world| change(&mut world.tenant(TENANT).unwrap().machines))
}

fn with_machines(count: u8) -> Simulator {
    let simulator = world();
    machines(&simulator, |machines| (1..=count).for_each(|n| machines.put(Machine::new(&format!("m{n}"), noon()))));
    simulator
}

fn ask(simulator: &Simulator, target: &str) -> Value {
    let response = get(simulator, &bearer(simulator), target);
    assert_eq!(response.status, 200, "{target}");
    body(response)
}

#[test]
fn a_machine_has_the_documented_fields_and_those_that_are_only_seen() {
    let simulator = with_machines(1);
    let page = ask(&simulator, "/api/machines");
    assert_eq!(page["@odata.context"], "https://api.securitycenter.microsoft.com/api/$metadata#Machines");
    let machine = &page["value"][0];
    let fields = "id mergedIntoMachineId isPotentialDuplication isExcluded exclusionReason computerDnsName firstSeen \
        lastSeen osPlatform osVersion osProcessor version lastIpAddress lastExternalIpAddress agentVersion osBuild \
        healthStatus deviceValue rbacGroupId rbacGroupName riskScore exposureLevel isAadJoined aadDeviceId machineTags \
        onboardingStatus osArchitecture managedBy managedByStatus ipAddresses vmMetadata";
    for field in fields.split_whitespace() {
        assert!(machine.get(field).is_some(), "{field}");
    }
    assert!(machine["rbacGroupId"].is_number() && machine["osVersion"].is_null());
    assert_eq!(machine["ipAddresses"][1]["ipAddress"], "");
    let single = ask(&simulator, "/api/machines/m1");
    assert_eq!(single["@odata.context"], "https://api.securitycenter.microsoft.com/api/$metadata#Machines/$entity");
    assert_eq!(single["lastSeen"], machine["lastSeen"]);
}

#[test]
fn pages_are_linked_or_not_and_go_on_by_skip_until_one_is_empty() {
    let simulator = with_machines(5);
    machines(&simulator, |machines| machines.page_size = 2);
    let first = ask(&simulator, "/api/machines");
    let link = first["@odata.nextLink"].as_str().unwrap();
    assert!(link.ends_with("/api/machines?$skip=2"), "{link}");
    assert_eq!(ids(&ask(&simulator, "/api/machines?$skip=2")), ["m3", "m4"]);
    let last = ask(&simulator, "/api/machines?$skip=4");
    assert_eq!((ids(&last).len(), last.get("@odata.nextLink")), (1, None));

    machines(&simulator, |machines| machines.next_links = NextLinks::Never);
    let first = ask(&simulator, "/api/machines");
    assert_eq!((ids(&first).len(), first.get("@odata.nextLink")), (2, None));
    assert_eq!(ask(&simulator, "/api/machines?$skip=5")["value"], json!([]));
}

#[test]
fn top_caps_the_total_and_hides_the_next_link() {
    let simulator = with_machines(5);
    let page = ask(&simulator, "/api/machines?$top=3");
    assert_eq!((ids(&page).len(), page.get("@odata.nextLink")), (3, None), "three of five, and not a word of the rest");
}

#[test]
fn an_empty_inventory_is_404_or_an_empty_list() {
    let simulator = with_machines(0);
    let response = get(&simulator, &bearer(&simulator), "/api/machines");
    assert_eq!(response.status, 404);
    assert_eq!(body(response)["error"]["code"], "ResourceNotFound");
    machines(&simulator, |machines| machines.empty = EmptyInventory::EmptyList);
    assert_eq!(ask(&simulator, "/api/machines")["value"], json!([]));
}

#[test]
fn the_list_shifts_while_somebody_pages() {
    let simulator = with_machines(4);
    machines(&simulator, |machines| {
        machines.page_size = 2;
        machines.between_requests(|machines| machines.put(Machine::new("m0", noon())));
        machines.between_requests(|machines| machines.remove("m0"));
    });
    assert_eq!(ids(&ask(&simulator, "/api/machines")), ["m1", "m2"]);
    assert_eq!(ids(&ask(&simulator, "/api/machines?$skip=2")), ["m2", "m3"], "seen twice");
    machines(&simulator, |machines| machines.between_requests(|machines| machines.remove("m1")));
    assert_eq!(ids(&ask(&simulator, "/api/machines")), ["m1", "m2"]);
    assert_eq!(ids(&ask(&simulator, "/api/machines?$skip=2")), ["m4"], "m3 has slipped through");
}

#[test]
fn a_machine_the_list_leaves_out_answers_by_its_id_and_one_that_is_gone_does_not() {
    let simulator = with_machines(2);
    machines(&simulator, |machines| {
        machines.unlisted.insert("m1".into());
    });
    assert_eq!(ids(&ask(&simulator, "/api/machines")), ["m2"]);
    assert_eq!(ask(&simulator, "/api/machines/m1")["id"], "m1");
    machines(&simulator, |machines| machines.remove("m1"));
    let response = get(&simulator, &bearer(&simulator), "/api/machines/m1");
    assert_eq!((response.status, body(response)["error"]["code"].clone()), (404, json!("ResourceNotFound")));
}

#[test]
fn a_hundred_thousand_machines_are_listed_out_of_a_rule() {
    let simulator = world();
    machines(&simulator, |machines| machines.bulk(100_000, noon()));
    let page = ask(&simulator, "/api/machines?$skip=99990");
    assert_eq!(ids(&page).len(), 10);
    let id = ids(&page)[3].clone();
    assert_eq!(ask(&simulator, &format!("/api/machines/{id}"))["id"], id.as_str());
}

#[test]
fn the_role_is_read_from_the_token_and_the_refusal_names_what_is_missing() {
    let simulator = simulator();
    let response = get(&simulator, &bearer(&simulator), "/api/machines");
    assert_eq!(response.status, 403);
    let message = body(response)["error"]["message"].clone();
    assert_eq!(
        message,
        "Missing application roles. API required roles: Machine.Read.All,Machine.ReadWrite.All, application roles: \
         Alert.Read.All."
    );
    let other = get(&world(), &bearer(&world()), "/api/alerts");
    assert_eq!(other.status, 403, "and one role does not open the other's API");
}

#[test]
fn both_lists_and_single_machines_count_against_one_quota() {
    let simulator = with_machines(1);
    let token = bearer(&simulator);
    simulator.world(|world| world.quota.per_minute = 2);
    assert_eq!(get(&simulator, &token, "/api/machines").status, 200);
    assert_eq!(get(&simulator, &token, "/api/machines/m1").status, 200);
    assert_eq!(get(&simulator, &token, "/api/machines").status, 429);
}

#[test]
fn faults_happen_on_machines_too_and_never_hide_what_is_not_modelled() {
    let simulator = with_machines(1);
    let token = bearer(&simulator);
    let elsewhere = "https://evil.example/api/machines".to_owned();
    simulator.world(|world| {
        world.script(Route::Machines, [Fault::ExpiredToken, Fault::NextLink(elsewhere.clone()), Fault::Html(404)]);
        world.script(Route::Machine, [Fault::Status(500), Fault::Status(503)]);
    });
    assert_eq!(get(&simulator, &token, "/api/machines").status, 401);
    assert_eq!(ask(&simulator, "/api/machines")["@odata.nextLink"], elsewhere.as_str());
    assert_eq!(get(&simulator, &token, "/api/machines").status, 404);
    assert_eq!(get(&simulator, &token, "/api/machines/m1").status, 500);
    assert_eq!(get(&simulator, &token, "/api/machines/m1?$expand=x").status, 501);
    assert_eq!(get(&simulator, &token, "/api/machines?$filter=id+eq+'m1'").status, 501);
    assert_eq!(simulator.refusals().len(), 2);
    assert_eq!(simulator.handle(Request::get("/api/machines")).status, 401);
}

//! A customer's storage: what is announced where, and who gets in.

use hcl::Expression;
use serde_json::json;
use shared::{
    microsoft::storage::CONTAINER,
    storage::{QueueName, StorageAccount},
};

use crate::{
    module::{Module, argument},
    plan::{KINDS, Plan, assert_rows},
};

const ACCOUNT: &str = "azurerm_storage_account.export";
const QUEUE: &str = "azurerm_storage_queue.hints";
const TOPIC: &str = "azurerm_eventgrid_system_topic.export";
const SUBSCRIPTION: &str = "azurerm_eventgrid_system_topic_event_subscription.created";

#[test]
fn new_blobs_of_the_export_alone_are_announced_in_the_queue_that_is_read() {
    let plan = Plan::of("tenant", &json!({"queue_name": "announced"}));
    assert_eq!(plan.one(ACCOUNT)["name"], "contosologs");
    assert_eq!(plan.one(QUEUE)["name"], "announced");
    assert_eq!(plan.one(QUEUE)["storage_account_id"], format!("<{ACCOUNT}.id>"));
    let topic = plan.one(TOPIC);
    assert_eq!(topic["source_resource_id"], format!("<{ACCOUNT}.id>"), "the account whose blobs are announced");
    assert_eq!(topic["topic_type"], "Microsoft.Storage.StorageAccounts");
    let created = plan.one(SUBSCRIPTION);
    assert_eq!(created["system_topic"], format!("<{TOPIC}.name>"));
    let endpoint = &created["storage_queue_endpoint"][0];
    assert_eq!(endpoint["storage_account_id"], format!("<{ACCOUNT}.id>"), "the account whose queue is written to");
    assert_eq!(endpoint["queue_name"], format!("<{QUEUE}.name>"), "the queue that is written to");
    let begins = format!("/blobServices/default/containers/{CONTAINER}/");
    assert_eq!(created["subject_filter"], json!([{"subject_begins_with": begins}]));
    assert_eq!(created["included_event_types"], json!(["Microsoft.Storage.BlobCreated"]));
    assert_eq!(created["event_delivery_schema"], "EventGridSchema");
    for identity in [&topic["identity"], &created["delivery_identity"]] {
        assert_eq!(identity, &json!([{"type": "SystemAssigned"}]), "by no account key");
    }
    for type_name in ["azurerm_storage_account", "azurerm_storage_queue"] {
        assert_eq!(plan.all(type_name).count(), 1, "{type_name}");
    }
    assert_eq!(plan.all("azurerm_eventgrid_system_topic_event_subscription").count(), 1);
}

#[test]
fn each_may_do_with_a_customers_storage_exactly_what_it_does() {
    for credential in KINDS {
        let plan = Plan::of("tenant", &json!({"credential": credential}));
        let (account, own) = (format!("<{ACCOUNT}.id>"), "<azuread_service_principal.own.object_id>");
        let queue = format!("{account}/queueServices/default/queues/<{QUEUE}.name>");
        let topic = format!("<{TOPIC}.identity[0].principal_id>");
        let expected = [
            // The words of the sentences that `muster connect` says when one is missing.
            ["Storage Blob Data Reader", account.as_str(), own],
            ["Storage Queue Data Message Processor", &queue, own],
            ["Storage Queue Data Message Sender", &queue, &topic],
        ];
        let given = plan.table("azurerm_role_assignment", ["role_definition_name", "scope", "principal_id"]);
        assert_rows(
            &format!("role, of what, whom to: {credential}"),
            given,
            expected.map(|row| row.map(str::to_owned)),
        );
    }
}

#[test]
fn a_customers_storage_opens_to_nobody_else() {
    let plan = Plan::of("tenant", &json!({}));
    let account = plan.one(ACCOUNT);
    for (name, expected) in [
        ("https_traffic_only_enabled", true),
        ("allow_nested_items_to_be_public", false),
        ("default_to_oauth_authentication", true),
        ("local_user_enabled", false),
        ("sftp_enabled", false),
        ("cross_tenant_replication_enabled", false),
        ("shared_access_key_enabled", false),
    ] {
        assert_eq!(account[name], expected, "{name}");
    }
    assert_eq!(account["min_tls_version"], "TLS1_2");
    let keys = Plan::of("tenant", &json!({"shared_keys": true}));
    assert_eq!(keys.one(ACCOUNT)["shared_access_key_enabled"], true, "if the export should need them");
}

#[test]
fn the_firewall_closes_as_soon_as_addresses_are_named() {
    for (ranges, action) in [(json!([]), "Allow"), (json!(["198.51.100.7"]), "Deny")] {
        let plan = Plan::of("tenant", &json!({"allowed_ip_ranges": ranges}));
        let rules = &plan.one(ACCOUNT)["network_rules"][0];
        assert_eq!(rules["default_action"], action, "default_action with allowed_ip_ranges {ranges}");
        assert_eq!(rules["bypass"], json!(["AzureServices"]), "without it the export cannot write");
        let named: Vec<&String> = rules["ip_rules"].as_object().unwrap().keys().collect();
        assert_eq!(json!(named), ranges, "the addresses that get in");
    }
}

#[test]
fn what_was_read_is_deleted_and_nothing_else() {
    let plan = Plan::of("tenant", &json!({"retention_days": 5}));
    let policy = plan.one("azurerm_storage_management_policy.retention");
    assert_eq!(policy["storage_account_id"], format!("<{ACCOUNT}.id>"));
    let rules = policy["rule"].as_array().unwrap();
    assert_eq!(rules.len(), 1);
    let filters = json!([{"prefix_match": [format!("{CONTAINER}/")], "blob_types": ["appendBlob"]}]);
    assert_eq!(rules[0]["filters"], filters);
    let days = json!([{"base_blob": [{"delete_after_days_since_modification_greater_than": 5}]}]);
    assert_eq!((&rules[0]["enabled"], &rules[0]["actions"]), (&json!(true), &days));
}

#[test]
fn names_that_are_given_are_names_to_the_product() {
    let module = Module::read("tenant");
    let Some(Expression::String(queue)) = argument(&module.one("variable", &["queue_name"]).body, "default") else {
        panic!("queue_name has no default");
    };
    assert!(queue.parse::<QueueName>().is_ok(), "{queue}");
    assert!("contosologs".parse::<StorageAccount>().is_ok());
}

//! What stays when the stack goes: the table and the lake.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::functions::PULLERS;
use crate::template::{Template, root, target};

#[test]
fn what_cannot_be_made_again_outlives_the_stack() {
    for (name, resource) in Template::shared().resources() {
        let kind = resource["Type"].as_str().unwrap();
        if ["AWS::DynamoDB::Table", "AWS::S3::Bucket"].contains(&kind) {
            assert_eq!(resource["UpdateReplacePolicy"], "Retain", "{name}");
            // What a failed first deployment leaves would be in the way of the second; what is protected cannot go.
            let protected = resource["Properties"]["DeletionProtectionEnabled"] == true;
            let kept = if protected { "Retain" } else { "RetainExceptOnCreate" };
            assert_eq!(resource["DeletionPolicy"], kept, "{name}");
        }
    }
}

/// Every text in quotes in the adapters' code.
fn in_the_adapters(word: &str) -> bool {
    let folder = root().join("infra/aws/ports/src");
    let holds = |path: &Path| fs::read_to_string(path).unwrap().contains(&format!("\"{word}\""));
    fs::read_dir(folder).unwrap().any(|file| holds(&file.unwrap().path()))
}

#[test]
fn the_table_is_as_the_code_knows_it() {
    let (_, table) = Template::shared().only("AWS::DynamoDB::Table");
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    let key = |name: &str, kind: &str| json!({"AttributeName": name, "KeyType": kind});
    assert_eq!(table["KeySchema"], json!([key("pk", "HASH"), key("sk", "RANGE")]));
    let expiry = table["TimeToLiveSpecification"]["AttributeName"].as_str().unwrap();
    assert_eq!(table["TimeToLiveSpecification"]["Enabled"], true);
    for word in ["pk", "sk", expiry] {
        assert!(in_the_adapters(word), "the code knows no attribute {word}");
    }
    assert_eq!(table["PointInTimeRecoverySpecification"], json!({"PointInTimeRecoveryEnabled": true}));
    assert_eq!(table["DeletionProtectionEnabled"], true);
}

#[test]
fn the_lake_is_private_versioned_encrypted_and_forgets() {
    let (name, lake) = Template::shared().only("AWS::S3::Bucket");
    let private = lake["PublicAccessBlockConfiguration"].as_object().unwrap();
    assert!(private.len() == 4 && private.values().all(|value| *value == json!(true)), "{private:?}");
    assert_eq!(lake["VersioningConfiguration"]["Status"], "Enabled");
    assert!(lake["BucketEncryption"]["ServerSideEncryptionConfiguration"].is_array());
    let events = &lake["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"];
    assert_eq!(*events, true, "a SIEM asks for new objects");
    let rules: Vec<&Value> = lake["LifecycleConfiguration"]["Rules"].as_array().unwrap().iter().collect();
    for prefix in ["alerts/", "machines/", "telemetry/", "quarantine/"] {
        let forgets = |rule: &&&Value| rule["Prefix"] == prefix && !rule["ExpirationInDays"].is_null();
        assert_eq!(rules.iter().filter(forgets).count(), 1, "{prefix}");
    }
    let per_tenant = |feed: &str| {
        let prefix = format!("{feed}/tenant=${{Tenant}}/");
        let of_it = rules.iter().filter(|rule| rule["Fn::If"][1]["Prefix"]["Fn::Sub"][0] == prefix);
        let conditions = of_it.map(|rule| rule["Fn::If"][0].as_str().unwrap().to_owned());
        conditions.collect::<Vec<_>>()
    };
    let retentions = per_tenant("alerts");
    assert!(!retentions.is_empty(), "a tenant may have a retention of its own");
    for (feed, _) in PULLERS {
        assert_eq!(per_tenant(feed), retentions, "{feed}: it is the retention of all that is a tenant's");
    }
    assert!(rules.iter().any(|rule| !rule["NoncurrentVersionExpiration"].is_null()), "hidden versions stay for ever");
    let (_, policy) = Template::shared().only("AWS::S3::BucketPolicy");
    assert_eq!(target(&policy["Bucket"]), Some(name));
}

/// The state points there, however long ago it was written. What is hidden or was never whole goes all the same.
#[test]
fn what_the_state_points_to_never_expires() {
    let (_, lake) = Template::shared().only("AWS::S3::Bucket");
    for rule in lake["LifecycleConfiguration"]["Rules"].as_array().unwrap() {
        let rule = if rule["Fn::If"].is_null() { rule } else { &rule["Fn::If"][1] };
        let prefix = rule["Prefix"].as_str().or(rule["Prefix"]["Fn::Sub"][0].as_str()).unwrap_or_default();
        let reaches = "snapshots/machines/tenant=".starts_with(prefix) || prefix.starts_with("snapshots");
        if reaches {
            assert!(rule["ExpirationInDays"].is_null() && rule["ExpirationDate"].is_null(), "{rule}");
            assert!(!rule["NoncurrentVersionExpiration"].is_null(), "{rule}");
            assert!(!rule["AbortIncompleteMultipartUpload"].is_null(), "{rule}");
        }
    }
}

/// Athena reads what the code writes: `{feed}/tenant={id}/day=YYYY-MM-DD/`.
#[test]
fn athena_finds_the_lakes_folders() {
    for (feed, _) in PULLERS {
        let input = Template::shared().table(feed);
        let keys: Vec<&str> =
            input["PartitionKeys"].as_array().unwrap().iter().map(|key| key["Name"].as_str().unwrap()).collect();
        assert_eq!(keys, ["tenant", "day"], "{feed}");
        let template = input["Parameters"]["storage.location.template"]["Fn::Sub"].as_str().unwrap();
        assert_eq!(template, format!("s3://${{Lake}}/{feed}/tenant=${{!tenant}}/day=${{!day}}/"));
        let location = &input["StorageDescriptor"]["Location"]["Fn::Sub"];
        assert_eq!(*location, format!("s3://${{Lake}}/{feed}/"));
        assert_eq!(input["Parameters"]["projection.day.format"], "yyyy-MM-dd", "{feed}");
        assert_eq!(input["Parameters"]["projection.tenant.type"], "injected", "{feed}");
        assert_eq!(input["Parameters"]["compressionType"], "gzip", "{feed}");
    }
    assert_eq!(Template::shared().all("AWS::Glue::Table").count(), PULLERS.len());
}

/// Else the reader puts the keys into small letters that Microsoft wrote otherwise; and then columns must be as we write.
#[test]
fn athena_leaves_microsofts_keys_as_they_are() {
    for (feed, _) in PULLERS {
        let storage = &Template::shared().table(feed)["StorageDescriptor"];
        assert_eq!(storage["SerdeInfo"]["Parameters"]["case.insensitive"], "false", "{feed}");
        let columns = storage["Columns"].as_array().unwrap();
        assert!(columns.len() > 10, "{columns:?}");
        for column in columns {
            let typed = format!("{} {}", column["Name"], column["Type"]);
            assert_eq!(typed, typed.to_lowercase(), "Glue keeps names in small letters");
        }
    }
}

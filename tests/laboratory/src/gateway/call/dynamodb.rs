//! DynamoDB's calls. A transaction needs what each of its parts needs.
//!
//! A read that does not ask for consistency may miss what was just written, in another availability zone and on no
//! machine of ours: nothing here would ever show it, so it is not taken.

use serde_json::Value;

use super::Place;
use crate::gateway::{condition::Context, policy::Permission};

/// The hash key of every table of ours.
const HASH_KEY: &str = "pk";

pub(super) fn permissions(operation: &str, body: &Value, place: Place<'_>) -> Result<Vec<Permission>, String> {
    match operation {
        "GetItem" | "Query" if body["ConsistentRead"] != true => {
            Err(format!("dynamodb:{operation} without ConsistentRead may miss what was just written"))
        }
        "GetItem" | "DeleteItem" | "UpdateItem" => Ok(vec![on_item(operation, body, &body["Key"], place)?]),
        "PutItem" => Ok(vec![on_item(operation, body, &body["Item"], place)?]),
        "Query" => Ok(vec![permission(operation, body, partition(body)?, place)?]),
        "TransactWriteItems" => items(body).map(|item| write(item, place)).collect(),
        "TransactGetItems" => {
            items(body).map(|item| on_item("GetItem", &item["Get"], &item["Get"]["Key"], place)).collect()
        }
        _ => Err(format!("dynamodb:{operation} is not known")),
    }
}

fn items(body: &Value) -> impl Iterator<Item = &Value> {
    body["TransactItems"].as_array().into_iter().flatten()
}

/// One part of a transaction that writes.
fn write(item: &Value, place: Place<'_>) -> Result<Permission, String> {
    for (name, action, key) in [
        ("Put", "PutItem", "Item"),
        ("Delete", "DeleteItem", "Key"),
        ("Update", "UpdateItem", "Key"),
        ("ConditionCheck", "ConditionCheckItem", "Key"),
    ] {
        if let Some(part) = item.get(name) {
            return on_item(action, part, &part[key], place);
        }
    }
    Err(format!("a part of a transaction is not known: {item}"))
}

fn on_item(action: &str, part: &Value, key: &Value, place: Place<'_>) -> Result<Permission, String> {
    let hash = key[HASH_KEY]["S"].as_str().ok_or_else(|| format!("{action} names no {HASH_KEY}"))?;
    permission(action, part, hash, place)
}

fn permission(action: &str, part: &Value, leading_key: &str, place: Place<'_>) -> Result<Permission, String> {
    let table = part["TableName"].as_str().ok_or_else(|| format!("{action} names no table"))?;
    Ok(Permission {
        action: format!("dynamodb:{action}"),
        resource: format!("arn:aws:dynamodb:{}:{}:table/{table}", place.region, place.account),
        context: Context::from([("dynamodb:leadingkeys".to_owned(), vec![leading_key.to_owned()])]),
    })
}

/// The partition that a query is about: what the hash key is said to equal.
fn partition(body: &Value) -> Result<&str, String> {
    let expression = body["KeyConditionExpression"].as_str().ok_or("a query without a KeyConditionExpression")?;
    let spaced = expression.replace('=', " = ").replace(['(', ')'], " ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let is_hash_key = |name: &str| name == HASH_KEY || body["ExpressionAttributeNames"][name] == HASH_KEY;
    words
        .windows(3)
        .find(|words| is_hash_key(words[0]) && words[1] == "=")
        .and_then(|words| body["ExpressionAttributeValues"][words[2]]["S"].as_str())
        .ok_or_else(|| format!("the partition of the query `{expression}` is not to be seen"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gateway::call::tests::{needs, request};

    fn call(operation: &str, body: &Value) -> Result<Vec<String>, String> {
        let target = format!("DynamoDB_20120810.{operation}");
        needs(&request("POST", "/", &[("x-amz-target", &target)], &body.to_string()))
    }

    fn on_table(action: &str, leading: &str) -> String {
        format!(
            "dynamodb:{action} on arn:aws:dynamodb:eu-central-1:1:table/muster, dynamodb:leadingkeys [\"{leading}\"]"
        )
    }

    #[test]
    fn an_item_is_its_partitions() {
        let key = json!({"pk": {"S": "accounts"}, "sk": {"S": "x"}});
        for operation in ["GetItem", "DeleteItem", "UpdateItem"] {
            let needed = call(operation, &json!({"TableName": "muster", "Key": key, "ConsistentRead": true})).unwrap();
            assert_eq!(needed, [on_table(operation, "accounts")]);
        }
        let needed = call("PutItem", &json!({"TableName": "muster", "Item": key})).unwrap();
        assert_eq!(needed, [on_table("PutItem", "accounts")]);
    }

    #[test]
    fn a_query_is_of_one_partition_however_it_is_written() {
        for (expression, names) in [
            ("pk = :p", json!({})),
            ("pk=:p AND begins_with(sk, :s)", json!({})),
            ("(#k = :p) AND (#s BETWEEN :s AND :t)", json!({"#k": "pk", "#s": "sk"})),
            ("#s = :s AND #k = :p", json!({"#k": "pk", "#s": "sk"})),
        ] {
            let body = json!({
                "TableName": "muster", "ConsistentRead": true,
                "KeyConditionExpression": expression, "ExpressionAttributeNames": names,
                "ExpressionAttributeValues": {":p": {"S": "tenants#03"}, ":s": {"S": "a"}, ":t": {"S": "b"}},
            });
            assert_eq!(call("Query", &body).unwrap(), [on_table("Query", "tenants#03")], "{expression}");
        }
        let body = json!({"TableName": "muster", "ConsistentRead": true, "KeyConditionExpression": "sk = :s",
                          "ExpressionAttributeValues": {":s": {"S": "a"}}});
        assert!(call("Query", &body).unwrap_err().contains("is not to be seen"));
    }

    #[test]
    fn a_read_that_may_be_stale_is_not_taken() {
        let read = json!({
            "TableName": "muster", "Key": {"pk": {"S": "accounts"}, "sk": {"S": "x"}},
            "KeyConditionExpression": "pk = :p", "ExpressionAttributeValues": {":p": {"S": "accounts"}},
        });
        for operation in ["GetItem", "Query"] {
            for consistent in [json!(null), json!(false), json!("true")] {
                let mut read = read.clone();
                read["ConsistentRead"] = consistent;
                assert!(call(operation, &read).unwrap_err().contains("ConsistentRead"), "{operation}");
            }
            let mut read = read.clone();
            read["ConsistentRead"] = true.into();
            assert_eq!(call(operation, &read).unwrap(), [on_table(operation, "accounts")]);
        }
    }

    #[test]
    fn a_transaction_needs_what_its_parts_need() {
        let key = |name: &str| json!({"pk": {"S": name}, "sk": {"S": "x"}});
        let body = json!({"TransactItems": [
            {"Put": {"TableName": "muster", "Item": key("tenants#01")}},
            {"Delete": {"TableName": "muster", "Key": key("invitations")}},
            {"ConditionCheck": {"TableName": "muster", "Key": key("accounts")}},
            {"Update": {"TableName": "muster", "Key": key("tenant#a")}},
        ]});
        let expected = [
            on_table("PutItem", "tenants#01"),
            on_table("DeleteItem", "invitations"),
            on_table("ConditionCheckItem", "accounts"),
            on_table("UpdateItem", "tenant#a"),
        ];
        assert_eq!(call("TransactWriteItems", &body).unwrap(), expected);
        assert!(call("TransactWriteItems", &json!({"TransactItems": [{"Scan": {}}]})).is_err());
    }

    #[test]
    fn what_reads_everything_is_not_known() {
        for operation in ["Scan", "ExecuteStatement", "BatchGetItem"] {
            assert!(call(operation, &json!({"TableName": "muster"})).is_err(), "{operation}");
        }
    }
}

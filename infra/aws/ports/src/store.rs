//! The state store in one DynamoDB table: partition key `pk`, sort key `sk`, the value as JSON text beside its version.

use std::collections::HashMap;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{
    Client,
    error::BuildError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, ConditionCheck, Delete, Put, TransactWriteItem},
};
use serde_json::Value;
use shared::ports::{
    Unavailable,
    store::{Expect, Item, Key, Store, StoreError, Write, validate},
};

use crate::error::unavailable;

const PORT: &str = "state store";
/// The shape of our items. One that bears another number was written by another version of Muster.
const LAYOUT: &str = "1";
/// What a write demands of the item it meets.
const ABSENT: &str = "attribute_not_exists(pk)";
const AS_READ: &str = "version = :version";

type Attributes = HashMap<String, AttributeValue>;

#[derive(Debug)]
pub struct DynamoStore {
    client: Client,
    table: String,
}

impl DynamoStore {
    pub fn new(sdk: &SdkConfig, table: &str) -> Self {
        Self { client: Client::new(sdk), table: table.to_owned() }
    }

    fn transact_item(&self, write: &Write) -> Result<TransactWriteItem, BuildError> {
        let (condition, values) = condition(write.expect());
        let (table, key) = (&self.table, key_attributes(write.key()));
        let item = TransactWriteItem::builder();
        Ok(match write {
            Write::Put { key, value, expect } => {
                let put = Put::builder().table_name(table).set_item(Some(attributes(key, value, *expect)));
                item.put(put.condition_expression(condition).set_expression_attribute_values(values).build()?)
            }
            Write::Delete { .. } => {
                let delete = Delete::builder().table_name(table).set_key(Some(key)).condition_expression(condition);
                item.delete(delete.set_expression_attribute_values(values).build()?)
            }
            Write::Check { .. } => {
                let check = ConditionCheck::builder().table_name(table).set_key(Some(key));
                let check = check.condition_expression(condition).set_expression_attribute_values(values);
                item.condition_check(check.build()?)
            }
        }
        .build())
    }
}

#[async_trait]
impl Store for DynamoStore {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        let call = self.client.get_item().table_name(&self.table).consistent_read(true);
        let got = call.set_key(Some(key_attributes(key))).send().await;
        let got = got.map_err(|error| unavailable(PORT, "GetItem", &error))?;
        Ok(got.item.map(|attributes| item(key, &attributes)).transpose()?)
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError> {
        let mut call = self.client.query().table_name(&self.table).consistent_read(true);
        call = call.expression_attribute_values(":pk", AttributeValue::S(partition.to_owned()));
        call = match prefix {
            "" => call.key_condition_expression("pk = :pk"),
            prefix => call
                .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
                .expression_attribute_values(":prefix", AttributeValue::S(prefix.to_owned())),
        };
        let mut pages = call.into_paginator().items().send();
        let mut found = Vec::new();
        while let Some(attributes) = pages.next().await {
            let attributes = attributes.map_err(|error| unavailable(PORT, "Query", &error))?;
            let key = Key::new(partition, text(&attributes, "sk").unwrap_or_default());
            let item = item(&key, &attributes)?;
            found.push((key, item));
        }
        Ok(found)
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        validate(&writes)?;
        let items = writes.iter().map(|write| self.transact_item(write)).collect::<Result<Vec<_>, _>>();
        let items = items.map_err(|cause| StoreError::Invalid(cause.to_string()))?;
        // A single write, too: the SDK gives this call a token, so that one whose answer was lost counts as done when it is
        // repeated. A lone PutItem would then meet its own item and take it for another's.
        let Err(error) = self.client.transact_write_items().set_transact_items(Some(items)).send().await else {
            return Ok(());
        };
        match error.as_service_error() {
            Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                let codes = cancelled.cancellation_reasons().iter().filter_map(|reason| reason.code());
                Err(cancelled_because(codes).unwrap_or_else(|| unavailable(PORT, "TransactWriteItems", &error).into()))
            }
            _ => Err(unavailable(PORT, "TransactWriteItems", &error).into()),
        }
    }
}

/// What a cancelled transaction means, by the reasons of its items. None where the platform is to blame.
fn cancelled_because<'a>(codes: impl Iterator<Item = &'a str>) -> Option<StoreError> {
    let codes: Vec<&str> = codes.filter(|code| *code != "None").collect();
    if let Some(code) =
        codes.iter().find(|code| matches!(**code, "ValidationError" | "ItemCollectionSizeLimitExceeded"))
    {
        return Some(StoreError::Invalid((*code).to_owned()));
    }
    // Another writer was there, or is there at this moment. Both are for the caller to read again.
    let beaten = ["ConditionalCheckFailed", "TransactionConflict"];
    codes.iter().any(|code| beaten.contains(code)).then_some(StoreError::Conflict)
}

fn condition(expect: Expect) -> (&'static str, Option<Attributes>) {
    match expect {
        Expect::Absent => (ABSENT, None),
        Expect::Version(version) => {
            (AS_READ, Some(Attributes::from([(":version".to_owned(), AttributeValue::N(version.to_string()))])))
        }
    }
}

fn key_attributes(key: &Key) -> Attributes {
    let text = |text: &str| AttributeValue::S(text.to_owned());
    Attributes::from([("pk".to_owned(), text(&key.partition)), ("sk".to_owned(), text(&key.sort))])
}

/// An item as it lies in the table. `expires_at` (seconds since the epoch) is what the table's time to live reads.
fn attributes(key: &Key, value: &Value, expect: Expect) -> Attributes {
    let mut attributes = key_attributes(key);
    attributes.insert("layout".to_owned(), AttributeValue::N(LAYOUT.to_owned()));
    attributes.insert("version".to_owned(), AttributeValue::N(expect.next_version().to_string()));
    attributes.insert("value".to_owned(), AttributeValue::S(value.to_string()));
    if let Some(expires_at) = value.get("expires_at").and_then(Value::as_i64) {
        attributes.insert("expires_at".to_owned(), AttributeValue::N(expires_at.to_string()));
    }
    attributes
}

fn text<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

fn number<'a>(attributes: &'a Attributes, name: &str) -> Option<&'a str> {
    attributes.get(name).and_then(|value| value.as_n().ok()).map(String::as_str)
}

fn item(key: &Key, attributes: &Attributes) -> Result<Item, Unavailable> {
    let unreadable = |why: &str| {
        let Key { partition, sort } = key;
        Unavailable::new(PORT, format!("the item {partition}/{sort} {why}; nothing of it was changed"))
    };
    match number(attributes, "layout") {
        Some(LAYOUT) => {}
        Some(other) => {
            let why = format!(
                "has layout {other}, and this version of Muster reads layout {LAYOUT}: deploy the one that wrote it"
            );
            return Err(unreadable(&why));
        }
        None => return Err(unreadable("has no layout, so it is not Muster's: check MUSTER_TABLE")),
    }
    let version = number(attributes, "version").and_then(|version| version.parse().ok());
    let value = text(attributes, "value").and_then(|value| serde_json::from_str(value).ok());
    match (version, value) {
        (Some(version), Some(value)) => Ok(Item { version, value }),
        _ => Err(unreadable("is damaged: restore it from the table's point-in-time recovery")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_item_reads_back_as_it_was_written() {
        let (key, value) = (Key::new("tenants#03", "a"), json!({"name": "ä", "expires_at": 1_800_000_000}));
        let attributes = attributes(&key, &value, Expect::Version(4));
        assert_eq!(item(&key, &attributes).unwrap(), Item { version: 5, value });
        assert_eq!(number(&attributes, "expires_at"), Some("1800000000"));
        let lasting = super::attributes(&key, &json!({"expires_at": null}), Expect::Absent);
        assert_eq!(number(&lasting, "expires_at"), None);
    }

    #[test]
    fn an_item_of_another_version_or_of_somebody_else_is_named_and_not_guessed_at() {
        let key = Key::new("tenants#03", "a");
        let good = attributes(&key, &json!({}), Expect::Absent);
        let without = |name: &str| {
            let mut attributes = good.clone();
            attributes.remove(name);
            item(&key, &attributes).unwrap_err().to_string()
        };
        assert!(without("layout").contains("tenants#03/a") && without("layout").contains("MUSTER_TABLE"));
        assert!(without("value").contains("damaged") && without("version").contains("damaged"));
        let mut newer = good.clone();
        newer.insert("layout".to_owned(), AttributeValue::N("2".to_owned()));
        let told = item(&key, &newer).unwrap_err().to_string();
        assert!(told.contains("layout 2") && told.contains("reads layout 1"), "{told}");
    }

    #[test]
    fn a_cancelled_transaction_is_a_conflict_only_if_another_writer_was_there() {
        let because = |codes: &[&'static str]| cancelled_because(codes.iter().copied());
        assert!(matches!(because(&["None", "ConditionalCheckFailed"]), Some(StoreError::Conflict)));
        assert!(matches!(because(&["TransactionConflict", "None"]), Some(StoreError::Conflict)));
        assert!(matches!(because(&["ValidationError"]), Some(StoreError::Invalid(_))));
        assert!(because(&["None", "ThrottlingError"]).is_none());
        assert!(because(&[]).is_none());
    }
}

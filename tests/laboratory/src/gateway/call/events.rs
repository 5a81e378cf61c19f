//! EventBridge's calls. Every entry of a batch is judged by itself.

use serde_json::Value;

use super::Place;
use crate::gateway::{condition::Context, policy::Permission};

/// PutEvents takes no more entries (API reference).
const MOST: usize = 10;

pub(super) fn permissions(operation: &str, body: &Value, place: Place<'_>) -> Result<Vec<Permission>, String> {
    if operation != "PutEvents" {
        return Err(format!("events:{operation} is not known"));
    }
    let entries = body["Entries"].as_array().filter(|entries| (1..=MOST).contains(&entries.len()));
    let entries = entries.ok_or_else(|| format!("PutEvents takes 1 to {MOST} entries"))?;
    entries.iter().map(|entry| permission(entry, place)).collect()
}

fn permission(entry: &Value, place: Place<'_>) -> Result<Permission, String> {
    let text = |name: &str| entry[name].as_str().filter(|text| !text.is_empty());
    let (source, detail_type) = text("Source").zip(text("DetailType")).ok_or("an event has a source and a type")?;
    let detail: Result<Value, _> = serde_json::from_str(text("Detail").unwrap_or_default());
    if !detail.is_ok_and(|detail| detail.is_object()) {
        return Err("the detail of an event is a JSON object".to_owned());
    }
    let bus = text("EventBusName").unwrap_or("default");
    let context: Context = [("events:source", source), ("events:detail-type", detail_type)]
        .map(|(key, value)| (key.to_owned(), vec![value.to_owned()]))
        .into();
    let resource = format!("arn:aws:events:{}:{}:event-bus/{bus}", place.region, place.account);
    Ok(Permission { action: "events:PutEvents".to_owned(), resource, context })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gateway::call::tests::{needs, request};

    fn call(operation: &str, entries: &[Value]) -> Result<Vec<String>, String> {
        let target = format!("AWSEvents.{operation}");
        needs(&request("POST", "/", &[("x-amz-target", &target)], &json!({"Entries": entries}).to_string()))
    }

    #[test]
    fn an_event_needs_the_right_to_its_bus_and_says_what_it_is() {
        let event = json!({"Source": "muster", "DetailType": "Credential Finding", "Detail": "{}"});
        let needed = call("PutEvents", std::slice::from_ref(&event)).unwrap();
        assert_eq!(
            needed,
            ["events:PutEvents on arn:aws:events:eu-central-1:1:event-bus/default, \
              events:detail-type [\"Credential Finding\"], events:source [\"muster\"]"]
        );
        assert!(call("PutEvents", &vec![event.clone(); 11]).is_err() && call("PutEvents", &[]).is_err());
        assert!(call("PutEvents", &[json!({"Source": "muster", "DetailType": "x", "Detail": "text"})]).is_err());
        assert!(call("PutRule", &[event]).is_err());
    }
}

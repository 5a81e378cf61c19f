//! SQS's calls. A batch needs the permission of the single call.

use serde_json::Value;

use super::Place;
use crate::gateway::{condition::Context, policy::Permission};

pub(super) fn permissions(operation: &str, body: &Value, place: Place<'_>) -> Result<Vec<Permission>, String> {
    let action = operation.strip_suffix("Batch").unwrap_or(operation);
    let known = ["SendMessage", "ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility", "GetQueueAttributes"];
    if !known.contains(&action) {
        return Err(format!("sqs:{operation} is not known"));
    }
    let url = body["QueueUrl"].as_str().ok_or("the request has no QueueUrl")?;
    let name = url.rsplit('/').next().unwrap_or_default();
    Ok(vec![Permission {
        action: format!("sqs:{action}"),
        resource: format!("arn:aws:sqs:{}:{}:{name}", place.region, place.account),
        context: Context::new(),
    }])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gateway::call::tests::{needs, request};

    fn call(operation: &str, body: &Value) -> Result<Vec<String>, String> {
        let target = format!("AmazonSQS.{operation}");
        needs(&request("POST", "/", &[("x-amz-target", &target)], &body.to_string()))
    }

    #[test]
    fn a_batch_is_the_single_call_many_times() {
        let body = json!({"QueueUrl": "http://127.0.0.1:4566/1/alerts"});
        for operation in ["SendMessage", "SendMessageBatch"] {
            assert_eq!(call(operation, &body).unwrap(), ["sqs:SendMessage on arn:aws:sqs:eu-central-1:1:alerts"]);
        }
        assert!(call("PurgeQueue", &body).is_err());
        assert!(call("SendMessage", &json!({})).is_err());
    }
}

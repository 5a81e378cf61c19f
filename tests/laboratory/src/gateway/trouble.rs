//! What AWS does to a call now and then, and ministack never does.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    answer::Answer,
    call::{Request, Service},
};

/// Each strikes one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// SQS takes all messages of a batch but the first.
    MessageRefused { sender_fault: bool },
    /// S3 has another conditional put of the same key under way.
    PutConflicts,
    /// DynamoDB cancels a transaction, for this reason of its first item.
    Cancelled { reason: &'static str },
    /// It is done, and nobody is told.
    AnswerLost,
}

impl Trouble {
    /// What goes on to AWS all the same; of a batch with one message, nothing.
    pub(super) fn remainder(self, request: &Request) -> Option<Request> {
        match self {
            Self::AnswerLost => Some(request.clone()),
            Self::PutConflicts | Self::Cancelled { .. } => None,
            Self::MessageRefused { .. } => {
                let mut body = request.json().ok()?;
                let entries = body["Entries"].as_array_mut().filter(|entries| entries.len() > 1)?;
                entries.remove(0);
                Some(Request { body: Bytes::from(body.to_string()), ..request.clone() })
            }
        }
    }

    /// What the caller is told, once AWS has answered what it was asked.
    pub(super) fn answer(self, request: &Request, answer: Option<Answer>) -> Answer {
        let asked = request.json().unwrap_or_default();
        match self {
            Self::AnswerLost => Answer::text(503, "the answer is lost"),
            Self::PutConflicts => {
                let message =
                    "The conditional request cannot succeed due to a conflicting operation against this resource.";
                Answer::error(Service::S3, 409, "ConditionalRequestConflict", message)
            }
            Self::Cancelled { reason } => cancelled(&asked, reason),
            Self::MessageRefused { sender_fault } => {
                let mut told: Value =
                    answer.and_then(|answer| serde_json::from_slice(&answer.body).ok()).unwrap_or_default();
                told["Failed"] = json!([{
                    "Id": asked["Entries"][0]["Id"], "SenderFault": sender_fault, "Code": "InternalError",
                    "Message": "The message was not taken.",
                }]);
                Answer::json(200, &told)
            }
        }
    }
}

/// `TransactionCanceledException` has a reason for every item, in their order (API reference).
fn cancelled(asked: &Value, reason: &str) -> Answer {
    let items = asked["TransactItems"].as_array().map_or(0, Vec::len);
    let reasons: Vec<&str> = std::iter::once(reason).chain(std::iter::repeat("None")).take(items).collect();
    let message = format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{}]",
        reasons.join(", ")
    );
    let reasons: Vec<Value> = reasons.into_iter().map(|code| json!({"Code": code})).collect();
    let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
    Answer::json(400, &json!({"__type": kind, "Message": message, "CancellationReasons": reasons}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: &Value) -> Request {
        Request {
            method: "POST".to_owned(),
            target: "/".to_owned(),
            headers: std::collections::BTreeMap::new(),
            body: Bytes::from(body.to_string()),
        }
    }

    fn told(answer: &Answer) -> Value {
        serde_json::from_slice(&answer.body).unwrap()
    }

    #[test]
    fn of_a_batch_one_message_stays_behind_and_is_named() {
        let trouble = Trouble::MessageRefused { sender_fault: true };
        let batch = request(&json!({"QueueUrl": "q", "Entries": [{"Id": "0"}, {"Id": "1"}]}));
        let rest = trouble.remainder(&batch).unwrap();
        assert_eq!(rest.json().unwrap(), json!({"QueueUrl": "q", "Entries": [{"Id": "1"}]}));
        let answer = trouble.answer(&batch, Some(Answer::json(200, &json!({"Successful": [{"Id": "1"}]}))));
        let failed = &told(&answer)["Failed"];
        assert_eq!((&failed[0]["Id"], &failed[0]["SenderFault"]), (&json!("0"), &json!(true)));
        assert_eq!(told(&answer)["Successful"], json!([{"Id": "1"}]));
        let single = request(&json!({"Entries": [{"Id": "7"}]}));
        assert!(trouble.remainder(&single).is_none());
        assert_eq!(told(&trouble.answer(&single, None))["Failed"][0]["Id"], "7");
    }

    #[test]
    fn a_cancelled_transaction_has_a_reason_for_every_item() {
        let transaction = request(&json!({"TransactItems": [{}, {}, {}]}));
        let trouble = Trouble::Cancelled { reason: "TransactionConflict" };
        assert!(trouble.remainder(&transaction).is_none(), "nothing of it is carried out");
        let answer = trouble.answer(&transaction, None);
        let reasons = json!([{"Code": "TransactionConflict"}, {"Code": "None"}, {"Code": "None"}]);
        assert_eq!((answer.status, &told(&answer)["CancellationReasons"]), (400, &reasons));
    }
}

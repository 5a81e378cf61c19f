//! AWS answers in pages, and how long they are is its own affair. Here they are so short that whoever takes the first one
//! for everything is found out.

use bytes::Bytes;

use super::call::{Call, Request};

/// Operations that answer in pages, with the field that asks for a length and the one that is given.
const SHORT: [(&str, &str, u64); 3] =
    [("Query", "Limit", 3), ("ListSecrets", "MaxResults", 2), ("ListSecretVersionIds", "MaxResults", 1)];

/// The same request, for a short page.
pub(super) fn shortened(call: &Call, mut request: Request) -> Request {
    let short = SHORT.iter().find(|(operation, _, _)| *operation == call.operation);
    if let (Some((_, field, most)), Ok(mut body)) = (short, request.json()) {
        let asked = body[*field].as_u64().unwrap_or(*most);
        body[*field] = asked.min(*most).into();
        request.body = Bytes::from(body.to_string());
    }
    request
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::gateway::call::{self, Place};

    fn sent_on(target: &str, body: &Value) -> Value {
        let request = Request {
            method: "POST".to_owned(),
            target: "/".to_owned(),
            headers: [("x-amz-target".to_owned(), target.to_owned())].into(),
            body: Bytes::from(body.to_string()),
        };
        let call = call::read(&request, Place { region: "eu-central-1", account: "1" }).unwrap();
        shortened(&call, request).json().unwrap()
    }

    #[test]
    fn a_page_is_short_and_never_longer_than_it_was_asked_to_be() {
        let list = "secretsmanager.ListSecrets";
        assert_eq!(sent_on(list, &json!({})), json!({"MaxResults": 2}));
        assert_eq!(sent_on(list, &json!({"MaxResults": 100, "NextToken": "x"}))["MaxResults"], 2);
        assert_eq!(sent_on(list, &json!({"MaxResults": 1})), json!({"MaxResults": 1}));
        let read = json!({"SecretId": "a"});
        assert_eq!(sent_on("secretsmanager.DescribeSecret", &read), read);
    }
}

//! Answers, as each service words them.

use bytes::Bytes;
use serde_json::{Value, json};

use super::call::Service;

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Answer {
    fn new(status: u16, kind: &str, body: String) -> Self {
        Self { status, headers: vec![("content-type".to_owned(), kind.to_owned())], body: Bytes::from(body) }
    }

    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/x-amz-json-1.1", body.to_string())
    }

    pub fn xml(body: &str) -> Self {
        Self::new(200, "text/xml", body.to_owned())
    }

    pub fn text(status: u16, text: &str) -> Self {
        Self::new(status, "text/plain", text.to_owned())
    }

    /// An error of the service, in its own shape.
    pub fn error(service: Service, status: u16, code: &str, message: &str) -> Self {
        let xml =
            |body: String| Self::new(status, "text/xml", format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}"));
        match service {
            Service::DynamoDb | Service::Sqs => {
                let code = format!("com.amazon.coral.service#{code}");
                Self::json(status, &json!({"__type": code, "Message": message, "message": message}))
            }
            Service::EventBridge | Service::SecretsManager => {
                Self::json(status, &json!({"__type": code, "Message": message}))
            }
            Service::S3 => {
                xml(format!("<Error><Code>{code}</Code><Message>{message}</Message><RequestId>0</RequestId></Error>"))
            }
            Service::Sts => xml(format!(
                "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
                 <Code>{code}</Code><Message>{message}</Message></Error><RequestId>0</RequestId></ErrorResponse>"
            )),
        }
    }

    /// A refusal by IAM.
    pub fn denied(service: Service, message: &str) -> Self {
        match service {
            Service::DynamoDb | Service::EventBridge | Service::SecretsManager => {
                Self::error(service, 400, "AccessDeniedException", message)
            }
            Service::Sqs => Self::error(service, 403, "AccessDeniedException", message),
            Service::S3 | Service::Sts => Self::error(service, 403, "AccessDenied", message),
        }
    }
}

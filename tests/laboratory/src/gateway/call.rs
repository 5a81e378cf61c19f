//! A request to AWS, read: which service, which operation, and what must be allowed for it.

mod bucket;
mod dynamodb;
mod events;
mod queue;
mod secrets;
mod token;

use std::{collections::BTreeMap, fmt};

use bytes::Bytes;
use serde_json::Value;

pub(super) use self::bucket::to_be_told_of_absence;
use super::policy::Permission;

/// One request as it came in.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    /// Path and query, as they were sent.
    pub target: String,
    /// Names in small letters.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn json(&self) -> Result<Value, String> {
        serde_json::from_slice(&self.body).map_err(|error| format!("the body is no JSON: {error}"))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    DynamoDb,
    EventBridge,
    S3,
    SecretsManager,
    Sqs,
    Sts,
}

impl Service {
    /// The name it has in signatures.
    pub fn name(self) -> &'static str {
        match self {
            Self::DynamoDb => "dynamodb",
            Self::EventBridge => "events",
            Self::S3 => "s3",
            Self::SecretsManager => "secretsmanager",
            Self::Sqs => "sqs",
            Self::Sts => "sts",
        }
    }
}

#[derive(Debug, Clone)]
pub struct Call {
    pub service: Service,
    pub operation: String,
    /// All of them must be allowed. Secrets are named as the caller names them; AWS judges by their ARN, which is not to
    /// be seen here.
    pub permissions: Vec<Permission>,
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.service.name(), self.operation)
    }
}

/// Where everything is.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub region: &'a str,
    pub account: &'a str,
}

/// # Errors
/// A service, an operation or a shape that is not known here: what it may do cannot be judged.
pub fn read(request: &Request, place: Place<'_>) -> Result<Call, String> {
    let target = request.header("x-amz-target");
    let (service, operation, permissions) = if let Some(operation) = target.strip_prefix("DynamoDB_20120810.") {
        (Service::DynamoDb, operation.to_owned(), dynamodb::permissions(operation, &request.json()?, place)?)
    } else if let Some(operation) = target.strip_prefix("secretsmanager.") {
        (Service::SecretsManager, operation.to_owned(), secrets::permissions(operation, &request.json()?)?)
    } else if let Some(operation) = target.strip_prefix("AWSEvents.") {
        (Service::EventBridge, operation.to_owned(), events::permissions(operation, &request.json()?, place)?)
    } else if let Some(operation) = target.strip_prefix("AmazonSQS.") {
        (Service::Sqs, operation.to_owned(), queue::permissions(operation, &request.json()?, place)?)
    } else if !target.is_empty() {
        return Err(format!("the target {target} is not known"));
    } else if request.header("content-type").starts_with("application/x-www-form-urlencoded") {
        let (operation, permissions) = token::permissions(&request.body)?;
        (Service::Sts, operation, permissions)
    } else {
        let (operation, permissions) = bucket::permissions(request)?;
        (Service::S3, operation, permissions)
    };
    Ok(Call { service, operation, permissions })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) const PLACE: Place<'static> = Place { region: "eu-central-1", account: "1" };

    pub(super) fn request(method: &str, target: &str, headers: &[(&str, &str)], body: &str) -> Request {
        Request {
            method: method.to_owned(),
            target: target.to_owned(),
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: Bytes::from(body.to_owned()),
        }
    }

    /// What a call must be allowed to do, as text.
    pub(super) fn needs(request: &Request) -> Result<Vec<String>, String> {
        Ok(read(request, PLACE)?.permissions.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_service_that_is_not_known_is_an_error() {
        for target in ["DynamoDB_20111205.GetItem", "Kinesis_20131202.PutRecord", "secretsmanagerx.GetSecretValue"] {
            let unknown = request("POST", "/", &[("x-amz-target", target)], "{}");
            assert!(needs(&unknown).is_err(), "{target}");
        }
    }
}

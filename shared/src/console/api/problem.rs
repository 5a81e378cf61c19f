//! What went wrong, as RFC 9457 has it, and the headers of every answer to a script.

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::{plain, web};

/// An error that a script can read.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says what kind of problem it is.
    #[serde(rename = "type")]
    kind: &'static str,
    title: &'static str,
    status: u16,
    /// For a person; nothing that depends on it should be automated.
    detail: String,
    /// What finds the request in the log.
    #[serde(skip_serializing_if = "String::is_empty")]
    request_id: String,
    /// Each thing that must be put right, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing: Vec<Value>,
    #[serde(skip)]
    header: Option<(&'static str, String)>,
}

impl Problem {
    pub fn new(status: u16, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank",
            title: title(status),
            status,
            detail: plain::sentence(detail.into()),
            request_id: String::new(),
            missing: Vec::new(),
            header: None,
        }
    }

    pub fn naming(self, missing: Vec<Value>) -> Self {
        Self { missing, ..self }
    }

    pub fn with_header(self, name: &'static str, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }

    pub fn answer(mut self, request: &web::Request) -> web::Response {
        self.request_id = request.id.clone();
        let mut response = json(self.status, &serde_json::to_value(&self).unwrap_or_default());
        response.headers[0].1 = "application/problem+json".to_owned();
        response.headers.extend(self.header);
        response
    }
}

/// The reason phrase of RFC 9110.
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        422 => "Unprocessable Content",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        _ => "Error",
    }
}

pub fn json(status: u16, value: &Value) -> web::Response {
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'".to_owned()),
        ("referrer-policy", "no-referrer".to_owned()),
        ("x-content-type-options", "nosniff".to_owned()),
        ("cache-control", "no-store".to_owned()),
    ];
    web::Response { status, headers, cookies: Vec::new(), body: value.to_string() }
}

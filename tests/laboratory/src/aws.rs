//! A client for AWS's wire formats, as little as tests need: it signs nothing for real, and ministack minds nothing.

use std::time::Duration;

use reqwest::{Client, Method, Response, redirect::Policy};
use serde_json::Value;

use tokio::runtime::{Builder, Runtime};

use crate::ministack::Ministack;

/// Longer than any invocation that a test waits for.
const PATIENCE: Duration = Duration::from_secs(900);

#[derive(Debug, Clone)]
pub struct Aws {
    client: Client,
    endpoint: String,
    /// Twelve digits, which ministack takes from the access key.
    account: String,
}

/// Status and text of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    pub status: u16,
    pub body: Vec<u8>,
    /// What `x-amz-function-error` holds, of an invocation.
    pub function_error: Option<String>,
    /// Where a page leads.
    pub location: Option<String>,
    /// What a page leaves with the browser.
    pub cookies: Vec<String>,
}

impl Said {
    /// # Panics
    /// When it is no success, or no JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert!(self.status < 300, "{}: {}", self.status, self.text());
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Aws {
    pub fn new(endpoint: &str) -> Self {
        Self::of_account(endpoint, Ministack::ACCOUNT)
    }

    pub fn of_account(endpoint: &str, account: &str) -> Self {
        let client = Client::builder()
            .timeout(PATIENCE)
            .no_proxy()
            .redirect(Policy::none())
            .build()
            .expect("a client without any files");
        Self { client, endpoint: endpoint.to_owned(), account: account.to_owned() }
    }

    /// A call of a service that speaks JSON: the target is, say, `secretsmanager.GetSecretValue`.
    pub async fn json(&self, service: &str, target: &str, body: &Value) -> Said {
        let headers = [("x-amz-target", target), ("content-type", "application/x-amz-json-1.1")];
        self.send(service, Method::POST, "/", &headers, body.to_string().into_bytes()).await
    }

    /// A call of a service that speaks forms.
    pub async fn query(&self, service: &str, fields: &[(&str, &str)]) -> Said {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(service, Method::POST, "/", &headers, form.into_bytes()).await
    }

    /// A call of a service that speaks REST.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn send(
        &self,
        service: &str,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Said {
        let scope = format!("{}/20261122/{}/{service}/aws4_request", self.account, Ministack::REGION);
        let signature = "0".repeat(64);
        let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={signature}");
        let signed = [("authorization", signed.as_str()), ("x-amz-date", "20261122T000000Z")];
        self.unsigned(method, target, &[&signed, headers].concat(), body).await
    }

    /// A request that is no call of AWS: a browser's, or a script's, to an API behind the gateway of APIs.
    ///
    /// # Panics
    /// When nobody answers.
    pub async fn unsigned(&self, method: Method, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Said {
        let mut request = self.client.request(method, format!("{}{target}", self.endpoint)).body(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        // Its address may be a secret.
        said(request.send().await.unwrap_or_else(|error| panic!("{}", error.without_url()))).await
    }
}

async fn said(response: Response) -> Said {
    let status = response.status().as_u16();
    let values = |name: &str| -> Vec<String> {
        let values = response.headers().get_all(name).into_iter();
        values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
    };
    let function_error = values("x-amz-function-error").pop();
    let (location, cookies) = (values("location").pop(), values("set-cookie"));
    let body = response.bytes().await.expect("a whole answer").to_vec();
    Said { status, body, function_error, location, cookies }
}

/// The same for those who wait: a person at the keyboard, who may do everything.
#[derive(Debug)]
pub struct Operator {
    aws: Aws,
    runtime: Runtime,
}

impl Operator {
    /// # Panics
    /// When the machine has no threads left.
    pub fn at(endpoint: &str) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        Self { aws: Aws::new(endpoint), runtime: runtime.expect("a runtime") }
    }

    pub fn json(&self, service: &str, target: &str, body: &Value) -> Said {
        self.runtime.block_on(self.aws.json(service, target, body))
    }

    pub fn query(&self, service: &str, fields: &[(&str, &str)]) -> Said {
        self.runtime.block_on(self.aws.query(service, fields))
    }

    pub fn send(&self, service: &str, method: Method, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Said {
        self.runtime.block_on(self.aws.send(service, method, target, headers, body))
    }

    pub fn unsigned(&self, method: Method, target: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Said {
        self.runtime.block_on(self.aws.unsigned(method, target, headers, body))
    }
}

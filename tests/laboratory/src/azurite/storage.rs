//! Azurite's account as a customer's services write to it: containers, append blobs, messages, an exporter's steps.

use reqwest::{Certificate, Client, Method, Response};
use simulator::{Exporter, Step};

use super::Azurite;

/// Everything here panics when azurite refuses: what a test has prepared must be there.
#[derive(Debug)]
pub struct Storage<'a> {
    azurite: &'a Azurite,
    client: Client,
}

impl<'a> Storage<'a> {
    pub(super) fn of(azurite: &'a Azurite) -> Self {
        let pem = std::fs::read(azurite.ca_certificate()).expect("the authority's certificate");
        let authority = Certificate::from_pem(&pem).expect("a certificate");
        let client = Client::builder().tls_certs_only([authority]).no_proxy().build().expect("a client");
        Self { azurite, client }
    }

    /// A client that trusts azurite and nobody else.
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub async fn create_container(&self, container: &str) {
        self.write(Method::PUT, &self.blob_url(&format!("{container}?restype=container")), &[], Vec::new()).await;
    }

    pub async fn create_queue(&self, queue: &str) {
        self.write(Method::PUT, &self.queue_url(queue), &[], Vec::new()).await;
    }

    /// A blob that is there is replaced.
    pub async fn create_append_blob(&self, container: &str, blob: &str) {
        let headers = [("x-ms-blob-type", "AppendBlob")];
        self.write(Method::PUT, &self.blob_url(&format!("{container}/{blob}")), &headers, Vec::new()).await;
    }

    pub async fn append(&self, container: &str, blob: &str, bytes: Vec<u8>) {
        self.write(Method::PUT, &self.blob_url(&format!("{container}/{blob}?comp=appendblock")), &[], bytes).await;
    }

    pub async fn delete_blob(&self, container: &str, blob: &str) {
        self.write(Method::DELETE, &self.blob_url(&format!("{container}/{blob}")), &[], Vec::new()).await;
    }

    /// Puts this text, which has to be fit for XML, for so many seconds or for seven days.
    pub async fn put(&self, queue: &str, text: &str, seconds: Option<i64>) {
        let lifetime = seconds.map(|seconds| format!("?messagettl={seconds}")).unwrap_or_default();
        let body = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
        let url = self.queue_url(&format!("{queue}/messages{lifetime}"));
        self.write(Method::POST, &url, &[("Content-Type", "application/xml")], body.into_bytes()).await;
    }

    /// Applies a step of an exporter's, whose hints go to this queue. The container must be there.
    pub async fn export(&self, queue: &str, step: Step) {
        match step {
            Step::CreateBlob { name } => self.create_append_blob(Exporter::CONTAINER, &name).await,
            Step::Append { name, bytes } => self.append(Exporter::CONTAINER, &name, bytes).await,
            Step::Event { message, time_to_live } => {
                self.put(queue, &message, time_to_live.map(|time_to_live| time_to_live.as_secs())).await;
            }
        }
    }

    /// A request with a token and a version, and whatever else is asked for.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Response {
        let length = body.len();
        let mut request = self.client.request(method, url).bearer_auth(self.azurite.token()).body(body);
        if headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("x-ms-version")) {
            request = request.header("x-ms-version", Azurite::VERSION);
        }
        if length == 0 {
            request = request.header("Content-Length", "0");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request
            .send()
            .await
            .unwrap_or_else(|error| panic!("azurite does not answer: {error:?}. {}", self.azurite.log()))
    }

    async fn write(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Vec<u8>) {
        let answer = self.send(method, url, headers, body).await;
        let status = answer.status();
        assert!(status.is_success(), "{url}: {status} {}", answer.text().await.unwrap_or_default());
    }

    fn blob_url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.azurite.blob_url(Azurite::ACCOUNT))
    }

    fn queue_url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.azurite.queue_url(Azurite::ACCOUNT))
    }
}

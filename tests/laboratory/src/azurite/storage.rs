//! Azurite's account as a customer's services write to it: containers, append blobs, messages.

use reqwest::{Certificate, Client, Method};

use super::Azurite;

/// What azurite says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

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

    /// Asks exactly this, with no token and no version but those among the headers.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn ask(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Vec<u8>) -> Answer {
        let empty = body.is_empty().then_some(("Content-Length", "0"));
        let request = self.client.request(method, url).body(body);
        let all = headers.iter().copied().chain(empty);
        let request = all.fold(request, |request, (name, value)| request.header(name, value));
        let answered = async {
            let answer = request.send().await?;
            let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
            let pairs = answer.headers().iter().map(|(name, value)| (name.to_string(), text(value.as_bytes())));
            let (status, headers) = (answer.status().as_u16(), pairs.collect());
            Ok::<_, reqwest::Error>(Answer { status, headers, body: answer.bytes().await?.to_vec() })
        };
        let answered = answered.await;
        answered.unwrap_or_else(|error| panic!("azurite does not answer: {error:?}. {}", self.azurite.log()))
    }

    async fn write(&self, method: Method, url: &str, headers: &[(&str, &str)], body: Vec<u8>) {
        let bearer = format!("Bearer {}", self.azurite.token());
        let ours = [("Authorization", bearer.as_str()), ("x-ms-version", Azurite::VERSION)];
        let headers = [&ours, headers].concat();
        let answer = self.ask(method, url, &headers, body).await;
        assert!(answer.status < 300, "{url}: {} {}", answer.status, answer.text());
    }

    fn blob_url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.azurite.blob_url(Azurite::ACCOUNT))
    }

    fn queue_url(&self, rest: &str) -> String {
        format!("{}/{rest}", self.azurite.queue_url(Azurite::ACCOUNT))
    }
}

//! One HTTP client with two transports: the network, and a function in this process for seeded runs.
//!
//! Nothing above this module names `reqwest`. A bearer token leaves only for an origin that the configuration names,
//! redirects are never followed, and a body is handed out chunk by chunk under a limit.

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{
    future::BoxFuture,
    stream::{BoxStream, StreamExt},
};
use jiff::SignedDuration;
use url::{Origin, Url};

use crate::{clock::Clock, secret::Secret};

/// Microsoft asks partners to name themselves so (MICROSOFT.md 3.2).
const USER_AGENT: &str = concat!("MdatpPartner-Muster-Muster/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two chunks of a body; a whole answer is bounded by the caller's own deadline.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// A body that is read whole is an error text, a token or one alert.
const SMALL_BODY: usize = 4 << 20;
const SMALL_BODY_TIME: SignedDuration = SignedDuration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

/// A request, built by a pure function and sent by [`Client::send`].
#[derive(Debug, Clone)]
pub struct Request {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(Cow<'static, str>, String)>,
    /// Sent as `Authorization: Bearer …`, to a configured origin alone.
    pub bearer: Option<Arc<Secret<String>>>,
    pub content: Option<Content>,
}

/// A request's body.
#[derive(Debug, Clone)]
pub enum Content {
    /// A form, already encoded; it may hold a client secret.
    Form(Secret<String>),
    Json(String),
    /// Whatever a service's own library has put together; its media type is among the request's headers.
    Bytes(Bytes),
}

impl Content {
    /// `None` where the headers tell.
    pub fn media_type(&self) -> Option<&'static str> {
        match self {
            Self::Form(_) => Some("application/x-www-form-urlencoded"),
            Self::Json(_) => Some("application/json"),
            Self::Bytes(_) => None,
        }
    }

    /// The bytes as they go over the wire.
    pub fn expose(&self) -> &[u8] {
        match self {
            Self::Form(form) => form.expose().as_bytes(),
            Self::Json(json) => json.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }
}

impl Request {
    pub fn get(url: Url) -> Self {
        Self { method: Method::Get, url, headers: Vec::new(), bearer: None, content: None }
    }

    pub fn post_form(url: Url, form: Secret<String>) -> Self {
        Self { method: Method::Post, url, headers: Vec::new(), bearer: None, content: Some(Content::Form(form)) }
    }

    pub fn patch_json(url: Url, json: &serde_json::Value) -> Self {
        Self { method: Method::Patch, ..Self::post_json(url, json) }
    }

    pub fn post_json(url: Url, json: &serde_json::Value) -> Self {
        let content = Some(Content::Json(json.to_string()));
        Self { method: Method::Post, url, headers: Vec::new(), bearer: None, content }
    }
}

/// Status, headers (names in lower case) and a body yet to be read.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    #[error("no answer in time")]
    TimedOut,
    #[error("the connection failed: {0}")]
    Broken(String),
    #[error("the body is longer than {0} bytes")]
    TooLong(usize),
    /// A defect or an attack: somebody put another host into a URL that carries our token.
    #[error("refused to send a token to {0}, which the configuration does not name")]
    ForeignOrigin(String),
}

/// A body in chunks.
pub struct Body(BoxStream<'static, Result<Bytes, HttpError>>);

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Body")
    }
}

impl Body {
    pub fn new(chunks: BoxStream<'static, Result<Bytes, HttpError>>) -> Self {
        Self(chunks)
    }

    /// The next chunk; `None` at the end of a complete body.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        self.0.next().await.transpose()
    }

    /// The whole of a small body.
    ///
    /// # Errors
    /// [`HttpError::TooLong`] beyond 4 MiB and [`HttpError::TimedOut`] after half a minute, so that a body that never ends
    /// or only drips cannot hold us.
    pub async fn small(mut self, clock: &Clock) -> Result<Vec<u8>, HttpError> {
        let deadline = clock.now() + SMALL_BODY_TIME;
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if clock.now() > deadline {
                return Err(HttpError::TimedOut);
            }
            if whole.len() + chunk.len() > SMALL_BODY {
                return Err(HttpError::TooLong(SMALL_BODY));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

/// A service in this process that answers requests as the network would.
pub trait InProcess: Send + Sync {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, HttpError>>;
}

#[derive(Clone)]
enum Transport {
    Network(reqwest::Client),
    InProcess(Arc<dyn InProcess>),
}

/// Sends requests. Cheap to clone; connections are shared.
#[derive(Clone)]
pub struct Client {
    transport: Transport,
    trusted: Arc<Vec<Origin>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("trusted", &self.trusted).finish_non_exhaustive()
    }
}

impl Client {
    /// A client for the network. `trusted` are the origins a bearer token may go to.
    ///
    /// # Errors
    /// When the platform's certificates cannot be loaded.
    pub fn network(trusted: impl IntoIterator<Item = Url>) -> Result<Self, HttpError> {
        let client = reqwest::Client::builder()
            .user_agent(USER_AGENT)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .build()
            .map_err(broken)?;
        Ok(Self::over(Transport::Network(client), trusted))
    }

    pub fn in_process(service: Arc<dyn InProcess>, trusted: impl IntoIterator<Item = Url>) -> Self {
        Self::over(Transport::InProcess(service), trusted)
    }

    fn over(transport: Transport, trusted: impl IntoIterator<Item = Url>) -> Self {
        Self { transport, trusted: Arc::new(trusted.into_iter().map(|url| url.origin()).collect()) }
    }

    /// The same transport, for other origins that a bearer token may go to.
    pub fn trusting(&self, trusted: impl IntoIterator<Item = Url>) -> Self {
        Self::over(self.transport.clone(), trusted)
    }

    /// Sends and returns as soon as the head of the answer is there. Any status is an answer.
    ///
    /// # Errors
    /// [`HttpError`] when there is no answer, or when the request must not be sent.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let origin = request.url.origin();
        if request.bearer.is_some() && !self.trusted.contains(&origin) {
            return Err(HttpError::ForeignOrigin(origin.ascii_serialization()));
        }
        match &self.transport {
            Transport::InProcess(service) => service.send(request).await,
            Transport::Network(client) => over_network(client, request).await,
        }
    }
}

async fn over_network(client: &reqwest::Client, request: Request) -> Result<Response, HttpError> {
    let mut builder = match request.method {
        Method::Get => client.get(request.url),
        Method::Head => client.head(request.url),
        Method::Post => client.post(request.url),
        Method::Put => client.put(request.url),
        Method::Patch => client.patch(request.url),
        Method::Delete => client.delete(request.url),
    };
    for (name, value) in request.headers {
        builder = builder.header(name.as_ref(), value);
    }
    if let Some(token) = request.bearer {
        builder = builder.bearer_auth(token.expose());
    }
    if let Some(content) = request.content {
        if let Some(media_type) = content.media_type() {
            builder = builder.header("content-type", media_type);
        }
        builder = match content {
            Content::Bytes(bytes) => builder.body(bytes),
            other => builder.body(other.expose().to_vec()),
        };
    }
    let answer = builder.send().await.map_err(broken)?;
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let status = answer.status().as_u16();
    let chunks = futures::stream::try_unfold(answer, |mut answer| async move {
        Ok(answer.chunk().await.map_err(broken)?.map(|chunk| (chunk, answer)))
    });
    Ok(Response { status, headers, body: Body::new(chunks.boxed()) })
}

fn broken(error: reqwest::Error) -> HttpError {
    if error.is_timeout() {
        return HttpError::TimedOut;
    }
    // The URL may name a tenant and a filter; it is in the caller's log fields, not in every error text.
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    HttpError::Broken(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Answers;

    impl InProcess for Answers {
        fn send(&self, _: Request) -> BoxFuture<'_, Result<Response, HttpError>> {
            let endless = futures::stream::repeat_with(|| Ok(Bytes::from_static(&[b'x'; 65_536])));
            Box::pin(async { Ok(Response { status: 200, headers: Vec::new(), body: Body::new(endless.boxed()) }) })
        }
    }

    fn client() -> Client {
        Client::in_process(Arc::new(Answers), [Url::parse("https://api.security.microsoft.com").unwrap()])
    }

    fn with_token(url: &str) -> Request {
        let mut request = Request::get(Url::parse(url).unwrap());
        request.bearer = Some(Arc::new(Secret::new("token".to_owned())));
        request
    }

    #[test]
    fn a_token_leaves_only_for_a_configured_origin() {
        for foreign in [
            "https://api.security.microsoft.com.evil.example/api/alerts",
            "http://api.security.microsoft.com/api/alerts",
            "https://api.security.microsoft.com:8443/api/alerts",
            "https://evil.example/api.security.microsoft.com",
        ] {
            let answer = futures::executor::block_on(client().send(with_token(foreign)));
            assert!(matches!(answer, Err(HttpError::ForeignOrigin(_))), "{foreign}");
        }
        let answer = futures::executor::block_on(client().send(with_token("https://api.security.microsoft.com/x")));
        assert!(answer.is_ok());
    }

    #[test]
    fn a_body_that_never_ends_is_given_up() {
        let answer = futures::executor::block_on(async {
            let answer = client().send(Request::get(Url::parse("https://a.example").unwrap())).await.unwrap();
            answer.body.small(&Clock::System).await
        });
        assert_eq!(answer.unwrap_err(), HttpError::TooLong(SMALL_BODY));
    }
}

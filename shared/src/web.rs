//! What browsers send us and what they get: API Gateway's HTTP payload 2.0, reduced to what our pages need.

use std::fmt;

use aws_lambda_events::{
    apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
    encodings::Body,
    http::{HeaderMap, HeaderName, HeaderValue},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use url::{Url, form_urlencoded};

use crate::secret::Secret;

/// No form and no call of ours is longer; what is longer is not read.
pub const MAX_BODY: usize = 256 * 1024;

/// Why there is no body to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    #[error("it is longer than {MAX_BODY} bytes")]
    TooLong,
    #[error("it is not base64, as the gateway says it is")]
    Encoding,
}

/// A request from a browser. Nothing of it is to be believed.
#[derive(Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// As sent, still encoded.
    pub query: String,
    /// Name and value, in the order sent.
    pub cookies: Vec<(String, String)>,
    /// `Sec-Fetch-Site`, which browsers set and pages cannot.
    pub fetch_site: Option<String>,
    /// Of the page that sent a form; browsers set it, pages cannot.
    pub origin: Option<String>,
    pub authorization: Option<Secret<String>>,
    pub content_type: Option<String>,
    /// What was sent; nothing of what is longer than [`MAX_BODY`], or is not what its encoding says.
    pub body: Result<Vec<u8>, BadBody>,
    /// The platform's id for this request, to find it in the log.
    pub id: String,
}

impl Default for Request {
    fn default() -> Self {
        Self {
            method: String::new(),
            path: String::new(),
            query: String::new(),
            cookies: Vec::new(),
            fetch_site: None,
            origin: None,
            authorization: None,
            content_type: None,
            body: Ok(Vec::new()),
            id: String::new(),
        }
    }
}

impl fmt::Debug for Request {
    /// Addresses, cookies and bodies hold invitations, state, codes and secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("id", &self.id).finish_non_exhaustive()
    }
}

impl Request {
    /// The cookie of this name. Two of one name are none: somebody else has set one of them.
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let mut values = self.cookies.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        values.next().filter(|_| values.next().is_none())
    }

    /// The value in the query, the first of its name.
    pub fn asked(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// Whether a page of ours sent it, as far as the browser says. One that says nothing is old, or no browser.
    pub fn is_from(&self, public_url: &Url) -> bool {
        let site = self.fetch_site.as_deref();
        // A page that sends no referrer, as ours do, keeps its origin to itself: the form's is `null` then (Fetch 3.2).
        let kept = |origin: &&str| *origin == "null" && site == Some("same-origin");
        let origin = self.origin.as_deref().filter(|origin| !kept(origin));
        site.is_none_or(|site| matches!(site, "same-origin" | "none"))
            && origin.is_none_or(|origin| origin == public_url.origin().ascii_serialization())
    }

    pub fn has_type(&self, media_type: &str) -> bool {
        let sent = self.content_type.as_deref().unwrap_or_default();
        sent.split(';').next().is_some_and(|sent| sent.trim().eq_ignore_ascii_case(media_type))
    }

    /// The fields of the form in the body.
    ///
    /// # Errors
    /// As the body.
    pub fn form(&self) -> Result<Form, BadBody> {
        let body = self.body.as_ref().map_err(|bad| *bad)?;
        Ok(Form(form_urlencoded::parse(body).into_owned().collect()))
    }
}

/// The fields of a form as sent. Some of them are secrets.
#[derive(Clone, Default)]
pub struct Form(Vec<(String, String)>);

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form")
    }
}

impl Form {
    /// The field's text without the space around it; none where it is missing or left empty.
    pub fn text<'a>(&'a self, name: &'a str) -> Option<&'a str> {
        self.all(name).next()
    }

    /// All values of the fields of this name that are not empty, as of ticked boxes.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, _)| key == name)
            .map(|(_, value)| value.trim())
            .filter(|value| !value.is_empty())
    }
}

impl From<ApiGatewayV2httpRequest> for Request {
    fn from(event: ApiGatewayV2httpRequest) -> Self {
        let cookies = event.cookies.unwrap_or_default();
        // A function URL and API Gateway split the header; `; ` inside one entry is tolerated all the same.
        let pairs = cookies.iter().flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        Self {
            method: event.request_context.http.method.as_str().to_owned(),
            path: event.raw_path.unwrap_or_default(),
            query: event.raw_query_string.unwrap_or_default(),
            cookies: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            fetch_site: header(&event.headers, "sec-fetch-site"),
            origin: header(&event.headers, "origin"),
            authorization: header(&event.headers, "authorization").map(Secret::new),
            content_type: header(&event.headers, "content-type"),
            body: body(event.body, event.is_base64_encoded),
            id: event.request_context.request_id.unwrap_or_default(),
        }
    }
}

/// One that comes twice is none: whoever adds a second means something by it.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?.to_owned();
    values.next().is_none().then_some(value)
}

fn body(sent: Option<String>, is_base64: bool) -> Result<Vec<u8>, BadBody> {
    let sent = sent.unwrap_or_default();
    if sent.len() > if is_base64 { MAX_BODY.div_ceil(3) * 4 } else { MAX_BODY } {
        return Err(BadBody::TooLong);
    }
    if is_base64 { STANDARD.decode(sent).map_err(|_| BadBody::Encoding) } else { Ok(sent.into_bytes()) }
}

/// What the browser gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub cookies: Vec<String>,
    pub body: String,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
    }
}

impl From<Response> for ApiGatewayV2httpResponse {
    fn from(response: Response) -> Self {
        let mut event = Self::default();
        event.status_code = response.status.into();
        for (name, value) in response.headers {
            // Ours alone are here, and each is a valid one; a value that were not is better left out than a panic.
            if let Ok(value) = HeaderValue::try_from(value) {
                event.headers.insert(HeaderName::from_static(name), value);
            }
        }
        event.cookies = response.cookies;
        event.body = Some(Body::Text(response.body));
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_of_api_gateway_is_read() {
        let event: ApiGatewayV2httpRequest = serde_json::from_value(serde_json::json!({
            "version": "2.0", "routeKey": "GET /consent/callback", "rawPath": "/consent/callback",
            "rawQueryString": "error=access_denied&state=a%2Eb", "cookies": ["a=1", "b=2"],
            "headers": {"host": "muster.example.com", "sec-fetch-site": "same-origin"}, "isBase64Encoded": false,
            "requestContext": {"requestId": "Jx1=", "timeEpoch": 1, "http": {
                "method": "GET", "path": "/consent/callback", "protocol": "HTTP/1.1", "sourceIp": "192.0.2.1", "userAgent": "x"}}
        }))
        .unwrap();
        let request = Request::from(event);
        assert_eq!((request.method.as_str(), request.path.as_str()), ("GET", "/consent/callback"));
        assert_eq!((request.query.as_str(), request.id.as_str()), ("error=access_denied&state=a%2Eb", "Jx1="));
        assert_eq!(request.fetch_site.as_deref(), Some("same-origin"));
        assert!(!format!("{request:?}").contains("a%2Eb"), "what is secret in an address is not printed");
        assert_eq!((request.cookie("a"), request.cookie("b"), request.cookie("c")), (Some("1"), Some("2"), None));
    }

    #[test]
    fn a_form_is_read_as_text_or_base64_and_never_beyond_its_size() {
        let form = |sent: String, is_base64| {
            Request { body: body(Some(sent), is_base64), ..Request::default() }.form().map(|form| {
                (form.text("name").map(str::to_owned), form.all("feed").map(str::to_owned).collect::<Vec<_>>())
            })
        };
        let sent = "name=+M%C3%BCller+%26+S%C3%B6hne+&feed=alerts&feed=&feed=machines";
        let expected = Ok((Some("Müller & Söhne".to_owned()), vec!["alerts".to_owned(), "machines".to_owned()]));
        assert_eq!(form(sent.to_owned(), false), expected);
        assert_eq!(form(STANDARD.encode(sent), true), expected);
        assert_eq!(form("%%%".to_owned(), true), Err(BadBody::Encoding));
        assert_eq!(form("x".repeat(MAX_BODY + 1), false), Err(BadBody::TooLong));
        assert_eq!(form(STANDARD.encode("x".repeat(MAX_BODY + 3)), true), Err(BadBody::TooLong));
    }

    #[test]
    fn a_form_of_another_site_is_known_by_what_browsers_say() {
        let ours = Url::parse("https://muster.example.com/").unwrap();
        let is_ours = |fetch_site: Option<&str>, origin: Option<&str>| {
            let (fetch_site, origin) = (fetch_site.map(str::to_owned), origin.map(str::to_owned));
            Request { fetch_site, origin, ..Request::default() }.is_from(&ours)
        };
        assert!(is_ours(Some("same-origin"), Some("https://muster.example.com")) && is_ours(None, None));
        assert!(is_ours(Some("same-origin"), Some("null")), "what a browser says of a page without a referrer");
        assert!(!is_ours(Some("none"), Some("null")) && !is_ours(Some("same-origin"), Some("https://evil.example")));
        for origin in ["null", "https://evil.example", "http://muster.example.com", "https://muster.example.com:444"] {
            assert!(!is_ours(None, Some(origin)), "{origin}");
        }
        assert!(!is_ours(Some("same-site"), None) && !is_ours(Some("cross-site"), None));
    }

    #[test]
    fn a_cookie_that_comes_twice_is_none() {
        let cookies = [("a", "1"), ("a", "2")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(Request { cookies, ..Request::default() }.cookie("a"), None);
    }
}

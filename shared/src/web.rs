//! What browsers send us and what they get: API Gateway's HTTP payload 2.0, reduced to what our pages need.

use std::fmt;

use aws_lambda_events::{
    apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
    encodings::Body,
    http::{HeaderName, HeaderValue},
};

/// A request from a browser. Nothing of it is to be believed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// As sent, still encoded.
    pub query: String,
    /// Name and value, in the order sent.
    pub cookies: Vec<(String, String)>,
    /// `Sec-Fetch-Site`, which browsers set and pages cannot.
    pub fetch_site: Option<String>,
    /// The platform's id for this request, to find it in the log.
    pub id: String,
}

impl fmt::Debug for Request {
    /// Addresses and cookies hold invitations, state and codes.
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
}

impl From<ApiGatewayV2httpRequest> for Request {
    fn from(event: ApiGatewayV2httpRequest) -> Self {
        let cookies = event.cookies.unwrap_or_default();
        // A function URL and API Gateway split the header; `; ` inside one entry is tolerated all the same.
        let fetch_site = event.headers.get("sec-fetch-site").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let pairs = cookies.iter().flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        Self {
            method: event.request_context.http.method.as_str().to_owned(),
            path: event.raw_path.unwrap_or_default(),
            query: event.raw_query_string.unwrap_or_default(),
            cookies: pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            fetch_site,
            id: event.request_context.request_id.unwrap_or_default(),
        }
    }
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
    fn a_cookie_that_comes_twice_is_none() {
        let cookies = [("a", "1"), ("a", "2")].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(Request { cookies, ..Request::default() }.cookie("a"), None);
    }
}

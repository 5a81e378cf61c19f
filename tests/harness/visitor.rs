//! A person's browser: it keeps our cookies and follows redirects only when told to.

use std::collections::BTreeMap;

use aws_lambda_events::{
    apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
    encodings::Body,
    http::HeaderValue,
};
use futures::executor::block_on;
use serde_json::{Value, json};
use simulator::Choice;

use crate::{PUBLIC_URL, Stage, minutes};

/// What the browser shows.
#[derive(Debug, Clone)]
pub struct Page {
    pub status: i64,
    pub location: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Page {
    /// The text of the first such element.
    pub fn heading(&self) -> &str {
        let rest = self.body.split_once("<h1").map_or("", |(_, rest)| rest);
        rest.split_once('>').map_or("", |(_, rest)| rest).split("</h1>").next().unwrap_or_default()
    }

    /// What its forms carry.
    pub fn token(&self) -> &str {
        let rest = self.body.split_once("name=\"token\" value=\"").map_or("", |(_, rest)| rest);
        rest.split('"').next().unwrap_or_default()
    }

    /// Where the page's form leads.
    pub fn action(&self) -> &str {
        self.body.split_once("action=\"").and_then(|(_, rest)| rest.split('"').next()).unwrap_or_default()
    }
}

#[derive(Debug)]
pub struct Visitor<'a> {
    stage: &'a Stage,
    pub cookies: BTreeMap<String, String>,
    /// What the browser says of where a request comes from.
    pub fetch_site: Option<&'static str>,
}

impl<'a> Visitor<'a> {
    pub fn new(stage: &'a Stage) -> Self {
        Self { stage, cookies: BTreeMap::new(), fetch_site: None }
    }

    /// Opens one of our addresses, whole or as a path.
    pub fn get(&mut self, url: &str) -> Page {
        self.ask("GET", url)
    }

    pub fn post(&mut self, url: &str) -> Page {
        self.ask("POST", url)
    }

    pub fn ask(&mut self, method: &str, url: &str) -> Page {
        self.send(self.event(method, url))
    }

    /// Fills in the form of a page of ours that this browser has open, and presses its button.
    pub fn submit(&mut self, open: &Page, url: &str, fields: &[(&str, &str)]) -> Page {
        let token = ("token", open.token());
        self.post_form(url, &[&[token], fields].concat())
    }

    /// Sends a form, wherever it comes from.
    pub fn post_form(&mut self, url: &str, fields: &[(&str, &str)]) -> Page {
        self.send(self.form(url, fields))
    }

    /// A form on its way, for a test that answers it in its own way.
    pub fn form(&self, url: &str, fields: &[(&str, &str)]) -> ApiGatewayV2httpRequest {
        let mut event = self.event("POST", url);
        event.body = Some(url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish());
        event.headers.insert("content-type", HeaderValue::from_static("application/x-www-form-urlencoded"));
        event
    }

    /// Calls the API, with the bearer token if there is one, and with the session if this browser has one.
    pub fn call(&mut self, token: Option<&str>, method: &str, path: &str, body: Option<&Value>) -> (i64, Value) {
        let mut event = self.event(method, path);
        if let Some(token) = token {
            let bearer = HeaderValue::from_str(&format!("Bearer {token}")).expect("a header");
            event.headers.insert("authorization", bearer);
        }
        if let Some(body) = body {
            event.headers.insert("content-type", HeaderValue::from_static("application/json"));
            event.body = Some(body.to_string());
        }
        let page = self.send(event);
        let expected = if page.status < 400 { "application/json" } else { "application/problem+json" };
        assert_eq!(page.headers["content-type"], expected, "{}", page.body);
        (page.status, serde_json::from_str(&page.body).expect("JSON"))
    }

    /// Hands the request to the function whose route it is, as API Gateway does.
    pub fn send(&mut self, event: ApiGatewayV2httpRequest) -> Page {
        let path = event.raw_path.clone().unwrap_or_default();
        let app = &self.stage.app;
        let response = if path.starts_with("/connect/") || path.starts_with("/consent/") {
            block_on(consent_callback::handle(app, event, minutes(10)))
        } else {
            block_on(console::handle(app, event, minutes(10)))
        };
        self.receive(response)
    }

    /// The request as API Gateway hands it over, for a test that answers it in its own way.
    pub fn event(&self, method: &str, url: &str) -> ApiGatewayV2httpRequest {
        let target = url.strip_prefix(PUBLIC_URL).unwrap_or(url);
        assert!(target.starts_with('/'), "{url} is not ours");
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        serde_json::from_value(json!({
            "version": "2.0", "rawPath": path, "rawQueryString": query, "cookies": cookies,
            "headers": self.fetch_site.map_or_else(|| json!({}), |site| json!({"sec-fetch-site": site})),
            "isBase64Encoded": false,
            "requestContext": {"requestId": "test-request", "timeEpoch": 0, "http": {"method": method, "path": path}},
        }))
        .expect("an event of API Gateway's")
    }

    /// Keeps the cookies and shows the rest.
    pub fn receive(&mut self, response: ApiGatewayV2httpResponse) -> Page {
        self.keep(&response);
        let page = page(response);
        self.stage.shown(&page.body);
        page
    }

    fn keep(&mut self, response: &ApiGatewayV2httpResponse) {
        for cookie in &response.cookies {
            let pair = cookie.split(';').next().unwrap_or_default();
            let (name, value) = pair.split_once('=').expect("a cookie has a value");
            if cookie.contains("Max-Age=0;") {
                self.cookies.remove(name);
                continue;
            }
            self.stage.given(value.split('.').next().unwrap_or_default());
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Opens the invitation and presses its one button. The address of Microsoft's consent page.
    pub fn start(&mut self, link: &str) -> String {
        let page = self.get(link);
        assert_eq!(page.status, 200, "{}", page.body);
        let answer = self.post(page.action());
        assert_eq!(answer.status, 302, "{}", answer.body);
        answer.location
    }

    /// As [`Visitor::start`], then this user approves. The address Microsoft sends the browser back to.
    pub fn approve(&mut self, link: &str, user: &str) -> String {
        let consent = self.start(link);
        let back = self.stage.simulator.approve(&consent, user);
        assert!(back.starts_with(PUBLIC_URL), "{back}");
        back
    }

    /// As [`Visitor::approve`], then back to us. The address of Microsoft's sign-in page.
    pub fn reach_sign_in(&mut self, link: &str, user: &str) -> String {
        let back = self.approve(link, user);
        let page = self.get(&back);
        assert_eq!(page.status, 302, "{}", page.body);
        page.location
    }

    /// This user signs in at that address. The address Microsoft sends the browser back to.
    pub fn sign_in(&self, url: &str, user: &str) -> String {
        let response = self.stage.simulator.choose(url, Choice::Approve, Some(user));
        response.header("location").unwrap_or_default().to_owned()
    }

    /// This colleague signs in to the console. The answer to the way back.
    pub fn log_in(&mut self, user: &str) -> Page {
        let begun = self.get("/login");
        assert_eq!(begun.status, 302, "{}", begun.body);
        let back = self.sign_in(&begun.location, user);
        self.get(&back)
    }

    /// The whole walk, as it is meant.
    pub fn consent(&mut self, link: &str, user: &str) -> Page {
        let sign_in = self.reach_sign_in(link, user);
        let back = self.sign_in(&sign_in, user);
        self.get(&back)
    }
}

fn page(response: ApiGatewayV2httpResponse) -> Page {
    let headers: BTreeMap<String, String> = response
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
        .collect();
    let body = match response.body {
        Some(Body::Text(text)) => text,
        _ => String::new(),
    };
    let location = headers.get("location").cloned().unwrap_or_default();
    Page { status: response.status_code, location, headers, body }
}

//! A tenant's administrator at a browser: opens the link, presses the button, approves at Microsoft, comes back.

use shared::{
    clock::Clock,
    http::{Client, Method, Request},
};
use simulator::{Choice, Simulator};
use url::Url;

use crate::Failure;

#[derive(Debug)]
pub struct Administrator<'a> {
    simulator: &'a Simulator,
    oid: &'a str,
    http: Client,
    clock: Clock,
    cookie: Option<String>,
}

struct Page {
    location: Option<String>,
    body: String,
}

impl<'a> Administrator<'a> {
    /// # Errors
    /// When the platform's certificates cannot be loaded.
    pub fn new(simulator: &'a Simulator, oid: &'a str, clock: Clock) -> Result<Self, Failure> {
        let http = Client::network([]).map_err(Failure::failed)?;
        Ok(Self { simulator, oid, http, clock, cookie: None })
    }

    /// The whole walk. What the last page says.
    ///
    /// # Errors
    /// When a page is not there, or leads nowhere.
    pub async fn approve(mut self, link: &Url) -> Result<String, Failure> {
        let page = self.open(Method::Get, link.clone()).await?;
        let action = between(&page.body, "action=\"", "\"").ok_or_else(|| lost("the invitation has no form"))?;
        let start = link.join(action).map_err(Failure::failed)?;
        let at_microsoft = self.open(Method::Post, start).await?.location.ok_or_else(|| lost("no way to Microsoft"))?;
        let back = self.at_microsoft(&at_microsoft)?;
        let sign_in = self.open(Method::Get, back).await?.location.ok_or_else(|| lost("no way to the sign-in"))?;
        let back = self.at_microsoft(&sign_in)?;
        let page = self.open(Method::Get, back).await?;
        let heading = between(&page.body, "<h1", "</h1>").and_then(|rest| rest.split_once('>'));
        heading.map(|(_, heading)| heading.to_owned()).ok_or_else(|| lost("the last page says nothing"))
    }

    /// Chooses the account, and says yes.
    fn at_microsoft(&self, url: &str) -> Result<Url, Failure> {
        let answer = self.simulator.choose(url, Choice::Approve, Some(self.oid));
        let location = answer.header("location").ok_or_else(|| lost("Microsoft shows a page of its own"))?;
        Url::parse(location).map_err(Failure::failed)
    }

    async fn open(&mut self, method: Method, url: Url) -> Result<Page, Failure> {
        let mut request = Request::get(url);
        request.method = method;
        request.headers.extend(self.cookie.clone().map(|cookie| ("cookie".into(), cookie)));
        let answer = self.http.send(request).await.map_err(Failure::failed)?;
        let location = answer.header("location").map(str::to_owned);
        if let Some(cookie) = answer.header("set-cookie").and_then(|cookie| cookie.split(';').next()) {
            self.cookie = Some(cookie.to_owned());
        }
        let body = answer.body.small(&self.clock).await.map_err(Failure::failed)?;
        Ok(Page { location, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

fn between<'t>(text: &'t str, before: &str, after: &str) -> Option<&'t str> {
    text.split_once(before)?.1.split_once(after).map(|(found, _)| found)
}

fn lost(what: &str) -> Failure {
    Failure::failed(format!("an administrator is lost on the way: {what}"))
}

//! A person's browser at the HTTP API.

use std::collections::BTreeMap;

use laboratory::{Method, Said};
use simulator::{Choice, Simulator};
use url::form_urlencoded;

use crate::stack::{PUBLIC_URL, Stack};

/// What in an address is for whoever carries it alone.
const SECRET_VALUES: [&str; 4] = ["state", "code", "nonce", "code_challenge"];

pub struct Browser<'a> {
    stack: &'a Stack,
    /// Who sits at it.
    user: &'a str,
    cookies: BTreeMap<String, String>,
    /// What it was given to carry: codes, states, links, cookies, and what its forms hold.
    carried: Vec<String>,
}

impl<'a> Browser<'a> {
    pub fn new(stack: &'a Stack, user: &'a str) -> Self {
        Self { stack, user, cookies: BTreeMap::new(), carried: Vec::new() }
    }

    /// All that nobody else must ever see.
    pub fn carried(self) -> Vec<String> {
        assert!(!self.carried.is_empty(), "it has been nowhere");
        self.carried
    }

    fn open(&mut self, method: Method, url: &str, form: Option<String>) -> Said {
        let target = url.strip_prefix(PUBLIC_URL).unwrap_or(url);
        assert!(target.starts_with('/'), "{url} is not ours");
        self.note(url);
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("cookie", cookies.as_str())];
        if form.is_some() {
            headers.extend([
                ("content-type", "application/x-www-form-urlencoded"),
                ("origin", PUBLIC_URL),
                ("sec-fetch-site", "same-origin"),
            ]);
        }
        let page = self.stack.knock(method, target, &headers, form.unwrap_or_default().into_bytes());
        for cookie in &page.cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
            self.carried.extend((!value.is_empty()).then(|| value.to_owned()));
        }
        page
    }

    /// What an address carries.
    fn note(&mut self, address: &str) {
        let values = address.split(['?', '&']).filter_map(|pair| pair.split_once('='));
        let secret = values.filter(|(name, _)| SECRET_VALUES.contains(name)).map(|(_, value)| value.to_owned());
        self.carried.extend(secret);
        for door in ["/connect/", "/renew/"] {
            self.carried.extend(address.split(door).nth(1).map(|rest| rest.split('/').next().unwrap().to_owned()));
        }
    }

    pub fn get(&mut self, url: &str) -> Said {
        self.open(Method::GET, url, None)
    }

    /// Opens a page of the console, over Microsoft where that is asked for. The page.
    pub fn look(&mut self, url: &str, microsoft: &Simulator) -> Said {
        let page = self.get(url);
        let page = self.follow(page, microsoft);
        assert_eq!(page.status, 200, "{url}: {}", page.text());
        page
    }

    /// Fills in the page's form that leads there, and goes where that leads.
    pub fn submit(&mut self, page: &Said, action: &str, fields: &[(&str, &str)], microsoft: &Simulator) -> Said {
        let text = page.text();
        let mut posts = text.split("<form").skip(1).filter(|form| form.contains("method=\"post\""));
        let form = posts.find(|form| form.contains(&format!("action=\"{action}\"")));
        let form = form.unwrap_or_else(|| panic!("no form leads to {action}: {text}"));
        let form = form.split("</form>").next().unwrap();
        let mut all = hidden(form);
        self.carried.extend(all.iter().filter(|(name, _)| name == "token").map(|(_, value)| value.clone()));
        all.extend(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(all).finish();
        let answer = self.open(Method::POST, action, Some(body));
        self.follow(answer, microsoft)
    }

    /// The whole walk: opens the link, presses the button, approves, signs in. The last page.
    pub fn consent(&mut self, link: &str, microsoft: &Simulator) -> Said {
        let page = self.get(link);
        assert_eq!(page.status, 200, "{}", page.text());
        let text = page.text();
        let action = text.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        self.submit(&page, action, &[], microsoft)
    }

    /// Goes wherever it is sent, and says yes at Microsoft. The page where that ends.
    fn follow(&mut self, mut page: Said, microsoft: &Simulator) -> Said {
        for _ in 0..10 {
            let Some(mut address) = page.location.clone() else { return page };
            assert!([302, 303].contains(&page.status), "{}: {}", page.status, page.text());
            let is_ours = |address: &str| address.starts_with('/') || address.starts_with(PUBLIC_URL);
            if !is_ours(&address) {
                self.note(&address);
                let answer = microsoft.choose(&address, Choice::Approve, Some(self.user));
                let back = answer.header("location").map(str::to_owned);
                address = back.unwrap_or_else(|| panic!("Microsoft keeps {}: {}", self.user, answer.status));
            }
            page = self.get(&address);
        }
        panic!("there is no end to it");
    }
}

/// What a form sends by itself.
fn hidden(form: &str) -> Vec<(String, String)> {
    let attribute = |input: &str, name: &str| {
        let value = input.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
        Some(value.replace("&#34;", "\"").replace("&#38;", "&").replace("&amp;", "&"))
    };
    let inputs = form.split("<input").skip(1).filter(|input| input.contains("type=\"hidden\""));
    inputs.filter_map(|input| Some((attribute(input, "name")?, attribute(input, "value")?))).collect()
}

//! An administrator's browser at the HTTP API.

use std::collections::BTreeMap;

use laboratory::{Method, Said};
use simulator::{Choice, Simulator};

use crate::stack::{PUBLIC_URL, Stack};

pub struct Browser<'a> {
    stack: &'a Stack,
    /// Who sits at it.
    user: &'a str,
    cookies: BTreeMap<String, String>,
    /// Every address that was opened: they hold codes and states.
    pub visited: Vec<String>,
}

impl<'a> Browser<'a> {
    pub fn new(stack: &'a Stack, user: &'a str) -> Self {
        Self { stack, user, cookies: BTreeMap::new(), visited: Vec::new() }
    }

    fn open(&mut self, method: Method, url: &str) -> Said {
        let target = url.strip_prefix(PUBLIC_URL).unwrap_or(url);
        assert!(target.starts_with('/'), "{url} is not ours");
        self.visited.push(url.to_owned());
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let page = self.stack.knock(method, target, &cookies.join("; "));
        for cookie in &page.cookies {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        page
    }

    pub fn get(&mut self, url: &str) -> Said {
        self.open(Method::GET, url)
    }

    /// The whole walk: opens the link, presses the button, approves, signs in. The last page.
    pub fn consent(&mut self, link: &str, microsoft: &Simulator) -> Said {
        let page = self.get(link);
        assert_eq!(page.status, 200, "{}", page.text());
        let text = page.text();
        let action = text.split("action=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        let to_consent = self.open(Method::POST, action);
        let back = self.at_microsoft(microsoft, &to_consent);
        let to_sign_in = self.get(&back);
        let back = self.at_microsoft(microsoft, &to_sign_in);
        self.get(&back)
    }

    /// Follows us to Microsoft and says yes there. The address that Microsoft sends the browser back to.
    fn at_microsoft(&mut self, microsoft: &Simulator, page: &Said) -> String {
        assert_eq!(page.status, 302, "{}", page.text());
        let address = page.location.clone().unwrap();
        self.visited.push(address.clone());
        let answer = microsoft.choose(&address, Choice::Approve, Some(self.user));
        answer.header("location").unwrap().to_owned()
    }
}

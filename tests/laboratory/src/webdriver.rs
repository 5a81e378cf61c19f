//! The dozen commands of WebDriver (W3C, section 10 and on) that tests give a browser, and two of Chromium's own.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::{self, Runtime};

/// The member that makes a JSON object an element (12.1).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser of its own, until it is dropped.
#[derive(Debug)]
pub struct Session {
    runtime: Runtime,
    client: Client,
    /// Of the session, without a slash at the end.
    address: String,
    /// What the browser remembers.
    _profile: TempDir,
}

/// Something on the page that the browser shows now; it refuses commands about one that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element(String);

/// What the browser says to a command that it cannot obey (6.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// As in `stale element reference`.
    pub error: String,
    pub message: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.message)
    }
}

impl std::error::Error for Refused {}

impl Session {
    /// Starts a browser.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn begin(origin: &str, capabilities: &Value, profile: TempDir) -> Result<Self, Refused> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        // The proxy of this machine, if it has one, does not lead to loopback.
        let client = Client::builder().no_proxy().build().expect("a client without any files");
        let mut session = Self { runtime, client, address: format!("{origin}/session"), _profile: profile };
        let begun = session.ask(Method::POST, "", &json!({"capabilities": {"alwaysMatch": capabilities}}));
        let id = begun.map(|begun| begun["sessionId"].as_str().unwrap_or_default().to_owned());
        // A session that has not begun is not ended either.
        session.address = id.as_ref().map_or_else(|_| String::new(), |id| format!("{origin}/session/{id}"));
        id.map(|_| session)
    }

    /// Goes to this address, and waits for the page.
    pub fn open(&self, address: &str) -> Result<(), Refused> {
        self.tell("/url", &json!({"url": address}))
    }

    pub fn back(&self) -> Result<(), Refused> {
        self.tell("/back", &json!({}))
    }

    pub fn reload(&self) -> Result<(), Refused> {
        self.tell("/refresh", &json!({}))
    }

    /// What the address bar shows.
    pub fn address(&self) -> Result<String, Refused> {
        Ok(text(&self.look("/url")?))
    }

    /// All that this CSS selector selects.
    pub fn elements(&self, selector: &str) -> Result<Vec<Element>, Refused> {
        let found = self.ask(Method::POST, "/elements", &json!({"using": "css selector", "value": selector}))?;
        Ok(found.as_array().into_iter().flatten().map(|element| Element(text(&element[ELEMENT]))).collect())
    }

    /// The accessible name: what a screen reader calls it (12.4.10).
    pub fn name(&self, Element(id): &Element) -> Result<String, Refused> {
        Ok(text(&self.look(&format!("/element/{id}/computedlabel"))?))
    }

    pub fn is_displayed(&self, Element(id): &Element) -> Result<bool, Refused> {
        Ok(self.look(&format!("/element/{id}/displayed"))? == true)
    }

    /// Presses it where it is; what covers it is in the way. If that leads to another page, what follows waits for it.
    pub fn click(&self, Element(id): &Element) -> Result<(), Refused> {
        self.tell(&format!("/element/{id}/click"), &json!({}))
    }

    pub fn clear(&self, Element(id): &Element) -> Result<(), Refused> {
        self.tell(&format!("/element/{id}/clear"), &json!({}))
    }

    /// Types this text, key by key.
    pub fn write(&self, Element(id): &Element, text: &str) -> Result<(), Refused> {
        self.tell(&format!("/element/{id}/value"), &json!({"text": text}))
    }

    /// Runs the body of a function in the page, whatever the page's policy says of scripts. What it returns.
    pub fn run(&self, script: &str) -> Result<Value, Refused> {
        self.ask(Method::POST, "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// As [`Session::run`], for one that calls its last argument when it is done.
    pub fn run_patiently(&self, script: &str) -> Result<Value, Refused> {
        self.ask(Method::POST, "/execute/async", &json!({"script": script, "args": []}))
    }

    /// What the window shows, as PNG.
    pub fn picture(&self) -> Result<Vec<u8>, Refused> {
        Ok(STANDARD.decode(text(&self.look("/screenshot")?)).expect("base64, as the standard has it"))
    }

    /// What Chromium has warned of since it was last asked: objects with `level`, `source` and `message`.
    pub fn warnings(&self) -> Result<Vec<Value>, Refused> {
        let log = self.ask(Method::POST, "/se/log", &json!({"type": "browser"}))?;
        Ok(log.as_array().cloned().unwrap_or_default())
    }

    /// A command of Chromium's own protocol.
    pub fn devtools(&self, command: &str, parameters: &Value) -> Result<(), Refused> {
        self.tell("/goog/cdp/execute", &json!({"cmd": command, "params": parameters}))
    }

    fn look(&self, path: &str) -> Result<Value, Refused> {
        self.ask(Method::GET, path, &Value::Null)
    }

    fn tell(&self, path: &str, body: &Value) -> Result<(), Refused> {
        self.ask(Method::POST, path, body).map(|_| ())
    }

    /// One command: its answer's `value`.
    fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Refused> {
        let request = self.client.request(method, format!("{}{path}", self.address));
        let request = if body.is_null() { request } else { request.body(body.to_string()) };
        let answer = self.runtime.block_on(async {
            let answer = request.send().await?;
            Ok((answer.status().is_success(), answer.bytes().await?))
        });
        let (obeyed, answer) = answer.map_err(|error: reqwest::Error| gone(&error))?;
        let value = serde_json::from_slice::<Value>(&answer).map_err(|error| gone(&error))?["value"].take();
        if obeyed { Ok(value) } else { Err(Refused { error: text(&value["error"]), message: text(&value["message"]) }) }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.address.is_empty() {
            // One whose driver has ended has ended, too.
            let _ended = self.ask(Method::DELETE, "", &Value::Null);
        }
    }
}

/// There is nobody who could obey.
fn gone(error: &dyn fmt::Display) -> Refused {
    Refused { error: "no driver".to_owned(), message: error.to_string() }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Chromium, Scripts};

    const PAGE: &str = "data:text/html,<h1>As it was</h1><label>Your name <input id=name value=old></label>\
                        <p hidden><button>Never</button></p><button aria-label='Send it'>!</button>\
                        <script>document.querySelector('h1').innerText = 'Changed'</script>";

    #[test]
    fn a_page_is_found_by_what_things_are_called_written_to_and_seen() {
        let browser = Chromium::shared().browser(Scripts::Run);
        browser.open(PAGE).unwrap();
        assert_eq!(browser.address().unwrap().split(',').next(), Some("data:text/html"));
        assert_eq!(browser.run("return document.querySelector('h1').innerText").unwrap(), "Changed");
        let field = &browser.elements("input").unwrap()[0];
        assert_eq!(browser.name(field).unwrap(), "Your name");
        browser.clear(field).unwrap();
        browser.write(field, "Ada").unwrap();
        let later =
            "const done = arguments[0]; requestAnimationFrame(() => done(document.getElementById('name').value))";
        assert_eq!(browser.run_patiently(later).unwrap(), "Ada");
        let buttons = browser.elements("button").unwrap();
        let shown: Vec<bool> = buttons.iter().map(|button| browser.is_displayed(button).unwrap()).collect();
        assert_eq!((shown, browser.name(&buttons[1]).unwrap().as_str()), (vec![false, true], "Send it"));
        assert!(browser.picture().unwrap().starts_with(b"\x89PNG"));

        browser.reload().unwrap();
        assert_eq!(browser.click(&buttons[1]).unwrap_err().error, "stale element reference");
        browser.open("data:text/html,<p>another").unwrap();
        browser.back().unwrap();
        assert_eq!(browser.elements("h1").unwrap().len(), 1);
    }

    #[test]
    fn where_scripts_are_blocked_a_pages_own_do_not_run_and_ours_do() {
        let browser = Chromium::shared().browser(Scripts::Blocked);
        browser.open(PAGE).unwrap();
        assert_eq!(browser.run("return document.querySelector('h1').innerText").unwrap(), "As it was");
    }

    #[test]
    fn what_a_policy_forbids_is_complained_of_and_binds_us_not() {
        let browser = Chromium::shared().browser(Scripts::Run);
        let policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">";
        browser.open(&format!("data:text/html,{policy}<script>document.title = 'mine'</script><p>here")).unwrap();
        assert_eq!(browser.run("return document.title").unwrap(), "", "the page's script ran");
        let warnings = browser.warnings().unwrap();
        assert!(warnings[0]["message"].as_str().unwrap().contains("Content Security Policy"), "{warnings:?}");
        assert_eq!(browser.run("document.title = 'ours'; return document.title").unwrap(), "ours");
        assert_eq!(browser.warnings().unwrap(), Vec::<Value>::new(), "each is told once");
    }
}

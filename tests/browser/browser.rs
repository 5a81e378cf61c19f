//! One person's browser, spoken to in the words of whoever sits before it.

use std::{fmt::Display, thread, time::Duration};

use laboratory::{Chromium, Element, Refused, Scripts, Session, within};
use serde_json::Value;

use crate::judge::{forget, keep};

/// How long a page may take to show what is looked for. It takes milliseconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// What can be pressed, and what can be filled in.
const PRESSED: &str = "button, a[href], summary, input[type=submit], [role=button]";
const FILLED: &str = "input:not([type=hidden]):not([type=radio]):not([type=checkbox]):not([type=submit]), textarea";
const CHOSEN: &str = "input[type=radio], input[type=checkbox], option";

pub struct Browser(Session);

impl Browser {
    /// A browser that nobody has used before.
    pub fn new() -> Self {
        Self(Chromium::shared().browser(Scripts::Run))
    }

    /// As [`Browser::new`]; no page may run a script.
    pub fn without_scripts() -> Self {
        Self(Chromium::shared().browser(Scripts::Blocked))
    }

    #[track_caller]
    pub fn open(&self, address: impl Display) {
        done(self.0.open(&address.to_string()));
    }

    #[track_caller]
    pub fn reload(&self) {
        done(self.0.reload());
    }

    /// Presses the button, or follows the link, of this name.
    #[track_caller]
    pub fn press(&self, name: &str) {
        done(self.0.click(&self.find(PRESSED, name, |found| found == name)));
    }

    /// Writes into the field of this label, in the place of what stood there.
    #[track_caller]
    pub fn fill(&self, label: &str, text: &str) {
        let field = self.find(FILLED, label, |found| found == label);
        done(self.0.clear(&field));
        done(self.0.write(&field, text));
    }

    /// Chooses a radio button, a box or an option of a list, whose label begins so.
    #[track_caller]
    pub fn choose(&self, label: &str) {
        done(self.0.click(&self.find(CHOSEN, label, |found| found.starts_with(label))));
    }

    /// Whether a button or link of this name can be seen.
    #[track_caller]
    pub fn offers(&self, name: &str) -> bool {
        done(self.seen(PRESSED, &|found| found == name)).is_some()
    }

    /// Waits until the page has this heading.
    #[track_caller]
    pub fn sees(&self, heading: &str) {
        let seen = within(PATIENCE, || (self.heading() == heading).then_some(()));
        assert!(seen.is_some(), "`{heading}` is not the heading of {}:\n{}", self.address(), self.text());
    }

    /// Waits until this text stands on the page.
    #[track_caller]
    pub fn reads(&self, text: &str) {
        let read = within(PATIENCE, || self.text().contains(text).then_some(()));
        assert!(read.is_some(), "`{text}` does not stand on {}:\n{}", self.address(), self.text());
    }

    /// The text of the page's main heading; empty where there is none.
    #[track_caller]
    pub fn heading(&self) -> String {
        self.script("return document.querySelector('h1')?.innerText ?? ''").as_str().unwrap_or_default().to_owned()
    }

    /// What can be read on the page.
    #[track_caller]
    pub fn text(&self) -> String {
        self.script("return document.body?.innerText ?? ''").as_str().unwrap_or_default().to_owned()
    }

    /// What the address bar shows.
    #[track_caller]
    pub fn address(&self) -> String {
        done(self.0.address())
    }

    /// Runs the body of a function in the page, whatever the page's policy says of scripts. What it returns.
    #[track_caller]
    pub fn script(&self, script: &str) -> Value {
        done(self.0.run(script))
    }

    /// As [`Browser::script`], for one that calls its last argument when it is done.
    #[track_caller]
    pub fn patient_script(&self, script: &str) -> Value {
        done(self.0.run_patiently(script))
    }

    /// What the browser has to complain of since it was last asked: policies that were violated, scripts that failed.
    /// That a page's own answer is no success is not among it.
    #[track_caller]
    pub fn complaints(&self) -> Vec<String> {
        let told = done(self.0.warnings()).into_iter().filter(|warning| warning["source"] != "network");
        told.map(|warning| warning["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// A command of Chromium's own protocol.
    #[track_caller]
    pub fn devtools(&self, command: &str, parameters: &Value) {
        done(self.0.devtools(command, parameters));
    }

    /// What the window shows, as PNG.
    #[track_caller]
    pub fn picture(&self) -> Vec<u8> {
        done(self.0.picture())
    }

    /// The element of this kind that can be seen and is called so, as soon as there is one.
    #[track_caller]
    fn find(&self, kind: &str, name: &str, is_it: impl Fn(&str) -> bool) -> Element {
        // An element may vanish while it is asked for its name, because the next page comes.
        let found = within(PATIENCE, || self.seen(kind, &is_it).ok().flatten());
        found.unwrap_or_else(|| panic!("there is no `{name}` on {}:\n{}", self.address(), self.text()))
    }

    fn seen(&self, kind: &str, is_it: &dyn Fn(&str) -> bool) -> Result<Option<Element>, Refused> {
        for element in self.0.elements(kind)? {
            if is_it(&self.0.name(&element)?) && self.0.is_displayed(&element)? {
                return Ok(Some(element));
            }
        }
        Ok(None)
    }
}

impl Drop for Browser {
    /// What a story that failed saw last is kept as a picture, until the story succeeds.
    fn drop(&mut self) {
        let name = format!("failed-{}", thread::current().name().unwrap_or("story").replace("::", "-"));
        if !thread::panicking() {
            forget(&name);
        } else if let Ok(picture) = self.0.picture() {
            keep(&name, &picture);
        }
    }
}

#[track_caller]
fn done<T>(answer: Result<T, Refused>) -> T {
    answer.unwrap_or_else(|refused| panic!("the browser does not obey: {refused}"))
}

#[test]
fn things_are_found_by_what_they_are_called_and_only_where_they_can_be_seen() {
    let browser = Browser::new();
    browser.open(
        "data:text/html,<h1>Before</h1><button hidden>Send</button><label for=n>Name</label><input id=n value=old>\
         <label>Region <select><option>Europe</option><option>Africa</option></select></label>\
         <label><input type=checkbox> All of it</label><button aria-label=Send \
         onclick='document.querySelector(`h1`).innerText = [...document.querySelectorAll(`input, select`)]\
         .map((each) => each.checked || each.value).join()'>*</button>",
    );
    browser.fill("Name", "new");
    browser.choose("Africa");
    browser.choose("All");
    assert!(browser.offers("Send") && !browser.offers("*"));
    browser.press("Send");
    browser.sees("new,Africa,true");
}

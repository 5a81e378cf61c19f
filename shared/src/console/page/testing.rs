//! What every page must be, checked on the rendered text.

use std::collections::BTreeSet;

use super::{Chrome, Section, Who};
use crate::{
    config::Config,
    page::{Audience, Pages},
    web,
};

/// What people put into names.
pub const HOSTILE: &str = "<script>alert(1)</script>\"'><img src=x onerror=a>\u{202e}";
const MAX_PAGE: usize = 50_000;

/// What stands around a page.
pub struct Scene {
    config: Config,
    request: web::Request,
    name: String,
}

impl Scene {
    pub fn new() -> Self {
        let name = |key: &str| (key == "MUSTER_PROVIDER_NAME").then(|| "Example Security".to_owned());
        Self {
            config: Config::from_lookup(name).unwrap(),
            request: web::Request { id: "Jx1=".to_owned(), ..web::Request::default() },
            name: "Ada Lovelace".to_owned(),
        }
    }

    pub fn hostile() -> Self {
        Self { name: HOSTILE.to_owned(), ..Self::new() }
    }

    pub fn chrome(&self, at: Section) -> Chrome<'_> {
        self.chrome_of(at, true)
    }

    pub fn chrome_of(&self, at: Section, is_operator: bool) -> Chrome<'_> {
        let frame = Pages::new(&self.config, Audience::Operators, &self.request).frame();
        Chrome { frame, who: Some(Who { name: &self.name, is_operator, token: "the-token", at, is_front: true }) }
    }
}

/// Checks a page, keeps it for eyes where `MUSTER_PAGES` names a folder, and hands it back.
pub fn check(name: &str, page: &str) -> String {
    if let Ok(folder) = std::env::var("MUSTER_PAGES") {
        std::fs::write(format!("{folder}/{name}.html"), page).unwrap();
    }
    assert!(page.len() < MAX_PAGE, "{name} has {} bytes", page.len());
    assert_eq!(page.matches("<h1").count(), 1, "{name}: headings of the first level");
    assert_eq!(page.matches("<script").count(), 1, "{name}: scripts");
    let elements = elements(page);
    let attributes = |name: &'static str| elements.iter().filter_map(move |element| attribute(element, name));
    let ids: Vec<&str> = attributes("id").collect();
    let known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(known.len(), ids.len(), "{name}: an id is there twice: {ids:?}");
    let labelled: BTreeSet<&str> = attributes("for").collect();
    for referred in ["aria-describedby", "aria-labelledby", "for", "data-copy"].into_iter().flat_map(attributes) {
        for id in referred.split(' ') {
            assert!(known.contains(id), "{name}: nothing has the id {id}");
        }
    }
    for id in attributes("href").filter_map(|href| href.strip_prefix('#')) {
        assert!(known.contains(id), "{name}: no link leads to {id}");
    }
    for element in &elements {
        let bare: String = element.split('"').step_by(2).collect();
        assert!(!bare.contains(" style=") && !bare.contains(" on"), "{name}: {element}");
        let asks = ["input ", "select ", "textarea "].iter().any(|tag| element.starts_with(tag));
        if asks && attribute(element, "type") != Some("hidden") {
            let id = attribute(element, "id");
            let has_label = id.is_some_and(|id| labelled.contains(id)) || is_inside_label(page, element);
            assert!(has_label, "{name}: nothing says what this is: {element}");
        }
        if element.starts_with("form ") && attribute(element, "method") == Some("post") {
            let form = page.split_once(element.as_str()).unwrap().1.split("</form>").next().unwrap();
            assert!(form.contains("name=\"token\""), "{name}: a form without the session's token: {element}");
        }
    }
    page.to_owned()
}

/// Ticked boxes stand in their labels.
fn is_inside_label(page: &str, element: &str) -> bool {
    let before = page.split_once(element).unwrap().0;
    before.rfind("<label").is_some_and(|opened| before.rfind("</label").is_none_or(|closed| closed < opened))
}

/// What stands between `<` and `>` of every opening tag, script and style aside.
fn elements(page: &str) -> Vec<String> {
    let mut rest = page;
    let mut elements = Vec::new();
    while let Some((_, tail)) = rest.split_once('<') {
        let (element, tail) = tail.split_once('>').expect("a tag is closed");
        rest = match element {
            "style" | "script" => tail.split_once("</").expect("closed").1,
            _ => tail,
        };
        if !element.starts_with(['/', '!']) {
            elements.push(element.to_owned());
        }
    }
    elements
}

fn attribute<'a>(element: &'a str, name: &str) -> Option<&'a str> {
    let (_, value) = element.split_once(&format!(" {name}="))?;
    match value.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => value.split(' ').next(),
    }
}

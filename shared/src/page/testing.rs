//! What every page must be, checked on the rendered text.

use std::collections::BTreeSet;

const MAX_PAGE: usize = 50_000;

/// Checks a page of the console, which has its one script, or of a customer's, which has none. Keeps it for eyes where `MUSTER_PAGES` names a folder, and
/// hands it back.
pub fn check(name: &str, page: &str, scripts: usize) -> String {
    if let Ok(folder) = std::env::var("MUSTER_PAGES") {
        std::fs::write(format!("{folder}/{name}.html"), page).unwrap();
    }
    assert!(page.len() < MAX_PAGE, "{name} has {} bytes", page.len());
    assert_eq!(page.matches("<h1").count(), 1, "{name}: headings of the first level");
    assert_eq!(page.matches("<script").count(), scripts, "{name}: scripts");
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
        if element.starts_with("form ") && attribute(element, "method") == Some("post") && scripts > 0 {
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

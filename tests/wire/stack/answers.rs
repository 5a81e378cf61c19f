//! Answers in XML, as far as they are read here.

/// The text of the first element of that name.
pub fn between(text: &str, name: &str) -> Option<String> {
    all(text, name).into_iter().next()
}

/// The texts of all elements of that name.
pub fn all(text: &str, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    text.split(&open).skip(1).filter_map(|rest| rest.split_once(&close)).map(|(text, _)| plain(text)).collect()
}

fn plain(text: &str) -> String {
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&apos;", "'"), ("&amp;", "&")];
    entities.into_iter().fold(text.to_owned(), |text, (entity, letter)| text.replace(entity, letter))
}

/// Percent-encoded text, decoded.
pub fn decoded(text: &str) -> String {
    let form = format!("t={}", text.replace('+', "%2B"));
    let (_, text) = url::form_urlencoded::parse(form.as_bytes()).next().unwrap();
    text.into_owned()
}

/// A key as it stands in an address.
pub fn encoded(key: &str) -> String {
    let part = |part| url::form_urlencoded::byte_serialize(str::as_bytes(part)).collect::<String>().replace('+', "%20");
    key.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_found_by_name_and_entities_are_letters() {
        let text = "<A><Key>a&amp;b</Key></A><A><Key>c</Key></A>";
        assert_eq!(all(text, "Key"), ["a&b", "c"]);
        assert_eq!((between(text, "Key").as_deref(), between(text, "No")), (Some("a&b"), None));
        assert_eq!((decoded("%7B+%2F").as_str(), encoded("a/b c=d").as_str()), ("{+/", "a/b%20c%3Dd"));
    }
}

//! Letters as drafts that the operator's own mail program opens. We send none ourselves.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stands as it is in the parts of a `mailto:` address: RFC 3986's unreserved characters. RFC 6068 would allow more.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Likewise in a mail address.
const ENCODED_IN_ADDRESS: AsciiSet = ENCODED.remove(b'@');
/// As SMTP has it.
const MAX_ADDRESS: usize = 254;

/// A `mailto:` address of a draft with subject and text (RFC 6068); without an address the operator adds one.
pub fn draft(to: Option<&str>, subject: &str, text: &str) -> String {
    let to = to.filter(|to| is_address(to)).unwrap_or_default();
    format!(
        "mailto:{}?subject={}&body={}",
        utf8_percent_encode(to, &ENCODED_IN_ADDRESS),
        utf8_percent_encode(subject, &ENCODED),
        utf8_percent_encode(&text.replace('\n', "\r\n"), &ENCODED)
    )
}

/// Whether this can be written into the field of a letter's recipient, as one address.
pub fn is_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"<>()[]\\,;:\"@".contains(&byte);
    text.len() <= MAX_ADDRESS
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && local.bytes().all(plain) && domain.contains('.') && domain.bytes().all(plain)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_one_and_nothing_else() {
        for text in ["a@b.example", "o'brien+x@sub.b.example", "a/b?c&d=e@b.example"] {
            assert!(is_address(text), "{text}");
        }
        let long = format!("{}@b.example", "x".repeat(250));
        for text in [
            "",
            "a",
            "@b.example",
            "a@b",
            "a@b@c.example",
            "a@b.example,c@d.example",
            "a b@c.example",
            "ä@b.example",
            &long,
        ] {
            assert!(!is_address(text), "{text}");
        }
        let draft = draft(Some("a/b?c&d=e@b.example"), "S", "T");
        assert_eq!(draft, "mailto:a%2Fb%3Fc%26d%3De@b.example?subject=S&body=T");
    }
}

//! The letter that carries a link, as a draft that the operator's own mail program opens.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::Invited;
use crate::{config::Config, consent::page::permission};

/// What stands as it is in the parts of a `mailto:` address: RFC 3986's unreserved characters. RFC 6068 would allow more.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Likewise in a mail address.
const ENCODED_IN_ADDRESS: AsciiSet = ENCODED.remove(b'@');
/// As SMTP has it.
const MAX_ADDRESS: usize = 254;

/// A `mailto:` address of a draft with subject and text (RFC 6068); without an address the operator adds one. The link in
/// it is a secret, as the invitation's is.
pub fn mail_draft(config: &Config, invited: &Invited, email: Option<&str>) -> String {
    let provider = &config.provider_name;
    let to = email.filter(|email| is_address(email)).unwrap_or_default();
    let subject = format!("{provider} asks for read access to Microsoft Defender");
    format!(
        "mailto:{}?subject={}&body={}",
        utf8_percent_encode(to, &ENCODED_IN_ADDRESS),
        utf8_percent_encode(&subject, &ENCODED),
        utf8_percent_encode(&text(config, invited).replace('\n', "\r\n"), &ENCODED)
    )
}

fn text(config: &Config, invited: &Invited) -> String {
    let provider = &config.provider_name;
    let permissions: String = invited.feeds.iter().map(|feed| format!("- {}\n", permission(*feed).plain)).collect();
    let until = invited.expires_at.strftime("%-d %B %Y, %H:%M UTC");
    let contact = config.support_contact.as_deref().unwrap_or(provider);
    format!(
        "Hello,\n\n\
         {provider} asks you for read access, for the customer account {account}, to watch over the security of your \
         organization:\n\
         {permissions}\n\
         A Global, Privileged Role, Application or Cloud Application Administrator of your organization can approve. \
         Open this link and follow the page:\n\n\
         {link}\n\n\
         It can be used once, until {until}. If you are not an administrator, forward it to yours and to nobody else. \
         You can take the access back at any time.\n\n\
         Questions: {contact}\n",
        account = invited.account,
        link = invited.link,
    )
}

/// Whether this can be written into the field of a letter's recipient, as one address.
pub(super) fn is_address(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"<>()[]\\,;:\"@".contains(&byte);
    text.len() <= MAX_ADDRESS
        && text.split_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && local.bytes().all(plain) && domain.contains('.') && domain.bytes().all(plain)
        })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use percent_encoding::percent_decode_str;
    use url::Url;
    use uuid::Uuid;

    use super::*;
    use crate::tenant::Feed;

    fn invited(account: &str) -> Invited {
        Invited {
            id: Uuid::from_u128(1),
            link: "https://muster.example.com/connect/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA.BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"
                .parse()
                .unwrap(),
            expires_at: "2026-11-29T12:00:00Z".parse::<Timestamp>().unwrap(),
            account: account.to_owned(),
            feeds: vec![Feed::Alerts, Feed::Machines],
        }
    }

    fn config() -> Config {
        Config::from_lookup(|name| match name {
            "MUSTER_PROVIDER_NAME" => Some("Example & Sons Security".to_owned()),
            "MUSTER_SUPPORT_CONTACT" => Some("help@example.com".to_owned()),
            _ => None,
        })
        .unwrap()
    }

    #[test]
    fn the_draft_says_who_asks_for_what_and_who_may_approve() {
        let draft = mail_draft(&config(), &invited("Contoso"), Some("it@contoso.com"));
        let (to, fields) = draft.strip_prefix("mailto:").unwrap().split_once('?').unwrap();
        assert_eq!(to, "it@contoso.com");
        let (subject, body) = fields.strip_prefix("subject=").unwrap().split_once("&body=").unwrap();
        let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
        assert_eq!(decoded(subject), "Example & Sons Security asks for read access to Microsoft Defender");
        let body = decoded(body);
        for words in [
            "Contoso",
            "- Read the alerts of",
            "- Read the list of devices",
            "Privileged Role",
            "\r\nhttps://muster.example.com/connect/",
            "until 29 November 2026, 12:00 UTC",
            "help@example.com",
        ] {
            assert!(body.contains(words), "{words}: {body}");
        }
        assert!(!body.replace("\r\n", "").contains(['\r', '\n']), "lines end as RFC 6068 has it");
        // Some mail programs on Windows take no more than 2,083 characters.
        assert!(draft.len() < 2000, "{} characters", draft.len());
    }

    #[test]
    fn no_name_of_an_account_changes_what_the_draft_is() {
        for account in ["A&bcc=x@evil.example", "A?to=x", "A#b", "100 % <b>\"'", "Müller & Söhne", "a%0D%0Ab", "日本"]
        {
            let draft = mail_draft(&config(), &invited(account), None);
            let url: Url = draft.parse().unwrap();
            assert!(draft.starts_with("mailto:?subject=") && url.fragment().is_none(), "{draft}");
            let fields: Vec<(String, String)> = url
                .query()
                .unwrap()
                .split('&')
                .map(|field| field.split_once('=').unwrap())
                .map(|(name, value)| (name.to_owned(), percent_decode_str(value).decode_utf8().unwrap().into_owned()))
                .collect();
            let names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["subject", "body"]);
            assert!(fields[1].1.contains(account), "{}", fields[1].1);
            assert!(draft.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":?=&%-._~@".contains(&byte)), "{draft}");
        }
    }

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
        let draft = mail_draft(&config(), &invited("A"), Some("a/b?c&d=e@b.example"));
        assert!(draft.starts_with("mailto:a%2Fb%3Fc%26d%3De@b.example?subject="), "{draft}");
    }
}

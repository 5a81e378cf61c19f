//! The letter that carries a link, as a draft that the operator's own mail program opens.

use super::Invited;
use crate::{config::Config, consent::page::permission, mail};

/// A `mailto:` address of a draft with subject and text (RFC 6068); without an address the operator adds one. The link in
/// it is a secret, as the invitation's is.
pub fn mail_draft(config: &Config, invited: &Invited, email: Option<&str>) -> String {
    let provider = &config.provider_name;
    let subject = format!("{provider} asks for read access to Microsoft Defender");
    mail::draft(email, &subject, &text(config, invited))
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
}

//! The names of a stage's table, bucket, queues and identity, from the environment.

use shared::{config::Mistakes, ports::PerFeed};
use url::{Host, Url};

/// What a stack tells its functions about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    pub table: String,
    pub bucket: String,
    pub queue_urls: PerFeed<String>,
    /// The role whose token stands for us at Entra; none where no credential is federated.
    pub identity_role: Option<String>,
}

impl Settings {
    /// # Errors
    /// Every name that is missing or cannot be one.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut mistakes = Vec::new();
        let mut read = |name: &str, what: &str, check: fn(&str) -> Result<(), &'static str>| {
            let text = lookup(name).unwrap_or_default();
            let wrong = if text.is_empty() { Some("is not set".to_owned()) } else { None };
            let wrong = wrong.or_else(|| check(&text).err().map(|why| format!("is `{text}`: {why}")));
            mistakes.extend(wrong.map(|wrong| format!("{name} {wrong}; it names {what}")));
            text
        };
        let identity_role = lookup("MUSTER_IDENTITY_ROLE_ARN");
        let settings = Self {
            table: read("MUSTER_TABLE", "the state table", table),
            bucket: read("MUSTER_BUCKET", "the lake's bucket", bucket),
            queue_urls: PerFeed {
                alerts: read("MUSTER_ALERTS_QUEUE_URL", "the alerts feed's queue", queue_url),
                machines: read("MUSTER_MACHINES_QUEUE_URL", "the machines feed's queue", queue_url),
                telemetry: read("MUSTER_TELEMETRY_QUEUE_URL", "the telemetry feed's queue", queue_url),
            },
            identity_role: identity_role.clone(),
        };
        if let Some(Err(why)) = identity_role.map(|text| role(&text).map_err(|why| format!("is `{text}`: {why}"))) {
            mistakes.push(format!("MUSTER_IDENTITY_ROLE_ARN {why}; it names the role that stands for us at Entra"));
        }
        if mistakes.is_empty() { Ok(settings) } else { Err(Mistakes(mistakes)) }
    }
}

/// DynamoDB's rule for names.
fn table(text: &str) -> Result<(), &'static str> {
    let fits = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if fits && (3..=255).contains(&text.len()) { Ok(()) } else { Err("use 3 to 255 letters, digits and _.-") }
}

/// S3's rule for names.
fn bucket(text: &str) -> Result<(), &'static str> {
    let fits = text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-".contains(&byte));
    if fits && (3..=63).contains(&text.len()) { Ok(()) } else { Err("use 3 to 63 small letters, digits, dots and -") }
}

/// A role's ARN, as the token's subject repeats it: the role's own, not that of a session of it.
fn role(text: &str) -> Result<(), &'static str> {
    let name_fits = |name: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte);
        !name.is_empty() && name.bytes().all(allowed) && !name.starts_with('/') && !name.ends_with('/')
    };
    let fits = match text.splitn(6, ':').collect::<Vec<_>>().as_slice() {
        ["arn", partition, "iam", "", account, role] => {
            partition.starts_with("aws")
                && account.len() == 12
                && account.bytes().all(|byte| byte.is_ascii_digit())
                && role.strip_prefix("role/").is_some_and(name_fits)
        }
        _ => false,
    };
    if fits { Ok(()) } else { Err("give a role's ARN, as in arn:aws:iam::000000000000:role/muster-entra-identity") }
}

/// Messages name tenants, so they travel encrypted unless they stay on this machine.
fn queue_url(text: &str) -> Result<(), &'static str> {
    let url = Url::parse(text).map_err(|_| "give the queue's URL")?;
    let loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    let fits = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    if fits { Ok(()) } else { Err("give an https URL") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Mistakes> {
        let value = |name: &str| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::from_lookup(value)
    }

    #[test]
    fn a_stacks_names_are_read() {
        let settings = read(&[
            ("MUSTER_TABLE", "muster-State-1"),
            ("MUSTER_BUCKET", "muster-lake-1"),
            ("MUSTER_ALERTS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/000000000000/muster-Alerts"),
            ("MUSTER_MACHINES_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/000000000000/muster-Machines"),
            ("MUSTER_TELEMETRY_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/000000000000/muster-Telemetry"),
        ]);
        let settings = settings.unwrap();
        assert_eq!(settings.table, "muster-State-1");
        assert!(settings.queue_urls.machines.ends_with("muster-Machines"), "{settings:?}");
        assert_eq!(settings.identity_role, None);
    }

    #[test]
    fn the_identity_is_the_arn_of_a_role_and_of_nothing_else() {
        for text in [
            "arn:aws:iam::000000000000:role/muster-entra-identity",
            "arn:aws-us-gov:iam::000000000000:role/teams/security/Muster-entra-identity",
        ] {
            assert_eq!(role(text), Ok(()), "{text}");
        }
        for text in [
            "muster-entra-identity",
            "arn:aws:sts::000000000000:assumed-role/muster-entra-identity/session",
            "arn:aws:iam::000000000000:user/muster-entra-identity",
            "arn:aws:iam::0000:role/muster-entra-identity",
            "arn:aws:iam::000000000000:role/",
            "arn:aws:iam::000000000000:role/a b",
        ] {
            assert!(role(text).is_err(), "{text}");
        }
        let Mistakes(mistakes) = read(&[("MUSTER_IDENTITY_ROLE_ARN", "muster")]).unwrap_err();
        assert!(mistakes[5].contains("MUSTER_IDENTITY_ROLE_ARN is `muster`"), "{mistakes:?}");
    }

    #[test]
    fn every_missing_or_impossible_name_is_reported_at_once() {
        let Mistakes(mistakes) = read(&[]).unwrap_err();
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
        assert!(mistakes[0].contains("MUSTER_TABLE is not set"), "{mistakes:?}");
        let Mistakes(mistakes) = read(&[
            ("MUSTER_TABLE", "a b"),
            ("MUSTER_BUCKET", "Lake"),
            ("MUSTER_ALERTS_QUEUE_URL", "http://sqs.example.com/queue"),
        ])
        .unwrap_err();
        assert_eq!(mistakes.len(), 5, "{mistakes:?}");
        assert!(mistakes[2].contains("http://sqs.example.com/queue") && mistakes[2].contains("https"), "{mistakes:?}");
    }
}

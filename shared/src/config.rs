//! Configuration: read once at start through a lookup function, every mistake reported together.

use std::fmt;

use jiff::SignedDuration;
use url::Url;

use crate::{
    cloud::{Cloud, Region, known},
    plain,
    storage::StorageAccount,
};

/// The exit status for wrong usage or configuration (`EX_USAGE`).
pub const EXIT_USAGE: u8 = 64;

/// What every program of Muster needs to know. Names and defaults are those of the table in the README.
#[derive(Debug, Clone)]
pub struct Config {
    /// Origin that people's browsers see; without it there are no invitations.
    pub public_url: Option<Url>,
    /// Who asks for consent, shown on every page for tenant administrators.
    pub provider_name: String,
    /// Whom a tenant administrator may write to.
    pub support_contact: Option<String>,
    pub cloud: Cloud,
    /// Overrides of single endpoints; `None` means the cloud's own.
    pub login_url: Option<Url>,
    pub defender_url: Option<Url>,
    pub defender_audience: Option<String>,
    pub graph_url: Option<Url>,
    pub blob_url: Option<StorageEndpoint>,
    pub azure_queue_url: Option<StorageEndpoint>,
    /// Vault names begin with it.
    pub secrets_prefix: String,
    /// How far behind the watermark every tick looks again.
    pub overlap: SignedDuration,
    /// How far back the first look of a new tenant goes.
    pub first_look: SignedDuration,
    /// `$top` of one look, 1 to 10,000.
    pub page_size: usize,
    /// Whether events carry the source text in `raw_data`.
    pub raw_data: bool,
    /// Between the successful tokens that a new credential must earn before it is promoted.
    pub canary_spacing: SignedDuration,
    /// The name of the function that we are on Lambda (its own `AWS_LAMBDA_FUNCTION_NAME`); elsewhere none.
    pub function: Option<String>,
}

/// Every mistake in the configuration, one a line.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration has {} mistake(s):", self.0.len())?;
        for mistake in &self.0 {
            writeln!(f, "  - {mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

impl Config {
    /// # Errors
    /// [`Mistakes`] with every wrong or contradictory setting; the caller prints them and exits with [`EXIT_USAGE`].
    pub fn from_environment() -> Result<Self, Mistakes> {
        Self::from_lookup(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
    }

    /// As [`Config::from_environment`], over any lookup.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, Mistakes> {
        let mut read = Reader { lookup, mistakes: Vec::new() };
        let cloud = read.parse("MUSTER_CLOUD", Cloud::Commercial, |text| {
            Cloud::ALL
                .into_iter()
                .find(|cloud| cloud.name() == text)
                .ok_or_else(|| "choose one of commercial, gcc, gcc-high, dod".to_owned())
        });
        let config = Self {
            public_url: read.parse("MUSTER_PUBLIC_URL", None, |text| origin(text).map(Some)),
            provider_name: read.parse("MUSTER_PROVIDER_NAME", "your security provider".to_owned(), line),
            support_contact: read.parse("MUSTER_SUPPORT_CONTACT", None, |text| line(text).map(Some)),
            cloud,
            login_url: read.endpoint("MUSTER_LOGIN_URL", cloud),
            defender_url: read.endpoint("MUSTER_DEFENDER_URL", cloud),
            defender_audience: read.parse("MUSTER_DEFENDER_AUDIENCE", None, |text| audience(text, cloud).map(Some)),
            graph_url: read.endpoint("MUSTER_GRAPH_URL", cloud),
            blob_url: read.parse("MUSTER_BLOB_URL", None, |text| StorageEndpoint::parse(text).map(Some)),
            azure_queue_url: read.parse("MUSTER_AZURE_QUEUE_URL", None, |text| StorageEndpoint::parse(text).map(Some)),
            secrets_prefix: read.parse("MUSTER_SECRETS_PREFIX", "muster".to_owned(), secrets_prefix),
            overlap: SignedDuration::from_mins(read.integer("MUSTER_OVERLAP_MINUTES", 5, 1..=1440)),
            first_look: SignedDuration::from_hours(24 * read.integer("MUSTER_FIRST_LOOK_DAYS", 7, 0..=180)),
            page_size: usize::try_from(read.integer("MUSTER_PAGE_SIZE", 1000, 1..=10_000)).unwrap_or(1000),
            raw_data: read.parse("MUSTER_RAW_DATA", true, |text| match text {
                "on" => Ok(true),
                "off" => Ok(false),
                _ => Err("say on or off".to_owned()),
            }),
            canary_spacing: SignedDuration::from_secs(read.integer("MUSTER_CANARY_SPACING_SECONDS", 15, 0..=300)),
            function: read.parse("AWS_LAMBDA_FUNCTION_NAME", None, |text| Ok(Some(text.to_owned()))),
        };
        if read.mistakes.is_empty() { Ok(config) } else { Err(Mistakes(read.mistakes)) }
    }

    /// Origin of Entra's endpoints.
    pub fn login(&self) -> Url {
        self.login_url.clone().unwrap_or_else(|| known(self.cloud.login()))
    }

    /// Origin of Defender's API for a tenant. A region refines the commercial host alone; an override is taken as it is.
    pub fn defender(&self, region: Option<Region>) -> Url {
        self.defender_url.clone().unwrap_or_else(|| known(&self.cloud.defender(region)))
    }

    /// Every origin that a bearer token may go to.
    pub fn trusted_origins(&self) -> Vec<Url> {
        let mut origins: Vec<Url> =
            Region::ALL.into_iter().map(Some).chain([None]).map(|region| self.defender(region)).collect();
        origins.push(self.graph());
        origins.dedup();
        origins
    }

    /// Origin of Microsoft Graph.
    pub fn graph(&self) -> Url {
        self.graph_url.clone().unwrap_or_else(|| known(self.cloud.graph()))
    }

    /// The blobs of a storage account: its origin, and the path there where it is not the account's own host.
    pub fn blob(&self, account: &StorageAccount) -> Url {
        self.storage(self.blob_url.as_ref(), "blob", account)
    }

    /// The queues of a storage account, as [`Config::blob`].
    pub fn azure_queue(&self, account: &StorageAccount) -> Url {
        self.storage(self.azure_queue_url.as_ref(), "queue", account)
    }

    fn storage(&self, overridden: Option<&StorageEndpoint>, service: &str, account: &StorageAccount) -> Url {
        match overridden {
            Some(endpoint) => endpoint.of(account),
            None => known(&format!("https://{account}.{service}.{}", self.cloud.storage())),
        }
    }

    /// The resource Graph's tokens are for, whatever origin serves it.
    pub fn graph_audience(&self) -> &'static str {
        self.cloud.graph()
    }

    /// The page on which an administrator takes applications away, ours among them.
    pub fn enterprise_applications(&self) -> Url {
        let mut page = known(self.cloud.entra_portal());
        page.set_fragment(Some("view/Microsoft_AAD_IAM/StartboardApplicationsMenuBlade/~/AppAppsPreview"));
        page
    }

    /// The resource Defender's tokens are for, without `/.default`.
    pub fn audience(&self) -> &str {
        self.defender_audience.as_deref().unwrap_or_else(|| self.cloud.audience())
    }
}

struct Reader<L> {
    lookup: L,
    mistakes: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    fn parse<T>(&mut self, name: &str, default: T, parse: impl Fn(&str) -> Result<T, String>) -> T {
        match (self.lookup)(name).map(|text| (parse(&text), text)) {
            None => default,
            Some((Ok(value), _)) => value,
            Some((Err(why), text)) => {
                self.mistakes.push(format!("{name} is `{text}`: {why}"));
                default
            }
        }
    }

    fn integer(&mut self, name: &str, default: i64, range: std::ops::RangeInclusive<i64>) -> i64 {
        self.parse(name, default, |text| {
            text.parse()
                .ok()
                .filter(|value| range.contains(value))
                .ok_or_else(|| format!("give a whole number from {} to {}", range.start(), range.end()))
        })
    }

    /// An override of one of Microsoft's endpoints must not be another cloud's.
    fn endpoint(&mut self, name: &str, cloud: Cloud) -> Option<Url> {
        self.parse(name, None, |text| {
            let url = origin(text)?;
            same_cloud(&url, cloud)?;
            Ok(Some(url))
        })
    }
}

/// Where storage accounts are: a URL in which `{account}` may stand for the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageEndpoint(String);

impl StorageEndpoint {
    const ACCOUNT: &str = "{account}";

    fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(&text.replace(Self::ACCOUNT, "account"))
            .map_err(|cause| format!("give a URL such as https://{{account}}.blob.core.windows.net ({cause})"))?;
        encrypted_unless_loopback(&url)?;
        // Otherwise an account of digits alone would be read as an address.
        if url.host_str().is_some_and(|host| text.contains("{account}") && host.ends_with("account")) {
            return Err(
                "the account stands before the rest of the host, as in https://{account}.blob.example".to_owned()
            );
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err("give the URL alone, without query or user".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    fn of(&self, account: &StorageAccount) -> Url {
        known(&self.0.replace(Self::ACCOUNT, account.as_str()))
    }
}

/// An origin alone, encrypted unless it stays on this machine.
fn origin(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|cause| format!("give an origin such as https://host ({cause})"))?;
    encrypted_unless_loopback(&url)?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err("give the origin alone, without path, query or user".to_owned());
    }
    Ok(url)
}

fn encrypted_unless_loopback(url: &Url) -> Result<(), String> {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("it names no host".to_owned()),
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err("plain http is refused unless the host is loopback; use https".to_owned()),
        other => Err(format!("the scheme {other} is not http or https")),
    }
}

/// A name or an address, as people read it on a page.
fn line(text: &str) -> Result<String, String> {
    plain::line(text, 200).map(str::to_owned).ok_or_else(|| "give 1 to 200 printable characters".to_owned())
}

fn same_cloud(url: &Url, cloud: Cloud) -> Result<(), String> {
    match url.host_str().and_then(|host| cloud.owns(host)) {
        Some(false) => Err(format!(
            "this host belongs to another cloud, but MUSTER_CLOUD is `{}`; clouds do not mix",
            cloud.name()
        )),
        _ => Ok(()),
    }
}

/// A resource identifier, as Entra takes it before `/.default`.
fn audience(text: &str, cloud: Cloud) -> Result<String, String> {
    let text = text.trim_end_matches('/');
    let url = Url::parse(text).map_err(|cause| format!("give a resource such as https://host ({cause})"))?;
    if !matches!(url.scheme(), "https" | "api") || text.ends_with(".default") || text.contains(char::is_whitespace) {
        return Err("give the resource alone, https://… or api://…, without /.default".to_owned());
    }
    same_cloud(&url, cloud)?;
    Ok(text.to_owned())
}

fn secrets_prefix(text: &str) -> Result<String, String> {
    let fits = !text.is_empty()
        && text.len() <= 100
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/_+=.@-".contains(&byte))
        && !text.starts_with('/')
        && !text.ends_with('/');
    if fits { Ok(text.to_owned()) } else { Err("use letters, digits and /_+=.@- (no slash at either end)".to_owned()) }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Config, Mistakes> {
        let map: HashMap<_, _> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Config::from_lookup(|name| map.get(name).cloned())
    }

    #[test]
    fn nothing_set_means_the_commercial_cloud_and_the_documented_defaults() {
        let config = read(&[]).unwrap();
        assert_eq!(config.login().as_str(), "https://login.microsoftonline.com/");
        assert_eq!(config.defender(None).as_str(), "https://api.security.microsoft.com/");
        assert_eq!(config.audience(), "https://api.securitycenter.microsoft.com");
        assert_eq!(config.overlap, SignedDuration::from_mins(5));
        assert_eq!(config.page_size, 1000);
        assert!(config.raw_data);
    }

    #[test]
    fn every_cloud_and_region_has_its_own_hosts() {
        for (cloud, login, defender) in [
            ("gcc", "https://login.microsoftonline.com/", "https://api-gcc.securitycenter.microsoft.us/"),
            ("gcc-high", "https://login.microsoftonline.us/", "https://api-gov.securitycenter.microsoft.us/"),
            ("dod", "https://login.microsoftonline.us/", "https://api-gov.securitycenter.microsoft.us/"),
        ] {
            let config = read(&[("MUSTER_CLOUD", cloud)]).unwrap();
            assert_eq!((config.login().as_str(), config.defender(Some(Region::Eu)).as_str()), (login, defender));
        }
        for region in ["us", "eu", "uk", "au", "swa", "ina"] {
            let url = read(&[]).unwrap().defender(Some(region.parse().unwrap()));
            assert_eq!(url.as_str(), format!("https://{region}.api.security.microsoft.com/"));
        }
    }

    #[test]
    fn a_storage_account_has_a_host_of_its_own_or_a_place_in_the_override() {
        let account: StorageAccount = "contosologs".parse().unwrap();
        assert_eq!(read(&[]).unwrap().blob(&account).as_str(), "https://contosologs.blob.core.windows.net/");
        let gov = read(&[("MUSTER_CLOUD", "dod")]).unwrap();
        assert_eq!(gov.azure_queue(&account).as_str(), "https://contosologs.queue.core.usgovcloudapi.net/");
        for (text, expected) in [
            ("https://127.0.0.1:10000/{account}", "https://127.0.0.1:10000/contosologs"),
            ("https://{account}.blob.storage.azure.example", "https://contosologs.blob.storage.azure.example/"),
            ("http://localhost:1/storage/{account}/blob", "http://localhost:1/storage/contosologs/blob"),
        ] {
            let config = read(&[("MUSTER_BLOB_URL", text)]).unwrap();
            assert_eq!(config.blob(&account).as_str(), expected);
        }
        for text in [
            "http://{account}.example",
            "{account}",
            "https://{account}",
            "https://{account}.x/?sig=x",
            "https://{account}@host",
        ] {
            assert!(read(&[("MUSTER_AZURE_QUEUE_URL", text)]).is_err(), "{text}");
        }
    }

    #[test]
    fn all_mistakes_are_reported_together() {
        let Mistakes(mistakes) = read(&[
            ("MUSTER_CLOUD", "mars"),
            ("MUSTER_PAGE_SIZE", "10001"),
            ("MUSTER_RAW_DATA", "maybe"),
            ("MUSTER_LOGIN_URL", "http://login.example.com"),
            ("MUSTER_OVERLAP_MINUTES", "five"),
        ])
        .unwrap_err();
        assert_eq!(mistakes.len(), 5, "{mistakes:#?}");
    }

    #[test]
    fn contradictory_configuration_names_both_settings() {
        let Mistakes(mistakes) =
            read(&[("MUSTER_CLOUD", "gcc-high"), ("MUSTER_LOGIN_URL", "https://login.microsoftonline.com")])
                .unwrap_err();
        assert!(mistakes[0].contains("MUSTER_LOGIN_URL") && mistakes[0].contains("MUSTER_CLOUD"), "{mistakes:?}");
        for (cloud, name, value) in [
            ("gcc-high", "MUSTER_DEFENDER_URL", "https://eu.api.security.microsoft.com"),
            ("gcc-high", "MUSTER_DEFENDER_URL", "https://api.securitycenter.microsoft.com"),
            ("gcc-high", "MUSTER_DEFENDER_AUDIENCE", "https://api.securitycenter.microsoft.com"),
            ("commercial", "MUSTER_DEFENDER_URL", "https://api-gcc.securitycenter.microsoft.us"),
            ("commercial", "MUSTER_DEFENDER_AUDIENCE", "https://api.securitycenter.microsoft.com/.default"),
            ("commercial", "MUSTER_DEFENDER_AUDIENCE", "everything"),
            ("dod", "MUSTER_GRAPH_URL", "https://graph.microsoft.us"),
            ("commercial", "MUSTER_PUBLIC_URL", "http://muster.example.com"),
            ("commercial", "MUSTER_PUBLIC_URL", "https://muster.example.com/consent"),
            ("commercial", "MUSTER_PROVIDER_NAME", "\n"),
        ] {
            assert!(read(&[("MUSTER_CLOUD", cloud), (name, value)]).is_err(), "{cloud} {value}");
        }
        for audience in
            ["https://api.securitycenter.microsoft.com/", "https://securitycenter.onmicrosoft.com/windowsatpservice"]
        {
            assert!(read(&[("MUSTER_DEFENDER_AUDIENCE", audience)]).is_ok(), "{audience}");
        }
    }

    #[test]
    fn tokens_may_go_to_the_clouds_own_hosts_or_to_the_override_alone() {
        assert_eq!(read(&[]).unwrap().trusted_origins().len(), 8);
        let here = "http://127.0.0.1:8086";
        let overridden = read(&[("MUSTER_DEFENDER_URL", here), ("MUSTER_GRAPH_URL", here)]).unwrap();
        assert_eq!(overridden.trusted_origins(), [Url::parse(here).unwrap()]);
        assert_eq!(read(&[("MUSTER_CLOUD", "gcc")]).unwrap().trusted_origins().len(), 2);
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        for host in ["http://127.0.0.1:8086", "http://localhost:1", "http://[::1]:8086", "https://proxy.example"] {
            assert!(read(&[("MUSTER_DEFENDER_URL", host)]).is_ok(), "{host}");
        }
        for host in ["http://10.0.0.1", "http://localhost.example", "ftp://127.0.0.1", "https://a/b", "https://u@a"] {
            assert!(read(&[("MUSTER_DEFENDER_URL", host)]).is_err(), "{host}");
        }
    }
}

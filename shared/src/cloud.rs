//! Microsoft's clouds: which there are, what each calls its services, and which of them a tenant lives in.
//!
//! Clouds do not mix: an application is registered in each by itself, and no token of one is taken in another
//! (MICROSOFT.md 2.9). So a stage is for one, `MUSTER_CLOUD`, and everything that differs is a row of one table.

use std::fmt;

use url::Url;

/// The clouds that Defender for Endpoint's API is documented for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cloud {
    Commercial,
    Gcc,
    GccHigh,
    Dod,
}

/// What a cloud calls its services: origins without a slash at their end.
///
/// Sources: `[def] defender-endpoint/gov.md` (01/05/2026) for Defender, `[graph] concepts/deployments.md` for Graph and
/// logins, Azure's own `az cloud list` for storage (MICROSOFT.md 2.4, 2.9, 4.4).
#[derive(Debug, PartialEq, Eq)]
struct Row {
    /// As `MUSTER_CLOUD` says it.
    name: &'static str,
    /// As people say it.
    title: &'static str,
    login: &'static str,
    /// Where administrators look after their directory.
    portal: &'static str,
    defender: &'static str,
    /// The resource that Defender's tokens are for. The commercial one differs from its documented host on purpose
    /// (MICROSOFT.md 2.4); elsewhere they agree, by community code alone (C).
    audience: &'static str,
    /// Graph's origin, which is its tokens' audience too.
    graph: &'static str,
    /// What the host names of storage accounts end in.
    storage: &'static str,
    /// Whom the platform's token is for where a credential is federated (MICROSOFT.md 2.6; of US Government Microsoft's own
    /// documentation of the clouds of workload identity).
    token_exchange: &'static str,
}

const COMMERCIAL: Row = Row {
    name: "commercial",
    title: "the commercial cloud",
    login: "https://login.microsoftonline.com",
    portal: "https://entra.microsoft.com",
    defender: "https://api.security.microsoft.com",
    audience: "https://api.securitycenter.microsoft.com",
    graph: "https://graph.microsoft.com",
    storage: "core.windows.net",
    token_exchange: "api://AzureADTokenExchange",
};

/// The commercial directory, with an API of its own.
const GCC: Row = Row {
    name: "gcc",
    title: "GCC",
    defender: "https://api-gcc.securitycenter.microsoft.us",
    audience: "https://api-gcc.securitycenter.microsoft.us",
    ..COMMERCIAL
};

const GCC_HIGH: Row = Row {
    name: "gcc-high",
    title: "GCC High",
    login: "https://login.microsoftonline.us",
    portal: "https://entra.microsoft.us",
    defender: "https://api-gov.securitycenter.microsoft.us",
    audience: "https://api-gov.securitycenter.microsoft.us",
    graph: "https://graph.microsoft.us",
    storage: "core.usgovcloudapi.net",
    token_exchange: "api://AzureADTokenExchangeUSGov",
};

/// The directory and API of GCC High, with a Graph of its own.
const DOD: Row = Row { name: "dod", title: "DoD", graph: "https://dod-graph.microsoft.us", ..GCC_HIGH };

impl Cloud {
    pub const ALL: [Self; 4] = [Self::Commercial, Self::Gcc, Self::GccHigh, Self::Dod];

    fn row(self) -> &'static Row {
        match self {
            Self::Commercial => &COMMERCIAL,
            Self::Gcc => &GCC,
            Self::GccHigh => &GCC_HIGH,
            Self::Dod => &DOD,
        }
    }

    /// As `MUSTER_CLOUD` says it.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// As people say it.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    pub fn login(self) -> &'static str {
        self.row().login
    }

    /// Where administrators look after their directory.
    pub fn entra_portal(self) -> &'static str {
        self.row().portal
    }

    /// Defender's API, for a tenant whose data is in that region where the cloud has regions.
    pub fn defender(self, region: Option<Region>) -> String {
        match (self, region) {
            (Self::Commercial, Some(region)) => format!("https://{region}.{}", host(COMMERCIAL.defender)),
            (cloud, _) => cloud.row().defender.to_owned(),
        }
    }

    /// The resource that Defender's tokens are for.
    pub fn audience(self) -> &'static str {
        self.row().audience
    }

    /// Graph's origin, which is its tokens' audience too.
    pub fn graph(self) -> &'static str {
        self.row().graph
    }

    /// What the host names of storage accounts end in.
    pub fn storage(self) -> &'static str {
        self.row().storage
    }

    /// Whom the platform's token is for where a credential is federated.
    pub fn token_exchange(self) -> &'static str {
        self.row().token_exchange
    }

    /// Whether a stage for one serves the tenants of the other: the same directory, and the same API under the same name. Of a
    /// customer nothing is asked at Graph, so GCC High and DoD are as one; GCC is not, for all that its directory is the
    /// commercial one.
    fn serves_the_same(self, other: Self) -> bool {
        let services =
            |cloud: Self| [cloud.row().login, cloud.row().defender, cloud.row().audience, cloud.row().storage];
        services(self) == services(other)
    }

    /// Whether a host of Microsoft's belongs to this cloud. `None` for a host that is nobody's: a proxy, a simulator.
    pub fn owns(self, name: &str) -> Option<bool> {
        let is_of = |cloud: Self| {
            let row = cloud.row();
            [row.login, row.defender, row.audience, row.graph].map(host).contains(&name)
                || (cloud == Self::Commercial && is_commercial(name))
        };
        Self::ALL.into_iter().any(is_of).then(|| is_of(self))
    }
}

/// The commercial API's other names: by region, and those of old (MICROSOFT.md 2.4, 2.9).
fn is_commercial(host: &str) -> bool {
    host == "api.securitycenter.windows.com"
        || host.ends_with(".api.security.microsoft.com")
        || (host.starts_with("api-") && host.ends_with(".securitycenter.microsoft.com"))
}

fn host(origin: &'static str) -> &'static str {
    origin.trim_start_matches("https://")
}

/// Where a commercial tenant's data lives; its API host is nearer (MICROSOFT.md 2.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    Us,
    Eu,
    Uk,
    Au,
    Swa,
    Ina,
}

impl Region {
    pub const ALL: [Self; 6] = [Self::Us, Self::Eu, Self::Uk, Self::Au, Self::Swa, Self::Ina];
}

impl std::str::FromStr for Region {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = Self::ALL.into_iter().find(|region| region.to_string() == text);
        named.ok_or_else(|| format!("`{text}` is no region; choose one of us, eu, uk, au, swa, ina"))
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Us => "us",
            Self::Eu => "eu",
            Self::Uk => "uk",
            Self::Au => "au",
            Self::Swa => "swa",
            Self::Ina => "ina",
        })
    }
}

/// The cloud that a tenant lives in, as its discovery document tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// One of ours.
    In(Cloud),
    /// A cloud that Muster has no stage for, by the name of its directory: China, say.
    Elsewhere(String),
}

impl Home {
    /// Reads `cloud_instance_name`, `tenant_region_scope` and `tenant_region_sub_scope` of a discovery document. `None` when
    /// they say nothing, as in documents of single endpoints that stand in for Microsoft's.
    ///
    /// The first is documented by Microsoft's libraries (MICROSOFT.md 1.6; V). The values of the others are observed: scope
    /// `NA` with sub-scope `GCC` (L, azure-docs#84367), `USGov` with `DODCON`, which is GCC High (L, azure-docs#56915), `USGov`
    /// alone, an Azure Government tenant (L, MSCloudLoginAssistant#182), and `DOD` (C, several public scripts). `USG` is an
    /// older spelling of `USGov` (V, azure-docs *current-limitations*).
    pub fn read(instance: Option<&str>, scope: Option<&str>, sub_scope: Option<&str>) -> Option<Self> {
        let government = scope.is_some_and(|scope| ["usgov", "usg"].contains(&scope.to_ascii_lowercase().as_str()));
        let home = match (instance, sub_scope.map(str::to_ascii_uppercase).as_deref()) {
            (_, Some("DOD")) => Self::In(Cloud::Dod),
            (_, Some("DODCON")) => Self::In(Cloud::GccHigh),
            (Some("microsoftonline.us"), _) => Self::In(Cloud::GccHigh),
            (_, Some("GCC")) => Self::In(Cloud::Gcc),
            (Some("microsoftonline.com") | None, None | Some("")) if government => Self::In(Cloud::GccHigh),
            (Some("microsoftonline.com"), _) => Self::In(Cloud::Commercial),
            (Some(other), _) => Self::Elsewhere(plain_name(other)),
            (None, _) => return None,
        };
        Some(home)
    }

    /// As people say it.
    pub fn title(&self) -> &str {
        match self {
            Self::In(cloud) => cloud.title(),
            Self::Elsewhere(name) => name,
        }
    }

    /// Whether the tenant's people and applications sign in at this origin.
    pub fn signs_in_at(&self, origin: &str) -> bool {
        match self {
            Self::In(cloud) => cloud.login() == origin,
            Self::Elsewhere(name) => origin == format!("https://login.{name}"),
        }
    }

    /// Why a stage for `here` cannot take such a tenant in, and what to do; `None` when it can.
    pub fn refusal(&self, here: Cloud) -> Option<String> {
        match self {
            Self::In(there) if there.serves_the_same(here) => None,
            Self::In(there) => {
                Some(elsewhere(there.title(), &format!("this stage is for {}", here.title()), there.name()))
            }
            Self::Elsewhere(name) => Some(format!(
                "This tenant lives in the cloud {name}, for which Microsoft documents no Defender for Endpoint API; this \
                 stage is for {}.",
                here.title()
            )),
        }
    }
}

/// As [`Home::refusal`], where Entra has refused a token instead and names no cloud of ours.
pub fn refused_by_entra(words: &str) -> String {
    elsewhere("another of Microsoft's clouds", &format!("Entra says so ({})", words.trim_end_matches('.')), "…")
}

fn elsewhere(there: &str, why: &str, setting: &str) -> String {
    format!(
        "This tenant lives in {there}, and {why}: clouds do not mix. Connect it to a stage of its own with \
         MUSTER_CLOUD={setting}, whose application is registered in a tenant of that cloud."
    )
}

/// What came from outside and is shown to people: a host's letters, and not many.
fn plain_name(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).take(60).collect()
}

/// Our own text as a URL.
#[expect(clippy::expect_used, reason = "the texts are this table's and `config`'s own, every one parsed in tests")]
pub(crate) fn known(text: &str) -> Url {
    Url::parse(text).expect("a constant of ours")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cloud_calls_its_services_as_documented() {
        let table = Cloud::ALL.map(|cloud| {
            let services = [cloud.login(), cloud.graph(), &cloud.defender(None), cloud.audience(), cloud.storage()];
            (cloud.name(), services.map(|service| service.trim_start_matches("https://").to_owned()))
        });
        let expected = [
            (
                "commercial",
                [
                    "login.microsoftonline.com",
                    "graph.microsoft.com",
                    "api.security.microsoft.com",
                    "api.securitycenter.microsoft.com",
                    "core.windows.net",
                ],
            ),
            (
                "gcc",
                [
                    "login.microsoftonline.com",
                    "graph.microsoft.com",
                    "api-gcc.securitycenter.microsoft.us",
                    "api-gcc.securitycenter.microsoft.us",
                    "core.windows.net",
                ],
            ),
            (
                "gcc-high",
                [
                    "login.microsoftonline.us",
                    "graph.microsoft.us",
                    "api-gov.securitycenter.microsoft.us",
                    "api-gov.securitycenter.microsoft.us",
                    "core.usgovcloudapi.net",
                ],
            ),
            (
                "dod",
                [
                    "login.microsoftonline.us",
                    "dod-graph.microsoft.us",
                    "api-gov.securitycenter.microsoft.us",
                    "api-gov.securitycenter.microsoft.us",
                    "core.usgovcloudapi.net",
                ],
            ),
        ];
        assert_eq!(table, expected.map(|(name, services)| (name, services.map(str::to_owned))));
        for cloud in Cloud::ALL {
            let regions = Region::ALL.into_iter().map(Some).chain([None]).map(|region| cloud.defender(region));
            let all: Vec<String> =
                regions.chain([cloud.login(), cloud.graph(), cloud.entra_portal()].map(str::to_owned)).collect();
            for origin in all {
                assert_eq!(known(&origin).as_str(), format!("{origin}/"), "an origin, and nothing else");
            }
        }
    }

    #[test]
    fn each_host_is_of_its_clouds_and_of_no_other() {
        for (host, expected) in [
            ("login.microsoftonline.com", [true, true, false, false]),
            ("login.microsoftonline.us", [false, false, true, true]),
            ("graph.microsoft.com", [true, true, false, false]),
            ("graph.microsoft.us", [false, false, true, false]),
            ("dod-graph.microsoft.us", [false, false, false, true]),
            ("api.security.microsoft.com", [true, false, false, false]),
            ("eu.api.security.microsoft.com", [true, false, false, false]),
            ("api-eu.securitycenter.microsoft.com", [true, false, false, false]),
            ("api.securitycenter.windows.com", [true, false, false, false]),
            ("api-gcc.securitycenter.microsoft.us", [false, true, false, false]),
            ("api-gov.securitycenter.microsoft.us", [false, false, true, true]),
        ] {
            assert_eq!(Cloud::ALL.map(|cloud| cloud.owns(host)), expected.map(Some), "{host}");
        }
        for host in ["proxy.example", "127.0.0.1", "microsoft.com", "xgraph.microsoft.com"] {
            assert_eq!(Cloud::ALL.map(|cloud| cloud.owns(host)), [None; 4], "{host}");
        }
    }

    #[test]
    fn a_discovery_document_tells_the_cloud() {
        let (com, us) = (Some("microsoftonline.com"), Some("microsoftonline.us"));
        for (instance, scope, sub_scope, expected) in [
            (com, Some("NA"), None, Some(Home::In(Cloud::Commercial))),
            (com, Some("EU"), None, Some(Home::In(Cloud::Commercial))),
            (com, None, None, Some(Home::In(Cloud::Commercial))),
            (com, Some("NA"), Some("GCC"), Some(Home::In(Cloud::Gcc))),
            (us, Some("USGov"), Some("DODCON"), Some(Home::In(Cloud::GccHigh))),
            (us, Some("USGov"), None, Some(Home::In(Cloud::GccHigh))),
            (us, Some("USG"), None, Some(Home::In(Cloud::GccHigh))),
            (us, Some("USGov"), Some("DOD"), Some(Home::In(Cloud::Dod))),
            (None, Some("USGov"), Some("dod"), Some(Home::In(Cloud::Dod))),
            // Asked at the commercial login, whose name it may bear all the same.
            (com, Some("USGov"), Some("DODCON"), Some(Home::In(Cloud::GccHigh))),
            (com, Some("USGov"), None, Some(Home::In(Cloud::GccHigh))),
            // What is new says nothing against the directory that names itself.
            (com, Some("NA"), Some("SOMETHING"), Some(Home::In(Cloud::Commercial))),
            (
                Some("partner.microsoftonline.cn"),
                Some("AS"),
                None,
                Some(Home::Elsewhere("partner.microsoftonline.cn".to_owned())),
            ),
            (Some("<script>x"), None, None, Some(Home::Elsewhere("scriptx".to_owned()))),
            (None, None, None, None),
            (None, Some("NA"), None, None),
        ] {
            assert_eq!(Home::read(instance, scope, sub_scope), expected, "{instance:?} {scope:?} {sub_scope:?}");
        }
    }

    #[test]
    fn a_tenant_of_another_cloud_is_refused_with_its_clouds_name_and_the_fix() {
        for here in Cloud::ALL {
            for there in Cloud::ALL {
                let refusal = Home::In(there).refusal(here);
                // GCC High and DoD are one directory and one API; only Graph differs, and of a customer's nothing is asked there.
                let together = [here, there].iter().all(|cloud| [Cloud::GccHigh, Cloud::Dod].contains(cloud));
                assert_eq!(refusal.is_none(), here == there || together, "{here:?} {there:?}");
                if let Some(words) = refusal {
                    assert!(words.contains(there.title()) && words.contains(here.title()), "{words}");
                    assert!(words.contains(&format!("MUSTER_CLOUD={},", there.name())), "{words}");
                }
            }
        }
        let china = Home::Elsewhere("partner.microsoftonline.cn".to_owned()).refusal(Cloud::Commercial).unwrap();
        assert!(china.contains("partner.microsoftonline.cn") && !china.contains("MUSTER_CLOUD"), "{china}");
    }
}

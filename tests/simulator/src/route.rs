//! Which concern a request belongs to: all services share one origin and are told apart by their paths.

use crate::entra_request::Version;
use crate::fault::Route;
use crate::graph::{Call, Key};
use crate::http::Request;
use crate::storage_call::StorageCall;

/// A request this simulator knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    OpenidConfiguration { tenant: String },
    Keys { tenant: String },
    Token { tenant: String, version: Version },
    AdminConsent { tenant: String, version: Version },
    Authorize { tenant: String, version: Version },
    SignOut { tenant: String },
    Graph { key: Key, call: Call },
    Alerts,
    Alert { id: String },
    Machines,
    Machine { id: String },
    Storage(StorageCall),
}

impl Endpoint {
    /// `None`: not modelled.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let segments: Vec<&str> = request.path().strip_prefix('/')?.split('/').collect();
        let endpoint = match *segments.as_slice() {
            ["api", "alerts"] => Self::Alerts,
            ["api", "alerts", id] if !id.is_empty() => Self::Alert { id: decode(id)? },
            ["api", "machines"] => Self::Machines,
            ["api", "machines", id] if !id.is_empty() => Self::Machine { id: decode(id)? },
            ["api", ..] => return None,
            ["storage", ref rest @ ..] => Self::Storage(StorageCall::of(request, rest)?),
            ["v1.0", ref rest @ ..] => graph(&request.method, rest)?,
            [tenant, "v2.0", ".well-known", "openid-configuration"] => {
                Self::OpenidConfiguration { tenant: tenant.into() }
            }
            [tenant, "discovery", "v2.0", "keys"] => Self::Keys { tenant: tenant.into() },
            [tenant, "oauth2", "v2.0", "token"] => Self::Token { tenant: tenant.into(), version: Version::V2 },
            [tenant, "oauth2", "token"] => Self::Token { tenant: tenant.into(), version: Version::V1 },
            [tenant, "v2.0", "adminconsent"] => Self::AdminConsent { tenant: tenant.into(), version: Version::V2 },
            [tenant, "oauth2", "v2.0", "authorize"] => Self::Authorize { tenant: tenant.into(), version: Version::V2 },
            [tenant, "oauth2", "authorize"] => Self::Authorize { tenant: tenant.into(), version: Version::V1 },
            [tenant, "oauth2", "v2.0", "logout"] => Self::SignOut { tenant: tenant.into() },
            [tenant, "adminconsent"] => Self::AdminConsent { tenant: tenant.into(), version: Version::V1 },
            _ => return None,
        };
        endpoint.methods().contains(&request.method.as_str()).then_some(endpoint)
    }

    fn methods(&self) -> &'static [&'static str] {
        match self {
            Self::Token { .. } => &["POST"],
            // The page, and its form.
            Self::AdminConsent { .. } | Self::Authorize { .. } => &["GET", "POST"],
            Self::Graph { .. } => &["GET", "PATCH", "POST"],
            // What a method means is the call's to say.
            Self::Storage(_) => &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
            _ => &["GET"],
        }
    }

    /// Whether this address means anything with a query; where it does not, a parameter is in the wrong place.
    pub(crate) fn takes_a_query(&self) -> bool {
        match self {
            Self::OpenidConfiguration { .. } | Self::Keys { .. } | Self::Token { .. } => false,
            Self::Graph { call, .. } => *call == Call::Read,
            Self::AdminConsent { .. } | Self::Authorize { .. } | Self::SignOut { .. } => true,
            Self::Alerts | Self::Alert { .. } => true,
            Self::Machines | Self::Machine { .. } => true,
            Self::Storage(_) => true,
        }
    }

    /// A page for people rather than an answer for programs.
    pub(crate) fn is_page(&self) -> bool {
        matches!(self, Self::AdminConsent { .. } | Self::Authorize { .. } | Self::SignOut { .. })
    }

    pub(crate) fn route(&self) -> Route {
        match self {
            Self::OpenidConfiguration { .. } | Self::Keys { .. } => Route::Discovery,
            Self::Token { .. } => Route::Token,
            Self::Graph { call, .. } => call.route(),
            Self::AdminConsent { .. } => Route::Consent,
            Self::Authorize { .. } => Route::Authorize,
            Self::SignOut { .. } => Route::SignOut,
            Self::Alerts => Route::Alerts,
            Self::Alert { .. } => Route::Alert,
            Self::Machines => Route::Machines,
            Self::Machine { .. } => Route::Machine,
            Self::Storage(call) => call.route(),
        }
    }

    /// The tenant in the path, where there is one.
    pub(crate) fn tenant(&self) -> Option<&str> {
        match self {
            Self::OpenidConfiguration { tenant }
            | Self::Keys { tenant }
            | Self::Token { tenant, .. }
            | Self::AdminConsent { tenant, .. }
            | Self::Authorize { tenant, .. }
            | Self::SignOut { tenant } => Some(tenant),
            Self::Graph { .. } | Self::Alerts | Self::Alert { .. } => None,
            Self::Machines | Self::Machine { .. } => None,
            Self::Storage(_) => None,
        }
    }
}

/// `applications/{id}` or `applications(appId='…')`, and perhaps an action.
fn graph(method: &str, segments: &[&str]) -> Option<Endpoint> {
    let (first, rest) = segments.split_first()?;
    // The equals sign of a key is part of the name here.
    let first = decode(&first.replace('=', "%3D"))?;
    let (key, rest) = if first == "applications" {
        let (id, rest) = rest.split_first()?;
        (Key::ObjectId(decode(id).filter(|id| !id.is_empty())?), rest)
    } else {
        let id = first.strip_prefix("applications(appId='")?.strip_suffix("')")?;
        (Key::AppId(id.to_owned()), rest)
    };
    let action = match *rest {
        [] => None,
        [action] => Some(action),
        _ => return None,
    };
    Some(Endpoint::Graph { key, call: Call::of(method, action)? })
}

/// A path segment with its percent signs resolved; `+` stays what it is.
fn decode(segment: &str) -> Option<String> {
    let plus_kept = segment.replace('+', "%2B");
    let mut pairs = url::form_urlencoded::parse(plus_kept.as_bytes());
    let (name, value) = pairs.next()?;
    (value.is_empty() && pairs.next().is_none() && !segment.contains(['=', '&'])).then(|| name.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_their_concern_and_unknown_ones_nowhere() {
        let of = |method: &str, target: &str| Endpoint::of(&Request { method: method.into(), ..Request::get(target) });
        assert_eq!(of("GET", "/api/alerts?$top=1"), Some(Endpoint::Alerts));
        assert_eq!(of("GET", "/api/alerts/da1_%2D7"), Some(Endpoint::Alert { id: "da1_-7".into() }));
        assert_eq!(of("GET", "/api/machines?$skip=1"), Some(Endpoint::Machines));
        assert_eq!(of("GET", "/api/machines/0e23"), Some(Endpoint::Machine { id: "0e23".into() }));
        let token = Endpoint::Token { tenant: "t".into(), version: Version::V1 };
        assert_eq!(of("POST", "/t/oauth2/token"), Some(token));
        for (method, target) in [
            ("POST", "/api/alerts"),
            ("GET", "/t/oauth2/token"),
            ("GET", "/api/alerts/"),
            ("GET", "/api/alerts/da1_1/machine"),
            ("GET", "/api/oauth2/token"),
            ("GET", "/api/machines/"),
            ("GET", "/api/machines/0e23/alerts"),
            ("POST", "/api/machines"),
            ("GET", "/API/alerts"),
            ("GET", "/"),
        ] {
            assert_eq!(of(method, target), None, "{method} {target}");
        }
    }
}

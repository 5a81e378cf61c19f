//! Which concern a request belongs to: all services share one origin and are told apart by their paths.

use crate::fault::Route;
use crate::http::Request;
use crate::token::Version;

/// A request this simulator knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    OpenidConfiguration { tenant: String },
    Keys { tenant: String },
    Token { tenant: String, version: Version },
    Alerts,
    Alert { id: String },
}

impl Endpoint {
    /// `None`: not modelled.
    pub(crate) fn of(request: &Request) -> Option<Self> {
        let segments: Vec<&str> = request.path().strip_prefix('/')?.split('/').collect();
        let endpoint = match *segments.as_slice() {
            ["api", "alerts"] => Self::Alerts,
            ["api", "alerts", id] if !id.is_empty() => Self::Alert { id: decode(id)? },
            ["api", ..] => return None,
            [tenant, "v2.0", ".well-known", "openid-configuration"] => {
                Self::OpenidConfiguration { tenant: tenant.into() }
            }
            [tenant, "discovery", "v2.0", "keys"] => Self::Keys { tenant: tenant.into() },
            [tenant, "oauth2", "v2.0", "token"] => Self::Token { tenant: tenant.into(), version: Version::V2 },
            [tenant, "oauth2", "token"] => Self::Token { tenant: tenant.into(), version: Version::V1 },
            _ => return None,
        };
        let method = if matches!(endpoint, Self::Token { .. }) { "POST" } else { "GET" };
        (request.method == method).then_some(endpoint)
    }

    pub(crate) fn route(&self) -> Route {
        match self {
            Self::OpenidConfiguration { .. } | Self::Keys { .. } => Route::Discovery,
            Self::Token { .. } => Route::Token,
            Self::Alerts => Route::Alerts,
            Self::Alert { .. } => Route::Alert,
        }
    }

    /// The tenant in the path, where there is one.
    pub(crate) fn tenant(&self) -> Option<&str> {
        match self {
            Self::OpenidConfiguration { tenant } | Self::Keys { tenant } | Self::Token { tenant, .. } => Some(tenant),
            Self::Alerts | Self::Alert { .. } => None,
        }
    }
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
        let token = Endpoint::Token { tenant: "t".into(), version: Version::V1 };
        assert_eq!(of("POST", "/t/oauth2/token"), Some(token));
        for (method, target) in [
            ("POST", "/api/alerts"),
            ("GET", "/t/oauth2/token"),
            ("GET", "/api/alerts/"),
            ("GET", "/api/alerts/da1_1/machine"),
            ("GET", "/api/oauth2/token"),
            ("GET", "/api/machines"),
            ("GET", "/API/alerts"),
            ("GET", "/"),
        ] {
            assert_eq!(of(method, target), None, "{method} {target}");
        }
    }
}

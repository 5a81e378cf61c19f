//! An access token that a script shows us, issued by Entra for our own application: believed only after every check.
//!
//! Of both formats (Microsoft, *Access tokens in the Microsoft identity platform*): version 2.0, whose audience is the
//! application's id, and version 1.0, whose audience is its Application ID URI and whose issuer is `sts.windows.net`.

use jiff::Timestamp;
use serde::Deserialize;

use super::keys::{KeySet, NotBelieved, is_in_time};
use crate::{plain, secret::Secret, tenant::TenantId};

/// What a token must say.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// Ours, which the token must have been issued for.
    pub client_id: &'a str,
    /// The one tenant whose tokens are taken.
    pub tenant: TenantId,
    /// As the tenant's discovery document names it; `{tenantid}` stands for the tenant.
    pub issuer: &'a str,
}

/// Who shows the token: a program, or a person through one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The object id of the service principal, or of the person.
    pub oid: String,
    /// For people to read.
    pub name: String,
    /// The application's own roles that the caller was assigned in that tenant.
    pub roles: Vec<String>,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: i64,
    nbf: Option<i64>,
    tid: String,
    oid: String,
    name: Option<String>,
    app_displayname: Option<String>,
    azp: Option<String>,
    appid: Option<String>,
    #[serde(default)]
    roles: Vec<String>,
    /// Only id_tokens have one.
    nonce: Option<String>,
}

/// Checks everything and tells who calls.
///
/// # Errors
/// [`NotBelieved`], for the log; the answer says only that the token is not taken.
pub fn validate(
    token: &Secret<String>,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Caller, NotBelieved> {
    let issuer = expected.issuer.replace("{tenantid}", &expected.tenant.to_string());
    judge(keys.signed(token, expected.tenant, &issuer)?, &issuer, expected, now)
}

fn judge(claims: Claims, issuer: &str, expected: &Expected<'_>, now: Timestamp) -> Result<Caller, NotBelieved> {
    if claims.tid.parse() != Ok(expected.tenant) {
        return Err(NotBelieved::Tenant);
    }
    let client = claims.azp.or(claims.appid);
    let (uri, v1_issuer) =
        (format!("api://{}", expected.client_id), format!("https://sts.windows.net/{}/", expected.tenant));
    if ![expected.client_id, &uri].contains(&claims.aud.as_str()) {
        return Err(NotBelieved::Audience);
    }
    if ![issuer, &v1_issuer].contains(&claims.iss.as_str()) {
        return Err(NotBelieved::Issuer);
    }
    // An id_token has the same audience, issuer and roles, and is no key to an API: it has a nonce and names no client.
    let Some(client) = client.filter(|_| claims.nonce.is_none()) else {
        return Err(NotBelieved::Malformed("it is no access token".to_owned()));
    };
    if !is_in_time(claims.nbf, claims.exp, now) {
        return Err(NotBelieved::Time);
    }
    let oid =
        claims.oid.parse::<uuid::Uuid>().map_err(|_| NotBelieved::Malformed("its `oid` is no GUID".to_owned()))?;
    let name = claims.name.or(claims.app_displayname).unwrap_or_else(|| format!("application {client}"));
    Ok(Caller { oid: oid.to_string(), name: plain::visible(&name, 200), roles: claims.roles })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TENANT: &str = "00000000-0000-4000-8000-0000000000aa";
    const OTHER: &str = "00000000-0000-4000-8000-0000000000bb";
    const ISSUER: &str = "https://login.microsoftonline.com/00000000-0000-4000-8000-0000000000aa/v2.0";

    /// The verdict on the true claims of a version 2.0 token of noon, with these changes.
    fn verdict(changes: &[(&str, Value)]) -> Result<Caller, NotBelieved> {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let mut claims = json!({
            "iss": ISSUER, "aud": "client", "tid": TENANT, "oid": OTHER, "azp": "script", "roles": ["Muster.Reader"],
            "exp": noon.as_second() + 3600, "nbf": noon.as_second(),
        });
        for (claim, value) in changes {
            claims[claim] = value.clone();
        }
        let expected = Expected { client_id: "client", tenant: TENANT.parse().unwrap(), issuer: ISSUER };
        judge(serde_json::from_value(claims).unwrap(), ISSUER, &expected, noon)
    }

    #[test]
    fn both_formats_are_taken() {
        let caller = verdict(&[]).unwrap();
        assert_eq!(
            (caller.name.as_str(), caller.roles.as_slice()),
            ("application script", &["Muster.Reader".to_owned()][..])
        );
        let version_1 = [
            ("iss", json!(format!("https://sts.windows.net/{TENANT}/"))),
            ("aud", json!("api://client")),
            ("azp", Value::Null),
            ("appid", json!("script")),
        ];
        assert_eq!(verdict(&version_1).unwrap(), caller);
        assert!(verdict(&[("aud", json!("api://client"))]).is_ok(), "an Application ID URI in a token of version 2.0");
    }

    #[test]
    fn every_claim_is_judged() {
        let cases = [
            ("tid", json!(OTHER), NotBelieved::Tenant),
            ("iss", json!(ISSUER.replace("aa/", "bb/")), NotBelieved::Issuer),
            ("iss", json!(format!("https://sts.windows.net/{OTHER}/")), NotBelieved::Issuer),
            ("aud", json!("another"), NotBelieved::Audience),
            ("aud", json!("https://graph.microsoft.com"), NotBelieved::Audience),
            ("exp", json!(0), NotBelieved::Time),
            ("nonce", json!("n"), NotBelieved::Malformed("it is no access token".to_owned())),
            ("azp", Value::Null, NotBelieved::Malformed("it is no access token".to_owned())),
        ];
        for (claim, value, expected) in cases {
            assert_eq!(verdict(&[(claim, value.clone())]), Err(expected), "{claim} {value}");
        }
    }
}

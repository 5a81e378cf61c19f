//! An id_token of Entra's, believed only after every check of MICROSOFT.md 1.5.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

use crate::{plain, secret::Secret, tenant::TenantId};

/// Clocks differ; a token is believed so long before and after its time.
const SKEW: SignedDuration = SignedDuration::from_mins(5);
/// Where personal accounts live. They belong to nobody's organisation.
const PERSONAL_ACCOUNTS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// What a token must say, fixed before it was asked for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    pub client_id: &'a str,
    /// The tenant whose endpoint gave it.
    pub tenant: TenantId,
    /// As the tenant's discovery document names it; `{tenantid}` stands for the tenant.
    pub issuer: &'a str,
    pub nonce: &'a str,
}

/// A user of a tenant, proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The object id in the tenant; with the tenant it identifies the person for good.
    pub oid: String,
    /// For people to read; anybody may call themselves anything.
    pub name: String,
    /// Template ids of the directory roles; `None` where the application does not ask for them.
    pub wids: Option<Vec<String>>,
}

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    #[error("it is no signed id_token: {0}")]
    Malformed(String),
    #[error("its algorithm is not RS256")]
    Algorithm,
    #[error("no published key has signed it")]
    Signature,
    #[error("its key belongs to another issuer")]
    KeyOfAnotherIssuer,
    #[error("its issuer is another one")]
    Issuer,
    #[error("it is for another application")]
    Audience,
    #[error("it is for another tenant")]
    Tenant,
    #[error("it answers another sign-in")]
    Nonce,
    #[error("its time has passed, or has not come yet")]
    Time,
    /// The account's home is another directory.
    #[error("a guest has signed in")]
    Guest,
}

/// One of Entra's published keys (`kty`, `n`, `e`, `kid`, and Entra's own `issuer`).
#[derive(Debug, Clone, Deserialize)]
struct Key {
    #[serde(default)]
    kty: String,
    #[serde(default, rename = "use")]
    usage: Option<String>,
    #[serde(default)]
    kid: String,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
    issuer: Option<String>,
}

/// The key set of `jwks_uri`.
#[derive(Debug, Clone, Deserialize)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// `None` for what is no key set.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    exp: i64,
    nbf: Option<i64>,
    tid: String,
    oid: String,
    nonce: String,
    name: Option<String>,
    idp: Option<String>,
    wids: Option<Vec<String>>,
}

/// Checks everything and tells who has signed in.
///
/// # Errors
/// [`NotBelieved`], for the log; a page says only that the sign-in could not be proven.
pub fn validate(
    token: &Secret<String>,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Person, NotBelieved> {
    let malformed = |cause: jsonwebtoken::errors::Error| NotBelieved::Malformed(cause.to_string());
    let header = jsonwebtoken::decode_header(token.expose()).map_err(malformed)?;
    if header.alg != Algorithm::RS256 {
        return Err(NotBelieved::Algorithm);
    }
    let issuer = expected.issuer.replace("{tenantid}", &expected.tenant.to_string());
    let of_this_id = keys.keys.iter().filter(|key| {
        key.kty == "RSA"
            && key.usage.as_deref().is_none_or(|usage| usage == "sig")
            && Some(&key.kid) == header.kid.as_ref()
    });
    let mut verdict = NotBelieved::Signature;
    for key in of_this_id {
        // A key that names one tenant is good for that one alone, be it the one of personal accounts.
        let theirs = key.issuer.as_ref().map(|of| of.replace("{tenantid}", &expected.tenant.to_string()));
        if theirs.is_some_and(|theirs| theirs != issuer) {
            verdict = NotBelieved::KeyOfAnotherIssuer;
            continue;
        }
        if let Some(claims) = signed_claims(token, key)? {
            return judge(claims, &issuer, expected, now);
        }
    }
    Err(verdict)
}

/// The claims, if this key has signed them.
fn signed_claims(token: &Secret<String>, key: &Key) -> Result<Option<Claims>, NotBelieved> {
    use jsonwebtoken::errors::ErrorKind;
    let Ok(key) = DecodingKey::from_rsa_components(&key.n, &key.e) else { return Ok(None) };
    // Its own checks of claims read the machine's clock and take several audiences: `judge` does it all.
    let mut signature_alone = Validation::new(Algorithm::RS256);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_nbf = false;
    signature_alone.validate_aud = false;
    match jsonwebtoken::decode::<Claims>(token.expose(), &key, &signature_alone) {
        Ok(data) => Ok(Some(data.claims)),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => Ok(None),
        Err(error) => Err(NotBelieved::Malformed(error.to_string())),
    }
}

fn judge(claims: Claims, issuer: &str, expected: &Expected<'_>, now: Timestamp) -> Result<Person, NotBelieved> {
    let tenant: TenantId = claims.tid.parse().map_err(|_| NotBelieved::Tenant)?;
    if tenant != expected.tenant || tenant.to_string() == PERSONAL_ACCOUNTS {
        return Err(NotBelieved::Tenant);
    }
    if claims.iss != issuer || !claims.iss.contains(&tenant.to_string()) {
        return Err(NotBelieved::Issuer);
    }
    if claims.aud != expected.client_id {
        return Err(NotBelieved::Audience);
    }
    if verify_slices_are_equal(claims.nonce.as_bytes(), expected.nonce.as_bytes()).is_err() {
        return Err(NotBelieved::Nonce);
    }
    let (now, skew) = (now.as_second(), SKEW.as_secs());
    if now > claims.exp.saturating_add(skew) || claims.nbf.is_some_and(|nbf| now < nbf.saturating_sub(skew)) {
        return Err(NotBelieved::Time);
    }
    // Members carry no `idp`, or their own tenant's.
    if claims.idp.is_some_and(|idp| idp != issuer && idp != format!("https://sts.windows.net/{tenant}/")) {
        return Err(NotBelieved::Guest);
    }
    let oid =
        claims.oid.parse::<uuid::Uuid>().map_err(|_| NotBelieved::Malformed("its `oid` is no GUID".to_owned()))?;
    let name = plain::visible(&claims.name.unwrap_or_default(), 200);
    Ok(Person { oid: oid.to_string(), name, wids: claims.wids })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const TENANT: &str = "00000000-0000-4000-8000-0000000000aa";
    const OTHER: &str = "00000000-0000-4000-8000-0000000000bb";

    fn issuer(tenant: &str) -> String {
        format!("https://login.microsoftonline.com/{tenant}/v2.0")
    }

    /// The verdict on true claims of noon with this change, asked for in this tenant.
    fn verdict(tenant: &str, change: impl FnOnce(&mut Value)) -> Result<Person, NotBelieved> {
        let noon: Timestamp = "2026-11-22T12:00:00Z".parse().unwrap();
        let mut claims = json!({
            "iss": issuer(tenant), "aud": "client", "tid": tenant, "oid": OTHER, "nonce": "nonce", "name": "Ada\u{202e}",
            "exp": noon.as_second() + 3600, "nbf": noon.as_second(), "wids": ["w"],
        });
        change(&mut claims);
        let issuer = issuer(tenant);
        let expected =
            Expected { client_id: "client", tenant: tenant.parse().unwrap(), issuer: &issuer, nonce: "nonce" };
        judge(serde_json::from_value(claims).unwrap(), &issuer, &expected, noon)
    }

    #[test]
    fn true_claims_say_who_has_signed_in() {
        let person = verdict(TENANT, |_| {}).unwrap();
        let expected = Person { oid: OTHER.to_owned(), name: "Ada".to_owned(), wids: Some(vec!["w".to_owned()]) };
        assert_eq!(person, expected);
        assert_eq!(verdict(TENANT, |claims| claims["wids"] = Value::Null).unwrap().wids, None);
        for idp in [issuer(TENANT), format!("https://sts.windows.net/{TENANT}/")] {
            assert!(verdict(TENANT, |claims| claims["idp"] = json!(idp)).is_ok(), "a member, {idp}");
        }
    }

    #[test]
    fn every_claim_is_judged_and_clocks_may_differ_by_five_minutes() {
        let noon = 1_795_348_800;
        let cases: [(&str, Value, Result<(), NotBelieved>); 11] = [
            ("tid", json!(OTHER), Err(NotBelieved::Tenant)),
            ("tid", json!("contoso.com"), Err(NotBelieved::Tenant)),
            ("iss", json!(issuer(OTHER)), Err(NotBelieved::Issuer)),
            ("aud", json!("another"), Err(NotBelieved::Audience)),
            ("nonce", json!("nonce2"), Err(NotBelieved::Nonce)),
            ("exp", json!(noon - 300), Ok(())),
            ("exp", json!(noon - 301), Err(NotBelieved::Time)),
            ("nbf", json!(noon + 300), Ok(())),
            ("nbf", json!(noon + 301), Err(NotBelieved::Time)),
            ("idp", json!("live.com"), Err(NotBelieved::Guest)),
            ("idp", json!(format!("https://sts.windows.net/{OTHER}/")), Err(NotBelieved::Guest)),
        ];
        for (claim, value, expected) in cases {
            let verdict = verdict(TENANT, |claims| claims[claim] = value.clone()).map(|_| ());
            assert_eq!(verdict, expected, "{claim} {value}");
        }
    }

    #[test]
    fn personal_accounts_belong_to_no_organisation() {
        assert_eq!(verdict(PERSONAL_ACCOUNTS, |_| {}), Err(NotBelieved::Tenant));
    }
}

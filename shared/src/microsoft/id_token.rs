//! An id_token of Entra's, believed only after every check of MICROSOFT.md 1.5.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use jiff::Timestamp;
use serde::Deserialize;

use super::keys::{KeySet, NotBelieved, is_in_time};
use crate::{plain, secret::Secret, tenant::TenantId};

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
    /// Whether a guest is believed, whose home is another directory.
    pub guests: bool,
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
    /// The application's own roles that the person was assigned in that tenant.
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
    nonce: String,
    name: Option<String>,
    idp: Option<String>,
    wids: Option<Vec<String>>,
    #[serde(default)]
    roles: Vec<String>,
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
    let issuer = expected.issuer.replace("{tenantid}", &expected.tenant.to_string());
    let claims = keys.signed(token, expected.tenant, &issuer)?;
    judge(claims, &issuer, expected, now)
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
    if !is_in_time(claims.nbf, claims.exp, now) {
        return Err(NotBelieved::Time);
    }
    // Members carry no `idp`, or their own tenant's.
    if !expected.guests
        && claims.idp.is_some_and(|idp| idp != issuer && idp != format!("https://sts.windows.net/{tenant}/"))
    {
        return Err(NotBelieved::Guest);
    }
    let oid =
        claims.oid.parse::<uuid::Uuid>().map_err(|_| NotBelieved::Malformed("its `oid` is no GUID".to_owned()))?;
    let name = plain::visible(&claims.name.unwrap_or_default(), 200);
    Ok(Person { oid: oid.to_string(), name, wids: claims.wids, roles: claims.roles })
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
        let expected = Expected {
            client_id: "client",
            tenant: tenant.parse().unwrap(),
            issuer: &issuer,
            nonce: "nonce",
            guests: false,
        };
        judge(serde_json::from_value(claims).unwrap(), &issuer, &expected, noon)
    }

    #[test]
    fn true_claims_say_who_has_signed_in() {
        let person = verdict(TENANT, |_| {}).unwrap();
        let expected = Person {
            oid: OTHER.to_owned(),
            name: "Ada".to_owned(),
            wids: Some(vec!["w".to_owned()]),
            roles: Vec::new(),
        };
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

//! Access tokens: made as Entra makes them for Defender (MICROSOFT 2.3), believed as Defender believes them (2.4).

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::dice::{Dice, guid_of};
use crate::entra_keys::signing_key;
use crate::jwt::Jwt;

/// Defender's own audiences, without a trailing slash: the canonical one, the older ones that still work, and those of
/// the government clouds (MICROSOFT 2.4, 2.9).
pub(crate) const DEFENDER_AUDIENCES: [&str; 5] = [
    "https://api.securitycenter.microsoft.com",
    "https://securitycenter.onmicrosoft.com/windowsatpservice",
    "https://api.securitycenter.windows.com",
    "https://api-gcc.securitycenter.microsoft.us",
    "https://api-gov.securitycenter.microsoft.us",
];

/// Entra dates a token back, so that a server with a slow clock believes it.
pub(crate) const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

/// The object id of an application's service principal in a tenant.
pub(crate) fn service_principal(tenant_id: &str, client_id: &str) -> String {
    guid_of(&["service principal", tenant_id, client_id])
}

/// What goes into a token.
#[derive(Clone, Debug)]
pub(crate) struct Grant<'a> {
    pub(crate) tenant_id: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) application_name: &'a str,
    /// The resource as it was asked for, without `/.default`.
    pub(crate) audience: &'a str,
    pub(crate) roles: &'a [String],
    /// "1" for a secret, "2" for a signed assertion.
    pub(crate) appidacr: &'static str,
}

impl Grant<'_> {
    /// A v1 token: what Defender gets even from the v2 endpoint.
    pub(crate) fn sign(&self, now: Timestamp, lifetime: SignedDuration, dice: &mut Dice) -> String {
        let service_principal = service_principal(self.tenant_id, self.client_id);
        let issuer = format!("https://sts.windows.net/{}/", self.tenant_id);
        let from = (now - BACKDATED).as_second();
        let mut claims = json!({
            "aud": self.audience, "iss": issuer, "iat": from, "nbf": from, "exp": (now + lifetime).as_second(),
            "aio": dice.guid(), "app_displayname": self.application_name, "appid": self.client_id,
            "appidacr": self.appidacr, "idp": issuer, "idtyp": "app", "oid": service_principal,
            "sub": service_principal, "tid": self.tenant_id, "uti": dice.guid(), "rh": dice.guid(), "ver": "1.0",
        });
        // A token can be issued with no roles at all, and then it has no such claim.
        if !self.roles.is_empty() {
            claims["roles"] = self.roles.into();
        }
        signing_key().sign(&claims)
    }
}

/// What Defender knows of its caller: the token, not the tenant's present state. Roles are as old as the token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) tenant_id: String,
    pub(crate) client_id: String,
    pub(crate) roles: Vec<String>,
    /// The application acts in the name of somebody who signed in, not in its own.
    pub(crate) for_a_user: bool,
}

/// Why a bearer token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unbelieved {
    Missing,
    Malformed,
    Signature,
    Expired,
    NotYetValid,
    Issuer,
    /// For another resource. This one is 403, the others are 401.
    Audience,
}

/// Verifies an `Authorization` header as Defender does.
pub(crate) fn verify(authorization: Option<&str>, now: Timestamp) -> Result<Caller, Unbelieved> {
    verify_for(&DEFENDER_AUDIENCES, authorization, now)
}

/// Verifies an `Authorization` header. No clock skew: a token is over when it says so.
pub(crate) fn verify_for(
    audiences: &[&str],
    authorization: Option<&str>,
    now: Timestamp,
) -> Result<Caller, Unbelieved> {
    let token = bearer(authorization).ok_or(Unbelieved::Missing)?;
    let jwt = Jwt::parse(token).ok_or(Unbelieved::Malformed)?;
    if jwt.algorithm() != "RS256" || !jwt.is_signed_by(&signing_key().public_key()) {
        return Err(Unbelieved::Signature);
    }
    if jwt.seconds("exp").is_none_or(|until| until <= now.as_second()) {
        return Err(Unbelieved::Expired);
    }
    if jwt.seconds("nbf").is_some_and(|from| from > now.as_second()) {
        return Err(Unbelieved::NotYetValid);
    }
    let caller = caller(&jwt).ok_or(Unbelieved::Malformed)?;
    if jwt.text("iss") != format!("https://sts.windows.net/{}/", caller.tenant_id) {
        return Err(Unbelieved::Issuer);
    }
    let audience = jwt.text("aud");
    if !audiences.contains(&audience.strip_suffix('/').unwrap_or(audience)) {
        return Err(Unbelieved::Audience);
    }
    Ok(caller)
}

/// Who the caller says to be, believed or not: for the log and for faults scripted for one tenant.
pub(crate) fn claimed(authorization: Option<&str>) -> Option<Caller> {
    caller(&Jwt::parse(bearer(authorization)?)?)
}

fn bearer(authorization: Option<&str>) -> Option<&str> {
    let (scheme, token) = authorization?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn caller(jwt: &Jwt<'_>) -> Option<Caller> {
    let text = |claim: &str| Some(jwt.text(claim).to_owned()).filter(|text| !text.is_empty());
    let roles = jwt.claims["roles"].as_array().map(|roles| roles.iter().filter_map(Value::as_str).map(str::to_owned));
    Some(Caller {
        tenant_id: text("tid")?,
        client_id: text("appid")?,
        roles: roles.map(Iterator::collect).unwrap_or_default(),
        for_a_user: !jwt.claims["scp"].is_null(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "00000000-0000-4000-8000-0000000000aa";

    fn token(audience: &str, now: Timestamp) -> String {
        let roles = ["Alert.Read.All".to_owned()];
        let grant =
            Grant { tenant_id: TENANT, client_id: "c", application_name: "n", audience, roles: &roles, appidacr: "1" };
        format!("Bearer {}", grant.sign(now, SignedDuration::from_secs(60), &mut Dice::new(1)))
    }

    #[test]
    fn a_token_is_believed_until_the_second_it_expires() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let token = token("https://api.securitycenter.microsoft.com", now);
        let roles = vec!["Alert.Read.All".to_owned()];
        let caller = Caller { tenant_id: TENANT.into(), client_id: "c".into(), roles, for_a_user: false };
        let after = |seconds| verify(Some(&token), now + SignedDuration::from_secs(seconds));
        assert_eq!(after(59), Ok(caller));
        assert_eq!(after(60), Err(Unbelieved::Expired));
        assert_eq!(after(-301), Err(Unbelieved::NotYetValid));
    }

    #[test]
    fn only_defender_s_own_audiences_open_it() {
        let now = Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1);
        for (audience, expected) in [
            ("https://api.securitycenter.microsoft.com/", true),
            ("https://securitycenter.onmicrosoft.com/windowsatpservice", true),
            ("https://api.securitycenter.windows.com/", true),
            ("https://api.security.microsoft.com", false),
            ("https://graph.microsoft.com", false),
            ("https://userrequestsgraphapi-prd.trafficmanager.net", false),
        ] {
            let verdict = verify(Some(&token(audience, now)), now);
            assert_eq!(verdict.is_ok(), expected, "{audience}");
            assert!(expected || verdict == Err(Unbelieved::Audience), "{audience}");
        }
    }

    #[test]
    fn a_token_that_was_touched_is_not_believed() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let token = token("https://api.securitycenter.microsoft.com", now);
        let other = self::token("https://api.securitycenter.windows.com", now);
        let (signed, _) = token.rsplit_once('.').unwrap();
        let (_, signature) = other.rsplit_once('.').unwrap();
        assert_eq!(verify(Some(&format!("{signed}.{signature}")), now), Err(Unbelieved::Signature));
        assert_eq!(verify(Some("Bearer a.b.c"), now), Err(Unbelieved::Malformed));
        assert_eq!(verify(Some(token.strip_prefix("Bearer ").unwrap()), now), Err(Unbelieved::Missing));
        assert_eq!(verify(None, now), Err(Unbelieved::Missing));
    }
}

//! The keys that Entra publishes, and what they have signed (MICROSOFT.md 1.5).

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{secret::Secret, tenant::TenantId};

/// Clocks differ; a token is believed so long before and after its time.
const SKEW: SignedDuration = SignedDuration::from_mins(5);

/// Why a token is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotBelieved {
    #[error("it is no signed token: {0}")]
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

    /// What the token says, if one of these keys has signed it. `issuer` is the tenant's, as its discovery document names it.
    ///
    /// # Errors
    /// [`NotBelieved`]; nothing is said yet of the claims.
    pub fn signed<C: DeserializeOwned>(
        &self,
        token: &Secret<String>,
        tenant: TenantId,
        issuer: &str,
    ) -> Result<C, NotBelieved> {
        let malformed = |cause: jsonwebtoken::errors::Error| NotBelieved::Malformed(cause.to_string());
        let header = jsonwebtoken::decode_header(token.expose()).map_err(malformed)?;
        if header.alg != Algorithm::RS256 {
            return Err(NotBelieved::Algorithm);
        }
        let of_this_id = self.keys.iter().filter(|key| {
            key.kty == "RSA"
                && key.usage.as_deref().is_none_or(|usage| usage == "sig")
                && Some(&key.kid) == header.kid.as_ref()
        });
        let mut verdict = NotBelieved::Signature;
        for key in of_this_id {
            // A key that names one tenant is good for that one alone, be it the one of personal accounts.
            let theirs = key.issuer.as_ref().map(|of| of.replace("{tenantid}", &tenant.to_string()));
            if theirs.is_some_and(|theirs| theirs != issuer) {
                verdict = NotBelieved::KeyOfAnotherIssuer;
                continue;
            }
            if let Some(claims) = signed_by(token, key)? {
                return Ok(claims);
            }
        }
        Err(verdict)
    }
}

/// The claims, if this key has signed them.
fn signed_by<C: DeserializeOwned>(token: &Secret<String>, key: &Key) -> Result<Option<C>, NotBelieved> {
    use jsonwebtoken::errors::ErrorKind;
    let Ok(key) = DecodingKey::from_rsa_components(&key.n, &key.e) else { return Ok(None) };
    // Its own checks of claims read the machine's clock and take several audiences: whoever reads the claims does it all.
    let mut signature_alone = Validation::new(Algorithm::RS256);
    signature_alone.required_spec_claims.clear();
    signature_alone.validate_exp = false;
    signature_alone.validate_nbf = false;
    signature_alone.validate_aud = false;
    match jsonwebtoken::decode::<C>(token.expose(), &key, &signature_alone) {
        Ok(data) => Ok(Some(data.claims)),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => Ok(None),
        Err(error) => Err(NotBelieved::Malformed(error.to_string())),
    }
}

/// Whether it is a token's time, or near enough.
pub fn is_in_time(not_before: Option<i64>, expires: i64, now: Timestamp) -> bool {
    let (now, skew) = (now.as_second(), SKEW.as_secs());
    now <= expires.saturating_add(skew) && not_before.is_none_or(|from| now >= from.saturating_sub(skew))
}

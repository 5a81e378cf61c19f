//! id_tokens: as Entra writes them (MICROSOFT 1.5), and as somebody forges them.

use aws_lc_rs::hmac;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::application::{Application, GroupMembershipClaims};
use crate::dice::{Dice, guid_of};
use crate::entra_keys;
use crate::entra_request::Version;
use crate::jwt::base64url;
use crate::sign_in::Visitor;
use crate::user::UserKind;

/// Entra dates a token back, so that a server with a slow clock believes it.
pub(crate) const BACKDATED: SignedDuration = SignedDuration::from_mins(5);

const LIFETIME: SignedDuration = SignedDuration::from_mins(60);

/// Who an id_token is about, and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Subject<'a> {
    pub(crate) visitor: &'a Visitor,
    pub(crate) application: &'a Application,
    pub(crate) claims_of_groups: GroupMembershipClaims,
    pub(crate) nonce: Option<&'a str>,
    /// Whether the scope `profile` was asked for: without it there is no name and no `oid`.
    pub(crate) profile: bool,
    pub(crate) version: Version,
    /// The app roles of the person, in this tenant and for this application.
    pub(crate) app_roles: &'a [String],
}

impl Subject<'_> {
    pub(crate) fn claims(&self, now: Timestamp, dice: &mut Dice) -> Value {
        let Visitor { tenant_id, user } = self.visitor;
        let from = (now - BACKDATED).as_second();
        let issuer = match self.version {
            Version::V1 => format!("https://sts.windows.net/{tenant_id}/"),
            Version::V2 => format!("https://login.microsoftonline.com/{tenant_id}/v2.0"),
        };
        // Another one for every application: no key to know a person by.
        let pairwise = guid_of(&["subject", &self.application.client_id, tenant_id, &user.oid]);
        let mut claims = json!({
            "aud": self.application.client_id, "iss": issuer, "iat": from, "nbf": from,
            "exp": (now + LIFETIME).as_second(), "aio": dice.guid(), "rh": dice.guid(), "sid": dice.guid(),
            "sub": base64url(pairwise.as_bytes()), "tid": tenant_id, "uti": dice.guid(),
            "ver": if self.version == Version::V1 { "1.0" } else { "2.0" },
        });
        if let Some(nonce) = self.nonce {
            claims["nonce"] = nonce.into();
        }
        if self.profile {
            claims["name"] = user.name.as_str().into();
            claims["oid"] = user.oid.as_str().into();
            let name = if self.version == Version::V1 { "unique_name" } else { "preferred_username" };
            claims[name] = user.upn.as_str().into();
        }
        // Only where it is not the issuer itself.
        if let UserKind::Guest { home_tenant } = &user.kind {
            claims["idp"] = format!("https://sts.windows.net/{home_tenant}/").into();
        }
        if self.claims_of_groups != GroupMembershipClaims::None {
            claims["wids"] = user.wids().into();
        }
        // Whatever scopes were asked for; whoever has no role has no such claim.
        if !self.app_roles.is_empty() {
            claims["roles"] = self.app_roles.into();
        }
        claims
    }
}

/// How a forged id_token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForgedWith {
    /// The real key: only the claims are false.
    EntraKey,
    /// A key no key set holds, under a name no key set knows.
    UnknownKey,
    /// The same key, under the name of Entra's.
    UnknownKeyNamedAsEntras,
    /// `alg: none`, and no signature.
    AlgNone,
    /// HMAC, its secret the PEM of Entra's public key: for a verifier that lets the token choose the algorithm.
    Hs256WithPublicKey,
    /// A key of the published key set that may sign for another issuer only.
    KeyOfAnotherIssuer,
}

pub(crate) fn forge(claims: &Value, with: ForgedWith) -> String {
    let name = entra_keys::signing_key().key_id();
    let unsigned = |algorithm: &str| {
        let header = json!({"typ": "JWT", "alg": algorithm, "x5t": name, "kid": name});
        format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
    };
    match with {
        ForgedWith::EntraKey => entra_keys::signing_key().sign(claims),
        ForgedWith::UnknownKey => entra_keys::unknown_key().sign(claims),
        ForgedWith::UnknownKeyNamedAsEntras => {
            let header = json!({"typ": "JWT", "alg": "RS256", "x5t": name, "kid": name});
            entra_keys::unknown_key().sign_with_header(&header, claims)
        }
        ForgedWith::AlgNone => format!("{}.", unsigned("none")),
        ForgedWith::Hs256WithPublicKey => {
            let signed = unsigned("HS256");
            let key = hmac::Key::new(hmac::HMAC_SHA256, entra_keys::public_key_pem().as_bytes());
            let signature = hmac::sign(&key, signed.as_bytes());
            format!("{signed}.{}", base64url(signature.as_ref()))
        }
        ForgedWith::KeyOfAnotherIssuer => entra_keys::other_issuers_key().sign(claims),
    }
}

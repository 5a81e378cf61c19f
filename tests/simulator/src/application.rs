//! Application registrations and the credentials Entra accepts from them.

use std::fmt;

use jiff::Timestamp;
use serde_json::Value;

/// An application registration in its home tenant.
#[derive(Clone, Debug, Default)]
pub struct Application {
    pub client_id: String,
    pub home_tenant_id: String,
    pub name: String,
    pub secrets: Vec<ClientSecret>,
    pub certificates: Vec<Certificate>,
    pub federated: Vec<FederatedCredential>,
    /// The app roles it asks for in `requiredResourceAccess`.
    pub roles: Vec<String>,
}

/// A client secret. A new one is not accepted at once: before `usable_from` the answer is AADSTS7000215 (MICROSOFT 5.5).
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret {
    pub key_id: String,
    pub value: String,
    pub start: Timestamp,
    pub end: Timestamp,
    pub usable_from: Option<Timestamp>,
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecret").field("key_id", &self.key_id).field("end", &self.end).finish_non_exhaustive()
    }
}

/// A registered certificate, DER. Before `usable_from` it is as good as unknown: AADSTS700027.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub key_id: String,
    pub der: Vec<u8>,
    pub usable_from: Option<Timestamp>,
}

/// A federated identity credential. Before `usable_from` the answer is AADSTS70021 (MICROSOFT 2.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FederatedCredential {
    pub name: String,
    pub issuer: String,
    pub subject: String,
    pub audience: String,
    pub usable_from: Option<Timestamp>,
}

/// An issuer outside Entra, with the key set it publishes (`{"keys":[…]}`).
#[derive(Clone, Debug, PartialEq)]
pub struct FederatedIssuer {
    pub issuer: String,
    pub jwks: Value,
}

/// Whether a credential that becomes usable at `from` is usable now.
pub(crate) fn usable(from: Option<Timestamp>, now: Timestamp) -> bool {
    from.is_none_or(|from| from <= now)
}

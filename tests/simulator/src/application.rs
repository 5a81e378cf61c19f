//! Application registrations and the credentials Entra accepts from them.

use std::fmt;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::app_role::AppRole;
use crate::dice::guid_of;

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

/// The part of an application's manifest that concerns people: consent, sign-in and ownership. An application without
/// one has no redirect URI. `World::registration` gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registration {
    pub redirect_uris: Vec<String>,
    /// The delegated permissions of Microsoft Graph in `requiredResourceAccess`, such as `openid` and `profile`.
    pub delegated_permissions: Vec<String>,
    /// Whether an id_token carries the directory roles of its user as `wids` (MICROSOFT 1.7).
    pub group_membership_claims: GroupMembershipClaims,
    /// The client ids of the applications whose service principals own this one, itself among them if it may write to
    /// itself with `Application.ReadWrite.OwnedBy` (MICROSOFT 5.3).
    pub owners: Vec<String>,
    /// Who can sign in to it, and where it can have a service principal.
    pub sign_in_audience: SignInAudience,
    /// The roles it defines for others to hold.
    pub app_roles: Vec<AppRole>,
    /// Its Application ID URIs, by which it is named as the resource of a token, such as `api://{client_id}`.
    pub identifier_uris: Vec<String>,
    pub access_token_version: AccessTokenVersion,
    /// Whether the optional claim `idtyp` is asked for in the access tokens for this application.
    pub idtyp: bool,
}

/// The manifest's `requestedAccessTokenVersion`: the format of access tokens for this application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessTokenVersion {
    /// `null` or 1.
    #[default]
    V1,
    V2,
}

/// The manifest's `signInAudience`; personal accounts are not modelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInAudience {
    /// `AzureADMultipleOrgs`: any organisation.
    #[default]
    MultipleOrgs,
    /// `AzureADMyOrg`: the home tenant alone.
    MyOrg,
}

/// The manifest's `groupMembershipClaims`, as far as directory roles are concerned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupMembershipClaims {
    /// No `wids`.
    #[default]
    None,
    DirectoryRole,
    All,
}

/// The roles of Microsoft Graph; every other name is one of WindowsDefenderATP's (MICROSOFT 3.1).
pub(crate) const GRAPH_ROLES: [&str; 5] = [
    "SecurityAlert.Read.All",
    "SecurityIncident.Read.All",
    "Application.ReadWrite.OwnedBy",
    "Application.ReadWrite.All",
    "Application.Read.All",
];

impl Application {
    /// The id of the application object in the home tenant; the same for the same client id.
    pub fn object_id(&self) -> String {
        guid_of(&["application object", &self.client_id.to_ascii_lowercase()])
    }

    /// Only a Global or Privileged Role Administrator can grant those (MICROSOFT 1.7).
    pub fn requires_graph_app_role(&self) -> bool {
        self.roles.iter().any(|role| GRAPH_ROLES.contains(&role.as_str()))
    }

    pub(crate) fn asks_for_defender(&self) -> bool {
        self.roles.iter().any(|role| !GRAPH_ROLES.contains(&role.as_str()))
    }
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

/// An issuer outside Entra, with the key set it publishes (`{"keys":[…]}`). Entra believes the set that the world holds now:
/// a rotated key is unknown until it stands there. Before `usable_from` the answer is AADSTS7000272: Entra has not read
/// anything of an issuer that it has never met (AWS 3).
#[derive(Clone, Debug, PartialEq)]
pub struct FederatedIssuer {
    pub issuer: String,
    pub jwks: Value,
    pub usable_from: Option<Timestamp>,
}

/// Whether a credential that becomes usable at `from` is usable now.
pub(crate) fn usable(from: Option<Timestamp>, now: Timestamp) -> bool {
    from.is_none_or(|from| from <= now)
}

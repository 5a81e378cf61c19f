//! App roles and their assignments, as the world file and the control routes describe them.

use serde::Deserialize;

use crate::app_role::{AppRole, AppRoleAssignment, MemberType, Principal};
use crate::application::AccessTokenVersion;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppRoleFile {
    value: String,
    /// Both, unless it is said.
    allowed: Option<Vec<MemberType>>,
}

/// Either a user or an application; without a role it is access alone.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AssignmentFile {
    /// The client id of the application whose role it is.
    application: String,
    user: Option<String>,
    client_id: Option<String>,
    role: Option<String>,
}

impl AppRoleFile {
    pub(crate) fn build(self) -> AppRole {
        let both = AppRole::new(&self.value);
        AppRole { allowed: self.allowed.unwrap_or(both.allowed), ..both }
    }
}

impl AssignmentFile {
    pub(crate) fn build(self) -> Result<AppRoleAssignment, String> {
        let principal = match (self.user, self.client_id) {
            (Some(oid), None) => Principal::User(oid),
            (None, Some(client_id)) => Principal::Application(client_id),
            _ => return Err("an assignment is for a user or for a client_id".into()),
        };
        Ok(AppRoleAssignment { resource: self.application, principal, role: self.role })
    }
}

/// `requestedAccessTokenVersion` as the manifest has it.
pub(crate) fn access_token_version(number: Option<u8>) -> Result<AccessTokenVersion, String> {
    match number {
        None | Some(1) => Ok(AccessTokenVersion::V1),
        Some(2) => Ok(AccessTokenVersion::V2),
        Some(other) => Err(format!("requested_access_token_version is 1 or 2, not {other}")),
    }
}

//! People in a tenant's directory, and the administrator roles they hold (MICROSOFT 1.7).

use serde::Deserialize;

/// One user object in a tenant's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The object id, a GUID; a guest has another one than at home.
    pub oid: String,
    pub name: String,
    pub upn: String,
    pub kind: UserKind,
    pub roles: Vec<AdminRole>,
}

/// Whether a user belongs to the tenant or was invited into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserKind {
    Member,
    Guest { home_tenant: String },
}

/// The directory roles that let a person consent for everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdminRole {
    Global,
    PrivilegedRole,
    Application,
    CloudApplication,
}

/// In the `wids` of every user of the tenant, whatever their roles (MICROSOFT 1.7).
pub(crate) const EVERY_USER: &str = "b79fbf4d-3ef9-4689-8143-76b194e85509";

impl AdminRole {
    /// As `wids` carries it.
    pub fn template_id(self) -> &'static str {
        match self {
            Self::Global => "62e90394-69f5-4237-9190-012177145e10",
            Self::PrivilegedRole => "e8611ab8-c189-46e8-94e1-60213ab1f814",
            Self::Application => "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3",
            Self::CloudApplication => "158c047a-c907-4556-b7ef-446551a6b5f7",
        }
    }

    /// As the page shows it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Global => "Global Administrator",
            Self::PrivilegedRole => "Privileged Role Administrator",
            Self::Application => "Application Administrator",
            Self::CloudApplication => "Cloud Application Administrator",
        }
    }

    /// Application administrators consent to any application role but Microsoft Graph's.
    fn may_consent(self, to_graph: bool) -> bool {
        match self {
            Self::Global | Self::PrivilegedRole => true,
            Self::Application | Self::CloudApplication => !to_graph,
        }
    }
}

impl User {
    /// A member of the tenant without any role.
    pub fn member(oid: &str, name: &str, upn: &str) -> Self {
        Self { oid: oid.into(), name: name.into(), upn: upn.into(), kind: UserKind::Member, roles: Vec::new() }
    }

    /// Somebody of another tenant, invited into this one.
    pub fn guest(oid: &str, name: &str, upn: &str, home_tenant: &str) -> Self {
        Self { kind: UserKind::Guest { home_tenant: home_tenant.into() }, ..Self::member(oid, name, upn) }
    }

    pub fn with_role(mut self, role: AdminRole) -> Self {
        self.roles.push(role);
        self
    }

    /// Whether this user may consent, for the whole tenant, to application roles of Microsoft Graph or to others.
    pub(crate) fn may_consent(&self, to_graph: bool) -> bool {
        self.roles.iter().any(|role| role.may_consent(to_graph))
    }

    /// The `wids` of this user's tokens.
    pub(crate) fn wids(&self) -> Vec<&'static str> {
        self.roles.iter().map(|role| role.template_id()).chain([EVERY_USER]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn graph_roles_take_a_higher_admin_than_others() {
        let with = |role| User::member("o", "n", "u").with_role(role);
        for (role, graph) in [
            (AdminRole::Global, true),
            (AdminRole::PrivilegedRole, true),
            (AdminRole::Application, false),
            (AdminRole::CloudApplication, false),
        ] {
            assert!(with(role).may_consent(false));
            assert_eq!(with(role).may_consent(true), graph, "{role:?}");
        }
        assert!(!User::member("o", "n", "u").may_consent(false));
        assert_eq!(with(AdminRole::Global).wids(), [AdminRole::Global.template_id(), EVERY_USER]);
    }
}

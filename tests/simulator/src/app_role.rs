//! App roles that an application of the world defines, and who holds them in which tenant (Microsoft, *Add app roles to
//! your application and receive them in the token*; Graph, *appRoleAssignment resource type*).

use serde::Deserialize;

use crate::application::{Registration, SignInAudience};
use crate::tenant::Tenant;
use crate::world::World;

/// One entry of the manifest's `appRoles`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRole {
    /// As the `roles` claim carries it.
    pub value: String,
    /// The manifest's `allowedMemberTypes`.
    pub allowed: Vec<MemberType>,
}

/// To whom a role may be assigned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemberType {
    User,
    Application,
}

/// Somebody's access to an application in one tenant. Whoever administers that tenant makes it: a customer's admin can
/// assign any role of a multi-tenant application to anybody there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppRoleAssignment {
    /// The client id of the application that is accessed.
    pub resource: String,
    pub principal: Principal,
    /// `None` is Entra's "Default Access": let in, and no role.
    pub role: Option<String>,
}

/// Who may get in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// By object id in that tenant.
    User(String),
    /// By client id; its service principal in that tenant is meant.
    Application(String),
}

impl AppRole {
    /// A role for people and for programs.
    pub fn new(value: &str) -> Self {
        Self { value: value.into(), allowed: vec![MemberType::User, MemberType::Application] }
    }
}

impl AppRoleAssignment {
    pub fn to_user(resource: &str, oid: &str, role: &str) -> Self {
        Self { resource: resource.into(), principal: Principal::User(oid.into()), role: Some(role.into()) }
    }

    pub fn to_application(resource: &str, client_id: &str, role: &str) -> Self {
        let principal = Principal::Application(client_id.into());
        Self { resource: resource.into(), principal, role: Some(role.into()) }
    }
}

impl Principal {
    fn member_type(&self) -> MemberType {
        match self {
            Self::User(_) => MemberType::User,
            Self::Application(_) => MemberType::Application,
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::User(one), Self::User(other)) | (Self::Application(one), Self::Application(other)) => {
                one.eq_ignore_ascii_case(other)
            }
            _ => false,
        }
    }
}

impl World {
    /// An admin of this tenant assigns somebody there to an application that is present there.
    ///
    /// # Errors
    /// What Graph would refuse as well: an application without a service principal in the tenant, a role it does not
    /// define for such a principal, somebody who is not there.
    pub fn assign(&mut self, tenant_id: &str, assignment: AppRoleAssignment) -> Result<(), String> {
        let AppRoleAssignment { resource, principal, role } = &assignment;
        let tenant = self.find_tenant(tenant_id).ok_or_else(|| format!("there is no tenant {tenant_id}"))?;
        if !self.has_service_principal(tenant, resource) {
            return Err(format!("the application {resource} has no service principal in the tenant {tenant_id}"));
        }
        let defined = self.find_registration(resource).is_some_and(|registration| {
            role.as_ref().is_none_or(|role| registration.defines(role, principal.member_type()))
        });
        if !defined {
            return Err(format!("the application {resource} defines no such role for {principal:?}: {role:?}"));
        }
        let known = match principal {
            Principal::User(oid) => tenant.users.iter().any(|user| user.oid.eq_ignore_ascii_case(oid)),
            Principal::Application(client_id) => self.has_service_principal(tenant, client_id),
        };
        if !known {
            return Err(format!("{principal:?} is not in the tenant {tenant_id}"));
        }
        if let Some(tenant) = self.tenant(tenant_id) {
            tenant.app_role_assignments.push(assignment);
        }
        Ok(())
    }

    /// At home an application has its service principal from the day it is registered, elsewhere from the first consent.
    fn has_service_principal(&self, tenant: &Tenant, client_id: &str) -> bool {
        let at_home = |home: &str| home.eq_ignore_ascii_case(&tenant.id);
        let application = self.applications().find(|known| known.client_id.eq_ignore_ascii_case(client_id));
        application.is_some_and(|application| {
            let single = self.find_registration(client_id).is_some_and(Registration::is_single_tenant);
            at_home(&application.home_tenant_id) || !single && tenant.consent(client_id).is_some()
        })
    }
}

impl Registration {
    fn defines(&self, role: &str, for_whom: MemberType) -> bool {
        self.app_roles.iter().any(|known| known.value == role && known.allowed.contains(&for_whom))
    }

    pub(crate) fn is_single_tenant(&self) -> bool {
        self.sign_in_audience == SignInAudience::MyOrg
    }
}

impl Tenant {
    /// The `roles` of this principal's tokens for this application.
    pub(crate) fn app_roles(&self, resource: &str, registration: &Registration, principal: &Principal) -> Vec<String> {
        let mut roles: Vec<String> = Vec::new();
        for role in self.assignments_of(resource, principal).filter_map(|assignment| assignment.role.as_ref()) {
            // A role that the manifest no longer defines is gone with its assignments.
            if registration.defines(role, principal.member_type()) && !roles.contains(role) {
                roles.push(role.clone());
            }
        }
        roles
    }

    /// Whether `appRoleAssignmentRequired` of the application's service principal here keeps this principal out.
    pub(crate) fn keeps_out(&self, resource: &str, principal: &Principal) -> bool {
        self.assignment_required.iter().any(|required| required.eq_ignore_ascii_case(resource))
            && self.assignments_of(resource, principal).next().is_none()
    }

    fn assignments_of<'a>(
        &'a self,
        resource: &'a str,
        principal: &'a Principal,
    ) -> impl Iterator<Item = &'a AppRoleAssignment> {
        self.app_role_assignments.iter().filter(move |assignment| {
            assignment.resource.eq_ignore_ascii_case(resource) && assignment.principal.is(principal)
        })
    }
}

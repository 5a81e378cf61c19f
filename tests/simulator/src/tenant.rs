//! One customer tenant: what was consented, what is licensed, what it has seen.

use jiff::Timestamp;

use crate::admin_consent::ConsentPropagation;
use crate::alerts::Alerts;
use crate::app_role::{AppRoleAssignment, Principal};
use crate::application::{Application, Registration};
use crate::home::Home;
use crate::machines::Machines;
use crate::user::User;

/// A Microsoft Entra tenant with, or without, Defender for Endpoint.
#[derive(Debug)]
pub struct Tenant {
    /// The tenant GUID.
    pub id: String,
    pub name: String,
    pub consents: Vec<Consent>,
    /// Whether the service principal WindowsDefenderATP exists: without it AADSTS500011.
    pub has_defender: bool,
    pub licence: Licence,
    /// A Conditional Access policy for workload identities blocks every application: AADSTS53003.
    pub conditional_access_blocks: bool,
    pub deleted: bool,
    /// Which cloud it lives in; the directory that is simulated is the commercial one.
    pub home: Home,
    pub alerts: Alerts,
    pub machines: Machines,
    /// Whether a full page carries `@odata.nextLink`, which only community code has seen (MICROSOFT 3.2).
    pub next_links: bool,
    /// Verified domains, by which discovery finds the tenant.
    pub domains: Vec<String>,
    /// Defender's own role-based access control keeps the application out: 403 although the app role is there.
    pub rbac_denied: bool,
    /// Whether people may let an application know who they are; otherwise only admins, AADSTS90094.
    pub users_may_consent: bool,
    /// The directory: who can sign in here.
    pub users: Vec<User>,
    /// What applications may do in the name of users.
    pub delegated: Vec<DelegatedGrant>,
    /// Who is assigned to which application; `World::assign` adds to it as Graph would.
    pub app_role_assignments: Vec<AppRoleAssignment>,
    /// The client ids of the applications that let in nobody who is not assigned (`appRoleAssignmentRequired`).
    pub assignment_required: Vec<String>,
    /// Consents that a newer one replaced; they count until the newer one's roles are in force.
    superseded: Vec<Consent>,
}

impl Tenant {
    /// A tenant with an active licence where nobody has consented yet.
    pub fn new(id: &str, name: &str) -> Self {
        Self {
            id: id.into(),
            name: name.into(),
            consents: Vec::new(),
            has_defender: true,
            licence: Licence::Active,
            conditional_access_blocks: false,
            deleted: false,
            home: Home::default(),
            alerts: Alerts::default(),
            machines: Machines::default(),
            next_links: false,
            domains: Vec::new(),
            rbac_denied: false,
            users_may_consent: true,
            users: Vec::new(),
            delegated: Vec::new(),
            app_role_assignments: Vec::new(),
            assignment_required: Vec::new(),
            superseded: Vec::new(),
        }
    }

    /// Admin consent to these app roles at `at`, in force at once.
    pub fn consented(mut self, client_id: &str, roles: &[&str], at: Timestamp) -> Self {
        // Consent replaces what was granted before (MICROSOFT 1.7).
        self.consents.retain(|consent| !consent.client_id.eq_ignore_ascii_case(client_id));
        self.consents.push(Consent {
            client_id: client_id.into(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            service_principal_from: at,
            roles_from: at,
            enabled: true,
        });
        self
    }

    pub fn with_user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// An admin approves all that the application asks for, in the place of whatever was approved before.
    pub(crate) fn grant(
        &mut self,
        application: &Application,
        registration: &Registration,
        now: Timestamp,
        propagation: ConsentPropagation,
    ) {
        let client_id = &application.client_id;
        let concerns = |other: &str| other.eq_ignore_ascii_case(client_id);
        let before = self.consent(client_id).cloned();
        self.consents.retain(|consent| !concerns(&consent.client_id));
        let after = |delay| now.saturating_add(delay).unwrap_or(now);
        // A service principal that exists stays, disabled or not; the same roles once more change nothing.
        let unchanged = before.as_ref().filter(|before| before.roles == application.roles);
        self.consents.push(Consent {
            client_id: client_id.clone(),
            roles: application.roles.clone(),
            service_principal_from: before
                .as_ref()
                .map_or_else(|| after(propagation.service_principal), |before| before.service_principal_from),
            roles_from: unchanged.map_or_else(|| after(propagation.roles), |before| before.roles_from),
            enabled: before.as_ref().is_none_or(|before| before.enabled),
        });
        if unchanged.is_none() {
            self.superseded.retain(|consent| !concerns(&consent.client_id));
            self.superseded.extend(before.filter(|before| before.roles_from <= now));
        }
        self.delegated.retain(|grant| grant.user.is_some() || !concerns(&grant.client_id));
        self.delegated.push(DelegatedGrant {
            client_id: client_id.clone(),
            user: None,
            scopes: registration.delegated_permissions.clone(),
        });
    }

    /// An admin removes the enterprise application, and all that was granted with it.
    pub fn withdraw(&mut self, client_id: &str) {
        let others = |other: &str| !other.eq_ignore_ascii_case(client_id);
        self.consents.retain(|consent| others(&consent.client_id));
        self.superseded.retain(|consent| others(&consent.client_id));
        self.delegated.retain(|grant| others(&grant.client_id));
        self.app_role_assignments.retain(|assignment| match &assignment.principal {
            Principal::Application(principal) => others(principal) && others(&assignment.resource),
            Principal::User(_) => others(&assignment.resource),
        });
        self.assignment_required.retain(|required| others(required));
    }

    /// One user lets the application have these scopes. The service principal comes with it, and no role.
    pub(crate) fn grant_to_user(
        &mut self,
        client_id: &str,
        oid: &str,
        scopes: &[String],
        now: Timestamp,
        propagation: ConsentPropagation,
    ) {
        if self.consent(client_id).is_none() {
            self.consents.push(Consent {
                client_id: client_id.into(),
                roles: Vec::new(),
                service_principal_from: now.saturating_add(propagation.service_principal).unwrap_or(now),
                roles_from: now,
                enabled: true,
            });
        }
        self.delegated.push(DelegatedGrant {
            client_id: client_id.into(),
            user: Some(oid.into()),
            scopes: scopes.to_vec(),
        });
    }

    /// The roles a token of this application would carry.
    pub(crate) fn roles_in_force(&self, client_id: &str, now: Timestamp) -> &[String] {
        let Some(consent) = self.consent(client_id) else { return &[] };
        let before = self.superseded.iter().filter(|other| other.client_id.eq_ignore_ascii_case(client_id));
        let mut all = std::iter::once(consent).chain(before);
        all.find(|consent| consent.roles_from <= now).map(|consent| consent.roles.as_slice()).unwrap_or_default()
    }

    /// Whether the application may do all this for this user without asking.
    pub(crate) fn has_delegated(&self, client_id: &str, oid: &str, scopes: &[String]) -> bool {
        scopes.iter().all(|scope| {
            self.delegated.iter().any(|grant| {
                grant.client_id.eq_ignore_ascii_case(client_id)
                    && grant.user.as_ref().is_none_or(|user| user == oid)
                    && grant.scopes.contains(scope)
            })
        })
    }

    pub(crate) fn consent(&self, client_id: &str) -> Option<&Consent> {
        self.consents.iter().find(|consent| consent.client_id.eq_ignore_ascii_case(client_id))
    }
}

/// What an admin granted one application; the parts come into force one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    pub client_id: String,
    pub roles: Vec<String>,
    /// From when the service principal exists; before: AADSTS7000229.
    pub service_principal_from: Timestamp,
    /// From when tokens carry the roles; before, they are issued without.
    pub roles_from: Timestamp,
    /// `false`: somebody disabled the enterprise application, AADSTS7000112.
    pub enabled: bool,
}

/// What an application may do in the name of one user, or of everybody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DelegatedGrant {
    pub client_id: String,
    /// The user's `oid`; `None` for everybody, by admin consent.
    pub user: Option<String>,
    pub scopes: Vec<String>,
}

/// What Defender makes of the tenant's licence (MICROSOFT 3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Licence {
    Active,
    /// 401 "Account mode is inactive".
    AccountInactive,
    /// 401 "No Tvm license".
    NoTvmLicence,
    /// 403 `InvalidLicense`, although the roles are there.
    InvalidLicense,
}

//! One customer tenant: what was consented, what is licensed, what it has seen.

use jiff::Timestamp;

use crate::alerts::Alerts;

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
    pub alerts: Alerts,
    /// Whether a full page carries `@odata.nextLink`, which only community code has seen (MICROSOFT 3.2).
    pub next_links: bool,
    /// Defender's own role-based access control keeps the application out: 403 although the app role is there.
    pub rbac_denied: bool,
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
            alerts: Alerts::default(),
            next_links: false,
            rbac_denied: false,
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

//! The JSON a world is described by, for the program and its control routes. The README explains every part.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::admin_consent::ConsentPropagation;
use crate::alert::Alert;
use crate::app_role_file::{AppRoleFile, AssignmentFile, access_token_version};
use crate::application::{
    Application, Certificate, ClientSecret, FederatedCredential, FederatedIssuer, GroupMembershipClaims, Registration,
    SignInAudience,
};
use crate::flood::Flood;
use crate::jwt::pem_bytes;
use crate::quota::Quota;
use crate::replication::CredentialPropagation;
use crate::storage_file::StorageFile;
use crate::tenant::{Consent, Licence, Tenant};
use crate::user::{AdminRole, User, UserKind};
use crate::world::World;

/// An instant as people write it: `2026-01-01T00:00:00Z`, or counted from now: `-2h`, `30s`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) enum Moment {
    At(Timestamp),
    FromNow(SignedDuration),
}

impl TryFrom<String> for Moment {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let from_now = text.parse().map(Self::FromNow);
        from_now
            .map_err(|_| format!("{text:?} is neither an instant (2026-01-01T00:00:00Z) nor a distance from now (-2h)"))
    }
}

impl Moment {
    pub(crate) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::FromNow(distance) => now.saturating_add(distance).unwrap_or(now),
        }
    }
}

/// A whole world.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorldFile {
    token_lifetime_seconds: Option<i64>,
    quota: Option<QuotaFile>,
    consent_propagation: Option<ConsentPropagationFile>,
    credential_propagation: Option<CredentialPropagationFile>,
    applications: Vec<ApplicationFile>,
    issuers: Vec<IssuerFile>,
    tenants: Vec<TenantFile>,
    storage: Vec<StorageFile>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaFile {
    per_minute: u32,
    per_hour: u32,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentPropagationFile {
    service_principal: SignedDuration,
    roles: SignedDuration,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialPropagationFile {
    least: SignedDuration,
    most: SignedDuration,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct IssuerFile {
    issuer: String,
    jwks: Value,
    usable_from: Option<Moment>,
}

impl IssuerFile {
    pub(crate) fn add_to(self, world: &mut World) {
        let usable_from = self.usable_from.map(|moment| moment.resolve(world.now));
        world.add_issuer(FederatedIssuer { issuer: self.issuer, jwks: self.jwks, usable_from });
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ApplicationFile {
    client_id: String,
    home_tenant_id: String,
    name: String,
    #[serde(default)]
    roles: Vec<String>,
    #[serde(default)]
    secrets: Vec<SecretFile>,
    #[serde(default)]
    certificates: Vec<CertificateFile>,
    #[serde(default)]
    federated: Vec<FederatedFile>,
    #[serde(default)]
    delegated_permissions: Vec<String>,
    #[serde(default)]
    redirect_uris: Vec<String>,
    #[serde(default)]
    group_membership_claims: GroupMembershipClaims,
    #[serde(default)]
    owners: Vec<String>,
    #[serde(default)]
    sign_in_audience: SignInAudience,
    #[serde(default)]
    app_roles: Vec<AppRoleFile>,
    #[serde(default)]
    identifier_uris: Vec<String>,
    requested_access_token_version: Option<u8>,
    #[serde(default)]
    idtyp: bool,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretFile {
    key_id: String,
    value: String,
    display_name: Option<String>,
    start: Option<Moment>,
    end: Option<Moment>,
    usable_from: Option<Moment>,
}

impl std::fmt::Debug for SecretFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretFile").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateFile {
    key_id: String,
    pem: String,
    usable_from: Option<Moment>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FederatedFile {
    name: String,
    issuer: String,
    subject: String,
    audience: Option<String>,
    usable_from: Option<Moment>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantFile {
    id: String,
    name: String,
    #[serde(default)]
    consents: Vec<ConsentFile>,
    has_defender: Option<bool>,
    licence: Option<LicenceFile>,
    #[serde(default)]
    conditional_access_blocks: bool,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    next_links: bool,
    #[serde(default)]
    domains: Vec<String>,
    #[serde(default)]
    rbac_denied: bool,
    stable_order: Option<bool>,
    #[serde(default)]
    alerts: Vec<AlertFile>,
    #[serde(default)]
    floods: Vec<FloodFile>,
    #[serde(default)]
    poison: Vec<String>,
    #[serde(default)]
    users: Vec<UserFile>,
    #[serde(default)]
    assignments: Vec<AssignmentFile>,
    #[serde(default)]
    assignment_required: Vec<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct UserFile {
    oid: String,
    name: String,
    upn: String,
    /// The home tenant of a guest.
    guest_of: Option<String>,
    #[serde(default)]
    roles: Vec<AdminRole>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConsentFile {
    client_id: String,
    roles: Vec<String>,
    service_principal_from: Option<Moment>,
    roles_from: Option<Moment>,
    enabled: Option<bool>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LicenceFile {
    Active,
    AccountInactive,
    NoTvmLicence,
    InvalidLicense,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertFile {
    id: String,
    at: Option<Moment>,
    visible_from: Option<Moment>,
    evidence: Option<u32>,
    /// Written over the sample's fields; `null` stays `null`.
    #[serde(default)]
    fields: Map<String, Value>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FloodFile {
    prefix: String,
    count: u32,
    start: Moment,
    step: SignedDuration,
    evidence: u32,
}

impl WorldFile {
    /// Adds everything the file describes; instants counted from now are counted from the world's clock.
    pub fn add_to(self, world: &mut World) -> Result<(), String> {
        if let Some(seconds) = self.token_lifetime_seconds {
            world.token_lifetime = SignedDuration::from_secs(seconds);
        }
        if let Some(QuotaFile { per_minute, per_hour }) = self.quota {
            world.quota = Quota { per_minute, per_hour };
        }
        if let Some(ConsentPropagationFile { service_principal, roles }) = self.consent_propagation {
            world.consent_propagation = ConsentPropagation { service_principal, roles };
        }
        if let Some(CredentialPropagationFile { least, most }) = self.credential_propagation {
            world.credential_propagation = CredentialPropagation { least, most };
        }
        for application in self.applications {
            application.add_to(world)?;
        }
        for issuer in self.issuers {
            issuer.add_to(world);
        }
        for tenant in self.tenants {
            tenant.add_to(world)?;
        }
        for account in self.storage {
            account.add_to(world);
        }
        Ok(())
    }
}

impl ApplicationFile {
    /// Adds the application and what its manifest says of people.
    pub(crate) fn add_to(mut self, world: &mut World) -> Result<(), String> {
        let registration = Registration {
            redirect_uris: std::mem::take(&mut self.redirect_uris),
            delegated_permissions: std::mem::take(&mut self.delegated_permissions),
            group_membership_claims: self.group_membership_claims,
            owners: std::mem::take(&mut self.owners),
            sign_in_audience: self.sign_in_audience,
            app_roles: std::mem::take(&mut self.app_roles).into_iter().map(AppRoleFile::build).collect(),
            identifier_uris: std::mem::take(&mut self.identifier_uris),
            access_token_version: access_token_version(self.requested_access_token_version)?,
            idtyp: self.idtyp,
        };
        for secret in &mut self.secrets {
            if let Some(name) = secret.display_name.take() {
                world.name_credential(&secret.key_id, &name);
            }
        }
        let application = self.build(world.now)?;
        *world.registration(&application.client_id) = registration;
        world.add_application(application);
        Ok(())
    }

    fn build(self, now: Timestamp) -> Result<Application, String> {
        let at = |moment: Option<Moment>| moment.map(|moment| moment.resolve(now));
        let certificates = self.certificates.into_iter().map(|file| {
            let der = pem_bytes(&file.pem).ok_or_else(|| format!("the certificate {} is not PEM", file.key_id))?;
            Ok(Certificate { key_id: file.key_id, der, usable_from: at(file.usable_from) })
        });
        let secrets = self.secrets.into_iter().map(|file| ClientSecret {
            key_id: file.key_id,
            value: file.value,
            start: at(file.start).unwrap_or(Timestamp::MIN),
            end: at(file.end).unwrap_or(Timestamp::MAX),
            usable_from: at(file.usable_from),
        });
        let federated = self.federated.into_iter().map(|file| FederatedCredential {
            name: file.name,
            issuer: file.issuer,
            subject: file.subject,
            audience: file.audience.unwrap_or_else(|| "api://AzureADTokenExchange".into()),
            usable_from: at(file.usable_from),
        });
        Ok(Application {
            client_id: self.client_id,
            home_tenant_id: self.home_tenant_id,
            name: self.name,
            roles: self.roles,
            secrets: secrets.collect(),
            certificates: certificates.collect::<Result<_, String>>()?,
            federated: federated.collect(),
        })
    }
}

impl TenantFile {
    /// Adds the tenant, and then who is assigned to which application there: those must be known already.
    pub(crate) fn add_to(mut self, world: &mut World) -> Result<(), String> {
        let assignments = std::mem::take(&mut self.assignments);
        let tenant = self.build(world.now);
        let id = tenant.id.clone();
        world.add_tenant(tenant);
        assignments.into_iter().try_for_each(|assignment| world.assign(&id, assignment.build()?))
    }

    fn build(self, now: Timestamp) -> Tenant {
        let mut tenant = Tenant::new(&self.id, &self.name);
        tenant.has_defender = self.has_defender.unwrap_or(true);
        tenant.licence = match self.licence.unwrap_or(LicenceFile::Active) {
            LicenceFile::Active => Licence::Active,
            LicenceFile::AccountInactive => Licence::AccountInactive,
            LicenceFile::NoTvmLicence => Licence::NoTvmLicence,
            LicenceFile::InvalidLicense => Licence::InvalidLicense,
        };
        tenant.conditional_access_blocks = self.conditional_access_blocks;
        tenant.deleted = self.deleted;
        tenant.next_links = self.next_links;
        tenant.domains = self.domains;
        tenant.rbac_denied = self.rbac_denied;
        tenant.consents = self.consents.into_iter().map(|consent| consent.build(now)).collect();
        tenant.alerts.unstable_order = !self.stable_order.unwrap_or(false);
        tenant.alerts.poison = self.poison.into_iter().collect();
        tenant.users = self.users.into_iter().map(UserFile::build).collect();
        tenant.assignment_required = self.assignment_required;
        for alert in self.alerts {
            tenant.alerts.put(alert.build(now));
        }
        for FloodFile { prefix, count, start, step, evidence } in self.floods {
            tenant.alerts.flood(Flood { prefix, count, start: start.resolve(now), step, evidence });
        }
        tenant
    }
}

impl UserFile {
    fn build(self) -> User {
        let kind = self.guest_of.map_or(UserKind::Member, |home_tenant| UserKind::Guest { home_tenant });
        User { oid: self.oid, name: self.name, upn: self.upn, kind, roles: self.roles }
    }
}

impl ConsentFile {
    fn build(self, now: Timestamp) -> Consent {
        let at = |moment: Option<Moment>| moment.map_or(Timestamp::MIN, |moment| moment.resolve(now));
        Consent {
            client_id: self.client_id,
            roles: self.roles,
            service_principal_from: at(self.service_principal_from),
            roles_from: at(self.roles_from),
            enabled: self.enabled.unwrap_or(true),
        }
    }
}

impl AlertFile {
    pub(crate) fn build(self, now: Timestamp) -> Alert {
        let at = self.at.map_or(now, |moment| moment.resolve(now));
        let mut alert = Alert::new(&self.id, at);
        if let Some(count) = self.evidence {
            alert = alert.evidence(count);
        }
        if let Some(moment) = self.visible_from {
            alert = alert.visible_from(moment.resolve(now));
        }
        alert.fields.extend(self.fields);
        alert
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_world_is_one() {
        let file: WorldFile = serde_json::from_str(include_str!("../example-world.json")).unwrap();
        let now = "2026-01-01T12:00:00Z".parse().unwrap();
        let mut world = World::new(now);
        file.add_to(&mut world).unwrap();
        let tenant = world.tenant("00000000-0000-4000-8000-0000000000aa").unwrap();
        assert_eq!(tenant.alerts.ids().len(), 502);
        assert_eq!(
            tenant.alerts.find("da638000000000000001_-1364969609").unwrap().last_update,
            now - SignedDuration::from_hours(2)
        );
    }

    #[test]
    fn a_misspelt_part_is_an_error() {
        for text in [
            r#"{"tennants":[]}"#,
            r#"{"tenants":[{"id":"a","name":"b","licence":"gone"}]}"#,
            r#"{"tenants":[{"id":"a","name":"b","alerts":[{"id":"c","at":"yesterday"}]}]}"#,
            r#"{"applications":[{"client_id":"a","home_tenant_id":"b","name":"c","sign_in_audience":"everybody"}]}"#,
            r#"{"tenants":[{"id":"a","name":"b","assignments":[{"application":"c","group":"d"}]}]}"#,
            r#"{"storage":[{"name":"a","tenant":"b","roles":[{"client_id":"c","role":"owner"}]}]}"#,
        ] {
            assert!(serde_json::from_str::<WorldFile>(text).is_err(), "{text}");
        }
    }
}

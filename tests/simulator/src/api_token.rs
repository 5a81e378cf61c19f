//! Access tokens for an application of the world: what a script shows to an API of ours, in either format (Microsoft,
//! *Access token claims reference*, *Optional claims reference*; MICROSOFT 2.3).

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::aadsts::Aadsts;
use crate::access_token::{BACKDATED, service_principal};
use crate::app_role::Principal;
use crate::application::{AccessTokenVersion, Application, Registration};
use crate::dice::Dice;
use crate::entra_keys::signing_key;
use crate::refusal::Refused;
use crate::tenant::Tenant;
use crate::token::resource_not_found;
use crate::world::World;

/// An application as the resource of a token.
#[derive(Debug)]
pub(crate) struct Api {
    application: Application,
    registration: Registration,
    /// The Application ID URI or the client id, whichever was asked for.
    name: String,
}

/// Who asks for the token.
#[derive(Debug)]
pub(crate) struct Caller<'a> {
    pub(crate) tenant: &'a Tenant,
    pub(crate) application: &'a Application,
    /// "1" for a secret, "2" for a signed assertion.
    pub(crate) appidacr: &'static str,
}

impl Api {
    /// The application that goes by this name, if one does.
    pub(crate) fn named(world: &World, name: &str) -> Result<Option<Self>, Refused<Aadsts>> {
        let without_slash = name.strip_suffix('/').unwrap_or(name);
        for application in world.applications() {
            let registration = world.find_registration(&application.client_id).cloned().unwrap_or_default();
            let by_id = application.client_id.eq_ignore_ascii_case(without_slash);
            if !by_id && !registration.identifier_uris.iter().any(|uri| uri == without_slash) {
                continue;
            }
            if without_slash != name {
                return Err(Refused::NotModelled("an Application ID URI with a slash after it".into()));
            }
            let name = if by_id { application.client_id.clone() } else { name.to_owned() };
            return Ok(Some(Self { application: application.clone(), registration, name }));
        }
        Ok(None)
    }

    /// The roles that the caller holds here, or why there is no token.
    pub(crate) fn admit(&self, caller: &Caller<'_>, now: Timestamp) -> Result<Vec<String>, Aadsts> {
        let Caller { tenant, application, .. } = caller;
        let client_id = &self.application.client_id;
        let at_home = self.application.home_tenant_id.eq_ignore_ascii_case(&tenant.id);
        match tenant.consent(client_id) {
            Some(consent) if !consent.enabled => {
                let text = format!(
                    "The service principal for resource '{}' is disabled. This indicate that a subscription within the tenant has lapsed, or that the administrator for this tenant has disabled the application, preventing tokens from being issued for it.",
                    self.name
                );
                return Err(Aadsts::new(500014, text));
            }
            _ if at_home => {}
            Some(consent) if !self.registration.is_single_tenant() && consent.service_principal_from <= now => {}
            _ => return Err(resource_not_found(&self.name, tenant)),
        }
        let principal = Principal::Application(application.client_id.clone());
        if tenant.keeps_out(client_id, &principal) {
            let text = format!(
                "Application '{}'({}) is not assigned to a role for the application '{}'({}).",
                application.client_id, application.name, self.name, self.application.name
            );
            return Err(Aadsts::new(501051, text));
        }
        Ok(tenant.app_roles(client_id, &self.registration, &principal))
    }

    /// The token. The resource says in which format, whichever endpoint was asked; no name of the caller is in it.
    pub(crate) fn sign(
        &self,
        caller: &Caller<'_>,
        roles: &[String],
        now: Timestamp,
        lifetime: SignedDuration,
        dice: &mut Dice,
    ) -> String {
        let (tenant_id, client_id) = (&caller.tenant.id, &caller.application.client_id);
        let (oid, from) = (service_principal(tenant_id, client_id), (now - BACKDATED).as_second());
        let mut claims = json!({
            "iat": from, "nbf": from, "exp": (now + lifetime).as_second(), "aio": dice.guid(), "rh": dice.guid(),
            "uti": dice.guid(), "oid": oid, "sub": oid, "tid": tenant_id,
        });
        match self.registration.access_token_version {
            AccessTokenVersion::V1 => {
                let issuer = format!("https://sts.windows.net/{tenant_id}/");
                claims["aud"] = self.name.as_str().into();
                claims["appid"] = client_id.as_str().into();
                claims["appidacr"] = caller.appidacr.into();
                claims["iss"] = issuer.as_str().into();
                claims["idp"] = issuer.into();
                claims["ver"] = "1.0".into();
            }
            AccessTokenVersion::V2 => {
                claims["aud"] = self.application.client_id.as_str().into();
                claims["azp"] = client_id.as_str().into();
                claims["azpacr"] = caller.appidacr.into();
                claims["iss"] = format!("https://login.microsoftonline.com/{tenant_id}/v2.0").into();
                claims["ver"] = "2.0".into();
            }
        }
        if self.registration.idtyp {
            claims["idtyp"] = "app".into();
        }
        if !roles.is_empty() {
            claims["roles"] = roles.into();
        }
        signing_key().sign(&claims)
    }
}

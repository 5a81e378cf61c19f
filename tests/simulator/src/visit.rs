//! A visit to one of Entra's pages: its query with every name known, and whom the answer goes to.

use std::collections::BTreeMap;

use url::form_urlencoded;

use crate::aadsts::Aadsts;
use crate::application::{Application, Registration};
use crate::dice::Dice;
use crate::entra_request::{EntraRequest, Version};
use crate::log::Trail;
use crate::login_page;
use crate::refusal::Refused;
use crate::reply::{Reply, ResponseMode};
use crate::sign_in::{self, Realm};
use crate::token::missing;
use crate::world::World;

/// A request that may be answered to the application.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) realm: Realm,
    pub(crate) application: Application,
    pub(crate) registration: Registration,
    pub(crate) reply: Reply,
    pub(crate) version: Version,
}

/// How a page finds the address of its answer.
pub(crate) type Address = fn(&Parameters, &Registration, Version, &mut Dice) -> Result<String, Refused<Aadsts>>;

impl Visit {
    /// What is wrong here the person alone is told: nobody knows yet that the address is the application's own.
    pub(crate) fn read(
        world: &mut World,
        dice: &mut Dice,
        asked: EntraRequest<'_>,
        parameters: &Parameters,
        address: Address,
        trail: &mut Trail,
    ) -> Result<Self, Refused> {
        let now = world.now;
        let visit = Self::judged(world, dice, asked, parameters, address, trail);
        visit.map_err(|refused| refused.map(|aadsts| login_page::error(&aadsts, now, dice)))
    }

    fn judged(
        world: &mut World,
        dice: &mut Dice,
        asked: EntraRequest<'_>,
        parameters: &Parameters,
        address: Address,
        trail: &mut Trail,
    ) -> Result<Self, Refused<Aadsts>> {
        let realm = sign_in::realm(world, asked.segment)?;
        let client_id = parameters.get("client_id").ok_or_else(|| missing("client_id"))?;
        let Some(application) = world.application(client_id).map(|application| application.clone()) else {
            let text = format!("Application with identifier '{client_id}' was not found in the directory.");
            return Err(Aadsts::new(700016, text).into());
        };
        trail.application = Some(application.client_id.clone());
        let registration = world.registration(client_id).clone();
        if registration.is_single_tenant() {
            single_tenant(&application, &realm, asked.segment)?;
        }
        let redirect_uri = address(parameters, &registration, asked.version, dice)?;
        let state = parameters.get("state").map(str::to_owned);
        let reply = Reply { redirect_uri, state, mode: ResponseMode::Query };
        Ok(Self { realm, application, registration, reply, version: asked.version })
    }
}

/// A single-tenant application is at home and nowhere else; without a tenant in the address Entra does not look where
/// that is (MICROSOFT 2.8: 50194, 700016).
fn single_tenant(application: &Application, realm: &Realm, segment: &str) -> Result<(), Aadsts> {
    match realm {
        Realm::Any => Err(not_multi_tenant(application, segment)),
        Realm::Tenant { id, .. } if application.home_tenant_id.eq_ignore_ascii_case(id) => Ok(()),
        Realm::Tenant { name, .. } => Err(not_in_directory(&application.client_id, name)),
    }
}

/// AADSTS50194.
pub(crate) fn not_multi_tenant(application: &Application, segment: &str) -> Aadsts {
    let text = format!(
        "Application '{}'({}) is not configured as a multi-tenant application. Usage of the /{segment} endpoint is not supported for such applications created after '10/15/2018'. Use a tenant-specific endpoint or configure the application to be multi-tenant.",
        application.client_id, application.name
    );
    Aadsts::new(50194, text)
}

/// AADSTS700016.
pub(crate) fn not_in_directory(client_id: &str, tenant: &str) -> Aadsts {
    let text = format!(
        "Application with identifier '{client_id}' was not found in the directory '{tenant}'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."
    );
    Aadsts::new(700016, text)
}

/// AADSTS50011, for an address that may be anybody's.
pub(crate) fn mismatch(parameters: &Parameters, uri: &str) -> Aadsts {
    let client_id = parameters.get("client_id").unwrap_or_default();
    let text = format!(
        "The redirect URI '{uri}' specified in the request does not match the redirect URIs configured for the application '{client_id}'. Make sure the redirect URI sent in the request matches one added to your application in the Azure portal."
    );
    Aadsts::new(50011, text)
}

#[derive(Clone, Debug)]
pub(crate) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub(crate) fn read(query: &str, known: &[&str]) -> Result<Self, Refused> {
        let mut parameters = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if !known.contains(&&*name) {
                return Err(Refused::NotModelled(format!("the parameter {name} of this page")));
            }
            if parameters.insert(name.to_string(), value.into_owned()).is_some() {
                return Err(Refused::NotModelled(format!("the parameter {name} given twice")));
            }
        }
        Ok(Self(parameters))
    }

    /// `None` also when it is empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }
}

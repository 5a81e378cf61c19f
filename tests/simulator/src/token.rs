//! The token endpoints, v1 and v2: client credentials (MICROSOFT 2.1, 2.2, 2.8); codes are redeemed next door, and tokens
//! for an application of the world are made there too.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use url::form_urlencoded;

use crate::aadsts::Aadsts;
use crate::access_token::{DEFENDER_AUDIENCES, Grant};
use crate::api_token::{self, Api};
use crate::application::{Application, GRAPH_ROLES, Registration};
use crate::code_grant::{self, Caller};
use crate::credential::{self, Presented};
use crate::dice::Dice;
use crate::directory::directory;
use crate::entra_request::{EntraRequest, Version};
use crate::http::{Request, Response};
use crate::log::Trail;
use crate::refusal::Refused;
use crate::replication;
use crate::storage_service::STORAGE_AUDIENCE;
use crate::tenant::Tenant;
use crate::visit::not_in_directory;
use crate::world::World;

/// Resources that exist beside Defender, for which a token is issued that Defender then refuses. Storage is everywhere,
/// and what may be done there is said by roles of the account, not of the token.
const OTHER_RESOURCES: [&str; 4] = [
    STORAGE_AUDIENCE,
    "https://api.security.microsoft.com",
    "https://graph.microsoft.com",
    "https://userrequestsgraphapi-prd.trafficmanager.net",
];

pub(crate) fn token(
    world: &mut World,
    dice: &mut Dice,
    asked: EntraRequest<'_>,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let now = world.now;
    let issued = issue(world, dice, asked, trail);
    issued.map_err(|refused| refused.map(|aadsts| aadsts.response(now, dice)))
}

fn issue(
    world: &mut World,
    dice: &mut Dice,
    asked: EntraRequest<'_>,
    trail: &mut Trail,
) -> Result<Response, Refused<Aadsts>> {
    let (now, lifetime, version) = (world.now, world.token_lifetime, asked.version);
    let form = form(asked.request)?;
    let presented = Presented::of(asked.request, &form)?;
    let client_id = match (presented.client_id(), form.get("client_id")) {
        (Some(_), Some(_)) => return Err(Refused::NotModelled("client_id in the header and in the form".into())),
        (Some(client_id), None) => client_id.to_owned(),
        (None, _) => required(&form, "client_id")?,
    };
    trail.application = Some(client_id.clone());
    trail.credential = presented.kind();
    if version == Version::V2 && form.contains_key("resource") {
        let text = "The 'resource' request parameter is not supported.";
        return Err(Aadsts::new(901002, text).into());
    }
    let grant_type = required(&form, "grant_type")?;
    if grant_type == "authorization_code" {
        let caller = Caller { asked, form: &form, presented: &presented, client_id: &client_id };
        return code_grant::redeem(world, dice, &caller, trail);
    }
    if let Some(parameter) = CODE_PARAMETERS.iter().find(|parameter| form.contains_key(**parameter)) {
        return Err(Refused::NotModelled(format!("the parameter {parameter} without an authorization code grant")));
    }
    if grant_type != "client_credentials" {
        let text = format!("The app requested an unsupported grant type '{grant_type}'.");
        return Err(Aadsts::new(70003, text).into());
    }
    let resource = resource(&form, version)?;

    let application = replication::seen(world, dice, &client_id);
    let issuers = world.issuers.clone();
    let single_tenant = world.find_registration(&client_id).is_some_and(Registration::is_single_tenant);
    let api = Api::named(world, &resource)?;
    let tenant = customer(world, asked.segment)?;
    trail.tenant = Some(tenant.id.clone());
    let application = present_in(tenant, application, &client_id, single_tenant, now)?;
    let appidacr = credential::check(
        &presented,
        &credential::Asked { application: &application, request: asked, issuers: &issuers, now },
    )?;
    let caller = api_token::Caller { tenant, application: &application, appidacr };
    let roles = match &api {
        Some(api) => api.admit(&caller, now)?,
        None => roles(tenant, &client_id, &resource, now)?,
    };
    if tenant.conditional_access_blocks {
        return Err(Aadsts::new(
            53003,
            "Access has been blocked by Conditional Access policies. The access policy does not allow token issuance.",
        )
        .into());
    }
    if let Some(api) = api {
        let access_token = api.sign(&caller, &roles, now, lifetime, dice);
        return Ok(answer(version, now, lifetime, &resource, access_token));
    }
    let grant = Grant {
        tenant_id: &tenant.id,
        client_id: &application.client_id,
        application_name: &application.name,
        audience: &resource,
        roles: &roles,
        appidacr,
    };
    let access_token = grant.sign(now, lifetime, dice);
    Ok(answer(version, now, lifetime, &resource, access_token))
}

/// Client credentials are for one tenant, never for all.
fn customer<'a>(world: &'a mut World, segment: &str) -> Result<&'a Tenant, Refused<Aadsts>> {
    let Some(tenant) = directory(world, segment)? else {
        let text = format!(
            "The grant type is not supported over the /{segment} endpoint. Please use a tenant-specific endpoint."
        );
        return Err(Aadsts::new(9001023, text).into());
    };
    if tenant.home.login_elsewhere().is_some() {
        // As seen where a tenant of GCC High is asked for at the commercial login (letsencrypt-siteextension#399).
        return Err(Aadsts::new(900382, "Confidential Client is not supported in Cross Cloud request.").into());
    }
    Ok(tenant)
}

fn answer(
    version: Version,
    now: Timestamp,
    lifetime: SignedDuration,
    resource: &str,
    access_token: String,
) -> Response {
    let seconds = lifetime.as_secs();
    let body = match version {
        Version::V2 => json!({
            "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": access_token,
        }),
        // v1 writes every number as a string.
        Version::V1 => json!({
            "token_type": "Bearer", "expires_in": seconds.to_string(), "ext_expires_in": seconds.to_string(),
            "expires_on": (now + lifetime).as_second().to_string(),
            "not_before": (now - SignedDuration::from_mins(5)).as_second().to_string(),
            "resource": resource, "access_token": access_token,
        }),
    };
    Response::json(200, &body).with("Cache-Control", "no-store, no-cache").with("Pragma", "no-cache")
}

/// The parameters that go with a code and with nothing else.
const CODE_PARAMETERS: [&str; 3] = ["code", "redirect_uri", "code_verifier"];

pub(crate) type Form = BTreeMap<String, String>;

fn form(request: &Request) -> Result<Form, Refused<Aadsts>> {
    let content_type = request.header("content-type").unwrap_or_default();
    if content_type.split(';').next().map(str::trim) != Some("application/x-www-form-urlencoded") {
        return Err(missing("grant_type").into());
    }
    let mut form = Form::new();
    for (name, value) in form_urlencoded::parse(&request.body) {
        let known = [
            "client_id",
            "client_secret",
            "client_assertion",
            "client_assertion_type",
            "grant_type",
            "scope",
            "resource",
        ];
        let known = known.iter().chain(&CODE_PARAMETERS);
        if known.clone().all(|known| known != &name) {
            return Err(Refused::NotModelled(format!("the parameter {name} of the token endpoint")));
        }
        if form.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(Refused::NotModelled(format!("the parameter {name} given twice")));
        }
    }
    Ok(form)
}

pub(crate) fn missing(parameter: &str) -> Aadsts {
    Aadsts::new(900144, format!("The request body must contain the following parameter: '{parameter}'."))
}

pub(crate) fn required(form: &Form, parameter: &str) -> Result<String, Aadsts> {
    form.get(parameter).filter(|value| !value.is_empty()).cloned().ok_or_else(|| missing(parameter))
}

/// The resource a token is asked for. In v2 it is the scope without `/.default`, and nothing else is cut off: a resource
/// that ends in a slash keeps it.
fn resource(form: &Form, version: Version) -> Result<String, Refused<Aadsts>> {
    if version == Version::V1 {
        return Ok(required(form, "resource")?);
    }
    let scope = required(form, "scope")?;
    let invalid = || {
        let text =
            format!("The provided value for the input parameter 'scope' is not valid. The scope {scope} is not valid.");
        Refused::Answer(Aadsts::new(70011, text))
    };
    if scope.contains(char::is_whitespace) || scope.contains(['"', '\\']) {
        return Err(invalid());
    }
    let Some(resource) = scope.strip_suffix("/.default") else {
        let text = format!(
            "The provided value for scope {scope} is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."
        );
        return Err(Aadsts::new(1002012, text).into());
    };
    if resource.is_empty() { Err(invalid()) } else { Ok(resource.to_owned()) }
}

/// The application, if it may ask for tokens in this tenant at all.
fn present_in(
    tenant: &Tenant,
    application: Option<Application>,
    client_id: &str,
    single_tenant: bool,
    now: Timestamp,
) -> Result<Application, Aadsts> {
    let unknown = || not_in_directory(client_id, &tenant.name);
    let application = application.ok_or_else(unknown)?;
    let at_home = application.home_tenant_id.eq_ignore_ascii_case(&tenant.id);
    if single_tenant && !at_home {
        return Err(unknown());
    }
    match tenant.consent(client_id) {
        Some(consent) if consent.service_principal_from > now => {
            let text =
                format!("The client application {client_id} is missing service principal in the tenant {}.", tenant.id);
            Err(Aadsts::new(7000229, text))
        }
        Some(consent) if !consent.enabled => {
            Err(Aadsts::new(7000112, format!("Application '{client_id}'({}) is disabled.", application.name)))
        }
        Some(_) => Ok(application),
        // At home an application has its service principal from the day it is registered.
        None if at_home => Ok(application),
        None => Err(unknown()),
    }
}

pub(crate) fn resource_not_found(resource: &str, tenant: &Tenant) -> Aadsts {
    let text = format!(
        "The resource principal named {resource} was not found in the tenant named {}. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.",
        tenant.name
    );
    Aadsts::new(500011, text)
}

/// The roles a token for this resource carries.
fn roles(tenant: &Tenant, client_id: &str, resource: &str, now: Timestamp) -> Result<Vec<String>, Aadsts> {
    let name = resource.strip_suffix('/').unwrap_or(resource);
    let is_defender = DEFENDER_AUDIENCES.contains(&name);
    let is_graph = name == "https://graph.microsoft.com";
    if !(is_defender && tenant.has_defender || OTHER_RESOURCES.contains(&name)) {
        return Err(resource_not_found(resource, tenant));
    }
    let all = tenant.roles_in_force(client_id, now).iter();
    Ok(all.filter(|role| if GRAPH_ROLES.contains(&role.as_str()) { is_graph } else { is_defender }).cloned().collect())
}

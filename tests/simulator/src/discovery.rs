//! OpenID configuration and signing keys (MICROSOFT 1.5, 1.6).

use serde_json::json;

use crate::dice::Dice;
use crate::directory::directory;
use crate::entra_keys;
use crate::http::{Request, Response};
use crate::refusal::Refused;
use crate::tenant::Tenant;
use crate::world::World;

/// What a tenant-independent document has in the place of a tenant id: the text itself, braces and all.
const TEMPLATE: &str = "{tenantid}";

pub(crate) fn openid_configuration(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    segment: &str,
) -> Result<Response, Refused> {
    let tenant = issuer_tenant(world, dice, segment)?;
    let home = world.tenant(&tenant).map(|tenant| tenant.home).unwrap_or_default();
    let [instance, scope, sub_scope] = home.scopes();
    let here = request.origin("https://login.microsoftonline.com");
    let login = home.login_elsewhere().map_or(here, Into::into);
    let base = format!("{login}/{segment}");
    Ok(Response::json(
        200,
        &json!({
            "token_endpoint": format!("{base}/oauth2/v2.0/token"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt", "client_secret_basic"],
            "jwks_uri": format!("{base}/discovery/v2.0/keys"),
            "response_modes_supported": ["query", "fragment", "form_post"],
            "subject_types_supported": ["pairwise"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "response_types_supported": ["code", "id_token", "code id_token", "id_token token"],
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "issuer": issuer(&tenant),
            "request_uri_parameter_supported": false,
            "userinfo_endpoint": "https://graph.microsoft.com/oidc/userinfo",
            "authorization_endpoint": format!("{base}/oauth2/v2.0/authorize"),
            "device_authorization_endpoint": format!("{base}/oauth2/v2.0/devicecode"),
            "http_logout_supported": true,
            "frontchannel_logout_supported": true,
            "end_session_endpoint": format!("{base}/oauth2/v2.0/logout"),
            "claims_supported": [
                "sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name",
                "msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid",
                "ver", "at_hash", "c_hash", "email"
            ],
            "kerberos_endpoint": format!("{base}/kerberos"),
            "tenant_region_scope": scope,
            "tenant_region_sub_scope": sub_scope,
            "cloud_instance_name": instance,
            "cloud_graph_host_name": "graph.windows.net",
            "msgraph_host": home.graph(),
            "rbac_url": "https://pas.windows.net",
        }),
    ))
}

pub(crate) fn keys(world: &mut World, dice: &mut Dice, segment: &str) -> Result<Response, Refused> {
    let tenant = issuer_tenant(world, dice, segment)?;
    Ok(Response::json(200, &entra_keys::key_set(&issuer(&tenant))))
}

/// The issuer is Microsoft's own name whatever origin serves the document.
fn issuer(tenant: &str) -> String {
    format!("https://login.microsoftonline.com/{tenant}/v2.0")
}

fn issuer_tenant(world: &mut World, dice: &mut Dice, segment: &str) -> Result<String, Refused> {
    let now = world.now;
    let by_domain = |tenant: &&Tenant| tenant.domains.iter().any(|domain| domain.eq_ignore_ascii_case(segment));
    if let Some(tenant) = world.tenants().filter(|tenant| !tenant.deleted).find(by_domain) {
        return Ok(tenant.id.clone());
    }
    let tenant = directory(world, segment).map_err(|refused| {
        refused.map(|aadsts| match aadsts.code {
            // By this error people tell whether a tenant exists (MICROSOFT 1.6); the token endpoint has another word.
            90002 => aadsts.response_as(400, "invalid_tenant", now, dice),
            _ => aadsts.response(now, dice),
        })
    })?;
    Ok(tenant.map_or(TEMPLATE, |tenant| &tenant.id).to_owned())
}

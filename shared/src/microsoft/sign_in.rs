//! Entra's pages for people: where a browser is sent for admin consent and for a sign-in, and what the discovery
//! document says about a tenant (MICROSOFT.md 1.1, 1.4, 1.6).

use serde::Deserialize;
use url::Url;

use super::token::SIGN_IN_SCOPE;
use crate::{cloud::Home, http::Request, secret::Secret, tenant::TenantId};

/// What a tenant's discovery document says, its addresses on the login origin that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovery {
    pub authorization_endpoint: Url,
    pub token_endpoint: Url,
    pub jwks_uri: Url,
    /// With `{tenantid}` filled in.
    pub issuer: String,
    /// The cloud that the tenant lives in, where the document says so.
    pub home: Option<Home>,
}

/// Why there is no discovery document for a tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoDiscovery {
    /// Entra does not know the tenant (MICROSOFT.md 1.6).
    #[error("Entra knows no such tenant")]
    NoTenant,
    /// Ask again later.
    #[error("Entra answered with HTTP {0}")]
    Unavailable(u16),
    #[error("the discovery document is not usable: {0}")]
    Malformed(String),
    /// The tenant signs in at another cloud's login, where our application is not known.
    #[error("the tenant lives in another of Microsoft's clouds: {}", .0.title())]
    OtherCloud(Home),
}

/// `tenant` is an id or a domain that has been checked to be one path segment.
pub fn discovery_request(login: &Url, tenant: &str) -> Request {
    let mut url = login.clone();
    url.set_path(&format!("{tenant}/v2.0/.well-known/openid-configuration"));
    Request::get(url)
}

/// # Errors
/// [`NoDiscovery`], also when an address points elsewhere than to `login`: codes and secrets go there alone.
pub fn parse_discovery(status: u16, body: &[u8], login: &Url) -> Result<Discovery, NoDiscovery> {
    match status {
        200 => {}
        400 | 404 => return Err(NoDiscovery::NoTenant),
        other => return Err(NoDiscovery::Unavailable(other)),
    }
    #[derive(Deserialize)]
    struct Document {
        authorization_endpoint: Url,
        token_endpoint: Url,
        jwks_uri: Url,
        issuer: String,
        cloud_instance_name: Option<String>,
        tenant_region_scope: Option<String>,
        tenant_region_sub_scope: Option<String>,
    }
    let document: Document =
        serde_json::from_slice(body).map_err(|cause| NoDiscovery::Malformed(format!("{cause}")))?;
    let (scope, sub_scope) = (&document.tenant_region_scope, &document.tenant_region_sub_scope);
    let home = Home::read(document.cloud_instance_name.as_deref(), scope.as_deref(), sub_scope.as_deref());
    for url in [&document.authorization_endpoint, &document.token_endpoint, &document.jwks_uri] {
        if url.origin() != login.origin() {
            let elsewhere = url.origin().ascii_serialization();
            // Another cloud's tenant points to its own login, which is no defect of the document.
            if let Some(home) = home.filter(|home| home.signs_in_at(&elsewhere)) {
                return Err(NoDiscovery::OtherCloud(home));
            }
            return Err(NoDiscovery::Malformed(format!("it points to {elsewhere}, not to {login}")));
        }
    }
    let Document { authorization_endpoint, token_endpoint, jwks_uri, issuer, .. } = document;
    Ok(Discovery { authorization_endpoint, token_endpoint, jwks_uri, issuer, home })
}

/// The tenant that an issuer is for: the last segment but `v2.0`.
pub fn tenant_of_issuer(issuer: &str) -> Option<TenantId> {
    issuer.trim_end_matches('/').strip_suffix("/v2.0")?.rsplit('/').next()?.parse().ok()
}

/// Where an administrator approves everything that the application lists. Without a tenant they choose it by signing in.
pub fn admin_consent_url(
    login: &Url,
    tenant: Option<TenantId>,
    client_id: &str,
    redirect_uri: &Url,
    resource: &str,
    state: &str,
) -> Url {
    let tenant = tenant.map_or_else(|| "organizations".to_owned(), |tenant| tenant.to_string());
    let mut url = login.clone();
    url.set_path(&format!("{tenant}/v2.0/adminconsent"));
    url.query_pairs_mut()
        .append_pair("client_id", client_id)
        .append_pair("scope", &format!("{resource}/.default"))
        .append_pair("redirect_uri", redirect_uri.as_str())
        .append_pair("state", state);
    url
}

/// What binds a sign-in to the browser and the attempt that began it.
#[derive(Debug, Clone, Copy)]
pub struct SignIn<'a> {
    pub client_id: &'a str,
    pub redirect_uri: &'a Url,
    pub state: &'a str,
    pub nonce: &'a str,
    /// `S256` of the code verifier, base64url.
    pub code_challenge: &'a str,
}

/// Where somebody signs in, silently if they just have.
pub fn authorize_url(endpoint: &Url, sign_in: &SignIn<'_>) -> Url {
    let mut url = endpoint.clone();
    url.query_pairs_mut()
        .append_pair("client_id", sign_in.client_id)
        .append_pair("response_type", "code")
        .append_pair("response_mode", "query")
        .append_pair("redirect_uri", sign_in.redirect_uri.as_str())
        .append_pair("scope", SIGN_IN_SCOPE)
        .append_pair("state", sign_in.state)
        .append_pair("nonce", sign_in.nonce)
        .append_pair("code_challenge", sign_in.code_challenge)
        .append_pair("code_challenge_method", "S256");
    url
}

/// The id_token in the answer to a redeemed code.
pub fn parse_id_token(body: &[u8]) -> Option<Secret<String>> {
    #[derive(Deserialize)]
    struct Answer {
        id_token: Secret<String>,
    }
    serde_json::from_slice::<Answer>(body).ok().map(|answer| answer.id_token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloud::Cloud;

    const LOGIN: &str = "https://login.microsoftonline.com";

    fn document(host: &str) -> Vec<u8> {
        serde_json::json!({
            "authorization_endpoint": format!("{host}/t/oauth2/v2.0/authorize"),
            "token_endpoint": format!("{host}/t/oauth2/v2.0/token"),
            "jwks_uri": format!("{host}/t/discovery/v2.0/keys"),
            "issuer": "https://login.microsoftonline.com/t/v2.0",
        })
        .to_string()
        .into()
    }

    #[test]
    fn a_discovery_document_that_points_elsewhere_is_refused() {
        let login = Url::parse(LOGIN).unwrap();
        assert!(parse_discovery(200, &document(LOGIN), &login).is_ok());
        for (status, body, expected) in
            [(400, b"{}".to_vec(), NoDiscovery::NoTenant), (503, b"<html>".to_vec(), NoDiscovery::Unavailable(503))]
        {
            assert_eq!(parse_discovery(status, &body, &login), Err(expected));
        }
        for body in [document("https://evil.example"), document("http://login.microsoftonline.com"), b"{}".to_vec()] {
            assert!(matches!(parse_discovery(200, &body, &login), Err(NoDiscovery::Malformed(_))));
        }
    }

    #[test]
    fn a_tenant_of_another_cloud_is_told_from_a_document_that_points_astray() {
        let login = Url::parse(LOGIN).unwrap();
        let document = |host: &str, instance: &str, sub_scope: &str| {
            let mut document: serde_json::Value = serde_json::from_slice(&document(host)).unwrap();
            document["cloud_instance_name"] = instance.into();
            document["tenant_region_scope"] = "USGov".into();
            document["tenant_region_sub_scope"] = sub_scope.into();
            parse_discovery(200, document.to_string().as_bytes(), &login)
        };
        let us = "https://login.microsoftonline.us";
        let high = NoDiscovery::OtherCloud(Home::In(Cloud::GccHigh));
        assert_eq!(document(us, "microsoftonline.us", "DODCON"), Err(high));
        let gcc = document(LOGIN, "microsoftonline.com", "GCC").unwrap();
        assert_eq!(gcc.home, Some(Home::In(Cloud::Gcc)), "at the same login; what it means is others' to say");
        // Whatever it calls itself, codes go nowhere else, and nobody is told that this is a cloud.
        for (host, sub_scope) in
            [("https://evil.example", "DODCON"), (us, "GCC"), ("http://login.microsoftonline.us", "DOD")]
        {
            let astray = document(host, "microsoftonline.com", sub_scope);
            assert!(matches!(astray, Err(NoDiscovery::Malformed(_))), "{astray:?}");
        }
    }

    #[test]
    fn the_tenant_of_an_issuer_is_a_guid_in_its_place() {
        let id = "00000000-0000-4000-8000-0000000000aa";
        let tenant = tenant_of_issuer(&format!("{LOGIN}/{id}/v2.0"));
        assert_eq!(tenant.map(|tenant| tenant.to_string()).as_deref(), Some(id));
        for issuer in ["https://login.microsoftonline.com/{tenantid}/v2.0", "https://sts.windows.net/x/", ""] {
            assert_eq!(tenant_of_issuer(issuer), None, "{issuer}");
        }
    }

    #[test]
    fn pain_12_the_consent_link_is_the_v2_page_with_a_scope_and_an_escaped_state() {
        let redirect = Url::parse("https://muster.example.com/consent/callback").unwrap();
        let url = admin_consent_url(
            &Url::parse(LOGIN).unwrap(),
            None,
            "client",
            &redirect,
            "https://api.securitycenter.microsoft.com",
            "a&b",
        );
        assert_eq!(
            url.as_str(),
            "https://login.microsoftonline.com/organizations/v2.0/adminconsent?client_id=client\
             &scope=https%3A%2F%2Fapi.securitycenter.microsoft.com%2F.default\
             &redirect_uri=https%3A%2F%2Fmuster.example.com%2Fconsent%2Fcallback&state=a%26b"
        );
    }
}

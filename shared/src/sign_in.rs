//! A person signs in at one tenant: what their browser keeps meanwhile, and who they are once their code has come.
//!
//! The browser keeps a secret of its own in a cookie. Nonce and code verifier are derived from that secret, so that
//! nothing which is stored, logged or seen in an address is enough to go on with a sign-in.

use aws_lc_rs::{digest, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use url::Url;
use uuid::Uuid;

use crate::{
    App,
    cloud::Home,
    http,
    microsoft::{
        id_token::{self, Person},
        keys::{KeySet, NotBelieved},
        sign_in::{Discovery, NoDiscovery, discovery_request, parse_discovery, parse_id_token},
        token::{Grant, TokenError},
    },
    random::{self, NoRandomness},
    secret::Secret,
    tenant::TenantId,
};

const BROWSER_BYTES: usize = 32;

/// The secret that one browser keeps.
#[derive(Debug, Clone)]
pub struct Browser(Secret<Vec<u8>>);

impl Browser {
    /// # Errors
    /// As [`random::bytes`].
    pub fn new() -> Result<Self, NoRandomness> {
        Ok(Self(Secret::new(random::bytes::<BROWSER_BYTES>()?.to_vec())))
    }

    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD
            .decode(text)
            .ok()
            .filter(|bytes| bytes.len() == BROWSER_BYTES)
            .map(|bytes| Self(Secret::new(bytes)))
    }

    /// As the cookie carries it.
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0.expose())
    }

    /// What may be stored of it.
    pub fn digest(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.0.expose()))
    }

    fn derive(&self, what: &str, sign_in: Uuid) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose());
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, format!("{what} {sign_in}").as_bytes()))
    }

    /// What the id_token must repeat.
    pub fn nonce(&self, sign_in: Uuid) -> String {
        self.derive("nonce", sign_in)
    }

    /// What redeems the code.
    pub fn code_verifier(&self, sign_in: Uuid) -> Secret<String> {
        Secret::new(self.derive("code verifier", sign_in))
    }

    /// What Entra gets of the verifier beforehand.
    pub fn code_challenge(&self, sign_in: Uuid) -> String {
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, self.code_verifier(sign_in).expose().as_bytes()))
    }
}

/// Why nobody is known to have signed in.
#[derive(Debug, thiserror::Error)]
pub enum NotIdentified {
    #[error("Entra knows no such tenant")]
    NoTenant,
    #[error("the tenant lives in another of Microsoft's clouds: {0:?}")]
    OtherCloud(Home),
    #[error("Entra did not say what is needed to check a sign-in: {0}")]
    Unavailable(String),
    #[error("the code was not redeemed: {0}")]
    NotRedeemed(TokenError),
    #[error("the id_token was not believed: {0}")]
    NotBelieved(NotBelieved),
}

/// A sign-in whose code has come.
#[derive(Debug, Clone, Copy)]
pub struct Redemption<'a> {
    /// The application's entry in the vault.
    pub entry: &'a str,
    pub client_id: &'a str,
    pub tenant: TenantId,
    pub redirect_uri: &'a Url,
    pub code: &'a Secret<String>,
    pub browser: &'a Browser,
    /// Which of the browser's sign-ins.
    pub sign_in: Uuid,
    /// Whether people of other directories may sign in here.
    pub guests: bool,
}

/// Redeems the code, once, and tells who has signed in, from an id_token that has passed every check.
///
/// # Errors
/// [`NotIdentified`]
pub async fn identify(app: &App, redemption: &Redemption<'_>) -> Result<Person, NotIdentified> {
    let Redemption { entry, client_id, tenant, redirect_uri, code, browser, sign_in, guests } = *redemption;
    let discovery = discover(app, tenant).await?;
    let verifier = browser.code_verifier(sign_in);
    let grant = Grant::Code { code, verifier: &verifier, redirect_uri };
    let body =
        app.tokens.exchange(entry, &discovery.token_endpoint, &grant).await.map_err(NotIdentified::NotRedeemed)?;
    let keys = keys(app, &discovery).await?;
    let nonce = browser.nonce(sign_in);
    let expected = id_token::Expected { client_id, tenant, issuer: &discovery.issuer, nonce: &nonce, guests };
    match parse_id_token(&body) {
        None => Err(NotBelieved::Malformed("the answer holds none".to_owned())),
        Some(token) => id_token::validate(&token, &keys, &expected, app.clock.now()),
    }
    .map_err(NotIdentified::NotBelieved)
}

/// What the tenant says of its own endpoints.
///
/// # Errors
/// [`NotIdentified::NoTenant`], [`NotIdentified::OtherCloud`], [`NotIdentified::Unavailable`]
pub async fn discover(app: &App, tenant: TenantId) -> Result<Discovery, NotIdentified> {
    let login = app.config.login();
    let (status, body) = small(app, discovery_request(&login, &tenant.to_string())).await?;
    parse_discovery(status, &body, &login).map_err(|why| match why {
        NoDiscovery::NoTenant => NotIdentified::NoTenant,
        NoDiscovery::OtherCloud(home) => NotIdentified::OtherCloud(home),
        other => NotIdentified::Unavailable(other.to_string()),
    })
}

/// In which cloud the tenant lives, if that is certainly not one that this stage serves. Where Entra does not say, whatever
/// comes next will tell.
pub async fn lives_elsewhere(app: &App, tenant: TenantId) -> Option<Home> {
    let home = match discover(app, tenant).await {
        Ok(discovery) => discovery.home,
        Err(NotIdentified::OtherCloud(home)) => Some(home),
        Err(_) => None,
    };
    home.filter(|home| home.refusal(app.config.cloud).is_some())
}

/// The keys that the tenant's tokens are signed with.
///
/// # Errors
/// [`NotIdentified::Unavailable`]
pub async fn keys(app: &App, discovery: &Discovery) -> Result<KeySet, NotIdentified> {
    let (_, body) = small(app, http::Request::get(discovery.jwks_uri.clone())).await?;
    KeySet::parse(&body).ok_or_else(|| NotIdentified::Unavailable("its answer is no key set".to_owned()))
}

/// An answer of Entra's that needs no token.
async fn small(app: &App, request: http::Request) -> Result<(u16, Vec<u8>), NotIdentified> {
    let unavailable = |error: http::HttpError| NotIdentified::Unavailable(error.to_string());
    let answer = app.http.send(request).await.map_err(unavailable)?;
    let status = answer.status;
    Ok((status, answer.body.small(&app.clock).await.map_err(unavailable)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_derived_differs_by_browser_attempt_and_use_and_is_long_enough() {
        let (one, other) = (Browser::new().unwrap(), Browser::new().unwrap());
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let all = [
            one.nonce(first),
            one.nonce(second),
            other.nonce(first),
            one.code_verifier(first).expose().clone(),
            other.code_verifier(first).expose().clone(),
            one.code_challenge(first),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(distinct.len(), all.len());
        // RFC 7636 takes verifiers of 43 to 128 characters.
        assert!(all.iter().all(|text| text.len() == 43));
        assert_eq!(Browser::parse(&one.expose()).unwrap().nonce(first), one.nonce(first));
        for text in ["", "short", &"A".repeat(44), "ÄÖÜ"] {
            assert!(Browser::parse(text).is_none(), "{text}");
        }
    }
}

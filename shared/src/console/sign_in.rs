//! Operators sign in with the provider's own tenant, and out again.
//!
//! Nothing is stored meanwhile: the `state` is signed and says where to go on, and the browser's secret, which it is bound
//! to, is in the browser's cookie. A code is Entra's to take once.

use jiff::{SignedDuration, Timestamp};
use url::Url;
use uuid::Uuid;

use super::{
    Broken,
    application::{self, ConsoleApplication},
    session::{Role, Session},
};
use crate::{
    App,
    audit::{Action, Entry},
    microsoft::{
        entra::code_in,
        sign_in::{SignIn, authorize_url},
        token::TokenError,
    },
    page, random,
    secret::Secret,
    sign_in::{self, Browser, NotIdentified, Redemption},
    signing::{Purpose, SigningKeys},
    web,
};

/// Where Entra sends the browser back to; registered as a redirect URI of the application.
pub const CALLBACK: &str = "login/callback";
const COOKIE: &str = "muster-login";
/// Password, second factor, and a phone that has to be found first.
const LIFETIME: SignedDuration = SignedDuration::from_mins(15);
const LIFETIME_SECONDS: u32 = 15 * 60;
const MAX_RETURN: usize = 200;

/// To Entra, with the browser's secret for the way back.
#[derive(Debug)]
pub struct Departure {
    pub to: Url,
    pub cookie: String,
}

/// Begins a sign-in that will go on at `back`.
///
/// # Errors
/// [`Broken`]
pub async fn begin(app: &App, request: &web::Request, keys: &SigningKeys, back: &str) -> Result<Departure, Broken> {
    let application = application::load(app).await?;
    let discovery = sign_in::discover(app, application.home).await.map_err(Broken::Entra)?;
    let browser = kept(request, app).map_or_else(Browser::new, Ok)?;
    let (id, ends_at) = (random::id()?, app.clock.now() + LIFETIME);
    let to = authorize_url(
        &discovery.authorization_endpoint,
        &SignIn {
            client_id: &application.client_id,
            redirect_uri: &redirect_uri(app)?,
            state: &state(keys, id, ends_at, back),
            nonce: &browser.nonce(id),
            code_challenge: &browser.code_challenge(id),
        },
    );
    let cookie = page::cookie(&app.config, COOKIE, &browser.expose(), LIFETIME_SECONDS);
    Ok(Departure { to, cookie })
}

/// Somebody who may come in.
#[derive(Debug)]
pub struct Arrival {
    pub session: Session,
    pub back: String,
}

/// Why somebody stays outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outside {
    /// The answer is not of a sign-in that this browser has begun, or comes too late.
    Stale,
    /// Entra has said no, with this code.
    Refused(Option<u32>),
    /// Entra did not give, or we did not believe, an id_token.
    NotProven,
    /// Proven, and without a role of ours.
    NoRole,
}

/// Entra has sent the browser back.
///
/// # Errors
/// [`Broken`]
pub async fn arrive(app: &App, request: &web::Request, keys: &SigningKeys) -> Result<Result<Arrival, Outside>, Broken> {
    if request.asked("error").is_some() {
        return Ok(Err(Outside::Refused(request.asked("error_description").and_then(|text| code_in(&text)))));
    }
    let known = request.asked("state").and_then(|text| open_state(keys, &text, app.clock.now()));
    let (Some((id, back)), Some(browser), Some(code)) = (known, kept(request, app), request.asked("code")) else {
        return Ok(Err(Outside::Stale));
    };
    let ConsoleApplication { entry, client_id, home } = application::load(app).await?;
    let redemption = Redemption {
        entry: &entry,
        client_id: &client_id,
        tenant: home,
        redirect_uri: &redirect_uri(app)?,
        code: &Secret::new(code),
        browser: &browser,
        sign_in: id,
        // Whoever assigns our roles in the provider's tenant knows whom they have invited there.
        guests: true,
    };
    let person = match sign_in::identify(app, &redemption).await {
        Ok(person) => person,
        Err(why @ (NotIdentified::NoTenant | NotIdentified::OtherCloud(_) | NotIdentified::Unavailable(_))) => {
            return Err(Broken::Entra(why));
        }
        Err(NotIdentified::NotRedeemed(TokenError::Platform(error))) => return Err(Broken::Store(error.into())),
        Err(why) => {
            tracing::warn!(request.id, error = %why, "an operator's sign-in is not proven");
            return Ok(Err(Outside::NotProven));
        }
    };
    let Some(role) = Role::among(&person.roles) else {
        tracing::warn!(request.id, "somebody without a role wanted to come in");
        return Ok(Err(Outside::NoRole));
    };
    let session = Session::begin(&person, role, app.clock.now())?;
    let entry = Entry::new(app.clock.now(), &session.actor(), Action::SignedIn).saying(role.app_role());
    entry.add(app.ports.store.as_ref()).await?;
    Ok(Ok(Arrival { session, back }))
}

/// The cookie that makes the browser forget its secret.
pub fn forget(app: &App) -> String {
    page::cookie(&app.config, COOKIE, "", 0)
}

fn kept(request: &web::Request, app: &App) -> Option<Browser> {
    request.cookie(&page::cookie_name(&app.config, COOKIE)).and_then(Browser::parse)
}

fn redirect_uri(app: &App) -> Result<Url, Broken> {
    let mut url = app.config.public_url.clone().ok_or(Broken::NoPublicUrl)?;
    url.set_path(CALLBACK);
    Ok(url)
}

fn state(keys: &SigningKeys, id: Uuid, ends_at: Timestamp, back: &str) -> String {
    let payload = [&id.as_bytes()[..], &ends_at.as_second().to_be_bytes(), local(back).as_bytes()].concat();
    keys.sign(Purpose::SignInState, &payload)
}

fn open_state(keys: &SigningKeys, text: &str, now: Timestamp) -> Option<(Uuid, String)> {
    let payload = keys.open(Purpose::SignInState, text)?;
    let (id, rest) = payload.split_at_checked(16)?;
    let (ends_at, back) = rest.split_at_checked(8)?;
    let in_time = now.as_second() < i64::from_be_bytes(ends_at.try_into().ok()?);
    let back = std::str::from_utf8(back).ok().map(local)?;
    in_time.then_some((Uuid::from_slice(id).ok()?, back.to_owned()))
}

/// An address on this site to go on at, or the front page. Browsers take `//host` and `/\\host` for another site's.
fn local(back: &str) -> &str {
    let is_path = back.starts_with('/') && !back[1..].starts_with(['/', '\\']);
    let is_plain = back.len() <= MAX_RETURN && back.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let is_page = !["/login", "/logout", "/api/", "/consent/", "/connect/"].iter().any(|own| back.starts_with(own));
    if is_path && is_plain && is_page { back } else { "/" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_another_site_after_signing_in() {
        for (back, expected) in [
            (
                "/tenants/00000000-0000-4000-8000-0000000000aa?day=1",
                "/tenants/00000000-0000-4000-8000-0000000000aa?day=1",
            ),
            ("/", "/"),
            ("", "/"),
            ("https://evil.example/", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\\b", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("/logout", "/"),
            ("/login?back=/login", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(local(back), expected, "{back}");
        }
        assert_eq!(local(&format!("/{}", "x".repeat(MAX_RETURN))), "/");
    }
}

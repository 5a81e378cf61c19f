//! Signing out: the session of the browser ends, and the person goes on where the application wants (Microsoft, *OpenID
//! Connect on the Microsoft identity platform*, "Send a sign-out request").

use crate::dice::Dice;
use crate::http::{Request, Response};
use crate::login_page;
use crate::refusal::Refused;
use crate::session::{self, Session};
use crate::sign_in;
use crate::visit::Parameters;
use crate::world::World;

pub(crate) fn sign_out(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    segment: &str,
) -> Result<Response, Refused> {
    let parameters = Parameters::read(request.query(), &["post_logout_redirect_uri"])?;
    let now = world.now;
    sign_in::realm(world, segment).map_err(|refused| refused.map(|aadsts| login_page::error(&aadsts, now, dice)))?;
    let ended = session::end(world, request);
    let uri = parameters.get("post_logout_redirect_uri");
    let onward = uri.filter(|uri| ended.is_some_and(|session| is_registered(world, &session, uri)));
    let response = match onward {
        Some(uri) => Response::new(302, "text/html; charset=utf-8", "").with("Location", uri),
        None => login_page::signed_out(),
    };
    Ok(session::without_cookie(response))
}

/// Nobody says which application signs out: it must be one that this person had signed in to. Whoever was kept out, or
/// whose session is over, stays on Microsoft's page (adal-js #694).
fn is_registered(world: &World, session: &Session, uri: &str) -> bool {
    let registrations = session.applications.iter().filter_map(|client_id| world.find_registration(client_id));
    registrations.flat_map(|registration| &registration.redirect_uris).any(|registered| registered == uri)
}

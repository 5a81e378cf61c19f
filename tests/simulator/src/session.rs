//! What keeps somebody signed in at Entra: a cookie, and what Entra knows by it.

use std::collections::BTreeSet;

use crate::dice::Dice;
use crate::http::{Request, Response};
use crate::sign_in::{Realm, Visitor};
use crate::user::UserKind;
use crate::world::World;

const COOKIE: &str = "ESTSAUTH";

/// One browser's.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    tenant_id: String,
    oid: String,
    /// The client ids of the applications that have been signed in to.
    pub(crate) applications: BTreeSet<String>,
}

fn id(request: &Request) -> Option<&str> {
    let cookies = request.header("cookie")?;
    cookies.split(';').find_map(|cookie| cookie.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}

/// Who is signed in already, and may be in this realm.
pub(crate) fn signed_in(world: &World, realm: &Realm, request: &Request) -> Option<Visitor> {
    let Session { tenant_id, oid, .. } = world.sessions.get(id(request)?)?;
    if matches!(realm, Realm::Tenant { id, .. } if !id.eq_ignore_ascii_case(tenant_id)) {
        return None;
    }
    let tenant = world.tenants().find(|tenant| tenant.id == *tenant_id && !tenant.deleted)?;
    let user = tenant.users.iter().find(|user| user.oid == *oid)?.clone();
    // Without a tenant in the address a guest is somebody at home, whom this session does not know.
    if *realm == Realm::Any && user.kind != UserKind::Member {
        return None;
    }
    Some(Visitor { tenant_id: tenant_id.clone(), user })
}

/// The `Cookie` header of a browser in which this user is signed in.
pub(crate) fn begin(world: &mut World, dice: &mut Dice, visitor: &Visitor) -> String {
    let id = dice.guid();
    let (tenant_id, oid) = (visitor.tenant_id.clone(), visitor.user.oid.clone());
    world.sessions.insert(id.clone(), Session { tenant_id, oid, applications: BTreeSet::new() });
    format!("{COOKIE}={id}")
}

/// The same answer, which also keeps the visitor signed in, with what the browser's session knew of the same person.
pub(crate) fn keep(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    visitor: &Visitor,
    response: Response,
) -> Response {
    let before = end(world, request);
    let cookie = begin(world, dice, visitor);
    if let (Some(before), Some((_, id))) = (before, cookie.split_once('='))
        && let Some(session) = world.sessions.get_mut(id)
        && (&before.tenant_id, &before.oid) == (&session.tenant_id, &session.oid)
    {
        session.applications = before.applications;
    }
    response.with("Set-Cookie", format!("{cookie}; Path=/; HttpOnly; SameSite=Lax"))
}

/// The person of this browser, or of the one the answer goes to, has signed in to the application.
pub(crate) fn note(world: &mut World, request: &Request, response: &Response, client_id: &str) {
    let new = response.header("set-cookie").and_then(|cookie| cookie.strip_prefix(COOKIE)?.strip_prefix('='));
    let new = new.and_then(|rest| rest.split(';').next());
    if let Some(session) = new.or_else(|| id(request)).and_then(|id| world.sessions.get_mut(id)) {
        session.applications.insert(client_id.to_owned());
    }
}

/// Forgets the session of this browser.
pub(crate) fn end(world: &mut World, request: &Request) -> Option<Session> {
    world.sessions.remove(id(request)?)
}

/// The same answer, which takes the cookie away.
pub(crate) fn without_cookie(response: Response) -> Response {
    response.with("Set-Cookie", format!("{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax"))
}

//! Who sits before the browser: the accounts a page offers, and the choice a person makes.

use serde::Deserialize;
use url::form_urlencoded;

use crate::aadsts::Aadsts;
use crate::app_role::Principal;
use crate::directory::directory;
use crate::http::Request;
use crate::login_page::Account;
use crate::refusal::Refused;
use crate::user::{User, UserKind};
use crate::world::World;

/// Which directory the address names: one tenant, or whichever the user belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Realm {
    Any,
    Tenant { id: String, name: String },
}

/// Somebody who signed in, and into which tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Visitor {
    pub(crate) tenant_id: String,
    pub(crate) user: User,
}

impl Visitor {
    pub(crate) fn principal(&self) -> Principal {
        Principal::User(self.user.oid.clone())
    }

    /// The app roles of this application that the visitor holds in the tenant of the sign-in.
    pub(crate) fn app_roles(&self, world: &World, client_id: &str) -> Vec<String> {
        let tenant = world.find_tenant(&self.tenant_id).zip(world.find_registration(client_id));
        tenant.map(|(tenant, manifest)| tenant.app_roles(client_id, manifest, &self.principal())).unwrap_or_default()
    }
}

/// What a person did with the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Choice {
    Approve,
    /// "No" on the page of permissions, after signing in.
    Decline,
    /// Left before signing in.
    Cancel,
}

/// The user of the form.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Nobody,
    Visitor(Visitor),
    /// A user of another directory than the one in the address.
    Foreign(User),
}

pub(crate) fn realm(world: &mut World, segment: &str) -> Result<Realm, Refused<Aadsts>> {
    let tenant = directory(world, segment)?;
    Ok(tenant.map_or(Realm::Any, |tenant| Realm::Tenant { id: tenant.id.clone(), name: tenant.name.clone() }))
}

/// The accounts to choose from, with the roles they hold there, this application's among them: the realm's own first,
/// then those that do not belong there.
pub(crate) fn accounts(world: &World, realm: &Realm, client_id: &str) -> Vec<Account> {
    let mut own = Vec::new();
    let mut others = Vec::new();
    for tenant in world.tenants().filter(|tenant| !tenant.deleted) {
        let here = matches!(realm, Realm::Tenant { id, .. } if id.eq_ignore_ascii_case(&tenant.id));
        for user in &tenant.users {
            let guest = user.kind != UserKind::Member;
            let titles = user.roles.iter().map(|role| role.title().to_owned());
            let titles = if user.roles.is_empty() { vec!["no admin role".to_owned()] } else { titles.collect() };
            let visitor = Visitor { tenant_id: tenant.id.clone(), user: user.clone() };
            let roles = [titles, visitor.app_roles(world, client_id)].concat().join(", ");
            let kind = if guest { ", a guest" } else { "" };
            let label = format!("{} ({}) of {}{kind}: {roles}", user.name, user.upn, tenant.name);
            let account = Account { oid: user.oid.clone(), label };
            if here || *realm == Realm::Any && !guest {
                own.push(account);
            } else if !guest {
                let label = format!("{} — of another directory", account.label);
                others.push(Account { label, ..account });
            }
        }
    }
    own.extend(others);
    own
}

/// The choice in a posted form, and who made it.
pub(crate) fn choice(world: &World, realm: &Realm, request: &Request) -> Result<(Choice, Who), Refused> {
    let (mut action, mut oid) = (None, String::new());
    for (name, value) in form_urlencoded::parse(&request.body) {
        match &*name {
            "action" => action = Some(value.into_owned()),
            "user" => oid = value.into_owned(),
            _ => return Err(Refused::NotModelled(format!("the field {name} of the sign-in form"))),
        }
    }
    let choice = match action.as_deref() {
        Some("approve") => Choice::Approve,
        Some("decline") => Choice::Decline,
        Some("cancel") => return Ok((Choice::Cancel, Who::Nobody)),
        _ => return Err(Refused::NotModelled("a sign-in form without one of its actions".into())),
    };
    if oid.is_empty() {
        return Ok((choice, Who::Nobody));
    }
    let who = who(world, realm, &oid)?;
    Ok((choice, who))
}

fn who(world: &World, realm: &Realm, oid: &str) -> Result<Who, Refused> {
    let mut foreign = None;
    for tenant in world.tenants().filter(|tenant| !tenant.deleted) {
        let Some(user) = tenant.users.iter().find(|user| user.oid.eq_ignore_ascii_case(oid)) else { continue };
        let visitor = Visitor { tenant_id: tenant.id.clone(), user: user.clone() };
        match realm {
            Realm::Tenant { id, .. } if id.eq_ignore_ascii_case(&tenant.id) => return Ok(Who::Visitor(visitor)),
            Realm::Tenant { .. } => foreign = Some(user.clone()),
            Realm::Any if user.kind == UserKind::Member => return Ok(Who::Visitor(visitor)),
            Realm::Any => {
                let what = "a guest without the tenant in the address: the person signs in at home, as a member there";
                return Err(Refused::NotModelled(what.into()));
            }
        }
    }
    foreign.map(Who::Foreign).ok_or_else(|| Refused::NotModelled("a user nobody added to a tenant".into()))
}

/// AADSTS50020, for a user of another directory.
pub(crate) fn foreign(user: &User, realm: &Realm) -> Aadsts {
    let name = match realm {
        Realm::Tenant { name, .. } => name,
        Realm::Any => "",
    };
    let text = format!(
        "User account '{}' from identity provider does not exist in tenant '{name}' and cannot access the application in that tenant. The account needs to be added as an external user in the tenant first. Sign out and sign in again with a different Azure Active Directory user account.",
        user.upn
    );
    Aadsts::new(50020, text)
}

/// A user by object id, wherever; for tests that need no page.
pub(crate) fn anybody(world: &World, oid: &str) -> Option<Visitor> {
    world.tenants().find_map(|tenant| {
        let user = tenant.users.iter().find(|user| user.oid.eq_ignore_ascii_case(oid))?;
        Some(Visitor { tenant_id: tenant.id.clone(), user: user.clone() })
    })
}

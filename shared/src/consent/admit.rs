//! What a proven sign-in is worth: whether the person may speak for the tenant, whether we have access, and the binding.

use std::pin::pin;

use futures::future::{Either, select};
use jiff::SignedDuration;
use uuid::Uuid;

use super::{
    Receipt, Told,
    invitation::{self, Invitation, Open},
    outcome::Outcome,
};
use crate::{
    App,
    audit::{Action, Actor, Entry},
    microsoft::{id_token::Person, tokens::ApplicationName},
    ports::store::{StoreError, Write},
    tenant::{
        Ability, Condition, Connection, Consent, Feed, State, TenantId,
        bind::{Binding, bind},
        dispatch, load,
        proof::{Found, Proof, Subject, prove},
    },
};

/// Who loses the race for a connection reads it again; more often than this nobody loses.
const TRIES: usize = 5;

/// How long a proof may take before it is left to the puller.
const PROOF_TIME: SignedDuration = SignedDuration::from_secs(15);

/// The roles that may approve for a whole tenant, as `wids` carries them (MICROSOFT.md 1.7).
const ADMINISTRATORS: [(&str, &str); 4] = [
    ("62e90394-69f5-4237-9190-012177145e10", "Global Administrator"),
    ("e8611ab8-c189-46e8-94e1-60213ab1f814", "Privileged Role Administrator"),
    ("9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3", "Application Administrator"),
    ("158c047a-c907-4556-b7ef-446551a6b5f7", "Cloud Application Administrator"),
];

/// What the sign-in says about the person's right to approve.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Standing {
    Administrator(Vec<String>),
    /// The application does not ask for directory roles: an operator must vouch.
    Unknown,
    User,
}

fn standing(wids: Option<&[String]>) -> Standing {
    let Some(wids) = wids else { return Standing::Unknown };
    let held = ADMINISTRATORS.iter().filter(|(id, _)| wids.iter().any(|wid| wid.eq_ignore_ascii_case(id)));
    let titles: Vec<String> = held.map(|(_, title)| (*title).to_owned()).collect();
    if titles.is_empty() { Standing::User } else { Standing::Administrator(titles) }
}

/// Binds the tenant, claims it, or says why not.
///
/// # Errors
/// As the store's.
pub async fn admit(app: &App, invitation: Uuid, tenant: TenantId, person: &Person) -> Result<Told, StoreError> {
    let receipt = Receipt { tenant, name: person.name.clone(), account: None };
    let standing = standing(person.wids.as_deref());
    if standing == Standing::User {
        return Ok(Told { receipt: Some(receipt), ..Outcome::NotTheAdministrator.into() });
    }
    let store = app.ports.store.as_ref();
    let mut proof = None;
    for _ in 0..TRIES {
        let open = match invitation::load(store, invitation, app.clock.now()).await? {
            Err(unusable) => return Ok(Outcome::from(unusable).into()),
            Ok(open) => open,
        };
        let known = load(store, tenant).await?;
        let connection = known.as_ref().map(|known| &known.connection);
        if let Some(outcome) = refuse(app, &open.invitation, tenant, connection, &standing) {
            return Ok(Told { receipt: Some(receipt), ..outcome.into() });
        }
        let account = &open.invitation.account;
        let is_bound = connection.is_some_and(|known| known.is_bound_to(account));
        let vouched = is_bound || standing != Standing::Unknown;
        let region = connection.and_then(|known| known.region);
        // A tenant that is bound by an application of its own keeps that, for all its feeds.
        let application =
            connection.filter(|_| is_bound).map_or(ApplicationName::App, |known| known.application.clone());
        if vouched && proof.as_ref().is_none_or(|(by, _)| *by != application) {
            let subject = Subject { tenant, application: &application, region, storage: None };
            proof = Some((application.clone(), prove_in_time(app, &subject, &open.invitation.feeds).await));
        }
        let proof = proof.as_ref().map(|(_, proof)| proof).filter(|_| vouched);
        let consent = consent(app, &open.invitation, person, &standing, proof);
        let binding = Binding { application, ..binding(&open.invitation, tenant, consent, proof) };
        let writes = vec![spend(app, &open, &binding)?, entry(app, person, &binding).write()?];
        match bind(app, known.as_ref(), &binding, writes).await {
            Ok(connection) => {
                pull_at_once(app, &connection).await;
                let receipt = Receipt { account: Some(connection.account.clone()), ..receipt };
                return Ok(Told { receipt: Some(receipt), ..Outcome::of(&connection).into() });
            }
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(Outcome::TryAgainSoon.into())
}

/// What the trail says of it.
fn entry(app: &App, person: &Person, binding: &Binding) -> Entry {
    let actor = Actor::Administrator { oid: person.oid.clone(), name: person.name.clone() };
    let feeds: Vec<&str> = binding.feeds.keys().map(|feed| feed.name()).collect();
    let feeds = feeds.join(", ");
    let said = match binding.state {
        State::Confirming => format!("Asked for: {feeds}. An operator has to vouch for the person."),
        _ if binding.proven => format!("Asked for: {feeds}. Access is proven."),
        _ => format!("Asked for: {feeds}. Access is not proven yet."),
    };
    let entry = Entry::new(app.clock.now(), &actor, Action::Consented);
    entry.of_tenant(binding.tenant_id).of_account(&binding.account).saying(said)
}

/// A browser waits for the answer, and API Gateway no longer than 30 seconds.
async fn prove_in_time(app: &App, subject: &Subject<'_>, feeds: &[Feed]) -> Proof {
    match select(pin!(prove(app, subject, feeds)), pin!(app.clock.sleep(PROOF_TIME))).await {
        Either::Left((proof, _)) => proof,
        Either::Right(_) => Proof::not_yet(feeds, &Condition::propagating()),
    }
}

fn refuse(
    app: &App,
    invitation: &Invitation,
    tenant: TenantId,
    known: Option<&Connection>,
    standing: &Standing,
) -> Option<Outcome> {
    if let Some(expected) = invitation.expected_tenant.filter(|expected| *expected != tenant) {
        return Some(Outcome::WrongTenant { expected });
    }
    let known = known?;
    if known.is_bound_elsewhere(&invitation.account) {
        return Some(Outcome::BoundElsewhere);
    }
    // A claim blocks nobody, but a user of whom we know nothing must not undo what an administrator has begun.
    let begun = known.consent_for(&known.account).is_some_and(Consent::is_authoritative)
        && known.state != State::Removed
        && !known.is_expired_claim(app.clock.now());
    if *standing != Standing::Unknown || !begun || known.is_bound_to(&invitation.account) {
        return None;
    }
    Some(if known.account == invitation.account { Outcome::of(known) } else { Outcome::BoundElsewhere })
}

fn consent(app: &App, invitation: &Invitation, person: &Person, standing: &Standing, proof: Option<&Proof>) -> Consent {
    let admin_roles = match standing {
        Standing::Administrator(titles) => titles.clone(),
        Standing::Unknown | Standing::User => Vec::new(),
    };
    let roles = proof.map(|proof| proof.roles.clone()).unwrap_or_default();
    Consent {
        at: app.clock.now(),
        oid: person.oid.clone(),
        name: person.name.clone(),
        admin_roles,
        roles,
        invitation: invitation.id.to_string(),
        account: invitation.account.clone(),
        vouched_at: None,
    }
}

/// Without a proof nobody could vouch for the person, and the tenant waits for an operator.
fn binding(invitation: &Invitation, tenant_id: TenantId, consent: Consent, proof: Option<&Proof>) -> Binding {
    let (state, feeds, proven) = match proof {
        None => {
            let feeds = invitation.feeds.iter().map(|feed| (*feed, Condition::confirming())).collect();
            (State::Confirming, feeds, false)
        }
        Some(proof) if proof.is_proven() => {
            let late = |found: &Found| match found.condition.ability {
                // Its role may only not have come yet.
                Ability::RoleMissing => Condition::propagating(),
                _ => found.condition.clone(),
            };
            (State::Active, proof.feeds.iter().map(|(feed, found)| (*feed, late(found))).collect(), true)
        }
        Some(proof) => {
            let fault = proof.feeds.values().find_map(|found| found.condition.state.filter(|state| is_fault(*state)));
            match fault {
                Some(state) => (state, proof.conditions().into_iter().map(told_to_come_back).collect(), false),
                // Roles lag consent, and Microsoft has bad moments: from now on the puller is the proof.
                None => {
                    let feeds = proof.feeds.keys().map(|feed| (*feed, Condition::propagating())).collect();
                    (State::Propagating, feeds, false)
                }
            }
        }
    };
    Binding {
        tenant_id,
        account: invitation.account.clone(),
        application: ApplicationName::App,
        region: None,
        storage: None,
        feeds,
        state,
        proven,
        consent: Some(consent),
    }
}

/// What waiting does not mend.
fn is_fault(state: State) -> bool {
    matches!(state, State::Unlicensed | State::Blocked | State::CredentialFault)
}

fn told_to_come_back((feed, condition): (Feed, Condition)) -> (Feed, Condition) {
    let next_step = format!("{} Then let them open their invitation again.", condition.next_step);
    (feed, Condition { next_step, ..condition })
}

/// What leads to a connection spends the invitation. A tenant that still has to get a licence or to mend a policy needs
/// the link again; and whoever could not be told from an ordinary user must not use up that of the administrator.
fn spend(app: &App, open: &Open, binding: &Binding) -> Result<Write, StoreError> {
    match binding.state {
        State::Active | State::Propagating => open.spend(binding.tenant_id, app.clock.now()),
        _ => Ok(open.check()),
    }
}

/// The first look, now. If the queue is out of order, the next tick does it.
async fn pull_at_once(app: &App, connection: &Connection) {
    if let Err(error) = dispatch::at_once(&app.ports.queues, connection, app.clock.now()).await {
        tracing::warn!(tenant.id = %connection.tenant_id, %error, "the first pull waits for the next tick");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_administrator_is_known_by_role_and_a_user_is_not_one() {
        let every_user = "b79fbf4d-3ef9-4689-8143-76b194e85509".to_owned();
        assert_eq!(standing(None), Standing::Unknown);
        assert_eq!(standing(Some(&[])), Standing::User);
        assert_eq!(standing(Some(std::slice::from_ref(&every_user))), Standing::User);
        for (id, title) in ADMINISTRATORS {
            let wids = [every_user.clone(), id.to_ascii_uppercase()];
            assert_eq!(standing(Some(&wids)), Standing::Administrator(vec![title.to_owned()]));
        }
    }
}

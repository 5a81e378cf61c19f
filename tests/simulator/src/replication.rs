//! How a changed credential spreads: each of Entra's replicas learns of it at its own time, and a request meets one of
//! them, whichever (MICROSOFT 5.5). Until the last has learnt, a new secret works now and then, and a removed one shows.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::application::{Application, Certificate, ClientSecret};
use crate::dice::Dice;
use crate::world::World;

const REPLICAS: usize = 6;

/// Between these two times after a change through Graph the last replica knows of it. Both zero: at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CredentialPropagation {
    pub least: SignedDuration,
    pub most: SignedDuration,
}

impl Default for CredentialPropagation {
    fn default() -> Self {
        Self { least: SignedDuration::from_secs(4), most: SignedDuration::from_secs(18) }
    }
}

/// When each replica learns of one change.
#[derive(Clone, Debug)]
struct Spread([Timestamp; REPLICAS]);

impl Spread {
    fn begin(dice: &mut Dice, now: Timestamp, propagation: CredentialPropagation) -> Self {
        let (least, most) = (propagation.least.as_millis(), propagation.most.as_millis());
        let mut within = |least: i128, most: i128| {
            let span = u64::try_from((most - least).max(0)).unwrap_or(u64::MAX).saturating_add(1);
            least + i128::from(dice.roll() % span)
        };
        let whole = within(least, most);
        let after = |milliseconds: i128| {
            let delay = SignedDuration::from_millis(i64::try_from(milliseconds).unwrap_or(i64::MAX));
            now.saturating_add(delay).unwrap_or(now)
        };
        let mut learns = [now; REPLICAS];
        for replica in &mut learns {
            *replica = after(within(0, whole));
        }
        if let Some(last) = learns.last_mut() {
            *last = after(whole);
        }
        Self(learns)
    }

    fn has_reached(&self, replica: usize, now: Timestamp) -> bool {
        self.0.get(replica).is_none_or(|learns| *learns <= now)
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.0.iter().all(|learns| *learns <= now)
    }
}

#[derive(Clone, Debug)]
enum Removed {
    Secret(ClientSecret),
    Certificate(Certificate),
}

/// The changes that have not reached every replica, and what Graph keeps beside a credential.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replication {
    arriving: BTreeMap<String, Spread>,
    leaving: Vec<(String, Removed, Spread)>,
    /// Display names by key id.
    pub(crate) names: BTreeMap<String, String>,
    /// When each application was last written.
    pub(crate) last_write: BTreeMap<String, Timestamp>,
}

impl Replication {
    fn forget_what_is_over(&mut self, now: Timestamp) {
        self.arriving.retain(|_, spread| !spread.is_over(now));
        self.leaving.retain(|(_, _, spread)| !spread.is_over(now));
    }

    fn concerns(&self, application: &Application) -> bool {
        let secrets = application.secrets.iter().map(|secret| &secret.key_id);
        let mut keys = secrets.chain(application.certificates.iter().map(|certificate| &certificate.key_id));
        keys.any(|key_id| self.arriving.contains_key(key_id))
            || self.leaving.iter().any(|(client_id, ..)| *client_id == application.client_id)
    }
}

/// The application as the replica sees it that answers this request.
pub(crate) fn seen(world: &mut World, dice: &mut Dice, client_id: &str) -> Option<Application> {
    let now = world.now;
    let mut application = world.application(client_id)?.clone();
    let replication = &mut world.replication;
    replication.forget_what_is_over(now);
    if !replication.concerns(&application) {
        return Some(application);
    }
    let replica = usize::try_from(dice.roll() % REPLICAS as u64).unwrap_or_default();
    let there =
        |key_id: &String| replication.arriving.get(key_id).is_none_or(|spread| spread.has_reached(replica, now));
    application.secrets.retain(|secret| there(&secret.key_id));
    application.certificates.retain(|certificate| there(&certificate.key_id));
    for (of, removed, spread) in &replication.leaving {
        if *of != application.client_id || spread.has_reached(replica, now) {
            continue;
        }
        // A replica that never learnt of a credential does not show it because it was removed.
        match removed {
            Removed::Secret(secret) if there(&secret.key_id) => application.secrets.push(secret.clone()),
            Removed::Certificate(known) if there(&known.key_id) => application.certificates.push(known.clone()),
            _ => {}
        }
    }
    Some(application)
}

pub(crate) fn add_secret(world: &mut World, dice: &mut Dice, client_id: &str, secret: ClientSecret) {
    let spread = Spread::begin(dice, world.now, world.credential_propagation);
    world.replication.arriving.insert(secret.key_id.clone(), spread);
    if let Some(application) = world.application(client_id) {
        application.secrets.push(secret);
    }
}

pub(crate) fn add_certificate(world: &mut World, dice: &mut Dice, client_id: &str, certificate: Certificate) {
    let spread = Spread::begin(dice, world.now, world.credential_propagation);
    world.replication.arriving.insert(certificate.key_id.clone(), spread);
    if let Some(application) = world.application(client_id) {
        application.certificates.push(certificate);
    }
}

/// Whether there was such a secret.
pub(crate) fn remove_secret(world: &mut World, dice: &mut Dice, client_id: &str, key_id: &str) -> bool {
    let Some(application) = world.application(client_id) else { return false };
    let of = application.client_id.clone();
    let Some(at) = application.secrets.iter().position(|secret| secret.key_id.eq_ignore_ascii_case(key_id)) else {
        return false;
    };
    let secret = Removed::Secret(application.secrets.remove(at));
    let spread = Spread::begin(dice, world.now, world.credential_propagation);
    world.replication.leaving.push((of, secret, spread));
    true
}

/// Whether there was such a certificate.
pub(crate) fn remove_certificate(world: &mut World, dice: &mut Dice, client_id: &str, key_id: &str) -> bool {
    let Some(application) = world.application(client_id) else { return false };
    let of = application.client_id.clone();
    let place = application.certificates.iter().position(|known| known.key_id.eq_ignore_ascii_case(key_id));
    let Some(at) = place else { return false };
    let certificate = Removed::Certificate(application.certificates.remove(at));
    let spread = Spread::begin(dice, world.now, world.credential_propagation);
    world.replication.leaving.push((of, certificate, spread));
    true
}

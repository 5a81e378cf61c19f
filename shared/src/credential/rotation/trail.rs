//! What a finished rotation leaves for people: an entry of the trail, and what the console shows of the credential.

use crate::{
    App,
    audit::{self, Action, Actor},
    credential::{
        entry::Entry,
        name::{EntryKind, EntryName},
        status::{self, Status},
    },
    ports::store::StoreError,
};

/// Writings that are tried where somebody else writes at the same moment.
const TRIES: usize = 5;

/// Tells of a rotation to this version, once, however often its last step is repeated. The rotation is over whether this
/// succeeds or not.
pub(super) async fn tell(app: &App, name: &EntryName, version: &str, entry: &Entry) {
    for _ in 0..TRIES {
        match write(app, name, version, entry).await {
            Ok(()) => return,
            // The check, or another run of the same step, has written at this moment.
            Err(StoreError::Conflict) => {}
            Err(error) => {
                return tracing::warn!(vault.name = name.full, %error, "the trail is not told of this rotation");
            }
        }
    }
    tracing::warn!(vault.name = name.full, "the trail is not told of this rotation: somebody else writes all the time");
}

async fn write(app: &App, name: &EntryName, version: &str, entry: &Entry) -> Result<(), StoreError> {
    let (store, now) = (app.ports.store.as_ref(), app.clock.now());
    let short = name.short(&app.config.secrets_prefix);
    let (known, expect) = status::as_read(store, short).await?;
    if known.as_ref().is_some_and(|known| known.rotated_to.as_deref() == Some(version)) {
        return Ok(());
    }
    let told = known.map(|known| known.told).unwrap_or_default();
    let status = Status { rotated_to: Some(version.to_owned()), told, ..Status::new(short, Some(entry), now) };
    let detail = match entry.expires_at {
        Some(end) => format!("{short}: a new {}, which ends on {end}.", entry.application.credential.title()),
        None => format!("{short}: a {}, proven once more.", entry.application.credential.title()),
    };
    let deed = audit::Entry::new(now, &Actor::Muster, Action::CredentialRotated).saying(detail);
    let deed = match name.kind {
        EntryKind::Tenant(tenant) => deed.of_tenant(tenant),
        EntryKind::App | EntryKind::Console | EntryKind::Signing => deed,
    };
    store.commit(vec![status.put(expect), deed.write()?]).await
}

//! Reads the vault for rotations and for the daily check: by label and by version, always.

use jiff::SignedDuration;

use super::{
    entry::Entry,
    name::{EntryKind, EntryName},
    ownership::{Holding, Stamp},
    rotation::RotationError,
};
use crate::{
    App,
    ports::vault::{Stage, VaultError},
};

/// A vault that has just been written to may not show it yet (AWS.md 2).
const REREAD: SignedDuration = SignedDuration::from_secs(1);

/// How often the labels are asked for anew when they have moved while they were followed.
const LOOKS: u32 = 3;

/// One secret with everything under its labels. `pending_expected`: a version under rotation ought to hold something.
pub(super) async fn holding(app: &App, id: &str, pending_expected: bool) -> Result<Holding, RotationError> {
    let read_at = app.clock.now();
    let (mut description, mut current) = (app.ports.vault.describe(id).await?, None);
    for _ in 0..LOOKS {
        current = entry(app, id, Stage::Current, description.version(Stage::Current)).await?;
        if current.is_some() {
            break;
        }
        // Another run has just promoted another version.
        description = app.ports.vault.describe(id).await?;
    }
    let missing = || VaultError::NotFound(format!("{id} {}", Stage::Current.label()));
    let current = current.ok_or_else(missing)?;
    let previous = match description.version(Stage::Previous) {
        // A damaged one can neither be used nor be asked what it lives by.
        Some(version) => match entry(app, id, Stage::Previous, Some(version)).await {
            Err(RotationError::Unusable { .. }) => None,
            other => other?,
        },
        None => None,
    };
    let pending = match description.open_rotation() {
        Some(version) => pending(app, id, version, pending_expected).await?,
        None => None,
    };
    Ok(Holding { read_at, stamp: Stamp::of(&description), description, current, previous, pending })
}

/// What is current.
pub(super) async fn current(app: &App, id: &str) -> Result<Entry, RotationError> {
    let missing = || VaultError::NotFound(format!("{id} {}", Stage::Current.label()));
    Ok(entry(app, id, Stage::Current, None).await?.ok_or_else(missing)?)
}

/// What the version under rotation holds. Where something is expected, nothing is asked about twice.
pub(super) async fn pending(
    app: &App,
    id: &str,
    version: &str,
    expected: bool,
) -> Result<Option<Entry>, RotationError> {
    let found = entry(app, id, Stage::Pending, Some(version)).await?;
    if found.is_some() || !expected {
        return Ok(found);
    }
    app.clock.sleep(REREAD).await;
    entry(app, id, Stage::Pending, Some(version)).await
}

/// The vault's other entries, several of which may be of one application; `None` where one is damaged, for nobody knows
/// what whoever mends it lives by.
pub(super) async fn elsewhere(app: &App, name: &EntryName) -> Result<Option<Vec<Entry>>, RotationError> {
    let mut found = Vec::new();
    for other in app.ports.vault.list(&format!("{}/", app.config.secrets_prefix)).await? {
        let kind = EntryName::parse(&other, &app.config.secrets_prefix).map(|entry| entry.kind);
        // No application lives by the signing key, and what bears no name of ours is not ours to read.
        if other == name.full || matches!(kind, None | Some(EntryKind::Signing)) {
            continue;
        }
        for stage in [Stage::Current, Stage::Previous, Stage::Pending] {
            match entry(app, &other, stage, None).await {
                Ok(entry) => found.extend(entry),
                // Nobody can come in by it any more, and another one is current.
                Err(RotationError::Unusable { .. }) if stage == Stage::Previous => {}
                Err(RotationError::Unusable { label, cause }) => {
                    tracing::warn!(vault.name = other, label, %cause, "nothing is cleared away while an entry is damaged");
                    return Ok(None);
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Some(found))
}

async fn entry(app: &App, id: &str, stage: Stage, version: Option<&str>) -> Result<Option<Entry>, RotationError> {
    match app.ports.vault.read(id, stage, version).await {
        Ok(version) => {
            let unusable = |cause| RotationError::Unusable { label: stage.label(), cause };
            Entry::parse(&version.value).map(Some).map_err(unusable)
        }
        Err(VaultError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

//! `muster vault`: what is in the vault, and putting something in.

use std::io::Read;

use shared::{
    App,
    credential::{
        Application,
        entry::Entry,
        name::{EntryKind, EntryName},
    },
    ports::vault::{Stage, VaultError},
    random,
    secret::Secret,
};

use crate::Failure;

/// A credential is a few kilobytes; AWS takes 64 KB.
const MAX_BYTES: u64 = 64 << 10;

/// Reads the entry for `name` and checks it, before anything is opened or made.
///
/// # Errors
/// [`Failure::Usage`] naming what is wrong with the name or the entry.
pub fn read_entry(name: &str, input: impl Read) -> Result<Secret<String>, Failure> {
    if !is_application(name) {
        return Err(Failure::Usage(format!(
            "`{}` is no name for a credential; use app, apps/NAME, console, or tenants/TENANT_ID",
            name.escape_default()
        )));
    }
    let mut text = String::new();
    input
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)
        .map_err(|cause| Failure::Usage(format!("standard input: {cause}")))?;
    if text.len() as u64 > MAX_BYTES {
        return Err(Failure::Usage("the entry is longer than 64 KB".to_owned()));
    }
    let value = Secret::new(text.trim().to_owned());
    Application::parse(&value).map_err(|error| Failure::Usage(format!("{error}; nothing was stored")))?;
    Ok(value)
}

/// Stores the entry and makes it current; the version before becomes the previous one.
///
/// # Errors
/// When the vault fails.
pub async fn put(app: &App, name: &str, entry: &Secret<String>) -> Result<(), Failure> {
    let full = format!("{}/{name}", app.config.secrets_prefix);
    app.ports.vault.put(&full, &version_id()?, entry, &[Stage::Current], None).await.map_err(Failure::failed)?;
    eprintln!("{full} is stored.");
    Ok(())
}

/// Prints names, stages and expiry.
///
/// # Errors
/// When the vault fails.
pub async fn list(app: &App) -> Result<(), Failure> {
    let vault = &app.ports.vault;
    for name in vault.list(&format!("{}/", app.config.secrets_prefix)).await.map_err(Failure::failed)? {
        for (version, stages) in vault.describe(&name).await.map_err(Failure::failed)?.stages {
            for stage in stages {
                let expiry = match vault.read(&name, stage, Some(&version)).await {
                    Ok(secret) => expiry(&secret.value),
                    Err(VaultError::NotFound(_)) => "no value yet".to_owned(),
                    Err(error) => return Err(Failure::failed(error)),
                };
                println!("{name}  {}  {version}  {expiry}", stage.label());
            }
        }
    }
    Ok(())
}

/// Makes the key that invitations, consent state and sessions are signed with, unless there is one.
///
/// # Errors
/// When the vault fails or the machine has no randomness.
pub async fn ensure_signing_key(app: &App) -> Result<(), Failure> {
    let name = format!("{}/signing", app.config.secrets_prefix);
    match app.ports.vault.read(&name, Stage::Current, None).await {
        Ok(_) => return Ok(()),
        Err(VaultError::NotFound(_)) => {}
        Err(error) => return Err(Failure::failed(error)),
    }
    let key = Secret::new(random::bytes::<32>().map_err(Failure::failed)?);
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let value = Secret::new(serde_json::json!({ "key": URL_SAFE_NO_PAD.encode(key.expose()) }).to_string());
    app.ports.vault.put(&name, &version_id()?, &value, &[Stage::Current], None).await.map_err(Failure::failed)
}

fn is_application(name: &str) -> bool {
    EntryName::parse(&format!("muster/{name}"), "muster").is_some_and(|name| name.kind != EntryKind::Signing)
}

fn expiry(value: &Secret<String>) -> String {
    match Entry::parse(value) {
        Ok(Entry { expires_at: Some(at), .. }) => format!("expires {at}"),
        Ok(entry) if entry.holds_a_credential() => "no expiry given".to_owned(),
        Ok(_) => "does not expire".to_owned(),
        Err(_) if value.expose().contains("\"credential\"") => "cannot be used".to_owned(),
        Err(_) => "does not expire".to_owned(),
    }
}

pub(crate) fn version_id() -> Result<String, Failure> {
    Ok(random::id().map_err(Failure::failed)?.to_string())
}

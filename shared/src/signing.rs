//! What we sign ourselves: invitations, renewal links, state, sessions and forms, each under a key of its own purpose.

use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::{hkdf, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::{
    ports::{
        Unavailable,
        vault::{Stage, Vault, VaultError},
    },
    secret::Secret,
};

/// HMAC-SHA256 gains nothing from a longer key and loses from a shorter one.
const KEY_BYTES: usize = 32;
/// Nothing we sign is longer; whoever sends more is not the browser we sent it to.
const MAX_TOKEN: usize = 512;
const TTL: SignedDuration = SignedDuration::from_secs(30);

/// What a signature is good for. One made for another purpose does not verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Invitation,
    ConsentState,
    /// The `state` of an operator's sign-in.
    SignInState,
    Session,
    /// That a form is of this session.
    Form,
    /// The link by which a customer's administrator gives a new credential.
    Renewal,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Invitation => b"invitation",
            Self::ConsentState => b"consent state",
            Self::SignInState => b"sign-in state",
            Self::Session => b"session",
            Self::Form => b"form",
            Self::Renewal => b"renewal",
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum NoSigningKey {
    #[error("the vault entry `{name}` cannot be used: {cause}")]
    Unusable { name: String, cause: String },
    #[error(transparent)]
    Platform(#[from] Unavailable),
}

/// The keys of the vault's `signing` entry: the current one signs, the previous one still verifies.
pub struct SigningKeys {
    current: hkdf::Prk,
    previous: Option<hkdf::Prk>,
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKeys")
    }
}

/// The keys as this process last read them. Signing at every page must not cost two reads of the vault.
#[derive(Debug, Default)]
pub struct Remembered(Mutex<Option<(Timestamp, Arc<SigningKeys>)>>);

impl Remembered {
    /// A new key is known within half a minute; what the one before it has signed is good in any case.
    ///
    /// # Errors
    /// As [`SigningKeys::load`].
    pub async fn load(
        &self,
        vault: &dyn Vault,
        prefix: &str,
        now: Timestamp,
    ) -> Result<Arc<SigningKeys>, NoSigningKey> {
        let remembered = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read_at, keys)) = &*remembered()
            && now.duration_since(*read_at) < TTL
        {
            return Ok(keys.clone());
        }
        let keys = Arc::new(SigningKeys::load(vault, prefix).await?);
        *remembered() = Some((now, keys.clone()));
        Ok(keys)
    }
}

impl SigningKeys {
    /// # Errors
    /// [`NoSigningKey`] when there is no current key, or one that is damaged. A damaged previous key verifies nothing.
    pub async fn load(vault: &dyn Vault, prefix: &str) -> Result<Self, NoSigningKey> {
        let name = format!("{prefix}/signing");
        let unusable = |cause: String| NoSigningKey::Unusable { name: name.clone(), cause };
        let current = match vault.read(&name, Stage::Current, None).await {
            Ok(version) => parse(&version.value).map_err(unusable)?,
            Err(VaultError::Unavailable(error)) => return Err(error.into()),
            Err(error) => return Err(unusable(error.to_string())),
        };
        let previous = match vault.read(&name, Stage::Previous, None).await {
            Ok(version) => parse(&version.value).ok(),
            Err(VaultError::Unavailable(error)) => return Err(error.into()),
            Err(_) => None,
        };
        Ok(Self { current, previous })
    }

    /// The keys of this entry alone.
    #[cfg(test)]
    pub fn of(entry: &Secret<String>) -> Result<Self, String> {
        Ok(Self { current: parse(entry)?, previous: None })
    }

    /// The payload and its signature, in characters that need no escaping in a URL.
    pub fn sign(&self, purpose: Purpose, payload: &[u8]) -> String {
        let signature = key(&self.current, purpose).map(|key| hmac::sign(&key, payload));
        // A key of a fixed, allowed length is never refused; an empty signature would verify nowhere.
        let signature = signature.as_ref().map_or(&[][..], hmac::Tag::as_ref);
        format!("{}.{}", URL_SAFE_NO_PAD.encode(payload), URL_SAFE_NO_PAD.encode(signature))
    }

    /// The payload, if we signed it for this purpose. The comparison takes the same time wherever it fails.
    pub fn open(&self, purpose: Purpose, token: &str) -> Option<Vec<u8>> {
        if token.len() > MAX_TOKEN {
            return None;
        }
        let (payload, signature) = token.split_once('.')?;
        let payload = URL_SAFE_NO_PAD.decode(payload).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        let keys = [Some(&self.current), self.previous.as_ref()];
        let mut keys = keys.into_iter().flatten().filter_map(|prk| key(prk, purpose));
        keys.any(|key| hmac::verify(&key, &payload, &signature).is_ok()).then_some(payload)
    }
}

fn key(prk: &hkdf::Prk, purpose: Purpose) -> Option<hmac::Key> {
    prk.expand(&[purpose.label()], hmac::HMAC_SHA256).ok().map(hmac::Key::from)
}

fn parse(entry: &Secret<String>) -> Result<hkdf::Prk, String> {
    #[derive(Deserialize)]
    struct Entry {
        key: Secret<String>,
    }
    let entry: Entry = serde_json::from_str(entry.expose()).map_err(|_| "it is not {\"key\": …}".to_owned())?;
    let bytes = URL_SAFE_NO_PAD.decode(entry.key.expose().trim_end_matches('=')).map(Secret::new);
    match bytes {
        Ok(bytes) if bytes.expose().len() >= KEY_BYTES => {
            Ok(hkdf::Salt::new(hkdf::HKDF_SHA256, b"muster signing").extract(bytes.expose()))
        }
        _ => Err(format!("`key` must be base64url of at least {KEY_BYTES} bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prk(byte: u8) -> hkdf::Prk {
        parse(&Secret::new(format!(r#"{{"key":"{}"}}"#, URL_SAFE_NO_PAD.encode([byte; KEY_BYTES])))).unwrap()
    }

    fn keys(current: u8, previous: Option<u8>) -> SigningKeys {
        SigningKeys { current: prk(current), previous: previous.map(prk) }
    }

    #[test]
    fn a_signature_is_good_for_its_purpose_and_its_payload_alone() {
        let keys = keys(1, None);
        let token = keys.sign(Purpose::Invitation, b"payload");
        assert_eq!(keys.open(Purpose::Invitation, &token).as_deref(), Some(&b"payload"[..]));
        assert_eq!(keys.open(Purpose::ConsentState, &token), None);
        let (payload, signature) = token.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(b"payloae");
        for forged in [
            String::new(),
            payload.to_owned(),
            format!("{payload}."),
            format!("{other}.{signature}"),
            format!("{payload}.{}", &signature[1..]),
            format!("{token}Sign+in+to+your+account"),
            format!(" {token}"),
            format!("{token}="),
            "x".repeat(100_000),
        ] {
            assert_eq!(keys.open(Purpose::Invitation, &forged), None, "{forged:.80}");
        }
    }

    #[test]
    fn the_previous_key_still_verifies_and_the_one_before_no_more() {
        let token = keys(1, None).sign(Purpose::Invitation, b"payload");
        assert!(keys(2, Some(1)).open(Purpose::Invitation, &token).is_some());
        assert!(keys(3, Some(2)).open(Purpose::Invitation, &token).is_none());
    }

    #[test]
    fn a_short_or_damaged_key_is_refused_without_repeating_it() {
        for entry in ["canary-7f3a", "{}", r#"{"key":"canary-7f3a"}"#, r#"{"key":7}"#] {
            let error = parse(&Secret::new(entry.to_owned())).unwrap_err();
            assert!(!error.contains("canary"), "{error}");
        }
    }
}

//! Entra's signing keys. Test keys: made for this simulator and published with it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};
use x509_cert::der::{Decode, Encode};

use crate::jwt::{SigningKey, base64, base64url, pem_bytes};

/// The tenant of personal Microsoft accounts, whose key stands in every key set beside the others (MICROSOFT 1.5).
const PERSONAL_ACCOUNTS: &str = "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";

struct PublishedKey {
    certificate: Vec<u8>,
    key: SigningKey,
}

static ENTRA: LazyLock<PublishedKey> = LazyLock::new(|| {
    published_key(
        include_str!("../keys/entra-signing-test-key.pem"),
        include_str!("../keys/entra-signing-test-certificate.pem"),
    )
});

static OTHER_ISSUER: LazyLock<PublishedKey> = LazyLock::new(|| {
    published_key(
        include_str!("../keys/other-issuer-signing-test-key.pem"),
        include_str!("../keys/other-issuer-signing-test-certificate.pem"),
    )
});

static UNKNOWN: LazyLock<SigningKey> =
    LazyLock::new(|| signing(include_str!("../keys/unknown-signing-test-key.pem"), "a-key-in-no-key-set"));

fn published_key(key: &str, certificate: &str) -> PublishedKey {
    let certificate = pem_bytes(certificate).unwrap_or_default();
    // Entra names a key by the SHA-1 thumbprint of its certificate.
    let thumbprint = base64url(digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate).as_ref());
    PublishedKey { key: signing(key, &thumbprint), certificate }
}

#[expect(clippy::expect_used, reason = "the keys are compiled in, and every test signs with them")]
fn signing(pem: &str, key_id: &str) -> SigningKey {
    SigningKey::from_pem(pem, key_id).expect("an embedded test key is PKCS#8")
}

pub(crate) fn signing_key() -> &'static SigningKey {
    &ENTRA.key
}

/// Published as well, for the issuer of personal accounts alone.
pub(crate) fn other_issuers_key() -> &'static SigningKey {
    &OTHER_ISSUER.key
}

/// Published nowhere.
pub(crate) fn unknown_key() -> &'static SigningKey {
    &UNKNOWN
}

/// The public half of the signing key as people keep it in files.
pub(crate) fn public_key_pem() -> String {
    let certificate = x509_cert::Certificate::from_der(&ENTRA.certificate).ok();
    let info =
        certificate.and_then(|certificate| certificate.tbs_certificate().subject_public_key_info().to_der().ok());
    let text = base64(&info.unwrap_or_default());
    let lines: Vec<&str> = (0..text.len()).step_by(64).map(|at| &text[at..text.len().min(at + 64)]).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// The key set: each key with the issuer it may sign for (MICROSOFT 1.5).
pub(crate) fn key_set(issuer: &str) -> Value {
    let entry = |published: &PublishedKey, issuer: &str| {
        let mut jwk = published.key.jwk();
        jwk["x5c"] = json!([base64(&published.certificate)]);
        jwk["issuer"] = issuer.into();
        jwk
    };
    json!({"keys": [entry(&ENTRA, issuer), entry(&OTHER_ISSUER, PERSONAL_ACCOUNTS)]})
}

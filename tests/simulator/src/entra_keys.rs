//! Entra's signing key. A test key: made for this simulator and published with it.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};

use crate::jwt::{SigningKey, base64, base64url, pem_bytes};

const KEY: &str = include_str!("../keys/entra-signing-test-key.pem");
const CERTIFICATE: &str = include_str!("../keys/entra-signing-test-certificate.pem");

static CERTIFICATE_DER: LazyLock<Vec<u8>> = LazyLock::new(|| pem_bytes(CERTIFICATE).unwrap_or_default());

#[expect(clippy::expect_used, reason = "the key is compiled in, and every test signs with it")]
static SIGNING_KEY: LazyLock<SigningKey> = LazyLock::new(|| {
    // Entra names a key by the SHA-1 thumbprint of its certificate.
    let thumbprint = base64url(digest(&SHA1_FOR_LEGACY_USE_ONLY, &CERTIFICATE_DER).as_ref());
    SigningKey::from_pem(KEY, &thumbprint).expect("the embedded test key is PKCS#8")
});

pub(crate) fn signing_key() -> &'static SigningKey {
    &SIGNING_KEY
}

/// The key as the key set publishes it, with the issuer it may sign for (MICROSOFT 1.5).
pub(crate) fn published(issuer: &str) -> Value {
    let mut jwk = signing_key().jwk();
    jwk["x5c"] = json!([base64(&CERTIFICATE_DER)]);
    jwk["issuer"] = issuer.into();
    jwk
}

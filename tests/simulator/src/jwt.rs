//! JSON Web Tokens taken apart and put together, and RSA keys in the forms they come in.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::alphabet::{STANDARD, URL_SAFE};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde_json::{Value, json};

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_encode_padding(false).with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);
const BASE64: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);

/// A token in its compact form, taken apart but not yet believed.
#[derive(Debug)]
pub(crate) struct Jwt<'a> {
    pub(crate) header: Value,
    pub(crate) claims: Value,
    signed: &'a str,
    signature: Vec<u8>,
}

impl<'a> Jwt<'a> {
    pub(crate) fn parse(token: &'a str) -> Option<Self> {
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let part = |text: &str| serde_json::from_slice(&from_base64url(text)?).ok().filter(Value::is_object);
        Some(Self { header: part(header)?, claims: part(claims)?, signed, signature: from_base64url(signature)? })
    }

    pub(crate) fn algorithm(&self) -> &str {
        self.header["alg"].as_str().unwrap_or_default()
    }

    pub(crate) fn text(&self, claim: &str) -> &str {
        self.claims[claim].as_str().unwrap_or_default()
    }

    /// Seconds since 1970; fractions are cut off.
    pub(crate) fn seconds(&self, claim: &str) -> Option<i64> {
        let claim = &self.claims[claim];
        claim.as_i64().or_else(|| claim.as_f64().map(|seconds| seconds as i64))
    }

    /// Whether `key` made the signature with the algorithm the header names: RS256 or PS256, no other.
    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        let algorithm = match self.algorithm() {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            _ => return false,
        };
        match key {
            PublicKey::Der(der) => {
                UnparsedPublicKey::new(algorithm, der).verify(self.signed.as_bytes(), &self.signature)
            }
            PublicKey::Components { n, e } => {
                RsaPublicKeyComponents { n, e }.verify(algorithm, self.signed.as_bytes(), &self.signature)
            }
        }
        .is_ok()
    }
}

/// An RSA public key: PKCS#1 DER as a certificate holds it, or the numbers of a JSON Web Key.
#[derive(Clone, Debug)]
pub(crate) enum PublicKey {
    Der(Vec<u8>),
    Components { n: Vec<u8>, e: Vec<u8> },
}

impl PublicKey {
    pub(crate) fn from_jwk(jwk: &Value) -> Option<Self> {
        let number = |name: &str| from_base64url(jwk[name].as_str()?);
        (jwk["kty"] == "RSA").then_some(())?;
        Some(Self::Components { n: number("n")?, e: number("e")? })
    }
}

/// An RSA key that signs; RS256 is deterministic, so equal claims give equal tokens.
#[derive(Debug)]
pub struct SigningKey {
    pair: KeyPair,
    key_id: String,
}

impl SigningKey {
    /// From PKCS#8 PEM.
    pub fn from_pem(pem: &str, key_id: &str) -> Option<Self> {
        let pair = KeyPair::from_pkcs8(&pem_bytes(pem)?).ok()?;
        Some(Self { pair, key_id: key_id.into() })
    }

    /// A compact RS256 token with this key's id in its header.
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_with_header(&json!({"typ": "JWT", "alg": "RS256", "x5t": self.key_id, "kid": self.key_id}), claims)
    }

    /// An RS256 signature under whatever header is given.
    pub fn sign_with_header(&self, header: &Value, claims: &Value) -> String {
        let signed =
            format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()));
        let mut signature = vec![0; self.pair.public_modulus_len()];
        // PKCS#1 padding takes no randomness. A key too short for the padding leaves zeros, which verify nowhere.
        let _ = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature);
        format!("{signed}.{}", base64url(&signature))
    }

    /// The name under which the key is published.
    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public half as an entry of a key set.
    pub fn jwk(&self) -> Value {
        let (n, e) = modulus_and_exponent(self.pair.public_key().as_ref()).unwrap_or_default();
        json!({"kty": "RSA", "use": "sig", "kid": self.key_id, "x5t": self.key_id, "n": base64url(&n), "e": base64url(&e)})
    }

    pub(crate) fn public_key(&self) -> PublicKey {
        PublicKey::Der(self.pair.public_key().as_ref().to_vec())
    }
}

/// `RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER }`, both without leading zeros.
fn modulus_and_exponent(pkcs1: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    use x509_cert::der::asn1::UintRef;
    use x509_cert::der::{Decode, Reader, SliceReader, Tag, Tagged};
    let any = x509_cert::der::asn1::AnyRef::from_der(pkcs1).ok()?;
    (any.tag() == Tag::Sequence).then_some(())?;
    let mut reader = SliceReader::new(any.value()).ok()?;
    let modulus: UintRef<'_> = reader.decode().ok()?;
    let exponent: UintRef<'_> = reader.decode().ok()?;
    Some((modulus.as_bytes().to_vec(), exponent.as_bytes().to_vec()))
}

/// The bytes between the first pair of armour lines; text before them is a remark.
pub(crate) fn pem_bytes(pem: &str) -> Option<Vec<u8>> {
    let (_, inner) = pem.split_once("-----BEGIN ")?;
    let (_, inner) = inner.split_once("-----\n").or_else(|| inner.split_once("-----\r\n"))?;
    let (inner, _) = inner.split_once("-----END ")?;
    let packed: String = inner.split_whitespace().collect();
    BASE64.decode(packed).ok()
}

pub(crate) fn base64url(bytes: &[u8]) -> String {
    BASE64URL.encode(bytes)
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    BASE64URL.decode(text).ok()
}

/// Either alphabet, padded or not.
pub(crate) fn from_any_base64(text: &str) -> Option<Vec<u8>> {
    BASE64URL.decode(text).or_else(|_| BASE64.decode(text)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_pem(include_str!("../tests/keys/issuer-test-key.pem"), "k").unwrap()
    }

    #[test]
    fn a_signed_token_verifies_with_the_published_key_and_in_no_other_way() {
        let claims = json!({"sub": "s", "exp": 12.9});
        let token = key().sign(&claims);
        let jwt = Jwt::parse(&token).unwrap();
        let published = PublicKey::from_jwk(&key().jwk()).unwrap();
        assert!(jwt.is_signed_by(&published) && jwt.is_signed_by(&key().public_key()));
        assert!(!jwt.is_signed_by(&crate::entra_keys::signing_key().public_key()));
        for algorithm in ["none", "HS256", "PS256", "RS512", "rs256"] {
            let token = key().sign_with_header(&json!({"alg": algorithm}), &claims);
            assert!(!Jwt::parse(&token).unwrap().is_signed_by(&published), "{algorithm}");
        }
        assert_eq!((jwt.text("sub"), jwt.seconds("exp"), jwt.seconds("nbf")), ("s", Some(12), None));
    }

    #[test]
    fn what_is_not_a_token_is_none() {
        for text in ["", "a.b", "e30.e30", "e30.W10.e30", "e30.e30.e30.e30", "e30.e30.*"] {
            assert!(Jwt::parse(text).is_none(), "{text}");
        }
        assert!(Jwt::parse("e30.e30.").is_some());
    }

    #[test]
    fn armour_comes_off_with_any_line_ends_and_remarks_before_it() {
        for pem in
            ["-----BEGIN X-----\nAAEC\n-----END X-----\n", "remark\r\n-----BEGIN X-----\r\nAA\r\nEC\r\n-----END X-----"]
        {
            assert_eq!(pem_bytes(pem), Some(vec![0, 1, 2]));
        }
        assert_eq!(pem_bytes("AAEC"), None);
        assert!(SigningKey::from_pem("-----BEGIN X-----\nAAEC\n-----END X-----", "k").is_none());
    }
}

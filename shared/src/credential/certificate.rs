//! A certificate and the RSA key that belongs to it: read, judged, made, and signed with (MICROSOFT.md 2.5).

use aws_lc_rs::{digest, rsa, signature::KeyPair};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use x509_cert::{
    Certificate as X509,
    der::{DecodePem, Encode, pem},
};

use crate::secret::Secret;

/// Whoever compares our certificate's beginning with a clock of its own may be this far behind us.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(15);

/// A certificate as it lies in the vault, without its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    thumbprint: String,
    public_key: Vec<u8>,
    pub begins: Timestamp,
    pub ends: Timestamp,
}

impl Certificate {
    /// # Errors
    /// A sentence for whoever gave it.
    pub fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("The certificate is missing; give it as PEM text.".to_owned());
        }
        let unreadable = || "The certificate is no PEM text that begins with -----BEGIN CERTIFICATE-----.".to_owned();
        let certificate = X509::from_pem(text.trim().as_bytes()).map_err(|_| unreadable())?;
        let tbs = certificate.tbs_certificate();
        let at = |time: &x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX);
            Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
        };
        let der = certificate.to_der().map_err(|_| unreadable())?;
        Ok(Self {
            public_key: tbs.subject_public_key_info().subject_public_key.raw_bytes().to_vec(),
            begins: at(&tbs.validity().not_before),
            ends: at(&tbs.validity().not_after),
            thumbprint: thumbprint(&der),
            der,
        })
    }

    /// As Graph takes it.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// What Entra knows it by: the SHA-1 of the certificate, as lower-case hexadecimal digits.
    pub fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.begins <= now && now < self.ends
    }

    /// A JWT signed with this certificate's key: PS256 with `x5t#S256`, as the current documentation asks.
    ///
    /// # Errors
    /// A sentence for the operator, when the key is none.
    pub fn sign(&self, key: &Secret<String>, claims: &impl Serialize) -> Result<Secret<String>, String> {
        let key = jsonwebtoken::EncodingKey::from_rsa_pem(key.expose().trim().as_bytes())
            .map_err(|_| "`credential.private_key_pem` is no PEM RSA private key".to_owned())?;
        let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::PS256);
        header.x5t_s256 = Some(URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, &self.der)));
        let signed = jsonwebtoken::encode(&header, claims, &key);
        signed.map(Secret::new).map_err(|cause| format!("the assertion cannot be signed ({cause})"))
    }
}

/// The SHA-1 of a DER certificate, as lower-case hexadecimal digits: Entra's name for it, never a proof of anything.
pub fn thumbprint(der: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, der);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The certificate, if its key is the one given beside it.
///
/// # Errors
/// Everything that is wrong, as sentences for whoever gave them; nothing of their content is repeated.
pub fn with_its_key(certificate_pem: &str, private_key_pem: &str) -> Result<Certificate, Vec<String>> {
    let (certificate, key) = match (Certificate::read(certificate_pem), read_key(private_key_pem)) {
        (Ok(certificate), Ok(key)) => (certificate, key),
        (certificate, key) => return Err([certificate.err(), key.err()].into_iter().flatten().collect()),
    };
    match certificate.public_key == key.public_key().as_ref() {
        true => Ok(certificate),
        false => Err(vec!["The certificate and the private key do not belong together.".to_owned()]),
    }
}

/// As [`with_its_key`], of one that works at this moment; until when.
///
/// # Errors
/// As [`with_its_key`], and a sentence about the dates.
pub fn judge(certificate_pem: &str, private_key_pem: &str, now: Timestamp) -> Result<Timestamp, Vec<String>> {
    let certificate = with_its_key(certificate_pem, private_key_pem)?;
    match &certificate {
        Certificate { ends, .. } if *ends <= now => {
            Err(vec![format!("The certificate ended on {ends}; give one that is valid.")])
        }
        Certificate { begins, .. } if *begins > now => {
            Err(vec![format!("The certificate is not valid before {begins}.")])
        }
        Certificate { ends, .. } => Ok(*ends),
    }
}

/// Entra takes RSA keys alone for what we sign (PS256).
fn read_key(text: &str) -> Result<rsa::KeyPair, String> {
    if text.trim().is_empty() {
        return Err("The certificate's private key is missing; give it as PEM text.".to_owned());
    }
    let unreadable = || "The private key is no PEM text of an RSA key of 2048 bits or more.".to_owned();
    let (label, der) = pem::decode_vec(text.trim().as_bytes()).map_err(|_| unreadable())?;
    let der = Secret::new(der);
    match label {
        "ENCRYPTED PRIVATE KEY" => Err("The private key is protected by a passphrase; give it without.".to_owned()),
        "PRIVATE KEY" => rsa::KeyPair::from_pkcs8(der.expose()).map_err(|_| unreadable()),
        "RSA PRIVATE KEY" => rsa::KeyPair::from_der(der.expose()).map_err(|_| unreadable()),
        _ => Err(unreadable()),
    }
}

/// A certificate that signs itself, and its key. The key has never been anywhere else.
#[derive(Debug, Clone)]
pub struct Made {
    pub certificate: Certificate,
    pub certificate_pem: String,
    pub private_key_pem: Secret<String>,
}

/// Makes an RSA key of 2048 bits and a certificate of this name for it, valid from a little before `now`.
///
/// # Errors
/// When the machine has no randomness, or `ends` is beyond what a certificate can say.
pub fn make(name: &str, now: Timestamp, ends: Timestamp) -> Result<Made, String> {
    let failed = |cause: rcgen::Error| format!("no certificate can be made here ({cause})");
    let date = |at: Timestamp| {
        time::OffsetDateTime::from_unix_timestamp(at.as_second())
            .map_err(|cause| format!("{at} is no date of a certificate ({cause})"))
    };
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).map_err(failed)?;
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).map_err(failed)?;
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, name);
    parameters.not_before = date(now - CLOCKS_DIFFER)?;
    parameters.not_after = date(ends)?;
    let certificate_pem = parameters.self_signed(&key).map_err(failed)?.pem();
    let certificate = Certificate::read(&certificate_pem)?;
    Ok(Made { certificate, certificate_pem, private_key_pem: Secret::new(key.serialize_pem()) })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    /// A certificate and its key, as PEM; valid from the year `from` to the year `until`.
    pub fn certificate(from: i32, until: i32) -> (String, String) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.not_before = rcgen::date_time_ymd(from, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(until, 1, 1);
        (parameters.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    #[test]
    fn half_a_pem_a_foreign_key_and_a_wrong_date_are_named() {
        let (good, key) = certificate(2026, 2030);
        assert_eq!(judge(&good, &key, noon()), Ok("2030-01-01T00:00:00Z".parse().unwrap()));
        let wrong = |certificate: &str, key: &str| judge(certificate, key, noon()).unwrap_err().join(" ");
        let (other, other_key) = certificate(2026, 2030);
        assert!(wrong(&other, &key).contains("do not belong together"));
        assert!(wrong(&good[..good.len() / 2], &key).contains("no PEM text that begins"));
        assert!(wrong(&good, &other_key[..other_key.len() / 2]).contains("The private key is no PEM text"));
        let (old, old_key) = certificate(2020, 2026);
        assert!(wrong(&old, &old_key).contains("ended on 2026-01-01"));
        let (early, early_key) = certificate(2027, 2030);
        assert!(wrong(&early, &early_key).contains("not valid before 2027-01-01"));
        // Each half in the other's place, and neither.
        for (certificate, key) in [(key.as_str(), good.as_str()), ("", "")] {
            assert_eq!(judge(certificate, key, noon()).unwrap_err().len(), 2);
        }
        let locked = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        assert!(wrong(&good, &locked).contains("passphrase"));
    }

    #[test]
    fn what_is_made_works_at_once_and_until_its_end() {
        let ends = noon() + SignedDuration::from_hours(180 * 24);
        let made = make("muster/0123456789ab/v2", noon(), ends).unwrap();
        assert_eq!(judge(&made.certificate_pem, made.private_key_pem.expose(), noon()), Ok(ends));
        let certificate = &made.certificate;
        assert!(
            certificate.is_valid(noon() - SignedDuration::from_mins(10)),
            "a clock ten minutes behind takes it too"
        );
        assert!(!certificate.is_valid(ends));
        assert_eq!(certificate.thumbprint().len(), 40);
        assert!(!format!("{made:?}").contains("PRIVATE KEY"));
        let token = certificate.sign(&made.private_key_pem, &serde_json::json!({"sub": "x"})).unwrap();
        let header = jsonwebtoken::decode_header(token.expose()).unwrap();
        assert_eq!((header.alg, header.x5t_s256.map(|x5t| x5t.len())), (jsonwebtoken::Algorithm::PS256, Some(43)));
    }
}

//! An application and how it authenticates, as its vault entry says (the vault table in the README).

pub mod candidate;
pub mod certificate;
pub mod check;
pub mod directory;
pub mod entry;
pub mod name;
pub mod ownership;
mod read;
pub mod renewal;
pub mod rotation;
pub mod status;

use serde_json::Value;

use crate::secret::Secret;
use certificate::Certificate;

/// What is said to a secret's id in the place of its value.
const SECRET_ID: &str = "This is the secret's ID. Give its value, which Entra shows only when the secret is made.";

/// An Entra application with one credential.
#[derive(Debug, Clone)]
pub struct Application {
    pub client_id: String,
    pub home_tenant_id: String,
    pub credential: Credential,
}

#[derive(Debug, Clone)]
pub enum Credential {
    /// No secret at all: the platform issues a token that serves as the client assertion, for this audience or else for the
    /// cloud's own.
    Federated {
        audience: Option<String>,
    },
    Certificate {
        certificate: Certificate,
        private_key_pem: Secret<String>,
    },
    ClientSecret {
        value: Secret<String>,
    },
}

/// What an entry lacks, each thing named, nothing of its content repeated.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the vault entry is not usable: {}", .0.join("; ").trim_end_matches('.'))]
pub struct Malformed(pub Vec<String>);

impl Application {
    /// # Errors
    /// [`Malformed`] naming every missing or wrong field at once.
    pub fn parse(text: &Secret<String>) -> Result<Self, Malformed> {
        let value: Value = serde_json::from_str(text.expose()).map_err(|cause| {
            Malformed(vec![format!("it is not JSON (line {}, column {})", cause.line(), cause.column())])
        })?;
        let mut missing = Vec::new();
        let mut id = |field: &str| match value.get(field).and_then(Value::as_str) {
            Some(text) if is_guid(text) => text.to_ascii_lowercase(),
            Some(_) => {
                missing.push(format!("`{field}` is not a GUID"));
                String::new()
            }
            None => {
                missing.push(format!("`{field}` is missing"));
                String::new()
            }
        };
        let (client_id, home_tenant_id) = (id("client_id"), id("home_tenant_id"));
        let credential = match value.get("credential") {
            None => Err(vec!["`credential` is missing".to_owned()]),
            Some(credential) => Credential::parse(credential),
        };
        match credential {
            Ok(credential) if missing.is_empty() => Ok(Self { client_id, home_tenant_id, credential }),
            Ok(_) => Err(Malformed(missing)),
            Err(more) => {
                missing.extend(more);
                Err(Malformed(missing))
            }
        }
    }
}

impl Credential {
    /// What can be told without a clock: every field is there, and a certificate has its own key beside it.
    fn parse(value: &Value) -> Result<Self, Vec<String>> {
        let mut missing = Vec::new();
        let mut field = |name: &str| match value.get(name).and_then(Value::as_str).map(str::trim) {
            Some(text) if !text.is_empty() => text.to_owned(),
            _ => {
                missing.push(format!("`credential.{name}` is missing"));
                String::new()
            }
        };
        let credential = match value.get("kind").and_then(Value::as_str) {
            Some("client_secret") => {
                let value = field("value");
                // Entra shows both side by side, and the value only once. No value has the form of a GUID.
                if is_guid(&value) {
                    return Err(vec![SECRET_ID.to_owned()]);
                }
                Self::ClientSecret { value: Secret::new(value) }
            }
            Some("certificate") => {
                let (certificate_pem, private_key_pem) = (field("certificate_pem"), field("private_key_pem"));
                if !missing.is_empty() {
                    return Err(missing);
                }
                let certificate = certificate::with_its_key(&certificate_pem, &private_key_pem)?;
                Self::Certificate { certificate, private_key_pem: Secret::new(private_key_pem) }
            }
            Some("federated") => {
                Self::Federated { audience: value.get("audience").and_then(Value::as_str).map(str::to_owned) }
            }
            Some(other) => {
                return Err(vec![format!(
                    "`credential.kind` is `{}`; it must be client_secret, certificate or federated",
                    other.escape_default()
                )]);
            }
            None => return Err(vec!["`credential.kind` is missing".to_owned()]),
        };
        if missing.is_empty() { Ok(credential) } else { Err(missing) }
    }
}

fn is_guid(text: &str) -> bool {
    text.len() == 36 && uuid::Uuid::try_parse(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Application, Malformed> {
        Application::parse(&Secret::new(text.to_owned()))
    }

    #[test]
    fn half_a_vault_entry_is_named_whole() {
        let id = "00000000-0000-4000-8000-000000000001";
        for (text, expected) in [
            ("{", vec!["it is not JSON (line 1, column 1)"]),
            ("{}", vec!["`client_id` is missing", "`home_tenant_id` is missing", "`credential` is missing"]),
            (
                r#"{"client_id":"x","home_tenant_id":"00000000-0000-4000-8000-000000000001","credential":{}}"#,
                vec!["`client_id` is not a GUID", "`credential.kind` is missing"],
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), Malformed(expected.iter().map(|t| (*t).to_owned()).collect()));
        }
        let entry = |credential: &str| {
            parse(&format!(r#"{{"client_id":"{id}","home_tenant_id":"{id}","credential":{credential}}}"#))
        };
        assert_eq!(
            entry(r#"{"kind":"certificate","certificate_pem":"x"}"#).unwrap_err().to_string(),
            "the vault entry is not usable: `credential.private_key_pem` is missing"
        );
        assert!(entry(r#"{"kind":"client_secret","value":"  "}"#).is_err());
        assert!(entry(r#"{"kind":"password","value":"x"}"#).is_err());
        assert!(entry(r#"{"kind":"client_secret","value":"x","key_id":"k","later":1}"#).is_ok());
        let pasted = entry(&format!(r#"{{"kind":"client_secret","value":"{id}"}}"#)).unwrap_err().to_string();
        assert!(pasted.contains("secret's ID") && !pasted.contains(id), "{pasted}");
        let half = r#"{"kind":"certificate","certificate_pem":"-----BEGIN CERTIFICATE-----","private_key_pem":"x"}"#;
        let half = entry(half).unwrap_err().to_string();
        assert!(half.contains("certificate is no PEM") && half.contains("private key is no PEM"), "{half}");
    }

    #[test]
    fn an_error_never_repeats_the_secret() {
        let error = parse(r#"{"client_id":"canary-7f3a","credential":{"kind":"client_secret","value":"canary-7f3a"}}"#);
        assert!(!error.unwrap_err().to_string().contains("canary-7f3a"));
    }
}

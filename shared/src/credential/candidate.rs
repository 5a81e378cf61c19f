//! An application that somebody has just given us: judged as far as it goes without asking anybody, then tried for real
//! before it is stored.

use std::sync::Arc;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{SECRET_ID, certificate, entry::Entry, is_guid};
use crate::{
    App,
    microsoft::{time, tokens::Tokens},
    ports::vault::{Description, Stage, Vault, VaultError, Version},
    secret::Secret,
    tenant::{
        TenantId,
        missing::{Field, Missing},
    },
};

/// An entry that is well formed, and not stored yet.
#[derive(Debug)]
pub struct Candidate {
    pub entry: Entry,
    /// As it is going to lie in the vault.
    pub text: Secret<String>,
}

impl Candidate {
    /// Reads `{"client_id","home_tenant_id"?,"credential"}`; without a home tenant it is this tenant's own. A certificate's
    /// end is written down beside it.
    ///
    /// # Errors
    /// Everything that is wrong, each beside its field, nothing of its content repeated.
    pub fn read(text: &Secret<String>, tenant: TenantId, now: Timestamp) -> Result<Self, Vec<Missing>> {
        let fields: Result<Map<String, Value>, _> = serde_json::from_str(text.expose());
        let mut fields =
            fields.map_err(|_| vec![Missing::of(Field::Credential, "The application is no JSON object.")])?;
        fields.entry("home_tenant_id").or_insert_with(|| json!(tenant));
        let mut missing = Vec::new();
        let is_id = |name: &str| fields.get(name).and_then(Value::as_str).is_some_and(is_guid);
        if !is_id("client_id") {
            let detail = "Give the application (client) ID: a GUID, from the application's overview page in Entra.";
            missing.push(Missing::of(Field::ClientId, detail));
        }
        if !is_id("home_tenant_id") {
            missing.push(Missing::of(Field::TenantId, "The application's home tenant is no GUID."));
        }
        let judged = match fields.get("credential") {
            Some(credential) => judge(credential, now),
            None => Err(vec![GIVE_ONE.to_owned()]),
        };
        match judged {
            Ok(Some(end)) if fields["credential"].get("expires_at").is_none() => {
                fields["credential"]["expires_at"] = end.to_string().into();
            }
            Ok(_) => {}
            Err(wrong) => missing.extend(wrong.into_iter().map(|detail| Missing::of(Field::Credential, detail))),
        }
        if !missing.is_empty() {
            return Err(missing);
        }
        let text = Secret::new(Value::Object(fields).to_string());
        let entry = Entry::parse(&text);
        let entry = entry.map_err(|malformed| vec![Missing::of(Field::Credential, malformed.to_string())])?;
        Ok(Self { entry, text })
    }

    /// A refusal of Entra's, for whoever has just filled in the fields.
    pub fn in_words_of_a_form(&self, missing: Missing, tenant: TenantId) -> Missing {
        let Some(code) = missing.code else { return missing };
        let client_id = &self.entry.application.client_id;
        let detail = match (missing.field, code) {
            (Field::Credential, 7_000_222) => {
                format!("This client secret has expired (AADSTS{code}); make a new one in Entra and give its value.")
            }
            (Field::Credential, 7_000_215) => format!(
                "Entra does not take this client secret (AADSTS{code}). Give its value and not its ID, and make sure that it \
                 belongs to the application {client_id}; one that was just made may take a minute to work."
            ),
            (Field::Credential, 700_027) => format!(
                "Entra does not take this certificate (AADSTS{code}): upload it to the application {client_id} (Certificates & \
                 secrets) first."
            ),
            (Field::Credential, _) => format!("Entra does not take this credential (AADSTS{code})."),
            (Field::ClientId, 700_016 | 7_000_229) => format!(
                "Entra knows no application {client_id} in the tenant {tenant} (AADSTS{code}); compare both IDs with the \
                 application's overview page."
            ),
            (Field::TenantId, 90_002) => format!("Entra knows no tenant {tenant} (AADSTS{code})."),
            _ => return missing,
        };
        Missing { detail, ..missing }
    }

    /// The app of a trial: it finds this application in the vault under `name`, keeps tokens of its own, and stores nothing.
    pub fn trial(&self, app: &App, name: &str) -> App {
        let version = Version { id: "candidate".to_owned(), value: self.text.clone() };
        let vault = Arc::new(Trial { vault: app.ports.vault.clone(), name: name.to_owned(), version });
        let identity = app.ports.identity.clone();
        let tokens = Tokens::new(app.http.clone(), vault, identity, app.config.clone(), app.clock.clone());
        App { tokens: Arc::new(tokens), ..app.clone() }
    }
}

const GIVE_ONE: &str = "Give a client secret or a certificate, or say that the credential is federated.";

/// Whether a credential can work at all. Of a certificate, when it ends.
fn judge(credential: &Value, now: Timestamp) -> Result<Option<Timestamp>, Vec<String>> {
    let text = |name: &str| credential.get(name).and_then(Value::as_str).map(str::trim).unwrap_or_default();
    let told_end = credential.get("expires_at").and_then(Value::as_str);
    let mut wrong = Vec::new();
    match told_end.map(time::parse) {
        Some(None) => wrong.push("The end of the credential is no time, as in 2027-05-01T00:00:00Z.".to_owned()),
        Some(Some(end)) if end <= now => wrong.push(format!("This credential ended on {end}; give one that is valid.")),
        _ => {}
    }
    let mut end = None;
    match text("kind") {
        "client_secret" => wrong.extend(judge_secret(text("value"))),
        "certificate" => match certificate::judge(text("certificate_pem"), text("private_key_pem"), now) {
            Ok(until) => end = Some(until),
            Err(more) => wrong.extend(more),
        },
        "" => wrong.push(GIVE_ONE.to_owned()),
        // The platform's token is tried with the rest.
        "federated" => {}
        _ => wrong.push(format!("This kind of credential is not known. {GIVE_ONE}")),
    }
    if wrong.is_empty() { Ok(end) } else { Err(wrong) }
}

fn judge_secret(value: &str) -> Option<String> {
    if value.is_empty() {
        return Some("The client secret's value is missing.".to_owned());
    }
    is_guid(value).then(|| SECRET_ID.to_owned())
}

/// A vault in which one name holds something else, for as long as it is tried.
#[derive(Debug)]
struct Trial {
    vault: Arc<dyn Vault>,
    name: String,
    version: Version,
}

impl Trial {
    fn nothing_is_stored() -> VaultError {
        VaultError::InvalidRequest("a trial changes nothing".to_owned())
    }
}

#[async_trait]
impl Vault for Trial {
    async fn read(&self, name: &str, stage: Stage, version: Option<&str>) -> Result<Version, VaultError> {
        match stage {
            _ if name != self.name => self.vault.read(name, stage, version).await,
            Stage::Current => Ok(self.version.clone()),
            // What was stored before must not stand in for what is tried.
            Stage::Pending | Stage::Previous => Err(VaultError::NotFound(format!("{name} {}", stage.label()))),
        }
    }

    async fn put(&self, _: &str, _: &str, _: &Secret<String>, _: &[Stage], _: Option<&str>) -> Result<(), VaultError> {
        Err(Self::nothing_is_stored())
    }

    async fn promote(&self, _: &str, _: &str, _: &str) -> Result<(), VaultError> {
        Err(Self::nothing_is_stored())
    }

    async fn describe(&self, name: &str) -> Result<Description, VaultError> {
        self.vault.describe(name).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, VaultError> {
        self.vault.list(prefix).await
    }

    async fn remove(&self, _: &str) -> Result<Option<Timestamp>, VaultError> {
        Err(Self::nothing_is_stored())
    }

    async fn restore(&self, _: &str) -> Result<bool, VaultError> {
        Err(Self::nothing_is_stored())
    }
}

#[cfg(test)]
mod tests {
    use super::{super::certificate::tests::certificate, *};

    const ID: &str = "a0000000-0000-4000-8000-00000000c11e";

    fn noon() -> Timestamp {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn read(value: &Value) -> Result<Candidate, Vec<(Field, String)>> {
        let tenant = "a0000000-0000-4000-8000-0000000000aa".parse().unwrap();
        let candidate = Candidate::read(&Secret::new(value.to_string()), tenant, noon());
        candidate.map_err(|missing| missing.into_iter().map(|one| (one.field, one.detail)).collect())
    }

    fn wrong(credential: &Value) -> Vec<String> {
        let missing = read(&json!({"client_id": ID, "credential": credential})).unwrap_err();
        assert!(missing.iter().all(|(field, _)| *field == Field::Credential), "{missing:?}");
        missing.into_iter().map(|(_, detail)| detail).collect()
    }

    fn of_certificate(certificate: &str, key: &str) -> Value {
        json!({"kind": "certificate", "certificate_pem": certificate, "private_key_pem": key})
    }

    #[test]
    fn every_mistake_is_named_at_once_beside_its_field() {
        let missing = read(&json!({"client_id": "Muster", "home_tenant_id": "contoso.com"})).unwrap_err();
        let fields: Vec<Field> = missing.iter().map(|(field, _)| *field).collect();
        assert_eq!(fields, [Field::ClientId, Field::TenantId, Field::Credential]);
        assert_eq!(missing[2].1, GIVE_ONE);
        assert_eq!(wrong(&json!({"kind": ""})), [GIVE_ONE], "a form in which nothing is chosen");
        assert_eq!(read(&json!([])).unwrap_err().len(), 1);
        for (credential, expected) in [
            (json!({}), "Give a client secret"),
            (json!({"kind": "password", "value": "x"}), "not known"),
            (json!({"kind": "client_secret", "value": " "}), "value is missing"),
            (json!({"kind": "client_secret", "value": ID}), "This is the secret's ID"),
            (
                json!({"kind": "client_secret", "value": "x", "expires_at": "2026-11-22T12:00:00Z"}),
                "ended on 2026-11-22",
            ),
            (json!({"kind": "client_secret", "value": "x", "expires_at": "May"}), "is no time"),
            (json!({"kind": "certificate", "certificate_pem": "x"}), "no PEM text that begins"),
        ] {
            let wrong = wrong(&credential);
            assert!(wrong[0].contains(expected), "{credential}: {wrong:?}");
        }
    }

    #[test]
    fn a_certificates_end_is_written_down_beside_it() {
        let (good, key) = certificate(2026, 2030);
        let candidate = read(&json!({"client_id": ID, "credential": of_certificate(&good, &key)})).unwrap();
        assert_eq!(candidate.entry.expires_at, Some("2030-01-01T00:00:00Z".parse().unwrap()));
        let (other, _) = certificate(2026, 2030);
        assert!(wrong(&of_certificate(&other, &key))[0].contains("do not belong together"));
    }

    #[test]
    fn what_is_given_is_kept_and_the_tenant_is_its_home() {
        let value = json!({"client_id": ID, "credential": {"kind": "client_secret", "value": "x", "note": "Kim's"}});
        let candidate = read(&value).unwrap();
        assert_eq!(candidate.entry.application.home_tenant_id, "a0000000-0000-4000-8000-0000000000aa");
        assert!(candidate.text.expose().contains("Kim's"));
        assert!(!format!("{candidate:?}").contains("Kim's"));
    }
}

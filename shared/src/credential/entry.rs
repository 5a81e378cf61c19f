//! An entry of the vault, read for rotating: the application, and what is known of its credential at Entra.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Application, Credential, Malformed};
use crate::{microsoft::time, secret::Secret};

/// One version of an entry.
#[derive(Debug, Clone)]
pub struct Entry {
    pub application: Application,
    /// Entra's id of the credential, where somebody has named it.
    pub key_id: Option<String>,
    pub expires_at: Option<Timestamp>,
    /// Credentials that were ours without bearing our stamp: the hand-made ones, remembered until Entra has them no more.
    pub retired_key_ids: Vec<String>,
    text: Secret<String>,
}

/// A secret that Graph has just made.
#[derive(Debug)]
pub struct NewSecret<'a> {
    pub value: &'a Secret<String>,
    pub key_id: &'a str,
    pub expires_at: Timestamp,
}

impl Entry {
    /// # Errors
    /// [`Malformed`], as [`Application::parse`].
    pub fn parse(text: &Secret<String>) -> Result<Self, Malformed> {
        let application = Application::parse(text)?;
        let fields = fields(text);
        let credential = fields.get("credential");
        let field = |name: &str| credential?.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty());
        let retired = fields.get("retired_key_ids").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            application,
            key_id: field("key_id").map(str::to_ascii_lowercase),
            expires_at: field("expires_at").and_then(time::parse),
            retired_key_ids: retired.filter_map(Value::as_str).map(str::to_ascii_lowercase).collect(),
            text: text.clone(),
        })
    }

    /// The client secret, if that is what the entry holds.
    pub fn secret(&self) -> Option<&Secret<String>> {
        match &self.application.credential {
            Credential::ClientSecret { value } => Some(value),
            Credential::Certificate { .. } | Credential::Federated { .. } => None,
        }
    }

    /// Whether both are credentials of one application in one home tenant.
    pub fn is_same_principal(&self, other: &Self) -> bool {
        let principal = |entry: &Self| (entry.application.client_id.clone(), entry.application.home_tenant_id.clone());
        principal(self) == principal(other)
    }

    /// Whether the secret could be the one of which Graph shows these first characters. Without a hint it could.
    pub fn fits(&self, hint: Option<&str>) -> bool {
        let secret = self.secret();
        hint.is_none_or(|hint| secret.is_none_or(|secret| secret.expose().starts_with(hint)))
    }

    /// This entry with another secret; every field we do not know is kept.
    pub fn with_secret(&self, new: &NewSecret<'_>, retired_key_ids: &[String]) -> Secret<String> {
        let mut fields = fields(&self.text);
        let mut credential = match fields.remove("credential") {
            Some(Value::Object(credential)) => credential,
            _ => Map::new(),
        };
        credential.insert("kind".to_owned(), json!("client_secret"));
        credential.insert("value".to_owned(), json!(new.value.expose()));
        credential.insert("key_id".to_owned(), json!(new.key_id));
        credential.insert("expires_at".to_owned(), json!(new.expires_at.to_string()));
        fields.insert("credential".to_owned(), Value::Object(credential));
        fields.remove("retired_key_ids");
        if !retired_key_ids.is_empty() {
            fields.insert("retired_key_ids".to_owned(), json!(retired_key_ids));
        }
        Secret::new(Value::Object(fields).to_string())
    }
}

impl Credential {
    /// As the entry's `credential.kind` calls it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Federated { .. } => "federated",
            Self::Certificate { .. } => "certificate",
            Self::ClientSecret { .. } => "client_secret",
        }
    }
}

fn fields(text: &Secret<String>) -> Map<String, Value> {
    serde_json::from_str(text.expose()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "a0000000-0000-4000-8000-00000000c11e";

    fn entry(credential: &Value, more: &Value) -> Entry {
        let mut whole = json!({"client_id": ID, "home_tenant_id": ID, "credential": credential});
        whole.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Entry::parse(&Secret::new(whole.to_string())).unwrap()
    }

    #[test]
    fn a_new_secret_takes_the_place_of_the_old_one_and_everything_else_stays() {
        let old = entry(
            &json!({"kind": "client_secret", "value": "old", "note": "made by Kim"}),
            &json!({"later": {"x": 1}, "retired_key_ids": ["K0"]}),
        );
        assert_eq!((old.key_id.clone(), old.retired_key_ids.clone()), (None, vec!["k0".to_owned()]));
        let expires_at = "2027-05-01T00:00:00Z".parse().unwrap();
        let new = NewSecret { value: &Secret::new("new".to_owned()), key_id: "k1", expires_at };
        let text = old.with_secret(&new, &["k0".to_owned()]);
        let value: Value = serde_json::from_str(text.expose()).unwrap();
        assert_eq!(
            value,
            json!({
                "client_id": ID, "home_tenant_id": ID, "later": {"x": 1}, "retired_key_ids": ["k0"],
                "credential": {"kind": "client_secret", "value": "new", "key_id": "k1",
                    "expires_at": "2027-05-01T00:00:00Z", "note": "made by Kim"},
            })
        );
        let new = Entry::parse(&text).unwrap();
        assert_eq!((new.key_id.as_deref(), new.expires_at), (Some("k1"), Some(expires_at)));
        assert!(new.is_same_principal(&old) && new.fits(Some("new")) && !new.fits(Some("old")) && new.fits(None));
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        for text in ["2027-05-01", "2027-05-01T00:00:00Z", "2027-05-01T00:00:00.0000000Z"] {
            let credential =
                json!({"kind": "certificate", "certificate_pem": "c", "private_key_pem": "p", "expires_at": text});
            assert_eq!(entry(&credential, &json!({})).expires_at, "2027-05-01T00:00:00Z".parse().ok(), "{text}");
        }
    }
}

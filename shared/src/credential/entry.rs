//! An entry of the vault, read for rotating: the application, and what is known of its credential at Entra.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Application, Credential, Malformed,
    certificate::{Certificate, Made},
};
use crate::{
    microsoft::{
        graph::{Registered, What},
        time,
    },
    secret::Secret,
};

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

/// What takes the place of an entry's credential.
#[derive(Debug, Clone, Copy)]
pub enum NewCredential<'a> {
    /// A secret that Graph has just made.
    Secret { value: &'a Secret<String>, key_id: &'a str, expires_at: Timestamp },
    /// A certificate that we have just made. Nobody knows its key id before it is registered.
    Certificate(&'a Made),
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
        let expires_at = match &application.credential {
            // Whatever somebody has written beside it, a certificate says itself when it ends.
            Credential::Certificate { certificate, .. } => Some(certificate.ends),
            Credential::ClientSecret { .. } | Credential::Federated { .. } => field("expires_at").and_then(time::parse),
        };
        Ok(Self {
            application,
            key_id: field("key_id").map(str::to_ascii_lowercase),
            expires_at,
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

    /// The certificate and its key, if that is what the entry holds.
    pub fn certificate(&self) -> Option<(&Certificate, &Secret<String>)> {
        match &self.application.credential {
            Credential::Certificate { certificate, private_key_pem } => Some((certificate, private_key_pem)),
            Credential::ClientSecret { .. } | Credential::Federated { .. } => None,
        }
    }

    /// Whether the entry holds something that Entra has a record of and an end for. A federated credential is neither
    /// held nor made.
    pub fn holds_a_credential(&self) -> bool {
        self.application.credential.is_held()
    }

    /// Whether what the entry holds could be this, as far as Entra shows it: the first characters of a secret, the
    /// thumbprint of a certificate.
    pub fn fits(&self, registered: &Registered) -> bool {
        match (&self.application.credential, &registered.what) {
            (Credential::ClientSecret { value }, What::Password { hint }) => {
                hint.as_ref().is_none_or(|hint| value.expose().starts_with(hint))
            }
            (Credential::Certificate { certificate, .. }, What::Certificate { thumbprint, .. }) => {
                thumbprint.as_ref().is_none_or(|thumbprint| thumbprint == certificate.thumbprint())
            }
            _ => false,
        }
    }

    /// Whether the entry lives by this, as far as can be known. People mistype key ids, so any secret that fits may be it,
    /// whatever the entry names; of a certificate the thumbprint says it.
    pub fn lives_by(&self, registered: &Registered) -> bool {
        let is_named = self.key_id.as_deref().is_some_and(|key_id| key_id.eq_ignore_ascii_case(&registered.key_id));
        let is_the_certificate = self.certificate().is_some_and(|(own, _)| registered.has_thumbprint(own.thumbprint()));
        let may_be_the_secret = matches!(&registered.what, What::Password { hint: Some(_) }) && self.fits(registered);
        is_named || is_the_certificate || may_be_the_secret
    }

    /// What identifies the credential at Entra, as far as the entry knows: key id and thumbprint.
    pub fn identities(&self) -> impl Iterator<Item = &str> {
        let thumbprint = self.certificate().map(|(certificate, _)| certificate.thumbprint());
        self.key_id.as_deref().into_iter().chain(thumbprint)
    }

    /// This entry with another credential of the same kind; every field that we do not know is kept.
    pub fn with(&self, new: NewCredential<'_>, retired_key_ids: Vec<String>) -> Self {
        let mut fields = fields(&self.text);
        let mut credential = match fields.remove("credential") {
            Some(Value::Object(credential)) => credential,
            _ => Map::new(),
        };
        let mut keep = |name: &str, value: &str| credential.insert(name.to_owned(), json!(value));
        let (new, key_id, expires_at) = match new {
            NewCredential::Secret { value, key_id, expires_at } => {
                keep("value", value.expose());
                keep("key_id", key_id);
                let key_id = Some(key_id.to_ascii_lowercase());
                (Credential::ClientSecret { value: value.clone() }, key_id, expires_at)
            }
            NewCredential::Certificate(Made { certificate, certificate_pem, private_key_pem }) => {
                keep("certificate_pem", certificate_pem);
                keep("private_key_pem", private_key_pem.expose());
                let (certificate, private_key_pem) = (certificate.clone(), private_key_pem.clone());
                let ends = certificate.ends;
                (Credential::Certificate { certificate, private_key_pem }, None, ends)
            }
        };
        keep("kind", new.kind());
        keep("expires_at", &expires_at.to_string());
        if key_id.is_none() {
            credential.remove("key_id");
        }
        fields.insert("credential".to_owned(), Value::Object(credential));
        fields.remove("retired_key_ids");
        if !retired_key_ids.is_empty() {
            fields.insert("retired_key_ids".to_owned(), json!(retired_key_ids));
        }
        Self {
            application: Application { credential: new, ..self.application.clone() },
            key_id,
            expires_at: Some(expires_at),
            retired_key_ids,
            text: Secret::new(Value::Object(fields).to_string()),
        }
    }

    /// As it lies in the vault.
    pub fn text(&self) -> &Secret<String> {
        &self.text
    }
}

impl Credential {
    /// Whether it is something that is held, and ends; a federated one is asked for anew at each token.
    pub fn is_held(&self) -> bool {
        !matches!(self, Self::Federated { .. })
    }

    /// As people read it.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Federated { .. } => "federated credential",
            Self::Certificate { .. } => "certificate",
            Self::ClientSecret { .. } => "client secret",
        }
    }

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
    use super::{
        super::certificate::{self, tests::certificate},
        *,
    };

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
        let new = NewCredential::Secret { value: &Secret::new("new".to_owned()), key_id: "K1", expires_at };
        let new = old.with(new, vec!["k0".to_owned()]);
        let value: Value = serde_json::from_str(new.text().expose()).unwrap();
        assert_eq!(
            value,
            json!({
                "client_id": ID, "home_tenant_id": ID, "later": {"x": 1}, "retired_key_ids": ["k0"],
                "credential": {"kind": "client_secret", "value": "new", "key_id": "K1",
                    "expires_at": "2027-05-01T00:00:00Z", "note": "made by Kim"},
            })
        );
        assert_eq!((new.key_id.as_deref(), new.expires_at), (Some("k1"), Some(expires_at)));
        assert!(new.is_same_principal(&old));
        as_read_again(&new);
    }

    /// What is made of an entry is what the vault's next reader makes of it.
    fn as_read_again(entry: &Entry) {
        let again = Entry::parse(entry.text()).unwrap();
        assert_eq!(format!("{entry:?}"), format!("{again:?}"));
    }

    #[test]
    fn a_new_certificate_leaves_the_old_ones_key_id_behind() {
        let (certificate_pem, private_key_pem) = certificate(2026, 2030);
        let pair = json!({"kind": "certificate", "certificate_pem": certificate_pem, "private_key_pem": private_key_pem,
            "key_id": "k1", "expires_at": "2026-01-01"});
        let old = entry(&pair, &json!({}));
        assert_eq!(old.expires_at, "2030-01-01T00:00:00Z".parse().ok(), "as the certificate itself says");
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let made = certificate::make("muster/x/v2", now, "2027-05-01T00:00:00Z".parse().unwrap()).unwrap();
        let new = old.with(NewCredential::Certificate(&made), vec!["k1".to_owned()]);
        assert_eq!((new.key_id.clone(), new.expires_at), (None, Some(made.certificate.ends)));
        assert_eq!(new.identities().collect::<Vec<_>>(), [made.certificate.thumbprint()]);
        as_read_again(&new);
    }

    fn registered(key_id: &str, what: What) -> Registered {
        Registered { key_id: key_id.to_owned(), display_name: None, start: None, end: None, what }
    }

    #[test]
    fn what_an_entry_lives_by_is_known_by_id_by_hint_and_by_thumbprint() {
        let password =
            |key_id: &str, hint: Option<&str>| registered(key_id, What::Password { hint: hint.map(str::to_owned) });
        let key = |key_id: &str, thumbprint: Option<String>| {
            registered(key_id, What::Certificate { thumbprint, listed: Value::Null })
        };
        let secret = |more: &Value| {
            let mut credential = json!({"kind": "client_secret", "value": "current"});
            credential.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            entry(&credential, &json!({}))
        };
        let (named, unnamed) = (secret(&json!({"key_id": "K1"})), secret(&json!({})));
        for (entry, registered, fits, lives) in [
            (&named, password("k1", Some("cur")), true, true),
            (&named, password("k1", Some("xyz")), false, true),
            (&named, password("k2", Some("cur")), true, true),
            (&unnamed, password("k2", Some("cur")), true, true),
            (&unnamed, password("k2", None), true, false),
            (&unnamed, password("k2", Some("xyz")), false, false),
            (&unnamed, key("k2", None), false, false),
        ] {
            assert_eq!((entry.fits(&registered), entry.lives_by(&registered)), (fits, lives), "{registered:?}");
        }
        let (certificate_pem, private_key_pem) = certificate(2026, 2030);
        let pair =
            json!({"kind": "certificate", "certificate_pem": certificate_pem, "private_key_pem": private_key_pem});
        let own = entry(&pair, &json!({}));
        let thumbprint = own.certificate().unwrap().0.thumbprint();
        for (registered, fits, lives) in [
            (key("k1", Some(thumbprint.to_owned())), true, true),
            (key("k1", Some("00".repeat(20))), false, false),
            (key("k1", None), true, false),
            (password("k1", Some("cur")), false, false),
        ] {
            assert_eq!((own.fits(&registered), own.lives_by(&registered)), (fits, lives), "{registered:?}");
        }
    }

    #[test]
    fn dates_are_read_as_people_write_them() {
        for text in ["2027-05-01", "2027-05-01T00:00:00Z", "2027-05-01T00:00:00.0000000Z"] {
            let credential = json!({"kind": "client_secret", "value": "x", "expires_at": text});
            assert_eq!(entry(&credential, &json!({})).expires_at, "2027-05-01T00:00:00Z".parse().ok(), "{text}");
        }
    }
}

//! Microsoft Graph, as far as an application's own credentials go (MICROSOFT.md 5): requests, answers, refusals.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use url::Url;

use super::{entra::printable, time};
use crate::{
    credential::certificate::thumbprint,
    http::{HttpError, Request},
    secret::Secret,
};

/// What an application needs in its home tenant, and no more than that, to change its own credentials. It must own
/// itself too (MICROSOFT.md 5.3).
pub const OWN_CREDENTIALS_ROLE: &str = "Application.ReadWrite.OwnedBy";

/// Either lets it. The second one is for every application of the directory, which is more than anybody should give us.
pub const CREDENTIALS_ROLES: [&str; 2] = [OWN_CREDENTIALS_ROLE, "Application.ReadWrite.All"];

/// Whom a proof of possession is for: Azure AD Graph, which is gone in everything but this (MICROSOFT.md 5.4).
const PROOF_AUDIENCE: &str = "00000002-0000-0000-c000-000000000000";
const PROOF_LIFETIME: SignedDuration = SignedDuration::from_mins(10);

/// What an application can be known by, as one replica of Graph's shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// Of the application itself; its client id is another one.
    pub object_id: String,
    pub credentials: Vec<Registered>,
}

/// A password or a certificate of an application: never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// In lower case.
    pub key_id: String,
    pub display_name: Option<String>,
    pub start: Option<Timestamp>,
    pub end: Option<Timestamp>,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    Password {
        /// The first three characters of its text.
        hint: Option<String>,
    },
    Certificate {
        /// SHA-1, as lower-case hexadecimal digits.
        thumbprint: Option<String>,
        /// As it was listed, for whoever has to name it again.
        listed: Value,
    },
}

impl Registered {
    pub fn is_certificate(&self) -> bool {
        matches!(self.what, What::Certificate { .. })
    }

    /// Whether it is the certificate of this thumbprint.
    pub fn has_thumbprint(&self, wanted: &str) -> bool {
        matches!(&self.what, What::Certificate { thumbprint: Some(thumbprint), .. } if thumbprint == wanted)
    }
}

/// A password that has just been made; its text is shown this once.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NewPassword {
    pub key_id: String,
    #[serde(rename = "secretText")]
    pub value: Secret<String>,
    #[serde(rename = "endDateTime", default, deserialize_with = "moment")]
    pub end: Option<Timestamp>,
}

/// Why Graph did not do it, by what a caller does next (MICROSOFT.md 6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GraphError {
    /// 409: another change of the same application is too close. Nothing was done; ask again in seconds.
    #[error("Graph is busy with another change of this application")]
    Concurrent,
    /// 404: unknown, or too new for the replica that was asked. Nothing was done.
    #[error("Graph does not know this application")]
    NotFound,
    /// 401: the token is over, or was never for this. Nothing was done; a fresh one tells which.
    #[error("Graph does not take our token: {0}")]
    Unauthorized(String),
    #[error("Graph asks us to wait")]
    Throttled { retry_after: Option<SignedDuration> },
    /// The credential to be removed is gone already, or this replica does not know it. A later read tells.
    #[error("there is no such credential to remove")]
    NothingToRemove,
    /// 403: the role or the ownership is missing.
    #[error("Graph refuses: {0}")]
    Denied(String),
    /// The home tenant's policy for applications' credentials is in the way.
    #[error("a policy of the home tenant is in the way: {0}")]
    Policy(String),
    /// Graph's own trouble, or no answer. Whether anything was done is unknown.
    #[error("Graph does not answer: {0}")]
    Transient(String),
    #[error("Graph answered HTTP {status} {text}")]
    Unexpected { status: u16, text: String },
}

impl From<HttpError> for GraphError {
    fn from(error: HttpError) -> Self {
        Self::Transient(error.to_string())
    }
}

impl GraphError {
    /// How long to wait before asking again, the `attempt`th time (from 0); `None` when that is no use. A write that may
    /// have been done is not `repeatable`: Graph would do it twice.
    pub fn pause(&self, attempt: u32, repeatable: bool) -> Option<SignedDuration> {
        let seconds = match self {
            // Writes within about a second of each other; whoever else is at work is done soon.
            Self::Concurrent if attempt < 8 => 1 + i64::from(attempt),
            Self::Unauthorized(_) if attempt < 3 => 0,
            Self::NotFound if attempt < 3 => 3,
            Self::Throttled { retry_after } if attempt < 3 => retry_after.map_or(10, |time| time.as_secs()),
            Self::Transient(_) if repeatable && attempt < 3 => 2 << attempt,
            _ => return None,
        };
        Some(SignedDuration::from_secs(seconds))
    }
}

/// Asks for the credentials of an application. As the others, it awaits its bearer token.
pub fn list_request(graph: &Url, client_id: &str) -> Request {
    let mut url = address(graph, client_id, "");
    url.set_query(Some("$select=id,appId,passwordCredentials,keyCredentials"));
    Request::get(url)
}

/// Makes a password. Not idempotent: whoever asks twice gets two (MICROSOFT.md 5.1).
pub fn add_request(graph: &Url, client_id: &str, display_name: &str, end: Timestamp) -> Request {
    let end = end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let body = json!({"passwordCredential": {"displayName": display_name, "endDateTime": end}});
    Request::post_json(address(graph, client_id, "/addPassword"), &body)
}

pub fn remove_request(graph: &Url, client_id: &str, key_id: &str) -> Request {
    Request::post_json(address(graph, client_id, "/removePassword"), &json!({"keyId": key_id}))
}

/// A certificate to register, as Graph takes one.
fn key_credential(display_name: &str, der: &[u8]) -> Value {
    json!({"type": "AsymmetricX509Cert", "usage": "Verify", "key": STANDARD.encode(der), "displayName": display_name})
}

/// Registers a certificate. The proof is signed by one that is registered and valid.
pub fn add_key_request(
    graph: &Url,
    client_id: &str,
    display_name: &str,
    der: &[u8],
    proof: &Secret<String>,
) -> Request {
    let key = key_credential(display_name, der);
    let body = json!({"keyCredential": key, "passwordCredential": null, "proof": proof.expose()});
    Request::post_json(address(graph, client_id, "/addKey"), &body)
}

pub fn remove_key_request(graph: &Url, client_id: &str, key_id: &str, proof: &Secret<String>) -> Request {
    let body = json!({"keyId": key_id, "proof": proof.expose()});
    Request::post_json(address(graph, client_id, "/removeKey"), &body)
}

/// Registers a certificate where none is left to sign a proof. It replaces the whole collection: whatever is not named
/// in `keep` is gone afterwards (MICROSOFT.md 5.4).
pub fn replace_keys_request(
    graph: &Url,
    client_id: &str,
    keep: &[Registered],
    display_name: &str,
    der: &[u8],
) -> Request {
    let kept = keep.iter().filter_map(|registered| match &registered.what {
        What::Certificate { listed, .. } => Some(listed.clone()),
        What::Password { .. } => None,
    });
    let keys: Vec<Value> = kept.chain([key_credential(display_name, der)]).collect();
    Request::patch_json(address(graph, client_id, ""), &json!({ "keyCredentials": keys }))
}

/// What a proof of possession says; whoever holds a registered key signs it.
#[derive(Debug, Serialize)]
pub struct ProofClaims<'a> {
    aud: &'static str,
    iss: &'a str,
    nbf: i64,
    exp: i64,
}

impl<'a> ProofClaims<'a> {
    pub fn new(object_id: &'a str, now: Timestamp) -> Self {
        let (nbf, exp) = (now.as_second(), (now + PROOF_LIFETIME).as_second());
        Self { aud: PROOF_AUDIENCE, iss: object_id, nbf, exp }
    }
}

fn address(graph: &Url, client_id: &str, action: &str) -> Url {
    let mut url = graph.clone();
    url.set_path(&format!("v1.0/applications(appId='{client_id}'){action}"));
    url
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApplicationObject {
    id: String,
    app_id: String,
    password_credentials: Vec<CredentialObject>,
    key_credentials: Vec<Value>,
}

/// The fields of both kinds that matter here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialObject {
    key_id: String,
    display_name: Option<String>,
    hint: Option<String>,
    /// Of a certificate its thumbprint, unless somebody has given another: in base64 or in hexadecimal digits.
    custom_key_identifier: Option<String>,
    /// The certificate itself, which some answers carry.
    key: Option<String>,
    #[serde(rename = "startDateTime", default, deserialize_with = "moment")]
    start: Option<Timestamp>,
    #[serde(rename = "endDateTime", default, deserialize_with = "moment")]
    end: Option<Timestamp>,
}

impl CredentialObject {
    fn registered(self, what: What) -> Registered {
        let Self { key_id, display_name, start, end, .. } = self;
        Registered { key_id: key_id.to_ascii_lowercase(), display_name, start, end, what }
    }

    fn thumbprint(&self) -> Option<String> {
        if let Some(der) = self.key.as_deref().and_then(|key| STANDARD.decode(key).ok()) {
            return Some(thumbprint(&der));
        }
        let given = self.custom_key_identifier.as_deref()?;
        if given.len() == 40 && given.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Some(given.to_ascii_lowercase());
        }
        let bytes = STANDARD.decode(given).ok().filter(|bytes| bytes.len() == 20)?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

/// # Errors
/// [`GraphError::Unexpected`] for anything but this application with its credentials: a list that is not one must never
/// look like an empty one.
pub fn parse_list(body: &[u8], client_id: &str) -> Result<Listing, GraphError> {
    let found: ApplicationObject = serde_json::from_slice(body).map_err(|_| unreadable("no list of credentials"))?;
    if !found.app_id.eq_ignore_ascii_case(client_id) {
        return Err(unreadable("another application"));
    }
    let passwords = found.password_credentials.into_iter().map(|password| {
        let hint = password.hint.clone();
        password.registered(What::Password { hint })
    });
    let keys = found.key_credentials.into_iter().map(|mut listed| {
        let key = CredentialObject::deserialize(&listed).map_err(|_| unreadable("a key that is none"))?;
        let thumbprint = key.thumbprint();
        // A key that is named without its text stays what it is.
        listed["key"] = Value::Null;
        Ok(key.registered(What::Certificate { thumbprint, listed }))
    });
    let credentials = passwords.map(Ok).chain(keys).collect::<Result<_, GraphError>>()?;
    Ok(Listing { object_id: found.id, credentials })
}

/// # Errors
/// [`GraphError::Unexpected`] when the answer lacks the id or the text.
pub fn parse_added(body: &[u8]) -> Result<NewPassword, GraphError> {
    serde_json::from_slice(body).map_err(|_| unreadable("no password"))
}

fn unreadable(what: &str) -> GraphError {
    GraphError::Unexpected { status: 200, text: format!("and {what}") }
}

/// Reads an answer that is no success.
pub fn parse_refusal(status: u16, retry_after: Option<&str>, body: &[u8]) -> GraphError {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let text = |pointer: &str| printable(value.pointer(pointer).and_then(Value::as_str).unwrap_or_default(), 300);
    let (code, message) = (text("/error/code"), text("/error/message"));
    match status {
        401 => GraphError::Unauthorized(message),
        409 => GraphError::Concurrent,
        404 => GraphError::NotFound,
        429 => GraphError::Throttled {
            retry_after: retry_after
                .and_then(|text| text.trim().parse().ok())
                .map(|seconds: i64| SignedDuration::from_secs(seconds.clamp(1, 3600))),
        },
        400 if message.contains("No credentials found to be removed") => GraphError::NothingToRemove,
        400 | 403 if message.contains("assigned policy") => GraphError::Policy(message),
        403 => GraphError::Denied(message),
        500.. => GraphError::Transient(format!("HTTP {status} {code}")),
        _ => GraphError::Unexpected { status, text: format!("{code} {message}") },
    }
}

fn moment<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.as_deref().and_then(time::parse))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "a0000000-0000-4000-8000-00000000c11e";

    fn error(code: &str, message: &str) -> Vec<u8> {
        json!({"error": {"code": code, "message": message, "innerError": {"date": "2026-01-02T03:04:05"}}})
            .to_string()
            .into()
    }

    #[test]
    fn every_documented_refusal_says_what_to_do_next() {
        for (status, code, message, expected) in [
            (409, "Directory_ConcurrencyViolation", "Error due to concurrent requests.", GraphError::Concurrent),
            (
                401,
                "InvalidAuthenticationToken",
                "It is expired.",
                GraphError::Unauthorized("It is expired.".to_owned()),
            ),
            (404, "Request_ResourceNotFound", "Resource '' does not exist.", GraphError::NotFound),
            (400, "Request_BadRequest", "No credentials found to be removed.", GraphError::NothingToRemove),
            (403, "Authorization_RequestDenied", "Insufficient.", GraphError::Denied("Insufficient.".to_owned())),
            (
                400,
                "Request_BadRequest",
                "Credential type not allowed as per assigned policy.",
                GraphError::Policy("Credential type not allowed as per assigned policy.".to_owned()),
            ),
            (503, "serviceNotAvailable", "", GraphError::Transient("HTTP 503 serviceNotAvailable".to_owned())),
            (400, "BadRequest", "No.", GraphError::Unexpected { status: 400, text: "BadRequest No.".to_owned() }),
        ] {
            assert_eq!(parse_refusal(status, None, &error(code, message)), expected, "{status} {code}");
        }
        let throttled = GraphError::Throttled { retry_after: Some(SignedDuration::from_secs(7)) };
        assert_eq!(parse_refusal(429, Some("7"), b"<html>"), throttled);
        assert!(matches!(parse_refusal(502, None, b"<html>"), GraphError::Transient(_)));
    }

    #[test]
    fn only_what_was_certainly_not_done_is_asked_for_twice() {
        let transient = GraphError::Transient(String::new());
        assert_eq!(transient.pause(0, false), None);
        assert_eq!(transient.pause(0, true), Some(SignedDuration::from_secs(2)));
        assert_eq!(GraphError::Concurrent.pause(0, false), Some(SignedDuration::from_secs(1)));
        assert_eq!(GraphError::Concurrent.pause(8, true), None);
        let unauthorized = GraphError::Unauthorized(String::new());
        assert_eq!((unauthorized.pause(0, false), unauthorized.pause(3, true)), (Some(SignedDuration::ZERO), None));
        assert_eq!(GraphError::Denied(String::new()).pause(0, true), None);
        assert_eq!(GraphError::NothingToRemove.pause(0, true), None);
    }

    #[test]
    fn requests_name_the_application_by_its_client_id() {
        let graph = Url::parse("https://graph.microsoft.com").unwrap();
        let listed = list_request(&graph, CLIENT);
        assert_eq!(
            listed.url.as_str(),
            format!(
                "https://graph.microsoft.com/v1.0/applications(appId='{CLIENT}')?$select=id,appId,passwordCredentials,keyCredentials"
            )
        );
        let added = add_request(&graph, CLIENT, "muster/x/y", Timestamp::UNIX_EPOCH);
        assert!(added.url.path().ends_with("')/addPassword"));
        assert_eq!(
            added.content.unwrap().expose(),
            br#"{"passwordCredential":{"displayName":"muster/x/y","endDateTime":"1970-01-01T00:00:00Z"}}"#
        );
        assert!(remove_request(&graph, CLIENT, "k").url.path().ends_with("')/removePassword"));
    }

    #[test]
    fn a_list_is_read_and_half_a_list_is_no_empty_one() {
        let body = json!({"id": "o", "appId": CLIENT.to_uppercase(), "keyCredentials": [], "passwordCredentials": [
            {"keyId": "K1", "displayName": null, "hint": "abc", "startDateTime": "2026-07-09T19:50:29.3086381Z",
             "endDateTime": null, "secretText": null, "customKeyIdentifier": null},
        ]});
        let listed = parse_list(body.to_string().as_bytes(), CLIENT).unwrap();
        let first = &listed.credentials[0];
        assert_eq!((listed.object_id.as_str(), first.key_id.as_str()), ("o", "k1"));
        assert_eq!(first.what, What::Password { hint: Some("abc".to_owned()) });
        assert_eq!((first.start, first.end), (time::parse("2026-07-09T19:50:29.3086381Z"), None));
        for half in [
            json!({}),
            json!({"id": "o", "appId": CLIENT, "passwordCredentials": []}),
            json!({"id": "o", "appId": CLIENT, "keyCredentials": []}),
            json!({"id": "o", "appId": "other", "passwordCredentials": [], "keyCredentials": []}),
        ] {
            assert!(parse_list(half.to_string().as_bytes(), CLIENT).is_err(), "{half}");
        }
    }

    #[test]
    fn a_certificates_thumbprint_is_read_however_it_is_written() {
        let hex = "0123456789abcdef0123456789abcdef01234567";
        let raw: Vec<u8> = (0..20).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
        for (identifier, key, expected) in [
            (json!(STANDARD.encode(&raw)), Value::Null, Some(hex.to_owned())),
            (json!(hex.to_uppercase()), Value::Null, Some(hex.to_owned())),
            (json!("somebody's own name"), Value::Null, None),
            (Value::Null, Value::Null, None),
            (json!("somebody's own name"), json!(STANDARD.encode(b"der")), Some(thumbprint(b"der"))),
        ] {
            let key = json!({"keyId": "k", "customKeyIdentifier": identifier, "key": key, "usage": "Sign"});
            let body = json!({"id": "o", "appId": CLIENT, "passwordCredentials": [], "keyCredentials": [key]});
            let found = parse_list(body.to_string().as_bytes(), CLIENT).unwrap();
            let mut listed = key;
            listed["key"] = Value::Null;
            assert_eq!(found.credentials[0].what, What::Certificate { thumbprint: expected, listed }, "{body}");
        }
    }

    #[test]
    fn a_key_is_added_with_a_proof_and_replaced_with_all_the_others_named() {
        let graph = Url::parse("https://graph.microsoft.com").unwrap();
        let body = |request: &Request| -> Value {
            serde_json::from_slice(request.content.as_ref().unwrap().expose()).unwrap()
        };
        let proof = Secret::new("proof".to_owned());
        let added = body(&add_key_request(&graph, CLIENT, "muster/x/y", b"der", &proof));
        let key = json!({"type": "AsymmetricX509Cert", "usage": "Verify", "key": "ZGVy", "displayName": "muster/x/y"});
        assert_eq!(added, json!({"keyCredential": key, "passwordCredential": null, "proof": "proof"}));
        let kept = json!({"keyId": "K1", "type": "X509CertAndPassword", "usage": "Sign", "key": null});
        let listed =
            json!({"id": "o", "appId": CLIENT, "keyCredentials": [kept], "passwordCredentials": [{"keyId": "p"}]});
        let listed = parse_list(listed.to_string().as_bytes(), CLIENT).unwrap().credentials;
        let replaced = body(&replace_keys_request(&graph, CLIENT, &listed, "muster/x/y", b"der"));
        assert_eq!(replaced, json!({"keyCredentials": [kept, key]}), "what is kept is named as it was listed");
        let claims = serde_json::to_value(ProofClaims::new("object", Timestamp::UNIX_EPOCH)).unwrap();
        assert_eq!(claims, json!({"aud": PROOF_AUDIENCE, "iss": "object", "nbf": 0, "exp": 600}));
    }

    #[test]
    fn a_new_password_is_never_printed() {
        let body = br#"{"keyId":"k1","secretText":"canary-7f3a","hint":"can","endDateTime":"2027-01-01T00:00:00Z"}"#;
        let added = parse_added(body).unwrap();
        assert_eq!(added.value.expose(), "canary-7f3a");
        assert!(!format!("{added:?}").contains("canary-7f3a"));
        let broken = parse_added(br#"{"keyId":7,"secretText":"canary-7f3a"}"#).unwrap_err();
        assert!(!format!("{broken:?} {broken}").contains("canary-7f3a"));
    }
}

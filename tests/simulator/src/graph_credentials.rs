//! The credentials of an application object: passwords (MICROSOFT 5.1), keys and their proof of possession (5.4).

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Span, Timestamp};
use serde_json::{Map, Value, json};
use url::form_urlencoded;

use crate::application::{Application, Certificate, ClientSecret, usable};
use crate::certificate_assertion::{SKEW, read as read_certificate};
use crate::dice::Dice;
use crate::graph::GraphError;
use crate::http::{Request, Response};
use crate::jwt::{Jwt, base64, from_any_base64};
use crate::refusal::Refused;
use crate::replication;
use crate::time::dotnet;
use crate::world::World;

/// Azure AD Graph, which a proof of possession is addressed to.
const PROOF_AUDIENCE: &str = "00000002-0000-0000-c000-000000000000";
const PROOF_LIFETIME: SignedDuration = SignedDuration::from_mins(10);
const CONTEXT: &str = "https://graph.microsoft.com/v1.0/$metadata#";

type Answer = Result<Response, Refused<GraphError>>;

/// The application as one replica shows it; of its properties those that are modelled.
pub(crate) fn read(world: &mut World, dice: &mut Dice, request: &Request, application: &Application) -> Answer {
    let mut selected = None;
    for (name, value) in form_urlencoded::parse(request.query().as_bytes()) {
        if name != "$select" || selected.is_some() {
            return Err(Refused::NotModelled(format!("the query option {name} on an application")));
        }
        selected = Some(value.into_owned());
    }
    let seen = replication::seen(world, dice, &application.client_id).unwrap_or_else(|| application.clone());
    let passwords: Vec<Value> = seen.secrets.iter().map(|secret| password(world, secret, None)).collect();
    let keys: Vec<Value> = seen.certificates.iter().map(|certificate| key(world, certificate)).collect();
    let Value::Object(mut properties) = json!({
        "id": seen.object_id(), "appId": seen.client_id, "displayName": seen.name,
        "passwordCredentials": passwords, "keyCredentials": keys,
    }) else {
        return Err(Refused::NotModelled("an application without properties".into()));
    };
    let mut body = Map::new();
    let context = match &selected {
        Some(selected) => format!("{CONTEXT}applications({selected})/$entity"),
        None => format!("{CONTEXT}applications/$entity"),
    };
    body.insert("@odata.context".into(), context.into());
    match selected {
        None => body.append(&mut properties),
        Some(selected) => {
            for name in selected.split(',').map(str::trim) {
                let Some(value) = properties.remove(name) else {
                    return Err(Refused::NotModelled(format!("the property {name} of an application")));
                };
                body.insert(name.into(), value);
            }
        }
    }
    Ok(Response::json(200, &Value::Object(body)))
}

/// A password as Graph shows it; its text only in the answer that made it.
fn password(world: &World, secret: &ClientSecret, text: Option<&str>) -> Value {
    let hint: String = secret.value.chars().take(3).collect();
    json!({
        "customKeyIdentifier": null, "displayName": world.replication.names.get(&secret.key_id),
        "endDateTime": dotnet(secret.end), "hint": hint, "keyId": secret.key_id, "secretText": text,
        "startDateTime": dotnet(secret.start.max(Timestamp::UNIX_EPOCH)),
    })
}

fn key(world: &World, certificate: &Certificate) -> Value {
    let dates = read_certificate(&certificate.der);
    let (start, end) = dates.map(|(_, from, until)| (dotnet(from), dotnet(until))).unzip();
    let thumbprint = digest(&SHA1_FOR_LEGACY_USE_ONLY, &certificate.der);
    json!({
        "customKeyIdentifier": base64(thumbprint.as_ref()),
        "displayName": world.replication.names.get(&certificate.key_id), "endDateTime": end, "key": null,
        "keyId": certificate.key_id, "startDateTime": start, "type": "AsymmetricX509Cert", "usage": "Verify",
    })
}

pub(crate) fn add_password(world: &mut World, dice: &mut Dice, application: &Application, body: &Value) -> Answer {
    only(body, &["passwordCredential"])?;
    let asked = &body["passwordCredential"];
    only(asked, &["displayName", "startDateTime", "endDateTime"])?;
    let now = world.now;
    let start = moment(asked, "startDateTime")?.unwrap_or(now);
    let two_years = || start.to_zoned(TimeZone::UTC).saturating_add(Span::new().years(2)).timestamp();
    let end = moment(asked, "endDateTime")?.unwrap_or_else(two_years);
    if end <= start {
        return Err(Refused::NotModelled("a password that ends before it starts".into()));
    }
    let secret = ClientSecret { key_id: dice.guid(), value: secret_text(dice), start, end, usable_from: None };
    name(world, &secret.key_id, asked)?;
    let mut made = password(world, &secret, Some(&secret.value));
    made["@odata.context"] = format!("{CONTEXT}microsoft.graph.passwordCredential").into();
    replication::add_secret(world, dice, &application.client_id, secret);
    Ok(Response::json(200, &made).with("Cache-Control", "no-cache"))
}

pub(crate) fn remove_password(world: &mut World, dice: &mut Dice, application: &Application, body: &Value) -> Answer {
    only(body, &["keyId"])?;
    let key_id = text(body, "keyId")?;
    if replication::remove_secret(world, dice, &application.client_id, key_id) {
        Ok(no_content())
    } else {
        Err(GraphError::nothing_to_remove().into())
    }
}

pub(crate) fn add_key(world: &mut World, dice: &mut Dice, application: &Application, body: &Value) -> Answer {
    only(body, &["keyCredential", "passwordCredential", "proof"])?;
    if !body["passwordCredential"].is_null() {
        return Err(Refused::NotModelled("addKey with a password".into()));
    }
    let asked = &body["keyCredential"];
    if !asked["keyId"].is_null() {
        return Err(GraphError::bad_request("KeyId value must be null.").into());
    }
    prove(world, dice, application, body)?;
    let made = certificate(asked, dice.guid())?;
    name(world, &made.key_id, asked)?;
    let mut shown = key(world, &made);
    shown["@odata.context"] = format!("{CONTEXT}microsoft.graph.keyCredential").into();
    replication::add_certificate(world, dice, &application.client_id, made);
    Ok(Response::json(200, &shown))
}

pub(crate) fn remove_key(world: &mut World, dice: &mut Dice, application: &Application, body: &Value) -> Answer {
    only(body, &["keyId", "proof"])?;
    let key_id = text(body, "keyId")?;
    prove(world, dice, application, body)?;
    if replication::remove_certificate(world, dice, &application.client_id, key_id) {
        Ok(no_content())
    } else {
        Err(GraphError::nothing_to_remove().into())
    }
}

/// PATCH replaces the whole collection; an entry with a known `keyId` and no key stays what it is.
pub(crate) fn replace_keys(world: &mut World, dice: &mut Dice, application: &Application, body: &Value) -> Answer {
    only(body, &["keyCredentials"])?;
    let Some(entries) = body["keyCredentials"].as_array() else {
        return Err(Refused::NotModelled("PATCH without a collection of keyCredentials".into()));
    };
    let (mut kept, mut fresh) = (Vec::new(), Vec::new());
    for entry in entries {
        let key_id = entry["keyId"].as_str();
        let known = application.certificates.iter().find(|known| Some(known.key_id.as_str()) == key_id);
        match known {
            Some(known) => {
                if !entry["key"].is_null() {
                    return Err(Refused::NotModelled("PATCH of a key that is there already".into()));
                }
                kept.push(known.key_id.clone());
            }
            None => {
                let key_id = key_id.map_or_else(|| dice.guid(), str::to_owned);
                fresh.push((certificate(entry, key_id)?, entry));
            }
        }
    }
    for known in application.certificates.iter().filter(|known| !kept.contains(&known.key_id)) {
        replication::remove_certificate(world, dice, &application.client_id, &known.key_id);
    }
    for (certificate, entry) in fresh {
        name(world, &certificate.key_id, entry)?;
        replication::add_certificate(world, dice, &application.client_id, certificate);
    }
    Ok(no_content())
}

/// A proof is signed by a certificate that is valid now, as far as the replica that is asked knows.
fn prove(world: &mut World, dice: &mut Dice, application: &Application, body: &Value) -> Result<(), GraphError> {
    let now = world.now;
    let seen = replication::seen(world, dice, &application.client_id);
    let proof = body["proof"].as_str().unwrap_or_default();
    // Padded base64url is refused, which our own reader would take.
    let jwt = Jwt::parse(proof).filter(|_| !proof.contains('='));
    let good = jwt.zip(seen).is_some_and(|(jwt, seen)| {
        let usable = seen.certificates.iter().filter(|certificate| usable(certificate.usable_from, now));
        let certificates = usable.filter_map(|certificate| read_certificate(&certificate.der));
        let mut valid = certificates.filter(|(_, from, until)| *from <= now && now <= *until);
        let issuer = jwt.text("iss");
        let own = [seen.object_id(), seen.client_id.clone()].iter().any(|id| id.eq_ignore_ascii_case(issuer));
        let (from, until) = (jwt.seconds("nbf"), jwt.seconds("exp"));
        let in_time = from.zip(until).is_some_and(|(from, until)| {
            from <= (now + SKEW).as_second()
                && until > now.as_second()
                && until.saturating_sub(from) <= PROOF_LIFETIME.as_secs()
        });
        own && in_time && jwt.text("aud") == PROOF_AUDIENCE && valid.any(|(key, ..)| jwt.is_signed_by(&key))
    });
    let refused = || GraphError::new(401, "Authentication_MissingOrMalformed", "Access Token missing or malformed.");
    good.then_some(()).ok_or_else(refused)
}

/// Its dates and its thumbprint are the certificate's own.
fn certificate(entry: &Value, key_id: String) -> Result<Certificate, Refused<GraphError>> {
    only(entry, &["type", "usage", "key", "keyId", "displayName"])?;
    if entry["type"] != "AsymmetricX509Cert" || entry["usage"] != "Verify" {
        return Err(Refused::NotModelled("a key other than AsymmetricX509Cert to verify with".into()));
    }
    let der = entry["key"].as_str().and_then(from_any_base64).filter(|der| read_certificate(der).is_some());
    let der = der.ok_or_else(|| GraphError::bad_request("Key credential value is not a valid certificate."))?;
    Ok(Certificate { key_id, der, usable_from: None })
}

/// Keeps the display name that comes with a new credential.
fn name(world: &mut World, key_id: &str, asked: &Value) -> Result<(), Refused<GraphError>> {
    match &asked["displayName"] {
        Value::Null => {}
        Value::String(name) => world.name_credential(key_id, name),
        _ => return Err(Refused::NotModelled("a displayName that is no text".into())),
    }
    Ok(())
}

/// What nobody knows the effect of is not taken in silence.
fn only(value: &Value, known: &[&str]) -> Result<(), Refused<GraphError>> {
    if !value.is_object() && !value.is_null() {
        return Err(Refused::NotModelled("a write with something else in the place of an object".into()));
    }
    let fields = value.as_object().into_iter().flatten();
    let mut others = fields.filter(|(name, value)| !known.contains(&name.as_str()) && !value.is_null());
    match others.next() {
        None => Ok(()),
        Some((name, _)) => Err(Refused::NotModelled(format!("the property {name} in the body of a write"))),
    }
}

fn text<'a>(body: &'a Value, name: &str) -> Result<&'a str, Refused<GraphError>> {
    body[name].as_str().ok_or_else(|| Refused::NotModelled(format!("a write without {name}")))
}

fn moment(value: &Value, name: &str) -> Result<Option<Timestamp>, Refused<GraphError>> {
    match &value[name] {
        Value::Null => Ok(None),
        Value::String(text) => text.parse().map(Some).map_err(|_| {
            let message = format!("Cannot convert the literal '{text}' to the expected type 'Edm.DateTimeOffset'.");
            GraphError::bad_request(message).into()
        }),
        _ => Err(Refused::NotModelled(format!("a {name} that is no text"))),
    }
}

fn no_content() -> Response {
    Response { status: 204, headers: Vec::new(), body: "".into() }
}

/// 40 characters of those Entra uses.
fn secret_text(dice: &mut Dice) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.";
    let mut letter = || char::from(LETTERS[(dice.roll() % 64) as usize]);
    let start: String = (0..3).map(|_| letter()).collect();
    let rest: String = (0..34).map(|_| letter()).collect();
    format!("{start}8Q~{rest}")
}

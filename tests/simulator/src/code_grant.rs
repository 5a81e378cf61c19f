//! Authorization codes, and what they buy at the token endpoints (MICROSOFT 1.4).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::aadsts::Aadsts;
use crate::application::Registration;
use crate::credential::{self, Presented};
use crate::dice::Dice;
use crate::directory::directory;
use crate::entra_keys::signing_key;
use crate::entra_request::{EntraRequest, Version};
use crate::http::Response;
use crate::id_token::{self, Subject};
use crate::jwt::base64url;
use crate::log::Trail;
use crate::refusal::Refused;
use crate::replication;
use crate::sign_in::Visitor;
use crate::token::{Form, required};
use crate::visit::not_multi_tenant;
use crate::world::World;

const LIFETIME: SignedDuration = SignedDuration::from_mins(10);
const GRAPH: &str = "00000003-0000-0000-c000-000000000000";

/// What a code stands for.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    pub(crate) version: Version,
    pub(crate) client_id: String,
    /// Whether the sign-in was at the address of one tenant.
    pub(crate) at_one_tenant: bool,
    pub(crate) visitor: Visitor,
    pub(crate) redirect_uri: String,
    pub(crate) scopes: Vec<String>,
    pub(crate) nonce: Option<String>,
    pub(crate) code_challenge: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) at: Timestamp,
    pub(crate) spent: bool,
}

/// The codes Entra remembers; they are as good as tokens and never shown.
#[derive(Clone, Default)]
pub(crate) struct Codes(BTreeMap<String, Issued>);

impl fmt::Debug for Codes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Codes({})", self.0.len())
    }
}

impl Codes {
    pub(crate) fn issue(&mut self, dice: &mut Dice, issued: Issued) -> String {
        let random: Vec<u8> = (0..12).flat_map(|_| dice.roll().to_be_bytes()).collect();
        let code = format!("1.{}", base64url(&random));
        self.0.insert(code.clone(), issued);
        code
    }
}

/// What the caller of the token endpoint has been found to be so far.
pub(crate) struct Caller<'a> {
    pub(crate) asked: EntraRequest<'a>,
    pub(crate) form: &'a Form,
    pub(crate) presented: &'a Presented,
    pub(crate) client_id: &'a str,
}

/// Redeems a code. Only a redemption that succeeds spends it.
pub(crate) fn redeem(
    world: &mut World,
    dice: &mut Dice,
    caller: &Caller<'_>,
    trail: &mut Trail,
) -> Result<Response, Refused<Aadsts>> {
    let now = world.now;
    let code = required(caller.form, "code")?;
    let tenant_id = directory(world, caller.asked.segment)?.map(|tenant| tenant.id.clone());
    let Some(application) = replication::seen(world, dice, caller.client_id) else {
        let text = format!("Application with identifier '{}' was not found in the directory.", caller.client_id);
        return Err(Aadsts::new(700016, text).into());
    };
    if tenant_id.is_none() && world.find_registration(caller.client_id).is_some_and(Registration::is_single_tenant) {
        return Err(not_multi_tenant(&application, caller.asked.segment).into());
    }
    if matches!(caller.presented, Presented::Nothing) {
        let text = "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.";
        return Err(Aadsts::new(7000218, text).into());
    }
    let issuers = world.issuers.clone();
    let asked = credential::Asked { application: &application, request: caller.asked, issuers: &issuers, now };
    credential::check(caller.presented, &asked)?;
    let issued = judge(world, caller, &code, tenant_id.as_deref())?;
    trail.tenant = Some(issued.visitor.tenant_id.clone());
    // A tenant may have gone since, also where the address names none.
    directory(world, &issued.visitor.tenant_id)?;
    if let Some(kept) = world.codes.0.get_mut(&code) {
        kept.spent = true;
    }
    let app_roles = issued.visitor.app_roles(world, caller.client_id);
    let subject = Subject {
        visitor: &issued.visitor,
        application: &application,
        claims_of_groups: world.registration(caller.client_id).group_membership_claims,
        nonce: issued.nonce.as_deref(),
        profile: issued.scopes.iter().any(|scope| scope == "profile"),
        version: issued.version,
        app_roles: &app_roles,
    };
    let mut body = answer(&issued, &application.name, now, world.token_lifetime, dice);
    if issued.scopes.iter().any(|scope| scope == "openid") {
        let own = subject.claims(now, dice);
        let id_token = world.next_id_token.take().unwrap_or_else(|| signing_key().sign(&own));
        body["id_token"] = id_token.into();
    }
    Ok(Response::json(200, &body).with("Cache-Control", "no-store, no-cache").with("Pragma", "no-cache"))
}

fn judge(world: &World, caller: &Caller<'_>, code: &str, tenant_id: Option<&str>) -> Result<Issued, Refused<Aadsts>> {
    let issued = world.codes.0.get(code).filter(|issued| issued.client_id.eq_ignore_ascii_case(caller.client_id));
    let Some(issued) = issued else {
        return Err(Aadsts::new(70000, "Provided grant is invalid or malformed.").into());
    };
    match tenant_id {
        Some(tenant) if !tenant.eq_ignore_ascii_case(&issued.visitor.tenant_id) => {
            let text = "Provided Authorization Code is intended to use against other tenant, thus rejected.";
            return Err(Aadsts::new(700005, text).into());
        }
        None if issued.at_one_tenant => {
            return Err(Refused::NotModelled("redeeming a code of one tenant's address where none is named".into()));
        }
        _ => {}
    }
    if issued.spent {
        let text = "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.";
        return Err(Aadsts::new(54005, text).into());
    }
    if issued.at.saturating_add(LIFETIME).is_ok_and(|until| until <= world.now) {
        let text = "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.";
        return Err(Aadsts::new(70008, text).into());
    }
    if issued.version != caller.asked.version {
        return Err(Refused::NotModelled("a code of one version at the token endpoint of the other".into()));
    }
    if caller.form.get("redirect_uri") != Some(&issued.redirect_uri) {
        let text = "The reply address does not match the reply address provided when requesting Authorization code.";
        return Err(Aadsts::new(500112, text).into());
    }
    match (&issued.code_challenge, caller.form.get("code_verifier")) {
        (None, None) => {}
        (Some(challenge), Some(verifier)) if *challenge == s256(verifier) => {
            if !is_verifier(verifier) {
                return Err(Refused::NotModelled("a code_verifier that RFC 7636 does not allow".into()));
            }
        }
        (Some(_), _) => {
            let text = "The Code_Verifier does not match the code_challenge supplied in the authorization request.";
            return Err(Aadsts::new(501481, text).into());
        }
        (None, Some(_)) => return Err(Refused::NotModelled("a code_verifier without a code_challenge".into())),
    }
    // What a part of the scopes does to the id_token nobody has written down.
    let asked: BTreeSet<&str> =
        caller.form.get("scope").into_iter().flat_map(|scope| scope.split_whitespace()).collect();
    if !asked.is_empty() && asked != issued.scopes.iter().map(String::as_str).collect() {
        return Err(Refused::NotModelled("redeeming a code for other scopes than those of its sign-in".into()));
    }
    if caller.form.get("resource").is_some_and(|resource| issued.resource.as_ref() != Some(resource)) {
        return Err(Refused::NotModelled("redeeming a code for another resource than that of its sign-in".into()));
    }
    Ok(issued.clone())
}

/// RFC 7636 4.1: 43 to 128 unreserved characters.
fn is_verifier(text: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    (43..=128).contains(&text.len()) && text.bytes().all(unreserved)
}

fn s256(verifier: &str) -> String {
    base64url(digest(&SHA256, verifier.as_bytes()).as_ref())
}

/// The answer without its id_token.
fn answer(issued: &Issued, name: &str, now: Timestamp, lifetime: SignedDuration, dice: &mut Dice) -> Value {
    let resource = issued.resource.as_deref().unwrap_or(GRAPH);
    let (scope, seconds) = (issued.scopes.join(" "), lifetime.as_secs());
    let from = (now - id_token::BACKDATED).as_second();
    let until = (now + lifetime).as_second();
    let access_token = signing_key().sign(&json!({
        "aud": resource, "iss": format!("https://sts.windows.net/{}/", issued.visitor.tenant_id), "iat": from,
        "nbf": from, "exp": until, "app_displayname": name, "appid": issued.client_id, "idtyp": "user",
        "oid": issued.visitor.user.oid, "scp": scope, "tid": issued.visitor.tenant_id, "uti": dice.guid(), "ver": "1.0",
    }));
    match issued.version {
        Version::V2 => json!({
            "token_type": "Bearer", "scope": scope, "expires_in": seconds, "ext_expires_in": seconds,
            "access_token": access_token,
        }),
        Version::V1 => json!({
            "token_type": "Bearer", "scope": scope, "expires_in": seconds.to_string(),
            "ext_expires_in": seconds.to_string(), "expires_on": until.to_string(), "not_before": from.to_string(),
            "resource": resource, "access_token": access_token,
        }),
    }
}

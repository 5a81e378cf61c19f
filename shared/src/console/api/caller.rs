//! Who calls: a script by its bearer token, or a browser by the session of somebody who has signed in.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::{SignedDuration, Timestamp};

use super::{NotDone, Problem};
use crate::{
    App,
    audit::Actor,
    console::{
        Broken, application,
        session::{Role, Session},
        signing_keys,
    },
    microsoft::{
        access_token::{self, Expected},
        keys::{KeySet, NotBelieved},
    },
    secret::Secret,
    sign_in,
    tenant::TenantId,
    web,
};

/// Entra's keys stay the same for weeks.
const KEYS_TTL: SignedDuration = SignedDuration::from_hours(1);
/// A key that we do not know may be a new one; but nobody makes us ask at every call.
const KEYS_PAUSE: SignedDuration = SignedDuration::from_mins(1);

/// Somebody who may call, at least to look.
#[derive(Debug)]
pub struct Caller {
    pub actor: Actor,
    pub role: Role,
}

/// # Errors
/// 401 for whoever is nobody, 403 for whoever has no role or comes from another site.
pub async fn of(app: &App, request: &web::Request) -> Result<Caller, NotDone> {
    match &request.authorization {
        Some(authorization) => of_token(app, request, authorization).await,
        None => of_session(app, request).await,
    }
}

async fn of_token(app: &App, request: &web::Request, authorization: &Secret<String>) -> Result<Caller, NotDone> {
    let refused = |detail: &str| {
        NotDone::from(Problem::new(401, detail).with_header("www-authenticate", r#"Bearer error="invalid_token""#))
    };
    let token = authorization.expose().split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, token)) = token else { return Err(refused("The header Authorization holds no bearer token.")) };
    let token = Secret::new(token.trim().to_owned());
    let application = application::load(app).await?;
    let mut known = known_keys(app, application.home, KEYS_TTL).await?;
    let mut believed = known.validate(app, &application, &token);
    if believed == Err(NotBelieved::Signature) {
        known = known_keys(app, application.home, KEYS_PAUSE).await?;
        believed = known.validate(app, &application, &token);
    }
    let caller = believed.map_err(|why| {
        tracing::warn!(request.id, error = %why, "a bearer token was not believed");
        refused(
            "This token is not taken: it must be an access token of the provider's own tenant, for this console's \
             application, and in its time.",
        )
    })?;
    let Some(role) = Role::among(&caller.roles) else {
        return Err(Problem::new(
            403,
            "This token is good, and carries no role of this console; assign Muster.Operator or Muster.Reader to the caller.",
        )
        .into());
    };
    Ok(Caller { actor: Actor::Script { id: caller.oid, name: caller.name }, role })
}

async fn of_session(app: &App, request: &web::Request) -> Result<Caller, NotDone> {
    let keys = signing_keys(app).await?;
    let store = app.ports.store.as_ref();
    let session = Session::of(request, &app.config, &keys, store, app.clock.now()).await?;
    let Some(session) = session else {
        let detail = "Sign in with a bearer token of the provider's tenant, or with the console's session.";
        return Err(Problem::new(401, detail).with_header("www-authenticate", "Bearer").into());
    };
    let looks = matches!(request.method.as_str(), "GET" | "HEAD");
    let public_url = app.config.public_url.as_ref().ok_or(Broken::NoPublicUrl)?;
    // A form of another site can be made to look like anything but JSON, and cannot hide where it comes from.
    let is_ours = request.is_from(public_url) && request.has_type("application/json");
    if !looks && !is_ours {
        let detail = "With a session, a call that changes something comes from this site, as application/json.";
        return Err(Problem::new(403, detail).into());
    }
    Ok(Caller { actor: session.actor(), role: session.role })
}

/// The keys of Entra's that we have read, by tenant.
pub type KnownKeys = Mutex<HashMap<TenantId, Arc<Known>>>;

/// What Entra has said of how a tenant's tokens are signed.
#[derive(Debug)]
pub struct Known {
    issuer: String,
    keys: KeySet,
    read_at: Timestamp,
}

impl Known {
    fn validate(
        &self,
        app: &App,
        application: &application::ConsoleApplication,
        token: &Secret<String>,
    ) -> Result<access_token::Caller, NotBelieved> {
        let expected = Expected { client_id: &application.client_id, tenant: application.home, issuer: &self.issuer };
        access_token::validate(token, &self.keys, &expected, app.clock.now())
    }
}

/// From memory, if they are younger than this.
async fn known_keys(app: &App, tenant: TenantId, younger_than: SignedDuration) -> Result<Arc<Known>, Broken> {
    let remembered = || app.known_keys.lock().unwrap_or_else(PoisonError::into_inner);
    let now = app.clock.now();
    if let Some(known) = remembered().get(&tenant)
        && now.duration_since(known.read_at) < younger_than
    {
        return Ok(known.clone());
    }
    let discovery = sign_in::discover(app, tenant).await.map_err(Broken::Entra)?;
    let keys = sign_in::keys(app, &discovery).await.map_err(Broken::Entra)?;
    let known = Arc::new(Known { issuer: discovery.issuer, keys, read_at: now });
    remembered().insert(tenant, known.clone());
    Ok(known)
}

//! Microsoft Graph, as far as an application's own credentials go (MICROSOFT 5): who may, how often, and its errors.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::access_token::{self, Caller, Unbelieved};
use crate::application::Application;
use crate::dice::Dice;
use crate::fault::Route;
use crate::graph_credentials;
use crate::http::{Request, Response};
use crate::log::Trail;
use crate::refusal::Refused;
use crate::world::World;

const AUDIENCES: [&str; 2] = ["https://graph.microsoft.com", "00000003-0000-0000-c000-000000000000"];

/// How an address names an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    ObjectId(String),
    AppId(String),
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Read,
    Update,
    AddPassword,
    RemovePassword,
    AddKey,
    RemoveKey,
}

impl Call {
    pub(crate) fn of(method: &str, action: Option<&str>) -> Option<Self> {
        match (method, action) {
            ("GET", None) => Some(Self::Read),
            ("PATCH", None) => Some(Self::Update),
            ("POST", Some("addPassword")) => Some(Self::AddPassword),
            ("POST", Some("removePassword")) => Some(Self::RemovePassword),
            ("POST", Some("addKey")) => Some(Self::AddKey),
            ("POST", Some("removeKey")) => Some(Self::RemoveKey),
            _ => None,
        }
    }

    pub(crate) fn route(self) -> Route {
        match self {
            Self::Read => Route::GraphRead,
            Self::Update => Route::GraphUpdate,
            Self::AddPassword => Route::GraphAddPassword,
            Self::RemovePassword => Route::GraphRemovePassword,
            Self::AddKey => Route::GraphAddKey,
            Self::RemoveKey => Route::GraphRemoveKey,
        }
    }
}

/// One of Graph's errors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GraphError {
    status: u16,
    code: &'static str,
    message: String,
}

impl GraphError {
    pub(crate) fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "Request_BadRequest", message)
    }

    fn denied() -> Self {
        Self::new(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
    }

    fn not_found(id: &str) -> Self {
        let message =
            format!("Resource '{id}' does not exist or one of its queried reference-property objects are not present.");
        Self::new(404, "Request_ResourceNotFound", message)
    }

    fn concurrent() -> Self {
        let message = "Error due to concurrent requests being made to the tenant. Please wait briefly and retry.";
        Self::new(409, "Directory_ConcurrencyViolation", message)
    }

    fn throttled() -> Self {
        Self::new(429, "TooManyRequests", "Too many requests.")
    }

    pub(crate) fn nothing_to_remove() -> Self {
        Self::bad_request("No credentials found to be removed.")
    }

    /// The error that goes with a scripted status of this call.
    fn scripted(status: u16, (Key::ObjectId(id) | Key::AppId(id)): &Key, call: Call) -> Self {
        match status {
            400 if matches!(call, Call::RemovePassword | Call::RemoveKey) => Self::nothing_to_remove(),
            400 => Self::bad_request("Scripted by the simulator."),
            401 => Self::new(401, "InvalidAuthenticationToken", "Access token validation failure."),
            403 => Self::denied(),
            404 => Self::not_found(id),
            409 => Self::concurrent(),
            429 => Self::throttled(),
            503 => Self::new(503, "serviceNotAvailable", "The service is temporarily unavailable."),
            other => Self::new(other, "generalException", "An unexpected error occurred."),
        }
    }

    fn response(&self, request: &Request, now: Timestamp, dice: &mut Dice) -> Response {
        let own = dice.guid();
        let theirs = request.header("client-request-id").map_or_else(|| own.clone(), str::to_owned);
        let date = now.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let inner = json!({"date": date, "request-id": own, "client-request-id": theirs});
        let body = json!({"error": {"code": self.code, "message": self.message, "innerError": inner}});
        Response::json(self.status, &body).with("request-id", own)
    }
}

pub(crate) fn scripted_status(
    status: u16,
    (key, call): (&Key, Call),
    request: &Request,
    now: Timestamp,
    dice: &mut Dice,
) -> Response {
    GraphError::scripted(status, key, call).response(request, now, dice)
}

pub(crate) fn graph(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    key: &Key,
    call: Call,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let now = world.now;
    let answered = answer(world, dice, request, key, call, trail);
    answered.map_err(|refused| refused.map(|error| error.response(request, now, dice)))
}

fn answer(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    key: &Key,
    call: Call,
    trail: &mut Trail,
) -> Result<Response, Refused<GraphError>> {
    let caller = caller(request, world.now)?;
    if caller.for_a_user {
        return Err(Refused::NotModelled("Graph in the name of a user".into()));
    }
    trail.tenant = Some(caller.tenant_id.clone());
    trail.application = Some(caller.client_id.clone());
    let application = named(world, key, &caller)?;
    let owners = &world.registration(&application.client_id).owners;
    let owns = owners.iter().any(|owner| owner.eq_ignore_ascii_case(&caller.client_id));
    if !may(&caller, &application, owns, call) {
        return Err(GraphError::denied().into());
    }
    if call == Call::Read {
        return graph_credentials::read(world, dice, request, &application);
    }
    let body = body(request)?;
    settle_with_earlier_writes(world, &application)?;
    let response = match call {
        Call::Update => graph_credentials::replace_keys(world, dice, &application, &body),
        Call::AddPassword => graph_credentials::add_password(world, dice, &application, &body),
        Call::RemovePassword => graph_credentials::remove_password(world, dice, &application, &body),
        Call::AddKey => graph_credentials::add_key(world, dice, &application, &body),
        Call::RemoveKey | Call::Read => graph_credentials::remove_key(world, dice, &application, &body),
    }?;
    let now = world.now;
    world.replication.last_write.insert(application.client_id, now);
    Ok(response)
}

fn caller(request: &Request, now: Timestamp) -> Result<Caller, GraphError> {
    access_token::verify_for(&AUDIENCES, request.header("authorization"), now).map_err(|why| {
        let message = match why {
            Unbelieved::Missing => "Access token is empty.",
            Unbelieved::Malformed => "CompactToken parsing failed.",
            Unbelieved::Expired => "Lifetime validation failed, the token is expired.",
            Unbelieved::Audience => "Access token validation failure. Invalid audience.",
            Unbelieved::Signature | Unbelieved::NotYetValid | Unbelieved::Issuer => "Access token validation failure.",
        };
        GraphError::new(401, "InvalidAuthenticationToken", message)
    })
}

/// An application has its object in its home tenant and nowhere else.
fn named(world: &mut World, key: &Key, caller: &Caller) -> Result<Application, GraphError> {
    let found = match key {
        Key::AppId(client_id) => world.application(client_id).map(|application| application.clone()),
        Key::ObjectId(id) => world.applications().find(|known| known.object_id().eq_ignore_ascii_case(id)).cloned(),
    };
    let at_home = found.filter(|known| known.home_tenant_id.eq_ignore_ascii_case(&caller.tenant_id));
    let (Key::AppId(id) | Key::ObjectId(id)) = key;
    at_home.ok_or_else(|| GraphError::not_found(id))
}

/// MICROSOFT 5.3; an application rolls its own keys without any role (5.4).
fn may(caller: &Caller, application: &Application, owns: bool, call: Call) -> bool {
    let has = |name: &str| caller.roles.iter().any(|role| role == name);
    let own_keys =
        matches!(call, Call::AddKey | Call::RemoveKey) && caller.client_id.eq_ignore_ascii_case(&application.client_id);
    has("Application.ReadWrite.All")
        || has("Application.ReadWrite.OwnedBy") && owns
        || has("Application.Read.All") && call == Call::Read
        || own_keys
}

fn body(request: &Request) -> Result<Value, GraphError> {
    let content_type = request.header("content-type").unwrap_or_default();
    let is_json = content_type.split(';').next().map(str::trim) == Some("application/json");
    let body: Option<Value> = serde_json::from_slice(&request.body).ok();
    body.filter(|body| is_json && body.is_object()).ok_or_else(|| {
        let message = "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.";
        GraphError::new(400, "BadRequest", message)
    })
}

fn settle_with_earlier_writes(world: &World, application: &Application) -> Result<(), GraphError> {
    let last = world.replication.last_write.get(&application.client_id);
    let since = last.map(|last| world.now.duration_since(*last));
    let too_close = |since: SignedDuration| since < world.graph_write_spacing;
    if since.is_some_and(too_close) { Err(GraphError::concurrent()) } else { Ok(()) }
}

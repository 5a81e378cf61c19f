//! The simulator: a world, a clock, a seed and a log behind one function from request to response.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use url::form_urlencoded;

use crate::aadsts::Aadsts;
use crate::access_token;
use crate::dice::Dice;
use crate::entra_request::{EntraRequest, Version};
use crate::entrusted::Entrusted;
use crate::fault::{Fault, Route, endless, gateway_page};
use crate::filter::FilterError;
use crate::http::{Request, Response};
use crate::id_token::{self, ForgedWith, Subject};
use crate::log::{Entry, Trail};
use crate::login_page;
use crate::query::Query;
use crate::refusal::{Refused, not_modelled};
use crate::route::Endpoint;
use crate::session;
use crate::sign_in::{self, Choice};
use crate::storage_service;
use crate::world::World;
use crate::{admin_consent, authorize, control, defender, discovery, graph, machines_api, sign_out, time, token};

/// Entra, Graph, Defender and Azure Storage. Clones are the same simulator.
#[derive(Clone, Debug)]
pub struct Simulator {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    world: World,
    dice: Dice,
    log: Vec<Entry>,
    refusals: Vec<String>,
    entrusted: Entrusted,
    /// Set when the clock runs by itself: how far it is ahead of the machine's.
    ahead: Option<SignedDuration>,
}

impl Simulator {
    /// An empty world whose clock stands at `now` until it is moved.
    pub fn new(seed: u64, now: Timestamp) -> Self {
        let state = State {
            world: World::new(now),
            dice: Dice::new(seed),
            log: Vec::new(),
            refusals: Vec::new(),
            entrusted: Entrusted::default(),
            ahead: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Answers one request. The same requests in the same order get the same answers.
    pub fn handle(&self, request: Request) -> Response {
        if request.path().starts_with("/_simulator/") {
            return control::handle(self, &request).with("Date", time::http_date(self.now()));
        }
        self.state().answer(&request)
    }

    pub fn now(&self) -> Timestamp {
        self.state().world.now
    }

    /// Moves the clock by hand.
    pub fn advance(&self, by: SignedDuration) {
        let now = self.now();
        self.set_now(now.saturating_add(by).unwrap_or(now));
    }

    pub fn set_now(&self, now: Timestamp) {
        let mut state = self.state();
        state.world.now = now;
        if state.ahead.is_some() {
            state.ahead = Some(now.duration_since(Timestamp::now()));
        }
    }

    /// From now on the clock follows the machine's, ahead of it by what it is moved. For the program, not for tests.
    pub fn follow_real_clock(&self) {
        self.state().ahead = Some(SignedDuration::ZERO);
    }

    /// Looks into the world, or changes it.
    pub fn world<R>(&self, change: impl FnOnce(&mut World) -> R) -> R {
        change(&mut self.state().world)
    }

    pub fn log(&self) -> Vec<Entry> {
        self.state().log.clone()
    }

    /// How many requests had this in their target.
    pub fn count(&self, path_contains: &str) -> usize {
        self.state().log.iter().filter(|entry| entry.target.contains(path_contains)).count()
    }

    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    /// The requests it did not know, each with what is not modelled. A test harness fails when there is one.
    pub fn refusals(&self) -> Vec<String> {
        self.state().refusals.clone()
    }

    /// Every credential, token, code, state and nonce that it was shown or has sent somebody back with. A test harness
    /// looks for them where they do not belong.
    pub fn entrusted(&self) -> BTreeSet<String> {
        self.state().entrusted.all()
    }

    /// What a browser gets when a person opens this page of Entra, chooses an account and presses a button: the same
    /// two requests a browser makes. An address whose page asks nothing answers at once.
    pub fn choose(&self, url: &str, choice: Choice, user_oid: Option<&str>) -> Response {
        let target = url.split_once("://").map_or(url, |(_, rest)| rest.find('/').map_or("/", |at| &rest[at..]));
        let page = self.handle(Request::get(target));
        if page.header(login_page::QUESTION).is_none() {
            return page;
        }
        let action = match choice {
            Choice::Approve => "approve",
            Choice::Decline => "decline",
            Choice::Cancel => "cancel",
        };
        let user = user_oid.map(|oid| ("user", oid));
        let form = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(user.into_iter().chain([("action", action)]))
            .finish();
        self.handle(Request::post(target, "application/x-www-form-urlencoded", form))
    }

    /// The user signs in and approves. The `Location` of the redirect to the application; empty where Microsoft shows
    /// a page of its own instead, such as AADSTS50011.
    pub fn approve(&self, url: &str, user_oid: &str) -> String {
        location(&self.choose(url, Choice::Approve, Some(user_oid)))
    }

    /// The user signs in and declines.
    pub fn decline(&self, url: &str, user_oid: &str) -> String {
        location(&self.choose(url, Choice::Decline, Some(user_oid)))
    }

    /// Nobody signs in.
    pub fn cancel(&self, url: &str) -> String {
        location(&self.choose(url, Choice::Cancel, None))
    }

    /// The `Cookie` header of a browser in which this user is signed in at Entra; empty when there is no such user.
    pub fn session(&self, user_oid: &str) -> String {
        let mut state = self.state();
        let State { world, dice, .. } = &mut *state;
        let visitor = sign_in::anybody(world, user_oid);
        visitor.map(|visitor| session::begin(world, dice, &visitor)).unwrap_or_default()
    }

    /// The claims of an id_token Entra would give this user for this application, to start a forgery from.
    /// `null` when there is no such user or application.
    pub fn id_token_claims(&self, client_id: &str, user_oid: &str, nonce: &str) -> Value {
        let mut state = self.state();
        let State { world, dice, .. } = &mut *state;
        let (visitor, now) = (sign_in::anybody(world, user_oid), world.now);
        let claims_of_groups = world.registration(client_id).group_membership_claims;
        let app_roles = visitor.as_ref().map(|visitor| visitor.app_roles(world, client_id)).unwrap_or_default();
        let (Some(visitor), Some(application)) = (visitor, world.application(client_id)) else { return Value::Null };
        let (nonce, version, app_roles) = (Some(nonce), Version::V2, app_roles.as_slice());
        let subject =
            Subject { visitor: &visitor, application, claims_of_groups, nonce, profile: true, version, app_roles };
        subject.claims(now, dice)
    }

    /// An id_token that Entra never issued. `World::next_id_token` puts it into the answer for the next code.
    pub fn forge_id_token(&self, claims: Value, with: ForgedWith) -> String {
        id_token::forge(&claims, with)
    }

    /// A panic inside a change to the world fails its own test; the world stays readable for the report.
    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ahead) = state.ahead {
            let now = Timestamp::now();
            state.world.now = now.saturating_add(ahead).unwrap_or(now);
        }
        state
    }
}

impl State {
    fn answer(&mut self, request: &Request) -> Response {
        let mut trail = Trail::default();
        let result = match Endpoint::of(request) {
            Some(endpoint) => self.endpoint(request, &endpoint, &mut trail),
            None => Err(Refused::NotModelled("this method and path".into())),
        };
        let response = match result {
            Ok(response) | Err(Refused::Answer(response)) => response,
            Err(Refused::NotModelled(what)) => {
                self.refusals.push(format!("{} {}: {what}", request.method, request.target));
                not_modelled(&what)
            }
        };
        self.entrusted.gather(request, &response);
        self.log.push(Entry {
            at: self.world.now,
            method: request.method.clone(),
            target: request.target.clone(),
            status: response.status,
            tenant: trail.tenant,
            application: trail.application,
            credential: trail.credential.map(str::to_owned),
        });
        response.with("Date", time::http_date(self.world.now))
    }

    fn endpoint(&mut self, request: &Request, endpoint: &Endpoint, trail: &mut Trail) -> Result<Response, Refused> {
        // Who asks, believed or not: a scripted fault comes before anybody looks at the token.
        let claimed = access_token::claimed(request.header("authorization"));
        let path_tenant = endpoint.tenant().map(str::to_owned);
        trail.tenant = path_tenant.or_else(|| claimed.as_ref().map(|caller| caller.tenant_id.clone()));
        trail.application = claimed.map(|caller| caller.client_id);
        if !request.query().is_empty() && !endpoint.takes_a_query() {
            return Err(Refused::NotModelled("a query at this address".into()));
        }
        if let Endpoint::Storage(call) = endpoint
            && let Some(what) = call.not_modelled(request)
        {
            return Err(Refused::NotModelled(what));
        }
        let fault = self.world.next_fault(trail.tenant.as_deref(), endpoint.route());
        let out_of_place =
            matches!(fault, Fault::NextLink(_)) && !matches!(endpoint.route(), Route::Alerts | Route::Machines);
        if out_of_place || !fault.keeps_the_answer() {
            return self.scripted(request, endpoint, &fault, trail);
        }
        let (world, dice) = (&mut self.world, &mut self.dice);
        let answer = match endpoint {
            Endpoint::OpenidConfiguration { tenant } => discovery::openid_configuration(world, dice, request, tenant),
            Endpoint::Keys { tenant } => discovery::keys(world, dice, tenant),
            Endpoint::Token { tenant, version } => {
                token::token(world, dice, EntraRequest { request, segment: tenant, version: *version }, trail)
            }
            Endpoint::AdminConsent { tenant, version } => {
                let request = EntraRequest { request, segment: tenant, version: *version };
                admin_consent::admin_consent(world, dice, request, trail)
            }
            Endpoint::Authorize { tenant, version } => {
                let request = EntraRequest { request, segment: tenant, version: *version };
                authorize::authorize(world, dice, request, trail)
            }
            Endpoint::SignOut { tenant } => sign_out::sign_out(world, dice, request, tenant),
            Endpoint::Graph { key, call } => graph::graph(world, dice, request, key, *call, trail),
            Endpoint::Alerts => defender::list(world, dice, request, &fault, trail),
            Endpoint::Alert { id } => defender::one(world, dice, request, id, trail),
            Endpoint::Machines => machines_api::list(world, dice, request, &fault, trail),
            Endpoint::Machine { id } => machines_api::one(world, dice, request, id, trail),
            Endpoint::Storage(call) => storage_service::storage(world, dice, request, call, trail),
        };
        match answer {
            Ok(response) => Ok(fault.deliver(response)),
            Err(Refused::Answer(response)) => Ok(fault.deliver(response)),
            refused => refused,
        }
    }

    /// An answer in the place of the normal one. A request that is not modelled is refused all the same: a fault must
    /// not hide it.
    fn scripted(
        &mut self,
        request: &Request,
        endpoint: &Endpoint,
        fault: &Fault,
        trail: &Trail,
    ) -> Result<Response, Refused> {
        let known = match endpoint {
            Endpoint::Alerts => Query::parse(request.query()).map(|_| ()),
            Endpoint::Alert { .. } => Query::parse_single(request.query()).map(|_| ()),
            Endpoint::Machines => machines_api::Options::parse(request.query()).map(|_| ()),
            Endpoint::Machine { .. } => machines_api::Options::parse_single(request.query()),
            _ => Ok(()),
        };
        if let Err(FilterError::NotModelled(what)) = known {
            return Err(Refused::NotModelled(what));
        }
        if let (Endpoint::AdminConsent { tenant, version }, Fault::Aadsts(code)) = (endpoint, fault) {
            let request = EntraRequest { request, segment: tenant, version: *version };
            return admin_consent::scripted(&mut self.world, &mut self.dice, request, *code);
        }
        if let (Endpoint::Authorize { tenant, version }, Fault::Aadsts(code)) = (endpoint, fault) {
            let request = EntraRequest { request, segment: tenant, version: *version };
            return authorize::scripted(&mut self.world, &mut self.dice, request, *code);
        }
        if let Endpoint::Storage(call) = endpoint
            && let Some(response) = storage_service::scripted(&self.world, &mut self.dice, request, call, fault)
        {
            return Ok(response);
        }
        let (now, dice, route) = (self.world.now, &mut self.dice, endpoint.route());
        let entra = matches!(route, Route::Token | Route::Discovery);
        let limit = self.world.quota.per_minute;
        if let Endpoint::Graph { key, call } = endpoint {
            let mut status = |status| graph::scripted_status(status, (key, *call), request, now, dice);
            match fault {
                Fault::Status(scripted) => return Ok(status(*scripted)),
                Fault::ExpiredToken => return Ok(status(401)),
                Fault::Throttled { seconds, header, .. } => {
                    let response = status(429);
                    return Ok(if *header { response.with("Retry-After", seconds.to_string()) } else { response });
                }
                _ => {}
            }
        }
        Ok(match fault {
            Fault::Status(status) if endpoint.is_page() => gateway_page(*status),
            Fault::Status(status) if matches!(endpoint, Endpoint::Storage(_)) => gateway_page(*status),
            Fault::Throttled { seconds, header, .. } if endpoint.is_page() => {
                let page = gateway_page(429);
                if *header { page.with("Retry-After", seconds.to_string()) } else { page }
            }
            Fault::Status(status) if entra => entra_status(*status, now, dice),
            Fault::Status(status) => defender::scripted_status(*status, dice),
            Fault::Throttled { seconds, header, words } if entra => {
                let mut response = Aadsts::new(90055, throttling_text(*seconds, *words)).response(now, dice);
                response.headers.retain(|(name, _)| name != "Retry-After");
                if *header { response.with("Retry-After", seconds.to_string()) } else { response }
            }
            Fault::Throttled { seconds, header, words } => {
                let (seconds, target) = (i64::from(*seconds), trail.tenant.clone().unwrap_or_default());
                defender::throttled(limit, "00:01:00", header.then_some(seconds), words.then_some(seconds), &target)
            }
            Fault::Aadsts(code) if entra => Aadsts::scripted(*code).response(now, dice),
            Fault::Html(status) => gateway_page(*status),
            Fault::Endless => Response::new(200, "application/json; charset=utf-8", endless(beginning(route).into())),
            Fault::Body { status, content_type, text } => Response::new(*status, content_type, text.as_str()),
            Fault::ExpiredToken if is_defender(route) => defender::expired(dice),
            other => return Err(Refused::NotModelled(format!("the fault {other:?} on the route {route:?}"))),
        })
    }
}

fn location(response: &Response) -> String {
    response.header("location").unwrap_or_default().to_owned()
}

fn throttling_text(seconds: u32, words: bool) -> String {
    let again = if words { format!(" You can send requests again in {seconds} seconds.") } else { String::new() };
    format!("Tenant request is being throttled.{again}")
}

/// A status from Entra with a code that goes with it; what is not Entra's own comes from the gateway before it.
fn entra_status(status: u16, now: Timestamp, dice: &mut Dice) -> Response {
    match status {
        400 => Aadsts::new(90014, "The required field is missing.").response(now, dice),
        401 => Aadsts::new(7000215, "Invalid client secret provided.").response(now, dice),
        429 => Aadsts::new(90055, throttling_text(60, false)).response(now, dice),
        503 => Aadsts::new(90033, "A transient error has occurred. Please try again.").response(now, dice),
        500 => Aadsts::new(90033, "A transient error has occurred. Please try again.").response_as(
            500,
            "temporarily_unavailable",
            now,
            dice,
        ),
        other => gateway_page(other),
    }
}

fn is_defender(route: Route) -> bool {
    matches!(route, Route::Alerts | Route::Alert | Route::Machines | Route::Machine)
}

/// How a good body begins; the filler that follows is inside a string.
fn beginning(route: Route) -> &'static str {
    match route {
        Route::Token => r#"{"token_type":"Bearer","expires_in":3599,"ext_expires_in":3599,"access_token":""#,
        Route::Discovery => r#"{"issuer":""#,
        Route::Consent | Route::Authorize | Route::SignOut => "<!DOCTYPE html>\n<html><head><title>",
        Route::GraphRead | Route::GraphUpdate => r#"{"@odata.context":""#,
        Route::GraphAddPassword | Route::GraphRemovePassword => r#"{"@odata.context":""#,
        Route::GraphAddKey | Route::GraphRemoveKey => r#"{"@odata.context":""#,
        Route::Alerts => {
            r#"{"@odata.context":"https://api.securitycenter.microsoft.com/api/$metadata#Alerts","value":[{"id":"da1_1","title":""#
        }
        Route::Alert => r#"{"id":"da1_1","title":""#,
        Route::Machines => {
            r#"{"@odata.context":"https://api.securitycenter.microsoft.com/api/$metadata#Machines","value":[{"id":"0e1","computerDnsName":""#
        }
        Route::Machine => r#"{"id":"0e1","computerDnsName":""#,
        Route::BlobList => "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><EnumerationResults><Blobs><Blob><Name>",
        Route::Blob => r#"{"time":""#,
        Route::QueuePeek | Route::QueueReceive | Route::QueuePut | Route::QueueDelete => {
            "\u{feff}<?xml version=\"1.0\" encoding=\"utf-8\"?><QueueMessagesList><QueueMessage><MessageText>"
        }
    }
}

//! Defender's alerts API (MICROSOFT 3.2, 3.5): who may call, how often, and what they get.

use std::collections::BTreeSet;

use serde_json::json;

use crate::access_token::{self, Caller, Unbelieved};
use crate::alerts::Item;
use crate::dice::{Dice, mix};
use crate::fault::Fault;
use crate::filter::FilterError;
use crate::http::{Request, Response};
use crate::log::Trail;
use crate::page::{page, single};
use crate::query::Query;
use crate::refusal::Refused;
use crate::tenant::{Licence, Tenant};
use crate::world::World;

/// Either role opens the alerts API.
const ROLES: [&str; 2] = ["Alert.Read.All", "Alert.ReadWrite.All"];

pub(crate) fn list(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    fault: &Fault,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let query = judge(Query::parse(request.query()))?;
    let (tenant, now) = (admit(world, dice, request, &ROLES, trail)?, world.now);
    let query = query.map_err(|message| Refused::Answer(bad_request(&message, dice)))?;
    let Some(tenant) = world.tenant(&tenant) else { return Err(Refused::Answer(unauthorized(dice, "Unauthorized"))) };

    let matching = tenant
        .alerts
        .items()
        .filter(|item| item.visible_from() <= now && query.filter.as_ref().is_none_or(|filter| filter.holds(item)));
    let salt = if tenant.alerts.unstable_order { dice.roll() } else { mix(1) };
    let mut ranked: Vec<(u64, Item)> = matching.map(|item| (item.rank(salt), item)).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let total = ranked.len();
    let items: Vec<Item> = ranked.into_iter().map(|(_, item)| item).skip(query.skip).take(query.top).collect();
    if items.iter().any(|item| is_poison(tenant, item, query.expand)) {
        return Err(Refused::Answer(internal_error(dice)));
    }

    let seen = query.skip.saturating_add(items.len());
    let next_link = match fault {
        Fault::NextLink(link) => Some(link.clone()),
        _ if tenant.next_links && items.len() == query.top && seen < total => {
            let origin = request.origin("https://api.securitycenter.microsoft.com");
            Some(format!("{origin}{}?{}", request.path(), Query::with_skip(request.query(), seen)))
        }
        _ => None,
    };
    tenant.alerts.apply_next_change();
    Ok(Response::new(200, CONTENT_TYPE, page(items, query.expand, next_link)))
}

pub(crate) fn one(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    id: &str,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let expand = judge(Query::parse_single(request.query()))?;
    let (tenant, now) = (admit(world, dice, request, &ROLES, trail)?, world.now);
    let expand = expand.map_err(|message| Refused::Answer(bad_request(&message, dice)))?;
    let Some(tenant) = world.tenant(&tenant) else { return Err(Refused::Answer(unauthorized(dice, "Unauthorized"))) };
    let Some(item) = tenant.alerts.item(id).filter(|item| item.visible_from() <= now) else {
        return Err(Refused::Answer(not_found(dice, "Alert", id)));
    };
    if is_poison(tenant, &item, expand) {
        return Err(Refused::Answer(internal_error(dice)));
    }
    Ok(Response::new(200, CONTENT_TYPE, single(&item, expand)))
}

/// The answer to a scripted status; for the statuses Defender documents, with the body it documents.
pub(crate) fn scripted_status(status: u16, dice: &mut Dice) -> Response {
    match status {
        400 => error(400, "BadRequest", "The request could not be understood by the server.", &dice.guid()),
        401 => unauthorized(dice, "Unauthorized"),
        403 => forbidden(dice, "Forbidden", "The application is not allowed to perform this operation."),
        404 => not_found(dice, "Resource", "requested"),
        429 => throttled(100, "00:01:00", Some(60), Some(60), &dice.guid()),
        500 => internal_error(dice),
        other => crate::fault::gateway_page(other),
    }
}

pub(crate) fn expired(dice: &mut Dice) -> Response {
    unauthorized(dice, "Unauthorized: the access token has expired.")
}

/// `header` is `Retry-After`, `words` what the message says; neither can be relied on (MICROSOFT 3.5).
pub(crate) fn throttled(limit: u32, window: &str, header: Option<i64>, words: Option<i64>, target: &str) -> Response {
    let mut message = format!(
        "API calls quota exceeded! Maximum allowed {limit} per {window} for the key Destination+TenantID+AppID."
    );
    if let Some(seconds) = words {
        message.push_str(&format!(" You can send requests again in {seconds} seconds."));
    }
    // The documentation says TooManyRequests; the live service says 429.
    let response = error(429, "429", &message, target);
    match header {
        Some(seconds) => response.with("Retry-After", seconds.to_string()),
        None => response,
    }
}

pub(crate) const CONTENT_TYPE: &str = "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8";

/// What is not modelled ends the request at once; what is invalid waits until the caller was let in.
pub(crate) fn judge<T>(options: Result<T, FilterError>) -> Result<Result<T, String>, Refused> {
    match options {
        Ok(options) => Ok(Ok(options)),
        Err(FilterError::NotModelled(what)) => Err(Refused::NotModelled(what)),
        Err(FilterError::Invalid(message)) => Ok(Err(message)),
    }
}

/// Token, tenant, licence, roles, quota, in this order; the id of the tenant that may be read.
pub(crate) fn admit(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    roles: &[&str],
    trail: &mut Trail,
) -> Result<String, Refused> {
    let now = world.now;
    let caller =
        access_token::verify(request.header("authorization"), now).map_err(|reason| disbelieve(reason, dice))?;
    trail.tenant = Some(caller.tenant_id.clone());
    trail.application = Some(caller.client_id.clone());
    let Some(tenant) = world.tenant(&caller.tenant_id).filter(|tenant| !tenant.deleted) else {
        return Err(Refused::Answer(unauthorized(dice, "Unauthorized")));
    };
    licensed_and_allowed(tenant, &caller, roles, dice).map_err(Refused::Answer)?;
    let quota = world.quota;
    let calls = world.calls.entry((caller.tenant_id.clone(), caller.client_id)).or_default();
    quota.admit(calls, now).map_err(|over| {
        let seconds = Some(over.seconds);
        Refused::Answer(throttled(over.limit, over.window, seconds, seconds, &caller.tenant_id))
    })?;
    Ok(caller.tenant_id)
}

fn disbelieve(reason: Unbelieved, dice: &mut Dice) -> Refused {
    Refused::Answer(match reason {
        Unbelieved::Expired => expired(dice),
        Unbelieved::Audience => forbidden(dice, "Forbidden", "The access token is for another audience."),
        Unbelieved::Missing => unauthorized(dice, "Unauthorized: no bearer token."),
        _ => unauthorized(dice, "Unauthorized: the access token is not valid."),
    })
}

fn licensed_and_allowed(tenant: &Tenant, caller: &Caller, roles: &[&str], dice: &mut Dice) -> Result<(), Response> {
    match tenant.licence {
        Licence::AccountInactive => {
            return Err(unauthorized(dice, "Unauthorized request - reason of failure: Account mode is inactive"));
        }
        Licence::NoTvmLicence => {
            return Err(unauthorized(dice, "Unauthorized request - reason of failure: No Tvm license"));
        }
        Licence::Active | Licence::InvalidLicense => {}
    }
    if !caller.roles.iter().any(|role| roles.contains(&role.as_str())) {
        let message = format!(
            "Missing application roles. API required roles: {}, application roles: {}.",
            roles.join(","),
            caller.roles.join(",")
        );
        return Err(forbidden(dice, "Forbidden", &message));
    }
    if tenant.licence == Licence::InvalidLicense {
        return Err(forbidden(dice, "InvalidLicense", "Missing consent"));
    }
    if tenant.rbac_denied {
        return Err(forbidden(dice, "Forbidden", "The application is not allowed to perform this operation."));
    }
    Ok(())
}

fn is_poison(tenant: &Tenant, item: &Item, expand: bool) -> bool {
    let alerts = &tenant.alerts;
    let holds = |ids: &BTreeSet<String>| !ids.is_empty() && ids.contains(&*item.id());
    (expand && holds(&alerts.poison)) || holds(&alerts.unanswerable)
}

pub(crate) fn error(status: u16, code: &str, message: &str, target: &str) -> Response {
    Response::json(status, &json!({"error": {"code": code, "message": message, "target": target}}))
}

pub(crate) fn bad_request(message: &str, dice: &mut Dice) -> Response {
    error(400, "ODataError", message, &dice.guid())
}

pub(crate) fn unauthorized(dice: &mut Dice, message: &str) -> Response {
    error(401, "Unauthorized", message, &dice.guid()).with("WWW-Authenticate", "Bearer")
}

fn forbidden(dice: &mut Dice, code: &str, message: &str) -> Response {
    error(403, code, message, &dice.guid())
}

pub(crate) fn not_found(dice: &mut Dice, what: &str, id: &str) -> Response {
    error(404, "ResourceNotFound", &format!("{what} {id} was not found."), &dice.guid())
}

fn internal_error(dice: &mut Dice) -> Response {
    error(500, "InternalServerError", "Something went wrong. Please try again, or contact support.", &dice.guid())
}

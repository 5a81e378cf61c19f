//! Azure Storage's answer to one call: who is let in, and what goes wrong on order (MICROSOFT 4.4–4.6).

use crate::access_token::{Unbelieved, verify_for};
use crate::blob_service;
use crate::dice::Dice;
use crate::fault::Fault;
use crate::http::{Request, Response};
use crate::log::Trail;
use crate::queue_service;
use crate::refusal::Refused;
use crate::storage::StorageAccount;
use crate::storage_answer::Answer;
use crate::storage_call::{StorageCall, Verb};
use crate::world::World;

/// The audience of every account, in every cloud.
pub(crate) const STORAGE_AUDIENCE: &str = "https://storage.azure.com";

/// Bearer tokens are believed from this version on; the newest is what Microsoft's own crates send.
const VERSIONS: std::ops::RangeInclusive<&str> = "2017-11-09"..="2026-04-06";

pub(crate) fn storage(
    world: &mut World,
    dice: &mut Dice,
    request: &Request,
    call: &StorageCall,
    trail: &mut Trail,
) -> Result<Response, Refused> {
    let answer = Answer::to(request, call, world.now, dice);
    let account = admit(world, request, call, &answer, trail)?;
    match &call.verb {
        Verb::ListBlobs { container } => blob_service::list(account, request, container, &answer),
        Verb::ReadBlob { container, blob } => blob_service::read(account, request, container, blob, &answer),
        Verb::WriteBlob => Err(Refused::NotModelled("a write to a blob".into())),
        Verb::Peek { queue } | Verb::Receive { queue } | Verb::Put { queue } => {
            queue_service::messages(account, request, call, queue, &answer)
        }
        Verb::Delete { queue, id } | Verb::Update { queue, id } => {
            queue_service::message(account, request, call, (queue, id), &answer)
        }
    }
}

/// Version, token, firewall, role, in this order.
fn admit<'a>(
    world: &'a mut World,
    request: &Request,
    call: &StorageCall,
    answer: &Answer,
    trail: &mut Trail,
) -> Result<&'a mut StorageAccount, Refused> {
    let now = world.now;
    let Some(account) = world.storage(&call.account) else {
        // Its host's name would lead nowhere.
        return Err(Refused::NotModelled(format!("the storage account {}", call.account)));
    };
    judge_version(request, answer)?;
    let caller = verify_for(&[STORAGE_AUDIENCE], request.header("authorization"), now)
        .map_err(|reason| disbelieve(reason, &account.tenant_id, answer))?;
    trail.tenant = Some(caller.tenant_id.clone());
    trail.application = Some(caller.client_id.clone());
    if !caller.tenant_id.eq_ignore_ascii_case(&account.tenant_id) {
        return Err(disbelieve(Unbelieved::Issuer, &account.tenant_id, answer).into());
    }
    if account.firewall {
        let message = "This request is not authorized to perform this operation.";
        return Err(answer.error(403, "AuthorizationFailure", message).into());
    }
    if !account.allows(&caller.client_id, call.operation()) {
        return Err(permission_mismatch(answer).into());
    }
    Ok(account)
}

/// Without a version it is the oldest one, which has never heard of bearer tokens.
fn judge_version(request: &Request, answer: &Answer) -> Result<(), Response> {
    let version = request.header("x-ms-version").unwrap_or("2009-07-17");
    let is_date = version.len() == 10
        && version
            .bytes()
            .enumerate()
            .all(|(place, byte)| if matches!(place, 4 | 7) { byte == b'-' } else { byte.is_ascii_digit() });
    if !is_date || version > *VERSIONS.end() {
        return Err(answer.detailed(
            400,
            "InvalidHeaderValue",
            "The value for one of the HTTP headers is not in the correct format.",
            &[("HeaderName", "x-ms-version"), ("HeaderValue", version)],
        ));
    }
    if version < *VERSIONS.start() {
        return Err(answer.detailed(
            403,
            "AuthenticationFailed",
            "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly including the signature.",
            &[("AuthenticationErrorDetail", "Authentication scheme Bearer is not supported in this version.")],
        ));
    }
    Ok(())
}

/// 401 with the tenant whose tokens would be believed.
fn disbelieve(reason: Unbelieved, tenant_id: &str, answer: &Answer) -> Response {
    let detail = match reason {
        Unbelieved::Missing => {
            let message = "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
            return challenged(answer.error(401, "NoAuthenticationInformation", message), tenant_id);
        }
        Unbelieved::Malformed => "The token could not be read.",
        Unbelieved::Signature => "Signature validation failed. Signature verification failed.",
        Unbelieved::Expired => "Lifetime validation failed. The token is expired.",
        Unbelieved::NotYetValid => "Lifetime validation failed. The token is not yet valid.",
        Unbelieved::Issuer => "Issuer validation failed. Issuer did not match.",
        Unbelieved::Audience => "Audience validation failed. Audience did not match.",
    };
    let message =
        "Server failed to authenticate the request. Please refer to the information in the www-authenticate header.";
    let details = [("AuthenticationErrorDetail", detail)];
    challenged(answer.detailed(401, "InvalidAuthenticationInfo", message, &details), tenant_id)
}

fn challenged(response: Response, tenant_id: &str) -> Response {
    response.with(
        "WWW-Authenticate",
        format!(
            "Bearer authorization_uri=https://login.microsoftonline.com/{tenant_id}/oauth2/authorize resource_id={STORAGE_AUDIENCE}"
        ),
    )
}

fn permission_mismatch(answer: &Answer) -> Response {
    let message = "This request is not authorized to perform this operation using this permission.";
    answer.error(403, "AuthorizationPermissionMismatch", message)
}

/// The answer to a scripted fault; `None` where the fault means nothing here.
pub(crate) fn scripted(
    world: &World,
    dice: &mut Dice,
    request: &Request,
    call: &StorageCall,
    fault: &Fault,
) -> Option<Response> {
    let answer = Answer::to(request, call, world.now, dice);
    let tenant = world.storage_accounts().find(|account| account.name == call.account);
    let tenant_id = tenant.map_or("common", |account| &account.tenant_id);
    Some(match fault {
        Fault::ExpiredToken => disbelieve(Unbelieved::Expired, tenant_id, &answer),
        Fault::Status(401) => disbelieve(Unbelieved::Signature, tenant_id, &answer),
        Fault::Status(403) => permission_mismatch(&answer),
        Fault::Status(404) => not_found(call, &answer),
        Fault::Status(409) => being_deleted(call, &answer),
        Fault::Status(412) => condition_not_met(&answer),
        Fault::Status(429) => answer.error(429, "TooManyRequests", "The request rate is over the limit."),
        Fault::Status(500) => {
            answer.error(500, "OperationTimedOut", "Operation could not be completed within the specified time.")
        }
        Fault::Status(503) => busy(&answer, "The server is busy."),
        // Over an account's limits Azure Storage says 503, not 429.
        Fault::Throttled { seconds, header, .. } => {
            let response = busy(&answer, "Operations per second is over the account limit.");
            if *header { response.with("Retry-After", seconds.to_string()) } else { response }
        }
        _ => return None,
    })
}

fn busy(answer: &Answer, message: &str) -> Response {
    answer.error(503, "ServerBusy", message)
}

fn not_found(call: &StorageCall, answer: &Answer) -> Response {
    match &call.verb {
        Verb::ListBlobs { .. } => container_not_found(answer),
        Verb::ReadBlob { .. } | Verb::WriteBlob => {
            answer.error(404, "BlobNotFound", "The specified blob does not exist.")
        }
        Verb::Delete { .. } | Verb::Update { .. } => message_not_found(answer),
        Verb::Peek { .. } | Verb::Receive { .. } | Verb::Put { .. } => queue_not_found(answer),
    }
}

fn being_deleted(call: &StorageCall, answer: &Answer) -> Response {
    if call.is_of_a_queue() {
        return answer.error(409, "QueueBeingDeleted", "The specified queue is being deleted.");
    }
    answer.error(409, "ContainerBeingDeleted", "The specified container is being deleted. Try operation later.")
}

pub(crate) fn container_not_found(answer: &Answer) -> Response {
    answer.error(404, "ContainerNotFound", "The specified container does not exist.")
}

pub(crate) fn queue_not_found(answer: &Answer) -> Response {
    answer.error(404, "QueueNotFound", "The specified queue does not exist.")
}

pub(crate) fn message_not_found(answer: &Answer) -> Response {
    answer.error(404, "MessageNotFound", "The specified message does not exist.")
}

pub(crate) fn condition_not_met(answer: &Answer) -> Response {
    let message = "The condition specified using HTTP conditional header(s) is not met.";
    answer.error(412, "ConditionNotMet", message)
}

//! The Queue service's messages: put, get, peek, delete, update (MICROSOFT 4.4).

use std::ops::RangeInclusive;

use jiff::SignedDuration;

use crate::http::{Request, Response};
use crate::queue::{Message, NotYours};
use crate::refusal::Refused;
use crate::storage::StorageAccount;
use crate::storage_answer::{Answer, XML_START, escape, unescape};
use crate::storage_call::{StorageCall, Verb, parameter};
use crate::storage_service::{message_not_found, queue_not_found};
use crate::time::http_date;

const DAYS_7: i64 = 7 * 86_400;
/// Of a message's text, base64 or not.
const TEXT_MAXIMUM: usize = 64 * 1024;

/// Everything on `{queue}/messages`.
pub(crate) fn messages(
    account: &mut StorageAccount,
    request: &Request,
    call: &StorageCall,
    queue: &str,
    answer: &Answer,
) -> Result<Response, Refused> {
    let number = |name, range, otherwise| number(request, name, range, otherwise, answer);
    let Some(queue) = account.queue(queue) else { return Err(queue_not_found(answer).into()) };
    let (status, messages, shown) = match call.verb {
        Verb::Peek { .. } => {
            let count = number("numofmessages", 1..=32, 1)?;
            (200, queue.peek(usize::try_from(count).unwrap_or(1)), Shown::Peeked)
        }
        Verb::Put { .. } => {
            let hidden_for = seconds(number("visibilitytimeout", 0..=DAYS_7, 0)?);
            let time_to_live = match number("messagettl", -1..=i64::from(i32::MAX), DAYS_7)? {
                -1 => None,
                0 => return Err(answer.out_of_range("messagettl", "0", 1, i64::from(i32::MAX)).into()),
                seconds => Some(self::seconds(seconds)),
            };
            let text = text(&request.body, answer)?;
            (201, vec![queue.put(&text, hidden_for, time_to_live).clone()], Shown::Put)
        }
        _ => {
            let count = number("numofmessages", 1..=32, 1)?;
            let hidden_for = seconds(number("visibilitytimeout", 1..=DAYS_7, 30)?);
            (200, queue.receive(usize::try_from(count).unwrap_or(1), hidden_for), Shown::Received)
        }
    };
    if messages.is_empty() {
        return Ok(answer.xml(status, "<QueueMessagesList />"));
    }
    let entries: String = messages.iter().map(|message| shown.entry(message)).collect();
    Ok(answer.xml(status, &format!("<QueueMessagesList>{entries}</QueueMessagesList>")))
}

/// Everything on `{queue}/messages/{id}`.
pub(crate) fn message(
    account: &mut StorageAccount,
    request: &Request,
    call: &StorageCall,
    (queue, id): (&str, &str),
    answer: &Answer,
) -> Result<Response, Refused> {
    let receipt = required(request, "popreceipt", answer)?;
    let changed = if let Verb::Update { .. } = call.verb {
        required(request, "visibilitytimeout", answer)?;
        let hidden_for = seconds(number(request, "visibilitytimeout", 0..=DAYS_7, 0, answer)?);
        let text = if request.body.is_empty() { None } else { Some(text(&request.body, answer)?) };
        Some((hidden_for, text))
    } else {
        None
    };
    let Some(queue) = account.queue(queue) else { return Err(queue_not_found(answer).into()) };
    let not_yours = |reason| match reason {
        NotYours::NotFound => message_not_found(answer),
        NotYours::Mismatch => {
            let message = "The specified pop receipt did not match the pop receipt for a dequeued message.";
            answer.error(400, "PopReceiptMismatch", message)
        }
    };
    match changed {
        None => queue.delete(id, &receipt).map(|()| answer.no_content()),
        Some((hidden_for, text)) => queue.update(id, &receipt, hidden_for, text).map(|message| {
            answer
                .no_content()
                .with("x-ms-popreceipt", message.receipt)
                .with("x-ms-time-next-visible", http_date(message.visible_from))
        }),
    }
    .map_err(|reason| not_yours(reason).into())
}

/// What an answer tells of a message.
#[derive(Clone, Copy)]
enum Shown {
    Peeked,
    Received,
    Put,
}

impl Shown {
    fn entry(self, message: &Message) -> String {
        let lease = || {
            format!(
                "<PopReceipt>{}</PopReceipt><TimeNextVisible>{}</TimeNextVisible>",
                escape(&message.receipt),
                http_date(message.visible_from)
            )
        };
        let content = || {
            let (count, text) = (message.dequeue_count, escape(&message.text));
            format!("<DequeueCount>{count}</DequeueCount><MessageText>{text}</MessageText>")
        };
        let (lease, content) = match self {
            Self::Peeked => (String::new(), content()),
            Self::Received => (lease(), content()),
            Self::Put => (lease(), String::new()),
        };
        format!(
            "<QueueMessage><MessageId>{}</MessageId><InsertionTime>{}</InsertionTime><ExpirationTime>{}</ExpirationTime>{lease}{content}</QueueMessage>",
            message.id,
            http_date(message.inserted),
            http_date(message.expires)
        )
    }
}

fn seconds(number: i64) -> SignedDuration {
    SignedDuration::from_secs(number)
}

fn number(
    request: &Request,
    name: &str,
    range: RangeInclusive<i64>,
    otherwise: i64,
    answer: &Answer,
) -> Result<i64, Response> {
    let Some(text) = parameter(request, name) else { return Ok(otherwise) };
    let Ok(number) = text.parse::<i64>() else { return Err(answer.invalid_parameter(name, &text)) };
    if range.contains(&number) {
        Ok(number)
    } else {
        Err(answer.out_of_range(name, &text, *range.start(), *range.end()))
    }
}

fn required(request: &Request, name: &str, answer: &Answer) -> Result<String, Response> {
    parameter(request, name).filter(|value| !value.is_empty()).ok_or_else(|| {
        answer.detailed(
            400,
            "MissingRequiredQueryParameter",
            "A query parameter that's mandatory for this request is not specified.",
            &[("QueryParameterName", name)],
        )
    })
}

/// What stands in `<QueueMessage><MessageText>…`.
fn text(body: &[u8], answer: &Answer) -> Result<String, Response> {
    let invalid = || answer.error(400, "InvalidXmlDocument", "XML specified is not syntactically valid.");
    let body = std::str::from_utf8(body).map_err(|_| invalid())?;
    let body = body.trim_start_matches(XML_START).trim_start_matches('\u{feff}');
    let body = body.split_once("?>").map_or(body, |(_, rest)| rest).trim();
    let inner = body.strip_prefix("<QueueMessage>").and_then(|rest| rest.strip_suffix("</QueueMessage>"));
    let inner = inner.ok_or_else(invalid)?.trim();
    let text = match inner {
        "<MessageText/>" | "<MessageText />" => Some(String::new()),
        _ => inner
            .strip_prefix("<MessageText>")
            .and_then(|rest| rest.strip_suffix("</MessageText>"))
            .filter(|text| !text.contains('<'))
            .and_then(unescape),
    };
    let text = text.ok_or_else(invalid)?;
    if text.len() > TEXT_MAXIMUM {
        let message = "The request body is too large and exceeds the maximum permissible limit.";
        let details = [("MaxLimit", "65536")];
        return Err(answer.detailed(413, "RequestBodyTooLarge", message, &details));
    }
    Ok(text)
}

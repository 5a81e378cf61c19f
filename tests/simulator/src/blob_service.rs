//! The Blob service, as far as a reader needs it: List Blobs, Get Blob, Get Blob Properties (MICROSOFT 4.5).

use std::ops::Bound;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::append_blob::AppendBlob;
use crate::http::{Request, Response};
use crate::refusal::Refused;
use crate::storage::StorageAccount;
use crate::storage_answer::{Answer, escape};
use crate::storage_call::{StorageCall, parameter};
use crate::storage_service::{condition_not_met, container_not_found};
use crate::time::http_date;

/// What Azure calls a page's end: everything up to this name has been listed.
const MARKER_START: &str = "2!";

pub(crate) fn list(
    account: &StorageAccount,
    request: &Request,
    container: &str,
    answer: &Answer,
) -> Result<Response, Refused> {
    let prefix = parameter(request, "prefix").unwrap_or_default();
    let maximum = parameter(request, "maxresults");
    let most = match maximum.as_deref().map(|text| (text, text.parse::<i64>())) {
        None => account.list_page,
        // More than 5000 is asked for in vain, and no error.
        Some((_, Ok(number @ 1..))) => usize::try_from(number).unwrap_or(usize::MAX).min(account.list_page),
        Some((text, _)) => return Err(answer.out_of_range("maxresults", text, 1, 5000).into()),
    };
    let marker = parameter(request, "marker").unwrap_or_default();
    let Some(after) = after_marker(&marker) else {
        return Err(answer.invalid_parameter("marker", &marker).into());
    };
    let Some(blobs) = account.container(container) else { return Err(container_not_found(answer).into()) };

    let from = match after {
        Some(after) if after >= prefix => Bound::Excluded(after),
        _ => Bound::Included(prefix.clone()),
    };
    let mut matching =
        blobs.range((from, Bound::Unbounded)).take_while(|(name, _)| name.starts_with(&prefix)).peekable();
    let page: Vec<(&String, &AppendBlob)> = matching.by_ref().take(most.max(1)).collect();
    let next = page.last().filter(|_| matching.peek().is_some()).map(|(name, _)| marker_after(name));

    let mut xml = format!(
        "<EnumerationResults ServiceEndpoint=\"https://{}.blob.core.windows.net/\" ContainerName=\"{}\">",
        account.name,
        escape(container)
    );
    for (name, value) in [("Prefix", &prefix), ("Marker", &marker), ("MaxResults", &maximum.unwrap_or_default())] {
        if !value.is_empty() {
            xml.push_str(&format!("<{name}>{}</{name}>", escape(value)));
        }
    }
    xml.push_str("<Blobs>");
    page.into_iter().for_each(|(name, blob)| xml.push_str(&entry(name, blob)));
    xml.push_str("</Blobs>");
    xml.push_str(&next.map_or("<NextMarker />".into(), |next| format!("<NextMarker>{}</NextMarker>", escape(&next))));
    xml.push_str("</EnumerationResults>");
    Ok(answer.xml(200, &xml))
}

fn entry(name: &str, blob: &AppendBlob) -> String {
    format!(
        "<Blob><Name>{}</Name><Properties><Creation-Time>{}</Creation-Time><Last-Modified>{}</Last-Modified><Etag>{}</Etag><Content-Length>{}</Content-Length><Content-Type>application/octet-stream</Content-Type><Content-Encoding /><Content-Language /><Content-CRC64 /><Content-MD5 /><Cache-Control /><Content-Disposition /><BlobType>AppendBlob</BlobType><LeaseStatus>unlocked</LeaseStatus><LeaseState>available</LeaseState><ServerEncrypted>true</ServerEncrypted></Properties><OrMetadata /></Blob>",
        escape(name),
        http_date(blob.created),
        http_date(blob.modified),
        blob.etag,
        blob.length()
    )
}

/// A text that nobody should look into, with everything in it that an address has to escape.
fn marker_after(name: &str) -> String {
    let text = STANDARD.encode(name);
    format!("{MARKER_START}{}!{text}", text.len())
}

/// The name a marker stands for, `None` without a marker; nothing at all where it is not one of ours.
fn after_marker(marker: &str) -> Option<Option<String>> {
    if marker.is_empty() {
        return Some(None);
    }
    let (_, text) = marker.strip_prefix(MARKER_START)?.split_once('!')?;
    Some(Some(String::from_utf8(STANDARD.decode(text).ok()?).ok()?))
}

/// `GET` or `HEAD`.
pub(crate) fn read(
    account: &StorageAccount,
    request: &Request,
    container: &str,
    name: &str,
    answer: &Answer,
) -> Result<Response, Refused> {
    if account.container(container).is_none() {
        return Err(container_not_found(answer).into());
    }
    let Some(blob) = account.blob(container, name) else {
        return Err(answer.error(404, "BlobNotFound", "The specified blob does not exist.").into());
    };
    if !satisfied(request, blob)? {
        return Err(condition_not_met(answer).into());
    }
    let length = blob.length();
    let range = if StorageCall::is_head(request) { None } else { range(request)? };
    let (status, from, until) = match range {
        None => (200, 0, length),
        // There is nothing at the end, and nothing in an empty blob.
        Some((from, _)) if from >= length => {
            let message = "The range specified is invalid for the current size of the resource.";
            let error = answer.error(416, "InvalidRange", message);
            return Err(error.with("Content-Range", format!("bytes */{length}")).into());
        }
        Some((from, last)) => (206, from, last.map_or(length, |last| last.saturating_add(1).min(length))),
    };
    let mut response = answer
        .bytes(status, "application/octet-stream", until - from, blob.body(from, until))
        .with("Last-Modified", http_date(blob.modified))
        .with("ETag", format!("\"{}\"", blob.etag))
        .with("Accept-Ranges", "bytes")
        .with("x-ms-creation-time", http_date(blob.created))
        .with("x-ms-blob-type", "AppendBlob")
        .with("x-ms-blob-committed-block-count", blob.block_count().to_string())
        .with("x-ms-lease-status", "unlocked")
        .with("x-ms-lease-state", "available")
        .with("x-ms-server-encrypted", "true");
    if status == 206 {
        response = response.with("Content-Range", format!("bytes {from}-{}/{length}", until - 1));
    }
    Ok(response)
}

fn satisfied(request: &Request, blob: &AppendBlob) -> Result<bool, Refused> {
    let Some(wanted) = request.header("if-match") else { return Ok(true) };
    let quoted = wanted.strip_prefix('"').and_then(|wanted| wanted.strip_suffix('"'));
    match quoted {
        Some(etag) => Ok(etag == blob.etag),
        None if wanted == "*" => Ok(true),
        None => Err(Refused::NotModelled(format!("the ETag {wanted}: one without quotation marks, or several"))),
    }
}

/// First byte, and last where one is named. `x-ms-range` counts where both are there.
fn range(request: &Request) -> Result<Option<(u64, Option<u64>)>, Refused> {
    let Some(text) = request.header("x-ms-range").or_else(|| request.header("range")) else { return Ok(None) };
    let unknown = || Refused::NotModelled(format!("the range {text}"));
    let (first, last) = text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or_else(unknown)?;
    let number = |text: &str| text.parse::<u64>().map_err(|_| unknown());
    let (first, last) = (number(first)?, if last.is_empty() { None } else { Some(number(last)?) });
    if last.is_some_and(|last| last < first) { Err(unknown()) } else { Ok(Some((first, last))) }
}

//! Azure Storage: a customer's blobs and the queue that announces them, through Microsoft's own crates.
//!
//! The crates build requests and read answers; what goes over the wire goes through our own client, which adds the token and
//! refuses any origin but the two that the configuration gives for this account. Reading is a request of its own: the
//! crates' download splits a blob into parts side by side, and sets aside the memory that the answer's headers ask for.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use azure_core::{
    error::ErrorKind,
    http::{
        AsyncRawResponse, Body as AzureBody, ClientOptions, HttpClient, Method as AzureMethod, Request as AzureRequest,
        RetryOptions, StatusCode, Transport, Url,
        headers::{HeaderName, HeaderValue, Headers},
    },
};
use azure_storage_blob::{
    BlobContainerClient, BlobContainerClientOptions,
    models::{BlobContainerClientListBlobsOptions, BlobType},
};
use azure_storage_queue::{
    QueueClient, QueueClientOptions,
    models::{QueueClientPeekMessagesOptions, QueueClientReceiveMessagesOptions, QueueMessage},
};
use futures::TryStreamExt;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};

use super::{token::TokenError, tokens::ApplicationName};
use crate::{
    clock::Clock,
    config::Config,
    http::{Body, Client, Content, HttpError, Method, Request, Response},
    microsoft::tokens::Tokens,
    storage::Storage,
    tenant::TenantId,
};

/// Where Defender's export puts the table that we read (MICROSOFT.md 4.1).
pub const CONTAINER: &str = "insights-logs-advancedhunting-devicenetworkevents";
/// A version that has all we use; the crates' own default is newer than some services.
const VERSION: &str = "2025-11-05";
/// Blobs in one page of a listing: well below what a small answer may have.
const PAGE: i32 = 1000;
/// The most messages that a queue hands out at once.
pub const MAX_MESSAGES: i32 = 32;
/// When a busy service names no time.
const DEFAULT_PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// What storage answers instead of what was asked for (MICROSOFT.md 4.4 to 4.6, and 6).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    #[error("storage asks for {pause:#} of quiet")]
    Busy { pause: SignedDuration },
    /// The token was refused, a fresh one too.
    #[error("the token is refused: {code}")]
    Unauthorized { code: String },
    /// AuthorizationPermissionMismatch: let in, without the data role.
    #[error("a data role is missing")]
    RoleMissing,
    /// AuthorizationFailure: the network rules keep us out.
    #[error("the storage firewall refuses us")]
    Firewall,
    #[error("forbidden: {code}")]
    Forbidden { code: String },
    /// There is no such container, queue, blob or message.
    #[error("not found: {code}")]
    NotFound { code: String },
    /// A blob of another kind, which does not grow.
    #[error("not an append blob")]
    NotAppendBlob,
    /// The blob is not longer than where reading should have begun.
    #[error("nothing there to read")]
    BeyondEnd,
    /// 5xx, no answer, or one that no document knows.
    #[error("{message}")]
    Unavailable { message: String },
}

/// One blob as a listing shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    pub length: u64,
    pub created: Option<Timestamp>,
    pub modified: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub struct ListPage {
    pub blobs: Vec<Listed>,
    /// Where the next page begins; `None` after the last.
    pub next: Option<String>,
}

/// Part of a blob, as it arrives.
#[derive(Debug)]
pub struct Piece {
    /// The length of the whole blob at that moment.
    pub length: u64,
    pub created: Option<Timestamp>,
    pub body: Body,
}

/// A message of the customer's queue as we hold it.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub id: String,
    pub text: String,
    /// How often it has been handed out, this time included.
    pub dequeue_count: i64,
    /// What deleting it takes; whoever receives it later gets another.
    receipt: String,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("dequeue_count", &self.dequeue_count)
            .finish_non_exhaustive()
    }
}

/// A tenant's storage, opened with a token of ours. Cheap; made for each pass.
pub struct Account {
    container: BlobContainerClient,
    queue: QueueClient,
    wire: Arc<Wire>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Account").field(&self.wire).finish()
    }
}

impl Account {
    /// The account in its configured places, which are the only ones that our token goes to.
    ///
    /// # Errors
    /// [`TokenError`], whose refusal says who must act; storage itself is not asked yet.
    pub async fn open(mut wire: Wire, config: &Config, storage: &Storage) -> Result<Self, TokenError> {
        wire.tokens.storage(wire.tenant, &wire.application, false).await?;
        let (blobs, queues) = (config.blob(&storage.account_name), config.azure_queue(&storage.account_name));
        wire.http = wire.http.trusting([blobs.clone(), queues.clone()]);
        let wire = Arc::new(wire);
        let options = || ClientOptions {
            // What fails is the pass's business, which knows how much time is left.
            retry: RetryOptions::none(),
            transport: Some(Transport::new(wire.clone())),
            ..ClientOptions::default()
        };
        let defect =
            |cause: azure_core::Error| TokenError::WrongToken(format!("the storage address is unusable: {cause}"));
        let container = BlobContainerClient::new(
            child(blobs, CONTAINER),
            None,
            Some(BlobContainerClientOptions { client_options: options(), version: VERSION.into() }),
        );
        let queue = QueueClient::new(
            child(queues, storage.queue_name.as_str()),
            None,
            Some(QueueClientOptions { client_options: options(), version: VERSION.into() }),
        );
        Ok(Self { container: container.map_err(defect)?, queue: queue.map_err(defect)?, wire })
    }

    /// One page of the container's append blobs, in the order of their names. Others are nobody's export.
    ///
    /// # Errors
    /// [`StorageError`]
    pub async fn list(&self, marker: Option<String>) -> Result<ListPage, StorageError> {
        let options = BlobContainerClientListBlobsOptions {
            maxresults: Some(PAGE),
            marker,
            ..BlobContainerClientListBlobsOptions::default()
        };
        let mut pages = self.container.list_blobs(Some(options)).map_err(refused)?.into_pages();
        let Some(page) = pages.try_next().await.map_err(refused)? else { return Ok(ListPage::default()) };
        let page = page.into_model().map_err(refused)?;
        let blobs = page.blob_items.into_iter().filter_map(|item| {
            let properties = item.properties?;
            // One of another kind does not grow, and one that is not said to be of any is tolerated.
            if properties.blob_type.is_some_and(|kind| kind != BlobType::AppendBlob) {
                return None;
            }
            let instant =
                |at: Option<azure_core::time::OffsetDateTime>| Timestamp::from_second(at?.unix_timestamp()).ok();
            Some(Listed {
                name: item.name?,
                length: properties.content_length.unwrap_or_default(),
                created: instant(properties.creation_time),
                modified: instant(properties.last_modified),
            })
        });
        Ok(ListPage { blobs: blobs.collect(), next: page.next_marker.filter(|marker| !marker.is_empty()) })
    }

    /// The bytes of a blob from `from` on, at most `most` of them.
    ///
    /// # Errors
    /// [`StorageError::BeyondEnd`] where the blob ends at `from` or before; else [`StorageError`].
    pub async fn read(&self, blob: &str, from: u64, most: u64) -> Result<Piece, StorageError> {
        let mut request = Request::get(self.container.blob_client(blob).url().clone());
        request.headers = vec![
            ("x-ms-version".into(), VERSION.to_owned()),
            ("x-ms-range".into(), format!("bytes={from}-{}", from.saturating_add(most).saturating_sub(1))),
        ];
        let response = self.wire.send(request).await.map_err(|error| unreachable(&error))?;
        let created = response.header("x-ms-creation-time").and_then(|text| rfc2822::parse(text).ok());
        let range = response.header("content-range").and_then(content_range);
        let kind = response.header("x-ms-blob-type");
        if response.status == 206 && kind.is_some_and(|kind| kind != "AppendBlob") {
            return Err(StorageError::NotAppendBlob);
        }
        match (response.status, range) {
            // A service that ignores the range would give us other bytes than we asked for.
            (206, Some((first, length))) if first == from || length <= from => {
                if length <= from {
                    return Err(StorageError::BeyondEnd);
                }
                Ok(Piece { length, created: created.map(|at| at.timestamp()), body: response.body })
            }
            (416, _) => Err(StorageError::BeyondEnd),
            (200 | 206, _) => {
                Err(StorageError::Unavailable { message: "storage gave another range than asked for".to_owned() })
            }
            (status, _) => {
                let code = response.header("x-ms-error-code").map(str::to_owned);
                let retry_after = response.header("retry-after").map(str::to_owned);
                let body = response.body.small(&self.wire.clock).await.unwrap_or_default();
                let code = code.unwrap_or_else(|| code_in(&body));
                Err(refusal(status, &code, retry_after.as_deref()))
            }
        }
    }

    /// Up to [`MAX_MESSAGES`] messages, hidden from others for `hidden`.
    ///
    /// # Errors
    /// [`StorageError`]
    pub async fn receive(&self, hidden: SignedDuration) -> Result<Vec<Message>, StorageError> {
        let options = QueueClientReceiveMessagesOptions {
            number_of_messages: Some(MAX_MESSAGES),
            visibility_timeout: Some(i32::try_from(hidden.as_secs()).unwrap_or(i32::MAX)),
            ..QueueClientReceiveMessagesOptions::default()
        };
        let received =
            self.queue.receive_messages(Some(options)).await.map_err(refused)?.into_model().map_err(refused)?;
        let messages = received.items.unwrap_or_default().into_iter().filter_map(|message| {
            // The id becomes part of an address.
            let id = message.message_id.filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))?;
            Some(Message {
                id,
                text: message.message_text.unwrap_or_default(),
                dequeue_count: message.dequeue_count.unwrap_or_default(),
                receipt: message.pop_receipt?,
            })
        });
        Ok(messages.collect())
    }

    /// Looks at the queue without taking anything.
    ///
    /// # Errors
    /// [`StorageError`]
    pub async fn peek(&self) -> Result<(), StorageError> {
        let options =
            QueueClientPeekMessagesOptions { number_of_messages: Some(1), ..QueueClientPeekMessagesOptions::default() };
        self.queue.peek_messages(Some(options)).await.map(|_| ()).map_err(refused)
    }

    /// Deletes a message that we hold. One that somebody else holds by now is theirs to delete.
    ///
    /// # Errors
    /// [`StorageError`]
    pub async fn delete(&self, message: &Message) -> Result<(), StorageError> {
        let deleted = self.queue.delete_message(&message.id, &message.receipt, None).await;
        match deleted.map(|_| ()).map_err(refused) {
            Err(StorageError::NotFound { code }) if code == "MessageNotFound" => Ok(()),
            Err(StorageError::Forbidden { code }) if code == "PopReceiptMismatch" => Ok(()),
            other => other,
        }
    }

    /// Puts a message that lives for `lives`, and gives it as if it had been received.
    ///
    /// # Errors
    /// [`StorageError`]
    pub async fn put(&self, text: &str, lives: SignedDuration) -> Result<Message, StorageError> {
        let message = QueueMessage { message_text: Some(text.to_owned()) };
        let options = azure_storage_queue::models::QueueClientSendMessageOptions {
            message_time_to_live: Some(i32::try_from(lives.as_secs()).unwrap_or(i32::MAX)),
            ..Default::default()
        };
        let sent =
            self.queue.send_message(message.try_into().map_err(refused)?, Some(options)).await.map_err(refused)?;
        let sent = sent.into_model().map_err(refused)?.into_message().map_err(refused)?;
        let missing = || StorageError::Unavailable { message: "storage gave no receipt".to_owned() };
        Ok(Message {
            id: sent.message_id.ok_or_else(missing)?,
            text: text.to_owned(),
            dequeue_count: 0,
            receipt: sent.pop_receipt.ok_or_else(missing)?,
        })
    }

    /// Tries to delete a message that does not exist: whoever may delete is told so, whoever may not is told that.
    ///
    /// # Errors
    /// [`StorageError`]; `NotFound` and a refused receipt are the answers of somebody who may.
    pub async fn delete_nothing(&self) -> Result<(), StorageError> {
        const NOBODY: &str = "00000000-0000-4000-8000-000000000000";
        let receipt = "AgAAAAMAAAAAAAAAAAAAAAAAAAA=".to_owned();
        let message = Message { id: NOBODY.to_owned(), text: String::new(), dequeue_count: 0, receipt };
        match self.delete(&message).await {
            Err(StorageError::Unavailable { message }) if message.contains("InvalidQueryParameterValue") => Ok(()),
            other => other,
        }
    }
}

/// The address of a container or a queue below that of its service.
fn child(mut base: Url, name: &str) -> Url {
    if let Ok(mut segments) = base.path_segments_mut() {
        segments.pop_if_empty().push(name);
    }
    base
}

/// The first byte and the whole length out of `bytes 100-199/4711`. An empty range has an end before its beginning.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, length) = text.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split('-').next()?.parse().ok()?, length.parse().ok()?))
}

/// The code in an XML error body, where no header tells it.
fn code_in(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map_or("", |(code, _)| code);
    code.chars().filter(char::is_ascii_alphanumeric).take(80).collect()
}

fn refusal(status: u16, code: &str, retry_after: Option<&str>) -> StorageError {
    let code = code.to_owned();
    match (status, code.as_str()) {
        (429, _) | (503, "ServerBusy") => StorageError::Busy {
            pause: retry_after
                .and_then(|text| text.trim().parse().ok())
                .map_or(DEFAULT_PAUSE, |seconds: i64| SignedDuration::from_secs(seconds.clamp(1, 3600))),
        },
        (401, _) => StorageError::Unauthorized { code },
        (403, "AuthorizationPermissionMismatch") => StorageError::RoleMissing,
        (403, "AuthorizationFailure") => StorageError::Firewall,
        (403, _) | (400, "PopReceiptMismatch") => StorageError::Forbidden { code },
        (404, _) => StorageError::NotFound { code },
        (416, _) => StorageError::BeyondEnd,
        _ => {
            StorageError::Unavailable { message: format!("storage answers HTTP {status} {code}").trim_end().to_owned() }
        }
    }
}

/// What the crates make of an answer that is no success, or of none. Their own words may hold a whole body.
fn refused(error: azure_core::Error) -> StorageError {
    match error.kind() {
        ErrorKind::HttpResponse { status, error_code, raw_response } => {
            let retry_after = raw_response
                .as_ref()
                .and_then(|response| response.headers().get_optional_str(&HeaderName::from_static("retry-after")));
            refusal(u16::from(*status), error_code.as_deref().unwrap_or_default(), retry_after)
        }
        ErrorKind::DataConversion => {
            StorageError::Unavailable { message: "storage gave an answer that cannot be read".to_owned() }
        }
        _ => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            StorageError::Unavailable {
                message: format!("storage could not be reached ({})", source.unwrap_or_else(|| "no answer".to_owned())),
            }
        }
    }
}

fn unreachable(error: &HttpError) -> StorageError {
    StorageError::Unavailable { message: format!("storage could not be reached ({error})") }
}

/// Our client, as the crates see it: in whose name it asks, and where it gets the token.
pub struct Wire {
    pub http: Client,
    pub tokens: Arc<Tokens>,
    pub clock: Clock,
    pub tenant: TenantId,
    pub application: ApplicationName,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

impl Wire {
    /// Sends with our token; with a fresh one once where it is refused.
    async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let response = self.send_with(request.clone(), false).await?;
        if response.status == 401 { self.send_with(request, true).await } else { Ok(response) }
    }

    async fn send_with(&self, mut request: Request, fresh: bool) -> Result<Response, HttpError> {
        let token = self.tokens.storage(self.tenant, &self.application, fresh).await;
        let token = token.map_err(|error| HttpError::Broken(format!("there is no token: {error}")))?;
        request.bearer = Some(token.bearer.clone());
        self.http.send(request).await
    }
}

#[async_trait]
impl HttpClient for Wire {
    async fn execute_request(&self, request: &AzureRequest) -> azure_core::Result<AsyncRawResponse> {
        let failed = |error: HttpError| azure_core::Error::with_error(ErrorKind::Io, error, "request failed");
        let method = match request.method() {
            AzureMethod::Get => Method::Get,
            AzureMethod::Head => Method::Head,
            AzureMethod::Post => Method::Post,
            AzureMethod::Put => Method::Put,
            AzureMethod::Delete => Method::Delete,
            other => return Err(failed(HttpError::Broken(format!("{other:?} is a method that we do not send")))),
        };
        let content = match request.body() {
            AzureBody::Bytes(bytes) if bytes.is_empty() => None,
            AzureBody::Bytes(bytes) => Some(Content::Bytes(bytes.clone())),
            AzureBody::SeekableStream(_) => {
                return Err(failed(HttpError::Broken("a body of a kind that we do not send".to_owned())));
            }
        };
        // Who we are, our own client says; theirs would tell the compiler and the machine.
        let headers = request
            .headers()
            .iter()
            .filter(|(name, _)| name.as_str() != "user-agent")
            .map(|(name, value)| (name.as_str().to_owned().into(), value.as_str().to_owned()));
        let request = Request { method, url: request.url().clone(), headers: headers.collect(), bearer: None, content };
        let response = self.send(request).await.map_err(failed)?;
        let headers: std::collections::HashMap<HeaderName, HeaderValue> = response
            .headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from(name), HeaderValue::from(value)))
            .collect();
        let body = response.body.small(&self.clock).await.map_err(failed)?;
        Ok(AsyncRawResponse::from_bytes(StatusCode::from(response.status), Headers::from(headers), body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_tells_firewall_from_role_and_both_from_a_setup_that_is_not_there_yet() {
        let code = |code: &str| code.to_owned();
        for (status, text, retry_after, expected) in [
            (403, "AuthorizationPermissionMismatch", None, StorageError::RoleMissing),
            (403, "AuthorizationFailure", None, StorageError::Firewall),
            (403, "AuthenticationFailed", None, StorageError::Forbidden { code: code("AuthenticationFailed") }),
            (
                401,
                "InvalidAuthenticationInfo",
                None,
                StorageError::Unauthorized { code: code("InvalidAuthenticationInfo") },
            ),
            (404, "ContainerNotFound", None, StorageError::NotFound { code: code("ContainerNotFound") }),
            (404, "QueueNotFound", None, StorageError::NotFound { code: code("QueueNotFound") }),
            (416, "InvalidRange", None, StorageError::BeyondEnd),
            (503, "ServerBusy", Some("7"), StorageError::Busy { pause: SignedDuration::from_secs(7) }),
            (429, "", None, StorageError::Busy { pause: DEFAULT_PAUSE }),
            (
                500,
                "OperationTimedOut",
                None,
                StorageError::Unavailable { message: "storage answers HTTP 500 OperationTimedOut".into() },
            ),
            (302, "", None, StorageError::Unavailable { message: "storage answers HTTP 302".into() }),
        ] {
            assert_eq!(refusal(status, text, retry_after), expected);
        }
        assert_eq!(
            code_in(b"\xef\xbb\xbf<?xml?><Error><Code>AuthorizationFailure</Code></Error>"),
            "AuthorizationFailure"
        );
        assert_eq!(code_in(b"<html>"), "");
    }

    #[test]
    fn ranges_are_read_as_storage_and_its_emulator_write_them() {
        assert_eq!(content_range("bytes 100-199/4711"), Some((100, 4711)));
        assert_eq!(content_range("bytes 20-19/20"), Some((20, 20)));
        assert_eq!(content_range("bytes 0--1/0"), Some((0, 0)));
        for text in ["bytes */20", "100-199/4711", "bytes 1-2/*", ""] {
            assert_eq!(content_range(text), None, "{text}");
        }
    }

    #[test]
    fn an_address_is_built_below_its_service_whatever_slash_ends_that() {
        for base in ["https://a.queue.core.windows.net", "https://127.0.0.1:10001/a", "https://127.0.0.1:10001/a/"] {
            let url = child(Url::parse(base).unwrap(), "hints");
            assert!(url.path() == "/hints" || url.path() == "/a/hints", "{url}");
        }
    }
}

//! Which operation of Azure Storage a request is: `/storage/{account}/blob/…` and `/storage/{account}/queue/…`.

use url::form_urlencoded;

use crate::fault::Route;
use crate::http::Request;
use crate::storage_role::Operation;

/// One request to an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StorageCall {
    pub(crate) account: String,
    pub(crate) verb: Verb,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    ListBlobs {
        container: String,
    },
    /// `GET` or `HEAD`.
    ReadBlob {
        container: String,
        blob: String,
    },
    /// Anything that would change a customer's blob or container.
    WriteBlob,
    Peek {
        queue: String,
    },
    Receive {
        queue: String,
    },
    Put {
        queue: String,
    },
    Delete {
        queue: String,
        id: String,
    },
    Update {
        queue: String,
        id: String,
    },
}

impl StorageCall {
    /// The segments after `/storage/`. `None`: not modelled.
    pub(crate) fn of(request: &Request, segments: &[&str]) -> Option<Self> {
        let (account, service, rest) = match *segments {
            [account, service, ref rest @ ..] if !account.is_empty() => (account, service, rest),
            _ => return None,
        };
        let rest: Vec<String> = rest.iter().map(|segment| decode(segment)).collect::<Option<_>>()?;
        let verb = match service {
            "blob" => blob_verb(request, &rest)?,
            "queue" => queue_verb(request, &rest)?,
            _ => return None,
        };
        Some(Self { account: decode(account)?, verb })
    }

    pub(crate) fn is_head(request: &Request) -> bool {
        request.method == "HEAD"
    }

    pub(crate) fn operation(&self) -> Operation {
        match self.verb {
            Verb::ListBlobs { .. } => Operation::ListBlobs,
            Verb::ReadBlob { .. } | Verb::WriteBlob => Operation::ReadBlob,
            Verb::Peek { .. } => Operation::PeekMessages,
            Verb::Receive { .. } => Operation::ReceiveMessages,
            Verb::Put { .. } => Operation::PutMessage,
            Verb::Delete { .. } => Operation::DeleteMessage,
            Verb::Update { .. } => Operation::UpdateMessage,
        }
    }

    pub(crate) fn route(&self) -> Route {
        match self.verb {
            Verb::ListBlobs { .. } => Route::BlobList,
            Verb::ReadBlob { .. } | Verb::WriteBlob => Route::Blob,
            Verb::Peek { .. } => Route::QueuePeek,
            Verb::Receive { .. } => Route::QueueReceive,
            Verb::Put { .. } => Route::QueuePut,
            Verb::Delete { .. } | Verb::Update { .. } => Route::QueueDelete,
        }
    }

    pub(crate) fn is_of_a_queue(&self) -> bool {
        !matches!(self.verb, Verb::ListBlobs { .. } | Verb::ReadBlob { .. } | Verb::WriteBlob)
    }

    /// What the simulator does not know about this request. Nothing may hide it, no fault and no refusal.
    pub(crate) fn not_modelled(&self, request: &Request) -> Option<String> {
        if self.verb == Verb::WriteBlob {
            return Some("a write to a customer's blobs: whoever reads them may neither change nor delete them".into());
        }
        let mut seen: Vec<String> = Vec::new();
        for (name, _) in form_urlencoded::parse(request.query().as_bytes()) {
            if name != "timeout" && !self.parameters().contains(&&*name) || seen.iter().any(|other| *other == name) {
                return Some(format!("the parameter {name} here, or twice"));
            }
            seen.push(name.into_owned());
        }
        let unknown = request.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).find(|name| {
            let ours = HEADERS.contains(&name.as_str())
                || matches!(self.verb, Verb::ReadBlob { .. }) && BLOB_HEADERS.contains(&name.as_str());
            !ours && (name.starts_with("x-ms-") || name.starts_with("if-") || name == "range")
        });
        unknown.map(|name| format!("the header {name} here"))
    }

    fn parameters(&self) -> &'static [&'static str] {
        match self.verb {
            Verb::ListBlobs { .. } => &["restype", "comp", "prefix", "marker", "maxresults"],
            Verb::ReadBlob { .. } | Verb::WriteBlob => &[],
            Verb::Peek { .. } => &["peekonly", "numofmessages"],
            Verb::Receive { .. } => &["peekonly", "numofmessages", "visibilitytimeout"],
            Verb::Put { .. } => &["visibilitytimeout", "messagettl"],
            Verb::Delete { .. } => &["popreceipt"],
            Verb::Update { .. } => &["popreceipt", "visibilitytimeout"],
        }
    }
}

const HEADERS: [&str; 4] = ["x-ms-version", "x-ms-date", "x-ms-client-request-id", "x-ms-return-client-request-id"];
const BLOB_HEADERS: [&str; 3] = ["range", "x-ms-range", "if-match"];

/// The value of a parameter; the first where there are several.
pub(crate) fn parameter(request: &Request, name: &str) -> Option<String> {
    let mut pairs = form_urlencoded::parse(request.query().as_bytes());
    pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
}

/// The slashes of a blob's name may be escaped or not: it is one name.
fn blob_verb(request: &Request, rest: &[String]) -> Option<Verb> {
    let (container, blob) = rest.split_first().filter(|(container, _)| !container.is_empty())?;
    let blob = blob.join("/");
    if !matches!(request.method.as_str(), "GET" | "HEAD") {
        return matches!(request.method.as_str(), "PUT" | "POST" | "DELETE" | "PATCH").then_some(Verb::WriteBlob);
    }
    if !blob.is_empty() {
        return Some(Verb::ReadBlob { container: container.clone(), blob });
    }
    let listed = parameter(request, "restype").as_deref() == Some("container")
        && parameter(request, "comp").as_deref() == Some("list");
    (listed && request.method == "GET").then(|| Verb::ListBlobs { container: container.clone() })
}

fn queue_verb(request: &Request, rest: &[String]) -> Option<Verb> {
    match (request.method.as_str(), rest) {
        (_, [queue, ..]) if queue.is_empty() => None,
        ("GET", [queue, messages]) if messages == "messages" => {
            let queue = queue.clone();
            let peeks = parameter(request, "peekonly").is_some_and(|value| value.eq_ignore_ascii_case("true"));
            Some(if peeks { Verb::Peek { queue } } else { Verb::Receive { queue } })
        }
        ("POST", [queue, messages]) if messages == "messages" => Some(Verb::Put { queue: queue.clone() }),
        ("DELETE", [queue, messages, id]) if messages == "messages" => {
            Some(Verb::Delete { queue: queue.clone(), id: id.clone() })
        }
        ("PUT", [queue, messages, id]) if messages == "messages" => {
            Some(Verb::Update { queue: queue.clone(), id: id.clone() })
        }
        _ => None,
    }
}

/// A path segment with its percent signs resolved; `+` stays what it is.
fn decode(segment: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            u8::try_from(digit()? * 16 + digit()?).ok()?
        } else {
            byte
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: &str, target: &str) -> Option<Verb> {
        let request = Request { method: method.into(), ..Request::get(target) };
        let segments: Vec<&str> = request.path().strip_prefix("/storage/").unwrap().split('/').collect();
        StorageCall::of(&request, &segments).map(|call| call.verb)
    }

    #[test]
    fn a_blob_has_one_name_however_its_slashes_are_written() {
        let expected = Some(Verb::ReadBlob { container: "c".into(), blob: "tenantId=1/y=2026/a b+%é.json".into() });
        assert_eq!(of("GET", "/storage/acct/blob/c/tenantId=1/y=2026/a%20b+%25%C3%A9.json"), expected);
        assert_eq!(of("HEAD", "/storage/acct/blob/c/tenantId%3D1%2Fy%3d2026%2fa%20b%2B%25%c3%a9.json"), expected);
    }

    #[test]
    fn what_writes_is_known_for_what_it_is_and_what_is_unknown_is_nothing() {
        for (method, target) in [
            ("PUT", "/storage/acct/blob/c/b"),
            ("DELETE", "/storage/acct/blob/c/b"),
            ("DELETE", "/storage/acct/blob/c?restype=container"),
            ("PUT", "/storage/acct/blob/c/b?comp=appendblock"),
        ] {
            assert_eq!(of(method, target), Some(Verb::WriteBlob), "{method} {target}");
        }
        for (method, target) in [
            ("GET", "/storage/acct/blob/c?restype=container"),
            ("GET", "/storage/acct/blob/c?comp=list"),
            ("GET", "/storage/acct/blob//c/b"),
            ("GET", "/storage/acct/blob/?comp=list"),
            ("GET", "/storage//blob/c/b"),
            ("GET", "/storage/acct/table/c"),
            ("GET", "/storage/acct/blob/c/%FF"),
            ("GET", "/storage/acct/blob/c/%4"),
            ("DELETE", "/storage/acct/queue/q/messages"),
            ("GET", "/storage/acct/queue/q?comp=metadata"),
            ("PUT", "/storage/acct/queue/q"),
        ] {
            assert_eq!(of(method, target), None, "{method} {target}");
        }
    }

    #[test]
    fn unknown_parameters_and_headers_are_named() {
        let call = |request: &Request| {
            let segments: Vec<&str> = request.path().strip_prefix("/storage/").unwrap().split('/').collect();
            StorageCall::of(request, &segments).unwrap().not_modelled(request)
        };
        assert_eq!(call(&Request::get("/storage/a/blob/c/b?timeout=30").with("If-Match", "\"0x1\"")), None);
        assert!(call(&Request::get("/storage/a/blob/c/b?snapshot=1")).is_some());
        assert!(call(&Request::get("/storage/a/blob/c/b").with("If-None-Match", "*")).is_some());
        assert!(call(&Request::get("/storage/a/queue/q/messages").with("x-ms-lease-id", "1")).is_some());
        assert!(call(&Request::get("/storage/a/queue/q/messages?numofmessages=1&numofmessages=2")).is_some());
        assert!(call(&Request::get("/storage/a/blob/c?restype=container&comp=list&include=metadata")).is_some());
    }
}

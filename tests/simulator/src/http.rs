//! Requests and responses as plain values: what the simulator is a function from and to.

use std::fmt;

use jiff::SignedDuration;

/// One HTTP request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query, as on the request line.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn get(target: &str) -> Self {
        Self { method: "GET".into(), target: target.into(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn post(target: &str, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { method: "POST".into(), target: target.into(), headers: Vec::new(), body: body.into() }
            .with("Content-Type", content_type)
    }

    pub fn with(mut self, header: &str, value: &str) -> Self {
        self.headers.push((header.into(), value.into()));
        self
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The origin this request was sent to. Without a `Host` header it is `otherwise`.
    pub(crate) fn origin(&self, otherwise: &str) -> String {
        match self.header("host") {
            Some(host) => {
                let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
                let loopback = matches!(name, "localhost" | "127.0.0.1" | "[::1]");
                format!("{}://{host}", if loopback { "http" } else { "https" })
            }
            None => otherwise.to_owned(),
        }
    }
}

/// One HTTP response; its body is produced as it is read.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

impl Response {
    pub(crate) fn new(status: u16, content_type: &str, body: impl Into<Body>) -> Self {
        Self { status, headers: vec![("Content-Type".into(), content_type.into())], body: body.into() }
    }

    pub(crate) fn json(status: u16, value: &serde_json::Value) -> Self {
        Self::new(status, "application/json; charset=utf-8", value.to_string().into_bytes())
    }

    pub(crate) fn with(mut self, header: &str, value: impl Into<String>) -> Self {
        self.headers.push((header.into(), value.into()));
        self
    }

    /// The first header of this name, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A piece of a body, in the order it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    Data(Vec<u8>),
    /// Nothing is sent for this long.
    Pause(SignedDuration),
    /// The connection breaks here.
    Cut,
}

/// A response body, produced lazily, so that a page of hundreds of megabytes costs one chunk of memory.
pub struct Body {
    chunks: Box<dyn Iterator<Item = Chunk> + Send>,
    length: Option<u64>,
}

impl Body {
    /// A body whose length is not known beforehand.
    pub fn lazy(chunks: impl Iterator<Item = Chunk> + Send + 'static) -> Self {
        Self { chunks: Box::new(chunks), length: None }
    }

    /// The length, where it is known before the body is produced.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The whole body. Pauses are passed over, and a cut ends it. Never ends for an endless one: see [`Body::collect_at_most`].
    pub fn collect_bytes(self) -> Vec<u8> {
        self.collect_at_most(usize::MAX)
    }

    /// The first `limit` bytes of the body.
    pub fn collect_at_most(self, limit: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        for chunk in self {
            match chunk {
                Chunk::Data(data) => bytes.extend(data),
                Chunk::Pause(_) => {}
                Chunk::Cut => break,
            }
            if bytes.len() >= limit {
                bytes.truncate(limit);
                break;
            }
        }
        bytes
    }
}

impl Iterator for Body {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        self.chunks.next()
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        let length = Some(bytes.len() as u64);
        Self { chunks: Box::new(std::iter::once(Chunk::Data(bytes))), length }
    }
}

impl From<&str> for Body {
    fn from(text: &str) -> Self {
        text.as_bytes().to_vec().into()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Body").field("length", &self.length).finish_non_exhaustive()
    }
}

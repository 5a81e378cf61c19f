//! The in-process transport: our request, the simulator's answer, and time that passes only in the books.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use futures::{
    StreamExt,
    future::BoxFuture,
    stream::{self},
};
use jiff::SignedDuration;
use shared::{
    clock::Clock,
    http::{Body, HttpError, InProcess, Method, Request, Response},
};
use simulator::{Chunk, Simulator};

/// What the network transport waits for between two chunks.
const READ_TIMEOUT: SignedDuration = SignedDuration::from_secs(30);

#[derive(Debug, Clone)]
pub struct SimulatorTransport {
    pub simulator: Simulator,
    pub clock: Clock,
    /// Every origin a request was sent to.
    pub origins: Arc<Mutex<BTreeSet<String>>>,
}

impl InProcess for SimulatorTransport {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Response, HttpError>> {
        let origin = request.url.origin().ascii_serialization();
        self.origins.lock().unwrap_or_else(PoisonError::into_inner).insert(origin);
        let answer = self.simulator.handle(translate(request));
        let headers = answer.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let clock = self.clock.clone();
        let simulator = self.simulator.clone();
        let mut broken = false;
        let chunks = answer.body.filter_map(move |chunk| {
            if broken {
                return None;
            }
            match chunk {
                Chunk::Data(data) => Some(Ok(Bytes::from(data))),
                Chunk::Pause(pause) if pause <= READ_TIMEOUT => {
                    clock.advance(pause);
                    simulator.advance(pause);
                    None
                }
                Chunk::Pause(_) => {
                    clock.advance(READ_TIMEOUT);
                    simulator.advance(READ_TIMEOUT);
                    broken = true;
                    Some(Err(HttpError::TimedOut))
                }
                Chunk::Cut => {
                    broken = true;
                    Some(Err(HttpError::Broken("the connection was cut".to_owned())))
                }
            }
        });
        let body = Body::new(stream::iter(chunks).boxed());
        Box::pin(async move { Ok(Response { status: answer.status, headers, body }) })
    }
}

fn translate(request: Request) -> simulator::Request {
    let method = match request.method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Patch => "PATCH",
        Method::Delete => "DELETE",
    };
    let target = match request.url.query() {
        Some(query) => format!("{}?{query}", request.url.path()),
        None => request.url.path().to_owned(),
    };
    let mut headers: Vec<(String, String)> =
        request.headers.into_iter().map(|(name, value)| (name.into_owned(), value)).collect();
    let host = request.url.host_str().unwrap_or_default();
    headers.push(("Host".to_owned(), request.url.port().map_or(host.to_owned(), |port| format!("{host}:{port}"))));
    if let Some(token) = &request.bearer {
        headers.push(("Authorization".to_owned(), format!("Bearer {}", token.expose())));
    }
    let mut body = Vec::new();
    if let Some(content) = request.content {
        headers.extend(content.media_type().map(|media_type| ("Content-Type".to_owned(), media_type.to_owned())));
        body = content.expose().to_vec();
    }
    simulator::Request { method: method.to_owned(), target, headers, body }
}

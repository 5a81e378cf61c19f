//! The simulator on a TCP listener, with real pauses and real broken connections.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use crate::http::{Body, Chunk, Request, Response};
use crate::simulator::Simulator;

/// Serves until it is dropped, and its connections with it.
pub async fn serve(simulator: Simulator, listener: TcpListener) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        // A connection that was gone before it was taken concerns nobody.
        if let Ok((stream, _)) = listener.accept().await {
            connections.spawn(connection(simulator.clone(), stream));
        } else {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(simulator: Simulator, stream: TcpStream) {
    let service = service_fn(move |request| answer(simulator.clone(), request));
    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    // It ends with an error when the client goes away, or when a fault broke it on purpose.
    let _ = connection.await;
}

async fn answer(
    simulator: Simulator,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Wire>, hyper::Error> {
    let (head, body) = request.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()));
    let request = Request {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned(),
        headers: headers.collect(),
        body: body.collect().await?.to_bytes().to_vec(),
    };
    Ok(on_the_wire(simulator.handle(request)))
}

fn on_the_wire(response: Response) -> hyper::Response<Wire> {
    let mut wire = hyper::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        wire = wire.header(name, value);
    }
    let body = Wire { body: Some(response.body), pause: None, cut: false };
    // Only a scripted status or content type can be unfit for HTTP; the script's author has to hear of it.
    wire.body(body).unwrap_or_else(|_| {
        let mut unfit = hyper::Response::new(Wire {
            body: Some("the scripted status or header is not HTTP".into()),
            pause: None,
            cut: false,
        });
        *unfit.status_mut() = hyper::StatusCode::NOT_IMPLEMENTED;
        unfit
    })
}

/// A body as hyper pulls it: one chunk at a time, so that a reader who is slow slows the writing too.
struct Wire {
    body: Option<Body>,
    pause: Option<Pin<Box<Sleep>>>,
    /// The connection breaks as soon as what came before has left.
    cut: bool,
}

impl hyper::body::Body for Wire {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        loop {
            if self.cut {
                return Poll::Ready(Some(Err(io::Error::new(io::ErrorKind::ConnectionAborted, "cut by a fault"))));
            }
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            return Poll::Ready(match self.body.as_mut().and_then(Iterator::next) {
                None => None,
                Some(Chunk::Data(data)) => Some(Ok(Frame::data(data.into()))),
                Some(Chunk::Pause(pause)) => {
                    let pause = Duration::try_from(pause).unwrap_or_default();
                    self.pause = Some(Box::pin(tokio::time::sleep(pause)));
                    continue;
                }
                Some(Chunk::Cut) => {
                    self.cut = true;
                    // hyper sends what it has when there is nothing to take yet, and forgets it at an error.
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
            });
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().and_then(Body::length).map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

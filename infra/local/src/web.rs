//! The web server of one machine: each request becomes the event that API Gateway would make of it.

use std::{sync::Arc, time::Duration};

use aws_lambda_events::{
    apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
    encodings::Body,
    http::header::COOKIE,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{HeaderValue, SET_COOKIE},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::SignedDuration;
use shared::{App, random, web::MAX_BODY};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    time::{sleep, timeout},
};

/// Connections at the same time; more wait at the door.
const CONNECTIONS: usize = 256;
/// For the head of a request. Whoever needs longer only wants to hold the place.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// For a whole answer, with several requests to Microsoft in it.
const ANSWER_TIME: Duration = Duration::from_secs(120);
/// For a page about to say that it takes too long.
const PATIENCE: SignedDuration = SignedDuration::from_secs(110);

/// Serves until it is dropped.
pub async fn serve(app: App, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file handles: give the others time to finish.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let app = app.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let app = app.clone();
                // Whoever closes the window does not cut short what has begun.
                async move { tokio::spawn(async move { answer(&app, request).await }).await }
            });
            let mut builder = http1::Builder::new();
            // Without keep-alive a place is held for one answer.
            builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).keep_alive(false);
            match timeout(ANSWER_TIME, builder.serve_connection(TokioIo::new(stream), service)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "a connection ended early"),
                Err(_) => tracing::debug!("a connection took too long"),
            }
            drop(place);
        });
    }
}

async fn answer(app: &App, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if path.starts_with("/connect/") || path.starts_with("/consent/") {
        // Nothing that we take here has a body worth reading: whatever is in it is left on the wire.
        return response(consent_callback::handle(app, event(&request), PATIENCE).await);
    }
    let mut event = event(&request);
    match body(request).await {
        Ok(body) => {
            event.body = Some(body);
            event.is_base64_encoded = true;
            response(console::handle(app, event, PATIENCE).await)
        }
        Err(TooLong) => {
            // As long as the handler needs to see it.
            event.body = Some("x".repeat(MAX_BODY + 1));
            response(console::handle(app, event, PATIENCE).await)
        }
    }
}

struct TooLong;

/// The body in base64, as API Gateway hands over what may be binary. One that does not come in time, or breaks off, is as
/// one that is too long: not read.
async fn body(request: Request<Incoming>) -> Result<String, TooLong> {
    match timeout(HEAD_TIME, Limited::new(request.into_body(), MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(STANDARD.encode(body.to_bytes())),
        Ok(Err(_)) | Err(_) => Err(TooLong),
    }
}

fn event(request: &Request<Incoming>) -> ApiGatewayV2httpRequest {
    let lines = request.headers().get_all(COOKIE).iter().filter_map(|line| line.to_str().ok());
    let cookies = lines.flat_map(|line| line.split(';')).map(|pair| pair.trim().to_owned()).collect();
    let mut event = ApiGatewayV2httpRequest::default();
    event.headers = request.headers().clone();
    event.headers.remove(COOKIE);
    event.raw_path = Some(request.uri().path().to_owned());
    event.raw_query_string = Some(request.uri().query().unwrap_or_default().to_owned());
    event.cookies = Some(cookies);
    event.request_context.http.method = request.method().clone();
    event.request_context.request_id = random::id().ok().map(|id| id.to_string());
    event
}

fn response(event: ApiGatewayV2httpResponse) -> Response<Full<Bytes>> {
    let body = match event.body {
        Some(Body::Text(text)) => Bytes::from(text),
        Some(Body::Binary(bytes)) => Bytes::from(bytes),
        _ => Bytes::new(),
    };
    let mut response = Response::new(Full::new(body));
    let status = u16::try_from(event.status_code).ok().and_then(|status| StatusCode::from_u16(status).ok());
    *response.status_mut() = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = event.headers;
    for cookie in event.cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    response
}

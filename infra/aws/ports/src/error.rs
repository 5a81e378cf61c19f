//! What the SDK's errors come to: a port that is unavailable, told in one line.

use std::error::Error;

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use shared::ports::Unavailable;

/// The failure of one call, for the log. A service's words are its own; a failure on the way there is told with all its
/// causes. Neither holds what we sent.
pub fn unavailable<E>(port: &'static str, call: &str, error: &SdkError<E, HttpResponse>) -> Unavailable
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let told = match error.as_service_error() {
        Some(service) => {
            let (code, message) = (service.code().unwrap_or("an error without a code"), service.message());
            format!("{code}: {}", message.unwrap_or("no message"))
        }
        None => chain(error),
    };
    Unavailable::new(port, format!("{call}: {told}"))
}

fn chain(error: &dyn Error) -> String {
    let mut told = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        told = format!("{told}: {cause}");
        source = cause.source();
    }
    told
}

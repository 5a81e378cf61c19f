//! The Lambda program `credential-rotation`: logging, configuration, connect, run.

use std::{process::ExitCode, time::Duration};

use lambda_runtime::{LambdaEvent, service_fn};
use shared::{clock::left_until, config::EXIT_USAGE, credential::rotation::Pace};

/// What is left of an invocation for saying how it ended.
const FAREWELL: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> ExitCode {
    shared::log::init_function();
    let app = match aws::app_from_environment().await {
        Ok(app) => app,
        Err(mistake) => {
            eprintln!("credential-rotation: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let app = &app;
    let run = lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        let pace = Pace { left: left_until(event.context.deadline(), FAREWELL), tell: |_, _| {} };
        credential_rotation::handle(app, event.payload, &pace)
            .await
            .map_err(|error| lambda_runtime::Error::from(error.to_string()))
    }));
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("credential-rotation: {error}");
            ExitCode::FAILURE
        }
    }
}

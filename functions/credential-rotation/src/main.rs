//! The Lambda program `credential-rotation`: logging, configuration, connect, run.

use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

use lambda_runtime::{LambdaEvent, service_fn};
use shared::{config::EXIT_USAGE, credential::rotation::Pace};

/// What is left of an invocation for saying how it ended.
const FAREWELL: Duration = Duration::from_secs(10);

/// Lambda's longest run: for emulators whose deadline lies in the past.
const LONGEST: Duration = Duration::from_secs(15 * 60);

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
        let left = event.context.deadline().duration_since(SystemTime::now()).unwrap_or(LONGEST);
        let pace = Pace::new(left.saturating_sub(FAREWELL), |_, _| {});
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

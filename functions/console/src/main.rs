//! The Lambda program `console`: logging, configuration, connect, run.

use std::{process::ExitCode, time::Duration};

use lambda_runtime::{LambdaEvent, service_fn};
use shared::{clock::left_until, config::EXIT_USAGE};

/// The page that says it took too long must still reach the browser.
const FAREWELL: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> ExitCode {
    shared::log::init_function();
    let app = match aws::app_from_environment().await {
        Ok(app) => app,
        Err(mistake) => {
            eprintln!("console: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let app = &app;
    let run = lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        let left = left_until(event.context.deadline(), FAREWELL);
        Ok::<_, lambda_runtime::Error>(console::handle(app, event.payload, left).await)
    }));
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("console: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The Lambda program `pull-dispatch`: logging, configuration, connect, run.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn, tracing};
use shared::config::EXIT_USAGE;

#[tokio::main]
async fn main() -> ExitCode {
    tracing::init_default_subscriber();
    let app = match aws::app_from_environment().await {
        Ok(app) => app,
        Err(mistake) => {
            eprintln!("pull-dispatch: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let app = &app;
    let run = lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        pull_dispatch::handle(app, event.payload).await.map_err(lambda_runtime::Error::from)
    }));
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pull-dispatch: {error}");
            ExitCode::FAILURE
        }
    }
}

//! The Lambda program `pull-dispatch`: logging, configuration, connect, run.

use std::process::ExitCode;

use lambda_runtime::{LambdaEvent, service_fn};
use shared::config::EXIT_USAGE;

#[tokio::main]
async fn main() -> ExitCode {
    shared::log::init_function();
    let app = match aws::app_from_environment().await {
        Ok(app) => app,
        Err(mistake) => {
            eprintln!("pull-dispatch: {mistake}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    let app = &app;
    let run = lambda_runtime::run(service_fn(async |event: LambdaEvent<_>| {
        pull_dispatch::handle(app, event.payload).await.map_err(|error| lambda_runtime::Error::from(error.to_string()))
    }));
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pull-dispatch: {error}");
            ExitCode::FAILURE
        }
    }
}

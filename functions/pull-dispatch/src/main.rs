//! The Lambda program `pull-dispatch`: logging, configuration, connect, run.

use std::{path::PathBuf, process::ExitCode};

use lambda_runtime::{LambdaEvent, service_fn, tracing};
use shared::{
    App,
    clock::Clock,
    config::{Config, EXIT_USAGE},
};

#[tokio::main]
async fn main() -> ExitCode {
    tracing::init_default_subscriber();
    let app = match connect() {
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

/// The ports are the embedded ones, in the folder that `MUSTER_DATA` names.
fn connect() -> Result<App, String> {
    let config = Config::from_environment().map_err(|mistakes| mistakes.to_string())?;
    let data = std::env::var_os("MUSTER_DATA").ok_or("MUSTER_DATA is not set; it names the data folder")?;
    embedded::app(&PathBuf::from(data), config, Clock::System).map_err(|error| error.to_string())
}

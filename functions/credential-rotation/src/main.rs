//! The Lambda program `credential-rotation`: logging, configuration, connect, run.

use std::{process::ExitCode, time::Duration};

use lambda_runtime::{LambdaEvent, service_fn};
use shared::{
    clock::left_until,
    config::EXIT_USAGE,
    credential::{check::Report, rotation::Pace},
};

/// What is left of an invocation for what follows a check, and for saying how it ended.
const FAREWELL: Duration = Duration::from_secs(60);

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
    let (app, platform) = (&app, &aws::Aftermath::new(&aws::sdk().await));
    let run = lambda_runtime::run(service_fn(async |event: LambdaEvent<serde_json::Value>| {
        let (own_arn, prefix) = (event.context.invoked_function_arn.clone(), &app.config.secrets_prefix);
        let pace = Pace { left: left_until(event.context.deadline(), FAREWELL), tell: |_, _| {} };
        let aftermath = async |report: &Report| platform.follow(prefix, report, &own_arn).await.into();
        let of_event = |field: &str| event.payload[field].as_str().unwrap_or_default().to_owned();
        let (secret, version) = (of_event("SecretId"), of_event("ClientRequestToken"));
        let answer = credential_rotation::handle_and(app, event.payload, &pace, aftermath).await;
        if answer.as_ref().is_err_and(credential_rotation::Error::is_hopeless) {
            platform.call_off(&secret, &version).await;
        }
        answer.map_err(|error| lambda_runtime::Error::from(error.to_string()))
    }));
    match run.await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("credential-rotation: {error}");
            ExitCode::FAILURE
        }
    }
}

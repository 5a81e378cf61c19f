//! The ports on AWS: state in DynamoDB, secrets in Secrets Manager, messages in SQS, the lake in S3, our identity by STS.
//!
//! The twin of `infra/local/embedded`, and the only crate that names the AWS SDK. Contracts stand on the traits in
//! `shared::ports`; what is written here is how each service keeps them.

mod aftermath;
mod error;
mod identity;
mod lake;
mod queue;
mod settings;
mod store;
mod vault;

use std::{env, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_sdk_dynamodb::config::ProvideCredentials;
use shared::{
    App,
    clock::Clock,
    config::{Config, Mistakes},
    http::Client,
    ports::{PerFeed, Ports, queue::Queue},
};

pub use aftermath::Aftermath;
pub use identity::StsIdentity;
pub use lake::S3Lake;
pub use queue::SqsQueue;
pub use settings::Settings;
pub use store::DynamoStore;
pub use vault::SecretsManagerVault;

/// One try. Nothing we ask AWS for takes longer, but for a large object on a bad day.
const ATTEMPT: Duration = Duration::from_secs(10);
/// All tries together: well within the time of a pass, so that a failing platform is reported and not suffered.
const OPERATION: Duration = Duration::from_secs(25);

/// Everything an operation needs, as a function's environment says. Calls nobody yet.
///
/// # Errors
/// Every mistake in the environment, one a line.
pub async fn app_from_environment() -> Result<App, String> {
    let (config, settings) = settings_from_environment().map_err(|mistakes| mistakes.to_string())?;
    app(config, &settings, &sdk().await)
}

/// As [`app_from_environment`], for a person at a keyboard, whose credentials may be missing or over.
///
/// # Errors
/// What to set or to say first.
pub async fn app_for_a_person() -> Result<App, String> {
    let (config, settings) = settings_from_environment().map_err(|mistakes| mistakes.to_string())?;
    let sdk = sdk().await;
    if sdk.region().is_none() {
        return Err("no AWS region is set; say, for example, `export AWS_REGION=eu-west-1`".to_owned());
    }
    let credentials = sdk.credentials_provider().ok_or("no AWS credentials are set up")?;
    credentials.provide_credentials().await.map_err(|_| {
        "no AWS credentials in the environment, or none that still hold. Sign in as you do for the AWS CLI, then say \
         `eval \"$(aws configure export-credentials --format env)\"`"
            .to_owned()
    })?;
    app(config, &settings, &sdk)
}

/// # Errors
/// Every mistake in both, together.
pub fn settings_from_environment() -> Result<(Config, Settings), Mistakes> {
    let lookup = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    match (Config::from_lookup(lookup), Settings::from_lookup(lookup)) {
        (Ok(config), Ok(settings)) => Ok((config, settings)),
        (config, settings) => {
            let mistakes = [config.err(), settings.err()].into_iter().flatten().flat_map(|Mistakes(each)| each);
            Err(Mistakes(mistakes.collect()))
        }
    }
}

fn app(config: Config, settings: &Settings, sdk: &SdkConfig) -> Result<App, String> {
    let http = Client::network(config.trusted_origins()).map_err(|cause| cause.to_string())?;
    Ok(App::new(Arc::new(config), ports(sdk, settings), http, Clock::System))
}

/// The SDK's own settings: region, credentials and endpoints from the environment, as Lambda sets them.
pub async fn sdk() -> SdkConfig {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(OPERATION).build();
    aws_config::defaults(BehaviorVersion::v2026_01_12())
        .retry_config(RetryConfig::standard())
        .timeout_config(timeouts)
        .load()
        .await
}

/// The ports over these services.
pub fn ports(sdk: &SdkConfig, settings: &Settings) -> Ports {
    let queue = |url: &str| -> Arc<dyn Queue> { Arc::new(SqsQueue::new(sdk, url)) };
    Ports {
        store: Arc::new(DynamoStore::new(sdk, &settings.table)),
        vault: Arc::new(SecretsManagerVault::new(sdk)),
        lake: Arc::new(S3Lake::new(sdk, &settings.bucket)),
        queues: PerFeed {
            alerts: queue(&settings.queue_urls.alerts),
            machines: queue(&settings.queue_urls.machines),
            telemetry: queue(&settings.queue_urls.telemetry),
        },
        identity: Arc::new(StsIdentity::new(sdk, settings.identity_role.clone(), Clock::System)),
    }
}

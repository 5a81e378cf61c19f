//! The four ports on AWS: state in DynamoDB, secrets in Secrets Manager, messages in SQS, the lake in S3.
//!
//! The twin of `infra/local/embedded`, and the only crate that names the AWS SDK. Contracts stand on the traits in
//! `shared::ports`; what is written here is how each service keeps them.

mod error;
mod lake;
mod queue;
mod settings;
mod store;
mod vault;

use std::{env, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use shared::{
    App,
    clock::Clock,
    config::{Config, Mistakes},
    http::Client,
    ports::Ports,
};

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
    let lookup = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let (config, settings) = match (Config::from_lookup(lookup), Settings::from_lookup(lookup)) {
        (Ok(config), Ok(settings)) => (config, settings),
        (config, settings) => {
            let mistakes = [config.err(), settings.err()].into_iter().flatten().flat_map(|Mistakes(each)| each);
            return Err(Mistakes(mistakes.collect()).to_string());
        }
    };
    let http = Client::network(config.trusted_origins()).map_err(|cause| cause.to_string())?;
    Ok(App::new(Arc::new(config), ports(&sdk().await, &settings), http, Clock::System))
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
    Ports {
        store: Arc::new(DynamoStore::new(sdk, &settings.table)),
        vault: Arc::new(SecretsManagerVault::new(sdk)),
        lake: Arc::new(S3Lake::new(sdk, &settings.bucket)),
        alerts: Arc::new(SqsQueue::new(sdk, &settings.alerts_queue_url)),
    }
}

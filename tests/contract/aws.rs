//! AWS on loopback for the contracts: every clause in an account of its own, so nothing of another is there.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use aws_config::{BehaviorVersion, Region, SdkConfig, retry::RetryConfig};
use aws_sdk_dynamodb::{
    config::Credentials,
    types::{AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};
use aws_sdk_s3::types::CreateBucketConfiguration;
use futures::executor::block_on;
use laboratory::{Gateway, Ministack};
use tokio::runtime::{EnterGuard, Runtime};

/// What the SDK's connections live on, whoever waits for them.
pub fn enter() -> EnterGuard<'static> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().unwrap()).enter()
}

/// An account in which nothing has been made yet. Ministack takes twelve digits for the account they name.
pub fn account() -> SdkConfig {
    at(&Ministack::shared().endpoint(), &number())
}

/// An account with the gateway before it, which is as strict as AWS where ministack is not.
pub struct Strict {
    pub gateway: Gateway,
    /// What a port is given.
    pub sdk: SdkConfig,
    /// At ministack itself, to make what a stack would have made.
    pub behind: SdkConfig,
}

impl Strict {
    /// Its one door, by the name that the gateway knows it by.
    pub const DOOR: &str = "contract";

    pub fn account() -> Self {
        let account = number();
        let gateway = Gateway::before_account(Ministack::shared(), &account);
        let sdk = at(&gateway.open(Self::DOOR, None), &account);
        Self { gateway, sdk, behind: at(&Ministack::shared().endpoint(), &account) }
    }

    /// How often an operation has been called.
    pub fn calls(&self, operation: &str) -> usize {
        self.gateway.journal().since(0).iter().filter(|entry| entry.operation == operation).count()
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.gateway.journal().faults(), Vec::<String>::new());
        }
    }
}

fn number() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:012}", NEXT.fetch_add(1, Ordering::SeqCst))
}

fn at(endpoint: &str, account: &str) -> SdkConfig {
    let credentials = Credentials::new(account, "secret", None, None, "contract");
    let _runtime = enter();
    block_on(
        aws_config::defaults(BehaviorVersion::v2026_01_12())
            .endpoint_url(endpoint)
            .region(Region::new(Ministack::REGION))
            .credentials_provider(credentials)
            // As often as in production, and sooner.
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(1)))
            .load(),
    )
}

/// The table, as the template makes it.
pub fn table(sdk: &SdkConfig, name: &str) {
    let _runtime = enter();
    let attribute = |name: &str| {
        AttributeDefinition::builder().attribute_name(name).attribute_type(ScalarAttributeType::S).build().unwrap()
    };
    let key = |name: &str, of: KeyType| KeySchemaElement::builder().attribute_name(name).key_type(of).build().unwrap();
    let create = aws_sdk_dynamodb::Client::new(sdk)
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(attribute("pk"))
        .attribute_definitions(attribute("sk"))
        .key_schema(key("pk", KeyType::Hash))
        .key_schema(key("sk", KeyType::Range));
    block_on(create.send()).unwrap();
}

/// Gives the bucket's name: those of all accounts are one namespace.
pub fn bucket(sdk: &SdkConfig) -> String {
    let name = format!("lake-{}", number());
    let _runtime = enter();
    let here = CreateBucketConfiguration::builder().location_constraint(Ministack::REGION.into()).build();
    let config = aws_sdk_s3::config::Builder::from(sdk).force_path_style(true).build();
    let create = aws_sdk_s3::Client::from_conf(config).create_bucket().bucket(&name);
    block_on(create.create_bucket_configuration(here).send()).unwrap();
    name
}

/// Gives the queue's URL.
pub fn queue(sdk: &SdkConfig, name: &str) -> String {
    let _runtime = enter();
    block_on(aws_sdk_sqs::Client::new(sdk).create_queue().queue_name(name).send()).unwrap().queue_url.unwrap()
}

/// The bodies of everything that can be received now.
pub async fn received(sdk: &SdkConfig, url: &str) -> Vec<String> {
    let client = aws_sdk_sqs::Client::new(sdk);
    let mut bodies = Vec::new();
    loop {
        let received = client.receive_message().queue_url(url).max_number_of_messages(10).send().await;
        let messages = received.unwrap().messages.unwrap_or_default();
        if messages.is_empty() {
            return bodies;
        }
        bodies.extend(messages.into_iter().filter_map(|message| message.body));
    }
}

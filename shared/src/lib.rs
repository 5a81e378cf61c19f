//! What Muster's functions share: its words (tenant, credential, alert, record), Microsoft's protocols, and the ports of
//! the platform. Layers point one way: functions → operations → ports and `microsoft` → `http`.

pub mod alert;
pub mod audit;
pub mod batch;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod consent;
pub mod console;
pub mod credential;
pub mod http;
pub mod log;
pub mod machine;
pub mod mail;
pub mod metrics;
pub mod microsoft;
pub mod ocsf;
pub mod page;
pub mod plain;
pub mod ports;
pub mod random;
pub mod record;
pub mod secret;
pub mod sign_in;
pub mod signing;
pub mod storage;
pub mod telemetry;
pub mod tenant;
pub mod web;

use std::sync::Arc;

use clock::Clock;
use config::Config;
use metrics::Metrics;
use microsoft::tokens::Tokens;
use ports::Ports;

/// Everything an operation needs, connected once at start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct App {
    pub config: Arc<Config>,
    pub ports: Ports,
    pub http: http::Client,
    pub tokens: Arc<Tokens>,
    pub clock: Clock,
    /// What the console remembers of Entra's keys.
    pub known_keys: Arc<console::KnownKeys>,
    pub signing: Arc<signing::Remembered>,
    /// Where the numbers of an invocation go.
    pub metrics: Metrics,
}

impl App {
    pub fn new(config: Arc<Config>, ports: Ports, http: http::Client, clock: Clock) -> Self {
        let (vault, identity) = (ports.vault.clone(), ports.identity.clone());
        let tokens = Arc::new(Tokens::new(http.clone(), vault, identity, config.clone(), clock.clone()));
        let function = config.function.clone();
        let metrics = function.map_or(Metrics::Unread, |function| Metrics::StandardOutput { function });
        Self { config, ports, http, tokens, clock, known_keys: Arc::default(), signing: Arc::default(), metrics }
    }
}

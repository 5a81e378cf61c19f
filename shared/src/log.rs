//! Structured logs on standard error: each message readable alone, with fields to query by.

use tracing_subscriber::EnvFilter;

/// Sets up logging for a program on one machine. Functions on Lambda use the runtime's own initialiser, which follows
/// Lambda's log settings.
///
/// `RUST_LOG` chooses the level; without it `default_level` holds, and the libraries below us stay at `warn`.
pub fn init(default_level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        let ours = ["shared", "local", "embedded", "alert_pull", "credential_rotation", "pull_dispatch"];
        EnvFilter::new(ours.iter().fold("warn".to_owned(), |all, name| format!("{all},{name}={default_level}")))
    });
    // A second initialisation in one process (tests) is harmless: the first one stays.
    let _already_set =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
}

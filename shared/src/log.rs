//! Structured logs: each message readable alone, with fields to query by.
//!
//! The libraries below us speak at `warn` and above only, however talkative we are asked to be on Lambda: at `trace` the
//! runtime prints whole events, with the cookies and codes of consents in them, and AWS's SDK whole requests.

use std::str::FromStr;

use tracing::{Level, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, filter::filter_fn, fmt::MakeWriter, layer::SubscriberExt, registry::Registry,
    util::SubscriberInitExt,
};

/// Our own crates, as targets of log lines name them.
const OURS: [&str; 12] = [
    "alert_pull",
    "aws",
    "consent_callback",
    "console",
    "credential_rotation",
    "embedded",
    "local",
    "machine_pull",
    "muster",
    "pull_dispatch",
    "shared",
    "telemetry_drain",
];
/// The crate whose span carries the invocation's request id.
const RUNTIME: &str = "lambda_runtime";

/// Sets up logging on standard error for a program on one machine.
///
/// `RUST_LOG` chooses the level; without it `default_level` holds, and the libraries below us stay at `warn`.
pub fn init(default_level: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| {
        EnvFilter::new(OURS.iter().fold("warn".to_owned(), |all, name| format!("{all},{name}={default_level}")))
    });
    // Whatever is asked for: below that, Microsoft's crates print what it takes to delete a customer's message.
    let filter =
        "typespec_client_core=warn".parse().map_or(EnvFilter::new("warn"), |quiet| filter.add_directive(quiet));
    // A second initialisation in one process (tests) is harmless: the first one stays.
    let _already_set =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).try_init();
}

/// Sets up logging on standard output for a function on Lambda, after `AWS_LAMBDA_LOG_LEVEL` and
/// `AWS_LAMBDA_LOG_FORMAT`.
///
/// The runtime has an initialiser of its own. Its lines have no time, so that Lambda takes every one for `INFO` and drops
/// them all where the level is set to `WARN` (*Log-level filtering* in Lambda's developer guide); at that level they lose
/// the request id too, whose span is of the level `info`; and at `TRACE` it prints the event.
pub fn init_function() {
    let read = |name: &str| std::env::var(name).unwrap_or_default();
    let level = level_of(&read("AWS_LAMBDA_LOG_LEVEL"));
    let subscriber = function_subscriber(level, &read("AWS_LAMBDA_LOG_FORMAT"), std::io::stdout);
    let _already_set = subscriber.try_init();
}

/// Lambda's levels are ours, but for `FATAL`, above which there is nothing.
fn level_of(setting: &str) -> Level {
    if setting.eq_ignore_ascii_case("fatal") { Level::ERROR } else { Level::from_str(setting).unwrap_or(Level::INFO) }
}

fn function_subscriber<W>(level: Level, format: &str, writer: W) -> Box<dyn Subscriber + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_target(false).with_writer(writer);
    // The runtime's span is heard at any level.
    let most = LevelFilter::from_level(level.max(Level::INFO));
    let filter = filter_fn(move |metadata| is_heard(metadata, level)).with_max_level_hint(most);
    if format.eq_ignore_ascii_case("json") {
        // Every field at the top, where a query finds it by its own name, and the invocation's in `span`.
        let lines = lines.json().flatten_event(true).with_span_list(false);
        Box::new(Registry::default().with(lines.with_filter(filter)))
    } else {
        Box::new(Registry::default().with(lines.with_ansi(false).with_filter(filter)))
    }
}

fn is_heard(metadata: &Metadata<'_>, level: Level) -> bool {
    let name = metadata.target().split("::").next().unwrap_or_default();
    if metadata.is_span() {
        // It is what tells the lines of one invocation from another's.
        return name == RUNTIME && *metadata.level() <= Level::INFO;
    }
    let most = if OURS.contains(&name) { level } else { level.min(Level::WARN) };
    *metadata.level() <= most
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use serde_json::{Value, json};

    use super::*;

    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What an invocation logs at this level.
    fn logged(level: &str, format: &str) -> String {
        let paper = Paper::default();
        let writer = paper.clone();
        let subscriber = function_subscriber(level_of(level), format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            let invocation = tracing::info_span!(target: "lambda_runtime::layers::trace", "invoke", requestId = "r-1");
            let _entered = invocation.enter();
            tracing::trace!(target: "lambda_runtime::layers::api_response", body = "a cookie", "raw JSON event");
            tracing::debug!(target: "aws_smithy_runtime::client", "an authorization header");
            tracing::info_span!(target: "hyper::client", "call", token = "a token").in_scope(|| {
                tracing::info!(target: "hyper::client", "a request");
                tracing::warn!(target: "hyper::client", "a warning");
                tracing::error!(target: "shared::batch", { tenant.id = "t-1", duration_ms = 7 }, "ours at error");
            });
            tracing::info!(target: "alert_pull", "ours at info");
            tracing::trace!(target: "aws::store", "ours at trace");
        });
        String::from_utf8(paper.0.lock().unwrap().clone()).unwrap()
    }

    fn messages(level: &str) -> Vec<String> {
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["message"].as_str().unwrap().to_owned();
        logged(level, "JSON").lines().map(line).collect()
    }

    #[test]
    fn libraries_stay_silent_however_talkative_a_function_is_asked_to_be() {
        let all = ["a warning", "ours at error", "ours at info", "ours at trace"];
        assert_eq!(messages("TRACE"), all);
        assert_eq!(messages("INFO"), all[..3]);
        assert_eq!(messages("nonsense"), all[..3]);
        assert_eq!(messages("WARN"), all[..2]);
        assert_eq!(messages("FATAL"), ["ours at error"]);
    }

    #[test]
    fn a_line_carries_its_time_its_level_and_the_invocation_s_id_at_every_level() {
        for level in ["TRACE", "ERROR"] {
            let text = logged(level, "JSON");
            let line = text.lines().find(|line| line.contains("ours at error")).unwrap();
            let mut line: Value = serde_json::from_str(line).unwrap();
            let timestamp = line.as_object_mut().unwrap().remove("timestamp").unwrap();
            timestamp.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
            let expected = json!({
                "level": "ERROR", "message": "ours at error", "tenant.id": "t-1", "duration_ms": 7,
                "span": {"name": "invoke", "requestId": "r-1"},
            });
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn without_json_a_line_is_for_people_and_carries_the_id_all_the_same() {
        let text = logged("WARN", "Text");
        let line = text.lines().find(|line| line.contains("ours at error")).unwrap();
        assert!(line.contains(r#"requestId="r-1""#) && line.contains("ERROR") && !line.contains('\u{1b}'), "{line}");
    }
}

//! What an invocation measures: recorded while it runs, then one document of CloudWatch's embedded metric format.
//!
//! The format is JSON on a line of its own in the log, from which CloudWatch takes the numbers, so no call is made and
//! nothing waits for one: *Specification: Embedded metric format* in the CloudWatch user guide,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.
//! AWS keeps libraries for it in four languages, of which Rust is none, and what we need of it is this file.
//!
//! The one dimension is the function's name. A tenant would be a dimension of thousands, at 0.30 US$ each.

use std::{
    collections::BTreeMap,
    io::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

/// The namespace of all our metrics, which alarms and the dashboard name.
pub const NAMESPACE: &str = "Muster";
/// More values than these are not taken of one metric in one document.
const MAX_VALUES: usize = 100;

macro_rules! metrics {
    ($($metric:ident),+ $(,)?) => {
        /// What is measured. Alarms and the dashboard know these names; the README says what each means.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Metric {
            $($metric),+
        }

        impl Metric {
            /// Every metric there is.
            pub const ALL: &[Self] = &[$(Self::$metric),+];

            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$metric => stringify!($metric)),+
                }
            }
        }
    };
}

metrics! {
    Fetched,
    Delivered,
    Deduplicated,
    Quarantined,
    LedgerImbalance,
    Throttled,
    Parked,
    MachinesHeld,
    BytesRead,
    BytesBehind,
    FreshnessSeconds,
    LatenessSeconds,
    MessagesFailed,
    AlertsDispatched,
    MachinesDispatched,
    TelemetryDispatched,
    CredentialDaysLeft,
    CredentialFindings,
    EventsFailed,
    RotationsFailed,
}

impl Metric {
    /// What belongs to one tenant or one record is measured one by one, for a maximum or percentiles to be taken of it.
    /// Everything else is counted up.
    fn is_measured(self) -> bool {
        matches!(self, Self::FreshnessSeconds | Self::LatenessSeconds | Self::BytesBehind)
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::FreshnessSeconds | Self::LatenessSeconds => "Seconds",
            Self::BytesRead | Self::BytesBehind => "Bytes",
            _ => "Count",
        }
    }
}

/// The numbers of one invocation. The messages of a batch record side by side.
#[derive(Debug, Default)]
pub struct Recorded(Mutex<BTreeMap<Metric, Vec<u64>>>);

impl Recorded {
    /// Adds to a count, or one more value to what is measured. A recorded nothing is a 0 in the document.
    pub fn add(&self, metric: Metric, value: u64) {
        let mut recorded = self.lock();
        let values = recorded.entry(metric).or_default();
        match values.first_mut() {
            Some(count) if !metric.is_measured() => *count = count.saturating_add(value),
            _ => values.push(value),
        }
    }

    /// Adds a time, in whole seconds. Two clocks may disagree by a little; nothing happens before it does.
    pub fn add_seconds(&self, metric: Metric, time: SignedDuration) {
        self.add(metric, u64::try_from(time.as_secs()).unwrap_or(0));
    }

    /// Every number was written whole, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Metric, Vec<u64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where documents go.
#[derive(Debug, Clone, Default)]
pub enum Metrics {
    /// Nobody reads them: everywhere but on Lambda.
    #[default]
    Unread,
    /// On Lambda, whose log is standard output.
    StandardOutput { function: String },
    /// Kept for a test to read.
    Kept(Arc<Mutex<Vec<String>>>),
}

impl Metrics {
    /// What was recorded, as one line. An invocation that recorded nothing writes nothing.
    pub fn write(&self, recorded: &Recorded, now: Timestamp) {
        match self {
            Self::Unread => {}
            Self::StandardOutput { function } => {
                if let Some(line) = document(recorded, function, now) {
                    // One call with the newline in it: the lock of standard output keeps the line in one piece. Where
                    // nobody reads it there is nobody to tell.
                    let _unread = std::io::stdout().lock().write_all(format!("{line}\n").as_bytes());
                }
            }
            Self::Kept(documents) => {
                documents.lock().unwrap_or_else(PoisonError::into_inner).extend(document(recorded, "test", now));
            }
        }
    }
}

/// The document of one invocation, on one line; `None` when nothing was recorded.
///
/// The format takes 100 metrics, of which we have fewer, 100 values of each, and a megabyte, which they do not fill.
fn document(recorded: &Recorded, function: &str, now: Timestamp) -> Option<String> {
    let recorded = recorded.lock();
    if recorded.is_empty() {
        return None;
    }
    let named: Vec<Value> =
        recorded.keys().map(|metric| json!({"Name": metric.name(), "Unit": metric.unit()})).collect();
    let mut root = Map::new();
    root.insert(
        "_aws".to_owned(),
        json!({
            "Timestamp": now.as_millisecond(),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [["function"]], "Metrics": named}],
        }),
    );
    root.insert("function".to_owned(), function.into());
    for (metric, values) in recorded.iter() {
        let value = match values.as_slice() {
            [single] => json!(single),
            several => json!(sample(several)),
        };
        root.insert(metric.name().to_owned(), value);
    }
    Some(Value::Object(root).to_string())
}

/// The values, or as many of them as a document takes: evenly spaced among the sorted ones, from the smallest to the
/// largest, so that percentiles stay where they were.
fn sample(values: &[u64]) -> Vec<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    if sorted.len() <= MAX_VALUES {
        return sorted;
    }
    let last = sorted.len() - 1;
    (0..MAX_VALUES).map(|n| sorted[n * last / (MAX_VALUES - 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: &str = "2026-11-22T12:00:00Z";

    fn written(numbers: &[(Metric, u64)]) -> Option<String> {
        let recorded = Recorded::default();
        for (metric, value) in numbers {
            recorded.add(*metric, *value);
        }
        document(&recorded, "muster-alert-pull", NOON.parse().unwrap())
    }

    #[test]
    fn counts_are_summed_and_seconds_are_listed() {
        let numbers = [
            (Metric::FreshnessSeconds, 64),
            (Metric::Delivered, 2),
            (Metric::FreshnessSeconds, 3),
            (Metric::Delivered, 5),
            (Metric::LedgerImbalance, 0),
        ];
        let expected = concat!(
            r#"{"FreshnessSeconds":[3,64],"Delivered":7,"LedgerImbalance":0,"function":"muster-alert-pull","#,
            r#""_aws":{"Timestamp":1795348800000,"CloudWatchMetrics":[{"Namespace":"Muster","#,
            r#""Dimensions":[["function"]],"Metrics":[{"Name":"Delivered","Unit":"Count"},"#,
            r#"{"Name":"LedgerImbalance","Unit":"Count"},{"Name":"FreshnessSeconds","Unit":"Seconds"}]}]}}"#
        );
        let text = written(&numbers).unwrap();
        let (written, expected): (Value, Value) =
            (serde_json::from_str(&text).unwrap(), serde_json::from_str(expected).unwrap());
        assert_eq!(written, expected, "{text}");
        assert!(!text.contains('\n'));
    }

    /// Of two tenants the one that is furthest behind is what an alarm asks for; what was read of both is one number.
    #[test]
    fn bytes_are_told_as_bytes_and_what_is_behind_is_told_tenant_by_tenant() {
        let numbers = [
            (Metric::BytesBehind, 7),
            (Metric::BytesRead, 100),
            (Metric::BytesBehind, 0),
            (Metric::BytesRead, 11),
            (Metric::MachinesHeld, 12),
            (Metric::MachinesHeld, 30),
        ];
        let root: Value = serde_json::from_str(&written(&numbers).unwrap()).unwrap();
        assert_eq!((&root["BytesBehind"], &root["BytesRead"]), (&json!([0, 7]), &json!(111)));
        assert_eq!(root["MachinesHeld"], 42);
        assert_eq!(
            root["_aws"]["CloudWatchMetrics"][0]["Metrics"],
            json!([
                {"Name": "MachinesHeld", "Unit": "Count"},
                {"Name": "BytesRead", "Unit": "Bytes"},
                {"Name": "BytesBehind", "Unit": "Bytes"},
            ])
        );
    }

    #[test]
    fn nothing_recorded_is_nothing_written_and_a_recorded_nothing_is_a_zero() {
        assert_eq!(written(&[]), None);
        assert!(written(&[(Metric::RotationsFailed, 0)]).unwrap().contains(r#""RotationsFailed":0"#));
    }

    #[test]
    fn more_values_than_a_document_takes_are_sampled_from_the_smallest_to_the_largest() {
        let values: Vec<u64> = (0..=9_900).rev().collect();
        let sampled: Vec<u64> = (0..100).map(|n| n * 100).collect();
        assert_eq!(sample(&values), sampled);
        assert_eq!(sample(&values[..100]), (9_801..=9_900).collect::<Vec<u64>>());
    }

    #[test]
    fn the_largest_document_keeps_every_limit_of_the_format() {
        let numbers: Vec<(Metric, u64)> = Metric::ALL.iter().flat_map(|metric| [(*metric, u64::MAX); 1_000]).collect();
        let text = written(&numbers).unwrap();
        assert!(text.len() < 1 << 20, "{} bytes", text.len());
        let root: Value = serde_json::from_str(&text).unwrap();
        let metrics = root["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
        assert_eq!(metrics.len(), Metric::ALL.len());
        for metric in metrics {
            let values = &root[metric["Name"].as_str().unwrap()];
            assert!(values.is_u64() || values.as_array().unwrap().len() == 100, "{metric}: {values}");
        }
    }

    #[test]
    fn only_what_is_read_is_written() {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let recorded = Recorded::default();
        recorded.add(Metric::AlertsDispatched, 3);
        for metrics in [Metrics::Unread, Metrics::Kept(Arc::clone(&kept))] {
            metrics.write(&recorded, NOON.parse().unwrap());
            metrics.write(&Recorded::default(), NOON.parse().unwrap());
        }
        assert_eq!(kept.lock().unwrap().len(), 1);
    }
}

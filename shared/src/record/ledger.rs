//! What became of every record that came: the four numbers of a feed, and whether they balance.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::metrics::{Metric, Recorded};

/// The counts that must balance: `fetched = delivered + deduplicated + quarantined`. A look at alerts is not a
/// fetch; what it shows and we have is not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    pub fetched: u64,
    pub delivered: u64,
    pub deduplicated: u64,
    pub quarantined: u64,
}

impl Ledger {
    pub fn balances(&self) -> bool {
        self.imbalance() == 0
    }

    /// How many records are unaccounted for, or accounted for twice. Each of the four numbers is counted where the thing
    /// itself happens, and none is worked out from the others.
    pub fn imbalance(&self) -> u64 {
        self.fetched.abs_diff(self.delivered + self.deduplicated + self.quarantined)
    }

    /// Adds to the metrics. Where nothing was fetched there is nothing to say.
    pub fn record(self, recorded: &Recorded) {
        if self == Self::default() {
            return;
        }
        for (metric, count) in [
            (Metric::Fetched, self.fetched),
            (Metric::Delivered, self.delivered),
            (Metric::Deduplicated, self.deduplicated),
            (Metric::Quarantined, self.quarantined),
            (Metric::LedgerImbalance, self.imbalance()),
        ] {
            recorded.add(metric, count);
        }
    }

    pub fn add(&mut self, other: Self) {
        self.fetched += other.fetched;
        self.delivered += other.delivered;
        self.deduplicated += other.deduplicated;
        self.quarantined += other.quarantined;
    }
}

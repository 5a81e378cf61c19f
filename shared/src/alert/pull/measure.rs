//! What a pass measures: the counts of its commits, how late alerts became visible, how fresh the tenant is.

use jiff::Timestamp;

use super::{Pass, Work};
use crate::{alert::commit::Committed, metrics::Metric, tenant::Feed};

impl Pass<'_> {
    pub(super) fn measure_commit(&self, committed: Committed) {
        committed.counts.record(self.recorded);
        for late in committed.lateness {
            self.recorded.add_seconds(Metric::LatenessSeconds, late);
        }
    }

    /// The age of the live watermark, once a live pass has written down how it ended.
    pub(super) fn measure_freshness(&self, now: Timestamp) {
        if matches!(self.work, Work::Live(_)) && self.desk.state.connection.should_be_fresh(Feed::Alerts) {
            let age = now.duration_since(self.desk.state.feed.looks.watermark());
            self.recorded.add_seconds(Metric::FreshnessSeconds, age);
        }
    }
}

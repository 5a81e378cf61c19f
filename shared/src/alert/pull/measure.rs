//! What a pass measures: the counts of its commits, how late alerts became visible, how fresh the tenant is.

use jiff::{SignedDuration, Timestamp};

use super::{Pass, Work};
use crate::{alert::commit::Committed, metrics::Metric, tenant::Feed};

impl Pass<'_> {
    pub(super) fn measure_commit(&self, committed: Committed) {
        committed.counts.record(self.recorded);
        for late in committed.lateness {
            self.recorded.add(Metric::LatenessSeconds, whole_seconds(late));
        }
    }

    /// The age of the live watermark, once a live pass has written down how it ended.
    pub(super) fn measure_freshness(&self, now: Timestamp) {
        let connection = &self.desk.state.connection;
        // Where the customer refuses this feed and gives another, the tenant is active, and this feed's age only grows.
        let refused = connection.feeds.get(&Feed::Alerts).and_then(|feed| feed.refused.as_ref());
        let expected =
            connection.state.should_be_fresh() && refused.is_none_or(|refused| refused.state.should_be_fresh());
        if matches!(self.work, Work::Live(_)) && expected {
            let age = now.duration_since(self.desk.state.feed.looks.watermark());
            self.recorded.add(Metric::FreshnessSeconds, whole_seconds(age));
        }
    }
}

/// Two clocks may disagree by a little; nothing happens before it does.
fn whole_seconds(time: SignedDuration) -> u64 {
    u64::try_from(time.as_secs()).unwrap_or(0)
}

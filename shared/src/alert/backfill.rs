//! Older alerts once more, from a date that an operator names: a walk of its own, which never delays what is new.

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::Serialize;

use super::{
    progress::{AlertFeed, Walk, WalkReason},
    window::Window,
};
use crate::{
    App,
    audit::{Action, Actor, Entry},
    record::{CommitError, Guarded},
    tenant::{
        Feed, State, TenantId,
        change::{ChangeError, known},
        dispatch::{self, Part},
    },
};

/// Microsoft keeps alerts for so long (MICROSOFT.md 3.1), and the seen-set remembers them a little longer.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 180);
/// A pull writes the progress now and then. Whoever loses to it reads again; more often than this nobody loses.
const TRIES: usize = 5;

/// How far a walk through older alerts is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Backfill {
    pub reason: WalkReason,
    pub since: Timestamp,
    pub until: Timestamp,
    /// Everything from `since` to here has been looked at and delivered.
    pub reached: Timestamp,
    /// Of the time to be walked through, 0 to 99: at 100 the walk is over.
    pub percent: u8,
}

impl Backfill {
    /// What an operator asked for, or else the first look; none where neither is under way.
    pub fn of(feed: &AlertFeed) -> Option<Self> {
        let walk = |reason: WalkReason| feed.walks.iter().find(|walk| walk.reason == reason);
        walk(WalkReason::Backfill).or_else(|| walk(WalkReason::FirstLook)).map(Self::at)
    }

    fn at(walk: &Walk) -> Self {
        let since = walk.since.unwrap_or(walk.reached);
        let (done, all) = (walk.reached.duration_since(since).as_secs(), walk.until.duration_since(since).as_secs());
        let percent = (done.max(0) * 100).checked_div(all).unwrap_or(0).min(99);
        let percent = u8::try_from(percent).unwrap_or(99);
        Self { reason: walk.reason, since, until: walk.until, reached: walk.reached, percent }
    }
}

/// Begins to walk from `since` to where our data begins; or, where it begins earlier than that, through what we have once
/// more, to find what may be missing. What has left before does not leave again.
///
/// # Errors
/// [`ChangeError`]; nothing is changed then.
pub async fn begin(app: &App, tenant: TenantId, since: Timestamp, by: &Actor) -> Result<Backfill, ChangeError> {
    for _ in 0..TRIES {
        match attempt(app, tenant, since, by).await {
            Err(ChangeError::Busy) => {}
            done => return done,
        }
    }
    Err(ChangeError::Busy)
}

async fn attempt(app: &App, tenant: TenantId, since: Timestamp, by: &Actor) -> Result<Backfill, ChangeError> {
    let (store, now) = (app.ports.store.as_ref(), app.clock.now());
    let connection = known(app, tenant).await?.connection;
    let opened = Guarded::<AlertFeed>::open(store, tenant).await?;
    let Some(mut state) = opened.filter(|_| connection.feeds.contains_key(&Feed::Alerts)) else {
        return Err(refused("the tenant does not have the feed `alerts`, and only alerts can be read again"));
    };
    if state.connection != connection {
        return Err(ChangeError::Busy);
    }
    if connection.claimed_at.is_some() || connection.state == State::Confirming {
        return Err(refused("access to the tenant is not proven yet; its first look begins once it is"));
    }
    let walk = plan(&state.feed, since, now).map_err(ChangeError::Refused)?;
    let begun = Backfill::at(&walk);
    state.feed.known_from = state.feed.known_from.map(|from| from.min(since));
    state.feed.walks.push(walk);
    state.connection.feeds.entry(Feed::Alerts).and_modify(|feed| feed.backlog = true);
    let entry = Entry::new(now, by, Action::BackfillBegun).of_tenant(tenant).of_account(&connection.account);
    let day = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC");
    let entry = entry.saying(format!("Alerts from {} to {}.", day(begun.since), day(begun.until)));
    state.store(store, vec![entry.write()?], now).await.map_err(|error| match error {
        CommitError::Conflict => ChangeError::Busy,
        CommitError::Platform(cause) => ChangeError::Platform(cause),
    })?;
    if let Err(error) = dispatch::part_at_once(&app.ports.queues, &state.connection, Part::Backlog, now).await {
        tracing::warn!(tenant.id = %tenant, %error, "a backfill waits for the next tick");
    }
    Ok(begun)
}

fn refused(why: &str) -> ChangeError {
    ChangeError::Refused(why.to_owned())
}

/// The walk, or why there is none.
fn plan(feed: &AlertFeed, since: Timestamp, now: Timestamp) -> Result<Walk, String> {
    let earliest = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
    if since >= now {
        return Err("a backfill begins in the past".to_owned());
    }
    if since < earliest {
        let earliest = earliest.strftime("%Y-%m-%d %H:%M UTC");
        return Err(format!("Microsoft keeps alerts for 180 days; the earliest moment is {earliest}"));
    }
    if let Some(Backfill { reason: WalkReason::Backfill, since, percent, .. }) = Backfill::of(feed) {
        let since = since.strftime("%Y-%m-%d %H:%M UTC");
        return Err(format!("a backfill from {since} is under way ({percent} %); begin another one when it is done"));
    }
    let live = feed.looks.watermark();
    // An item of the version before does not say; then everything is walked through.
    let until = feed.known_from.filter(|from| since < *from).unwrap_or(live);
    if until == live && feed.walks.iter().any(|walk| walk.reason == WalkReason::FirstLook) {
        return Err(
            "the first look is still on its way through these days; it can be repeated when it is done".to_owned()
        );
    }
    let window = Window::new(since, until);
    if window.is_empty() {
        return Err("everything since then is being looked at as it comes".to_owned());
    }
    Ok(Walk::new(WalkReason::Backfill, window, None))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::progress;

    fn day(day: i64) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_hours(24 * day)
    }

    /// Connected on day 1000 with a first look of a week, which is done; now it is day 1010.
    fn feed() -> AlertFeed {
        let mut feed = AlertFeed::starting(day(1000), SignedDuration::from_hours(24 * 7));
        feed.walks.clear();
        feed.looks.completed(progress::Depth::TwoDays, day(1010));
        feed
    }

    fn planned(feed: &AlertFeed, since: i64) -> Result<(Timestamp, Timestamp), String> {
        plan(feed, day(since), day(1010)).map(|walk| (walk.reached, walk.until))
    }

    #[test]
    fn a_backfill_ends_where_the_data_begins_and_within_it_is_a_second_look() {
        let mut known = feed();
        assert_eq!(planned(&known, 900), Ok((day(900), day(993))));
        assert_eq!(planned(&known, 993), Ok((day(993), day(1010))));
        assert_eq!(planned(&known, 1005), Ok((day(1005), day(1010))));
        known.known_from = None;
        assert_eq!(planned(&known, 900), Ok((day(900), day(1010))), "an item of the version before");
    }

    #[test]
    fn what_cannot_be_walked_is_refused_in_words() {
        let mut known = feed();
        for (since, words) in
            [(1010, "in the past"), (2000, "in the past"), (829, "180 days; the earliest moment is 1972-04-10")]
        {
            let refused = planned(&known, since).unwrap_err();
            assert!(refused.contains(words), "{since}: {refused}");
        }
        assert!(planned(&known, 830).is_ok());
        known.looks = progress::Looks::starting(day(1000));
        assert!(planned(&known, 1001).unwrap_err().contains("as it comes"));
        known.walks.push(Walk::new(WalkReason::FirstLook, Window::new(day(993), day(1000)), None));
        assert!(planned(&known, 995).unwrap_err().contains("first look"));
        assert!(planned(&known, 900).is_ok(), "older days are another walk's");
        known.walks.push(Walk::new(WalkReason::Backfill, Window::new(day(900), day(993)), None));
        assert!(planned(&known, 890).unwrap_err().contains("under way (0 %)"));
    }

    #[test]
    fn progress_is_told_in_percent_of_the_time_and_an_operators_walk_first() {
        let mut feed = AlertFeed::starting(day(1000), SignedDuration::from_hours(24 * 7));
        let mut told = |reached: Timestamp| {
            feed.walks[0].reached = reached;
            Backfill::of(&feed).map(|walk| (walk.reason, walk.since, walk.until, walk.percent))
        };
        let first = |percent: u8| Some((WalkReason::FirstLook, day(993), day(1000), percent));
        assert_eq!([993, 996, 1000].map(|at| told(day(at))), [first(0), first(42), first(99)]);
        feed.walks.push(Walk::new(WalkReason::Backfill, Window::new(day(900), day(993)), None));
        assert_eq!(Backfill::of(&feed).map(|walk| walk.since), Some(day(900)));
        feed.walks.clear();
        assert_eq!(Backfill::of(&feed), None);
        feed.walks = vec![Walk { since: None, ..Walk::new(WalkReason::FirstLook, Window::new(day(1), day(2)), None) }];
        assert_eq!(Backfill::of(&feed).map(|walk| (walk.since, walk.percent)), Some((day(1), 0)));
    }
}

//! The audit trail, for scripts.

use jiff::Timestamp;

use super::{
    NotDone, Problem,
    calls::{Asked, give},
};
use crate::{audit, web};

const LIMIT: usize = 1000;
/// More than one transaction writes.
const CROWD: usize = 200;

pub async fn list(asked: Asked<'_>) -> Result<web::Response, NotDone> {
    let before = match asked.request.asked("before") {
        None => Timestamp::MAX.min(asked.now.saturating_add(jiff::SignedDuration::from_secs(1)).unwrap_or(asked.now)),
        Some(text) => {
            text.parse().map_err(|_| Problem::new(422, "`before` is a time such as 2026-11-22T12:00:00Z."))?
        }
    };
    let entries = audit::before(asked.app.ports.store.as_ref(), before, LIMIT + CROWD).await?;
    // Whoever goes on from the last one's time misses nothing.
    give(200, &audit::whole_moments(entries, LIMIT).0)
}

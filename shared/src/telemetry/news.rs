//! What a batch brings that has not left yet: its records as one object, and what is no record for the quarantine.

use super::{
    batch::Portion,
    blob,
    event::network_activity,
    line::{Head, Unreadable},
};
use crate::{
    App,
    ocsf::Style,
    record::{self, CommitError, Ledger, Mark, ObjectWriter, mark},
    tenant::{Feed, TenantId},
};

/// Longer lines are not parsed: nothing that Defender writes comes near, and a value may take many times its text.
const MAX_LINE: usize = 2 << 20;
/// Of a line that long, or without an end, so much is kept.
const KEPT: usize = 64 << 10;
/// Lines of one commit that go to the quarantine each in an object of its own; more share one.
const QUARANTINED_APART: usize = 20;

/// A line of a batch: which portion, from where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub portion: usize,
    from: usize,
    to: usize,
}

/// One line that has not left yet.
#[derive(Debug)]
pub enum Line {
    Record(Head),
    Unreadable(Reason),
}

/// Why a line goes to the quarantine.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    #[error(transparent)]
    NoRecord(#[from] Unreadable),
    #[error("{0} bytes are too long for a line")]
    TooLong(usize),
    #[error("part of a line that does not end, {0} bytes")]
    Torn(usize),
    /// It has an identity, and is no JSON for all that.
    #[error("{0}")]
    NoEvent(String),
}

/// What a batch holds that is new.
#[derive(Debug, Default)]
pub struct News {
    pub records: Vec<(Head, Place)>,
    pub unreadable: Vec<(Reason, Place)>,
    pub counts: Ledger,
}

/// The lines of a portion, each with its mark.
pub fn read_portion(
    tenant: TenantId,
    number: usize,
    portion: &Portion,
    counts: &mut Ledger,
    found: &mut Vec<(Mark, Place, Line)>,
) {
    let whole = [(0, portion.text.len())];
    let split = blob::lines(&portion.text);
    let places: Box<dyn Iterator<Item = (usize, usize)>> =
        if portion.torn { Box::new(whole.into_iter()) } else { Box::new(split) };
    for (from, to) in places {
        counts.fetched += 1;
        let text = &portion.text[from..to];
        let head = if portion.torn {
            Err(Reason::Torn(text.len()))
        } else if text.len() > MAX_LINE {
            Err(Reason::TooLong(text.len()))
        } else {
            Head::parse(tenant, text).map_err(Reason::from)
        };
        let (mark, line) = match head {
            Ok(head) => (head.mark, Line::Record(head)),
            Err(reason) => (mark(&[b"telemetry text", text]), Line::Unreadable(reason)),
        };
        found.push((mark, Place { portion: number, from, to }, line));
    }
}

fn text_of(portions: &[Portion], place: Place) -> &[u8] {
    &portions[place.portion].text[place.from..place.to]
}

/// Records in the order of their times, and what goes to the quarantine.
pub fn sort(fresh: Vec<(Place, Line)>) -> News {
    let mut news = News::default();
    for (place, line) in fresh {
        match line {
            Line::Record(head) => {
                news.counts.delivered += 1;
                news.records.push((head, place));
            }
            Line::Unreadable(reason) => {
                news.counts.quarantined += 1;
                news.unreadable.push((reason, place));
            }
        }
    }
    news.records.sort_unstable_by_key(|(head, place)| (head.time, head.mark, *place));
    // In the order of the blobs, so that the same lines make the same object.
    news.unreadable.sort_unstable_by_key(|(_, place)| *place);
    news
}

/// An object ready to be put; none where no record is left for one.
#[derive(Debug)]
pub struct Encoded {
    pub object: Option<Vec<u8>>,
    pub unreadable: Vec<(Reason, Place)>,
}

/// The object with these records, and those of them that are no JSON for all that.
///
/// # Errors
/// Never in practice: the target is memory.
pub fn encode(style: Style, portions: &[Portion], records: &[(Head, Place)]) -> Result<Encoded, CommitError> {
    let mut writer = ObjectWriter::fast();
    let mut unreadable = Vec::new();
    for (head, place) in records {
        let bytes = text_of(portions, *place);
        let event = std::str::from_utf8(bytes).map_err(|cause| cause.to_string());
        match event.and_then(|line| network_activity(style, line, head)) {
            Ok(event) => writer.push(&event)?,
            Err(reason) => unreadable.push((Reason::NoEvent(reason), *place)),
        }
    }
    let object = if unreadable.len() < records.len() { Some(writer.finish()?) } else { None };
    Ok(Encoded { object, unreadable })
}

/// Keeps what is no record. A commit that is full of it keeps it in one object, or a table that should not be here would
/// cost an object a line.
///
/// # Errors
/// As the lake's.
pub async fn quarantine(
    app: &App,
    tenant: TenantId,
    portions: &[Portion],
    lines: Vec<(Reason, Place)>,
) -> Result<(), CommitError> {
    let lake = app.ports.lake.as_ref();
    if lines.len() <= QUARANTINED_APART {
        for (reason, place) in lines {
            let (text, now) = (text_of(portions, place), app.clock.now());
            let kept = &text[..text.len().min(KEPT)];
            let record = record::quarantine(Feed::Telemetry, tenant, text, kept, &reason.to_string(), now);
            // Known by its text, so that a second put finds the first one's object.
            lake.put_new(&record.key, record.object).await?;
        }
        return Ok(());
    }
    let lines = lines.iter().map(|(reason, place)| (reason.to_string(), text_of(portions, *place)));
    let record = record::quarantine_together(Feed::Telemetry, tenant, lines, KEPT)?;
    tracing::warn!(tenant.id = %tenant, key = record.key, "many lines are no records; they go to the quarantine together");
    lake.put_new(&record.key, record.object).await?;
    Ok(())
}

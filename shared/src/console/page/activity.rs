//! Who did what, the newest first: the audit trail as people read it.

use askama::Template;
use jiff::{SignedDuration, Timestamp};

use super::{
    Chrome, Section, Visit,
    words::{self, Moment},
};
use crate::{
    audit::{self, Actor, Entry},
    console::Broken,
    tenant::TenantId,
    web,
};

/// Entries of a page; those of one moment stay together, so now and then there are some more.
const ROWS: usize = 50;
/// Characters of an account's name, and of what was said, that a row has room for.
const NAME: usize = 34;
const DETAIL: usize = 200;
/// Entries that are read at once, and how many times that before a rare one is given up until somebody asks further.
const STRIDE: usize = 1000;
const STRIDES: usize = 5;
/// One form makes so many entries of one moment at most.
const CROWD: usize = 600;
/// As far as the trail looks back for one page.
const QUARTER: SignedDuration = SignedDuration::from_hours(24 * 91);

#[derive(Template)]
#[template(path = "console/activity.html")]
struct ActivityPage<'a> {
    chrome: Chrome<'a>,
    filter: &'a Filter,
    rows: Vec<Row<'a>>,
    /// Where the next page goes on, and whether older entries are known to be there.
    older: Option<String>,
    is_end: bool,
    is_newest: bool,
}

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Filter {
    account: String,
    tenant: Option<TenantId>,
}

impl Filter {
    fn of(request: &web::Request) -> Self {
        Self {
            account: request.asked("account").map(|text| text.trim().to_owned()).unwrap_or_default(),
            tenant: request.asked("tenant").and_then(|text| text.trim().to_lowercase().parse().ok()),
        }
    }

    fn fits(&self, entry: &Entry) -> bool {
        let same = |account: &String| account.to_lowercase() == self.account.to_lowercase();
        (self.account.is_empty() || entry.account.as_ref().is_some_and(same))
            && (self.tenant.is_none() || entry.tenant_id == self.tenant)
    }

    fn is_none(&self) -> bool {
        *self == Self::default()
    }

    fn address(&self, before: Timestamp) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("before", &before.to_string());
        if !self.account.is_empty() {
            query.append_pair("account", &self.account);
        }
        if let Some(tenant) = self.tenant {
            query.append_pair("tenant", &tenant.to_string());
        }
        format!("/activity?{}", query.finish())
    }
}

struct Row<'a> {
    entry: &'a Entry,
    at: Moment,
}

impl Row<'_> {
    /// What kind of somebody it was.
    fn kind(&self) -> &'static str {
        match self.entry.actor {
            Actor::Operator { .. } => "operator",
            Actor::Script { .. } => "script",
            Actor::Administrator { .. } => "customer's administrator",
            Actor::LinkHolder => "customer",
            Actor::CommandLine | Actor::Muster => "",
        }
    }

    fn account(&self) -> String {
        words::cut(self.entry.account.as_deref().unwrap_or_default(), NAME)
    }

    fn detail(&self) -> String {
        words::cut(&self.entry.detail, DETAIL)
    }

    /// A part of a name finds it too.
    fn account_address(&self) -> String {
        let name: String = self.entry.account.as_deref().unwrap_or_default().chars().take(NAME).collect();
        format!("/accounts?q={}", url::form_urlencoded::byte_serialize(name.as_bytes()).collect::<String>())
    }
}

pub async fn page(visit: &Visit<'_>) -> Result<web::Response, Broken> {
    let filter = Filter::of(visit.request);
    let asked = visit.request.asked("before").and_then(|text| text.parse::<Timestamp>().ok());
    // What happens while the page is made belongs on it.
    let mut before = asked.unwrap_or(visit.now + SignedDuration::from_mins(1));
    let (mut entries, mut is_end) = (Vec::new(), false);
    for _ in 0..STRIDES {
        let read = audit::before(visit.app.ports.store.as_ref(), before, STRIDE + CROWD).await?;
        let (read, rest) = audit::whole_moments(read, STRIDE);
        is_end = !rest;
        before = read.last().map_or(before, |entry| entry.at);
        entries.extend(read.into_iter().filter(|entry| filter.fits(entry)));
        if is_end || entries.len() > ROWS {
            break;
        }
    }
    let (entries, rest) = audit::whole_moments(entries, ROWS);
    let older = match (rest, is_end) {
        (true, _) => entries.last().map(|entry| entry.at),
        (false, false) => Some(before),
        (false, true) => before.checked_sub(QUARTER).ok().filter(|older| *older > Timestamp::UNIX_EPOCH),
    };
    let rows = entries.iter().map(|entry| Row { entry, at: Moment { at: entry.at, now: visit.now } }).collect();
    let page = ActivityPage {
        chrome: visit.chrome(Section::Activity),
        filter: &filter,
        rows,
        older: older.map(|before| filter.address(before)),
        is_end: is_end && !rest,
        is_newest: asked.is_none(),
    };
    Ok(visit.html(200, &page))
}

/// What was done about one account.
pub fn address(account: &str) -> String {
    let account: String = url::form_urlencoded::byte_serialize(account.as_bytes()).collect();
    format!("/activity?account={account}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::Action,
        console::page::testing::{HOSTILE, Scene, check},
        plain,
    };

    fn entry(second: i64) -> Entry {
        let actor = Actor::Operator { oid: "o".to_owned(), name: plain::visible(HOSTILE, 40) };
        let entry = Entry::new(Timestamp::from_second(second).unwrap(), &actor, Action::Invited);
        let tenant = "00000000-0000-4000-8000-0000000000aa".parse().unwrap();
        entry.of_account(HOSTILE).of_tenant(tenant).saying("For alerts and machines, good for one tenant alone.")
    }

    #[test]
    fn a_page_of_the_trail_is_small_and_what_people_wrote_stays_text() {
        let entries: Vec<Entry> = (0..ROWS as i64).rev().map(entry).collect();
        let now = Timestamp::from_second(4_000).unwrap();
        let filter = Filter { account: HOSTILE.to_owned(), tenant: entries[0].tenant_id };
        let scene = Scene::hostile();
        let page = ActivityPage {
            chrome: scene.chrome(Section::Activity),
            filter: &filter,
            rows: entries.iter().map(|entry| Row { entry, at: Moment { at: entry.at, now } }).collect(),
            older: Some(filter.address(entries[49].at)),
            is_end: false,
            is_newest: true,
        };
        let page = check("activity", &page.render().unwrap());
        assert!(page.contains("before=1970-01-01T00%3A00%3A00Z") && page.contains("minutes ago"));
        assert_eq!(page.matches("<tr>").count(), 51);
    }

    #[test]
    fn no_moment_is_torn_between_two_pages() {
        let seconds = |entries: &[Entry]| entries.iter().map(|entry| entry.at.as_second()).collect::<Vec<_>>();
        let entries = || [5, 4, 4, 4, 3].map(entry).to_vec();
        let (page, rest) = audit::whole_moments(entries(), 2);
        assert_eq!((seconds(&page), rest), (vec![5, 4, 4, 4], true));
        let (page, rest) = audit::whole_moments(entries(), 5);
        assert_eq!((page.len(), rest), (5, false));
        assert!(!audit::whole_moments(entries(), 50).1);
    }

    #[test]
    fn a_filter_knows_an_account_in_any_case_and_a_tenant_by_its_id() {
        let filter = |query: &str| Filter::of(&web::Request { query: query.to_owned(), ..web::Request::default() });
        let contoso = Entry { account: Some("Contoso".to_owned()), ..entry(1) };
        assert!(filter("account=CONTOSO").fits(&contoso) && !filter("account=Contos").fits(&contoso));
        assert!(filter("tenant=00000000-0000-4000-8000-0000000000AA").fits(&contoso));
        assert!(!filter("tenant=00000000-0000-4000-8000-0000000000ab").fits(&contoso));
        assert!(filter("tenant=nonsense&account=").is_none());
    }
}

//! What a form shows: what was typed, what was wrong with it, and which sentence belongs to which field.

use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{
    cloud::Region,
    plain,
    storage::Storage,
    tenant::{
        Feed,
        missing::{Field, Missing},
    },
    web,
};

pub const STORAGE_ACCOUNT: &str = "storage.account_name";
pub const STORAGE_QUEUE: &str = "storage.queue_name";
pub const ENDS: &str = "ends";

/// One form of a page.
#[derive(Debug, Clone, Default)]
pub struct Form {
    /// Keeps the fields of several forms on one page apart.
    prefix: &'static str,
    values: Vec<(&'static str, String)>,
    mistakes: Vec<Mistake>,
    /// Tells one form from another: the same one sent twice is acted on once.
    pub once: String,
}

/// A sentence, beside the field of this name; where there is none it stands above the form alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub field: &'static str,
    pub text: String,
}

impl Mistake {
    pub fn new(field: &'static str, text: impl Into<String>) -> Self {
        Self { field, text: sentence(text.into()) }
    }
}

/// The operations' errors are clauses, for command lines too; on a page a sentence stands alone, and what was typed stands
/// between quotes.
pub fn sentence(text: String) -> String {
    let mut quotes = ['“', '”'].into_iter().cycle();
    plain::sentence(text.chars().map(|c| if c == '`' { quotes.next().unwrap_or(c) } else { c }).collect())
}

/// What is missing, beside the fields that it belongs to; each sentence once.
pub fn mistakes(missing: &[Missing]) -> Vec<Mistake> {
    let mut mistakes: Vec<Mistake> = Vec::new();
    for Missing { field, detail, .. } in missing {
        let mistake = Mistake::new(name(*field), detail.as_str());
        if !mistakes.contains(&mistake) {
            mistakes.push(mistake);
        }
    }
    mistakes
}

/// A field's name in our forms. An account is never typed where something can be missing.
fn name(field: Field) -> &'static str {
    match field {
        Field::Account => "",
        Field::TenantId => "tenant_id",
        Field::ClientId => "client_id",
        Field::Credential => "credential",
        Field::Feeds => "feeds",
        Field::StorageAccount => STORAGE_ACCOUNT,
        Field::StorageQueue => STORAGE_QUEUE,
        Field::Region => "region",
    }
}

/// When a client secret ends: at the beginning of the day that was given, for better a reminder too early. Graph tells it
/// of applications that may look at themselves, and of the others nobody but who made the secret.
pub fn ends(form: &web::Form, mistakes: &mut Vec<Mistake>) -> Option<Timestamp> {
    let day = form.text(ENDS).and_then(|text| text.parse::<Date>().ok());
    let end = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok()).map(|begins| begins.timestamp());
    if end.is_none() {
        let text = "Give the day on which the secret ends, as Entra shows it beside the secret and such as 2027-05-01: \
                    without it nobody can be warned in time.";
        mistakes.push(Mistake::new(ENDS, text));
    }
    end
}

/// The storage account and queue that telemetry needs, or what is wrong with either.
pub fn storage(form: &web::Form, mistakes: &mut Vec<Mistake>) -> Option<Storage> {
    let account =
        form.text(STORAGE_ACCOUNT).ok_or_else(|| "Telemetry lies in a storage account: say which.".to_owned());
    let queue = form.text(STORAGE_QUEUE).ok_or_else(|| "Say which queue announces new blobs.".to_owned());
    let account = account.and_then(str::parse).map_err(|text| mistakes.push(Mistake::new(STORAGE_ACCOUNT, text))).ok();
    let queue = queue.and_then(str::parse).map_err(|text| mistakes.push(Mistake::new(STORAGE_QUEUE, text))).ok();
    Some(Storage { account_name: account?, queue_name: queue? })
}

/// The feeds that were ticked; at least one.
pub fn feeds(form: &web::Form, mistakes: &mut Vec<Mistake>) -> Vec<Feed> {
    let feeds: Result<Vec<Feed>, String> = form.all("feeds").map(str::parse).collect();
    let feeds = feeds.map_err(|text| mistakes.push(Mistake::new("feeds", text)));
    if feeds.as_ref().is_ok_and(Vec::is_empty) {
        mistakes.push(Mistake::new("feeds", "Choose at least one feed."));
    }
    feeds.unwrap_or_default()
}

/// The region that was chosen; none is wherever Microsoft sends us.
pub fn region(form: &web::Form, mistakes: &mut Vec<Mistake>) -> Option<Region> {
    let region = form.text("region").map(str::parse).transpose();
    region.map_err(|text| mistakes.push(Mistake::new("region", text))).ok().flatten()
}

impl Form {
    /// A fresh form.
    pub fn new(prefix: &'static str) -> Self {
        Self { prefix, ..Self::default() }
    }

    #[must_use]
    pub fn with(mut self, field: &'static str, value: impl Into<String>) -> Self {
        self.values.push((field, value.into()));
        self
    }

    /// What was sent in these fields, and refused. Whoever names them names no secret: a page never repeats one.
    pub fn refused(prefix: &'static str, sent: &web::Form, fields: &[&'static str], mistakes: Vec<Mistake>) -> Self {
        let values = fields.iter().flat_map(|field| sent.all(field).map(|value| (*field, value.to_owned()))).collect();
        Self { prefix, values, mistakes, once: sent.text("once").unwrap_or_default().to_owned() }
    }

    /// Whether both are the same form of a page.
    pub fn is_the(&self, other: &Self) -> bool {
        self.prefix == other.prefix
    }

    pub fn is_refused(&self) -> bool {
        !self.mistakes.is_empty()
    }

    pub fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }

    /// The id of a field's element.
    pub fn id(&self, field: &str) -> String {
        format!("{}-{}", self.prefix, field.replace('.', "-"))
    }

    pub fn value(&self, field: &str) -> &str {
        self.values.iter().find(|(name, _)| *name == field).map_or("", |(_, value)| value)
    }

    pub fn has(&self, field: &str, value: &str) -> bool {
        self.values.iter().any(|(name, held)| *name == field && held == value)
    }

    pub fn mistakes_of<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        self.mistakes.iter().filter(move |mistake| mistake.field == field).map(|mistake| mistake.text.as_str())
    }

    pub fn is_wrong(&self, field: &str) -> bool {
        self.mistakes_of(field).next().is_some()
    }

    /// The ids of what describes a field: its hint, and what was wrong.
    pub fn described_by(&self, field: &str, has_hint: &bool) -> String {
        let id = self.id(field);
        let hint = if *has_hint { format!("{id}-hint") } else { String::new() };
        let error = if self.is_wrong(field) { format!("{id}-error") } else { String::new() };
        format!("{hint} {error}").trim().to_owned()
    }
}

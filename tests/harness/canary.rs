//! The canary: what is secret in a story appears in nothing that leaves it.
//!
//! Whatever is logged while a stage stands is heard, at the most talkative level and of every library, for this process
//! has one subscriber of ours. A story is told on one thread, so each thread has its own book of what was said.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fmt::{Debug, Display, Write},
    sync::Once,
};

use simulator::Simulator;
use tracing::{
    Event, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::set_global_default,
};

use crate::SECRET;

/// What every token has in it, whoever made it: JSON in base64url, whose header begins so and whose claims follow a dot.
const TOKENS: [&str; 3] = ["eyJhbGci", "eyJ0eXAi", ".eyJ"];

/// What must not be found.
#[derive(Debug)]
pub struct Canary {
    secrets: BTreeSet<String>,
    people: Vec<String>,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Leak {
    pub of: String,
    pub within: String,
}

impl Default for Canary {
    /// The secret of every test.
    fn default() -> Self {
        Self { secrets: [SECRET.to_owned()].into(), people: Vec::new() }
    }
}

impl Canary {
    /// That, and what this simulator was shown, has handed out and knows of people.
    pub fn of(simulator: &Simulator) -> Self {
        let people = simulator.world(|world| world.people());
        Self { people, ..Self::default() }.and(simulator.entrusted())
    }

    pub fn and(mut self, secrets: impl IntoIterator<Item = String>) -> Self {
        self.secrets.extend(secrets);
        self
    }

    /// Whether a secret or a token stands in it.
    pub fn look_for_secrets(&self, text: &str) -> Result<(), Leak> {
        self.look(text, self.secrets.iter().map(String::as_str).chain(TOKENS))
    }

    /// Whether a secret, a token or somebody's name stands in it.
    pub fn look_for_anything(&self, text: &str) -> Result<(), Leak> {
        self.look_for_secrets(text)?;
        self.look(text, self.people.iter().map(String::as_str))
    }

    fn look<'a>(&self, text: &str, mut needles: impl Iterator<Item = &'a str>) -> Result<(), Leak> {
        let Some(of) = needles.find(|needle| text.contains(needle)) else { return Ok(()) };
        let line = text.lines().find(|line| line.contains(of)).unwrap_or(text);
        Err(Leak { of: of.to_owned(), within: line.chars().take(2_000).collect() })
    }
}

#[derive(Default)]
struct Book {
    said: String,
    readers: usize,
}

thread_local! {
    static BOOK: RefCell<Book> = RefCell::default();
}

/// Hears what is said on this thread for as long as it lives.
#[derive(Debug)]
pub(crate) struct Listener(());

impl Listener {
    pub(crate) fn new() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| set_global_default(Ear).expect("nobody else listens in this process"));
        BOOK.with_borrow_mut(|book| book.readers += 1);
        Self(())
    }

    pub(crate) fn heard(&self) -> String {
        BOOK.with_borrow(|book| book.said.clone())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        BOOK.with_borrow_mut(|book| {
            book.readers = book.readers.saturating_sub(1);
            if book.readers == 0 {
                book.said.clear();
            }
        });
    }
}

/// What a caller was told is as good as logged.
pub(crate) fn overhear(words: impl Display) {
    BOOK.with_borrow_mut(|book| {
        if book.readers > 0 {
            book.said.push_str(&words.to_string());
            book.said.push('\n');
        }
    });
}

struct Ear;

impl Subscriber for Ear {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::TRACE)
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut line = Line::of(span.metadata());
        span.record(&mut line);
        overhear(line.0);
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        overhear(line.0);
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line::of(event.metadata());
        event.record(&mut line);
        overhear(line.0);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

struct Line(String);

impl Line {
    fn of(metadata: &Metadata<'_>) -> Self {
        Self(format!("{} {} {}", metadata.level(), metadata.target(), metadata.name()))
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        let _to_memory = write!(self.0, " {field}={value}");
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _to_memory = write!(self.0, " {field}={value:?}");
    }
}

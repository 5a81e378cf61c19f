//! What a form shows: what was typed, what was wrong with it, and which sentence belongs to which field.

use crate::{plain, web};

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

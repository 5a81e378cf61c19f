//! `$filter` of `/api/alerts`: a parser and an evaluator for what MICROSOFT 3.2 documents, and nothing else.

use jiff::Timestamp;
use serde_json::Value;

use crate::alerts::Item;
use crate::filter_lexer::{Token, tokens};

/// Deeper nesting is answered with 400, so that no text can exhaust the stack.
const DEPTH: usize = 64;

/// How long a filter the service takes is not documented; a chain of `and` or `or` is as deep as it is long.
const TOKENS: usize = 4000;

/// A condition on an alert.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    Compare(Field, Comparison, Literal),
    In(Field, Vec<Literal>),
    Not(Box<Filter>),
    And(Box<Filter>, Box<Filter>),
    Or(Box<Filter>, Box<Filter>),
}

/// A documented filter field, by the name it has in the alert.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Field {
    name: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Moment,
    Number,
    Text,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Comparison {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Clone, Debug, PartialEq, PartialOrd)]
pub(crate) enum Literal {
    Null,
    Text(String),
    Number(i64),
    Moment(Timestamp),
}

/// Why a text is not a filter.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FilterError {
    /// The service would answer 400 `ODataError`.
    Invalid(String),
    /// What the service would do is not known here.
    NotModelled(String),
}

/// The documented filter fields. The page spells `InvestigationId` with a capital and `assignedTo` with a third `s`;
/// the field of the alert is accepted for both, the capital for the one.
fn field(name: &str) -> Option<Field> {
    let (name, kind) = match name {
        "alertCreationTime" => ("alertCreationTime", Kind::Moment),
        "lastUpdateTime" => ("lastUpdateTime", Kind::Moment),
        "lastEventTime" => ("lastEventTime", Kind::Moment),
        "incidentId" => ("incidentId", Kind::Number),
        "investigationId" | "InvestigationId" => ("investigationId", Kind::Number),
        "id" => ("id", Kind::Text),
        "assignedTo" => ("assignedTo", Kind::Text),
        "detectionSource" => ("detectionSource", Kind::Text),
        "status" => ("status", Kind::Text),
        "severity" => ("severity", Kind::Text),
        "category" => ("category", Kind::Text),
        _ => return None,
    };
    Some(Field { name, kind })
}

impl Filter {
    pub(crate) fn parse(text: &str) -> Result<Self, FilterError> {
        let tokens = tokens(text)?;
        if tokens.len() > TOKENS {
            return Err(FilterError::NotModelled("a $filter of thousands of words".into()));
        }
        let mut parser = Parser { tokens, at: 0, depth: 0 };
        let filter = parser.either()?;
        match parser.next() {
            None => Ok(filter),
            Some(token) => Err(invalid(format!("'{token}' is not expected after the end of the condition"))),
        }
    }

    pub(crate) fn holds(&self, item: &Item) -> bool {
        match self {
            Self::Compare(field, comparison, literal) => comparison.holds(&field.of(item), literal),
            Self::In(field, literals) => literals.contains(&field.of(item)),
            Self::Not(filter) => !filter.holds(item),
            Self::And(left, right) => left.holds(item) && right.holds(item),
            Self::Or(left, right) => left.holds(item) || right.holds(item),
        }
    }
}

impl Field {
    fn of(self, item: &Item) -> Literal {
        match self.name {
            // The server knows when it changed an alert, whatever the text it sends says.
            "lastUpdateTime" => return Literal::Moment(item.last_update()),
            "id" => return Literal::Text(item.id().into_owned()),
            _ => {}
        }
        match (self.kind, item.field(self.name)) {
            (Kind::Moment, Some(Value::String(text))) => text.parse().map_or(Literal::Null, Literal::Moment),
            (Kind::Number, Some(Value::Number(number))) => number.as_i64().map_or(Literal::Null, Literal::Number),
            (Kind::Text, Some(Value::String(text))) => Literal::Text(text),
            _ => Literal::Null,
        }
    }

    fn takes(self, literal: &Literal) -> bool {
        matches!(
            (self.kind, literal),
            (_, Literal::Null)
                | (Kind::Moment, Literal::Moment(_))
                | (Kind::Number, Literal::Number(_))
                | (Kind::Text, Literal::Text(_))
        )
    }
}

impl Comparison {
    fn of(word: &str) -> Option<Self> {
        Some(match word {
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "lt" => Self::Lt,
            "le" => Self::Le,
            _ => return None,
        })
    }

    fn holds(self, left: &Literal, right: &Literal) -> bool {
        let null = *left == Literal::Null || *right == Literal::Null;
        match self {
            Self::Eq => left == right,
            Self::Ne => left != right,
            // OData: an ordering comparison with null is false.
            _ if null => false,
            Self::Gt => left > right,
            Self::Ge => left >= right,
            Self::Lt => left < right,
            Self::Le => left <= right,
        }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(next)) if next == word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, wanted: Token) -> Result<(), FilterError> {
        match self.next() {
            Some(token) if token == wanted => Ok(()),
            other => Err(unexpected(other, &wanted.to_string())),
        }
    }

    fn either(&mut self) -> Result<Filter, FilterError> {
        let mut left = self.both()?;
        while self.take_word("or") {
            left = Filter::Or(Box::new(left), Box::new(self.both()?));
        }
        Ok(left)
    }

    fn both(&mut self) -> Result<Filter, FilterError> {
        let mut left = self.one()?;
        while self.take_word("and") {
            left = Filter::And(Box::new(left), Box::new(self.one()?));
        }
        Ok(left)
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(invalid("the condition is nested too deeply".into()));
        }
        let filter = match self.next() {
            Some(Token::Word(word)) if word == "not" => Filter::Not(Box::new(self.one()?)),
            Some(Token::Open) => {
                let inner = self.either()?;
                self.expect(Token::Close)?;
                inner
            }
            Some(Token::Word(name)) => self.comparison(&name)?,
            other => return Err(unexpected(other, "a field")),
        };
        self.depth -= 1;
        Ok(filter)
    }

    fn comparison(&mut self, name: &str) -> Result<Filter, FilterError> {
        let Some(field) = field(name) else {
            return Err(FilterError::NotModelled(match self.next() {
                Some(Token::Open) => format!("the $filter function {name}()"),
                _ => format!("the $filter field {name}, which get-alerts does not document"),
            }));
        };
        match self.next() {
            Some(Token::Word(word)) if word == "in" => self.list(field),
            Some(Token::Word(word)) => {
                let Some(comparison) = Comparison::of(&word) else {
                    return Err(invalid(format!("'{word}' is not an operator")));
                };
                let equality = matches!(comparison, Comparison::Eq | Comparison::Ne);
                if field.kind == Kind::Text && !equality {
                    return Err(FilterError::NotModelled(format!("the order that {name} {word} compares by")));
                }
                Ok(Filter::Compare(field, comparison, self.literal(field)?))
            }
            other => Err(unexpected(other, "an operator")),
        }
    }

    fn list(&mut self, field: Field) -> Result<Filter, FilterError> {
        self.expect(Token::Open)?;
        let mut literals = vec![self.literal(field)?];
        loop {
            match self.next() {
                Some(Token::Comma) => literals.push(self.literal(field)?),
                Some(Token::Close) => return Ok(Filter::In(field, literals)),
                other => return Err(unexpected(other, "')'")),
            }
        }
    }

    fn literal(&mut self, field: Field) -> Result<Literal, FilterError> {
        let literal = match self.next() {
            Some(Token::Literal(literal)) => literal,
            Some(Token::Word(word)) if word == "null" => Literal::Null,
            other => return Err(unexpected(other, "a value")),
        };
        if field.takes(&literal) {
            return Ok(literal);
        }
        // A quoted date is the usual one: a binary operator with incompatible types.
        Err(invalid(format!("a binary operator with incompatible types was detected at {}: {literal:?}", field.name)))
    }
}

pub(crate) fn invalid(reason: String) -> FilterError {
    FilterError::Invalid(reason)
}

fn unexpected(token: Option<Token>, wanted: &str) -> FilterError {
    match token {
        Some(token) => invalid(format!("{wanted} is expected where '{token}' stands")),
        None => invalid(format!("{wanted} is expected where the condition ends")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::alert::Alert;

    fn item() -> Item {
        let at = "2026-01-01T00:00:00.1234567Z".parse().unwrap();
        let alert = Alert::new("da1_-7", at)
            .with("status", "New".into())
            .with("severity", "High".into())
            .with("assignedTo", "o'neil@contoso.example".into())
            .with("incidentId", 42.into())
            .with("lastUpdateTime", "damaged".into());
        Item::Stored(Arc::new(alert))
    }

    #[test]
    fn conditions_hold_or_do_not() {
        for (text, holds) in [
            ("lastUpdateTime ge 2026-01-01T00:00:00.1234567Z", true),
            ("lastUpdateTime gt 2026-01-01T00:00:00.1234567Z", false),
            ("lastUpdateTime gt 2026-01-01T00:00:00.1234566Z", true),
            ("lastUpdateTime le 2026-01-01T01:00:00.1234567+01:00", true),
            ("lastUpdateTime lt 2026-01-01T00:00:00.12Z", false),
            ("alertCreationTime gt 2025-12-31T23:59:59Z and alertCreationTime le 2026-01-01T00:00:01Z", true),
            ("status eq 'New'", true),
            ("status ne 'New'", false),
            ("not (status eq 'New')", false),
            ("not status eq 'Resolved'", true),
            ("status eq 'Resolved' or severity eq 'High' and incidentId eq 42", true),
            ("(status eq 'Resolved' or severity eq 'High') and incidentId eq 41", false),
            ("severity in ('Low', 'High')", true),
            ("severity in ('Low','Medium')", false),
            ("investigationId eq null", true),
            ("InvestigationId gt 3", false),
            ("id eq 'da1_-7'", true),
            ("assignedTo eq 'o''neil@contoso.example'", true),
        ] {
            assert_eq!(Filter::parse(text).map(|filter| filter.holds(&item())), Ok(holds), "{text}");
        }
    }

    #[test]
    fn what_odata_refuses_is_invalid() {
        let deep = "(".repeat(1_000);
        for text in [
            "",
            "lastUpdateTime",
            "lastUpdateTime ge",
            "lastUpdateTime ge '2026-01-01T00:00:00Z'",
            "lastUpdateTime ge 2026-01-01T00:00:00",
            "lastUpdateTime ge 2026-01-01T00:00:00 01:00",
            "lastUpdateTime ge 2026-13-01T00:00:00Z",
            "lastUpdateTime => 2026-01-01T00:00:00Z",
            "lastUpdateTime GE 2026-01-01T00:00:00Z",
            "status eq New",
            "status eq 'New",
            "status eq 'New')",
            "(status eq 'New'",
            "status eq 'New' and",
            "status eq 'New' status eq 'New'",
            "incidentId eq '42'",
            "severity in ()",
            deep.as_str(),
        ] {
            assert!(matches!(Filter::parse(text), Err(FilterError::Invalid(_))), "{text}: {:?}", Filter::parse(text));
        }
    }

    #[test]
    fn what_is_not_documented_is_not_guessed() {
        for text in [
            "title eq 'x'",
            "LastUpdateTime ge 2026-01-01T00:00:00Z",
            "lastupdatetime ge 2026-01-01T00:00:00Z",
            "asssignedTo eq 'x'",
            "contains(title,'x')",
            "severity gt 'Low'",
            "lastUpdateTime ge 2026-01-01T00:00:00.123456789Z",
        ] {
            assert!(
                matches!(Filter::parse(text), Err(FilterError::NotModelled(_))),
                "{text}: {:?}",
                Filter::parse(text)
            );
        }
    }
}

//! The words of a `$filter`: names, operators, literals.

use std::fmt;

use jiff::Timestamp;

use crate::filter::{FilterError, Literal, invalid};

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Open,
    Close,
    Comma,
    /// A field, an operator, `and`, `or`, `not`, `in`, `null`.
    Word(String),
    Literal(Literal),
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("("),
            Self::Close => f.write_str(")"),
            Self::Comma => f.write_str(","),
            Self::Word(word) => f.write_str(word),
            Self::Literal(literal) => write!(f, "{literal:?}"),
        }
    }
}

pub(crate) fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut rest = text;
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (token, used) = match first {
            ' ' => (None, 1),
            '(' => (Some(Token::Open), 1),
            ')' => (Some(Token::Close), 1),
            ',' => (Some(Token::Comma), 1),
            '\'' => quoted(rest)?,
            _ => bare(rest)?,
        };
        found.extend(token);
        rest = &rest[used..];
    }
    Ok(found)
}

/// A quoted string; a quote inside it is written twice.
fn quoted(text: &str) -> Result<(Option<Token>, usize), FilterError> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1).peekable();
    while let Some((at, character)) = characters.next() {
        if character != '\'' {
            value.push(character);
        } else if characters.peek().is_some_and(|(_, next)| *next == '\'') {
            characters.next();
            value.push('\'');
        } else {
            return Ok((Some(Token::Literal(Literal::Text(value))), at + 1));
        }
    }
    Err(invalid(format!("the string {text} is not closed")))
}

fn bare(text: &str) -> Result<(Option<Token>, usize), FilterError> {
    let end = text.find([' ', '(', ')', ',', '\'']).unwrap_or(text.len());
    let word = &text[..end];
    let token = if word.starts_with(|first: char| first.is_ascii_alphabetic()) {
        Token::Word(word.into())
    } else if let Ok(number) = word.parse() {
        Token::Literal(Literal::Number(number))
    } else {
        Token::Literal(Literal::Moment(moment(word)?))
    };
    Ok((Some(token), end))
}

/// `2026-01-01T00:00:00Z`, with a fraction of up to 7 digits. OData has no zone-less form.
fn moment(word: &str) -> Result<Timestamp, FilterError> {
    let malformed = || invalid(format!("'{word}' is neither a field nor a value"));
    let bytes = word.as_bytes();
    let shaped = bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes[13] == b':' && bytes[16] == b':';
    if !shaped {
        return Err(malformed());
    }
    let fraction = word
        .get(19..)
        .unwrap_or_default()
        .strip_prefix('.')
        .map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    if fraction > 7 {
        return Err(FilterError::NotModelled(format!("the time {word}, which is finer than .NET's 100 ns")));
    }
    word.parse().map_err(|_| malformed())
}

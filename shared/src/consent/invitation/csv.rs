//! Customers as spreadsheets write them down: `account,expected_tenant,email`, one a line, the first line perhaps a header.

use std::collections::BTreeMap;

use serde::Serialize;

use super::invite::is_tenant;
use crate::{mail::is_address, tenant::account};

pub const MAX_ROWS: usize = 500;
/// A spreadsheet ends in any number of empty lines.
const MAX_RECORDS: usize = 10_000;
const COLUMNS: [&str; 3] = ["account", "expected_tenant", "email"];

/// One customer to invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Where it begins in the file; the first line is 1.
    pub line: u64,
    pub account: String,
    /// A tenant's id, or a domain that Entra resolves to one.
    pub expected_tenant: Option<String>,
    /// Whom to send the link to; kept nowhere.
    pub email: Option<String>,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Mistake {
    pub line: u64,
    pub text: String,
}

/// The rows of a file, separated by commas, semicolons or tabs as its first line has them.
///
/// # Errors
/// Everything that is wrong, in the order of the lines.
pub fn parse(text: &str) -> Result<Vec<Row>, Vec<Mistake>> {
    let text = text.trim_start_matches('\u{feff}');
    let mut reader = ::csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(::csv::Trim::All)
        .delimiter(delimiter(text))
        .from_reader(text.as_bytes());
    let (mut rows, mut mistakes, mut columns) = (Vec::new(), Vec::new(), None);
    for (number, record) in reader.records().enumerate() {
        if number > MAX_RECORDS {
            let text = format!("a file has at most {MAX_RECORDS} lines, empty ones included");
            mistakes.push(Mistake { line: number as u64, text });
            break;
        }
        // Text cannot fail to be text, and any number of fields is read.
        let Ok(record) = record else { continue };
        let fields: Vec<&str> = record.iter().collect();
        if fields.iter().all(|field| field.is_empty()) {
            continue;
        }
        let line = record.position().map_or(0, |position| line_at(text, position.byte()));
        let Some(columns) = &columns else {
            let header = header(&fields);
            let is_header = header.is_some();
            match columns.insert(header.unwrap_or_else(|| Ok(COLUMNS.to_vec()))) {
                Err(text) => mistakes.push(Mistake { line, text: text.clone() }),
                Ok(columns) if !is_header => sort_out(row(&fields, columns, line), line, &mut rows, &mut mistakes),
                Ok(_) => {}
            }
            continue;
        };
        // Where the columns are not known, every row would be wrong.
        let Ok(columns) = columns else { break };
        if rows.len() + mistakes.len() >= MAX_ROWS {
            mistakes
                .push(Mistake { line, text: format!("a file names at most {MAX_ROWS} customers; this is one more") });
            break;
        }
        sort_out(row(&fields, columns, line), line, &mut rows, &mut mistakes);
    }
    mistakes.extend(doubles(&rows));
    mistakes.sort_by_key(|mistake| mistake.line);
    if rows.is_empty() && mistakes.is_empty() {
        mistakes.push(Mistake { line: 1, text: "the file names no customer".to_owned() });
    }
    if mistakes.is_empty() { Ok(rows) } else { Err(mistakes) }
}

fn sort_out(row: Result<Row, Vec<String>>, line: u64, rows: &mut Vec<Row>, mistakes: &mut Vec<Mistake>) {
    match row {
        Ok(row) => rows.push(row),
        Err(texts) => mistakes.extend(texts.into_iter().map(|text| Mistake { line, text })),
    }
}

/// What of the three is in the first line most often, outside quotes.
fn delimiter(text: &str) -> u8 {
    let (mut counts, mut quoted) = ([(b',', 0), (b';', 0), (b'\t', 0)], false);
    for byte in text.trim_start().bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b'\r' | b'\n' if !quoted => break,
            _ if quoted => {}
            _ => counts.iter_mut().filter(|(delimiter, _)| *delimiter == byte).for_each(|(_, count)| *count += 1),
        }
    }
    // Of equals the last would win; the usual one is to.
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map_or(b',', |(delimiter, _)| delimiter)
}

/// The line of a record that is found from this byte on. The reader counts from the end of the record before, so
/// empty lines lie between.
fn line_at(text: &str, byte: u64) -> u64 {
    let bytes = text.as_bytes();
    let mut at = usize::try_from(byte).unwrap_or(usize::MAX).min(bytes.len());
    at += bytes[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
    let before = &bytes[..at];
    let ends = before.iter().enumerate().filter(|(n, byte)| match byte {
        b'\n' => true,
        b'\r' => before.get(n + 1) != Some(&b'\n'),
        _ => false,
    });
    1 + ends.count() as u64
}

/// The columns that a header names, or what is wrong with it; none where the line is no header.
fn header(fields: &[&str]) -> Option<Result<Vec<&'static str>, String>> {
    let is = |field: &str, column: &str| field.to_lowercase().replace([' ', '-'], "_") == column;
    if !fields.iter().any(|field| is(field, COLUMNS[0])) {
        return None;
    }
    let mut columns = Vec::new();
    for field in fields {
        match COLUMNS.iter().find(|column| is(field, column)) {
            Some(column) if columns.contains(column) => {
                return Some(Err(format!("the column `{column}` is there twice")));
            }
            Some(column) => columns.push(*column),
            // Spreadsheets end lines with empty columns.
            None if field.is_empty() => columns.push(""),
            None => {
                let field = field.escape_debug();
                return Some(Err(format!("there is no column `{field}`; the columns are {}", COLUMNS.join(", "))));
            }
        }
    }
    Some(Ok(columns))
}

fn row(fields: &[&str], columns: &[&str], line: u64) -> Result<Row, Vec<String>> {
    let mut mistakes = Vec::new();
    let field = |column: &str| {
        let place = columns.iter().position(|known| *known == column)?;
        fields.get(place).copied().filter(|field| !field.is_empty())
    };
    let beyond = fields.iter().enumerate().filter(|(n, _)| columns.get(*n).is_none_or(|column| column.is_empty()));
    if let Some((_, field)) = beyond.into_iter().find(|(_, field)| !field.is_empty()) {
        let field = field.escape_debug();
        mistakes.push(format!(
            "`{field}` is in no column; a name with a comma in it stands between quotes, as in \"Contoso, Inc.\""
        ));
    }
    let account = match field(COLUMNS[0]) {
        None => Err("the account's name is missing".to_owned()),
        Some(text) => account::name(text).map_err(|error| error.to_string()),
    };
    let expected_tenant = field(COLUMNS[1]);
    let email = field(COLUMNS[2]);
    mistakes.extend(account.clone().err());
    mistakes.extend(expected_tenant.and_then(|text| is_tenant(text).err()));
    if let Some(text) = email.filter(|text| !is_address(text)) {
        mistakes.push(format!("`{}` is no mail address", text.escape_debug()));
    }
    match account {
        Ok(account) if mistakes.is_empty() => Ok(Row {
            line,
            account: account.to_owned(),
            expected_tenant: expected_tenant.map(str::to_owned),
            email: email.map(str::to_owned),
        }),
        _ => Err(mistakes),
    }
}

/// The rows that are there already, and those whose tenant another account has: a tenant belongs to one.
pub(super) fn doubles(rows: &[Row]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let (mut known, mut owners) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        let account = row.account.to_lowercase();
        let tenant = row.expected_tenant.as_ref().map(|tenant| tenant.to_lowercase());
        let line = row.line;
        if let Some(first) = known.get(&(account.clone(), tenant.clone())) {
            mistakes.push(Mistake { line, text: format!("this is line {first} again: the same account and tenant") });
            continue;
        }
        known.insert((account.clone(), tenant.clone()), line);
        let Some(tenant) = tenant else { continue };
        let (owner, first) = owners.entry(tenant).or_insert_with(|| (account.clone(), line));
        if *owner != account {
            let text = format!("line {first} has this tenant under another account, and a tenant belongs to one");
            mistakes.push(Mistake { line, text });
        }
    }
    mistakes
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "00000000-0000-4000-8000-0000000000aa";

    /// (line, account, tenant, address), with nothing for what is not there.
    fn rows(text: &str) -> Vec<(u64, String, String, String)> {
        let rows = parse(text).unwrap_or_else(|mistakes| panic!("{text:?}: {mistakes:?}"));
        let or_nothing = |text: Option<String>| text.unwrap_or_default();
        rows.into_iter()
            .map(|row| (row.line, row.account, or_nothing(row.expected_tenant), or_nothing(row.email)))
            .collect()
    }

    fn row(line: u64, account: &str, tenant: &str, email: &str) -> (u64, String, String, String) {
        (line, account.to_owned(), tenant.to_owned(), email.to_owned())
    }

    #[test]
    fn a_file_is_read_as_spreadsheets_write_it() {
        for (text, expected) in [
            ("Contoso", vec![row(1, "Contoso", "", "")]),
            ("account\nContoso\n", vec![row(2, "Contoso", "", "")]),
            (
                "\u{feff}account,expected_tenant,email\r\nContoso,contoso.com,it@contoso.com\r\n",
                vec![row(2, "Contoso", "contoso.com", "it@contoso.com")],
            ),
            ("Account;Expected tenant;E-Mail\n", vec![]),
            (
                "Müller & Söhne;contoso.com;\n\n\nB;;\n;;\n",
                vec![row(1, "Müller & Söhne", "contoso.com", ""), row(4, "B", "", "")],
            ),
            (
                "A\tcontoso.com\r\nB\t\ta@b.example",
                vec![row(1, "A", "contoso.com", ""), row(2, "B", "", "a@b.example")],
            ),
            ("\"Contoso, Inc.\",contoso.com", vec![row(1, "Contoso, Inc.", "contoso.com", "")]),
            ("\"A \"\"B\"\" C\" , contoso.com ", vec![row(1, "A \"B\" C", "contoso.com", "")]),
            ("email,account\na@b.example,A", vec![row(2, "A", "", "a@b.example")]),
            ("A\rB\r\rC", vec![row(1, "A", "", ""), row(2, "B", "", ""), row(4, "C", "", "")]),
            ("\n\nA\n", vec![row(3, "A", "", "")]),
        ] {
            if expected.is_empty() {
                assert!(parse(text).is_err(), "{text:?}");
            } else {
                assert_eq!(rows(text), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let (other, long) = (TENANT.replace("aa", "bb"), "x".repeat(201));
        for (text, expected) in [
            ("", vec![(1, "no customer")]),
            ("account,phone\nA,1", vec![(1, "`phone`")]),
            ("account,account\nA,B", vec![(1, "twice")]),
            (
                ",contoso.com\nB,contoso\nC,,nobody\n",
                vec![(1, "name is missing"), (2, "neither a tenant id"), (3, "no mail address")],
            ),
            ("Contoso, Inc.\n", vec![(1, "neither a tenant id")]),
            ("A,,,x\n", vec![(1, "in no column")]),
            ("account\nA,x\n", vec![(2, "in no column")]),
            ("A\n\nb\na\nB\n", vec![(4, "line 1 again"), (5, "line 3 again")]),
            (&format!("A,{TENANT}\nA,{other}\nB,{}\n", TENANT.to_uppercase()), vec![(3, "line 1 has this tenant")]),
            (&format!("{long}\nB\u{202e}"), vec![(1, "1 to 200"), (2, "1 to 200")]),
            ("A,contoso,nobody", vec![(1, "neither"), (1, "no mail address")]),
            ("\"A\nB\n", vec![(1, "1 to 200")]),
        ] {
            let mistakes = parse(text).expect_err(text);
            let fits = |(mistake, (line, words)): (&Mistake, &(u64, &str))| {
                mistake.line == *line && mistake.text.contains(words)
            };
            assert!(
                mistakes.len() == expected.len() && mistakes.iter().zip(&expected).all(fits),
                "{text:?}: {mistakes:?}"
            );
        }
    }

    #[test]
    fn a_file_of_five_hundred_is_read_and_one_more_is_too_many() {
        let file = |count: usize| (0..count).map(|n| format!("Account {n}\n")).collect::<String>();
        assert_eq!(rows(&format!("account\n{}", file(MAX_ROWS))).len(), MAX_ROWS);
        let mistakes = parse(&file(MAX_ROWS + 5)).unwrap_err();
        assert_eq!(mistakes.iter().map(|mistake| mistake.line).collect::<Vec<_>>(), [501]);
    }
}

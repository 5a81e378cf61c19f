//! Many customers invited at once, out of a spreadsheet.

use askama::Template;

use crate::{
    consent::invitation::{self, InviteAllError, InvitedRow, csv},
    console::{
        Broken,
        page::{
            Chrome, Section, Visit,
            account::invite,
            form::{self, Form, Mistake},
            words::Moment,
        },
    },
    tenant::Feed,
    web,
};

/// Customers of one form: their links fit on one page.
const MOST: usize = 150;
/// Letters are longer than links; so many fit.
const LETTERS: usize = 15;
const FIELDS: [&str; 3] = ["csv", "feeds", "lifetime_days"];

#[derive(Template)]
#[template(path = "console/invite-many.html")]
struct ManyPage<'a> {
    chrome: Chrome<'a>,
    form: &'a Form,
    offered: &'static [Feed],
    most: usize,
}

#[derive(Template)]
#[template(path = "console/invited.html")]
struct InvitedPage<'a> {
    chrome: Chrome<'a>,
    rows: &'a [InvitedRow],
    /// With a letter each, where they are few.
    letters: Vec<Letter<'a>>,
    /// What a mail program's merge reads.
    table: String,
    expires: Option<Moment>,
}

struct Letter<'a> {
    account: &'a str,
    email: Option<&'a str>,
    draft: String,
}

pub fn page(visit: &Visit<'_>) -> Result<web::Response, Broken> {
    Ok(show(visit, 200, &invite::fresh("many")?))
}

fn show(visit: &Visit<'_>, status: u16, form: &Form) -> web::Response {
    let page = ManyPage { chrome: visit.chrome(Section::Accounts), form, offered: &invite::OFFERED, most: MOST };
    visit.html(status, &page)
}

/// Invites all of them, or nobody where a line cannot be used. The same form sent again comes to the same invitations, so
/// that its page may be reloaded.
pub async fn invite_all(visit: &Visit<'_>, sent: &web::Form) -> Result<web::Response, Broken> {
    let mut mistakes = Vec::new();
    let rows = csv::parse(sent.text("csv").unwrap_or_default());
    let rows = rows.map_err(|wrong| mistakes.extend(wrong.iter().map(of_line))).unwrap_or_default();
    if rows.len() > MOST {
        mistakes.push(Mistake::new("csv", format!("These are {} customers; send {MOST} at a time.", rows.len())));
    }
    let feeds = form::feeds(sent, &mut mistakes);
    let lifetime = invite::lifetime(sent, &mut mistakes);
    if mistakes.is_empty() {
        let once = sent.text("once").and_then(|text| text.parse().ok());
        match invitation::invite_all(visit.app, &rows, &feeds, lifetime, once, &visit.session.actor()).await {
            Ok(rows) => return Ok(visit.html(200, &invited(visit, &rows))),
            Err(InviteAllError::Mistakes(wrong)) => mistakes.extend(wrong.iter().map(of_line)),
            Err(InviteAllError::Invite(invitation::InviteError::Refused(text))) => {
                mistakes.push(Mistake::new("csv", text))
            }
            Err(InviteAllError::Invite(error)) => return Err(Broken::Operation(error.to_string())),
        }
    }
    Ok(show(visit, 422, &Form::refused("many", sent, &FIELDS, mistakes)))
}

fn of_line(mistake: &csv::Mistake) -> Mistake {
    Mistake::new("csv", format!("Line {}: {}", mistake.line, mistake.text))
}

fn invited<'a>(visit: &'a Visit<'_>, rows: &'a [InvitedRow]) -> InvitedPage<'a> {
    let letter = |row: &'a InvitedRow| Letter {
        account: &row.invited.account,
        email: row.email.as_deref(),
        draft: invitation::mail_draft(&visit.app.config, &row.invited, row.email.as_deref()),
    };
    InvitedPage {
        chrome: visit.chrome(Section::Accounts),
        rows,
        letters: if rows.len() <= LETTERS { rows.iter().map(letter).collect() } else { Vec::new() },
        table: table(rows),
        expires: rows.first().map(|row| visit.moment(row.invited.expires_at)),
    }
}

/// The links as a file of lines, as it came and with a column more.
fn table(rows: &[InvitedRow]) -> String {
    let mut lines = vec!["account,email,link".to_owned()];
    for InvitedRow { email, invited, .. } in rows {
        let (account, email) = (cell(&invited.account), cell(email.as_deref().unwrap_or_default()));
        lines.push(format!("{account},{email},{}", invited.link));
    }
    lines.join("\n")
}

/// A spreadsheet takes what begins so for a formula; the quote before it makes it text.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_cell_and_no_formula() {
        for (text, expected) in [
            ("Contoso, Inc.", "\"Contoso, Inc.\""),
            ("A \"B\"", "\"A \"\"B\"\"\""),
            ("=HYPERLINK(1)", "\"'=HYPERLINK(1)\""),
            ("", "\"\""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }
}

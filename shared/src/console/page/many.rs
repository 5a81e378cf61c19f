//! Inviting many customers at once, from what a spreadsheet holds.

use askama::Template;

use super::{
    Chrome, Section, Visit, account,
    form::{Form, Mistake},
    words,
};
use crate::{
    consent::invitation::{self, InviteAllError, InviteError, InvitedRow, csv},
    console::Broken,
    random,
    tenant::Feed,
    web,
};

#[derive(Template)]
#[template(path = "console/many.html")]
struct ManyPage<'a> {
    chrome: Chrome<'a>,
    form: &'a Form,
    offered: &'static [Feed],
}

#[derive(Template)]
#[template(path = "console/invited.html")]
struct InvitedPage<'a> {
    chrome: Chrome<'a>,
    title: String,
    rows: Vec<Row>,
    expires: String,
}

/// An invitation that is to be sent.
struct Row {
    account: String,
    email: Option<String>,
    link: String,
    draft: String,
}

pub fn page(visit: &Visit<'_>) -> Result<web::Response, Broken> {
    Ok(show(visit, 200, &account::invitation_form("many")?))
}

fn show(visit: &Visit<'_>, status: u16, form: &Form) -> web::Response {
    visit.html(status, &ManyPage { chrome: visit.chrome(Section::Accounts), form, offered: &account::OFFERED })
}

/// Invites them all, or nobody. The same form again makes the same invitations, and shows them.
pub async fn invite(visit: &Visit<'_>, form: &web::Form) -> Result<web::Response, Broken> {
    let rows = match csv::parse(form.text("customers").unwrap_or_default()) {
        Ok(rows) if rows.is_empty() => Err(vec![Mistake::new("customers", "There is no line with a customer in it.")]),
        Ok(rows) => Ok(rows),
        Err(mistakes) => Err(lines(&mistakes)),
    };
    let (rows, feeds, lifetime) = match (rows, account::feeds(form), account::lifetime(form, "lifetime_days")) {
        (Ok(rows), Ok(feeds), Ok(lifetime)) => (rows, feeds, lifetime),
        (rows, feeds, lifetime) => {
            let mistakes = rows.err().unwrap_or_default().into_iter().chain(feeds.err()).chain(lifetime.err());
            return refused(visit, form, mistakes.collect());
        }
    };
    let once = form.text("once").and_then(|text| text.parse().ok());
    let invited = invitation::invite_all(visit.app, &rows, &feeds, lifetime, once, &visit.session.actor()).await;
    match invited {
        Ok(invited) => Ok(visit.html(200, &done(visit, &invited))),
        Err(InviteAllError::Mistakes(mistakes)) => refused(visit, form, lines(&mistakes)),
        Err(InviteAllError::Invite(InviteError::Refused(text))) => {
            refused(visit, form, vec![Mistake::new("customers", text)])
        }
        Err(InviteAllError::Invite(error)) => Err(Broken::Operation(error.to_string())),
    }
}

fn lines(mistakes: &[csv::Mistake]) -> Vec<Mistake> {
    mistakes
        .iter()
        .map(|csv::Mistake { line, text }| Mistake::new("customers", format!("Line {line}: {text}")))
        .collect()
}

fn refused(visit: &Visit<'_>, sent: &web::Form, mistakes: Vec<Mistake>) -> Result<web::Response, Broken> {
    let mut form = Form::refused("many", sent, &["customers", "feeds", "lifetime_days"], mistakes);
    if form.once.is_empty() {
        form.once = random::id()?.to_string();
    }
    Ok(show(visit, 422, &form))
}

fn done<'a>(visit: &'a Visit<'_>, invited: &[InvitedRow]) -> InvitedPage<'a> {
    let rows = invited.iter().map(|InvitedRow { email, invited, .. }| Row {
        account: invited.account.clone(),
        email: email.clone(),
        link: invited.link.to_string(),
        draft: invitation::mail_draft(&visit.app.config, invited, email.as_deref()),
    });
    let expires = invited.first().map(|row| visit.moment(row.invited.expires_at).date()).unwrap_or_default();
    let title = words::plural(invited.len(), "invitation");
    InvitedPage { chrome: visit.chrome(Section::Accounts), title, rows: rows.collect(), expires }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::page::testing::{HOSTILE, Scene, check};

    #[test]
    fn what_was_pasted_stays_with_a_sentence_for_each_line_that_is_wrong() {
        let sent = web::Request { body: Ok(format!("customers={HOSTILE}").into_bytes()), ..web::Request::default() };
        let mistakes = lines(&[csv::Mistake { line: 3, text: "`x` is no domain".to_owned() }]);
        let form = Form::refused("many", &sent.form().unwrap(), &["customers"], mistakes);
        let scene = Scene::new();
        let page = ManyPage { chrome: scene.chrome(Section::Accounts), form: &form, offered: &account::OFFERED };
        let page = check("invite-many", &page.render().unwrap());
        assert!(page.contains("Line 3: “x” is no domain.") && page.contains("aria-invalid"));
    }

    #[test]
    fn every_invitation_is_listed_with_its_link_and_letter() {
        let row = |n: u32| Row {
            account: format!("{n} {HOSTILE}"),
            email: Some("admin@contoso.example".to_owned()),
            link: format!("https://muster.example.com/connect/{n}"),
            draft: "mailto:admin@contoso.example?subject=x".to_owned(),
        };
        let scene = Scene::new();
        let rows = (0..50).map(row).collect();
        let page = InvitedPage {
            chrome: scene.chrome(Section::Accounts),
            title: "50".to_owned(),
            rows,
            expires: "29 November 2026".to_owned(),
        };
        let page = check("invited", &page.render().unwrap());
        assert_eq!(page.matches("/connect/").count(), 50);
    }
}

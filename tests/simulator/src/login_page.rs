//! The pages Entra shows to people: plain HTML with plain forms, so that they work without a script.

use crate::aadsts::Aadsts;
use crate::dice::Dice;
use crate::http::Response;
use crate::time;
use jiff::Timestamp;

/// One account on the page.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    pub(crate) oid: String,
    /// Name, address, roles and directory, as people read them.
    pub(crate) label: String,
}

/// What the page asks.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) heading: &'a str,
    pub(crate) explanation: String,
    /// What is asked for, one line each.
    pub(crate) permissions: Vec<String>,
    pub(crate) accounts: Vec<Account>,
    /// The account that is chosen beforehand.
    pub(crate) hint: Option<String>,
    pub(crate) approve: &'a str,
}

/// On pages that wait for a person's choice, and on no others.
pub(crate) const QUESTION: &str = "X-Simulator-Page";

/// The form goes back to the address it came from, whose query is the request.
pub(crate) fn question(question: &Question<'_>) -> Response {
    let mut accounts = String::new();
    for account in &question.accounts {
        let chosen = question.hint.as_ref().is_some_and(|hint| hint.eq_ignore_ascii_case(&account.oid));
        let (oid, checked) = (escape(&account.oid), if chosen { " checked" } else { "" });
        accounts.push_str(&format!(
            "<p><label><input type=\"radio\" name=\"user\" value=\"{oid}\" required{checked} id=\"user-{oid}\"> {}</label></p>\n",
            escape(&account.label)
        ));
    }
    if accounts.is_empty() {
        accounts.push_str("<p>There is nobody to choose: no tenant has users yet.</p>\n");
    }
    let permissions: String =
        question.permissions.iter().map(|permission| format!("<li>{}</li>\n", escape(permission))).collect();
    let body = format!(
        "<p>{}</p>\n<ul>\n{permissions}</ul>\n<form method=\"post\">\n<fieldset><legend>Who signs in? Choose one account.</legend>\n{accounts}</fieldset>\n<p><button id=\"approve\" name=\"action\" value=\"approve\">{}</button>\n<button id=\"decline\" name=\"action\" value=\"decline\">Decline</button>\n<button id=\"cancel\" name=\"action\" value=\"cancel\" formnovalidate>Cancel the sign-in</button></p>\n</form>\n",
        escape(&question.explanation),
        escape(question.approve)
    );
    page(200, "question", question.heading, &body).with(QUESTION, "question")
}

/// Entra's own error page: what cannot be told to the application, because nobody knows that the address is its own.
pub(crate) fn error(aadsts: &Aadsts, now: Timestamp, dice: &mut Dice) -> Response {
    let body = format!(
        "<p>Sorry, but we're having trouble signing you in.</p>\n<p>{}</p>\n<p>Request Id: {}<br>Correlation Id: {}<br>Timestamp: {}</p>\n",
        escape(&aadsts.message()),
        dice.guid(),
        dice.guid(),
        time::entra(now)
    );
    page(400, "error", "Sign in", &body)
}

/// Who signs out, and is wanted nowhere else.
pub(crate) fn signed_out() -> Response {
    page(200, "signed-out", "You signed out of your account", "<p>It's a good idea to close all browser windows.</p>\n")
}

/// `response_mode=form_post`: the answer as a form; without a script a person sends it on.
pub(crate) fn form_post(action: &str, pairs: &[(&str, String)]) -> Response {
    let fields: String = pairs
        .iter()
        .map(|(name, value)| format!("<input type=\"hidden\" name=\"{}\" value=\"{}\">\n", escape(name), escape(value)))
        .collect();
    let body = format!(
        "<form method=\"post\" action=\"{}\">\n{fields}<p><button id=\"continue\">Continue</button></p>\n</form>\n",
        escape(action)
    );
    page(200, "answer", "Working...", &body)
}

/// `id` is the page's own, for whoever looks for it from outside: `question`, `error`, `answer` or `signed-out`.
fn page(status: u16, id: &str, heading: &str, body: &str) -> Response {
    let heading = escape(heading);
    let text = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>{heading}</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>:root{{color-scheme:light dark}}label{{display:flex;gap:.5em}}body{{font-family:sans-serif;max-width:36em;margin:3em auto;padding:0 1em}}button{{padding:.5em 1em}}</style></head>\n<body>\n<header><p><small>A simulator of Microsoft Entra: nobody's real account.</small></p></header>\n<main id=\"{id}\">\n<h1>{heading}</h1>\n{body}</main></body></html>\n"
    );
    Response::new(status, "text/html; charset=utf-8", text.into_bytes())
        .with("Cache-Control", "no-store, no-cache")
        .with("Referrer-Policy", "no-referrer")
}

pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_request_becomes_markup() {
        let pairs = [("state", "\"><script>&'".to_owned())];
        let text = String::from_utf8(form_post("https://a.example/?b=\"", &pairs).body.collect_bytes()).unwrap();
        assert!(text.contains("value=\"&quot;&gt;&lt;script&gt;&amp;&#39;\"") && !text.contains("<script>"));
    }
}

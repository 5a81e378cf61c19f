//! The provider's people come in to the console, and go.

use crate::{
    browser::Browser,
    provider::{COLLEAGUE, OPERATOR, Provider, READER},
};

#[test]
fn an_operator_signs_in_and_out() {
    let provider = Provider::new();
    let operator = Browser::enters(&provider, OPERATOR);
    operator.sees("Accounts");
    operator.reads(&format!("{OPERATOR} (operator)"));
    assert!(operator.offers("Create account"));
    operator.check("console-accounts-empty");
    operator.press("Sign out");
    operator.sees("You are signed out");
    operator.check("console-signed-out");
}

#[test]
fn a_reader_is_offered_nothing_that_changes_anything() {
    let provider = Provider::new();
    let reader = Browser::enters(&provider, READER);
    reader.sees("Accounts");
    reader.reads(&format!("{READER} (reader)"));
    assert!(!reader.offers("Create account"));
    assert_eq!(reader.script("return document.querySelectorAll('form:not([action=\"/logout\"])').length"), 0);
    // Who makes up the form that is not offered, with a token that is theirs.
    reader.script("const form = document.forms[0]; form.action = '/accounts'; form.submit()");
    reader.sees("You may look, and change nothing");
    reader.check("console-reader-refused");
}

#[test]
fn a_colleague_without_a_role_stays_outside() {
    let provider = Provider::new();
    let colleague = Browser::enters(&provider, COLLEAGUE);
    colleague.sees("You have no role here");
    colleague.check("console-no-role");
    assert!(!colleague.offers("Accounts"));
}

#[test]
fn signing_in_needs_no_script() {
    let provider = Provider::new();
    let operator = Browser::without_scripts();
    operator.open(format!("{}/accounts", provider.origin));
    operator.signs_in_as(OPERATOR);
    operator.sees("Accounts");
    operator.press("Sign out");
    operator.sees("You are signed out");
}

//! The story's parts in the console: people in browsers, scripts with tokens.

use laboratory::Method;

use crate::{
    browser::Browser,
    microsoft::{CONSOLE_CLIENT, Microsoft, OPERATOR, READER},
    stack::Stack,
};

/// There is an answer for probes already, and a page that asks people to come back.
pub fn nobody_signs_in_without_an_application(stack: &Stack) {
    let probe = stack.knock(Method::GET, "/api/health", &[], Vec::new());
    assert_eq!((probe.status, probe.text().as_str()), (200, "{\"status\":\"ok\"}"));
    let mut browser = Browser::new(stack, OPERATOR);
    assert_eq!(browser.get("/accounts").location.as_deref(), Some("/login?back=%2Faccounts"));
    assert_eq!(browser.get("/login").status, 503);
}

/// What the people's browsers have carried.
pub fn an_operator_signs_in_and_out(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    let mut browser = Browser::new(stack, OPERATOR);
    let page = browser.look("/", &microsoft.simulator);
    assert!(page.text().contains("Olga &#60;i&#62; (operator)"), "{}", page.text());
    browser.submit(&page, "/accounts", &[("name", "Litware")], &microsoft.simulator);
    let page = browser.submit(&page, "/logout", &[], &microsoft.simulator);
    assert_eq!(page.status, 200, "{}", page.text());
    assert!(stack.items().to_string().contains("Litware"));
    let mut reader = Browser::new(stack, READER);
    let page = reader.look("/accounts", &microsoft.simulator);
    assert!(page.text().contains("(reader)") && !page.text().contains("Create account"), "{}", page.text());
    [browser.carried(), reader.carried()].concat()
}

/// The console has an application of its own by now, and people come in by that one.
pub fn it_signs_in_with_its_own_application(stack: &Stack, microsoft: &Microsoft) -> Vec<String> {
    stack.killer("console")();
    let (mark, by_its_own) = (microsoft.mark(), format!("client_id={CONSOLE_CLIENT}"));
    let mut browser = Browser::new(stack, OPERATOR);
    assert!(browser.look("/accounts", &microsoft.simulator).text().contains("(operator)"));
    assert!(microsoft.asked(mark, "/authorize?") > 0);
    assert_eq!(microsoft.asked(mark, "/authorize?"), microsoft.asked(mark, &by_its_own));
    browser.carried()
}

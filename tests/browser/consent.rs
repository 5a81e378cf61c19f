//! A customer's administrator follows an invitation, and every other way that the walk can end.

use harness::TENANT;
use jiff::SignedDuration;
use url::form_urlencoded;

use crate::{
    browser::Browser,
    programs::until,
    provider::{ADMINISTRATOR, CUSTOMER, EMPLOYEE, NAME, NEIGHBOUR, Provider},
};

/// From the request page to Microsoft's.
fn begin(browser: &Browser, link: &str) {
    browser.open(link);
    browser.sees(&format!("{NAME} asks for read access"));
    browser.press("Continue to Microsoft");
}

#[test]
fn an_administrator_lets_a_tenant_in_with_two_presses() {
    let provider = Provider::new();
    let administrator = Browser::new();
    administrator.open(provider.invite("Fabrikam Europe", &["--feeds", "alerts,machines"]));
    administrator.sees(&format!("{NAME} asks for read access"));
    administrator.reads("the customer account Fabrikam Europe");
    administrator.check("consent-request");
    administrator.press("Continue to Microsoft");
    administrator.approves_as(ADMINISTRATOR);
    administrator.sees("Connected");
    administrator.reads(ADMINISTRATOR);
    administrator.check("consent-connected");
    until("the tenant is active", || (provider.state(CUSTOMER).as_deref() == Some("active")).then_some(()));

    administrator.reload();
    administrator.sees("This is done already");
    administrator.check("consent-reloaded");
}

#[test]
fn nothing_on_the_way_needs_a_script() {
    let provider = Provider::new();
    let administrator = Browser::without_scripts();
    administrator.open("data:text/html,<h1>As it was</h1><script>document.body.innerText = 'changed'</script>");
    administrator.sees("As it was");
    begin(&administrator, &provider.invite("Fabrikam", &[]));
    administrator.approves_as(ADMINISTRATOR);
    administrator.sees("Connected");
}

#[test]
fn whoever_declines_or_leaves_is_told_so_and_may_start_again() {
    let provider = Provider::new();
    let administrator = Browser::new();
    begin(&administrator, &provider.invite("Fabrikam", &[]));
    administrator.at_microsoft("Permissions requested", ADMINISTRATOR, "Decline");
    administrator.sees("Not approved");
    administrator.check("consent-declined");

    administrator.press("Start again");
    administrator.press("Continue to Microsoft");
    administrator.sees("Permissions requested");
    administrator.press("Cancel the sign-in");
    administrator.sees("Not approved yet");
    administrator.check("consent-cancelled");
    assert!(!provider.is_approved_in(CUSTOMER) && provider.state(CUSTOMER).is_none());

    administrator.press("Start again");
    administrator.press("Continue to Microsoft");
    administrator.approves_as(ADMINISTRATOR);
    administrator.sees("Connected");
}

#[test]
fn an_employee_is_sent_to_an_administrator() {
    let provider = Provider::new();
    let employee = Browser::new();
    begin(&employee, &provider.invite("Fabrikam", &[]));
    employee.approves_as(EMPLOYEE);
    employee.sees("An administrator has to approve");
    employee.check("consent-not-administrator");
    assert!(provider.state(CUSTOMER).is_none());
}

#[test]
fn another_tenant_than_the_invited_one_does_not_come_in() {
    let provider = Provider::new();
    let neighbour = Browser::new();
    begin(&neighbour, &provider.invite("Fabrikam", &["--expect", CUSTOMER]));
    neighbour.approves_as(NEIGHBOUR);
    neighbour.sees("The account belongs to another organization");
    neighbour.check("consent-wrong-tenant");
    assert!(neighbour.offers("Start again"));
    assert!(provider.state(TENANT).is_none() && provider.state(CUSTOMER).is_none());
}

#[test]
fn an_invitation_that_is_spent_old_or_broken_says_so() {
    let provider = Provider::new();
    let link = provider.invite("Fabrikam", &[]);
    let administrator = Browser::new();
    begin(&administrator, &link);
    administrator.approves_as(ADMINISTRATOR);
    administrator.sees("Connected");

    let late = Browser::new();
    late.open(&link);
    late.sees("This invitation has been used");
    late.check("consent-used");
    late.open(provider.invited("Fabrikam", SignedDuration::from_hours(7 * 24 + 1)));
    late.sees("This invitation has expired");
    late.check("consent-expired");
    late.open(&link[..link.len() - 5]);
    late.sees("This link is not complete");
    late.check("consent-incomplete");
}

#[test]
fn a_walk_is_not_gone_on_with_in_another_browser() {
    let provider = Provider::new();
    let (first, second) = (Browser::new(), Browser::new());
    begin(&first, &provider.invite("Fabrikam", &[]));
    first.sees("Permissions requested");
    second.open(first.address());
    second.approves_as(ADMINISTRATOR);
    second.sees("You came back in a different browser");
    second.check("consent-other-browser");
    assert!(provider.state(CUSTOMER).is_none());
}

/// What a redirect says in words is not Microsoft's alone to write: anybody can send such a link.
#[test]
fn nothing_that_a_redirect_says_comes_alive_on_our_page() {
    let provider = Provider::new();
    let anybody = Browser::new();
    let markup = "<script>document.title='mine'</script><img src=x onerror=document.title='mine'><h1>Call 555</h1>";
    let evil: String = form_urlencoded::byte_serialize(markup.as_bytes()).collect();
    for query in [
        format!("error=access_denied&error_description=AADSTS65004:{evil}"),
        format!("error={evil}&error_description={evil}&error_subcode={evil}&state={evil}"),
        format!("admin_consent={evil}&tenant={evil}&state={evil}"),
        format!("code={evil}"),
    ] {
        anybody.open(format!("{}/consent/callback?{query}", provider.origin));
        let shown = format!("{}\n{}", anybody.text(), anybody.script("return document.title"));
        assert!(shown.contains(NAME) && !shown.contains("mine") && !shown.contains("555"), "{shown}");
        assert_eq!(anybody.script("return document.querySelectorAll('script, img, h1').length"), 1, "{query}");
        assert_eq!(anybody.complaints(), Vec::<String>::new(), "it was not even tried");
    }
    anybody.check("consent-no-state");
}

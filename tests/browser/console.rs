//! An operator brings customers in, looks after them, and lets one go.

use harness::{CLIENT, SECRET, TENANT};

use crate::{
    browser::Browser,
    programs::until,
    provider::{ADMINISTRATOR, CUSTOMER, OPERATOR, Provider, READER},
};

/// The link of the invitation that is open on this page.
fn link(operator: &Browser) -> String {
    let link = operator.script("return document.querySelector('input[readonly]').value");
    link.as_str().unwrap().to_owned()
}

#[test]
fn a_customer_is_invited_approves_and_turns_green() {
    let provider = Provider::new();
    let operator = Browser::enters(&provider, OPERATOR);
    operator.fill("New account", "Fabrikam & <i>Söhne</i>");
    operator.press("Create account");
    operator.sees("Fabrikam & <i>Söhne</i>");
    operator.check("console-account-new");
    operator.press("Make the invitation");
    operator.reads("The invitation is ready");
    operator.check("console-account-invited");

    let administrator = Browser::new();
    administrator.open(link(&operator));
    administrator.sees("Example & Sons Security asks for read access");
    administrator.press("Continue to Microsoft");
    administrator.approves_as(ADMINISTRATOR);
    administrator.sees("Connected");

    until("the tenant is green", || {
        operator.reload();
        operator.text().contains("Active").then_some(())
    });
    operator.check("console-account-green");
    operator.press(CUSTOMER);
    operator.reads("Approved by");
    operator.check("console-tenant");
    operator.press("Pull now");
    operator.check("console-tenant-pulled");
    operator.press("Pause");
    operator.reads("Paused");
    operator.press("Resume");
    operator.press("Overview");
    operator.sees("Overview");
    operator.check("console-overview");
    operator.press("Activity");
    operator.sees("Activity");
    operator.check("console-activity");
    operator.press("Accounts");
    operator.sees("Accounts");
    operator.check("console-accounts");

    let reader = Browser::enters(&provider, READER);
    reader.press("Fabrikam & <i>Söhne</i>");
    reader.sees("Fabrikam & <i>Söhne</i>");
    assert!(!reader.offers("Make the invitation"));
    reader.check("console-account-reader");
    reader.press(CUSTOMER);
    reader.reads("Approved by");
    assert!(!reader.offers("Pull now") && !reader.offers("Remove…"));
    reader.check("console-tenant-reader");
}

#[test]
fn many_customers_are_invited_at_once_or_none() {
    let provider = Provider::new();
    let operator = Browser::enters(&provider, OPERATOR);
    operator.sees("Accounts");
    operator.open(format!("{}/accounts/invite-many", provider.origin));
    operator.sees("Invite many");
    operator.fill("Customers, as CSV", "Adatum,,it@adatum.example\nAdatum,,\nTailspin,not a tenant,");
    operator.press("Make the invitations");
    operator.reads("Nobody was invited");
    operator.check("console-invite-many-refused");
    operator.fill("Customers, as CSV", "Adatum,,it@adatum.example\nTailspin,,");
    operator.press("Make the invitations");
    operator.sees("2 invited");
    operator.check("console-invite-many");
}

#[test]
fn a_second_press_and_the_way_back_make_one_of_a_thing() {
    let provider = Provider::new();
    let operator = Browser::enters(&provider, OPERATOR);
    operator.fill("New account", "Contoso");
    operator.press("Create account");
    operator.sees("Contoso");
    // Two clicks before the first is answered.
    operator.script(
        "const form = document.querySelector('form[action$=\"/invitations\"]'); \
         const again = new URLSearchParams(new FormData(form)); \
         window.second = fetch(form.action, {method: 'POST', body: again, redirect: 'manual'}); form.submit()",
    );
    operator.reads("The invitation is ready");
    assert_eq!(operator.script("return document.querySelectorAll('input[readonly]').length"), 1);
    operator.script("history.back()");
    operator.reads("Make the invitation");
    operator.press("Make the invitation");
    operator.reads("The invitation is ready");
    assert_eq!(operator.script("return document.querySelectorAll('input[readonly]').length"), 1, "the same form again");
}

#[test]
fn an_application_of_the_customers_own_is_tested_before_it_is_saved_and_a_tenant_is_let_go() {
    let provider = Provider::new();
    let operator = Browser::enters(&provider, OPERATOR);
    operator.fill("New account", "Contoso");
    operator.press("Create account");
    operator.press("Own application");
    operator.fill("Tenant id", TENANT);
    operator.fill("Client id", CLIENT);
    operator.fill("Client secret", "a wrong one");
    operator.fill("Ends on", "11012027");
    operator.press("Test and save");
    operator.reads("Nothing was saved");
    operator.check("console-own-refused");
    assert_eq!(provider.state(TENANT), None);
    assert!(!operator.script("return document.body.innerHTML").as_str().unwrap().contains("a wrong one"));
    operator.fill("Client secret", SECRET);
    operator.press("Test and save");
    operator.reads("Access is proven");
    operator.check("console-own-connected");
    assert_eq!(provider.state(TENANT).as_deref(), Some("active"));

    operator.press("Remove…");
    operator.sees("Remove this tenant?");
    operator.check("console-remove");
    operator.fill("To confirm, type the name of the account", "Fabrikam");
    operator.press("Remove the tenant");
    operator.reads("Nothing was removed");
    operator.fill("To confirm, type the name of the account", "Contoso");
    operator.press("Remove the tenant");
    operator.reads("Enterprise applications in Entra");
    operator.check("console-removed");
    until("nothing is pulled any more", || (provider.state(TENANT).as_deref() == Some("removed")).then_some(()));
}

#[test]
fn whoever_manages_the_customers_application_renews_it_by_a_link_and_signs_in_nowhere() {
    let provider = Provider::new();
    let operator = Browser::enters(&provider, OPERATOR);
    operator.fill("New account", "Contoso");
    operator.press("Create account");
    operator.press("Own application");
    operator.fill("Tenant id", TENANT);
    operator.fill("Client id", CLIENT);
    operator.fill("Client secret", SECRET);
    operator.fill("Ends on", "11012027");
    operator.press("Test and save");
    operator.reads("Access is proven");
    operator.press("Renewal link");
    operator.reads("The renewal link is ready");
    operator.check("console-tenant-renewal");

    provider.makes_a_secret("canary-newer-secret-4f02");
    let administrator = Browser::new();
    administrator.open(link(&operator));
    administrator.sees("Example & Sons Security needs a new credential");
    administrator.check("renewal");
    administrator.fill("Client secret", "a wrong one");
    administrator.fill("Ends on", "11012027");
    administrator.press("Test and save");
    administrator.reads("Nothing was saved");
    administrator.check("renewal-refused");
    assert!(!administrator.script("return document.body.innerHTML").as_str().unwrap().contains("a wrong one"));
    administrator.fill("Client secret", "canary-newer-secret-4f02");
    administrator.press("Test and save");
    administrator.sees("It works, and is saved");
    administrator.check("renewal-saved");
    administrator.open(link(&operator));
    administrator.sees("This link has done its work");
    administrator.check("renewal-spent");

    operator.reload();
    assert!(!operator.text().contains("Copy link"), "it leads nowhere any more");
    operator.press("Activity");
    operator.reads("renewed a credential");
    assert_eq!(provider.state(TENANT).as_deref(), Some("active"));
}

//! Coming in to the console, staying in, and what nobody gets in by.

use harness::{HOME, Stage, TENANT, minutes};

const OLGA: &str = "a0000000-0000-4000-8000-0000000000e1";

#[test]
fn an_operator_signs_in_and_arrives_where_they_wanted_to_go() {
    let stage = Stage::new();
    stage.colleague(HOME, OLGA, Some("Muster.Operator"));
    let mut browser = stage.visitor();
    let asked = browser.get("/accounts?q=contoso&page=2");
    assert_eq!((asked.status, asked.location.as_str()), (302, "/login?back=%2Faccounts%3Fq%3Dcontoso%26page%3D2"));
    let begun = browser.get(&asked.location);
    let back = browser.sign_in(&begun.location, OLGA);
    let arrived = browser.get(&back);
    assert_eq!((arrived.status, arrived.location.as_str()), (303, "/accounts?q=contoso&page=2"));
    let page = browser.get("/accounts");
    assert_eq!((page.status, page.heading()), (200, "Accounts"));
    assert!(page.body.contains("Olga &#60;i&#62;Operator"), "{}", page.body);
}

#[test]
fn whoever_has_no_role_or_gave_it_to_himself_elsewhere_stays_outside() {
    let stage = Stage::new();
    stage.colleague(HOME, OLGA, None);
    let mut browser = stage.visitor();
    let outside = browser.log_in(OLGA);
    assert_eq!((outside.status, outside.heading()), (403, "You have no role here"));
    assert_eq!(browser.get("/accounts").status, 302, "no session came of it");
    // A customer's admin assigns himself our role in his own tenant, and signs in there.
    let eve = "a0000000-0000-4000-8000-0000000000e9";
    stage.colleague(TENANT, eve, Some("Muster.Operator"));
    let begun = browser.get("/login");
    let theirs = begun.location.replace(HOME, TENANT);
    let back = browser.sign_in(&theirs, eve);
    let outside = browser.get(&back);
    assert_eq!((outside.status, outside.heading()), (403, "The sign-in could not be proven"), "{back}");
    assert_eq!(browser.get("/accounts").status, 302);
}

#[test]
fn a_sign_in_belongs_to_its_browser_its_time_and_itself() {
    let stage = Stage::new();
    stage.colleague(HOME, OLGA, Some("Muster.Operator"));
    let mut browser = stage.visitor();
    let begun = browser.get("/login");
    let back = browser.sign_in(&begun.location, OLGA);
    let elsewhere = stage.visitor().get(&back);
    assert_eq!((elsewhere.status, elsewhere.heading()), (400, "This sign-in is not one of yours"));
    let mangled = browser.get(&back.replace("state=", "state=x"));
    assert_eq!(mangled.status, 400);
    stage.pass(minutes(15));
    assert_eq!(browser.get(&back).status, 400, "a quarter of an hour is enough for anybody");
    let begun = browser.get("/login");
    let back = browser.sign_in(&begun.location, OLGA);
    let mut again = stage.visitor();
    again.cookies = browser.cookies.clone();
    assert_eq!(browser.get(&back).status, 303);
    let replayed = again.get(&back);
    assert_eq!((replayed.status, replayed.heading()), (403, "The sign-in could not be proven"), "a code is good once");
}

#[test]
fn a_session_ends_with_the_hour_or_when_its_person_says_so_for_every_copy_of_it() {
    let stage = Stage::new();
    let mut browser = stage.operator();
    let mut copy = stage.visitor();
    copy.cookies = browser.cookies.clone();
    stage.pass(minutes(59));
    let page = copy.get("/accounts");
    assert_eq!(page.status, 200);
    let gone = browser.submit(&page, "/logout", &[]);
    assert_eq!((gone.status, gone.heading()), (200, "You are signed out"));
    assert!(browser.cookies.keys().all(|name| !name.ends_with("session")));
    assert_eq!(copy.get("/accounts").status, 302, "what was copied is over too");
    let mut browser = stage.reader();
    let page = browser.get("/accounts");
    stage.pass(minutes(60));
    assert_eq!(browser.get("/accounts").status, 302);
    let late = browser.submit(&page, "/accounts", &[("name", "Contoso")]);
    assert_eq!((late.status, late.heading()), (401, "Your session is over"));
}

#[test]
fn a_form_is_taken_from_its_own_session_and_site_and_from_an_operator() {
    let stage = Stage::new();
    let mut browser = stage.operator();
    let page = browser.get("/accounts");
    let (token, name) = (("token", page.token()), ("name", "Contoso"));
    for (fields, site, why) in [
        (vec![name], Some("same-origin"), "no token"),
        (vec![("token", "x.y"), name], Some("same-origin"), "a made-up token"),
        (vec![token, name], Some("cross-site"), "another site"),
        (vec![token, name], Some("same-site"), "a sibling host"),
    ] {
        browser.fetch_site = site;
        let refused = browser.post_form("/accounts", &fields);
        assert_eq!((refused.status, refused.heading()), (403, "This form is not from your session"), "{why}");
    }
    let mut other = stage.reader();
    let theirs = other.get("/accounts");
    assert_eq!(
        browser.post_form("/accounts", &[("token", theirs.token()), name]).status,
        403,
        "another session's token"
    );
    let refused = other.submit(&theirs, "/accounts", &[name]);
    assert_eq!((refused.status, refused.heading()), (403, "You may look, and change nothing"));
    browser.fetch_site = Some("same-origin");
    let made = browser.submit(&page, "/accounts", &[name]);
    assert_eq!(made.status, 303, "{}", made.body);
}

//! What operators do on the console's pages, form by form.

use harness::{ADMIN, CLIENT, Page, SECRET, Stage, TENANT, Visitor, minutes};
use shared::credential::check::Kind;

const PATH: &str = "/accounts";

/// The field of this name of a form, as the page has filled it in.
fn filled<'a>(page: &'a Page, name: &str) -> &'a str {
    let (_, rest) = page.body.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split('"').next().unwrap()
}

/// Makes an account. Its page.
fn make(browser: &mut Visitor<'_>, name: &str) -> (String, Page) {
    let accounts = browser.get(PATH);
    let made = browser.submit(&accounts, PATH, &[("name", name)]);
    assert_eq!(made.status, 303, "{}", made.body);
    let page = browser.get(&made.location);
    assert_eq!((page.status, page.heading()), (200, name));
    let address = made.location.split('?').next().unwrap().to_owned();
    (address, page)
}

/// The link that stands on an account's page.
fn link(page: &Page) -> String {
    let (_, rest) = page.body.split_once("readonly value=\"").unwrap();
    rest.split('"').next().unwrap().to_owned()
}

fn tenant() -> String {
    format!("/tenants/{TENANT}")
}

#[test]
fn a_customer_comes_in_by_a_link_that_an_operator_copies() {
    let stage = Stage::unapproved();
    let mut browser = stage.operator();
    let (account, page) = make(&mut browser, "Contoso");
    let once = filled(&page, "once").to_owned();
    let fields = [("once", once.as_str()), ("feeds", "alerts"), ("expected_tenant", TENANT), ("lifetime_days", "7")];
    let form = format!("{account}/invitations");
    let invited = browser.submit(&page, &form, &fields);
    assert_eq!((invited.status, invited.location), (303, format!("{account}?done=invited")));
    assert_eq!(browser.submit(&page, &form, &fields).status, 303, "sent twice");
    let page = browser.get(&account);
    let link = link(&page);
    stage.sent(&link.parse().unwrap());
    assert_eq!(page.body.matches("Copy link").count(), 1, "one invitation came of it");
    assert!(page.body.contains("href=\"mailto:?subject="));
    let reader = stage.reader().get(&account);
    assert!(!reader.body.contains("/connect/") && reader.body.contains("Open"));
    assert_eq!(stage.visitor().consent(&link, ADMIN).heading(), "Connected");
    let page = browser.get(&account);
    assert!(page.body.contains(&format!("/tenants/{TENANT}")) && page.body.contains("Used"), "{}", page.body);
    stage.tick();
    let page = browser.get(&tenant());
    for words in ["Active", "Global Administrator", "Ada &#60;b&#62;Admin", "Alert.Read.All", "balances"] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
}

#[test]
fn an_invitation_is_withdrawn_on_its_accounts_page() {
    let stage = Stage::new();
    let mut browser = stage.operator();
    let (account, page) = make(&mut browser, "Contoso");
    let form = format!("{account}/invitations");
    browser.submit(&page, &form, &[("feeds", "alerts"), ("lifetime_days", "1")]);
    let page = browser.get(&account);
    let link = link(&page);
    stage.sent(&link.parse().unwrap());
    let (_, rest) = page.body.split_once(&format!("{form}/")).unwrap();
    let withdraw = format!("{form}/{}/withdraw", rest.split('/').next().unwrap());
    let done = browser.submit(&page, &withdraw, &[]);
    assert_eq!(done.location, format!("{account}?done=withdrawn"));
    assert_eq!(browser.submit(&page, &withdraw, &[]).status, 303, "pressed twice");
    assert!(browser.get(&account).body.contains("Withdrawn"));
    assert_eq!(stage.visitor().get(&link).status, 410);
}

#[test]
fn a_refused_form_comes_back_as_it_was_sent_with_its_sentences() {
    let stage = Stage::new();
    let mut browser = stage.operator();
    let (account, page) = make(&mut browser, "Contoso");
    let fields = [("expected_tenant", "<script>x</script>"), ("feeds", "alerts"), ("lifetime_days", "61")];
    let refused = browser.submit(&page, &format!("{account}/invitations"), &fields);
    assert_eq!((refused.status, refused.heading()), (422, "Contoso"));
    for words in ["&#60;script&#62;x", "1 to 60 days", "#invite-lifetime_days"] {
        assert!(refused.body.contains(words), "{words}: {}", refused.body);
    }
    stage.pass(minutes(5));
    let accounts = browser.get(PATH);
    let taken = browser.submit(&accounts, PATH, &[("name", "CONTOSO")]);
    assert!(taken.status == 422 && taken.body.contains("There is an account “Contoso” already."), "{}", taken.body);
    for address in ["/accounts/nonsense", "/tenants/nonsense", &tenant(), "/tenants/../accounts"] {
        assert_eq!(browser.get(address).status, 404, "{address}");
    }
}

#[test]
fn an_own_application_is_saved_once_it_works_and_its_secret_is_never_shown() {
    let stage = Stage::new();
    let mut browser = stage.operator();
    let (account, page) = make(&mut browser, "Contoso");
    let form = format!("{account}/connections");
    let with = |secret| {
        vec![
            ("tenant_id", TENANT),
            ("client_id", CLIENT),
            ("kind", "client_secret"),
            ("client_secret", secret),
            ("ends", "2026-12-20"),
            ("feeds", "alerts"),
        ]
    };
    let empty = browser.submit(&page, &form, &[("tenant_id", "contoso.com")]);
    for field in ["tenant_id", "client_id", "credential", "ends", "feeds"] {
        assert!(empty.body.contains(&format!("href=\"#own-{field}\"")), "{field}: {}", empty.body);
    }
    let wrong = browser.submit(&page, &form, &with("not-the-secret"));
    assert_eq!(wrong.status, 422);
    assert!(wrong.body.contains("href=\"#own-credential\"") && wrong.body.contains(&format!("value=\"{TENANT}\"")));
    assert!(!wrong.body.contains("not-the-secret"), "{}", wrong.body);
    assert!(stage.tenants().is_empty(), "nothing was saved");
    let right = browser.submit(&page, &form, &with(SECRET));
    assert_eq!((right.status, right.location.clone()), (303, format!("{}?done=connected", tenant())), "{}", right.body);
    let page = browser.get(&right.location);
    assert!(page.body.contains("the customer&#39;s own") && page.body.contains("Enter a new one"), "{}", page.body);
    // What was typed is all that is known of its end, and is warned of.
    stage.days(1);
    let report = stage.check();
    let ends = report.findings.iter().filter(|finding| finding.kind == Kind::Expiry && finding.tenant_id.is_some());
    assert_eq!(ends.map(|finding| finding.expires_at).collect::<Vec<_>>(), ["2026-12-20T00:00:00Z".parse().ok()]);
}

#[test]
fn a_tenant_is_paused_pulled_changed_and_moved_by_its_page() {
    let stage = Stage::connected();
    let mut browser = stage.operator();
    let page = browser.get(&tenant());
    let mut press = |what: &str, fields: &[(&str, &str)]| {
        let done = browser.submit(&page, &format!("{}/{what}", tenant()), fields);
        let shown = if done.status == 303 { browser.get(&done.location) } else { done.clone() };
        (done.status, shown)
    };
    for (what, fields, status, words) in [
        ("pull", vec![], 303, "Pulling now."),
        ("pause", vec![], 303, "Paused."),
        ("pull", vec![], 422, "resume it first"),
        ("resume", vec![], 303, "Resumed"),
        ("backfill", vec![("since", "yesterday")], 422, "such as 2026-11-22"),
        ("backfill", vec![("since", "1999-01-01")], 422, "180 days"),
        ("settings", vec![("feeds", "alerts"), ("feeds", "telemetry")], 422, "#settings-storage-account_name"),
        ("settings", vec![("region", "eu")], 422, "Choose at least one feed."),
        ("confirm", vec![], 422, "nothing to confirm"),
        ("accept", vec![], 404, "no such page"),
        ("move", vec![], 422, "Say which account"),
        ("move", vec![("account", "Contoso Europe")], 303, "Moved to this account."),
        ("nonsense", vec![], 404, "no such page"),
    ] {
        let (got, shown) = press(what, &fields);
        assert_eq!((got, shown.body.contains(words)), (status, true), "{what} {fields:?}: {}", shown.body);
    }
    assert_eq!(stage.tenants().remove(0).account, "Contoso Europe");
}

#[test]
fn a_tenant_goes_when_its_accounts_name_is_typed_and_its_page_says_what_stays() {
    let stage = Stage::connected();
    let mut browser = stage.operator();
    let address = format!("{}/remove", tenant());
    let asked = browser.get(&address);
    assert!(asked.status == 200 && asked.body.contains("everything in the lake"));
    let refused = browser.submit(&asked, &address, &[("name", "Fabrikam")]);
    assert!(refused.status == 422 && refused.body.contains("Type the name of the account, Contoso"));
    let done = browser.submit(&asked, &address, &[("name", "contoso")]);
    assert_eq!(done.status, 303, "{}", done.body);
    let page = browser.get(&done.location);
    for words in ["Taken away: 1 feed", "Enterprise applications in Entra", "New invitation"] {
        assert!(page.body.contains(words), "{words}: {}", page.body);
    }
    assert!(!page.body.contains("Pull now"));
    assert_eq!(browser.submit(&asked, &address, &[("name", "contoso")]).status, 303, "pressed twice");
}

#[test]
fn many_are_invited_by_one_form_or_nobody() {
    let stage = Stage::new();
    let mut browser = stage.operator();
    let form = "/accounts/invite-many";
    let page = browser.get(form);
    let once = filled(&page, "once").to_owned();
    let fields = |csv| [("once", once.as_str()), ("csv", csv), ("feeds", "alerts"), ("lifetime_days", "7")];
    let refused = browser.submit(&page, form, &fields("Contoso\nFabrikam,nonsense\n"));
    assert!(refused.status == 422 && refused.body.contains("Line 2: "), "{}", refused.body);
    assert!(refused.body.contains("Fabrikam,nonsense"), "what was typed is kept");
    for _again in 0..2 {
        let done = browser.submit(&page, form, &fields("Contoso,,it@contoso.example\nFabrikam\n"));
        assert_eq!((done.status, done.heading()), (200, "2 invited"), "{}", done.body);
        assert_eq!(done.body.matches("/connect/").count(), 2);
        assert!(done.body.contains("mailto:it@contoso.example?"));
    }
    let made = stage.deeds().into_iter().filter(|(action, _)| *action == shared::audit::Action::Invited);
    assert_eq!(made.count(), 2);
}

#[test]
fn the_overview_and_the_trail_tell_what_happened() {
    let stage = Stage::connected();
    let mut browser = stage.operator();
    make(&mut browser, "Fabrikam");
    assert!(browser.get("/overview").body.contains("1 Active"));
    let trail = browser.get("/activity");
    assert!(trail.body.contains("created an account") && trail.body.contains("Olga &#60;i&#62;Operator"));
    let some = browser.get("/activity?account=fabrikam");
    assert!(some.body.contains("Fabrikam") && !some.body.contains("signed in"), "{}", some.body);
    let nonsense = browser.get("/activity?before=%3Cscript%3E&account=%22%3E%3Cscript%3E&tenant=1");
    assert!(nonsense.status == 200 && nonsense.body.matches("<script").count() == 1);
}

#[test]
fn a_new_invitation_from_a_tenants_page_is_one_however_often_its_button_is_pressed() {
    let stage = Stage::connected();
    let mut browser = stage.operator();
    let path = format!("/tenants/{TENANT}");
    let page = browser.get(&path);
    let once = filled(&page, "once").to_owned();
    for _ in 0..2 {
        let made = browser.submit(&page, &format!("{path}/invite"), &[("once", &once)]);
        assert_eq!(made.status, 303, "{}", made.body);
        let account = browser.get(&made.location);
        assert_eq!(account.body.matches("An invitation is open").count(), 1, "{}", account.body);
    }
    assert_eq!(browser.submit(&page, &format!("{path}/invite"), &[]).status, 400, "a form of nobody's");
    let page = browser.get(&path);
    assert_ne!(filled(&page, "once"), once, "a page opened anew may make another");
}

//! Stories of the admin consent pages: who may approve, and what comes back to the application.

use crate::stage::*;
use simulator::{Choice, ConsentErrors, ConsentPropagation, Fault, Request, Response, Route, Simulator};

fn text(response: Response) -> String {
    String::from_utf8(response.body.collect_bytes()).unwrap()
}

/// What the token endpoint says about the application now: an AADSTS code, or 0.
fn token(simulator: &Simulator) -> i64 {
    code(simulator.handle(with_secret(SECRET)))
}

#[test]
fn a_person_reads_the_page_and_approves_with_a_form() {
    let simulator = people();
    let link = consent_link();
    let target = link.split_once(LOGIN).unwrap().1;
    let page = simulator.handle(Request::get(target));
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let page = text(page);
    for part in ["<form method=\"post\">", "Connector", "Alert.Read.All", "Adele", ADMIN, "Decline", "Cancel"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script") && !page.contains("Grete"));
    let form = format!("user={ADMIN}&action=approve");
    let redirect = simulator.handle(Request::post(target, "application/x-www-form-urlencoded", form));
    assert_eq!(redirect.status, 302);
    assert!(redirect.header("set-cookie").unwrap().starts_with("ESTSAUTH="));
    let answer = answer(redirect.header("location").unwrap());
    assert_eq!(names(&answer), ["admin_consent", "scope", "state", "tenant"]);
    assert_eq!((&*answer["admin_consent"], &*answer["tenant"], &*answer["state"]), ("True", TENANT, "s t&1"));
    assert_eq!(
        answer["scope"],
        format!("https://graph.microsoft.com/openid https://graph.microsoft.com/profile {SCOPE}")
    );
    assert_eq!(token(&simulator), 0);
    assert!(simulator.refusals().is_empty());
}

#[test]
fn without_a_choice_of_account_the_page_comes_again() {
    let simulator = people();
    let again = simulator.choose(&consent_link(), Choice::Approve, None);
    assert_eq!(again.status, 200);
    assert!(text(again).contains("<form method=\"post\">"));
    assert_eq!(token(&simulator), 700016);
    simulator.world(|world| [TENANT, OTHER].map(|tenant| world.tenant(tenant).unwrap().users.clear()));
    assert!(text(simulator.choose(&consent_link(), Choice::Approve, None)).contains("There is nobody to choose"));
}

#[test]
fn an_approval_takes_its_time_to_be_in_force() {
    let simulator = people();
    simulator.world(|world| {
        world.consent_propagation = ConsentPropagation { service_principal: seconds(10), roles: seconds(60) };
    });
    simulator.approve(&consent_link(), ADMIN);
    assert_eq!(token(&simulator), 7000229);
    simulator.advance(seconds(10));
    assert_eq!(payload(&bearer(&simulator)).get("roles"), None);
    simulator.advance(seconds(50));
    assert_eq!(payload(&bearer(&simulator))["roles"][0], "Alert.Read.All");
    // Asked again for another role, the old one counts until the new one does; and then it is gone.
    simulator.world(|world| world.application(CLIENT).unwrap().roles = vec!["Machine.Read.All".into()]);
    simulator.approve(&consent_link(), ADMIN);
    assert_eq!(payload(&bearer(&simulator))["roles"][0], "Alert.Read.All");
    simulator.advance(seconds(60));
    assert_eq!(payload(&bearer(&simulator))["roles"], serde_json::json!(["Machine.Read.All"]));
}

#[test]
fn a_consent_that_is_withdrawn_leaves_nothing_behind() {
    let simulator = people();
    simulator.approve(&consent_link(), ADMIN);
    assert_eq!(token(&simulator), 0);
    simulator.world(|world| world.tenant(TENANT).unwrap().withdraw(CLIENT));
    assert_eq!(token(&simulator), 700016);
    simulator.world(|world| assert_eq!(world.tenant(TENANT).unwrap().delegated, []));
    simulator.approve(&consent_link(), ADMIN);
    assert_eq!(token(&simulator), 0);
}

#[test]
fn a_person_can_be_steered_from_outside() {
    let simulator = people();
    let order = serde_json::json!({"url": consent_link(), "choice": "approve", "user": ADMIN}).to_string();
    let done = body(simulator.handle(Request::post("/_simulator/browser", "application/json", order)));
    assert_eq!(done["status"], 302);
    assert_eq!(answer(done["location"].as_str().unwrap())["tenant"], TENANT);
}

#[test]
fn the_same_consent_once_more_interrupts_nothing() {
    let simulator = people();
    simulator.approve(&consent_link(), ADMIN);
    simulator.world(|world| {
        world.consent_propagation = ConsentPropagation { service_principal: seconds(10), roles: seconds(60) };
    });
    simulator.approve(&consent_link(), ADMIN);
    assert_eq!(payload(&bearer(&simulator))["roles"][0], "Alert.Read.All");
}

#[test]
fn a_refusal_comes_back_as_people_have_observed_it() {
    let simulator = people();
    let declined = answer(&simulator.decline(&consent_link(), ADMIN));
    assert_eq!(names(&declined), ["admin_consent", "error", "error_description", "error_uri", "state"]);
    assert_eq!((&*declined["admin_consent"], &*declined["error"]), ("True", "access_denied"));
    assert!(declined["error_description"].starts_with("AADSTS65004: "));
    assert!(declined["error_description"].contains("\r\nTrace ID: "));
    assert!(declined["error_description"].ends_with("\r\nTimestamp: 2026-06-01 12:00:00Z"));
    assert_eq!(declined["error_uri"], "https://login.microsoftonline.com/error?code=65004");
    let cancelled = answer(&simulator.cancel(&consent_link()));
    assert_eq!(names(&cancelled), ["error", "error_subcode", "state"]);
    assert_eq!((&*cancelled["error"], &*cancelled["error_subcode"]), ("access_denied", "cancel"));
    assert_eq!(token(&simulator), 700016);
}

#[test]
fn a_refusal_comes_back_as_the_pages_document_it_when_asked_to() {
    let simulator = people();
    simulator.world(|world| world.consent_errors = ConsentErrors::Documented);
    let declined = answer(&simulator.decline(&consent_link(), ADMIN));
    assert_eq!(names(&declined), ["admin_consent", "error", "error_description", "state"]);
    assert_eq!((&*declined["admin_consent"], &*declined["error"]), ("True", "consent_required"));
    simulator.world(|world| world.script(Route::Consent, [Fault::Aadsts(65004)]));
    let scripted = answer(&simulator.approve(&consent_link(), ADMIN));
    assert_eq!(names(&scripted), ["admin_consent", "error", "error_description", "state"]);
    let first = page(&format!("{TENANT}/adminconsent"), &[("client_id", CLIENT), ("redirect_uri", CALLBACK)]);
    for location in [simulator.decline(&first, ADMIN), simulator.cancel(&first)] {
        let answer = answer(&location);
        assert_eq!(names(&answer), ["error", "error_description"]);
        assert_eq!(answer["error"], "permission_denied");
        assert_eq!(answer["error_description"], "The admin canceled the request");
    }
}

#[test]
fn who_may_consent_depends_on_whose_roles_are_asked_for() {
    let consents = |oid: &str, role: &str| {
        let simulator = people();
        simulator.world(|world| world.application(CLIENT).unwrap().roles = vec![role.into()]);
        let link = consent_link().replace("organizations", TENANT);
        let answer = answer(&simulator.approve(&link, oid));
        match answer.get("error") {
            None => "approved".to_owned(),
            Some(_) => answer["error_description"].split(':').next().unwrap().to_owned(),
        }
    };
    let (defender, graph) = ("Alert.Read.All", "SecurityAlert.Read.All");
    assert_eq!((consents(ADMIN, defender), consents(ADMIN, graph)), ("approved".into(), "approved".into()));
    assert_eq!(consents(APPLICATION_ADMIN, defender), "approved");
    assert_eq!(consents(APPLICATION_ADMIN, graph), "AADSTS90094");
    assert_eq!(consents(ORDINARY, defender), "AADSTS90094");
    // A guest with an admin role is an admin.
    assert_eq!(consents(GUEST, defender), "approved");
    assert_eq!(consents(STRANGER, defender), "AADSTS50020");
}

#[test]
fn a_user_of_another_directory_is_sent_back_without_a_tenant() {
    let link = consent_link().replace("organizations", TENANT);
    let foreign = answer(&people().approve(&link, STRANGER));
    assert_eq!(names(&foreign), ["admin_consent", "error", "error_description", "error_uri", "state"]);
    assert_eq!(foreign["error"], "access_denied");
    // Where the address names no tenant, everybody consents for their own.
    assert_eq!(answer(&people().approve(&consent_link(), STRANGER))["tenant"], OTHER);
}

#[test]
fn a_tenant_without_defender_lacks_its_service_principal() {
    let simulator = people();
    simulator.world(|world| world.tenant(TENANT).unwrap().has_defender = false);
    let answer = answer(&simulator.approve(&consent_link(), ADMIN));
    assert_eq!(answer["error"], "invalid_client");
    assert!(answer["error_description"].starts_with("AADSTS650052: "));
    assert_eq!(token(&simulator), 700016);
}

#[test]
fn an_address_that_is_not_registered_is_never_redirected_to() {
    let simulator = people();
    for (path, uri) in [
        ("organizations/v2.0/adminconsent", "https://evil.example/"),
        ("organizations/v2.0/adminconsent", "https://muster.example/consent/callback/"),
        ("organizations/v2.0/adminconsent", "https://muster.example/consent/callback/more"),
        ("organizations/v2.0/adminconsent", "https://muster.example/consent/Callback"),
        ("organizations/adminconsent", "https://muster.example/consent/callbackmore"),
    ] {
        let link = page(path, &[("client_id", CLIENT), ("redirect_uri", uri), ("scope", SCOPE)]);
        let link = if path.contains("v2.0") { link } else { link.split("&scope").next().unwrap().to_owned() };
        let response = simulator.choose(&link, Choice::Approve, Some(ADMIN));
        assert_eq!((response.status, response.header("location")), (400, None), "{uri}");
        assert!(text(response).contains("AADSTS50011"), "{uri}");
        assert_eq!(simulator.approve(&link, ADMIN), "");
    }
    assert_eq!(token(&simulator), 700016);
    assert!(simulator.refusals().is_empty());
}

#[test]
fn a_request_that_lacks_something_is_told_where_it_can_be() {
    let simulator = people();
    let path = "organizations/v2.0/adminconsent";
    let no_scope = page(path, &[("client_id", CLIENT), ("redirect_uri", CALLBACK), ("state", "s")]);
    let answer = answer(&simulator.approve(&no_scope, ADMIN));
    assert_eq!((&*answer["error"], &*answer["state"]), ("invalid_request", "s"));
    let show = |link: String| text(simulator.choose(&link, Choice::Approve, Some(ADMIN)));
    assert!(show(page(path, &[("redirect_uri", CALLBACK)])).contains("AADSTS900144"));
    assert!(show(page(path, &[("client_id", CLIENT), ("scope", SCOPE)])).contains("AADSTS900144"));
    assert!(show(page(path, &[("client_id", OTHER), ("redirect_uri", CALLBACK)])).contains("AADSTS700016"));
    let nowhere = consent_link().replace("organizations", "00000000-0000-4000-8000-00000000ffff");
    assert!(show(nowhere).contains("AADSTS90002"));
    assert!(simulator.refusals().is_empty());
}

#[test]
fn the_first_version_has_no_scope_and_lets_the_address_go_on() {
    let simulator = people();
    let longer = format!("{CALLBACK}/of/a/customer");
    let parameters = [("client_id", CLIENT), ("redirect_uri", &*longer), ("state", "s")];
    let location = simulator.approve(&page("common/adminconsent", &parameters), ADMIN);
    let (address, query) = location.split_once('?').unwrap();
    assert_eq!(address, longer);
    let answer = answer(&format!("{CALLBACK}?{query}"));
    assert_eq!(names(&answer), ["admin_consent", "state", "tenant"]);
    assert_eq!((&*answer["admin_consent"], &*answer["tenant"]), ("True", TENANT));
    assert_eq!(token(&simulator), 0);
}

#[test]
fn without_a_state_none_comes_back() {
    let link = consent_link().split("&state").next().unwrap().to_owned();
    assert_eq!(names(&answer(&people().approve(&link, ADMIN))), ["admin_consent", "scope", "tenant"]);
}

#[test]
fn a_scripted_error_comes_back_to_the_application() {
    let simulator = people();
    simulator.world(|world| {
        world.script(Route::Consent, [Fault::Aadsts(650051), Fault::Status(503), Fault::Html(502)]);
    });
    let answer = answer(&simulator.approve(&consent_link(), ADMIN));
    assert!(answer["error_description"].starts_with("AADSTS650051: "));
    for status in [503, 502] {
        assert_eq!(simulator.choose(&consent_link(), Choice::Approve, Some(ADMIN)).status, status);
    }
    assert!(simulator.refusals().is_empty());
}

#[test]
fn what_the_pages_are_not_known_to_do_is_not_guessed() {
    for link in [
        consent_link().replace("organizations", "common"),
        consent_link() + "&prompt=login",
        consent_link() + "&state=again",
        consent_link().replace("%2F.default", "%2FAlert.Read.All"),
        page("organizations/adminconsent", &[("client_id", CLIENT), ("redirect_uri", CALLBACK), ("scope", SCOPE)]),
    ] {
        let simulator = people();
        assert_eq!(simulator.choose(&link, Choice::Approve, Some(ADMIN)).status, 501, "{link}");
        assert_eq!(simulator.refusals().len(), 1);
    }
    // A guest has no directory of their own to choose at `organizations`.
    assert_eq!(people().choose(&consent_link(), Choice::Approve, Some(GUEST)).status, 501);
}

//! Tenants come in by a link: the walk as it is meant, and every way in which people and Microsoft turn off it.

use harness::{ADMIN, ALERT_ROLE, CLIENT, PUBLIC_URL, Stage, TENANT, at, minutes, seconds};
use shared::tenant::{Ability, State};
use simulator::{
    AdminRole, Alert, Choice, ConsentErrors, ConsentPropagation, Fault, GroupMembershipClaims, Licence, Route, Tenant,
    User,
};

const OTHER: &str = "a0000000-0000-4000-8000-0000000000bb";
const OTHER_ADMIN: &str = "a0000000-0000-4000-8000-0000000ad222";

fn with_other_tenant(stage: &Stage) {
    stage.world(|world| world.add_tenant(Tenant::new(OTHER, "Fabrikam").with_user(Stage::admin(OTHER_ADMIN))));
}

fn propagation(stage: &Stage, time: jiff::SignedDuration) {
    stage.world(|world| world.consent_propagation = ConsentPropagation { service_principal: time, roles: time });
}

#[test]
fn a_link_two_clicks_and_the_alerts_flow() {
    let stage = Stage::unapproved();
    stage.put(Alert::new("da-old", at(-60)));
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    let page = admin.get(&link);
    assert!(page.body.contains("Example &#38; Sons Security asks for read access"), "{}", page.body);
    assert!(
        page.body.contains("Contoso") && page.body.contains(ALERT_ROLE) && page.body.contains("Global Administrator")
    );
    let page = admin.consent(&link, ADMIN);
    assert_eq!((page.status, page.heading()), (200, "Connected"));
    // The first pull was triggered at once: no tick is needed.
    stage.drain();
    assert_eq!(stage.ids(), ["da-old"]);
    let view = stage.view();
    assert_eq!((view.state, view.account.as_str()), (State::Active, "Contoso"));
    assert_eq!(view.claimed_at, None);
    stage.assert_exactly_once();
}

#[test]
fn the_evidence_says_who_approved_when_as_what_and_by_which_invitation() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    stage.pass(minutes(3));
    stage.visitor().consent(&link, ADMIN);
    let consent = stage.view().consent.unwrap();
    assert_eq!((consent.oid.as_str(), consent.name.as_str()), (ADMIN, "Ada <b>Admin</b>"));
    assert_eq!((consent.at, consent.account.as_str()), (at(3), "Contoso"));
    assert_eq!(
        (consent.admin_roles.as_slice(), consent.roles.as_slice()),
        (&["Global Administrator".to_owned()][..], &[ALERT_ROLE.to_owned()][..])
    );
    assert!(!link.contains(&consent.invitation), "the link itself is not in the evidence");
}

#[test]
fn opening_the_page_spends_nothing_and_needs_no_script() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    for _ in 0..3 {
        let mut scanner = stage.visitor();
        let page = scanner.get(&link);
        assert_eq!(page.status, 200);
        assert!(!page.body.contains("<script") && page.body.matches("<form").count() == 1);
        assert!(page.body.contains("method=\"post\"") && page.body.contains("/start\""));
        assert_eq!(scanner.ask("HEAD", &link).body, "");
    }
    assert_eq!(stage.visitor().consent(&link, ADMIN).status, 200);
}

#[test]
fn pages_keep_their_addresses_to_themselves() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    let pages = [admin.get(&link), admin.get("/consent/callback"), admin.get("/connect/nonsense")];
    for page in pages {
        assert_eq!(page.headers["referrer-policy"], "no-referrer");
        assert_eq!(page.headers["cache-control"], "no-store");
        assert_eq!(page.headers["x-content-type-options"], "nosniff");
        assert!(page.headers["content-security-policy"].starts_with("default-src 'none'; style-src 'sha256-"));
        assert!(page.body.contains("test-request"), "a reference number");
    }
    let (name, value) = admin.cookies.first_key_value().unwrap();
    assert!(name.starts_with("__Host-") && value.len() > 40);
}

#[test]
fn an_invitation_is_used_once_and_expires() {
    let stage = Stage::unapproved();
    with_other_tenant(&stage);
    let link = stage.invite("Contoso");
    assert_eq!(stage.visitor().consent(&link, ADMIN).status, 200);
    let mut second = stage.visitor();
    for page in [second.get(&link), second.post(&format!("{link}/start"))] {
        assert_eq!((page.status, page.heading()), (410, "This invitation has been used"));
    }
    let link = stage.invite("Fabrikam");
    stage.pass(minutes(7 * 24 * 60));
    let page = second.get(&link);
    assert_eq!((page.status, page.heading()), (410, "This invitation has expired"));
}

#[test]
fn pain_12_every_way_of_not_approving_has_its_page_and_the_next_step() {
    for errors in [ConsentErrors::Observed, ConsentErrors::Documented] {
        let stage = Stage::unapproved();
        with_other_tenant(&stage);
        stage.world(|world| world.consent_errors = errors);
        stage.tenant(|tenant| tenant.users.push(User { roles: Vec::new(), ..Stage::admin(OTHER) }));
        let link = stage.invite_expecting("Contoso", Some(TENANT));
        let mut admin = stage.visitor();
        let simulator = &stage.simulator;
        let mut end = |turn: &dyn Fn(&str) -> String, status: i64, heading: &str| {
            let consent = admin.start(&link);
            let page = admin.get(&turn(&consent));
            assert_eq!((page.status, page.heading()), (status, heading), "{errors:?}");
            assert!(page.body.contains("Start again"), "{}", page.body);
        };
        end(&|url| simulator.decline(url, ADMIN), 403, "Not approved");
        end(&|url| simulator.cancel(url), 403, "Not approved yet");
        end(&|url| simulator.approve(url, OTHER_ADMIN), 403, "The account belongs to another organization");
        end(&|url| simulator.approve(url, OTHER), 403, "An administrator has to approve");
        stage.tenant(|tenant| tenant.has_defender = false);
        end(&|url| simulator.approve(url, ADMIN), 400, "Your organization has no Microsoft Defender for Endpoint");
        stage.tenant(|tenant| tenant.has_defender = true);
        stage.world(|world| world.script(Route::Consent, [Fault::Aadsts(650_051)]));
        end(&|url| simulator.approve(url, ADMIN), 400, "Microsoft needs another moment");
        assert!(stage.tenants().is_empty());
        assert_eq!(admin.consent(&link, ADMIN).status, 200, "none of that spent the invitation");
    }
}

#[test]
fn pain_12_the_link_asks_for_defender_alone_so_that_nothing_else_can_block_it() {
    let stage = Stage::unapproved();
    let consent = stage.visitor().start(&stage.invite("Contoso"));
    assert!(consent.starts_with("https://login.microsoftonline.com/organizations/v2.0/adminconsent?"), "{consent}");
    assert!(consent.contains("scope=https%3A%2F%2Fapi.securitycenter.microsoft.com%2F.default"), "{consent}");
    let expecting = stage.visitor().start(&stage.invite_expecting("Contoso", Some(TENANT)));
    assert!(expecting.contains(&format!("/{TENANT}/v2.0/adminconsent")), "{expecting}");
}

#[test]
fn pain_13_the_tenant_parameter_binds_nothing() {
    let stage = Stage::new();
    stage.world(|world| world.add_tenant(Tenant::new(TENANT, "Contoso").consented(CLIENT, &[ALERT_ROLE], at(-9))));
    let link = stage.invite("Mallory");
    let mut mallory = stage.visitor();
    let consent = mallory.start(&link);
    let state = consent.split("state=").nth(1).unwrap();
    let page = mallory.get(&format!("/consent/callback?admin_consent=True&tenant={TENANT}&state={state}"));
    // The application has access there, and still all that comes of it is a sign-in at that tenant.
    assert_eq!(page.status, 302);
    assert!(page.location.contains(&format!("/{TENANT}/oauth2/v2.0/authorize")), "{}", page.location);
    for parameter in ["code_challenge_method=S256", "nonce=", "code_challenge=", "response_type=code", "state="] {
        assert!(page.location.contains(parameter), "{parameter}");
    }
    assert!(stage.tenants().is_empty());
}

#[test]
fn pain_14_a_token_without_roles_right_after_consent_is_waited_for() {
    let stage = Stage::unapproved();
    propagation(&stage, minutes(20));
    let page = stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    assert_eq!((page.status, page.heading()), (200, "Approved"));
    assert_eq!(stage.view().state, State::Propagating);
    stage.put(Alert::new("da1", at(1)));
    stage.ticks(19);
    assert_eq!((stage.view().state, stage.capability().status), (State::Propagating, Ability::RoleMissing));
    assert!(stage.capability().next_step.starts_with("Nothing to do yet"));
    stage.ticks(2);
    assert_eq!((stage.view().state, stage.view().claimed_at), (State::Active, None));
    assert_eq!(stage.ids(), ["da1"], "what happened in the meantime is there too");
    assert_eq!(stage.view().consent.unwrap().roles, [ALERT_ROLE], "and the evidence is complete");
}

#[test]
fn pain_14_after_an_hour_the_missing_role_is_named_and_the_claim_blocks_nobody() {
    let stage = Stage::unapproved();
    propagation(&stage, minutes(100_000));
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    stage.ticks(61);
    assert_eq!(stage.view().state, State::NeedsConsent);
    assert!(stage.capability().next_step.contains(ALERT_ROLE));
    stage.simulator.clear_log();
    stage.ticks(24 * 60 + 2);
    assert_eq!(stage.simulator.log(), [], "and it comes to nothing, whatever is granted later");
    propagation(&stage, minutes(0));
    stage.tenant(|tenant| tenant.consents.clear());
    let page = stage.visitor().consent(&stage.invite("Another account"), ADMIN);
    assert_eq!((page.status, stage.view().account.as_str()), (200, "Another account"));
}

#[test]
fn pain_16_nothing_depends_on_the_person_who_approved() {
    let stage = Stage::unapproved();
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    stage.drain();
    // Ada changes her password, loses her role and leaves; what was granted was granted to the application.
    stage.tenant(|tenant| tenant.users.clear());
    stage.pass(minutes(100 * 24 * 60));
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    stage.tick();
    assert_eq!((stage.view().state, stage.ids()), (State::Active, vec!["da1".to_owned()]));
}

#[test]
fn pain_16_a_withdrawn_consent_is_noticed_and_cured_by_a_fresh_link() {
    let stage = Stage::unapproved();
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    let connected_at = stage.view().connected_at;
    stage.ticks(2);
    stage.tenant(|tenant| tenant.withdraw(CLIENT));
    stage.pass(minutes(90));
    stage.tick();
    assert_eq!((stage.view().state, stage.capability().status), (State::NeedsConsent, Ability::RoleMissing));
    stage.simulator.clear_log();
    stage.ticks(30);
    assert!(stage.simulator.log().len() <= 1, "asked once a day, not once a minute");
    let page = stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    assert_eq!((page.status, page.heading()), (200, "Connected"));
    stage.drain();
    stage.put(Alert::new("da1", stage.now() + seconds(5)));
    stage.tick();
    assert_eq!((stage.view().state, stage.ids()), (State::Active, vec!["da1".to_owned()]));
    assert_eq!(stage.view().connected_at, connected_at, "it is the same connection");
    stage.assert_exactly_once();
}

#[test]
fn pain_14_a_moment_of_other_trouble_does_not_end_the_hour_of_patience() {
    let stage = Stage::unapproved();
    propagation(&stage, minutes(20));
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    stage.drain();
    stage.ticks(2);
    stage.world(|world| world.script(Route::Token, [Fault::Aadsts(7_000_215), Fault::Aadsts(7_000_215)]));
    stage.ticks(2);
    assert_eq!(stage.view().state, State::CredentialFault);
    stage.ticks(2);
    assert_eq!(stage.capability().status, Ability::RoleMissing, "{:?}", stage.capability());
    stage.ticks(18);
    assert_eq!(stage.view().state, State::Active, "{:?}", stage.capability());
}

#[test]
fn pain_14_what_is_proven_after_the_hour_proves_nothing() {
    let stage = Stage::unapproved();
    propagation(&stage, minutes(2));
    let link = stage.invite("Contoso");
    stage.visitor().consent(&link, ADMIN);
    stage.drain();
    stage.world(|world| world.script(Route::Token, std::iter::repeat_n(Fault::Status(503), 300)));
    stage.ticks(90);
    stage.world(|world| world.clear_scripts());
    stage.ticks(30);
    assert_eq!((stage.view().state, stage.view().claimed_at), (State::NeedsConsent, Some(at(0))));
    assert!(stage.capability().next_step.contains("new invitation"), "{}", stage.capability().next_step);
}

#[test]
fn approving_again_does_not_harm_what_works() {
    let stage = Stage::unapproved();
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    stage.drain();
    stage.ticks(2);
    for status in [401, 403, 503] {
        stage.script([Fault::Status(status)]);
        let page = stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
        assert_eq!((page.status, stage.view().state), (200, State::Active), "{status}");
        assert_eq!(stage.capability().status, Ability::Ok, "{status}");
    }
}

#[test]
fn a_second_approval_waits_for_roles_as_patiently_as_the_first() {
    let stage = Stage::unapproved();
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    stage.tenant(|tenant| tenant.withdraw(CLIENT));
    stage.pass(minutes(90));
    stage.tick();
    propagation(&stage, minutes(5));
    assert_eq!(stage.visitor().consent(&stage.invite("Contoso"), ADMIN).status, 200);
    stage.ticks(3);
    assert_eq!(stage.view().state, State::Propagating);
    assert_eq!(stage.view().claimed_at, None, "bound before, so still bound");
    stage.ticks(3);
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn without_directory_roles_in_the_token_an_operator_vouches() {
    let stage = Stage::unapproved();
    stage.world(|world| world.registration(CLIENT).group_membership_claims = GroupMembershipClaims::None);
    let link = stage.invite("Contoso");
    let page = stage.visitor().consent(&link, ADMIN);
    assert_eq!((page.status, page.heading()), (400, "Almost done"));
    assert_eq!(stage.view().state, State::Confirming);
    assert!(stage.capability().next_step.starts_with("Operator:"));
    stage.simulator.clear_log();
    stage.ticks(3);
    assert_eq!(stage.simulator.log(), [], "nothing is asked in the tenant's name before that");
    stage.connect(TENANT).unwrap();
    assert_eq!(stage.view().state, State::Active);
    assert_eq!(stage.visitor().get(&link).status, 410, "vouching spends the invitation");
    let consent = stage.view().consent.unwrap();
    assert_eq!((consent.oid.as_str(), consent.vouched_at), (ADMIN, Some(stage.now())), "and is in the evidence");
}

#[test]
fn a_tenant_without_a_licence_is_only_claimed_and_comes_in_by_the_same_link_once_it_has_one() {
    let stage = Stage::unapproved();
    stage.tenant(|tenant| tenant.licence = Licence::AccountInactive);
    let link = stage.invite("Contoso");
    let page = stage.visitor().consent(&link, ADMIN);
    assert_eq!(page.status, 400, "not proven: there is nothing to read");
    assert!(page.heading().contains("not active") && page.body.contains("Start again"), "{}", page.body);
    assert_eq!((stage.view().state, stage.view().claimed_at), (State::Unlicensed, Some(at(0))));
    assert!(stage.capability().next_step.contains("open their invitation again"), "{}", stage.capability().next_step);
    stage.ticks(61);
    stage.simulator.clear_log();
    stage.pass(minutes(48 * 60));
    stage.ticks(2);
    assert_eq!(stage.simulator.log(), [], "after an hour the claim has come to nothing");
    stage.tenant(|tenant| tenant.licence = Licence::Active);
    assert_eq!(stage.visitor().consent(&link, ADMIN).status, 200, "nothing was bound, so the link is still good");
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn a_licence_that_comes_within_the_hour_is_noticed_within_the_hour() {
    let stage = Stage::unapproved();
    stage.tenant(|tenant| tenant.licence = Licence::AccountInactive);
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    stage.drain();
    stage.tenant(|tenant| tenant.licence = Licence::Active);
    stage.ticks(6);
    assert_eq!((stage.view().state, stage.view().claimed_at), (State::Active, None));
}

#[test]
fn microsofts_bad_moments_leave_the_way_open() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    let back = admin.approve(&link, ADMIN);
    // No discovery document: the same address works once Entra is back.
    stage.world(|world| world.script(Route::Discovery, [Fault::Status(503)]));
    let page = admin.get(&back);
    assert_eq!((page.status, page.heading()), (400, "Microsoft did not answer as it should"));
    let page = admin.get(&back);
    assert_eq!(page.status, 302);
    // A code that Entra does not redeem is lost; starting again is not.
    let back = admin.sign_in(&page.location, ADMIN);
    stage.world(|world| world.script(Route::Token, [Fault::Status(503)]));
    assert_eq!(admin.get(&back).status, 400);
    assert!(stage.tenants().is_empty());
    // Defender's first answer is only the proof: the puller tries again.
    stage.world(|world| world.script(Route::Alerts, [Fault::Status(503)]));
    assert_eq!(admin.consent(&link, ADMIN).status, 200);
    assert_eq!(stage.view().state, State::Propagating);
    stage.drain();
    stage.ticks(1);
    assert_eq!(stage.view().state, State::Active);
}

#[test]
fn a_reloaded_page_changes_nothing_and_says_so() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    let sign_in = admin.reach_sign_in(&link, ADMIN);
    let back = admin.sign_in(&sign_in, ADMIN);
    assert_eq!(admin.get(&back).status, 200);
    let versions = stage.state_versions();
    let page = admin.get(&back);
    assert_eq!((page.status, page.heading()), (400, "This is done already"));
    assert!(!page.body.contains("Start again"), "nothing here is to be begun again");
    assert_eq!(stage.state_versions(), versions);
}

#[test]
fn whoever_leaves_at_the_second_page_is_told_that_the_approval_stands() {
    let stage = Stage::unapproved();
    stage.tenant(|tenant| tenant.users.push(User { roles: Vec::new(), ..Stage::admin(OTHER) }));
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    for (choice, user, heading) in [
        (Choice::Decline, Some(ADMIN), "Approved, but not signed in"),
        (Choice::Cancel, None, "Approved, but not signed in"),
        (Choice::Approve, Some(OTHER), "An administrator has to sign in"),
    ] {
        let sign_in = admin.reach_sign_in(&link, ADMIN);
        let answer = stage.simulator.choose(&sign_in, choice, user);
        let page = admin.get(answer.header("location").unwrap());
        assert_eq!((page.status, page.heading()), (403, heading));
        assert!(page.body.contains("approval was given") && page.body.contains("Start again"), "{}", page.body);
    }
    assert!(stage.tenants().is_empty());
}

#[test]
fn starting_again_leads_to_the_invitation_that_was_begun_with() {
    let stage = Stage::unapproved();
    let (one, other) = (stage.invite("Contoso"), stage.invite("Fabrikam"));
    let mut admin = stage.visitor();
    let consent = admin.start(&one);
    // In a second tab of the same browser.
    admin.get(&other);
    let page = admin.get(&stage.simulator.decline(&consent, ADMIN));
    let path = one.strip_prefix(PUBLIC_URL).unwrap();
    assert!(page.body.contains(&format!("href=\"{path}\"")), "{}", page.body);
}

#[test]
fn the_last_page_says_who_signed_in_where_so_that_a_slip_is_noticed() {
    let stage = Stage::unapproved();
    let page = stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    assert!(page.body.contains(TENANT) && page.body.contains("Ada &#60;b&#62;Admin") && page.body.contains("Contoso"));
    let invitation = stage.visitor().get(&stage.invite_expecting("Contoso", Some(TENANT)));
    assert!(invitation.body.contains(CLIENT) && invitation.body.contains(TENANT), "to compare Microsoft's page with");
}

#[test]
fn a_link_that_came_through_a_mail_program_still_opens() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    for end in ["/", ".", ">", "%3E", "),"] {
        assert_eq!(stage.visitor().get(&format!("{link}{end}")).status, 200, "{end}");
    }
    let page = stage.visitor().get(&format!("{link}/start"));
    assert_eq!((page.status, page.location), (302, link.clone()));
    let page = stage.visitor().post(&format!("{link}/start"));
    assert!(page.status == 400 && page.body.contains("Start again"), "without a cookie: {}", page.body);
}

#[test]
fn the_signing_key_may_change_while_an_administrator_is_at_microsofts_page() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    let back = admin.approve(&link, ADMIN);
    let fresh = shared::secret::Secret::new(format!(r#"{{"key":"{}"}}"#, "k".repeat(43) + "A"));
    let vault = &stage.app.ports.vault;
    let put = vault.put("muster/signing", "s2", &fresh, &[shared::ports::vault::Stage::Current], None);
    futures::executor::block_on(put).unwrap();
    let page = admin.get(&back);
    let back = admin.sign_in(&page.location, ADMIN);
    assert_eq!(admin.get(&back).status, 200);
}

#[test]
fn an_operator_may_name_the_expected_tenant_by_domain() {
    let stage = Stage::unapproved();
    let invite = |tenant: &str| stage.try_invite("Contoso", Some(tenant));
    stage.tenant(|tenant| tenant.domains.push("contoso.example".to_owned()));
    let link = invite("Contoso.example").unwrap();
    assert!(stage.visitor().start(&link).contains(TENANT));
    for (wrong, words) in [
        ("contoso", "neither a tenant id"),
        ("../common", "neither a tenant id"),
        ("a..b", "neither a tenant id"),
        ("fabrikam.example", "no domain of an Entra tenant"),
    ] {
        let error = invite(wrong).unwrap_err();
        assert!(error.contains(words), "{wrong}: {error}");
    }
}

#[test]
fn nothing_of_microsofts_words_reaches_a_page_unescaped() {
    let stage = Stage::unapproved();
    let mut anybody = stage.visitor();
    let evil = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22%27";
    for query in [
        format!("error={evil}&error_description={evil}&state={evil}"),
        format!("error=access_denied&error_description=AADSTS65004{evil}&error_uri={evil}"),
        format!("error=a&error_subcode={evil}&tenant={evil}"),
        format!("admin_consent={evil}&tenant={evil}&state={evil}"),
        format!("code={evil}"),
    ] {
        let page = anybody.get(&format!("/consent/callback?{query}"));
        assert!(!page.body.contains("<script") && !page.body.contains("alert(1)"), "{query}");
    }
    let link = stage.invite("<script>alert(1)</script>");
    assert!(!anybody.get(&link).body.contains("<script"));
    let page = anybody.consent(&link, ADMIN);
    assert!(page.status == 200 && !page.body.contains("<b>Admin"));
}

#[test]
fn what_is_secret_on_the_way_is_in_no_state_and_no_answer() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    let sign_in = admin.reach_sign_in(&link, ADMIN);
    let back = admin.sign_in(&sign_in, ADMIN);
    let code = back.split("code=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
    let browser = admin.cookies.values().next().unwrap().split('.').next().unwrap().to_owned();
    let page = admin.get(&back);
    let attempts = stage.store.written();
    for secret in [code, &browser, link.rsplit('/').next().unwrap(), "eyJ"] {
        assert!(!attempts.contains(secret), "{secret} is kept");
        assert!(!page.body.contains(secret), "{secret} is shown");
    }
}

#[test]
fn a_tenant_belongs_to_one_account_and_a_conflict_is_for_people() {
    let stage = Stage::unapproved();
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    let link = stage.invite("Another account");
    let page = stage.visitor().consent(&link, ADMIN);
    assert_eq!((page.status, page.heading()), (409, "Already connected elsewhere"));
    assert!(!page.body.contains("Contoso"), "whose it is, is nobody's business");
    assert_eq!(stage.view().account, "Contoso");
    with_other_tenant(&stage);
    assert_eq!(stage.visitor().consent(&link, OTHER_ADMIN).status, 200, "the invitation is still good for another one");
}

#[test]
fn the_own_tenants_application_administrator_is_enough() {
    for role in [AdminRole::PrivilegedRole, AdminRole::Application, AdminRole::CloudApplication] {
        let stage = Stage::unapproved();
        stage.tenant(|tenant| tenant.users = vec![User { roles: vec![role], ..Stage::admin(ADMIN) }]);
        assert_eq!(stage.visitor().consent(&stage.invite("Contoso"), ADMIN).status, 200, "{role:?}");
    }
}

#[test]
fn the_old_kind_of_link_gets_an_explanation_and_a_fresh_start() {
    let stage = Stage::unapproved();
    let link = stage.invite("Contoso");
    let mut admin = stage.visitor();
    admin.get(&link);
    let redirect = format!("{PUBLIC_URL}/consent/callback");
    let old = format!(
        "https://login.microsoftonline.com/common/oauth2/authorize?prompt=consent&client_id={CLIENT}&response_type=code&sso_reload=true&redirect_uri={redirect}"
    );
    let back = stage.simulator.choose(&old, Choice::Approve, Some(ADMIN)).header("location").unwrap().to_owned();
    assert!(back.contains("code=") && !back.contains("&state="), "{back}");
    let page = admin.get(&back);
    assert_eq!((page.status, page.heading()), (400, "This is an old kind of link"));
    assert!(page.body.contains("Start again"), "{}", page.body);
    assert!(stage.tenants().is_empty(), "approved as it is, it is bound to nobody");
    assert_eq!(stage.visitor().get(&back).status, 400);
}

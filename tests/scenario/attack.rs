//! Forged and damaged requests against the consent. None binds, hijacks or squats a tenant, and after each the real
//! administrator comes in as if nothing had happened.

use harness::{ADMIN, ALERT_ROLE, CLIENT, Page, Stage, TENANT, Visitor, at, minutes};
use serde_json::{Value, json};
use shared::tenant::State;
use simulator::{ForgedWith, GroupMembershipClaims, Licence, Tenant, User, UserKind};

/// Where Mallory is an administrator.
const MALLORYS_TENANT: &str = "b0000000-0000-4000-8000-0000000000ee";
const MALLORY: &str = "b0000000-0000-4000-8000-0000000ad333";
/// In the victim's directory: a user without any role, and a guest who is an administrator at home.
const USER: &str = "a0000000-0000-4000-8000-0000000ad444";
const GUEST: &str = "a0000000-0000-4000-8000-0000000ad555";
const PERSONAL_ACCOUNTS: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// Contoso has approved the application already, so that a forged claim to it would find access. It is not bound yet;
/// its administrator holds an invitation, and Mallory holds one for an account of her own.
struct Scene {
    stage: Stage,
    contosos_link: String,
    mallorys_link: String,
}

impl Scene {
    fn new() -> Self {
        let stage = Stage::unapproved();
        stage.world(|world| {
            let user = |oid: &str, kind| User { kind, roles: Vec::new(), ..Stage::admin(oid) };
            let guest = UserKind::Guest { home_tenant: MALLORYS_TENANT.to_owned() };
            world.add_tenant(
                Tenant::new(TENANT, "Contoso")
                    .consented(CLIENT, &[ALERT_ROLE], at(-100))
                    .with_user(Stage::admin(ADMIN))
                    .with_user(user(USER, UserKind::Member))
                    .with_user(User { roles: Stage::admin(GUEST).roles, ..user(GUEST, guest) }),
            );
            world.add_tenant(Tenant::new(MALLORYS_TENANT, "Mallory Ltd").with_user(Stage::admin(MALLORY)));
        });
        let contosos_link = stage.invite("Contoso");
        let mallorys_link = stage.invite("Mallory");
        Self { stage, contosos_link, mallorys_link }
    }

    fn mallory(&self) -> Visitor<'_> {
        self.stage.visitor()
    }

    /// Mallory begins with her own invitation. Her browser, and her good `state` for the first leg.
    fn first_leg(&self) -> (Visitor<'_>, String) {
        let mut mallory = self.mallory();
        let state = parameter(&mallory.start(&self.mallorys_link), "state");
        (mallory, state)
    }

    /// Mallory claims that Contoso approved. Her browser, and where she is to sign in.
    fn second_leg(&self) -> (Visitor<'_>, String) {
        let (mut mallory, state) = self.first_leg();
        let page = mallory.get(&first_return(TENANT, &state));
        assert_eq!(page.status, 302, "{}", page.body);
        (mallory, page.location)
    }

    /// Contoso's own administrator is brought to sign in with Mallory's attempt, and Entra's token is replaced by one
    /// that is changed and signed like this.
    fn with_token(&self, change: impl FnOnce(&mut Value), with: ForgedWith) -> Page {
        self.with_token_text(change, |claims| self.stage.simulator.forge_id_token(claims, with))
    }

    fn with_token_text(&self, change: impl FnOnce(&mut Value), sign: impl FnOnce(Value) -> String) -> Page {
        let (mut browser, sign_in) = self.second_leg();
        let mut claims = self.stage.simulator.id_token_claims(CLIENT, ADMIN, &parameter(&sign_in, "nonce"));
        change(&mut claims);
        let token = sign(claims);
        self.stage.world(|world| world.next_id_token = Some(token));
        let back = browser.sign_in(&sign_in, ADMIN);
        browser.get(&back)
    }

    /// This user goes through with the link without anybody's approval. The status of the last page.
    fn claim(&self, link: &str, user: &str) -> i64 {
        let mut visitor = self.stage.visitor();
        let state = parameter(&visitor.start(link), "state");
        let sign_in = visitor.get(&first_return(TENANT, &state)).location;
        let back = visitor.sign_in(&sign_in, user);
        visitor.get(&back).status
    }

    /// Nothing is Mallory's, and Contoso comes in by its own link.
    fn assert_unharmed(&self, attack: &str) {
        for view in self.stage.tenants() {
            assert!(view.account != "Mallory" || view.tenant_id.to_string() == MALLORYS_TENANT, "{attack}: {view:?}");
        }
        self.stage.world(|world| world.next_id_token = None);
        let page = self.stage.visitor().consent(&self.contosos_link, ADMIN);
        assert_eq!((page.status, page.heading()), (200, "Connected"), "{attack}: squatted");
        assert_eq!(self.stage.view().account, "Contoso", "{attack}");
    }
}

fn first_return(tenant: &str, state: &str) -> String {
    format!("/consent/callback?admin_consent=True&tenant={tenant}&state={state}")
}

fn parameter(url: &str, name: &str) -> String {
    let pairs = url.split_once('?').map_or("", |(_, query)| query).split('&');
    let mut values = pairs.filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    values.next().unwrap_or_default().to_owned()
}

/// `good` with its character at `at` replaced by another of the alphabet.
fn damaged(good: &str, at: usize) -> String {
    let mut text: Vec<char> = good.chars().collect();
    text[at] = if text[at] == 'A' { 'B' } else { 'A' };
    text.into_iter().collect()
}

type Attack = (&'static str, fn(&Scene) -> Page);

#[test]
fn no_forged_or_damaged_state_gets_anywhere() {
    let attacks: [Attack; 19] = [
        ("no parameters at all", |scene| scene.mallory().get("/consent/callback")),
        ("no state", |scene| scene.mallory().get(&format!("/consent/callback?admin_consent=True&tenant={TENANT}"))),
        ("an empty state", |scene| scene.mallory().get(&first_return(TENANT, ""))),
        ("a state of Mallory's own making", |scene| scene.mallory().get(&first_return(TENANT, "aGVsbG8.d29ybGQ"))),
        ("a state whose payload is changed", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return(TENANT, &damaged(&state, 3)))
        }),
        ("a state whose signature is changed", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return(TENANT, &damaged(&state, state.len() - 4)))
        }),
        ("a state with the signature of another", |scene| {
            let (mut mallory, state) = scene.first_leg();
            let other = parameter(&mallory.start(&scene.mallorys_link), "state");
            let (payload, signature) = (state.split('.').next().unwrap(), other.split('.').nth(1).unwrap());
            mallory.get(&first_return(TENANT, &format!("{payload}.{signature}")))
        }),
        ("a state cut short", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return(TENANT, &state[..state.len() - 1]))
        }),
        ("a state with words appended by a login page", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return(TENANT, &format!("{state}Sign+in+to+your+account")))
        }),
        ("two states", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&format!("{}&state={state}", first_return(TENANT, &state)))
        }),
        ("an invitation in the place of the state", |scene| {
            let (mut mallory, _) = scene.first_leg();
            mallory.get(&first_return(TENANT, scene.contosos_link.rsplit('/').next().unwrap()))
        }),
        ("a state in the place of an invitation", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&format!("/connect/{state}"))
        }),
        ("an expired state", |scene| {
            let (mut mallory, state) = scene.first_leg();
            scene.stage.pass(minutes(60));
            mallory.get(&first_return(TENANT, &state))
        }),
        ("a state replayed", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return(MALLORYS_TENANT, &state));
            mallory.get(&first_return(TENANT, &state))
        }),
        ("the first leg's state on the second", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&format!("/consent/callback?code=x&state={state}"))
        }),
        ("the second leg's state on the first", |scene| {
            let (mut mallory, sign_in) = scene.second_leg();
            mallory.get(&first_return(TENANT, &parameter(&sign_in, "state")))
        }),
        ("the first leg's state with the code of the second", |scene| {
            let (mut browser, first) = scene.first_leg();
            let sign_in = browser.get(&first_return(TENANT, &first)).location;
            let code = parameter(&browser.sign_in(&sign_in, ADMIN), "code");
            browser.get(&format!("/consent/callback?code={code}&state={first}"))
        }),
        ("a state in a browser without a cookie", |scene| {
            let (_, state) = scene.first_leg();
            scene.stage.visitor().get(&first_return(TENANT, &state))
        }),
        ("a state in a browser with a cookie of its own", |scene| {
            let (_, state) = scene.first_leg();
            let mut other = scene.stage.visitor();
            other.get(&scene.contosos_link);
            other.get(&first_return(TENANT, &state))
        }),
    ];
    refuse_all(&attacks, &[400]);
}

#[test]
fn what_the_first_redirect_says_of_the_tenant_is_only_a_hint() {
    let attacks: [Attack; 12] = [
        ("the victim's tenant, signed in at one's own", |scene| {
            let (mut mallory, sign_in) = scene.second_leg();
            let back = mallory.sign_in(&sign_in.replace(TENANT, MALLORYS_TENANT), MALLORY);
            mallory.get(&back)
        }),
        ("the victim's tenant, signed in at whatever tenant one has", |scene| {
            let (mut mallory, sign_in) = scene.second_leg();
            let back = mallory.sign_in(&sign_in.replace(TENANT, "organizations"), MALLORY);
            mallory.get(&back)
        }),
        ("admin_consent=True beside an error", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&format!("{}&error=consent_required", first_return(TENANT, &state)))
        }),
        ("no admin_consent", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&format!("/consent/callback?tenant={TENANT}&state={state}"))
        }),
        ("admin_consent=False", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&format!("/consent/callback?admin_consent=False&tenant={TENANT}&state={state}"))
        }),
        ("no tenant", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&format!("/consent/callback?admin_consent=True&state={state}"))
        }),
        ("two tenants", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&format!("{}&tenant={TENANT}", first_return(MALLORYS_TENANT, &state)))
        }),
        ("a tenant that is a path", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return("..%2F..%2Fevil.example", &state))
        }),
        ("every tenant", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return("common", &state))
        }),
        ("a tenant that does not exist", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return("b0000000-0000-4000-8000-00000000dead", &state))
        }),
        ("the tenant of personal accounts", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.get(&first_return(PERSONAL_ACCOUNTS, &state))
        }),
        ("another tenant than the invited one", |scene| {
            let link = scene.stage.invite_expecting("Mallory", Some(MALLORYS_TENANT));
            let mut mallory = scene.mallory();
            let state = parameter(&mallory.start(&link), "state");
            mallory.get(&first_return(TENANT, &state))
        }),
    ];
    refuse_all(&attacks, &[400, 403]);
}

#[test]
fn a_code_is_good_once_for_its_own_attempt() {
    let attacks: [Attack; 8] = [
        ("a code of one's own invention", |scene| {
            let (mut mallory, sign_in) = scene.second_leg();
            mallory.get(&format!("/consent/callback?code=0.AAAA&state={}", parameter(&sign_in, "state")))
        }),
        ("no code", |scene| {
            let (mut mallory, sign_in) = scene.second_leg();
            mallory.get(&format!("/consent/callback?state={}", parameter(&sign_in, "state")))
        }),
        ("two codes", |scene| {
            let (mut mallory, sign_in) = scene.second_leg();
            mallory.get(&format!("/consent/callback?code=a&code=b&state={}", parameter(&sign_in, "state")))
        }),
        ("a code of one's own tenant", |scene| {
            let mut elsewhere = scene.mallory();
            let own = elsewhere.reach_sign_in(&scene.mallorys_link, MALLORY);
            let code = parameter(&elsewhere.sign_in(&own, MALLORY), "code");
            let (mut mallory, sign_in) = scene.second_leg();
            mallory.get(&format!("/consent/callback?code={code}&state={}", parameter(&sign_in, "state")))
        }),
        ("the victim's code, stolen on the way", |scene| {
            let mut admin = scene.stage.visitor();
            let theirs = admin.reach_sign_in(&scene.contosos_link, ADMIN);
            let code = parameter(&admin.sign_in(&theirs, ADMIN), "code");
            let (mut mallory, sign_in) = scene.second_leg();
            mallory.get(&format!("/consent/callback?code={code}&state={}", parameter(&sign_in, "state")))
        }),
        ("the victim's whole return, stolen on the way", |scene| {
            let mut admin = scene.stage.visitor();
            let theirs = admin.reach_sign_in(&scene.contosos_link, ADMIN);
            let back = admin.sign_in(&theirs, ADMIN);
            scene.mallory().get(&back)
        }),
        ("one's own return, forced on the victim's browser", |scene| {
            let (mallory, sign_in) = scene.second_leg();
            let back = mallory.sign_in(&sign_in, ADMIN);
            let mut admin = scene.stage.visitor();
            admin.get(&scene.contosos_link);
            admin.get(&back)
        }),
        ("a code without a state, as the old links bring it", |scene| {
            let (mut mallory, sign_in) = scene.second_leg();
            let back = mallory.sign_in(&sign_in, ADMIN);
            mallory
                .get(&format!("/consent/callback?code={}&session_state=x&admin_consent=True", parameter(&back, "code")))
        }),
    ];
    refuse_all(&attacks, &[400]);
}

#[test]
fn no_false_id_token_is_believed() {
    const WIDS: &str = "62e90394-69f5-4237-9190-012177145e10";
    let attacks: [Attack; 25] = [
        ("another audience", |scene| scene.with_token(|claims| claims["aud"] = json!(TENANT), ForgedWith::EntraKey)),
        ("two audiences", |scene| {
            scene.with_token(|claims| claims["aud"] = json!([CLIENT, TENANT]), ForgedWith::EntraKey)
        }),
        ("another tenant", |scene| {
            scene.with_token(|claims| claims["tid"] = json!(MALLORYS_TENANT), ForgedWith::EntraKey)
        }),
        ("another tenant and its issuer", |scene| {
            scene.with_token(
                |claims| {
                    claims["tid"] = json!(MALLORYS_TENANT);
                    claims["iss"] = json!(format!("https://login.microsoftonline.com/{MALLORYS_TENANT}/v2.0"));
                },
                ForgedWith::EntraKey,
            )
        }),
        ("another tenant's issuer", |scene| {
            let issuer = format!("https://login.microsoftonline.com/{MALLORYS_TENANT}/v2.0");
            scene.with_token(|claims| claims["iss"] = json!(issuer), ForgedWith::EntraKey)
        }),
        ("the issuer of access tokens", |scene| {
            let issuer = format!("https://sts.windows.net/{TENANT}/");
            scene.with_token(|claims| claims["iss"] = json!(issuer), ForgedWith::EntraKey)
        }),
        ("the issuer's template", |scene| {
            let issuer = "https://login.microsoftonline.com/{tenantid}/v2.0";
            scene.with_token(|claims| claims["iss"] = json!(issuer), ForgedWith::EntraKey)
        }),
        ("an issuer of one's own", |scene| {
            let issuer = format!("https://evil.example/{TENANT}/v2.0");
            scene.with_token(|claims| claims["iss"] = json!(issuer), ForgedWith::EntraKey)
        }),
        ("another nonce", |scene| scene.with_token(|claims| claims["nonce"] = json!("another"), ForgedWith::EntraKey)),
        ("no nonce", |scene| scene.with_token(|claims| remove(claims, "nonce"), ForgedWith::EntraKey)),
        ("an expired one", |scene| {
            scene.with_token(|claims| claims["exp"] = json!(at(0).as_second() - 301), ForgedWith::EntraKey)
        }),
        ("one without an end", |scene| scene.with_token(|claims| remove(claims, "exp"), ForgedWith::EntraKey)),
        ("one that is not valid yet", |scene| {
            scene.with_token(|claims| claims["nbf"] = json!(at(0).as_second() + 301), ForgedWith::EntraKey)
        }),
        ("a personal account", |scene| {
            scene.with_token(
                |claims| {
                    claims["tid"] = json!(PERSONAL_ACCOUNTS);
                    claims["iss"] = json!(format!("https://login.microsoftonline.com/{PERSONAL_ACCOUNTS}/v2.0"));
                },
                ForgedWith::KeyOfAnotherIssuer,
            )
        }),
        ("nobody", |scene| scene.with_token(|claims| remove(claims, "oid"), ForgedWith::EntraKey)),
        ("directory roles that are no list", |scene| {
            scene.with_token(|claims| claims["wids"] = json!(WIDS), ForgedWith::EntraKey)
        }),
        ("no signature", |scene| scene.with_token(|_| {}, ForgedWith::AlgNone)),
        ("a signature with the public key", |scene| scene.with_token(|_| {}, ForgedWith::Hs256WithPublicKey)),
        ("a key nobody published", |scene| scene.with_token(|_| {}, ForgedWith::UnknownKey)),
        ("a key nobody published under a published name", |scene| {
            scene.with_token(|_| {}, ForgedWith::UnknownKeyNamedAsEntras)
        }),
        ("a published key of another issuer's", |scene| scene.with_token(|_| {}, ForgedWith::KeyOfAnotherIssuer)),
        ("changed after it was signed", |scene| {
            scene.with_token_text(
                |_| {},
                |claims| {
                    let token = scene.stage.simulator.forge_id_token(claims, ForgedWith::EntraKey);
                    damaged(&token, token.find('.').unwrap() + 30)
                },
            )
        }),
        ("its signature cut off", |scene| {
            scene.with_token_text(
                |_| {},
                |claims| {
                    let token = scene.stage.simulator.forge_id_token(claims, ForgedWith::EntraKey);
                    token[..=token.rfind('.').unwrap()].to_owned()
                },
            )
        }),
        ("no token at all", |scene| scene.with_token_text(|_| {}, |_| "not.a.token".to_owned())),
        ("an attempt-old token of the same person", |scene| {
            let (_, earlier) = scene.second_leg();
            let nonce = parameter(&earlier, "nonce");
            scene.with_token(|claims| claims["nonce"] = json!(nonce), ForgedWith::EntraKey)
        }),
    ];
    refuse_all(&attacks, &[400]);
}

fn remove(claims: &mut Value, name: &str) {
    claims.as_object_mut().unwrap().remove(name);
}

#[test]
fn whoever_is_no_administrator_of_the_tenant_cannot_speak_for_it() {
    let attacks: [Attack; 4] = [
        ("an ordinary user", |scene| {
            let (mut browser, sign_in) = scene.second_leg();
            let back = browser.sign_in(&sign_in, USER);
            browser.get(&back)
        }),
        ("an ordinary user with an empty list of roles", |scene| {
            scene.with_token(|claims| claims["wids"] = json!([]), ForgedWith::EntraKey)
        }),
        ("a guest who is an administrator", |scene| {
            let (mut browser, sign_in) = scene.second_leg();
            let back = browser.sign_in(&sign_in, GUEST);
            browser.get(&back)
        }),
        ("a guest of a consumer service", |scene| {
            scene.with_token(|claims| claims["idp"] = json!("live.com"), ForgedWith::EntraKey)
        }),
    ];
    refuse_all(&attacks, &[403]);
}

#[test]
fn nothing_but_the_button_starts_and_nothing_but_a_link_of_ours_opens() {
    let attacks: [Attack; 7] = [
        ("a start from somebody else's page", |scene| scene.mallory().post(&format!("{}/start", scene.contosos_link))),
        ("a start from a page on a sibling host", |scene| {
            let mut admin = scene.stage.visitor();
            admin.get(&scene.mallorys_link);
            admin.fetch_site = Some("same-site");
            admin.post(&format!("{}/start", scene.mallorys_link))
        }),
        ("a callback as a form", |scene| {
            let (mut mallory, state) = scene.first_leg();
            mallory.post(&first_return(TENANT, &state))
        }),
        ("an invitation of one's own making", |scene| scene.mallory().get("/connect/AAAA.BBBB")),
        ("an invitation whose end is moved", |scene| {
            let token = scene.mallorys_link.rsplit('/').next().unwrap();
            scene.mallory().get(&format!("/connect/{}", damaged(token, 25)))
        }),
        ("a page that is not there", |scene| scene.mallory().get("/connect/a/b/c")),
        ("a climb out of the path", |scene| scene.mallory().get("/connect/../../etc/passwd")),
    ];
    refuse_all(&attacks, &[400, 404, 405]);
}

/// Each attack on a scene of its own.
fn refuse_all(attacks: &[Attack], statuses: &[i64]) {
    for (name, attack) in attacks {
        let scene = Scene::new();
        let page = attack(&scene);
        assert!(statuses.contains(&page.status), "{name}: {} {}", page.status, page.heading());
        assert!(!page.heading().is_empty(), "{name}: a page for people");
        assert!(page.location.is_empty(), "{name}: leads on to {}", page.location);
        scene.assert_unharmed(name);
    }
}

#[test]
fn a_bound_tenant_stays_where_it_is_whoever_comes() {
    let scene = Scene::new();
    assert_eq!(scene.stage.visitor().consent(&scene.contosos_link, ADMIN).status, 200);
    scene.stage.drain();
    let versions = scene.stage.state_versions();
    // Even the tenant's own administrator cannot move it by a link of another account.
    let page = scene.stage.visitor().consent(&scene.mallorys_link, ADMIN);
    assert_eq!(page.status, 409);
    let (mut mallory, sign_in) = scene.second_leg();
    let back = mallory.sign_in(&sign_in, USER);
    assert_eq!(mallory.get(&back).status, 403);
    assert_eq!(scene.stage.state_versions(), versions, "nothing was written");
}

#[test]
fn two_administrators_at_once_make_one_connection() {
    let scene = Scene::new();
    let other = "a0000000-0000-4000-8000-0000000ad666";
    scene.stage.tenant(|tenant| tenant.users.push(Stage::admin(other)));
    let (mut first, mut second) = (scene.stage.visitor(), scene.stage.visitor());
    let one = first.reach_sign_in(&scene.contosos_link, ADMIN);
    let two = second.reach_sign_in(&scene.contosos_link, other);
    let (one, two) = (first.sign_in(&one, ADMIN), second.sign_in(&two, other));
    assert_eq!(first.get(&one).status, 200);
    assert_eq!(second.get(&two).status, 410, "the first one has used the invitation");
    assert_eq!(scene.stage.view().consent.unwrap().oid, ADMIN);
}

#[test]
fn one_person_with_two_invitations_cannot_have_both() {
    let scene = Scene::new();
    let (mut first, mut second) = (scene.stage.visitor(), scene.stage.visitor());
    let one = first.reach_sign_in(&scene.contosos_link, ADMIN);
    let two = second.reach_sign_in(&scene.mallorys_link, ADMIN);
    let (one, two) = (first.sign_in(&one, ADMIN), second.sign_in(&two, ADMIN));
    assert_eq!((first.get(&one).status, second.get(&two).status), (200, 409));
    assert_eq!(scene.stage.view().account, "Contoso");
}

#[test]
fn a_user_of_unknown_standing_squats_nothing() {
    let scene = Scene::new();
    let no_wids = |scene: &Scene, on| {
        let claims = if on { GroupMembershipClaims::None } else { GroupMembershipClaims::DirectoryRole };
        scene.stage.world(|world| world.registration(CLIENT).group_membership_claims = claims);
    };
    let claim = |scene: &Scene, link: &str| {
        no_wids(scene, true);
        let status = scene.claim(link, USER);
        no_wids(scene, false);
        status
    };
    // Such a claim waits for an operator, blocks nobody and uses up nobody's link, not even the one it came by.
    assert_eq!(claim(&scene, &scene.mallorys_link), 400);
    assert_eq!(claim(&scene, &scene.contosos_link), 400);
    assert_eq!(scene.stage.view().state, State::Confirming);
    let page = scene.stage.visitor().consent(&scene.contosos_link, ADMIN);
    assert_eq!((page.status, scene.stage.view().account.as_str()), (200, "Contoso"));
    // And what an administrator has claimed, it cannot take out of their hands.
    let scene = Scene::new();
    scene.stage.tenant(|tenant| tenant.consents.clear());
    scene.stage.world(|world| world.consent_propagation.roles = minutes(30));
    let page = scene.stage.visitor().consent(&scene.contosos_link, ADMIN);
    assert_eq!((page.status, scene.stage.view().state), (200, State::Propagating));
    assert_eq!(claim(&scene, &scene.mallorys_link), 409);
    assert_eq!((scene.stage.view().account.as_str(), scene.stage.view().state), ("Contoso", State::Propagating));
}

#[test]
fn a_user_of_unknown_standing_stops_nothing_that_an_administrator_began() {
    for (account, status) in [("Contoso", 200), ("Mallory", 409)] {
        let scene = Scene::new();
        scene.stage.tenant(|tenant| tenant.consents.clear());
        scene.stage.world(|world| world.consent_propagation.roles = minutes(20));
        scene.stage.visitor().consent(&scene.contosos_link, ADMIN);
        scene.stage.world(|world| world.registration(CLIENT).group_membership_claims = GroupMembershipClaims::None);
        let link = scene.stage.invite(account);
        assert_eq!(scene.claim(&link, USER), status, "{account}");
        scene.stage.ticks(25);
        let view = scene.stage.view();
        assert_eq!((view.state, view.account.as_str()), (State::Active, "Contoso"));
        assert_eq!(view.consent.unwrap().oid, ADMIN, "the evidence is the administrator's");
    }
}

#[test]
fn evidence_does_not_grow_with_the_patience_of_one_user() {
    let scene = Scene::new();
    scene.stage.world(|world| world.registration(CLIENT).group_membership_claims = GroupMembershipClaims::None);
    for _ in 0..30 {
        assert_eq!(scene.claim(&scene.mallorys_link, USER), 400);
    }
    assert_eq!(scene.stage.consents(TENANT).len(), 1);
    for _ in 0..30 {
        let link = scene.stage.invite("Mallory");
        assert_eq!(scene.claim(&link, USER), 400);
    }
    assert!(scene.stage.consents(TENANT).len() <= 10);
}

#[test]
fn an_operator_vouches_for_the_one_who_came_for_their_account() {
    let scene = Scene::new();
    scene.stage.world(|world| world.registration(CLIENT).group_membership_claims = GroupMembershipClaims::None);
    assert_eq!(scene.claim(&scene.contosos_link, ADMIN), 400);
    assert_eq!(scene.claim(&scene.mallorys_link, USER), 400);
    scene.stage.connect(TENANT).unwrap();
    let statuses = [&scene.contosos_link, &scene.mallorys_link].map(|link| scene.stage.visitor().get(link).status);
    assert_eq!(statuses, [410, 200], "Contoso's link is used up, nobody else's");
    let consent = scene.stage.view().consent.unwrap();
    assert_eq!((consent.oid.as_str(), consent.account.as_str()), (ADMIN, "Contoso"));
    let vouched: Vec<bool> = scene.stage.consents(TENANT).iter().map(|consent| consent.vouched_at.is_some()).collect();
    assert_eq!(vouched, [true, false], "for the one and not for the other");
}

#[test]
fn only_what_leads_to_a_connection_spends_the_link() {
    let scene = Scene::new();
    // Somebody who has got hold of Contoso's link signs in at a tenant of their own, without Defender.
    scene.stage.world(|world| world.tenant(MALLORYS_TENANT).unwrap().licence = Licence::AccountInactive);
    let mut mallory = scene.mallory();
    assert_eq!(mallory.consent(&scene.contosos_link, MALLORY).status, 400);
    scene.assert_unharmed("a link burnt elsewhere");
}

#[test]
fn a_second_customer_does_not_look_like_the_first() {
    let stage = Stage::unapproved();
    stage.visitor().consent(&stage.invite("Contoso"), ADMIN);
    assert_eq!(stage.visitor().consent(&stage.invite("contoso"), ADMIN).status, 200, "the same customer");
    assert_eq!(stage.view().account, "Contoso");
    assert_eq!(stage.connect_as("CONTOSO"), Ok(()), "nor for an operator who types it in another way");
    assert!(stage.connect_as("Fabrikam").is_err());
    assert_eq!(stage.view().account, "Contoso");
    for name in ["\u{200b}", "Con\u{202e}oso", "Contoso\u{200b}", "a\nb", ""] {
        assert!(stage.try_invite(name, None).is_err(), "{name:?}");
    }
}

#[test]
fn a_connection_that_works_is_not_harmed_by_a_user_of_unknown_standing() {
    let scene = Scene::new();
    scene.stage.visitor().consent(&scene.contosos_link, ADMIN);
    scene.stage.drain();
    scene.stage.world(|world| world.registration(CLIENT).group_membership_claims = GroupMembershipClaims::None);
    let link = scene.stage.invite("Contoso");
    let mut user = scene.stage.visitor();
    let state = parameter(&user.start(&link), "state");
    let sign_in = user.get(&first_return(TENANT, &state)).location;
    let back = user.sign_in(&sign_in, USER);
    assert_eq!(user.get(&back).status, 200);
    assert_eq!(scene.stage.view().state, State::Active, "access is proven, and it was vouched for before");
}

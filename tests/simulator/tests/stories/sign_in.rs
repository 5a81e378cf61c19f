//! Stories of signing in: codes, what they buy and when they do not, and id_tokens true and false.

use crate::stage::*;
use aws_lc_rs::hmac;
use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use simulator::{AdminRole, Choice, Fault, ForgedWith, GroupMembershipClaims, Request, Response, Route, Simulator};

fn text(response: Response) -> String {
    String::from_utf8(response.body.collect_bytes()).unwrap()
}

/// Opens a page of Entra in a browser where this user is signed in.
fn visit(simulator: &Simulator, url: &str, user: &str) -> Response {
    let cookie = simulator.session(user);
    simulator.handle(Request::get(url.split_once(LOGIN).unwrap().1).with("Cookie", &cookie))
}

fn code_of(simulator: &Simulator, user: &str) -> String {
    answer(&simulator.approve(&sign_in_link(TENANT, &[]), user))["code"].clone()
}

fn id_token(response: Response) -> Value {
    payload(body(response)["id_token"].as_str().unwrap())
}

#[test]
fn who_has_just_approved_signs_in_without_a_question() {
    let simulator = people();
    let target = consent_link().split_once(LOGIN).unwrap().1.to_owned();
    let form = format!("user={ADMIN}&action=approve");
    let approved = simulator.handle(Request::post(&target, "application/x-www-form-urlencoded", form));
    let cookie = approved.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let link = sign_in_link(TENANT, &[]);
    let silent = simulator.handle(Request::get(link.split_once(LOGIN).unwrap().1).with("Cookie", &cookie));
    assert_eq!(silent.status, 302);
    let back = answer(silent.header("location").unwrap());
    assert_eq!(names(&back), ["code", "session_state", "state"]);
    let redeemed = redeem(&simulator, TENANT, &back["code"], &[]);
    assert_eq!(redeemed.status, 200);
    let redeemed = body(redeemed);
    assert_eq!((&redeemed["scope"], &redeemed["expires_in"]), (&json!("openid profile"), &json!(3599)));
    assert!(redeemed["access_token"].is_string() && redeemed.get("refresh_token").is_none());
    let claims = payload(redeemed["id_token"].as_str().unwrap());
    assert_eq!(claims["iss"], format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    assert_eq!((&claims["aud"], &claims["tid"]), (&json!(CLIENT), &json!(TENANT)));
    assert_eq!((&claims["oid"], &claims["nonce"]), (&json!(ADMIN), &json!("n-1")));
    assert_eq!((&claims["name"], &claims["ver"]), (&json!("Adele"), &json!("2.0")));
    assert_eq!(claims["wids"], json!([AdminRole::Global.template_id(), "b79fbf4d-3ef9-4689-8143-76b194e85509"]));
    assert_eq!(claims.get("idp"), None);
    assert_eq!(claims["nbf"], noon().as_second() - 300);
    assert!(simulator.refusals().is_empty());
}

#[test]
fn a_user_signs_in_on_the_page_and_is_remembered() {
    let simulator = people();
    let link = sign_in_link(TENANT, &[("login_hint", "omar@contoso.example")]);
    let page = text(visit(&simulator, &link, "nobody"));
    assert!(page.contains(&format!("value=\"{ORDINARY}\" required checked")) && page.contains("Grete"));
    let back = answer(&simulator.approve(&link, ORDINARY));
    assert_eq!(back["state"], "st");
    // An ordinary user is one, and the application has no role for it.
    assert_eq!(
        id_token(redeem(&simulator, TENANT, &back["code"], &[]))["wids"],
        json!(["b79fbf4d-3ef9-4689-8143-76b194e85509"])
    );
    assert_eq!(payload(&bearer(&simulator)).get("roles"), None);
    assert_eq!(visit(&simulator, &link, ORDINARY).status, 302);
    // The consent was this user's own.
    assert_eq!(visit(&simulator, &link, ADMIN).status, 200);
}

#[test]
fn only_the_manifest_puts_directory_roles_into_a_token_and_only_a_profile_names_the_user() {
    let simulator = people();
    simulator.world(|world| {
        world.registration(CLIENT).group_membership_claims = GroupMembershipClaims::None;
    });
    let claims = id_token(redeem(&simulator, TENANT, &code_of(&simulator, ADMIN), &[]));
    assert_eq!(claims.get("wids"), None);
    let link = sign_in_link(TENANT, &[("scope", "openid"), ("nonce", "")]);
    let code = answer(&simulator.approve(&link, ADMIN))["code"].clone();
    let claims = id_token(redeem(&simulator, TENANT, &code, &[("scope", "")]));
    for claim in ["oid", "name", "preferred_username", "nonce"] {
        assert_eq!(claims.get(claim), None, "{claim}");
    }
    assert!(claims["sub"].is_string() && claims["tid"].is_string());
}

#[test]
fn a_guest_brings_the_name_of_another_house() {
    let simulator = people();
    let claims = id_token(redeem(&simulator, TENANT, &code_of(&simulator, GUEST), &[]));
    assert_eq!(claims["tid"], TENANT);
    assert_eq!(claims["idp"], format!("https://sts.windows.net/{OTHER}/"));
    // Somebody who was never invited is told so by Microsoft, and the application hears nothing.
    let stranger = simulator.choose(&sign_in_link(TENANT, &[]), Choice::Approve, Some(STRANGER));
    assert_eq!((stranger.status, stranger.header("location")), (400, None));
    assert!(text(stranger).contains("AADSTS50020"));
    let anywhere = answer(&simulator.approve(&sign_in_link("organizations", &[]), STRANGER));
    assert_eq!(id_token(redeem(&simulator, "organizations", &anywhere["code"], &[]))["tid"], OTHER);
}

#[test]
fn a_code_buys_once_and_not_for_long() {
    let simulator = people();
    let first = code_of(&simulator, ADMIN);
    assert_eq!(code(redeem(&simulator, TENANT, &first, &[])), 0);
    let again = redeem(&simulator, TENANT, &first, &[]);
    assert_eq!(again.status, 400);
    let again = body(again);
    assert_eq!((&again["error"], &again["error_codes"][0]), (&json!("invalid_grant"), &json!(54005)));
    let late = code_of(&simulator, ADMIN);
    let in_time = code_of(&simulator, ADMIN);
    simulator.advance(seconds(599));
    assert_eq!(code(redeem(&simulator, TENANT, &in_time, &[])), 0);
    simulator.advance(seconds(1));
    assert_eq!(code(redeem(&simulator, TENANT, &late, &[])), 70008);
}

#[test]
fn every_part_of_a_redemption_is_judged_and_a_failed_one_spends_nothing() {
    let simulator = people();
    let granted = code_of(&simulator, ADMIN);
    let ask = |tenant: &str, changed: &[(&str, &str)]| {
        let body = body(redeem(&simulator, tenant, &granted, changed));
        (body["error"].as_str().unwrap().to_owned(), body["error_codes"][0].as_i64().unwrap())
    };
    assert_eq!(ask(OTHER, &[]), ("invalid_grant".into(), 700005));
    assert_eq!(ask(TENANT, &[("code", "1.mine")]), ("invalid_grant".into(), 70000));
    assert_eq!(ask(TENANT, &[("code", "")]), ("invalid_request".into(), 900144));
    assert_eq!(ask(TENANT, &[("code_verifier", "another")]), ("invalid_grant".into(), 501481));
    assert_eq!(ask(TENANT, &[("code_verifier", "")]), ("invalid_grant".into(), 501481));
    let elsewhere = [("redirect_uri", "https://evil.example/")];
    assert_eq!(ask(TENANT, &elsewhere), ("invalid_grant".into(), 500112));
    assert_eq!(ask(TENANT, &[("redirect_uri", "")]), ("invalid_grant".into(), 500112));
    assert_eq!(ask(TENANT, &[("client_secret", "wrong")]), ("invalid_client".into(), 7000215));
    assert_eq!(ask(TENANT, &[("client_secret", "")]), ("invalid_client".into(), 7000218));
    assert_eq!(ask(TENANT, &[("client_id", OTHER)]), ("unauthorized_client".into(), 700016));
    assert_eq!(ask("00000000-0000-4000-8000-00000000ffff", &[]), ("invalid_request".into(), 90002));
    assert_eq!(code(redeem(&simulator, TENANT, &granted, &[])), 0);
    assert!(simulator.refusals().is_empty());
}

#[test]
fn what_a_redemption_is_not_known_to_give_is_not_guessed() {
    let simulator = people();
    let granted = code_of(&simulator, ADMIN);
    let ask = |tenant: &str, changed: &[(&str, &str)]| redeem(&simulator, tenant, &granted, changed).status;
    // The address of the sign-in named the tenant; that of the redemption does not.
    assert_eq!(ask("organizations", &[]), 501);
    assert_eq!(ask(TENANT, &[("scope", "profile")]), 501);
    assert_eq!(ask(TENANT, &[("scope", "openid profile email")]), 501);
    assert_eq!(code(redeem(&simulator, TENANT, &granted, &[("resource", "https://graph.microsoft.com")])), 901002);
    assert_eq!(ask(TENANT, &[("scope", "profile openid")]), 200);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, b"too-short");
    let link = sign_in_link(TENANT, &[("code_challenge", &URL_SAFE_NO_PAD.encode(digest))]);
    let weak = answer(&simulator.approve(&link, ADMIN))["code"].clone();
    assert_eq!(redeem(&simulator, TENANT, &weak, &[("code_verifier", "too-short")]).status, 501);
    assert_eq!(simulator.refusals().len(), 4);
}

#[test]
fn a_tenant_that_is_gone_signs_nobody_in() {
    let simulator = people();
    let link = sign_in_link("organizations", &[]);
    let code = answer(&simulator.approve(&link, ADMIN))["code"].clone();
    assert_eq!(visit(&simulator, &link, ADMIN).status, 302);
    let cookie = simulator.session(ADMIN);
    simulator.world(|world| world.tenant(TENANT).unwrap().deleted = true);
    let target = link.split_once(LOGIN).unwrap().1;
    assert_eq!(simulator.handle(Request::get(target).with("Cookie", &cookie)).status, 200);
    assert_eq!(body(redeem(&simulator, "organizations", &code, &[]))["error_codes"][0], 5000224);
}

#[test]
fn a_code_is_the_client_s_own() {
    let simulator = people();
    let granted = code_of(&simulator, ADMIN);
    simulator.world(|world| {
        let mut other = world.application(CLIENT).unwrap().clone();
        other.client_id = OTHER.into();
        world.add_application(other);
    });
    assert_eq!(code(redeem(&simulator, TENANT, &granted, &[("client_id", OTHER)])), 70000);
    assert_eq!(code(redeem(&simulator, TENANT, &granted, &[])), 0);
}

#[test]
fn the_answer_may_come_as_a_form() {
    let simulator = people();
    let link = sign_in_link(TENANT, &[("response_mode", "form_post"), ("state", "\"><b>")]);
    let response = simulator.choose(&link, Choice::Approve, Some(ADMIN));
    assert_eq!((response.status, response.header("location")), (200, None));
    let page = text(response);
    assert!(page.contains(&format!("<form method=\"post\" action=\"{CALLBACK}\">")));
    assert!(page.contains("name=\"code\"") && page.contains("value=\"&quot;&gt;&lt;b&gt;\""));
}

#[test]
fn without_a_prompt_there_is_a_code_or_an_error() {
    let simulator = people();
    let link = sign_in_link(TENANT, &[("prompt", "none")]);
    let error = |response: Response| {
        let answer = answer(response.header("location").unwrap());
        (answer["error"].clone(), answer["error_description"].split(':').next().unwrap().to_owned())
    };
    assert_eq!(error(visit(&simulator, &link, "nobody")), ("login_required".into(), "AADSTS50058".into()));
    assert_eq!(error(visit(&simulator, &link, ADMIN)), ("interaction_required".into(), "AADSTS65001".into()));
    simulator.approve(&consent_link(), ADMIN);
    assert!(answer(visit(&simulator, &link, ORDINARY).header("location").unwrap()).contains_key("code"));
    // A session in another tenant is no session here.
    assert_eq!(error(visit(&simulator, &link, STRANGER)).0, "login_required");
}

#[test]
fn a_prompt_asks_even_who_need_not_be_asked() {
    let simulator = people();
    simulator.approve(&consent_link(), ADMIN);
    for prompt in ["login", "select_account", "consent"] {
        assert_eq!(visit(&simulator, &sign_in_link(TENANT, &[("prompt", prompt)]), ADMIN).status, 200, "{prompt}");
    }
    let unknown = visit(&simulator, &sign_in_link(TENANT, &[("prompt", "admin_consent")]), ADMIN);
    assert_eq!(answer(unknown.header("location").unwrap())["error"], "invalid_request");
}

#[test]
fn a_sign_in_is_refused_cancelled_or_forbidden() {
    let simulator = people();
    let link = sign_in_link(TENANT, &[]);
    let declined = answer(&simulator.decline(&link, ADMIN));
    assert_eq!(names(&declined), ["error", "error_description", "error_uri", "state"]);
    assert!(declined["error_description"].starts_with("AADSTS65004: "));
    assert_eq!(names(&answer(&simulator.cancel(&link))), ["error", "error_subcode", "state"]);
    simulator.world(|world| world.tenant(TENANT).unwrap().users_may_consent = false);
    assert!(answer(&simulator.approve(&link, ORDINARY))["error_description"].starts_with("AADSTS90094: "));
    assert!(answer(&simulator.approve(&link, ADMIN)).contains_key("code"));
    simulator.world(|world| world.tenant(TENANT).unwrap().consents[0].enabled = false);
    assert!(answer(&simulator.approve(&link, ADMIN))["error_description"].starts_with("AADSTS7000112: "));
}

#[test]
fn a_bad_request_is_told_where_it_can_be() {
    let simulator = people();
    let error = |changed: &[(&str, &str)]| {
        let answer = answer(&simulator.approve(&sign_in_link(TENANT, changed), ADMIN));
        (answer["error"].clone(), answer["error_description"].split(':').next().unwrap().to_owned())
    };
    assert_eq!(error(&[("scope", "")]), ("invalid_request".into(), "AADSTS900144".into()));
    assert_eq!(error(&[("response_type", "")]), ("invalid_request".into(), "AADSTS900144".into()));
    let implicit = error(&[("response_type", "id_token")]);
    assert_eq!(implicit, ("unsupported_response_type".into(), "AADSTS700054".into()));
    assert_eq!(error(&[("code_challenge", "short")]), ("invalid_request".into(), "AADSTS501491".into()));
    let elsewhere = sign_in_link(TENANT, &[("redirect_uri", "https://evil.example/")]);
    let page = simulator.choose(&elsewhere, Choice::Approve, Some(ADMIN));
    assert_eq!((page.status, page.header("location")), (400, None));
    assert!(text(page).contains("AADSTS50011"));
    assert!(simulator.refusals().is_empty());
    for changed in [
        ("response_mode", "fragment"),
        ("response_type", "code token"),
        ("code_challenge_method", "plain"),
        ("scope", "openid offline_access"),
        ("claims", "{}"),
    ] {
        let simulator = people();
        assert_eq!(simulator.choose(&sign_in_link(TENANT, &[changed]), Choice::Approve, Some(ADMIN)).status, 501);
        assert_eq!(simulator.refusals().len(), 1, "{changed:?}");
    }
}

#[test]
fn the_link_the_industry_mails_around_consents_and_names_no_tenant() {
    let link = page(
        "common/oauth2/authorize",
        &[("prompt", "consent"), ("client_id", CLIENT), ("response_type", "code"), ("sso_reload", "true")],
    );
    let simulator = people();
    let back = answer(&simulator.approve(&link, ADMIN));
    assert_eq!(names(&back), ["admin_consent", "code", "session_state"]);
    assert_eq!(payload(&bearer(&simulator))["roles"][0], "Alert.Read.All");
    // The tenant is learnt by redeeming the code.
    let form = format!(
        "client_id={CLIENT}&grant_type=authorization_code&code={}&client_secret={}&redirect_uri={}",
        back["code"],
        SECRET.replace(' ', "+"),
        CALLBACK
    );
    let request = Request::post("/common/oauth2/token", "application/x-www-form-urlencoded", form);
    let redeemed = body(simulator.handle(request));
    assert_eq!(redeemed["expires_in"], "3599");
    let claims = payload(redeemed["id_token"].as_str().unwrap());
    assert_eq!((&claims["tid"], &claims["ver"]), (&json!(TENANT), &json!("1.0")));
    assert_eq!(claims["iss"], format!("https://sts.windows.net/{TENANT}/"));
    let simulator = people();
    let refused = answer(&simulator.approve(&link, ORDINARY));
    assert_eq!(names(&refused), ["error", "error_description"]);
    assert!(refused["error_description"].starts_with("AADSTS90094: "));
    assert_eq!(answer(&simulator.decline(&link, ADMIN))["error"], "access_denied");
    let bad = answer(&simulator.approve(&link.replace("prompt=consent", "prompt=maybe"), ADMIN));
    assert_eq!(names(&bad), ["error", "error_description"]);
    assert_eq!(code(simulator.handle(with_secret(SECRET))), 700016);
    assert!(simulator.refusals().is_empty());
}

#[test]
fn a_link_without_an_address_leads_to_any_registered_one() {
    let simulator = people();
    simulator.world(|world| world.registration(CLIENT).redirect_uris.push("https://portal.azure.com".into()));
    let link = page("common/oauth2/authorize", &[("client_id", CLIENT), ("response_type", "code")]);
    let seen: std::collections::BTreeSet<String> =
        (0..20).map(|_| simulator.approve(&link, ADMIN).split('?').next().unwrap().to_owned()).collect();
    assert_eq!(seen.len(), 2);
    simulator.world(|world| world.registration(CLIENT).redirect_uris.clear());
    assert!(text(simulator.choose(&link, Choice::Approve, Some(ADMIN))).contains("AADSTS500113"));
}

/// Verifies a token with the key its header names, as the key set has it.
fn verified_with(simulator: &Simulator, token: &str) -> Option<Value> {
    let decode = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
    let keys = body(simulator.handle(Request::get(&format!("/{TENANT}/discovery/v2.0/keys"))));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let header: Value = serde_json::from_slice(&decode(signed.split('.').next().unwrap())).unwrap();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"])?.clone();
    let public =
        RsaPublicKeyComponents { n: decode(key["n"].as_str().unwrap()), e: decode(key["e"].as_str().unwrap()) };
    let good = public.verify(&RSA_PKCS1_2048_8192_SHA256, signed.as_bytes(), &decode(signature)).is_ok();
    (good && header["alg"] == "RS256").then(|| key["issuer"].clone())
}

#[test]
fn a_forged_token_is_false_in_the_one_way_it_says() {
    let simulator = people();
    let claims = simulator.id_token_claims(CLIENT, ADMIN, "n-1");
    assert_eq!((&claims["oid"], &claims["nonce"]), (&json!(ADMIN), &json!("n-1")));
    let forge = |with| simulator.forge_id_token(claims.clone(), with);
    let own = json!(format!("https://login.microsoftonline.com/{TENANT}/v2.0"));
    assert_eq!(verified_with(&simulator, &forge(ForgedWith::EntraKey)), Some(own));
    let personal = "https://login.microsoftonline.com/9188040d-6c67-4c5b-b112-36a304b66dad/v2.0";
    assert_eq!(verified_with(&simulator, &forge(ForgedWith::KeyOfAnotherIssuer)), Some(json!(personal)));
    for with in [
        ForgedWith::UnknownKey,
        ForgedWith::UnknownKeyNamedAsEntras,
        ForgedWith::AlgNone,
        ForgedWith::Hs256WithPublicKey,
    ] {
        assert_eq!(payload(&forge(with)), claims, "{with:?}");
        assert_eq!(verified_with(&simulator, &forge(with)), None, "{with:?}");
    }
    assert!(forge(ForgedWith::AlgNone).ends_with('.'));
    // The HMAC is one that a careless verifier would compute from the published certificate.
    let token = forge(ForgedWith::Hs256WithPublicKey);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(signature).unwrap().len(), 32);
    let empty = hmac::Key::new(hmac::HMAC_SHA256, b"");
    assert!(hmac::verify(&empty, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).unwrap()).is_err());
}

#[test]
fn a_false_token_is_handed_out_for_one_code() {
    let simulator = people();
    let (first, second) = (code_of(&simulator, ADMIN), code_of(&simulator, ADMIN));
    let forged = simulator.forge_id_token(json!({"tid": OTHER}), ForgedWith::UnknownKey);
    simulator.world(|world| world.next_id_token = Some(forged.clone()));
    assert_eq!(code(redeem(&simulator, TENANT, &first, &[("code_verifier", "wrong")])), 501481);
    assert_eq!(body(redeem(&simulator, TENANT, &first, &[]))["id_token"], forged);
    assert_eq!(id_token(redeem(&simulator, TENANT, &second, &[]))["tid"], TENANT);
}

#[test]
fn a_scripted_error_of_the_sign_in_comes_back_to_the_application() {
    let simulator = people();
    simulator.world(|world| world.script(Route::Authorize, [Fault::Aadsts(50196), Fault::Status(500)]));
    let answer = answer(&simulator.approve(&sign_in_link(TENANT, &[]), ADMIN));
    assert!(answer["error_description"].starts_with("AADSTS50196: "));
    assert_eq!(simulator.choose(&sign_in_link(TENANT, &[]), Choice::Approve, Some(ADMIN)).status, 500);
}

#[test]
fn codes_are_not_shown() {
    let simulator = people();
    let code = code_of(&simulator, ADMIN);
    redeem(&simulator, TENANT, &code, &[]);
    assert!(!format!("{:?} {simulator:?}", simulator.log()).contains(&code));
}

//! The applications: what belongs to which, who signs in, and what nobody destroys by mistake.

use hcl::Expression;
use serde_json::json;

use crate::{
    module::{MODULES, Module, argument, blocks, label_texts},
    plan::{KINDS, Plan, assert_rows},
};

const REGISTRATION: &str = "azuread_application_registration";

/// The parts of every module with each kind of credential, and the application of each.
fn parts(name: &str, credential: &str) -> Vec<(String, String)> {
    let applications: &[&str] = if name == "provider" { &["app", "console"] } else { &["own"] };
    let fixed: &[(&str, &str)] = if name == "provider" {
        &[
            ("api_access.console", "console"),
            ("api_access.defender", "app"),
            ("api_access.graph", "app"),
            ("app_role.operator", "console"),
            ("app_role.reader", "console"),
            ("identifier_uri.console", "console"),
            ("owner.itself[\"app\"]", "app"),
            ("owner.itself[\"console\"]", "console"),
            ("redirect_uris.app", "app"),
            ("redirect_uris.console", "console"),
        ]
    } else {
        &[("api_access.defender", "own"), ("owner.itself[\"itself\"]", "own")]
    };
    let first = |kind: &str| -> Vec<(String, String)> {
        let key = |own: &str| if name == "provider" { own.to_owned() } else { "first".to_owned() };
        applications.iter().map(|own| (format!("{kind}.first[\"{}\"]", key(own)), (*own).to_owned())).collect()
    };
    let mut parts: Vec<(String, String)> = match credential {
        "federated" if name == "provider" => {
            let stages = |own| ["production", "trial"].map(|stage| (format!("{own}-{stage}"), own));
            let keys = ["app", "console"].into_iter().flat_map(stages);
            keys.map(|(key, own)| (format!("federated_identity_credential.stage[\"{key}\"]"), own.to_owned())).collect()
        }
        "federated" => vec![("federated_identity_credential.provider[\"provider\"]".to_owned(), "own".to_owned())],
        "certificate" => first("certificate"),
        "client_secret" => first("password"),
        _ => Vec::new(),
    };
    parts.extend(fixed.iter().map(|(part, own)| ((*part).to_owned(), (*own).to_owned())));
    parts
        .into_iter()
        .map(|(part, own)| (format!("azuread_application_{part}"), format!("<{REGISTRATION}.{own}.id>")))
        .collect()
}

#[test]
fn every_part_belongs_to_its_own_application_and_a_credential_is_made_for_each() {
    for name in MODULES {
        for credential in KINDS {
            let plan = Plan::of(name, &json!({"credential": credential, "renews_itself": true}));
            let what = format!("part, application: {name}, {credential}");
            assert_rows(&what, plan.with("application_id"), parts(name, credential));
        }
    }
}

#[test]
fn an_application_is_closed_to_whoever_has_no_business_with_it() {
    let every = [("provider", "app", false), ("provider", "console", true), ("tenant", "own", true)];
    for (name, application, closed) in every {
        let plan = Plan::of(name, &json!({}));
        let principal = plan.one(&format!("azuread_service_principal.{application}"));
        assert_eq!(principal["client_id"], format!("<{REGISTRATION}.{application}.client_id>"));
        assert_eq!(principal["app_role_assignment_required"], closed, "{application}: app_role_assignment_required");
        let audience = if application == "app" { "AzureADMultipleOrgs" } else { "AzureADMyOrg" };
        let registration = plan.one(&format!("{REGISTRATION}.{application}"));
        assert_eq!(registration["sign_in_audience"], audience, "{application}: sign_in_audience");
        for token in ["access", "id"] {
            let implicit = &registration[format!("implicit_{token}_token_issuance_enabled")];
            assert_eq!(implicit, false, "{application}: no {token} token in an address bar");
        }
    }
    for name in MODULES {
        let (plan, expected) = (Plan::of(name, &json!({})), every.iter().filter(|(of, ..)| *of == name).count());
        assert_eq!(plan.all(REGISTRATION).count(), expected, "{name}");
        assert_eq!(plan.all("azuread_service_principal").count(), expected, "{name}");
    }
}

#[test]
fn browsers_come_back_where_the_product_listens() {
    let plan = Plan::of("provider", &json!({}));
    let expected = [("app", shared::consent::CALLBACK), ("console", shared::console::CALLBACK)].map(|(own, path)| {
        let uris = json!([format!("https://muster.example.com/{path}")]);
        [format!("<{REGISTRATION}.{own}.id>"), "Web".to_owned(), uris.to_string()]
    });
    let given = plan.table("azuread_application_redirect_uris", ["application_id", "type", "redirect_uris"]);
    assert_rows("application, type, redirect_uris", given, expected);
    let tenant = Plan::of("tenant", &json!({}));
    assert_eq!(tenant.all("azuread_application_redirect_uris").count(), 0, "nobody signs in to a customer's own");
}

#[test]
fn an_administrator_is_told_from_a_user_and_the_console_knows_its_tokens() {
    let plan = Plan::of("provider", &json!({}));
    let app = plan.one("azuread_application_registration.app");
    assert_eq!(app["group_membership_claims"], json!(["DirectoryRole"]));
    let console = plan.one("azuread_application_registration.console");
    assert_eq!(console["requested_access_token_version"], 2);
    let uri = &plan.one("azuread_application_identifier_uri.console")["identifier_uri"];
    let expected = "api://<azuread_application_registration.console.client_id>";
    assert_eq!(uri, expected, "as the product expects of a token of the old kind");
}

/// An application that customers have approved, and credentials that somebody may live by.
#[test]
fn what_cannot_be_made_again_is_not_destroyed() {
    let credentials = ["azuread_application_certificate.first", "azuread_application_password.first"];
    for (name, expected) in [
        ("provider", [&credentials[..], &["azuread_application_registration.app"]].concat()),
        ("tenant", credentials.into()),
    ] {
        let module = Module::read(name);
        let protected = module.all("resource").filter(|block| {
            let mut lifecycles = blocks(&block.body, "lifecycle");
            lifecycles.any(|of| argument(&of.body, "prevent_destroy") == Some(&Expression::Bool(true)))
        });
        let protected = protected.map(|block| label_texts(block).join("."));
        assert_rows(&format!("{name}: prevent_destroy"), protected, expected.into_iter().map(str::to_owned));
    }
}

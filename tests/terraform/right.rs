//! Who is given which right in Entra: every assignment, permission and owner, for whatever one may choose.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use shared::{
    console::Role,
    microsoft::{graph::OWN_CREDENTIALS_ROLE, token::SIGN_IN_SCOPE},
    tenant::Feed,
};

use crate::{
    module::{MODULES, Module, label_texts},
    plan::{KINDS, Plan, assert_rows},
};

const DEFENDER: &str = "data.azuread_service_principal.defender";
const GRAPH: &str = "data.azuread_service_principal.graph";

/// Whatever a right may depend on.
fn choices() -> impl Iterator<Item = (bool, bool, Value)> {
    let every = |renews| [true, false].into_iter().map(move |machines| (renews, machines));
    [true, false].into_iter().flat_map(every).flat_map(|(renews, machines)| {
        KINDS.into_iter().map(move |credential| {
            (renews, machines, json!({"credential": credential, "renews_itself": renews, "machines": machines}))
        })
    })
}

/// The one right that each feed needs.
fn feed_roles(machines: bool) -> Vec<&'static str> {
    let feeds = Feed::ALL.into_iter().filter(|feed| machines || *feed != Feed::Machines);
    feeds.filter_map(|feed| feed.roles().first().copied()).collect()
}

fn role_of(service: &str, role: &str) -> String {
    format!("<{service}.app_role_ids[\"{role}\"]>")
}

fn object_id(service: &str) -> String {
    format!("<{service}.object_id>")
}

#[test]
fn an_application_gets_its_feeds_the_right_to_renew_itself_if_it_may_and_no_other_role() {
    for (renews, machines, choice) in choices() {
        for name in MODULES {
            let plan = Plan::of(name, &choice);
            let mut expected = Vec::new();
            let applications: &[&str] = if name == "provider" { &["app", "console"] } else { &["own"] };
            let own =
                applications.iter().map(|application| object_id(&format!("azuread_service_principal.{application}")));
            if renews {
                expected.extend(own.map(|own| [role_of(GRAPH, OWN_CREDENTIALS_ROLE), own, object_id(GRAPH)]));
            }
            if name == "provider" {
                let console = object_id("azuread_service_principal.console");
                for (role, whom) in [("operator", "olga"), ("reader", "rita")] {
                    let role = format!("<azuread_application_app_role.{role}.role_id>");
                    expected.push([role, whom.to_owned(), console.clone()]);
                }
            } else {
                // The consent of a customer who has an application of its own.
                let own = object_id("azuread_service_principal.own");
                let roles = feed_roles(machines).into_iter();
                expected.extend(roles.map(|role| [role_of(DEFENDER, role), own.clone(), object_id(DEFENDER)]));
            }
            let assigned =
                plan.table("azuread_app_role_assignment", ["app_role_id", "principal_object_id", "resource_object_id"]);
            assert_rows(&format!("role, whom to, of which service: {name} with {choice}"), assigned, expected);
        }
    }
}

#[test]
fn an_application_that_renews_itself_owns_itself_and_nothing_is_owned_otherwise() {
    for (renews, _, choice) in choices() {
        for (name, applications) in [("provider", &["app", "console"][..]), ("tenant", &["own"])] {
            let own = applications.iter().map(|own| {
                [
                    format!("<azuread_application_registration.{own}.id>"),
                    object_id(&format!("azuread_service_principal.{own}")),
                ]
            });
            let expected = if renews { own.collect() } else { Vec::new() };
            let owners =
                Plan::of(name, &choice).table("azuread_application_owner", ["application_id", "owner_object_id"]);
            assert_rows(&format!("application, owner: {name} with {choice}"), owners, expected);
        }
    }
    let renewed = Plan::of("provider", &json!({})).table("azuread_application_owner", ["application_id"]);
    assert_eq!(renewed.len(), 2, "the provider's renew themselves if nobody says otherwise");
}

#[test]
fn customers_are_asked_for_one_right_for_each_feed_and_for_no_more() {
    assert_eq!(feed_roles(true).len(), 2);
    let scopes: Vec<String> =
        SIGN_IN_SCOPE.split(' ').map(|scope| format!("<{GRAPH}.oauth2_permission_scope_ids[\"{scope}\"]>")).collect();
    for (_, machines, choice) in choices() {
        let defender: Vec<String> = feed_roles(machines).into_iter().map(|role| role_of(DEFENDER, role)).collect();
        let ids = |service: &str| format!("<{service}.client_id>");
        let asks = |application: &str, service: &str, roles: &[String], scopes: &[String]| {
            let shown = |ids: &[String]| if ids.is_empty() { String::new() } else { json!(ids).to_string() };
            [format!("<azuread_application_registration.{application}.id>"), ids(service), shown(roles), shown(scopes)]
        };
        for (name, expected) in [
            (
                "provider",
                vec![
                    asks("app", DEFENDER, &defender, &[]),
                    asks("app", GRAPH, &[], &scopes),
                    asks("console", GRAPH, &[], &scopes),
                ],
            ),
            ("tenant", vec![asks("own", DEFENDER, &defender, &[])]),
        ] {
            let plan = Plan::of(name, &choice);
            let asked = plan
                .table("azuread_application_api_access", ["application_id", "api_client_id", "role_ids", "scope_ids"]);
            assert_rows(&format!("application, service, roles, scopes: {name} with {choice}"), asked, expected);
            for (service, client_id) in
                [(DEFENDER, "fc780465-2017-40d4-a0c5-307022471b92"), (GRAPH, "00000003-0000-0000-c000-000000000000")]
            {
                assert_eq!(plan.one(service)["client_id"], client_id, "{name}");
            }
        }
    }
}

#[test]
fn the_console_alone_may_sign_people_in_without_asking_them() {
    let scopes: Vec<&str> = SIGN_IN_SCOPE.split(' ').collect();
    let console = object_id("azuread_service_principal.console");
    let console = [console, object_id(GRAPH), json!(scopes).to_string(), String::new()];
    for (name, expected) in [("provider", vec![console]), ("tenant", Vec::new())] {
        let granted = Plan::of(name, &json!({})).table(
            "azuread_service_principal_delegated_permission_grant",
            ["service_principal_object_id", "resource_service_principal_object_id", "claim_values", "user_object_id"],
        );
        assert_rows(&format!("application, service, scopes, user: {name}"), granted, expected);
    }
}

#[test]
fn an_operator_is_told_from_a_reader() {
    let plan = Plan::of("provider", &json!({}));
    let mut ids = BTreeSet::new();
    for (role, known) in [("operator", Role::Operator), ("reader", Role::Reader)] {
        let given = plan.one(&format!("azuread_application_app_role.{role}"));
        assert_eq!(given["value"], known.app_role(), "{role}");
        assert_eq!(given["allowed_member_types"], json!(["User", "Application"]), "{role}");
        let id: uuid::Uuid = given["role_id"].as_str().unwrap().parse().unwrap();
        assert!(ids.insert(id), "{role} has the id of another role, so who has one has both");
    }
    assert_eq!(plan.all("azuread_application_app_role").count(), ids.len());
}

/// Each type that can give a right to anybody is counted by a test; this is all that there is beside them.
#[test]
fn no_other_kind_of_resource_gives_a_right() {
    const COUNTED: [&str; 9] = [
        "azuread_app_role_assignment",
        "azuread_application_api_access",
        "azuread_application_app_role",
        "azuread_application_certificate",
        "azuread_application_federated_identity_credential",
        "azuread_application_owner",
        "azuread_application_password",
        "azuread_service_principal_delegated_permission_grant",
        "azurerm_role_assignment",
    ];
    const HARMLESS: [&str; 10] = [
        "azuread_application_identifier_uri",
        "azuread_application_redirect_uris",
        "azuread_application_registration",
        "azuread_service_principal",
        "azurerm_eventgrid_system_topic",
        "azurerm_eventgrid_system_topic_event_subscription",
        "azurerm_resource_group",
        "azurerm_storage_account",
        "azurerm_storage_management_policy",
        "azurerm_storage_queue",
    ];
    let modules = MODULES.map(Module::read);
    let used: BTreeSet<&str> =
        modules.iter().flat_map(|module| module.all("resource")).map(|block| label_texts(block)[0]).collect();
    assert_eq!(used, COUNTED.into_iter().chain(HARMLESS).collect(), "count a new one, if it gives anybody a right");
}

#[test]
fn the_right_to_change_credentials_is_assigned_at_home_and_listed_nowhere() {
    for name in MODULES {
        let module = Module::read(name);
        let blocks = module.all("resource").chain(module.all("locals")).chain(module.all("data"));
        let naming = blocks.filter(|block| hcl::to_string(&block.body).unwrap().contains("Application.ReadWrite"));
        let naming: Vec<String> = naming.map(|block| label_texts(block).join(".")).collect();
        assert_eq!(naming, ["azuread_app_role_assignment.own_credentials"], "{name}");
    }
}

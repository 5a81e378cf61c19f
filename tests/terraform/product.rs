//! What the Terraform and the product must agree on, beside each other.

use std::collections::{BTreeMap, BTreeSet};

use hcl::{Block, Expression};
use shared::{
    cloud::Cloud,
    console::Role,
    credential::Application,
    microsoft::{graph::OWN_CREDENTIALS_ROLE, storage::CONTAINER, token::SIGN_IN_SCOPE},
    secret::Secret,
    storage::{QueueName, StorageAccount},
    tenant::Feed,
};

use crate::module::{MODULES, Module, argument, blocks, label_texts, objects_with, references, text, texts};

fn words(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn of<'a>(block: &'a Block, name: &str) -> &'a Expression {
    argument(&block.body, name).unwrap_or_else(|| panic!("{:?} lacks {name}", label_texts(block)))
}

/// What an expression refers to, as one writes it.
fn named(expression: &Expression) -> Vec<String> {
    references(expression).into_iter().map(|reference| reference.join(".")).collect()
}

/// As it is written, but for the quotes.
fn template(expression: &Expression) -> String {
    match expression {
        Expression::TemplateExpr(template) => match template.as_ref() {
            hcl::expr::TemplateExpr::QuotedString(text) => text.clone(),
            other => panic!("{other:?} is no quoted text"),
        },
        other => text(other).to_owned(),
    }
}

/// The words of a variable that is one of several.
fn choices(module: &Module, variable: &str) -> BTreeSet<String> {
    let validation = blocks(&module.one("variable", &[variable]).body, "validation").next().unwrap();
    texts(of(validation, "condition"))
}

#[test]
fn customers_are_asked_for_one_right_for_each_feed_and_for_no_more() {
    let wanted: BTreeSet<String> =
        Feed::ALL.into_iter().filter_map(|feed| feed.roles().first()).map(|role| (*role).to_owned()).collect();
    assert_eq!(wanted.len(), 2);
    for (name, scopes) in [("provider", SIGN_IN_SCOPE.split(' ').map(str::to_owned).collect()), ("tenant", words(&[]))]
    {
        let module = Module::read(name);
        assert_eq!(texts(module.local("defender_roles")), wanted, "{name}");
        let mut asked = BTreeSet::new();
        for access in module.all("resource").filter(|block| label_texts(block)[0] == "azuread_application_api_access") {
            let api = named(of(access, "api_client_id"));
            let ids = ["role_ids", "scope_ids"].into_iter().filter_map(|ids| argument(&access.body, ids));
            let text: BTreeSet<String> = ids.clone().flat_map(texts).collect();
            let from: BTreeSet<String> = ids.flat_map(named).collect();
            match api.first().map(String::as_str) {
                Some("data.azuread_service_principal.defender.client_id") => {
                    let known = ["local.defender_roles", "data.azuread_service_principal.defender.app_role_ids"];
                    assert_eq!((from, text), (words(&known), words(&[])), "by name, from the directory");
                }
                Some("data.azuread_service_principal.graph.client_id") => {
                    let known = ["data.azuread_service_principal.graph.oauth2_permission_scope_ids"];
                    assert_eq!(from, words(&known), "delegated, by name, from the directory");
                    asked.extend(text);
                }
                other => panic!("{name} asks for rights of {other:?}"),
            }
        }
        assert_eq!(asked, scopes, "{name}");
        let defender = module.one("data", &["azuread_service_principal", "defender"]);
        assert_eq!(text(of(defender, "client_id")), "fc780465-2017-40d4-a0c5-307022471b92");
    }
}

#[test]
fn the_right_to_change_credentials_is_assigned_at_home_and_listed_nowhere() {
    for name in MODULES {
        let module = Module::read(name);
        let mut where_named = BTreeSet::new();
        for block in module.all("resource").chain(module.all("locals")).chain(module.all("data")) {
            let body = hcl::to_string(&block.body).unwrap();
            if body.contains("Application.ReadWrite") {
                where_named.insert(label_texts(block).join("."));
                assert!(body.contains(&format!("\"{OWN_CREDENTIALS_ROLE}\"")), "{body}");
            }
        }
        assert_eq!(where_named, words(&["azuread_app_role_assignment.own_credentials"]), "{name}");
        let owner = module.one("resource", &["azuread_application_owner", "itself"]);
        let assigned = module.one("resource", &["azuread_app_role_assignment", "own_credentials"]);
        assert_eq!(
            named(of(owner, "owner_object_id")),
            named(of(assigned, "principal_object_id")),
            "the application owns itself"
        );
    }
    let renews = Module::read("provider");
    assert_eq!(of(renews.one("variable", &["renews_itself"]), "default"), &Expression::Bool(true));
}

#[test]
fn browsers_come_back_where_the_product_listens() {
    let module = Module::read("provider");
    for (application, path) in [("app", shared::consent::CALLBACK), ("console", shared::console::CALLBACK)] {
        let uris = module.one("resource", &["azuread_application_redirect_uris", application]);
        let Expression::Array(uris_given) = of(uris, "redirect_uris") else { panic!("{uris:?}") };
        let given: Vec<String> = uris_given.iter().map(template).collect();
        assert_eq!(given, [format!("${{var.public_url}}/{path}")]);
        assert_eq!(text(of(uris, "type")), "Web");
    }
}

#[test]
fn an_administrator_is_told_from_a_user_and_the_console_knows_its_roles() {
    let module = Module::read("provider");
    let granted = module.one("resource", &["azuread_service_principal_delegated_permission_grant", "console"]);
    let sign_in: BTreeSet<String> = SIGN_IN_SCOPE.split(' ').map(str::to_owned).collect();
    assert_eq!(texts(of(granted, "claim_values")), sign_in);
    let app = module.one("resource", &["azuread_application_registration", "app"]);
    assert_eq!(text(of(app, "sign_in_audience")), "AzureADMultipleOrgs");
    assert_eq!(texts(of(app, "group_membership_claims")), words(&["DirectoryRole"]));
    let console = module.one("resource", &["azuread_application_registration", "console"]);
    assert_eq!(text(of(console, "sign_in_audience")), "AzureADMyOrg");
    assert_eq!(of(console, "requested_access_token_version"), &Expression::from(2));
    let uri = module.one("resource", &["azuread_application_identifier_uri", "console"]);
    assert_eq!(
        template(of(uri, "identifier_uri")),
        "api://${azuread_application_registration.console.client_id}",
        "as the product expects of a token of the old kind"
    );
    let mut roles = BTreeSet::new();
    for role in module.all("resource").filter(|block| label_texts(block)[0] == "azuread_application_app_role") {
        assert_eq!(texts(of(role, "allowed_member_types")), words(&["User", "Application"]));
        assert!(text(of(role, "role_id")).parse::<uuid::Uuid>().is_ok());
        roles.insert(text(of(role, "value")).to_owned());
    }
    assert_eq!(roles, words(&[Role::Operator.app_role(), Role::Reader.app_role()]));
}

#[test]
fn what_is_put_into_the_vault_is_an_entry_that_the_product_takes() {
    let module = Module::read("provider");
    let entry = |credential: &BTreeMap<String, serde_json::Value>| {
        let entry = objects_with(module.local("entries"), "credential").remove(0);
        let keys: BTreeSet<&str> = entry.keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["client_id", "home_tenant_id", "credential"]));
        let id = "00000000-0000-4000-8000-000000000001";
        let json = serde_json::json!({"client_id": id, "home_tenant_id": id, "credential": credential});
        Application::parse(&Secret::new(json.to_string()))
    };
    let mut kinds = BTreeSet::new();
    for object in objects_with(module.local("credentials"), "kind") {
        let mut credential: BTreeMap<String, serde_json::Value> =
            object.keys().map(|key| (key.clone(), "2027-01-01T00:00:00Z".into())).collect();
        let kind = match &object["kind"] {
            Expression::String(kind) => kind.clone(),
            _ => "federated".to_owned(),
        };
        credential.insert("kind".to_owned(), kind.clone().into());
        if kind == "certificate" {
            assert!(credential.contains_key("certificate_pem"));
            assert!(entry(&credential).is_err(), "Terraform never sees the private key");
            let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
            let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
            credential.insert("certificate_pem".to_owned(), certificate.pem().into());
            credential.insert("private_key_pem".to_owned(), key.serialize_pem().into());
        }
        assert!(entry(&credential).is_ok(), "{credential:?}");
        kinds.insert(kind);
    }
    assert_eq!(kinds, words(&["federated", "certificate", "client_secret"]));
    for name in MODULES {
        kinds.insert("kept".to_owned());
        assert_eq!(choices(&Module::read(name), "credential"), kinds);
    }
    for name in ["app_entry", "console_entry"] {
        assert_eq!(of(module.one("output", &[name]), "sensitive"), &Expression::Bool(true));
    }
}

#[test]
fn another_issuers_tokens_are_for_the_audience_that_the_product_asks_for() {
    for name in MODULES {
        let module = Module::read(name);
        let Expression::Object(clouds) = module.local("clouds") else { panic!("{name}") };
        for (cloud, of_cloud) in clouds {
            let product = Cloud::ALL.into_iter().find(|known| known.name() == cloud.to_string()).unwrap();
            let given = text(&objects_with(of_cloud, "audience")[0]["audience"]).to_owned();
            assert_eq!(given, product.token_exchange(), "{cloud}");
        }
        let federated: Vec<&Block> = module
            .all("resource")
            .filter(|block| label_texts(block)[0] == "azuread_application_federated_identity_credential")
            .collect();
        assert_eq!(federated.len(), 1);
        assert_eq!(named(of(federated[0], "audiences")), ["local.clouds.audience", "var.cloud"]);
    }
}

#[test]
fn clouds_are_called_as_muster_calls_them() {
    let ours: BTreeSet<String> = Cloud::ALL.into_iter().map(|cloud| cloud.name().to_owned()).collect();
    for name in MODULES {
        let module = Module::read(name);
        assert_eq!(choices(&module, "cloud"), ours);
        let Expression::Object(clouds) = module.local("clouds") else { panic!("{name}") };
        assert_eq!(clouds.keys().map(ToString::to_string).collect::<BTreeSet<_>>(), ours);
    }
}

#[test]
fn a_customers_outputs_are_the_fields_that_the_provider_asks_for() {
    let module = Module::read("tenant");
    let outputs = ["client_id", "tenant_id", "client_secret", "storage_account_name", "queue_name"];
    assert_eq!(module.labels("output"), words(&outputs));
    assert_eq!(of(module.one("output", &["client_secret"]), "sensitive"), &Expression::Bool(true));
    let queue = text(of(module.one("variable", &["queue_name"]), "default")).to_owned();
    assert!(queue.parse::<QueueName>().is_ok(), "{queue}");
    assert!("contosologs".parse::<StorageAccount>().is_ok());
}

#[test]
fn a_customers_storage_announces_and_opens_exactly_what_is_read() {
    let module = Module::read("tenant");
    assert_eq!(text(module.local("container")), CONTAINER);
    let created = module.one("resource", &["azurerm_eventgrid_system_topic_event_subscription", "created"]);
    let filter = blocks(&created.body, "subject_filter").next().unwrap();
    assert_eq!(template(of(filter, "subject_begins_with")), "/blobServices/default/containers/${local.container}/");
    assert_eq!(texts(of(created, "included_event_types")), words(&["Microsoft.Storage.BlobCreated"]));
    assert_eq!(text(of(created, "event_delivery_schema")), "EventGridSchema");
    let own = "azuread_service_principal.own.object_id";
    let topic = "azurerm_eventgrid_system_topic.export.identity.principal_id";
    let mut given = BTreeSet::new();
    for block in module.all("resource").filter(|block| label_texts(block)[0] == "azurerm_role_assignment") {
        let (role, whom) = (text(of(block, "role_definition_name")), named(of(block, "principal_id")));
        given.insert((role.to_owned(), named(of(block, "scope")).join(" "), whom.join(" ")));
    }
    let expected = [
        // The words of the sentences that `muster connect` says when one is missing.
        ("Storage Blob Data Reader", "azurerm_storage_account.export.id", own),
        ("Storage Queue Data Message Processor", "local.queue_scope", own),
        ("Storage Queue Data Message Sender", "local.queue_scope", topic),
    ];
    assert_eq!(given, expected.map(|(role, scope, whom)| (role.to_owned(), scope.to_owned(), whom.to_owned())).into());
}

#[test]
fn a_customers_storage_opens_to_nobody_else() {
    let module = Module::read("tenant");
    let account = module.one("resource", &["azurerm_storage_account", "export"]);
    for (name, expected) in [
        ("https_traffic_only_enabled", true),
        ("allow_nested_items_to_be_public", false),
        ("default_to_oauth_authentication", true),
        ("local_user_enabled", false),
        ("sftp_enabled", false),
        ("cross_tenant_replication_enabled", false),
    ] {
        assert_eq!(of(account, name), &Expression::Bool(expected), "{name}");
    }
    assert_eq!(text(of(account, "min_tls_version")), "TLS1_2");
    assert_eq!(named(of(account, "shared_access_key_enabled")), ["var.shared_keys"]);
    assert_eq!(of(module.one("variable", &["shared_keys"]), "default"), &Expression::Bool(false));
    let network = blocks(&account.body, "network_rules").next().unwrap();
    assert_eq!(texts(of(network, "bypass")), words(&["AzureServices"]), "without it the export cannot write");
    let topic = module.one("resource", &["azurerm_eventgrid_system_topic", "export"]);
    let subscription = module.one("resource", &["azurerm_eventgrid_system_topic_event_subscription", "created"]);
    for (block, name) in [(topic, "identity"), (subscription, "delivery_identity")] {
        assert_eq!(text(of(blocks(&block.body, name).next().unwrap(), "type")), "SystemAssigned");
    }
}

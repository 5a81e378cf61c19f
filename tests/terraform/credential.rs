//! How the applications prove who they are, what is put into the vault, and what differs from cloud to cloud.

use std::collections::BTreeSet;

use hcl::Expression;
use serde_json::{Value, json};
use shared::{cloud::Cloud, credential::Application, secret::Secret};

use crate::{
    module::{MODULES, Module, argument, blocks, texts},
    plan::{KINDS, Plan, assert_rows},
};

/// The words of a variable that is one of several.
fn choices(module: &Module, variable: &str) -> BTreeSet<String> {
    let validation = blocks(&module.one("variable", &[variable]).body, "validation").next().unwrap();
    texts(argument(&validation.body, "condition").unwrap())
}

fn is_sensitive(module: &Module, output: &str) -> bool {
    argument(&module.one("output", &[output]).body, "sensitive") == Some(&Expression::Bool(true))
}

fn id_of(application: &str) -> String {
    format!("<azuread_application_registration.{application}.id>")
}

#[test]
fn the_kinds_of_credential_and_the_clouds_are_called_as_muster_calls_them() {
    for name in MODULES {
        let module = Module::read(name);
        assert_eq!(choices(&module, "credential"), KINDS.into_iter().map(str::to_owned).collect(), "{name}");
        assert_eq!(choices(&module, "cloud"), Cloud::ALL.into_iter().map(|cloud| cloud.name().to_owned()).collect());
        let Expression::Object(clouds) = module.local("clouds") else { panic!("{name}") };
        assert_eq!(clouds.keys().map(ToString::to_string).collect::<BTreeSet<_>>(), choices(&module, "cloud"));
    }
}

#[test]
fn entra_trusts_the_issuer_and_subject_that_are_given_and_the_audience_that_the_product_asks_for() {
    for cloud in Cloud::ALL {
        let choice = json!({"cloud": cloud.name()});
        let trusted = |name: &str| {
            let arguments = ["application_id", "issuer", "subject", "audiences"];
            Plan::of(name, &choice).table("azuread_application_federated_identity_credential", arguments)
        };
        let audiences = json!([cloud.token_exchange()]).to_string();
        let trust = |own: &str, stage: &str| {
            [id_of(own), "https://issuer.example.com".to_owned(), format!("role/{stage}"), audiences.clone()]
        };
        let every = [("app", "production"), ("app", "trial"), ("console", "production"), ("console", "trial")];
        let expected = every.map(|(own, stage)| trust(own, stage));
        let what = format!("application, issuer, subject, audiences in {}", cloud.name());
        assert_rows(&what, trusted("provider"), expected);
        assert_rows(&what, trusted("tenant"), [trust("own", "production")]);
    }
}

#[test]
fn a_first_certificate_is_the_one_given_and_a_first_secret_ends_when_it_is_to() {
    for (name, applications) in [("provider", &["app", "console"][..]), ("tenant", &["own"])] {
        let plan = Plan::of(name, &json!({"credential": "certificate"}));
        let expected: Vec<[String; 4]> = applications
            .iter()
            .map(|own| [id_of(own), format!("PEM of {own}"), "pem".to_owned(), "AsymmetricX509Cert".to_owned()])
            .collect();
        let arguments = ["application_id", "value", "encoding", "type"];
        let certificates = plan.table("azuread_application_certificate", arguments);
        assert_rows(&format!("application, certificate: {name}"), certificates, expected);
        let plan = Plan::of(name, &json!({"credential": "client_secret", "secret_valid_days": 10}));
        let expected: Vec<[String; 2]> =
            applications.iter().map(|own| [id_of(own), "<now> + 240h".to_owned()]).collect();
        let secrets = plan.table("azuread_application_password", ["application_id", "end_date"]);
        assert_rows(&format!("application, end of its secret: {name}"), secrets, expected);
    }
}

#[test]
fn what_is_put_into_the_vault_is_an_entry_of_that_application_that_the_product_takes() {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    for (application, output) in [("app", "app_entry"), ("console", "console_entry")] {
        for cloud in Cloud::ALL {
            for kind in KINDS {
                let plan = Plan::of("provider", &json!({"credential": kind, "cloud": cloud.name()}));
                let Value::String(entry) = &plan.outputs[output] else {
                    assert_eq!((&plan.outputs[output], kind), (&Value::Null, "kept"), "{output} is none");
                    continue;
                };
                let mut entry: Value = serde_json::from_str(entry).unwrap();
                let first = |resource: &str, told: &str| {
                    format!("<azuread_application_{resource}.first[\"{application}\"].{told}>")
                };
                let credential = match kind {
                    "federated" => json!({"kind": kind, "audience": cloud.token_exchange()}),
                    "certificate" => json!({
                        "kind": kind,
                        "certificate_pem": format!("PEM of {application}"),
                        "key_id": first("certificate", "key_id"),
                        "expires_at": first("certificate", "end_date"),
                    }),
                    _ => json!({
                        "kind": kind,
                        "value": first("password", "value"),
                        "key_id": first("password", "key_id"),
                        "expires_at": first("password", "end_date"),
                    }),
                };
                let client_id = format!("<azuread_application_registration.{application}.client_id>");
                let home = "00000000-0000-4000-8000-000000000001";
                let expected = json!({"client_id": client_id, "home_tenant_id": home, "credential": credential});
                assert_eq!(entry, expected, "{output}, {kind}");
                // As it is once all of that is known.
                let parse = |entry: &Value| Application::parse(&Secret::new(entry.to_string()));
                entry["client_id"] = home.into();
                if kind != "federated" {
                    entry["credential"]["expires_at"] = "2027-01-01T00:00:00Z".into();
                }
                if kind == "certificate" {
                    entry["credential"]["certificate_pem"] = certificate.pem().into();
                    assert!(parse(&entry).is_err(), "Terraform never sees the private key");
                    entry["credential"]["private_key_pem"] = key.serialize_pem().into();
                }
                assert!(parse(&entry).is_ok(), "{entry}");
            }
        }
        assert!(is_sensitive(&Module::read("provider"), output), "{output} may hold a secret");
    }
}

#[test]
fn outputs_are_those_of_the_application_that_they_are_called_after() {
    let client_id = |own: &str| json!(format!("<azuread_application_registration.{own}.client_id>"));
    for kind in KINDS {
        let mut outputs = Plan::of("provider", &json!({"credential": kind})).outputs;
        outputs.retain(|name, _| !name.ends_with("_entry"));
        let expected = [
            ("client_id", client_id("app")),
            ("console_client_id", client_id("console")),
            ("home_tenant_id", json!("00000000-0000-4000-8000-000000000001")),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_rows(&format!("outputs of provider, {kind}"), outputs, expected);
        let secret = match kind {
            "client_secret" => json!("<azuread_application_password.first[\"first\"].value>"),
            _ => Value::Null,
        };
        let expected = [
            // The fields that the provider asks a customer for.
            ("client_id", client_id("own")),
            ("tenant_id", json!("00000000-0000-4000-8000-000000000002")),
            ("client_secret", secret),
            ("storage_account_name", json!("<azurerm_storage_account.export.name>")),
            ("queue_name", json!("<azurerm_storage_queue.hints.name>")),
        ];
        let outputs = Plan::of("tenant", &json!({"credential": kind})).outputs;
        let expected = expected.map(|(name, value)| (name.to_owned(), value));
        assert_rows(&format!("outputs of tenant, {kind}"), outputs, expected);
    }
    assert!(is_sensitive(&Module::read("tenant"), "client_secret"));
}

/// As the providers call them: a directory is known by its Graph, Azure by what storage accounts' names end in.
#[test]
fn each_cloud_is_looked_for_in_its_own_directory() {
    for cloud in Cloud::ALL {
        let directory = match cloud.graph() {
            "https://graph.microsoft.com" => "global",
            "https://graph.microsoft.us" => "usgovernmentl4",
            "https://dod-graph.microsoft.us" => "usgovernmentl5",
            other => panic!("{other} is no Graph that the provider of azuread knows"),
        };
        let azure = match cloud.storage() {
            "core.windows.net" => "public",
            "core.usgovcloudapi.net" => "usgovernment",
            other => panic!("{other} is no cloud that the provider of azurerm knows"),
        };
        for (name, provider, environment) in
            [("provider", "azuread", directory), ("tenant", "azuread", directory), ("tenant", "azurerm", azure)]
        {
            let of = &Plan::of(name, &json!({"cloud": cloud.name()})).providers[provider];
            assert_eq!(of["environment"], environment, "{provider} of {name} in {}", cloud.name());
            let tenant = if name == "provider" { 1 } else { 2 };
            assert_eq!(of["tenant_id"], format!("00000000-0000-4000-8000-00000000000{tenant}"), "{provider} of {name}");
        }
    }
}

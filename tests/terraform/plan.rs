//! What a module would make for whoever gives it these variables.

use std::{collections::BTreeMap, fmt::Debug};

use hcl::{Block, Body, Expression};
use serde_json::{Map, Value, json};

use crate::{
    evaluate::{Scope, set},
    module::{Module, argument, label_texts},
};

/// Of the variable `credential`, which both modules have.
pub const KINDS: [&str; 4] = ["federated", "certificate", "client_secret", "kept"];

/// Arguments of each, blocks within as lists; values as [`Scope`] computes them.
#[derive(Debug, Default)]
pub struct Plan {
    /// Resources and data sources, by address: `azuread_application_password.first["app"]`.
    made: BTreeMap<String, Value>,
    pub providers: BTreeMap<String, Value>,
    pub outputs: BTreeMap<String, Value>,
}

impl Plan {
    /// Of a module and what somebody typical gives it, but for these variables.
    pub fn of(name: &str, changed: &Value) -> Self {
        let module = Module::read(name);
        let mut given = if name == "provider" {
            json!({
                "home_tenant_id": "00000000-0000-4000-8000-000000000001",
                "public_url": "https://muster.example.com",
                "display_name": "Example",
                "identity_issuer": "https://issuer.example.com",
                "identity_subjects": {"production": "role/production", "trial": "role/trial"},
                "certificates": {"app": "PEM of app", "console": "PEM of console"},
                "operators": ["olga"],
                "readers": ["rita"],
            })
        } else {
            json!({
                "tenant_id": "00000000-0000-4000-8000-000000000002",
                "subscription_id": "00000000-0000-4000-8000-000000000003",
                "storage_account_name": "contosologs",
                "location": "westeurope",
                "identity_issuer": "https://issuer.example.com",
                "identity_subject": "role/production",
                "certificate_pem": "PEM of own",
            })
        };
        given.as_object_mut().unwrap().extend(changed.as_object().unwrap().clone());
        match Self::made_of(&module, given.as_object().unwrap()) {
            Ok(plan) => plan,
            Err(wrong) => panic!("infra/azure/{name} with {changed}:\n  {}", wrong.join("\n  ")),
        }
    }

    /// Or everything that cannot be computed, a sentence each.
    pub fn made_of(module: &Module, given: &Map<String, Value>) -> Result<Self, Vec<String>> {
        let given = variables(module, given).map_err(|sentence| vec![sentence])?;
        let (mut plan, mut wrong) = (Self::default(), Vec::new());
        let scope = Scope { module, given: &given, bound: BTreeMap::new() };
        for block in module.body.blocks() {
            let labels = label_texts(block).join(".");
            match block.identifier.as_str() {
                "resource" => plan.make(&scope, &labels, block, &mut wrong),
                "data" => plan.make(&scope, &format!("data.{labels}"), block, &mut wrong),
                "provider" => {
                    let arguments = computed(&scope, &labels, &block.body, &mut wrong);
                    plan.providers.insert(labels, arguments);
                }
                "output" => {
                    let arguments = computed(&scope, &labels, &block.body, &mut wrong);
                    plan.outputs.insert(labels, arguments["value"].clone());
                }
                _ => {}
            }
        }
        if wrong.is_empty() { Ok(plan) } else { Err(wrong) }
    }

    fn make(&mut self, scope: &Scope<'_>, address: &str, block: &Block, wrong: &mut Vec<String>) {
        let Some(each) = argument(&block.body, "for_each") else {
            self.made.insert(address.to_owned(), computed(scope, address, &block.body, wrong));
            return;
        };
        match scope.for_each(each) {
            Err(sentence) => wrong.push(format!("{address}: {sentence}")),
            Ok(members) => {
                for (key, value) in members {
                    let address = format!("{address}[\"{key}\"]");
                    let mut scope = scope.clone();
                    scope.bound.insert("each".to_owned(), json!({"key": key, "value": value}));
                    self.made.insert(address.clone(), computed(&scope, &address, &block.body, wrong));
                }
            }
        }
    }

    /// Every one of a type, by address.
    pub fn all<'a>(&'a self, type_name: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        let of_type = move |address: &str| address.strip_prefix(type_name).is_some_and(|rest| rest.starts_with('.'));
        self.made.iter().map(|(address, of)| (address.as_str(), of)).filter(move |(address, _)| of_type(address))
    }

    pub fn one(&self, address: &str) -> &Value {
        self.made.get(address).unwrap_or_else(|| panic!("no {address} is made, but {:?}", self.made.keys()))
    }

    /// These arguments of every one of a type, as text.
    pub fn table<const N: usize>(&self, type_name: &str, arguments: [&str; N]) -> Vec<[String; N]> {
        self.all(type_name).map(|(_, of)| arguments.map(|name| shown(&of[name]))).collect()
    }

    /// The values of an argument, by the address of whatever has it.
    pub fn with(&self, argument: &str) -> Vec<(String, String)> {
        let having = self.made.iter().filter(|(_, of)| of.get(argument).is_some());
        having.map(|(address, of)| (address.clone(), shown(&of[argument]))).collect()
    }
}

/// Fails with what is there and should not be, and with what is missing, a line each.
pub fn assert_rows<Row: PartialEq + Debug>(
    what: &str,
    found: impl IntoIterator<Item = Row>,
    expected: impl IntoIterator<Item = Row>,
) {
    let mut missing: Vec<Row> = expected.into_iter().collect();
    let mut wrong = Vec::new();
    for row in found {
        match missing.iter().position(|expected| *expected == row) {
            Some(at) => drop(missing.remove(at)),
            None => wrong.push(format!("there should be no {row:?}")),
        }
    }
    wrong.extend(missing.iter().map(|row| format!("there is no {row:?}")));
    assert!(wrong.is_empty(), "{what}:\n  {}", wrong.join("\n  "));
}

/// A text as it is, and everything else as JSON; nothing is empty.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// What is given, and what else a variable is by default. Of types only the one matters here that makes a set of a list.
fn variables(module: &Module, given: &Map<String, Value>) -> Result<BTreeMap<String, Value>, String> {
    let names = module.labels("variable");
    if let Some(stranger) = given.keys().find(|name| !names.contains(*name)) {
        return Err(format!("{} has no variable {stranger}", module.name));
    }
    let scope = Scope { module, given: &BTreeMap::new(), bound: BTreeMap::new() };
    let mut values = BTreeMap::new();
    for name in names {
        let body = &module.one("variable", &[&name]).body;
        let default = argument(body, "default").map(|default| scope.compute(default)).transpose()?;
        let Some(value) = given.get(&name).cloned().or(default) else { continue };
        let is_set =
            matches!(argument(body, "type"), Some(Expression::FuncCall(kind)) if kind.name.to_string() == "set");
        values.insert(name, if is_set { set(&value)? } else { value });
    }
    Ok(values)
}

/// The arguments and blocks of a block, but for those that are Terraform's own.
fn computed(scope: &Scope<'_>, at: &str, body: &Body, wrong: &mut Vec<String>) -> Value {
    let mut found = Map::new();
    for attribute in body.attributes().filter(|of| !["for_each", "depends_on"].contains(&of.key.as_str())) {
        match scope.compute(&attribute.expr) {
            Ok(value) => drop(found.insert(attribute.key.as_str().to_owned(), value)),
            Err(sentence) => wrong.push(format!("{at}.{}: {sentence}", attribute.key.as_str())),
        }
    }
    for block in body.blocks().filter(|block| block.identifier.as_str() != "lifecycle") {
        let name = block.identifier.as_str();
        let inner = computed(scope, &format!("{at}.{name}"), &block.body, wrong);
        found.entry(name).or_insert_with(|| json!([])).as_array_mut().unwrap().push(inner);
    }
    Value::Object(found)
}

#[test]
fn what_cannot_be_computed_is_named() {
    const GOOD: &str = r#"
        variable "kind" { default = "first" }
        variable "names" { type = set(string) }
        locals {
            sizes = { for name in var.names : "${name}-${var.kind}" => { width = 2, height = 3 * 2 } }
            group = azurerm_resource_group.here
        }
        resource "azurerm_resource_group" "here" { location = "west" }
        resource "azurerm_storage_queue" "each" {
            for_each = local.sizes
            name = "${each.key}: ${each.value.width} by ${each.value.height}"
            account = local.group.id
        }
        resource "azurerm_storage_queue" "maybe" {
            for_each = toset(var.kind == "second" ? ["it"] : [])
            name = one([for queue in ["only"] : queue if queue != "other"])
        }
        output "all" { value = [for name in keys(local.sizes) : azurerm_storage_queue.each[name].url] }
        output "maybe" { value = try(azurerm_storage_queue.maybe["it"].id, null) }"#;
    let planned = |hcl: &str| {
        let module = Module { name: "here".to_owned(), files: BTreeMap::new(), body: hcl::parse(hcl).unwrap() };
        Plan::made_of(&module, json!({"names": ["a", "b"]}).as_object().unwrap())
    };
    let plan = planned(GOOD).unwrap();
    assert_eq!(
        plan.table("azurerm_storage_queue", ["name", "account"]),
        [
            ["a-first: 2 by 6", "<azurerm_resource_group.here.id>"],
            ["b-first: 2 by 6", "<azurerm_resource_group.here.id>"],
        ]
    );
    let urls = ["a", "b"].map(|name| format!("<azurerm_storage_queue.each[\"{name}-first\"].url>"));
    assert_eq!((&plan.outputs["all"], &plan.outputs["maybe"]), (&json!(urls), &Value::Null));
    let second = planned(&GOOD.replace("\"first\"", "\"second\"")).unwrap();
    assert_eq!(second.one("azurerm_storage_queue.maybe[\"it\"]")["name"], "only");
    assert_eq!(second.outputs["maybe"], "<azurerm_storage_queue.maybe[\"it\"].id>");
    for (good, bad, expected) in [
        ("each.value.width", "each.value.widht", "has no widht"),
        ("each.value.width", "each.valeu.width", "has no valeu"),
        ("local.group.id", "local.group.idd", "azurerm_resource_group.here has no idd"),
        ("account = local", "account = loca", "nothing is called loca.group"),
        ("\"west\"", "each.key", "azurerm_resource_group.here.location: there is no each where there is no for_each"),
        ("[name].url", "[\"c\"].url", "has no \"c\""),
        ("[name].url", ".url", "has no url"),
        ("toset(var.kind == \"second\" ? [\"it\"] : [])", "[\"it\"]", "for_each takes a map or a set, not [\"it\"]"),
        ("\"${name}-${var.kind}\"", "var.kind", "two members of a map are called first"),
        ("default = \"first\"", "", "nobody gives var.kind"),
        ("variable \"names\"", "variable \"others\"", "here has no variable names"),
        ("keys(local", "keyz(local", "keyz of"),
        ("3 * 2", "3 * var.kind", "is nothing that this computes"),
        ("var.kind == \"second\"", "var.kind", "is no condition"),
    ] {
        assert!(GOOD.contains(good), "{good}");
        let found = planned(&GOOD.replacen(good, bad, 1)).map(|plan| plan.outputs).unwrap_err();
        assert!(found.iter().any(|sentence| sentence.contains(expected)), "{bad}: {found:#?}");
    }
}

//! Every block and argument beside the published schemas, and every reference beside what is declared.

use std::collections::BTreeSet;

use hcl::{Block, Body, Expression};

use crate::{
    module::{MODULES, Module, argument, blocks, calls, has_needless_quotes, label_texts, references, text},
    schema::{self, Attribute, Members, published},
};

/// What Terraform itself understands in a resource, beside what its provider does.
const META: [&str; 4] = ["count", "for_each", "provider", "depends_on"];

/// The functions of Terraform 1.9 that are used, and the fewest and most arguments of each.
const FUNCTIONS: [(&str, usize, usize); 20] = [
    ("alltrue", 1, 1),
    ("can", 1, 1),
    ("concat", 1, usize::MAX),
    ("contains", 2, 2),
    ("distinct", 1, 1),
    ("floor", 1, 1),
    ("jsonencode", 1, 1),
    ("keys", 1, 1),
    ("length", 1, 1),
    ("one", 1, 1),
    ("plantimestamp", 0, 0),
    ("regex", 2, 2),
    ("setproduct", 2, usize::MAX),
    ("startswith", 2, 2),
    ("strcontains", 2, 2),
    ("timeadd", 2, 2),
    ("toset", 1, 1),
    ("trimspace", 1, 1),
    ("try", 1, usize::MAX),
    ("values", 1, 1),
];

/// Everything that is wrong with a module, a sentence each.
fn judge(body: &Body) -> Vec<String> {
    let mut wrong = Vec::new();
    for block in body.blocks() {
        match (block.identifier.as_str(), label_texts(block).as_slice()) {
            (kind @ ("resource" | "data"), [type_name, name]) => match schema::of(kind, type_name) {
                None => wrong.push(format!("{kind} {type_name} is not among the published schemas")),
                Some(members) => judge_block(&format!("{type_name}.{name}"), &block.body, members, &META, &mut wrong),
            },
            ("provider", [name]) => match published().get(*name) {
                None => wrong.push(format!("the provider {name} is not among the published schemas")),
                Some(provider) => {
                    judge_block(&format!("provider {name}"), &block.body, &provider.provider, &[], &mut wrong)
                }
            },
            ("variable" | "output", [name]) => {
                if argument(&block.body, "description").is_none_or(|words| text(words).len() < 10) {
                    wrong.push(format!("{name} does not say what it is"));
                }
            }
            ("locals" | "terraform", []) => {}
            (kind, labels) => wrong.push(format!("{kind} {labels:?} is nothing that belongs here")),
        }
    }
    judge_references(body, &mut wrong);
    judge_calls(body, &mut wrong);
    wrong
}

fn judge_block(at: &str, body: &Body, members: &Members, meta: &[&str], wrong: &mut Vec<String>) {
    for attribute in body.attributes() {
        let name = attribute.key.as_str();
        if has_needless_quotes(&attribute.expr) {
            wrong.push(format!("{at}.{name} has a reference in quotes"));
        }
        match members.attributes.get(name) {
            Some(published) if !fits(published, &attribute.expr) => {
                wrong.push(format!("{at}.{name} is a {}, and is not given as one", published.kind));
            }
            None if members.blocks.contains_key(name) => wrong.push(format!("{at}.{name} is a block, not an argument")),
            None if !meta.contains(&name) => wrong.push(format!("{at} has no argument {name}")),
            _ => {}
        }
    }
    let given: BTreeSet<&str> = body.attributes().map(|attribute| attribute.key.as_str()).collect();
    for (name, _) in members.attributes.iter().filter(|(name, of)| of.required && !given.contains(name.as_str())) {
        wrong.push(format!("{at} lacks its argument {name}"));
    }
    for block in body.blocks() {
        let name = block.identifier.as_str();
        match members.blocks.get(name) {
            Some(nested) => judge_block(&format!("{at}.{name}"), &block.body, &nested.members, &[], wrong),
            None if members.attributes.contains_key(name) => {
                wrong.push(format!("{at}.{name} is an argument, not a block"));
            }
            None if name == "lifecycle" && !meta.is_empty() => judge_lifecycle(at, block, members, wrong),
            None => wrong.push(format!("{at} has no block {name}")),
        }
    }
    for (name, nested) in &members.blocks {
        let times = blocks(body, name).count();
        if nested.required && times == 0 {
            wrong.push(format!("{at} lacks its block {name}"));
        }
        if !nested.many && times > 1 {
            wrong.push(format!("{at} has {times} blocks {name}, and may have one"));
        }
    }
}

fn judge_lifecycle(at: &str, block: &Block, members: &Members, wrong: &mut Vec<String>) {
    for attribute in block.body.attributes() {
        match (attribute.key.as_str(), &attribute.expr) {
            ("prevent_destroy" | "create_before_destroy", Expression::Bool(_)) => {}
            ("ignore_changes", names) => {
                let unknown = references(names).into_iter().flatten();
                wrong.extend(
                    unknown
                        .filter(|name| !members.attributes.contains_key(name))
                        .map(|name| format!("{at} ignores changes of {name}, which is no argument of it")),
                );
            }
            (other, _) => wrong.push(format!("{at}.lifecycle has no argument {other}")),
        }
    }
}

/// What is written out is of the kind that is asked for. Of everything else Terraform alone knows.
fn fits(published: &Attribute, given: &Expression) -> bool {
    let list = published.kind.ends_with("[]");
    match given {
        Expression::Array(_) => list,
        Expression::Object(_) => published.kind == "map",
        Expression::String(_) | Expression::TemplateExpr(_) => published.kind == "string",
        Expression::Bool(_) => published.kind == "boolean",
        Expression::Number(_) => published.kind == "number",
        _ => true,
    }
}

fn judge_references(body: &Body, wrong: &mut Vec<String>) {
    let declared =
        |kind: &str| -> BTreeSet<String> { blocks(body, kind).map(|block| label_texts(block).join(".")).collect() };
    let (variables, resources, data) = (declared("variable"), declared("resource"), declared("data"));
    let locals: BTreeSet<String> = blocks(body, "locals")
        .flat_map(|block| block.body.attributes())
        .map(|attribute| attribute.key.as_str().to_owned())
        .collect();
    let mut used = BTreeSet::new();
    for reference in expressions(body).into_iter().flat_map(references) {
        let words: Vec<&str> = reference.iter().map(String::as_str).collect();
        let known = match words.as_slice() {
            ["var", name, ..] => variables.contains(*name),
            ["local", name, ..] => locals.contains(*name),
            ["each", "key" | "value", ..] => true,
            ["data", type_name, name, rest @ ..] => {
                data.contains(&format!("{type_name}.{name}")) && is_exported("data", type_name, rest)
            }
            [type_name, name, rest @ ..] => {
                resources.contains(&format!("{type_name}.{name}")) && is_exported("resource", type_name, rest)
            }
            _ => false,
        };
        if !known {
            wrong.push(format!("nothing is called {}", reference.join(".")));
        }
        used.insert(words[..words.len().min(2)].join("."));
    }
    let idle =
        variables.iter().map(|name| format!("var.{name}")).chain(locals.iter().map(|name| format!("local.{name}")));
    wrong.extend(idle.filter(|name| !used.contains(name)).map(|name| format!("nobody uses {name}")));
}

fn judge_calls(body: &Body, wrong: &mut Vec<String>) {
    for (name, given) in expressions(body).into_iter().flat_map(calls) {
        match (FUNCTIONS.into_iter().find(|(known, ..)| *known == name), given) {
            (None, _) => wrong.push(format!("{name} is none of the functions that are known here")),
            (Some((_, fewest, most)), Some(given)) if given < fewest || given > most => {
                wrong.push(format!("{name} takes no {given} arguments"));
            }
            _ => {}
        }
    }
}

fn is_exported(kind: &str, type_name: &str, rest: &[&str]) -> bool {
    let Some(members) = schema::of(kind, type_name) else { return false };
    rest.first().is_none_or(|name| members.exports.iter().any(|exported| exported == name))
}

/// Every argument, but for the names in `ignore_changes` and the types of variables.
fn expressions(body: &Body) -> Vec<&Expression> {
    let own = body.attributes().filter(|attribute| attribute.key.as_str() != "ignore_changes");
    let inner = body.blocks().flat_map(|block| {
        let is_type =
            |of: &Expression| block.identifier.as_str() == "variable" && argument(&block.body, "type") == Some(of);
        expressions(&block.body).into_iter().filter(move |of| !is_type(of))
    });
    own.map(|attribute| &attribute.expr).chain(inner).collect()
}

#[test]
fn every_argument_and_block_is_one_that_its_provider_publishes() {
    for name in MODULES {
        let module = Module::read(name);
        let (resources, arguments) = (module.all("resource").count(), module.body.blocks().count());
        assert!(resources >= 10 && arguments >= 30, "{name}: {resources} resources, so little was looked at");
        let wrong = judge(&module.body);
        assert!(wrong.is_empty(), "infra/azure/{name}:\n  {}", wrong.join("\n  "));
    }
}

#[test]
fn the_schemas_are_of_exactly_the_versions_that_are_used() {
    let mut seen = BTreeSet::new();
    for name in MODULES {
        let module = Module::read(name);
        let providers = blocks(&module.one("terraform", &[]).body, "required_providers").next().unwrap();
        for provider in providers.body.attributes() {
            let provider_name = provider.key.as_str();
            let Expression::Object(object) = &provider.expr else { panic!("{provider_name} in {name}") };
            let given =
                |key: &str| object.iter().find(|(name, _)| name.to_string() == key).map(|(_, value)| text(value));
            assert_eq!(given("source"), Some(format!("hashicorp/{provider_name}").as_str()));
            assert_eq!(
                given("version"),
                Some(published()[provider_name].version.as_str()),
                "{provider_name} in {name}"
            );
            seen.insert(provider_name.to_owned());
        }
        assert_eq!(module.labels("provider"), providers.body.attributes().map(|of| of.key.to_string()).collect());
    }
    assert_eq!(seen, published().keys().cloned().collect());
}

#[test]
fn each_kind_of_mistake_is_found_and_named() {
    const GOOD: &str = r#"
        variable "name" {
            description = "What it is called."
            type = string
        }
        resource "azurerm_resource_group" "here" {
            name     = var.name
            location = "westeurope"
        }
        resource "azurerm_storage_account" "here" {
            name = "here"
            resource_group_name = azurerm_resource_group.here.name
            location = "westeurope"
            account_tier = "Standard"
            account_replication_type = "LRS"
            min_tls_version = "TLS1_2"
            network_rules {
                default_action = "Deny"
                bypass = ["AzureServices"]
            }
            lifecycle { ignore_changes = [tags] }
        }"#;
    let wrong = |hcl: &str| judge(&hcl::parse(hcl).unwrap());
    assert_eq!(wrong(GOOD), Vec::<String>::new());
    for (good, bad, expected) in [
        ("account_tier = \"Standard\"", "", "lacks its argument account_tier"),
        ("min_tls_version", "min_tls_versoin", "has no argument min_tls_versoin"),
        ("default_action = \"Deny\"", "", "network_rules lacks its argument default_action"),
        ("bypass =", "bypas =", "network_rules has no argument bypas"),
        ("network_rules {", "network_rules = {", "network_rules is a block, not an argument"),
        ("network_rules {", "network_rule {", "has no block network_rule"),
        ("min_tls_version = \"TLS1_2\"", "min_tls_version {}", "min_tls_version is an argument, not a block"),
        ("lifecycle {", "network_rules { default_action = \"Allow\" }\nlifecycle {", "has 2 blocks network_rules"),
        ("bypass = [\"AzureServices\"]", "bypass = \"AzureServices\"", "bypass is a string[], and is not given as one"),
        ("\"LRS\"", "[\"LRS\"]", "account_replication_type is a string, and is not given as one"),
        ("\"LRS\"", "true", "account_replication_type is a string"),
        ("var.name", "\"${var.name}\"", "name has a reference in quotes"),
        ("[tags]", "[tag]", "ignores changes of tag"),
        ("here.name", "here.title", "nothing is called azurerm_resource_group.here.title"),
        ("group.here.", "group.there.", "nothing is called azurerm_resource_group.there.name"),
        ("var.name", "\"${var.nam}\"", "nothing is called var.nam"),
        ("var.name", "\"name\"", "nobody uses var.name"),
        ("var.name", "[for name in [1] : nme]", "nothing is called nme"),
        (
            "resource \"azurerm_resource_group\"",
            "data \"azurerm_resource_group\"",
            "is not among the published schemas",
        ),
        ("var.name", "lowercase(var.name)", "lowercase is none of the functions"),
        ("var.name", "\"a-${trimspce(var.name)}\"", "trimspce is none of the functions"),
        ("var.name", "timeadd(var.name)", "timeadd takes no 1 arguments"),
        ("var.name", "trimspace(var.name, \"a\")", "trimspace takes no 2 arguments"),
        ("description = \"What it is called.\"", "", "name does not say what it is"),
        ("variable \"name\"", "module \"x\" {}\nvariable \"name\"", "is nothing that belongs here"),
    ] {
        assert!(GOOD.contains(good), "{good}");
        let found = wrong(&GOOD.replacen(good, bad, 1));
        assert!(found.iter().any(|sentence| sentence.contains(expected)), "{bad}: {found:#?}");
    }
}

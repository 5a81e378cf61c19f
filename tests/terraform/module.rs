//! A folder of Terraform, read.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use hcl::{
    Block, Body, Expression,
    expr::{Conditional, ForExpr, ObjectKey, Operation, TraversalOperator},
    template::{Element, Template},
};

pub const MODULES: [&str; 2] = ["provider", "tenant"];

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra/azure").canonicalize().unwrap()
}

#[derive(Debug)]
pub struct Module {
    pub name: String,
    /// Each file's text by its name.
    pub files: BTreeMap<String, String>,
    pub body: Body,
}

impl Module {
    pub fn read(name: &str) -> Self {
        let entries = fs::read_dir(folder().join(name)).unwrap().map(|entry| entry.unwrap().path());
        let files: BTreeMap<String, String> = entries
            .filter(|path| path.extension().is_some_and(|extension| extension == "tf"))
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
            .collect();
        assert!(files.len() >= 5, "only {} files were found in {name}", files.len());
        let text: String = files.values().map(String::as_str).collect::<Vec<_>>().join("\n");
        Self { name: name.to_owned(), body: hcl::parse(&text).unwrap(), files }
    }

    /// The blocks of one kind: `resource`, `variable`, …
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Block> {
        blocks(&self.body, kind)
    }

    /// The one of that kind with these labels.
    pub fn one<'a>(&'a self, kind: &'a str, labels: &[&str]) -> &'a Block {
        let found = self.all(kind).find(|block| label_texts(block) == labels);
        found.unwrap_or_else(|| panic!("{} has no {kind} {labels:?}", self.name))
    }

    pub fn labels(&self, kind: &str) -> BTreeSet<String> {
        self.all(kind).map(|block| label_texts(block).join(".")).collect()
    }

    /// What a local value is made of.
    pub fn local(&self, name: &str) -> &Expression {
        let found = self.all("locals").find_map(|block| argument(&block.body, name));
        found.unwrap_or_else(|| panic!("{} has no local.{name}", self.name))
    }
}

pub fn blocks<'a>(body: &'a Body, kind: &'a str) -> impl Iterator<Item = &'a Block> {
    body.blocks().filter(move |block| block.identifier.as_str() == kind)
}

pub fn label_texts(block: &Block) -> Vec<&str> {
    block.labels.iter().map(|label| label.as_str()).collect()
}

pub fn argument<'a>(body: &'a Body, name: &str) -> Option<&'a Expression> {
    body.attributes().find(|attribute| attribute.key.as_str() == name).map(|attribute| &attribute.expr)
}

/// A text that is written out.
pub fn text(expression: &Expression) -> &str {
    match expression {
        Expression::String(text) => text,
        other => panic!("{other:?} is no text that is written out"),
    }
}

/// Every text that is written out in an expression, keys aside.
pub fn texts(expression: &Expression) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    visit(expression, &mut Vec::new(), &mut |part, _| {
        if let Expression::String(text) = part {
            found.insert(text.clone());
        }
    });
    found
}

/// Something named elsewhere: `azuread_service_principal.app.object_id` as these words, without what stands in brackets.
pub type Reference = Vec<String>;

/// Whether something within is written as `"${name}"`, which is `name`; `terraform fmt` takes the quotes away.
pub fn has_needless_quotes(expression: &Expression) -> bool {
    let mut found = false;
    visit(expression, &mut Vec::new(), &mut |part, _| {
        if let Expression::TemplateExpr(template) = part {
            found |= matches!(Template::from_expr(template).unwrap().elements(), [Element::Interpolation(_)]);
        }
    });
    found
}

/// What an expression refers to beyond itself.
pub fn references(expression: &Expression) -> Vec<Reference> {
    let mut found = Vec::new();
    visit(expression, &mut Vec::new(), &mut |part, bound| {
        let named = match part {
            Expression::Variable(variable) => vec![variable.as_str().to_owned()],
            Expression::Traversal(traversal) => {
                let Expression::Variable(root) = &traversal.expr else { return };
                let attributes = traversal.operators.iter().filter_map(|operator| match operator {
                    TraversalOperator::GetAttr(name) => Some(name.as_str().to_owned()),
                    _ => None,
                });
                [root.as_str().to_owned()].into_iter().chain(attributes).collect()
            }
            _ => return,
        };
        if !bound.contains(&named[0]) {
            found.push(named);
        }
    });
    found
}

/// Every function that is called within, and with how many arguments; unknown where a list is spread over them.
pub fn calls(expression: &Expression) -> Vec<(String, Option<usize>)> {
    let mut found = Vec::new();
    visit(expression, &mut Vec::new(), &mut |part, _| {
        if let Expression::FuncCall(call) = part {
            found.push((call.name.to_string(), (!call.expand_final).then_some(call.args.len())));
        }
    });
    found
}

/// The expression and all within it, each with the names that a `for` around it has bound.
fn visit(expression: &Expression, bound: &mut Vec<String>, see: &mut impl FnMut(&Expression, &[String])) {
    see(expression, bound);
    match expression {
        Expression::Null | Expression::Bool(_) | Expression::Number(_) | Expression::String(_) => {}
        Expression::Variable(_) => {}
        Expression::Array(items) => items.iter().for_each(|item| visit(item, bound, see)),
        Expression::Object(object) => {
            for (key, value) in object {
                if let ObjectKey::Expression(key) = key {
                    visit(key, bound, see);
                }
                visit(value, bound, see);
            }
        }
        Expression::TemplateExpr(template) => {
            for element in Template::from_expr(template).unwrap().elements() {
                match element {
                    Element::Literal(_) => {}
                    Element::Interpolation(inner) => visit(&inner.expr, bound, see),
                    Element::Directive(directive) => panic!("{directive:?} is nothing that this reads"),
                }
            }
        }
        Expression::Traversal(traversal) => {
            if !matches!(traversal.expr, Expression::Variable(_)) {
                visit(&traversal.expr, bound, see);
            }
            for operator in &traversal.operators {
                if let TraversalOperator::Index(index) = operator {
                    visit(index, bound, see);
                }
            }
        }
        Expression::FuncCall(call) => call.args.iter().for_each(|argument| visit(argument, bound, see)),
        Expression::Parenthesis(inner) => visit(inner, bound, see),
        Expression::Conditional(inner) => {
            let Conditional { cond_expr, true_expr, false_expr } = inner.as_ref();
            [cond_expr, true_expr, false_expr].into_iter().for_each(|part| visit(part, bound, see));
        }
        Expression::Operation(operation) => match operation.as_ref() {
            Operation::Unary(unary) => visit(&unary.expr, bound, see),
            Operation::Binary(binary) => {
                visit(&binary.lhs_expr, bound, see);
                visit(&binary.rhs_expr, bound, see);
            }
        },
        Expression::ForExpr(inner) => {
            let ForExpr { key_var, value_var, collection_expr, key_expr, value_expr, cond_expr, .. } = inner.as_ref();
            visit(collection_expr, bound, see);
            let before = bound.len();
            bound.extend(key_var.iter().chain([value_var]).map(|name| name.as_str().to_owned()));
            for part in key_expr.iter().chain([value_expr]).chain(cond_expr) {
                visit(part, bound, see);
            }
            bound.truncate(before);
        }
        other => panic!("{other:?} is nothing that this reads"),
    }
}

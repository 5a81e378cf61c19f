//! What Terraform would compute of an expression, as far as that is known before anything is made: what a made thing would
//! tell stands as its name in angle brackets, `<azuread_application_registration.app.id>`.

use std::collections::BTreeMap;

use hcl::{
    Expression,
    expr::{BinaryOperator, ForExpr, FuncCall, ObjectKey, Operation, TraversalOperator},
    template::{Element, Template},
};
use serde_json::{Map, Value};

use crate::{
    module::{Module, argument, blocks, label_texts},
    schema,
};

/// Or a sentence that says why not.
pub type Computed = Result<Value, String>;

/// Where names get their meaning. A set is the map of each of its members to itself, as `for_each` takes it; a list is none,
/// and `for_each` refuses it.
#[derive(Debug, Clone)]
pub struct Scope<'a> {
    pub module: &'a Module,
    /// The variables, by name.
    pub given: &'a BTreeMap<String, Value>,
    /// What a `for` or `for_each` around the expression has bound.
    pub bound: BTreeMap<String, Value>,
}

impl Scope<'_> {
    pub fn compute(&self, expression: &Expression) -> Computed {
        match expression {
            Expression::Null => Ok(Value::Null),
            Expression::Bool(value) => Ok((*value).into()),
            Expression::Number(number) => {
                number.as_i64().map(Value::from).ok_or(format!("{number} is no whole number"))
            }
            Expression::String(text) => Ok(text.as_str().into()),
            Expression::Array(items) => items.iter().map(|item| self.compute(item)).collect(),
            Expression::Object(object) => {
                let members = object.iter().map(|(key, value)| {
                    let key = match key {
                        ObjectKey::Identifier(name) => name.as_str().to_owned(),
                        ObjectKey::Expression(key) => as_text(&self.compute(key)?)?,
                        other => return Err(format!("{other:?} is no key that this reads")),
                    };
                    Ok((key, self.compute(value)?))
                });
                members.collect::<Result<Map<_, _>, _>>().map(Value::Object)
            }
            Expression::TemplateExpr(template) => {
                let mut text = String::new();
                for element in Template::from_expr(template).map_err(|error| error.to_string())?.elements() {
                    match element {
                        Element::Literal(literal) => text.push_str(literal),
                        Element::Interpolation(inner) => text.push_str(&as_text(&self.compute(&inner.expr)?)?),
                        Element::Directive(directive) => {
                            return Err(format!("{directive:?} is nothing that this reads"));
                        }
                    }
                }
                Ok(text.into())
            }
            Expression::Variable(name) => self.follow(name.as_str(), &[]),
            Expression::Traversal(traversal) => match &traversal.expr {
                Expression::Variable(name) => self.follow(name.as_str(), &traversal.operators),
                other => self.walk(self.compute(other)?, &traversal.operators),
            },
            Expression::FuncCall(call) => self.call(call),
            Expression::Parenthesis(inner) => self.compute(inner),
            Expression::Conditional(choice) => match self.compute(&choice.cond_expr)? {
                Value::Bool(true) => self.compute(&choice.true_expr),
                Value::Bool(false) => self.compute(&choice.false_expr),
                other => Err(format!("{other} is no condition")),
            },
            Expression::Operation(operation) => self.operate(operation),
            Expression::ForExpr(each) => self.repeat(each),
            other => Err(format!("{other:?} is nothing that this computes")),
        }
    }

    /// What a name means, and what lies within.
    fn follow(&self, root: &str, operators: &[TraversalOperator]) -> Computed {
        if let Some(value) = self.bound.get(root) {
            return self.walk(value.clone(), operators);
        }
        let name = |at: usize| match operators.get(at) {
            Some(TraversalOperator::GetAttr(name)) => Ok(name.as_str()),
            _ => Err(format!("nothing is called {root} alone")),
        };
        let (start, rest) = match root {
            "var" => {
                let given = self.given.get(name(0)?);
                (given.cloned().ok_or(format!("nobody gives var.{}", name(0)?))?, 1)
            }
            "local" => {
                let local = self.module.all("locals").find_map(|block| argument(&block.body, name(0).ok()?));
                (self.compute(local.ok_or(format!("nothing is called local.{}", name(0)?))?)?, 1)
            }
            "each" => return Err("there is no each where there is no for_each".to_owned()),
            "data" => (self.made("data", name(0)?, name(1)?)?, 2),
            type_name => (self.made("resource", type_name, name(0)?)?, 1),
        };
        self.walk(start, &operators[rest..])
    }

    /// What is made of a resource: one, or one for each key.
    fn made(&self, kind: &str, type_name: &str, name: &str) -> Computed {
        let prefix = if kind == "data" { "data." } else { "" };
        let block = blocks(&self.module.body, kind).find(|block| label_texts(block) == [type_name, name]);
        let block = block.ok_or(format!("nothing is called {prefix}{type_name}.{name}"))?;
        let Some(keys) = argument(&block.body, "for_each") else {
            return Ok(format!("<{prefix}{type_name}.{name}>").into());
        };
        let unbound = Scope { bound: BTreeMap::new(), ..self.clone() };
        let keys = unbound.for_each(keys)?.into_iter().map(|(key, _)| key);
        Ok(Value::Object(
            keys.map(|key| (key.clone(), format!("<{prefix}{type_name}.{name}[\"{key}\"]>").into())).collect(),
        ))
    }

    pub fn for_each(&self, expression: &Expression) -> Result<Map<String, Value>, String> {
        match self.compute(expression)? {
            Value::Object(members) => Ok(members),
            other => Err(format!("for_each takes a map or a set, not {other}")),
        }
    }

    fn walk(&self, start: Value, operators: &[TraversalOperator]) -> Computed {
        operators.iter().try_fold(start, |value, operator| match operator {
            TraversalOperator::GetAttr(name) => attribute(&value, name.as_str()),
            TraversalOperator::Index(index) => member(&value, &self.compute(index)?),
            other => Err(format!("{other:?} is nothing that this computes")),
        })
    }

    fn operate(&self, operation: &Operation) -> Computed {
        let Operation::Binary(binary) = operation else {
            return Err(format!("{operation:?} is nothing that this computes"));
        };
        let (left, right) = (self.compute(&binary.lhs_expr)?, self.compute(&binary.rhs_expr)?);
        match (binary.operator, left.as_i64().zip(right.as_i64())) {
            (BinaryOperator::Eq, _) => Ok((left == right).into()),
            (BinaryOperator::NotEq, _) => Ok((left != right).into()),
            (BinaryOperator::Mul, Some((left, right))) => Ok((left * right).into()),
            (operator, _) => Err(format!("{left} {operator} {right} is nothing that this computes")),
        }
    }

    fn repeat(&self, each: &ForExpr) -> Computed {
        let items: Vec<(Value, Value)> = match self.compute(&each.collection_expr)? {
            Value::Object(members) => members.into_iter().map(|(key, value)| (key.into(), value)).collect(),
            Value::Array(items) => items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect(),
            other => return Err(format!("{other} has no members for a for")),
        };
        let (mut list, mut map) = (Vec::new(), Map::new());
        for (key, value) in items {
            let mut inner = self.clone();
            inner.bound.insert(each.value_var.as_str().to_owned(), value);
            inner.bound.extend(each.key_var.iter().map(|name| (name.as_str().to_owned(), key.clone())));
            let wanted = each.cond_expr.as_ref().map_or(Ok(Value::Bool(true)), |condition| inner.compute(condition))?;
            if wanted != Value::Bool(true) {
                continue;
            }
            match &each.key_expr {
                None => list.push(inner.compute(&each.value_expr)?),
                Some(key) => {
                    let key = as_text(&inner.compute(key)?)?;
                    if map.insert(key.clone(), inner.compute(&each.value_expr)?).is_some() {
                        return Err(format!("two members of a map are called {key}"));
                    }
                }
            }
        }
        Ok(if each.key_expr.is_some() { Value::Object(map) } else { Value::Array(list) })
    }

    fn call(&self, call: &FuncCall) -> Computed {
        let name = call.name.name.as_str();
        if name == "try" {
            let mut tried = call.args.iter().map(|argument| self.compute(argument));
            return tried.find(Result::is_ok).unwrap_or(Err("nothing that try tries can be computed".to_owned()));
        }
        let arguments: Vec<Value> =
            call.args.iter().map(|argument| self.compute(argument)).collect::<Result<_, _>>()?;
        match (name, arguments.as_slice()) {
            ("toset", [items]) => set(items),
            ("keys", [Value::Object(members)]) => Ok(members.keys().cloned().collect()),
            ("length", [items]) => Ok(members(items)?.len().into()),
            ("concat", lists) => Ok(Value::Array(lists.iter().map(members).collect::<Result<Vec<_>, _>>()?.concat())),
            ("setproduct", [first, second]) => {
                let (first, second) = (members(first)?, members(second)?);
                let pairs = first.iter().flat_map(|one| second.iter().map(move |other| [one.clone(), other.clone()]));
                Ok(pairs.map(|pair| Value::from(pair.to_vec())).collect())
            }
            ("one", [items]) => match members(items)?.as_slice() {
                [] => Ok(Value::Null),
                [item] => Ok(item.clone()),
                several => Err(format!("{several:?} are more than one")),
            },
            ("jsonencode", [value]) => Ok(value.to_string().into()),
            ("plantimestamp", []) => Ok("<now>".into()),
            ("timeadd", [Value::String(time), Value::String(duration)]) => Ok(format!("{time} + {duration}").into()),
            _ => Err(format!("{name} of {arguments:?} is nothing that this computes")),
        }
    }
}

/// A set of texts.
pub fn set(items: &Value) -> Computed {
    let keys = members(items)?.into_iter().map(|item| Ok((as_text(&item)?, item)));
    keys.collect::<Result<Map<_, _>, String>>().map(Value::Object)
}

/// Of a list or a set.
fn members(items: &Value) -> Result<Vec<Value>, String> {
    match items {
        Value::Array(items) => Ok(items.clone()),
        Value::Object(members) => Ok(members.values().cloned().collect()),
        other => Err(format!("{other} has no members")),
    }
}

fn as_text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        other => Err(format!("{other} is no text")),
    }
}

/// The name of a made thing or of something it tells.
fn unknown(value: &Value) -> Option<&str> {
    value.as_str()?.strip_prefix('<')?.strip_suffix('>').filter(|inner| !inner.contains(['<', '>']))
}

fn attribute(value: &Value, name: &str) -> Computed {
    let Some(address) = unknown(value) else {
        return value.get(name).cloned().ok_or(format!("{value} has no {name}"));
    };
    let words: Vec<&str> = address.split('[').next().unwrap_or_default().split('.').collect();
    let members = match words.as_slice() {
        ["data", type_name, _] => schema::of("data", type_name),
        [type_name, _] => schema::of("resource", type_name),
        _ => None,
    };
    match members {
        Some(members) if !members.exports.iter().any(|exported| exported == name) => {
            Err(format!("{address} has no {name}"))
        }
        _ => Ok(format!("<{address}.{name}>").into()),
    }
}

fn member(value: &Value, index: &Value) -> Computed {
    if let Some(address) = unknown(value) {
        return Ok(format!("<{address}[{index}]>").into());
    }
    let found = match index {
        Value::String(key) => value.get(key),
        other => other.as_u64().and_then(|at| value.get(usize::try_from(at).ok()?)),
    };
    found.cloned().ok_or(format!("{value} has no {index}"))
}

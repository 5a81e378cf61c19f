//! What a role may do: IAM's policy documents, read and judged.

use std::fmt;

use serde_json::Value;

use super::{
    condition::{Condition, Context},
    pattern::{covers, covers_arn},
};

/// One thing that a call must be allowed to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permission {
    /// As in `dynamodb:GetItem`.
    pub action: String,
    /// An ARN, or `*` where the action has no resource.
    pub resource: String,
    pub context: Context,
}

impl fmt::Display for Permission {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} on {}", self.action, self.resource)?;
        for (key, values) in &self.context {
            write!(formatter, ", {key} {values:?}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allowed,
    /// A statement forbids it.
    Denied,
    /// No statement allows it.
    NotAllowed,
}

#[derive(Debug, Clone)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

impl Statement {
    fn read(statement: &Value) -> Result<Self, String> {
        for key in statement.as_object().ok_or("a statement is an object")?.keys() {
            if !["Sid", "Effect", "Action", "Resource", "Condition"].contains(&key.as_str()) {
                return Err(format!("the element {key} of a statement is not understood"));
            }
        }
        let allows = match statement["Effect"].as_str() {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err(format!("a statement allows or denies: {statement}")),
        };
        let (actions, resources) = (texts(&statement["Action"])?, texts(&statement["Resource"])?);
        if let Some(variable) = resources.iter().find(|resource| resource.contains("${")) {
            return Err(format!("the policy variable in {variable} is not understood"));
        }
        Ok(Self { allows, actions, resources, conditions: Condition::read(&statement["Condition"])? })
    }

    fn covers(&self, permission: &Permission) -> bool {
        self.actions.iter().any(|action| covers_action(action, &permission.action))
            && self.resources.iter().any(|resource| covers_arn(resource, &permission.resource))
            && self.conditions.iter().all(|condition| condition.holds(&permission.context))
    }
}

/// IAM does not tell capitals from small letters in actions.
fn covers_action(pattern: &str, action: &str) -> bool {
    covers(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase())
}

/// Everything that one role's policies say.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    statements: Vec<Statement>,
}

impl Policies {
    /// # Errors
    /// What is written there and not understood here.
    pub fn read<'a>(documents: impl IntoIterator<Item = &'a Value>) -> Result<Self, String> {
        let mut statements = Vec::new();
        for document in documents {
            match &document["Statement"] {
                Value::Array(several) => {
                    for statement in several {
                        statements.push(Statement::read(statement)?);
                    }
                }
                one @ Value::Object(_) => statements.push(Statement::read(one)?),
                other => return Err(format!("a policy has statements: {other}")),
            }
        }
        Ok(Self { statements })
    }

    pub fn judge(&self, permission: &Permission) -> Verdict {
        let covering = |allows: bool| {
            let mut statements = self.statements.iter().filter(|statement| statement.allows == allows);
            statements.any(|statement| statement.covers(permission))
        };
        if covering(false) {
            Verdict::Denied
        } else if covering(true) {
            Verdict::Allowed
        } else {
            Verdict::NotAllowed
        }
    }

    /// What is allowed here and was used by none of these: each action with each of its resources, and each value of
    /// each condition.
    pub fn unused(&self, used: &[Permission]) -> Vec<String> {
        let mut unused = Vec::new();
        for statement in self.statements.iter().filter(|statement| statement.allows) {
            let by: Vec<&Permission> = used.iter().filter(|permission| statement.covers(permission)).collect();
            for action in &statement.actions {
                let by = by.iter().filter(|permission| covers_action(action, &permission.action));
                for resource in &statement.resources {
                    if !by.clone().any(|permission| covers_arn(resource, &permission.resource)) {
                        unused.push(format!("{action} on {resource}"));
                    }
                }
            }
            for condition in &statement.conditions {
                for value in &condition.values {
                    if !by.iter().any(|permission| condition.used(&permission.context).contains(value.as_str())) {
                        unused.push(format!("{} with {} {value}", statement.actions.join(", "), condition.key));
                    }
                }
            }
        }
        unused
    }
}

/// One text, or a list of them.
pub(super) fn texts(value: &Value) -> Result<Vec<String>, String> {
    let text = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Bool(truth) => Ok(truth.to_string()),
        other => Err(format!("a text is expected: {other}")),
    };
    match value {
        Value::Array(several) => several.iter().map(text).collect(),
        one => Ok(vec![text(one)?]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TABLE: &str = "arn:aws:dynamodb:eu-central-1:1:table/muster";

    fn permission(action: &str, resource: &str, leading: &[&str]) -> Permission {
        let values = leading.iter().map(|value| (*value).to_owned()).collect();
        let context = Context::from([("dynamodb:leadingkeys".to_owned(), values)]);
        Permission { action: action.to_owned(), resource: resource.to_owned(), context }
    }

    fn policies(statements: &Value) -> Policies {
        Policies::read([&json!({"Version": "2012-10-17", "Statement": statements})]).unwrap()
    }

    fn reader() -> Policies {
        policies(&json!([{
            "Effect": "Allow", "Action": ["dynamodb:GetItem", "dynamodb:Query"], "Resource": TABLE,
            "Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["tenants#*", "tenant#*"]}},
        }]))
    }

    #[test]
    fn what_no_statement_allows_is_refused() {
        let reader = reader();
        for (action, resource, leading, expected) in [
            ("dynamodb:GetItem", TABLE, "tenants#03", Verdict::Allowed),
            ("DynamoDB:getitem", TABLE, "tenants#03", Verdict::Allowed),
            ("dynamodb:GetItem", TABLE, "accounts", Verdict::NotAllowed),
            ("dynamodb:PutItem", TABLE, "tenants#03", Verdict::NotAllowed),
            ("dynamodb:GetItem", "arn:aws:dynamodb:eu-central-1:1:table/other", "tenants#03", Verdict::NotAllowed),
        ] {
            assert_eq!(reader.judge(&permission(action, resource, &[leading])), expected, "{action} {leading}");
        }
    }

    #[test]
    fn a_denial_wins_wherever_it_stands() {
        let statements = json!([
            {"Effect": "Deny", "Action": "dynamodb:*", "Resource": "*",
             "Condition": {"ForAnyValue:StringEquals": {"dynamodb:LeadingKeys": "accounts"}}},
            {"Effect": "Allow", "Action": "dynamodb:GetItem", "Resource": TABLE},
        ]);
        let policies = policies(&statements);
        assert_eq!(policies.judge(&permission("dynamodb:GetItem", TABLE, &["accounts"])), Verdict::Denied);
        assert_eq!(policies.judge(&permission("dynamodb:GetItem", TABLE, &["tenants#0"])), Verdict::Allowed);
    }

    #[test]
    fn a_grant_that_nobody_used_is_named() {
        let used = [permission("dynamodb:GetItem", TABLE, &["tenants#03"])];
        let all = [&used[..], &[permission("dynamodb:Query", TABLE, &["tenant#a"])]].concat();
        assert_eq!(reader().unused(&all), Vec::<String>::new());
        assert_eq!(
            reader().unused(&used),
            [
                format!("dynamodb:Query on {TABLE}"),
                "dynamodb:GetItem, dynamodb:Query with dynamodb:leadingkeys tenant#*".to_owned(),
            ]
        );
        assert_eq!(reader().unused(&[]).len(), 4);
    }

    #[test]
    fn a_document_that_is_not_understood_is_an_error() {
        let allow = |changed: Value| {
            let mut statement = json!({"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"});
            for (name, value) in changed.as_object().unwrap() {
                statement[name] = value.clone();
            }
            Policies::read([&json!({"Statement": [statement]})])
        };
        assert!(allow(json!({})).is_ok());
        for changed in [
            json!({"NotAction": "s3:PutObject"}),
            json!({"NotResource": "*"}),
            json!({"Effect": "Maybe"}),
            json!({"Resource": {"Fn::Sub": "x"}}),
            json!({"Resource": "arn:aws:s3:::x/${aws:username}/*"}),
        ] {
            assert!(allow(changed.clone()).is_err(), "{changed}");
        }
        assert!(Policies::read([&json!({})]).is_err());
    }
}

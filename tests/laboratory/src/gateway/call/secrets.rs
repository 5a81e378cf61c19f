//! Secrets Manager's calls.

use serde_json::Value;

use crate::gateway::{condition::Context, policy::Permission};

/// The condition keys that each operation's request fills in (service authorization reference), besides the secret's id.
const KNOWN: [(&str, &[(&str, &str)]); 12] = [
    ("CancelRotateSecret", &[]),
    ("CreateSecret", &[]),
    ("DeleteSecret", &[("secretsmanager:recoverywindowindays", "RecoveryWindowInDays")]),
    ("DescribeSecret", &[]),
    ("GetSecretValue", &[("secretsmanager:versionid", "VersionId"), ("secretsmanager:versionstage", "VersionStage")]),
    ("ListSecretVersionIds", &[]),
    ("ListSecrets", &[]),
    ("PutSecretValue", &[]),
    ("RestoreSecret", &[]),
    ("RotateSecret", &[("secretsmanager:rotationlambdaarn", "RotationLambdaARN")]),
    ("TagResource", &[]),
    ("UpdateSecretVersionStage", &[("secretsmanager:versionstage", "VersionStage")]),
];

pub(super) fn permissions(operation: &str, body: &Value) -> Result<Vec<Permission>, String> {
    let (_, keys) = KNOWN
        .iter()
        .find(|(known, _)| *known == operation)
        .ok_or_else(|| format!("secretsmanager:{operation} is not known"))?;
    let mut context = Context::new();
    let resource = match operation {
        // It has no resource level.
        "ListSecrets" => "*",
        "CreateSecret" => text(body, "Name")?,
        _ => text(body, "SecretId")?,
    };
    if body["SecretId"].is_string() {
        context.insert("secretsmanager:secretid".to_owned(), vec![resource.to_owned()]);
    }
    for (key, field) in *keys {
        match &body[*field] {
            Value::String(text) => context.insert((*key).to_owned(), vec![text.clone()]),
            Value::Number(number) => context.insert((*key).to_owned(), vec![number.to_string()]),
            _ => None,
        };
    }
    let own = Permission { action: format!("secretsmanager:{operation}"), resource: resource.to_owned(), context };
    // Secrets Manager asks for the function as whoever calls (AWS.md, section 2).
    let function = body["RotationLambdaARN"].as_str().filter(|_| operation == "RotateSecret");
    let invoke = function.map(|function| Permission {
        action: "lambda:InvokeFunction".to_owned(),
        resource: function.to_owned(),
        context: Context::new(),
    });
    Ok([own].into_iter().chain(invoke).collect())
}

fn text<'a>(body: &'a Value, name: &str) -> Result<&'a str, String> {
    body[name].as_str().ok_or_else(|| format!("the request has no {name}"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::gateway::call::tests::{needs, request};

    fn call(operation: &str, body: &Value) -> Result<Vec<String>, String> {
        let target = format!("secretsmanager.{operation}");
        needs(&request("POST", "/", &[("x-amz-target", &target)], &body.to_string()))
    }

    #[test]
    fn a_read_says_which_label_it_asks_for() {
        let needed = call("GetSecretValue", &json!({"SecretId": "muster/app", "VersionStage": "AWSPENDING"})).unwrap();
        assert_eq!(
            needed,
            ["secretsmanager:GetSecretValue on muster/app, secretsmanager:secretid [\"muster/app\"], \
              secretsmanager:versionstage [\"AWSPENDING\"]"]
        );
        let silent = call("GetSecretValue", &json!({"SecretId": "muster/app"})).unwrap();
        assert!(!silent[0].contains("versionstage"), "{silent:?}");
    }

    #[test]
    fn a_removal_says_for_how_long_it_can_be_taken_back() {
        let needed = call("DeleteSecret", &json!({"SecretId": "a", "RecoveryWindowInDays": 30})).unwrap();
        assert!(needed[0].contains("secretsmanager:recoverywindowindays [\"30\"]"), "{needed:?}");
        let at_once = call("DeleteSecret", &json!({"SecretId": "a", "ForceDeleteWithoutRecovery": true})).unwrap();
        assert!(!at_once[0].contains("recoverywindow"), "{at_once:?}");
    }

    #[test]
    fn a_rotation_needs_the_function_that_does_it_too() {
        let needed = call("RotateSecret", &json!({"SecretId": "a", "RotationLambdaARN": "arn:f"})).unwrap();
        assert!(needed[0].contains("secretsmanager:rotationlambdaarn [\"arn:f\"]"), "{needed:?}");
        assert_eq!(needed[1], "lambda:InvokeFunction on arn:f");
        assert_eq!(call("RotateSecret", &json!({"SecretId": "a"})).unwrap().len(), 1);
    }

    #[test]
    fn a_list_is_of_no_secret() {
        assert_eq!(call("ListSecrets", &json!({})).unwrap(), ["secretsmanager:ListSecrets on *"]);
        assert!(call("PutSecretValue", &json!({})).is_err());
        assert!(call("BatchGetSecretValue", &json!({"SecretIdList": ["a"]})).is_err());
    }
}

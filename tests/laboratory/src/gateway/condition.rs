//! A policy statement's conditions.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{pattern::covers, policy::texts};

/// What is known of a request, by condition key in small letters. A key may have several values.
pub type Context = BTreeMap<String, Vec<String>>;

/// The condition keys that the gateway knows how to fill in. One that is not among them would be judged as absent, which
/// is wrong in both directions.
const MODELLED: [&str; 15] = [
    "aws:principalarn",
    "aws:resourceaccount",
    "aws:securetransport",
    "dynamodb:leadingkeys",
    "s3:prefix",
    "events:detail-type",
    "events:source",
    "secretsmanager:recoverywindowindays",
    "secretsmanager:rotationlambdaarn",
    "secretsmanager:secretid",
    "secretsmanager:versionid",
    "secretsmanager:versionstage",
    "sts:durationseconds",
    "sts:identitytokenaudience",
    "sts:signingalgorithm",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quantifier {
    /// The operator has none: the key has one value.
    One,
    /// True as well when the key is absent.
    All,
    Any,
}

/// One key of one operator, with the values that the policy allows for it.
#[derive(Debug, Clone)]
pub struct Condition {
    quantifier: Quantifier,
    if_exists: bool,
    negated: bool,
    like: bool,
    /// Numbers, of which none may be greater.
    at_most: bool,
    pub key: String,
    pub values: Vec<String>,
}

impl Condition {
    /// Every condition of a statement.
    ///
    /// # Errors
    /// What is written there and not understood here.
    pub fn read(block: &Value) -> Result<Vec<Self>, String> {
        let mut found = Vec::new();
        for (operator, keys) in block.as_object().into_iter().flatten() {
            let keys = keys.as_object().ok_or_else(|| format!("{operator} holds no keys: {keys}"))?;
            for (key, values) in keys {
                found.push(Self::of(operator, key, texts(values)?)?);
            }
        }
        Ok(found)
    }

    fn of(operator: &str, key: &str, values: Vec<String>) -> Result<Self, String> {
        let (quantifier, rest) = match operator.split_once(':') {
            Some(("ForAllValues", rest)) => (Quantifier::All, rest),
            Some(("ForAnyValue", rest)) => (Quantifier::Any, rest),
            Some(_) => return Err(format!("the condition operator {operator} is not understood")),
            None => (Quantifier::One, operator),
        };
        let (if_exists, rest) = rest.strip_suffix("IfExists").map_or((false, rest), |rest| (true, rest));
        let at_most = rest == "NumericLessThanEquals";
        let (negated, like) = match rest {
            // Whole numbers are written in one way.
            "StringEquals" | "NumericEquals" | "NumericLessThanEquals" | "Bool" => (false, false),
            "StringLike" | "ArnLike" => (false, true),
            "StringNotEquals" => (true, false),
            "StringNotLike" => (true, true),
            _ => return Err(format!("the condition operator {operator} is not understood")),
        };
        let key = key.to_ascii_lowercase();
        if !MODELLED.contains(&key.as_str()) {
            return Err(format!("the condition key {key} is not understood"));
        }
        Ok(Self { quantifier, if_exists, negated, like, at_most, key, values })
    }

    pub fn holds(&self, context: &Context) -> bool {
        let Some(present) = context.get(&self.key).filter(|values| !values.is_empty()) else {
            // An absent key fails what asks for a value and passes what forbids one.
            return self.if_exists || self.quantifier == Quantifier::All || self.negated;
        };
        let fits = |value: &String| self.values.iter().any(|wanted| self.fits(wanted, value)) != self.negated;
        match self.quantifier {
            Quantifier::One | Quantifier::All => present.iter().all(fits),
            Quantifier::Any => present.iter().any(fits),
        }
    }

    fn fits(&self, wanted: &str, value: &str) -> bool {
        if self.at_most {
            let number = |text: &str| text.parse::<u64>().ok();
            return number(value).zip(number(wanted)).is_some_and(|(value, wanted)| value <= wanted);
        }
        if self.like { covers(wanted, value) } else { wanted == value }
    }

    /// Which of the values somebody's request needed.
    pub fn used(&self, context: &Context) -> BTreeSet<&str> {
        let present = context.get(&self.key).map_or(&[][..], Vec::as_slice);
        let needed = |wanted: &&String| present.iter().any(|value| self.fits(wanted, value));
        self.values.iter().filter(needed).map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn context(key: &str, values: &[&str]) -> Context {
        Context::from([(key.to_owned(), values.iter().map(|value| (*value).to_owned()).collect())])
    }

    #[test]
    fn operators_judge_as_iam_does() {
        let leading = "dynamodb:LeadingKeys";
        for (operator, values, present, expected) in [
            ("StringEquals", json!("tenants#0"), &["tenants#0"][..], true),
            ("StringEquals", json!("tenants#*"), &["tenants#0"], false),
            ("StringLike", json!("tenants#*"), &["tenants#0"], true),
            ("StringLike", json!("tenants#*"), &[], false),
            ("StringLikeIfExists", json!("tenants#*"), &[], true),
            ("StringNotEquals", json!("accounts"), &["accounts"], false),
            ("StringNotEquals", json!("accounts"), &["other"], true),
            ("StringNotLike", json!("acc*"), &[], true),
            ("ForAllValues:StringLike", json!(["tenants#*", "accounts"]), &["tenants#1", "accounts"], true),
            ("ForAllValues:StringLike", json!(["tenants#*"]), &["tenants#1", "accounts"], false),
            // The trap: a request without the key passes.
            ("ForAllValues:StringLike", json!(["tenants#*"]), &[], true),
            ("ForAnyValue:StringLike", json!(["tenants#*"]), &["tenants#1", "accounts"], true),
            ("ForAnyValue:StringLike", json!(["tenants#*"]), &[], false),
        ] {
            let conditions = Condition::read(&json!({operator: {leading: values.clone()}})).unwrap();
            let holds = conditions[0].holds(&context("dynamodb:leadingkeys", present));
            assert_eq!(holds, expected, "{operator} {values} on {present:?}");
        }
    }

    #[test]
    fn what_is_not_understood_is_an_error_and_never_a_guess() {
        for block in [
            json!({"NumericLessThan": {"s3:prefix": "1"}}),
            json!({"ForSomeValues:StringLike": {"s3:prefix": "x"}}),
            json!({"StringLike": {"aws:PrincipalTag/team": "x"}}),
            json!({"StringLike": "x"}),
        ] {
            assert!(Condition::read(&block).is_err(), "{block}");
        }
    }

    #[test]
    fn the_values_that_nobody_needed_are_known() {
        let block = json!({"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["tenants#*", "accounts"]}});
        let condition = &Condition::read(&block).unwrap()[0];
        assert_eq!(condition.used(&context("dynamodb:leadingkeys", &["tenants#3"])), BTreeSet::from(["tenants#*"]));
    }
}

//! Secrets Manager's rules where ministack is laxer than AWS (AWS.md, sections 2 and 5).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};
use tokio::sync::{Mutex as Turn, MutexGuard as OurTurn};

use super::{
    answer::Answer,
    call::{Call, Request, Service},
};
use crate::aws::Aws;

/// Secrets Manager takes no more.
const LONGEST_VALUE: usize = 65_536;

/// Seconds since 1970; when the next rotation is due of a secret whose first has just begun.
const NEXT: i64 = 4_000_000_000;

/// How a secret is rotated, as `DescribeSecret` tells it.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub function_arn: String,
    /// `RotationRules`, as the template has them.
    pub rules: Value,
    /// Seconds since 1970.
    pub next: i64,
}

#[derive(Debug)]
pub struct Vault {
    upstream: Aws,
    /// Held while a version is looked up and written, which AWS does at once.
    turn: Turn<()>,
    /// By the secret's ARN. ministack knows no `RotationSchedule`.
    schedules: Mutex<BTreeMap<String, Schedule>>,
    /// Every rotation that was begun: the secret's ARN, and the version under rotation.
    begun: Mutex<BTreeSet<(String, String)>>,
    /// What was stored: the secret's ARN, the version, the value. AWS keeps a version for a day at least that has lost
    /// its labels, and takes no other value for it.
    stored: Mutex<BTreeMap<(String, String), String>>,
}

/// A call that may go on to ministack, and what has to be set right once it has been there.
pub(super) enum Course<'a> {
    Answered(Answer),
    Forward(Forwarded<'a>),
}

#[derive(Default)]
pub(super) struct Forwarded<'a> {
    /// Held until the answer is there.
    _turn: Option<OurTurn<'a, ()>>,
    /// Labels that are on other versions and are to leave them: (label, version).
    moved: Vec<(String, String)>,
}

impl Vault {
    pub(super) fn new(upstream: Aws) -> Self {
        Self {
            upstream,
            turn: Turn::default(),
            schedules: Mutex::default(),
            begun: Mutex::default(),
            stored: Mutex::default(),
        }
    }

    pub fn schedule(&self, arn: &str, schedule: Schedule) {
        self.schedules.lock().unwrap_or_else(PoisonError::into_inner).insert(arn.to_owned(), schedule);
    }

    /// The ARN that IAM judges by. A secret that does not exist has no suffix, so that `name-??????` does not cover it.
    pub(super) async fn arn(&self, id: &str, region: &str, account: &str) -> String {
        if let Ok(secret) = self.describe(id).await {
            return secret["ARN"].as_str().unwrap_or_default().to_owned();
        }
        if id.starts_with("arn:") {
            id.to_owned()
        } else {
            format!("arn:aws:secretsmanager:{region}:{account}:secret:{id}")
        }
    }

    async fn ask(&self, operation: &str, body: &Value) -> Result<Value, Answer> {
        let said = self.upstream.json("secretsmanager", &format!("secretsmanager.{operation}"), body).await;
        let answer: Value = serde_json::from_slice(&said.body).unwrap_or_default();
        if said.status < 300 { Ok(answer) } else { Err(Answer::json(said.status, &answer)) }
    }

    async fn describe(&self, id: &str) -> Result<Value, Answer> {
        self.ask("DescribeSecret", &json!({"SecretId": id})).await
    }

    /// What AWS would say before it does anything.
    pub(super) async fn before(&self, call: &Call, request: &Request) -> Course<'_> {
        let body = request.json().unwrap_or_default();
        match call.operation.as_str() {
            "PutSecretValue" => {
                let turn = self.turn.lock().await;
                match self.put(&body).await {
                    Ok(moved) => Course::Forward(Forwarded { _turn: Some(turn), moved }),
                    Err(answer) => Course::Answered(answer),
                }
            }
            "CreateSecret" => Course::Answered(self.create(body).await.unwrap_or_else(|answer| answer)),
            "RotateSecret" => {
                let (id, token) = (text(&body, "SecretId"), text(&body, "ClientRequestToken"));
                Course::Answered(match self.begin_rotation(id, token).await {
                    Ok(arn) => {
                        self.take_up(&arn, &body);
                        Answer::json(200, &json!({"ARN": arn, "Name": id, "VersionId": token}))
                    }
                    Err(answer) => answer,
                })
            }
            "UpdateSecretVersionStage" => {
                Course::Forward(Forwarded { _turn: Some(self.turn.lock().await), moved: Vec::new() })
            }
            _ => Course::Forward(Forwarded::default()),
        }
    }

    /// Makes a secret whose first version bears the caller's token; ministack would make up an id.
    async fn create(&self, mut body: Value) -> Result<Answer, Answer> {
        let token = text(&body, "ClientRequestToken").to_owned();
        check_token(&token)?;
        let (id, value) = (body["Name"].clone(), body["SecretString"].take());
        let _turn = self.turn.lock().await;
        if self.describe(text(&body, "Name")).await.is_ok_and(|secret| !secret["DeletedDate"].is_null()) {
            // ministack says that it exists.
            let message =
                "You can't create this secret because a secret with this name is already scheduled for deletion.";
            return Err(refused("InvalidRequestException", message));
        }
        let known = self.ask("GetSecretValue", &json!({"SecretId": id, "VersionId": token})).await.unwrap_or_default();
        if value.is_string() && known["SecretString"] == value {
            // The very same request has come before (API reference).
            return Ok(Answer::json(200, &json!({"ARN": known["ARN"], "Name": id, "VersionId": token})));
        }
        let mut made = self.ask("CreateSecret", &body).await?;
        let (arn, unasked) = (text(&made, "ARN").to_owned(), text(&made, "VersionId").to_owned());
        if value.is_string() {
            let first = json!({"SecretId": id, "ClientRequestToken": token, "SecretString": value});
            self.ask("PutSecretValue", &first).await?;
            self.unlabel(&arn, "AWSPREVIOUS", &unasked).await?;
            let first = text(&first, "SecretString").to_owned();
            self.stored.lock().unwrap_or_else(PoisonError::into_inner).insert((arn, token.clone()), first);
            made["VersionId"] = token.into();
        } else {
            self.unlabel(&arn, "AWSCURRENT", &unasked).await?;
        }
        Ok(Answer::json(200, &made))
    }

    /// The labels that a put takes from other versions, if it may be made.
    async fn put(&self, body: &Value) -> Result<Vec<(String, String)>, Answer> {
        let (id, token) = (text(body, "SecretId"), text(body, "ClientRequestToken"));
        check_token(token)?;
        let value = text(body, "SecretString");
        if value.is_empty() || value.len() > LONGEST_VALUE {
            return Err(refused("ValidationException", &format!("SecretString has {} bytes", value.len())));
        }
        let secret = self.describe(id).await?;
        let is_pending =
            body["VersionStages"].as_array().is_some_and(|labels| labels.iter().any(|one| one == "AWSPENDING"));
        if is_pending && text(body, "RotationToken").is_empty() && self.has_begun(text(&secret, "ARN"), token) {
            // Required of a caller with an assumed role (API reference), which a function is. With which error is not said.
            let message = "You must hand on the RotationToken that Secrets Manager gave to the rotation function.";
            return Err(refused("InvalidRequestException", message));
        }
        let known = self.ask("GetSecretValue", &json!({"SecretId": id, "VersionId": token})).await.ok();
        let version = (text(&secret, "ARN").to_owned(), token.to_owned());
        let is_removed = !secret["DeletedDate"].is_null();
        let kept = self.stored.lock().unwrap_or_else(PoisonError::into_inner).get(&version).cloned();
        let kept = kept.filter(|_| !is_removed);
        let labelled = known.as_ref().and_then(|version| version["SecretString"].as_str());
        if let Some(stored) = labelled.or(kept.as_deref()) {
            if stored != value {
                let message = "You can't modify an existing version, you can only create a new version.";
                return Err(refused("ResourceExistsException", message));
            }
            let labels = &secret["VersionIdsToStages"][token];
            let same =
                json!({"ARN": secret["ARN"], "Name": secret["Name"], "VersionId": token, "VersionStages": labels});
            return Err(Answer::json(200, &same));
        }
        let labels = body["VersionStages"].as_array().cloned().unwrap_or_default();
        let mut moved = Vec::new();
        for (version, stages) in secret["VersionIdsToStages"].as_object().into_iter().flatten() {
            let carries = |label: &&Value| stages.as_array().is_some_and(|stages| stages.contains(label));
            // The labels of a promotion are ministack's own to move, and it does.
            let taken = labels.iter().filter(|label| *label != "AWSCURRENT" && version != token).filter(carries);
            moved.extend(taken.map(|label| (label.as_str().unwrap_or_default().to_owned(), version.clone())));
        }
        if !is_removed {
            self.stored.lock().unwrap_or_else(PoisonError::into_inner).insert(version, value.to_owned());
        }
        Ok(moved)
    }

    /// Labels an empty version `AWSPENDING`, as AWS does before it calls the function. The secret's ARN.
    ///
    /// # Errors
    /// AWS's answer where the rotation of another version is not over.
    pub(crate) async fn begin_rotation(&self, id: &str, token: &str) -> Result<String, Answer> {
        check_token(token)?;
        let _turn = self.turn.lock().await;
        let secret = self.describe(id).await?;
        if !secret["DeletedDate"].is_null() {
            let message = "You can't perform this operation on the secret because it was marked for deletion.";
            return Err(refused("InvalidRequestException", message));
        }
        for (version, stages) in secret["VersionIdsToStages"].as_object().into_iter().flatten() {
            let has = |label: &str| stages.as_array().is_some_and(|stages| stages.iter().any(|stage| stage == label));
            if has("AWSPENDING") && !has("AWSCURRENT") && version != token {
                let message = "A previous rotation isn't complete. That rotation will be reattempted.";
                return Err(refused("InvalidRequestException", message));
            }
        }
        let arn = text(&secret, "ARN").to_owned();
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).insert((arn.clone(), token.to_owned()));
        let known = self.ask("GetSecretValue", &json!({"SecretId": id, "VersionId": token})).await.is_ok();
        if !known {
            // ministack keeps a version without a value, which is what AWS hands to the first step.
            let empty = json!({"SecretId": id, "ClientRequestToken": token, "VersionStages": ["AWSPENDING"]});
            self.ask("PutSecretValue", &empty).await?;
            for (version, stages) in secret["VersionIdsToStages"].as_object().into_iter().flatten() {
                if version != token && stages.as_array().is_some_and(|all| all.iter().any(|one| one == "AWSPENDING")) {
                    self.unlabel(id, "AWSPENDING", version).await?;
                }
            }
        }
        Ok(arn)
    }

    /// Keeps the schedule that a rotation was asked for with.
    fn take_up(&self, arn: &str, body: &Value) {
        if body["RotationLambdaARN"].is_string() {
            let (function_arn, rules) = (text(body, "RotationLambdaARN").to_owned(), body["RotationRules"].clone());
            self.schedule(arn, Schedule { function_arn, rules, next: NEXT });
        }
    }

    fn has_begun(&self, arn: &str, token: &str) -> bool {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).contains(&(arn.to_owned(), token.to_owned()))
    }

    /// Takes a label off a version, as the platform itself does once a rotation is complete.
    ///
    /// # Errors
    /// AWS's answer where the version does not carry it.
    pub(crate) async fn unlabel(&self, id: &str, label: &str, version: &str) -> Result<(), Answer> {
        let body = json!({"SecretId": id, "VersionStage": label, "RemoveFromVersionId": version});
        self.ask("UpdateSecretVersionStage", &body).await.map(drop)
    }

    /// What AWS would have answered.
    pub(super) async fn after(
        &self,
        forwarded: Forwarded<'_>,
        call: &Call,
        request: &Request,
        answer: Answer,
    ) -> Answer {
        if answer.status >= 300 {
            return answer;
        }
        let (asked, mut told) = (request.json().unwrap_or_default(), body(&answer));
        for (label, version) in &forwarded.moved {
            if let Err(refused) = self.unlabel(text(&asked, "SecretId"), label, version).await {
                return refused;
            }
        }
        match call.operation.as_str() {
            "GetSecretValue" => {
                let missing = told["SecretString"].is_null() && told["SecretBinary"].is_null();
                let stage = &asked["VersionStage"];
                let elsewhere =
                    stage.is_string() && !told["VersionStages"].as_array().is_some_and(|labels| labels.contains(stage));
                if missing || elsewhere {
                    let message = "Secrets Manager can't find the specified secret value for that version and label.";
                    return refused("ResourceNotFoundException", message);
                }
                answer
            }
            "ListSecretVersionIds" if asked["IncludeDeprecated"] != true => {
                if let Some(versions) = told["Versions"].as_array_mut() {
                    versions.retain(|version| version["VersionStages"].as_array().is_some_and(|all| !all.is_empty()));
                }
                Answer::json(answer.status, &told)
            }
            "DescribeSecret" => {
                let schedules = self.schedules.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(schedule) = schedules.get(text(&told, "ARN")) {
                    told["RotationEnabled"] = true.into();
                    told["RotationLambdaARN"] = schedule.function_arn.clone().into();
                    told["RotationRules"] = schedule.rules.clone();
                    told["NextRotationDate"] = schedule.next.into();
                }
                Answer::json(answer.status, &told)
            }
            _ => answer,
        }
    }
}

/// `ClientRequestToken` has 32 to 64 letters (API reference).
fn check_token(token: &str) -> Result<(), Answer> {
    if (32..=64).contains(&token.len()) {
        return Ok(());
    }
    Err(refused(
        "ValidationException",
        &format!("ClientRequestToken has {} letters, and must have 32 to 64", token.len()),
    ))
}

fn refused(code: &str, message: &str) -> Answer {
    Answer::error(Service::SecretsManager, 400, code, message)
}

fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name].as_str().unwrap_or_default()
}

fn body(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gateway, Ministack, Operator, Policies, Role};

    const FIRST: &str = "00000000-0000-4000-8000-000000000001";
    const SECOND: &str = "00000000-0000-4000-8000-000000000002";
    const THIRD: &str = "00000000-0000-4000-8000-000000000003";

    /// A secret behind a gateway.
    struct Scene {
        gateway: Gateway,
        caller: Operator,
        secret: &'static str,
    }

    impl Scene {
        fn new(secret: &'static str) -> Self {
            let ministack = Ministack::shared();
            let gateway = Gateway::before(ministack);
            let caller = Operator::at(&gateway.open("caller", None));
            let body = json!({"Name": secret, "SecretString": "first", "ClientRequestToken": FIRST});
            let made = caller.json("secretsmanager", "secretsmanager.CreateSecret", &body).json();
            assert_eq!(made["VersionId"], FIRST);
            Self { gateway, caller, secret }
        }

        /// What an operation on the secret comes to: its answer, or the code of its error.
        fn ask(&self, operation: &str, mut body: Value) -> Result<Value, String> {
            body["SecretId"] = self.secret.into();
            let said = self.caller.json("secretsmanager", &format!("secretsmanager.{operation}"), &body);
            let answer: Value = serde_json::from_slice(&said.body).unwrap();
            if said.status == 200 { Ok(answer) } else { Err(answer["__type"].as_str().unwrap().to_owned()) }
        }

        fn put(&self, version: &str, value: &str, labels: &[&str]) -> Result<Value, String> {
            let body = json!({"ClientRequestToken": version, "SecretString": value, "VersionStages": labels});
            self.ask("PutSecretValue", body)
        }

        /// As a rotation function puts it.
        fn put_with(&self, rotation_token: &str, version: &str, value: &str) -> Result<Value, String> {
            let body = json!({"ClientRequestToken": version, "SecretString": value, "VersionStages": ["AWSPENDING"],
                              "RotationToken": rotation_token});
            self.ask("PutSecretValue", body)
        }

        fn read(&self, version: &str, label: &str) -> Result<String, String> {
            let version = self.ask("GetSecretValue", json!({"VersionId": version, "VersionStage": label}))?;
            Ok(version["SecretString"].as_str().unwrap().to_owned())
        }

        /// The ids of every page.
        fn versions(&self, deprecated: bool) -> Vec<String> {
            let (mut ids, mut next) = (Vec::new(), Value::Null);
            loop {
                let mut asked = json!({"IncludeDeprecated": deprecated});
                if next.is_string() {
                    asked["NextToken"] = next;
                }
                let page = self.ask("ListSecretVersionIds", asked).unwrap();
                let versions = page["Versions"].as_array().unwrap();
                assert!(versions.len() <= 1, "a short page: {page}");
                ids.extend(versions.iter().map(|version| text(version, "VersionId").to_owned()));
                next = page["NextToken"].clone();
                if !next.is_string() {
                    return ids;
                }
            }
        }

        fn labels(&self) -> Value {
            self.ask("DescribeSecret", json!({})).unwrap()["VersionIdsToStages"].clone()
        }
    }

    fn not_found() -> Result<String, String> {
        Err("ResourceNotFoundException".to_owned())
    }

    #[test]
    fn a_version_is_written_once() {
        let scene = Scene::new("vault/once");
        scene.put(SECOND, "second", &["AWSPENDING"]).unwrap();
        let again = scene.put(SECOND, "second", &["AWSPENDING"]).unwrap();
        assert_eq!(again["VersionId"], SECOND);
        assert_eq!(scene.put(SECOND, "other", &["AWSPENDING"]), Err("ResourceExistsException".to_owned()));
        assert_eq!(scene.read(SECOND, "AWSPENDING").as_deref(), Ok("second"));
        assert_eq!(scene.put("short", "third", &["AWSPENDING"]), Err("ValidationException".to_owned()));
        assert_eq!(scene.put(THIRD, "", &["AWSPENDING"]), Err("ValidationException".to_owned()));
        let long = "x".repeat(LONGEST_VALUE + 1);
        assert_eq!(scene.put(THIRD, &long, &["AWSPENDING"]), Err("ValidationException".to_owned()));
    }

    #[test]
    fn a_version_and_a_label_that_lie_apart_are_not_found() {
        let scene = Scene::new("vault/apart");
        scene.put(SECOND, "second", &["AWSPENDING"]).unwrap();
        assert_eq!(scene.read(FIRST, "AWSCURRENT").as_deref(), Ok("first"));
        assert_eq!(scene.read(SECOND, "AWSCURRENT"), not_found());
        assert_eq!(scene.read(FIRST, "AWSPENDING"), not_found());
    }

    #[test]
    fn a_label_is_on_one_version() {
        let scene = Scene::new("vault/label");
        scene.put(SECOND, "second", &["AWSPENDING"]).unwrap();
        scene.put(THIRD, "third", &["AWSPENDING"]).unwrap();
        assert_eq!(scene.labels(), json!({FIRST: ["AWSCURRENT"], THIRD: ["AWSPENDING"]}));
        assert_eq!(scene.versions(false), [FIRST, THIRD], "what has no label is deprecated");
        assert!(scene.versions(true).contains(&SECOND.to_owned()));
    }

    #[test]
    fn a_rotation_begins_with_a_version_that_has_no_value_yet() {
        let scene = Scene::new("vault/rotation");
        scene.gateway.begin_rotation(scene.secret, SECOND).unwrap();
        assert_eq!(scene.labels(), json!({FIRST: ["AWSCURRENT"], SECOND: ["AWSPENDING"]}));
        assert_eq!(scene.read(SECOND, "AWSPENDING"), not_found());
        // While it is open no other begins, and the same one may be begun again.
        let other = json!({"ClientRequestToken": THIRD});
        assert_eq!(scene.ask("RotateSecret", other), Err("InvalidRequestException".to_owned()));
        scene.ask("RotateSecret", json!({"ClientRequestToken": SECOND})).unwrap();
        assert!(scene.ask("DescribeSecret", json!({})).unwrap()["RotationRules"].is_null());
        let rules = json!({"ScheduleExpression": "rate(90 days)", "Duration": "4h"});
        let with = json!({"ClientRequestToken": SECOND, "RotationLambdaARN": "arn:f", "RotationRules": rules});
        scene.ask("RotateSecret", with).unwrap();
        assert_eq!(scene.ask("DescribeSecret", json!({})).unwrap()["RotationRules"], rules);
        let without = "InvalidRequestException".to_owned();
        assert_eq!(scene.put(SECOND, "second", &["AWSPENDING"]), Err(without.clone()));
        assert_eq!(scene.put_with("", SECOND, "second"), Err(without));
        assert_eq!(scene.read(SECOND, "AWSPENDING"), not_found());
        scene.put_with("token", SECOND, "second").unwrap();
        assert_eq!(scene.read(SECOND, "AWSPENDING").as_deref(), Ok("second"));
        let finish = json!({"VersionStage": "AWSCURRENT", "MoveToVersionId": SECOND, "RemoveFromVersionId": FIRST});
        scene.ask("UpdateSecretVersionStage", finish.clone()).unwrap();
        assert!(scene.ask("UpdateSecretVersionStage", finish).is_err(), "the label has gone from there");
        assert_eq!(scene.labels(), json!({FIRST: ["AWSPREVIOUS"], SECOND: ["AWSPENDING", "AWSCURRENT"]}));
        scene.gateway.begin_rotation(scene.secret, THIRD).unwrap();
        assert_eq!(scene.labels()[SECOND], json!(["AWSCURRENT"]));
    }

    #[test]
    fn a_schedule_is_told_of() {
        let scene = Scene::new("vault/schedule");
        assert_eq!(scene.ask("DescribeSecret", json!({})).unwrap()["RotationEnabled"], false);
        let arn = scene.ask("DescribeSecret", json!({})).unwrap()["ARN"].as_str().unwrap().to_owned();
        let schedule =
            Schedule { function_arn: "arn:x".to_owned(), rules: json!({"AutomaticallyAfterDays": 30}), next: 7 };
        scene.gateway.schedule(&arn, schedule);
        let told = scene.ask("DescribeSecret", json!({})).unwrap();
        assert_eq!((&told["RotationEnabled"], &told["NextRotationDate"]), (&json!(true), &json!(7)));
    }

    #[test]
    fn a_secret_is_judged_by_its_arn_and_one_that_is_not_there_has_no_suffix() {
        let scene = Scene::new("vault/arn");
        let policy = json!({"Statement": [{
            "Effect": "Allow", "Action": "secretsmanager:GetSecretValue",
            "Resource": "arn:aws:secretsmanager:*:*:secret:vault/*-??????",
            "Condition": {"StringEquals": {"secretsmanager:VersionStage": "AWSCURRENT"}},
        }]});
        let role = Role { arn: "arn:aws:iam::0:role/r".to_owned(), policies: Policies::read([&policy]).unwrap() };
        let caller = Operator::at(&scene.gateway.open("reader", Some(role)));
        let read = |secret: &str, label: &str| {
            let body = json!({"SecretId": secret, "VersionStage": label});
            let said = caller.json("secretsmanager", "secretsmanager.GetSecretValue", &body);
            (said.status, serde_json::from_slice::<Value>(&said.body).unwrap()["__type"].clone())
        };
        assert_eq!(read("vault/arn", "AWSCURRENT"), (200, Value::Null));
        assert_eq!(read("vault/arn", "AWSPREVIOUS"), (400, json!("AccessDeniedException")));
        assert_eq!(read("vault/nobody", "AWSCURRENT"), (400, json!("AccessDeniedException")));
        let refusals = scene.gateway.journal().refusals();
        assert_eq!(refusals.len(), 2, "{refusals:?}");
        assert!(refusals[1].contains(":secret:vault/nobody,"), "{refusals:?}");
        assert_eq!(scene.gateway.journal().granted("reader").len(), 1);
        assert_eq!(scene.gateway.journal().faults(), Vec::<String>::new());
    }
}

//! Secrets Manager's part in a rotation, as the template's `RotationSchedule` orders it, and stricter than any emulator
//! (AWS.md, section 2): the four steps by Lambda Invoke with the secret's ARN and a `RotationToken`, a version that awaits
//! its value from the beginning, nothing after the first error, and then all of it again under the same token.

use std::time::Duration;

use harness::{CLIENT, HOME, SECRET};
use jiff::Timestamp;
use laboratory::{Schedule, When, until};
use serde_json::{Value, json};
use simulator::{Certificate, ClientSecret};

use crate::{
    microsoft::{CONSOLE_CLIENT, Microsoft, entry},
    stack::{PUBLIC_URL, Stack},
    template::{Template, target},
};

const FUNCTION: &str = "credential-rotation";
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];
const FIRST: &str = "10000000-0000-4000-8000-000000000001";
const SECOND: &str = "20000000-0000-4000-8000-000000000002";
/// Seconds since 1970; when the next rotation is due.
const NEXT: i64 = 4_000_000_000;

/// A driver for the one secret that the template schedules.
pub struct Driver<'a> {
    stack: &'a Stack,
    pub arn: String,
}

impl<'a> Driver<'a> {
    /// Does what CloudFormation would have made Secrets Manager do: keep the rules, and test the function.
    pub fn schedule(stack: &'a Stack) -> Self {
        let (_, schedule) = Template::shared().only("AWS::SecretsManager::RotationSchedule");
        let function = target(&schedule["RotationLambdaARN"]).unwrap();
        assert_eq!(stack.physical[function], format!("muster-{FUNCTION}"));
        let name = schedule["SecretId"]["Fn::Sub"].as_str().unwrap().replace("${SecretsPrefix}", "muster");
        let arn = stack.secret(&name)["ARN"].as_str().unwrap().to_owned();
        let days = &Template::shared().json["Parameters"]["RotateEveryDays"]["Default"];
        let mut rules = schedule["RotationRules"].clone();
        let expression = rules["ScheduleExpression"]["Fn::Sub"].as_str().unwrap();
        rules["ScheduleExpression"] = expression.replace("${RotateEveryDays}", &days.to_string()).into();
        let function_arn = stack.outputs["RotationFunctionArn"].clone();
        stack.gateway.schedule(&arn, Schedule { function_arn, rules, next: NEXT });
        let driver = Self { stack, arn };
        if schedule["RotateImmediatelyOnUpdate"] == false {
            driver.test_only(FIRST);
        }
        driver
    }

    /// For a secret that a person has scheduled, with the same function.
    pub fn of(stack: &'a Stack, name: &str) -> Self {
        Self { stack, arn: stack.secret(name)["ARN"].as_str().unwrap().to_owned() }
    }

    /// What Secrets Manager does when a rotation is switched on and not begun: a temporary version, and `testSecret` alone.
    fn test_only(&self, token: &str) {
        self.stack.gateway.begin_rotation(&self.arn, token).unwrap();
        self.step("testSecret", token).unwrap();
        self.stack.gateway.unlabel(&self.arn, "AWSPENDING", token).unwrap();
    }

    pub fn begin(&self, token: &str) -> Result<(), String> {
        self.stack.gateway.begin_rotation(&self.arn, token)
    }

    pub fn step(&self, step: &str, token: &str) -> Result<Value, Value> {
        let event = json!({
            "Step": step, "SecretId": self.arn, "ClientRequestToken": token, "RotationToken": "canary-rotation-token",
        });
        self.stack.invoke(FUNCTION, &event)
    }

    /// All four steps, as far as they go.
    pub fn attempt(&self, token: &str) -> Result<(), Value> {
        STEPS.iter().try_for_each(|step| self.step(step, token).map(drop))
    }

    /// A whole rotation that nothing disturbs, and what Secrets Manager tidies up after it.
    pub fn rotate(&self, token: &str) {
        self.begin(token).unwrap();
        self.attempt(token).unwrap_or_else(|error| panic!("{error:#}\n{}", self.stack.output(FUNCTION)));
        self.conclude(token);
    }

    /// After the last step: the label is taken off, and the end is one of those that let the next rotation begin.
    pub fn conclude(&self, token: &str) {
        if self.labels(token).contains(&"AWSPENDING".to_owned()) {
            self.stack.gateway.unlabel(&self.arn, "AWSPENDING", token).unwrap();
        }
        assert_eq!(self.labels(token), ["AWSCURRENT"]);
        let labels = self.stack.secret(&self.arn)["VersionIdsToStages"].to_string();
        assert!(!labels.contains("AWSPENDING") && labels.contains("AWSPREVIOUS"), "{labels}");
    }

    /// The version of the rotation that somebody else has begun.
    pub fn begun(&self) -> String {
        let described = self.stack.secret(&self.arn);
        let versions = described["VersionIdsToStages"].as_object().unwrap();
        let open = versions.iter().find(|(_, labels)| labels.to_string().contains("AWSPENDING"));
        open.unwrap_or_else(|| panic!("no rotation is open: {described:#}")).0.clone()
    }

    fn labels(&self, token: &str) -> Vec<String> {
        let described = self.stack.secret(&self.arn);
        let labels = described["VersionIdsToStages"][token].as_array().cloned().unwrap_or_default();
        labels.iter().map(|label| label.as_str().unwrap().to_owned()).collect()
    }
}

/// A stack that holds the application's secret and is scheduled to rotate it.
fn stage(microsoft: &Microsoft) -> Stack {
    let stack = Stack::deploy(microsoft, &[]);
    stack.muster(&["vault", "put", "app"], &entry(CLIENT, HOME, SECRET).to_string());
    stack
}

/// The key ids of the application's secrets at Entra.
fn at_entra(microsoft: &Microsoft) -> Vec<String> {
    microsoft
        .simulator
        .world(|world| world.application(CLIENT).unwrap().secrets.iter().map(|secret| secret.key_id.clone()).collect())
}

/// Nothing was refused that should not be, and nothing was asked that AWS does not know.
fn assert_clean(stack: &Stack) {
    assert_eq!(stack.gateway.journal().refusals(), Vec::<String>::new());
    assert_eq!(stack.gateway.journal().faults(), Vec::<String>::new());
}

#[test]
fn a_rotation_that_dies_at_any_call_is_repeated_under_its_token_to_the_same_end() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = stage(&microsoft);
    let driver = Driver::schedule(&stack);
    let moments = [
        ("PutSecretValue", When::Before),
        ("PutSecretValue", When::After),
        ("GetSecretValue", When::After),
        ("UpdateSecretVersionStage", When::Before),
        ("UpdateSecretVersionStage", When::After),
    ];
    for (number, (operation, when)) in moments.into_iter().enumerate() {
        let token = format!("30000000-0000-4000-8000-{number:012}");
        driver.begin(&token).unwrap();
        let killed = stack.killer(FUNCTION);
        stack.gateway.upon(FUNCTION, operation, when, killed);
        let died = driver.attempt(&token).expect_err("it was killed");
        assert!(died["errorMessage"].as_str().unwrap().contains("exited"), "{operation} {when:?}: {died}");
        // No other rotation begins meanwhile, wherever the first was left; unless its last deed was its end.
        let over = (operation, when) == ("UpdateSecretVersionStage", When::After);
        assert_eq!(driver.begin(SECOND).is_ok(), over, "{operation} {when:?}");
        if over {
            stack.gateway.unlabel(&driver.arn, "AWSPENDING", SECOND).unwrap();
        }
        driver.attempt(&token).unwrap_or_else(|error| panic!("{operation} {when:?}: {error}"));
        driver.conclude(&token);
        let kept = at_entra(&microsoft);
        assert!(kept.len() <= number + 2, "{operation} {when:?} left an orphan: {kept:?}");
    }
    assert_clean(&stack);
}

#[test]
fn a_step_that_comes_twice_or_late_changes_nothing() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = stage(&microsoft);
    let driver = Driver::schedule(&stack);
    driver.begin(SECOND).unwrap();
    for step in STEPS {
        driver.step(step, SECOND).unwrap();
        let secrets = at_entra(&microsoft);
        driver.step(step, SECOND).unwrap();
        assert_eq!(at_entra(&microsoft), secrets, "{step}");
    }
    driver.conclude(SECOND);
    for step in STEPS {
        assert_eq!(driver.step(step, SECOND).unwrap()["outcome"], "already_current", "{step}");
    }
    assert_eq!(at_entra(&microsoft).len(), 2, "the old secret stays until the next rotation");
    // A token that nobody began is refused, by us before anybody else.
    let unknown = driver.step("createSecret", "40000000-0000-4000-8000-000000000004").unwrap_err();
    assert!(
        unknown["errorMessage"].as_str().unwrap().contains("no version of this secret under rotation"),
        "{unknown}"
    );
    assert_clean(&stack);
}

#[test]
fn a_rotation_without_the_right_stops_at_its_first_step_and_the_old_secret_works_on() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = stage(&microsoft);
    let driver = Driver::schedule(&stack);
    microsoft.simulator.world(|world| world.registration(CLIENT).owners.clear());
    driver.begin(SECOND).unwrap();
    for _ in 0..2 {
        let refused = driver.attempt(SECOND).unwrap_err();
        assert!(refused["errorMessage"].as_str().unwrap().contains("Application.ReadWrite.OwnedBy"), "{refused}");
    }
    assert_eq!(at_entra(&microsoft).len(), 1);
    assert_eq!(stack.secret("muster/app")["VersionIdsToStages"][SECOND], json!(["AWSPENDING"]));
    microsoft.simulator.world(|world| world.registration(CLIENT).owners.push(CLIENT.to_owned()));
    driver.attempt(SECOND).unwrap();
    driver.conclude(SECOND);
    assert_clean(&stack);
}

#[test]
fn every_kind_rotates_by_the_one_schedule_of_the_template() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = stage(&microsoft);
    let driver = Driver::schedule(&stack);
    let token = |number: usize| format!("50000000-0000-4000-8000-{number:012}");
    let store = |credential: &Value| {
        let entry = json!({"client_id": CLIENT, "home_tenant_id": HOME, "credential": credential});
        stack.muster(&["vault", "put", "app"], &entry.to_string());
    };
    // What was current before is of no use from here on: what the rotation made has to work alone.
    let alone = |kind: &str| {
        microsoft.simulator.world(|world| {
            let application = world.application(CLIENT).unwrap();
            let (secrets, certificates) = (application.secrets.len(), application.certificates.len());
            application.secrets.drain(..secrets - usize::from(kind == "client_secret"));
            application.certificates.drain(..certificates - usize::from(kind == "certificate"));
        });
        let mark = microsoft.mark();
        let report = stack.daily_check();
        let refused = |finding: &Value| finding["kind"] == "refused";
        assert!(!report["findings"].as_array().unwrap().iter().any(refused), "{kind}: {report:#}");
        let log = microsoft.simulator.log();
        let taken = |entry: &simulator::Entry| entry.credential.as_deref() == Some(kind) && entry.status == 200;
        assert!(log[mark..].iter().any(taken), "{kind}: nobody got a token with it");
    };
    driver.rotate(&token(1));
    alone("client_secret");

    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
    parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
    parameters.not_after = rcgen::date_time_ymd(2040, 1, 1);
    let made = parameters.self_signed(&key).unwrap();
    let key_id = "a0000000-0000-4000-8000-0000000000ce".to_owned();
    microsoft.simulator.world(|world| {
        let der = made.der().to_vec();
        world.application(CLIENT).unwrap().certificates.push(Certificate { key_id, der, usable_from: None });
    });
    store(&json!({"kind": "certificate", "certificate_pem": made.pem(), "private_key_pem": key.serialize_pem()}));
    driver.rotate(&token(2));
    alone("certificate");
    driver.rotate(&token(3));
    alone("certificate");

    let (issuer, jwks) = (stack.gateway.issuer(), stack.gateway.jwks());
    microsoft.trusts(&issuer, &jwks, &stack.outputs["EntraIdentity"], "api://AzureADTokenExchange");
    stack.gateway.enable_federation(true);
    store(&json!({"kind": "federated"}));
    driver.rotate(&token(4));
    alone("federated");
    assert_clean(&stack);
}

#[test]
fn a_rotation_that_can_never_succeed_is_called_off_and_the_next_one_begins() {
    let microsoft = Microsoft::new(PUBLIC_URL);
    let stack = stage(&microsoft);
    let driver = Driver::schedule(&stack);
    let token = |number: usize| format!("70000000-0000-4000-8000-{number:012}");
    let begins = |number: usize| {
        driver.begin(&token(number)).unwrap();
        driver.step("createSecret", &token(number)).unwrap();
    };
    let is_called_off = |number: usize, why: &str| {
        let refused = driver.attempt(&token(number)).unwrap_err();
        assert!(refused["errorMessage"].as_str().unwrap().contains(why), "{refused}");
        assert!(driver.labels(&token(number)).is_empty(), "Secrets Manager would begin no other rotation");
    };
    // A person stores another secret of the same application meanwhile, or another application.
    let made = is_made_by_hand(&microsoft);
    for (number, stored) in [made.clone(), entry(CONSOLE_CLIENT, HOME, SECRET)].iter().enumerate() {
        begins(number);
        is_a_second_later();
        stack.muster(&["vault", "put", "app"], &stored.to_string());
        let current = stack.current("muster/app");
        is_called_off(number, "another credential was stored since this rotation began");
        assert_eq!(stack.current("muster/app"), current, "what a person has stored stays");
        if number == 1 {
            stack.muster(&["vault", "put", "app"], &made.to_string());
        }
    }
    // Or makes the other application current again by its label, which stores nothing.
    begins(2);
    let (current, other) = (stack.current("muster/app"), stack.labelled("muster/app", "AWSPREVIOUS"));
    let back = json!({
        "SecretId": "muster/app", "VersionStage": "AWSCURRENT", "MoveToVersionId": other, "RemoveFromVersionId": current,
    });
    stack.operator.json("secretsmanager", "secretsmanager.UpdateSecretVersionStage", &back).json();
    is_called_off(2, "another application");
    stack.muster(&["vault", "put", "app"], &made.to_string());
    driver.rotate(SECOND);
    assert_clean(&stack);
}

/// Another secret of the application, which the function has not made; as an operator stores it.
fn is_made_by_hand(microsoft: &Microsoft) -> Value {
    let key_id = "a0000000-0000-4000-8000-0000000000f7";
    let value = "canary-made-by-hand-5f60";
    microsoft.simulator.world(|world| {
        let secrets = &mut world.application(CLIENT).unwrap().secrets;
        secrets.push(ClientSecret { key_id: key_id.to_owned(), value: value.to_owned(), ..secrets[0].clone() });
    });
    let mut entry = entry(CLIENT, HOME, value);
    entry["credential"]["key_id"] = json!(key_id);
    entry
}

/// ministack tells in whole seconds when a version was made; Secrets Manager tells a thousandth.
fn is_a_second_later() {
    let begun = Timestamp::now().as_second();
    until("the second is over", Duration::from_secs(10), || (Timestamp::now().as_second() > begun).then_some(()));
}

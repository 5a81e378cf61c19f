//! When credentials are renewed, and that nobody but Secrets Manager may ask for it.

use shared::credential::rotation::LIFETIME;

use crate::template::{Template, target};

const DAY: u64 = 24;

#[test]
fn a_rotation_is_scheduled_and_a_deployment_never_begins_one() {
    let template = Template::shared();
    let (function, _) = template.function("credential-rotation");
    let (name, schedule) = template.only("AWS::SecretsManager::RotationSchedule");
    assert_eq!(target(&schedule["RotationLambdaARN"]), Some(function));
    assert_eq!(schedule["RotateImmediatelyOnUpdate"], false);
    let rules = &schedule["RotationRules"];
    assert!(rules["ScheduleExpression"].to_string().contains("${RotateEveryDays} days"), "{rules}");
    // A secret that we make lives for 180 days; in its last ones an alarm rings, and a failed rotation needs time to be
    // mended before that.
    let days = &template.json["Parameters"]["RotateEveryDays"];
    let alarms = template.all("AWS::CloudWatch::Alarm").map(|(_, alarm)| alarm);
    let expiring = alarms.filter(|alarm| alarm["MetricName"] == "CredentialDaysLeft");
    let rings = expiring.map(|alarm| alarm["Threshold"].as_u64().unwrap()).max().unwrap();
    let (most, default) = (days["MaxValue"].as_u64().unwrap(), days["Default"].as_u64().unwrap());
    let life = LIFETIME.as_hours().unsigned_abs() / DAY;
    assert!(most + rings + 14 <= life && default <= life / 2, "{days}");
    let window = rules["Duration"].as_str().unwrap().strip_suffix('h').unwrap().parse::<u64>().unwrap();
    // Each attempt may take 15 minutes a step, and Secrets Manager repeats within the window.
    assert!((2..=DAY).contains(&window), "{window} h");
    let secret = schedule["SecretId"]["Fn::Sub"].as_str().unwrap();
    assert_eq!(secret, "${SecretsPrefix}/app");
    assert!(!template.json["Resources"][name]["Condition"].is_null(), "a federated credential does not rotate");
}

#[test]
fn only_this_accounts_secrets_manager_may_rotate() {
    let template = Template::shared();
    let (function, _) = template.function("credential-rotation");
    let permissions = template.all("AWS::Lambda::Permission");
    let of_it: Vec<_> = permissions.filter(|(_, of)| target(&of["FunctionName"]) == Some(function)).collect();
    let [(name, permission)] = of_it[..] else { panic!("{of_it:?}") };
    assert_eq!(permission["Principal"], "secretsmanager.amazonaws.com");
    assert_eq!(target(&permission["SourceAccount"]), Some("AWS::AccountId"));
    let (schedule, _) = template.only("AWS::SecretsManager::RotationSchedule");
    assert_eq!(
        template.json["Resources"][schedule]["DependsOn"], name,
        "AWS tests the function as the schedule is made"
    );
}

//! What AWS does about the report of a daily check: it tells EventBridge of the findings, and has Secrets Manager rotate what
//! is due and has no schedule yet. On one machine the log tells and the host rotates, so this is no port.

use aws_config::SdkConfig;
use aws_sdk_eventbridge::{Client as EventBridge, types::PutEventsRequestEntry};
use aws_sdk_secretsmanager::{Client as SecretsManager, types::RotationRulesType};
use shared::credential::{
    check::{Finding, Report},
    name::EntryName,
};

/// What rules on the default bus match.
const SOURCE: &str = "muster";
const DETAIL_TYPE: &str = "Credential Finding";
/// PutEvents takes no more at once (EventBridge API reference).
const BATCH: usize = 10;
/// Rotations that one check begins at least: each keeps an environment of the function busy for minutes, and the pullers
/// need theirs. More are spread over so many days, of which half a credential's life has plenty.
const AT_LEAST: usize = 5;
const DAYS: usize = 14;
/// As the stack's own schedule is by default: half of the life of what Muster makes, and four hours for each try.
const EVERY: &str = "rate(90 days)";
const DURATION: &str = "4h";

#[derive(Debug)]
pub struct Aftermath {
    events: EventBridge,
    secrets: SecretsManager,
}

impl Aftermath {
    pub fn new(sdk: &SdkConfig) -> Self {
        Self { events: EventBridge::new(sdk), secrets: SecretsManager::new(sdk) }
    }

    /// Tells of the findings, and begins the rotations by the function of this ARN. How many of either have failed; each is
    /// logged, and the next check tries again.
    pub async fn follow(&self, prefix: &str, report: &Report, function_arn: &str) -> (u64, u64) {
        let mut failed = 0;
        for batch in entries(&report.findings).chunks(BATCH) {
            failed += self.tell(batch).await;
        }
        let due: Vec<&String> = report.due.iter().filter(|name| is_ours_to_schedule(name, prefix)).collect();
        let (share, mut begun, mut not_begun) = (share(due.len()), 0, 0);
        for name in due {
            match self.rotate(name, function_arn).await {
                true => begun += 1,
                false => not_begun += 1,
            }
            if begun >= share {
                break;
            }
        }
        (failed, not_begun)
    }

    /// How many of these nobody got. An entry that is refused is named by its place, and the others are taken.
    async fn tell(&self, batch: &[PutEventsRequestEntry]) -> u64 {
        match self.events.put_events().set_entries(Some(batch.to_vec())).send().await {
            Ok(told) => {
                let refused = told.entries().iter().filter_map(|entry| entry.error_code());
                refused.for_each(|code| tracing::error!(code, "EventBridge has not taken the event of a finding"));
                u64::try_from(told.failed_entry_count()).unwrap_or(0)
            }
            Err(error) => {
                let error = crate::error::unavailable("events", "PutEvents", &error);
                tracing::error!(%error, events = batch.len(), "EventBridge has not taken the events of findings");
                batch.len() as u64
            }
        }
    }

    /// Takes the label off a version that can never become current, so that the next rotation can begin. Secrets Manager
    /// would go on asking for this one, and begin no other.
    pub async fn call_off(&self, secret: &str, version: &str) {
        let update = self.secrets.update_secret_version_stage().secret_id(secret).version_stage("AWSPENDING");
        match update.remove_from_version_id(version).send().await {
            Ok(_) => tracing::warn!(
                vault.name = secret,
                vault.version = version,
                "this rotation is called off; another may begin"
            ),
            Err(error) => {
                let error = crate::error::unavailable("vault", "UpdateSecretVersionStage", &error);
                tracing::error!(vault.name = secret, %error, "a rotation that can never succeed stays open");
            }
        }
    }

    /// From now on Secrets Manager rotates it by itself.
    async fn rotate(&self, name: &str, function_arn: &str) -> bool {
        let rules = RotationRulesType::builder().schedule_expression(EVERY).duration(DURATION).build();
        let rotate = self.secrets.rotate_secret().secret_id(name).rotation_lambda_arn(function_arn);
        match rotate.rotation_rules(rules).rotate_immediately(true).send().await {
            Ok(_) => {
                tracing::info!(vault.name = name, "Secrets Manager rotates it from now on");
                true
            }
            Err(error) => {
                let error = crate::error::unavailable("vault", "RotateSecret", &error);
                tracing::error!(vault.name = name, %error, "the rotation of what is due does not begin");
                false
            }
        }
    }
}

/// How many of those that are due begin today.
fn share(due: usize) -> usize {
    due.div_ceil(DAYS).max(AT_LEAST)
}

/// Whether the schedule of `app` is the stack's to make, which has a setting for it.
fn is_ours_to_schedule(name: &str, prefix: &str) -> bool {
    EntryName::parse(name, prefix).is_some_and(|entry| entry.short(prefix) != "app")
}

/// One for each finding that is worth an event. Never a secret, nor a link.
fn entries(findings: &[Finding]) -> Vec<PutEventsRequestEntry> {
    let worth_it = findings.iter().filter(|finding| finding.is_worth_an_event());
    let detail = worth_it.filter_map(|finding| serde_json::to_string(finding).ok());
    let entry =
        |detail| PutEventsRequestEntry::builder().source(SOURCE).detail_type(DETAIL_TYPE).detail(detail).build();
    detail.map(entry).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::credential::check::{Kind, Severity};

    use super::*;

    const TENANT: &str = "a0000000-0000-4000-8000-0000000000aa";

    fn finding(short: &str, severity: Severity, is_new: bool) -> Finding {
        let name = EntryName::parse(&format!("muster/{short}"), "muster").unwrap();
        Finding { is_new, ..Finding::of(&name, short, Kind::Drift, severity, "Mend it.".to_owned()) }
    }

    #[test]
    fn many_that_are_due_at_once_are_spread_over_a_fortnight() {
        for (due, today) in [(0, 5), (3, 5), (70, 5), (71, 6), (1000, 72)] {
            assert_eq!(share(due), today, "{due}");
        }
    }

    #[test]
    fn what_presses_is_an_event_every_day_and_the_rest_when_it_is_new() {
        let own = format!("tenants/{TENANT}");
        let findings = [
            finding("app", Severity::Notice, false),
            finding(&own, Severity::Notice, true),
            finding("app", Severity::Warning, false),
        ];
        let details: Vec<Value> =
            entries(&findings).iter().map(|entry| serde_json::from_str(entry.detail().unwrap()).unwrap()).collect();
        let expected = json!({"vault": format!("muster/{own}"), "name": own, "kind": "drift", "severity": "notice",
            "text": "Mend it.", "tenant_id": TENANT, "new": true});
        assert_eq!(details.len(), 2);
        assert_eq!(details[0], expected);
        assert_eq!(entries(&findings)[1].source(), Some("muster"));
        assert_eq!(entries(&findings)[1].detail_type(), Some("Credential Finding"));
    }

    #[test]
    fn the_stack_schedules_its_own_application_and_we_the_others() {
        for (name, ours) in [
            ("muster/app", false),
            ("muster/apps/read-only", true),
            ("muster/console", true),
            (&format!("muster/tenants/{TENANT}"), true),
            ("other/console", false),
        ] {
            assert_eq!(is_ours_to_schedule(name, "muster"), ours, "{name}");
        }
    }
}

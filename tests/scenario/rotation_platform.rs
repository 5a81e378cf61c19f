//! Rotation on a platform that is not as kind as ours: ARNs, rotation tokens, schedules, answers that are lost, rivals.

use std::sync::{Arc, Mutex};

use harness::{CLIENT, HAND_MADE, LOOK_ALIKE, STEPS, Stage, at, keys, rotate, seconds, step};
use jiff::Timestamp;
use serde_json::json;
use shared::{
    App,
    credential::{
        check::Kind,
        rotation::{Disposition, Pace},
    },
    ports::{
        Ports, Unavailable,
        vault::{
            Description, Schedule,
            Stage::{self as Label, Current},
            Vault, VaultError, Version,
        },
    },
    secret::Secret,
};
use simulator::{ClientSecret, CredentialPropagation};

/// A vault as AWS's: it knows secrets by their ARNs too, and takes nothing from a rotation without its token.
#[derive(Debug)]
struct Strict {
    vault: Arc<dyn Vault>,
    tokens: Mutex<Vec<Option<String>>>,
    /// What happens to the next put.
    trouble: Mutex<Option<Trouble>>,
}

#[derive(Debug)]
enum Trouble {
    /// It is stored, and nobody hears of that.
    LostAnswer,
    /// Somebody else stores this first.
    Overtaken(Secret<String>),
}

const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:muster/app-AbC12x";

fn by_arn(id: &str) -> &str {
    if id == ARN { "muster/app" } else { id }
}

#[async_trait::async_trait]
impl Vault for Strict {
    async fn read(&self, name: &str, stage: Label, version: Option<&str>) -> Result<Version, VaultError> {
        self.vault.read(by_arn(name), stage, version).await
    }

    async fn put(
        &self,
        name: &str,
        version: &str,
        value: &Secret<String>,
        stages: &[Label],
        rotation_token: Option<&str>,
    ) -> Result<(), VaultError> {
        self.tokens.lock().unwrap().push(rotation_token.map(str::to_owned));
        let put = |value| self.vault.put(by_arn(name), version, value, stages, rotation_token);
        let trouble = self.trouble.lock().unwrap().take();
        match trouble {
            None => put(value).await,
            Some(Trouble::LostAnswer) => {
                put(value).await?;
                Err(Unavailable::new("vault", "no answer in time").into())
            }
            Some(Trouble::Overtaken(theirs)) => {
                put(&theirs).await?;
                put(value).await
            }
        }
    }

    async fn promote(&self, name: &str, to: &str, from: &str) -> Result<(), VaultError> {
        self.vault.promote(by_arn(name), to, from).await
    }

    async fn describe(&self, name: &str) -> Result<Description, VaultError> {
        let next = Some(at(-60));
        Ok(Description { schedule: Schedule::Platform { next }, ..self.vault.describe(by_arn(name)).await? })
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, VaultError> {
        self.vault.list(prefix).await
    }

    async fn remove(&self, name: &str) -> Result<Option<Timestamp>, VaultError> {
        self.vault.remove(by_arn(name)).await
    }

    async fn restore(&self, name: &str) -> Result<bool, VaultError> {
        self.vault.restore(by_arn(name)).await
    }
}

fn strict(stage: &Stage, trouble: Option<Trouble>) -> (Arc<Strict>, App) {
    let vault = stage.app.ports.vault.clone();
    let strict = Arc::new(Strict { vault, tokens: Mutex::default(), trouble: Mutex::new(trouble) });
    let ports = Ports { vault: strict.clone(), ..stage.app.ports.clone() };
    let app = App::new(stage.app.config.clone(), ports, stage.app.http.clone(), stage.app.clock.clone());
    (strict, app)
}

#[test]
fn the_platforms_token_and_arn_are_handed_on_as_they_came() {
    let stage = Stage::rotating();
    let (strict, app) = strict(&stage, None);
    stage.begin("v2");
    let pace = Pace::new(std::time::Duration::from_secs(890), |_, _| {});
    for name in STEPS {
        let event = json!({"Step": name, "SecretId": ARN, "ClientRequestToken": "v2", "RotationToken": "t-o-k-e-n"});
        stage.drive(credential_rotation::handle(&app, event, &pace), |_| {}).unwrap();
    }
    assert_eq!(*strict.tokens.lock().unwrap(), [Some("t-o-k-e-n".to_owned())]);
    assert_ne!(stage.key_id(Current), HAND_MADE);
    // Whoever has a platform that schedules leaves the rotating to it, and hears when that does not happen.
    stage.days(200);
    let event = json!({"check": "credentials", "scheduled_time": stage.now()});
    let answer = stage.drive(credential_rotation::handle(&app, event, &pace), |_| {}).unwrap();
    let credential_rotation::Answer::Checked(report) = answer else { panic!("{answer:?}") };
    assert!(report.findings.iter().any(|finding| finding.kind == Kind::RotationOverdue), "{report:?}");
    assert_eq!(report.due, Vec::<String>::new());
}

#[test]
fn a_put_whose_answer_is_lost_counts_as_what_it_was() {
    let stage = Stage::rotating();
    let (_, app) = strict(&stage, Some(Trouble::LostAnswer));
    stage.begin("v2");
    let error = stage.drive(step(&app, "createSecret", "v2"), |_| {}).unwrap_err();
    assert_eq!(error.disposition(), Disposition::Retry, "{error}");
    // What was stored is good, and the retry goes on with it.
    stage.drive(rotate(&app, "v2"), |_| {}).unwrap();
    assert_eq!(stage.graph_calls("addPassword"), 1);
    assert_eq!(stage.at_entra(), keys(&[HAND_MADE, LOOK_ALIKE, &stage.key_id(Current)]));
}

#[test]
fn whoever_is_overtaken_takes_back_what_it_made_and_goes_on_with_what_is_stored() {
    let stage = Stage::rotating();
    // No replica shows the loser's secret yet, so that only the loser itself can know of it.
    stage.world(|world| world.credential_propagation = CredentialPropagation { least: seconds(18), most: seconds(18) });
    let mut theirs = stage.raw_entry(Current);
    theirs["credential"]["key_id"] = json!("c0000000-0000-4000-8000-00000000000c");
    theirs["credential"]["value"] = json!("the-faster-ones-secret");
    stage.world(|world| {
        world.application(CLIENT).unwrap().secrets.push(ClientSecret {
            key_id: "c0000000-0000-4000-8000-00000000000c".to_owned(),
            value: "the-faster-ones-secret".to_owned(),
            start: at(0),
            end: at(1_000_000),
            usable_from: None,
        });
    });
    let (_, app) = strict(&stage, Some(Trouble::Overtaken(Secret::new(theirs.to_string()))));
    stage.begin("v2");
    stage.drive(step(&app, "createSecret", "v2"), |_| {}).unwrap();
    let expected = keys(&[HAND_MADE, LOOK_ALIKE, "c0000000-0000-4000-8000-00000000000c"]);
    assert_eq!((stage.graph_calls("addPassword"), stage.at_entra()), (1, expected));
    stage.drive(rotate(&app, "v2"), |_| {}).unwrap();
    assert_eq!(stage.key_id(Current), "c0000000-0000-4000-8000-00000000000c");
}

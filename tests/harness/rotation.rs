//! A stage whose application may change its own credentials, and what drives rotations there: Secrets Manager's part.

use std::{
    collections::BTreeSet,
    pin::pin,
    task::{Context, Poll, Waker},
    time::Duration,
};

use credential_rotation::{Answer, Error, handle};
use futures::executor::block_on;
use jiff::SignedDuration;
use serde_json::{Value, json};
use shared::{
    App,
    credential::{check::Report, entry::Entry, rotation::Pace},
    ports::vault::Stage as Label,
    tenant::{Ability, Feed},
};
use simulator::{Certificate, ClientSecret, Quota, Tenant};

use crate::{CLIENT, HOME, SECRET, Stage, at, canary::overhear, minutes, seconds};

/// The key id of the secret that somebody made by hand.
pub const HAND_MADE: &str = "a0000000-0000-4000-8000-00000000000c";
/// The key id of the certificate that somebody registered by hand.
pub const HAND_MADE_CERTIFICATE: &str = "a0000000-0000-4000-8000-0000000000ce";
/// The key id of another system's secret, whose name looks like one of ours.
pub const LOOK_ALIKE: &str = "a0000000-0000-4000-8000-0000000000f0";
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];
/// What passes between two looks of a driver.
const MOMENT: SignedDuration = SignedDuration::from_millis(250);

/// Key ids, as [`Stage::at_entra`] gives them.
pub fn keys(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// One step of the stage's application, as Secrets Manager asks for it.
pub async fn step(app: &App, name: &str, version: &str) -> Result<Answer, Error> {
    step_of(app, "muster/app", name, version).await
}

async fn step_of(app: &App, entry: &str, name: &str, version: &str) -> Result<Answer, Error> {
    let event = json!({"Step": name, "SecretId": entry, "ClientRequestToken": version});
    let answer = handle(app, event, &Pace::new(Duration::from_secs(890), |_, _| {})).await;
    match &answer {
        Ok(answer) => overhear(serde_json::to_string(answer).expect("an answer is JSON")),
        Err(error) => overhear(format!("{error} {error:?}")),
    }
    answer
}

/// All four steps of the stage's application.
pub async fn rotate(app: &App, version: &str) -> Result<(), Error> {
    rotate_entry(app, "muster/app", version).await
}

/// All four steps of any entry.
pub async fn rotate_entry(app: &App, entry: &str, version: &str) -> Result<(), Error> {
    for name in STEPS {
        step_of(app, entry, name, version).await?;
    }
    Ok(())
}

impl Stage {
    /// As [`Stage::connected`]; the application owns itself, its entry names the hand-made secret, and another system
    /// keeps a secret on the same application.
    pub fn rotating() -> Self {
        Self::rotating_with(&[])
    }

    pub fn rotating_with(settings: &[(&str, &str)]) -> Self {
        let stage = Self::with(settings);
        stage.world(|world| {
            world.add_tenant(Tenant::new(HOME, "Provider").consented(
                CLIENT,
                &["Application.ReadWrite.OwnedBy"],
                at(-10_000),
            ));
            world.registration(CLIENT).owners.push(CLIENT.to_owned());
            world.name_credential(LOOK_ALIKE, "muster/0123456789ab/v0");
            let application = world.application(CLIENT).expect("it is there");
            application.secrets.push(ClientSecret {
                key_id: LOOK_ALIKE.to_owned(),
                value: "another-systems-secret".to_owned(),
                start: at(-200_000),
                end: at(1_000_000),
                usable_from: None,
            });
        });
        let credential = json!({"kind": "client_secret", "value": SECRET, "key_id": HAND_MADE});
        stage.store_application(&credential, "v1-named");
        stage.connect(crate::TENANT).expect("the tenant has approved");
        stage
    }

    /// As [`Stage::rotating`]; the application has a certificate that somebody made and registered by hand, and no secret
    /// of ours. The certificate ends at this year's beginning.
    pub fn certified(ends: i32) -> Self {
        let stage = Self::rotating();
        stage.store_certificate(ends, "v1-certificate");
        stage.world(|world| {
            world.application(CLIENT).expect("it is there").secrets.retain(|secret| secret.key_id != HAND_MADE);
        });
        stage
    }

    /// Registers a certificate by hand, and stores it as current.
    pub fn store_certificate(&self, ends: i32, version: &str) {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).expect("a key");
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("a certificate");
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(ends, 1, 1);
        let made = parameters.self_signed(&key).expect("a certificate");
        let (key_id, der) = (HAND_MADE_CERTIFICATE.to_owned(), made.der().to_vec());
        self.world(|world| {
            let application = world.application(CLIENT).expect("it is there");
            application.certificates.push(Certificate { key_id, der, usable_from: None });
        });
        let credential = json!({"kind": "certificate", "certificate_pem": made.pem(),
            "private_key_pem": key.serialize_pem(), "key_id": HAND_MADE_CERTIFICATE});
        self.store_application(&credential, version);
    }

    /// The key ids of the certificates that the application really has.
    pub fn certificates_at_entra(&self) -> BTreeSet<String> {
        self.world(|world| {
            let application = world.application(CLIENT).expect("it is there");
            application.certificates.iter().map(|certificate| certificate.key_id.clone()).collect()
        })
    }

    pub fn begin(&self, version: &str) {
        self.begin_of("muster/app", version);
    }

    pub fn begin_of(&self, entry: &str, version: &str) {
        block_on(self.rotations.begin(entry, version)).expect("no rotation is open");
    }

    /// Drives one piece of work to its end; time passes in small steps, and `meanwhile` happens every second.
    pub fn drive<T>(&self, work: impl Future<Output = T>, mut meanwhile: impl FnMut(&Self)) -> T {
        let mut work = pin!(work);
        let mut context = Context::from_waker(Waker::noop());
        let begun = self.now();
        loop {
            if let Poll::Ready(value) = work.as_mut().poll(&mut context) {
                return value;
            }
            let before = self.now().as_second();
            self.pass(MOMENT);
            if self.now().as_second() > before {
                meanwhile(self);
            }
            assert!(self.now().duration_since(begun) < minutes(120), "it never ends");
        }
    }

    pub fn step(&self, name: &str, version: &str) -> Result<Answer, Error> {
        self.drive(step(&self.app, name, version), |_| {})
    }

    /// A whole rotation, from Secrets Manager's decision to the last step.
    pub fn rotate(&self, version: &str) {
        self.begin(version);
        self.drive(rotate(&self.app, version), |_| {}).expect("nothing is in the way");
    }

    /// The daily check, with the time that Lambda gives it.
    pub fn check(&self) -> Report {
        self.check_within(Duration::from_secs(890))
    }

    pub fn check_within(&self, time: Duration) -> Report {
        let event = json!({"check": "credentials", "scheduled_time": self.now()});
        let pace = Pace::new(time, |_, _| {});
        match self.drive(handle(&self.app, event, &pace), |_| {}).expect("the vault answers") {
            Answer::Checked(report) => report,
            Answer::Step { .. } => panic!("a check is no step"),
        }
    }

    pub fn days(&self, days: i64) {
        self.pass(minutes(days * 24 * 60));
    }

    /// What the vault holds under a label.
    pub fn entry(&self, stage: Label) -> Option<Entry> {
        let version = block_on(self.app.ports.vault.read("muster/app", stage, None)).ok()?;
        Some(Entry::parse(&version.value).expect("an entry"))
    }

    pub fn key_id(&self, stage: Label) -> String {
        self.entry(stage).and_then(|entry| entry.key_id).unwrap_or_default()
    }

    /// The key ids that the application really has.
    pub fn at_entra(&self) -> BTreeSet<String> {
        self.world(|world| {
            let application = world.application(CLIENT).expect("it is there");
            application.secrets.iter().map(|secret| secret.key_id.clone()).collect()
        })
    }

    /// The text of a secret at Entra.
    pub fn secret_text(&self, key_id: &str) -> String {
        self.world(|world| {
            let secrets = &world.application(CLIENT).expect("it is there").secrets;
            secrets.iter().find(|secret| secret.key_id == key_id).map(|secret| secret.value.clone()).unwrap_or_default()
        })
    }

    /// A poll that needs a new token and must succeed.
    pub fn assert_polls(&self) {
        let before = self.defender_calls().len();
        block_on(local::serve::fire(&self.app, Feed::Alerts, self.now(), 1));
        self.drain();
        assert!(self.defender_calls().len() > before, "{}: no poll: {:?}", self.now(), self.view());
        assert_eq!(self.capability().status, Ability::Ok, "{}: {:?}", self.now(), self.capability());
    }

    /// Tokens live so short that every poll asks for one.
    pub fn with_short_tokens(self) -> Self {
        self.world(|world| {
            world.token_lifetime = seconds(2);
            world.quota = Quota { per_minute: 1_000_000, per_hour: 1_000_000 };
        });
        self
    }

    /// How many requests went to Graph with this in their address.
    pub fn graph_calls(&self, part: &str) -> usize {
        self.simulator.log().iter().filter(|entry| entry.target.contains(part)).count()
    }

    /// What the vault's current version holds, field by field.
    pub fn raw_entry(&self, stage: Label) -> Value {
        let version = block_on(self.app.ports.vault.read("muster/app", stage, None)).expect("it is there");
        serde_json::from_str(version.value.expose()).expect("JSON")
    }
}

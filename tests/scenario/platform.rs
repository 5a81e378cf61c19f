//! The platform fails in part: what does not need that part goes on.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use credential_rotation::Answer;
use futures::executor::block_on;
use harness::{Stage, TENANT, minutes};
use serde_json::json;
use shared::{
    App,
    credential::rotation::Pace,
    metrics::Metrics,
    ports::{
        Ports, Unavailable,
        store::{Item, Key, Store, StoreError, Write},
    },
    tenant::{Feed, TenantId, dispatch::Tick, shard_partition},
};

/// A store that answers nothing of the partitions that begin so.
#[derive(Debug)]
struct Partly {
    store: Arc<dyn Store>,
    broken: String,
}

impl Partly {
    fn reach(&self, partition: &str) -> Result<(), Unavailable> {
        let broken = partition.starts_with(&self.broken);
        if broken { Err(Unavailable::new("state store", "an item has layout 9")) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for Partly {
    async fn get(&self, key: &Key) -> Result<Option<Item>, StoreError> {
        self.reach(&key.partition)?;
        self.store.get(key).await
    }

    async fn query(&self, partition: &str, prefix: &str) -> Result<Vec<(Key, Item)>, StoreError> {
        self.reach(partition)?;
        self.store.query(partition, prefix).await
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        writes.iter().try_for_each(|write| self.reach(&write.key().partition))?;
        self.store.commit(writes).await
    }
}

fn without(stage: &Stage, broken: &str) -> App {
    let store = Arc::new(Partly { store: stage.app.ports.store.clone(), broken: broken.to_owned() });
    let ports = Ports { store, ..stage.app.ports.clone() };
    App::new(stage.app.config.clone(), ports, stage.app.http.clone(), stage.app.clock.clone())
}

#[test]
fn a_shard_that_cannot_be_read_silences_no_other() {
    let stage = Stage::connected();
    let tick = || Tick { feed: Feed::Alerts, scheduled_time: stage.now(), every_seconds: 60 };
    let ours = TENANT.parse::<TenantId>().unwrap().shard();
    for broken in [0, 15].into_iter().filter(|shard| *shard != ours) {
        let waiting = || block_on(stage.deliveries.alerts.receive(100, minutes(6))).unwrap().len();
        waiting();
        let dispatched = block_on(pull_dispatch::handle(&without(&stage, &shard_partition(broken)), tick()));
        let error = dispatched.unwrap_err().to_string();
        assert!(error.contains("layout 9"), "{error}");
        assert!(waiting() > 0, "shard {broken} is broken, and shard {ours} is silent");
    }
}

#[test]
fn a_credentials_end_is_told_whatever_else_of_it_cannot_be_known() {
    let stage = Stage::rotating();
    let expires_at = stage.now() + minutes(9 * 24 * 60);
    let credential = json!({"kind": "client_secret", "value": harness::SECRET, "expires_at": expires_at});
    stage.store_application(&credential, "v2-ends");
    let event = || json!({"check": "credentials", "scheduled_time": stage.now()});
    let pace = Pace::new(std::time::Duration::from_secs(890), |_, _| {});
    let told = |app: App| {
        let documents = Arc::new(Mutex::new(Vec::new()));
        let app = App { metrics: Metrics::Kept(documents.clone()), ..app };
        let Ok(Answer::Checked(report)) = stage.drive(credential_rotation::handle(&app, event(), &pace), |_| {}) else {
            panic!("it is checked")
        };
        assert_eq!(report.first_end, Some(expires_at), "{report:?}");
        let told = documents.lock().unwrap().concat();
        assert!(told.contains(r#""CredentialDaysLeft":9"#), "{told}");
    };
    told(without(&stage, "tenants#"));
    // Nor when Graph's answers end the check of this entry.
    stage.world(|world| {
        world.script(simulator::Route::GraphRead, [simulator::Fault::Status(403), simulator::Fault::Status(403)]);
    });
    told(stage.app.clone());
}

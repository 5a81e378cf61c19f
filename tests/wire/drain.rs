//! The product drains an Azure Storage that is none of ours: azurite, over HTTPS, with Microsoft's own crates.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use harness::{CLIENT, HINTS, HOME, Identity, SECRET, TENANT, identity, written};
use jiff::{SignedDuration, Timestamp};
use laboratory::{Azurite, Method, until, within};
use serde_json::Value;
use shared::record::read_object;
use simulator::{Exporter, Habits, Ledger, Step, Tenant};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    azure::export,
    microsoft::{Microsoft, entry},
    programs::{Server, muster},
};

const PATIENCE: Duration = Duration::from_secs(60);
/// Each takes a tick of the server's.
const SLICES: usize = 6;
/// The last one is short: a kill that comes too late for it proves less.
const MOMENTS: [Moment; 5] = [Moment::Told, Moment::Writing, Moment::Delivered, Moment::Delivered, Moment::Delivered];

#[test]
fn another_storage_is_drained_to_the_last_record_and_each_comes_once() {
    let mut customer = Customer::new();
    let site = Site::new(&customer.azurite);

    // What nobody has heard of is found in the listing.
    customer.exporter.habits.expired_hints = 1000;
    customer.write_for(SignedDuration::from_hours(3));
    until("the hints have expired", PATIENCE, || customer.hints().is_empty().then_some(()));
    site.muster(&["vault", "put", "app"], &entry(CLIENT, HOME, SECRET).to_string());
    let place = format!("{}/{HINTS}", Azurite::ACCOUNT);
    site.muster(&["connect", TENANT, "--account", "Contoso", "--feeds", "telemetry", "--storage", &place], "");
    let server = site.serve(1);
    let total = customer.exporter.ledger().deliveries();
    until("all of it is in the lake", PATIENCE, || (site.records().values().sum::<usize>() >= total).then_some(()));
    site.holds_just(customer.exporter.ledger());

    // What is announced again and again is read again and again while it grows.
    customer.exporter.habits.expired_hints = 0;
    for _ in 0..SLICES {
        let before = site.objects().len();
        customer.write_for(SignedDuration::from_mins(25));
        customer.announce_again();
        until("some of it is in the lake", PATIENCE, || (site.objects().len() > before).then_some(()));
    }
    server.kill();

    // It dies with messages in its hands, over an object, and over its records. What it had been told is told again:
    // a message that it held is hidden for longer than this test lasts.
    for moment in MOMENTS {
        customer.write_for(SignedDuration::from_mins(60));
        let (drafts, objects) = (site.drafts(), site.objects().len());
        let server = site.serve(1);
        at_once(moment, || match moment {
            Moment::Told => customer.hints().is_empty(),
            // It is there for a moment only; on a busy machine that may be over before we look.
            Moment::Writing => site.drafts() > drafts || site.objects().len() > objects,
            Moment::Delivered => site.objects().len() > objects,
        });
        server.kill();
        customer.announce_again();
    }

    // One that is asked to stop finishes its pass.
    let before = site.objects().len();
    let server = site.serve(1);
    customer.write_for(SignedDuration::from_mins(30));
    until("some of it is in the lake", PATIENCE, || (site.objects().len() > before).then_some(()));
    server.stop();

    // Growth that nobody announces. At a tick of a minute everything is looked at.
    customer.write_for(SignedDuration::from_mins(30));
    customer.finish();
    let ledger = customer.exporter.ledger();
    let server = site.serve(60);
    let settled = within(PATIENCE, || {
        let telemetry = site.telemetry();
        let all = telemetry["ledger"]["delivered"] == ledger.deliveries() && telemetry["bytes_behind"] == 0;
        all.then_some(telemetry)
    });
    site.holds_just(ledger);
    let telemetry = settled.unwrap_or_else(|| panic!("{:#} {}", site.telemetry(), server.log()));
    server.kill();

    assert!(ledger.deliveries() > ledger.records().len(), "no record is in two blobs");
    assert!(ledger.lines() > ledger.deliveries() as u64, "no line is repeated in its blob");
    let count = |name: &str| telemetry["ledger"][name].as_u64().unwrap();
    assert_eq!(count("fetched"), ledger.lines(), "{telemetry:#}");
    assert_eq!(count("delivered"), ledger.deliveries() as u64, "{telemetry:#}");
    assert_eq!(count("deduplicated"), count("fetched") - count("delivered"), "{telemetry:#}");
    assert_eq!(count("quarantined"), 0, "{telemetry:#}");
    assert_eq!(telemetry["blobs"], ledger.blobs.len(), "{telemetry:#}");
}

/// When a server is killed.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It has received the queue's messages.
    Told,
    /// An object is being written.
    Writing,
    /// The object is in the lake.
    Delivered,
}

/// Looks without a pause until this moment is there.
#[track_caller]
fn at_once(moment: Moment, is_there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_there() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {moment:?}");
    }
}

/// A customer whose Defender exports to azurite, faster than time goes by.
struct Customer {
    azurite: Azurite,
    runtime: Runtime,
    exporter: Exporter,
    now: Timestamp,
    /// Messages that were put, and those of them that come again.
    told: BTreeSet<String>,
    held: Vec<String>,
}

impl Customer {
    fn new() -> Self {
        let (azurite, now) = (Azurite::start(), Timestamp::now());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            azurite.storage().create_container(Exporter::CONTAINER).await;
            azurite.storage().create_queue(HINTS).await;
        });
        let habits = Habits { lines_per_minute: 1..=3, repeats: 200, second_events: 1000, ..Habits::default() };
        let exporter = Exporter::new(7, TENANT, Azurite::ACCOUNT, now).with_habits(habits);
        Self { azurite, runtime, exporter, now, told: BTreeSet::new(), held: Vec::new() }
    }

    /// What the exporter does in so much of its own time.
    fn write_for(&mut self, time: SignedDuration) {
        self.now += time;
        let steps = self.exporter.advance(self.now);
        self.write(steps);
    }

    /// The rest of what it has cut short.
    fn finish(&mut self) {
        let steps = self.exporter.finish();
        self.write(steps);
    }

    fn write(&mut self, steps: Vec<Step>) {
        let storage = self.azurite.storage();
        for step in steps {
            match step {
                Step::Event { message, .. } if !self.told.insert(message.clone()) => self.held.push(message),
                step => self.runtime.block_on(export(&storage, HINTS, step)),
            }
        }
    }

    /// Event Grid brings a message at least once, and late if it likes.
    fn announce_again(&self) {
        let storage = self.azurite.storage();
        for message in &self.held {
            self.runtime.block_on(storage.put(HINTS, message, None));
        }
    }

    /// The messages that anybody could receive now.
    fn hints(&self) -> Vec<String> {
        let url = format!("{}/{HINTS}/messages?peekonly=true", self.azurite.queue_url(Azurite::ACCOUNT));
        let bearer = format!("Bearer {}", self.azurite.token());
        let headers = [("Authorization", bearer.as_str()), ("x-ms-version", Azurite::VERSION)];
        let answer = self.runtime.block_on(self.azurite.storage().ask(Method::GET, &url, &headers, Vec::new()));
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.text().split("<QueueMessage>").skip(1).map(str::to_owned).collect()
    }
}

/// A machine with `muster` on it. Its tokens are the simulator's; azurite believes them.
struct Site {
    _microsoft: Microsoft,
    folder: TempDir,
    environment: BTreeMap<String, String>,
}

impl Site {
    fn new(azurite: &Azurite) -> Self {
        let microsoft = Microsoft::new("http://127.0.0.1");
        let yesterday = Timestamp::now() - SignedDuration::from_hours(24);
        microsoft.simulator.world(|world| {
            world.tenant(TENANT).unwrap().consents =
                Tenant::new(TENANT, "Contoso").consented(CLIENT, &[], yesterday).consents;
        });
        let mut environment: BTreeMap<String, String> = ["MUSTER_LOGIN_URL", "MUSTER_DEFENDER_URL", "MUSTER_GRAPH_URL"]
            .map(|name| (name.to_owned(), microsoft.origin.clone()))
            .into();
        let certificate = azurite.ca_certificate().to_str().unwrap().to_owned();
        environment.extend([
            ("MUSTER_BLOB_URL".to_owned(), azurite.blob_url("{account}")),
            ("MUSTER_AZURE_QUEUE_URL".to_owned(), azurite.queue_url("{account}")),
            ("SSL_CERT_FILE".to_owned(), certificate),
        ]);
        Self { _microsoft: microsoft, folder: tempfile::tempdir().unwrap(), environment }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn serve(&self, tick: u32) -> Server {
        Server::start(&self.data(), tick, &self.environment, self.folder.path().join("log"))
    }

    /// What a verb answers.
    fn muster(&self, words: &[&str], input: &str) -> String {
        let data = self.data();
        let output = muster(&[words, &["--data", data.to_str().unwrap()]].concat(), &self.environment, input);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// What `muster tenants` says of the feed.
    fn telemetry(&self) -> Value {
        let mut tenants: Value = serde_json::from_str(&self.muster(&["tenants", "--json"], "")).unwrap();
        tenants[0]["feeds"]["telemetry"].take()
    }

    /// The objects with telemetry in the lake. Whatever lies there is whole.
    fn objects(&self) -> Vec<PathBuf> {
        files(&self.data().join("lake/telemetry"))
    }

    /// How often each record is in the lake.
    fn records(&self) -> BTreeMap<Identity, usize> {
        let mut records = BTreeMap::new();
        for object in self.objects() {
            read_object(&fs::read(&object).unwrap(), |line| {
                let event: Value = serde_json::from_str(line)?;
                *records.entry(identity(event["raw_data"].as_str().unwrap())).or_default() += 1;
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{}: {error}", object.display()));
        }
        records
    }

    /// Objects that are being written, and those that a kill has left so.
    fn drafts(&self) -> usize {
        files(&self.data().join("lake/.incoming")).len()
    }

    /// Each record is there once for every blob that it is in.
    #[track_caller]
    fn holds_just(&self, ledger: &Ledger) {
        let (found, expected) = (self.records(), written(ledger));
        let lost: Vec<_> = expected.iter().filter(|(record, count)| found.get(record) < Some(count)).collect();
        let doubled: Vec<_> = found.iter().filter(|(record, count)| expected.get(record) < Some(count)).collect();
        assert!(lost.is_empty() && doubled.is_empty(), "lost: {lost:?}\ntoo many: {doubled:?}");
    }
}

/// All files below a folder that may not be there yet.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

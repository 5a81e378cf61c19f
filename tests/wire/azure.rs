//! The simulator's storage beside azurite: the same questions to both, and the same answers, or a reason why not.
//!
//! Azurite is Microsoft's own emulator, so what the two agree on is no misreading of ours alone. Where azurite does
//! otherwise than Azure stands in [`DIFFERENCES`], each with its reason, and has to differ as it says.

use std::fmt::Write;

use jiff::Timestamp;
use laboratory::{Answer, Azurite, Method, Storage};
use simulator::{
    Application, ClientSecret, Exporter, Habits, Request, Simulator, Step, StorageAccount, StorageRole, Tenant,
};

/// Where azurite answers otherwise than Azure, and so than the simulator: question, azurite's answer, ours, why.
const DIFFERENCES: [(&str, &str, &str, &str); 10] = [
    ("a range from the very end", "206", "416 InvalidRange", "Azure has nothing there to send (MICROSOFT 4.5)"),
    ("a range of an empty blob", "206", "416 InvalidRange", "the same; azurite says bytes 0--1/0"),
    ("no token", "403 AuthorizationFailure", "401 NoAuthenticationInformation", "azurite misses a signature"),
    (
        "a token for Defender",
        "403 AuthenticationFailed",
        "401 InvalidAuthenticationInfo",
        "azurite has one code for all",
    ),
    ("no version", "200", "403 AuthenticationFailed", "azurite is told not to look at versions"),
    ("a version that is none", "200", "400 InvalidHeaderValue", "azurite is told not to look at versions"),
    (
        "a marker that is none",
        "200",
        "400 InvalidQueryParameterValue",
        "azurite's markers are names, and any text is one",
    ),
    ("an empty page size", "400", "400 OutOfRangeQueryParameterValue", "azurite's own checks of numbers name no code"),
    ("no messages", "400", "400 OutOfRangeQueryParameterValue", "azurite's own checks of numbers name no code"),
    ("deleting without a receipt", "400", "400 MissingRequiredQueryParameter", "azurite's own checks name no code"),
];

const CONTAINER: &str = Exporter::CONTAINER;
const QUEUE: &str = "defender-events";
const BLOB: &str = "tenantId=00000000-0000-4000-8000-0000000000aa/y=2026/m=06/d=01/h=12/m=00/PT1H.json";
const TENANT: &str = "00000000-0000-4000-8000-0000000000aa";
const CLIENT: &str = "00000000-0000-4000-8000-00000000c11e";

/// Which of an account's two services.
#[derive(Clone, Copy)]
enum Service {
    Blob,
    Queue,
}

/// The texts of all elements of this name.
fn elements(answer: &Answer, name: &str) -> Vec<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    answer.text().split(&open).skip(1).map(|part| part.split(&close).next().unwrap().to_owned()).collect()
}

/// As the list of differences writes an answer.
fn short(answer: &Answer) -> String {
    let code = answer.header("x-ms-error-code").map(|code| format!(" {code}")).unwrap_or_default();
    format!("{}{code}", answer.status)
}

/// Everything that a reader relies on, as one text; what changes from run to run is there by its form.
fn facts(answer: &Answer) -> String {
    let mut facts = short(answer);
    for name in ["content-range", "x-ms-blob-type", "x-ms-blob-committed-block-count", "accept-ranges"] {
        write!(facts, "\n{name}: {:?}", answer.header(name)).unwrap();
    }
    for name in ["etag", "last-modified", "x-ms-creation-time", "x-ms-request-id", "date", "x-ms-popreceipt"] {
        write!(facts, "\n{name}: {:?}", answer.header(name).map(form)).unwrap();
    }
    let is_xml = answer.header("content-type").is_some_and(|kind| kind.starts_with("application/xml"));
    if answer.status >= 300 {
        // An error is its code; bodies differ in their words.
        let told = if is_xml { elements(answer, "Code") } else { vec![answer.text()] };
        write!(facts, "\nerror: {told:?}").unwrap();
    } else if is_xml {
        for name in ["Name", "Content-Length", "BlobType", "MessageText", "DequeueCount"] {
            write!(facts, "\n{name}: {:?}", elements(answer, name)).unwrap();
        }
        let times = ["Creation-Time", "Last-Modified", "InsertionTime", "ExpirationTime", "TimeNextVisible"];
        for name in times.into_iter().chain(["Etag", "MessageId", "PopReceipt", "NextMarker"]) {
            let texts = elements(answer, name);
            let forms: Vec<&str> = texts.iter().map(|text| form(text)).collect();
            write!(facts, "\n{name}: {forms:?}").unwrap();
        }
    } else {
        write!(facts, "\nlength: {:?}\nbody: {}", answer.header("content-length"), answer.text()).unwrap();
    }
    facts
}

fn form(text: &str) -> &'static str {
    let hexadecimal = |text: &str| text.starts_with("0x") && text[2..].bytes().all(|byte| byte.is_ascii_hexdigit());
    match text {
        _ if text.is_empty() => "nothing",
        _ if text.len() == 29 && text.ends_with(" GMT") => "a date",
        _ if hexadecimal(text) => "an ETag",
        _ if text.starts_with('"') && hexadecimal(text.trim_matches('"')) => "an ETag in quotation marks",
        _ if text.len() == 36 && text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) => "a GUID",
        _ => "a text",
    }
}

/// What is asked. The two sides have receipts, ETags and markers of their own, so paths and headers may differ.
#[derive(Clone)]
struct Question {
    method: &'static str,
    service: Service,
    paths: [String; 2],
    headers: Vec<(&'static str, [String; 2])>,
    body: &'static str,
    version: Option<&'static str>,
    token: bool,
}

fn question(method: &'static str, service: Service, path: impl Into<String>) -> Question {
    let path = path.into();
    let paths = [path.clone(), path];
    Question { method, service, paths, headers: Vec::new(), body: "", version: Some(Azurite::VERSION), token: true }
}

fn blob(path: &str) -> Question {
    question("GET", Service::Blob, format!("{CONTAINER}/{path}"))
}

fn list(query: &str) -> Question {
    question("GET", Service::Blob, format!("{CONTAINER}?restype=container&comp=list{query}"))
}

fn queue(method: &'static str, rest: &str) -> Question {
    question(method, Service::Queue, format!("{QUEUE}/messages{rest}"))
}

impl Question {
    fn with(mut self, header: &'static str, value: &str) -> Self {
        self.headers.push((header, [value.to_owned(), value.to_owned()]));
        self
    }
}

/// The simulator and azurite, with the same in them; in this order wherever there are two of something.
struct Both {
    simulator: Simulator,
    azurite: Azurite,
    runtime: tokio::runtime::Runtime,
    bearer: String,
    differences: Vec<&'static str>,
    disagreements: Vec<String>,
}

impl Both {
    fn new() -> Self {
        let now = Timestamp::now();
        let simulator = Simulator::new(1, now);
        simulator.world(|world| {
            let secret = ClientSecret {
                key_id: "1".into(),
                value: "the value of the secret".into(),
                start: Timestamp::MIN,
                end: Timestamp::MAX,
                usable_from: None,
            };
            let application = Application { client_id: CLIENT.into(), secrets: vec![secret], ..Application::default() };
            world.add_application(application);
            world.add_tenant(Tenant::new(TENANT, "Contoso").consented(CLIENT, &[], Timestamp::MIN));
            world.add_storage(
                StorageAccount::new(Azurite::ACCOUNT, TENANT)
                    .with_container(CONTAINER)
                    .with_queue(QUEUE)
                    .with_role(CLIENT, StorageRole::BlobDataReader)
                    .with_role(CLIENT, StorageRole::QueueDataContributor),
            );
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let azurite = Azurite::start();
        runtime.block_on(async {
            azurite.storage().create_container(CONTAINER).await;
            azurite.storage().create_queue(QUEUE).await;
        });
        let bearer = token(&simulator, "https://storage.azure.com/.default");
        Self { simulator, azurite, runtime, bearer, differences: Vec::new(), disagreements: Vec::new() }
    }

    fn account<R>(&self, change: impl FnOnce(&mut StorageAccount) -> R) -> R {
        self.simulator.world(|world| change(world.storage(Azurite::ACCOUNT).unwrap()))
    }

    fn append(&self, name: &str, text: &'static str) {
        self.account(|account| account.append(CONTAINER, name, text));
        let storage = self.azurite.storage();
        self.runtime.block_on(storage.append(CONTAINER, name, text.into()));
    }

    fn create(&self, name: &str) {
        self.account(|account| account.create_append_blob(CONTAINER, name));
        let storage = self.azurite.storage();
        self.runtime.block_on(storage.create_append_blob(CONTAINER, name));
    }

    fn fill(&self, name: &str, texts: &[&'static str]) {
        self.create(name);
        texts.iter().for_each(|text| self.append(name, text));
    }

    fn put(&self, text: &str) {
        self.account(|account| account.queue(QUEUE).unwrap().put_raw(text));
        let storage = self.azurite.storage();
        self.runtime.block_on(storage.put(QUEUE, text, None));
    }

    fn export(&self, steps: Vec<Step>) {
        let storage = self.azurite.storage();
        for step in steps {
            self.account(|account| account.export(QUEUE, step.clone()));
            self.runtime.block_on(export(&storage, QUEUE, step));
        }
    }

    /// Asks both, whatever they say.
    fn ask(&self, question: &Question) -> [Answer; 2] {
        let headers = |side: usize| {
            let own = question.headers.iter().map(move |(name, values)| (*name, values[side].clone()));
            let version = question.version.map(|version| ("x-ms-version", version.to_owned()));
            let token = question.token.then(|| ("Authorization", self.bearer.clone()));
            own.chain(version).chain(token).collect::<Vec<_>>()
        };
        let (name, url) = match question.service {
            Service::Blob => ("blob", self.azurite.blob_url(Azurite::ACCOUNT)),
            Service::Queue => ("queue", self.azurite.queue_url(Azurite::ACCOUNT)),
        };
        let request = Request {
            method: question.method.into(),
            target: format!("/storage/{}/{name}/{}", Azurite::ACCOUNT, question.paths[0]),
            headers: headers(0).into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            body: question.body.into(),
        };
        let simulated = self.simulator.handle(request);
        let (status, pairs) = (simulated.status, simulated.headers.clone());
        let simulated = Answer { status, headers: pairs, body: simulated.body.collect_bytes() };

        let method: Method = question.method.parse().unwrap();
        let headers = headers(1);
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (storage, url) = (self.azurite.storage(), format!("{url}/{}", question.paths[1]));
        let emulated = self.runtime.block_on(storage.ask(method, &url, &headers, question.body.into()));
        [simulated, emulated]
    }

    /// Asks both and holds them to one answer, unless azurite is known to differ here.
    fn agree(&mut self, name: &'static str, question: &Question) -> [Answer; 2] {
        let answers = self.ask(question);
        let known = DIFFERENCES.iter().find(|(other, ..)| *other == name);
        if let Some((_, emulated, simulated, why)) = known {
            let short = [short(&answers[0]), short(&answers[1])];
            if short != [*simulated, *emulated] {
                self.disagreements.push(format!("{name} ({why}): {short:?}"));
            }
            self.differences.push(name);
        } else {
            let facts = [facts(&answers[0]), facts(&answers[1])];
            if facts[0] != facts[1] {
                self.disagreements.push(format!("{name}. The simulator:\n{}\n  azurite:\n{}\n", facts[0], facts[1]));
            }
        }
        answers
    }
}

fn token(simulator: &Simulator, scope: &str) -> String {
    let form = [
        ("client_id", CLIENT),
        ("scope", scope),
        ("grant_type", "client_credentials"),
        ("client_secret", "the value of the secret"),
    ];
    let body = form.map(|(name, value)| format!("{name}={}", escaped(value))).join("&");
    let target = format!("/{TENANT}/oauth2/v2.0/token");
    let answer = simulator.handle(Request::post(&target, "application/x-www-form-urlencoded", body));
    let answer: serde_json::Value = serde_json::from_slice(&answer.body.collect_bytes()).unwrap();
    format!("Bearer {}", answer["access_token"].as_str().unwrap())
}

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[test]
fn both_answer_the_same_questions_alike() {
    let mut both = Both::new();
    blobs(&mut both);
    lists(&mut both);
    messages(&mut both);
    admission(&mut both);
    assert!(both.disagreements.is_empty(), "{}", both.disagreements.join("\n"));
    let listed: Vec<&str> = DIFFERENCES.iter().map(|(name, ..)| *name).collect();
    let mut met = both.differences.clone();
    met.sort_unstable();
    let mut expected = listed;
    expected.sort_unstable();
    assert_eq!(met, expected, "every known difference is asked for");
    assert!(both.simulator.refusals().is_empty(), "{:?}", both.simulator.refusals());
}

fn blobs(both: &mut Both) {
    both.fill(BLOB, &["0123456789", "abcdefghij"]);
    both.create("empty");
    for (name, range) in [
        ("a range to the end", "bytes=8-"),
        ("a range in the middle", "bytes=8-12"),
        ("a range beyond the end", "bytes=15-8796093022307"),
        ("a range from the very end", "bytes=20-"),
        ("a range from behind the end", "bytes=21-"),
    ] {
        both.agree(name, &blob(BLOB).with("Range", range));
    }
    both.agree("a range by Microsoft's own header", &blob(BLOB).with("x-ms-range", "bytes=3-4"));
    both.agree("a range of an empty blob", &blob("empty").with("Range", "bytes=0-"));
    both.agree("a blob as a whole", &blob(BLOB));
    both.agree("a blob whose slashes are escaped", &blob(&BLOB.replace('/', "%2F")));
    both.agree("an empty blob as a whole", &blob("empty"));
    both.agree("the properties of a blob", &Question { method: "HEAD", ..blob(BLOB) });
    both.agree("the properties of no blob", &Question { method: "HEAD", ..blob("none") });
    both.agree("no blob", &blob("none"));
    both.agree("no container", &question("GET", Service::Blob, "no-container/blob"));

    let before = both.ask(&blob(BLOB)).map(|answer| answer.header("etag").unwrap().to_owned());
    let conditional = Question { headers: vec![("If-Match", before)], ..blob(BLOB) };
    both.agree("an ETag that holds", &conditional);
    both.append(BLOB, "klm");
    both.agree("an ETag from before an append", &conditional);
    both.agree("a range after an append", &blob(BLOB).with("Range", "bytes=20-"));
    both.agree("any ETag", &blob(BLOB).with("If-Match", "*"));
}

fn lists(both: &mut Both) {
    for name in ["p/a", "p/b", "p/c&d <e>", "p/d", "q"] {
        both.fill(name, &["x"]);
    }
    both.agree("a list", &list(""));
    both.agree("a list by prefix", &list("&prefix=p%2F"));
    both.agree("a list of nothing", &list("&prefix=none"));
    let mut paths = ["&prefix=p%2F&maxresults=2".to_owned(), "&prefix=p%2F&maxresults=2".to_owned()];
    for page in 0..2 {
        let question = Question { paths: paths.clone().map(|path| list(&path).paths[0].clone()), ..list("") };
        let answers = both.agree("a page", &question);
        let markers = answers.map(|answer| elements(&answer, "NextMarker").pop());
        assert_eq!(markers.iter().all(Option::is_some), page == 0, "{markers:?}");
        paths =
            markers.map(|marker| format!("&prefix=p%2F&maxresults=2&marker={}", escaped(&marker.unwrap_or_default())));
    }
    both.agree("a marker that is none", &list("&marker=p%2Fa"));
    both.agree("an empty page size", &list("&maxresults=0"));
    both.agree("a list of no container", &question("GET", Service::Blob, "no-container?restype=container&comp=list"));
}

fn messages(both: &mut Both) {
    both.agree("an empty queue", &queue("GET", ""));
    both.agree("peeking into an empty queue", &queue("GET", "?peekonly=true"));
    ["one", "two", "three"].into_iter().for_each(|text| both.put(text));
    both.agree("peeking", &queue("GET", "?peekonly=true&numofmessages=32"));
    let received = both.agree("receiving one", &queue("GET", "?visibilitytimeout=60"));
    both.agree("receiving the rest", &queue("GET", "?numofmessages=32&visibilitytimeout=60"));
    both.agree("receiving what others have", &queue("GET", "?numofmessages=32"));
    let [ids, receipts] = ["MessageId", "PopReceipt"]
        .map(|name| [0, 1].map(|side: usize| elements(&received[side], name).pop().unwrap()));
    let message = |method, receipts: &[String; 2], more: &str| {
        let path =
            |side: usize| format!("{QUEUE}/messages/{}?popreceipt={}{more}", ids[side], escaped(&receipts[side]));
        Question { paths: [path(0), path(1)], ..queue(method, "") }
    };
    let updated = both.agree("hiding a message anew", &message("PUT", &receipts, "&visibilitytimeout=60"));
    both.agree("deleting by a receipt of nobody's", &message("DELETE", &["AAAA".into(), "AAAA".into()], ""));
    both.agree("deleting by a receipt from before", &message("DELETE", &receipts, ""));
    let receipts = updated.map(|answer| answer.header("x-ms-popreceipt").unwrap().to_owned());
    both.agree("deleting", &message("DELETE", &receipts, ""));
    both.agree("deleting again", &message("DELETE", &receipts, ""));
    both.agree(
        "deleting without a receipt",
        &Question { paths: [0, 1].map(|side: usize| format!("{QUEUE}/messages/{}", ids[side])), ..queue("DELETE", "") },
    );
    let sent = "<QueueMessage><MessageText>a &lt;&amp;&gt;</MessageText></QueueMessage>";
    both.agree(
        "putting",
        &Question { body: sent, ..queue("POST", "?messagettl=100").with("Content-Type", "application/xml") },
    );
    both.agree("what was put", &queue("GET", "?peekonly=true&numofmessages=32"));
    for (name, query) in [
        ("too many messages", "?numofmessages=33"),
        ("no messages", "?numofmessages=0"),
        ("peeking at too many", "?peekonly=true&numofmessages=33"),
        ("hidden for no time", "?visibilitytimeout=0"),
        ("hidden for too long", "?visibilitytimeout=604801"),
    ] {
        both.agree(name, &queue("GET", query));
    }
    both.agree("no queue", &question("GET", Service::Queue, "no-queue/messages"));
    both.agree("peeking into no queue", &question("GET", Service::Queue, "no-queue/messages?peekonly=true"));
}

fn admission(both: &mut Both) {
    both.agree("no token", &Question { token: false, ..blob(BLOB) });
    let defender = token(&both.simulator, "https://api.securitycenter.microsoft.com/.default");
    both.agree("a token for Defender", &Question { token: false, ..blob(BLOB) }.with("Authorization", &defender));
    both.agree("no version", &Question { version: None, ..blob(BLOB) });
    both.agree("a version that is none", &Question { version: Some("latest"), ..blob(BLOB) });
}

/// Applies a step of an exporter's to azurite, its hints to this queue, as `StorageAccount::export` does to the simulator.
pub async fn export(storage: &Storage<'_>, queue: &str, step: Step) {
    match step {
        Step::CreateBlob { name } => storage.create_append_blob(CONTAINER, &name).await,
        Step::Append { name, bytes } => storage.append(CONTAINER, &name, bytes).await,
        Step::Event { message, time_to_live } => {
            storage.put(queue, &message, time_to_live.map(|time_to_live| time_to_live.as_secs())).await;
        }
    }
}

#[test]
fn an_exporter_writes_the_same_blobs_to_both() {
    let both = Both::new();
    let start = both.simulator.now();
    let habits = Habits { lines_per_minute: 1..=4, repeats: 200, ..Habits::default() };
    let mut exporter = Exporter::new(5, TENANT, Azurite::ACCOUNT, start).with_habits(habits);
    both.export(exporter.advance(start + jiff::SignedDuration::from_mins(90)));
    both.export(exporter.finish());
    assert!(exporter.ledger().blobs.len() >= 2);
    for (name, expected) in &exporter.ledger().blobs {
        let [simulated, emulated] = both.ask(&blob(name));
        assert_eq!(simulated.body.len() as u64, expected.bytes);
        assert!(simulated.body == emulated.body, "{name} differs");
    }
    let hints =
        both.ask(&queue("GET", "?peekonly=true&numofmessages=32")).map(|answer| elements(&answer, "MessageText"));
    assert!(!hints[0].is_empty());
    assert!(hints[1].iter().all(|hint| hints[0].contains(hint)), "azurite's clock may have let some expire");
}

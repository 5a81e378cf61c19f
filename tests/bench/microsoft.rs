//! Microsoft as another process, so that what we measure is ours alone.
//!
//! The child prints its origin; then each line it reads is a command, answered with one line. It ends with its input.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use simulator::{Application, ClientSecret, Exporter, Flood, Simulator, StorageAccount, StorageRole, Tenant};
use tokio::net::TcpListener;

use crate::Failed;

/// What makes this program the simulator.
pub const ARGUMENT: &str = "--serve-microsoft";
pub const TENANT: &str = "be000000-0000-4000-8000-0000000000aa";
const CLIENT: &str = "be000000-0000-4000-8000-00000000c11e";
const HOME: &str = "be000000-0000-4000-8000-000000000001";
const SECRET: &str = "bench-secret-of-no-value";
/// The one with the large inventory.
pub const LARGE_TENANT: &str = "be000000-0000-4000-8000-0000000000bb";
pub const MACHINES: u32 = 100_000;
/// The first tenant's storage, and its one blob.
pub const ACCOUNT: &str = "benchlogs";
pub const QUEUE: &str = "hints";
pub const BLOB: &str = "tenantId=be000000-0000-4000-8000-0000000000aa/y=2026/m=06/d=01/h=12/m=00/PT1H.json";
pub const LINES: u64 = 180_000;
/// The largest page Defender gives.
pub const ALERTS: u32 = 10_000;
/// Makes an alert of about 32 KB, and the page one of about 320 MB.
const EVIDENCE: u32 = 36;

pub fn start_time() -> Result<Timestamp, Failed> {
    Ok("2026-06-01T12:00:00Z".parse()?)
}

pub fn application_entry() -> String {
    json!({ "client_id": CLIENT, "home_tenant_id": HOME, "credential": { "kind": "client_secret", "value": SECRET } })
        .to_string()
}

/// The child's side.
pub async fn serve() -> Result<(), Failed> {
    let simulator = Simulator::new(1, start_time()?);
    build(&simulator, start_time()?);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    tokio::spawn(simulator::serve::serve(simulator.clone(), listener));
    tokio::task::spawn_blocking(move || obey(&simulator)).await?
}

fn obey(simulator: &Simulator) -> Result<(), Failed> {
    for command in std::io::stdin().lines() {
        match command?.as_str() {
            "advance" => {
                simulator.advance(SignedDuration::from_mins(1));
                println!("done");
            }
            "hour" => {
                simulator.advance(SignedDuration::from_hours(1));
                println!("done");
            }
            "export" => {
                simulator.world(|world| world.storage(ACCOUNT).map(export));
                println!("done");
            }
            "log" => {
                println!("{}", json!(simulator.log()));
                simulator.clear_log();
            }
            other => return Err(format!("unknown command {other}").into()),
        }
    }
    let refusals = simulator.refusals();
    if refusals.is_empty() { Ok(()) } else { Err(format!("the simulator did not know: {refusals:?}").into()) }
}

/// A quarter of a gigabyte, as MICROSOFT 4.2 shows its lines.
fn export(storage: &mut StorageAccount) {
    storage.create_append_blob(Exporter::CONTAINER, BLOB);
    let mut text = String::new();
    for number in 0..LINES {
        text.push_str(&line(number));
        if text.len() > 4 << 20 || number + 1 == LINES {
            storage.append(Exporter::CONTAINER, BLOB, std::mem::take(&mut text));
        }
    }
}

fn line(number: u64) -> String {
    let (minute, second) = (number / 4000 % 60, number % 60);
    format!(
        r#"{{"time":"2026-06-01T12:{minute:02}:{second:02}.7649349Z","tenantId":"{TENANT}","operationName":"Publish","category":"AdvancedHunting-DeviceNetworkEvents","_TimeReceivedBySvc":"2026-06-01T12:{minute:02}:{second:02}.0890446Z","properties":{{"DeviceName":"host{}.contoso.example","DeviceId":"5844d4a3f835919fd63772082de62951d0da{:04}","ReportId":{number},"RemoteIP":"203.0.113.{}","RemotePort":443,"LocalIP":"10.0.{}.183","LocalPort":{},"Protocol":"Tcp","RemoteUrl":"updates{}.example","InitiatingProcessCreationTime":"2026-06-01T09:58:42.24998Z","InitiatingProcessId":{},"InitiatingProcessCommandLine":"\"C:\\Program Files\\Updater\\updater.exe\" --channel stable --session {number:016x}","InitiatingProcessFileName":"updater.exe","InitiatingProcessFolderPath":"c:\\program files\\updater\\updater.exe","InitiatingProcessSHA1":"{number:040x}","InitiatingProcessSHA256":"{number:064x}","InitiatingProcessMD5":null,"InitiatingProcessParentFileName":"services.exe","InitiatingProcessParentId":712,"InitiatingProcessAccountUpn":"user{}@contoso.example","InitiatingProcessAccountName":"user","InitiatingProcessAccountDomain":"contoso","InitiatingProcessIntegrityLevel":"System","LocalIPType":"Private","RemoteIPType":"Public","ActionType":"ConnectionSuccess","AdditionalFields":null,"IsInitiatingProcessRemoteSession":false,"InitiatingProcessUniqueId":"{number}","Timestamp":"2026-06-01T12:{minute:02}:{second:02}.666487Z","MachineGroup":"main"}},"Tenant":"DefaultTenant"}}"#,
        number % 500,
        number % 500,
        number % 250,
        number % 250,
        10_000 + number % 50_000,
        number % 90,
        number % 30_000,
        number % 700,
    ) + "\r\n"
}

fn build(simulator: &Simulator, start: Timestamp) {
    simulator.world(|world| {
        world.add_application(Application {
            client_id: CLIENT.to_owned(),
            home_tenant_id: HOME.to_owned(),
            name: "Muster bench".to_owned(),
            secrets: vec![ClientSecret {
                key_id: "be000000-0000-4000-8000-00000000000c".to_owned(),
                value: SECRET.to_owned(),
                start: start - SignedDuration::from_hours(24),
                end: start + SignedDuration::from_hours(24 * 30),
                usable_from: None,
            }],
            roles: vec!["Alert.Read.All".to_owned()],
            ..Application::default()
        });
        let mut tenant = Tenant::new(TENANT, "Contoso").consented(
            CLIENT,
            &["Alert.Read.All"],
            start - SignedDuration::from_hours(24),
        );
        // All at one instant: no window can be narrowed to less, so this is one page whatever the puller does.
        tenant.alerts.flood(Flood {
            prefix: "da1".to_owned(),
            count: ALERTS,
            start: start - SignedDuration::from_hours(1),
            step: SignedDuration::ZERO,
            evidence: EVIDENCE,
        });
        world.add_tenant(tenant);
        let storage = StorageAccount::new(ACCOUNT, TENANT)
            .with_container(Exporter::CONTAINER)
            .with_queue(QUEUE)
            .with_subscription(Exporter::CONTAINER, QUEUE)
            .with_role(CLIENT, StorageRole::BlobDataReader)
            .with_role(CLIENT, StorageRole::QueueDataMessageProcessor);
        world.add_storage(storage);
        let roles = ["Alert.Read.All", "Machine.Read.All"];
        let consented = start - SignedDuration::from_hours(24);
        let mut large = Tenant::new(LARGE_TENANT, "Fabrikam").consented(CLIENT, &roles, consented);
        large.machines.bulk(MACHINES, start);
        world.add_tenant(large);
    });
}

/// Our side of the child.
#[derive(Debug)]
pub struct Microsoft {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
    pub origin: String,
}

impl Microsoft {
    pub fn start() -> Result<Self, Failed> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(ARGUMENT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        let mut output = BufReader::new(child.stdout.take().ok_or("the simulator has no output")?).lines();
        let origin = output.next().ok_or("the simulator did not start")??;
        Ok(Self { child, input, output, origin })
    }

    pub fn advance_a_minute(&mut self) -> Result<(), Failed> {
        self.ask("advance").map(|_| ())
    }

    pub fn advance_an_hour(&mut self) -> Result<(), Failed> {
        self.ask("hour").map(|_| ())
    }

    /// Everything that is to be drained is there afterwards.
    pub fn export(&mut self) -> Result<(), Failed> {
        self.ask("export").map(|_| ())
    }

    /// What was asked since the last time: path and query of each request.
    pub fn log(&mut self) -> Result<Vec<String>, Failed> {
        let log: Vec<Value> = serde_json::from_str(&self.ask("log")?)?;
        Ok(log.iter().filter_map(|entry| Some(entry.get("target")?.as_str()?.to_owned())).collect())
    }

    fn ask(&mut self, command: &str) -> Result<String, Failed> {
        writeln!(self.input.as_mut().ok_or("the simulator is gone")?, "{command}")?;
        Ok(self.output.next().ok_or("the simulator is gone")??)
    }
}

impl Drop for Microsoft {
    /// The end of its input ends it.
    fn drop(&mut self) {
        drop(self.input.take());
        let _it_has_told_its_own_error = self.child.wait();
    }
}

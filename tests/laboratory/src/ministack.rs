//! ministack, the AWS that tests talk to: a process on loopback that holds nothing from another run.

use std::{
    env,
    fs::{self, File},
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use crate::{
    tools::{Tools, target_folder},
    wait::within,
};

/// A start takes about two seconds; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often another port is tried, because somebody took the last one between our look and ministack's.
const ATTEMPTS: usize = 3;
/// Its log, then.
const PORT_TAKEN: &str = "already in use";

/// A running ministack. It ends with the process that started it, whatever happens to that.
#[derive(Debug)]
pub struct Ministack {
    port: u16,
    folder: PathBuf,
    child: Mutex<Child>,
    /// Ministack runs for as long as this end of its standard input is open.
    lifeline: Option<ChildStdin>,
}

impl Ministack {
    pub const REGION: &str = "eu-central-1";
    /// No account but this one has anything in it.
    pub const ACCOUNT: &str = "000000000000";

    /// The one of this test process. Tests keep apart by the names of what they make in it.
    ///
    /// # Panics
    /// When it does not come up. Whoever asks again is told at once.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Ministack, String>> = OnceLock::new();
        let programs = Tools::Ministack.programs();
        SHARED.get_or_init(|| Self::on_any_port(&programs)).as_ref().unwrap_or_else(|why| panic!("{why}"))
    }

    /// One of its own, for a test that must be alone with it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        Self::on_any_port(&Tools::Ministack.programs()).unwrap_or_else(|why| panic!("{why}"))
    }

    fn on_any_port(programs: &Path) -> Result<Self, String> {
        let mut started = Self::start_on(programs, free_port());
        for _ in 1..ATTEMPTS {
            if started.as_ref().is_err_and(|log| log.contains(PORT_TAKEN)) {
                started = Self::start_on(programs, free_port());
            }
        }
        started.map_err(|log| format!("ministack does not start: {log}"))
    }

    fn start_on(programs: &Path, port: u16) -> Result<Self, String> {
        let parent = target_folder().join("tmp");
        fs::create_dir_all(&parent).expect("cargo's target folder can be written");
        // It removes the folder itself as it ends: this process may not live to do so.
        let folder = tempfile::Builder::new().prefix("ministack-").tempdir_in(parent).expect("a folder").keep();
        let log = File::create(folder.join("log")).expect("a log");
        let mut child = Command::new(programs.join("python"))
            .arg("-c")
            .arg(include_str!("supervised.py"))
            .env_clear()
            .envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .envs(settings(port))
            .env("TMPDIR", &folder)
            .env("S3_DATA_DIR", folder.join("s3"))
            .env("STATE_DIR", folder.join("state"))
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the same file twice"))
            .stderr(log)
            .spawn()
            .expect("the interpreter that was installed");
        let lifeline = child.stdin.take();
        let ministack = Self { port, folder, child: Mutex::new(child), lifeline };
        let answered = within(PATIENCE, || (ministack.is_healthy() || ministack.has_ended()).then_some(()));
        // Another's may have answered for ours, which then ends because its port is taken.
        match answered {
            Some(()) if !ministack.has_ended() => Ok(ministack),
            Some(()) => Err(ministack.log()),
            None => Err(format!("no answer as it should be for {PATIENCE:?}. {}", ministack.log())),
        }
    }

    /// Where it listens, for every service.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it and whatever it runs has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    /// A folder that goes when ministack goes.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().expect("a child of ours").is_some()
    }

    /// Whether the version that is asked for answers.
    fn is_healthy(&self) -> bool {
        let version = format!("\"version\": \"{}\"", Tools::Ministack.version("ministack"));
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            stream.set_read_timeout(Some(Duration::from_secs(1)))?;
            stream.write_all(b"GET /_ministack/health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200") && answer.contains(&version))
    }
}

impl Drop for Ministack {
    fn drop(&mut self) {
        self.lifeline.take();
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Waited for only so that no zombie is left.
        let _ended_by_a_signal = child.wait();
        // One that never came up has not removed its files.
        let _gone_already = fs::remove_dir_all(&self.folder);
    }
}

fn settings(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("BIND_HOST", "127.0.0.1".to_owned()),
        ("GATEWAY_PORT", port.to_string()),
        ("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{port}")),
        ("MINISTACK_REGION", Ministack::REGION.to_owned()),
        ("MINISTACK_ACCOUNT_ID", Ministack::ACCOUNT.to_owned()),
        // Listeners on ports of their own, which two instances would quarrel over.
        ("SFTP_ENABLED", "0".to_owned()),
        ("IOT_MTLS_ENABLED", "0".to_owned()),
        // Nothing of what it starts looks for credentials anywhere but in its environment.
        ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        // A log that is read while it is written.
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ]
}

/// A port that nobody uses, as yet.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("it is bound").port()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_healthy_and_leaves_nothing_behind() {
        let ministack = Ministack::start();
        assert!(ministack.is_healthy(), "{}", ministack.log());
        assert!(ministack.log().contains("services available"), "{}", ministack.log());
        let (port, folder) = (ministack.port(), ministack.folder().to_owned());
        drop(ministack);
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "it still listens");
        assert!(!folder.exists(), "its files are still there");
    }

    #[test]
    fn a_taken_port_is_no_health() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let refused = Ministack::start_on(&Tools::Ministack.programs(), port).unwrap_err();
        assert!(refused.contains(PORT_TAKEN), "{refused}");
    }
}

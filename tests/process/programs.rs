//! The programs under test: built once, started with an environment of their own, ended whatever happens.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use harness::{Canary, functions, package};
use serde_json::Value;
use simulator::Simulator;
use tempfile::TempDir;

/// How long a verb may take, and how long anything may be waited for.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// The path of a program. All are built at the first call, where and as this test itself was.
fn program(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    &BUILT.get_or_init(build)[name]
}

fn build() -> BTreeMap<String, PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--message-format=json", "-p", "muster"])
        .args(functions().iter().flat_map(|name| ["-p".to_owned(), package(name)]))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let messages = String::from_utf8(output.stdout).unwrap();
    let executable = |message: Value| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    };
    messages.lines().filter_map(|line| executable(serde_json::from_str(line).unwrap())).collect()
}

/// A program about to be started. Of our own environment it gets what the machine needs, and no setting of Muster's.
pub struct Start {
    command: Command,
    input: Vec<u8>,
    /// Whether standard output is for whoever typed the words, and no log.
    answers: bool,
    microsoft: Option<Simulator>,
    whispers: Vec<String>,
}

impl Start {
    pub fn new(name: &str) -> Self {
        let mut command = Command::new(program(name));
        let kept = ["PATH", "HOME", "SSL_CERT_FILE", "SSL_CERT_DIR", "LLVM_PROFILE_FILE"];
        command.env_clear().envs(env::vars_os().filter(|(name, _)| kept.iter().any(|kept| name == kept)));
        // As talkative as can be asked for: what a program prints then must be fit for a log, too.
        command.env("RUST_LOG", "trace").env("AWS_LAMBDA_LOG_LEVEL", "TRACE").env("AWS_LAMBDA_LOG_FORMAT", "JSON");
        Self { command, input: Vec::new(), answers: name == "muster", microsoft: None, whispers: Vec::new() }
    }

    /// Whatever this Microsoft is entrusted with is not to be printed.
    pub fn asks(mut self, microsoft: &Simulator) -> Self {
        self.microsoft = Some(microsoft.clone());
        self
    }

    /// Nor is this.
    pub fn never_says(mut self, whisper: &str) -> Self {
        self.whispers.push(whisper.to_owned());
        self
    }

    /// `muster` with these words.
    pub fn muster(words: &[&str]) -> Self {
        let mut start = Self::new("muster");
        start.command.args(words);
        start
    }

    pub fn data(mut self, data: &Path) -> Self {
        self.command.arg("--data").arg(data);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn input(mut self, text: &str) -> Self {
        self.input = text.into();
        self
    }

    pub fn run(mut self) -> Running {
        let outputs = tempfile::tempdir().unwrap();
        let file = |name: &str| File::create(outputs.path().join(name)).unwrap();
        self.command.stdin(Stdio::piped()).stdout(file("stdout")).stderr(file("stderr"));
        let mut child = self.command.spawn().unwrap();
        // A program that refuses before it reads closes the pipe; that is its right.
        let _closed_early = child.stdin.take().unwrap().write_all(&self.input);
        Running { child, outputs, answers: self.answers, microsoft: self.microsoft, whispers: self.whispers }
    }

    /// Runs it to its end.
    pub fn finish(self) -> Finished {
        self.run().wait()
    }
}

/// A process of ours. It ends with this value, if not before.
pub struct Running {
    child: Child,
    outputs: TempDir,
    answers: bool,
    microsoft: Option<Simulator>,
    whispers: Vec<String>,
}

impl Running {
    pub fn stderr(&self) -> String {
        read(&self.outputs, "stderr")
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGKILL: nothing is cleaned up, nothing is flushed.
    pub fn kill(mut self) -> Finished {
        assert!(!self.has_ended(), "it ended before it was killed: {}", self.stderr());
        self.child.kill().unwrap();
        self.wait()
    }

    pub fn terminate(self) -> Finished {
        let killed = Command::new("sh").args(["-c", "kill -TERM \"$0\""]).arg(self.child.id().to_string()).status();
        assert!(killed.unwrap().success());
        self.wait()
    }

    pub fn wait(mut self) -> Finished {
        until("the process ends", || self.has_ended().then_some(()));
        let status = self.child.wait().unwrap();
        Finished { status, stdout: read(&self.outputs, "stdout"), stderr: self.stderr() }
    }

    /// Nothing that it printed is secret. A name is for an operator who asked, and not for a log.
    fn assert_nothing_leaked(&self) {
        let canary = self.microsoft.as_ref().map_or_else(Canary::default, Canary::of);
        let canary = canary.and(self.whispers.iter().cloned());
        let (stdout, stderr) = (read(&self.outputs, "stdout"), self.stderr());
        canary.look_for_anything(&stderr).expect("a log is no place for a secret, nor for a name");
        let looked = if self.answers { canary.look_for_secrets(&stdout) } else { canary.look_for_anything(&stdout) };
        looked.expect("what is printed is no place for a secret");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A process that has ended by itself cannot be killed, and needs not be.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
        if !thread::panicking() {
            self.assert_nothing_leaked();
        }
    }
}

fn read(outputs: &TempDir, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(outputs.path().join(name)).unwrap()).into_owned()
}

/// How a process ended and what it said.
#[derive(Debug)]
pub struct Finished {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    /// Asserts the exit status.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self:#?}");
        self
    }

    /// Asserts that standard error says all of this.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "`{text}` is not in:\n{}", self.stderr);
        }
        self
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {}", self.stdout))
    }
}

/// Polls until there is an answer.
#[track_caller]
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    poll(what, Duration::from_millis(10), look)
}

/// As [`until`], for a moment that is soon over.
#[track_caller]
pub fn at_once<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    poll(what, Duration::ZERO, look)
}

#[track_caller]
fn poll<T>(what: &str, pause: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain until {what}");
        thread::sleep(pause);
    }
}

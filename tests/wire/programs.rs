//! The programs under test, built once, where and as this test itself was.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::Duration,
};

use harness::package;
use laboratory::until;
use serde_json::Value;

use crate::template::root;

pub fn program(name: &str) -> &'static Path {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    &BUILT.get_or_init(build)[name]
}

fn build() -> BTreeMap<String, PathBuf> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--locked", "--message-format=json", "-p", "muster"]);
    for name in crate::rules::functions::names() {
        command.args(["-p", &package(&name)]);
    }
    let output = command.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let executable = |message: Value| {
        let name = message["target"]["name"].as_str()?.to_owned();
        Some((name, PathBuf::from(message["executable"].as_str()?)))
    };
    let messages = String::from_utf8(output.stdout).unwrap();
    messages.lines().filter_map(|line| executable(serde_json::from_str(line).unwrap())).collect()
}

/// `muster` at an operator's keyboard, with an environment of its own.
pub fn muster(words: &[&str], environment: &BTreeMap<String, String>, input: &str) -> Output {
    let mut child = command(words, environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses before it reads closes the pipe; that is its right.
    let _closed_early = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// `muster serve` of a data folder, until it is killed.
pub struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Ticks every so many seconds. What it says is appended to this file.
    pub fn start(data: &Path, tick: u32, environment: &BTreeMap<String, String>, log: PathBuf) -> Self {
        let file = File::options().create(true).append(true).open(&log).unwrap();
        let child = command(&["serve", "--listen", "127.0.0.1:0", "--tick", &tick.to_string()], environment)
            .arg("--data")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// SIGKILL: nothing is finished, nothing is flushed.
    pub fn kill(mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "it ended before it was killed: {}", self.log());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM: the pass under way is finished.
    pub fn stop(mut self) {
        let sent = Command::new("sh").args(["-c", "kill -TERM \"$0\""]).arg(self.child.id().to_string()).status();
        assert!(sent.unwrap().success(), "it ended before it was stopped: {}", self.log());
        let ended = until("the server stops", Duration::from_secs(60), || self.child.try_wait().unwrap());
        assert!(ended.success(), "{ended}: {}", self.log());
    }

    /// What this server has said, and those before it.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A process that has ended cannot be killed, and needs not be.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

fn command(words: &[&str], environment: &BTreeMap<String, String>) -> Command {
    let kept = ["PATH", "HOME", "LLVM_PROFILE_FILE"];
    let mut command = Command::new(program("muster"));
    command
        .args(words)
        .env_clear()
        .envs(env::vars_os().filter(|(name, _)| kept.iter().any(|kept| name == kept)))
        .envs(environment);
    command
}

/// Ends a process at once; nothing is cleaned up. Its number may be another's by now, which is left alone.
pub fn kill(process: &str, program: &Path) {
    let shown = fs::read(format!("/proc/{process}/cmdline")).or_else(|_no_such_folder| {
        Command::new("ps").args(["-o", "args=", "-p", process]).output().map(|output| output.stdout)
    });
    if String::from_utf8_lossy(&shown.unwrap_or_default()).contains(program.to_str().unwrap()) {
        let killed = Command::new("sh").args(["-c", "kill -KILL \"$0\""]).arg(process).status().unwrap();
        assert!(killed.success(), "{process} is not ours to end");
    }
}

//! The programs under test, built once, where and as this test itself was.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

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
        command.args(["-p", &name]);
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
    let kept = ["PATH", "HOME", "LLVM_PROFILE_FILE"];
    let mut child = Command::new(program("muster"))
        .args(words)
        .env_clear()
        .envs(env::vars_os().filter(|(name, _)| kept.iter().any(|kept| name == kept)))
        .envs(environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that refuses before it reads closes the pipe; that is its right.
    let _closed_early = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
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

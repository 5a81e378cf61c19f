//! Cold starts: from the start of a function's process to its first request for work, and to its first answer.
//!
//! Ours and an empty function take turns, so that the machine's moods meet both. What Lambda adds (fetching the package,
//! starting the sandbox) is the same for any program of the size that stands beside it.

use std::{
    fmt, fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use flate2::{Compression, write::DeflateEncoder};
use harness::{functions, package};
use serde_json::Value;

use crate::Failed;

const EMPTY: &str = "empty-function";
/// Answered by any function without asking anybody, so that no network is measured; the one that pulls every minute is
/// the one that counts.
const EVENT: (&str, &str) = ("alert-pull", r#"{"Records":[]}"#);
const STARTS: usize = 21;
/// Ours beside the empty function's.
const RATIO_BUDGET: f64 = 1.5;

/// The medians of one function.
#[derive(Debug)]
struct Start {
    name: String,
    ready: Duration,
    answered: Option<Duration>,
    /// Bytes as Lambda stores them.
    zipped: u64,
}

#[derive(Debug)]
pub struct ColdStarts(Vec<Start>);

/// Builds the functions and starts each many times.
pub fn measure() -> Result<ColdStarts, Failed> {
    let programs = build()?;
    let mut times: Vec<Vec<(Duration, Option<Duration>)>> = vec![Vec::new(); programs.len()];
    for _ in 0..STARTS {
        for ((name, path), times) in programs.iter().zip(&mut times) {
            let event = (name == EVENT.0 || name == EMPTY).then_some(EVENT.1);
            times.push(start(path, event)?);
        }
    }
    let starts = programs.into_iter().zip(times).map(|((name, path), times)| {
        let ready = median(times.iter().map(|(ready, _)| *ready).collect());
        let answered: Option<Vec<Duration>> = times.iter().map(|(_, answered)| *answered).collect();
        Ok(Start { name, ready, answered: answered.map(median), zipped: zipped(&path)? })
    });
    starts.collect::<Result<_, Failed>>().map(ColdStarts)
}

/// The empty function first, with which all others are compared.
fn build() -> Result<Vec<(String, PathBuf)>, Failed> {
    let functions = functions();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--release", "--locked", "--message-format=json", "-p", "tests", "--bin", EMPTY]);
    for name in &functions {
        command.args(["-p", &package(name), "--bin", name]);
    }
    let output = command.current_dir(root).stderr(Stdio::inherit()).output()?;
    let messages = String::from_utf8(output.stdout)?;
    let built = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let built: Vec<PathBuf> = built.filter_map(|message| message["executable"].as_str().map(PathBuf::from)).collect();
    let path = |name: String| {
        let path = built.iter().find(|path| path.file_name().is_some_and(|file| file == name.as_str()));
        path.map(|path| (name.clone(), path.clone())).ok_or_else(|| format!("{name} was not built").into())
    };
    [EMPTY.to_owned()].into_iter().chain(functions).map(path).collect()
}

/// One start under a Runtime API of our own. Ends the process as soon as it is measured.
fn start(program: &Path, event: Option<&str>) -> Result<(Duration, Option<Duration>), Failed> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let began = Instant::now();
    let mut process = Ended(command(program, &address).spawn()?);
    let (stream, _) = listener.accept()?;
    let mut reader = BufReader::new(stream.try_clone()?);
    expect(&mut reader, "GET ")?;
    let ready = began.elapsed();
    let answered = event.map(|event| {
        hand_out(stream, event)?;
        expect(&mut reader, "POST ")?;
        Ok::<_, Failed>(began.elapsed())
    });
    process.0.kill()?;
    Ok((ready, answered.transpose()?))
}

/// As Lambda starts it; nobody is asked for anything, so nothing of this need exist.
fn command(program: &Path, runtime_api: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().stdout(Stdio::null()).stderr(Stdio::null()).envs([
        ("AWS_LAMBDA_RUNTIME_API", runtime_api),
        ("AWS_LAMBDA_FUNCTION_NAME", "cold"),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/cold"),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "cold"),
        ("AWS_REGION", "eu-central-1"),
        ("AWS_ACCESS_KEY_ID", "nobody"),
        ("AWS_SECRET_ACCESS_KEY", "nothing"),
        ("MUSTER_TABLE", "cold-state"),
        ("MUSTER_BUCKET", "cold-lake"),
        ("MUSTER_ALERTS_QUEUE_URL", "https://sqs.eu-central-1.amazonaws.com/000000000000/cold"),
    ]);
    command
}

fn hand_out(mut stream: TcpStream, event: &str) -> Result<(), Failed> {
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Lambda-Runtime-Aws-Request-Id: 00000000-0000-4000-8000-000000000001\r\nLambda-Runtime-Deadline-Ms: {}\r\n\
         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:000000000000:function:cold\r\n\r\n{event}",
        event.len(),
        i64::MAX / 2_000_000
    )?;
    Ok(stream.flush()?)
}

/// Reads the head of a request that begins so.
fn expect(reader: &mut impl BufRead, beginning: &str) -> Result<(), Failed> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    if !line.starts_with(beginning) {
        return Err(format!("the function sent `{}` where {beginning}was due", line.trim_end()).into());
    }
    while !line.trim_end().is_empty() {
        line.clear();
        reader.read_line(&mut line)?;
    }
    Ok(())
}

/// A process that never outlives its measurement.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

fn zipped(program: &Path) -> Result<u64, Failed> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&fs::read(program)?)?;
    Ok(u64::try_from(encoder.finish()?.len())?)
}

impl ColdStarts {
    fn ratios(&self, of: impl Fn(&Start) -> Option<Duration>) -> Vec<Option<f64>> {
        let base = self.0.first().and_then(&of).unwrap_or_default().as_secs_f64();
        self.0.iter().map(|start| of(start).map(|time| time.as_secs_f64() / base)).collect()
    }

    pub fn within_budget(&self) -> bool {
        let ready = self.ratios(|start| Some(start.ready));
        ready.iter().chain(&self.ratios(|start| start.answered)).flatten().all(|ratio| *ratio <= RATIO_BUDGET)
    }
}

impl fmt::Display for ColdStarts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Cold starts, the median of {STARTS}: process start to ready, and to the first answer")?;
        let (ready, answered) = (self.ratios(|start| Some(start.ready)), self.ratios(|start| start.answered));
        for ((start, ready), answered) in self.0.iter().zip(ready).zip(answered) {
            let cell = |time: Option<Duration>, ratio: Option<f64>| match time.zip(ratio) {
                Some((time, ratio)) => format!("{:6.1} ms {ratio:5.2}", time.as_secs_f64() * 1000.0),
                None => " ".repeat(15),
            };
            let (ready, answered) = (cell(Some(start.ready), ready), cell(start.answered, answered));
            #[expect(clippy::cast_precision_loss, reason = "for people")]
            let megabytes = start.zipped as f64 / f64::from(1 << 20);
            writeln!(f, "  {:<20} {ready}   {answered}   {megabytes:5.1} MB zipped", start.name)?;
        }
        let over = if self.within_budget() { "" } else { "   OVER" };
        write!(f, "  ours / empty         budget {RATIO_BUDGET}{over}")
    }
}

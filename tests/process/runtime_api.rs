//! Lambda's Runtime API on loopback: hands out events and takes the answers, one at a time.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;

use crate::programs::{DEADLINE, Running, Start};

const INVOCATION: &str = "/2018-06-01/runtime/invocation/";

/// What a function said to an event.
#[derive(Debug, PartialEq)]
pub enum Answer {
    Response(Value),
    Error(Value),
}

/// One function under its runtime.
pub struct Function {
    events: Sender<Value>,
    answers: Receiver<(String, Answer)>,
    sent: usize,
    /// Ended with this value.
    pub process: Running,
}

impl Function {
    /// Starts the program as Lambda does.
    pub fn start(name: &str, settings: impl FnOnce(Start) -> Start) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, next) = channel();
        let (answer, answers) = channel();
        thread::spawn(move || serve(&listener, next, &answer));
        let process = settings(lambda(name)).env("AWS_LAMBDA_RUNTIME_API", address).run();
        Self { events, answers, sent: 0, process }
    }

    /// Invokes it and waits for its answer.
    pub fn invoke(&mut self, event: Value) -> Answer {
        self.sent += 1;
        self.events.send(event).unwrap();
        let (id, answer) = self
            .answers
            .recv_timeout(DEADLINE)
            .unwrap_or_else(|error| panic!("no answer ({error}): {}", self.process.stderr()));
        assert_eq!(id, request_id(self.sent));
        answer
    }
}

/// A program with the environment that Lambda gives, but for the Runtime API's address.
pub fn lambda(name: &str) -> Start {
    Start::new(name)
        .env("AWS_LAMBDA_FUNCTION_NAME", name)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{name}"))
        .env("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/22/[$LATEST]0123456789abcdef")
}

fn request_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

fn serve(listener: &TcpListener, next: Receiver<Value>, answers: &Sender<(String, Answer)>) {
    let next = Arc::new(Mutex::new((next, 0)));
    for stream in listener.incoming() {
        let (Ok(stream), next, answers) = (stream, next.clone(), answers.clone()) else { return };
        thread::spawn(move || connection(stream, &next, &answers));
    }
}

/// Answers requests until the function or the test is gone.
fn connection(mut stream: TcpStream, next: &Mutex<(Receiver<Value>, usize)>, answers: &Sender<(String, Answer)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some((method, path, body)) = request(&mut reader) {
        let written = if method == "GET" && path == format!("{INVOCATION}next") {
            let mut next = next.lock().unwrap();
            let Ok(event) = next.0.recv() else { return };
            next.1 += 1;
            write_event(&mut stream, &request_id(next.1), &event)
        } else {
            let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
            let answered = path.strip_prefix(INVOCATION).and_then(|rest| rest.split_once('/'));
            let (id, answer) = match answered {
                Some((id, "response")) => (id, Answer::Response(body)),
                Some((id, "error")) => (id, Answer::Error(body)),
                _ => panic!("the Runtime API has no {method} {path}"),
            };
            let accepted = "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n";
            stream
                .write_all(accepted.as_bytes())
                .and_then(|()| answers.send((id.to_owned(), answer)).map_err(std::io::Error::other))
        };
        if written.is_err() {
            return;
        }
    }
}

fn write_event(stream: &mut TcpStream, id: &str, event: &Value) -> std::io::Result<()> {
    let deadline = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + Duration::from_secs(60);
    let event = event.to_string();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Lambda-Runtime-Aws-Request-Id: {id}\r\nLambda-Runtime-Deadline-Ms: {}\r\n\
         Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:eu-central-1:000000000000:function:muster\r\n\r\n{event}",
        event.len(),
        deadline.as_millis()
    )
}

/// Method, path and body of the next request; nothing when the connection has ended.
fn request(reader: &mut impl BufRead) -> Option<(String, String, Vec<u8>)> {
    let line = line(reader)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let line = self::line(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if headers.get("transfer-encoding").is_some_and(|coding| coding == "chunked") {
        loop {
            let size = usize::from_str_radix(self::line(reader)?.trim(), 16).ok()?;
            reader.take(size as u64).read_to_end(&mut body).ok()?;
            self::line(reader)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = headers.get("content-length") {
        reader.take(length.parse().ok()?).read_to_end(&mut body).ok()?;
    }
    Some((method, path, body))
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let read = reader.read_line(&mut line).ok()?;
    (read > 0).then(|| line.trim_end().to_owned())
}

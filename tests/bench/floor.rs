//! The floor: what nobody can do without. Each alert received is parsed once, each line sent is compressed once, by the
//! same libraries at the same level, with no network, no mapping, no state and no regard for memory.

use std::{
    fmt, fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde::{
    Deserialize, Deserializer,
    de::{SeqAccess, Visitor},
};
use serde_json::Value;
use shared::{App, http::Request, microsoft::tokens::ApplicationName, record::read_object};
use url::Url;

use crate::{Failed, measure::Meter, microsoft};

#[derive(Debug, Default)]
pub struct Floor {
    pub alerts: u64,
    /// Of all answers that the pull received.
    pub bytes_received: u64,
    /// Of those with evidence, the ones that are parsed here.
    pub bytes_parsed: u64,
    /// The lines sent, before compression.
    pub bytes_sent: u64,
    pub parse: Duration,
    pub gzip: Duration,
}

/// Asks for everything again that the pull asked for, then does the least with it.
pub async fn measure(app: &App, origin: &str, calls: &[String], lake: &Path) -> Result<Floor, Failed> {
    let mut floor = Floor::default();
    for target in calls.iter().filter(|target| target.starts_with("/api/alerts")) {
        let body = fetch(app, &format!("{origin}{target}")).await?;
        floor.bytes_received += body.len() as u64;
        if target.contains("$expand=evidence") {
            floor.bytes_parsed += body.len() as u64;
            let meter = Meter::start()?;
            let page: Page = serde_json::from_slice(&body)?;
            floor.parse += meter.stop()?.cpu;
            floor.alerts += page.value.0;
        }
    }
    let mut objects = Vec::new();
    objects_under(&lake.join("alerts"), &mut objects)?;
    for object in objects {
        let mut lines = String::new();
        read_object(&fs::read(object)?, |line| {
            lines.push_str(line);
            lines.push('\n');
            Ok(())
        })?;
        floor.bytes_sent += lines.len() as u64;
        let meter = Meter::start()?;
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(lines.as_bytes())?;
        std::hint::black_box(encoder.finish()?);
        floor.gzip += meter.stop()?.cpu;
    }
    Ok(floor)
}

async fn fetch(app: &App, url: &str) -> Result<Vec<u8>, Failed> {
    let token = app.tokens.defender(microsoft::TENANT.parse()?, &ApplicationName::App, false).await?;
    let mut request = Request::get(Url::parse(url)?);
    request.bearer = Some(token.bearer.clone());
    let mut response = app.http.send(request).await?;
    if response.status != 200 {
        return Err(format!("HTTP {} for {url}", response.status).into());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.body.chunk().await? {
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

pub fn objects_under(folder: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failed> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { objects_under(&path, found)? } else { found.push(path) }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Page {
    value: ParsedOnce,
}

/// How many elements were parsed, each let go before the next.
struct ParsedOnce(u64);

impl<'de> Deserialize<'de> for ParsedOnce {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = ParsedOnce;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<ParsedOnce, A::Error> {
                let mut count = 0;
                while let Some(alert) = elements.next_element::<Value>()? {
                    std::hint::black_box(alert);
                    count += 1;
                }
                Ok(ParsedOnce(count))
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

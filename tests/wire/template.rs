//! `infra/aws/template.yaml`: as text, and read.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use laboratory::Tools;
use serde_json::Value;

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

pub fn path() -> PathBuf {
    root().join("infra/aws/template.yaml")
}

#[derive(Debug)]
pub struct Template {
    pub text: String,
    pub json: Value,
}

impl Template {
    pub fn shared() -> &'static Self {
        static TEMPLATE: OnceLock<Template> = OnceLock::new();
        TEMPLATE.get_or_init(|| {
            let text = fs::read_to_string(path()).unwrap();
            Self { json: read(), text }
        })
    }

    /// The resources of one type, each with its name in the template and its properties.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (&'a str, &'a Value)> {
        self.resources()
            .filter(move |(_, resource)| resource["Type"] == kind)
            .map(|(name, of)| (name, &of["Properties"]))
    }

    /// Every resource, with all that is said of it.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.json["Resources"].as_object().unwrap().iter().map(|(name, resource)| (name.as_str(), resource))
    }

    /// The properties of one resource, which must be of this type.
    #[track_caller]
    pub fn properties(&self, name: &str, kind: &str) -> &Value {
        let resource = &self.json["Resources"][name];
        assert_eq!(resource["Type"], kind, "{name}");
        &resource["Properties"]
    }

    /// The one resource of a type.
    #[track_caller]
    pub fn only<'a>(&'a self, kind: &'a str) -> (&'a str, &'a Value) {
        let found: Vec<_> = self.all(kind).collect();
        assert_eq!(found.len(), 1, "{kind}: {found:?}");
        found[0]
    }

    /// The table with which Athena reads a feed.
    #[track_caller]
    pub fn table(&self, feed: &str) -> &Value {
        let mut tables = self.all("AWS::Glue::Table").map(|(_, table)| &table["TableInput"]);
        tables.find(|table| table["Name"] == feed).unwrap_or_else(|| panic!("no table is called {feed}"))
    }

    /// The function whose package is named so.
    #[track_caller]
    pub fn function(&self, name: &str) -> (&str, &Value) {
        let package = format!("/{name}.zip");
        let is = |key: &Value| key["Fn::Sub"].as_str().is_some_and(|key| key.ends_with(&package));
        let found = self.all("AWS::Lambda::Function").find(|(_, function)| is(&function["Code"]["S3Key"]));
        found.unwrap_or_else(|| panic!("no function has the package {name}.zip"))
    }
}

/// Which resource a value points at, by `Ref`, `Fn::GetAtt`, or the first name in `Fn::Sub`.
pub fn target(value: &Value) -> Option<&str> {
    if let Some(name) = value["Ref"].as_str() {
        return Some(name);
    }
    if let Some(name) = value["Fn::GetAtt"][0].as_str() {
        return Some(name);
    }
    let text = value["Fn::Sub"].as_str().or(value["Fn::Sub"][0].as_str())?;
    let name = text.split("${").skip(1).find(|rest| !rest.starts_with("AWS::"))?;
    name.split(['}', '.']).next()
}

/// One value or a list of them, as a list.
pub fn list(value: &Value) -> Vec<&Value> {
    value.as_array().map_or_else(|| vec![value], |several| several.iter().collect())
}

/// YAML read by the parser that comes with ministack. Rust's old one is abandoned, and the tools are here anyway.
fn read() -> Value {
    let program = "import json, sys, yaml; json.dump(yaml.safe_load(sys.stdin), sys.stdout, default=str)";
    let output = Command::new(Tools::Ministack.programs().join("python"))
        .args(["-c", program])
        .stdin(Stdio::from(fs::File::open(path()).unwrap()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

//! What a formatter and a linter say.

use std::process::Command;

use laboratory::{Tools, formatted};
use serde_json::Value;

use crate::module::{MODULES, Module, folder};

#[test]
fn every_file_is_laid_out_as_terraform_fmt_would() {
    for name in MODULES {
        for (file, text) in Module::read(name).files {
            assert_eq!(formatted(&text), text, "infra/azure/{name}/{file} is not formatted: run `terraform fmt`");
        }
    }
}

#[test]
fn a_file_that_is_badly_laid_out_is_told_from_a_good_one() {
    let bad = "resource \"a\" \"b\" {\n x=1\n    long = [ 2 ]\n}\n";
    assert_eq!(formatted(bad), "resource \"a\" \"b\" {\n  x    = 1\n  long = [2]\n}\n");
}

/// Each skip stands in the block it is for, with its reason.
#[test]
fn checkov_finds_nothing() {
    let output = Command::new(Tools::Lint.programs().join("checkov"))
        .args([
            "--framework",
            "terraform",
            "--compact",
            "--quiet",
            "--skip-download",
            "--output",
            "json",
            "--directory",
        ])
        .arg(folder())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["results"]["failed_checks"], serde_json::json!([]), "{report:#}");
    let count = |name: &str| report["summary"][name].as_u64().unwrap();
    assert!(count("passed") >= 8 && count("parsing_errors") == 0, "{report:#}");
    let skips: Vec<String> = MODULES
        .into_iter()
        .flat_map(|name| Module::read(name).files.into_values())
        .flat_map(|text| {
            text.lines().filter(|line| line.contains("checkov:skip=")).map(str::to_owned).collect::<Vec<_>>()
        })
        .collect();
    for skip in &skips {
        let reason =
            skip.split_once("checkov:skip=").and_then(|(_, rest)| rest.split_once(':')).map(|(_, reason)| reason);
        assert!(reason.is_some_and(|reason| reason.len() > 20), "{skip} has no reason");
    }
    assert_eq!(count("skipped"), skips.len() as u64, "a skip of a check that is not made skips nothing");
}

//! What cfn-lint and checkov say of the template, and that whatever is skipped has its reason beside it.

use std::process::Command;

use laboratory::Tools;
use serde_json::Value;

use crate::template::{Template, path};

#[test]
fn cfn_lint_finds_nothing() {
    let output = Command::new(Tools::Lint.programs().join("cfn-lint")).arg(path()).output().unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn checkov_finds_nothing() {
    let output = Command::new(Tools::Lint.programs().join("checkov"))
        .args([
            "--framework",
            "cloudformation",
            "--compact",
            "--quiet",
            "--skip-download",
            "--output",
            "json",
            "--file",
        ])
        .arg(path())
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["results"]["failed_checks"], serde_json::json!([]), "{report:#}");
    let count = |name: &str| report["summary"][name].as_u64().unwrap();
    assert!(count("passed") > 50 && count("parsing_errors") == 0, "{report:#}");
    // Each stands where the next test sees it. A skip of a check that this version does not have skips nothing.
    let skips = Template::shared().resources().flat_map(|(_, resource)| skips(resource)).count();
    assert!((1..=skips).contains(&usize::try_from(count("skipped")).unwrap()), "{report:#}");
}

#[test]
fn whatever_is_skipped_says_why() {
    let template = Template::shared();
    let mut skipped = 0;
    for (name, resource) in template.resources() {
        assert!(resource["Metadata"]["cfn-lint"].is_null(), "{name}: cfn-lint has nothing to forgive");
        for skip in skips(resource) {
            let reason = skip["comment"].as_str().unwrap_or_default();
            assert!(reason.len() > 20 && reason.contains(' '), "{name} skips {skip} without a reason");
            skipped += 1;
        }
    }
    assert!(skipped > 0, "nothing was found, so nothing was looked at");
    assert!(template.json["Metadata"]["cfn-lint"].is_null(), "cfn-lint has nothing to forgive");
    for mute in ["checkov:skip", "cfn-lint: disable"] {
        assert!(!template.text.contains(mute), "skips stand in Metadata, where they have a comment");
    }
}

fn skips(resource: &Value) -> impl Iterator<Item = &Value> {
    resource["Metadata"]["checkov"]["skip"].as_array().into_iter().flatten()
}

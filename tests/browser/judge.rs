//! What every page must be, whatever it says: fit for everybody to read, on any screen, in light and in dark.

use std::{fs, path::PathBuf};

use laboratory::{axe_core, target_folder};
use serde_json::{Value, json};

use crate::browser::Browser;

/// The narrowest screen, in CSS pixels: a common phone's.
const NARROW: u32 = 360;
const WIDE: u32 = 1000;
/// A page's weight, in bytes, uncompressed. It comes in one piece: no style, script or picture is fetched.
const WEIGHT: f64 = 50_000.0;
/// How bad what axe-core finds must be to fail a test; its two lesser grades are advice.
const GRAVE: [&str; 2] = ["critical", "serious"];

impl Browser {
    /// Judges the page and takes its pictures, `{name}.png` and `{name}-narrow.png`: light on a wide screen, dark on a
    /// narrow one.
    #[track_caller]
    pub fn check(&self, name: &str) {
        for (name, width, scheme) in [(name, WIDE, "light"), (&format!("{name}-narrow"), NARROW, "dark")] {
            self.show(width, scheme);
            self.screenshot(name);
            self.has_no_serious_violations();
            self.fits();
        }
        self.devtools("Emulation.clearDeviceMetricsOverride", &json!({}));
        self.devtools("Emulation.setEmulatedMedia", &json!({}));
        assert_eq!(self.complaints(), Vec::<String>::new(), "{name}");
        let weight = self.script("return performance.getEntriesByType('navigation')[0].decodedBodySize").as_f64();
        assert!(weight.is_some_and(|bytes| bytes < WEIGHT), "{name} weighs {weight:?} bytes");
        let fetched = self.script("return performance.getEntriesByType('resource').map((each) => each.name)");
        assert_eq!(fetched, json!([]), "{name} fetches more than itself");
    }

    #[track_caller]
    pub fn has_no_serious_violations(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "{}:\n{}", self.address(), violations.join("\n"));
    }

    /// What would keep somebody out, as axe-core has it: the rule, and each element that breaks it.
    #[track_caller]
    fn violations(&self) -> Vec<String> {
        self.script(&format!("if (typeof axe === 'undefined') {{ {} }}", axe_core()));
        let found = self.patient_script(
            "const done = arguments[arguments.length - 1]; \
             axe.run(document, {resultTypes: ['violations']}) \
             .then((result) => done(result.violations), (error) => done(`${error}`));",
        );
        let found = found.as_array().unwrap_or_else(|| panic!("axe-core did not judge: {found}"));
        let is_grave = |violation: &&Value| GRAVE.iter().any(|grade| violation["impact"] == *grade);
        found.iter().filter(is_grave).map(describe).collect()
    }

    /// Keeps a picture of the whole page as it is shown now.
    pub fn screenshot(&self, name: &str) {
        keep(name, &self.picture());
    }

    /// Lays the page out at this width, as high as it is, in this colour scheme.
    fn show(&self, width: u32, scheme: &str) {
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", &media);
        let metrics = |height: u64| json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics(600));
        let height = self.script("return document.documentElement.scrollHeight").as_u64().unwrap_or(600);
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics(height));
    }

    /// Nobody has to scroll sideways.
    #[track_caller]
    fn fits(&self) {
        let [needed, shown] = self.widths();
        assert!(needed <= shown, "{} needs {needed} pixels and has {shown}", self.address());
    }

    /// What the page needs, and what the window has.
    #[track_caller]
    fn widths(&self) -> [u64; 2] {
        let widths = self.script("return [document.documentElement.scrollWidth, innerWidth]");
        [0, 1].map(|index| widths[index].as_u64().unwrap())
    }
}

/// The rule, and each element that breaks it.
fn describe(violation: &Value) -> String {
    let node =
        |node: &Value| format!("    {}: {}", node["target"], node["failureSummary"].as_str().unwrap_or_default());
    let nodes: Vec<String> = violation["nodes"].as_array().into_iter().flatten().map(node).collect();
    let text = |name: &str| violation[name].as_str().unwrap_or_default().to_owned();
    format!("  {} ({}): {}\n{}", text("id"), text("impact"), text("help"), nodes.join("\n"))
}

/// Puts a picture where people find it.
pub fn keep(name: &str, picture: &[u8]) {
    let path = place_of(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, picture).unwrap();
}

/// Takes away a picture that tells nothing any more.
pub fn forget(name: &str) {
    let _there_was_none = fs::remove_file(place_of(name));
}

fn place_of(name: &str) -> PathBuf {
    target_folder().join("browser").join(format!("{name}.png"))
}

#[test]
fn a_page_that_would_keep_somebody_out_is_not_let_through() {
    let browser = Browser::new();
    let page = |body: &str| {
        browser.open(format!("data:text/html,<html lang=en><title>A page</title><main><h1>A page</h1>{body}</main>"));
        browser.show(NARROW, "light");
        (browser.violations(), browser.widths())
    };
    assert_eq!(page("<label>Your name <input></label>"), (Vec::new(), [360, 360]));
    let (nameless, _) = page("<input id=nameless>");
    assert!(nameless[0].contains("label (critical)") && nameless[0].contains("nameless"), "{nameless:?}");
    let (faint, _) = page("<p id=faint style='color: silver'>Nearly nothing");
    assert!(faint[0].contains("color-contrast (serious)") && faint[0].contains("faint"), "{faint:?}");
    let (_, wide) = page("<p style='width: 400px'>Too wide");
    assert!(wide[0] > wide[1], "{wide:?}");
}

#[test]
fn a_page_is_judged_in_the_colours_and_at_the_width_that_are_asked_for() {
    let browser = Browser::new();
    let dark = "@media (prefers-color-scheme: dark) { p { color: dimgray; background: black } }";
    browser.open(format!("data:text/html,<html lang=en><title>A</title><style>{dark}</style><main><h1>A</h1><p>Text"));
    browser.show(WIDE, "light");
    assert_eq!((browser.violations(), browser.widths()[1]), (Vec::new(), u64::from(WIDE)));
    browser.show(NARROW, "dark");
    assert_eq!((browser.violations().len(), browser.widths()[1]), (1, u64::from(NARROW)));
}

//! Tools from npm, beside what cargo builds. Pinned with everything they need, by digest, and installed without running
//! anybody's scripts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{Attempt, once, target_folder, told};

/// A package, with everything it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Package {
    /// Azure Storage on loopback.
    Azurite,
    /// The judge of pages' accessibility, which runs in the page.
    AxeCore,
    /// HashiCorp's formatter of HCL, as WebAssembly.
    HclTools,
}

/// Written beside the packages when all of them were there.
const MADE_FROM: &str = "installed.json";

/// What the packages, and npm, ask for.
const OLDEST: u32 = 20;
const FIX: &str = "Azurite, axe-core and the formatter of Terraform need Node.js 20 or newer with npm: on Debian and Ubuntu \
                   `apt-get install nodejs npm`, on macOS `brew install node`.";

impl Package {
    fn name(self) -> &'static str {
        match self {
            Self::Azurite => "azurite",
            Self::AxeCore => "axe-core",
            Self::HclTools => "@cdktf/hcl-tools",
        }
    }

    fn manifest(self) -> &'static str {
        match self {
            Self::Azurite => include_str!("../azurite/package.json"),
            Self::AxeCore => include_str!("../axe/package.json"),
            Self::HclTools => include_str!("../hcl/package.json"),
        }
    }

    fn lock(self) -> &'static str {
        match self {
            Self::Azurite => include_str!("../azurite/package-lock.json"),
            Self::AxeCore => include_str!("../axe/package-lock.json"),
            Self::HclTools => include_str!("../hcl/package-lock.json"),
        }
    }

    /// What is wanted of it, from where it is installed.
    fn script(self) -> &'static str {
        match self {
            Self::Azurite => "node_modules/azurite/dist/src/azurite.js",
            Self::AxeCore => "node_modules/axe-core/axe.min.js",
            Self::HclTools => "node_modules/@cdktf/hcl-tools/src/index.js",
        }
    }

    /// The script: a program for `node`, or one for a page. Installs the package where it is not there yet; whoever comes
    /// meanwhile, from this process or another, waits for that.
    ///
    /// # Panics
    /// When it cannot be installed; the message says what to do.
    pub(crate) fn path(self) -> PathBuf {
        static AZURITE: Attempt = Attempt::new();
        static AXE_CORE: Attempt = Attempt::new();
        static HCL_TOOLS: Attempt = Attempt::new();
        let attempt = match self {
            Self::Azurite => &AZURITE,
            Self::AxeCore => &AXE_CORE,
            Self::HclTools => &HCL_TOOLS,
        };
        once(attempt, || self.installed(&target_folder().join("tools")))
    }

    fn installed(self, home: &Path) -> Result<PathBuf, String> {
        let folder = home.join(self.name());
        fs::create_dir_all(&folder).expect("cargo's target folder can be written");
        let lock = File::create(home.join(format!("{}.lock", self.name()))).expect("a lock file");
        lock.lock().expect("the lock");
        judge(&version_of("node")?)?;
        if !self.is_installed(&folder) {
            self.install(&folder)?;
        }
        Ok(folder.join(self.script()))
    }

    fn is_installed(self, folder: &Path) -> bool {
        let made_from = fs::read_to_string(folder.join(MADE_FROM)).unwrap_or_default();
        made_from == self.lock() && folder.join(self.script()).exists()
    }

    fn install(self, folder: &Path) -> Result<(), String> {
        // Whatever an interrupted installation has left is no installation.
        let _none_there = fs::remove_file(folder.join(MADE_FROM));
        fs::write(folder.join("package.json"), self.manifest()).expect("a file of our own");
        fs::write(folder.join("package-lock.json"), self.lock()).expect("a file of our own");
        let installed = Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
            .env("npm_config_update_notifier", "false")
            .current_dir(folder)
            .output()
            .map_err(|error| format!("npm does not start ({error}). {FIX}"))?;
        if !installed.status.success() {
            return Err(format!(
                "{} is not installed: {}The registry, npm's or what its configuration names, must be reachable once.",
                self.name(),
                told(&installed)
            ));
        }
        fs::write(folder.join(MADE_FROM), self.lock()).expect("a file of our own");
        Ok(())
    }
}

/// As in `v20.20.2`.
fn version_of(interpreter: &str) -> Result<String, String> {
    let asked = Command::new(interpreter).arg("--version").output();
    let asked = asked.map_err(|error| format!("{interpreter} does not start ({error}). {FIX}"))?;
    Ok(told(&asked).trim().to_owned())
}

fn judge(version: &str) -> Result<(), String> {
    let major = version.strip_prefix('v').and_then(|version| version.split('.').next()?.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST => Ok(()),
        Some(_) => Err(format!("node is {version}. {FIX}")),
        None => Err(format!("node does not say its version, but `{version}`. {FIX}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    const ALL: [(Package, usize); 3] = [(Package::Azurite, 100), (Package::AxeCore, 2), (Package::HclTools, 5)];

    #[test]
    fn every_package_is_pinned_by_version_and_digest() {
        for (package, at_least) in ALL {
            let lock: Value = serde_json::from_str(package.lock()).unwrap();
            let packages = lock["packages"].as_object().unwrap();
            assert!(packages.len() >= at_least, "only {} packages were found", packages.len());
            for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
                assert!(package["version"].is_string(), "{name}");
                assert!(package["integrity"].as_str().is_some_and(|digest| digest.starts_with("sha512-")), "{name}");
            }
            let manifest: Value = serde_json::from_str(package.manifest()).unwrap();
            let wanted = &packages[&format!("node_modules/{}", package.name())];
            assert_eq!(manifest["dependencies"][package.name()], wanted["version"]);
            assert_eq!(manifest["dependencies"], packages[""]["dependencies"], "the lock is the manifest's");
        }
    }

    #[test]
    fn a_node_that_is_too_old_or_is_none_is_named_with_what_to_do() {
        for good in ["v20.0.0", "v24.1.2"] {
            assert_eq!(judge(good), Ok(()));
        }
        for bad in ["v18.19.0", "v8.0.0", "", "20.1.1", "Segmentation fault"] {
            let why = judge(bad).unwrap_err();
            assert!(why.contains(bad) && why.contains("Node.js 20 or newer"), "{why}");
        }
        assert!(FIX.contains(&format!("Node.js {OLDEST} or newer")), "{FIX}");
        assert!(version_of("no-such-node").unwrap_err().contains(FIX));
    }

    #[test]
    fn an_installation_that_was_made_from_another_lock_is_none() {
        for (package, _) in ALL {
            let folder = tempfile::tempdir().unwrap();
            let script = folder.path().join(package.script());
            fs::create_dir_all(script.parent().unwrap()).unwrap();
            fs::write(script, "").unwrap();
            assert!(!package.is_installed(folder.path()));
            fs::write(folder.path().join(MADE_FROM), package.lock().replacen("\"version\": \"", "\"version\": \"0", 1))
                .unwrap();
            assert!(!package.is_installed(folder.path()));
            fs::write(folder.path().join(MADE_FROM), package.lock()).unwrap();
            assert!(package.is_installed(folder.path()));
        }
    }
}

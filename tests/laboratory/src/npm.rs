//! Tools from npm, beside what cargo builds. Pinned with everything they need, by digest, and installed without running
//! anybody's scripts.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::tools::{Attempt, once, target_folder, told};

const MANIFEST: &str = include_str!("../azurite/package.json");
const LOCK: &str = include_str!("../azurite/package-lock.json");
/// Written beside the packages when all of them were there.
const MADE_FROM: &str = "installed.json";
const PROGRAM: &str = "node_modules/azurite/dist/src/azurite.js";

/// What the packages ask for.
const OLDEST: u32 = 20;
const FIX: &str = "Azurite needs Node.js 20 or newer with npm: on Debian and Ubuntu `apt-get install nodejs npm`, on \
                   macOS `brew install node`.";

/// Azurite's program, for `node`. Installs it where it is not there yet; whoever comes meanwhile, from this process or
/// another, waits for that.
///
/// # Panics
/// When it cannot be installed; the message says what to do.
pub(crate) fn azurite() -> PathBuf {
    static ATTEMPT: Attempt = Attempt::new();
    once(&ATTEMPT, || installed(&target_folder().join("tools")))
}

fn installed(home: &Path) -> Result<PathBuf, String> {
    let folder = home.join("azurite");
    fs::create_dir_all(&folder).expect("cargo's target folder can be written");
    let lock = File::create(home.join("azurite.lock")).expect("a lock file");
    lock.lock().expect("the lock");
    judge(&version_of("node")?)?;
    if !is_installed(&folder) {
        install(&folder)?;
    }
    Ok(folder.join(PROGRAM))
}

fn is_installed(folder: &Path) -> bool {
    fs::read_to_string(folder.join(MADE_FROM)).unwrap_or_default() == LOCK && folder.join(PROGRAM).exists()
}

fn install(folder: &Path) -> Result<(), String> {
    // Whatever an interrupted installation has left is no installation.
    let _none_there = fs::remove_file(folder.join(MADE_FROM));
    fs::write(folder.join("package.json"), MANIFEST).expect("a file of our own");
    fs::write(folder.join("package-lock.json"), LOCK).expect("a file of our own");
    let installed = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"])
        .env("npm_config_update_notifier", "false")
        .current_dir(folder)
        .output()
        .map_err(|error| format!("npm does not start ({error}). {FIX}"))?;
    if !installed.status.success() {
        return Err(format!(
            "azurite is not installed: {}The registry, npm's or what its configuration names, must be reachable once.",
            told(&installed)
        ));
    }
    fs::write(folder.join(MADE_FROM), LOCK).expect("a file of our own");
    Ok(())
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

    #[test]
    fn every_package_is_pinned_by_version_and_digest() {
        let lock: Value = serde_json::from_str(LOCK).unwrap();
        let packages = lock["packages"].as_object().unwrap();
        assert!(packages.len() > 100, "only {} packages were found", packages.len());
        for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
            assert!(package["version"].is_string(), "{name}");
            assert!(package["integrity"].as_str().is_some_and(|digest| digest.starts_with("sha512-")), "{name}");
        }
        let manifest: Value = serde_json::from_str(MANIFEST).unwrap();
        assert_eq!(manifest["dependencies"]["azurite"], packages["node_modules/azurite"]["version"]);
        assert_eq!(manifest["dependencies"], packages[""]["dependencies"], "the lock is the manifest's");
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
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(PROGRAM);
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::write(program, "").unwrap();
        assert!(!is_installed(folder.path()));
        fs::write(folder.path().join(MADE_FROM), LOCK.replace("3.35.0", "3.34.0")).unwrap();
        assert!(!is_installed(folder.path()));
        fs::write(folder.path().join(MADE_FROM), LOCK).unwrap();
        assert!(is_installed(folder.path()));
    }
}

//! Tools from PyPI, each set in a virtual environment of its own beside what cargo builds.
//!
//! They are pinned with everything they need, by hash, and only ready-made wheels are taken, so installing runs nobody's
//! code but pip's. Two sets, because ministack and checkov each insist on a botocore of their own.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tools {
    /// ministack: AWS's services on loopback.
    Ministack,
    /// cfn-lint and checkov: what is wrong with a template before anybody deploys it.
    Lint,
}

impl Tools {
    fn name(self) -> &'static str {
        match self {
            Self::Ministack => "ministack",
            Self::Lint => "lint",
        }
    }

    fn requirements(self) -> &'static str {
        match self {
            Self::Ministack => include_str!("../requirements/ministack.txt"),
            Self::Lint => include_str!("../requirements/lint.txt"),
        }
    }

    /// The version that a package is pinned to.
    ///
    /// # Panics
    /// When it is not among the requirements.
    pub fn version(self, package: &str) -> &'static str {
        let pin = format!("{package}==");
        let pinned = self.requirements().lines().find_map(|line| line.strip_prefix(&pin)?.split_whitespace().next());
        pinned.unwrap_or_else(|| panic!("requirements/{}.txt does not pin {package}", self.name()))
    }

    /// The folder of the tools' programs. Installs them where they are not there yet; whoever comes meanwhile, from this
    /// process or another, waits for that.
    ///
    /// # Panics
    /// When they cannot be installed; the message says what to do.
    pub fn programs(self) -> PathBuf {
        static MINISTACK: Attempt = Attempt::new();
        static LINT: Attempt = Attempt::new();
        let attempt = match self {
            Self::Ministack => &MINISTACK,
            Self::Lint => &LINT,
        };
        once(attempt, || self.installed())
    }

    fn installed(self) -> Result<PathBuf, String> {
        let home = target_folder().join("tools");
        fs::create_dir_all(&home).expect("cargo's target folder can be written");
        let lock = File::create(home.join(format!("{}.lock", self.name()))).expect("a lock file");
        lock.lock().expect("the lock");
        let environment = home.join(self.name());
        if !self.is_installed(&environment) {
            self.install(&environment)?;
        }
        Ok(environment.join("bin"))
    }

    /// The environment bears the requirements it was made from, written when all of them were there. Its interpreter is
    /// a link to the machine's, which may have gone since.
    fn is_installed(self, environment: &Path) -> bool {
        let made_from = fs::read_to_string(environment.join("requirements.txt")).unwrap_or_default();
        made_from == self.requirements() && environment.join("bin/python").exists()
    }

    fn install(self, environment: &Path) -> Result<(), String> {
        if environment.exists() {
            fs::remove_dir_all(environment).expect("an outdated environment can be removed");
        }
        judge(&version_of("python3")?)?;
        let made = Command::new("python3").args(["-m", "venv"]).arg(environment).output();
        let made = made.map_err(|error| format!("python3 does not start ({error}). {FIX}"))?;
        if !made.status.success() {
            return Err(format!("python3 makes no virtual environment: {}{FIX}", told(&made)));
        }
        let wanted = environment.join("wanted.txt");
        fs::write(&wanted, self.requirements()).expect("a file of our own");
        let installed = Command::new(environment.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"])
            .args(["--only-binary", ":all:", "--requirement"])
            .arg(&wanted)
            .output()
            .expect("the interpreter that was just made");
        if !installed.status.success() {
            return Err(format!(
                "{} is not installed: {}The package index, PyPI or what pip's configuration names, must be reachable once.",
                self.name(),
                told(&installed)
            ));
        }
        fs::rename(&wanted, environment.join("requirements.txt")).expect("a rename within a folder");
        Ok(())
    }
}

pub(crate) type Attempt = OnceLock<Result<PathBuf, String>>;

/// What an attempt came to, which is made once in a process. Where the index cannot be reached, every further attempt would
/// wait as long as the first, and there are hundreds of tests that would make one.
pub(crate) fn once(attempt: &Attempt, make: impl FnOnce() -> Result<PathBuf, String>) -> PathBuf {
    match attempt.get_or_init(make) {
        Ok(folder) => folder.clone(),
        Err(why) => panic!("{why}"),
    }
}

/// What the requirements were resolved for. An older one finds no versions that it could take, and pip blames the index.
const OLDEST: (u32, u32) = (3, 11);

/// As in `3.11`.
fn version_of(interpreter: &str) -> Result<String, String> {
    let asked = Command::new(interpreter).args(["-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).output();
    let asked = asked.map_err(|error| format!("{interpreter} does not start ({error}). {FIX}"))?;
    Ok(told(&asked).trim().to_owned())
}

fn judge(version: &str) -> Result<(), String> {
    let numbers = version.split_once('.').and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)));
    match numbers {
        Some(numbers) if numbers >= OLDEST => Ok(()),
        Some(_) => Err(format!("python3 is {version}. {FIX}")),
        None => Err(format!("python3 does not say its version, but `{version}`. {FIX}")),
    }
}

const FIX: &str = "The tests on the wire need Python 3.11 or newer with its venv module: on Debian and Ubuntu \
                   `apt-get install python3-venv`, on macOS `brew install python`.";

pub(crate) fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

/// Cargo's target folder, from where the running test lies: `{target}/{profile}/deps/{test}`.
pub fn target_folder() -> PathBuf {
    let itself = env::current_exe().expect("a test knows where it runs");
    let built = itself.ancestors().find(|folder| folder.ends_with("deps"));
    let folder = built.and_then(Path::parent).and_then(Path::parent);
    folder.unwrap_or_else(|| panic!("{} is no test that cargo has built", itself.display())).to_owned()
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    use super::*;

    /// Every requirement is one exact version and carries hashes, so that pip takes nothing else.
    #[test]
    fn every_requirement_is_pinned_by_version_and_hash() {
        for tools in [Tools::Ministack, Tools::Lint] {
            let text = tools.requirements().replace("\\\n", "");
            let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
            assert!(lines.len() >= 5, "{tools:?}: {lines:?}");
            for line in lines {
                assert!(line.contains("==") && line.contains("--hash=sha256:"), "{tools:?}: {line}");
            }
        }
    }

    /// The head of each file says how to make it again; it is of the tools, and of the versions, that stand below.
    #[test]
    fn the_recipe_of_the_requirements_is_theirs() {
        for (tools, package) in [(Tools::Ministack, "ministack"), (Tools::Lint, "cfn-lint"), (Tools::Lint, "checkov")] {
            let recipe = tools.requirements().lines().nth(1).unwrap();
            let pin = format!("{package}=={}", tools.version(package));
            assert!(recipe.starts_with("# Made by: ") && recipe.contains(&pin), "{pin}: {recipe}");
        }
    }

    #[test]
    fn a_python_that_is_too_old_or_is_none_is_named_with_what_to_do() {
        for good in ["3.11", "3.14", "4.0"] {
            assert_eq!(judge(good), Ok(()));
        }
        for bad in ["3.10", "3.9", "2.7", "", "Traceback"] {
            let why = judge(bad).unwrap_err();
            assert!(why.contains(bad) && why.contains("Python 3.11 or newer"), "{why}");
        }
        let (major, minor) = OLDEST;
        assert!(FIX.contains(&format!("Python {major}.{minor} or newer")), "{FIX}");
        for tools in [Tools::Ministack, Tools::Lint] {
            let recipe = tools.requirements().lines().nth(1).unwrap();
            assert!(recipe.contains(&format!("--python-version {major}.{minor} ")), "{recipe}");
        }
        assert_eq!(judge(&version_of("python3").unwrap()), Ok(()), "the one that these tests run on");
        assert!(version_of("no-such-python").unwrap_err().contains(FIX));
    }

    #[test]
    fn what_failed_once_fails_at_once_and_says_why_again() {
        let (attempt, attempts) = (Attempt::new(), AtomicU32::new(0));
        for _ in 0..3 {
            let asked = catch_unwind(AssertUnwindSafe(|| {
                once(&attempt, || {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    Err("the index is out of reach".to_owned())
                })
            }));
            assert_eq!(asked.unwrap_err().downcast_ref::<String>().unwrap(), "the index is out of reach");
        }
        assert_eq!(attempts.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn everybody_who_asks_at_once_gets_the_same_working_tools() {
        let folders: Vec<PathBuf> = thread::scope(|scope| {
            let asking: Vec<_> = (0..4).map(|_| scope.spawn(|| Tools::Ministack.programs())).collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(folders.iter().all(|folder| *folder == folders[0]), "{folders:?}");
        let help = Command::new(folders[0].join("ministack")).arg("--help").output().unwrap();
        assert!(help.status.success(), "{}", told(&help));
    }
}

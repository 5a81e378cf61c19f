//! Debian's Chromium under its own driver: a process on loopback that starts browsers for tests and ends them all.
//!
//! What it is told stands in `webdriver`.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde_json::json;

use crate::{
    npm::Package,
    tools::{Attempt, once, target_folder, told},
    wait::within,
    webdriver::Session,
};

/// A start takes a tenth of a second; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where Debian puts them, and the packages they come from.
const PROGRAMS: [(&str, &str); 2] = [("/usr/bin/chromium", "chromium"), (DRIVER, "chromium-driver")];
const DRIVER: &str = "/usr/bin/chromedriver";
const FIX: &str = "The tests in a browser need Debian's Chromium and its driver: as root, `apt-get update && apt-get \
                   install --yes chromium chromium-driver`.";

/// What every browser is started with: no window, and not a word to anybody whom no test has named. The sandbox needs
/// rights that containers do not give, and tests open pages of our own alone.
const ARGUMENTS: [&str; 11] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    // A browser ends when its driver does, because the pipe between them does.
    "--remote-debugging-pipe",
];

/// Whether pages may run scripts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scripts {
    Run,
    /// As an administrator's policy forbids them. What a test itself executes runs all the same.
    Blocked,
}

/// A running driver. It ends with the process that started it, whatever happens to that, and its browsers end with it.
#[derive(Debug)]
pub struct Chromium {
    folder: PathBuf,
    child: Mutex<Child>,
    /// The driver runs for as long as this end of its standard input is open.
    lifeline: Option<ChildStdin>,
    origin: String,
}

impl Chromium {
    /// The one of this test process. Each session has a browser of its own.
    ///
    /// # Panics
    /// When it is not there and cannot be installed, or does not come up. Whoever asks again is told at once.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Chromium, String>> = OnceLock::new();
        installed();
        SHARED.get_or_init(|| Self::start_program(Path::new(DRIVER))).as_ref().unwrap_or_else(|why| panic!("{why}"))
    }

    fn start_program(program: &Path) -> Result<Self, String> {
        let parent = target_folder().join("tmp");
        fs::create_dir_all(&parent).expect("cargo's target folder can be written");
        // Removed by the supervisor as it ends: this process may not live to do so.
        let folder = tempfile::Builder::new().prefix("chromium-").tempdir_in(parent).expect("a folder").keep();
        let log = File::create(folder.join("log")).expect("a log");
        let mut child = Command::new("sh")
            .args(["-c", include_str!("supervised.sh"), "supervised"])
            .arg(program)
            // Any port that is free; the log says which.
            .arg("--port=0")
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .envs([("HOME", &folder), ("TMPDIR", &folder)])
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the same file twice"))
            .stderr(log)
            .spawn()
            .map_err(|error| format!("sh does not start: {error}"))?;
        let lifeline = child.stdin.take();
        let mut chromium = Self { folder, child: Mutex::new(child), lifeline, origin: String::new() };
        // The supervisor removes the log as it ends, so what it says is kept while it can be read.
        let mut log = String::new();
        let origin = within(PATIENCE, || {
            let ended = chromium.has_ended();
            log = chromium.log().unwrap_or_else(|| log.clone());
            listening(&log).map(Ok).or_else(|| ended.then_some(Err(())))
        });
        match origin {
            Some(Ok(origin)) => {
                chromium.origin = origin;
                Ok(chromium)
            }
            Some(Err(())) => Err(format!("{} does not start: {log}", program.display())),
            None => Err(format!("{} does not listen within {PATIENCE:?}. {log}", program.display())),
        }
    }

    /// A new browser, with a profile that nobody has used before.
    ///
    /// # Panics
    /// When it does not start.
    pub fn browser(&self, scripts: Scripts) -> Session {
        let profile =
            tempfile::Builder::new().prefix("profile-").tempdir_in(&self.folder).expect("a folder of our own");
        let folder = format!("--user-data-dir={}", profile.path().display());
        let arguments: Vec<&str> = ARGUMENTS.into_iter().chain([folder.as_str()]).collect();
        let preferences = match scripts {
            Scripts::Run => json!({}),
            Scripts::Blocked => json!({"profile.managed_default_content_settings.javascript": 2}),
        };
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments, "prefs": preferences},
            "goog:loggingPrefs": {"browser": "WARNING"},
        });
        Session::begin(&self.origin, &capabilities, profile).unwrap_or_else(|why| panic!("no browser: {why}"))
    }

    fn log(&self) -> Option<String> {
        let log = fs::read(self.folder.join("log")).ok()?;
        Some(String::from_utf8_lossy(&log).into_owned())
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().expect("a child of ours").is_some()
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.lifeline.take();
        // Waited for only so that no zombie is left.
        let _ended_by_itself = self.child.get_mut().unwrap_or_else(PoisonError::into_inner).wait();
        // Files that a browser wrote while it ended.
        let _gone_already = fs::remove_dir_all(&self.folder);
    }
}

/// axe-core as a script that a page can be given: it defines `axe`.
///
/// # Panics
/// When it cannot be installed; the message says what to do.
pub fn axe_core() -> &'static str {
    static SCRIPT: OnceLock<String> = OnceLock::new();
    let path = Package::AxeCore.path();
    SCRIPT.get_or_init(|| fs::read_to_string(path).expect("the script that was just installed"))
}

/// The driver's origin, once its log names the port.
fn listening(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("ChromeDriver was started successfully on port ")?;
    // A line whose end is not there yet may lack digits.
    let (port, _) = rest.split_once('\n')?;
    Some(format!("http://127.0.0.1:{}", port.trim().trim_end_matches('.')))
}

/// Installs what is not there; whoever comes meanwhile, from this process or another, waits for that.
fn installed() -> PathBuf {
    static ATTEMPT: Attempt = Attempt::new();
    once(&ATTEMPT, || {
        let home = target_folder().join("tools");
        fs::create_dir_all(&home).expect("cargo's target folder can be written");
        let lock = File::create(home.join("chromium.lock")).expect("a lock file");
        lock.lock().expect("the lock");
        let missing = missing(|program| Path::new(program).exists());
        if !missing.is_empty() {
            install(&missing, is_root())?;
        }
        Ok(PathBuf::from(DRIVER))
    })
}

fn missing(is_there: impl Fn(&str) -> bool) -> Vec<&'static str> {
    PROGRAMS.into_iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| package).collect()
}

fn install(packages: &[&str], is_root: bool) -> Result<(), String> {
    for step in steps(packages, is_root) {
        let (program, arguments) = step.split_first().expect("a command has a program");
        let done = Command::new(program)
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{program} does not start ({error}). {FIX}"))?;
        if !done.status.success() {
            return Err(format!("`{}` failed: {}{FIX}", step.join(" "), told(&done)));
        }
    }
    Ok(())
}

/// The commands that install these packages, asking nobody anything.
fn steps<'a>(packages: &[&'a str], is_root: bool) -> [Vec<&'a str>; 2] {
    let sudo: &[&str] = if is_root { &[] } else { &["sudo", "-n"] };
    // A fresh machine has no lists, and those of an old one name versions that are gone.
    let update = [sudo, &["apt-get", "update", "--quiet"]].concat();
    let install = [sudo, &["apt-get", "install", "--yes", "--quiet", "--no-install-recommends"], packages].concat();
    [update, install]
}

fn is_root() -> bool {
    let asked = Command::new("id").arg("-u").output();
    asked.is_ok_and(|answer| told(&answer).trim() == "0")
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn it_listens_and_leaves_nothing_behind() {
        installed();
        let chromium = Chromium::start_program(Path::new(DRIVER)).unwrap();
        let address = chromium.origin.strip_prefix("http://").unwrap().to_owned();
        TcpStream::connect(&address).unwrap();
        let folder = chromium.folder.clone();
        let browser = chromium.browser(Scripts::Run);
        browser.open("data:text/html,<p>here").unwrap();
        assert!(!processes_of(&folder).is_empty(), "no browser was found");
        drop(chromium);
        crate::wait::until("its browser has ended", PATIENCE, || processes_of(&folder).is_empty().then_some(()));
        assert!(TcpStream::connect(&address).is_err(), "it still listens");
        assert!(!folder.exists(), "its files are still there");
    }

    /// The command lines that name this folder.
    fn processes_of(folder: &Path) -> Vec<String> {
        let name = folder.display().to_string();
        let lines = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let line = fs::read(entry.ok()?.path().join("cmdline")).ok()?;
            Some(String::from_utf8_lossy(&line).replace('\0', " "))
        });
        lines.filter(|line| line.contains(&name)).collect()
    }

    #[test]
    fn one_that_does_not_start_says_why() {
        let why = Chromium::start_program(Path::new("/nowhere/chromedriver")).unwrap_err();
        assert!(why.contains("does not start") && why.contains("/nowhere/chromedriver"), "{why}");
    }

    #[test]
    fn the_port_is_read_from_a_whole_line() {
        let line = "Only local connections are allowed.\nChromeDriver was started successfully on port 41";
        assert_eq!(listening(line), None, "the next digits may be on their way");
        assert_eq!(listening(&format!("{line}23.\n")).as_deref(), Some("http://127.0.0.1:4123"));
    }

    #[test]
    fn only_what_is_missing_is_installed_and_nobody_is_asked() {
        assert_eq!(missing(|_| true), [""; 0]);
        assert_eq!(missing(|program| program != DRIVER), ["chromium-driver"]);
        assert_eq!(missing(|_| false), ["chromium", "chromium-driver"]);
        let [update, install] = steps(&["chromium-driver"], true).map(|step| step.join(" "));
        assert_eq!(update, "apt-get update --quiet");
        assert!(install.starts_with("apt-get install --yes") && install.ends_with(" chromium-driver"), "{install}");
        let [update, install] = steps(&["chromium"], false).map(|step| step.join(" "));
        assert!(update.starts_with("sudo -n apt-get ") && install.starts_with("sudo -n apt-get "), "{install}");
    }

    #[test]
    fn the_judge_of_accessibility_is_there() {
        assert!(axe_core().contains("axe"), "{} characters", axe_core().len());
    }
}

//! Azurite, the Azure Storage that tests talk to: a process on loopback that keeps everything in memory.
//!
//! It speaks HTTPS under a certificate of its own, because bearer tokens go over nothing else. It believes any token
//! that looks like Entra's, the simulator's too, and looks neither at its signature nor at roles. It has no Event Grid.

mod storage;

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

pub use self::storage::{Answer, Storage};
use crate::{npm::Package, tools::target_folder, wait::within};

/// A start takes about a second; a busy machine takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Megabytes that all blobs together may have.
const MEMORY: &str = "512";

/// A running azurite. It ends with the process that started it, whatever happens to that.
#[derive(Debug)]
pub struct Azurite {
    folder: PathBuf,
    child: Mutex<Child>,
    /// Azurite runs for as long as this end of its standard input is open.
    lifeline: Option<ChildStdin>,
    /// Of the blob service and of the queue service.
    origins: [String; 2],
}

impl Azurite {
    /// No account but this one is there.
    pub const ACCOUNT: &str = "devstoreaccount1";
    /// The newest version of the protocol that it knows.
    pub const VERSION: &str = "2025-11-05";

    /// The one of this test process. Tests keep apart by the names of what they make in it.
    ///
    /// # Panics
    /// When it does not come up. Whoever asks again is told at once.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Azurite, String>> = OnceLock::new();
        let program = Package::Azurite.path();
        SHARED.get_or_init(|| Self::start_program(&program)).as_ref().unwrap_or_else(|why| panic!("{why}"))
    }

    /// One of its own, for a test that must be alone with it.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start() -> Self {
        Self::start_program(&Package::Azurite.path()).unwrap_or_else(|why| panic!("{why}"))
    }

    fn start_program(program: &Path) -> Result<Self, String> {
        let parent = target_folder().join("tmp");
        fs::create_dir_all(&parent).expect("cargo's target folder can be written");
        // It removes the folder itself as it ends: this process may not live to do so.
        let folder = tempfile::Builder::new().prefix("azurite-").tempdir_in(parent).expect("a folder").keep();
        let identity = Identity::make();
        for (name, pem) in
            [("ca.pem", &identity.ca), ("certificate.pem", &identity.certificate), ("key.pem", &identity.key)]
        {
            fs::write(folder.join(name), pem).expect("a file of our own");
        }
        let log = File::create(folder.join("log")).expect("a log");
        let mut child = Command::new("node")
            .arg("-e")
            .arg(include_str!("supervised.js"))
            .arg(program)
            .args(["--silent", "--disableTelemetry", "--skipApiVersionCheck", "--oauth", "basic"])
            .args(["--inMemoryPersistence", "--extentMemoryLimit", MEMORY])
            .args(["--cert", "certificate.pem", "--key", "key.pem"])
            .args(["blob", "queue", "table"].into_iter().flat_map(|service| {
                // Port 0 is any that is free; the log says which.
                [format!("--{service}Host"), "127.0.0.1".to_owned(), format!("--{service}Port"), "0".to_owned()]
            }))
            .current_dir(&folder)
            .env_clear()
            .envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, env::var_os(name)?))))
            .env("TMPDIR", &folder)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().expect("the same file twice"))
            .stderr(log)
            .spawn()
            .map_err(|error| format!("node does not start: {error}"))?;
        let lifeline = child.stdin.take();
        let mut azurite = Self { folder, child: Mutex::new(child), lifeline, origins: Default::default() };
        let origins =
            within(PATIENCE, || azurite.listening().map(Ok).or_else(|| azurite.has_ended().then_some(Err(()))));
        match origins {
            Some(Ok(origins)) => {
                azurite.origins = origins;
                Ok(azurite)
            }
            Some(Err(())) => Err(format!("azurite does not start: {}", azurite.log())),
            None => Err(format!("azurite does not listen within {PATIENCE:?}. {}", azurite.log())),
        }
    }

    /// Where the account's blobs are, without a slash at the end. With `{account}` in the place of the account's name
    /// it is what a configuration takes.
    pub fn blob_url(&self, account: &str) -> String {
        format!("{}/{account}", self.origins[0])
    }

    /// The same for its queues.
    pub fn queue_url(&self, account: &str) -> String {
        format!("{}/{account}", self.origins[1])
    }

    /// The certificate that whoever talks to it has to trust, as `SSL_CERT_FILE` would name it.
    pub fn ca_certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// A token it takes for an hour from now, without the word `Bearer`.
    pub fn token(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let (from, until) = (now - 60, now + 3600);
        let issuer = "https://sts.windows.net/00000000-0000-4000-8000-0000000000aa/";
        let claims = format!(
            r#"{{"aud":"https://storage.azure.com","iss":"{issuer}","iat":{from},"nbf":{from},"exp":{until}}}"#
        );
        let parts = [r#"{"alg":"RS256","typ":"JWT"}"#, &claims, "nobody looks at this"];
        parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
    }

    /// Its account, to write to as a customer's services do.
    pub fn storage(&self) -> Storage<'_> {
        Storage::of(self)
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.folder.join("log")).unwrap_or_default()).into_owned()
    }

    fn has_ended(&self) -> bool {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        child.try_wait().expect("a child of ours").is_some()
    }

    /// The origins of the two services, once both are there.
    fn listening(&self) -> Option<[String; 2]> {
        let log = self.log();
        let origin = |service: &str| {
            let line = format!("Azurite {service} service is successfully listening at ");
            // A line whose end is not there yet may lack digits.
            let (origin, _) = log.split_once(&line)?.1.split_once('\n')?;
            Some(origin.trim().to_owned())
        };
        Some([origin("Blob")?, origin("Queue")?])
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        self.lifeline.take();
        let child = self.child.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Waited for only so that no zombie is left.
        let _ended_by_itself = child.wait();
        // One that never came up has not removed its files.
        let _gone_already = fs::remove_dir_all(&self.folder);
    }
}

/// A certificate for loopback, and the authority that stands behind it, both made for one start.
struct Identity {
    ca: String,
    certificate: String,
    key: String,
}

impl Identity {
    fn make() -> Self {
        let mut authority = CertificateParams::new(Vec::new()).expect("no names");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().expect("a key")).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let names = ["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate =
            CertificateParams::new(names).expect("two names").signed_by(&key, &authority).expect("a certificate");
        Self { ca: authority.pem(), certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn it_listens_and_leaves_nothing_behind() {
        let azurite = Azurite::start();
        let addresses = azurite.origins.clone().map(|origin| origin.strip_prefix("https://").unwrap().to_owned());
        for address in &addresses {
            TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}. {}", azurite.log()));
        }
        let folder = azurite.folder.clone();
        assert!(azurite.ca_certificate().exists());
        drop(azurite);
        assert!(addresses.iter().all(|address| TcpStream::connect(address).is_err()), "it still listens");
        assert!(!folder.exists(), "its files are still there");
    }

    #[test]
    fn one_that_does_not_start_says_why() {
        let why = Azurite::start_program(Path::new("/nowhere/azurite.js")).unwrap_err();
        assert!(why.contains("does not start") && why.contains("/nowhere/azurite.js"), "{why}");
    }
}

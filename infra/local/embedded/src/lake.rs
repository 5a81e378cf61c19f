//! The lake in a folder: objects are files, created once.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use shared::ports::{
    Unavailable,
    lake::{Lake, Put, validate, validate_removal},
};

use crate::OpenError;

const PORT: &str = "lake";
/// Files here are being written; readers of the lake pass names with a dot by.
const INCOMING: &str = ".incoming";
/// A file that old was left by a process that died.
const ABANDONED: Duration = Duration::from_secs(3600);

#[derive(Debug)]
pub struct FolderLake {
    root: PathBuf,
    written: AtomicU64,
}

impl FolderLake {
    /// # Errors
    /// [`OpenError`] when the folder cannot be made.
    pub fn open(root: &Path) -> Result<Self, OpenError> {
        let incoming = root.join(INCOMING);
        fs::create_dir_all(&incoming).map_err(|cause| OpenError::new(root, &cause))?;
        for entry in fs::read_dir(&incoming).map_err(|cause| OpenError::new(root, &cause))?.flatten() {
            let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|at| at.elapsed().ok());
            if age.is_some_and(|age| age > ABANDONED) {
                // Another process may be quicker; a leftover does no harm.
                let _removed = fs::remove_file(entry.path());
            }
        }
        Ok(Self { root: root.to_owned(), written: AtomicU64::new(0) })
    }

    fn path(&self, key: &str) -> Result<PathBuf, Unavailable> {
        validate(key)?;
        Ok(self.root.join(key))
    }

    /// A file that nobody else has. One of that name may be there: in a container every process has the same id, and
    /// what a dead one left behind may be an object's second name, which must not be written into.
    fn draft(&self) -> std::io::Result<(PathBuf, File)> {
        loop {
            let number = self.written.fetch_add(1, Ordering::Relaxed);
            let incoming = self.root.join(INCOMING).join(format!("{}-{number}", std::process::id()));
            match File::create_new(&incoming) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                created => return created.map(|file| (incoming, file)),
            }
        }
    }

    /// Written and synchronised under another name, then linked: a link is made once or not at all.
    fn create(&self, path: &Path, bytes: &[u8]) -> std::io::Result<Put> {
        let folder = path.parent().unwrap_or(&self.root);
        fs::create_dir_all(folder)?;
        let (incoming, mut file) = self.draft()?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let linked = fs::hard_link(&incoming, path);
        fs::remove_file(&incoming)?;
        let put = match linked {
            Ok(()) => Put::Created,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Put::Exists,
            Err(error) => return Err(error),
        };
        self.synchronise_names(path)?;
        Ok(put)
    }

    /// A file's name, and those of the folders above it, must survive a power cut too; and so before anybody acts on
    /// having found it, for whoever linked it may have died before this.
    fn synchronise_names(&self, path: &Path) -> std::io::Result<()> {
        path.ancestors()
            .skip(1)
            .take_while(|folder| folder.starts_with(&self.root))
            .try_for_each(|folder| File::open(folder)?.sync_all())
    }
}

#[async_trait]
impl Lake for FolderLake {
    async fn put_new(&self, key: &str, bytes: Vec<u8>) -> Result<Put, Unavailable> {
        let path = self.path(key)?;
        self.create(&path, &bytes).map_err(|cause| Unavailable::new(PORT, cause))
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Unavailable> {
        let path = self.path(key)?;
        match fs::read(&path) {
            Ok(bytes) => {
                self.synchronise_names(&path).map_err(|cause| Unavailable::new(PORT, cause))?;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Unavailable::new(PORT, error)),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), Unavailable> {
        validate_removal(key)?;
        match fs::remove_file(self.path(key)?) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(Unavailable::new(PORT, error)),
            _ => Ok(()),
        }
    }
}

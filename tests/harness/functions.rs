//! The functions that ship: the folders under `functions/`, so that nobody keeps a list of them.

use std::{collections::BTreeSet, fs, path::Path};

/// Their names, which are also those of their packages and programs. (`package` is how to name one to cargo.)
pub fn functions() -> BTreeSet<String> {
    let home = Path::new(env!("CARGO_MANIFEST_DIR")).join("../functions");
    let entries = fs::read_dir(home).expect("the repository that this was built in").flatten();
    let folders = entries.filter(|entry| entry.path().join("Cargo.toml").is_file());
    let names: BTreeSet<String> = folders.filter_map(|folder| folder.file_name().into_string().ok()).collect();
    assert!(!names.is_empty(), "there is a folder for each function");
    names
}

/// What cargo builds a function by: a library below us has the name of one, but not its version too.
pub fn package(function: &str) -> String {
    format!("{function}@{}", env!("CARGO_PKG_VERSION"))
}

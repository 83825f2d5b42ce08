//! The record of a node on disk: `node.json` in its folder.
//!
//! Invariant: the file is either the old record or the new one, whole, whatever happens in between.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::process::Identity;
use super::{NodeKind, ProviderError};

/// Name of the record within a node's folder.
pub(super) const FILE: &str = "node.json";

/// What must survive our own end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    /// `host:port`.
    pub address: String,
    /// What it runs.
    pub kind: NodeKind,
    /// Program, absolute.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// Hash over what it was made from.
    pub spec: String,
    /// The process last started; it may be gone.
    pub process: Option<Identity>,
    /// The last restart asked for.
    pub restart: Option<Restart>,
}

/// A restart, written down before it begins so that it happens once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Restart {
    /// Key it was asked with.
    pub idem_key: String,
    /// The process that has to go; none when none ran.
    pub was: Option<Identity>,
}

/// Reads the record of a folder; none when the folder holds no node.
pub(super) fn read(dir: &Path) -> Result<Option<Record>, ProviderError> {
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(ProviderError::io(format!("reading {}", path.display()))(e)),
    };
    let record = serde_json::from_slice(&bytes).map_err(io::Error::other);
    record.map(Some).map_err(ProviderError::io(format!("reading {}", path.display())))
}

/// Writes the record.
pub(super) fn write(dir: &Path, record: &Record) -> Result<(), ProviderError> {
    let bytes = serde_json::to_vec_pretty(record).expect("a record is plain data");
    replace(dir, FILE, 0o600, &bytes)
}

/// Puts a file in place whole: written aside, flushed to disk, renamed, the folder flushed.
pub(super) fn replace(
    dir: &Path,
    name: &str,
    mode: u32,
    bytes: &[u8],
) -> Result<(), ProviderError> {
    let (path, aside) = (dir.join(name), dir.join(format!(".{name}.new")));
    let put = || -> io::Result<()> {
        // Left over from a crash; a fresh one takes the mode asked for.
        match fs::remove_file(&aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&aside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&aside, &path)?;
        fs::File::open(dir)?.sync_all()
    };
    put().map_err(ProviderError::io(format!("writing {}", path.display())))
}

//! The rarer verbs of the local provider: another program, no data, files in and out.
//!
//! Invariants: only a stopped node loses or gets data files; a copied file is whole or not there, and
//! its hash was computed from what was written. Refuses to know what is in the files.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::local::{CONF, Local, Shared, lock, running};
use super::{Line, NodeKind, NodeRef, ProviderError, conf, record};

/// A program says its version within milliseconds.
const VERSION_MAX: Duration = Duration::from_secs(5);
/// Bytes copied at once.
const CHUNK: usize = 1 << 20;
/// Files of a node's folder that are no data: everything else is the server's.
const KEPT: [&str; 5] = [CONF, record::FILE, "lock", "log", "out"];

/// Who a cluster node is: not data, and without it the node is another one.
const NODES: &str = "nodes.conf";

/// A copied file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Length.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// What a checker counted in an RDB file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// Keys.
    pub keys: u64,
    /// Keys with a time to live.
    pub expires: u64,
    /// Of those, ended when it was checked.
    pub expired: u64,
}

impl Local {
    /// See [`super::Provider::install`].
    pub async fn install(&self, node: &NodeRef, program: &Path) -> Result<(), ProviderError> {
        let (node, program) = (node.clone(), program.to_path_buf());
        self.blocking(move |shared| shared.install(&node, &program)).await
    }

    /// See [`super::Provider::version`].
    pub async fn version(&self, program: &Path) -> Result<String, ProviderError> {
        let program = program.to_path_buf();
        self.blocking(move |_| version(&program)).await
    }

    /// See [`super::Provider::blank`].
    pub async fn blank(&self, node: &NodeRef) -> Result<(), ProviderError> {
        let node = node.clone();
        self.blocking(move |shared| shared.blank(&node)).await
    }

    /// See [`super::Provider::clear`].
    pub async fn clear(&self, node: &NodeRef) -> Result<(), ProviderError> {
        let node = node.clone();
        let clear =
            move |shared: &Shared| shared.stopped(&node, |dir, _| remove_data(dir, &[NODES]));
        self.blocking(clear).await
    }

    /// See [`super::Provider::fetch`].
    pub async fn fetch(
        &self,
        node: &NodeRef,
        name: &str,
        to: &Path,
    ) -> Result<Copied, ProviderError> {
        let (node, name, to) = (node.clone(), plain(node, name)?, to.to_path_buf());
        self.blocking(move |shared| {
            let dir = shared.folder(&node);
            if record::read(&dir)?.is_none() {
                return Err(ProviderError::NoSuchNode(node.address.clone()));
            }
            copy(&dir.join(&name), &to)
        })
        .await
    }

    /// See [`super::Provider::check_rdb`].
    pub async fn check_rdb(&self, node: &NodeRef, file: &Path) -> Result<Checked, ProviderError> {
        let (node, file) = (node.clone(), file.to_path_buf());
        self.blocking(move |shared| {
            let gone = || ProviderError::NoSuchNode(node.address.clone());
            let record = record::read(&shared.folder(&node))?.ok_or_else(gone)?;
            check_rdb(&record.program, &file)
        })
        .await
    }

    /// See [`super::Provider::place`].
    pub async fn place(
        &self,
        node: &NodeRef,
        name: &str,
        from: &Path,
    ) -> Result<Copied, ProviderError> {
        let (node, name, from) = (node.clone(), plain(node, name)?, from.to_path_buf());
        let place =
            move |shared: &Shared| shared.stopped(&node, |dir, _| copy(&from, &dir.join(&name)));
        self.blocking(place).await
    }
}

impl Shared {
    fn install(&self, node: &NodeRef, program: &Path) -> Result<(), ProviderError> {
        let dir = self.folder(node);
        if !program.is_absolute() || !program.is_file() {
            let why = format!("{} is no absolute path of a program", program.display());
            return Err(ProviderError::Invalid { address: node.address.clone(), why });
        }
        if record::read(&dir)?.is_none() {
            return Err(ProviderError::NoSuchNode(node.address.clone()));
        }
        let _lock = lock(&dir, node)?;
        let Some(mut record) = record::read(&dir)? else {
            return Err(ProviderError::NoSuchNode(node.address.clone()));
        };
        // Written down first: an unrecorded process is looked for by the program it runs.
        if let Some(process) = running(&dir, &record) {
            record.process = Some(process);
        }
        record.program = program.to_path_buf();
        record::write(&dir, &record)
    }

    /// Works in the folder of a node that does not run, holding it.
    fn stopped<T>(
        &self,
        node: &NodeRef,
        work: impl FnOnce(&Path, &record::Record) -> Result<T, ProviderError>,
    ) -> Result<T, ProviderError> {
        let dir = self.folder(node);
        if record::read(&dir)?.is_none() {
            return Err(ProviderError::NoSuchNode(node.address.clone()));
        }
        let _lock = lock(&dir, node)?;
        let Some(record) = record::read(&dir)? else {
            return Err(ProviderError::NoSuchNode(node.address.clone()));
        };
        if let Some(process) = running(&dir, &record) {
            let why = format!("process {} runs: its files are its own", process.pid);
            return Err(ProviderError::Invalid { address: node.address.clone(), why });
        }
        work(&dir, &record)
    }

    fn blank(&self, node: &NodeRef) -> Result<(), ProviderError> {
        let invalid = |why: String| ProviderError::Invalid { address: node.address.clone(), why };
        let (host, port) = model::id::split_address(&node.address)
            .ok_or_else(|| invalid("an address is host:port".into()))?;
        self.stopped(node, |dir, _| {
            let place = dir.to_str().ok_or_else(|| invalid("the folder is not UTF-8".into()))?;
            // Nobody may log in: a server started by mistake must not serve an empty data set.
            let closed = [Line::new("user", ["default", "off"])];
            let text = conf::render(NodeKind::Data, host, port, place, &closed).map_err(invalid)?;
            record::replace(dir, CONF, 0o600, text.as_bytes())?;
            remove_data(dir, &[])
        })
    }
}

/// A file name without a folder.
fn plain(node: &NodeRef, name: &str) -> Result<String, ProviderError> {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if name.is_empty() || name.starts_with('.') || !name.chars().all(fine) || KEPT.contains(&name) {
        let why = format!("{name:?} is no data file of a node");
        return Err(ProviderError::Invalid { address: node.address.clone(), why });
    }
    Ok(name.to_string())
}

fn remove_data(dir: &Path, but: &[&str]) -> Result<(), ProviderError> {
    let clearing = || ProviderError::io(format!("clearing {}", dir.display()));
    for entry in fs::read_dir(dir).map_err(clearing())? {
        let entry = entry.map_err(clearing())?;
        if KEPT.iter().chain(but).any(|kept| entry.file_name() == *kept) {
            continue;
        }
        let path = entry.path();
        let gone = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        gone.map_err(clearing())?;
    }
    Ok(())
}

/// The checker that stands beside the program.
fn checker(program: &Path) -> Option<PathBuf> {
    let dir = fs::canonicalize(program).ok()?.parent()?.to_path_buf();
    let names = ["redis-check-rdb", "valkey-check-rdb"];
    let beside = |dir: &Path| names.iter().map(|n| dir.join(n)).find(|p| p.is_file());
    beside(&dir).or_else(|| beside(program.parent()?))
}

fn check_rdb(program: &Path, file: &Path) -> Result<Checked, ProviderError> {
    let invalid = |why: String| ProviderError::Invalid { address: file.display().to_string(), why };
    let none = || invalid(format!("no redis-check-rdb stands beside {}", program.display()));
    let checker = checker(program).ok_or_else(none)?;
    let said = Command::new(&checker).arg(file).env_clear().stdin(Stdio::null()).output();
    let said = said.map_err(ProviderError::io(format!("running {}", checker.display())))?;
    let text = String::from_utf8_lossy(&said.stdout).into_owned();
    match (said.status.success(), checked(&text)) {
        (true, Some(checked)) => Ok(checked),
        _ => {
            let last = text.lines().last().unwrap_or_default().to_string();
            Err(invalid(format!("{} says {last:?}", checker.display())))
        }
    }
}

/// From the checker's words: `[info] 42 keys read`, `[info] 3 expires`, `[info] 1 already expired`.
fn checked(text: &str) -> Option<Checked> {
    let count = |what: &str| {
        let line = text.lines().find_map(|l| l.strip_prefix("[info] ")?.strip_suffix(what))?;
        line.trim().parse().ok()
    };
    text.contains("RDB looks OK").then_some(())?;
    Some(Checked {
        keys: count("keys read")?,
        expires: count("expires").unwrap_or(0),
        expired: count("already expired").unwrap_or(0),
    })
}

/// Copies whole: aside, flushed, renamed; the hash is of the bytes that were written.
fn copy(from: &Path, to: &Path) -> Result<Copied, ProviderError> {
    let what = format!("copying {} to {}", from.display(), to.display());
    let aside = PathBuf::from(format!("{}.new", to.display()));
    let put = || -> io::Result<Copied> {
        let mut reader = fs::File::open(from)?;
        let mut open = fs::OpenOptions::new();
        let mut writer = open.write(true).create(true).truncate(true).mode(0o600).open(&aside)?;
        let (mut hash, mut bytes) = (model::audit::Hash::default(), 0u64);
        let mut chunk = vec![0; CHUNK];
        loop {
            let n = reader.read(&mut chunk)?;
            if n == 0 {
                break;
            }
            hash.update(&chunk[..n]);
            writer.write_all(&chunk[..n])?;
            bytes += n as u64;
        }
        writer.sync_all()?;
        fs::rename(&aside, to)?;
        if let Some(folder) = to.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(Copied { bytes, sha256: hash.hex() })
    };
    put().map_err(ProviderError::io(what))
}

fn version(program: &Path) -> Result<String, ProviderError> {
    let asking = || ProviderError::io(format!("asking {} for its version", program.display()));
    let mut child = Command::new(program)
        .arg("--version")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(asking())?;
    let end = Instant::now() + VERSION_MAX;
    while child.try_wait().map_err(asking())?.is_none() {
        if Instant::now() >= end {
            let _ = child.kill();
            let _ = child.wait();
            return Err(asking()(io::Error::other("no answer within 5 s")));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        out.read_to_string(&mut said).map_err(asking())?;
    }
    version_of(&said).ok_or_else(|| asking()(io::Error::other("it is no Redis and no Valkey")))
}

/// From `Redis server v=7.0.15 sha=…` or `Valkey server v=8.1.1 …`.
fn version_of(said: &str) -> Option<String> {
    let engine = said.split_whitespace().next()?.to_ascii_lowercase();
    let version = said.split_whitespace().find_map(|word| word.strip_prefix("v="))?;
    matches!(engine.as_str(), "redis" | "valkey").then(|| format!("{engine} {version}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_known_by_what_it_says() {
        let redis = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=x\n";
        assert_eq!(version_of(redis).as_deref(), Some("redis 7.0.15"));
        assert_eq!(version_of("Valkey server v=8.1.1 sha=0").as_deref(), Some("valkey 8.1.1"));
        assert_eq!(version_of("ls (GNU coreutils) 9.1"), None);
        assert_eq!(version_of(""), None);
    }

    #[test]
    fn what_the_checker_says_is_read_and_a_damaged_file_is_not_fine() {
        let fine = "[offset 0] Checking RDB file d.rdb\n[offset 9] \\o/ RDB looks OK! \\o/\n\
                    [info] 42 keys read\n[info] 3 expires\n[info] 1 already expired\n";
        assert_eq!(checked(fine), Some(Checked { keys: 42, expires: 3, expired: 1 }));
        assert_eq!(checked("--- RDB ERROR DETECTED ---\n[info] 7 keys read\n"), None);
    }
}

//! Nodes as processes of this machine: a folder each, with configuration, log and record.
//!
//! Invariants: a node's process is known by pid, start time and boot, so a reused pid is never ours;
//! it is started in a session of its own and outlives us; a node has at most one process; one action
//! on a node at a time, also among several of our processes. Refuses to know what the server says.

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::id::split_address;
use rustix::process::Signal;

use super::process::{self, Identity};
use super::record::{self, Record, Restart};
use super::{
    Control, Limits, NodeFile, NodeKind, NodeRef, NodeSpec, NodeState, ProviderError, conf, probe,
};

/// File name of a node's configuration.
pub(super) const CONF: &str = "redis.conf";
/// A restart lets the server end by itself that long: writing an RDB file of some GB takes seconds.
const RESTART_GRACE: Duration = Duration::from_secs(30);
/// The kernel frees a killed process' memory before it is gone; longer than this it hangs in there.
const KILL_PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for somebody else's action on the node: a stop with its grace fits.
const LOCK_PATIENCE: Duration = Duration::from_secs(45);
/// Exits remembered: far more than nodes of a host.
const ENDED_MAX: usize = 1000;
/// Between two looks at a process that ends or a lock that is held.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The local provider. Clones share their state.
#[derive(Clone)]
pub struct Local {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    dir: PathBuf,
    children: Mutex<Children>,
}

/// What this very process started.
#[derive(Default)]
struct Children {
    /// Until they are reaped.
    live: Vec<(Identity, Child)>,
    /// How they ended, oldest first. For people only, so it need not survive us.
    ended: VecDeque<(Identity, String)>,
}

impl Local {
    /// Opens (and makes) the folder that holds the nodes.
    pub fn open(dir: &Path) -> Result<Local, ProviderError> {
        make_dir(dir)?;
        let dir = fs::canonicalize(dir).map_err(ProviderError::io(dir.display().to_string()))?;
        Ok(Local { shared: Arc::new(Shared { dir, children: Mutex::default() }) })
    }

    /// The folder of a node: `redis.conf`, `log`, `out` and the server's own files.
    pub fn folder(&self, node: &NodeRef) -> PathBuf {
        self.shared.folder(node)
    }

    /// All nodes, in the order of their addresses.
    pub fn nodes(&self) -> Result<Vec<NodeRef>, ProviderError> {
        let reading = || format!("reading {}", self.shared.dir.display());
        let mut nodes = Vec::new();
        for entry in fs::read_dir(&self.shared.dir).map_err(ProviderError::io(reading()))? {
            let entry = entry.map_err(ProviderError::io(reading()))?;
            if let Some(record) = record::read(&entry.path())? {
                nodes.push(NodeRef { address: record.address });
            }
        }
        nodes.sort();
        Ok(nodes)
    }

    /// See [`super::Provider::create`].
    pub async fn create(&self, spec: NodeSpec) -> Result<NodeRef, ProviderError> {
        self.blocking(move |shared| shared.create(&spec)).await
    }

    /// See [`super::Provider::observe`].
    pub async fn observe(&self, node: &NodeRef) -> Result<NodeState, ProviderError> {
        let node = node.clone();
        self.blocking(move |shared| shared.observe(&node)).await
    }

    /// See [`super::Provider::control`].
    pub async fn control(
        &self,
        node: &NodeRef,
        control: Control,
        idem_key: &str,
    ) -> Result<(), ProviderError> {
        let (node, idem_key) = (node.clone(), idem_key.to_string());
        self.blocking(move |shared| shared.control(&node, control, &idem_key)).await
    }

    /// See [`super::Provider::write_files`].
    pub async fn write_files(
        &self,
        node: &NodeRef,
        files: Vec<NodeFile>,
    ) -> Result<(), ProviderError> {
        let node = node.clone();
        self.blocking(move |shared| shared.write_files(&node, &files)).await
    }

    /// See [`super::Provider::conf_text`].
    pub async fn conf_text(&self, node: &NodeRef) -> Result<String, ProviderError> {
        let node = node.clone();
        self.blocking(move |shared| probe::conf_text(&shared.known(&node)?.join(CONF))).await
    }

    /// See [`super::Provider::limits`].
    pub async fn limits(&self, node: &NodeRef) -> Result<Limits, ProviderError> {
        let node = node.clone();
        self.blocking(move |shared| {
            let dir = shared.known(&node)?;
            probe::limits(&dir, shared.observe(&node)?.pid)
        })
        .await
    }

    /// See [`super::Provider::release`].
    pub async fn release(&self, node: &NodeRef) -> Result<(), ProviderError> {
        let node = node.clone();
        self.blocking(move |shared| shared.release(&node)).await
    }

    /// Files, locks and ends of processes are waited for outside of the async workers.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> Result<T, ProviderError> + Send + 'static,
    ) -> Result<T, ProviderError> {
        let shared = Arc::clone(&self.shared);
        let done = tokio::task::spawn_blocking(move || work(&shared)).await;
        done.unwrap_or_else(|e| Err(ProviderError::io("the provider's work ended")(e.into())))
    }
}

impl Shared {
    pub(super) fn folder(&self, node: &NodeRef) -> PathBuf {
        // Brackets and colons of IPv6 have no place in a file name.
        let name = node.address.replace(['[', ']'], "").replace(':', "-");
        self.dir.join(name)
    }

    fn create(&self, spec: &NodeSpec) -> Result<NodeRef, ProviderError> {
        let invalid = |why: String| ProviderError::Invalid { address: spec.address.clone(), why };
        let (host, port) = split_address(&spec.address)
            .ok_or_else(|| invalid("an address is host:port".into()))?;
        if !spec.program.is_absolute() || !spec.program.is_file() {
            return Err(invalid(format!(
                "{} is no absolute path of a program",
                spec.program.display()
            )));
        }
        let node = NodeRef { address: spec.address.clone() };
        let dir = self.folder(&node);
        let place = dir.to_str().ok_or_else(|| invalid("the folder's name is not UTF-8".into()))?;
        let text = conf::render(spec.kind, host, port, place, &spec.lines).map_err(invalid)?;
        let made_from = format!("{:?}\n{}\n{text}", spec.kind, spec.program.display());
        let made_from = model::audit::sha256_hex(made_from.as_bytes());
        make_dir(&dir)?;
        let _lock = lock(&dir, &node)?;
        match record::read(&dir)? {
            Some(record) if record.spec == made_from => return Ok(node),
            Some(_) => return Err(ProviderError::Conflict(spec.address.clone())),
            None => {}
        }
        record::replace(&dir, CONF, 0o600, text.as_bytes())?;
        let mut args = vec![dir.join(CONF).display().to_string()];
        if spec.kind == NodeKind::Sentinel {
            args.push("--sentinel".into());
        }
        let record = Record {
            address: spec.address.clone(),
            kind: spec.kind,
            program: spec.program.clone(),
            args,
            spec: made_from,
            process: None,
            restart: None,
        };
        record::write(&dir, &record)?;
        Ok(node)
    }

    fn observe(&self, node: &NodeRef) -> Result<NodeState, ProviderError> {
        let dir = self.folder(node);
        let record = record::read(&dir)?;
        let process = record.as_ref().and_then(|record| running(&dir, record));
        // Behind the look: how a process ended that was seen gone is known then.
        self.reap();
        Ok(NodeState {
            exists: record.is_some(),
            running: process.is_some(),
            pid: process.as_ref().map(|p| p.pid),
            incarnation: process
                .map(|p| format!("{}-{}", p.pid, p.start_ticks))
                .unwrap_or_default(),
            address: node.address.clone(),
            program: record.as_ref().map(|r| r.program.clone()).unwrap_or_default(),
            exit: record.and_then(|r| self.exit_of(&r.process?)),
        })
    }

    fn control(&self, node: &NodeRef, control: Control, key: &str) -> Result<(), ProviderError> {
        let dir = self.folder(node);
        if record::read(&dir)?.is_none() {
            return Err(ProviderError::NoSuchNode(node.address.clone()));
        }
        let _lock = lock(&dir, node)?;
        self.reap();
        // Read again: what was true before the lock may have been changed by its holder.
        let Some(mut record) = record::read(&dir)? else {
            return Err(ProviderError::NoSuchNode(node.address.clone()));
        };
        match control {
            Control::Start => self.start(&dir, &mut record),
            Control::Stop { grace_ms } => {
                self.end(&dir, &record, Some(Duration::from_millis(grace_ms)))
            }
            Control::Kill => self.end(&dir, &record, None),
            Control::Restart => self.restart(&dir, &mut record, key),
        }
    }

    fn start(&self, dir: &Path, record: &mut Record) -> Result<(), ProviderError> {
        if let Some(process) = running(dir, record) {
            if record.process.as_ref() != Some(&process) {
                record.process = Some(process);
                record::write(dir, record)?;
            }
            return Ok(());
        }
        let starting = format!("starting {}", record.program.display());
        let (child, identity) = process::spawn(dir, &record.program, &record.args)
            .map_err(ProviderError::io(starting))?;
        self.children().live.push((identity.clone(), child));
        record.process = Some(identity);
        record::write(dir, record)
    }

    fn restart(&self, dir: &Path, record: &mut Record, key: &str) -> Result<(), ProviderError> {
        let now = running(dir, record);
        if record.restart.as_ref().is_none_or(|r| r.idem_key != key) {
            record.restart = Some(Restart { idem_key: key.to_string(), was: now.clone() });
            record::write(dir, record)?;
        }
        let was = record.restart.as_ref().and_then(|r| r.was.clone());
        if now.is_some() && now == was {
            self.end(dir, record, Some(RESTART_GRACE))?;
        }
        self.start(dir, record)
    }

    /// Ends the node's process and waits for its end; without a grace by SIGKILL at once.
    fn end(
        &self,
        dir: &Path,
        record: &Record,
        grace: Option<Duration>,
    ) -> Result<(), ProviderError> {
        let Some(process) = running(dir, record) else { return Ok(()) };
        let telling = || format!("ending process {}", process.pid);
        if let Some(grace) = grace {
            process::signal(&process, Signal::TERM).map_err(ProviderError::io(telling()))?;
            if self.gone_within(&process, grace) {
                return Ok(());
            }
        }
        process::signal(&process, Signal::KILL).map_err(ProviderError::io(telling()))?;
        if self.gone_within(&process, KILL_PATIENCE) {
            return Ok(());
        }
        Err(ProviderError::WillNotEnd { address: record.address.clone(), pid: process.pid })
    }

    fn gone_within(&self, process: &Identity, patience: Duration) -> bool {
        let end = Instant::now() + patience;
        loop {
            let gone = !process::runs(process);
            self.reap();
            if gone {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
    }

    /// The folder of a node that is ours.
    fn known(&self, node: &NodeRef) -> Result<PathBuf, ProviderError> {
        let dir = self.folder(node);
        match record::read(&dir)? {
            Some(_) => Ok(dir),
            None => Err(ProviderError::NoSuchNode(node.address.clone())),
        }
    }

    fn write_files(&self, node: &NodeRef, files: &[NodeFile]) -> Result<(), ProviderError> {
        let dir = self.folder(node);
        if record::read(&dir)?.is_none() {
            return Err(ProviderError::NoSuchNode(node.address.clone()));
        }
        let _lock = lock(&dir, node)?;
        for file in files {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            let fine = file.name.chars().all(plain) && !file.name.starts_with('.');
            if file.name.is_empty() || !fine || file.name == record::FILE {
                let why = format!("{:?} is no file name for a node's folder", file.name);
                return Err(ProviderError::Invalid { address: node.address.clone(), why });
            }
            record::replace(&dir, &file.name, file.mode, &file.bytes)?;
        }
        Ok(())
    }

    fn release(&self, node: &NodeRef) -> Result<(), ProviderError> {
        let dir = self.folder(node);
        // Without our record it is not our folder, and nothing in it is touched.
        if record::read(&dir)?.is_none() {
            return Ok(());
        }
        let _lock = lock(&dir, node)?;
        if let Some(record) = record::read(&dir)? {
            self.end(&dir, &record, None)?;
            let removing = format!("removing {}", dir.display());
            fs::remove_dir_all(&dir).map_err(ProviderError::io(removing))?;
        }
        Ok(())
    }

    fn children(&self) -> MutexGuard<'_, Children> {
        // The list is whole between any two statements, also after a panic elsewhere.
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the exit status of children that ended, so that none stays a zombie.
    fn reap(&self) {
        let Children { live, ended } = &mut *self.children();
        live.retain_mut(|(who, child)| {
            let Ok(status) = child.try_wait() else { return false };
            if let Some(status) = status {
                ended.push_back((who.clone(), status.to_string()));
            }
            status.is_none()
        });
        while ended.len() > ENDED_MAX {
            ended.pop_front();
        }
    }

    fn exit_of(&self, who: &Identity) -> Option<String> {
        let children = self.children();
        children.ended.iter().find(|(other, _)| other == who).map(|(_, status)| status.clone())
    }
}

/// The node's process, if it runs: the recorded one, or one we started and could not write down.
pub(super) fn running(dir: &Path, record: &Record) -> Option<Identity> {
    let recorded = record.process.clone().filter(process::runs);
    recorded.or_else(|| process::unrecorded(dir, &record.program))
}

fn make_dir(dir: &Path) -> Result<(), ProviderError> {
    let making = ProviderError::io(format!("making {}", dir.display()));
    // Configurations hold passwords: nobody else looks in.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(making)
}

/// Holds the node for one action; given back when the file is dropped, also by our death.
pub(super) fn lock(dir: &Path, node: &NodeRef) -> Result<fs::File, ProviderError> {
    let path = dir.join("lock");
    let locking = || ProviderError::io(format!("locking {}", path.display()));
    let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.map_err(locking())?;
    let end = Instant::now() + LOCK_PATIENCE;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if Instant::now() < end => {
                std::thread::sleep(LOOK_AGAIN);
            }
            Err(fs::TryLockError::WouldBlock) => {
                return Err(ProviderError::Busy(node.address.clone()));
            }
            Err(fs::TryLockError::Error(e)) => return Err(locking()(e)),
        }
    }
}

//! Who starts and stops the processes of a node.
//!
//! Invariant: every verb is idempotent, and a provider touches only processes and files it made
//! itself. Refuses to know Redis' protocol (everything said to a server goes through `link`) and
//! whether an action is wise: that is the matter of guards and plans.

mod conf;
mod local;
mod probe;
mod process;
mod record;
mod upkeep;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use model::InstanceId;
use model::inventory::Inventory;
use model::refusal::Refusal;
use serde::{Deserialize, Serialize};

pub use conf::Line;
pub use local::Local;
pub use probe::Limits;
pub use upkeep::{Checked, Copied};

/// One `[[ops.provider]]` of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Name hosts refer to.
    pub name: String,
    /// Which way it works.
    pub kind: Kind,
    /// `local`: the folder that holds a folder per node.
    pub dir: PathBuf,
}

/// Ways of running nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Processes of this machine.
    Local,
}

/// A provider.
#[derive(Clone)]
pub enum Provider {
    /// Processes of this machine.
    Local(Local),
}

/// A node as its provider knows it: by the announced address.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeRef {
    /// `host:port`.
    pub address: String,
}

impl NodeRef {
    /// The node behind an instance.
    pub fn of(instance: &InstanceId) -> NodeRef {
        NodeRef { address: instance.address().to_string() }
    }
}

/// What a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// A data node outside of a cluster.
    Data,
    /// A Sentinel.
    Sentinel,
    /// A data node of a cluster.
    Cluster,
}

/// A node to be made.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// `host:port` it listens on and announces; the host is an IP address of this machine.
    pub address: String,
    /// What it runs.
    pub kind: NodeKind,
    /// Configuration besides address, folder and log, which the provider sets.
    pub lines: Vec<Line>,
    /// Absolute path of redis-server or valkey-server (also for Sentinels).
    pub program: PathBuf,
}

/// What is known of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NodeState {
    /// The provider made it and did not release it.
    pub exists: bool,
    /// Its process runs, also when it is stopped by a signal or does not answer.
    pub running: bool,
    /// Process id while it runs.
    pub pid: Option<u32>,
    /// Changes with each start of the process: pid and kernel start time. Empty when not running.
    pub incarnation: String,
    /// `host:port`.
    pub address: String,
    /// What it runs.
    pub program: PathBuf,
    /// How the process last ended, when that was seen: `exit status: 1`, `signal: 9 (SIGKILL)`.
    pub exit: Option<String>,
}

/// What to do with a node's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// Start it, unless it runs.
    Start,
    /// SIGTERM, then SIGKILL after the grace, unless it is gone.
    Stop {
        /// Milliseconds between the two.
        grace_ms: u64,
    },
    /// SIGKILL, unless it is gone.
    Kill,
    /// Stop with the default grace and start again: once per idempotency key.
    Restart,
}

/// A file put beside a node's configuration.
#[derive(Debug, Clone)]
pub struct NodeFile {
    /// File name without any folder.
    pub name: String,
    /// Unix permissions, such as `0o600`.
    pub mode: u32,
    /// Contents.
    pub bytes: Vec<u8>,
}

/// Why a provider could not do it.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// It never made this node, or released it.
    #[error("{0}: this provider has no such node")]
    NoSuchNode(String),
    /// The specification cannot be carried out.
    #[error("{address}: {why}")]
    Invalid {
        /// Node.
        address: String,
        /// What is wrong, and what is allowed.
        why: String,
    },
    /// Another node was made there before.
    #[error("{0}: a node of another specification exists there; release it first")]
    Conflict(String),
    /// Somebody else works on this node.
    #[error("{0}: another action on this node does not end")]
    Busy(String),
    /// The process survives SIGKILL (it hangs in the kernel).
    #[error("{address}: process {pid} does not end")]
    WillNotEnd {
        /// Node.
        address: String,
        /// Process id.
        pid: u32,
    },
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Its words.
        source: std::io::Error,
    },
}

impl ProviderError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> ProviderError {
        let what = what.into();
        move |source| ProviderError::Io { what, source }
    }
}

impl Provider {
    /// Opens a configured provider.
    pub fn open(config: &Config) -> Result<Provider, ProviderError> {
        match config.kind {
            Kind::Local => Local::open(&config.dir).map(Provider::Local),
        }
    }

    /// Makes a node: folder, configuration, record. It does not run yet. Making the same node again
    /// changes nothing, also when the server rewrote its configuration since.
    pub async fn create(&self, spec: NodeSpec) -> Result<NodeRef, ProviderError> {
        match self {
            Provider::Local(local) => local.create(spec).await,
        }
    }

    /// What is known of a node; one it never made is `exists: false`, not an error.
    pub async fn observe(&self, node: &NodeRef) -> Result<NodeState, ProviderError> {
        match self {
            Provider::Local(local) => local.observe(node).await,
        }
    }

    /// Starts, stops or restarts a node's process. Answers when the process was started (not: when
    /// it answers) or has ended. The same key twice acts once.
    pub async fn control(
        &self,
        node: &NodeRef,
        control: Control,
        idem_key: &str,
    ) -> Result<(), ProviderError> {
        match self {
            Provider::Local(local) => local.control(node, control, idem_key).await,
        }
    }

    /// Puts files into the node's folder, each whole or not at all.
    pub async fn write_files(
        &self,
        node: &NodeRef,
        files: Vec<NodeFile>,
    ) -> Result<(), ProviderError> {
        match self {
            Provider::Local(local) => local.write_files(node, files).await,
        }
    }

    /// The node's configuration file as it lies there. It holds passwords: the caller keeps what it
    /// knows and lets the rest go.
    pub async fn conf_text(&self, node: &NodeRef) -> Result<String, ProviderError> {
        match self {
            Provider::Local(local) => local.conf_text(node).await,
        }
    }

    /// What its process and its disk still allow.
    pub async fn limits(&self, node: &NodeRef) -> Result<Limits, ProviderError> {
        match self {
            Provider::Local(local) => local.limits(node).await,
        }
    }

    /// Makes the node run another program from its next start on.
    pub async fn install(&self, node: &NodeRef, program: &Path) -> Result<(), ProviderError> {
        match self {
            Provider::Local(local) => local.install(node, program).await,
        }
    }

    /// Engine and version a program says it is: `redis 8.0.2`, `valkey 8.1.1`.
    pub async fn version(&self, program: &Path) -> Result<String, ProviderError> {
        match self {
            Provider::Local(local) => local.version(program).await,
        }
    }

    /// Makes sure that a stopped node can never come back as what it was: its data is removed, its
    /// configuration names no master, no cluster and no user who may log in.
    pub async fn blank(&self, node: &NodeRef) -> Result<(), ProviderError> {
        match self {
            Provider::Local(local) => local.blank(node).await,
        }
    }

    /// Removes the data files of a stopped node; its configuration stays.
    pub async fn clear(&self, node: &NodeRef) -> Result<(), ProviderError> {
        match self {
            Provider::Local(local) => local.clear(node).await,
        }
    }

    /// Copies a file out of the node's folder.
    pub async fn fetch(
        &self,
        node: &NodeRef,
        name: &str,
        to: &Path,
    ) -> Result<Copied, ProviderError> {
        match self {
            Provider::Local(local) => local.fetch(node, name, to).await,
        }
    }

    /// Reads an RDB file to its end with the checker of the node's own engine.
    pub async fn check_rdb(&self, node: &NodeRef, file: &Path) -> Result<Checked, ProviderError> {
        match self {
            Provider::Local(local) => local.check_rdb(node, file).await,
        }
    }

    /// Copies a file into the folder of a stopped node.
    pub async fn place(
        &self,
        node: &NodeRef,
        name: &str,
        from: &Path,
    ) -> Result<Copied, ProviderError> {
        match self {
            Provider::Local(local) => local.place(node, name, from).await,
        }
    }

    /// Ends the node's process and removes everything the provider made for it. A node that is not
    /// there is released already.
    pub async fn release(&self, node: &NodeRef) -> Result<(), ProviderError> {
        match self {
            Provider::Local(local) => local.release(node).await,
        }
    }
}

/// The configured providers by name.
#[derive(Clone, Default)]
pub struct Providers(BTreeMap<String, Provider>);

impl Providers {
    /// Opens all configured providers; their names must differ.
    pub fn open(configs: &[Config]) -> Result<Providers, ProviderError> {
        let mut all = BTreeMap::new();
        for config in configs {
            if all.insert(config.name.clone(), Provider::open(config)?).is_some() {
                let why = format!("two providers are named {:?}", config.name);
                return Err(ProviderError::Invalid { address: "ops.provider".into(), why });
            }
        }
        Ok(Providers(all))
    }

    /// Adds or replaces one.
    pub fn insert(&mut self, name: &str, provider: Provider) {
        self.0.insert(name.to_string(), provider);
    }

    /// The provider of that name.
    pub fn get(&self, name: &str) -> Option<&Provider> {
        self.0.get(name)
    }

    /// The provider of a host of the inventory.
    pub fn on_host(
        &self,
        inventory: &Inventory,
        host: &model::HostId,
    ) -> Result<&Provider, Refusal> {
        let refuse = |why: String| Refusal::new("provider", host, why);
        let known = inventory.hosts.get(host);
        let known = known.ok_or_else(|| refuse(format!("host {host} is not in the inventory")))?;
        if known.provider.is_empty() {
            return Err(refuse(format!("host {host} has no provider: nobody controls it")));
        }
        let name = &known.provider;
        let missing =
            || refuse(format!("host {host} names provider {name:?}, which is not configured"));
        self.0.get(name).ok_or_else(missing)
    }

    /// The provider that controls an instance, by its host in the inventory.
    pub fn of(
        &self,
        inventory: &Inventory,
        instance: &InstanceId,
    ) -> Result<(&Provider, NodeRef), Refusal> {
        let refuse = |why: String| Refusal::new("provider", instance, why);
        let known = inventory.instances.get(instance);
        let known = known.ok_or_else(|| refuse(format!("{instance} is not in the inventory")))?;
        let host = known.host.as_ref().filter(|h| inventory.hosts.contains_key(h));
        let host = host.ok_or_else(|| refuse(format!("the host of {instance} is not known")))?;
        let provider = self.on_host(inventory, host)?;
        Ok((provider, NodeRef::of(instance)))
    }
}

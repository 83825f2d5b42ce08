//! The parameters an operation may change: what each takes, in which order its nodes get it, what has
//! to be asked before.
//!
//! Invariant: what is not in the table is not changed, and a value leaves here only in the form the
//! server answers it in, so two values are equal exactly when they mean the same. Refuses to know how
//! anything is asked or sent.

pub mod drift;
pub mod file;
pub mod look;
mod table;
mod value;

use model::reading::Text;

pub use table::{NODE, SENTINEL};

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number within limits.
    Integer(i64, i64),
    /// Bytes, also as `100mb`, within limits.
    Bytes(i64, i64),
    /// Bytes, or a share of maxmemory as `5%`.
    BytesOrPercent,
    /// `yes` or `no`.
    Flag,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Pairs of seconds and changes; empty: no RDB snapshots.
    Save,
    /// Class, hard limit, soft limit, seconds: once per class named.
    OutputBuffer,
    /// Letters of keyspace events.
    Events,
}

/// What a change can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Risk {
    /// Nothing clients notice.
    Low,
    /// Availability or latency.
    Service,
    /// Data.
    Data,
}

impl Risk {
    /// Danger level of a plan with it (`portal.md` section 6).
    pub fn level(self) -> u8 {
        match self {
            Risk::Low => 2,
            Risk::Service => 3,
            Risk::Data => 4,
        }
    }

    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Risk::Low => "low",
            Risk::Service => "service",
            Risk::Data => "data",
        }
    }
}

/// What has to be asked besides type and range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// Nothing.
    Plain,
    /// Up within the host's memory, down by steps and never below what is kept.
    Memory,
    /// What may be evicted from now on.
    Eviction,
    /// Descriptors the process may open.
    Clients,
    /// Good replicas there are now.
    Replicas,
    /// Room on the disk; it forks.
    Disk,
    /// Not below a second; the time a failover takes follows.
    Failover,
    /// Only a restart changes it: what to do instead.
    Restart,
    /// Never online: what to do instead.
    Never(&'static str),
}

/// A parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// Its name, as the server answers it.
    pub name: &'static str,
    /// Other names it has in files.
    pub aliases: &'static [&'static str],
    /// Values.
    pub kind: Kind,
    /// Unit, for people: `bytes`, `ms`; empty without one.
    pub unit: &'static str,
    /// Risk class.
    pub risk: Risk,
    /// Rule.
    pub rule: Rule,
    /// First version of Redis that has it; every Valkey has what Redis 7.2 has.
    pub since: (u32, u32),
    /// What a server without a configuration file answers (7.0).
    pub default: &'static str,
}

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engine {
    /// Valkey.
    pub valkey: bool,
    /// Major and minor version of Redis it is compatible with.
    pub version: (u32, u32),
}

impl Engine {
    /// From INFO; none when it names no version.
    pub fn of(text: &Text) -> Option<Engine> {
        let mut parts = text.version.split('.').map_while(|part| part.parse().ok());
        let version = (parts.next()?, parts.next()?);
        Some(Engine { valkey: !text.valkey_version.is_empty(), version })
    }
}

impl Param {
    /// The parameter of data nodes, or of Sentinels, with that name or alias.
    pub fn find(name: &str) -> Option<&'static Param> {
        let name = name.to_ascii_lowercase();
        let named = |p: &&Param| p.name == name || p.aliases.contains(&name.as_str());
        NODE.iter().chain(SENTINEL).find(named)
    }

    /// Whether Sentinels have it, and not data nodes.
    pub fn is_sentinels(&self) -> bool {
        SENTINEL.iter().any(|p| p.name == self.name)
    }

    /// Whether that server has it.
    pub fn exists_in(&self, engine: Engine) -> bool {
        engine.version >= self.since
    }

    /// Whether it can be changed while the server runs.
    pub fn is_mutable(&self) -> bool {
        !matches!(self.rule, Rule::Restart | Rule::Never(_))
    }

    /// The value in the form the server answers; `present` completes a value that names a part only.
    ///
    /// # Errors
    /// What is wrong with it, and what is allowed.
    pub fn normal(&self, value: &str, present: &str) -> Result<String, String> {
        value::normal(self.kind, value.trim(), present).map_err(|why| {
            let shown: String = value.chars().take(80).collect();
            format!("{} = {shown:?}: {why}", self.name)
        })
    }

    /// Whether both mean the same.
    pub fn same(&self, one: &str, other: &str) -> bool {
        match (self.normal(one, ""), self.normal(other, "")) {
            (Ok(one), Ok(other)) => one == other,
            _ => one == other,
        }
    }
}

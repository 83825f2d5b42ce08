//! What slower polls read: durations of commands, the slow log, settings, clients, slots.
//!
//! Invariant: each part carries the time it was read, is never changed afterwards and is shared by
//! all readings until it is read again. No password, no password hash and no argument of a command
//! is kept anywhere but in `SlowEntry::args`, which is shown to people and never becomes a label.

use std::sync::Arc;

use crate::At;

/// Quantiles of a command's duration (one line of INFO latencystats).
#[derive(Debug, Clone, PartialEq)]
pub struct CommandQuantiles {
    /// As in INFO commandstats.
    pub cmd: Box<str>,
    /// (percentile such as 99.9, µs).
    pub quantiles: Box<[(f64, f64)]>,
    /// Calls and µs of INFO commandstats at that time; none when it did not name the command.
    pub total: Option<(f64, f64)>,
}

/// Histogram of a command's duration (LATENCY HISTOGRAM).
#[derive(Debug, Clone, PartialEq)]
pub struct CommandHistogram {
    /// As in INFO commandstats.
    pub cmd: Box<str>,
    /// All calls.
    pub calls: f64,
    /// Sum of INFO commandstats at that time, µs; none when it did not name the command.
    pub usec: Option<f64>,
    /// (upper bound in µs, calls up to it), bounds rising.
    pub buckets: Box<[(f64, f64)]>,
}

/// Durations of commands since their statistics began.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Latencies {
    /// When read.
    pub at: At,
    /// INFO latencystats.
    pub quantiles: Vec<CommandQuantiles>,
    /// LATENCY HISTOGRAM.
    pub histograms: Vec<CommandHistogram>,
}

/// An entry of the slow log.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowEntry {
    /// Grows by one with each slow command since the server's start.
    pub id: f64,
    /// Unix seconds.
    pub at_s: f64,
    /// Duration, µs.
    pub us: f64,
    /// Command and arguments as the server kept them, at most 256 bytes: the clients' data.
    pub args: Box<str>,
    /// `host:port` of the client (Redis ≥ 4.0), else empty.
    pub client: Box<str>,
    /// Name of the client, empty when it has none.
    pub name: Box<str>,
}

/// Slow commands of one shape since watching began.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowShape {
    /// Command, with its subcommand as `config|get`; `__other__` beyond the limit.
    pub cmd: Box<str>,
    /// How many.
    pub count: f64,
    /// Their durations together, µs.
    pub us: f64,
    /// The longest, µs.
    pub us_max: f64,
}

/// The slow log since watching began.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SlowTally {
    /// When last read.
    pub at: At,
    /// By shape, in order of first sight.
    pub shapes: Vec<SlowShape>,
    /// Entries overwritten before they were read.
    pub lost: f64,
    /// The newest entries, newest first.
    pub recent: Vec<Arc<SlowEntry>>,
}

/// Valkey's logs of large commands (COMMANDLOG LEN).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct CommandLog {
    /// Entries in the log of slow commands.
    pub slow: Option<f64>,
    /// Entries in the log of large requests.
    pub large_request: Option<f64>,
    /// Entries in the log of large replies.
    pub large_reply: Option<f64>,
}

/// CONFIG GET *, sorted by name; values of passwords are replaced by `***`.
///
/// Instances of one version have the same names, so these are shared between them.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameters {
    names: Arc<[Box<str>]>,
    values: Box<str>,
    /// End of each value.
    ends: Box<[u32]>,
}

/// Value shown in place of a password that is set.
pub const MASKED: &str = "***";

impl Parameters {
    /// From pairs sorted by name, each name once; `names` may be shared with other instances.
    pub fn new<'a>(names: Arc<[Box<str>]>, values: impl Iterator<Item = &'a str>) -> Parameters {
        let mut text = String::new();
        let mut ends = Vec::with_capacity(names.len());
        for value in values.take(names.len()) {
            text.push_str(value);
            ends.push(text.len() as u32);
        }
        Parameters { names, values: text.into(), ends: ends.into() }
    }

    /// The value of a parameter; none when the server does not know it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.names.binary_search_by(|n| (**n).cmp(name)).ok()?;
        self.value(at)
    }

    /// The value of a parameter that is a number.
    pub fn number(&self, name: &str) -> Option<f64> {
        self.get(name)?.parse().ok().filter(|n: &f64| n.is_finite())
    }

    /// All (name, value), by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.names.iter().enumerate().filter_map(|(at, n)| Some((&**n, self.value(at)?)))
    }

    /// The names, to be shared.
    pub fn names(&self) -> &Arc<[Box<str>]> {
        &self.names
    }

    fn value(&self, at: usize) -> Option<&str> {
        let end = |at: usize| self.ends.get(at).map(|end| *end as usize);
        let from = at.checked_sub(1).map_or(Some(0), end)?;
        self.values.get(from..end(at)?)
    }
}

/// Accounts of a server (ACL LIST), counted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Accounts {
    /// All users.
    pub all: u32,
    /// Users that may sign in.
    pub enabled: u32,
    /// Enabled users that need no password.
    pub without_password: u32,
    /// Enabled users that may run every command on every key.
    pub unlimited: u32,
}

/// A loaded module.
#[derive(Debug, Clone, PartialEq)]
pub struct Module {
    /// Its name.
    pub name: Box<str>,
    /// Its version, as the module counts.
    pub version: f64,
    /// From INFO modules: `api`, `filters`, `usedby`, `using`; empty when not asked.
    pub links: [Box<str>; 4],
}

/// What changes only when somebody changes it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    /// When read.
    pub at: At,
    /// CONFIG GET * (a Sentinel: SENTINEL CONFIG GET *); none when it was refused.
    pub parameters: Option<Parameters>,
    /// The user we are signed in as (Redis ≥ 6).
    pub whoami: Option<Box<str>>,
    /// Accounts (Redis ≥ 6).
    pub accounts: Option<Accounts>,
    /// Refusals by reason (`command`, `key`, `channel`, `auth`), of the entries ACL LOG holds.
    pub denials: Vec<(Box<str>, f64)>,
    /// Modules.
    pub modules: Vec<Module>,
    /// Values of modules by metric name, when they are asked for.
    pub module_values: Vec<(&'static str, f64)>,
}

/// Clients of one name, user or address.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientGroup {
    /// The name, user or address; empty: clients without one.
    pub text: Box<str>,
    /// How many.
    pub count: u32,
}

/// One client, kept only when the family `client_list` is on.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClientLine {
    /// `id`, `name`, `flags`, `db`, `host`, `user`, `resp`; empty: not said.
    pub labels: [Box<str>; 7],
    /// Unix seconds of its connect and of its last command.
    pub since_s: [f64; 2],
    /// In the order of `CLIENT_NUMBERS`; NaN: not said.
    pub numbers: [f64; 11],
}

/// Fields of CLIENT LIST that `ClientLine::numbers` holds.
pub const CLIENT_NUMBERS: [&str; 11] =
    ["sub", "psub", "ssub", "watch", "qbuf", "qbuf-free", "obl", "oll", "omem", "tot-mem", "multi"];

/// CLIENT LIST, summed up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Clients {
    /// When read.
    pub at: At,
    /// Clients listed.
    pub count: u32,
    /// Age of the oldest, seconds.
    pub age_s_max: f64,
    /// Longest without a command, seconds.
    pub idle_s_max: f64,
    /// Idle for more than an hour.
    pub idle_1h: u32,
    /// Largest query buffer, bytes.
    pub query_buffer_bytes_max: f64,
    /// Largest output buffer, bytes.
    pub output_buffer_bytes_max: f64,
    /// Memory of all, bytes; none before Redis 6.2.
    pub memory_bytes: Option<f64>,
    /// Memory of the largest, bytes.
    pub memory_bytes_max: Option<f64>,
    /// By kind: `normal`, `replica`, `master`, `pubsub`, `monitor`.
    pub kinds: Vec<(&'static str, u32)>,
    /// By client name, most clients first.
    pub by_name: Vec<ClientGroup>,
    /// By ACL user (Redis ≥ 6).
    pub by_user: Vec<ClientGroup>,
    /// By address without port.
    pub by_address: Vec<ClientGroup>,
    /// One by one, when asked for.
    pub each: Vec<ClientLine>,
}

/// Use of one slot (CLUSTER SLOT-STATS, Valkey ≥ 8).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlotUse {
    /// Slot.
    pub slot: u16,
    /// Keys.
    pub keys: f64,
    /// CPU since the statistics began, µs; none while the server does not count it.
    pub cpu_us: Option<f64>,
    /// Received for it, bytes.
    pub bytes_in: Option<f64>,
    /// Sent for it, bytes.
    pub bytes_out: Option<f64>,
}

/// A cluster as CLUSTER SHARDS and CLUSTER SLOT-STATS show it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterDetail {
    /// When read.
    pub at: At,
    /// Shards known (Redis ≥ 7).
    pub shards: Option<u32>,
    /// Nodes by health: `online`, `loading`, `failed`.
    pub health: Vec<(Box<str>, u32)>,
    /// The slots with most keys or most CPU.
    pub slots: Vec<SlotUse>,
}

/// Round trips of PING over the latest minutes, µs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PingWindow {
    /// Shortest.
    pub us_min: u32,
    /// Mean.
    pub us_avg: f64,
    /// Longest.
    pub us_max: u32,
}

/// Everything the slower polls have read; cheap to clone.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Detail {
    /// Durations of commands.
    pub latencies: Option<Arc<Latencies>>,
    /// Slow log.
    pub slow: Option<Arc<SlowTally>>,
    /// Valkey's logs.
    pub commandlog: Option<CommandLog>,
    /// Settings, accounts, modules.
    pub settings: Option<Arc<Settings>>,
    /// Clients.
    pub clients: Option<Arc<Clients>>,
    /// Cluster.
    pub cluster: Option<Arc<ClusterDetail>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_name_and_absent_ones_are_not_invented() {
        let names: Arc<[Box<str>]> = ["dir", "hz", "maxmemory"].map(Into::into).into();
        let all = Parameters::new(names.clone(), ["/a b", "", "100"].into_iter());
        assert_eq!(all.get("dir"), Some("/a b"));
        assert_eq!((all.get("hz"), all.number("hz")), (Some(""), None));
        assert_eq!(all.number("maxmemory"), Some(100.0));
        assert_eq!(all.get("port"), None);
        assert_eq!(all.iter().count(), 3);
        let short = Parameters::new(names, ["x"].into_iter());
        assert_eq!((short.get("dir"), short.get("maxmemory")), (Some("x"), None));
    }
}

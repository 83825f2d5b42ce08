//! What a judgement is made from: typed raw values, each known, not applicable or unknown.
//!
//! Invariant: raw inputs only (bytes, counts, seconds); ratios and losses are derived in `measure`,
//! so an overridden input carries all that follows from it. Nothing unknown is ever a zero.

mod build;

pub(crate) use build::SLOTS;

use model::At;
use model::reading::{Reading, Role};
use model::row::Row;
use model::service::{Instance, Service};
use model::verdict::Verdict;

use crate::past::Past;
use crate::window::{SlowTop, Window};

/// A value with the honest reason when there is none.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen<T> {
    /// It was read.
    Known(T),
    /// It has no meaning here, and why: costs neither points nor confidence.
    NotApplicable(&'static str),
    /// It has a meaning and nobody could read it: costs confidence.
    Unknown {
        /// `stale`, `auth`, `no_history` …
        reason: &'static str,
        /// What would make it known; empty when only time helps.
        needs: &'static str,
    },
}

impl<T> Seen<T> {
    /// The value when known.
    pub fn known(self) -> Option<T> {
        match self {
            Seen::Known(value) => Some(value),
            _ => None,
        }
    }

    /// Applies `f` to a known value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Seen<U> {
        self.and_then(|value| Seen::Known(f(value)))
    }

    /// Applies `f` to a known value, which may turn it into something else.
    pub fn and_then<U>(self, f: impl FnOnce(T) -> Seen<U>) -> Seen<U> {
        match self {
            Seen::Known(value) => f(value),
            Seen::NotApplicable(why) => Seen::NotApplicable(why),
            Seen::Unknown { reason, needs } => Seen::Unknown { reason, needs },
        }
    }

    /// Both values; "not applicable" wins over "unknown".
    pub fn and<U>(self, other: Seen<U>) -> Seen<(T, U)> {
        match (self, other) {
            (Seen::Unknown { .. }, Seen::NotApplicable(why)) => Seen::NotApplicable(why),
            (first, second) => first.and_then(|a| second.map(|b| (a, b))),
        }
    }

    /// A known value by `value`, else unknown for that reason.
    pub fn or_unknown(value: Option<T>, reason: &'static str, needs: &'static str) -> Seen<T> {
        value.map_or(Seen::Unknown { reason, needs }, Seen::Known)
    }
}

/// Memory of the machine (or the cgroup) an instance runs on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostMemory {
    /// All of it, bytes.
    pub total_bytes: f64,
    /// Resident memory of all its instances, bytes, this one included.
    pub instances_rss_bytes: f64,
}

/// What `server` knows from the Board and the inventory about an instance's surroundings.
#[derive(Debug, Clone, Copy)]
pub struct Around<'a> {
    /// Its service.
    pub service: &'a Service,
    /// Itself.
    pub instance: &'a Instance,
    /// Whether it is up, down or unknown now (`verdict`).
    pub verdict: &'a Verdict,
    /// Replica: bytes behind its master (master's offset − its own, at least 0); none when the
    /// master or its offset is not known. Ignored for masters.
    pub lag_bytes: Option<f64>,
    /// Master: replicas of it that are healthy (`replica_healthy`); none when that cannot be told.
    /// Ignored for replicas.
    pub healthy_replicas: Option<u32>,
    /// Replicas each master of the service must have.
    pub required_replicas: u32,
    /// Writable masters, answering now, that claim this instance's slots or Sentinel group, itself
    /// included; above 1 is split brain. 0 or 1 otherwise.
    pub masters_in_group: u32,
    /// Memory of its host; none: what the server itself reports as system memory is used.
    pub host_memory: Option<HostMemory>,
    /// `slowlog-log-slower-than` in ms (negative: off); none until CONFIG GET was read.
    pub slowlog_limit_ms: Option<f64>,
    /// The weeks behind its shard.
    pub past: Past,
}

/// Facts that gates look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Alarms {
    /// More than one writable master in the group.
    pub two_masters: bool,
    /// This node says `cluster_state:fail`.
    pub cluster_fail: bool,
    /// The serving master refuses writes.
    pub writes_refused: bool,
    /// The data set is being loaded.
    pub loading: bool,
    /// Writes were refused for lack of memory within the window.
    pub oom_errors: bool,
    /// Connections were refused within the window.
    pub rejected_connections: bool,
}

/// The forecast of memory: level now and growth.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Growth {
    /// Bytes now, noise removed.
    pub level_bytes: f64,
    /// Bytes per day; not above 0: no end in sight.
    pub bytes_per_day: f64,
}

/// Everything a score is made from. Units are in the names; times are ages, so no clock is needed.
#[derive(Debug, Clone, PartialEq)]
pub struct Inputs {
    /// Up, down or unknown.
    pub verdict: Verdict,
    /// Role at the latest readable poll.
    pub role: Option<Role>,
    /// Live eviction policy; empty when not known.
    pub maxmemory_policy: String,
    /// Facts for gates.
    pub alarms: Alarms,

    /// (failed, all) scheduled probes of the window.
    pub probes: Seen<(u32, u32)>,
    /// 99th percentile of the probes.
    pub probe_p99_ms: Seen<f64>,
    /// How long the replica's link has been down; 0 while it is up.
    pub link_down_s: Seen<f64>,
    /// Behind the master.
    pub lag_bytes: Seen<f64>,
    /// Size of the replication backlog.
    pub backlog_bytes: Seen<f64>,
    /// Replicas that must be there.
    pub replicas_required: Seen<u32>,
    /// Replicas that are healthy.
    pub replicas_healthy: Seen<u32>,
    /// Unplanned restarts and role changes.
    pub changes_24h: Seen<u32>,
    /// 0 fine, 1 rewrite failed, 2 background save failed, 3 AOF write failed.
    pub persistence: Seen<u8>,
    /// Whether the server persists at all.
    pub persists: Seen<bool>,
    /// Slots not served in this node's view.
    pub slots_unserved: Seen<f64>,
    /// Whether any slot or node is suspected (pfail).
    pub pfail: bool,

    /// `used_memory`.
    pub used_memory_bytes: Seen<f64>,
    /// `maxmemory`; 0 = no limit.
    pub maxmemory_bytes: Seen<f64>,
    /// Keys evicted in the window.
    pub evicted: Seen<f64>,
    /// Whether any key was evicted in 24 h.
    pub evicted_24h: bool,
    /// Commands in the window.
    pub commands: Seen<f64>,
    /// Resident memory of the process.
    pub rss_bytes: Seen<f64>,
    /// Resident memory of all instances of the host.
    pub host_rss_bytes: Seen<f64>,
    /// Memory of the host.
    pub host_memory_bytes: Seen<f64>,
    /// Fragmentation ratio of the allocator, else of the process.
    pub fragmentation: Seen<f64>,
    /// Bytes lost to it.
    pub fragmentation_bytes: Seen<f64>,
    /// `mem_fragmentation_ratio`.
    pub rss_ratio: Seen<f64>,
    /// Forecast.
    pub growth: Seen<Growth>,
    /// Overhead beyond the start-up.
    pub overhead_bytes: Seen<f64>,
    /// Expected copy-on-write; (bytes, whether it is an estimate).
    pub cow_bytes: Seen<(f64, bool)>,
    /// Whether the server forks: saves, rewrites, full syncs.
    pub forks: Seen<bool>,

    /// `connected_clients`.
    pub connected_clients: Seen<f64>,
    /// `maxclients`.
    pub maxclients: Seen<f64>,
    /// Connections rejected in the window.
    pub rejected: Seen<f64>,
    /// New connections per second.
    pub connections_per_s: Seen<f64>,
    /// Median of connections in the same hour of the week.
    pub usual_clients: Seen<f64>,
    /// Memory of normal clients.
    pub client_memory_bytes: Seen<f64>,
    /// Clients cut off at their output buffer limit in the window.
    pub buffer_disconnections: Seen<f64>,
    /// `blocked_clients`.
    pub blocked_clients: Seen<f64>,

    /// Slow commands per minute.
    pub slow_per_min: Seen<f64>,
    /// Share of time blocked by slow commands.
    pub slow_share: Seen<f64>,
    /// Slowest command.
    pub slow_worst_ms: Seen<f64>,
    /// Whether durations of some slow commands were not seen (share and worst are lower bounds).
    pub slow_partial: bool,
    /// The durations that were seen, µs: by them a limit above the server's own is judged.
    pub slow_us: Vec<u32>,
    /// The command that blocks most; none while nothing is slow or no entry was read.
    pub slow_top: Option<SlowTop>,
    /// 99th percentile of the busiest commands.
    pub command_p99_ms: Seen<f64>,
    /// CPU share of the main thread.
    pub cpu_ratio: Seen<f64>,
    /// Latest fork of the last 24 h; 0 when there was none.
    pub fork_s: Seen<f64>,
    /// Latency spikes of at least 100 ms per hour.
    pub spikes_per_h: Seen<f64>,
    /// The server's slow-log limit; negative = off.
    pub slowlog_limit_ms: Seen<f64>,
}

impl Inputs {
    /// Whether the server logs as slow only what is slow by a limit too.
    pub(crate) fn slow_limit_is_above(&self, limit_ms: f64) -> bool {
        self.slowlog_limit_ms.known().is_some_and(|ms| ms >= limit_ms)
    }

    /// Whether the live policy evicts keys.
    pub fn evicts(&self) -> bool {
        !self.maxmemory_policy.is_empty() && self.maxmemory_policy != "noeviction"
    }
}

/// Collects the inputs of an instance.
///
/// `last_good` may be the reading itself; when the latest poll failed it stands in until it is
/// stale (three intervals, at least 60 s).
pub fn inputs(
    window: &Window,
    reading: &Reading,
    last_good: Option<&Reading>,
    around: &Around<'_>,
    now: At,
) -> Inputs {
    build::Source::new(window, reading, last_good, around, now).inputs()
}

/// Whether a replica serves as one: up, a replica, its link up. None when it cannot be told.
pub fn replica_healthy(row: &Row) -> Option<bool> {
    match &row.verdict {
        Verdict::Unknown(_) => None,
        Verdict::Down(_) => Some(false),
        Verdict::Up => {
            let reading = if row.reading.up { &row.reading } else { row.last_good.as_ref()? };
            let link = reading.get(model::field::Field::MasterLinkStatus);
            Some(reading.facts.role == Some(Role::Replica) && link.is_some_and(|l| l >= 1.0))
        }
    }
}

#[cfg(test)]
mod tests;

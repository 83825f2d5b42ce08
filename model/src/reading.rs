//! What one poll of one instance said: data, also when the poll failed.
//!
//! Invariant: a reading is complete when published and never changed afterwards; what the server
//! did not say is absent, never zero. All text in it was written by the server's clients: it is
//! shown escaped and decides nothing.

use serde::{Deserialize, Serialize};

use crate::At;
use crate::detail::{Detail, PingWindow};
use crate::field::{Field, Values};
use crate::item::ItemReadings;

/// Why a poll failed; a closed set, used as label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The port refuses connections.
    Refused,
    /// No (complete) answer before the deadline.
    Timeout,
    /// The name does not resolve.
    Dns,
    /// TLS handshake or certificate.
    Tls,
    /// Wrong or missing password (NOAUTH, WRONGPASS).
    Auth,
    /// The ACL forbids INFO.
    Noperm,
    /// The server's connection limit is reached.
    Maxclients,
    /// LOADING without a readable INFO.
    Loading,
    /// BUSY: a script runs.
    Busy,
    /// MASTERDOWN.
    Masterdown,
    /// The reply is not RESP, or not what the command answers.
    Protocol,
    /// A reply above its budget.
    TooLarge,
    /// The connection was closed or reset.
    Reset,
}

impl Reason {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Refused => "refused",
            Reason::Timeout => "timeout",
            Reason::Dns => "dns",
            Reason::Tls => "tls",
            Reason::Auth => "auth",
            Reason::Noperm => "noperm",
            Reason::Maxclients => "maxclients",
            Reason::Loading => "loading",
            Reason::Busy => "busy",
            Reason::Masterdown => "masterdown",
            Reason::Protocol => "protocol",
            Reason::TooLarge => "too_large",
            Reason::Reset => "reset",
        }
    }
}

/// A failed poll.
#[derive(Debug, Clone, PartialEq)]
pub struct Failure {
    /// The class.
    pub reason: Reason,
    /// For people: what exactly, without secrets, at most 200 characters.
    pub detail: String,
}

/// What ROLE says a server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Accepts writes.
    Master,
    /// Follows a master (ROLE prints `slave`).
    Replica,
    /// A Sentinel.
    Sentinel,
}

impl Role {
    /// `master`, `slave` or `sentinel`, as Redis prints it (label value of redis_exporter).
    pub fn as_redis(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Replica => "slave",
            Role::Sentinel => "sentinel",
        }
    }
}

/// A replica as its master lists it.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaLink {
    /// `host:port` as announced.
    pub address: String,
    /// `online`, `wait_bgsave`, …
    pub state: String,
    /// Replication offset, bytes.
    pub offset: f64,
    /// Seconds since the last acknowledgement, -1 unknown.
    pub lag_s: f64,
}

/// One line of INFO commandstats.
#[derive(Debug, Clone, PartialEq)]
pub struct CommandStat {
    /// Lower case, sub-commands as `config|get`.
    pub cmd: String,
    /// Calls since start.
    pub calls: f64,
    /// Microseconds since start.
    pub usec: f64,
    /// Calls refused before execution (Redis ≥ 6.2).
    pub rejected: Option<f64>,
    /// Calls that answered an error (Redis ≥ 6.2).
    pub failed: Option<f64>,
}

/// One line of INFO keyspace.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Keyspace {
    /// Database number.
    pub db: u32,
    /// Keys.
    pub keys: f64,
    /// Keys with a time to live.
    pub expires: f64,
    /// Mean time to live in milliseconds; 0 when none.
    pub avg_ttl_ms: f64,
    /// Keys held in memory (KeyDB with storage behind it).
    pub cached: Option<f64>,
    /// Hashes with fields that have a time to live (Redis ≥ 7.4).
    pub subexpiry: Option<f64>,
}

/// The slow log's head.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Slowlog {
    /// Entries kept by the server (bounded: never a count of what happened).
    pub len: Option<f64>,
    /// Id of the newest entry; ids count every slow command since start.
    pub last_id: Option<f64>,
    /// Duration of the newest entry, µs.
    pub last_us: Option<f64>,
}

/// One line of LATENCY LATEST.
#[derive(Debug, Clone, PartialEq)]
pub struct LatencyEvent {
    /// Event name (`fork`, `command`, …).
    pub event: String,
    /// Unix seconds of the last spike.
    pub at_s: f64,
    /// Last spike, ms.
    pub last_ms: f64,
    /// Highest since reset, ms.
    pub max_ms: f64,
}

/// A master as a Sentinel sees it (SENTINEL MASTERS).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SentinelMaster {
    /// Its name in the Sentinel's configuration.
    pub name: String,
    /// `host:port`.
    pub address: String,
    /// Comma-separated flags: `master`, `s_down`, `o_down`, `failover_in_progress` …
    pub flags: String,
    /// Replicas known.
    pub replicas: f64,
    /// Other Sentinels known, plus this one.
    pub sentinels: f64,
    /// Votes needed to declare it down.
    pub quorum: f64,
    /// Configuration epoch.
    pub config_epoch: f64,
    /// Milliseconds without an answer before it counts as down.
    pub down_after_ms: f64,
    /// Milliseconds.
    pub failover_timeout_ms: f64,
    /// Replicas re-synchronised at once.
    pub parallel_syncs: f64,
    /// Milliseconds since the last good PING.
    pub last_ok_ping_ms: f64,
    /// `ok`, `sdown` or `odown`, derived from the flags as INFO sentinel prints it.
    pub status: String,
    /// Replicas neither s_down nor o_down; none when not asked.
    pub replicas_ok: Option<f64>,
    /// Sentinels neither s_down nor o_down, plus this one; none when not asked.
    pub sentinels_ok: Option<f64>,
    /// SENTINEL CKQUORUM: whether a failover can be authorised, and the text; none when not asked.
    pub ckquorum: Option<(bool, String)>,
}

/// Text facts of INFO, each at most 256 bytes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Text {
    /// `redis_version` (Valkey keeps 7.2.4 there).
    pub version: String,
    /// `valkey_version`, empty on Redis.
    pub valkey_version: String,
    /// `valkey_release_stage`.
    pub valkey_release_stage: String,
    /// `redis_build_id`.
    pub build_id: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// Operating system line.
    pub os: String,
    /// Changes at every start of the process.
    pub run_id: String,
    /// Replication id.
    pub master_replid: String,
    /// Eviction policy.
    pub maxmemory_policy: String,
    /// `process_id`.
    pub process_id: String,
    /// `tcp_port`.
    pub tcp_port: String,
    /// `mem_allocator`.
    pub allocator: String,
    /// `master_host` of a replica (INFO; ROLE decides).
    pub master_host: String,
    /// `master_port` of a replica (INFO; ROLE decides).
    pub master_port: String,
    /// `master_failover_state` (≥ 6.2).
    pub failover_state: String,
}

/// Everything one successful poll read.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Facts {
    /// Scalars.
    pub values: Values,
    /// Texts.
    pub text: Text,
    /// From ROLE.
    pub role: Option<Role>,
    /// Replica: the master's `host:port` from ROLE.
    pub upstream: Option<String>,
    /// Replica: link state from ROLE: `connect`, `connecting`, `sync`, `connected`.
    pub link_state: Option<String>,
    /// Replication offset from ROLE, bytes.
    pub offset: Option<f64>,
    /// Master: its replicas, from INFO and ROLE.
    pub replicas: Vec<ReplicaLink>,
    /// Command statistics.
    pub commands: Vec<CommandStat>,
    /// Error statistics: (error name, count).
    pub errors: Vec<(String, f64)>,
    /// Commands without a place of their own, in the entry `__overflow__`.
    pub commands_left_out: u32,
    /// Error names without a place of their own, in the entry `__overflow__`.
    pub errors_left_out: u32,
    /// Databases.
    pub keyspace: Vec<Keyspace>,
    /// Slow log head.
    pub slowlog: Slowlog,
    /// Latency events.
    pub latency: Vec<LatencyEvent>,
    /// Sentinel: the masters it watches.
    pub masters: Vec<SentinelMaster>,
    /// Other Sentinels of those masters, Sentinels only.
    pub sentinel_peers: Vec<SentinelPeer>,
    /// CLUSTER INFO's counts by message type: (`ping_sent`, count), cluster only.
    pub cluster_messages: Vec<(String, f64)>,
    /// Seconds each IO thread was busy (Valkey): (thread, seconds).
    pub io_threads: Vec<(String, f64)>,
    /// CLUSTER NODES hash-free topology of this node's view, cluster only.
    pub cluster: Option<ClusterView>,
    /// Custom items, as last read.
    pub items: ItemReadings,
    /// When the server's certificate ends, Unix seconds; none without TLS.
    pub certificate_ends_at_s: Option<f64>,
    /// Commands the ACL or a rename kept from us this time: (command, reason).
    pub missing: Vec<(&'static str, String)>,
    /// Repeated or misplaced INFO fields: the reply contradicts itself.
    pub conflicts: u32,
    /// Round trips of PING over the latest minutes.
    pub ping: Option<PingWindow>,
    /// The server's clock less ours, seconds; off by up to half the poll's duration.
    pub time_skew_s: Option<f64>,
    /// What the slower polls have read; each part with its own time.
    pub detail: Detail,
}

/// Another Sentinel of a master, as one Sentinel knows it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SentinelPeer {
    /// Name of the master both watch.
    pub master: String,
    /// The other's name: its run id.
    pub name: String,
    /// Announced host.
    pub ip: String,
    /// Announced port.
    pub port: u16,
    /// Run id.
    pub run_id: String,
    /// Comma-separated flags: `sentinel`, `s_down`, `disconnected` …
    pub flags: String,
}

/// A cluster node's own place (from CLUSTER SHARDS or NODES arrays).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterView {
    /// Its node id.
    pub my_id: String,
    /// All nodes it knows.
    pub nodes: Vec<ClusterNode>,
}

/// A node as another lists it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClusterNode {
    /// Node id.
    pub id: String,
    /// Announced `host:port`.
    pub address: String,
    /// `myself`, `master`, `slave`, `fail?`, `fail`, `handshake`, `noaddr` …
    pub flags: Vec<String>,
    /// Its master's id when a replica.
    pub master: Option<String>,
    /// Configuration epoch.
    pub epoch: u64,
    /// Whether the link to it is up.
    pub connected: bool,
    /// Slot ranges, inclusive.
    pub slots: Vec<(u16, u16)>,
    /// Open slots: `[slot->-id` or `[slot-<-id` lines.
    pub open_slots: Vec<String>,
}

/// What one poll said.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// When the reply was complete, or the failure known.
    pub at: At,
    /// When the poll began.
    pub began: At,
    /// INFO was read (redis_exporter's `redis_up`).
    pub up: bool,
    /// Set when something failed; with `up` it is a partial failure.
    pub failure: Option<Failure>,
    /// Round trip of the leading PING, µs; none when unanswered.
    pub ping_us: Option<u32>,
    /// The whole poll, µs.
    pub duration_us: u32,
    /// TCP + TLS + AUTH when this poll connected, µs; otherwise of the last connect.
    pub connect_us: u32,
    /// Consecutive failed probes up to this one (0 when this one was good).
    pub failed_in_row: u32,
    /// Interval in force, ms.
    pub interval_ms: u32,
    /// What was read; empty when not up.
    pub facts: Facts,
}

impl Reading {
    /// A scalar of this reading.
    pub fn get(&self, field: Field) -> Option<f64> {
        self.facts.values.get(field)
    }
}

//! The values the API answers; the portal renders the very same ones.
//!
//! Invariant: every field is always present (templates are strict), missing data is null with its
//! reason beside it.

use serde::{Deserialize, Serialize};

use crate::alert::{Alert, Transition};
use crate::evidence::Evidence;
use crate::history::{Ack, Hold};
use crate::incident::{Decision, Incident};
use crate::operation::{Approval, Operation, OperationEvent, OperationState, Step};
use crate::score::{Explained, Grade};
use crate::{At, InstanceId, ServiceId};

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct List<T> {
    /// Items of this page.
    pub items: Vec<T>,
    /// Cursor of the next page.
    pub next: Option<String>,
    /// Exact number of all items that match.
    pub count: usize,
    /// When the values were read.
    pub as_of: At,
}

/// Counts of instances by verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdicts {
    /// Answering.
    pub up: u32,
    /// Confirmed down.
    pub down: u32,
    /// Unknown.
    pub unknown: u32,
}

/// Score of something in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ScoreBrief {
    /// 0..100 in hundredths, null = "?".
    pub score: Option<f64>,
    /// Grade.
    pub grade: Grade,
    /// 0..1.
    pub confidence: f64,
    /// Largest lost piece in words, empty when nothing is lost; or why there is no number.
    pub cause: String,
}

/// One zone on the overview.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ZoneLine {
    /// Zone id.
    pub zone: String,
    /// Instances by verdict.
    pub verdicts: Verdicts,
    /// Score of its data nodes together: a view, not a level, so its grade is the plain band.
    pub health: ScoreBrief,
    /// Masters there; null when no data node there has said its role.
    pub masters: Option<u32>,
    /// Share of all known masters, 0..1; null when none is known.
    pub masters_share: Option<f64>,
    /// Memory used by those that answer, bytes; null when none does.
    pub memory_used_bytes: Option<f64>,
}

/// A service in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceItem {
    /// Id.
    pub id: ServiceId,
    /// Name for people.
    pub display: String,
    /// Business system id.
    pub system: String,
    /// standalone, sentinel, cluster, sentinels.
    pub mode: String,
    /// core, important, general, test.
    pub tier: String,
    /// single, host, zone, zone_durable.
    pub class: String,
    /// Operations allowed.
    pub managed: bool,
    /// `redis 7.0.15`, empty when unknown; several joined by `, `.
    pub engine: String,
    /// Shards.
    pub shards: u32,
    /// Data nodes.
    pub nodes: u32,
    /// Zones the data nodes stand in.
    pub zones: Vec<String>,
    /// Instances by verdict.
    pub verdicts: Verdicts,
    /// Score.
    pub health: ScoreBrief,
    /// Used / maxmemory over masters, 0..1; null without limit or data.
    pub memory_ratio: Option<f64>,
    /// Used memory of masters, bytes.
    pub memory_used_bytes: Option<f64>,
    /// Commands per second over all nodes.
    pub ops_per_s: Option<f64>,
    /// Clients / maxclients, worst node.
    pub clients_ratio: Option<f64>,
    /// Slow commands per minute over all nodes.
    pub slow_per_min: Option<f64>,
    /// Firing alerts; null while the store cannot be asked.
    pub alerts: Option<u32>,
    /// Running operation, when there is one.
    pub operation: Option<String>,
}

/// An instance in a list or on the service page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceItem {
    /// Id.
    pub id: InstanceId,
    /// `host:port`.
    pub address: String,
    /// redis or sentinel.
    pub kind: String,
    /// Shard.
    pub shard: u32,
    /// Zone.
    pub zone: String,
    /// Host id, empty when unknown.
    pub host: String,
    /// master, slave, sentinel; empty when unknown.
    pub role: String,
    /// up, down, unknown.
    pub state: String,
    /// Why down or unknown; empty when up.
    pub reason: String,
    /// Score.
    pub health: ScoreBrief,
    /// Bytes.
    pub memory_used_bytes: Option<f64>,
    /// Bytes, null = no limit or unknown.
    pub memory_max_bytes: Option<f64>,
    /// Clients.
    pub clients: Option<f64>,
    /// Commands per second.
    pub ops_per_s: Option<f64>,
    /// Replicas: bytes behind the master.
    pub lag_bytes: Option<f64>,
    /// Replicas: link is up.
    pub link_up: Option<bool>,
    /// `7.0.15`.
    pub version: String,
    /// Time of the latest poll.
    pub polled_at: Option<At>,
    /// Age of the latest good data, ms.
    pub age_ms: Option<i64>,
}

/// A tenant in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TenantItem {
    /// Id.
    pub id: String,
    /// Name for people.
    pub display: String,
    /// Business systems in sight.
    pub systems: u32,
    /// Services in sight.
    pub services: u32,
    /// Their instances by verdict.
    pub verdicts: Verdicts,
    /// Score of what is in sight.
    pub health: ScoreBrief,
}

/// A business system in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SystemItem {
    /// Id.
    pub id: String,
    /// Name for people.
    pub display: String,
    /// Environment.
    pub env: String,
    /// Owner, empty when nobody is named.
    pub owner: String,
    /// Id in the CMDB, empty when unknown.
    pub cmdb: String,
    /// Services in sight.
    pub services: u32,
    /// Their instances by verdict.
    pub verdicts: Verdicts,
    /// Score of what is in sight.
    pub health: ScoreBrief,
}

/// One instance with its latest reading.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstancePage {
    /// When the values were read.
    pub as_of: At,
    /// List values.
    pub instance: InstanceItem,
    /// Business system id.
    pub system: String,
    /// Its score with the whole derivation; none for Sentinels and before the first poll.
    pub health: Option<Explained>,
    /// Scalars of the latest good poll by Prometheus name; empty when none was good.
    pub values: std::collections::BTreeMap<String, f64>,
    /// Texts of the latest good poll: version, mode, run id, system, eviction policy.
    pub texts: std::collections::BTreeMap<String, String>,
    /// Where it replicates from, `host:port`; empty for masters.
    pub upstream: String,
    /// Why the latest poll failed; empty when it was good.
    pub failure: String,
    /// The latest accept probe: whether a new client is let in; none before the first.
    pub accept: Option<AcceptLine>,
    /// Polled every second until then; none usually.
    pub turbo_until: Option<At>,
    /// Interval between polls that is in force, ms; none before the first poll.
    pub interval_ms: Option<u32>,
}

/// How an accept probe ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AcceptLine {
    /// When.
    pub at: At,
    /// A new client could connect, sign in and PING.
    pub ok: bool,
    /// All of that together, µs; none when it failed.
    pub duration_us: Option<u32>,
    /// Why it failed; empty when it did not.
    pub failure: String,
}

/// One shard on the service page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ShardLine {
    /// Number.
    pub shard: u32,
    /// Slots served, 16384 in all; null for non-clusters.
    pub slots: Option<u32>,
    /// Score.
    pub health: ScoreBrief,
    /// Its nodes, master first.
    pub instances: Vec<InstanceItem>,
    /// Broken rules in words: "master and replica in one zone".
    pub violations: Vec<String>,
}

/// One operation in a list.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperationItem {
    /// Id.
    pub id: String,
    /// Kind.
    pub kind: String,
    /// Service.
    pub service: ServiceId,
    /// One sentence.
    pub title: String,
    /// State.
    pub state: OperationState,
    /// Reason of an unhappy end.
    pub reason: String,
    /// Steps done.
    pub steps_done: u32,
    /// Steps in all.
    pub steps: u32,
    /// Who.
    pub created_by: String,
    /// When.
    pub created_at: At,
    /// End.
    pub ended_at: Option<At>,
    /// Duration so far, ms.
    pub elapsed_ms: i64,
}

/// A change on the overview's timeline.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ChangeLine {
    /// When.
    pub at: At,
    /// One sentence.
    pub text: String,
    /// Relative link, empty when none.
    pub link: String,
}

/// A point of a short trend.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Point {
    /// When.
    pub t: At,
    /// Value, null = gap.
    pub v: Option<f64>,
}

/// The overview page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Overview {
    /// When the values were read.
    pub as_of: At,
    /// Fleet score of what the caller sees (tenant operator over his tenants).
    pub health: ScoreBrief,
    /// Score a while ago (up to one hour), with its age; null when not known.
    pub score_before: Option<Point>,
    /// Fleet score of the last hour.
    pub trend: Vec<Point>,
    /// Instances by verdict.
    pub verdicts: Verdicts,
    /// Services in all.
    pub services: u32,
    /// Firing alerts by level: info, warning, critical; null while the store cannot be asked.
    pub firing: Option<[u32; 3]>,
    /// Commands per second.
    pub ops_per_s: Option<f64>,
    /// Bytes, of the data nodes that answer; null when none does.
    pub memory_used_bytes: Option<f64>,
    /// Bytes, of those that answer and have a limit; null when none does.
    pub memory_max_bytes: Option<f64>,
    /// Zones.
    pub zones: Vec<ZoneLine>,
    /// Imbalance in words ("az-1 holds 75 % of the masters"), empty when fine.
    pub imbalance: String,
    /// Worst services, at most ten, score below 100 or unknown.
    pub worst: Vec<ServiceItem>,
    /// Firing alerts, at most ten, critical first.
    pub alerts: Vec<Alert>,
    /// Running operations.
    pub operations: Vec<OperationItem>,
    /// Recent changes, newest first, at most ten.
    pub changes: Vec<ChangeLine>,
    /// Whether the kill switch is on for the platform; null while the store cannot be asked.
    pub kill_switch: Option<bool>,
    /// Notices about our own state: store read-only, history missing …
    pub notices: Vec<String>,
}

/// The service page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServicePage {
    /// When the values were read.
    pub as_of: At,
    /// List values.
    pub service: ServiceItem,
    /// Owner of the system, empty when nobody is named.
    pub owner: String,
    /// Environment.
    pub env: String,
    /// Endpoints to copy: masters, Sentinels with master name, cluster nodes.
    pub endpoints: Vec<String>,
    /// Waterfall of the service.
    pub health: Option<Explained>,
    /// Shards.
    pub shards: Vec<ShardLine>,
    /// Sentinels.
    pub sentinels: Vec<InstanceItem>,
    /// Alerts firing here.
    pub alerts: Vec<Alert>,
    /// Operations, newest first, at most ten.
    pub operations: Vec<OperationItem>,
    /// What may be planned here by this caller: (kind, label, parameters preset).
    pub actions: Vec<PageAction>,
    /// Days to full.
    pub capacity: crate::outlook::CapacityPage,
    /// What users got.
    pub slo: crate::outlook::SloPage,
    /// What a lost zone or host would cost; none in an answer of an older server.
    #[serde(default)]
    pub zone_risk: Option<crate::risk::ZoneRisk>,
}

/// An action offered on a page.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PageAction {
    /// Operation kind.
    pub kind: String,
    /// What it acts on (instance id), empty: the service.
    pub target: String,
    /// Button.
    pub label: String,
    /// CLI form.
    pub cli: String,
}

/// An alert with its story.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AlertPage {
    /// The alert.
    pub alert: Alert,
    /// Its transitions, oldest first.
    pub transitions: Vec<Transition>,
    /// Deliveries: (receiver, state, at, detail).
    pub deliveries: Vec<DeliveryLine>,
    /// Incidents it belongs to.
    pub incidents: Vec<Incident>,
    /// Who has seen it; none: nobody said so.
    pub ack: Option<Ack>,
    /// Why nobody was told of it yet, or was told late; none: nothing withheld it.
    pub hold: Option<Hold>,
}

/// State of delivery of one alert to one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeliveryLine {
    /// Alertmanager URL or receiver name.
    pub receiver: String,
    /// `waiting`, `accepted`, `rejected`, `seen` (came back through the webhook).
    pub state: String,
    /// Last attempt.
    pub at: At,
    /// Detail, empty when accepted.
    pub detail: String,
}

/// An incident with its story.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct IncidentPage {
    /// The incident.
    pub incident: Incident,
    /// Decisions, newest first.
    pub decisions: Vec<Decision>,
    /// What the servers said when it opened, latest opening first.
    pub evidence: Vec<Evidence>,
    /// Its alert, when still kept.
    pub alert: Option<Alert>,
    /// Its operation.
    pub operation: Option<OperationItem>,
    /// Hash of the plan it waits with for a person; none when it does not wait.
    pub waits_with: Option<String>,
}

/// An operation with its story.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct OperationPage {
    /// The operation.
    pub operation: Operation,
    /// Steps.
    pub steps: Vec<Step>,
    /// Journal, oldest first.
    pub events: Vec<OperationEvent>,
    /// May be cancelled now.
    pub cancellable: bool,
    /// What others said about it.
    #[serde(default)]
    pub approvals: Vec<Approval>,
    /// The reader may approve it now.
    #[serde(default)]
    pub approvable: bool,
    /// May be asked to wait before its next step.
    #[serde(default)]
    pub pausable: bool,
    /// Waits until somebody lets it go on.
    #[serde(default)]
    pub resumable: bool,
    /// Parts of a batch; empty for everything else.
    #[serde(default)]
    pub rows: Vec<crate::batch::BatchRow>,
}

/// `GET /api/v1/me`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Me {
    /// `issuer/subject`.
    pub name: String,
    /// Name for people.
    pub display: String,
    /// (role or rights, scope) of each live grant.
    pub grants: Vec<(Vec<String>, String)>,
    /// Last login before this one: time and address.
    pub last_login: Option<(At, String)>,
}

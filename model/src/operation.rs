//! Operations and their steps as they stand in the journal.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::plan::Plan;
use crate::service::word;
use crate::{At, ServiceId, TenantId};

word! {
    /// Kinds of change.
    OperationKind {
        /// Planned change of the master.
        #[default]
        Switchover = "switchover",
        /// Restart of one node through its provider.
        NodeRestart = "node_restart",
        /// Change of parameters on every node of a service.
        ParamChange = "param_change",
        /// Rotation of the password of a service.
        PasswordRotate = "password_rotate",
        /// Closing of listed connections.
        ClientsKill = "clients_kill",
        /// Giving fragmented memory back.
        MemoryPurge = "memory_purge",
        /// Emptying of slow logs, kept first.
        SlowlogReset = "slowlog_reset",
        /// A snapshot on disk.
        Bgsave = "bgsave",
        /// Restart of every node, one by one.
        RollingRestart = "rolling_restart",
        /// The same with another program.
        Upgrade = "upgrade",
        /// A replica more.
        ReplicaAdd = "replica_add",
        /// A replica less.
        ReplicaRemove = "replica_remove",
        /// A shard more, with its share of the slots.
        ShardAdd = "shard_add",
        /// A shard less.
        ShardRemove = "shard_remove",
        /// Slots moved until each master holds its share.
        Rebalance = "rebalance",
        /// A file of each shard, checked and recorded.
        Backup = "backup",
        /// A backup into an empty node.
        Restore = "restore",
        /// Every master of a zone moved out of it, wave by wave.
        Evacuate = "evacuate",
        /// Masters brought back to the zone they came from.
        ZoneRestore = "zone_restore",
        /// A lost master that came back, made a replica of its successor.
        Demote = "demote",
        /// A replica moved to another host.
        NodeMove = "node_move",
        /// A switchover there and back, measured.
        Drill = "drill",
    }
}
word! {
    /// State of an operation.
    OperationState {
        /// Planned, not submitted.
        #[default]
        Planned = "planned",
        /// Waits for another person.
        AwaitingApproval = "awaiting_approval",
        /// Waits for a worker or a lock.
        Queued = "queued",
        /// A worker holds it.
        Running = "running",
        /// A person stopped it between steps.
        Paused = "paused",
        /// Steps are done, the promised state is awaited.
        Verifying = "verifying",
        /// Verified.
        Done = "done",
        /// A guard refused; nothing was sent.
        Refused = "refused",
        /// A person ended it before it changed anything; a batch: between two waves, and what it
        /// moved stays.
        Cancelled = "cancelled",
        /// Steps are being undone.
        Unwinding = "unwinding",
        /// Everything is undone.
        Unwound = "unwound",
        /// Needs a person.
        Stuck = "stuck",
    }
}

impl OperationKind {
    /// Whether it changes a zone, not one service.
    pub fn of_zone(self) -> bool {
        matches!(self, OperationKind::Evacuate | OperationKind::ZoneRestore)
    }
}

impl OperationState {
    /// No further change happens by itself.
    pub fn is_final(self) -> bool {
        use OperationState::*;
        matches!(self, Done | Refused | Cancelled | Unwound | Stuck)
    }
}

impl Operation {
    /// Why asking this operation to stop would change nothing any more; none: it stops after its
    /// present step. `steps` are its own.
    pub fn past_stopping(&self, steps: &[Step]) -> Option<String> {
        let ahead = steps.iter().any(|s| s.state == StepState::Pending);
        let point = steps.iter().find(|s| {
            let maybe = matches!(s.state, StepState::Running | StepState::Done);
            s.point_of_no_return && s.attempt > 0 && maybe && !s.stands()
        });
        if self.state.is_final() {
            return Some(format!("it is over ({})", self.state.as_str()));
        }
        if self.state == OperationState::Unwinding {
            return Some("it is being undone already".into());
        }
        if let Some(step) = point {
            return Some(format!("{:?} cannot be taken back: it goes on to its end", step.title));
        }
        (!ahead && !steps.is_empty()).then(|| "it is in its last step: it ends by itself".into())
    }
}

word! {
    /// State of a step.
    StepState {
        /// Not begun.
        #[default]
        Pending = "pending",
        /// Intent committed; may or may not have acted.
        Running = "running",
        /// The wished state was read back.
        Done = "done",
        /// Gave up.
        Failed = "failed",
        /// Being undone.
        Undoing = "undoing",
        /// Undone.
        Undone = "undone",
        /// Could not be undone.
        Stuck = "stuck",
    }
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// UUIDv7.
    pub id: String,
    /// Kind.
    pub kind: OperationKind,
    /// Given by the caller; unique.
    pub idem_key: String,
    /// Owner.
    pub tenant: TenantId,
    /// Service it changes.
    pub service: ServiceId,
    /// The plan, as approved.
    pub plan: Plan,
    /// Its hash.
    pub plan_hash: String,
    /// State.
    pub state: OperationState,
    /// Why it is refused, unwound, stuck or cancelled; one sentence.
    pub reason: String,
    /// A person asked to stop at the next step.
    pub cancel_requested: bool,
    /// Worker that holds it; empty when none.
    pub lease_owner: String,
    /// Until when.
    pub lease_until: At,
    /// Grows with each claim; a stale worker's writes change no row.
    pub fence: i64,
    /// Who asked: `issuer/subject`.
    pub created_by: String,
    /// Why, in the asker's words.
    pub why: String,
    /// When.
    pub created_at: At,
    /// First claim.
    pub started_at: Option<At>,
    /// Final state reached.
    pub ended_at: Option<At>,
    /// Incident it answers.
    pub incident: Option<String>,
    /// Figures of the run: `write_gap_ms`, `new_master` …
    pub outcome: Value,
    /// Who asked, over several accounts of one person.
    #[serde(default)]
    pub created_person: String,
    /// Other persons who must agree before it begins.
    #[serde(default)]
    pub approvals_needed: u32,
    /// Until when they may; the epoch when none is needed.
    #[serde(default)]
    pub approve_until: At,
    /// When a worker may take it; until then it can be cancelled without a trace.
    #[serde(default)]
    pub not_before: At,
    /// A person asked to wait before the next step.
    #[serde(default)]
    pub pause_requested: bool,
    /// The batch it is a part of.
    #[serde(default)]
    pub parent: Option<String>,
}

/// A person's word on an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Who: `issuer/subject`.
    pub decided_by: String,
    /// Hash of the plan that was seen.
    pub plan_hash: String,
    /// Yes or no.
    pub approved: bool,
    /// Why.
    pub reason: String,
    /// When.
    pub at: At,
}

/// A step of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Operation.
    pub operation_id: String,
    /// From 0.
    pub seq: u32,
    /// Behaviour.
    pub kind: String,
    /// What it acts on.
    pub target: String,
    /// One sentence for people.
    pub title: String,
    /// Arguments.
    pub args: Value,
    /// Commands it sends, masked.
    pub commands: Vec<String>,
    /// Longest time, ms.
    pub timeout_ms: i64,
    /// Tries in all.
    pub tries: u32,
    /// May be applied again without looking.
    pub repeatable: bool,
    /// Cannot be undone from here on.
    pub point_of_no_return: bool,
    /// State.
    pub state: StepState,
    /// Tries so far.
    pub attempt: u32,
    /// Undo tries so far.
    pub undo_attempt: u32,
    /// First intent.
    pub started_at: Option<At>,
    /// Verified, failed or undone.
    pub ended_at: Option<At>,
    /// Time somebody has worked towards its wish, over all runs, ms; what was not written down
    /// before a crash is charged by the next claim.
    #[serde(default)]
    pub spent_ms: i64,
    /// What was seen before the first apply (kept: undo and resume read it).
    pub before: Value,
    /// What was seen when done.
    pub after: Value,
    /// Last error.
    pub error: String,
}

impl Step {
    /// Whether what it did is whole by itself, and stays when what follows is not done: the waves of a
    /// batch, whose parts are operations of their own.
    pub fn stands(&self) -> bool {
        self.kind == "wave"
    }
}

/// A line of the append-only journal of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperationEvent {
    /// Operation.
    pub operation_id: String,
    /// Line number within the operation, from 1.
    pub n: i64,
    /// Step, when it is about one.
    pub seq: Option<u32>,
    /// When.
    pub at: At,
    /// Fence of the writer.
    pub fence: i64,
    /// planned, claimed, intent, command, outcome, undo, decision, log.
    pub what: String,
    /// One line for people.
    pub line: String,
}

//! A plan: the steps of an operation with the exact commands, fixed by a hash.
//!
//! Invariant: approval and start name the hash; another plan has another hash. A plan is data: a
//! newer program never reinterprets an older plan.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::operation::OperationKind;
use crate::{At, ServiceId};

/// One step before it runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStep {
    /// Which behaviour: `steer`, `fence`, `provider.start` … Fault points are `<kind>.<step>`.
    pub kind: String,
    /// What it acts on: an instance id, a service id, a host id.
    pub target: String,
    /// One sentence for people.
    pub title: String,
    /// Arguments of the behaviour.
    pub args: Value,
    /// The commands it sends, secrets masked, in order.
    pub commands: Vec<String>,
    /// Longest time from first apply to verified, ms.
    pub timeout_ms: i64,
    /// Tries in all.
    pub tries: u32,
    /// May be applied again without looking.
    pub repeatable: bool,
    /// Cannot be undone from here on.
    pub point_of_no_return: bool,
}

/// A check of the plan with what it saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// `P1` … `P9`.
    pub check: String,
    /// Passed.
    pub passed: bool,
    /// What was seen, in words.
    pub seen: String,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// What kind of operation.
    pub kind: OperationKind,
    /// Version of the kind's definition.
    pub kind_version: u32,
    /// Service it changes.
    pub service: ServiceId,
    /// Input it was made from.
    pub params: Value,
    /// One sentence for people.
    pub title: String,
    /// What it does to users: "1 service, writes stall ≤ 2.5 s".
    pub blast_radius: String,
    /// Danger level 1–4 (`portal.md` section 6).
    pub level: u8,
    /// What has to be typed to confirm (the service id for L3).
    pub confirm: String,
    /// Identity of the world it was made in: node → run id, role, epoch.
    pub world: Value,
    /// Checks before.
    pub checks: Vec<Checked>,
    /// Steps.
    pub steps: Vec<PlannedStep>,
    /// Keys that must be held: `service:…`, `host:…`.
    pub locks: Vec<String>,
    /// When it was made.
    pub made_at: At,
    /// After this it must be made again.
    pub expires_at: At,
}

impl Plan {
    /// SHA-256 over the canonical JSON of what will happen: kind, service, params, world, steps,
    /// locks. Times and what the checks saw are left out, so that the same plan of the same world
    /// has the same hash.
    pub fn hash(&self) -> String {
        let essence = serde_json::json!({
            "kind": self.kind, "kind_version": self.kind_version, "service": self.service,
            "params": self.params, "world": self.world, "steps": self.steps, "locks": self.locks,
        });
        crate::audit::sha256_hex(crate::audit::canonical(&essence).as_bytes())
    }
}

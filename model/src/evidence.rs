//! Evidence: what the servers said when an incident opened, read before anything acted.
//!
//! Invariant: it is a record, never read again by a guard or a plan; texts in it are written by
//! servers and their clients, and are shown as text only.

use serde::{Deserialize, Serialize};

use crate::{At, InstanceId};

/// What was read for one opening of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Incident.
    pub incident_id: String,
    /// Which opening of it: 0, then one more each time it opens again.
    pub opening: u32,
    /// When reading began.
    pub at: At,
    /// How long it took, ms.
    pub took_ms: i64,
    /// What was read, in the order somebody wants to look at it.
    pub parts: Vec<EvidencePart>,
}

/// One thing that was read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidencePart {
    /// Who said it; none: several, or our own records.
    pub instance: Option<InstanceId>,
    /// What: `topology`, `slow_log`, `clients`, `latency`, `memory`, `info`, `operations`, `reading`.
    pub what: String,
    /// The commands behind it; empty for our own records.
    pub commands: Vec<String>,
    /// What was said, a line each.
    pub lines: Vec<String>,
    /// Lines beyond the limit, left out.
    pub left_out: u32,
    /// Why it could not be read.
    pub failed: Option<String>,
}

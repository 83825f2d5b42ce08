//! An incident: alerts of one cause collapsed, with the decision taken.

use serde::{Deserialize, Serialize};

use crate::service::word;
use crate::{At, InstanceId, ServiceId, TenantId};

word! {
    /// State of an incident.
    IncidentState {
        /// Seen, not decided or waiting for guards.
        #[default]
        Open = "open",
        /// An operation runs.
        Acting = "acting",
        /// Waits for an approval.
        Waiting = "waiting",
        /// A person was called.
        Escalated = "escalated",
        /// Over.
        Closed = "closed",
    }
}
word! {
    /// What was decided.
    Verb {
        /// Act by itself.
        Auto = "auto",
        /// Ask a person.
        Ask = "ask",
        /// Page only.
        PageOnly = "page_only",
        /// Do nothing, because …
        #[default]
        Suppressed = "suppressed",
    }
}

/// Alerts of one cause.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// sha256 over (runbook, service, shard or node, fingerprint, startsAt), hex.
    pub id: String,
    /// Runbook that matched.
    pub runbook: String,
    /// Owner.
    pub tenant: Option<TenantId>,
    /// Service.
    pub service: Option<ServiceId>,
    /// Node.
    pub instance: Option<InstanceId>,
    /// The alert occurrence that opened it.
    pub alert_id: String,
    /// Its name.
    pub alertname: String,
    /// State.
    pub state: IncidentState,
    /// Reason of a closed or escalated state.
    pub reason: String,
    /// Occurrences that joined.
    pub count: u32,
    /// Times it was opened again after it had closed; each opening may make one operation.
    #[serde(default)]
    pub reopened: u32,
    /// When it opened.
    pub opened_at: At,
    /// When it was closed.
    pub closed_at: Option<At>,
    /// Operation made for it.
    pub operation: Option<String>,
}

/// One decision about an incident; also "nothing" is a row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Incident.
    pub incident_id: String,
    /// When.
    pub at: At,
    /// What.
    pub verb: Verb,
    /// Guard that decided; `all` when every guard passed.
    pub guard: String,
    /// One sentence: why, with value and limit.
    pub reason: String,
    /// Guards looked at, in order: (name, passed, what was seen).
    pub guards: Vec<GuardSeen>,
    /// What would run: the plan, also when nothing runs.
    pub plan: Option<crate::plan::Plan>,
}

/// What one guard saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuardSeen {
    /// Name.
    pub guard: String,
    /// Passed.
    pub passed: bool,
    /// Value and limit in words.
    pub seen: String,
}

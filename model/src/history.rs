//! What is known of an alert beside its own course: who acknowledged it, what withheld it, and how
//! fast people answer.
//!
//! Invariant: an acknowledgement is given once and never changed; means are over those that have the
//! end they measure, and none of them is null, not 0.

use serde::{Deserialize, Serialize};

use crate::At;
use crate::alert::Alert;

/// Longest note of an acknowledgement, characters.
pub const NOTE_MAX: usize = 1_000;

/// Somebody has seen the alert and takes care of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ack {
    /// Who.
    pub by: String,
    /// When.
    pub at: At,
    /// What he says.
    pub note: String,
}

/// An alert was withheld from its receivers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// The occurrence.
    pub alert_id: String,
    /// `maintenance ID` or `calendar ID`.
    pub why: String,
    /// Since when.
    pub withheld_at: At,
    /// When it was let go; none: it is withheld, or ended before.
    pub released_at: Option<At>,
}

/// An occurrence in the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryItem {
    /// The occurrence.
    #[serde(flatten)]
    pub alert: Alert,
    /// How long it fired, ms; none while it does.
    pub duration_ms: Option<i64>,
    /// Who acknowledged it.
    pub ack: Option<Ack>,
    /// It began in a maintenance.
    pub in_maintenance: bool,
    /// What withheld it, empty: nothing.
    pub withheld: String,
}

/// How alerts of one policy in one tenant were answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// Tenant; empty: the platform.
    pub tenant: String,
    /// Policy; of alerts evaluated elsewhere their name.
    pub policy: String,
    /// Occurrences that began in the span.
    pub fired: i64,
    /// Of them acknowledged.
    pub acknowledged: i64,
    /// Of them over.
    pub resolved: i64,
    /// Mean time to acknowledge, ms.
    pub mtta_ms: Option<i64>,
    /// Mean time to resolve, ms.
    pub mttr_ms: Option<i64>,
}

/// The history with what it was cut to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryPage {
    /// Occurrences of this page, latest start first.
    pub items: Vec<HistoryItem>,
    /// Cursor of the next page.
    pub next: Option<String>,
    /// Exact number of all that match.
    pub count: usize,
    /// When it was read.
    pub as_of: At,
    /// How those that match were answered, by tenant and policy.
    pub answered: Vec<Answered>,
    /// Began at or after.
    pub from: At,
    /// Began before; none: until now.
    pub to: Option<At>,
}

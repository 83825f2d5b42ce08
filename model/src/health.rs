//! A score as it is answered: the waterfall, what lies below and above it, what could be set, how it
//! went before.
//!
//! Invariant: the fields of `Explained` stand at the top, whatever level and whatever time is asked for.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::At;
use crate::score::{Explained, Grade, Level};
use crate::service::word;
use crate::view::ScoreBrief;

word! {
    /// Where an answer comes from.
    Source {
        /// The score in force.
        #[default]
        Live = "live",
        /// Computed with inputs the caller set.
        WhatIf = "whatif",
        /// The row that was stored then.
        Stored = "stored",
        /// The last hour in memory.
        Memory = "memory",
        /// Rebuilt from the series in Prometheus.
        Prometheus = "prometheus",
    }
}

word! {
    /// Why a score was stored.
    Mark {
        /// Its grade changed.
        #[default]
        Grade = "grade",
        /// A gate began or ceased to hold.
        Gate = "gate",
        /// An hour began: of services and above always, of the rest when it moved.
        Hour = "hour",
    }
}

/// The explanation of a score at any level.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HealthPage {
    /// The score.
    #[serde(flatten)]
    pub health: Explained,
    /// When it was asked for.
    pub as_of: At,
    /// Where it comes from.
    pub source: Source,
    /// The moment asked for; none: now.
    pub asked: Option<At>,
    /// Points and score are those that were shown at that moment; else grade and gates alone are.
    pub exact: bool,
    /// What it hangs on, the tenant first.
    pub above: Vec<Crumb>,
    /// Waterfalls of the children (systems, services, shards, instances), worst first, at most 20.
    pub children: Vec<Explained>,
    /// How many there are.
    pub children_count: usize,
    /// Inputs that were set; `{}`: none.
    pub overrides: Value,
    /// The score without them; none when nothing was set.
    pub present: Option<ScoreBrief>,
    /// What may be set here.
    pub inputs: Vec<Lever>,
    /// What was stored in the last 24 h, newest first.
    pub history: Vec<HistoryMark>,
    /// Why history is missing; empty when it is there.
    pub history_missing: String,
}

/// A level above.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Crumb {
    /// Level.
    pub level: Level,
    /// Id.
    pub id: String,
    /// Path of its page.
    pub link: String,
}

/// An input that may be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lever {
    /// Name of the parameter: `set.maxmemory_bytes`, above the instance `set.<instance>.maxmemory_bytes`.
    pub parameter: String,
    /// Instance it is an input of.
    pub instance: String,
    /// Input.
    pub input: String,
    /// `bytes`, `count`, `ms` …
    pub unit: String,
    /// What it is now; none while it is not known.
    pub value: Option<f64>,
    /// What it was set to.
    pub set: Option<f64>,
}

/// A stored moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HistoryMark {
    /// When.
    pub at: At,
    /// Why it was stored.
    pub why: Mark,
    /// Score; none: "?".
    pub score: Option<f64>,
    /// Grade.
    pub grade: Grade,
    /// Gates that held.
    pub gates: Vec<String>,
}

/// The page that explains a score.
pub fn page_of(level: Level, id: &str) -> String {
    match (level, id.split_once('/')) {
        (Level::Shard, Some((service, n))) => format!("/services/{service}/shards/{n}/health"),
        (Level::Fleet, _) => "/overview".to_owned(),
        _ => format!("/{}s/{id}/health", level.as_str()),
    }
}

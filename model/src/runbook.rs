//! Runbooks: what may react to an alert, and how far it may go by itself.

use serde::{Deserialize, Serialize};

use crate::service::word;

word! {
    /// How far a runbook may go. Everything starts in observe.
    RunbookMode {
        /// Ignores alerts.
        Off = "off",
        /// Decides and records what it would do; changes nothing.
        #[default]
        Observe = "observe",
        /// Prepares the operation and waits for a person.
        Ask = "ask",
        /// Acts by itself, behind the guards.
        Auto = "auto",
    }
}

/// One of the twenty runbooks, with its mode where the caller asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runbook {
    /// Name used in URLs, labels and modes: `replica-restart`.
    pub name: String,
    /// Number in `operations.md` section 12.
    pub number: u32,
    /// Alert names it reacts to.
    pub alerts: Vec<String>,
    /// What it does, one sentence.
    pub does: String,
    /// Whether this build can carry it out (others only observe and page).
    pub available: bool,
    /// Modes set so far, most general first.
    pub modes: Vec<ModeSetting>,
    /// Revision of its settings.
    pub rev: i64,
}

/// Mode of a runbook in a scope.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModeSetting {
    /// `platform` or `tenant:<id>`, `service:<id>`; the deepest wins.
    pub scope: String,
    /// The mode.
    pub mode: RunbookMode,
    /// Why it was set.
    pub reason: String,
    /// By whom.
    pub by: String,
    /// When.
    pub at: crate::At,
}

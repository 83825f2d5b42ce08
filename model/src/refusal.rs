//! A refusal: why nothing was sent, naming the node, the value and the limit.

use serde::{Deserialize, Serialize};

/// Why an operation is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{check}: {message}")]
pub struct Refusal {
    /// Check or guard: `P3`, `managed`, `lease`, `kill_switch` …
    pub check: String,
    /// Node, host or service it is about; empty when general.
    pub target: String,
    /// One sentence naming node, value and limit.
    pub message: String,
}

impl Refusal {
    /// A refusal by `check` about `target`.
    pub fn new(check: &str, target: impl ToString, message: impl Into<String>) -> Refusal {
        Refusal { check: check.into(), target: target.to_string(), message: message.into() }
    }
}

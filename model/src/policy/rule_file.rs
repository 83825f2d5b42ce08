//! Rule files for Prometheus, as people see them.

use serde::{Deserialize, Serialize};

use crate::At;

/// A rule file made of policies.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleFileItem {
    /// `cw-memory.yml`.
    pub name: String,
    /// Policies in it.
    pub policies: Vec<String>,
    /// SHA-256 of its text, hexadecimal.
    pub sha: String,
    /// Since when Prometheus is known to run it; none: it is not.
    pub published_at: Option<At>,
    /// Why it is not; empty: nothing is wrong.
    pub error: String,
}

/// How the shadow of a policy differs from our own alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineDifference {
    /// Policy with `engine: both`.
    pub policy: String,
    /// Alerts that fire here only.
    pub only_embedded: usize,
    /// Alerts that fire in Prometheus only.
    pub only_prometheus: usize,
}

//! Whether an instance is up, down or unknown (`health.md` section 4).

use serde::{Deserialize, Serialize};

/// What is known of an instance's life.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", content = "reason", rename_all = "snake_case")]
pub enum Verdict {
    /// It answers.
    Up,
    /// Confirmed down, with the evidence in words.
    Down(String),
    /// We cannot tell, with the reason (`auth`, `observer_isolated`, `not_polled_yet` …).
    Unknown(String),
}

impl Verdict {
    /// `up`, `down` or `unknown`, the label value.
    pub fn as_str(&self) -> &'static str {
        match self {
            Verdict::Up => "up",
            Verdict::Down(_) => "down",
            Verdict::Unknown(_) => "unknown",
        }
    }
    /// Confirmed down.
    pub fn is_down(&self) -> bool {
        matches!(self, Verdict::Down(_))
    }
    /// Answers.
    pub fn is_up(&self) -> bool {
        matches!(self, Verdict::Up)
    }
}

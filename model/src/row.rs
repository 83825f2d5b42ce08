//! A row of the Board: the latest reading of an instance with its judgement.

use std::sync::Arc;

use crate::At;
use crate::reading::{Facts, Reading, Role};
use crate::score::Explained;
use crate::service::Instance;
use crate::verdict::Verdict;

/// The latest of one instance. Published whole by its watch task.
#[derive(Debug, Clone)]
pub struct Row {
    /// Whose.
    pub instance: Arc<Instance>,
    /// Latest poll, good or failed.
    pub reading: Arc<Reading>,
    /// Facts of the last good poll (equal to the reading's while up) and their time.
    pub last_good: Option<Arc<Reading>>,
    /// First reading of the unbroken run of readings with the present role; none while no role is
    /// read.
    pub role_since: Option<At>,
    /// Up, down or unknown.
    pub verdict: Verdict,
    /// The score; none for Sentinels.
    pub score: Option<Arc<Explained>>,
}

impl Row {
    /// Facts of the latest poll when it was good.
    pub fn facts(&self) -> Option<&Facts> {
        self.reading.up.then_some(&self.reading.facts)
    }

    /// The role at the latest good poll, only while the verdict is up.
    pub fn role(&self) -> Option<Role> {
        self.facts().and_then(|f| f.role)
    }

    /// Whether both were masters at one time: rows are up to an interval apart, so after a
    /// failover the older one may still tell of the time before it. Each must have said it after
    /// the other had begun to.
    pub fn masters_together(&self, other: &Row) -> bool {
        let begun = |row: &Row| row.role_since.filter(|_| row.role() == Some(Role::Master));
        match (begun(self), begun(other)) {
            (Some(mine), Some(theirs)) => self.reading.at >= theirs && other.reading.at >= mine,
            _ => false,
        }
    }
}

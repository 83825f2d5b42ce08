//! The loop that rolls scores up: shard, service, system, tenant, fleet.
//!
//! Invariant: the only writer of the Board's roll-ups; a Board that did not move costs nothing; what
//! was not polled yet after a start takes no grade away that was held before it.

use model::At;
use model::inventory::Inventory;
use model::score::Level;
use scorer::{RollupMemory, Sticky};
use tokio::sync::Mutex;

use crate::app::App;

/// What the loop remembers.
#[derive(Default)]
pub(crate) struct Memory {
    inner: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    generation: u64,
    memory: RollupMemory,
    /// Grades of before the start, until every instance was polled once.
    held: Vec<(Level, String, Sticky)>,
    /// When that is waited for no longer.
    held_until: At,
}

impl Memory {
    /// Brings grades of before the start back. Until every instance has a row, but not beyond
    /// `until`, roll-ups are made with a copy of them: an object whose instances nobody has asked yet
    /// is unknown, and an unknown one forgets its grade.
    pub(crate) async fn restore(&self, grades: Vec<(Level, String, Sticky)>, until: At) {
        let mut kept = self.inner.lock().await;
        for (level, id, sticky) in &grades {
            kept.memory.restore(*level, id, sticky.clone());
        }
        (kept.held, kept.held_until) = (grades, until);
    }

    /// The memories of all grades, to be stored.
    pub(crate) async fn grades(&self) -> Vec<(Level, String, Sticky)> {
        let kept = self.inner.lock().await;
        let all = kept.memory.grades();
        all.map(|(level, id, sticky)| (level, id.to_string(), sticky.clone())).collect()
    }
}

impl Kept {
    /// A copy of what was held before the start, while that must not be touched.
    fn copy_while_starting(
        &mut self,
        inventory: &Inventory,
        rows: usize,
        now: At,
    ) -> Option<RollupMemory> {
        if rows >= inventory.instances.len() || now >= self.held_until {
            self.held = Vec::new();
        }
        if self.held.is_empty() {
            return None;
        }
        let mut copy = RollupMemory::default();
        for (level, id, sticky) in &self.held {
            copy.restore(*level, id, sticky.clone());
        }
        Some(copy)
    }
}

/// Publishes new roll-ups when a row or the tree changed since the last time.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    app.watching.grades.load(app).await;
    let mut kept = app.watching.grades.rollup.inner.lock().await;
    let generation = app.board.generation();
    if kept.generation == generation {
        return Ok(());
    }
    let inventory = app.inventory();
    let rows = app.board.rows();
    let mut copy = kept.copy_while_starting(&inventory, rows.len(), now);
    let memory = copy.as_mut().unwrap_or(&mut kept.memory);
    let policies = app.policies.load();
    let fresh = scorer::rollup(&inventory, &policies, &rows, memory, now);
    app.scores.saw_rollup(&app.board.rollup(), &fresh);
    app.board.publish_rollup(fresh);
    kept.generation = generation;
    Ok(())
}

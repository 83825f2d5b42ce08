//! The one in-memory table: a row per instance, and the roll-ups as a second snapshot.
//!
//! Invariant: one writer per row (the instance's own watch task); the roll-up has one writer (the
//! `rollup` loop). Readers never block writers and see each row whole. A removed instance's slot
//! disappears with the next inventory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::At;
use crate::InstanceId;
use crate::row::Row;
use crate::score::{Explained, Level};

/// Roll-ups of every level above instance, published whole.
#[derive(Debug, Clone, Default)]
pub struct Rollup {
    /// When.
    pub at: At,
    /// By level and id: `shard`, `pay.cart/0`; the fleet's id is empty.
    pub levels: Levels,
}

/// Roll-ups by level, in the order of ids. Lists, for a round makes all of it anew: what did not
/// change costs a pointer and nothing on the heap.
#[derive(Debug, Clone, Default)]
pub struct Levels([Vec<Arc<Explained>>; LEVELS]);

const LEVELS: usize = Level::Fleet as usize + 1;

impl Levels {
    /// With room for that many shards and services.
    pub fn with_room(shards: usize, services: usize) -> Levels {
        let mut levels = Levels::default();
        levels.0[Level::Shard as usize].reserve(shards);
        levels.0[Level::Service as usize].reserve(services);
        levels
    }

    /// Adds a roll-up; `sort` has to follow.
    pub fn push(&mut self, explained: Arc<Explained>) {
        self.0[explained.level as usize].push(explained);
    }

    /// Brings every level into the order of ids.
    pub fn sort(&mut self) {
        for level in &mut self.0 {
            // They come nearly sorted.
            level.sort_by(|a, b| a.id.cmp(&b.id));
        }
    }

    /// A roll-up.
    pub fn get(&self, level: Level, id: &str) -> Option<&Arc<Explained>> {
        let of = self.of(level);
        of.binary_search_by(|e| e.id.as_str().cmp(id)).ok().map(|at| &of[at])
    }

    /// All of one level, in the order of ids.
    pub fn of(&self, level: Level) -> &[Arc<Explained>] {
        &self.0[level as usize]
    }

    /// All, level by level from below.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Explained>> {
        self.0.iter().flatten()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl FromIterator<Arc<Explained>> for Levels {
    fn from_iter<I: IntoIterator<Item = Arc<Explained>>>(all: I) -> Levels {
        let mut levels = Levels::default();
        all.into_iter().for_each(|e| levels.push(e));
        levels.sort();
        levels
    }
}

type Slots = BTreeMap<InstanceId, Arc<ArcSwapOption<Row>>>;

/// The table.
#[derive(Default)]
pub struct Board {
    slots: ArcSwap<Slots>,
    rollup: ArcSwap<Rollup>,
    generation: AtomicU64,
}

impl Board {
    /// Keeps the slots of `ids`, adds empty ones, drops the others. Called by the one task that
    /// starts and stops watch tasks.
    pub fn reshape<'a>(&self, ids: impl Iterator<Item = &'a InstanceId>) {
        let old = self.slots.load();
        let new: Slots =
            ids.map(|id| (id.clone(), old.get(id).cloned().unwrap_or_default())).collect();
        self.slots.store(Arc::new(new));
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Publishes the row of an instance; a row of an instance that was removed is dropped.
    pub fn publish(&self, row: Row) {
        if let Some(slot) = self.slots.load().get(&row.instance.id) {
            slot.store(Some(Arc::new(row)));
            self.generation.fetch_add(1, Ordering::Release);
        }
    }

    /// The latest row; none before the first poll or when the instance is not watched.
    pub fn row(&self, id: &InstanceId) -> Option<Arc<Row>> {
        self.slots.load().get(id)?.load_full()
    }

    /// All rows, in id order.
    pub fn rows(&self) -> Vec<Arc<Row>> {
        self.slots.load().values().filter_map(|s| s.load_full()).collect()
    }

    /// Grows with each publish and reshape.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The latest roll-ups.
    pub fn rollup(&self) -> Arc<Rollup> {
        self.rollup.load_full()
    }

    /// Publishes the roll-ups. Called by the `rollup` loop only.
    pub fn publish_rollup(&self, rollup: Rollup) {
        self.rollup.store(Arc::new(rollup));
    }
}

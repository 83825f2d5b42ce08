//! One instance under one policy over its samples of the past: the same `evaluate` as live, and when it
//! would have fired.
//!
//! Invariant: pure; in sample order; nothing of one instance reaches another.

use std::collections::HashMap;

use model::At;
use model::alert::Phase;
use model::policy::{AlertLevel, Compare};
use model::row::Row;

use crate::cell::{Cell, evaluate};
use crate::live::{Change, Identity};
use crate::plan::Slot;

/// One alert that fired.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fired {
    pub series: String,
    pub level: AlertLevel,
    pub receiver: String,
    pub start: At,
    pub end: Option<At>,
    pub peak: Option<f64>,
    pub flapping: bool,
}

impl Fired {
    /// Minutes it fired, up to `to`.
    pub fn minutes(&self, to: At) -> f64 {
        self.end.unwrap_or(to).since_ms(self.start).max(0) as f64 / 60_000.0
    }

    /// Whether both fire at one moment on one series.
    pub fn overlaps(&self, other: &Fired) -> bool {
        let before = |a: Option<At>, b: At| a.is_none_or(|end| end >= b);
        self.series == other.series
            && before(self.end, other.start)
            && before(other.end, self.start)
    }
}

/// The policy of a slot over samples.
pub(super) struct Lane<'a> {
    slot: &'a Slot,
    pub cell: Cell,
    open: HashMap<String, Fired>,
    done: Vec<Fired>,
}

impl<'a> Lane<'a> {
    pub fn new(slot: &'a Slot) -> Lane<'a> {
        Lane { slot, cell: Cell::default(), open: HashMap::new(), done: Vec::new() }
    }

    /// Judges one sample as the watch task does.
    pub fn judge(&mut self, row: &Row) {
        let at = row.reading.at;
        // A sample that is not newer is dropped, as it is live.
        let Ok(changes) = evaluate(self.slot, &mut self.cell, row, at) else { return };
        for change in changes {
            self.take(change);
        }
        if !self.open.is_empty() {
            self.look();
        }
    }

    fn take(&mut self, change: Change) {
        let key = &change.identity.fingerprint;
        match (change.from, change.to) {
            (Phase::Pending, Phase::Firing) => {
                let fired = Fired {
                    series: series(&change.identity, self.slot),
                    level: change.identity.level,
                    receiver: label(&change.identity, "receiver"),
                    start: change.at,
                    end: None,
                    peak: change.value,
                    flapping: false,
                };
                self.open.insert(key.clone(), fired);
            }
            (_, Phase::Resolved) => {
                if let Some(mut fired) = self.open.remove(key) {
                    fired.end = Some(change.at);
                    self.done.push(fired);
                }
            }
            _ => {}
        }
    }

    /// Takes note of the values of what fires.
    fn look(&mut self) {
        for live in self.cell.lives() {
            let Some(fired) = self.open.get_mut(&live.identity.fingerprint) else { continue };
            let compare = self.slot.rules.first().map_or(Compare::Gt, |r| r.compare);
            fired.flapping |= live.pulse.is_flapping();
            fired.peak = match (fired.peak, live.pulse.value()) {
                (Some(a), Some(b)) => Some(further(compare, a, b)),
                (a, b) => a.or(b),
            };
        }
    }

    /// Everything that fired, what still fires last.
    pub fn finish(self) -> Vec<Fired> {
        let mut all = self.done;
        let mut open: Vec<Fired> = self.open.into_values().collect();
        open.sort_by(|a, b| (a.start, a.level, &a.series).cmp(&(b.start, b.level, &b.series)));
        all.extend(open);
        all
    }
}

/// The one of two values that lies further from normal.
fn further(compare: Compare, a: f64, b: f64) -> f64 {
    match compare {
        Compare::Lt | Compare::Le => a.min(b),
        _ => a.max(b),
    }
}

fn label(identity: &Identity, name: &str) -> String {
    identity.labels.get(name).cloned().unwrap_or_default()
}

/// Labels that tell the sub-series of an instance apart.
fn series(identity: &Identity, slot: &Slot) -> String {
    const EVERY: [&str; 5] = ["alertname", "policy", "level", "severity", "receiver"];
    let rule = slot.rules.first();
    let own = |name: &String| {
        !EVERY.contains(&name.as_str())
            && !slot.bearer.labels.contains_key(name)
            && !slot.bearer.external.contains_key(name)
            && rule.is_none_or(|r| !r.labels.contains_key(name))
    };
    let labels = identity.labels.iter().filter(|(name, _)| own(name));
    labels.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
}

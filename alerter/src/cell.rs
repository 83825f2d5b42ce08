//! The states of one object's policies, and the function that moves them.
//!
//! Invariant: pure and in sample order: the result depends on the samples, the rules and the state
//! before, on nothing else. Time nobody watched (a restart, a pause, a jump of the clock) never
//! counts toward `for`, `keep_firing_for` or `hold`. Nothing is allocated while nothing changes.
//! Only what is not inactive has an entry.

use std::sync::Arc;

use model::At;
use model::row::Row;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::live::{Change, Live};
use crate::machine::{Machine, Machines};
use crate::plan::{Bearer, Slot};
use crate::resolve::Effective;
use crate::rings::{Rings, SavedRing};
use crate::signal::{Member, Out, Program, Scope, Signal, Source};

/// A gap between two samples above this many intervals counts as one interval: one poll may be
/// late by its deadline, two missing ones mean that nobody watched.
const GAP_INTERVALS: i64 = 2;

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Last {
    at: At,
    now: At,
}

/// The states of one object.
#[derive(Debug, Clone, Default)]
pub struct Cell {
    machines: Machines,
    rings: Rings,
    last: Option<Last>,
    /// Set by a restart, until the first sample.
    restored: bool,
    /// The latest poll was good.
    answered: bool,
    /// A saved copy of it is in the store.
    pub saved: bool,
}

/// The sample is not newer than the last one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late;

/// Judges one sample of one instance by all its policies.
pub fn evaluate(slot: &Slot, cell: &mut Cell, row: &Row, now: At) -> Result<Vec<Change>, Late> {
    let ts = row.reading.at;
    cell.advance(ts, now, i64::from(row.reading.interval_ms))?;
    let replicas_wanted = slot.replicas_wanted;
    cell.rings.record(&slot.windows, row, replicas_wanted);
    let mut out = Vec::new();
    let Cell { machines, rings, .. } = cell;
    let scope = |held| {
        let source = Source::Instance { row, replicas_wanted, held };
        Scope { now_ms: ts.ms(), source }
    };
    for (index, rule) in slot.rules.iter().enumerate() {
        if let Signal::Event(program) = &rule.signal {
            let scope = scope(rings.held(index));
            machines.judge_program(&slot.bearer, rule, program, scope, &mut out);
        }
    }
    for (index, column) in slot.columns.iter() {
        let Signal::Aggregate(gathered) = &slot.rules[*index].signal else { continue };
        let value = match &gathered.of {
            Member::Program(program) => column_value(program, scope(rings.held(*index))),
            Member::Silence(_) => Some(f64::from(u8::from(row.reading.up))),
        };
        column.write(slot.ordinal, value, ts);
    }
    cell.answered = row.reading.up;
    Ok(out)
}

fn column_value(program: &Program, scope: Scope<'_>) -> Option<f64> {
    let mut found = None;
    let walked = program.walk(scope, |_, out| {
        if let Out::Value(v) = out {
            found = Some(v);
        }
    });
    walked.ok().and(found)
}

impl Cell {
    /// Takes note of a sample's time; shifts every timer by the time nobody watched.
    pub(crate) fn advance(&mut self, ts: At, now: At, interval_ms: i64) -> Result<(), Late> {
        let Some(last) = self.last.replace(Last { at: ts, now }) else { return Ok(()) };
        let gap = ts.since_ms(last.at);
        // A clock set back moves `now` too; a sample that is merely late does not.
        let set_back = now < last.now;
        if gap <= 0 && !set_back {
            self.last = Some(last);
            return Err(Late);
        }
        let interval = interval_ms.max(1);
        let watched = match gap {
            _ if self.restored => 0,
            gap if gap <= 0 || gap > interval * GAP_INTERVALS => interval,
            gap => gap,
        };
        self.restored = false;
        if gap != watched && !self.machines.all.is_empty() {
            self.machines.shift(gap - watched);
        }
        Ok(())
    }

    /// Judges one value of a policy that is evaluated on the grid.
    pub(crate) fn judge(
        &mut self,
        bearer: &Bearer,
        rule: &Arc<Effective>,
        value: Out,
        ts: At,
        out: &mut Vec<Change>,
    ) {
        self.machines.judge(bearer, rule, "", value, ts, out);
    }

    /// Judges what a program says of an object.
    pub(crate) fn judge_program(
        &mut self,
        bearer: &Bearer,
        rule: &Arc<Effective>,
        program: &Program,
        scope: Scope<'_>,
        out: &mut Vec<Change>,
    ) {
        self.machines.judge_program(bearer, rule, program, scope, out);
    }

    /// Judges values that were computed already.
    pub(crate) fn judge_values(
        &mut self,
        bearer: &Bearer,
        rule: &Arc<Effective>,
        values: &[(&str, Out)],
        ts: At,
        out: &mut Vec<Change>,
    ) {
        self.machines.judge_values(bearer, rule, values, ts, out);
    }

    /// What the rule with that index looks back on.
    pub(crate) fn held(&self, rule: usize) -> crate::rings::Held<'_> {
        self.rings.held(rule)
    }

    /// Whether the latest poll was good.
    pub(crate) fn answered(&self) -> bool {
        self.answered
    }

    /// Whether an evaluation failed that nobody asked for yet.
    pub(crate) fn has_failed(&self) -> bool {
        !self.machines.failed.is_empty()
    }

    /// Time of the latest sample.
    pub fn seen(&self) -> Option<At> {
        // What was seen before a restart was not seen by us.
        self.last.filter(|_| !self.restored).map(|last| last.at)
    }

    /// After a restart: the first sample counts nothing of the time we were away.
    pub fn after_restart(mut self) -> Cell {
        self.restored = true;
        self.saved = true;
        self
    }

    /// Whether every policy is inactive.
    pub fn is_empty(&self) -> bool {
        self.machines.all.is_empty()
    }

    /// What is not inactive.
    pub fn lives(&self) -> impl Iterator<Item = &Live> {
        self.machines.all.iter().flat_map(|m| m.levels.iter())
    }

    /// Ends everything at once.
    pub fn end(&mut self, reason: &str, now: At) -> Vec<Change> {
        self.machines.end(reason, now)
    }

    /// Brings the states to a new plan: what no policy asks for any more ends at once; an instance
    /// that moved ends its old label sets and goes on under the new ones with the old start.
    pub fn reconcile(&mut self, slot: &Slot, now: At) -> Vec<Change> {
        let here = |signal: &Signal| matches!(signal, Signal::Event(_));
        self.machines.reconcile(&slot.bearer, &slot.rules, here, now)
    }

    /// The same for an object on the grid.
    pub(crate) fn reconcile_on_grid(
        &mut self,
        bearer: &Bearer,
        rules: &[Arc<Effective>],
        now: At,
    ) -> Vec<Change> {
        let here = |signal: &Signal| !matches!(signal, Signal::Event(_));
        self.machines.reconcile(bearer, rules, here, now)
    }

    /// Policies whose evaluation failed since this was asked last; their states stayed.
    pub(crate) fn take_failed(&mut self) -> Vec<Arc<str>> {
        std::mem::take(&mut self.machines.failed)
    }

    /// Memory of its windows, bytes.
    pub fn window_bytes(&self) -> usize {
        self.rings.bytes()
    }

    /// Whether it must be saved: `all` also when only timers moved. Notes that it was.
    pub(crate) fn take_unsaved(&mut self, all: bool) -> bool {
        let unsaved = self.machines.stepped || (all && self.machines.dirty);
        if unsaved {
            (self.machines.dirty, self.machines.stepped) = (false, false);
        }
        unsaved
    }

    /// It was not saved after all.
    pub(crate) fn unsaved(&mut self) {
        (self.machines.dirty, self.machines.stepped) = (true, true);
    }
}

/// A cell as it is saved: with the windows its live alerts look at, so that a restart does not
/// resolve what it can no longer see.
#[derive(Serialize, Deserialize)]
struct Saved<M, L> {
    machines: M,
    last: L,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    rings: Vec<SavedRing>,
}

impl Serialize for Cell {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let live = |policy: &str| {
            self.machines.all.iter().any(|m| *m.policy == *policy && !m.levels.is_empty())
        };
        let rings = self.rings.saved(live);
        Saved { machines: &self.machines.all, last: &self.last, rings }.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Cell, D::Error> {
        let saved = Saved::<Vec<Machine>, Option<Last>>::deserialize(d)?;
        for live in saved.machines.iter().flat_map(|m| &m.levels) {
            live.pulse.set_flapping(live.calm_since.is_some());
        }
        Ok(Cell {
            machines: Machines { all: saved.machines, ..Machines::default() },
            rings: Rings::restored(saved.rings),
            last: saved.last,
            ..Cell::default()
        })
    }
}

//! Policies about many instances, other objects, or samples that do not arrive: on a grid of 15 s.
//!
//! Invariant: pure; each object has its own aligned slots, so nothing is judged twice and no herd
//! forms; a slot that was missed is counted and never made up. Values older than `LOOKBACK_MS` are none.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use model::At;
use model::policy::Fold;

use crate::cell::Cell;
use crate::live::Change;
use crate::plan::{GridObject, Plan, Slot};
use crate::resolve::Effective;
use crate::signal::{Gathered, Member, Object, Out, Outlook, Scope, Signal, Silence, Source};

/// Length of a slot.
pub const SLOT_MS: i64 = 15_000;
/// A value older than this says nothing any more; Prometheus' own limit.
pub const LOOKBACK_MS: i64 = 300_000;

/// The latest values of one signal, a place per instance. Each place has one writer, the watch task
/// of its instance.
#[derive(Debug, Default)]
pub struct Column {
    values: Box<[AtomicU64]>,
    times: Box<[AtomicI64]>,
}

impl Column {
    /// A column without values.
    pub fn new(places: usize) -> Column {
        Column {
            values: (0..places).map(|_| AtomicU64::new(f64::NAN.to_bits())).collect(),
            times: (0..places).map(|_| AtomicI64::new(0)).collect(),
        }
    }

    /// Sets the value of an instance; none: its latest sample did not say.
    pub fn write(&self, place: usize, value: Option<f64>, at: At) {
        if let (Some(v), Some(t)) = (self.values.get(place), self.times.get(place)) {
            v.store(value.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
            // After the value: whoever sees the time sees the value or a newer one.
            t.store(at.ms(), Ordering::Release);
        }
    }

    /// The value of an instance, unless it is too old.
    pub fn read(&self, place: usize, now: At) -> Option<f64> {
        let at = At::from_ms(self.times.get(place)?.load(Ordering::Acquire));
        let value = f64::from_bits(self.values.get(place)?.load(Ordering::Relaxed));
        (!value.is_nan() && now.since_ms(at) < LOOKBACK_MS).then_some(value)
    }

    /// Takes over the value of a place of an older column.
    pub fn adopt(&self, place: usize, old: &Column, was: usize) {
        if let (Some(v), Some(t)) = (old.values.get(was), old.times.get(was)) {
            let value = f64::from_bits(v.load(Ordering::Relaxed));
            self.write(place, Some(value), At::from_ms(t.load(Ordering::Acquire)));
        }
    }
}

/// The states of what is judged on the grid.
#[derive(Default)]
pub struct Grid {
    /// Of objects with something live; an instance's here are those of its silence only.
    pub cells: HashMap<Object, Cell>,
    /// Up to when slots were judged.
    last: Option<At>,
    /// Since when samples could have come: what was not polled before is not missing yet.
    started: Option<At>,
    /// Slots nobody judged.
    pub missed: u64,
    /// Slots judged, objects times slots.
    pub judged: u64,
}

impl Grid {
    /// Whether a slot of an object ends with a look at `now`.
    pub(crate) fn is_due(&self, object: &Object, now: At) -> bool {
        let last = self.last.filter(|last| *last <= now);
        last.is_some_and(|last| self.due(object, last, now).is_some())
    }

    /// The slot that ended between the last look and now; none: it was judged already.
    fn due(&self, object: &Object, last: At, now: At) -> Option<At> {
        let mut hasher = DefaultHasher::new();
        object.hash(&mut hasher);
        let offset = (hasher.finish() % SLOT_MS as u64) as i64;
        let index = |at: At| (at.ms() - offset).div_euclid(SLOT_MS);
        (index(now) > index(last)).then(|| At::from_ms(index(now) * SLOT_MS + offset))
    }
}

/// Under which name the state of an object on the grid is saved: an instance's own name is taken by
/// what its samples say.
pub(crate) fn saved_as(object: &Object) -> Object {
    match object {
        Object::Instance(id) => Object::Silence(id.clone()),
        other => other.clone(),
    }
}

/// The object a saved state is of.
pub(crate) fn told(object: Object) -> Object {
    match object {
        Object::Silence(id) => Object::Instance(id),
        other => other,
    }
}

/// Judges every object whose slot ended since the last call.
pub fn evaluate_grid(plan: &Plan, grid: &mut Grid, outlook: &Outlook, now: At) -> Vec<Change> {
    let mut out = Vec::new();
    grid.started.get_or_insert(now);
    let Some(last) = grid.last.replace(now).filter(|last| *last <= now) else { return out };
    let skipped = now.since_ms(last) / SLOT_MS - 1;
    grid.missed += u64::try_from(skipped).unwrap_or(0);
    for object in &plan.objects {
        if let Some(ts) = grid.due(&object.bearer.object, last, now) {
            judge_object(plan, grid, outlook, (object, ts), now, &mut out);
        }
    }
    for slot in plan.slots.values().filter(|slot| !slot.silences.is_empty()) {
        if let Some(ts) = grid.due(&slot.bearer.object, last, now) {
            judge_silence(grid, slot, ts, now, &mut out);
        }
    }
    out
}

fn judge_object(
    plan: &Plan,
    grid: &mut Grid,
    outlook: &Outlook,
    (object, ts): (&GridObject, At),
    now: At,
    out: &mut Vec<Change>,
) {
    let bearer = &object.bearer;
    let started = grid.started.unwrap_or(now);
    grid.judged += 1;
    with_cell(grid, &bearer.object, ts, now, |cell| {
        for rule in &object.rules {
            match &rule.signal {
                Signal::Object(_, program) => {
                    let source = Source::Object { outlook, object: &bearer.object };
                    let scope = Scope { now_ms: ts.ms(), source };
                    cell.judge_program(bearer, rule, program, scope, out);
                }
                Signal::Aggregate(gathered) => {
                    let value = gathered_value(plan, object, rule, gathered, (ts, started));
                    cell.judge(bearer, rule, value, ts, out);
                }
                _ => {}
            }
        }
    });
}

fn gathered_value(
    plan: &Plan,
    object: &GridObject,
    rule: &Arc<Effective>,
    gathered: &Gathered,
    (ts, started): (At, At),
) -> Out {
    let column = plan.columns.get(&rule.policy);
    let of = |place: &usize| match gathered.of {
        Member::Program(_) => column?.read(*place, ts),
        // A column of readiness: 1 while the latest poll was good.
        Member::Silence(silence) => {
            let seen = column.and_then(|c| c.read(*place, ts));
            silence.value(seen.map(|up| up == 1.0), started, ts)
        }
    };
    let mut n = 0;
    let folded = object.members.iter().filter_map(of).inspect(|_| n += 1);
    let folded = folded.reduce(|a, b| match gathered.op {
        Fold::Sum | Fold::Avg | Fold::Count => a + b,
        Fold::Max => a.max(b),
        Fold::Min => a.min(b),
    });
    match folded {
        Some(_) if n < gathered.at_least => Out::Outside,
        Some(all) if gathered.op == Fold::Avg => Out::Value(all / n as f64),
        Some(_) if gathered.op == Fold::Count => Out::Value(n as f64),
        Some(all) => Out::Value(all),
        None => Out::Missing,
    }
}

impl Silence {
    /// 1 while the silence lasts. `answered`: whether the latest poll was good; none: there was no
    /// poll within `LOOKBACK_MS`, which says nothing before we could have polled.
    pub fn value(self, answered: Option<bool>, started: At, now: At) -> Option<f64> {
        match answered {
            Some(up) => Some(f64::from(u8::from(self == Silence::Unanswered && !up))),
            None if now.since_ms(started) < LOOKBACK_MS => None,
            None => Some(1.0),
        }
    }
}

fn judge_silence(grid: &mut Grid, slot: &Slot, ts: At, now: At, out: &mut Vec<Change>) {
    let answered = {
        let cell = crate::lock(&slot.cell);
        cell.seen().filter(|at| ts.since_ms(*at) < LOOKBACK_MS).map(|_| cell.answered())
    };
    let started = grid.started.unwrap_or(now);
    grid.judged += 1;
    with_cell(grid, &slot.bearer.object, ts, now, |cell| {
        for rule in slot.silences.iter().map(|i| &slot.rules[*i]) {
            if let Signal::Silence(silence) = rule.signal {
                let value = silence.value(answered, started, ts).into();
                cell.judge(&slot.bearer, rule, value, ts, out);
            }
        }
    });
}

/// Judges with the cell of an object; keeps the cell only while something in it lives.
fn with_cell(grid: &mut Grid, object: &Object, ts: At, now: At, judge: impl FnOnce(&mut Cell)) {
    match grid.cells.get_mut(object) {
        Some(cell) => {
            if cell.advance(ts, now, SLOT_MS).is_ok() {
                judge(cell);
            }
        }
        None => {
            let mut cell = Cell::default();
            judge(&mut cell);
            // Its time is noted with the first state: before that nothing runs.
            if !cell.is_empty() || cell.has_failed() {
                let _first = cell.advance(ts, now, SLOT_MS);
                grid.cells.insert(object.clone(), cell);
            }
        }
    }
}

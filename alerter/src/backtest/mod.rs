//! What a policy would have done: the evaluator of live samples over samples of the past.
//!
//! Invariant: pure. The draft and what is in force are judged by `evaluate`, sample by sample, so a
//! backtest of the last day says what fired; what was not sampled is told, never counted as calm.
//! Refuses to know: where samples come from.

mod case;
mod input;
mod lane;
mod tally;
mod tries;

use std::sync::Arc;

use model::inventory::Inventory;
use model::policy::{Backtest, BacktestData, PolicyDoc};
use model::reading::{Facts, Reading};
use model::row::Row;
use model::service::Instance;
use model::verdict::Verdict;
use model::{At, InstanceId};

use crate::plan::{Ground, Plan};
use crate::resolve::Effective;
use crate::window::Dialect;

pub use case::{Verdict as TestVerdict, tests};
use input::Shown;
pub use input::{Fill, Input};
use lane::Lane;
use tally::Total;
use tries::{Tries, Try};

/// Values a choice of thresholds is made from.
const VALUES_MAX: usize = 50_000;
/// Threads that judge: what a page waits for, beside the watch tasks.
const THREADS_MAX: usize = 4;

/// The samples of one series of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// What they are.
    pub fill: Fill,
    /// One per time of the track; NaN: none.
    pub values: Vec<f64>,
}

/// The samples of one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Track {
    /// Whose.
    pub instance: InstanceId,
    /// Unix milliseconds, rising.
    pub times: Vec<i64>,
    /// Its series.
    pub lines: Vec<Line>,
}

/// What is tried.
pub struct Setup<'a> {
    /// The tree.
    pub inventory: &'a Inventory,
    /// The policy's documents as they would be, shipped ones included.
    pub draft: &'a [PolicyDoc],
    /// As they are.
    pub current: &'a [PolicyDoc],
    /// Instances the changed document reaches.
    pub instances: &'a [InstanceId],
    /// Beginning.
    pub from: At,
    /// End.
    pub to: At,
    /// Between samples.
    pub step_ms: i64,
    /// Whose window functions.
    pub dialect: Dialect,
    /// Look for thresholds that page at most so often.
    pub pages_per_week: Option<f64>,
}

/// A backtest that takes instances in one after another.
pub struct Trial {
    draft: Plan,
    current: Plan,
    instances: Vec<InstanceId>,
    from: At,
    to: At,
    step_ms: i64,
    pages_per_week: Option<f64>,
    tries: Option<Vec<Try>>,
    total: Total,
}

impl Trial {
    /// A trial; `Err` says why this policy cannot be tried.
    pub fn new(setup: &Setup<'_>) -> Result<Trial, String> {
        let plan = |docs: &[PolicyDoc]| {
            let external = Default::default();
            let ground = Ground {
                inventory: setup.inventory,
                docs,
                external: &external,
                interval_ms: setup.step_ms,
                dialect: setup.dialect,
            };
            Plan::build(&ground, |_| Arc::default())
        };
        let (draft, current) = (plan(setup.draft), plan(setup.current));
        if let Some((name, why)) = draft.problems.first_key_value() {
            return Err(format!("{name}: {why}"));
        }
        if let Some(elsewhere) = draft.delegated.values().next() {
            return Err(format!("Prometheus evaluates it: {}", elsewhere.why));
        }
        if draft.objects.iter().any(|object| !object.rules.is_empty()) {
            return Err("it is about many instances at once; backtests judge instances".into());
        }
        let trial = Trial {
            draft,
            current,
            instances: setup.instances.to_vec(),
            from: setup.from,
            to: setup.to,
            step_ms: setup.step_ms,
            pages_per_week: setup.pages_per_week,
            tries: None,
            total: Total::default(),
        };
        trial.inputs().map(|_| trial)
    }

    fn rules(&self) -> impl Iterator<Item = &Arc<Effective>> {
        let slots = self.instances.iter().flat_map(|id| {
            [self.draft.slots.get(id), self.current.slots.get(id)].into_iter().flatten()
        });
        slots.flat_map(|slot| slot.rules.iter())
    }

    /// The series its policies read.
    pub fn inputs(&self) -> Result<Vec<Input>, String> {
        let mut all: Vec<Input> = vec![Input::up()];
        let mut last: Option<&Arc<Effective>> = None;
        for rule in self.rules() {
            // Instances with the same documents share one rule.
            if last.is_some_and(|seen| Arc::ptr_eq(seen, rule)) {
                continue;
            }
            last = Some(rule);
            for input in input::of_signal(&rule.signal)? {
                if !all.contains(&input) {
                    all.push(input);
                }
            }
        }
        Ok(all)
    }

    /// The shortest range its policies look back on, ms.
    pub fn shortest_range_ms(&self) -> Option<i64> {
        let ranges = self.rules().flat_map(|r| r.signal.windows().iter().map(|w| w.range_ms));
        ranges.min()
    }

    /// Judges the samples of some instances; those of one must come together.
    pub fn judge(&mut self, tracks: &[Track]) {
        if self.pages_per_week.is_some() && self.tries.is_none() {
            self.tries = self.choose(tracks);
        }
        let tries = self.tries.as_deref().unwrap_or_default();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        let share = tracks.len().div_ceil(threads).max(1);
        let this = &*self;
        let part = |tracks: &[Track]| {
            let mut total = Total::default();
            tracks.iter().for_each(|track| this.one(track, tries, &mut total));
            total
        };
        let part = &part;
        let parts: Vec<Total> = std::thread::scope(|scope| {
            let running: Vec<_> =
                tracks.chunks(share).map(|tracks| scope.spawn(move || part(tracks))).collect();
            running.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        parts.into_iter().for_each(|part| self.total.add(part));
    }

    /// Thresholds worth trying, by the values of the first samples.
    fn choose(&self, tracks: &[Track]) -> Option<Vec<Try>> {
        let all: usize = tracks.iter().map(|t| t.times.len()).sum();
        let stride = all.div_ceil(VALUES_MAX).max(1);
        let (mut values, mut rule) = (Vec::new(), None);
        for track in tracks {
            let Some(slot) = self.draft.slots.get(&track.instance) else { continue };
            rule = rule.or(slot.rules.first());
            let mut lane = Lane::new(slot);
            let mut n = 0_usize;
            walk(self.step_ms, &self.draft.inventory, track, |row| {
                lane.judge(row);
                n += 1;
                if n.is_multiple_of(stride) {
                    values.extend(tries::value_of(slot, row, &lane.cell));
                }
            });
        }
        let rule = rule?;
        (!values.is_empty()).then(|| tries::of(rule, values))
    }

    fn one(&self, track: &Track, tries: &[Try], total: &mut Total) {
        let id = &track.instance;
        let (Some(draft), Some(current)) = (self.draft.slots.get(id), self.current.slots.get(id))
        else {
            return;
        };
        let mut lanes = [Lane::new(draft), Lane::new(current)];
        let same = draft.rules == current.rules;
        let mut tries = Tries::new(draft, tries);
        let mut samples = 0;
        walk(self.step_ms, &self.draft.inventory, track, |row| {
            samples += 1;
            lanes[0].judge(row);
            if !same {
                lanes[1].judge(row);
            }
            if let Some(tries) = &mut tries {
                tries.judge(row, &lanes[0].cell);
            }
        });
        let [draft_lane, current_lane] = lanes;
        let fired = draft_lane.finish();
        let current = if same { fired.clone() } else { current_lane.finish() };
        total.tried(tries.map(|t| t.fired).unwrap_or_default());
        let every_ms = rhythm(&track.times).max(self.step_ms).max(1);
        let expected = (self.to.since_ms(self.from) / every_ms).max(1) as u64;
        total.sampled(id, samples, expected);
        total.take(id, (fired, current), self.to);
    }

    /// The answer. `data` says where samples came from; what was judged is filled in.
    pub fn finish(self, mut data: BacktestData) -> Backtest {
        let span_ms = self.to.since_ms(self.from).max(1);
        let suggestions = match (&self.tries, self.pages_per_week) {
            (Some(tries), Some(pages)) => {
                tries::suggestions(tries, &self.total.tries, span_ms, pages)
            }
            _ => Vec::new(),
        };
        let judged = |plan: &Plan| {
            let mut slots = self.instances.iter().filter_map(|id| plan.slots.get(id));
            slots.any(|slot| !slot.rules.is_empty())
        };
        let current = judged(&self.current);
        self.total.describe(&self.instances, &mut data);
        let (draft, in_force, versus, intervals) = self.total.finish(span_ms);
        Backtest {
            from: self.from,
            to: self.to,
            draft,
            current: current.then_some(in_force),
            versus,
            suggestions,
            intervals,
            data,
        }
    }
}

/// Calls `each` with every sample of a track as a row.
fn walk(step_ms: i64, inventory: &Inventory, track: &Track, mut each: impl FnMut(&Row)) {
    let Some(instance) = inventory.instances.get(&track.instance) else { return };
    let interval_ms = rhythm(&track.times).max(step_ms);
    let mut row = blank(interval_ms, Arc::new(instance.clone()));
    let up = track.lines.iter().find(|line| line.fill == Fill::Up);
    let families = track.lines.iter().any(|line| !is_field(&line.fill));
    for (i, at) in track.times.iter().enumerate() {
        let value = |line: &Line| line.values.get(i).copied().unwrap_or(f64::NAN);
        let polled = match up {
            Some(line) => !value(line).is_nan(),
            None => track.lines.iter().any(|line| !value(line).is_nan()),
        };
        if !polled {
            continue;
        }
        let Row { reading, verdict, score, .. } = &mut row;
        // Nobody else holds it, so nothing is copied.
        let reading = Arc::make_mut(reading);
        (reading.at, reading.began, reading.up) = (At::from_ms(*at), At::from_ms(*at), true);
        let mut shown = Shown { reading, verdict, score };
        if families {
            shown.clear();
        }
        track.lines.iter().for_each(|line| shown.put(&line.fill, value(line)));
        each(&row);
    }
}

/// How far apart samples usually lie, ms: whoever recorded them may have looked less often than we poll.
fn rhythm(times: &[i64]) -> i64 {
    let mut gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let middle = gaps.len() / 2;
    if gaps.is_empty() {
        return 0;
    }
    *gaps.select_nth_unstable(middle).1
}

/// A row nothing is known of.
fn blank(step_ms: i64, instance: Arc<Instance>) -> Row {
    let reading = Reading {
        at: At::EPOCH,
        began: At::EPOCH,
        up: false,
        failure: None,
        ping_us: None,
        duration_us: 0,
        connect_us: 0,
        failed_in_row: 0,
        interval_ms: u32::try_from(step_ms).unwrap_or(u32::MAX),
        facts: Facts::default(),
    };
    Row {
        role_since: None,
        instance,
        reading: Arc::new(reading),
        last_good: None,
        verdict: Verdict::Up,
        score: None,
    }
}

fn is_field(fill: &Fill) -> bool {
    matches!(fill, Fill::Up | Fill::One(crate::signal::Scalar::Field(_)))
}

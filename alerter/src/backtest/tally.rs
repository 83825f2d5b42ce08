//! Sums of a backtest: how often and how long, by level, service and receiver, and beside the policy in
//! force.
//!
//! Invariant: bounded whatever fired: sums, and the longest intervals.

use std::collections::BTreeMap;

use model::policy::{BacktestData, FiringInterval, INTERVALS_MAX, Outcome, Tally, Versus};
use model::{At, InstanceId};

use super::lane::Fired;

/// Names of instances without samples that are told.
const NAMES_MAX: usize = 50;
/// Services and receivers that are told.
const PARTS_MAX: usize = 20;

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    fired: u64,
    minutes: f64,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.fired += other.fired;
        self.minutes += other.minutes;
    }
}

/// Sums of one policy.
#[derive(Debug, Default)]
struct Sums {
    all: Sum,
    instances: u32,
    flaps: u64,
    levels: BTreeMap<String, Sum>,
    services: BTreeMap<String, Sum>,
    receivers: BTreeMap<String, Sum>,
}

impl Sums {
    fn take(&mut self, id: &InstanceId, fired: &[Fired], to: At) {
        self.instances += u32::from(!fired.is_empty());
        for one in fired {
            let sum = Sum { fired: 1, minutes: one.minutes(to) };
            self.all.add(sum);
            self.flaps += u64::from(one.flapping);
            self.levels.entry(one.level.as_str().into()).or_default().add(sum);
            self.services.entry(id.service().to_string()).or_default().add(sum);
            self.receivers.entry(one.receiver.clone()).or_default().add(sum);
        }
    }

    fn add(&mut self, other: Sums) {
        self.all.add(other.all);
        self.instances += other.instances;
        self.flaps += other.flaps;
        for (into, from) in [
            (&mut self.levels, other.levels),
            (&mut self.services, other.services),
            (&mut self.receivers, other.receivers),
        ] {
            for (name, sum) in from {
                into.entry(name).or_default().add(sum);
            }
        }
    }

    fn outcome(self, span_ms: i64) -> Outcome {
        let a_week = |fired: u64| fired as f64 * 7.0 * 86_400_000.0 / span_ms.max(1) as f64;
        let parts = |of: BTreeMap<String, Sum>| {
            let mut all: Vec<Tally> = of
                .into_iter()
                .map(|(name, sum)| Tally {
                    name,
                    fired: sum.fired,
                    minutes_firing: sum.minutes,
                    pages_per_week: a_week(sum.fired),
                })
                .collect();
            all.sort_by(|a, b| b.fired.cmp(&a.fired).then_with(|| a.name.cmp(&b.name)));
            all.truncate(PARTS_MAX);
            all
        };
        Outcome {
            fired: self.all.fired,
            instances: self.instances,
            minutes_firing: self.all.minutes,
            flaps: self.flaps,
            pages_per_week: a_week(self.all.fired),
            levels: parts(self.levels),
            services: parts(self.services),
            receivers: parts(self.receivers),
        }
    }
}

/// Everything a trial adds up.
#[derive(Debug, Default)]
pub(super) struct Total {
    draft: Sums,
    current: Sums,
    versus: Versus,
    intervals: Vec<(f64, FiringInterval)>,
    /// How often each threshold that is tried began.
    pub tries: Vec<u64>,
    samples: u64,
    expected: u64,
    with_data: Vec<InstanceId>,
}

impl Total {
    /// Alerts of one instance: of the draft and of the policy in force.
    pub fn take(&mut self, id: &InstanceId, (draft, current): (Vec<Fired>, Vec<Fired>), to: At) {
        self.draft.take(id, &draft, to);
        self.current.take(id, &current, to);
        let meets = |one: &Fired, others: &[Fired]| others.iter().any(|o| one.overlaps(o));
        let both = draft.iter().filter(|f| meets(f, &current)).count() as u64;
        self.versus.both += both;
        self.versus.only_draft += draft.len() as u64 - both;
        self.versus.only_current += current.iter().filter(|f| !meets(f, &draft)).count() as u64;
        let shown = |f: Fired| {
            let interval = FiringInterval {
                instance: id.to_string(),
                series: f.series.clone(),
                level: f.level,
                start: f.start,
                end: f.end,
                peak: f.peak,
                flapping: f.flapping,
            };
            (f.minutes(to), interval)
        };
        self.intervals.extend(draft.into_iter().map(shown));
        self.shorten(8 * INTERVALS_MAX);
    }

    /// Keeps the longest when there are more than `most`.
    fn shorten(&mut self, most: usize) {
        if self.intervals.len() > most {
            self.intervals.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.start.cmp(&b.1.start)));
            self.intervals.truncate(INTERVALS_MAX);
        }
    }

    pub fn tried(&mut self, fired: Vec<u64>) {
        self.tries.resize(self.tries.len().max(fired.len()), 0);
        self.tries.iter_mut().zip(fired).for_each(|(all, n)| *all += n);
    }

    /// An instance had so many samples of those that could be.
    pub fn sampled(&mut self, id: &InstanceId, samples: u64, expected: u64) {
        self.samples += samples;
        if samples > 0 {
            // More than expected (raw samples of a faster poll) is no more than all.
            self.expected += expected.max(samples);
            self.with_data.push(id.clone());
        }
    }

    pub fn add(&mut self, other: Total) {
        self.draft.add(other.draft);
        self.current.add(other.current);
        self.versus.both += other.versus.both;
        self.versus.only_draft += other.versus.only_draft;
        self.versus.only_current += other.versus.only_current;
        self.intervals.extend(other.intervals);
        self.shorten(8 * INTERVALS_MAX);
        self.tried(other.tries);
        self.samples += other.samples;
        self.expected += other.expected;
        self.with_data.extend(other.with_data);
    }

    /// Says what was looked at.
    pub fn describe(&self, instances: &[InstanceId], data: &mut BacktestData) {
        let known: std::collections::BTreeSet<&InstanceId> = self.with_data.iter().collect();
        let without: Vec<&InstanceId> = instances.iter().filter(|id| !known.contains(id)).collect();
        data.samples = self.samples;
        data.coverage = match self.expected {
            0 => 0.0,
            expected => self.samples as f64 / expected as f64,
        };
        data.instances = instances.len() as u32;
        data.without_data = without.len() as u32;
        data.without_data_names = without.iter().take(NAMES_MAX).map(ToString::to_string).collect();
    }

    pub fn finish(mut self, span_ms: i64) -> (Outcome, Outcome, Versus, Vec<FiringInterval>) {
        self.shorten(0);
        let days = span_ms.max(1) as f64 / 86_400_000.0;
        let more = self.draft.all.fired as f64 - self.current.all.fired as f64;
        let versus = Versus { per_day: more / days, ..self.versus };
        let intervals = self.intervals.into_iter().map(|(_, interval)| interval).collect();
        (self.draft.outcome(span_ms), self.current.outcome(span_ms), versus, intervals)
    }
}

//! What is judged how: weights, loss curves, floors and gate caps of a profile, as the documents of
//! the scopes above a service change them.
//!
//! Invariant: plain data, checked by `check`; the built-in table passes it; every field knows which
//! document set it. Refuses to know: where a policy document comes from and who may change it.

mod book;
mod effective;
mod field;
mod judge;
mod merge;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use model::At;
use model::score::{Dimension, PolicyUse, SwitchedOff};
use model::score_policy::Off;
use model::service::Profile;

use crate::Signal;
use crate::curve::{BadCurve, Curve};
use crate::grade::RISE_MS;

pub use book::{Policies, Replaced};
pub use judge::judge;
pub use merge::{Base, Layer, Merged, Origin, merge};

/// A gate: a named cap on the score.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Gate {
    /// Confirmed down.
    Down,
    /// Two writable masters claim the same slots or Sentinel group.
    TwoMasters,
    /// `cluster_state:fail`.
    ClusterFail,
    /// The serving master refuses writes.
    WritesRefused,
    /// The data set is being loaded.
    Loading,
    /// Writes were refused for lack of memory.
    OomErrors,
    /// Connections were refused at the limit.
    RejectedConnections,
    /// A shard without a serving master.
    NoMaster,
    /// Automatic failover was promised and is impossible now.
    NoFailover,
    /// None of the required replicas is healthy, and no failover was promised.
    NoReplica,
    /// Three zones are wanted, all members stand in one.
    OneZone,
    /// Slots nobody serves.
    UnservedSlots,
    /// No more than 20 above the worst core child.
    WorstCore,
}

impl Gate {
    /// How many there are.
    pub const COUNT: usize = Gate::ALL.len();

    /// All.
    pub const ALL: [Gate; 13] = [
        Gate::Down,
        Gate::TwoMasters,
        Gate::ClusterFail,
        Gate::WritesRefused,
        Gate::Loading,
        Gate::OomErrors,
        Gate::RejectedConnections,
        Gate::NoMaster,
        Gate::NoFailover,
        Gate::NoReplica,
        Gate::OneZone,
        Gate::UnservedSlots,
        Gate::WorstCore,
    ];

    /// From its written form.
    pub fn parse(text: &str) -> Option<Gate> {
        Gate::ALL.into_iter().find(|g| g.as_str() == text)
    }

    /// Whether a policy may set its cap or switch it off: not where the cap follows from what is
    /// gone, which is a fact and no opinion.
    pub fn is_settable(self) -> bool {
        !matches!(self, Gate::Down | Gate::NoMaster | Gate::UnservedSlots | Gate::WorstCore)
    }

    /// As written in JSON and labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Gate::Down => "down",
            Gate::TwoMasters => "two_masters",
            Gate::ClusterFail => "cluster_fail",
            Gate::WritesRefused => "writes_refused",
            Gate::Loading => "loading",
            Gate::OomErrors => "oom_errors",
            Gate::RejectedConnections => "rejected_connections",
            Gate::NoMaster => "no_master",
            Gate::NoFailover => "no_failover",
            Gate::NoReplica => "no_replica",
            Gate::OneZone => "one_zone",
            Gate::UnservedSlots => "unserved_slots",
            Gate::WorstCore => "worst_core",
        }
    }

    /// The highest score while it holds; for `UnservedSlots` and `WorstCore` the value before what
    /// they depend on is known.
    pub fn cap(self) -> f64 {
        match self {
            Gate::Down | Gate::NoMaster => 0.0,
            Gate::TwoMasters => 10.0,
            Gate::ClusterFail => 20.0,
            Gate::WritesRefused => 39.0,
            Gate::Loading => 40.0,
            Gate::OomErrors | Gate::RejectedConnections | Gate::NoFailover => 59.0,
            Gate::NoReplica => 69.0,
            Gate::OneZone => 79.0,
            Gate::UnservedSlots | Gate::WorstCore => 100.0,
        }
    }
}

/// Whether the state of persistence is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Persistence {
    /// Always.
    Required,
    /// When the server persists at all.
    IfSet,
    /// Never.
    No,
}

/// A policy that cannot be used.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum BadPolicy {
    /// A curve breaks its rule.
    #[error(transparent)]
    Curve(#[from] BadCurve),
    /// Weights that do not sum to 1, or one below 0.05.
    #[error("weights.{dimension}: {reason}")]
    Weight {
        /// Which weight; `sum` for all together.
        dimension: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
}

/// What is judged how.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// The profile it was made for.
    pub profile: Profile,
    /// Weights in `Dimension` order; they sum to 1.
    pub weights: [f64; 4],
    /// Whether A7 counts.
    pub persistence: Persistence,
    /// Replicas each master must have; none: as the inventory declares.
    pub replicas: Option<u32>,
    /// Zones the members of a shard must stand in; none: as the class of the service wants.
    pub zones: Option<u32>,
    /// Commands that take longer are slow, ms.
    pub slowlog_limit_ms: f64,
    /// What is promised to users, as a share of the time; none: the default of the tier.
    pub slo_target: Option<f64>,
    /// How long a better grade must be earned without a break, ms; set by the installation, not by a
    /// document.
    pub(crate) rise_ms: i64,
    curves: [Curve; Signal::COUNT],
    spikes: Curve,
    caps: [f64; Gate::COUNT],
    /// Of each signal or gate the deepest document first.
    off: Vec<Switch>,
    /// Newest revision of the documents it was made from.
    revision: i64,
    /// Of the fields that a document set.
    origins: BTreeMap<String, Origin>,
}

/// What a policy may switch off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Counted {
    Signal(Signal),
    Gate(Gate),
}

impl Counted {
    pub(crate) fn parse(text: &str) -> Option<Counted> {
        let gate = || Gate::parse(text).filter(|g| g.is_settable()).map(Counted::Gate);
        Signal::parse(text).map(Counted::Signal).or_else(gate)
    }

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Counted::Signal(signal) => signal.as_str(),
            Counted::Gate(gate) => gate.as_str(),
        }
    }
}

/// One document's word on whether something counts; none: it does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Switch {
    pub what: Counted,
    pub off: Option<Off>,
    pub origin: Origin,
}

/// What counts as a slow command where nobody set a limit, ms.
const SLOW_MS: f64 = 10.0;

/// Lowest weight of a dimension: below it the dimension might as well be switched off.
const WEIGHT_MIN: f64 = 0.05;

type Knots = &'static [(f64, f64)];

/// One line per signal, in the order of `Signal`.
const CURVES: [(Signal, Knots); Signal::COUNT] = [
    (Signal::A1, &[(0.0, 0.0), (0.05, 20.0), (0.2, 60.0), (0.5, 100.0)]),
    (Signal::A2, &[(2.0, 0.0), (10.0, 20.0), (50.0, 60.0), (200.0, 100.0)]),
    (Signal::A3, &[(0.0, 0.0), (10.0, 40.0), (60.0, 80.0), (300.0, 100.0)]),
    (Signal::A4, &[(0.1, 0.0), (0.5, 40.0), (1.0, 80.0), (2.0, 100.0)]),
    (Signal::A5, &[(0.0, 0.0), (0.5, 25.0), (1.0, 70.0)]),
    (Signal::A6, &[(0.0, 0.0), (1.0, 15.0), (3.0, 60.0), (6.0, 100.0)]),
    (Signal::A7, &[(0.0, 0.0), (1.0, 30.0), (2.0, 50.0), (3.0, 80.0)]),
    (Signal::A8, &[(0.0, 60.0), (0.05, 100.0)]),
    (Signal::M1, &[(0.7, 0.0), (0.8, 20.0), (0.9, 60.0), (0.95, 85.0), (1.0, 100.0)]),
    (Signal::M1c, &[(0.85, 0.0), (0.95, 10.0), (1.0, 20.0)]),
    (Signal::M2, &[(0.0, 0.0), (0.001, 15.0), (0.01, 40.0), (0.05, 80.0)]),
    (Signal::M3, &[(0.7, 0.0), (0.85, 50.0), (0.95, 100.0)]),
    (Signal::M4, &[(1.3, 0.0), (1.5, 10.0), (2.0, 40.0), (3.0, 70.0)]),
    (Signal::M5, &[(30.0, 0.0), (14.0, 20.0), (7.0, 50.0), (2.0, 90.0)]),
    (Signal::M6, &[(0.15, 0.0), (0.3, 20.0), (0.5, 60.0)]),
    (Signal::M7, &[(0.7, 0.0), (0.8, 30.0), (0.9, 70.0), (1.0, 100.0)]),
    (Signal::M8, &[(0.95, 0.0), (0.9, 60.0)]),
    (Signal::C1, &[(0.6, 0.0), (0.7, 10.0), (0.8, 35.0), (0.9, 70.0), (1.0, 100.0)]),
    (Signal::C2, &[(0.0, 0.0), (1.0, 60.0), (10.0, 100.0)]),
    (Signal::C3, &[(50.0, 0.0), (200.0, 30.0), (1000.0, 80.0)]),
    (Signal::C4, &[(2.0, 0.0), (3.0, 25.0), (6.0, 60.0)]),
    (Signal::C5, &[(0.05, 0.0), (0.1, 20.0), (0.25, 60.0)]),
    (Signal::C6, &[(0.2, 0.0), (0.5, 30.0)]),
    (Signal::S1, &[(0.0, 0.0), (1.0, 10.0), (10.0, 40.0), (60.0, 80.0), (300.0, 100.0)]),
    (Signal::S2, &[(0.001, 0.0), (0.01, 30.0), (0.05, 70.0), (0.2, 100.0)]),
    (Signal::S3, &[(50.0, 0.0), (100.0, 15.0), (500.0, 50.0), (2000.0, 90.0)]),
    (Signal::S4, &[(1.0, 0.0), (5.0, 20.0), (20.0, 60.0), (100.0, 100.0)]),
    (Signal::S5, &[(0.5, 0.0), (0.6, 5.0), (0.75, 30.0), (0.9, 70.0), (1.0, 100.0)]),
    (Signal::S6, &[(0.1, 0.0), (0.4, 30.0), (2.0, 80.0)]),
    (Signal::S7, &[(0.0, 0.0), (1.0, 20.0)]),
];

/// The second curve of S6: latency spikes per hour.
const SPIKES: Knots = &[(0.0, 0.0), (3.0, 20.0), (12.0, 50.0), (60.0, 80.0)];

impl Policy {
    /// The built-in policy of a profile.
    pub fn for_profile(profile: Profile) -> Policy {
        let persistence = match profile {
            Profile::Cache => Persistence::No,
            Profile::Store | Profile::Queue => Persistence::Required,
            Profile::Session => Persistence::IfSet,
        };
        Policy {
            profile,
            weights: [0.40, 0.25, 0.15, 0.20],
            persistence,
            replicas: None,
            zones: None,
            slowlog_limit_ms: SLOW_MS,
            slo_target: None,
            rise_ms: RISE_MS,
            curves: CURVES.map(|(_, knots)| Curve::fixed(knots)),
            spikes: Curve::fixed(SPIKES),
            caps: Gate::ALL.map(Gate::cap),
            off: Vec::new(),
            revision: 0,
            origins: BTreeMap::new(),
        }
    }

    /// The document that set the curve of a signal, for people.
    pub fn origin(&self, signal: Signal) -> String {
        self.origin_of(&format!("curves.{}", signal.as_str()))
    }

    /// The document that set a field, for people: `tenant pay, rev 17`, or `profile store`.
    pub fn origin_of(&self, field: &str) -> String {
        let builtin = || format!("profile {}", self.profile.as_str());
        self.origins.get(field).map_or_else(builtin, Origin::to_string)
    }

    /// Which policy a score says it was made by.
    pub fn used(&self) -> PolicyUse {
        PolicyUse { profile: self.profile, revision: self.revision }
    }

    /// Whether both judge alike, whoever said so and in whatever revision.
    pub fn judges_as(&self, other: &Policy) -> bool {
        let bare = |p: &Policy| {
            let mut p =
                Policy { revision: 0, origins: BTreeMap::new(), rise_ms: RISE_MS, ..p.clone() };
            p.off.iter_mut().for_each(|switch| switch.origin = Origin::default());
            p
        };
        bare(self) == bare(other)
    }

    /// Highest score while a gate holds; of `UnservedSlots` and `WorstCore` see there.
    pub(crate) fn cap(&self, gate: Gate) -> f64 {
        self.caps[gate as usize]
    }

    /// Whether it judges the same at any time: switches run out by time alone.
    pub(crate) fn is_steady(&self) -> bool {
        self.off.is_empty()
    }

    /// Who switched it off, when it does not count now.
    pub(crate) fn is_off(&self, what: Counted, now: At) -> Option<&Switch> {
        // A switch that has run out says nothing: what is above it holds again.
        let live = |s: &&Switch| s.off.as_ref().is_none_or(|off| off.until > now);
        self.off.iter().filter(|s| s.what == what).find(live).filter(|s| s.off.is_some())
    }

    /// The signals and gates that do not count now.
    pub(crate) fn counted_out(&self, now: At) -> impl Iterator<Item = (Counted, &Switch)> {
        let mut all: Vec<Counted> = self.off.iter().map(|s| s.what).collect();
        all.sort_unstable();
        all.dedup();
        all.into_iter().filter_map(move |what| Some((what, self.is_off(what, now)?)))
    }

    /// What is switched off now, of what `mine` picks.
    pub(crate) fn switched_off(&self, now: At, mine: impl Fn(Counted) -> bool) -> Vec<SwitchedOff> {
        if self.off.is_empty() {
            return Vec::new();
        }
        let told = |(what, switch): (Counted, &Switch)| {
            let off = switch.off.as_ref()?;
            Some(SwitchedOff {
                signal: what.as_str().to_owned(),
                why: format!("{} ({})", off.reason, switch.origin),
                until: Some(off.until),
            })
        };
        self.counted_out(now).filter(|(what, _)| mine(*what)).filter_map(told).collect()
    }

    /// The curve of a signal (S6: of forks).
    pub fn curve(&self, signal: Signal) -> &Curve {
        &self.curves[signal as usize]
    }

    /// The curve of S6 for latency spikes per hour.
    pub fn spikes(&self) -> &Curve {
        &self.spikes
    }

    /// Replaces the curve of a signal, all knots together. For tests and benches: documents are merged.
    pub fn set_curve(&mut self, signal: Signal, knots: Vec<(f64, f64)>) -> Result<(), BadPolicy> {
        let curve = Curve::new(&format!("curves.{}", signal.as_str()), knots)?;
        self.curves[signal as usize] = curve;
        Ok(())
    }

    /// "At least" this loss while the signal's condition holds (M2 any eviction where data must be
    /// kept, A8 any slot suspected, C5 clients cut off at their buffer limit); 0 for the others.
    pub fn floor(&self, signal: Signal) -> f64 {
        match signal {
            Signal::M2 if self.profile == Profile::Cache => 0.0,
            Signal::M2 | Signal::A8 | Signal::C5 => 40.0,
            _ => 0.0,
        }
    }

    /// Evidence of a signal: its largest possible loss / 100.
    pub fn evidence(&self, signal: Signal) -> f64 {
        let own = self.curve(signal).worst().max(self.floor(signal));
        let worst = if signal == Signal::S6 { own.max(self.spikes.worst()) } else { own };
        worst / 100.0
    }

    /// Checks weights and curves; the error names the place and what is allowed.
    pub fn check(&self) -> Result<(), BadPolicy> {
        let dimensions = [
            Dimension::Availability,
            Dimension::Memory,
            Dimension::Connections,
            Dimension::Slowlog,
        ];
        for (dimension, weight) in dimensions.into_iter().zip(self.weights) {
            if !(WEIGHT_MIN..=1.0).contains(&weight) {
                let reason = format!("{weight}, allowed are {WEIGHT_MIN} to 1");
                return Err(BadPolicy::Weight { dimension: dimension.as_str(), reason });
            }
        }
        let sum: f64 = self.weights.iter().sum();
        if (sum - 1.0).abs() > 1e-9 {
            let reason = format!("{sum}, all four must sum to 1");
            return Err(BadPolicy::Weight { dimension: "sum", reason });
        }
        for signal in Signal::all() {
            self.curve(*signal).check(&format!("curves.{}", signal.as_str()))?;
        }
        Ok(self.spikes.check("curves.S6.spikes")?)
    }
}

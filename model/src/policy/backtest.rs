//! What a policy would have done: the answer of a backtest.
//!
//! Invariant: what was not looked at is told (`data`), never counted as calm.

use serde::{Deserialize, Serialize};

use super::AlertLevel;
use crate::At;

/// Longest span of a backtest, days.
pub const BACKTEST_DAYS_MAX: i64 = 30;
/// Intervals of firing that are listed, the longest first.
pub const INTERVALS_MAX: usize = 200;

/// A policy over a span of the past, beside the one in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backtest {
    /// Beginning of the span.
    pub from: At,
    /// End of the span.
    pub to: At,
    /// With the document that was sent.
    pub draft: Outcome,
    /// With what is in force; none: nothing is.
    pub current: Option<Outcome>,
    /// The two beside each other.
    pub versus: Versus,
    /// Thresholds that would have paged at most as often as was asked for.
    pub suggestions: Vec<Suggestion>,
    /// When it would have fired, the longest first, at most `INTERVALS_MAX`.
    pub intervals: Vec<FiringInterval>,
    /// What was looked at.
    pub data: BacktestData,
}

/// How often and how long it would have fired.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Outcome {
    /// Alerts that would have begun.
    pub fired: u64,
    /// Instances with at least one.
    pub instances: u32,
    /// Minutes in which an alert fired, summed over alerts.
    pub minutes_firing: f64,
    /// Alerts that were kept firing because they swung.
    pub flaps: u64,
    /// Alerts that would have begun per week.
    pub pages_per_week: f64,
    /// By level.
    pub levels: Vec<Tally>,
    /// By service, the noisiest first.
    pub services: Vec<Tally>,
    /// By receiver; without one the name is empty.
    pub receivers: Vec<Tally>,
}

/// A part of an outcome.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Level, service or receiver.
    pub name: String,
    /// Alerts that would have begun.
    pub fired: u64,
    /// Minutes firing.
    pub minutes_firing: f64,
    /// Alerts per week.
    pub pages_per_week: f64,
}

/// Two policies over the same span.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Versus {
    /// Alerts of the draft while the present policy is quiet on that series.
    pub only_draft: u64,
    /// Alerts of the present policy while the draft is quiet on that series.
    pub only_current: u64,
    /// Alerts of the draft that overlap one of the present policy.
    pub both: u64,
    /// More alerts a day than now; below 0: fewer.
    pub per_day: f64,
}

/// A threshold that pages at most as often as was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Suggestion {
    /// Level.
    pub level: AlertLevel,
    /// `fire`, the tightest of those tried.
    pub fire: f64,
    /// `clear`, as far from it as in the draft.
    pub clear: f64,
    /// How often this level would have begun per week.
    pub pages_per_week: f64,
}

/// One alert that would have fired.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FiringInterval {
    /// Instance.
    pub instance: String,
    /// Labels of the sub-series: `slave_ip="10.0.0.9"`; empty: it has one value.
    pub series: String,
    /// Level.
    pub level: AlertLevel,
    /// When it would have fired.
    pub start: At,
    /// When it would have ended; none: it still fired at the end of the span.
    pub end: Option<At>,
    /// The value furthest from normal while it fired.
    pub peak: Option<f64>,
    /// It was kept firing because it swung.
    pub flapping: bool,
}

/// What a backtest looked at.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BacktestData {
    /// `prometheus` or `memory`.
    pub source: String,
    /// Whose window functions.
    pub dialect: String,
    /// Seconds between samples; 0: samples as they were scraped.
    pub step_s: i64,
    /// Samples that were judged.
    pub samples: u64,
    /// Share of the span for which there are samples, over the instances that have any, 0 to 1.
    pub coverage: f64,
    /// Instances it applies to.
    pub instances: u32,
    /// Of them without any sample: nothing is known of these.
    pub without_data: u32,
    /// The first of them.
    pub without_data_names: Vec<String>,
    /// Series that were asked for.
    pub series: Vec<String>,
    /// What must be known to read it: a coarser step, a part left out.
    pub notes: Vec<String>,
}

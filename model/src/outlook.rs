//! What a service is heading for, and what its users got. Shapes only; the judgement is in `scorer`.

use serde::{Deserialize, Serialize};

use crate::At;

/// Days to full of one service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CapacityPage {
    /// Of what moment.
    pub as_of: At,
    /// Its id.
    pub service: String,
    /// Where the past comes from: `daily`, or `daily and prometheus`.
    pub source: String,
    /// Whole days of the shard that was seen longest.
    pub days: u32,
    /// One line for each shard and resource, soonest full first.
    pub lines: Vec<CapacityLine>,
}

/// One shard and resource.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CapacityLine {
    /// Shard.
    pub shard: u32,
    /// `memory`, `connections`, `host_memory`.
    pub resource: String,
    /// Whole days it is made from.
    pub days: u32,
    /// Made from fewer than 14.
    pub weak: bool,
    /// What will be met, bytes or connections.
    pub limit: f64,
    /// Level now, noise removed.
    pub level: f64,
    /// Growth a day.
    pub per_day: f64,
    /// Days at the earliest (80 %); none: no end in sight.
    pub low: Option<f64>,
    /// Central estimate; none: no end in sight.
    pub mid: Option<f64>,
    /// Days at the latest; none: no end in sight.
    pub high: Option<f64>,
    /// The hour it is likely to happen, where the week has a shape.
    pub hour: Option<At>,
    /// Jumps that are no growth.
    pub steps: Vec<CapacityStep>,
    /// Days left out as spikes, at their beginning.
    pub spikes: Vec<At>,
    /// All of it in a sentence; also why there is no forecast.
    pub text: String,
    /// Whether there is a forecast.
    pub known: bool,
}

/// A jump.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct CapacityStep {
    /// Day of the new level, at its beginning.
    pub at: At,
    /// By how much.
    pub by: f64,
    /// The nearest change within 24 h; empty when none is known.
    pub near: String,
}

/// What the users of one service got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SloPage {
    /// Of what moment.
    pub as_of: At,
    /// Its id.
    pub service: String,
    /// Wanted share of good seconds; none: none is wanted.
    pub target: Option<f64>,
    /// Days the budget is for.
    pub period_days: u32,
    /// Since when seconds are counted; none before the first poll.
    pub since: Option<At>,
    /// Seconds of the period.
    pub seconds: SloSeconds,
    /// Share of good seconds at least, and at most: what is unknown may have been either.
    pub availability: Option<[f64; 2]>,
    /// The same without planned work.
    pub adjusted: Option<[f64; 2]>,
    /// Seconds the target leaves for badness in the period.
    pub budget_s: Option<f64>,
    /// Part of the budget that is left, at least and at most; below 0 it is overdrawn.
    pub budget_remaining: Option<[f64; 2]>,
    /// How fast it is used up.
    pub windows: Vec<SloWindow>,
    /// Conditions that are told.
    pub alerts: Vec<SloAlert>,
    /// Too much of the last six hours is unknown.
    pub too_much_unknown: bool,
}

/// Seconds by state.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct SloSeconds {
    /// The master of the slots answered.
    pub good: f64,
    /// It did not.
    pub bad: f64,
    /// Of them while planned work ran.
    pub bad_planned: f64,
    /// Nobody can say.
    pub unknown: f64,
}

/// A window before now.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SloWindow {
    /// `5m` … `3d`.
    pub window: String,
    /// Bad seconds outside planned work.
    pub bad_s: f64,
    /// Share nobody can tell about.
    pub unknown_ratio: f64,
    /// Times the rate that uses the budget up in its period; none without a target.
    pub burn: Option<f64>,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct SloAlert {
    /// `page` or `ticket`.
    pub kind: String,
    /// Both windows must burn faster.
    pub factor: f64,
    /// The long window.
    pub long: String,
    /// The short window.
    pub short: String,
    /// Whether it holds.
    pub holds: bool,
}

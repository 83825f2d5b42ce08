//! How good the alerts were: per policy and tenant over thirty days, what fired, what was done about it,
//! and which of them are noise.
//!
//! Invariant: a verdict follows from the numbers beside it; what cannot be known yet is no verdict.

use serde::{Deserialize, Serialize};

use crate::At;

/// How far back a report looks, days.
pub const QUALITY_DAYS: i64 = 30;
/// A policy that did not fire for so long may not be able to, days.
pub const SILENT_DAYS: i64 = 90;
/// Shorter than this it was over before anybody could look, ms.
pub const SHORT_MS: i64 = 5 * 60_000;
/// Fired this often without one act it teaches people to look away.
pub const IGNORED_FROM: i64 = 10;
/// More than this a week from one policy in one tenant is noise: two a working day.
pub const NOISY_A_WEEK: f64 = 10.0;
/// Steps of one alert from which on it swung.
pub const SWINGS: i64 = 6;

/// One policy in one tenant.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct QualityLine {
    /// Tenant; empty: the platform.
    pub tenant: String,
    /// Policy; of alerts evaluated elsewhere their name.
    pub policy: String,
    /// Alerts that began.
    pub fired: i64,
    /// Of them taken by an Alertmanager or a receiver.
    pub delivered: i64,
    /// Of them acted on: acknowledged, or an incident with an operation.
    pub acted: i64,
    /// Of them acknowledged.
    pub acknowledged: i64,
    /// Of them with an incident.
    pub incidents: i64,
    /// Of them over within five minutes.
    pub short: i64,
    /// Of them that swung.
    pub flapping: i64,
    /// Of them withheld by a maintenance or a calendar.
    pub withheld: i64,
    /// Mean time to acknowledge, ms.
    pub mtta_ms: Option<i64>,
    /// Mean time to resolve, ms.
    pub mttr_ms: Option<i64>,
    /// Alerts a week.
    pub pages_per_week: f64,
    /// When it fired last; none: not in the history.
    pub last_fired: Option<At>,
    /// What is wrong with it: `noisy`, `never_acted_on`, `flapping`, `short`, `silent`; empty: nothing.
    pub verdicts: Vec<String>,
}

/// The report of a night.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QualityReport {
    /// When it was made.
    pub as_of: At,
    /// Began at or after.
    pub from: At,
    /// Policies and tenants with alerts, the noisiest first; then the silent ones.
    pub items: Vec<QualityLine>,
    /// How many.
    pub count: usize,
    /// Always none: a report is answered whole.
    pub next: Option<String>,
}

/// What the numbers of a line say.
pub fn verdicts(line: &QualityLine) -> Vec<String> {
    let most = |part: i64| line.fired >= 4 && part * 2 > line.fired;
    let all = [
        ("noisy", line.pages_per_week > NOISY_A_WEEK),
        ("never_acted_on", line.fired >= IGNORED_FROM && line.acted == 0),
        ("flapping", line.flapping > 0),
        ("short", most(line.short)),
        ("silent", line.fired == 0),
    ];
    all.into_iter().filter(|(_, is)| *is).map(|(word, _)| word.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_follows_from_the_numbers() {
        let told = |line: QualityLine| verdicts(&line);
        let base = QualityLine { fired: 12, acted: 1, pages_per_week: 2.8, ..Default::default() };
        assert!(told(base.clone()).is_empty());
        assert_eq!(told(QualityLine { acted: 0, ..base.clone() }), ["never_acted_on"]);
        assert_eq!(told(QualityLine { pages_per_week: 11.0, ..base.clone() }), ["noisy"]);
        assert_eq!(told(QualityLine { short: 7, flapping: 1, ..base }), ["flapping", "short"]);
        assert_eq!(told(QualityLine::default()), ["silent"]);
    }
}

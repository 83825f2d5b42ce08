//! Thresholds of the shipped policies, so that a line on a panel stands where the alert fires.

use model::policy::AlertLevel;

use crate::board::Color;

/// Values from which a panel about that policy's signal is coloured; panics for an unknown policy.
pub fn thresholds(policy: &str) -> Vec<(f64, Color)> {
    let one = alerter::defaults::policies().iter().find(|p| p.policy == policy);
    let one = one.unwrap_or_else(|| panic!("no shipped policy is called {policy}"));
    let level = |level: AlertLevel, color| Some((one.levels.get(&level)?.fire?, color));
    let steps: Vec<_> =
        [level(AlertLevel::Warning, Color::Warn), level(AlertLevel::Critical, Color::Crit)]
            .into_iter()
            .flatten()
            .collect();
    assert!(!steps.is_empty(), "{policy} has no threshold");
    steps
}

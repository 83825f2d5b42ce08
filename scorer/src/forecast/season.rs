//! The hour of the week: what is usual at this hour, and at which hour a limit will be met.
//!
//! Invariant: an hour nobody saw has no value; weeks begin on Monday, UTC. Refuses to know clocks.

use super::segment::median;
use super::{DAYS_WEAK, Forecast};

/// Hours of a week.
pub const HOURS: usize = 168;

/// 1970-01-01 was a Thursday: its first hour is the 72nd of a week.
const FIRST: i64 = 72;

/// How far behind the central estimate the hour is looked for: one whole week more than is needed.
const LOOK_HOURS: i64 = 14 * 24;

/// The peak of one hour.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HourPeak {
    /// Hours since 1970-01-01T00 UTC.
    pub hour: i64,
    /// Highest value seen in it.
    pub value: f64,
}

/// A median for each hour of the week.
#[derive(Debug, Clone, PartialEq)]
pub struct Season {
    medians: Vec<f64>,
}

/// Which hour of the week it is, from Monday 00:00 UTC.
pub fn hour_of_week(hour: i64) -> usize {
    (hour + FIRST).rem_euclid(HOURS as i64) as usize
}

impl Season {
    /// From peaks of at least 14 days; none from fewer.
    pub fn of(peaks: impl Iterator<Item = HourPeak>) -> Option<Season> {
        let mut by_hour: Vec<Vec<f64>> = vec![Vec::new(); HOURS];
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        for peak in peaks.filter(|p| p.value.is_finite()) {
            (first, last) = (first.min(peak.hour), last.max(peak.hour));
            by_hour[hour_of_week(peak.hour)].push(peak.value);
        }
        if last.saturating_sub(first) + 1 < DAYS_WEAK as i64 * 24 {
            return None;
        }
        let middle = |mut values: Vec<f64>| {
            values.sort_unstable_by(f64::total_cmp);
            median(&values).unwrap_or(f64::NAN)
        };
        Some(Season { medians: by_hour.into_iter().map(middle).collect() })
    }

    /// The median at an hour (since 1970); none when that hour of the week was never seen.
    pub fn at(&self, hour: i64) -> Option<f64> {
        Some(self.medians[hour_of_week(hour)]).filter(|m| m.is_finite())
    }

    /// The first hour after `now` (hours since 1970) in which the trend with the season of its
    /// residuals reaches the limit: near the central estimate, and none without an end in sight.
    pub fn hour_of_crossing(&self, forecast: &Forecast, now: i64) -> Option<i64> {
        if !forecast.mid.is_finite() {
            return None;
        }
        // A season moves the moment within a week: earlier than that the trend alone is far below.
        let middle = now + (forecast.mid * 24.0) as i64;
        let from = (middle - HOURS as i64).max(now);
        let reaches = |hour: &i64| {
            let trend = forecast.level + forecast.slope * (hour - now) as f64 / 24.0;
            self.at(*hour).is_some_and(|residual| trend + residual >= forecast.limit)
        };
        (from..=middle + LOOK_HOURS).find(reaches)
    }
}

/// The season of hourly peaks about the trend of their daily peaks.
pub(crate) fn of_residuals(
    peaks: impl Iterator<Item = HourPeak>,
    forecast: &Forecast,
    now: i64,
) -> Option<Season> {
    // Before a step the level was another one: each step is taken out of what came before it.
    let steps = |hour: i64| -> f64 {
        forecast.steps.iter().filter(|s| hour < s.day * 24).map(|s| s.by).sum()
    };
    Season::of(peaks.map(|p| {
        let trend = forecast.level + forecast.slope * (p.hour - now) as f64 / 24.0;
        HourPeak { hour: p.hour, value: p.value + steps(p.hour) - trend }
    }))
}

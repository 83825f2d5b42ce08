//! Days to full: where a growing quantity meets its limit, with an interval that says how sure that is.
//!
//! Invariant: a step (a deploy, a load) is no growth and a spike is no step; no end in sight is infinite,
//! never a large number; too short a past is refused, not extrapolated. Refuses to know what the
//! quantity is, and clocks.

mod say;
mod season;
mod segment;

pub use say::sentence;
pub(crate) use season::of_residuals as season_of_residuals;
pub use season::{HOURS, HourPeak, Season, hour_of_week};
pub use segment::Step;

use segment::{Segment, median, segments};

/// Daily peaks a forecast needs.
pub const DAYS_MIN: usize = 7;

/// Below this many daily peaks a forecast is marked as weak.
pub const DAYS_WEAK: usize = 14;

/// Daily peaks looked at: what is older tells of another application.
pub const DAYS_MAX: usize = 28;

/// Quantile of the normal distribution that leaves 10 % above: two-sided 80 %.
const Z_80: f64 = 1.2816;

/// The peak of one day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Peak {
    /// Days since 1970-01-01 UTC.
    pub day: i64,
    /// Highest value seen that day.
    pub value: f64,
}

/// Where it leads.
#[derive(Debug, Clone, PartialEq)]
pub struct Forecast {
    /// Daily peaks it was made from, spikes included.
    pub days: usize,
    /// Made from fewer than 14 days.
    pub weak: bool,
    /// Limit it was made for.
    pub limit: f64,
    /// Level now, noise removed.
    pub level: f64,
    /// Growth per day; not above 0: no end in sight.
    pub slope: f64,
    /// Days until the limit is reached at the earliest (80 %); infinite: no end in sight.
    pub low: f64,
    /// Central estimate.
    pub mid: f64,
    /// At the latest.
    pub high: f64,
    /// Jumps that split the past.
    pub steps: Vec<Step>,
    /// Days that were left out as spikes.
    pub spikes: Vec<i64>,
}

/// A past too short to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} days seen, {DAYS_MIN} are needed")]
pub struct TooShort(pub usize);

/// Forecasts from daily peaks in the order of days. `now` is the present in days since 1970, with its
/// fraction; a peak stands for the middle of its day.
pub fn forecast(peaks: &[Peak], limit: f64, now: f64) -> Result<Forecast, TooShort> {
    let peaks = &peaks[peaks.len().saturating_sub(DAYS_MAX)..];
    if peaks.len() < DAYS_MIN {
        return Err(TooShort(peaks.len()));
    }
    let parted = segments(peaks, limit);
    let slopes = Slopes::of(&parted.segments);
    let slope = slopes.middle();
    let level = parted.segments.last().map_or(f64::NAN, |last| last.level(slope, now));
    let (below, above) = spread(&parted.segments, slope);
    let (slower, faster) = slopes.interval(&parted.segments);
    let until = |level: f64, slope: f64| days_until(limit, level, slope);
    let mid = until(level, slope);
    Ok(Forecast {
        days: peaks.len(),
        weak: peaks.len() < DAYS_WEAK,
        limit,
        level,
        slope,
        // The interval holds the estimate, also where ranks of few slopes would not.
        low: until(level + above, faster.max(slope)).min(mid),
        mid,
        high: until(level + below, slower.min(slope)).max(mid),
        steps: parted.steps,
        spikes: parted.spikes,
    })
}

/// Days until a level that grows meets the limit.
pub(crate) fn days_until(limit: f64, level: f64, slope: f64) -> f64 {
    match limit - level {
        room if room <= 0.0 => 0.0,
        _ if slope <= 0.0 => f64::INFINITY,
        room => room / slope,
    }
}

/// All slopes between two days of one segment, sorted.
struct Slopes(Vec<f64>);

impl Slopes {
    fn of(segments: &[Segment]) -> Slopes {
        let mut all = Vec::with_capacity(DAYS_MAX * (DAYS_MAX - 1) / 2);
        for segment in segments {
            let points = &segment.points;
            for (i, (t, y)) in points.iter().enumerate() {
                all.extend(points[i + 1..].iter().map(|(u, z)| (z - y) / (u - t)));
            }
        }
        all.sort_unstable_by(f64::total_cmp);
        Slopes(all)
    }

    /// The median; none of nothing is standing still.
    fn middle(&self) -> f64 {
        median(&self.0).unwrap_or(0.0)
    }

    /// The 80 % interval: ranks by the variance of Kendall's score, summed over segments.
    fn interval(&self, segments: &[Segment]) -> (f64, f64) {
        let variance = |n: f64| n * (n - 1.0) * (2.0 * n + 5.0) / 18.0;
        let sum: f64 = segments.iter().map(|s| variance(s.points.len() as f64)).sum();
        let (c, n) = (Z_80 * sum.sqrt(), self.0.len() as f64);
        let at = |rank: f64| {
            let index = rank.clamp(1.0, n.max(1.0)) as usize - 1;
            self.0.get(index).copied().unwrap_or(0.0)
        };
        (at(((n - c) / 2.0).floor()), at(((n + c) / 2.0).ceil() + 1.0))
    }
}

/// 10th and 90th percentile of all residuals about their segments' levels.
fn spread(segments: &[Segment], slope: f64) -> (f64, f64) {
    let mut all: Vec<f64> = segments.iter().flat_map(|s| s.residuals(slope)).collect();
    all.sort_unstable_by(f64::total_cmp);
    let at = |q: f64| {
        let index = (q * (all.len().saturating_sub(1)) as f64).round() as usize;
        all.get(index).copied().unwrap_or(0.0)
    };
    (at(0.1), at(0.9))
}

#[cfg(test)]
mod tests;

//! Steps and spikes: where a past splits, and what in it is no part of it.
//!
//! Invariant: every day is in exactly one segment or a spike. Refuses to know slopes' intervals.

use super::Peak;

/// A difference further than so many standard deviations (by MAD) from the usual one is a jump.
const DEVIATIONS: f64 = 6.0;

/// Standard deviations in one median absolute deviation of normal noise.
const MAD_SIGMA: f64 = 1.4826;

/// Smaller jumps than this part of the limit change no plan.
const STEP_MIN: f64 = 0.05;

/// A jump that is undone by half within this many days is a spike.
const SPIKE_DAYS: i64 = 2;

/// A jump that stayed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    /// First day of the new level.
    pub day: i64,
    /// By how much, beyond the usual growth.
    pub by: f64,
}

/// Days without a jump: (day, value), the day at its middle.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Segment {
    pub points: Vec<(f64, f64)>,
}

impl Segment {
    /// Median of the values, each moved along the slope to `at`.
    pub fn level(&self, slope: f64, at: f64) -> f64 {
        let mut moved: Vec<f64> = self.points.iter().map(|(t, y)| y + slope * (at - t)).collect();
        moved.sort_unstable_by(f64::total_cmp);
        median(&moved).unwrap_or(f64::NAN)
    }

    pub fn residuals(&self, slope: f64) -> impl Iterator<Item = f64> + '_ {
        let level = self.level(slope, 0.0);
        self.points.iter().map(move |(t, y)| y - slope * t - level)
    }
}

/// A past in parts.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Parted {
    pub segments: Vec<Segment>,
    pub steps: Vec<Step>,
    pub spikes: Vec<i64>,
}

/// Median of sorted values.
pub(super) fn median(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 1 => Some(sorted[half]),
        _ => Some((sorted[half - 1] + sorted[half]) / 2.0),
    }
}

/// How much the peaks usually differ from day to day, and how far from that is a jump.
fn usual(peaks: &[Peak], limit: f64) -> (f64, f64) {
    let pairs = peaks.windows(2);
    let mut daily: Vec<f64> =
        pairs.map(|p| (p[1].value - p[0].value) / (p[1].day - p[0].day).max(1) as f64).collect();
    daily.sort_unstable_by(f64::total_cmp);
    let middle = median(&daily).unwrap_or(0.0);
    let mut off: Vec<f64> = daily.iter().map(|d| (d - middle).abs()).collect();
    off.sort_unstable_by(f64::total_cmp);
    let mad = median(&off).unwrap_or(0.0);
    (middle, (DEVIATIONS * MAD_SIGMA * mad).max(STEP_MIN * limit))
}

/// Splits peaks (each day once, days rising, at least one) at their steps and drops their spikes.
pub(super) fn segments(peaks: &[Peak], limit: f64) -> Parted {
    let (growth, far) = usual(peaks, limit);
    let jump = |from: &Peak, to: &Peak| to.value - from.value - growth * (to.day - from.day) as f64;
    let mut parted = Parted { segments: vec![Segment::default()], ..Parted::default() };
    let mut last: Option<&Peak> = None;
    let mut rest = peaks;
    while let Some((peak, later)) = rest.split_first() {
        let by = last.map_or(0.0, |last| jump(last, peak));
        if by.abs() > far {
            let back = |p: &&Peak| {
                let left = last.map_or(0.0, |last| jump(last, p));
                left * by.signum() <= by.abs() / 2.0
            };
            let soon = later.iter().take_while(|p| p.day - peak.day <= SPIKE_DAYS);
            if let Some(days) = soon.clone().position(|p| back(&p)) {
                parted.spikes.extend(rest[..=days].iter().map(|p| p.day));
                rest = &rest[days + 1..];
                continue;
            }
            parted.steps.push(Step { day: peak.day, by });
            parted.segments.push(Segment::default());
        }
        if let Some(segment) = parted.segments.last_mut() {
            segment.points.push((peak.day as f64 + 0.5, peak.value));
        }
        last = Some(peak);
        rest = later;
    }
    parted
}

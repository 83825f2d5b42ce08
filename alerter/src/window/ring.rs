//! The latest samples of one series of one instance, at 12 bytes each.
//!
//! Invariant: at most `POINTS_MAX` points, whatever range and rhythm of polls; the newest sample is
//! always the last point. Allocates only while it fills.

use serde::{Deserialize, Serialize};

use super::Samples;

/// A range of so many intervals is kept sample by sample: 30 min at 15 s.
pub const RAW_INTERVALS: i64 = 120;
/// A longer range is kept as so many points: 6 h are a point every 3 min.
pub const COARSE_POINTS: i64 = 120;
/// Most points of a ring: both ends of 120 steps.
pub const POINTS_MAX: usize = 121;

/// Which samples a ring leaves out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thin {
    /// Polls that come sooner than the usual interval (turbo, an event), by a tenth of it.
    Interval(u32),
    /// All but the last sample of each step of so many ms.
    Step(u32),
}

impl Thin {
    /// How a range is kept where polls come every `interval_ms`.
    pub fn of(range_ms: i64, interval_ms: i64) -> Thin {
        let interval_ms = interval_ms.clamp(1, i64::from(u32::MAX));
        match range_ms <= RAW_INTERVALS * interval_ms {
            true => Thin::Interval(interval_ms as u32),
            false => Thin::Step((range_ms / COARSE_POINTS).clamp(1, i64::from(u32::MAX)) as u32),
        }
    }

    /// Points a range of `range_ms` needs.
    pub fn points(self, range_ms: i64) -> usize {
        let (Thin::Interval(step) | Thin::Step(step)) = self;
        (range_ms / i64::from(step) + 1).clamp(1, POINTS_MAX as i64) as usize
    }
}

/// The points.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Ring {
    base: i64,
    offsets: Vec<u32>,
    #[serde(with = "values")]
    values: Vec<f64>,
}

impl Ring {
    /// Adds a sample, newer than all before, and forgets what no range of `range_ms` can reach.
    pub fn push(&mut self, at_ms: i64, value: f64, thin: Thin, range_ms: i64) {
        let n = self.offsets.len();
        let newest = self.offsets.last().map(|o| self.base + i64::from(*o));
        if newest.is_some_and(|newest| at_ms <= newest) {
            // A clock set back: what was before lies in no range any more.
            self.clear();
        } else if n >= 2 && self.crowds(at_ms, thin) {
            self.offsets.pop();
            self.values.pop();
        }
        self.forget(at_ms - range_ms, thin.points(range_ms));
        if self.offsets.is_empty() {
            self.base = at_ms;
        }
        let Ok(offset) = u32::try_from(at_ms - self.base) else {
            // Longer than any range (49 days) without a sample.
            self.clear();
            return self.push(at_ms, value, thin, range_ms);
        };
        if self.offsets.len() == self.offsets.capacity() {
            // Exactly what the range needs: doubling would waste up to half of it, 10 000 times.
            let more = (thin.points(range_ms) - self.offsets.len()).clamp(1, 16);
            self.offsets.reserve_exact(more);
            self.values.reserve_exact(more);
        }
        self.offsets.push(offset);
        self.values.push(value);
    }

    /// Whether the newest point was only there to be the newest.
    fn crowds(&self, at_ms: i64, thin: Thin) -> bool {
        let time = |i: usize| self.base + i64::from(self.offsets[i]);
        let (last, before) = (time(self.offsets.len() - 1), time(self.offsets.len() - 2));
        match thin {
            Thin::Interval(ms) => last - before < i64::from(ms) - i64::from(ms) / 10,
            Thin::Step(ms) => last.div_euclid(i64::from(ms)) == at_ms.div_euclid(i64::from(ms)),
        }
    }

    fn forget(&mut self, start_ms: i64, points: usize) {
        let old = self.offsets.partition_point(|o| self.base + i64::from(*o) < start_ms);
        let surplus = (self.offsets.len() + 1).saturating_sub(points);
        let gone = old.max(surplus);
        if gone == 0 {
            return;
        }
        self.offsets.drain(..gone);
        self.values.drain(..gone);
        let Some(first) = self.offsets.first().copied() else { return };
        self.base += i64::from(first);
        self.offsets.iter_mut().for_each(|o| *o -= first);
    }

    fn clear(&mut self) {
        self.offsets.clear();
        self.values.clear();
    }

    /// What it holds.
    pub fn samples(&self) -> Samples<'_> {
        Samples { offsets: &self.offsets, values: &self.values, base: self.base }
    }

    /// Points it has room for.
    pub fn capacity(&self) -> usize {
        self.offsets.capacity()
    }

    /// Time of the newest sample, Unix milliseconds.
    pub fn newest(&self) -> Option<i64> {
        self.offsets.last().map(|o| self.base + i64::from(*o))
    }
}

/// JSON has no NaN and no infinities: values are saved as their bits.
mod values {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(values: &[f64], s: S) -> Result<S::Ok, S::Error> {
        let bits: Vec<u64> = values.iter().map(|v| v.to_bits()).collect();
        bits.serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
        let bits = Vec::<u64>::deserialize(d)?;
        Ok(bits.into_iter().map(f64::from_bits).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const T0: i64 = 1_763_800_000_000;
    const MINUTE: i64 = 60_000;

    fn times(ring: &Ring) -> Vec<i64> {
        let s = ring.samples();
        (0..s.len()).map(|i| s.time(i) - T0).collect()
    }

    fn filled(thin: Thin, range_ms: i64, at: impl Iterator<Item = i64>) -> Ring {
        let mut ring = Ring::default();
        at.for_each(|ms| ring.push(T0 + ms, ms as f64, thin, range_ms));
        ring
    }

    #[test]
    fn a_range_of_120_intervals_is_kept_sample_by_sample_and_a_longer_one_in_120_steps() {
        assert_eq!(Thin::of(30 * MINUTE, 15_000), Thin::Interval(15_000));
        assert_eq!(Thin::of(6 * 60 * MINUTE, 15_000), Thin::Step(180_000));
        assert_eq!(Thin::of(6 * 60 * MINUTE, 15_000).points(6 * 60 * MINUTE), 121);
        assert_eq!(Thin::of(5 * MINUTE, 15_000).points(5 * MINUTE), 21);
    }

    #[test]
    fn a_raw_ring_holds_every_sample_of_its_range_both_ends_included() {
        let ring = filled(Thin::Interval(15_000), MINUTE, (0..=20).map(|i| i * 15_000));
        assert_eq!(times(&ring), [240_000, 255_000, 270_000, 285_000, 300_000]);
    }

    #[test]
    fn polls_of_turbo_are_thinned_to_the_usual_interval_and_the_newest_is_always_there() {
        let turbo = (0..=60).map(|s| s * 1000);
        let mut ring = filled(Thin::Interval(15_000), 5 * MINUTE, turbo);
        let kept = times(&ring);
        assert_eq!(kept.last(), Some(&60_000));
        let body = &kept[..kept.len() - 1];
        assert!(body.windows(2).all(|p| p[1] - p[0] >= 13_500), "{kept:?}");
        ring.push(T0 + 75_000, 1.0, Thin::Interval(15_000), 5 * MINUTE);
        assert_eq!(times(&ring).last(), Some(&75_000));
    }

    #[test]
    fn a_coarse_ring_keeps_the_last_sample_of_each_step() {
        let range = 6 * 60 * MINUTE;
        let thin = Thin::of(range, 15_000);
        let ring = filled(thin, range, (0..=4 * 60 * 7).map(|i| i * 15_000));
        let kept = times(&ring);
        assert!(kept.len() <= POINTS_MAX && kept.len() >= 119, "{}", kept.len());
        let step = 180_000;
        let of = |ms: &i64| (T0 + ms).div_euclid(step);
        assert!(kept.windows(2).all(|p| of(&p[0]) + 1 == of(&p[1])));
    }

    #[test]
    fn a_clock_set_back_begins_anew() {
        let mut ring = filled(Thin::Interval(15_000), MINUTE, [0, 15_000].into_iter());
        ring.push(T0 - 3_600_000, 1.0, Thin::Interval(15_000), MINUTE);
        assert_eq!(times(&ring), [-3_600_000]);
    }

    #[test]
    fn a_saved_ring_comes_back_bit_for_bit() {
        let mut ring = Ring::default();
        for (i, v) in [1.5, f64::NAN, f64::NEG_INFINITY, -0.0].into_iter().enumerate() {
            ring.push(T0 + i as i64 * 15_000, v, Thin::Interval(15_000), MINUTE);
        }
        let back: Ring = serde_json::from_str(&serde_json::to_string(&ring).unwrap()).unwrap();
        let bits = |r: &Ring| r.values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!((bits(&back), times(&back)), (bits(&ring), times(&ring)));
    }

    proptest! {
        #[test]
        fn no_rhythm_of_polls_makes_a_ring_too_long_or_lose_its_newest_sample(
            gaps in proptest::collection::vec(1_i64..200_000, 1..400),
            range_s in 30_i64..25_000,
        ) {
            let range = range_s * 1000;
            let thin = Thin::of(range, 15_000);
            let mut ring = Ring::default();
            let mut at = T0;
            for gap in gaps {
                at += gap;
                ring.push(at, 1.0, thin, range);
                prop_assert!(ring.samples().len() <= thin.points(range));
                prop_assert_eq!(ring.newest(), Some(at));
                let kept = times(&ring);
                prop_assert!(kept.windows(2).all(|p| p[0] < p[1]));
                prop_assert!(kept.len() == 1 || T0 + kept[0] >= at - range);
            }
        }

        #[test]
        fn with_polls_at_their_interval_a_raw_ring_is_exactly_the_range(
            jitter in proptest::collection::vec(-700_i64..700, 2..200),
            minutes in 1_i64..=29,
        ) {
            let range = minutes * MINUTE;
            let mut ring = Ring::default();
            let mut all = Vec::new();
            for (i, j) in jitter.iter().enumerate() {
                let at = T0 + i as i64 * 15_000 + j;
                all.push(at);
                ring.push(at, 1.0, Thin::of(range, 15_000), range);
                let wanted: Vec<i64> =
                    all.iter().filter(|t| **t >= at - range).map(|t| t - T0).collect();
                let kept = times(&ring);
                // Jitter may squeeze one sample more into a range than it has intervals.
                prop_assert!(kept == wanted || (wanted.len() > Thin::of(range, 15_000).points(range)
                    && kept[..] == wanted[wanted.len() - kept.len()..]));
            }
        }
    }
}

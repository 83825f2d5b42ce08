//! The functions, operation for operation as in Prometheus' `promql/functions.go`: floating point
//! sums depend on their order, so the order is part of the definition.

use model::policy::WindowFn;

use super::{Dialect, Samples};

/// Applies `f` to the samples of `range_ms` before `now_ms`. None: too few of them.
pub fn apply(
    f: WindowFn,
    samples: Samples<'_>,
    now_ms: i64,
    range_ms: i64,
    dialect: Dialect,
) -> Option<f64> {
    let s = samples.within(now_ms, range_ms, dialect);
    if let WindowFn::Absent = f {
        return s.is_empty().then_some(1.0);
    }
    let last = *s.values.last()?;
    match f {
        WindowFn::Last => Some(last),
        WindowFn::Avg => Some(mean(s.values, dialect)),
        WindowFn::Min => Some(extreme(s.values, |v, so_far| v < so_far)),
        WindowFn::Max => Some(extreme(s.values, |v, so_far| v > so_far)),
        WindowFn::Sum => Some(sum(s.values)),
        WindowFn::Count => Some(s.len() as f64),
        WindowFn::Rate => extrapolated(s, now_ms, range_ms, dialect, true)
            .map(|(growth, factor)| growth * (factor / (range_ms as f64 / 1000.0))),
        WindowFn::Increase => {
            extrapolated(s, now_ms, range_ms, dialect, true).map(|(growth, factor)| growth * factor)
        }
        WindowFn::Delta => extrapolated(s, now_ms, range_ms, dialect, false)
            .map(|(growth, factor)| growth * factor),
        WindowFn::Changes => Some(pairs(s.values, |a, b| a != b && !(a.is_nan() && b.is_nan()))),
        WindowFn::Resets => Some(pairs(s.values, |a, b| b < a)),
        WindowFn::Quantile(q) => Some(quantile(q, s.values)),
        WindowFn::Forecast(horizon) => forecast(s, now_ms, horizon.ms as f64 / 1000.0),
        WindowFn::Absent => None,
    }
}

/// One step of a sum whose rounding errors are kept aside (Kahan, Neumaier).
fn kahan(add: f64, sum: f64, lost: f64) -> (f64, f64) {
    let t = sum + add;
    let lost =
        if sum.abs() >= add.abs() { lost + ((sum - t) + add) } else { lost + ((add - t) + sum) };
    (t, lost)
}

fn sum(values: &[f64]) -> f64 {
    let (sum, lost) = values.iter().fold((0.0, 0.0), |(sum, lost), v| kahan(*v, sum, lost));
    if f64::is_infinite(sum) { sum } else { sum + lost }
}

fn mean(values: &[f64], dialect: Dialect) -> f64 {
    if dialect.summed_mean { summed_mean(values) } else { carried_mean(values) }
}

/// Whether an infinite mean stays as it is: only the other infinity or NaN can move it.
fn is_settled(mean: f64, v: f64) -> bool {
    mean.is_infinite() && ((v.is_infinite() && (mean > 0.0) == (v > 0.0)) || v.is_finite())
}

fn carried_mean(values: &[f64]) -> f64 {
    let (mut mean, mut lost, mut count) = (0.0_f64, 0.0, 0.0);
    for v in values {
        count += 1.0;
        if !is_settled(mean, *v) {
            (mean, lost) = kahan(v / count - mean / count, mean, lost);
        }
    }
    if mean.is_infinite() { mean } else { mean + lost }
}

fn summed_mean(values: &[f64]) -> f64 {
    let (mut total, mut lost, mut count) = (0.0_f64, 0.0, 0.0);
    // Set once the sum overflows; from there on the mean is carried.
    let mut mean: Option<f64> = None;
    for v in values {
        count += 1.0;
        let carried = match mean {
            Some(mean) => mean,
            None => {
                let (t, l) = kahan(*v, total, lost);
                if count == 1.0 || !t.is_infinite() {
                    (total, lost) = (t, l);
                    continue;
                }
                lost /= count - 1.0;
                total / (count - 1.0)
            }
        };
        mean = Some(carried);
        if is_settled(carried, *v) {
            continue;
        }
        let corrected = carried + lost;
        let (m, l) = kahan(v / count - corrected / count, carried, lost);
        (mean, lost) = (Some(m), l);
    }
    match mean {
        Some(mean) if mean.is_infinite() => mean,
        Some(mean) => mean + lost,
        None if total.is_infinite() => total,
        None => (total + lost) / count,
    }
}

fn extreme(values: &[f64], beats: fn(f64, f64) -> bool) -> f64 {
    let fold =
        |so_far: f64, v: &f64| if beats(*v, so_far) || so_far.is_nan() { *v } else { so_far };
    values.iter().fold(f64::NAN, fold)
}

fn pairs(values: &[f64], counts: fn(f64, f64) -> bool) -> f64 {
    values.windows(2).filter(|pair| counts(pair[0], pair[1])).count() as f64
}

/// Growth between the first and the last sample, and the factor that stretches it to the range.
fn extrapolated(
    s: Samples<'_>,
    now_ms: i64,
    range_ms: i64,
    dialect: Dialect,
    counter: bool,
) -> Option<(f64, f64)> {
    let n = s.len();
    if n < 2 {
        return None;
    }
    let (first, last) = (s.values[0], s.values[n - 1]);
    let mut growth = last - first;
    if counter {
        for pair in s.values.windows(2) {
            if pair[1] < pair[0] {
                growth += pair[0];
            }
        }
    }
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let mut to_start = seconds(s.time(0) - (now_ms - range_ms));
    let mut to_end = seconds(now_ms - s.time(n - 1));
    let sampled = seconds(s.time(n - 1) - s.time(0));
    let distance = sampled / (n - 1) as f64;
    let far = distance * 1.1;
    // A counter was not below zero before it was seen first.
    let to_zero =
        if counter && growth > 0.0 && first >= 0.0 { sampled * (first / growth) } else { f64::MAX };
    if dialect.clamp_first && to_zero < to_start {
        to_start = to_zero;
    }
    if to_start >= far {
        to_start = distance / 2.0;
    }
    if !dialect.clamp_first && to_zero < to_start {
        to_start = to_zero;
    }
    if to_end >= far {
        to_end = distance / 2.0;
    }
    Some((growth, (sampled + to_start + to_end) / sampled))
}

fn quantile(q: f64, values: &[f64]) -> f64 {
    if q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    let mut sorted = values.to_vec();
    // NaN comes first, as in Prometheus.
    sorted.sort_unstable_by(|a, b| match (a.is_nan(), b.is_nan()) {
        (false, false) => a.total_cmp(b),
        (a, b) => b.cmp(&a),
    });
    let last = (sorted.len() - 1) as f64;
    let rank = q * last;
    let below = rank.floor().max(0.0);
    let above = (below + 1.0).min(last);
    let weight = rank - rank.floor();
    sorted[below as usize] * (1.0 - weight) + sorted[above as usize] * weight
}

/// `predict_linear`: a straight line by least squares, read `horizon_s` after `now_ms`.
fn forecast(s: Samples<'_>, now_ms: i64, horizon_s: f64) -> Option<f64> {
    if s.len() < 2 {
        return None;
    }
    let first = s.values[0];
    if s.values.iter().all(|v| *v == first) {
        return Some(if first.is_infinite() { f64::NAN } else { first });
    }
    let mut sums = [(0.0, 0.0); 4];
    for (i, y) in s.values.iter().enumerate() {
        let x = (s.time(i) - now_ms) as f64 / 1e3;
        for (sum, add) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
            *sum = kahan(add, sum.0, sum.1);
        }
    }
    let n = s.len() as f64;
    let [x, y, xy, x2] = sums.map(|(sum, lost)| sum + lost);
    let slope = (xy - x * y / n) / (x2 - x * x / n);
    let intercept = y / n - slope * x / n;
    Some(slope * horizon_s + intercept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(points: &[(i64, f64)], then: impl FnOnce(Samples<'_>)) {
        let offsets: Vec<u32> = points.iter().map(|(s, _)| (s * 1000) as u32).collect();
        let values: Vec<f64> = points.iter().map(|(_, v)| *v).collect();
        then(Samples { offsets: &offsets, values: &values, base: 0 });
    }

    #[test]
    fn aligned_samples_of_a_minute_are_five_in_a_closed_range_and_four_in_a_left_open_one() {
        let points: Vec<(i64, f64)> = (0..=4).map(|i| (i * 15, i as f64)).collect();
        with(&points, |s| {
            let count = |d| apply(WindowFn::Count, s, 60_000, 60_000, d);
            assert_eq!(count(Dialect::V2_42), Some(5.0));
            assert_eq!(count(Dialect::V3), Some(4.0));
        });
    }

    #[test]
    fn the_clamp_at_zero_comes_before_or_after_the_test_of_the_gap() {
        // First sample 40 s into the range, distance 15 s: the gap is far. To zero it is 25 s, which
        // an old Prometheus compares with 16.5 s; a new one halves the distance first.
        let points = [(40, 5.0), (55, 8.0)];
        with(&points, |s| {
            let increase = |d| apply(WindowFn::Increase, s, 60_000, 60_000, d).unwrap();
            assert_eq!(increase(Dialect::V2_42), 3.0 * (15.0 + 7.5 + 5.0) / 15.0);
            assert_eq!(increase(Dialect::V2_53), 3.0 * (15.0 + 7.5 + 5.0) / 15.0);
        });
        // To zero it is 5 s: both clamp to it; 17 s: above the old test, below nothing of the new.
        let points = [(40, 1.0), (55, 4.0)];
        with(&points, |s| {
            let increase = |d| apply(WindowFn::Increase, s, 60_000, 60_000, d).unwrap();
            assert_eq!(increase(Dialect::V2_42), 3.0 * (15.0 + 5.0 + 5.0) / 15.0);
            assert_eq!(increase(Dialect::V2_53), 3.0 * (15.0 + 5.0 + 5.0) / 15.0);
        });
        // To zero it is 10 s of 15 s: the old one takes it whole, the new one only half of 15 s.
        let points = [(40, 2.0), (55, 5.0)];
        with(&points, |s| {
            let increase = |d| apply(WindowFn::Increase, s, 60_000, 60_000, d).unwrap();
            assert_eq!(increase(Dialect::V2_42), 3.0 * (15.0 + 10.0 + 5.0) / 15.0);
            assert_eq!(increase(Dialect::V2_53), 3.0 * (15.0 + 7.5 + 5.0) / 15.0);
        });
    }

    #[test]
    fn a_sum_beyond_all_numbers_still_has_a_mean_where_it_is_carried() {
        let points = [(0, f64::MAX), (15, f64::MAX), (30, f64::MAX)];
        with(&points, |s| {
            for d in [Dialect::V2_42, Dialect::V3] {
                let mean = apply(WindowFn::Avg, s, 30_000, 60_000, d).unwrap();
                assert!((mean / f64::MAX - 1.0).abs() < 1e-15, "{mean}");
            }
        });
        let points = [(0, f64::INFINITY), (15, 1.0)];
        with(&points, |s| {
            for d in [Dialect::V2_42, Dialect::V3] {
                assert_eq!(apply(WindowFn::Avg, s, 30_000, 60_000, d), Some(f64::INFINITY));
            }
        });
    }

    #[test]
    fn too_few_samples_give_no_value_and_none_at_all_is_absence() {
        with(&[(0, 1.0)], |s| {
            let f = |f| apply(f, s, 15_000, 60_000, Dialect::V3);
            assert_eq!(f(WindowFn::Rate), None);
            assert_eq!(f(WindowFn::Resets), Some(0.0));
            assert_eq!(f(WindowFn::Absent), None);
            let late = |f| apply(f, s, 600_000, 60_000, Dialect::V3);
            assert_eq!((late(WindowFn::Last), late(WindowFn::Absent)), (None, Some(1.0)));
        });
    }
}

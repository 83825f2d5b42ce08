//! Points in hundredths that add up exactly.
//!
//! Invariant: the score is rounded by itself (rounding is monotone, so a worse raw value can never
//! show a better score); the bars share what is left by largest remainder.

/// Hundredths in 100 points.
pub(crate) const ALL: i64 = 10_000;

/// Binary fractions closer to a hundredth than this are that hundredth.
const NOISE: f64 = 1e-6;

/// Points to hundredths, nearest.
pub(crate) fn cents(points: f64) -> i64 {
    (points * 100.0 + NOISE).round() as i64
}

/// Hundredths to points; the nearest double, so 7206 prints as 72.06.
pub(crate) fn points(cents: i64) -> f64 {
    cents as f64 / 100.0
}

/// Splits `total` hundredths over bars of these exact points by largest remainder; ties go to the
/// earlier bar. `total` must be the sum of the bars up to rounding.
pub(crate) fn split(exact: &[f64], total: i64) -> Vec<i64> {
    let floor = |p: f64| (p * 100.0 + NOISE).floor();
    let mut parts: Vec<i64> = exact.iter().map(|p| floor(*p) as i64).collect();
    let mut order: Vec<usize> = (0..exact.len()).collect();
    let rest = |i: &usize| exact[*i] * 100.0 - floor(exact[*i]);
    order.sort_by(|a, b| rest(b).total_cmp(&rest(a)).then(a.cmp(b)));
    let mut left = total - parts.iter().sum::<i64>();
    for i in order.iter().cycle().take(2 * order.len()) {
        if left <= 0 {
            break;
        }
        parts[*i] += 1;
        left -= 1;
    }
    // Only noise can leave a hundredth too much; it comes off the smallest remainders.
    for i in order.iter().rev() {
        if left < 0 && parts[*i] > 0 {
            parts[*i] -= 1;
            left += 1;
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_remainder_gets_the_missing_hundredth() {
        let exact = [10.0, 13.0, 2.589375, 0.75, 1.6];
        assert_eq!(split(&exact, ALL - 7206), vec![1000, 1300, 259, 75, 160]);
    }

    #[test]
    fn equal_bars_differ_by_at_most_one_hundredth() {
        assert_eq!(split(&[100.0 / 3.0; 3], ALL), vec![3334, 3333, 3333]);
    }

    #[test]
    fn binary_noise_does_not_cost_a_hundredth() {
        assert_eq!(split(&[0.1 + 0.2, 99.7], ALL), vec![30, 9970]);
        assert_eq!((cents(0.285 * 100.0), points(7206)), (2850, 72.06));
    }
}

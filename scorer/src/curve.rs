//! Loss curves: from the value of a signal to a loss of 0..100.
//!
//! Invariant: a checked curve never loses less on its unhealthier side, so using more of anything
//! cannot score better. Refuses to know: which signal it judges.

use std::borrow::Cow;

/// Knots a curve may have: two make a line, twelve are more than anybody can explain.
const KNOTS: std::ops::RangeInclusive<usize> = 2..=12;

/// A curve that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {reason}")]
pub struct BadCurve {
    /// Which knot of which curve: `curves.M1[2]`.
    pub place: String,
    /// What is wrong and what is allowed.
    pub reason: String,
}

/// Knots from the healthy to the unhealthy side, straight lines between them.
///
/// Up to and including the first knot the loss is 0 (so a first knot with a loss is a step), beyond
/// the last knot it stays. x may rise or fall.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    knots: Cow<'static, [(f64, f64)]>,
}

impl Curve {
    /// A curve of the built-in table; `Policy::check` proves them all in a test.
    pub(crate) const fn fixed(knots: &'static [(f64, f64)]) -> Curve {
        Curve { knots: Cow::Borrowed(knots) }
    }

    /// A curve from a document; `place` names it in the error (`curves.M1`).
    pub fn new(place: &str, knots: Vec<(f64, f64)>) -> Result<Curve, BadCurve> {
        let curve = Curve { knots: Cow::Owned(knots) };
        curve.check(place)?;
        Ok(curve)
    }

    /// Whether x is strictly monotone, the loss within 0..100 and never falling, 2–12 knots.
    pub fn check(&self, place: &str) -> Result<(), BadCurve> {
        let bad = |place: String, reason: String| Err(BadCurve { place, reason });
        let knots = &self.knots;
        if !KNOTS.contains(&knots.len()) {
            return bad(place.into(), format!("{} knots, allowed are 2 to 12", knots.len()));
        }
        for (i, (x, loss)) in knots.iter().enumerate() {
            if !x.is_finite() {
                return bad(format!("{place}[{i}]"), "x is not a finite number".into());
            }
            if !(0.0..=100.0).contains(loss) {
                return bad(format!("{place}[{i}]"), format!("loss {loss}, allowed are 0 to 100"));
            }
        }
        let falling = knots[1].0 < knots[0].0;
        for (i, pair) in knots.windows(2).enumerate() {
            let ((x0, loss0), (x1, loss1)) = (pair[0], pair[1]);
            if x0 == x1 || (x1 < x0) != falling {
                let reason = format!("x {x1} after {x0}: x must go strictly one way");
                return bad(format!("{place}[{}]", i + 1), reason);
            }
            if loss1 < loss0 {
                let reason =
                    format!("loss {loss1} after {loss0}: it must not fall when it worsens");
                return bad(format!("{place}[{}]", i + 1), reason);
            }
        }
        Ok(())
    }

    /// The loss of a value, 0..100. A value that is not a number loses the most.
    pub fn loss(&self, value: f64) -> f64 {
        let sign = if self.falls() { -1.0 } else { 1.0 };
        let v = sign * value;
        if v <= sign * self.knots[0].0 {
            return 0.0;
        }
        for pair in self.knots.windows(2) {
            let ((x0, loss0), (x1, loss1)) = (pair[0], pair[1]);
            if v <= sign * x1 {
                return loss0 + (loss1 - loss0) * (value - x0) / (x1 - x0);
            }
        }
        self.worst()
    }

    /// The loss just beyond a value, on its unhealthy side: differs from `loss` at a step only.
    pub fn loss_after(&self, value: f64) -> f64 {
        let (x, loss) = self.knots[0];
        if value == x { loss } else { self.loss(value) }
    }

    /// The values at which this curve or another one bends, healthy side first. Between two of them
    /// both are straight, so what holds at each and just beyond it holds everywhere.
    pub fn bends_with(&self, other: &Curve) -> Vec<f64> {
        let mut all: Vec<f64> = self.knots.iter().chain(other.knots()).map(|(x, _)| *x).collect();
        all.sort_by(f64::total_cmp);
        all.dedup();
        if self.falls() {
            all.reverse();
        }
        all
    }

    /// Where this curve loses less than another: the value, the loss here and there.
    pub fn less_than(&self, other: &Curve) -> Option<(f64, f64, f64)> {
        let both = |f: fn(&Curve, f64) -> f64, x: f64| (x, f(self, x), f(other, x));
        let bends = self.bends_with(other);
        let mut all =
            bends.iter().flat_map(|x| [both(Curve::loss, *x), both(Curve::loss_after, *x)]);
        all.find(|(_, here, there)| *here < there - 1e-9)
    }

    /// Where loss begins.
    pub fn threshold(&self) -> f64 {
        self.knots[0].0
    }

    /// The largest possible loss.
    pub fn worst(&self) -> f64 {
        self.knots[self.knots.len() - 1].1
    }

    /// Whether small values are the bad ones.
    pub fn falls(&self) -> bool {
        self.knots[1].0 < self.knots[0].0
    }

    /// The knots, healthy side first.
    pub fn knots(&self) -> &[(f64, f64)] {
        &self.knots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_lie_on_the_lines_between_knots() {
        let m1 =
            Curve::new("M1", vec![(0.7, 0.0), (0.8, 20.0), (0.9, 60.0), (1.0, 100.0)]).unwrap();
        for (value, loss) in [(0.0, 0.0), (0.7, 0.0), (0.75, 10.0), (0.88, 52.0), (2.0, 100.0)] {
            assert!((m1.loss(value) - loss).abs() < 1e-9, "{value}: {}", m1.loss(value));
        }
    }

    #[test]
    fn a_falling_x_loses_on_the_small_side() {
        let m8 = Curve::new("M8", vec![(0.95, 0.0), (0.9, 60.0)]).unwrap();
        for (value, loss) in [(1.5, 0.0), (0.95, 0.0), (0.925, 30.0), (0.1, 60.0)] {
            assert!((m8.loss(value) - loss).abs() < 1e-9, "{value}: {}", m8.loss(value));
        }
    }

    #[test]
    fn a_first_knot_with_a_loss_is_a_step() {
        let a8 = Curve::new("A8", vec![(0.0, 60.0), (0.05, 100.0)]).unwrap();
        assert_eq!(a8.loss(0.0), 0.0);
        assert!((a8.loss(0.01) - 68.0).abs() < 1e-9);
    }

    #[test]
    fn a_value_that_is_no_number_loses_the_most() {
        let c1 = Curve::new("C1", vec![(0.6, 0.0), (1.0, 100.0)]).unwrap();
        assert_eq!(c1.loss(f64::NAN), 100.0);
    }

    #[test]
    fn bad_curves_are_refused_naming_the_knot() {
        for (knots, place) in [
            (vec![(0.0, 0.0)], "curves.M1"),
            (vec![(0.0, 0.0), (1.0, 101.0)], "curves.M1[1]"),
            (vec![(0.0, 0.0), (1.0, 50.0), (2.0, 40.0)], "curves.M1[2]"),
            (vec![(0.0, 0.0), (1.0, 50.0), (0.5, 60.0)], "curves.M1[2]"),
            (vec![(0.0, 0.0), (0.0, 50.0)], "curves.M1[1]"),
            (vec![(f64::NAN, 0.0), (1.0, 50.0)], "curves.M1[0]"),
            (vec![(3.0, 0.0), (2.0, 50.0), (2.5, 60.0)], "curves.M1[2]"),
            ((0..13).map(|i| (f64::from(i), 0.0)).collect(), "curves.M1"),
        ] {
            let error = Curve::new("curves.M1", knots).unwrap_err();
            assert_eq!(error.place, place, "{error}");
        }
    }
}

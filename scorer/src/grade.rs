//! Grades, and the memory that keeps them from flapping.
//!
//! Invariant: only the grade is sticky, the score is not; losing sight of a bad signal never
//! improves a grade. Refuses to know: how the score came about.

use std::collections::BTreeMap;

use model::At;
use model::score::Grade;
use serde::{Deserialize, Serialize};

use crate::Signal;

/// A grade is left downward below its lower bound minus this.
const DOWN_MARGIN: f64 = 2.0;

/// … in that many consecutive evaluations.
const DOWN_EVALUATIONS: u8 = 2;

/// A better grade is entered above its lower bound plus this.
const UP_MARGIN: f64 = 3.0;

/// … for that long without a break, ms, unless the installation says otherwise.
pub(crate) const RISE_MS: i64 = 300_000;

/// The band of a score.
pub fn band(score: f64) -> Grade {
    Grade::of(score)
}

/// Sight of one instance is compared exactly, up to binary noise.
pub(crate) const SLACK_INSTANCE: f64 = 1e-9;

/// Sight of a roll-up drifts when children of other versions come and go.
pub(crate) const SLACK_ROLLUP: f64 = 0.02;

fn lower_bound(grade: Grade) -> f64 {
    Grade::BANDS.iter().find(|(g, _)| *g == grade).map_or(0.0, |(_, lower)| *lower)
}

fn better(a: Grade, b: Grade) -> bool {
    a.number() > b.number()
}

fn worse_of(a: Grade, b: Grade) -> Grade {
    if better(a, b) { b } else { a }
}

/// What one evaluation says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Evaluation {
    /// None: no number.
    pub score: Option<f64>,
    /// How much was seen of what the score is made from, 0..1: the confidence, but a confirmed down
    /// counts as not seen. It is a fact, yet whatever is readable after it shows more, not less.
    pub sight: f64,
    /// Drift of sight that is no loss of it.
    pub slack: f64,
    /// Whether a gate limits the score.
    pub gate_binds: bool,
    /// Best grade allowed now (a partial roll-up is never A).
    pub best: Grade,
    /// How long a better grade must be earned without a break, ms.
    pub rise_ms: i64,
}

/// Memory of a grade; kept beside the score, survives restarts when stored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sticky {
    grade: Grade,
    since: At,
    /// Last grade that was not "?", and the sight it was entered with.
    entered: Option<(Grade, f64)>,
    /// Evaluations in a row below the bound.
    below: u8,
    /// Since when the upper bound of A, B, C, D is met without break.
    met: [Option<At>; 4],
    /// Since when each signal loses points.
    losing: BTreeMap<Signal, At>,
}

impl Sticky {
    /// The grade and since when it holds.
    pub fn grade(&self) -> (Grade, At) {
        (self.grade, self.since)
    }

    /// After a time nobody looked: what only evaluations without a break prove begins anew. The grade
    /// itself stays.
    pub fn break_off(&mut self) {
        (self.below, self.met) = (0, [None; 4]);
    }

    /// Whether evaluating the same score again, later, would change nothing.
    pub(crate) fn is_settled(&self, score: Option<f64>) -> bool {
        let Some(score) = score else { return self.grade == Grade::Unknown };
        let may_rise = self
            .met
            .iter()
            .zip(Grade::BANDS)
            .any(|(met, (grade, _))| met.is_some() && better(grade, self.grade));
        let may_fall = score < lower_bound(self.grade) - DOWN_MARGIN;
        !may_rise && !may_fall
    }

    /// Takes in an evaluation; answers the grade and since when it holds.
    pub(crate) fn step(&mut self, evaluation: Evaluation, now: At) -> (Grade, At) {
        let next = match evaluation.score {
            None => {
                (self.below, self.met) = (0, [None; 4]);
                Grade::Unknown
            }
            Some(score) => {
                self.count(score, now);
                worse_of(self.next(score, &evaluation, now), evaluation.best)
            }
        };
        if next != self.grade || self.since == At::EPOCH {
            if next != Grade::Unknown {
                self.entered = Some((next, evaluation.sight));
            }
            (self.grade, self.since, self.below) = (next, now, 0);
        }
        (self.grade, self.since)
    }

    fn count(&mut self, score: f64, now: At) {
        for (met, (_, lower)) in self.met.iter_mut().zip(Grade::BANDS) {
            *met = if score >= lower + UP_MARGIN { met.or(Some(now)) } else { None };
        }
        let below = score < lower_bound(self.grade) - DOWN_MARGIN;
        self.below = if below { self.below.saturating_add(1) } else { 0 };
    }

    fn next(&self, score: f64, evaluation: &Evaluation, now: At) -> Grade {
        let present = band(score);
        // Less is seen than when the last grade was entered: it may fall, never rise.
        let ceiling = match self.entered {
            Some((grade, sight)) if evaluation.sight < sight - evaluation.slack => grade,
            _ => Grade::A,
        };
        if self.grade == Grade::Unknown {
            return worse_of(present, ceiling);
        }
        let falls = self.below >= DOWN_EVALUATIONS || evaluation.gate_binds;
        if falls && better(self.grade, present) {
            return present;
        }
        let risen = self.met.iter().zip(Grade::BANDS).find_map(|(met, (grade, _))| {
            met.filter(|since| now.since_ms(*since) >= evaluation.rise_ms).map(|_| grade)
        });
        match risen {
            Some(grade) if better(grade, self.grade) && ceiling == Grade::A => grade,
            _ => self.grade,
        }
    }

    /// Since when a signal loses points; `None` loses none and forgets it.
    pub(crate) fn losing(&mut self, signal: Signal, loses: bool, now: At) -> Option<At> {
        if loses {
            return Some(*self.losing.entry(signal).or_insert(now));
        }
        if !self.losing.is_empty() {
            self.losing.remove(&signal);
        }
        None
    }
}

#[cfg(test)]
mod tests;

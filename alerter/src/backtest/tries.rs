//! Other thresholds of a policy over the same samples: which of them would have paged seldom enough.
//!
//! Invariant: each is judged by the machines that judge live; what no threshold is near is looked at once.

use std::sync::Arc;

use model::alert::Phase;
use model::policy::{AlertLevel, Compare, OnMissing, Suggestion};
use model::row::Row;

use crate::cell::Cell;
use crate::live::Change;
use crate::plan::Slot;
use crate::resolve::{Effective, LevelRule};
use crate::signal::{Out, Program, Scope, Signal, Source};

/// Shares of the values that lie on the healthy side of the thresholds tried.
const SHARES: [f64; 12] =
    [0.9, 0.95, 0.97, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9998, 0.9999, 1.0];

/// A threshold of one level.
#[derive(Debug, Clone)]
pub(super) struct Try {
    level: AlertLevel,
    fire: f64,
    rule: Arc<Effective>,
}

/// The thresholds to try for a rule, tightest first within each level, from values seen.
pub(super) fn of(rule: &Effective, mut values: Vec<f64>) -> Vec<Try> {
    let down = match rule.compare {
        Compare::Gt | Compare::Ge => false,
        Compare::Lt | Compare::Le => true,
        // An equality has no threshold to move.
        Compare::Eq | Compare::Ne => return Vec::new(),
    };
    values.retain(|v| v.is_finite());
    values.sort_by(f64::total_cmp);
    if down {
        values.reverse();
    }
    let at = |share: f64| {
        let last = values.len().checked_sub(1)?;
        values.get((share * last as f64).round() as usize).map(|v| rounded(*v))
    };
    let mut fires: Vec<f64> = SHARES.iter().filter_map(|share| at(*share)).collect();
    fires.extend(rule.levels.iter().map(|l| l.fire));
    fires.sort_by(f64::total_cmp);
    if down {
        fires.reverse();
    }
    fires.dedup();
    let tries = |level: &LevelRule| {
        let level = level.clone();
        let fires = fires.clone();
        fires.into_iter().map(move |fire| one(rule, &level, fire))
    };
    rule.levels.iter().flat_map(tries).collect()
}

fn one(rule: &Effective, level: &LevelRule, fire: f64) -> Try {
    let moved = LevelRule { fire, clear: fire + (level.clear - level.fire), ..level.clone() };
    let rule = Effective { levels: vec![moved], ..rule.clone() };
    Try { level: level.level, fire, rule: Arc::new(rule) }
}

/// Three digits: a threshold people can remember.
fn rounded(value: f64) -> f64 {
    if value == 0.0 {
        return 0.0;
    }
    let scale = 10_f64.powf(2.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

/// The tries over the samples of one instance.
pub(super) struct Tries<'a> {
    slot: &'a Slot,
    program: &'a Program,
    tries: &'a [Try],
    cells: Vec<Cell>,
    /// Nothing of any of them is live.
    idle: bool,
    /// How often each began.
    pub fired: Vec<u64>,
}

impl<'a> Tries<'a> {
    /// None where the policy is not judged, or nothing is tried.
    pub fn new(slot: &'a Slot, tries: &'a [Try]) -> Option<Tries<'a>> {
        let Signal::Event(program) = &slot.rules.first()?.signal else { return None };
        tries.first()?;
        let cells = vec![Cell::default(); tries.len()];
        let fired = vec![0; tries.len()];
        Some(Tries { slot, program, tries, cells, idle: true, fired })
    }

    /// Judges one sample by all of them; `seen` is the cell that took it in.
    pub fn judge(&mut self, row: &Row, seen: &Cell) {
        let scope = scope(self.slot, row, seen);
        if self.program.is_single() {
            let mut value = Out::Missing;
            if self.program.walk(scope, |_, out| value = out).is_ok() {
                self.judge_values(row, &[("", value)]);
            }
            return;
        }
        let mut values: Vec<(&str, Out)> = Vec::new();
        if self.program.walk(scope, |sub, out| values.push((sub, out))).is_ok() {
            self.judge_values(row, &values);
        }
    }

    fn judge_values(&mut self, row: &Row, values: &[(&str, Out)]) {
        if self.idle && !values.iter().any(|(_, out)| self.begins(*out)) {
            return;
        }
        let (ts, interval_ms) = (row.reading.at, i64::from(row.reading.interval_ms));
        self.idle = true;
        let mut changes = Vec::new();
        for (i, one) in self.tries.iter().enumerate() {
            let cell = &mut self.cells[i];
            if cell.advance(ts, ts, interval_ms).is_err() {
                continue;
            }
            changes.clear();
            cell.judge_values(&self.slot.bearer, &one.rule, values, ts, &mut changes);
            let began = |c: &&Change| (c.from, c.to) == (Phase::Pending, Phase::Firing);
            self.fired[i] += changes.iter().filter(began).count() as u64;
            self.idle &= cell.is_empty();
        }
    }

    /// Whether the tightest could begin by it; it is the same for every level.
    fn begins(&self, out: Out) -> bool {
        let tightest = &self.tries[0];
        match out {
            Out::Value(v) => tightest.rule.compare.holds(v, tightest.fire),
            Out::Outside => false,
            Out::Missing => tightest.rule.on_missing == OnMissing::Fire,
        }
    }
}

fn scope<'s>(slot: &Slot, row: &'s Row, seen: &'s Cell) -> Scope<'s> {
    let (replicas_wanted, held) = (slot.replicas_wanted, seen.held(0));
    let source = Source::Instance { row, replicas_wanted, held };
    Scope { now_ms: row.reading.at.ms(), source }
}

/// The tightest threshold of each level that pages at most so often; no looser one does more often.
pub(super) fn suggestions(
    tries: &[Try],
    fired: &[u64],
    span_ms: i64,
    pages_per_week: f64,
) -> Vec<Suggestion> {
    let weeks = span_ms.max(1) as f64 / (7.0 * 86_400_000.0);
    let tried: Vec<(&Try, f64)> =
        tries.iter().zip(fired).map(|(t, fired)| (t, *fired as f64 / weeks)).collect();
    let of_level = |all: &[(&Try, f64)]| {
        let seldom = all.iter().rev().take_while(|(_, a_week)| *a_week <= pages_per_week);
        seldom.last().map(|(one, a_week)| Suggestion {
            level: one.level,
            fire: one.fire,
            clear: one.rule.levels.first().map_or(one.fire, |l| l.clear),
            pages_per_week: *a_week,
        })
    };
    tried.chunk_by(|a, b| a.0.level == b.0.level).filter_map(of_level).collect()
}

/// The value of the policy's signal now, of its last sub-series.
pub(super) fn value_of(slot: &Slot, row: &Row, seen: &Cell) -> Option<f64> {
    let Signal::Event(program) = &slot.rules.first()?.signal else { return None };
    let mut found = None;
    let walked = program.walk(scope(slot, row, seen), |_, out| {
        if let Out::Value(v) = out {
            found = Some(v);
        }
    });
    walked.ok().and(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::resolve;

    fn rule(compare: &str) -> Effective {
        let text = format!(
            "{{policy: p, scope: platform, signal: {{metric: redis_connected_clients}}, compare: \
             '{compare}', levels: {{warning: {{fire: 50, clear: 40}}, critical: {{fire: 60}}}}}}"
        );
        resolve(&[&serde_saphyr::from_str(&text).unwrap()]).unwrap()
    }

    #[test]
    fn thresholds_to_try_go_from_tight_to_loose_and_keep_the_distance_to_clear() {
        let values: Vec<f64> = (0..=1000).map(f64::from).collect();
        let tries = of(&rule(">"), values.clone());
        let fires: Vec<f64> = tries.iter().map(|t| t.fire).collect();
        let half = &fires[..fires.len() / 2];
        assert!(half.is_sorted() && half.contains(&50.0) && half.contains(&990.0), "{half:?}");
        assert_eq!(half, &fires[fires.len() / 2..], "the same for both levels");
        assert_eq!(tries[0].rule.levels[0].clear, tries[0].fire - 10.0);
        assert!(of(&rule("=="), values).is_empty());
        assert_eq!((rounded(0.98765), rounded(-12_345.0)), (0.988, -12_300.0));
    }

    #[test]
    fn the_tightest_that_pages_seldom_enough_is_suggested() {
        let tries = of(&rule(">"), (0..=1000).map(f64::from).collect());
        let half = tries.len() / 2;
        let mut fired: Vec<u64> = (0..half as u64).rev().collect();
        fired.extend(std::iter::repeat_n(99, half));
        let week = 7 * 86_400_000;
        let found = suggestions(&tries, &fired, week, 2.0);
        assert_eq!(found.len(), 1, "critical has none: {found:?}");
        assert_eq!((found[0].level, found[0].pages_per_week), (AlertLevel::Warning, 2.0));
        assert_eq!(found[0].fire, tries[half - 3].fire);
    }
}

//! One signal of one policy on one object: the machine that drives all its levels.
//!
//! Invariant: pure; nothing is allocated while nothing changes, and only what is not inactive (or did
//! so lately that it may be flapping) has an entry.

use std::sync::Arc;

use model::At;
use model::alert::Phase;
use model::policy::{AlertLevel, Compare, OnMissing};
use serde::{Deserialize, Serialize};

use crate::live::{Change, FLAP_MS, FLIPS_MAX, Live};
use crate::plan::Bearer;
use crate::resolve::{Effective, LevelRule};
use crate::signal::{Out, Program, SUB_SERIES_MAX, Scope, Signal};

/// What a sample says to a machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Input {
    /// A value, measured or held.
    Value(f64),
    /// A comparison in the signal does not hold.
    Outside,
    /// No value, which counts as false.
    False,
    /// No value for longer than it may be held.
    Gone,
    /// No value, which counts as breached for the highest level.
    Missing,
}

/// The machine of one sub-series of one policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub policy: Arc<str>,
    pub sub: Box<str>,
    last_value: Option<f64>,
    /// The latest thing known was that a comparison in the signal does not hold.
    #[serde(default)]
    outside: bool,
    last_good: At,
    stepped: At,
    pub levels: Vec<Live>,
    /// When levels fired or resolved lately: tells flapping.
    #[serde(default)]
    flips: Vec<(AlertLevel, At)>,
}

/// The machines of one object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Machines {
    pub all: Vec<Machine>,
    /// Something changed since it was last saved.
    pub dirty: bool,
    /// A step was made that must be saved with its row.
    pub stepped: bool,
    /// Policies whose evaluation failed; their states stay as they are.
    pub failed: Vec<Arc<str>>,
}

fn clear_holds(compare: Compare, value: f64, level: &LevelRule) -> bool {
    let fire = compare.holds(value, level.fire);
    match compare {
        Compare::Eq | Compare::Ne => fire,
        _ => fire || compare.holds(value, level.clear),
    }
}

/// Whether a policy without a live state gets one by this.
fn begins(rule: &Effective, out: Out) -> bool {
    match out {
        Out::Value(v) => rule.levels.iter().any(|l| rule.compare.holds(v, l.fire)),
        Out::Outside => false,
        Out::Missing => rule.on_missing == OnMissing::Fire,
    }
}

impl Machines {
    /// Judges everything a program says.
    pub fn judge_program(
        &mut self,
        bearer: &Bearer,
        rule: &Arc<Effective>,
        program: &Program,
        scope: Scope<'_>,
        out: &mut Vec<Change>,
    ) {
        let ts = At::from_ms(scope.now_ms);
        let single = program.is_single();
        let walked = program.walk(scope, |sub, value| {
            // A server may rename its sub-series for ever; live states stay bounded.
            if single || self.has_room(&rule.policy, sub) {
                self.judge(bearer, rule, sub, value, ts, out);
            }
        });
        if walked.is_err() {
            self.failed.push(rule.policy.as_str().into());
        } else if !single {
            self.judge_gone(bearer, rule, ts, out);
        }
    }

    /// Judges values that were computed already: by a backtest, for many thresholds at once.
    pub fn judge_values(
        &mut self,
        bearer: &Bearer,
        rule: &Arc<Effective>,
        values: &[(&str, Out)],
        ts: At,
        out: &mut Vec<Change>,
    ) {
        for (sub, value) in values {
            if self.has_room(&rule.policy, sub) {
                self.judge(bearer, rule, sub, *value, ts, out);
            }
        }
        self.judge_gone(bearer, rule, ts, out);
    }

    fn has_room(&self, policy: &str, sub: &str) -> bool {
        let mut mine = self.all.iter().filter(|m| *m.policy == *policy);
        let known = mine.clone().any(|m| *m.sub == *sub);
        known || mine.nth(SUB_SERIES_MAX - 1).is_none()
    }

    /// Sub-series of a policy that the latest sample does not name.
    fn judge_gone(
        &mut self,
        bearer: &Bearer,
        rule: &Arc<Effective>,
        ts: At,
        out: &mut Vec<Change>,
    ) {
        for index in (0..self.all.len()).rev() {
            let Some(machine) = self.all.get(index) else { continue };
            if *machine.policy == *rule.policy && machine.stepped != ts {
                if machine.levels.is_empty() {
                    self.all.swap_remove(index);
                    continue;
                }
                let sub = machine.sub.clone();
                self.judge(bearer, rule, &sub, Out::Missing, ts, out);
            }
        }
    }

    /// Judges one value.
    pub fn judge(
        &mut self,
        bearer: &Bearer,
        rule: &Arc<Effective>,
        sub: &str,
        value: Out,
        ts: At,
        out: &mut Vec<Change>,
    ) {
        // Every comparison with it is false.
        let value = if matches!(value, Out::Value(v) if v.is_nan()) { Out::Outside } else { value };
        let found = self.all.iter().position(|m| *m.policy == *rule.policy && *m.sub == *sub);
        let index = match found {
            Some(index) => index,
            None if !begins(rule, value) => return,
            None => {
                self.all.push(Machine::new(&rule.policy, sub));
                self.all.len() - 1
            }
        };
        let steps = out.len();
        let lived = !self.all[index].levels.is_empty();
        self.all[index].step(bearer, rule, value, ts, out);
        self.dirty |= lived || !self.all[index].levels.is_empty();
        self.stepped |= out.len() > steps;
        if self.all[index].is_spent(ts) {
            self.all.swap_remove(index);
        }
    }

    /// Ends everything at once.
    pub fn end(&mut self, reason: &str, now: At) -> Vec<Change> {
        self.dirty = true;
        self.stepped = true;
        let machines = std::mem::take(&mut self.all);
        let lives = machines.into_iter().flat_map(|m| m.levels);
        lives.filter_map(|live| live.resolved(now, reason, None)).collect()
    }

    /// Brings the states to new rules: what no policy asks for any more ends at once; an object that
    /// moved ends its old label sets and goes on under the new ones with the old start.
    pub fn reconcile(
        &mut self,
        bearer: &Bearer,
        rules: &[Arc<Effective>],
        here: fn(&Signal) -> bool,
        now: At,
    ) -> Vec<Change> {
        let mut out = Vec::new();
        // A policy whose signal is judged elsewhere from now on would never move these states again.
        let of = |m: &Machine| rules.iter().find(|r| *r.policy == *m.policy && here(&r.signal));
        for machine in &mut self.all {
            let rule = of(machine);
            for live in std::mem::take(&mut machine.levels) {
                let level =
                    rule.and_then(|r| r.levels.iter().find(|l| l.level == live.identity.level));
                match (rule, level) {
                    (Some(rule), Some(level)) => {
                        let live = live.moved(bearer, (rule, level), &machine.sub, now, &mut out);
                        machine.levels.push(live);
                    }
                    _ => {
                        self.dirty = true;
                        out.extend(live.resolved(now, "policy_changed", rule.cloned()));
                    }
                }
            }
        }
        self.all.retain(|m| of(m).is_some() && !m.is_spent(now));
        self.dirty |= !out.is_empty();
        self.stepped |= !out.is_empty();
        out
    }

    /// Moves every timer by the time nobody watched.
    pub fn shift(&mut self, ms: i64) {
        self.dirty = true;
        for machine in &mut self.all {
            machine.last_good = machine.last_good + ms;
            machine.flips.iter_mut().for_each(|(_, at)| *at = *at + ms);
            for live in &mut machine.levels {
                live.active_at = live.active_at + ms;
                live.keep_since = live.keep_since.map(|t| t + ms);
                live.calm_since = live.calm_since.map(|t| t + ms);
            }
        }
    }
}

impl Machine {
    fn new(policy: &str, sub: &str) -> Machine {
        Machine {
            policy: policy.into(),
            sub: sub.into(),
            last_value: None,
            outside: false,
            last_good: At::EPOCH,
            stepped: At::EPOCH,
            levels: Vec::new(),
            flips: Vec::new(),
        }
    }

    /// Nothing of it is live, and nothing of it could be flapping.
    fn is_spent(&self, now: At) -> bool {
        self.levels.is_empty() && !self.flips.iter().any(|(_, at)| now.since_ms(*at) < FLAP_MS)
    }

    fn step(
        &mut self,
        bearer: &Bearer,
        rule: &Arc<Effective>,
        value: Out,
        ts: At,
        out: &mut Vec<Change>,
    ) {
        self.stepped = ts;
        let input = self.input(rule, value, ts);
        let top = rule.levels.last().map(|l| l.level);
        for level in &rule.levels {
            let index = self.levels.iter().position(|l| l.identity.level == level.level);
            let (breached, holds) = match input {
                Input::Value(v) => {
                    (rule.compare.holds(v, level.fire), clear_holds(rule.compare, v, level))
                }
                Input::Outside | Input::False | Input::Gone => (false, false),
                Input::Missing if top == Some(level.level) => (true, true),
                // A lower level keeps its state behind the highest one.
                Input::Missing => continue,
            };
            let index = match index {
                Some(index) => index,
                None if !breached => continue,
                None => {
                    self.levels.push(Live::pending(bearer, rule, level, &self.sub, ts));
                    self.levels.len() - 1
                }
            };
            let shown = if let Input::Value(v) = input { Some(v) } else { None };
            self.drive(index, (breached, holds), (input, shown), (rule, level), ts, out);
        }
    }

    /// Moves one level; forgets it when it is over.
    fn drive(
        &mut self,
        index: usize,
        (breached, holds): (bool, bool),
        (input, shown): (Input, Option<f64>),
        (rule, level): (&Arc<Effective>, &LevelRule),
        ts: At,
        out: &mut Vec<Change>,
    ) {
        let flips = self.flips_of(level.level, ts);
        let live = &mut self.levels[index];
        live.threshold = level.fire;
        if holds {
            live.pulse.set(shown, ts);
        }
        let was_pending = live.phase == Phase::Pending;
        let flapped = live.pulse.is_flapping();
        let stays = match was_pending {
            true => live.step_pending(breached, flips, level, rule, ts, out),
            false => live.step_firing(breached, holds, input, flips, level, rule, ts, out),
        };
        let fired = was_pending && live.phase == Phase::Firing;
        if flapped && !live.pulse.is_flapping() {
            self.flips.retain(|(l, _)| *l != level.level);
        } else if fired || (!stays && !was_pending) {
            self.flips.push((level.level, ts));
        }
        if !stays {
            self.levels.remove(index);
        }
    }

    /// How often a level fired or resolved within the time that counts.
    fn flips_of(&mut self, level: AlertLevel, ts: At) -> usize {
        // One more than the limit is all that is ever asked for.
        self.flips.retain(|(_, at)| ts.since_ms(*at) < FLAP_MS);
        let n = self.flips.iter().filter(|(l, _)| *l == level).count();
        if n > 2 * FLIPS_MAX {
            self.flips.remove(0);
        }
        n
    }

    fn input(&mut self, rule: &Effective, value: Out, ts: At) -> Input {
        match value {
            Out::Value(v) => {
                (self.last_value, self.outside, self.last_good) = (Some(v), false, ts);
                return Input::Value(v);
            }
            Out::Outside => {
                (self.last_value, self.outside, self.last_good) = (None, true, ts);
                return Input::Outside;
            }
            Out::Missing => {}
        }
        match (rule.on_missing, self.last_value) {
            (OnMissing::Hold(h), last) if ts.since_ms(self.last_good) < h.ms => match last {
                Some(v) => Input::Value(v),
                None if self.outside => Input::Outside,
                None => Input::Gone,
            },
            (OnMissing::Hold(_), _) => Input::Gone,
            (OnMissing::Resolve, _) => Input::False,
            (OnMissing::Fire, _) => Input::Missing,
        }
    }
}

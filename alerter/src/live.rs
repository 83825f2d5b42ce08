//! An alert that is not inactive, as the evaluator has it: identity, phase, timers.
//!
//! Invariant: the label set is fixed from pending to resolved. Only what `for`, `keep_firing_for` and
//! the thresholds say moves it; missing data and errors never do by themselves.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use model::At;
use model::alert::{Phase, fingerprint};
use model::policy::{AlertLevel, Compare};
use serde::{Deserialize, Serialize};

use crate::machine::Input;
use crate::plan::Bearer;
use crate::resolve::{Effective, LevelRule};
use crate::signal::Object;

/// An alert that fired and resolved more often than this within `FLAP_MS` is kept firing.
pub(crate) const FLIPS_MAX: usize = 4;
/// Transitions older than this are forgotten.
pub(crate) const FLAP_MS: i64 = 30 * 60_000;
/// A flapping alert whose condition stayed as it is for this long is let go.
const CALM_MS: i64 = 15 * 60_000;

/// Latest value and time of a live alert, shared with its delivery so that a resend renders the
/// present value without asking the evaluator.
#[derive(Debug, Default)]
pub struct Pulse {
    value: AtomicU64,
    seen: AtomicI64,
    flapping: AtomicBool,
}

impl Pulse {
    /// A pulse with that value.
    pub fn new(value: Option<f64>, seen: At) -> Pulse {
        let pulse = Pulse::default();
        pulse.set(value, seen);
        pulse
    }
    pub(crate) fn set(&self, value: Option<f64>, seen: At) {
        self.value.store(value.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
        self.seen.store(seen.ms(), Ordering::Relaxed);
    }
    /// The latest value; none when data is missing.
    pub fn value(&self) -> Option<f64> {
        let value = f64::from_bits(self.value.load(Ordering::Relaxed));
        (!value.is_nan()).then_some(value)
    }
    /// Whether it swings so often that it is kept firing.
    pub fn is_flapping(&self) -> bool {
        self.flapping.load(Ordering::Relaxed)
    }
    pub(crate) fn set_flapping(&self, flapping: bool) {
        self.flapping.store(flapping, Ordering::Relaxed);
    }
    /// Time of the latest sample that held it up.
    pub fn seen(&self) -> At {
        At::from_ms(self.seen.load(Ordering::Relaxed))
    }
}

impl Serialize for Pulse {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        (self.value(), self.seen()).serialize(s)
    }
}

impl<'de> Deserialize<'de> for Pulse {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Pulse, D::Error> {
        let (value, seen) = Deserialize::deserialize(d)?;
        Ok(Pulse::new(value, seen))
    }
}

/// The label set of an alert, fixed from pending to resolved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// What it is about.
    #[serde(alias = "instance")]
    pub object: Object,
    /// Policy id.
    pub policy: Arc<str>,
    /// Level.
    pub level: AlertLevel,
    /// All labels, external ones too.
    pub labels: BTreeMap<String, String>,
    /// Fingerprint of `labels`.
    pub fingerprint: String,
}

/// A level that is not inactive.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Live {
    /// Who it is.
    pub identity: Arc<Identity>,
    /// pending, firing or recovering.
    pub phase: Phase,
    /// First true sample.
    pub active_at: At,
    /// When it fired; its startsAt.
    pub fired_at: Option<At>,
    /// First false sample of `keep_firing_for`.
    pub(crate) keep_since: Option<At>,
    /// Threshold in force.
    pub threshold: f64,
    /// Under which comparison and clear threshold it last held: tells an edit from a recovery.
    pub(crate) held_under: (Compare, f64),
    /// Why it recovers.
    pub(crate) reason: String,
    /// Since when a flapping alert is calm; none: it does not flap.
    #[serde(default)]
    pub(crate) calm_since: Option<At>,
    /// Whether the condition held at the latest sample.
    #[serde(default)]
    pub(crate) held: bool,
    /// Latest value.
    pub pulse: Arc<Pulse>,
}

/// A step of an alert that exists outside (fired, recovers, fires again, resolved).
#[derive(Debug, Clone)]
pub struct Change {
    /// Before.
    pub from: Phase,
    /// After.
    pub to: Phase,
    /// When: time of the sample.
    pub at: At,
    /// Who.
    pub identity: Arc<Identity>,
    /// startsAt.
    pub starts_at: At,
    /// Threshold in force.
    pub threshold: f64,
    /// Value then.
    pub value: Option<f64>,
    /// Why.
    pub reason: String,
    /// Latest value, shared.
    pub pulse: Arc<Pulse>,
    /// Policy in force; none when it is gone.
    pub rule: Option<Arc<Effective>>,
}

impl Live {
    pub(crate) fn pending(
        bearer: &Bearer,
        rule: &Effective,
        level: &LevelRule,
        sub: &str,
        ts: At,
    ) -> Live {
        Live {
            identity: Arc::new(identity(bearer, rule, level, sub)),
            phase: Phase::Pending,
            active_at: ts,
            fired_at: None,
            keep_since: None,
            threshold: level.fire,
            held_under: (rule.compare, level.clear),
            reason: "threshold".into(),
            calm_since: None,
            held: true,
            pulse: Arc::default(),
        }
    }

    /// startsAt of a fired alert; of a pending one, its first true sample.
    pub fn starts_at(&self) -> At {
        self.fired_at.unwrap_or(self.active_at)
    }

    pub(crate) fn step_pending(
        &mut self,
        breached: bool,
        flips: usize,
        level: &LevelRule,
        rule: &Arc<Effective>,
        ts: At,
        out: &mut Vec<Change>,
    ) -> bool {
        self.held = breached;
        if breached && ts.since_ms(self.active_at) >= level.for_ms {
            self.fired_at = Some(ts);
            self.held_under = (rule.compare, level.clear);
            if flips >= FLIPS_MAX {
                self.flap(ts);
            }
            self.turn(Phase::Firing, ts, Some(rule), out);
        }
        breached
    }

    #[allow(clippy::too_many_arguments, reason = "the facts of one decision, used once")]
    pub(crate) fn step_firing(
        &mut self,
        breached: bool,
        holds: bool,
        input: Input,
        flips: usize,
        level: &LevelRule,
        rule: &Arc<Effective>,
        ts: At,
        out: &mut Vec<Change>,
    ) -> bool {
        let released = self.swing(holds, ts);
        if holds {
            self.keep_since = None;
            self.held_under = (rule.compare, level.clear);
            let phase = if breached { Phase::Firing } else { Phase::Recovering };
            if phase != self.phase {
                self.reason = "threshold".into();
                self.turn(phase, ts, Some(rule), out);
            }
            return true;
        }
        if self.keep_since.is_none() {
            self.reason = match input {
                Input::Value(_) | Input::Outside
                    if self.held_under != (rule.compare, level.clear) =>
                {
                    "policy_changed"
                }
                Input::Value(_) | Input::Outside => "threshold",
                _ => "missing",
            }
            .into();
        }
        let since = *self.keep_since.get_or_insert(ts);
        // What may not be held any longer has had its time already.
        let gone = matches!(input, Input::Gone);
        let in_time = ts.since_ms(since) < rule.keep_ms;
        let kept = !gone && (in_time || self.flaps(flips, released, ts));
        let phase = if kept { Phase::Recovering } else { Phase::Resolved };
        if phase != self.phase {
            self.turn(phase, ts, Some(rule), out);
        }
        kept
    }

    /// Notes whether the condition moved, and lets a flapping alert go once it is calm. Answers
    /// whether it was let go just now.
    fn swing(&mut self, holds: bool, ts: At) -> bool {
        let moved = std::mem::replace(&mut self.held, holds) != holds;
        let Some(since) = self.calm_since else { return false };
        if moved {
            self.calm_since = Some(ts);
            return false;
        }
        let calm = ts.since_ms(since) >= CALM_MS;
        if calm {
            self.calm_since = None;
            self.pulse.set_flapping(false);
        }
        calm
    }

    /// Whether it must not resolve, because that would be one time too many.
    fn flaps(&mut self, flips: usize, released: bool, ts: At) -> bool {
        if self.calm_since.is_none() && !released && flips >= FLIPS_MAX {
            self.flap(ts);
        }
        self.calm_since.is_some()
    }

    /// Marks it as flapping.
    pub(crate) fn flap(&mut self, ts: At) {
        self.calm_since = Some(ts);
        self.pulse.set_flapping(true);
    }

    fn turn(&mut self, to: Phase, at: At, rule: Option<&Arc<Effective>>, out: &mut Vec<Change>) {
        let from = std::mem::replace(&mut self.phase, to);
        out.push(self.change(from, at, rule.cloned()));
    }

    fn change(&self, from: Phase, at: At, rule: Option<Arc<Effective>>) -> Change {
        Change {
            from,
            to: self.phase,
            at,
            identity: self.identity.clone(),
            starts_at: self.starts_at(),
            threshold: self.threshold,
            value: self.pulse.value(),
            reason: self.reason.clone(),
            pulse: self.pulse.clone(),
            rule,
        }
    }

    /// The end of a fired alert; a pending one just goes.
    pub(crate) fn resolved(
        mut self,
        at: At,
        reason: &str,
        rule: Option<Arc<Effective>>,
    ) -> Option<Change> {
        self.fired_at?;
        self.reason = reason.into();
        let from = std::mem::replace(&mut self.phase, Phase::Resolved);
        Some(self.change(from, at, rule))
    }

    pub(crate) fn moved(
        mut self,
        bearer: &Bearer,
        (rule, level): (&Arc<Effective>, &LevelRule),
        sub: &str,
        now: At,
        out: &mut Vec<Change>,
    ) -> Live {
        if bearer.labels.iter().all(|(name, value)| self.identity.labels.get(name) == Some(value)) {
            return self;
        }
        let new = Arc::new(identity(bearer, rule, level, sub));
        let old = self.clone();
        self.identity = new;
        if let Some(ended) = old.resolved(now, "instance_moved", Some(rule.clone())) {
            out.push(ended);
            out.push(self.change(Phase::Pending, now, Some(rule.clone())));
        }
        self
    }
}

fn identity(bearer: &Bearer, rule: &Effective, rule_level: &LevelRule, sub: &str) -> Identity {
    let level = rule_level.level;
    let mut labels: BTreeMap<String, String> = (*bearer.external).clone();
    labels.insert("severity".into(), rule_level.severity.clone());
    labels.extend(rule.labels.clone());
    labels.extend(rule.signal.labels(sub));
    labels.extend(bearer.labels.clone());
    labels.extend(rule.receiver.iter().map(|r| ("receiver".to_string(), r.clone())));
    labels.insert("alertname".into(), rule_level.alertname.clone());
    labels.insert("policy".into(), rule.policy.clone());
    labels.insert("level".into(), level.as_str().into());
    // An empty value and no label are the same to every receiver.
    labels.retain(|_, value| !value.is_empty());
    let fingerprint = fingerprint(&labels);
    Identity {
        object: bearer.object.clone(),
        policy: rule.policy.as_str().into(),
        level,
        labels,
        fingerprint,
    }
}

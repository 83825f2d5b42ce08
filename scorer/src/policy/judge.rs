//! Whether a document can be saved where it stands.
//!
//! Invariant: every flaw has its place in the document and what is allowed there; a document without
//! flaws merges whole, nothing of it is ignored. What lies far from the profile is a flaw that a system
//! administrator may sign, and no other is.

use std::fmt::Display;

use model::At;
use model::score::Dimension;
use model::score_policy::{Knots, PolicyFlaw, ScorePolicyDoc};

use super::field::{SPIKES, Slot, sets};
use super::{Counted, Gate, Merged, Policy, WEIGHT_MIN};
use crate::Signal;
use crate::curve::Curve;

/// A weight or loss may differ from the profile's by this share of it …
const FAR_SHARE: f64 = 0.5;
/// … or by this many points, whichever is more.
const FAR_POINTS: f64 = 10.0;
/// Longest switch-off, days: what is not looked at for longer is not an exception.
const OFF_DAYS_MAX: i64 = 400;
/// Longest reason of a switch-off, characters: it stands in every explanation.
const REASON_CHARS_MAX: usize = 200;
/// Replicas of one master that anybody runs.
const REPLICAS_MAX: u32 = 20;
/// Zones of one site.
const ZONES_MAX: u32 = 9;
/// Slow-log limits that make sense, ms.
const SLOW_MS: std::ops::RangeInclusive<f64> = 0.1..=10_000.0;
/// Promises that make sense: less is none, and 1 cannot be kept.
const SLO: std::ops::RangeInclusive<f64> = 0.5..=0.999_999;

/// Fields and groups that can be locked, beside `curves.<signal>`, `off.<signal>` and `gates.<gate>`.
const LOCKABLE: [&str; 11] = [
    "profile",
    "weights",
    "curves",
    "off",
    "gates",
    "required",
    "required.replicas",
    "required.zones",
    "required.persistence",
    "slowlog_limit_ms",
    "slo",
];

/// Everything that stands against a document; `above` is what is in force without it.
pub fn judge(doc: &ScorePolicyDoc, above: &Merged, now: At) -> Vec<PolicyFlaw> {
    let mut judged = Judged { flaws: Vec::new() };
    judged.weights(doc);
    judged.curves(doc);
    judged.off(doc, now);
    judged.gates(doc);
    judged.numbers(doc);
    judged.locked(doc);
    judged.above(doc, above);
    judged.flaws
}

struct Judged {
    flaws: Vec<PolicyFlaw>,
}

/// A name as a part of a JSON pointer.
fn part(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

impl Judged {
    fn add(&mut self, pointer: impl Display, detail: impl Display, signable: bool) {
        let (pointer, detail) = (pointer.to_string(), detail.to_string());
        self.flaws.push(PolicyFlaw { pointer, detail, signable });
    }

    fn wrong(&mut self, pointer: impl Display, detail: impl Display) {
        self.add(pointer, detail, false);
    }

    fn far(&mut self, pointer: impl Display, value: f64, usual: f64, unit: f64) {
        let room = (FAR_SHARE * usual).max(FAR_POINTS * unit);
        if (value - usual).abs() > room + 1e-9 {
            let (low, high) = ((usual - room).max(0.0), usual + room);
            let (high, scale) = (high.min(100.0 * unit), if unit < 1.0 { 2 } else { 1 });
            let detail = format!(
                "{value:.scale$} is far from the profile's {usual:.scale$}: {low:.scale$} to \
                 {high:.scale$}, or a system administrator signs"
            );
            self.add(pointer, detail, true);
        }
    }

    fn weights(&mut self, doc: &ScorePolicyDoc) {
        let Some(weights) = doc.weights else { return };
        let builtin = Policy::for_profile(doc.profile.unwrap_or_default()).weights;
        let mut readable = true;
        for (dimension, (weight, usual)) in
            DIMENSIONS.into_iter().zip(weights.array().into_iter().zip(builtin))
        {
            let at = format!("/weights/{}", dimension.as_str());
            if (WEIGHT_MIN..=1.0).contains(&weight) {
                self.far(at, weight, usual, 0.01);
            } else {
                readable = false;
                self.wrong(at, format!("{weight}: allowed are {WEIGHT_MIN} to 1"));
            }
        }
        let sum: f64 = weights.array().iter().sum();
        if readable && (sum - 1.0).abs() > 1e-9 {
            self.wrong("/weights", format!("they sum to {sum:.4}; all four must sum to 1"));
        }
    }

    fn curves(&mut self, doc: &ScorePolicyDoc) {
        let builtin = Policy::for_profile(doc.profile.unwrap_or_default());
        for (name, knots) in &doc.curves {
            let at = format!("/curves/{}", part(name));
            match Slot::parse(name) {
                None => self.wrong(at, format!("{name} is no signal; there are {}", signals())),
                Some(slot) => self.curve(&at, knots, slot.curve(&builtin)),
            }
        }
    }

    fn curve(&mut self, at: &str, knots: &Knots, usual: &Curve) {
        let curve = match Curve::new(at, knots.clone()) {
            Ok(curve) => curve,
            Err(bad) => {
                // The curve's own place is written `[2]`; a pointer says `/2`.
                let place = bad.place.replace('[', "/").replace(']', "");
                return self.wrong(place, bad.reason);
            }
        };
        if curve.falls() != usual.falls() {
            let way = if usual.falls() { "fall" } else { "rise" };
            return self.wrong(at, format!("its values must {way}: that is the unhealthy way"));
        }
        for x in curve.bends_with(usual) {
            let mine = knots.iter().position(|(own, _)| *own == x);
            let place = mine.map_or_else(|| at.to_owned(), |i| format!("{at}/{i}"));
            let before = self.flaws.len();
            self.far(&place, curve.loss(x), usual.loss(x), 1.0);
            if self.flaws.len() == before {
                self.far(&place, curve.loss_after(x), usual.loss_after(x), 1.0);
            }
            if let (None, Some(flaw)) = (mine, self.flaws.get_mut(before)) {
                flaw.detail = format!("between its knots, at {x}: {}", flaw.detail);
            }
        }
    }

    fn off(&mut self, doc: &ScorePolicyDoc, now: At) {
        for (name, off) in &doc.off {
            let at = format!("/off/{}", part(name));
            if Counted::parse(name).is_none() {
                let detail = match Gate::parse(name) {
                    Some(_) => format!("{name} says what is gone, and cannot be switched off"),
                    None => format!("{name} is no signal and no gate; signals are {}", signals()),
                };
                self.wrong(&at, detail);
            }
            let Some(off) = off else { continue };
            let reason = off.reason.trim().chars().count();
            if reason == 0 || reason > REASON_CHARS_MAX {
                let detail = format!("say why, in at most {REASON_CHARS_MAX} characters");
                self.wrong(format!("{at}/reason"), detail);
            }
            let ahead = off.until.since_ms(now);
            if ahead <= 0 || ahead > OFF_DAYS_MAX * 86_400_000 {
                let detail = format!("must lie ahead, by at most {OFF_DAYS_MAX} days");
                self.wrong(format!("{at}/until"), detail);
            }
        }
    }

    fn gates(&mut self, doc: &ScorePolicyDoc) {
        for (name, cap) in &doc.gates {
            let at = format!("/gates/{}", part(name));
            match Gate::parse(name) {
                None => self.wrong(at, format!("{name} is no gate; there are {}", gates())),
                Some(gate) if !gate.is_settable() => {
                    let detail = "its cap follows from what is gone, and cannot be set";
                    self.wrong(at, format!("{detail}; {} can", gates()));
                }
                Some(_) if !(0.0..=100.0).contains(cap) => {
                    self.wrong(at, format!("{cap}: allowed are 0 to 100"));
                }
                Some(_) => {}
            }
        }
    }

    fn numbers(&mut self, doc: &ScorePolicyDoc) {
        if let Some(n) = doc.required.replicas.filter(|n| *n > REPLICAS_MAX) {
            self.wrong("/required/replicas", format!("{n}: allowed are 0 to {REPLICAS_MAX}"));
        }
        if let Some(n) = doc.required.zones.filter(|n| !(1..=ZONES_MAX).contains(n)) {
            self.wrong("/required/zones", format!("{n}: allowed are 1 to {ZONES_MAX}"));
        }
        if let Some(ms) = doc.slowlog_limit_ms.filter(|ms| !SLOW_MS.contains(ms)) {
            let (low, high) = (SLOW_MS.start(), SLOW_MS.end());
            self.wrong("/slowlog_limit_ms", format!("{ms}: allowed are {low} to {high}"));
        }
        if let Some(slo) = doc.slo.filter(|slo| !SLO.contains(&slo.target)) {
            let (low, high) = (SLO.start(), SLO.end());
            self.wrong("/slo/target", format!("{}: allowed are {low} to {high}", slo.target));
        }
    }

    fn locked(&mut self, doc: &ScorePolicyDoc) {
        for (i, name) in doc.locked.iter().enumerate() {
            let known = match name.split_once('.') {
                Some(("curves", slot)) => Slot::parse(slot).is_some(),
                Some(("off", what)) => Counted::parse(what).is_some(),
                Some(("gates", gate)) => Gate::parse(gate).is_some_and(Gate::is_settable),
                _ => LOCKABLE.contains(&name.as_str()),
            };
            if !known {
                let detail = format!(
                    "{name} is no field; there are {} and curves.<signal>, off.<signal>, gates.<gate>",
                    LOCKABLE.join(", ")
                );
                self.wrong(format!("/locked/{i}"), detail);
            }
        }
    }

    /// What the scopes above do not allow.
    fn above(&mut self, doc: &ScorePolicyDoc, above: &Merged) {
        for (field, set) in sets(doc) {
            if let Some(why) = above.objection(&field, &set, &doc.scope) {
                let (group, rest) = field.split_once('.').unwrap_or((&field, ""));
                let pointer = match rest {
                    "" => format!("/{group}"),
                    rest => format!("/{group}/{}", part(rest)),
                };
                self.wrong(pointer, why);
            }
        }
    }
}

const DIMENSIONS: [Dimension; 4] =
    [Dimension::Availability, Dimension::Memory, Dimension::Connections, Dimension::Slowlog];

fn signals() -> String {
    let names: Vec<&str> = Signal::all().iter().map(|s| s.as_str()).collect();
    format!("{}, {SPIKES}", names.join(", "))
}

fn gates() -> String {
    let settable = Gate::ALL.into_iter().filter(|g| g.is_settable());
    settable.map(Gate::as_str).collect::<Vec<_>>().join(", ")
}

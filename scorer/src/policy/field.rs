//! The fields of a document: reading them, what "looser" means for each, putting them in force.
//!
//! Invariant: a name or value nobody knows sets nothing (a newer program may have written it); looser
//! means that somewhere something could score better than before.

use model::score_policy::{Knots, Off, ScorePolicyDoc};
use model::service::Profile;

use super::{Counted, Gate, Origin, Persistence, Policy, Switch};
use crate::Signal;
use crate::curve::Curve;

/// Signals that only the platform may switch off: without them nobody sees that data is gone or
/// users are refused.
const ALWAYS: [Signal; 5] = [Signal::A1, Signal::A5, Signal::A8, Signal::M1, Signal::C2];

/// Name of the second curve of S6.
pub(super) const SPIKES: &str = "S6.spikes";

/// A curve of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Of(Signal),
    Spikes,
}

impl Slot {
    pub fn parse(text: &str) -> Option<Slot> {
        if text == SPIKES { Some(Slot::Spikes) } else { Signal::parse(text).map(Slot::Of) }
    }

    pub fn curve(self, policy: &Policy) -> &Curve {
        match self {
            Slot::Of(signal) => policy.curve(signal),
            Slot::Spikes => policy.spikes(),
        }
    }
}

/// A field that is set.
#[derive(Debug, Clone)]
pub(super) enum Set<'a> {
    Profile(Profile),
    Weights([f64; 4]),
    Curve(Slot, Curve),
    Off(Counted, Option<&'a Off>),
    Cap(Gate, f64),
    Replicas(u32),
    Zones(u32),
    Persistence(bool),
    SlowLimit(f64),
    Slo(f64),
}

/// The fields a document sets, those that can be read.
pub(super) fn sets(doc: &ScorePolicyDoc) -> Vec<(String, Set<'_>)> {
    let mut all = Vec::new();
    let mut add = |name: &str, set: Option<Set<'static>>| {
        all.extend(set.map(|set| (name.to_owned(), set)));
    };
    // First of all: what follows may be set over what a profile brings.
    add("profile", doc.profile.map(Set::Profile));
    add("weights", doc.weights.map(|w| Set::Weights(w.array())));
    add("required.replicas", doc.required.replicas.map(Set::Replicas));
    add("required.zones", doc.required.zones.map(Set::Zones));
    add("required.persistence", doc.required.persistence.map(Set::Persistence));
    add("slowlog_limit_ms", doc.slowlog_limit_ms.map(Set::SlowLimit));
    add("slo", doc.slo.map(|slo| Set::Slo(slo.target)));
    let mut all: Vec<(String, Set<'_>)> = all;
    all.extend(doc.curves.iter().filter_map(|(name, knots)| {
        let curve = curve(name, knots)?;
        Some((format!("curves.{name}"), Set::Curve(Slot::parse(name)?, curve)))
    }));
    all.extend(doc.off.iter().filter_map(|(name, off)| {
        Some((format!("off.{name}"), Set::Off(Counted::parse(name)?, off.as_ref())))
    }));
    all.extend(doc.gates.iter().filter_map(|(name, cap)| {
        let gate = Gate::parse(name).filter(|g| g.is_settable())?;
        Some((format!("gates.{name}"), Set::Cap(gate, *cap)))
    }));
    all
}

fn curve(name: &str, knots: &Knots) -> Option<Curve> {
    Curve::new(name, knots.clone()).ok()
}

impl Set<'_> {
    /// What no scope below the platform may say; none: it may.
    pub fn forbidden_below_platform(&self, policy: &Policy) -> Option<String> {
        match self {
            Set::Off(Counted::Gate(_), Some(_)) => {
                Some("gates cannot be switched off below the platform".into())
            }
            Set::Off(Counted::Signal(signal), Some(_)) if ALWAYS.contains(signal) => {
                let names = ALWAYS.map(Signal::as_str).join(", ");
                Some(format!("{names} cannot be switched off below the platform"))
            }
            Set::Cap(gate, cap) if *cap > policy.cap(*gate) => Some(format!(
                "a cap may only be lowered below the platform: {} is in force",
                policy.cap(*gate)
            )),
            _ => None,
        }
    }

    /// Where it is looser than what is in force; none: nowhere. `replicas`: declared by the inventory.
    pub fn looser_than(&self, policy: &Policy, replicas: u32) -> Option<String> {
        let looser = |is: bool, in_force: String| is.then(|| format!("{in_force} is in force"));
        match self {
            // Between profiles and between weights there is no order: each is looser somewhere.
            Set::Profile(profile) => {
                looser(*profile != policy.profile, policy.profile.as_str().into())
            }
            Set::Weights(weights) => {
                let same = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9;
                let moved = !weights.iter().zip(&policy.weights).all(same);
                looser(moved, format!("{:?}", policy.weights))
            }
            Set::Curve(slot, curve) => {
                let old = slot.curve(policy);
                if curve.falls() != old.falls() {
                    return Some("its values run the other way".into());
                }
                let (x, here, there) = curve.less_than(old)?;
                Some(format!("at {x} it loses {here:.2}, in force is {there:.2}"))
            }
            Set::Off(what, Some(off)) => {
                let held = policy.off.iter().find(|s| s.what == *what).and_then(|s| s.off.as_ref());
                let as_long = held.is_some_and(|held| held.until >= off.until);
                looser(!as_long, "that it counts".into())
            }
            Set::Off(_, None) => None,
            Set::Cap(gate, cap) => {
                looser(*cap > policy.cap(*gate), format!("{}", policy.cap(*gate)))
            }
            Set::Replicas(n) => {
                let present = policy.replicas.unwrap_or(replicas);
                looser(*n < present, present.to_string())
            }
            Set::Zones(n) => {
                let present = policy.zones.unwrap_or(0);
                looser(*n < present, present.to_string())
            }
            Set::Persistence(wanted) => {
                looser(!wanted && policy.persistence != Persistence::No, "required".into())
            }
            Set::SlowLimit(ms) => {
                let present = policy.slowlog_limit_ms;
                looser(*ms > present, format!("{present} ms"))
            }
            Set::Slo(target) => {
                let present = policy.slo_target;
                looser(present.is_some_and(|p| *target < p), format!("{}", present.unwrap_or(0.0)))
            }
        }
    }

    /// Puts it in force.
    pub fn apply(self, policy: &mut Policy, origin: &Origin) {
        match self {
            Set::Profile(profile) => {
                policy.profile = profile;
                if !policy.origins.contains_key("required.persistence") {
                    policy.persistence = Policy::for_profile(profile).persistence;
                }
            }
            Set::Weights(weights) => policy.weights = weights,
            Set::Curve(Slot::Of(signal), curve) => policy.curves[signal as usize] = curve,
            Set::Curve(Slot::Spikes, curve) => policy.spikes = curve,
            Set::Off(what, off) => {
                let switch = Switch { what, off: off.cloned(), origin: origin.clone() };
                policy.off.insert(0, switch);
            }
            Set::Cap(gate, cap) => policy.caps[gate as usize] = cap,
            Set::Replicas(n) => policy.replicas = Some(n),
            Set::Zones(n) => policy.zones = Some(n),
            Set::Persistence(true) => policy.persistence = Persistence::Required,
            Set::Persistence(false) => policy.persistence = Persistence::No,
            Set::SlowLimit(ms) => policy.slowlog_limit_ms = ms,
            Set::Slo(target) => policy.slo_target = Some(target),
        }
    }
}

//! A merged policy field by field, for people: its value, who set it, who locked it.

use model::score_policy::EffectiveField;

use super::field::{SPIKES, Slot};
use super::{Gate, Merged, Persistence};
use crate::Signal;
use crate::curve::Curve;

impl Merged {
    /// Every field in force.
    pub fn effective(&self) -> Vec<EffectiveField> {
        let policy = &self.policy;
        let [a, m, c, s] = policy.weights;
        let number =
            |n: Option<u32>| n.map_or_else(|| "as the inventory says".into(), |n| n.to_string());
        let mut all = vec![
            self.field("profile", policy.profile.as_str().into()),
            self.field(
                "weights",
                format!("availability {a}, memory {m}, connections {c}, slowlog {s}"),
            ),
            self.field("required.replicas", number(policy.replicas)),
            self.field("required.zones", number(policy.zones)),
            self.field("required.persistence", persistence(policy.persistence).into()),
            self.field("slowlog_limit_ms", policy.slowlog_limit_ms.to_string()),
            self.field(
                "slo",
                policy.slo_target.map_or_else(|| "as the tier says".into(), |t| t.to_string()),
            ),
        ];
        for switch in &policy.off {
            let text = match &switch.off {
                Some(off) => format!("until {}: {}", off.until, off.reason),
                None => "counts".into(),
            };
            let field = format!("off.{}", switch.what.as_str());
            let origin = switch.origin.to_string();
            all.push(EffectiveField { origin, ..self.field(&field, text) });
        }
        for gate in Gate::ALL.into_iter().filter(|g| g.is_settable()) {
            all.push(self.field(&format!("gates.{}", gate.as_str()), policy.cap(gate).to_string()));
        }
        let slots = Signal::all().iter().map(|s| (s.as_str(), Slot::Of(*s)));
        for (name, slot) in slots.chain([(SPIKES, Slot::Spikes)]) {
            all.push(self.field(&format!("curves.{name}"), knots(slot.curve(policy))));
        }
        all
    }

    fn field(&self, field: &str, value: String) -> EffectiveField {
        EffectiveField {
            field: field.to_owned(),
            value,
            origin: self.policy.origin_of(field),
            locked: self.lock(field).map(ToString::to_string).unwrap_or_default(),
        }
    }
}

fn persistence(wanted: Persistence) -> &'static str {
    match wanted {
        Persistence::Required => "true",
        Persistence::IfSet => "only if set",
        Persistence::No => "false",
    }
}

fn knots(curve: &Curve) -> String {
    let one = |(x, loss): &(f64, f64)| format!("{x}: {loss}");
    curve.knots().iter().map(one).collect::<Vec<_>>().join(", ")
}

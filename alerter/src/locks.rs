//! Locks and caps: what a layer may not loosen because a layer above it says so.
//!
//! Invariant: pure; tightening is always free. Looser means: a threshold further from normal, a longer
//! `for`, a shorter `keep_firing_for`, missing data counting less, a lower severity, an added mute,
//! switched off. A locked field of another kind cannot change at all.

use model::inventory::Inventory;
use model::policy::check::Flaw;
use model::policy::{AlertLevel, Cap, Compare, OnMissing, PolicyDoc, PolicyScope, Span};

use crate::resolve::{by_depth, depth};

/// What `doc` loosens against the layers above it in `all`.
pub fn broken(doc: &PolicyDoc, all: &[&PolicyDoc], inventory: &Inventory) -> Vec<Flaw> {
    let above = |d: &&&PolicyDoc| {
        d.policy == doc.policy
            && depth(&d.scope) < depth(&doc.scope)
            && contains(&d.scope, &doc.scope, inventory)
    };
    let uppers: Vec<&PolicyDoc> = all.iter().filter(above).copied().collect();
    let uppers = by_depth(&uppers);
    let inherited = Inherited { uppers: &uppers };
    let mut out = Vec::new();
    for upper in &uppers {
        let scope = String::from(upper.scope.clone());
        for (field, cap) in &upper.caps {
            let beyond = number(doc, field).and_then(|value| beyond(value, *cap));
            if let Some(said) = beyond {
                let place = field.replace('.', "/");
                out.push(Flaw::new(place, format!("{said}, the cap of {scope}")));
            }
        }
        for (field, looser) in inherited.loosened(doc) {
            if looser && upper.locked.covers(&field) {
                let place = field.replace('.', "/");
                out.push(Flaw::new(place, format!("{scope} locks it; it may only be tightened")));
            }
        }
    }
    out.dedup();
    out
}

fn beyond(value: f64, cap: Cap) -> Option<String> {
    if let Some(max) = cap.max.filter(|max| value > *max) {
        return Some(format!("{value} is above {max}"));
    }
    let min = cap.min.filter(|min| value < *min)?;
    Some(format!("{value} is below {min}"))
}

/// Whether the outer scope holds the inner one.
pub(crate) fn contains(outer: &PolicyScope, inner: &PolicyScope, inventory: &Inventory) -> bool {
    let service = match inner {
        PolicyScope::Service(id) => Some(id.clone()),
        PolicyScope::Instance(id) => Some(id.service()),
        _ => None,
    };
    let tenant = match inner {
        PolicyScope::Platform => None,
        PolicyScope::Tenant(id) => Some(id.clone()),
        PolicyScope::System(id) => Some(id.tenant()),
        PolicyScope::Service(id) => Some(id.tenant()),
        PolicyScope::Instance(id) => Some(id.tenant()),
    };
    match outer {
        PolicyScope::Platform => true,
        PolicyScope::Tenant(id) => tenant.as_ref() == Some(id),
        PolicyScope::System(id) => {
            let of = service.and_then(|s| inventory.services.get(&s).map(|s| s.system.clone()));
            of.as_ref() == Some(id)
        }
        PolicyScope::Service(id) => service.as_ref() == Some(id),
        PolicyScope::Instance(_) => false,
    }
}

/// A numeric field a document sets; lengths of time in seconds.
fn number(doc: &PolicyDoc, field: &str) -> Option<f64> {
    let seconds = |span: Span| span.ms as f64 / 1000.0;
    if field == "keep_firing_for" {
        return doc.keep_firing_for.map(seconds);
    }
    let (level, field) = field.strip_prefix("levels.")?.split_once('.')?;
    let t = doc.levels.get(&AlertLevel::parse(level)?)?;
    match field {
        "fire" => t.fire,
        "clear" => t.clear,
        "for" => t.hold_for.map(seconds),
        _ => None,
    }
}

/// What the layers above say, the deepest last.
struct Inherited<'a> {
    uppers: &'a [&'a PolicyDoc],
}

impl Inherited<'_> {
    fn last<T>(&self, of: impl Fn(&PolicyDoc) -> Option<T>) -> Option<T> {
        self.uppers.iter().rev().find_map(|d| of(d))
    }

    /// The fields `doc` changes, and whether the change loosens them.
    fn loosened(&self, doc: &PolicyDoc) -> Vec<(String, bool)> {
        let mut out = self.levels(doc);
        if let Some(keep) = doc.keep_firing_for {
            let before = self.last(|d| d.keep_firing_for).unwrap_or_default();
            out.push(("keep_firing_for".into(), keep < before));
        }
        if let Some(missing) = doc.on_missing {
            let before = self.last(|d| d.on_missing).unwrap_or(crate::resolve::HOLD_DEFAULT);
            out.push(("on_missing".into(), weight(missing) < weight(before)));
        }
        for (level, severity) in &doc.severity_map {
            let before = self.last(|d| d.severity_map.get(level).cloned());
            let before = before.unwrap_or_else(|| level.as_str().to_string());
            // Words of an organisation have no order we know.
            let higher = match (AlertLevel::parse(severity), AlertLevel::parse(&before)) {
                (Some(new), Some(old)) => new >= old,
                _ => *severity == before,
            };
            out.push((format!("severity_map.{}", level.as_str()), !higher));
        }
        if let Some(calendar) = &doc.calendar {
            let before = self.last(|d| d.calendar.clone()).unwrap_or_default();
            let more = calendar.mute.iter().any(|name| !before.mute.contains(name))
                || calendar.active != before.active;
            out.push(("calendar".into(), more));
        }
        out.push(("enabled".into(), doc.enabled == Some(false)));
        out.extend(self.others(doc));
        out
    }

    fn levels(&self, doc: &PolicyDoc) -> Vec<(String, bool)> {
        let compare = self.last(|d| d.compare).unwrap_or_default();
        let further = |new: f64, old: f64| match compare {
            Compare::Gt | Compare::Ge => new > old,
            Compare::Lt | Compare::Le => new < old,
            Compare::Eq | Compare::Ne => new != old,
        };
        let mut out = Vec::new();
        for (level, t) in &doc.levels {
            let path = |field: &str| format!("levels.{}.{field}", level.as_str());
            for (field, value) in [("fire", t.fire), ("clear", t.clear)] {
                let Some(value) = value else { continue };
                let before = self.last(|d| number(d, &path(field)));
                out.push((path(field), before.is_some_and(|old| further(value, old))));
            }
            if let Some(span) = t.hold_for {
                let before = self.last(|d| d.levels.get(level)?.hold_for).unwrap_or_default();
                out.push((path("for"), span > before));
            }
        }
        out
    }

    /// Fields without an order: any change is one too many.
    fn others(&self, doc: &PolicyDoc) -> Vec<(String, bool)> {
        let differs = |name: &str, changed: bool| (name.to_string(), changed);
        vec![
            differs(
                "signal",
                doc.signal.is_some() && doc.signal != self.last(|d| d.signal.clone()),
            ),
            differs("window", doc.window.is_some() && doc.window != self.last(|d| d.window)),
            differs("compare", doc.compare.is_some() && doc.compare != self.last(|d| d.compare)),
            differs("route", doc.route.is_some() && doc.route != self.last(|d| d.route.clone())),
            differs("engine", doc.engine.is_some() && doc.engine != self.last(|d| d.engine)),
            differs("runbooks", !doc.runbooks.is_empty()),
            differs("labels", !doc.labels.is_empty()),
            differs("annotations", !doc.annotations.is_empty()),
            differs("alertname", doc.alertname.is_some()),
        ]
    }
}

/// How much missing data counts.
fn weight(missing: OnMissing) -> (u8, i64) {
    match missing {
        OnMissing::Resolve => (0, 0),
        OnMissing::Hold(span) => (1, span.ms),
        OnMissing::Fire => (2, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn doc(yaml: &str) -> PolicyDoc {
        serde_saphyr::from_str(yaml).unwrap()
    }

    const BASE: &str = "
policy: memory-used
scope: platform
signal: {metric: redis_memory_used_bytes, over: redis_memory_max_bytes}
compare: '>'
levels:
  warning: {fire: 0.85, clear: 0.80, for: 5m}
  critical: {fire: 0.95, clear: 0.90, for: 2m}
keep_firing_for: 5m
locked: true
caps: {levels.warning.fire: {min: 0.5}}
";

    fn said(yaml: &str) -> Vec<String> {
        let (base, below) = (doc(BASE), doc(yaml));
        let flaws = broken(&below, &[&base, &below], &Inventory::default());
        flaws.iter().map(Flaw::to_string).collect()
    }

    #[test]
    fn a_locked_field_can_be_tightened_and_not_loosened() {
        for (field, loose, tight) in [
            (
                "levels/critical/fire",
                "levels: {critical: {fire: 0.96}}",
                "levels: {critical: {fire: 0.94}}",
            ),
            (
                "levels/critical/for",
                "levels: {critical: {for: 3m}}",
                "levels: {critical: {for: 1m}}",
            ),
            ("keep_firing_for", "keep_firing_for: 1m", "keep_firing_for: 9m"),
            ("on_missing", "on_missing: resolve", "on_missing: fire"),
            (
                "severity_map/warning",
                "severity_map: {warning: info}",
                "severity_map: {warning: critical}",
            ),
            ("calendar", "calendar: {mute: [night]}", "calendar: {}"),
            ("enabled", "enabled: false", "enabled: true"),
        ] {
            let found = said(&format!("{{policy: memory-used, scope: 'tenant:pay', {loose}}}"));
            assert!(found.len() == 1 && found[0].starts_with(field), "{loose}: {found:?}");
            assert!(found[0].contains("platform locks it"), "{found:?}");
            let found = said(&format!("{{policy: memory-used, scope: 'tenant:pay', {tight}}}"));
            assert!(found.is_empty(), "{tight}: {found:?}");
        }
    }

    #[test]
    fn a_locked_field_without_an_order_cannot_change_and_a_cap_is_named() {
        let found = said("{policy: memory-used, scope: 'tenant:pay', route: {receiver: x}}");
        assert!(found.len() == 1 && found[0].starts_with("route"), "{found:?}");
        let found =
            said("{policy: memory-used, scope: 'tenant:pay', levels: {warning: {fire: 0.4}}}");
        assert_eq!(found, ["levels/warning/fire: 0.4 is below 0.5, the cap of platform"]);
    }

    #[test]
    fn another_tenant_and_the_layer_itself_are_not_bound() {
        let own = BASE.replace("platform", "'tenant:pay'");
        let (own, other) =
            (doc(&own), doc("{policy: memory-used, scope: 'tenant:shop', keep_firing_for: 1m}"));
        let none = Inventory::default();
        assert!(broken(&other, &[&own], &none).is_empty());
        assert!(broken(&own, &[&own], &none).is_empty());
        let service = doc("{policy: memory-used, scope: 'service:pay.cart', keep_firing_for: 1m}");
        assert_eq!(broken(&service, &[&own], &none).len(), 1);
    }
}

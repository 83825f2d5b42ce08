//! What is wrong with a document by itself, with the place and the reason.
//!
//! Refuses to know: which series there are, other documents, the tree.

use super::{AlertLevel, Compare, Locked, PolicyDoc, SignalRef, Span, Threshold, Window};
use crate::At;

/// Labels the evaluator sets itself; a policy may not.
pub const OWN_LABELS: [&str; 9] =
    ["alertname", "policy", "level", "tenant", "system", "service", "instance", "zone", "receiver"];

/// Something in a document that cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// Where: `levels/critical/fire`.
    pub place: String,
    /// What was found and what is allowed.
    pub reason: String,
}

impl Flaw {
    /// At `place`, for `reason`.
    pub fn new(place: impl Into<String>, reason: impl Into<String>) -> Flaw {
        Flaw { place: place.into(), reason: reason.into() }
    }
}

impl std::fmt::Display for Flaw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.place, self.reason)
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_label_name(name: &str) -> bool {
    let fine = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(fine)
}

/// Everything that is wrong with a document by itself. `now` tells whether `until` is past.
pub fn flaws(doc: &PolicyDoc, now: At) -> Vec<Flaw> {
    let mut out = Vec::new();
    if !crate::id::is_slug(&doc.policy) {
        out.push(Flaw::new("policy", format!("{:?}: expected a-z, 0-9 and '-'", doc.policy)));
    }
    if let Some((place, span)) = doc.held_too_long() {
        let most = String::from(Span::HELD_MAX);
        let reason = format!("{} is longer than the longest allowed, {most}", String::from(span));
        out.push(Flaw::new(place, reason));
    }
    selector(doc, &mut out);
    if let Some(signal) = &doc.signal {
        self::signal(signal, "signal", &mut out);
    }
    if let Some(window) = &doc.window {
        self::window(window, &mut out);
    }
    labels(doc, &mut out);
    if let Some(compare) = doc.compare {
        out.extend(order(compare, &doc.levels));
    }
    for (level, t) in &doc.levels {
        for (field, value) in [("fire", t.fire), ("clear", t.clear)] {
            if value.is_some_and(|v| !v.is_finite()) {
                let place = format!("levels/{}/{field}", level.as_str());
                out.push(Flaw::new(place, "expected a finite number"));
            }
        }
    }
    switched_off(doc, now, &mut out);
    out.extend(bounds(doc));
    out
}

fn selector(doc: &PolicyDoc, out: &mut Vec<Flaw>) {
    for (label, allowed) in &doc.selector {
        let place = format!("selector/{label}");
        if !is_label_name(label) {
            out.push(Flaw::new(&place, "not a label name"));
        }
        if allowed.is_empty() {
            out.push(Flaw::new(&place, "an empty list matches nothing; leave the label out"));
        }
    }
}

fn signal(signal: &SignalRef, place: &str, out: &mut Vec<Flaw>) {
    match signal {
        SignalRef::Metric { names, .. } if names.is_empty() => {
            out.push(Flaw::new(format!("{place}/metric"), "names no series"));
        }
        SignalRef::Aggregate(aggregate) => {
            let inside = format!("{place}/aggregate/of");
            if matches!(*aggregate.of, SignalRef::Aggregate(_)) {
                out.push(Flaw::new(&inside, "an aggregate of aggregates is not evaluated"));
            }
            self::signal(&aggregate.of, &inside, out);
        }
        SignalRef::Expr(expr) if expr.trim().is_empty() => {
            out.push(Flaw::new(format!("{place}/expr"), "is empty"));
        }
        _ => {}
    }
}

fn window(window: &Window, out: &mut Vec<Flaw>) {
    if window.range > Window::RANGE_MAX {
        let most = String::from(Window::RANGE_MAX);
        let said = format!("{}: at most {most} in process", String::from(window.range));
        out.push(Flaw::new("window/range", said));
    }
}

fn labels(doc: &PolicyDoc, out: &mut Vec<Flaw>) {
    for (name, value) in &doc.labels {
        let place = format!("labels/{name}");
        let reason = match () {
            () if !is_label_name(name) => "not a label name",
            () if name == "receiver" => "this label is set by route.receiver",
            () if name == "severity" => "this label is set by severity_map",
            () if OWN_LABELS.contains(&name.as_str()) => "this label is set by the evaluator",
            () if value.contains("$value") => "$value in a label would make every sample an alert",
            () => continue,
        };
        out.push(Flaw::new(place, reason));
    }
    if doc.route.as_ref().is_some_and(|route| route.receiver.is_empty()) {
        out.push(Flaw::new("route/receiver", "is empty; leave route out"));
    }
    for (level, severity) in &doc.severity_map {
        if severity.is_empty() || severity.contains("$value") {
            let place = format!("severity_map/{}", level.as_str());
            out.push(Flaw::new(place, "expected a fixed word"));
        }
    }
}

/// Thresholds in the wrong order: clear beyond fire, or a higher level looser than a lower one.
/// What a document leaves to the layers above it cannot be said here.
pub fn order(
    compare: Compare,
    levels: &std::collections::BTreeMap<AlertLevel, Threshold>,
) -> Vec<Flaw> {
    let mut out = Vec::new();
    let fine = |a: f64, b: f64| match compare {
        Compare::Gt | Compare::Ge => a <= b,
        Compare::Lt | Compare::Le => a >= b,
        Compare::Eq | Compare::Ne => true,
    };
    for (level, t) in levels {
        if let (Some(fire), Some(clear)) = (t.fire, t.clear)
            && !fine(clear, fire)
        {
            let place = format!("levels/{}/clear", level.as_str());
            out.push(Flaw::new(place, format!("clear {clear} lies beyond fire {fire}")));
        }
    }
    let set: Vec<(AlertLevel, f64)> =
        levels.iter().filter_map(|(level, t)| Some((*level, t.fire?))).collect();
    for pair in set.windows(2) {
        let ((low, below), (high, above)) = (pair[0], pair[1]);
        if !fine(below, above) {
            let place = format!("levels/{}/fire", high.as_str());
            out.push(Flaw::new(place, format!("would fire before {} does", low.as_str())));
        }
    }
    out
}

fn switched_off(doc: &PolicyDoc, now: At, out: &mut Vec<Flaw>) {
    match (doc.enabled, doc.until) {
        (Some(false), None) => {
            out.push(Flaw::new("until", "switching a policy off needs a time when it comes back"));
        }
        (Some(false), Some(until)) if until <= now => {
            out.push(Flaw::new("until", format!("{until} is past")));
        }
        (None | Some(true), Some(_)) => {
            out.push(Flaw::new("until", "goes with enabled: false"));
        }
        _ => {}
    }
}

/// Fields that are numbers or lengths of time.
pub fn is_numeric(field: &str) -> bool {
    let of_level = |rest: &str| {
        rest.split_once('.').is_some_and(|(level, field)| {
            AlertLevel::parse(level).is_some() && matches!(field, "fire" | "clear" | "for")
        })
    };
    field == "keep_firing_for" || field.strip_prefix("levels.").is_some_and(of_level)
}

fn bounds(doc: &PolicyDoc) -> Vec<Flaw> {
    let mut out = Vec::new();
    for (field, cap) in &doc.caps {
        let place = format!("caps/{field}");
        if !is_numeric(field) {
            let said = "expected keep_firing_for or levels.LEVEL.fire, clear or for";
            out.push(Flaw::new(&place, said));
        }
        match (cap.min, cap.max) {
            (None, None) => out.push(Flaw::new(&place, "needs min or max")),
            (Some(min), Some(max)) if min > max => {
                out.push(Flaw::new(&place, format!("min {min} is above max {max}")));
            }
            _ => {}
        }
    }
    if let Locked::Fields(fields) = &doc.locked {
        const FIELDS: [&str; 18] = [
            "alertname",
            "annotations",
            "calendar",
            "compare",
            "enabled",
            "engine",
            "keep_firing_for",
            "labels",
            "levels",
            "on_missing",
            "route",
            "runbooks",
            "selector",
            "severity_map",
            "signal",
            "until",
            "window",
            "priority",
        ];
        for field in fields {
            let head = field.split('.').next().unwrap_or_default();
            if !FIELDS.contains(&head) {
                out.push(Flaw::new("locked", format!("{field:?} is no field of a policy")));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: At = At::from_ms(1_763_800_000_000);

    fn flaws_of(json: &str) -> Vec<String> {
        let doc: PolicyDoc = serde_json::from_str(json).unwrap();
        flaws(&doc, NOW).iter().map(Flaw::to_string).collect()
    }

    #[test]
    fn each_flaw_is_named_with_its_place_and_reason() {
        for (field, said) in [
            (r#""policy":"A b""#, "policy: "),
            (r#""window":{"fn":"rate","range":"7h"}"#, "window/range: 7h: at most 6h"),
            (r#""labels":{"instance":"x"}"#, "labels/instance: this label is set"),
            (r#""labels":{"a-b":"x"}"#, "labels/a-b: not a label name"),
            (r#""labels":{"v":"{{ $value }}"}"#, "labels/v: $value in a label"),
            (r#""selector":{"tier":[]}"#, "selector/tier: an empty list"),
            (r#""compare":">","levels":{"warning":{"fire":1,"clear":2}}"#, "levels/warning/clear"),
            (
                r#""compare":"<","levels":{"warning":{"fire":1},"critical":{"fire":2}}"#,
                "levels/critical/fire",
            ),
            (r#""levels":{"warning":{"for":"8d"}}"#, "levels/warning/for: 1w1d"),
            (r#""enabled":false"#, "until: switching a policy off"),
            (r#""enabled":false,"until":"2020-01-01T00:00:00Z""#, "until: 2020"),
            (r#""until":"2099-01-01T00:00:00Z""#, "until: goes with"),
            (r#""caps":{"labels":{"max":1}}"#, "caps/labels: expected"),
            (r#""caps":{"levels.critical.fire":{}}"#, "caps/levels.critical.fire: needs"),
            (r#""locked":["sinal"]"#, "locked: \"sinal\""),
            (r#""signal":{"expr":" "}"#, "signal/expr: is empty"),
            (r#""route":{"receiver":""}"#, "route/receiver"),
        ] {
            let head = if field.starts_with(r#""policy""#) { "" } else { r#""policy":"p","# };
            let found = flaws_of(&format!(r#"{{{head}"scope":"platform",{field}}}"#));
            let short = said.replace("1w1d", "8d");
            assert!(found.len() == 1 && found[0].starts_with(&short), "{field}: {found:?}");
        }
    }

    #[test]
    fn a_complete_document_has_no_flaw_and_survives_being_written() {
        let json = r#"{"policy":"memory-used","scope":"platform","selector":{"env":"prod","tier":["core"]},
            "signal":{"metric":"a","over":"b"},"window":{"fn":"avg","range":"2m"},"compare":">",
            "levels":{"warning":{"fire":0.85,"clear":0.8,"for":"5m"},"critical":{"fire":0.95,"clear":0.9}},
            "keep_firing_for":"5m","on_missing":{"hold":"10m"},"calendar":{"active":["office"]},
            "severity_map":{"critical":"P1"},"route":{"receiver":"pay"},"engine":"both","priority":3,
            "enabled":false,"until":"2099-01-01T00:00:00Z","locked":["levels.critical"],
            "caps":{"levels.critical.fire":{"max":0.95}},
            "meta":{"rev":7,"by":"alice","at":"2025-01-01T00:00:00Z","reason":"x"}}"#;
        assert_eq!(flaws_of(json), Vec::<String>::new());
        let doc: PolicyDoc = serde_json::from_str(json).unwrap();
        assert_eq!(doc.selector["env"], ["prod"]);
        assert!(
            doc.locked.covers("levels.critical.fire") && !doc.locked.covers("levels.criticals")
        );
        let again: PolicyDoc = serde_json::from_str(&serde_json::to_string(&doc).unwrap()).unwrap();
        assert_eq!(again, doc);
    }
}

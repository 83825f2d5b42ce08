//! Which policy applies to an instance: the layers merged field by field, the deepest setter wins.
//!
//! Invariant: pure; the origin of every field is known. Refuses to know: states and samples.

use std::collections::BTreeMap;

use model::policy::check::{OWN_LABELS, order};
use model::policy::{
    AlertLevel, Compare, Engine, OnMissing, PolicyDoc, PolicyScope, SignalRef, Span, Threshold,
    Window,
};

use crate::signal::Signal;

/// Stands in when no layer says what missing data means: long enough for a restart of the instance
/// or of its network, short enough not to keep a stale alert.
pub const HOLD_DEFAULT: OnMissing = OnMissing::Hold(Span::from_ms(600_000));

/// The thresholds of one level after the merge.
#[derive(Debug, Clone, PartialEq)]
pub struct LevelRule {
    /// Level.
    pub level: AlertLevel,
    /// Alert name.
    pub alertname: String,
    /// Label `severity`.
    pub severity: String,
    /// Annotation templates.
    pub annotations: BTreeMap<String, String>,
    /// Fires beyond this.
    pub fire: f64,
    /// Once firing, holds until this.
    pub clear: f64,
    /// The condition must hold that long, ms.
    pub for_ms: i64,
}

/// What is in force for one policy on one instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Effective {
    /// Policy id.
    pub policy: String,
    /// Signal.
    pub signal: Signal,
    /// Comparison.
    pub compare: Compare,
    /// Levels, lowest first.
    pub levels: Vec<LevelRule>,
    /// A firing alert outlives its condition by this, ms.
    pub keep_ms: i64,
    /// Missing data.
    pub on_missing: OnMissing,
    /// Extra labels.
    pub labels: BTreeMap<String, String>,
    /// Runbooks that may react.
    pub runbooks: Vec<String>,
    /// Label `receiver`.
    pub receiver: Option<String>,
    /// When its alerts may leave.
    pub calendar: model::calendar::CalendarUse,
    /// Who evaluates it.
    pub engine: Engine,
    /// Switched on.
    pub enabled: bool,
    /// Which scope set a field: `levels.critical.for` → `tenant:demo`.
    pub origin: BTreeMap<String, PolicyScope>,
}

/// Depth of a scope: deeper wins.
pub fn depth(scope: &PolicyScope) -> u8 {
    match scope {
        PolicyScope::Platform => 0,
        PolicyScope::Tenant(_) => 1,
        PolicyScope::System(_) => 2,
        PolicyScope::Service(_) => 3,
        PolicyScope::Instance(_) => 4,
    }
}

/// `memory-used` → `MemoryUsed`.
pub fn camel_case(id: &str) -> String {
    id.split('-')
        .map(|word| {
            let mut chars = word.chars();
            chars.next().map_or_else(String::new, |c| c.to_ascii_uppercase().to_string())
                + chars.as_str()
        })
        .collect()
}

/// Whether `pattern` with `*` for any text matches.
fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((head, tail)) => text.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).filter(|i| rest.is_char_boundary(*i)).any(|i| glob(tail, &rest[i..]))
        }),
    }
}

/// Whether a document's selector matches; a label the instance lacks is the empty text.
pub fn selects(doc: &PolicyDoc, labels: &BTreeMap<&str, String>) -> bool {
    doc.selector.iter().all(|(name, allowed)| {
        let value = labels.get(name.as_str()).map_or("", String::as_str);
        allowed.iter().any(|pattern| glob(pattern, value))
    })
}

/// The documents, most general first. Of one depth, the one with more selector labels is the more
/// special one, then the one of higher priority, then the one whose selector comes first.
pub fn by_depth<'a>(docs: &[&'a PolicyDoc]) -> Vec<&'a PolicyDoc> {
    let mut docs = docs.to_vec();
    docs.sort_by(|a, b| {
        let rank = |d: &PolicyDoc| (depth(&d.scope), d.selector.len(), d.priority.unwrap_or(0));
        rank(a).cmp(&rank(b)).then_with(|| b.selector.cmp(&a.selector))
    });
    docs
}

/// Merges the documents of one policy that apply to one instance. `docs` stand in any order.
/// An error says why the result cannot be evaluated, in words for the person who wrote it.
pub fn resolve(docs: &[&PolicyDoc]) -> Result<Effective, String> {
    let docs = by_depth(docs);
    let Some(first) = docs.first() else { return Err("no document".into()) };
    let mut m = Merge { doc: (*first).clone(), origin: BTreeMap::new() };
    m.doc.labels.clear();
    m.doc.annotations.clear();
    m.doc.levels.clear();
    m.doc.severity_map.clear();
    for doc in &docs {
        m.layer(doc);
    }
    m.finish()
}

struct Merge {
    doc: PolicyDoc,
    origin: BTreeMap<String, PolicyScope>,
}

impl Merge {
    fn set<T: Clone>(
        origin: &mut BTreeMap<String, PolicyScope>,
        scope: &PolicyScope,
        field: impl Into<String>,
        into: &mut Option<T>,
        from: &Option<T>,
    ) {
        if from.is_some() {
            into.clone_from(from);
            origin.insert(field.into(), scope.clone());
        }
    }

    fn layer(&mut self, from: &PolicyDoc) {
        let (into, origin, scope) = (&mut self.doc, &mut self.origin, &from.scope);
        Merge::set(origin, scope, "alertname", &mut into.alertname, &from.alertname);
        Merge::set(origin, scope, "signal", &mut into.signal, &from.signal);
        Merge::set(origin, scope, "window", &mut into.window, &from.window);
        Merge::set(origin, scope, "compare", &mut into.compare, &from.compare);
        Merge::set(
            origin,
            scope,
            "keep_firing_for",
            &mut into.keep_firing_for,
            &from.keep_firing_for,
        );
        Merge::set(origin, scope, "on_missing", &mut into.on_missing, &from.on_missing);
        Merge::set(origin, scope, "enabled", &mut into.enabled, &from.enabled);
        Merge::set(origin, scope, "calendar", &mut into.calendar, &from.calendar);
        Merge::set(origin, scope, "route", &mut into.route, &from.route);
        Merge::set(origin, scope, "engine", &mut into.engine, &from.engine);
        for (level, severity) in &from.severity_map {
            into.severity_map.insert(*level, severity.clone());
            origin.insert(format!("severity_map.{}", level.as_str()), scope.clone());
        }
        for (level, t) in &from.levels {
            let into = into.levels.entry(*level).or_default();
            let path = |field: &str| format!("levels.{}.{field}", level.as_str());
            Merge::set(origin, scope, path("fire"), &mut into.fire, &t.fire);
            Merge::set(origin, scope, path("clear"), &mut into.clear, &t.clear);
            Merge::set(origin, scope, path("for"), &mut into.hold_for, &t.hold_for);
            Merge::set(origin, scope, path("alertname"), &mut into.alertname, &t.alertname);
            for (name, value) in &t.annotations {
                into.annotations.insert(name.clone(), value.clone());
                origin.insert(path(&format!("annotations.{name}")), scope.clone());
            }
        }
        for (what, into, from) in [
            ("labels", &mut into.labels, &from.labels),
            ("annotations", &mut into.annotations, &from.annotations),
        ] {
            for (name, value) in from {
                into.insert(name.clone(), value.clone());
                origin.insert(format!("{what}.{name}"), scope.clone());
            }
        }
        if !from.runbooks.is_empty() {
            into.runbooks.clone_from(&from.runbooks);
            origin.insert("runbooks".into(), scope.clone());
        }
    }

    fn finish(self) -> Result<Effective, String> {
        let Merge { doc, origin } = self;
        let signal: &SignalRef = doc.signal.as_ref().ok_or("signal is not set by any layer")?;
        let compare = doc.compare.ok_or("compare is not set by any layer")?;
        let levels = levels(&doc)?;
        if levels.is_empty() {
            return Err("levels: at least one level with `fire` is needed".into());
        }
        if let Some(flaw) = order(compare, &in_full(&levels)).first() {
            return Err(flaw.to_string());
        }
        if let Some(name) = doc.labels.keys().find(|n| OWN_LABELS.contains(&n.as_str())) {
            return Err(format!("labels.{name}: this label is set by the evaluator"));
        }
        if let Some((name, _)) = doc.labels.iter().find(|(_, v)| v.contains("$value")) {
            return Err(format!(
                "labels.{name}: $value in a label would make every sample an alert"
            ));
        }
        Ok(Effective {
            signal: compile(signal, doc.window.as_ref())?,
            policy: doc.policy,
            compare,
            levels,
            keep_ms: doc.keep_firing_for.map_or(0, |s| s.ms),
            on_missing: doc.on_missing.unwrap_or(HOLD_DEFAULT),
            labels: doc.labels,
            runbooks: doc.runbooks,
            receiver: doc.route.map(|route| route.receiver),
            calendar: doc.calendar.unwrap_or_default(),
            engine: doc.engine.unwrap_or_default(),
            enabled: doc.enabled.unwrap_or(true),
            origin,
        })
    }
}

fn levels(doc: &PolicyDoc) -> Result<Vec<LevelRule>, String> {
    let name = doc.alertname.clone().unwrap_or_else(|| camel_case(&doc.policy));
    let rule = |(level, t): (&AlertLevel, &Threshold)| {
        let missing = || format!("levels.{}.fire is not set by any layer", level.as_str());
        let fire = t.fire.ok_or_else(missing)?;
        let mut annotations = doc.annotations.clone();
        annotations.extend(t.annotations.clone());
        Ok(LevelRule {
            level: *level,
            alertname: t.alertname.clone().unwrap_or_else(|| name.clone()),
            severity: doc
                .severity_map
                .get(level)
                .cloned()
                .unwrap_or_else(|| level.as_str().to_string()),
            annotations,
            fire,
            clear: t.clear.unwrap_or(fire),
            for_ms: t.hold_for.map_or(0, |s| s.ms),
        })
    };
    doc.levels.iter().map(rule).collect()
}

/// The thresholds in force, as a document would have them.
fn in_full(levels: &[LevelRule]) -> BTreeMap<AlertLevel, Threshold> {
    let full = |l: &LevelRule| Threshold {
        fire: Some(l.fire),
        clear: Some(l.clear),
        ..Threshold::default()
    };
    levels.iter().map(|l| (l.level, full(l))).collect()
}

fn compile(signal: &SignalRef, window: Option<&Window>) -> Result<Signal, String> {
    if let Some(window) = window
        && window.range > Window::RANGE_MAX
    {
        let most = String::from(Window::RANGE_MAX);
        return Err(format!("window.range: at most {most} in process"));
    }
    Signal::compile(signal, window)
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
annotations: {summary: a, description: b}
runbooks: [memory-high]
";

    #[test]
    fn the_deepest_setter_of_each_field_wins_and_its_origin_is_known() {
        let base = doc(BASE);
        let tenant =
            doc("{policy: memory-used, scope: 'tenant:demo', levels: {critical: {for: 15s}}, \
             annotations: {summary: c}}");
        let service = doc(
            "{policy: memory-used, scope: 'service:demo.cart', levels: {critical: {fire: 0.97}}}",
        );
        let e = resolve(&[&service, &tenant, &base]).unwrap();
        let critical = &e.levels[1];
        assert_eq!((critical.fire, critical.clear, critical.for_ms), (0.97, 0.90, 15_000));
        assert_eq!(e.levels[0].for_ms, 300_000);
        assert_eq!(critical.annotations["summary"], "c");
        assert_eq!(critical.annotations["description"], "b");
        assert_eq!(e.runbooks, ["memory-high"]);
        assert_eq!(String::from(e.origin["levels.critical.fire"].clone()), "service:demo.cart");
        assert_eq!(String::from(e.origin["levels.critical.for"].clone()), "tenant:demo");
        assert_eq!(String::from(e.origin["levels.critical.clear"].clone()), "platform");
        assert_eq!(critical.alertname, "MemoryUsed");
    }

    #[test]
    fn of_two_documents_of_one_scope_the_one_with_more_selector_labels_wins() {
        let base = doc(BASE);
        let wide = doc(
            "{policy: memory-used, scope: 'tenant:demo', selector: {tier: [core]}, keep_firing_for: 1m}",
        );
        let narrow = doc(
            "{policy: memory-used, scope: 'tenant:demo', selector: {tier: [core], env: [prod]}, keep_firing_for: 2m}",
        );
        for docs in [[&base, &wide, &narrow], [&narrow, &wide, &base]] {
            assert_eq!(resolve(&docs).unwrap().keep_ms, 120_000);
        }
    }

    #[test]
    fn of_two_documents_as_special_the_one_of_higher_priority_wins() {
        let base = doc(BASE);
        let one = doc("{policy: memory-used, scope: 'tenant:demo', selector: {env: prod}, \
             priority: 1, keep_firing_for: 1m}");
        let two = doc("{policy: memory-used, scope: 'tenant:demo', selector: {tier: core}, \
             keep_firing_for: 2m}");
        for docs in [[&base, &one, &two], [&two, &one, &base]] {
            assert_eq!(resolve(&docs).unwrap().keep_ms, 60_000);
        }
    }

    #[test]
    fn severity_receiver_window_and_engine_are_inherited_like_every_field() {
        let base = doc(BASE);
        let tenant =
            doc("{policy: memory-used, scope: 'tenant:demo', severity_map: {critical: P1}, \
             route: {receiver: pay-team}, window: {fn: avg, range: 2m}, engine: both}");
        let e = resolve(&[&base, &tenant]).unwrap();
        assert_eq!(
            (e.levels[0].severity.as_str(), e.levels[1].severity.as_str()),
            ("warning", "P1")
        );
        assert_eq!(e.receiver.as_deref(), Some("pay-team"));
        assert_eq!((e.signal.windows().len(), e.engine), (2, Engine::Both));
        assert_eq!(String::from(e.origin["severity_map.critical"].clone()), "tenant:demo");
    }

    #[test]
    fn a_selector_matches_sets_and_globs() {
        let d = doc("{policy: p, scope: platform, selector: {tier: [core, test], zone: ['az-*']}}");
        let labels = |tier: &str, zone: &str| -> BTreeMap<&str, String> {
            [("tier", tier.to_string()), ("zone", zone.to_string())].into()
        };
        assert!(selects(&d, &labels("test", "az-1")));
        assert!(!selects(&d, &labels("general", "az-1")));
        assert!(!selects(&d, &labels("core", "bz-1")));
        assert!(glob("a*b*", "axxbyy") && !glob("a*b", "axxbyy") && glob("*", ""));
    }

    #[test]
    fn thresholds_in_the_wrong_order_are_refused() {
        for (levels, said) in [
            ("{warning: {fire: 0.8, clear: 0.9}}", "clear"),
            ("{warning: {fire: 0.9}, critical: {fire: 0.8}}", "critical/fire: would fire before"),
            ("{}", "at least one"),
        ] {
            let mut d = doc(BASE);
            d.levels = serde_saphyr::from_str(levels).unwrap();
            assert!(resolve(&[&d]).unwrap_err().contains(said), "{levels}");
        }
    }
}

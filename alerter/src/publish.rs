//! What is refused before a document is stored, with the place and the reason.
//!
//! Invariant: pure; a document that passes can be evaluated, or is delegated knowingly. Refuses to
//! know: who publishes, the store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::At;
use model::inventory::Inventory;
use model::policy::PolicyDoc;
use model::policy::check::{Flaw, flaws};

use crate::plan::{Ground, Plan};
use crate::signal::Signal;
use crate::{defaults, locks, template};

/// What documents are checked against.
pub struct Present<'a> {
    /// The tree.
    pub inventory: &'a Inventory,
    /// Documents in force, without the shipped ones.
    pub documents: &'a [PolicyDoc],
    /// Polls of an instance usually come this often.
    pub interval_ms: i64,
    /// The time.
    pub now: At,
    /// Names of the calendars there are.
    pub calendars: &'a BTreeSet<String>,
}

/// Everything wrong with `docs`: (index, flaw). What one document breaks in another layer is told of
/// the document that breaks it.
pub fn faults(docs: &[PolicyDoc], present: &Present<'_>) -> Vec<(usize, Flaw)> {
    let mut out = Vec::new();
    let mut seen: BTreeMap<_, usize> = BTreeMap::new();
    for (i, doc) in docs.iter().enumerate() {
        let alone = flaws(doc, present.now).into_iter().chain(of_signal(doc, present.interval_ms));
        let alone = alone.chain(templates(doc)).chain(calendars(doc, present.calendars));
        out.extend(alone.map(|flaw| (i, flaw)));
        let key = (&doc.policy, &doc.scope, &doc.selector);
        if let Some(first) = seen.insert(key, i) {
            let said = format!("the same policy, scope and selector as document {first}");
            out.push((i, Flaw::new("selector", said)));
        }
    }
    let all: Vec<&PolicyDoc> =
        defaults::policies().iter().chain(present.documents).chain(docs).collect();
    for (i, doc) in docs.iter().enumerate() {
        let flaws = locks::broken(doc, &all, present.inventory);
        out.extend(flaws.into_iter().map(|flaw| (i, flaw)));
    }
    // Only whole documents can be tried together.
    if out.is_empty() {
        out.extend(together(docs, present));
    }
    out
}

/// Flaws of one document by itself.
pub fn alone(doc: &PolicyDoc, interval_ms: i64, now: At) -> Vec<Flaw> {
    let all = flaws(doc, now).into_iter().chain(of_signal(doc, interval_ms)).chain(templates(doc));
    all.collect()
}

fn of_signal(doc: &PolicyDoc, interval_ms: i64) -> Vec<Flaw> {
    let mut out = Vec::new();
    let short = |range_ms: i64| range_ms < 2 * interval_ms;
    let least = model::policy::Span::from_ms(2 * interval_ms);
    let said = || format!("at least {}, two intervals of polling", String::from(least));
    if let Some(window) = doc.window
        && short(window.range.ms)
    {
        out.push(Flaw::new("window/range", said()));
    }
    let Some(signal) = &doc.signal else { return out };
    match Signal::compile(signal, doc.window.as_ref()) {
        Err(why) => out.push(Flaw::new("signal", why)),
        Ok(compiled) => {
            let windows = compiled.windows().iter();
            if doc.window.is_none() && windows.clone().any(|w| short(w.range_ms)) {
                out.push(Flaw::new("signal/expr", format!("a range is too short: {}", said())));
            }
        }
    }
    out
}

fn templates(doc: &PolicyDoc) -> Vec<Flaw> {
    let flaw =
        |place: String, text: &str| template::check(text).err().map(|why| Flaw::new(place, why));
    let own = doc.annotations.iter().map(|(name, text)| flaw(format!("annotations/{name}"), text));
    let of_levels = doc.levels.iter().flat_map(|(level, t)| {
        let place = move |name: &str| format!("levels/{}/annotations/{name}", level.as_str());
        t.annotations.iter().map(move |(name, text)| flaw(place(name), text))
    });
    own.chain(of_levels).flatten().collect()
}

/// Calendars a document names that nobody made.
fn calendars(doc: &PolicyDoc, known: &BTreeSet<String>) -> Vec<Flaw> {
    let Some(used) = &doc.calendar else { return Vec::new() };
    let named = [("active", &used.active), ("mute", &used.mute)];
    let unknown = named.into_iter().flat_map(|(place, names)| {
        let unknown = names.iter().enumerate().filter(|(_, name)| !known.contains(*name));
        unknown.map(move |(i, name)| {
            let said = match known.iter().map(String::as_str).collect::<Vec<_>>() {
                none if none.is_empty() => format!("no calendar {name:?}: there is none yet"),
                all => format!("no calendar {name:?}; there are {}", all.join(", ")),
            };
            Flaw::new(format!("calendar/{place}/{i}"), said)
        })
    });
    unknown.collect()
}

/// What the documents break once they are merged with those in force.
fn together(docs: &[PolicyDoc], present: &Present<'_>) -> Vec<(usize, Flaw)> {
    let key = |d: &PolicyDoc| (d.policy.clone(), d.scope.clone(), d.selector.clone());
    let replaced = |old: &&PolicyDoc| !docs.iter().any(|new| key(new) == key(old));
    let before: Vec<PolicyDoc> =
        defaults::policies().iter().chain(present.documents).cloned().collect();
    let kept = present.documents.iter().filter(replaced);
    let after: Vec<PolicyDoc> =
        defaults::policies().iter().chain(kept).chain(docs).cloned().collect();
    let external = Arc::new(BTreeMap::new());
    let problems = |docs: &[PolicyDoc]| {
        let ground = Ground {
            inventory: present.inventory,
            docs,
            external: &external,
            interval_ms: present.interval_ms,
            dialect: Default::default(),
        };
        Plan::build(&ground, |_| Arc::default()).problems
    };
    let known = problems(&before);
    let new = problems(&after).into_iter().filter(|(name, why)| known.get(name) != Some(why));
    new.filter_map(|(name, why)| {
        let of = |d: &&PolicyDoc| name == format!("{}@{}", d.policy, String::from(d.scope.clone()));
        let index = docs.iter().position(|d| of(&d));
        // A layer below that no longer fits what was put above it.
        let index =
            index.or_else(|| docs.iter().position(|d| name.starts_with(&format!("{}@", d.policy))));
        index.map(|i| (i, Flaw::new("", format!("{name}: {why}"))))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: At = At::from_ms(1_763_800_000_000);

    fn said(yaml: &str) -> Vec<String> {
        let doc: PolicyDoc = serde_saphyr::from_str(yaml).unwrap();
        alone(&doc, 15_000, NOW).iter().map(Flaw::to_string).collect()
    }

    #[test]
    fn a_document_that_cannot_work_is_refused_before_it_is_stored() {
        for (yaml, said_of_it) in [
            ("{policy: 'A b', scope: platform}", "policy: "),
            ("{policy: a, scope: platform, signal: {metric: nope}}", "signal: metric \"nope\""),
            ("{policy: a, scope: platform, labels: {instance: x}}", "labels/instance"),
            ("{policy: a, scope: platform, labels: {a-b: x}}", "labels/a-b: not a label name"),
            (
                "{policy: a, scope: platform, annotations: {summary: '{{ $value | nope }}'}}",
                "annotations/summary: ",
            ),
            (
                "{policy: a, scope: platform, levels: {info: {annotations: {x: '{{ $y }}'}}}}",
                "levels/info/annotations/x: ",
            ),
            (
                "{policy: a, scope: platform, window: {fn: rate, range: 29s}}",
                "window/range: at least 30s",
            ),
            (
                "{policy: a, scope: platform, signal: {expr: 'rate(redis_up[20s])'}}",
                "signal/expr: a range is too short",
            ),
        ] {
            let found = said(yaml);
            assert!(found.len() == 1 && found[0].starts_with(said_of_it), "{yaml}: {found:?}");
        }
    }

    fn faults_of(yaml: &[&str]) -> Vec<String> {
        let docs: Vec<PolicyDoc> =
            yaml.iter().map(|y| serde_saphyr::from_str(y).unwrap()).collect();
        let mut inventory = Inventory::default();
        crate::plan::one_instance(&mut inventory);
        let present = Present {
            inventory: &inventory,
            documents: &[],
            interval_ms: 15_000,
            now: NOW,
            calendars: &["office-cn".to_string()].into(),
        };
        faults(&docs, &present).iter().map(|(i, flaw)| format!("{i} {flaw}")).collect()
    }

    #[test]
    fn what_breaks_only_when_layers_meet_is_told_of_the_document_that_breaks_it() {
        let doc = "{policy: memory-used, scope: 'tenant:pay', levels: {warning: {fire: 0.99}}}";
        let found = faults_of(&[doc]);
        assert!(found.len() == 1 && found[0].contains("would fire before warning"), "{found:?}");
        assert!(found[0].starts_with("0 : memory-used@tenant:pay"), "{found:?}");
        let twice = faults_of(&[
            "{policy: memory-used, scope: 'tenant:pay', keep_firing_for: 1m}",
            "{policy: memory-used, scope: 'tenant:pay', keep_firing_for: 2m}",
        ]);
        assert_eq!(twice.len(), 1, "{twice:?}");
        assert!(twice[0].contains("as document 0"), "{twice:?}");
    }

    #[test]
    fn a_calendar_nobody_made_is_named_with_those_there_are() {
        let found = faults_of(&["{policy: memory-used, scope: 'tenant:pay', calendar: \
             {active: [office-cn], mute: [patch]}}"]);
        assert_eq!(found, ["0 calendar/mute/0: no calendar \"patch\"; there are office-cn"]);
    }

    #[test]
    fn windows_above_the_cap_of_an_instance_are_refused_with_both_numbers() {
        let fields = ["redis_connected_clients", "redis_memory_used_bytes", "redis_up"];
        let docs: Vec<String> = (0..24)
            .map(|i| {
                let (field, minutes) = (fields[i % 3], 31 + i);
                format!(
                    "{{policy: w-{i}, scope: platform, signal: {{metric: {field}}}, compare: '>', \
                     window: {{fn: avg, range: {minutes}m}}, levels: {{info: {{fire: 1}}}}}}"
                )
            })
            .collect();
        let docs: Vec<&str> = docs.iter().map(String::as_str).collect();
        let found = faults_of(&docs);
        assert!(!found.is_empty());
        assert!(found[0].contains("points an instance, allowed are 1500"), "{}", found[0]);
        assert!(faults_of(&docs[..6]).is_empty());
    }
}

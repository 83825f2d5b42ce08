//! What is in force of a policy, where every field comes from, and what stands against changing it.
//!
//! Invariant: pure; merged in the order `resolve` merges in, so what is shown is what is judged by.
//! Refuses to know: who looks, the store.

use std::collections::{BTreeMap, BTreeSet};

use model::inventory::Inventory;
use model::policy::{
    Beaten, Cap, Compare, PolicyDoc, PolicyField, PolicyReach, PolicyScope, SignalRef, Window,
};
use model::{InstanceId, TenantId};

use crate::locks::contains;
use crate::plan::{Ground, Plan, selected_by};
use crate::resolve::{by_depth, depth, resolve};

/// What a policy is when no layer says otherwise.
const BUILT_IN: [(&str, &str); 4] = [
    ("enabled", "true"),
    ("engine", "embedded"),
    ("keep_firing_for", "0s"),
    ("on_missing", "{\"hold\":\"10m\"}"),
];

/// Who set it: `tenant:pay, rev 3`; of the shipped documents `platform, shipped`.
pub fn origin(doc: &PolicyDoc) -> String {
    match &doc.meta {
        Some(meta) => format!("{}, rev {}", doc.scope, meta.rev),
        None => format!("{}, shipped", doc.scope),
    }
}

/// The documents of a policy that hold at a scope: those without a selector around it, and of the
/// scope itself the one with that selector.
pub fn at_scope<'a>(
    all: impl Iterator<Item = &'a PolicyDoc>,
    like: &PolicyDoc,
    inventory: &Inventory,
) -> Vec<&'a PolicyDoc> {
    let here = |d: &&PolicyDoc| {
        let own = d.scope == like.scope && (d.selector.is_empty() || d.selector == like.selector);
        let around = depth(&d.scope) < depth(&like.scope)
            && d.selector.is_empty()
            && contains(&d.scope, &like.scope, inventory);
        d.policy == like.policy && (own || around)
    };
    all.filter(here).collect()
}

/// The documents of a policy that hold for an instance, selectors looked at.
pub fn of_instance<'a>(
    all: impl Iterator<Item = &'a PolicyDoc>,
    policy: &str,
    id: &InstanceId,
    inventory: &Inventory,
) -> Vec<&'a PolicyDoc> {
    let scope = PolicyScope::Instance(id.clone());
    let holds = |d: &&PolicyDoc| {
        d.policy == policy
            && (d.scope == scope || contains(&d.scope, &scope, inventory))
            && selected_by(d, id, inventory)
    };
    all.filter(holds).collect()
}

/// Every field these documents put in force, and why the whole cannot be evaluated, if it cannot.
pub fn explain(docs: &[&PolicyDoc]) -> (Vec<PolicyField>, String) {
    let docs = by_depth(docs);
    let problem = if docs.is_empty() { Ok(()) } else { resolve(&docs).map(drop) };
    let set: Vec<BTreeMap<String, String>> = docs.iter().map(|d| d.fields()).collect();
    let mut names: BTreeSet<&str> = set.iter().flatten().map(|(name, _)| name.as_str()).collect();
    names.extend(BUILT_IN.iter().map(|(name, _)| *name));
    let fields = names.into_iter().map(|name| field(name, &docs, &set)).collect();
    (fields, problem.err().unwrap_or_default())
}

fn field(name: &str, docs: &[&PolicyDoc], set: &[BTreeMap<String, String>]) -> PolicyField {
    let said = docs.iter().zip(set).rev();
    let mut said = said.filter_map(|(doc, set)| {
        set.get(name).map(|value| Beaten { value: value.clone(), origin: origin(doc) })
    });
    let built_in = BUILT_IN.iter().find(|(n, _)| *n == name);
    let built_in = || built_in.map(|(_, value)| value.to_string()).unwrap_or_default();
    let won =
        said.next().unwrap_or_else(|| Beaten { value: built_in(), origin: "built in".into() });
    let locks = docs.iter().filter(|d| d.locked.covers(name)).map(|d| origin(d));
    let caps =
        docs.iter().filter_map(|d| Some(format!("{} ({})", bounds(d.caps.get(name)?), origin(d))));
    PolicyField {
        field: name.into(),
        value: won.value,
        origin: won.origin,
        locked: locks.collect::<Vec<_>>().join("; "),
        cap: caps.collect::<Vec<_>>().join("; "),
        beaten: said.collect(),
    }
}

/// What is judged, in words: `redis_memory_used_bytes / redis_memory_max_bytes, avg over 2m`.
pub fn words(signal: &SignalRef, window: Option<&Window>) -> String {
    let list = |names: &[String]| names.join(" or ");
    let of = match signal {
        SignalRef::Metric { names, over, pick, .. } => {
            let pick: Vec<String> = pick.iter().map(|(l, v)| format!("{l}={v:?}")).collect();
            let pick =
                if pick.is_empty() { String::new() } else { format!("{{{}}}", pick.join(",")) };
            let over = if over.is_empty() { String::new() } else { format!(" / {}", list(over)) };
            format!("{}{pick}{over}", list(names))
        }
        SignalRef::Score { of, level } => {
            let level = serde_json::to_value(level).unwrap_or_default();
            format!("score {of} of {}", level.as_str().unwrap_or_default())
        }
        SignalRef::Item(name) => format!("item {name}"),
        SignalRef::Fact { fact, over } => {
            let over = over.map(|f| format!(" / {}", f.as_str())).unwrap_or_default();
            format!("{}{over}", fact.as_str())
        }
        SignalRef::Aggregate(a) => {
            format!("{} by {} of {}", a.op.as_str(), a.by.as_str(), words(&a.of, None))
        }
        SignalRef::Expr(text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    match window {
        Some(w) => format!("{of}, {} over {}", String::from(w.function), String::from(w.range)),
        None => of,
    }
}

/// The levels a document sets, in words: `critical > 0.95 for 2m`.
pub fn level_words(doc: &PolicyDoc) -> Vec<String> {
    let compare = doc.compare.unwrap_or(Compare::Gt).as_str();
    let word = |(level, t): (&model::policy::AlertLevel, &model::policy::Threshold)| {
        let fire = t.fire.map(|fire| format!(" {compare} {fire}")).unwrap_or_default();
        let held = t.hold_for.filter(|s| s.ms > 0);
        let held = held.map(|span| format!(" for {}", String::from(span))).unwrap_or_default();
        format!("{}{fire}{held}", level.as_str())
    };
    doc.levels.iter().rev().map(word).collect()
}

fn bounds(cap: &Cap) -> String {
    let least = cap.min.map(|min| format!("at least {min}"));
    let most = cap.max.map(|max| format!("at most {max}"));
    least.into_iter().chain(most).collect::<Vec<_>>().join(", ")
}

/// Whom a document reaches, tenant by tenant, and whom it would judge otherwise. `docs` are those in
/// force, the shipped ones included; `retire` takes the document away instead.
pub fn reach(
    doc: &PolicyDoc,
    retire: bool,
    docs: &[PolicyDoc],
    inventory: &Inventory,
) -> Vec<PolicyReach> {
    let before: Vec<PolicyDoc> = docs.iter().filter(|d| d.policy == doc.policy).cloned().collect();
    // A shipped document is no layer of the store's: a published one lies over it.
    let published =
        |d: &&PolicyDoc| d.meta.is_some() && d.scope == doc.scope && d.selector == doc.selector;
    let mut after: Vec<PolicyDoc> = before.iter().filter(|d| !published(d)).cloned().collect();
    after.extend((!retire).then(|| doc.clone()));
    let (before, after) = (rules(&before, inventory), rules(&after, inventory));
    let mut all: BTreeMap<TenantId, PolicyReach> = BTreeMap::new();
    for id in reached(doc, inventory) {
        let one = all.entry(id.tenant()).or_insert_with_key(|tenant| PolicyReach {
            tenant: tenant.to_string(),
            instances: 0,
            changed: 0,
        });
        one.instances += 1;
        one.changed += u32::from(before.judged(id) != after.judged(id));
    }
    all.into_values().collect()
}

/// The instances a document applies to.
pub fn reached<'i>(
    doc: &'i PolicyDoc,
    inventory: &'i Inventory,
) -> impl Iterator<Item = &'i InstanceId> {
    let holds = move |id: &&InstanceId| {
        let of = PolicyScope::Instance((*id).clone());
        (doc.scope == of || contains(&doc.scope, &of, inventory)) && selected_by(doc, id, inventory)
    };
    inventory.instances.keys().filter(holds)
}

/// The rules a policy makes.
struct Ruled(Plan);

fn rules(docs: &[PolicyDoc], inventory: &Inventory) -> Ruled {
    let external = Default::default();
    let ground = Ground {
        inventory,
        docs,
        external: &external,
        interval_ms: crate::INTERVAL_MS,
        dialect: Default::default(),
    };
    Ruled(Plan::build(&ground, |_| Default::default()))
}

impl Ruled {
    fn judged(&self, id: &InstanceId) -> Vec<crate::resolve::Effective> {
        let rules = self.0.slots.get(id).into_iter().flat_map(|slot| slot.rules.iter());
        // Who set a field is no part of how it judges.
        rules
            .map(|rule| crate::resolve::Effective { origin: BTreeMap::new(), ..(**rule).clone() })
            .collect()
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
  critical: {fire: 0.95, for: 2m}
locked: [levels.critical.fire]
caps: {levels.critical.fire: {max: 0.95, min: 0.5}}
";

    #[test]
    fn every_field_says_who_set_it_whom_it_beat_and_what_holds_it() {
        let base = doc(BASE);
        let tenant = doc("{policy: memory-used, scope: 'tenant:pay', meta: {rev: 3}, levels: \
             {critical: {fire: 0.9}}}");
        let (fields, problem) = explain(&[&tenant, &base]);
        assert_eq!(problem, "");
        let find = |name: &str| fields.iter().find(|f| f.field == name).unwrap();
        let fire = find("levels.critical.fire");
        assert_eq!((fire.value.as_str(), fire.origin.as_str()), ("0.9", "tenant:pay, rev 3"));
        assert_eq!(
            fire.beaten,
            [Beaten { value: "0.95".into(), origin: "platform, shipped".into() }]
        );
        assert_eq!(fire.locked, "platform, shipped");
        assert_eq!(fire.cap, "at least 0.5, at most 0.95 (platform, shipped)");
        let missing = find("on_missing");
        assert_eq!((missing.origin.as_str(), missing.beaten.len()), ("built in", 0));
        let (_, problem) = explain(&[&tenant]);
        assert!(problem.contains("signal is not set"), "{problem}");
    }

    #[test]
    fn the_layers_of_a_scope_are_those_around_it_and_its_own() {
        let all = [
            doc(BASE),
            doc("{policy: memory-used, scope: 'tenant:pay', keep_firing_for: 1m}"),
            doc(
                "{policy: memory-used, scope: 'tenant:pay', selector: {tier: core}, keep_firing_for: 2m}",
            ),
            doc("{policy: memory-used, scope: 'tenant:hr', keep_firing_for: 3m}"),
            doc("{policy: other, scope: 'tenant:pay', keep_firing_for: 4m}"),
        ];
        let like = PolicyDoc::empty(
            "memory-used",
            PolicyScope::try_from("service:pay.cart".to_string()).unwrap(),
        );
        let here = at_scope(all.iter(), &like, &Inventory::default());
        assert_eq!(here, [&all[0], &all[1]]);
        let here = at_scope(all.iter(), &all[2], &Inventory::default());
        assert_eq!(here, [&all[0], &all[1], &all[2]]);
    }

    #[test]
    fn a_change_above_says_whom_it_would_judge_otherwise() {
        let mut inventory = Inventory::default();
        crate::plan::one_instance(&mut inventory);
        let told = |docs: &[PolicyDoc], new: &PolicyDoc, retire| {
            let reach = reach(new, retire, docs, &inventory);
            reach.iter().map(|r| (r.tenant.clone(), r.instances, r.changed)).collect::<Vec<_>>()
        };
        let base = doc(BASE);
        let one = |n, changed| vec![("pay".to_string(), n, changed)];
        let tighter =
            doc("{policy: memory-used, scope: platform, levels: {critical: {fire: 0.9}}}");
        assert_eq!(told(std::slice::from_ref(&base), &tighter, false), one(1, 1));
        let own = doc("{policy: memory-used, scope: 'tenant:pay', meta: {rev: 1}, levels: \
             {critical: {fire: 0.8}}}");
        let both = [base, own.clone()];
        assert_eq!(told(&both, &tighter, false), one(1, 0), "the tenant's own layer wins");
        assert_eq!(told(&both, &own, true), one(1, 1));
        let elsewhere = doc("{policy: memory-used, scope: 'tenant:hr', keep_firing_for: 1m}");
        assert!(told(&both, &elsewhere, false).is_empty());
    }
}

//! The thresholds in force, said once where they are everybody's.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::InstanceId;
use model::policy::{AlertLevel, PolicyDoc, PolicyScope};

use super::{Slot, Threshold, rules};
use crate::resolve::Effective;

/// The platform's thresholds that apply somewhere, and those of instances that deviate.
pub(super) fn of(slots: &HashMap<InstanceId, Slot>, docs: &[PolicyDoc]) -> Vec<Threshold> {
    type Key<'a> = (&'a str, AlertLevel);
    let of_all: Vec<usize> = (0..docs.len())
        .filter(|i| docs[*i].scope == PolicyScope::Platform && docs[*i].selector.is_empty())
        .collect();
    let platform = rules(&of_all, docs, &mut BTreeMap::new());
    let levels = |rule: &'_ Arc<Effective>| -> Vec<(AlertLevel, f64)> {
        rule.levels.iter().map(|l| (l.level, l.fire)).collect()
    };
    let common: BTreeMap<Key<'_>, f64> = platform
        .iter()
        .flat_map(|r| levels(r).into_iter().map(|(level, fire)| ((r.policy.as_str(), level), fire)))
        .collect();
    let mut own = BTreeMap::new();
    let mut used: BTreeMap<Key<'_>, f64> = BTreeMap::new();
    for (id, slot) in slots {
        for rule in slot.rules.iter() {
            for (level, fire) in levels(rule) {
                let key = (rule.policy.as_str(), level);
                match common.get(&key) {
                    Some(same) if *same == fire => drop(used.insert(key, fire)),
                    _ => drop(own.insert((key, id), fire)),
                }
            }
        }
    }
    let point = |(policy, level): Key<'_>, instance: Option<&InstanceId>, fire| Threshold {
        policy: policy.into(),
        level,
        instance: instance.cloned(),
        fire,
    };
    let used = used.into_iter().map(|(key, fire)| point(key, None, fire));
    let own = own.into_iter().map(|((key, id), fire)| point(key, Some(id), fire));
    used.chain(own).collect()
}

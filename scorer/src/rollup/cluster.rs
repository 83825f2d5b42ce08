//! A cluster's slots as its best informed node sees them.
//!
//! Invariant: the view comes from an answering node with the highest epoch, masters first, so a cut
//! off minority does not speak for the cluster.

use std::cmp::Reverse;
use std::collections::HashMap;

use model::field::Field;
use model::reading::Role;

use super::index::Member;
use crate::inputs::SLOTS;

/// What the cluster says about its slots.
#[derive(Debug, Clone, Default)]
pub(super) struct View<'a> {
    slots: HashMap<&'a str, u32>,
    /// Share of the slots not served, in the node's own words.
    pub unserved: f64,
    /// It refuses requests as a whole.
    pub failed: bool,
}

impl<'a> View<'a> {
    pub fn new(nodes: &[Member<'a>]) -> View<'a> {
        let counts = speaker(nodes, |m| m.reading()?.get(Field::ClusterSlotsAssigned));
        let map = speaker(nodes, |m| m.facts()?.cluster.as_ref());
        let value = |field| counts.and_then(|m| m.reading()?.get(field));
        let unserved = value(Field::ClusterSlotsAssigned).map(|assigned| {
            let failed = value(Field::ClusterSlotsFail).unwrap_or(0.0);
            ((SLOTS - assigned + failed) / SLOTS).clamp(0.0, 1.0)
        });
        View {
            slots: map.map(speaker_slots).unwrap_or_default(),
            unserved: unserved.unwrap_or(0.0),
            failed: value(Field::ClusterState).is_some_and(|s| s < 1.0),
        }
    }

    /// Slots a member owns.
    pub fn owns(&self, member: &Member<'_>) -> u32 {
        self.slots.get(member.instance.id.address()).copied().unwrap_or(0)
    }

    /// Whether anything is known about slots.
    pub fn is_known(&self) -> bool {
        !self.slots.is_empty()
    }
}

/// The best informed node of those that know something.
fn speaker<'n, 'a, T>(
    nodes: &'n [Member<'a>],
    knows: impl Fn(&Member<'a>) -> Option<T>,
) -> Option<&'n Member<'a>> {
    let epoch = |m: &Member<'_>| {
        m.reading().and_then(|r| r.get(Field::ClusterCurrentEpoch)).unwrap_or(-1.0) as i64
    };
    nodes
        .iter()
        .filter(|m| m.is_up() && knows(m).is_some())
        .max_by_key(|m| (m.role() == Some(Role::Master), epoch(m), Reverse(m.instance.id.as_str())))
}

fn speaker_slots<'a>(speaker: &Member<'a>) -> HashMap<&'a str, u32> {
    let Some(view) = speaker.facts().and_then(|f| f.cluster.as_ref()) else {
        return HashMap::new();
    };
    let count = |slots: &[(u16, u16)]| {
        slots.iter().map(|(a, b)| u32::from(b.saturating_sub(*a)) + 1).sum::<u32>()
    };
    let owners = view.nodes.iter().filter(|n| !n.slots.is_empty());
    let named = owners.map(|n| {
        let own = n.id == view.my_id;
        // A node may not know the address others reach it by; its instance id does.
        let address = if own { speaker.instance.id.address() } else { n.address.as_str() };
        (address, count(&n.slots))
    });
    named.collect()
}

//! Which slots go from whom to whom: by bytes, from the fullest to the emptiest.
//!
//! Invariants: a slot has one owner before and one after; nothing is moved that does not bring the
//! masters nearer to each other; the same weights give the same moves. Refuses to know how slots are
//! weighed and moved.

use model::InstanceId;
use serde::{Deserialize, Serialize};

/// How far a master may be from the mean, as a share of it.
pub const TOLERANCE: f64 = 0.05;

/// A master with the slots it owns and what each weighs.
#[derive(Debug, Clone, PartialEq)]
pub struct Owner {
    /// Who.
    pub id: InstanceId,
    /// Slots, ascending, with their weight.
    pub slots: Vec<(u16, f64)>,
}

/// Slots that go from one master to another; ranges are inclusive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Present owner.
    pub from: InstanceId,
    /// Next owner.
    pub to: InstanceId,
    /// Ranges, ascending.
    pub slots: Vec<(u16, u16)>,
}

impl Owner {
    fn weight(&self) -> f64 {
        self.slots.iter().map(|(_, w)| w).sum()
    }
}

/// Moves after which each master is within the tolerance of the mean, as far as whole slots allow.
/// At most `limit` slots.
pub fn level(owners: &[Owner], limit: usize) -> Vec<Move> {
    let mut table = Table::of(owners);
    let mean = table.weights.iter().sum::<f64>() / table.weights.len().max(1) as f64;
    let mut receivers: Vec<usize> = (0..owners.len()).collect();
    receivers.sort_by(|a, b| table.weights[*a].total_cmp(&table.weights[*b]));
    for to in receivers {
        while table.weights[to] < mean * (1.0 - TOLERANCE / 2.0) && table.moved < limit {
            let Some(from) = table.fullest(mean) else { break };
            // What is heavier than the gap would only change who is too full.
            if !table.give(from, to, |w, from_weight, to_weight| w < from_weight - to_weight) {
                break;
            }
        }
    }
    table.moves()
}

/// Moves that leave `leaving` without a slot, shared out to the others by what they hold.
pub fn empty(owners: &[Owner], leaving: &InstanceId, limit: usize) -> Vec<Move> {
    let mut table = Table::of(owners);
    let Some(from) = owners.iter().position(|o| o.id == *leaving) else { return Vec::new() };
    let others = owners.len().saturating_sub(1).max(1);
    let mean = table.weights.iter().sum::<f64>() / others as f64;
    let mut receivers: Vec<usize> = (0..owners.len()).filter(|i| *i != from).collect();
    receivers.sort_by(|a, b| table.weights[*a].total_cmp(&table.weights[*b]));
    let last = receivers.last().copied();
    for to in receivers {
        while (table.weights[to] < mean || Some(to) == last) && table.moved < limit {
            if !table.give(from, to, |_, _, _| true) {
                break;
            }
        }
    }
    table.moves()
}

/// Who owns what while moves are thought out.
struct Table<'a> {
    owners: &'a [Owner],
    left: Vec<Vec<(u16, f64)>>,
    weights: Vec<f64>,
    /// (from, to, slot).
    given: Vec<(usize, usize, u16)>,
    moved: usize,
}

impl<'a> Table<'a> {
    fn of(owners: &'a [Owner]) -> Table<'a> {
        Table {
            owners,
            left: owners.iter().map(|o| o.slots.clone()).collect(),
            weights: owners.iter().map(Owner::weight).collect(),
            given: Vec::new(),
            moved: 0,
        }
    }

    /// The fullest above the mean that has a slot to give.
    fn fullest(&self, mean: f64) -> Option<usize> {
        let above =
            (0..self.owners.len()).filter(|i| self.weights[*i] > mean && !self.left[*i].is_empty());
        above.max_by(|a, b| self.weights[*a].total_cmp(&self.weights[*b]))
    }

    /// Gives the highest slot that `fits`; false when none does.
    fn give(&mut self, from: usize, to: usize, fits: impl Fn(f64, f64, f64) -> bool) -> bool {
        let (a, b) = (self.weights[from], self.weights[to]);
        let Some(at) = self.left[from].iter().rposition(|(_, w)| fits(*w, a, b)) else {
            return false;
        };
        let (slot, weight) = self.left[from].remove(at);
        self.weights[from] -= weight;
        self.weights[to] += weight;
        self.given.push((from, to, slot));
        self.moved += 1;
        true
    }

    fn moves(mut self) -> Vec<Move> {
        self.given.sort_unstable();
        let mut moves: Vec<Move> = Vec::new();
        for (from, to, slot) in self.given {
            let (from, to) = (&self.owners[from].id, &self.owners[to].id);
            match moves.last_mut().filter(|m| m.from == *from && m.to == *to) {
                Some(last) => match last.slots.last_mut().filter(|(_, end)| *end + 1 == slot) {
                    Some((_, end)) => *end = slot,
                    None => last.slots.push((slot, slot)),
                },
                None => {
                    moves.push(Move {
                        from: from.clone(),
                        to: to.clone(),
                        slots: vec![(slot, slot)],
                    });
                }
            }
        }
        moves
    }
}

/// The slots of ranges, ascending.
pub fn each(ranges: &[(u16, u16)]) -> impl Iterator<Item = u16> + '_ {
    ranges.iter().flat_map(|(from, to)| *from..=*to)
}

/// A move as moves of at most `most` slots.
pub fn in_parts(whole: &Move, most: usize) -> Vec<Move> {
    let slots: Vec<u16> = each(&whole.slots).collect();
    let part = |chunk: &[u16]| {
        let mut ranges: Vec<(u16, u16)> = Vec::new();
        for slot in chunk {
            match ranges.last_mut().filter(|(_, end)| *end + 1 == *slot) {
                Some((_, end)) => *end = *slot,
                None => ranges.push((*slot, *slot)),
            }
        }
        Move { slots: ranges, ..whole.clone() }
    };
    slots.chunks(most.max(1)).map(part).collect()
}

/// Ranges in words: `0-99, 120`.
pub fn words(ranges: &[(u16, u16)]) -> String {
    let one = |(from, to): &(u16, u16)| match from == to {
        true => from.to_string(),
        false => format!("{from}-{to}"),
    };
    ranges.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn id(n: usize) -> InstanceId {
        format!("pay.cart@10.0.0.{}:6379", n + 1).parse().unwrap()
    }

    fn owner(n: usize, slots: std::ops::Range<u16>, weight: f64) -> Owner {
        Owner { id: id(n), slots: slots.map(|s| (s, weight)).collect() }
    }

    /// Weights by owner after the moves; every slot has exactly one owner.
    fn after(owners: &[Owner], moves: &[Move]) -> BTreeMap<InstanceId, f64> {
        let mut table: BTreeMap<u16, (InstanceId, f64)> = BTreeMap::new();
        for o in owners {
            table.extend(o.slots.iter().map(|(s, w)| (*s, (o.id.clone(), *w))));
        }
        for m in moves {
            for slot in each(&m.slots) {
                let entry = table.get_mut(&slot).unwrap();
                assert_eq!(entry.0, m.from, "slot {slot} is moved by its owner");
                entry.0 = m.to.clone();
            }
        }
        let mut weights: BTreeMap<InstanceId, f64> =
            owners.iter().map(|o| (o.id.clone(), 0.0)).collect();
        table.values().for_each(|(id, w)| *weights.get_mut(id).unwrap() += w);
        weights
    }

    #[test]
    fn a_new_master_gets_its_share_from_each_of_the_others() {
        let owners = [
            owner(0, 0..5461, 1.0),
            owner(1, 5461..10_923, 1.0),
            owner(2, 10_923..16_384, 1.0),
            owner(3, 0..0, 1.0),
        ];
        let moves = level(&owners, usize::MAX);
        assert!(moves.iter().all(|m| m.to == id(3)) && moves.len() == 3, "{moves:?}");
        assert!(moves.iter().all(|m| m.slots.len() == 1), "whole ranges: {moves:?}");
        for (_, weight) in after(&owners, &moves) {
            assert!((weight - 4096.0).abs() <= 4096.0 * TOLERANCE, "{weight}");
        }
        assert!(level(&owners[..3], usize::MAX).is_empty(), "even already");
    }

    #[test]
    fn bytes_count_and_not_slots() {
        let owners = [owner(0, 0..100, 10.0), owner(1, 100..1_100, 1.0)];
        assert!(level(&owners, usize::MAX).is_empty());
        let owners = [owner(0, 0..100, 30.0), owner(1, 100..1_100, 1.0)];
        let weights: Vec<f64> = after(&owners, &level(&owners, usize::MAX)).into_values().collect();
        assert!((weights[0] - 2_000.0).abs() <= 2_000.0 * TOLERANCE, "{weights:?}");
    }

    #[test]
    fn a_leaving_master_ends_without_a_slot_and_a_limit_is_kept() {
        let owners =
            [owner(0, 0..5000, 1.0), owner(1, 5000..10_000, 1.0), owner(2, 10_000..16_384, 1.0)];
        let moves = empty(&owners, &id(2), usize::MAX);
        let weights = after(&owners, &moves);
        assert_eq!(weights[&id(2)], 0.0);
        assert_eq!((weights[&id(0)], weights[&id(1)]), (8_192.0, 8_192.0));
        let few: usize = empty(&owners, &id(2), 10).iter().map(|m| each(&m.slots).count()).sum();
        assert_eq!(few, 10);
    }

    #[test]
    fn parts_are_the_whole() {
        let whole = Move { from: id(0), to: id(1), slots: vec![(0, 9), (20, 24)] };
        let parts = in_parts(&whole, 8);
        let ranges: Vec<_> = parts.iter().map(|p| words(&p.slots)).collect();
        assert_eq!(ranges, ["0-7", "8-9, 20-24"]);
    }

    proptest! {
        #[test]
        fn moving_never_makes_it_worse(
            cuts in proptest::collection::vec(1u16..400, 2..7),
            weights in proptest::collection::vec(1u32..50, 7),
        ) {
            let mut at = 0;
            let owners: Vec<Owner> = cuts.iter().enumerate().map(|(n, len)| {
                let o = owner(n, at..at + len, f64::from(weights[n]));
                at += len;
                o
            }).collect();
            let spread = |w: &BTreeMap<InstanceId, f64>| {
                let most = w.values().copied().fold(0.0, f64::max);
                most - w.values().copied().fold(f64::MAX, f64::min)
            };
            let before = spread(&after(&owners, &[]));
            let moves = level(&owners, usize::MAX);
            prop_assert!(spread(&after(&owners, &moves)) <= before);
            let gone = empty(&owners, &id(0), usize::MAX);
            prop_assert_eq!(after(&owners, &gone)[&id(0)], 0.0);
        }
    }
}

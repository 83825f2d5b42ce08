//! Which entries of a list that a server's clients can lengthen keep a series of their own; the
//! rest is one sum.
//!
//! Invariants: a name that was given a place keeps it from poll to poll, so a flood of new names
//! neither pushes out an old one nor makes its counter start anew; the sum never falls while the
//! server's counters do not; whatever a server lists, a fold holds `LIST_MAX` entries. Refuses to
//! know what is counted.
//!
//! Places are given to the largest when first seen. A name that outgrows a placed one takes over its
//! place, seldom; the sum keeps what it showed of both, for a counter must not jump because a name
//! moved.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;

use model::reading::CommandStat;

/// Name under which the rest is summed.
pub const OVERFLOW: &str = "__overflow__";

/// Label values of one family and instance, at most, the sum among them.
pub const VALUES_MAX: usize = 128;

/// Entries held while a reply is read; above it the smallest without a place are summed at once.
pub(super) const LIST_MAX: usize = 512;

/// Polls between two changes of a place: five minutes at 15 s. A server that lies about its counts
/// can thus make 288 new series a day, and not 127 with every poll.
const CHANGE_EVERY: u32 = 20;

/// A name takes over a place when it is so many times larger: two that grow alike must not take
/// turns, and with doubling there are few turns in all.
const OUTGROWN: f64 = 2.0;

/// An entry of such a list.
pub(super) trait Entry {
    /// Zero of everything, under the name `OVERFLOW`.
    fn zero() -> Self;
    fn name(&self) -> &str;
    /// What decides who is large; grows with time.
    fn size(&self) -> f64;
    /// Adds `times` times the other's counts.
    fn add(&mut self, other: &Self, times: f64);
}

impl Entry for (String, f64) {
    fn zero() -> Self {
        (OVERFLOW.into(), 0.0)
    }

    fn name(&self) -> &str {
        &self.0
    }

    fn size(&self) -> f64 {
        self.1
    }

    fn add(&mut self, other: &Self, times: f64) {
        self.1 += times * other.1;
    }
}

impl Entry for CommandStat {
    fn zero() -> Self {
        CommandStat { cmd: OVERFLOW.into(), calls: 0.0, usec: 0.0, rejected: None, failed: None }
    }

    fn name(&self) -> &str {
        &self.cmd
    }

    fn size(&self) -> f64 {
        self.calls
    }

    fn add(&mut self, other: &Self, times: f64) {
        let sum = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (a, None) => a,
            (a, Some(b)) => Some(a.unwrap_or(0.0) + times * b),
        };
        self.calls += times * other.calls;
        self.usec += times * other.usec;
        self.rejected = sum(self.rejected, other.rejected);
        self.failed = sum(self.failed, other.failed);
    }
}

/// What one list's fold remembers from poll to poll.
pub(super) struct Fold<T> {
    /// Places beside the reserved ones and the sum.
    limit: usize,
    /// Names that always have a place: nobody can take it from them by being early.
    reserved: &'static [&'static str],
    /// Hashes of the placed names; empty while the list is short. Keyed by the process, so nobody
    /// can make a name that passes for a placed one.
    places: HashSet<u64>,
    /// What the sum shows beyond the entries without a place: gained and lost with places.
    carried: Option<T>,
    /// Size of the entries without a place at the poll before.
    rest_size: f64,
    polls: u32,
    /// Entries of the present reply summed already, and how many.
    rest: Option<T>,
    left_out: u32,
    repeated: u32,
}

impl<T: Entry> Fold<T> {
    /// At most `values` label values; `reserved` are among them.
    pub(super) fn new(values: usize, reserved: &'static [&'static str]) -> Fold<T> {
        Fold {
            limit: values.saturating_sub(1 + reserved.len()),
            reserved,
            places: HashSet::new(),
            carried: None,
            rest_size: 0.0,
            polls: 0,
            rest: None,
            left_out: 0,
            repeated: 0,
        }
    }

    /// Takes one entry of the reply into `list`.
    pub(super) fn push(&mut self, list: &mut Vec<T>, entry: T) {
        if list.len() >= LIST_MAX {
            self.repeated += drop_repeated(list, |a, b| a.name().cmp(b.name()));
            let mut strangers = self.part(list);
            by_size(&mut strangers);
            self.sum(strangers.drain(self.limit.min(strangers.len())..));
            list.append(&mut strangers);
        }
        list.push(entry);
    }

    /// Ends a reply: `list` holds the placed entries in the reply's order, then the sum if there is
    /// one. Answers how many entries are in the sum, and how many were names met before.
    pub(super) fn finish(&mut self, list: &mut Vec<T>) -> (u32, u32) {
        let repeated = drop_repeated(list, |a, b| a.name().cmp(b.name()));
        let repeated = repeated + std::mem::take(&mut self.repeated);
        (self.fold(list), repeated)
    }

    fn fold(&mut self, list: &mut Vec<T>) -> u32 {
        let short = self.places.is_empty() && list.len() <= self.limit / 2;
        let hostile = || list.iter().any(|e| e.name() == OVERFLOW);
        if list.is_empty() || (short && self.carried.is_none() && !hostile()) {
            return 0;
        }
        self.polls += 1;
        let mut strangers = self.part(list);
        by_size(&mut strangers);
        self.give_free_places(list, &mut strangers);
        self.settle_reset(&strangers);
        if self.polls.is_multiple_of(CHANGE_EVERY) {
            self.change_one_place(list, &mut strangers);
        }
        self.sum(strangers.into_iter());
        self.close(list)
    }

    fn give_free_places(&mut self, list: &mut Vec<T>, strangers: &mut Vec<T>) {
        let free = self.limit.saturating_sub(self.places.len()).min(strangers.len());
        let named: Vec<T> = strangers.extract_if(.., |e| e.name() != OVERFLOW).collect();
        let mut named = named.into_iter();
        for entry in named.by_ref().take(free) {
            self.places.insert(hash(entry.name()));
            list.push(entry);
        }
        strangers.splice(0..0, named);
    }

    /// A server whose counters began anew has nothing left of what was carried.
    fn settle_reset(&mut self, strangers: &[T]) {
        let summed = self.rest.as_ref().map_or(0.0, T::size);
        let size = summed + strangers.iter().map(T::size).sum::<f64>();
        if size < self.rest_size {
            self.carried = self.carried.is_some().then(T::zero);
        }
        self.rest_size = size;
    }

    fn change_one_place(&mut self, list: &mut Vec<T>, strangers: &mut Vec<T>) {
        if strangers.is_empty() || strangers[0].name() == OVERFLOW {
            return;
        }
        let reserved = self.reserved;
        let smallest = (0..list.len())
            .filter(|i| !reserved.contains(&list[*i].name()))
            .min_by(|a, b| list[*a].size().total_cmp(&list[*b].size()));
        let Some(smallest) = smallest else { return };
        if strangers[0].size() <= OUTGROWN * list[smallest].size() {
            return;
        }
        let (up, down) = (strangers.remove(0), list.remove(smallest));
        self.places.remove(&hash(down.name()));
        self.places.insert(hash(up.name()));
        self.rest_size += down.size() - up.size();
        let carried = self.carried.get_or_insert_with(T::zero);
        carried.add(&up, 1.0);
        carried.add(&down, -1.0);
        list.push(up);
        strangers.push(down);
    }

    /// Takes the entries without a place out of `list`.
    fn part(&self, list: &mut Vec<T>) -> Vec<T> {
        let placed = |e: &T| {
            let name = e.name();
            self.reserved.contains(&name)
                || (!self.places.is_empty() && self.places.contains(&hash(name)))
        };
        list.extract_if(.., |e| !placed(e)).collect()
    }

    fn sum(&mut self, entries: impl Iterator<Item = T>) {
        for entry in entries {
            self.rest.get_or_insert_with(T::zero).add(&entry, 1.0);
            self.left_out += 1;
        }
    }

    fn close(&mut self, list: &mut Vec<T>) -> u32 {
        let rest = self.rest.take();
        if rest.is_some() || self.carried.is_some() {
            let mut sum = rest.unwrap_or_else(T::zero);
            if let Some(carried) = &self.carried {
                sum.add(carried, 1.0);
            }
            // Once shown it stays: a series that comes and goes is worse than a zero.
            self.carried.get_or_insert_with(T::zero);
            list.push(sum);
        }
        std::mem::take(&mut self.left_out)
    }
}

/// Largest first; of equals the first by name, so that what is chosen does not depend on the order
/// of a server's hash table.
fn by_size<T: Entry>(entries: &mut [T]) {
    entries.sort_unstable_by(|a, b| {
        b.size().total_cmp(&a.size()).then_with(|| a.name().cmp(b.name()))
    });
}

fn hash(name: &str) -> u64 {
    static KEYS: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    KEYS.hash_one(name)
}

/// Keeps the first of those that compare equal; answers how many were dropped.
pub(super) fn drop_repeated<T>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> u32 {
    let mut order: Vec<usize> = (0..items.len()).collect();
    order.sort_unstable_by(|a, b| compare(&items[*a], &items[*b]).then(a.cmp(b)));
    let mut doomed: Vec<usize> = order
        .windows(2)
        .filter(|pair| compare(&items[pair[0]], &items[pair[1]]) == Ordering::Equal)
        .map(|pair| pair[1])
        .collect();
    if doomed.is_empty() {
        return 0;
    }
    doomed.sort_unstable();
    let mut at = 0;
    items.retain(|_| {
        at += 1;
        doomed.binary_search(&(at - 1)).is_err()
    });
    doomed.len() as u32
}

#[cfg(test)]
mod tests;

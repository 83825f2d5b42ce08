//! The slow log's entries as the slower poll reads them: all of their durations, a minute late.
//!
//! Invariant: an entry is counted once; those from before watching began are not. Bounded by the window
//! and by what one read brings.
//! Refuses to know the entries' text beyond their command, which is one of the shapes already told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use model::At;
use model::detail::SlowTally;

/// What one read of the slow log brought: durations, µs, and each one's place among the shapes.
#[derive(Debug, Clone, PartialEq)]
struct Batch {
    at: At,
    entries: Vec<(u32, Option<usize>)>,
}

/// The command that blocks most, among the entries that were read.
#[derive(Debug, Clone, PartialEq)]
pub struct SlowTop {
    /// With its subcommand as `config|get`.
    pub cmd: Box<str>,
    /// Its share of the entries.
    pub count: f64,
    /// Its share of their time.
    pub time: f64,
    /// The longest of the others, µs; 0: there are none.
    pub others_us: f64,
}

/// The entries of the window.
#[derive(Debug, Clone, Default)]
pub(super) struct SlowEntries {
    batches: VecDeque<Batch>,
    read_at: Option<At>,
    /// The latest read, for its shapes' names.
    latest: Option<Arc<SlowTally>>,
    /// Highest id counted or set aside.
    newest: f64,
}

impl SlowEntries {
    /// Forgets what was read before `oldest`: also while nothing new is read, for then nothing is slow
    /// any more.
    pub fn forget(&mut self, oldest: At) {
        while self.batches.front().is_some_and(|b| b.at < oldest) {
            self.batches.pop_front();
        }
    }

    pub fn take(&mut self, tally: &Arc<SlowTally>, restarted: bool) {
        if restarted {
            // Ids begin anew: whatever is read next happened since.
            self.newest = -1.0;
        }
        if self.read_at == Some(tally.at) {
            return;
        }
        let first = self.read_at.is_none();
        let newest = tally.recent.iter().map(|e| e.id).fold(self.newest.min(-1.0), f64::max);
        let fresh = tally.recent.iter().filter(|e| !first && e.id > self.newest);
        let entries = fresh.map(|e| (e.us as u32, shape(&e.args, tally))).collect();
        let batch = Batch { at: tally.at, entries };
        self.latest = Some(tally.clone());
        (self.read_at, self.newest) =
            (Some(tally.at), if first { newest } else { newest.max(self.newest) });
        if !batch.entries.is_empty() {
            self.batches.push_back(batch);
        }
    }

    /// Durations of the entries of the window, µs; of none nothing is allocated.
    pub fn durations(&self) -> Vec<u32> {
        self.entries().map(|(us, _)| us).collect()
    }

    fn entries(&self) -> impl Iterator<Item = (u32, Option<usize>)> {
        self.batches.iter().flat_map(|b| b.entries.iter().copied())
    }

    /// The command that blocks most; none while no entry's command is known.
    pub fn top(&self) -> Option<SlowTop> {
        let mut sums: BTreeMap<usize, (f64, f64)> = BTreeMap::new();
        let (mut count, mut time) = (0.0, 0.0);
        for (us, place) in self.entries() {
            (count, time) = (count + 1.0, time + f64::from(us));
            if let Some(place) = place {
                let sum = sums.entry(place).or_default();
                *sum = (sum.0 + 1.0, sum.1 + f64::from(us));
            }
        }
        let (place, (n, us)) = sums.into_iter().max_by(|a, b| a.1.1.total_cmp(&b.1.1))?;
        let cmd = self.latest.as_ref()?.shapes.get(place)?.cmd.clone();
        let others = self.entries().filter(|(_, p)| *p != Some(place)).map(|(us, _)| us);
        let others_us = f64::from(others.max().unwrap_or(0));
        Some(SlowTop {
            cmd,
            count: n / count,
            time: if time > 0.0 { us / time } else { 1.0 },
            others_us,
        })
    }
}

/// Place of an entry's command among the shapes.
fn shape(args: &str, tally: &SlowTally) -> Option<usize> {
    let mut words = args.split_whitespace();
    let (cmd, sub) = (words.next()?, words.next().unwrap_or_default());
    tally.shapes.iter().position(|shape| match shape.cmd.split_once('|') {
        Some((first, second)) => {
            first.eq_ignore_ascii_case(cmd) && second.eq_ignore_ascii_case(sub)
        }
        None => shape.cmd.eq_ignore_ascii_case(cmd),
    })
}

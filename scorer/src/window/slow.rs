//! The slow log's entries as the slower poll reads them: all of their durations, a minute late.
//!
//! Invariant: an entry is counted once; those from before watching began are not. Bounded by the window
//! and by what one read brings.
//! Refuses to know the entries' text.

use std::collections::VecDeque;

use model::At;
use model::detail::SlowTally;

/// What one read of the slow log brought: durations, µs.
#[derive(Debug, Clone, PartialEq)]
struct Batch {
    at: At,
    each_us: Vec<u32>,
}

/// The entries of the window.
#[derive(Debug, Clone, Default)]
pub(super) struct SlowEntries {
    batches: VecDeque<Batch>,
    read_at: Option<At>,
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

    pub fn take(&mut self, tally: &SlowTally, restarted: bool) {
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
        let batch = Batch { at: tally.at, each_us: fresh.map(|e| e.us as u32).collect() };
        (self.read_at, self.newest) =
            (Some(tally.at), if first { newest } else { newest.max(self.newest) });
        if !batch.each_us.is_empty() {
            self.batches.push_back(batch);
        }
    }

    /// Durations of the entries of the window, µs; of none nothing is allocated.
    pub fn durations(&self) -> Vec<u32> {
        self.batches.iter().flat_map(|b| b.each_us.iter().copied()).collect()
    }
}

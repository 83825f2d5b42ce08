//! The slow log's entries as the slower poll reads them: all of their durations, a minute late.
//!
//! Invariant: an entry is counted once; those from before watching began are not. Bounded by the window.
//! Refuses to know the entries' text.

use std::collections::VecDeque;

use model::At;
use model::detail::SlowTally;

/// What one read of the slow log brought.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Batch {
    at: At,
    count: f64,
    us: f64,
    us_max: f64,
}

/// The entries of the window.
#[derive(Debug, Clone, Default)]
pub(super) struct SlowEntries {
    batches: VecDeque<Batch>,
    read_at: Option<At>,
    /// Highest id counted or set aside.
    newest: f64,
}

/// Sum over the window.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct SlowSum {
    pub count: f64,
    pub us: f64,
    pub us_max: f64,
}

impl SlowEntries {
    pub fn take(&mut self, tally: &SlowTally, restarted: bool, oldest: At) {
        if restarted {
            // Ids begin anew: whatever is read next happened since.
            self.newest = -1.0;
        }
        if self.read_at == Some(tally.at) {
            return;
        }
        let first = self.read_at.is_none();
        let newest = tally.recent.iter().map(|e| e.id).fold(self.newest.min(-1.0), f64::max);
        let mut batch = Batch { at: tally.at, count: 0.0, us: 0.0, us_max: 0.0 };
        for entry in tally.recent.iter().filter(|e| !first && e.id > self.newest) {
            batch.count += 1.0;
            batch.us += entry.us;
            batch.us_max = batch.us_max.max(entry.us);
        }
        (self.read_at, self.newest) =
            (Some(tally.at), if first { newest } else { newest.max(self.newest) });
        self.batches.push_back(batch);
        while self.batches.front().is_some_and(|b| b.at < oldest) {
            self.batches.pop_front();
        }
    }

    pub fn sum(&self) -> SlowSum {
        self.batches.iter().fold(SlowSum::default(), |sum, b| SlowSum {
            count: sum.count + b.count,
            us: sum.us + b.us,
            us_max: sum.us_max.max(b.us_max),
        })
    }
}

//! What the latest scores of an instance were made from: enough to say what another policy would have
//! made of the last hour.
//!
//! Invariant: however large the fleet, all of it together stays within `BYTES_MAX`; then the moments lie
//! further apart, and still reach an hour back. Lives in memory only.

use std::collections::VecDeque;
use std::sync::Arc;

use model::At;
use scorer::Inputs;

/// How far moments reach back, ms.
const REACH_MS: i64 = 3_600_000;
/// Moments of one instance at most: one a minute.
const MOMENTS_MAX: usize = 60;
/// Memory of all moments of the fleet.
const BYTES_MAX: usize = 96 << 20;

/// What scores were made from, the latest first.
pub(crate) type Moments = Vec<(At, Arc<Inputs>)>;

/// How densely an instance may remember.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Recall {
    moments: usize,
    /// Between two of them.
    pub(crate) step_ms: i64,
}

impl Recall {
    /// The share of one of `instances`.
    pub(crate) fn of(instances: usize) -> Recall {
        let room = BYTES_MAX / (instances.max(1) * size_of::<Inputs>());
        let moments = room.clamp(1, MOMENTS_MAX);
        Recall { moments, step_ms: REACH_MS / moments as i64 }
    }
}

/// Moments of one instance.
#[derive(Debug, Default)]
pub(super) struct Past {
    latest: Option<(At, Arc<Inputs>)>,
    /// Oldest first.
    moments: VecDeque<(At, Arc<Inputs>)>,
}

impl Past {
    pub(super) fn push(&mut self, at: At, inputs: Arc<Inputs>, recall: Recall) {
        let due = |(last, _): &(At, Arc<Inputs>)| at.since_ms(*last) >= recall.step_ms;
        if self.moments.back().is_none_or(due) {
            self.moments.push_back((at, inputs.clone()));
        }
        while self.moments.len() > recall.moments
            || self.moments.front().is_some_and(|(first, _)| at.since_ms(*first) > REACH_MS)
        {
            self.moments.pop_front();
        }
        self.latest = Some((at, inputs));
    }

    pub(super) fn latest(&self) -> Option<(At, Arc<Inputs>)> {
        self.latest.clone()
    }

    pub(super) fn all(&self) -> Moments {
        let latest = self.latest.as_ref();
        let before = self.moments.iter().rev().filter(|(at, _)| latest.is_none_or(|l| l.0 != *at));
        latest.into_iter().chain(before).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_fleet_remembers_as_far_back_in_fewer_moments() {
        let small = Recall::of(10);
        assert_eq!((small.moments, small.step_ms), (60, 60_000));
        let large = Recall::of(10_000);
        assert!(large.moments >= 2, "{large:?}");
        assert!(large.moments * 10_000 * size_of::<Inputs>() <= BYTES_MAX);
        assert_eq!(large.step_ms * large.moments as i64, REACH_MS);
        assert_eq!(Recall::of(0), small);
    }
}

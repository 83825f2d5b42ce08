//! Whether the process keeps up, and by how much intervals are stretched while it does not.
//!
//! Invariant: only turns that begin late although their task was waiting for them count, so a slow
//! server, which delays nobody but itself, stretches nothing; the important are stretched last; the
//! stretch goes back by itself. Refuses to know instances.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use model::service::Tier;

/// A turn that begins later than this is late: the staleness we promise is an interval and a second.
const LATE: Duration = Duration::from_secs(1);
/// Share of late turns in a window above which we do not keep up, percent.
const BUSY_PERCENT: u32 = 5;
/// Windows in a row before the stretch grows: one stop of the whole machine is no overload.
const BUSY_WINDOWS: u32 = 2;
/// Windows in a row without a late turn before it shrinks: slower than it grows, so that it does
/// not swing.
const CALM_WINDOWS: u32 = 4;
/// Factors by level, for core, important, general and test instances.
const FACTORS: [[u32; 4]; 4] = [[1, 1, 1, 1], [1, 1, 2, 4], [1, 2, 4, 8], [2, 4, 8, 16]];

/// How the turns of this process went lately.
#[derive(Debug, Default)]
pub(crate) struct Load {
    turns: AtomicU32,
    late: AtomicU32,
    level: AtomicU32,
    streaks: Mutex<Streaks>,
}

#[derive(Debug, Default)]
struct Streaks {
    busy: u32,
    calm: u32,
}

impl Load {
    /// A turn began this long after its moment, while nothing but the process itself kept it.
    pub(super) fn began(&self, behind: Duration) {
        self.turns.fetch_add(1, Ordering::Relaxed);
        if behind > LATE {
            self.late.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Level of the stretch: 0 (none) to 3.
    pub(crate) fn level(&self) -> u32 {
        self.level.load(Ordering::Relaxed).min(FACTORS.len() as u32 - 1)
    }

    /// By how much the interval of an instance of that tier is stretched now.
    pub(super) fn factor(&self, tier: Tier) -> u32 {
        let column = match tier {
            Tier::Core => 0,
            Tier::Important => 1,
            Tier::General => 2,
            Tier::Test => 3,
        };
        FACTORS[self.level() as usize][column]
    }

    /// Ends a window; answers the new level when it moved.
    pub(crate) fn round(&self) -> Option<u32> {
        let turns = self.turns.swap(0, Ordering::Relaxed);
        let late = self.late.swap(0, Ordering::Relaxed);
        if turns == 0 {
            return None;
        }
        let mut streaks = self.streaks.lock().unwrap_or_else(PoisonError::into_inner);
        let busy = u64::from(late) * 100 > u64::from(turns) * u64::from(BUSY_PERCENT);
        streaks.busy = if busy { streaks.busy + 1 } else { 0 };
        streaks.calm = if late == 0 { streaks.calm + 1 } else { 0 };
        let before = self.level();
        let after = match (streaks.busy >= BUSY_WINDOWS, streaks.calm >= CALM_WINDOWS) {
            (true, _) => (before + 1).min(FACTORS.len() as u32 - 1),
            (_, true) => before.saturating_sub(1),
            _ => before,
        };
        if after == before {
            return None;
        }
        *streaks = Streaks::default();
        self.level.store(after, Ordering::Relaxed);
        Some(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(load: &Load, late: u32) -> Option<u32> {
        for i in 0..100 {
            load.began(if i < late { 2 * LATE } else { Duration::ZERO });
        }
        load.round()
    }

    #[test]
    fn one_bad_window_is_no_overload_and_two_are() {
        let load = Load::default();
        assert_eq!((window(&load, 100), window(&load, 0), window(&load, 100)), (None, None, None));
        assert_eq!(window(&load, 100), Some(1));
        assert_eq!(load.factor(Tier::Core), 1);
        assert_eq!((load.factor(Tier::General), load.factor(Tier::Test)), (2, 4));
    }

    #[test]
    fn the_stretch_grows_to_its_limit_and_goes_back_when_it_is_calm() {
        let load = Load::default();
        (0..20).for_each(|_| _ = window(&load, 50));
        assert_eq!((load.level(), load.factor(Tier::Core)), (3, 2));
        // Some late turns hold the level, and none let it go back.
        (0..20).for_each(|_| _ = window(&load, 1));
        assert_eq!(load.level(), 3);
        let moved: Vec<u32> = (0..20).filter_map(|_| window(&load, 0)).collect();
        assert_eq!(moved, [2, 1, 0]);
        assert_eq!(load.factor(Tier::Test), 1);
    }

    #[test]
    fn a_more_important_instance_is_never_stretched_more() {
        for row in FACTORS {
            assert!(row.is_sorted(), "{row:?}");
        }
        for pair in FACTORS.windows(2) {
            assert!(pair[0].iter().zip(&pair[1]).all(|(a, b)| a <= b));
        }
    }

    #[test]
    fn a_process_without_instances_is_not_overloaded() {
        assert_eq!(Load::default().round(), None);
    }
}

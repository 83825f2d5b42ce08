//! The times of an instance's rows.
//!
//! Invariant: they never run backwards and never stand still. While the wall clock is behind the
//! latest row (it was set back), rows go on by the monotonic clock, a little slower than it, until
//! the wall clock has caught up: a `for` of 15 s still takes some 17 s, not the hour the clock was
//! set back by. Refuses to know instances.

use model::At;
use tokio::time::Instant;

/// Share of the real time that rows go on by while they are ahead, percent: rates and timers are
/// wrong by as much, and an hour is caught up within ten.
const SHARE_PERCENT: i64 = 90;

/// When the latest row was published, by both clocks.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace(Option<(At, Instant)>);

impl Pace {
    /// A row of that time was published.
    pub(super) fn published(&mut self, at: At, moment: Instant) {
        if self.0.is_none_or(|(latest, _)| at >= latest) {
            self.0 = Some((at, moment));
        }
    }

    /// The time of the next row.
    pub(super) fn next(&self, wall: At, moment: Instant) -> At {
        let Some((latest, then)) = self.0 else { return wall };
        if wall > latest {
            return wall;
        }
        let passed = moment.saturating_duration_since(then).as_millis();
        let passed = i64::try_from(passed).unwrap_or(i64::MAX / SHARE_PERCENT);
        latest + (passed * SHARE_PERCENT / 100).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const T0: At = At::from_ms(1_763_800_000_000);
    const HOUR_MS: i64 = 3_600_000;

    #[test]
    fn rows_follow_the_wall_clock_while_it_goes_forward() {
        let mut pace = Pace::default();
        let moment = Instant::now();
        assert_eq!(pace.next(T0, moment), T0);
        pace.published(T0, moment);
        assert_eq!(pace.next(T0 + 15_000, moment), T0 + 15_000);
        assert_eq!(pace.next(T0, moment), T0 + 1, "two rows never have one time");
    }

    #[test]
    fn a_clock_set_back_by_an_hour_does_not_stop_the_time_of_rows() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.published(T0, start);
        let mut latest = T0;
        for poll in 1..=4 {
            let passed = Duration::from_secs(15 * poll);
            let wall = T0 - HOUR_MS + passed.as_millis() as i64;
            let at = pace.next(wall, start + passed);
            assert_eq!(at.since_ms(latest), 13_500, "a poll is worth a poll");
            pace.published(at, start + passed);
            latest = at;
        }
    }

    #[test]
    fn the_wall_clock_catches_up() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        pace.published(T0, start);
        let passed = Duration::from_secs(11 * 60);
        let wall = T0 - 60_000 + passed.as_millis() as i64;
        pace.published(pace.next(T0 - 60_000, start), start);
        assert_eq!(pace.next(wall, start + passed), wall);
    }
}

//! When an instance is polled next: its own moments of the interval, and the few extra polls that
//! events ask for.
//!
//! Invariant: regular polls keep to a grid of the instance's own (its phase comes from its id), so
//! ten thousand of them spread over the interval and a slow one drifts nowhere; extra polls come out
//! of a budget, so whoever can cause events cannot make us poll without end. Pure: no clock in here.

use std::time::Duration;

use model::InstanceId;
use tokio::time::Instant;

/// Extra polls after an event: at once, and while the others of the service follow. A promoted
/// replica answers as a master at once; its siblings follow it within seconds.
const AFTER_EVENT: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(1), Duration::from_secs(3), Duration::from_secs(8)];
/// Two extra polls are at least this far apart: as fast as the fastest regular ones.
const GAP: Duration = Duration::from_secs(1);
/// Extra polls that may be due to a burst of events: six failovers in a row, whose events come to some
/// seven polls each.
const EXTRA_MAX: u32 = 40;
/// One more is allowed this often: a Sentinel that floods us costs its service less than half again
/// of what regular polls do.
const EXTRA_EVERY: Duration = Duration::from_secs(30);

/// A new instance is polled within this time also when its interval is long: whoever adds one waits
/// for it.
const FIRST_WITHIN: Duration = Duration::from_secs(15);

/// Turns begin at multiples of this: those of one slot share a wake-up and warm caches, which makes
/// a poll cheaper, and at ten thousand instances they are some seventy, read within milliseconds.
const SLOT: Duration = Duration::from_millis(100);

/// The moment the grids of all instances are counted from, or slots would not be shared.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor(Instant);

impl Default for Anchor {
    fn default() -> Anchor {
        Anchor(Instant::now())
    }
}

impl Anchor {
    /// The first moment after `now` that is `phase` into an interval.
    pub(super) fn moment_after(self, now: Instant, phase: Duration, interval: Duration) -> Instant {
        let first = self.0 + phase;
        let Some(since) = now.checked_duration_since(first) else { return first };
        let interval = interval.as_nanos().max(1);
        now + Duration::from_nanos((interval - since.as_nanos() % interval) as u64)
    }
}

/// Where in the interval an instance has its turn.
pub(super) fn phase(id: &InstanceId, interval: Duration) -> Duration {
    let hash = id.as_str().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let slots = (interval.as_millis() / SLOT.as_millis()) as u64;
    SLOT * ((hash ^ (hash >> 32)) % slots.max(1)) as u32
}

/// The turns of one instance.
#[derive(Debug)]
pub(super) struct Turns {
    id: InstanceId,
    anchor: Anchor,
    interval: Duration,
    due: Instant,
    extra: Extra,
}

impl Turns {
    /// The first turn is within one interval after `now`, a short one.
    pub(super) fn new(id: InstanceId, interval: Duration, anchor: Anchor, now: Instant) -> Turns {
        let short = interval.min(FIRST_WITHIN);
        let due = anchor.moment_after(now, phase(&id, short), short);
        Turns { id, anchor, interval, due, extra: Extra::new(now) }
    }

    /// Interval in force.
    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes another interval; the next turn is its next moment after `now`.
    pub(super) fn set_interval(&mut self, interval: Duration, now: Instant) {
        if self.interval != interval {
            self.interval = interval;
            self.due = self.moment_after(now);
        }
    }

    /// The next regular turn.
    #[cfg(test)]
    fn due(&self) -> Instant {
        self.due
    }

    /// The next poll of either sort.
    pub(super) fn next(&self) -> Instant {
        self.extra.due.map_or(self.due, |extra| extra.min(self.due))
    }

    /// An event happened: polls soon, and some more while others follow.
    pub(super) fn ring(&mut self, now: Instant) {
        self.extra.ring(now);
    }

    /// A poll that began at `began` has ended at `now`. Answers how many regular turns came and
    /// went meanwhile: a missed turn is not made up for, two polls at once say no more than one.
    pub(super) fn polled(&mut self, began: Instant, now: Instant) -> u64 {
        self.extra.polled(began);
        if began < self.due {
            return 0;
        }
        let mut missed = 0;
        self.due = self.moment_after(self.due);
        while self.due < now {
            self.due += self.interval;
            missed += 1;
        }
        missed
    }

    fn moment_after(&self, now: Instant) -> Instant {
        self.anchor.moment_after(now, phase(&self.id, self.interval), self.interval)
    }
}

/// Polls that events asked for.
#[derive(Debug)]
struct Extra {
    due: Option<Instant>,
    /// Index of the poll that is due, in `AFTER_EVENT`.
    step: usize,
    rung: Instant,
    latest: Option<Instant>,
    left: u32,
    counted: Instant,
}

impl Extra {
    fn new(now: Instant) -> Extra {
        Extra { due: None, step: 0, rung: now, latest: None, left: EXTRA_MAX, counted: now }
    }

    fn ring(&mut self, now: Instant) {
        self.step = 0;
        self.rung = now;
        self.plan(now);
    }

    /// Sets the next moment: no sooner than a gap after the latest poll, and only within the budget.
    fn plan(&mut self, now: Instant) {
        self.refill(now);
        let wished = AFTER_EVENT.get(self.step).map(|after| self.rung + *after);
        let earliest = self.latest.map_or(now, |latest| latest + GAP);
        self.due = wished.filter(|_| self.left > 0).map(|at| at.max(earliest));
    }

    fn refill(&mut self, now: Instant) {
        while self.left < EXTRA_MAX && now.saturating_duration_since(self.counted) >= EXTRA_EVERY {
            self.left += 1;
            self.counted += EXTRA_EVERY;
        }
        if self.left == EXTRA_MAX {
            self.counted = now;
        }
    }

    /// Any poll serves the extra one that is due by then.
    fn polled(&mut self, began: Instant) {
        self.latest = Some(began);
        if self.due.is_some_and(|due| due <= began) {
            self.left = self.left.saturating_sub(1);
            self.step += 1;
            self.plan(began);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: Duration = Duration::from_secs(15);

    fn id(n: u32) -> InstanceId {
        format!("pay.cart@10.{}.{}.{}:6379", n / 4096, n / 64 % 64, n % 64).parse().unwrap()
    }

    fn turns(interval: Duration) -> Turns {
        Turns::new(id(3), interval, Anchor::default(), Instant::now())
    }

    #[test]
    fn instances_that_are_added_later_share_the_slots_of_those_before() {
        let (anchor, start) = (Anchor::default(), Instant::now());
        for i in 0..100 {
            let now = start + Duration::from_millis(137 * i);
            let turns = Turns::new(id(i as u32), BASE, anchor, now);
            assert!(turns.due() > now && turns.due() <= now + BASE);
            assert_eq!((turns.due() - anchor.0).as_nanos() % SLOT.as_nanos(), 0);
        }
    }

    #[test]
    fn ten_thousand_instances_spread_over_the_interval_also_when_it_is_stretched() {
        for interval in [BASE, 2 * BASE] {
            let mut per_second = vec![0; interval.as_secs() as usize];
            for i in 0..10_000 {
                let at = phase(&id(i), interval);
                assert!(at < interval);
                per_second[at.as_secs() as usize] += 1;
            }
            let mean = 10_000 / interval.as_secs() as i32;
            for n in &per_second {
                assert!((mean * 3 / 4..=mean * 5 / 4).contains(n), "{per_second:?}");
            }
        }
    }

    #[test]
    fn turns_keep_to_the_grid_and_missed_ones_are_counted_and_not_made_up_for() {
        let start = Instant::now();
        let mut turns = Turns::new(id(1), BASE, Anchor(start), start);
        let first = turns.due();
        assert_eq!(turns.polled(first, first + Duration::from_secs(3)), 0);
        assert_eq!(turns.due(), first + BASE);
        let late = first + BASE + Duration::from_millis(1);
        assert_eq!(turns.polled(late, late + 2 * BASE), 2);
        assert_eq!(turns.due(), first + 4 * BASE);
    }

    #[test]
    fn another_interval_has_its_own_grid_and_the_old_one_is_found_again() {
        let start = Instant::now();
        let mut turns = Turns::new(id(7), BASE, Anchor(start), start);
        let first = turns.due();
        let second = Duration::from_secs(1);
        turns.set_interval(second, first);
        assert!(turns.due() > first && turns.due() <= first + second);
        let now = first + Duration::from_secs(600);
        turns.set_interval(BASE, now);
        assert_eq!((turns.due() - first).as_nanos() % BASE.as_nanos(), 0);
        assert!(turns.due() > now && turns.due() <= now + BASE);
    }

    #[test]
    fn a_new_instance_with_a_long_interval_is_polled_soon_and_then_at_its_moments() {
        let start = Instant::now();
        let mut turns = Turns::new(id(9), 20 * BASE, Anchor(start), start);
        let first = turns.due();
        assert!(first <= start + BASE);
        turns.polled(first, first);
        let second = turns.due();
        assert!(second > first && second <= first + 20 * BASE);
        turns.polled(second, second);
        assert_eq!(turns.due(), second + 20 * BASE);
    }

    #[test]
    fn an_event_brings_polls_at_once_and_soon_after_and_leaves_the_grid_alone() {
        let mut turns = turns(1000 * BASE);
        let start = turns.due();
        turns.polled(start, start);
        let regular = turns.due();
        turns.ring(start + GAP);
        let mut moments = Vec::new();
        while turns.next() < regular {
            let at = turns.next();
            moments.push((at - start).as_secs());
            assert_eq!(turns.polled(at, at), 0);
        }
        assert_eq!(moments, [1, 2, 4, 9]);
        assert_eq!(turns.due(), regular);
    }

    #[test]
    fn a_flood_of_events_polls_once_a_second_until_its_budget_is_spent() {
        let mut turns = turns(1_000_000 * BASE);
        let start = turns.due();
        turns.polled(start, start);
        let (mut polls, step) = (0, Duration::from_millis(10));
        let mut now = start;
        // A hundred events a second for ten minutes.
        for _ in 0..60_000 {
            now += step;
            turns.ring(now);
            if turns.next() <= now {
                turns.polled(now, now);
                polls += 1;
            }
        }
        assert!((40..=61).contains(&polls), "{polls}");
    }
}

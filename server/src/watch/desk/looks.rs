//! Looks at a switch of masters: polls every second for some seconds, out of a budget of their own.
//!
//! Invariant: however many events came before, a switch is seen within a second or two; and whoever
//! can forge switches gets no more than the budget, for a look costs polls. Refuses to know instances.

use std::time::Duration;

use model::At;
use tokio::time::Instant;

/// How long a look lasts: longer than the deadline of a poll that was under way when the masters
/// switched.
const LASTS: Duration = Duration::from_secs(4);
/// All Sentinels of a service tell of the same switch within this time.
const APART: Duration = Duration::from_secs(5);
/// Looks of a burst: a drill of twenty failovers.
const LOOKS_MAX: u32 = 20;
/// One more is allowed this often: four polls in two minutes are half of what regular ones cost.
const LOOK_EVERY: Duration = Duration::from_secs(120);

/// The looks of one instance.
#[derive(Debug, Default)]
pub(super) struct Looks {
    latest: Option<(At, Instant)>,
    spent: u32,
    counted: Option<Instant>,
}

impl Looks {
    /// A switch was told; begins a look unless it is one that was told before, or too many were.
    pub(super) fn told(&mut self, now: At, moment: Instant) {
        self.refill(moment);
        let known = self.latest.is_some_and(|(_, at)| moment.saturating_duration_since(at) < APART);
        if !known && self.spent < LOOKS_MAX {
            self.spent += 1;
            self.latest = Some((now, moment));
        }
    }

    /// End of the look, while there is one.
    pub(super) fn until(&self, moment: Instant) -> Option<At> {
        let (told, at) = self.latest?;
        let lasts = moment.saturating_duration_since(at) < LASTS;
        lasts.then(|| told + LASTS.as_millis() as i64)
    }

    fn refill(&mut self, moment: Instant) {
        let counted = self.counted.get_or_insert(moment);
        while self.spent > 0 && moment.saturating_duration_since(*counted) >= LOOK_EVERY {
            self.spent -= 1;
            *counted += LOOK_EVERY;
        }
        if self.spent == 0 {
            *counted = moment;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);

    #[test]
    fn twenty_failovers_in_four_minutes_are_all_looked_at() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        for i in 0..LOOKS_MAX {
            let at = start + Duration::from_secs(12) * i;
            assert_eq!(looks.until(at), None);
            looks.told(T0, at);
            assert_eq!(looks.until(at), Some(T0 + 4_000));
            // The other Sentinels tell of it too.
            looks.told(T0 + 2_000, at + Duration::from_secs(2));
            assert_eq!(looks.until(at + LASTS), None);
        }
    }

    #[test]
    fn a_flood_of_switches_gets_its_budget_and_then_one_look_in_two_minutes() {
        let (mut looks, start) = (Looks::default(), Instant::now());
        let (mut begun, mut was) = (0, false);
        // Ten a second for an hour.
        for i in 0..36_000u32 {
            let at = start + Duration::from_millis(100) * i;
            looks.told(T0, at);
            let is = looks.until(at).is_some();
            begun += u32::from(is && !was);
            was = is;
        }
        assert!((LOOKS_MAX + 28..=LOOKS_MAX + 31).contains(&begun), "{begun}");
    }
}

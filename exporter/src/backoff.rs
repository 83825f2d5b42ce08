//! When a failed target may be dialled again.
//!
//! Invariant: a scheduled poll (every 15 s or slower) of a server that is merely gone always dials, so
//! a restarted server is seen within one interval; the waits only thin out faster polls. A server
//! that answers and turns us away is left alone for up to a minute, for each try is a line in its
//! log and may count towards a lock-out.

use std::time::{Duration, Instant};

use model::reading::Reason;

/// First wait.
const FIRST_MS: u64 = 1000;
/// Longest wait for a server that does not answer; below the shortest scheduled interval.
const GONE_MAX_MS: u64 = 10_000;
/// Longest wait for a server that turns us away.
const TURNED_AWAY_MAX_MS: u64 = 60_000;
/// Refusals in a row before the longer waits begin: a password rotation under way takes that long.
const PATIENCE: u32 = 8;

/// Failures of one target in a row.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
    until: Option<Instant>,
}

impl Backoff {
    /// Whether the target is not to be dialled at `now`.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| now < until)
    }

    /// Counts a failure; `seed` spreads targets that failed together.
    pub(crate) fn failed(&mut self, now: Instant, reason: Reason, seed: u64) {
        let longest = match reason {
            Reason::Auth | Reason::Tls if self.failures >= PATIENCE => TURNED_AWAY_MAX_MS,
            _ => GONE_MAX_MS,
        };
        let wait = FIRST_MS.saturating_mul(1 << self.failures.min(16)).min(longest);
        self.failures += 1;
        // Between half and the whole of the wait, never above it.
        let mixed = (seed ^ u64::from(self.failures)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        self.until = Some(now + Duration::from_millis(wait / 2 + mixed % (wait / 2 + 1)));
    }

    /// Forgets all failures.
    pub(crate) fn reset(&mut self) {
        *self = Backoff::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduled_poll_of_a_dead_server_always_dials() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        for n in 0..200u64 {
            backoff.failed(now, Reason::Refused, n * 77);
            assert!(!backoff.holds(now + Duration::from_secs(15)), "after {n} failures");
        }
        assert!(backoff.holds(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_server_that_refuses_us_is_left_alone_for_at_most_a_minute() {
        let now = Instant::now();
        let mut backoff = Backoff::default();
        for n in 0..20 {
            backoff.failed(now, Reason::Auth, n);
        }
        assert!(backoff.holds(now + Duration::from_secs(29)));
        assert!(!backoff.holds(now + Duration::from_secs(61)));
        backoff.reset();
        assert!(!backoff.holds(now));
    }
}

//! The lease of a run, counted on this machine's monotonic clock.
//!
//! Invariant: all times count from *before* the claim or renewal was sent, so a slow store or a
//! frozen process can only make the lease look shorter than it is. Once lost, a lease stays lost.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Without a renewal for this share of the lease nothing is sent any more: the rest is the margin
/// for a command that is already on its way when another worker takes over.
const SEND_SHARE: (u32, u32) = (2, 3);

struct Held {
    renewed: Instant,
    lost: bool,
}

/// The right of this run to send commands and to write its journal.
pub struct Lease {
    length: Duration,
    held: Mutex<Held>,
}

impl Lease {
    /// A lease of `length` whose claim was sent at `claimed`.
    pub fn new(length: Duration, claimed: Instant) -> Lease {
        Lease { length, held: Mutex::new(Held { renewed: claimed, lost: false }) }
    }

    /// Whether a command may be sent now.
    pub fn valid(&self) -> bool {
        let held = self.lock();
        !held.lost && held.renewed.elapsed() < self.length * SEND_SHARE.0 / SEND_SHARE.1
    }

    /// Time until another worker may take over, when nothing is renewed any more. A section that
    /// must not be cut begins only with enough of it.
    pub fn remaining(&self) -> Duration {
        let held = self.lock();
        if held.lost {
            return Duration::ZERO;
        }
        self.length.saturating_sub(held.renewed.elapsed())
    }

    /// A renewal that was sent at `sent` was confirmed.
    pub fn renewed(&self, sent: Instant) {
        let mut held = self.lock();
        held.renewed = held.renewed.max(sent);
    }

    /// Another worker holds the operation, or it is over.
    pub fn lose(&self) {
        self.lock().lost = true;
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: Duration = Duration::from_secs(15);

    fn aged(s: u64) -> Lease {
        let begun = Instant::now().checked_sub(Duration::from_secs(s)).expect("uptime > 1 min");
        Lease::new(LENGTH, begun)
    }

    #[test]
    fn ten_seconds_without_renewal_end_the_right_to_send_before_the_lease_ends() {
        assert!(aged(9).valid());
        assert!(!aged(10).valid());
        assert!(aged(10).remaining() > Duration::from_secs(4));
        assert_eq!(aged(16).remaining(), Duration::ZERO);
    }

    #[test]
    fn a_renewal_counts_from_when_it_was_sent_and_a_lost_lease_stays_lost() {
        let lease = aged(12);
        lease.renewed(Instant::now());
        assert!(lease.valid());
        lease.lose();
        lease.renewed(Instant::now());
        assert!(!lease.valid());
        assert_eq!(lease.remaining(), Duration::ZERO);
    }
}

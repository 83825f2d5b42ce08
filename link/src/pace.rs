//! The process' limit on new connections per second.
//!
//! Invariant: however many tasks dial at once, dials start at most at the set rate. It is global to
//! the process because what it protects is: our ports and the network after a zone came back.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

static PER_S: AtomicU32 = AtomicU32::new(500);
/// Nanoseconds since `START` at which the next dial may begin.
static NEXT: AtomicU64 = AtomicU64::new(0);
static START: OnceLock<Instant> = OnceLock::new();

/// Sets the limit of new connections per second, at least 1; 500 until called.
pub fn limit_connects(per_s: u32) {
    PER_S.store(per_s.max(1), Ordering::Relaxed);
}

/// Waits for this dial's turn. The wait is ours, not the server's: no deadline counts it.
pub(crate) async fn turn() {
    let now = START.get_or_init(Instant::now).elapsed().as_nanos() as u64;
    let step = 1_000_000_000 / u64::from(PER_S.load(Ordering::Relaxed).max(1));
    let wait = reserve(&NEXT, now, step).saturating_sub(now);
    if wait > 0 {
        tokio::time::sleep(Duration::from_nanos(wait)).await;
    }
}

/// Takes the next free slot at or after `now`, all in nanoseconds.
fn reserve(next: &AtomicU64, now: u64, step: u64) -> u64 {
    let mut seen = next.load(Ordering::Relaxed);
    loop {
        let slot = seen.max(now);
        match next.compare_exchange_weak(seen, slot + step, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => return slot,
            Err(other) => seen = other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_a_step_apart_and_idle_time_is_not_saved_up() {
        let next = AtomicU64::new(0);
        assert_eq!(reserve(&next, 100, 10), 100);
        assert_eq!(reserve(&next, 100, 10), 110);
        assert_eq!(reserve(&next, 5000, 10), 5000);
        assert_eq!(reserve(&next, 5001, 10), 5010);
    }
}

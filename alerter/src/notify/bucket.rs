//! How many messages a receiver takes: a bucket of as many as it takes in a minute, filled evenly.
//!
//! Invariant: pure; time comes in, and a clock set back fills nothing and takes nothing.

use model::At;

/// What one message takes out; a millisecond fills in `per_minute`.
const COST: i64 = 60_000;

/// A bucket, full at first.
#[derive(Debug)]
pub struct Bucket {
    per_minute: i64,
    left: i64,
    at: At,
}

impl Bucket {
    /// One that lets `per_minute` through each minute.
    pub fn new(per_minute: u32) -> Bucket {
        let per_minute = i64::from(per_minute);
        Bucket { per_minute, left: per_minute * COST, at: At::EPOCH }
    }

    /// Takes one out, if there is one.
    pub fn take(&mut self, now: At) -> bool {
        let passed = now.since_ms(self.at).clamp(0, COST);
        self.left = (self.left + passed * self.per_minute).min(self.per_minute * COST);
        self.at = now;
        let some = self.left >= COST;
        if some {
            self.left -= COST;
        }
        some
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_pass_than_the_rate_and_they_come_evenly_after_a_burst() {
        let mut bucket = Bucket::new(6);
        let t0 = At::from_ms(1_763_800_000_000);
        let passed = |bucket: &mut Bucket, now| (0..100).filter(|_| bucket.take(now)).count();
        assert_eq!(passed(&mut bucket, t0), 6);
        assert_eq!(passed(&mut bucket, t0 + 9_999), 0);
        assert_eq!(passed(&mut bucket, t0 + 10_000), 1);
        assert_eq!(passed(&mut bucket, t0 - 3_600_000), 0, "a clock set back fills nothing");
        assert_eq!(passed(&mut bucket, t0 + 600_000), 6);
    }
}

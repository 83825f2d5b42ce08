//! A point in time: UTC milliseconds, written as RFC 3339 with milliseconds.
//!
//! Invariant: one representation for disk, wire and arithmetic. Refuses to know what time it is:
//! the clock is read in `server`'s loops and handed down.

use std::fmt;
use std::ops::{Add, Sub};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct At(i64);

impl At {
    /// The start of the epoch; also "never" where a time is optional on the wire.
    pub const EPOCH: At = At(0);

    /// From milliseconds since the epoch.
    pub const fn from_ms(ms: i64) -> At {
        At(ms)
    }

    /// Milliseconds since the epoch.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// Seconds since the epoch, with fraction (Prometheus' unit).
    pub fn seconds(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// Milliseconds from `earlier` to `self`; negative when `earlier` is later.
    pub const fn since_ms(self, earlier: At) -> i64 {
        self.0 - earlier.0
    }

    /// Parses RFC 3339, any offset.
    pub fn parse(text: &str) -> Result<At, String> {
        text.parse::<jiff::Timestamp>()
            .map(|t| At(t.as_millisecond()))
            .map_err(|e| format!("{text:?} is not an RFC 3339 time: {e}"))
    }
}

impl Add<i64> for At {
    type Output = At;
    /// Adds milliseconds.
    fn add(self, ms: i64) -> At {
        At(self.0 + ms)
    }
}

impl Sub<i64> for At {
    type Output = At;
    /// Subtracts milliseconds.
    fn sub(self, ms: i64) -> At {
        At(self.0 - ms)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl fmt::Debug for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for At {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<At, D::Error> {
        let text = String::deserialize(d)?;
        At::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_round_trips_through_its_text_with_milliseconds() {
        let at = At::from_ms(1_763_800_000_123);
        assert_eq!(at.to_string(), "2025-11-22T08:26:40.123Z");
        assert_eq!(At::parse(&at.to_string()), Ok(at));
    }
}

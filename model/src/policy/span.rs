//! A length of time as people and Prometheus write it.

use serde::{Deserialize, Serialize};

/// A length of time, written as Prometheus writes it: `15s`, `5m`, `1h30m`, `2d`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Span {
    /// Milliseconds.
    pub ms: i64,
}

impl Span {
    /// The longest `for` and `keep_firing_for` of a policy, 7 days: what is waited for longer is no
    /// alert anybody acts on, and one that outlives its condition longer hides the next.
    pub const HELD_MAX: Span = Span::from_ms(7 * 86_400_000);

    /// From milliseconds.
    pub const fn from_ms(ms: i64) -> Span {
        Span { ms }
    }
}

impl TryFrom<String> for Span {
    type Error = String;
    fn try_from(text: String) -> Result<Span, String> {
        let bad = || {
            format!("{text:?} is not a length of time; expected for example 15s, 5m, 1h30m or 2d")
        };
        let mut ms: i64 = 0;
        let mut rest = text.as_str();
        if rest == "0" {
            return Ok(Span { ms: 0 });
        }
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let n: i64 = rest[..digits].parse().map_err(|_| bad())?;
            rest = &rest[digits..];
            let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
            let unit = match &rest[..letters] {
                "ms" => 1,
                "s" => 1000,
                "m" => 60_000,
                "h" => 3_600_000,
                "d" => 86_400_000,
                "w" => 604_800_000,
                _ => return Err(bad()),
            };
            rest = &rest[letters..];
            ms = n.checked_mul(unit).and_then(|v| ms.checked_add(v)).ok_or_else(bad)?;
        }
        Ok(Span { ms })
    }
}

impl From<Span> for String {
    fn from(span: Span) -> String {
        const UNITS: [(i64, &str); 5] =
            [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
        let mut left = span.ms;
        let mut out = String::new();
        for (unit, name) in UNITS {
            if left >= unit {
                out.push_str(&format!("{}{name}", left / unit));
                left %= unit;
            }
        }
        if out.is_empty() { "0s".into() } else { out }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_round_trips_and_nonsense_is_refused() {
        for text in ["15s", "5m", "1h30m", "2d", "0s", "250ms"] {
            assert_eq!(String::from(Span::try_from(text.to_string()).unwrap()), text);
        }
        for bad in ["", "5", "m", "5x", "-5m", "99999999999999999999s"] {
            assert!(Span::try_from(bad.to_string()).is_err(), "{bad:?}");
        }
    }
}

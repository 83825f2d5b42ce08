//! Where versions of Prometheus differ in what a window function answers.

use serde::{Deserialize, Serialize};

/// The differences between versions that a result can show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "&'static str", try_from = "String")]
pub struct Dialect {
    /// A sample exactly `range` old is left out (3.x): aligned 15 s samples in 1 m are 4, not 5.
    pub left_open: bool,
    /// A counter is not extrapolated below zero before the gap is compared with 1.1 times the mean
    /// distance (up to 2.50) instead of after it.
    pub clamp_first: bool,
    /// Means are sums divided at the end (from 2.55 on) instead of being carried along.
    pub summed_mean: bool,
}

impl Dialect {
    /// Prometheus 2.42 and its neighbours up to 2.50.
    pub const V2_42: Dialect = Dialect { left_open: false, clamp_first: true, summed_mean: false };
    /// 2.51 to 2.54.
    pub const V2_53: Dialect = Dialect { left_open: false, clamp_first: false, summed_mean: false };
    /// 2.55.
    pub const V2_55: Dialect = Dialect { left_open: false, clamp_first: false, summed_mean: true };
    /// 3.x: what live evaluation speaks.
    pub const V3: Dialect = Dialect { left_open: true, clamp_first: false, summed_mean: true };

    /// The dialect of a server's version, as `/api/v1/status/buildinfo` tells it: `2.42.0+ds`.
    pub fn of_version(version: &str) -> Option<Dialect> {
        let mut parts = version.trim_start_matches('v').split('.');
        let major: u32 = parts.next()?.parse().ok()?;
        let minor = parts.next().unwrap_or("0");
        let digits = minor.bytes().take_while(u8::is_ascii_digit).count();
        let minor: u32 = minor[..digits].parse().ok()?;
        Some(match (major, minor) {
            (0 | 1, _) => return None,
            (2, 0..=50) => Dialect::V2_42,
            (2, 51..=54) => Dialect::V2_53,
            (2, _) => Dialect::V2_55,
            _ => Dialect::V3,
        })
    }
}

impl Default for Dialect {
    fn default() -> Dialect {
        Dialect::V3
    }
}

impl From<Dialect> for &'static str {
    fn from(dialect: Dialect) -> &'static str {
        match (dialect.left_open, dialect.clamp_first, dialect.summed_mean) {
            (true, ..) => "3",
            (false, true, _) => "2.42",
            (false, false, false) => "2.53",
            (false, false, true) => "2.55",
        }
    }
}

impl TryFrom<String> for Dialect {
    type Error = String;
    fn try_from(text: String) -> Result<Dialect, String> {
        match text.as_str() {
            "2.42" => Ok(Dialect::V2_42),
            "2.53" => Ok(Dialect::V2_53),
            "2.55" => Ok(Dialect::V2_55),
            "3" => Ok(Dialect::V3),
            _ => Err(format!("dialect {text:?}: expected 2.42, 2.53, 2.55 or 3")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_has_its_dialect_and_each_preset_its_name() {
        for (version, preset, dialect) in [
            ("2.42.0+ds", "2.42", Dialect::V2_42),
            ("2.50.1", "2.42", Dialect::V2_42),
            ("2.51.0-rc.0", "2.53", Dialect::V2_53),
            ("2.55.1", "2.55", Dialect::V2_55),
            ("3.9.0", "3", Dialect::V3),
            ("v3", "3", Dialect::V3),
        ] {
            assert_eq!(Dialect::of_version(version), Some(dialect), "{version}");
            assert_eq!(Dialect::try_from(preset.to_string()), Ok(dialect));
            assert_eq!(<&str>::from(dialect), preset);
        }
        assert_eq!(Dialect::of_version("1.8.2"), None);
        assert_eq!(Dialect::of_version("x"), None);
    }
}

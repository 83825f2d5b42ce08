//! What a server can be asked, by its version.
//!
//! Invariant: a command that a version does not have is not asked and not missed; one that it should
//! have and refuses is missing, with the server's words as the reason.

use model::reading::Text;
use model::service::InstanceKind;

/// A server's engine and version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ability {
    sentinel: bool,
    /// Redis' (forks keep the one they came from); none when it is not readable.
    redis: Option<(u32, u32)>,
    valkey: Option<(u32, u32)>,
}

/// A part of the slower polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// INFO latencystats and LATENCY HISTOGRAM.
    Durations,
    /// SLOWLOG, CONFIG, MODULE: every server that holds data.
    Basics,
    /// COMMANDLOG.
    CommandLog,
    /// ACL.
    Acl,
    /// SENTINEL CONFIG GET.
    SentinelConfig,
    /// CLUSTER SHARDS.
    Shards,
    /// CLUSTER SLOT-STATS.
    SlotStats,
}

impl Ability {
    /// By what INFO server said.
    pub(crate) fn of(text: &Text, kind: InstanceKind) -> Ability {
        Ability {
            sentinel: kind == InstanceKind::Sentinel || text.mode == "sentinel",
            redis: version(&text.version),
            valkey: version(&text.valkey_version),
        }
    }

    /// Whether it is that version of Redis, or a fork of it, or newer. An unreadable one is.
    pub(crate) fn at_least(self, version: (u32, u32)) -> bool {
        self.redis.is_none_or(|v| v >= version)
    }

    /// Whether the server has it. An unreadable version has everything: asking is how to find out.
    pub(crate) fn has(self, part: Part) -> bool {
        let redis = |major, minor| self.redis.is_none_or(|v| v >= (major, minor));
        let valkey = |major, minor| self.valkey.is_some_and(|v| v >= (major, minor));
        match part {
            Part::Durations => !self.sentinel && redis(7, 0),
            Part::Basics => !self.sentinel,
            Part::CommandLog => !self.sentinel && valkey(8, 1),
            Part::Acl => redis(6, 0),
            Part::SentinelConfig => self.sentinel && redis(6, 2),
            Part::Shards => !self.sentinel && redis(7, 0),
            Part::SlotStats => !self.sentinel && (valkey(8, 0) || redis(8, 2)),
        }
    }
}

/// `7.2.4` → (7, 2).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split('.');
    let major = parts.next()?.parse().ok()?;
    let minor = parts.next().and_then(|m| m.parse().ok()).unwrap_or(0);
    Some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(redis: &str, valkey: &str, kind: InstanceKind) -> Ability {
        let text = Text { version: redis.into(), valkey_version: valkey.into(), ..Text::default() };
        Ability::of(&text, kind)
    }

    #[test]
    fn each_engine_is_asked_what_its_version_has() {
        use Part::{Acl, Basics, CommandLog, Durations, SentinelConfig, Shards, SlotStats};
        let all = [Durations, Basics, CommandLog, Acl, SentinelConfig, Shards, SlotStats];
        let asked = |redis, valkey, kind| -> Vec<Part> {
            let able = of(redis, valkey, kind);
            all.into_iter().filter(|p| able.has(*p)).collect()
        };
        let data = InstanceKind::Redis;
        assert_eq!(asked("4.0.14", "", data), [Basics]);
        assert_eq!(asked("6.2.5", "", data), [Basics, Acl]);
        assert_eq!(asked("7.0.15", "", data), [Durations, Basics, Acl, Shards]);
        assert_eq!(asked("8.0.2", "", data), [Durations, Basics, Acl, Shards]);
        assert_eq!(asked("7.2.4", "7.2.11", data), [Durations, Basics, Acl, Shards]);
        let valkey = [Durations, Basics, CommandLog, Acl, Shards, SlotStats];
        assert_eq!(asked("7.2.4", "8.1.1", data), valkey);
        assert_eq!(asked("7.2.4", "9.0.0", data), valkey);
        assert_eq!(asked("7.0.15", "", InstanceKind::Sentinel), [Acl, SentinelConfig]);
    }

    #[test]
    fn an_unreadable_version_is_asked_rather_than_assumed_old() {
        assert!(of("", "", InstanceKind::Redis).has(Part::Durations));
        assert!(of("unstable", "", InstanceKind::Redis).has(Part::Acl));
    }
}

//! The twenty runbooks: what reacts to which alert, how dangerous it is, what this build can do.
//!
//! Invariant: what a runbook does is defined here only; an alert names runbooks, never commands.

use model::runbook::Runbook;
use store::Store;

/// How dangerous an automatic action is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Read-only diagnosis.
    T0,
    /// Reversible, no risk for data.
    T1,
    /// Risk for availability.
    T2,
    /// Risk for data.
    T3,
    /// Never automatic.
    T4,
}

impl Tier {
    /// `T0` … `T4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::T0 => "T0",
            Tier::T1 => "T1",
            Tier::T2 => "T2",
            Tier::T3 => "T3",
            Tier::T4 => "T4",
        }
    }
}

/// What this build does with a runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Can {
    /// Carries it out.
    Act,
    /// Watches the server's own recovery and says what it sees; never acts.
    Watch,
    /// Only observes and pages.
    Page,
}

/// One runbook.
#[derive(Debug)]
pub struct Entry {
    /// Number, 1 to 20.
    pub number: u32,
    /// Name in URLs, labels and modes.
    pub name: &'static str,
    /// Alerts it reacts to.
    pub alerts: &'static [&'static str],
    /// Danger of its first automatic step.
    pub tier: Tier,
    /// What this build does.
    pub can: Can,
    /// One sentence.
    pub does: &'static str,
}

/// Restarts a dead replica.
pub const REPLICA_RESTART: &str = "replica-restart";
/// Waits for the servers' own failover.
pub const MASTER_FAILOVER: &str = "master-failover";
/// Restarts a dead standalone master.
pub const STANDALONE_RESTART: &str = "standalone-restart";
/// Restarts a dead Sentinel.
pub const SENTINEL_DOWN: &str = "sentinel-down";

/// Frees buffers of connections that do not read.
pub const MEMORY_HIGH: &str = "memory-high";
/// Gives fragmented memory back.
pub const FRAGMENTATION: &str = "fragmentation";
/// Closes idle connections.
pub const CLIENTS_HIGH: &str = "clients-high";
/// The same, when new ones are refused.
pub const CLIENTS_REJECTED: &str = "clients-rejected";
/// As `MEMORY_HIGH`, when data is given up already.
pub const EVICTIONS: &str = "evictions";
/// Saves once.
pub const PERSISTENCE: &str = "persistence";

/// Runbooks about a node that answers.
const ALIVE: [&str; 6] =
    [MEMORY_HIGH, FRAGMENTATION, CLIENTS_HIGH, CLIENTS_REJECTED, EVICTIONS, PERSISTENCE];

impl Entry {
    /// Whether it acts on a node that answers, not on one that is gone.
    pub fn alive(&self) -> bool {
        ALIVE.contains(&self.name)
    }
}

const fn entry(
    number: u32,
    name: &'static str,
    alerts: &'static [&'static str],
    tier: Tier,
    does: &'static str,
) -> Entry {
    Entry { number, name, alerts, tier, can: Can::Page, does }
}

/// All runbooks in order.
pub const BOOK: [Entry; 20] = [
    Entry {
        can: Can::Act,
        ..entry(
            1,
            REPLICA_RESTART,
            &["RedisDown"],
            Tier::T1,
            "Restarts a dead replica through its provider once several observers agree, and verifies that it follows its master again.",
        )
    },
    Entry {
        can: Can::Watch,
        ..entry(
            2,
            MASTER_FAILOVER,
            &["RedisDown", "RedisNoMaster"],
            Tier::T1,
            "Waits for the failover of Sentinel or Cluster and records who was promoted; never acts against it. In mode auto a lost master that comes back as a master within the hour is made a replica of the one the Sentinels chose.",
        )
    },
    Entry {
        can: Can::Act,
        ..entry(
            3,
            STANDALONE_RESTART,
            &["RedisDown"],
            Tier::T2,
            "Restarts a standalone master that writes its data down, once a person agrees; one whose replicas could copy an empty data set is never restarted in place.",
        )
    },
    entry(
        4,
        "replica-link",
        &["RedisReplicaLinkDown", "RedisFullResyncLoop", "RedisOutputBufferKills"],
        Tier::T1,
        "Checks password, network, output buffer and backlog, then attaches the replica again once.",
    ),
    entry(
        5,
        "replica-lag",
        &["RedisReplicaLag"],
        Tier::T1,
        "Throttles our own jobs and moves reads away from a lagging replica.",
    ),
    entry(
        6,
        "split-brain",
        &["RedisTooManyMasters"],
        Tier::T4,
        "Collects what each side says; which data to keep is decided by a person.",
    ),
    Entry {
        can: Can::Act,
        ..entry(
            7,
            MEMORY_HIGH,
            &["RedisMemoryHigh", "RedisMemoryCritical"],
            Tier::T1,
            "Closes connections that hold a megabyte of buffers and said nothing for five minutes; large keys and more memory are for a person.",
        )
    },
    Entry {
        can: Can::Act,
        ..entry(
            8,
            FRAGMENTATION,
            &["RedisFragmentationHigh", "RedisSwapping"],
            Tier::T1,
            "Has the allocator give fragments back, where it holds enough of them; active defragmentation is for a person.",
        )
    },
    Entry {
        can: Can::Act,
        ..entry(
            9,
            CLIENTS_HIGH,
            &["RedisClientsHigh", "RedisClientsCritical"],
            Tier::T1,
            "Closes connections that said nothing for an hour; raising maxclients is for a person.",
        )
    },
    Entry {
        can: Can::Act,
        ..entry(
            10,
            CLIENTS_REJECTED,
            &["RedisRejectedConnections"],
            Tier::T1,
            "As clients-high, when new connections are refused already.",
        )
    },
    entry(
        11,
        "slow-storm",
        &["RedisSlowlogRate", "RedisCpuSaturated"],
        Tier::T0,
        "Collects slow log, clients and latency and tells the owner the statement.",
    ),
    Entry {
        can: Can::Act,
        ..entry(
            12,
            EVICTIONS,
            &["RedisEvicting", "RedisOomErrors"],
            Tier::T1,
            "As memory-high, when data is given up already.",
        )
    },
    Entry {
        can: Can::Act,
        ..entry(
            13,
            PERSISTENCE,
            &["RedisBgsaveFailed", "RedisRdbStale", "RedisAofWriteFailed"],
            Tier::T1,
            "Saves once, where memory and disk leave room for it; removing files is for a person.",
        )
    },
    entry(
        14,
        "cluster-down",
        &["RedisClusterDown", "RedisClusterSlotsFail", "RedisClusterSlotsUnassigned"],
        Tier::T4,
        "Collects evidence and waits; taking over slots is decided by a person.",
    ),
    entry(
        15,
        "open-slot",
        &["RedisClusterOpenSlot"],
        Tier::T1,
        "Resumes our own journalled slot move.",
    ),
    Entry {
        can: Can::Act,
        ..entry(
            16,
            SENTINEL_DOWN,
            &["RedisDown", "SentinelDown", "SentinelQuorumLost"],
            Tier::T1,
            "Restarts a dead Sentinel, one at a time, while a majority of the others can decide.",
        )
    },
    entry(
        17,
        "return-home",
        &["RedisZoneSkew"],
        Tier::T2,
        "Proposes to bring masters back to their zone in quiet hours.",
    ),
    entry(
        18,
        "config-drift",
        &["RedisConfigDrift", "RedisReplicaWritable"],
        Tier::T1,
        "Applies the desired value of a drifted, reversible parameter again.",
    ),
    entry(
        19,
        "expiring",
        &["CertificateExpiring", "SecretExpiring"],
        Tier::T2,
        "Opens the plan of the rotation.",
    ),
    entry(
        20,
        "zone-outage",
        &["ZoneOutage"],
        Tier::T4,
        "Stops the runbooks of single nodes there and lists which failovers did not happen.",
    ),
];

/// The runbook of that name or number.
pub fn find(text: &str) -> Option<&'static Entry> {
    let number = text.parse::<u32>().ok();
    BOOK.iter().find(|e| e.name == text || Some(e.number) == number)
}

/// All runbooks with the modes the caller may see.
pub async fn runbooks(
    store: &Store,
    caller: &model::caller::Caller,
) -> store::Result<Vec<Runbook>> {
    let modes = store.runbook_modes_seen(caller).await?;
    let mut all: Vec<Runbook> = BOOK
        .iter()
        .map(|e| {
            let of = || modes.iter().filter(|(r, _, _)| r == e.name);
            Runbook {
                name: e.name.into(),
                number: e.number,
                alerts: e.alerts.iter().map(ToString::to_string).collect(),
                does: e.does.into(),
                available: e.can != Can::Page,
                modes: of().map(|(_, setting, _)| setting.clone()).collect(),
                rev: of().map(|(_, _, rev)| *rev).max().unwrap_or_default(),
            }
        })
        .collect();
    for runbook in &mut all {
        // Most general first.
        runbook.modes.sort_by_key(|m| (m.scope != "platform", m.scope.starts_with("service:")));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twenty_runbooks_found_by_name_and_number() {
        for (i, entry) in BOOK.iter().enumerate() {
            assert_eq!(entry.number as usize, i + 1);
            assert_eq!(find(entry.name).unwrap().number, entry.number);
            assert_eq!(find(&entry.number.to_string()).unwrap().name, entry.name);
            assert!(model::id::is_slug(entry.name) && !entry.alerts.is_empty());
        }
        assert!(find("FLUSHALL").is_none());
    }

    #[test]
    fn what_acts_has_a_kind_of_operation_and_everything_else_pages() {
        let acting: Vec<_> = BOOK.iter().filter(|e| e.can == Can::Act).map(|e| e.name).collect();
        let [memory, fragments, clients, rejected, evictions, persistence] = ALIVE;
        let restarts = [REPLICA_RESTART, STANDALONE_RESTART];
        let alive = [memory, fragments, clients, rejected, evictions, persistence, SENTINEL_DOWN];
        assert_eq!(acting, [&restarts[..], &alive[..]].concat());
    }
}

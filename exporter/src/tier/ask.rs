//! The commands of the slower polls.

use model::detail::Settings;
use model::field::Field;
use model::reading::{Facts, Slowlog};

use crate::ability::{Ability, Part};

/// One command of a slower poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    Quantiles,
    Histograms,
    /// So many entries of the slow log.
    Slowlog(u32),
    LogSlow,
    LogRequest,
    LogReply,
    Config,
    SentinelConfig,
    Whoami,
    Accounts,
    Denials,
    ModuleList,
    ModuleInfo,
    Clients,
    Shards,
    SlotsByKeys,
    SlotsByCpu,
}

impl Ask {
    /// Its words.
    pub(super) fn args(self) -> Vec<String> {
        match self {
            Ask::Slowlog(n) => vec!["SLOWLOG".into(), "GET".into(), n.to_string()],
            other => other.line().split(' ').map(String::from).collect(),
        }
    }

    fn line(self) -> &'static str {
        match self {
            Ask::Quantiles => "INFO latencystats",
            Ask::Histograms => "LATENCY HISTOGRAM",
            Ask::Slowlog(_) => "SLOWLOG GET",
            Ask::LogSlow => "COMMANDLOG LEN slow",
            Ask::LogRequest => "COMMANDLOG LEN large-request",
            Ask::LogReply => "COMMANDLOG LEN large-reply",
            Ask::Config => "CONFIG GET *",
            Ask::SentinelConfig => "SENTINEL CONFIG GET *",
            Ask::Whoami => "ACL WHOAMI",
            Ask::Accounts => "ACL LIST",
            // As many as a server keeps by default.
            Ask::Denials => "ACL LOG 128",
            Ask::ModuleList => "MODULE LIST",
            Ask::ModuleInfo => "INFO modules",
            Ask::Clients => "CLIENT LIST",
            Ask::Shards => "CLUSTER SHARDS",
            Ask::SlotsByKeys => "CLUSTER SLOT-STATS ORDERBY KEY-COUNT LIMIT 16 DESC",
            Ask::SlotsByCpu => "CLUSTER SLOT-STATS ORDERBY CPU-USEC LIMIT 16 DESC",
        }
    }

    /// The command's name in `Facts::missing`.
    pub(super) fn command(self) -> &'static str {
        match self {
            Ask::LogSlow | Ask::LogRequest | Ask::LogReply => "COMMANDLOG LEN",
            Ask::Config => "CONFIG GET",
            Ask::SentinelConfig => "SENTINEL CONFIG GET",
            Ask::Denials => "ACL LOG",
            Ask::SlotsByKeys | Ask::SlotsByCpu => "CLUSTER SLOT-STATS",
            other => other.line(),
        }
    }
}

/// What the configuration wants read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wishes {
    pub(crate) quantiles: bool,
    pub(crate) histograms: bool,
    /// Parameters of Sentinels.
    pub(crate) config: bool,
    /// Values of modules.
    pub(crate) modules: bool,
    /// Clients one by one.
    pub(crate) client_list: bool,
}

impl Wishes {
    pub(crate) fn of(config: &crate::Config) -> Wishes {
        use crate::config::Optional;
        Wishes {
            quantiles: config.latency.stats(),
            histograms: config.latency.histogram(),
            config: config.shows(Optional::Config),
            modules: config.shows(Optional::Modules),
            client_list: config.shows(Optional::ClientList),
        }
    }
}

/// Every minute: durations of commands and the logs.
pub(super) fn minute(
    able: Ability,
    wishes: Wishes,
    wanted: impl Fn(&Slowlog) -> Option<u32>,
    facts: &Facts,
) -> Vec<Ask> {
    let mut asks = Vec::new();
    if able.has(Part::Durations) && wishes.quantiles {
        asks.push(Ask::Quantiles);
    }
    if able.has(Part::Durations) && wishes.histograms {
        asks.push(Ask::Histograms);
    }
    if able.has(Part::Basics)
        && let Some(n) = wanted(&facts.slowlog)
    {
        asks.push(Ask::Slowlog(n));
    }
    if able.has(Part::CommandLog) {
        asks.extend([Ask::LogSlow, Ask::LogRequest, Ask::LogReply]);
    }
    asks
}

/// Every five minutes: what changes only when somebody changes it.
pub(super) fn settings(able: Ability, wishes: Wishes) -> Vec<Ask> {
    let mut asks = Vec::new();
    if able.has(Part::Basics) {
        asks.push(Ask::Config);
        asks.push(if wishes.modules { Ask::ModuleInfo } else { Ask::ModuleList });
    }
    if able.has(Part::SentinelConfig) && wishes.config {
        asks.push(Ask::SentinelConfig);
    }
    if able.has(Part::Acl) {
        asks.extend([Ask::Whoami, Ask::Accounts, Ask::Denials]);
    }
    asks
}

/// The words of every command a slower poll can send to such a server.
pub(crate) fn every(able: Ability, wishes: Wishes, in_cluster: bool) -> Vec<Vec<String>> {
    let mut facts = Facts::default();
    facts.values.set(Field::ClusterEnabled, f64::from(u8::from(in_cluster)));
    let mut asks = minute(able, wishes, |_| Some(1), &facts);
    asks.extend(settings(able, wishes));
    asks.extend(cluster(able, None, &facts));
    asks.push(Ask::Clients);
    asks.into_iter().map(Ask::args).collect()
}

/// Every five minutes, on cluster nodes. CPU of slots is counted only when the server is told to.
pub(super) fn cluster(able: Ability, settings: Option<&Settings>, facts: &Facts) -> Vec<Ask> {
    let mut asks = Vec::new();
    if facts.values.get(Field::ClusterEnabled) != Some(1.0) {
        return asks;
    }
    if able.has(Part::Shards) {
        asks.push(Ask::Shards);
    }
    if able.has(Part::SlotStats) {
        let counts =
            settings.and_then(|s| s.parameters.as_ref()?.get("cluster-slot-stats-enabled"));
        asks.push(if counts == Some("yes") { Ask::SlotsByCpu } else { Ask::SlotsByKeys });
    }
    asks
}

//! What would happen if a zone were lost now. Shapes only; the judgement is in `scorer`.

use serde::{Deserialize, Serialize};

use crate::At;
use crate::score::Level;
use crate::service::{Tier, word};

word! {
    /// What is left of a service.
    Outcome {
        /// Nothing of it stood there.
        #[default]
        Ok = "ok",
        /// It serves, with less behind it.
        Degraded = "degraded",
        /// Some of its users get errors until a person acts.
        Down = "down",
    }
}

/// A zone lost, service by service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ZoneLoss {
    /// Of what moment.
    pub as_of: At,
    /// Which zone.
    pub zone: String,
    /// Masters were moved out of it on purpose and do not return by themselves.
    #[serde(default)]
    pub evacuated: bool,
    /// Instances that stand there.
    pub instances: u32,
    /// Services left as they are.
    pub ok: u32,
    /// Services that serve with less behind them.
    pub degraded: u32,
    /// Services that do not serve.
    pub down: u32,
    /// Every service that has something there, or depends on something there; worst first.
    pub services: Vec<ServiceLoss>,
    /// Hosts that take over.
    pub hosts: Vec<HostLoad>,
    /// Scores that change, from the fleet down to services.
    pub levels: Vec<LevelLoss>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ServiceLoss {
    /// Its id.
    pub service: String,
    /// Its tier.
    pub tier: Tier,
    /// What is left of it.
    pub outcome: Outcome,
    /// It did not serve before either.
    pub was_down: bool,
    /// Why, a sentence each.
    pub reasons: Vec<String>,
    /// Instances it loses.
    pub lost: Vec<String>,
    /// Masters that move.
    pub moves: Vec<MasterMove>,
    /// Shards that lose their master and have nobody to take over.
    pub without_candidate: Vec<u32>,
    /// Its Sentinels, or its cluster, cannot decide any more.
    pub quorum_lost: bool,
    /// Rules it breaks afterwards.
    pub breaks: Vec<String>,
}

/// A master that moves.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct MasterMove {
    /// Shard.
    pub shard: u32,
    /// The master that is lost.
    pub from: String,
    /// The replica that takes over.
    pub to: String,
    /// Bytes the replica had not received; none when not known.
    pub lag_bytes: Option<f64>,
}

/// A host that takes masters over.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct HostLoad {
    /// Its id.
    pub host: String,
    /// Masters it takes over.
    pub masters: u32,
    /// Memory used afterwards in parts of its own; none when not known.
    pub memory_ratio: Option<f64>,
    /// Processors used afterwards in parts of its own; none when not known.
    pub cpu_ratio: Option<f64>,
    /// Traffic of its instances afterwards, bytes per second. What the host could carry is not known.
    pub network_bytes_per_s: Option<f64>,
    /// Whether memory or processors are above 85 %.
    pub over: bool,
}

/// A score before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LevelLoss {
    /// Which level.
    pub level: Level,
    /// Id at that level.
    pub id: String,
    /// Score now; none: unknown.
    pub before: Option<f64>,
    /// Score without the zone.
    pub after: Option<f64>,
}

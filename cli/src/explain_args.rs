//! The command line of `explain` and `whatif`.
//!
//! Invariant: one command, one action of the API; every flag says what it takes.

use clap::{Args, Subcommand};

/// `explain`.
#[derive(Debug, Subcommand)]
pub enum Explain {
    /// The waterfall of a score: what was taken from 100, and why.
    Score(Score),
    /// How the servers of a service name it: roles, missing nodes, candidates.
    Topology {
        /// Service id.
        id: String,
    },
    /// What a lost zone or host would cost a service.
    ZoneRisk {
        /// Service id.
        id: String,
    },
    /// Days until the limits of a service are met, with the interval.
    Capacity {
        /// Service id.
        id: String,
    },
    /// Good, bad and unknown seconds of a service, its error budget and burn rates.
    Slo {
        /// Service id.
        id: String,
    },
}

/// `whatif`.
#[derive(Debug, Subcommand)]
pub enum Whatif {
    /// What would move, stop and break if a zone were lost now; changes nothing.
    ZoneLoss {
        /// Zone.
        zone: String,
    },
}

/// `explain score`.
#[derive(Debug, Args)]
pub struct Score {
    /// Tenant, system, service, shard (SERVICE/N) or instance id.
    pub id: String,
    /// What it would be with another input; above the instance INSTANCE.INPUT=VALUE. May be repeated.
    #[arg(long, value_name = "INPUT=VALUE")]
    pub set: Vec<String>,
    /// What it was at that time, RFC 3339.
    #[arg(long, value_name = "TIME", conflicts_with = "set")]
    pub at: Option<String>,
}

//! Whether the automatic failover that was promised is possible now.
//!
//! Invariant: "impossible" is said only when proven; a Sentinel or master that cannot be read counts
//! as one that may vote.

use model::reading::SentinelMaster;
use model::service::{Mode, Service};

use super::index::{Index, Member};
use super::shard::{Master, Rules, Shard};

/// Automatic failover of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Promise {
    /// Sentinels or a cluster with required replicas.
    pub made: bool,
    /// Why no shard can fail over now.
    pub broken: Option<&'static str>,
}

impl Promise {
    pub fn of(
        service: &Service,
        rules: &Rules<'_>,
        index: &Index<'_>,
        shards: &[Shard<'_>],
    ) -> Promise {
        let made = rules.replicas > 0 && matches!(service.mode, Mode::Sentinel | Mode::Cluster);
        let broken = match service.mode {
            Mode::Sentinel if made => sentinels(service, index),
            Mode::Cluster if made => masters(shards),
            _ => None,
        };
        Promise { made, broken }
    }
}

/// Why the Sentinels of a service cannot decide; none: they can, or nobody knows of any.
pub(super) fn sentinels(service: &Service, index: &Index<'_>) -> Option<&'static str> {
    let nodes = index.nodes(service);
    let mine = |address: &str| nodes.iter().any(|n| n.instance.id.address() == address);
    let watching: Vec<_> = index
        .watchers(&service.sentinel_master)
        .iter()
        .filter(|(s, m)| mine(&m.address) || s.instance.id.service() == service.id)
        .collect();
    let own = index.sentinels(service);
    // A shared fleet of Sentinels stands under another service: those that watch us are ours.
    let all: Vec<Member<'_>> =
        if own.is_empty() { watching.iter().map(|(s, _)| *s).collect() } else { own.to_vec() };
    if all.is_empty() {
        return None;
    }
    let said = watching.iter().map(|(_, m)| m);
    let quorum = said.clone().map(|m| m.quorum).fold(1.0, f64::max) as usize;
    let known = said.map(|m| m.sentinels).fold(0.0, f64::max) as usize;
    let needed = quorum.max(all.len().max(known) / 2 + 1);
    let voters = all.iter().filter(|s| s.is_up() || s.is_unknown()).count();
    if voters < needed {
        return Some("too few Sentinels answer for a quorum");
    }
    // Answering us is not reaching each other: without one that could vote unheard of or willing,
    // nobody can authorise a failover.
    let unheard = voters > watching.len();
    let refuses = |m: &SentinelMaster| m.ckquorum.as_ref().is_some_and(|(reached, _)| !reached);
    let all_refuse = !watching.is_empty()
        && watching.iter().all(|(s, m)| !s.is_unknown() && (!s.is_up() || refuses(m)));
    (!unheard && all_refuse).then_some("no Sentinel reaches enough others for a quorum")
}

fn masters(shards: &[Shard<'_>]) -> Option<&'static str> {
    let voters = shards.iter().filter(|s| !matches!(s.master, Master::Gone(_))).count();
    let needed = shards.len() / 2 + 1;
    (voters < needed).then_some("most masters of the cluster are down")
}

//! Which masters of a batch are handed over together.
//!
//! Invariants: the least important go first, one alone, then five, then as many as are allowed; within a
//! wave a service has one shard, a receiving host two, a Sentinel fleet four, and no zone receives more
//! than half of what a full wave may hold. The same rows give the same waves. Pure.

use std::collections::BTreeMap;

use model::batch::Move;
use model::service::{Mode, Tier};

/// Sizes of the first waves.
const FIRST: [usize; 2] = [1, 5];
/// Masters a host receives at a time.
const PER_HOST: usize = 2;
/// Failovers a fleet of Sentinels is asked for at a time.
const PER_FLEET: usize = 4;

/// A row with what it shares with others.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Part {
    pub(super) row: Move,
    pub(super) tier: Tier,
    pub(super) zone_to: String,
    pub(super) host_to: String,
    /// Who watches over it; empty: nobody.
    pub(super) sentinels: String,
    pub(super) commands: Vec<String>,
}

/// The setting that keeps a replica from being promoted, and the value that does.
pub(crate) fn bench(mode: Option<Mode>) -> (&'static str, &'static str) {
    match mode {
        Some(Mode::Cluster) => ("cluster-replica-no-failover", "yes"),
        _ => ("replica-priority", "0"),
    }
}

fn rank(tier: Tier) -> u8 {
    match tier {
        Tier::Test => 0,
        Tier::General => 1,
        Tier::Important => 2,
        Tier::Core => 3,
    }
}

/// Shares the parts out; `max` is the size of a full wave.
pub(super) fn waves(mut parts: Vec<Part>, max: usize) -> Vec<Vec<Part>> {
    parts.sort_by(|a, b| {
        let key = |p: &Part| (rank(p.tier), p.row.service.clone(), p.row.shard);
        key(a).cmp(&key(b))
    });
    let mut all = Vec::new();
    while !parts.is_empty() {
        let size = FIRST.get(all.len()).copied().unwrap_or(max).min(max);
        let mut wave = Wave { size, per_zone: max.div_ceil(2), ..Wave::default() };
        let (taken, rest): (Vec<Part>, Vec<Part>) = parts.into_iter().partition(|p| wave.takes(p));
        all.push(taken);
        parts = rest;
    }
    all
}

#[derive(Default)]
struct Wave {
    size: usize,
    per_zone: usize,
    taken: usize,
    services: BTreeMap<String, usize>,
    hosts: BTreeMap<String, usize>,
    zones: BTreeMap<String, usize>,
    fleets: BTreeMap<String, usize>,
}

impl Wave {
    /// Whether the part still fits; it is counted then. The first one always does.
    fn takes(&mut self, part: &Part) -> bool {
        let has = |map: &BTreeMap<String, usize>, key: &str| map.get(key).copied().unwrap_or(0);
        let fits = self.taken < self.size
            && has(&self.services, part.row.service.as_str()) == 0
            && has(&self.hosts, &part.host_to) < PER_HOST
            && has(&self.zones, &part.zone_to) < self.per_zone
            && (part.sentinels.is_empty() || has(&self.fleets, &part.sentinels) < PER_FLEET);
        if fits {
            self.taken += 1;
            *self.services.entry(part.row.service.to_string()).or_default() += 1;
            *self.hosts.entry(part.host_to.clone()).or_default() += 1;
            *self.zones.entry(part.zone_to.clone()).or_default() += 1;
            *self.fleets.entry(part.sentinels.clone()).or_default() += 1;
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(service: usize, shard: u32, tier: Tier, (zone, host): (usize, usize)) -> Part {
        let id = |n: usize| format!("pay.s{service:03}@10.0.{n}.1:6379").parse().unwrap();
        Part {
            row: Move {
                service: format!("pay.s{service:03}").parse().unwrap(),
                shard,
                from: id(1),
                to: id(2),
                params: serde_json::Value::Null,
            },
            tier,
            zone_to: format!("az-{zone}"),
            host_to: format!("h{host}"),
            sentinels: if service.is_multiple_of(2) { "fleet".into() } else { String::new() },
            commands: Vec::new(),
        }
    }

    fn most(wave: &[Part], key: impl Fn(&Part) -> String) -> usize {
        let mut n: BTreeMap<String, usize> = BTreeMap::new();
        wave.iter().for_each(|p| *n.entry(key(p)).or_default() += 1);
        n.into_values().max().unwrap_or_default()
    }

    #[test]
    fn waves_begin_small_and_keep_every_bound_and_every_part() {
        let of = |i: usize| part(i / 2, (i % 2) as u32, Tier::General, (2 + i % 3, i % 17));
        let parts: Vec<Part> = (0..100).map(of).collect();
        let waves = waves(parts.clone(), 10);
        assert_eq!(waves.iter().map(Vec::len).sum::<usize>(), parts.len());
        assert_eq!((waves[0].len(), waves[1].len()), (1, 5));
        for wave in &waves {
            assert!(wave.len() <= 10 && !wave.is_empty());
            assert_eq!(most(wave, |p| p.row.service.to_string()), 1, "one shard of a service");
            assert!(most(wave, |p| p.host_to.clone()) <= PER_HOST);
            assert!(most(wave, |p| p.zone_to.clone()) <= 5);
            let fleet: Vec<Part> =
                wave.iter().filter(|p| !p.sentinels.is_empty()).cloned().collect();
            assert!(fleet.len() <= PER_FLEET);
        }
    }

    #[test]
    fn the_least_important_go_first_and_the_order_is_always_the_same() {
        let parts = vec![
            part(1, 0, Tier::Core, (2, 1)),
            part(2, 0, Tier::Test, (2, 2)),
            part(3, 0, Tier::Important, (3, 3)),
            part(4, 0, Tier::General, (3, 4)),
        ];
        let order = |parts: Vec<Part>| -> Vec<Tier> {
            waves(parts, 1).into_iter().flatten().map(|p| p.tier).collect()
        };
        let wished = [Tier::Test, Tier::General, Tier::Important, Tier::Core];
        assert_eq!(order(parts.clone()), wished);
        assert_eq!(order(parts.into_iter().rev().collect()), wished);
    }
}

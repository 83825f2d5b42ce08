//! The zone-risk check: what a layout cannot survive, and why a failover would not work.
//!
//! Invariants: a service is judged by what its class promises (`single` promises nothing, `host` only
//! that one host may go); what is not known is no finding, but an unknown zone counts as one zone.

use std::collections::{BTreeMap, BTreeSet};

use model::plan::Checked;
use model::refusal::Refusal;
use model::risk::{RiskClass, RiskFinding, ZoneRisk};
use model::service::{Class, Mode};

use super::layout::{Layout, Spot};
use super::quorum;

/// Off for data that one zone or host holds alone.
const OFF_DATA: u32 = 100;
/// Off for a majority that one zone holds.
const OFF_QUORUM: u32 = 60;
/// Off for a layout or a failover that cannot work as it should.
const OFF_LAYOUT: u32 = 25;
/// Off for what is weaker than promised.
const OFF_WEAK: u32 = 10;
/// Longest a failover may wait before it begins, ms.
const PATIENCE_MS_MAX: f64 = 10_000.0;

/// Judges a layout.
pub fn judge(layout: &Layout) -> ZoneRisk {
    let mut judge = Judge { layout, found: Vec::new() };
    if layout.class != Class::Single && layout.mode != Mode::Sentinels {
        for shard in layout.shards() {
            judge.shard(shard);
        }
        judge.failover();
    }
    if judge.by_zone() {
        judge.masters();
        judge.sentinels();
        judge.settings();
    }
    ZoneRisk::of(judge.found)
}

/// P7: refuses a plan that leaves a risk of class A or B that was not there before.
pub fn check(before: &Layout, after: &Layout) -> Result<Checked, Refusal> {
    let (was, is) = (judge(before), judge(after));
    let new: Vec<&str> = is.new_since(&was).map(|f| f.text.as_str()).collect();
    match new.as_slice() {
        [] => Ok(Checked { check: "P7".into(), passed: true, seen: told(&was, &is) }),
        new => Err(Refusal::new("P7", &before.service, format!("afterwards {}", new.join("; ")))),
    }
}

/// P7 of a change of roles: it can be taken back by its like, so it is told and refuses nothing.
pub fn told_check(before: &Layout, after: &Layout) -> Checked {
    let (was, is) = (judge(before), judge(after));
    let new: Vec<&str> = is.new_since(&was).map(|f| f.text.as_str()).collect();
    let seen = match new.as_slice() {
        [] => told(&was, &is),
        new => format!("{}; afterwards {}", told(&was, &is), new.join("; ")),
    };
    Checked { check: "P7".into(), passed: true, seen }
}

fn told(was: &ZoneRisk, is: &ZoneRisk) -> String {
    format!("zone safety {} of 100 now, {} afterwards", was.score, is.score)
}

struct Judge<'a> {
    layout: &'a Layout,
    found: Vec<RiskFinding>,
}

impl Judge<'_> {
    fn by_zone(&self) -> bool {
        matches!(self.layout.class, Class::Zone | Class::ZoneDurable)
    }

    fn find(&mut self, class: RiskClass, off: u32, rule: &str, about: impl ToString, text: String) {
        let (rule, about) = (rule.to_string(), about.to_string());
        self.found.push(RiskFinding { class, rule, about, off, text });
    }

    /// What one zone or host takes of a shard.
    fn shard(&mut self, shard: u32) {
        let layout = self.layout;
        let nodes: Vec<&Spot> = layout.nodes.iter().filter(|n| n.shard == shard).collect();
        let about = format!("shard {shard}");
        let zones: BTreeSet<&str> = nodes.iter().map(|n| n.zone.as_str()).collect();
        let mut hosts: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for node in &nodes {
            hosts.entry(node.host.as_str()).or_default().push(node.id.address());
        }
        if nodes.len() == 1 {
            let text = format!("{about} has no replica: {} is alone", nodes[0].id);
            self.find(RiskClass::A, OFF_DATA, "no_replica", &about, text);
            return;
        }
        if hosts.len() == 1 {
            let text = format!("all {} nodes of {about} are on one host", nodes.len());
            self.find(RiskClass::A, OFF_DATA, "shard_on_one_host", &about, text);
        }
        if self.by_zone() && zones.len() == 1 {
            let zone = zones.first().copied().unwrap_or_default();
            let text = format!("all {} nodes of {about} are in zone {zone:?}", nodes.len());
            self.find(RiskClass::A, OFF_DATA, "shard_in_one_zone", &about, text);
        }
        for (host, on) in hosts.iter().filter(|(_, on)| on.len() > 1 && hosts.len() > 1) {
            let text = format!("host {host} holds {} of {about}", on.join(" and "));
            self.find(RiskClass::B, OFF_LAYOUT, "host_shared", format!("{about}@{host}"), text);
        }
        if self.by_zone() && zones.len() > 1 {
            self.beside_master(&nodes);
        }
        self.no_way_out(&nodes, &about);
    }

    /// A replica in its master's zone while another zone has none of the shard.
    fn beside_master(&mut self, nodes: &[&Spot]) {
        let Some(master) = nodes.iter().find(|n| n.master == Some(true)) else { return };
        let used: BTreeSet<&str> = nodes.iter().map(|n| n.zone.as_str()).collect();
        let every = self.layout.nodes.iter().map(|n| n.zone.as_str());
        let every: BTreeSet<&str> =
            every.chain(self.layout.sentinels.iter().map(String::as_str)).collect();
        if used.len() == every.len() {
            return;
        }
        let beside = nodes.iter().filter(|n| n.master == Some(false) && n.zone == master.zone);
        let beside: Vec<_> = beside.map(|n| (n.id.clone(), n.zone.clone())).collect();
        for (id, zone) in beside {
            let text = format!("{id} is in zone {zone} with its master while another zone is free");
            self.find(RiskClass::B, OFF_LAYOUT, "replica_beside_master", id, text);
        }
    }

    /// Nobody outside the master's zone may be promoted.
    fn no_way_out(&mut self, nodes: &[&Spot], about: &str) {
        let master = nodes.iter().find(|n| n.master == Some(true));
        let Some(master) = master.filter(|_| self.by_zone()) else { return };
        let outside: Vec<_> = nodes.iter().filter(|n| n.zone != master.zone).collect();
        let can = |n: &Spot| n.priority != Some(0.0) && n.no_failover != Some(true);
        if !outside.is_empty() && !outside.iter().any(|n| can(n)) {
            let text =
                format!("no replica of {about} outside zone {} may be promoted", master.zone);
            self.find(RiskClass::B, OFF_LAYOUT, "priority_0", about, text);
        }
        for node in nodes.iter().filter(|n| n.no_failover == Some(true)) {
            let text = format!("{} has cluster-replica-no-failover on", node.id);
            self.find(RiskClass::B, OFF_LAYOUT, "no_failover", &node.id, text);
        }
    }

    /// Replicas a failover could not use.
    fn failover(&mut self) {
        for node in &self.layout.nodes {
            if node.linked == Some(false) {
                let text = format!("the link of {} to its master is down", node.id);
                self.find(RiskClass::B, OFF_LAYOUT, "link_down", &node.id, text);
            }
            if self.layout.unseen_by_sentinels.iter().any(|a| a == node.id.address()) {
                let text = format!("a Sentinel cannot reach {} (password or network)", node.id);
                self.find(RiskClass::B, OFF_LAYOUT, "unseen_by_sentinel", &node.id, text);
            }
        }
    }

    /// Votes of the masters of a cluster, and their spread.
    fn masters(&mut self) {
        if self.layout.mode != Mode::Cluster {
            return;
        }
        let masters = self.layout.nodes.iter().filter(|n| n.master == Some(true));
        let per_zone = count(masters.map(|n| n.zone.as_str()));
        let all: usize = per_zone.values().sum();
        if all == 0 {
            return;
        }
        let (zone, most) = fullest(&per_zone);
        if !quorum::holds(per_zone.values()) {
            let text = format!(
                "zone {zone} holds {most} of {all} masters: without it {} remain, {} are needed",
                all - most,
                quorum::majority(all)
            );
            self.find(RiskClass::A, OFF_QUORUM, "masters_quorum", "masters", text);
        }
        let fair = all.div_ceil(quorum::ZONES);
        for (zone, n) in per_zone.iter().filter(|(_, n)| **n > fair) {
            let text = format!("zone {zone} holds {n} of {all} masters, at most {fair} are even");
            self.find(RiskClass::B, OFF_LAYOUT, "masters_uneven", *zone, text);
        }
        let replicas = self.layout.nodes.len() - all;
        if self.layout.full_coverage == Some(true) && replicas <= all {
            let text = "cluster-require-full-coverage is on and a shard has one replica: one lost \
                        shard stops all";
            self.find(RiskClass::B, OFF_LAYOUT, "full_coverage", "cluster", text.into());
        }
    }

    /// Votes of the Sentinels.
    fn sentinels(&mut self) {
        if self.layout.mode != Mode::Sentinel || self.layout.sentinels.is_empty() {
            return;
        }
        let per_zone = count(self.layout.sentinels.iter().map(String::as_str));
        let all = self.layout.sentinels.len();
        let (zone, most) = fullest(&per_zone);
        let left = all - most;
        if !quorum::holds(per_zone.values()) {
            let text = format!(
                "zone {zone} holds {most} of {all} Sentinels: without it {left} remain, {} are needed",
                quorum::majority(all)
            );
            self.find(RiskClass::A, OFF_QUORUM, "sentinels_quorum", "sentinels", text);
        }
        if let Some(quorum) = self.layout.quorum.filter(|q| *q > left) {
            let text = format!("quorum is {quorum}; without zone {zone} {left} Sentinels remain");
            self.find(RiskClass::A, OFF_QUORUM, "quorum_too_high", "sentinels", text);
        }
        if let Some(known) = self.layout.sentinels_known.filter(|k| *k > all) {
            let text =
                format!("Sentinels know {known} of themselves, there are {all}: dead ones vote");
            self.find(RiskClass::A, OFF_QUORUM, "dead_sentinels", "sentinels", text);
        }
    }

    fn settings(&mut self) {
        if let Some(ms) = self.layout.patience_ms.filter(|ms| *ms > PATIENCE_MS_MAX) {
            let text =
                format!("a failure is seen after {ms} ms, at most {PATIENCE_MS_MAX} are good");
            self.find(RiskClass::C, OFF_WEAK, "slow_to_see", "service", text);
        }
        if self.layout.class == Class::ZoneDurable && self.layout.min_replicas == Some(0.0) {
            let text = "min-replicas-to-write is 0: a master that is cut off goes on taking writes";
            self.find(RiskClass::C, OFF_WEAK, "min_replicas", "service", text.into());
        }
        if self.layout.migration == Some(true) {
            let text =
                "cluster-allow-replica-migration is on: it moves replicas and knows no zones";
            self.find(RiskClass::C, OFF_WEAK, "migration", "service", text.into());
        }
    }
}

fn count<'a>(zones: impl Iterator<Item = &'a str>) -> BTreeMap<&'a str, usize> {
    let mut all = BTreeMap::new();
    for zone in zones {
        *all.entry(zone).or_default() += 1;
    }
    all
}

fn fullest<'a>(per_zone: &BTreeMap<&'a str, usize>) -> (&'a str, usize) {
    let most = per_zone.iter().max_by_key(|(_, n)| **n);
    most.map_or(("", 0), |(zone, n)| (zone, *n))
}

#[cfg(test)]
mod tests {
    use model::ServiceId;

    use super::*;

    /// Nodes as (shard, zone, host, master).
    fn layout(mode: Mode, class: Class, nodes: &[(u32, u8, u8, bool)]) -> Layout {
        let spot = |(n, (shard, zone, host, master)): (usize, &(u32, u8, u8, bool))| Spot {
            id: format!("pay.cart@10.0.{zone}.{host}:{}", 7000 + n).parse().unwrap(),
            zone: format!("az-{zone}"),
            host: format!("h{zone}-{host}"),
            shard: *shard,
            master: Some(*master),
            priority: Some(100.0),
            linked: (!master).then_some(true),
            no_failover: None,
        };
        Layout {
            service: ServiceId::parse("pay.cart").unwrap(),
            mode,
            class,
            nodes: nodes.iter().enumerate().map(spot).collect(),
            sentinels: Vec::new(),
            quorum: None,
            sentinels_known: None,
            unseen_by_sentinels: Vec::new(),
            full_coverage: None,
            migration: None,
            patience_ms: None,
            min_replicas: None,
        }
    }

    fn rules(layout: &Layout) -> Vec<String> {
        judge(layout)
            .findings
            .into_iter()
            .map(|f| format!("{} {}", f.class.as_str(), f.rule))
            .collect()
    }

    const THREE: [(u32, u8, u8, bool); 3] = [(0, 1, 1, true), (0, 2, 1, false), (0, 3, 1, false)];

    #[test]
    fn three_nodes_in_three_zones_under_three_sentinels_have_no_risk() {
        let mut good = layout(Mode::Sentinel, Class::Zone, &THREE);
        good.sentinels = ["az-1", "az-2", "az-3"].map(Into::into).to_vec();
        (good.quorum, good.sentinels_known) = (Some(2), Some(3));
        assert_eq!(judge(&good), ZoneRisk { score: 100, class: None, findings: vec![] });
    }

    #[test]
    fn data_in_one_zone_on_one_host_or_without_replica_is_class_a() {
        let of =
            |nodes: &[(u32, u8, u8, bool)]| rules(&layout(Mode::Standalone, Class::Zone, nodes));
        assert_eq!(of(&THREE[..1]), ["A no_replica"]);
        assert_eq!(of(&[(0, 1, 1, true), (0, 1, 2, false)]), ["A shard_in_one_zone"]);
        assert_eq!(
            of(&[(0, 1, 1, true), (0, 1, 1, false)]),
            ["A shard_in_one_zone", "A shard_on_one_host"]
        );
        let mut unknown = layout(Mode::Standalone, Class::Zone, &THREE);
        unknown.nodes.iter_mut().for_each(|n| n.zone.clear());
        assert_eq!(rules(&unknown), ["A shard_in_one_zone"], "unknown zones count as one");
    }

    #[test]
    fn a_class_is_held_to_what_it_promises_only() {
        let one = &THREE[..1];
        assert!(rules(&layout(Mode::Standalone, Class::Single, one)).is_empty());
        let zone = [(0, 1, 1, true), (0, 1, 2, false)];
        assert!(rules(&layout(Mode::Standalone, Class::Host, &zone)).is_empty());
        let host = [(0, 1, 1, true), (0, 1, 1, false)];
        assert_eq!(rules(&layout(Mode::Standalone, Class::Host, &host)), ["A shard_on_one_host"]);
    }

    #[test]
    fn a_zone_that_holds_the_majority_is_class_a_for_masters_and_sentinels() {
        let two_in_one = [
            (0, 1, 1, true),
            (0, 2, 1, false),
            (1, 1, 2, true),
            (1, 3, 1, false),
            (2, 3, 2, true),
            (2, 2, 2, false),
        ];
        let cluster = layout(Mode::Cluster, Class::Zone, &two_in_one);
        assert_eq!(rules(&cluster), ["A masters_quorum", "B masters_uneven"]);
        let mut watched = layout(Mode::Sentinel, Class::Zone, &THREE);
        watched.sentinels = ["az-1", "az-2"].map(Into::into).to_vec();
        assert_eq!(rules(&watched), ["A sentinels_quorum"], "two Sentinels never do");
        watched.sentinels = ["az-1", "az-2", "az-3"].map(Into::into).to_vec();
        (watched.quorum, watched.sentinels_known) = (Some(3), Some(4));
        assert_eq!(rules(&watched), ["A dead_sentinels", "A quorum_too_high"]);
    }

    #[test]
    fn replicas_a_failover_cannot_use_are_class_b() {
        let mut bad = layout(Mode::Sentinel, Class::Zone, &THREE);
        bad.nodes[1].linked = Some(false);
        bad.unseen_by_sentinels = vec![bad.nodes[2].id.address().to_string()];
        assert_eq!(rules(&bad), ["B link_down", "B unseen_by_sentinel"]);
        let mut stuck = layout(Mode::Sentinel, Class::Zone, &THREE);
        stuck.nodes[1..].iter_mut().for_each(|n| n.priority = Some(0.0));
        assert_eq!(rules(&stuck), ["B priority_0"]);
    }

    #[test]
    fn weak_settings_are_class_c() {
        let mut weak = layout(Mode::Sentinel, Class::ZoneDurable, &THREE);
        (weak.patience_ms, weak.min_replicas) = (Some(15_000.0), Some(0.0));
        weak.migration = Some(true);
        assert_eq!(rules(&weak), ["C migration", "C min_replicas", "C slow_to_see"]);
        assert_eq!(judge(&weak).score, 70);
    }

    #[test]
    fn p7_refuses_a_new_risk_and_lets_an_old_one_pass() {
        let before = layout(Mode::Standalone, Class::Zone, &THREE[..2]);
        let after = before.without(&before.nodes[1].id);
        let refused = check(&before, &after).unwrap_err();
        assert!(refused.message.contains("no replica"), "{refused}");
        let alone = before.without(&before.nodes[0].id);
        assert!(check(&alone, &alone).unwrap().passed, "it was so before");
        let moved = before.promoted(&before.nodes[0].id, &before.nodes[1].id);
        assert!(check(&before, &moved).is_ok());
    }
}

//! From processes to services: who replicates from whom, who is in which cluster, who watches what. Pure.
//!
//! Invariant: a process is in one group; a process met under two addresses counts once. Refuses to know
//! the inventory.

use std::collections::{BTreeMap, BTreeSet};

use model::service::{InstanceKind, Mode};

use super::walk::Found;

/// Processes that make one service.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Group {
    pub mode: Mode,
    /// Name of its master at the Sentinels; empty: nobody watches it.
    pub master_name: String,
    /// Data nodes.
    pub data: Vec<String>,
    /// Sentinels that watch it and nothing else.
    pub sentinels: Vec<String>,
    pub notes: Vec<String>,
}

/// All groups, and addresses that are another one's process: (alias, kept).
#[derive(Debug, Default, PartialEq)]
pub(super) struct Groups {
    pub groups: Vec<Group>,
    pub aliases: Vec<(String, String)>,
}

/// Sorts what was found into services.
pub(super) fn groups(found: &BTreeMap<String, Found>) -> Groups {
    let alias = aliases(found);
    let mut sets = Sets::default();
    for (address, one) in found {
        if alias.contains_key(address) {
            continue;
        }
        let kept = |a: &String| alias.get(a).unwrap_or(a).clone();
        let named = one.seen.named();
        let named = named.iter().map(|(a, kind)| Link::of(*kind, &kept(a)));
        let own = std::iter::once(Link::of(one.seen.kind, address));
        // A Sentinel ties itself to its peers, and each master to its own replicas, but not the masters
        // to each other.
        sets.join(own.chain(named.filter(|l| l.kind() == one.seen.kind)));
        for watched in &one.seen.watched {
            let of = std::iter::once(&watched.master).chain(&watched.replicas);
            sets.join(of.map(|a| Link::Data(kept(a))));
        }
    }
    let exists =
        |link: &Link| found.get(link.address()).is_some_and(|f| f.seen.kind == link.kind());
    let (data, sentinels): (Vec<_>, Vec<_>) = sets
        .all()
        .into_iter()
        .filter_map(|set| {
            let links: Vec<Link> = set.into_iter().filter(|l| exists(l)).collect();
            (!links.is_empty()).then_some(links)
        })
        .partition(|set| matches!(set[0], Link::Data(_)));
    let addresses = |set: Vec<Link>| set.iter().map(|l| l.address().to_string()).collect();
    let mut groups: Vec<Group> =
        data.into_iter().map(|set| data_group(found, addresses(set))).collect();
    for set in sentinels {
        watchers(found, &alias, addresses(set), &mut groups);
    }
    Groups { groups, aliases: alias.into_iter().collect() }
}

/// A process in the sets: data nodes and Sentinels are never in one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    Data(String),
    Sentinel(String),
}

impl Link {
    fn of(kind: InstanceKind, address: &str) -> Link {
        match kind {
            InstanceKind::Redis => Link::Data(address.into()),
            InstanceKind::Sentinel => Link::Sentinel(address.into()),
        }
    }

    fn address(&self) -> &str {
        match self {
            Link::Data(a) | Link::Sentinel(a) => a,
        }
    }

    fn kind(&self) -> InstanceKind {
        match self {
            Link::Data(_) => InstanceKind::Redis,
            Link::Sentinel(_) => InstanceKind::Sentinel,
        }
    }
}

/// Sets that are joined when they share a member.
#[derive(Default)]
struct Sets {
    of: BTreeMap<Link, usize>,
    sets: Vec<BTreeSet<Link>>,
}

impl Sets {
    fn join(&mut self, links: impl Iterator<Item = Link>) {
        let links: BTreeSet<Link> = links.collect();
        let touched: BTreeSet<usize> =
            links.iter().filter_map(|l| self.of.get(l).copied()).collect();
        let mut whole = links;
        for at in touched {
            whole.append(&mut self.sets[at]);
        }
        let at = self.sets.len();
        self.of.extend(whole.iter().map(|l| (l.clone(), at)));
        self.sets.push(whole);
    }

    fn all(self) -> Vec<BTreeSet<Link>> {
        self.sets.into_iter().filter(|s| !s.is_empty()).collect()
    }
}

/// Addresses of processes that are kept under another one. The inventory's address stays, else the one
/// that other processes use.
fn aliases(found: &BTreeMap<String, Found>) -> BTreeMap<String, String> {
    let named: BTreeSet<String> =
        found.values().flat_map(|f| f.seen.named()).map(|(address, _)| address).collect();
    let mut by_run: BTreeMap<&str, Vec<(&String, &Found)>> = BTreeMap::new();
    for (address, one) in found.iter().filter(|(_, f)| !f.seen.run_id.is_empty()) {
        by_run.entry(&one.seen.run_id).or_default().push((address, one));
    }
    let mut aliases = BTreeMap::new();
    for mut same in by_run.into_values() {
        same.sort_by_key(|(address, f)| (f.known.is_none(), !named.contains(*address)));
        let kept = same[0].0.clone();
        // Two that the inventory has already are its business.
        let others = same[1..].iter().filter(|(_, f)| f.known.is_none());
        aliases.extend(others.map(|(address, _)| ((*address).clone(), kept.clone())));
    }
    aliases
}

fn data_group(found: &BTreeMap<String, Found>, data: Vec<String>) -> Group {
    let seen = |a: &String| &found[a].seen;
    let mut group = Group { data, ..Group::default() };
    if group.data.iter().any(|a| seen(a).cluster.is_some()) {
        group.mode = Mode::Cluster;
    }
    let versions: BTreeSet<String> =
        group.data.iter().map(|a| format!("{} {}", seen(a).engine, seen(a).version)).collect();
    if versions.len() > 1 {
        let list: Vec<String> = versions.into_iter().collect();
        group.notes.push(format!("its nodes run different versions: {}", list.join(", ")));
    }
    group
}

/// Gives Sentinels that know each other to the one service they watch, or makes them a fleet.
fn watchers(
    found: &BTreeMap<String, Found>,
    alias: &BTreeMap<String, String>,
    sentinels: Vec<String>,
    groups: &mut Vec<Group>,
) {
    let watched = || sentinels.iter().flat_map(|s| &found[s].seen.watched);
    let names: BTreeSet<&String> = watched().map(|w| &w.name).collect();
    let mut homes = BTreeSet::new();
    for w in watched() {
        let members = std::iter::once(&w.master).chain(&w.replicas);
        let members: BTreeSet<&String> = members.map(|a| alias.get(a).unwrap_or(a)).collect();
        let home = groups.iter().position(|g| g.data.iter().any(|a| members.contains(a)));
        let Some(home) = home else { continue };
        homes.insert(home);
        let group = &mut groups[home];
        if group.mode == Mode::Cluster {
            continue;
        }
        group.mode = Mode::Sentinel;
        if group.master_name.is_empty() {
            group.master_name.clone_from(&w.name);
        } else if group.master_name != w.name {
            let note = format!("other Sentinels call its master {}", w.name);
            if !group.notes.contains(&note) {
                group.notes.push(note);
            }
        }
    }
    let one_home = (names.len() == 1).then(|| homes.first().copied()).flatten();
    match one_home.filter(|at| groups[*at].mode == Mode::Sentinel) {
        Some(at) => groups[at].sentinels.extend(sentinels),
        None if names.len() == 1 => groups.push(Group {
            mode: Mode::Sentinel,
            master_name: names.first().expect("one").to_string(),
            sentinels,
            ..Group::default()
        }),
        None => groups.push(Group { mode: Mode::Sentinels, sentinels, ..Group::default() }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::look::{Seen, Watched};
    use super::*;
    use model::reading::{ClusterNode, ClusterView};

    fn one(address: &str, run_id: &str) -> Found {
        let seen = Seen { address: address.into(), run_id: run_id.into(), ..Seen::default() };
        Found { seen, ..Found::default() }
    }

    fn map(all: Vec<Found>) -> BTreeMap<String, Found> {
        all.into_iter().map(|f| (f.seen.address.clone(), f)).collect()
    }

    fn sentinel(address: &str, peers: &[&str], watched: &[(&str, &str)]) -> Found {
        let mut found = one(address, address);
        found.seen.kind = InstanceKind::Sentinel;
        let peers: Vec<String> = peers.iter().map(|p| p.to_string()).collect();
        let watch = |(name, master): &(&str, &str)| Watched {
            name: name.to_string(),
            master: master.to_string(),
            replicas: Vec::new(),
            sentinels: peers.clone(),
        };
        found.seen.watched = watched.iter().map(watch).collect();
        found
    }

    #[test]
    fn a_master_its_replicas_and_their_replicas_are_one_service() {
        let (mut a, mut b, mut c) = (one("a:1", "1"), one("b:1", "2"), one("c:1", "3"));
        a.seen.replicas = vec!["b:1".into()];
        b.seen.upstream = Some("a:1".into());
        c.seen.upstream = Some("b:1".into());
        let all = groups(&map(vec![a, b, c, one("d:1", "4")]));
        let data: Vec<_> = all.groups.iter().map(|g| g.data.join(" ")).collect();
        assert_eq!(data, ["a:1 b:1 c:1", "d:1"]);
        assert!(all.groups.iter().all(|g| g.mode == Mode::Standalone));
    }

    #[test]
    fn sentinels_belong_to_the_one_service_they_watch_and_else_are_a_fleet() {
        let s = |watched: &[(&str, &str)]| {
            let s1 = sentinel("s1:1", &["s2:1"], watched);
            vec![one("a:1", "1"), one("b:1", "2"), s1, sentinel("s2:1", &["s1:1"], watched)]
        };
        let all = groups(&map(s(&[("cart", "a:1")]))).groups;
        let cart = all.iter().find(|g| g.master_name == "cart").unwrap();
        assert_eq!((cart.mode, cart.sentinels.len(), all.len()), (Mode::Sentinel, 2, 2));
        let all = groups(&map(s(&[("cart", "a:1"), ("pay", "b:1")]))).groups;
        let fleet = all.iter().find(|g| g.mode == Mode::Sentinels).unwrap();
        assert_eq!((fleet.sentinels.len(), fleet.data.len(), all.len()), (2, 0, 3));
        assert!(all.iter().any(|g| g.master_name == "pay" && g.sentinels.is_empty()));
    }

    #[test]
    fn a_process_met_under_two_addresses_counts_once_under_the_one_others_use() {
        let (outside, mut inside) = (one("127.0.0.1:1", "x"), one("b:1", "y"));
        inside.seen.upstream = Some("a:1".into());
        let all = groups(&map(vec![outside, one("a:1", "x"), inside]));
        assert_eq!(all.aliases, [("127.0.0.1:1".to_string(), "a:1".to_string())]);
        assert_eq!(all.groups.len(), 1);
        assert_eq!(all.groups[0].data, ["a:1", "b:1"]);
    }

    #[test]
    fn nodes_of_one_table_are_a_cluster_and_those_nobody_could_read_are_left_out() {
        let node =
            |address: &str| ClusterNode { address: address.into(), ..ClusterNode::default() };
        let (mut a, b) = (one("a:1", "1"), one("b:1", "2"));
        let nodes = vec![node("a:1"), node("b:1"), node("c:1")];
        a.seen.cluster = Some(ClusterView { my_id: String::new(), nodes });
        let all = groups(&map(vec![a, b])).groups;
        assert_eq!((all.len(), all[0].mode, all[0].data.len()), (1, Mode::Cluster, 2));
    }
}

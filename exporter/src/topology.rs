//! What the rows of one service say about its shape: roles, masters, shards, lag.
//!
//! Invariant: pure; reads ROLE and a cluster's node table, never INFO text; an instance that cannot be
//! placed keeps the number it had. Refuses to know how many masters there should be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::InstanceId;
use model::reading::{ClusterNode, Facts, Role};
use model::row::Row;

/// Roles as the latest good polls saw them; instances that are not up are absent.
pub fn roles(rows: &[Arc<Row>]) -> BTreeMap<InstanceId, Role> {
    rows.iter().filter_map(|r| Some((r.instance.id.clone(), r.role()?))).collect()
}

/// Instances that are masters now: more than one per shard is two masters.
pub fn masters(rows: &[Arc<Row>]) -> Vec<&Arc<Row>> {
    rows.iter().filter(|r| r.role() == Some(Role::Master)).collect()
}

/// The row of the master a replica follows, by the address ROLE names.
pub fn master_of<'a>(replica: &Row, rows: &'a [Arc<Row>]) -> Option<&'a Arc<Row>> {
    let upstream = replica.facts()?.upstream.as_deref()?;
    rows.iter().find(|r| r.instance.id.address() == upstream)
}

/// Bytes a replica is behind its master, by their replication offsets; none unless both are known
/// and the roles are these. The two were read up to an interval apart, so a replica polled later may
/// be ahead: that is 0.
pub fn lag_bytes(replica: &Row, master: &Row) -> Option<f64> {
    let (behind, ahead) = (replica.facts()?, master.facts()?);
    if behind.role != Some(Role::Replica) || ahead.role != Some(Role::Master) {
        return None;
    }
    let received = behind.offset.filter(|o| *o >= 0.0)?;
    Some((ahead.offset? - received).max(0.0))
}

/// Addresses a server names as members of its service: its master, its replicas, the nodes of its
/// cluster, and of a Sentinel's masters the one of that name. Its clients may have written them: they
/// say where an operator may look, never where we connect.
pub fn named<'a>(facts: &'a Facts, master_name: &str) -> BTreeSet<&'a str> {
    let masters = facts.masters.iter().filter(|m| m.name == master_name && !m.name.is_empty());
    let view = facts.cluster.iter().flat_map(|view| &view.nodes);
    // Who is being met, or was forgotten by its address, is no member (yet).
    let nodes = view.filter(|n| !n.flags.iter().any(|f| f == "handshake" || f == "noaddr"));
    let all = masters
        .map(|m| m.address.as_str())
        .chain(facts.replicas.iter().map(|r| r.address.as_str()))
        .chain(nodes.map(|n| n.address.as_str()))
        .chain(facts.upstream.as_deref());
    all.filter(|address| !address.is_empty()).collect()
}

/// Shard numbers of a cluster's instances. A shard is a master and its replicas; it keeps the number
/// most of its members had, new ones are numbered by their lowest slot. Instances no view places, and
/// masters without slots, keep theirs: a dead master still belongs to the shard it led.
pub fn shards(
    previous: &BTreeMap<InstanceId, u32>,
    rows: &[Arc<Row>],
) -> BTreeMap<InstanceId, u32> {
    let mut groups = groups(rows);
    groups.sort_by_key(|g| (g.lowest_slot, std::cmp::Reverse(g.epoch)));
    // Of two that claim the same slots the lower epoch is a view of the past.
    groups.dedup_by_key(|g| g.lowest_slot);
    let mut taken: BTreeMap<u32, usize> = BTreeMap::new();
    let mut number: Vec<Option<u32>> = vec![None; groups.len()];
    let mut claims: Vec<(usize, u32, usize)> = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        for (shard, votes) in votes(previous, group) {
            claims.push((votes, shard, at));
        }
    }
    // Most votes first; between equals the group with the lower slots.
    claims.sort_by_key(|(votes, shard, at)| (std::cmp::Reverse(*votes), *at, *shard));
    for (_, shard, at) in claims {
        if number[at].is_none() && !taken.contains_key(&shard) {
            number[at] = Some(shard);
            taken.insert(shard, at);
        }
    }
    let mut free = (0u32..).filter(|n| !taken.contains_key(n));
    let mut out = previous.clone();
    out.retain(|id, _| rows.iter().any(|r| r.instance.id == *id));
    for (group, number) in groups.iter().zip(number) {
        let Some(n) = number.or_else(|| free.next()) else { continue };
        out.extend(group.members.iter().map(|id| (id.clone(), n)));
    }
    out
}

struct Group {
    lowest_slot: u32,
    epoch: u64,
    members: Vec<InstanceId>,
}

fn votes(previous: &BTreeMap<InstanceId, u32>, group: &Group) -> BTreeMap<u32, usize> {
    let mut votes = BTreeMap::new();
    for shard in group.members.iter().filter_map(|id| previous.get(id)) {
        *votes.entry(*shard).or_default() += 1;
    }
    votes
}

/// Members of each shard. A node's own line counts most; of nodes that are silent the line with the
/// highest epoch, as the others see it.
fn groups(rows: &[Arc<Row>]) -> Vec<Group> {
    let by_address: BTreeMap<&str, &InstanceId> =
        rows.iter().map(|r| (r.instance.id.address(), &r.instance.id)).collect();
    let mut lines: BTreeMap<&str, (bool, &ClusterNode, &InstanceId)> = BTreeMap::new();
    for row in rows {
        let Some(view) = row.facts().and_then(|f| f.cluster.as_ref()) else { continue };
        for node in &view.nodes {
            let own = node.id == view.my_id;
            let id =
                if own { Some(&row.instance.id) } else { by_address.get(&*node.address).copied() };
            let Some(id) = id else { continue };
            let better = lines
                .get(node.id.as_str())
                .is_none_or(|(was_own, was, _)| (own, node.epoch) > (*was_own, was.epoch));
            if better {
                lines.insert(&node.id, (own, node, id));
            }
        }
    }
    let mut groups: BTreeMap<&str, Group> = BTreeMap::new();
    for (_, node, id) in lines.values() {
        let master = node.master.as_deref().unwrap_or(&node.id);
        let group = groups.entry(master).or_insert_with(|| Group {
            lowest_slot: u32::MAX,
            epoch: 0,
            members: Vec::new(),
        });
        group.members.push((*id).clone());
        if node.master.is_none() {
            group.epoch = node.epoch;
        }
        if let Some(slot) = node.slots.iter().map(|(from, _)| u32::from(*from)).min() {
            group.lowest_slot = group.lowest_slot.min(slot);
        }
    }
    groups.into_values().filter(|g| g.lowest_slot != u32::MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::{id, instance, reading, row, view, with_role};
    use model::reading::{ClusterView, ReplicaLink, SentinelMaster};
    use model::service::InstanceKind;

    const A: &str = "t.s@10.0.0.1:1";
    const B: &str = "t.s@10.0.0.2:1";
    const C: &str = "t.s@10.0.0.3:1";

    fn node(text: &str, cluster: Option<ClusterView>) -> Arc<Row> {
        let one = instance(text, "az-1", InstanceKind::Redis, 0);
        let mut read = reading(Facts { cluster, ..Facts::default() });
        read.up = read.facts.cluster.is_some();
        Arc::new(row(one, read))
    }

    fn numbers(of: &[(&str, u32)]) -> BTreeMap<InstanceId, u32> {
        of.iter().map(|(text, n)| (id(text), *n)).collect()
    }

    #[test]
    fn shards_are_numbered_by_their_lowest_slot_and_replicas_follow_their_master() {
        let all = [
            ('a', "10.0.0.1:1", '-', Some(9000), 1),
            ('b', "10.0.0.2:1", '-', Some(0), 2),
            ('c', "10.0.0.3:1", 'a', None, 1),
        ];
        let rows = [node(A, Some(view('a', &all))), node(B, Some(view('b', &all))), node(C, None)];
        assert_eq!(shards(&BTreeMap::new(), &rows), numbers(&[(A, 1), (B, 0), (C, 1)]));
    }

    #[test]
    fn a_number_survives_a_failover_and_the_dead_master_keeps_it() {
        let before = numbers(&[(A, 1), (B, 0), (C, 1)]);
        let old = [('a', "10.0.0.1:1", '-', Some(9000), 1), ('b', "10.0.0.2:1", '-', Some(0), 2)];
        let new = [
            ('a', "10.0.0.1:1", '-', None, 1),
            ('b', "10.0.0.2:1", '-', Some(0), 2),
            ('c', "10.0.0.3:1", '-', Some(9000), 3),
        ];
        // b has not heard of the promotion yet.
        let rows = [node(A, None), node(B, Some(view('b', &old))), node(C, Some(view('c', &new)))];
        assert_eq!(shards(&before, &rows), before);
    }

    #[test]
    fn moved_slots_renumber_nothing_and_a_new_shard_gets_the_next_free_number() {
        let before = numbers(&[(A, 0), (B, 1)]);
        let all = [
            ('a', "10.0.0.1:1", '-', Some(5000), 1),
            ('b', "10.0.0.2:1", '-', Some(100), 2),
            ('c', "10.0.0.3:1", '-', Some(0), 3),
        ];
        let rows = [node(A, Some(view('a', &all))), node(B, None), node(C, None)];
        assert_eq!(shards(&before, &rows), numbers(&[(A, 0), (B, 1), (C, 2)]));
    }

    #[test]
    fn instances_that_left_are_forgotten_and_strangers_are_never_added() {
        let all = [('a', "10.0.0.1:1", '-', Some(0), 1), ('z', "6.6.6.6:1", '-', Some(9000), 9)];
        let rows = [node(A, Some(view('a', &all)))];
        assert_eq!(shards(&numbers(&[(A, 0), (C, 1)]), &rows), numbers(&[(A, 0)]));
    }

    #[test]
    fn lag_needs_a_replica_and_a_master_and_is_never_negative() {
        let of = |text, role, offset| {
            row(instance(text, "az-1", InstanceKind::Redis, 0), reading(with_role(role, offset)))
        };
        let master = of(A, Role::Master, 100.0);
        assert_eq!(lag_bytes(&of(B, Role::Replica, 60.0), &master), Some(40.0));
        assert_eq!(lag_bytes(&of(B, Role::Replica, 160.0), &master), Some(0.0));
        assert_eq!(lag_bytes(&of(B, Role::Replica, -1.0), &master), None);
        assert_eq!(lag_bytes(&master, &master), None);
    }

    #[test]
    fn a_server_names_its_master_its_replicas_and_its_cluster() {
        let mut nodes = view('a', &[('a', "10.0.0.1:1", '-', Some(0), 1)]);
        let mut meeting = nodes.nodes[0].clone();
        meeting.address = "10.0.0.8:1".into();
        meeting.flags = vec!["handshake".into()];
        nodes.nodes.push(meeting);
        let link = ReplicaLink {
            address: "10.0.0.2:1".into(),
            state: "online".into(),
            offset: 0.0,
            lag_s: 0.0,
        };
        let facts = Facts {
            cluster: Some(nodes),
            replicas: vec![link],
            upstream: Some("10.0.0.3:1".into()),
            ..Facts::default()
        };
        let named: Vec<&str> = named(&facts, "").into_iter().collect();
        assert_eq!(named, ["10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"]);
    }

    #[test]
    fn a_sentinel_speaks_only_of_the_master_of_that_name() {
        let master = |name: &str, address: &str| SentinelMaster {
            name: name.into(),
            address: address.into(),
            ..SentinelMaster::default()
        };
        let masters = vec![master("cart", "10.0.0.1:1"), master("book", "10.0.0.2:1")];
        let facts = Facts { masters, ..Facts::default() };
        assert_eq!(named(&facts, "cart").into_iter().collect::<Vec<_>>(), ["10.0.0.1:1"]);
        assert!(named(&facts, "").is_empty());
    }
}

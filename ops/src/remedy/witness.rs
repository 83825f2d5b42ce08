//! What the observers of a silent node say, drawn from a fresh topology snapshot.
//!
//! Invariant: the node's own silence is one witness, everybody else is asked himself; who cannot
//! tell counts for neither side. Pure.

use model::InstanceId;
use model::reading::ClusterNode;
use model::service::Mode;

use super::guards::Witness;
use crate::topology::{Node, Snapshot, Watch};

/// A master notices a frozen replica only by missing acknowledgements, one per second.
const SILENT_LAG_S: f64 = 10.0;

/// The node itself and everybody who should see it.
pub(super) fn witnesses(snapshot: &Snapshot, id: &InstanceId) -> Vec<Witness> {
    let mut all = vec![itself(snapshot, id)];
    for (who, node) in snapshot.answered().filter(|(who, _)| *who != id) {
        all.extend(upstream(who, node, id));
        all.extend(peer(who, node, id));
    }
    all.extend(snapshot.watches().filter_map(|(who, watch)| sentinel(who, watch, id)));
    all
}

fn itself(snapshot: &Snapshot, id: &InstanceId) -> Witness {
    let (agrees, said) = match snapshot.silence(id) {
        Some(Err(why)) => (Some(true), why.to_string()),
        Some(Ok(())) => (Some(false), "answers".into()),
        None => (None, "was not asked".into()),
    };
    Witness { who: id.to_string(), agrees, said }
}

/// The master of the shard: does it still hold the replica's link?
fn upstream(who: &InstanceId, node: &Node, id: &InstanceId) -> Option<Witness> {
    if node.master.is_some() {
        return None;
    }
    let link = node.facts.replicas.iter().find(|r| r.address == id.address());
    let (agrees, said) = match link {
        // In a cluster other masters never had it; only a missing link at its own master counts.
        None if node.cluster.is_some() && !owns(node, id) => return None,
        None => (true, "has no replica link to it".to_string()),
        Some(l) if l.state == "online" && (0.0..SILENT_LAG_S).contains(&l.lag_s) => {
            (false, format!("replica link online, acknowledged {} s ago", l.lag_s))
        }
        Some(l) => (true, format!("replica link {}, acknowledged {} s ago", l.state, l.lag_s)),
    };
    Some(Witness { who: who.to_string(), agrees: Some(agrees), said })
}

/// Whether the cluster lists `id` as a replica of this node.
fn owns(node: &Node, id: &InstanceId) -> bool {
    let Some(view) = &node.cluster else { return false };
    line(node, id).is_some_and(|l| l.master.as_deref() == Some(view.my_id.as_str()))
}

fn line<'a>(node: &'a Node, id: &InstanceId) -> Option<&'a ClusterNode> {
    node.cluster.as_ref()?.nodes.iter().find(|n| n.address == id.address())
}

fn peer(who: &InstanceId, node: &Node, id: &InstanceId) -> Option<Witness> {
    let line = line(node, id)?;
    let failed = line.flags.iter().any(|f| f == "fail" || f == "fail?");
    let said = format!("cluster flags {}", line.flags.join(","));
    // A peer needs cluster-node-timeout to notice; until then it cannot tell.
    let agrees = (failed || !line.connected).then_some(true);
    Some(Witness { who: format!("{who} (cluster)"), agrees, said })
}

fn sentinel(who: &InstanceId, watch: &Watch, id: &InstanceId) -> Option<Witness> {
    let said = |flags: &[String]| format!("flags {}", flags.join(","));
    let down = |flags: &[String]| flags.iter().any(|f| f == "s_down" || f == "o_down");
    if watch.master.address == id.address() {
        let flags: Vec<String> = watch.master.flags.split(',').map(str::to_string).collect();
        let agrees = down(&flags).then_some(true);
        return Some(Witness { who: who.to_string(), agrees, said: said(&flags) });
    }
    let replica = watch.replicas.iter().find(|r| r.address() == id.address())?;
    // A Sentinel needs down-after-milliseconds to notice.
    let agrees = down(&replica.flags).then_some(true);
    Some(Witness { who: who.to_string(), agrees, said: said(&replica.flags) })
}

/// Who names the node as a master now; an error when nobody is there to tell.
pub(super) fn named_master(snapshot: &Snapshot, id: &InstanceId) -> Result<Vec<String>, String> {
    let mut named = Vec::new();
    let mut asked = 0;
    for (who, watch) in snapshot.watches() {
        asked += 1;
        if watch.master.address == id.address() {
            named.push(who.to_string());
        }
    }
    for (who, node) in snapshot.answered().filter(|(who, _)| *who != id) {
        let follows = node.master.as_deref() == Some(id.address());
        let owns_slots = line(node, id).is_some_and(|l| !l.slots.is_empty());
        asked += 1;
        if follows || owns_slots {
            named.push(who.to_string());
        }
    }
    let master_there = snapshot.masters().iter().any(|m| *m != id);
    match (asked, snapshot.service.mode) {
        (0, _) => Err("no other node and no Sentinel answers".into()),
        (_, Mode::Standalone) if !master_there && named.is_empty() => {
            Err("no other node of the service is a master".into())
        }
        _ => Ok(named),
    }
}

/// Live copies of the node's shard besides itself: its master, and replicas attached to it. In a
/// cluster the shard is what the other nodes list, not a number of ours.
pub(super) fn copies(snapshot: &Snapshot, id: &InstanceId) -> Vec<String> {
    let lines = snapshot.answered().filter_map(|(_, n)| line(n, id));
    let master = lines.filter_map(|l| l.master.clone()).next();
    let mate = |node: &Node| match &node.cluster {
        None => true,
        Some(view) => {
            let own = view.nodes.iter().find(|n| n.id == view.my_id);
            let of = own.and_then(|n| n.master.as_ref()).unwrap_or(&view.my_id);
            Some(of) == master.as_ref()
        }
    };
    snapshot
        .answered()
        .filter(|(other, node)| *other != id && mate(node))
        .filter(|(_, node)| node.master.is_none() || node.link == "connected")
        .map(|(other, _)| other.to_string())
        .collect()
}

/// Whether those who decide about masters can decide.
pub(super) fn quorum(snapshot: &Snapshot) -> Result<String, String> {
    match snapshot.service.mode {
        Mode::Sentinel => {
            let fine = |w: &Watch| w.master.ckquorum.as_ref().is_some_and(|(ok, _)| *ok);
            let n = snapshot.watches().filter(|(_, w)| fine(w)).count();
            most("Sentinels have a quorum", n, snapshot.sentinels.len())
        }
        Mode::Cluster => {
            let views = snapshot.answered().filter_map(|(_, n)| n.cluster.as_ref());
            let voters = views.map(|v| v.nodes.iter().filter(|n| !n.slots.is_empty()).count());
            let masters =
                snapshot.answered().filter(|(_, n)| n.master.is_none() && owns_any(n)).count();
            most("masters answer", masters, voters.max().unwrap_or_default())
        }
        _ => Ok("no votes in this kind of service".into()),
    }
}

fn owns_any(node: &Node) -> bool {
    let Some(view) = &node.cluster else { return false };
    view.nodes.iter().any(|n| n.id == view.my_id && !n.slots.is_empty())
}

fn most(what: &str, n: usize, of: usize) -> Result<String, String> {
    let said = format!("{n} of {of} {what} (needed {})", of / 2 + 1);
    if n > of / 2 { Ok(said) } else { Err(said) }
}

/// How long a failover by the Sentinels takes at most, ms: detection, then about ten seconds.
pub(super) fn failover_ms(snapshot: &Snapshot) -> Option<i64> {
    let detect = snapshot.watches().map(|(_, w)| w.master.down_after_ms);
    detect.reduce(f64::max).map(|ms| ms as i64 + 10_000)
}

/// Failovers that run.
pub(super) fn failovers(snapshot: &Snapshot) -> Vec<String> {
    let mut all = Vec::new();
    for (who, watch) in snapshot.watches() {
        let busy = ["o_down", "failover_in_progress", "force_failover"];
        if let Some(flag) = watch.master.flags.split(',').find(|f| busy.contains(f)) {
            all.push(format!("{who} says {flag}"));
        }
    }
    for (who, node) in snapshot.answered() {
        let state = node.facts.text.failover_state.as_str();
        if !state.is_empty() && state != "no-failover" {
            all.push(format!("{who} says {state}"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use model::reading::ReplicaLink;

    use super::*;
    use crate::fixture::{edit, id, service, watch};

    /// Node 3, a replica, is silent.
    fn silent(mode: Mode) -> (Snapshot, InstanceId) {
        let mut snapshot = service(mode);
        snapshot.nodes[2].seen = Err("refused: connecting".into());
        (snapshot, id(3, 6379))
    }

    fn agree(snapshot: &Snapshot, node: &InstanceId) -> (usize, usize) {
        let all = witnesses(snapshot, node);
        let said = |word| all.iter().filter(|w| w.agrees == Some(word)).count();
        (said(true), said(false))
    }

    fn linked(snapshot: &mut Snapshot, lag_s: f64) {
        let address = id(3, 6379).address().to_string();
        let link = ReplicaLink { address, state: "online".into(), offset: 0.0, lag_s };
        edit(snapshot, 1).facts.replicas = vec![link];
    }

    #[test]
    fn a_dead_replica_is_seen_by_itself_its_master_and_later_by_sentinels_and_peers() {
        let (mut snapshot, node) = silent(Mode::Sentinel);
        assert_eq!(agree(&snapshot, &node), (2, 0), "Sentinels cannot tell yet");
        for n in 1..=3 {
            watch(&mut snapshot, n).replicas[1].flags.push("s_down".into());
        }
        assert_eq!(agree(&snapshot, &node), (5, 0));
        let (mut snapshot, node) = silent(Mode::Cluster);
        assert_eq!(agree(&snapshot, &node), (2, 0), "itself and its own master");
        let view = edit(&mut snapshot, 2).cluster.as_mut().unwrap();
        view.nodes[2].flags.push("fail".into());
        assert_eq!(agree(&snapshot, &node), (3, 0));
    }

    #[test]
    fn a_live_replica_link_contradicts_and_a_stale_one_agrees() {
        let (mut snapshot, node) = silent(Mode::Standalone);
        linked(&mut snapshot, 1.0);
        assert_eq!(agree(&snapshot, &node), (1, 1), "our path may be cut, not the node");
        linked(&mut snapshot, 30.0);
        assert_eq!(agree(&snapshot, &node), (2, 0), "a frozen node keeps its link for a while");
    }

    #[test]
    fn a_node_that_answers_contradicts_its_own_death() {
        let snapshot = service(Mode::Sentinel);
        assert_eq!(agree(&snapshot, &id(3, 6379)).1, 1);
    }

    #[test]
    fn a_master_is_named_by_sentinels_by_its_replicas_and_by_slots() {
        for mode in [Mode::Sentinel, Mode::Cluster, Mode::Standalone] {
            let snapshot = service(mode);
            let named = named_master(&snapshot, &id(1, 6379)).unwrap();
            assert!(named.len() >= 2, "{mode:?}: {named:?}");
            assert_eq!(named_master(&snapshot, &id(3, 6379)), Ok(Vec::new()), "{mode:?}");
        }
        let mut alone = service(Mode::Standalone);
        alone.nodes.iter_mut().for_each(|n| n.seen = Err("refused".into()));
        assert!(named_master(&alone, &id(1, 6379)).is_err(), "nobody can tell");
    }

    #[test]
    fn copies_are_the_live_nodes_of_the_same_shard() {
        let (mut snapshot, node) = silent(Mode::Cluster);
        assert_eq!(copies(&snapshot, &node).len(), 2);
        // Node 2 turns out to be a master of another shard.
        let other = edit(&mut snapshot, 2);
        other.master = None;
        other.cluster.as_mut().unwrap().nodes[1].master = None;
        assert_eq!(copies(&snapshot, &node), [id(1, 6379).to_string()]);
        snapshot.nodes[0].seen = Err("refused".into());
        assert_eq!(copies(&snapshot, &node), Vec::<String>::new());
    }

    #[test]
    fn a_quorum_needs_more_than_half_of_the_known_voters() {
        let mut snapshot = service(Mode::Sentinel);
        assert!(quorum(&snapshot).is_ok());
        snapshot.sentinels[0].seen = Err("refused".into());
        assert!(quorum(&snapshot).is_ok(), "2 of 3");
        watch(&mut snapshot, 2).master.ckquorum = Some((false, "NOQUORUM".into()));
        assert!(quorum(&snapshot).unwrap_err().contains("1 of 3"));
        let mut cluster = service(Mode::Cluster);
        assert!(quorum(&cluster).is_ok());
        cluster.nodes[0].seen = Err("refused".into());
        assert!(quorum(&cluster).unwrap_err().contains("0 of 1"));
    }

    #[test]
    fn a_failover_that_runs_is_a_competing_actor() {
        let mut snapshot = service(Mode::Sentinel);
        assert_eq!(failovers(&snapshot), Vec::<String>::new());
        watch(&mut snapshot, 2).master.flags = "master,failover_in_progress".into();
        edit(&mut snapshot, 1).facts.text.failover_state = "waiting-for-sync".into();
        assert_eq!(failovers(&snapshot).len(), 2);
    }
}

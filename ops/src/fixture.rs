//! A healthy Sentinel service, plain service and cluster shard as snapshots, for tests to spoil.

use model::field::Field;
use model::reading::{ClusterNode, ClusterView, SentinelMaster};
use model::service::Mode;
use model::{InstanceId, ServiceId, ZoneId};
use serde_json::json;

use crate::topology::{Node, NodeSeen, SentinelSeen, Snapshot, Watch};

/// Offset of everybody.
pub(crate) const OFFSET: f64 = 5_000_000.0;

/// `pay.cart@10.0.<n>.1:<port>`.
pub(crate) fn id(n: usize, port: u16) -> InstanceId {
    InstanceId::parse(&format!("pay.cart@10.0.{n}.1:{port}")).unwrap()
}

/// Master in zone 1, replicas in zones 2 and 3; three Sentinels if the mode is theirs.
pub(crate) fn service(mode: Mode) -> Snapshot {
    let service = json!({
        "id": ServiceId::parse("pay.cart").unwrap(), "system": "pay.shop", "display": "", "mode": mode,
        "tier": "core", "class": "zone", "profile": "store", "managed": true,
        "sentinel_master": "cart", "replicas_wanted": 2, "auth_user": "", "has_password": false
    });
    let nodes = (1..=3).map(|n| node(n, mode)).collect();
    let sentinels = match mode {
        Mode::Sentinel => (1..=3).map(sentinel).collect(),
        _ => Vec::new(),
    };
    Snapshot { service: serde_json::from_value(service).unwrap(), nodes, sentinels }
}

fn zone(n: usize) -> ZoneId {
    ZoneId::parse(&format!("az-{n}")).unwrap()
}

fn node(n: usize, mode: Mode) -> NodeSeen {
    let mut node = Node { offset: OFFSET, ..Node::default() };
    node.facts.text.run_id = format!("run-{n}");
    node.facts.text.version = "7.0.15".into();
    node.facts.values.set(Field::Maxmemory, 0.0);
    if n > 1 {
        node.master = Some(id(1, 6379).address().to_string());
        node.link = "connected".into();
        node.facts.values.set(Field::SlavePriority, 100.0);
    }
    if mode == Mode::Cluster {
        node.cluster = Some(view(n));
        for field in [Field::ClusterState, Field::ClusterSlotsPfail, Field::ClusterSlotsFail] {
            node.facts.values.set(field, f64::from(u8::from(field == Field::ClusterState)));
        }
        node.facts.values.set(Field::ClusterSlotsOk, 16384.0);
    }
    NodeSeen { id: id(n, 6379), zone: zone(n), shard: 0, seen: Ok(node) }
}

fn view(my: usize) -> ClusterView {
    let line = |n: usize| ClusterNode {
        id: format!("node-{n}"),
        address: id(n, 6379).address().to_string(),
        master: (n > 1).then(|| "node-1".to_string()),
        slots: if n == 1 { vec![(0, 16383)] } else { Vec::new() },
        connected: true,
        epoch: 1,
        ..ClusterNode::default()
    };
    ClusterView { my_id: format!("node-{my}"), nodes: (1..=3).map(line).collect() }
}

fn sentinel(n: usize) -> SentinelSeen {
    let master = SentinelMaster {
        name: "cart".into(),
        address: id(1, 6379).address().to_string(),
        flags: "master".into(),
        config_epoch: 3.0,
        failover_timeout_ms: 20_000.0,
        ckquorum: Some((true, "OK".into())),
        ..SentinelMaster::default()
    };
    let replica = |n: usize| link::reply::sentinel::Replica {
        ip: format!("10.0.{n}.1"),
        port: 6379,
        priority: 100,
        flags: vec!["slave".into()],
        ..Default::default()
    };
    let watch = Watch { master, replicas: vec![replica(2), replica(3)] };
    SentinelSeen { id: id(n, 26379), zone: zone(n), seen: Ok(watch) }
}

/// The answer of node `n`, to be spoiled.
pub(crate) fn edit(now: &mut Snapshot, n: usize) -> &mut Node {
    now.nodes[n - 1].seen.as_mut().unwrap()
}

/// The answer of Sentinel `n`, to be spoiled.
pub(crate) fn watch(now: &mut Snapshot, n: usize) -> &mut Watch {
    now.sentinels[n - 1].seen.as_mut().unwrap()
}

/// Node `n` is master now; the common history ends `beyond` bytes before its offset.
pub(crate) fn promote(now: &mut Snapshot, n: usize, beyond: f64) {
    let node = edit(now, n);
    (node.master, node.link) = (None, String::new());
    node.offset = OFFSET + beyond;
    node.facts.values.set(Field::SecondReplOffset, OFFSET + 1.0);
}

/// Node `n` follows node `of`.
pub(crate) fn follow(now: &mut Snapshot, n: usize, of: usize) {
    let node = edit(now, n);
    (node.master, node.link) = (Some(id(of, 6379).address().to_string()), "connected".into());
}

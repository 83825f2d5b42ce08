//! Facts about what others may say of an instance that is silent.

use model::reading::{ClusterNode, ClusterView, Facts, Failure, ReplicaLink, SentinelMaster};
use model::service::InstanceKind;

use super::*;

const GONE: &str = "10.0.0.1:6379";

fn row(facts: Facts) -> Row {
    let instance = Instance {
        id: "pay.cart@10.0.0.2:6379".parse().unwrap(),
        kind: InstanceKind::Redis,
        zone: "az-2".parse().unwrap(),
        host: None,
        shard: 0,
    };
    Row {
        instance: Arc::new(instance),
        reading: Arc::new(reading(facts, None)),
        last_good: None,
        role_since: None,
        verdict: Verdict::Up,
        score: None,
    }
}

fn reading(facts: Facts, reason: Option<Reason>) -> Reading {
    Reading {
        at: At::from_ms(1),
        began: At::from_ms(1),
        up: reason.is_none(),
        failure: reason.map(|reason| Failure { reason, detail: String::new() }),
        ping_us: None,
        duration_us: 0,
        connect_us: 0,
        failed_in_row: 0,
        interval_ms: 15_000,
        facts,
    }
}

fn asked(facts: Facts) -> Option<bool> {
    vote(&row(facts), GONE, "cart")
}

#[test]
fn a_sentinel_speaks_of_its_own_master_only() {
    let seen = |name: &str, address: &str, flags: &str| {
        asked(Facts {
            role: Some(Role::Sentinel),
            masters: vec![SentinelMaster {
                name: name.into(),
                address: address.into(),
                flags: flags.into(),
                ..SentinelMaster::default()
            }],
            ..Facts::default()
        })
    };
    assert_eq!(seen("cart", GONE, "master,s_down"), Some(true));
    assert_eq!(seen("cart", GONE, "o_down,master"), Some(true));
    assert_eq!(seen("cart", GONE, "master"), Some(false));
    assert_eq!(seen("other", GONE, "master,s_down"), None);
    assert_eq!(seen("cart", "10.0.0.9:6379", "master,s_down"), None);
}

#[test]
fn a_replica_speaks_of_the_master_it_follows() {
    let seen = |upstream: &str, link: &str, silent_s: f64| {
        let mut facts = Facts {
            role: Some(Role::Replica),
            upstream: Some(upstream.into()),
            link_state: Some(link.into()),
            ..Facts::default()
        };
        facts.values.set(Field::MasterLastIoSecondsAgo, silent_s);
        asked(facts)
    };
    assert_eq!(seen(GONE, "connected", 1.0), Some(false));
    assert_eq!(seen(GONE, "connect", -1.0), Some(true));
    assert_eq!(seen(GONE, "connected", 30.0), Some(true));
    assert_eq!(seen("10.0.0.9:6379", "connect", -1.0), None);
}

#[test]
fn a_master_speaks_of_the_replicas_it_lists() {
    let seen = |address: &str, lag_s: f64| {
        let link =
            ReplicaLink { address: address.into(), state: "online".into(), offset: 1.0, lag_s };
        asked(Facts { role: Some(Role::Master), replicas: vec![link], ..Facts::default() })
    };
    assert_eq!(seen(GONE, 1.0), Some(false));
    assert_eq!(seen(GONE, 12.0), Some(true));
    assert_eq!(seen("10.0.0.9:6379", 12.0), None);
}

#[test]
fn a_cluster_node_speaks_of_the_nodes_it_knows() {
    let seen = |flags: &[&str]| {
        let node = ClusterNode {
            address: GONE.into(),
            flags: flags.iter().map(|f| f.to_string()).collect(),
            ..ClusterNode::default()
        };
        let cluster = Some(ClusterView { my_id: "me".into(), nodes: vec![node] });
        asked(Facts { role: Some(Role::Master), cluster, ..Facts::default() })
    };
    assert_eq!(seen(&["master"]), Some(false));
    assert_eq!(seen(&["master", "fail?"]), Some(true));
    assert_eq!(seen(&["slave", "fail"]), Some(true));
}

#[test]
fn who_does_not_answer_us_says_nothing() {
    let mut silent = row(Facts::default());
    silent.reading = Arc::new(reading(Facts::default(), Some(Reason::Timeout)));
    assert_eq!(vote(&silent, GONE, "cart"), None);
}

#[test]
fn an_error_is_an_answer_and_silence_is_none() {
    for (reason, wanted) in [
        (Reason::Auth, true),
        (Reason::Loading, true),
        (Reason::Timeout, false),
        (Reason::Refused, false),
    ] {
        assert_eq!(answers(&reading(Facts::default(), Some(reason))), wanted, "{reason:?}");
    }
}

#[test]
fn an_observer_is_cut_off_when_most_of_a_zone_vanished_at_once() {
    let zone = |answering, all, spread_ms: i64| ZoneSeen {
        answering,
        all,
        vanished: Some((At::from_ms(100_000), At::from_ms(100_000 + spread_ms))),
    };
    assert!(isolated(&zone(1, 5, 14_000), 15_000));
    assert!(!isolated(&zone(1, 4, 14_000), 15_000), "too few to tell");
    assert!(!isolated(&zone(3, 6, 14_000), 15_000), "half is not most");
    assert!(!isolated(&zone(1, 5, 60_000), 15_000), "one after the other");
    assert!(!isolated(&ZoneSeen { answering: 5, all: 5, vanished: None }, 15_000));
}

//! Zones that are lost on paper.

use model::reading::Role;
use model::score::Level;

use super::super::tests::{cluster, edit, sentinel_service};
use super::*;
use crate::fixture::{T0, Tree, instance};

fn lose(tree: &Tree, zone: &str) -> ZoneLoss {
    let zone = ZoneId::parse(zone).unwrap();
    lose_zone(
        &tree.inventory,
        &Policies::default(),
        &tree.rows,
        &zone,
        &|_| Load::default(),
        T0 + 1000,
    )
}

fn put(tree: &mut Tree, address: &str, zone: &str) {
    let zone = ZoneId::parse(zone).unwrap();
    let row = tree.rows.iter_mut().find(|r| r.instance.id.address() == address).unwrap();
    let moved = model::service::Instance { zone, ..(*row.instance).clone() };
    tree.inventory.instances.insert(moved.id.clone(), moved.clone());
    let mut new = Row::clone(row);
    new.instance = Arc::new(moved);
    *row = Arc::new(new);
}

fn offset(tree: &mut Tree, address: &str, bytes: f64) {
    edit(tree, address, |r| r.facts.offset = Some(bytes));
}

fn level(loss: &ZoneLoss, level: Level) -> (Option<f64>, Option<f64>) {
    loss.levels.iter().find(|l| l.level == level).map(|l| (l.before, l.after)).unwrap()
}

#[test]
fn a_lost_master_moves_to_the_replica_with_the_most_data() {
    let mut tree = sentinel_service();
    for (address, bytes) in [("10.0.0.1:6379", 120.0), ("10.0.0.2:6379", 90.0)] {
        offset(&mut tree, address, bytes);
    }
    offset(&mut tree, "10.0.0.3:6379", 100.0);
    let loss = lose(&tree, "az-1");
    assert_eq!((loss.instances, loss.ok, loss.degraded, loss.down), (2, 0, 1, 0));
    let cart = &loss.services[0];
    let (from, to) = ("10.0.0.1:6379".to_string(), "10.0.0.3:6379".to_string());
    assert_eq!(
        cart.moves,
        [model::zone_loss::MasterMove { shard: 0, from, to, lag_bytes: Some(20.0) }]
    );
    assert_eq!(cart.breaks, ["shard 0: 1 of 2 required replicas"]);
    let (before, after) = level(&loss, Level::Service);
    assert_eq!(before, Some(100.0));
    assert!(after.is_some_and(|s| s > 80.0 && s < 100.0), "{after:?}");
}

#[test]
fn a_priority_comes_before_the_data_and_zero_is_never_chosen() {
    let mut tree = sentinel_service();
    offset(&mut tree, "10.0.0.3:6379", 100.0);
    let priority = |tree: &mut Tree, address: &str, value| {
        edit(tree, address, |r| {
            r.facts.values.set(model::field::Field::SlavePriority, value);
        });
    };
    priority(&mut tree, "10.0.0.2:6379", 10.0);
    assert_eq!(lose(&tree, "az-1").services[0].moves[0].to, "10.0.0.2:6379");
    priority(&mut tree, "10.0.0.2:6379", 0.0);
    assert_eq!(lose(&tree, "az-1").services[0].moves[0].to, "10.0.0.3:6379");
    priority(&mut tree, "10.0.0.3:6379", 0.0);
    let loss = lose(&tree, "az-1");
    assert_eq!((loss.down, &loss.services[0].without_candidate), (1, &vec![0]));
    assert_eq!(level(&loss, Level::Service).1, Some(0.0));
}

#[test]
fn without_a_quorum_nobody_is_promoted() {
    let mut tree = sentinel_service();
    put(&mut tree, "10.0.0.2:26379", "az-1");
    let loss = lose(&tree, "az-1");
    let cart = &loss.services[0];
    assert!(cart.quorum_lost && cart.moves.is_empty(), "{cart:?}");
    assert_eq!((cart.outcome, level(&loss, Level::Tenant).1), (Outcome::Down, Some(0.0)));
}

#[test]
fn a_lost_replica_moves_nobody_and_a_zone_without_anything_changes_nothing() {
    let tree = sentinel_service();
    let loss = lose(&tree, "az-2");
    assert_eq!((loss.services[0].outcome, loss.services[0].moves.len()), (Outcome::Degraded, 0));
    let nothing = lose(&tree, "az-9");
    assert_eq!((nothing.ok, nothing.services.len(), nothing.levels.len()), (1, 0, 0));
}

/// Three shards in three zones; the replica of each stands in the next one.
fn spread() -> Tree {
    let mut tree = cluster(3, 1, |_| 100.0);
    for i in 0..3_u32 {
        let zone = |n: u32| format!("az-{}", n % 3 + 1);
        put(&mut tree, &format!("10.0.0.{}:7000", i + 1), &zone(i));
        let address = format!("10.9.9.{}:7000", i + 1);
        tree.node(instance("pay.cat", &address, &zone(i + 1), i), Role::Replica, Some(100.0));
    }
    tree
}

#[test]
fn a_cluster_promotes_while_most_masters_are_left() {
    let loss = lose(&spread(), "az-1");
    let cat = &loss.services[0];
    assert_eq!((cat.outcome, cat.moves.len(), cat.lost.len()), (Outcome::Degraded, 1, 2));
    assert_eq!(cat.moves[0].to, "10.9.9.1:7000");
    assert!(level(&loss, Level::Service).1.is_some_and(|s| s > 60.0), "{:?}", loss.levels);
    let mut two = spread();
    put(&mut two, "10.0.0.2:7000", "az-1");
    let loss = lose(&two, "az-1");
    let cat = &loss.services[0];
    assert!(cat.quorum_lost && cat.moves.is_empty() && cat.outcome == Outcome::Down, "{cat:?}");
}

#[test]
fn a_shard_without_a_candidate_stops_a_cluster_that_wants_full_coverage() {
    let mut tree = spread();
    put(&mut tree, "10.9.9.1:7000", "az-1");
    let loss = lose(&tree, "az-1");
    let cat = &loss.services[0];
    assert_eq!((cat.outcome, &cat.without_candidate), (Outcome::Down, &vec![0]));
    assert!(cat.reasons.iter().any(|r| r.contains("full coverage")), "{cat:?}");
}

#[test]
fn a_standalone_master_is_down_with_its_zone_whatever_replicas_it_has() {
    let mut tree = Tree::default();
    tree.single("pay.one", "pay.shop", model::service::Tier::Core, Some(90.0));
    tree.node(instance("pay.one", "10.0.0.2:6379", "az-2", 0), Role::Replica, Some(90.0));
    let loss = lose(&tree, "az-1");
    assert_eq!((loss.down, loss.services[0].outcome), (1, Outcome::Down));
}

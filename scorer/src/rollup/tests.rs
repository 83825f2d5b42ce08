//! The worked checks of the roll-up, gates of shard and service.

mod properties;

use model::board::Rollup;
use model::field::Field;
use model::reading::{ClusterNode, ClusterView, Reading, Role, SentinelMaster};
use model::score::Grade;
use model::service::{Class, Instance, InstanceKind};
use model::verdict::Verdict;

use super::*;
use crate::fixture::{T0, Tree, instance, reading, service, sum};

fn get<'a>(out: &'a Rollup, level: &'static str, id: &str) -> &'a Explained {
    let found = out.levels.get(Level::parse(level).unwrap(), id);
    found.unwrap_or_else(|| panic!("no {level} {id}"))
}

/// The same object in another roll-up.
fn like<'a>(out: &'a Rollup, of: &Explained) -> &'a Explained {
    get(out, of.level.as_str(), &of.id)
}

fn score(out: &Rollup, level: &'static str, id: &str) -> Option<f64> {
    get(out, level, id).score
}

fn holding(explained: &Explained) -> Vec<&str> {
    explained.gates.iter().filter(|g| g.holds).map(|g| g.gate.as_str()).collect()
}

/// Changes the latest good reading of a row.
pub(super) fn edit(tree: &mut Tree, address: &str, f: impl FnOnce(&mut Reading)) {
    let row = tree.rows.iter_mut().find(|r| r.instance.id.address() == address).unwrap();
    let row = Arc::make_mut(row);
    let mut good = row.last_good.as_deref().unwrap().clone();
    f(&mut good);
    let good = Arc::new(good);
    if row.reading.up {
        row.reading = good.clone();
    }
    row.last_good = Some(good);
}

/// A cluster of `n` shards without replicas, equal slots, each with this score (0 = down).
pub(super) fn cluster(n: u32, replicas: u32, score: impl Fn(u32) -> f64) -> Tree {
    let mut tree = Tree::default();
    let mode = Mode::Cluster;
    tree.service(service("pay.cat", "pay.shop", Tier::Important, mode, replicas));
    let address = |i: u32| format!("10.0.{}.{}:7000", i / 200, i % 200 + 1);
    let (step, dead) = (16384.0 / f64::from(n), (0..n).filter(|i| score(*i) == 0.0).count());
    let slots = |i: u32| {
        let at = |i: u32| (f64::from(i) * step).round() as u16;
        vec![(at(i), if i + 1 == n { 16383 } else { at(i + 1) - 1 })]
    };
    let nodes: Vec<ClusterNode> = (0..n)
        .map(|i| ClusterNode {
            id: format!("n{i}"),
            address: address(i),
            slots: slots(i),
            ..ClusterNode::default()
        })
        .collect();
    for i in 0..n {
        tree.node(instance("pay.cat", &address(i), "az-1", i), Role::Master, Some(score(i)));
        edit(&mut tree, &address(i), |r| {
            r.facts.cluster = Some(ClusterView { my_id: format!("n{i}"), nodes: nodes.clone() });
            r.facts.values.set(Field::ClusterSlotsAssigned, 16384.0);
            r.facts.values.set(Field::ClusterSlotsFail, (dead as f64 * step).round());
            r.facts.values.set(Field::ClusterState, 1.0);
        });
    }
    tree
}

/// Sentinel service: master az-1, replicas az-2 and az-3, three Sentinels with quorum 2.
pub(super) fn sentinel_service() -> Tree {
    let mut tree = Tree::default();
    let mut cart = service("pay.cart", "pay.shop", Tier::Core, Mode::Sentinel, 2);
    cart.class = Class::Zone;
    tree.service(cart);
    for (i, role) in [Role::Master, Role::Replica, Role::Replica].into_iter().enumerate() {
        let (address, zone) = (format!("10.0.0.{}:6379", i + 1), format!("az-{}", i + 1));
        tree.node(instance("pay.cart", &address, &zone, 0), role, Some(100.0));
        let kind = InstanceKind::Sentinel;
        let address = format!("10.0.0.{}:26379", i + 1);
        let watcher = Instance { kind, ..instance("pay.cart", &address, &zone, 0) };
        tree.node(watcher, Role::Sentinel, Some(100.0));
        edit(&mut tree, &address, |r| {
            r.facts.masters = vec![SentinelMaster {
                name: "mymaster".into(),
                address: "10.0.0.1:6379".into(),
                sentinels: 3.0,
                quorum: 2.0,
                ..SentinelMaster::default()
            }];
        });
    }
    tree
}

/// Sets the score of a row; 0 makes it down, none unknown.
fn rescore(tree: &mut Tree, address: &str, score: Option<f64>) {
    let row = tree.rows.iter_mut().find(|r| r.instance.id.address() == address).unwrap();
    let (old, instance) = (row.clone(), row.instance.clone());
    let role = old.last_good.as_ref().and_then(|r| r.facts.role).unwrap();
    let mut new = crate::fixture::row(&instance, role, score);
    if let Some(good) = old.last_good.clone() {
        new.reading = if new.reading.up { good.clone() } else { new.reading };
        new.last_good = Some(good);
    }
    *row = Arc::new(new);
}

#[test]
fn one_dead_shard_in_a_hundred_halves_the_service() {
    let out = cluster(100, 0, |i| if i == 7 { 0.0 } else { 100.0 }).rollup();
    let service = get(&out, "service", "pay.cat");
    assert_eq!(score(&out, "shard", "pay.cat/7"), Some(0.0));
    // 16384 slots do not divide by 100: the dead shard has 164 of them, 1.001 %.
    assert!((service.score.unwrap() - 49.5).abs() < 0.01, "{:?}", service.score);
    let gate = &service.gates[0];
    assert!(gate.holds && !gate.binds && (gate.cap - 79.0).abs() < 0.01, "{gate:?}");
    assert_eq!(sum(service), 10_000);
}

#[test]
fn survivors_that_report_the_hole_lower_it_to_36() {
    let out = cluster(100, 0, |i| if i == 7 { 0.0 } else { 72.8 }).rollup();
    assert!((score(&out, "service", "pay.cat").unwrap() - 36.0).abs() < 0.05);
}

#[test]
fn with_full_coverage_one_dead_shard_is_the_end_of_the_service() {
    let mut tree = cluster(100, 0, |i| if i == 7 { 0.0 } else { 20.0 });
    for i in 0..100 {
        let address = format!("10.0.{}.{}:7000", i / 200, i % 200 + 1);
        edit(&mut tree, &address, |r| r.facts.values.set(Field::ClusterState, 0.0));
    }
    let out = tree.rollup();
    assert_eq!(score(&out, "service", "pay.cat"), Some(0.0));
    assert_eq!(sum(get(&out, "service", "pay.cat")), 10_000);
}

#[test]
fn one_dead_in_three_is_a_third() {
    let out = cluster(3, 0, |i| if i == 0 { 0.0 } else { 100.0 }).rollup();
    assert!((score(&out, "service", "pay.cat").unwrap() - 33.3).abs() < 0.05);
}

#[test]
fn an_empty_shard_has_no_weight() {
    let mut tree = cluster(3, 0, |_| 100.0);
    tree.node(instance("pay.cat", "10.9.9.9:7000", "az-1", 3), Role::Master, Some(50.0));
    assert_eq!(score(&tree.rollup(), "service", "pay.cat"), Some(100.0));
}

#[test]
fn one_dead_core_service_of_twenty_caps_its_system_at_20_and_its_tenant_at_40() {
    let mut tree = Tree::default();
    for i in 0..20 {
        let score = if i == 3 { 0.0 } else { 100.0 };
        tree.single(&format!("pay.s{i}"), "pay.shop", Tier::Core, Some(score));
    }
    let out = tree.rollup();
    let system = get(&out, "system", "pay.shop");
    assert_eq!((system.raw, system.score), (Some(57.0), Some(20.0)));
    assert_eq!((holding(system), sum(system)), (vec!["worst_core"], 10_000));
    assert!(score(&out, "tenant", "pay").unwrap() <= 40.0);
    assert_eq!(sum(get(&out, "tenant", "pay")), 10_000);
    assert_eq!(sum(get(&out, "fleet", "")), 10_000);
}

#[test]
fn a_test_tier_service_at_zero_leaves_its_system_untouched() {
    let mut tree = Tree::default();
    tree.single("pay.a", "pay.shop", Tier::Core, Some(97.0));
    tree.single("pay.t", "pay.shop", Tier::Test, Some(0.0));
    let out = tree.rollup();
    assert_eq!(score(&out, "system", "pay.shop"), Some(97.0));
    assert_eq!(get(&out, "system", "pay.shop").coverage, Some(1.0));
}

#[test]
fn where_every_child_has_weight_zero_all_count() {
    let mut tree = Tree::default();
    tree.single("lab.a", "lab.x", Tier::Test, Some(100.0));
    tree.single("lab.b", "lab.x", Tier::Test, Some(50.0));
    assert_eq!(score(&tree.rollup(), "system", "lab.x"), Some(0.4 * 50.0 + 0.6 * 75.0));
}

#[test]
fn unknown_services_lower_coverage_to_partial_and_then_to_no_number() {
    let mut tree = Tree::default();
    for i in 0..10 {
        tree.single(&format!("pay.s{i}"), "pay.shop", Tier::General, Some(100.0));
    }
    for (unknown, coverage, partial, grade) in
        [(2, 0.8, false, Grade::A), (3, 0.7, true, Grade::B), (5, 0.5, true, Grade::Unknown)]
    {
        for i in 0..unknown {
            let row = tree.rows[i].instance.clone();
            tree.rows[i] = Arc::new(crate::fixture::row(&row, Role::Master, None));
        }
        let out = tree.rollup();
        let system = get(&out, "system", "pay.shop");
        assert!((system.coverage.unwrap() - coverage).abs() < 1e-9);
        assert_eq!((system.partial, system.grade), (partial, grade), "{unknown} unknown");
        assert_eq!(system.unknown.len(), unknown);
        assert_eq!(system.score.is_none(), grade == Grade::Unknown);
    }
}

#[test]
fn instances_of_a_zone_are_seen_together_by_the_operator_of_tenants() {
    let scored = |score| crate::fixture::scored("x", score);
    let (dead, well, blind) = (scored(Some(0.0)), scored(Some(100.0)), scored(None));
    let of = |members: &[(&'static str, Tier, Option<&Explained>)]| {
        let seen = view(members.iter().copied());
        (seen.score, seen.grade(), seen.coverage)
    };
    let core = Tier::Core;
    // 0.3 · 0 + 0.7 · 75
    let four = [
        ("a", core, Some(&dead)),
        ("b", core, Some(&well)),
        ("c", core, Some(&well)),
        ("d", core, Some(&well)),
    ];
    assert_eq!(of(&four), (Some(52.5), Grade::D, 1.0));
    assert_eq!(view(four.into_iter()).worst, Some(("a", 0.0)));
    // A test's death is not counted beside a core service, and what nobody sees lowers coverage.
    let tier = [("a", Tier::Test, Some(&dead)), ("b", core, Some(&well))];
    assert_eq!(of(&tier), (Some(100.0), Grade::A, 1.0));
    let three = [("a", core, Some(&well)), ("b", core, Some(&well)), ("c", core, Some(&blind))];
    assert_eq!(of(&three).1, Grade::B, "partial");
    assert_eq!(of(&three[1..]).0, None, "half of it is not enough");
    assert_eq!(of(&[("a", core, None)]).1, Grade::Unknown);
    assert_eq!(of(&[]), (None, Grade::Unknown, 0.0));
}

#[test]
fn why_nothing_is_known_is_said_once_however_far_up() {
    let mut tree = Tree::default();
    tree.single("pay.s", "pay.shop", Tier::General, None);
    let out = tree.rollup();
    for (level, id) in [("system", "pay.shop"), ("tenant", "pay")] {
        let reason = &get(&out, level, id).reason;
        assert_eq!(reason.matches("nothing of it is known yet").count(), 1, "{level}: {reason}");
        assert!(reason.contains(": "), "{level} says why: {reason}");
    }
}

#[test]
fn a_healthy_sentinel_service_is_100_with_no_gate() {
    let out = sentinel_service().rollup();
    for (level, id) in [("shard", "pay.cart/0"), ("service", "pay.cart"), ("fleet", "")] {
        let explained = get(&out, level, id);
        assert_eq!((explained.score, explained.grade), (Some(100.0), Grade::A), "{level}");
        assert_eq!(holding(explained), Vec::<&str>::new(), "{level}");
    }
}

#[test]
fn a_shard_is_its_master_and_a_little_of_its_replicas() {
    let mut tree = sentinel_service();
    rescore(&mut tree, "10.0.0.1:6379", Some(80.0));
    rescore(&mut tree, "10.0.0.2:6379", Some(60.0));
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!(shard.score, Some(0.85 * 80.0 + 0.15 * 80.0));
    let bars: Vec<_> = shard.bars.iter().map(|b| (b.signal.as_str(), b.points)).collect();
    assert_eq!(bars, [("10.0.0.1:6379", 17.0), ("10.0.0.2:6379", 3.0)]);
}

#[test]
fn a_missing_required_replica_counts_zero() {
    let mut tree = sentinel_service();
    let gone = tree.rows.iter().position(|r| r.instance.id.address() == "10.0.0.3:6379").unwrap();
    let id = tree.rows.remove(gone).instance.id.clone();
    tree.inventory.instances.remove(&id);
    let out = tree.rollup();
    assert_eq!(score(&out, "shard", "pay.cart/0"), Some(92.5));
}

#[test]
fn a_dead_replica_costs_its_half_of_the_replicas() {
    let mut tree = sentinel_service();
    rescore(&mut tree, "10.0.0.3:6379", Some(0.0));
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, holding(shard)), (Some(92.5), vec![]));
    assert_eq!(shard.bars[0].text, "replica 10.0.0.3:6379 at 0.00");
}

#[test]
fn a_dead_master_without_successor_is_zero() {
    let mut tree = sentinel_service();
    rescore(&mut tree, "10.0.0.1:6379", Some(0.0));
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, holding(shard)), (Some(0.0), vec!["no_master"]));
    assert_eq!(sum(shard), 10_000);
    assert_eq!(score(&out, "system", "pay.shop"), Some(0.0));
}

#[test]
fn while_a_replica_is_out_of_sight_nobody_knows_that_a_dead_master_has_no_successor() {
    let mut tree = sentinel_service();
    rescore(&mut tree, "10.0.0.1:6379", Some(0.0));
    for cut in [false, true] {
        rescore(&mut tree, "10.0.0.3:6379", None);
        let link = if cut { 0.0 } else { 1.0 };
        edit(&mut tree, "10.0.0.2:6379", |r| r.facts.values.set(Field::MasterLinkStatus, link));
        let out = tree.rollup();
        let shard = get(&out, "shard", "pay.cart/0");
        assert_eq!((shard.score, holding(shard)), (None, vec![]));
        assert!(shard.reason.contains("may have been promoted"), "{}", shard.reason);
        assert!(shard.coverage.unwrap() < 0.15 && shard.confidence < 0.15, "{shard:?}");
    }
}

#[test]
fn after_a_failover_the_dead_old_master_is_a_dead_replica() {
    let mut tree = sentinel_service();
    rescore(&mut tree, "10.0.0.1:6379", Some(0.0));
    edit(&mut tree, "10.0.0.2:6379", |r| r.facts.role = Some(Role::Master));
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, holding(shard)), (Some(92.5), vec![]));
}

#[test]
fn a_master_out_of_sight_makes_the_shard_unknown() {
    let mut tree = sentinel_service();
    rescore(&mut tree, "10.0.0.1:6379", None);
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, shard.grade), (None, Grade::Unknown));
    assert!(shard.reason.contains("10.0.0.1:6379"), "{}", shard.reason);
    assert_eq!(get(&out, "tenant", "pay").grade, Grade::Unknown);
}

#[test]
fn a_replica_out_of_sight_lowers_coverage_only() {
    let mut tree = sentinel_service();
    rescore(&mut tree, "10.0.0.3:6379", None);
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, shard.coverage), (Some(100.0), Some(0.925)));
}

#[test]
fn two_writable_masters_cap_the_shard_at_10() {
    let mut tree = sentinel_service();
    edit(&mut tree, "10.0.0.2:6379", |r| r.facts.role = Some(Role::Master));
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, holding(shard)), (Some(10.0), vec!["two_masters"]));
}

#[test]
fn a_row_from_before_a_failover_makes_no_second_master() {
    let mut tree = sentinel_service();
    edit(&mut tree, "10.0.0.2:6379", |r| r.facts.role = Some(Role::Master));
    for row in tree.rows.iter_mut().filter(|r| r.instance.id.address() == "10.0.0.2:6379") {
        // It began to be a master after the old one was last asked.
        let row = Arc::make_mut(row);
        row.role_since = Some(row.reading.at + 1);
        let mut later = (*row.reading).clone();
        later.at = later.at + 1;
        row.reading = Arc::new(later);
    }
    let out = tree.rollup();
    assert_eq!(holding(get(&out, "shard", "pay.cart/0")), Vec::<String>::new());
}

#[test]
fn a_promotion_seen_by_the_old_master_first_is_unknown_and_not_a_shard_without_master() {
    let mut tree = sentinel_service();
    edit(&mut tree, "10.0.0.1:6379", |r| {
        r.facts.role = Some(Role::Replica);
        r.facts.upstream = Some("10.0.0.2:6379".into());
        r.at = r.at + 1;
    });
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, holding(shard)), (None, vec![]));
    assert!(shard.reason.contains("10.0.0.2:6379"), "{}", shard.reason);
}

#[test]
fn a_lost_sentinel_quorum_is_no_failover_and_unknown_sentinels_prove_nothing() {
    let mut tree = sentinel_service();
    rescore(&mut tree, "10.0.0.2:26379", Some(0.0));
    assert_eq!(score(&tree.rollup(), "shard", "pay.cart/0"), Some(100.0), "two of three vote");
    rescore(&mut tree, "10.0.0.3:26379", None);
    assert_eq!(score(&tree.rollup(), "shard", "pay.cart/0"), Some(100.0), "it may vote");
    rescore(&mut tree, "10.0.0.3:26379", Some(0.0));
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, holding(shard)), (Some(59.0), vec!["no_failover"]));
}

#[test]
fn sentinels_that_answer_us_but_not_each_other_cannot_fail_over() {
    let mut tree = sentinel_service();
    let say = |tree: &mut Tree, n: u8, reached: bool| {
        edit(tree, &format!("10.0.0.{n}:26379"), |r| {
            r.facts.masters[0].ckquorum = Some((reached, String::new()));
        });
    };
    say(&mut tree, 1, false);
    say(&mut tree, 2, false);
    assert_eq!(score(&tree.rollup(), "shard", "pay.cart/0"), Some(100.0), "one was not asked");
    say(&mut tree, 3, true);
    assert_eq!(score(&tree.rollup(), "shard", "pay.cart/0"), Some(100.0), "one reaches them");
    say(&mut tree, 3, false);
    let out = tree.rollup();
    assert_eq!(holding(get(&out, "shard", "pay.cart/0")), ["no_failover"]);
    rescore(&mut tree, "10.0.0.3:26379", None);
    assert_eq!(score(&tree.rollup(), "shard", "pay.cart/0"), Some(100.0), "it may vote");
}

#[test]
fn without_a_replica_fit_for_promotion_there_is_no_failover() {
    let mut tree = sentinel_service();
    edit(&mut tree, "10.0.0.2:6379", |r| r.facts.values.set(Field::SlavePriority, 0.0));
    edit(&mut tree, "10.0.0.3:6379", |r| r.facts.values.set(Field::MasterLinkStatus, 0.0));
    let out = tree.rollup();
    assert_eq!(holding(get(&out, "shard", "pay.cart/0")), ["no_failover"]);
}

#[test]
fn a_cluster_that_lost_most_masters_cannot_fail_over() {
    let mut tree = cluster(3, 1, |i| if i < 2 { 0.0 } else { 100.0 });
    tree.node(instance("pay.cat", "10.9.9.9:7000", "az-2", 2), Role::Replica, Some(100.0));
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cat/2");
    assert_eq!((shard.score, holding(shard)), (Some(59.0), vec!["no_failover"]));
}

#[test]
fn a_standalone_master_whose_replicas_are_all_gone_is_capped_at_69() {
    let mut tree = Tree::default();
    tree.service(service("pay.one", "pay.shop", Tier::General, Mode::Standalone, 1));
    tree.node(instance("pay.one", "10.0.0.1:6379", "az-1", 0), Role::Master, Some(100.0));
    tree.node(instance("pay.one", "10.0.0.2:6379", "az-2", 0), Role::Replica, Some(0.0));
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.one/0");
    assert_eq!((shard.raw, shard.score), (Some(85.0), Some(69.0)));
    assert_eq!(holding(shard), ["no_replica"]);
}

#[test]
fn a_zone_class_service_in_one_zone_is_capped_at_79() {
    let mut tree = sentinel_service();
    for instance in tree.inventory.instances.values_mut() {
        instance.zone = model::ZoneId::parse("az-1").unwrap();
    }
    let out = tree.rollup();
    let shard = get(&out, "shard", "pay.cart/0");
    assert_eq!((shard.score, holding(shard)), (Some(79.0), vec!["one_zone"]));
}

#[test]
fn an_expected_instance_without_a_row_is_unknown_and_not_green() {
    let mut tree = Tree::default();
    tree.service(service("pay.new", "pay.shop", Tier::General, Mode::Standalone, 0));
    tree.expect(instance("pay.new", "10.0.0.1:6379", "az-1", 0));
    let out = tree.rollup();
    assert_eq!(get(&out, "service", "pay.new").grade, Grade::Unknown);
    assert_eq!(get(&out, "fleet", "").grade, Grade::Unknown);
}

#[test]
fn an_empty_service_has_no_say_in_its_system() {
    let mut tree = Tree::default();
    tree.service(service("pay.new", "pay.shop", Tier::Core, Mode::Standalone, 0));
    tree.single("pay.a", "pay.shop", Tier::General, Some(90.0));
    let out = tree.rollup();
    assert_eq!(score(&out, "system", "pay.shop"), Some(90.0));
    assert_eq!(get(&out, "service", "pay.new").reason, "there is nothing to score here yet");
}

#[test]
fn unchanged_services_are_reused_and_changed_ones_are_not() {
    let mut tree = Tree::default();
    tree.single("pay.a", "pay.shop", Tier::General, Some(95.0));
    tree.single("pay.b", "pay.shop", Tier::General, Some(95.0));
    let mut memory = RollupMemory::default();
    // A grade settles once its rise is no longer possible; A is the best there is.
    let first = rollup(&tree.inventory, &Policies::default(), &tree.rows, &mut memory, T0);
    let row = tree.rows[1].instance.clone();
    tree.rows[1] = Arc::new(crate::fixture::row(&row, Role::Master, Some(70.0)));
    let second = rollup(&tree.inventory, &Policies::default(), &tree.rows, &mut memory, T0 + 1000);
    let of = |out: &Rollup| out.levels.get(Level::Service, "pay.a").unwrap().clone();
    assert!(Arc::ptr_eq(&of(&first), &of(&second)));
    assert_eq!(score(&second, "service", "pay.b"), Some(70.0));
}

#[test]
fn a_reused_service_still_rises_after_five_minutes() {
    let mut tree = Tree::default();
    tree.single("pay.a", "pay.shop", Tier::General, Some(50.0));
    let mut memory = RollupMemory::default();
    rollup(&tree.inventory, &Policies::default(), &tree.rows, &mut memory, T0);
    let row = tree.rows[0].instance.clone();
    tree.rows[0] = Arc::new(crate::fixture::row(&row, Role::Master, Some(99.0)));
    let grade = |memory: &mut RollupMemory, at| {
        get(
            &rollup(&tree.inventory, &Policies::default(), &tree.rows, memory, at),
            "service",
            "pay.a",
        )
        .grade
    };
    assert_eq!(grade(&mut memory, T0 + 1000), Grade::D);
    assert_eq!(grade(&mut memory, T0 + 302_000), Grade::A);
}

#[test]
fn grades_rise_again_after_a_master_was_down_although_not_everything_can_be_read() {
    let mut tree = sentinel_service();
    for row in &mut tree.rows {
        let row = Arc::make_mut(row);
        let mut score = row.score.as_deref().unwrap().clone();
        score.confidence = 0.8;
        row.score = Some(Arc::new(score));
    }
    let healthy = tree.rows.clone();
    rescore(&mut tree, "10.0.0.1:6379", Some(0.0));
    let dead = tree.rows.clone();
    let mut memory = RollupMemory::default();
    let mut grade = |rows: &[Arc<Row>], s: i64| {
        let out = rollup(&tree.inventory, &Policies::default(), rows, &mut memory, T0 + s * 1000);
        (get(&out, "service", "pay.cart").grade, get(&out, "fleet", "").grade)
    };
    assert_eq!(grade(&healthy, 0), (Grade::A, Grade::A));
    assert_eq!(
        grade(&dead, 15),
        (Grade::A, Grade::A),
        "a roll-up falls with the second evaluation"
    );
    assert_eq!(grade(&dead, 16), (Grade::E, Grade::E));
    assert_eq!(grade(&healthy, 30), (Grade::E, Grade::E));
    assert_eq!(grade(&healthy, 330), (Grade::A, Grade::A));
}

#[test]
fn a_stored_grade_comes_back_and_does_not_start_anew() {
    let mut tree = Tree::default();
    tree.single("pay.a", "pay.shop", Tier::General, Some(50.0));
    let mut memory = RollupMemory::default();
    rollup(&tree.inventory, &Policies::default(), &tree.rows, &mut memory, T0);
    let mut restored = RollupMemory::default();
    for (level, id, sticky) in memory.grades() {
        restored.restore(level, id, sticky.clone());
    }
    let row = tree.rows[0].instance.clone();
    tree.rows[0] = Arc::new(crate::fixture::row(&row, Role::Master, Some(99.0)));
    let out = rollup(&tree.inventory, &Policies::default(), &tree.rows, &mut restored, T0 + 1000);
    for (level, id) in [("shard", "pay.a/0"), ("service", "pay.a"), ("system", "pay.shop")] {
        assert_eq!(get(&out, level, id).grade, Grade::D, "{level}");
    }
    assert_eq!(restored.grades().count(), out.levels.len());
}

#[test]
fn a_member_whose_role_cannot_be_read_makes_the_shard_unknown_and_not_dead() {
    let mut tree = Tree::default();
    tree.single("pay.a", "pay.shop", Tier::General, Some(95.0));
    edit(&mut tree, "10.0.0.1:6379", |r| r.facts.role = None);
    assert_eq!(get(&tree.rollup(), "shard", "pay.a/0").grade, Grade::Unknown);
}

#[test]
fn grades_of_removed_services_are_forgotten() {
    let mut tree = Tree::default();
    tree.single("pay.a", "pay.shop", Tier::General, Some(50.0));
    tree.single("pay.b", "pay.shop", Tier::General, Some(50.0));
    let mut memory = RollupMemory::default();
    rollup(&tree.inventory, &Policies::default(), &tree.rows, &mut memory, T0);
    tree.inventory.services.retain(|id, _| id.as_str() == "pay.a");
    tree.inventory.generation += 1;
    rollup(&tree.inventory, &Policies::default(), &tree.rows, &mut memory, T0 + 1000);
    assert!(memory.grades().all(|(_, id, _)| !id.starts_with("pay.b")));
}

#[test]
fn a_failing_master_that_is_not_confirmed_down_still_counts_as_serving() {
    let mut tree = sentinel_service();
    let row = tree.rows.iter_mut().find(|r| r.instance.id.address() == "10.0.0.1:6379").unwrap();
    let row = Arc::make_mut(row);
    row.reading = Arc::new(crate::fixture::failed(T0 + 15_000, model::reading::Reason::Timeout, 1));
    row.verdict = Verdict::Up;
    assert_eq!(score(&tree.rollup(), "shard", "pay.cart/0"), Some(100.0));
    assert!(reading(T0).up);
}

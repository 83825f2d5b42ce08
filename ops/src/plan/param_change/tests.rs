//! Plans of parameter changes for a made-up service.

use model::field::Field;
use serde_json::json;

use super::*;
use crate::fixture::{edit, id, service};
use crate::params::Engine;

const GB: f64 = 1_073_741_824.0;

/// A service with its settings: (snapshot, seen).
fn stage(mode: Mode, settings: &[(&'static str, &str)]) -> (Snapshot, Vec<Seen>) {
    let mut snapshot = service(mode);
    for n in 1..=3 {
        let values = &mut edit(&mut snapshot, n).facts.values;
        values.set(Field::UsedMemory, GB);
        values.set(Field::ConnectedClients, 10.0);
        values.set(Field::TotalSystemMemory, 64.0 * GB);
    }
    let node = |id: &InstanceId, is_sentinel: bool, running: &[(&'static str, &str)]| Seen {
        id: id.clone(),
        is_sentinel,
        engine: Some(Engine { valkey: false, version: (7, 0) }),
        has_file: true,
        running: Ok(running.iter().map(|(k, v)| (*k, v.to_string())).collect()),
        file: Err("no provider".into()),
    };
    let mut seen: Vec<Seen> = snapshot.nodes.iter().map(|n| node(&n.id, false, settings)).collect();
    let watch = [("down-after-milliseconds", "5000")];
    seen.extend(snapshot.sentinels.iter().map(|s| node(&s.id, true, &watch)));
    (snapshot, seen)
}

fn planned(
    (snapshot, seen): &(Snapshot, Vec<Seen>),
    params: Value,
    limits: &BTreeMap<InstanceId, Limits>,
) -> Result<Plan, Refusal> {
    let room = host::Room { memory: Some(64.0 * GB), others: Ok(0.0) };
    let hosts = snapshot.nodes.iter().map(|n| (n.id.clone(), room.clone())).collect();
    let sight = Sight { snapshot, seen, limits, hosts: &hosts, desired: &[] };
    make(&sight, &serde_json::from_value(params).unwrap(), At::EPOCH)
}

fn plan(stage: &(Snapshot, Vec<Seen>), set: Value) -> Result<Plan, Refusal> {
    planned(stage, json!({ "set": set }), &BTreeMap::new())
}

fn targets(plan: &Plan) -> Vec<(&str, &str)> {
    plan.steps.iter().map(|s| (s.kind.as_str(), s.target.as_str())).collect()
}

#[test]
fn a_canary_replica_comes_first_and_masters_last_with_one_command_each() {
    let stage = stage(Mode::Standalone, &[("hz", "10"), ("timeout", "0")]);
    let plan = plan(&stage, json!({ "hz": 20, "timeout": "30" })).unwrap();
    let (one, two, three) = (id(1, 6379), id(2, 6379), id(3, 6379));
    assert_eq!(
        targets(&plan),
        [
            ("set", two.as_str()),
            ("set", three.as_str()),
            ("set", one.as_str()),
            ("desired", "pay.cart"),
            ("agree", "pay.cart")
        ]
    );
    assert!(plan.steps[0].title.contains("canary"), "{}", plan.steps[0].title);
    assert_eq!(
        plan.steps[0].commands,
        [format!("{two}> CONFIG SET hz \"20\" timeout \"30\""), format!("{two}> CONFIG REWRITE")]
    );
    assert_eq!((plan.level, plan.confirm.as_str()), (3, "pay.cart"));
    assert!(plan.steps.iter().all(|s| STEPS.contains(&s.kind.as_str())));
}

#[test]
fn memory_goes_down_at_the_master_first_and_by_steps_while_it_evicts() {
    let has = (2.0 * GB).to_string();
    let settings: [(&'static str, &str); 2] =
        [("maxmemory", has.as_str()), ("maxmemory-policy", "allkeys-lru")];
    let stage = stage(Mode::Standalone, &settings);
    let free = plan(&stage, json!({ "maxmemory": "1500mb" })).unwrap();
    let kinds: Vec<&str> = free.steps.iter().map(|s| s.kind.as_str()).collect();
    assert_eq!(kinds, ["lower", "set", "set", "desired", "agree"], "nothing is evicted: one step");
    assert_eq!(free.steps[0].target, id(1, 6379).to_string());

    let refused = plan(&stage, json!({ "maxmemory": "800mb" })).unwrap_err();
    assert!(refused.message.contains("evict_bytes_max"), "{refused}");
    let wish = json!({ "set": { "maxmemory": "800mb" }, "evict_bytes_max": 400_000_000 });
    let evicting = planned(&stage, wish.clone(), &BTreeMap::new()).unwrap();
    let lowers: Vec<i64> = evicting
        .steps
        .iter()
        .filter(|s| s.kind == "lower")
        .map(|s| s.args["set"]["maxmemory"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(lowers.len() > 3 && lowers.is_sorted_by(|a, b| a > b), "{lowers:?}");
    assert_eq!(*lowers.last().unwrap(), 838_860_800);
    assert_eq!(evicting.level, 4, "data goes");
    let mut busier = stage.clone();
    edit(&mut busier.0, 1).facts.values.set(Field::UsedMemory, GB + 9_999.0);
    let again = planned(&busier, wish, &BTreeMap::new()).unwrap();
    assert_eq!(again.hash(), evicting.hash(), "what is used this moment is not in the hash");
}

#[test]
fn what_would_refuse_writes_or_evict_unasked_is_refused() {
    let settings = [("maxmemory", "2147483648"), ("maxmemory-policy", "noeviction")];
    let stage = stage(Mode::Standalone, &settings);
    let keeps = plan(&stage, json!({ "maxmemory": "512mb" })).unwrap_err();
    assert!(keeps.message.contains("refuse") && keeps.message.contains("536870912"), "{keeps}");
    let evicts = plan(&stage, json!({ "maxmemory-policy": "allkeys-lru" })).unwrap();
    assert_eq!(evicts.level, 4, "keys that were never evicted may be");
}

#[test]
fn more_memory_than_the_host_has_is_refused_with_the_figures() {
    let stage = stage(Mode::Standalone, &[("maxmemory", "1073741824")]);
    let refused = plan(&stage, json!({ "maxmemory": "60gb" })).unwrap_err();
    assert_eq!(refused.check, "P8");
    assert!(refused.message.contains("64424509440"), "{refused}");
    assert!(plan(&stage, json!({ "maxmemory": "20gb" })).is_ok());
}

#[test]
fn immutable_unknown_and_secret_parameters_are_refused_with_what_to_do() {
    let stage = stage(Mode::Standalone, &[("hz", "10")]);
    for (name, check, hint) in [
        ("databases", "immutable", "rolling_restart"),
        ("requirepass", "immutable", "password_rotate"),
        ("dir", "immutable", "when a node is made"),
        ("debug-me", "parameter", "no parameter"),
        ("down-after-milliseconds", "parameter", "no Sentinels"),
        ("cluster-node-timeout", "parameter", "no cluster"),
    ] {
        let refused = plan(&stage, json!({ name: "5000" })).unwrap_err();
        assert_eq!(refused.check, check, "{name}: {refused}");
        assert!(refused.message.contains(hint), "{name}: {refused}");
    }
    let range = plan(&stage, json!({ "hz": 1000 })).unwrap_err();
    assert!(range.message.contains("1 to 500"), "{range}");
    assert!(plan(&stage, json!({ "hz": "10\nrename-command x y" })).is_err());
}

#[test]
fn clients_need_descriptors_and_replicas_must_be_there() {
    let settings = [("maxclients", "10000"), ("min-replicas-to-write", "0")];
    let stage = stage(Mode::Standalone, &settings);
    let limit = Limits { descriptors: Some(20_000), disk_free_bytes: None };
    let limits = BTreeMap::from([(id(1, 6379), limit)]);
    let wish = |n: u32| json!({ "set": { "maxclients": n } });
    let refused = planned(&stage, wish(20_000), &limits).unwrap_err();
    assert!(refused.message.contains("20032"), "{refused}");
    assert!(planned(&stage, wish(19_968), &limits).is_ok());
    assert!(plan(&stage, json!({ "min-replicas-to-write": 2 })).is_ok());
    let refused = plan(&stage, json!({ "min-replicas-to-write": 3 })).unwrap_err();
    assert!(refused.message.contains("2 good replicas"), "{refused}");
}

#[test]
fn sentinels_are_set_on_all_of_them_and_the_time_of_a_failover_is_told() {
    let stage = stage(Mode::Sentinel, &[("hz", "10")]);
    let plan = plan(&stage, json!({ "down-after-milliseconds": 3000 })).unwrap();
    let sets: Vec<&PlannedStep> = plan.steps.iter().filter(|s| s.kind == "set").collect();
    assert_eq!(sets.len(), 3);
    assert_eq!(
        sets[0].commands,
        [format!("{}> SENTINEL SET cart down-after-milliseconds 3000", id(1, 26379))]
    );
    assert!(plan.checks.iter().any(|c| c.seen.contains("4.0 to 4.3 s")), "{:?}", plan.checks);
}

#[test]
fn a_silent_node_or_one_without_a_file_stops_the_plan() {
    let mut silent = stage(Mode::Standalone, &[("hz", "10")]);
    silent.1[2].running = Err("timeout: no answer".into());
    assert_eq!(plan(&silent, json!({ "hz": 20 })).unwrap_err().check, "P1");
    let mut bare = stage(Mode::Standalone, &[("hz", "10")]);
    bare.1[0].has_file = false;
    assert_eq!(plan(&bare, json!({ "hz": 20 })).unwrap_err().check, "file");
    let wish = json!({ "set": { "hz": 20 }, "allow_volatile": true });
    let volatile = planned(&bare, wish, &BTreeMap::new()).unwrap();
    let desired = volatile.steps.iter().find(|s| s.kind == "desired").unwrap();
    assert_eq!(desired.args["volatile"], json!([id(1, 6379)]));
}

#[test]
fn drift_between_nodes_is_shown_and_is_part_of_the_hash() {
    let even = stage(Mode::Standalone, &[("hz", "10")]);
    let mut uneven = even.clone();
    uneven.1[1].running = Ok(BTreeMap::from([("hz", "15".to_string())]));
    let (one, two) =
        (plan(&even, json!({ "hz": 20 })).unwrap(), plan(&uneven, json!({ "hz": 20 })).unwrap());
    assert_ne!(one.hash(), two.hash());
    let drift = two.checks.iter().find(|c| c.check == "drift").unwrap();
    assert!(drift.seen.contains("drifts") && drift.seen.contains("\"15\""), "{}", drift.seen);
}

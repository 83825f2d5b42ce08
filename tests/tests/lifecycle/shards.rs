//! A shard comes and goes while writers go on; slots move, and a move that was cut is finished.

use std::collections::BTreeMap;

use model::view::OperationPage;
use serde_json::json;
use tests::fleet::{ZONES, free_port};
use tests::inventory::{Listed, document};
use tests::load::Load;
use tests::nodes::call;
use tests::stage::{NAME, SERVICE, Stage};
use tests::wait;

use crate::course::{listed, plan, points, through};

/// Acting steps of a shard more.
pub const ADDED: &[&str] = &["create", "meet", "replicate", "register", "move_slots"];
/// Acting steps of a shard less.
pub const REMOVED: &[&str] = &["move_slots", "retire", "forget", "unregister", "release"];
/// Acting steps of an evening out.
pub const MOVED: &[&str] = &["move_slots"];

/// How many slots each node's own view gives each address; none when a view is not whole.
async fn owners(nodes: &[String]) -> Option<BTreeMap<String, u32>> {
    let mut first: Option<BTreeMap<String, u32>> = None;
    for node in nodes {
        let value = call(node, &["CLUSTER", "NODES"]).await?;
        let (view, _) = link::reply::cluster::nodes(link::reply::bytes(&value)?);
        if view.nodes.iter().any(|n| !n.open_slots.is_empty()) {
            return None;
        }
        let count = |n: &model::reading::ClusterNode| {
            n.slots.iter().map(|(a, b)| u32::from(b - a) + 1).sum::<u32>()
        };
        let owned = view.nodes.iter().map(|n| (n.address.clone(), count(n)));
        let owned: BTreeMap<String, u32> = owned.filter(|(_, n)| *n > 0).collect();
        if owned.values().sum::<u32>() != 16_384 || *first.get_or_insert(owned.clone()) != owned {
            return None;
        }
    }
    first
}

async fn agreed(nodes: &[String]) -> BTreeMap<String, u32> {
    wait::until("every node lists one owner for each slot", || owners(nodes)).await
}

/// The class of the service promises one host only, so four shards are allowed.
async fn promise_one_host(stage: &Stage) {
    let mut doc = document(&[Listed::new(NAME, "cluster", stage.data.clone())], "10m");
    doc["tenants"][0]["services"][0]["class"] = "host".into();
    stage.warden.apply(&doc).await;
}

fn new_nodes(page: &OperationPage) -> Vec<String> {
    let made = page.steps.iter().filter(|s| s.kind == "create");
    made.map(|s| s.target.split_once('@').unwrap().1.to_string()).collect()
}

/// The shard of that master and that replica gives its slots away and goes.
async fn leaves(stage: &mut Stage, master: &String, replica: &String) {
    let instances = stage.warden.items("/instances").await;
    let own = instances.iter().find(|i| i["address"] == master.as_str()).unwrap();
    let planned = plan(stage, "shard_remove", &json!({"shard": own["shard"]})).await;
    let points_of = points(&planned);
    assert_eq!(points_of.len(), 2 * REMOVED.len(), "{points_of:?}");
    through(stage, &planned, &points_of).await;
    let owned = agreed(&stage.data).await;
    assert!(owned.len() == 3 && !owned.contains_key(master), "{owned:?}");
    let listed = listed(stage).await;
    for gone in [master, replica] {
        assert!(!listed.contains(gone), "{gone} is struck out: {listed:?}");
        assert!(!stage.nodes().folder(gone).exists(), "no file of {gone}");
        assert_eq!(stage.nodes().processes(gone), [] as [u32; 0], "no process of {gone}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shard_comes_is_filled_and_goes_over_a_crash_at_every_point_and_in_an_open_slot() {
    let mut stage = Stage::restartable_cluster("").await;
    wait::until("four shards are refused", || async {
        let four = stage.warden.plan("shard_add", SERVICE, &json!({})).await.unwrap_err();
        four.to_string().contains("4 shards cannot survive").then_some(())
    })
    .await;
    promise_one_host(&stage).await;
    let load = Load::start(stage.find(&stage.data[0]), 2).await;

    let place =
        |zone: usize| json!({"host": format!("node-{}", zone + 1), "port": free_port(ZONES[zone])});
    let params = json!({"nodes": [place(0), place(1)], "slots_max": 300, "hold_s": 5});
    let planned = plan(&stage, "shard_add", &params).await;
    let mut points_of = points(&planned);
    let at = points_of.iter().position(|p| p.ends_with("move_slots:after")).unwrap();
    points_of.insert(at, "slots.opened:after".into());
    points_of.insert(at + 1, "slots.moved:after".into());
    let page = through(&mut stage, &planned, &points_of).await;
    load.goes_on().await;
    let [master, replica] = new_nodes(&page).try_into().unwrap();
    let all = [stage.data.clone(), vec![master.clone(), replica.clone()]].concat();
    let owned = agreed(&all).await;
    assert_eq!(owned.get(&master), Some(&300), "{owned:?}");
    assert!(listed(&stage).await.contains(&replica));

    let planned = plan(&stage, "rebalance", &json!({"slots_max": 20})).await;
    let points_of = points(&planned);
    through(&mut stage, &planned, &points_of).await;
    assert_eq!(agreed(&all).await.get(&master), Some(&320));

    leaves(&mut stage, &master, &replica).await;
    load.goes_on().await;
    assert_eq!(load.stop().await.lost().await, [] as [String; 0]);
}

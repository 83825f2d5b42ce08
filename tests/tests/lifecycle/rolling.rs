//! Every node is replaced by a new process, and by another program, without a lost write.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use serde_json::json;
use tests::fleet::program;
use tests::load::Load;
use tests::stage::{Stage, info_period};

use crate::course::{plan, points, through};

/// Acting steps of the three ways to hand a master over, and of a restart.
pub const RESTARTED: &[&str] =
    &["recycle", "steer", "fence", "priorities", "data", "drain", "persist", "cluster_failover"];

/// Process of each node.
async fn pids(stage: &Stage, addresses: &[String]) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    for address in addresses {
        all.insert(address.clone(), stage.nodes().pid(address).await.expect("it runs"));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_service_is_upgraded_over_a_crash_at_every_point() {
    let mut stage = Stage::restartable_sentinel("", "10m").await;
    info_period(&stage.sentinels, 1_000).await;
    let all = [stage.data.clone(), stage.sentinels.clone()].concat();
    let before = pids(&stage, &all).await;
    let master = stage.master().await;
    // The same program under another path is another program to the provider.
    let newer = stage.nodes().dir().join("newer-redis-server");
    symlink(program("redis-server"), &newer).unwrap();
    let load = Load::start(stage.find(&master), 2).await;

    let params = json!({"program": newer, "hold_s": 0});
    let planned = plan(&stage, "upgrade", &params).await;
    let points_of = points(&planned);
    through(&mut stage, &planned, &points_of).await;
    load.goes_on().await;
    let after = pids(&stage, &all).await;
    assert!(all.iter().all(|a| before[a] != after[a]), "{before:?} {after:?}");
    let moved = stage.master().await;
    assert_ne!(moved, master);
    for address in &all {
        let record = std::fs::read_to_string(stage.nodes().folder(address).join("node.json"));
        assert!(record.unwrap().contains("newer-redis-server"), "{address}");
        assert_eq!(stage.nodes().processes(address).len(), 1, "{address}");
    }
    assert_eq!(load.stop().await.lost().await, [] as [String; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_service_is_restarted_over_a_crash_at_every_point() {
    let mut stage = Stage::restartable("", "10m").await;
    let master = stage.master().await;
    let before = pids(&stage, &stage.data.clone()).await;
    let load = Load::start(stage.find(&master), 2).await;
    let params = json!({"hold_s": 0, "discovery": "none_needed"});
    let planned = plan(&stage, "rolling_restart", &params).await;
    let points_of = points(&planned);
    through(&mut stage, &planned, &points_of).await;
    load.goes_on().await;
    let after = pids(&stage, &stage.data.clone()).await;
    assert!(after.iter().all(|(address, pid)| before[address] != *pid), "{before:?} {after:?}");
    assert_ne!(stage.master().await, master);
    assert_eq!(load.stop().await.lost().await, [] as [String; 0]);
}

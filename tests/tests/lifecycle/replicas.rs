//! A replica less and a replica more, under Sentinels.

use serde_json::json;
use tests::fleet::{ZONES, free_port};
use tests::load::Load;
use tests::nodes::{call, info, told};
use tests::stage::{NAME, SERVICE, Stage, info_period};
use tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::course::{listed, nothing_held, plan, points, through};

/// Acting steps of a replica more; those of a cluster are passed by a shard more.
pub const ADDED: &[&str] = &["create", "enlist", "register", "meet", "replicate"];
/// Acting steps of a replica less.
pub const REMOVED: &[&str] = &["bench", "retire", "forget", "unregister", "release"];

const SECTIONS: &str = "[ops]\nlease_s = 15";

/// What every Sentinel knows: replicas and Sentinels.
async fn known(stage: &Stage) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for sentinel in &stage.sentinels {
        let replicas = told(sentinel, NAME, "num-slaves").await.unwrap_or_default();
        let others = told(sentinel, NAME, "num-other-sentinels").await.unwrap_or_default();
        all.push((replicas, others));
    }
    all
}

/// What a bare PING is answered.
async fn ping(address: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"PING\r\n").await.ok()?;
    let mut said = [0; 64];
    let n = stream.read(&mut said).await.ok().filter(|n| *n > 0)?;
    Some(String::from_utf8_lossy(&said[..n]).into_owned())
}

async fn all_know(stage: &Stage, replicas: &str) {
    wait::until(&format!("every Sentinel knows {replicas} replicas"), || async {
        let wished = (replicas.to_string(), "2".to_string());
        known(stage).await.iter().all(|k| *k == wished).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_goes_and_another_comes_over_a_crash_at_every_point() {
    let mut stage = Stage::restartable_sentinel(SECTIONS, "10m").await;
    info_period(&stage.sentinels, 1_000).await;
    let master = stage.master().await;
    let gone = stage.members()[2].clone();
    let load = Load::start(stage.find(&master), 2).await;

    let params = json!({"instance": stage.id(&gone), "gap_s": 0, "keep": true});
    let planned = plan(&stage, "replica_remove", &params).await;
    let points_of = points(&planned);
    assert_eq!(points_of.len(), 8, "{points_of:?}");
    through(&mut stage, &planned, &points_of).await;
    load.goes_on().await;
    all_know(&stage, "1").await;
    wait::until("it is struck out", || async {
        (!listed(&stage).await.contains(&gone)).then_some(())
    })
    .await;

    // Whoever starts it again finds nothing in it, and nobody counts on it.
    stage.nodes().begin(&gone).await;
    let said = wait::until("it answers", || ping(&gone)).await;
    assert!(said.starts_with("-NOAUTH"), "nobody may log in: {said}");
    let replication = info(&master, "replication").await.unwrap();
    assert!(replication.contains("connected_slaves:1"), "{replication}");
    all_know(&stage, "1").await;
    stage.nodes().release(&gone).await;

    let params = json!({"host": "node-3", "port": free_port(ZONES[2]), "hold_s": 5});
    let planned = plan(&stage, "replica_add", &params).await;
    let points_of = points(&planned);
    assert_eq!(points_of.len(), 6, "{points_of:?}");
    let page = through(&mut stage, &planned, &points_of).await;
    let added = page.steps[0].target.split_once('@').unwrap().1.to_string();
    load.goes_on().await;
    all_know(&stage, "2").await;
    assert!(listed(&stage).await.contains(&added));
    let priority = call(&added, &["CONFIG", "GET", "replica-priority"]).await.unwrap();
    let priority = link::reply::items(&priority).and_then(|p| link::reply::text(&p[1]));
    assert_eq!(priority.as_deref(), Some("100"));
    let added = moves(&stage, &added).await;
    all_know(&stage, "2").await;
    assert!(listed(&stage).await.contains(&added));
    let written = load.stop().await;
    assert_eq!(written.lost().await, [] as [String; 0]);
    let wanted = stage.count("SELECT replicas_wanted FROM service WHERE id = 'demo.cart'").await;
    assert_eq!(wanted, 2, "the service expects what it has");
}

/// The replica moves to another port of its host; where it is then. Its steps are those of a replica
/// more and less, which pass their crashes above.
async fn moves(stage: &Stage, old: &String) -> String {
    let params = json!({"instance": stage.id(old), "host": "node-3", "port": free_port(ZONES[2]),
                        "hold_s": 5, "gap_s": 0});
    let planned = plan(stage, "node_move", &params).await;
    let id = stage.warden.begin(&planned, "move it").await.unwrap();
    let page = stage.warden.over(&id).await;
    assert_eq!(page.operation.state.as_str(), "done", "{page:#?}");
    assert!(!listed(stage).await.contains(old) && !stage.nodes().folder(old).exists());
    page.steps[0].target.split_once('@').unwrap().1.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_cancelled_on_its_way_leaves_nothing_behind() {
    let stage = Stage::restartable_sentinel(SECTIONS, "10m").await;
    info_period(&stage.sentinels, 1_000).await;
    let last = stage.members()[2].clone();
    let params = json!({"instance": stage.id(&last), "gap_s": 0});
    let planned = plan(&stage, "replica_remove", &params).await;
    let id = stage.warden.begin(&planned, "make room").await.unwrap();
    let page = stage.warden.over(&id).await;
    assert_eq!(page.operation.state.as_str(), "done", "{page:#?}");
    assert!(!stage.nodes().folder(&last).exists(), "its files are gone");

    // The only host without a node of the service is chosen by itself.
    let params = json!({"port": free_port(ZONES[2]), "hold_s": 3600});
    let planned = plan(&stage, "replica_add", &params).await;
    let id = stage.warden.begin(&planned, "too much").await.unwrap();
    let added = planned["plan"]["steps"][0]["target"].as_str().unwrap();
    let added = added.split_once('@').unwrap().1.to_string();
    wait::until("the last step runs", || async {
        let page = stage.warden.operation(&id).await;
        (page.steps.last()?.state.as_str() == "running").then_some(())
    })
    .await;
    let cancelled = stage.warden.post(&format!("/operations/{id}/cancel"), &json!({})).await;
    // In its last step an operation ends by itself.
    assert_eq!(cancelled.status, 409, "{cancelled:?}");
    stage.nodes().kill(&added).await;
    let page = stage.warden.over(&id).await;
    assert_eq!(page.operation.state.as_str(), "unwound", "{page:#?}");
    assert!(!stage.nodes().folder(&added).exists(), "no file");
    assert_eq!(stage.nodes().processes(&added), [] as [u32; 0], "no process");
    wait::until("no row", || async { (!listed(&stage).await.contains(&added)).then_some(()) })
        .await;
    all_know(&stage, "1").await;
    nothing_held(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_copy_outside_a_zone_and_a_master_are_not_removed() {
    let stage = Stage::restartable("", "10m").await;
    let refused = |address: &str| {
        let params = json!({"instance": stage.id(address)});
        let warden = &stage.warden;
        async move { warden.plan("replica_remove", SERVICE, &params).await.unwrap_err().to_string() }
    };
    let replica = refused(&stage.members()[1]).await;
    assert!(replica.contains("P7") && replica.contains("no replica"), "{replica}");
    let master = refused(&stage.members()[0]).await;
    assert!(master.contains("switch over first"), "{master}");
    let risk = stage.warden.get(&format!("/services/{SERVICE}/zone-risk")).await;
    assert_eq!(risk["score"], 100, "{risk}");
}

//! Each dimension, degraded on a redis-server: memory filled, clients opened to the limit, slow commands,
//! the process stopped, the replica's link cut.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::json;
use tests::fleet::{Node, RedisFleet};
use tests::wait;

use crate::stage::{Stage, TWO_INTERVALS, adds_up, bar, gate, listed, score, worst};

/// Of one key: a little below the allocator's class of 1 MiB.
const CHUNK: &str = "1040000";

/// Adds keys until memory is used to that share, or a write is refused; answers whether one was.
fn fill(stage: &Stage, share: f64) -> bool {
    let limit = stage.info("memory", "maxmemory");
    for n in 0..400 {
        if stage.info("memory", "used_memory") / limit >= share {
            return false;
        }
        if stage.redis(&["SETRANGE", &format!("{share}-{n}"), CHUNK, "x"]).contains("OOM") {
            return true;
        }
    }
    panic!("400 keys do not fill it");
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_fills_up_costs_the_score_until_it_is_freed() {
    let lines = ["maxmemory 100mb", "maxmemory-policy noeviction"];
    let stage = Stage::solo(&lines, "store", &[]).await;
    let path = stage.instance("solo", 0);
    let healthy = stage.well(&path).await;
    assert!(!fill(&stage, 0.975), "below the limit nothing is refused");
    let (full, others) = stage
        .follows(&path, "memory is nearly full, and graded so", |page| {
            worst(page) == Some("M1") && page["grade"] == "C"
        })
        .await;
    assert!(others <= TWO_INTERVALS, "{others} other scores before it");
    let m1 = bar(&full, "M1").unwrap();
    assert!(m1["value"].as_f64().unwrap() >= 0.975 && m1["dimension"] == "memory", "{m1:#}");
    assert!(m1["text"].as_str().unwrap().contains("of maxmemory"), "{m1:#}");
    assert!(score(&healthy) - score(&full) > 20.0, "{full:#}");
    adds_up(&full);

    // Raising the limit moves the score to where the question said.
    let limit = stage.info("memory", "maxmemory") * 1.3;
    let asked = format!("{path}?set.maxmemory_bytes={limit:.0}");
    let foretold = stage.health(&asked).await.unwrap();
    assert!(foretold["source"] == "whatif" && score(&foretold) > score(&full), "{foretold:#}");
    stage.redis(&["CONFIG", "SET", "maxmemory", &format!("{limit:.0}")]);
    stage
        .until(&path, "the score is the one foretold", |page| {
            (score(page) - score(&foretold)).abs() <= 0.5
        })
        .await;

    // The same memory under a lower limit again: writes are refused.
    stage.redis(&["CONFIG", "SET", "maxmemory", "90mb"]);
    assert!(fill(&stage, 2.0), "a write is refused");
    let (refused, others) = stage
        .follows(&path, "refused writes cap the score", |page| {
            gate(page, "oom_errors").is_some_and(|g| g["binds"] == true || score(page) < 59.0)
        })
        .await;
    assert!(others <= TWO_INTERVALS, "{others} other scores before it");
    assert!(score(&refused) <= 59.0 && ["D", "E"].contains(&refused["grade"].as_str().unwrap()));
    adds_up(&refused);
    let id = path.trim_start_matches("/instances/").trim_end_matches("/health");
    let series = ["cachewarden_health_gate{", id, "gate=\"oom_errors\""];
    wait::until("the gate is a series", || async { stage.series(&series).await }).await;
    stage
        .until("/services/pay.solo/health", "the service follows", |page| score(page) <= 59.0)
        .await;
    stage.until("/tenants/pay/health", "the tenant follows", |page| score(page) <= 59.0).await;

    stage.redis(&["FLUSHALL"]);
    stage
        .until(&path, "freed memory is a cure", |page| {
            page["grade"] == "A"
                && bar(page, "M1").is_none()
                && score(page) >= score(&healthy) - 1.0
        })
        .await;
    let back = |page: &serde_json::Value| page["grade"] == "A";
    stage.until("/services/pay.solo/health", "of the service too", back).await;
}

/// Opens connections until there are so many, or one is turned away; answers whether one was.
fn open(node: &Node, inside: &mut Vec<TcpStream>, wanted: usize) -> bool {
    while inside.len() < wanted {
        let mut stream = TcpStream::connect(&node.address).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let _ = stream.write_all(b"PING\r\n");
        let mut said = [0; 5];
        match stream.read_exact(&mut said) {
            Ok(()) if said == *b"+PONG" => inside.push(stream),
            _ => return true,
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_up_to_the_limit_cost_the_score_until_they_leave() {
    let stage = Stage::solo(&["maxclients 60", "maxmemory 1gb"], "store", &[]).await;
    let path = stage.instance("solo", 0);
    let healthy = stage.well(&path).await;
    let mut inside = Vec::new();
    // With ours, 58 or 59 of 60.
    open(&stage.fleet.nodes[0], &mut inside, 57);
    let (crowded, others) = stage
        .follows(&path, "nearly all places are taken", |page| {
            worst(page) == Some("C1") && page["grade"] != "A"
        })
        .await;
    assert!(others <= TWO_INTERVALS, "{others} other scores before it");
    let c1 = bar(&crowded, "C1").unwrap();
    assert!(c1["dimension"] == "connections" && c1["value"].as_f64() > Some(0.95), "{c1:#}");
    assert!(score(&healthy) - score(&crowded) > 10.0, "{crowded:#}");
    adds_up(&crowded);

    let mut more = Vec::new();
    assert!(open(&stage.fleet.nodes[0], &mut more, 10), "one is turned away");
    let (shut, others) = stage
        .follows(&path, "a client that is turned away caps the score", |page| {
            gate(page, "rejected_connections").is_some_and(|g| g["binds"] == true)
                && bar(page, "C2").is_some()
        })
        .await;
    assert!(others <= TWO_INTERVALS, "{others} other scores before it");
    assert!(score(&shut) == 59.0 && shut["grade"] == "D", "{shut:#}");
    adds_up(&shut);

    drop((inside, more));
    let well = |page: &serde_json::Value| page["grade"] == "A" && bar(page, "C1").is_none();
    stage.until(&path, "they left", well).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_commands_cost_the_score_until_a_window_passed_without_any() {
    let lines = ["enable-debug-command yes", "maxmemory 1gb"];
    let stage = Stage::solo(&lines, "store", &["S1", "S2", "S3"]).await;
    let path = stage.instance("solo", 0);
    let healthy = stage.well(&path).await;
    stage.redis(&["DEBUG", "SLEEP", "0.5"]);
    let (slow, others) = stage
        .follows(&path, "the slow command is seen, and graded", |page| {
            bar(page, "S3").is_some() && page["grade"] != "A"
        })
        .await;
    assert!(others <= TWO_INTERVALS, "{others} other scores before it");
    let s3 = bar(&slow, "S3").unwrap();
    assert!(s3["dimension"] == "slowlog" && s3["value"].as_f64() >= Some(500.0), "{s3:#}");
    assert!(bar(&slow, "S1").is_some() && bar(&slow, "S2").is_some(), "{slow:#}");
    assert!(score(&healthy) - score(&slow) > 10.0, "{slow:#}");
    let remedy = slow["suggestions"].as_array().unwrap().iter();
    let remedy = remedy.filter(|s| s["overrides"]["slow_per_min"] == 0.0).count();
    assert_eq!(remedy, 1, "{slow:#}");
    adds_up(&slow);
    let well = |page: &serde_json::Value| page["grade"] == "A" && bar(page, "S3").is_none();
    stage.until(&path, "the window has passed", well).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_loses_points_then_its_number_and_then_everything_until_it_goes_on() {
    let stage = Stage::solo(&["maxmemory 1gb"], "store", &[]).await;
    let path = stage.instance("solo", 0);
    let healthy = stage.well(&path).await;
    stage.fleet.nodes[0].signal("STOP");
    let (failing, others) = stage
        .follows(&path, "the first failed probe costs points", |page| {
            worst(page) == Some("A1") && score(page) < 90.0
        })
        .await;
    assert!(others <= TWO_INTERVALS, "{others} other scores before it");
    let a1 = bar(&failing, "A1").unwrap();
    assert!(a1["dimension"] == "availability", "{a1:#}");
    assert!(score(&healthy) - score(&failing) > 10.0, "{failing:#}");
    adds_up(&failing);
    let unknown = |page: &serde_json::Value| page["score"].is_null() && page["grade"] == "?";
    let blind = stage.until(&path, "nobody can say that it is down", unknown).await;
    assert!(blind["reason"].as_str().unwrap().contains("timeout"), "{blind:#}");
    let id = path.trim_start_matches("/instances/").trim_end_matches("/health");
    let series = ["cachewarden_health_score{level=\"instance\"", id];
    wait::until("there is no score to alert on", || async {
        stage.series(&series).await.is_none().then_some(())
    })
    .await;
    // Nobody else can be asked: after a minute it is believed.
    let down = stage.until(&path, "it is down", |page| score(page) == 0.0).await;
    assert_eq!((&down["grade"], &down["confidence"]), (&json!("E"), &json!(1.0)), "{down:#}");
    adds_up(&down);
    stage.fleet.nodes[0].signal("CONT");
    stage.until(&path, "it goes on", |page| page["grade"] == "A").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_replica_link_costs_replica_master_and_shard_until_it_is_mended() {
    let mut fleet = RedisFleet::new();
    let nodes = fleet.replicated(1, &["maxmemory 1gb"]).await;
    let listed = listed(&[&fleet.nodes[nodes[0]], &fleet.nodes[nodes[1]]]);
    let pair = json!({"id": "pair", "system": "shop", "replicas": 1, "instances": listed});
    let stage = Stage::new(fleet, json!([pair]), &[]).await;
    let (master, replica) = (stage.instance("pair", nodes[0]), stage.instance("pair", nodes[1]));
    stage.well(&master).await;
    stage.well(&replica).await;
    let service = "/services/pay.pair/health";
    stage.until(service, "the service is well", |page| page["grade"] == "A").await;

    stage.redis(&["ACL", "SETUSER", "default", "-psync", "-sync"]);
    stage.redis(&["CLIENT", "KILL", "TYPE", "replica"]);
    let (without, others) = stage
        .follows(&master, "the master misses its replica, and is graded so", |page| {
            worst(page) == Some("A5") && page["grade"] == "C"
        })
        .await;
    // The master knows of it from the replica's row, whose poll has a moment of its own.
    assert!(others <= TWO_INTERVALS + 1, "{others} other scores before it");
    let a5 = bar(&without, "A5").unwrap();
    assert_eq!((&a5["loss"], &a5["text"]), (&json!(70.0), &json!("1 of 1 replica missing")));
    adds_up(&without);
    let cut = stage
        .until(&replica, "the replica's own score falls", |page| {
            worst(page) == Some("A3") && !["A", "?"].contains(&page["grade"].as_str().unwrap())
        })
        .await;
    assert!(bar(&cut, "A3").unwrap()["text"].as_str().unwrap().contains("the link to its master"));
    adds_up(&cut);
    let capped = stage
        .until(service, "without a healthy replica the shard is capped", |page| score(page) <= 69.0)
        .await;
    adds_up(&capped);
    let shard = "/services/pay.pair/shards/0/health";
    stage.until(shard, "by its gate", |page| gate(page, "no_replica").is_some()).await;

    stage.redis(&["ACL", "SETUSER", "default", "+psync", "+sync"]);
    for path in [master.as_str(), replica.as_str(), service] {
        stage.until(path, "the link is up again", |page| page["grade"] == "A").await;
    }
}

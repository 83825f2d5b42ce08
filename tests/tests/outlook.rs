//! What is ahead and what would be lost, on real servers: weeks that Prometheus saw are forecast, and a
//! zone that is lost on paper is then really lost.
#![cfg(feature = "fault")]

use model::At;
use model::score::Level;
use model::zone_loss::{Outcome, ServiceLoss, ZoneLoss};
use tests::fleet::{RedisFleet, ZONES};
use tests::inventory::{Listed, document};
use tests::nodes::call;
use tests::prometheus::Prometheus;
use tests::stage::info_period;
use tests::wait;
use tests::warden::{Setup, Warden};

fn now() -> At {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    At::from_ms(now.as_millis() as i64)
}

/// So many days of a master that grew by 1 MB a day to 100 MB, an hour apart, as Prometheus keeps it.
fn scraped(days: i64, now: At) -> String {
    let hour_ms = 3_600_000;
    let last = now.ms() / hour_ms;
    let series =
        "redis_memory_used_bytes{tenant=\"demo\",service=\"cart\",shard=\"0\",instance=\"x\"}";
    let mut text = String::from("# TYPE redis_memory_used_bytes gauge\n");
    for hours in (0..days * 24).rev() {
        let value = 1e8 - 1e6 * hours as f64 / 24.0;
        // In the middle of its hour.
        let at = ((last - hours) * hour_ms - hour_ms / 2) / 1000;
        text.push_str(&format!("{series} {value} {at}\n"));
    }
    text + "# EOF\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn weeks_that_prometheus_saw_are_forecast_by_a_process_that_saw_none() {
    let past = scraped(12, now());
    let prometheus = Prometheus::with_past(&past).await;
    let mut fleet = RedisFleet::new();
    let node = fleet.node(ZONES[0], &["maxmemory 120mb"]).await;
    let sections = format!("[history]\nurl = \"{}\"\n", prometheus.url());
    let warden = Warden::start(Setup { sections, ..Setup::default() }).await;
    let listed = Listed::new("cart", "standalone", vec![fleet.nodes[node].address.clone()]);
    warden.apply(&document(&[listed], "10m")).await;
    let patience = wait::PATIENCE * 3;
    let line = wait::until_within("a forecast from Prometheus", patience, || async {
        let page = warden.get("/services/demo.cart/capacity").await;
        let lines = page["lines"].as_array()?.clone();
        let known = lines.into_iter().find(|l| l["resource"] == "memory" && l["known"] == true)?;
        Some((page["source"].clone(), known))
    })
    .await;
    assert_eq!(line.0, "daily and prometheus");
    let (days, mid) = (line.1["days"].as_u64().unwrap(), line.1["mid"].as_f64().unwrap());
    assert!((11..=13).contains(&days) && (20.0..32.0).contains(&mid), "{line:#?}");
    assert_eq!(line.1["weak"], true);
}

fn of<'l>(loss: &'l ZoneLoss, service: &str) -> &'l ServiceLoss {
    loss.services.iter().find(|s| s.service == service).unwrap()
}

/// health.md, "Done means" 13.
#[tokio::test(flavor = "multi_thread")]
async fn a_zone_lost_on_paper_is_lost_in_the_same_way_when_its_servers_are_killed() {
    let mut fleet = RedisFleet::new();
    let made = fleet.sentinel("cart", 5_000).await;
    let cluster = fleet.cluster(2_000).await;
    let single = fleet.node(ZONES[0], &[]).await;
    let address = |i: &usize| fleet.nodes[*i].address.clone();
    let mut data = vec![address(&made.master)];
    data.extend(made.replicas.iter().map(address));
    let sentinels: Vec<String> = made.sentinels.iter().map(address).collect();
    let nodes: Vec<String> = cluster.iter().map(address).collect();
    let lonely = address(&single);
    info_period(&sentinels, 1_000).await;
    // Both replicas have the same data: the priority decides, for us and for the Sentinels.
    call(&data[2], &["CONFIG", "SET", "replica-priority", "10"]).await.unwrap();
    for sentinel in &sentinels {
        wait::until("the priority is seen", || async {
            let seen = call(sentinel, &["SENTINEL", "REPLICAS", "cart"]).await?;
            let seen = link::reply::sentinel::replicas(&seen)?;
            seen.iter().any(|r| r.address() == data[2] && r.priority == 10).then_some(())
        })
        .await;
    }
    let warden = Warden::start(Setup::default()).await;
    let cart = Listed { sentinels, ..Listed::new("cart", "sentinel", data.clone()) };
    let slots = Listed::new("slots", "cluster", nodes.clone());
    let single = Listed::new("single", "standalone", vec![lonely.clone()]);
    warden.apply(&document(&[cart, slots, single], "10m")).await;
    // As soon as everything was read: three masters of three shards are known.
    let loss = wait::until("the loss is told in full", || async {
        let loss: ZoneLoss = serde_json::from_value(warden.get("/zones/az-1/loss").await).ok()?;
        let moves: usize = loss.services.iter().map(|s| s.moves.len()).sum();
        let known = loss.levels.iter().all(|l| l.before.is_some() && l.after.is_some());
        (loss.services.len() == 3 && moves == 2 && known).then_some(loss)
    })
    .await;
    assert_eq!((loss.down, loss.degraded), (1, 2), "{loss:#?}");
    assert_eq!(of(&loss, "demo.single").outcome, Outcome::Down);
    let cart = &of(&loss, "demo.cart").moves[0];
    let shard = &of(&loss, "demo.slots").moves[0];
    assert_eq!((&cart.from, &shard.from), (&data[0], &nodes[0]));
    let changed = warden.get("/zones/az-1/loss").await;
    assert_eq!(changed["down"], 1, "asking changes nothing");

    for node in fleet.nodes.iter_mut().filter(|n| n.host == ZONES[0]) {
        node.kill();
    }
    let mut left = fleet.nodes.iter().filter(|n| n.host != ZONES[0]);
    let watcher = left.find(|n| is_sentinel(n)).map(|n| n.address.clone());
    let watcher = watcher.expect("two Sentinels are left");
    wait::until("the Sentinels promoted whom we said", || async {
        // In one answer: asked one by one, the host may be the old one and the port the new one.
        let answer = call(&watcher, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "cart"]).await?;
        let named = link::reply::sentinel::address(&answer)?;
        (named != data[0]).then(|| assert_eq!(named, cart.to))
    })
    .await;
    wait::until("the cluster promoted whom we said", || async {
        let replica = fleet.nodes.iter().find(|n| n.address == shard.to)?;
        replica.is_master().then_some(())
    })
    .await;
    for i in &cluster[1..3] {
        let state = fleet.nodes[*i].cli(&["CLUSTER", "INFO"]);
        assert!(state.contains("cluster_state:ok"), "{state}");
    }
    wait::until("what was said to go on takes writes", || async {
        let took = call(&cart.to, &["SET", "after", "1"]).await?;
        (link::reply::bytes(&took) == Some(b"OK")).then_some(())
    })
    .await;
    assert_eq!(of(&loss, "demo.cart").outcome, Outcome::Degraded);
    assert_eq!(of(&loss, "demo.slots").outcome, Outcome::Degraded);
    assert!(call(&lonely, &["PING"]).await.is_none(), "what was said to be down is down");
    // Our own scores say so too, as foretold: nothing, or something and less than before.
    for level in loss.levels.iter().filter(|l| l.level == Level::Service) {
        let (before, foretold) = (level.before.unwrap(), level.after.unwrap());
        assert!(foretold < before, "{level:?}");
        wait::until(&format!("{level:?} as foretold"), || async {
            let page = warden.get(&format!("/services/{}/health", level.id)).await;
            let score = page["score"].as_f64()?;
            let fits = if foretold == 0.0 { score == 0.0 } else { (score - foretold).abs() < 25.0 };
            fits.then_some(())
        })
        .await;
    }
}

fn is_sentinel(node: &tests::fleet::Node) -> bool {
    node.info("server").contains("redis_mode:sentinel")
}

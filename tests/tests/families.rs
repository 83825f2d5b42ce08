//! Every family of the fleet's page is filled by the running program, on real servers.
//!
//! Invariant: what the catalogue promises is shown by something, or stands below with the reason. A
//! family nobody fills is an empty panel and a rule that never fires.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::collections::BTreeSet;

use exporter::catalog::{Family, Page};
use serde_json::{Value, json};
use tests::fleet::{RedisFleet, ZONES, free_port};
use tests::inventory::{Listed, document};
use tests::stage::info_period;
use tests::wait;
use tests::warden::{Setup, Warden};

/// Families that stay empty here, and why.
const EMPTY: &[(Family, &str)] = &[
    (Family::InfoConflict, "needs a server that lies; the hostile ones have a test of their own"),
    (Family::SeriesDropped, "needs a flood of names; the hostile servers have a test of their own"),
    (
        Family::CapacityDays,
        "needs a week of days; the forecast of stored ones has a test of its own",
    ),
    (Family::ConfigDrift, "needs a parameter that was wished; the change of parameters tests it"),
    (Family::CertificateExpires, "needs servers with TLS; adoption with certificates tests it"),
];

/// Names of the series of the page that have a sample.
async fn shown(warden: &Warden) -> Option<BTreeSet<String>> {
    let page = warden.page("/metrics").await?;
    let samples = page.lines().filter(|line| !line.starts_with('#'));
    Some(samples.filter_map(|l| l.split(['{', ' ']).next()).map(str::to_string).collect())
}

/// An item that reads the length of the list `key` of `demo.solo`.
async fn define(warden: &Warden, name: &str, key: &str) {
    let source = json!({"command": {"args": ["LLEN", key]}});
    let item = json!({"name": name, "scope": "service:demo.solo", "source": source});
    let body = json!({"item": item, "reason": "test"});
    warden.put(&format!("/items/{name}@service:demo.solo"), &body).await;
}

/// A switchover that is begun, and one that is refused.
async fn operate(warden: &Warden, replica: &str) {
    let planned = wait::until("a switchover can be planned", || async {
        let target = json!({"target": format!("demo.cart@{replica}")});
        warden.plan("switchover", "demo.cart", &target).await.ok()
    });
    warden.begin(&planned.await, "families").await.unwrap();
    let nobody: Value = json!({"target": "demo.cart@127.0.0.1:1"});
    warden.plan("switchover", "demo.cart", &nobody).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_family_of_the_fleets_page_is_filled_by_something() {
    let mut fleet = RedisFleet::new();
    let cart = fleet.sentinel("cart", 60_000).await;
    // One of its replicas dies, the other one nobody listed.
    let half = fleet.replicated(2, &[]).await;
    let solo = fleet.node(ZONES[0], &[]).await;
    fleet.nodes[solo].cli(&["RPUSH", "list", "a"]);
    fleet.nodes[solo].cli(&["SET", "text", "b"]);
    let at = |indices: &[usize]| -> Vec<String> {
        indices.iter().map(|i| fleet.nodes[*i].address.clone()).collect()
    };
    let mut replicated = Listed::new("cart", "sentinel", at(&[cart.master]));
    replicated.data.extend(at(&cart.replicas));
    replicated.sentinels = at(&cart.sentinels);
    let replica = at(&cart.replicas).remove(0);
    let nowhere = format!("{}:{}", ZONES[1], free_port(ZONES[1]));
    info_period(&replicated.sentinels, 1_000).await;
    let mut services = vec![
        replicated,
        Listed::new("half", "standalone", at(&half[..2])),
        Listed::new("solo", "standalone", at(&[solo])),
        Listed::new("gone", "standalone", vec![nowhere]),
    ];

    let sections = "accept_interval_s = 1\n".to_string();
    let warden = Warden::start(Setup { sections, ..Setup::default() }).await;
    warden.apply(&document(&services, "0s")).await;
    services.pop();
    let pruned = warden.post("/apply?prune=1", &document(&services, "0s")).await;
    assert!(pruned.status < 300, "{pruned:?}");
    fleet.nodes[half[1]].kill();
    define(&warden, "length", "list").await;
    define(&warden, "wrong", "text").await;
    operate(&warden, &replica).await;
    let maintenance = json!({"scope": "service:demo.half", "duration": "1h", "reason": "families"});
    assert_eq!(warden.post("/maintenance", &maintenance).await.status, 201);

    let metrics = Family::ALL.iter().filter(|f| f.metric().page == Page::Metrics);
    let (empty, filled): (Vec<_>, Vec<_>) =
        metrics.partition(|family| EMPTY.iter().any(|(f, _)| f == *family));
    assert!(filled.contains(&&Family::PolicyThreshold));
    for family in filled {
        let name = family.metric().name;
        wait::until(&format!("{name} has data"), || async {
            shown(&warden).await?.contains(name).then_some(())
        })
        .await;
    }
    let shown = shown(&warden).await.unwrap();
    assert_eq!(empty.len(), EMPTY.len());
    for family in empty {
        let name = family.metric().name;
        assert!(!shown.contains(name), "{name} has data: it is no exception any more");
    }
}

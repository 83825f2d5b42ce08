//! D7 (the page's "done means" 7): from `+switch-master` at a Sentinel to the roles on our pages.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use link::{Heard, Target};
use serde_json::{Value, json};
use tests::fleet::RedisFleet;
use tests::process::Cachewarden;
use tests::wait;

use crate::figure::Figure;
use crate::peer::{self, Setup};

/// More than spend the budget of polls that most events have (decision 053): six within two minutes do.
const FAILOVERS: usize = 10;
/// Between two looks at a page.
const LOOK: Duration = Duration::from_millis(10);

/// Prints the figure.
pub async fn run() {
    let mut fleet = RedisFleet::new();
    let made = fleet.sentinel("cart", 5_000).await;
    let data: Vec<usize> = [&[made.master][..], &made.replicas].concat();
    let instance = |i: &usize, kind: &str| json!({"address": fleet.nodes[*i].address, "zone": "az-1", "kind": kind});
    let mut instances: Vec<Value> = data.iter().map(|i| instance(i, "redis")).collect();
    instances.extend(made.sentinels.iter().map(|i| instance(i, "sentinel")));
    let service = json!({"id": "cart", "system": "shop", "mode": "sentinel", "instances": instances,
        "sentinel": {"master_name": "cart"}});
    let warden = peer::ours(vec![service], 6, Setup::default()).await;
    let mut took = Vec::new();
    for _ in 0..FAILOVERS {
        settled(&fleet, &data, &made.sentinels).await;
        let old = data.iter().copied().find(|i| fleet.nodes[*i].is_master()).expect("a master");
        for replica in data.iter().filter(|i| **i != old) {
            let address = &fleet.nodes[*replica].address;
            wait::until("the page of a replica says so", || async {
                (!is_master(&warden, address).await).then_some(())
            })
            .await;
        }
        let switched = switch_master(&fleet.nodes[made.sentinels[0]].address).await;
        fleet.nodes[made.sentinels[0]].cli(&["SENTINEL", "FAILOVER", "cart"]);
        let (heard, new) =
            wait::until("+switch-master", || async { switched.try_recv().ok() }).await;
        assert_ne!(new, fleet.nodes[old].address);
        while !is_master(&warden, &new).await {
            tokio::time::sleep(LOOK).await;
        }
        took.push(heard.elapsed().as_secs_f64());
    }
    let value = took.iter().copied().fold(0.0, f64::max);
    let context = format!(
        "longest of {FAILOVERS} failovers from +switch-master to the new role on /scrape, polls every 15 s: {took:.3?}"
    );
    Figure { id: "D7", value, unit: "seconds", gate: 2.0, stretch: 2.0, context }.print();
}

/// Everybody follows one master, and every Sentinel knows that.
async fn settled(fleet: &RedisFleet, data: &[usize], sentinels: &[usize]) {
    wait::until("the service is settled", || async {
        let linked =
            |i: &&usize| fleet.nodes[**i].info("replication").contains("master_link_status:up");
        let masters = data.iter().filter(|i| fleet.nodes[**i].is_master()).count();
        let calm = |i: &usize| {
            let said = fleet.nodes[*i].cli(&["SENTINEL", "MASTER", "cart"]);
            !["failover_in_progress", "s_down", "o_down"].iter().any(|flag| said.contains(flag))
        };
        let all = masters == 1 && data.iter().filter(linked).count() == 2;
        (all && sentinels.iter().all(calm)).then_some(())
    })
    .await;
}

/// Tells once when a Sentinel says `+switch-master`, and the address of the new master.
async fn switch_master(sentinel: &str) -> mpsc::Receiver<(Instant, String)> {
    let target =
        Target { address: sentinel.into(), user: String::new(), password: None, tls: None };
    let link = link::dial(&target, wait::PATIENCE).await.expect("the Sentinel answers");
    let (send, receive) = mpsc::channel();
    let (ready, subscribed) = mpsc::channel();
    tokio::spawn(async move {
        link::listen(link, &["+switch-master"], |heard| match heard {
            Heard::Subscribed => drop(ready.send(())),
            Heard::Message { text, .. } => {
                let words: Vec<&str> = text.split(' ').collect();
                let _ = send.send((Instant::now(), format!("{}:{}", words[3], words[4])));
            }
        })
        .await
    });
    wait::until("it is subscribed", || async { subscribed.try_recv().ok() }).await;
    receive
}

async fn is_master(warden: &Cachewarden, address: &str) -> bool {
    let (_, page) = warden.get(&format!("/scrape?target=pay.cart@{address}")).await;
    page.contains("redis_instance_info{role=\"master\"")
}

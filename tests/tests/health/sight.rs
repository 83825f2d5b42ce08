//! What cannot be read is never green: a refused INFO, a wrong password; and with two scrapers the one
//! that is cut off takes nothing for down.

use model::At;
use serde_json::{Value, json};
use tests::fleet::{RedisFleet, ZONES};
use tests::pg::Postgres;
use tests::process::{Cachewarden, Options, binary};
use tests::relay::Relay;
use tests::wait;

use crate::stage::{SECTIONS, Stage, listed, score};

fn unknown(page: &Value) -> bool {
    page["score"].is_null() && page["grade"] == "?"
}

/// `health.md`, "Done means" 4.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_has_no_number_and_comes_back_no_better() {
    let stage = Stage::solo(&["maxmemory 100mb"], "store", &[]).await;
    let path = stage.instance("solo", 0);
    stage.well(&path).await;
    for n in 0..97 {
        stage.redis(&["SETRANGE", &format!("k{n}"), "1040000", "x"]);
    }
    let bad = stage.until(&path, "memory is nearly full", |page| page["grade"] == "C").await;
    stage.redis(&["ACL", "SETUSER", "default", "-info"]);
    let blind = stage.until(&path, "a refused INFO is unknown", unknown).await;
    assert!(blind["reason"].as_str().unwrap().contains("noperm"), "{blind:#}");
    let id = path.trim_start_matches("/instances/").trim_end_matches("/health");
    wait::until("the score series is absent and the grade is 0", || async {
        let score = stage.series(&["cachewarden_health_score{level=\"instance\"", id]).await;
        let grade = stage.series(&["cachewarden_health_grade{level=\"instance\"", id]).await;
        (score.is_none() && grade == Some(0.0)).then_some(())
    })
    .await;
    stage.until("/services/pay.solo/health", "nor has the service one", unknown).await;
    stage.redis(&["ACL", "SETUSER", "default", "+info"]);
    let back = stage.until(&path, "it is read again", |page| page["score"].is_number()).await;
    assert!(["C", "D", "E"].contains(&back["grade"].as_str().unwrap()), "{back:#}");
    assert!(score(&back) <= score(&bad) + 2.0, "{back:#}");

    // A wrong password is our fault as well.
    let solo = json!({"id": "solo", "system": "shop", "profile": "store",
        "auth": {"password": "not-this-one"}, "instances": listed(&[&stage.fleet.nodes[0]])});
    stage.redis(&["CONFIG", "SET", "requirepass", "right-one"]);
    stage.cw.apply(&tests::process::inventory(json!([solo]))).await;
    let blind = stage.until(&path, "a wrong password is unknown", unknown).await;
    assert!(blind["reason"].as_str().unwrap().contains("auth"), "{blind:#}");
}

/// A second process on the same store and with the same key.
async fn beside(first: &Cachewarden, options: &Options) -> Cachewarden {
    let mut second = Cachewarden::prepared(options);
    std::fs::copy(first.dir.join("key"), second.dir.join("key")).unwrap();
    second.spawn_with(&[]);
    second.answers().await;
    second
}

/// Whether a process says that an instance is in that state.
async fn says(cw: &Cachewarden, id: &str, state: &str) -> bool {
    let (_, page) = cw.get("/metrics").await;
    let words = ["cachewarden_instance_state{", id, &format!("state=\"{state}\"")];
    page.lines().any(|l| words.iter().all(|w| l.contains(w)) && l.ends_with(" 1"))
}

/// When a score was made.
fn time(page: &Value) -> At {
    At::parse(page["at"].as_str().unwrap()).unwrap()
}

async fn agree(cw: &[&Cachewarden], ids: &[String], state: &str) {
    wait::until_within(&format!("all say {state}"), crate::stage::PATIENCE, || async {
        for (cw, id) in cw.iter().flat_map(|cw| ids.iter().map(move |id| (cw, id))) {
            if !says(cw, id, state).await {
                return None;
            }
        }
        Some(())
    })
    .await;
}

/// `health.md`, "Done means" 4. Nothing in these services could be asked about another: without the second
/// process one silent server in a zone that answers would be down after a minute.
#[tokio::test(flavor = "multi_thread")]
async fn with_two_scrapers_the_one_that_is_cut_off_takes_nothing_for_down_and_both_see_a_real_end()
{
    let pg = Postgres::start().await;
    let options =
        Options { more: SECTIONS.into(), store_url: Some(pg.url()), ..Options::default() };
    let mut first = Cachewarden::prepared(&options);
    let migrated = std::process::Command::new(binary())
        .args(["migrate", "--config"])
        .arg(first.config())
        .output()
        .unwrap();
    assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
    first.spawn_with(&[]);
    first.answers().await;
    let mut fleet = RedisFleet::new();
    let (mut relays, mut services, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..3 {
        let node = fleet.node(ZONES[1], &["maxmemory 1gb"]).await;
        let relay = Relay::start(ZONES[1], &fleet.nodes[node].address).await;
        services.push(json!({"id": format!("s{n}"), "system": "shop",
            "instances": [{"address": relay.address, "zone": "az-2"}]}));
        ids.push(format!("pay.s{n}@{}", relay.address));
        relays.push(relay);
    }
    let stage = Stage::on(first, fleet, json!(services), &[]).await;
    let second = beside(&stage.cw, &options).await;
    let both = [&stage.cw, &second];
    agree(&both, &ids, "up").await;

    // One server out of sight for one scraper, in a zone that answers it.
    let path = format!("/instances/{}/health", ids[0]);
    relays[0].cut(stage.cw.pid());
    let begun = time(&stage.until(&path, "it is out of sight", unknown).await);
    // Longer than the minute after which it would be believed.
    stage
        .until(&path, "a minute is over", |page| {
            assert!(unknown(page), "{page:#}");
            time(page).since_ms(begun) > 70_000
        })
        .await;
    // Then the whole zone.
    relays[1..].iter().for_each(|relay| relay.cut(stage.cw.pid()));
    for id in &ids {
        stage.until(&format!("/instances/{id}/health"), "out of sight", unknown).await;
    }
    for id in &ids {
        assert!(says(&second, id, "up").await && !says(&stage.cw, id, "down").await, "{id}");
    }
    relays.iter().for_each(Relay::mend);
    agree(&both, &ids, "up").await;

    // The zone's servers really stop: each scraper has the other's word.
    stage.fleet.nodes.iter().for_each(|node| node.signal("STOP"));
    agree(&both, &ids, "down").await;
    let (_, page) = stage.cw.api(&path).await;
    assert_eq!((&page["score"], &page["grade"]), (&json!(0.0), &json!("E")), "{page:#}");
    stage.fleet.nodes.iter().for_each(|node| node.signal("CONT"));
    agree(&both, &ids, "up").await;
}

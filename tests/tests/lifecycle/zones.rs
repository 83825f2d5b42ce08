//! A zone is emptied of masters and gets them back, while writers go on and the process dies on the way.

use serde_json::{Value, json};
use tests::inventory::{Listed, document};
use tests::load::{Find, Load};
use tests::nodes::{call, role};
use tests::stage::{NAME, Stage};
use tests::wait;

use crate::course::{nothing_held, plan_of, points, through};

/// Acting steps of an evacuation.
pub const EMPTIED: &[&str] = &["close_zone", "wave", "bench_zone"];
/// Acting steps of the way back.
pub const FILLED: &[&str] = &["unbench_zone", "wave", "open_zone"];

async fn is_master(address: &str) -> bool {
    matches!(role(address).await, Some(link::reply::role::RoleReply::Master { .. }))
}

async fn priority(address: &str) -> String {
    let value = call(address, &["CONFIG", "GET", "replica-priority"]).await.expect("it answers");
    link::reply::items(&value).and_then(|p| link::reply::text(&p[1])).expect("a priority")
}

async fn evacuated(stage: &Stage, zone: &str) -> Value {
    stage.warden.get(&format!("/zones/{zone}/loss")).await["evacuated"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_is_emptied_and_filled_again_over_a_crash_at_every_point() {
    let mut stage = Stage::restartable("", "10m").await;
    let book = stage.nodes().replicated(1, &[]).await;
    let cart = stage.data.clone();
    let listed = [
        Listed::new(NAME, "standalone", cart.clone()),
        Listed::new("book", "standalone", book.clone()),
    ];
    stage.warden.apply(&document(&listed, "10m")).await;
    let first = Load::start(stage.find(&cart[0]), 1).await;
    let second = Load::start(Find::Role(book.clone()), 1).await;

    let params = json!({"discovery": "none_needed", "soak_s": 0});
    let planned = plan_of(&stage, "az-1", "evacuate", &params).await;
    assert_eq!(planned["plan"]["confirm"], "az-1");
    let checks = planned["plan"]["checks"].to_string();
    assert!(checks.contains("if az-1 were lost now: "), "what it would cost is told: {checks}");
    let commands = planned["plan"]["steps"][1]["commands"].to_string();
    assert!(commands.contains("REPLICAOF NO ONE"), "a dry run shows every command: {commands}");
    let mut points_of = points(&planned);
    assert_eq!(points_of.len(), 2 * EMPTIED.len(), "{points_of:?}");
    let at = points_of.iter().position(|p| p.ends_with("bench_zone:before")).unwrap();
    points_of.insert(at, "switchover.drain:after".into());
    let page = through(&mut stage, &planned, &points_of).await;
    let parts: Vec<_> = page.rows.iter().map(|r| (r.wave, r.state.unwrap().as_str())).collect();
    assert_eq!(parts, [(1, "done"), (2, "done")], "{:?}", page.rows);
    for [home, other] in [&cart, &book].map(|s| [&s[0], &s[1]]) {
        assert!(is_master(other).await && !is_master(home).await, "{home} was left");
        assert_eq!(priority(home).await, "0", "nobody promotes {home}");
    }
    assert_eq!(evacuated(&stage, "az-1").await, true);
    let another = stage.warden.plan("evacuate", "az-2", &params).await.unwrap_err();
    assert!(another.to_string().contains("restore it first"), "{another}");
    first.goes_on().await;
    second.goes_on().await;

    let planned = plan_of(&stage, "az-1", "zone_restore", &params).await;
    let points_of = points(&planned);
    through(&mut stage, &planned, &points_of).await;
    for home in [&cart[0], &book[0]] {
        assert!(is_master(home).await, "{home} is master again");
        assert_eq!(priority(home).await, "100");
    }
    wait::until("the zone is open", || async {
        (evacuated(&stage, "az-1").await == false).then_some(())
    })
    .await;
    nothing_held(&stage).await;
    first.goes_on().await;
    assert_eq!(first.stop().await.lost().await, [] as [String; 0]);
    assert_eq!(second.stop().await.lost().await, [] as [String; 0]);
}

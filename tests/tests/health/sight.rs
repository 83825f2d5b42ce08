//! What cannot be read is never green: a refused INFO, a wrong password.

use serde_json::{Value, json};
use tests::wait;

use crate::stage::{Stage, listed, score};

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

//! A drill hands over and back, and its figures are those a writer sees.

use serde_json::json;
use tests::load::Load;
use tests::stage::Stage;

use crate::course::{nothing_held, plan};

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_hands_over_and_back_and_counts_what_that_costs() {
    // Started on a busy machine, the servers may have had a bad minute: the grade may rise at once.
    let stage = Stage::restartable("[scorer]\nrise_s = 5\nwindow_s = 10", "10m").await;
    let master = stage.master().await;
    let planned = plan(&stage, "drill", &json!({"discovery": "none_needed"})).await;
    let load = Load::start(stage.find(&master), 1).await;
    let id = stage.warden.begin(&planned, "drill").await.unwrap();
    let page = stage.warden.over(&id).await;
    assert_eq!(page.operation.state.as_str(), "done", "{page:#?}");
    assert_eq!(stage.master().await, master, "it is where it was");
    for way in ["drill_there", "drill_back"] {
        let figures = &page.operation.outcome[way];
        assert_eq!(figures["lost"], 0, "{figures}");
        assert_eq!(figures["whole"], true, "{figures}");
        assert!(
            figures["acknowledged"].as_u64() > Some(0) && figures["rto_ms"].is_u64(),
            "{figures}"
        );
    }
    load.goes_on().await;
    assert_eq!(load.stop().await.lost().await, [] as [String; 0]);
    nothing_held(&stage).await;
}

//! A backup under load, and its restore into an empty node.

use ops::provider::{Line, NodeKind};
use serde_json::json;
use tests::inventory::{Listed, document};
use tests::load::Load;
use tests::nodes::call;
use tests::stage::{NAME, SERVICE, Stage};

use crate::course::{plan, plan_of, points, through};

/// Acting steps of a backup.
pub const KEPT: &[&str] = &["save", "keep", "record"];
/// Acting steps of a restore.
pub const RESTORED: &[&str] = &["restore", "append"];

async fn keys(address: &str) -> f64 {
    call(address, &["DBSIZE"]).await.as_ref().and_then(link::reply::number).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_restored_key_by_key_over_a_crash_at_every_point() {
    let files = tempfile::Builder::new().prefix("cw-backup-").tempdir().unwrap();
    let sections = format!("[ops]\nbackup_dir = \"{}\"", files.path().display());
    let mut stage = Stage::restartable(&sections, "10m").await;
    let lines = vec![Line::new("save", [""]), Line::new("appendonly", ["yes"])];
    let copy = stage.nodes().node(2, NodeKind::Data, lines).await;
    let listed = [
        Listed::new(NAME, "standalone", stage.data.clone()),
        Listed::new("copy", "standalone", vec![copy.clone()]),
    ];
    stage.warden.apply(&document(&listed, "10m")).await;
    let master = stage.master().await;
    let load = Load::start(stage.find(&master), 2).await;

    let planned = plan(&stage, "backup", &json!({})).await;
    let replica = planned["plan"]["steps"][0]["target"].as_str().unwrap();
    assert!(replica.ends_with(&stage.data[1]), "from the replica: {replica}");
    let points_of = points(&planned);
    assert_eq!(points_of.len(), 6, "{points_of:?}");
    let page = through(&mut stage, &planned, &points_of).await;
    load.goes_on().await;
    let written = load.stop().await;
    let backups = stage.warden.items("/backups").await;
    let [backup] = backups.as_slice() else { panic!("{backups:?}") };
    let id = backup["id"].as_str().unwrap();
    assert!(id.starts_with(&page.operation.id) && backup["service"] == SERVICE, "{backup}");
    let kept = backup["keys"].as_f64().unwrap();
    assert!(kept > 0.0 && kept <= written.keys.len() as f64, "{backup}");
    let bytes = std::fs::read(backup["path"].as_str().unwrap()).unwrap();
    let hash = model::audit::sha256_hex(&bytes);
    assert_eq!(backup["sha256"].as_str(), Some(hash.as_str()));

    let busy = stage.warden.plan("restore", SERVICE, &json!({"backup": id})).await.unwrap_err();
    assert!(
        busy.to_string().contains("restore into an empty node")
            || busy.to_string().contains("name the node"),
        "{busy}"
    );
    let planned = plan_of(&stage, "demo.copy", "restore", &json!({"backup": id})).await;
    let points_of = points(&planned);
    assert_eq!(points_of.len(), 4, "{points_of:?}");
    through(&mut stage, &planned, &points_of).await;
    assert_eq!(keys(&copy).await, kept);
    // The append-only file holds it too, so that it does not hide an empty one.
    stage.nodes().kill(&copy).await;
    stage.nodes().start(&copy).await;
    assert_eq!(keys(&copy).await, kept);
}

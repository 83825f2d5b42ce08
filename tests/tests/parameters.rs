//! Changes of parameters on real nodes: all of them or none, in memory, in the file and as the wish; and
//! a slow log that is kept before it is emptied.
#![cfg(feature = "fault")]

use model::operation::OperationState;
use serde_json::{Value, json};
use tests::nodes::{call, config, told};
use tests::stage::{NAME, SERVICE, Stage};
use tests::wait;

async fn change(stage: &Stage, set: Value) -> (OperationState, String) {
    let params = json!({ "set": set });
    let plan = stage.warden.plan("param_change", SERVICE, &params).await.expect("a plan");
    let id = stage.warden.begin(&plan, plan["hash"].as_str().unwrap()).await.expect("it answers");
    let over = stage.warden.over(&id).await;
    (over.operation.state, over.operation.reason)
}

async fn row(stage: &Stage, name: &str) -> Value {
    let page = stage.warden.get(&format!("/services/{SERVICE}/parameters")).await;
    let items = page["items"].as_array().expect("items");
    items.iter().find(|r| r["name"] == name).cloned().expect("a parameter of the schema")
}

fn line(file: &str, name: &str) -> Option<String> {
    let prefix = format!("{name} ");
    file.lines().find_map(|l| l.strip_prefix(&prefix)).map(str::to_string)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_in_value_file_and_wish_of_all_nodes_and_drift_is_told() {
    let mut stage = Stage::restartable_sentinel("", "10m").await;
    let set = json!({ "hz": "20", "client-output-buffer-limit": "replica 512mb 128mb 60" });
    let (state, reason) = change(&stage, set).await;
    assert_eq!(state, OperationState::Done, "{reason}");
    for address in &stage.data {
        assert_eq!(config(address, "hz").await, "20");
        assert!(config(address, "client-output-buffer-limit").await.contains("slave 536870912"));
        let file = stage.nodes().conf_text(address);
        assert_eq!(line(&file, "hz").as_deref(), Some("20"), "{file}");
    }
    let hz = row(&stage, "hz").await;
    assert_eq!((&hz["desired"]["value"], &hz["drift"]), (&json!("20"), &json!(false)), "{hz:#}");

    let (state, reason) = change(&stage, json!({ "down-after-milliseconds": 4000 })).await;
    assert_eq!(state, OperationState::Done, "{reason}");
    for sentinel in &stage.sentinels {
        let has = told(sentinel, NAME, "down-after-milliseconds").await;
        assert_eq!(has.as_deref(), Some("4000"));
    }

    // By hand, past us and past the file.
    let hand = stage.data[1].clone();
    call(&hand, &["CONFIG", "SET", "hz", "33"]).await.expect("a node takes it");
    let hz = row(&stage, "hz").await;
    let states: Vec<&str> =
        hz["nodes"].as_array().unwrap().iter().filter_map(|n| n["state"].as_str()).collect();
    assert_eq!(states.iter().filter(|s| **s == "differs").count(), 1, "{hz:#}");
    // The daily look of a new process is its first.
    stage.warden.kill();
    stage.warden.start_again().await;
    wait::until("the drift is a series", || async {
        let page = stage.warden.page("/metrics").await?;
        let of = |address: &String, value: u8| {
            let instance = format!("@{address}\"");
            page.lines().any(|l| {
                l.starts_with("cachewarden_config_drift{")
                    && l.contains("parameter=\"hz\"")
                    && l.contains(&instance)
                    && l.ends_with(&format!(" {value}"))
            })
        };
        (of(&hand, 1) && of(&stage.data[0], 0)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_one_node_rejects_leaves_every_node_with_its_old_value() {
    let stage = Stage::restartable("", "10m").await;
    let master = stage.master().await;
    let deny = ["ACL", "SETUSER", "default", "-config|set"];
    call(&master, &deny).await.expect("the master takes it");
    let (state, reason) = change(&stage, json!({ "hz": 25, "timeout": 77 })).await;
    assert_eq!(state, OperationState::Unwound, "{reason}");
    assert!(reason.contains("NOPERM") || reason.contains("permission"), "{reason}");
    for address in &stage.data {
        assert_eq!(config(address, "hz").await, "10");
        assert_eq!(config(address, "timeout").await, "0");
        let file = stage.nodes().conf_text(address);
        assert!(line(&file, "hz").is_none_or(|v| v == "10"), "{file}");
    }
    assert_eq!(row(&stage, "hz").await["desired"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_and_forms_of_the_schema_are_those_of_a_real_server() {
    let mut fleet = tests::fleet::RedisFleet::new();
    let node = fleet.node(tests::fleet::ZONES[0], &[]).await;
    let address = fleet.nodes[node].address.clone();
    // What the test's own file sets.
    let own = ["save", "port", "repl-diskless-sync-delay"];
    for param in ops::params::NODE.iter().filter(|p| p.is_mutable() && !own.contains(&p.name)) {
        assert_eq!(config(&address, param.name).await, param.default, "{}", param.name);
        let set = call(&address, &["CONFIG", "SET", param.name, param.default]).await;
        assert!(set.is_some(), "{} cannot be set online", param.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_log_is_kept_without_its_arguments_before_it_is_emptied() {
    let stage = Stage::restartable("", "10m").await;
    let address = stage.data[0].clone();
    for command in [
        &["CONFIG", "SET", "slowlog-log-slower-than", "0"][..],
        &["SET", "planted-key", "planted-value"],
        &["CONFIG", "SET", "slowlog-log-slower-than", "-1"],
    ] {
        call(&address, command).await.expect("a master");
    }
    let plan = stage.warden.plan("slowlog_reset", SERVICE, &json!({})).await.expect("a plan");
    let id = stage.warden.begin(&plan, "reset").await.expect("it answers");
    let over = stage.warden.over(&id).await;
    assert_eq!(over.operation.state, OperationState::Done, "{}", over.operation.reason);
    let left = call(&address, &["SLOWLOG", "LEN"]).await.as_ref().and_then(link::reply::number);
    assert_eq!(left, Some(0.0));
    let kept =
        stage.count("SELECT count(*) FROM slowlog_archive WHERE body LIKE '%\"set\"%'").await;
    assert_eq!(kept, 1, "the shape is kept");
    let planted = "SELECT count(*) FROM slowlog_archive WHERE body LIKE '%planted%'";
    assert_eq!(stage.count(planted).await, 0, "and no argument");
}

//! The command line against the real process: what it prints and how it ends.

use std::process::{Command, Output, Stdio};

use model::score::Explained;
use reqwest::Method;
use serde_json::Value;
use tests::process::binary;

use crate::world::{World, answered, message};

fn run(world: &World, who: &str, args: &[&str]) -> Output {
    let home = world.cw.dir.join("home");
    Command::new(binary())
        .args(args)
        .env_clear()
        .env("HOME", &home)
        .env("CACHEWARDEN_URL", &world.cw.url)
        .env("CACHEWARDEN_TOKEN", world.token(who))
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_come_as_a_table_as_json_and_as_lines() {
    let world = World::start().await;
    let table = out(&run(&world, "reader", &["get", "services"]));
    assert!(table.starts_with("ID") && table.contains("pay.cart"), "{table}");
    let json: Value =
        serde_json::from_str(&out(&run(&world, "reader", &["get", "services", "-o", "json"])))
            .unwrap();
    assert_eq!(json[0]["id"], "pay.cart");
    let lines = out(&run(&world, "admin", &["get", "instances", "-o", "ndjson"]));
    assert_eq!(lines.lines().count(), 2);
    for nouns in
        ["overview", "me", "tenants", "systems", "alerts", "incidents", "operations", "runbooks"]
    {
        let got = run(&world, "reader", &["get", nouns]);
        assert!(got.status.success(), "{nouns}: {}", err(&got));
    }
    let described = out(&run(&world, "reader", &["describe", "instance", &world.cart]));
    assert!(
        described.contains("state: down") || described.contains("state: unknown"),
        "{described}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn people_get_a_summary_whole_counts_and_short_ids() {
    let world = World::start().await;
    let overview = out(&run(&world, "reader", &["get", "overview"]));
    assert!(overview.starts_with("score ") && overview.contains("ZONE"), "{overview}");
    assert!(!overview.contains('{') && !overview.contains("hr."), "{overview}");
    let me = out(&run(&world, "reader", &["get", "me"]));
    assert!(me.contains("local/reader") && me.contains("tenant:pay"), "{me}");
    let services = out(&run(&world, "reader", &["get", "services"]));
    let head: Vec<&str> = services.lines().next().unwrap().split_whitespace().collect();
    let row: Vec<&str> = services.lines().nth(1).unwrap().split_whitespace().collect();
    let n = |name: &str| -> u64 {
        let at = head.iter().position(|h| *h == name).unwrap_or_else(|| panic!("{services}"));
        // Columns before ENGINE are always there; it is "-" for one that never answered.
        row[at].parse().unwrap_or_else(|_| panic!("{services}"))
    };
    assert_eq!(n("INSTANCES"), n("UP") + n("DOWN") + n("UNKNOWN"), "{services}");
    let runbooks = out(&run(&world, "reader", &["get", "runbooks"]));
    assert!(runbooks.contains("observe@platform"), "{runbooks}");
    let csv = out(&run(&world, "reader", &["get", "services", "-o", "csv"]));
    assert!(csv.starts_with("id,") && csv.contains("pay.cart"), "{csv}");
    let refused = run(&world, "reader", &["get", "services", "--sort", "memory"]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(err(&refused).contains("mem, ops"), "{}", err(&refused));
    let nowhere = run(&world, "reader", &["get", "alerts", "--in", "pya"]);
    assert_eq!(nowhere.status.code(), Some(4));
    assert!(err(&nowhere).contains("Did you mean pay"), "{}", err(&nowhere));
    // The beginning of an id is enough.
    let token = world.new_token("intake", &["tenant:pay"]).await;
    let post = world.bare(Method::POST, "/api/v1/intake/alertmanager").bearer_auth(&token);
    let posted = answered(post.json(&message("pay", "One", None))).await;
    assert_eq!(posted.status, 202, "{}", posted.text);
    let alerts = world.get("reader", "/alerts").await.json();
    let id = alerts["items"][0]["id"].as_str().unwrap().to_string();
    let short = &id[..id.len() - 1];
    let one = run(&world, "reader", &["describe", "alert", short]);
    assert!(out(&one).contains(&id), "{}{}", out(&one), err(&one));
    let long = run(&world, "operator", &["token", "create", "--name", "t", "--days", "90"]);
    assert_eq!(long.status.code(), Some(3));
    assert!(err(&long).contains("login --days"), "{}", err(&long));
    let fine = run(&world, "operator", &["token", "create", "--name", "t"]);
    assert!(out(&fine).starts_with("cw_") && err(&fine).contains("it ends"), "{}", err(&fine));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_waterfall_in_text_adds_up() {
    let world = World::start().await;
    for id in ["pay.cart", "pay.cart/0", "pay.core", "pay", world.cart.as_str()] {
        // The text after the JSON: a first score may come between the two, and stays.
        let json = out(&run(&world, "reader", &["explain", "score", id, "-o", "json"]));
        let text = out(&run(&world, "reader", &["explain", "score", id]));
        let value: Value = serde_json::from_str(&json).unwrap();
        let explained: Explained = serde_json::from_value(value.clone()).unwrap();
        if explained.score.is_some() {
            assert!(text.contains("= score\n"), "{text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_end_has_its_exit_code() {
    let world = World::start().await;
    let code = |args: &[&str]| run(&world, "reader", args).status.code().unwrap();
    assert_eq!(code(&["describe", "service", "pay.nothing"]), 4);
    assert_eq!(code(&["describe", "service", "hr.cache"]), 4);
    assert_eq!(code(&["op", "plan", "switchover", "pay.cart"]), 3);
    assert_eq!(code(&["audit", "verify"]), 3);
    assert_eq!(code(&["get", "nonsense"]), 2);
    assert_eq!(code(&["apply", "-f", "/nonexistent.yaml"]), 2);
    assert_eq!(code(&["--url", "http://127.0.0.1:1", "get", "me"]), 5);
    assert_eq!(code(&["--token", "cw_0", "get", "me"]), 1);
    let refused = run(&world, "operator", &["op", "plan", "switchover", "pay.cart"]);
    let said = err(&refused);
    assert_eq!(refused.status.code(), Some(3), "{said}");
    assert!(said.contains("CW-1402") && said.contains("next:"), "{said}");
    assert_eq!(run(&world, "auditor", &["audit", "verify"]).status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn logging_in_keeps_a_token_and_logging_out_ends_it() {
    let world = World::start().await;
    let home = world.cw.dir.join("home");
    let password = world.cw.dir.join("password");
    std::fs::write(&password, format!("{}\n", crate::world::PASSWORD)).unwrap();
    let run = |args: &[&str]| {
        Command::new(binary())
            .args(args)
            .env_clear()
            .env("HOME", &home)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let file = home.join(".config/cachewarden/cli.toml");
    let shown = password.display().to_string();
    let login =
        run(&["--url", &world.cw.url, "login", "--name", "operator", "--password-file", &shown]);
    assert!(login.status.success(), "{}", err(&login));
    let kept = std::fs::read_to_string(&file).unwrap();
    assert!(!out(&login).contains("cw_") && kept.contains("cw_"));
    assert!(out(&run(&["get", "services"])).contains("pay.cart"));
    assert!(run(&["logout"]).status.success());
    assert_eq!(run(&["get", "services"]).status.code(), Some(1));
    // Revoked, not only forgotten.
    std::fs::write(&file, kept).unwrap();
    assert_eq!(run(&["get", "services"]).status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_inventory_is_applied_once_and_a_bad_one_names_its_line() {
    let world = World::start().await;
    let file = world.cw.dir.join("inventory.yaml");
    let text = "version: 1\ntenants:\n- id: pay\n  networks: [127.0.0.0/8]\n  systems: [{id: core}, {id: extra, owner: ann}]\n";
    std::fs::write(&file, text).unwrap();
    let shown = file.display().to_string();
    let apply = |more: &[&str]| run(&world, "admin", &[&["apply", "-f", &shown], more].concat());
    let dry = apply(&["--dry-run"]);
    assert!(
        out(&dry).contains("pay.extra") && out(&dry).contains("would change 1"),
        "{}{}",
        out(&dry),
        err(&dry)
    );
    assert!(out(&apply(&[])).contains("changed 1"));
    assert!(out(&apply(&[])).contains("changed 0"));
    std::fs::write(&file, format!("{text}  nonsense: 1\n")).unwrap();
    let bad = apply(&[]);
    assert_eq!(bad.status.code(), Some(2));
    assert!(err(&bad).contains("line 6"), "{}", err(&bad));
}

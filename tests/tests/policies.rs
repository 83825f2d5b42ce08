//! Threshold policies on a real server: what is published is in force with the next sample; what is
//! refused, where it stands and why; revisions, locks, calendars; a backtest before it; the pages.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};
use tests::fleet::{RedisFleet, ZONES};
use tests::process::{Cachewarden, binary, inventory};
use tests::wait;

/// A process that watches one server of `pay.solo` every second.
struct Stage {
    _fleet: RedisFleet,
    cw: Cachewarden,
    id: String,
    http: reqwest::Client,
}

impl Stage {
    async fn start() -> Stage {
        let mut fleet = RedisFleet::new();
        fleet.node(ZONES[0], &["maxmemory 100mb"]).await;
        let cw = Cachewarden::start("").await;
        let address = fleet.nodes[0].address.clone();
        let solo = json!({"id": "solo", "system": "shop",
            "instances": [{"address": address, "zone": "az-1"}]});
        cw.apply(&inventory(json!([solo]))).await;
        let id = format!("pay.solo@{address}");
        wait::until("a sample", || async {
            let (_, found) = cw.api(&format!("/instances/{id}")).await;
            (found["instance"]["verdict"] == "up" || found.to_string().contains("\"up\""))
                .then_some(())
        })
        .await;
        Stage { _fleet: fleet, cw, id, http: reqwest::Client::new() }
    }

    async fn ask(&self, method: Method, path: &str, rev: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/v1{path}", self.cw.url);
        let request = self.http.request(method, url).bearer_auth(self.cw.token().await);
        let answer = request.header("if-match", rev).json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn put(&self, text: &str, rev: &str) -> (u16, Value) {
        let policy = text.lines().find_map(|l| l.strip_prefix("policy: ")).unwrap();
        let body = json!({ "text": text, "reason": "CHG-1" });
        self.ask(Method::PUT, &format!("/policies/{policy}"), rev, &body).await
    }

    /// Waits until a policy fires as often on the server.
    async fn fires(&self, policy: &str, times: usize) {
        wait::until(&format!("{policy} fires {times} times"), || async {
            let (_, all) = self.cw.api("/alerts?limit=500").await;
            let mine = |a: &&Value| a["policy"] == policy && a["phase"] != "resolved";
            let n = all["items"].as_array()?.iter().filter(mine).count();
            (n == times).then_some(())
        })
        .await;
    }

    async fn cli(&self, args: &[&str]) -> Output {
        let token = self.cw.token().await;
        let mut command = Command::new(binary());
        command.args(args).env("CACHEWARDEN_URL", &self.cw.url).env("CACHEWARDEN_TOKEN", token);
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// Fires on every server there is.
const BUSY: &str = "policy: busy
scope: platform
signal: {metric: redis_connected_clients}
compare: '>='
levels:
  warning: {fire: 0, alertname: RedisBusy}
";

#[tokio::test(flavor = "multi_thread")]
async fn a_published_policy_is_in_force_with_the_next_sample_and_ends_when_it_is_retired() {
    let stage = Stage::start().await;
    let check = json!({ "text": BUSY });
    let (status, page) = stage.ask(Method::POST, "/policies/check", "*", &check).await;
    assert_eq!(status, 200, "{page:#}");
    assert_eq!(
        page["check"],
        json!({"faults": [], "reach": [
        {"tenant": "pay", "instances": 1, "changed": 1}]})
    );
    let (status, page) = stage.ask(Method::POST, "/policies/backtest", "*", &check).await;
    assert_eq!(status, 200, "{page:#}");
    let data = &page["backtest"]["data"];
    assert_eq!((&data["source"], &data["instances"]), (&json!("memory"), &json!(1)), "{data:#}");
    assert_eq!(
        (&data["without_data"], &page["backtest"]["draft"]["fired"]),
        (&json!(0), &json!(1))
    );

    let (status, page) = stage.put(BUSY, "*").await;
    assert_eq!(
        (status, &page["rev"], &page["shipped"]),
        (200, &json!(1), &json!(false)),
        "{page:#}"
    );
    stage.fires("busy", 1).await;
    let path = format!("/policies/effective?policy=busy&instance={}", stage.id);
    let (_, all) = stage.cw.api(&path).await;
    let fire = all["items"][0]["effective"].as_array().unwrap();
    let fire = fire.iter().find(|f| f["field"] == "levels.warning.fire").unwrap();
    assert_eq!(fire["origin"], "platform, rev 1");

    let calm = BUSY.replace("scope: platform", "scope: tenant:pay");
    let calm = calm.replace("fire: 0,", "fire: 100000,");
    let (status, page) = stage.put(&calm, "*").await;
    assert_eq!(status, 200, "{page:#}");
    stage.fires("busy", 0).await;
    let gone = json!({ "scope": "tenant:pay", "reason": "CHG-2" });
    let (status, page) = stage.ask(Method::POST, "/policies/busy/retire", "\"1\"", &gone).await;
    assert_eq!((status, &page["rev"]), (200, &json!(0)), "{page:#}");
    stage.fires("busy", 1).await;
    let back = json!({ "scope": "tenant:pay", "rev": 1, "reason": "CHG-3" });
    let (status, page) = stage.ask(Method::POST, "/policies/busy/restore", "*", &back).await;
    assert_eq!((status, &page["rev"]), (200, &json!(3)), "{page:#}");
    stage.fires("busy", 0).await;
    let (_, all) = stage.cw.api("/policies/busy/revisions").await;
    let told: Vec<_> = all["items"].as_array().unwrap().iter().map(|r| &r["reason"]).collect();
    assert_eq!(told, ["CHG-3", "CHG-2", "CHG-1", "CHG-1"]);
    let (_, trail) = stage.cw.api("/audit?limit=50").await;
    for action in ["policy.publish", "policy.retire"] {
        assert!(trail.to_string().contains(action), "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_breaks_a_lock_a_cap_or_a_calendar_is_refused_with_its_line() {
    let stage = Stage::start().await;
    let lock = "policy: memory-used\nscope: platform\nlocked: [levels.critical.fire]\ncaps:\n  \
                levels.warning.fire: {max: 0.85}\n";
    let (status, page) = stage.put(lock, "*").await;
    assert_eq!(status, 200, "{page:#}");
    let tenant = |levels: &str| format!("policy: memory-used\nscope: tenant:pay\n{levels}\n");
    for (levels, line, pointer, why) in [
        ("levels:\n  critical:\n    fire: 0.99", 5, "/levels/critical/fire", "platform locks it"),
        ("levels:\n  warning: {fire: 0.9}", 4, "/levels/warning/fire", "the cap of platform"),
        ("calendar: {mute: [night]}", 3, "/calendar/mute/0", "no calendar \"night\""),
        ("levels: {critical: {fier: 1}}", 3, "", "fier"),
    ] {
        let (status, said) = stage.put(&tenant(levels), "*").await;
        assert_eq!((status, &said["code"]), (422, &json!("CW-1001")), "{levels}: {said:#}");
        let fault = &said["errors"][0];
        assert_eq!(
            (&fault["line"], &fault["pointer"]),
            (&json!(line), &json!(pointer)),
            "{said:#}"
        );
        assert!(fault["detail"].as_str().unwrap().contains(why), "{said:#}");
    }
    let tight = tenant("levels: {critical: {fire: 0.93, clear: 0.88}}");
    let (status, page) = stage.put(&tight, "*").await;
    assert_eq!((status, &page["rev"]), (200, &json!(1)), "{page:#}");
    let (status, said) = stage.put(&tenant("keep_firing_for: 9m"), "\"7\"").await;
    assert_eq!((status, &said["code"]), (409, &json!("CW-1400")), "{said:#}");
    assert_eq!(said["errors"][0]["rev"], 1, "the present one is shown");
    let (status, said) = stage.ask(Method::PUT, "/policies/memory-used", "", &json!({
        "doc": {"policy": "memory-used", "scope": "tenant:pay", "keep_firing_for": "9m"}, "reason": "x",
    })).await;
    assert_eq!((status, &said["code"]), (428, &json!("CW-1411")), "{said:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_lints_publishes_edits_and_backtests_files() {
    let stage = Stage::start().await;
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let bad = file("bad.yaml", "policy: busy\nscope: platform\nsignal: {metric: nope}\n");
    let out = stage.cli(&["policy", "lint", &bad]).await;
    let text = said(&out);
    assert!(!out.status.success() && text.contains("bad.yaml:3: signal"), "{text}");
    let good = file("busy.yaml", BUSY);
    let out = stage.cli(&["policy", "lint", &good]).await;
    assert!(out.status.success() && said(&out).contains("fine"), "{}", said(&out));
    let out = stage.cli(&["policy", "backtest", &good, "--from", "1h"]).await;
    assert!(out.status.success() && said(&out).contains("alerts a day"), "{}", said(&out));
    let out = stage.cli(&["policy", "publish", &good, "--reason", "CHG-9"]).await;
    assert!(out.status.success() && said(&out).contains("revision 1"), "{}", said(&out));
    stage.fires("busy", 1).await;
    // An editor that raises the threshold.
    let editor = file("edit.sh", "#!/bin/sh\nset -eu\nsed -i 's/fire: 0/fire: 100000/' \"$1\"\n");
    let token = stage.cw.token().await.to_string();
    let mut command = Command::new(binary());
    command.args(["policy", "edit", "busy", "--reason", "CHG-10"]);
    command.env("CACHEWARDEN_URL", &stage.cw.url).env("CACHEWARDEN_TOKEN", token);
    command.env("EDITOR", format!("sh {editor}")).env_remove("VISUAL");
    let out = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    assert!(out.status.success() && said(&out).contains("revision 2"), "{}", said(&out));
    stage.fires("busy", 0).await;
    for (args, holds) in [
        (&["policy", "list", "-q", "busy"][..], "redis_connected_clients".to_string()),
        (&["policy", "history", "busy"], "CHG-10".into()),
        (&["policy", "show", "busy"], "levels.warning.fire".into()),
        (&["policy", "effective", stage.id.as_str()], "memory-used".into()),
        (&["get", "alert-quality"], String::new()),
    ] {
        let out = stage.cli(args).await;
        assert!(out.status.success() && said(&out).contains(&holds), "{args:?}: {}", said(&out));
    }
}

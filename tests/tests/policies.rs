//! Threshold policies on a real server: what is published is in force with the next sample; what is
//! refused, where it stands and why; revisions, locks, calendars; a backtest before it; the pages.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::process::{Command, Output};

use reqwest::Method;
use serde_json::{Value, json};
use tests::fleet::{RedisFleet, ZONES};
use tests::process::{Cachewarden, binary, inventory};
use tests::prometheus::Prometheus;
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
        wait::until("samples", || async {
            let body = json!({ "text": BUSY });
            let (_, page) = cw.post("/policies/backtest", &body).await;
            (page["backtest"]["data"]["samples"].as_i64()? > 0).then_some(())
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

/// Three days of memory that is full for ten minutes at the beginning of each hour.
fn past(id: &str, end_s: i64) -> String {
    let mut text = String::new();
    let times: Vec<i64> = (0..3 * 1440).map(|n| end_s - n * 60).rev().collect();
    for (name, value) in [
        ("redis_up", (|_| 1.0) as fn(i64) -> f64),
        ("redis_memory_max_bytes", |_| 1000.0),
        ("redis_memory_used_bytes", |t| if t % 3600 < 600 { 990.0 } else { 100.0 }),
    ] {
        text.push_str(&format!("# TYPE {name} gauge\n"));
        for t in &times {
            text.push_str(&format!("{name}{{instance=\"{id}\"}} {} {t}\n", value(*t)));
        }
    }
    text.push_str("# EOF\n");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backtest_reads_days_out_of_prometheus_raw_and_in_steps() {
    let id = "pay.solo@127.0.1.1:6399";
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let end = now.as_secs() as i64 / 60 * 60 - 60;
    let prometheus = Prometheus::with_past(&past(id, end)).await;
    let cw = Cachewarden::start(&format!("[history]\nurl = \"{}\"\n", prometheus.url())).await;
    let service = |name: &str, address: &str| json!({"id": name, "system": "shop", "instances": [{"address": address, "zone": "az-1"}]});
    let both = json!([service("solo", "127.0.1.1:6399"), service("duo", "127.0.1.1:6398")]);
    cw.apply(&inventory(both)).await;
    let draft = "policy: memory-used\nscope: tenant:pay\nlevels: {critical: {for: 1m}}\n";
    for (from, raw, least, most) in [("1d", true, 22, 25), ("3d", false, 68, 74)] {
        let body = json!({"text": draft, "from": from, "pages_per_week": 1000});
        let (status, page) = cw.post("/policies/backtest", &body).await;
        assert_eq!(status, 200, "{page:#}");
        let found = &page["backtest"];
        let data = &found["data"];
        assert_eq!((&data["source"], data["step_s"] == 0), (&json!("prometheus"), raw), "{data:#}");
        assert_eq!((&data["instances"], &data["without_data"]), (&json!(2), &json!(1)), "{data:#}");
        assert!(data["coverage"].as_f64().unwrap() > 0.2, "{data:#}");
        let levels = found["draft"]["levels"].as_array().unwrap();
        let critical = levels.iter().find(|l| l["name"] == "critical").unwrap();
        let fired = critical["fired"].as_i64().unwrap();
        assert!((least..=most).contains(&fired), "{from}: {found:#}");
        assert!(!found["suggestions"].as_array().unwrap().is_empty(), "{found:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_for_prometheus_are_written_as_rule_files_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().display();
    let cw = Cachewarden::start(&format!("[alerter.rules]\ndir = \"{folder}\"\n")).await;
    cw.apply(&inventory(json!([]))).await;
    let both = format!("{BUSY}engine: both\nlabels: {{dimension: busy}}\n");
    let http = reqwest::Client::new();
    let body = json!({ "text": both, "reason": "CHG-1" });
    let put = http.put(format!("{}/api/v1/policies/busy", cw.url)).json(&body);
    let answer = put.bearer_auth(cw.token().await).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let file = dir.path().join("cw-busy.yml");
    let text = wait::until("the file is written", || async { std::fs::read_to_string(&file).ok() });
    let text = text.await;
    assert!(text.contains("alert: RedisBusy") && text.contains("shadow"), "{text}");
    let item = wait::until("it is in force", || async {
        let (_, all) = cw.api("/rules").await;
        let item = all["items"][0].clone();
        (!item["published_at"].is_null()).then_some(item)
    });
    let item = item.await;
    assert_eq!((&item["policies"], &item["error"]), (&json!(["busy"]), &json!("")));
    let get = http.get(format!("{}/api/v1/rules/cw-busy.yml", cw.url));
    let pulled = get.bearer_auth(cw.token().await).send().await.unwrap().text().await.unwrap();
    assert_eq!(pulled, text, "a remote Prometheus reads the same");
    let gone = json!({ "scope": "platform", "rev": 1, "reason": "CHG-2" });
    let (status, page) = cw.post("/policies/busy/retire", &gone).await;
    assert_eq!(status, 200, "{page:#}");
    wait::until("the file is taken away", || async { (!file.exists()).then_some(()) }).await;
}

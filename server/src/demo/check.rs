//! `demo --check`: what must be seen on the real parts, one line and a time each.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::Demo;
use super::client;
use super::fleet::{self, until_within};
use super::load;
use super::narrate::say;

/// Detection takes a few intervals, `for` 15 s, a restart some seconds; a loaded machine twice that.
const PATIENCE: Duration = Duration::from_secs(150);
const INSTANCES: usize = 13;

/// Lines of the verdict.
struct Sheet {
    start: Instant,
    passed: u32,
    failed: u32,
}

impl Sheet {
    /// Runs one check and prints its line.
    async fn line(
        &mut self,
        what: &str,
        check: impl AsyncFnOnce() -> anyhow::Result<String>,
    ) -> bool {
        let began = Instant::now();
        let result = check().await;
        let took = began.elapsed().as_secs_f64();
        match &result {
            Ok(seen) => {
                self.passed += 1;
                say(self.start, &format!("PASS {what} ({took:.1} s): {seen}"));
            }
            Err(e) => {
                self.failed += 1;
                say(self.start, &format!("FAIL {what} ({took:.1} s): {e:#}"));
            }
        }
        result.is_ok()
    }
}

/// Observes everything; true when nothing failed.
pub(super) async fn run(demo: &mut Demo) -> anyhow::Result<bool> {
    let mut sheet = Sheet { start: demo.start, passed: 0, failed: 0 };
    let sheet_ref = &mut sheet;
    sheet_ref.line("every instance is up in Prometheus", async || all_up(demo).await).await;
    sheet_ref.line("every level has a score", async || all_levels(demo).await).await;
    replica_killed(demo, sheet_ref).await;
    master_killed(demo, sheet_ref).await;
    sheet_ref.line("planned switchover under load", async || switchover(demo).await).await;
    killed_in_the_middle(demo, sheet_ref).await;
    let what = "the audit chains verify";
    sheet_ref.line(what, async || audit(demo).await).await;
    let Sheet { passed, failed, .. } = sheet;
    let took = demo.start.elapsed().as_secs();
    println!("check: passed={passed} failed={failed} seconds={took}");
    Ok(failed == 0)
}

async fn all_up(demo: &Demo) -> anyhow::Result<String> {
    let url = format!("http://{}", demo.parts.prometheus);
    until_within("13 instances with up 1 and redis_up 1", PATIENCE, async || {
        let both = "up == 1 and on (instance) redis_up == 1";
        let up = client::prometheus(&url, both).await?;
        let ids: BTreeSet<&str> = up.iter().filter_map(|(l, _)| l["instance"].as_str()).collect();
        (ids.len() == INSTANCES).then(|| format!("{INSTANCES} of {INSTANCES}"))
    })
    .await
}

async fn all_levels(demo: &Demo) -> anyhow::Result<String> {
    const LEVELS: [&str; 6] = ["instance", "shard", "service", "system", "tenant", "fleet"];
    let url = format!("http://{}", demo.parts.prometheus);
    until_within("a score for each level", PATIENCE, async || {
        let scores = client::prometheus(&url, "min by (level) (cachewarden_health_score)").await?;
        let of = |level: &str| scores.iter().find(|(l, _)| l["level"] == level).map(|(_, v)| *v);
        let seen: Option<Vec<String>> =
            LEVELS.iter().map(|l| of(l).map(|v| format!("{l} {v:.0}"))).collect();
        seen.map(|s| s.join(", "))
    })
    .await
}

/// Whether Alertmanager holds RedisDown for the instance.
async fn alertmanager_has(demo: &Demo, instance: &str) -> Option<bool> {
    let alerts = client::alertmanager(&format!("http://{}", demo.parts.alertmanager)).await?;
    Some(alerts.iter().any(|l| l["alertname"] == "RedisDown" && l["instance"] == instance))
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

async fn replica_killed(demo: &mut Demo, sheet: &mut Sheet) {
    let (_, replicas) = demo.fleet.cart_roles().await;
    let Some(address) = replicas.first().cloned() else { return };
    let id = format!("demo.cart@{address}");
    let before = demo.fleet.pid(&address).await;
    say(demo.start, &format!("✕ the demonstration kills the replica {address} (kill -9)"));
    if let Err(e) = demo.fleet.kill(&address).await {
        sheet.failed += 1;
        return say(demo.start, &format!("FAIL killing the replica: {e:#}"));
    }
    let demo = &*demo;
    sheet.line("killed replica is seen down", async || is_down(demo, &id).await).await;
    sheet
        .line("its alert is in Alertmanager", async || {
            until_within("RedisDown in Alertmanager", PATIENCE, async || {
                alertmanager_has(demo, &id).await?.then(|| "RedisDown".to_string())
            })
            .await
        })
        .await;
    sheet.line("an incident is decided", async || decided(demo, &id).await).await;
    sheet.line("its operation ends verified", async || restarted(demo, &id).await).await;
    sheet
        .line("the replica runs again", async || {
            let after = demo.fleet.pid(&address).await.context("no process")?;
            ensure!(Some(after) != before, "still process {after}");
            Ok(format!("process {after}, it was {}", before.unwrap_or_default()))
        })
        .await;
    sheet.line("the alert is resolved everywhere", async || resolved(demo, &id).await).await;
    sheet.line("the incident is closed", async || closed(demo, &id).await).await;
}

async fn is_down(demo: &Demo, id: &str) -> anyhow::Result<String> {
    until_within("the API says down", PATIENCE, async || {
        let instance = demo.client.items("/instances?limit=500").await.ok()?;
        let item = instance.into_iter().find(|i| text(i, "id") == id)?;
        (text(&item, "state") == "down").then(|| text(&item, "reason").to_string())
    })
    .await
}

async fn decided(demo: &Demo, id: &str) -> anyhow::Result<String> {
    until_within("an incident with decision auto", PATIENCE, async || {
        let incidents = demo.client.items("/incidents?limit=100").await.ok()?;
        let mine =
            |i: &&Value| text(i, "instance") == id && text(i, "runbook") == "replica-restart";
        let incident = incidents.iter().find(mine)?;
        let page = demo.client.get(&format!("/incidents/{}", text(incident, "id"))).await.ok()?;
        let decisions = page["decisions"].as_array()?;
        let auto = decisions.iter().find(|d| text(d, "verb") == "auto")?;
        Some(format!("auto, {}", text(auto, "reason")))
    })
    .await
}

async fn restarted(demo: &Demo, id: &str) -> anyhow::Result<String> {
    until_within("operation node_restart done", PATIENCE, async || {
        let operations = demo.client.items("/operations?limit=100").await.ok()?;
        let done = operations.iter().find(|o| {
            text(o, "kind") == "node_restart"
                && text(o, "state") == "done"
                && text(o, "title").contains(id)
        })?;
        Some(text(done, "title").to_string())
    })
    .await
}

async fn resolved(demo: &Demo, id: &str) -> anyhow::Result<String> {
    until_within("RedisDown resolved", PATIENCE, async || {
        let alerts = demo.client.items("/alerts?limit=100").await.ok()?;
        let mine: Vec<&Value> = alerts
            .iter()
            .filter(|a| text(a, "alertname") == "RedisDown" && text(&a["labels"], "instance") == id)
            .collect();
        let over = !mine.is_empty() && mine.iter().all(|a| text(a, "phase") == "resolved");
        let gone = !alertmanager_has(demo, id).await?;
        (over && gone).then(|| "in our history and in Alertmanager".to_string())
    })
    .await
}

async fn closed(demo: &Demo, id: &str) -> anyhow::Result<String> {
    until_within("every incident of the instance is closed", PATIENCE, async || {
        let incidents = demo.client.items("/incidents?limit=100").await.ok()?;
        let mine: Vec<&Value> = incidents.iter().filter(|i| text(i, "instance") == id).collect();
        let over = !mine.is_empty() && mine.iter().all(|i| text(i, "state") == "closed");
        over.then(|| mine.iter().map(|i| text(i, "reason")).collect::<Vec<_>>().join(", "))
    })
    .await
}

async fn operations(demo: &Demo) -> anyhow::Result<BTreeSet<String>> {
    let items = demo.client.items("/operations?limit=500").await?;
    Ok(items.iter().map(|o| text(o, "id").to_string()).collect())
}

async fn master_killed(demo: &mut Demo, sheet: &mut Sheet) {
    let (Some(old), _) = demo.fleet.cart_roles().await else {
        sheet.failed += 1;
        return say(demo.start, "FAIL no master to kill");
    };
    let before = operations(demo).await.unwrap_or_default();
    say(demo.start, &format!("✕ the demonstration kills the master {old} (kill -9)"));
    if let Err(e) = demo.fleet.kill(&old).await {
        sheet.failed += 1;
        return say(demo.start, &format!("FAIL killing the master: {e:#}"));
    }
    let demo = &*demo;
    sheet.line("Sentinel promotes and we follow", async || followed(demo, &old).await).await;
    let id = format!("demo.cart@{old}");
    sheet
        .line("no remediation interferes", async || {
            let why = until_within("a decision not to act", PATIENCE, async || {
                suppressed(demo, &id).await
            })
            .await?;
            let after = operations(demo).await?;
            ensure!(after == before, "operations were started: {:?}", after.difference(&before));
            Ok(why)
        })
        .await;
    let what = "the old master, started again by hand, rejoins as replica";
    sheet
        .line(what, async || {
            demo.fleet.start_again(&old).await?;
            rejoined(demo, &id).await
        })
        .await;
}

async fn followed(demo: &Demo, old: &str) -> anyhow::Result<String> {
    until_within("another node is master for the Sentinels and for us", PATIENCE, async || {
        let (master, _) = demo.fleet.cart_roles().await;
        let master = master.filter(|m| m != old)?;
        let items = demo.client.items("/instances?limit=500").await.ok()?;
        let is_master = |i: &&Value| text(i, "id") == format!("demo.cart@{master}");
        let ours = items.iter().find(is_master)?;
        (text(ours, "role") == "master").then(|| format!("{master} instead of {old}"))
    })
    .await
}

async fn suppressed(demo: &Demo, id: &str) -> Option<String> {
    let incidents = demo.client.items("/incidents?limit=100").await.ok()?;
    let mut whys = Vec::new();
    for incident in incidents.iter().filter(|i| text(i, "instance") == id) {
        let page = demo.client.get(&format!("/incidents/{}", text(incident, "id"))).await.ok()?;
        let decision = &page["decisions"][0];
        if text(decision, "verb") == "suppressed" {
            whys.push(format!("{}: {}", text(incident, "runbook"), text(decision, "reason")));
        }
    }
    whys.into_iter().next()
}

async fn rejoined(demo: &Demo, id: &str) -> anyhow::Result<String> {
    until_within("up, a replica, link up", PATIENCE, async || {
        let items = demo.client.items("/instances?limit=500").await.ok()?;
        let item = items.into_iter().find(|i| text(i, "id") == id)?;
        let fine = text(&item, "state") == "up"
            && text(&item, "role") == "slave"
            && item["link_up"] == true;
        fine.then(|| "link up".to_string())
    })
    .await
}

async fn switchover(demo: &Demo) -> anyhow::Result<String> {
    settled(demo).await?;
    let [_, cart, _] = demo.fleet.finders();
    let (old, _) = demo.fleet.cart_roles().await;
    let writer = load::Client::recording(cart);
    let id = demo.client.operate("switchover", "demo.cart", json!({}), "check-switchover").await?;
    let ended = ended(demo, &id).await;
    // A second of ordinary writing on the new master belongs to the proof.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let tally = writer.tally().await?;
    let state = ended?;
    ensure!(state == "done", "the operation ended {state}");
    let (new, _) = demo.fleet.cart_roles().await;
    ensure!(new.is_some() && new != old, "the master is still {old:?}");
    let load::Tally { acknowledged, lost, gap_ms } = tally;
    ensure!(lost == 0, "{lost} of {acknowledged} acknowledged writes are lost");
    ensure!(acknowledged > 0, "nothing was written");
    Ok(format!("0 of {acknowledged} acknowledged writes lost, longest gap {gap_ms} ms"))
}

/// Waits until the service would pass its prechecks: all up, all replicas linked, no operation.
async fn settled(demo: &Demo) -> anyhow::Result<()> {
    until_within("demo.cart is whole", PATIENCE, async || {
        let wanted = json!({"kind": "switchover", "service": "demo.cart", "params": {}});
        let plan = demo.client.post("/operations/plans", &wanted, &[]).await.ok()?;
        (plan.status < 300).then_some(())
    })
    .await
}

async fn ended(demo: &Demo, id: &str) -> anyhow::Result<String> {
    const FINAL: [&str; 5] = ["done", "refused", "cancelled", "unwound", "stuck"];
    until_within("the operation ends", PATIENCE, async || {
        let page = demo.client.get(&format!("/operations/{id}")).await.ok()?;
        let state = text(&page["operation"], "state").to_string();
        FINAL.contains(&state.as_str()).then_some(state)
    })
    .await
}

async fn killed_in_the_middle(demo: &mut Demo, sheet: &mut Sheet) {
    let what = "cachewarden killed in the middle of a switchover finishes it once";
    let began = Instant::now();
    let done = cut_and_resume(demo).await;
    let done = match done {
        Ok(id) => once(demo, &id).await,
        Err(e) => Err(e),
    };
    let took = began.elapsed();
    sheet
        .line(what, async || done.map(|seen| format!("{seen}, {:.1} s in all", took.as_secs_f64())))
        .await;
}

/// Starts a switchover, kills the process while a step runs, starts it again.
async fn cut_and_resume(demo: &mut Demo) -> anyhow::Result<String> {
    settled(demo).await?;
    let id = demo.client.operate("switchover", "demo.cart", json!({}), "check-killed").await?;
    let page = until_within("a step runs", PATIENCE, async || {
        let page = demo.client.get(&format!("/operations/{id}")).await.ok()?;
        let running = page["steps"].as_array()?.iter().any(|s| text(s, "state") == "running");
        running.then_some(page)
    })
    .await?;
    let step =
        page["steps"].as_array().and_then(|s| s.iter().find(|s| text(s, "state") == "running"));
    let step = step.map(|s| text(s, "kind").to_string()).unwrap_or_default();
    demo.warden.kill();
    say(demo.start, &format!("✕ cachewarden was killed (kill -9) in step {step}"));
    demo.warden.start_again()?;
    fleet::until("cachewarden is ready again", async || {
        demo.client.get("/me").await.ok().map(drop)
    })
    .await?;
    Ok(id)
}

/// The operation is done, and the step that promotes was applied once.
async fn once(demo: &Demo, id: &str) -> anyhow::Result<String> {
    let state = ended(demo, id).await?;
    let page = demo.client.get(&format!("/operations/{id}")).await?;
    ensure!(state == "done", "it ended {state}: {}", page["operation"]["reason"]);
    let events = page["events"].as_array().context("a journal")?;
    let promotions = events
        .iter()
        .filter(|e| text(e, "what") == "command" && text(e, "line").contains("SENTINEL FAILOVER"))
        .count();
    ensure!(promotions == 1, "SENTINEL FAILOVER was sent {promotions} times");
    let fence = page["operation"]["fence"].as_i64().unwrap_or_default();
    ensure!(fence >= 2, "it was never resumed: claim number {fence}");
    Ok(format!("done on claim {fence}, one SENTINEL FAILOVER"))
}

async fn audit(demo: &Demo) -> anyhow::Result<String> {
    let answer = demo.client.post("/audit/verify", &json!({}), &[]).await?;
    ensure!(answer.status < 300, "{} {}", answer.status, answer.body);
    let chains = answer.body["chains"].as_array().or(answer.body["items"].as_array());
    let chains = chains.context("a list of chains")?;
    ensure!(!chains.is_empty(), "no chain");
    ensure!(chains.iter().all(|c| c["fault"].is_null()), "{}", answer.body);
    let records: i64 = chains.iter().filter_map(|c| c["records"].as_i64()).sum();
    let pages = demo.pager.pages().len();
    Ok(format!("{} chains, {records} records; the pager heard {pages} notices", chains.len()))
}

//! Scores of a past moment: from memory, from the store, from a real Prometheus; the same after a policy
//! changed. And previews of policies over a week that Prometheus saw.

use serde_json::{Value, json};
use tests::fleet::{RedisFleet, ZONES};
use tests::process::{Cachewarden, Options};
use tests::prometheus::Prometheus;
use tests::wait;

use crate::stage::{SECTIONS, Stage, adds_up, bar, listed, score};

/// Stricter than the built-in curve, within what needs no signature.
fn strict() -> Value {
    json!({"scope": "tenant:pay", "curves": {"M1":
        [[0.70, 0.0], [0.80, 25.0], [0.90, 70.0], [0.95, 90.0], [1.0, 100.0]]}})
}

/// What a waterfall shows, to be held against another one.
fn shown(page: &Value) -> Value {
    let points = |list: &Value, name: &str| -> Value {
        let list = list.as_array().unwrap().iter();
        list.filter(|b| b["points"] != 0.0).map(|b| json!([b[name], b["points"]])).collect()
    };
    json!({
        "score": page["score"], "raw": page["raw"], "grade": page["grade"],
        "policy": page["policy"], "bars": points(&page["bars"], "signal"),
        "gates": points(&page["gates"], "gate"),
    })
}

fn filled(stage: &Stage) {
    for n in 0..86 {
        stage.redis(&["SETRANGE", &format!("k{n}"), "1040000", "x"]);
    }
}

fn at(path: &str, page: &Value) -> String {
    format!("{path}?at={}", page["at"].as_str().unwrap())
}

/// `health.md`, "Done means" 2.
#[tokio::test(flavor = "multi_thread")]
async fn a_past_minute_is_explained_the_same_after_the_policy_changed() {
    let stage = Stage::solo(&["maxmemory 100mb"], "store", &[]).await;
    let path = stage.instance("solo", 0);
    stage.well(&path).await;
    filled(&stage);
    let then = stage.until(&path, "memory costs", |page| bar(page, "M1").is_some()).await;
    let service = "/services/pay.solo/health";
    let above = stage.until(service, "the service follows", |page| score(page) < 95.0).await;
    let revision = stage.save(&strict()).await;
    let now = stage
        .until(&path, "the new policy is in force", |page| page["policy"]["revision"] == revision)
        .await;
    assert!(score(&now) < score(&then), "{now:#}");
    for (path, then) in [(path.as_str(), &then), (service, &above)] {
        let told = stage.health(&at(path, then)).await.unwrap();
        assert_eq!((shown(&told), &told["exact"]), (shown(then), &json!(true)), "{told:#}");
        adds_up(&told);
    }
    let (status, said) = stage.cw.api(&format!("{path}?at=2020-01-01T00:00:00Z")).await;
    assert_eq!(status, 404, "{said:#}");
    assert!(said["detail"].as_str().unwrap().contains("no Prometheus is configured"), "{said:#}");
}

/// A process on its own Prometheus, which scrapes it every second.
async fn with_history() -> (Cachewarden, Prometheus) {
    let options = Options { more: SECTIONS.into(), ..Options::default() };
    let mut cw = Cachewarden::prepared(&options);
    let prometheus = Prometheus::start(cw.url.trim_start_matches("http://")).await;
    let config = std::fs::read_to_string(cw.config()).unwrap();
    let config = format!("{config}[history]\nurl = \"{}\"\n", prometheus.url());
    std::fs::write(cw.config(), config).unwrap();
    cw.spawn_with(&[]);
    cw.answers().await;
    (cw, prometheus)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_forgot_tells_the_past_from_prometheus_with_the_policy_of_then() {
    let (cw, prometheus) = with_history().await;
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &["maxmemory 100mb"]).await;
    let solo = json!({"id": "solo", "system": "shop", "profile": "store",
        "instances": listed(&[&fleet.nodes[0]])});
    let mut stage = Stage::on(cw, fleet, json!([solo]), &[]).await;
    let path = stage.instance("solo", 0);
    stage.well(&path).await;
    filled(&stage);
    let graded = |page: &Value| bar(page, "M1").is_some() && page["grade"] != "A";
    stage.until(&path, "memory costs, and is graded", graded).await;
    let id = path.trim_start_matches("/instances/").trim_end_matches("/health");
    let query = format!("cachewarden_health_loss{{level=\"instance\",id=\"{id}\",signal=\"M1\"}}");
    // Some seconds later, so that no stored row is of that very moment.
    let then = stage.scores(&path, 8).await.pop().unwrap();
    wait::until("Prometheus has it", || async {
        let all = prometheus.now(&format!("timestamp({query})")).await;
        let seen = all.first()?.1 * 1000.0;
        let wanted = model::At::parse(then["at"].as_str().unwrap()).unwrap().ms() as f64 + 2_000.0;
        (seen >= wanted).then_some(())
    })
    .await;
    let revision = stage.save(&strict()).await;
    stage.until(&path, "in force", |page| page["policy"]["revision"] == revision).await;
    assert_eq!(stage.cw.term().await.code(), Some(0), "{}", stage.cw.log());
    stage.cw.restart().await;
    let then_at = model::At::parse(then["at"].as_str().unwrap()).unwrap() + 2_000;
    let told = stage
        .until(&format!("{path}?at={then_at}"), "it is told", |page| page["score"].is_number())
        .await;
    assert_eq!((&told["source"], &told["exact"]), (&json!("prometheus"), &json!(true)), "{told:#}");
    assert_eq!(told["policy"], then["policy"], "the revision of then");
    assert!(
        (score(&told) - score(&then)).abs() < 1.0 && told["grade"] == then["grade"],
        "{told:#}"
    );
    assert!(bar(&told, "M1").is_some(), "{told:#}");
    adds_up(&told);
    for path in ["/services/pay.solo/health", "/systems/pay.shop/health", "/tenants/pay/health"] {
        let told = stage.health(&format!("{path}?at={then_at}")).await.unwrap();
        assert!(told["score"].is_number() && told["source"] != "live", "{told:#}");
        adds_up(&told);
    }
}

/// A server as a scraper of our pages saw it: every four minutes of so many hours, calm but for one of
/// them, in which memory was nearly full.
fn seen(id: &str, hours: i64, full: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let (end, step) = (now.as_secs() as i64 / 240 * 240, 240);
    let labels = |more: &str| {
        format!("{{instance=\"{id}\",tenant=\"pay\",system=\"shop\",service=\"solo\"{more}}}")
    };
    type Family = (&'static str, &'static str, fn(bool) -> f64);
    let families: [Family; 11] = [
        ("redis_up", "", |_| 1.0),
        ("cachewarden_instance_state", ",state=\"up\"", |_| 1.0),
        ("redis_instance_info", ",role=\"master\",run_id=\"r\",redis_version=\"7.0.15\"", |_| 1.0),
        ("redis_exporter_last_scrape_ping_time_seconds", "", |_| 0.0002),
        ("redis_memory_max_bytes", "", |_| 1e8),
        ("redis_memory_used_bytes", "", |full| if full { 9.2e7 } else { 1e7 }),
        ("redis_connected_clients", "", |_| 10.0),
        ("redis_max_clients", "", |_| 10_000.0),
        ("redis_rejected_connections_total", "", |_| 0.0),
        ("redis_commands_processed_total", "", |_| 1e6),
        ("redis_uptime_in_seconds", "", |_| 1e6),
    ];
    let mut text = String::new();
    for (name, more, value) in families {
        // A counter's family is named without its suffix.
        let kind = if name.ends_with("_total") { "counter" } else { "gauge" };
        text += &format!("# TYPE {} {kind}\n", name.trim_end_matches("_total"));
        for n in (1..=hours * 15).rev() {
            let value = value(n / 15 == full);
            text += &format!("{name}{} {value} {}\n", labels(more), end - n * step);
        }
    }
    text + "# EOF\n"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_says_what_a_policy_would_have_made_of_the_days_prometheus_saw() {
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &["maxmemory 100mb"]).await;
    let id = format!("pay.solo@{}", fleet.nodes[0].address);
    let prometheus = Prometheus::with_past(&seen(&id, 75, 30)).await;
    let more = format!("{SECTIONS}[history]\nurl = \"{}\"\n", prometheus.url());
    let cw = Cachewarden::with(Options { more, ..Options::default() }).await;
    let solo = json!({"id": "solo", "system": "shop", "profile": "store",
        "instances": listed(&[&fleet.nodes[0]])});
    let stage = Stage::on(cw, fleet, json!([solo]), &[]).await;
    stage.well(&stage.instance("solo", 0)).await;
    let body = json!({"doc": strict()});
    let (status, page) = stage.ask(reqwest::Method::POST, "/score-policies/preview", &body).await;
    assert_eq!(status, 200, "{page:#}");
    let preview = &page["preview"];
    assert_eq!(preview["source"], "prometheus", "{preview:#}");
    assert!(preview["note"].as_str().unwrap().contains("3 days in Prometheus"), "{preview:#}");
    let line = &preview["services"][0];
    assert!(line["moments"].as_u64() > Some(700), "{line:#}");
    // 92 % of maxmemory: 70 or 78 points of loss, a quarter of the score.
    let (before, after) = (line["lowest_before"].as_f64().unwrap(), line["lowest_after"].as_f64());
    assert!((before - after.unwrap() - 2.0).abs() < 1.5 && before < 85.0, "{line:#}");
    assert!(line["score_before"].as_f64() > Some(90.0), "the present is calm: {line:#}");
}

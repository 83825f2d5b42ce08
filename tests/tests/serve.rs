//! The process on a real Redis: what it watches, what Prometheus sees, how it starts and ends.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tests::disk::SmallDisk;
use tests::exposition::{self, Dialect};
use tests::fleet::{RedisFleet, ZONES, free_port, program};
use tests::process::{Cachewarden, Options, binary, inventory};
use tests::wait;

/// The service `pay.solo`: one data node.
fn solo(address: &str) -> Value {
    json!({"id": "solo", "system": "shop", "instances": [{"address": address, "zone": "az-1"}]})
}

/// A fleet of one and a process that watches it.
async fn watched() -> (RedisFleet, Cachewarden, String) {
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &[]).await;
    let cw = Cachewarden::start("").await;
    cw.apply(&inventory(json!([solo(&fleet.nodes[0].address)]))).await;
    let id = format!("pay.solo@{}", fleet.nodes[0].address);
    (fleet, cw, id)
}

/// Waits until the page of `id` has a line that starts with `line`; answers the page.
async fn page_says(cw: &Cachewarden, id: &str, line: &str) -> String {
    wait::until(&format!("{id} says {line}"), || async {
        let (status, page) = cw.get(&format!("/scrape?target={id}")).await;
        (status == 200 && page.lines().any(|l| l.starts_with(line))).then_some(page)
    })
    .await
}

/// Waits until the fleet's page has a line with all of `words`.
async fn fleet_says(cw: &Cachewarden, words: &[&str]) -> String {
    wait::until(&format!("/metrics says {words:?}"), || async {
        let (_, page) = cw.get("/metrics").await;
        let line = page.lines().find(|l| words.iter().all(|w| l.contains(w)));
        line.map(str::to_string)
    })
    .await
}

#[tokio::test]
async fn an_instance_of_the_inventory_is_watched_scored_and_shown_to_prometheus() {
    let (fleet, mut cw, id) = watched().await;
    let page = page_says(&cw, &id, "redis_up 1").await;
    assert!(page.contains("redis_connected_clients "), "{page}");
    let by_address = cw.get(&format!("/scrape?target=redis://{}", fleet.nodes[0].address)).await;
    assert_eq!(by_address.0, 200);
    fleet_says(&cw, &["cachewarden_instance_state", &id, "state=\"up\"", " 1"]).await;
    fleet_says(&cw, &["cachewarden_health_score", "pay"]).await;
    let (_, own) = cw.get("/metrics/self").await;
    for series in [
        "cachewarden_polls_total{result=\"up\"}",
        "cachewarden_loop_duration_seconds{loop=\"rollup\"}",
        "cachewarden_build_info",
        "process_resident_memory_bytes",
    ] {
        assert!(own.contains(series), "{series} is missing:\n{own}");
    }
    promtool_takes(&own);
    promtool_takes(&cw.get("/metrics").await.1);
    assert_eq!(cw.get("/readyz").await.0, 200);
    assert_eq!(cw.term().await.code(), Some(0), "{}", cw.log());
}

/// `promtool check metrics` has nothing to say.
fn promtool_takes(page: &str) {
    let mut child = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn a_real_prometheus_with_only_http_sd_scrapes_every_instance_with_its_labels() {
    let (_fleet, cw, id) = watched().await;
    page_says(&cw, &id, "redis_up 1").await;
    let prometheus = Prometheus::start(&cw);
    let series = wait::until("Prometheus has redis_up", || async {
        let answer = prometheus.query("redis_up").await;
        answer.as_array()?.first().filter(|s| s["value"][1] == "1").cloned()
    })
    .await;
    let labels = &series["metric"];
    for (name, value) in [
        ("tenant", "pay"),
        ("system", "shop"),
        ("service", "solo"),
        ("instance", id.as_str()),
        ("zone", "az-1"),
        ("site", "dc"),
        ("env", "prod"),
        ("tier", "general"),
        ("shard", "0"),
    ] {
        assert_eq!(labels[name], value, "{labels}");
    }
    wait::until("up is 1", || async {
        (prometheus.query("up").await[0]["value"][1] == "1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_address_outside_the_inventory_gets_404_and_no_connection() {
    let (_fleet, cw, _) = watched().await;
    let outside = TcpListener::bind("127.0.0.1:0").unwrap();
    outside.set_nonblocking(true).unwrap();
    let address = outside.local_addr().unwrap();
    for target in [address.to_string(), format!("redis://{address}"), format!("pay.solo@{address}")]
    {
        let (status, body) = cw.get(&format!("/scrape?target={target}")).await;
        assert_eq!(status, 404, "{body}");
    }
    let refused = outside.accept();
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn metrics_through_a_proxy_need_a_token_and_show_its_scope_only() {
    let (_fleet, cw, id) = watched().await;
    page_says(&cw, &id, "redis_up 1").await;
    let token = cw.new_token("scrape").await;
    let http = reqwest::Client::new();
    for path in ["/sd", "/metrics", "/metrics/self", &format!("/scrape?target={id}")] {
        let url = format!("{}{path}", cw.url);
        let forwarded = || http.get(&url).header("x-forwarded-for", "10.0.0.1");
        assert_eq!(forwarded().send().await.unwrap().status(), 401, "{path}");
        assert_eq!(forwarded().bearer_auth(&token).send().await.unwrap().status(), 200, "{path}");
    }
}

#[tokio::test]
async fn pages_come_as_openmetrics_and_compressed_when_asked() {
    let (_fleet, cw, id) = watched().await;
    page_says(&cw, &id, "redis_up 1").await;
    let http = reqwest::Client::new();
    for path in [format!("/scrape?target={id}"), "/metrics".into(), "/metrics/self".into()] {
        let asked = http
            .get(format!("{}{path}", cw.url))
            .header("accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
            .header("accept-encoding", "gzip");
        let answer = asked.send().await.unwrap();
        assert_eq!(answer.headers()["content-encoding"], "gzip");
        assert!(answer.headers()["content-type"].to_str().unwrap().contains("openmetrics"));
        let mut text = String::new();
        let body = answer.bytes().await.unwrap();
        Gunzip::new(&body).read_to_string(&mut text).unwrap();
        let families = exposition::read(&text, Dialect::OpenMetrics);
        assert!(families.unwrap_or_else(|why| panic!("{path}: {why}")).len() > 10, "{path}");
    }
}

/// `gzip -dc`, so that no crate of ours judges itself.
struct Gunzip(Child);

impl Gunzip {
    fn new(body: &[u8]) -> Gunzip {
        let mut child = Command::new("gzip")
            .arg("-dc")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(body).unwrap();
        Gunzip(child)
    }
}

impl Read for Gunzip {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.stdout.as_mut().unwrap().read(buffer)
    }
}

#[tokio::test]
async fn a_hung_redis_is_down_with_reason_timeout_and_recovers_by_itself() {
    let (fleet, cw, id) = watched().await;
    page_says(&cw, &id, "redis_up 1").await;
    fleet.nodes[0].signal("STOP");
    page_says(&cw, &id, "redis_up 0").await;
    fleet_says(&cw, &["cachewarden_scrape_error", &id, "reason=\"timeout\""]).await;
    fleet.nodes[0].signal("CONT");
    page_says(&cw, &id, "redis_up 1").await;
    fleet_says(&cw, &["cachewarden_instance_state", &id, "state=\"up\""]).await;
}

#[tokio::test]
async fn a_killed_redis_is_confirmed_down_because_its_port_refuses() {
    let (mut fleet, cw, id) = watched().await;
    page_says(&cw, &id, "redis_up 1").await;
    fleet.nodes[0].kill();
    fleet_says(&cw, &["cachewarden_instance_state", &id, "state=\"down\""]).await;
    fleet.nodes[0].spawn();
    fleet_says(&cw, &["cachewarden_instance_state", &id, "state=\"up\""]).await;
}

#[tokio::test]
async fn a_wrong_password_is_unknown_for_auth_and_the_right_one_opens() {
    let (fleet, cw, id) = watched().await;
    page_says(&cw, &id, "redis_up 1").await;
    fleet.nodes[0].cli(&["CONFIG", "SET", "requirepass", "right-one"]);
    let mut service = solo(&fleet.nodes[0].address);
    service["auth"] = json!({"password": "not-this-one"});
    cw.apply(&inventory(json!([service]))).await;
    page_says(&cw, &id, "redis_up 0").await;
    fleet_says(&cw, &["cachewarden_scrape_error", &id, "reason=\"auth\""]).await;
    fleet_says(&cw, &["cachewarden_instance_state", &id, "state=\"unknown\""]).await;
    let mut service = solo(&fleet.nodes[0].address);
    service["auth"] = json!({"password": "right-one"});
    cw.apply(&inventory(json!([service]))).await;
    page_says(&cw, &id, "redis_up 1").await;
    assert!(!cw.log().contains("right-one") && !cw.log().contains("not-this-one"));
}

/// Scores and grades (A is 5) of the instance and of its service on one page of the fleet, when all
/// four are known.
async fn grades(cw: &Cachewarden, id: &str) -> Option<[(f64, f64); 2]> {
    let (_, page) = cw.get("/metrics").await;
    let value = |family: &str, level: &str, id: &str| -> Option<f64> {
        let object = format!("{family}{{level=\"{level}\",id=\"{id}\"");
        page.lines().find(|l| l.starts_with(&object))?.rsplit_once(' ')?.1.parse().ok()
    };
    let both = |level: &str, id: &str| {
        let score = value("cachewarden_health_score", level, id)?;
        Some((score, value("cachewarden_health_grade", level, id)?))
    };
    Some([both("instance", id)?, both("service", "pay.solo")?])
}

#[tokio::test]
async fn a_held_grade_is_still_held_after_a_restart_and_after_a_crash() {
    let (fleet, mut cw, id) = watched().await;
    let is = |why: &'static str, holds: fn((f64, f64)) -> bool| {
        let (cw, id) = (&cw, &id);
        wait::until(why, move || async move {
            grades(cw, id).await?.into_iter().all(holds).then_some(())
        })
    };
    is("all is well", |(score, grade)| score >= 90.0 && grade == 5.0).await;
    // Refused writes limit the score for some minutes, and the grade falls at once.
    fleet.nodes[0].cli(&["CONFIG", "SET", "maxmemory", "1"]);
    let refused = wait::until("a refused write is seen", || async {
        fleet.nodes[0].cli(&["SET", "key", "value"]);
        let all = grades(&cw, &id).await?;
        all.iter().all(|(score, grade)| *score < 60.0 && *grade < 3.0).then_some(all)
    })
    .await;
    // Once nothing tells of the refusals any more, the scores are good; the grades are not yet.
    fleet.nodes[0].cli(&["CONFIG", "SET", "maxmemory", "0"]);
    for crash in [false, true] {
        match crash {
            true => cw.kill(),
            false => assert_eq!(cw.term().await.code(), Some(0), "{}", cw.log()),
        }
        fleet.nodes[0].cli(&["CONFIG", "RESETSTAT"]);
        cw.restart().await;
        let after = wait::until("the scores are good", || async {
            let all = grades(&cw, &id).await?;
            all.iter().all(|(score, _)| *score >= 90.0).then_some(all)
        })
        .await;
        for ((_, held), (_, grade)) in refused.iter().zip(after) {
            assert!(grade <= *held && grade > 0.0, "{held} was held, not {grade}; crash: {crash}");
        }
    }
}

#[tokio::test]
async fn the_shards_of_a_cluster_are_learnt_and_shown_by_discovery() {
    let mut fleet = RedisFleet::new();
    let nodes = fleet.cluster(5_000).await;
    let cw = Cachewarden::start("").await;
    let zones = ["az-1", "az-2", "az-3", "az-2", "az-3", "az-1"];
    let instances: Vec<Value> = nodes
        .iter()
        .zip(zones)
        .map(|(i, zone)| json!({"address": fleet.nodes[*i].address, "zone": zone}))
        .collect();
    let service =
        json!({"id": "catalog", "system": "shop", "mode": "cluster", "instances": instances});
    cw.apply(&inventory(json!([service]))).await;
    let shards = wait::until("three shards of two", || async {
        let targets: Value = serde_json::from_str(&cw.get("/sd").await.1).ok()?;
        let labels = targets.as_array()?.iter().map(|t| t["labels"]["shard"].as_str());
        let mut shards: Vec<String> = labels.flatten().map(str::to_string).collect();
        shards.sort();
        (shards == ["0", "0", "1", "1", "2", "2"]).then_some(targets)
    })
    .await;
    let shard_of = |i: usize| {
        let id = format!("pay.catalog@{}", fleet.nodes[nodes[i]].address);
        let all = shards.as_array().unwrap().iter();
        let mut own = all.filter(|t| t["labels"]["instance"] == id.as_str());
        own.next().unwrap()["labels"]["shard"].clone()
    };
    for i in 0..3 {
        // Numbered by the lowest slot; each replica with its master.
        assert_eq!((shard_of(i), shard_of(i + 3)), (json!(i.to_string()), json!(i.to_string())));
    }
}

#[tokio::test]
async fn a_fault_of_an_inventory_file_is_answered_with_its_line_and_nothing_changes() {
    let cw = Cachewarden::start("").await;
    let file =
        "version: 1\nsites: [{id: dc}]\nzones:\n- {id: az-1, site: dc}\n- {id: az-2, site: moon}\n";
    let asked = reqwest::Client::new()
        .post(format!("{}/api/v1/apply", cw.url))
        .bearer_auth(cw.token().await)
        .header("content-type", "application/yaml")
        .body(file);
    let answer = asked.send().await.unwrap();
    assert_eq!(answer.status(), 422);
    let answer: Value = answer.json().await.unwrap();
    let fault = &answer["errors"][0];
    assert_eq!(fault["pointer"], "/zones/1/site", "{answer}");
    assert!(fault["detail"].as_str().unwrap().starts_with("line 5: "), "{answer}");
}

#[tokio::test]
async fn a_reload_takes_the_log_level_and_a_bad_file_leaves_the_old_one_in_force() {
    let cw = Cachewarden::start("").await;
    let good = fs::read_to_string(cw.config()).unwrap();
    let reloaded = |wanted: &'static str| {
        let cw = &cw;
        async move {
            wait::until(&format!("reload is {wanted}"), || async {
                let (_, page) = cw.get("/metrics/self").await;
                // Not the HELP line, which explains both values.
                let line = format!("\ncachewarden_config_last_reload_successful {wanted}\n");
                page.contains(&line).then_some(())
            })
            .await
        }
    };
    fs::write(cw.config(), format!("{good}\nnonsense = 1\n")).unwrap();
    cw.signal("HUP");
    reloaded("0").await;
    fs::write(cw.config(), good.replace("level = \"info\"", "level = \"debug\"")).unwrap();
    cw.signal("HUP");
    reloaded("1").await;
    cw.get("/healthz").await;
    wait::until("requests are logged", || async { cw.log().contains("answered").then_some(()) })
        .await;
}

#[tokio::test]
async fn a_second_process_on_the_same_file_refuses_and_names_the_first() {
    let cw = Cachewarden::start("").await;
    let port = free_port("127.0.0.1");
    let text = fs::read_to_string(cw.config()).unwrap();
    let own = cw.url.trim_start_matches("http://");
    let second = cw.dir.join("second.toml");
    fs::write(&second, text.replace(own, &format!("127.0.0.1:{port}"))).unwrap();
    let out = Command::new(binary()).args(["serve", "--config"]).arg(&second).output().unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(!out.status.success());
    assert!(said.contains(&format!("process {}", cw.pid())), "{said}");
}

#[tokio::test]
async fn without_its_key_it_starts_sealed_and_says_so() {
    let options = Options { keyless: true, ..Options::default() };
    let mut cw = Cachewarden::with(options).await;
    let (status, body) = cw.get("/readyz").await;
    assert_eq!((status, body.contains("sealed")), (503, true), "{body}");
    assert_eq!(cw.get("/healthz").await.0, 200);
    assert!(cw.log().contains("--new-key"), "{}", cw.log());
    assert_eq!(cw.term().await.code(), Some(0));
}

#[tokio::test]
async fn what_was_known_before_kill_nine_is_known_after_it() {
    let (_fleet, mut cw, id) = watched().await;
    page_says(&cw, &id, "redis_up 1").await;
    cw.kill();
    cw.restart().await;
    page_says(&cw, &id, "redis_up 1").await;
    let (status, me) = cw.api("/me").await;
    assert_eq!(status, 200, "{me}");
    let (_, report) = cw.post("/audit/verify", &json!({})).await;
    assert!(!report.to_string().contains("\"how\""), "{report}");
}

#[tokio::test]
async fn a_full_disk_refuses_changes_while_watching_goes_on_and_heals_by_itself() {
    let Some(disk) = SmallDisk::mount() else { return };
    let options = Options {
        store_url: Some(format!("sqlite:{}", disk.dir().join("cw.db").display())),
        ..Options::default()
    };
    let cw = Cachewarden::with(options).await;
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &[]).await;
    let services = json!([solo(&fleet.nodes[0].address)]);
    cw.apply(&inventory(services.clone())).await;
    let id = format!("pay.solo@{}", fleet.nodes[0].address);
    page_says(&cw, &id, "redis_up 1").await;
    disk.fill();
    // Pages of the log that exist can still be written: large changes until none fits.
    let mut n = 0;
    let (status, answer) = wait::until("a change is refused", || {
        n += 1;
        let mut changed = inventory(services.clone());
        changed["tenants"][0]["systems"][0]["owner"] = json!(format!("{n}-{}", "x".repeat(60_000)));
        let cw = &cw;
        async move {
            let (status, answer) = cw.post("/apply", &changed).await;
            (status != 200).then_some((status, answer))
        }
    })
    .await;
    assert_eq!((status, &answer["code"]), (503, &json!("CW-1501")), "{answer}");
    let polls = |page: &str| -> f64 {
        let line = page.lines().find(|l| l.starts_with("cachewarden_polls_total{result=\"up\"}"));
        line.and_then(|l| l.rsplit(' ').next()).and_then(|v| v.parse().ok()).unwrap_or_default()
    };
    let before = polls(&cw.get("/metrics/self").await.1);
    wait::until("polls go on", || async {
        (polls(&cw.get("/metrics/self").await.1) > before).then_some(())
    })
    .await;
    disk.free();
    let changed = inventory(services);
    wait::until("changes are taken again", || async {
        (cw.post("/apply", &changed).await.0 == 200).then_some(())
    })
    .await;
}

#[test]
fn the_unit_is_one_systemd_takes() {
    let Ok(found) = Command::new("systemd-analyze").arg("--version").output() else {
        eprintln!("SKIPPED: systemd-analyze is not installed");
        return;
    };
    assert!(found.status.success());
    let dir = tempfile::tempdir().unwrap();
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/cachewarden.service");
    let text = fs::read_to_string(unit).unwrap();
    // The program is not installed here.
    let copy = dir.path().join("cachewarden.service");
    fs::write(&copy, text.replace("/usr/local/bin/cachewarden", "/bin/true")).unwrap();
    let out = Command::new("systemd-analyze").arg("verify").arg(&copy).output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success() && !said.contains("cachewarden.service:"), "{said}");
}

/// A Prometheus that knows nothing but our discovery.
struct Prometheus {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(cw: &Cachewarden) -> Prometheus {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n\
             - job_name: redis\n  http_sd_configs:\n  - url: {}/sd\n    refresh_interval: 1s\n",
            cw.url
        );
        fs::write(&config, text).unwrap();
        let listen = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Prometheus { child, url: format!("http://{listen}"), _dir: dir }
    }

    /// The result of an instant query; null while it does not answer.
    async fn query(&self, query: &str) -> Value {
        let url = format!("{}/api/v1/query?query={query}", self.url);
        let Ok(answer) = reqwest::get(url).await else { return Value::Null };
        let answer: Value = answer.json().await.unwrap_or_default();
        answer["data"]["result"].clone()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

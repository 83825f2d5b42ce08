//! A process that watches real servers, with a short window and a short rise, and its scores.
//!
//! Invariant: what follows a cause is counted in scores, not in seconds: on a busy machine polls are
//! late, and still at most so many of them may not show it.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::fleet::{Node, RedisFleet, ZONES};
use tests::process::{Cachewarden, Options, inventory};
use tests::wait;

/// What a counter did is forgotten after ten polls, and a better grade is earned in five.
pub const SECTIONS: &str = "[scorer]\nwindow_s = 10\nrise_s = 5\n";

/// Scores that may not show a cause yet: of the poll it fell into, and of the first one after it.
pub const TWO_INTERVALS: usize = 2;

/// Recovery waits for a window, a rise, and sometimes for what a server does by itself.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// What a server on a busy machine does by itself.
const NOISY: [&str; 12] = ["A2", "A6", "M3", "M4", "M7", "C3", "S1", "S2", "S3", "S4", "S5", "S6"];

pub struct Stage {
    pub fleet: RedisFleet,
    pub cw: Cachewarden,
    http: reqwest::Client,
}

/// Entries of an inventory.
pub fn listed(nodes: &[&Node]) -> Vec<Value> {
    let zone = |n: &Node| 1 + ZONES.iter().position(|z| *z == n.host).unwrap();
    nodes.iter().map(|n| json!({"address": n.address, "zone": format!("az-{}", zone(n))})).collect()
}

impl Stage {
    /// Watches `services` of `fleet`; of the signals a busy machine moves, only `kept` count.
    pub async fn new(fleet: RedisFleet, services: Value, kept: &[&str]) -> Stage {
        let options = Options { more: SECTIONS.into(), ..Options::default() };
        let cw = Cachewarden::with(options).await;
        Stage::on(cw, fleet, services, kept).await
    }

    /// The same with a process that runs already.
    pub async fn on(cw: Cachewarden, fleet: RedisFleet, services: Value, kept: &[&str]) -> Stage {
        // A connection that is kept may be closed by a process that was stopped meanwhile.
        let http = tests::process::http().pool_max_idle_per_host(0).build().unwrap();
        let stage = Stage { fleet, cw, http };
        stage.cw.apply(&inventory(services)).await;
        stage.quiet(kept).await;
        stage
    }

    /// One server with these lines as the service `pay.solo`.
    pub async fn solo(lines: &[&str], profile: &str, kept: &[&str]) -> Stage {
        let mut fleet = RedisFleet::new();
        fleet.node(ZONES[0], lines).await;
        let solo = json!({"id": "solo", "system": "shop", "profile": profile,
            "instances": listed(&[&fleet.nodes[0]])});
        Stage::new(fleet, json!([solo]), kept).await
    }

    pub fn redis(&self, args: &[&str]) -> String {
        self.fleet.nodes[0].cli(args)
    }

    /// Path of a node's score.
    pub fn instance(&self, service: &str, node: usize) -> String {
        format!("/instances/pay.{service}@{}/health", self.fleet.nodes[node].address)
    }

    /// A field of INFO as a number.
    pub fn info(&self, section: &str, field: &str) -> f64 {
        let info = self.fleet.nodes[0].info(section);
        let line = info.lines().find_map(|l| l.strip_prefix(&format!("{field}:")));
        line.unwrap().trim().parse().unwrap()
    }

    pub async fn ask(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/v1{path}", self.cw.url);
        let request = self.http.request(method, url).bearer_auth(self.cw.token().await);
        let request = request.header("if-match", "*");
        let request = if body.is_null() { request } else { request.json(body) };
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    /// Previews and saves a score policy.
    pub async fn save(&self, doc: &Value) -> i64 {
        let (status, page) =
            self.ask(Method::POST, "/score-policies/preview", &json!({ "doc": doc })).await;
        assert_eq!(status, 200, "{page:#}");
        let body = json!({"doc": doc, "reason": "test", "preview": page["preview"]["hash"]});
        let scope = doc["scope"].as_str().unwrap();
        let (status, page) =
            self.ask(Method::PUT, &format!("/score-policies/{scope}"), &body).await;
        assert_eq!(status, 200, "{page:#}");
        page["rev"].as_i64().unwrap()
    }

    async fn quiet(&self, kept: &[&str]) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let until = model::At::from_ms(now.as_millis() as i64 + 86_400_000);
        let off = NOISY.iter().filter(|s| !kept.contains(s));
        let off = off.map(|s| (s.to_string(), json!({"reason": "test", "until": until})));
        let off: serde_json::Map<String, Value> = off.collect();
        self.save(&json!({"scope": "platform", "off": off})).await;
    }

    /// The page of a score; none while there is none.
    pub async fn health(&self, path: &str) -> Option<Value> {
        let (status, page) = self.cw.api(path).await;
        (status == 200).then_some(page)
    }

    /// Waits until a score is as wanted; answers its page.
    pub async fn until(&self, path: &str, why: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let last = std::sync::Mutex::new(Value::Null);
        let asked = wait::until_within(why, PATIENCE, || async {
            let page = self.health(path).await?;
            *last.lock().unwrap() = page.clone();
            wanted(&page).then_some(page)
        });
        let said = SaidLast(path, &last);
        let page = asked.await;
        std::mem::forget(said);
        page
    }

    /// Waits until a healthy score is graded A by the policy in force.
    pub async fn well(&self, path: &str) -> Value {
        self.until(path, "all is well", |page| {
            page["grade"] == "A" && page["policy"]["revision"].as_i64() >= Some(1)
        })
        .await
    }

    /// Waits until a score is as wanted; answers its page, and how many others were shown since now.
    pub async fn follows(
        &self,
        path: &str,
        why: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> (Value, usize) {
        let before = self.health(path).await.map_or(Value::Null, |page| page["at"].clone());
        let others = std::sync::Mutex::new(BTreeSet::new());
        let page = self
            .until(path, why, |page| {
                let as_wanted = wanted(page);
                if !as_wanted && page["at"] != before {
                    others.lock().unwrap().insert(page["at"].to_string());
                }
                as_wanted
            })
            .await;
        (page, others.into_inner().unwrap().len())
    }

    /// The next pages of a score that differ in their time.
    pub async fn scores(&self, path: &str, count: usize) -> Vec<Value> {
        let mut pages: Vec<Value> = Vec::new();
        while pages.len() < count {
            let last = pages.last().map_or(Value::Null, |page| page["at"].clone());
            pages.push(self.until(path, "the next score", |page| page["at"] != last).await);
        }
        pages
    }

    /// Value of the series of `/metrics` whose line has all of `words`; none when there is none.
    pub async fn series(&self, words: &[&str]) -> Option<f64> {
        let (_, page) = self.cw.get("/metrics").await;
        let mut lines = page.lines().filter(|l| !l.starts_with('#'));
        lines.find(|l| words.iter().all(|w| l.contains(w)))?.rsplit(' ').next()?.parse().ok()
    }
}

/// Says what was seen last when a wait gives up.
struct SaidLast<'a>(&'a str, &'a std::sync::Mutex<Value>);

impl Drop for SaidLast<'_> {
    fn drop(&mut self) {
        let last = self.1.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        eprintln!("-- the last page of {}\n{:#}", self.0, *last);
    }
}

pub fn score(page: &Value) -> f64 {
    page["score"].as_f64().unwrap_or(f64::NAN)
}

/// The bar of a signal.
pub fn bar<'p>(page: &'p Value, signal: &str) -> Option<&'p Value> {
    page["bars"].as_array()?.iter().find(|b| b["signal"] == signal)
}

/// The gate of that name while it holds.
pub fn gate<'p>(page: &'p Value, name: &str) -> Option<&'p Value> {
    page["gates"].as_array()?.iter().find(|g| g["gate"] == name && g["holds"] == true)
}

/// The signal that loses most.
pub fn worst(page: &Value) -> Option<&str> {
    let bars = page["bars"].as_array()?;
    let points = |b: &&Value| b["points"].as_f64().unwrap_or(0.0);
    bars.iter().max_by(|a, b| points(a).total_cmp(&points(b)))?["signal"].as_str()
}

/// What is promised at every level and time: the bars, the binding gate and the score are 100.
pub fn adds_up(page: &Value) {
    let sum = |list: &Value| -> f64 {
        list.as_array().unwrap().iter().map(|b| b["points"].as_f64().unwrap()).sum()
    };
    let all = sum(&page["bars"]) + sum(&page["gates"]) + score(page);
    assert!((all - 100.0).abs() < 1e-6, "{all}: {page:#}");
}

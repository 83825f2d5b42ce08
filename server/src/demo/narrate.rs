//! What the terminal tells: every change a person would want to see, one line each, with its time.
//!
//! It looks through the public API only, twice a second; it prints changes, never states.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::client::Client;

const LOOK: Duration = Duration::from_millis(500);
/// Smaller movements of a score are no news.
const SCORE_NEWS: f64 = 5.0;

/// Prints one line with the seconds since `start`.
pub(super) fn say(start: Instant, text: &str) {
    println!("[{:>6.1} s] {text}", start.elapsed().as_secs_f64());
}

/// What was last seen of each thing.
#[derive(Default)]
struct Seen {
    instances: BTreeMap<String, String>,
    roles: BTreeMap<String, String>,
    scores: BTreeMap<String, f64>,
    alerts: BTreeMap<String, String>,
    incidents: BTreeMap<String, String>,
    operations: BTreeMap<String, String>,
    first: bool,
}

/// Narrates until cancelled. Calls that fail are left out: while cachewarden restarts there is
/// nothing to tell.
pub(super) async fn narrate(client: Client, start: Instant, stop: CancellationToken) {
    let mut seen = Seen { first: true, ..Seen::default() };
    while !stop.is_cancelled() {
        let mut news = Vec::new();
        if let Ok(items) = client.items("/instances?limit=500").await {
            seen.instances(&items, &mut news);
        }
        if let Ok(items) = client.items("/services?limit=500").await {
            seen.scores(&items, &mut news);
        }
        if let Ok(items) = client.items("/alerts?limit=100").await {
            seen.alerts(&items, &mut news);
        }
        if let Ok(items) = client.items("/incidents?limit=100").await {
            seen.incidents(&client, &items, &mut news).await;
        }
        if let Ok(items) = client.items("/operations?limit=100").await {
            seen.operations(&items, &mut news);
        }
        if !seen.first {
            news.iter().for_each(|line| say(start, line));
        }
        seen.first = false;
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = stop.cancelled() => {}
        }
    }
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// Remembers `now` under `id`; answers what stood there before when that differs.
fn changed(map: &mut BTreeMap<String, String>, id: &str, now: &str) -> Option<String> {
    let before = map.insert(id.into(), now.into()).unwrap_or_default();
    (before != now).then_some(before)
}

impl Seen {
    fn instances(&mut self, items: &[Value], news: &mut Vec<String>) {
        for item in items {
            let (id, state) = (text(item, "id"), text(item, "state"));
            if changed(&mut self.instances, id, state).is_some() {
                let sign = match state {
                    "up" => "●",
                    "down" => "✕",
                    _ => "◌",
                };
                let reason = text(item, "reason");
                let because = if reason.is_empty() { String::new() } else { format!(": {reason}") };
                news.push(format!("{sign} {id} is {state}{because}"));
            }
            let role = text(item, "role");
            if !role.is_empty()
                && let Some(before) = changed(&mut self.roles, id, role)
                && !before.is_empty()
            {
                news.push(format!("◆ {id} is {role} now, it was {before}"));
            }
        }
    }

    fn scores(&mut self, items: &[Value], news: &mut Vec<String>) {
        for item in items {
            let id = text(item, "id");
            let Some(score) = item["health"]["score"].as_f64() else { continue };
            let before = self.scores.get(id).copied();
            if before.is_some_and(|b| (b - score).abs() < SCORE_NEWS) {
                continue;
            }
            self.scores.insert(id.into(), score);
            if let Some(before) = before {
                let health = &item["health"];
                let (grade, cause) = (text(health, "grade"), text(health, "cause"));
                let cause = if cause.is_empty() { String::new() } else { format!(" ({cause})") };
                news.push(format!(
                    "◆ score of {id}: {before:.0} → {score:.0}, grade {grade}{cause}"
                ));
            }
        }
    }

    fn alerts(&mut self, items: &[Value], news: &mut Vec<String>) {
        for item in items {
            let phase = text(item, "phase");
            if changed(&mut self.alerts, text(item, "id"), phase).is_some() {
                let labels = &item["labels"];
                let about = ["instance", "service"].map(|l| text(labels, l));
                let about = about.into_iter().find(|a| !a.is_empty()).unwrap_or("the platform");
                let (name, level) = (text(item, "alertname"), text(item, "level"));
                news.push(format!("▲ alert {name} ({level}) on {about}: {phase}"));
            }
        }
    }

    async fn incidents(&mut self, client: &Client, items: &[Value], news: &mut Vec<String>) {
        for item in items {
            let (id, state) = (text(item, "id"), text(item, "state"));
            if changed(&mut self.incidents, id, state).is_none() {
                continue;
            }
            let page = client.get(&format!("/incidents/{id}")).await.unwrap_or_default();
            let decision = &page["decisions"][0];
            let decided = match text(decision, "verb") {
                "" => "not decided yet".to_string(),
                verb => format!("decision {verb} ({})", text(decision, "reason")),
            };
            let (runbook, instance) = (text(item, "runbook"), text(item, "instance"));
            news.push(format!("◆ incident for {runbook} on {instance}: {state}, {decided}"));
        }
    }

    fn operations(&mut self, items: &[Value], news: &mut Vec<String>) {
        for item in items {
            let state = text(item, "state");
            let progress = format!("{state}, step {} of {}", item["steps_done"], item["steps"]);
            if changed(&mut self.operations, text(item, "id"), &progress).is_some() {
                news.push(format!("◆ operation \"{}\": {progress}", text(item, "title")));
            }
        }
    }
}

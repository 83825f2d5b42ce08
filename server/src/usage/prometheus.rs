//! Weeks that were seen before this process watched: hourly peaks of a shard out of Prometheus.
//!
//! Invariant: asked once a service and day, one after the other, and only where days are missing; a
//! Prometheus that does not answer costs nothing but the older days. Refuses to know forecasts.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use model::{At, ServiceId};
use scorer::past::{Day, Sample, day_of};
use serde::Deserialize;

use super::{DAYS_KEPT, HOUR_MS};
use crate::app::App;

/// One query of 672 points a shard.
const ANSWER: Duration = Duration::from_secs(30);
/// An answer of a service with 100 shards is some 2 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is asked of a service: labels are those discovery attaches.
const QUERIES: [(&str, Of); 2] = [
    ("redis_memory_used_bytes", |value| Sample { used_bytes: Some(value), ..Sample::default() }),
    ("redis_connected_clients", |value| Sample { clients: Some(value), ..Sample::default() }),
];

type Of = fn(f64) -> Sample;

#[derive(Deserialize)]
struct Answered {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    values: Vec<(f64, String)>,
}

/// Fills the days Prometheus knows and we do not. Without `[history]` there is nothing to do.
pub(crate) async fn backfill(app: &App, now: At) -> anyhow::Result<()> {
    let Some(history) = &app.config.history else { return Ok(()) };
    let http = reqwest::Client::builder().timeout(ANSWER).build().context("the HTTP client")?;
    let inventory = app.inventory();
    for service in inventory.services.keys() {
        let whole = |shards: Vec<(u32, scorer::Track)>| {
            shards.iter().map(|(_, t)| t.whole_days(now)).min().unwrap_or(0)
        };
        let asked = &app.usage.asked;
        let latest = || asked.lock().unwrap_or_else(PoisonError::into_inner).get(service).copied();
        let lately = latest().is_some_and(|at| now.since_ms(at).abs() < 24 * HOUR_MS);
        if lately || whole(app.usage.tracks(service)) >= DAYS_KEPT as usize {
            continue;
        }
        let days = ask(&http, &history.url, service, now).await;
        for (shard, days) in days.with_context(|| format!("history of {service}"))? {
            app.usage.backfilled.store(true, Ordering::Relaxed);
            app.usage.put((service.clone(), shard), days, true);
        }
        asked.lock().unwrap_or_else(PoisonError::into_inner).insert(service.clone(), now);
    }
    Ok(())
}

async fn ask(
    http: &reqwest::Client,
    base: &str,
    service: &ServiceId,
    now: At,
) -> anyhow::Result<BTreeMap<u32, Vec<Day>>> {
    let mut shards: BTreeMap<u32, BTreeMap<i64, Day>> = BTreeMap::new();
    for (metric, of) in QUERIES {
        // A point at the end of an hour tells of that hour.
        let end = now.ms().div_euclid(HOUR_MS) * HOUR_MS / 1000;
        let first = (day_of(now) - DAYS_KEPT) * 24 * HOUR_MS / 1000;
        let (tenant, slug) = (service.tenant(), service.slug());
        let query = format!(
            "max by (shard) (max_over_time({metric}{{tenant=\"{tenant}\",service=\"{slug}\"}}[1h]))"
        );
        let url = format!("{}/api/v1/query_range", base.trim_end_matches('/'));
        let range = [
            ("query", query),
            ("start", (first + HOUR_MS / 1000).to_string()),
            ("end", end.to_string()),
            ("step", "3600".to_string()),
        ];
        let answer = http.get(url).query(&range).send().await?.error_for_status()?;
        let body = answer.bytes().await?;
        anyhow::ensure!(body.len() <= ANSWER_BYTES_MAX, "an answer of {} bytes", body.len());
        let answered: Answered = serde_json::from_slice(&body).context("the answer")?;
        for series in answered.data.result {
            take(&mut shards, &series, of);
        }
    }
    Ok(shards.into_iter().map(|(n, days)| (n, days.into_values().collect())).collect())
}

fn take(shards: &mut BTreeMap<u32, BTreeMap<i64, Day>>, series: &Series, of: Of) {
    let shard = series.metric.get("shard").and_then(|s| s.parse().ok()).unwrap_or(0);
    let days = shards.entry(shard).or_default();
    for (end_s, value) in &series.values {
        let hour = (*end_s as i64) / (HOUR_MS / 1000) - 1;
        let Some(value) = value.parse::<f64>().ok().filter(|v| v.is_finite()) else { continue };
        let number = hour.div_euclid(24);
        let day = days.entry(number).or_insert_with(|| Day::new(number));
        day.take(&of(value), hour.rem_euclid(24) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_at_the_end_of_an_hour_is_the_peak_of_that_hour() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"shard":"2"},"values":[[1728003600,"5"],[1728007200,"NaN"],[1728010800,"7"]]}]}}"#;
        let answered: Answered = serde_json::from_str(text).unwrap();
        let mut shards = BTreeMap::new();
        answered.data.result.iter().for_each(|s| take(&mut shards, s, QUERIES[0].1));
        // 1728000000 is the first second of day 20000.
        let day = &shards[&2][&20_000];
        let mut made = Day::new(20_000);
        made.take(&(QUERIES[0].1)(5.0), 0);
        made.take(&(QUERIES[0].1)(7.0), 2);
        assert_eq!(*day, made);
    }
}

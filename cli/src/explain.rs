//! `explain score`: the waterfall in text. `explain topology`: a service as its servers name it.
//! `explain zone-risk`: what a lost zone would cost it.
//!
//! Invariant: the lines printed add up to the score exactly, in hundredths; when they do not, it
//! says so instead of hiding it.

use model::health::HealthPage;
use model::score::waterfall;
use serde_json::Value;

use crate::args::{Output, Score};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{one, segment};
use crate::table::plain;

/// Answers why a score is what it is, was, or would be; the id says of what level.
pub async fn score(client: &Client, wish: &Score, output: Output) -> Result<(), Fail> {
    let value = fetch(client, wish).await?;
    if output != Output::Table {
        one(&value, output);
        return Ok(());
    }
    let page: HealthPage =
        serde_json::from_value(value).map_err(|e| Fail::Other(anyhow::Error::new(e)))?;
    print!("{}{}", heading(&page), waterfall(&page.health));
    for child in &page.children {
        println!("  {:<40} {:>7}  {}", plain(&child.id), number(child.score), child.grade.as_str());
    }
    Ok(())
}

/// Answers how the servers of a service name it, and who of them is not in the inventory.
pub async fn topology(client: &Client, id: &str, output: Output) -> Result<(), Fail> {
    let value = client.get(&format!("/services/{}/topology", segment(id))).await?;
    one(&value, output);
    Ok(())
}

/// What the answer is, when it is not the present score.
fn heading(page: &HealthPage) -> String {
    let source = page.source.as_str();
    if let Some(present) = &page.present {
        return format!("with other inputs; now {}\n", number(present.score));
    }
    match (page.asked, page.exact) {
        (None, _) => String::new(),
        (Some(at), true) => format!("as shown at {at} ({source})\n"),
        (Some(at), false) => {
            format!("grade and gates as of {at}, points as of {} ({source})\n", page.health.at)
        }
    }
}

/// The parameters of a wish.
fn query(wish: &Score) -> Result<String, Fail> {
    let mut parts: Vec<String> = Vec::new();
    parts.extend(wish.at.as_ref().map(|at| format!("at={}", segment(at))));
    for set in &wish.set {
        let Some((input, value)) = set.split_once('=') else {
            return Err(Fail::Usage(format!("--set {set}: expected INPUT=VALUE")));
        };
        parts.push(format!("set.{}={}", segment(input), segment(value)));
    }
    Ok(if parts.is_empty() { String::new() } else { format!("?{}", parts.join("&")) })
}

/// Answers what a lost zone or host would cost a service.
pub async fn zone_risk(client: &Client, id: &str, output: Output) -> Result<(), Fail> {
    let value = client.get(&format!("/services/{}/zone-risk", segment(id))).await?;
    one(&value, output);
    Ok(())
}

/// A service and a system are written alike: the service is asked for first.
async fn fetch(client: &Client, wish: &Score) -> Result<Value, Fail> {
    let (id, query) = (wish.id.as_str(), query(wish)?);
    let path = |noun: &str| format!("/{noun}/{}/health{query}", segment(id));
    if id.contains('@') {
        return client.get(&path("instances")).await;
    }
    if let Some((service, n)) = id.split_once('/') {
        let (service, n) = (segment(service), segment(n));
        return client.get(&format!("/services/{service}/shards/{n}/health{query}")).await;
    }
    if !id.contains('.') {
        return client.get(&path("tenants")).await;
    }
    match client.get(&path("services")).await {
        Err(Fail::Problem(p)) if p.code == "CW-1300" => client.get(&path("systems")).await,
        other => other,
    }
}

fn number(score: Option<f64>) -> String {
    score.map_or("?".into(), |s| format!("{s:.2}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(set: &[&str], at: Option<&str>) -> Score {
        let set = set.iter().map(ToString::to_string).collect();
        Score { id: "pay.cart".into(), set, at: at.map(str::to_string) }
    }

    #[test]
    fn what_is_set_and_the_moment_become_parameters() {
        let set = ["pay.cart@10.0.0.1:6379.maxmemory_bytes=12000000000"];
        let at = "2026-11-22T09:00:00+01:00";
        let said = query(&wish(&set, Some(at))).unwrap();
        let wanted = "?at=2026-11-22T09:00:00%2B01:00\
                      &set.pay.cart@10.0.0.1:6379.maxmemory_bytes=12000000000";
        assert_eq!(said, wanted);
        assert_eq!(query(&wish(&[], None)).unwrap(), "");
        assert!(query(&wish(&["maxmemory_bytes"], None)).is_err());
    }
}

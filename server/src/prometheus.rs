//! Questions to the Prometheus of `[history]`.
//!
//! Invariant: a question ends within `ANSWER_MAX`, so that pages without history are not slower than
//! pages with it; the answer is only ever numbers and labels. Refuses to know what is asked.

use std::collections::BTreeMap;
use std::time::Duration;

use model::At;
use serde::Deserialize;

/// Longest wait for an answer: a page without history is better than a late one.
const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Longest answer, bytes: some ten thousand series.
const BODY_MAX: usize = 8 << 20;

/// The query API.
pub(crate) struct Prometheus {
    http: reqwest::Client,
    base: String,
}

/// One series at one moment.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    /// Labels, `__name__` among them.
    pub labels: BTreeMap<String, String>,
    /// Value.
    pub value: f64,
}

impl Sample {
    /// A label; empty when it has none of that name, as Prometheus sees it.
    pub fn label(&self, name: &str) -> &str {
        self.labels.get(name).map(String::as_str).unwrap_or_default()
    }
}

#[derive(Deserialize)]
struct Answer {
    data: Option<Data>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    value: (f64, String),
}

impl Prometheus {
    /// At this base address.
    pub fn new(http: reqwest::Client, base: &str) -> Prometheus {
        Prometheus { http, base: base.trim_end_matches('/').to_owned() }
    }

    /// The series a selector names, as they were at a moment.
    pub async fn at(&self, query: &str, at: At) -> Result<Vec<Sample>, String> {
        let time = format!("{:.3}", at.seconds());
        let asked = self
            .http
            .get(format!("{}/api/v1/query", self.base))
            .timeout(ANSWER_MAX)
            .query(&[("query", query), ("time", time.as_str())]);
        let mut response = asked.send().await.map_err(|e| said(&e))?;
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|e| said(&e))? {
            if body.len() + part.len() > BODY_MAX {
                return Err("the answer is too long".into());
            }
            body.extend_from_slice(&part);
        }
        read(&body).map_err(|why| format!("{}: {why}", response.status().as_u16()))
    }
}

/// Without the address, which may hold a password.
fn said(e: &reqwest::Error) -> String {
    match (e.is_timeout(), e.is_connect()) {
        (true, _) => "no answer within 2 s".into(),
        (_, true) => "cannot connect".into(),
        _ => "the connection broke".into(),
    }
}

fn read(body: &[u8]) -> Result<Vec<Sample>, String> {
    let answer: Answer =
        serde_json::from_slice(body).map_err(|_| "no answer of Prometheus".to_owned())?;
    if let Some(error) = answer.error {
        return Err(error.chars().take(200).collect());
    }
    let series = answer.data.map(|d| d.result).unwrap_or_default();
    let sample = |s: Series| Some(Sample { labels: s.metric, value: s.value.1.parse().ok()? });
    Ok(series.into_iter().filter_map(sample).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_and_a_refusal_is_told() {
        let body = br#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"x"},"value":[1763800000.1,"1"]}]}}"#;
        let samples = read(body).unwrap();
        assert_eq!((samples[0].label("job"), samples[0].value), ("x", 1.0));
        assert_eq!(samples[0].label("none"), "");
        let refused = read(br#"{"status":"error","error":"parse error"}"#);
        assert_eq!(refused, Err("parse error".into()));
        assert!(read(b"<html>").is_err());
    }
}

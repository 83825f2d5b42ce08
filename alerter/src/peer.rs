//! What we ask of an Alertmanager beside taking our alerts: its alerts, its silences, since when it
//! runs.
//!
//! Invariant: every call has a deadline and a bounded answer; an answer that cannot be read is an
//! error, never an empty list. Refuses to know what follows from it.

use std::time::Duration;

use model::At;
use model::silence::{Matcher, Silence};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::config::AlertmanagerConfig;
use crate::intake::Received;
use crate::send::{beginning, causes, signed};

/// One call.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer: 50 000 alerts of an Alertmanager take some 40 MB.
const ANSWER_MAX: usize = 64 << 20;

/// An Alertmanager to ask.
pub(crate) struct Peer<'a> {
    pub http: &'a reqwest::Client,
    pub config: &'a AlertmanagerConfig,
}

/// What an Alertmanager says of itself.
#[derive(Debug, Deserialize)]
pub(crate) struct PeerStatus {
    /// When it started.
    pub uptime: At,
    #[serde(default)]
    pub cluster: Cluster,
}

/// Whom it gossips with.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Cluster {
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub peers: Option<Vec<Member>>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Member {
    #[serde(default)]
    pub name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    labels: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    annotations: std::collections::BTreeMap<String, String>,
    starts_at: At,
    #[serde(default, rename = "generatorURL")]
    generator_url: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    id: String,
    matchers: Vec<Matcher>,
    starts_at: At,
    ends_at: At,
    #[serde(default)]
    created_by: String,
    #[serde(default)]
    comment: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wish<'a> {
    matchers: &'a [Matcher],
    starts_at: At,
    ends_at: At,
    created_by: &'a str,
    comment: &'a str,
}

#[derive(Deserialize)]
struct Made {
    #[serde(rename = "silenceID")]
    id: String,
}

impl Peer<'_> {
    /// Its state.
    pub async fn status(&self) -> Result<PeerStatus, String> {
        self.get("/api/v2/status").await
    }

    /// Every alert that is active there, silenced and inhibited ones too.
    pub async fn alerts(&self) -> Result<Vec<Received>, String> {
        let path = "/api/v2/alerts?active=true&silenced=true&inhibited=true";
        let listed: Vec<Listed> = self.get(path).await?;
        let one = |l: Listed| {
            let mut labels = l.labels;
            labels.retain(|_, value| !value.is_empty());
            labels.values_mut().for_each(|v| *v = v.replace('\0', "\u{fffd}"));
            Received {
                resolved: false,
                labels,
                annotations: l.annotations,
                starts_at: l.starts_at,
                ends_at: None,
                generator_url: l.generator_url,
            }
        };
        Ok(listed.into_iter().map(one).collect())
    }

    /// Every silence it keeps, over ones too.
    pub async fn silences(&self) -> Result<Vec<Silence>, String> {
        let kept: Vec<Kept> = self.get("/api/v2/silences").await?;
        let one = |k: Kept| Silence {
            id: k.id,
            matchers: k.matchers,
            starts_at: k.starts_at,
            ends_at: k.ends_at,
            created_by: k.created_by,
            comment: k.comment,
            keeper: self.config.base().to_string(),
        };
        Ok(kept.into_iter().map(one).collect())
    }

    /// Makes a silence there; answers its id.
    pub async fn silence(&self, s: &Silence) -> Result<String, String> {
        let wish = Wish {
            matchers: &s.matchers,
            starts_at: s.starts_at,
            ends_at: s.ends_at,
            created_by: &s.created_by,
            comment: &s.comment,
        };
        let body = serde_json::to_vec(&wish).map_err(|e| e.to_string())?;
        let request = self.http.post(self.at("/api/v2/silences")).body(body);
        let made: Made = self.ask(request.header("content-type", "application/json")).await?;
        Ok(made.id)
    }

    /// Expires one.
    pub async fn expire(&self, id: &str) -> Result<(), String> {
        let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let request = self.http.delete(self.at(&format!("/api/v2/silence/{id}")));
        self.send(request).await.map(drop)
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.config.base())
    }

    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.ask(self.http.get(self.at(path))).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, String> {
        let mut response = self.send(request).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| causes(&e.without_url()))? {
            if body.len() + chunk.len() > ANSWER_MAX {
                return Err(format!("the answer is longer than {ANSWER_MAX} bytes"));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body).map_err(|e| format!("the answer cannot be read: {e}"))
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, String> {
        let request = signed(request.timeout(TIMEOUT), self.config).await?;
        let response = request.send().await.map_err(|e| causes(&e.without_url()))?;
        let status = response.status();
        match status.is_success() {
            true => Ok(response),
            false => Err(format!("{} {}", status.as_u16(), beginning(response).await)),
        }
    }
}

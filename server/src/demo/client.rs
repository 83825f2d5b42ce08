//! The demonstration's own way in: the public API, like any user, and Prometheus' and
//! Alertmanager's APIs to see with their eyes.

use std::time::Duration;

use anyhow::{Context, bail};
use serde_json::{Value, json};

const ANSWER_MAX: Duration = Duration::from_secs(30);

/// A signed-in client.
#[derive(Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    token: String,
}

/// Answer of a call: status and JSON (null when the body is none).
pub(super) struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Value,
}

impl Client {
    /// Creates the first account with the setup token and takes an API token for it.
    pub(super) async fn set_up(
        url: &str,
        setup_token: &str,
        name: &str,
        password: &str,
    ) -> anyhow::Result<Client> {
        let http = reqwest::Client::builder().timeout(ANSWER_MAX).build()?;
        let mut client = Client { http, url: url.into(), token: String::new() };
        let body = json!({"setup_token": setup_token, "name": name, "password": password});
        let url = format!("{}/api/v1/session", client.url);
        let answer = client.http.post(url).json(&body).send().await?;
        let cookie = answer
            .headers()
            .get("set-cookie")
            .and_then(|c| c.to_str().ok())
            .and_then(|c| c.split(';').next())
            .map(str::to_string);
        let status = answer.status();
        let session: Value = answer.json().await.unwrap_or_default();
        let cookie = cookie.with_context(|| format!("signing in: {status} {session}"))?;
        let csrf = session["csrf"].as_str().unwrap_or_default().to_string();
        client.token = client.new_token(&cookie, &csrf, "api").await?;
        Ok(client)
    }

    async fn new_token(&self, cookie: &str, csrf: &str, kind: &str) -> anyhow::Result<String> {
        let answer = self
            .http
            .post(format!("{}/api/v1/me/tokens", self.url))
            .header("cookie", cookie)
            .header("x-csrf-token", csrf)
            .header("origin", &self.url)
            .json(&json!({"kind": kind, "name": format!("demo-{kind}"), "days": 1}))
            .send()
            .await?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        let token = body["token"].as_str();
        Ok(token.with_context(|| format!("creating a token: {status} {body}"))?.to_string())
    }

    /// A token of another kind for this account.
    pub(super) async fn token(&self, kind: &str) -> anyhow::Result<String> {
        let body = json!({"kind": kind, "name": format!("demo-{kind}"), "days": 1});
        let answer = self.post("/me/tokens", &body, &[]).await?;
        let token = answer.body["token"].as_str();
        Ok(token.with_context(|| format!("creating a token: {}", answer.body))?.to_string())
    }

    /// `GET /api/v1{path}`; an error for anything but 2xx.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let url = format!("{}/api/v1{path}", self.url);
        let answer = self.http.get(url).bearer_auth(&self.token).send().await?;
        let status = answer.status();
        let body: Value = answer.json().await.unwrap_or_default();
        if !status.is_success() {
            bail!("GET {path}: {status} {}", body["detail"]);
        }
        Ok(body)
    }

    /// Items of a list.
    pub(super) async fn items(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        Ok(self.get(path).await?["items"].as_array().cloned().unwrap_or_default())
    }

    /// `POST /api/v1{path}` with headers.
    pub(super) async fn post(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        self.send(self.http.post(format!("{}/api/v1{path}", self.url)), body, headers).await
    }

    /// `PUT /api/v1{path}` with headers.
    pub(super) async fn put(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        self.send(self.http.put(format!("{}/api/v1{path}", self.url)), body, headers).await
    }

    async fn send(
        &self,
        request: reqwest::RequestBuilder,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> anyhow::Result<Answer> {
        let mut request = request.bearer_auth(&self.token).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        Ok(Answer { status, body: answer.json().await.unwrap_or_default() })
    }

    /// Plans and starts an operation, typing what the plan asks for. Answers its id.
    pub(super) async fn operate(
        &self,
        kind: &str,
        service: &str,
        params: Value,
        idem_key: &str,
    ) -> anyhow::Result<String> {
        let wanted = json!({"kind": kind, "service": service, "params": params});
        let plan = self.post("/operations/plans", &wanted, &[]).await?;
        if plan.status >= 300 {
            bail!("planning {kind} of {service}: {} {}", plan.status, plan.body);
        }
        let start = json!({
            "plan": plan.body["hash"],
            "confirm": plan.body["plan"]["confirm"],
            "reason": "demonstration",
        });
        let started = self.post("/operations", &start, &[("idempotency-key", idem_key)]).await?;
        let id = started.body["id"].as_str().or(started.body["operation"]["id"].as_str());
        let answer = || format!("starting {kind}: {} {}", started.status, started.body);
        Ok(id.with_context(answer)?.to_string())
    }
}

/// A query against Prometheus: (labels, value) of each series.
pub(super) async fn prometheus(url: &str, query: &str) -> Option<Vec<(Value, f64)>> {
    let url = reqwest::Url::parse_with_params(&format!("{url}/api/v1/query"), [("query", query)]);
    let body: Value = reqwest::get(url.ok()?).await.ok()?.json().await.ok()?;
    let series = body["data"]["result"].as_array()?;
    let value = |s: &Value| s["value"][1].as_str().and_then(|v| v.parse().ok());
    Some(series.iter().filter_map(|s| Some((s["metric"].clone(), value(s)?))).collect())
}

/// Labels of the alerts an Alertmanager holds as active.
pub(super) async fn alertmanager(url: &str) -> Option<Vec<Value>> {
    let url = format!("{url}/api/v2/alerts?active=true");
    let body: Value = reqwest::get(url).await.ok()?.json().await.ok()?;
    Some(body.as_array()?.iter().map(|a| a["labels"].clone()).collect())
}

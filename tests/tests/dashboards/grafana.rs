//! A real Grafana, where there is one: it takes every dashboard and gives the same back.
//!
//! Asked for by `CW_GRAFANA_URL` (and `CW_GRAFANA_TOKEN` of a service account that may edit); without it
//! nothing is tested, for no CI of ours has a Grafana.

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use crate::{boards, repository};

/// What of a panel people see: title, kind, queries, unit.
fn seen(dashboard: &Value) -> Vec<Value> {
    let panels = dashboard["panels"].as_array().cloned().unwrap_or_default();
    let exprs = |panel: &Value| -> Vec<Value> {
        panel["targets"].as_array().into_iter().flatten().map(|t| t["expr"].clone()).collect()
    };
    let unit = |panel: &Value| panel["fieldConfig"]["defaults"]["unit"].clone();
    panels.iter().map(|p| json!([p["title"], p["type"], exprs(p), unit(p)])).collect()
}

async fn answered(request: RequestBuilder, token: &str) -> Value {
    let answer = request.bearer_auth(token).send().await.unwrap();
    let (status, text) = (answer.status(), answer.text().await.unwrap());
    assert!(status.is_success(), "{status}: {text}");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn a_real_grafana_takes_every_dashboard_and_gives_the_same_back() {
    let Ok(url) = std::env::var("CW_GRAFANA_URL") else { return };
    let token = std::env::var("CW_GRAFANA_TOKEN").unwrap_or_default();
    let http = Client::builder().no_proxy().build().unwrap();
    for board in boards::all() {
        let path = repository().join("dashboards").join(board.file());
        let ours: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let body = json!({ "dashboard": ours, "overwrite": true });
        let post = http.post(format!("{url}/api/dashboards/db")).json(&body);
        assert_eq!(answered(post, &token).await["uid"], board.uid);
        let get = http.get(format!("{url}/api/dashboards/uid/{}", board.uid));
        let theirs = answered(get, &token).await["dashboard"].clone();
        assert_eq!(theirs["title"], board.title);
        assert_eq!(seen(&theirs), seen(&ours), "{}", board.uid);
        assert_eq!(
            theirs["templating"]["list"].as_array().map(Vec::len),
            Some(ours["templating"]["list"].as_array().unwrap().len())
        );
    }
}

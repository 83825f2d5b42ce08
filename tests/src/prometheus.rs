//! A real Prometheus in a folder of its own, on the configuration and the rules that are shipped, with
//! shorter intervals.
//!
//! Invariant: the server that answers is the one started here: it carries a label only this test knows.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::fleet::{free_port, program};
use crate::wait;

/// A Prometheus, stopped when dropped.
pub struct Prometheus {
    child: Child,
    url: String,
    http: reqwest::Client,
    dir: tempfile::TempDir,
}

impl Prometheus {
    /// Starts one that scrapes the cachewarden at `warden` (`host:port`) every second by
    /// `deploy/prometheus.yml` and evaluates `rules/`, and waits until it is ready.
    pub async fn start(warden: &str) -> Prometheus {
        Prometheus::begin(warden, "").await
    }

    /// Starts one that scrapes nobody and holds a past, in the text of OpenMetrics with times.
    pub async fn with_past(past: &str) -> Prometheus {
        Prometheus::begin("127.0.0.1:1", past).await
    }

    /// Base of its API.
    pub fn url(&self) -> &str {
        &self.url
    }

    async fn begin(warden: &str, past: &str) -> Prometheus {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let dir = tempfile::Builder::new().prefix("cw-prom-").tempdir().expect("tempdir");
        let rules = dir.path().join("rules");
        std::fs::create_dir_all(&rules).expect("folder of rules");
        for name in ["recording.yml", "cw-meta.yml"] {
            let text = std::fs::read_to_string(root.join("rules").join(name)).expect("rules");
            let text = text.replace("interval: 2m", "interval: 1s");
            std::fs::write(rules.join(name), text).expect("rules");
        }
        let nonce = format!("{}-{}", std::process::id(), free_port("127.0.0.1"));
        let config = std::fs::read_to_string(root.join("deploy/prometheus.yml")).expect("config");
        let config = config
            .replace("127.0.0.1:9850", warden)
            .replace("/etc/cachewarden/rules", &rules.display().to_string())
            .replace(": 15s", ": 1s")
            .replace(": 30s", ": 1s")
            .replace("global:\n", &format!("global:\n  external_labels: {{nonce: '{nonce}'}}\n"));
        let path = dir.path().join("prometheus.yml");
        std::fs::write(&path, config).expect("config");
        fill(dir.path(), past);
        let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let log = std::fs::File::create(dir.path().join("log")).expect("log");
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", path.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("Prometheus starts");
        let http = crate::process::http().build().expect("client");
        let mut new = Prometheus { child, url: format!("http://{address}"), http, dir };
        new.is_ready(&nonce).await;
        new
    }

    async fn is_ready(&mut self, nonce: &str) {
        let end = std::time::Instant::now() + wait::PATIENCE;
        loop {
            let ended = self.child.try_wait().expect("wait");
            assert!(ended.is_none(), "Prometheus ended:\n{}", self.log());
            let ready = self.text("/-/ready").await.is_some();
            let config = self.text("/api/v1/status/config").await.unwrap_or_default();
            if ready && config.contains(nonce) {
                return;
            }
            assert!(std::time::Instant::now() < end, "not ready:\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    }

    /// What it logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    async fn text(&self, path: &str) -> Option<String> {
        let answer = self.http.get(format!("{}{path}", self.url)).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        answer.text().await.ok()
    }

    /// `data` of an answer of its API; panics when it refuses the question.
    async fn data(&self, path: &str, query: &[(&str, &str)]) -> Value {
        let request = self.http.get(format!("{}/api/v1{path}", self.url)).query(query);
        let answer = request.send().await.expect("Prometheus answers");
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(body["status"], "success", "{path} {query:?}: {body}");
        body["data"].clone()
    }

    /// Series an instant query answers now: labels and value.
    pub async fn now(&self, expr: &str) -> Vec<(Value, f64)> {
        let data = self.data("/query", &[("query", expr)]).await;
        let one = |s: &Value| (s["metric"].clone(), number(&s["value"][1]));
        data["result"].as_array().map(|all| all.iter().map(one).collect()).unwrap_or_default()
    }

    /// Series of the last `seconds`, a value a second: labels and values.
    pub async fn lately(&self, expr: &str, seconds: u32) -> Vec<(Value, Vec<f64>)> {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let end = since.expect("after 1970").as_secs_f64();
        let (from, end) = ((end - f64::from(seconds)).to_string(), end.to_string());
        let query = [("query", expr), ("start", &from), ("end", &end), ("step", "1")];
        let data = self.data("/query_range", &query).await;
        let one = |s: &Value| {
            let values = s["values"].as_array().expect("values").iter();
            (s["metric"].clone(), values.map(|v| number(&v[1])).collect())
        };
        data["result"].as_array().map(|all| all.iter().map(one).collect()).unwrap_or_default()
    }

    /// Values of a label over the series a selector names.
    pub async fn label_values(&self, selector: &str, label: &str) -> Vec<String> {
        let data = self.data(&format!("/label/{label}/values"), &[("match[]", selector)]).await;
        serde_json::from_value(data).expect("a list of names")
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes blocks of a past.
fn fill(dir: &Path, past: &str) {
    if past.is_empty() {
        return;
    }
    std::fs::write(dir.join("past.om"), past).expect("the past");
    let made = Command::new(program("promtool"))
        .current_dir(dir)
        .args(["tsdb", "create-blocks-from", "openmetrics", "past.om", "data"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status();
    assert!(made.expect("promtool runs").success(), "the past is no OpenMetrics");
}

fn number(value: &Value) -> f64 {
    value.as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN)
}

//! The process under test with what whole-product tests do to it: fault points armed while it runs,
//! operations over its API, answers that may not come because it is dead or away.
//!
//! Invariant: everything goes over its API or its process; nothing of it is called directly.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use model::view::OperationPage;
use serde_json::{Value, json};

use crate::process::{Cachewarden, Options, binary, http};
use crate::wait;

/// Longest answer: an apply of a small fleet on a loaded machine.
const ANSWER: Duration = Duration::from_secs(30);

/// How it is set up.
#[derive(Default)]
pub struct Setup {
    /// Folder of its store; none: its own.
    pub store: Option<PathBuf>,
    /// Whole sections added to the configuration: `[ops]`, `[[alerter.alertmanager]]` …
    pub sections: String,
}

/// The process, its first account and its store.
pub struct Warden {
    process: Cachewarden,
    store: PathBuf,
    env: Vec<(String, String)>,
    fault: PathBuf,
    token: String,
    http: reqwest::Client,
    running: bool,
}

/// Answer of a call: status and JSON (null when the body is none).
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body.
    pub body: Value,
}

impl Warden {
    /// Starts it with an empty store and makes the first account.
    pub async fn start(setup: Setup) -> Warden {
        let mut options = Options { more: setup.sections, ..Options::default() };
        let away = setup.store.map(|folder| folder.join("cw.db"));
        options.store_url = away.as_ref().map(|path| format!("sqlite:{}", path.display()));
        let process = Cachewarden::prepared(&options);
        let fault = process.dir.join("fault");
        let mut warden = Warden {
            store: away.unwrap_or_else(|| process.dir.join("cw.db")),
            env: vec![("CACHEWARDEN_FAULT".into(), format!("@{}", fault.display()))],
            http: http().timeout(ANSWER).build().expect("client"),
            process,
            fault,
            token: String::new(),
            running: false,
        };
        warden.start_again().await;
        warden.token = warden.process.token().await.into();
        warden
    }

    /// Starts the process (again) and waits until it is ready.
    pub async fn start_again(&mut self) {
        assert!(!self.running, "it runs already");
        self.process.spawn_with(&self.env);
        self.running = true;
        self.process.answers().await;
    }

    /// A second process with the same configuration, run to its end: its status and what it said.
    pub fn twin(&self) -> (ExitStatus, String) {
        let out = Command::new(crate::fleet::program("timeout"))
            .args(["--signal=KILL", "60"])
            .arg(binary())
            .args(["serve", "--config"])
            .arg(self.process.config())
            .stdin(Stdio::null())
            .output()
            .expect("cachewarden starts");
        (out.status, String::from_utf8_lossy(&out.stderr).into_owned())
    }

    /// Its address as a URL.
    pub fn url(&self) -> &str {
        &self.process.url
    }

    /// The SQLite file.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Everything it printed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// The end of it, for messages.
    pub fn tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Arms a fault point of the running process: `<place>:<before|after>:<crash|error|hang>[:n]`.
    pub fn arm(&self, fault: &str) {
        let beside = self.fault.with_extension("new");
        std::fs::write(&beside, fault).expect("fault file");
        std::fs::rename(&beside, &self.fault).expect("fault file");
    }

    /// Takes the fault away.
    pub fn disarm(&self) {
        let _ = std::fs::remove_file(&self.fault);
    }

    /// Sends a signal by name (`STOP`, `CONT`, `TERM`).
    pub fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Whether it has ended by now; it is to be reaped by `ended` then.
    pub fn is_dead(&self) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()));
        let state = stat.as_deref().ok().and_then(|s| s.rsplit_once(") ")?.1.chars().next());
        matches!(state, None | Some('Z'))
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let status = self.process.ended().await;
        self.running = false;
        status
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        self.process.kill();
        self.running = false;
    }

    /// `GET /api/v1{path}`; none when nobody answers.
    pub async fn try_get(&self, path: &str) -> Option<Answer> {
        let url = format!("{}/api/v1{path}", self.url());
        answered(self.http.get(url).bearer_auth(&self.token)).await
    }

    /// `GET /api/v1{path}`; panics for anything but 2xx.
    pub async fn get(&self, path: &str) -> Value {
        let answer = self.try_get(path).await;
        let answer = answer.unwrap_or_else(|| panic!("GET {path}: no answer\n{}", self.tail()));
        assert!(answer.status < 300, "GET {path}: {answer:?}\n{}", self.tail());
        answer.body
    }

    /// Items of a list.
    pub async fn items(&self, path: &str) -> Vec<Value> {
        self.get(path).await["items"].as_array().cloned().unwrap_or_default()
    }

    /// `POST /api/v1{path}` with headers; none when nobody answers.
    pub async fn try_post(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        let url = format!("{}/api/v1{path}", self.url());
        let mut request = self.http.post(url).bearer_auth(&self.token).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answered(request).await
    }

    /// `POST /api/v1{path}`, whatever it answers; panics when nobody does.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        let answer = self.try_post(path, body, &[]).await;
        answer.unwrap_or_else(|| panic!("POST {path}: no answer\n{}", self.tail()))
    }

    /// `PUT /api/v1{path}` whatever the revision; panics for anything but 2xx.
    pub async fn put(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/api/v1{path}", self.url());
        let request = self.http.put(url).bearer_auth(&self.token).header("if-match", "*");
        let answer = answered(request.json(body)).await.expect("it answers");
        assert!(answer.status < 300, "PUT {path}: {answer:?}");
        answer.body
    }

    /// A token of another kind (`intake`) for the same account.
    pub async fn another_token(&self, kind: &str) -> String {
        self.process.new_token(kind).await
    }

    /// A page outside of the API: `/metrics`, `/scrape?target=…`; none when it is not answered 200.
    pub async fn page(&self, path: &str) -> Option<String> {
        let answer = self.http.get(format!("{}{path}", self.url())).send().await.ok()?;
        if !answer.status().is_success() {
            return None;
        }
        answer.text().await.ok()
    }

    /// Value of the first series of a metrics page that starts with `prefix`.
    pub async fn metric(&self, path: &str, prefix: &str) -> Option<f64> {
        let page = self.page(path).await?;
        page.lines().find(|l| l.starts_with(prefix))?.rsplit(' ').next()?.parse().ok()
    }

    /// Applies an inventory document.
    pub async fn apply(&self, document: &Value) {
        // A store that is slow for a moment answers 503.
        let answer = wait::until("the inventory is taken", || async {
            Some(self.post("/apply", document).await).filter(|answer| answer.status != 503)
        });
        let answer = answer.await;
        assert!(answer.status < 300, "apply: {answer:?}");
    }

    /// Makes a plan: `{plan, hash}`, or the refusal.
    pub async fn plan(&self, kind: &str, service: &str, params: &Value) -> Result<Value, Value> {
        let wish = json!({"kind": kind, "service": service, "params": params});
        let answer = self.post("/operations/plans", &wish).await;
        if answer.status < 300 { Ok(answer.body) } else { Err(answer.body) }
    }

    /// Body that starts a plan, complete also for a process that does not remember it.
    pub fn start_of(planned: &Value) -> Value {
        json!({
            "plan": planned["hash"], "confirm": planned["plan"]["confirm"], "reason": "a test",
            "kind": planned["plan"]["kind"], "service": planned["plan"]["service"],
            "params": planned["plan"]["params"],
        })
    }

    /// Starts a plan; none when nobody answers. A store that is slow for a moment answers 503, and
    /// the same key asks again.
    pub async fn begin(&self, planned: &Value, key: &str) -> Option<String> {
        let (start, key) = (Warden::start_of(planned), [("idempotency-key", key)]);
        let answer = wait::until("the operation is made", || async {
            let answer = self.try_post("/operations", &start, &key).await;
            if answer.as_ref().is_some_and(|a| a.status == 503) { None } else { Some(answer) }
        });
        let answer = answer.await?;
        assert_eq!(answer.status, 201, "{answer:?}");
        Some(answer.body["id"].as_str().expect("an operation has an id").into())
    }

    /// The operation with its story; none when nobody answers.
    pub async fn try_operation(&self, id: &str) -> Option<OperationPage> {
        let answer = self.try_get(&format!("/operations/{id}")).await?;
        serde_json::from_value(answer.body).ok()
    }

    /// The operation with its story.
    pub async fn operation(&self, id: &str) -> OperationPage {
        let body = self.get(&format!("/operations/{id}")).await;
        serde_json::from_value(body).expect("an operation's page")
    }

    /// Waits until the operation is over.
    pub async fn over(&self, id: &str) -> OperationPage {
        let patience = wait::PATIENCE * 3;
        wait::until_within(&format!("operation {id} is over"), patience, || async {
            self.try_operation(id).await.filter(|o| o.operation.state.is_final())
        })
        .await
    }
}

impl Drop for Warden {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- end of the log of cachewarden\n{}", self.tail());
        }
    }
}

async fn answered(request: reqwest::RequestBuilder) -> Option<Answer> {
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some(Answer { status, body: answer.json().await.unwrap_or_default() })
}

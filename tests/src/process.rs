//! cachewarden itself as a process: the real binary with a folder, a port and a store of its own.
//!
//! Invariant: every start uses the same folder and port, so a restart meets its own past; the
//! process ends with the value.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use serde_json::{Value, json};

use crate::fleet::free_port;
use crate::wait;

/// Password of the first account: long enough for every profile.
const PASSWORD: &str = "correct horse battery staple";

/// One process.
pub struct Cachewarden {
    /// `http://127.0.0.1:port`.
    pub url: String,
    /// Key, configuration and output; the store too, unless `store_url` says otherwise.
    pub dir: PathBuf,
    config: PathBuf,
    child: Option<Child>,
    token: tokio::sync::OnceCell<String>,
    http: reqwest::Client,
    _keep: tempfile::TempDir,
}

/// What differs from a plain start.
#[derive(Default)]
pub struct Options {
    /// TOML added to the configuration: further sections.
    pub more: String,
    /// Store; absent: SQLite in the folder.
    pub store_url: Option<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// Start without a wrapping key.
    pub keyless: bool,
    /// Seconds between two polls; absent: 1.
    pub interval_s: Option<u32>,
    /// Deadline of a poll; absent: the default, or the interval when that is shorter.
    pub deadline_ms: Option<u32>,
}

/// The program beside the test's own.
pub fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("a test has a path");
    let dir = own.parent().and_then(Path::parent).expect("target/debug/deps/test");
    let path = dir.join("cachewarden");
    assert!(path.is_file(), "{} is missing; build it first: cargo build -p cli", path.display());
    path
}

impl Cachewarden {
    /// Starts a process with polls every second and waits until it answers.
    pub async fn start(more: &str) -> Cachewarden {
        Cachewarden::with(Options { more: more.into(), ..Options::default() }).await
    }

    /// Starts one with `options` and waits until it answers.
    pub async fn with(options: Options) -> Cachewarden {
        let mut new = Cachewarden::prepared(&options);
        new.spawn_with(&options.env);
        new.answers().await;
        new
    }

    /// Folder, key and configuration, nothing started.
    pub fn prepared(options: &Options) -> Cachewarden {
        let keep = tempfile::Builder::new().prefix("cw-test-").tempdir().expect("tempdir");
        let dir = keep.path().to_path_buf();
        let url = format!("http://127.0.0.1:{}", free_port("127.0.0.1"));
        let key = dir.join("key");
        if !options.keyless {
            fs::write(&key, store::new_key().expect("random bytes").reveal()).expect("key file");
        }
        let interval_s = options.interval_s.unwrap_or(1);
        let database = format!("sqlite:{}", dir.join("cw.db").display());
        let text = format!(
            "[http]\nlisten = \"{}\"\npublic_url = \"{url}\"\n[log]\nlevel = \"info\"\n\
             [store]\nurl = \"{}\"\nkey_file = \"{}\"\n[link]\ndeadline_ms = {}\n\
             [exporter]\ninterval_s = {}\n{}",
            url.trim_start_matches("http://"),
            options.store_url.as_ref().unwrap_or(&database),
            key.display(),
            options.deadline_ms.unwrap_or(3000.min(interval_s * 1000)),
            interval_s,
            options.more,
        );
        let config = dir.join("cachewarden.toml");
        fs::write(&config, text).expect("configuration");
        let http = http().build().expect("client");
        let token = tokio::sync::OnceCell::new();
        Cachewarden { url, dir, config, child: None, token, http, _keep: keep }
    }

    /// Starts the process; its output goes to `stdout` and `stderr` in the folder.
    pub fn spawn_with(&mut self, env: &[(String, String)]) {
        let file = |name: &str| {
            let path = self.dir.join(name);
            fs::File::options().create(true).append(true).open(path).expect("output file")
        };
        let child = Command::new(binary())
            .args(["serve", "--config"])
            .arg(&self.config)
            .envs(env.iter().map(|(k, v)| (k, v)))
            .stdin(Stdio::null())
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("cachewarden starts");
        self.child = Some(child);
    }

    /// Waits until `/healthz` answers; panics with the log when the process ended instead.
    pub async fn answers(&mut self) {
        let end = std::time::Instant::now() + wait::PATIENCE;
        loop {
            let asked = self.http.get(format!("{}/healthz", self.url)).send().await;
            if asked.is_ok_and(|a| a.status() == 200) {
                return;
            }
            let child = self.child.as_mut().expect("started");
            let ended = child.try_wait().expect("wait");
            assert!(ended.is_none(), "it ended with {ended:?}:\n{}", self.log());
            assert!(std::time::Instant::now() < end, "no answer:\n{}", self.log());
            tokio::time::sleep(std::time::Duration::from_millis(25)).await;
        }
    }

    /// Everything it logged.
    pub fn log(&self) -> String {
        let read = |name: &str| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
        format!("{}{}", read("stdout"), read("stderr"))
    }

    /// Path of the configuration.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status();
        assert!(sent.expect("kill runs").success());
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait::until("the process ends", || {
            let ended = child.try_wait().expect("wait");
            async move { ended }
        })
        .await
    }

    /// SIGTERM, and the exit status.
    pub async fn term(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended().await
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again in the same folder and waits until it answers.
    pub async fn restart(&mut self) {
        self.spawn_with(&[]);
        self.answers().await;
    }

    /// GET without a token: (status, body).
    pub async fn get(&self, path: &str) -> (u16, String) {
        let asked = self.http.get(format!("{}{path}", self.url)).send().await.expect("an answer");
        (asked.status().as_u16(), asked.text().await.expect("a body"))
    }

    /// GET below `/api/v1` as the first account.
    pub async fn api(&self, path: &str) -> (u16, Value) {
        let token = self.token().await;
        let asked = self.http.get(format!("{}/api/v1{path}", self.url)).bearer_auth(token);
        answered(asked).await
    }

    /// POST below `/api/v1` as the first account.
    pub async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let token = self.token().await;
        let url = format!("{}/api/v1{path}", self.url);
        answered(self.http.post(url).bearer_auth(token).json(body)).await
    }

    /// A token of that kind for the first account.
    pub async fn new_token(&self, kind: &str) -> String {
        let body = json!({"kind": kind, "name": format!("test-{kind}"), "days": 1});
        let (status, answer) = taken(|| self.post("/me/tokens", &body)).await;
        assert!(status < 300, "{status} {answer}");
        answer["token"].as_str().expect("a token").to_string()
    }

    /// A token of the first account, which the printed setup token makes once.
    pub async fn token(&self) -> &str {
        self.token.get_or_init(|| self.sign_in()).await
    }

    async fn sign_in(&self) -> String {
        let printed = self.log();
        let setup = printed.lines().skip_while(|l| !l.contains("setup token")).nth(1);
        let body = json!({
            "setup_token": setup.expect("the setup token is printed").trim(),
            "name": "test-admin",
            "password": PASSWORD,
        });
        let url = format!("{}/api/v1/session", self.url);
        let answer = wait::until("the store takes the first account", || async {
            let answer = self.http.post(&url).json(&body).send().await.expect("an answer");
            (answer.status() != 503).then_some(answer)
        })
        .await;
        let cookie = answer.headers().get("set-cookie").expect("a cookie").clone();
        let cookie = cookie.to_str().expect("text").split(';').next().expect("a pair").to_string();
        let session: Value = answer.json().await.expect("JSON");
        let make = || {
            let made = self.http.post(format!("{}/api/v1/me/tokens", self.url));
            let made = made
                .header("cookie", &cookie)
                .header("origin", &self.url)
                .header("x-csrf-token", session["csrf"].as_str().expect("csrf"));
            answered(made.json(&json!({"kind": "api", "name": "test", "days": 1})))
        };
        let (status, token) = taken(make).await;
        token["token"].as_str().unwrap_or_else(|| panic!("{status} {token}")).into()
    }

    /// Applies an inventory; panics with the faults when it is refused.
    pub async fn apply(&self, inventory: &Value) -> Value {
        let (status, answer) = taken(|| self.post("/apply", inventory)).await;
        assert!(status < 300, "{status} {answer:#}");
        answer
    }
}

/// Asks until the answer is another than 503, which a busy machine's store may earn: a write has two
/// seconds.
async fn taken<F: Future<Output = (u16, Value)>>(mut ask: impl FnMut() -> F) -> (u16, Value) {
    wait::until("the store takes it", || {
        let asked = ask();
        async move { Some(asked.await).filter(|(status, _)| *status != 503) }
    })
    .await
}

/// A client of HTTP as tests need it. reqwest is built without a TLS provider of its own, and a test
/// that is alone in its process may be the first to need one; a second installation is refused.
pub fn http() -> reqwest::ClientBuilder {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}

async fn answered(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

impl Drop for Cachewarden {
    fn drop(&mut self) {
        self.kill();
    }
}

/// An inventory of tenant `pay`, system `shop`, three zones of loopback, and `services` as they
/// stand in the file.
pub fn inventory(services: Value) -> Value {
    json!({
        "version": 1,
        "sites": [{"id": "dc"}],
        "zones": [
            {"id": "az-1", "site": "dc"}, {"id": "az-2", "site": "dc"}, {"id": "az-3", "site": "dc"},
        ],
        "tenants": [{
            "id": "pay",
            "networks": ["127.0.0.0/8"],
            "systems": [{"id": "shop"}],
            "services": services,
        }],
    })
}

//! A real Alertmanager in a folder of its own, and a sink that records what is posted to it.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::fleet::{free_port, program};
use crate::wait;

/// An Alertmanager, stopped when dropped.
pub struct Alertmanager {
    child: Option<Child>,
    port: u16,
    dir: tempfile::TempDir,
}

impl Alertmanager {
    /// Chooses a port and writes a configuration with one route; `webhook`: where it posts.
    /// Nothing runs yet.
    pub fn prepare(webhook: Option<&str>) -> Alertmanager {
        let dir = tempfile::Builder::new().prefix("cw-am-").tempdir().expect("tempdir");
        let hook = webhook.map_or(String::new(), |url| {
            format!("    webhook_configs: [{{url: '{url}', send_resolved: true}}]\n")
        });
        let config = format!(
            "route: {{receiver: r, group_by: [alertname], group_wait: 0s, group_interval: 1s, \
             repeat_interval: 1s}}\nreceivers:\n  - name: r\n{hook}"
        );
        std::fs::write(dir.path().join("alertmanager.yml"), config).expect("config");
        Alertmanager { child: None, port: free_port("127.0.0.1"), dir }
    }

    /// Starts it with an empty memory and waits until it is ready.
    pub async fn start(&mut self) {
        let data = self.dir.path().join("data");
        let _ = std::fs::remove_dir_all(&data);
        let child = Command::new(program("prometheus-alertmanager"))
            .arg(format!("--config.file={}", self.dir.path().join("alertmanager.yml").display()))
            .arg(format!("--storage.path={}", data.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{}", self.port))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Alertmanager starts");
        self.child = Some(child);
        wait::until("Alertmanager is ready", || async { self.get("/-/ready").await.map(drop) })
            .await;
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Sends a signal: STOP, CONT.
    pub fn signal(&self, name: &str) {
        let pid = self.child.as_ref().expect("running").id().to_string();
        let done = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(done.expect("kill runs").success());
    }

    /// Kills it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Body of a page; none when it does not answer 200.
    pub async fn get(&self, path: &str) -> Option<String> {
        get(&format!("127.0.0.1:{}", self.port), path).await
    }

    /// Names of the alerts it holds as active, sorted.
    pub async fn active(&self) -> Vec<String> {
        let mut names: Vec<String> =
            self.alerts().await.iter().map(|a| text(&a["labels"]["alertname"])).collect();
        names.sort();
        names
    }

    /// The alerts it holds as active.
    pub async fn alerts(&self) -> Vec<Value> {
        let body = self.get("/api/v2/alerts").await.unwrap_or("[]".into());
        serde_json::from_str(&body).expect("Alertmanager answers JSON")
    }

    /// A counter or gauge of its own: `alertmanager_alerts_received_total{status="resolved"…`.
    pub async fn metric(&self, prefix: &str) -> f64 {
        let page = self.get("/metrics").await.unwrap_or_default();
        let lines = page.lines().filter(|l| l.starts_with(prefix));
        lines.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The text of a JSON string.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

/// GET; none when there is no answer 200.
async fn get(address: &str, path: &str) -> Option<String> {
    let mut socket = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.ok()?;
    let answer = String::from_utf8(answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines().next()?.contains(" 200").then(|| body.to_string())
}

/// Records bodies posted to it and answers the status it was told.
pub struct Sink {
    /// Its address as a URL.
    pub url: String,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    status: Arc<Mutex<u16>>,
    task: tokio::task::JoinHandle<()>,
}

impl Sink {
    /// Listens on a port of its own and answers 200.
    pub async fn start() -> Sink {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let bodies: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let status = Arc::new(Mutex::new(200));
        let (b, s) = (bodies.clone(), status.clone());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, b.clone(), s.clone()));
            }
        });
        Sink { url, bodies, status, task }
    }

    /// What it answers from now on.
    pub fn answer(&self, status: u16) {
        *self.status.lock().expect("no panic inside") = status;
    }

    /// Bodies so far.
    pub fn bodies(&self) -> Vec<Vec<u8>> {
        self.bodies.lock().expect("no panic inside").clone()
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut socket: TcpStream,
    bodies: Arc<Mutex<Vec<Vec<u8>>>>,
    status: Arc<Mutex<u16>>,
) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let head = loop {
            if let Some(end) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if socket.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        };
        let text = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
        let length =
            text.lines().find_map(|l| l.strip_prefix("content-length:")?.trim().parse().ok());
        let end = head + length.unwrap_or(0_usize);
        while buffer.len() < end {
            if socket.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
        let rest = buffer.split_off(end);
        bodies.lock().expect("no panic inside").push(buffer[head..].to_vec());
        buffer = rest;
        let code = *status.lock().expect("no panic inside");
        let answer = format!("HTTP/1.1 {code} X\r\nContent-Length: 0\r\n\r\n");
        socket.write_all(answer.as_bytes()).await.ok()?;
    }
}

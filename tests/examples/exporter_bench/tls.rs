//! E9: what TLS and a user of its own cost, beside plain connections to servers alike.
//!
//! The user has the rules `cachewarden acl` generates. Servers keep a plain port for measuring.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use exporter::acl::{Monitor, acl};
use model::reading::Text;
use model::service::InstanceKind;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::fleet::{free_port, program};
use tokio::time::sleep;

use crate::figure::ratio;
use crate::peer::{self, Setup};
use crate::{ADDRESSES, Cost, ROUNDS, Server, measure, ours, own_ms, redis_ms};
use crate::{start, start_with, warm};

const SERVERS: u8 = 16;
const USER: &str = "monitor";
const PASSWORD: &str = "a password of the benchmark";
/// The name in the certificate, whatever address is dialled.
const NAME: &str = "redis.bench";

/// Prints the figures.
pub async fn run() {
    let dir = tempfile::tempdir().expect("tempdir");
    let (certificate, key) = certificate(dir.path());
    let plain: Vec<Server> = (0..SERVERS).map(|i| start(120 + i)).collect();
    let ports: Vec<u16> =
        (0..SERVERS).map(|i| free_port(&format!("127.1.{}.1", 140 + i))).collect();
    let secured: Vec<Server> = (0..SERVERS)
        .zip(&ports)
        .map(|(i, port)| start_with(140 + i, &arguments(*port, &certificate, &key)))
        .collect();
    sleep(Duration::from_secs(1)).await;
    plain.iter().chain(&secured).for_each(warm);
    secured.iter().for_each(admit);
    let targets: Vec<String> = plain.iter().flat_map(Server::targets).collect();
    let size = usize::from(ADDRESSES);
    let mut over_tls = Vec::new();
    for (server, port) in secured.iter().zip(&ports) {
        over_tls.extend(server.hosts.iter().map(|h| format!("{h}:{port}")));
    }
    let idle = (measure(&plain, 0, 0.0).await, measure(&secured, 0, 0.0).await);
    let (mut a, mut b): (Vec<Cost>, Vec<Cost>) = Default::default();
    for round in 0..ROUNDS {
        eprintln!("round {} of {ROUNDS}", round + 1);
        let services = peer::services(&targets, size);
        a.push(ours(&plain, services, targets.len(), Setup::default()).await);
        let services = peer::services(&over_tls, size).into_iter().map(with_access).collect();
        let setup = Setup { authority: Some(&certificate), ..Setup::default() };
        b.push(ours(&secured, services, over_tls.len(), setup).await);
    }
    let said = |what: &str, a: f64, b: f64| {
        format!(
            "{what} a poll: {b:.3} ms with TLS and ACL, {a:.3} ms plain, {} targets each, every 15 s, \
             median of {ROUNDS}",
            targets.len()
        )
    };
    let (plain, tls) = (own_ms(&a), own_ms(&b));
    ratio("E9", tls / plain, (1.3, 1.3), said("our CPU", plain, tls));
    let (plain, tls) = (redis_ms(&a, &idle.0), redis_ms(&b, &idle.1));
    ratio("E9-redis", tls / plain, (1.2, 1.2), said("CPU of Redis", plain, tls));
}

/// A certificate for [`NAME`] that is its own authority, and its key.
fn certificate(dir: &Path) -> (PathBuf, PathBuf) {
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    let made = Command::new(program("openssl"))
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-days", "2", "-subj", "/CN=bench", "-addext", "basicConstraints=CA:FALSE"])
        .args(["-addext", &format!("subjectAltName=DNS:{NAME}")])
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("openssl runs").success());
    (certificate, key)
}

fn arguments(port: u16, certificate: &Path, key: &Path) -> Vec<String> {
    let (port, certificate, key) =
        (port.to_string(), certificate.display().to_string(), key.display().to_string());
    [
        ("--tls-port", port.as_str()),
        ("--tls-cert-file", &certificate),
        ("--tls-key-file", &key),
        ("--tls-ca-cert-file", &certificate),
        ("--tls-auth-clients", "no"),
    ]
    .iter()
    .flat_map(|(name, value)| [name.to_string(), value.to_string()])
    .collect()
}

/// Makes the monitor user on a server.
fn admit(server: &Server) {
    let hash = hex::encode(Sha256::digest(PASSWORD));
    let monitor = Monitor {
        user: USER,
        password_sha256: &hash,
        kind: InstanceKind::Redis,
        cluster: false,
        channels: &[],
    };
    let text = Text { version: "7.0.0".into(), ..Text::default() };
    let rules = acl(monitor, &text, &exporter::Config::default()).expect("Redis 7 has users");
    let out = Command::new("redis-cli")
        .args(["-h", &server.hosts[0], "-p", &server.port.to_string()])
        .args(rules.setuser.split(' '))
        .output()
        .expect("redis-cli runs");
    assert!(out.stdout.starts_with(b"OK"), "{out:?}");
}

fn with_access(mut service: Value) -> Value {
    service["auth"] = json!({"user": USER, "password": PASSWORD});
    service["tls"] = json!({"ca_file": "shared/ca.pem", "server_name": NAME});
    service
}

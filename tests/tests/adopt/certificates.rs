//! TLS: the server is verified or not talked to; certificates change without a restart.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::fleet::{RedisFleet, ZONES, free_port, program};
use tests::process::Cachewarden;
use tests::wait;

use super::{adopt, only, warden};

/// An authority and what it signs, in a folder.
struct Authority {
    dir: PathBuf,
    name: String,
}

fn openssl(args: &[&str]) {
    let mut command = Command::new(program("openssl"));
    let out = command.args(args).stdin(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

impl Authority {
    fn new(dir: &Path, name: &str) -> Authority {
        std::fs::create_dir_all(dir).unwrap();
        let made = Authority { dir: dir.into(), name: name.into() };
        let (cert, key) = (made.path(&format!("{name}.pem")), made.path(&format!("{name}.key")));
        let subject = format!("/CN={name}");
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
            "-subj",
            &subject,
            "-addext",
            "basicConstraints=critical,CA:TRUE",
            "-keyout",
            &key,
            "-out",
            &cert,
        ]);
        made
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// Signs `name.pem` with `name.key` for `san`, from `days` before or after now. Answers its end as
    /// Unix seconds.
    fn sign(&self, name: &str, san: &str, days: &str) -> i64 {
        let file = |end: &str| self.path(&format!("{name}.{end}"));
        let subject = format!("/CN={name}");
        openssl(&[
            "req",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-subj",
            &subject,
            "-keyout",
            &file("key"),
            "-out",
            &file("csr"),
        ]);
        std::fs::write(file("ext"), format!("subjectAltName={san}\nbasicConstraints=CA:FALSE\n"))
            .unwrap();
        let ca = |end: &str| self.path(&format!("{}.{end}", self.name));
        openssl(&[
            "x509",
            "-req",
            "-in",
            &file("csr"),
            "-CA",
            &ca("pem"),
            "-CAkey",
            &ca("key"),
            "-CAcreateserial",
            "-days",
            days,
            "-extfile",
            &file("ext"),
            "-out",
            &file("pem"),
        ]);
        let out = Command::new(program("openssl"))
            .args(["x509", "-in", &file("pem"), "-noout", "-enddate"])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let end = text.trim().strip_prefix("notAfter=").unwrap();
        let date = Command::new("date").args(["-u", "-d", end, "+%s"]).output().unwrap();
        String::from_utf8_lossy(&date.stdout).trim().parse().unwrap()
    }
}

/// Puts a file of `from` into a folder of the process' TLS files, at once.
fn give(cw: &Cachewarden, folder: &str, name: &str, from: &str) {
    let dir = cw.dir.join("tls").join(folder);
    std::fs::create_dir_all(&dir).unwrap();
    let beside = dir.join(format!(".{name}.new"));
    std::fs::copy(from, &beside).unwrap();
    std::fs::rename(beside, dir.join(name)).unwrap();
}

/// What the latest failed poll said.
async fn failure(cw: &Cachewarden, id: &str) -> String {
    let (_, page) = cw.api(&format!("/instances/{id}")).await;
    page["failure"].as_str().unwrap_or_default().to_string()
}

async fn fails_with(cw: &Cachewarden, id: &str, words: &str) {
    wait::until(&format!("{id} fails with {words}"), || async {
        let said = failure(cw, id).await;
        (said.starts_with("tls: ") && said.contains(words)).then_some(())
    })
    .await;
    let (_, page) = cw.get("/metrics").await;
    let says = |l: &str| l.starts_with("cachewarden_scrape_error{") && l.contains(id);
    let error = page.lines().find(|l| says(l));
    assert!(error.is_none_or(|l| l.contains("reason=\"tls\"")), "{error:?}");
}

/// Applies the service `pay.solo` at `address` with these TLS settings.
async fn settings(cw: &Cachewarden, address: &str, tls: Value) {
    let zone = |n: u8| json!({"id": format!("az-{n}"), "site": "dc", "networks": [format!("127.0.{n}.0/24")]});
    cw.apply(&json!({
        "version": 1, "sites": [{"id": "dc"}], "zones": [zone(1)],
        "tenants": [{"id": "pay", "networks": ["127.0.1.0/24"], "systems": [{"id": "shop"}],
            "services": [{"id": "solo", "system": "shop", "tls": tls,
                "instances": [{"address": address, "zone": "az-1"}]}]}],
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_verified_and_certificates_change_without_a_restart() {
    let mut fleet = RedisFleet::new();
    let ours = Authority::new(&fleet.dir().join("ca"), "ours");
    let other = Authority::new(&fleet.dir().join("other"), "other");
    let ends = ours.sign("server", "IP:127.0.1.1,DNS:cart.example", "20");
    ours.sign("stale", "IP:127.0.1.1", "-1");
    let own_ends = ours.sign("client", "DNS:cw", "20");
    other.sign("client", "DNS:cw", "20");
    let port = free_port(ZONES[0]);
    let lines = [
        format!("tls-port {port}"),
        format!("tls-cert-file {}", ours.path("server.pem")),
        format!("tls-key-file {}", ours.path("server.key")),
        format!("tls-ca-cert-file {}", ours.path("ours.pem")),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let node = fleet.node(ZONES[0], &lines).await;
    let address = format!("{}:{port}", ZONES[0]);
    let id = format!("pay.solo@{address}");
    let cw = warden().await;
    give(&cw, "_shared", "ca.pem", &ours.path("ours.pem"));
    give(&cw, "_shared", "wrong.pem", &other.path("other.pem"));
    give(&cw, "pay", "cw.pem", &ours.path("client.pem"));
    give(&cw, "pay", "cw.key", &ours.path("client.key"));
    let full = json!({"ca_file": "shared/ca.pem", "cert_file": "cw.pem", "key_file": "cw.key"});
    let with = |key: &str, value: &str| {
        let mut tls = full.clone();
        tls[key] = value.into();
        tls
    };
    // Redis asks for a client certificate unless told otherwise.
    settings(&cw, &address, json!({"ca_file": "shared/ca.pem"})).await;
    fails_with(&cw, &id, "client certificate").await;
    for (tls, words) in [
        (with("ca_file", "shared/wrong.pem"), "not from an authority we trust"),
        (with("server_name", "other.example"), "for another name"),
        (with("ca_file", "missing.pem"), "missing.pem"),
    ] {
        settings(&cw, &address, tls).await;
        fails_with(&cw, &id, words).await;
    }
    let named = with("server_name", "cart.example");
    for good in [
        full.clone(),
        named,
        json!({"insecure": true, "cert_file": "cw.pem", "key_file": "cw.key"}),
    ] {
        settings(&cw, &address, good).await;
        super::is_up(&cw, &id).await;
        wait::until("nothing fails", || async { failure(&cw, &id).await.is_empty().then_some(()) })
            .await;
    }
    let expires = "cachewarden_certificate_expires_timestamp_seconds{";
    let value = wait::until("the end of the certificate is shown", || async {
        let (_, page) = cw.get("/metrics").await;
        let line = page.lines().find(|l| l.starts_with(expires) && l.contains(&id))?;
        assert!(line.contains("use=\"server\""), "{line}");
        line.rsplit(' ').next()?.parse::<f64>().ok()
    })
    .await;
    assert_eq!(value as i64, ends);
    let own = format!("{expires}tenant=\"pay\",system=\"shop\",service=\"solo\",use=\"client\"}}");
    let value = wait::until("the end of our own certificate is shown", || async {
        let (_, page) = cw.get("/metrics").await;
        page.lines().find_map(|l| l.strip_prefix(&own)?.trim().parse::<f64>().ok())
    })
    .await;
    assert_eq!(value as i64, own_ends);
    // The server's certificate ends, and another takes its place, on the same process.
    settings(&cw, &address, full).await;
    let node = &fleet.nodes[node];
    let change = |name: &str| {
        let said = node.cli(&[
            "CONFIG",
            "SET",
            "tls-cert-file",
            &ours.path(&format!("{name}.pem")),
            "tls-key-file",
            &ours.path(&format!("{name}.key")),
        ]);
        assert!(said.contains("OK"), "{said}");
        node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    };
    change("stale");
    fails_with(&cw, &id, "expired").await;
    change("server");
    super::is_up(&cw, &id).await;
    // Ours is replaced on disk by one the server does not take, and by a good one again.
    give(&cw, "pay", "cw.pem", &other.path("client.pem"));
    give(&cw, "pay", "cw.key", &other.path("client.key"));
    node.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
    fails_with(&cw, &id, "client certificate").await;
    give(&cw, "pay", "cw.pem", &ours.path("client.pem"));
    give(&cw, "pay", "cw.key", &ours.path("client.key"));
    super::is_up(&cw, &id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_tls_is_adopted_by_tls_and_keeps_it() {
    let mut fleet = RedisFleet::new();
    let ours = Authority::new(&fleet.dir().join("ca"), "ours");
    ours.sign("server", "IP:127.0.1.1", "20");
    let port = free_port(ZONES[0]);
    let lines = [
        format!("tls-port {port}"),
        "tls-auth-clients no".to_string(),
        format!("tls-cert-file {}", ours.path("server.pem")),
        format!("tls-key-file {}", ours.path("server.key")),
        format!("tls-ca-cert-file {}", ours.path("ours.pem")),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    fleet.node(ZONES[0], &lines).await;
    let address = format!("{}:{port}", ZONES[0]);
    let cw = warden().await;
    give(&cw, "pay", "ca.pem", &ours.path("ours.pem"));
    let unknown = adopt(&cw, true, json!({"seeds": [format!("rediss://{address}")]})).await;
    assert_eq!(unknown.1["refused"][0]["reason"], "tls", "{:#}", unknown.1);
    let plain = adopt(&cw, true, json!({"seeds": [address]})).await;
    assert_eq!(plain.1["services"], json!([]), "{:#}", plain.1);
    let seed = json!({"seeds": [address], "service": "solo", "tls": {"ca_file": "ca.pem"}});
    let done = adopt(&cw, false, seed).await;
    assert_eq!(only(&done)["state"], "new");
    super::is_up(&cw, &format!("pay.solo@{address}")).await;
}

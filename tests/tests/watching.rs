//! What the process sees besides its regular polls, and what Prometheus gets of it: accept probes,
//! turbo, events of Sentinels, nodes nobody listed, pages by discovery.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use link::{Heard, Target};
use model::reading::Reason;
use reqwest::Method;
use serde_json::{Value, json};
use tests::fleet::{Node, RedisFleet, SentinelService, ZONES, free_port, program};
use tests::process::{Cachewarden, Options, inventory};
use tests::rogue::{Rogue, Script};
use tests::wait;

/// Of a poll that only an event, or a person, makes within the patience of a test.
const RARELY: u32 = 300;

fn listed(nodes: &[&Node], kind: &str) -> Vec<Value> {
    let zone = |n: &Node| 1 + ZONES.iter().position(|z| *z == n.host).unwrap();
    let one =
        |n: &&Node| json!({"address": n.address, "kind": kind, "zone": format!("az-{}", zone(n))});
    nodes.iter().map(one).collect()
}

/// The service `pay.cart` of these nodes and Sentinels.
fn cart(fleet: &RedisFleet, service: &SentinelService, data: &[usize]) -> Value {
    let nodes = |all: &[usize]| all.iter().map(|i| &fleet.nodes[*i]).collect::<Vec<_>>();
    let mut instances = listed(&nodes(data), "redis");
    instances.extend(listed(&nodes(&service.sentinels), "sentinel"));
    json!({
        "id": "cart", "system": "shop", "mode": "sentinel", "class": "zone",
        "sentinel": {"master_name": service.name}, "instances": instances,
    })
}

fn standalone(slug: &str, node: &Node) -> Value {
    json!({"id": slug, "system": "shop", "instances": listed(&[node], "redis")})
}

/// Waits until the page of `id` has lines that start with each of `lines`.
async fn page_says(cw: &Cachewarden, id: &str, lines: &[&str]) -> String {
    wait::until(&format!("{id} says {lines:?}"), || async {
        let (status, page) = cw.get(&format!("/scrape?target={id}")).await;
        let has = |line: &&str| page.lines().any(|l| l.starts_with(*line));
        (status == 200 && lines.iter().all(has)).then_some(page)
    })
    .await
}

/// Value of the series of `path` whose line has all of `words`; none when there is none.
async fn series(cw: &Cachewarden, path: &str, words: &[&str]) -> Option<f64> {
    let (_, page) = cw.get(path).await;
    let line = page.lines().find(|l| !l.starts_with('#') && words.iter().all(|w| l.contains(w)))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Waits until that series has a value; none: until it is gone.
async fn shows(cw: &Cachewarden, path: &str, words: &[&str], wanted: Option<f64>) {
    wait::until(&format!("{path} shows {words:?} {wanted:?}"), || async {
        (series(cw, path, words).await == wanted).then_some(())
    })
    .await;
}

async fn send(cw: &Cachewarden, method: Method, path: &str, body: Value) -> (u16, Value) {
    let url = format!("{}/api/v1{path}", cw.url);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.request(method, url).bearer_auth(cw.token().await).json(&body);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// Connects until the server turns one away; keeps those it let in.
fn fill(node: &Node, inside: &mut Vec<TcpStream>) {
    loop {
        let mut stream = TcpStream::connect(&node.address).unwrap();
        stream.set_read_timeout(Some(wait::PATIENCE)).unwrap();
        let _ = stream.write_all(b"PING\r\n");
        let mut said = [0; 5];
        match stream.read_exact(&mut said) {
            Ok(()) if said == *b"+PONG" => inside.push(stream),
            _ => return,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_shows_although_the_kept_connection_still_answers() {
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &["maxclients 20"]).await;
    let node = &fleet.nodes[0];
    let cw = Cachewarden::start("accept_interval_s = 1\n").await;
    cw.apply(&inventory(json!([standalone("solo", node)]))).await;
    let id = format!("pay.solo@{}", node.address);
    let accepted = ["cachewarden_accept_up{", id.as_str()];
    let error = ["cachewarden_scrape_error{", id.as_str(), "reason=\"maxclients\""];
    shows(&cw, "/metrics", &accepted, Some(1.0)).await;
    assert!(
        series(&cw, "/metrics", &["cachewarden_accept_duration_seconds{", &id]).await > Some(0.0)
    );

    // A probe that is inside leaves its place to the next one, so it is filled again and again.
    let inside = Mutex::new(Vec::new());
    wait::until("a new client is not let in", || async {
        fill(node, &mut inside.lock().unwrap());
        let shut = series(&cw, "/metrics", &accepted).await == Some(0.0);
        (shut && series(&cw, "/metrics", &error).await == Some(1.0)).then_some(())
    })
    .await;
    page_says(&cw, &id, &["redis_up 1"]).await;
    let (_, page) = cw.api(&format!("/instances/{id}")).await;
    assert_eq!((&page["accept"]["ok"], &page["instance"]["state"]), (&json!(false), &json!("up")));
    assert!(page["accept"]["failure"].as_str().unwrap().starts_with("maxclients: "), "{page}");
    assert!(page["failure"].as_str().unwrap().starts_with("maxclients: "), "{page}");

    inside.lock().unwrap().clear();
    shows(&cw, "/metrics", &accepted, Some(1.0)).await;
    shows(&cw, "/metrics", &error, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turbo_polls_every_second_is_on_record_and_ends_when_told() {
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &[]).await;
    let cw = Cachewarden::with(Options { interval_s: Some(RARELY), ..Options::default() }).await;
    cw.apply(&inventory(json!([standalone("solo", &fleet.nodes[0])]))).await;
    let id = format!("pay.solo@{}", fleet.nodes[0].address);
    let path = format!("/instances/{id}/turbo");
    for minutes in [0, 11] {
        let (status, answer) = send(&cw, Method::POST, &path, json!({"minutes": minutes})).await;
        assert_eq!(status, 422, "{answer}");
    }
    let (status, answer) = send(&cw, Method::POST, &path, json!({"minutes": 10})).await;
    assert_eq!(status, 200, "{answer}");
    let effective = ["cachewarden_scrape_interval_effective_seconds{", id.as_str()];
    shows(&cw, "/metrics", &effective, Some(1.0)).await;
    let (_, page) = cw.api(&format!("/instances/{id}")).await;
    assert_eq!(page["turbo_until"], answer["turbo_until"]);
    let polls = || series(&cw, "/metrics/self", &["cachewarden_polls_total{result=\"up\"}"]);
    // More than an event brings.
    wait::until("polls go on", || async { (polls().await >= Some(8.0)).then_some(()) }).await;

    let (status, answer) = send(&cw, Method::DELETE, &path, json!({})).await;
    assert_eq!((status, &answer["turbo_until"]), (200, &Value::Null), "{answer}");
    let (_, page) = cw.api(&format!("/instances/{id}")).await;
    assert_eq!(page["turbo_until"], Value::Null);
    shows(&cw, "/metrics", &effective, Some(f64::from(RARELY))).await;
    let (_, trail) = cw.api("/audit?limit=20").await;
    let actions: Vec<&str> =
        trail["items"].as_array().unwrap().iter().filter_map(|r| r["action"].as_str()).collect();
    for action in ["instance.turbo", "instance.turbo_end"] {
        assert!(actions.contains(&action), "{actions:?}");
    }
}

/// The role on an instance's page.
async fn has_role(cw: &Cachewarden, node: &Node, role: &str) {
    let line = format!("redis_instance_info{{role=\"{role}\"");
    page_says(cw, &format!("pay.cart@{}", node.address), &["redis_up 1", &line]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_of_sentinels_changes_roles_long_before_the_next_poll_is_due() {
    let mut fleet = RedisFleet::new();
    let service = fleet.sentinel("cart", 5_000).await;
    let (old, replicas) = (service.master, service.replicas.clone());
    let cw = Cachewarden::with(Options { interval_s: Some(RARELY), ..Options::default() }).await;
    let all = [old, replicas[0], replicas[1]];
    cw.apply(&inventory(json!([cart(&fleet, &service, &all)]))).await;
    has_role(&cw, &fleet.nodes[old], "master").await;
    for replica in &replicas {
        has_role(&cw, &fleet.nodes[*replica], "slave").await;
    }
    shows(&cw, "/metrics/self", &["cachewarden_sentinel_subscriptions"], Some(3.0)).await;

    fleet.nodes[old].kill();
    let new = wait::until("Sentinels promote a replica", || async {
        replicas.iter().copied().find(|r| fleet.nodes[*r].is_master())
    })
    .await;
    let other = replicas[0] + replicas[1] - new;
    has_role(&cw, &fleet.nodes[new], "master").await;
    let follows = format!(
        "redis_slave_info{{master_host=\"{}\",master_port=\"{}\"",
        fleet.nodes[new].host, fleet.nodes[new].port
    );
    page_says(&cw, &format!("pay.cart@{}", fleet.nodes[other].address), &[&follows]).await;
    page_says(&cw, &format!("pay.cart@{}", fleet.nodes[old].address), &["redis_up 0"]).await;
    let events = ["cachewarden_sentinel_events_total{event=\"+switch-master\"}"];
    assert!(series(&cw, "/metrics/self", &events).await >= Some(1.0));

    fleet.nodes[old].spawn();
    has_role(&cw, &fleet.nodes[old], "slave").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_nobody_listed_is_a_candidate_and_never_dialled_and_a_lost_one_stays_expected() {
    let mut fleet = RedisFleet::new();
    let service = fleet.sentinel("cart", 60_000).await;
    let (master, known, stranger) = (service.master, service.replicas[0], service.replicas[1]);
    let cw = Cachewarden::start("").await;
    cw.apply(&inventory(json!([cart(&fleet, &service, &[master, known])]))).await;
    let topology = || async { cw.api("/services/pay.cart/topology").await.1 };
    let address = fleet.nodes[stranger].address.clone();
    let seen = wait::until("the stranger is a candidate", || async {
        let seen = topology().await;
        (seen["candidates"][0]["address"] == address.as_str()).then_some(seen)
    })
    .await;
    assert_eq!(seen["candidates"].as_array().unwrap().len(), 1, "{seen}");
    let by = format!("pay.cart@{}", fleet.nodes[master].address);
    assert_eq!(seen["candidates"][0]["named_by"], json!([by]));
    let refused = ["cachewarden_discovery_refused_total{", &by, "reason=\"not_in_inventory\""];
    shows(&cw, "/metrics", &refused, Some(1.0)).await;
    // Nodes of the fleet speak from the addresses of their zones; we and redis-cli do not.
    let clients = fleet.nodes[stranger].cli(&["CLIENT", "LIST"]);
    let ours = |l: &&str| l.contains("addr=127.0.0.1:") && !l.contains("cmd=client|list");
    assert_eq!(clients.lines().filter(ours).count(), 0, "{clients}");

    let lost = format!("pay.cart@{}", fleet.nodes[known].address);
    assert_eq!(topology().await["missing"], json!([]));
    fleet.nodes[known].kill();
    wait::until("the lost node is missing", || async {
        (topology().await["missing"] == json!([lost])).then_some(())
    })
    .await;
    shows(&cw, "/metrics", &["cachewarden_instance_expected{", &lost], Some(1.0)).await;
    shows(&cw, "/metrics", &["cachewarden_instance_state{", &lost, "state=\"down\""], Some(1.0))
        .await;

    // Until the inventory lets it go.
    let pruned = inventory(json!([cart(&fleet, &service, &[master])]));
    let (status, answer) = cw.post("/apply?prune=1", &pruned).await;
    assert!(status < 300, "{status} {answer}");
    shows(&cw, "/metrics", &["cachewarden_instance_removed{", &lost], Some(1.0)).await;
    shows(&cw, "/metrics", &["cachewarden_instance_expected{", &lost], None).await;
    assert_eq!(topology().await["missing"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forbids_or_renames_info_is_noperm_and_heals_by_itself() {
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &[]).await;
    fleet.node(ZONES[1], &["rename-command INFO \"\""]).await;
    let cw = Cachewarden::start("").await;
    let limits = fs::read_to_string(format!("/proc/{}/limits", cw.pid())).unwrap();
    let files: Vec<&str> = limits
        .lines()
        .find(|l| l.starts_with("Max open files"))
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(files[3], files[4], "the soft limit is the hard one");
    let few = ["--pid", &cw.pid().to_string(), "--nofile=512:512"];
    assert!(Command::new(program("prlimit")).args(few).status().unwrap().success());
    let services = [standalone("shut", &fleet.nodes[0]), standalone("bare", &fleet.nodes[1])];
    cw.apply(&inventory(json!(services))).await;
    let ids = [
        format!("pay.shut@{}", fleet.nodes[0].address),
        format!("pay.bare@{}", fleet.nodes[1].address),
    ];
    wait::until("it says that files are too few", || async {
        cw.log().contains("hard limit of open files is too low").then_some(())
    })
    .await;
    page_says(&cw, &ids[0], &["redis_up 1"]).await;
    fleet.nodes[0].cli(&["ACL", "SETUSER", "default", "-info"]);
    let error =
        |id: &str| ["cachewarden_scrape_error{".to_string(), id.into(), "\"noperm\"".into()];
    for id in &ids {
        page_says(&cw, id, &["redis_up 0"]).await;
        let words = error(id);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        shows(&cw, "/metrics", &words, Some(1.0)).await;
    }
    fleet.nodes[0].cli(&["ACL", "SETUSER", "default", "+info"]);
    fleet.nodes[1].kill();
    let conf = fleet.nodes[1].dir.join("redis.conf");
    let text = fs::read_to_string(&conf).unwrap().replace("rename-command INFO \"\"\n", "");
    fs::write(&conf, text).unwrap();
    fleet.nodes[1].spawn();
    for id in &ids {
        page_says(&cw, id, &["redis_up 1"]).await;
        let words = error(id);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        shows(&cw, "/metrics", &words, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sentinel_that_floods_or_talks_nonsense_is_hung_up_on() {
    let channels = ["+switch-master", "+sdown"];
    let confirmed: Vec<String> = channels
        .iter()
        .map(|c| format!("*3\r\n$9\r\nsubscribe\r\n${}\r\n{c}\r\n:1\r\n", c.len()))
        .collect();
    let message = b"*3\r\n$7\r\nmessage\r\n$6\r\n+sdown\r\n$1\r\nx\r\n".to_vec();
    let head = confirmed.concat().into_bytes();
    let long = b"*3\r\n$7\r\nmessage\r\n$6\r\n+sdown\r\n$1000000000\r\n".to_vec();
    for (script, reason) in [
        (Script::Endless { head: head.clone(), unit: message.repeat(50) }, Reason::TooLarge),
        (Script::Answers([head.as_slice(), &long].concat()), Reason::TooLarge),
        (Script::Answers([head.as_slice(), b"+OK\r\n"].concat()), Reason::Protocol),
        (Script::Answers(b"-NOPERM this user has no permissions\r\n".to_vec()), Reason::Noperm),
        (Script::SaysAndCloses(head.clone()), Reason::Reset),
    ] {
        let what = format!("{script:?}").chars().take(60).collect::<String>();
        let rogue = Rogue::start(script).await;
        let (address, user) = (rogue.address.clone(), String::new());
        let target = Target { address, user, password: None, tls: None };
        let link = link::dial(&target, wait::PATIENCE).await.unwrap();
        let heard = Mutex::new(Vec::new());
        let listen = link::listen(link, &channels, |h| heard.lock().unwrap().push(h));
        let ended = tokio::time::timeout(wait::PATIENCE, listen).await.expect(&what);
        assert_eq!(ended.reason, reason, "{what}: {ended}");
        if reason == Reason::TooLarge {
            assert_eq!(heard.lock().unwrap()[0], Heard::Subscribed, "{what}");
        }
    }
}

/// `promtool check metrics` finds nothing but names that are kept for compatibility, and two of ours
/// that say the unit Redis measures in.
fn promtool_takes(page: &str, what: &str) {
    let mut child = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    let kept = |l: &&str| l.starts_with("redis_") || l.contains("kibibytes_per_second");
    let ours: Vec<&str> = said.lines().filter(|l| !kept(l)).collect();
    assert!(ours.is_empty(), "{what}: {ours:#?}");
}

/// A Prometheus that knows nothing but our discovery, in two parts.
struct Prometheus {
    child: Child,
    url: String,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    fn start(cw: &Cachewarden) -> Prometheus {
        let dir = tempfile::tempdir().unwrap();
        let config = dir.path().join("prometheus.yml");
        let job = |part: &str| {
            format!(
                "- job_name: redis-{part}\n  http_sd_configs:\n  - url: {}/sd?shard={part}/2\n    \
                 refresh_interval: 1s\n",
                cw.url
            )
        };
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{}{}",
            job("0"),
            job("1")
        );
        fs::write(&config, text).unwrap();
        let listen = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let child = Command::new(program("prometheus"))
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={listen}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Prometheus { child, url: format!("http://{listen}"), _dir: dir }
    }

    /// Instance ids of the series a query finds; none while it does not answer.
    async fn instances(&self, query: &str) -> Option<Vec<String>> {
        let url = format!("{}/api/v1/query", self.url);
        let client = reqwest::Client::builder().no_proxy().build().ok()?;
        let answer = client.get(url).query(&[("query", query)]).send().await.ok()?;
        let answer: Value = answer.json().await.ok()?;
        let found = answer["data"]["result"].as_array()?.iter();
        Some(found.filter_map(|s| s["metric"]["instance"].as_str().map(str::to_string)).collect())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_and_cluster_nodes_are_scraped_by_discovery_alone_and_every_page_is_clean() {
    let mut fleet = RedisFleet::new();
    let service = fleet.sentinel("cart", 60_000).await;
    let nodes = fleet.cluster(15_000).await;
    let cw = Cachewarden::start("").await;
    let members: Vec<&Node> = nodes.iter().map(|i| &fleet.nodes[*i]).collect();
    let grid = json!({
        "id": "grid", "system": "shop", "mode": "cluster", "class": "zone",
        "instances": listed(&members, "redis"),
    });
    let data = [service.master, service.replicas[0], service.replicas[1]];
    cw.apply(&inventory(json!([cart(&fleet, &service, &data), grid]))).await;
    let (_, sd) = cw.get("/sd").await;
    let sd: Value = serde_json::from_str(&sd).unwrap();
    let mut wanted: Vec<String> = sd
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["labels"]["instance"].as_str().unwrap().to_string())
        .collect();
    wanted.sort_unstable();
    assert_eq!(wanted.len(), 12);
    let prometheus = Prometheus::start(&cw);
    for query in
        ["up == 1", "redis_up == 1", "redis_instance_info{service=~\"cart|grid\",zone!=\"\"}"]
    {
        wait::until(&format!("Prometheus has {query} of all"), || async {
            let mut found = prometheus.instances(query).await?;
            found.sort_unstable();
            (found == wanted).then_some(())
        })
        .await;
    }
    for i in [service.master, service.replicas[0], service.sentinels[0], nodes[0]] {
        let address = &fleet.nodes[i].address;
        let (status, page) = cw.get(&format!("/scrape?target={address}&check-keys=x&foo=1")).await;
        assert_eq!(status, 200, "{page}");
        promtool_takes(&page, address);
    }
    promtool_takes(&cw.get("/metrics").await.1, "/metrics");
    promtool_takes(&cw.get("/metrics/self").await.1, "/metrics/self");
}

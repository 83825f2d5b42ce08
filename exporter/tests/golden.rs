//! Our page beside redis_exporter's of the same server: golden captures of real servers are played
//! back to a real `Poller`, and what it shows is compared with what redis_exporter showed.
//!
//! `golden/record.py` makes the captures: Redis 6.2, 7.0, 8.0 and Valkey 8.1, each as master, replica,
//! cluster node and Sentinel, with the pages of redis_exporter 1.45 and 1.69.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use exporter::encode::{Format, page};
use exporter::{Config, Optional, Poller, Profile};
use link::Target;
use model::reading::Reading;
use model::row::Row;
use model::service::{Instance, InstanceKind};
use model::verdict::Verdict;
use model::{At, InstanceId, ZoneId};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

const ENGINES: [&str; 4] = ["redis-6.2", "redis-7.0", "redis-8.0", "valkey-8.1"];
const KINDS: [&str; 4] = ["master", "replica", "cluster", "sentinel"];
const PEERS: [&str; 2] = ["1.45", "1.69"];

// --- playing a capture back ----------------------------------------------------------------------

struct Capture {
    name: String,
    kind: InstanceKind,
    at: At,
    replies: BTreeMap<String, Vec<u8>>,
    pages: BTreeMap<String, String>,
}

fn capture(name: &str) -> Capture {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let told: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let replies = told["replies"].as_object().unwrap().iter();
    let lines = |page: &Value| -> String {
        page.as_array().unwrap().iter().map(|l| format!("{}\n", l.as_str().unwrap())).collect()
    };
    Capture {
        name: name.to_string(),
        kind: match name.ends_with("sentinel") {
            true => InstanceKind::Sentinel,
            false => InstanceKind::Redis,
        },
        at: At::from_ms(told["at_ms"].as_i64().unwrap()),
        replies: replies.map(|(c, r)| (c.clone(), pack(r))).collect(),
        pages: told["pages"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(v, p)| (v.clone(), lines(p)))
            .collect(),
    }
}

/// The bytes of a reply. Text was recorded byte by byte as Latin-1.
fn pack(reply: &Value) -> Vec<u8> {
    match reply {
        Value::Null => b"$-1\r\n".to_vec(),
        Value::Number(n) => format!(":{n}\r\n").into_bytes(),
        Value::String(text) => {
            let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap()).collect();
            [format!("${}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat()
        }
        Value::Array(items) => {
            let parts: Vec<u8> = items.iter().flat_map(pack).collect();
            [format!("*{}\r\n", items.len()).into_bytes(), parts].concat()
        }
        Value::Object(line) => match (line.get("error"), line.get("status")) {
            (Some(said), _) => format!("-{}\r\n", said.as_str().unwrap()).into_bytes(),
            (_, said) => format!("+{}\r\n", said.unwrap().as_str().unwrap()).into_bytes(),
        },
        Value::Bool(_) => panic!("no reply of RESP2"),
    }
}

/// A server that answers as the captured one did.
async fn play(replies: Arc<BTreeMap<String, Vec<u8>>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, replies.clone()));
        }
    });
    address
}

async fn answer(stream: TcpStream, replies: Arc<BTreeMap<String, Vec<u8>>>) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let count = length(&mut stream, '*').await?;
        let mut words = Vec::with_capacity(count);
        for _ in 0..count {
            let mut word = vec![0; length(&mut stream, '$').await? + 2];
            stream.read_exact(&mut word).await.ok()?;
            words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
        }
        let command = words.join(" ");
        // Of the slow log as many entries were recorded as there can be.
        let known = match command.starts_with("SLOWLOG GET") {
            true => replies.get("SLOWLOG GET 128"),
            false => replies.get(&command),
        };
        let reply = known.unwrap_or_else(|| panic!("{command} was not recorded"));
        stream.get_mut().write_all(reply).await.ok()?;
    }
}

async fn length(stream: &mut BufReader<TcpStream>, kind: char) -> Option<usize> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    line.trim_end().strip_prefix(kind)?.parse().ok()
}

/// The reading after the first minute: everything was asked once, the last time at `capture.at`.
async fn read(capture: &Capture, config: &Config) -> Reading {
    let address = play(Arc::new(capture.replies.clone())).await;
    let target = Target { address, user: String::new(), password: None, tls: None };
    let mut poller = Poller::new(target, capture.kind, Duration::from_secs(30));
    poller.set_config(config);
    let mut reading = None;
    for before in [45, 30, 15, 0] {
        let mut one = poller.poll(capture.at - before * 1000).await;
        assert!(one.up && one.failure.is_none(), "{}: {:?}", capture.name, one.failure);
        // How long our test machine took says nothing about the server.
        one.at = one.began;
        reading = Some(one);
    }
    reading.unwrap()
}

fn render(capture: &Capture, reading: Reading, config: &Config, format: Format) -> String {
    let id = InstanceId::parse("t.s@10.0.0.1:6379").unwrap();
    let zone = ZoneId::parse("az-1").unwrap();
    let reading = Arc::new(reading);
    let row = Row {
        role_since: None,
        instance: Arc::new(Instance { id, kind: capture.kind, zone, host: None, shard: 0 }),
        last_good: Some(reading.clone()),
        reading,
        verdict: Verdict::Up,
        score: None,
    };
    String::from_utf8(page(&row, config, capture.at, format).body).unwrap()
}

fn all() -> impl Iterator<Item = Capture> {
    ENGINES.into_iter().flat_map(|e| KINDS.into_iter().map(move |k| capture(&format!("{e}-{k}"))))
}

// --- comparing pages -----------------------------------------------------------------------------

type Labels = BTreeMap<String, String>;

/// A page taken apart: types by family, values by (sample, labels).
#[derive(Default)]
struct Page {
    types: BTreeMap<String, String>,
    samples: BTreeMap<(String, Labels), String>,
}

fn parse(text: &str) -> Page {
    let mut page = Page::default();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            page.types.insert(name.into(), kind.into());
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').unwrap();
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels_of(labels.strip_suffix('}').unwrap());
            let before = page.samples.insert((name.into(), labels), value.into());
            assert!(before.is_none(), "twice on one page: {series}");
        }
    }
    page
}

fn labels_of(mut rest: &str) -> Labels {
    let mut out = Labels::new();
    while let Some((name, more)) = rest.trim_start_matches(',').split_once("=\"") {
        let mut escaped = false;
        let end = more.find(|c| {
            let is_end = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            is_end
        });
        let end = end.unwrap();
        // Prometheus takes an empty label for none.
        if end > 0 {
            out.insert(name.into(), more[..end].into());
        }
        rest = &more[end + 1..];
    }
    out
}

/// Series that must differ: their labels name the program that made the page.
const OWN: [&str; 1] = ["redis_exporter_build_info"];

/// Families whose type is 1.69's here and another in 1.45.
const TYPE_MOVED: [&str; 1] = ["redis_expired_time_cap_reached_total"];

/// What 1.45 makes of a section of Redis 8 that it does not know; 1.69 leaves it out, and so do we.
const MISREAD: &str = "redis_db0_distrib_";

/// Values that reading itself moves although two scrapes may find them the same: memory of the reader's
/// own connection, and the durations of the commands that a reader sends.
fn moves(name: &str, labels: &Labels) -> bool {
    const READERS: [&str; 8] =
        ["client|", "cluster|", "config|get", "info", "latency|", "ping", "sentinel|", "slowlog|"];
    let cmd = labels.get("cmd").map_or("", String::as_str);
    name.starts_with("redis_memory_used_")
        || name.starts_with("redis_latency_percentiles_usec")
            && READERS.iter().any(|r| cmd.starts_with(r))
}

/// Types, labels and values of `theirs` that our page does not show the same. A series of ours may
/// have more labels: newer versions of redis_exporter add some.
fn compare(peer: &str, theirs: &Page, ours: &Page) -> Vec<String> {
    let mut wrong = Vec::new();
    let known = |name: &str| name.starts_with("redis_") && !name.starts_with(MISREAD);
    for (name, kind) in theirs.types.iter().filter(|(name, _)| known(name)) {
        match ours.types.get(name) {
            Some(own) if own == kind => {}
            Some(_) if peer == "1.45" && TYPE_MOVED.contains(&name.as_str()) => {}
            own => wrong.push(format!("type of {name}: {kind}, ours {own:?}")),
        }
    }
    for ((name, labels), value) in theirs.samples.iter().filter(|((name, _), _)| known(name)) {
        if OWN.contains(&name.as_str()) {
            continue;
        }
        match find(ours, name, labels) {
            None => wrong.push(format!("{name}{labels:?} is missing")),
            // Moved between two scrapes: asking is what moves it.
            Some(_) if value == "*" || moves(name, labels) => {}
            Some(own) => {
                let (own, value): (f64, f64) = (own.parse().unwrap(), value.parse().unwrap());
                if own != value {
                    wrong.push(format!("{name}{labels:?} is {value}, ours {own}"));
                }
            }
        }
    }
    wrong
}

fn find<'a>(ours: &'a Page, name: &str, labels: &Labels) -> Option<&'a String> {
    let has = |own: &Labels| labels.iter().all(|(k, v)| own.get(k) == Some(v));
    let from = (name.to_string(), Labels::new());
    let mut same = ours.samples.range(from..).take_while(|((n, _), _)| n == name);
    same.find(|((_, own), _)| has(own)).map(|(_, value)| value)
}

#[tokio::test]
async fn no_series_of_redis_exporter_is_missing_and_values_at_rest_are_equal() {
    let config = Config::default();
    let mut wrong = Vec::new();
    for capture in all() {
        let reading = read(&capture, &config).await;
        let ours = parse(&render(&capture, reading, &config, Format::Text));
        for peer in PEERS {
            let found = compare(peer, &parse(&capture.pages[peer]), &ours);
            wrong.extend(found.into_iter().map(|w| format!("{} beside {peer}: {w}", capture.name)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_optional_families_are_those_of_redis_exporter() {
    let families = vec![Optional::Config, Optional::Modules, Optional::ClientList];
    let config = Config { families, ..Config::default() };
    let mut wrong = Vec::new();
    for capture in all() {
        let reading = read(&capture, &config).await;
        let ours = parse(&render(&capture, reading, &config, Format::Text));
        let mut theirs = parse(&capture.pages["1.69+"]);
        // A password's parameter is not even named here, be it empty; 1.69 knows Redis' names only.
        theirs
            .samples
            .retain(|(_, labels), _| labels.get("key").is_none_or(|k| k != "primaryauth"));
        // Clients come and go with each scrape: their series are compared by name, type and labels.
        theirs.samples.retain(|(name, labels), _| {
            let client = name.starts_with("redis_connected_client_");
            let shown = ours.samples.keys().find(|(own, _)| own == name);
            let same =
                |own: &Labels| labels.keys().filter(|l| *l != "name").all(|l| own.contains_key(l));
            if client && !shown.is_some_and(|(_, own)| same(own)) {
                wrong.push(format!("{}: {name}{labels:?} is missing", capture.name));
            }
            !client
        });
        let found = compare("1.69", &theirs, &ours);
        wrong.extend(found.into_iter().map(|w| format!("{}: {w}", capture.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_lean_page_of_any_server_has_at_most_150_series() {
    let config = Config { profile: Profile::Lean, ..Config::default() };
    for capture in all() {
        let reading = read(&capture, &config).await;
        let page = parse(&render(&capture, reading, &config, Format::Text));
        // Below the limit itself: a real server's page is not cut.
        assert!(page.samples.len() < 150, "{}: {} series", capture.name, page.samples.len());
    }
}

#[tokio::test]
async fn nothing_is_missing_that_a_server_could_have_told() {
    for capture in all() {
        let reading = read(&capture, &Config::default()).await;
        assert_eq!(reading.facts.missing, [], "{}", capture.name);
        assert_eq!(reading.facts.conflicts, 0, "{}", capture.name);
        let detail = &reading.facts.detail;
        let settings = detail.settings.as_ref().unwrap();
        assert!(settings.accounts.is_some() && detail.clients.is_some(), "{}", capture.name);
        if capture.kind == InstanceKind::Sentinel {
            continue;
        }
        assert!(settings.parameters.as_ref().unwrap().number("maxclients").is_some());
        assert!(detail.slow.is_some(), "{}", capture.name);
        assert_eq!(detail.latencies.is_some(), !capture.name.starts_with("redis-6.2"));
        assert_eq!(detail.commandlog.is_some(), capture.name.starts_with("valkey-8.1"));
        let sharded = capture.name.ends_with("cluster") && !capture.name.starts_with("redis-6.2");
        assert_eq!(detail.cluster.is_some(), sharded, "{}", capture.name);
    }
}

#[tokio::test]
async fn a_valkey_cluster_node_shows_its_largest_slots_and_a_slow_command_is_named_by_its_shape() {
    let capture = capture("valkey-8.1-cluster");
    let reading = read(&capture, &Config::default()).await;
    let slots = &reading.facts.detail.cluster.as_ref().unwrap().slots;
    assert!(slots.len() == 16 && slots.iter().all(|s| s.keys >= 0.0 && s.cpu_us.is_some()));
    let recent = &reading.facts.detail.slow.as_ref().unwrap().recent;
    assert!(recent[0].args.starts_with("EVAL "));
    let text = render(&capture, reading, &Config::default(), Format::Text);
    assert!(text.contains("cachewarden_redis_slot_keys{slot=\""));
    assert!(text.contains("redis_commandlog_slow_length 1\n"));
    assert!(!text.contains("for i = 1"), "arguments are never labels");
}

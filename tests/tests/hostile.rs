//! Hostile and broken servers beside good ones: each ends with its reason, none is believed, none
//! disturbs the others, and no address they name is ever dialled.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::collections::BTreeMap;
use std::time::Duration;

use exporter::Poller;
use link::{Pipeline, Target};
use model::At;
use model::reading::Reason;
use model::service::InstanceKind;
use serde_json::{Value, json};
use tests::exposition::{self, Dialect, Family};
use tests::fleet::{Node, RedisFleet, ZONES};
use tests::process::{Cachewarden, Options, inventory};
use tests::rogue::{BlackHole, INFO, Move, Rogue, Rule, Script, healthy};
use tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Of a whole poll where nothing is meant to time out.
const DEADLINE: Duration = Duration::from_secs(30);

fn target(address: &str) -> Target {
    Target { address: address.into(), user: String::new(), password: None, tls: None }
}

/// A service of one instance.
fn service(slug: &str, address: &str, kind: &str) -> Value {
    let mode = if kind == "sentinel" { "sentinels" } else { "standalone" };
    json!({"id": slug, "system": "shop", "mode": mode,
           "instances": [{"address": address, "kind": kind, "zone": "az-1"}]})
}

/// A page as a strict reader sees it.
async fn page(cw: &Cachewarden, path: &str) -> Vec<Family> {
    let (status, text) = cw.get(path).await;
    assert_eq!(status, 200, "{path}: {text}");
    exposition::read(&text, Dialect::Text).unwrap_or_else(|why| panic!("{path}: {why}"))
}

/// Samples of a family: value by one label.
fn by(families: &[Family], name: &str, label: &str) -> BTreeMap<String, f64> {
    let samples = families.iter().filter(|f| f.name == name).flat_map(|f| &f.samples);
    samples.map(|s| (s.label(label).to_string(), s.value)).collect()
}

fn one(families: &[Family], name: &str) -> Option<f64> {
    families.iter().find(|f| f.name == name)?.samples.first().map(|s| s.value)
}

// --- misbehaving servers -----------------------------------------------------------------------

/// A server and the reasons its polls may end with; none: it is up.
struct Bad {
    name: &'static str,
    script: Script,
    reasons: &'static [&'static str],
}

fn bad(name: &'static str, script: Script, reasons: &'static [&'static str]) -> Bad {
    Bad { name, script, reasons }
}

/// A healthy server but for INFO.
fn info(moves: Vec<Move>) -> Script {
    with("INFO", moves)
}

fn with(words: &'static str, moves: Vec<Move>) -> Script {
    let mut rules: Vec<Rule> = vec![(words, moves)];
    rules.extend(healthy(INFO));
    Script::On(rules)
}

/// Everything is answered with this text.
fn always(text: &str) -> Script {
    Script::On(vec![("AUTH", vec![Move::say("+OK\r\n")]), ("", vec![Move::say(text)])])
}

/// A healthy server that names another as its master, its replica and its fellow of a cluster.
fn announcing(trap: &str) -> Script {
    let (host, port) = trap.split_once(':').unwrap();
    let said = INFO
        .replace(
            "connected_slaves:0",
            &format!(
                "connected_slaves:1\r\nslave0:ip={host},port={port},state=online,offset=7,lag=0"
            ),
        )
        .replace("cluster_enabled:0", "cluster_enabled:1");
    let id = |c: &str| c.repeat(40);
    let nodes = format!(
        "{} {trap}@{port} master - 0 1 9 connected 0-16383\n{} 127.0.0.1:1@2 myself,slave {} 0 1 1 connected\n",
        id("a"),
        id("b"),
        id("a")
    );
    let role = format!(
        "*5\r\n$5\r\nslave\r\n${}\r\n{host}\r\n:{port}\r\n$9\r\nconnected\r\n:7\r\n",
        host.len()
    );
    let mut rules: Vec<Rule> = vec![
        ("INFO", vec![Move::bulk(&said)]),
        ("ROLE", vec![Move::say(&role)]),
        ("CLUSTER INFO", vec![Move::bulk("cluster_state:ok\r\ncluster_current_epoch:9\r\n")]),
        ("CLUSTER NODES", vec![Move::bulk(&nodes)]),
        ("SLOWLOG LEN", vec![Move::say(&format!("-MOVED 1 {trap}\r\n"))]),
        ("SLOWLOG GET", vec![Move::say(&format!("-ASK 1 {trap}\r\n"))]),
    ];
    rules.extend(healthy(INFO));
    Script::On(rules)
}

fn misbehaving(trap: &str) -> Vec<Bad> {
    let ms = Duration::from_millis;
    let endless = |head: &str, unit: &str| {
        info(vec![Move::say(head), Move::Endless(unit.repeat(2000).into_bytes())])
    };
    vec![
        bad("silent", Script::Silent, &["timeout"]),
        bad("closes", Script::SaysAndCloses(Vec::new()), &["reset"]),
        bad("resets", with("PING", vec![Move::Reset]), &["reset"]),
        bad("half", info(vec![Move::say("$5000\r\n# Ser"), Move::Close]), &["reset"]),
        bad("slow", with("", vec![Move::Sleep(ms(2000)), Move::say("+OK\r\n")]), &["timeout"]),
        bad("slow-info", info(vec![Move::Sleep(ms(2000)), Move::bulk(INFO)]), &["timeout"]),
        bad(
            "drips",
            info(vec![Move::Drip(b"$99\r\n".repeat(99), ms(30))]),
            &["timeout", "protocol"],
        ),
        bad("drips-a-line", with("PING", vec![Move::Drip(vec![b'+'; 999], ms(30))]), &["timeout"]),
        bad("short", info(vec![Move::say("$4000000\r\nshort")]), &["timeout"]),
        bad("huge", info(vec![Move::say("$99999999999\r\n")]), &["too_large"]),
        bad("many", info(vec![Move::say("*200000\r\n")]), &["too_large"]),
        bad("nested", info(vec![Move::say(&"*1\r\n".repeat(64))]), &["too_large"]),
        bad("endless-line", endless("+", "x"), &["too_large"]),
        // Whichever limit comes first.
        bad(
            "endless-text",
            endless("$4000000\r\n", "x:1\r\n"),
            &["too_large", "timeout", "protocol"],
        ),
        bad(
            "endless-array",
            endless("*99999\r\n", "$1\r\na\r\n"),
            &["too_large", "timeout", "protocol"],
        ),
        bad("http", always("HTTP/1.1 400 Bad Request\r\n\r\n"), &["protocol"]),
        bad("noise", always("\u{1}\u{2}\u{3}\r\n"), &["protocol"]),
        bad("pushes", always(">2\r\n+message\r\n+x\r\n"), &["protocol"]),
        bad("maps", always("%1\r\n+a\r\n+b\r\n"), &["protocol"]),
        bad("negative", info(vec![Move::say("$-7\r\n")]), &["protocol"]),
        bad("number", info(vec![Move::say(":42\r\n")]), &["protocol"]),
        bad("nothing", info(vec![Move::say("$-1\r\n")]), &["protocol"]),
        bad("twice", info(vec![Move::bulk(INFO), Move::bulk(INFO)]), &["protocol"]),
        bad("errors", always("-ERR no\r\n"), &["protocol"]),
        bad("moved", always(&format!("-MOVED 1 {trap}\r\n")), &["protocol"]),
        bad("loading", always("-LOADING data\r\n"), &["loading"]),
        bad("busy", always("-BUSY script\r\n"), &["busy"]),
        bad("no-login", always("-NOAUTH Authentication required.\r\n"), &["auth"]),
        bad(
            "full",
            Script::SaysAndCloses(b"-ERR max number of clients reached\r\n".to_vec()),
            &["maxclients"],
        ),
        bad("announces", announcing(trap), &[]),
        bad("announces-too", announcing(trap), &[]),
    ]
}

/// A field of /proc/PID/status, bytes.
fn memory(pid: u32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap() << 10
}

/// Polls so far that were good, and cycles that did not begin in time.
async fn polls(cw: &Cachewarden) -> (f64, f64) {
    let own = page(cw, "/metrics/self").await;
    let good = by(&own, "cachewarden_polls_total", "result").get("up").copied();
    (good.unwrap_or(0.0), one(&own, "cachewarden_polls_missed_total").unwrap_or(0.0))
}

/// Waits for `n` further good polls; answers how many cycles were missed meanwhile.
async fn missed_in(cw: &Cachewarden, n: f64) -> f64 {
    let (good, missed) = polls(cw).await;
    wait::until_within("good polls go on", wait::PATIENCE * 2, || async {
        let (now, missed_now) = polls(cw).await;
        (now - good >= n).then_some(missed_now - missed)
    })
    .await
}

/// Good instances: one real server under so many addresses.
const GOOD: usize = 50;
/// Cycles watched.
const CYCLES: usize = 3;
/// Longer than the longest cycle of a bad server: a poll at its deadline (1 s) and two repeats.
const INTERVAL_S: u32 = 5;
/// What 25 lying servers at once may cost.
const GROWTH_MAX: usize = 64 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_misbehaving_servers_disturb_fifty_good_ones_in_nothing() {
    let mut fleet = RedisFleet::new();
    let real = fleet.node("0.0.0.0", &[]).await;
    let port = fleet.nodes[real].port;
    let good: Vec<String> = (1..=GOOD).map(|i| format!("127.0.10.{i}:{port}")).collect();
    let trap = Rogue::start(Script::Silent).await;
    let mut rogues = Vec::new();
    for bad in misbehaving(&trap.address) {
        rogues.push((Rogue::start(bad.script.clone()).await, bad));
    }
    let hole = BlackHole::start().await;
    let cw = Cachewarden::with(Options {
        interval_s: Some(INTERVAL_S),
        deadline_ms: Some(1000),
        ..Options::default()
    })
    .await;
    let mut services: Vec<Value> = Vec::new();
    for (i, address) in good.iter().enumerate() {
        services.push(service(&format!("good-{i}"), address, "redis"));
    }
    cw.apply(&inventory(json!(services))).await;
    missed_in(&cw, GOOD as f64).await;
    let before = memory(cw.pid(), "VmRSS:");
    let mut addresses: Vec<(&str, &str, &[&str])> = vec![
        ("black-hole", &hole.address, &["timeout"]),
        ("refused", "127.0.11.1:1", &["refused"]),
    ];
    for (rogue, bad) in &rogues {
        addresses.push((bad.name, &rogue.address, bad.reasons));
    }
    for (name, address, _) in &addresses {
        services.push(service(&format!("bad-{name}"), address, "redis"));
    }
    cw.apply(&inventory(json!(services))).await;
    let polled = (GOOD * CYCLES) as f64;
    // Were they in each other's way, each cycle would wait for dozens of deadlines, in every window; in
    // one or the other the machine may have been busy with something else.
    wait::until_within("few cycles are missed", wait::PATIENCE * 3, || async {
        (missed_in(&cw, polled).await <= polled / 20.0).then_some(())
    })
    .await;
    reasons_are_right(&cw, &addresses, &good).await;
    let grown = memory(cw.pid(), "VmHWM:").saturating_sub(before);
    assert!(grown < GROWTH_MAX, "grew by {} MiB", grown >> 20);
    assert_eq!(trap.connections(), 0, "an address only servers named was dialled");
}

/// Waits until each bad server is shown with one of its reasons, and each good one without any.
async fn reasons_are_right(cw: &Cachewarden, bad: &[(&str, &str, &[&str])], good: &[String]) {
    // A good one may miss its deadline once on a busy machine; a wrong reason is wrong for ever.
    let end = std::time::Instant::now() + wait::PATIENCE;
    while let Some(wrong) = first_wrong(cw, bad, good).await {
        assert!(std::time::Instant::now() < end, "{wrong}");
    }
}

/// The first instance that is shown wrongly now, and how.
async fn first_wrong(
    cw: &Cachewarden,
    bad: &[(&str, &str, &[&str])],
    good: &[String],
) -> Option<String> {
    let fleet = page(cw, "/metrics").await;
    let shown = by(&fleet, "cachewarden_scrape_interval_effective_seconds", "instance");
    if shown.len() != bad.len() + good.len() {
        return Some(format!("{} instances are shown", shown.len()));
    }
    let errors = fleet.iter().find(|f| f.name == "cachewarden_scrape_error");
    let none: &[&str] = &[];
    let fine = good.iter().map(|address| ("good", address.as_str(), none));
    for (name, address, reasons) in bad.iter().copied().chain(fine) {
        let about = |s: &&exposition::Sample| s.label("instance").ends_with(&format!("@{address}"));
        let samples = errors.iter().flat_map(|f| &f.samples);
        let shown: Vec<&str> = samples.filter(about).map(|s| s.label("reason")).collect();
        let fine = match shown.as_slice() {
            [] => reasons.is_empty(),
            [reason] => reasons.contains(reason),
            _ => false,
        };
        if !fine {
            return Some(format!("{name} at {address}: {shown:?}, expected one of {reasons:?}"));
        }
        let own = page(cw, &format!("/scrape?target={address}")).await;
        let up = f64::from(u8::from(reasons.is_empty()));
        if one(&own, "redis_up") != Some(up) {
            return Some(format!("{name} at {address}: up is {:?}", one(&own, "redis_up")));
        }
    }
    None
}

// --- text of clients in replies of real servers ------------------------------------------------

/// Sends a command; answers what came first.
async fn tell(stream: &mut TcpStream, arguments: &[&str]) -> String {
    let mut packed = format!("*{}\r\n", arguments.len());
    arguments.iter().for_each(|a| packed.push_str(&format!("${}\r\n{a}\r\n", a.len())));
    stream.write_all(packed.as_bytes()).await.unwrap();
    let mut said = [0; 4096];
    let n = stream.read(&mut said).await.unwrap();
    assert!(n > 0, "the server keeps the connection");
    String::from_utf8_lossy(&said[..n]).into_owned()
}

async fn connect(node: &Node) -> TcpStream {
    TcpStream::connect(&node.address).await.unwrap()
}

/// A client with replication rights that announces lines of INFO as its address.
async fn plant_in_info(node: &Node) -> TcpStream {
    let planted = "1.2.3.4\r\nrole:slave\r\nmaster_host:6.6.6.6\r\nmaster_port:6\r\nmaster_link_status:down\r\n\
                   # Memory\r\nused_memory:1\r\n# Keyspace\r\ndb7:keys=9,expires=0,avg_ttl=0\r\n\
                   # Cluster\r\ncluster_enabled:1\r\nslave9:ip=1";
    let mut liar = connect(node).await;
    tell(&mut liar, &["REPLCONF", "listening-port", "1"]).await;
    let said = tell(&mut liar, &["REPLCONF", "ip-address", planted]).await;
    assert!(said.starts_with("+OK"), "{said}");
    // Only who asks for the stream is listed.
    tell(&mut liar, &["PSYNC", "?", "-1"]).await;
    liar
}

/// Makes error names no server knows.
async fn flood_of_errors(node: &Node, prefix: &str, n: usize) {
    let mut client = connect(node).await;
    let lua = "return redis.error_reply(ARGV[1] .. ' said so')";
    for i in 0..n {
        let said = tell(&mut client, &["EVAL", lua, "0", &format!("{prefix}{i}")]).await;
        assert!(said.starts_with('-'), "{said}");
    }
}

/// Errors shown of an instance; none before its first poll.
async fn errors(cw: &Cachewarden, node: &Node) -> BTreeMap<String, f64> {
    let (status, text) = cw.get(&format!("/scrape?target={}", node.address)).await;
    let page = match status {
        200 => exposition::read(&text, Dialect::Text).expect("a page"),
        _ => Vec::new(),
    };
    by(&page, "redis_errors_total", "err")
}

/// Error names a client makes.
const FLOOD: usize = 5000;

#[tokio::test]
async fn text_that_clients_write_changes_no_role_no_link_and_no_memory_and_floods_no_page() {
    let mut fleet = RedisFleet::new();
    let all = fleet.replicated(1, &[]).await;
    let cluster = fleet.node(ZONES[1], &["cluster-enabled yes"]).await;
    let flooded = fleet.node(ZONES[2], &[]).await;
    let watched = &fleet.nodes[all[0]];
    let cw = Cachewarden::start("").await;
    let services: Vec<Value> = [("lied", all[0]), ("cluster", cluster), ("flooded", flooded)]
        .map(|(slug, i)| service(slug, &fleet.nodes[i].address, "redis"))
        .into();
    cw.apply(&inventory(json!(services))).await;
    let scrape = format!("/scrape?target={}", watched.address);
    let honest = wait::until("polled", || async {
        let (_, text) = cw.get(&scrape).await;
        text.contains("redis_up 1").then_some(text)
    })
    .await;
    let honest = exposition::read(&honest, Dialect::Text).unwrap();

    let _liar = plant_in_info(watched).await;
    fleet.nodes[cluster].cli(&["CONFIG", "SET", "cluster-announce-ip", "1.2.3.4\nabc def"]);
    flood_of_errors(&fleet.nodes[flooded], "A", FLOOD).await;

    for index in [all[0], cluster] {
        let address = &fleet.nodes[index].address;
        wait::until("the conflict is shown", || async {
            let seen = by(&page(&cw, "/metrics").await, "cachewarden_info_conflict", "instance");
            seen.iter().any(|(id, v)| id.ends_with(address) && *v == 1.0).then_some(())
        })
        .await;
    }
    // One that was late on a busy machine shows no role at all.
    let lied = wait::until("a good poll since", || async {
        let lied = page(&cw, &scrape).await;
        (one(&lied, "redis_up") == Some(1.0)).then_some(lied)
    })
    .await;
    let role = by(&lied, "redis_instance_info", "role");
    assert_eq!(role.keys().collect::<Vec<_>>(), ["master"]);
    for absent in ["redis_master_link_up", "redis_slave_info", "redis_master_last_io_seconds_ago"] {
        assert_eq!(one(&lied, absent), None, "{absent}: a master follows nobody");
    }
    assert_eq!(one(&lied, "redis_cluster_enabled"), Some(0.0));
    assert_eq!(by(&lied, "redis_db_keys", "db")["db7"], 0.0);
    let used = |page: &[Family]| one(page, "redis_memory_used_bytes").unwrap();
    assert!(used(&lied) > used(&honest) / 2.0);

    let shown = wait::until("the flood is summed", || async {
        let shown = errors(&cw, &fleet.nodes[flooded]).await;
        (shown.values().sum::<f64>() >= FLOOD as f64).then_some(shown)
    })
    .await;
    assert!(shown.len() <= 128, "{} names", shown.len());
    assert_eq!(shown.values().sum::<f64>(), FLOOD as f64, "nothing of the sum is lost");
    // A second flood, of names that sort before all others, pushes out nobody.
    flood_of_errors(&fleet.nodes[flooded], "0", 300).await;
    fleet.nodes[flooded].cli(&["NOSUCHCOMMAND"]);
    let later = wait::until("Redis' own error has its place", || async {
        let later = errors(&cw, &fleet.nodes[flooded]).await;
        later.contains_key("ERR").then_some(later)
    })
    .await;
    let kept = shown.keys().filter(|name| later.contains_key(*name)).count();
    assert!(kept + 1 >= shown.len(), "{kept} of {} stayed", shown.len());
    assert!(later["__overflow__"] >= shown["__overflow__"] + 299.0);
    wait::until("what was left out is counted", || async {
        let fleet = page(&cw, "/metrics").await;
        let dropped = by(&fleet, "cachewarden_series_dropped_total", "reason");
        (dropped.get("values").is_some_and(|n| *n >= (FLOOD - 128) as f64)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn names_at_a_sentinel_forge_no_field_and_break_no_page() {
    let mut fleet = RedisFleet::new();
    let service_of = fleet.sentinel("honest", 5000).await;
    let sentinel = &fleet.nodes[service_of.sentinels[0]];
    let master = &fleet.nodes[service_of.master];
    let port = master.port.to_string();
    let mut client = connect(sentinel).await;
    let names = ["x\r\nsentinel_tilt:1\r\nmaster7:name=y", "a,status=odown,address=9.9.9.9:9"];
    for name in names {
        let said =
            tell(&mut client, &["SENTINEL", "MONITOR", name, &master.host, &port, "2"]).await;
        assert!(said.starts_with("+OK"), "{said}");
    }
    let cw = Cachewarden::start("").await;
    cw.apply(&inventory(json!([service("watchers", &sentinel.address, "sentinel")]))).await;
    let path = format!("/scrape?target={}", sentinel.address);
    let shown = wait::until("all three masters are shown", || async {
        let (status, text) = cw.get(&path).await;
        let families =
            (status == 200).then(|| exposition::read(&text, Dialect::Text).expect("a page"))?;
        let masters = by(&families, "redis_sentinel_master_status", "master_name");
        (masters.len() == 3).then_some(families)
    })
    .await;
    let masters = by(&shown, "redis_sentinel_master_status", "master_name");
    assert!(names.iter().all(|name| masters.contains_key(*name)), "{masters:?}");
    let addresses = by(&shown, "redis_sentinel_master_status", "master_address");
    assert_eq!(addresses.keys().collect::<Vec<_>>(), [&master.address]);
    assert_eq!(one(&shown, "redis_sentinel_tilt"), Some(0.0));
}

// --- budgets and cuts, on the wire -------------------------------------------------------------

#[tokio::test]
async fn a_reply_fills_its_budget_to_the_last_byte_and_one_more_ends_the_connection() {
    for (command, budget) in [("INFO", 4 << 20), ("ECHO", 1 << 20)] {
        for (beyond, fits) in [(0, true), (1, false)] {
            let frame = format!("${budget}\r\n\r\n").len();
            let text = "x".repeat(budget - frame + beyond);
            let rules = vec![(command, vec![Move::bulk(&text)])];
            let rogue = Rogue::start(Script::On(rules)).await;
            let mut link = link::dial(&target(&rogue.address), DEADLINE).await.unwrap();
            let ended = link.pipeline(&Pipeline::new(&[&[command]]), DEADLINE).await;
            match ended {
                Ok(replies) => {
                    assert!(fits, "{command}");
                    assert_eq!(link::reply::bytes(&replies[0]).unwrap().len(), text.len());
                }
                Err(e) => assert_eq!((fits, e.reason), (false, Reason::TooLarge), "{command}"),
            }
            assert_eq!(link.poisoned(), !fits, "what broke a budget is never used again");
        }
    }
}

#[tokio::test]
async fn a_poll_whose_replies_end_at_any_byte_is_never_half_believed() {
    link::limit_connects(100_000);
    let bytes = |script: Script| async {
        let rogue = Rogue::start(script).await;
        let mut poller = Poller::new(target(&rogue.address), InstanceKind::Redis, DEADLINE);
        let reading = poller.poll(At::EPOCH).await;
        (reading.up, reading.failure.map(|f| f.reason))
    };
    assert_eq!(bytes(Script::On(healthy(INFO))).await, (true, None));
    let mut cuts = 0;
    for cut in 0.. {
        match bytes(Script::CutAfter(cut, healthy(INFO))).await {
            (false, Some(Reason::Reset)) => cuts += 1,
            // What is cut now is a slower part, which a reading does without.
            (true, _) => break,
            other => panic!("cut after {cut} bytes: {other:?}"),
        }
    }
    assert!(cuts > INFO.len(), "{cuts} cuts");
}

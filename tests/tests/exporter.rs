//! The exporter on real servers and on rogues: the right reason for every fault, recovery without a
//! new poller, nothing planted believed, and every name redis_exporter shows.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use exporter::encode::{Format, scrape};
use exporter::{Poller, Profile};
use link::Target;
use model::reading::{Reading, Reason, Role};
use model::row::Row;
use model::secret::Secret;
use model::service::{Instance, InstanceKind};
use model::verdict::Verdict;
use model::{At, InstanceId, ZoneId};
use tests::fleet::{RedisFleet, ZONES, free_port, program};
use tests::rogue::{Rogue, Script};
use tests::wait;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Of a whole poll that is meant to succeed: longer than a busy machine takes.
const DEADLINE: Duration = Duration::from_secs(30);
/// Of one that is meant to time out.
const SHORT: Duration = Duration::from_millis(1500);

fn target(address: &str) -> Target {
    Target { address: address.into(), user: String::new(), password: None, tls: None }
}

fn poller(address: &str, kind: InstanceKind) -> Poller {
    Poller::new(target(address), kind, DEADLINE)
}

fn redis(address: &str) -> Poller {
    poller(address, InstanceKind::Redis)
}

/// A poller that gives up soon, for servers that do not answer.
fn hasty(address: &str) -> Poller {
    Poller::new(target(address), InstanceKind::Redis, SHORT)
}

fn now() -> At {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    At::from_ms(since.unwrap().as_millis() as i64)
}

fn reason(reading: &Reading) -> Option<Reason> {
    reading.failure.as_ref().map(|f| f.reason)
}

fn row(address: &str, kind: InstanceKind, reading: Reading) -> Row {
    let id = InstanceId::parse(&format!("t.s@{address}")).unwrap();
    let zone = ZoneId::parse("az-1").unwrap();
    let reading = Arc::new(reading);
    Row {
        role_since: None,
        instance: Arc::new(Instance { id, kind, zone, host: None, shard: 0 }),
        last_good: reading.up.then(|| reading.clone()),
        reading,
        verdict: Verdict::Up,
        score: None,
    }
}

fn page(address: &str, kind: InstanceKind, reading: Reading) -> String {
    let row = row(address, kind, reading);
    String::from_utf8(scrape(&row, Profile::Full, now(), Format::Text).body).unwrap()
}

/// Polls until the reading is as wished.
async fn until(poller: &mut Poller, why: &str, wished: impl Fn(&Reading) -> bool) -> Reading {
    let poller = tokio::sync::Mutex::new(poller);
    wait::until(why, || async {
        let reading = poller.lock().await.poll(now()).await;
        wished(&reading).then_some(reading)
    })
    .await
}

/// The reading after a minute of polls, when everything was asked for; the minute is told, not waited.
async fn whole(address: &str, kind: InstanceKind) -> Reading {
    let mut poller = poller(address, kind);
    for before in [45, 30, 15] {
        poller.poll(now() - before * 1000).await;
    }
    until(&mut poller, "up", |r| r.up && r.failure.is_none()).await
}

// --- what a page shows -------------------------------------------------------------------------

/// A family as a page declares it.
#[derive(Debug, Default, Clone)]
struct Shown {
    kind: String,
    labels: BTreeSet<String>,
}

/// Families of a text page with the label names of their samples.
fn families(page: &str) -> BTreeMap<String, Shown> {
    let mut all: BTreeMap<String, Shown> = BTreeMap::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            all.entry(name.into()).or_default().kind = kind.into();
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            let stem = ["_sum", "_count", "_bucket"].iter().find_map(|s| name.strip_suffix(s));
            let name = stem.filter(|s| all.contains_key(*s)).unwrap_or(name).to_string();
            let labels = line.split_once('{').map_or("", |(_, l)| l.rsplit_once('}').unwrap().0);
            let shown = all.get_mut(&name).expect("TYPE stands before the samples");
            let mut rest = labels;
            while let Some((label, more)) = rest.split_once("=\"") {
                shown.labels.insert(label.trim_start_matches(',').into());
                let mut escaped = false;
                let end = more.find(|c| {
                    let is_end = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    is_end
                });
                rest = &more[end.unwrap() + 1..];
            }
        }
    }
    all
}

/// A redis_exporter of the distribution beside us.
struct Peer {
    child: Child,
    address: String,
}

impl Peer {
    async fn start() -> Peer {
        let address = format!("127.0.0.1:{}", free_port("127.0.0.1"));
        let child = Command::new(program("prometheus-redis-exporter"))
            .args(["-web.listen-address", &address])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let peer = Peer { child, address };
        wait::until("redis_exporter answers", || async { peer.get("/health").await.map(drop) })
            .await;
        peer
    }

    async fn get(&self, path: &str) -> Option<String> {
        let url = format!("http://{}{path}", self.address);
        let client = tests::process::http().build().ok()?;
        client.get(url).send().await.ok()?.text().await.ok()
    }

    async fn scrape(&self, address: &str) -> String {
        self.get(&format!("/scrape?target={address}")).await.expect("redis_exporter answers")
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Families whose type is redis_exporter 1.69's here and differs in the distribution's 1.45.
const TYPE_MOVED: [&str; 1] = ["redis_expired_time_cap_reached_total"];

fn assert_shows_all_of(theirs: &str, ours: &str, what: &str) {
    let (theirs, ours) = (families(theirs), families(ours));
    for (name, shown) in &theirs {
        if !name.starts_with("redis_") {
            continue;
        }
        let Some(own) = ours.get(name) else { panic!("{what}: {name} is missing") };
        if !TYPE_MOVED.contains(&name.as_str()) {
            assert_eq!(own.kind, shown.kind, "{what}: type of {name}");
        }
        let missing: Vec<_> = shown.labels.difference(&own.labels).collect();
        assert!(missing.is_empty(), "{what}: {name} lacks labels {missing:?}");
    }
}

fn assert_promtool_accepts(page: &str, what: &str) {
    use std::io::Write;
    let mut child = Command::new(program("promtool"))
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let said =
        String::from_utf8_lossy(&out.stderr).into_owned() + &String::from_utf8_lossy(&out.stdout);
    // Names kept for compatibility are linted; only our own must be clean, and the text must parse.
    // Two of ours say the unit Redis measures in.
    let kept = |l: &&str| l.starts_with("redis_") || l.contains("kibibytes_per_second");
    let ours: Vec<&str> = said.lines().filter(|l| !kept(l)).collect();
    assert!(ours.is_empty(), "{what}: {ours:#?}");
}

#[tokio::test]
async fn every_name_type_and_label_of_redis_exporter_is_on_our_page() {
    let mut fleet = RedisFleet::new();
    let service = fleet.sentinel("m1", 5000).await;
    let cluster = fleet.node(ZONES[1], &["cluster-enabled yes"]).await;
    fleet.nodes[cluster].cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let master = &fleet.nodes[service.master];
    master.cli(&[
        "CONFIG",
        "SET",
        "latency-monitor-threshold",
        "1",
        "slowlog-log-slower-than",
        "0",
    ]);
    master.cli(&["SET", "k", "v", "EX", "1000"]);
    master.cli(&["EVAL", "local t = redis.call('TIME')[1] for i = 1, 2000000 do end", "0"]);
    master.cli(&["NOSUCHCOMMAND"]);
    let peer = Peer::start().await;
    for (index, kind, what) in [
        (service.master, InstanceKind::Redis, "master"),
        (service.replicas[0], InstanceKind::Redis, "replica"),
        (cluster, InstanceKind::Redis, "cluster node"),
        (service.sentinels[0], InstanceKind::Sentinel, "Sentinel"),
    ] {
        let address = fleet.nodes[index].address.clone();
        let reading = whole(&address, kind).await;
        assert_eq!(reading.facts.conflicts, 0, "{what}");
        assert!(reading.facts.missing.is_empty(), "{what}: {:?}", reading.facts.missing);
        let ours = page(&address, kind, reading);
        assert_shows_all_of(&peer.scrape(&address).await, &ours, what);
        assert_promtool_accepts(&ours, what);
    }
}

/// Samples of a page by series.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let lines = page.lines().filter(|l| !l.starts_with('#'));
    let pair = |l: &str| l.rsplit_once(' ').map(|(n, v)| (n.to_string(), v.parse().unwrap()));
    lines.filter_map(pair).collect()
}

/// Values that reading itself moves, although two scrapes may find them the same: memory, CPU and
/// connections of the reader, and the statistics of the commands it sends.
fn moves(series: &str) -> bool {
    const READERS: [&str; 9] = [
        "acl|",
        "client|",
        "config|get",
        "info",
        "latency|",
        "module|",
        "ping",
        "role",
        "slowlog|",
    ];
    const FAMILIES: [&str; 12] = [
        "redis_allocator_",
        "redis_client_recent_max_",
        "redis_connected_clients",
        "redis_cpu_",
        "redis_exporter_",
        "redis_expire",
        "redis_instance_info",
        "redis_instantaneous_",
        "redis_mem_",
        "redis_memory_used_",
        "redis_eventloop_",
        "redis_start_time_seconds",
    ];
    let cmd = series.split_once("cmd=\"").map_or("", |(_, rest)| rest);
    FAMILIES.iter().any(|f| series.starts_with(f)) || READERS.iter().any(|r| cmd.starts_with(r))
}

#[tokio::test]
async fn values_of_a_server_at_rest_equal_those_of_redis_exporter() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &["databases 16"]).await;
    let node = &fleet.nodes[index];
    node.cli(&["SET", "k", "v"]);
    node.cli(&["LPUSH", "k", "1"]);
    let peer = Peer::start().await;
    // The first scrape of a program leaves traces of its own in the statistics of commands.
    peer.scrape(&node.address).await;
    let before = samples(&peer.scrape(&node.address).await);
    let reading = whole(&node.address, InstanceKind::Redis).await;
    let ours = samples(&page(&node.address, InstanceKind::Redis, reading));
    let after = samples(&peer.scrape(&node.address).await);
    let mut equal = 0;
    for (series, value) in before.iter().filter(|(s, _)| s.starts_with("redis_") && !moves(s)) {
        // What moved between their two scrapes moves by itself.
        if after.get(series) == Some(value) {
            assert_eq!(ours.get(series), Some(value), "{series}");
            equal += 1;
        }
    }
    assert!(equal > 100, "{equal} series were compared");
    for name in [
        "redis_db_keys{db=\"db15\"}",
        "redis_errors_total{err=\"WRONGTYPE\"}",
        "redis_commands_duration_seconds_total{cmd=\"set\"}",
        "redis_latency_percentiles_usec{cmd=\"set\",quantile=\"99.9\"}",
        "redis_config_maxclients",
    ] {
        assert!(before.contains_key(name) && ours.contains_key(name), "{name} is missing");
    }
}

#[tokio::test]
async fn slow_commands_are_counted_by_shape_and_their_arguments_are_no_labels() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &["slowlog-log-slower-than 0"]).await;
    let node = &fleet.nodes[index];
    let mut poller = redis(&node.address);
    let start = now();
    for s in [0, 15, 30, 45] {
        poller.poll(start + s * 1000).await;
    }
    for i in 0..5 {
        node.cli(&["SET", "very-private-key", &i.to_string()]);
    }
    let mut last = None;
    for s in [60, 75, 90, 105, 120] {
        last = Some(poller.poll(start + s * 1000).await);
    }
    let reading = last.unwrap();
    assert!(reading.up && reading.failure.is_none(), "{:?}", reading.failure);
    let slow = reading.facts.detail.slow.clone().unwrap();
    let set = slow.shapes.iter().find(|s| &*s.cmd == "set").expect("SET was slow");
    assert_eq!((set.count, slow.lost), (5.0, 0.0));
    assert!(slow.recent.iter().any(|e| e.args.contains("very-private-key")));
    let text = page(&node.address, InstanceKind::Redis, reading);
    assert!(text.contains("cachewarden_redis_slow_commands_total{cmd=\"set\"} 5\n"));
    assert!(!text.contains("very-private-key"));
}

#[tokio::test]
async fn what_an_acl_forbids_is_missing_with_its_reason_and_the_rest_is_read() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let node = &fleet.nodes[index];
    node.cli(&["ACL", "SETUSER", "default", "-config", "-client|list"]);
    let reading = whole(&node.address, InstanceKind::Redis).await;
    let missing: BTreeSet<_> = reading.facts.missing.iter().map(|(c, _)| *c).collect();
    assert_eq!(missing, BTreeSet::from(["CONFIG GET", "CLIENT LIST"]));
    assert!(reading.facts.detail.clients.is_none());
    let settings = reading.facts.detail.settings.clone().unwrap();
    assert!(settings.parameters.is_none() && settings.accounts.is_some());
    assert!(reading.facts.detail.latencies.is_some());
    let text = page(&node.address, InstanceKind::Redis, reading);
    assert!(!text.contains("redis_config_maxclients"));
    let said = "cachewarden_command_missing{command=\"CONFIG GET\",reason=\"noperm\"} 1\n";
    assert!(text.contains(said), "{text}");
}

#[tokio::test]
async fn the_lean_page_of_a_busy_server_has_at_most_150_series() {
    let mut fleet = RedisFleet::new();
    let all = fleet.replicated(1, &[]).await;
    let node = &fleet.nodes[all[0]];
    for command in [
        "GET a",
        "SET a b",
        "INCR n",
        "LPUSH l 1",
        "SADD s 1",
        "HSET h a b",
        "ZADD z 1 a",
        "DEL a",
        "EXPIRE n 10",
        "TTL n",
        "EXISTS n",
        "TYPE n",
        "LLEN l",
        "SCARD s",
        "HLEN h",
        "ZCARD z",
        "LPUSH s x",
        "NOSUCH",
        "OBJECT FREQ n",
        "STRLEN n",
        "APPEND b c",
        "GETRANGE b 0 1",
    ] {
        node.cli(&command.split(' ').collect::<Vec<_>>());
    }
    let reading = redis(&node.address).poll(now()).await;
    let row = row(&node.address, InstanceKind::Redis, reading);
    let lean = scrape(&row, Profile::Lean, now(), Format::OpenMetrics);
    assert!(lean.series <= 150, "{} series", lean.series);
    let text = String::from_utf8(lean.body).unwrap();
    assert!(text.contains("redis_memory_used_bytes ") && text.ends_with("# EOF\n"));
}

// --- faults and recovery -----------------------------------------------------------------------

#[tokio::test]
async fn a_killed_server_is_refused_and_the_same_poller_sees_it_return() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let mut poller = redis(&fleet.nodes[index].address.clone());
    let first = poller.poll(now()).await;
    assert!(first.up && first.ping_us.is_some() && first.connect_us > 0);
    assert_eq!(first.facts.role, Some(Role::Master));
    fleet.nodes[index].kill();
    let down = until(&mut poller, "refused", |r| !r.up).await;
    assert_eq!((reason(&down), down.failed_in_row), (Some(Reason::Refused), 1));
    assert!(down.facts.values.known().next().is_none(), "a failed poll holds no values");
    assert_eq!(poller.probe().await.unwrap_err().reason, Reason::Refused);
    assert_eq!(poller.failed_in_row(), 2);
    fleet.nodes[index].spawn();
    let back = until(&mut poller, "up again", |r| r.up).await;
    assert_eq!((back.failed_in_row, back.failure), (0, None));
}

#[tokio::test]
async fn a_restart_between_two_polls_costs_no_failed_poll() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let mut poller = redis(&fleet.nodes[index].address.clone());
    let before = poller.poll(now()).await;
    fleet.nodes[index].kill();
    fleet.nodes[index].spawn();
    fleet.nodes[index].answers().await;
    let after = poller.poll(now()).await;
    assert!(after.up, "{:?}", after.failure);
    assert_ne!(before.facts.text.run_id, after.facts.text.run_id);
}

#[tokio::test]
async fn a_stopped_server_times_out_at_the_deadline_and_recovers() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let mut poller = hasty(&fleet.nodes[index].address.clone());
    until(&mut poller, "up", |r| r.up).await;
    fleet.nodes[index].signal("STOP");
    let hanging = poller.poll(now()).await;
    assert_eq!((hanging.up, reason(&hanging)), (false, Some(Reason::Timeout)));
    // The kernel still accepts connections for it; only an answer counts.
    assert_eq!(poller.probe().await.unwrap_err().reason, Reason::Timeout);
    fleet.nodes[index].signal("CONT");
    until(&mut poller, "up again", |r| r.up).await;
}

#[tokio::test]
async fn a_wrong_password_is_auth_and_a_changed_secret_heals_it() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let node = &fleet.nodes[index];
    node.cli(&["CONFIG", "SET", "requirepass", "right"]);
    let with = |password: &str| Target {
        password: Some(Secret::new(password.into())),
        ..target(&node.address)
    };
    let mut poller = Poller::new(with("wrong-secret"), InstanceKind::Redis, DEADLINE);
    let refused = poller.poll(now()).await;
    assert_eq!((refused.up, reason(&refused)), (false, Some(Reason::Auth)));
    assert!(!refused.failure.unwrap().detail.contains("wrong-secret"));
    poller.set_target(target(&node.address));
    assert_eq!(reason(&poller.poll(now()).await), Some(Reason::Auth), "NOAUTH");
    poller.set_target(with("right"));
    assert!(poller.poll(now()).await.up);
    assert!(poller.probe().await.is_ok());
}

#[tokio::test]
async fn a_loading_server_is_up_with_that_failure_until_it_has_loaded() {
    let mut fleet = RedisFleet::new();
    let lines = [
        "enable-debug-command yes",
        "key-load-delay 300",
        "loading-process-events-interval-bytes 1024",
    ];
    let index = fleet.node(ZONES[0], &lines).await;
    let node = &mut fleet.nodes[index];
    node.cli(&["DEBUG", "POPULATE", "20000"]);
    node.cli(&["SAVE"]);
    node.kill();
    node.spawn();
    let mut poller = redis(&node.address.clone());
    let loading =
        until(&mut poller, "loading", |r| r.up && reason(r) == Some(Reason::Loading)).await;
    assert_eq!(loading.get(model::field::Field::Loading), Some(1.0));
    assert_eq!(loading.failed_in_row, 0);
    node.kill();
}

#[tokio::test]
async fn forbidden_commands_are_named_and_a_forbidden_info_is_noperm() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let node = &fleet.nodes[index];
    node.cli(&["ACL", "SETUSER", "watch", "on", ">pw", "+info", "+ping", "-slowlog", "-latency"]);
    let target = Target {
        user: "watch".into(),
        password: Some(Secret::new("pw".into())),
        ..target(&node.address)
    };
    let mut poller = Poller::new(target, InstanceKind::Redis, DEADLINE);
    for _ in 0..2 {
        let partial = poller.poll(now()).await;
        assert!(partial.up && partial.failure.is_none(), "{:?}", partial.failure);
        let missing: Vec<&str> = partial.facts.missing.iter().map(|m| m.0).collect();
        for command in ["SLOWLOG LEN", "SLOWLOG GET", "LATENCY LATEST", "ROLE"] {
            assert!(missing.contains(&command), "{command} in {missing:?}");
        }
        assert_eq!(partial.facts.slowlog.len, None, "forbidden is not zero");
        assert_eq!(partial.facts.role, Some(Role::Master), "INFO's role stands in");
    }
    let denied = |n: &str| {
        n.lines().filter(|l| l.contains("cmdstat_slowlog|len")).map(str::to_string).next()
    };
    let tried = denied(&node.info("commandstats")).unwrap();
    assert!(tried.contains("rejected_calls=1"), "asked once on this connection: {tried}");
    node.cli(&["ACL", "SETUSER", "watch", "-info"]);
    let blind = poller.poll(now()).await;
    assert_eq!((blind.up, reason(&blind)), (false, Some(Reason::Noperm)));
    node.cli(&["ACL", "SETUSER", "watch", "+info"]);
    assert!(until(&mut poller, "up again", |r| r.up).await.failure.is_none());
}

#[tokio::test]
async fn a_renamed_info_is_noperm_with_the_command_named() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &["rename-command INFO hidden-info"]).await;
    let reading = redis(&fleet.nodes[index].address).poll(now()).await;
    assert_eq!((reading.up, reason(&reading)), (false, Some(Reason::Noperm)));
    assert!(reading.failure.unwrap().detail.starts_with("INFO: "));
}

#[tokio::test]
async fn a_full_server_is_maxclients() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let node = &fleet.nodes[index];
    let mut keeper = redis(&node.address);
    assert!(keeper.poll(now()).await.up);
    node.cli(&["CONFIG", "SET", "maxclients", "1"]);
    let full = until(&mut redis(&node.address), "turned away", |r| !r.up).await;
    assert_eq!(reason(&full), Some(Reason::Maxclients));
    assert!(keeper.poll(now()).await.up, "the kept connection still works");
    assert_eq!(keeper.probe().await.unwrap_err().reason, Reason::Maxclients);
}

#[tokio::test]
async fn a_busy_server_is_busy() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &["busy-reply-threshold 10"]).await;
    let address = fleet.nodes[index].address.clone();
    let (host, port) = address.split_once(':').unwrap();
    let mut spinning = Command::new("redis-cli")
        .args(["-h", host, "-p", port, "EVAL", "while true do end", "0"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut poller = redis(&address);
    let busy = until(&mut poller, "busy", |r| reason(r) == Some(Reason::Busy)).await;
    assert!(!busy.up);
    fleet.nodes[index].cli(&["SCRIPT", "KILL"]);
    until(&mut poller, "up again", |r| r.up && r.failure.is_none()).await;
    let _ = spinning.wait();
}

#[tokio::test]
async fn a_server_older_than_7_is_asked_for_one_section_a_call() {
    use tests::rogue::{Move, healthy};
    let info = "# Server\r\nredis_version:6.2.7\r\n# Memory\r\nused_memory:5\r\n";
    let commands = "# Commandstats\r\ncmdstat_get:calls=1,usec=2,usec_per_call=2.00\r\n";
    let mut rules = vec![
        ("INFO DEFAULT", vec![Move::say("-ERR syntax error\r\n")]),
        ("INFO COMMANDSTATS", vec![Move::bulk(commands)]),
        ("INFO ERRORSTATS", vec![Move::bulk("# Errorstats\r\n")]),
    ];
    rules.extend(healthy(info));
    let rogue = Rogue::start(Script::On(rules)).await;
    let mut poller = redis(&rogue.address);
    for _ in 0..2 {
        let reading = poller.poll(now()).await;
        assert!(reading.up && reading.failure.is_none(), "{:?}", reading.failure);
        assert_eq!(reading.facts.text.version, "6.2.7");
        assert_eq!(reading.facts.commands.len(), 1);
        assert_eq!(reading.facts.slowlog.last_id, None, "an empty slow log has no newest entry");
    }
    assert_eq!(rogue.connections(), 1, "the same connection serves every poll");
}

#[tokio::test]
async fn a_target_that_turns_us_away_is_left_alone_between_fast_polls() {
    let rogue = Rogue::start(Script::SaysAndCloses(bytes("-DENIED protected\r\n"))).await;
    let mut poller = redis(&rogue.address);
    let first = poller.poll(now()).await;
    assert_eq!(reason(&first), Some(Reason::Auth));
    let again = poller.poll(now()).await;
    assert_eq!((reason(&again), again.failed_in_row), (Some(Reason::Auth), 1), "not a probe");
    assert_eq!(rogue.connections(), 1);
    poller.set_target(target(&rogue.address));
    assert_eq!(poller.poll(now()).await.failed_in_row, 2);
    assert_eq!(rogue.connections(), 2, "a changed target is tried at once");
}

#[tokio::test]
async fn unknown_hosts_and_wrong_addresses_are_dns() {
    for address in ["no-such-host.invalid:6379", "nonsense"] {
        let reading = redis(address).poll(now()).await;
        assert_eq!((reading.up, reason(&reading)), (false, Some(Reason::Dns)), "{address}");
    }
}

/// A certificate for 127.0.0.1 and its key, made by openssl; it is its own authority.
fn certificate(dir: &std::path::Path) -> (String, String) {
    let path = |name: &str| dir.join(name).display().to_string();
    let (cert, key) = (path("cert.pem"), path("key.pem"));
    let made = Command::new(program("openssl"))
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=cw"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"])
        .args(["-keyout", &key, "-out", &cert])
        .stderr(Stdio::null())
        .status();
    assert!(made.unwrap().success());
    (cert, key)
}

#[tokio::test]
async fn tls_is_verified_and_a_strange_certificate_is_the_reason_tls() {
    let mut fleet = RedisFleet::new();
    let (cert, key) = certificate(fleet.dir());
    let port = free_port("127.0.0.1");
    let lines = [
        format!("tls-port {port}"),
        format!("tls-cert-file {cert}"),
        format!("tls-key-file {key}"),
        format!("tls-ca-cert-file {cert}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    fleet.node("127.0.0.1", &lines).await;
    let polled = async |tls: link::Tls| {
        let target = Target { tls: Some(tls), ..target(&format!("127.0.0.1:{port}")) };
        Poller::new(target, InstanceKind::Redis, DEADLINE).poll(now()).await
    };
    // Redis asks for a client certificate unless told otherwise.
    let ours = link::Tls {
        ca_file: Some(cert.clone()),
        cert_file: Some(cert.clone()),
        key_file: Some(key),
        ..link::Tls::default()
    };
    let good = polled(ours.clone()).await;
    assert!(good.up, "{:?}", good.failure);
    let strange = polled(link::Tls { ca_file: None, ..ours.clone() }).await;
    assert_eq!((strange.up, reason(&strange)), (false, Some(Reason::Tls)));
    let elsewhere = link::Tls { server_name: Some("other.example".into()), ..ours.clone() };
    assert_eq!(reason(&polled(elsewhere).await), Some(Reason::Tls), "the name must match");
    let missing = link::Tls { ca_file: Some("/no/such/file.pem".into()), ..ours };
    assert_eq!(reason(&polled(missing).await), Some(Reason::Tls));
}

#[tokio::test]
async fn a_handshake_continues_the_session_before_it_until_something_changes() {
    let mut fleet = RedisFleet::new();
    let (cert, key) = certificate(fleet.dir());
    let port = free_port("127.0.0.1");
    let lines = [
        format!("tls-port {port}"),
        format!("tls-cert-file {cert}"),
        format!("tls-key-file {key}"),
        format!("tls-ca-cert-file {cert}"),
    ];
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let index = fleet.node("127.0.0.1", &lines).await;
    let ca = fleet.dir().join("ca.pem").display().to_string();
    std::fs::copy(&cert, &ca).unwrap();
    let tls = link::Tls {
        ca_file: Some(ca.clone()),
        cert_file: Some(cert.clone()),
        key_file: Some(key.clone()),
        ..link::Tls::default()
    };
    let target = Target { tls: Some(tls), ..target(&format!("127.0.0.1:{port}")) };
    let resumed = async || {
        let mut link = link::dial(&target, DEADLINE).await?;
        // The ticket for the next one comes before the first answer.
        link.call(&["PING"], DEADLINE).await?;
        assert!(link.certificate_ends_at().is_some(), "known also when nothing was shown");
        Ok::<bool, link::Error>(link.resumed())
    };
    assert_eq!(resumed().await, Ok(false));
    assert_eq!(resumed().await, Ok(true));
    assert_eq!(resumed().await, Ok(true), "a continued session can be continued too");
    // The same file written anew: whom to trust may have changed.
    std::fs::remove_file(&ca).unwrap();
    assert_eq!(resumed().await.unwrap_err().reason, Reason::Tls, "a missing file fails closed");
    std::fs::copy(&cert, &ca).unwrap();
    assert_eq!(resumed().await, Ok(false));
    assert_eq!(resumed().await, Ok(true));
    // Another process at the address knows nothing of the session.
    fleet.nodes[index].kill();
    fleet.nodes[index].spawn();
    fleet.nodes[index].answers().await;
    assert_eq!(resumed().await, Ok(false));
    // Another authority: the kept session helps nobody past it.
    let elsewhere = tempfile::tempdir().unwrap();
    let (strange, _) = certificate(elsewhere.path());
    std::fs::copy(&strange, &ca).unwrap();
    assert_eq!(resumed().await.unwrap_err().reason, Reason::Tls);
}

// --- text written by clients -------------------------------------------------------------------

#[tokio::test]
async fn lines_planted_through_replconf_change_nothing_and_are_seen() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let node = &fleet.nodes[index];
    let honest = redis(&node.address).poll(now()).await;
    let planted = "1.2.3.4\r\nrole:slave\r\nmaster_host:6.6.6.6\r\n# Memory\r\nused_memory:1";
    // A client with replication rights: announces the text as its address and asks for the stream.
    let mut liar = tokio::net::TcpStream::connect(&node.address).await.unwrap();
    for arguments in [
        &["REPLCONF", "listening-port", "1"][..],
        &["REPLCONF", "ip-address", planted],
        &["PSYNC", "?", "-1"],
    ] {
        let mut packed = format!("*{}\r\n", arguments.len());
        arguments.iter().for_each(|a| packed.push_str(&format!("${}\r\n{a}\r\n", a.len())));
        liar.write_all(packed.as_bytes()).await.unwrap();
        // PSYNC is refused while an earlier reply is still to be sent.
        assert!(liar.read(&mut [0; 512]).await.unwrap() > 0);
    }
    let mut poller = redis(&node.address);
    let reading = until(&mut poller, "planted", |r| r.facts.conflicts > 0).await;
    assert_eq!(reading.facts.role, Some(Role::Master));
    assert_eq!(reading.facts.upstream, None);
    let used = |r: &Reading| r.get(model::field::Field::UsedMemory).unwrap();
    assert!(used(&reading) > used(&honest) / 2.0);
    let page = page(&node.address, InstanceKind::Redis, reading);
    assert!(page.contains("redis_instance_info{role=\"master\""), "the role stays");
}

#[tokio::test]
async fn hostile_names_give_a_page_that_promtool_accepts() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let node = &fleet.nodes[index];
    for i in 0..100 {
        let lua = format!("return redis.error_reply('E\\\\\"}}{i} said so')");
        node.cli(&["EVAL", &lua, "0"]);
    }
    let reading = redis(&node.address).poll(now()).await;
    assert!(reading.facts.errors.len() >= 90);
    assert_promtool_accepts(&page(&node.address, InstanceKind::Redis, reading), "hostile errors");
}

// --- servers that lie --------------------------------------------------------------------------

fn bytes(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

#[tokio::test]
async fn every_misbehaving_server_ends_at_the_deadline_or_a_budget() {
    use Reason::{Maxclients, Protocol, Reset, Timeout, TooLarge};
    let endless = |head: &str, unit: &str| Script::Endless {
        head: bytes(head),
        unit: bytes(&unit.repeat(4096)),
    };
    let pause = Duration::from_millis(20);
    let cases = [
        (Script::Silent, Timeout),
        (Script::Drip { bytes: bytes("+PONG\r\n$100000\r\n# Server\r\n"), pause }, Timeout),
        (Script::Answers(bytes("+PONG\r\n$4000000\r\nshort")), Timeout),
        (Script::Answers(bytes("+PONG\r\n$99999999999\r\n")), TooLarge),
        (Script::Answers(bytes("*200000\r\n")), TooLarge),
        (Script::Answers(bytes(&"*1\r\n".repeat(64))), TooLarge),
        (endless("+PONG\r\n+", "x"), TooLarge),
        (endless("*99999\r\n", ":1\r\n:2\r\n$3\r\nabc\r\n"), Timeout),
        (Script::Answers(bytes("HTTP/1.1 400 Bad Request\r\n\r\n")), Protocol),
        (Script::Answers(bytes("%1\r\n+a\r\n+b\r\n")), Protocol),
        (Script::Answers(bytes(&"+PONG\r\n".repeat(50))), Protocol),
        (Script::SaysAndCloses(bytes("-ERR max number of clients reached\r\n")), Maxclients),
        (Script::SaysAndCloses(Vec::new()), Reset),
    ];
    for (script, expected) in cases {
        let rogue = Rogue::start(script.clone()).await;
        let poll = async { hasty(&rogue.address).poll(now()).await };
        let ended = tokio::time::timeout(wait::PATIENCE, poll).await.expect("a poll always ends");
        assert!(!ended.up);
        let got = reason(&ended).unwrap();
        // An endless stream meets whichever limit comes first.
        let fine = got == expected || (matches!(script, Script::Endless { .. }) && got != Reset);
        assert!(fine, "{script:?} gave {got:?}: {:?}", ended.failure);
    }
}

/// A field of /proc/self/status, bytes.
fn memory(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|l| l.strip_prefix(field)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<usize>().unwrap() << 10
}

#[tokio::test]
async fn many_lying_servers_at_once_do_not_grow_our_memory() {
    let info = format!("+PONG\r\n$4000000\r\n{}", "errorstat_x:count=1\r\n".repeat(190_000));
    let elements = format!("*99999\r\n{}", ":1\r\n".repeat(99_998));
    let unit = bytes(&"errorstat_x:count=1\r\n".repeat(2000));
    let scripts = [
        Script::Answers(bytes(&info)),
        Script::Answers(bytes(&elements)),
        Script::Endless { head: bytes("+PONG\r\n$4000000\r\n"), unit },
    ];
    let mut rogues = Vec::new();
    for script in scripts.iter().cycle().take(27) {
        rogues.push(Rogue::start(script.clone()).await);
    }
    let before = memory("VmRSS:");
    let polls = rogues.iter().map(|r| async { hasty(&r.address).poll(now()).await });
    for reading in futures_util::future::join_all(polls).await {
        assert!(matches!(
            reason(&reading),
            Some(Reason::Timeout | Reason::TooLarge | Reason::Protocol)
        ));
    }
    let grown = memory("VmHWM:").saturating_sub(before);
    assert!(grown < 64 << 20, "grew by {} MiB", grown >> 20);
}

#[tokio::test]
async fn a_late_reply_never_answers_the_next_command() {
    let rogue = Rogue::start(Script::Echo).await;
    let patience = Duration::from_millis(40);
    let (mut kept, mut right, mut wrong) = (None, 0u32, 0u32);
    for i in 0..10_000u32 {
        let mut link = match kept.take() {
            Some(link) => link,
            None => link::dial(&target(&rogue.address), DEADLINE).await.unwrap(),
        };
        let asked = format!("n{i}");
        match link.call(&["ECHO", &asked], patience).await {
            Ok(value) if link::reply::text(&value).as_deref() == Some(&asked) => right += 1,
            Ok(_) => wrong += 1,
            Err(_) => assert!(link.poisoned()),
        }
        kept = (!link.poisoned()).then_some(link);
    }
    assert!(right > 1000, "{right} answered");
    assert_eq!(wrong, 0);
}

#[tokio::test]
async fn a_cancelled_call_leaves_a_link_that_refuses_to_work() {
    let rogue = Rogue::start(Script::Silent).await;
    let mut link = link::dial(&target(&rogue.address), DEADLINE).await.unwrap();
    {
        let call = link.call(&["PING"], DEADLINE);
        let nap = tokio::time::sleep(Duration::from_millis(20));
        tokio::select! { _ = call => panic!("it never answers"), () = nap => {} }
    }
    assert!(link.poisoned());
    assert_eq!(link.call(&["PING"], DEADLINE).await.unwrap_err().reason, Reason::Reset);
}

// --- topology ----------------------------------------------------------------------------------

#[tokio::test]
async fn a_cluster_keeps_its_shard_numbers_when_a_replica_is_promoted() {
    let mut fleet = RedisFleet::new();
    let nodes = fleet.cluster(5_000).await;
    let addresses: Vec<String> = nodes.iter().map(|i| fleet.nodes[*i].address.clone()).collect();
    let read = || async {
        let mut rows = Vec::new();
        for address in &addresses {
            let reading = redis(address).poll(now()).await;
            rows.push(Arc::new(row(address, InstanceKind::Redis, reading)));
        }
        rows
    };
    let rows = read().await;
    let shards = exporter::topology::shards(&BTreeMap::new(), &rows);
    let number = |of: usize| shards[&rows[of].instance.id];
    assert_eq!([number(0), number(1), number(2)], [0, 1, 2], "by lowest slot");
    assert_eq!([number(3), number(4), number(5)], [0, 1, 2], "replicas are with their masters");
    assert_eq!(exporter::topology::masters(&rows).len(), 3);
    fleet.nodes[nodes[0]].kill();
    let later = wait::until("promoted", || async {
        let rows = read().await;
        (exporter::topology::roles(&rows).get(&rows[3].instance.id) == Some(&Role::Master))
            .then_some(rows)
    })
    .await;
    assert_eq!(exporter::topology::shards(&shards, &later), shards);
}

#[tokio::test]
async fn a_replicas_lag_is_its_distance_from_its_master() {
    let mut fleet = RedisFleet::new();
    let all = fleet.replicated(1, &[]).await;
    let mut rows = Vec::new();
    for index in &all {
        let address = &fleet.nodes[*index].address;
        let reading = redis(address).poll(now()).await;
        rows.push(Arc::new(row(address, InstanceKind::Redis, reading)));
    }
    let master = exporter::topology::master_of(&rows[1], &rows).expect("it follows the first");
    assert_eq!(master.instance.id, rows[0].instance.id);
    let lag = exporter::topology::lag_bytes(&rows[1], master).unwrap();
    assert!((0.0..10_000.0).contains(&lag), "{lag}");
    assert_eq!(exporter::topology::lag_bytes(master, &rows[1]), None, "only replicas lag");
}

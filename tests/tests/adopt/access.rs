//! Users and passwords: the least a monitor user needs is enough, and is all.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::Duration;

use exporter::Poller;
use exporter::acl::{Monitor, acl};
use link::{Target, Value};
use model::At;
use model::reading::{Facts, Reading, Text};
use model::secret::Secret;
use model::service::InstanceKind;
use serde_json::{Value as Json, json};
use tests::fleet::{RedisFleet, ZONES, program};
use tests::process::Cachewarden;
use tests::wait;

use super::{adopt, cli, is_up, warden};

const USER: &str = "cw-monitor";
const PASSWORD: &str = "planted-monitor";
/// Longer than a busy machine keeps a server from answering.
const LIMIT: Duration = Duration::from_secs(30);
const CHANNELS: [&str; 2] = ["+switch-master", "+sdown"];

/// Runs a command with a password that is in no argument.
pub fn command(address: &str, password: &str, args: &[&str]) -> String {
    let (host, port) = address.rsplit_once(':').unwrap();
    let out = Command::new(program("timeout"))
        .args(["20", "redis-cli", "-h", host, "-p", port])
        .args(args)
        .env("REDISCLI_AUTH", password)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

async fn ask(address: &str, user: Option<&str>, args: &[&str]) -> Result<Value, link::Error> {
    let target = target(address, user);
    let mut link = link::dial(&target, LIMIT).await?;
    link.call(args, LIMIT).await
}

fn target(address: &str, user: Option<&str>) -> Target {
    Target {
        address: address.into(),
        user: user.unwrap_or_default().into(),
        password: user.map(|_| Secret::new(PASSWORD.into())),
        tls: None,
    }
}

/// The rules as words, ready to be sent.
fn rules(kind: InstanceKind, cluster: bool, text: &Text) -> Vec<String> {
    let hash = server::acl_hash(PASSWORD);
    let monitor =
        Monitor { user: USER, password_sha256: &hash, kind, cluster, channels: &CHANNELS };
    let made = acl(monitor, text, &exporter::Config::default()).unwrap();
    made.setuser.split(' ').map(String::from).collect()
}

/// What the server says of its engine and version.
async fn engine(address: &str) -> Text {
    let info = ask(address, None, &["INFO", "server"]).await.unwrap();
    let mut facts = Facts::default();
    link::reply::info::read(link::reply::bytes(&info).unwrap(), &mut facts);
    facts.text
}

/// Makes the monitor user on the server; answers its rules.
async fn make(address: &str, kind: InstanceKind, cluster: bool) -> Vec<String> {
    let words = rules(kind, cluster, &engine(address).await);
    let sent: Vec<&str> = words.iter().map(String::as_str).collect();
    ask(address, None, &sent).await.unwrap();
    words
}

/// Polls through every tier: the fast poll, the minute's and the five minutes'.
async fn polled(address: &str, kind: InstanceKind) -> Reading {
    let mut poller = Poller::new(target(address, Some(USER)), kind, LIMIT);
    let mut last = poller.poll(At::from_ms(1_700_000_000_000)).await;
    for n in 1..=50 {
        last = poller.poll(At::from_ms(1_700_000_000_000 + n * 15_000)).await;
        assert!(last.up, "{:?}", last.failure);
        assert_eq!(last.facts.missing, [], "{address}");
    }
    last
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_least_access_a_poll_misses_nothing_on_any_kind_of_process() {
    let mut fleet = RedisFleet::new();
    let sentinel = fleet.sentinel("cart", 5_000).await;
    let clustered = fleet.node(ZONES[0], &["cluster-enabled yes"]).await;
    for (index, kind, cluster) in [
        (sentinel.master, InstanceKind::Redis, false),
        (sentinel.replicas[0], InstanceKind::Redis, false),
        (sentinel.sentinels[0], InstanceKind::Sentinel, false),
        (clustered, InstanceKind::Redis, true),
    ] {
        let address = fleet.nodes[index].address.clone();
        make(&address, kind, cluster).await;
        let reading = polled(&address, kind).await;
        assert!(reading.failure.is_none(), "{:?}", reading.failure);
        let denied = fleet.nodes[index].cli(&["INFO", "errorstats"]);
        assert!(!denied.contains("NOPERM"), "{address}: {denied}");
    }
    // What a Sentinel's events need.
    let address = &fleet.nodes[sentinel.sentinels[0]].address;
    let heard = ask(address, Some(USER), &["SUBSCRIBE", CHANNELS[0]]).await;
    assert!(!format!("{heard:?}").contains("NOPERM"), "{heard:?}");
    let other = ask(address, Some(USER), &["SUBSCRIBE", "__sentinel__:hello"]).await;
    assert!(format!("{other:?}").contains("NOPERM"), "{other:?}");
    let never = ask(address, Some(USER), &["SENTINEL", "FAILOVER", "cart"]).await;
    assert!(format!("{never:?}").contains("NOPERM"), "{never:?}");
}

/// Every command a server knows, families by member, with as many arguments as it takes.
fn known(value: &Value, out: &mut Vec<Vec<String>>) {
    for command in link::reply::items(value).unwrap() {
        let parts = link::reply::items(command).unwrap();
        let name = link::reply::text(&parts[0]).unwrap();
        let arity = link::reply::number(&parts[1]).unwrap().abs() as usize;
        let members = parts.get(9).and_then(link::reply::items).unwrap_or_default();
        if members.is_empty() {
            let mut words: Vec<String> = name.split('|').map(String::from).collect();
            words.resize(words.len().max(arity), "1".into());
            out.push(words);
        } else {
            known(&Value::Array(members.to_vec()), out);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_monitor_user_may_do_nothing_but_poll() {
    let mut fleet = RedisFleet::new();
    let node = fleet.node(ZONES[0], &[]).await;
    let address = fleet.nodes[node].address.clone();
    let rules = make(&address, InstanceKind::Redis, false).await;
    let mut commands = Vec::new();
    known(&ask(&address, None, &["COMMAND"]).await.unwrap(), &mut commands);
    assert!(commands.len() > 300, "{}", commands.len());
    let mut allowed = BTreeSet::new();
    for words in &commands {
        let mut dry = vec!["ACL", "DRYRUN", USER];
        dry.extend(words.iter().map(String::as_str));
        if ask(&address, None, &dry).await.is_ok_and(|v| v == Value::Okay) {
            let family = words.get(1).is_some_and(|w| w != "1");
            allowed.insert(if family { words[..2].join("|") } else { words[0].clone() });
        }
    }
    let granted: BTreeSet<String> =
        rules.iter().filter_map(|w| w.strip_prefix('+').map(String::from)).collect();
    // What a server lets everybody do before and after signing in.
    let always = ["auth", "hello", "quit", "reset"].map(String::from);
    let surplus: Vec<_> =
        allowed.iter().filter(|c| !granted.contains(*c) && !always.contains(c)).collect();
    assert!(surplus.is_empty(), "{surplus:?}");
    let lacking: Vec<_> = granted.iter().filter(|c| !allowed.contains(*c)).collect();
    assert!(lacking.is_empty(), "{lacking:?}");
    // As a server without DRYRUN shows it.
    for never in [
        &["SET", "a", "1"][..],
        &["GET", "a"],
        &["KEYS", "*"],
        &["FLUSHALL"],
        &["CONFIG", "SET", "maxmemory", "1"],
        &["CONFIG", "REWRITE"],
        &["ACL", "SETUSER", "x"],
        &["ACL", "GETUSER", "default"],
        &["CLIENT", "KILL", "ID", "1"],
        &["SLOWLOG", "RESET"],
        &["LATENCY", "RESET"],
        &["CLUSTER", "RESET"],
        &["REPLICAOF", "NO", "ONE"],
        &["SHUTDOWN"],
        &["EVAL", "return 1", "0"],
        &["SUBSCRIBE", "x"],
    ] {
        let said = ask(&address, Some(USER), never).await;
        assert!(format!("{said:?}").contains("NOPERM"), "{never:?}: {said:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_rotated_without_a_lost_poll_and_a_wrong_one_is_auth_until_mended() {
    let mut fleet = RedisFleet::new();
    let index = fleet.node(ZONES[0], &[]).await;
    let node = &fleet.nodes[index];
    let user = |rule: &str| node.cli(&["ACL", "SETUSER", "watch", "on", rule, "+@all", "~*", "&*"]);
    user(">planted-one");
    let cw = warden().await;
    let auth = json!({"user": "watch", "password": "planted-one"});
    let seed = json!({"seeds": [node.address], "service": "solo", "auth": auth});
    let done = adopt(&cw, false, seed).await;
    assert_eq!(done.0, 200, "{:#}", done.1);
    let id = format!("pay.solo@{}", node.address);
    is_up(&cw, &id).await;
    let failed = async || {
        let (_, page) = cw.get("/metrics/self").await;
        let failed = page.lines().filter(|l| l.starts_with("cachewarden_polls_total{"));
        failed.filter(|l| l.contains("result=\"auth\"")).map(str::to_string).collect::<Vec<_>>()
    };
    let connects = || {
        let info = node.info("stats");
        let line = info.lines().find(|l| l.starts_with("total_connections_received:"));
        line.unwrap().trim().rsplit(':').next().unwrap().parse::<u64>().unwrap()
    };
    let before = failed().await;
    user(">planted-two");
    let put = async |password: &str| {
        let dir = cw.dir.join("secret");
        std::fs::write(&dir, password).unwrap();
        let file = dir.display().to_string();
        let set = cli(&cw, &["secret", "set", "pay.solo", "--password-file", &file]).await;
        assert_eq!(set.0, Some(0), "{}", set.1);
    };
    put("planted-two").await;
    user("<planted-one");
    let first = connects();
    wait::until("it signed in with the new password", || async {
        (node.cli(&["CLIENT", "LIST"]).contains("user=watch") && connects() > first).then_some(())
    })
    .await;
    is_up(&cw, &id).await;
    assert_eq!(failed().await, before, "no poll was refused");

    put("planted-wrong").await;
    node.cli(&["CLIENT", "KILL", "USER", "watch"]);
    wait::until("it says auth", || async {
        let (_, page) = cw.get("/metrics").await;
        let says = |l: &&str| l.starts_with("cachewarden_scrape_error{") && l.contains(&id);
        page.lines().find(says)?.contains("reason=\"auth\"").then_some(())
    })
    .await;
    put("planted-two").await;
    is_up(&cw, &id).await;
    assert!(!cw.log().contains("planted-"));
    let (status, _) = cw.api("/services/pay.solo/secrets/redis").await;
    assert_eq!(status, 405, "there is no way to read one");
}

/// What the processes of a service say of the monitor user: state, lacking, surplus and detail, by
/// address.
async fn proof(cw: &Cachewarden, service: &str) -> BTreeMap<String, Json> {
    let (status, answer) = cw.post(&format!("/services/{service}/acl/proof"), &json!({})).await;
    assert_eq!(status, 200, "{answer:#}");
    let items = answer["items"].as_array().unwrap().clone();
    let address =
        |item: &Json| item["instance"].as_str().unwrap().rsplit('@').next().map(String::from);
    items.into_iter().map(|item| (address(&item).unwrap(), item)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_proves_the_access_of_the_monitor_user_and_names_what_is_wrong() {
    let mut fleet = RedisFleet::new();
    let made = fleet.sentinel("cart", 5_000).await;
    let cw = warden().await;
    let sentinel = fleet.nodes[made.sentinels[0]].address.clone();
    let done = adopt(&cw, false, json!({"seeds": [sentinel]})).await;
    assert_eq!(done.0, 200, "{:#}", done.1);
    for node in &fleet.nodes {
        is_up(&cw, &format!("pay.cart@{}", node.address)).await;
    }
    let before = proof(&cw, "pay.cart").await;
    assert_eq!(before.len(), 6);
    for (address, said) in &before {
        assert_eq!(said["state"], "unknown", "{address}: {said}");
        assert!(said["detail"].as_str().unwrap().contains("no user"), "{address}: {said}");
    }

    let hash = server::acl_hash(PASSWORD);
    let (_, printed) = cw.api(&format!("/services/pay.cart/acl?password_sha256={hash}")).await;
    let printed = printed["items"].as_array().unwrap().clone();
    for (index, node) in fleet.nodes.iter().enumerate() {
        let kind = if made.sentinels.contains(&index) { "sentinel" } else { "redis" };
        let rules = printed.iter().find(|item| item["kind"] == kind).unwrap();
        let words: Vec<&str> = rules["setuser"].as_str().unwrap().split(' ').collect();
        ask(&node.address, None, &words).await.unwrap();
    }
    for (address, said) in proof(&cw, "pay.cart").await {
        assert_eq!(said["state"], "proved", "{address}: {said}");
        assert!(said["tried"].as_u64().unwrap() > 20, "{address}: {said}");
    }

    let (master, replica) = (&fleet.nodes[made.master], &fleet.nodes[made.replicas[0]]);
    master.cli(&["ACL", "SETUSER", USER, "+flushall", "-slowlog|get"]);
    replica.cli(&["ACL", "SETUSER", USER, "+get", "~*"]);
    let after = proof(&cw, "pay.cart").await;
    let wrong = &after[&master.address];
    assert_eq!((&wrong["state"], &wrong["surplus"]), (&json!("wrong"), &json!(["flushall"])));
    assert_eq!(wrong["lacking"], json!(["slowlog|get"]), "{wrong}");
    assert_eq!(after[&replica.address]["surplus"], json!(["get"]));
    let (code, said) = cli(&cw, &["acl", "pay.cart", "--prove"]).await;
    assert!(code != Some(0) && said.contains("flushall") && said.contains("proved"), "{said}");

    // Asked by somebody of their own, whose password is used and not kept.
    replica.cli(&["ACL", "SETUSER", "dba", "on", ">planted-dba", "+@all", "~*", "&*"]);
    let auth = json!({"user": "dba", "password": "planted-dba"});
    let (status, answer) = cw.post("/services/pay.cart/acl/proof", &json!({"auth": auth})).await;
    assert_eq!(status, 200, "{answer:#}");
    let of = |address: &str| {
        let items = answer["items"].as_array().unwrap();
        items.iter().find(|i| i["instance"].as_str().unwrap().ends_with(address)).unwrap().clone()
    };
    assert_eq!(of(&replica.address)["surplus"], json!(["get"]));
    let stranger = of(&master.address);
    assert_eq!(stranger["state"], "unknown");
    assert!(stranger["detail"].as_str().unwrap().starts_with("auth"), "{stranger}");
    let (_, trail) = cw.api("/audit?limit=50").await;
    assert!(trail.to_string().contains("service.acl_proof"));
    assert!(!trail.to_string().contains("planted-") && !cw.log().contains("planted-"));
}

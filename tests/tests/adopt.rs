//! From something a person knows to watched services, on real servers of every kind; and who we are
//! there: users, passwords, TLS.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::fleet::{RedisFleet, SentinelService, ZONES};
use tests::process::{Cachewarden, Options, binary};
use tests::rogue::{Rogue, Script};
use tests::wait;

#[path = "adopt/access.rs"]
mod access;
#[path = "adopt/certificates.rs"]
mod certificates;

/// A process whose TLS files lie in `tls` of its folder, and the tenant `pay` with three zones that
/// know their networks.
async fn warden() -> Cachewarden {
    let mut cw = Cachewarden::prepared(&Options::default());
    let text = std::fs::read_to_string(cw.config()).unwrap();
    let with = format!("[link]\ntls_dir = \"{}\"", cw.dir.join("tls").display());
    std::fs::write(cw.config(), text.replace("[link]", &with)).unwrap();
    cw.spawn_with(&[]);
    cw.answers().await;
    let zone = |n: u8| json!({"id": format!("az-{n}"), "site": "dc", "networks": [format!("127.0.{n}.0/24")]});
    let networks: Vec<String> = (1..=3).map(|n| format!("127.0.{n}.0/24")).collect();
    cw.apply(&json!({
        "version": 1, "sites": [{"id": "dc"}], "zones": [zone(1), zone(2), zone(3)],
        "tenants": [{"id": "pay", "networks": networks, "systems": [{"id": "shop"}]}],
    }))
    .await;
    cw
}

/// Adopts into `pay`; `more` is added to the request.
async fn adopt(cw: &Cachewarden, dry_run: bool, more: Value) -> (u16, Value) {
    let mut body = json!({"tenant": "pay"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let path = if dry_run { "/services/adopt?dry_run=1" } else { "/services/adopt" };
    cw.post(path, &body).await
}

/// The only service that was found.
fn only(answer: &(u16, Value)) -> &Value {
    assert_eq!(answer.0, 200, "{:#}", answer.1);
    let services = answer.1["services"].as_array().unwrap();
    assert_eq!(services.len(), 1, "{:#}", answer.1);
    &services[0]
}

fn addresses(service: &Value) -> Vec<String> {
    let nodes = service["nodes"].as_array().unwrap();
    let mut all: Vec<String> =
        nodes.iter().map(|n| n["address"].as_str().unwrap().to_string()).collect();
    all.sort();
    all
}

fn of(fleet: &RedisFleet, indices: &[usize]) -> Vec<String> {
    let mut all: Vec<String> = indices.iter().map(|i| fleet.nodes[*i].address.clone()).collect();
    all.sort();
    all
}

/// Waits until the page of an instance says that it is up.
async fn is_up(cw: &Cachewarden, id: &str) {
    wait::until(&format!("{id} is up"), || async {
        let (status, page) = cw.get(&format!("/scrape?target={id}")).await;
        (status == 200 && page.lines().any(|l| l == "redis_up 1")).then_some(())
    })
    .await;
}

/// Runs the command line as the first account.
async fn cli(cw: &Cachewarden, args: &[&str]) -> (Option<i32>, String) {
    let out = Command::new(binary())
        .args(args)
        .env("CACHEWARDEN_URL", &cw.url)
        .env("CACHEWARDEN_TOKEN", cw.token().await)
        .env("HOME", &cw.dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [out.stdout, out.stderr].concat();
    (out.status.code(), String::from_utf8_lossy(&said).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_leads_to_its_whole_service_and_a_second_time_changes_nothing() {
    let mut fleet = RedisFleet::new();
    let data = fleet.replicated(2, &[]).await;
    let cw = warden().await;
    let seed = json!({"seeds": [fleet.nodes[data[2]].address], "system": "shop"});
    let looked = adopt(&cw, true, seed.clone()).await;
    let service = only(&looked);
    assert_eq!((&service["state"], &service["mode"]), (&json!("new"), &json!("standalone")));
    assert_eq!(addresses(service), of(&fleet, &data));
    for node in service["nodes"].as_array().unwrap() {
        let zone = node["address"].as_str().unwrap().split('.').nth(2).unwrap();
        assert_eq!(node["zone"], format!("az-{zone}"), "{node}");
        assert_eq!(node["engine"], "redis");
    }
    let id = service["id"].as_str().unwrap().to_string();
    assert_eq!(cw.api(&format!("/services/{id}")).await.0, 404, "a dry run writes nothing");
    let mut with_hash = seed.clone();
    with_hash["hash"] = looked.1["hash"].clone();
    let done = adopt(&cw, false, with_hash.clone()).await;
    assert_eq!(only(&done)["id"], id);
    for index in &data {
        is_up(&cw, &format!("{id}@{}", fleet.nodes[*index].address)).await;
    }
    let again = adopt(&cw, false, seed).await;
    assert_eq!(only(&again)["state"], "known");
    assert_eq!(again.1["diff"]["changes"], json!([]), "{:#}", again.1);
    // What was shown is not what would be written now.
    assert_eq!(adopt(&cw, false, with_hash).await.1["code"], "CW-1401");
    let page = cw.api(&format!("/services/{id}")).await.1;
    assert!(page.to_string().contains("pay.shop"), "{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sentinel_leads_to_master_replicas_and_sentinels_and_new_replicas_are_added() {
    let mut fleet = RedisFleet::new();
    let SentinelService { master, replicas, sentinels, .. } = fleet.sentinel("cart", 5_000).await;
    let cw = warden().await;
    let seed = json!({"seeds": [fleet.nodes[sentinels[1]].address]});
    let done = adopt(&cw, false, seed.clone()).await;
    let service = only(&done);
    assert_eq!((&service["id"], &service["mode"]), (&json!("pay.cart"), &json!("sentinel")));
    assert_eq!(
        (&service["master_name"], &service["named_by"]),
        (&json!("cart"), &json!("sentinel"))
    );
    let all = [vec![master], replicas.clone(), sentinels.clone()].concat();
    assert_eq!(addresses(service), of(&fleet, &all));
    let roles = |role: &str| {
        service["nodes"].as_array().unwrap().iter().filter(|n| n["role"] == role).count()
    };
    assert_eq!((roles("master"), roles("slave"), roles("sentinel")), (1, 2, 3));
    assert_eq!(service["system"], "pay.unassigned");
    is_up(&cw, &format!("pay.cart@{}", fleet.nodes[sentinels[0]].address)).await;

    let of_master = format!("replicaof {} {}", fleet.nodes[master].host, fleet.nodes[master].port);
    let fresh = fleet.node(ZONES[1], &[&of_master]).await;
    let fresh = fleet.nodes[fresh].address.clone();
    let grown = wait::until("the master names its new replica", || async {
        let grown = adopt(&cw, false, seed.clone()).await;
        (only(&grown)["state"] == "grows").then_some(grown)
    })
    .await;
    let changes = grown.1["diff"]["changes"].as_array().unwrap();
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!(changes[0]["id"], format!("pay.cart@{fresh}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_cluster_node_leads_to_all_shards() {
    let mut fleet = RedisFleet::new();
    let nodes = fleet.cluster(5_000).await;
    let cw = warden().await;
    let seed = json!({"seeds": [format!("redis://{}/0", fleet.nodes[nodes[4]].address)],
                      "service": "catalog", "managed": true, "tier": "core"});
    let done = adopt(&cw, false, seed).await;
    let service = only(&done);
    assert_eq!((&service["id"], &service["mode"]), (&json!("pay.catalog"), &json!("cluster")));
    assert_eq!(addresses(service), of(&fleet, &nodes));
    let change = |id: &str| {
        let changes = done.1["diff"]["changes"].as_array().unwrap();
        changes.iter().find(|c| c["id"] == id).unwrap()["after"].clone()
    };
    let stored = change("pay.catalog");
    assert_eq!((&stored["replicas_wanted"], &stored["managed"]), (&json!(1), &json!(true)));
    assert_eq!(stored["tier"], "core");
    is_up(&cw, &format!("pay.catalog@{}", fleet.nodes[nodes[0]].address)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_in_every_form_are_read_and_what_cannot_be_taken_is_named() {
    let mut fleet = RedisFleet::new();
    let (a, b) = (fleet.node(ZONES[0], &[]).await, fleet.node(ZONES[1], &[]).await);
    let (a, b) = (fleet.nodes[a].address.clone(), fleet.nodes[b].address.clone());
    let cw = warden().await;
    let csv = format!("address,service,zone\n{a},one,az-3\n{b},two,\n192.0.2.1:6379,far,\n");
    let sd = json!([{"targets": ["exporter:9121"], "labels": {"__param_target": format!("redis://{a}")}},
                    {"targets": [format!("redis://:hunter2@{b}"), b], "labels": {"service": "two"}}]);
    let config = format!(
        "scrape_configs:\n- job_name: redis\n  metrics_path: /scrape\n  static_configs:\n  - targets: \
         ['redis://{a}', '{b}']\n"
    );
    let found = |answer: &(u16, Value)| -> Vec<String> {
        let services = answer.1["services"].as_array().unwrap();
        services.iter().flat_map(addresses).collect()
    };
    let reasons = |answer: &(u16, Value)| -> Vec<String> {
        let refused = answer.1["refused"].as_array().unwrap();
        refused.iter().map(|r| r["reason"].as_str().unwrap().to_string()).collect()
    };
    let from_csv = adopt(&cw, true, json!({"document": csv})).await;
    assert_eq!(found(&from_csv), [a.clone(), b.clone()], "{:#}", from_csv.1);
    assert_eq!(from_csv.1["services"][0]["id"], "pay.one");
    assert_eq!(from_csv.1["services"][0]["nodes"][0]["zone"], "az-3", "the person's word counts");
    assert_eq!(reasons(&from_csv), ["network"]);
    let from_sd = adopt(&cw, true, json!({"document": sd.to_string()})).await;
    let mut both = found(&from_sd);
    both.sort();
    assert_eq!(both, [a.clone(), b.clone()]);
    assert_eq!(reasons(&from_sd), ["address"]);
    assert!(!from_sd.1.to_string().contains("hunter2"), "{:#}", from_sd.1);
    let from_config = adopt(&cw, true, json!({"document": config})).await;
    assert_eq!(found(&from_config).len(), 2);
    for (wrong, status) in [
        (json!({"document": "{\"no\": 1}"}), 422),
        (json!({}), 422),
        (json!({"seeds": [a], "tenant": "nobody"}), 422),
        (json!({"seeds": [a], "networks": ["10.0.0.0/99"]}), 422),
        (json!({"seeds": [a], "tls": {"ca_file": "/etc/passwd"}}), 422),
        (json!({"seeds": [a], "nonsense": 1}), 422),
    ] {
        assert_eq!(adopt(&cw, true, wrong.clone()).await.0, status, "{wrong}");
    }
    assert!(!cw.log().contains("hunter2"));
}

/// An endpoint of discovery that answers every request with this document.
fn discovery(document: &str) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/targets", listener.local_addr().unwrap());
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{document}",
        document.len()
    );
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_sd_address_and_a_file_sd_file_are_read_by_the_command_line() {
    let mut fleet = RedisFleet::new();
    let (a, b) = (fleet.node(ZONES[0], &[]).await, fleet.node(ZONES[1], &[]).await);
    let (a, b) = (fleet.nodes[a].address.clone(), fleet.nodes[b].address.clone());
    let cw = warden().await;
    let url = discovery(&json!([{"targets": [a], "labels": {"service": "one"}}]).to_string());
    let (code, said) = cli(&cw, &["adopt", &url, "--tenant", "pay", "--yes"]).await;
    assert!(code == Some(0) && said.contains("pay.one"), "{said}");
    is_up(&cw, &format!("pay.one@{a}")).await;
    let file = cw.dir.join("targets.yml");
    std::fs::write(&file, format!("- targets: ['{b}']\n  labels: {{service: two}}\n")).unwrap();
    let file = file.display().to_string();
    let (code, said) = cli(&cw, &["adopt", &file, "--tenant", "pay", "--yes"]).await;
    assert!(code == Some(0) && said.contains("pay.two"), "{said}");
    is_up(&cw, &format!("pay.two@{b}")).await;
    let (code, said) = cli(&cw, &["adopt", &url, &b, "--tenant", "pay", "--yes"]).await;
    assert!(code == Some(0) && said.contains("known"), "what is known is no trouble: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outside_the_tenants_networks_is_dialled_whoever_names_it() {
    let stranger = Rogue::start(Script::Silent).await;
    let (host, port) = stranger.address.split_once(':').unwrap();
    let mut fleet = RedisFleet::new();
    let master = fleet.node(ZONES[0], &[]).await;
    let of_master = format!("replicaof {} {}", fleet.nodes[master].host, fleet.nodes[master].port);
    let lie = [format!("replica-announce-ip {host}"), format!("replica-announce-port {port}")];
    let liar = fleet.node(ZONES[1], &[&of_master, &lie[0], &lie[1]]).await;
    wait::until("the master names the stranger", || async {
        fleet.nodes[master].cli(&["ROLE"]).contains(host).then_some(())
    })
    .await;
    let cw = warden().await;
    let address = fleet.nodes[liar].address.clone();
    let looked = adopt(&cw, true, json!({"seeds": [address]})).await;
    let service = only(&looked);
    assert_eq!(addresses(service), of(&fleet, &[master, liar]));
    let refused = &looked.1["refused"][0];
    assert_eq!(
        (&refused["address"], &refused["reason"]),
        (&json!(stranger.address), &json!("network"))
    );
    assert_eq!(refused["found_by"], fleet.nodes[master].address);
    let own = cw.url.trim_start_matches("http://");
    for (named, reason) in [
        (stranger.address.as_str(), "network"),
        (own, "own"),
        ("169.254.169.254:80", "never"),
        ("0.0.0.0:6379", "never"),
        ("no-such-host.invalid:6379", "name"),
    ] {
        let answer = adopt(&cw, true, json!({"seeds": [named]})).await;
        assert_eq!(answer.1["refused"][0]["reason"], reason, "{named}: {:#}", answer.1);
        assert_eq!(answer.1["services"], json!([]));
    }
    assert_eq!(stranger.connections(), 0);
    // With the right to edit the tree the networks can be widened by the same word.
    let wide = json!({"seeds": [stranger.address], "networks": ["127.0.0.0/8"]});
    let dialled = adopt(&cw, true, wide).await;
    assert_eq!(dialled.1["refused"][0]["reason"], "timeout", "{:#}", dialled.1);
    assert!(stranger.connections() > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_adopted_from_the_command_line_with_its_password_and_its_acl() {
    let mut fleet = RedisFleet::new();
    let lines = ["requirepass planted-adopt", "masterauth planted-adopt"];
    let node = fleet.node(ZONES[0], &[]).await;
    let node = &fleet.nodes[node];
    for line in lines {
        let (name, value) = line.split_once(' ').unwrap();
        node.cli(&["CONFIG", "SET", name, value]);
    }
    let cw = warden().await;
    let file = |name: &str, text: &str| {
        let path = cw.dir.join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (password, seeds) = (
        file("password", "planted-adopt\n"),
        file("seeds.csv", &format!("address\n{}\n", node.address)),
    );
    let base = ["adopt", seeds.as_str(), "--tenant", "pay", "--service", "solo"];
    let closed = cli(&cw, &[&base[..], &["--dry-run"]].concat()).await;
    assert!(closed.1.contains("auth") && closed.1.contains("would adopt 0"), "{}", closed.1);
    let with = [&base[..], &["--password-file", &password]].concat();
    let dry = cli(&cw, &[&with[..], &["--dry-run", "--acl"]].concat()).await;
    assert_eq!(dry.0, Some(0), "{}", dry.1);
    assert!(
        dry.1.contains("pay.solo") && dry.1.contains("ACL SETUSER cw-monitor reset on"),
        "{}",
        dry.1
    );
    let nobody = cli(&cw, &with).await;
    assert_eq!(nobody.0, Some(2), "nobody can be asked: {}", nobody.1);
    let done = cli(&cw, &[&with[..], &["--yes"]].concat()).await;
    assert!(done.0 == Some(0) && done.1.contains("adopted 1 services"), "{}", done.1);
    let id = format!("pay.solo@{}", node.address);
    is_up(&cw, &id).await;
    let rules = cli(&cw, &["acl", "pay.solo", "--password-file", &password]).await;
    assert!(rules.1.contains(&server::acl_hash("planted-adopt")), "{}", rules.1);

    // Rotated at the server; the kept connection goes on until it is asked to sign in anew.
    access::command(
        &node.address,
        "planted-adopt",
        &["CONFIG", "SET", "requirepass", "planted-next"],
    );
    let next = file("next", "planted-next\n");
    let set = cli(&cw, &["secret", "set", "pay.solo", "--password-file", &next]).await;
    assert_eq!(set.0, Some(0), "{}", set.1);
    is_up(&cw, &id).await;
    let told = [dry.1, done.1, rules.1, set.1, cw.log()].concat();
    assert!(!told.contains("planted-"), "a password is in what was printed or logged");
    let audit = cw.api("/audit?limit=200").await.1.to_string();
    assert!(audit.contains("secret.put") && !audit.contains("planted-"));
}

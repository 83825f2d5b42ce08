//! Custom items from definition to series and alert, on real servers; what is refused, and with
//! which reason.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use tests::fleet::{RedisFleet, ZONES};
use tests::inventory::{Listed, document};
use tests::process::{Cachewarden, binary, inventory};
use tests::wait;

/// A process that watches one server of `pay.solo`.
struct Stage {
    fleet: RedisFleet,
    cw: Cachewarden,
    id: String,
    http: reqwest::Client,
}

impl Stage {
    async fn start(redis: &[&str], policies: Value) -> Stage {
        let mut fleet = RedisFleet::new();
        fleet.node(ZONES[0], redis).await;
        let cw = Cachewarden::start("families = [\"items\"]\n").await;
        let address = fleet.nodes[0].address.clone();
        let solo = json!({"id": "solo", "system": "shop",
            "instances": [{"address": address, "zone": "az-1"}]});
        let mut file = inventory(json!([solo]));
        file["policies"] = policies;
        cw.apply(&file).await;
        let id = format!("pay.solo@{address}");
        let stage = Stage { fleet, cw, id, http: reqwest::Client::new() };
        stage.says(&["cachewarden_instance_state{", &stage.id, "state=\"up\""]).await;
        stage
    }

    fn redis(&self, args: &[&str]) -> String {
        self.fleet.nodes[0].cli(args)
    }

    /// Waits for a line of `/metrics` with all the words; answers its value.
    async fn says(&self, words: &[&str]) -> f64 {
        says(&self.cw, words).await
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        rev: Option<&str>,
    ) -> (u16, Value) {
        let url = format!("{}/api/v1{path}", self.cw.url);
        let mut request = self.http.request(method, url).bearer_auth(self.cw.token().await);
        if let Some(rev) = rev {
            request = request.header("if-match", rev);
        }
        let answer = request.json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn put(&self, item: &Value, rev: Option<&str>) -> (u16, Value) {
        let body = json!({"item": item, "reason": "test"});
        self.ask(Method::PUT, &format!("/items/{}", id_of(item)), &body, rev).await
    }

    /// Saves a new item.
    async fn define(&self, name: &str, source: Value, more: Value) {
        let item = item(name, source, more);
        let (status, answer) = self.put(&item, None).await;
        assert_eq!(status, 200, "{item}: {answer:#}");
    }

    async fn test(&self, item: &Value) -> (u16, Value) {
        let body = json!({"item": item, "instance": self.id});
        // A second is all an item has, and a busy machine may need longer.
        wait::until("a test that is in time", || async {
            let (status, page) = self.ask(Method::POST, "/items/test", &body, None).await;
            (page["test"]["fault"] != "timeout").then_some((status, page))
        })
        .await
    }
}

async fn says(cw: &Cachewarden, words: &[&str]) -> f64 {
    wait::until(&format!("/metrics says {words:?}"), || async {
        let (_, page) = cw.get("/metrics").await;
        let line = page.lines().find(|l| words.iter().all(|w| l.contains(w)))?;
        line.rsplit_once(' ')?.1.parse().ok()
    })
    .await
}

fn item(name: &str, source: Value, more: Value) -> Value {
    let mut item = json!({"name": name, "scope": "service:pay.solo", "source": source});
    item.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    item
}

fn id_of(item: &Value) -> String {
    format!("{}@{}", item["name"].as_str().unwrap(), item["scope"].as_str().unwrap())
}

fn llen(key: &str) -> Value {
    json!({"command": {"args": ["LLEN", key]}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_item_of_every_kind_becomes_a_series_and_a_policy_on_it_fires() {
    let policy = json!({
        "policy": "queue-long", "scope": "tenant:pay", "signal": {"item": "queue"}, "compare": ">",
        "levels": {"warning": {"fire": 2}},
        "annotations": {"summary": "{{ $labels.item }} is {{ $value }}"},
    });
    let stage = Stage::start(&[], json!([policy])).await;
    stage.redis(&["RPUSH", "q", "a", "b", "c"]);
    stage.redis(&["XGROUP", "CREATE", "s", "billing", "0", "MKSTREAM"]);
    stage.redis(&["XGROUP", "CREATE", "s", "mail", "0"]);
    for _ in 0..4 {
        stage.redis(&["XADD", "s", "*", "k", "v"]);
    }
    stage.redis(&["MSET", "u:1", "x", "u:2", "x"]);
    stage.redis(&["CONFIG", "SET", "maxmemory", "104857600"]);
    let library = "#!lua name=mine\nredis.register_function{function_name='depth',\
        callback=function(k, a) return redis.call('LLEN', k[1]) end, flags={'no-writes'}}";
    stage.redis(&["FUNCTION", "LOAD", library]);

    stage.define("queue", llen("q"), json!({"unit": "jobs"})).await;
    let groups = json!({"command": {"args": ["XINFO", "GROUPS", "s"], "path": "*.lag"}});
    stage.define("lag", groups, json!({"labels": {"group": "name"}})).await;
    stage.define("limit", json!({"config": {"parameter": "maxmemory"}}), json!({})).await;
    let ping = json!({"info": {"field": "cmdstat_rpush", "section": "commandstats",
        "part": "calls"}});
    stage.define("rpushes", ping, json!({"kind": "counter"})).await;
    let users = json!({"scan": {"pattern": "u:*", "keys_max": 1000}});
    stage.define("users", users, json!({})).await;
    let lua = json!({"script": {"lua": "return redis.call('LLEN', KEYS[1]) * 10", "keys": ["q"]}});
    stage.define("script", lua, json!({})).await;
    let depth = json!({"function": {"function": "depth", "keys": ["q"]}});
    stage.define("depth", depth, json!({})).await;
    let sum = json!({"expr": "sum({lag}) / {queue} + count({lag}) / (maxmemory - maxmemory + 1)"});
    stage.define("mix", sum, json!({})).await;
    stage.define("hole", json!({"expr": "{queue} / ({queue} - 3)"}), json!({})).await;

    let value = "cachewarden_item_value{tenant=\"pay\",system=\"shop\",service=\"solo\"";
    for (name, more, wanted) in [
        ("queue", "", 3.0),
        ("lag", "group=\"billing\"", 4.0),
        ("lag", "group=\"mail\"", 4.0),
        ("limit", "", 104_857_600.0),
        ("rpushes", "", 1.0),
        ("users", "", 2.0),
        ("script", "", 30.0),
        ("depth", "", 3.0),
        ("mix", "", 8.0 / 3.0 + 2.0),
    ] {
        let got = stage.says(&[value, &format!("item=\"{name}\""), more, &stage.id]).await;
        assert!((got - wanted).abs() < 1e-9, "{name} {more}: {got}, not {wanted}");
    }
    let reason = ["cachewarden_item_error{", "item=\"hole\"", "reason=\"not_a_number\""];
    stage.says(&reason).await;
    let (_, page) = stage.cw.get("/metrics").await;
    assert!(!page.lines().any(|l| l.starts_with(value) && l.contains("item=\"hole\"")));

    // Under the names redis_exporter's checks have, beside each other on the instance's page.
    let (_, page) = stage.cw.get(&format!("/scrape?target={}", stage.id)).await;
    for line in [
        "redis_key_size{db=\"db0\",key=\"q\"} 3",
        "redis_keys_count{db=\"db0\",key=\"u:*\"} 2",
        "redis_stream_group_lag{db=\"db0\",stream=\"s\",group=\"billing\"} 4",
        "redis_stream_group_lag{db=\"db0\",stream=\"s\",group=\"mail\"} 4",
    ] {
        assert!(page.lines().any(|l| l == line), "{line} in {page}");
    }

    let alert = wait::until("the policy on the item fires", || async {
        let (_, alerts) = stage.cw.api("/alerts?phase=firing").await;
        alerts["items"].as_array()?.iter().find(|a| a["policy"] == "queue-long").cloned()
    })
    .await;
    assert_eq!(alert["labels"]["item"], "queue", "{alert:#}");
    assert_eq!((&alert["value"], &alert["instance"]), (&json!(3.0), &json!(stage.id)));

    let (_, list) = stage.cw.api("/items").await;
    assert_eq!(list["count"], 9, "{list:#}");
    let queue = list["items"].as_array().unwrap().iter().find(|i| i["item"]["name"] == "queue");
    assert_eq!(queue.unwrap()["with_value"], 1, "{list:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_item_is_refused_with_its_place_and_an_expensive_one_by_its_budget() {
    let stage = Stage::start(&[], json!([])).await;
    let fill = "for i = 1, 500 do redis.call('SET', 'key:' .. i, 1) end";
    stage.redis(&["EVAL", fill, "0"]);
    stage.says(&["cachewarden_instance_state{", &stage.id, "state=\"up\""]).await;
    let page = format!("/scrape?target={}", stage.id);
    wait::until("the keys are counted", || async {
        let (_, page) = stage.cw.get(&page).await;
        page.contains("redis_db_keys{db=\"db0\"} 500").then_some(())
    })
    .await;
    let scan = |keys_max: u32| json!({"scan": {"pattern": "key:*", "keys_max": keys_max}});
    for (source, more, pointer, why) in [
        (
            json!({"command": {"args": ["KEYS", "*"]}}),
            json!({}),
            "/item/source/command/args/0",
            "budget",
        ),
        (
            json!({"command": {"args": ["DEL", "a"]}}),
            json!({}),
            "/item/source/command/args/0",
            "changes data",
        ),
        (
            json!({"command": {"args": ["BLPOP", "a", "0"]}}),
            json!({}),
            "/item/source/command/args/0",
            "blocks",
        ),
        (
            json!({"script": {"lua": "while true do end"}}),
            json!({}),
            "/item/source/script/lua",
            "never end",
        ),
        (
            json!({"info": {"field": "nothing_like_it"}}),
            json!({}),
            "/item/source/info/field",
            "section",
        ),
        (json!({"expr": "{gone} + 1"}), json!({}), "/item/source/expr", "{gone}"),
        (json!({"expr": "{bad}"}), json!({}), "/item/source/expr", "circle"),
        (scan(100), json!({}), "/item/source/scan/keys_max", "holds 500 keys"),
        (scan(1_000_000), json!({}), "/item/source/scan/keys_max", "20000"),
        (llen("q"), json!({"cadence_s": 1}), "/item/cadence_s", "15 to"),
    ] {
        let (status, said) = stage.put(&item("bad", source.clone(), more), None).await;
        assert_eq!((status, &said["code"]), (422, &json!("CW-1001")), "{source}: {said:#}");
        let errors = said["errors"].as_array().unwrap();
        let found = errors.iter().any(|e| {
            e["pointer"] == pointer && e["detail"].as_str().is_some_and(|d| d.contains(why))
        });
        assert!(found, "{source}: {said:#}");
    }
    let heavy = scan(20_000);
    stage.define("heavy", heavy.clone(), json!({})).await;
    let (status, said) = stage.put(&item("heavier", heavy, json!({})), None).await;
    assert_eq!(status, 422, "{said:#}");
    assert!(said["detail"].as_str().unwrap().contains("commands a minute"), "{said:#}");
    let (_, list) = stage.cw.api("/items").await;
    assert_eq!(list["count"], 1, "nothing that was refused is saved: {list:#}");
    let sent = stage.redis(&["INFO", "commandstats"]);
    for never in ["cmdstat_keys:", "cmdstat_del:", "cmdstat_blpop:", "cmdstat_eval_ro:"] {
        assert!(!sent.contains(never), "{never} was sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_kept_restored_and_held_against_each_other() {
    let stage = Stage::start(&[], json!([])).await;
    stage.redis(&["RPUSH", "a", "1"]);
    stage.redis(&["RPUSH", "b", "1", "2"]);
    let (first, second) =
        (item("queue", llen("a"), json!({})), item("queue", llen("b"), json!({})));
    let id = id_of(&first);
    assert_eq!(stage.put(&first, None).await.0, 200);
    assert_eq!(stage.says(&["cachewarden_item_value{", "item=\"queue\""]).await, 1.0);
    let (status, said) = stage.put(&second, None).await;
    assert_eq!((status, &said["code"]), (428, &json!("CW-1411")), "{said:#}");
    let (status, said) = stage.put(&second, Some("\"7\"")).await;
    assert_eq!((status, &said["errors"][0]["rev"]), (409, &json!(1)), "{said:#}");
    let (status, said) = stage.put(&second, Some("\"1\"")).await;
    assert_eq!((status, &said["rev"]), (200, &json!(2)), "{said:#}");
    wait::until("the new definition is read", || async {
        (stage.says(&["cachewarden_item_value{", "item=\"queue\""]).await == 2.0).then_some(())
    })
    .await;
    let restore = format!("/items/{id}/restore");
    let (status, said) = stage.ask(Method::POST, &restore, &json!({"rev": 1}), None).await;
    assert_eq!((status, &said["rev"]), (200, &json!(3)), "{said:#}");
    assert_eq!(said["item"]["source"], llen("a"));
    let path = format!("/items/{id}");
    let (status, said) = stage.ask(Method::DELETE, &path, &json!({}), Some("\"3\"")).await;
    assert_eq!((status, &said["rev"]), (200, &json!(0)), "{said:#}");
    wait::until("the series ends", || async {
        let (_, page) = stage.cw.get("/metrics").await;
        (!page.contains("cachewarden_item_value{")).then_some(())
    })
    .await;
    let (_, page) = stage.cw.api(&path).await;
    let revisions = page["revisions"].as_array().unwrap();
    let told: Vec<_> =
        revisions.iter().map(|r| (r["rev"].as_i64(), r["deleted"].as_bool())).collect();
    let wanted = [(4, true), (3, false), (2, false), (1, false)];
    assert_eq!(told, wanted.map(|(rev, deleted)| (Some(rev), Some(deleted))));
    assert_eq!(revisions[3]["reason"], "test");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_run_shows_the_value_and_masks_what_the_key_holds() {
    let stage = Stage::start(&["rename-command STRLEN \"\""], json!([])).await;
    stage.redis(&["SET", "heartbeat", "1700000000"]);
    stage.redis(&["SET", "name", "customer-4711"]);
    let get = |key: &str| item("x", json!({"command": {"args": ["GET", key]}}), json!({}));
    let (status, page) = stage.test(&get("heartbeat")).await;
    assert_eq!(status, 200, "{page:#}");
    let test = &page["test"];
    assert_eq!(test["points"][0]["value"], 1_700_000_000.0, "{test:#}");
    assert_eq!((&test["masked"], &test["commands"][0]), (&json!(true), &json!("GET heartbeat")));
    assert!(test["raw"].as_str().unwrap().contains("text of 10 bytes"), "{test:#}");
    for (key, fault) in [("name", "not_a_number"), ("nothing", "path")] {
        let (_, page) = stage.test(&get(key)).await;
        assert_eq!(page["test"]["fault"], fault, "{page:#}");
        assert!(!page.to_string().contains("customer-4711"), "{page:#}");
    }
    let renamed = item("x", json!({"command": {"args": ["STRLEN", "name"]}}), json!({}));
    let (_, page) = stage.test(&renamed).await;
    assert_eq!(page["test"]["fault"], "unsupported", "{page:#}");
    let (_, list) = stage.cw.api("/items").await;
    assert_eq!(list["count"], 0, "a test saves nothing");
    let elsewhere = json!({"item": get("name"), "instance": "pay.solo@127.0.0.1:1"});
    let (status, _) = stage.ask(Method::POST, "/items/test", &elsewhere, None).await;
    assert_eq!(status, 404, "an instance outside the inventory is not dialled");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_defines_tests_and_takes_an_item_away() {
    let stage = Stage::start(&[], json!([])).await;
    stage.redis(&["RPUSH", "q", "a", "b"]);
    let file = stage.cw.dir.join("item.yaml");
    let text = "name: queue\nscope: service:pay.solo\nunit: jobs\nsource:\n  command:\n    \
                args: [LLEN, q]\n";
    std::fs::write(&file, text).unwrap();
    let token = stage.cw.token().await.to_string();
    let run = |args: &[&str]| {
        let out = Command::new(binary())
            .args(args)
            .env("CACHEWARDEN_URL", &stage.cw.url)
            .env("CACHEWARDEN_TOKEN", &token)
            .env("HOME", &stage.cw.dir)
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let file = file.to_str().unwrap();
    let (code, said) = run(&["item", "apply", "-f", file, "--dry-run"]);
    assert!(code == Some(0) && said.contains("1 of 1 instances asked"), "{said}");
    let (code, said) = run(&["item", "test", "-f", file, "--on", &stage.id]);
    assert!(code == Some(0) && said.contains("> LLEN q") && said.contains("2"), "{said}");
    let (code, said) = run(&["item", "apply", "-f", file, "--reason", "CHG-1"]);
    assert!(code == Some(0) && said.contains("revision 1"), "{said}");
    let (code, said) = run(&["item", "list"]);
    assert!(code == Some(0) && said.contains("queue@service:pay.solo"), "{said}");
    let (code, said) = run(&["item", "history", "queue@service:pay.solo"]);
    assert!(code == Some(0) && said.contains("CHG-1"), "{said}");
    std::fs::write(file, text.replace("LLEN", "DEL")).unwrap();
    let (code, said) = run(&["item", "apply", "-f", file]);
    assert!(code == Some(3) && said.contains("changes data"), "{said}");
    let (code, said) = run(&["item", "delete", "queue@service:pay.solo"]);
    assert!(code == Some(0), "{said}");
    let (code, _) = run(&["item", "delete", "queue@service:pay.solo"]);
    assert_eq!(code, Some(4));
}

/// A browser with a session: its cookie and its token.
async fn browser(stage: &Stage) -> (String, String) {
    stage.cw.token().await;
    let who = json!({"name": "test-admin", "password": "correct horse battery staple"});
    let url = format!("{}/api/v1/session", stage.cw.url);
    let answer = stage.http.post(url).json(&who).send().await.unwrap();
    let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    let cookie = cookie.to_string();
    let session: Value = answer.json().await.unwrap();
    (cookie, session["csrf"].as_str().unwrap().to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_defines_costs_tests_and_saves_an_item_without_a_script() {
    let stage = Stage::start(&[], json!([])).await;
    stage.redis(&["RPUSH", "q", "a", "b"]);
    let (cookie, csrf) = browser(&stage).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let http = http.unwrap();
    let encode = |text: &str| -> String { text.bytes().map(|b| format!("%{b:02X}")).collect() };
    let send = async |path: &str, more: &[(&str, &str)]| {
        let mut fields = vec![
            ("csrf", csrf.as_str()),
            ("name", "queue"),
            ("scope", "service:pay.solo"),
            ("kind", "gauge"),
            ("source", "command"),
            ("cadence_s", "60"),
            ("timeout_ms", "500"),
            ("enabled", "true"),
            ("on", "auto"),
        ];
        fields.extend(more);
        let pairs: Vec<String> = fields.iter().map(|(n, v)| format!("{n}={}", encode(v))).collect();
        let request = http.post(format!("{}{path}", stage.cw.url)).body(pairs.join("&"));
        let request = request
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", &cookie)
            .header("origin", &stage.cw.url);
        let answer = request.send().await.unwrap();
        let to = answer.headers().get("location").map(|l| l.to_str().unwrap().to_string());
        (answer.status().as_u16(), to, answer.text().await.unwrap())
    };
    let (status, _, page) = send("/items/check", &[("text", "LLEN q"), ("rev", "0")]).await;
    assert!(status == 200 && page.contains("1 of 1"), "{status} {page}");
    let trial = [("text", "LLEN q"), ("rev", "0"), ("instance", stage.id.as_str())];
    let (status, _, page) = send("/items/test", &trial).await;
    assert!(status == 200 && page.contains("LLEN q") && page.contains("µs"), "{status} {page}");
    let (status, _, page) = send("/items", &[("text", "DEL q"), ("rev", "0")]).await;
    assert!(status == 422 && page.contains("changes data, or may"), "{status} {page}");
    assert!(page.contains("DEL q"), "what was typed stands in the form again");
    let (status, to, page) = send("/items", &[("text", "LLEN q"), ("rev", "0")]).await;
    assert_eq!((status, to.as_deref()), (303, Some("/items/queue%40service%3Apay.solo")), "{page}");
    let (status, _, page) = send("/items", &[("text", "LLEN other"), ("rev", "0")]).await;
    assert_eq!(status, 409, "somebody else was first: {page}");
    assert_eq!(stage.says(&["cachewarden_item_value{", "item=\"queue\""]).await, 2.0);
    let url = format!("{}{}", stage.cw.url, to.unwrap());
    let page = http.get(url).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let id = "queue@service:pay.solo";
    let gone = send(&format!("/items/{id}/delete"), &[("rev", "1"), ("reason", "test")]).await;
    assert_eq!((gone.0, gone.1.as_deref()), (303, Some("/items")), "{}", gone.2);
    let back = send(&format!("/items/{id}/restore"), &[("rev", "1")]).await;
    assert_eq!(back.0, 303, "{}", back.2);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_a_key_is_asked_only_where_its_slot_is() {
    let mut fleet = RedisFleet::new();
    let nodes = fleet.cluster(5_000).await;
    let addresses: Vec<String> = nodes.iter().map(|i| fleet.nodes[*i].address.clone()).collect();
    let cw = Cachewarden::start("").await;
    cw.apply(&document(&[Listed::new("cart", "cluster", addresses)], "10m")).await;
    fleet.nodes[nodes[0]].cli(&["-c", "RPUSH", "foo", "a", "b"]);
    let http = reqwest::Client::new();
    let put = async |name: &str, args: Value| {
        let item = json!({"name": name, "scope": "service:demo.cart",
            "source": {"command": {"args": args}}});
        let url = format!("{}/api/v1/items/{}", cw.url, id_of(&item));
        let request = http.put(url).bearer_auth(cw.token().await);
        let answer = request.json(&json!({"item": item})).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let (status, said) = put("pair", json!(["EXISTS", "a", "b"])).await;
    assert!(status == 422 && said.contains("several slots"), "{said}");
    let (status, said) = put("queue", json!(["LLEN", "foo"])).await;
    assert_eq!(status, 200, "{said}");
    assert_eq!(says(&cw, &["cachewarden_item_value{", "item=\"queue\""]).await, 2.0);
    // Every node has been polled with the item by then.
    let (status, said) = put("everywhere", json!(["DBSIZE"])).await;
    assert_eq!(status, 200, "{said}");
    wait::until("all masters read the second item", || async {
        let (_, page) = cw.get("/metrics").await;
        let lines = page.lines().filter(|l| l.contains("item=\"everywhere\""));
        (lines.count() == 3).then_some(())
    })
    .await;
    let (_, page) = cw.get("/metrics").await;
    let lines: Vec<&str> = page.lines().filter(|l| l.contains("item=\"queue\"")).collect();
    assert_eq!(lines.len(), 1, "{lines:#?}");
}

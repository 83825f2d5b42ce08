//! Score policies on a real server: what a preview says is what the score becomes; what is refused,
//! and with which reason; revisions, locks, signatures; a guessed profile and its confirmation.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::process::Command;

use reqwest::Method;
use serde_json::{Value, json};
use tests::fleet::{RedisFleet, ZONES};
use tests::process::{Cachewarden, binary, inventory};
use tests::wait;

/// How far a live score may lie from a previewed one: memory moves by itself.
const NEAR: f64 = 0.5;

/// A process that watches one server of `pay.solo`, filled to 88 % of its maxmemory.
struct Stage {
    fleet: RedisFleet,
    cw: Cachewarden,
    id: String,
    http: reqwest::Client,
}

impl Stage {
    async fn start() -> Stage {
        let mut fleet = RedisFleet::new();
        fleet.node(ZONES[0], &[]).await;
        let cw = Cachewarden::start("").await;
        let address = fleet.nodes[0].address.clone();
        let solo = json!({"id": "solo", "system": "shop",
            "instances": [{"address": address, "zone": "az-1"}]});
        cw.apply(&inventory(json!([solo]))).await;
        let id = format!("pay.solo@{address}");
        let stage = Stage { fleet, cw, id, http: reqwest::Client::new() };
        stage.redis(&["SETRANGE", "ballast", "67108864", "x"]);
        let used = stage.redis(&["INFO", "memory"]);
        let used = used.lines().find_map(|l| l.strip_prefix("used_memory:")).unwrap();
        let limit = used.trim().parse::<f64>().unwrap() / 0.88;
        stage.redis(&["CONFIG", "SET", "maxmemory", &format!("{limit:.0}")]);
        stage.bar("M1", |bar| (bar["loss"].as_f64()? - 52.0).abs().lt(&4.0).then_some(())).await;
        stage
    }

    fn redis(&self, args: &[&str]) -> String {
        self.fleet.nodes[0].cli(args)
    }

    /// Waits until a signal of the instance loses as `wanted` says.
    async fn bar<T>(&self, signal: &str, wanted: impl Fn(&Value) -> Option<T>) -> T {
        wait::until(&format!("{signal} loses as wanted"), || async {
            let health = self.health().await;
            let bars = health["bars"].as_array()?;
            wanted(bars.iter().find(|b| b["signal"] == signal)?)
        })
        .await
    }

    async fn health(&self) -> Value {
        let (_, page) = self.cw.api(&format!("/instances/{}/health", self.id)).await;
        page
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}/api/v1{path}", self.cw.url);
        let request = self.http.request(method, url).bearer_auth(self.cw.token().await);
        let answer = request.header("if-match", "*").json(body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn preview(&self, doc: &Value) -> Value {
        let (status, page) =
            self.ask(Method::POST, "/score-policies/preview", &json!({ "doc": doc })).await;
        assert_eq!(status, 200, "{page:#}");
        page["preview"].clone()
    }

    /// Saves with that preview.
    async fn put(&self, doc: &Value, preview: &Value, sign: bool) -> (u16, Value) {
        let body = json!({
            "doc": doc, "reason": "CHG-1", "preview": preview["hash"], "sign": sign,
        });
        let scope = doc["scope"].as_str().unwrap();
        self.ask(Method::PUT, &format!("/score-policies/{scope}"), &body).await
    }

    /// Switches off for the platform, as revision 1, what a fresh server on a busy machine does by
    /// itself, so that two scores of different moments can be compared.
    async fn quiet(&self) {
        let until = model::At::from_ms(self.now_ms().await + 86_400_000);
        let noisy = ["A2", "A6", "M4", "M7", "C3", "S1", "S2", "S3", "S4", "S5", "S6", "S7"];
        let off = |signal: &str| (signal.to_string(), json!({"reason": "test", "until": until}));
        let off: serde_json::Map<String, Value> = noisy.into_iter().map(off).collect();
        assert_eq!(self.save(&json!({"scope": "platform", "off": off})).await, 1);
        wait::until("revision 1 is in force", || async {
            (self.health().await["policy"]["revision"] == 1).then_some(())
        })
        .await;
    }

    /// Previews and saves; answers the revision.
    async fn save(&self, doc: &Value) -> i64 {
        let preview = self.preview(doc).await;
        let (status, page) = self.put(doc, &preview, false).await;
        assert_eq!(status, 200, "{page:#}");
        page["rev"].as_i64().unwrap()
    }
}

fn m1(knots: Value) -> Value {
    json!({"scope": "tenant:pay", "curves": {"M1": knots}})
}

/// Stricter than the built-in curve, within what needs no signature.
fn strict() -> Value {
    m1(json!([[0.70, 0.0], [0.80, 25.0], [0.90, 70.0], [0.95, 90.0], [1.0, 100.0]]))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_policy_changes_the_real_score_as_the_preview_said() {
    let stage = Stage::start().await;
    let before = stage.health().await;
    assert_eq!(before["policy"], json!({"profile": "store", "revision": 0}));
    stage.quiet().await;
    let preview = stage.preview(&strict()).await;
    let line = &preview["services"][0];
    assert_eq!((&preview["flaws"], &line["service"]), (&json!([]), &json!("pay.solo")));
    let (old, new) = (&line["score_before"], line["score_after"].as_f64().unwrap());
    // 61 points of loss for 52, and memory weighs 0.25 of the 0.80 that is not switched off.
    assert!((old.as_f64().unwrap() - new - 2.81).abs() < NEAR, "{line:#}");
    assert!(line["moments"].as_u64().unwrap() >= 1, "{line:#}");
    assert!(preview["note"].as_str().unwrap().contains("in memory"), "{preview:#}");
    let now = stage.health().await;
    assert_eq!(now["policy"]["revision"], 1, "a preview changes nothing");

    let (status, page) = stage.put(&strict(), &preview, false).await;
    assert_eq!((status, &page["rev"]), (200, &json!(2)), "{page:#}");
    let bar = stage
        .bar("M1", |bar| (bar["threshold"]["origin"] == "tenant pay, rev 2").then(|| bar.clone()));
    assert_eq!(bar.await["threshold"]["at"], 0.7);
    let after = stage.health().await;
    assert_eq!(after["policy"], json!({"profile": "store", "revision": 2}));
    let score = after["score"].as_f64().unwrap();
    assert!((score - new).abs() < NEAR, "{score}, previewed {new}");
    let rolled = wait::until("the service follows", || async {
        let (_, page) = stage.cw.api("/services/pay.solo/health").await;
        (page["policy"]["revision"] == 2).then(|| page["score"].as_f64())?
    });
    assert!((rolled.await - new).abs() < NEAR);

    let (_, page) = stage.cw.api("/score-policies/service:pay.solo").await;
    let field = page["effective"].as_array().unwrap().iter().find(|f| f["field"] == "curves.M1");
    assert_eq!(field.unwrap()["origin"], "tenant pay, rev 2");
    let (_, list) = stage.cw.api("/score-policies?in=pay").await;
    let mine = list["items"].as_array().unwrap().iter().find(|i| i["id"] == "tenant:pay");
    assert_eq!(mine.unwrap()["fields"], json!(["curves.M1"]), "{list:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switched_off_signal_and_a_required_replica_are_in_force_and_named() {
    let stage = Stage::start().await;
    stage.quiet().await;
    let doc = json!({
        "scope": "service:pay.solo", "required": {"replicas": 1},
        "off": {"M3": {"reason": "CHG-9", "until": "2099-01-01T00:00:00Z"}},
    });
    let preview = stage.preview(&doc).await;
    assert_eq!(preview["flaws"][0]["pointer"], "/off/M3/until", "{preview:#}");
    let soon = model::At::from_ms(stage.now_ms().await + 86_400_000).to_string();
    let mut doc = doc;
    doc["off"]["M3"]["until"] = soon.into();
    let preview = stage.preview(&doc).await;
    let after = preview["services"][0]["score_after"].as_f64().unwrap();
    let (status, page) = stage.put(&doc, &preview, false).await;
    assert_eq!(status, 200, "{page:#}");
    stage.bar("A5", |bar| (bar["loss"] == 70.0).then_some(())).await;
    let health = stage.health().await;
    let off = health["switched_off"].as_array().unwrap().iter().find(|s| s["signal"] == "M3");
    let why = off.unwrap_or_else(|| panic!("{health:#}"))["why"].as_str().unwrap();
    assert!(why.contains("CHG-9") && why.contains("service pay.solo, rev 2"), "{why}");
    wait::until("the service is scored with the missing replica", || async {
        let (_, page) = stage.cw.api("/services/pay.solo/health").await;
        let score = page["score"].as_f64()?;
        ((score - after).abs() < NEAR).then_some(())
    })
    .await;
}

impl Stage {
    /// The time as the process has it.
    async fn now_ms(&self) -> i64 {
        let (_, page) = self.cw.api("/score-policies/platform").await;
        model::At::parse(page["as_of"].as_str().unwrap()).unwrap().ms()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_saved_unpreviewed_unsigned_or_on_a_stale_preview() {
    let stage = Stage::start().await;
    let (status, said) = stage.put(&strict(), &Value::Null, false).await;
    assert_eq!(status, 422, "a hash is text: {said:#}");
    let (status, said) = stage.put(&strict(), &json!({"hash": ""}), false).await;
    assert_eq!((status, &said["code"]), (409, &json!("CW-1400")), "{said:#}");
    let fresh = said["errors"][0]["preview"].clone();
    assert_eq!(fresh["services"][0]["service"], "pay.solo", "the list is shown: {said:#}");

    let falling = m1(json!([[0.7, 0.0], [0.8, 25.0], [0.9, 20.0], [1.0, 100.0]]));
    let weights = json!({"scope": "tenant:pay", "weights":
        {"availability": 0.4, "memory": 0.25, "connections": 0.15, "slowlog": 0.21}});
    let far = m1(json!([[0.7, 0.0], [0.8, 40.0], [0.9, 60.0], [0.95, 85.0], [1.0, 100.0]]));
    for (doc, pointer, why) in [
        (&falling, "/doc/curves/M1/2", "not fall"),
        (&weights, "/doc/weights", "sum to 1"),
        (&far, "/doc/curves/M1/1", "system administrator"),
    ] {
        let preview = stage.preview(doc).await;
        let (status, said) = stage.put(doc, &preview, false).await;
        assert_eq!((status, &said["code"]), (422, &json!("CW-1001")), "{said:#}");
        let errors = said["errors"].as_array().unwrap();
        let named = errors.iter().any(|e| {
            e["pointer"] == pointer && e["detail"].as_str().is_some_and(|d| d.contains(why))
        });
        assert!(named, "{pointer}: {said:#}");
    }
    let preview = stage.preview(&far).await;
    let (status, page) = stage.put(&far, &preview, true).await;
    assert_eq!(status, 200, "{page:#}");
    assert_eq!(page["revisions"][0]["approver"], "local/test-admin", "{page:#}");

    let (status, said) = stage.put(&strict(), &fresh, false).await;
    assert_eq!(status, 409, "another revision came between: {said:#}");
    let again = &said["errors"][0]["preview"];
    let (status, page) = stage.put(&strict(), again, false).await;
    assert_eq!((status, &page["rev"]), (200, &json!(2)), "{page:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn revisions_are_kept_and_restored_and_a_lock_holds_below() {
    let stage = Stage::start().await;
    let mut locked = strict();
    locked["locked"] = json!(["curves"]);
    assert_eq!(stage.save(&locked).await, 1);
    let loose = json!({"scope": "service:pay.solo", "curves": {"M1":
        [[0.75, 0.0], [0.80, 20.0], [0.90, 60.0], [0.95, 85.0], [1.0, 100.0]]}});
    let preview = stage.preview(&loose).await;
    let flaw = &preview["flaws"][0];
    assert_eq!((&flaw["pointer"], &flaw["signable"]), (&json!("/curves/M1"), &json!(false)));
    assert!(flaw["detail"].as_str().unwrap().contains("tenant pay, rev 1 locks"), "{flaw:#}");
    assert_eq!(stage.put(&loose, &preview, true).await.0, 422, "no signature opens a lock");

    assert_eq!(stage.save(&json!({"scope": "tenant:pay"})).await, 2, "an empty one inherits");
    stage.bar("M1", |bar| (bar["threshold"]["origin"] == "profile store").then_some(())).await;
    let hash = stage.preview(&locked).await["hash"].clone();
    let body = json!({"rev": 1, "reason": "back", "preview": hash});
    let (status, page) = stage.ask(Method::POST, "/score-policies/tenant:pay/restore", &body).await;
    assert_eq!((status, &page["rev"], &page["doc"]), (200, &json!(3), &locked), "{page:#}");
    let (_, all) = stage.cw.api("/score-policies/tenant:pay/revisions").await;
    let told: Vec<_> = all["items"].as_array().unwrap().iter().map(|r| r["rev"].as_i64()).collect();
    assert_eq!(told, [Some(3), Some(2), Some(1)]);
    let (_, trail) = stage.cw.api("/audit?limit=50").await;
    let changes = trail["items"].as_array().unwrap().iter();
    assert_eq!(changes.filter(|r| r["action"] == "score_policy.put").count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_previews_saves_restores_and_prints() {
    let stage = Stage::start().await;
    let file = stage.cw.dir.join("policy.yaml");
    let text = "scope: tenant:pay\nslowlog_limit_ms: 5\nrequired:\n  persistence: false\n";
    std::fs::write(&file, text).unwrap();
    let token = stage.cw.token().await.to_string();
    let run = |args: &[&str]| {
        let out = Command::new(binary())
            .arg("score-policy")
            .args(args)
            .env("CACHEWARDEN_URL", &stage.cw.url)
            .env("CACHEWARDEN_TOKEN", &token)
            .env("HOME", &stage.cw.dir)
            .output()
            .unwrap();
        let said = [out.stdout, out.stderr].concat();
        (out.status.code(), String::from_utf8_lossy(&said).into_owned())
    };
    let path = file.to_str().unwrap();
    let (code, said) = run(&["apply", "-f", path, "--dry-run"]);
    assert!(code == Some(0) && said.contains("pay.solo"), "{code:?} {said}");
    let (code, said) = run(&["apply", "-f", path, "--reason", "CHG-2"]);
    assert!(code == Some(0) && said.contains("revision 1"), "{code:?} {said}");
    let (_, said) = run(&["get", "service:pay.solo"]);
    let line = said.lines().find(|l| l.starts_with("slowlog_limit_ms")).unwrap();
    assert!(line.contains('5') && line.contains("tenant pay, rev 1"), "{line}");
    std::fs::write(&file, "scope: tenant:pay\nslo:\n  target: 1.5\n").unwrap();
    let (code, said) = run(&["apply", "-f", path, "--dry-run"]);
    assert!(code == Some(3) && said.contains("/slo/target"), "{code:?} {said}");
    std::fs::write(&file, "scope: tenant:pay\nextends: platform\n").unwrap();
    let (code, said) = run(&["apply", "-f", path, "--dry-run"]);
    assert!(code == Some(2) && said.contains("extends"), "{code:?} {said}");
    std::fs::write(&file, "scope: tenant:pay\n").unwrap();
    assert_eq!(run(&["apply", "-f", path, "--reason", "none"]).0, Some(0));
    let (code, said) = run(&["restore", "tenant:pay", "1", "--reason", "back"]);
    assert!(code == Some(0) && said.contains("revision 3"), "{code:?} {said}");
    let (_, said) = run(&["revisions", "tenant:pay"]);
    assert!(said.contains("CHG-2") && said.contains("back"), "{said}");
    let (_, said) = run(&["list"]);
    assert!(said.contains("required.persistence slowlog_limit_ms"), "{said}");
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
async fn the_page_previews_signs_and_saves_without_a_script() {
    let stage = Stage::start().await;
    let (cookie, csrf) = browser(&stage).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let http = http.unwrap();
    let encode = |text: &str| -> String { text.bytes().map(|b| format!("%{b:02X}")).collect() };
    let send = async |path: &str, more: &[(&str, &str)]| {
        let mut fields = vec![("csrf", csrf.as_str()), ("scope", "tenant:pay")];
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
    let hash = |page: &str| {
        let rest =
            page.split("name=\"preview\" value=\"").nth(1).unwrap_or_else(|| panic!("{page}"));
        rest.split('"').next().unwrap().to_string()
    };
    let near = ("curves", "M1: 0.7 0, 0.8 25, 0.9 70, 0.95 90, 1 100");
    let (status, _, page) = send("/score-policies/preview", &[near]).await;
    assert!(status == 200 && page.contains("pay.solo"), "{status} {page}");
    let (first, reason) = (hash(&page), ("reason", "CHG-3"));
    let (status, _, page) = send("/score-policies", &[near, reason, ("preview", "1-old")]).await;
    assert!(status == 409 && page.contains("M1: 0.7 0, 0.8 25"), "what was typed stands: {page}");
    let (status, to, page) = send("/score-policies", &[near, reason, ("preview", &first)]).await;
    assert_eq!((status, to.as_deref()), (303, Some("/score-policies/tenant%3Apay")), "{page}");
    let far = ("curves", "M1: 0.7 0, 0.8 40, 0.9 60, 0.95 85, 1 100");
    let (status, _, page) = send("/score-policies/preview", &[far]).await;
    assert!(status == 200 && page.contains("system administrator"), "{status} {page}");
    let hash = hash(&page);
    let (status, _, page) = send("/score-policies", &[far, reason, ("preview", &hash)]).await;
    assert!(status == 422 && page.contains("/curves/M1/1"), "{status} {page}");
    let signed = [far, reason, ("preview", &hash), ("sign", "true")];
    let (status, _, page) = send("/score-policies", &signed).await;
    assert_eq!(status, 303, "{page}");
    let url = format!("{}/score-policies/tenant:pay?from=1&lang=zh-CN", stage.cw.url);
    let old = http.get(url).header("cookie", &cookie).send().await.unwrap().text().await.unwrap();
    assert!(old.contains("M1: 0.7 0, 0.8 25") && old.contains("local/test-admin"), "{old}");
    let (status, to, page) = send("/services/pay.solo/profile", &[("profile", "queue")]).await;
    assert_eq!(
        (status, to.as_deref()),
        (303, Some("/score-policies/service%3Apay.solo")),
        "{page}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adopted_service_has_a_guessed_profile_until_it_is_confirmed() {
    let mut fleet = RedisFleet::new();
    fleet.node(ZONES[0], &["maxmemory 100mb", "maxmemory-policy allkeys-lru"]).await;
    let cw = Cachewarden::start("").await;
    cw.apply(&inventory(json!([]))).await;
    let seed = fleet.nodes[0].address.clone();
    let body = json!({"tenant": "pay", "system": "shop", "service": "views", "seeds": [seed]});
    let (status, said) = cw.post("/services/adopt", &body).await;
    assert_eq!(status, 200, "{said:#}");
    let path = "/score-policies/service:pay.views";
    let (_, page) = cw.api(path).await;
    let told = (&page["profile"], &page["profile_from"]);
    assert_eq!(told, (&json!("cache"), &json!("guessed")), "{page:#}");
    let http = reqwest::Client::new();
    let url = format!("{}/api/v1/services/pay.views/profile", cw.url);
    let put = http.put(url).bearer_auth(cw.token().await).json(&json!({"profile": "session"}));
    assert_eq!(put.send().await.unwrap().status(), 200);
    let (_, page) = cw.api(path).await;
    let told = (&page["profile"], &page["profile_from"]);
    assert_eq!(told, (&json!("session"), &json!("given")), "{page:#}");
    // Adopting it again does not guess over what was said.
    let (status, said) = cw.post("/services/adopt", &body).await;
    assert_eq!(status, 200, "{said:#}");
    assert_eq!(cw.api(path).await.1["profile"], "session");
}

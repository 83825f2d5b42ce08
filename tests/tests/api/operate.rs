//! Operations through forms and API on a real Sentinel service: look, confirm, start once.

use std::io::BufRead;

use serde_json::{Value, json};
use tests::fleet::RedisFleet;
use tests::process::{Cachewarden, inventory};
use tests::wait;

use crate::world::{Answer, answered};

/// A fleet, the process that watches it, and a signed-in browser.
struct Desk {
    fleet: RedisFleet,
    cw: Cachewarden,
    http: reqwest::Client,
    cookie: String,
    csrf: String,
}

async fn desk() -> Desk {
    let mut fleet = RedisFleet::new();
    let made = fleet.sentinel("duo", 5_000).await;
    let listed = |i: &usize, kind: &str| {
        let zone = format!("az-{}", 1 + i % 3);
        json!({ "address": fleet.nodes[*i].address, "kind": kind, "zone": zone })
    };
    let data = [&[made.master][..], &made.replicas].concat();
    let mut instances: Vec<Value> = data.iter().map(|i| listed(i, "redis")).collect();
    instances.extend(made.sentinels.iter().map(|i| listed(i, "sentinel")));
    let cw = Cachewarden::start("").await;
    cw.apply(&inventory(json!([{
        "id": "duo", "system": "shop", "managed": true, "mode": "sentinel",
        "sentinel": { "master_name": "duo" }, "instances": instances,
    }])))
    .await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
    let http = http.unwrap();
    let body = json!({ "name": "test-admin", "password": "correct horse battery staple" });
    let signed_in = answered(http.post(format!("{}/api/v1/session", cw.url)).json(&body)).await;
    let cookie = format!("__Host-cw={}", signed_in.cookie().unwrap());
    let csrf = signed_in.json()["csrf"].as_str().unwrap().to_string();
    Desk { fleet, cw, http, cookie, csrf }
}

impl Desk {
    async fn form(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let encode = |v: &str| v.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        let mut body = vec![format!("csrf={}", self.csrf)];
        body.extend(fields.iter().map(|(k, v)| format!("{k}={}", encode(v))));
        let request = self.http.post(format!("{}{path}", self.cw.url));
        let request = request.header("cookie", &self.cookie).header("origin", &self.cw.url);
        let kind = "application/x-www-form-urlencoded";
        answered(request.header("content-type", kind).body(body.join("&"))).await
    }

    /// Makes the plan as the page does; answers its hash once it can be made.
    async fn hash(&self) -> String {
        wait::until("a plan", || async {
            let fields = [("kind", "switchover"), ("service", "pay.duo")];
            let page = self.form("/operations/plans", &fields).await;
            let at = page.text.find("name=\"plan\" value=\"")? + 19;
            (page.status == 200).then(|| page.text[at..at + 64].to_string())
        })
        .await
    }

    async fn count(&self) -> i64 {
        self.cw.api("/operations").await.1["count"].as_i64().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switchover_is_planned_confirmed_and_started_once_by_forms() {
    let desk = desk().await;
    let actions = wait::until("replicas that may be promoted", || async {
        let (_, page) = desk.cw.api("/services/pay.duo").await;
        let actions = page["actions"].as_array()?.clone();
        (actions.len() == 2).then_some(actions)
    })
    .await;
    assert_eq!(actions[0]["kind"], "switchover");
    let hash = desk.hash().await;
    let start = |confirm: &'static str| {
        let fields = [
            ("plan", hash.clone()),
            ("confirm", confirm.into()),
            ("reason", "drill".into()),
            ("idem_key", "once".into()),
        ];
        let desk = &desk;
        async move {
            let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (*k, v.as_str())).collect();
            desk.form("/operations", &fields).await
        }
    };
    let wrong = start("pay.du").await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
    assert!(wrong.text.contains(&hash), "the plan is shown again");
    assert_eq!(desk.count().await, 0);
    let started = start("pay.duo").await;
    assert_eq!(started.status, 303, "{}", started.text);
    let to = started.headers["location"].to_str().unwrap().to_string();
    assert_eq!(start("pay.duo").await.headers["location"], to.as_str(), "sent twice, started once");
    assert_eq!(desk.count().await, 1);
    left_alone(&desk, to.trim_start_matches("/operations/")).await;
    // Steering waits for Sentinels' own pace, verifying for the Board.
    let patience = std::time::Duration::from_secs(180);
    let ended = wait::until_within("its end", patience, || async {
        let (_, page) = desk.cw.api(&to).await;
        let state = page["operation"]["state"].as_str()?.to_string();
        ["done", "refused", "unwound", "stuck"].contains(&state.as_str()).then_some(page)
    })
    .await;
    assert_eq!(ended["operation"]["state"], "done", "{:#}", ended["events"]);
    assert!(!desk.fleet.nodes[0].is_master(), "another node is the master");
    let page = desk.http.get(format!("{}{to}", desk.cw.url)).header("cookie", &desk.cookie);
    let page = answered(page).await;
    assert!(page.status == 200 && page.text.contains("drill"), "{}", page.text);
}

/// Follows the operation with the command line and leaves by Ctrl-C: it goes on without it.
async fn left_alone(desk: &Desk, id: &str) {
    let mut watch = std::process::Command::new(tests::process::binary())
        .args(["op", "watch", id])
        .env("CACHEWARDEN_URL", &desk.cw.url)
        .env("CACHEWARDEN_TOKEN", desk.cw.token().await)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(watch.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    let sent = std::process::Command::new("kill").args(["-INT", &watch.id().to_string()]).status();
    assert!(sent.unwrap().success());
    let ended = watch.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{said}");
    assert!(said.contains(&format!("cachewarden op watch {id}")), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_made_before_a_failover_is_answered_with_the_new_one_and_nothing_is_sent() {
    let desk = desk().await;
    let hash = desk.hash().await;
    // The world moves without us.
    let sentinel = desk.fleet.nodes.iter().rev().find(|n| n.info("server").contains("sentinel"));
    sentinel.unwrap().cli(&["SENTINEL", "FAILOVER", "duo"]);
    wait::until("the failover", || async { (!desk.fleet.nodes[0].is_master()).then_some(()) })
        .await;
    let body = json!({ "plan": hash, "confirm": "pay.duo", "reason": "drill" });
    let moved = wait::until("a plan of the new world", || async {
        let request = desk.http.post(format!("{}/api/v1/operations", desk.cw.url));
        let answer = answered(request.bearer_auth(desk.cw.token().await).json(&body)).await;
        assert_eq!(answer.status, 409, "{}", answer.text);
        (answer.code() == "CW-1401").then_some(answer)
    })
    .await;
    let inside = &moved.json()["errors"][0];
    assert!(inside["plan"].is_object() && inside["hash"] != hash.as_str(), "{inside}");
    assert_eq!(desk.count().await, 0);
}

//! The world around the running program breaks, not the program: it freezes, is told to stop, its
//! disk fills up, its Alertmanager is away or repeats itself, servers hang or lie. What was promised
//! then is asked of the servers, of a real Alertmanager and of the API.
#![cfg(feature = "fault")]

use model::operation::{OperationState, StepState};
use model::view::IncidentPage;
use ops::provider::{Line, NodeKind};
use serde_json::{Value, json};
use tests::alertmanager::{Alertmanager, Sink, text};
use tests::disk::SmallDisk;
use tests::inventory::{Listed, document};
use tests::load::Load;
use tests::nodes::{self, Nodes, call, calls};
use tests::stage::{SERVICE, Stage, info_period};
use tests::wait;
use tests::warden::{Setup, Warden};

const WRITERS: usize = 2;
/// A restarted node must be up that long: the shortest time allowed.
const OPS: &str = "[ops]\nup_for_s = 5";

fn alertmanager_section(am: &Alertmanager) -> String {
    format!("[alerter]\nresend_s = 5\n[[alerter.alertmanager]]\nurl = \"{}\"\n", am.url())
}

/// A switchover that hangs at `point` under load.
async fn hung_at(stage: &Stage, point: &str) -> (Load, String, String) {
    let master = stage.master().await;
    let load = Load::start(stage.find(&master), WRITERS).await;
    let plan = stage.plan(&master).await;
    stage.warden.arm(&format!("{point}:hang"));
    let id = stage.warden.begin(&plan, point).await.expect("it answers");
    wait::until("it hangs", || async { stage.warden.log().contains(point).then_some(()) }).await;
    (load, id, master)
}

/// The operation ended well, once, and says so when something may be lost.
async fn ended_well(stage: &Stage, load: Load, id: &str, (old, epochs): (&str, Vec<u64>)) {
    let page = stage.warden.over(id).await;
    assert_eq!(page.operation.state, OperationState::Done, "{page:#?}");
    load.goes_on().await;
    let lost = load.stop().await.lost().await.len();
    let outcome = &page.operation.outcome;
    let told = outcome["bytes_possibly_lost"].as_f64().unwrap_or(0.0) > 0.0
        || outcome["loss_unknown"] == true;
    assert!(lost == 0 || told, "{lost} lost in silence: {page:#?}");
    assert_eq!(stage.master().await, stage.target(old));
    for (now, then) in stage.epochs().await.iter().zip(&epochs) {
        assert_eq!(*now, then + 1, "one failover");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_frozen_under_the_pause_beyond_its_lease_ends_its_operation_once() {
    let stage = Stage::new("sentinel").await;
    for point in ["switchover.fence.paused:after", "switchover.fence.promoted:after"] {
        let epochs = stage.epochs().await;
        let (load, id, old) = hung_at(&stage, point).await;
        stage.warden.signal("STOP");
        stage.warden.disarm();
        // The pause ends without us.
        load.goes_on().await;
        wait::until("its lease is over", || async {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let now = now.expect("after 1970").as_millis() as i64;
            (stage.count("SELECT max(lease_until) FROM operation").await < now).then_some(())
        })
        .await;
        stage.warden.signal("CONT");
        ended_well(&stage, load, &id, (&old, epochs)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_told_to_stop_under_the_pause_ends_the_step_and_leaves_the_rest_to_the_next() {
    let mut stage = Stage::new("sentinel").await;
    let epochs = stage.epochs().await;
    let (load, id, old) = hung_at(&stage, "switchover.fence.paused:after").await;
    stage.warden.signal("TERM");
    wait::until("it heard", || async { stage.warden.log().contains("stopping").then_some(()) })
        .await;
    stage.warden.disarm();
    let status = stage.warden.ended().await;
    assert_eq!(status.code(), Some(0), "{}", stage.warden.tail());
    load.goes_on().await;
    assert_eq!(stage.master().await, stage.target(&old), "the step was ended");
    assert_eq!(stage.count("SELECT count(*) FROM operation WHERE lease_until > 0").await, 0);
    stage.warden.start_again().await;
    let page = stage.warden.over(&id).await;
    let fence = page.steps.iter().find(|s| s.kind == "fence").expect("a switchover has it");
    assert_eq!((fence.attempt, fence.state), (1, StepState::Done));
    assert!(page.operation.outcome["loss_unknown"].is_null(), "{:#?}", page.operation);
    ended_well(&stage, load, &id, (&old, epochs)).await;
}

/// Commands that change a server's role, settings or clients, since the statistics were reset.
async fn changes(addresses: &[String]) -> u64 {
    let mut sum = 0;
    for address in addresses {
        for command in ["replicaof", "client|pause", "client|kill", "config|rewrite", "set"] {
            sum += calls(address, command).await;
        }
    }
    sum
}

/// Takes the pages of the log that exist already: changes until none fits.
async fn exhaust(warden: &Warden) -> Value {
    let mut n = 0;
    wait::until("a change is refused", || {
        n += 1;
        let owner = format!("{n}-{}", "x".repeat(60_000));
        async move {
            let tenants = json!([{
                "id": "demo", "networks": ["127.0.0.0/8"],
                "systems": [{"id": "shop", "owner": owner}],
            }]);
            let answer = warden.post("/apply", &json!({"version": 1, "tenants": tenants})).await;
            (answer.status >= 300).then_some(json!([answer.status, answer.body["code"]]))
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_full_disk_nothing_is_sent_alerts_go_out_and_it_heals_by_itself() {
    let Some(disk) = SmallDisk::mount() else { return };
    let nodes = Nodes::new();
    let data = nodes.replicated(1, &[]).await;
    let lone = nodes.node(2, NodeKind::Data, vec![Line::new("save", [""])]).await;
    let mut am = Alertmanager::prepare(None);
    am.start().await;
    let sections = format!("{}{}", alertmanager_section(&am), nodes.section());
    let store = Some(disk.dir().to_path_buf());
    let warden = Warden::start(Setup { store, sections }).await;
    let cart = Listed::new("cart", "standalone", data.clone());
    let listed = [cart, Listed::new("lone", "standalone", vec![lone.clone()])];
    warden.apply(&document(&listed, "0s")).await;
    let target = format!("{SERVICE}@{}", data[1]);
    let params = json!({"target": target, "discovery": "none_needed"});
    let plan = warden.plan("switchover", SERVICE, &params).await.expect("a plan");
    for address in &data {
        call(address, &["CONFIG", "RESETSTAT"]).await.expect("it answers");
    }

    disk.fill();
    assert_eq!(exhaust(&warden).await, json!([503, "CW-1501"]));
    let start = Warden::start_of(&plan);
    let key = [("idempotency-key", "while it was full")];
    let refused = warden.try_post("/operations", &start, &key).await.expect("it answers");
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("CW-1501")), "{refused:?}");
    // Watching and telling go on.
    nodes.kill(&lone).await;
    wait::until("Alertmanager hears of the dead node", || async {
        am.active().await.contains(&"RedisDown".to_string()).then_some(())
    })
    .await;
    let up = format!("redis_up{{instance=\"demo.lone@{lone}\"");
    let page = warden.page(&format!("/scrape?target=demo.lone@{lone}")).await.expect("a page");
    assert!(page.contains("redis_up 0") || page.contains(&up), "{page}");
    assert_eq!(changes(&data).await, 0, "something was sent without a record");
    assert_eq!(warden.items("/operations").await.len(), 0);

    disk.free();
    let id = wait::until("changes are taken again", || async {
        let answer = warden.try_post("/operations", &start, &key).await?;
        assert!([201, 503].contains(&answer.status), "{answer:?}");
        (answer.status == 201).then(|| text(&answer.body["id"]))
    })
    .await;
    let page = warden.over(&id).await;
    assert_eq!(page.operation.state, OperationState::Done, "{page:#?}");
    let report = warden.post("/audit/verify", &json!({})).await.body.to_string();
    let (all, fine) =
        (report.matches("\"fault\":").count(), report.matches("\"fault\":null").count());
    assert_eq!(all, fine, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fills_up_under_an_operation_ends_nothing_but_the_step_it_is_in() {
    let Some(disk) = SmallDisk::mount() else { return };
    let nodes = Nodes::new();
    let data = nodes.replicated(1, &[]).await;
    let store = Some(disk.dir().to_path_buf());
    let warden = Warden::start(Setup { store, sections: nodes.section() }).await;
    let cart = Listed::new("cart", "standalone", data.clone());
    warden.apply(&document(&[cart], "10m")).await;
    for address in &data {
        call(address, &["CONFIG", "RESETSTAT"]).await.expect("it answers");
    }
    let params = json!({"target": format!("{SERVICE}@{}", data[1]), "discovery": "none_needed"});
    let plan = warden.plan("switchover", SERVICE, &params).await.expect("a plan");
    warden.arm("switchover.drain:before:hang");
    let id = warden.begin(&plan, "under a full disk").await.expect("it answers");
    wait::until("it hangs", || async { warden.log().contains("drain:before").then_some(()) }).await;
    disk.fill();
    exhaust(&warden).await;
    // Its intent is committed, so the step may act while the lease lasts; its outcome cannot be told.
    warden.disarm();
    wait::until("the run is given up", || async {
        warden.log().contains("run given up").then_some(())
    })
    .await;
    assert!(calls(&data[1], "replicaof").await <= 1);
    assert_eq!(calls(&data[0], "config|rewrite").await, 0, "nothing behind it did");
    let page = warden.operation(&id).await;
    assert_eq!(page.operation.state, OperationState::Running, "the store knows no better");
    disk.free();
    let page = warden.over(&id).await;
    assert_eq!(page.operation.state, OperationState::Done, "{page:#?}");
    assert_eq!(calls(&data[1], "replicaof").await, 1, "once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fires_and_resolves_while_alertmanager_is_away_arrives_also_over_a_crash() {
    let mut am = Alertmanager::prepare(None);
    let nodes = Nodes::new();
    let quiet = || vec![Line::new("save", [""])];
    let (a, b) = (
        nodes.node(0, NodeKind::Data, quiet()).await,
        nodes.node(1, NodeKind::Data, quiet()).await,
    );
    let sections = format!("{}{}", alertmanager_section(&am), nodes.section());
    let mut warden = Warden::start(Setup { sections, ..Setup::default() }).await;
    let lone = |id: &str, a: &String| Listed::new(id, "standalone", vec![a.clone()]);
    warden.apply(&document(&[lone("one", &a), lone("two", &b)], "0s")).await;
    nodes.kill(&a).await;
    nodes.kill(&b).await;
    let phases = async |wanted: [&str; 2]| {
        wait::until(&format!("the alerts are {wanted:?}"), || async {
            let alerts = warden.items("/alerts").await;
            let down: Vec<_> = alerts.iter().filter(|x| x["alertname"] == "RedisDown").collect();
            let phase = |node: &str| {
                let found = down.iter().find(|x| text(&x["instance"]).ends_with(node));
                found.map(|x| text(&x["phase"])).unwrap_or_default()
            };
            (phase(&a) == wanted[0] && phase(&b) == wanted[1]).then_some(())
        })
        .await;
    };
    phases(["firing", "firing"]).await;
    nodes.start(&a).await;
    phases(["resolved", "firing"]).await;
    warden.kill();
    warden.start_again().await;
    am.start().await;
    wait::until("the one that still fires arrives", || async {
        let held = am.alerts().await;
        let down = held.iter().filter(|x| x["labels"]["alertname"] == "RedisDown");
        let instances: Vec<String> = down.map(|x| text(&x["labels"]["instance"])).collect();
        (instances == [format!("demo.two@{b}")]).then_some(())
    })
    .await;
    wait::until("the one that is over arrives", || async {
        let resolved = "alertmanager_alerts_received_total{status=\"resolved\"";
        (am.metric(resolved).await >= 1.0).then_some(())
    })
    .await;
}

/// Pages of all incidents.
async fn incidents(warden: &Warden) -> Vec<IncidentPage> {
    let mut pages = Vec::new();
    for incident in warden.items("/incidents").await {
        let page = warden.get(&format!("/incidents/{}", text(&incident["id"]))).await;
        pages.push(serde_json::from_value(page).expect("an incident's page"));
    }
    pages
}

async fn mode(warden: &Warden, runbook: &str, mode: &str) {
    let body = json!({"scope": "tenant:demo", "mode": mode, "reason": "a test"});
    warden.put(&format!("/runbooks/{runbook}/mode"), &body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_repeated_twenty_times_is_one_incident_and_one_action() {
    let sink = Sink::start().await;
    let mut am = Alertmanager::prepare(Some(&sink.url));
    am.start().await;
    let stage = Stage::restartable(OPS, "10m").await;
    mode(&stage.warden, "replica-restart", "auto").await;
    let token = stage.warden.another_token("intake").await;
    let replica = stage.data[1].clone();
    let was = stage.nodes().pid(&replica).await;
    stage.nodes().kill(&replica).await;
    // A rule of somebody's Prometheus, sent by a real Alertmanager.
    let labels = json!({"alertname": "RedisDown", "severity": "critical", "tenant": "demo",
                        "service": "cart", "instance": stage.id(&replica)});
    let http = reqwest::Client::builder().no_proxy().build().expect("a client");
    let posted = http.post(format!("{}/api/v2/alerts", am.url()));
    posted.json(&json!([{"labels": labels}])).send().await.expect("Alertmanager takes it");
    let body =
        wait::until("Alertmanager posts", || async { sink.bodies().into_iter().next() }).await;
    let repeat = async || {
        let url = format!("{}/api/v1/intake/alertmanager", stage.warden.url());
        let request = http.post(url).bearer_auth(&token).body(body.clone());
        let answer = request.header("content-type", "application/json").send().await;
        assert_eq!(answer.expect("it answers").status().as_u16(), 202);
    };
    for _ in 0..10 {
        repeat().await;
    }
    let id = wait::until("an operation is begun", || async {
        let operation = stage.warden.items("/operations").await.into_iter().next()?;
        Some(text(&operation["id"]))
    })
    .await;
    // The rest meets the running operation, and the ended one.
    for _ in 0..5 {
        repeat().await;
    }
    let page = stage.warden.over(&id).await;
    assert_eq!(page.operation.state, OperationState::Done, "{page:#?}");
    for _ in 0..5 {
        repeat().await;
    }
    rounds(&stage.warden, 5.0).await;
    let found = incidents(&stage.warden).await;
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0].incident.count, 1);
    assert_eq!(stage.warden.items("/operations").await.len(), 1);
    assert_ne!(stage.nodes().pid(&replica).await, was);
    assert_eq!(stage.nodes().processes(&replica).len(), 1);
}

/// Waits until remediation, which goes round once a second, has done so for that many seconds more.
async fn rounds(warden: &Warden, seconds: f64) {
    let series = "cachewarden_loop_last_success_timestamp_seconds{loop=\"remediation\"";
    let now = async || warden.metric("/metrics/self", series).await;
    let begun = wait::until("remediation tells its rounds", now).await;
    wait::until("remediation goes round", || async {
        (now().await? >= begun + seconds).then_some(())
    })
    .await;
}

/// Waits for a decision about the only incident by that guard that says so.
async fn decided(warden: &Warden, guard: &str, words: &str) -> IncidentPage {
    wait::until(&format!("a decision by {guard}: {words}"), || async {
        let page = incidents(warden).await.into_iter().next()?;
        let last = page.decisions.first()?;
        (last.guard == guard && last.reason.contains(words)).then_some(page)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_replica_is_left_alone_in_observe_and_under_the_kill_switch_and_restarted_in_auto() {
    let stage = Stage::restartable(OPS, "0s").await;
    let (warden, replica) = (&stage.warden, &stage.data[1]);
    let switch = async |on: bool| {
        warden.put("/kill-switch", &json!({"on": on, "reason": "a test"})).await;
    };
    stage.nodes().kill(replica).await;
    let page = decided(warden, "mode", "would act:").await;
    let said = &page.decisions[0];
    assert_eq!(page.incident.runbook, "replica-restart");
    assert!(said.plan.as_ref().is_some_and(|p| !p.steps.is_empty()), "{said:#?}");
    rounds(warden, 3.0).await;
    assert_eq!(stage.nodes().pid(replica).await, None, "observe changes nothing");
    switch(true).await;
    mode(warden, "replica-restart", "auto").await;
    decided(warden, "kill_switch", "").await;
    rounds(warden, 3.0).await;
    assert_eq!(stage.nodes().pid(replica).await, None, "the switch stops it");
    assert_eq!(warden.items("/operations").await.len(), 0);
    switch(false).await;
    let page = decided(warden, "all", "").await;
    let id = wait::until("an operation is begun", || async {
        let operation = warden.items("/operations").await.into_iter().next()?;
        Some(text(&operation["id"]))
    })
    .await;
    assert_eq!(warden.over(&id).await.operation.state, OperationState::Done);
    let closed = wait::until("the incident is closed", || async {
        let page = incidents(warden).await.into_iter().next()?;
        (page.incident.closed_at.is_some()).then_some(page)
    })
    .await;
    assert_eq!(
        (&closed.incident.id, closed.incident.reason.as_str()),
        (&page.incident.id, "remediated")
    );
    rounds(warden, 3.0).await;
    assert_eq!(warden.items("/operations").await.len(), 1, "once");
    assert_eq!(stage.nodes().processes(replica).len(), 1);
    assert_eq!(stage.master().await, stage.data[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_sentinel_master_is_left_to_the_sentinels() {
    let stage = Stage::restartable_sentinel(OPS, "0s").await;
    let (warden, old) = (&stage.warden, &stage.data[0]);
    for runbook in ["replica-restart", "master-failover", "standalone-restart"] {
        mode(warden, runbook, "auto").await;
    }
    info_period(&stage.sentinels, 1_000).await;
    let load = Load::start(stage.find(old), WRITERS).await;
    stage.nodes().kill(old).await;
    load.goes_on().await;
    let page = decided(warden, "failed_over", "").await;
    assert_eq!(page.incident.runbook, "master-failover");
    // One more look at it, which comes after ten seconds.
    rounds(warden, 12.0).await;
    assert_eq!(warden.items("/operations").await.len(), 0, "{:#?}", incidents(warden).await);
    assert_eq!(stage.nodes().pid(old).await, None);
    drop(load.stop().await);
}

/// State and reason of an instance as the API shows them.
async fn shown(warden: &Warden, id: &str) -> Option<(String, String)> {
    let page = warden.try_get(&format!("/instances/{id}")).await?.body;
    Some((
        text(&page["instance"]["state"]),
        format!("{} {}", page["instance"]["reason"], page["failure"]),
    ))
}

async fn shows(warden: &Warden, id: &str, states: &[&str], reason: &str) {
    wait::until(&format!("{id} is {states:?}, {reason}"), || async {
        let (now, why) = shown(warden, id).await?;
        (states.contains(&now.as_str()) && why.contains(reason)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_hang_refuse_deny_and_load_are_shown_as_that_and_recover() {
    let nodes = Nodes::new();
    let quiet = || vec![Line::new("save", [""])];
    let mut all = Vec::new();
    for zone in 0..3 {
        all.push(nodes.node(zone, NodeKind::Data, quiet()).await);
    }
    // It will read its file slowly, answering in between.
    let mut slow = quiet();
    slow.push(Line::new("key-load-delay", ["2000"]));
    slow.push(Line::new("loading-process-events-interval-bytes", ["1024"]));
    all.push(nodes.node(0, NodeKind::Data, slow).await);
    for n in 0..4_000 {
        call(&all[3], &["SET", &format!("key:{n}"), &"x".repeat(100)]).await.expect("it answers");
    }
    call(&all[3], &["SAVE"]).await.expect("it saves");
    let warden = Warden::start(Setup { sections: nodes.section(), ..Setup::default() }).await;
    let names = ["hung", "gone", "shut", "slow"];
    let listed =
        |(name, address): (&&str, &String)| Listed::new(name, "standalone", vec![address.clone()]);
    let listed: Vec<Listed> = names.iter().zip(&all).map(listed).collect();
    warden.apply(&document(&listed, "10m")).await;
    let ids: Vec<String> = names.iter().zip(&all).map(|(n, a)| format!("demo.{n}@{a}")).collect();
    for id in &ids {
        shows(&warden, id, &["up"], "").await;
    }

    nodes.signal(&all[0], "STOP").await;
    nodes.kill(&all[1]).await;
    // Who is in already would stay in.
    let mut inside = nodes::link_to(&all[2]).await.expect("it answers");
    for command in [
        &["CONFIG", "SET", "requirepass", "changed"][..],
        &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
    ] {
        inside.call(command, wait::PATIENCE).await.expect("it answers");
    }
    nodes.kill(&all[3]).await;
    nodes.begin(&all[3]).await;
    shows(&warden, &ids[3], &["up"], "loading").await;
    let params = json!({"instance": ids[3]});
    let refused = warden.plan("node_restart", "demo.slow", &params).await.expect_err("refused");
    assert!(refused.to_string().contains("loading"), "{refused}");
    // Down only when somebody else can be asked.
    shows(&warden, &ids[0], &["unknown", "down"], "timeout").await;
    shows(&warden, &ids[1], &["down"], "refused").await;
    shows(&warden, &ids[2], &["unknown"], "auth").await;

    nodes.signal(&all[0], "CONT").await;
    nodes.start(&all[1]).await;
    let open = inside.call(&["CONFIG", "SET", "requirepass", ""], wait::PATIENCE).await;
    open.expect("it answers");
    for id in &ids {
        wait::until(&format!("{id} has recovered"), || async {
            let (state, why) = shown(&warden, id).await?;
            (state == "up" && !why.contains("loading")).then_some(())
        })
        .await;
    }
    assert!(nodes::role(&all[3]).await.is_some());
}

//! Remediation on real nodes: what an alert leads to, and what keeps it from leading anywhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::alert::{Alert, AlertSource, Phase, fingerprint, occurrence_id};
use model::incident::{Decision, Incident, IncidentState, Verb};
use model::operation::OperationState;
use model::policy::AlertLevel;
use model::runbook::RunbookMode;
use model::{At, InstanceId};
use ops::engine::SubmitError;
use ops::{Engine, Remedy};
use store::{AlertWrite, IncidentFilter, NewMode, OperationFilter};
use tests::nodes::{call, said};
use tests::wait;

use crate::stage::{Kept, Stage, cart, clock, sentinel_stage, stage, system};

fn alert(node: &InstanceId, starts_at: At) -> Alert {
    let labels: BTreeMap<String, String> =
        [("alertname", "RedisDown"), ("instance", node.as_str())]
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .into();
    let fingerprint = fingerprint(&labels);
    Alert {
        id: occurrence_id(Some(&node.tenant()), &fingerprint, starts_at),
        fingerprint,
        source: AlertSource::Embedded,
        tenant: Some(node.tenant()),
        service: Some(node.service()),
        instance: Some(node.clone()),
        alertname: "RedisDown".into(),
        policy: "instance-down".into(),
        level: AlertLevel::Critical,
        phase: Phase::Firing,
        labels,
        annotations: BTreeMap::new(),
        value: Some(0.0),
        threshold: Some(1.0),
        runbooks: ["replica-restart", "master-failover", "standalone-restart"]
            .map(str::to_string)
            .into(),
        starts_at,
        ends_at: None,
        last_seen: starts_at,
        reason: String::new(),
    }
}

async fn put(s: &Stage, alert: &Alert) {
    let writes = [AlertWrite::Row(Arc::new(alert.clone()))];
    s.kept.store.alert_commit(&system(), &writes, &[], clock()).await.unwrap();
}

async fn resolve(s: &Stage, alert: &Alert) {
    let end = Some(clock());
    put(s, &Alert { phase: Phase::Resolved, ends_at: end, ..alert.clone() }).await;
}

async fn auto(s: &Stage) {
    auto_of(s, "replica-restart").await;
}

async fn auto_of(s: &Stage, runbook: &str) {
    let new = NewMode {
        runbook,
        scope: "tenant:demo",
        mode: RunbookMode::Auto,
        reason: "test",
        rev: None,
    };
    s.kept.store.runbook_mode_set(&system(), &new, clock()).await.unwrap();
}

async fn incidents(s: &Stage) -> Vec<Incident> {
    s.kept.store.incident_list(&system(), &IncidentFilter::default(), 99, None).await.unwrap()
}

async fn decisions(s: &Stage) -> Vec<Decision> {
    let all = incidents(s).await;
    assert_eq!(all.len(), 1, "{all:#?}");
    s.kept.store.decisions(&system(), &all[0].id).await.unwrap()
}

async fn operations(s: &Stage) -> usize {
    let all = OperationFilter::default();
    s.kept.store.operation_list(&system(), &all, 99, None).await.unwrap().len()
}

async fn dead_replica(managed: bool) -> (Stage, Engine, Remedy, Alert) {
    let s = stage(Kept::sqlite().await, 1, managed).await;
    let engine = s.engine("w1");
    let remedy = Remedy::new(engine.clone());
    s.nodes.kill(1).await;
    s.seen_down(1).await;
    let alert = alert(&s.nodes.ids[1], clock());
    put(&s, &alert).await;
    (s, engine, remedy, alert)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fresh_installation_observes_and_says_what_it_would_do() {
    let (s, engine, remedy, alert) = dead_replica(true).await;
    for i in 0..3 {
        remedy.round(clock() + i * 11_000).await.unwrap();
    }
    let made = decisions(&s).await;
    assert_eq!(made.len(), 1, "the same decision is not written again");
    assert_eq!((made[0].verb, made[0].guard.as_str()), (Verb::Suppressed, "mode"));
    assert!(made[0].plan.as_ref().is_some_and(|p| p.service == cart()), "with the plan");
    let opened = incidents(&s).await.remove(0);
    let read = s.kept.store.evidence_of(&system(), &opened.id).await.unwrap();
    assert_eq!(read.len(), 1, "evidence is read once for an opening");
    assert_eq!(operations(&s).await, 0);
    resolve(&s, &alert).await;
    remedy.round(clock()).await.unwrap();
    let closed = incidents(&s).await.remove(0);
    assert_eq!((closed.state, closed.reason.as_str()), (IncidentState::Closed, "resolved"));
    drop(engine);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_auto_a_dead_replica_is_restarted_once_and_the_incident_closes() {
    let (s, engine, remedy, alert) = dead_replica(true).await;
    auto(&s).await;
    for _ in 0..5 {
        put(&s, &alert).await;
        remedy.round(clock()).await.unwrap();
    }
    assert_eq!(operations(&s).await, 1, "repeats make one operation");
    let acting = incidents(&s).await.remove(0);
    assert_eq!(acting.state, IncidentState::Acting, "{}", acting.reason);
    let made = decisions(&s).await;
    assert_eq!((made[0].verb, made[0].guard.as_str()), (Verb::Auto, "all"), "{made:#?}");
    assert!(made[0].guards.iter().all(|g| g.passed));
    let ended = s.finish(&[&engine], &acting.operation.unwrap()).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
    remedy.round(clock()).await.unwrap();
    assert_eq!(incidents(&s).await[0].state, IncidentState::Acting, "the alert still fires");
    resolve(&s, &alert).await;
    remedy.round(clock()).await.unwrap();
    let closed = incidents(&s).await.remove(0);
    assert_eq!((closed.state, closed.reason.as_str()), (IncidentState::Closed, "remediated"));
}

/// The first synchronisation is over: until then the master saves, and its replica is no copy.
async fn in_sync(s: &Stage) {
    let addresses = s.nodes.addresses();
    wait::until("the replica is in sync and nobody saves", || async {
        let link = said(&addresses[1], "replication", "master_link_status").await?;
        let saving = said(&addresses[0], "persistence", "rdb_bgsave_in_progress").await?;
        (link == "up" && saving == "0").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn in_auto_a_node_that_answers_and_could_not_save_saves_once() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine("w1");
    let remedy = Remedy::new(engine.clone());
    auto_of(&s, "persistence").await;
    in_sync(&s).await;
    s.seen_up(0).await;
    s.seen_up(1).await;
    let mut alert = alert(&s.nodes.ids[0], clock());
    alert.alertname = "RedisBgsaveFailed".into();
    alert.runbooks = vec!["persistence".into()];
    put(&s, &alert).await;
    remedy.round(clock()).await.unwrap();
    let made = decisions(&s).await;
    assert_eq!((made[0].verb, made[0].guard.as_str()), (Verb::Auto, "all"), "{made:#?}");
    let acting = incidents(&s).await.remove(0);
    let ended = s.finish(&[&engine], &acting.operation.unwrap()).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
    assert_eq!(ended.kind.as_str(), "bgsave");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_master_that_comes_back_as_a_master_is_made_a_replica() {
    let s = sentinel_stage(Kept::sqlite().await).await;
    let engine = s.engine("w1");
    let remedy = Remedy::new(engine.clone());
    auto_of(&s, "master-failover").await;
    let old = s.nodes.ids[0].clone();
    s.nodes.signal(0, "-STOP").await;
    s.seen_down(0).await;
    put(&s, &alert(&old, clock())).await;
    remedy.round(clock()).await.unwrap();
    assert_eq!(incidents(&s).await[0].runbook, "master-failover");
    wait::until("the Sentinels chose another", || async {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        let seen = ops::topology::look(&s.world(clock), &cart(), end).await.ok()?;
        let moved = seen.watches().all(|(_, w)| w.master.address != old.address());
        (moved && seen.masters().len() == 1).then_some(())
    })
    .await;
    s.nodes.signal(0, "-CONT").await;
    let id = wait::until("its return is noticed", || async {
        remedy.returns(clock()).await.unwrap();
        let all = OperationFilter::default();
        let made = s.kept.store.operation_list(&system(), &all, 9, None).await.unwrap();
        made.first().map(|o| o.id.clone())
    })
    .await;
    let ended = s.finish(&[&engine], &id).await;
    assert_eq!((ended.kind.as_str(), ended.state), ("demote", OperationState::Done), "{ended:#?}");
    let role = tests::nodes::role(old.address()).await;
    assert!(matches!(role, Some(link::reply::role::RoleReply::Replica { .. })), "{role:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_alert_of_a_service_that_is_gone_does_not_hold_up_the_others() {
    let (s, _engine, remedy, present) = dead_replica(true).await;
    let mut gone = alert(&s.nodes.ids[1], clock());
    (gone.id, gone.fingerprint) = ("gone".into(), "gone".into());
    // Looked at before the other.
    gone.starts_at = gone.starts_at - 60_000;
    (gone.service, gone.instance) = (Some("demo.gone".parse().unwrap()), None);
    put(&s, &gone).await;
    remedy.round(clock()).await.expect_err("the round says what it left out");
    let made = incidents(&s).await;
    assert_eq!(made.len(), 1, "{made:#?}");
    assert_eq!(made[0].alert_id, present.id);
    assert_eq!(decisions(&s).await.len(), 1, "and it was decided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dead_master_without_persistence_is_left_to_people() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine("w1");
    let remedy = Remedy::new(engine);
    auto(&s).await;
    s.nodes.kill(0).await;
    s.seen_down(0).await;
    put(&s, &alert(&s.nodes.ids[0], clock())).await;
    remedy.round(clock()).await.unwrap();
    assert_eq!(incidents(&s).await[0].runbook, "standalone-restart");
    assert_eq!(operations(&s).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_answers_again_is_not_restarted() {
    let (s, _engine, remedy, _alert) = dead_replica(true).await;
    auto(&s).await;
    let node = ops::provider::NodeRef::of(&s.nodes.ids[1]);
    s.nodes.local.control(&node, ops::provider::Control::Start, "operator").await.unwrap();
    wait::until("it is up on the Board", || async {
        s.board.row(&s.nodes.ids[1]).filter(|r| r.verdict.is_up()).map(drop)
    })
    .await;
    remedy.round(clock()).await.unwrap();
    let made = decisions(&s).await;
    assert_eq!((made[0].verb, made[0].guard.as_str()), (Verb::Suppressed, "freshness"));
    assert_eq!(operations(&s).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_kill_switch_ends_what_is_queued_and_what_would_begin() {
    let (s, _engine, remedy, _alert) = dead_replica(true).await;
    auto(&s).await;
    remedy.round(clock()).await.unwrap();
    let queued = incidents(&s).await.remove(0).operation.expect("queued, not claimed");
    let (store, caller) = (&s.kept.store, system());
    store.kill_switch_set(&caller, "platform", true, "stop", clock()).await.unwrap();
    remedy.round(clock()).await.unwrap();
    let ended = s.operation(&queued).await;
    assert_eq!(ended.state, OperationState::Cancelled);
    assert!(ended.reason.contains("kill switch"), "{}", ended.reason);
    assert_eq!(incidents(&s).await[0].state, IncidentState::Escalated);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unmanaged_service_has_a_decision_that_says_so() {
    let (s, _engine, remedy, _alert) = dead_replica(false).await;
    auto(&s).await;
    remedy.round(clock()).await.unwrap();
    let made = decisions(&s).await;
    assert_eq!((made[0].verb, made[0].guard.as_str()), (Verb::Suppressed, "managed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn under_sentinels_a_dead_replica_is_restarted_and_a_dead_master_is_left_to_them() {
    let s = sentinel_stage(Kept::sqlite().await).await;
    let engine = s.engine("w1");
    let remedy = Remedy::new(engine.clone());
    auto(&s).await;
    s.nodes.kill(2).await;
    s.seen_down(2).await;
    put(&s, &alert(&s.nodes.ids[2], clock())).await;
    remedy.round(clock()).await.unwrap();
    let made = decisions(&s).await;
    assert_eq!(made[0].verb, Verb::Auto, "{:#?}", made[0]);
    let operation = incidents(&s).await.remove(0).operation.unwrap();
    let ended = s.finish(&[&engine], &operation).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);

    s.nodes.kill(0).await;
    s.seen_down(0).await;
    let lost = alert(&s.nodes.ids[0], clock());
    put(&s, &lost).await;
    remedy.round(clock()).await.unwrap();
    let of_master = || async {
        let mut all = incidents(&s).await;
        all.retain(|i| i.alert_id == lost.id);
        assert_eq!(all.len(), 1);
        all.remove(0)
    };
    assert_eq!(of_master().await.runbook, "master-failover");
    wait::until("the decision says that the failover happened", || async {
        remedy.round(clock()).await.unwrap();
        let all = s.kept.store.decisions(&system(), &of_master().await.id).await.unwrap();
        all.iter().any(|d| d.guard == "failed_over").then_some(())
    })
    .await;
    assert_eq!(operations(&s).await, 1, "nothing was done about the master");
    assert!(!s.nodes.state(0).await.running);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_crash_behind_the_submission_and_a_new_occurrence_make_no_second_restart() {
    let (s, engine, remedy, first) = dead_replica(true).await;
    auto(&s).await;
    remedy.round(clock()).await.unwrap();
    let acting = incidents(&s).await.remove(0);
    let made = acting.operation.clone().expect("an operation");
    // As a crash between the two leaves it: submitted, not recorded.
    let store = &s.kept.store;
    let forgot = Incident { operation: None, ..acting };
    assert!(store.incident_decide(&system(), &forgot, None, clock()).await.unwrap());
    // The node flaps meanwhile: the same alert begins anew and joins.
    resolve(&s, &first).await;
    put(&s, &alert(&s.nodes.ids[1], clock() + 1)).await;
    let fresh = Remedy::new(engine.clone());
    for i in 0..3 {
        fresh.round(clock() + i * 11_000).await.unwrap();
    }
    let joined = incidents(&s).await.remove(0);
    assert_eq!((joined.count, joined.reopened), (2, 0));
    assert_eq!((joined.state, joined.operation), (IncidentState::Acting, Some(made)));
    assert_eq!(operations(&s).await, 1, "one action, one operation");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_the_servers_say_is_read_before_anything_is_done() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine("w1");
    let remedy = Remedy::new(engine);
    let slow = ["EVAL", "local n = 0 for i = 1, 2000000 do n = n + i end return n", "0"];
    for args in [&["CONFIG", "SET", "slowlog-log-slower-than", "1000"][..], &slow] {
        call(s.nodes.ids[0].address(), args).await.expect("an answer");
    }
    // One that lives and one that is dead.
    let hot = Alert {
        alertname: "RedisSlowlogRate".into(),
        runbooks: vec!["slow-storm".into()],
        ..alert(&s.nodes.ids[0], clock())
    };
    put(&s, &hot).await;
    s.nodes.kill(1).await;
    s.seen_down(1).await;
    put(&s, &alert(&s.nodes.ids[1], clock() + 1)).await;
    remedy.round(clock()).await.unwrap();
    let all = incidents(&s).await;
    let of = |runbook: &str| all.iter().find(|i| i.runbook == runbook).expect("it opened").clone();
    let evidence = async |runbook: &str| {
        let read = s.kept.store.evidence_of(&system(), &of(runbook).id).await.unwrap();
        let parts = read.first().expect("it was read").parts.clone();
        move |what: &str| parts.iter().find(|p| p.what == what).cloned()
    };
    let alive = evidence("slow-storm").await;
    let slow_log = alive("slow_log").expect("it answers").lines.join("\n");
    assert!(slow_log.contains("ms eval from"), "{slow_log}");
    assert!(!slow_log.contains("2000000"), "no argument of a client is kept: {slow_log}");
    for what in ["reading", "topology", "info", "clients", "latency", "memory", "operations"] {
        let part = alive(what).unwrap_or_else(|| panic!("no {what}"));
        assert_eq!(part.failed, None, "{what}");
    }
    let dead = evidence("replica-restart").await;
    assert!(dead("info").expect("a try").failed.is_some(), "who does not answer is said to");
    let topology = dead("topology").expect("the others were asked").lines.join("\n");
    assert!(topology.contains("master at offset"), "{topology}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dead_standalone_master_is_restarted_when_a_person_agrees_to_the_plan_he_saw() {
    let s = stage(Kept::sqlite().await, 0, true).await;
    s.seen_up(0).await;
    let engine = s.engine("w1");
    let remedy = Remedy::new(engine.clone());
    auto_of(&s, "standalone-restart").await;
    s.nodes.kill(0).await;
    s.seen_down(0).await;
    let alert = alert(&s.nodes.ids[0], clock());
    put(&s, &alert).await;
    remedy.round(clock()).await.unwrap();
    let made = decisions(&s).await.remove(0);
    assert_eq!((made.verb, made.guard.as_str()), (Verb::Ask, "tier"), "{made:#?}");
    let waiting = incidents(&s).await.remove(0);
    assert_eq!((waiting.state, operations(&s).await), (IncidentState::Waiting, 0));

    let (dba, hash) = (system(), made.plan.expect("a plan").hash());
    let other = remedy.approve(&dba, &waiting.id, "another", "looks right", clock()).await;
    assert!(matches!(other, Err(SubmitError::PlanMoved { .. })), "{other:?}");
    let acting = remedy.approve(&dba, &waiting.id, &hash, "looks right", clock()).await.unwrap();
    let again = remedy.approve(&dba, &waiting.id, &hash, "looks right", clock()).await.unwrap();
    assert_eq!(acting.operation, again.operation, "a double click is one operation");
    let ended = s.finish(&[&engine], &acting.operation.unwrap()).await;
    assert_eq!((ended.state, operations(&s).await), (OperationState::Done, 1), "{}", ended.reason);
    assert_eq!(ended.created_by, dba.name(), "the operation is his who agreed");
    resolve(&s, &alert).await;
    remedy.round(clock()).await.unwrap();
    let closed = incidents(&s).await.remove(0);
    assert_eq!((closed.state, closed.reason.as_str()), (IncidentState::Closed, "remediated"));
    let late = remedy.approve(&dba, &closed.id, "another", "again", clock()).await;
    assert!(matches!(late, Err(SubmitError::Store(store::Error::Conflict(_)))), "{late:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hung_standalone_master_may_hold_what_no_file_has_and_is_not_restarted() {
    let s = stage(Kept::sqlite().await, 0, true).await;
    s.seen_up(0).await;
    let remedy = Remedy::new(s.engine("w1"));
    auto_of(&s, "standalone-restart").await;
    s.nodes.signal(0, "-STOP").await;
    s.seen_down(0).await;
    put(&s, &alert(&s.nodes.ids[0], clock())).await;
    remedy.round(clock()).await.unwrap();
    let made = decisions(&s).await;
    assert_eq!(made[0].verb, Verb::Suppressed, "{:#?}", made[0]);
    let copy = made[0].guards.iter().find(|g| g.guard == "last_copy").unwrap();
    assert!(!copy.passed && copy.seen.contains("still runs"), "{}", copy.seen);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dead_sentinel_is_restarted_and_watches_again() {
    let s = sentinel_stage(Kept::sqlite().await).await;
    let engine = s.engine("w1");
    let remedy = Remedy::new(engine.clone());
    auto_of(&s, "sentinel-down").await;
    let dead = &s.nodes.sentinels[1];
    s.nodes.kill_node(dead).await;
    wait::until("the Board shows it down", || async {
        s.board.row(dead).filter(|r| r.verdict.is_down()).map(drop)
    })
    .await;
    let lost = Alert { runbooks: vec!["sentinel-down".into()], ..alert(dead, clock()) };
    put(&s, &lost).await;
    remedy.round(clock()).await.unwrap();
    let made = decisions(&s).await.remove(0);
    assert_eq!(made.verb, Verb::Auto, "{made:#?}");
    let operation = incidents(&s).await.remove(0).operation.expect("an operation");
    let ended = s.finish(&[&engine], &operation).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
}

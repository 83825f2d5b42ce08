//! Restarts of real nodes through the engine.

use std::sync::atomic::{AtomicBool, Ordering};

use model::At;
use model::operation::{OperationKind, OperationState, StepState};
use ops::engine::SubmitError;
use tests::wait;

use crate::stage::{Kept, Stage, cart, clock, stage, system};

/// Lines of the journal of one kind.
async fn lines(s: &Stage, id: &str, what: &str) -> Vec<String> {
    s.events(id).await.into_iter().filter(|e| e.what == what).map(|e| e.line).collect()
}

async fn in_step(s: &Stage, id: &str, kind: &str) {
    wait::until(&format!("step {kind} runs"), || async {
        let steps = s.kept.store.operation_steps(&system(), id).await.unwrap();
        steps.iter().any(|t| t.kind == kind && t.state == StepState::Running).then_some(())
    })
    .await;
}

async fn started_once(s: &Stage, id: &str) {
    let sent = lines(s, id, "command").await;
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert!(sent[0].contains("provider start"), "{sent:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dead_replica_is_started_rejoins_and_is_verified() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine("w1");
    let mut notices = engine.subscribe();
    s.nodes.kill(1).await;
    let wish = s.wish(&engine, 1, "k").await;
    let operation = engine.submit(&system(), wish, clock()).await.unwrap();
    let ended = s.finish(&[&engine], &operation.id).await;
    assert_eq!((ended.state, ended.reason.as_str()), (OperationState::Done, ""));
    assert!(s.nodes.state(1).await.running);
    started_once(&s, &operation.id).await;
    let steps = s.kept.store.operation_steps(&system(), &operation.id).await.unwrap();
    // A step that is found done when it begins, as joining quickly is, was never attempted.
    assert!(steps.iter().all(|t| t.state == StepState::Done && t.attempt <= 1), "{steps:#?}");
    assert_eq!(steps[0].attempt, 1);
    assert_eq!(steps[1].after["role"], "slave");
    let attempts: usize = steps.iter().map(|t| t.attempt as usize).sum();
    assert_eq!(lines(&s, &operation.id, "intent").await.len(), attempts);
    assert_eq!(notices.recv().await.unwrap().id, operation.id);
    for chain in s.kept.store.audit_verify(&system()).await.unwrap() {
        assert_eq!(chain.fault, None);
    }
    assert!(s.kept.store.operation_locks().await.unwrap().is_empty());
    engine.drain().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_plan_is_refused_with_the_node_when_it_answers_or_would_lose_data() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine("w1");
    let plan = |i: usize| {
        let (params, engine) = (s.params(i), engine.clone());
        async move {
            let kind = OperationKind::NodeRestart;
            match engine.plan(&system(), kind, &cart(), &params, clock()).await {
                Err(SubmitError::Refused(refusal)) => refusal,
                other => panic!("{other:?}"),
            }
        }
    };
    let alive = plan(1).await;
    assert_eq!(alive.check, "down");
    assert!(alive.message.contains(s.nodes.ids[1].as_str()), "{alive}");
    s.nodes.kill(0).await;
    s.seen_down(0).await;
    let empty = plan(0).await;
    assert_eq!(empty.check, "data", "a master without persistence that has replicas: {empty}");
    assert_eq!(engine.refusals()["down"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unmanaged_service_accepts_no_operation() {
    let s = stage(Kept::sqlite().await, 1, false).await;
    let engine = s.engine("w1");
    s.nodes.kill(1).await;
    let kind = OperationKind::NodeRestart;
    let refused = engine.plan(&system(), kind, &cart(), &s.params(1), clock()).await.unwrap_err();
    assert!(refused.to_string().contains("managed"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_is_one_operation_and_a_moved_plan_is_shown_again() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine("w1");
    s.nodes.kill(1).await;
    let wish = s.wish(&engine, 1, "k").await;
    let mut other = wish.clone();
    (other.plan_hash, other.idem_key) = ("0".repeat(64), "k2".into());
    match engine.submit(&system(), other, clock()).await {
        Err(SubmitError::PlanMoved { hash, .. }) => assert_eq!(hash, wish.plan_hash),
        other => panic!("{other:?}"),
    }
    let first = engine.submit(&system(), wish.clone(), clock()).await.unwrap();
    let second = engine.submit(&system(), wish.clone(), clock()).await.unwrap();
    assert_eq!(first.id, second.id);
    s.finish(&[&engine], &first.id).await;
    // The node answers by now: the key still answers the operation it made.
    let third = engine.submit(&system(), wish, clock()).await.unwrap();
    assert_eq!((third.id, third.state), (first.id, OperationState::Done));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_engines_never_run_one_operation_twice() {
    let s = stage(Kept::postgres().await, 3, true).await;
    let (one, two) = (s.engine("w1"), s.engine_on(s.kept.again().await, "w2", clock));
    let mut ids = Vec::new();
    for i in 1..=3 {
        s.nodes.kill(i).await;
        let wish = s.wish(&one, i, &format!("k{i}")).await;
        ids.push(one.submit(&system(), wish, clock()).await.unwrap().id);
    }
    let claimed = |id: String| {
        let s = &s;
        async move { s.operation(&id).await.state == OperationState::Queued }
    };
    let _ = tokio::join!(one.round(clock()), two.round(clock()));
    let mut waiting = 0;
    for id in &ids {
        waiting += usize::from(claimed(id.clone()).await);
    }
    assert_eq!(waiting, 2, "one per service, whoever claims");
    for id in &ids {
        let ended = s.finish(&[&one, &two], id).await;
        assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
        assert_eq!(lines(&s, id, "claimed").await.len(), 1);
        started_once(&s, id).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cancelled_operation_ends_its_step_and_unwinds() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine("w1");
    s.nodes.kill(1).await;
    let wish = s.wish(&engine, 1, "k").await;
    let id = engine.submit(&system(), wish, clock()).await.unwrap().id;
    // Without its master the replica cannot rejoin: the step waits until it may end.
    s.nodes.signal(0, "-STOP").await;
    engine.round(clock()).await.unwrap();
    in_step(&s, &id, "rejoin").await;
    engine.cancel(&system(), &id, "changed my mind", clock()).await.unwrap();
    s.nodes.signal(0, "-CONT").await;
    let ended = s.finish(&[&engine], &id).await;
    assert_eq!(ended.state, OperationState::Unwound, "{}", ended.reason);
    let steps = s.kept.store.operation_steps(&system(), &id).await.unwrap();
    let states: Vec<StepState> = steps.iter().map(|t| t.state).collect();
    assert_eq!(states, [StepState::Undone, StepState::Undone, StepState::Pending]);
    assert!(s.nodes.state(1).await.running, "a started node is left running");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_draining_process_gives_its_operation_to_the_next_which_goes_on() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let (first, second) = (s.engine("w1"), s.engine("w2"));
    s.nodes.kill(1).await;
    let wish = s.wish(&first, 1, "k").await;
    let id = first.submit(&system(), wish, clock()).await.unwrap().id;
    first.round(clock()).await.unwrap();
    in_step(&s, &id, "healthy").await;
    first.drain().await;
    let left = s.operation(&id).await;
    assert_eq!((left.state, left.lease_until), (OperationState::Verifying, At::EPOCH));
    assert_eq!(first.round(clock()).await.unwrap(), 0, "a draining process claims nothing");
    let ended = s.finish(&[&second], &id).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
    assert_eq!(lines(&s, &id, "claimed").await.len(), 2);
    started_once(&s, &id).await;
}

static FROZEN: AtomicBool = AtomicBool::new(false);

/// A clock that stands still with the worker that asks it, as SIGSTOP does to a process.
fn freezing_clock() -> At {
    if FROZEN.load(Ordering::SeqCst) {
        // Only this worker: what else its thread would have run goes on on another.
        tokio::task::block_in_place(|| {
            while FROZEN.load(Ordering::SeqCst) {
                std::thread::park_timeout(std::time::Duration::from_millis(5));
            }
        });
    }
    clock()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_worker_frozen_past_its_lease_writes_nothing_when_it_wakes() {
    let s = stage(Kept::postgres().await, 1, true).await;
    // Its lease is waited for.
    let sleeper = s.engine_for(s.kept.again().await, "sleeper", freezing_clock, 6);
    let other = s.engine("other");
    s.nodes.kill(1).await;
    let wish = s.wish(&other, 1, "k").await;
    let id = other.submit(&system(), wish, clock()).await.unwrap().id;
    sleeper.round(clock()).await.unwrap();
    in_step(&s, &id, "healthy").await;
    FROZEN.store(true, Ordering::SeqCst);
    let ended = s.finish(&[&other], &id).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
    let before = (s.operation(&id).await, s.events(&id).await);
    FROZEN.store(false, Ordering::SeqCst);
    sleeper.drain().await;
    assert_eq!((s.operation(&id).await, s.events(&id).await), before);
    let fences: Vec<i64> = before.1.iter().map(|e| e.fence).collect();
    assert!(fences.is_sorted() && fences.last() == Some(&2), "{fences:?}");
    started_once(&s, &id).await;
}

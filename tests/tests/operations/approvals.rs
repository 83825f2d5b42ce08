//! A second person's word, what it is bound to, and pauses between steps, on real nodes.

use model::caller::{Actor, Caller, Via};
use model::operation::{Operation, OperationKind, OperationState};
use model::right::{Role, Scope};
use ops::engine::{Submission, SubmitError};
use ops::{Config, Engine};
use serde_json::json;
use store::Error;

use crate::stage::{Kept, Stage, cart, clock, stage, system};

/// A person by account and staff id.
fn person(account: &str, staff: &str, role: Role) -> Caller {
    Caller {
        actor: Actor {
            issuer: "local".into(),
            subject: account.into(),
            staff_id: staff.into(),
            token: None,
        },
        via: Via::Api,
        address: None,
        request_id: "r1".into(),
        grants: vec![(role.rights(), Scope::Platform), (Role::Reader.rights(), Scope::Platform)],
    }
}

fn asker() -> Caller {
    person("lin", "1001", Role::Operator)
}

fn strict() -> Config {
    Config { second_person_from: 3, ..Config::default() }
}

/// A change of level 3, submitted by `asker`.
async fn submitted(engine: &Engine, hz: u32) -> Operation {
    let params = json!({ "set": { "timeout": hz } });
    let kind = OperationKind::ParamChange;
    let (plan, hash) = engine.plan(&asker(), kind, &cart(), &params, clock()).await.unwrap();
    let wish = Submission {
        kind,
        service: cart(),
        params,
        plan_hash: hash,
        confirm: plan.confirm,
        reason: "test".into(),
        idem_key: format!("timeout {hz}"),
        incident: None,
    };
    engine.submit(&asker(), wish, clock()).await.unwrap()
}

async fn say(
    engine: &Engine,
    who: &Caller,
    o: &Operation,
    yes: bool,
) -> Result<Operation, SubmitError> {
    engine.decide(who, (&o.id, &o.plan_hash), yes, "seen", clock()).await
}

async fn untouched(s: &Stage, engine: &Engine, o: &Operation) {
    engine.round(clock()).await.unwrap();
    let now = s.operation(&o.id).await;
    assert_eq!((now.state, now.fence), (OperationState::AwaitingApproval, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_plan_of_its_level_begins_only_after_another_persons_word_on_its_hash() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine_with("w1", strict());
    let o = submitted(&engine, 60).await;
    untouched(&s, &engine, &o).await;
    // Himself, also by another account.
    for own in [person("lin", "1001", Role::Approver), person("lin-adm", "1001", Role::Approver)] {
        let refused = say(&engine, &own, &o, true).await.unwrap_err();
        assert!(matches!(refused, SubmitError::Store(Error::OwnRequest(_))), "{refused:?}");
    }
    let reader = person("max", "1003", Role::Reader);
    let refused = say(&engine, &reader, &o, true).await.unwrap_err();
    assert!(matches!(refused, SubmitError::Store(Error::Denied(_))), "{refused:?}");
    let other = person("chen", "1002", Role::Approver);
    let another_plan = engine.decide(&other, (&o.id, &"0".repeat(64)), true, "", clock()).await;
    assert!(matches!(another_plan, Err(SubmitError::Store(Error::Conflict(_)))));
    untouched(&s, &engine, &o).await;
    let decided = say(&engine, &other, &o, true).await.unwrap();
    assert_eq!(decided.state, OperationState::Queued);
    assert!(say(&engine, &other, &o, true).await.is_err(), "one word each");
    let ended = s.finish(&[&engine], &o.id).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
    let words = s.kept.store.approvals(&system(), &o.id).await.unwrap();
    assert_eq!((words.len(), words[0].decided_by.as_str()), (1, "local/chen"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_world_that_moved_needs_a_new_plan_and_what_nobody_approves_ends() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine_with("w1", strict());
    let other = person("chen", "1002", Role::Approver);
    let o = submitted(&engine, 60).await;
    let address = s.nodes.ids[1].address().to_string();
    tests::nodes::call(&address, &["CONFIG", "SET", "timeout", "5"]).await.unwrap();
    let moved = say(&engine, &other, &o, true).await.unwrap_err();
    assert!(matches!(moved, SubmitError::PlanMoved { .. }), "{moved:?}");
    untouched(&s, &engine, &o).await;
    let late = clock() + 25 * 3_600_000;
    assert_eq!(s.kept.store.operation_expire(&system(), late).await.unwrap(), 1);
    let ended = s.operation(&o.id).await;
    assert_eq!(ended.state, OperationState::Cancelled, "{}", ended.reason);
    assert!(say(&engine, &other, &o, true).await.is_err());
    // A no ends it at once.
    let o = submitted(&engine, 61).await;
    let refused = say(&engine, &other, &o, false).await.unwrap();
    assert_eq!(refused.state, OperationState::Cancelled);
    assert!(refused.reason.contains("chen"), "{}", refused.reason);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_paused_operation_keeps_its_locks_and_goes_on_or_is_undone() {
    let s = stage(Kept::sqlite().await, 1, true).await;
    let engine = s.engine("w1");
    let pause = async |id: &str, on: bool| engine.pause(&asker(), id, on, clock()).await;
    let o = submitted(&engine, 60).await;
    pause(&o.id, true).await.unwrap();
    engine.round(clock()).await.unwrap();
    let paused = s.in_state(&o.id, OperationState::Paused).await;
    assert!(!s.kept.store.operation_locks().await.unwrap().is_empty());
    assert_eq!(engine.round(clock()).await.unwrap(), 0, "nobody claims it: {paused:?}");
    pause(&o.id, false).await.unwrap();
    let ended = s.finish(&[&engine], &o.id).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
    assert!(pause(&o.id, true).await.is_err(), "it is over");

    let o = submitted(&engine, 70).await;
    pause(&o.id, true).await.unwrap();
    engine.round(clock()).await.unwrap();
    s.in_state(&o.id, OperationState::Paused).await;
    engine.cancel(&asker(), &o.id, "no", clock()).await.unwrap();
    let ended = s.finish(&[&engine], &o.id).await;
    assert_eq!(ended.state, OperationState::Cancelled, "{}", ended.reason);
    assert!(s.kept.store.operation_locks().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_who_decide_at_once_start_it_once() {
    let s = stage(Kept::postgres().await, 1, true).await;
    let engine = s.engine_with("w1", strict());
    let o = submitted(&engine, 60).await;
    let people: Vec<Caller> =
        (0..8).map(|n| person(&format!("p{n}"), &format!("2{n}"), Role::Approver)).collect();
    let words = people.iter().map(|who| say(&engine, who, &o, true));
    let said = futures_util::future::join_all(words).await;
    assert_eq!(said.iter().filter(|s| s.is_ok()).count(), 1, "{said:?}");
    let ended = s.finish(&[&engine], &o.id).await;
    assert_eq!(ended.state, OperationState::Done, "{}", ended.reason);
}

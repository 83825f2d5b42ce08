//! Retention on both engines: what is old goes, what is young or still needed stays, and the trail
//! tells of it.

use model::operation::OperationState;
use store::{Change, Claim, Holder, LoginAttempt, NewOperation, Replay};

use crate::stage::{Kept, clock, inventory, plan, system};

const DAY_MS: i64 = 86_400_000;

#[tokio::test]
async fn old_rows_go_with_a_record_on_sqlite() {
    old_rows_go(&Kept::sqlite().await).await;
}

#[tokio::test]
async fn old_rows_go_with_a_record_on_postgresql() {
    old_rows_go(&Kept::postgres().await).await;
}

/// An operation that is over, by its key.
async fn ended(kept: &Kept, key: &str) -> String {
    let new = NewOperation {
        idem_key: key.into(),
        plan: plan(key),
        why: "test".into(),
        incident: None,
        parent: None,
        refused: None,
    };
    let id = kept.store.operation_create(&system(), new, clock()).await.unwrap().id;
    let Claim::Got(operation, _) = kept.store.operation_claim(&id, "w", 60_000).await.unwrap()
    else {
        panic!("not claimed");
    };
    let holder = Holder { id: id.clone(), owner: "w".into(), fence: operation.fence };
    let change = Change { state: Some((OperationState::Done, String::new())), ..Change::default() };
    kept.store.operation_journal(&system(), &holder, &change, clock()).await.unwrap();
    id
}

async fn old_rows_go(kept: &Kept) {
    kept.apply(inventory(true, &["127.0.1.1:7001".into()])).await;
    let (store, caller, now) = (&kept.store, system(), clock());
    let operation = ended(kept, "k").await;
    let replay =
        Replay { key: "r".into(), request_hash: "h".into(), status: 201, answer: "{}".into() };
    store.replay_put(&caller, &replay, now).await.unwrap();
    let attempt = LoginAttempt {
        account: None,
        subject: "x".into(),
        method: "password".into(),
        result: "wrong".into(),
        address: "127.0.0.1".into(),
    };
    store.login_failed(&caller, attempt, now).await.unwrap();

    let gone = async |at| {
        let gone = store.sweep(&caller, at).await.unwrap();
        gone.into_iter().filter(|(_, n)| *n > 0).collect::<Vec<_>>()
    };
    assert_eq!(gone(now).await, [], "nothing of it is old");
    assert_eq!(gone(now + 2 * DAY_MS).await, [("idempotency", 1)]);
    assert!(store.operation_get(&caller, &operation).await.is_ok());
    assert_eq!(gone(now + 401 * DAY_MS).await, [("login", 1), ("operation", 1)]);
    assert!(store.operation_get(&caller, &operation).await.is_err());
    assert_eq!(gone(now + 401 * DAY_MS).await, [], "once");

    let trail = store.audit_list(&caller, None, 50).await.unwrap();
    let swept: Vec<&str> = trail
        .records
        .iter()
        .filter(|r| r.action == "retention.sweep")
        .map(|r| r.target.as_str())
        .collect();
    assert_eq!(swept, ["operation", "login"], "newest first; keys of repeats are nobody's act");
    let chains = store.audit_verify(&caller).await.unwrap();
    assert!(chains.iter().all(|c| c.fault.is_none()), "{chains:?}");
}

//! Claims, fences, locks and keys of operations, the same on SQLite and on PostgreSQL.

use std::collections::BTreeSet;

use model::caller::Caller;
use model::operation::{OperationState, Step, StepState};
use model::right::{Right, Rights, Scope};
use store::{Change, Claim, Error, Holder, Line, NewOperation, OperationFilter, Store};

use crate::stage::{Kept, cart, clock, inventory, plan, system};

/// A lease that is over as soon as it is given.
const OVER_MS: i64 = -1;
const LEASE_MS: i64 = 60_000;

/// Runs the facts on both engines.
macro_rules! on_both {
    ($($name:ident)*) => {
        mod sqlite { $(
            #[tokio::test]
            async fn $name() { super::$name(&crate::stage::Kept::sqlite().await).await }
        )* }
        mod postgresql { $(
            #[tokio::test]
            async fn $name() { super::$name(&crate::stage::Kept::postgres().await).await }
        )* }
    };
}

on_both! {
    one_claim_wins_and_grows_the_fence
    a_stale_holders_writes_change_nothing
    a_lock_is_held_by_one_operation_until_its_end
    one_key_makes_one_operation
    a_queued_operation_is_cancelled_at_once_and_a_running_one_is_asked
    what_would_change_nothing_any_more_is_not_accepted_as_a_cancel
    what_happens_is_in_the_audit_trail_and_in_the_journal
    who_may_not_see_an_operation_finds_none
}

async fn seeded(kept: &Kept) -> &Store {
    kept.apply(inventory(true, &["127.0.1.1:7001".into()])).await;
    &kept.store
}

fn new(key: &str) -> NewOperation {
    NewOperation {
        idem_key: key.into(),
        plan: plan(key),
        why: "test".into(),
        incident: None,
        parent: None,
        refused: None,
    }
}

async fn created(store: &Store, key: &str) -> String {
    store.operation_create(&system(), new(key), clock()).await.unwrap().id
}

async fn claimed(store: &Store, id: &str, owner: &str, lease_ms: i64) -> (Holder, Vec<Step>) {
    match store.operation_claim(id, owner, lease_ms).await.unwrap() {
        Claim::Got(operation, steps) => {
            let holder = Holder { id: id.into(), owner: owner.into(), fence: operation.fence };
            (holder, steps)
        }
        other => panic!("not claimed: {other:?}"),
    }
}

fn end(state: OperationState) -> Change {
    Change { state: Some((state, String::new())), ..Change::default() }
}

async fn write(store: &Store, holder: &Holder, change: Change) -> Result<(), Error> {
    store.operation_journal(&system(), holder, &change, clock()).await
}

async fn one_claim_wins_and_grows_the_fence(kept: &Kept) {
    let store = seeded(kept).await;
    let id = created(store, "k").await;
    assert_eq!(store.operation_claimable(10).await.unwrap(), std::slice::from_ref(&id));
    let tries = (0..8).map(|i| {
        let (id, owner) = (id.clone(), format!("w{i}"));
        async move { store.operation_claim(&id, &owner, LEASE_MS).await.unwrap() }
    });
    let all = futures_util::future::join_all(tries).await;
    let won: Vec<i64> = all
        .iter()
        .filter_map(|c| match c {
            Claim::Got(o, _) => Some(o.fence),
            _ => None,
        })
        .collect();
    assert_eq!(won, [1]);
    assert!(store.operation_claimable(10).await.unwrap().is_empty());
}

async fn a_stale_holders_writes_change_nothing(kept: &Kept) {
    let store = seeded(kept).await;
    let id = created(store, "k").await;
    let (old, first) = claimed(store, &id, "frozen", OVER_MS).await;
    let (new, steps) = claimed(store, &id, "other", LEASE_MS).await;
    assert_eq!((old.fence, new.fence), (1, 2));
    let charged = (first[0].spent_ms, steps[0].spent_ms);
    assert_eq!(charged, (0, store::CLAIM_CHARGE_MS), "what the frozen one hid is paid for");
    let before = store.operation_events(&system(), &id, 0, 100).await.unwrap();
    let step = Step { state: StepState::Done, attempt: 7, ..steps[0].clone() };
    let line = Line { seq: Some(0), what: "command", text: "x".into() };
    let change = Change { step: Some(step), lines: vec![line], ..end(OperationState::Done) };
    let refused = write(store, &old, change).await.unwrap_err();
    assert!(matches!(refused, Error::Moved { .. }), "{refused}");
    assert!(!store.operation_renew(&old, LEASE_MS).await.unwrap());
    assert!(store.operation_asked(&old).await.is_err());
    store.operation_release(&old).await.unwrap();
    let operation = store.operation_get(&system(), &id).await.unwrap();
    assert_eq!(
        (operation.state, operation.fence, operation.lease_owner.as_str()),
        (OperationState::Running, 2, "other")
    );
    assert_eq!(store.operation_steps(&system(), &id).await.unwrap(), steps);
    assert_eq!(store.operation_events(&system(), &id, 0, 100).await.unwrap(), before);
    assert!(store.operation_renew(&new, LEASE_MS).await.unwrap());
}

async fn a_lock_is_held_by_one_operation_until_its_end(kept: &Kept) {
    let store = seeded(kept).await;
    let (one, two) = (created(store, "one").await, created(store, "two").await);
    let (holder, _) = claimed(store, &one, "w", OVER_MS).await;
    match store.operation_claim(&two, "v", LEASE_MS).await.unwrap() {
        Claim::Held { key, by } => {
            assert_eq!((key.as_str(), by), ("service:demo.cart", one.clone()))
        }
        other => panic!("{other:?}"),
    }
    let waiting = store.operation_get(&system(), &two).await.unwrap();
    assert_eq!((waiting.state, waiting.fence), (OperationState::Queued, 0), "nothing was taken");
    // Its own locks do not stand in the way of the one that resumes it.
    let (resumed, _) = claimed(store, &one, "x", LEASE_MS).await;
    assert!(write(store, &holder, end(OperationState::Done)).await.is_err());
    write(store, &resumed, end(OperationState::Done)).await.unwrap();
    assert!(store.operation_locks().await.unwrap().is_empty());
    claimed(store, &two, "v", LEASE_MS).await;
}

async fn one_key_makes_one_operation(kept: &Kept) {
    let store = seeded(kept).await;
    let caller = system();
    let twins = (0..10).map(|_| store.operation_create(&caller, new("same"), clock()));
    let made: BTreeSet<String> =
        futures_util::future::join_all(twins).await.into_iter().map(|o| o.unwrap().id).collect();
    assert_eq!(made.len(), 1);
    let other = NewOperation { plan: plan("another"), ..new("same") };
    let refused = store.operation_create(&system(), other, clock()).await.unwrap_err();
    assert!(matches!(refused, Error::Conflict(_)), "{refused}");
    assert_eq!(store.operation_count(&system(), &OperationFilter::default()).await.unwrap(), 1);
    let counts = store.operation_counts().await.unwrap();
    assert_eq!(counts, [("node_restart".to_string(), "queued".to_string(), 1)]);
}

async fn a_queued_operation_is_cancelled_at_once_and_a_running_one_is_asked(kept: &Kept) {
    let store = seeded(kept).await;
    let (queued, running) = (created(store, "q").await, created(store, "r").await);
    let (holder, _) = claimed(store, &running, "w", LEASE_MS).await;
    let cancel = |id: String| async move {
        store.operation_cancel(&system(), &id, "not now", clock()).await
    };
    let ended = cancel(queued.clone()).await.unwrap();
    assert_eq!(ended.state, OperationState::Cancelled);
    assert!(ended.reason.contains("not now"));
    let asked = cancel(running.clone()).await.unwrap();
    assert_eq!((asked.state, asked.cancel_requested), (OperationState::Running, true));
    assert!(store.operation_asked(&holder).await.unwrap().0);
    write(store, &holder, end(OperationState::Unwound)).await.unwrap();
    assert!(matches!(cancel(running).await, Err(Error::Conflict(_))));
    assert!(matches!(cancel(queued).await, Err(Error::Conflict(_))));
}

async fn what_would_change_nothing_any_more_is_not_accepted_as_a_cancel(kept: &Kept) {
    let store = seeded(kept).await;
    let id = created(store, "last").await;
    let (holder, steps) = claimed(store, &id, "w", LEASE_MS).await;
    let (last, before) = steps.split_last().unwrap();
    let done = before.iter().map(|s| Step { state: StepState::Done, attempt: 1, ..s.clone() });
    let now = Step { state: StepState::Running, attempt: 1, ..last.clone() };
    for step in done.chain([now]) {
        write(store, &holder, Change { step: Some(step), ..Change::default() }).await.unwrap();
    }
    let refused = |id: String| async move {
        match store.operation_cancel(&system(), &id, "too late", clock()).await {
            Err(Error::Conflict(why)) => why,
            other => panic!("{other:?}"),
        }
    };
    assert!(refused(id.clone()).await.contains("last step"));
    write(store, &holder, end(OperationState::Unwinding)).await.unwrap();
    assert!(refused(id.clone()).await.contains("undone already"));
    assert!(!store.operation_get(&system(), &id).await.unwrap().cancel_requested);
}

async fn what_happens_is_in_the_audit_trail_and_in_the_journal(kept: &Kept) {
    let store = seeded(kept).await;
    let id = created(store, "k").await;
    let (holder, _) = claimed(store, &id, "w", LEASE_MS).await;
    let lines = ["GET a", "GET b"]
        .map(|c| Line { seq: Some(0), what: "command", text: format!("n> {c}") })
        .to_vec();
    write(store, &holder, Change { lines, ..Change::default() }).await.unwrap();
    write(store, &holder, end(OperationState::Stuck)).await.unwrap();
    let trail = store.audit_list(&system(), None, 100).await.unwrap().records;
    let about: Vec<(String, String)> = trail
        .iter()
        .rev()
        .filter(|r| r.target == id)
        .map(|r| (r.action.clone(), r.result.clone()))
        .collect();
    let said = |action: &str, result: &str| (action.to_string(), result.to_string());
    assert_eq!(
        about,
        [
            said("operation.create", "ok"),
            said("operation.command", "ok"),
            said("operation.command", "ok"),
            said("operation.end", "unknown")
        ]
    );
    let hash = plan("k").hash();
    assert!(trail.iter().filter(|r| r.target == id).all(|r| r.plan_hash == hash));
    for chain in store.audit_verify(&system()).await.unwrap() {
        assert_eq!(chain.fault, None, "{chain:?}");
    }
    let events = store.operation_events(&system(), &id, 0, 100).await.unwrap();
    let numbers: Vec<i64> = events.iter().map(|e| e.n).collect();
    assert_eq!(numbers, (1..=events.len() as i64).collect::<Vec<_>>());
    let whats: Vec<&str> = events.iter().map(|e| e.what.as_str()).collect();
    assert_eq!(whats, ["planned", "claimed", "command", "command"]);
}

fn reader_of(scope: &str, rights: &[Right]) -> Caller {
    let mut caller = Caller::system("somebody", "r");
    caller.grants = vec![(Rights::of(rights), Scope::try_from(scope.to_string()).unwrap())];
    caller
}

async fn who_may_not_see_an_operation_finds_none(kept: &Kept) {
    let store = seeded(kept).await;
    let id = created(store, "k").await;
    let all = [Right::FleetRead, Right::OpLow, Right::OpCancel];
    let foreign = reader_of("tenant:default", &all);
    let none = store.operation_get(&foreign, &id).await.unwrap_err();
    assert!(matches!(none, Error::NotFound(_)), "{none}");
    assert!(store.operation_events(&foreign, &id, 0, 9).await.is_err());
    let filter = OperationFilter { service: Some(cart()), ..OperationFilter::default() };
    assert!(store.operation_list(&foreign, &filter, 9, None).await.unwrap().is_empty());
    assert_eq!(store.operation_count(&foreign, &filter).await.unwrap(), 0);
    assert!(store.operation_create(&foreign, new("z"), clock()).await.is_err());
    for scope in ["tenant:demo", "system:demo.shop", "service:demo.cart"] {
        let reader = reader_of(scope, &[Right::FleetRead]);
        let seen = store.operation_list(&reader, &filter, 9, None).await.unwrap();
        assert_eq!(seen.len(), 1, "{scope}");
        let denied = store.operation_cancel(&reader, &id, "no", clock()).await.unwrap_err();
        assert!(matches!(denied, Error::Denied(_)), "{denied}");
    }
    let second = created(store, "k2").await;
    let page = store.operation_list(&system(), &filter, 1, None).await.unwrap();
    assert_eq!(page[0].id, second, "newest first");
    let next = store.operation_list(&system(), &filter, 9, Some(&page[0].id)).await.unwrap();
    assert_eq!(next.iter().map(|o| o.id.as_str()).collect::<Vec<_>>(), [id.as_str()]);
}

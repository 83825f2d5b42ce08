//! Incidents, decisions, modes and kill switches in the store, on both engines.

use model::caller::Caller;
use model::incident::{Decision, GuardSeen, Incident, IncidentState, Verb};
use model::right::{Place, Role, Scope};
use model::runbook::RunbookMode;
use store::{Error, IncidentFilter, NewMode, Store, runbook_mode_effective};

use crate::stage::{Kept, cart, clock, inventory, system};

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
    an_occurrence_makes_one_incident_and_a_new_one_in_the_cool_down_joins
    a_closed_incident_is_not_decided_again
    raising_a_mode_needs_more_than_lowering_it
    a_kill_switch_is_kept_with_who_and_why
}

async fn seeded(kept: &Kept) -> &Store {
    kept.apply(inventory(true, &["127.0.1.1:7001".into()])).await;
    &kept.store
}

fn incident(id: &str, alert: &str) -> Incident {
    Incident {
        id: id.into(),
        runbook: "replica-restart".into(),
        tenant: Some("demo".parse().unwrap()),
        service: Some(cart()),
        instance: Some("demo.cart@127.0.1.1:7001".parse().unwrap()),
        alert_id: alert.into(),
        alertname: "RedisDown".into(),
        state: IncidentState::Open,
        reason: String::new(),
        count: 1,
        reopened: 0,
        opened_at: clock(),
        closed_at: None,
        operation: None,
    }
}

async fn opened(store: &Store, new: &Incident, joins_ms: i64) -> Incident {
    let now = clock();
    store.incident_open(&system(), new, "fp", now - joins_ms, now).await.unwrap()
}

async fn an_occurrence_makes_one_incident_and_a_new_one_in_the_cool_down_joins(kept: &Kept) {
    let store = seeded(kept).await;
    let first = opened(store, &incident("i1", "a1"), 3_600_000).await;
    for _ in 0..20 {
        assert_eq!(opened(store, &incident("i1", "a1"), 3_600_000).await, first);
    }
    let mut closed = first.clone();
    (closed.state, closed.closed_at) = (IncidentState::Closed, Some(clock()));
    closed.operation = Some("op".into());
    assert!(store.incident_decide(&system(), &closed, None, clock()).await.unwrap());
    let joined = opened(store, &incident("i2", "a2"), 3_600_000).await;
    assert_eq!((joined.id.as_str(), joined.count, joined.alert_id.as_str()), ("i1", 2, "a2"));
    assert_eq!((joined.state, joined.operation), (IncidentState::Open, None));
    let later = opened(store, &incident("i3", "a3"), -1).await;
    assert_eq!((later.id.as_str(), later.count), ("i3", 1), "outside the cool-down it is new");
    let all = store.incident_list(&system(), &IncidentFilter::default(), 9, None).await.unwrap();
    assert_eq!(all.len(), 2);
}

async fn a_closed_incident_is_not_decided_again(kept: &Kept) {
    let store = seeded(kept).await;
    let mut incident = opened(store, &incident("i1", "a1"), 0).await;
    let decision = |reason: &str| Decision {
        incident_id: "i1".into(),
        at: clock(),
        verb: Verb::Suppressed,
        guard: "mode".into(),
        reason: reason.into(),
        guards: vec![GuardSeen { guard: "mode".into(), passed: false, seen: "observe".into() }],
        plan: Some(crate::stage::plan("would")),
    };
    for reason in ["first", "second"] {
        incident.reason = reason.into();
        let (caller, decision) = (system(), decision(reason));
        assert!(store.incident_decide(&caller, &incident, Some(&decision), clock()).await.unwrap());
    }
    let kept = store.decisions(&system(), "i1").await.unwrap();
    assert_eq!(kept.iter().map(|d| d.reason.as_str()).collect::<Vec<_>>(), ["second", "first"]);
    assert_eq!((&kept[0].guards, &kept[0].plan), (&decision("").guards, &decision("").plan));
    (incident.state, incident.closed_at) = (IncidentState::Closed, Some(clock()));
    assert!(store.incident_decide(&system(), &incident, None, clock()).await.unwrap());
    incident.state = IncidentState::Acting;
    let late = store.incident_decide(&system(), &incident, Some(&decision("late")), clock()).await;
    assert!(!late.unwrap());
    assert_eq!(store.decisions(&system(), "i1").await.unwrap().len(), 2);
    let counts = store.decision_counts().await.unwrap();
    assert_eq!(counts, [("replica-restart".into(), "suppressed".into(), "mode".into(), 2)]);
}

fn holder(role: Role) -> Caller {
    let mut caller = Caller::system("somebody", "r");
    caller.grants = vec![(role.rights(), Scope::Platform)];
    caller
}

async fn raising_a_mode_needs_more_than_lowering_it(kept: &Kept) {
    let store = seeded(kept).await;
    let set = |role: Role, scope: &'static str, mode: RunbookMode, rev: Option<i64>| async move {
        let new = NewMode { runbook: "replica-restart", scope, mode, reason: "why", rev };
        store.runbook_mode_set(&holder(role), &new, clock()).await
    };
    use RunbookMode::{Auto, Observe, Off};
    let operator = Role::Operator;
    let admin = Role::SystemAdministrator;
    let denied = set(operator, "tenant:demo", Auto, None).await.unwrap_err();
    assert!(denied.to_string().contains("runbook.raise"), "{denied}");
    assert_eq!(set(admin, "tenant:demo", Auto, Some(0)).await.unwrap(), 1);
    let moved = set(admin, "tenant:demo", Observe, Some(0)).await.unwrap_err();
    assert!(matches!(moved, Error::Moved { present: 1, .. }), "{moved}");
    assert_eq!(set(operator, "service:demo.cart", Off, None).await.unwrap(), 2);
    assert!(set(operator, "service:demo.cart", Observe, None).await.is_err(), "that raises");
    let all = store.runbook_modes().await.unwrap();
    let settings = || all.iter().map(|(_, s, _)| s);
    let cart_place = Place::service(&cart(), &"demo.shop".parse().unwrap());
    assert_eq!(runbook_mode_effective(settings(), &cart_place), Off, "the deepest wins");
    let tenant = Place::tenant(&"demo".parse().unwrap());
    assert_eq!(runbook_mode_effective(settings(), &tenant), Auto);
    assert_eq!(runbook_mode_effective(settings(), &Place::platform()), Observe, "the default");
    for scope in ["nonsense", "system:demo.shop", "instance:demo.cart@h:1"] {
        assert!(set(admin, scope, Off, None).await.is_err(), "{scope}");
    }
}

async fn a_kill_switch_is_kept_with_who_and_why(kept: &Kept) {
    let store = seeded(kept).await;
    let operator = holder(Role::Operator);
    for scope in ["platform", "tenant:demo", "runbook:replica-restart", "zone:az-1"] {
        store.kill_switch_set(&operator, scope, true, "storm", clock()).await.unwrap();
    }
    store.kill_switch_set(&operator, "platform", false, "over", clock()).await.unwrap();
    let all = store.kill_switches().await.unwrap();
    let on: Vec<&str> = all.iter().filter(|s| s.active).map(|s| s.scope.as_str()).collect();
    assert_eq!(on, ["runbook:replica-restart", "tenant:demo", "zone:az-1"]);
    let off = all.iter().find(|s| s.scope == "platform").unwrap();
    assert_eq!((off.reason.as_str(), off.by.as_str()), ("over", "system/somebody"));
    for (scope, reason) in [("platform", " "), ("zone:A B", "x"), ("service:demo.cart", "x")] {
        let refused = store.kill_switch_set(&operator, scope, true, reason, clock()).await;
        assert!(matches!(refused, Err(Error::Invalid(_))), "{scope:?} {reason:?}");
    }
    let reader = holder(Role::Reader);
    assert!(store.kill_switch_set(&reader, "platform", true, "x", clock()).await.is_err());
}

//! Maintenances, calendars, silences and acknowledgements: what is withheld, until when, and what
//! stands in the history.

use model::calendar::CalendarDoc;
use model::history::Hold;
use model::maintenance::Maintenance;
use model::policy::PolicyScope;
use model::right::Role;
use store::{HistoryFilter, NewMaintenance};

use super::*;

async fn begin(store: &Store, scope: &str, starts_at: At, ends_at: At) -> Maintenance {
    let scope = PolicyScope::try_from(scope.to_string()).expect("a scope");
    let id = format!("m-{}", starts_at.ms());
    let new = NewMaintenance { id: &id, scope: &scope, starts_at, ends_at, reason: "CHG-1" };
    store.maintenance_begin(&root(), &new, starts_at).await.expect("begun")
}

async fn hold(store: &Store, id: &str) -> Option<Hold> {
    store.alert_marks(&root(), id).await.expect("marks").1
}

async fn row(store: &Store, i: usize) -> model::alert::Alert {
    let all = store.alert_list(&root(), &AlertFilter::default(), 99, None).await.expect("rows");
    all.into_iter().find(|a| a.instance == Some(instance_id(i))).expect("a row")
}

/// What the sink was told last of instance `i`.
fn told(sink: &Sink, i: usize) -> Option<Value> {
    let bodies = sink.bodies();
    let all = bodies.iter().rev().filter_map(|b| serde_json::from_slice::<Vec<Value>>(b).ok());
    let mut all = all.flatten();
    all.find(|a| a["labels"]["instance"] == instance_id(i).as_str())
}

#[tokio::test]
async fn a_maintenance_withholds_what_begins_in_it_and_ends_nothing_that_was_told_before() {
    let mut am = Alertmanager::prepare(None);
    am.start().await;
    let b = Bench::sqlite().await;
    let inv = inventory(3);
    // Alertmanager goes by its own clock: no end we tell may lie in its past, no beginning ahead.
    let t0 = clock() - 120_000;
    let at = |s: i64| t0 + s * 1000;
    let alerter = start(&b.store, &[&am.url()], &inv, t0).await;
    // 0 is told before; 1 begins in it and goes on; 2 begins and ends in it.
    alerter.evaluate(&sample(0, at(0), false), at(0));
    alerter.deliver(0, at(0)).await;
    assert_eq!(am.active().await, ["RedisDown", "Watchdog"]);
    let maintenance = begin(&b.store, "platform", at(10), at(120)).await;
    alerter.reload_gate(at(10)).await.expect("read");
    assert_eq!(alerter.maintained(&inv, at(10)).len(), 3);
    for i in [1, 2] {
        alerter.evaluate(&sample(i, at(15), false), at(15));
    }
    alerter.evaluate(&sample(0, at(15), false), at(15));
    alerter.round(at(16)).await.expect("written");
    assert_eq!(alerter.deliver(0, at(16)).await, 0, "nothing new is told");
    assert_eq!(alerter.withheld()[&format!("maintenance {}", maintenance.id)], 2);
    assert_eq!(alerter.deliver(0, at(61)).await, 2, "what was told before is told again");
    assert_eq!(am.active().await, ["RedisDown", "Watchdog"], "and nothing ended");
    alerter.evaluate(&sample(2, at(75), true), at(75));
    alerter.round(at(76)).await.expect("written");
    drop(alerter);

    // A restart withholds on.
    let alerter = start(&b.store, &[&am.url()], &inv, at(80)).await;
    alerter.gate_round(at(80)).await.expect("round");
    alerter.deliver(0, at(80)).await;
    assert_eq!(am.active().await, ["RedisDown", "Watchdog"]);
    assert_eq!(hold(&b.store, &row(&b.store, 1).await.id).await.expect("held").released_at, None);
    alerter.evaluate(&sample(1, at(119), false), at(119));
    alerter.gate_round(at(120)).await.expect("round");
    alerter.deliver(0, at(120)).await;
    assert_eq!(am.active().await, ["RedisDown", "RedisDown", "Watchdog"]);
    let late = am.alerts().await;
    let late = late.iter().find(|a| a["labels"]["instance"] == instance_id(1).as_str());
    let late = late.expect("it is told now");
    assert_eq!(At::parse(&text(&late["startsAt"])), Ok(at(120)), "it begins when it is told");
    assert_eq!(text(&late["annotations"]["first_started_at"]), at(15).to_string());
    let resolved = am.metric("alertmanager_alerts_received_total{status=\"resolved\"").await;
    assert_eq!(resolved, 0.0, "nobody hears of the end of what nobody heard of");

    alerter.round(at(121)).await.expect("written");
    let kept = hold(&b.store, &row(&b.store, 1).await.id).await.expect("held");
    assert_eq!((kept.withheld_at, kept.released_at), (at(15), Some(at(120))));
    let steps = b.store.transitions(&root(), &row(&b.store, 2).await.id).await.expect("steps");
    assert!(steps.iter().all(|t| t.in_maintenance), "the history is tagged");
    let filter = HistoryFilter { in_maintenance: Some(true), ..HistoryFilter::default() };
    assert_eq!(b.store.history_count(&root(), &filter).await.expect("count"), 2);
}

#[tokio::test]
async fn a_maintenance_that_is_ended_early_lets_go_at_once_and_needs_its_right() {
    let sink = Sink::start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&sink.url], &inventory(1), now).await;
    let m = begin(&b.store, "platform", now, now + 3_600_000).await;
    alerter.reload_gate(now).await.expect("read");
    alerter.evaluate(&sample(0, now, false), now);
    alerter.deliver(0, now).await;
    assert!(told(&sink, 0).is_none());
    let mut operator = token(Scope::Platform, &[]);
    let pay = Scope::Tenant("pay".parse().expect("an id"));
    operator.grants = vec![(Role::Operator.rights(), pay)];
    let denied = b.store.maintenance_end(&operator, &m.id, now + 5).await;
    assert!(
        matches!(denied, Err(store::Error::Denied(d)) if d.visible),
        "he sees what he is under"
    );
    let seen = b.store.maintenance_list(&operator).await.expect("list");
    assert_eq!(seen.len(), 1);
    let ended = b.store.maintenance_end(&root(), &m.id, now + 5_000).await.expect("ended");
    assert_eq!((ended.ends_at, ended.ended_by.as_str()), (now + 5_000, "system/test"));
    alerter.reload_gate(now + 5_000).await.expect("read");
    alerter.deliver(0, now + 5_000).await;
    let told = told(&sink, 0).expect("told");
    assert_eq!(text(&told["startsAt"]), (now + 5_000).to_string());
    for (starts_at, ends_at) in [(now, now), (now, now + 32 * 86_400_000)] {
        let scope = PolicyScope::Platform;
        let new = NewMaintenance { id: "x", scope: &scope, starts_at, ends_at, reason: "r" };
        let refused = b.store.maintenance_begin(&root(), &new, now).await;
        assert!(matches!(refused, Err(store::Error::Invalid(_))), "every one has an end");
    }
}

/// A policy whose new alerts are withheld inside a window, over a change of the clock.
async fn calendar_story(doc: CalendarDoc, used: &str, begins: &str, told_at: &str) {
    let sink = Sink::start().await;
    let b = Bench::sqlite().await;
    let fired = At::parse(begins).expect("a time");
    b.store.calendar_put(&root(), &doc, Some(0), fired).await.expect("saved");
    let policy = format!(
        "{{policy: instance-down, scope: 'tenant:pay', keep_firing_for: 0s, calendar: {used}, \
         levels: {{critical: {{for: 0s}}}}}}"
    );
    let policy: PolicyDoc = serde_saphyr::from_str(&policy).expect("a policy");
    b.store.policy_put(&root(), &policy, "test", fired).await.expect("published");
    let alerter = start(&b.store, &[&sink.url], &inventory(1), fired).await;
    alerter.evaluate(&sample(0, fired, false), fired);
    let told_at = At::parse(told_at).expect("a time");
    let mut now = fired;
    while now < told_at {
        alerter.evaluate(&sample(0, now, false), now);
        alerter.gate_round(now).await.expect("round");
        alerter.deliver(0, now).await;
        assert!(told(&sink, 0).is_none(), "withheld at {now}");
        now = now + 60_000;
    }
    alerter.gate_round(told_at).await.expect("round");
    alerter.deliver(0, told_at).await;
    let told = told(&sink, 0).expect("told at the end");
    assert_eq!(text(&told["startsAt"]), told_at.to_string());
    assert_eq!(text(&told["annotations"]["first_started_at"]), fired.to_string());
    let busy = b.store.calendar_delete(&root(), &doc.id, told_at).await;
    assert!(matches!(busy, Err(store::Error::Conflict(_))), "a policy names it");
}

fn calendar(zone: &str, start: &str, duration: &str) -> CalendarDoc {
    serde_json::from_value(json!({
        "id": "patch", "zone": zone,
        "windows": [{"start": start, "duration": duration, "repeat": "daily"}],
    }))
    .expect("a calendar")
}

#[tokio::test]
async fn a_calendar_withholds_over_the_hour_that_the_clock_skips() {
    // New York, 8 March 2026: a window from 02:30 begins at 03:00 local, 07:00 UTC.
    let mute = calendar("America/New_York", "02:30", "1h");
    calendar_story(mute, "{mute: [patch]}", "2026-03-08T07:00:00Z", "2026-03-08T08:00:00Z").await;
}

#[tokio::test]
async fn a_calendar_of_active_hours_withholds_until_they_begin_after_the_hour_that_comes_twice() {
    // Berlin, 25 October 2026: 08:00 is 07:00 UTC on that day, it was 06:00 UTC the day before.
    let active = calendar("Europe/Berlin", "08:00", "10h");
    calendar_story(active, "{active: [patch]}", "2026-10-25T05:30:00Z", "2026-10-25T07:00:00Z")
        .await;
}

#[tokio::test]
async fn who_acknowledges_and_how_fast_stands_in_the_history() {
    history_story(Bench::sqlite().await.store).await;
    let pg = Postgres::start().await;
    let store = open(&pg.url()).await;
    store.policy_put(&root(), &at_once(), "test", clock()).await.expect("published");
    history_story(store).await;
}

async fn history_story(store: Arc<Store>) {
    let sink = Sink::start().await;
    let t0 = clock();
    let at = |s: i64| t0 + s * 1000;
    let alerter = start(&store, &[&sink.url], &inventory(3), t0).await;
    for i in 0..3 {
        alerter.evaluate(&sample(i, at(0), false), at(0));
    }
    alerter.evaluate(&sample(2, at(100), true), at(100));
    alerter.round(at(100)).await.expect("written");
    let id = row(&store, 0).await.id;
    let mut reader = token(Scope::Platform, &[Right::FleetRead]);
    assert!(store.alert_ack(&reader, &id, "", at(30)).await.is_err());
    reader.grants[0].1 = Scope::Tenant("hr".parse().expect("an id"));
    assert!(
        store
            .history_list(&reader, &HistoryFilter::default(), 9, None)
            .await
            .expect("list")
            .is_empty()
    );
    let ack = store.alert_ack(&root(), &id, " on it ", at(30)).await.expect("taken");
    assert_eq!((ack.by.as_str(), ack.note.as_str()), ("system/test", "on it"));
    let again = store.alert_ack(&root(), &id, "me too", at(60)).await.expect("the first stays");
    assert_eq!(again, ack);
    let over = store.alert_ack(&root(), &row(&store, 2).await.id, "", at(120)).await;
    assert!(matches!(over, Err(store::Error::Conflict(_))));

    let count = async |filter: HistoryFilter| {
        let listed = store.history_list(&root(), &filter, 99, None).await.expect("list").len();
        assert_eq!(store.history_count(&root(), &filter).await.expect("count"), listed as i64);
        listed
    };
    let all = HistoryFilter::default;
    assert_eq!(count(all()).await, 3);
    assert_eq!(count(HistoryFilter { open: Some(false), ..all() }).await, 1);
    assert_eq!(count(HistoryFilter { acknowledged: Some(true), ..all() }).await, 1);
    assert_eq!(count(HistoryFilter { policy: "instance-down".into(), ..all() }).await, 3);
    assert_eq!(count(HistoryFilter { to: Some(at(0)), ..all() }).await, 0);
    assert_eq!(count(HistoryFilter { from: Some(at(0)), ..all() }).await, 3);
    assert_eq!(count(HistoryFilter { within: "pay.cart".into(), ..all() }).await, 3);
    assert_eq!(count(HistoryFilter { q: "REDISdown 6001".into(), ..all() }).await, 1);
    assert_eq!(count(HistoryFilter { q: "%".into(), ..all() }).await, 0, "taken literally");
    assert_eq!(
        count(HistoryFilter { reason: "threshold".into(), open: Some(false), ..all() }).await,
        1
    );

    let first = store.history_list(&root(), &all(), 2, None).await.expect("list");
    let last = &first[1].alert;
    let rest = store.history_list(&root(), &all(), 2, Some((last.starts_at, &last.id))).await;
    assert_eq!(rest.expect("list").len(), 1, "the next page goes on where the first ended");
    let answered = store.history_answered(&root(), &all()).await.expect("answered");
    assert_eq!(answered.len(), 1);
    let a = &answered[0];
    assert_eq!((a.tenant.as_str(), a.policy.as_str()), ("pay", "instance-down"));
    assert_eq!((a.fired, a.acknowledged, a.resolved), (3, 1, 1));
    assert_eq!((a.mtta_ms, a.mttr_ms), (Some(30_000), Some(100_000)));
}

#[tokio::test]
async fn an_alert_that_ended_while_it_was_silenced_is_closed_by_reconciliation() {
    let mut am = Alertmanager::prepare(None);
    am.start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&am.url()], &inventory(1), now).await;
    let labels = json!({"alertname": "DiskFull", "tenant": "pay", "severity": "critical"});
    let post = async |ends: At| {
        let alert = json!([{ "labels": labels, "startsAt": now - 60_000, "endsAt": ends }]);
        let url = format!("{}/api/v2/alerts", am.url());
        let done = http().post(url).json(&alert).send().await.expect("posted");
        assert!(done.status().is_success());
    };
    post(now + 3_600_000).await;
    // The Alertmanager runs for seconds only: it proves nothing, not even that there is one.
    assert_eq!(alerter.reconcile(now).await.expect("round"), (0, 0));
    let later = now + 400_000;
    assert_eq!(alerter.reconcile(later).await.expect("round"), (1, 0), "listed and unknown");
    assert_eq!(phases(&b.store).await, [("DiskFull".into(), Phase::Firing)]);
    let other =
        message(&[posted("firing", json!({"alertname": "Elsewhere", "tenant": "pay"}), now, None)]);
    let am_token = token(Scope::Platform, &[Right::IntakePost]);
    alerter.intake(&am_token, "other-am", &other, now).await.expect("taken");

    let silence = model::silence::Silence {
        id: String::new(),
        matchers: vec![model::silence::Matcher::equal("alertname", "DiskFull")],
        starts_at: clock(),
        ends_at: clock() + 3_600_000,
        created_by: "test".into(),
        comment: "CHG-1".into(),
        keeper: String::new(),
    };
    let id = alerter.silence_make(&silence).await.expect("made");
    let kept = b.store.silences(now).await.expect("copied");
    assert_eq!((kept.len(), kept[0].id.as_str(), kept[0].keeper.as_str()), (1, &*id, &*am.url()));
    assert_eq!(alerter.reconcile(later + 60_000).await.expect("round"), (0, 0), "still listed");
    post(clock()).await;
    wait::until("it is over there", || async { am.alerts().await.is_empty().then_some(()) }).await;
    assert_eq!(alerter.reconcile(later + 120_000).await.expect("round"), (0, 0), "missing once");
    assert_eq!(alerter.reconcile(later + 180_000).await.expect("round"), (0, 1), "missing twice");
    let all = b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows");
    let of = |name: &str| all.iter().find(|a| a.alertname == name).expect("a row");
    assert_eq!(
        (of("DiskFull").phase, of("DiskFull").reason.as_str()),
        (Phase::Resolved, "reconciled")
    );
    assert_eq!(of("Elsewhere").phase, Phase::Firing, "no Alertmanager of ours ever listed it");
    alerter.silence_end(&kept).await.expect("expired");
    let kept = b.store.silences(now).await.expect("copied");
    assert_eq!(kept[0].state(clock() + 1_000), "expired");
    am.stop();
    assert_eq!(alerter.reconcile(later + 240_000).await.expect("round"), (0, 0));
}

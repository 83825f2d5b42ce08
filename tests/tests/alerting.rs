//! Alerts on real parts: a real Alertmanager, SQLite and a real PostgreSQL. Samples are made up and
//! their times are simulated, so ten minutes take none.

use std::sync::Arc;

use alerter::{Alerter, AlertmanagerConfig, Config, IntakeError};
use model::alert::{AlertSource, Phase};
use model::caller::{Actor, Caller, Via};
use model::field::Field;
use model::inventory::Inventory;
use model::policy::PolicyDoc;
use model::reading::{Facts, Reading};
use model::right::{Right, Rights, Scope};
use model::row::Row;
use model::service::{Instance, InstanceKind, Service};
use model::tenant::{Env, Site, System, Zone};
use model::verdict::Verdict;
use model::{At, InstanceId, ServiceId};
use serde_json::{Value, json};
use store::{AlertFilter, Migrate, Store};
use tests::alertmanager::{Alertmanager, Sink, text};
use tests::pg::Postgres;
use tests::wait;

#[path = "alerting/keep.rs"]
mod keep;
#[path = "alerting/tell.rs"]
mod tell;
#[path = "alerting/withhold.rs"]
mod withhold;

fn clock() -> At {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    At::from_ms(now.expect("after 1970").as_millis() as i64)
}

fn instance_id(i: usize) -> InstanceId {
    format!("pay.cart@10.0.0.{}:{}", i / 1000 + 1, 6000 + i % 1000).parse().expect("an id")
}

fn inventory(instances: usize) -> Inventory {
    let mut inv = Inventory::default();
    let system = System {
        id: "pay.shop".parse().expect("an id"),
        display: "Shop".into(),
        env: Env::Prod,
        owner: String::new(),
        cmdb: String::new(),
    };
    let service = Service {
        id: "pay.cart".parse().expect("an id"),
        system: system.id.clone(),
        display: "Cart".into(),
        tier: Default::default(),
        class: Default::default(),
        mode: Default::default(),
        profile: Default::default(),
        profile_from: Default::default(),
        managed: true,
        sentinel_master: String::new(),
        replicas_wanted: 0,
        auth_user: String::new(),
        has_password: false,
        access: Default::default(),
    };
    let site = Site { id: "dc".parse().expect("an id"), display: "DC".into() };
    let zone =
        Zone { id: "az-1".parse().expect("an id"), site: site.id.clone(), networks: Vec::new() };
    for i in 0..instances {
        let id = instance_id(i);
        let kind = InstanceKind::Redis;
        let instance =
            Instance { id: id.clone(), kind, zone: zone.id.clone(), host: None, shard: 0 };
        inv.instances.insert(id, instance);
    }
    inv.systems.insert(system.id.clone(), system);
    inv.services.insert(service.id.clone(), service);
    inv.sites.insert(site.id.clone(), site);
    inv.zones.insert(zone.id.clone(), zone);
    inv
}

/// A sample of instance `i` at `at`, up or down.
fn sample(i: usize, at: At, up: bool) -> Row {
    let mut facts = Facts::default();
    if up {
        facts.values.set(Field::UsedMemory, 1.0);
        facts.values.set(Field::Maxmemory, 100.0);
        facts.values.set(Field::UptimeInSeconds, 1e6);
    }
    let reading = Reading {
        at,
        began: at,
        up,
        failure: None,
        ping_us: None,
        duration_us: 900,
        connect_us: 0,
        failed_in_row: 0,
        interval_ms: 15_000,
        facts,
    };
    let instance = inventory(i + 1).instances[&instance_id(i)].clone();
    Row {
        role_since: None,
        instance: Arc::new(instance),
        reading: Arc::new(reading),
        last_good: None,
        verdict: if up { Verdict::Up } else { Verdict::Down("refused".into()) },
        score: None,
    }
}

/// Makes `instance-down` fire at the first failed poll and end at the first good one.
fn at_once() -> PolicyDoc {
    let text = "{policy: instance-down, scope: 'tenant:pay', keep_firing_for: 0s, \
                levels: {critical: {for: 0s}}}";
    serde_saphyr::from_str(text).expect("a policy")
}

fn http() -> reqwest::Client {
    tests::process::http().build().expect("a client")
}

fn am(url: &str) -> AlertmanagerConfig {
    AlertmanagerConfig {
        url: url.into(),
        bearer_file: None,
        basic_user: None,
        basic_password_file: None,
    }
}

const PUBLIC: &str = "http://127.0.0.1:9850";

async fn open(url: &str) -> Arc<Store> {
    let config =
        store::Config { url: url.into(), key_file: None, key_env: None, key_command: None };
    Arc::new(Store::open(&config, Migrate::Now).await.expect("the store opens"))
}

/// What `server` does at start.
async fn start(store: &Arc<Store>, urls: &[&str], inv: &Inventory, now: At) -> Alerter {
    let alertmanager = urls.iter().map(|u| am(u)).collect();
    let config = Config { alertmanager, ..Config::default() };
    let alerter = Alerter::new(config, store.clone(), http(), PUBLIC.into());
    alerter.restore(now).await.expect("restores");
    let documents = store.policies(&root()).await.expect("policies");
    let problems = alerter.rebuild(inv, &documents, now);
    assert!(problems.is_empty(), "{problems:?}");
    alerter
}

fn root() -> Caller {
    Caller::system("test", "1")
}

/// A token that may post for `scope` and read nothing.
fn token(scope: Scope, rights: &[Right]) -> Caller {
    Caller {
        actor: Actor { issuer: "token".into(), subject: "am".into(), ..Actor::default() },
        via: Via::Webhook,
        address: None,
        request_id: "1".into(),
        grants: vec![(Rights::of(rights), scope)],
    }
}

struct Bench {
    _dir: tempfile::TempDir,
    url: String,
    store: Arc<Store>,
}

impl Bench {
    async fn sqlite() -> Bench {
        let dir = tempfile::Builder::new().prefix("cw-alerting-").tempdir().expect("tempdir");
        let url = format!("sqlite:{}", dir.path().join("cw.db").display());
        let store = open(&url).await;
        store.policy_put(&root(), &at_once(), "test", clock()).await.expect("published");
        Bench { _dir: dir, url, store }
    }
}

async fn phases(store: &Store) -> Vec<(String, Phase)> {
    let all = store.alert_list(&root(), &AlertFilter::default(), 10_000, None).await.expect("rows");
    all.into_iter().map(|a| (a.alertname, a.phase)).collect()
}

#[tokio::test]
async fn an_alert_appears_in_alertmanager_and_resolves_only_when_we_say_so() {
    let mut am = Alertmanager::prepare(None);
    am.start().await;
    let b = Bench::sqlite().await;
    // Alertmanager goes by its own clock: an end must not lie in its future.
    let now = clock() - 120_000;
    let alerter = start(&b.store, &[&am.url()], &inventory(1), now).await;
    alerter.evaluate(&sample(0, now, false), now);
    alerter.round(now).await.expect("written");
    assert_eq!(alerter.deliver(0, now).await, 2, "the alert and the Watchdog");
    assert_eq!(am.active().await, ["RedisDown", "Watchdog"]);

    let alert = am.alerts().await.into_iter().find(|a| a["labels"]["level"] == "critical");
    let alert = alert.expect("ours");
    assert_eq!(text(&alert["labels"]["instance"]), instance_id(0).as_str());
    assert_eq!(text(&alert["labels"]["tenant"]), "pay");
    let row =
        &b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows")[0];
    assert_eq!(text(&alert["fingerprint"]), row.fingerprint, "Alertmanager computes the same");
    assert_eq!(text(&alert["generatorURL"]), format!("{PUBLIC}/alerts/{}", row.id));
    assert_eq!(At::parse(&text(&alert["startsAt"])), Ok(now));
    let ends = At::parse(&text(&alert["endsAt"])).expect("a time");
    assert_eq!(ends.since_ms(now), 240_000, "four resend periods ahead");
    assert!(text(&alert["annotations"]["summary"]).contains(instance_id(0).as_str()));

    assert_eq!(alerter.deliver(0, now + 1000).await, 0, "nothing is due");
    assert_eq!(alerter.deliver(0, now + 60_000).await, 2, "repeated every minute");
    assert_eq!(am.active().await, ["RedisDown", "Watchdog"]);

    alerter.evaluate(&sample(0, now + 15_000, true), now + 15_000);
    alerter.round(now + 15_000).await.expect("written");
    alerter.deliver(0, now + 61_000).await;
    wait::until("it is resolved", || async { (am.active().await == ["Watchdog"]).then_some(()) })
        .await;
    assert_eq!(phases(&b.store).await, [("RedisDown".into(), Phase::Resolved)]);
    let id = &row.id;
    let steps = b.store.transitions(&root(), id).await.expect("history");
    let steps: Vec<_> = steps.iter().map(|t| (t.from, t.to)).collect();
    assert_eq!(steps, [(Phase::Pending, Phase::Firing), (Phase::Firing, Phase::Resolved)]);
    alerter.round(now + 62_000).await.expect("written");
    let log = b.store.deliveries(&root(), id).await.expect("log");
    assert_eq!((log[0].receiver.as_str(), log[0].state.as_str()), (&*am.url(), "accepted"));
}

#[tokio::test]
async fn an_alertmanager_down_for_ten_minutes_misses_nothing_and_one_that_forgot_learns_it_anew() {
    let mut am = Alertmanager::prepare(None);
    let b = Bench::sqlite().await;
    let real = clock();
    let t0 = real - 600_000;
    let alerter = start(&b.store, &[&am.url()], &inventory(3), t0).await;
    for s in (0..600).step_by(15) {
        let now = t0 + s * 1000;
        // 0 fires and stays; 1 begins and ends inside the outage; 2 is well.
        alerter.evaluate(&sample(0, now, s < 30), now);
        alerter.evaluate(&sample(1, now, !(60..=120).contains(&s)), now);
        alerter.evaluate(&sample(2, now, true), now);
        alerter.round(now).await.expect("written");
        assert_eq!(alerter.deliver(0, now).await, 0);
    }
    let status = alerter.status(real);
    assert!(status.receivers[0].oldest_unsent_seconds >= 570.0, "{status:?}");
    assert!(status.receivers[0].retried > 0 && !status.receivers[0].error.is_empty());
    let log = b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows");
    assert_eq!(log.len(), 2);
    let lines = b.store.deliveries(&root(), &log[0].id).await.expect("log");
    assert_eq!(lines[0].state, "waiting");

    am.start().await;
    let back = clock().max(real) + 31_000;
    assert_eq!(alerter.deliver(0, back).await, 3, "two alerts and the Watchdog");
    let held = am.alerts().await;
    let down: Vec<_> = held.iter().filter(|a| a["labels"]["alertname"] == "RedisDown").collect();
    assert_eq!(down.len(), 1);
    assert_eq!(text(&down[0]["labels"]["instance"]), instance_id(0).as_str());
    assert_eq!(
        At::parse(&text(&down[0]["startsAt"])),
        Ok(t0 + 30_000),
        "when it fired, not when sent"
    );
    let resolved = am.metric("alertmanager_alerts_received_total{status=\"resolved\"").await;
    assert_eq!(resolved, 1.0, "what began and ended inside is told once");
    assert_eq!(alerter.status(back).receivers[0].oldest_unsent_seconds, 0.0);

    am.stop();
    am.start().await;
    assert!(am.active().await.is_empty(), "its memory is empty");
    alerter.deliver(0, back + 60_000).await;
    assert_eq!(am.active().await, ["RedisDown", "Watchdog"]);
}

#[tokio::test]
async fn an_alertmanager_that_hangs_delays_neither_the_other_nor_the_store() {
    let (mut hung, mut well) = (Alertmanager::prepare(None), Alertmanager::prepare(None));
    hung.start().await;
    well.start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&hung.url(), &well.url()], &inventory(1), now).await;
    hung.signal("STOP");
    alerter.evaluate(&sample(0, now, false), now);
    let stuck = alerter.deliver(0, now);
    let others = async {
        alerter.round(now).await.expect("written");
        assert_eq!(phases(&b.store).await, [("RedisDown".into(), Phase::Firing)]);
        assert_eq!(alerter.deliver(1, now).await, 2);
        assert_eq!(well.active().await, ["RedisDown", "Watchdog"]);
        assert_eq!(alerter.deliver(0, now).await, 0, "one POST in flight, no second one");
    };
    tokio::pin!(stuck);
    tokio::select! {
        biased;
        _ = &mut stuck => panic!("the hanging one answered"),
        () = others => {}
    }
    hung.signal("CONT");
    stuck.await;
    let later = now + 60_000;
    alerter.deliver(0, later).await;
    assert_eq!(hung.active().await, ["RedisDown", "Watchdog"], "both show the same set");
}

#[tokio::test]
async fn one_alert_an_alertmanager_will_never_take_is_dropped_alone() {
    let mut am = Alertmanager::prepare(None);
    am.start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&am.url()], &inventory(50), now).await;
    // No such document passes the check before it is stored; it stands for what we do not foresee.
    let poison = format!(
        "{{policy: instance-down, scope: 'instance:{}', labels: {{not-a-name: x}}}}",
        instance_id(17)
    );
    let poison = serde_saphyr::from_str(&poison).expect("a policy");
    alerter.rebuild(&inventory(50), &[at_once(), poison], now);
    for i in 0..50 {
        alerter.evaluate(&sample(i, now, false), now);
    }
    assert_eq!(alerter.deliver(0, now).await, 50, "49 alerts and the Watchdog");
    assert_eq!(am.active().await.len(), 50);
    let status = alerter.status(now);
    assert_eq!(status.receivers[0].dropped_poison, 1);
    assert_eq!(status.receivers[0].oldest_unsent_seconds, 0.0, "it is not tried for ever");
    alerter.round(now).await.expect("written");
    let all = b.store.alert_list(&root(), &AlertFilter::default(), 99, None).await.expect("rows");
    let bad = all.iter().find(|a| a.instance == Some(instance_id(17))).expect("its row");
    let log = b.store.deliveries(&root(), &bad.id).await.expect("log");
    assert_eq!(log[0].state, "rejected");
    assert!(log[0].detail.starts_with("400"), "{}", log[0].detail);
}

#[tokio::test]
async fn an_alertmanager_that_answers_500_then_401_is_tried_again_later_each_time() {
    let sink = Sink::start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&sink.url], &inventory(1), now).await;
    sink.answer(500);
    alerter.deliver(0, now).await;
    let posts = sink.bodies().len();
    alerter.deliver(0, now + 100).await;
    assert_eq!(sink.bodies().len(), posts, "it waits");
    sink.answer(401);
    alerter.deliver(0, now + 1_000).await;
    assert!(alerter.status(now).receivers[0].misconfigured);
    alerter.deliver(0, now + 20_000).await;
    assert_eq!(sink.bodies().len(), posts + 1, "people repair it, not time");
    sink.answer(200);
    assert_eq!(alerter.deliver(0, now + 31_000).await, 1);
    let status = alerter.status(now);
    assert!(!status.receivers[0].misconfigured && status.receivers[0].error.is_empty());
    assert_eq!(status.receivers[0].dropped_poison, 0);
}

#[tokio::test]
async fn five_thousand_alerts_at_once_take_forty_posts_and_are_a_mass_event() {
    let sink = Sink::start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&sink.url], &inventory(5_000), now).await;
    let mut row = sample(0, now, false);
    for i in 0..5_000 {
        let mut instance = (*row.instance).clone();
        instance.id = instance_id(i);
        row.instance = Arc::new(instance);
        alerter.evaluate(&row, now);
    }
    assert_eq!(alerter.deliver(0, now).await, 5_001);
    assert!(sink.bodies().len() <= 40, "{}", sink.bodies().len());
    alerter.round(now).await.expect("written");
    let filter = AlertFilter { phases: vec![Phase::Firing], ..AlertFilter::default() };
    let all = b.store.alert_list(&root(), &filter, 10_000, None).await.expect("rows");
    assert_eq!(all.len(), 5_000);
    let facts = b.store.alert_facts(now).await.expect("facts");
    assert_eq!((facts[0].kind.as_str(), facts[0].subject.as_str()), ("mass_event", "RedisDown"));
    assert!(b.store.alert_facts(now + store::FACT_MS).await.expect("facts").is_empty());
}

#[tokio::test]
async fn a_store_that_fails_delays_history_and_never_notification() {
    let mut am = Alertmanager::prepare(None);
    am.start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&am.url()], &inventory(1), now).await;
    alerter.round(now).await.expect("written");
    let path = b.url.strip_prefix("sqlite:").expect("a path").to_string();
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("a second connection");
    let mut block = pool.acquire().await.expect("a connection");
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *block).await.expect("the write lock");

    alerter.evaluate(&sample(0, now, false), now);
    assert!(alerter.round(now).await.is_err());
    assert_eq!(alerter.deliver(0, now).await, 2);
    assert_eq!(am.active().await, ["RedisDown", "Watchdog"]);
    alerter.evaluate(&sample(0, now + 15_000, true), now + 15_000);
    assert!(alerter.round(now + 15_000).await.is_err());
    let status = alerter.status(now + 20_000);
    assert_eq!(status.store_lag_seconds, 20.0);
    assert!(!status.store_error.is_empty());

    sqlx::query("ROLLBACK").execute(&mut *block).await.expect("the lock is given back");
    drop(block);
    alerter.round(now + 30_000).await.expect("written");
    assert_eq!(phases(&b.store).await, [("RedisDown".into(), Phase::Resolved)]);
    let status = alerter.status(now + 30_000);
    assert_eq!((status.store_lag_seconds, status.history_lost), (0.0, 0));
}

/// Killed (no shutdown) in pending, firing and retained phases; started again later.
async fn restart_story(url: &str) {
    let sink = Sink::start().await;
    let inv = inventory(3);
    let t0 = clock();
    let at = |s: i64| t0 + s * 1000;
    let store = open(url).await;
    let slow = "{policy: instance-down, scope: 'tenant:pay', selector: {instance: ['IT']}, \
                levels: {critical: {for: 1m}}}";
    let slow = slow.replace("IT", instance_id(1).as_str());
    let slow: PolicyDoc = serde_saphyr::from_str(&slow).expect("a policy");
    for doc in [&at_once(), &slow] {
        store.policy_put(&root(), doc, "test", t0).await.expect("published");
    }
    let alerter = start(&store, &[&sink.url], &inv, t0).await;
    sink.answer(500);
    for s in [0, 15, 30] {
        alerter.evaluate(&sample(0, at(s), false), at(s));
        alerter.evaluate(&sample(1, at(s), false), at(s));
        alerter.evaluate(&sample(2, at(s), s == 30), at(s));
        alerter.round(at(s)).await.expect("written");
        alerter.deliver(0, at(s)).await;
    }
    let fired = &store
        .alert_list(
            &root(),
            &AlertFilter { phases: vec![Phase::Firing], ..AlertFilter::default() },
            9,
            None,
        )
        .await
        .expect("rows")[0];
    drop(alerter);
    store.close().await;
    drop(store);

    let store = open(url).await;
    let alerter = start(&store, &[&sink.url], &inv, at(4000)).await;
    sink.answer(200);
    assert_eq!(alerter.deliver(0, at(4000)).await, 3, "firing, retained, Watchdog");
    let body: Vec<Value> =
        serde_json::from_slice(sink.bodies().last().expect("a POST")).expect("JSON");
    let of = |i: usize| {
        body.iter().find(|a| a["labels"]["instance"] == instance_id(i).as_str()).expect("sent")
    };
    assert_eq!(text(&of(0)["startsAt"]), t0.to_string());
    assert_eq!(text(&of(0)["endsAt"]), at(4240).to_string());
    assert_eq!(text(&of(2)["endsAt"]), at(30).to_string(), "its end was not taken before");
    assert!(text(&of(0)["annotations"]["summary"]).contains("is down"));

    for s in [4000, 4015] {
        alerter.evaluate(&sample(1, at(s), false), at(s));
        let pending = alerter.snapshot().into_iter().any(|a| a.phase == Phase::Pending);
        assert!(pending, "30 s before, {} s after", s - 4000);
    }
    alerter.evaluate(&sample(1, at(4030), false), at(4030));
    alerter.evaluate(&sample(0, at(4030), true), at(4030));
    alerter.round(at(4030)).await.expect("written");
    let rows = store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows");
    let row = |i: usize| rows.iter().find(|a| a.instance == Some(instance_id(i))).expect("a row");
    assert_eq!(rows.len(), 3, "no lost and no doubled alert");
    assert_eq!((row(1).phase, row(1).starts_at), (Phase::Firing, at(4030)));
    assert_eq!((row(0).phase, &row(0).id), (Phase::Resolved, &fired.id));
    assert_eq!(row(0).fingerprint, fired.fingerprint);

    alerter.shutdown(at(4031)).await;
    let states = store.alert_states(&root()).await.expect("states");
    // Of what ended only the flips are kept, for a restart must not make it look calm.
    let live = states.iter().filter(|(_, state)| !state.contains(r#""levels":[]"#)).count();
    assert_eq!(live, 1, "only what is live is kept: {states:?}");
    intake_story(&store, &alerter, at(4031)).await;
}

#[tokio::test]
async fn a_kill_and_a_restart_lose_and_double_nothing_on_sqlite() {
    let dir = tempfile::Builder::new().prefix("cw-alerting-").tempdir().expect("tempdir");
    restart_story(&format!("sqlite:{}", dir.path().join("cw.db").display())).await;
}

#[tokio::test]
async fn a_kill_and_a_restart_lose_and_double_nothing_on_postgresql() {
    let pg = Postgres::start().await;
    restart_story(&pg.url()).await;
}

fn posted(status: &str, labels: Value, starts: At, ends: Option<At>) -> Value {
    let zero = "0001-01-01T00:00:00Z".to_string();
    json!({
        "status": status, "labels": labels, "annotations": {"summary": "s"},
        "startsAt": starts, "endsAt": ends.map_or(zero, |e| e.to_string()),
        "generatorURL": "http://prometheus/graph", "fingerprint": "made up", "unknown": 1,
    })
}

fn message(alerts: &[Value]) -> Vec<u8> {
    json!({
        "version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing",
        "receiver": "cachewarden", "externalURL": "http://am", "alerts": alerts, "newField": {},
    })
    .to_string()
    .into_bytes()
}

/// Every effect a webhook can have.
async fn intake_story(store: &Arc<Store>, alerter: &Alerter, now: At) {
    let am = token(Scope::Platform, &[Right::IntakePost]);
    let labels = json!({"alertname": "RedisNoMaster", "tenant": "pay", "service": "cart",
                        "severity": "critical"});
    let post = async |alert: Value, now: At| {
        let receipt = alerter.intake(&am, "am", &message(&[alert]), now).await.expect("taken");
        receipt.results.keys().next().copied().expect("one result")
    };
    let rows = async || {
        let all = store.alert_list(&root(), &AlertFilter::default(), 99, None).await.expect("rows");
        all.into_iter().filter(|a| a.source == AlertSource::Alertmanager).collect::<Vec<_>>()
    };
    let t = |s: i64| now + s * 1000;
    assert_eq!(post(posted("firing", labels.clone(), t(0), None), t(5)).await, "opened");
    for i in 0..20 {
        let again = posted("firing", labels.clone(), t(0), None);
        assert_eq!(post(again, t(6 + i)).await, "touched");
    }
    // An HA twin started later: the earliest start stays.
    assert_eq!(post(posted("firing", labels.clone(), t(2), None), t(30)).await, "touched");
    let open = rows().await;
    assert_eq!((open.len(), open[0].starts_at, open[0].last_seen), (1, t(0), t(30)));
    assert_eq!(open[0].runbooks, ["master-failover"], "from our table");
    assert_eq!(open[0].service, Some("pay.cart".parse::<ServiceId>().expect("an id")));

    let before = posted("resolved", labels.clone(), t(-90), Some(t(-60)));
    assert_eq!(post(before, t(31)).await, "late", "an end before the open one's start");
    let end = posted("resolved", labels.clone(), t(0), Some(t(40)));
    assert_eq!(post(end.clone(), t(41)).await, "closed");
    assert_eq!(post(end, t(42)).await, "duplicate");
    let late = posted("firing", labels.clone(), t(1), None);
    assert_eq!(post(late, t(43)).await, "duplicate", "a late repeat opens nothing");
    let closed = &rows().await[0];
    assert_eq!((closed.phase, closed.ends_at), (Phase::Resolved, Some(t(40))));
    assert_eq!(post(posted("firing", labels.clone(), t(50), None), t(51)).await, "opened");
    assert_eq!(rows().await.len(), 2, "a new occurrence");

    // A clock that is wrong by a year must not make a late duplicate of all that follows.
    let end = posted("resolved", labels.clone(), t(50), Some(t(365 * 86_400)));
    assert_eq!(post(end, t(55)).await, "closed");
    assert_eq!(post(posted("firing", labels.clone(), t(57), None), t(58)).await, "opened");
    // Ahead of us by a minute: what began in our future ended in it too.
    let ahead = json!({"alertname": "Ahead", "tenant": "pay"});
    assert_eq!(post(posted("firing", ahead.clone(), t(60), None), t(1)).await, "opened");
    assert_eq!(post(posted("resolved", ahead, t(60), Some(t(61))), t(2)).await, "closed");
    let nul = json!({"alertname": "N\u{0}l", "tenant": "pay", "x": "\u{0}"});
    assert_eq!(post(posted("firing", nul, t(0), None), t(1)).await, "opened");

    let other = json!({"alertname": "Other", "tenant": "pay"});
    let end = posted("resolved", other.clone(), t(0), Some(t(40)));
    assert_eq!(post(end, t(41)).await, "tombstone");
    assert_eq!(post(posted("firing", other.clone(), t(0), None), t(42)).await, "late");
    assert_eq!(post(posted("firing", other, t(60), None), t(61)).await, "opened");

    // Both Alertmanagers of a pair post at once.
    let twin = json!({"alertname": "Twin", "tenant": "pay"});
    let body = message(&[posted("firing", twin, t(0), None)]);
    let both =
        futures_util::future::join_all((0..8).map(|_| alerter.intake(&am, "am", &body, t(1))));
    let mut results = std::collections::BTreeMap::new();
    for receipt in both.await {
        let receipt = receipt.expect("taken");
        receipt.results.keys().for_each(|k| *results.entry(*k).or_insert(0) += 1);
    }
    assert_eq!(results, [("opened", 1), ("touched", 7)].into());

    let pay = token(Scope::Tenant("pay".parse().expect("an id")), &[Right::IntakePost]);
    for labels in [json!({"alertname": "A", "tenant": "hr"}), json!({"alertname": "A"})] {
        let body = message(&[posted("firing", labels, t(0), None)]);
        let refused = alerter.intake(&pay, "am", &body, t(1)).await;
        assert!(matches!(&refused, Err(e @ IntakeError::Denied(_)) if e.status() == 403));
    }
    let hr = token(Scope::Tenant("hr".parse().expect("an id")), &[Right::FleetRead]);
    let seen = store.alert_list(&hr, &AlertFilter::default(), 99, None).await.expect("a list");
    assert!(seen.is_empty(), "another tenant's alerts do not exist for him");
    assert!(store.alert_get(&hr, &rows().await[0].id).await.is_err());
}

#[tokio::test]
async fn a_body_that_cannot_be_taken_says_so_and_has_no_effect() {
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[], &inventory(1), now).await;
    let am = token(Scope::Platform, &[Right::IntakePost]);
    let old = now - 25 * 3_600_000;
    let replay = posted("firing", json!({"alertname": "RedisDown", "tenant": "pay"}), old, None);
    let no_name = posted("firing", json!({"tenant": "pay"}), now, None);
    let strange = posted("paused", json!({"alertname": "A"}), now, None);
    let tenant = posted("firing", json!({"alertname": "A", "tenant": "Not A Tenant"}), now, None);
    for body in [
        b"{".to_vec(),
        b"{\"version\": \"4\"}".to_vec(),
        b"{\"version\": \"9\", \"alerts\": []}".to_vec(),
        message(&[no_name]),
        message(&[strange]),
        message(&[tenant]),
        message(&[replay]),
    ] {
        let refused = alerter.intake(&am, "am", &body, now).await.expect_err("refused");
        assert_eq!(refused.status(), 400, "{refused}");
    }
    assert!(phases(&b.store).await.is_empty());
    let dog = json!({"alertname": "Watchdog", "evaluator": "prometheus"});
    let dog = message(&[posted("firing", dog, old, None)]);
    let receipt =
        alerter.intake(&am, "am", &dog, now).await.expect("what starts nothing may be old");
    assert_eq!(receipt.results["opened"], 1);
    assert_eq!(alerter.status(now + 1000).watchdog_age_seconds, [("prometheus".into(), 1.0)]);
    let mut cut: Value = serde_json::from_slice(&message(&[])).expect("JSON");
    cut["truncatedAlerts"] = 7.into();
    alerter.intake(&am, "am-1", cut.to_string().as_bytes(), now).await.expect("taken");
    let facts = b.store.alert_facts(now).await.expect("facts");
    assert_eq!((facts[0].kind.as_str(), facts[0].subject.as_str()), ("truncated", "am-1"));
    b.store.close().await;
    let foreign = posted("firing", json!({"alertname": "A"}), now, None);
    let gone = alerter.intake(&am, "am", &message(&[foreign]), now).await.expect_err("no store");
    assert_eq!(gone.status(), 503, "the sender repeats it");
}

#[tokio::test]
async fn our_own_alert_coming_back_through_alertmanager_only_touches_the_delivery_log() {
    let sink = Sink::start().await;
    let mut am = Alertmanager::prepare(Some(&sink.url));
    am.start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&am.url()], &inventory(1), now).await;
    let hook = token(Scope::Platform, &[Right::IntakePost]);
    alerter.evaluate(&sample(0, now, false), now);
    alerter.deliver(0, now).await;
    let foreign = json!([{"labels": {"alertname": "Foreign", "tenant": "pay"}, "startsAt": now}]);
    let sent = http().post(format!("{}/api/v2/alerts", am.url())).json(&foreign).send().await;
    assert!(sent.expect("sent").status().is_success());

    // The row is not written yet when the first messages arrive.
    let firing = wait::until("Alertmanager posts three groups", || async {
        let named = |name: &str| {
            sink.bodies().into_iter().find(|body| String::from_utf8_lossy(body).contains(name))
        };
        Some([named("RedisDown")?, named("Watchdog")?, named("Foreign")?])
    })
    .await;
    let mut results = Vec::new();
    for body in &firing {
        let receipt = alerter.intake(&hook, "am", body, now).await.expect("taken");
        results.extend(receipt.results.into_keys());
    }
    assert_eq!(results, ["own", "watchdog", "opened"]);
    alerter.round(now).await.expect("written");
    let receipt = alerter.intake(&hook, "am", &firing[0], now).await.expect("taken");
    assert_eq!(receipt.results["own"], 1, "also from the row");

    let back = now + 15_000;
    alerter.evaluate(&sample(0, back, true), back);
    alerter.round(back).await.expect("written");
    let receipt = alerter.intake(&hook, "am", &firing[0], back).await.expect("taken");
    assert_eq!(receipt.results["own"], 1, "a late copy opens nothing");
    let rows = b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows");
    let own: Vec<_> = rows.iter().filter(|a| a.source == AlertSource::Embedded).collect();
    assert_eq!((rows.len(), own.len(), own[0].phase), (2, 1, Phase::Resolved));
    let log = b.store.deliveries(&root(), &own[0].id).await.expect("log");
    let seen = log.iter().find(|l| l.receiver == "webhook:am").expect("seen");
    assert_eq!(seen.state, "seen");

    // A new process that never heard of the alert still knows it by its row.
    let other = start(&b.store, &[], &inventory(1), back).await;
    let receipt = other.intake(&hook, "am", &firing[0], back).await.expect("taken");
    assert_eq!(receipt.results["own"], 1);
}

#[tokio::test]
async fn a_sender_of_one_tenant_reaches_no_alert_of_another() {
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[], &inventory(1), now).await;
    alerter.evaluate(&sample(0, now, false), now);
    alerter.round(now).await.expect("written");
    let victim =
        &b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows")[0];
    let hr = token(Scope::Tenant("hr".parse().expect("an id")), &[Right::IntakePost]);

    // By its link.
    let mut link = posted("firing", json!({"alertname": "RedisDown", "tenant": "hr"}), now, None);
    link["generatorURL"] = format!("{PUBLIC}/alerts/{}", victim.id).into();
    let receipt = alerter.intake(&hr, "hr", &message(&[link]), now).await.expect("taken");
    assert_eq!(receipt.results, [("own_unknown", 1)].into());
    assert!(b.store.deliveries(&root(), &victim.id).await.expect("log").is_empty());

    // By a fingerprint made to be the same.
    let mut alert = victim.clone();
    alert.id = "hr-1".into();
    alert.tenant = Some("hr".parse().expect("an id"));
    (alert.service, alert.instance) = (None, None);
    let forged = [store::Posted { alert, link_id: None }];
    let open = |p: &store::Posted, known: &store::Known| {
        assert!(known.open.is_none() && known.closed.is_none(), "not his");
        store::Effect::Open(Box::new(p.alert.clone()))
    };
    let opened = b.store.intake_commit(&hr, "hr", &forged, 0, open, now).await;
    assert_eq!(opened.expect("beside the other").len(), 1);
    let back = now + 15_000;
    alerter.evaluate(&sample(0, back, true), back);
    alerter.round(back).await.expect("written");
    let phase = async |id: &str| b.store.alert_get(&root(), id).await.expect("a row").phase;
    assert_eq!(phase(&victim.id).await, Phase::Resolved, "and each keeps its own row");
    assert_eq!(phase("hr-1").await, Phase::Firing);
}

#[tokio::test]
async fn removing_an_instance_resolves_at_once_and_an_edit_keeps_the_alert() {
    let mut am = Alertmanager::prepare(None);
    am.start().await;
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[&am.url()], &inventory(2), now).await;
    for i in 0..2 {
        alerter.evaluate(&sample(i, now, false), now);
    }
    alerter.deliver(0, now).await;
    assert_eq!(am.active().await, ["RedisDown", "RedisDown", "Watchdog"]);
    let text = "{policy: instance-down, scope: 'tenant:pay', levels: {critical: {for: 1h}}}";
    let edited = serde_saphyr::from_str(text).expect("a policy");
    alerter.rebuild(&inventory(1), &[edited], now + 1);
    alerter.round(now + 1).await.expect("written");
    alerter.deliver(0, now + 1).await;
    wait::until("one is left", || async {
        (am.active().await == ["RedisDown", "Watchdog"]).then_some(())
    })
    .await;
    let rows = b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows");
    let gone = rows.iter().find(|a| a.instance == Some(instance_id(1))).expect("its row");
    assert_eq!((gone.phase, gone.reason.as_str()), (Phase::Resolved, "instance_removed"));
    assert_eq!(b.store.alert_states(&root()).await.expect("states").len(), 1);
}

#[tokio::test]
async fn a_policy_revision_needs_its_right_is_audited_and_unchanged_makes_none() {
    let b = Bench::sqlite().await;
    let now = clock();
    let doc = at_once();
    assert_eq!(b.store.policy_put(&root(), &doc, "again", now).await.expect("published"), 1);
    let mut tighter = doc.clone();
    tighter.enabled = Some(true);
    assert_eq!(b.store.policy_put(&root(), &tighter, "why", now).await.expect("published"), 2);
    let docs = b.store.policies(&root()).await.expect("policies");
    assert_eq!(docs, [tighter.clone()], "the newest is in force");
    let hr = token(
        Scope::Tenant("hr".parse().expect("an id")),
        &[Right::PolicyPublish, Right::FleetRead],
    );
    assert!(b.store.policy_put(&hr, &tighter, "x", now).await.is_err());
    assert!(b.store.policies(&hr).await.expect("policies").is_empty());
    let audit = b.store.audit_list(&root(), None, 10).await.expect("records").records;
    assert_eq!(audit[0].action, "policy.publish");
    assert_eq!(audit[0].target, "instance-down@tenant:pay");
    assert_eq!(audit[0].after["rev"], 2);
}

fn repository() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn passes(program: &str, args: &[&str]) {
    let out = std::process::Command::new(tests::fleet::program(program))
        .current_dir(repository())
        .args(args)
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{program} {args:?}: {said}");
}

#[test]
fn the_shipped_configurations_and_rules_pass_promtool_and_amtool() {
    passes("promtool", &["check", "config", "--syntax-only", "deploy/prometheus.yml"]);
    passes("promtool", &["check", "rules", "rules/cw-meta.yml", "rules/recording.yml"]);
    passes("amtool", &["check-config", "deploy/alertmanager.yml"]);
    let dir = tempfile::tempdir().expect("tempdir");
    let config = std::fs::read_to_string(repository().join("deploy/prometheus.yml"));
    let rules = repository().join("rules").canonicalize().expect("rules");
    let config =
        config.expect("a file").replace("/etc/cachewarden/rules", &rules.display().to_string());
    let path = dir.path().join("prometheus.yml");
    std::fs::write(&path, config).expect("written");
    passes("promtool", &["check", "config", &path.display().to_string()]);
}

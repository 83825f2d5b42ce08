//! What must not be lost or believed: history beside a row the database refuses, the brake of one
//! tenant beside another's storm, a server that cannot be read.

use model::alert::Phase;
use model::right::{Right, Scope};
use model::verdict::Verdict;
use serde_json::{Value, json};
use sqlx::Connection as _;
use store::{AlertFilter, Store};
use tests::pg::Postgres;

use super::{
    Bench, at_once, clock, instance_id, inventory, message, open, phases, posted, root, sample,
    start, token,
};

/// Makes the database refuse rows of instance 1, whatever is in them.
async fn poison(url: &str) {
    let id = instance_id(1);
    if let Some(path) = url.strip_prefix("sqlite:") {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
        let mut c = sqlx::SqliteConnection::connect_with(&options).await.expect("a connection");
        let sql = format!(
            "CREATE TRIGGER poison BEFORE INSERT ON alert WHEN NEW.instance = '{id}' \
             BEGIN SELECT RAISE(ABORT, 'poison'); END"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut c).await.expect("a trigger");
    } else {
        let mut c = sqlx::PgConnection::connect(url).await.expect("a connection");
        let sql = format!("ALTER TABLE alert ADD CONSTRAINT poison CHECK (instance <> '{id}')");
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut c).await.expect("a constraint");
    }
}

async fn poison_story(url: &str) {
    let store = open(url).await;
    let now = clock();
    store.policy_put(&root(), &at_once(), "test", now).await.expect("published");
    let alerter = start(&store, &[], &inventory(3), now).await;
    poison(url).await;
    for i in 0..3 {
        alerter.evaluate(&sample(i, now, false), now);
    }
    alerter.round(now).await.expect("the others are written");
    let written = |phase| vec![("RedisDown".to_string(), phase); 2];
    assert_eq!(phases(&store).await, written(Phase::Firing));
    let status = alerter.status(now);
    assert!(status.history_refused > 0 && status.waiting_writes == 0, "{status:?}");
    assert_eq!((status.history_lost, status.store_error.as_str()), (0, ""));
    let fires = alerter.snapshot().into_iter().filter(|a| a.alertname == "RedisDown").count();
    assert_eq!(fires, 3, "the refused one is told all the same");

    // Nor does it stand in the way later.
    let back = now + 15_000;
    for i in 0..3 {
        alerter.evaluate(&sample(i, back, true), back);
    }
    alerter.round(back).await.expect("the others are written");
    assert_eq!(phases(&store).await, written(Phase::Resolved));
    assert_eq!(alerter.status(back).waiting_writes, 0);
}

#[tokio::test]
async fn one_row_the_database_refuses_keeps_no_other_out_of_history_on_sqlite() {
    let dir = tempfile::tempdir().expect("a folder");
    poison_story(&format!("sqlite:{}", dir.path().join("cw.db").display())).await;
}

#[tokio::test]
async fn one_row_the_database_refuses_keeps_no_other_out_of_history_on_postgresql() {
    let pg = Postgres::start().await;
    poison_story(&pg.url()).await;
}

/// (kind, tenant) of the facts that hold now.
async fn facts(store: &Store) -> Vec<(String, String)> {
    let facts = store.alert_facts(clock()).await.expect("facts");
    facts.into_iter().map(|f| (f.kind, f.tenant)).collect()
}

fn storm(tenant: &str, alerts: usize) -> Vec<u8> {
    let alert = |i: usize| {
        let labels = json!({"alertname": "RedisDown", "tenant": tenant, "node": i.to_string()});
        posted("firing", labels, clock(), None)
    };
    message(&(0..alerts).map(alert).collect::<Vec<_>>())
}

fn cut(message: &[u8]) -> Vec<u8> {
    let mut cut: Value = serde_json::from_slice(message).expect("JSON");
    cut["truncatedAlerts"] = 7.into();
    cut.to_string().into_bytes()
}

#[tokio::test]
async fn the_storm_of_one_tenant_is_its_own_and_a_little_in_each_of_many_is_the_fleets() {
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[], &inventory(1), now).await;
    let of =
        |tenant: &str| token(Scope::Tenant(tenant.parse().expect("an id")), &[Right::IntakePost]);
    alerter.intake(&of("pay"), "pay", &storm("pay", 30), now).await.expect("taken");
    alerter.intake(&of("hr"), "hr", &storm("hr", 2), now).await.expect("taken");
    assert_eq!(facts(&b.store).await, [("mass_event".into(), "pay".into())]);

    let platform = token(Scope::Platform, &[Right::IntakePost]);
    for i in 0..20 {
        let tenant = format!("t{i}");
        alerter.intake(&platform, "am", &storm(&tenant, 1), now).await.expect("taken");
    }
    assert!(facts(&b.store).await.contains(&("mass_event".into(), String::new())));
}

#[tokio::test]
async fn a_cut_message_without_alerts_closes_the_brake_of_its_senders_tenants_only() {
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[], &inventory(1), now).await;
    let empty = cut(&message(&[]));
    let nobody = token(Scope::Platform, &[Right::FleetRead]);
    let refused = alerter.intake(&nobody, "x", &empty, now).await.expect_err("no right to post");
    assert_eq!(refused.status(), 403);
    assert!(facts(&b.store).await.is_empty());

    let hr = token(Scope::Tenant("hr".parse().expect("an id")), &[Right::IntakePost]);
    let receipt = alerter.intake(&hr, "hr", &empty, now).await.expect("taken");
    assert_eq!((receipt.truncated, receipt.results.len()), (7, 0));
    assert_eq!(facts(&b.store).await, [("truncated".into(), "hr".into())]);
}

#[tokio::test]
async fn an_end_posted_by_one_tenant_makes_no_late_duplicate_of_anothers_alert() {
    let b = Bench::sqlite().await;
    let now = clock();
    let _alerter = start(&b.store, &[], &inventory(1), now).await;
    let labels = |tenant: &str| json!({"alertname": "A", "tenant": tenant});
    let made = |tenant: &str, status: &str| {
        let ends = (status == "resolved").then_some(now);
        let body = message(&[posted(status, labels(tenant), now - 1_000, ends)]);
        let parsed = alerter::intake::parse(&body).expect("a message");
        let mut posted =
            alerter::intake::posted(&parsed.alerts[0], &inventory(1), "", now).expect("an alert");
        // A fingerprint made to be the same.
        posted.alert.fingerprint = "00000000deadbeef".into();
        posted
    };
    let effect = async |tenant: &str, status: &str| {
        let who = token(Scope::Tenant(tenant.parse().expect("an id")), &[Right::IntakePost]);
        let decide =
            |p: &store::Posted, known: &store::Known| alerter::intake::effect(p, known, false);
        let posted = [made(tenant, status)];
        b.store.intake_commit(&who, tenant, &posted, 0, decide, now).await.expect("taken")[0]
            .result()
    };
    assert_eq!(effect("hr", "resolved").await, "tombstone");
    assert_eq!(effect("pay", "firing").await, "opened");
    assert_eq!(effect("hr", "firing").await, "late", "its own end it remembers");
}

#[tokio::test]
async fn a_server_that_cannot_be_read_is_not_down() {
    let b = Bench::sqlite().await;
    let now = clock();
    let alerter = start(&b.store, &[], &inventory(1), now).await;
    alerter.rebuild(&inventory(1), &[at_once()], now);
    let mut row = sample(0, now, false);
    for (i, reason) in ["auth", "noperm", "tls", "protocol", "observer_isolated"].iter().enumerate()
    {
        for n in 0..30 {
            let at = now + (i as i64 * 30 + n) * 15_000;
            let mut reading = (*row.reading).clone();
            (reading.at, reading.began) = (at, at);
            row.reading = reading.into();
            row.verdict = Verdict::Unknown(reason.to_string());
            alerter.evaluate(&row, at);
        }
        let named: Vec<String> = alerter
            .snapshot()
            .into_iter()
            .filter(|a| a.phase == Phase::Firing && a.policy != "watchdog")
            .map(|a| a.alertname)
            .collect();
        assert_eq!(named, ["RedisUnreadable"], "{reason}");
    }
    alerter.round(now).await.expect("written");
    let rows = b.store.alert_list(&root(), &AlertFilter::default(), 9, None).await.expect("rows");
    assert!(rows.iter().all(|a| a.runbooks.is_empty()), "and nothing reacts to it by itself");
}

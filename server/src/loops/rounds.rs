//! Every loop by name: what a round does and how often.

use std::sync::Arc;
use std::time::{Duration, Instant};

use alerter::Objective;
use alerter::signal::{Object, Outlook};
use exporter::encode::ThresholdPoint;
use model::caller::Caller;
use model::incident::Verb;
use model::operation::{OperationKind, OperationState};
use model::risk::RiskClass;
use model::{At, ServiceId};
use ops::placement::Layout;

use super::{Group, Pace, alerting, run};
use crate::app::App;
use crate::facts::FleetFacts;
use crate::{history, rollup, score_book, slo, topology, usage, vantage, watchers};

const SECOND: Duration = Duration::from_secs(1);
/// What belongs to the fleet as a whole has this clock.
const GRID: Duration = Duration::from_secs(15);
/// Until a new cluster is sorted into shards it has no score; between polls there is nothing to learn.
const TOPOLOGY: Duration = Duration::from_secs(3);
/// Scrapes come every 15 s: a picture this old is still newer than the one before.
const FACTS: Duration = Duration::from_secs(3);
/// Findings of zones follow roles and addresses, which change seldom; judging every layout is the
/// dearest part of the picture.
const ZONE_RISKS_MS: i64 = 15_000;
/// Windows in which turns are counted: with polls every 15 s each instance is in each of them.
const SCHEDULE: Duration = GRID;
/// What a crash may take of the memory of grades.
const HOUSEKEEPING: Duration = Duration::from_secs(60);
/// A stale master is to be a replica within 3 s of its return.
const RETURNS: Duration = Duration::from_millis(500);
/// A service is looked at once a day; which ones are due is asked this often.
const DRIFT: Duration = Duration::from_secs(60);
/// Days that Prometheus knows and we do not: of new services soon, and again until it answers.
const BACKFILL: Duration = Duration::from_secs(60);
/// Retention is counted in days.
const SWEEP: Duration = Duration::from_secs(300);

fn every(every: Duration) -> Pace<'static> {
    Pace { every, wake: None }
}

/// The loops that look, judge and tell.
pub(super) fn observe(app: &Arc<App>, group: &mut Group) {
    let a = app.clone();
    group.spawn("watch", move |stop| watchers::run(a, stop));
    let a = app.clone();
    group.spawn("rollup", move |stop| async move {
        run(&a, "rollup", every(SECOND), stop, |now| rollup::round(&a, now)).await;
    });
    let a = app.clone();
    group.spawn("grid", move |stop| async move {
        run(&a, "grid", every(GRID), stop, |now| {
            history::take(&a, now);
            std::future::ready(Ok(()))
        })
        .await;
    });
    let a = app.clone();
    group.spawn("usage", move |stop| async move {
        run(&a, "usage", every(GRID), stop, |now| usage::round(&a, now)).await;
        usage::save_last(&a).await;
    });
    let a = app.clone();
    group.spawn("backfill", move |stop| async move {
        let pace = Pace { every: BACKFILL, wake: Some(&a.inventory_moved) };
        run(&a, "backfill", pace, stop, |now| usage::backfill(&a, now)).await;
    });
    let a = app.clone();
    group.spawn("slo", move |stop| async move {
        run(&a, "slo", every(SECOND), stop, |now| slo::round(&a, now)).await;
        slo::save_last(&a).await;
    });
    let a = app.clone();
    group.spawn("alert_grid", move |stop| async move {
        // Slots are 15 s long; each object has its own within them.
        run(&a, "alert_grid", every(SECOND), stop, |now| {
            a.alerter.evaluate_grid(|due| outlook(&a, due, now), now);
            std::future::ready(Ok(()))
        })
        .await;
    });
    let a = app.clone();
    group.spawn("schedule", move |stop| async move {
        run(&a, "schedule", every(SCHEDULE), stop, |_| {
            schedule(&a);
            std::future::ready(Ok(()))
        })
        .await;
    });
    let a = app.clone();
    group.spawn("scores", move |stop| async move {
        run(&a, "scores", every(SECOND), stop, |now| score_book::round(&a, now)).await;
    });
    others(app, group);
    alerting::spawn(app, group);
    let a = app.clone();
    group.spawn("facts", move |stop| async move {
        run(&a, "facts", every(FACTS), stop, |now| facts(&a, now)).await;
    });
    let a = app.clone();
    group.spawn("certificates", move |stop| async move {
        run(&a, "certificates", every(GRID), stop, |_| certificates(&a)).await;
    });
}

/// The loop that hears the other processes; on SQLite there is nobody else.
fn others(app: &Arc<App>, group: &mut Group) {
    if app.store.is_shared() {
        let a = app.clone();
        group.spawn("vantage", move |stop| async move {
            let pace = every(vantage::every(&a));
            run(&a, "vantage", pace, stop, |now| vantage::round(&a, now)).await;
        });
    }
}

/// What is known of the objects that are due on the alerts' grid.
fn outlook(app: &App, due: &dyn Fn(&Object) -> bool, now: At) -> Outlook {
    let (inventory, rollup) = (app.inventory(), app.board.rollup());
    let mut known = alerter::outlook(&inventory, &app.board, &rollup, due);
    for point in app.slo.points(app, now).iter() {
        if due(&Object::Service(point.service.clone())) {
            let seen = Objective { burn: &point.burn, unknown: &point.unknown };
            alerter::objective(&mut known, &point.service, seen);
        }
    }
    known
}

/// Reads our own certificates' files again, on a thread that polls do not need.
async fn certificates(app: &Arc<App>) -> anyhow::Result<()> {
    let reading = app.clone();
    let ends = tokio::task::spawn_blocking(move || crate::certificates::ends(&reading)).await?;
    app.certificates.store(Arc::new(ends));
    Ok(())
}

/// The loops that begin something.
pub(super) fn decide(app: &Arc<App>, group: &mut Group) {
    let a = app.clone();
    group.spawn("topology", move |stop| async move {
        let pace = Pace { every: TOPOLOGY, wake: Some(&a.watching.topology_moved) };
        run(&a, "topology", pace, stop, |now| topology::round(&a, now)).await;
    });
    let a = app.clone();
    group.spawn("worker", move |stop| async move {
        let (a, wake) = (&*a, a.engine.wake());
        let pace = Pace { every: SECOND, wake: Some(&wake) };
        run(a, "worker", pace, stop, |now| async move {
            a.engine.round(now).await?;
            Ok(())
        })
        .await;
    });
    let a = app.clone();
    group.spawn("remediation", move |stop| async move {
        let remedy = ops::Remedy::new((*a.engine).clone());
        let remedy = &remedy;
        run(
            &a,
            "remediation",
            every(SECOND),
            stop,
            |now| async move { Ok(remedy.round(now).await?) },
        )
        .await;
    });
    let a = app.clone();
    group.spawn("return-watch", move |stop| async move {
        let remedy = ops::Remedy::new((*a.engine).clone());
        let remedy = &remedy;
        run(&a, "return-watch", every(RETURNS), stop, |now| async move {
            Ok(remedy.returns(now).await?)
        })
        .await;
    });
    let a = app.clone();
    group.spawn("drift", move |stop| async move {
        run(&a, "drift", every(DRIFT), stop, |now| crate::drift::round(&a, now)).await;
    });
    let a = app.clone();
    group.spawn("housekeeping", move |stop| async move {
        let mut swept: Option<Instant> = None;
        run(&a, "housekeeping", every(HOUSEKEEPING), stop, |now| {
            let due = swept.is_none_or(|at| at.elapsed() >= SWEEP);
            swept = if due { Some(Instant::now()) } else { swept };
            housekeeping(&a, due, now)
        })
        .await;
    });
}

/// Stretches intervals, or takes a stretch back.
fn schedule(app: &App) {
    if let Some(level) = app.watching.load.round() {
        tracing::warn!(
            level,
            "polls begin late: intervals of the less important instances are stretched by this \
             level; 0 is none"
        );
    }
}

/// The picture `/metrics` shows of alerts and operations. Alerts come from memory: they are there
/// also when the store is not.
async fn facts(app: &App, now: At) -> anyhow::Result<()> {
    let began = Instant::now();
    let operations = app.store.operation_counts().await;
    app.metrics.store_seconds.observe(began.elapsed().as_secs_f64());
    let decisions = app.store.decision_counts().await;
    let present = app.fleet.load();
    let judged = present.zone_risks_at.filter(|at| now.since_ms(*at) < ZONE_RISKS_MS);
    let kept = FleetFacts {
        alerts: app.alerter.snapshot(),
        operations: match &operations {
            Ok(counts) => counts.iter().filter_map(operation_count).collect(),
            Err(_) => present.operations.clone(),
        },
        refusals: app.engine.refusals().into_iter().collect(),
        decisions: match &decisions {
            Ok(counts) => counts.iter().filter_map(decision_count).collect(),
            Err(_) => present.decisions.clone(),
        },
        thresholds: app.alerter.thresholds().into_iter().map(threshold).collect(),
        drift: app.drift.all(),
        maintenance: app.alerter.maintained(&app.inventory(), app.now()).into_iter().collect(),
        zone_risks: match judged {
            Some(_) => present.zone_risks.clone(),
            None => zone_risks(app).into(),
        },
        zone_risks_at: judged.or(Some(now)),
    };
    app.fleet.store(Arc::new(kept));
    operations?;
    decisions?;
    Ok(())
}

/// Every service's findings by class, those without any as zeros: a series that is missing would look
/// like a service nobody judged.
fn zone_risks(app: &App) -> Vec<(ServiceId, RiskClass, usize)> {
    let inventory = app.inventory();
    let mut all = Vec::with_capacity(3 * inventory.services.len());
    for id in inventory.services.keys() {
        let Some(layout) = Layout::on_board(&inventory, &app.board, id) else { continue };
        let risk = ops::placement::risk::judge(&layout);
        let classes = [RiskClass::A, RiskClass::B, RiskClass::C];
        all.extend(classes.map(|class| (id.clone(), class, risk.count(class))));
    }
    all
}

fn threshold(t: alerter::Threshold) -> ThresholdPoint {
    ThresholdPoint { policy: t.policy, level: t.level, instance: t.instance, value: t.fire }
}

fn operation_count(
    (kind, state, count): &(String, String, i64),
) -> Option<(OperationKind, OperationState, u64)> {
    let (kind, state) = (OperationKind::parse(kind)?, OperationState::parse(state)?);
    Some((kind, state, u64::try_from(*count).ok()?))
}

fn decision_count(
    (runbook, verb, guard, count): &(String, String, String, i64),
) -> Option<(String, Verb, String, u64)> {
    Some((runbook.clone(), Verb::parse(verb)?, guard.clone(), u64::try_from(*count).ok()?))
}

/// Saves the grades that changed and, when that is due, deletes what is older than its retention.
async fn housekeeping(app: &App, sweep: bool, now: At) -> anyhow::Result<()> {
    let saved = app.watching.grades.save(app, now).await;
    let caller = Caller::system("housekeeping", format!("housekeeping-{}", now.ms()));
    app.store.operation_expire(&caller, now).await?;
    if sweep {
        self::sweep(app, now).await?;
    }
    saved
}

async fn sweep(app: &App, now: At) -> anyhow::Result<()> {
    let caller = Caller::system("housekeeping", format!("housekeeping-{}", now.ms()));
    for (subject, gone) in app.store.sweep(&caller, now).await? {
        if gone > 0 {
            tracing::info!(subject, gone, "deleted, for it is older than it is kept");
        }
    }
    Ok(())
}

//! The loops of the alerter: what it keeps, sends, withholds and holds against others.

use std::sync::Arc;
use std::time::Duration;

use super::{Group, Pace, run};
use crate::app::App;

const SECOND: Duration = Duration::from_secs(1);
/// Alerts of Prometheus' shadows are held against ours this often.
const RULES: Duration = Duration::from_secs(60);
/// A report is made once a day; whether it is due is asked this often.
const QUALITY: Duration = Duration::from_secs(600);

fn each_second() -> Pace<'static> {
    Pace { every: SECOND, wake: None }
}

/// Starts them.
pub(super) fn spawn(app: &Arc<App>, group: &mut Group) {
    let a = app.clone();
    group.spawn("alerter", move |stop| async move {
        let a = &*a;
        let pace = Pace { every: SECOND, wake: Some(a.alerter.wake()) };
        run(a, "alerter", pace, stop, |now| async move { Ok(a.alerter.round(now).await?) }).await;
    });
    for index in 0..app.alerter.receivers() {
        let a = app.clone();
        group.spawn("deliver", move |stop| async move {
            let a = &*a;
            let pace = Pace { every: SECOND, wake: Some(a.alerter.delivery_wake(index)) };
            run(a, "deliver", pace, stop, |now| async move {
                a.alerter.deliver(index, now).await;
                Ok(())
            })
            .await;
        });
    }
    let a = app.clone();
    group.spawn("gate", move |stop| async move {
        let a = &*a;
        run(
            a,
            "gate",
            each_second(),
            stop,
            |now| async move { Ok(a.alerter.gate_round(now).await?) },
        )
        .await;
    });
    let a = app.clone();
    group.spawn("watchdog", move |stop| async move {
        let a = &*a;
        run(a, "watchdog", each_second(), stop, |now| async move {
            Ok(a.alerter.watchdog_round(now).await?)
        })
        .await;
    });
    if app.alerter.has_alertmanager() {
        let a = app.clone();
        group.spawn("reconcile", move |stop| async move {
            let a = &*a;
            run(a, "reconcile", each_second(), stop, |now| async move {
                Ok(a.alerter.peers_round(now).await?)
            })
            .await;
        });
    }
    slow(app, group);
    let desks = if app.alerter.notifies() { app.alerter.desks() } else { 0 };
    for index in 0..desks {
        let a = app.clone();
        group.spawn("notify", move |stop| async move {
            let a = &*a;
            run(a, "notify", each_second(), stop, |now| async move {
                a.alerter.notify(index, now).await?;
                Ok(())
            })
            .await;
        });
    }
}

/// Those that look once a minute or less often.
fn slow(app: &Arc<App>, group: &mut Group) {
    let a = app.clone();
    group.spawn("rules", move |stop| async move {
        let a = &*a;
        let pace = Pace { every: RULES, wake: Some(&a.inventory_moved) };
        run(a, "rules", pace, stop, |now| crate::rules::round(a, now)).await;
    });
    let a = app.clone();
    group.spawn("quality", move |stop| async move {
        let a = &*a;
        let pace = Pace { every: QUALITY, wake: None };
        run(a, "quality", pace, stop, |now| crate::quality::round(a, now)).await;
    });
}

//! The loops of the alerter: what it keeps, sends, withholds and holds against others.

use std::sync::Arc;
use std::time::Duration;

use super::{Group, Pace, run};
use crate::app::App;

const SECOND: Duration = Duration::from_secs(1);

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

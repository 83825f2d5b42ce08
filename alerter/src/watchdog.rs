//! The alarm of the path of alerts: an always-firing alert that does not come back is told to people
//! past every Alertmanager, for that is the suspect.
//!
//! Invariant: the alarm has a receiver of its own and needs nothing of what it watches. An evaluator
//! that was never seen counts from the start of the process.

use std::collections::BTreeMap;
use std::sync::Mutex;

use model::At;

use crate::notify::group::{self, Brief, Group, Key, Next};
use crate::{Alerter, lock};

/// Silence that is an alarm: five of its repetitions.
const SILENT_MS: i64 = 300_000;
/// Name of the alarm.
const ALERTNAME: &str = "WatchdogMissing";

/// What the alarm must know.
#[derive(Default)]
pub(crate) struct Alarm {
    started: Mutex<At>,
}

impl Alarm {
    /// The process begins to watch.
    pub fn start(&self, now: At) {
        *lock(&self.started) = now;
    }
}

impl Alerter {
    /// Tells the watchdog's receiver when an evaluator's Watchdog is missing for five minutes, and
    /// when it is back. Run each second.
    pub async fn watchdog_round(&self, now: At) -> Result<(), store::Error> {
        let (Some(config), Some(desk)) = (&self.config.watchdog, &self.alarm_desk) else {
            return Ok(());
        };
        let Ok(_one) = desk.flight.try_lock() else { return Ok(()) };
        for evaluator in &config.evaluators {
            // Ours goes through Alertmanagers only; without one there is no path to watch.
            if evaluator == "embedded" && self.config.alertmanager.is_empty() {
                continue;
            }
            let seen = lock(&self.watchdogs).get(evaluator).copied();
            let since = seen.unwrap_or(*lock(&self.alarm.started));
            let missing = now.since_ms(since) > SILENT_MS;
            let firing = missing.then(|| self.alarm_brief(evaluator, since)).into_iter().collect();
            let key = Key {
                tenant: String::new(),
                service: evaluator.clone(),
                alertname: ALERTNAME.into(),
            };
            let told = lock(&desk.state).told.get(&key.text()).cloned();
            let group = Group { firing, ..Group::default() };
            if let Next::Tell(notice, after) = group::next(&group, told.as_ref(), true, now)
                && crate::notify::may_send(desk, now)
                && self.tell(desk, &key, &notice, now).await
            {
                self.keep_told(desk, &key, after, now).await?;
            }
        }
        Ok(())
    }

    fn alarm_brief(&self, evaluator: &str, since: At) -> Brief {
        let label = |name: &str, value: &str| (name.to_string(), value.to_string());
        let labels = BTreeMap::from([
            label("alertname", ALERTNAME),
            label("evaluator", evaluator),
            label("level", "critical"),
            label("severity", "critical"),
            label("dimension", "platform"),
        ]);
        let said = format!(
            "The Watchdog of {evaluator} has not come back since {since}: alerts may reach nobody"
        );
        Brief {
            id: format!("{ALERTNAME}-{evaluator}"),
            fingerprint: model::alert::fingerprint(&labels),
            labels,
            annotations: BTreeMap::from([
                label("summary", &said),
                label("runbook_url", &format!("{}/docs/runbooks/Watchdog", self.public_url)),
            ]),
            starts_at: since,
            ends_at: None,
            url: format!("{}/alerts", self.public_url),
        }
    }
}

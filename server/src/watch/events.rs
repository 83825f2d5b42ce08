//! What Sentinels tell: one connection to each of the inventory, on which a failover is heard of
//! the moment it is decided.
//!
//! Invariant: an event is a hint that it is time to look, never a fact: roles, masters and addresses
//! are read from the servers themselves, and nothing is dialled that is not in the inventory. Events
//! are bounded by the budget of each instance's extra polls; a switch of masters has one of its own, so
//! that it is seen also after many others.

use std::sync::Arc;
use std::time::Duration;

use link::Heard;
use model::InstanceId;
use model::inventory::Inventory;
use model::service::Mode;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::turns;
use crate::app::App;

/// The event that says who is the master now.
const SWITCHED: &str = "+switch-master";

/// The events that change or announce a change of roles, or of what Sentinel thinks of a node.
pub(crate) const CHANNELS: [&str; 19] = [
    SWITCHED,
    "+sdown",
    "-sdown",
    "+odown",
    "-odown",
    "+try-failover",
    "+failover-detected",
    "+failover-end",
    "+failover-end-for-timeout",
    "-failover-abort-no-good-slave",
    "-failover-abort-not-elected",
    "-failover-abort-slave-timeout",
    "+promoted-slave",
    "+slave",
    "+slave-reconf-done",
    "+convert-to-slave",
    "+fix-slave-config",
    "+reboot",
    "+reset-master",
];
/// First and longest wait before a Sentinel is dialled again.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A connection that lasted this long was a good one: the waits begin anew.
const STEADY: Duration = Duration::from_secs(60);

/// Listens to one Sentinel until `stop`, dialling again whenever it falls silent.
pub(crate) async fn listen(app: Arc<App>, id: InstanceId, stop: CancellationToken) {
    let (mut wait, mut heard_before) = (WAIT_MIN, false);
    loop {
        let began = Instant::now();
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            ended = connection(&app, &id, &mut heard_before) => ended,
        };
        let lasted = began.elapsed();
        tracing::debug!(sentinel = %id, why = ended, "events of a Sentinel are not heard now");
        wait = if lasted >= STEADY { WAIT_MIN } else { (wait * 2).min(WAIT_MAX) };
        // Sentinels that went away together must not be dialled together: each waits between half
        // and the whole by its own share.
        let share = turns::phase(&id, wait / 2);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = sleep(wait / 2 + share) => {}
        }
    }
}

/// One connection, from the dial to its end; answers why it ended.
async fn connection(app: &App, id: &InstanceId, heard_before: &mut bool) -> String {
    let target = match app.targets.load().get(id) {
        Some(Ok(target)) => target.clone(),
        Some(Err(why)) => return why.clone(),
        None => return "left the inventory".into(),
    };
    let deadline = Duration::from_millis(app.config.link.deadline_ms);
    let link = match link::dial(&target, deadline).await {
        Ok(link) => link,
        Err(e) => return e.to_string(),
    };
    let mut counted = None;
    let ended = link::listen(link, &CHANNELS, |heard| match heard {
        Heard::Subscribed => {
            counted = Some(Counted::new(app));
            // What happened while nobody listened was missed.
            if std::mem::replace(heard_before, true) {
                ring(app, id, "", "");
            }
        }
        Heard::Message { channel, text } => {
            if let Some(known) = CHANNELS.iter().find(|c| **c == channel) {
                app.metrics.sentinel_events.with_label_values(&[known]).inc();
                ring(app, id, known, &text);
            }
        }
    });
    ended.await.to_string()
}

/// A subscription that stands, for the figure of them.
struct Counted<'a>(&'a App);

impl Counted<'_> {
    fn new(app: &App) -> Counted<'_> {
        app.metrics.sentinel_subscriptions.inc();
        Counted(app)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.metrics.sentinel_subscriptions.dec();
    }
}

/// Has the services this Sentinel may speak of polled soon, and their topology looked at.
fn ring(app: &App, sentinel: &InstanceId, channel: &str, text: &str) {
    let (inventory, desks) = (app.inventory(), &app.watching.desks);
    for service in concerned(&inventory, sentinel, text) {
        match channel == SWITCHED {
            true => desks.ring_switched(&inventory, service, app.now()),
            false => desks.ring_service(&inventory, service),
        }
    }
    app.watching.topology_moved.notify_one();
}

/// The services of the inventory an event is about: the Sentinel's own, and for a fleet of
/// Sentinels those of its tenant that know the master by the name the event carries.
fn concerned<'a>(
    inventory: &'a Inventory,
    sentinel: &InstanceId,
    text: &str,
) -> Vec<&'a model::ServiceId> {
    let own = sentinel.service();
    let Some(home) = inventory.services.get(&own) else { return Vec::new() };
    let mut all = vec![&home.id];
    if home.mode == Mode::Sentinels {
        let name = master_name(text);
        let same = inventory.services.values().filter(|s| {
            s.mode == Mode::Sentinel
                && s.id.tenant() == own.tenant()
                && !name.is_empty()
                && s.sentinel_master == name
        });
        all.extend(same.map(|s| &s.id));
    }
    all
}

/// The master's name in an event: `<name> <old ip> <port> <new ip> <port>`, `master <name> <ip>
/// <port>` or `slave <name> <ip> <port> @ <master> <ip> <port>`; empty when it is none of these.
fn master_name(text: &str) -> &str {
    let words: Vec<&str> = text.split(' ').collect();
    match words.as_slice() {
        [_, _, _, _, "@", name, ..] => name,
        ["master", name, ..] => name,
        [name, _, _, _, _] => name,
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_master_is_found_in_every_form_of_an_event() {
        for (text, name) in [
            ("cart 10.0.0.1 6379 10.0.0.2 6379", "cart"),
            ("master cart 10.0.0.1 6379", "cart"),
            ("master cart 10.0.0.1 6379 #quorum 2/2", "cart"),
            ("slave 10.0.0.2:6379 10.0.0.2 6379 @ cart 10.0.0.1 6379", "cart"),
            ("sentinel 0a1b 10.0.0.3 26379 @ cart 10.0.0.1 6379", "cart"),
            ("", ""),
            ("nonsense", ""),
        ] {
            assert_eq!(master_name(text), name, "{text}");
        }
    }

    #[test]
    fn channels_are_named_once() {
        let mut names = CHANNELS.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), CHANNELS.len());
    }
}

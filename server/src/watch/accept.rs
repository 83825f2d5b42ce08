//! The accept probe of one instance: once a minute as a new client, beside the polls.
//!
//! Invariant: at most one runs at a time, never on the polls' connection and never in their way; a
//! server whose polls fail is not probed, for there is nothing more to learn.

use std::sync::Arc;
use std::time::Duration;

use exporter::Accepted;
use model::InstanceId;
use model::reading::Failure;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::turns::{self, Anchor};
use crate::app::App;

/// How a probe ended; none: there was nobody to ask.
pub(super) type Ended = Option<Result<Accepted, Failure>>;

/// When an instance is probed, and the probe that runs.
#[derive(Debug)]
pub(super) struct Accepts {
    every: Duration,
    due: Instant,
    running: Option<AbortOnDropHandle<Ended>>,
}

impl Accepts {
    /// The first probe is within one period; its moment lies between two polls.
    pub(super) fn new(id: &InstanceId, every: Duration, poll: Duration, anchor: Anchor) -> Accepts {
        let between = turns::phase(id, every) + poll / 2;
        let due = anchor.moment_after(Instant::now(), between, every);
        Accepts { every, due, running: None }
    }

    /// When the next probe is due; none while one runs.
    pub(super) fn due(&self) -> Option<Instant> {
        self.running.is_none().then_some(self.due)
    }

    /// Begins a probe, or only moves the next one when there is nothing to learn.
    pub(super) fn begin(&mut self, app: &Arc<App>, id: &InstanceId, now: Instant) {
        while self.due <= now {
            self.due += self.every;
        }
        if app.board.row(id).is_some_and(|row| row.reading.up) {
            let probe = tokio::spawn(probe(app.clone(), id.clone()));
            self.running = Some(AbortOnDropHandle::new(probe));
        }
    }

    /// Waits for the end of the running probe; for ever when none runs.
    pub(super) async fn ended(&mut self) -> Ended {
        let Some(running) = &mut self.running else { return std::future::pending().await };
        let ended = running.await;
        self.running = None;
        match ended {
            Ok(ended) => ended,
            Err(e) if e.is_panic() => std::panic::resume_unwind(e.into_panic()),
            Err(_) => None,
        }
    }
}

async fn probe(app: Arc<App>, id: InstanceId) -> Ended {
    let _place = app.watching.places.of_accept().await;
    let target = app.targets.load().get(&id)?.as_ref().ok()?.clone();
    let deadline = Duration::from_millis(app.config.link.deadline_ms);
    let ended = exporter::accept(&target, deadline).await;
    Some(ended.map_err(|e| {
        let detail = format!("a new client is not let in: {}", e.detail);
        Failure { reason: e.reason, detail: detail.chars().take(200).collect() }
    }))
}

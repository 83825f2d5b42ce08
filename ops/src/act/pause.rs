//! The write pause of a master, held as a lease and renewed from a connection of its own.
//!
//! Invariants: the end of the pause is counted from before the last good PAUSE was sent, so the
//! server never lets writers go earlier than we think; every gap in the cover starts a new
//! generation, and offsets read in an older one prove nothing. If we die, the server lets writers go
//! by itself.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use model::InstanceId;
use tokio::sync::Notify;

use super::Cx;
use super::conn::{Conn, Trouble};

/// Between two renewals: a third of the shorter pause, so one lost renewal leaves no gap.
const RENEW_EVERY: Duration = Duration::from_secs(1);
/// Before a broken renewing connection is dialled again.
const REDIAL_AFTER: Duration = Duration::from_millis(100);

struct Cover {
    until: Instant,
    generation: u32,
}

/// A pause that is being held.
pub(super) struct Pause {
    length: Duration,
    cover: Mutex<Cover>,
    renewed: Notify,
    stop: Notify,
}

impl Pause {
    /// Pauses writes on `id` for `length`. A lost reply leaves it open whether writers are held; they
    /// are let go by the server then.
    pub(super) async fn begin<'c>(
        cx: &'c Cx<'c>,
        id: &InstanceId,
        length: Duration,
    ) -> Result<(Pause, Keeper<'c>), Trouble> {
        let mut conn = Conn::dial(cx, id).await?;
        let pause = Pause {
            length,
            cover: Mutex::new(Cover { until: Instant::now(), generation: 0 }),
            renewed: Notify::new(),
            stop: Notify::new(),
        };
        pause.send(&mut conn).await?;
        Ok((pause, Keeper { conn }))
    }

    /// How long writers are surely held from now on.
    pub(super) fn remaining(&self) -> Duration {
        self.cover().until.saturating_duration_since(Instant::now())
    }

    /// Changes whenever writers may have been let go in between.
    pub(super) fn generation(&self) -> u32 {
        let mut cover = self.cover();
        if cover.until <= Instant::now() {
            cover.generation += 1;
        }
        cover.generation
    }

    /// Waits for the next good renewal, at most a few periods.
    pub(super) async fn next_renewal(&self) {
        let _ = tokio::time::timeout(RENEW_EVERY * 2, self.renewed.notified()).await;
    }

    fn cover(&self) -> MutexGuard<'_, Cover> {
        self.cover.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, conn: &mut Conn<'_>) -> Result<(), Trouble> {
        let length = self.length.as_millis().to_string();
        let sent = Instant::now();
        conn.send(&["CLIENT", "PAUSE", &length, "WRITE"]).await?;
        let mut cover = self.cover();
        // The server took it at some time up to now: if the old cover had ended by then, a writer
        // may have slipped through.
        if cover.until < Instant::now() {
            cover.generation += 1;
        }
        cover.until = cover.until.max(sent + self.length);
        self.renewed.notify_one();
        Ok(())
    }
}

/// The connection that renews a pause.
pub(super) struct Keeper<'c> {
    conn: Conn<'c>,
}

impl Keeper<'_> {
    /// Holds the pause while `work` runs. When this answers, no PAUSE is on its way any more, so an
    /// UNPAUSE sent next is the last word; without one, the pause lasts up to its length.
    pub(super) async fn hold<T>(self, pause: &Pause, work: impl Future<Output = T>) -> T {
        let working = async {
            let out = work.await;
            pause.stop.notify_one();
            out
        };
        let (out, ()) = tokio::join!(working, self.renew(pause));
        out
    }

    async fn renew(mut self, pause: &Pause) {
        let mut wait = RENEW_EVERY;
        loop {
            tokio::select! {
                () = pause.stop.notified() => return,
                () = tokio::time::sleep(wait) => {}
            }
            wait = match pause.send(&mut self.conn).await {
                Ok(()) => RENEW_EVERY,
                Err(Trouble::Gone(_) | Trouble::Lost(_)) => {
                    let _ = self.conn.again().await;
                    REDIAL_AFTER
                }
                Err(_) => RENEW_EVERY,
            };
        }
    }
}

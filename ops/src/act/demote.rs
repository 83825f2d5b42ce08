//! What every fenced section shares: enough lease, the drain, demoting the old master, letting
//! clients go.
//!
//! Invariant: "drained" holds for one unbroken pause only; the old master is demoted before anybody
//! is let go.

use std::time::{Duration, Instant};

use link::reply::{self, role::RoleReply};
use model::InstanceId;

use super::cast::Cast;
use super::conn::{Conn, Trouble};
use super::fence::Ended;
use super::pause::Pause;
use super::{ActError, Cx};

/// A fenced section takes 1–3 s, at worst some seconds more; it must not outlive the lease.
const LEASE_MIN: Duration = Duration::from_secs(10);
/// Renewals come every few seconds: behind this none will.
const LEASE_WAIT: Duration = Duration::from_secs(8);
/// Writers must be held that long when the promoting command is sent: it takes some 200 ms.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// A healthy replica has everything within milliseconds.
const DRAIN_MAX: Duration = Duration::from_secs(2);
/// Between two looks at a draining replica: it is what writers wait for.
const DRAIN_EVERY: Duration = Duration::from_millis(1);
/// Drains repeated because the pause had a gap or ran short; more and something is wrong with us.
const DRAINS_MAX: u32 = 3;
/// A master's own ping to its replicas, bytes of its stream; at most one each second.
const PING_BYTES: f64 = 14.0;
/// Between two looks at the old master while it becomes a replica.
const ROLE_EVERY: Duration = Duration::from_millis(10);
/// Before an unreachable old master is tried again.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// A proof that replicas have everything the master acknowledged.
pub(super) struct Drained<'p> {
    /// Offset all of them reached.
    pub offset: f64,
    at: Instant,
    pause: &'p Pause,
    generation: u32,
}

impl Drained<'_> {
    /// Whether writers were held without a gap ever since: a process that was frozen for a while
    /// does not know it otherwise.
    fn holds(&self) -> bool {
        self.pause.generation() == self.generation
    }
}

/// Waits until enough of the lease is left for a section that must not be cut.
pub(super) async fn enough_lease(cx: &Cx<'_>) -> Result<(), ActError> {
    let end = Instant::now() + LEASE_WAIT;
    while cx.lease.remaining() < LEASE_MIN {
        if Instant::now() >= end || !cx.lease.valid() {
            return Err(ActError::Retry(format!("less than {LEASE_MIN:?} of the lease is left")));
        }
        tokio::time::sleep(ROLE_EVERY).await;
    }
    cx.may_send()
}

/// The old master is still the master, in the process that was planned with.
pub(super) async fn same_master(old: &mut Conn<'_>, cast: &Cast) -> Result<(), ActError> {
    old.master_offset().await?;
    same_process(old, cast).await
}

/// A replica still follows the old master over a live link, in the process that was planned with.
pub(super) async fn follows(replica: &mut Conn<'_>, cast: &Cast) -> Result<(), ActError> {
    match replica.role().await? {
        RoleReply::Replica { master, link, .. }
            if master == cast.old.address() && link == "connected" =>
        {
            same_process(replica, cast).await
        }
        RoleReply::Replica { master, link, .. } => {
            Err(ActError::Failed(format!("{} follows {master}, link {link}", replica.id)))
        }
        other => Err(ActError::Failed(format!("{} says {}", replica.id, other.role().as_redis()))),
    }
}

async fn same_process(conn: &mut Conn<'_>, cast: &Cast) -> Result<(), ActError> {
    let run_id = conn.run_id().await?;
    match cast.run_ids.get(&conn.id) {
        Some(planned) if *planned == run_id => Ok(()),
        _ => Err(ActError::Failed(format!("{} was restarted since the plan", conn.id))),
    }
}

/// Waits until every replica has the master's offset, read while writers are held; at the end they
/// have been held without a gap and will be for `PAUSE_MIN`. A failure means: nobody was promoted.
pub(super) async fn drain<'p>(
    old: &mut Conn<'_>,
    replicas: &mut [Conn<'_>],
    pause: &'p Pause,
) -> Result<Drained<'p>, Trouble> {
    for _ in 0..DRAINS_MAX {
        let generation = pause.generation();
        let offset = old.master_offset().await?;
        let end = Instant::now() + DRAIN_MAX;
        for replica in replicas.iter_mut() {
            reach(replica, offset, end).await?;
        }
        if pause.generation() == generation && pause.remaining() >= PAUSE_MIN {
            return Ok(Drained { offset, at: Instant::now(), pause, generation });
        }
        pause.next_renewal().await;
    }
    Err(Trouble::Refused(format!("{}: the pause could not be held", old.id)))
}

async fn reach(replica: &mut Conn<'_>, offset: f64, end: Instant) -> Result<(), Trouble> {
    loop {
        let has = match replica.role().await? {
            RoleReply::Replica { offset, .. } => offset,
            other => {
                let says = other.role().as_redis();
                return Err(Trouble::Refused(format!("{} says {says} in the drain", replica.id)));
            }
        };
        if has >= offset {
            return Ok(());
        }
        if Instant::now() >= end {
            let why = format!(
                "{} is {} bytes behind after {} ms",
                replica.id,
                offset - has,
                DRAIN_MAX.as_millis()
            );
            return Err(Trouble::Refused(why));
        }
        tokio::time::sleep(DRAIN_EVERY).await;
    }
}

/// Makes the old master a replica of the new one, trying again while it cannot be reached, and reads
/// back that it is. Records how far it went beyond what was drained.
pub(super) async fn old_master(
    cx: &Cx<'_>,
    old: &mut Conn<'_>,
    new: &InstanceId,
    drained: Option<&Drained<'_>>,
) -> Result<(), ActError> {
    let mut noted = false;
    loop {
        match turn(cx, old, new, drained, &mut noted).await {
            Ok(true) => {
                match drained {
                    _ if noted => {}
                    // Somebody was faster than we, but nothing was written after the drain.
                    Some(d) if d.holds() => cx.journal.figure("old_offset", d.offset),
                    _ => note_unknown(cx, new),
                }
                return Ok(());
            }
            Ok(false) => tokio::time::sleep(ROLE_EVERY).await,
            Err(trouble) => {
                // Never "failed": behind a promotion the next run can only go forward.
                cx.may_send().map_err(|_| {
                    let what = format!("{new} is promoted, the old master is not demoted");
                    ActError::Retry(format!("{what}: {trouble}"))
                })?;
                tokio::time::sleep(RETRY_AFTER).await;
                let _ = old.again().await;
            }
        }
    }
}

/// One look and, if it is still a master, one command. True when it follows the new master.
async fn turn(
    cx: &Cx<'_>,
    old: &mut Conn<'_>,
    new: &InstanceId,
    drained: Option<&Drained<'_>>,
    noted: &mut bool,
) -> Result<bool, Trouble> {
    let offset = match old.role().await? {
        RoleReply::Replica { master, .. } if master == new.address() => return Ok(true),
        RoleReply::Replica { .. } => {
            attach(old, new).await?;
            return Ok(false);
        }
        RoleReply::Master { offset, .. } => offset,
        RoleReply::Sentinel(_) => {
            return Err(Trouble::Refused(format!("{} says it is a Sentinel", old.id)));
        }
    };
    if !std::mem::replace(noted, true) {
        note_offsets(cx, new, offset, drained).await;
    }
    attach(old, new).await?;
    Ok(false)
}

/// Writes down how far the old master's history goes beyond the new one's.
async fn note_offsets(cx: &Cx<'_>, new: &InstanceId, offset: f64, drained: Option<&Drained<'_>>) {
    cx.journal.figure("old_offset", offset);
    if let Some(drained) = drained {
        let beyond = (offset - drained.offset).max(0.0);
        if beyond > PING_BYTES * (2.0 + drained.at.elapsed().as_secs_f64()) {
            cx.journal.figure("bytes_possibly_lost", beyond);
            cx.journal.note(format!(
                "{beyond} bytes reached the old master after the drain: the pause did not hold"
            ));
        }
        return;
    }
    let Ok(mut conn) = Conn::dial(cx, new).await else { return };
    let Ok(value) = conn.ask(&["INFO", "replication"]).await else { return };
    let raw = reply::bytes(&value).unwrap_or_default();
    let common = reply::info::text(raw, "second_repl_offset").and_then(|t| t.parse::<f64>().ok());
    if let Some(common) = common.filter(|c| *c > 0.0) {
        let lost = (offset - (common - 1.0)).max(0.0);
        cx.journal.figure("bytes_possibly_lost", lost);
        cx.journal.note(format!(
            "{lost} bytes of the old master's stream (offset {offset}) are not in {new}: what it \
             acknowledged after the pause ended is lost, pings included in the count"
        ));
    }
}

/// Says that nobody of us saw where the old master's history ended: the run that promoted died or was
/// frozen, and somebody (that run, or a Sentinel) demoted it, before or after it took further writes.
pub(super) fn note_unknown(cx: &Cx<'_>, new: &InstanceId) {
    const SEEN: &str = "old_offset";
    const UNKNOWN: &str = "loss_unknown";
    let known = |name| cx.journal.has_figure(name) || cx.operation.outcome.get(name).is_some();
    if known(SEEN) || known(UNKNOWN) {
        return;
    }
    cx.journal.figure(UNKNOWN, true);
    cx.journal.note(format!(
        "the old master followed {new} already when it was looked at: what it acknowledged between \
         the end of the pause and then, if anything, is lost"
    ));
}

/// REPLICAOF.
pub(super) async fn attach(node: &mut Conn<'_>, to: &InstanceId) -> Result<(), Trouble> {
    let (host, port) = to.host_port();
    node.send(&["REPLICAOF", host, &port.to_string()]).await.map(drop)
}

/// After a fenced section: lets clients go where that is safe, and says how the step ended.
pub(super) async fn release(
    cx: &Cx<'_>,
    old: &mut Conn<'_>,
    ended: Ended,
    began: Instant,
) -> Result<(), ActError> {
    let new = match ended {
        Ended::Open(error) => return Err(error),
        Ended::Aborted(why) => {
            unpause(cx, old).await;
            return Err(ActError::Failed(why));
        }
        Ended::Switched(new) => new,
    };
    unpause(cx, old).await;
    cx.journal.figure("write_gap_ms", began.elapsed().as_millis() as u64);
    cx.journal.figure("new_master", new.as_str());
    // Clients that do not listen to Sentinel would go on writing to a replica, which refuses them:
    // a closed connection makes them ask again.
    for kind in ["normal", "pubsub"] {
        if let Err(trouble) = old.send(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]).await {
            cx.journal.note(format!("clients of the old master were not closed: {trouble}"));
        }
    }
    Ok(())
}

/// UNPAUSE; without it the pause ends by itself.
async fn unpause(cx: &Cx<'_>, old: &mut Conn<'_>) {
    if let Err(Trouble::Gone(_) | Trouble::Lost(_)) = old.send(&["CLIENT", "UNPAUSE"]).await {
        let again = async {
            old.again().await?;
            old.send(&["CLIENT", "UNPAUSE"]).await
        };
        if let Err(trouble) = again.await {
            cx.journal.note(format!("the pause ends by itself: {trouble}"));
        }
    }
}

//! The proofs behind a switchover: roles and convergence (V1, V3, V4), the data path (V2), health
//! (V5).
//!
//! Invariant: nothing is believed because a command answered OK; each proof is read back from every
//! node that should show it. Nothing here changes anything but one key of our own that expires.

use futures_util::future::join_all;
use link::reply;
use model::InstanceId;
use model::service::Mode;

use super::cast::{Cast, look, mode, score_of};
use super::conn::{Conn, Trouble};
use super::{ActError, Cx, Observed};
use crate::check::after;

/// The probe's key lives that long: enough for a resumed run to read it, soon gone.
const PROBE_TTL_S: &str = "30";
/// Limit of WAIT, ms: below the limit of one reply.
const WAIT_MS: &str = "500";
/// A score has this long to come back: a few polls of everything that was touched.
const SCORE_WAIT_MS: i64 = 60_000;
/// Points the score may fall: less is noise of the moment.
const SCORE_DROP_MAX: f64 = 5.0;

/// V1, V3 and V4.
pub(super) async fn observe_roles(cx: &Cx<'_>) -> Observed {
    let cast = match Cast::of(cx) {
        Ok(cast) => cast,
        Err(e) => return Observed::Other(e.to_string()),
    };
    let now = match look(cx).await {
        Ok(now) => now,
        Err(why) => return Observed::Unknown(why),
    };
    let Some(new) = cast.master_now(&now) else {
        return Observed::NotYet("the shard has not exactly one master".into());
    };
    if *new == cast.old {
        return Observed::Other(format!("{new} is still the master"));
    }
    match after::roles(&cast, new, &now) {
        Ok(seen) => Observed::Wished(serde_json::json!({ "new_master": new, "seen": seen })),
        Err(refusal) => Observed::NotYet(refusal.to_string()),
    }
}

/// V2 as it stands: whether the new master and every replica hold this operation's probe.
pub(super) async fn observe_data(cx: &Cx<'_>) -> Observed {
    let cast = match Cast::of(cx) {
        Ok(cast) => cast,
        Err(e) => return Observed::Other(e.to_string()),
    };
    let key = cast.key.as_str();
    let holds = join_all(nodes(&cast).map(|id| async move { (id, probe(cx, id, key).await) }));
    let mut holding = Vec::new();
    for (id, answer) in holds.await {
        match answer {
            Ok(Some(text)) if text == cx.operation.id => holding.push(id.as_str()),
            Ok(_) => return Observed::NotYet(format!("{id} does not hold the probe")),
            Err(trouble) => return Observed::Unknown(trouble.to_string()),
        }
    }
    Observed::Wished(serde_json::json!({ "holding": holding }))
}

fn nodes(cast: &Cast) -> impl Iterator<Item = &InstanceId> {
    std::iter::once(&cast.old).chain(cast.replicas())
}

async fn probe(cx: &Cx<'_>, id: &InstanceId, key: &str) -> Result<Option<String>, Trouble> {
    let mut conn = Conn::dial(cx, id).await?;
    if mode(cx) == Some(Mode::Cluster) {
        conn.ask(&["READONLY"]).await?;
    }
    Ok(reply::text(&conn.ask(&["GET", key]).await?))
}

/// Writes the probe through the new master and waits for its replicas.
pub(super) async fn apply_data(cx: &Cx<'_>) -> Result<(), ActError> {
    let cast = Cast::of(cx)?;
    let now = look(cx).await.map_err(ActError::Retry)?;
    let new = cast.master_now(&now);
    let new = new.ok_or_else(|| ActError::Retry("the shard has not exactly one master".into()))?;
    let mut conn = Conn::dial(cx, new).await?;
    conn.send(&["SET", &cast.key, &cx.operation.id, "EX", PROBE_TTL_S]).await?;
    let replicas = nodes(&cast).count() - 1;
    let waited = conn.ask(&["WAIT", &replicas.to_string(), WAIT_MS]).await?;
    match reply::number(&waited) {
        Some(n) if n >= replicas as f64 => Ok(()),
        said => Err(ActError::Retry(format!("WAIT {replicas}: {said:?} replicas acknowledged"))),
    }
}

/// V5: every node is up with its role on the Board, read after this step began, and the service's
/// score comes back to what it was, but for the limit. The first is the promise; a score that stays
/// lower is told and left to the alerts: it moves with things no switchover touches, such as a PING
/// that is slow because this machine is busy, and there is no way back from here.
pub(super) fn observe_health(cx: &Cx<'_>) -> Observed {
    let cast = match Cast::of(cx) {
        Ok(cast) => cast,
        Err(e) => return Observed::Other(e.to_string()),
    };
    let since = cx.step.started_at.unwrap_or(cx.operation.created_at);
    if let Err(why) = after::on_board(&cast, &cx.world.board, since) {
        return Observed::NotYet(why);
    }
    let before = cx.operation.outcome.get("score_before").and_then(serde_json::Value::as_f64);
    let now = score_of(cx);
    let worse = match (before, now) {
        (Some(before), Some(now)) if now < before - SCORE_DROP_MAX => {
            format!("score {now}, before {before}, at most {SCORE_DROP_MAX} less")
        }
        (Some(before), None) => format!("no score now, before {before}"),
        _ => String::new(),
    };
    let waited = (cx.world.clock)().since_ms(since);
    if !worse.is_empty() && waited < SCORE_WAIT_MS {
        return Observed::NotYet(worse);
    }
    if !worse.is_empty() {
        cx.journal.note(format!("the service is not as healthy as before: {worse}"));
    }
    Observed::Wished(serde_json::json!({ "score_before": before, "score": now, "worse": worse }))
}

//! One leg of a drill: a switchover of its own, and a writer that counts what it costs.
//!
//! Invariants: the switchover is begun once, whoever resumes; what is measured is told as measured only
//! when the writer saw the leg from its beginning to its end; a number that was acknowledged and cannot
//! be read at whoever is master next is counted as lost.

use std::time::{Duration, Instant};

use link::reply::{self, role::RoleReply};
use model::InstanceId;
use model::batch::Move;
use model::operation::{Operation, OperationState};
use serde_json::json;

use super::batch;
use super::conn::{Conn, Trouble};
use super::{ActError, Cx, Observed};

/// Longest wait for one acknowledgement: beyond the pause of a switchover.
const WRITE_MAX: Duration = Duration::from_secs(5);
/// Between two writes: finer than any gap that is promised.
const WRITE_EVERY: Duration = Duration::from_millis(2);
/// How often the switchover is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(200);
/// The canary is gone soon after.
const TTL_S: &str = "60";

fn row(cx: &Cx<'_>) -> Result<Move, ActError> {
    serde_json::from_value(cx.step.args["row"].clone())
        .map_err(|e| ActError::Failed(format!("the step's row: {e}")))
}

async fn leg(cx: &Cx<'_>) -> Result<Option<Operation>, ActError> {
    let key = batch::key(&cx.operation.id, cx.step.seq, 0);
    cx.store()?.operation_by_key(&key).await.map_err(|e| ActError::Retry(e.to_string()))
}

/// Whether the switchover of this leg is done.
pub(super) async fn observe(cx: &Cx<'_>) -> Observed {
    let part = match leg(cx).await {
        Ok(part) => part,
        Err(e) => return Observed::Unknown(e.to_string()),
    };
    match part {
        None => Observed::NotYet("the switchover is not begun".into()),
        Some(p) if p.state == OperationState::Done => {
            Observed::Wished(json!({ "operation": p.id, "state": p.state }))
        }
        Some(p) if p.state.is_final() => Observed::Other(format!(
            "its switchover {} is {}: {}",
            p.id,
            p.state.as_str(),
            p.reason
        )),
        Some(p) => Observed::NotYet(format!("switchover {} is {}", p.id, p.state.as_str())),
    }
}

pub(super) async fn apply(cx: &Cx<'_>) -> Result<(), ActError> {
    let (row, way) = (row(cx)?, cx.arg("way")?.to_string());
    let mut canary = Canary::new(cx)?;
    cx.command(&cx.operation.service, format!("SET {} 1, 2, 3 … until it is over", canary.key))?;
    // It writes before anything moves: the first gap is that of the switchover.
    canary.write().await;
    let whole = leg(cx).await?.is_none();
    batch::begin(cx, 0, &row).await?;
    let mut asked = Instant::now();
    loop {
        canary.write().await;
        if asked.elapsed() >= ASK_EVERY {
            asked = Instant::now();
            if leg(cx).await?.is_none_or(|p| p.state.is_final()) {
                break;
            }
            cx.may_send()?;
        }
        tokio::time::sleep(WRITE_EVERY).await;
    }
    canary.write().await;
    cx.journal.figure(
        &format!("drill_{way}"),
        json!({
            "rto_ms": canary.gap.as_millis() as u64, "lost": canary.lost,
            "acknowledged": canary.acknowledged, "whole": whole && cx.step.attempt == 1,
        }),
    );
    Ok(())
}

/// The writer.
struct Canary<'c> {
    cx: &'c Cx<'c>,
    key: String,
    nodes: Vec<InstanceId>,
    conn: Option<Conn<'c>>,
    number: u64,
    acknowledged: u64,
    lost: u64,
    last: Option<Instant>,
    gap: Duration,
}

impl<'c> Canary<'c> {
    fn new(cx: &'c Cx<'c>) -> Result<Canary<'c>, ActError> {
        let nodes = serde_json::from_value(cx.step.args["nodes"].clone());
        Ok(Canary {
            key: cx.arg("key")?.to_string(),
            nodes: nodes.map_err(|e| ActError::Failed(format!("the step's nodes: {e}")))?,
            cx,
            conn: None,
            number: 0,
            acknowledged: 0,
            lost: 0,
            last: None,
            gap: Duration::ZERO,
        })
    }

    /// Tries one number; what goes wrong is a gap, and the next try looks for the master anew.
    async fn write(&mut self) {
        if self.conn.is_none() {
            self.conn = self.master().await;
            if self.conn.is_some() && self.number > 0 && self.compare().await.is_err() {
                self.conn = None;
            }
        }
        let Some(conn) = &mut self.conn else { return };
        let number = (self.number + 1).to_string();
        let set = ["SET", self.key.as_str(), number.as_str(), "EX", TTL_S];
        match conn.send_masked(&set, "SET of the canary", WRITE_MAX).await {
            Ok(_) => {
                self.gap = self.gap.max(self.last.map_or(Duration::ZERO, |at| at.elapsed()));
                self.last = Some(Instant::now());
                self.number += 1;
                self.acknowledged += 1;
            }
            Err(_) => self.conn = None,
        }
    }

    /// Whoever says that he is the master.
    async fn master(&self) -> Option<Conn<'c>> {
        for id in &self.nodes {
            let Ok(mut conn) = Conn::dial(self.cx, id).await else { continue };
            if matches!(conn.role().await, Ok(RoleReply::Master { .. })) {
                return Some(conn);
            }
        }
        None
    }

    /// Holds the highest acknowledged number against what this master has.
    async fn compare(&mut self) -> Result<(), Trouble> {
        let Some(conn) = &mut self.conn else { return Ok(()) };
        let said = conn.ask(&["GET", &self.key]).await?;
        let has = reply::text(&said).and_then(|t| t.parse().ok()).unwrap_or(0u64);
        self.lost += self.number.saturating_sub(has);
        self.number = self.number.max(has);
        Ok(())
    }
}

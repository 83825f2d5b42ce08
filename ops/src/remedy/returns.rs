//! The return watch: for an hour after a failover the lost master is asked twice a second what it is; one
//! that comes back as a master is demoted before clients have written much to it.
//!
//! Invariants: part of runbook 2, with its mode, switches and freeze; the Sentinels' word decides, by the
//! plan's own checks; one return makes one operation.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use link::reply::role::{self, RoleReply};
use model::incident::Incident;
use model::operation::OperationKind;
use model::runbook::RunbookMode;
use model::{At, InstanceId};
use serde_json::json;
use store::IncidentFilter;

use super::Remedy;
use super::book::MASTER_FAILOVER;
use super::context::{self, Seen};
use crate::engine::{Submission, SubmitError};
use crate::topology;

/// How long a lost master is waited for.
const WATCH_MS: i64 = 3_600_000;
/// Who is watched changes with incidents and modes, not with each look.
const LEARN_MS: i64 = 5_000;
/// Incidents looked through for it.
const INCIDENTS_MAX: i64 = 200;
/// A node that does not answer at once is asked again in half a second.
const ASK_MAX: Duration = Duration::from_millis(300);

/// Lost masters that are watched.
#[derive(Debug, Default)]
pub(super) struct Watched {
    learned_at: Option<At>,
    nodes: Vec<(InstanceId, Incident)>,
}

impl Remedy {
    /// One look at every lost master. Idempotent.
    pub async fn returns(&self, now: At) -> store::Result<()> {
        let watched = self.watched(now).await?;
        let ask = watched.iter().map(|(node, incident)| async move {
            (self.is_master(node).await).then_some((node, incident))
        });
        for (node, incident) in join_all(ask).await.into_iter().flatten() {
            self.demote(node, incident, now).await?;
        }
        Ok(())
    }

    async fn watched(&self, now: At) -> store::Result<Vec<(InstanceId, Incident)>> {
        {
            let kept = self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if kept.learned_at.is_some_and(|at| now.since_ms(at).abs() < LEARN_MS) {
                return Ok(kept.nodes.clone());
            }
        }
        let nodes = self.lost_masters(now).await?;
        let mut kept = self.watched.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *kept = Watched { learned_at: Some(now), nodes: nodes.clone() };
        Ok(nodes)
    }

    /// Nodes of runbook 2's incidents of the last hour, open or not, where it may act.
    async fn lost_masters(&self, now: At) -> store::Result<Vec<(InstanceId, Incident)>> {
        let all = self
            .engine
            .store()
            .incident_list(&self.caller, &IncidentFilter::default(), INCIDENTS_MAX, None)
            .await?;
        let of_failover =
            |i: &Incident| i.runbook == MASTER_FAILOVER && now.since_ms(i.opened_at) < WATCH_MS;
        let mine: Vec<Incident> = all.into_iter().filter(of_failover).collect();
        if mine.is_empty() {
            return Ok(Vec::new());
        }
        let seen = Seen::read(&self.engine, now).await?;
        let inventory = (self.engine.world().inventory)();
        let mut nodes: Vec<(InstanceId, Incident)> = Vec::new();
        for incident in mine {
            let Some(node) = incident.instance.clone() else { continue };
            let place = context::place(&inventory, &node.service());
            let zone = inventory.instances.get(&node).map(|i| i.zone.clone());
            let auto = seen.mode(MASTER_FAILOVER, &place) == RunbookMode::Auto;
            let free = seen.killed(MASTER_FAILOVER, Some(&node.service()), zone.as_ref()).is_none()
                && seen.frozen(&incident, &node, &place).is_empty();
            if auto && free && !nodes.iter().any(|(other, _)| *other == node) {
                nodes.push((node, incident));
            }
        }
        Ok(nodes)
    }

    async fn is_master(&self, node: &InstanceId) -> bool {
        let deadline = Instant::now() + ASK_MAX;
        let replies = topology::ask(self.engine.world(), node, &[&["ROLE"]], deadline).await;
        let role = replies.ok().and_then(|r| r.first().and_then(role::read));
        matches!(role, Some(RoleReply::Master { .. }))
    }

    async fn demote(&self, node: &InstanceId, incident: &Incident, now: At) -> store::Result<()> {
        let (kind, params) = (OperationKind::Demote, json!({ "instance": node }));
        let made = self.engine.plan(&self.caller, kind, &node.service(), &params, now).await;
        let (plan, hash) = match made {
            Ok(made) => made,
            Err(SubmitError::Store(e)) => return Err(e),
            // It is the master, or nobody may tell: looked at again.
            Err(_) => return Ok(()),
        };
        let wish = Submission {
            kind,
            service: plan.service,
            params,
            idem_key: format!("{}/return/{}", incident.id, &hash[..16]),
            plan_hash: hash,
            confirm: plan.confirm,
            reason: format!("{MASTER_FAILOVER}: the lost master came back as a master"),
            incident: None,
        };
        match self.engine.submit(&self.caller, wish, now).await {
            Ok(operation) => {
                tracing::warn!(node = %node, operation = operation.id, "a lost master came back as a master");
                Ok(())
            }
            Err(SubmitError::Store(e)) => Err(e),
            Err(_) => Ok(()),
        }
    }
}

//! Remediation: alerts with runbooks become incidents, guards decide, the engine acts.
//!
//! Invariants: one occurrence makes one incident and at most one operation; every decision is a row,
//! also to do nothing; what is decided again the same way is not written again; nothing acts in
//! mode observe. Alerts come from the alerts table, whoever wrote them. Refuses to know how alerts
//! are evaluated.

mod action;
mod approve;
pub mod book;
mod context;
mod evidence;
pub mod guards;
mod returns;
mod sort;
mod verb;
mod witness;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use model::alert::{Alert, Phase};
use model::audit::sha256_hex;
use model::caller::Caller;
use model::incident::{Decision, GuardSeen, Incident, IncidentState, Verb};
use model::operation::{Operation, OperationState};
use model::plan::Plan;
use model::runbook::RunbookMode;
use model::{At, InstanceId};
use serde_json::Value;

pub use self::book::runbooks;
use self::book::{Can, Entry};
use self::context::Seen;
use crate::Engine;
use crate::engine::{Submission, SubmitError};

/// A new occurrence within this time of an incident about the same thing joins it.
pub const COOL_DOWN_MS: i64 = 3_600_000;
/// An alert whose cause was removed resolves within a few evaluations; one that does not has another
/// cause.
const RESOLVE_WAIT_MS: i64 = 300_000;
/// An open incident is looked at again this often: each look asks every node of its service.
const LOOK_AGAIN_MS: i64 = 10_000;

/// How long a plan that waits for a person is not replaced by one that only lists other connections.
const PLAN_KEPT_MS: i64 = 60_000;

/// Remediation of one process.
pub struct Remedy {
    engine: Engine,
    caller: Caller,
    looked: Mutex<HashMap<String, At>>,
    watched: Mutex<returns::Watched>,
}

/// What one look at an incident came to.
struct Look {
    verb: Verb,
    guard: String,
    reason: String,
    guards: Vec<GuardSeen>,
    plan: Option<(Plan, String)>,
    params: Value,
}

impl Remedy {
    /// Remediation that acts through `engine`.
    pub fn new(engine: Engine) -> Remedy {
        let caller = Caller::system("remediation", "remediation");
        Remedy { engine, caller, looked: Mutex::default(), watched: Mutex::default() }
    }

    /// One round: opens incidents for alerts that fire, follows those that are open, decides.
    /// Idempotent; a round that fails in the middle is taken up by the next.
    pub async fn round(&self, now: At) -> store::Result<()> {
        if self.nothing_to_do(now).await? {
            self.forget(&[]);
            return Ok(());
        }
        let seen = Seen::read(&self.engine, now).await?;
        self.stop_killed(&seen).await?;
        let opened = self.open(&seen).await;
        let open = self.engine.store().incidents_open().await?;
        self.forget(&open);
        // Before anything is decided: what is done about it changes what there is to see.
        self.gather(&open, now).await?;
        let mut failed = None;
        for incident in open {
            let id = incident.id.clone();
            pass(&mut failed, &id, self.follow(&seen, incident).await)?;
        }
        opened.and(failed.map_or(Ok(()), Err))
    }

    /// Nothing fires that has a runbook, no incident is open, no operation of ours waits or runs, which
    /// a kill switch would stop: most rounds of most days need not read what the guards look at.
    async fn nothing_to_do(&self, now: At) -> store::Result<bool> {
        let store = self.engine.store();
        let firing = |a: &Alert| a.phase == Phase::Firing;
        Ok(!store.alerts_with_runbooks().await?.iter().any(firing)
            && store.incidents_open().await?.is_empty()
            && store
                .remedy_actions(now - context::FAILURES_WINDOW_MS)
                .await?
                .iter()
                .all(|a| a.state.is_final()))
    }

    /// Automatic operations under a kill switch: queued ones end, running ones stop at their next
    /// step.
    async fn stop_killed(&self, seen: &Seen) -> store::Result<()> {
        let inventory = (self.engine.world().inventory)();
        for action in seen.actions.iter().filter(|a| !a.state.is_final()) {
            let node = action.instance.as_ref().and_then(|i| inventory.instances.get(i));
            let zone = node.map(|i| &i.zone);
            let Some(why) = seen.killed(&action.runbook, Some(&action.service), zone) else {
                continue;
            };
            let operation =
                self.engine.store().operation_get(&self.caller, &action.operation).await?;
            if !operation.cancel_requested && !operation.state.is_final() {
                self.cancel(&action.operation, &format!("kill switch: {why}"), seen.now).await?;
            }
        }
        Ok(())
    }

    async fn cancel(&self, id: &str, reason: &str, now: At) -> store::Result<()> {
        match self.engine.cancel(&self.caller, id, reason, now).await {
            // It ended meanwhile.
            Ok(_) | Err(store::Error::Conflict(_)) => Ok(()),
            Err(e) => Err(e),
        }
    }

    async fn open(&self, seen: &Seen) -> store::Result<()> {
        let inventory = (self.engine.world().inventory)();
        let mut failed = None;
        for alert in seen.alerts.iter().filter(|a| a.phase == Phase::Firing) {
            // Sorted once: a node that changes its role while it is down keeps its runbook.
            if seen.known.contains(&alert.id) {
                continue;
            }
            for entry in sort::runbooks_for(self.engine.world(), &inventory, alert, seen.now) {
                pass(&mut failed, &alert.id, self.open_one(seen, alert, entry).await)?;
            }
        }
        failed.map_or(Ok(()), Err)
    }

    async fn open_one(&self, seen: &Seen, alert: &Alert, entry: &Entry) -> store::Result<()> {
        let inventory = (self.engine.world().inventory)();
        let place = match &alert.service {
            Some(service) => context::place(&inventory, service),
            None => model::right::Place { tenant: alert.tenant.clone(), ..Default::default() },
        };
        if seen.mode(entry.name, &place) == RunbookMode::Off {
            return Ok(());
        }
        let shard =
            alert.instance.as_ref().and_then(|i| inventory.instances.get(i)).map(|i| i.shard);
        let incident = Incident {
            id: key(entry.name, alert, shard),
            runbook: entry.name.into(),
            tenant: alert.tenant.clone(),
            service: alert.service.clone(),
            instance: alert.instance.clone(),
            alert_id: alert.id.clone(),
            alertname: alert.alertname.clone(),
            state: IncidentState::Open,
            reason: String::new(),
            count: 1,
            reopened: 0,
            opened_at: seen.now,
            closed_at: None,
            operation: None,
        };
        let joins = seen.now - COOL_DOWN_MS;
        let store = self.engine.store();
        store.incident_open(&self.caller, &incident, &alert.fingerprint, joins, seen.now).await?;
        Ok(())
    }

    async fn follow(&self, seen: &Seen, mut incident: Incident) -> store::Result<()> {
        if incident.state == IncidentState::Waiting && self.made(&incident).await?.is_some() {
            // Somebody approved, and we died before it was on record.
            incident.state = IncidentState::Acting;
        }
        if incident.state == IncidentState::Acting {
            return self.follow_action(seen, incident).await;
        }
        let fires = seen.alerts.iter().any(|a| a.id == incident.alert_id);
        if !fires {
            return self.end(incident, IncidentState::Closed, "resolved", seen.now).await;
        }
        if incident.state == IncidentState::Escalated || !self.due(&incident.id, seen.now) {
            return Ok(());
        }
        self.decide(seen, incident).await
    }

    /// The operation of the present opening: the one on record, else the one its key made, for we
    /// may have died between making and recording it. Occurrences that join meanwhile change neither.
    async fn made(&self, incident: &Incident) -> store::Result<Option<Operation>> {
        let store = self.engine.store();
        match &incident.operation {
            Some(id) => store.operation_get(&self.caller, id).await.map(Some),
            None => store.operation_by_key(&action_key(incident)).await,
        }
    }

    /// An operation answers the incident: its end is the incident's.
    async fn follow_action(&self, seen: &Seen, mut incident: Incident) -> store::Result<()> {
        let store = self.engine.store();
        let Some(operation) = self.made(&incident).await? else {
            // We died between the decision and the submission: nothing was made.
            incident.state = IncidentState::Open;
            store.incident_decide(&self.caller, &incident, None, seen.now).await?;
            return Ok(());
        };
        let fires =
            seen.alerts.iter().any(|a| a.id == incident.alert_id && a.phase == Phase::Firing);
        match operation.state {
            OperationState::Done if !fires => {
                self.end(incident, IncidentState::Closed, "remediated", seen.now).await
            }
            OperationState::Done => {
                let ended = operation.ended_at.unwrap_or(seen.now);
                if seen.now.since_ms(ended) < RESOLVE_WAIT_MS {
                    return Ok(());
                }
                let reason = format!(
                    "the operation succeeded, but the alert still fires {} s later",
                    RESOLVE_WAIT_MS / 1000
                );
                self.end(incident, IncidentState::Escalated, &reason, seen.now).await
            }
            OperationState::Cancelled if !fires => {
                self.end(incident, IncidentState::Closed, "resolved", seen.now).await
            }
            state if state.is_final() => {
                let reason = format!("operation {}: {}", state.as_str(), operation.reason);
                self.end(incident, IncidentState::Escalated, &reason, seen.now).await
            }
            OperationState::Queued if !fires && !operation.cancel_requested => {
                self.cancel(&operation.id, "the alert is resolved", seen.now).await
            }
            _ if incident.operation.is_none() => {
                incident.operation = Some(operation.id);
                store.incident_decide(&self.caller, &incident, None, seen.now).await.map(|_| ())
            }
            _ => Ok(()),
        }
    }

    async fn end(
        &self,
        mut incident: Incident,
        state: IncidentState,
        reason: &str,
        now: At,
    ) -> store::Result<()> {
        incident.state = state;
        incident.reason = reason.into();
        incident.closed_at = (state == IncidentState::Closed).then_some(now);
        if incident.operation.is_none() {
            incident.operation = self.made(&incident).await?.map(|o| o.id);
        }
        self.engine.store().incident_decide(&self.caller, &incident, None, now).await?;
        Ok(())
    }

    async fn decide(&self, seen: &Seen, incident: Incident) -> store::Result<()> {
        let Some(entry) = book::find(&incident.runbook) else { return Ok(()) };
        let look = match &incident.instance {
            Some(node) => self.look(seen, &incident, entry, &node.clone()).await?,
            None => verb::without_node(seen, &incident, entry, &self.engine),
        };
        if !self.note(seen, &incident, &look).await? {
            return Ok(());
        }
        match look.verb {
            Verb::Auto => self.act(seen, incident, look).await,
            _ => Ok(()),
        }
    }

    async fn look(
        &self,
        seen: &Seen,
        incident: &Incident,
        entry: &'static Entry,
        node: &InstanceId,
    ) -> store::Result<Look> {
        let mut context = context::context(&self.engine, seen, incident, entry, node).await;
        let (kind, params) = action::of(entry, node, self.engine.config().up_for_s);
        let mut plan = None;
        if entry.can == Can::Act {
            let made =
                self.engine.plan(&self.caller, kind, &node.service(), &params, seen.now).await;
            context.plan = match &made {
                Ok((made, _)) => Ok(made.title.clone()),
                Err(SubmitError::Store(_)) => Err("the inventory changes".into()),
                Err(e) => Err(e.to_string()),
            };
            plan = made.ok();
        }
        let guards = guards::judge(&context);
        let (verb, guard, reason) = verb::verb(&context, &guards, incident, seen.now);
        Ok(Look { verb, guard, reason, guards, plan, params })
    }

    /// Writes the decision unless the last one was the same. Answers whether to go on with it.
    async fn note(&self, seen: &Seen, incident: &Incident, look: &Look) -> store::Result<bool> {
        let store = self.engine.store();
        let last = store.decisions(&self.caller, &incident.id).await?.into_iter().next();
        if last.is_some_and(|l| same(&l, look, seen.now)) && look.verb != Verb::Auto {
            return Ok(false);
        }
        let decision = Decision {
            incident_id: incident.id.clone(),
            at: seen.now,
            verb: look.verb,
            guard: look.guard.clone(),
            reason: look.reason.clone(),
            guards: look.guards.clone(),
            plan: look.plan.as_ref().map(|(plan, _)| plan.clone()),
        };
        let mut incident = incident.clone();
        incident.reason = look.reason.clone();
        incident.state = match look.verb {
            Verb::Auto => IncidentState::Acting,
            Verb::Ask => IncidentState::Waiting,
            Verb::PageOnly => IncidentState::Escalated,
            Verb::Suppressed => IncidentState::Open,
        };
        store.incident_decide(&self.caller, &incident, Some(&decision), seen.now).await
    }

    /// The decision is committed; now the operation, by the incident's own key.
    async fn act(&self, seen: &Seen, mut incident: Incident, look: Look) -> store::Result<()> {
        let Some((plan, hash)) = look.plan else { return Ok(()) };
        let wish = Submission {
            kind: plan.kind,
            service: plan.service,
            params: look.params,
            plan_hash: hash,
            confirm: plan.confirm,
            reason: format!("{} answers {}", incident.runbook, incident.alertname),
            idem_key: action_key(&incident),
            incident: Some(incident.id.clone()),
        };
        incident.state = IncidentState::Acting;
        match self.engine.submit(&self.caller, wish, seen.now).await {
            Ok(operation) => incident.operation = Some(operation.id),
            // Unknown: the next round reads it back by its key.
            Err(SubmitError::Store(e)) => return Err(e),
            Err(e) => {
                incident.state = IncidentState::Open;
                incident.reason = format!("not submitted: {e}");
            }
        }
        self.engine.store().incident_decide(&self.caller, &incident, None, seen.now).await?;
        Ok(())
    }

    fn due(&self, id: &str, now: At) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looked.get(id).is_none_or(|at| now.since_ms(*at).abs() >= LOOK_AGAIN_MS);
        if due {
            looked.insert(id.to_string(), now);
        }
        due
    }

    fn forget(&self, open: &[Incident]) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        looked.retain(|id, _| open.iter().any(|i| i.id == *id));
    }
}

/// One subject that cannot be dealt with (its service is gone, its row cannot be read) must not keep
/// the others from theirs: its error is kept for the end of the round. A store that is away is away
/// for all.
fn pass(
    failed: &mut Option<store::Error>,
    subject: &str,
    ended: store::Result<()>,
) -> store::Result<()> {
    match ended {
        Err(e @ store::Error::NotWritable(_)) => Err(e),
        Err(e) => {
            tracing::debug!(subject, error = %e, "left out of this round");
            failed.get_or_insert(e);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

/// sha256 over what makes an occurrence one of its kind.
fn key(runbook: &str, alert: &Alert, shard: Option<u32>) -> String {
    let service = alert.service.as_ref().map(ToString::to_string).unwrap_or_default();
    let place = match (&alert.instance, shard) {
        (Some(node), _) => node.to_string(),
        (None, Some(shard)) => shard.to_string(),
        (None, None) => String::new(),
    };
    let parts = [runbook, &service, &place, &alert.fingerprint, &alert.starts_at.ms().to_string()]
        .join("\n");
    sha256_hex(parts.as_bytes())
}

/// Key of the operation an incident makes: one per opening. Counting the occurrences instead would
/// make a second operation for one that joins while the first runs.
fn action_key(incident: &Incident) -> String {
    match incident.reopened {
        0 => incident.id.clone(),
        n => format!("{}/{n}", incident.id),
    }
}

/// Whether a look says what the last decision said; figures inside the sentences may differ.
/// A plan that lists what comes and goes (connections) differs each time: one that is only told is
/// written once, one that waits for a person is made new when he would look at an old one.
fn same(last: &Decision, look: &Look, now: At) -> bool {
    let other = |guards: &[GuardSeen]| {
        guards.iter().find(|g| !g.passed && g.guard != "mode").map(|g| g.guard.clone())
    };
    last.verb == look.verb
        && last.guard == look.guard
        && other(&last.guards) == other(&look.guards)
        && match (&last.plan, &look.plan) {
            (None, None) => true,
            (Some(was), Some((is, hash))) => {
                let told = look.verb != Verb::Ask || now.since_ms(last.at) < PLAN_KEPT_MS;
                was.hash() == *hash || told && was.kind == is.kind
            }
            _ => false,
        }
}

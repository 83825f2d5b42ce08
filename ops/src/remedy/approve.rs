//! A person agrees to what a runbook proposes.
//!
//! Invariant: what runs is the plan he saw, made again and with the same hash; every guard is asked
//! again, and only those that ask for a person are answered by him. The operation is his.

use model::At;
use model::caller::Caller;
use model::incident::{Incident, IncidentState};
use model::refusal::Refusal;

use super::{Remedy, action_key, book, context::Seen, verb};
use crate::engine::{Submission, SubmitError};

impl Remedy {
    /// Starts the plan an incident waits with. `plan_hash` names the plan that was seen; `reason` is
    /// the person's. Answers the incident as it stands then. The same approval again answers the
    /// same operation.
    pub async fn approve(
        &self,
        caller: &Caller,
        id: &str,
        plan_hash: &str,
        reason: &str,
        now: At,
    ) -> Result<Incident, SubmitError> {
        let store = self.engine.store();
        let mut incident = store.incident_get(caller, id).await?;
        if let Some(made) = self.made(&incident).await?
            && made.plan_hash == plan_hash
        {
            return Ok(Incident { operation: Some(made.id), ..incident });
        }
        if incident.state != IncidentState::Waiting {
            let state = incident.state.as_str();
            let said = format!("the incident is {state}: it does not wait for anybody");
            return Err(store::Error::Conflict(said).into());
        }
        let (Some(entry), Some(node)) = (book::find(&incident.runbook), incident.instance.clone())
        else {
            return Err(store::Error::Conflict("there is nothing to run for it".into()).into());
        };
        let seen = Seen::read(&self.engine, now).await?;
        let look = self.look(&seen, &incident, entry, &node).await?;
        let persons = [verb::TIER, "mode"];
        let no = look.guards.iter().find(|g| !g.passed && !persons.contains(&g.guard.as_str()));
        if let Some(no) = no {
            return Err(Refusal::new(&no.guard, &node, no.seen.clone()).into());
        }
        let Some((plan, hash)) = look.plan else {
            return Err(store::Error::Conflict("there is no plan any more".into()).into());
        };
        if hash != plan_hash {
            return Err(SubmitError::PlanMoved { plan: Box::new(plan), hash });
        }
        let wish = Submission {
            kind: plan.kind,
            service: plan.service,
            params: look.params,
            plan_hash: hash,
            confirm: plan.confirm,
            reason: reason.into(),
            idem_key: action_key(&incident),
            incident: Some(incident.id.clone()),
        };
        let operation = self.engine.submit(caller, wish, now).await?;
        incident.operation = Some(operation.id);
        incident.state = IncidentState::Acting;
        incident.reason = format!("approved by {}: {}", caller.name(), reason.trim());
        store.incident_decide(caller, &incident, None, now).await?;
        Ok(incident)
    }
}

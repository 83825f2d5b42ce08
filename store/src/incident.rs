//! Incidents with every decision about them, and what the guards of remediation count.
//!
//! Invariant: one occurrence of an alert makes one incident per runbook, however often and from
//! wherever it is reported; a decision is a row, also the decision to do nothing.

use model::alert::Alert;
use model::caller::Caller;
use model::incident::{Decision, Incident, IncidentState, Verb};
use model::right::{Place, Right};
use model::{At, InstanceId, ServiceId, SystemId, TenantId};
use serde_json::{Value, json};

use crate::alert::AlertRow;
use crate::audit::AuditEntry;
use crate::operation::text;
use crate::scoped::scoped;
use crate::tx::Tx;
use crate::{Error, Result, Store};

const INCIDENT: &str = "id, runbook, tenant, system, service, instance, alert_id, alertname, state, \
    reason, count, reopened, opened_at, closed_at, operation";

/// Which incidents a list shows; empty fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct IncidentFilter {
    /// Of this service.
    pub service: Option<ServiceId>,
    /// In this state.
    pub state: Option<IncidentState>,
    /// Of this alert occurrence.
    pub alert: Option<String>,
}

/// An operation remediation made, as the guards count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemedyAction {
    /// The operation.
    pub operation: String,
    /// The runbook.
    pub runbook: String,
    /// Service it acts on.
    pub service: ServiceId,
    /// Node it acts on.
    pub instance: Option<InstanceId>,
    /// State of the operation.
    pub state: model::operation::OperationState,
    /// When it was made.
    pub created_at: At,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    runbook: String,
    tenant: Option<String>,
    system: Option<String>,
    service: Option<String>,
    instance: Option<String>,
    alert_id: String,
    alertname: String,
    state: String,
    reason: String,
    count: i64,
    reopened: i64,
    opened_at: i64,
    closed_at: Option<i64>,
    operation: Option<String>,
}

fn maybe<T: std::str::FromStr<Err = model::id::BadId>>(text: Option<&String>) -> Result<Option<T>> {
    text.map(|t| crate::operation::id(t)).transpose()
}

impl Row {
    fn place(&self) -> Result<Place> {
        Ok(Place {
            tenant: maybe::<TenantId>(self.tenant.as_ref())?,
            system: maybe::<SystemId>(self.system.as_ref())?,
            service: maybe::<ServiceId>(self.service.as_ref())?,
        })
    }

    fn read(self) -> Result<Incident> {
        let place = self.place()?;
        let unknown = || Error::Internal(format!("unknown incident state {:?}", self.state));
        Ok(Incident {
            tenant: place.tenant,
            service: place.service,
            instance: maybe(self.instance.as_ref())?,
            state: IncidentState::parse(&self.state).ok_or_else(unknown)?,
            id: self.id,
            runbook: self.runbook,
            alert_id: self.alert_id,
            alertname: self.alertname,
            reason: self.reason,
            count: u32::try_from(self.count).unwrap_or(u32::MAX),
            reopened: u32::try_from(self.reopened).unwrap_or(u32::MAX),
            opened_at: At::from_ms(self.opened_at),
            closed_at: self.closed_at.map(At::from_ms),
            operation: self.operation,
        })
    }
}

impl Store {
    /// Alerts that fire or recover now and name a runbook, oldest first. For remediation.
    pub async fn alerts_with_runbooks(&self) -> Result<Vec<Alert>> {
        let rows: Vec<AlertRow> = rd!(self, c => sqlx::query_as(
            "SELECT id, fingerprint, source, tenant, service, instance, alertname, policy, level, \
             phase, labels, annotations, value, threshold, runbooks, starts_at, ends_at, \
             last_seen, reason FROM alert WHERE open_key IS NOT NULL \
             AND phase IN ('firing', 'recovering') AND runbooks <> '[]' ORDER BY starts_at, id")
            .fetch_all(c).await)?;
        rows.into_iter().map(AlertRow::into_alert).collect()
    }

    /// Ids of open alerts that have an incident.
    pub async fn alerts_with_incidents(&self) -> Result<Vec<String>> {
        Ok(rd!(self, c => sqlx::query_scalar(
            "SELECT DISTINCT i.alert_id FROM incident i JOIN alert a ON a.id = i.alert_id \
             WHERE a.open_key IS NOT NULL").fetch_all(c).await)?)
    }

    /// (instance, alert name) of everything that fires now, for the storm brake.
    pub async fn alerts_firing_on(&self) -> Result<Vec<(String, String)>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT instance, alertname FROM alert WHERE open_key IS NOT NULL \
             AND phase = 'firing' AND instance IS NOT NULL").fetch_all(c).await)?)
    }

    /// (service, alertname) of critical alerts that fire now and began after `since`.
    pub async fn alerts_critical_on(&self, since: At) -> Result<Vec<(String, String)>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT service, alertname FROM alert WHERE open_key IS NOT NULL \
             AND phase = 'firing' AND level = 'critical' AND service IS NOT NULL AND starts_at > $1")
            .bind(since.ms()).fetch_all(c).await)?)
    }

    /// Opens the incident; or answers the one this occurrence made before; or, when the same thing
    /// had an incident since `joins`, that one with its counter one higher, open again.
    pub async fn incident_open(
        &self,
        caller: &Caller,
        new: &Incident,
        fingerprint: &str,
        joins: At,
        at: At,
    ) -> Result<Incident> {
        if let Some(known) = self.incident_known(new).await? {
            return Ok(known);
        }
        let place = match &new.service {
            Some(service) => self.place_of_service(service).await?,
            None => Place { tenant: new.tenant.clone(), ..Place::default() },
        };
        let mut tx = self.begin().await?;
        let id = match tx.incident_like(new, fingerprint, joins).await? {
            Some(id) => {
                tx.incident_join(&id, &new.alert_id).await?;
                id
            }
            None => {
                tx.incident_row(new, fingerprint, &place).await?;
                new.id.clone()
            }
        };
        let after = json!({ "runbook": new.runbook, "alert": new.alertname, "node": new.instance });
        let entry = AuditEntry::new("incident.open", &id, place).change(Value::Null, after);
        tx.audit(caller, entry, at).await?;
        tx.commit().await?;
        self.incident_get(caller, &id).await
    }

    async fn incident_known(&self, new: &Incident) -> Result<Option<Incident>> {
        let sql = format!(
            "SELECT {INCIDENT} FROM incident WHERE id = $1 OR (runbook = $2 AND alert_id = $3)"
        );
        let row: Option<Row> = rd!(self, c => sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
            .bind(&new.id).bind(&new.runbook).bind(&new.alert_id).fetch_optional(c).await)?;
        row.map(Row::read).transpose()
    }

    /// One incident.
    pub async fn incident_get(&self, caller: &Caller, id: &str) -> Result<Incident> {
        self.incident_row(caller, id).await?.read()
    }

    async fn incident_row(&self, caller: &Caller, id: &str) -> Result<Row> {
        let gone = || Error::NotFound(format!("incident {id}"));
        let sql = format!("SELECT {INCIDENT} FROM incident WHERE id = $1");
        let row: Option<Row> = rd!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(id).fetch_optional(c).await)?;
        let row = row.ok_or_else(gone)?;
        match caller.may(Right::FleetRead, &row.place()?) {
            true => Ok(row),
            false => Err(gone()),
        }
    }

    /// Incidents the caller may see, newest first, those opened before `before`.
    pub async fn incident_list(
        &self,
        caller: &Caller,
        filter: &IncidentFilter,
        limit: i64,
        before: Option<At>,
    ) -> Result<Vec<Incident>> {
        let scope = scoped(caller, Right::FleetRead, 1);
        let (mut sql, mut binds) = (scope.sql, scope.binds);
        let mut and = |column: &str, value: Option<String>| {
            if let Some(value) = value {
                binds.push(value);
                sql.push_str(&format!(" AND {column} = ${}", binds.len()));
            }
        };
        and("service", filter.service.as_ref().map(ToString::to_string));
        and("state", filter.state.map(|s| s.as_str().to_string()));
        and("alert_id", filter.alert.clone());
        let n = binds.len();
        let sql = format!(
            "SELECT {INCIDENT} FROM incident WHERE {sql} AND opened_at < ${} \
             ORDER BY opened_at DESC, id LIMIT ${}",
            n + 1,
            n + 2
        );
        let before = before.map_or(i64::MAX, At::ms);
        let rows: Vec<Row> = rd!(self, c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()));
            for value in &binds { query = query.bind(value); }
            query.bind(before).bind(limit).fetch_all(c).await
        })?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Incidents that are not closed, oldest first. For remediation.
    pub async fn incidents_open(&self) -> Result<Vec<Incident>> {
        let sql = format!(
            "SELECT {INCIDENT} FROM incident WHERE closed_at IS NULL ORDER BY opened_at, id"
        );
        let rows: Vec<Row> = rd!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).fetch_all(c).await)?;
        rows.into_iter().map(Row::read).collect()
    }

    /// How many incidents opened since, by tenant (empty: of none).
    pub async fn incidents_since(&self, since: At) -> Result<Vec<(String, i64)>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT coalesce(tenant, ''), count(*) FROM incident WHERE opened_at > $1 \
             GROUP BY coalesce(tenant, '')").bind(since.ms()).fetch_all(c).await)?)
    }

    /// Operations remediation made since, or that still run; newest first.
    pub async fn remedy_actions(&self, since: At) -> Result<Vec<RemedyAction>> {
        type Found = (String, String, String, Option<String>, String, i64);
        let rows: Vec<Found> = rd!(self, c => sqlx::query_as(
            "SELECT o.id, i.runbook, o.service, i.instance, o.state, o.created_at \
             FROM operation o JOIN incident i ON i.id = o.incident \
             WHERE o.created_at > $1 OR o.ended_at IS NULL ORDER BY o.created_at DESC, o.id DESC")
            .bind(since.ms()).fetch_all(c).await)?;
        rows.into_iter()
            .map(|(operation, runbook, service, instance, state, at)| {
                let unknown = || Error::Internal(format!("unknown operation state {state:?}"));
                Ok(RemedyAction {
                    operation,
                    runbook,
                    service: crate::operation::id(&service)?,
                    instance: maybe(instance.as_ref())?,
                    state: model::operation::OperationState::parse(&state).ok_or_else(unknown)?,
                    created_at: At::from_ms(at),
                })
            })
            .collect()
    }

    /// Writes where an incident stands now and, when there is one, the decision behind it. A closed
    /// incident is not changed; false then.
    pub async fn incident_decide(
        &self,
        caller: &Caller,
        incident: &Incident,
        decision: Option<&Decision>,
        at: At,
    ) -> Result<bool> {
        let place = self.incident_row(caller, &incident.id).await?.place()?;
        let mut tx = self.begin().await?;
        let changed = wr!(tx, c => sqlx::query(
            "UPDATE incident SET state = $2, reason = $3, closed_at = $4, operation = $5 \
             WHERE id = $1 AND closed_at IS NULL")
            .bind(&incident.id).bind(incident.state.as_str()).bind(&incident.reason)
            .bind(incident.closed_at.map(At::ms)).bind(&incident.operation)
            .execute(c).await.map(|d| d.rows_affected()))?;
        if changed != 1 {
            return Ok(false);
        }
        if let Some(decision) = decision {
            tx.decision_row(decision).await?;
        }
        let after = json!({
            "state": incident.state, "reason": incident.reason, "operation": incident.operation,
            "decision": decision.map(|d| json!({ "verb": d.verb, "guard": d.guard, "reason": d.reason })),
        });
        let action = if decision.is_some() { "incident.decide" } else { "incident.state" };
        let mut entry = AuditEntry::new(action, &incident.id, place).change(Value::Null, after);
        entry.plan_hash =
            decision.and_then(|d| d.plan.as_ref()).map(|p| p.hash()).unwrap_or_default();
        tx.audit(caller, entry, at).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Decisions about an incident, newest first.
    pub async fn decisions(&self, caller: &Caller, incident: &str) -> Result<Vec<Decision>> {
        self.incident_row(caller, incident).await?;
        type Found = (String, i64, String, String, String, String, String);
        let rows: Vec<Found> = rd!(self, c => sqlx::query_as(
            "SELECT incident_id, at, verb, guard, reason, guards, plan FROM decision \
             WHERE incident_id = $1 ORDER BY n DESC").bind(incident).fetch_all(c).await)?;
        let bad = |e: serde_json::Error| Error::Internal(format!("decision: {e}"));
        rows.into_iter()
            .map(|(incident_id, at, verb, guard, reason, guards, plan)| {
                Ok(Decision {
                    incident_id,
                    at: At::from_ms(at),
                    verb: Verb::parse(&verb).unwrap_or_default(),
                    guard,
                    reason,
                    guards: serde_json::from_str(&guards).map_err(bad)?,
                    plan: serde_json::from_str(&plan).map_err(bad)?,
                })
            })
            .collect()
    }

    /// Number of decisions by (runbook, verb, guard), for our own metrics.
    pub async fn decision_counts(&self) -> Result<Vec<(String, String, String, i64)>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT i.runbook, d.verb, d.guard, count(*) FROM decision d \
             JOIN incident i ON i.id = d.incident_id GROUP BY i.runbook, d.verb, d.guard \
             ORDER BY i.runbook, d.verb, d.guard").fetch_all(c).await)?)
    }
}

impl Tx {
    async fn incident_like(
        &mut self,
        new: &Incident,
        fingerprint: &str,
        joins: At,
    ) -> Result<Option<String>> {
        let service = new.service.as_ref().map(|s| s.as_str()).unwrap_or_default();
        let instance = new.instance.as_ref().map(|i| i.as_str()).unwrap_or_default();
        Ok(wr!(self, c => sqlx::query_scalar(
            "SELECT id FROM incident WHERE runbook = $1 AND fingerprint = $2 \
             AND coalesce(service, '') = $3 AND coalesce(instance, '') = $4 AND opened_at > $5 \
             ORDER BY opened_at DESC LIMIT 1")
            .bind(&new.runbook).bind(fingerprint).bind(service).bind(instance).bind(joins.ms())
            .fetch_optional(c).await)?)
    }

    async fn incident_join(&mut self, id: &str, alert: &str) -> Result<()> {
        wr!(self, c => sqlx::query(
            "UPDATE incident SET count = count + 1, alert_id = $2, closed_at = NULL, \
             reopened = CASE WHEN closed_at IS NULL THEN reopened ELSE reopened + 1 END, \
             operation = CASE WHEN closed_at IS NULL THEN operation ELSE NULL END, \
             reason = CASE WHEN closed_at IS NULL THEN reason ELSE '' END, \
             state = CASE WHEN closed_at IS NULL THEN state ELSE 'open' END WHERE id = $1")
            .bind(id).bind(alert).execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    async fn incident_row(&mut self, i: &Incident, fingerprint: &str, place: &Place) -> Result<()> {
        wr!(self, c => sqlx::query(
            "INSERT INTO incident (id, runbook, tenant, system, service, instance, alert_id, \
             alertname, fingerprint, state, reason, count, opened_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 1, $12) ON CONFLICT DO NOTHING")
            .bind(&i.id).bind(&i.runbook).bind(i.tenant.as_ref().map(|t| t.as_str()))
            .bind(place.system.as_ref().map(|s| s.as_str()))
            .bind(i.service.as_ref().map(|s| s.as_str()))
            .bind(i.instance.as_ref().map(|n| n.as_str()))
            .bind(&i.alert_id).bind(&i.alertname).bind(fingerprint).bind(i.state.as_str())
            .bind(&i.reason).bind(i.opened_at.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    async fn decision_row(&mut self, d: &Decision) -> Result<()> {
        let (guards, plan) = (text(&d.guards)?, text(&d.plan)?);
        wr!(self, c => sqlx::query(
            "INSERT INTO decision (incident_id, n, at, verb, guard, reason, guards, plan) \
             SELECT $1, coalesce(max(n), 0) + 1, $2, $3, $4, $5, $6, $7 \
             FROM decision WHERE incident_id = $8")
            .bind(&d.incident_id).bind(d.at.ms()).bind(d.verb.as_str()).bind(&d.guard)
            .bind(&d.reason).bind(&guards).bind(&plan).bind(&d.incident_id)
            .execute(c).await.map(|done| done.rows_affected()))?;
        Ok(())
    }
}

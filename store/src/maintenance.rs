//! Maintenances: who works where, until when.
//!
//! Invariant: every row has an end; one that is over is never changed. Rows of a scope are seen and
//! changed by those whose grants cover it; one of a wider scope is seen by everybody it touches.

use std::collections::HashMap;

use model::At;
use model::caller::{Caller, Denied};
use model::maintenance::{AHEAD_MAX_MS, LENGTH_MAX_MS, Maintenance};
use model::policy::PolicyScope;
use model::right::{Place, Right, Scope};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::{Error, Result, Store};

/// Longest reason, characters.
const REASON_MAX: usize = 500;
/// Maintenances that are planned or running at once.
const OPEN_MAX: i64 = 1_000;
/// Rows answered of what is over.
const LISTED_MAX: i64 = 1_000;
/// How long one that is over is kept.
pub const MAINTENANCE_KEPT_MS: i64 = 400 * 86_400_000;

type Row = (String, String, i64, i64, String, String, i64, String);

const COLUMNS: &str = "id, scope, starts_at, ends_at, reason, actor, created_at, ended_by";

fn read(row: Row) -> Result<Maintenance> {
    let (id, scope, starts_at, ends_at, reason, by, created_at, ended_by) = row;
    let scope = PolicyScope::try_from(scope).map_err(Error::Internal)?;
    let [starts_at, ends_at, created_at] = [starts_at, ends_at, created_at].map(At::from_ms);
    Ok(Maintenance { id, scope, starts_at, ends_at, reason, by, created_at, ended_by })
}

type PlaceRow = (String, Option<String>, Option<String>, Option<String>);

/// Where it stood in the tree when it was begun.
fn placed((id, tenant, system, service): PlaceRow) -> (String, Place) {
    let place = Place {
        tenant: tenant.and_then(|t| t.parse().ok()),
        system: system.and_then(|s| s.parse().ok()),
        service: service.and_then(|s| s.parse().ok()),
    };
    (id, place)
}

/// A maintenance to begin.
#[derive(Debug, Clone)]
pub struct NewMaintenance<'a> {
    /// Id.
    pub id: &'a str,
    /// Where.
    pub scope: &'a PolicyScope,
    /// Begin.
    pub starts_at: At,
    /// End.
    pub ends_at: At,
    /// Why.
    pub reason: &'a str,
}

impl NewMaintenance<'_> {
    fn check(&self, now: At) -> Result<()> {
        let wrong = |why: String| Err(Error::Invalid(why));
        let length = self.ends_at.since_ms(self.starts_at);
        if length <= 0 || self.ends_at <= now {
            return wrong(
                "ends_at: the end must lie behind the beginning and in the future".into(),
            );
        }
        if length > LENGTH_MAX_MS {
            return wrong("ends_at: a maintenance lasts at most 31 days".into());
        }
        if self.starts_at.since_ms(now) > AHEAD_MAX_MS {
            return wrong("starts_at: at most a year ahead".into());
        }
        match self.reason.trim().chars().count() {
            0 => wrong("reason: say why".into()),
            n if n > REASON_MAX => wrong(format!("reason: at most {REASON_MAX} characters")),
            _ => Ok(()),
        }
    }
}

impl Store {
    /// Maintenances that are planned or running, for the process itself.
    pub async fn maintenances_open(&self, now: At) -> Result<Vec<Maintenance>> {
        let sql = "SELECT id, scope, starts_at, ends_at, reason, actor, created_at, ended_by \
                   FROM maintenance WHERE ends_at > $1 ORDER BY starts_at, id";
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(sql).bind(now.ms()).fetch_all(c).await)?;
        rows.into_iter().map(read).collect()
    }

    /// Those the caller may see, with the newest of what is over; latest beginning first.
    pub async fn maintenance_list(&self, caller: &Caller) -> Result<Vec<Maintenance>> {
        if !caller.may_somewhere(Right::FleetRead) {
            caller.require(Right::FleetRead, &Place::platform())?;
        }
        let newest = "FROM maintenance ORDER BY starts_at DESC, id DESC LIMIT $1";
        let sql = format!("SELECT {COLUMNS} {newest}");
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
            .bind(LISTED_MAX).fetch_all(c).await)?;
        let sql = format!("SELECT id, tenant, system, service {newest}");
        let places: Vec<PlaceRow> = rd!(self, c => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(LISTED_MAX).fetch_all(c).await
        })?;
        let places: HashMap<String, Place> = places.into_iter().map(placed).collect();
        let mut seen = Vec::new();
        for row in rows {
            let maintenance = read(row)?;
            let Some(place) = places.get(&maintenance.id) else { continue };
            if caller.may(Right::FleetRead, place) || touches(caller, place) {
                seen.push(maintenance);
            }
        }
        Ok(seen)
    }

    /// Begins or plans one.
    pub async fn maintenance_begin(
        &self,
        caller: &Caller,
        new: &NewMaintenance<'_>,
        now: At,
    ) -> Result<Maintenance> {
        let place = self.policy_place(new.scope).await?;
        caller.require(Right::MaintenanceEdit, &place)?;
        new.check(now)?;
        let made = Maintenance {
            id: new.id.into(),
            scope: new.scope.clone(),
            starts_at: new.starts_at,
            ends_at: new.ends_at,
            reason: new.reason.trim().into(),
            by: caller.name(),
            created_at: now,
            ended_by: String::new(),
        };
        let mut tx = self.begin().await?;
        let open: i64 = wr!(tx, c => sqlx::query_scalar(
            "SELECT count(*) FROM maintenance WHERE ends_at > $1")
            .bind(now.ms()).fetch_one(c).await)?;
        if open >= OPEN_MAX {
            return Err(Error::Invalid(format!("{open} maintenances are open; end some first")));
        }
        wr!(tx, c => sqlx::query(
            "INSERT INTO maintenance (id, scope, tenant, system, service, starts_at, ends_at, \
             reason, actor, created_at, ended_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, '')")
            .bind(&made.id).bind(String::from(made.scope.clone()))
            .bind(place.tenant.as_ref().map(|t| t.as_str()))
            .bind(place.system.as_ref().map(|s| s.as_str()))
            .bind(place.service.as_ref().map(|s| s.as_str()))
            .bind(made.starts_at.ms()).bind(made.ends_at.ms()).bind(&made.reason).bind(&made.by)
            .bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        let after = json!({
            "scope": made.scope, "starts_at": made.starts_at, "ends_at": made.ends_at,
            "reason": made.reason,
        });
        let entry = AuditEntry::new("maintenance.create", &made.id, place);
        tx.audit(caller, entry.change(Value::Null, after), now).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Ends one now; one that has not begun never does. Of one that is over nothing changes.
    pub async fn maintenance_end(&self, caller: &Caller, id: &str, now: At) -> Result<Maintenance> {
        let missing = || Error::NotFound(format!("maintenance {id}"));
        let sql = format!("SELECT {COLUMNS} FROM maintenance WHERE id = $1");
        let row: Option<Row> = rd!(self, c => sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
            .bind(id).fetch_optional(c).await)?;
        let mut maintenance = read(row.ok_or_else(missing)?)?;
        let place = self.policy_place(&maintenance.scope).await.map_err(|_| missing())?;
        if !caller.may(Right::FleetRead, &place) && !touches(caller, &place) {
            return Err(missing());
        }
        // He sees it, so he hears of the right and not of a thing that is not there.
        let right = caller.require(Right::MaintenanceEdit, &place);
        right.map_err(|denied| Denied { visible: true, ..denied })?;
        if maintenance.ends_at <= now {
            return Ok(maintenance);
        }
        let before = json!({ "ends_at": maintenance.ends_at });
        maintenance.starts_at = maintenance.starts_at.min(now);
        maintenance.ends_at = now;
        maintenance.ended_by = caller.name();
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query(
            "UPDATE maintenance SET starts_at = $2, ends_at = $3, ended_by = $4 \
             WHERE id = $1 AND ends_at > $3")
            .bind(id).bind(maintenance.starts_at.ms()).bind(now.ms()).bind(&maintenance.ended_by)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let entry = AuditEntry::new("maintenance.end", id, place);
        tx.audit(caller, entry.change(before, json!({ "ends_at": now })), now).await?;
        tx.commit().await?;
        Ok(maintenance)
    }
}

/// Whether something the caller reads lies inside that place, which is wider than his grants.
fn touches(caller: &Caller, place: &Place) -> bool {
    let wide = place.to_scope();
    caller.scopes(Right::FleetRead).into_iter().any(|scope| match (&wide, scope) {
        (Scope::Platform, _) => true,
        (Scope::Tenant(t), Scope::System(s)) => s.tenant() == *t,
        (Scope::Tenant(t), Scope::Service(s)) => s.tenant() == *t,
        _ => false,
    })
}

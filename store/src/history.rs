//! The history of alerts as people ask for it: acknowledgements, a search over years, how fast alerts
//! were answered, and what was withheld.
//!
//! Invariant: cut to the caller's scope by the database itself, so counts and pages are exact; an
//! alert is acknowledged once.

use std::collections::HashMap;

use model::At;
use model::alert::Alert;
use model::caller::Caller;
use model::history::{Ack, Answered, HistoryItem, Hold, NOTE_MAX};
use model::policy::AlertLevel;
use model::right::{Place, Right};
use serde_json::{Value, json};

use crate::alert::{AlertRow, COLUMNS, FROM};
use crate::audit::AuditEntry;
use crate::scoped::scoped_by;
use crate::tx::Tx;
use crate::{Error, Result, Store};

/// What a search asks for; empty and none mean all.
#[derive(Debug, Clone, Default)]
pub struct HistoryFilter {
    /// Began at or after.
    pub from: Option<At>,
    /// Began before.
    pub to: Option<At>,
    /// Tenant, business system or service.
    pub within: String,
    /// Instance id.
    pub instance: String,
    /// Policy id.
    pub policy: String,
    /// Alert name.
    pub alertname: String,
    /// Level.
    pub level: Option<AlertLevel>,
    /// Still firing (true) or over (false).
    pub open: Option<bool>,
    /// Acknowledged or not.
    pub acknowledged: Option<bool>,
    /// Began in a maintenance or not.
    pub in_maintenance: Option<bool>,
    /// Why it ended.
    pub reason: String,
    /// Words that all occur in its name, service, instance or labels.
    pub q: String,
}

const PLACE_COLUMNS: [&str; 3] = ["a.tenant", "s.system", "a.service"];
const IN_MAINTENANCE: &str = "EXISTS (SELECT 1 FROM transition t WHERE t.alert_id = a.id \
     AND t.in_maintenance = TRUE AND t.to_phase = 'firing')";

enum Bind {
    Text(String),
    Number(i64),
}

struct Condition {
    sql: String,
    binds: Vec<Bind>,
}

impl Condition {
    fn of(caller: &Caller, filter: &HistoryFilter) -> Condition {
        let scope = scoped_by(caller, Right::FleetRead, 1, PLACE_COLUMNS);
        let binds = scope.binds.into_iter().map(Bind::Text).collect();
        let mut c = Condition { sql: scope.sql, binds };
        c.number("a.starts_at >= ", filter.from.map(At::ms));
        c.number("a.starts_at < ", filter.to.map(At::ms));
        if !filter.within.is_empty() {
            let n = c.bind(Bind::Text(filter.within.clone()));
            let same = PLACE_COLUMNS.map(|column| format!("{column} = ${n}"));
            c.and(&format!("({})", same.join(" OR ")));
        }
        for (column, value) in [
            ("a.instance", filter.instance.as_str()),
            ("a.policy", &filter.policy),
            ("a.alertname", &filter.alertname),
            ("a.level", filter.level.map_or("", AlertLevel::as_str)),
            ("a.reason", &filter.reason),
        ] {
            if !value.is_empty() {
                let n = c.bind(Bind::Text(value.into()));
                c.and(&format!("{column} = ${n}"));
            }
        }
        c.either(filter.open, "a.open_key IS NOT NULL", "a.open_key IS NULL");
        c.either(filter.acknowledged, "k.alert_id IS NOT NULL", "k.alert_id IS NULL");
        c.either(filter.in_maintenance, IN_MAINTENANCE, &format!("NOT {IN_MAINTENANCE}"));
        for word in filter.q.split_whitespace() {
            let n = c.bind(Bind::Text(like(word)));
            let own = ["a.alertname", "a.labels", "a.service", "a.instance", "a.policy"];
            let any = own.map(|o| format!("lower(coalesce({o}, '')) LIKE ${n} ESCAPE '!'"));
            c.and(&format!("({})", any.join(" OR ")));
        }
        c
    }

    fn bind(&mut self, value: Bind) -> usize {
        self.binds.push(value);
        self.binds.len()
    }

    fn and(&mut self, sql: &str) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
    }

    fn number(&mut self, before: &str, value: Option<i64>) {
        if let Some(value) = value {
            let n = self.bind(Bind::Number(value));
            self.and(&format!("{before}${n}"));
        }
    }

    fn either(&mut self, wanted: Option<bool>, yes: &str, no: &str) {
        if let Some(wanted) = wanted {
            self.and(if wanted { yes } else { no });
        }
    }
}

/// A word to be found anywhere, with what LIKE reads taken literally.
fn like(word: &str) -> String {
    let mut out = String::from("%");
    for c in word.to_lowercase().chars() {
        if matches!(c, '%' | '_' | '!') {
            out.push('!');
        }
        out.push(c);
    }
    out.push('%');
    out
}

/// Binds the values of a condition to a query of any kind.
macro_rules! bound {
    ($query:expr, $condition:expr) => {{
        let mut query = $query;
        for value in &$condition.binds {
            query = match value {
                Bind::Text(text) => query.bind(text),
                Bind::Number(number) => query.bind(*number),
            };
        }
        query
    }};
}

#[derive(sqlx::FromRow)]
struct Found {
    #[sqlx(flatten)]
    row: AlertRow,
    ack_by: Option<String>,
    ack_at: Option<i64>,
    ack_note: Option<String>,
    withheld: Option<String>,
    in_maintenance: bool,
}

impl Found {
    fn item(self) -> Result<HistoryItem> {
        let alert = self.row.into_alert()?;
        let duration_ms = alert.ends_at.map(|end| end.since_ms(alert.starts_at).max(0));
        let ack = self.ack_by.zip(self.ack_at).map(|(by, at)| Ack {
            by,
            at: At::from_ms(at),
            note: self.ack_note.unwrap_or_default(),
        });
        Ok(HistoryItem {
            alert,
            duration_ms,
            ack,
            in_maintenance: self.in_maintenance,
            withheld: self.withheld.unwrap_or_default(),
        })
    }
}

const JOINS: &str =
    "LEFT JOIN alert_ack k ON k.alert_id = a.id LEFT JOIN alert_hold h ON h.alert_id = a.id";

impl Store {
    /// Occurrences that match, latest start first; `before` is start and id of the last one of the
    /// page before.
    pub async fn history_list(
        &self,
        caller: &Caller,
        filter: &HistoryFilter,
        limit: usize,
        before: Option<(At, &str)>,
    ) -> Result<Vec<HistoryItem>> {
        let c = Condition::of(caller, filter);
        let n = c.binds.len();
        let sql = format!(
            "SELECT {COLUMNS}, k.actor AS ack_by, k.at AS ack_at, k.note AS ack_note, \
             h.why AS withheld, {IN_MAINTENANCE} AS in_maintenance {FROM} {JOINS} WHERE {} \
             AND (a.starts_at < ${1} OR (a.starts_at = ${1} AND a.id < ${2})) \
             ORDER BY a.starts_at DESC, a.id DESC LIMIT ${3}",
            c.sql,
            n + 1,
            n + 2,
            n + 3
        );
        let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at.ms(), id));
        let rows: Vec<Found> = rd!(self, conn => {
            bound!(sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())), c)
                .bind(at).bind(id).bind(limit as i64).fetch_all(conn).await
        })?;
        rows.into_iter().map(Found::item).collect()
    }

    /// How many `history_list` would answer without a limit.
    pub async fn history_count(&self, caller: &Caller, filter: &HistoryFilter) -> Result<i64> {
        let c = Condition::of(caller, filter);
        let sql = format!("SELECT count(*) {FROM} {JOINS} WHERE {}", c.sql);
        Ok(rd!(self, conn => bound!(sqlx::query_scalar(sqlx::AssertSqlSafe(sql.as_str())), c)
            .fetch_one(conn).await)?)
    }

    /// How alerts that match were answered, by tenant and policy: the most frequent first.
    pub async fn history_answered(
        &self,
        caller: &Caller,
        filter: &HistoryFilter,
    ) -> Result<Vec<Answered>> {
        type Row = (String, String, i64, i64, i64, Option<i64>, Option<i64>);
        let c = Condition::of(caller, filter);
        // Sums are cast: PostgreSQL answers numeric for sum(bigint).
        let sql = format!(
            "SELECT coalesce(a.tenant, ''), CASE WHEN a.policy = '' THEN a.alertname \
             ELSE a.policy END AS name, count(*), count(k.alert_id), count(a.ends_at), \
             CAST(sum(CASE WHEN k.at IS NULL THEN 0 WHEN k.at < a.starts_at THEN 0 \
             ELSE k.at - a.starts_at END) AS BIGINT), \
             CAST(sum(CASE WHEN a.ends_at IS NULL THEN 0 ELSE a.ends_at - a.starts_at END) \
             AS BIGINT) {FROM} {JOINS} WHERE {} \
             GROUP BY coalesce(a.tenant, ''), name ORDER BY count(*) DESC, name, 1",
            c.sql
        );
        let rows: Vec<Row> = rd!(self, conn => {
            bound!(sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())), c).fetch_all(conn).await
        })?;
        let mean = |sum: Option<i64>, n: i64| sum.filter(|_| n > 0).map(|sum| sum / n);
        let one = |(tenant, policy, fired, acknowledged, resolved, to_ack, to_end): Row| Answered {
            tenant,
            policy,
            fired,
            acknowledged,
            resolved,
            mtta_ms: mean(to_ack, acknowledged),
            mttr_ms: mean(to_end, resolved),
        };
        Ok(rows.into_iter().map(one).collect())
    }

    /// Acknowledges an alert that is not over. The first one stays: a second answers it.
    pub async fn alert_ack(&self, caller: &Caller, id: &str, note: &str, now: At) -> Result<Ack> {
        let (alert, place) = self.alert_with_place(caller, id).await?;
        caller.require(Right::AlertAck, &place)?;
        let note = note.trim();
        if note.chars().count() > NOTE_MAX {
            return Err(Error::Invalid(format!("note: at most {NOTE_MAX} characters")));
        }
        if let Some(ack) = self.ack_of(id).await? {
            return Ok(ack);
        }
        if alert.ends_at.is_some() {
            return Err(Error::Conflict(format!("alert {id} is over")));
        }
        let ack = Ack { by: caller.name(), at: now, note: note.into() };
        let mut tx = self.begin().await?;
        let taken = wr!(tx, c => sqlx::query(
            "INSERT INTO alert_ack (alert_id, actor, at, note) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (alert_id) DO NOTHING")
            .bind(id).bind(&ack.by).bind(now.ms()).bind(note)
            .execute(c).await.map(|d| d.rows_affected()))?;
        if taken == 0 {
            drop(tx);
            let first = self.ack_of(id).await?;
            return first.ok_or_else(|| Error::NotFound(format!("alert {id}")));
        }
        let after = json!({ "alertname": alert.alertname, "note": note });
        let entry = AuditEntry::new("alert.ack", id, place).change(Value::Null, after);
        tx.audit(caller, entry, now).await?;
        tx.commit().await?;
        Ok(ack)
    }

    /// Who acknowledged it and what withheld it.
    pub async fn alert_marks(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<(Option<Ack>, Option<Hold>)> {
        self.alert_get(caller, id).await?;
        Ok((self.ack_of(id).await?, self.holds(&[id]).await?.remove(id)))
    }

    async fn ack_of(&self, id: &str) -> Result<Option<Ack>> {
        let row: Option<(String, i64, String)> = rd!(self, c => sqlx::query_as(
            "SELECT actor, at, note FROM alert_ack WHERE alert_id = $1")
            .bind(id).fetch_optional(c).await)?;
        Ok(row.map(|(by, at, note)| Ack { by, at: At::from_ms(at), note }))
    }

    /// Ids of the alerts that are acknowledged, of those that are not over.
    pub async fn alerts_acknowledged(&self, caller: &Caller) -> Result<Vec<(String, Ack)>> {
        let scope = scoped_by(caller, Right::FleetRead, 1, PLACE_COLUMNS);
        let sql = format!(
            "SELECT a.id, k.actor, k.at, k.note {FROM} JOIN alert_ack k ON k.alert_id = a.id \
             WHERE {} AND a.open_key IS NOT NULL",
            scope.sql
        );
        let rows: Vec<(String, String, i64, String)> = rd!(self, c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()));
            for value in &scope.binds { query = query.bind(value); }
            query.fetch_all(c).await
        })?;
        let one = |(id, by, at, note)| (id, Ack { by, at: At::from_ms(at), note });
        Ok(rows.into_iter().map(one).collect())
    }

    /// What withheld these occurrences.
    pub(crate) async fn holds(&self, ids: &[&str]) -> Result<HashMap<String, Hold>> {
        let mut found = HashMap::new();
        for part in ids.chunks(500) {
            let places: Vec<String> = (1..=part.len()).map(|n| format!("${n}")).collect();
            let sql = format!(
                "SELECT alert_id, why, withheld_at, released_at FROM alert_hold \
                 WHERE alert_id IN ({})",
                places.join(", ")
            );
            let rows: Vec<(String, String, i64, Option<i64>)> = rd!(self, c => {
                let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()));
                for id in part { query = query.bind(*id); }
                query.fetch_all(c).await
            })?;
            for (alert_id, why, withheld_at, released_at) in rows {
                let withheld_at = At::from_ms(withheld_at);
                let released_at = released_at.map(At::from_ms);
                let hold = Hold { alert_id: alert_id.clone(), why, withheld_at, released_at };
                found.insert(alert_id, hold);
            }
        }
        Ok(found)
    }

    async fn alert_with_place(&self, caller: &Caller, id: &str) -> Result<(Alert, Place)> {
        let alert = self.alert_get(caller, id).await?;
        let place = match &alert.service {
            Some(service) => self.place_of_service(service).await,
            None => Ok(alert.tenant.as_ref().map_or(Place::platform(), Place::tenant)),
        };
        // The service is gone; its tenant is not.
        let of_tenant = || alert.tenant.as_ref().map_or(Place::platform(), Place::tenant);
        let place = place.unwrap_or_else(|_| of_tenant());
        Ok((alert, place))
    }
}

impl Tx {
    pub(crate) async fn hold_write(&mut self, hold: &Hold) -> Result<()> {
        wr!(self, c => sqlx::query(
            "INSERT INTO alert_hold (alert_id, why, withheld_at, released_at) \
             VALUES ($1, $2, $3, $4) ON CONFLICT (alert_id) DO UPDATE SET \
             why = excluded.why, released_at = excluded.released_at")
            .bind(&hold.alert_id).bind(&hold.why).bind(hold.withheld_at.ms())
            .bind(hold.released_at.map(At::ms)).execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }
}

//! The quality of alerts: counted from the history, and the reports of the nights.
//!
//! Invariant: a report is made once a day, whoever of several processes comes first, and is cut to what
//! the caller sees when it is read. Refuses to know policies: which of them are silent is told by
//! `server`.

use model::At;
use model::caller::Caller;
use model::quality::{QUALITY_DAYS, QualityLine, QualityReport, SHORT_MS, SWINGS};
use model::right::{Place, Right};

use crate::{Error, Result, Store};

const DAY_MS: i64 = 86_400_000;
/// Reports are kept as long as the alerts they count.
const KEPT_MS: i64 = 400 * DAY_MS;

type Row = (String, String, i64, i64, i64, i64, i64, Option<i64>, Option<i64>, i64);
/// The rest of a row: a tuple has an end.
type More = (String, String, i64, i64, i64, i64);

/// A sum over rows of a condition. Sums are cast: PostgreSQL answers numeric for sum(bigint).
fn count(condition: &str) -> String {
    format!("CAST(sum(CASE WHEN {condition} THEN 1 ELSE 0 END) AS BIGINT)")
}

const NAME: &str = "CASE WHEN a.policy = '' THEN a.alertname ELSE a.policy END";
const INCIDENT: &str = "EXISTS (SELECT 1 FROM incident i WHERE i.alert_id = a.id)";
const ACTED: &str = "k.alert_id IS NOT NULL OR EXISTS (SELECT 1 FROM incident i \
     WHERE i.alert_id = a.id AND i.operation IS NOT NULL)";
const DELIVERED: &str =
    "EXISTS (SELECT 1 FROM delivery d WHERE d.alert_id = a.id AND d.state = 'accepted')";
const FROM: &str = "FROM alert a LEFT JOIN alert_ack k ON k.alert_id = a.id \
     LEFT JOIN alert_hold h ON h.alert_id = a.id WHERE a.starts_at >= $1 AND a.starts_at < $2 \
     GROUP BY coalesce(a.tenant, ''), name ORDER BY 1, 2";

impl Store {
    /// What the history of the last thirty days says, policy by policy and tenant by tenant.
    pub async fn quality_count(&self, caller: &Caller, now: At) -> Result<Vec<QualityLine>> {
        caller.require(Right::FleetRead, &Place::platform())?;
        let from = (now - QUALITY_DAYS * DAY_MS).ms();
        let sql = format!(
            "SELECT coalesce(a.tenant, ''), {NAME} AS name, count(*), count(k.alert_id), \
             count(a.ends_at), {}, {}, CAST(sum(CASE WHEN k.at IS NULL THEN 0 WHEN k.at < \
             a.starts_at THEN 0 ELSE k.at - a.starts_at END) AS BIGINT), CAST(sum(CASE WHEN a.ends_at \
             IS NULL THEN 0 ELSE a.ends_at - a.starts_at END) AS BIGINT), max(a.starts_at) {FROM}",
            count(DELIVERED),
            count(ACTED)
        );
        let rows: Vec<Row> = rd!(self, c => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(from).bind(now.ms())
                .fetch_all(c).await
        })?;
        let swings =
            format!("(SELECT count(*) FROM transition t WHERE t.alert_id = a.id) >= {SWINGS}");
        let short = format!("a.ends_at IS NOT NULL AND a.ends_at - a.starts_at < {SHORT_MS}");
        let sql = format!(
            "SELECT coalesce(a.tenant, ''), {NAME} AS name, {}, {}, {}, {} {FROM}",
            count(INCIDENT),
            count(&short),
            count(&swings),
            count("h.alert_id IS NOT NULL")
        );
        let more: Vec<More> = rd!(self, c => {
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(from).bind(now.ms())
                .fetch_all(c).await
        })?;
        Ok(rows.into_iter().map(|row| line(row, &more)).collect())
    }

    /// When the oldest alert of the history began; none: there is no history.
    pub async fn quality_since(&self) -> Result<Option<At>> {
        let first: Option<i64> = rd!(self, c =>
            sqlx::query_scalar("SELECT min(starts_at) FROM alert").fetch_one(c).await)?;
        Ok(first.map(At::from_ms))
    }

    /// Policies with an alert since a time, in any tenant.
    pub async fn quality_fired(&self, since: At) -> Result<Vec<String>> {
        Ok(rd!(self, c => sqlx::query_scalar(
            "SELECT DISTINCT policy FROM alert WHERE starts_at >= $1 ORDER BY policy")
            .bind(since.ms()).fetch_all(c).await)?)
    }

    /// Keeps the report of a day, unless another process did. Answers whether it was kept.
    pub async fn quality_put(
        &self,
        caller: &Caller,
        day: &str,
        report: &QualityReport,
        now: At,
    ) -> Result<bool> {
        caller.require(Right::FleetRead, &Place::platform())?;
        let body = serde_json::to_string(report).map_err(|e| Error::Internal(e.to_string()))?;
        let mut tx = self.begin().await?;
        let kept = wr!(tx, c => sqlx::query(
            "INSERT INTO quality_report (day, at, body) VALUES ($1, $2, $3) \
             ON CONFLICT (day) DO NOTHING")
            .bind(day).bind(now.ms()).bind(&body).execute(c).await.map(|d| d.rows_affected()))?;
        wr!(tx, c => sqlx::query("DELETE FROM quality_report WHERE at < $1")
            .bind((now - KEPT_MS).ms()).execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await?;
        Ok(kept > 0)
    }

    /// Whether the report of a day is kept.
    pub async fn quality_has(&self, day: &str) -> Result<bool> {
        let found: i64 = rd!(self, c =>
            sqlx::query_scalar("SELECT count(*) FROM quality_report WHERE day = $1")
            .bind(day).fetch_one(c).await)?;
        Ok(found > 0)
    }

    /// The report of a day, or the latest one, cut to the tenants the caller sees whole.
    pub async fn quality_get(&self, caller: &Caller, day: &str) -> Result<Option<QualityReport>> {
        if !caller.may_somewhere(Right::FleetRead) {
            caller.require(Right::FleetRead, &Place::platform())?;
        }
        let body: Option<String> = rd!(self, c => sqlx::query_scalar(
            "SELECT body FROM quality_report WHERE $1 = '' OR day = $1 ORDER BY day DESC LIMIT 1")
            .bind(day).fetch_optional(c).await)?;
        let Some(body) = body else { return Ok(None) };
        let mut report: QualityReport =
            serde_json::from_str(&body).map_err(|e| Error::Internal(format!("report: {e}")))?;
        report.items.retain(|line| match line.tenant.parse() {
            Ok(tenant) => caller.may(Right::FleetRead, &Place::tenant(&tenant)),
            Err(_) => caller.may(Right::FleetRead, &Place::platform()),
        });
        report.count = report.items.len();
        Ok(Some(report))
    }
}

fn line(row: Row, more: &[More]) -> QualityLine {
    let (tenant, policy, fired, acknowledged, resolved, delivered, acted, to_ack, to_end, last) =
        row;
    let mean = |sum: Option<i64>, n: i64| sum.filter(|_| n > 0).map(|sum| sum / n);
    let rest = more.iter().find(|m| m.0 == tenant && m.1 == policy);
    let (incidents, short, flapping, withheld) =
        rest.map_or((0, 0, 0, 0), |m| (m.2, m.3, m.4, m.5));
    let mut line = QualityLine {
        tenant,
        policy,
        fired,
        delivered,
        acted,
        acknowledged,
        incidents,
        short,
        flapping,
        withheld,
        mtta_ms: mean(to_ack, acknowledged),
        mttr_ms: mean(to_end, resolved),
        pages_per_week: fired as f64 * 7.0 / QUALITY_DAYS as f64,
        last_fired: Some(At::from_ms(last)),
        verdicts: Vec::new(),
    };
    line.verdicts = model::quality::verdicts(&line);
    line
}

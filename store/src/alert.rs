//! The alerts table: one row per occurrence, written by our evaluator and by the intake alike.
//!
//! Invariant: a fingerprint is open at most once in its tenant (`open_key`); the earliest start of an open row
//! stays. Labels are data of others: they are stored and shown, never used in a statement.

use std::collections::BTreeMap;

use model::alert::{Alert, AlertSource, Phase, Transition};
use model::caller::Caller;
use model::policy::AlertLevel;
use model::right::{Place, Right};
use model::{At, ServiceId, SystemId};

use crate::scoped::scoped_by;
use crate::tx::Tx;
use crate::{Error, Result, Store};

/// More alerts of one name started within `MASS_WINDOW_MS` are a mass event.
pub const MASS_EVENT_ALERTS: i64 = 20;
/// The window of `MASS_EVENT_ALERTS`.
pub const MASS_WINDOW_MS: i64 = 60_000;
/// How long a mass event or a truncated message keeps the guards closed: one group_interval of the
/// shipped Alertmanager configuration, in which the next full message arrives, doubled.
pub const FACT_MS: i64 = 600_000;
/// How long a closed alert, its transitions and deliveries are kept.
pub const ALERT_KEPT_MS: i64 = 400 * 86_400_000;
/// How long an end without a beginning is remembered.
pub const TOMBSTONE_MS: i64 = 86_400_000;

/// Which alerts a list asks for; empty means all.
#[derive(Debug, Clone, Default)]
pub struct AlertFilter {
    /// Only these phases.
    pub phases: Vec<Phase>,
    /// Only of this service.
    pub service: Option<ServiceId>,
    /// Only of the tenant, business system or service with this id.
    pub within: String,
}

/// A fact the guards of remediation ask for.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct AlertFact {
    /// `mass_event` (subject: alertname) or `truncated` (subject: source of the intake).
    pub kind: String,
    /// Whose alerts it is about; empty: the whole fleet's.
    pub tenant: String,
    /// What it is about.
    pub subject: String,
    /// One sentence.
    pub detail: String,
}

#[derive(sqlx::FromRow)]
pub(crate) struct AlertRow {
    id: String,
    fingerprint: String,
    source: String,
    tenant: Option<String>,
    service: Option<String>,
    instance: Option<String>,
    alertname: String,
    policy: String,
    level: String,
    phase: String,
    labels: String,
    annotations: String,
    value: Option<f64>,
    threshold: Option<f64>,
    runbooks: String,
    starts_at: i64,
    ends_at: Option<i64>,
    last_seen: i64,
    reason: String,
}

fn json<T: serde::de::DeserializeOwned>(text: &str, column: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|e| Error::Internal(format!("alert.{column}: {e}")))
}

fn text<T: serde::Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| Error::Internal(e.to_string()))
}

fn id<T: std::str::FromStr<Err = model::id::BadId>>(text: Option<String>) -> Result<Option<T>> {
    text.map(|t| t.parse().map_err(|e: model::id::BadId| Error::Internal(e.to_string())))
        .transpose()
}

impl AlertRow {
    pub(crate) fn into_alert(self) -> Result<Alert> {
        let word = |what: &str| Error::Internal(format!("alert.{what} is no word of ours"));
        Ok(Alert {
            source: AlertSource::parse(&self.source).ok_or_else(|| word("source"))?,
            tenant: id(self.tenant)?,
            service: id(self.service)?,
            instance: id(self.instance)?,
            level: AlertLevel::parse(&self.level).ok_or_else(|| word("level"))?,
            phase: Phase::parse(&self.phase).ok_or_else(|| word("phase"))?,
            labels: json(&self.labels, "labels")?,
            annotations: json(&self.annotations, "annotations")?,
            runbooks: json(&self.runbooks, "runbooks")?,
            starts_at: At::from_ms(self.starts_at),
            ends_at: self.ends_at.map(At::from_ms),
            last_seen: At::from_ms(self.last_seen),
            id: self.id,
            fingerprint: self.fingerprint,
            alertname: self.alertname,
            policy: self.policy,
            value: self.value,
            threshold: self.threshold,
            reason: self.reason,
        })
    }
}

#[derive(sqlx::FromRow)]
struct Listed {
    #[sqlx(flatten)]
    row: AlertRow,
    system: Option<String>,
}

pub(crate) const COLUMNS: &str = "a.id, a.fingerprint, a.source, a.tenant, a.service, a.instance, \
     a.alertname, a.policy, a.level, a.phase, a.labels, a.annotations, a.value, a.threshold, \
     a.runbooks, a.starts_at, a.ends_at, a.last_seen, a.reason, s.system";
pub(crate) const FROM: &str = "FROM alert a LEFT JOIN service s ON s.id = a.service";
const UPDATE_BY_ID: &str = "UPDATE alert SET phase = $2, annotations = $3, value = $4, \
     threshold = $5, ends_at = $6, last_seen = $7, reason = $8, open_key = CASE WHEN EXISTS \
     (SELECT 1 FROM alert o WHERE o.open_key = $9 AND o.id <> $1) THEN NULL ELSE $9 END \
     WHERE id = $1";
const UPDATE_OPEN: &str = "UPDATE alert SET phase = $2, annotations = $3, value = $4, \
     threshold = $5, ends_at = $6, last_seen = $7, reason = $8, open_key = $9 \
     WHERE open_key = $1";

fn place(alert: &Alert, system: Option<&str>) -> Place {
    Place {
        tenant: alert.tenant.clone(),
        system: system.and_then(|s| s.parse::<SystemId>().ok()),
        service: alert.service.clone(),
    }
}

/// What a list asks for, inside what the caller may read: pages are full and counts are exact only
/// when the database itself leaves out the rest.
fn condition(caller: &Caller, filter: &AlertFilter) -> (String, Vec<String>) {
    let columns = ["a.tenant", "s.system", "a.service"];
    let scope = scoped_by(caller, Right::FleetRead, 1, columns);
    let (mut sql, mut binds) = (scope.sql, scope.binds);
    if let Some(service) = &filter.service {
        binds.push(service.to_string());
        sql.push_str(&format!(" AND a.service = ${}", binds.len()));
    }
    if !filter.within.is_empty() {
        binds.push(filter.within.clone());
        let n = binds.len();
        let same = columns.map(|c| format!("{c} = ${n}"));
        sql.push_str(&format!(" AND ({})", same.join(" OR ")));
    }
    if !filter.phases.is_empty() {
        let first = binds.len() + 1;
        binds.extend(filter.phases.iter().map(|p| p.as_str().to_string()));
        let places: Vec<String> = (first..=binds.len()).map(|n| format!("${n}")).collect();
        sql.push_str(&format!(" AND a.phase IN ({})", places.join(", ")));
        // Said once more in the words of an index: closed rows are the many.
        if !filter.phases.contains(&Phase::Resolved) {
            sql.push_str(" AND a.open_key IS NOT NULL");
        }
    }
    (sql, binds)
}

impl Store {
    /// Alerts the caller may read, latest start first; `before` is start and id of the last one of
    /// the page before.
    pub async fn alert_list(
        &self,
        caller: &Caller,
        filter: &AlertFilter,
        limit: usize,
        before: Option<(At, &str)>,
    ) -> Result<Vec<Alert>> {
        let (wanted, binds) = condition(caller, filter);
        let n = binds.len();
        let sql = format!(
            "SELECT {COLUMNS} {FROM} WHERE {wanted} AND (a.starts_at < ${0} OR (a.starts_at = ${0} \
             AND a.id < ${1})) ORDER BY a.starts_at DESC, a.id DESC LIMIT ${2}",
            n + 1,
            n + 2,
            n + 3
        );
        let (at, id) = before.map_or((i64::MAX, ""), |(at, id)| (at.ms(), id));
        let rows: Vec<AlertRow> = rd!(self, c => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()));
            for value in &binds { query = query.bind(value); }
            query.bind(at).bind(id).bind(limit as i64).fetch_all(c).await
        })?;
        rows.into_iter().map(AlertRow::into_alert).collect()
    }

    /// How many alerts `alert_list` would answer without a limit.
    pub async fn alert_count(&self, caller: &Caller, filter: &AlertFilter) -> Result<i64> {
        let (wanted, binds) = condition(caller, filter);
        let sql = format!("SELECT count(*) {FROM} WHERE {wanted}");
        Ok(rd!(self, c => {
            let mut query = sqlx::query_scalar(sqlx::AssertSqlSafe(sql.as_str()));
            for value in &binds { query = query.bind(value); }
            query.fetch_one(c).await
        })?)
    }

    /// One alert; an alert the caller may not see does not exist for him.
    pub async fn alert_get(&self, caller: &Caller, id: &str) -> Result<Alert> {
        let sql = format!("SELECT {COLUMNS} {FROM} WHERE a.id = $1");
        let row: Option<Listed> = rd!(self, c =>
            sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(id).fetch_optional(c).await)?;
        let missing = || Error::NotFound(format!("alert {id}"));
        let listed = row.ok_or_else(missing)?;
        let alert = listed.row.into_alert()?;
        match caller.may(Right::FleetRead, &place(&alert, listed.system.as_deref())) {
            true => Ok(alert),
            false => Err(missing()),
        }
    }

    /// The history of an alert, oldest first.
    pub async fn transitions(&self, caller: &Caller, id: &str) -> Result<Vec<Transition>> {
        type Row = (i64, String, String, Option<f64>, Option<f64>, String, bool);
        self.alert_get(caller, id).await?;
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT at, from_phase, to_phase, value, threshold, reason, in_maintenance \
             FROM transition WHERE alert_id = $1 ORDER BY seq")
            .bind(id).fetch_all(c).await)?;
        Ok(rows
            .into_iter()
            .map(|(at, from, to, value, threshold, reason, in_maintenance)| Transition {
                alert_id: id.into(),
                at: At::from_ms(at),
                from: Phase::parse(&from).unwrap_or_default(),
                to: Phase::parse(&to).unwrap_or_default(),
                value,
                threshold,
                reason,
                in_maintenance,
            })
            .collect())
    }

    /// The facts that hold now: guards stay closed while one concerns them.
    pub async fn alert_facts(&self, now: At) -> Result<Vec<AlertFact>> {
        Ok(rd!(self, c => sqlx::query_as(
            "SELECT kind, tenant, subject, detail FROM alert_fact WHERE until_at > $1 \
             ORDER BY kind, tenant, subject")
            .bind(now.ms()).fetch_all(c).await)?)
    }
}

impl Tx {
    /// Inserts the occurrence, or brings its row to the state of `a`. An open row of the same
    /// fingerprint under another id (another process opened it first) is joined and keeps its id
    /// and start. Writing the same again changes nothing: a commit may have been *unknown*.
    pub(crate) async fn alert_write(&mut self, a: &Alert) -> Result<()> {
        let key = open_key(a);
        let open_key = (a.phase != Phase::Resolved).then_some(key.as_str());
        let annotations = text(&a.annotations)?;
        for (sql, key) in [(UPDATE_BY_ID, &a.id), (UPDATE_OPEN, &key)] {
            let changed = wr!(self, c => sqlx::query(sql)
                .bind(key).bind(a.phase.as_str()).bind(&annotations).bind(a.value)
                .bind(a.threshold).bind(a.ends_at.map(At::ms)).bind(a.last_seen.ms())
                .bind(&a.reason).bind(open_key)
                .execute(c).await.map(|d| d.rows_affected()))?;
            if changed > 0 {
                return Ok(());
            }
        }
        self.alert_insert(a, open_key, &annotations).await.map(drop)
    }

    /// Inserts a new open occurrence. A conflict tells that another transaction opened it since it
    /// was looked for.
    pub(crate) async fn alert_open(&mut self, a: &Alert) -> Result<()> {
        let annotations = text(&a.annotations)?;
        match self.alert_insert(a, Some(&open_key(a)), &annotations).await? {
            0 => Err(Error::Conflict(format!("alert {} is open already", a.id))),
            _ => Ok(()),
        }
    }

    async fn alert_insert(
        &mut self,
        a: &Alert,
        open_key: Option<&str>,
        annotations: &str,
    ) -> Result<u64> {
        let (labels, runbooks) = (text(&a.labels)?, text(&a.runbooks)?);
        let inserted = wr!(self, c => sqlx::query(
            "INSERT INTO alert (id, fingerprint, source, tenant, service, instance, alertname, \
             policy, level, phase, labels, annotations, value, threshold, runbooks, starts_at, \
             ends_at, last_seen, reason, open_key) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, \
             $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) ON CONFLICT (id) DO NOTHING")
            .bind(&a.id).bind(&a.fingerprint).bind(a.source.as_str())
            .bind(a.tenant.as_ref().map(|t| t.as_str()))
            .bind(a.service.as_ref().map(|s| s.as_str()))
            .bind(a.instance.as_ref().map(|i| i.as_str()))
            .bind(&a.alertname).bind(&a.policy).bind(a.level.as_str()).bind(a.phase.as_str())
            .bind(&labels).bind(annotations).bind(a.value).bind(a.threshold).bind(&runbooks)
            .bind(a.starts_at.ms()).bind(a.ends_at.map(At::ms)).bind(a.last_seen.ms())
            .bind(&a.reason).bind(open_key)
            .execute(c).await.map(|d| d.rows_affected()))?;
        Ok(inserted)
    }

    /// Appends to the history of an alert, in the order of the calls.
    pub(crate) async fn transition_write(&mut self, t: &Transition) -> Result<()> {
        wr!(self, c => sqlx::query(
            "INSERT INTO transition (alert_id, seq, at, from_phase, to_phase, value, threshold, \
             reason, in_maintenance) SELECT $1, (SELECT coalesce(max(seq), 0) + 1 FROM transition \
             WHERE alert_id = $1), $2, $3, $4, $5, $6, $7, $8 WHERE NOT EXISTS (SELECT 1 FROM \
             transition WHERE alert_id = $1 AND at = $2 AND from_phase = $3 AND to_phase = $4)")
            .bind(&t.alert_id).bind(t.at.ms()).bind(t.from.as_str()).bind(t.to.as_str())
            .bind(t.value).bind(t.threshold).bind(&t.reason).bind(t.in_maintenance)
            .execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }

    /// Records a mass event for each of `names` of which too many started within a minute: in a
    /// tenant, for it; over the fleet, for everybody.
    pub(crate) async fn mass_events(&mut self, names: &[&str], now: At) -> Result<()> {
        for name in names {
            let started: Vec<(String, i64)> = wr!(self, c => sqlx::query_as(
                "SELECT coalesce(tenant, ''), count(*) FROM alert \
                 WHERE alertname = $1 AND starts_at > $2 GROUP BY coalesce(tenant, '')")
                .bind(*name).bind((now - MASS_WINDOW_MS).ms()).fetch_all(c).await)?;
            let fleet = spread(started.iter().map(|(_, n)| *n));
            let whole = (fleet > MASS_EVENT_ALERTS).then(|| (String::new(), fleet));
            let much = started.into_iter().filter(|(_, n)| *n > MASS_EVENT_ALERTS);
            for (tenant, n) in much.chain(whole) {
                let detail = format!("{n} alerts {name} started within one minute");
                self.fact_write("mass_event", &tenant, name, &detail, now).await?;
            }
        }
        Ok(())
    }

    /// Records a fact about `tenant` (empty: the whole fleet), or prolongs it.
    pub(crate) async fn fact_write(
        &mut self,
        kind: &str,
        tenant: &str,
        subject: &str,
        detail: &str,
        now: At,
    ) -> Result<()> {
        wr!(self, c => sqlx::query(
            "INSERT INTO alert_fact (kind, tenant, subject, at, until_at, detail) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (kind, tenant, subject) \
             DO UPDATE SET at = excluded.at, until_at = excluded.until_at, detail = excluded.detail")
            .bind(kind).bind(tenant).bind(subject).bind(now.ms()).bind((now + FACT_MS).ms())
            .bind(detail).execute(c).await.map(|d| d.rows_affected()))?;
        Ok(())
    }
}

/// How much of what each tenant has counts as the fleet's: from the one with the most, no more than
/// from all others together. A storm of one tenant is its own and must not hold up the others; a
/// little in each of many is everybody's.
pub fn spread(counts: impl Iterator<Item = i64>) -> i64 {
    let (total, most) = counts.fold((0, 0), |(sum, most), n| (sum + n, n.max(most)));
    total.min(2 * (total - most))
}

/// What is open at most once: the fingerprint within its tenant. It has 64 bits and can be met on
/// purpose; another tenant's alert must neither be joined nor kept from opening.
pub(crate) fn open_key(a: &Alert) -> String {
    match &a.tenant {
        Some(tenant) => format!("{tenant}/{}", a.fingerprint),
        None => a.fingerprint.clone(),
    }
}

/// Names that occur in `alerts` that began, each once.
pub(crate) fn names<'a>(alerts: impl Iterator<Item = &'a Alert>) -> Vec<&'a str> {
    let mut names: BTreeMap<&str, i64> = BTreeMap::new();
    for alert in alerts {
        *names.entry(alert.alertname.as_str()).or_default() += 1;
    }
    names.into_keys().collect()
}

#[cfg(test)]
mod tests {
    use model::right::{Rights, Scope};

    use super::*;
    use crate::{Config, Migrate};

    fn alert(n: i64, tenant: &str, phase: Phase) -> Alert {
        Alert {
            id: format!("a{n:03}"),
            fingerprint: format!("{n:016x}"),
            source: AlertSource::Embedded,
            tenant: Some(tenant.parse().unwrap()),
            service: None,
            instance: None,
            alertname: "RedisDown".into(),
            policy: String::new(),
            level: AlertLevel::Critical,
            phase,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            value: None,
            threshold: None,
            runbooks: Vec::new(),
            starts_at: At::from_ms(n / 4),
            ends_at: None,
            last_seen: At::from_ms(n),
            reason: String::new(),
        }
    }

    fn reader(tenant: &str) -> Caller {
        let mut caller = Caller::system("test", "test");
        let scope = Scope::Tenant(tenant.parse().unwrap());
        caller.grants = vec![(Rights::of(&[Right::FleetRead]), scope)];
        caller
    }

    #[tokio::test]
    async fn pages_are_full_and_counts_exact_however_many_are_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            url: format!("sqlite:{}", dir.path().join("cw.db").display()),
            key_file: None,
            key_env: None,
            key_command: None,
        };
        let store = Store::open(&config, Migrate::AtStart).await.unwrap();
        let mut tx = store.begin().await.unwrap();
        for n in 0..40 {
            let (tenant, phase) = match n % 4 {
                0 => ("pay", Phase::Firing),
                1 => ("pay", Phase::Recovering),
                _ => ("hr", Phase::Firing),
            };
            tx.alert_open(&alert(n, tenant, phase)).await.unwrap();
        }
        tx.commit().await.unwrap();
        let any = AlertFilter::default();
        let firing = AlertFilter { phases: vec![Phase::Firing], ..AlertFilter::default() };
        let inside = AlertFilter { within: "hr".into(), ..AlertFilter::default() };
        for (who, filter, wanted) in
            [("pay", &any, 20), ("hr", &any, 20), ("pay", &firing, 10), ("pay", &inside, 0)]
        {
            let who = reader(who);
            assert_eq!(store.alert_count(&who, filter).await.unwrap(), wanted, "{filter:?}");
            let mut seen: Vec<Alert> = Vec::new();
            loop {
                let before = seen.last().map(|a| (a.starts_at, a.id.as_str()));
                let page = store.alert_list(&who, filter, 3, before).await.unwrap();
                let full = page.len() == 3;
                seen.extend(page);
                if !full {
                    break;
                }
            }
            // Also where several began in one millisecond.
            assert_eq!(seen.len() as i64, wanted, "{filter:?}");
        }
    }
}

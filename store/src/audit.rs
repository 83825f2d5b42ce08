//! The audit trail: one chain per tenant plus one for the platform.
//!
//! Invariant: a record is written in the transaction of the change it tells of; its number follows
//! the chain's head under the head's lock; rows are never changed or deleted (triggers refuse both).

use std::cmp::Ordering;

use model::At;
use model::audit::{AuditRecord, GENESIS};
use model::caller::Caller;
use model::right::{Place, Right};
use serde_json::Value;

use crate::engine::Pool;
use crate::tx::{Inner, STATEMENT_DEADLINE, Tx, answered};
use crate::{Error, Result, Store};

/// What a change says of itself; who, when and the chain are added.
#[derive(Debug, Clone, Default)]
pub struct AuditEntry {
    /// `operation.create`, `policy.publish` …
    pub action: String,
    /// Object.
    pub target: String,
    /// Where it stands; decides the chain.
    pub place: Place,
    /// State before, secrets masked; null when none.
    pub before: Value,
    /// State after, secrets masked; null when none.
    pub after: Value,
    /// Plan hash of operations.
    pub plan_hash: String,
    /// ok, refused, failed or unknown; empty means ok.
    pub result: String,
    /// Error code.
    pub code: String,
}

impl AuditEntry {
    /// A successful `action` on `target`.
    pub fn new(action: &str, target: impl ToString, place: Place) -> AuditEntry {
        AuditEntry {
            action: action.into(),
            target: target.to_string(),
            place,
            ..Default::default()
        }
    }
    /// With the state before and after.
    pub fn change(mut self, before: Value, after: Value) -> AuditEntry {
        self.before = before;
        self.after = after;
        self
    }
}

/// Result of verifying one chain.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ChainReport {
    /// Tenant id, or `platform`.
    pub chain: String,
    /// Records looked at.
    pub records: i64,
    /// First fault found.
    pub fault: Option<ChainFault>,
}

/// First bad record of a chain.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct ChainFault {
    /// Number of the record.
    pub seq: i64,
    /// altered, missing, reordered or cut.
    pub how: String,
}

/// A page of records.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditPage {
    /// Newest first.
    pub records: Vec<AuditRecord>,
    /// Cursor of the next page.
    pub next: Option<String>,
    /// All records the caller may read.
    pub count: usize,
}

#[derive(sqlx::FromRow)]
struct Head {
    seq: i64,
    hash: String,
}

const HEAD: &str = "SELECT seq, hash FROM audit_chain WHERE chain = $1";
const HEAD_LOCKED: &str = "SELECT seq, hash FROM audit_chain WHERE chain = $1 FOR UPDATE";

impl Tx {
    /// Appends a record to the chain of `entry.place`.
    pub(crate) async fn audit(
        &mut self,
        caller: &Caller,
        entry: AuditEntry,
        at: At,
    ) -> Result<i64> {
        #[cfg(feature = "fault")]
        crate::fault::point("audit.append", "before").map_err(Error::NotWritable)?;
        let chain = entry.place.chain();
        wr!(self, c => sqlx::query(
            "INSERT INTO audit_chain (chain, seq, hash) VALUES ($1, 0, $2) ON CONFLICT DO NOTHING")
            .bind(&chain).bind(GENESIS).execute(c).await.map(|d| d.rows_affected()))?;
        let head: Head = match &mut self.0 {
            Inner::Lite(t) => sqlx::query_as(HEAD).bind(&chain).fetch_one(&mut **t).await,
            Inner::Pg(t) => {
                let head = sqlx::query_as(HEAD_LOCKED).bind(&chain).fetch_one(&mut **t);
                answered(STATEMENT_DEADLINE, head).await
            }
        }?;
        let record = record(caller, entry, at, &chain, &head);
        self.append(&record).await?;
        Ok(record.seq)
    }

    async fn append(&mut self, r: &AuditRecord) -> Result<()> {
        let actor = format!("{}/{}", r.actor.issuer, r.actor.subject);
        let body = serde_json::to_string(r).map_err(|e| Error::Internal(e.to_string()))?;
        wr!(self, c => sqlx::query(
            "INSERT INTO audit (chain, seq, at, actor, action, target, scope, result, hash, body) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)")
            .bind(&r.chain).bind(r.seq).bind(r.at.ms()).bind(&actor).bind(&r.action)
            .bind(&r.target).bind(&r.scope).bind(&r.result).bind(&r.hash).bind(&body)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let moved = wr!(self, c => sqlx::query(
            "UPDATE audit_chain SET seq = $2, hash = $3 WHERE chain = $1 AND seq = $4")
            .bind(&r.chain).bind(r.seq).bind(&r.hash).bind(r.seq - 1)
            .execute(c).await.map(|d| d.rows_affected()))?;
        if moved != 1 {
            return Err(Error::Internal(format!("audit chain {} has a broken head", r.chain)));
        }
        Ok(())
    }
}

fn record(caller: &Caller, entry: AuditEntry, at: At, chain: &str, head: &Head) -> AuditRecord {
    let mut record = AuditRecord {
        seq: head.seq + 1,
        chain: chain.into(),
        at,
        actor: caller.actor.clone(),
        via: caller.via,
        address: caller.address.clone().unwrap_or_default(),
        request_id: caller.request_id.clone(),
        scope: String::from(entry.place.to_scope()),
        action: entry.action,
        target: entry.target,
        before: entry.before,
        after: entry.after,
        plan_hash: entry.plan_hash,
        approvers: Vec::new(),
        result: if entry.result.is_empty() { "ok".into() } else { entry.result },
        code: entry.code,
        prev: head.hash.clone(),
        hash: String::new(),
    };
    record.hash = record.computed_hash();
    record
}

impl Store {
    /// Writes a record alone, for what changes no row of ours (a refusal, a login).
    pub async fn audit_write(&self, caller: &Caller, entry: AuditEntry, at: At) -> Result<()> {
        let mut tx = self.begin().await?;
        tx.audit(caller, entry, at).await?;
        tx.commit().await
    }

    /// A page of the records the caller may read, newest first; `cursor` is the `next` of the page
    /// before.
    pub async fn audit_list(
        &self,
        caller: &Caller,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<AuditPage> {
        let mut found: Vec<(i64, String, i64, String)> = Vec::new();
        let mut count = 0;
        let (at, after_chain, after_seq) = from(cursor)?;
        for chain in self.chains_of(caller).await? {
            let n: i64 = rd!(self, c => sqlx::query_scalar("SELECT count(*) FROM audit WHERE chain = $1")
                .bind(&chain).fetch_one(c).await)?;
            count += n;
            // The rank of a whole chain beside the cursor's is decided here: the database may order
            // text by the rules of a language, and then a page would miss records.
            let at_same_moment_below = match chain.cmp(&after_chain) {
                Ordering::Less => i64::MIN,
                Ordering::Equal => after_seq,
                Ordering::Greater => i64::MAX,
            };
            let rows: Vec<(i64, String, i64, String)> = rd!(self, c => sqlx::query_as(
                "SELECT at, chain, seq, body FROM audit WHERE chain = $1 \
                 AND (at < $2 OR (at = $2 AND seq < $3)) ORDER BY at DESC, seq DESC LIMIT $4")
                .bind(&chain).bind(at).bind(at_same_moment_below)
                .bind(limit as i64 + 1).fetch_all(c).await)?;
            found.extend(rows);
        }
        found.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)).then(b.2.cmp(&a.2)));
        let more = found.len() > limit;
        found.truncate(limit);
        let next =
            found.last().filter(|_| more).map(|(at, chain, seq, _)| format!("{at}~{chain}~{seq}"));
        let records = found.iter().map(|(_, _, _, body)| parse(body)).collect::<Result<_>>()?;
        Ok(AuditPage { records, next, count: count as usize })
    }

    /// Checks every record of every chain the caller may read.
    pub async fn audit_verify(&self, caller: &Caller) -> Result<Vec<ChainReport>> {
        let mut reports = Vec::new();
        for chain in self.chains_of(caller).await? {
            reports.push(self.verify_chain(chain).await?);
        }
        Ok(reports)
    }

    async fn chains_of(&self, caller: &Caller) -> Result<Vec<String>> {
        if !caller.may_somewhere(Right::AuditRead) {
            caller.require(Right::AuditRead, &Place::platform())?;
        }
        let all: Vec<String> = rd!(self, c =>
            sqlx::query_scalar("SELECT chain FROM audit_chain ORDER BY chain").fetch_all(c).await)?;
        Ok(all
            .into_iter()
            .filter(|chain| {
                let place = match chain.parse() {
                    Ok(tenant) if chain != "platform" => Place::tenant(&tenant),
                    _ => Place::platform(),
                };
                caller.may(Right::AuditRead, &place)
            })
            .collect())
    }

    async fn verify_chain(&self, chain: String) -> Result<ChainReport> {
        const PAGE: i64 = 1_000;
        // The chain grows meanwhile: the head read before must be in it, and the head read behind
        // must not be in front of it.
        let before = self.head_of(&chain).await?;
        let mut prev = (0_i64, GENESIS.to_string());
        let mut promised = before.seq == 0;
        loop {
            let page: Vec<(i64, String, String)> = rd!(self, c => sqlx::query_as(
                "SELECT seq, hash, body FROM audit WHERE chain = $1 AND seq > $2 \
                 ORDER BY seq LIMIT $3")
                .bind(&chain).bind(prev.0).bind(PAGE).fetch_all(c).await)?;
            for (seq, hash, body) in &page {
                if let Some(how) = fault_of(*seq, hash, body, &prev) {
                    let fault = Some(ChainFault { seq: prev.0 + 1, how: how.into() });
                    return Ok(ChainReport { chain, records: prev.0, fault });
                }
                promised |= (*seq, hash) == (before.seq, &before.hash);
                prev = (*seq, hash.clone());
            }
            if (page.len() as i64) < PAGE {
                break;
            }
        }
        let cut = !promised || self.head_of(&chain).await?.seq < prev.0;
        let fault = cut.then(|| ChainFault { seq: prev.0 + 1, how: "cut".into() });
        Ok(ChainReport { chain, records: prev.0, fault })
    }

    async fn head_of(&self, chain: &str) -> Result<Head> {
        Ok(rd!(self, c => sqlx::query_as(HEAD).bind(chain).fetch_one(c).await)?)
    }

    /// Whether the engine is PostgreSQL (for messages and `version`).
    pub fn engine_name(&self) -> &'static str {
        match self.pool {
            Pool::Lite { .. } => "sqlite",
            Pool::Pg(_) => "postgresql",
        }
    }
}

/// `at~chain~seq` of the last record of the page before.
fn from(cursor: Option<&str>) -> Result<(i64, String, i64)> {
    let Some(cursor) = cursor else { return Ok((i64::MAX, String::new(), 0)) };
    let mut parts = cursor.split('~');
    let mut part = || parts.next().unwrap_or_default();
    let (at, chain, seq) = (part().parse(), part().to_string(), part().parse());
    match (at, seq) {
        (Ok(at), Ok(seq)) => Ok((at, chain, seq)),
        _ => Err(Error::Invalid(format!("page: {cursor:?} is no cursor of this list"))),
    }
}

fn parse(body: &str) -> Result<AuditRecord> {
    serde_json::from_str(body).map_err(|e| Error::Internal(format!("audit record: {e}")))
}

fn fault_of(seq: i64, hash: &str, body: &str, prev: &(i64, String)) -> Option<&'static str> {
    if seq != prev.0 + 1 {
        return Some("missing");
    }
    let Ok(record) = parse(body) else { return Some("altered") };
    if record.seq != seq {
        return Some("reordered");
    }
    if record.hash != hash || record.computed_hash() != hash {
        return Some("altered");
    }
    (record.prev != prev.1).then_some("reordered")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Migrate};

    #[tokio::test(flavor = "multi_thread")]
    async fn records_written_while_a_chain_is_checked_are_no_fault() {
        let dir = tempfile::tempdir().unwrap();
        let config = Config {
            url: format!("sqlite:{}", dir.path().join("cw.db").display()),
            key_file: None,
            key_env: None,
            key_command: None,
        };
        let store = std::sync::Arc::new(Store::open(&config, Migrate::AtStart).await.unwrap());
        let caller = Caller::system("test", "test");
        let (kept, who) = (store.clone(), caller.clone());
        let write = move |n: i64| {
            let (store, caller) = (kept.clone(), who.clone());
            async move {
                let entry = AuditEntry::new("test.write", n, Place::platform());
                store.audit_write(&caller, entry, At::from_ms(n)).await.unwrap();
            }
        };
        write(0).await;
        let writing = tokio::spawn(async move {
            for n in 1..300 {
                write(n).await;
            }
        });
        while !writing.is_finished() {
            let reports = store.audit_verify(&caller).await.unwrap();
            assert!(reports.iter().all(|r| r.fault.is_none()), "{reports:?}");
        }
        writing.await.unwrap();
    }
}

//! Silences: ours while no Alertmanager is configured, else a copy of the Alertmanagers' own.
//!
//! Invariant: a silence is made, seen and expired by those whose grants cover what its matchers bound
//! it to. A copy is replaced whole by what its keeper answers, and by nothing else.

use model::At;
use model::caller::Caller;
use model::right::{Place, Right, Scope};
use model::silence::Silence;
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::{Error, Result, Store};

/// Silences at once: each alert is held against each of them.
const SILENCES_MAX: i64 = 1_000;
/// One that is over is shown that long, as Alertmanager does.
pub const SILENCE_KEPT_MS: i64 = 5 * 86_400_000;

type Row = (String, String, i64, i64, String, String, String);

fn read(row: Row) -> Result<Silence> {
    let (id, matchers, starts_at, ends_at, created_by, comment, keeper) = row;
    let matchers = serde_json::from_str(&matchers)
        .map_err(|e| Error::Internal(format!("silence {id}: {e}")))?;
    let (starts_at, ends_at) = (At::from_ms(starts_at), At::from_ms(ends_at));
    Ok(Silence { id, matchers, starts_at, ends_at, created_by, comment, keeper })
}

impl Store {
    /// Every silence that is not long over, for the process itself.
    pub async fn silences(&self, now: At) -> Result<Vec<Silence>> {
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT id, matchers, starts_at, ends_at, actor, comment, keeper FROM silence \
             WHERE ends_at > $1 ORDER BY starts_at DESC, id, keeper")
            .bind((now - SILENCE_KEPT_MS).ms()).fetch_all(c).await)?;
        rows.into_iter().map(read).collect()
    }

    /// Keeps it. Matchers were checked and bounded before.
    pub async fn silence_create(&self, caller: &Caller, silence: &Silence, now: At) -> Result<()> {
        let place = self.silence_place(silence).await?;
        caller.require(Right::SilenceEdit, &place)?;
        let matchers =
            serde_json::to_string(&silence.matchers).map_err(|e| Error::Internal(e.to_string()))?;
        let mut tx = self.begin().await?;
        let open: i64 = wr!(tx, c => sqlx::query_scalar(
            "SELECT count(*) FROM silence WHERE ends_at > $1 AND keeper = ''").bind(now.ms()).fetch_one(c).await)?;
        if open >= SILENCES_MAX {
            return Err(Error::Invalid(format!("{open} silences are open; expire some first")));
        }
        wr!(tx, c => sqlx::query(
            "INSERT INTO silence (keeper, id, matchers, starts_at, ends_at, actor, comment) \
             VALUES ('', $1, $2, $3, $4, $5, $6)")
            .bind(&silence.id).bind(&matchers).bind(silence.starts_at.ms())
            .bind(silence.ends_at.ms()).bind(&silence.created_by).bind(&silence.comment)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let after = json!({ "matchers": silence.matchers, "starts_at": silence.starts_at,
            "ends_at": silence.ends_at, "comment": silence.comment });
        let entry = AuditEntry::new("silence.create", &silence.id, place);
        tx.audit(caller, entry.change(Value::Null, after), now).await?;
        tx.commit().await
    }

    /// Ends it now.
    pub async fn silence_expire(&self, caller: &Caller, id: &str, now: At) -> Result<()> {
        let missing = || Error::NotFound(format!("silence {id}"));
        let all = self.silences(now).await?;
        let own = |s: &Silence| s.id == id && s.keeper.is_empty();
        let silence = all.into_iter().find(own).ok_or_else(missing)?;
        let place = self.silence_place(&silence).await.map_err(|_| missing())?;
        caller.require(Right::SilenceEdit, &place)?;
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query("UPDATE silence SET ends_at = $2 \
            WHERE keeper = '' AND id = $1 AND ends_at > $2")
            .bind(id).bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        let before = json!({ "ends_at": silence.ends_at });
        let entry = AuditEntry::new("silence.expire", id, place);
        tx.audit(caller, entry.change(before, json!({ "ends_at": now })), now).await?;
        tx.commit().await
    }

    /// Replaces the copy of an Alertmanager's silences by what it answered.
    pub async fn silences_copy(&self, keeper: &str, silences: &[Silence]) -> Result<()> {
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query("DELETE FROM silence WHERE keeper = $1").bind(keeper)
            .execute(c).await.map(|d| d.rows_affected()))?;
        for s in silences {
            let matchers =
                serde_json::to_string(&s.matchers).map_err(|e| Error::Internal(e.to_string()))?;
            wr!(tx, c => sqlx::query(
                "INSERT INTO silence (keeper, id, matchers, starts_at, ends_at, actor, comment) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (keeper, id) DO NOTHING")
                .bind(keeper).bind(&s.id).bind(&matchers).bind(s.starts_at.ms())
                .bind(s.ends_at.ms()).bind(&s.created_by).bind(&s.comment)
                .execute(c).await.map(|d| d.rows_affected()))?;
        }
        tx.commit().await
    }

    /// Forgets copies of Alertmanagers that are not configured any more.
    pub async fn silences_keep_only(&self, keepers: &[String]) -> Result<()> {
        let kept: Vec<String> = rd!(self, c => sqlx::query_scalar("SELECT DISTINCT keeper FROM silence \
                WHERE keeper <> ''").fetch_all(c).await)?;
        for gone in kept.iter().filter(|k| !keepers.contains(k)) {
            self.silences_copy(gone, &[]).await?;
        }
        Ok(())
    }

    /// Where a silence reaches, in the tree.
    pub async fn silence_place(&self, silence: &Silence) -> Result<Place> {
        match silence.scope() {
            Scope::Platform => Ok(Place::platform()),
            Scope::Tenant(id) => Ok(Place::tenant(&id)),
            Scope::System(id) => Ok(Place::system(&id)),
            Scope::Service(id) => self.place_of_service(&id).await,
        }
    }
}

//! Retention: what is older than it is kept is deleted, a little at a time.
//!
//! Invariant: one batch is one short transaction, so nobody waits long behind it; what tells of
//! people's and the machine's acts goes with an audit record in the same transaction. The audit
//! trail itself is never cut here: its triggers refuse it, and it has no retention. Refuses to know
//! when it is called.

use model::At;
use model::caller::Caller;
use model::right::{Place, Right};
use serde_json::{Value, json};

use crate::alert::{ALERT_KEPT_MS, TOMBSTONE_MS};
use crate::audit::AuditEntry;
use crate::explained::EXPLAINED_KEPT_MS;
use crate::idempotency;
use crate::maintenance::MAINTENANCE_KEPT_MS;
use crate::silence::SILENCE_KEPT_MS;
use crate::{Result, Store};

const DAY_MS: i64 = 86_400_000;
/// Rows of one transaction: a few milliseconds of the writer.
const BATCH: i64 = 1_000;
/// Operations and incidents have many rows each.
const BATCH_OF_TREES: i64 = 50;
/// Batches of one subject in one call; the rest waits for the next.
const BATCHES_MAX: usize = 20;

/// What one subject loses.
struct Sweep {
    subject: &'static str,
    /// Kept this long, ms.
    kept_ms: i64,
    batch: i64,
    /// Whether an audit record tells of it.
    audited: bool,
    /// In order; `$1` is the time before which, `$2` how many. The last one is counted, and decides
    /// what the ones before it select.
    sql: &'static [&'static str],
}

const SWEEPS: &[Sweep] = &[
    Sweep {
        subject: "idempotency",
        kept_ms: idempotency::KEPT_MS,
        batch: BATCH,
        audited: false,
        sql: &["DELETE FROM idempotency WHERE (actor, key) IN \
             (SELECT actor, key FROM idempotency WHERE at < $1 ORDER BY at LIMIT $2)"],
    },
    Sweep {
        subject: "session",
        kept_ms: DAY_MS,
        batch: BATCH,
        audited: false,
        sql: &["DELETE FROM session WHERE hash IN (SELECT hash FROM session \
             WHERE expires_at < $1 OR ended_at < $1 ORDER BY hash LIMIT $2)"],
    },
    Sweep {
        subject: "login",
        kept_ms: 400 * DAY_MS,
        batch: BATCH,
        audited: true,
        sql: &["DELETE FROM login WHERE id IN \
             (SELECT id FROM login WHERE at < $1 ORDER BY at, id LIMIT $2)"],
    },
    Sweep {
        subject: "tombstone",
        kept_ms: TOMBSTONE_MS,
        batch: BATCH,
        audited: false,
        sql: &["DELETE FROM tombstone WHERE fingerprint IN \
             (SELECT fingerprint FROM tombstone WHERE at < $1 ORDER BY fingerprint LIMIT $2)"],
    },
    Sweep {
        subject: "alert_fact",
        kept_ms: 0,
        batch: BATCH,
        audited: false,
        sql: &["DELETE FROM alert_fact WHERE (kind, tenant, subject) IN (SELECT kind, tenant, \
             subject FROM alert_fact WHERE until_at < $1 ORDER BY kind, tenant, subject LIMIT $2)"],
    },
    Sweep {
        subject: "alert",
        kept_ms: ALERT_KEPT_MS,
        batch: BATCH_OF_TREES,
        audited: true,
        sql: &[
            "DELETE FROM transition WHERE alert_id IN \
             (SELECT id FROM alert WHERE ends_at < $1 ORDER BY ends_at, id LIMIT $2)",
            "DELETE FROM delivery WHERE alert_id IN \
             (SELECT id FROM alert WHERE ends_at < $1 ORDER BY ends_at, id LIMIT $2)",
            "DELETE FROM alert_ack WHERE alert_id IN \
             (SELECT id FROM alert WHERE ends_at < $1 ORDER BY ends_at, id LIMIT $2)",
            "DELETE FROM alert_hold WHERE alert_id IN \
             (SELECT id FROM alert WHERE ends_at < $1 ORDER BY ends_at, id LIMIT $2)",
            "DELETE FROM alert WHERE id IN \
             (SELECT id FROM alert WHERE ends_at < $1 ORDER BY ends_at, id LIMIT $2)",
        ],
    },
    Sweep {
        subject: "maintenance",
        kept_ms: MAINTENANCE_KEPT_MS,
        batch: BATCH,
        audited: true,
        sql: &["DELETE FROM maintenance WHERE id IN \
             (SELECT id FROM maintenance WHERE ends_at < $1 ORDER BY ends_at, id LIMIT $2)"],
    },
    Sweep {
        subject: "silence",
        kept_ms: SILENCE_KEPT_MS,
        batch: BATCH,
        audited: false,
        sql: &["DELETE FROM silence WHERE (keeper, id) IN (SELECT keeper, id FROM silence \
             WHERE ends_at < $1 ORDER BY ends_at, id LIMIT $2)"],
    },
    Sweep {
        subject: "notification",
        kept_ms: 90 * DAY_MS,
        batch: BATCH,
        audited: false,
        sql: &["DELETE FROM notification WHERE (receiver, group_key) IN (SELECT receiver, \
             group_key FROM notification WHERE at < $1 ORDER BY receiver, group_key LIMIT $2)"],
    },
    Sweep {
        subject: "intake_nonce",
        kept_ms: DAY_MS,
        batch: BATCH,
        audited: false,
        sql: &["DELETE FROM intake_nonce WHERE (source, nonce) IN (SELECT source, nonce \
             FROM intake_nonce WHERE at < $1 ORDER BY source, nonce LIMIT $2)"],
    },
    Sweep {
        subject: "incident",
        kept_ms: 400 * DAY_MS,
        batch: BATCH_OF_TREES,
        audited: true,
        sql: &[
            "DELETE FROM decision WHERE incident_id IN \
             (SELECT id FROM incident WHERE closed_at < $1 ORDER BY closed_at, id LIMIT $2)",
            "DELETE FROM evidence WHERE incident_id IN \
             (SELECT id FROM incident WHERE closed_at < $1 ORDER BY closed_at, id LIMIT $2)",
            "DELETE FROM incident WHERE id IN \
             (SELECT id FROM incident WHERE closed_at < $1 ORDER BY closed_at, id LIMIT $2)",
        ],
    },
    Sweep {
        subject: "explained",
        kept_ms: EXPLAINED_KEPT_MS,
        batch: BATCH,
        audited: false,
        sql: &["DELETE FROM explained WHERE (level, object, at) IN \
             (SELECT level, object, at FROM explained WHERE at < $1 ORDER BY at LIMIT $2)"],
    },
    // An open incident still follows its operation, however old.
    Sweep {
        subject: "operation",
        kept_ms: 400 * DAY_MS,
        batch: BATCH_OF_TREES,
        audited: true,
        sql: &[
            "DELETE FROM operation_event WHERE operation_id IN (SELECT id FROM operation \
             WHERE ended_at < $1 AND id NOT IN (SELECT operation FROM incident \
             WHERE closed_at IS NULL AND operation IS NOT NULL) ORDER BY ended_at, id LIMIT $2)",
            "DELETE FROM step WHERE operation_id IN (SELECT id FROM operation \
             WHERE ended_at < $1 AND id NOT IN (SELECT operation FROM incident \
             WHERE closed_at IS NULL AND operation IS NOT NULL) ORDER BY ended_at, id LIMIT $2)",
            "DELETE FROM operation WHERE id IN (SELECT id FROM operation \
             WHERE ended_at < $1 AND id NOT IN (SELECT operation FROM incident \
             WHERE closed_at IS NULL AND operation IS NOT NULL) ORDER BY ended_at, id LIMIT $2)",
        ],
    },
];

impl Store {
    /// Deletes what is older than its retention; answers how many of what. What is left of a large
    /// backlog waits for the next call.
    pub async fn sweep(&self, caller: &Caller, now: At) -> Result<Vec<(&'static str, u64)>> {
        caller.require(Right::SystemAdmin, &Place::platform())?;
        let mut gone = Vec::new();
        for sweep in SWEEPS {
            let mut all = 0;
            for _ in 0..BATCHES_MAX {
                let n = self.sweep_once(caller, sweep, now).await?;
                all += n;
                if (n as i64) < sweep.batch {
                    break;
                }
            }
            gone.push((sweep.subject, all));
        }
        Ok(gone)
    }

    async fn sweep_once(&self, caller: &Caller, sweep: &Sweep, now: At) -> Result<u64> {
        let before = now - sweep.kept_ms;
        let mut tx = self.begin().await?;
        let mut gone = 0;
        for sql in sweep.sql.iter().copied() {
            gone = wr!(tx, c => sqlx::query(sql).bind(before.ms()).bind(sweep.batch)
                .execute(c).await.map(|d| d.rows_affected()))?;
        }
        if gone == 0 {
            return Ok(0);
        }
        if sweep.audited {
            let after = json!({ "deleted": gone, "before": before });
            let entry = AuditEntry::new("retention.sweep", sweep.subject, Place::platform())
                .change(Value::Null, after);
            tx.audit(caller, entry, now).await?;
        }
        tx.commit().await?;
        Ok(gone)
    }
}

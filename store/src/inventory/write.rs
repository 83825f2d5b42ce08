//! Writing one row of the tree with its audit record.

use model::At;
use model::caller::Caller;
use model::{ServiceId, apply::Change};

use super::diff::{Row, Step};
use crate::audit::AuditEntry;
use crate::secret::{SECRET_REDIS, SECRET_SENTINEL};
use crate::tx::Tx;
use crate::{Error, Result};

/// Writes `step` and its audit record.
pub(super) async fn step(tx: &mut Tx, caller: &Caller, step: &Step<'_>, now: At) -> Result<()> {
    let Change { kind, id, what, before, after } = &step.change;
    match what.as_str() {
        "remove" => remove(tx, &step.row).await?,
        _ => set(tx, &step.row).await?,
    };
    let entry = AuditEntry::new(&format!("{kind}.{what}"), id, step.row.place())
        .change(before.clone(), after.clone());
    tx.audit(caller, entry, now).await?;
    Ok(())
}

/// Ties the stored password to its service, so that `has_password` is seen without a look at it.
pub(super) async fn link_secret(tx: &mut Tx, service: &ServiceId, kind: &str) -> Result<()> {
    if kind != SECRET_REDIS {
        return Ok(());
    }
    wr!(tx, c => sqlx::query("UPDATE service SET secret_id = $2 WHERE id = $1")
        .bind(service.as_str()).bind(crate::secret_id(service, kind))
        .execute(c).await.map(|d| d.rows_affected()))?;
    Ok(())
}

async fn set(tx: &mut Tx, row: &Row<'_>) -> Result<u64> {
    let done = match row {
        Row::Site(r) => wr!(tx, c => sqlx::query(
            "INSERT INTO site (id, display) VALUES ($1, $2) \
             ON CONFLICT (id) DO UPDATE SET display = excluded.display")
            .bind(r.id.as_str()).bind(&r.display)
            .execute(c).await.map(|d| d.rows_affected()))?,
        Row::Zone(r) => {
            let networks = serde_json::to_string(&r.networks).expect("texts");
            wr!(tx, c => sqlx::query(
                "INSERT INTO zone (id, site, networks) VALUES ($1, $2, $3) \
                 ON CONFLICT (id) DO UPDATE SET \
                 site = excluded.site, networks = excluded.networks")
                .bind(r.id.as_str()).bind(r.site.as_str()).bind(&networks)
                .execute(c).await.map(|d| d.rows_affected()))?
        }
        Row::Host(r) => {
            let memory = bytes(r.memory_bytes)?;
            wr!(tx, c => sqlx::query(
            "INSERT INTO host (id, zone, address, provider, rack, memory_bytes, cpu) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO UPDATE SET \
             zone = excluded.zone, address = excluded.address, provider = excluded.provider, \
             rack = excluded.rack, memory_bytes = excluded.memory_bytes, cpu = excluded.cpu")
            .bind(r.id.as_str()).bind(r.zone.as_str()).bind(&r.address).bind(&r.provider)
            .bind(&r.rack).bind(memory).bind(i64::from(r.cpu))
            .execute(c).await.map(|d| d.rows_affected()))?
        }
        Row::Tenant(r) => {
            let networks = serde_json::to_string(&r.networks).expect("texts");
            wr!(tx, c => sqlx::query(
                "INSERT INTO tenant (id, display, networks) VALUES ($1, $2, $3) \
                 ON CONFLICT (id) DO UPDATE SET \
                 display = excluded.display, networks = excluded.networks")
                .bind(r.id.as_str()).bind(&r.display).bind(&networks)
                .execute(c).await.map(|d| d.rows_affected()))?
        }
        Row::System(r) => wr!(tx, c => sqlx::query(
            "INSERT INTO system (id, tenant, display, env, owner, cmdb) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET \
             display = excluded.display, env = excluded.env, owner = excluded.owner, \
             cmdb = excluded.cmdb")
            .bind(r.id.as_str()).bind(r.id.tenant().as_str()).bind(&r.display)
            .bind(r.env.as_str()).bind(&r.owner).bind(&r.cmdb)
            .execute(c).await.map(|d| d.rows_affected()))?,
        Row::Service(_) => set_service(tx, row).await?,
        Row::Instance(r, _) => wr!(tx, c => sqlx::query(
            "INSERT INTO instance (id, service, kind, zone, host, shard) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO UPDATE SET \
             kind = excluded.kind, zone = excluded.zone, host = excluded.host, \
             shard = excluded.shard")
            .bind(r.id.as_str()).bind(r.id.service().as_str()).bind(r.kind.as_str())
            .bind(r.zone.as_str()).bind(r.host.as_ref().map(|h| h.as_str()))
            .bind(i64::from(r.shard))
            .execute(c).await.map(|d| d.rows_affected()))?,
    };
    Ok(done)
}

async fn set_service(tx: &mut Tx, row: &Row<'_>) -> Result<u64> {
    let Row::Service(r) = row else { return Ok(0) };
    let tls = r.access.tls.as_ref().map(|t| serde_json::to_string(t).expect("plain data"));
    let done = wr!(tx, c => sqlx::query(
        "INSERT INTO service (id, tenant, system, display, tier, class, mode, profile, managed, \
         sentinel_master, replicas_wanted, auth_user, sentinel_user, tls, profile_from) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
         ON CONFLICT (id) DO UPDATE SET system = excluded.system, display = excluded.display, \
         tier = excluded.tier, class = excluded.class, mode = excluded.mode, \
         profile = excluded.profile, managed = excluded.managed, \
         sentinel_master = excluded.sentinel_master, \
         replicas_wanted = excluded.replicas_wanted, auth_user = excluded.auth_user, \
         sentinel_user = excluded.sentinel_user, tls = excluded.tls, \
         profile_from = excluded.profile_from")
        .bind(r.id.as_str()).bind(r.id.tenant().as_str()).bind(r.system.as_str())
        .bind(&r.display).bind(r.tier.as_str()).bind(r.class.as_str()).bind(r.mode.as_str())
        .bind(r.profile.as_str()).bind(r.managed).bind(&r.sentinel_master)
        .bind(i64::from(r.replicas_wanted)).bind(&r.auth_user)
        .bind(&r.access.sentinel_user).bind(tls.unwrap_or_default())
        .bind(r.profile_from.as_str())
        .execute(c).await.map(|d| d.rows_affected()))?;
    Ok(done)
}

async fn remove(tx: &mut Tx, row: &Row<'_>) -> Result<u64> {
    let (statement, id) = match row {
        Row::Instance(r, _) => ("DELETE FROM instance WHERE id = $1", r.id.as_str()),
        Row::System(r) => ("DELETE FROM system WHERE id = $1", r.id.as_str()),
        Row::Service(r) => {
            for kind in [SECRET_REDIS, SECRET_SENTINEL] {
                wr!(tx, c => sqlx::query("DELETE FROM secret WHERE id = $1")
                    .bind(crate::secret_id(&r.id, kind))
                    .execute(c).await.map(|d| d.rows_affected()))?;
            }
            ("DELETE FROM service WHERE id = $1", r.id.as_str())
        }
        other => {
            return Err(Error::Internal(format!("a {} is never removed by a file", other.kind())));
        }
    };
    let done = wr!(tx, c => sqlx::query(statement).bind(id)
        .execute(c).await.map(|d| d.rows_affected()))?;
    Ok(done)
}

fn bytes(n: u64) -> Result<i64> {
    i64::try_from(n).map_err(|_| Error::Invalid(format!("{n} bytes are more than any host has")))
}

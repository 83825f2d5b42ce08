//! How far runbooks may go by themselves, and the kill switches.
//!
//! Invariant: lowering is easy, raising needs its own right; every change names who and why. What a
//! runbook is and does is not known here.

use model::At;
use model::caller::Caller;
use model::right::{Place, Right, Scope};
use model::runbook::{ModeSetting, RunbookMode};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::{Error, Result, Store};

/// Longest reason, characters.
const REASON_CHARS_MAX: usize = 500;

/// A switch that stops automatic actions within its scope.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KillSwitch {
    /// `platform`, `tenant:<id>`, `runbook:<name>` or `zone:<id>`.
    pub scope: String,
    /// On: nothing acts by itself there.
    pub active: bool,
    /// Why it was set.
    pub reason: String,
    /// By whom.
    pub by: String,
    /// When.
    pub at: At,
}

/// A mode to be set.
#[derive(Debug, Clone)]
pub struct NewMode<'a> {
    /// Runbook.
    pub runbook: &'a str,
    /// `platform`, `tenant:<id>` or `service:<id>`.
    pub scope: &'a str,
    /// The mode.
    pub mode: RunbookMode,
    /// Why.
    pub reason: &'a str,
    /// Revision of the runbook's settings this is based on; none: whatever it is.
    pub rev: Option<i64>,
}

type ModeRow = (String, String, String, String, String, i64, i64);

fn read(row: ModeRow) -> Result<(String, ModeSetting, i64)> {
    let (runbook, scope, mode, reason, by, at, rev) = row;
    let unknown = || Error::Internal(format!("unknown runbook mode {mode:?}"));
    let mode = RunbookMode::parse(&mode).ok_or_else(unknown)?;
    Ok((runbook, ModeSetting { scope, mode, reason, by, at: At::from_ms(at) }, rev))
}

fn check_reason(reason: &str) -> Result<()> {
    let n = reason.trim().chars().count();
    if n == 0 || n > REASON_CHARS_MAX {
        return Err(Error::Invalid(format!("reason: expected 1 to {REASON_CHARS_MAX} characters")));
    }
    Ok(())
}

/// How far a mode goes.
fn height(mode: RunbookMode) -> u8 {
    match mode {
        RunbookMode::Off => 0,
        RunbookMode::Observe => 1,
        RunbookMode::Ask => 2,
        RunbookMode::Auto => 3,
    }
}

impl Store {
    /// All settings: (runbook, setting, revision), by runbook and scope. For remediation.
    pub async fn runbook_modes(&self) -> Result<Vec<(String, ModeSetting, i64)>> {
        let rows: Vec<ModeRow> = rd!(self, c => sqlx::query_as(
            "SELECT runbook, scope, mode, reason, set_by, at, rev FROM runbook_mode \
             ORDER BY runbook, scope").fetch_all(c).await)?;
        rows.into_iter().map(read).collect()
    }

    /// The settings whose scope the caller may see: those of the platform, and of his tenants and
    /// services.
    pub async fn runbook_modes_seen(
        &self,
        caller: &Caller,
    ) -> Result<Vec<(String, ModeSetting, i64)>> {
        let mut seen = Vec::new();
        for (runbook, setting, rev) in self.runbook_modes().await? {
            let visible = match self.place_of_scope(&setting.scope).await {
                Ok(place) => place == Place::platform() || caller.may(Right::FleetRead, &place),
                Err(_) => false,
            };
            if visible {
                seen.push((runbook, setting, rev));
            }
        }
        Ok(seen)
    }

    async fn place_of_scope(&self, scope: &str) -> Result<Place> {
        match Scope::try_from(scope.to_string()).map_err(Error::Invalid)? {
            Scope::Platform => Ok(Place::platform()),
            Scope::Tenant(id) => Ok(Place::tenant(&id)),
            Scope::Service(id) => self.place_of_service(&id).await,
            Scope::System(_) => Err(Error::Invalid(format!(
                "scope {scope:?}: expected platform, tenant:ID or service:ID"
            ))),
        }
    }

    /// Sets the mode of a runbook in a scope. Going further than what holds there now needs
    /// `runbook.raise`, anything else `runbook.lower`. Answers the new revision.
    pub async fn runbook_mode_set(
        &self,
        caller: &Caller,
        new: &NewMode<'_>,
        at: At,
    ) -> Result<i64> {
        let place = self.place_of_scope(new.scope).await?;
        let all = self.runbook_modes().await?;
        let ours = || all.iter().filter(|(r, _, _)| r == new.runbook);
        let holds = effective(ours().map(|(_, s, _)| s), &place);
        let right = match height(new.mode) > height(holds) {
            true => Right::RunbookRaise,
            false => Right::RunbookLower,
        };
        caller.require(right, &place)?;
        check_reason(new.reason)?;
        let present = ours().map(|(_, _, rev)| *rev).max().unwrap_or_default();
        if new.rev.is_some_and(|rev| rev != present) {
            return Err(Error::Moved { what: format!("runbook {}", new.runbook), present });
        }
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO runbook_mode (runbook, scope, mode, reason, set_by, at, rev) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (runbook, scope) DO UPDATE SET \
             mode = excluded.mode, reason = excluded.reason, set_by = excluded.set_by, \
             at = excluded.at, rev = excluded.rev")
            .bind(new.runbook).bind(new.scope).bind(new.mode.as_str()).bind(new.reason.trim())
            .bind(caller.name()).bind(at.ms()).bind(present + 1)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let entry = AuditEntry::new("runbook.mode", new.runbook, place).change(
            json!({ "mode": holds }),
            json!({ "scope": new.scope, "mode": new.mode, "reason": new.reason }),
        );
        tx.audit(caller, entry, at).await?;
        tx.commit().await?;
        Ok(present + 1)
    }

    /// Stops (or allows again) every automatic action within `scope`: `platform`, `tenant:<id>`,
    /// `runbook:<name>` or `zone:<id>`.
    pub async fn kill_switch_set(
        &self,
        caller: &Caller,
        scope: &str,
        active: bool,
        reason: &str,
        at: At,
    ) -> Result<KillSwitch> {
        let place = match scope.split_once(':') {
            Some(("runbook" | "zone", name)) if model::id::is_slug(name) => Place::platform(),
            Some(("tenant", _)) | None => self.place_of_scope(scope).await?,
            _ => {
                return Err(Error::Invalid(format!(
                    "scope {scope:?}: expected platform, tenant:ID, runbook:NAME or zone:ID"
                )));
            }
        };
        caller.require(Right::RunbookLower, &place)?;
        check_reason(reason)?;
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO kill_switch (scope, active, reason, set_by, at, rev) \
             VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT (scope) DO UPDATE SET \
             active = excluded.active, reason = excluded.reason, set_by = excluded.set_by, \
             at = excluded.at, rev = kill_switch.rev + 1")
            .bind(scope).bind(active).bind(reason.trim()).bind(caller.name()).bind(at.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        let after = json!({ "active": active, "reason": reason });
        let entry = AuditEntry::new("kill_switch.set", scope, place).change(Value::Null, after);
        tx.audit(caller, entry, at).await?;
        tx.commit().await?;
        let by = caller.name();
        Ok(KillSwitch { scope: scope.into(), active, reason: reason.trim().into(), by, at })
    }

    /// All kill switches that were ever set, with their present state.
    pub async fn kill_switches(&self) -> Result<Vec<KillSwitch>> {
        let rows: Vec<(String, bool, String, String, i64)> = rd!(self, c => sqlx::query_as(
            "SELECT scope, active, reason, set_by, at FROM kill_switch ORDER BY scope")
            .fetch_all(c).await)?;
        Ok(rows
            .into_iter()
            .map(|(scope, active, reason, by, at)| KillSwitch {
                scope,
                active,
                reason,
                by,
                at: At::from_ms(at),
            })
            .collect())
    }
}

/// The mode that holds at `place`: of the deepest scope that covers it; observe when none is set.
pub fn effective<'a>(
    settings: impl Iterator<Item = &'a ModeSetting>,
    place: &Place,
) -> RunbookMode {
    let depth = |scope: &Scope| match scope {
        Scope::Platform => 0,
        Scope::Tenant(_) => 1,
        Scope::System(_) => 2,
        Scope::Service(_) => 3,
    };
    settings
        .filter_map(|s| Some((Scope::try_from(s.scope.clone()).ok()?, s.mode)))
        .filter(|(scope, _)| scope.covers(place))
        .max_by_key(|(scope, _)| depth(scope))
        .map_or(RunbookMode::default(), |(_, mode)| mode)
}

//! The secrets of a password rotation: the next one staged by a person, the old one kept until nobody
//! can need it.
//!
//! Invariant: present, next and old change in one transaction with the tree's generation, so every
//! process takes the new one at once and a crash leaves both or neither. Refuses to know which servers
//! take which password.

use model::caller::Caller;
use model::right::{Place, Right};
use model::secret::Secret;
use model::{At, ServiceId};

use crate::audit::AuditEntry;
use crate::inventory::bump;
use crate::secret::{SECRET_REDIS, secret_id};
use crate::{Error, Result, Store};

/// Kind of the password the data nodes get next.
pub const SECRET_NEXT: &str = "redis_user.next";
/// Kind of the password of the console's user.
pub const SECRET_CONSOLE: &str = "console";
/// Kind of the password they had before the last switch.
pub const SECRET_OLD: &str = "redis_user.old";

impl Store {
    /// Revision of the secret of that kind; none when nothing is stored.
    pub async fn secret_rev(&self, service: &ServiceId, kind: &str) -> Result<Option<i64>> {
        let id = secret_id(service, kind);
        Ok(rd!(self, c => sqlx::query_scalar("SELECT rev FROM secret WHERE id = $1")
            .bind(&id).fetch_optional(c).await)?)
    }

    /// Makes the staged password the service's and keeps the one before; again, it changes nothing.
    pub async fn secret_switch(&self, caller: &Caller, service: &ServiceId, now: At) -> Result<()> {
        let (present, next) =
            (self.must(service, SECRET_REDIS).await?, self.must(service, SECRET_NEXT).await?);
        if present.reveal() == next.reveal() {
            return Ok(());
        }
        self.exchange(caller, service, (&next, Some(&present)), now).await
    }

    /// Makes the password before the switch the service's again; without a switch it changes nothing.
    pub async fn secret_switch_back(
        &self,
        caller: &Caller,
        service: &ServiceId,
        now: At,
    ) -> Result<()> {
        let (present, next) =
            (self.must(service, SECRET_REDIS).await?, self.must(service, SECRET_NEXT).await?);
        if present.reveal() != next.reveal() {
            return Ok(());
        }
        let old = self.must(service, SECRET_OLD).await?;
        self.exchange(caller, service, (&old, None), now).await
    }

    /// Forgets a secret no connection of ours uses all the time; answers whether there was one.
    pub async fn secret_forget(
        &self,
        caller: &Caller,
        service: &ServiceId,
        kind: &str,
        now: At,
    ) -> Result<bool> {
        let place = self.place_of_service(service).await?;
        caller.require(Right::SecretEdit, &place)?;
        let id = secret_id(service, kind);
        let mut tx = self.begin().await?;
        let gone = wr!(tx, c => sqlx::query("DELETE FROM secret WHERE id = $1")
            .bind(&id).execute(c).await.map(|d| d.rows_affected()))?;
        if gone > 0 {
            tx.audit(caller, AuditEntry::new("secret.remove", &id, place), now).await?;
            tx.commit().await?;
        }
        Ok(gone > 0)
    }

    /// Forgets what a finished rotation kept.
    pub async fn secret_rotated(
        &self,
        caller: &Caller,
        service: &ServiceId,
        now: At,
    ) -> Result<()> {
        let place = self.place_of_service(service).await?;
        let mut tx = self.begin().await?;
        for kind in [SECRET_NEXT, SECRET_OLD] {
            let id = secret_id(service, kind);
            let gone = wr!(tx, c => sqlx::query("DELETE FROM secret WHERE id = $1")
                .bind(&id).execute(c).await.map(|d| d.rows_affected()))?;
            if gone > 0 {
                let entry = AuditEntry::new("secret.remove", &id, place.clone());
                tx.audit(caller, entry, now).await?;
            }
        }
        tx.commit().await
    }

    async fn must(&self, service: &ServiceId, kind: &str) -> Result<Secret> {
        let found = self.secret_of(service, kind).await?;
        found.ok_or_else(|| Error::NotFound(format!("secret {}", secret_id(service, kind))))
    }

    async fn exchange(
        &self,
        caller: &Caller,
        service: &ServiceId,
        (present, old): (&Secret, Option<&Secret>),
        now: At,
    ) -> Result<()> {
        let place: Place = self.place_of_service(service).await?;
        let generation = self.inventory_generation().await?;
        let mut tx = self.begin().await?;
        bump(&mut tx, generation).await?;
        self.secret_write(&mut tx, caller, (service, SECRET_REDIS, &place), present, now).await?;
        if let Some(old) = old {
            self.secret_write(&mut tx, caller, (service, SECRET_OLD, &place), old, now).await?;
        }
        tx.commit().await
    }
}

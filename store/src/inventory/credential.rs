//! User and password of a service, changed together and apart from its inventory file.
//!
//! Invariant: name and password change in one transaction with the tree's generation, so every process
//! takes both at once; the password is sealed and never part of a record. Refuses to know what the
//! servers themselves say of it.

use model::caller::Caller;
use model::right::{Place, Right};
use model::secret::Secret;
use model::{At, ServiceId};
use serde_json::json;

use super::{bump, write};
use crate::audit::AuditEntry;
use crate::secret::{SECRET_REDIS, SECRET_SENTINEL, secret_id};
use crate::tx::Tx;
use crate::{Result, Store};

impl Store {
    /// Seals `password` as the one of that `kind` (`SECRET_REDIS`, `SECRET_SENTINEL`) of the service,
    /// and, when `user` is given, makes that its user. Needs `secret.edit` there, or `tree.edit`.
    pub async fn credential_put(
        &self,
        caller: &Caller,
        (service, kind): (&ServiceId, &'static str),
        user: Option<&str>,
        password: &Secret,
        now: At,
    ) -> Result<()> {
        let place = self.may_set(caller, service).await?;
        let present = self.inventory_generation().await?;
        let mut tx = self.begin().await?;
        bump(&mut tx, present).await?;
        self.secret_write(&mut tx, caller, (service, kind, &place), password, now).await?;
        write::link_secret(&mut tx, service, kind).await?;
        if let Some(user) = user {
            set_user(&mut tx, caller, (service, kind, place), user, now).await?;
        }
        tx.commit().await
    }

    /// Forgets the password of that kind, and the user with it: the service is read without AUTH then.
    /// Answers whether there was one.
    pub async fn credential_remove(
        &self,
        caller: &Caller,
        (service, kind): (&ServiceId, &'static str),
        now: At,
    ) -> Result<bool> {
        let place = self.may_set(caller, service).await?;
        let present = self.inventory_generation().await?;
        let mut tx = self.begin().await?;
        let id = secret_id(service, kind);
        if kind == SECRET_REDIS {
            wr!(tx, c => sqlx::query("UPDATE service SET secret_id = NULL WHERE id = $1")
                .bind(service.as_str()).execute(c).await.map(|d| d.rows_affected()))?;
        }
        let gone = wr!(tx, c => sqlx::query("DELETE FROM secret WHERE id = $1")
            .bind(&id).execute(c).await.map(|d| d.rows_affected()))?;
        if gone == 0 {
            return Ok(false);
        }
        bump(&mut tx, present).await?;
        tx.audit(caller, AuditEntry::new("secret.remove", &id, place.clone()), now).await?;
        set_user(&mut tx, caller, (service, kind, place), "", now).await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn may_set(&self, caller: &Caller, service: &ServiceId) -> Result<Place> {
        let place = self.place_of_service(service).await?;
        if !caller.may(Right::TreeEdit, &place) {
            caller.require(Right::SecretEdit, &place)?;
        }
        Ok(place)
    }
}

async fn set_user(
    tx: &mut Tx,
    caller: &Caller,
    (service, kind, place): (&ServiceId, &str, Place),
    user: &str,
    now: At,
) -> Result<()> {
    let (select, update) = match kind {
        SECRET_SENTINEL => (
            "SELECT sentinel_user FROM service WHERE id = $1",
            "UPDATE service SET sentinel_user = $2 WHERE id = $1",
        ),
        _ => (
            "SELECT auth_user FROM service WHERE id = $1",
            "UPDATE service SET auth_user = $2 WHERE id = $1",
        ),
    };
    let before: String = wr!(tx, c => sqlx::query_scalar(select)
        .bind(service.as_str()).fetch_one(c).await)?;
    if before == user {
        return Ok(());
    }
    wr!(tx, c => sqlx::query(update)
        .bind(service.as_str()).bind(user).execute(c).await.map(|d| d.rows_affected()))?;
    let entry = AuditEntry::new("service.user", service, place)
        .change(json!({ "kind": kind, "user": before }), json!({ "kind": kind, "user": user }));
    tx.audit(caller, entry, now).await?;
    Ok(())
}

//! Custom monitoring items: append-only revisions; the newest of each (name, scope) is in force until
//! one says it is deleted.
//!
//! Invariant: a revision is never changed; revision and audit record are written together; who
//! based a change on an older revision is refused. Refuses to know what an item means: definitions
//! are checked before they come here.

use model::At;
use model::caller::Caller;
use model::item::{ItemDoc, ItemId, ItemRevision};
use model::right::{Place, Right, Scope};
use serde_json::{Value, json};

use crate::audit::AuditEntry;
use crate::{Error, Result, Store};

/// Longest reason, characters.
const REASON_CHARS_MAX: usize = 500;
/// Items one tenant may have in force: ten instances' worth of different ones.
const ITEMS_PER_TENANT_MAX: i64 = 500;
/// Revisions of one item answered, newest first.
const REVISIONS_MAX: i64 = 50;

const NEWEST: &str = "SELECT p.name, p.scope, p.rev, p.deleted, p.body, p.actor, p.reason, p.at \
     FROM item_revision p WHERE p.deleted = $1 AND p.rev = (SELECT max(q.rev) FROM item_revision q \
     WHERE q.name = p.name AND q.scope = p.scope) ORDER BY p.name, p.scope";

type Row = (String, String, i64, bool, String, String, String, i64);

fn read(row: Row) -> Result<ItemRevision> {
    let (name, scope, rev, deleted, body, by, reason, at) = row;
    let item = serde_json::from_str(&body)
        .map_err(|e| Error::Internal(format!("item {name}@{scope}: {e}")))?;
    Ok(ItemRevision { rev, item, deleted, by, reason, at: At::from_ms(at) })
}

/// A change of an item.
#[derive(Debug, Clone)]
pub struct ItemChange<'a> {
    /// The definition; that of the present one when it is deleted.
    pub item: &'a ItemDoc,
    /// Deletes it.
    pub delete: bool,
    /// Why.
    pub reason: &'a str,
    /// Revision it is based on, 0 for a new one; none: whatever it is.
    pub rev: Option<i64>,
}

impl Store {
    /// Every item in force, for the process itself, with a number that grows with each change.
    pub async fn items_in_force(&self) -> Result<(i64, Vec<ItemRevision>)> {
        let generation = self.item_generation().await?;
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(NEWEST).bind(false).fetch_all(c).await)?;
        Ok((generation, rows.into_iter().map(read).collect::<Result<_>>()?))
    }

    /// A number that grows with each change of an item.
    pub async fn item_generation(&self) -> Result<i64> {
        // Revisions are only added, so their number is one.
        Ok(rd!(self, c => sqlx::query_scalar("SELECT count(*) FROM item_revision")
            .fetch_one(c).await)?)
    }

    /// The items in force that the caller may see, by name and scope.
    pub async fn item_list(&self, caller: &Caller) -> Result<Vec<ItemRevision>> {
        if !caller.may_somewhere(Right::FleetRead) {
            caller.require(Right::FleetRead, &Place::platform())?;
        }
        let mut visible = Vec::new();
        for revision in self.items_in_force().await?.1 {
            match self.item_place(&revision.item.scope).await {
                Ok(place) if caller.may(Right::FleetRead, &place) => visible.push(revision),
                // The system or service is gone, and what the item was read on with it.
                Ok(_) | Err(Error::NotFound(_)) => {}
                Err(e) => return Err(e),
            }
        }
        Ok(visible)
    }

    /// The revisions of an item, newest first; none for one that never was.
    pub async fn item_revisions(&self, caller: &Caller, id: &ItemId) -> Result<Vec<ItemRevision>> {
        let missing = || Error::NotFound(format!("item {id}"));
        let place = self.item_place(&id.scope).await.map_err(|e| match e {
            Error::NotFound(_) => missing(),
            e => e,
        })?;
        caller.require(Right::FleetRead, &place)?;
        let rows: Vec<Row> = rd!(self, c => sqlx::query_as(
            "SELECT name, scope, rev, deleted, body, actor, reason, at FROM item_revision \
             WHERE name = $1 AND scope = $2 ORDER BY rev DESC LIMIT $3")
            .bind(id.name.as_str()).bind(String::from(id.scope.clone())).bind(REVISIONS_MAX)
            .fetch_all(c).await)?;
        if rows.is_empty() {
            return Err(missing());
        }
        rows.into_iter().map(read).collect()
    }

    /// Writes a revision; answers its number. An unchanged definition makes none.
    pub async fn item_put(&self, caller: &Caller, change: &ItemChange<'_>, now: At) -> Result<i64> {
        let id = change.item.id();
        let place = self.item_place(&id.scope).await?;
        caller.require(Right::ItemEdit, &place)?;
        let reason = change.reason.trim();
        if reason.chars().count() > REASON_CHARS_MAX {
            return Err(Error::Invalid(format!("reason: at most {REASON_CHARS_MAX} characters")));
        }
        let tenant = place.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
        let (name, scope) = (id.name.to_string(), String::from(id.scope.clone()));
        let body = serde_json::to_string(change.item)
            .map_err(|e| Error::Internal(format!("item {id}: {e}")))?;
        let mut tx = self.begin().await?;
        let present: Option<(i64, bool, String)> = wr!(tx, c => sqlx::query_as(
            "SELECT rev, deleted, body FROM item_revision WHERE name = $1 AND scope = $2 \
             ORDER BY rev DESC LIMIT 1").bind(&name).bind(&scope).fetch_optional(c).await)?;
        let live = present.as_ref().filter(|(_, deleted, _)| !deleted);
        let at = live.map_or(0, |(rev, _, _)| *rev);
        if change.rev.is_some_and(|rev| rev != at) {
            return Err(Error::Moved { what: format!("item {id}"), present: at });
        }
        match live {
            None if change.delete => return Err(Error::NotFound(format!("item {id}"))),
            Some((rev, _, old)) if *old == body && !change.delete => return Ok(*rev),
            Some(_) => {}
            None => {
                let count: i64 = wr!(tx, c => sqlx::query_scalar(
                    "SELECT count(*) FROM item_revision p WHERE p.tenant = $1 AND \
                     p.deleted = $2 AND p.rev = (SELECT max(q.rev) FROM item_revision q \
                     WHERE q.name = p.name AND q.scope = p.scope)")
                    .bind(&tenant).bind(false).fetch_one(c).await)?;
                if count >= ITEMS_PER_TENANT_MAX {
                    return Err(Error::Invalid(format!(
                        "tenant {tenant} has {count} items; at most {ITEMS_PER_TENANT_MAX} are kept"
                    )));
                }
            }
        }
        let rev = present.as_ref().map_or(1, |(rev, _, _)| rev + 1);
        wr!(tx, c => sqlx::query(
            "INSERT INTO item_revision (name, scope, rev, tenant, deleted, body, actor, reason, at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
            .bind(&name).bind(&scope).bind(rev).bind(&tenant).bind(change.delete).bind(&body)
            .bind(caller.name()).bind(reason).bind(now.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        let action = if change.delete { "item.delete" } else { "item.put" };
        // Definitions are kept as text: the record holds no floats, and a later field would change
        // what it says.
        let before = present.map_or(
            Value::Null,
            |(rev, deleted, old)| json!({ "rev": rev, "deleted": deleted, "item": old }),
        );
        let after = json!({ "rev": rev, "deleted": change.delete, "item": body, "reason": reason });
        tx.audit(caller, AuditEntry::new(action, &id, place).change(before, after), now).await?;
        tx.commit().await?;
        Ok(rev)
    }

    /// Where the scope of an item stands in the tree.
    pub async fn item_place(&self, scope: &Scope) -> Result<Place> {
        match scope {
            Scope::Platform => Ok(Place::platform()),
            Scope::Tenant(id) => Ok(Place::tenant(id)),
            Scope::System(id) => Ok(Place::system(id)),
            Scope::Service(id) => self.place_of_service(id).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Config, Migrate};
    use model::right::{Rights, Role};

    struct Open {
        store: Store,
        _dir: tempfile::TempDir,
    }

    async fn open() -> Open {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("cw.db").display());
        let config = Config { url, key_file: None, key_env: None, key_command: None };
        Open { store: Store::open(&config, Migrate::AtStart).await.unwrap(), _dir: dir }
    }

    fn item(queue: &str) -> ItemDoc {
        serde_json::from_value(json!({
            "name": "queue", "scope": "tenant:pay",
            "source": {"command": {"args": ["LLEN", queue]}},
        }))
        .unwrap()
    }

    fn change(item: &ItemDoc, rev: Option<i64>) -> ItemChange<'_> {
        ItemChange { item, delete: false, reason: "test", rev }
    }

    fn caller(role: Role, scope: &str) -> Caller {
        let mut caller = Caller::system("test", "");
        caller.grants = vec![(role.rights(), Scope::try_from(scope.to_string()).unwrap())];
        caller
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_change_is_a_revision_that_stays_readable() {
        let open = open().await;
        let me = caller(Role::Developer, "tenant:pay");
        let at = |s| At::from_ms(s);
        let (first, second) = (item("a"), item("b"));
        let put =
            |c: ItemChange<'static>, s| open.store.item_put(&me, Box::leak(Box::new(c)), at(s));
        let leak = |i: &ItemDoc| -> &'static ItemDoc { Box::leak(Box::new(i.clone())) };
        let (first, second) = (leak(&first), leak(&second));
        assert_eq!(put(change(first, Some(0)), 1).await.unwrap(), 1);
        assert_eq!(put(change(first, Some(1)), 2).await.unwrap(), 1, "nothing changed");
        assert_eq!(put(change(second, Some(1)), 3).await.unwrap(), 2);
        let moved = put(change(first, Some(1)), 4).await.unwrap_err();
        assert!(matches!(moved, Error::Moved { present: 2, .. }), "{moved:?}");
        let deleted = ItemChange { delete: true, ..change(second, Some(2)) };
        assert_eq!(put(deleted, 5).await.unwrap(), 3);
        assert!(open.store.item_list(&me).await.unwrap().is_empty());
        assert_eq!(put(change(first, Some(0)), 6).await.unwrap(), 4, "a restored one goes on");
        let all = open.store.item_revisions(&me, &first.id()).await.unwrap();
        let told: Vec<_> = all.iter().map(|r| (r.rev, r.deleted, r.item == *first)).collect();
        assert_eq!(told, [(4, false, true), (3, true, false), (2, false, false), (1, false, true)]);
        assert_eq!(open.store.item_generation().await.unwrap(), 4);
        let system = Caller::system("test", "");
        assert_eq!(open.store.audit_list(&system, None, 10).await.unwrap().count, 4);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn who_lacks_the_right_changes_nothing_and_a_foreign_item_does_not_exist() {
        let open = open().await;
        let mine = item("a");
        let reader = caller(Role::Reader, "tenant:pay");
        let denied = open.store.item_put(&reader, &change(&mine, None), At::EPOCH).await;
        assert!(matches!(denied, Err(Error::Denied(d)) if d.visible));
        let foreign = caller(Role::Operator, "tenant:hr");
        let denied = open.store.item_put(&foreign, &change(&mine, None), At::EPOCH).await;
        assert!(matches!(denied, Err(Error::Denied(d)) if !d.visible));
        let owner = caller(Role::Developer, "tenant:pay");
        open.store.item_put(&owner, &change(&mine, None), At::EPOCH).await.unwrap();
        assert!(open.store.item_list(&foreign).await.unwrap().is_empty());
        assert!(open.store.item_revisions(&foreign, &mine.id()).await.is_err());
        let mut nobody = foreign;
        nobody.grants = vec![(Rights::NONE, Scope::Platform)];
        assert!(open.store.item_list(&nobody).await.is_err());
    }
}

//! The tree: tenants, business systems, services and instances; beside it sites, zones and hosts.
//!
//! Invariant: an inventory file is checked whole before anything is written; what is then written
//! is one transaction for the places and one per tenant, with one audit record per row, and applying
//! the same file again writes nothing. Refuses to know: YAML, which process watches what.

mod check;
mod credential;
mod diff;
mod load;
mod member;
mod write;

use model::apply::{Change, Diff, Fault, InventoryDoc};
use model::caller::Caller;
use model::inventory::Inventory;
use model::policy::PolicyDoc;
use model::right::{Place, Right};
use model::tenant::{Env, System, Tenant};
use model::{At, InstanceId, ServiceId, SystemId, TenantId};
use serde_json::{Map, Value, json};

use crate::audit::AuditEntry;
use crate::tx::Tx;
use crate::{Error, Result, Store};

use check::Wanted;
use diff::{Plan, Row, Step};

/// Above this share of a tenant's rows, pruning has to be confirmed by its number: a truncated file
/// must not empty a tenant.
const PRUNE_SHARE: f64 = 0.20;
/// Row of `setting` with the tree's generation.
const GENERATION: &str = "inventory_generation";
/// The tenant that exists from the first start, and its system for what has no place yet.
const DEFAULT_TENANT: &str = "default";
const DEFAULT_SYSTEM: &str = "default.unassigned";
/// Slug of the system, zone and site of what was adopted without a place.
pub const UNASSIGNED: &str = "unassigned";

/// How an inventory file is applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Apply {
    /// Only answer what would change.
    pub dry_run: bool,
    /// Remove what the file does not name inside the tenants it names.
    pub prune: bool,
    /// The number of removals the caller expects; needed when they are more than a fifth.
    pub prune_count: Option<usize>,
    /// The document was made by adoption: what it adds to a tenant needs `service.adopt` only.
    pub adopt: bool,
}

/// Everything in `doc` that cannot be taken into `present`; empty when it can. Pure.
pub fn inventory_check(doc: &InventoryDoc, present: &Inventory, prune: bool) -> Vec<Fault> {
    check::wanted(doc, present, prune).err().unwrap_or_default()
}

impl Store {
    /// The whole tree at one moment, for the process itself.
    pub async fn inventory(&self) -> Result<Inventory> {
        // Seven queries are one moment when the generation did not move meanwhile.
        for _ in 0..5 {
            let before = self.inventory_generation().await?;
            let tree = load::tree(self, before).await?;
            if self.inventory_generation().await? == before {
                return Ok(tree);
            }
        }
        Err(Error::NotWritable("the inventory is being changed; try again".into()))
    }

    /// Grows with each change of the tree.
    pub async fn inventory_generation(&self) -> Result<i64> {
        let text = self.setting_get(GENERATION).await?;
        Ok(text.and_then(|t| t.parse().ok()).unwrap_or_default())
    }

    /// Makes tenant `default` and system `default.unassigned` when they are missing.
    pub async fn inventory_seed(&self, caller: &Caller, now: At) -> Result<()> {
        let present = self.inventory().await?;
        let id: TenantId = DEFAULT_TENANT.parse().expect("a slug");
        if present.tenants.contains_key(&id) {
            return Ok(());
        }
        let tenant = Tenant { id: id.clone(), display: "Default".into(), networks: Vec::new() };
        let system = System {
            id: DEFAULT_SYSTEM.parse().expect("two slugs"),
            display: "Unassigned".into(),
            env: Env::Prod,
            owner: String::new(),
            cmdb: String::new(),
        };
        let mut tx = self.begin().await?;
        bump(&mut tx, present.generation).await?;
        for row in [Row::Tenant(&tenant), Row::System(&system)] {
            let change = Change {
                kind: row.kind().into(),
                id: row.id().into(),
                what: "add".into(),
                before: Value::Null,
                after: row.value(),
            };
            write::step(&mut tx, caller, &Step { row, change }, now).await?;
        }
        tx.commit().await
    }

    /// Applies an inventory file. Refuses with every fault of the file, or when the tree moved
    /// meanwhile (`Error::Moved`: try again); then nothing was written for the tenant at hand.
    pub async fn apply(
        &self,
        caller: &Caller,
        doc: &InventoryDoc,
        how: Apply,
        now: At,
    ) -> Result<Diff> {
        let present = self.inventory().await?;
        let wanted = check::wanted(doc, &present, how.prune).map_err(refused)?;
        let plan = diff::plan(&wanted, &present, how.prune);
        for tenant in wanted.tenants.iter().filter(|_| !how.adopt) {
            caller.require(Right::TreeEdit, &Place::tenant(&tenant.id))?;
        }
        for step in plan.places.iter().chain(plan.tenants.values().flatten()) {
            permit(caller, step, how)?;
        }
        guard_prune(&plan, &present, &wanted, how)?;
        let answer = Diff { dry_run: how.dry_run, unchanged: plan.unchanged, ..Diff::default() };
        let mut run = Run { store: self, caller, how, generation: present.generation, answer, now };
        run.places(&plan.places).await?;
        for (tenant, steps) in &plan.tenants {
            run.tenant(tenant, steps, &wanted).await?;
        }
        run.policies(doc).await?;
        Ok(run.answer)
    }

    /// Keeps the learnt shard numbers of a cluster's nodes. Answers whether something changed.
    pub async fn shard_set(
        &self,
        caller: &Caller,
        service: &ServiceId,
        shards: &[(InstanceId, u32)],
        now: At,
    ) -> Result<bool> {
        let place = self.place_of_service(service).await?;
        caller.require(Right::TreeEdit, &place)?;
        let present = self.inventory().await?;
        let moved: Vec<_> = shards
            .iter()
            .filter(|(id, shard)| {
                id.service() == *service
                    && present.instances.get(id).is_some_and(|i| i.shard != *shard)
            })
            .collect();
        if moved.is_empty() {
            return Ok(false);
        }
        let before: Map<_, _> = moved
            .iter()
            .map(|(id, _)| (id.to_string(), json!(present.instances[id].shard)))
            .collect();
        let after: Map<_, _> =
            moved.iter().map(|(id, shard)| (id.to_string(), json!(shard))).collect();
        let mut tx = self.begin().await?;
        bump(&mut tx, present.generation).await?;
        for (id, shard) in moved {
            wr!(tx, c => sqlx::query("UPDATE instance SET shard = $2 WHERE id = $1")
                .bind(id.as_str()).bind(i64::from(*shard))
                .execute(c).await.map(|d| d.rows_affected()))?;
        }
        let entry =
            AuditEntry::new("service.shards", service, place).change(before.into(), after.into());
        tx.audit(caller, entry, now).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Where a service stands; `NotFound` when it does not exist.
    pub async fn place_of_service(&self, service: &ServiceId) -> Result<Place> {
        if let Some(zone) = model::batch::zone_of(service) {
            return Ok(model::batch::place_of(&zone));
        }
        let system: Option<String> = rd!(self, c => sqlx::query_scalar(
            "SELECT system FROM service WHERE id = $1")
            .bind(service.as_str()).fetch_optional(c).await)?;
        let system = system.ok_or_else(|| Error::NotFound(format!("service {service}")))?;
        let system: SystemId = system.parse().map_err(load::broken)?;
        Ok(Place::service(service, &system))
    }
}

/// One file being applied.
struct Run<'a> {
    store: &'a Store,
    caller: &'a Caller,
    how: Apply,
    generation: i64,
    answer: Diff,
    now: At,
}

impl Run<'_> {
    /// Sites, zones and hosts.
    async fn places(&mut self, steps: &[Step<'_>]) -> Result<()> {
        self.answer.changes.extend(steps.iter().map(|s| s.change.clone()));
        if steps.is_empty() || self.how.dry_run {
            return Ok(());
        }
        let mut tx = self.store.begin().await?;
        self.write(&mut tx, steps).await?;
        tx.commit().await
    }

    /// What one tenant's part of the file changes, with its passwords.
    async fn tenant(
        &mut self,
        tenant: &TenantId,
        steps: &[Step<'_>],
        wanted: &Wanted<'_>,
    ) -> Result<()> {
        let mut tx = self.store.begin().await?;
        let mut secrets = Vec::new();
        for s in wanted.secrets.iter().filter(|s| s.service.tenant() == *tenant) {
            if self.store.secret_differs(&mut tx, &s.service, s.kind, s.secret).await? {
                let service = &s.service;
                let added = |step: &Step<'_>| step.adds() && step.row.id() == service.as_str();
                let place = Place::service(service, &s.system);
                if !self.caller.may(Right::TreeEdit, &place) && !steps.iter().any(added) {
                    self.caller.require(Right::SecretEdit, &place)?;
                }
                secrets.push(s);
            }
        }
        self.answer.changes.extend(steps.iter().map(|s| s.change.clone()));
        self.answer.changes.extend(secrets.iter().map(|s| s.change()));
        if self.how.dry_run || (steps.is_empty() && secrets.is_empty()) {
            return Ok(());
        }
        self.write(&mut tx, steps).await?;
        for s in secrets {
            let place = Place::service(&s.service, &s.system);
            let bound = (&s.service, s.kind, &place);
            self.store.secret_write(&mut tx, self.caller, bound, s.secret, self.now).await?;
            write::link_secret(&mut tx, &s.service, s.kind).await?;
        }
        tx.commit().await
    }

    async fn write(&mut self, tx: &mut Tx, steps: &[Step<'_>]) -> Result<()> {
        bump(tx, self.generation).await?;
        self.generation += 1;
        for step in steps {
            write::step(tx, self.caller, step, self.now).await?;
        }
        Ok(())
    }

    /// Policies of the file that differ from those in force, as new revisions.
    async fn policies(&mut self, doc: &InventoryDoc) -> Result<()> {
        if doc.policies.is_empty() {
            return Ok(());
        }
        let present = self.store.policies(self.caller).await?;
        for policy in &doc.policies {
            let key = |p: &PolicyDoc| (p.policy.clone(), p.scope.clone(), p.selector.clone());
            let same = |p: &&PolicyDoc| key(p) == key(policy);
            let before = present.iter().find(same);
            if before == Some(policy) {
                self.answer.unchanged += 1;
                continue;
            }
            let value = |p| serde_json::to_value(p).expect("policies are plain data");
            self.answer.changes.push(Change {
                kind: "policy".into(),
                id: format!("{}@{}", policy.policy, String::from(policy.scope.clone())),
                what: if before.is_some() { "change" } else { "add" }.into(),
                before: before.map_or(Value::Null, value),
                after: value(policy),
            });
            if !self.how.dry_run {
                let reason = "inventory file";
                self.store.policy_put(self.caller, policy, reason, self.now).await?;
            }
        }
        Ok(())
    }
}

/// Whether the caller may do this step. Whoever may adopt may add services, their instances, and the
/// places for what has none yet; all else of a tree needs the right to edit it.
fn permit(caller: &Caller, step: &Step<'_>, how: Apply) -> Result<()> {
    let place = step.row.place();
    let right = if matches!(step.row, Row::Host(_)) { Right::HostEdit } else { Right::TreeEdit };
    if how.adopt && step.adds() && !caller.may(right, &place) {
        match step.row {
            Row::Service(_) | Row::Instance(..) => {
                return Ok(caller.require(Right::ServiceAdopt, &place)?);
            }
            Row::System(s) if s.id.slug() == UNASSIGNED => {
                return Ok(caller.require(Right::ServiceAdopt, &Place::tenant(&s.id.tenant()))?);
            }
            Row::Site(_) | Row::Zone(_)
                if step.row.id() == UNASSIGNED && caller.may_somewhere(Right::ServiceAdopt) =>
            {
                return Ok(());
            }
            _ => {}
        }
    }
    Ok(caller.require(right, &place)?)
}

/// Moves the generation on; refuses when somebody else did.
pub(crate) async fn bump(tx: &mut Tx, from: i64) -> Result<()> {
    wr!(tx, c => sqlx::query(
        "INSERT INTO setting (name, value) VALUES ($1, '0') ON CONFLICT DO NOTHING")
        .bind(GENERATION).execute(c).await.map(|d| d.rows_affected()))?;
    let moved = wr!(tx, c => sqlx::query(
        "UPDATE setting SET value = $3 WHERE name = $1 AND value = $2")
        .bind(GENERATION).bind(from.to_string()).bind((from + 1).to_string())
        .execute(c).await.map(|d| d.rows_affected()))?;
    if moved != 1 {
        return Err(Error::Moved { what: "the inventory".into(), present: from + 1 });
    }
    Ok(())
}

fn refused(faults: Vec<Fault>) -> Error {
    let lines: Vec<String> = faults.iter().map(Fault::to_string).collect();
    Error::Invalid(lines.join("\n"))
}

fn guard_prune(plan: &Plan, present: &Inventory, wanted: &Wanted, how: Apply) -> Result<()> {
    let total: usize = wanted.tenants.iter().map(|t| plan.removals(&t.id)).sum();
    if how.dry_run || how.prune_count == Some(total) {
        return Ok(());
    }
    for tenant in &wanted.tenants {
        let (removed, all) = (plan.removals(&tenant.id), diff::rows_of(present, &tenant.id));
        if removed as f64 > PRUNE_SHARE * all as f64 {
            return Err(Error::Invalid(format!(
                "pruning would remove {removed} of {all} rows of tenant {}; more than a fifth has \
                 to be confirmed by the number of all removals, {total}",
                tenant.id
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

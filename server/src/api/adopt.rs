//! `POST /services/adopt`: from addresses to services of the inventory.
//!
//! Invariant: what is adopted goes the way of every inventory file, so a dry run says exactly what
//! would be written; with the hash of a dry run, what is written is what was shown. Passwords of the
//! request go to what it names and to what that leads to inside the tenant's networks, nowhere else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use model::adopt::{AdoptDoc, AdoptedService, Adoption};
use model::apply::{AuthDoc, Diff};
use model::cidr::Cidr;
use model::code::{Code, Problem};
use model::inventory::Inventory;
use model::reading::Text;
use model::right::{Place, Right};
use model::service::InstanceKind;
use model::{InstanceId, SystemId, TenantId};
use ops::adopt::{Doors, Draft, Ground, Guard, Login, Wish};
use serde_json::json;
use sha2::{Digest, Sha256};
use store::{Apply, UNASSIGNED};
use tokio::sync::Semaphore;

use super::ask::{Answer, Ask, Fail, invalid};
use super::{Api, acl, apply};
use crate::reach;

/// Adoptions at once: each may dial for 20 s, and everybody's polls share the rate of dials.
static AT_ONCE: Semaphore = Semaphore::const_new(2);
/// Tenant of what is adopted without one.
const TENANT: &str = "default";

/// `POST /services/adopt[?dry_run=1]`.
pub async fn adopt(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let doc: AdoptDoc = ask.json()?;
    let dry_run = ask.flag("dry_run")?;
    let tenant = permit(&ask, &doc)?;
    check(&doc)?;
    let seeds =
        ops::adopt::seeds(&doc.seeds, &doc.document).map_err(|said| invalid("/document", said))?;
    if seeds.seeds.is_empty() && seeds.refused.is_empty() {
        return Err(invalid("/seeds", "name at least one address"));
    }
    let _place = AT_ONCE.try_acquire().map_err(|_| {
        let said = "two adoptions are under way already";
        Problem::new(Code::OverCapacity, said, "Try again in half a minute.")
    })?;
    let present = api.app.store.inventory().await?;
    if !present.tenants.contains_key(&tenant) {
        return Err(invalid("/tenant", format!("tenant {tenant} does not exist")));
    }
    let mut walk = ops::adopt::walk(seeds.seeds, &ground(&api, &doc, &tenant, &present)?).await;
    walk.refused.extend(seeds.refused);
    let wish = Wish { doc: &doc, tenant: &tenant, present: &present };
    let draft = ops::adopt::draft(walk, &wish).map_err(|faults| match faults.first() {
        Some(fault) => invalid(&fault.pointer, fault.detail.clone()),
        None => invalid("", "this cannot be adopted"),
    })?;
    finish(&api, &ask, &doc, draft, dry_run).await
}

/// Shows what was found, and writes it unless this is a dry run.
async fn finish(
    api: &Api,
    ask: &Ask,
    doc: &AdoptDoc,
    draft: Draft,
    dry_run: bool,
) -> Result<Answer, Fail> {
    let mut adoption = Adoption {
        dry_run,
        tenant: draft.document.tenants[0].id.clone(),
        services: draft.services,
        refused: draft.refused,
        unasked: draft.unasked,
        ..Adoption::default()
    };
    adoption.hash = hash(&adoption);
    if !doc.hash.is_empty() && doc.hash != adoption.hash {
        let said = "the fleet looks different from what the dry run showed; nothing was adopted";
        let next = "Look at what is found now (in errors) and adopt it with its hash.";
        let mut problem = Problem::new(Code::PlanMoved, said, next);
        problem.errors = vec![json!(adoption)];
        return Err(problem.into());
    }
    for service in &mut adoption.services {
        rules(api, doc, service);
    }
    let how = Apply { dry_run, adopt: true, ..Apply::default() };
    adoption.diff = match draft.document.tenants[0].services.is_empty() {
        true => Diff { dry_run, ..Diff::default() },
        false => apply::write(api, ask, &draft.document, how).await?,
    };
    Ok(Answer::ok(adoption))
}

/// Whoever may adopt in that place; what changes the tenant itself needs the right to edit it.
fn permit(ask: &Ask, doc: &AdoptDoc) -> Result<TenantId, Fail> {
    let tenant = Some(doc.tenant.as_str()).filter(|t| !t.is_empty()).unwrap_or(TENANT);
    let bad = |pointer: &str, e: model::id::BadId| invalid(pointer, e.to_string());
    let tenant: TenantId = tenant.parse().map_err(|e| bad("/tenant", e))?;
    let system = Some(doc.system.as_str()).filter(|s| !s.is_empty()).unwrap_or(UNASSIGNED);
    let system = SystemId::new(&tenant, system).map_err(|e| bad("/system", e))?;
    let place = Place::system(&system);
    if !ask.caller.may(Right::TreeEdit, &place) {
        ask.require(Right::ServiceAdopt, &place)?;
    }
    if !doc.networks.is_empty() {
        ask.require(Right::TreeEdit, &Place::tenant(&tenant))?;
    }
    Ok(tenant)
}

fn check(doc: &AdoptDoc) -> Result<(), Fail> {
    check_logins([("auth", &doc.auth), ("sentinel_auth", &doc.sentinel_auth)])?;
    if let Some((key, why)) = doc.tls.iter().flat_map(|tls| tls.faults()).next() {
        return Err(invalid(&format!("/tls/{key}"), why));
    }
    if !doc.service.is_empty() && !model::id::is_slug(&doc.service) {
        return Err(invalid("/service", "expected a slug: a-z, 0-9 and '-'"));
    }
    doc.acl.as_ref().map_or(Ok(()), |wish| acl::check(wish, "/acl"))
}

/// Refuses credentials that no server would take, or that are to be read from a file.
pub(super) fn check_logins<const N: usize>(
    logins: [(&str, &Option<AuthDoc>); N],
) -> Result<(), Fail> {
    for (key, auth) in logins {
        let Some(auth) = auth else { continue };
        if auth.password_file.is_some() {
            let said = "is read by the command line; over the API send password";
            return Err(invalid(&format!("/{key}/password_file"), said));
        }
        if auth.password.as_ref().is_none_or(|p| p.reveal().is_empty()) {
            return Err(invalid(&format!("/{key}/password"), "is missing; leave the user out too"));
        }
        if !model::access::is_user(&auth.user) {
            let rule = "a user's name has no blanks and no control characters";
            return Err(invalid(&format!("/{key}/user"), rule));
        }
    }
    Ok(())
}

/// What the walk may reach, and as whom.
fn ground<'a>(
    api: &'a Api,
    doc: &AdoptDoc,
    tenant: &TenantId,
    present: &'a Inventory,
) -> Result<Ground<'a>, Fail> {
    let mut networks = Vec::new();
    let listed = present.tenants.get(tenant).map(|t| t.networks.as_slice()).unwrap_or_default();
    networks.extend(listed.iter().filter_map(|n| n.parse::<Cidr>().ok()));
    for (i, network) in doc.networks.iter().enumerate() {
        networks.push(network.parse().map_err(|e| invalid(&format!("/networks/{i}"), e))?);
    }
    let own: Vec<SocketAddr> = api.app.config.http.listen.parse().into_iter().collect();
    let dir = Path::new(&api.app.config.link.tls_dir);
    let tls = doc.tls.as_ref().map(|tls| reach::tls_files(tls, tenant, dir));
    let plain_sentinels = doc.tls.as_ref().is_some_and(|tls| tls.plain_sentinels);
    let login = |auth: &Option<AuthDoc>| {
        auth.as_ref().map(|a| Login { user: a.user.clone(), password: a.password.clone() })
    };
    let by_address: BTreeMap<String, InstanceId> =
        present.instances.keys().map(|id| (id.address().to_string(), id.clone())).collect();
    Ok(Ground {
        guard: Guard { tenant: tenant.to_string(), networks, own },
        owner: Box::new(move |address| by_address.get(address).cloned()),
        target: Box::new(|id| api.app.targets.load().get(id)?.clone().ok()),
        doors: Doors {
            redis: login(&doc.auth),
            sentinel: login(&doc.sentinel_auth),
            redis_tls: tls.clone(),
            sentinel_tls: tls.filter(|_| !plain_sentinels),
        },
        plain_tls: link::Tls::default(),
    })
}

/// Hash of what would be written: roles, notes and the words of refusals may differ from one look to
/// the next, and change nothing.
fn hash(adoption: &Adoption) -> String {
    let nodes = |s: &AdoptedService| -> Vec<_> {
        s.nodes.iter().map(|n| json!([n.address, n.kind, n.zone, n.state])).collect()
    };
    let services = adoption.services.iter();
    let services: Vec<_> = services
        .map(|s| json!([s.id, s.system, s.state, s.mode, s.master_name, nodes(s)]))
        .collect();
    let told = json!([adoption.tenant, services]);
    hex::encode(Sha256::digest(told.to_string()))
}

/// The access a monitor user needs on each kind of process of the service.
fn rules(api: &Api, doc: &AdoptDoc, service: &mut AdoptedService) {
    let Some(wish) = &doc.acl else { return };
    for kind in [InstanceKind::Redis, InstanceKind::Sentinel] {
        // With several versions the oldest decides: it knows no command the others lack.
        let of_kind = service.nodes.iter().filter(|n| n.kind == kind);
        let Some(node) = of_kind.min_by_key(|n| numbers(&n.version)) else { continue };
        let mut text = Text { version: node.version.clone(), ..Text::default() };
        if node.engine == "valkey" {
            // What every Valkey says of itself beside its own version.
            text = Text { version: "7.2.4".into(), valkey_version: node.version.clone(), ..text };
        }
        match acl::rules(api, wish, (kind, service.mode), &text) {
            Ok(made) => service.acl.push(made),
            Err(said) => service.notes.push(said),
        }
    }
}

fn numbers(version: &str) -> Vec<u32> {
    version.split('.').map(|part| part.parse().unwrap_or(0)).collect()
}

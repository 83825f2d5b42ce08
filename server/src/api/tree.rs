//! Tenants and business systems: the levels above a service.
//!
//! Invariant: counts and scores are of the part in sight.

use std::sync::Arc;

use model::score::Level;
use model::service::Service;
use model::tenant::{System, Tenant};
use model::view::{SystemItem, TenantItem, Verdicts};

use super::ask::{Answer, Ask, Fail};
use super::sight::Sight;
use super::{Api, brief, list};

/// `GET /tenants`.
pub async fn tenants(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let q = ask.query("q");
    let found = sight.inventory.tenants.values();
    let items = found
        .filter(|t| list::matches(q, &[t.id.as_str(), &t.display]))
        .map(|t| tenant_item(&sight, t));
    Ok(Answer::ok(list::page(&ask, items.collect(), |t| t.id.clone(), ask.now)))
}

/// `GET /tenants/{id}`.
pub async fn tenant(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let tenant = sight.tenant(ask.id())?;
    Ok(Answer::ok(tenant_item(&sight, tenant)))
}

/// `GET /systems`.
pub async fn systems(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let (q, scope) = (ask.query("q"), ask.query("in"));
    let found = sight.inventory.systems.values();
    let items = found
        .filter(|s| scope.is_empty() || s.id.as_str() == scope || s.id.tenant().as_str() == scope)
        .filter(|s| list::matches(q, &[s.id.as_str(), &s.display, &s.owner, &s.cmdb]))
        .map(|s| system_item(&sight, s));
    Ok(Answer::ok(list::page(&ask, items.collect(), |s| s.id.clone(), ask.now)))
}

/// `GET /systems/{id}`.
pub async fn system(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let system = sight.system(ask.id())?;
    Ok(Answer::ok(system_item(&sight, system)))
}

fn tenant_item(sight: &Sight<'_>, t: &Tenant) -> TenantItem {
    let services = || sight.inventory.services.values().filter(|s| s.id.tenant() == t.id);
    TenantItem {
        id: t.id.to_string(),
        display: t.display.clone(),
        systems: sight.inventory.systems.keys().filter(|s| s.tenant() == t.id).count() as u32,
        services: services().count() as u32,
        verdicts: verdicts(sight, services()),
        health: brief::score(sight.rolled(Level::Tenant, t.id.as_str()).as_deref()),
    }
}

fn system_item(sight: &Sight<'_>, s: &System) -> SystemItem {
    let services = || sight.inventory.services.values().filter(|v| v.system == s.id);
    SystemItem {
        id: s.id.to_string(),
        display: s.display.clone(),
        env: s.env.as_str().into(),
        owner: s.owner.clone(),
        cmdb: s.cmdb.clone(),
        services: services().count() as u32,
        verdicts: verdicts(sight, services()),
        health: brief::score(sight.rolled(Level::System, s.id.as_str()).as_deref()),
    }
}

fn verdicts<'s>(sight: &Sight<'_>, services: impl Iterator<Item = &'s Service>) -> Verdicts {
    let mut verdicts = Verdicts::default();
    for service in services {
        for instance in sight.inventory.of_service(&service.id) {
            brief::count(&mut verdicts, sight.row(&instance.id).as_deref());
        }
    }
    verdicts
}

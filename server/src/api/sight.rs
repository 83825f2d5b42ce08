//! The tree and the Board as one caller sees them at one moment.
//!
//! Invariant: the tree in it is cut to the caller's `fleet.read`, so whatever is counted, listed or
//! rolled up from it cannot tell of anything else. Refuses to know the store.

use std::cell::OnceCell;
use std::collections::BTreeSet;
use std::sync::Arc;

use model::board::{Board, Rollup};
use model::caller::Caller;
use model::inventory::Inventory;
use model::right::{Place, Right};
use model::row::Row;
use model::score::{Explained, Level};
use model::service::{Instance, Service};
use model::tenant::{System, Tenant};
use model::{At, HostId, InstanceId, ServiceId, SiteId, SystemId, TenantId, ZoneId};

use super::ask::{Ask, Fail};
use super::brief::Member;
use super::problem;
use crate::app::{App, RatesBook};

/// What a caller sees.
pub struct Sight<'a> {
    /// Who looks.
    pub caller: &'a Caller,
    /// The tree, cut to what he sees.
    pub inventory: Arc<Inventory>,
    /// The moment.
    pub now: At,
    board: &'a Board,
    rates: &'a RatesBook,
    whole: bool,
    policies: Arc<scorer::Policies>,
    rollup: Arc<Rollup>,
    own: OnceCell<Rollup>,
}

impl<'a> Sight<'a> {
    /// The present, for the caller of `ask`.
    pub fn new(app: &'a App, ask: &'a Ask) -> Sight<'a> {
        Sight::of(app, &ask.caller, ask.now)
    }

    /// The present, for a caller.
    pub fn of(app: &'a App, caller: &'a Caller, now: At) -> Sight<'a> {
        let whole = caller.may(Right::FleetRead, &Place::platform());
        let inventory = match whole {
            true => app.inventory(),
            false => Arc::new(cut(&app.inventory(), caller)),
        };
        Sight {
            caller,
            inventory,
            now,
            board: &app.board,
            rates: &app.rates,
            whole,
            policies: app.policies.load_full(),
            rollup: app.board.rollup(),
            own: OnceCell::new(),
        }
    }

    /// Whether the whole platform is in sight.
    pub fn whole(&self) -> bool {
        self.whole
    }

    /// A service by its id.
    pub fn service(&self, id: &str) -> Result<&Service, Fail> {
        let found = id.parse().ok().and_then(|id: ServiceId| self.inventory.services.get(&id));
        found.ok_or_else(|| {
            missing("service", id, self.inventory.services.keys().map(|k| k.as_str()))
        })
    }

    /// A business system by its id.
    pub fn system(&self, id: &str) -> Result<&System, Fail> {
        let found = id.parse().ok().and_then(|id| self.inventory.systems.get(&id));
        found
            .ok_or_else(|| missing("system", id, self.inventory.systems.keys().map(|k| k.as_str())))
    }

    /// A tenant by its id.
    pub fn tenant(&self, id: &str) -> Result<&Tenant, Fail> {
        let found = id.parse().ok().and_then(|id| self.inventory.tenants.get(&id));
        found
            .ok_or_else(|| missing("tenant", id, self.inventory.tenants.keys().map(|k| k.as_str())))
    }

    /// An instance by its id.
    pub fn instance(&self, id: &str) -> Result<&Instance, Fail> {
        let found = id.parse().ok().and_then(|id: InstanceId| self.inventory.instances.get(&id));
        found.ok_or_else(|| {
            missing("instance", id, self.inventory.instances.keys().map(|k| k.as_str()))
        })
    }

    /// The latest row of an instance.
    pub fn row(&self, id: &InstanceId) -> Option<Arc<Row>> {
        self.board.row(id)
    }

    /// An instance with its latest row and rates.
    pub fn member<'t>(&self, instance: &'t Instance) -> Member<'t> {
        Member { instance, row: self.row(&instance.id), rates: self.rates.get(&instance.id) }
    }

    /// The instances of a service, Sentinels included.
    pub fn members(&self, service: &ServiceId) -> Vec<Member<'_>> {
        let id = self.inventory.services.get(service).map(|s| &s.id);
        let all = id.into_iter().flat_map(|id| self.inventory.of_service(id));
        all.map(|i| self.member(i)).collect()
    }

    /// A roll-up by level and id. What lies in sight only in part is rolled up from that part.
    pub fn rolled(&self, level: Level, id: &str) -> Option<Arc<Explained>> {
        if self.sees_all_of(level, id) {
            return self.rollup.levels.get(level, id).cloned();
        }
        let own = self.own.get_or_init(|| {
            let ids = self.inventory.instances.keys();
            let rows: Vec<Arc<Row>> = ids.filter_map(|id| self.board.row(id)).collect();
            let mut memory = scorer::RollupMemory::default();
            scorer::rollup(&self.inventory, &self.policies, &rows, &mut memory, self.now)
        });
        own.levels.get(level, id).cloned()
    }

    /// Whether the caller sees all that an object is made of.
    pub fn sees_all_of(&self, level: Level, id: &str) -> bool {
        let may = |place: &Place| self.caller.may(Right::FleetRead, place);
        match level {
            // A service is in sight whole or not at all.
            Level::Instance | Level::Shard | Level::Service => true,
            Level::System => id.parse().is_ok_and(|id| may(&Place::system(&id))),
            Level::Tenant => id.parse().is_ok_and(|id| may(&Place::tenant(&id))),
            Level::Fleet => self.whole,
        }
    }

    /// Whether a tenant is in sight whole.
    pub fn whole_tenant(&self, id: &str) -> bool {
        self.sees_all_of(Level::Tenant, id)
    }

    /// Refuses an `in=` that names nothing in sight: an empty list would look like a quiet fleet.
    pub fn check_scope(&self, scope: &str) -> Result<(), Fail> {
        let tree = &self.inventory;
        let names = || {
            let tenants = tree.tenants.keys().map(|k| k.as_str());
            let systems = tree.systems.keys().map(|k| k.as_str());
            tenants.chain(systems).chain(tree.services.keys().map(|k| k.as_str()))
        };
        match scope.is_empty() || names().any(|n| n == scope) {
            true => Ok(()),
            false => Err(missing("tenant, business system or service", scope, names())),
        }
    }

    /// Whether a service lies in `in=`: a tenant, a system or a service id; empty takes all.
    pub fn inside(&self, scope: &str, service: &Service) -> bool {
        scope.is_empty()
            || service.id.tenant().as_str() == scope
            || service.system.as_str() == scope
            || service.id.as_str() == scope
    }
}

/// The tree without what the caller may not see. A system or tenant stays when something in it does.
fn cut(tree: &Inventory, caller: &Caller) -> Inventory {
    let may = |place: &Place| caller.may(Right::FleetRead, place);
    let services = tree.services.values().filter(|s| may(&Place::service(&s.id, &s.system)));
    let mut seen = Inventory { generation: tree.generation, ..Inventory::default() };
    seen.services = services.map(|s| (s.id.clone(), s.clone())).collect();
    for service in seen.services.values() {
        let instances = tree.of_service(&service.id).map(|i| (i.id.clone(), i.clone()));
        seen.instances.extend(instances);
    }
    let used: BTreeSet<&SystemId> = seen.services.values().map(|s| &s.system).collect();
    let systems =
        tree.systems.values().filter(|s| used.contains(&s.id) || may(&Place::system(&s.id)));
    seen.systems = systems.map(|s| (s.id.clone(), s.clone())).collect();
    let used: BTreeSet<TenantId> = seen.systems.keys().map(SystemId::tenant).collect();
    let tenants =
        tree.tenants.values().filter(|t| used.contains(&t.id) || may(&Place::tenant(&t.id)));
    seen.tenants = tenants.map(|t| (t.id.clone(), t.clone())).collect();
    let used: BTreeSet<&ZoneId> = seen.instances.values().map(|i| &i.zone).collect();
    let zones = tree.zones.values().filter(|z| used.contains(&z.id));
    seen.zones = zones.map(|z| (z.id.clone(), z.clone())).collect();
    let evacuated = tree.evacuated.iter().filter(|z| seen.zones.contains_key(*z));
    seen.evacuated = evacuated.cloned().collect();
    let used: BTreeSet<&SiteId> = seen.zones.values().map(|z| &z.site).collect();
    let sites = tree.sites.values().filter(|s| used.contains(&s.id));
    seen.sites = sites.map(|s| (s.id.clone(), s.clone())).collect();
    let used: BTreeSet<&HostId> = seen.instances.values().filter_map(|i| i.host.as_ref()).collect();
    let hosts = tree.hosts.values().filter(|h| used.contains(&h.id));
    seen.hosts = hosts.map(|h| (h.id.clone(), h.clone())).collect();
    seen
}

pub(super) fn missing<'n>(what: &str, id: &str, seen: impl Iterator<Item = &'n str>) -> Fail {
    problem::not_found_near(what, id, seen).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::right::{Rights, Role, Scope};
    use model::service::{Class, Mode, Profile, Tier};
    use model::tenant::Env;

    fn tree() -> Inventory {
        let mut tree = Inventory::default();
        for (tenant, system, slug) in
            [("pay", "shop", "cart"), ("pay", "desk", "queue"), ("hr", "people", "cache")]
        {
            let tenant_id: model::TenantId = tenant.parse().unwrap();
            let system_id = model::SystemId::new(&tenant_id, system).unwrap();
            let id = ServiceId::new(&tenant_id, slug).unwrap();
            tree.tenants.insert(
                tenant_id.clone(),
                Tenant { id: tenant_id, display: tenant.into(), networks: vec![] },
            );
            tree.systems.insert(
                system_id.clone(),
                System {
                    id: system_id.clone(),
                    display: system.into(),
                    env: Env::Prod,
                    owner: String::new(),
                    cmdb: String::new(),
                },
            );
            let service = Service {
                id: id.clone(),
                system: system_id,
                display: slug.into(),
                tier: Tier::General,
                class: Class::Single,
                mode: Mode::Standalone,
                profile: Profile::Store,
                profile_from: Default::default(),
                managed: false,
                sentinel_master: String::new(),
                replicas_wanted: 0,
                auth_user: String::new(),
                has_password: false,
                access: Default::default(),
            };
            tree.services.insert(id, service);
        }
        tree
    }

    fn seen(scope: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let mut caller = Caller::system("t", "r");
        let scope = Scope::try_from(scope.to_string()).unwrap();
        caller.grants = vec![
            (Role::Reader.rights(), scope),
            (Rights::ALL, Scope::Tenant("gone".parse().unwrap())),
        ];
        let cut = cut(&tree(), &caller);
        let text = |ids: Vec<String>| ids;
        (
            text(cut.tenants.keys().map(ToString::to_string).collect()),
            text(cut.systems.keys().map(ToString::to_string).collect()),
            text(cut.services.keys().map(ToString::to_string).collect()),
        )
    }

    #[test]
    fn a_caller_sees_his_part_of_the_tree_and_what_it_hangs_on() {
        let words = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            seen("tenant:pay"),
            (words(&["pay"]), words(&["pay.desk", "pay.shop"]), words(&["pay.cart", "pay.queue"]))
        );
        assert_eq!(
            seen("service:pay.cart"),
            (words(&["pay"]), words(&["pay.shop"]), words(&["pay.cart"]))
        );
        assert_eq!(seen("tenant:none"), (vec![], vec![], vec![]));
    }
}

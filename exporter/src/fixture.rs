//! A small fleet for unit tests: cluster `pay.cart` of two shards over two zones, Sentinel service
//! `pay.book`.

use std::sync::Arc;

use model::inventory::Inventory;
use model::reading::{ClusterNode, ClusterView, Facts, Reading, Role};
use model::row::Row;
use model::service::{Class, Instance, InstanceKind, Mode, Profile, Service, Tier};
use model::tenant::{Env, Site, System, Tenant, Zone};
use model::verdict::Verdict;
use model::{At, InstanceId, ServiceId, SiteId, SystemId, TenantId, ZoneId};

pub(crate) fn id(text: &str) -> InstanceId {
    InstanceId::parse(text).unwrap()
}

pub(crate) fn instance(text: &str, zone: &str, kind: InstanceKind, shard: u32) -> Instance {
    Instance { id: id(text), kind, zone: ZoneId::parse(zone).unwrap(), host: None, shard }
}

fn service(text: &str, mode: Mode) -> Service {
    Service {
        id: ServiceId::parse(text).unwrap(),
        system: SystemId::parse("pay.shop").unwrap(),
        display: text.into(),
        tier: Tier::Core,
        class: Class::Zone,
        mode,
        profile: Profile::Store,
        profile_from: Default::default(),
        managed: false,
        sentinel_master: String::new(),
        replicas_wanted: 1,
        auth_user: String::new(),
        has_password: false,
        access: Default::default(),
    }
}

pub(crate) fn inventory() -> Inventory {
    let mut tree = Inventory::default();
    let tenant = TenantId::parse("pay").unwrap();
    tree.tenants
        .insert(tenant.clone(), Tenant { id: tenant, display: "Pay".into(), networks: Vec::new() });
    let system = SystemId::parse("pay.shop").unwrap();
    let (display, owner, cmdb) = ("Shop".into(), String::new(), String::new());
    let system = System { id: system, display, env: Env::Uat, owner, cmdb };
    tree.systems.insert(system.id.clone(), system);
    let site = SiteId::parse("dc").unwrap();
    tree.sites.insert(site.clone(), Site { id: site.clone(), display: "DC".into() });
    for zone in ["az-1", "az-2"] {
        let zone = ZoneId::parse(zone).unwrap();
        tree.zones
            .insert(zone.clone(), Zone { id: zone, site: site.clone(), networks: Vec::new() });
    }
    for service in [service("pay.cart", Mode::Cluster), service("pay.book", Mode::Sentinel)] {
        tree.services.insert(service.id.clone(), service);
    }
    let redis = InstanceKind::Redis;
    for one in [
        instance("pay.cart@10.0.0.1:1", "az-1", redis, 0),
        instance("pay.cart@10.0.0.2:1", "az-2", redis, 0),
        instance("pay.cart@10.0.0.3:1", "az-1", redis, 1),
        instance("pay.book@10.0.0.4:1", "az-1", redis, 0),
        instance("pay.book@10.0.0.5:1", "az-2", InstanceKind::Sentinel, 0),
    ] {
        tree.instances.insert(one.id.clone(), one);
    }
    tree
}

pub(crate) fn reading(facts: Facts) -> Reading {
    Reading {
        at: At::from_ms(20_000),
        began: At::from_ms(19_990),
        up: true,
        failure: None,
        ping_us: Some(200),
        duration_us: 900,
        connect_us: 100,
        failed_in_row: 0,
        interval_ms: 15_000,
        facts,
    }
}

pub(crate) fn row(instance: Instance, reading: Reading) -> Row {
    let reading = Arc::new(reading);
    Row {
        role_since: None,
        instance: Arc::new(instance),
        last_good: reading.up.then(|| reading.clone()),
        reading,
        verdict: Verdict::Up,
        score: None,
    }
}

/// A node table: (letter of the id, address, letter of its master or `-`, first slot, epoch).
pub(crate) fn view(me: char, nodes: &[(char, &str, char, Option<u16>, u64)]) -> ClusterView {
    let long = |c: char| c.to_string().repeat(40);
    let nodes = nodes.iter().map(|(c, address, master, slot, epoch)| ClusterNode {
        id: long(*c),
        address: (*address).into(),
        flags: vec![if *master == '-' { "master" } else { "slave" }.into()],
        master: (*master != '-').then(|| long(*master)),
        epoch: *epoch,
        connected: true,
        slots: slot.iter().map(|s| (*s, *s + 10)).collect(),
        open_slots: Vec::new(),
    });
    ClusterView { my_id: long(me), nodes: nodes.collect() }
}

pub(crate) fn with_role(role: Role, offset: f64) -> Facts {
    Facts { role: Some(role), offset: Some(offset), ..Facts::default() }
}

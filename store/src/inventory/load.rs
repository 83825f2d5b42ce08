//! Reading the tree.

use std::collections::BTreeMap;
use std::fmt::Display;

use model::access::Access;
use model::host::Host;
use model::inventory::Inventory;
use model::service::{Class, Instance, InstanceKind, Mode, Profile, ProfileFrom, Service, Tier};
use model::tenant::{Env, Site, System, Tenant, Zone};

use crate::{Error, Result, Store};

#[derive(sqlx::FromRow)]
struct HostRow {
    id: String,
    zone: String,
    address: String,
    provider: String,
    rack: String,
    memory_bytes: i64,
    cpu: i64,
}

#[derive(sqlx::FromRow)]
struct SystemRow {
    id: String,
    display: String,
    env: String,
    owner: String,
    cmdb: String,
}

#[derive(sqlx::FromRow)]
struct ServiceRow {
    id: String,
    system: String,
    display: String,
    tier: String,
    class: String,
    mode: String,
    profile: String,
    profile_from: String,
    managed: bool,
    sentinel_master: String,
    replicas_wanted: i64,
    auth_user: String,
    secret_id: Option<String>,
    sentinel_user: String,
    tls: String,
}

#[derive(sqlx::FromRow)]
struct InstanceRow {
    id: String,
    kind: String,
    zone: String,
    host: Option<String>,
    shard: i64,
}

/// A row that breaks its own rule: the database was changed by another hand.
pub(super) fn broken(e: impl Display) -> Error {
    Error::Internal(format!("a row of the inventory is damaged: {e}"))
}

fn word<T>(found: Option<T>, text: &str) -> Result<T> {
    found.ok_or_else(|| broken(format_args!("{text:?} is no such word")))
}

pub(super) async fn tree(store: &Store, generation: i64) -> Result<Inventory> {
    let (sites, zones, hosts) = places(store).await?;
    let tenants: Vec<(String, String, String)> = rd!(store, c =>
        sqlx::query_as("SELECT id, display, networks FROM tenant").fetch_all(c).await)?;
    let systems: Vec<SystemRow> = rd!(store, c =>
        sqlx::query_as("SELECT id, display, env, owner, cmdb FROM system").fetch_all(c).await)?;
    let services: Vec<ServiceRow> = rd!(store, c => sqlx::query_as(
        "SELECT id, system, display, tier, class, mode, profile, profile_from, managed, \
         sentinel_master, replicas_wanted, auth_user, secret_id, sentinel_user, tls FROM service").fetch_all(c).await)?;
    let instances: Vec<InstanceRow> = rd!(store, c => sqlx::query_as(
        "SELECT id, kind, zone, host, shard FROM instance").fetch_all(c).await)?;
    let tenants = tenants.into_iter().map(tenant).collect::<Result<Vec<_>>>()?;
    let systems = systems.into_iter().map(system).collect::<Result<Vec<_>>>()?;
    let services = services.into_iter().map(service).collect::<Result<Vec<_>>>()?;
    let instances = instances.into_iter().map(instance).collect::<Result<Vec<_>>>()?;
    Ok(Inventory {
        generation,
        tenants: by_id(tenants, |t| t.id.clone()),
        systems: by_id(systems, |s| s.id.clone()),
        services: by_id(services, |s| s.id.clone()),
        instances: by_id(instances, |i| i.id.clone()),
        sites: by_id(sites, |s| s.id.clone()),
        zones: by_id(zones, |z| z.id.clone()),
        hosts: by_id(hosts, |h| h.id.clone()),
        evacuated: crate::evacuation::zones(store).await?,
    })
}

fn by_id<K: Ord, T>(rows: Vec<T>, id: impl Fn(&T) -> K) -> BTreeMap<K, T> {
    rows.into_iter().map(|row| (id(&row), row)).collect()
}

async fn places(store: &Store) -> Result<(Vec<Site>, Vec<Zone>, Vec<Host>)> {
    let sites: Vec<(String, String)> =
        rd!(store, c => sqlx::query_as("SELECT id, display FROM site").fetch_all(c).await)?;
    let zones: Vec<(String, String, String)> =
        rd!(store, c => sqlx::query_as("SELECT id, site, networks FROM zone").fetch_all(c).await)?;
    let hosts: Vec<HostRow> = rd!(store, c => sqlx::query_as(
        "SELECT id, zone, address, provider, rack, memory_bytes, cpu FROM host")
        .fetch_all(c).await)?;
    let sites = sites
        .into_iter()
        .map(|(id, display)| Ok(Site { id: id.parse().map_err(broken)?, display }))
        .collect::<Result<_>>()?;
    let zones = zones
        .into_iter()
        .map(|(id, site, networks)| {
            Ok(Zone {
                id: id.parse().map_err(broken)?,
                site: site.parse().map_err(broken)?,
                networks: serde_json::from_str(&networks).map_err(broken)?,
            })
        })
        .collect::<Result<_>>()?;
    Ok((sites, zones, hosts.into_iter().map(host).collect::<Result<_>>()?))
}

fn host(row: HostRow) -> Result<Host> {
    Ok(Host {
        id: row.id.parse().map_err(broken)?,
        zone: row.zone.parse().map_err(broken)?,
        address: row.address,
        provider: row.provider,
        rack: row.rack,
        memory_bytes: row.memory_bytes.try_into().map_err(broken)?,
        cpu: row.cpu.try_into().map_err(broken)?,
    })
}

fn tenant((id, display, networks): (String, String, String)) -> Result<Tenant> {
    let networks = serde_json::from_str(&networks).map_err(broken)?;
    Ok(Tenant { id: id.parse().map_err(broken)?, display, networks })
}

fn system(row: SystemRow) -> Result<System> {
    let env = match row.env.as_str() {
        "prod" => Env::Prod,
        "uat" => Env::Uat,
        "dev" => Env::Dev,
        other => return Err(broken(format_args!("{other:?} is no environment"))),
    };
    Ok(System {
        id: row.id.parse().map_err(broken)?,
        display: row.display,
        env,
        owner: row.owner,
        cmdb: row.cmdb,
    })
}

fn service(row: ServiceRow) -> Result<Service> {
    let tls = match row.tls.as_str() {
        "" => None,
        text => Some(serde_json::from_str(text).map_err(broken)?),
    };
    Ok(Service {
        id: row.id.parse().map_err(broken)?,
        system: row.system.parse().map_err(broken)?,
        display: row.display,
        tier: word(Tier::parse(&row.tier), &row.tier)?,
        class: word(Class::parse(&row.class), &row.class)?,
        mode: word(Mode::parse(&row.mode), &row.mode)?,
        profile: word(Profile::parse(&row.profile), &row.profile)?,
        profile_from: word(ProfileFrom::parse(&row.profile_from), &row.profile_from)?,
        managed: row.managed,
        sentinel_master: row.sentinel_master,
        replicas_wanted: row.replicas_wanted.try_into().map_err(broken)?,
        auth_user: row.auth_user,
        has_password: row.secret_id.is_some(),
        access: Access { sentinel_user: row.sentinel_user, tls },
    })
}

fn instance(row: InstanceRow) -> Result<Instance> {
    Ok(Instance {
        id: row.id.parse().map_err(broken)?,
        kind: word(InstanceKind::parse(&row.kind), &row.kind)?,
        zone: row.zone.parse().map_err(broken)?,
        host: row.host.map(|h| h.parse()).transpose().map_err(broken)?,
        shard: row.shard.try_into().map_err(broken)?,
    })
}

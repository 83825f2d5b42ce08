//! From an inventory file to the rows it wants, or to every fault in it. Pure.
//!
//! Invariant: what comes out can be written as it stands: ids follow their rules, every reference
//! is in the file or in the tree, every address is covered by its tenant's networks and belongs to
//! one service.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::net::IpAddr;

use model::access::{self, Access, Tls};
use model::apply::{
    Change, Fault, HostDoc, InstanceDoc, InventoryDoc, ServiceDoc, SystemDoc, TenantDoc, VERSION,
};
use model::cidr::{Cidr, never_dialled};
use model::host::Host;
use model::inventory::Inventory;
use model::policy::{PolicyScope, Span};
use model::secret::Secret;
use model::service::{Instance, InstanceKind, Mode, Profile, ProfileFrom, Service};
use model::tenant::{Site, System, Tenant, Zone};
use model::{HostId, InstanceId, ServiceId, SiteId, SystemId, TenantId, ZoneId};

use crate::secret::{SECRET_REDIS, SECRET_SENTINEL};

/// Longest name for people: longer ones break every table they are shown in.
const DISPLAY_MAX: usize = 100;
/// Longest name of a master at its Sentinels.
const MASTER_NAME_MAX: usize = 64;
/// Processes of one service: above this a file is a mistake, and a page of it unreadable.
const INSTANCES_MAX: usize = 1_000;

/// The rows a file wants.
#[derive(Default)]
pub(super) struct Wanted<'a> {
    pub sites: Vec<Site>,
    pub zones: Vec<Zone>,
    pub hosts: Vec<Host>,
    pub tenants: Vec<Tenant>,
    pub systems: Vec<System>,
    pub services: Vec<Service>,
    pub instances: Vec<Instance>,
    pub secrets: Vec<WantedSecret<'a>>,
}

/// A password in the file.
pub(super) struct WantedSecret<'a> {
    pub service: ServiceId,
    pub system: SystemId,
    pub kind: &'static str,
    pub secret: &'a Secret,
}

impl WantedSecret<'_> {
    /// Its line in the answer.
    pub(super) fn change(&self) -> Change {
        Change {
            kind: "secret".into(),
            id: crate::secret_id(&self.service, self.kind),
            what: "change".into(),
            before: serde_json::Value::Null,
            after: serde_json::Value::Null,
        }
    }
}

pub(super) fn wanted<'a>(
    doc: &'a InventoryDoc,
    present: &Inventory,
    prune: bool,
) -> Result<Wanted<'a>, Vec<Fault>> {
    let mut check =
        Check { present, taken: BTreeMap::new(), out: Wanted::default(), faults: Vec::new() };
    if doc.version != VERSION {
        check.fault("/version", format!("{}: this program knows version {VERSION}", doc.version));
    }
    check.remember_addresses(doc, prune);
    check.places(doc);
    for (i, tenant) in doc.tenants.iter().enumerate() {
        check.tenant(&format!("/tenants/{i}"), tenant);
    }
    check.policies(doc);
    if check.faults.is_empty() { Ok(check.out) } else { Err(check.faults) }
}

struct Check<'a, 'p> {
    present: &'p Inventory,
    /// Address → service that has it.
    taken: BTreeMap<String, ServiceId>,
    out: Wanted<'a>,
    faults: Vec<Fault>,
}

/// The profile a file gives a service; what it does not say stays as it is. A guess never takes the
/// place of what somebody said.
fn profile(present: Option<&Service>, doc: &ServiceDoc) -> (Profile, ProfileFrom) {
    let stands = present.map(|s| (s.profile, s.profile_from));
    match doc.profile {
        Some(profile) if !doc.profile_guessed => (profile, ProfileFrom::Given),
        Some(profile) => stands.unwrap_or((profile, ProfileFrom::Guessed)),
        None => stands.unwrap_or_default(),
    }
}

impl<'a> Check<'a, '_> {
    fn fault(&mut self, pointer: impl Display, detail: impl Display) {
        self.faults.push(Fault { pointer: pointer.to_string(), detail: detail.to_string() });
    }

    /// The value, or a fault at `pointer`.
    fn take<T, E: Display>(&mut self, pointer: impl Display, value: Result<T, E>) -> Option<T> {
        value.map_err(|e| self.fault(pointer, e)).ok()
    }

    fn display(&mut self, at: &str, display: &Option<String>, id: &str) -> String {
        let text = display.clone().unwrap_or_else(|| id.to_string());
        if text.chars().count() > DISPLAY_MAX || text.chars().any(char::is_control) {
            self.fault(
                format_args!("{at}/display"),
                format_args!("at most {DISPLAY_MAX} characters, none of them control characters"),
            );
        }
        text
    }

    /// Addresses the tree holds after this file; with `prune`, the named tenants start empty.
    fn remember_addresses(&mut self, doc: &InventoryDoc, prune: bool) {
        let named: BTreeSet<&str> = doc.tenants.iter().map(|t| t.id.as_str()).collect();
        for id in self.present.instances.keys() {
            if !(prune && named.contains(id.tenant().as_str())) {
                self.taken.insert(id.address().to_string(), id.service());
            }
        }
    }

    fn places(&mut self, doc: &InventoryDoc) {
        for (i, site) in doc.sites.iter().enumerate() {
            let at = format!("/sites/{i}");
            let display = self.display(&at, &site.display, &site.id);
            let Some(id) = self.take(format_args!("{at}/id"), SiteId::parse(&site.id)) else {
                continue;
            };
            if self.out.sites.iter().any(|s| s.id == id) {
                self.fault(format_args!("{at}/id"), format_args!("site {id} is listed twice"));
            }
            self.out.sites.push(Site { id, display });
        }
        for (i, zone) in doc.zones.iter().enumerate() {
            let at = format!("/zones/{i}");
            let id = self.take(format_args!("{at}/id"), ZoneId::parse(&zone.id));
            let site = self.take(format_args!("{at}/site"), SiteId::parse(&zone.site));
            let (Some(id), Some(site)) = (id, site) else { continue };
            if self.out.zones.iter().any(|z| z.id == id) {
                self.fault(format_args!("{at}/id"), format_args!("zone {id} is listed twice"));
            }
            if !self.out.sites.iter().any(|s| s.id == site)
                && !self.present.sites.contains_key(&site)
            {
                let known = listed(self.out.sites.iter().map(|s| &s.id), self.present.sites.keys());
                self.fault(
                    format_args!("{at}/site"),
                    format_args!("zone {id} needs a site; {site} is none of {known}"),
                );
            }
            let networks = self.networks(&at, &zone.networks);
            let networks = networks.iter().map(Cidr::to_string).collect();
            self.out.zones.push(Zone { id, site, networks });
        }
        for (i, host) in doc.hosts.iter().enumerate() {
            self.host(&format!("/hosts/{i}"), host);
        }
    }

    fn host(&mut self, at: &str, host: &HostDoc) {
        let id = self.take(format_args!("{at}/id"), HostId::parse(&host.id));
        let zone = self.zone(at, &host.zone);
        if host.address.parse::<IpAddr>().is_err() {
            self.fault(
                format_args!("{at}/address"),
                format_args!("{:?} is not an IP address", host.address),
            );
        }
        let (Some(id), Some(zone)) = (id, zone) else { return };
        if self.out.hosts.iter().any(|h| h.id == id) {
            self.fault(format_args!("{at}/id"), format_args!("host {id} is listed twice"));
        }
        self.out.hosts.push(Host {
            id,
            zone,
            address: host.address.clone(),
            provider: host.provider.clone(),
            rack: host.rack.clone(),
            memory_bytes: host.memory_bytes,
            cpu: host.cpu,
        });
    }

    /// A zone that exists, in the file or in the tree.
    fn zone(&mut self, at: &str, text: &str) -> Option<ZoneId> {
        let id = self.take(format_args!("{at}/zone"), ZoneId::parse(text))?;
        if self.site_of(&id).is_none() {
            let known = listed(self.out.zones.iter().map(|z| &z.id), self.present.zones.keys());
            self.fault(
                format_args!("{at}/zone"),
                format_args!("zone {id} does not exist; there are {known}"),
            );
            return None;
        }
        Some(id)
    }

    fn site_of(&self, zone: &ZoneId) -> Option<SiteId> {
        let listed = self.out.zones.iter().find(|z| z.id == *zone);
        listed.or_else(|| self.present.zones.get(zone)).map(|z| z.site.clone())
    }

    fn tenant(&mut self, at: &str, doc: &'a TenantDoc) {
        let display = self.display(at, &doc.display, &doc.id);
        let networks = self.networks(at, &doc.networks);
        let Some(id) = self.take(format_args!("{at}/id"), TenantId::parse(&doc.id)) else { return };
        if id.as_str() == model::batch::ZONE_TENANT {
            let why = "no tenant may be called zone: operations on zones are filed under it";
            self.fault(format_args!("{at}/id"), why);
        }
        if self.out.tenants.iter().any(|t| t.id == id) {
            self.fault(format_args!("{at}/id"), format_args!("tenant {id} is listed twice"));
        }
        for (i, system) in doc.systems.iter().enumerate() {
            self.system(&format!("{at}/systems/{i}"), &id, system);
        }
        for (i, service) in doc.services.iter().enumerate() {
            self.service(&format!("{at}/services/{i}"), (&id, &networks), service);
        }
        self.out.tenants.push(Tenant { id, display, networks: doc.networks.clone() });
    }

    fn networks(&mut self, at: &str, texts: &[String]) -> Vec<Cidr> {
        let parse = |(i, text): (usize, &String)| {
            self.take(format_args!("{at}/networks/{i}"), text.parse::<Cidr>())
        };
        texts.iter().enumerate().filter_map(parse).collect()
    }

    fn system(&mut self, at: &str, tenant: &TenantId, doc: &SystemDoc) {
        let display = self.display(at, &doc.display, &doc.id);
        let id = self.take(format_args!("{at}/id"), SystemId::new(tenant, &doc.id));
        let Some(id) = id else { return };
        if self.out.systems.iter().any(|s| s.id == id) {
            self.fault(format_args!("{at}/id"), format_args!("system {id} is listed twice"));
        }
        self.out.systems.push(System {
            id,
            display,
            env: doc.env,
            owner: doc.owner.clone(),
            cmdb: doc.cmdb.clone(),
        });
    }

    fn service(&mut self, at: &str, (tenant, nets): (&TenantId, &[Cidr]), doc: &'a ServiceDoc) {
        let display = self.display(at, &doc.display, &doc.id);
        let id = self.take(format_args!("{at}/id"), ServiceId::new(tenant, &doc.id));
        let system = self.take(format_args!("{at}/system"), SystemId::new(tenant, &doc.system));
        let (Some(id), Some(system)) = (id, system) else { return };
        if self.out.services.iter().any(|s| s.id == id) {
            self.fault(format_args!("{at}/id"), format_args!("service {id} is listed twice"));
        }
        let known = self.out.systems.iter().any(|s| s.id == system);
        if !known && !self.present.systems.contains_key(&system) {
            self.fault(
                format_args!("{at}/system"),
                format_args!("system {system} does not exist; list it under systems"),
            );
        }
        let mode = self.mode(at, doc);
        let mut nodes = Nodes::default();
        for (i, instance) in doc.instances.iter().enumerate() {
            let at = format!("{at}/instances/{i}");
            self.instance(&at, (&id, mode, nets), instance, &mut nodes);
        }
        self.instances_fit(at, doc, &nodes);
        self.passwords(at, &id, &system, doc);
        let access = self.access(at, doc);
        let (profile, profile_from) = profile(self.present.services.get(&id), doc);
        self.out.services.push(Service {
            id,
            system,
            display,
            tier: doc.tier,
            class: doc.class,
            mode,
            profile,
            profile_from,
            managed: doc.managed,
            sentinel_master: doc
                .sentinel
                .as_ref()
                .map_or_else(String::new, |s| s.master_name.clone()),
            replicas_wanted: doc.replicas.unwrap_or_else(|| nodes.replicas(mode)),
            auth_user: doc.auth.as_ref().map_or_else(String::new, |a| a.user.clone()),
            has_password: doc.auth.as_ref().is_some_and(|a| a.password.is_some()),
            access,
        });
    }

    fn mode(&mut self, at: &str, doc: &ServiceDoc) -> Mode {
        let named = doc.sentinel.is_some();
        let mode = doc.mode.unwrap_or(if named { Mode::Sentinel } else { Mode::Standalone });
        if (mode == Mode::Sentinel) != named {
            self.fault(
                format_args!("{at}/sentinel"),
                "mode sentinel and sentinel: {master_name: …} belong together",
            );
        }
        let name = doc.sentinel.as_ref().map_or("mymaster", |s| s.master_name.as_str());
        let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if name.is_empty() || name.len() > MASTER_NAME_MAX || !name.chars().all(fine) {
            self.fault(
                format_args!("{at}/sentinel/master_name"),
                format_args!("allowed are 1 to {MASTER_NAME_MAX} of A-Z, a-z, 0-9, '.', '-', '_'"),
            );
        }
        mode
    }

    fn instances_fit(&mut self, at: &str, doc: &ServiceDoc, nodes: &Nodes) {
        if !doc.seeds.is_empty() {
            self.fault(
                format_args!("{at}/seeds"),
                "a file lists its nodes and Sentinels under instances; `cachewarden adopt` expands seeds",
            );
        } else if doc.instances.is_empty() {
            self.fault(format_args!("{at}/instances"), "a service needs at least one instance");
        }
        if doc.instances.len() > INSTANCES_MAX {
            self.fault(
                format_args!("{at}/instances"),
                format_args!("{} instances, at most {INSTANCES_MAX}", doc.instances.len()),
            );
        }
        if nodes.sites.len() > 1 {
            self.fault(
                format_args!("{at}/instances"),
                "a service lives in one site; its zones are in several",
            );
        }
    }

    fn instance(
        &mut self,
        at: &str,
        (service, mode, nets): (&ServiceId, Mode, &[Cidr]),
        doc: &InstanceDoc,
        nodes: &mut Nodes,
    ) {
        let zone = self.zone(at, &doc.zone);
        let id = self.take(format_args!("{at}/address"), InstanceId::new(service, &doc.address));
        let (Some(zone), Some(id)) = (zone, id) else { return };
        self.address(at, &id, nets);
        let host = doc.host.as_ref().and_then(|text| self.host_of(at, text, &zone));
        let fits = match doc.kind {
            InstanceKind::Redis => mode != Mode::Sentinels,
            InstanceKind::Sentinel => matches!(mode, Mode::Sentinel | Mode::Sentinels),
        };
        if !fits {
            let (kind, mode) = (doc.kind.as_str(), mode.as_str());
            self.fault(
                format_args!("{at}/kind"),
                format_args!("a {kind} does not belong in a service of mode {mode}"),
            );
        }
        nodes.data += u32::from(doc.kind == InstanceKind::Redis);
        nodes.sites.extend(self.site_of(&zone));
        // Learnt numbers stay; a new node gets its own from the topology loop.
        let shard = self.present.instances.get(&id).map_or(0, |i| i.shard);
        self.out.instances.push(Instance { id, kind: doc.kind, zone, host, shard });
    }

    /// The address is one of ours to dial and nobody else's.
    fn address(&mut self, at: &str, id: &InstanceId, nets: &[Cidr]) {
        let pointer = format!("{at}/address");
        let host = id.host_port().0;
        match host.parse::<IpAddr>() {
            Ok(ip) if never_dialled(ip) => {
                self.fault(
                    &pointer,
                    format_args!("{ip} is never dialled (unspecified, multicast or link-local)"),
                );
            }
            Ok(ip) if !nets.iter().any(|n| n.covers(ip)) => {
                self.fault(
                    &pointer,
                    format_args!("{ip} is in none of the networks of tenant {}", id.tenant()),
                );
            }
            Ok(_) => {}
            Err(_) => self.fault(
                &pointer,
                format_args!(
                    "{host:?} is not an IP address, and only those can be checked against networks"
                ),
            ),
        }
        let service = id.service();
        match self.taken.insert(id.address().to_string(), service.clone()) {
            // In the tree before, or in the file twice.
            Some(other) if other == service => {
                let twice = self.out.instances.iter().any(|i| i.id == *id);
                let detail = format_args!("{} is listed twice", id.address());
                twice.then(|| self.fault(&pointer, detail));
            }
            Some(other) => {
                // The names of other tenants' services are not for this file's author.
                let whose = if other.tenant() == service.tenant() {
                    format!("service {other}")
                } else {
                    "another tenant".to_string()
                };
                self.fault(
                    &pointer,
                    format_args!(
                        "{} belongs to {whose} already; an address is in one service",
                        id.address()
                    ),
                );
            }
            None => {}
        }
    }

    fn host_of(&mut self, at: &str, text: &str, zone: &ZoneId) -> Option<HostId> {
        let pointer = format!("{at}/host");
        let id = self.take(&pointer, HostId::parse(text))?;
        let listed = self.out.hosts.iter().find(|h| h.id == id);
        match listed.or_else(|| self.present.hosts.get(&id)).map(|h| h.zone.clone()) {
            None => {
                self.fault(&pointer, format_args!("host {id} does not exist; list it under hosts"))
            }
            Some(there) if there != *zone => self.fault(
                &pointer,
                format_args!("host {id} is in zone {there}, the instance says {zone}"),
            ),
            Some(_) => {}
        }
        Some(id)
    }

    fn access(&mut self, at: &str, doc: &ServiceDoc) -> Access {
        for (key, why) in doc.tls.iter().flat_map(Tls::faults) {
            self.fault(format_args!("{at}/tls/{key}"), why);
        }
        let sentinel_user = doc.sentinel.as_ref().map_or_else(String::new, |s| s.user.clone());
        let user = doc.auth.as_ref().map_or("", |a| a.user.as_str());
        for (key, name) in [("auth", user), ("sentinel", sentinel_user.as_str())] {
            if !access::is_user(name) {
                let rule = "a user's name has no blanks and no control characters";
                self.fault(format_args!("{at}/{key}/user"), rule);
            }
        }
        Access { sentinel_user, tls: doc.tls.clone() }
    }

    fn passwords(&mut self, at: &str, service: &ServiceId, system: &SystemId, doc: &'a ServiceDoc) {
        let auth = doc.auth.as_ref().map(|a| ("auth", SECRET_REDIS, &a.password, &a.password_file));
        let sentinel = doc.sentinel.as_ref();
        let sentinel =
            sentinel.map(|s| ("sentinel", SECRET_SENTINEL, &s.password, &s.password_file));
        for (key, kind, password, file) in auth.into_iter().chain(sentinel) {
            if file.is_some() {
                self.fault(
                    format_args!("{at}/{key}/password_file"),
                    "is read by `cachewarden apply`; over the API send password",
                );
            }
            if password.as_ref().is_some_and(|p| p.reveal().is_empty()) {
                self.fault(format_args!("{at}/{key}/password"), "is empty; leave it out instead");
            }
            if let Some(secret) = password {
                self.out.secrets.push(WantedSecret {
                    service: service.clone(),
                    system: system.clone(),
                    kind,
                    secret,
                });
            }
        }
    }

    fn policies(&mut self, doc: &InventoryDoc) {
        for (i, policy) in doc.policies.iter().enumerate() {
            if let Some((place, span)) = policy.held_too_long() {
                let (span, most) = (String::from(span), String::from(Span::HELD_MAX));
                self.fault(
                    format_args!("/policies/{i}/{place}"),
                    format_args!("{span} is longer than the longest allowed, {most}"),
                );
            }
            let (p, out) = (self.present, &self.out);
            let known = match &policy.scope {
                PolicyScope::Platform => true,
                PolicyScope::Tenant(id) => {
                    p.tenants.contains_key(id) || out.tenants.iter().any(|t| t.id == *id)
                }
                PolicyScope::System(id) => {
                    p.systems.contains_key(id) || out.systems.iter().any(|s| s.id == *id)
                }
                PolicyScope::Service(id) => {
                    p.services.contains_key(id) || out.services.iter().any(|s| s.id == *id)
                }
                PolicyScope::Instance(id) => {
                    p.instances.contains_key(id) || out.instances.iter().any(|n| n.id == *id)
                }
            };
            if !known {
                let scope = String::from(policy.scope.clone());
                self.fault(
                    format_args!("/policies/{i}/scope"),
                    format_args!("{scope} does not exist"),
                );
            }
        }
    }
}

/// What the instances of one service add up to.
#[derive(Default)]
struct Nodes {
    data: u32,
    sites: BTreeSet<SiteId>,
}

impl Nodes {
    /// Replicas of each master, when the file does not say: what stays beside one master, or, in a
    /// cluster, beside the smallest number of masters that makes a majority.
    fn replicas(&self, mode: Mode) -> u32 {
        const CLUSTER_MASTERS_MIN: u32 = 3;
        match mode {
            Mode::Standalone | Mode::Sentinel => self.data.saturating_sub(1),
            Mode::Cluster => u32::from(self.data >= 2 * CLUSTER_MASTERS_MIN),
            Mode::Sentinels => 0,
        }
    }
}

/// `a, b, c …` of both, for "there are".
fn listed<'x, T: Display + Ord + 'x>(
    first: impl Iterator<Item = &'x T>,
    second: impl Iterator<Item = &'x T>,
) -> String {
    const SHOWN: usize = 10;
    let all: BTreeSet<&T> = first.chain(second).collect();
    let mut shown: Vec<String> = all.iter().take(SHOWN).map(|t| t.to_string()).collect();
    match all.len() {
        0 => return "none".into(),
        n if n > SHOWN => shown.push("…".into()),
        _ => {}
    }
    shown.join(", ")
}

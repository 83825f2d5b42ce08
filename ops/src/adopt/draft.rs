//! From what was found to an inventory document and to what people are shown of it. Pure.
//!
//! Invariant: the document passes the checks of every inventory document; a service that does not is
//! named with the reason and left out, the others are taken. What the inventory has stays as it is:
//! a known service gets new nodes and nothing else. The same fleet gives the same document.

use std::collections::{BTreeMap, BTreeSet};

use model::adopt::{AdoptDoc, AdoptedNode, AdoptedService, RefusedAddress};
use model::apply::{
    AuthDoc, Fault, InstanceDoc, InventoryDoc, SentinelDoc, ServiceDoc, SiteDoc, SystemDoc,
    TenantDoc, VERSION, ZoneDoc,
};
use model::cidr::Cidr;
use model::inventory::Inventory;
use model::reading::Role;
use model::service::{InstanceKind, Mode, Profile, Service};
use model::{InstanceId, ServiceId, SystemId, TenantId, ZoneId};
use store::UNASSIGNED;

use super::group::{Group, groups};
use super::name::Names;
use super::walk::{Found, Walk};
use super::zone::Zones;

/// What is wished, and the tree it meets.
pub struct Wish<'a> {
    /// The request.
    pub doc: &'a AdoptDoc,
    /// Its tenant.
    pub tenant: &'a TenantId,
    /// The present tree.
    pub present: &'a Inventory,
}

/// A document, and what people are shown of it.
pub struct Draft {
    /// What to apply.
    pub document: InventoryDoc,
    /// Services, in the order of their ids.
    pub services: Vec<AdoptedService>,
    /// Addresses that were not taken.
    pub refused: Vec<RefusedAddress>,
    /// Addresses nobody was asked.
    pub unasked: usize,
}

/// One service on its way into the document.
struct Piece {
    shown: AdoptedService,
    /// None: nothing to write, known whole or in conflict.
    doc: Option<ServiceDoc>,
}

/// Makes the draft. Refuses when the request itself cannot be (its tenant, its networks, its zones).
pub fn draft(walk: Walk, wish: &Wish<'_>) -> Result<Draft, Vec<Fault>> {
    let zones = Zones::new(wish)?;
    let sorted = groups(&walk.found);
    let mut refused = walk.refused;
    for (alias, kept) in &sorted.aliases {
        refused.push(RefusedAddress {
            address: alias.clone(),
            found_by: walk.found[alias].found_by.clone(),
            reason: "alias".into(),
            detail: format!("it is the process of {kept}, under another address"),
        });
    }
    let fresh = sorted.groups.iter().filter(|g| owners(g, &walk.found).is_empty()).count();
    let mut names = Names::new(wish, fresh);
    let mut pieces: Vec<Piece> = sorted
        .groups
        .into_iter()
        .map(|group| piece(group, &walk.found, wish, &zones, &mut names))
        .collect();
    pieces.sort_by(|a, b| a.shown.id.cmp(&b.shown.id));
    let document = fitting(&mut pieces, wish)?;
    refused.sort_by(|a, b| a.address.cmp(&b.address));
    let services = pieces.into_iter().map(|p| p.shown).collect();
    Ok(Draft { document, services, refused, unasked: walk.unasked })
}

/// Services of the inventory that have nodes of the group.
fn owners(group: &Group, found: &BTreeMap<String, Found>) -> BTreeSet<ServiceId> {
    let all = group.data.iter().chain(&group.sentinels);
    all.filter_map(|a| found[a].known.as_ref()).map(InstanceId::service).collect()
}

fn piece(
    group: Group,
    found: &BTreeMap<String, Found>,
    wish: &Wish<'_>,
    zones: &Zones<'_>,
    names: &mut Names<'_>,
) -> Piece {
    let owners = owners(&group, found);
    let hints = group.data.iter().chain(&group.sentinels).map(|a| &found[a].hints);
    let hint = hints.clone().find_map(|h| h.service.clone());
    let system = hints.clone().find_map(|h| h.system.clone());
    let existing = owners.first().and_then(|id| wish.present.services.get(id));
    let mut conflicts = Vec::new();
    let (id, named_by) = match existing {
        Some(service) => (service.id.clone(), "inventory"),
        None => names.give(&group, hint.as_deref(), &mut conflicts),
    };
    let system = match existing {
        Some(service) => service.system.slug().to_string(),
        None => system_of(wish, system, &mut conflicts),
    };
    if owners.len() > 1 {
        let list: Vec<&str> = owners.iter().map(ServiceId::as_str).collect();
        conflicts.push(format!("its nodes are in several services already: {}", list.join(", ")));
    }
    if group.data.is_empty() && group.mode == Mode::Sentinel {
        conflicts.push(format!(
            "its Sentinels answer, but no data node of {} could be read; see what was refused",
            group.master_name
        ));
    }
    if let Some(service) = existing.filter(|s| s.mode != group.mode) {
        conflicts.push(format!(
            "the inventory says it is of mode {}, its nodes say {}; change the mode in the inventory \
             file first",
            service.mode.as_str(),
            group.mode.as_str()
        ));
    }
    let instances = instances(&group, found, zones, &mut conflicts);
    let mut notes = group.notes.clone();
    notes.extend(notes_of(&group, found, wish.doc));
    let doc = match existing {
        Some(service) => grown(service, new_ones(&instances, found)),
        None => created(&id, &system, &group, found, instances.clone(), wish),
    };
    let state = match (existing, conflicts.is_empty(), doc.instances.is_empty()) {
        (_, false, _) => "conflict",
        (Some(_), _, true) => "known",
        (Some(_), ..) => "grows",
        (None, ..) => "new",
    };
    let nodes = shown_nodes(&instances, found);
    conflicts.extend(notes);
    let shown = AdoptedService {
        id: id.to_string(),
        system: format!("{}.{system}", wish.tenant),
        state: state.into(),
        named_by: named_by.into(),
        mode: existing.map_or(group.mode, |s| s.mode),
        master_name: group.master_name,
        nodes,
        notes: conflicts,
        acl: Vec::new(),
    };
    Piece { doc: matches!(state, "new" | "grows").then_some(doc), shown }
}

fn system_of(wish: &Wish<'_>, hint: Option<String>, conflicts: &mut Vec<String>) -> String {
    let asked = Some(wish.doc.system.clone()).filter(|s| !s.is_empty());
    let slug = asked.or(hint).unwrap_or_else(|| UNASSIGNED.into());
    let known =
        SystemId::new(wish.tenant, &slug).is_ok_and(|id| wish.present.systems.contains_key(&id));
    if !known && slug != UNASSIGNED {
        conflicts.push(format!("the business system {}.{slug} does not exist", wish.tenant));
    }
    slug
}

fn instances(
    group: &Group,
    found: &BTreeMap<String, Found>,
    zones: &Zones<'_>,
    conflicts: &mut Vec<String>,
) -> Vec<InstanceDoc> {
    let place = |address: &String| {
        let one = &found[address];
        let (zone, host) = zones.of(address, one);
        InstanceDoc { address: address.clone(), kind: one.seen.kind, zone, host }
    };
    let all: Vec<InstanceDoc> = group.data.iter().chain(&group.sentinels).map(place).collect();
    let without: Vec<&str> =
        all.iter().filter(|i| i.zone == UNASSIGNED).map(|i| i.address.as_str()).collect();
    if !without.is_empty() && without.len() < all.len() {
        let list = without.join(", ");
        conflicts.push(format!("no network says in which zone {list} stands; the others have one"));
    }
    for zone in all.iter().map(|i| &i.zone).collect::<BTreeSet<_>>() {
        if !zones.exists(zone) {
            conflicts.push(format!("zone {zone} does not exist"));
        }
    }
    all
}

fn new_ones(instances: &[InstanceDoc], found: &BTreeMap<String, Found>) -> Vec<InstanceDoc> {
    instances.iter().filter(|i| found[&i.address].known.is_none()).cloned().collect()
}

fn shown_nodes(instances: &[InstanceDoc], found: &BTreeMap<String, Found>) -> Vec<AdoptedNode> {
    let show = |i: &InstanceDoc| {
        let one = &found[&i.address];
        AdoptedNode {
            address: i.address.clone(),
            kind: i.kind,
            role: one.seen.role.map_or_else(String::new, |r| r.as_redis().to_string()),
            engine: one.seen.engine.into(),
            version: one.seen.version.clone(),
            zone: i.zone.clone(),
            state: if one.known.is_some() { "known" } else { "new" }.into(),
            found_by: one.found_by.clone(),
        }
    };
    instances.iter().map(show).collect()
}

fn notes_of(group: &Group, found: &BTreeMap<String, Found>, doc: &AdoptDoc) -> Vec<String> {
    let mut notes = Vec::new();
    let seen = || group.data.iter().map(|a| &found[a].seen);
    if let Some(name) = seen().map(|s| &s.clients).find(|n| !n.is_empty()) {
        notes.push(format!("most of its clients call themselves {name}"));
    }
    let at: BTreeSet<&String> = seen().flat_map(|s| &s.sentinels_at).collect();
    if group.sentinels.is_empty() && group.master_name.is_empty() && !at.is_empty() {
        let list: Vec<&str> = at.into_iter().map(String::as_str).collect();
        notes.push(format!(
            "Sentinels at {} are connected to it; name one of them with its port to adopt them too",
            list.join(", ")
        ));
    }
    if group.sentinels.is_empty() && !group.master_name.is_empty() {
        notes.push("its Sentinels watch other services too and are a service of their own".into());
    }
    let given = |auth: &Option<AuthDoc>| auth.as_ref().is_some_and(|a| a.password.is_some());
    let open = |all: &[String]| all.iter().filter(|a| found[*a].seen.open).count();
    for (auth, all, what) in
        [(&doc.auth, &group.data, "nodes"), (&doc.sentinel_auth, &group.sentinels, "Sentinels")]
    {
        match open(all) {
            0 => {}
            n if given(auth) && n == all.len() => {
                notes.push(format!("its {what} want no password: the one given is not kept"));
            }
            n => notes.push(format!(
                "{n} of its {} {what} want no password and the others do",
                all.len()
            )),
        }
    }
    if group.mode == Mode::Sentinels && given(&doc.sentinel_auth) {
        let note =
            "the Sentinels' password is not kept yet: cachewarden secret set … --kind sentinel";
        notes.push(note.into());
    }
    notes
}

/// A known service with new nodes: all else as it stands.
fn grown(service: &Service, instances: Vec<InstanceDoc>) -> ServiceDoc {
    let sentinel = (service.mode == Mode::Sentinel).then(|| SentinelDoc {
        master_name: service.sentinel_master.clone(),
        user: service.access.sentinel_user.clone(),
        password: None,
        password_file: None,
    });
    ServiceDoc {
        id: service.id.slug().into(),
        system: service.system.slug().into(),
        display: Some(service.display.clone()),
        tier: service.tier,
        class: service.class,
        profile: None,
        profile_guessed: false,
        mode: Some(service.mode),
        managed: service.managed,
        replicas: Some(service.replicas_wanted),
        auth: Some(AuthDoc { user: service.auth_user.clone(), ..AuthDoc::default() }),
        sentinel,
        tls: service.access.tls.clone(),
        seeds: Vec::new(),
        instances,
    }
}

/// What the data is for, as its servers treat it at their limit: who lets any key be evicted keeps a
/// cache.
fn guess(group: &Group, found: &BTreeMap<String, Found>) -> Profile {
    let policies = || group.data.iter().map(|a| found[a].seen.eviction.as_str());
    let evicts = policies().any(|p| !p.is_empty())
        && policies().filter(|p| !p.is_empty()).all(|p| p.starts_with("allkeys-"));
    if evicts { Profile::Cache } else { Profile::Store }
}

fn created(
    id: &ServiceId,
    system: &str,
    group: &Group,
    found: &BTreeMap<String, Found>,
    instances: Vec<InstanceDoc>,
    wish: &Wish<'_>,
) -> ServiceDoc {
    let closed = |all: &[String]| all.iter().any(|a| !found[a].seen.open);
    let auth = wish.doc.auth.clone().filter(|_| closed(&group.data));
    let sentinel = wish.doc.sentinel_auth.clone().filter(|_| closed(&group.sentinels));
    let sentinel = sentinel.unwrap_or_default();
    let masters =
        group.data.iter().filter(|a| found[*a].seen.role == Some(Role::Master)).count().max(1);
    let tls = group.data.iter().chain(&group.sentinels).any(|a| found[a].tls);
    ServiceDoc {
        id: id.slug().into(),
        system: system.into(),
        display: None,
        tier: wish.doc.tier,
        class: Default::default(),
        profile: Some(guess(group, found)),
        profile_guessed: true,
        mode: Some(group.mode),
        managed: wish.doc.managed,
        replicas: Some((group.data.len() / masters).saturating_sub(1) as u32),
        auth,
        sentinel: (group.mode == Mode::Sentinel).then(|| SentinelDoc {
            master_name: group.master_name.clone(),
            user: sentinel.user,
            password: sentinel.password,
            password_file: None,
        }),
        tls: tls.then(|| wish.doc.tls.clone().unwrap_or_default()),
        seeds: Vec::new(),
        instances,
    }
}

/// The document of the pieces that pass the inventory's checks; the others become conflicts.
fn fitting(pieces: &mut [Piece], wish: &Wish<'_>) -> Result<InventoryDoc, Vec<Fault>> {
    loop {
        let at: Vec<usize> = (0..pieces.len()).filter(|i| pieces[*i].doc.is_some()).collect();
        let services = at.iter().filter_map(|i| pieces[*i].doc.clone()).collect();
        let document = document(services, wish);
        let faults = store::inventory_check(&document, wish.present, false);
        if faults.is_empty() {
            return Ok(document);
        }
        let (about, others): (Vec<_>, Vec<_>) =
            faults.into_iter().partition(|f| service_of(f).is_some());
        if about.is_empty() {
            return Err(others);
        }
        for fault in about {
            let piece = service_of(&fault).and_then(|n| at.get(n)).map(|i| &mut pieces[*i]);
            if let Some(piece) = piece {
                piece.doc = None;
                piece.shown.state = "conflict".into();
                piece.shown.notes.insert(0, fault.detail);
            }
        }
    }
}

/// Index of the service a fault is about.
fn service_of(fault: &Fault) -> Option<usize> {
    fault.pointer.strip_prefix("/tenants/0/services/")?.split('/').next()?.parse().ok()
}

fn document(services: Vec<ServiceDoc>, wish: &Wish<'_>) -> InventoryDoc {
    let present = wish.present;
    let uses = |what: fn(&ServiceDoc) -> bool| services.iter().any(what);
    let unplaced = uses(|s| s.instances.iter().any(|i| i.zone == UNASSIGNED));
    let unassigned: ZoneId = UNASSIGNED.parse().expect("a slug");
    let (mut sites, mut zones) = (Vec::new(), Vec::new());
    if unplaced && !present.zones.contains_key(&unassigned) {
        sites.push(SiteDoc { id: UNASSIGNED.into(), display: Some("Unassigned".into()) });
        let site = UNASSIGNED.to_string();
        zones.push(ZoneDoc { id: UNASSIGNED.into(), site, networks: Vec::new() });
    }
    let mut systems = Vec::new();
    let system = SystemId::new(wish.tenant, UNASSIGNED).expect("two slugs");
    if uses(|s| s.system == UNASSIGNED) && !present.systems.contains_key(&system) {
        systems.push(SystemDoc {
            id: UNASSIGNED.into(),
            display: Some("Unassigned".into()),
            env: Default::default(),
            owner: String::new(),
            cmdb: String::new(),
        });
    }
    let tenant = present.tenants.get(wish.tenant);
    let mut networks = tenant.map(|t| t.networks.clone()).unwrap_or_default();
    for network in &wish.doc.networks {
        let same = |n: &String| n.parse::<Cidr>().ok() == network.parse().ok();
        if !networks.iter().any(same) {
            networks.push(network.clone());
        }
    }
    let tenants = vec![TenantDoc {
        id: wish.tenant.to_string(),
        display: tenant.map(|t| t.display.clone()),
        networks,
        systems,
        services,
    }];
    InventoryDoc {
        version: VERSION,
        sites,
        zones,
        hosts: Vec::new(),
        tenants,
        policies: Vec::new(),
    }
}

/// Kinds of processes among the nodes, data nodes first.
pub fn kinds(service: &AdoptedService) -> Vec<InstanceKind> {
    let has = |kind: &InstanceKind| service.nodes.iter().any(|n| n.kind == *kind);
    [InstanceKind::Redis, InstanceKind::Sentinel].into_iter().filter(has).collect()
}

//! A zone is emptied of masters, or gets them back: one switchover per master, in waves.
//!
//! Invariants: every row was planned by the switchover's own checks against the fleet, and whoever they
//! refuse is left out with the reason; a plan never moves a master into the zone it empties; one zone is
//! empty at a time. Refuses to know how a switchover is done.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use model::batch::{Bench, Evacuation, Move, file_of, zone_of};
use model::field::Field;
use model::inventory::Inventory;
use model::operation::OperationKind;
use model::plan::{Checked, Plan, PlannedStep};
use model::refusal::Refusal;
use model::service::{Class, Instance, InstanceKind, Mode};
use model::{At, InstanceId, ServiceId, TenantId, ZoneId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::switchover::{self, Discovery};
use super::wave::{self, Part};
use super::{Means, fresh};
use crate::placement::{Layout, risk};
use crate::topology::{self, Snapshot};
use crate::world::World;

/// Version of these definitions.
pub const VERSION: u32 = 1;
/// Steps of an evacuation.
pub const EVACUATE: &[&str] = &["close_zone", "wave", "judge", "bench_zone"];
/// Steps of the way back.
pub const RESTORE: &[&str] = &["unbench_zone", "wave", "judge", "open_zone"];

/// Services asked at a time: each is a handful of connections that answer within milliseconds.
const ASKED_AT_ONCE: usize = 16;
/// Switchovers at once, of the whole batch.
const WAVE_MAX: usize = 10;
/// How long the first wave is watched before others follow, seconds.
const SOAK_S: u32 = 120;
/// Longest watch: an hour later nobody remembers what it was about.
const SOAK_S_MAX: u32 = 3_600;
/// Longest wave: its switchovers have deadlines of their own, and each may wait for its service's lock.
const WAVE_MS: i64 = 3_600_000;
/// A row in the store, or a setting on nodes.
const SET_MS: i64 = 60_000;
/// Share of a zone's instances that may be down in a zone that is called healthy.
const DOWN_MAX: f64 = 0.10;

/// Parameters of both kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Params {
    /// Only this tenant's services.
    tenant: Option<TenantId>,
    /// Only these.
    services: Vec<ServiceId>,
    /// Only of this class.
    class: Option<Class>,
    /// Switchovers at once.
    wave_max: usize,
    /// How long the first wave is watched.
    soak_s: u32,
    /// How clients of services find their master where nobody tells them.
    discovery: Option<Discovery>,
}

impl Default for Params {
    fn default() -> Params {
        Params {
            tenant: None,
            services: Vec::new(),
            class: None,
            wave_max: WAVE_MAX,
            soak_s: SOAK_S,
            discovery: None,
        }
    }
}

/// The steps a kind may have.
pub fn steps_of(kind: OperationKind) -> &'static [&'static str] {
    match kind {
        OperationKind::ZoneRestore => RESTORE,
        _ => EVACUATE,
    }
}

/// Makes the plan; `file` is what the zone is filed under.
pub async fn plan(
    world: &World,
    means: &Means<'_>,
    kind: OperationKind,
    file: &ServiceId,
    params: &Value,
    now: At,
) -> Result<Plan, Refusal> {
    let inventory = (world.inventory)();
    let zone = zone_of(file).filter(|z| inventory.zones.contains_key(z)).ok_or_else(|| {
        let known: Vec<&str> = inventory.zones.keys().map(ZoneId::as_str).collect();
        let why = format!("{file} is no zone; there are {}", known.join(", "));
        Refusal::new("params", file, why)
    })?;
    let params = read(kind, file, params)?;
    let evacuated = means.store(file)?.evacuations().await;
    let evacuated = evacuated.map_err(|e| Refusal::new("store", file, e.to_string()))?;
    let mut draft = Draft { world, inventory: &inventory, zone, params, now, out: Out::default() };
    draft.others_are_well()?;
    match kind {
        OperationKind::ZoneRestore => draft.restore(&evacuated).await?,
        _ => draft.evacuate(&evacuated).await?,
    }
    draft.plan(kind)
}

fn read(kind: OperationKind, file: &ServiceId, params: &Value) -> Result<Params, Refusal> {
    let no = |why: String| Refusal::new("params", file, format!("{}: {why}", kind.as_str()));
    let params: Params = match params {
        Value::Null => Params::default(),
        given => serde_json::from_value(given.clone()).map_err(|e| no(e.to_string()))?,
    };
    if !(1..=WAVE_MAX).contains(&params.wave_max) {
        return Err(no(format!("wave_max {}: allowed are 1 to {WAVE_MAX}", params.wave_max)));
    }
    if params.soak_s > SOAK_S_MAX {
        return Err(no(format!("soak_s {}: allowed are 0 to {SOAK_S_MAX}", params.soak_s)));
    }
    let filtered = params.tenant.is_some() || !params.services.is_empty() || params.class.is_some();
    if filtered && kind == OperationKind::ZoneRestore {
        return Err(no(
            "a zone is restored as a whole: leave tenant, services and class out".into()
        ));
    }
    Ok(params)
}

/// Why another zone than that one is not well now: too many of its instances are down.
pub(crate) fn unwell(world: &World, zone: &ZoneId) -> Option<String> {
    let mut seen: BTreeMap<ZoneId, (u32, u32)> = BTreeMap::new();
    for row in world.board.rows() {
        let (all, down) = seen.entry(row.instance.zone.clone()).or_default();
        *all += 1;
        *down += u32::from(row.verdict.is_down());
    }
    let ill =
        |(_, (all, down)): &(&ZoneId, &(u32, u32))| f64::from(*down) > DOWN_MAX * f64::from(*all);
    let (other, (all, down)) = seen.iter().filter(|(z, _)| *z != zone).find(ill)?;
    Some(format!("in zone {other} {down} of {all} instances are down"))
}

/// What a plan is put together from.
#[derive(Default)]
struct Out {
    parts: Vec<Part>,
    left: Vec<(ServiceId, String)>,
    benched: Vec<Bench>,
    checks: Vec<Checked>,
    identity: serde_json::Map<String, Value>,
}

struct Draft<'a> {
    world: &'a World,
    inventory: &'a Inventory,
    zone: ZoneId,
    params: Params,
    now: At,
    out: Out,
}

impl Draft<'_> {
    fn no(&self, check: &str, why: impl Into<String>) -> Refusal {
        Refusal::new(check, &self.zone, why.into())
    }

    fn saw(&mut self, check: &str, seen: impl Into<String>) {
        self.out.checks.push(Checked { check: check.into(), passed: true, seen: seen.into() });
    }

    fn others_are_well(&mut self) -> Result<(), Refusal> {
        if let Some(why) = unwell(self.world, &self.zone) {
            return Err(self.no("zones", format!("{why}: masters are not moved there")));
        }
        self.saw("zones", "no other zone has more than 10 % of its instances down");
        Ok(())
    }

    /// Services with a data node in the zone, as filtered.
    fn services(&self) -> Vec<ServiceId> {
        let here = self.inventory.instances.values();
        let here = here.filter(|i| i.kind == InstanceKind::Redis && i.zone == self.zone);
        let mut all: Vec<ServiceId> = here.map(|i| i.id.service()).collect();
        all.dedup();
        let p = &self.params;
        all.retain(|id| {
            let class = self.inventory.services.get(id).map(|s| s.class);
            p.tenant.as_ref().is_none_or(|t| id.tenant() == *t)
                && (p.services.is_empty() || p.services.contains(id))
                && (p.class.is_none() || p.class == class)
        });
        all
    }

    async fn snapshots(
        &self,
        services: Vec<ServiceId>,
    ) -> Vec<(ServiceId, Result<Snapshot, Refusal>)> {
        let mut all = Vec::new();
        for some in services.chunks(ASKED_AT_ONCE) {
            let ask = some.iter().map(|id| async move {
                let deadline = Instant::now() + fresh::LOOK;
                (id.clone(), topology::snapshot(self.world, id, deadline).await)
            });
            all.extend(join_all(ask).await);
        }
        all
    }

    async fn evacuate(&mut self, evacuated: &[Evacuation]) -> Result<(), Refusal> {
        if let Some(other) = evacuated.first() {
            let (zone, by) = (&other.zone, &other.operation);
            let why = format!("zone {zone} is evacuated (operation {by}): restore it first");
            return Err(self.no("evacuated", why));
        }
        for (id, seen) in self.snapshots(self.services()).await {
            match seen {
                Ok(snapshot) => self.leave(&snapshot),
                Err(refusal) => self.out.left.push((id, refusal.message)),
            }
        }
        if self.out.parts.is_empty() {
            let why = format!("no master of {} can be moved{}", self.zone, self.left_words());
            return Err(self.no("rows", why));
        }
        self.out.benched = self.to_bench().await?;
        Ok(())
    }

    fn left_words(&self) -> String {
        self.out.left.iter().map(|(id, why)| format!("; {id}: {why}")).collect()
    }

    /// Every master of the service in the zone goes out of it, or is left out with the reason.
    fn leave(&mut self, snapshot: &Snapshot) {
        if let Some(why) = breaks_anyway(self.inventory, snapshot) {
            self.out.left.push((snapshot.service.id.clone(), why));
            return;
        }
        let here = |id: &&&InstanceId| snapshot.place(id).is_some_and(|p| p.zone == self.zone);
        let masters: Vec<InstanceId> =
            snapshot.masters().iter().filter(here).map(|id| (*id).clone()).collect();
        for master in masters {
            let params = switchover::Params {
                shard: self.shard(snapshot, &master),
                avoid_zone: Some(self.zone.clone()),
                discovery: self.discovery(snapshot),
                ..switchover::Params::default()
            };
            self.row(snapshot, &params);
        }
    }

    fn shard(&self, snapshot: &Snapshot, id: &InstanceId) -> Option<u32> {
        let place = snapshot.place(id).filter(|_| snapshot.service.mode == Mode::Cluster);
        place.map(|p| p.shard)
    }

    fn discovery(&self, snapshot: &Snapshot) -> Option<Discovery> {
        self.params.discovery.filter(|_| snapshot.service.mode == Mode::Standalone)
    }

    /// A row as the switchover's own checks allow it; its target is fixed from here on.
    fn row(&mut self, snapshot: &Snapshot, params: &switchover::Params) {
        let service = &snapshot.service;
        let made = switchover::parts(snapshot, params, None);
        let (cast, _) = match made {
            Ok(parts) => parts,
            Err(refusal) => {
                self.out.left.push((service.id.clone(), refusal.message));
                return;
            }
        };
        let fixed = switchover::Params {
            target: Some(cast.target.clone()),
            discovery: params.discovery,
            ..switchover::Params::default()
        };
        let of = |id: &InstanceId| snapshot.place(id);
        let instance = self.inventory.instances.get(&cast.target);
        let host = instance.and_then(|i| i.host.as_ref()).map(ToString::to_string);
        let steps = switchover::steps(service.mode, &cast);
        let mut fleet: Vec<&str> = snapshot.sentinels.iter().map(|s| s.id.address()).collect();
        fleet.sort_unstable();
        self.out.identity.insert(cast.old.to_string(), switchover::identity(snapshot, &cast));
        self.out.parts.push(Part {
            tier: service.tier,
            zone_to: of(&cast.target).map(|p| p.zone.to_string()).unwrap_or_default(),
            host_to: host.unwrap_or_else(|| cast.target.host_port().0.to_string()),
            sentinels: fleet.join(","),
            commands: steps.into_iter().flat_map(|s| s.commands).collect(),
            row: Move {
                service: service.id.clone(),
                shard: of(&cast.old).map(|p| p.shard).unwrap_or_default(),
                from: cast.old,
                to: cast.target,
                params: serde_json::to_value(fixed).expect("parameters are plain data"),
            },
        });
    }

    /// Data nodes of the zone of the services that move, with what they have now; those that must
    /// never be promoted anyway stay as they are.
    async fn to_bench(&self) -> Result<Vec<Bench>, Refusal> {
        let mut all = Vec::new();
        let moved = |id: &ServiceId| self.out.parts.iter().any(|p| p.row.service == *id);
        let here = self.inventory.instances.values();
        let here = here.filter(|i| i.kind == InstanceKind::Redis && i.zone == self.zone);
        let here: Vec<&Instance> = here.filter(|i| moved(&i.id.service())).collect();
        for instance in here {
            let mode = self.inventory.services.get(&instance.id.service()).map(|s| s.mode);
            let (setting, wished) = wave::bench(mode);
            let saved =
                topology::setting(self.world, &instance.id, setting).await.map_err(|why| {
                    self.no("P1", format!("{} does not tell its {setting}: {why}", instance.id))
                })?;
            if saved != wished {
                let (id, setting) = (instance.id.clone(), setting.into());
                all.push(Bench { id, setting, saved });
            }
        }
        Ok(all)
    }

    async fn restore(&mut self, evacuated: &[Evacuation]) -> Result<(), Refusal> {
        let kept = evacuated.iter().find(|e| e.zone == self.zone);
        let kept = kept
            .ok_or_else(|| self.no("evacuated", format!("zone {} is not evacuated", self.zone)))?;
        self.out.benched.clone_from(&kept.benched);
        let mut services: Vec<ServiceId> = kept.homes.iter().map(|h| h.service.clone()).collect();
        services.dedup();
        for (id, seen) in self.snapshots(services).await {
            match seen {
                Ok(snapshot) => self.back(snapshot, kept),
                Err(refusal) => self.out.left.push((id, refusal.message)),
            }
        }
        Ok(())
    }

    /// Masters of the service return to where they were, unless they are there.
    fn back(&mut self, mut snapshot: Snapshot, kept: &Evacuation) {
        // Nobody there may be promoted now; they may when the waves begin.
        for bench in kept.benched.iter().filter(|b| b.setting == "replica-priority") {
            let node = snapshot.nodes.iter_mut().find(|n| n.id == bench.id);
            if let (Some(Ok(node)), Ok(saved)) =
                (node.map(|n| n.seen.as_mut()), bench.saved.parse())
                && node.master.is_some()
            {
                node.facts.values.set(Field::SlavePriority, saved);
            }
        }
        let id = snapshot.service.id.clone();
        for home in kept.homes.iter().filter(|h| h.service == id) {
            let master = snapshot.node(&home.from).is_some_and(|n| n.master.is_none());
            if master {
                continue;
            }
            let params = switchover::Params {
                target: Some(home.from.clone()),
                discovery: self.discovery(&snapshot),
                ..switchover::Params::default()
            };
            if snapshot.place(&home.from).is_none() {
                let why = format!("{} is no node of it any more", home.from);
                self.out.left.push((id.clone(), why));
                continue;
            }
            self.row(&snapshot, &params);
        }
    }

    fn plan(mut self, kind: OperationKind) -> Result<Plan, Refusal> {
        let (zone, file) = (self.zone.clone(), file_of(&self.zone));
        let parts = std::mem::take(&mut self.out.parts);
        let all = parts.len();
        let waves = wave::waves(parts, self.params.wave_max);
        let homes: Vec<Move> = waves.iter().flatten().map(|p| p.row.clone()).collect();
        self.saw("rows", format!("{all} masters move in {} waves", waves.len()));
        let left = self.out.left.clone();
        for (id, why) in &left {
            self.saw("left out", format!("{id}: {why}"));
        }
        let left: Vec<Value> =
            left.iter().map(|(id, why)| json!({ "service": id, "reason": why })).collect();
        let back = kind == OperationKind::ZoneRestore;
        let args = json!({
            "zone": zone, "homes": homes, "benched": self.out.benched, "left": left, "total": all,
        });
        let mut steps = vec![if back { self.unbench(&args) } else { self.close(&args) }];
        for (n, wave) in waves.iter().enumerate() {
            let seq = steps.len();
            steps.push(self.wave(n + 1, wave));
            let soak_s = if n == 0 && waves.len() > 1 { self.params.soak_s } else { 0 };
            steps.push(self.judge(n + 1, seq, soak_s, all));
        }
        steps.push(if back { self.open(&args) } else { self.bench(&args) });
        let title = match back {
            true => format!("Bring {all} masters back to zone {zone}"),
            false => format!("Move {all} masters out of zone {zone}"),
        };
        Ok(Plan {
            kind,
            kind_version: VERSION,
            service: file,
            params: serde_json::to_value(&self.params).expect("parameters are plain data"),
            title,
            blast_radius: format!(
                "{all} shards, at most {} at a time; writes of each stall as in a switchover of its \
                 own, and its clients reconnect",
                self.params.wave_max
            ),
            level: 3,
            confirm: zone.to_string(),
            world: Value::Object(self.out.identity),
            checks: self.out.checks,
            steps,
            // One zone is emptied or filled at a time.
            locks: vec!["evacuation".into()],
            made_at: self.now,
            expires_at: self.now + fresh::VALID_MS,
        })
    }

    fn step(&self, kind: &str, title: String, args: &Value, timeout_ms: i64) -> PlannedStep {
        PlannedStep {
            kind: kind.into(),
            target: self.zone.to_string(),
            title,
            args: args.clone(),
            commands: Vec::new(),
            timeout_ms,
            tries: 3,
            repeatable: true,
            point_of_no_return: false,
        }
    }

    fn close(&self, args: &Value) -> PlannedStep {
        let title = format!("Mark {} as evacuated: nothing is placed or promoted there", self.zone);
        let commands = vec![format!("inventory> zone {} evacuated", self.zone)];
        PlannedStep { commands, ..self.step("close_zone", title, args, SET_MS) }
    }

    fn open(&self, args: &Value) -> PlannedStep {
        let title = format!("Take the mark off {}", self.zone);
        let commands = vec![format!("inventory> zone {} open", self.zone)];
        PlannedStep { commands, ..self.step("open_zone", title, args, SET_MS) }
    }

    fn bench(&self, args: &Value) -> PlannedStep {
        let title = format!("Keep nodes of {} from being promoted", self.zone);
        let set = |b: &Bench| {
            let wished = if b.setting == "replica-priority" { "0" } else { "yes" };
            [format!("{}> CONFIG SET {} {wished}", b.id, b.setting), rewrite(b)]
        };
        let commands = self.out.benched.iter().flat_map(set).collect();
        PlannedStep { commands, ..self.step("bench_zone", title, args, SET_MS) }
    }

    fn unbench(&self, args: &Value) -> PlannedStep {
        let title = format!("Nodes of {} may be promoted again", self.zone);
        let set =
            |b: &Bench| [format!("{}> CONFIG SET {} {}", b.id, b.setting, b.saved), rewrite(b)];
        let commands = self.out.benched.iter().flat_map(set).collect();
        PlannedStep { commands, ..self.step("unbench_zone", title, args, SET_MS) }
    }

    fn wave(&self, n: usize, parts: &[Part]) -> PlannedStep {
        let names: Vec<String> =
            parts.iter().map(|p| format!("{} to {}", p.row.from, p.row.to)).collect();
        let rows: Vec<&Move> = parts.iter().map(|p| &p.row).collect();
        let args = json!({ "zone": self.zone, "wave": n, "rows": rows });
        let title = format!("Wave {n}: hand over {}", names.join(", "));
        PlannedStep {
            commands: parts.iter().flat_map(|p| p.commands.clone()).collect(),
            point_of_no_return: true,
            ..self.step("wave", title, &args, WAVE_MS)
        }
    }

    fn judge(&self, n: usize, seq: usize, soak_s: u32, total: usize) -> PlannedStep {
        let args = json!({
            "zone": self.zone, "wave": n, "seq": seq, "soak_s": soak_s, "total": total,
        });
        let title = match soak_s {
            0 => format!("Wave {n} is well, else a person is asked"),
            s => format!("Wave {n} is well for {s} s, else a person is asked"),
        };
        let timeout = SET_MS + i64::from(soak_s) * 1_000;
        PlannedStep { tries: 1, ..self.step("judge", title, &args, timeout) }
    }
}

fn rewrite(bench: &Bench) -> String {
    format!("{}> CONFIG REWRITE", bench.id)
}

/// Why the service would not survive the loss of the zone whoever is master: nothing is won by a move.
fn breaks_anyway(inventory: &Inventory, snapshot: &Snapshot) -> Option<String> {
    let layout = Layout::of_snapshot(inventory, snapshot)?;
    let found = risk::judge(&layout).findings;
    let quorum = ["masters_quorum", "sentinels_quorum", "quorum_too_high", "dead_sentinels"];
    found.into_iter().find(|f| quorum.contains(&f.rule.as_str())).map(|f| f.text)
}

//! Healthy things for tests to spoil: readings, inputs, rows and a small tree.

use std::sync::Arc;

use model::field::Field;
use model::inventory::Inventory;
use model::reading::{Facts, Failure, Reading, Reason, Role};
use model::row::Row;
use model::score::{Explained, Grade, Level};
use model::service::{Class, Instance, InstanceKind, Mode, Profile, Service, Tier};
use model::tenant::{Env, System, Tenant};
use model::verdict::Verdict;
use model::{At, InstanceId, ServiceId, SystemId, ZoneId};

use crate::inputs::{Alarms, Growth, Inputs, Seen};

pub(crate) const T0: At = At::from_ms(1_763_800_000_000);

pub(crate) fn id() -> InstanceId {
    InstanceId::parse("pay.cart@10.1.0.7:6379").unwrap()
}

/// A healthy master of a store with two required replicas: everything known, nothing lost.
pub(crate) fn healthy() -> Inputs {
    use Seen::Known;
    Inputs {
        verdict: Verdict::Up,
        role: Some(Role::Master),
        maxmemory_policy: "noeviction".into(),
        alarms: Alarms::default(),
        probes: Known((0, 20)),
        probe_p99_ms: Known(0.3),
        link_down_s: Seen::NotApplicable("not a replica"),
        lag_bytes: Seen::NotApplicable("not a replica"),
        backlog_bytes: Known(1e6),
        replicas_required: Known(2),
        replicas_healthy: Known(2),
        changes_24h: Known(0),
        persistence: Known(0),
        persists: Known(true),
        slots_unserved: Seen::NotApplicable("not a cluster"),
        pfail: false,
        used_memory_bytes: Known(1e9),
        maxmemory_bytes: Known(10e9),
        evicted: Known(0.0),
        evicted_24h: false,
        commands: Known(300_000.0),
        rss_bytes: Known(1.1e9),
        host_rss_bytes: Known(2e9),
        host_memory_bytes: Known(64e9),
        fragmentation: Known(1.05),
        fragmentation_bytes: Known(300e6),
        rss_ratio: Known(1.1),
        growth: Known(Growth { level_bytes: 1e9, bytes_per_day: 1e6 }),
        overhead_bytes: Known(1e8),
        cow_bytes: Known((1e7, false)),
        forks: Known(true),
        connected_clients: Known(100.0),
        maxclients: Known(10_000.0),
        rejected: Known(0.0),
        connections_per_s: Known(1.0),
        usual_clients: Known(100.0),
        client_memory_bytes: Known(1e6),
        buffer_disconnections: Known(0.0),
        blocked_clients: Known(0.0),
        slow_per_min: Known(0.0),
        slow_share: Known(0.0),
        slow_worst_ms: Known(0.0),
        slow_partial: false,
        slow_us: Vec::new(),
        slow_top: None,
        command_p99_ms: Known(0.2),
        cpu_ratio: Known(0.1),
        fork_s: Known(0.0),
        spikes_per_h: Known(0.0),
        slowlog_limit_ms: Known(10.0),
    }
}

/// A good reading with nothing in it but what every server says.
pub(crate) fn reading(at: At) -> Reading {
    let mut facts = Facts { role: Some(Role::Master), ..Facts::default() };
    facts.text.run_id = "r1".into();
    facts.text.version = "7.0.15".into();
    facts.text.maxmemory_policy = "noeviction".into();
    facts.slowlog = model::reading::Slowlog { len: Some(0.0), last_id: None, last_us: None };
    for (field, value) in [
        (Field::UptimeInSeconds, 1e6 + at.since_ms(T0) as f64 / 1000.0),
        (Field::UsedMemory, 1e6),
        (Field::UsedMemoryRss, 5e6),
        (Field::UsedMemoryOverhead, 9e5),
        (Field::UsedMemoryStartup, 8e5),
        (Field::TotalSystemMemory, 16e9),
        (Field::Maxmemory, 0.0),
        (Field::MemFragmentationRatio, 5.0),
        (Field::AllocatorFragRatio, 1.1),
        (Field::AllocatorFragBytes, 1e5),
        (Field::MemClientsNormal, 2e4),
        (Field::ConnectedClients, 3.0),
        (Field::BlockedClients, 0.0),
        (Field::Maxclients, 10_000.0),
        (Field::RejectedConnections, 0.0),
        (Field::TotalConnectionsReceived, 10.0),
        (Field::TotalCommandsProcessed, 1000.0),
        (Field::EvictedKeys, 0.0),
        (Field::ClientOutputBufferLimitDisconnections, 0.0),
        (Field::TotalErrorReplies, 0.0),
        (Field::UsedCpuSys, 10.0),
        (Field::UsedCpuUser, 10.0),
        (Field::UsedCpuSysMainThread, 10.0),
        (Field::UsedCpuUserMainThread, 10.0),
        (Field::AofEnabled, 0.0),
        (Field::AofLastWriteStatus, 1.0),
        (Field::AofLastBgrewriteStatus, 1.0),
        (Field::RdbLastBgsaveStatus, 1.0),
        (Field::LatestForkUsec, 0.0),
        (Field::ReplBacklogSize, 1e6),
        (Field::Loading, 0.0),
    ] {
        facts.values.set(field, value);
    }
    Reading {
        at,
        began: at - 2,
        up: true,
        failure: None,
        ping_us: Some(300),
        duration_us: 1500,
        connect_us: 400,
        failed_in_row: 0,
        interval_ms: 15_000,
        facts,
    }
}

/// A failed poll.
pub(crate) fn failed(at: At, reason: Reason, in_row: u32) -> Reading {
    Reading {
        up: false,
        ping_us: None,
        failed_in_row: in_row,
        failure: Some(Failure { reason, detail: String::new() }),
        facts: Facts::default(),
        ..reading(at)
    }
}

pub(crate) fn service(id: &str, system: &str, tier: Tier, mode: Mode, replicas: u32) -> Service {
    Service {
        id: ServiceId::parse(id).unwrap(),
        system: SystemId::parse(system).unwrap(),
        display: id.into(),
        tier,
        class: Class::Single,
        mode,
        profile: Profile::Store,
        profile_from: Default::default(),
        managed: false,
        sentinel_master: "mymaster".into(),
        replicas_wanted: replicas,
        auth_user: String::new(),
        has_password: false,
        access: Default::default(),
    }
}

pub(crate) fn instance(service: &str, address: &str, zone: &str, shard: u32) -> Instance {
    Instance {
        id: InstanceId::parse(&format!("{service}@{address}")).unwrap(),
        kind: InstanceKind::Redis,
        zone: ZoneId::parse(zone).unwrap(),
        host: None,
        shard,
    }
}

/// A score as `explain` would leave it; none: "?".
pub(crate) fn scored(id: &str, score: Option<f64>) -> Explained {
    Explained {
        level: Level::Instance,
        id: id.into(),
        at: T0,
        score,
        raw: score,
        grade: score.map_or(Grade::Unknown, crate::grade::band),
        grade_since: T0,
        confidence: if score.is_some() { 1.0 } else { 0.0 },
        reason: if score.is_some() { String::new() } else { "auth".into() },
        ..Explained::default()
    }
}

/// A row; `score` none makes it unknown, 0 makes it down.
pub(crate) fn row(instance: &Instance, role: Role, score: Option<f64>) -> Row {
    let mut good = reading(T0);
    good.facts.role = Some(role);
    good.facts.values.set(Field::MasterLinkStatus, 1.0);
    good.facts.values.set(Field::SlavePriority, 100.0);
    let good = Arc::new(good);
    let (verdict, latest) = match score {
        None => (Verdict::Unknown("auth".into()), Arc::new(failed(T0, Reason::Auth, 3))),
        Some(0.0) => (Verdict::Down("gone".into()), Arc::new(failed(T0, Reason::Refused, 3))),
        Some(_) => (Verdict::Up, good.clone()),
    };
    Row {
        role_since: Some(T0),
        score: Some(Arc::new(scored(instance.id.as_str(), score))),
        instance: Arc::new(instance.clone()),
        reading: latest,
        last_good: Some(good),
        verdict,
    }
}

/// A tree under construction: services with their rows.
#[derive(Default)]
pub(crate) struct Tree {
    pub inventory: Inventory,
    pub rows: Vec<Arc<Row>>,
}

impl Tree {
    pub fn service(&mut self, service: Service) {
        let tenant = service.id.tenant();
        let system = service.system.clone();
        let row = Tenant { id: tenant.clone(), display: String::new(), networks: Vec::new() };
        self.inventory.tenants.insert(tenant, row);
        let row = System {
            id: system.clone(),
            display: String::new(),
            env: Env::Prod,
            owner: String::new(),
            cmdb: String::new(),
        };
        self.inventory.systems.insert(system, row);
        self.inventory.services.insert(service.id.clone(), service);
    }

    /// Adds an instance with its row.
    pub fn node(&mut self, instance: Instance, role: Role, score: Option<f64>) {
        self.rows.push(Arc::new(row(&instance, role, score)));
        self.expect(instance);
    }

    /// Adds an instance that was never polled.
    pub fn expect(&mut self, instance: Instance) {
        self.inventory.instances.insert(instance.id.clone(), instance);
    }

    /// A service of one standalone master.
    pub fn single(&mut self, id: &str, system: &str, tier: Tier, score: Option<f64>) {
        self.service(service(id, system, tier, Mode::Standalone, 0));
        self.node(instance(id, "10.0.0.1:6379", "az-1", 0), Role::Master, score);
    }

    /// Rolls up from nothing remembered.
    pub fn rollup(&self) -> model::board::Rollup {
        crate::rollup(
            &self.inventory,
            &crate::Policies::default(),
            &self.rows,
            &mut crate::RollupMemory::default(),
            T0,
        )
    }
}

/// Score + bars + points of gates, which must be 100 exactly; in hundredths.
pub(crate) fn sum(explained: &Explained) -> i64 {
    let cents = |points: f64| (points * 100.0).round() as i64;
    let bars: i64 = explained.bars.iter().map(|b| cents(b.points)).sum();
    let gates: i64 = explained.gates.iter().map(|g| cents(g.points)).sum();
    bars + gates + cents(explained.score.expect("has a score"))
}

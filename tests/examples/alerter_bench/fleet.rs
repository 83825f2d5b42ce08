//! Ten thousand instances on a common day: everything well, counters growing.

use std::collections::BTreeMap;
use std::sync::Arc;

use alerter::{Cell, Ground, Plan, evaluate};
use model::field::Field;
use model::inventory::Inventory;
use model::policy::PolicyDoc;
use model::reading::{Facts, Reading, Role};
use model::row::Row;
use model::service::{Instance, InstanceKind, Service};
use model::tenant::{Env, System};
use model::verdict::Verdict;
use model::{At, InstanceId};

pub const INSTANCES: usize = 10_000;
pub const INTERVAL_MS: i64 = 15_000;
pub const T0: At = At::from_ms(1_763_800_000_000);

/// `n` instances, two a service, ten services a system, twenty tenants.
pub fn inventory(n: usize) -> Inventory {
    let mut inventory = Inventory::default();
    for i in 0..n {
        let (tenant, service) = (i / 2 % 20, i / 2);
        let system = System {
            id: format!("t{tenant}.y{}", service / 10).parse().expect("an id"),
            display: String::new(),
            env: Env::Prod,
            owner: String::new(),
            cmdb: String::new(),
        };
        let id = format!("t{tenant}.s{service}@10.{}.{}.{}:6379", i >> 16, i >> 8 & 255, i & 255);
        let id: InstanceId = id.parse().expect("an id");
        let service = Service {
            id: id.service(),
            system: system.id.clone(),
            display: String::new(),
            tier: Default::default(),
            class: Default::default(),
            mode: Default::default(),
            profile: Default::default(),
            profile_from: Default::default(),
            managed: false,
            sentinel_master: String::new(),
            replicas_wanted: 1,
            auth_user: String::new(),
            has_password: false,
            access: Default::default(),
        };
        let zone = format!("az-{}", i % 3 + 1).parse().expect("an id");
        let instance =
            Instance { id: id.clone(), kind: InstanceKind::Redis, zone, host: None, shard: 0 };
        inventory.systems.insert(system.id.clone(), system);
        inventory.services.insert(service.id.clone(), service);
        inventory.instances.insert(id, instance);
    }
    inventory
}

/// The series of the toy page, as rules name them.
pub const SERIES: [&str; 21] = [
    "redis_up",
    "redis_exporter_last_scrape_duration_seconds",
    "redis_uptime_in_seconds",
    "redis_loading_dump_file",
    "redis_memory_used_bytes",
    "redis_memory_max_bytes",
    "redis_mem_fragmentation_ratio",
    "redis_connected_clients",
    "redis_max_clients",
    "redis_rejected_connections_total",
    "redis_client_output_buffer_limit_disconnections_total",
    "redis_acl_access_denied_auth_total",
    "redis_master_link_up",
    "redis_replica_resyncs_full",
    "redis_rdb_last_bgsave_status",
    "redis_aof_last_write_status",
    "redis_aof_enabled",
    "redis_cpu_sys_seconds_total",
    "redis_cpu_user_seconds_total",
    "redis_slowlog_last_id",
    "redis_connections_received_total",
];

/// Value of a series of instance `i` after `s` seconds.
pub fn value(series: &str, i: usize, s: f64) -> f64 {
    match series {
        "redis_exporter_last_scrape_duration_seconds" => 0.001,
        "redis_uptime_in_seconds" => 1e6 + s,
        "redis_loading_dump_file" | "redis_rejected_connections_total" => 0.0,
        "redis_client_output_buffer_limit_disconnections_total" => 0.0,
        "redis_acl_access_denied_auth_total" | "redis_replica_resyncs_full" => 1.0,
        "redis_memory_used_bytes" => 4e9 + (i % 97) as f64 * 1e6 + s * 100.0,
        "redis_memory_max_bytes" => 10e9,
        "redis_mem_fragmentation_ratio" => 1.1,
        "redis_connected_clients" => 500.0 + (i % 13) as f64,
        "redis_max_clients" => 10_000.0,
        "redis_cpu_sys_seconds_total" | "redis_cpu_user_seconds_total" => s * 0.1,
        "redis_slowlog_last_id" => 1000.0 + (s * 0.01).floor(),
        "redis_connections_received_total" => 1e4 + s,
        _ => 1.0,
    }
}

/// A sample of an instance.
pub fn row(instance: &Arc<Instance>, i: usize, at: At) -> Row {
    let s = at.since_ms(T0) as f64 / 1000.0;
    let mut facts = Facts { role: Some(Role::Master), ..Facts::default() };
    for name in SERIES {
        if let Some(field) = Field::by_metric(name) {
            facts.values.set(field, value(name, i, s));
        }
    }
    for (field, value) in [
        (Field::KeyspaceHits, 1e6 + 300.0 * s),
        (Field::KeyspaceMisses, 1e5 + 20.0 * s),
        (Field::EvictedKeys, 0.0),
        (Field::BlockedClients, 0.0),
        (Field::ConnectedSlaves, 1.0),
        (Field::LatestForkUsec, 0.02),
        (Field::RdbChangesSinceLastSave, 1.0),
        (Field::RdbLastSaveTime, T0.seconds()),
        (Field::UsedMemoryRss, 5e9),
        (Field::TotalSystemMemory, 64e9),
    ] {
        facts.values.set(field, value);
    }
    facts.slowlog.last_id = Some(value("redis_slowlog_last_id", i, s));
    facts.errors.push(("ERR".into(), 10.0));
    let reading = Arc::new(Reading {
        at,
        began: at - 2,
        up: true,
        failure: None,
        ping_us: Some(300),
        duration_us: 1500,
        connect_us: 400,
        failed_in_row: 0,
        interval_ms: INTERVAL_MS as u32,
        facts,
    });
    Row {
        role_since: None,
        instance: instance.clone(),
        last_good: Some(reading.clone()),
        reading,
        verdict: Verdict::Up,
        score: None,
    }
}

/// A fleet under policies.
pub struct Judged {
    pub plan: Plan,
    instances: Vec<Arc<Instance>>,
}

impl Judged {
    pub fn new(docs: &[PolicyDoc]) -> Judged {
        let inventory = inventory(INSTANCES);
        let external = Arc::new(BTreeMap::new());
        let ground = Ground {
            inventory: &inventory,
            docs,
            external: &external,
            interval_ms: INTERVAL_MS,
            dialect: Default::default(),
        };
        let plan = Plan::build(&ground, |_| Arc::new(std::sync::Mutex::new(Cell::default())));
        assert!(plan.problems.is_empty(), "{:?}", plan.problems);
        let instances = inventory.instances.into_values().map(Arc::new).collect();
        Judged { plan, instances }
    }

    /// Samples of all at `at`, ready to be judged.
    pub fn rows(&self, at: At) -> Vec<Row> {
        self.instances.iter().enumerate().map(|(i, instance)| row(instance, i, at)).collect()
    }

    /// Judges them; answers the milliseconds of CPU it took this thread.
    pub fn judge(&self, rows: &[Row]) -> f64 {
        let start = cpu_ms();
        for row in rows {
            let slot = &self.plan.slots[&row.instance.id];
            let mut cell = slot.cell.lock().expect("no panic");
            let changes = evaluate(slot, &mut cell, row, row.reading.at).expect("newer");
            assert!(changes.iter().all(|c| c.identity.level == model::policy::AlertLevel::Info));
        }
        cpu_ms() - start
    }

    /// Memory of all windows, bytes.
    pub fn window_bytes(&self) -> usize {
        let bytes = |slot: &alerter::Slot| slot.cell.lock().expect("no panic").window_bytes();
        self.plan.slots.values().map(bytes).sum()
    }
}

/// CPU time of this thread in ms: other work on the machine does not count.
pub fn cpu_ms() -> f64 {
    // The kernel books the time of a running thread when it passes through the scheduler.
    std::thread::yield_now();
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with schedstat");
    let ns = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    ns.expect("starts with nanoseconds on CPU") / 1e6
}

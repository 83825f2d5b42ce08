//! What judging costs: one JSON line per figure.
//!
//! Invariant: one thread, data made here, nothing polled; every fiftieth instance has something to
//! explain, as in a fleet on a common day. Figures are printed, never asserted.

use std::sync::Arc;

use model::field::Field;
use model::inventory::Inventory;
use model::reading::{Facts, Reading, Role};
use model::row::Row;
use model::service::{Class, Instance, InstanceKind, Mode, Profile, Service, Tier};
use model::tenant::{Env, System, Tenant};
use model::verdict::Verdict;
use model::{At, InstanceId, ServiceId, SystemId, TenantId, ZoneId};
use scorer::forecast::{Peak, forecast};
use scorer::{
    Around, Inputs, Load, Policies, Policy, RollupMemory, Sticky, Window, explain, inputs,
    lose_zone, rollup,
};

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const INSTANCES: usize = 10_000;
const ROUNDS: usize = 15;
const T0: At = At::from_ms(1_763_800_000_000);

/// Everything the watch task of one instance holds.
struct Watched {
    service: Service,
    instance: Arc<Instance>,
    window: Window,
    reading: Arc<Reading>,
    sticky: Sticky,
}

fn reading(at: At, role: Role, i: usize) -> Reading {
    let mut facts = Facts { role: Some(role), ..Facts::default() };
    facts.text.run_id = format!("run-{i}");
    facts.text.version = "7.0.15".into();
    facts.text.maxmemory_policy = "noeviction".into();
    facts.slowlog.len = Some(0.0);
    let poll = at.since_ms(T0) as f64 / 1000.0;
    let used = if i % 50 == 7 { 9.1e9 } else { 4e9 };
    let values = [
        (Field::UptimeInSeconds, 1e6 + poll),
        (Field::UsedMemory, used),
        (Field::Maxmemory, 10e9),
        (Field::UsedMemoryRss, used * 1.1),
        (Field::UsedMemoryOverhead, 2e8),
        (Field::UsedMemoryStartup, 1e6),
        (Field::TotalSystemMemory, 64e9),
        (Field::MemFragmentationRatio, 1.1),
        (Field::AllocatorFragRatio, 1.05),
        (Field::AllocatorFragBytes, 1e8),
        (Field::MemClientsNormal, 1e6),
        (Field::ConnectedClients, 500.0),
        (Field::BlockedClients, 0.0),
        (Field::Maxclients, 10_000.0),
        (Field::RejectedConnections, 0.0),
        (Field::TotalConnectionsReceived, 1e4 + poll),
        (Field::TotalCommandsProcessed, 1e9 + 2e4 * poll),
        (Field::EvictedKeys, 0.0),
        (Field::TotalErrorReplies, 0.0),
        (Field::ClientOutputBufferLimitDisconnections, 0.0),
        (Field::UsedCpuSysMainThread, 0.1 * poll),
        (Field::UsedCpuUserMainThread, 0.1 * poll),
        (Field::UsedCpuSys, 0.1 * poll),
        (Field::UsedCpuUser, 0.1 * poll),
        (Field::AofLastWriteStatus, 1.0),
        (Field::AofLastBgrewriteStatus, 1.0),
        (Field::RdbLastBgsaveStatus, 1.0),
        (Field::LatestForkUsec, 0.02),
        (Field::ReplBacklogSize, 1e6),
        (Field::MasterLinkStatus, 1.0),
        (Field::SlavePriority, 100.0),
        (Field::Loading, 0.0),
    ];
    values.into_iter().for_each(|(field, value)| facts.values.set(field, value));
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

fn service(n: usize) -> Service {
    let (tenant, system) = (n % 20, n % 200);
    Service {
        id: ServiceId::parse(&format!("t{tenant}.s{n}")).expect("a valid id"),
        system: SystemId::parse(&format!("t{tenant}.y{system}")).expect("a valid id"),
        display: String::new(),
        tier: [Tier::Core, Tier::Important, Tier::General, Tier::Test][n % 4],
        class: Class::Zone,
        mode: Mode::Standalone,
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

/// Services of a master and a replica, with a full window each.
fn fleet() -> (Inventory, Vec<Watched>) {
    let mut inventory = Inventory::default();
    let mut fleet = Vec::with_capacity(INSTANCES);
    for n in 0..INSTANCES / 2 {
        let service = service(n);
        add_owners(&mut inventory, &service);
        for (k, role) in [Role::Master, Role::Replica].into_iter().enumerate() {
            let i = 2 * n + k;
            let address = format!("10.{}.{}.{}:6379", i / 65_536, i / 256 % 256, i % 256);
            let instance = Instance {
                id: InstanceId::new(&service.id, &address).expect("a valid address"),
                kind: InstanceKind::Redis,
                zone: ZoneId::parse(&format!("az-{}", i % 3 + 1)).expect("a valid id"),
                host: None,
                shard: 0,
            };
            inventory.instances.insert(instance.id.clone(), instance.clone());
            let mut window = Window::new(300);
            let at = |poll: i64| T0 + poll * 15_000;
            (0..20).for_each(|poll| window.push(&reading(at(poll), role, i)));
            fleet.push(Watched {
                service: service.clone(),
                instance: Arc::new(instance),
                window,
                reading: Arc::new(reading(at(19), role, i)),
                sticky: Sticky::default(),
            });
        }
        inventory.services.insert(service.id.clone(), service);
    }
    (inventory, fleet)
}

fn add_owners(inventory: &mut Inventory, service: &Service) {
    let tenant: TenantId = service.id.tenant();
    let row = Tenant { id: tenant.clone(), display: String::new(), networks: Vec::new() };
    inventory.tenants.insert(tenant, row);
    let row = System {
        id: service.system.clone(),
        display: String::new(),
        env: Env::Prod,
        owner: String::new(),
        cmdb: String::new(),
    };
    inventory.systems.insert(service.system.clone(), row);
}

fn collect(watched: &Watched, now: At) -> Inputs {
    let around = Around {
        service: &watched.service,
        instance: &watched.instance,
        verdict: &Verdict::Up,
        lag_bytes: Some(0.0),
        healthy_replicas: Some(1),
        required_replicas: 1,
        masters_in_group: 1,
        host_memory: None,
        slowlog_limit_ms: Some(10.0),
        past: Default::default(),
    };
    inputs(&watched.window, &watched.reading, None, &around, now)
}

fn rescore(fleet: &mut [Watched], policy: &Policy, now: At) -> Vec<Arc<Row>> {
    let row = |watched: &mut Watched| {
        let inputs = collect(watched, now);
        let score = explain(&inputs, policy, &watched.instance.id, &mut watched.sticky, now);
        Arc::new(Row {
            role_since: None,
            instance: watched.instance.clone(),
            reading: watched.reading.clone(),
            last_good: Some(watched.reading.clone()),
            verdict: Verdict::Up,
            score: Some(Arc::new(score)),
        })
    };
    fleet.iter_mut().map(row).collect()
}

/// CPU time of this thread in ms: other work on the machine does not count.
fn cpu_ms() -> f64 {
    // The kernel books the time of a running thread when it passes through the scheduler.
    std::thread::yield_now();
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with schedstat");
    let ns = text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok());
    ns.expect("starts with nanoseconds on CPU") / 1e6
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// A figure: `value` should not exceed `gate`; half of it is what we would like.
fn print(id: &str, value: f64, unit: &str, gate: f64, context: &str) {
    let (pass, stretch) = (value <= gate, gate / 2.0);
    println!(
        r#"{{"id":"{id}","value":{value:.3},"unit":"{unit}","gate":{gate},"stretch":{stretch},"pass":{pass},"context":"{context}"}}"#
    );
}

fn main() {
    let (inventory, mut fleet) = fleet();
    let policy = Policy::for_profile(Profile::Store);
    let policies = Policies::default();
    let (mut whole, mut up, mut still) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory = RollupMemory::default();
    for round in 0..ROUNDS as i64 {
        let now = T0 + 19 * 15_000 + round * 15_000 / ROUNDS as i64;
        let start = cpu_ms();
        let rows = rescore(&mut fleet, &policy, now);
        let scored = cpu_ms();
        let out = rollup(&inventory, &policies, &rows, &mut memory, now);
        let end = cpu_ms();
        assert!(out.levels.len() > INSTANCES, "5000 shards, 5000 services and what is above them");
        rollup(&inventory, &policies, &rows, &mut memory, now + 1);
        still.push(cpu_ms() - end);
        whole.push(end - start);
        up.push(end - scored);
    }
    let size = "10000 instances, 5000 services, 200 systems, 20 tenants, CPU time of one thread, median of 15";
    print("S-rescore", median(whole), "ms", 100.0, &format!("inputs, explain and roll-up; {size}"));
    print("S-rollup", median(up), "ms", 100.0, &format!("roll-up alone, every row new; {size}"));
    print(
        "S-rollup-still",
        median(still),
        "ms",
        100.0,
        &format!("roll-up, no row changed; {size}"),
    );
    explain_alone(&mut fleet, &policy);
    zone_loss(&inventory, &rescore(&mut fleet, &policy, T0 + 21 * 15_000));
    forecasts();
}

/// Half of the fleet is what is promised; a third of it stands in the zone.
fn zone_loss(inventory: &Inventory, rows: &[Arc<Row>]) {
    let zone = ZoneId::parse("az-1").expect("a valid id");
    let mut half = inventory.clone();
    let kept: Vec<_> = inventory.services.keys().take(INSTANCES / 4).cloned().collect();
    half.services.retain(|id, _| kept.binary_search(id).is_ok());
    half.instances.retain(|id, _| half.services.contains_key(&id.service()));
    let rows: Vec<Arc<Row>> =
        rows.iter().filter(|r| half.instances.contains_key(&r.instance.id)).cloned().collect();
    let once = |_| {
        let start = cpu_ms();
        std::hint::black_box(lose_zone(
            &half,
            &Policies::default(),
            &rows,
            &zone,
            &|_| Load::default(),
            T0,
        ));
        cpu_ms() - start
    };
    let size = format!("{} instances, CPU time of one thread, median of 15", rows.len());
    print("S-zone-loss", median((0..ROUNDS).map(once).collect()), "ms", 2000.0, &size);
}

/// 28 days with a step, a spike and noise.
fn forecasts() {
    let day = |n: i64| {
        let noise = (n * 7919 % 100) as f64 * 1e6;
        let step = if n > 14 { 1e9 } else { 0.0 };
        let spike = if n == 20 { 2e9 } else { 0.0 };
        Peak { day: 20_000 + n, value: 4e9 + 1e8 * n as f64 + noise + step + spike }
    };
    let peaks: Vec<Peak> = (0..28).map(day).collect();
    let once = |_| {
        let start = cpu_ms();
        for n in 0..10_000 {
            let limit = 10e9 + f64::from(n);
            std::hint::black_box(forecast(&peaks, limit, 20_028.5)).expect("28 days");
        }
        cpu_ms() - start
    };
    let size = "10000 forecasts over 28 days, CPU time of one thread, median of 15";
    print("S-forecast", median((0..ROUNDS).map(once).collect()), "ms", 2000.0, size);
}

fn explain_alone(fleet: &mut [Watched], policy: &Policy) {
    let now = T0 + 20 * 15_000;
    for (id, which, context) in [
        ("S-explain-healthy", 0, "explain one instance that loses nothing"),
        ("S-explain-losing", 7, "explain one instance with bars and suggestions"),
    ] {
        let watched = &mut fleet[which];
        let inputs = collect(watched, now);
        let once = |sticky: &mut Sticky, id: &InstanceId| {
            let start = cpu_ms();
            for _ in 0..10_000 {
                std::hint::black_box(explain(&inputs, policy, id, sticky, now));
            }
            (cpu_ms() - start) / 10.0
        };
        let rounds = (0..ROUNDS).map(|_| once(&mut watched.sticky, &watched.instance.id));
        print(id, median(rounds.collect()), "us", 50.0, context);
    }
}

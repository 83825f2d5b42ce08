//! What a round of roll-ups takes from the heap. Alone in its program: the allocator counts everything.

#![allow(clippy::unwrap_used, reason = "a helper of tests may panic as a test may")]

use std::sync::Arc;

use model::At;
use model::inventory::Inventory;
use model::reading::{Facts, Reading, Role};
use model::row::Row;
use model::score::{Explained, Grade};
use model::service::{Class, Instance, InstanceKind, Mode, Profile, Service, Tier};
use model::tenant::{Env, System, Tenant};
use model::verdict::Verdict;
use scorer::{Policies, RollupMemory, rollup};

#[global_allocator]
static ALLOCATOR: dhat::Alloc = dhat::Alloc;

const T0: At = At::from_ms(1_763_800_000_000);

/// That many services of one node, in ten systems of one tenant.
fn fleet(services: usize) -> (Inventory, Vec<Arc<Row>>) {
    let (mut inventory, mut rows) = (Inventory::default(), Vec::new());
    let tenant = Tenant { id: "pay".parse().unwrap(), display: String::new(), networks: vec![] };
    inventory.tenants.insert(tenant.id.clone(), tenant);
    for n in 0..services {
        let service = service(n);
        let system = System {
            id: service.system.clone(),
            display: String::new(),
            env: Env::Prod,
            owner: String::new(),
            cmdb: String::new(),
        };
        inventory.systems.insert(system.id.clone(), system);
        let instance = Instance {
            id: format!("{}@10.0.0.1:6379", service.id).parse().unwrap(),
            kind: InstanceKind::Redis,
            zone: "az-1".parse().unwrap(),
            host: None,
            shard: 0,
        };
        rows.push(Arc::new(row(&instance)));
        inventory.instances.insert(instance.id.clone(), instance);
        inventory.services.insert(service.id.clone(), service);
    }
    (inventory, rows)
}

fn service(n: usize) -> Service {
    Service {
        id: format!("pay.s{n:05}").parse().unwrap(),
        system: format!("pay.y{}", n % 10).parse().unwrap(),
        display: String::new(),
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
    }
}

fn row(instance: &Instance) -> Row {
    let reading = Arc::new(Reading {
        at: T0,
        began: T0,
        up: true,
        failure: None,
        ping_us: Some(300),
        duration_us: 1500,
        connect_us: 400,
        failed_in_row: 0,
        interval_ms: 15_000,
        facts: Facts { role: Some(Role::Master), ..Facts::default() },
    });
    let score = Explained {
        id: instance.id.to_string(),
        at: T0,
        score: Some(100.0),
        raw: Some(100.0),
        grade: Grade::A,
        grade_since: T0,
        confidence: 1.0,
        ..Explained::default()
    };
    Row {
        instance: Arc::new(instance.clone()),
        reading: reading.clone(),
        last_good: Some(reading),
        role_since: Some(T0),
        verdict: Verdict::Up,
        score: Some(Arc::new(score)),
    }
}

/// Blocks taken by a round in which no row changed.
fn blocks(services: usize) -> u64 {
    let (inventory, rows) = fleet(services);
    let mut memory = RollupMemory::default();
    // The grade settles with the second.
    for round in 0..2 {
        rollup(&inventory, &Policies::default(), &rows, &mut memory, T0 + round * 1_000);
    }
    let before = dhat::HeapStats::get().total_blocks;
    let out = rollup(&inventory, &Policies::default(), &rows, &mut memory, T0 + 2_000);
    let taken = dhat::HeapStats::get().total_blocks - before;
    assert_eq!(out.levels.len(), 2 * services + 12);
    taken
}

#[test]
fn a_row_that_did_not_change_takes_nothing_from_the_heap() {
    let _profiler = dhat::Profiler::builder().testing().build();
    let (few, many) = (blocks(1_000), blocks(4_000));
    // Lists that grow do so a few times more.
    assert!(many < few + 300, "{few} blocks for 1000 rows, {many} for 4000");
}

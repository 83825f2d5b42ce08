//! What must hold for any raw inputs, from the values of a server to the waterfall.

use super::*;

/// An input: how it is set, its healthy value, its worst one, and whether it may have no meaning.
type Field = (&'static str, fn(&mut Inputs, Seen<f64>), f64, f64, bool);

/// Every input by which a score can fall. Values in between are mixed from both ends.
const FIELDS: [Field; 29] = [
    ("probes", |i, v| i.probes = v.map(|n| (n as u32, 100)), 0.0, 100.0, false),
    ("probe_p99_ms", |i, v| i.probe_p99_ms = v, 0.3, 300.0, false),
    ("link_down_s", |i, v| i.link_down_s = v, 0.0, 400.0, true),
    ("lag_bytes", |i, v| i.lag_bytes = v, 0.0, 3e6, true),
    ("replicas", |i, v| i.replicas_healthy = v.map(|n| n.round() as u32), 2.0, 0.0, true),
    ("changes_24h", |i, v| i.changes_24h = v.map(|n| n as u32), 0.0, 8.0, false),
    ("persistence", |i, v| i.persistence = v.map(|n| n as u8), 0.0, 3.0, true),
    ("slots_unserved", |i, v| i.slots_unserved = v, 0.0, 2_000.0, true),
    ("used_memory_bytes", |i, v| i.used_memory_bytes = v, 1e8, 11e9, false),
    ("evicted", |i, v| i.evicted = v, 0.0, 30_000.0, false),
    ("rss_bytes", |i, v| i.rss_bytes = v, 1e9, 70e9, false),
    ("host_rss_bytes", |i, v| i.host_rss_bytes = v, 2e9, 70e9, false),
    ("fragmentation", |i, v| i.fragmentation = v, 1.0, 3.5, true),
    ("fragmentation_bytes", |i, v| i.fragmentation_bytes = v, 0.0, 1e9, true),
    ("rss_ratio", |i, v| i.rss_ratio = v, 1.1, 0.85, true),
    ("growth", |i, v| i.growth = v.map(growth), 0.0, 5e9, true),
    ("overhead_bytes", |i, v| i.overhead_bytes = v, 1e8, 6e9, false),
    ("cow_bytes", |i, v| i.cow_bytes = v.map(|n| (n, false)), 1e7, 70e9, false),
    ("connected_clients", |i, v| i.connected_clients = v, 100.0, 11_000.0, false),
    ("rejected", |i, v| i.rejected = v, 0.0, 12.0, false),
    ("connections_per_s", |i, v| i.connections_per_s = v, 1.0, 1_200.0, false),
    ("client_memory_bytes", |i, v| i.client_memory_bytes = v, 1e6, 3e9, true),
    ("buffer_disconnections", |i, v| i.buffer_disconnections = v, 0.0, 3.0, true),
    ("slow_per_min", |i, v| i.slow_per_min = v, 0.0, 400.0, false),
    ("slow_share", |i, v| i.slow_share = v, 0.0, 0.3, false),
    ("slow_worst_ms", |i, v| i.slow_worst_ms = v, 20.0, 3_000.0, false),
    ("command_p99_ms", |i, v| i.command_p99_ms = v, 0.2, 120.0, true),
    ("cpu_ratio", |i, v| i.cpu_ratio = v, 0.1, 1.1, false),
    ("fork_s", |i, v| i.fork_s = v, 0.0, 2.5, false),
];

fn growth(bytes_per_day: f64) -> Growth {
    Growth { level_bytes: 5e9, bytes_per_day }
}

/// How an input is seen, from one random number: mostly known, now and then not.
#[derive(Debug, Clone, Copy)]
enum Look {
    Known(f64),
    Unknown,
    Meaningless,
}

fn looks() -> impl Strategy<Value = Vec<Look>> {
    let look = prop_oneof![
        4 => (0.0..1.0f64).prop_map(Look::Known),
        4 => Just(Look::Known(0.0)),
        1 => Just(Look::Known(1.0)),
        1 => Just(Look::Unknown),
        1 => Just(Look::Meaningless),
    ];
    proptest::collection::vec(look, FIELDS.len())
}

/// What no field says: alarms, profile, eviction policy, suspected slots, blocked clients.
type World = ([bool; 6], u8, bool, bool, f64);

fn world() -> impl Strategy<Value = World> {
    let alarm = prop_oneof![9 => Just(false), 1 => Just(true)];
    let alarms = proptest::array::uniform6(alarm);
    (alarms, 0..4u8, any::<bool>(), any::<bool>(), 0.0..0.6f64)
}

fn seen(field: &Field, look: Look) -> Seen<f64> {
    let (_, _, healthy, worst, optional) = field;
    match look {
        Look::Known(t) => Seen::Known(healthy + t * (worst - healthy)),
        Look::Meaningless if *optional => Seen::NotApplicable("not here"),
        Look::Meaningless => Seen::Known(*healthy),
        Look::Unknown => Seen::Unknown { reason: "stale", needs: "" },
    }
}

fn inputs(looks: &[Look], (alarms, _, evicts, pfail, blocked): &World) -> Inputs {
    let [two_masters, cluster_fail, writes_refused, loading, oom_errors, rejected_connections] =
        *alarms;
    let mut inputs = Inputs {
        alarms: Alarms {
            two_masters,
            cluster_fail,
            writes_refused,
            loading,
            oom_errors,
            rejected_connections,
        },
        maxmemory_policy: if *evicts { "allkeys-lru" } else { "noeviction" }.into(),
        pfail: *pfail,
        usual_clients: Seen::Known(1_000.0),
        ..healthy()
    };
    for (field, look) in FIELDS.iter().zip(looks) {
        field.1(&mut inputs, seen(field, *look));
    }
    // A share of those there are.
    inputs.blocked_clients = inputs.connected_clients.map(|n| n * blocked);
    inputs
}

fn policy(world: &World) -> Policy {
    let profiles = [Profile::Cache, Profile::Store, Profile::Queue, Profile::Session];
    Policy::for_profile(profiles[usize::from(world.1)])
}

/// The score without a word of explanation, in hundredths.
fn score(inputs: &Inputs, policy: &Policy) -> Option<i64> {
    let raw = tally(&measure(inputs, policy, T0), policy).raw?;
    Some(gates::capped(raw, &gates::of_instance(inputs, policy, T0)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn bars_gates_and_score_are_100_for_any_inputs_and_every_gate_that_holds_limits(
        looks in looks(), world in world(),
    ) {
        let policy = policy(&world);
        let explained = once(&inputs(&looks, &world), &policy);
        let Some(score) = explained.score else {
            prop_assert_eq!(explained.grade, Grade::Unknown);
            prop_assert!(!explained.reason.is_empty());
            return Ok(());
        };
        prop_assert!((0.0..=100.0).contains(&score));
        prop_assert_eq!(sum(&explained), ALL);
        for gate in explained.gates.iter().filter(|g| g.holds) {
            prop_assert!(score <= gate.cap, "{} above {}", score, gate.gate);
        }
        prop_assert!(explained.gates.iter().filter(|g| g.binds).count() <= 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn no_input_that_worsens_raises_the_score(
        looks in looks(), world in world(), which in 0..FIELDS.len(), more in 0.0..1.0f64,
    ) {
        let policy = policy(&world);
        let mut worse = looks.clone();
        if let Look::Known(t) = worse[which] {
            worse[which] = Look::Known(t + more);
        }
        let (before, after) = (inputs(&looks, &world), inputs(&worse, &world));
        if let (Some(b), Some(a)) = (score(&before, &policy), score(&after, &policy)) {
            prop_assert!(a <= b, "{}: {a} after {b}", FIELDS[which].0);
        }
    }

    #[test]
    fn an_input_nobody_can_read_lowers_confidence_and_raises_no_grade(
        looks in looks(), world in world(), which in 0..FIELDS.len(),
    ) {
        if !matches!(looks[which], Look::Known(_)) {
            return Ok(());
        }
        let (policy, mut sticky) = (policy(&world), Sticky::default());
        let mut blind = looks.clone();
        blind[which] = Look::Unknown;
        let mut step = |looks: &[Look], s: i64| {
            let inputs = inputs(looks, &world);
            let tally = tally(&measure(&inputs, &policy, T0), &policy);
            let evaluation = Evaluation {
                score: score(&inputs, &policy).map(points), sight: tally.confidence,
                slack: SLACK_INSTANCE, gate_binds: false, best: Grade::A, rise_ms: policy.rise_ms,
            };
            (tally.confidence, sticky.step(evaluation, T0 + s * 1000).0)
        };
        let (sure, first) = step(&looks, 0);
        for s in [15, 30, 400] {
            let (unsure, later) = step(&blind, s);
            prop_assert!(unsure <= sure + 1e-9, "{}", FIELDS[which].0);
            prop_assert!(first == Grade::Unknown || later.number() <= first.number(),
                "{}: {:?} after {:?}", FIELDS[which].0, later, first);
        }
    }
}

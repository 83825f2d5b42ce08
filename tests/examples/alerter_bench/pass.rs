//! A-pass, A-memory: one full pass over ten thousand instances and fifty policies, and what the
//! windows of the shipped catalogue hold.

use alerter::defaults;
use model::policy::PolicyDoc;

use crate::cpu;
use crate::figure::{Figure, quantile};
use crate::fleet::{INSTANCES, INTERVAL_MS, Judged, T0};

const POLICIES: usize = 50;
const ROUNDS: i64 = 60;

/// Prints the figures.
pub fn run() {
    passes();
    memory();
}

/// The shipped policies, those that are off too, filled up to fifty of one instance's samples.
fn fifty() -> Vec<PolicyDoc> {
    let mut docs: Vec<PolicyDoc> =
        defaults::policies().iter().map(|d| PolicyDoc { enabled: None, ..d.clone() }).collect();
    let rules = |docs: &[PolicyDoc]| {
        let judged = Judged::new(docs);
        judged.plan.slots.values().next().map_or(0, |slot| slot.rules.len())
    };
    for i in rules(&docs)..POLICIES {
        let text = format!(
            "{{policy: more-{i}, scope: platform, signal: {{metric: redis_connected_clients, over: \
             redis_max_clients}}, compare: '>', levels: {{warning: {{fire: 0.{}, for: 5m}}}}}}",
            80 + i % 20
        );
        docs.push(serde_saphyr::from_str(&text).expect("a policy"));
    }
    docs
}

fn passes() {
    let judged = Judged::new(&fifty());
    let rules = judged.plan.slots.values().next().map_or(0, |slot| slot.rules.len());
    let mut spent = Vec::new();
    for round in 0..ROUNDS {
        let rows = judged.rows(T0 + round * INTERVAL_MS);
        let ms = judged.judge(&rows);
        // Windows fill and grow in the first rounds.
        if round >= ROUNDS / 3 {
            spent.push(ms);
        }
    }
    let value = quantile(spent, 0.99);
    let context = format!(
        "one pass of {INSTANCES} instances x {rules} policies, CPU of one thread, p99 of {}",
        ROUNDS * 2 / 3
    );
    Figure { id: "A-pass", value, unit: "ms", gate: 50.0, stretch: 50.0, context }.print();
}

fn memory() {
    let before = cpu::rss_mib(std::process::id());
    let judged = Judged::new(defaults::policies());
    let mut at = T0;
    for step in (0..130).map(|_| 180_000).chain((0..130).map(|_| INTERVAL_MS)) {
        at = at + step;
        judged.judge(&judged.rows(at));
    }
    let windows = judged.window_bytes() as f64 / f64::from(1 << 20);
    let all = cpu::rss_mib(std::process::id()) - before;
    let context =
        format!("points of the windows of {INSTANCES} instances, shipped catalogue, full");
    let value = windows;
    Figure { id: "A-windows", value, unit: "MiB", gate: 100.0, stretch: 60.0, context }.print();
    let context = format!(
        "growth of the process by plan, states and windows of {INSTANCES} instances, the samples of \
         one round included"
    );
    Figure { id: "A-memory", value: all, unit: "MiB", gate: 100.0, stretch: 100.0, context }
        .print();
}

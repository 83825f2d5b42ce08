//! What judging and telling cost: a fleet of ten thousand instances under the shipped policies, beside a
//! Prometheus with the same rules, and a sink that plays Alertmanager. Prints one JSON object a
//! figure; started by `tests/bench/alerter.sh`, which takes names of parts: pass delivery backtest rules.

mod backtest;
#[path = "../exporter_bench/cpu.rs"]
#[allow(dead_code, reason = "the other benchmark uses all of it")]
mod cpu;
mod delivery;
#[path = "../exporter_bench/figure.rs"]
#[allow(dead_code, reason = "the other benchmark uses all of it")]
mod figure;
mod fleet;
mod pass;
mod rules;

/// The allocator of the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| args.is_empty() || args.iter().any(|a| a == name);
    if wanted("pass") {
        pass::run();
    }
    if wanted("delivery") {
        delivery::run().await;
    }
    if wanted("backtest") {
        backtest::run();
    }
    if wanted("rules") {
        rules::run().await;
    }
}

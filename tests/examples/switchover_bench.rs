//! What a switchover costs: ours beside the servers' own commands, in one run, on the same machine.
//!
//! Invariant: every figure is measured from outside: writers that keep what was acknowledged to them, and
//! a prober that asks the old master itself. Ours must lose nothing; what the bare commands lose is told.
#![allow(clippy::unwrap_used, reason = "a bench may panic")]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use link::reply::role::RoleReply;
use link::{Link, Target, Value};
use model::operation::OperationState;
use serde_json::json;
use tests::load::Load;
use tests::nodes::{call, role};
use tests::stage::{NAME, Stage};
use tests::wait;

const WRITERS: usize = 4;
/// A write that is answered later was not taken at once: clients are held, or the node is a replica.
const PROBE_MAX: Duration = Duration::from_millis(50);
const PROBE_EVERY: Duration = Duration::from_millis(5);
/// Longest write gaps, ms.
const SENTINEL_MS: f64 = 2_500.0;
const PLAIN_MS: f64 = 300.0;
const CLUSTER_MS: f64 = 200.0;

/// How it is handed over, and the bar when it is ours.
#[derive(Clone, Copy)]
enum Way {
    Ours(f64),
    Bare,
}

#[tokio::main]
async fn main() -> ExitCode {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|n| n == part);
    let runs = [
        ("sentinel", "sentinel", "fenced", Way::Ours(SENTINEL_MS)),
        ("sentinel", "sentinel", "bare SENTINEL FAILOVER", Way::Bare),
        ("plain", "standalone", "drained", Way::Ours(PLAIN_MS)),
        ("cluster", "cluster", "ours", Way::Ours(CLUSTER_MS)),
        ("cluster", "cluster", "bare CLUSTER FAILOVER", Way::Bare),
    ];
    let mut met = true;
    for (part, mode, name, way) in runs {
        if wanted(part) {
            met &= run(mode, &format!("{part}, {name}"), way).await;
        }
    }
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn run(mode: &'static str, name: &str, way: Way) -> bool {
    let stage = Stage::new(mode).await;
    let old = stage.master().await;
    let load = Load::start(stage.find(&old), WRITERS).await;
    let done = Arc::new(AtomicBool::new(false));
    let others: Vec<String> = stage.members().iter().filter(|a| **a != old).cloned().collect();
    let promoted = tokio::spawn(promotion(others));
    let probe = tokio::spawn(writable(old.clone(), stage.key(), Arc::clone(&done)));
    match way {
        Way::Ours(_) => ours(&stage, &old).await,
        Way::Bare => bare(&stage, &old).await,
    }
    let new = wait::until("another master that all others follow", || async {
        stage.settled().await.filter(|m| *m != old)
    })
    .await;
    load.goes_on().await;
    done.store(true, Ordering::Relaxed);
    let (promoted, last) = (promoted.await.unwrap(), probe.await.unwrap());
    let stale = last.map_or(0.0, |at| at.saturating_duration_since(promoted).as_secs_f64() * 1e3);
    let written = load.stop().await;
    let (lost, gap) = (written.lost().await.len(), written.gap.as_secs_f64() * 1e3);
    let (bar, pass) = match way {
        Way::Ours(bar) => (Some(bar), Some(lost == 0 && gap <= bar)),
        Way::Bare => (None, None),
    };
    let figure = json!({
        "id": name, "lost": lost, "acknowledged": written.keys.len(), "gap_ms": gap.round(),
        "old_master_writable_ms": stale.round(), "gap_ms_max": bar, "pass": pass,
        "context": format!("{WRITERS} writers, {old} to {new}"),
    });
    println!("{figure}");
    pass.unwrap_or(true)
}

async fn ours(stage: &Stage, master: &str) {
    let planned = stage.plan(master).await;
    let id = stage.warden.begin(&planned, "bench").await.unwrap();
    let page = stage.warden.over(&id).await;
    assert_eq!(page.operation.state, OperationState::Done, "{page:#?}");
}

async fn bare(stage: &Stage, master: &str) {
    let (node, command): (String, Vec<&str>) = match stage.mode {
        "sentinel" => (stage.sentinels[1].clone(), vec!["SENTINEL", "FAILOVER", NAME]),
        _ => (stage.target(master), vec!["CLUSTER", "FAILOVER"]),
    };
    call(&node, &command).await.expect("it is accepted");
}

/// When one of them says that it is a master.
async fn promotion(replicas: Vec<String>) -> Instant {
    loop {
        for replica in &replicas {
            if matches!(role(replica).await, Some(RoleReply::Master { .. })) {
                return Instant::now();
            }
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
}

/// When the node last took a write at once.
async fn writable(node: String, key: String, done: Arc<AtomicBool>) -> Option<Instant> {
    let mut last = None;
    let mut link: Option<Link> = None;
    while !done.load(Ordering::Relaxed) {
        if link.as_ref().is_none_or(Link::poisoned) {
            let target =
                Target { address: node.clone(), user: String::new(), password: None, tls: None };
            link = link::dial(&target, PROBE_MAX).await.ok();
        }
        if let Some(link) = &mut link
            && matches!(link.call(&["SET", &key, "1"], PROBE_MAX).await, Ok(Value::Okay))
        {
            last = Some(Instant::now());
        }
        tokio::time::sleep(PROBE_EVERY).await;
    }
    last
}

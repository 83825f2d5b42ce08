//! From readings to inputs: what is known, what is not, and why.

use model::field::Field;
use model::reading::Reason;
use model::score::Grade;
use model::service::{Mode, Profile, Tier};

use super::*;
use crate::fixture::{T0, failed, instance, reading, service};
use crate::{Policy, Sticky, explain};

struct Scene {
    service: Service,
    instance: Instance,
    verdict: Verdict,
    window: Window,
}

fn scene() -> Scene {
    Scene {
        service: service("pay.cart", "pay.shop", Tier::Core, Mode::Standalone, 0),
        instance: instance("pay.cart", "10.1.0.7:6379", "az-1", 0),
        verdict: Verdict::Up,
        window: Window::new(300),
    }
}

impl Scene {
    fn around(&self) -> Around<'_> {
        Around {
            service: &self.service,
            instance: &self.instance,
            verdict: &self.verdict,
            lag_bytes: None,
            healthy_replicas: Some(0),
            required_replicas: 0,
            masters_in_group: 1,
            host_memory: None,
            slowlog_limit_ms: None,
            past: Default::default(),
        }
    }

    fn inputs(&self, reading: &Reading, last_good: Option<&Reading>, now: At) -> Inputs {
        inputs(&self.window, reading, last_good, &self.around(), now)
    }

    fn explain(&self, inputs: &Inputs) -> model::score::Explained {
        let policy = Policy::for_profile(Profile::Store);
        explain(inputs, &policy, &self.instance.id, &mut Sticky::default(), T0)
    }
}

fn reasons(explained: &model::score::Explained) -> Vec<(&str, &str)> {
    explained.unknown.iter().map(|u| (u.signal.as_str(), u.reason.as_str())).collect()
}

#[test]
fn a_freshly_watched_standalone_has_a_number_from_its_first_poll() {
    let mut scene = scene();
    let first = reading(T0);
    scene.window.push(&first);
    let explained = scene.explain(&scene.inputs(&first, None, T0));
    assert!(explained.confidence >= 0.6, "{}", explained.confidence);
    assert_eq!((explained.score, explained.grade), (Some(96.25), Grade::A));
    assert!(reasons(&explained).contains(&("C2", "first_reading")));
}

#[test]
fn from_the_second_poll_only_what_later_tiers_read_is_unknown() {
    let mut scene = scene();
    let second = reading(T0 + 15_000);
    scene.window.push(&reading(T0));
    scene.window.push(&second);
    let explained = scene.explain(&scene.inputs(&second, None, T0 + 15_000));
    assert_eq!(reasons(&explained), [("S4", "not_read"), ("S7", "not_read")]);
    assert!(explained.confidence > 0.95, "{}", explained.confidence);
    let why: Vec<&str> = explained.not_applicable.iter().map(|n| &*n.signal).collect();
    assert!(["A3", "A5", "A8", "M3", "M5", "C4"].iter().all(|s| why.contains(s)), "{why:?}");
}

#[test]
fn facts_outlive_a_failed_poll_until_they_are_stale() {
    let mut scene = scene();
    let good = reading(T0);
    let bad = failed(T0 + 15_000, Reason::Timeout, 1);
    scene.window.push(&good);
    scene.window.push(&bad);
    let used = |now| scene.inputs(&bad, Some(&good), now).used_memory_bytes;
    assert_eq!(used(T0 + 60_000), Seen::Known(1e6));
    assert!(matches!(used(T0 + 60_001), Seen::Unknown { reason: "stale", .. }));
}

#[test]
fn a_slow_interval_stretches_staleness_to_three_of_it() {
    let mut scene = scene();
    let good = Reading { interval_ms: 60_000, ..reading(T0) };
    scene.window.push(&good);
    let used = |now| scene.inputs(&good, None, now).used_memory_bytes;
    assert_eq!(used(T0 + 180_000), Seen::Known(1e6));
    assert!(matches!(used(T0 + 180_001), Seen::Unknown { .. }));
}

#[test]
fn a_wrong_password_is_unknown_with_its_reason_and_its_remedy() {
    let mut scene = scene();
    let bad = failed(T0, Reason::Auth, 1);
    scene.window.push(&bad);
    scene.verdict = Verdict::Unknown("auth".into());
    let explained = scene.explain(&scene.inputs(&bad, None, T0));
    assert_eq!((explained.score, explained.grade), (None, Grade::Unknown));
    let a1 = &explained.unknown[0];
    assert_eq!((a1.signal.as_str(), a1.reason.as_str()), ("A1", "auth"));
    assert!(a1.needs.contains("password"), "{}", a1.needs);
}

#[test]
fn an_absent_field_does_not_apply_to_that_version() {
    let mut scene = scene();
    let mut old = reading(T0);
    old.facts.values.set(Field::MemClientsNormal, f64::NAN);
    old.facts.values.set(Field::Maxmemory, 1e9);
    old.facts.text.version = "6.2.14".into();
    scene.window.push(&old);
    let inputs = scene.inputs(&old, None, T0);
    assert!(matches!(inputs.client_memory_bytes, Seen::NotApplicable(_)));
    assert!(matches!(inputs.command_p99_ms, Seen::NotApplicable(_)));
}

#[test]
fn loading_is_a_gate_also_without_a_readable_info() {
    let mut scene = scene();
    let good = reading(T0);
    let bad = failed(T0 + 15_000, Reason::Loading, 1);
    scene.window.push(&good);
    scene.window.push(&bad);
    let explained = scene.explain(&scene.inputs(&bad, Some(&good), T0 + 15_000));
    assert!(explained.gates.iter().any(|g| g.gate == "loading" && g.binds));
    assert_eq!(explained.score, Some(40.0));
}

#[test]
fn a_failed_save_alone_is_believed_to_refuse_writes_only_without_error_counters() {
    let mut scene = scene();
    let mut saving = reading(T0);
    saving.facts.values.set(Field::RdbLastBgsaveStatus, 0.0);
    scene.window.push(&saving);
    assert!(!scene.inputs(&saving, None, T0).alarms.writes_refused);
    saving.facts.values.set(Field::TotalErrorReplies, f64::NAN);
    assert!(scene.inputs(&saving, None, T0).alarms.writes_refused);
    saving.facts.values.set(Field::RdbLastBgsaveStatus, 1.0);
    saving.facts.values.set(Field::AofLastWriteStatus, 0.0);
    assert!(scene.inputs(&saving, None, T0).alarms.writes_refused);
}

#[test]
fn counter_gates_hold_until_a_clean_window_has_passed() {
    let mut scene = scene();
    let mut last = reading(T0);
    for i in 0..24 {
        last = reading(T0 + i * 15_000);
        last.facts.errors = vec![("OOM".into(), if i == 0 { 3.0 } else { 4.0 })];
        scene.window.push(&last);
        let now = last.at;
        let holds = scene.inputs(&last, None, now).alarms.oom_errors;
        assert_eq!(holds, (1..=21).contains(&i), "poll {i}");
    }
    assert_eq!(last.at, T0 + 23 * 15_000);
}

#[test]
fn a_replica_is_judged_by_link_and_lag_and_not_by_missing_replicas() {
    let mut scene = scene();
    let mut replica = reading(T0);
    replica.facts.role = Some(Role::Replica);
    replica.facts.values.set(Field::MasterLinkStatus, 0.0);
    replica.facts.values.set(Field::MasterLinkDownSinceSeconds, 30.0);
    scene.window.push(&replica);
    let around = Around { lag_bytes: Some(5e5), required_replicas: 2, ..scene.around() };
    let inputs = inputs(&scene.window, &replica, None, &around, T0 + 5_000);
    assert_eq!(inputs.link_down_s, Seen::Known(35.0));
    let explained = scene.explain(&inputs);
    let bars: Vec<&str> = explained.bars.iter().map(|b| b.signal.as_str()).collect();
    assert_eq!(bars, ["A3", "A4", "M1"]);
    assert_eq!(explained.bars[1].text, "500.0 kB behind its master, backlog is 1.0 MB");
}

#[test]
fn slots_and_suspicion_are_read_from_this_nodes_view() {
    let mut scene = scene();
    scene.service.mode = Mode::Cluster;
    let mut node = reading(T0);
    node.facts.values.set(Field::ClusterSlotsAssigned, 16384.0);
    node.facts.values.set(Field::ClusterSlotsFail, 163.84);
    node.facts.values.set(Field::ClusterState, 1.0);
    scene.window.push(&node);
    let lost = scene.explain(&scene.inputs(&node, None, T0));
    assert!((lost.bars[0].loss - 68.0).abs() < 1e-9, "{:?}", lost.bars[0]);
    node.facts.values.set(Field::ClusterSlotsFail, 0.0);
    node.facts.values.set(Field::ClusterSlotsPfail, 5461.0);
    let suspected = scene.explain(&scene.inputs(&node, None, T0));
    assert_eq!((suspected.bars[0].signal.as_str(), suspected.bars[0].loss), ("A8", 40.0));
}

#[test]
fn a_second_writable_master_caps_both() {
    let mut scene = scene();
    let good = reading(T0);
    scene.window.push(&good);
    let around = Around { masters_in_group: 2, ..scene.around() };
    let inputs = inputs(&scene.window, &good, None, &around, T0);
    assert_eq!(scene.explain(&inputs).score, Some(10.0));
}

#[test]
fn not_applicable_wins_over_unknown() {
    let unknown: Seen<f64> = Seen::Unknown { reason: "stale", needs: "" };
    let never: Seen<f64> = Seen::NotApplicable("no limit");
    assert_eq!(unknown.and(never), Seen::NotApplicable("no limit"));
    assert_eq!(never.and(unknown), Seen::NotApplicable("no limit"));
    assert_eq!(unknown.and(Seen::Known(1.0)), Seen::Unknown { reason: "stale", needs: "" });
}

/// A reading of that second with a histogram of 100 more calls, one of them slow.
fn with_histogram(at: At, calls: f64, read_at: At) -> Reading {
    use model::detail::{CommandHistogram, Latencies};
    let mut out = reading(at);
    let histogram = CommandHistogram {
        cmd: "get".into(),
        calls,
        usec: None,
        buckets: [(500.0, calls * 0.9), (8_000.0, calls)].into(),
    };
    let latencies = Latencies { at: read_at, histograms: vec![histogram], quantiles: vec![] };
    out.facts.detail.latencies = Some(std::sync::Arc::new(latencies));
    out
}

#[test]
fn durations_of_commands_are_known_from_the_second_histogram_and_not_for_ever() {
    let mut scene = scene();
    let mut seen = |at: At, calls: f64, read_at: At| {
        let reading = with_histogram(at, calls, read_at);
        scene.window.push(&reading);
        scene.inputs(&reading, None, at).command_p99_ms
    };
    let first = seen(T0, 1000.0, T0);
    assert!(matches!(first, Seen::Unknown { reason: "first_reading", .. }), "{first:?}");
    assert_eq!(seen(T0 + 60_000, 1100.0, T0 + 60_000), Seen::Known(8.0));
    assert_eq!(seen(T0 + 75_000, 1100.0, T0 + 60_000), Seen::Known(8.0));
    let old = seen(T0 + 300_000, 1100.0, T0 + 60_000);
    assert!(matches!(old, Seen::Unknown { reason: "stale", .. }), "{old:?}");
}

#[test]
fn the_servers_slow_log_limit_is_read_from_its_settings() {
    use model::detail::{Parameters, Settings};
    let mut scene = scene();
    let mut limit = |us: &str| {
        let mut reading = reading(T0);
        let names = std::sync::Arc::new(["slowlog-log-slower-than".into()]);
        let parameters = Some(Parameters::new(names, [us].into_iter()));
        let settings = Settings { parameters, ..Settings::default() };
        reading.facts.detail.settings = Some(std::sync::Arc::new(settings));
        scene.window.push(&reading);
        let inputs = scene.inputs(&reading, None, T0);
        let blind = scene.explain(&inputs).bars.iter().any(|b| b.signal == "S7");
        (inputs.slowlog_limit_ms, blind)
    };
    assert_eq!(limit("10000"), (Seen::Known(10.0), false));
    assert_eq!(limit("200000"), (Seen::Known(200.0), true));
    assert_eq!(limit("-1"), (Seen::Known(-1.0), true));
}

#[test]
fn slow_commands_of_which_the_poll_saw_one_are_all_known_a_minute_later() {
    use model::detail::{SlowEntry, SlowShape, SlowTally};
    use model::reading::Slowlog;
    let mut scene = scene();
    let entry = |id: f64, us: f64| {
        let args = if us < 50e3 { "GET k" } else { "CONFIG GET *" };
        let (args, client, name) = (args.into(), Box::default(), Box::default());
        std::sync::Arc::new(SlowEntry { id, at_s: 0.0, us, args, client, name })
    };
    let mut push = |second: i64, last_id: f64, tally_at: i64, recent: Vec<_>| {
        let at = T0 + second * 1000;
        let mut reading = reading(at);
        reading.facts.slowlog =
            Slowlog { len: Some(9.0), last_id: Some(last_id), last_us: Some(20e3) };
        let shape = |cmd: &str| SlowShape { cmd: cmd.into(), count: 0.0, us: 0.0, us_max: 0.0 };
        let shapes = vec![shape("get"), shape("config|get")];
        let tally = SlowTally { at: T0 + tally_at * 1000, recent, shapes, ..SlowTally::default() };
        reading.facts.detail.slow = Some(std::sync::Arc::new(tally));
        scene.window.push(&reading);
        scene.inputs(&reading, None, at)
    };
    push(0, 7.0, 0, vec![entry(7.0, 9e6)]);
    let early = push(15, 10.0, 0, vec![entry(7.0, 9e6)]);
    assert_eq!((early.slow_worst_ms, early.slow_partial), (Seen::Known(20.0), true));
    let all = [(10.0, 20e3), (9.0, 900e3), (8.0, 30e3), (7.0, 9e6)].map(|(id, us)| entry(id, us));
    let late = push(60, 10.0, 60, all.to_vec());
    assert_eq!((late.slow_worst_ms, late.slow_partial), (Seen::Known(900.0), false));
    let top = late.slow_top.clone().unwrap();
    assert_eq!((&*top.cmd, top.others_us), ("config|get", 30e3));
    assert!((top.count - 1.0 / 3.0).abs() < 1e-9 && (top.time - 900.0 / 950.0).abs() < 1e-9);
    let share = late.slow_share.known().unwrap();
    assert!((share - 0.95 / 60.0).abs() < 1e-3, "{share}");
    // Nothing new is read while nothing is slow: what was read leaves the window all the same.
    let gone = push(361, 10.0, 60, all.to_vec());
    assert_eq!((gone.slow_worst_ms, gone.slow_share), (Seen::Known(0.0), Seen::Known(0.0)));
    assert_eq!(gone.slow_top, None);
}

#[test]
fn evictions_of_a_day_are_a_full_store_and_the_past_speaks_where_the_window_is_silent() {
    let mut scene = scene();
    let evicting = |at: At, evicted: f64| {
        let mut out = reading(at);
        out.facts.text.maxmemory_policy = "allkeys-lru".into();
        for (field, value) in [(Field::EvictedKeys, evicted), (Field::Maxmemory, 2e6)] {
            out.facts.values.set(field, value);
        }
        out
    };
    scene.window.push(&evicting(T0, 0.0));
    let second = evicting(T0 + 15_000, 3.0);
    scene.window.push(&second);
    let past = Past {
        usual_clients: Some(1.0),
        cow_bytes: Some(1e6),
        growth: Some(Growth { level_bytes: 1e6, bytes_per_day: 1e5 }),
        ..Past::default()
    };
    let around = Around { past, ..scene.around() };
    let now = T0 + 15_000;
    let inputs = inputs(&scene.window, &second, None, &around, now);
    assert_eq!(inputs.usual_clients, Seen::Known(1.0));
    assert_eq!(inputs.cow_bytes, Seen::Known((1e6, false)));
    assert!(inputs.evicted_24h);
    let m5 = |profile: Profile, inputs: &Inputs| {
        let policy = Policy::for_profile(profile);
        let id = &scene.instance.id;
        let bars = explain(inputs, &policy, id, &mut Sticky::default(), now).bars;
        bars.into_iter().find(|b| b.signal == "M5").and_then(|b| b.value)
    };
    assert_eq!(m5(Profile::Store, &inputs), Some(0.0));
    assert_eq!(m5(Profile::Cache, &inputs), None, "a full cache is normal");
    let calm = Inputs { evicted_24h: false, ..inputs };
    assert_eq!(m5(Profile::Store, &calm), Some(10.0));
}

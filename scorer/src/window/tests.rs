//! What the window knows, and what it refuses to be told.

use model::field::Field;
use model::reading::{LatencyEvent, Role, Slowlog};

use super::*;
use crate::fixture::{T0, failed, reading};

fn with(at: At, values: &[(Field, f64)]) -> Reading {
    let mut out = reading(at);
    values.iter().for_each(|(field, value)| out.facts.values.set(*field, *value));
    out
}

fn commands(at: At, n: f64) -> Reading {
    with(at, &[(Field::TotalCommandsProcessed, n)])
}

#[test]
fn rates_are_growth_over_the_time_between_polls() {
    let mut window = Window::new(300);
    for i in 0..5 {
        window.push(&commands(T0 + i * 15_000, 1000.0 + 150.0 * i as f64));
    }
    assert_eq!(window.rates().ops_per_s, Some(10.0));
    assert_eq!(window.rates().rejected, Some(0.0));
}

#[test]
fn one_reading_of_an_old_process_has_no_rates() {
    let mut window = Window::new(300);
    window.push(&reading(T0));
    assert_eq!(window.rates(), Rates::default());
}

#[test]
fn a_process_younger_than_the_window_has_rates_at_once() {
    let mut window = Window::new(300);
    let young = [(Field::UptimeInSeconds, 100.0), (Field::TotalCommandsProcessed, 500.0)];
    window.push(&with(T0, &young));
    assert_eq!(window.rates().ops_per_s, Some(5.0));
}

#[test]
fn a_new_run_id_starts_counters_anew() {
    let mut window = Window::new(300);
    window.push(&commands(T0, 1e9));
    let mut restarted = commands(T0 + 15_000, 50.0);
    restarted.facts.text.run_id = "r2".into();
    restarted.facts.values.set(Field::UptimeInSeconds, 10.0);
    window.push(&restarted);
    assert_eq!(window.rates().ops_per_s, Some(5.0));
    assert_eq!(window.changes_24h(T0 + 15_000), 1);
}

#[test]
fn a_fallen_uptime_is_a_restart_and_a_reset_counter_is_not() {
    let mut window = Window::new(300);
    window.push(&commands(T0, 1e9));
    window.push(&commands(T0 + 15_000, 30.0));
    assert_eq!((window.rates().ops_per_s, window.changes_24h(T0 + 15_000)), (Some(2.0), 0));
    window.push(&with(T0 + 30_000, &[(Field::UptimeInSeconds, 5.0)]));
    assert_eq!(window.changes_24h(T0 + 30_000), 1);
}

#[test]
fn late_and_repeated_readings_are_dropped() {
    let mut window = Window::new(300);
    window.push(&commands(T0, 100.0));
    window.push(&commands(T0 + 15_000, 250.0));
    window.push(&commands(T0 + 5_000, 9e9));
    window.push(&commands(T0 + 15_000, 9e9));
    assert_eq!(window.rates().ops_per_s, Some(10.0));
    assert_eq!(window.totals().probes, 2);
}

#[test]
fn samples_older_than_the_window_leave_it() {
    let mut window = Window::new(60);
    window.push(&with(T0, &[(Field::RejectedConnections, 0.0)]));
    window.push(&with(T0 + 15_000, &[(Field::RejectedConnections, 7.0)]));
    assert_eq!(window.rates().rejected, Some(7.0));
    for i in 2..7 {
        window.push(&with(T0 + i * 15_000, &[(Field::RejectedConnections, 7.0)]));
    }
    assert_eq!(window.rates().rejected, Some(0.0), "one clean window has passed");
}

#[test]
fn the_window_is_bounded_however_fast_polls_come() {
    let mut window = Window::new(3600);
    for i in 0..5_000 {
        window.push(&reading(T0 + i * 100));
    }
    assert!(window.samples.len() <= SAMPLES_MAX);
}

#[test]
fn failures_of_our_own_making_stay_out_of_the_share_of_failed_probes() {
    let mut window = Window::new(300);
    window.push(&reading(T0));
    let reasons = [Reason::Timeout, Reason::Auth, Reason::Busy, Reason::Loading, Reason::Tls];
    for (i, reason) in reasons.into_iter().enumerate() {
        window.push(&failed(T0 + (i as i64 + 1) * 15_000, reason, i as u32 + 1));
    }
    window.push_repeat(&failed(T0 + 91_000, Reason::Timeout, 6));
    let totals = window.totals();
    assert_eq!(
        (totals.failed, totals.probes),
        (2, 4),
        "time-out and BUSY of good, time-out, BUSY, LOADING"
    );
}

#[test]
fn slow_commands_are_counted_by_id_and_never_by_length() {
    let mut window = Window::new(300);
    let slow = |at, last_id: Option<f64>, us| {
        let mut out = reading(at);
        out.facts.slowlog = Slowlog { len: Some(128.0), last_id, last_us: Some(us) };
        out
    };
    window.push(&slow(T0, Some(1000.0), 9e6));
    window.push(&slow(T0 + 15_000, Some(1000.0), 9e6));
    assert_eq!(window.rates().slow_per_min, Some(0.0));
    window.push(&slow(T0 + 30_000, Some(1003.0), 20_000.0));
    assert_eq!(window.rates().slow_per_min, Some(6.0));
    let totals = window.totals();
    assert_eq!((totals.slow_worst_us, totals.slow_partial()), (20_000.0, true));
    let mut reset = reading(T0 + 45_000);
    reset.facts.slowlog = Slowlog { len: Some(0.0), last_id: None, last_us: None };
    window.push(&reset);
    assert_eq!(window.rates().slow_per_min, Some(4.0), "SLOWLOG RESET adds nothing");
    window.push(&slow(T0 + 60_000, Some(1004.0), 1e4));
    assert_eq!(window.rates().slow_per_min, Some(4.0), "nor does the next entry add the past");
}

#[test]
fn role_changes_and_restarts_count_for_a_day_unless_an_operation_made_them() {
    let mut window = Window::new(300);
    let role = |at, role| {
        let mut out = reading(at);
        out.facts.role = Some(role);
        out
    };
    window.push(&role(T0, Role::Replica));
    window.push(&role(T0 + 15_000, Role::Master));
    assert_eq!(window.changes_24h(T0 + 15_000), 1);
    window.expect_changes_until(T0 + 60_000);
    window.push(&role(T0 + 30_000, Role::Replica));
    assert_eq!(window.changes_24h(T0 + 30_000), 1);
    assert_eq!(window.changes_24h(T0 + 86_500_000), 0);
}

#[test]
fn refusals_before_a_promotion_do_not_count_against_the_master() {
    let mut window = Window::new(300);
    let refusing = |at, role, n| {
        let mut out = reading(at);
        out.facts.role = Some(role);
        out.facts.errors = vec![("READONLY".into(), n)];
        out
    };
    window.push(&refusing(T0, Role::Replica, 1.0));
    window.push(&refusing(T0 + 15_000, Role::Replica, 50.0));
    window.push(&refusing(T0 + 30_000, Role::Master, 80.0));
    assert_eq!(window.totals().of(Delta::Refused), None);
    window.push(&refusing(T0 + 45_000, Role::Master, 82.0));
    assert_eq!(window.totals().of(Delta::Refused).map(|g| g.sum), Some(2.0));
}

#[test]
fn a_latency_event_counts_when_its_time_stamp_moves() {
    let mut window = Window::new(300);
    let spike = |at: At, at_s: f64, last_ms: f64| {
        let event = LatencyEvent { event: "command".into(), at_s, last_ms, max_ms: last_ms };
        let mut out = reading(at);
        out.facts.latency = vec![event];
        out
    };
    let s = T0.seconds();
    window.push(&spike(T0, s - 7200.0, 500.0));
    window.push(&spike(T0 + 15_000, s + 10.0, 150.0));
    window.push(&spike(T0 + 30_000, s + 10.0, 150.0));
    window.push(&spike(T0 + 45_000, s + 40.0, 20.0));
    assert_eq!(window.spikes_1h(T0 + 45_000), 1, "one old, one new, one unmoved, one short");
    assert_eq!(window.spikes_1h(T0 + 4_000_000), 0);
}

#[test]
fn a_fork_counts_for_a_day() {
    let mut window = Window::new(300);
    window.push(&with(T0, &[(Field::LatestForkUsec, 0.5), (Field::RdbLastSaveTime, 0.0)]));
    assert_eq!(window.fork_s(T0), None, "its last save is older than a day");
    window.push(&with(T0 + 15_000, &[(Field::LatestForkUsec, 0.7)]));
    assert_eq!(window.fork_s(T0 + 15_000), Some(0.7));
    assert_eq!(window.fork_s(T0 + 86_500_000), None);
}

#[test]
fn the_99th_percentile_is_the_nearest_rank() {
    assert_eq!(percentile_99(&mut []), None);
    assert_eq!(percentile_99(&mut [7]), Some(7));
    let mut hundred: Vec<u32> = (1..=100).collect();
    assert_eq!(percentile_99(&mut hundred), Some(99));
}

#[test]
fn an_accept_probe_is_a_control_probe_and_changes_nothing_else() {
    let mut window = Window::new(300);
    window.push(&commands(T0, 1000.0));
    window.push_accept(T0 + 5_000, Some(90_000), None);
    window.push_accept(T0 + 6_000, None, Some(Reason::Maxclients));
    window.push_accept(T0 + 7_000, None, Some(Reason::Auth));
    window.push(&commands(T0 + 15_000, 1150.0));
    let totals = window.totals();
    assert_eq!((totals.failed, totals.probes), (1, 4), "our own password says nothing about it");
    assert_eq!(totals.ping_p99_us, Some(90_000));
    assert_eq!(window.rates().ops_per_s, Some(10.0));
    assert!(window.latest().is_some_and(|l| l.up) && window.outage().is_none());
}

//! Each guard lets a healthy case pass and names value and limit when it does not.

use super::*;
use crate::remedy::book;

const NOW: At = At::from_ms(1_000_000_000);

fn witness(who: &str, agrees: Option<bool>) -> Witness {
    Witness { who: who.into(), agrees, said: "said".into() }
}

fn fine() -> Context {
    Context {
        now: NOW,
        entry: book::find(book::REPLICA_RESTART).unwrap(),
        mode: RunbookMode::Auto,
        killed: None,
        managed: true,
        frozen: Vec::new(),
        fresh: Fresh {
            age_ms: Some(3_000),
            interval_ms: 15_000,
            verdict: "down (refused)".into(),
            down: true,
            up: false,
            firing: true,
        },
        silent: (1, 13),
        witnesses: vec![witness("node", Some(true)), witness("master", Some(true))],
        master_at: None,
        master_says: Ok(Vec::new()),
        recovered_at: None,
        node_restarts: 0,
        fleet_actions: 0,
        runbook_actions: 0,
        failures: 0,
        incidents: 1,
        zone_alerting: (1, 5),
        facts: Vec::new(),
        active: Active::default(),
        sizes: (3, 5),
        copies: vec!["master".into()],
        process_gone: Some(true),
        quorum: Ok("3 of 3".into()),
        competing: Vec::new(),
        failover_ms: 15_000,
        plan: Ok("Restart".into()),
    }
}

/// The guards that say no, with their words.
fn refused(context: &Context) -> Vec<(String, String)> {
    let said = judge(context);
    assert_eq!(said.len(), GUARDS.len(), "every guard is asked");
    said.into_iter().filter(|g| !g.passed).map(|g| (g.guard, g.seen)).collect()
}

fn only(guard: &str, words: &[&str], spoil: impl FnOnce(&mut Context)) {
    let mut context = fine();
    spoil(&mut context);
    let no = refused(&context);
    assert_eq!(no.len(), 1, "{guard}: {no:?}");
    assert_eq!(no[0].0, guard);
    for word in words {
        assert!(no[0].1.contains(word), "{guard} does not name {word:?}: {}", no[0].1);
    }
}

#[test]
fn a_dead_replica_of_a_healthy_service_passes_every_guard() {
    assert_eq!(refused(&fine()), []);
}

#[test]
fn a_kill_switch_names_its_scope() {
    only("kill_switch", &["platform", "on-call"], |c| {
        c.killed = Some("switched off for platform by on-call: storm".into());
    });
}

#[test]
fn only_mode_auto_passes_and_the_mode_is_named() {
    for mode in [RunbookMode::Off, RunbookMode::Observe, RunbookMode::Ask] {
        only("mode", &[mode.as_str(), "replica-restart"], |c| c.mode = mode);
    }
}

#[test]
fn runbooks_this_build_cannot_carry_out_do_not_act() {
    only("available", &["no automatic action in this build"], |c| {
        c.entry = book::find("replica-link").unwrap();
    });
    only("available", &["failover decides"], |c| {
        c.entry = book::find(book::MASTER_FAILOVER).unwrap();
    });
}

#[test]
fn an_unmanaged_service_is_left_alone() {
    only("managed", &["false"], |c| c.managed = false);
}

#[test]
fn a_maintenance_or_a_silence_freezes_and_is_named() {
    only("freeze", &["maintenance m1", "CHG-7"], |c| {
        c.frozen = vec!["maintenance m1 of platform until then: CHG-7".into()];
    });
}

#[test]
fn danger_above_t1_is_not_automatic() {
    let mut context = fine();
    context.entry = book::find(book::STANDALONE_RESTART).unwrap();
    let tier = refused(&context).into_iter().find(|(guard, _)| guard == "tier").unwrap();
    assert!(tier.1.contains("T2") && tier.1.contains("T1"), "{}", tier.1);
}

#[test]
fn a_reading_of_two_intervals_is_too_old() {
    only("freshness", &["30000 ms ago", "limit 30000"], |c| c.fresh.age_ms = Some(30_000));
    only("freshness", &["never polled"], |c| c.fresh.age_ms = None);
    only("freshness", &["unknown (auth)"], |c| {
        (c.fresh.down, c.fresh.verdict) = (false, "unknown (auth)".into());
    });
    only("freshness", &["does not fire"], |c| c.fresh.firing = false);
}

#[test]
fn one_observer_is_not_enough_and_one_contradiction_is_too_much() {
    only("recheck", &["1 of at least 2"], |c| {
        c.witnesses[1].agrees = None;
    });
    only("recheck", &["contradicts", "sentinel"], |c| {
        c.witnesses.push(witness("sentinel", Some(false)));
    });
    only("recheck", &["5 of 13", "30 %"], |c| c.silent = (5, 13));
}

#[test]
fn a_small_fleet_with_one_dead_node_is_not_an_isolated_observer() {
    let mut context = fine();
    context.silent = (1, 2);
    assert_eq!(refused(&context), []);
}

#[test]
fn a_node_that_was_master_lately_belongs_to_the_failover() {
    only("role", &["599 s ago", "limit 600 s"], |c| c.master_at = Some(NOW - 599_000));
    only("role", &["s1, s2"], |c| c.master_says = Ok(vec!["s1".into(), "s2".into()]));
    only("role", &["not known"], |c| c.master_says = Err("nobody answers".into()));
    let mut context = fine();
    context.master_at = Some(NOW - 600_000);
    assert_eq!(refused(&context), [], "long enough ago, and nobody names it");
}

#[test]
fn a_dangerous_recovery_within_the_hour_closes_the_service() {
    let mut context = fine();
    context.entry = book::find(book::STANDALONE_RESTART).unwrap();
    context.recovered_at = Some(NOW - 3_599_000);
    let no = refused(&context);
    assert!(no.iter().any(|(g, s)| g == "anti_flap" && s.contains("3599") && s.contains("3600")));
    context.recovered_at = Some(NOW - 3_600_000);
    assert!(!refused(&context).iter().any(|(g, _)| g == "anti_flap"));
}

#[test]
fn two_restarts_in_six_hours_are_enough_for_a_node() {
    only("quarantine", &["2 restarts", "360 min", "limit 2"], |c| c.node_restarts = 2);
}

#[test]
fn the_fleet_and_each_runbook_have_a_rate() {
    only("rate_fleet", &["5 actions", "10 min", "limit 5"], |c| c.fleet_actions = 5);
    only("rate_runbook", &["20 actions", "1440 min", "limit 20"], |c| c.runbook_actions = 20);
}

#[test]
fn two_failures_in_a_row_leave_a_runbook_to_people() {
    only("failures", &["2 failures", "limit 2"], |c| c.failures = 2);
}

#[test]
fn many_incidents_or_much_of_a_zone_are_a_storm() {
    only("storm", &["11 incidents", "limit 10"], |c| c.incidents = 11);
    only("storm", &["5 of 40", "10 %"], |c| c.zone_alerting = (5, 40));
    let mut context = fine();
    context.zone_alerting = (4, 5);
    assert_eq!(refused(&context), [], "below five alerting instances a share says nothing");
    context.zone_alerting = (5, 50);
    assert_eq!(refused(&context), [], "exactly a tenth is not more than a tenth");
}

#[test]
fn a_mass_event_stops_everything() {
    only("mass_event", &["21 alerts"], |c| c.facts = vec!["21 alerts RedisDown".into()]);
}

#[test]
fn the_blast_radius_counts_what_is_in_work() {
    let spoiled: [(&str, Active); 5] = [
        ("1 nodes of the shard", Active { shard: 1, ..Active::default() }),
        ("1 shards of the service", Active { shards: 1, ..Active::default() }),
        ("1 nodes of the service", Active { service: 1, ..Active::default() }),
        ("1 nodes of the zone", Active { zone: 1, ..Active::default() }),
        ("2 nodes of the host", Active { host: 2, ..Active::default() }),
    ];
    for (words, active) in spoiled {
        only("blast_radius", &[words, "limit"], |c| c.active = active);
    }
    let mut context = fine();
    context.sizes = (30, 100);
    context.active = Active { service: 2, zone: 4, host: 1, ..Active::default() };
    assert_eq!(refused(&context), [], "10 % of 30 and 5 % of 100");
}

#[test]
fn the_last_copy_is_not_touched() {
    only("last_copy", &["limit 1"], |c| c.copies.clear());
}

#[test]
fn without_a_quorum_or_beside_another_actor_nothing_acts() {
    only("quorum", &["1 of 3"], |c| c.quorum = Err("1 of 3 Sentinels have a quorum".into()));
    only("competing", &["holds"], |c| c.competing = vec!["operation x holds pay.cart".into()]);
    only("plan", &["refused"], |c| c.plan = Err("refused: it answers".into()));
}

/// The same about a node that answers.
fn alive() -> Context {
    let fine = fine();
    let fresh = Fresh { verdict: "up".into(), down: false, up: true, ..fine.fresh };
    Context {
        entry: book::find(book::CLIENTS_HIGH).unwrap(),
        fresh,
        witnesses: vec![witness("node", Some(false))],
        master_at: Some(NOW),
        master_says: Err("nobody".into()),
        copies: Vec::new(),
        quorum: Err("2 of 5".into()),
        ..fine
    }
}

#[test]
fn a_node_that_answers_is_held_against_what_is_done_to_it_only() {
    assert_eq!(refused(&alive()), []);
    let dead = Context { fresh: fine().fresh, witnesses: fine().witnesses, ..alive() };
    let no: Vec<String> = refused(&dead).into_iter().map(|(guard, _)| guard).collect();
    assert_eq!(no, ["freshness", "recheck"]);
    let frozen = Context { frozen: vec!["maintenance m1".into()], ..alive() };
    assert_eq!(refused(&frozen)[0].0, "freeze");
}

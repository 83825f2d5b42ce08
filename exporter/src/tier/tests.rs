//! Times, refusals and wishes of the slower polls.

use super::*;
use crate::Config;
use crate::config::{Latency, Optional};

const POLL_MS: i64 = 15_000;
const T0: At = At::from_ms(1_795_000_000_000);

fn facts(run_id: &str) -> Facts {
    let mut facts = Facts::default();
    facts.text.version = "7.0.15".into();
    facts.text.run_id = run_id.into();
    facts.slowlog.len = Some(0.0);
    facts
}

fn tiers(seed: u64) -> Tiers {
    Tiers::new(seed, Wishes::of(&Config::default()))
}

/// One poll: which parts were asked for.
fn poll(tiers: &mut Tiers, facts: &Facts, now: At) -> Vec<Part> {
    tiers.meet(facts, InstanceKind::Redis, now);
    let mut parts = Vec::new();
    while let Some(errand) = tiers.next(facts, now) {
        parts.push(errand.part);
    }
    parts
}

#[test]
fn everything_is_asked_within_the_first_minute_and_not_all_of_a_fleet_at_once() {
    let mut at_first_poll = 0;
    for seed in 0..200 {
        let mut tiers = tiers(seed);
        let mut seen = Vec::new();
        for n in 0..4 {
            let parts = poll(&mut tiers, &facts("a"), T0 + n * POLL_MS);
            at_first_poll += if n == 0 { parts.len() } else { 0 };
            seen.extend(parts);
        }
        for part in [Part::Minute, Part::Settings, Part::Clients] {
            assert!(seen.contains(&part), "{part:?} of seed {seed}");
        }
    }
    assert!(at_first_poll < 60, "{at_first_poll} of 600 parts at the first poll");
}

#[test]
fn each_part_keeps_its_period_whatever_the_interval_of_the_polls() {
    for step in [1000, POLL_MS] {
        let mut tiers = tiers(7);
        let (mut minutes, mut settings) = (0, 0);
        for n in 0..(3_600_000 / step) {
            let parts = poll(&mut tiers, &facts("a"), T0 + n * step);
            minutes += parts.iter().filter(|p| **p == Part::Minute).count();
            settings += parts.iter().filter(|p| **p == Part::Settings).count();
        }
        assert!(
            (59..=62).contains(&minutes) && (12..=14).contains(&settings),
            "{minutes} {settings}"
        );
    }
}

#[test]
fn a_restarted_server_is_read_anew_and_nothing_of_the_old_one_is_kept() {
    let mut tiers = tiers(1);
    let far = T0 + 40_000;
    poll(&mut tiers, &facts("a"), T0);
    assert!(!poll(&mut tiers, &facts("a"), far).is_empty());
    tiers.kept.commandlog = Some(Default::default());
    poll(&mut tiers, &facts("b"), far + 1000);
    assert_eq!(tiers.kept.commandlog, None);
    assert!(poll(&mut tiers, &facts("b"), far + 1000 + FIRST_MS).contains(&Part::Settings));
}

#[test]
fn a_refused_command_is_missing_with_its_reason_and_tried_again_after_a_while() {
    let mut tiers = tiers(1);
    tiers.meet(&facts("a"), InstanceKind::Redis, T0);
    let refused = |tiers: &Tiers| {
        let mut facts = Facts::default();
        tiers.complete(&mut facts, T0);
        facts.missing
    };
    // A part that bears the name of its only command.
    let list = Errand { part: Part::Clients, asks: vec![Ask::Clients], packed: Pipeline::new(&[]) };
    tiers.refuse("ACL LIST", "NOPERM other".into(), T0);
    let said = Value::Array(Vec::new());
    tiers.pause(&list, Reason::TooLarge, "too_large: once".into(), T0);
    tiers.take(&list, &[said], &facts("a"), T0);
    assert_eq!(refused(&tiers), [("ACL LIST", "NOPERM other".to_string())]);
    tiers.refused.clear();
    let errand =
        Errand { part: Part::Settings, asks: vec![Ask::Config], packed: Pipeline::new(&[]) };
    let noperm = link::Error::answered("NOPERM no");
    tiers.pause(&errand, noperm.reason, noperm.detail, T0);
    assert_eq!(refused(&tiers), [("CONFIG GET, ACL LIST", "NOPERM no".to_string())]);
    tiers.refuse("CONFIG GET", "NOPERM no".into(), T0);
    assert!(!tiers.asks(Part::Settings, &facts("a"), T0).contains(&Ask::Config));
    assert!(tiers.asks(Part::Settings, &facts("a"), T0).contains(&Ask::Accounts));
    assert!(tiers.asks(Part::Settings, &facts("a"), T0 + RELEARN_MS).contains(&Ask::Config));
    let ok = Value::Array(Vec::new());
    tiers.take(&errand, &[ok], &facts("a"), T0);
    assert_eq!(refused(&tiers), []);
}

#[test]
fn a_list_of_too_many_clients_is_not_asked_for_and_said_to_be_missing() {
    let mut tiers = tiers(1);
    tiers.meet(&facts("a"), InstanceKind::Redis, T0);
    let mut crowd = facts("a");
    crowd.values.set(Field::ConnectedClients, 10_000.0);
    assert!(tiers.asks(Part::Clients, &crowd, T0).is_empty());
    let mut seen = Facts::default();
    tiers.complete(&mut seen, T0);
    assert_eq!(seen.missing[0].0, "CLIENT LIST");
}

#[test]
fn wishes_decide_what_is_asked() {
    let config = Config { latency: Latency::Off, ..Config::default() };
    let mut tiers = Tiers::new(1, Wishes::of(&config));
    tiers.meet(&facts("a"), InstanceKind::Redis, T0);
    assert!(tiers.asks(Part::Minute, &facts("a"), T0).is_empty());
    let config =
        Config { latency: Latency::Stats, families: vec![Optional::Modules], ..Config::default() };
    tiers.set_wishes(Wishes::of(&config));
    assert_eq!(tiers.asks(Part::Minute, &facts("a"), T0), [Ask::Quantiles]);
    assert!(tiers.asks(Part::Settings, &facts("a"), T0).contains(&Ask::ModuleInfo));
}

#[test]
fn a_busy_slow_log_is_read_before_its_minute_is_over() {
    let mut tiers = tiers(1);
    let mut log = facts("a");
    log.slowlog.last_id = Some(10.0);
    let asked = (0..=30).map(|s| T0 + s * 1000);
    let mut asked = asked.filter(|now| poll(&mut tiers, &log, *now).contains(&Part::Minute));
    let now = asked.next().expect("asked within the first half minute");
    let errand =
        Errand { part: Part::Minute, asks: vec![Ask::Slowlog(128)], packed: Pipeline::new(&[]) };
    tiers.take(&errand, &[Value::Array(Vec::new())], &log, now);
    let soon = now + 1000;
    assert!(!poll(&mut tiers, &log, soon).contains(&Part::Minute));
    log.slowlog.last_id = Some(90.0);
    assert!(poll(&mut tiers, &log, soon).contains(&Part::Minute));
}

fn minute() -> Errand {
    Errand { part: Part::Minute, asks: vec![Ask::Histograms], packed: Pipeline::new(&[]) }
}

#[test]
fn a_part_that_broke_the_connection_is_tried_again_soon_and_a_too_large_one_in_an_hour() {
    let mut tiers = tiers(1);
    tiers.meet(&facts("a"), InstanceKind::Redis, T0);
    let mut wait = |reason: Reason| {
        tiers.pause(&minute(), reason, "why".into(), T0);
        tiers.due.unwrap()[Part::Minute as usize].since_ms(T0) / MINUTE_MS
    };
    let waits = [Reason::Reset, Reason::Timeout, Reason::Reset].map(&mut wait);
    assert_eq!(waits, [1, 2, 4]);
    assert_eq!(wait(Reason::TooLarge), 60);
    assert_eq!([Reason::Reset; 4].map(&mut wait), [16, 32, 60, 60]);
    tiers.take(&minute(), &[Value::Array(Vec::new())], &facts("a"), T0);
    tiers.pause(&minute(), Reason::Reset, "why".into(), T0);
    assert_eq!(tiers.due.unwrap()[Part::Minute as usize], T0 + MINUTE_MS);
    // A part that bears the name of its only command is asked for again too.
    let list = Errand { part: Part::Clients, asks: vec![Ask::Clients], packed: Pipeline::new(&[]) };
    tiers.pause(&list, Reason::Reset, "why".into(), T0);
    assert!(!tiers.asks(Part::Clients, &facts("a"), T0 + MINUTE_MS).is_empty());
}

#[test]
fn values_that_missed_two_of_their_times_leave_the_page() {
    let mut tiers = tiers(1);
    tiers.meet(&facts("a"), InstanceKind::Redis, T0);
    tiers.take(&minute(), &[Value::Array(Vec::new())], &facts("a"), T0);
    tiers.kept.commandlog = Some(Default::default());
    let shown = |now: At| {
        let mut facts = Facts::default();
        tiers.complete(&mut facts, now);
        facts.detail.commandlog.is_some()
    };
    assert!(shown(T0 + 3 * MINUTE_MS) && !shown(T0 + 3 * MINUTE_MS + 1));
}

#[test]
fn a_part_put_off_three_times_in_a_row_is_missing_until_it_is_read() {
    let mut tiers = tiers(1);
    tiers.meet(&facts("a"), InstanceKind::Redis, T0);
    let missing = |tiers: &Tiers| {
        let mut facts = Facts::default();
        tiers.complete(&mut facts, T0);
        facts.missing
    };
    for _ in 0..2 {
        tiers.postpone(&minute(), T0);
    }
    assert_eq!(missing(&tiers), []);
    tiers.postpone(&minute(), T0);
    let said = missing(&tiers);
    assert_eq!((said.len(), said[0].0), (1, Part::Minute.name()));
    assert!(said[0].1.contains("half the deadline"), "{said:?}");
    tiers.take(&minute(), &[Value::Array(Vec::new())], &facts("a"), T0);
    assert_eq!(missing(&tiers), []);
}

#[test]
fn the_catalogue_says_of_every_command_how_often_it_is_sent() {
    use crate::catalog::{Page, Tier, metrics, tier::of};
    let (mut facts, any) = (facts("a"), Ability::default());
    facts.values.set(Field::ClusterEnabled, 1.0);
    let wishes = Wishes { modules: true, config: true, ..Wishes::of(&Config::default()) };
    let minute = ask::minute(any, wishes, |_| Some(1), &facts);
    // A server of unknown version is asked for everything but what only Valkey has.
    for asked in minute.into_iter().chain([Ask::LogSlow]) {
        assert_eq!(of(asked.command(), Page::Scrape), Tier::Minute, "{asked:?}");
    }
    let mut rarely = ask::settings(any, wishes);
    rarely.extend(ask::settings(any, Wishes { modules: false, ..wishes }));
    rarely.extend(ask::cluster(any, None, &facts));
    for asked in rarely.into_iter().chain([Ask::Clients, Ask::SentinelConfig, Ask::SlotsByCpu]) {
        assert_eq!(of(asked.command(), Page::Scrape), Tier::FiveMinutes, "{asked:?}");
    }
    for kind in [InstanceKind::Redis, InstanceKind::Sentinel] {
        for words in crate::ask::every(kind, true) {
            assert_eq!(of(&words.join(" "), Page::Scrape), Tier::Poll, "{words:?}");
        }
    }
    for metric in metrics() {
        let slower = metric.tier() > Tier::Poll;
        let by_field = Field::all().iter().any(|f| f.info().metric == metric.name);
        assert!(!slower || !by_field, "{} is a field of every poll", metric.name);
    }
}

//! Seconds that are counted, and those that are not.

use std::sync::Arc;

use model::field::Field;
use model::reading::{Reason, Role};
use model::row::Row;
use model::verdict::Verdict;
use proptest::prelude::*;

use super::*;
use crate::fixture::{T0, failed, instance, reading};

fn seen(second: i64, sight: Sight) -> Look {
    let at = T0 + second * 1000;
    Look { began: at - 100, at, sight, who: 1, refusals: 0.0, gap_ms: 10_000 }
}

fn account(looks: &[Look]) -> Account {
    let mut slo = Slo::default();
    looks.iter().for_each(|look| slo.take(0, look, 1.0, At::EPOCH));
    slo.account().clone()
}

fn amounts(looks: &[Look]) -> [f64; 3] {
    account(looks).totals().free
}

#[test]
fn a_bad_spell_runs_from_the_first_failed_probe_to_the_first_good_reply() {
    let looks = [
        seen(0, Sight::Good),
        seen(5, Sight::Pending),
        seen(6, Sight::Pending),
        seen(8, Sight::Bad),
        seen(13, Sight::Bad),
        seen(18, Sight::Good),
    ];
    assert_eq!(amounts(&looks), [4.9, 13.1, 0.0]);
}

#[test]
fn a_failure_that_turns_out_to_be_ours_is_unknown_and_one_silence_is_bad() {
    let isolated = [seen(0, Sight::Good), seen(5, Sight::Pending), seen(8, Sight::Unknown)];
    assert_eq!(amounts(&isolated), [4.9, 0.0, 3.1]);
    let once = [seen(0, Sight::Good), seen(5, Sight::Pending), seen(6, Sight::Good)];
    assert_eq!(amounts(&once), [4.9, 1.1, 0.0]);
}

#[test]
fn a_restart_between_two_good_readings_is_unknown_and_refused_writes_are_bad() {
    let restarted = Look { who: 2, ..seen(5, Sight::Good) };
    assert_eq!(amounts(&[seen(0, Sight::Good), restarted]), [0.0, 0.0, 5.0]);
    let refused = Look { refusals: 3.0, ..seen(5, Sight::Good) };
    assert_eq!(amounts(&[seen(0, Sight::Good), refused]), [0.0, 5.0, 0.0]);
}

#[test]
fn while_nobody_looks_nothing_is_known() {
    let pause = [seen(0, Sight::Good), seen(1, Sight::Good), seen(60, Sight::Good)];
    assert_eq!(amounts(&pause), [1.0, 0.0, 59.0]);
    let failing = [seen(0, Sight::Good), seen(1, Sight::Pending), seen(60, Sight::Bad)];
    assert_eq!(amounts(&failing), [0.0, 0.0, 60.0]);
}

#[test]
fn a_stored_account_goes_on_with_an_unknown_gap() {
    let before = account(&[seen(0, Sight::Good), seen(5, Sight::Good)]);
    let text = serde_json::to_string(&before).unwrap();
    let mut slo = Slo::resume(serde_json::from_str(&text).unwrap());
    assert_eq!(*slo.account(), before);
    slo.take(0, &seen(100, Sight::Good), 1.0, At::EPOCH);
    slo.take(0, &seen(105, Sight::Good), 1.0, At::EPOCH);
    assert_eq!(slo.account().totals().free, [10.0, 0.0, 95.0]);
}

#[test]
fn planned_badness_is_told_apart_and_burns_nothing() {
    let mut slo = Slo::default();
    for look in [seen(0, Sight::Good), seen(5, Sight::Bad), seen(10, Sight::Good)] {
        slo.take(0, &look, 1.0, T0 + 60_000);
    }
    let account = slo.account();
    assert_eq!(
        (account.totals().raw(State::Bad), account.totals().adjusted(State::Bad)),
        (5.1, 0.0)
    );
    let hour = account.window(3600, T0 + 60_000);
    assert_eq!((hour.bad, hour.burn(0.999)), (0.0, 0.0));
    assert!((hour.planned - 5.1).abs() < 1e-3);
}

#[test]
fn shards_count_by_their_share_of_the_slots() {
    let mut slo = Slo::default();
    for second in 0..=100 {
        slo.take(0, &seen(second, Sight::Good), 0.75, At::EPOCH);
        slo.take(
            1,
            &seen(second, if second > 0 { Sight::Bad } else { Sight::Good }),
            0.25,
            At::EPOCH,
        );
    }
    let [good, bad, unknown] = slo.account().totals().free;
    assert!((bad - 25.0).abs() < 0.3 && (good - 75.0).abs() < 0.3 && unknown == 0.0);
}

#[test]
fn both_windows_of_a_burn_must_be_burning() {
    // Bad for a minute, two hours ago; good since.
    let mut looks: Vec<Look> = (0..7200).step_by(5).map(|s| seen(s, Sight::Good)).collect();
    looks[..12].iter_mut().for_each(|l| l.sight = Sight::Bad);
    let account = account(&looks);
    let burn = |label: &str| {
        let (_, seconds) = WINDOWS.into_iter().find(|w| w.0 == label).unwrap();
        account.window(seconds, T0 + 7_195_000).burn(0.9999)
    };
    assert_eq!((burn("5m"), burn("1h")), (0.0, 0.0));
    assert!(burn("6h") > 6.0 && burn("30m") == 0.0);
}

#[test]
fn a_target_is_the_policys_else_the_tiers_and_tests_have_none() {
    assert_eq!(target(Tier::Core, None), Some(0.9999));
    assert_eq!(target(Tier::Core, Some(0.99)), Some(0.99));
    assert_eq!(target(Tier::Test, None), None);
    assert_eq!(target(Tier::General, Some(1.0)), Some(0.999), "no budget at all is no target");
}

fn row(role: Role, verdict: Verdict, spoil: impl FnOnce(&mut model::reading::Reading)) -> Arc<Row> {
    let mut good = reading(T0);
    good.facts.role = Some(role);
    let mut latest = good.clone();
    spoil(&mut latest);
    Arc::new(Row {
        instance: Arc::new(instance("pay.cart", "10.1.0.7:6379", "az-1", 0)),
        reading: Arc::new(latest),
        last_good: Some(Arc::new(good)),
        role_since: Some(T0),
        verdict,
        score: None,
    })
}

#[test]
fn what_a_master_says_decides_and_what_nobody_says_is_unknown() {
    let sight = |rows: &[Arc<Row>]| look(rows, true, 2_000).map(|l| l.sight);
    let up = || row(Role::Master, Verdict::Up, |_| {});
    let silent =
        |verdict| row(Role::Master, verdict, |r| *r = failed(T0 + 1000, Reason::Timeout, 1));
    assert_eq!(sight(&[]), None);
    assert_eq!(sight(&[up()]), Some(Sight::Good));
    assert_eq!(sight(&[silent(Verdict::Up)]), Some(Sight::Pending));
    assert_eq!(sight(&[silent(Verdict::Down("x".into()))]), Some(Sight::Bad));
    assert_eq!(sight(&[silent(Verdict::Unknown("x".into()))]), Some(Sight::Unknown));
    assert_eq!(sight(&[silent(Verdict::Down("x".into())), up()]), Some(Sight::Good));
    let replica = || row(Role::Replica, Verdict::Up, |_| {});
    assert_eq!(sight(&[replica()]), Some(Sight::Bad), "nobody takes writes");
    let some = look(&[replica()], false, 2_000).map(|l| l.sight);
    assert_eq!(some, Some(Sight::Unknown), "the master was not polled yet");
    let hidden = row(Role::Replica, Verdict::Unknown("x".into()), |_| {});
    assert_eq!(sight(&[replica(), hidden]), Some(Sight::Unknown));
    let loading = |r: &mut model::reading::Reading| r.facts.values.set(Field::Loading, 1.0);
    assert_eq!(sight(&[row(Role::Master, Verdict::Up, loading)]), Some(Sight::Bad));
    // A poll that came back a minute late was held up by ourselves.
    let paused = |r: &mut model::reading::Reading| {
        *r = failed(T0 + 60_000, Reason::Timeout, 3);
        r.began = T0;
    };
    assert_eq!(
        sight(&[row(Role::Master, Verdict::Down("x".into()), paused)]),
        Some(Sight::Unknown)
    );
}

/// Ten minutes of polls of a master that does not answer in `gone`, and is another process afterwards:
/// a first failure is looked at again after 1 s and 2 s, and confirmed by the third.
fn watched(interval: i64, phase: i64, gone: std::ops::Range<i64>) -> Vec<Look> {
    let answers = |ms: i64| !gone.contains(&ms);
    let look = |ms: i64, sight| {
        let at = T0 + ms;
        let who = u64::from(ms >= gone.end);
        Look { began: at - 100, at, sight, who, refusals: 0.0, gap_ms: 4 * interval }
    };
    let (mut looks, mut down) = (Vec::new(), false);
    for ms in (phase..600_000).step_by(interval as usize) {
        let probes: &[i64] = if down || answers(ms) { &[0] } else { &[0, 1_000, 2_000] };
        for (failed, after) in probes.iter().enumerate() {
            if answers(ms + after) {
                down = false;
                looks.push(look(ms + after, Sight::Good));
                break;
            }
            down |= failed == 2;
            looks.push(look(ms + after, if down { Sight::Bad } else { Sight::Pending }));
        }
    }
    looks
}

proptest! {
    #[test]
    fn every_second_is_counted_once(
        steps in proptest::collection::vec((1_i64..40, 0_usize..4, 0_u64..2), 2..200),
    ) {
        let sights = [Sight::Good, Sight::Bad, Sight::Pending, Sight::Unknown];
        let (mut slo, mut second, mut decided) = (Slo::default(), 0, None);
        for (step, sight, who) in steps {
            second += step;
            let look = Look { who, ..seen(second, sights[sight]) };
            slo.take(0, &look, 1.0, At::EPOCH);
            if sights[sight] != Sight::Pending {
                decided = decided.map_or(Some((look.at, look.at)), |(a, _)| Some((a, look.at)));
            }
        }
        let all: f64 = slo.account().totals().free.iter().sum();
        let watched = decided.map_or(0.0, |(a, b)| b.since_ms(a) as f64 / 1000.0);
        prop_assert!((all - watched).abs() < 1e-6, "{all} of {watched}");
    }

    #[test]
    fn an_outage_of_n_seconds_is_n_bad_ones_give_or_take_an_interval(
        interval in 5_000_i64..30_000, phase in 0_i64..30_000, from in 60_000_i64..120_000,
        lasts in 0_i64..240_000,
    ) {
        let looks = watched(interval, phase % interval, from..from + lasts);
        let mut slo = Slo::default();
        looks.iter().for_each(|look| slo.take(0, look, 1.0, At::EPOCH));
        let [_, bad, unknown] = slo.account().totals().free;
        let (lasts, near) = (lasts as f64 / 1000.0, interval as f64 / 1000.0 + 0.2);
        prop_assert!((bad - lasts).abs() <= near, "{bad} of {lasts} seconds, every {near}");
        // One that began and ended between two polls shows only as a restart.
        prop_assert!(unknown == 0.0 || (unknown <= near && bad == 0.0), "{unknown} unknown");
    }
}

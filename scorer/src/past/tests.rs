//! What weeks say, and what they must not say too early.

use super::*;

const NOW: At = At::from_ms(20_000 * DAY_MS + 10 * HOUR_MS);

fn sample(used: f64, clients: f64) -> Sample {
    Sample {
        used_bytes: Some(used),
        maxmemory_bytes: Some(10e9),
        clients: Some(clients),
        maxclients: Some(10_000.0),
        replicas: Some(1),
        ..Sample::default()
    }
}

/// So many days of hourly samples before `NOW`, growing by 0.1 GB a day up to 8 GB.
fn track(days: i64) -> Track {
    let mut track = Track::default();
    for hours in (0..days * 24).rev() {
        let used = 8e9 - 0.1e9 * hours as f64 / 24.0;
        let at = NOW - (hours + 1) * HOUR_MS;
        track.take(&sample(used, 100.0 + (at.ms() / HOUR_MS % 24) as f64), at);
    }
    track
}

#[test]
fn a_week_of_days_gives_growth_and_two_weeks_the_usual_connections() {
    let short = track(6).past(NOW);
    assert_eq!((short.growth, short.usual_clients), (None, None));
    assert!(matches!(short.growth(), Seen::NotApplicable(_)));
    let week = track(8).past(NOW);
    let growth = week.growth.unwrap();
    assert!((growth.bytes_per_day - 0.1e9).abs() < 0.01e9, "{growth:?}");
    assert_eq!(week.usual_clients, None);
    let long = track(15).past(NOW);
    assert_eq!(long.usual_clients, Some(110.0));
}

#[test]
fn today_is_no_whole_day_and_older_than_four_weeks_is_dropped() {
    let track = track(60);
    assert_eq!(track.whole_days(NOW), DAYS_MAX);
    assert_eq!(track.days().count(), DAYS_MAX + 1);
    let seen = track.forecast(Quantity::Memory, 10e9, NOW).unwrap();
    assert!((seen.mid - 20.0).abs() < 1.0, "{seen:?}");
}

#[test]
fn a_day_comes_back_from_its_text_as_it_was() {
    let track = track(3);
    let back = |d: &Day| {
        let text = serde_json::to_string(d).unwrap();
        let mut day: Day = serde_json::from_str(&text).unwrap();
        day.day = d.day;
        day
    };
    let again: Vec<Day> = track.days().map(back).collect();
    assert_eq!(Track::of(again.iter().rev().cloned()), track);
    assert_eq!(Track::of(again.iter().chain(&again).cloned()), track);
}

#[test]
fn a_sample_changes_a_day_only_when_it_is_higher() {
    let mut track = track(1);
    assert!(track.take(&sample(8.1e9, 1.0), NOW));
    assert!(!track.take(&sample(8.0e9, 1.0), NOW));
    assert!(track.take(&sample(8.0e9, 2.0), NOW));
    // The clock went back a day: that day is still there, and nothing else is invented.
    assert!(track.take(&sample(9.9e9, 1.0), NOW - DAY_MS));
    assert_eq!(track.days().count(), 2);
}

#[test]
fn replicas_are_expected_after_a_day_of_them_and_for_a_week() {
    let mut track = track(2);
    assert_eq!(track.past(NOW).replicas, Some(1));
    let two = Sample { replicas: Some(2), ..sample(1.0, 1.0) };
    for hours in 0..23 {
        track.take(&two, NOW + hours * HOUR_MS);
    }
    assert_eq!(track.past(NOW + DAY_MS).replicas, Some(1));
    track.take(&two, NOW + 23 * HOUR_MS);
    assert_eq!(track.past(NOW + DAY_MS).replicas, Some(2));
    assert_eq!(track.past(NOW + 10 * DAY_MS).replicas, None);
}

#[test]
fn the_largest_copy_of_a_week_is_kept_and_forgotten_after_it() {
    let mut track = track(3);
    track.take(&Sample { cow_bytes: Some(5e8), ..sample(1.0, 1.0) }, NOW);
    track.take(&Sample { cow_bytes: Some(0.0), ..sample(1.0, 1.0) }, NOW + DAY_MS);
    assert_eq!(track.past(NOW + DAY_MS).cow_bytes, Some(5e8));
    assert_eq!(track.past(NOW + 9 * DAY_MS).cow_bytes, None);
}

#[test]
fn limits_are_the_latest_and_the_host_stands_in_for_a_missing_maxmemory() {
    let mut track = track(1);
    assert_eq!(track.limit(Quantity::Memory), Some(10e9));
    let host = Sample { maxmemory_bytes: Some(0.0), host_bytes: Some(100e9), ..sample(1.0, 1.0) };
    track.take(&host, NOW);
    assert_eq!(track.limit(Quantity::Memory), Some(95e9));
    assert_eq!(track.limit(Quantity::Connections), Some(10_000.0));
    assert_eq!(Track::default().limit(Quantity::HostMemory), None);
}

#[test]
fn stored_weeks_move_the_score_and_too_short_ones_claim_nothing() {
    use crate::fixture::{healthy, id};
    let policy = crate::Policy::for_profile(model::service::Profile::Store);
    let bars = |days: i64| {
        // As a process finds them in the store.
        let text = |d: &Day| (d.day, serde_json::to_string(d).unwrap());
        let stored: Vec<(i64, String)> = track(days).days().map(text).collect();
        let read = stored.iter().map(|(day, text)| {
            let mut read: Day = serde_json::from_str(text).unwrap();
            read.day = *day;
            read
        });
        let past = Track::of(read).past(NOW);
        let inputs = crate::Inputs {
            connected_clients: Seen::Known(440.0),
            growth: past.growth(),
            usual_clients: past.usual_clients(),
            ..healthy()
        };
        let sticky = &mut crate::Sticky::default();
        let explained = crate::explain(&inputs, &policy, &id(), sticky, NOW);
        let bars = explained.bars.iter().map(|b| (b.signal.clone(), b.text.clone()));
        (bars.collect::<Vec<_>>(), explained.score.unwrap())
    };
    assert_eq!(bars(3), (vec![], 100.0));
    let (named, score) = bars(20);
    assert_eq!(named[0], ("M5".to_owned(), "full in 20 days".to_owned()));
    assert_eq!(named[1], ("C4".to_owned(), "4.0 times the usual number of connections".to_owned()));
    assert!((90.0..93.0).contains(&score), "{score}");
}

//! The table of verdicts, row by row.

use super::*;
use crate::fixture::{T0, failed, reading};

/// A window with one good poll and then `n` failed ones of 15 s.
fn window(reason: Reason, n: u32) -> (Window, At) {
    let mut window = Window::new(300);
    window.push(&reading(T0));
    for i in 1..=n {
        window.push(&failed(T0 + i64::from(i) * 15_000, reason, i));
    }
    (window, T0 + i64::from(n) * 15_000)
}

fn judged(reason: Reason, n: u32, evidence: Evidence) -> Verdict {
    let (window, now) = window(reason, n);
    verdict(&window, &evidence, now)
}

fn unknown(reason: &str) -> Verdict {
    Verdict::Unknown(reason.into())
}

const REFUSES: Evidence = Evidence {
    port_refuses: true,
    others_agree: None,
    zone_others_answering: None,
    observer_isolated: false,
    other_zones_answer: None,
    was_down: false,
};
const SILENT: Evidence = Evidence { port_refuses: false, ..REFUSES };

#[test]
fn nothing_polled_yet_is_unknown() {
    assert_eq!(verdict(&Window::new(300), &SILENT, T0), unknown("not_polled_yet"));
}

#[test]
fn three_failed_polls_and_a_refusing_port_is_down() {
    assert!(judged(Reason::Refused, 3, REFUSES).is_down());
}

#[test]
fn fewer_than_three_failed_polls_is_up() {
    assert!(judged(Reason::Refused, 2, REFUSES).is_up());
    assert!(judged(Reason::Timeout, 2, Evidence { others_agree: Some(true), ..SILENT }).is_up());
}

#[test]
fn the_two_repeats_count_towards_three_in_a_row() {
    let mut window = Window::new(300);
    window.push(&reading(T0));
    window.push(&failed(T0 + 15_000, Reason::Refused, 1));
    window.push_repeat(&failed(T0 + 16_000, Reason::Refused, 2));
    window.push_repeat(&failed(T0 + 18_000, Reason::Refused, 3));
    assert!(verdict(&window, &REFUSES, T0 + 18_000).is_down());
}

#[test]
fn an_instance_that_never_answered_is_not_called_up() {
    let mut window = Window::new(300);
    window.push(&failed(T0, Reason::Timeout, 1));
    assert_eq!(verdict(&window, &SILENT, T0), unknown("timeout"));
}

#[test]
fn three_time_outs_are_down_only_when_others_agree() {
    let agree = |others_agree| judged(Reason::Timeout, 3, Evidence { others_agree, ..SILENT });
    assert!(agree(Some(true)).is_down());
    assert_eq!(agree(Some(false)), unknown("timeout"));
    assert_eq!(agree(None), unknown("timeout"));
}

#[test]
fn a_minute_of_time_outs_is_down_when_nine_tenths_of_the_zone_answer() {
    let zone = |n, zone| {
        judged(Reason::Timeout, n, Evidence { zone_others_answering: Some(zone), ..SILENT })
    };
    assert!(zone(6, (9, 10)).is_down());
    assert_eq!(zone(6, (8, 10)), unknown("timeout"));
    assert_eq!(zone(4, (10, 10)), unknown("timeout"), "45 s are too few");
}

#[test]
fn with_fewer_than_three_others_all_of_them_must_answer() {
    let zone =
        |zone| judged(Reason::Timeout, 6, Evidence { zone_others_answering: Some(zone), ..SILENT });
    assert!(zone((2, 2)).is_down());
    assert_eq!(zone((1, 2)), unknown("timeout"));
    assert!(
        zone((0, 0)).is_down(),
        "alone in its zone, and other zones are not known to be silent"
    );
}

#[test]
fn somebody_who_disagrees_keeps_a_minute_of_time_outs_unknown() {
    let zone_others_answering = Some((10, 10));
    let evidence = Evidence { others_agree: Some(false), zone_others_answering, ..SILENT };
    assert_eq!(judged(Reason::Timeout, 6, evidence), unknown("timeout"));
}

#[test]
fn a_vanished_zone_is_unknown_unless_peers_outside_agree() {
    let gone = |others_agree, other_zones_answer| {
        let zone_others_answering = Some((1, 9));
        let observer_isolated = true;
        let evidence = Evidence {
            others_agree,
            other_zones_answer,
            zone_others_answering,
            observer_isolated,
            ..SILENT
        };
        judged(Reason::Timeout, 6, evidence)
    };
    assert_eq!(gone(Some(false), Some(true)), unknown("observer_isolated"));
    assert!(gone(Some(true), Some(true)).is_down());
    assert_eq!(gone(None, Some(true)), unknown("observer_isolated"));
    assert_eq!(gone(None, Some(false)), unknown("observer_isolated"));
}

#[test]
fn what_may_be_our_own_fault_is_unknown_with_that_reason() {
    for reason in
        [Reason::Auth, Reason::Noperm, Reason::Tls, Reason::Dns, Reason::Protocol, Reason::TooLarge]
    {
        let evidence = Evidence { others_agree: Some(true), ..REFUSES };
        assert_eq!(judged(reason, 9, evidence), unknown(reason.as_str()));
    }
}

#[test]
fn an_error_reply_is_a_sign_of_life() {
    for reason in [Reason::Loading, Reason::Busy, Reason::Masterdown, Reason::Maxclients] {
        assert!(judged(reason, 9, Evidence { was_down: true, ..SILENT }).is_up(), "{reason:?}");
    }
}

#[test]
fn down_stays_down_until_it_answers() {
    let was_down = Evidence { was_down: true, ..SILENT };
    assert!(judged(Reason::Timeout, 4, was_down).is_down());
    let isolated = Evidence { observer_isolated: true, ..was_down };
    assert!(judged(Reason::Timeout, 4, isolated).is_down());
    let (mut window, now) = window(Reason::Refused, 5);
    window.push(&reading(now + 15_000));
    assert!(verdict(&window, &was_down, now + 15_000).is_up());
}

#[test]
fn an_answer_in_between_starts_the_count_anew() {
    let (mut window, now) = window(Reason::Refused, 2);
    window.push(&reading(now + 15_000));
    window.push(&failed(now + 30_000, Reason::Refused, 1));
    assert!(verdict(&window, &REFUSES, now + 30_000).is_up());
}

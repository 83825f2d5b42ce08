//! What a poll does beyond the fast exchange: the slower polls, and what follows from the clock.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use link::Link;
use model::At;
use model::detail::PingWindow;
use model::field::Field;
use model::reading::Failure;
use model::service::InstanceKind;

use crate::ask::{Asker, Gathered};
use crate::tier::Tiers;

/// PINGs of so long count into minimum, mean and maximum: the usual window of the scores.
const PINGS_MS: i64 = 300_000;

/// Asks for what is due beyond the fast poll, within `left`. A server that is not well is not asked
/// for more, and one that took half the deadline already is asked next time. A connection that breaks
/// is dropped.
pub(super) async fn ask(
    tiers: &mut Tiers,
    kept: &mut Option<(Link, Asker)>,
    kind: InstanceKind,
    (start, deadline): (Instant, Duration),
    now: At,
    got: &mut Gathered,
) {
    if !got.info {
        return;
    }
    tiers.meet(&got.facts, kind, now);
    let mut put_off = Vec::new();
    while let Some((link, _)) = kept.as_mut().filter(|_| got.failure.is_none()) {
        let Some(errand) = tiers.next(&got.facts, now) else { break };
        let left = deadline.saturating_sub(start.elapsed());
        if left < deadline / 2 {
            // All that is due is put off together, so that each part knows how often it was.
            put_off.push(errand);
            continue;
        }
        match link.pipeline(&errand.packed, left).await {
            Ok(replies) => tiers.take(&errand, &replies, &got.facts, now),
            Err(e) => {
                tiers.pause(&errand, e.reason, e.to_string(), now);
                let detail = format!("{}: {}", errand.part.name(), e.detail);
                got.failure = Some(Failure { reason: e.reason, detail });
                *kept = None;
            }
        }
    }
    for errand in &put_off {
        tiers.postpone(errand, now);
    }
    tiers.complete(&mut got.facts, now);
}

/// The PINGs of the latest minutes.
#[derive(Default)]
pub(super) struct Pings(VecDeque<(At, u32)>);

impl Pings {
    /// Takes the one of this poll, if it was answered; sums up the window.
    pub(super) fn push(&mut self, now: At, us: Option<u32>) -> Option<PingWindow> {
        self.0.extend(us.map(|us| (now, us)));
        while self.0.front().is_some_and(|(at, _)| now.since_ms(*at) >= PINGS_MS) {
            self.0.pop_front();
        }
        let all = || self.0.iter().map(|(_, us)| *us);
        let sum: u64 = all().map(u64::from).sum();
        let us_avg = sum as f64 / self.0.len() as f64;
        Some(PingWindow { us_min: all().min()?, us_avg, us_max: all().max()? })
    }
}

/// The server's clock less ours, seconds; the INFO was made between the beginning of the poll, `now`,
/// and `after` later.
pub(super) fn skew_s(got: &Gathered, now: At, after: Duration) -> Option<f64> {
    let said = got.facts.values.get(Field::ServerTimeUsec)?;
    Some(said - (now.seconds() + after.as_secs_f64() / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pings_are_summed_up_over_five_minutes() {
        let mut pings = Pings::default();
        let at = |s: i64| At::from_ms(s * 1000);
        assert_eq!(pings.push(at(0), None), None);
        pings.push(at(0), Some(900));
        pings.push(at(15), Some(100));
        let window = pings.push(at(30), Some(200)).unwrap();
        assert_eq!((window.us_min, window.us_avg, window.us_max), (100, 400.0, 900));
        let later = pings.push(at(314), None).unwrap();
        assert_eq!((later.us_min, later.us_avg, later.us_max), (100, 150.0, 200));
        assert_eq!(pings.push(at(1000), None), None);
    }

    #[test]
    fn a_skew_is_the_distance_to_the_middle_of_the_exchange() {
        let mut got = Gathered::default();
        got.facts.values.set(Field::ServerTimeUsec, 1000.5);
        let skew = skew_s(&got, At::from_ms(1_000_000), Duration::from_millis(200)).unwrap();
        assert!((skew - 0.4).abs() < 1e-9);
        assert_eq!(skew_s(&Gathered::default(), At::from_ms(0), Duration::ZERO), None);
    }
}

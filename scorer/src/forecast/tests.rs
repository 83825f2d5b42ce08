//! Forecasts of made-up pasts whose future is known.

use proptest::prelude::*;

use super::*;

const LIMIT: f64 = 10e9;
const TODAY: i64 = 20_000;

/// A small generator, so that a run is the same everywhere.
struct Dice(u64);

impl Dice {
    fn unit(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }
}

/// Days up to yesterday on a line that ends at `level` now.
fn line(days: i64, level: f64, slope: f64) -> Vec<Peak> {
    let value = |day: i64| level - slope * (TODAY as f64 - (day as f64 + 0.5));
    (TODAY - days..TODAY).map(|day| Peak { day, value: value(day) }).collect()
}

fn of(peaks: &[Peak]) -> Forecast {
    forecast(peaks, LIMIT, TODAY as f64).unwrap()
}

#[test]
fn a_line_meets_its_limit_when_the_line_says_so() {
    let seen = of(&line(28, 8e9, 0.25e9));
    assert!((seen.mid - 8.0).abs() < 1e-6 && (seen.low - 8.0).abs() < 1e-6, "{seen:?}");
    assert_eq!((seen.days, seen.weak), (28, false));
    assert!(of(&line(13, 8e9, 0.25e9)).weak);
}

#[test]
fn less_than_a_week_is_not_extrapolated() {
    assert_eq!(forecast(&line(6, 8e9, 1e9), LIMIT, TODAY as f64), Err(TooShort(6)));
    assert_eq!(forecast(&[], LIMIT, TODAY as f64), Err(TooShort(0)));
}

#[test]
fn without_growth_there_is_no_end_in_sight_and_beyond_the_limit_it_is_today() {
    let still = of(&line(20, 8e9, 0.0));
    assert_eq!((still.mid, still.high), (f64::INFINITY, f64::INFINITY));
    assert_eq!(of(&line(20, 8e9, -1e8)).low, f64::INFINITY);
    assert_eq!(of(&line(20, 10.5e9, 1e8)).mid, 0.0);
}

#[test]
fn a_step_is_no_growth_and_a_spike_is_no_step() {
    let mut peaks = line(28, 6e9, 0.1e9);
    peaks[..15].iter_mut().for_each(|p| p.value -= 2e9);
    peaks[20].value += 3e9;
    peaks[21].value += 2.5e9;
    let seen = of(&peaks);
    assert!((seen.slope - 0.1e9).abs() < 1.0, "{seen:?}");
    assert_eq!(seen.steps.iter().map(|s| s.day).collect::<Vec<_>>(), [peaks[15].day]);
    assert!((seen.steps[0].by - 2e9).abs() < 1.0);
    assert_eq!(seen.spikes, [peaks[20].day, peaks[21].day]);
    assert!((seen.mid - 40.0).abs() < 1e-3, "{seen:?}");
}

#[test]
fn a_jump_of_yesterday_is_believed_until_it_is_undone() {
    let mut peaks = line(28, 6e9, 0.1e9);
    peaks[27].value += 3e9;
    let seen = of(&peaks);
    assert_eq!(seen.steps.len(), 1);
    assert!((seen.mid - 10.0).abs() < 1e-3, "{seen:?}");
}

#[test]
fn days_nobody_saw_change_nothing_about_a_line() {
    let mut peaks = line(28, 8e9, 0.25e9);
    peaks.retain(|p| p.day % 3 != 0);
    assert!((of(&peaks).mid - 8.0).abs() < 1e-6);
}

/// health.md, "Done means" 12.
#[test]
fn noisy_pasts_with_a_step_and_a_spike_are_forecast_as_well_as_promised() {
    let (mut covered, mut close) = (0, 0);
    const ALL: usize = 1_000;
    let mut dice = Dice(42);
    for _ in 0..ALL {
        let truth = dice.between(3.0, 30.0);
        let level = dice.between(0.3, 0.85) * LIMIT;
        let slope = (LIMIT - level) / truth;
        let mut peaks = line(28, level, slope);
        let step = dice.between(5.0, 23.0) as usize;
        let jump = dice.between(0.08, 0.3) * LIMIT * if dice.unit() < 0.5 { -1.0 } else { 1.0 };
        peaks[..step].iter_mut().for_each(|p| p.value -= jump);
        let spike = (step + 3 + dice.between(0.0, 20.0) as usize) % 25;
        peaks[spike].value += dice.between(0.1, 0.4) * LIMIT;
        for peak in &mut peaks {
            peak.value += dice.between(-0.01, 0.01) * LIMIT;
        }
        let seen = of(&peaks);
        covered += usize::from(seen.low <= truth && truth <= seen.high);
        close += usize::from((seen.mid - truth).abs() <= 0.15 * truth);
    }
    assert!(covered * 100 >= 80 * ALL, "{covered} of {ALL} in the interval");
    assert!(close * 100 >= 90 * ALL, "{close} of {ALL} within 15 %");
}

#[test]
fn a_week_begins_on_monday() {
    // 2026-11-30T00:00Z is a Monday.
    assert_eq!(hour_of_week(1_795_996_800 / 3600), 0);
    assert_eq!(hour_of_week(1_795_996_800 / 3600 - 1), 167);
}

/// Hourly peaks that are highest on weekdays at 10.
fn office(days: i64, forecast: &Forecast) -> Vec<HourPeak> {
    let now = TODAY * 24;
    let value = |hour: i64| {
        let trend = forecast.level + forecast.slope * (hour - now) as f64 / 24.0;
        let (day, of_day) = (hour_of_week(hour) / 24, hour.rem_euclid(24));
        trend - if day < 5 && of_day == 10 { 0.0 } else { 1e9 }
    };
    (now - days * 24..now).map(|hour| HourPeak { hour, value: value(hour) }).collect()
}

#[test]
fn the_season_names_the_hour_at_which_it_will_be_full() {
    let seen = of(&line(28, 8e9, 0.25e9));
    let now = TODAY * 24;
    let hours = office(28, &seen);
    let season = season_of_residuals(hours.iter().copied(), &seen, now).unwrap();
    let hour = season.hour_of_crossing(&seen, now).unwrap();
    assert_eq!(hour.rem_euclid(24), 10);
    assert!(hour_of_week(hour) / 24 < 5);
    assert!((hour - now - 8 * 24).abs() <= 3 * 24, "{} hours", hour - now);
    assert_eq!(season.hour_of_crossing(&of(&line(28, 8e9, 0.0)), now), None);
}

#[test]
fn a_season_needs_two_weeks() {
    let seen = of(&line(28, 8e9, 0.25e9));
    assert!(Season::of(office(13, &seen).into_iter()).is_none());
    assert!(Season::of(office(14, &seen).into_iter()).is_some());
}

#[test]
fn a_forecast_is_a_sentence() {
    let seen = Forecast { low: 6.0, mid: 8.0, high: 11.2, ..of(&line(28, 8e9, 0.25e9)) };
    let say = |f: &Forecast, hour| sentence(Ok(f), hour);
    // 2026-12-01T10:00Z is a Tuesday.
    let hour = Some(1_796_083_200 / 3600 + 10);
    let full = "full between 6 and 11 days (80 %), likely Tuesday 10:00 UTC";
    assert_eq!(say(&seen, hour), full);
    let open = Forecast { high: f64::INFINITY, ..seen.clone() };
    assert_eq!(say(&open, None), "full in 8 days, 6 at the earliest (80 %)");
    assert_eq!(say(&of(&line(10, 8e9, -1e8)), None), "no end in sight (weak: 10 days seen)");
    let short = "no forecast yet: 3 whole days seen, 7 are needed";
    assert_eq!(sentence(Err(&TooShort(3)), None), short);
}

proptest! {
    #[test]
    fn the_interval_holds_the_estimate_and_more_room_is_never_sooner(
        values in proptest::collection::vec(0.0..1e10_f64, 7..40),
        limit in 1e8..2e10_f64,
    ) {
        let day = |(i, value): (usize, &f64)| Peak { day: TODAY - 60 + i as i64, value: *value };
        let peaks: Vec<Peak> = values.iter().enumerate().map(day).collect();
        let seen = forecast(&peaks, limit, TODAY as f64).unwrap();
        prop_assert!(seen.low <= seen.mid && seen.mid <= seen.high, "{seen:?}");
        prop_assert!(seen.low >= 0.0 && seen.days <= DAYS_MAX);
        let more = days_until(limit * 1.1, seen.level, seen.slope);
        prop_assert!(more >= days_until(limit, seen.level, seen.slope));
        let shown = seen.steps.len() + seen.spikes.len();
        prop_assert!(shown < DAYS_MAX);
    }
}

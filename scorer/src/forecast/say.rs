//! A forecast in one sentence.

use super::{DAYS_MIN, Forecast, TooShort, hour_of_week};

const DAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// "full between 6 and 11 days (80 %), likely Tuesday 10:00"; the hour in hours since 1970, UTC.
pub fn sentence(seen: Result<&Forecast, &TooShort>, hour: Option<i64>) -> String {
    let seen = match seen {
        Ok(seen) => seen,
        Err(TooShort(days)) => {
            return format!("no forecast yet: {days} whole days seen, {DAYS_MIN} are needed");
        }
    };
    let likely = hour.map_or(String::new(), |hour| {
        let (day, of_day) = (hour_of_week(hour) / 24, hour.rem_euclid(24));
        format!(", likely {} {of_day:02}:00 UTC", DAYS[day])
    });
    let weak = if seen.weak { format!(" (weak: {} days seen)", seen.days) } else { String::new() };
    let (low, high) = (whole(seen.low), whole(seen.high));
    let text = match (seen.low.is_finite(), seen.high.is_finite()) {
        _ if seen.mid <= 0.0 => "full today".into(),
        (false, _) => "no end in sight".into(),
        (true, false) if seen.mid.is_finite() => {
            format!("full in {} days, {low} at the earliest (80 %){likely}", whole(seen.mid))
        }
        (true, false) => format!("no end in sight, at the earliest full in {low} days (80 %)"),
        (true, true) if low == high => format!("full in {low} days (80 %){likely}"),
        (true, true) => format!("full between {low} and {high} days (80 %){likely}"),
    };
    format!("{text}{weak}")
}

fn whole(days: f64) -> String {
    // Beyond a year a day more or less says nothing.
    if days > 365.0 { "more than 365".into() } else { format!("{days:.0}") }
}

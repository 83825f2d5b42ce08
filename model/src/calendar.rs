//! A calendar: windows of local time in which a policy's new alerts are delivered, or are not.
//!
//! Invariant: pure; local time becomes an instant by the zone's own rules: a start that a change of
//! the clock skips moves to the first instant that exists, one that happens twice means the first.
//! Durations are elapsed time. Refuses to know alerts.

use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde::{Deserialize, Serialize};

use crate::At;
use crate::id::is_slug;
use crate::policy::Span;

/// Windows of one calendar: a week of hourly shifts still fits, and a look stays below 100 µs.
pub const WINDOWS_MAX: usize = 64;
/// Longest window: a month; what lasts longer is no window but a policy that is switched off.
pub const WINDOW_MAX: Span = Span::from_ms(31 * 86_400_000);
/// Longest description, characters.
const DESCRIPTION_MAX: usize = 300;

/// Calendars a policy names.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarUse {
    /// New alerts are delivered inside one of these only; empty: always.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active: Vec<String>,
    /// New alerts are withheld inside any of these.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mute: Vec<String>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Day {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Day {
    fn weekday(self) -> Weekday {
        match self {
            Day::Mon => Weekday::Monday,
            Day::Tue => Weekday::Tuesday,
            Day::Wed => Weekday::Wednesday,
            Day::Thu => Weekday::Thursday,
            Day::Fri => Weekday::Friday,
            Day::Sat => Weekday::Saturday,
            Day::Sun => Weekday::Sunday,
        }
    }
}

/// How often a window comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Repeat {
    /// On the date in `start`.
    Once,
    /// Every day.
    Daily,
    /// On these days of every week.
    Weekly(Vec<Day>),
    /// On this day of every month that has it; -1 is the last one.
    MonthDay(i8),
    /// On the n-th such day of every month; -1 is the last one.
    NthWeekday {
        /// 1 to 5, or -1 to -5 from the end.
        n: i8,
        /// Which day.
        day: Day,
    },
}

/// A span of local time that comes again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// `22:30`; of a window that comes once `2026-03-29T02:30`.
    pub start: String,
    /// How long, in elapsed time.
    pub duration: Span,
    /// How often.
    pub repeat: Repeat,
}

/// A calendar as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalendarDoc {
    /// Slug.
    pub id: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// IANA time zone: `Asia/Shanghai`.
    pub zone: String,
    /// Its windows.
    pub windows: Vec<Window>,
}

/// A calendar in force, with who changed it last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CalendarItem {
    /// Id.
    pub id: String,
    /// The definition.
    pub calendar: CalendarDoc,
    /// Revision.
    pub rev: i64,
    /// Who changed it last.
    pub by: String,
    /// When.
    pub at: At,
    /// A window of it is open now.
    pub open: bool,
    /// When that changes next; none within the coming year.
    pub changes_at: Option<At>,
}

/// A calendar that can be asked.
#[derive(Debug, Clone)]
pub struct Calendar {
    zone: TimeZone,
    windows: Vec<Ready>,
}

#[derive(Debug, Clone)]
struct Ready {
    start: Start,
    duration: Span,
    repeat: Repeat,
}

#[derive(Debug, Clone, Copy)]
enum Start {
    Once(DateTime),
    Daily(Time),
}

impl CalendarDoc {
    /// The calendar, or what is wrong: (pointer, sentence).
    pub fn compile(&self) -> Result<Calendar, (String, String)> {
        let wrong = |pointer: &str, why: String| Err((pointer.to_string(), why));
        if !is_slug(&self.id) {
            let why = "1 to 40 characters a-z, 0-9 and '-', not at an end";
            return wrong("/id", format!("{:?}: expected {why}", self.id));
        }
        if self.description.chars().count() > DESCRIPTION_MAX {
            return wrong("/description", format!("at most {DESCRIPTION_MAX} characters"));
        }
        let zone = match TimeZone::get(&self.zone) {
            Ok(zone) => zone,
            Err(e) => return wrong("/zone", format!("{:?} is no time zone: {e}", self.zone)),
        };
        if self.windows.is_empty() || self.windows.len() > WINDOWS_MAX {
            return wrong("/windows", format!("1 to {WINDOWS_MAX} windows"));
        }
        let windows =
            self.windows.iter().enumerate().map(|(n, w)| {
                w.ready().map_err(|(field, why)| (format!("/windows/{n}/{field}"), why))
            });
        Ok(Calendar { zone, windows: windows.collect::<Result<_, _>>()? })
    }
}

impl Window {
    fn ready(&self) -> Result<Ready, (&'static str, String)> {
        let start = match &self.repeat {
            Repeat::Once => self.start.parse().map(Start::Once).map_err(|_| "2026-03-29T02:30"),
            _ => self.start.parse().map(Start::Daily).map_err(|_| "22:30"),
        };
        let start = start.map_err(|like| {
            ("start", format!("{:?}: expected local time like {like}", self.start))
        })?;
        let ms = self.duration.ms;
        if !(60_000..=WINDOW_MAX.ms).contains(&ms) {
            return Err(("duration", "from 1m to 31d".into()));
        }
        match &self.repeat {
            Repeat::Weekly(days) if days.is_empty() => {
                return Err(("repeat", "weekly without a day".into()));
            }
            Repeat::MonthDay(day) if *day == 0 || *day < -31 || *day > 31 => {
                return Err(("repeat", format!("month_day {day}: expected 1 to 31, or -1 to -31")));
            }
            Repeat::NthWeekday { n, .. } if *n == 0 || *n < -5 || *n > 5 => {
                return Err(("repeat", format!("nth_weekday {n}: expected 1 to 5, or -1 to -5")));
            }
            _ => {}
        }
        Ok(Ready { start, duration: self.duration, repeat: self.repeat.clone() })
    }
}

impl Ready {
    fn falls_on(&self, date: Date) -> bool {
        let day = i32::from(date.day());
        let length = i32::from(date.days_in_month());
        match &self.repeat {
            Repeat::Once => matches!(self.start, Start::Once(at) if at.date() == date),
            Repeat::Daily => true,
            Repeat::Weekly(days) => days.iter().any(|d| d.weekday() == date.weekday()),
            Repeat::MonthDay(n) if *n > 0 => day == i32::from(*n),
            Repeat::MonthDay(n) => day == length + 1 + i32::from(*n),
            Repeat::NthWeekday { n, day: wanted } => {
                let nth = match *n > 0 {
                    true => (day - 1) / 7 + 1,
                    false => -((length - day) / 7 + 1),
                };
                wanted.weekday() == date.weekday() && nth == i32::from(*n)
            }
        }
    }

    fn time(&self) -> Time {
        match self.start {
            Start::Once(at) => at.time(),
            Start::Daily(time) => time,
        }
    }
}

impl Calendar {
    /// Whether one of its windows is open at `at`.
    pub fn covers(&self, at: At) -> bool {
        self.windows.iter().any(|w| {
            let mut spans = self.spans(w, at - w.duration.ms, at);
            spans.any(|(from, until)| from <= at && at < until)
        })
    }

    /// When `covers` changes its answer after `at`; none within a year and a month.
    pub fn changes_after(&self, at: At) -> Option<At> {
        const DAY_MS: i64 = 86_400_000;
        let now = self.covers(at);
        // A month at a time: most calendars change within a day.
        (0..13).find_map(|month| {
            let from = at + month * 31 * DAY_MS;
            let until = from + 31 * DAY_MS;
            let mut edges: Vec<At> = Vec::new();
            for w in &self.windows {
                let spans = self.spans(w, from - w.duration.ms, until);
                edges.extend(spans.flat_map(|(begin, end)| [begin, end]));
            }
            edges.retain(|edge| *edge > at && *edge > from && *edge <= until);
            edges.sort_unstable();
            edges.into_iter().find(|edge| self.covers(*edge) != now)
        })
    }

    /// Occurrences that begin between the two instants, a day of margin at both ends.
    fn spans<'a>(
        &'a self,
        window: &'a Ready,
        from: At,
        until: At,
    ) -> impl Iterator<Item = (At, At)> + 'a {
        let local = |at: At| {
            let instant = jiff::Timestamp::from_millisecond(at.ms()).unwrap_or_default();
            self.zone.to_datetime(instant).date()
        };
        let first = local(from).yesterday().unwrap_or(Date::MIN);
        let last = local(until).tomorrow().unwrap_or(Date::MAX);
        first.series(jiff::Span::new().days(1)).take_while(move |d| *d <= last).filter_map(
            move |date| {
                let begin = window.falls_on(date).then(|| date.to_datetime(window.time()))?;
                let begin = self.instant(begin)?;
                Some((begin, begin + window.duration.ms))
            },
        )
    }

    /// The instant of a local time: the first of two, or the first after a gap.
    fn instant(&self, local: DateTime) -> Option<At> {
        let asked = self.zone.to_ambiguous_timestamp(local);
        let at = match asked.offset() {
            AmbiguousOffset::Gap { before, .. } => {
                // With the offset from before the gap the time lies behind the change of the clock.
                let behind = before.to_timestamp(local).ok()?;
                self.zone.preceding(behind).next().map_or(behind, |change| change.timestamp())
            }
            _ => asked.earlier().ok()?,
        };
        Some(At::from_ms(at.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calendar(zone: &str, start: &str, duration: &str, repeat: serde_json::Value) -> Calendar {
        doc(zone, start, duration, repeat).compile().unwrap()
    }

    fn doc(zone: &str, start: &str, duration: &str, repeat: serde_json::Value) -> CalendarDoc {
        serde_json::from_value(serde_json::json!({
            "id": "c", "zone": zone,
            "windows": [{"start": start, "duration": duration, "repeat": repeat}],
        }))
        .unwrap()
    }

    /// The first opening and closing after a time.
    fn next(c: &Calendar, after: &str) -> (String, String) {
        let after = At::parse(after).unwrap();
        assert!(!c.covers(after));
        let opens = c.changes_after(after).unwrap();
        let closes = c.changes_after(opens).unwrap();
        assert!(c.covers(opens) && !c.covers(opens - 1) && c.covers(closes - 1));
        (opens.to_string(), closes.to_string())
    }

    fn pair(a: &str, b: &str) -> (String, String) {
        (format!("{a}.000Z"), format!("{b}.000Z"))
    }

    #[test]
    fn a_start_that_the_clock_skips_moves_to_the_first_instant_that_exists() {
        // New York, 8 March 2026: 02:00 becomes 03:00 at 07:00 UTC.
        let c = calendar("America/New_York", "02:30", "1h", "daily".into());
        let moved = next(&c, "2026-03-08T00:00:00Z");
        assert_eq!(moved, pair("2026-03-08T07:00:00", "2026-03-08T08:00:00"));
        assert_eq!(
            next(&c, "2026-03-07T00:00:00Z"),
            pair("2026-03-07T07:30:00", "2026-03-07T08:30:00"),
            "the day before it is what it says"
        );
    }

    #[test]
    fn a_start_that_comes_twice_means_the_first_and_its_window_comes_once() {
        // Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC; 02:30 is 00:30 and 01:30 UTC.
        let c = calendar("Europe/Berlin", "02:30", "30m", "daily".into());
        let opened = next(&c, "2026-10-25T00:00:00Z");
        assert_eq!(opened, pair("2026-10-25T00:30:00", "2026-10-25T01:00:00"));
        assert!(!c.covers(At::parse("2026-10-25T01:45:00Z").unwrap()), "not a second time");
    }

    #[test]
    fn a_window_over_a_change_of_the_clock_lasts_its_duration_in_elapsed_time() {
        let c = calendar("Europe/Berlin", "22:00", "8h", "daily".into());
        let spring = next(&c, "2026-03-28T12:00:00Z");
        assert_eq!(spring, pair("2026-03-28T21:00:00", "2026-03-29T05:00:00"));
        let autumn = next(&c, "2026-10-24T12:00:00Z");
        assert_eq!(autumn, pair("2026-10-24T20:00:00", "2026-10-25T04:00:00"));
    }

    #[test]
    fn a_day_the_calendar_of_a_country_left_out_has_its_window_at_the_first_instant_after_it() {
        // Samoa had no 30 December 2011.
        let c = calendar("Pacific/Apia", "2011-12-30T10:00", "1h", "once".into());
        let moved = next(&c, "2011-12-30T00:00:00Z");
        assert_eq!(moved, pair("2011-12-30T10:00:00", "2011-12-30T11:00:00"));
    }

    #[test]
    fn each_kind_of_repeat_falls_on_its_days() {
        let sh = |start, repeat| calendar("Asia/Shanghai", start, "2h", repeat);
        let json = |text: &str| serde_json::from_str(text).unwrap();
        for (repeat, after, opens) in [
            (r#"{"weekly": ["tue", "sat"]}"#, "2026-06-03T00:00:00Z", "2026-06-06"),
            (r#"{"month_day": 31}"#, "2026-06-01T00:00:00Z", "2026-07-31"),
            (r#"{"month_day": -1}"#, "2026-02-01T00:00:00Z", "2026-02-28"),
            (r#"{"nth_weekday": {"n": 2, "day": "tue"}}"#, "2026-06-01T00:00:00Z", "2026-06-09"),
            (r#"{"nth_weekday": {"n": -1, "day": "fri"}}"#, "2026-06-01T00:00:00Z", "2026-06-26"),
            (r#"{"nth_weekday": {"n": 5, "day": "mon"}}"#, "2026-06-30T00:00:00Z", "2026-08-31"),
        ] {
            let opened = next(&sh("10:00", json(repeat)), after).0;
            assert_eq!(opened, format!("{opens}T02:00:00.000Z"), "{repeat}");
        }
    }

    #[test]
    fn windows_that_touch_are_one_and_a_window_that_never_closes_has_no_next_change() {
        let c = calendar("UTC", "00:00", "1d", "daily".into());
        let at = At::parse("2026-06-01T00:00:00Z").unwrap();
        assert!(c.covers(at) && c.covers(at - 1));
        assert_eq!(c.changes_after(at), None);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_its_place() {
        let at = |doc: CalendarDoc| doc.compile().unwrap_err().0;
        let json = |text: &str| serde_json::from_str(text).unwrap();
        assert_eq!(at(doc("Mars/Base", "02:00", "1h", "daily".into())), "/zone");
        assert_eq!(at(doc("UTC", "25:00", "1h", "daily".into())), "/windows/0/start");
        assert_eq!(at(doc("UTC", "02:00", "1h", "once".into())), "/windows/0/start");
        assert_eq!(at(doc("UTC", "02:00", "32d", "daily".into())), "/windows/0/duration");
        assert_eq!(at(doc("UTC", "02:00", "0s", "daily".into())), "/windows/0/duration");
        for repeat in [
            r#"{"weekly": []}"#,
            r#"{"month_day": 0}"#,
            r#"{"nth_weekday": {"n": 6, "day": "mon"}}"#,
        ] {
            assert_eq!(at(doc("UTC", "02:00", "1h", json(repeat))), "/windows/0/repeat");
        }
        let one = doc("UTC", "02:00", "1h", "daily".into());
        let many = CalendarDoc { windows: vec![one.windows[0].clone(); 65], ..one };
        assert_eq!(at(many), "/windows");
        let named = CalendarDoc { id: "-x".into(), ..doc("UTC", "2:00", "1h", "daily".into()) };
        assert_eq!(at(named), "/id");
    }
}

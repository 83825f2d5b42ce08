//! P9: while a calendar that freezes is open, nothing that users could feel is planned.
//!
//! Invariant: a calendar that is named and cannot be read freezes; what only reads or saves (level 1)
//! goes on. Refuses to know why somebody freezes.

use model::At;
use model::caller::Caller;
use model::plan::{Checked, Plan};
use model::refusal::Refusal;
use store::CalendarRow;

use super::{Engine, SubmitError};

/// Level from which a plan is held against the calendars.
const LEVEL_MIN: u8 = 2;

impl Engine {
    /// Refuses the plan in a freeze; says in its checks that there is none.
    pub(super) async fn thaw(&self, plan: &mut Plan, now: At) -> Result<(), SubmitError> {
        let named = &self.core.config.freeze_calendars;
        if named.is_empty() || plan.level < LEVEL_MIN {
            return Ok(());
        }
        let caller = Caller::system("worker", "freeze");
        let all = self.core.store.calendar_list(&caller).await?;
        match frozen(named, &all, now) {
            Some(why) => {
                self.core.refused("P9");
                Err(Refusal::new("P9", &plan.service, why).into())
            }
            None => {
                plan.checks.retain(|c| c.check != "P9");
                let seen = format!("none of the calendars {} is open", named.join(", "));
                plan.checks.push(Checked { check: "P9".into(), passed: true, seen });
                Ok(())
            }
        }
    }
}

/// Why nothing may be changed now.
fn frozen(named: &[String], all: &[CalendarRow], now: At) -> Option<String> {
    named.iter().find_map(|id| {
        let Some(row) = all.iter().find(|row| row.calendar.id == *id) else {
            return Some(format!(
                "ops.freeze_calendars names {id:?}, which is no calendar: make it, or take it out"
            ));
        };
        let calendar = match row.calendar.compile() {
            Ok(calendar) => calendar,
            Err((_, why)) => return Some(format!("calendar {id} cannot be read: {why}")),
        };
        let end = calendar.changes_after(now).map_or(String::new(), |at| format!(" until {at}"));
        calendar.covers(now).then(|| format!("changes are frozen by calendar {id}{end}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(start: &str) -> CalendarRow {
        let calendar = serde_json::json!({
            "id": "month-end", "zone": "UTC", "description": "",
            "windows": [{ "start": start, "duration": "2h", "repeat": "once" }],
        });
        let calendar = serde_json::from_value(calendar).expect("a calendar");
        CalendarRow { calendar, rev: 1, by: "t".into(), at: At::EPOCH }
    }

    #[test]
    fn an_open_calendar_freezes_and_so_does_one_that_is_not_there() {
        let now = At::parse("2026-03-31T21:00:00Z").unwrap();
        let named = ["month-end".to_string()];
        let open = frozen(&named, &[row("2026-03-31T20:00:00")], now).unwrap();
        assert!(open.contains("month-end until 2026-03-31T22:00:00"), "{open}");
        assert_eq!(frozen(&named, &[row("2026-04-30T20:00:00")], now), None);
        assert!(frozen(&named, &[], now).unwrap().contains("no calendar"));
        assert_eq!(frozen(&[], &[], now), None);
    }
}

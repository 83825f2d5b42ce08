//! `POST /policies/backtest`: what a policy would have done, before it is published.
//!
//! Invariant: changes nothing; over the instances the caller sees only.

use std::sync::Arc;

use model::At;
use model::code::{Code, Problem};
use model::policy::{PolicyDoc, Span};
use portal::Page;
use serde::Deserialize;

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};
use super::history::moment;
use super::policy::{checked, draft};
use super::sight::Sight;
use crate::backtest::{self, NoBacktest, Wish};
use crate::policies::World;

/// Looked at when nothing is said: a week.
const SPAN_MS: i64 = 7 * 86_400_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    #[serde(default)]
    doc: Option<PolicyDoc>,
    #[serde(default)]
    text: Option<String>,
    /// Of the form, so that its page can be drawn again.
    #[serde(default)]
    #[allow(dead_code, reason = "read by `policy::again`")]
    policy: String,
    /// The same.
    #[serde(default)]
    #[allow(dead_code, reason = "read by `policy::again`")]
    scope: String,
    /// A time, a date, or how long ago: `7d`.
    #[serde(default)]
    from: String,
    /// The same; until now when absent.
    #[serde(default)]
    to: String,
    /// `60s`; as fits when absent.
    #[serde(default)]
    step: String,
    #[serde(default)]
    pages_per_week: Option<f64>,
}

/// `POST /policies/backtest`.
pub async fn run(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let body: Body = ask.json()?;
    let draft = draft(body.doc, body.text)?;
    let doc = draft.one()?.clone();
    let mut page = checked(&api, &ask, &draft).await?;
    let span = |name: &str, text: &str, usual: At| match text.trim() {
        "" => Ok(usual),
        text => moment(text, ask.now).ok_or_else(|| {
            let like = "expected 7d, 2026-03-01 or 2026-03-01T00:00:00Z";
            invalid(&format!("/{name}"), format!("{name} {text:?}: {like}"))
        }),
    };
    let to = span("to", &body.to, ask.now)?.min(ask.now);
    let from = span("from", &body.from, to - SPAN_MS)?;
    let step_ms = match body.step.trim() {
        "" => None,
        text => Some(step(text)?),
    };
    if body.pages_per_week.is_some_and(|pages| !(0.0..=10_000.0).contains(&pages)) {
        return Err(invalid("/pages_per_week", "expected a number from 0 to 10000"));
    }
    let world = World::load(&api.app, ask.now).await?;
    let tree = Sight::new(&api.app, &ask).inventory;
    let seen = |id: &model::InstanceId| tree.instances.contains_key(id);
    let instances = backtest::instances(&world, &doc, seen);
    let pages_per_week = body.pages_per_week;
    let wish = Wish { doc, from, to, step_ms, pages_per_week, instances };
    let found = backtest::run(&api.app, &world, wish).await.map_err(refused)?;
    page.backtest = Some(found);
    Ok(Answer::ok(page).page(Page::Policy))
}

fn step(text: &str) -> Result<i64, Fail> {
    let span = Span::try_from(text.to_string()).map_err(|e| invalid("/step", e))?;
    match span.ms {
        ms @ 1_000..=3_600_000 => Ok(ms),
        _ => Err(invalid("/step", format!("{text:?}: expected 1s to 1h"))),
    }
}

fn refused(why: NoBacktest) -> Fail {
    match why {
        NoBacktest::Wrong(field, why) => invalid(field, why),
        NoBacktest::Busy => {
            let said = "other backtests are being made";
            Problem::new(Code::OverCapacity, said, "Try again in half a minute.").into()
        }
        NoBacktest::Away(why) => {
            let said = format!("there is no history to look at: {why}");
            Problem::new(Code::OverCapacity, said, "Check [history] and try again.").into()
        }
    }
}

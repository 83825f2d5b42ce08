//! What the users of a service got, against what was promised.
//!
//! Invariant: availability is an interval while anything is unknown; planned work is subtracted in the
//! adjusted figures only, and both are shown.

use std::sync::Arc;

use model::At;
use model::outlook::{SloAlert, SloPage, SloSeconds, SloWindow};
use model::service::Service;
use scorer::slo::{
    Account, Amounts, BURN_ALERTS, PERIOD_DAYS, State, UNKNOWN_MAX, UNKNOWN_WINDOW, WINDOWS, budget,
};

use super::Api;
use super::ask::{Answer, Ask, Fail};
use super::sight::Sight;
use crate::app::App;
use crate::slo::target;

/// Seconds of the period a budget is for.
const PERIOD_S: f64 = PERIOD_DAYS as f64 * 86_400.0;

/// `GET /services/{id}/slo`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let service = sight.service(ask.id())?;
    Ok(Answer::ok(value(&api.app, service, ask.now)))
}

/// The value of a service.
pub fn value(app: &App, service: &Service, now: At) -> SloPage {
    let account = app.slo.account(&service.id).unwrap_or_default();
    page(service, target(app, service), &account, now)
}

fn page(service: &Service, target: Option<f64>, account: &Account, now: At) -> SloPage {
    let period = account.period(now);
    let seconds = SloSeconds {
        good: period.raw(State::Good),
        bad: period.raw(State::Bad),
        bad_planned: period.raw(State::Bad) - period.adjusted(State::Bad),
        unknown: period.raw(State::Unknown),
    };
    let windows: Vec<SloWindow> = WINDOWS
        .into_iter()
        .map(|(label, length)| {
            let seen = account.window(length, now);
            SloWindow {
                window: label.to_owned(),
                bad_s: seen.bad,
                unknown_ratio: seen.unknown_ratio(),
                burn: target.map(|t| seen.burn(t)),
            }
        })
        .collect();
    let of = |label: &str| windows.iter().find(|w| w.window == label);
    let burns = |label: &str, factor: f64| of(label).and_then(|w| w.burn) > Some(factor);
    let alerts = BURN_ALERTS.iter().map(|a| SloAlert {
        kind: if a.page { "page" } else { "ticket" }.to_owned(),
        factor: a.factor,
        long: a.long.to_owned(),
        short: a.short.to_owned(),
        holds: burns(a.long, a.factor) && burns(a.short, a.factor),
    });
    let budget_s = target.map(|t| (1.0 - t) * PERIOD_S);
    SloPage {
        as_of: now,
        service: service.id.to_string(),
        target,
        period_days: PERIOD_DAYS as u32,
        since: account.since(),
        seconds,
        availability: between(&period, Amounts::raw),
        adjusted: between(&period, Amounts::adjusted),
        budget_s,
        budget_remaining: target.map(|t| budget(&period, t)),
        alerts: alerts.collect(),
        too_much_unknown: of(UNKNOWN_WINDOW).is_some_and(|w| w.unknown_ratio > UNKNOWN_MAX),
        windows,
    }
}

/// Share of good seconds at least and at most; none before any second.
fn between(period: &Amounts, of: impl Fn(&Amounts, State) -> f64) -> Option<[f64; 2]> {
    let [good, bad, unknown] = [State::Good, State::Bad, State::Unknown].map(|s| of(period, s));
    let all = good + bad + unknown;
    (all > 0.0).then(|| [good / all, (good + unknown) / all])
}

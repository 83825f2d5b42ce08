//! Days to full of a service: every shard and resource, with the sentence.
//!
//! Invariant: made when it is asked, from the same days the score's growth is made from; a jump is named
//! after a change only when one happened within a day of it.

use std::sync::Arc;

use model::operation::Operation;
use model::outlook::{CapacityLine, CapacityPage, CapacityStep};
use model::{At, ServiceId};
use scorer::Track;
use scorer::forecast::{Forecast, Step, TooShort, sentence};
use scorer::past::Quantity;
use store::OperationFilter;

use super::Api;
use super::ask::{Answer, Ask, Fail};
use super::sight::Sight;
use crate::app::App;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Operations looked through for the change nearest to a jump.
const CHANGES: i64 = 200;

/// `GET /services/{id}/capacity`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let id = Sight::new(&api.app, &ask).service(ask.id())?.id.clone();
    let filter = OperationFilter { service: Some(id.clone()), ..OperationFilter::default() };
    let changes = match api.app.store.operation_list(&ask.caller, &filter, CHANGES, None).await {
        Err(store::Error::NotWritable(_)) => Vec::new(),
        other => other?,
    };
    Ok(Answer::ok(value(&api.app, &id, &changes, ask.now)))
}

/// The value of a service, with its `changes` at hand.
pub fn value(app: &App, id: &ServiceId, changes: &[Operation], now: At) -> CapacityPage {
    let tracks = app.usage.tracks(id);
    let mut lines: Vec<CapacityLine> = Vec::new();
    for (shard, track) in &tracks {
        lines
            .extend(Quantity::ALL.into_iter().filter_map(|q| line(*shard, track, q, changes, now)));
    }
    let days =
        |line: &CapacityLine| if line.known { line.mid.unwrap_or(f64::MAX) } else { f64::MAX };
    lines.sort_by(|a, b| days(a).total_cmp(&days(b)).then(a.shard.cmp(&b.shard)));
    CapacityPage {
        as_of: now,
        service: id.to_string(),
        source: app.usage.source().to_owned(),
        days: tracks.iter().map(|(_, t)| t.whole_days(now)).max().unwrap_or(0) as u32,
        lines,
    }
}

/// None for what has no limit.
fn line(
    shard: u32,
    track: &Track,
    quantity: Quantity,
    changes: &[Operation],
    now: At,
) -> Option<CapacityLine> {
    let limit = track.limit(quantity)?;
    let line = CapacityLine {
        shard,
        resource: quantity.as_str().to_owned(),
        limit,
        ..CapacityLine::default()
    };
    Some(match track.forecast(quantity, limit, now) {
        Ok(seen) => {
            let hour = track.hour_of_crossing(quantity, &seen, now);
            told(line, &seen, hour, changes)
        }
        Err(short @ TooShort(days)) => {
            CapacityLine { days: days as u32, text: sentence(Err(&short), None), ..line }
        }
    })
}

fn told(
    line: CapacityLine,
    seen: &Forecast,
    hour: Option<i64>,
    changes: &[Operation],
) -> CapacityLine {
    let end = |days: f64| days.is_finite().then_some(days);
    let step = |s: &Step| {
        let at = At::from_ms(s.day * DAY_MS);
        CapacityStep { at, by: s.by, near: near(at, changes) }
    };
    CapacityLine {
        days: seen.days as u32,
        weak: seen.weak,
        level: seen.level,
        per_day: seen.slope,
        low: end(seen.low),
        mid: end(seen.mid),
        high: end(seen.high),
        hour: hour.map(|hour| At::from_ms(hour * HOUR_MS)),
        steps: seen.steps.iter().map(step).collect(),
        spikes: seen.spikes.iter().map(|day| At::from_ms(day * DAY_MS)).collect(),
        text: sentence(Ok(seen), hour),
        known: true,
        ..line
    }
}

/// The change nearest to a jump of that day, within 24 h of it.
fn near(day: At, changes: &[Operation]) -> String {
    let noon = day + DAY_MS / 2;
    let away = |o: &&Operation| o.created_at.since_ms(noon).abs();
    let nearest = changes.iter().min_by_key(away).filter(|o| away(o) <= DAY_MS + DAY_MS / 2);
    nearest.map_or(String::new(), |o| format!("{} {}", o.kind.as_str(), o.created_at))
}

//! A score as it was shown at a past moment.
//!
//! Invariant: nothing is scored again, so a changed policy changes no answer; an answer says where it
//! comes from and whether its points are those of that very moment. What nobody knows is refused with
//! the reason, never guessed.

use model::At;
use model::code::{Code, Problem};
use model::health::{HealthPage, Source, page_of};
use model::score::{Explained, Level, PolicyUse};
use scorer::Policies;

use super::{PART_ONLY, Subject, rebuild};
use crate::api::Api;
use crate::api::ask::{Ask, Fail, invalid};
use crate::app::App;

/// A row that tells of its hour is at most this old: an hour, and the minute a busy store may be late.
const ROW_MS: i64 = 3_660_000;
/// Polls until a score is surely replaced by the next one.
const INTERVALS: i64 = 2;

/// What was found of a moment.
struct Found {
    health: Explained,
    source: Source,
    exact: bool,
}

/// The page of a moment.
async fn page_at(api: &Api, ask: &Ask, subject: &Subject, at: At) -> Result<HealthPage, Fail> {
    let found = find(&api.app, ask, subject, at).await?;
    let mut page = super::page(subject, found.health, ask.now);
    (page.source, page.exact, page.asked) = (found.source, found.exact, Some(at));
    // Bars lead to the same moment.
    for bar in page.health.bars.iter_mut().filter(|b| b.link.starts_with('/')) {
        bar.link = format!("{}?at={at}", bar.link);
    }
    for crumb in &mut page.above {
        crumb.link = format!("{}?at={at}", page_of(crumb.level, &crumb.id));
    }
    Ok(page)
}

/// The policy a service and what is below it were judged by then; none above the service, and while
/// the store does not answer.
async fn policy_then(app: &App, (level, id): (Level, &str), at: At) -> Option<PolicyUse> {
    if !matches!(level, Level::Instance | Level::Shard | Level::Service) {
        return None;
    }
    let service = id.split(['@', '/']).next()?.parse().ok()?;
    match app.store.score_policies_at(at).await {
        Ok(then) => app.inventory().services.get(&service).map(|s| Policies::used_under(then, s)),
        Err(e) => {
            tracing::warn!(error = %e, "the policies of a past moment could not be read");
            None
        }
    }
}

/// The page of `?at=`.
pub(super) async fn page(
    api: &Api,
    ask: &Ask,
    subject: &Subject,
    text: &str,
) -> Result<HealthPage, Fail> {
    // A plus of an offset is a space in a query.
    let at = At::parse(&text.replace(' ', "+")).map_err(|e| invalid("/at", e))?;
    if at > ask.now {
        return Err(invalid("/at", format!("{at} is still to come; the present is {}", ask.now)));
    }
    if !subject.whole {
        return Err(no_history(&subject.id, at, PART_ONLY));
    }
    page_at(api, ask, subject, at).await
}

fn no_history(id: &str, at: At, why: &str) -> Fail {
    Problem::new(
        Code::NoHistory,
        format!("what {id} scored at {at} is not known: {why}"),
        "Ask for a moment within the last hour, or one that the page lists as stored; with \
         [history] url every moment Prometheus keeps can be asked for.",
    )
    .into()
}

/// Whether the row before a moment is still told by it: every change of a grade or gate is stored, and
/// every hour what moved by a point, as long as somebody watched. A row of the service proves that.
async fn was_watched(app: &App, ask: &Ask, (level, id): (Level, &str), told: At, at: At) -> bool {
    if at.since_ms(told) <= ROW_MS {
        return true;
    }
    if !matches!(level, Level::Instance | Level::Shard) {
        return false;
    }
    let service = id.split(['@', '/']).next().unwrap_or_default();
    match app.store.explained_at(&ask.caller, (Level::Service, service), at).await {
        Ok(row) => row.is_some_and(|(told, _)| at.since_ms(told) <= ROW_MS),
        Err(_) => false,
    }
}

async fn find(app: &App, ask: &Ask, subject: &Subject, at: At) -> Result<Found, Fail> {
    let of = (subject.level, subject.id.as_str());
    let stored = app.store.explained_at(&ask.caller, of, at).await;
    let (row, away) = match stored {
        Ok(row) => (row, ""),
        Err(e) => {
            tracing::warn!(error = %e, "a history of scores could not be read");
            (None, "the store is not available; ")
        }
    };
    let exact = |health, source| Found { health, source, exact: true };
    if let Some(health) = app.scores.at(of.0, of.1, at) {
        return Ok(match row {
            // The stored one is whole.
            Some((told, row)) if told == health.at => exact(row, Source::Stored),
            _ => exact(health, Source::Memory),
        });
    }
    let interval_ms = i64::from(app.config.exporter.interval_s) * 1000;
    let age = row.as_ref().map(|(told, _)| at.since_ms(*told));
    let fresh = age.is_some_and(|age| age <= INTERVALS * interval_ms);
    if let (Some((_, row)), true) = (&row, fresh) {
        return Ok(exact(row.clone(), Source::Stored));
    }
    let series = match &app.prometheus {
        None => "no Prometheus is configured".to_owned(),
        Some(prometheus) => match rebuild::read(prometheus, of, at).await {
            Ok(Some(mut health)) => {
                health.policy = policy_then(app, of, at).await;
                return Ok(exact(health, Source::Prometheus));
            }
            Ok(None) => "Prometheus has no series of it at that time".to_owned(),
            Err(why) => format!("Prometheus did not answer ({why})"),
        },
    };
    let watched = match &row {
        Some((told, _)) => was_watched(app, ask, of, *told, at).await,
        None => false,
    };
    match row {
        Some((_, health)) if watched => Ok(Found { health, source: Source::Stored, exact: false }),
        _ => {
            let since = app.scores.since(of.0, of.1);
            let memory = since.map_or("nothing of it is in memory".into(), |since| {
                format!("memory reaches back to {since}")
            });
            let rows = match row {
                Some((told, _)) => format!("the row stored before is of {told}"),
                None => "nothing was stored before".into(),
            };
            Err(no_history(of.1, at, &format!("{away}{memory}, {rows}, {series}")))
        }
    }
}

//! `GET /overview`: is the fleet fine, where not, since when, who acts.
//!
//! Invariant: every number is counted from what the caller sees; with the store away the live part
//! is answered and the rest is said to be missing.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::alert::Alert;
use model::caller::Caller;
use model::field::Field;
use model::operation::{Operation, OperationState};
use model::reading::Role;
use model::score::{Explained, Level};
use model::service::Tier;
use model::view::{ChangeLine, Overview, Point, ScoreBrief, ServiceItem, Verdicts, ZoneLine};
use model::{At, ServiceId};
use portal::Page;
use store::{AlertFilter, OperationFilter};

use super::ask::{Answer, Ask, Fail};
use super::sight::Sight;
use super::{Api, alert, brief, operation, page, runbook};
use crate::app::App;

/// Rows of each short list.
const SHORT: usize = 10;
/// Firing alerts that are counted; far above it the fleet has another problem than their number.
const FIRING_MAX: usize = 10_000;
/// A change of the score is told over at least this long: less is the noise of a start.
const CHANGE_OVER_MS: i64 = 300_000;
/// How far back the trend goes.
const HOUR_MS: i64 = 3_600_000;

/// Answers the overview.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    Ok(Answer::ok(value(&api.app, &ask.caller, ask.now).await?).page(Page::Overview))
}

/// What the store adds to the live part.
struct Kept {
    firing: Vec<Alert>,
    recent: Vec<Alert>,
    running: Vec<Operation>,
    latest: Vec<Operation>,
    kill_switch: bool,
}

/// The overview of a caller.
pub async fn value(app: &App, caller: &Caller, now: At) -> Result<Overview, Fail> {
    let (kept, notices) = match kept(app, caller).await {
        Ok(kept) => (Some(kept), Vec::new()),
        Err(store::Error::NotWritable(_)) => (None, vec![page::STORE_AWAY.to_string()]),
        Err(e) => return Err(e.into()),
    };
    let shown = kept.as_ref().map(unfinished).unwrap_or_default();
    let operations = operation::items(app, caller, &shown, now).await;
    let sight = Sight::of(app, caller, now);
    let fleet = sight.rolled(Level::Fleet, "");
    let trend = trend(app, &sight, now);
    let live = live(&sight, kept.as_ref());
    Ok(Overview {
        as_of: now,
        health: brief::score(fleet.as_deref()),
        score_before: trend
            .iter()
            .find(|p| p.v.is_some() && now.since_ms(p.t) >= CHANGE_OVER_MS)
            .copied(),
        trend,
        verdicts: live.verdicts,
        services: sight.inventory.services.len() as u32,
        firing: kept.as_ref().map(levels),
        ops_per_s: live.ops_per_s,
        memory_used_bytes: live.memory_used,
        memory_max_bytes: live.memory_max,
        imbalance: imbalance(&live.zones),
        zones: live.zones,
        worst: live.worst,
        alerts: kept.as_ref().map(gravest).unwrap_or_default(),
        operations,
        changes: kept.as_ref().map(changes).unwrap_or_default(),
        kill_switch: kept.as_ref().map(|k| k.kill_switch),
        notices,
    })
}

async fn kept(app: &App, caller: &Caller) -> store::Result<Kept> {
    let phases = alert::FIRING.to_vec();
    let firing = AlertFilter { phases, ..AlertFilter::default() };
    let unfinished = OperationFilter { unfinished: true, ..OperationFilter::default() };
    let any = OperationFilter::default();
    Ok(Kept {
        firing: app.store.alert_list(caller, &firing, FIRING_MAX, None).await?,
        recent: app.store.alert_list(caller, &AlertFilter::default(), SHORT, None).await?,
        running: app.store.operation_list(caller, &unfinished, 100, None).await?,
        latest: app.store.operation_list(caller, &any, SHORT as i64, None).await?,
        kill_switch: runbook::kill_switch_on(app).await?,
    })
}

/// One that is stuck waits for a person: it stays in sight behind those that run.
fn unfinished(kept: &Kept) -> Vec<Operation> {
    let stuck = kept.latest.iter().filter(|o| o.state == OperationState::Stuck);
    kept.running.iter().chain(stuck).cloned().collect()
}

/// Firing alerts by level.
fn levels(kept: &Kept) -> [u32; 3] {
    let mut levels = [0; 3];
    kept.firing.iter().for_each(|a| levels[a.level as usize] += 1);
    levels
}

/// The firing alerts to look at first.
fn gravest(kept: &Kept) -> Vec<Alert> {
    let mut alerts = kept.firing.clone();
    alerts.sort_by(|a, b| b.level.cmp(&a.level).then(b.starts_at.cmp(&a.starts_at)));
    alerts.truncate(SHORT);
    alerts
}

/// What the Board says.
struct Live {
    verdicts: Verdicts,
    ops_per_s: Option<f64>,
    memory_used: Option<f64>,
    memory_max: Option<f64>,
    zones: Vec<ZoneLine>,
    worst: Vec<ServiceItem>,
}

fn live(sight: &Sight<'_>, kept: Option<&Kept>) -> Live {
    let mut zones: BTreeMap<String, ZoneLine> = BTreeMap::new();
    let mut standing: BTreeMap<String, Vec<Standing>> = BTreeMap::new();
    let mut live = Live {
        verdicts: Verdicts::default(),
        ops_per_s: None,
        memory_used: None,
        memory_max: None,
        zones: Vec::new(),
        worst: Vec::new(),
    };
    for service in sight.inventory.services.values() {
        let members = sight.members(&service.id);
        for m in &members {
            brief::count(&mut live.verdicts, m.row.as_deref());
            let zone = m.instance.zone.to_string();
            let line = zones.entry(zone.clone()).or_insert_with(|| empty(zone));
            brief::count(&mut line.verdicts, m.row.as_deref());
            if !m.is_node() {
                continue;
            }
            let scored = m.row.as_ref().and_then(|row| row.score.clone());
            let mine = standing.entry(line.zone.clone()).or_default();
            mine.push((m.instance.id.to_string(), service.tier, scored));
            let master = m.role().map(|r| u32::from(r == Role::Master));
            line.masters = master.map_or(line.masters, |n| Some(n + line.masters.unwrap_or(0)));
            let used = m.value(Field::UsedMemory);
            add(&mut line.memory_used_bytes, used);
            add(&mut live.memory_used, used);
            add(&mut live.memory_max, m.memory_max());
            add(&mut live.ops_per_s, m.ops_per_s());
        }
        let explained = sight.rolled(Level::Service, service.id.as_str());
        let running = kept.and_then(|k| running_of(&k.running, &service.id));
        let firing = kept.map(|k| k.firing.as_slice());
        let item = brief::service(service, &members, explained.as_deref(), firing, running);
        let imperfect = item.health.score.is_none_or(|s| s < 100.0);
        if imperfect && item.nodes > 0 {
            live.worst.push(item);
        }
    }
    for (zone, line) in &mut zones {
        line.health = together(standing.get(zone).map_or(&[], Vec::as_slice));
    }
    live.zones = shares(zones);
    worst_first(&mut live.worst);
    live.worst.truncate(SHORT);
    live
}

/// A data node of a zone: id, tier of its service, and its score.
type Standing = (String, Tier, Option<Arc<Explained>>);

/// The score of a zone: a view of its data nodes.
fn together(standing: &[Standing]) -> ScoreBrief {
    let seen =
        scorer::view(standing.iter().map(|(id, tier, e)| (id.as_str(), *tier, e.as_deref())));
    let worst = seen.worst.filter(|(_, score)| *score < 100.0);
    // The sentences of the score, so that they are said in every language.
    let cause = match (seen.score, worst) {
        (Some(_), Some((id, score))) => format!("worst, instance {id} at {score:.2}"),
        (Some(_), None) => String::new(),
        (None, _) if standing.is_empty() => "there is nothing to score here yet".into(),
        (None, _) => format!(
            "only {:.0} % of it by weight is known, at least 60 % are needed",
            seen.coverage * 100.0
        ),
    };
    ScoreBrief { score: seen.score, grade: seen.grade(), confidence: seen.confidence, cause }
}

/// Adds what is known; a sum of nothing stays unknown.
fn add(sum: &mut Option<f64>, value: Option<f64>) {
    *sum = brief::sum([*sum, value].into_iter());
}

/// Lowest score first; unknown stands after the numbers below 100, before nothing.
pub fn worst_first(items: &mut [ServiceItem]) {
    let key = |i: &ServiceItem| i.health.score.unwrap_or(99.995);
    items.sort_by(|a, b| key(a).total_cmp(&key(b)).then_with(|| a.id.cmp(&b.id)));
}

/// Id of the operation that runs on a service.
pub fn running_of(operations: &[Operation], service: &ServiceId) -> Option<String> {
    operations.iter().find(|o| o.service == *service).map(|o| o.id.clone())
}

fn empty(zone: String) -> ZoneLine {
    ZoneLine {
        zone,
        verdicts: Verdicts::default(),
        health: together(&[]),
        masters: None,
        masters_share: None,
        memory_used_bytes: None,
    }
}

fn shares(zones: BTreeMap<String, ZoneLine>) -> Vec<ZoneLine> {
    let all: u32 = zones.values().filter_map(|z| z.masters).sum();
    let share = |n: Option<u32>| n.filter(|_| all > 0).map(|n| f64::from(n) / f64::from(all));
    zones.into_values().map(|z| ZoneLine { masters_share: share(z.masters), ..z }).collect()
}

/// A zone with half as many masters again as its even share is named: losing it stops that many.
fn imbalance(zones: &[ZoneLine]) -> String {
    let masters: u32 = zones.iter().filter_map(|z| z.masters).sum();
    let shares = zones.iter().filter_map(|z| Some((z.masters_share?, &z.zone)));
    let most = shares.max_by(|a, b| a.0.total_cmp(&b.0));
    let enough = zones.len() >= 2 && masters as usize >= zones.len();
    match most.filter(|(share, _)| enough && *share >= 1.5 / zones.len() as f64) {
        Some((share, zone)) => format!("{zone} holds {:.0} % of the masters", share * 100.0),
        None => String::new(),
    }
}

/// Of the fleet for whoever sees it whole, of the tenant for whoever sees one; else not known.
fn trend(app: &App, sight: &Sight<'_>, now: At) -> Vec<Point> {
    let mut tenants = sight.inventory.tenants.keys();
    let one = tenants.next().filter(|_| tenants.next().is_none()).map(ToString::to_string);
    let moments = app.history.moments();
    let recent = moments.iter().filter(|m| now.since_ms(m.at) <= HOUR_MS);
    recent
        .filter_map(|m| {
            let v = match (sight.whole(), &one) {
                (true, _) => m.score,
                (false, Some(t)) if sight.whole_tenant(t) => m.tenants.get(t).copied().flatten(),
                _ => return None,
            };
            Some(Point { t: m.at, v })
        })
        .collect()
}

fn changes(kept: &Kept) -> Vec<ChangeLine> {
    let mut lines = Vec::new();
    for o in &kept.latest {
        let link = format!("/operations/{}", o.id);
        let mut say =
            |at: At, text: String| lines.push(ChangeLine { at, text, link: link.clone() });
        say(o.created_at, format!("{} asked for by {}", o.plan.title, o.created_by));
        if let Some(at) = o.ended_at {
            say(at, format!("{}: {}", o.plan.title, o.state.as_str()));
        }
    }
    for a in &kept.recent {
        let about = a.instance.as_ref().map(ToString::to_string);
        let about = about.or(a.service.as_ref().map(ToString::to_string)).unwrap_or_default();
        let link = format!("/alerts/{}", a.id);
        let mut say =
            |at: At, text: String| lines.push(ChangeLine { at, text, link: link.clone() });
        say(a.starts_at, format!("{} fires for {about}", a.alertname));
        if let Some(at) = a.ends_at {
            say(at, format!("{} ended for {about}", a.alertname));
        }
    }
    lines.sort_by_key(|l| std::cmp::Reverse(l.at));
    lines.truncate(SHORT);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(masters: &[u32]) -> Vec<ZoneLine> {
        let lines = masters.iter().enumerate();
        shares(
            lines
                .map(|(n, m)| {
                    (format!("az-{n}"), ZoneLine { masters: Some(*m), ..empty(format!("az-{n}")) })
                })
                .collect(),
        )
    }

    #[test]
    fn what_nobody_said_is_unknown_and_not_zero() {
        let lines = shares([("az-1".to_string(), empty("az-1".into()))].into());
        assert_eq!((lines[0].masters, lines[0].masters_share), (None, None));
        assert_eq!(lines[0].memory_used_bytes, None);
        let mut sum = None;
        add(&mut sum, None);
        assert_eq!(sum, None);
        add(&mut sum, Some(2.0));
        add(&mut sum, None);
        assert_eq!(sum, Some(2.0));
        let mut none_here = zones(&[2, 0]);
        assert_eq!(none_here.remove(1).masters_share, Some(0.0), "it was said that none is here");
    }

    #[test]
    fn an_uneven_share_of_masters_is_named_and_an_even_one_is_not() {
        assert_eq!(imbalance(&zones(&[2, 2, 2])), "");
        assert_eq!(imbalance(&zones(&[3, 1, 1])), "az-0 holds 60 % of the masters");
        assert_eq!(imbalance(&zones(&[1, 0])), "", "one master stands somewhere");
        assert_eq!(imbalance(&zones(&[5])), "", "one zone has them all");
    }
}

//! When a group of alerts is told, and what: pure.
//!
//! Invariant: a group is told when its firing set is no subset of what was told last, when something
//! told has ended, and when its repetition is due; never twice within `INTERVAL_MS`. What was told as
//! firing is told as ended, also when it is muted by then: whoever was called must hear that it is
//! over. All it must know is in `Told`, so a restart repeats and forgets nothing.

use std::collections::{BTreeMap, BTreeSet};

use model::At;
use model::alert::{Alert, Phase};
use serde::{Deserialize, Serialize};

/// A new group waits that long for others of its kind, as Alertmanager's default.
pub const WAIT_MS: i64 = 30_000;
/// A group that was told is told again no sooner.
pub const INTERVAL_MS: i64 = 300_000;
/// What goes on is told again that often.
pub const REPEAT_MS: i64 = 4 * 3_600_000;

/// What alerts are grouped by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Tenant; empty: the platform.
    pub tenant: String,
    /// Service slug; empty: none.
    pub service: String,
    /// Alert name.
    pub alertname: String,
}

impl Key {
    /// Of an alert.
    pub fn of(alert: &Alert) -> Key {
        let label = |name: &str| alert.labels.get(name).cloned().unwrap_or_default();
        let tenant = alert.tenant.as_ref().map(ToString::to_string).unwrap_or_default();
        Key { tenant, service: label("service"), alertname: alert.alertname.clone() }
    }

    /// One text: key of a row, `dedup_key` of a pager.
    pub fn text(&self) -> String {
        format!("{}/{}/{}", self.tenant, self.service, self.alertname)
    }

    /// From `text`: tenants and services are slugs, so only a name can hold a `/`.
    pub fn parse(text: &str) -> Option<Key> {
        let mut parts = text.splitn(3, '/').map(str::to_string);
        Some(Key { tenant: parts.next()?, service: parts.next()?, alertname: parts.next()? })
    }
}

/// What a receiver was told of an alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Brief {
    /// Occurrence.
    pub id: String,
    /// Its fingerprint.
    pub fingerprint: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Begin.
    pub starts_at: At,
    /// End; none while it fires.
    pub ends_at: Option<At>,
    /// Page about it.
    pub url: String,
}

/// What a receiver was told of a group last. Body of a `notification` row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Told {
    /// Told as firing and not as ended.
    pub firing: BTreeMap<String, Brief>,
    /// When.
    pub at: At,
    /// That it is acknowledged was told too.
    pub acknowledged: bool,
}

/// A group as it is now.
#[derive(Debug, Clone, Default)]
pub struct Group {
    /// Fires and may be told.
    pub firing: Vec<Brief>,
    /// Fires, and is silenced or inhibited.
    pub muted: BTreeSet<String>,
    /// Ended and still known.
    pub ended: BTreeMap<String, At>,
    /// Somebody acknowledged all that fires.
    pub acknowledged: bool,
}

impl Group {
    /// Adds an alert.
    pub fn add(&mut self, alert: &Alert, url: String, muted: bool) {
        match (alert.phase, alert.ends_at) {
            (Phase::Resolved, Some(end)) => drop(self.ended.insert(alert.id.clone(), end)),
            _ if muted => drop(self.muted.insert(alert.id.clone())),
            _ => self.firing.push(Brief {
                id: alert.id.clone(),
                fingerprint: alert.fingerprint.clone(),
                labels: alert.labels.clone(),
                annotations: alert.annotations.clone(),
                starts_at: alert.starts_at,
                ends_at: None,
                url,
            }),
        }
    }
}

/// A message to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// What fires, oldest first.
    pub firing: Vec<Brief>,
    /// What ended since the last message.
    pub resolved: Vec<Brief>,
    /// It only tells that somebody takes care.
    pub acknowledge: bool,
}

/// What is to be done about a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Next {
    /// Nothing now.
    Wait,
    /// It is over and nobody wants to hear it: forget it.
    Forget,
    /// Tell it; `Told` is what holds once it was taken (none: nothing fires any more).
    Tell(Notice, Option<Told>),
}

/// What is to be done about a group, given what was told of it.
pub fn next(group: &Group, told: Option<&Told>, send_resolved: bool, now: At) -> Next {
    let mut firing = group.firing.clone();
    firing.sort_by(|a, b| (a.starts_at, &a.id).cmp(&(b.starts_at, &b.id)));
    let Some(told) = told else {
        return match firing.first() {
            Some(oldest) if now.since_ms(oldest.starts_at) >= WAIT_MS => {
                Next::Tell(notice(firing.clone(), Vec::new()), Some(holds(firing, &[], group, now)))
            }
            _ => Next::Wait,
        };
    };
    let fires: BTreeSet<&str> = firing.iter().map(|b| b.id.as_str()).collect();
    let (muted, over): (Vec<&Brief>, Vec<&Brief>) = told
        .firing
        .values()
        .filter(|b| !fires.contains(b.id.as_str()))
        .partition(|b| group.muted.contains(&b.id));
    // One that is not even known any more ended while nobody looked.
    let ended = |b: &Brief| Brief {
        ends_at: Some(group.ended.get(&b.id).copied().unwrap_or(now)),
        ..b.clone()
    };
    let resolved: Vec<Brief> = over.into_iter().map(ended).collect();
    let new = firing.iter().any(|b| !told.firing.contains_key(&b.id));
    let nothing_left = firing.is_empty() && muted.is_empty();
    if nothing_left && !send_resolved {
        return Next::Forget;
    }
    let age = now.since_ms(told.at);
    // A clock set back must not make us wait for the old time.
    let rested = !(0..INTERVAL_MS).contains(&age);
    let changed = new || (send_resolved && !resolved.is_empty());
    let repeat = !firing.is_empty() && age >= REPEAT_MS;
    if rested && (changed || repeat) {
        let after = holds(firing.clone(), &muted, group, now);
        let after = (!nothing_left).then_some(after);
        let resolved = if send_resolved { resolved } else { Vec::new() };
        return Next::Tell(notice(firing, resolved), after);
    }
    if group.acknowledged && !told.acknowledged && !new && !firing.is_empty() {
        let after = Told { acknowledged: true, ..told.clone() };
        let notice = Notice { firing, resolved: Vec::new(), acknowledge: true };
        return Next::Tell(notice, Some(after));
    }
    Next::Wait
}

fn notice(firing: Vec<Brief>, resolved: Vec<Brief>) -> Notice {
    Notice { firing, resolved, acknowledge: false }
}

fn holds(firing: Vec<Brief>, muted: &[&Brief], group: &Group, now: At) -> Told {
    let all = firing.into_iter().chain(muted.iter().map(|b| (*b).clone()));
    let firing = all.map(|b| (b.id.clone(), b)).collect();
    Told { firing, at: now, acknowledged: group.acknowledged }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: At = At::from_ms(1_763_800_000_000);
    const MIN: i64 = 60_000;

    fn brief(id: &str, starts_at: At) -> Brief {
        Brief {
            id: id.into(),
            fingerprint: id.into(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            starts_at,
            ends_at: None,
            url: String::new(),
        }
    }

    fn group(ids: &[&str]) -> Group {
        Group { firing: ids.iter().map(|id| brief(id, T0)).collect(), ..Group::default() }
    }

    /// Tells what is to be told; answers (firing, resolved) and what holds then.
    fn tell(group: &Group, told: &mut Option<Told>, now: At) -> Option<(Vec<String>, Vec<String>)> {
        match next(group, told.as_ref(), true, now) {
            Next::Tell(notice, after) => {
                *told = after;
                let ids = |all: Vec<Brief>| all.into_iter().map(|b| b.id).collect();
                Some((ids(notice.firing), ids(notice.resolved)))
            }
            Next::Wait => None,
            Next::Forget => panic!("ends are told"),
        }
    }

    fn said(firing: &[&str], resolved: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
        let own = |ids: &[&str]| ids.iter().map(|i| i.to_string()).collect();
        Some((own(firing), own(resolved)))
    }

    #[test]
    fn a_group_waits_for_others_then_is_told_once_until_something_changes() {
        let mut told = None;
        assert_eq!(tell(&group(&["a"]), &mut told, T0 + WAIT_MS - 1), None);
        assert_eq!(tell(&group(&["a", "b"]), &mut told, T0 + WAIT_MS), said(&["a", "b"], &[]));
        let first = T0 + WAIT_MS;
        assert_eq!(tell(&group(&["a", "b"]), &mut told, first + INTERVAL_MS), None);
        assert_eq!(tell(&group(&["b", "c"]), &mut told, first + INTERVAL_MS - 1), None, "too soon");
        let second = tell(&group(&["b", "c"]), &mut told, first + INTERVAL_MS);
        assert_eq!(second, said(&["b", "c"], &["a"]));
        let again = first + INTERVAL_MS + REPEAT_MS;
        assert_eq!(tell(&group(&["b", "c"]), &mut told, again - 1), None);
        assert_eq!(tell(&group(&["b", "c"]), &mut told, again), said(&["b", "c"], &[]));
        assert_eq!(tell(&group(&[]), &mut told, again + INTERVAL_MS), said(&[], &["b", "c"]));
        assert_eq!(told, None);
        assert_eq!(tell(&group(&[]), &mut told, again + REPEAT_MS), None);
    }

    #[test]
    fn what_is_muted_is_not_told_and_what_was_told_before_is_neither_repeated_nor_ended_by_it() {
        let mut told = None;
        let muted = |ids: &[&str], muted: &[&str]| Group {
            muted: muted.iter().map(|m| m.to_string()).collect(),
            ..group(ids)
        };
        assert_eq!(tell(&muted(&[], &["a"]), &mut told, T0 + MIN), None);
        assert_eq!(tell(&group(&["a"]), &mut told, T0 + MIN), said(&["a"], &[]));
        let later = T0 + MIN + REPEAT_MS;
        assert_eq!(tell(&muted(&[], &["a"]), &mut told, later), None);
        assert_eq!(tell(&group(&[]), &mut told, later), said(&[], &["a"]), "its end is told");
    }

    #[test]
    fn an_end_says_when_it_was_and_an_alert_nobody_knows_any_more_ended_by_now() {
        let mut told = None;
        tell(&group(&["a", "b"]), &mut told, T0 + MIN);
        let mut over = group(&[]);
        over.ended.insert("a".into(), T0 + 2 * MIN);
        let now = T0 + 20 * MIN;
        let Next::Tell(notice, None) = next(&over, told.as_ref(), true, now) else {
            panic!("it is over")
        };
        let ends: Vec<_> = notice.resolved.iter().map(|b| b.ends_at).collect();
        assert_eq!(ends, [Some(T0 + 2 * MIN), Some(now)]);
        assert_eq!(next(&over, told.as_ref(), false, now), Next::Forget);
    }

    #[test]
    fn an_acknowledgement_is_told_once_and_again_for_what_comes_after_it() {
        let mut told = None;
        tell(&group(&["a"]), &mut told, T0 + MIN);
        let seen = Group { acknowledged: true, ..group(&["a"]) };
        let Next::Tell(notice, after) = next(&seen, told.as_ref(), true, T0 + 2 * MIN) else {
            panic!("it is told at once")
        };
        assert!(notice.acknowledge);
        assert_eq!(next(&seen, after.as_ref(), true, T0 + 3 * MIN), Next::Wait);
        told = after;
        tell(&group(&["a", "b"]), &mut told, T0 + 10 * MIN);
        assert!(!told.unwrap().acknowledged);
    }

    #[test]
    fn what_was_told_survives_a_restart_as_it_was() {
        let mut told = None;
        tell(&group(&["a", "b"]), &mut told, T0 + MIN);
        let text = serde_json::to_string(&told).unwrap();
        assert_eq!(serde_json::from_str::<Option<Told>>(&text).unwrap(), told);
    }
}

//! The guards: each looks at one thing and says, with value and limit, whether an automatic action
//! may go on.
//!
//! Invariant: pure and total: every guard is asked every time, in one order, and the first that says
//! no decides. Unknown is no. Refuses to know where the facts come from.

use model::At;
use model::incident::GuardSeen;
use model::runbook::RunbookMode;

use super::book::{Can, Entry, STANDALONE_RESTART, Tier};

/// One other automatic recovery of a service of danger T2 or more in this time is enough: a service
/// that needs a second one has a cause a restart does not cure.
pub const ANTI_FLAP_MS: i64 = 3_600_000;
/// Restarts of one node in `NODE_WINDOW_MS`, then it is left to people.
pub const NODE_RESTARTS_MAX: usize = 2;
/// Window of `NODE_RESTARTS_MAX`.
pub const NODE_WINDOW_MS: i64 = 6 * 3_600_000;
/// Actions of the whole fleet in `FLEET_WINDOW_MS`: a person can follow one every two minutes.
pub const FLEET_ACTIONS_MAX: usize = 5;
/// Window of `FLEET_ACTIONS_MAX`.
pub const FLEET_WINDOW_MS: i64 = 600_000;
/// Actions of one runbook in a day.
pub const RUNBOOK_ACTIONS_MAX: usize = 20;
/// Window of `RUNBOOK_ACTIONS_MAX`.
pub const RUNBOOK_WINDOW_MS: i64 = 86_400_000;
/// Failures in a row after which a runbook is left to people.
pub const FAILURES_MAX: usize = 2;
/// Incidents in `STORM_WINDOW_MS` that look like one common cause.
pub const STORM_INCIDENTS_MAX: i64 = 10;
/// Window of `STORM_INCIDENTS_MAX`.
pub const STORM_WINDOW_MS: i64 = 300_000;
/// Alerting instances of a zone, percent, and at least `STORM_ZONE_MIN`.
pub const STORM_ZONE_PERCENT: usize = 10;
/// Below this many alerting instances a share of a small zone says nothing.
pub const STORM_ZONE_MIN: usize = 5;
/// Observers that must agree, the silent node included.
pub const OBSERVERS_MIN: usize = 2;
/// An observer that sees more of all its targets gone may itself be the one cut off, percent.
pub const ISOLATED_PERCENT: usize = 30;
/// Below this many silent targets the share says nothing.
pub const ISOLATED_MIN: usize = 5;
/// A node that was last seen as a master within this time belongs to the failover of its service.
pub const MASTER_LATELY_MS: i64 = 600_000;
/// Actions at once: of a service's and a zone's nodes, percent (at least one), and per host.
pub const SERVICE_PERCENT: usize = 10;
/// See `SERVICE_PERCENT`.
pub const ZONE_PERCENT: usize = 5;
/// See `SERVICE_PERCENT`.
pub const HOST_MAX: usize = 2;

/// What the latest poll says about the node.
#[derive(Debug, Clone, PartialEq)]
pub struct Fresh {
    /// Age of the latest poll, ms; none: never polled.
    pub age_ms: Option<i64>,
    /// Poll interval, ms.
    pub interval_ms: i64,
    /// The verdict, in words: `down (refused)`.
    pub verdict: String,
    /// The verdict is down.
    pub down: bool,
    /// The verdict is up.
    pub up: bool,
    /// The alert fires now (recovering does not count).
    pub firing: bool,
}

/// One observer's word on the trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Who: an instance id.
    pub who: String,
    /// Agrees that the node is gone; none: it cannot tell.
    pub agrees: Option<bool>,
    /// What it said.
    pub said: String,
}

/// Everything the guards look at.
#[derive(Debug, Clone)]
pub struct Context {
    /// Now.
    pub now: At,
    /// The runbook.
    pub entry: &'static Entry,
    /// Mode in force.
    pub mode: RunbookMode,
    /// Why automatic actions are switched off here, when they are.
    pub killed: Option<String>,
    /// The service is managed.
    pub managed: bool,
    /// Who asked that nothing happens there now: maintenances of the place, silences of the alert.
    pub frozen: Vec<String>,
    /// Latest poll.
    pub fresh: Fresh,
    /// (silent, all) targets this process watches.
    pub silent: (usize, usize),
    /// The observers.
    pub witnesses: Vec<Witness>,
    /// Last time the node itself said it was a master.
    pub master_at: Option<At>,
    /// Who says it is a master now; empty: nobody, and somebody could tell.
    pub master_says: Result<Vec<String>, String>,
    /// When automation last recovered the service with danger T2 or more.
    pub recovered_at: Option<At>,
    /// Automatic restarts of this node in its window.
    pub node_restarts: usize,
    /// Automatic actions of the fleet in its window.
    pub fleet_actions: usize,
    /// Automatic actions of the runbook in its window.
    pub runbook_actions: usize,
    /// Failures of the runbook in a row up to now.
    pub failures: usize,
    /// Incidents in the storm window.
    pub incidents: i64,
    /// (alerting, all) instances of the node's zone.
    pub zone_alerting: (usize, usize),
    /// A fact of the alerts table that forbids acting: mass event, truncated message.
    pub facts: Vec<String>,
    /// Other remediations that run: nodes in the same shard, shards of the service, nodes of the
    /// service, of the zone, of the host.
    pub active: Active,
    /// Nodes of the service and of the zone.
    pub sizes: (usize, usize),
    /// Live data copies in the shard besides this node; in words.
    pub copies: Vec<String>,
    /// Its provider sees no process of it; none: it has no provider that could tell.
    pub process_gone: Option<bool>,
    /// Quorum: why it does not hold, or how it does.
    pub quorum: Result<String, String>,
    /// Who else is at work here.
    pub competing: Vec<String>,
    /// How long the servers' own failover is expected to take, ms.
    pub failover_ms: i64,
    /// The plan, or why there is none.
    pub plan: Result<String, String>,
}

/// Remediations that run now, this one not counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Active {
    /// In the same shard.
    pub shard: usize,
    /// Other shards of the service.
    pub shards: usize,
    /// Nodes of the service.
    pub service: usize,
    /// Nodes of the zone.
    pub zone: usize,
    /// Nodes of the host.
    pub host: usize,
}

type Say = Result<String, String>;
type Guard = fn(&Context) -> Say;

/// The guards in order.
pub const GUARDS: &[(&str, Guard)] = &[
    ("kill_switch", kill_switch),
    ("mode", mode),
    ("available", available),
    ("managed", managed),
    ("freeze", freeze),
    ("tier", tier),
    ("freshness", freshness),
    ("recheck", recheck),
    ("role", role),
    ("anti_flap", anti_flap),
    ("quarantine", quarantine),
    ("rate_fleet", rate_fleet),
    ("rate_runbook", rate_runbook),
    ("failures", failures),
    ("storm", storm),
    ("mass_event", mass_event),
    ("blast_radius", blast_radius),
    ("last_copy", last_copy),
    ("quorum", quorum),
    ("competing", competing),
    ("plan", plan),
];

/// Asks every guard.
pub fn judge(context: &Context) -> Vec<GuardSeen> {
    GUARDS
        .iter()
        .map(|(name, guard)| {
            let said = guard(context);
            GuardSeen {
                guard: (*name).into(),
                passed: said.is_ok(),
                seen: said.unwrap_or_else(|no| no),
            }
        })
        .collect()
}

fn kill_switch(c: &Context) -> Say {
    c.killed.clone().map_or(Ok("off".into()), Err)
}

fn mode(c: &Context) -> Say {
    let said = format!("{} is in mode {}", c.entry.name, c.mode.as_str());
    match c.mode {
        RunbookMode::Auto => Ok(said),
        _ => Err(said),
    }
}

fn available(c: &Context) -> Say {
    match c.entry.can {
        Can::Act => Ok("can be carried out".into()),
        Can::Watch => Err("the servers' own failover decides; nothing is done against it".into()),
        Can::Page => Err("no automatic action in this build".into()),
    }
}

fn managed(c: &Context) -> Say {
    if c.managed { Ok("managed: true".into()) } else { Err("managed: false".into()) }
}

fn freeze(c: &Context) -> Say {
    match c.frozen.is_empty() {
        true => Ok("no maintenance and no silence".into()),
        false => Err(c.frozen.join("; ")),
    }
}

fn tier(c: &Context) -> Say {
    let said = format!("{} is {}, automatic is at most T1", c.entry.name, c.entry.tier.as_str());
    if c.entry.tier <= Tier::T1 { Ok(said) } else { Err(said) }
}

fn freshness(c: &Context) -> Say {
    let limit = 2 * c.fresh.interval_ms;
    let Some(age) = c.fresh.age_ms else { return Err("the node was never polled".into()) };
    let said = format!("polled {age} ms ago (limit {limit}), {}", c.fresh.verdict);
    if !c.fresh.firing {
        return Err("the alert does not fire any more".into());
    }
    let as_told = if c.entry.alive() { c.fresh.up } else { c.fresh.down };
    if age < limit && as_told { Ok(said) } else { Err(said) }
}

fn recheck(c: &Context) -> Say {
    let (silent, all) = c.silent;
    if silent >= ISOLATED_MIN && silent * 100 > all * ISOLATED_PERCENT {
        return Err(format!(
            "{silent} of {all} targets are silent for this observer (limit {ISOLATED_PERCENT} %): \
             it may be cut off itself"
        ));
    }
    let word = |w: &Witness| format!("{}: {}", w.who, w.said);
    if c.entry.alive() {
        // What it has too much of, nobody but the node can tell; that it answers is asked anew.
        let answers = c.witnesses.iter().find(|w| w.agrees == Some(false));
        let silent = || "the node does not answer now".to_string();
        return answers.map(|w| format!("it is alive: {}", word(w))).ok_or_else(silent);
    }
    if let Some(against) = c.witnesses.iter().find(|w| w.agrees == Some(false)) {
        return Err(format!("an observer contradicts: {}", word(against)));
    }
    let agree: Vec<String> =
        c.witnesses.iter().filter(|w| w.agrees == Some(true)).map(word).collect();
    let said = format!("{} of at least {OBSERVERS_MIN} agree: {}", agree.len(), agree.join("; "));
    if agree.len() >= OBSERVERS_MIN { Ok(said) } else { Err(said) }
}

fn role(c: &Context) -> Say {
    if c.entry.alive() {
        return Ok("whatever its role is, it stays".into());
    }
    if c.entry.name == STANDALONE_RESTART {
        // There is nobody whose failover could be disturbed; what it comes back as is the plan's.
        return Ok("a master nobody fails over for".into());
    }
    if let Some(age) = c.master_at.map(|at| c.now.since_ms(at))
        && age < MASTER_LATELY_MS
    {
        return Err(format!(
            "it was a master {} s ago (limit {} s): this is the servers' failover",
            age / 1000,
            MASTER_LATELY_MS / 1000
        ));
    }
    match &c.master_says {
        Err(why) => Err(format!("its role is not known: {why}")),
        Ok(by) if by.is_empty() => Ok("nobody names it as master".into()),
        Ok(by) => Err(format!("named as master by {}", by.join(", "))),
    }
}

fn anti_flap(c: &Context) -> Say {
    let limit = ANTI_FLAP_MS / 1000;
    match c.recovered_at.map(|at| c.now.since_ms(at)) {
        Some(age) if c.entry.tier >= Tier::T2 && age < ANTI_FLAP_MS => {
            Err(format!("the service was recovered {} s ago (limit {limit} s)", age / 1000))
        }
        _ => Ok(format!("no recovery of danger T2 in the last {limit} s")),
    }
}

fn at_most(what: &str, n: usize, max: usize, window_ms: i64) -> Say {
    let said = format!("{n} {what} in {} min (limit {max})", window_ms / 60_000);
    if n < max { Ok(said) } else { Err(said) }
}

fn quarantine(c: &Context) -> Say {
    at_most("restarts of the node", c.node_restarts, NODE_RESTARTS_MAX, NODE_WINDOW_MS)
}

fn rate_fleet(c: &Context) -> Say {
    at_most("actions of the fleet", c.fleet_actions, FLEET_ACTIONS_MAX, FLEET_WINDOW_MS)
}

fn rate_runbook(c: &Context) -> Say {
    at_most("actions of the runbook", c.runbook_actions, RUNBOOK_ACTIONS_MAX, RUNBOOK_WINDOW_MS)
}

fn failures(c: &Context) -> Say {
    let said = format!("{} failures in a row (limit {FAILURES_MAX})", c.failures);
    if c.failures < FAILURES_MAX { Ok(said) } else { Err(said) }
}

fn storm(c: &Context) -> Say {
    let (alerting, all) = c.zone_alerting;
    let minutes = STORM_WINDOW_MS / 60_000;
    let said = format!(
        "{} incidents in {minutes} min (limit {STORM_INCIDENTS_MAX}), {alerting} of {all} instances \
         of the zone alerting (limit {STORM_ZONE_PERCENT} % and {STORM_ZONE_MIN})",
        c.incidents
    );
    let zone = alerting >= STORM_ZONE_MIN && alerting * 100 > all * STORM_ZONE_PERCENT;
    if c.incidents > STORM_INCIDENTS_MAX || zone { Err(said) } else { Ok(said) }
}

fn mass_event(c: &Context) -> Say {
    if c.facts.is_empty() { Ok("none".into()) } else { Err(c.facts.join("; ")) }
}

fn blast_radius(c: &Context) -> Say {
    let share = |n: usize, percent: usize| (n * percent / 100).max(1);
    let (service, zone) = (share(c.sizes.0, SERVICE_PERCENT), share(c.sizes.1, ZONE_PERCENT));
    let limits = [
        ("nodes of the shard", c.active.shard, 1),
        ("shards of the service", c.active.shards, 1),
        ("nodes of the service", c.active.service, service),
        ("nodes of the zone", c.active.zone, zone),
        ("nodes of the host", c.active.host, HOST_MAX),
    ];
    match limits.iter().find(|(_, active, max)| active + 1 > *max) {
        Some((what, active, max)) => Err(format!("{active} {what} in work already (limit {max})")),
        None => Ok(format!(
            "1 node; in work: service {} of {service}, zone {} of {zone}, host {} of {HOST_MAX}",
            c.active.service, c.active.zone, c.active.host
        )),
    }
}

fn last_copy(c: &Context) -> Say {
    if c.entry.alive() {
        return Ok("no process is ended".into());
    }
    if c.entry.name == STANDALONE_RESTART {
        // What such a node holds in memory is gone with its process, and only then.
        return match c.process_gone {
            Some(true) => Ok("its process is gone: nothing is lost by starting it".into()),
            Some(false) => Err("its process still runs and may hold what no file has".into()),
            None => Err("nobody can tell whether its process still runs".into()),
        };
    }
    match c.copies.is_empty() {
        true => Err("no other live copy of the shard's data (limit 1)".into()),
        false => Ok(format!("live copies: {}", c.copies.join(", "))),
    }
}

fn quorum(c: &Context) -> Say {
    if c.entry.alive() {
        return Ok("no voter is touched".into());
    }
    c.quorum.clone()
}

fn competing(c: &Context) -> Say {
    if c.competing.is_empty() { Ok("nobody".into()) } else { Err(c.competing.join("; ")) }
}

fn plan(c: &Context) -> Say {
    c.plan.clone()
}

#[cfg(test)]
mod tests;

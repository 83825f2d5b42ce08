//! From the replies to a part of the slower polls to what is kept of it.
//!
//! Invariant: a reply that is an error or has not the shape of its command's leaves its part absent;
//! the others of the same exchange stand.

use std::collections::HashMap;
use std::sync::Arc;

use link::Value;
use link::reply::{self, acl, clients as client_list, config, latency, module, shards, slowlog};
use model::At;
use model::detail::{Clients, ClusterDetail, CommandLog, Latencies, Settings, SlowEntry};
use model::reading::Facts;

use super::ask::Ask;
use super::names;
use crate::modules;

type Replies<'a> = [(Ask, &'a Value)];

fn reply<'a>(replies: &Replies<'a>, wanted: impl Fn(Ask) -> bool) -> Option<&'a Value> {
    replies.iter().find(|(ask, _)| wanted(*ask)).map(|(_, value)| *value)
}

fn of<'a>(replies: &Replies<'a>, ask: Ask) -> Option<&'a Value> {
    reply(replies, |other| other == ask)
}

/// How many were asked for, and the entries with their shapes.
pub(super) fn slow_entries(replies: &Replies<'_>) -> Option<(u32, Vec<(SlowEntry, String)>)> {
    replies.iter().find_map(|(ask, value)| match ask {
        Ask::Slowlog(asked) => Some((*asked, slowlog::entries(value)?)),
        _ => None,
    })
}

/// Sums come from INFO commandstats of the same poll, as redis_exporter does it.
pub(super) fn latencies(replies: &Replies<'_>, facts: &Facts, at: At) -> Option<Arc<Latencies>> {
    let quantiles = of(replies, Ask::Quantiles).and_then(reply::bytes).map(latency::quantiles);
    let histograms = of(replies, Ask::Histograms).and_then(latency::histograms);
    if quantiles.is_none() && histograms.is_none() {
        return None;
    }
    let totals: HashMap<&str, (f64, f64)> =
        facts.commands.iter().map(|c| (c.cmd.as_str(), (c.calls, c.usec))).collect();
    let mut out = Latencies {
        at,
        quantiles: quantiles.unwrap_or_default(),
        histograms: histograms.unwrap_or_default(),
    };
    for one in &mut out.quantiles {
        one.total = totals.get(&*one.cmd).copied();
    }
    for one in &mut out.histograms {
        one.usec = totals.get(&*one.cmd).map(|(_, usec)| *usec);
    }
    Some(Arc::new(out))
}

pub(super) fn commandlog(replies: &Replies<'_>) -> Option<CommandLog> {
    let log = CommandLog {
        slow: of(replies, Ask::LogSlow).and_then(reply::number),
        large_request: of(replies, Ask::LogRequest).and_then(reply::number),
        large_reply: of(replies, Ask::LogReply).and_then(reply::number),
    };
    (log != CommandLog::default()).then_some(log)
}

pub(super) fn settings(replies: &Replies<'_>, at: At) -> Arc<Settings> {
    let parameters = reply(replies, |a| matches!(a, Ask::Config | Ask::SentinelConfig));
    let info = of(replies, Ask::ModuleInfo).and_then(reply::bytes);
    let modules = match info {
        Some(raw) => module::info(raw),
        None => of(replies, Ask::ModuleList).and_then(module::list).unwrap_or_default(),
    };
    Arc::new(Settings {
        at,
        parameters: parameters.and_then(config::read).map(|pairs| names::parameters(&pairs)),
        whoami: of(replies, Ask::Whoami).and_then(reply::text).map(Into::into),
        accounts: of(replies, Ask::Accounts).and_then(acl::accounts),
        denials: of(replies, Ask::Denials).and_then(acl::denials).unwrap_or_default(),
        modules,
        module_values: info.map(|raw| module::values(raw, modules::NAMES)).unwrap_or_default(),
    })
}

pub(super) fn clients(replies: &Replies<'_>, each: bool, at: At) -> Option<Arc<Clients>> {
    let raw = reply::bytes(of(replies, Ask::Clients)?)?;
    Some(Arc::new(client_list::read(raw, at, each)))
}

pub(super) fn cluster(replies: &Replies<'_>, at: At) -> Arc<ClusterDetail> {
    let shards = of(replies, Ask::Shards).and_then(shards::read);
    let slots = reply(replies, |a| matches!(a, Ask::SlotsByKeys | Ask::SlotsByCpu));
    let slots = slots.and_then(shards::slots).unwrap_or_default();
    let (shards, health) = shards.map_or((None, Vec::new()), |(n, health)| (Some(n), health));
    Arc::new(ClusterDetail { at, shards, health, slots })
}

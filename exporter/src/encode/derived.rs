//! What follows from the values of one page: ratios, lags, the window of PINGs.
//!
//! Invariant: a ratio without both its parts, or over nothing, is absent.

use link::reason_of;
use model::field::Field;
use model::id::split_address;
use model::reading::{Facts, Reason, Role};

use super::VALUES_MAX;
use super::detail::{one, slowlog_fill};
use super::writer::Writer;
use crate::catalog::Family;

/// `part / whole`; none when one is missing or the whole is 0.
pub(super) fn ratio(part: Option<f64>, whole: Option<f64>) -> Option<f64> {
    Some(part? / whole.filter(|w| *w > 0.0)?)
}

/// All of them.
pub(super) fn write(w: &mut Writer, facts: &Facts) {
    let get = |field| facts.values.get(field);
    let (hits, misses) = (get(Field::KeyspaceHits), get(Field::KeyspaceMisses));
    let lookups = hits.zip(misses).map(|(h, m)| h + m);
    one(w, Family::HitRatio, ratio(hits, lookups));
    one(w, Family::MemoryFill, ratio(get(Field::UsedMemory), get(Field::Maxmemory)));
    let settings = facts.detail.settings.as_ref().and_then(|s| s.parameters.as_ref());
    let maxclients = get(Field::Maxclients).or_else(|| settings?.number("maxclients"));
    one(w, Family::ClientsFill, ratio(get(Field::ConnectedClients), maxclients));
    let backlog = get(Field::ReplBacklogActive).filter(|on| *on == 1.0);
    let history = backlog.and_then(|_| get(Field::ReplBacklogHistlen));
    one(w, Family::BacklogFill, ratio(history, get(Field::ReplBacklogSize)));
    one(w, Family::SlowlogFill, slowlog_fill(facts.slowlog.len, &facts.detail));
    one(w, Family::TimeSkew, facts.time_skew_s);
    if let Some(ping) = facts.ping {
        one(w, Family::PingMin, Some(f64::from(ping.us_min) / 1e6));
        one(w, Family::PingAvg, Some(ping.us_avg / 1e6));
        one(w, Family::PingMax, Some(f64::from(ping.us_max) / 1e6));
    }
    if !facts.text.failover_state.is_empty() {
        w.family(Family::FailoverState);
        w.sample(&[("state", &facts.text.failover_state)], 1.0);
    }
    replica_lag(w, facts);
    missing(w, facts);
}

/// Bytes each replica has not acknowledged, as the master itself sees it.
fn replica_lag(w: &mut Writer, facts: &Facts) {
    if facts.role != Some(Role::Master) {
        return;
    }
    let Some(sent) = facts.values.get(Field::MasterReplOffset) else { return };
    w.family(Family::ConnectedReplicaLag);
    let mut seen: Vec<&str> = Vec::new();
    for replica in facts.replicas.iter().take(VALUES_MAX) {
        let host = split_address(&replica.address);
        let Some((host, port)) = host.filter(|_| !seen.contains(&replica.address.as_str())) else {
            continue;
        };
        seen.push(&replica.address);
        let labels = [("slave_ip", host), ("slave_port", &*port.to_string())];
        w.sample(&labels, (sent - replica.offset).max(0.0));
    }
}

/// Commands that were refused: what they would tell is unknown, not zero.
fn missing(w: &mut Writer, facts: &Facts) {
    w.family(Family::CommandMissing);
    let mut seen: Vec<&str> = Vec::new();
    for (command, said) in &facts.missing {
        if !seen.contains(command) {
            seen.push(command);
            w.sample(&[("command", command), ("reason", class(said))], 1.0);
        }
    }
}

/// The class of a refusal: of the server's words, or of our own when the connection broke.
fn class(said: &str) -> &'static str {
    let ours = [Reason::TooLarge, Reason::Timeout, Reason::Reset, Reason::Protocol];
    let ours = ours.into_iter().find(|r| said.starts_with(r.as_str()));
    ours.unwrap_or_else(|| reason_of(said)).as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_over_nothing_or_of_the_unknown_is_absent() {
        assert_eq!(ratio(Some(1.0), Some(4.0)), Some(0.25));
        assert_eq!(ratio(Some(1.0), Some(0.0)), None);
        assert_eq!(ratio(None, Some(1.0)), None);
        assert_eq!(ratio(Some(1.0), None), None);
    }

    #[test]
    fn a_missing_command_has_the_class_of_what_was_said() {
        assert_eq!(class("NOPERM this user has no permissions"), "noperm");
        assert_eq!(class("ERR unknown command 'CONFIG'"), "noperm");
        assert_eq!(class("too_large: reply above its byte budget"), "too_large");
        assert_eq!(class("LOADING Redis is loading"), "loading");
    }
}

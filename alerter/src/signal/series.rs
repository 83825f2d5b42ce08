//! The series of one instance by their Prometheus names, found in a Board row.
//!
//! Invariant: a value the server did not say is `None`, never zero; `redis_up`, the reason of a
//! failure and the verdict are always known. Names are looked up when a plan is built, never while
//! a sample is judged. Labels that change at a failover or hold free text (`slave_state`,
//! `master_address`, `message`, `master_host`) are never part of a sub-series.

use model::field::Field;
use model::item::{ItemName, ItemSeries};
use model::reading::Role;
use model::row::Row;
use model::score::Dimension;

/// Sub-series of one signal on one instance that are judged: a server with more is lying or ill.
pub const SUB_SERIES_MAX: usize = 64;

/// A series with one value per instance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scalar {
    /// A field of INFO and its kin.
    Field(Field),
    /// Whether the latest poll was good.
    Up,
    /// Duration of the latest poll, seconds.
    PollSeconds,
    /// Unix time of the process' start, seconds.
    StartTime,
    /// Entries in the slow log.
    SlowlogLength,
    /// Id of the newest slow log entry.
    SlowlogLastId,
    /// Duration of the newest slow log entry, seconds.
    SlowlogLastSeconds,
    /// Keys over all databases.
    DbKeys,
    /// Keys with a time to live over all databases.
    DbKeysExpiring,
    /// A parameter of CONFIG GET that is a number.
    Parameter(&'static str),
    /// When the server's certificate ends, Unix seconds.
    CertificateEnds,
    /// Whether replies contradict themselves.
    InfoConflict,
    /// The server's clock less ours, seconds.
    TimeSkew,
    /// 1: it is in the inventory.
    Expected,
    /// Replicas wanted, while it is the master.
    ReplicasExpected,
    /// 1 while the poll fails for that reason.
    ScrapeError(&'static str),
    /// 1 while that is the verdict: `up`, `down` or `unknown`.
    State(&'static str),
    /// The health score.
    Score,
    /// Points a dimension of the score loses.
    Loss(Dimension),
}

/// A family with a value per sub-series.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Family {
    /// Seconds since a replica's last acknowledgement, per replica of a master.
    ReplicaLag,
    /// Offset a replica acknowledged, per replica of a master.
    ReplicaOffset,
    /// Whether a failover could be authorised, per master a Sentinel watches.
    Ckquorum,
    /// Epoch of a master's configuration, per master a Sentinel watches.
    ConfigEpoch,
    /// Healthy replicas, per master a Sentinel watches.
    OkReplicas,
    /// Healthy Sentinels, per master a Sentinel watches.
    OkSentinels,
    /// Error replies by name.
    Errors,
    /// Calls by command.
    Calls,
    /// Seconds by command.
    CallSeconds,
    /// 1 under the `read_only` of a replica: `0` or `1`.
    ReadOnly,
    /// Length of the latest spike by event, seconds.
    Spike,
    /// The series of a custom item.
    Item(ItemName),
}

const REASONS: [&str; 13] = [
    "refused",
    "timeout",
    "dns",
    "tls",
    "auth",
    "noperm",
    "maxclients",
    "loading",
    "busy",
    "masterdown",
    "protocol",
    "too_large",
    "reset",
];

/// Label values of the verdict.
const STATES: [&str; 3] = ["up", "down", "unknown"];

/// Labels with their values.
pub type Labels = Vec<(String, String)>;

/// What stands behind a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Leaf {
    /// One value.
    One(Scalar),
    /// A value per sub-series that has these labels.
    Many(Family, Labels),
    /// Known by name, but nothing fills it yet: no data.
    Unfilled,
}

/// Values without the labels discovery attaches: which others they can be joined with by all
/// labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Only the labels of the target.
    Target,
    /// Labels of its own besides.
    Own(&'static str),
}

/// Finds the series `name` with the labels `pick`.
pub fn find(name: &str, pick: &[(String, String)]) -> Result<(Leaf, Shape), String> {
    let (name, inner) = split(name)?;
    let mut pick = pick.to_vec();
    pick.extend(inner);
    if let Some(word) = fixed(name, &pick)? {
        return Ok(word);
    }
    if let Some(family) = family(name) {
        if let Some((label, _)) = pick.iter().find(|(l, _)| !family.names().contains(&l.as_str())) {
            let labels = family.names().join(", ");
            return Err(format!("{name} cannot be picked by {label}; it has {labels}"));
        }
        return Ok((Leaf::Many(family, pick), Shape::Own(family.metric())));
    }
    let leaf = match name {
        "cachewarden_config_drift" => (Leaf::Unfilled, Shape::Own("cachewarden_config_drift")),
        _ => one(name)?,
    };
    match pick.first() {
        Some((label, _)) if leaf.0 != Leaf::Unfilled => {
            Err(format!("{name} has no label {label} of its own"))
        }
        _ => Ok(leaf),
    }
}

/// `name{label="value"}` as written in a document.
fn split(name: &str) -> Result<(&str, Labels), String> {
    let Some((name, rest)) = name.split_once('{') else { return Ok((name, Vec::new())) };
    let bad = || format!("{name}{{{rest}: expected name{{label=\"value\"}}");
    let (label, value) =
        rest.strip_suffix("\"}").and_then(|r| r.split_once("=\"")).ok_or_else(bad)?;
    Ok((name, vec![(label.into(), value.into())]))
}

/// Series of which a label decides what is read.
fn fixed(name: &str, pick: &[(String, String)]) -> Result<Option<(Leaf, Shape)>, String> {
    let label = |wanted: &str| match pick {
        [(label, value)] if label == wanted => Ok(value.as_str()),
        _ => Err(format!("{name} needs {wanted}=\"…\" and nothing else")),
    };
    let among = |words: &[&'static str], label: &str, value: &str| {
        let known = words.iter().copied().find(|w| *w == value);
        known.ok_or_else(|| format!("{label} {value:?}: expected one of {}", words.join(", ")))
    };
    let scalar = match name {
        "cachewarden_scrape_error" => {
            Scalar::ScrapeError(among(&REASONS, "reason", label("reason")?)?)
        }
        "cachewarden_instance_state" => Scalar::State(among(&STATES, "state", label("state")?)?),
        "cachewarden_certificate_expires_timestamp_seconds" => match pick {
            [] => Scalar::CertificateEnds,
            _ => {
                among(&["server"], "use", label("use")?)?;
                Scalar::CertificateEnds
            }
        },
        _ => return Ok(None),
    };
    let shape = match name {
        "cachewarden_scrape_error" => "cachewarden_scrape_error",
        "cachewarden_instance_state" => "cachewarden_instance_state",
        _ => "cachewarden_certificate_expires_timestamp_seconds",
    };
    Ok(Some((Leaf::One(scalar), Shape::Own(shape))))
}

fn family(name: &str) -> Option<Family> {
    const ALL: [Family; 11] = [
        Family::ReplicaLag,
        Family::ReplicaOffset,
        Family::Ckquorum,
        Family::ConfigEpoch,
        Family::OkReplicas,
        Family::OkSentinels,
        Family::Errors,
        Family::Calls,
        Family::CallSeconds,
        Family::ReadOnly,
        Family::Spike,
    ];
    ALL.into_iter().find(|family| family.metric() == name)
}

fn one(name: &str) -> Result<(Leaf, Shape), String> {
    // Series of `/metrics` carry fewer labels than those of `/scrape`, and those about a master its
    // address: all of them join by instance only.
    const METRICS: &str = "/metrics";
    const MASTER: &str = "master_host, master_port";
    let (scalar, shape) = match name {
        "redis_up" => (Scalar::Up, Shape::Target),
        "redis_exporter_last_scrape_duration_seconds" => (Scalar::PollSeconds, Shape::Target),
        "redis_start_time_seconds" => (Scalar::StartTime, Shape::Target),
        "redis_slowlog_length" => (Scalar::SlowlogLength, Shape::Target),
        "redis_slowlog_last_id" => (Scalar::SlowlogLastId, Shape::Target),
        "redis_last_slow_execution_duration_seconds" => (Scalar::SlowlogLastSeconds, Shape::Target),
        "redis_db_keys" => (Scalar::DbKeys, Shape::Own("db")),
        "redis_db_keys_expiring" => (Scalar::DbKeysExpiring, Shape::Own("db")),
        "redis_config_maxclients" => (Scalar::Parameter("maxclients"), Shape::Target),
        "redis_config_maxmemory" => (Scalar::Parameter("maxmemory"), Shape::Target),
        "cachewarden_redis_time_skew_seconds" => (Scalar::TimeSkew, Shape::Target),
        "cachewarden_info_conflict" => (Scalar::InfoConflict, Shape::Own(METRICS)),
        "cachewarden_instance_expected" => (Scalar::Expected, Shape::Own(METRICS)),
        "cachewarden_replicas_expected" => (Scalar::ReplicasExpected, Shape::Own(METRICS)),
        _ => {
            let field = Field::by_metric(name).ok_or_else(|| {
                format!("metric {name:?} is no series of an instance that can be judged in process")
            })?;
            let of_master = matches!(
                field,
                Field::MasterLinkStatus
                    | Field::MasterLastIoSecondsAgo
                    | Field::MasterSyncInProgress
                    | Field::SlaveReplOffset
            );
            (Scalar::Field(field), if of_master { Shape::Own(MASTER) } else { Shape::Target })
        }
    };
    Ok((Leaf::One(scalar), shape))
}

/// The score of an instance, or a dimension's points lost.
pub fn score(of: &str) -> Result<Scalar, String> {
    match Dimension::parse(of) {
        Some(dimension) => Ok(Scalar::Loss(dimension)),
        None if of == "score" => Ok(Scalar::Score),
        None => Err(format!(
            "score {of:?}: expected score, availability, memory, connections or slowlog"
        )),
    }
}

impl Scalar {
    /// The value in the latest sample; none when it is missing. `replicas_wanted` is the
    /// inventory's word for the service.
    pub fn read(self, row: &Row, replicas_wanted: u32) -> Option<f64> {
        let reading = &row.reading;
        match self {
            Scalar::Up => return Some(f64::from(u8::from(reading.up))),
            Scalar::PollSeconds => return Some(f64::from(reading.duration_us) / 1e6),
            Scalar::ScrapeError(reason) => {
                let failed = reading.failure.as_ref().is_some_and(|f| f.reason.as_str() == reason);
                return Some(f64::from(u8::from(failed)));
            }
            Scalar::State(state) => {
                return Some(f64::from(u8::from(row.verdict.as_str() == state)));
            }
            Scalar::Expected => return Some(1.0),
            Scalar::Score => return row.score.as_ref()?.score,
            Scalar::Loss(dimension) => return row.score.as_ref()?.losses[dimension as usize],
            Scalar::ReplicasExpected => {
                let master = row.role() == Some(Role::Master);
                return master.then_some(f64::from(replicas_wanted));
            }
            _ => {}
        }
        let facts = row.facts()?;
        match self {
            Scalar::Field(field) => facts.values.get(field),
            Scalar::StartTime => {
                let uptime = facts.values.get(Field::UptimeInSeconds)?;
                Some((reading.at.seconds() - uptime).round())
            }
            Scalar::SlowlogLength => facts.slowlog.len,
            Scalar::SlowlogLastId => facts.slowlog.last_id,
            Scalar::SlowlogLastSeconds => facts.slowlog.last_us.map(|us| us / 1e6),
            Scalar::DbKeys => Some(facts.keyspace.iter().map(|db| db.keys).sum()),
            Scalar::DbKeysExpiring => Some(facts.keyspace.iter().map(|db| db.expires).sum()),
            Scalar::Parameter(name) => {
                facts.detail.settings.as_ref()?.parameters.as_ref()?.number(name)
            }
            Scalar::CertificateEnds => facts.certificate_ends_at_s,
            Scalar::InfoConflict => Some(f64::from(u8::from(facts.conflicts > 0))),
            Scalar::TimeSkew => facts.time_skew_s,
            _ => None,
        }
    }
}

impl Family {
    /// Its Prometheus name.
    pub fn metric(self) -> &'static str {
        match self {
            Family::ReplicaLag => "redis_connected_slave_lag_seconds",
            Family::ReplicaOffset => "redis_connected_slave_offset_bytes",
            Family::Ckquorum => "redis_sentinel_master_ckquorum_status",
            Family::ConfigEpoch => "redis_sentinel_master_config_epoch",
            Family::OkReplicas => "redis_sentinel_master_ok_slaves",
            Family::OkSentinels => "redis_sentinel_master_ok_sentinels",
            Family::Errors => "redis_errors_total",
            Family::Calls => "redis_commands_total",
            Family::CallSeconds => "redis_commands_duration_seconds_total",
            Family::ReadOnly => "redis_slave_info",
            Family::Spike => "redis_latency_spike_duration_seconds",
            Family::Item(_) => "cachewarden_item_value",
        }
    }

    /// Names of the labels that tell its sub-series apart.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Family::ReplicaLag | Family::ReplicaOffset => &["slave_ip", "slave_port"],
            Family::Errors => &["err"],
            Family::Calls | Family::CallSeconds => &["cmd"],
            Family::ReadOnly => &["read_only"],
            Family::Spike => &["event_name"],
            Family::Item(_) => &["item"],
            Family::Ckquorum | Family::ConfigEpoch | Family::OkReplicas | Family::OkSentinels => {
                &["master_name"]
            }
        }
    }

    /// Labels the exporter writes that are folded away here; of what they tell apart the largest
    /// counts.
    pub fn folded(self) -> &'static [&'static str] {
        match self {
            Family::ReplicaLag | Family::ReplicaOffset => &["slave_state"],
            Family::Ckquorum => &["message"],
            Family::ConfigEpoch | Family::OkReplicas | Family::OkSentinels => &["master_address"],
            Family::ReadOnly => &["master_host", "master_port"],
            _ => &[],
        }
    }

    /// Calls `each` with name and value of the sub-series that have the labels `pick`, at most
    /// `SUB_SERIES_MAX` of them.
    pub fn read<'a>(
        self,
        row: &'a Row,
        pick: &[(String, String)],
        mut each: impl FnMut(&'a str, f64),
    ) {
        let Some(facts) = row.facts() else { return };
        let mut left = SUB_SERIES_MAX;
        let mut take = |sub: &'a str, value: Option<f64>| {
            if let Some(value) = value
                && left > 0
                && self.has(sub, pick)
            {
                left -= 1;
                each(sub, value);
            }
        };
        match self {
            Family::ReplicaLag => facts.replicas.iter().for_each(|replica| {
                // -1: the master has not heard of it yet, which is not a lag.
                take(&replica.address, Some(replica.lag_s).filter(|lag| *lag >= 0.0));
            }),
            Family::ReplicaOffset => {
                facts.replicas.iter().for_each(|r| take(&r.address, Some(r.offset)));
            }
            Family::Ckquorum => facts.masters.iter().for_each(|m| {
                take(&m.name, m.ckquorum.as_ref().map(|(ok, _)| f64::from(u8::from(*ok))));
            }),
            Family::ConfigEpoch => {
                facts.masters.iter().for_each(|m| take(&m.name, Some(m.config_epoch)));
            }
            Family::OkReplicas => facts.masters.iter().for_each(|m| take(&m.name, m.replicas_ok)),
            Family::OkSentinels => facts.masters.iter().for_each(|m| take(&m.name, m.sentinels_ok)),
            Family::Errors => facts.errors.iter().for_each(|(name, n)| take(name, Some(*n))),
            Family::Calls => facts.commands.iter().for_each(|c| take(&c.cmd, Some(c.calls))),
            Family::CallSeconds => {
                facts.commands.iter().for_each(|c| take(&c.cmd, Some(c.usec / 1e6)));
            }
            Family::ReadOnly => {
                let word = facts.values.get(Field::SlaveReadOnly);
                if let Some(word) = word.filter(|_| facts.role == Some(Role::Replica)) {
                    take(if word == 0.0 { "0" } else { "1" }, Some(1.0));
                }
            }
            Family::Spike => {
                facts.latency.iter().for_each(|e| take(&e.event, Some(e.last_ms / 1e3)));
            }
            Family::Item(name) => {
                let items = facts.items.iter().filter(|item| item.name == name);
                items.flat_map(|item| &item.series).for_each(|s| take(&s.key, Some(s.value)));
            }
        }
    }

    fn has(self, sub: &str, pick: &[(String, String)]) -> bool {
        pick.iter().all(|(label, wanted)| match (self, label.as_str()) {
            (Family::ReplicaLag | Family::ReplicaOffset, label) => {
                let Some((host, port)) = model::id::split_address(sub) else {
                    return label == "slave_ip" && sub == wanted;
                };
                match label {
                    "slave_ip" => host == wanted,
                    _ => wanted.parse() == Ok(port),
                }
            }
            _ => sub == wanted,
        })
    }

    /// Labels of a sub-series, as the exporter names them.
    pub fn labels(self, sub: &str) -> Vec<(String, String)> {
        let label = |name: &str, value: &str| (name.to_string(), value.to_string());
        match self {
            Family::ReplicaLag | Family::ReplicaOffset => match model::id::split_address(sub) {
                Some((host, port)) => {
                    vec![label("slave_ip", host), label("slave_port", &port.to_string())]
                }
                None => vec![label("slave_ip", sub)],
            },
            Family::Item(name) => {
                let parts = sub.split(ItemSeries::SEPARATOR).filter_map(|p| p.split_once('='));
                let own = parts.map(|(n, v)| label(n, v));
                std::iter::once(label("item", name.as_str())).chain(own).collect()
            }
            _ => vec![label(self.names()[0], sub)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_of_an_item_is_named_as_the_exporter_names_it() {
        let tags = [("consumer", "a=b"), ("group", "billing")];
        let tags = tags.map(|(n, v)| (n.to_string(), v.to_string())).to_vec();
        let name = ItemName::parse("lag").unwrap();
        let mut all = vec![("item".to_string(), "lag".to_string())];
        all.extend(tags.clone());
        assert_eq!(Family::Item(name).labels(&ItemSeries::new(tags, 1.0).key), all);
        assert_eq!(Family::Item(name).labels(""), all[..1]);
    }

    #[test]
    fn a_series_is_found_by_its_name_and_picked_by_its_own_labels_only() {
        let pick = |l: &str, v: &str| vec![(l.to_string(), v.to_string())];
        let (leaf, _) = find("redis_errors_total", &pick("err", "OOM")).unwrap();
        assert_eq!(leaf, Leaf::Many(Family::Errors, pick("err", "OOM")));
        let (leaf, _) = find("cachewarden_scrape_error{reason=\"auth\"}", &[]).unwrap();
        assert_eq!(leaf, Leaf::One(Scalar::ScrapeError("auth")));
        for (name, label, said) in [
            ("nope", None, "nope"),
            ("redis_errors_total", Some("cmd"), "cannot be picked by cmd"),
            ("redis_memory_used_bytes", Some("db"), "no label db"),
            ("cachewarden_scrape_error", None, "needs reason"),
            ("cachewarden_scrape_error{reason=\"x\"}", None, "expected one of"),
            ("cachewarden_scrape_error{reason}", None, "expected name"),
        ] {
            let pick = label.map(|l| pick(l, "x")).unwrap_or_default();
            assert!(find(name, &pick).unwrap_err().contains(said), "{name}");
        }
    }
}

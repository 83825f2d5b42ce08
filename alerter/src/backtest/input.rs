//! Which series a policy reads, as a history service has them, and how a sample of one becomes part of a
//! row again.
//!
//! Invariant: the way back of `signal::series`: what it reads out of a row, `fill` puts in, so the
//! evaluator judges the past as it judged the present. What cannot be put back is refused by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::detail::{Parameters, Settings};
use model::field::Field;
use model::reading::{
    CommandStat, Failure, Keyspace, LatencyEvent, Reading, Reason, ReplicaLink, Role,
    SentinelMaster,
};
use model::score::Explained;
use model::verdict::Verdict;

use crate::signal::{Family, Leaf, Member, Node, Program, Scalar, Signal};

/// A series to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Input {
    /// Its name.
    pub metric: String,
    /// Labels it must have.
    pub labels: Vec<(String, String)>,
    /// Label that names the instance.
    pub id_label: &'static str,
    what: What,
}

#[derive(Debug, Clone, PartialEq)]
enum What {
    Up,
    Role,
    Scalar(Scalar),
    Family(Family),
}

/// Where the samples of one concrete series go.
#[derive(Debug, Clone, PartialEq)]
pub enum Fill {
    /// Whether the poll was good.
    Up,
    /// 1 under that role.
    Role(Role),
    /// One value.
    One(Scalar),
    /// A sub-series of a family.
    Sub(Family, Box<str>),
}

impl Fill {
    /// The field of INFO it is, if it is one.
    pub fn field(&self) -> Option<Field> {
        match self {
            Fill::One(Scalar::Field(field)) => Some(*field),
            _ => None,
        }
    }
}

impl Input {
    fn new(metric: impl Into<String>, labels: &[(&str, &str)], what: What) -> Input {
        let labels = labels.iter().map(|(l, v)| (l.to_string(), v.to_string())).collect();
        Input { metric: metric.into(), labels, id_label: "instance", what }
    }

    /// Whether polls were good; without it every missing sample would be a missing poll.
    pub fn up() -> Input {
        Input::new("redis_up", &[], What::Up)
    }

    /// `name{label="value"}`.
    pub fn name(&self) -> String {
        let labels: Vec<String> = self.labels.iter().map(|(l, v)| format!("{l}={v:?}")).collect();
        match labels.is_empty() {
            true => self.metric.clone(),
            false => format!("{}{{{}}}", self.metric, labels.join(",")),
        }
    }

    /// What a series with these labels fills; none: nothing of ours.
    pub fn fill(&self, labels: &BTreeMap<String, String>) -> Option<Fill> {
        let label = |name: &str| labels.get(name).map_or("", String::as_str);
        Some(match &self.what {
            What::Up => Fill::Up,
            What::Role => match label("role") {
                "master" => Fill::Role(Role::Master),
                "slave" => Fill::Role(Role::Replica),
                _ => return None,
            },
            What::Scalar(scalar) => Fill::One(*scalar),
            What::Family(family @ (Family::ReplicaLag | Family::ReplicaOffset)) => {
                let (ip, port) = (label("slave_ip"), label("slave_port"));
                let sub = if ip.contains(':') {
                    format!("[{ip}]:{port}")
                } else {
                    format!("{ip}:{port}")
                };
                Fill::Sub(*family, sub.into())
            }
            What::Family(family) => Fill::Sub(*family, label(family.names().first()?).into()),
        })
    }
}

/// The series a signal reads, `redis_up` first.
pub fn of_signal(signal: &Signal) -> Result<Vec<Input>, String> {
    let program = match signal {
        Signal::Event(program) => program,
        Signal::Aggregate(gathered) => match &gathered.of {
            Member::Program(_) | Member::Silence(_) => {
                return Err("it is about many instances at once; backtests judge instances".into());
            }
        },
        Signal::Silence(_) => return Err("it is about samples that did not come".into()),
        Signal::Object(..) => return Err("it is about a service or more, not an instance".into()),
        Signal::Delegated(why) => return Err(format!("Prometheus evaluates it: {why}")),
    };
    let mut all = vec![Input::up()];
    for leaf in leaves(program) {
        for input in of_leaf(leaf)? {
            if !all.contains(&input) {
                all.push(input);
            }
        }
    }
    Ok(all)
}

fn leaves(program: &Program) -> Vec<&Leaf> {
    let mut out: Vec<&Leaf> = program.windows.iter().map(|w| &w.leaf).collect();
    walk(&program.node, &mut out);
    out
}

fn walk<'a>(node: &'a Node, out: &mut Vec<&'a Leaf>) {
    match node {
        Node::Latest(leaf) => out.push(leaf),
        Node::Arithmetic(_, a, b) | Node::Ratio(a, b) | Node::Join(_, a, b) => {
            walk(a, out);
            walk(b, out);
        }
        Node::Filter { left, right, .. } => {
            walk(left, out);
            walk(right, out);
        }
        Node::Number(_) | Node::Time | Node::Of(_) | Node::Window { .. } => {}
    }
}

fn of_leaf(leaf: &Leaf) -> Result<Vec<Input>, String> {
    match leaf {
        Leaf::One(scalar) => of_scalar(*scalar),
        Leaf::Many(family @ Family::Item(_), _) => {
            Err(format!("{} cannot be read back yet", family.metric()))
        }
        Leaf::Many(family, pick) => {
            let pick: Vec<(&str, &str)> = pick.iter().map(|(l, v)| (&**l, &**v)).collect();
            Ok(vec![Input::new(family.metric(), &pick, What::Family(*family))])
        }
        Leaf::Unfilled => Err("it has no data".into()),
    }
}

fn of_scalar(scalar: Scalar) -> Result<Vec<Input>, String> {
    let plain = |metric: &str| vec![Input::new(metric, &[], What::Scalar(scalar))];
    Ok(match scalar {
        // Always read, and always 1.
        Scalar::Up | Scalar::Expected => Vec::new(),
        Scalar::Field(field) => plain(field.info().metric),
        Scalar::PollSeconds => plain("redis_exporter_last_scrape_duration_seconds"),
        Scalar::StartTime => plain("redis_start_time_seconds"),
        Scalar::SlowlogLength => plain("redis_slowlog_length"),
        Scalar::SlowlogLastId => plain("redis_slowlog_last_id"),
        Scalar::SlowlogLastSeconds => plain("redis_last_slow_execution_duration_seconds"),
        Scalar::DbKeys => plain("redis_db_keys"),
        Scalar::DbKeysExpiring => plain("redis_db_keys_expiring"),
        Scalar::CertificateEnds => plain("cachewarden_certificate_expires_timestamp_seconds"),
        Scalar::InfoConflict => plain("cachewarden_info_conflict"),
        Scalar::TimeSkew => plain("cachewarden_redis_time_skew_seconds"),
        Scalar::ReplicasExpected => vec![Input::new("redis_instance_info", &[], What::Role)],
        Scalar::ScrapeError(reason) => {
            let labels = [("reason", reason)];
            vec![Input::new("cachewarden_scrape_error", &labels, What::Scalar(scalar))]
        }
        Scalar::State(state) => {
            let labels = [("state", state)];
            vec![Input::new("cachewarden_instance_state", &labels, What::Scalar(scalar))]
        }
        Scalar::Score => {
            let labels = [("level", "instance")];
            let input = Input::new("cachewarden_health_score", &labels, What::Scalar(scalar));
            vec![Input { id_label: "id", ..input }]
        }
        Scalar::Loss(dimension) => {
            let labels = [("level", "instance"), ("dimension", dimension.as_str()), ("signal", "")];
            let input = Input::new("cachewarden_health_loss", &labels, What::Scalar(scalar));
            vec![Input { id_label: "id", ..input }]
        }
        Scalar::Parameter(name) => plain(&format!("redis_config_{name}")),
    })
}

/// The parts of a row that samples are put into.
pub(super) struct Shown<'a> {
    pub reading: &'a mut Reading,
    pub verdict: &'a mut Verdict,
    pub score: &'a mut Option<Arc<Explained>>,
}

impl Shown<'_> {
    /// Empties what `put` adds to, before the samples of a moment.
    pub fn clear(&mut self) {
        let facts = &mut self.reading.facts;
        facts.role = None;
        facts.errors.clear();
        facts.commands.clear();
        facts.replicas.clear();
        facts.masters.clear();
        facts.latency.clear();
        facts.keyspace.clear();
        self.reading.failure = None;
        *self.verdict = Verdict::Up;
        *self.score = None;
    }

    /// Puts one sample in; NaN: there is none at this moment.
    pub fn put(&mut self, fill: &Fill, value: f64) {
        match fill {
            Fill::One(Scalar::Field(field)) => self.reading.facts.values.set(*field, value),
            Fill::Up => self.reading.up = value >= 1.0,
            Fill::One(scalar) => self.one(*scalar, (!value.is_nan()).then_some(value)),
            _ if value.is_nan() => {}
            Fill::Role(role) => self.reading.facts.role = Some(*role),
            Fill::Sub(family, sub) => member(self.reading, *family, sub, value),
        }
    }

    fn one(&mut self, scalar: Scalar, value: Option<f64>) {
        let at = self.reading.at;
        let facts = &mut self.reading.facts;
        let keys = |keys: f64, expires: f64| Keyspace { keys, expires, ..Keyspace::default() };
        match (scalar, value) {
            (Scalar::PollSeconds, Some(v)) => self.reading.duration_us = (v * 1e6).round() as u32,
            (Scalar::StartTime, v) => {
                let uptime = v.map_or(f64::NAN, |v| at.seconds() - v);
                facts.values.set(Field::UptimeInSeconds, uptime);
            }
            (Scalar::SlowlogLength, v) => facts.slowlog.len = v,
            (Scalar::SlowlogLastId, v) => facts.slowlog.last_id = v,
            (Scalar::SlowlogLastSeconds, v) => facts.slowlog.last_us = v.map(|v| v * 1e6),
            // One series a database: they are summed.
            (Scalar::DbKeys, Some(v)) => facts.keyspace.push(keys(v, 0.0)),
            (Scalar::DbKeysExpiring, Some(v)) => facts.keyspace.push(keys(0.0, v)),
            (Scalar::Parameter(name), Some(v)) => {
                let all =
                    Parameters::new([name.into()].into(), [v.to_string().as_str()].into_iter());
                let settings = Settings { parameters: Some(all), ..Settings::default() };
                facts.detail.settings = Some(Arc::new(settings));
            }
            (Scalar::Parameter(_), None) => facts.detail.settings = None,
            (Scalar::CertificateEnds, v) => facts.certificate_ends_at_s = v,
            (Scalar::InfoConflict, v) => facts.conflicts = u32::from(v.is_some_and(|v| v > 0.0)),
            (Scalar::TimeSkew, v) => facts.time_skew_s = v,
            (Scalar::ScrapeError(reason), Some(v)) if v >= 1.0 => {
                let known: Option<Reason> = serde_json::from_value(reason.into()).ok();
                let failure = known.map(|reason| Failure { reason, detail: String::new() });
                self.reading.failure = failure;
            }
            (Scalar::State(state), v) => *self.verdict = verdict(self.verdict, state, v),
            (Scalar::Score, v) => self.explained(|e| e.score = v),
            (Scalar::Loss(d), v) => self.explained(|e| e.losses[d as usize] = v),
            _ => {}
        }
    }

    fn explained(&mut self, set: impl FnOnce(&mut Explained)) {
        set(Arc::make_mut(self.score.get_or_insert_default()));
    }
}

/// The verdict once the series of one state is known.
fn verdict(present: &Verdict, state: &str, value: Option<f64>) -> Verdict {
    match (state, value) {
        ("down", Some(v)) if v >= 1.0 => Verdict::Down(String::new()),
        ("unknown", Some(v)) if v >= 1.0 => Verdict::Unknown(String::new()),
        ("up", Some(v)) if v < 1.0 && *present == Verdict::Up => Verdict::Unknown(String::new()),
        _ => present.clone(),
    }
}

fn member(reading: &mut Reading, family: Family, sub: &str, value: f64) {
    let facts = &mut reading.facts;
    match family {
        Family::Errors => facts.errors.push((sub.into(), value)),
        Family::Calls | Family::CallSeconds => {
            let found = facts.commands.iter().position(|c| c.cmd == sub);
            let index = found.unwrap_or_else(|| {
                let cmd = sub.into();
                let new = CommandStat { cmd, calls: 0.0, usec: 0.0, rejected: None, failed: None };
                facts.commands.push(new);
                facts.commands.len() - 1
            });
            let command = &mut facts.commands[index];
            match family {
                Family::Calls => command.calls = value,
                _ => command.usec = value * 1e6,
            }
        }
        Family::ReplicaLag | Family::ReplicaOffset => {
            let found = facts.replicas.iter().position(|r| r.address == sub);
            let index = found.unwrap_or_else(|| {
                let state = "online".to_string();
                facts.replicas.push(ReplicaLink {
                    address: sub.into(),
                    state,
                    offset: 0.0,
                    lag_s: -1.0,
                });
                facts.replicas.len() - 1
            });
            let replica = &mut facts.replicas[index];
            match family {
                Family::ReplicaLag => replica.lag_s = value,
                _ => replica.offset = value,
            }
        }
        Family::Ckquorum | Family::ConfigEpoch | Family::OkReplicas | Family::OkSentinels => {
            let found = facts.masters.iter().position(|m| m.name == sub);
            let index = found.unwrap_or_else(|| {
                facts
                    .masters
                    .push(SentinelMaster { name: sub.into(), ..SentinelMaster::default() });
                facts.masters.len() - 1
            });
            let master = &mut facts.masters[index];
            match family {
                Family::Ckquorum => master.ckquorum = Some((value >= 1.0, String::new())),
                Family::ConfigEpoch => master.config_epoch = value,
                Family::OkReplicas => master.replicas_ok = Some(value),
                _ => master.sentinels_ok = Some(value),
            }
        }
        Family::ReadOnly => {
            facts.role = Some(Role::Replica);
            let word = f64::from(u8::from(sub != "0"));
            facts.values.set(Field::SlaveReadOnly, word);
        }
        Family::Spike => facts.latency.push(LatencyEvent {
            event: sub.into(),
            at_s: 0.0,
            last_ms: value * 1e3,
            max_ms: 0.0,
        }),
        Family::Item(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defaults;
    use crate::resolve::resolve;

    fn refused(policy: &str) -> Option<String> {
        let doc = defaults::policies().iter().find(|d| d.policy == policy).unwrap();
        of_signal(&resolve(&[doc]).unwrap().signal).err()
    }

    #[test]
    fn every_shipped_policy_of_an_instance_can_be_read_back_but_for_those_named() {
        let mut left = Vec::new();
        for doc in defaults::policies() {
            let signal = resolve(&[doc]).unwrap().signal;
            let event = matches!(signal, Signal::Event(_));
            if event && of_signal(&signal).is_err() {
                left.push(doc.policy.as_str());
            }
        }
        assert_eq!(left, ["config-drift"], "these cannot be backtested");
        assert!(refused("zone-outage").unwrap().contains("many instances"));
    }

    #[test]
    fn a_series_says_what_it_is_asked_by() {
        let doc = defaults::policies().iter().find(|d| d.policy == "memory-used").unwrap();
        let inputs = of_signal(&resolve(&[doc]).unwrap().signal).unwrap();
        let names: Vec<String> = inputs.iter().map(Input::name).collect();
        assert_eq!(names[0], "redis_up");
        assert!(names.contains(&"redis_memory_used_bytes".to_string()), "{names:?}");
        let lag = Input::new("x", &[], What::Family(Family::ReplicaLag));
        let labels = [("slave_ip", "10.0.0.9"), ("slave_port", "6379")];
        let labels = labels.map(|(l, v)| (l.to_string(), v.to_string())).into();
        assert_eq!(lag.fill(&labels), Some(Fill::Sub(Family::ReplicaLag, "10.0.0.9:6379".into())));
    }
}

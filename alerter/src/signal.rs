//! What a policy judges, compiled when a plan is built.
//!
//! Invariant: names are looked up once; nothing is looked up by name while a sample is judged.

mod node;
mod object;
mod promql;
mod series;

use std::sync::Arc;

use model::policy::{By, Fact, Fold, SignalRef, Window, WindowFn};
use model::score::Level;

pub use node::{
    Ambiguous, Arithmetic, Each, Join, Node, ObjectLeaf, Out, Program, Scope, Source, Windowed,
};
pub use object::{Kind, Object, Outlook, picked, score_key};
pub use promql::{Compiled, scoped};
pub use series::{Family, Leaf, SUB_SERIES_MAX, Scalar, find as find_series};

/// Key of the masters seen of a service, in an `Outlook`.
pub const MASTERS_SEEN: &str = "fact:masters_seen";
/// Key of the masters a service should have.
pub const MASTERS_EXPECTED: &str = "cachewarden_masters_expected";
/// Key of the shares of a service's nodes by zone.
pub const ZONE_SHARE: &str = "cachewarden_service_zone_share";
/// Key of the evaluations that failed, by policy.
pub const EVALUATION_ERRORS: &str = "fact:evaluation_errors";

/// How a signal is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub enum Signal {
    /// For one instance, when a sample of it arrives.
    Event(Program),
    /// For one instance on the grid, because it is about samples that do not arrive.
    Silence(Silence),
    /// For one object on the grid.
    Object(Kind, Program),
    /// For a group of instances on the grid.
    Aggregate(Gathered),
    /// By Prometheus.
    Delegated(String),
}

/// Which silence of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Silence {
    /// Nothing for 5 minutes.
    Unpolled,
    /// The latest poll failed, or nothing for 5 minutes.
    Unanswered,
}

/// Many instances' values as one.
#[derive(Debug, Clone, PartialEq)]
pub struct Gathered {
    /// The value of each instance.
    pub of: Member,
    /// How they become one.
    pub op: Fold,
    /// Which instances together.
    pub by: By,
    /// Fewer values say nothing.
    pub at_least: usize,
}

/// The value of an instance in a group.
#[derive(Debug, Clone, PartialEq)]
pub enum Member {
    /// Of its samples.
    Program(Arc<Program>),
    /// Of their absence.
    Silence(Silence),
}

const NO_WINDOWS: &[Windowed] = &[];

impl Signal {
    /// Compiles the written form; answers what is wrong with it in words.
    pub fn compile(signal: &SignalRef, window: Option<&Window>) -> Result<Signal, String> {
        if window.is_some() && !matches!(signal, SignalRef::Metric { .. } | SignalRef::Item(_)) {
            let aggregate = matches!(signal, SignalRef::Aggregate(_));
            if !aggregate {
                return Err(
                    "window goes with metric, item or aggregate; an expr has its own".into()
                );
            }
        }
        match signal {
            SignalRef::Metric { names, over, pick, without } => {
                let pick: Vec<_> = pick.iter().map(|(l, v)| (l.clone(), v.clone())).collect();
                metric(names, over, &pick, without, window).map(Signal::Event)
            }
            SignalRef::Item(name) => Ok(Signal::Event(item(*name, window))),
            SignalRef::Score { of, level: Level::Instance } => {
                let node = Node::Latest(Leaf::One(series::score(of)?));
                Ok(Signal::Event(Program::single(node)))
            }
            SignalRef::Score { of, level } => {
                series::score(of)?;
                let kind = kind(*level)?;
                let leaf = ObjectLeaf { key: score_key(of, kind).into(), label: None };
                Ok(Signal::Object(kind, Program::single(Node::Of(leaf))))
            }
            SignalRef::Fact { fact, over } => fact_of(*fact, *over),
            SignalRef::Aggregate(a) => {
                let of = match Signal::compile(&a.of, window)? {
                    Signal::Event(program) => {
                        Member::Program(Arc::new(Program { fold: true, ..program }))
                    }
                    Signal::Silence(silence) => Member::Silence(silence),
                    Signal::Delegated(why) => return Ok(Signal::Delegated(why)),
                    _ => return Err("aggregate.of must be a signal of one instance".into()),
                };
                let at_least = a.at_least.unwrap_or(1).max(1) as usize;
                Ok(Signal::Aggregate(Gathered { of, op: a.op, by: a.by, at_least }))
            }
            SignalRef::Expr(text) => Ok(match promql::compile(text)? {
                Compiled::Instance(program) => Signal::Event(program),
                Compiled::Object(kind, program) => Signal::Object(kind, program),
                Compiled::Delegated(why) => Signal::Delegated(why),
            }),
        }
    }

    /// Series it looks back on.
    pub fn windows(&self) -> &[Windowed] {
        match self {
            Signal::Event(program) | Signal::Object(_, program) => &program.windows,
            Signal::Aggregate(Gathered { of: Member::Program(program), .. }) => &program.windows,
            _ => NO_WINDOWS,
        }
    }

    /// What its alerts are about.
    pub fn kind(&self) -> Kind {
        match self {
            Signal::Event(_) | Signal::Silence(_) | Signal::Delegated(_) => Kind::Instance,
            Signal::Object(kind, _) => *kind,
            Signal::Aggregate(gathered) => match gathered.by {
                By::Shard => Kind::Shard,
                By::Service => Kind::Service,
                By::System => Kind::System,
                By::Zone => Kind::Zone,
                By::Tenant => Kind::Tenant,
            },
        }
    }

    /// Labels of a sub-series.
    pub fn labels(&self, sub: &str) -> Vec<(String, String)> {
        match self {
            Signal::Event(program) | Signal::Object(_, program) => program.labels(sub),
            _ => Vec::new(),
        }
    }
}

impl Program {
    fn single(node: Node) -> Program {
        Program { node, windows: Vec::new(), each: Each::Single, fold: false, one_to_one: false }
    }
}

fn kind(level: Level) -> Result<Kind, String> {
    Ok(match level {
        Level::Instance => Kind::Instance,
        Level::Shard => Kind::Shard,
        Level::Service => Kind::Service,
        Level::System => Kind::System,
        Level::Tenant => Kind::Tenant,
        Level::Fleet => Kind::Platform,
    })
}

fn fact_of(fact: Fact, over: Option<Fact>) -> Result<Signal, String> {
    let leaf = |key: &str, label| Node::Of(ObjectLeaf { key: key.into(), label });
    let of_service = |fact: Fact| match fact {
        Fact::MastersSeen => Ok(leaf(MASTERS_SEEN, None)),
        Fact::MastersExpected => Ok(leaf(MASTERS_EXPECTED, None)),
        Fact::ZoneShare => Ok(leaf(ZONE_SHARE, None)),
        other => Err(format!("{} is no fact of a service", other.as_str())),
    };
    if let Some(over) = over {
        let ratio = Node::Ratio(of_service(fact)?.into(), of_service(over)?.into());
        return Ok(Signal::Object(Kind::Service, Program::single(ratio)));
    }
    Ok(match fact {
        Fact::ExpectedWithoutReading => Signal::Silence(Silence::Unpolled),
        Fact::Unanswered => Signal::Silence(Silence::Unanswered),
        Fact::ReplicasExpected => {
            Signal::Event(Program::single(Node::Latest(Leaf::One(Scalar::ReplicasExpected))))
        }
        Fact::ConfigDrift => Signal::Event(Program::single(Node::Latest(Leaf::Unfilled))),
        Fact::EvaluationErrors => {
            let leaf = ObjectLeaf { key: EVALUATION_ERRORS.into(), label: Some("failing_policy") };
            let program =
                Program { each: Each::Object(leaf.clone()), ..Program::single(Node::Of(leaf)) };
            Signal::Object(Kind::Platform, program)
        }
        fact => Signal::Object(Kind::Service, Program::single(of_service(fact)?)),
    })
}

/// Builds the program of a metric form.
struct Metric {
    windows: Vec<Windowed>,
    each: Each,
}

impl Metric {
    fn leaf(
        &mut self,
        name: &str,
        pick: &[(String, String)],
        window: Option<&Window>,
    ) -> Result<Node, String> {
        let (leaf, _) = series::find(name, pick)?;
        let family = match &leaf {
            Leaf::Many(family, pick) => Some((*family, pick.clone())),
            _ => None,
        };
        let node = match window {
            None => {
                if let Some((family, pick)) = family {
                    self.each = Each::Family(family, pick);
                }
                Node::Latest(leaf)
            }
            Some(window) => {
                let (index, range_ms) = (self.windows.len(), window.range.ms);
                if let Some((family, _)) = family {
                    self.each = Each::Window(index, family);
                }
                let name = promql::canonical(name, pick);
                self.windows.push(Windowed { leaf, name, range_ms });
                Node::Window { index, function: window.function, range_ms }
            }
        };
        Ok(node)
    }

    fn first(
        &mut self,
        names: &[String],
        pick: &[(String, String)],
        window: Option<&Window>,
    ) -> Result<Node, String> {
        let mut chain: Option<Node> = None;
        for name in names {
            let next = self.leaf(name, pick, window)?;
            let many = !matches!(self.each, Each::Single);
            if many && names.len() > 1 {
                return Err(format!("{name} has sub-series; a list takes series of one value"));
            }
            chain = Some(match chain {
                None => next,
                Some(before) => Node::Join(Join::Or, before.into(), next.into()),
            });
        }
        chain.ok_or_else(|| "names no series".into())
    }
}

fn metric(
    names: &[String],
    over: &[String],
    pick: &[(String, String)],
    without: &[String],
    window: Option<&Window>,
) -> Result<Program, String> {
    let mut m = Metric { windows: Vec::new(), each: Each::Single };
    let mut node = m.first(names, pick, window)?;
    let each = std::mem::replace(&mut m.each, Each::Single);
    if !over.is_empty() {
        // A function runs on both sides; what lies ahead or is absent has no ratio but to the present.
        let ahead = |w: &&Window| matches!(w.function, WindowFn::Forecast(_) | WindowFn::Absent);
        let below = m.first(over, &[], window.filter(|w| !ahead(w)))?;
        if !matches!(m.each, Each::Single) {
            return Err("over: a series with sub-series cannot be divided by".into());
        }
        node = Node::Ratio(node.into(), below.into());
    }
    let fold = folds(&each, without)?;
    Ok(Program { node, windows: m.windows, each, fold, one_to_one: false })
}

/// Whether `without` makes one value of all sub-series.
fn folds(each: &Each, without: &[String]) -> Result<bool, String> {
    let family = match each {
        Each::Family(family, _) | Each::Window(_, family) => *family,
        _ if without.is_empty() => return Ok(false),
        _ => return Err("without: the series has one value only".into()),
    };
    let known = |label: &&String| {
        !family.names().contains(&label.as_str()) && !family.folded().contains(&label.as_str())
    };
    if let Some(label) = without.iter().find(known) {
        return Err(format!("without: {} has no label {label}", family.metric()));
    }
    let left = family.names().iter().filter(|l| !without.iter().any(|w| w == *l)).count();
    match left {
        0 => Ok(true),
        n if n == family.names().len() => Ok(false),
        _ => Err(format!("without: {} can only be folded whole", family.names().join(", "))),
    }
}

fn item(name: model::item::ItemName, window: Option<&Window>) -> Program {
    let family = Family::Item(name);
    let leaf = Leaf::Many(family, Vec::new());
    match window {
        None => Program {
            each: Each::Family(family, Vec::new()),
            ..Program::single(Node::Latest(leaf))
        },
        Some(window) => {
            let range_ms = window.range.ms;
            let node = Node::Window { index: 0, function: window.function, range_ms };
            let name = format!("item:{name}").into();
            let windows = vec![Windowed { leaf, name, range_ms }];
            Program { windows, each: Each::Window(0, family), ..Program::single(node) }
        }
    }
}

#[cfg(test)]
mod tests {
    use model::item::ItemName;

    use super::*;

    fn compile(json: &str, window: Option<&str>) -> Result<Signal, String> {
        let signal: SignalRef = serde_json::from_str(json).unwrap();
        let window: Option<Window> = window.map(|w| serde_json::from_str(w).unwrap());
        Signal::compile(&signal, window.as_ref())
    }

    #[test]
    fn a_policy_names_an_item_by_its_name() {
        let signal = compile(r#"{"item": "queue-length"}"#, None).unwrap();
        let family = Family::Item(ItemName::parse("queue-length").unwrap());
        assert_eq!(signal.labels(""), family.labels(""));
        assert!(serde_json::from_str::<SignalRef>(r#"{"item": "Not A Slug"}"#).is_err());
    }

    #[test]
    fn each_form_is_evaluated_where_its_inputs_are() {
        for (json, kind) in [
            (r#"{"metric":"redis_up"}"#, Kind::Instance),
            (r#"{"score":"memory"}"#, Kind::Instance),
            (r#"{"score":"score","level":"service"}"#, Kind::Service),
            (r#"{"fact":"masters_seen","over":"masters_expected"}"#, Kind::Service),
            (r#"{"fact":"evaluation_errors"}"#, Kind::Platform),
            (r#"{"aggregate":{"of":{"fact":"unanswered"},"op":"avg","by":"zone"}}"#, Kind::Zone),
            (r#"{"expr":"cachewarden_masters_expected > 1"}"#, Kind::Service),
        ] {
            assert_eq!(compile(json, None).unwrap().kind(), kind, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused_in_words() {
        for (json, window, said) in [
            (r#"{"metric":"nope"}"#, None, "nope"),
            (r#"{"score":"sped"}"#, None, "expected score"),
            (r#"{"metric":["redis_errors_total","redis_up"]}"#, None, "has sub-series"),
            (r#"{"metric":"redis_up","without":["err"]}"#, None, "one value only"),
            (r#"{"metric":"redis_errors_total","without":["cmd"]}"#, None, "has no label cmd"),
            (
                r#"{"metric":"redis_connected_slave_lag_seconds","without":["slave_ip"]}"#,
                None,
                "folded whole",
            ),
            (r#"{"metric":"redis_up","over":"redis_errors_total"}"#, None, "divided by"),
            (r#"{"expr":"redis_up"}"#, Some(r#"{"fn":"rate","range":"5m"}"#), "window goes with"),
            (r#"{"expr":"redis_up >"}"#, None, "no PromQL"),
            (r#"{"fact":"masters_seen","over":"unanswered"}"#, None, "no fact of a service"),
        ] {
            assert!(compile(json, window).unwrap_err().contains(said), "{json}");
        }
    }
}

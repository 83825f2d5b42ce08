//! A compiled signal: arithmetic, comparisons and joins over the series of one object.
//!
//! Invariant: pure and without allocation. What was filtered away by a comparison (`Outside`: known,
//! and not so) is told apart from what nobody could read (`Missing`: held, never a recovery);
//! Prometheus has only "no sample" for both.

use model::policy::{Compare, WindowFn};
use model::row::Row;
use std::sync::Arc;

use super::object::{Object, Outlook};
use super::series::{Family, Labels, Leaf};
use crate::rings::Held;

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Out {
    /// A value.
    Value(f64),
    /// Known, but a comparison in the signal does not hold.
    Outside,
    /// Something it needs could not be read.
    Missing,
}

/// A binary operator of arithmetic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// +
    Add,
    /// -
    Sub,
    /// *
    Mul,
    /// /
    Div,
    /// %
    Rem,
    /// ^
    Pow,
}

/// A set operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// Left where right is.
    And,
    /// Left, else right.
    Or,
    /// Left where right is not.
    Unless,
}

/// A series of an object other than an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectLeaf {
    /// Name and picked labels, the key of `Outlook`.
    pub key: Arc<str>,
    /// Label that tells its sub-series apart.
    pub label: Option<&'static str>,
}

/// Part of a compiled signal.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// A number.
    Number(f64),
    /// The time of evaluation, Unix seconds.
    Time,
    /// The latest value of a series.
    Latest(Leaf),
    /// The latest value of an object's series.
    Of(ObjectLeaf),
    /// A function over the program's window with that index.
    Window {
        /// Index into `Program::windows`.
        index: usize,
        /// The function.
        function: WindowFn,
        /// Its range.
        range_ms: i64,
    },
    /// Arithmetic.
    Arithmetic(Arithmetic, Box<Node>, Box<Node>),
    /// A ratio that is missing where the divisor is 0.
    Ratio(Box<Node>, Box<Node>),
    /// A comparison: keeps the left (or the only) vector's value, or answers 0 or 1.
    Filter {
        /// Operator.
        op: Compare,
        /// 0 or 1 instead of keeping the value.
        boolean: bool,
        /// Left side.
        left: Box<Node>,
        /// Right side.
        right: Box<Node>,
    },
    /// A set operator.
    Join(Join, Box<Node>, Box<Node>),
}

/// A series a program looks back on.
#[derive(Debug, Clone, PartialEq)]
pub struct Windowed {
    /// The series.
    pub leaf: Leaf,
    /// Its name with the picked labels; rings are kept by it.
    pub name: Arc<str>,
    /// How far back.
    pub range_ms: i64,
}

/// Which sub-series a program is evaluated for, one by one.
#[derive(Debug, Clone, PartialEq)]
pub enum Each {
    /// One value only.
    Single,
    /// Those in the latest sample.
    Family(Family, Labels),
    /// Those of the window with that index.
    Window(usize, Family),
    /// Those of an object's series.
    Object(ObjectLeaf),
}

/// A compiled signal.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The formula.
    pub node: Node,
    /// Series it looks back on.
    pub windows: Vec<Windowed>,
    /// Its sub-series.
    pub each: Each,
    /// Sub-series become one, the largest.
    pub fold: bool,
    /// More than one sub-series cannot be matched: an error, as in Prometheus.
    pub one_to_one: bool,
}

/// Where a program reads.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// The latest sample of an instance.
    Instance {
        /// The sample.
        row: &'a Row,
        /// Replicas its service should have.
        replicas_wanted: u32,
        /// Its windows, in the order of `Program::windows`.
        held: Held<'a>,
    },
    /// What is known of an object.
    Object {
        /// Everything known.
        outlook: &'a Outlook,
        /// Whose.
        object: &'a Object,
    },
}

/// A program's evaluation for one sub-series.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// Time of evaluation, Unix milliseconds.
    pub now_ms: i64,
    /// Where it reads.
    pub source: Source<'a>,
}

impl From<Option<f64>> for Out {
    fn from(value: Option<f64>) -> Out {
        value.map_or(Out::Missing, Out::Value)
    }
}

impl Node {
    /// A bare number: the value of a comparison is the other side's.
    pub fn is_number(&self) -> bool {
        match self {
            Node::Number(_) | Node::Time => true,
            Node::Arithmetic(_, a, b) => a.is_number() && b.is_number(),
            _ => false,
        }
    }

    /// Its value for the sub-series `sub`, of which the latest value is `latest` where the program
    /// walks a family.
    pub fn eval(&self, scope: Scope<'_>, sub: &str, latest: Option<f64>) -> Out {
        let both = |a: &Node, b: &Node| (a.eval(scope, sub, latest), b.eval(scope, sub, latest));
        match self {
            Node::Number(n) => Out::Value(*n),
            Node::Time => Out::Value(scope.now_ms as f64 / 1000.0),
            Node::Latest(leaf) => read(leaf, scope, latest).into(),
            Node::Of(leaf) => match scope.source {
                Source::Object { outlook, object } => match leaf.label {
                    Some(_) => latest.into(),
                    None => outlook.value(&leaf.key, object).into(),
                },
                Source::Instance { .. } => Out::Missing,
            },
            Node::Window { index, function, range_ms } => {
                let Source::Instance { held, .. } = scope.source else { return Out::Missing };
                let value = held.apply(*index, *function, sub, scope.now_ms, *range_ms);
                match (value, function) {
                    (None, WindowFn::Absent) => Out::Outside,
                    (value, _) => value.into(),
                }
            }
            Node::Arithmetic(op, a, b) => match both(a, b) {
                (Out::Value(a), Out::Value(b)) => Out::Value(op.of(a, b)),
                (Out::Missing, _) | (_, Out::Missing) => Out::Missing,
                _ => Out::Outside,
            },
            Node::Ratio(a, b) => match both(a, b) {
                (_, Out::Value(0.0)) => Out::Missing,
                (Out::Value(a), Out::Value(b)) => Out::Value(a / b),
                (Out::Missing, _) | (_, Out::Missing) => Out::Missing,
                _ => Out::Outside,
            },
            Node::Filter { op, boolean, left, right } => {
                let (Out::Value(a), Out::Value(b)) = both(left, right) else {
                    let (a, b) = both(left, right);
                    let missing = matches!(a, Out::Missing) || matches!(b, Out::Missing);
                    return if missing { Out::Missing } else { Out::Outside };
                };
                let holds = prometheus_holds(*op, a, b);
                match (boolean, holds) {
                    (true, holds) => Out::Value(f64::from(u8::from(holds))),
                    (false, true) => Out::Value(if left.is_number() { b } else { a }),
                    (false, false) => Out::Outside,
                }
            }
            Node::Join(join, a, b) => {
                let (a, b) = both(a, b);
                join.of(a, b)
            }
        }
    }
}

fn read(leaf: &Leaf, scope: Scope<'_>, latest: Option<f64>) -> Option<f64> {
    let Source::Instance { row, replicas_wanted, .. } = scope.source else { return None };
    match leaf {
        Leaf::One(scalar) => scalar.read(row, replicas_wanted),
        Leaf::Many(..) => latest,
        Leaf::Unfilled => None,
    }
}

/// As Go compares: `!=` holds for NaN, everything else does not.
fn prometheus_holds(op: Compare, a: f64, b: f64) -> bool {
    if let Compare::Ne = op { a != b } else { op.holds(a, b) }
}

impl Arithmetic {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            Arithmetic::Add => a + b,
            Arithmetic::Sub => a - b,
            Arithmetic::Mul => a * b,
            Arithmetic::Div => a / b,
            Arithmetic::Rem => a % b,
            Arithmetic::Pow => a.powf(b),
        }
    }
}

impl Join {
    fn of(self, a: Out, b: Out) -> Out {
        match (self, a, b) {
            (Join::And, Out::Value(_), Out::Value(_)) => a,
            (Join::And, Out::Outside, _) | (Join::And, _, Out::Outside) => Out::Outside,
            (Join::And, ..) => Out::Missing,
            (Join::Or, Out::Value(_), _) => a,
            (Join::Or, _, Out::Value(_)) => b,
            (Join::Or, Out::Outside, Out::Outside) => Out::Outside,
            (Join::Or, ..) => Out::Missing,
            // What is not there does not take the left side away, as in Prometheus.
            (Join::Unless, Out::Value(_), Out::Value(_)) => Out::Outside,
            (Join::Unless, ..) => a,
        }
    }
}

impl Program {
    /// Evaluates the program for each of its sub-series.
    ///
    /// `Err`: the sub-series cannot be matched one to one; nothing was called then.
    pub fn walk<'a>(
        &self,
        scope: Scope<'a>,
        mut each: impl FnMut(&'a str, Out),
    ) -> Result<(), Ambiguous> {
        if self.one_to_one {
            let mut n = 0;
            self.subs(scope, |_, _| n += 1);
            if n > 1 {
                return Err(Ambiguous);
            }
        }
        if !self.fold {
            self.subs(scope, |sub, latest| each(sub, self.node.eval(scope, sub, latest)));
            return Ok(());
        }
        let mut all = Out::Missing;
        self.subs(scope, |sub, latest| {
            all = match (all, self.node.eval(scope, sub, latest)) {
                (Out::Value(a), Out::Value(b)) => Out::Value(a.max(b)),
                (Out::Missing, one) => one,
                (Out::Outside, one @ Out::Value(_)) => one,
                (all, _) => all,
            };
        });
        each("", all);
        Ok(())
    }

    fn subs<'a>(&self, scope: Scope<'a>, mut each: impl FnMut(&'a str, Option<f64>)) {
        match (&self.each, scope.source) {
            (Each::Single, _) => each("", None),
            (Each::Family(family, pick), Source::Instance { row, .. }) => {
                family.read(row, pick, |sub, value| each(sub, Some(value)));
            }
            (Each::Window(index, _), Source::Instance { held, .. }) => {
                held.subs(*index).for_each(|sub| each(sub, None));
            }
            (Each::Object(leaf), Source::Object { outlook, object }) => {
                outlook.series(&leaf.key, object).iter().for_each(|(s, v)| each(s, Some(*v)));
            }
            _ => {}
        }
    }

    /// Whether it has one value per object; else each sub-series is an alert of its own.
    pub fn is_single(&self) -> bool {
        self.fold || matches!(self.each, Each::Single)
    }

    /// Labels of a sub-series.
    pub fn labels(&self, sub: &str) -> Vec<(String, String)> {
        if self.fold {
            return Vec::new();
        }
        match &self.each {
            Each::Single => Vec::new(),
            Each::Family(family, _) | Each::Window(_, family) => family.labels(sub),
            Each::Object(leaf) => {
                leaf.label.iter().map(|l| (l.to_string(), sub.to_string())).collect()
            }
        }
    }
}

/// Many sub-series on a side that must have one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ambiguous;

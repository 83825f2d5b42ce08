//! The part of PromQL that is judged in process, and the matchers forced into the rest.
//!
//! Invariant: what is compiled here means to one instance (or one service) exactly what Prometheus
//! would answer; whatever does not is handed on as delegated, with the reason. An expression that
//! cannot be parsed is refused and never passed on without its tenant.

use std::sync::Arc;

use model::policy::{Compare, PolicyScope, Span, WindowFn};
use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{
    self, BinaryExpr, Call, Expr, LabelModifier, MatrixSelector, VectorMatchCardinality,
    VectorSelector,
};

use super::node::{Arithmetic, Each, Join, Node, ObjectLeaf, Program, Windowed};
use super::object::{self, Kind};
use super::series::{self, Family, Labels, Leaf, Shape};

/// How an expression is evaluated.
#[derive(Debug, Clone, PartialEq)]
pub enum Compiled {
    /// In process, for each instance.
    Instance(Program),
    /// In process, for each object of that kind.
    Object(Kind, Program),
    /// By Prometheus, for this reason.
    Delegated(String),
}

/// Labels discovery attaches; which instances a policy is for is said by scope and selector.
const TARGET: [&str; 9] =
    ["tenant", "system", "service", "shard", "instance", "zone", "site", "env", "tier"];

/// Compiles an expression. `Err`: it is no PromQL.
pub fn compile(text: &str) -> Result<Compiled, String> {
    let expr = parser::parse(text).map_err(|e| format!("no PromQL: {e}"))?;
    let mut build = Build::default();
    let (node, operand) = match build.convert(&expr) {
        Ok(done) => done,
        Err(why) => return Ok(Compiled::Delegated(why)),
    };
    let each = match operand.many {
        Some(Many::Family(family, pick)) => Each::Family(family, pick),
        Some(Many::Window(index, family)) => Each::Window(index, family),
        Some(Many::Object(leaf)) => Each::Object(leaf),
        None => Each::Single,
    };
    let program =
        Program { node, windows: build.windows, each, fold: false, one_to_one: build.one_to_one };
    Ok(match operand.kind {
        None => Compiled::Delegated("it names no series".into()),
        Some(Kind::Instance) => Compiled::Instance(program),
        Some(kind) => Compiled::Object(kind, program),
    })
}

#[derive(Debug, Clone, PartialEq)]
enum Many {
    Family(Family, Labels),
    Window(usize, Family),
    Object(ObjectLeaf),
}

/// What is known of a part of the expression.
#[derive(Debug, Clone, PartialEq)]
struct Operand {
    /// Whose series; none for numbers.
    kind: Option<Kind>,
    shape: Shape,
    many: Option<Many>,
    /// Which sub-series: a family with its picked labels.
    told: Option<(Family, Labels)>,
}

const NUMBER: Operand = Operand { kind: None, shape: Shape::Target, many: None, told: None };

#[derive(Default)]
struct Build {
    windows: Vec<Windowed>,
    one_to_one: bool,
}

type Part = Result<(Node, Operand), String>;

impl Build {
    fn convert(&mut self, expr: &Expr) -> Part {
        match expr {
            Expr::Paren(p) => self.convert(&p.expr),
            Expr::NumberLiteral(n) => Ok((Node::Number(n.val), NUMBER)),
            Expr::Unary(u) => {
                let (node, operand) = self.convert(&u.expr)?;
                let minus = Node::Number(-1.0);
                Ok((Node::Arithmetic(Arithmetic::Mul, minus.into(), node.into()), operand))
            }
            Expr::VectorSelector(selector) => self.latest(selector),
            Expr::Binary(binary) => self.binary(binary),
            Expr::Call(call) => self.call(call),
            Expr::Aggregate(a) => {
                let op = a.op.to_string();
                let Some(LabelModifier::Exclude(labels)) = &a.modifier else {
                    return Err(format!(
                        "{op} by labels is done by signal aggregate, or delegated"
                    ));
                };
                if !(op == "max" || op == "min") {
                    return Err(format!("{op} is not evaluated in process"));
                }
                let (node, mut operand) = self.convert(&a.expr)?;
                let folded = match operand.told {
                    Some((family, _)) => family.folded(),
                    None => &["master_host", "master_port"],
                };
                if let Some(label) = labels.labels.iter().find(|l| !folded.contains(&l.as_str())) {
                    return Err(format!("{op} without ({label}) is not evaluated in process"));
                }
                if operand.many.is_none() {
                    operand.shape = Shape::Target;
                }
                Ok((node, operand))
            }
            Expr::Subquery(_) => Err("subqueries are not evaluated in process".into()),
            Expr::StringLiteral(_) | Expr::Extension(_) | Expr::MatrixSelector(_) => {
                Err("it is no instant vector".into())
            }
        }
    }

    fn latest(&mut self, selector: &VectorSelector) -> Part {
        let (name, pick) = named(selector)?;
        if let Some(found) = object::find(name, &pick) {
            let (kind, leaf) = found?;
            let many = leaf.label.map(|_| Many::Object(leaf.clone()));
            let operand = Operand { kind: Some(kind), many, ..NUMBER };
            return Ok((Node::Of(leaf), operand));
        }
        let (leaf, shape) = series::find(name, &pick)?;
        let (many, told) = match &leaf {
            Leaf::Many(family, pick) => {
                (Some(Many::Family(*family, pick.clone())), Some((*family, pick.clone())))
            }
            _ => (None, None),
        };
        Ok((Node::Latest(leaf), Operand { kind: Some(Kind::Instance), shape, many, told }))
    }

    fn window(&mut self, selector: &MatrixSelector, function: WindowFn) -> Part {
        let (name, pick) = named(&selector.vs)?;
        if object::find(name, &pick).is_some() {
            return Err(format!("{name} is not kept over time in process"));
        }
        let range_ms = i64::try_from(selector.range.as_millis()).unwrap_or(i64::MAX);
        if range_ms > model::policy::Window::RANGE_MAX.ms {
            return Err("a range above 6h is not kept in process".into());
        }
        let (leaf, shape) = series::find(name, &pick)?;
        let name = canonical(name, &pick);
        let index = self.windows.len();
        self.windows.push(Windowed { leaf: leaf.clone(), name, range_ms });
        let (many, told) = match &leaf {
            Leaf::Many(family, pick) => {
                (Some(Many::Window(index, *family)), Some((*family, pick.clone())))
            }
            _ => (None, None),
        };
        let node = Node::Window { index, function, range_ms };
        Ok((node, Operand { kind: Some(Kind::Instance), shape, many, told }))
    }

    fn call(&mut self, call: &Call) -> Part {
        let name = call.func.name;
        let args = &call.args.args;
        let matrix = |expr: &Expr| match expr {
            Expr::MatrixSelector(m) => Ok(m.clone()),
            _ => Err(format!("{name} over anything but a series is not evaluated in process")),
        };
        let number = |expr: &Expr| match expr {
            Expr::NumberLiteral(n) => Ok(n.val),
            _ => Err(format!("{name} with a computed argument is not evaluated in process")),
        };
        let function = match (name, args.len()) {
            ("time", 0) => return Ok((Node::Time, NUMBER)),
            ("quantile_over_time", 2) => {
                let q = number(&args[0])?;
                return self.window(&matrix(&args[1])?, WindowFn::Quantile(q));
            }
            ("predict_linear", 2) => {
                let horizon = Span::from_ms((number(&args[1])? * 1000.0) as i64);
                return self.window(&matrix(&args[0])?, WindowFn::Forecast(horizon));
            }
            ("rate", 1) => WindowFn::Rate,
            ("increase", 1) => WindowFn::Increase,
            ("delta", 1) => WindowFn::Delta,
            ("changes", 1) => WindowFn::Changes,
            ("resets", 1) => WindowFn::Resets,
            ("avg_over_time", 1) => WindowFn::Avg,
            ("min_over_time", 1) => WindowFn::Min,
            ("max_over_time", 1) => WindowFn::Max,
            ("sum_over_time", 1) => WindowFn::Sum,
            ("count_over_time", 1) => WindowFn::Count,
            ("last_over_time", 1) => WindowFn::Last,
            _ => return Err(format!("{name}() is not evaluated in process")),
        };
        self.window(&matrix(&args[0])?, function)
    }

    fn binary(&mut self, b: &BinaryExpr) -> Part {
        let (left, l) = self.convert(&b.lhs)?;
        let (right, r) = self.convert(&b.rhs)?;
        let op = b.op.to_string();
        let is_set = b.op.is_set_operator();
        let operand = match (l.kind, r.kind) {
            (None, None) => NUMBER,
            (Some(_), None) => l,
            (None, Some(_)) => r,
            (Some(a), Some(c)) if a != c => {
                return Err("series of instances and of services are joined by Prometheus".into());
            }
            (Some(kind), Some(_)) => self.join(b, kind, is_set, l, r)?,
        };
        let boolean = b.return_bool();
        let (left, right) = (Box::new(left), Box::new(right));
        let filter = |op, left, right| Node::Filter { op, boolean, left, right };
        let node = match op.as_str() {
            "+" => Node::Arithmetic(Arithmetic::Add, left, right),
            "-" => Node::Arithmetic(Arithmetic::Sub, left, right),
            "*" => Node::Arithmetic(Arithmetic::Mul, left, right),
            "/" => Node::Arithmetic(Arithmetic::Div, left, right),
            "%" => Node::Arithmetic(Arithmetic::Rem, left, right),
            "^" => Node::Arithmetic(Arithmetic::Pow, left, right),
            "and" => Node::Join(Join::And, left, right),
            "or" => Node::Join(Join::Or, left, right),
            "unless" => Node::Join(Join::Unless, left, right),
            op => {
                let compare = Compare::parse(op);
                filter(
                    compare.ok_or_else(|| format!("{op} is not evaluated in process"))?,
                    left,
                    right,
                )
            }
        };
        Ok((node, operand))
    }

    /// Whether two vectors meet as they would in Prometheus, and what comes out.
    fn join(
        &mut self,
        b: &BinaryExpr,
        kind: Kind,
        is_set: bool,
        l: Operand,
        r: Operand,
    ) -> Result<Operand, String> {
        let modifier = b.modifier.as_ref();
        if modifier.is_some_and(|m| m.fill_values.lhs.is_some() || m.fill_values.rhs.is_some()) {
            return Err("fill is not evaluated in process".into());
        }
        let on = match modifier.and_then(|m| m.matching.as_ref()) {
            Some(LabelModifier::Exclude(_)) => {
                return Err("ignoring (…) is not evaluated in process; say on (instance)".into());
            }
            Some(LabelModifier::Include(labels)) => Some(&labels.labels),
            None => None,
        };
        let Some(on) = on else {
            let same = l.shape == r.shape && l.told == r.told;
            let both = matches!((&l.many, &r.many), (Some(_), Some(_)) | (None, None));
            return match same && both {
                true => Ok(l),
                false => Err("the sides differ in labels; join them on (instance)".into()),
            };
        };
        let identity: &[&str] = match kind {
            Kind::Instance => &["instance"],
            Kind::Service => &["tenant", "service"],
            Kind::Zone => &["zone"],
            _ => return Err("such a join is not evaluated in process".into()),
        };
        if !identity.iter().all(|label| on.iter().any(|o| o == label)) {
            return Err(format!("a join not on ({}) is left to Prometheus", identity.join(", ")));
        }
        if on.iter().any(|label| !TARGET.contains(&label.as_str())) {
            return Err("a join on labels of the series themselves is left to Prometheus".into());
        }
        if r.many.is_some() {
            return Err("many sub-series on the right of a join are left to Prometheus".into());
        }
        if is_set {
            return match b.op.to_string() == "or" && l.many.is_some() {
                true => Err("or with sub-series on the left is left to Prometheus".into()),
                false => Ok(l),
            };
        }
        let grouped =
            matches!(modifier.map(|m| &m.card), Some(VectorMatchCardinality::ManyToOne(_)));
        match (&l.many, grouped) {
            (Some(_), true) | (None, true) => Ok(l),
            (Some(_), false) => {
                self.one_to_one = true;
                Ok(Operand { shape: Shape::Own("on"), many: l.many, ..NUMBER }.of(kind))
            }
            (None, false) => Ok(Operand { shape: Shape::Own("on"), ..NUMBER }.of(kind)),
        }
    }
}

impl Operand {
    fn of(self, kind: Kind) -> Operand {
        Operand { kind: Some(kind), ..self }
    }
}

/// `name{err="OOM"}`: a ring is kept by it, so it must not depend on how it was written.
pub fn canonical(name: &str, pick: &[(String, String)]) -> Arc<str> {
    let mut labels: Vec<String> = pick.iter().map(|(l, v)| format!("{l}={v:?}")).collect();
    labels.sort_unstable();
    match labels.is_empty() {
        true => name.into(),
        false => format!("{name}{{{}}}", labels.join(",")).into(),
    }
}

/// Name and picked labels of a selector.
fn named(selector: &VectorSelector) -> Result<(&str, Labels), String> {
    if selector.offset.is_some() || selector.at.is_some() {
        return Err("offset and @ are not evaluated in process".into());
    }
    let name = selector.name.as_deref().ok_or("a selector without a name is left to Prometheus")?;
    if !selector.matchers.or_matchers.is_empty() {
        return Err("or between matchers is left to Prometheus".into());
    }
    let mut pick = Vec::new();
    for m in &selector.matchers.matchers {
        match m.op {
            _ if TARGET.contains(&m.name.as_str()) => {
                return Err(format!(
                    "{} is not selected by an expression in process; use scope and selector",
                    m.name
                ));
            }
            MatchOp::Equal if !m.value.is_empty() => pick.push((m.name.clone(), m.value.clone())),
            _ => return Err(format!("{} is compared in a way left to Prometheus", m.name)),
        }
    }
    Ok((name, pick))
}

/// The expression with the matchers of `scope` forced into every selector.
pub fn scoped(text: &str, scope: &PolicyScope) -> Result<String, String> {
    let mut expr = parser::parse(text).map_err(|e| format!("no PromQL: {e}"))?;
    let forced: Vec<(&str, String)> = match scope {
        PolicyScope::Platform => Vec::new(),
        PolicyScope::Tenant(id) => vec![("tenant", id.to_string())],
        PolicyScope::System(id) => {
            vec![("tenant", id.tenant().to_string()), ("system", id.slug().into())]
        }
        PolicyScope::Service(id) => {
            vec![("tenant", id.tenant().to_string()), ("service", id.slug().into())]
        }
        PolicyScope::Instance(id) => {
            vec![("tenant", id.tenant().to_string()), ("instance", id.to_string())]
        }
    };
    force(&mut expr, &forced)?;
    let written = expr.to_string();
    // A name in quotes may hold anything: what is written must read back as held as it was meant.
    match parser::parse(&written) {
        Ok(again) if is_held(&again, &forced) => Ok(written),
        _ => Err("it cannot be written with its tenant; use plain names".into()),
    }
}

fn is_held(expr: &Expr, forced: &[(&str, String)]) -> bool {
    let narrowed = |selector: &VectorSelector| {
        let has = |(label, value): &(&str, String)| {
            let same =
                |m: &Matcher| m.op == MatchOp::Equal && m.name == *label && m.value == *value;
            selector.matchers.matchers.iter().any(same)
        };
        selector.matchers.or_matchers.is_empty() && forced.iter().all(has)
    };
    match expr {
        Expr::VectorSelector(selector) => narrowed(selector),
        Expr::MatrixSelector(m) => narrowed(&m.vs),
        Expr::Paren(p) => is_held(&p.expr, forced),
        Expr::Unary(u) => is_held(&u.expr, forced),
        Expr::Subquery(s) => is_held(&s.expr, forced),
        Expr::Aggregate(a) => {
            is_held(&a.expr, forced) && a.param.iter().all(|p| is_held(p, forced))
        }
        Expr::Binary(b) => is_held(&b.lhs, forced) && is_held(&b.rhs, forced),
        Expr::Call(c) => c.args.args.iter().all(|a| is_held(a, forced)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => true,
        Expr::Extension(_) => false,
    }
}

fn force(expr: &mut Expr, forced: &[(&str, String)]) -> Result<(), String> {
    let narrow = |selector: &mut VectorSelector| -> Result<(), String> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err("or between matchers cannot be held to one tenant".into());
        }
        for (label, value) in forced {
            // Beside what is written: two matchers of one label must both hold.
            selector.matchers.matchers.push(Matcher::new(MatchOp::Equal, label, value));
        }
        Ok(())
    };
    match expr {
        Expr::VectorSelector(selector) => narrow(selector),
        Expr::MatrixSelector(m) => narrow(&mut m.vs),
        Expr::Paren(p) => force(&mut p.expr, forced),
        Expr::Unary(u) => force(&mut u.expr, forced),
        Expr::Subquery(s) => force(&mut s.expr, forced),
        Expr::Aggregate(a) => {
            a.param.iter_mut().try_for_each(|p| force(p, forced))?;
            force(&mut a.expr, forced)
        }
        Expr::Binary(b) => {
            force(&mut b.lhs, forced)?;
            force(&mut b.rhs, forced)
        }
        Expr::Call(c) => c.args.args.iter_mut().try_for_each(|a| force(a, forced)),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) => Ok(()),
        Expr::Extension(_) => Err("an extension cannot be held to one tenant".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_instance_decides_is_compiled_and_the_rest_delegated_with_its_reason() {
        for text in [
            "redis_mem_fragmentation_ratio > 1.5 and on (instance) redis_memory_used_bytes > 512 * 1024 * 1024",
            "predict_linear(redis_memory_used_bytes[6h], 86400) > (redis_memory_max_bytes > 0)",
            "redis_connected_clients / ((redis_max_clients or redis_config_maxclients) > 0)",
            "time() - redis_rdb_last_save_timestamp_seconds",
            "max without (slave_state) (redis_connected_slave_lag_seconds)",
            "max without (master_address) (max_over_time(redis_sentinel_master_config_epoch[10m])) > min without (master_address) (min_over_time(redis_sentinel_master_config_epoch[10m]))",
            "redis_connected_slaves < on (instance) group_left () cachewarden_replicas_expected",
            "-redis_up",
        ] {
            let compiled = compile(text).unwrap();
            assert!(matches!(compiled, Compiled::Instance(_)), "{text}: {compiled:?}");
        }
        let slo = "cachewarden_slo_burn_rate{window=\"1h\"} > 14.4 and on (tenant, service) \
                   cachewarden_slo_burn_rate{window=\"5m\"} > 14.4";
        assert!(matches!(compile(slo), Ok(Compiled::Object(Kind::Service, _))));
        for (text, said) in [
            ("node_load1 > 4", "no series of an instance"),
            ("sum by (zone) (redis_up)", "aggregate"),
            ("redis_up{tenant=\"x\"}", "scope and selector"),
            ("redis_up offset 5m", "offset"),
            ("redis_up / redis_errors_total", "on (instance)"),
            ("redis_up and on (zone) redis_up", "not on (instance)"),
            ("rate(redis_commands_processed_total[7h])", "above 6h"),
            ("histogram_quantile(0.9, redis_up)", "histogram_quantile()"),
            ("redis_errors_total{err=~\"O.*\"}", "left to Prometheus"),
            ("redis_up and on (instance) redis_errors_total", "right of a join"),
            ("max_over_time(redis_up[5m:1m])", "anything but a series"),
            ("vector(1)", "vector()"),
            ("redis_up + cachewarden_replicas_expected", "on (instance)"),
        ] {
            match compile(text) {
                Ok(Compiled::Delegated(why)) => assert!(why.contains(said), "{text}: {why}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(compile("redis_up >").is_err());
    }

    #[test]
    fn the_tenant_is_forced_into_every_selector_also_where_another_one_is_named() {
        let scope = PolicyScope::Tenant("pay".parse().unwrap());
        let text =
            "sum(rate(a{tenant=\"other\"}[5m])) / count(b) > topk(3, d) or max_over_time(e[1h:5m])";
        let scoped = scoped(text, &scope).unwrap();
        assert_eq!(scoped.matches("tenant=\"pay\"").count(), 4, "{scoped}");
        assert!(scoped.contains("tenant=\"other\",tenant=\"pay\""), "{scoped}");
        parser::parse(&scoped).unwrap();
        let scope = PolicyScope::Service("pay.cart".parse().unwrap());
        let one = super::scoped("redis_up", &scope).unwrap();
        assert!(one.contains("tenant=\"pay\"") && one.contains("service=\"cart\""), "{one}");
        for hostile in ["a{x=\"1\" or y=\"2\"}", "a{"] {
            assert!(super::scoped(hostile, &scope).is_err(), "{hostile}");
        }
    }
}

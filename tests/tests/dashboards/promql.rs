//! What a query asks for: its series with their matchers, the labels it names and those it answers.
//!
//! Refuses to know which series exist: names go to the caller.

use std::collections::BTreeSet;

use promql_parser::parser::{Expr, LabelModifier, VectorMatchCardinality, VectorSelector, parse};

/// A set of label names.
pub type Labels = BTreeSet<String>;

/// One selector of a query.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Metric.
    pub name: String,
    /// Label, value as it stands in the query.
    pub matchers: Vec<(String, String)>,
    /// Function right around a range of it.
    pub ranged_by: Option<String>,
}

/// A parsed query.
pub struct Query {
    expr: Expr,
    /// Its selectors.
    pub asked: Vec<Asked>,
    /// Labels named by aggregations and matches.
    pub named: Labels,
}

/// Parses a query that may hold Grafana's macros; the error says where it is wrong.
pub fn read(text: &str) -> Result<Query, String> {
    let plain = text.replace("$__rate_interval", "1m").replace("$__range", "1h");
    let expr = parse(&plain).map_err(|e| format!("{text}: {e}"))?;
    let mut query = Query { asked: Vec::new(), named: Labels::new(), expr: expr.clone() };
    query.walk(&expr, None);
    Ok(query)
}

impl Query {
    fn walk(&mut self, expr: &Expr, around: Option<&str>) {
        match expr {
            Expr::VectorSelector(v) => self.ask(v, None),
            Expr::MatrixSelector(m) => self.ask(&m.vs, around),
            Expr::Call(call) => {
                for arg in &call.args.args {
                    self.walk(arg, Some(call.func.name));
                }
            }
            Expr::Aggregate(a) => {
                self.name(a.modifier.as_ref());
                self.walk(&a.expr, None);
                a.param.iter().for_each(|p| self.walk(p, None));
            }
            Expr::Binary(b) => {
                if let Some(modifier) = &b.modifier {
                    self.name(modifier.matching.as_ref());
                    if let VectorMatchCardinality::ManyToOne(l)
                    | VectorMatchCardinality::OneToMany(l) = &modifier.card
                    {
                        self.named.extend(l.labels.iter().cloned());
                    }
                }
                self.walk(&b.lhs, None);
                self.walk(&b.rhs, None);
            }
            Expr::Paren(p) => self.walk(&p.expr, around),
            Expr::Unary(u) => self.walk(&u.expr, around),
            Expr::Subquery(s) => self.walk(&s.expr, None),
            Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => {}
        }
    }

    fn ask(&mut self, v: &VectorSelector, ranged_by: Option<&str>) {
        let matchers = v.matchers.matchers.iter();
        self.asked.push(Asked {
            name: v.name.clone().unwrap_or_default(),
            matchers: matchers.map(|m| (m.name.clone(), m.value.clone())).collect(),
            ranged_by: ranged_by.map(str::to_string),
        });
    }

    fn name(&mut self, modifier: Option<&LabelModifier>) {
        if let Some(modifier) = modifier {
            self.named.extend(modifier.labels().labels.iter().cloned());
        }
    }

    /// Labels of the answer; `of` says those of a metric.
    pub fn answers(&self, of: &impl Fn(&str) -> Labels) -> Labels {
        answers(&self.expr, of)
    }
}

fn answers(expr: &Expr, of: &impl Fn(&str) -> Labels) -> Labels {
    match expr {
        Expr::VectorSelector(v) => of(v.name.as_deref().unwrap_or_default()),
        Expr::MatrixSelector(m) => of(m.vs.name.as_deref().unwrap_or_default()),
        Expr::Paren(p) => answers(&p.expr, of),
        Expr::Unary(u) => answers(&u.expr, of),
        Expr::Subquery(s) => answers(&s.expr, of),
        Expr::Call(call) => {
            let mut all: Labels = call.args.args.iter().flat_map(|a| answers(a, of)).collect();
            if call.func.name == "histogram_quantile" {
                all.remove("le");
            }
            all
        }
        Expr::Aggregate(a) => {
            let op = a.op.to_string();
            match &a.modifier {
                Some(LabelModifier::Include(l)) => l.labels.iter().cloned().collect(),
                Some(LabelModifier::Exclude(l)) => {
                    let mut all = answers(&a.expr, of);
                    all.retain(|label| !l.labels.contains(label));
                    all
                }
                None if op == "topk" || op == "bottomk" => answers(&a.expr, of),
                None => Labels::new(),
            }
        }
        Expr::Binary(b) if is_scalar(&b.lhs) => answers(&b.rhs, of),
        Expr::Binary(b) => answers(&b.lhs, of),
        Expr::NumberLiteral(_) | Expr::StringLiteral(_) | Expr::Extension(_) => Labels::new(),
    }
}

fn is_scalar(expr: &Expr) -> bool {
    match expr {
        Expr::NumberLiteral(_) => true,
        Expr::Call(call) => call.func.name == "time",
        Expr::Paren(p) => is_scalar(&p.expr),
        Expr::Unary(u) => is_scalar(&u.expr),
        Expr::Binary(b) => is_scalar(&b.lhs) && is_scalar(&b.rhs),
        _ => false,
    }
}

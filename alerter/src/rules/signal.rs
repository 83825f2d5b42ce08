//! A signal as PromQL.
//!
//! Invariant: the labels of a series stay, so that an alert keeps its tenant; a divisor of 0 says
//! nothing, as it does here.

use model::policy::{Aggregate, By, Fold, SignalRef, Span, Window, WindowFn};
use model::score::Level;

use crate::signal::{Family, Leaf, find_series};

/// A signal, said.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Said {
    /// The expression.
    pub expr: String,
    /// Its first series, for expectations.
    pub first: Option<String>,
    /// It has a series an instance.
    pub of_instance: bool,
    /// Labels that tell sub-series apart.
    pub labels: Vec<&'static str>,
}

impl Said {
    /// What two series of one alert have in common.
    pub fn on(&self) -> String {
        let own = if self.of_instance { "instance" } else { "tenant, service, zone" };
        std::iter::once(own).chain(self.labels.iter().copied()).collect::<Vec<_>>().join(", ")
    }
}

/// Says a signal; `hold`: how long the last value stands in.
pub(super) fn say(
    signal: &SignalRef,
    window: Option<&Window>,
    hold: Option<Span>,
) -> Result<Said, String> {
    match signal {
        SignalRef::Metric { names, over, pick, without } => {
            let pick: Vec<(String, String)> =
                pick.iter().map(|(l, v)| (l.clone(), v.clone())).collect();
            metric(names, over, &pick, without, window, hold)
        }
        SignalRef::Item(name) => {
            let selector = format!("cachewarden_item_value{{item={:?}}}", name.as_str());
            let expr = over_window(&selector, window, hold)?;
            let first = Some(selector);
            Ok(Said { expr, first, of_instance: true, labels: Vec::new() })
        }
        SignalRef::Score { of, level: Level::Service } if of == "score" => {
            let expr = "cachewarden_health_score{level=\"service\"}".to_string();
            Ok(Said { expr, first: None, of_instance: false, labels: Vec::new() })
        }
        SignalRef::Score { .. } => Err("a score of that kind carries no label of its owner".into()),
        SignalRef::Fact { fact, .. } => {
            Err(format!("{} is known here only, not to Prometheus", fact.as_str()))
        }
        SignalRef::Aggregate(a) => aggregate(a, window),
        SignalRef::Expr(text) => {
            let expr = text.split_whitespace().collect::<Vec<_>>().join(" ");
            Ok(Said { expr, first: None, of_instance: false, labels: Vec::new() })
        }
    }
}

fn metric(
    names: &[String],
    over: &[String],
    pick: &[(String, String)],
    without: &[String],
    window: Option<&Window>,
    hold: Option<Span>,
) -> Result<Said, String> {
    let mut labels: Vec<&'static str> = Vec::new();
    let mut sides = Vec::new();
    let mut first = None;
    for name in names {
        let (selector, family) = selector(name, pick)?;
        first = first.or(Some(selector.clone()));
        let mut one = over_window(&selector, window, hold)?;
        let folded: Vec<&str> = match family {
            Some(family) => {
                labels = family
                    .names()
                    .iter()
                    .copied()
                    .filter(|l| !without.iter().any(|w| w == l))
                    .collect();
                let gone = without.iter().map(String::as_str);
                family.folded().iter().copied().chain(gone).collect()
            }
            None => Vec::new(),
        };
        if !folded.is_empty() {
            one = format!("max without ({}) ({one})", folded.join(", "));
        }
        sides.push(one);
    }
    let mut expr = sides.join(" or ");
    if !over.is_empty() {
        let below: Result<Vec<String>, String> = over
            .iter()
            .map(|name| {
                let (selector, _) = selector(name, &[])?;
                // What lies ahead has no ratio but to the present.
                let ahead =
                    |w: &&Window| matches!(w.function, WindowFn::Forecast(_) | WindowFn::Absent);
                over_window(&selector, window.filter(|w| !ahead(w)), hold)
            })
            .collect();
        let below = below?.join(" or ");
        expr = format!("({expr}) / on (instance) group_left () (({below}) != 0)");
    }
    Ok(Said { expr, first, of_instance: true, labels })
}

/// The selector of a series; of one with parts that are summed, the sum.
fn selector(name: &str, pick: &[(String, String)]) -> Result<(String, Option<Family>), String> {
    let (leaf, _) = find_series(name, pick)?;
    let (name, inner) = name.split_once('{').map_or((name, ""), |(n, rest)| (n, rest));
    let inner = inner.trim_end_matches('}');
    let own = pick.iter().map(|(label, value)| format!("{label}={value:?}"));
    let all: Vec<String> = own.chain((!inner.is_empty()).then(|| inner.to_string())).collect();
    let matchers = if all.is_empty() { String::new() } else { format!("{{{}}}", all.join(",")) };
    let family = match leaf {
        Leaf::Many(family, _) => Some(family),
        Leaf::Unfilled => return Err(format!("nothing fills {name} yet")),
        Leaf::One(_) => None,
    };
    Ok((format!("{name}{matchers}"), family))
}

fn over_window(
    selector: &str,
    window: Option<&Window>,
    hold: Option<Span>,
) -> Result<String, String> {
    let summed = selector.starts_with("redis_db_keys");
    let sum = |expr: String| if summed { format!("sum without (db) ({expr})") } else { expr };
    let Some(window) = window else {
        return Ok(sum(match hold {
            Some(span) => {
                format!("({selector} or last_over_time({selector}[{}]))", String::from(span))
            }
            None => selector.to_string(),
        }));
    };
    let range = format!("{selector}[{}]", String::from(window.range));
    let plain = |function: &str| format!("{function}({range})");
    Ok(sum(match window.function {
        WindowFn::Last => plain("last_over_time"),
        WindowFn::Avg => plain("avg_over_time"),
        WindowFn::Min => plain("min_over_time"),
        WindowFn::Max => plain("max_over_time"),
        WindowFn::Sum => plain("sum_over_time"),
        WindowFn::Count => plain("count_over_time"),
        WindowFn::Rate => plain("rate"),
        WindowFn::Increase => plain("increase"),
        WindowFn::Delta => plain("delta"),
        WindowFn::Changes => plain("changes"),
        WindowFn::Resets => plain("resets"),
        WindowFn::Quantile(q) => format!("quantile_over_time({q}, {range})"),
        WindowFn::Forecast(ahead) => format!("predict_linear({range}, {})", ahead.ms / 1000),
        WindowFn::Absent => {
            return Err("absent: a series that is not there names no instance".into());
        }
    }))
}

fn aggregate(a: &Aggregate, window: Option<&Window>) -> Result<Said, String> {
    let of = say(&a.of, window, None)?;
    let by = match a.by {
        By::Shard => "tenant, service, shard",
        By::Service => "tenant, system, service",
        By::System => "tenant, system",
        By::Zone => "zone",
        By::Tenant => "tenant",
    };
    let op = match a.op {
        Fold::Sum => "sum",
        Fold::Max => "max",
        Fold::Min => "min",
        Fold::Avg => "avg",
        Fold::Count => "count",
    };
    let mut expr = format!("{op} by ({by}) ({})", of.expr);
    if let Some(least) = a.at_least {
        expr = format!("({expr}) and (count by ({by}) ({}) >= {least})", of.expr);
    }
    Ok(Said { expr, first: None, of_instance: false, labels: Vec::new() })
}

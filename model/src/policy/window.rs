//! A function over the latest stretch of a signal.

use serde::{Deserialize, Serialize};

use super::Span;

/// Which function, over which stretch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// The function.
    #[serde(rename = "fn")]
    pub function: WindowFn,
    /// Samples that old count.
    pub range: Span,
}

impl Window {
    /// The longest range that is judged in process; longer ones are Prometheus' work.
    pub const RANGE_MAX: Span = Span::from_ms(6 * 3_600_000);
}

/// The functions, by Prometheus' definitions. Written `rate`, `quantile(0.9)`, `forecast(24h)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum WindowFn {
    /// The newest value.
    Last,
    /// Mean.
    Avg,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Sum.
    Sum,
    /// Number of samples.
    Count,
    /// Growth of a counter per second.
    Rate,
    /// Growth of a counter.
    Increase,
    /// Difference of a gauge.
    Delta,
    /// How often the value changed.
    Changes,
    /// How often a counter began anew.
    Resets,
    /// Quantile, 0 to 1.
    Quantile(f64),
    /// The value after that time if it goes on as it did.
    Forecast(Span),
    /// 1 while there is no sample.
    Absent,
}

const PLAIN: [(&str, WindowFn); 12] = [
    ("last", WindowFn::Last),
    ("avg", WindowFn::Avg),
    ("min", WindowFn::Min),
    ("max", WindowFn::Max),
    ("sum", WindowFn::Sum),
    ("count", WindowFn::Count),
    ("rate", WindowFn::Rate),
    ("increase", WindowFn::Increase),
    ("delta", WindowFn::Delta),
    ("changes", WindowFn::Changes),
    ("resets", WindowFn::Resets),
    ("absent", WindowFn::Absent),
];

impl TryFrom<String> for WindowFn {
    type Error = String;
    fn try_from(text: String) -> Result<WindowFn, String> {
        let bad = || {
            let names: Vec<&str> = PLAIN.iter().map(|(name, _)| *name).collect();
            format!(
                "fn {text:?}: expected {}, quantile(0 to 1) or forecast(how far, as in 24h)",
                names.join(", ")
            )
        };
        if let Some((_, function)) = PLAIN.iter().find(|(name, _)| *name == text) {
            return Ok(*function);
        }
        let (name, rest) = text.split_once('(').ok_or_else(bad)?;
        let argument = rest.strip_suffix(')').ok_or_else(bad)?.trim();
        match name {
            "quantile" => {
                let q: f64 = argument.parse().map_err(|_| bad())?;
                (0.0..=1.0).contains(&q).then_some(WindowFn::Quantile(q)).ok_or_else(bad)
            }
            "forecast" => Ok(WindowFn::Forecast(Span::try_from(argument.to_string())?)),
            _ => Err(bad()),
        }
    }
}

impl From<WindowFn> for String {
    fn from(function: WindowFn) -> String {
        match function {
            WindowFn::Quantile(q) => format!("quantile({q})"),
            WindowFn::Forecast(span) => format!("forecast({})", String::from(span)),
            plain => {
                let found = PLAIN.iter().find(|(_, function)| *function == plain);
                found.map_or("", |(name, _)| name).into()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_written_as_it_is_read() {
        let all = PLAIN.iter().map(|(name, _)| name.to_string());
        for text in all.chain(["quantile(0.99)".into(), "forecast(1d)".into()]) {
            let function = WindowFn::try_from(text.clone()).unwrap();
            assert_eq!(String::from(function), text);
        }
        for bad in ["", "rte", "quantile", "quantile(2)", "forecast(x)", "rate(5)"] {
            assert!(WindowFn::try_from(bad.to_string()).is_err(), "{bad}");
        }
    }
}

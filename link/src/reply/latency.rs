//! LATENCY LATEST, LATENCY HISTOGRAM and INFO latencystats.
//!
//! Invariant: bounds of a histogram rise and its counts never fall, as a cumulative one must; a line
//! or an entry that says otherwise is left out.

use model::detail::{CommandHistogram, CommandQuantiles};
use model::reading::LatencyEvent;
use redis::Value;

use super::{bytes, cut, items, number, parse_number, text};

/// Commands kept of one reply: a server has 400 with its subcommands, modules add some.
const COMMANDS_MAX: usize = 512;
/// Quantiles kept of one command; the default is 3.
const QUANTILES_MAX: usize = 8;
/// Buckets kept of one command: powers of two from 1 µs to 1 s are 31.
const BUCKETS_MAX: usize = 40;

/// The events of a reply; none when it is not one.
pub fn read(value: &Value) -> Option<Vec<LatencyEvent>> {
    items(value)?.iter().map(event).collect()
}

fn event(value: &Value) -> Option<LatencyEvent> {
    let parts = items(value)?;
    Some(LatencyEvent {
        event: text(parts.first()?)?,
        at_s: number(parts.get(1)?)?,
        last_ms: number(parts.get(2)?)?,
        max_ms: number(parts.get(3)?)?,
    })
}

/// LATENCY HISTOGRAM: (command, [`calls`, n, `histogram_usec`, [bound, calls up to it …]]) in turn;
/// none when the reply is not one.
pub fn histograms(value: &Value) -> Option<Vec<CommandHistogram>> {
    let pairs = items(value)?.chunks_exact(2).take(COMMANDS_MAX);
    Some(pairs.filter_map(|pair| histogram(&pair[0], &pair[1])).collect())
}

fn histogram(cmd: &Value, said: &Value) -> Option<CommandHistogram> {
    let (mut calls, mut buckets) = (None, None);
    for pair in items(said)?.chunks_exact(2) {
        match bytes(&pair[0])? {
            b"calls" => calls = number(&pair[1]),
            b"histogram_usec" => buckets = rising(items(&pair[1])?),
            _ => {}
        }
    }
    let (calls, buckets) = (calls?, buckets?);
    let fits = buckets.last().is_none_or(|(_, n)| *n <= calls);
    fits.then(|| CommandHistogram {
        cmd: cut(bytes(cmd).unwrap_or(b"")).into(),
        calls,
        usec: None,
        buckets,
    })
}

fn rising(flat: &[Value]) -> Option<Box<[(f64, f64)]>> {
    let mut out: Vec<(f64, f64)> = Vec::with_capacity((flat.len() / 2).min(BUCKETS_MAX));
    for pair in flat.chunks_exact(2) {
        let (bound, count) = (number(&pair[0])?, number(&pair[1])?);
        let (before, least) = out.last().copied().unwrap_or((0.0, 0.0));
        if bound <= before || count < least || out.len() == BUCKETS_MAX {
            return None;
        }
        out.push((bound, count));
    }
    Some(out.into())
}

/// INFO latencystats: lines of `latency_percentiles_usec_<command>:p50=1.003,p99=4.015`.
pub fn quantiles(raw: &[u8]) -> Vec<CommandQuantiles> {
    super::info::lines(raw).filter_map(quantiles_of).take(COMMANDS_MAX).collect()
}

fn quantiles_of(line: &[u8]) -> Option<CommandQuantiles> {
    let rest = line.strip_prefix(b"latency_percentiles_usec_")?;
    let colon = memchr::memchr(b':', rest)?;
    let quantiles: Option<Box<[(f64, f64)]>> = rest[colon + 1..]
        .split(|b| *b == b',')
        .take(QUANTILES_MAX)
        .map(|pair| {
            let equals = memchr::memchr(b'=', pair)?;
            let percentile = parse_number(pair[..equals].strip_prefix(b"p")?)?;
            Some((percentile, parse_number(&pair[equals + 1..])?))
        })
        .collect();
    Some(CommandQuantiles { cmd: cut(&rest[..colon]).into(), quantiles: quantiles?, total: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(all: &[i64]) -> Value {
        Value::Array(all.iter().map(|n| Value::Int(*n)).collect())
    }

    fn reply(buckets: &[i64]) -> Value {
        let word = |w: &str| Value::BulkString(w.as_bytes().to_vec());
        Value::Array(vec![
            word("config|get"),
            Value::Array(vec![
                word("calls"),
                Value::Int(4),
                word("histogram_usec"),
                numbers(buckets),
            ]),
        ])
    }

    #[test]
    fn a_histogram_is_read_and_one_that_cannot_be_is_left_out() {
        let read = histograms(&reply(&[132, 3, 264, 4])).unwrap();
        assert_eq!((&*read[0].cmd, read[0].calls), ("config|get", 4.0));
        assert_eq!(*read[0].buckets, [(132.0, 3.0), (264.0, 4.0)]);
        for wrong in [&[4i64, 3, 2, 4][..], &[2, 4, 4, 3], &[1, 5], &[0, 1]] {
            assert_eq!(histograms(&reply(wrong)), Some(Vec::new()), "{wrong:?}");
        }
        assert_eq!(histograms(&Value::Int(1)), None);
    }

    #[test]
    fn quantiles_are_read_line_by_line_and_broken_lines_are_not() {
        let raw = b"# Latencystats\r\nlatency_percentiles_usec_config|get:p50=131.071,p99.9=4\r\n\
                    latency_percentiles_usec_x:p50\r\nlatency_percentiles_usec_y:p50=nan\r\nother:1\r\n";
        let read = quantiles(raw);
        assert_eq!(read.len(), 1);
        assert_eq!(*read[0].quantiles, [(50.0, 131.071), (99.9, 4.0)]);
    }
}

//! A test run: one item read once, with what was sent and what came back.
//!
//! Invariant: the same reading as in a poll; the reply is shown cut, and masked for whoever may not
//! see data: what keys hold is the customers'. Refuses to know who looks.

use std::time::{Duration, Instant};

use link::{Link, Value, reply};
use model::At;
use model::item::{ItemFault, ItemSeries};
use model::reading::Facts;

use super::check::{Compiled, Work};
use super::path::Found;
use super::read::{self, Broken, Replies};
use super::run;

/// Longest reply shown, characters: what a person reads.
const RAW_MAX: usize = 4_000;
/// Elements shown of one list.
const SHOWN_MAX: usize = 64;

/// What a test run said.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Commands sent.
    pub commands: Vec<String>,
    /// The replies.
    pub raw: String,
    /// Whether they are masked.
    pub masked: bool,
    /// The series it would make.
    pub series: Vec<ItemSeries>,
    /// Why there is none, or not all.
    pub fault: Option<ItemFault>,
    /// In words.
    pub detail: String,
    /// Round trip of all commands, µs.
    pub took_us: u32,
    /// Round trip of a PING before, µs.
    pub ping_us: u32,
}

/// Reads an item once over a connection of its own. `facts` are those of the latest poll;
/// `bare`: the caller may see what keys hold.
pub async fn try_once(
    link: &mut Link,
    item: &Compiled,
    facts: &Facts,
    now: At,
    bare: bool,
) -> Result<Trial, link::Error> {
    let limit = Duration::from_millis(u64::from(item.doc.timeout_ms));
    let start = Instant::now();
    link.call(&["PING"], limit).await?;
    let ping_us = micros(start);
    let (mut replies, start) = (Replies::default(), Instant::now());
    let applies = read::applies(item, facts);
    let read = match &item.work {
        _ if !applies => Ok((Vec::new(), None)),
        Work::Expr(expr) => Ok(run::once(expr, facts, now)),
        _ => read::read(link, item, facts, &mut replies, limit).await,
    };
    let took_us = micros(start);
    let (series, fault): Found = read.unwrap_or_else(|Broken(why)| (Vec::new(), Some(why)));
    // INFO and CONFIG say what everybody who may look at the instance sees; keys do not.
    let masked = !bare && item.doc.source.reads_keys();
    let mut commands: Vec<String> = replies.kept.iter().map(|(args, _)| spoken(args)).collect();
    commands.truncate(4);
    Ok(Trial {
        commands,
        raw: shown(item, &replies, masked),
        masked,
        detail: detail(item, applies, &series, fault),
        series,
        fault,
        took_us,
        ping_us,
    })
}

fn micros(start: Instant) -> u32 {
    u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX)
}

fn spoken(args: &[String]) -> String {
    let quoted = |a: &String| match a.contains(|c: char| c.is_whitespace() || c.is_control()) {
        true => format!("{a:?}"),
        false => a.clone(),
    };
    args.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn shown(item: &Compiled, replies: &Replies, masked: bool) -> String {
    let mut out = String::new();
    for (_, value) in replies.kept.iter().take(4) {
        match (&item.work, reply::bytes(value)) {
            (Work::Info { field, .. }, Some(text)) => {
                let text = String::from_utf8_lossy(text);
                let mine = text.lines().filter(|l| l.split(':').next() == Some(field));
                mine.take(4).for_each(|l| out.push_str(&format!("{l}\n")));
            }
            _ => render(value, masked, 0, &mut out),
        }
        if out.len() > RAW_MAX {
            break;
        }
    }
    match out.char_indices().nth(RAW_MAX) {
        Some((end, _)) => format!("{}…", &out[..end]),
        None => out,
    }
}

/// As redis-cli prints it, or only its shape.
fn render(value: &Value, masked: bool, depth: usize, out: &mut String) {
    let pad = "  ".repeat(depth);
    // Error texts are the server's own words, but may quote the caller's.
    let line = match value {
        Value::Nil => "(nil)".to_string(),
        Value::ServerError(_) => reply::error(value).unwrap_or_default(),
        Value::Int(_) if masked => "(integer)".into(),
        Value::Int(n) => format!("(integer) {n}"),
        Value::Array(list) => {
            out.push_str(&format!("{pad}(list of {})\n", list.len()));
            for part in list.iter().take(SHOWN_MAX) {
                if out.len() > RAW_MAX {
                    return;
                }
                render(part, masked, depth + 1, out);
            }
            return;
        }
        other => match reply::bytes(other) {
            Some(text) if masked => format!("(text of {} bytes)", text.len()),
            Some(text) => format!("{:?}", String::from_utf8_lossy(text)),
            None => "(unknown)".into(),
        },
    };
    out.push_str(&format!("{pad}{line}\n"));
}

fn detail(
    item: &Compiled,
    applies: bool,
    series: &[ItemSeries],
    fault: Option<ItemFault>,
) -> String {
    let why = match fault {
        _ if !applies => {
            let on = item.doc.on().as_str();
            let slot = item.slot.map(|s| format!(", or slot {s} lies elsewhere"));
            return format!("not read on this instance: on is {on}{}", slot.unwrap_or_default());
        }
        None if series.is_empty() => {
            return "the reply holds no element, so there is no series".into();
        }
        None => return String::new(),
        Some(why) => why,
    };
    let words = match why {
        ItemFault::Timeout => "no answer within the item's time-out",
        ItemFault::Noperm => "the ACL of our user forbids the command",
        ItemFault::Unsupported if item.needs_seven() => {
            "the server does not know the command: EVAL_RO and FCALL_RO need Redis 7"
        }
        ItemFault::Unsupported => "the server does not know the command",
        ItemFault::WrongType => "the key holds another type",
        ItemFault::Refused => "the server answered an error",
        ItemFault::Path => "the reply has no such part, or there is no such key",
        ItemFault::NotANumber => "what is there is no number",
        ItemFault::TooLarge => "the reply is above its budget",
        ItemFault::Budget => "more keys than it may look at, or no time left",
        ItemFault::SeriesLimit => "more series than an item may have: the largest are shown",
        ItemFault::Reference => "an item or field it needs has no value; a rate needs two readings",
        ItemFault::Connection => "the connection broke",
    };
    words.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Value {
        Value::BulkString(s.as_bytes().to_vec())
    }

    #[test]
    fn a_masked_reply_shows_its_shape_and_nothing_that_a_key_holds() {
        let reply = Value::Array(vec![text("customer"), Value::Int(4711), Value::Nil]);
        let mut out = String::new();
        render(&reply, true, 0, &mut out);
        assert_eq!(out, "(list of 3)\n  (text of 8 bytes)\n  (integer)\n  (nil)\n");
        let mut out = String::new();
        render(&reply, false, 0, &mut out);
        assert!(out.contains("\"customer\"") && out.contains("4711"));
    }

    #[test]
    fn a_long_reply_is_cut() {
        let long = Value::Array((0..60).map(|_| text(&"é".repeat(200))).collect());
        let mut out = String::new();
        render(&long, false, 0, &mut out);
        assert!(out.len() < RAW_MAX + 1000);
    }
}

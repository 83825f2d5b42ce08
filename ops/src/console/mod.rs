//! The command console: one line of a person, classed, asked of one node, cut to what can be shown.
//!
//! Invariants: a line becomes an array of arguments, never a raw line; only reads reach a socket, and
//! there as a user of Redis whose own rules allow no more; a reply is cut and its secrets are masked
//! before it leaves here. Refuses to know who asks: rights and records are the caller's.

mod acl;
mod class;
mod reply;
mod table;

use std::time::{Duration, Instant};

use link::{Link, Pipeline};

pub use acl::{USER, rules};
pub use class::{Class, Probe, Verdict, class_of, classify};
pub use reply::{Shown, shown, text};
pub use table::{Spec, Table, read as read_table};

use crate::words;

/// Longest line: a key and some arguments.
pub const LINE_BYTES_MAX: usize = 4_096;
/// Words of a line.
const WORDS_MAX: usize = 256;
/// A command that takes longer holds everybody else up.
const RUN_MAX: Duration = Duration::from_secs(2);

/// Why there is no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The line is none.
    #[error("{0}")]
    Line(String),
    /// Its class is not let through.
    #[error("{name} is {}: {why}", .class.as_str())]
    Class {
        /// Command.
        name: String,
        /// Class.
        class: Class,
        /// Why.
        why: String,
    },
    /// It would answer more than can be shown.
    #[error("{name} would read {size}, at most {max} are allowed; use {instead}")]
    Size {
        /// Command.
        name: String,
        /// What the probe answered.
        size: u64,
        /// Allowed.
        max: u64,
        /// What to use.
        instead: &'static str,
    },
    /// The node did not answer, or said no.
    #[error("{0}")]
    Node(String),
}

/// A reply with what was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Command, lower case.
    pub name: String,
    /// Class.
    pub class: Class,
    /// The reply, cut and masked.
    pub shown: Shown,
    /// How long it took, µs.
    pub took_us: u64,
}

/// The words of a line.
pub fn parse(line: &str) -> Result<Vec<Vec<u8>>, Refused> {
    if line.len() > LINE_BYTES_MAX {
        return Err(Refused::Line(format!("a line has at most {LINE_BYTES_MAX} bytes")));
    }
    let words = words::split(line).map_err(Refused::Line)?;
    if words.is_empty() || words.len() > WORDS_MAX {
        return Err(Refused::Line(format!("expected 1 to {WORDS_MAX} words")));
    }
    Ok(words)
}

/// Reads the node's table over a connection of the console's user.
pub async fn table_of(link: &mut Link) -> Result<Table, Refused> {
    let value = link.call(&["COMMAND"], RUN_MAX).await;
    let value = value.map_err(|e| Refused::Node(format!("COMMAND: {e}")))?;
    read_table(&value)
        .ok_or_else(|| Refused::Node("COMMAND was answered with something else".into()))
}

/// Major and minor version of the node.
pub async fn version_of(link: &mut Link) -> Result<(u32, u32), Refused> {
    let value = link.call(&["INFO", "server"], RUN_MAX).await;
    let value = value.map_err(|e| Refused::Node(format!("INFO: {e}")))?;
    let raw = link::reply::bytes(&value).unwrap_or_default();
    let text = link::reply::info::text(raw, "redis_version").unwrap_or_default();
    let mut parts = text.split('.').map_while(|part| part.parse().ok());
    match (parts.next(), parts.next()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => Err(Refused::Node("INFO names no version".into())),
    }
}

/// Judges a line by the node's table; only reads come out.
pub fn admit(table: &Table, words: &[Vec<u8>]) -> Result<Verdict, Refused> {
    let verdict = classify(table, words);
    match verdict.class {
        Class::Read | Class::Bounded => Ok(verdict),
        class => Err(Refused::Class { name: verdict.name, class, why: verdict.why }),
    }
}

/// Sends what was admitted; its probes first.
pub async fn run(link: &mut Link, verdict: &Verdict, words: &[Vec<u8>]) -> Result<Answer, Refused> {
    if let Some(probe) = &verdict.probe {
        let size = probed(link, probe).await?;
        if size > probe.max {
            let (name, max, instead) = (verdict.name.clone(), probe.max, probe.instead);
            return Err(Refused::Size { name, size, max, instead });
        }
    }
    let began = Instant::now();
    let mut replies = exchange(link, &[words.to_vec()]).await?;
    let took_us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    let value = replies.pop().ok_or_else(|| Refused::Node("no reply".into()))?;
    let shown = shown(&verdict.name, &value);
    Ok(Answer { name: verdict.name.clone(), class: verdict.class, shown, took_us })
}

async fn probed(link: &mut Link, probe: &Probe) -> Result<u64, Refused> {
    let mut sum = 0;
    for value in exchange(link, &probe.commands).await? {
        // A missing key; of another type, the command itself says so best.
        if let Some(n) = link::reply::number(&value) {
            sum += n.max(0.0) as u64;
        }
    }
    Ok(sum)
}

async fn exchange(link: &mut Link, commands: &[Vec<Vec<u8>>]) -> Result<Vec<link::Value>, Refused> {
    let pipeline = Pipeline::of_bytes(commands);
    link.pipeline(&pipeline, RUN_MAX).await.map_err(|e| Refused::Node(e.to_string()))
}

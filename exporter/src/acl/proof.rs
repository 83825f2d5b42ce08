//! Whether a monitor user may do what polling needs and nothing else, as the server itself says by
//! ACL DRYRUN.
//!
//! Invariant: every command the server knows is tried dry, so nothing is run and nothing is left out;
//! the user's password is not needed. Whoever asks must be allowed COMMAND and ACL DRYRUN.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use link::reply::{self, items, number, text};
use link::{Link, Pipeline, Value};
use model::reading::{Facts, Reason};

use super::{Monitor, granted};
use crate::Config;
use crate::ability::Ability;

/// Commands tried in one exchange: their answers are some 100 bytes each.
const AT_ONCE: usize = 200;
/// Commands tried at most; Redis 8 with its modules has some 600.
const COMMANDS_MAX: usize = 5_000;
/// Arguments given to a command at most; the longest fixed form has ten.
const ARITY_MAX: usize = 20;
/// What a server lets everybody do, before and after signing in.
const ALWAYS: [&str; 4] = ["auth", "hello", "quit", "reset"];

/// What the server said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// Commands that were tried.
    pub tried: usize,
    /// Commands that polling needs and the user may not run, in the form of ACL rules.
    pub lacking: Vec<String>,
    /// Commands the user may run and polling does not need.
    pub surplus: Vec<String>,
}

/// Why nothing was proved.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Unproved {
    /// The engine cannot tell.
    #[error("this server has no ACL DRYRUN, which came with Redis 7.0")]
    NoDryrun,
    /// It has no such user.
    #[error("the server has no user of that name")]
    NoUser,
    /// It could not be asked.
    #[error(transparent)]
    Link(#[from] link::Error),
}

/// Tries every command of the server as the monitor user, by a connection of somebody who may ask.
///
/// # Errors
/// When it cannot be known; what the user may do and should not is no error.
pub async fn prove(
    link: &mut Link,
    monitor: Monitor<'_>,
    config: &Config,
    deadline: Duration,
) -> Result<Proof, Unproved> {
    let start = Instant::now();
    let left = || deadline.saturating_sub(start.elapsed());
    let mut facts = Facts::default();
    let info = link.call(&["INFO", "server"], left()).await?;
    let info = reply::bytes(&info)
        .ok_or_else(|| link::Error::new(Reason::Protocol, "INFO was not answered with text"))?;
    reply::info::read(info, &mut facts);
    let able = Ability::of(&facts.text, monitor.kind);
    if !able.at_least((7, 0)) {
        return Err(Unproved::NoDryrun);
    }
    let needed = granted(monitor, able, config);
    let known = link.call(&["COMMAND"], left()).await?;
    let mut commands = Vec::new();
    known_commands(&known, &mut commands);
    commands.extend(absent(&needed, &commands));
    let mut allowed = BTreeSet::new();
    for part in commands.chunks(AT_ONCE) {
        let tries: Vec<Vec<&str>> = part.iter().map(|tried| dry(monitor, tried)).collect();
        let tries: Vec<&[&str]> = tries.iter().map(Vec::as_slice).collect();
        let replies = link.pipeline(&Pipeline::new(&tries), left()).await?;
        for (tried, answer) in part.iter().zip(&replies) {
            refused(answer)?;
            if *answer == Value::Okay {
                allowed.insert(rule_of(tried));
            }
        }
    }
    let surplus = allowed.iter().filter(|c| !needed.contains(*c) && !ALWAYS.contains(&c.as_str()));
    let surplus = surplus.cloned().collect();
    let lacking = needed.iter().filter(|c| !allowed.contains(*c)).cloned().collect();
    Ok(Proof { tried: commands.len(), lacking, surplus })
}

/// An error that is about the asking, not about the command that was tried.
fn refused(answer: &Value) -> Result<(), Unproved> {
    let Some(said) = reply::error(answer) else { return Ok(()) };
    // A command it does not know is "not found" too.
    if said.starts_with("ERR User ") {
        return Err(Unproved::NoUser);
    }
    match said.starts_with("NOPERM") || said.starts_with("NOAUTH") {
        true => Err(Unproved::Link(link::Error::answered(&said))),
        // Of a server that counts arguments in another way than it says.
        false => Ok(()),
    }
}

/// A command with as many arguments as it takes, families by member.
struct Tried {
    name: String,
    member: Option<String>,
    arguments: usize,
}

fn rule_of(tried: &Tried) -> String {
    match &tried.member {
        Some(member) => format!("{}|{member}", tried.name),
        None => tried.name.clone(),
    }
}

fn known_commands(value: &Value, out: &mut Vec<Tried>) {
    for command in items(value).unwrap_or_default() {
        let Some(parts) = items(command) else { continue };
        let name = parts.first().and_then(text).map(|n| n.to_ascii_lowercase());
        let (Some(name), Some(arity)) = (name, parts.get(1).and_then(number)) else { continue };
        let members = parts.get(9).and_then(items).unwrap_or_default();
        if !members.is_empty() {
            known_commands(&Value::Array(members.to_vec()), out);
            continue;
        }
        let (name, member) = match name.split_once('|') {
            Some((family, member)) => (family.to_string(), Some(member.to_string())),
            None => (name, None),
        };
        let words = 1 + usize::from(member.is_some());
        let arguments = (arity.abs() as usize).min(ARITY_MAX).saturating_sub(words);
        if out.len() < COMMANDS_MAX {
            out.push(Tried { name, member, arguments });
        }
    }
}

/// Commands polling needs that the server does not list by name.
fn absent(needed: &BTreeSet<String>, known: &[Tried]) -> Vec<Tried> {
    let listed: BTreeSet<String> = known.iter().map(rule_of).collect();
    let missing = needed.iter().filter(|rule| !listed.contains(*rule));
    let tried = |rule: &String| {
        let (name, member) = match rule.split_once('|') {
            Some((name, member)) => (name.to_string(), Some(member.to_string())),
            None => (rule.clone(), None),
        };
        Tried { name, member, arguments: 1 }
    };
    missing.map(tried).collect()
}

fn dry<'a>(monitor: Monitor<'a>, tried: &'a Tried) -> Vec<&'a str> {
    let mut words = vec!["ACL", "DRYRUN", monitor.user, tried.name.as_str()];
    words.extend(tried.member.as_deref());
    // A channel it may not hear says nothing about the command.
    let channel = monitor.channels.first().filter(|_| tried.name == "subscribe");
    words.extend(std::iter::repeat_n(channel.copied().unwrap_or("1"), tried.arguments));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn command(name: &str, arity: i64, members: Vec<Value>) -> Value {
        let mut parts = vec![bulk(name), Value::Int(arity)];
        parts.extend(std::iter::repeat_n(Value::Nil, 7));
        parts.push(Value::Array(members));
        Value::Array(parts)
    }

    #[test]
    fn families_are_tried_by_member_with_the_arguments_they_take() {
        let family = command("slowlog", -2, vec![command("slowlog|get", -2, Vec::new())]);
        let all = Value::Array(vec![command("GET", 2, Vec::new()), family, Value::Nil]);
        let mut out = Vec::new();
        known_commands(&all, &mut out);
        let told: Vec<_> = out.iter().map(|t| (rule_of(t), t.arguments)).collect();
        assert_eq!(told, [("get".to_string(), 1), ("slowlog|get".to_string(), 0)]);
        let needed = ["slowlog|get", "role"].map(String::from).into();
        let more: Vec<String> = absent(&needed, &out).iter().map(rule_of).collect();
        assert_eq!(more, ["role"]);
    }

    #[test]
    fn what_is_said_about_the_asking_is_no_proof() {
        let said = |line: &str| {
            let raw = format!("-{line}\r\n");
            refused(&link::reply::replies(raw.as_bytes()).unwrap()[0])
        };
        assert_eq!(said("ERR User 'x' not found"), Err(Unproved::NoUser));
        assert!(matches!(said("NOPERM this user has no permissions"), Err(Unproved::Link(_))));
        for about_the_command in ["ERR wrong number of arguments", "ERR Command 'get' not found"] {
            assert_eq!(said(about_the_command), Ok(()));
        }
    }
}

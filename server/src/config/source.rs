//! From the text of the file to values: `${NAME}` is filled in, errors get their line.
//!
//! Invariant: only string values are filled in, after parsing, so a variable's text can never
//! become syntax; an error quotes a key, never a value that came from the environment.

use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError};

pub(super) fn parse(
    path: &Path,
    text: &str,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, ConfigError> {
    let at = |start: usize, what: String| ConfigError::Line {
        file: path.into(),
        line: line_of(text, start),
        what,
    };
    let failed = |e: toml::de::Error| {
        let start = e.span().map_or(0, |s| s.start);
        at(start, described(text, start, e.message()))
    };
    let mut table = DeTable::parse(text).map_err(failed)?;
    fill_table(table.get_mut(), environment).map_err(|(start, what)| at(start, what))?;
    Config::deserialize(toml::Deserializer::from(table)).map_err(failed)
}

pub(super) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count() + 1
}

/// The parser's message with the key of its line before it, when it does not name one itself.
fn described(text: &str, start: usize, message: &str) -> String {
    let line = text.lines().nth(line_of(text, start) - 1).unwrap_or_default();
    let key = line.split_once('=').map(|(key, _)| key.trim());
    let message = message.trim().replace('\n', "; ");
    match key {
        Some(key) if !message.contains(key) && !key.starts_with('#') => format!("{key}: {message}"),
        _ => message,
    }
}

type Fault = (usize, String);

fn fill_table(
    table: &mut DeTable<'_>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Fault> {
    for (key, value) in table.iter_mut() {
        let named = |(start, what): Fault| (start, format!("{}: {what}", key.get_ref()));
        fill(value, environment).map_err(named)?;
    }
    Ok(())
}

fn fill(
    value: &mut Spanned<DeValue<'_>>,
    environment: &dyn Fn(&str) -> Option<String>,
) -> Result<(), Fault> {
    let start = value.span().start;
    match value.get_mut() {
        DeValue::String(text) if text.contains("${") => {
            let filled = filled(text, environment).map_err(|what| (start, what))?;
            *text = filled.into();
            Ok(())
        }
        DeValue::Array(items) => items.iter_mut().try_for_each(|item| fill(item, environment)),
        DeValue::Table(table) => fill_table(table, environment),
        _ => Ok(()),
    }
}

/// `text` with every `${NAME}` replaced; `$${` stands for `${`.
fn filled(text: &str, environment: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            out.push_str(before);
            out.push_str("${");
            rest = &from[2..];
            continue;
        }
        out.push_str(before);
        let (name, after) = from[2..]
            .split_once('}')
            .ok_or("${ without }; write ${NAME}, or $${ for the characters")?;
        let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(fine) {
            return Err(format!("${{{name}}} is no variable; allowed are A-Z, a-z, 0-9 and '_'"));
        }
        let value = environment(name)
            .ok_or_else(|| format!("the environment variable {name} is not set"))?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

//! The command table of a node: COMMAND, read once per connection.
//!
//! Invariant: what the server calls a command is only ever made narrower by what we know; its table
//! never opens a command our overlay closes.

use std::collections::BTreeMap;

use link::reply;

/// Commands kept of one table, subcommands counted: Redis 8 has some 420, modules add some.
const COMMANDS_MAX: usize = 4_096;

/// What a server says of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spec {
    /// `readonly`, `write`, `blocking` …
    pub flags: Vec<String>,
    /// `@dangerous`, `@admin` … (≥ 6.0).
    pub categories: Vec<String>,
    /// Whether it is only the front of its subcommands.
    pub container: bool,
}

impl Spec {
    /// Whether it has that flag.
    pub fn is(&self, flag: &str) -> bool {
        self.flags.iter().any(|f| f == flag)
    }

    /// Whether it is in that category.
    pub fn within(&self, category: &str) -> bool {
        self.categories.iter().any(|c| c == category)
    }
}

/// Specs by lower-case name, subcommands as `config|get`.
pub type Table = BTreeMap<String, Spec>;

/// Reads the reply to COMMAND; none when it is not one.
pub fn read(value: &link::Value) -> Option<Table> {
    let mut table = Table::new();
    for entry in reply::items(value)? {
        add(&mut table, entry, 0);
    }
    (!table.is_empty()).then_some(table)
}

fn add(table: &mut Table, entry: &link::Value, depth: u32) {
    let Some(parts) = reply::items(entry) else { return };
    let Some(name) = parts.first().and_then(reply::text).map(|n| n.to_ascii_lowercase()) else {
        return;
    };
    let words = |at: usize| -> Vec<String> {
        let list = parts.get(at).and_then(reply::items).unwrap_or_default();
        list.iter().filter_map(reply::text).map(|w| w.to_ascii_lowercase()).collect()
    };
    let subcommands = parts.get(9).and_then(reply::items).unwrap_or_default();
    if table.len() >= COMMANDS_MAX || depth > 1 {
        return;
    }
    let spec = Spec { flags: words(2), categories: words(6), container: !subcommands.is_empty() };
    table.insert(name, spec);
    for subcommand in subcommands {
        add(table, subcommand, depth + 1);
    }
}

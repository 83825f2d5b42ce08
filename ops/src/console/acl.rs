//! The console's user of Redis: exactly the reads, made from the node's own table.
//!
//! Invariant: whatever the parser let through by mistake, this user may not do: it starts from nothing
//! and is given single commands.

use super::class::{Class, class_of};
use super::table::Table;

/// Name of the user.
pub const USER: &str = "cw-console";

/// The words of ACL SETUSER behind the name; `password_sha256` is 64 hex digits.
pub fn rules(table: &Table, version: (u32, u32), password_sha256: &str) -> Vec<String> {
    let mut rules = vec!["reset".to_string(), "on".into(), format!("#{password_sha256}")];
    // Reading keys only, where the server can tell; the commands read anyhow.
    rules.push(if version >= (7, 0) { "%R~*" } else { "~*" }.into());
    rules.push("-@all".into());
    for (name, spec) in table {
        let reads = matches!(class_of(table, name), Class::Read | Class::Bounded);
        // A container is given by its subcommands, one by one.
        if reads && !spec.container {
            rules.push(format!("+{name}"));
        }
    }
    // On a replica of a cluster reads need it; sent by us, never by a person.
    rules.push("+readonly".into());
    rules.push("+command".into());
    rules
}

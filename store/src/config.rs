//! `[store]` of the configuration file.

use serde::Deserialize;

/// Where the state is and which key wraps its secrets.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `sqlite:/path/file.db` or `postgres://user:password@host/database`.
    pub url: String,
    /// File with the 32-byte wrapping key as 64 hex digits.
    #[serde(default)]
    pub key_file: Option<String>,
    /// Environment variable with the same.
    #[serde(default)]
    pub key_env: Option<String>,
    /// Program (absolute path and arguments) that prints the same.
    #[serde(default)]
    pub key_command: Option<Vec<String>>,
}

/// Whether opening may change the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migrate {
    /// SQLite: bring it up to date; PostgreSQL: refuse when it is not.
    AtStart,
    /// Bring either up to date (`cachewarden migrate`).
    Now,
}

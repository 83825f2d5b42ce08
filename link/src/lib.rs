//! One connection to one Redis: dial, TLS, AUTH, a pipeline under one deadline, bounded replies,
//! and the pure parsers of those replies.
//!
//! Invariants: a connection that timed out, broke the protocol or was cancelled is never used again,
//! so a late reply cannot answer the next command; memory grows only with bytes that were really
//! received, and only up to the budget of the reply. Refuses to know: inventories, schedules,
//! what a value means. The only crate that imports `redis`.

mod certificate;
mod connection;
mod dial;
mod error;
mod own;
mod pace;
mod pipeline;
pub mod reply;
mod resp;
pub mod slot;
mod subscription;
mod tls;

use model::secret::Secret;
use serde::{Deserialize, Serialize};

pub use connection::Link;
pub use dial::dial;
pub use error::{Error, reason_of};
pub use own::is_own;
pub use pace::limit_connects;
pub use pipeline::Pipeline;
pub use redis::Value;
pub use subscription::{Heard, listen};
pub use tls::file_ends_at as certificate_ends_at;

/// Section `[link]` of the configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// One deadline for a whole poll, milliseconds.
    pub deadline_ms: u64,
    /// New connections this process opens per second, at most.
    pub connects_per_s_max: u32,
    /// Folder with the TLS files that services name: `NAME` lies in the folder of its tenant,
    /// `shared/NAME` in the folder `_shared`, which no tenant can be called.
    pub tls_dir: String,
}

impl Default for Config {
    fn default() -> Config {
        let tls_dir = "/etc/cachewarden/tls".into();
        Config { deadline_ms: 3000, connects_per_s_max: 500, tls_dir }
    }
}

/// Where to connect and who we are there. A secret belongs to exactly one address.
#[derive(Clone)]
pub struct Target {
    /// `host:port`; IPv6 hosts in brackets.
    pub address: String,
    /// ACL user; empty: the default user.
    pub user: String,
    /// Password; none: no AUTH is sent.
    pub password: Option<Secret>,
    /// TLS; none: plain TCP.
    pub tls: Option<Tls>,
}

/// TLS settings. Files are looked at at each dial, so rotated certificates need no restart.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities to trust; none: those of the operating system.
    pub ca_file: Option<String>,
    /// PEM file of our certificate chain, for servers that ask for one.
    pub cert_file: Option<String>,
    /// PEM file of its key.
    pub key_file: Option<String>,
    /// Name the server's certificate must carry; none: the host of the address.
    pub server_name: Option<String>,
    /// Any certificate will do: encrypted, but nobody knows to whom. Named per service or never.
    pub insecure: bool,
}

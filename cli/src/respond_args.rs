//! The command line of `ack`, `silence`, `maintenance` and `calendar`.
//!
//! Invariant: one command, one action of the API; every flag says what it takes.

use std::path::PathBuf;

use clap::Subcommand;

/// `silence`.
#[derive(Debug, Subcommand)]
pub enum Silence {
    /// Silences you may see, active first.
    List {
        /// Words that must occur.
        #[arg(short, default_value = "")]
        q: String,
        /// Tenant, system or service.
        #[arg(long = "in", default_value = "", value_name = "SCOPE")]
        scope: String,
        /// active, pending or expired.
        #[arg(long, default_value = "")]
        state: String,
    },
    /// Keep alerts with these labels from people.
    Add {
        /// NAME=VALUE, NAME!=VALUE, NAME=~EXPRESSION or NAME!~EXPRESSION; all must hold.
        #[arg(required = true, value_name = "MATCHER")]
        matchers: Vec<String>,
        /// How long: 30m, 2h, 3d.
        #[arg(long = "for", value_name = "SPAN")]
        span: String,
        /// Why.
        #[arg(long)]
        comment: String,
        /// tenant:ID, system:ID or service:ID it must stay within; needed when you may silence in
        /// more than one.
        #[arg(long, default_value = "")]
        scope: String,
    },
    /// End a silence now.
    Expire {
        /// Its id.
        id: String,
    },
}

/// `maintenance`.
#[derive(Debug, Subcommand)]
pub enum Maintenance {
    /// Maintenances you may see, running first.
    List {
        /// Words that must occur.
        #[arg(short, default_value = "")]
        q: String,
        /// Tenant, system or service.
        #[arg(long = "in", default_value = "", value_name = "SCOPE")]
        scope: String,
    },
    /// Withhold new alerts of a part of the fleet while somebody works on it.
    Start {
        /// platform, tenant:ID, system:ID, service:ID or instance:ID.
        scope: String,
        /// How long: 30m, 2h, 3d.
        #[arg(long = "for", value_name = "SPAN")]
        span: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// When it begins: 2026-03-01T22:00:00Z; now when absent.
        #[arg(long, value_name = "TIME")]
        at: Option<String>,
    },
    /// End one now: what still fires is told.
    End {
        /// Its id.
        id: String,
    },
}

/// `calendar`.
#[derive(Debug, Subcommand)]
pub enum Calendar {
    /// Calendars and whether they are open now.
    List,
    /// One calendar, and when it changes next.
    Get {
        /// Its name.
        id: String,
    },
    /// Create or change a calendar.
    Put {
        /// Definition, YAML or JSON.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
    },
    /// Delete a calendar that no policy names.
    Delete {
        /// Its name.
        id: String,
    },
}

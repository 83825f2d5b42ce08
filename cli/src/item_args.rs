//! The command line of `item`.
//!
//! Invariant: one command, one action of the API; every flag says what it takes.

use std::path::PathBuf;

use clap::Subcommand;

/// `item`.
#[derive(Debug, Subcommand)]
pub enum Item {
    /// Items you may see.
    List {
        /// Words that must occur.
        #[arg(short, default_value = "")]
        q: String,
        /// Tenant, system or service.
        #[arg(long = "in", default_value = "", value_name = "SCOPE")]
        scope: String,
    },
    /// One item: definition, cost, present values.
    Get {
        /// NAME@SCOPE, for example queue-length@service:pay.cart.
        id: String,
    },
    /// Create or change an item.
    Apply {
        /// Definition, YAML or JSON.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
        /// Only show what is wrong with it and what it would cost.
        #[arg(long)]
        dry_run: bool,
    },
    /// Read a definition once on one instance, saved or not.
    Test {
        /// Definition, YAML or JSON.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Instance to ask.
        #[arg(long, value_name = "INSTANCE")]
        on: String,
    },
    /// Revisions of an item: who, when, why.
    History {
        /// NAME@SCOPE.
        id: String,
    },
    /// Make an old revision the newest one.
    Restore {
        /// NAME@SCOPE.
        id: String,
        /// Its number.
        rev: i64,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Stop reading an item; its revisions stay.
    Delete {
        /// NAME@SCOPE.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

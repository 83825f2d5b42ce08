//! The command line of `score-policy`.
//!
//! Invariant: one command, one action of the API; every flag says what it takes.

use std::path::PathBuf;

use clap::Subcommand;

/// `score-policy`.
#[derive(Debug, Subcommand)]
pub enum ScorePolicy {
    /// Scopes with what they set.
    List {
        /// Words that must occur.
        #[arg(short, default_value = "")]
        q: String,
        /// Tenant, system or service.
        #[arg(long = "in", default_value = "", value_name = "SCOPE")]
        scope: String,
    },
    /// What is in force at a scope, each field with its origin.
    Get {
        /// platform, tenant:ID, system:ID or service:ID.
        scope: String,
    },
    /// Revisions of a scope's document: who, when, why, who signed.
    Revisions {
        /// platform, tenant:ID, system:ID or service:ID.
        scope: String,
    },
    /// Preview a document, and save it.
    Apply {
        /// Document, YAML or JSON.
        #[arg(short, long, value_name = "FILE")]
        file: PathBuf,
        /// Why.
        #[arg(long, required_unless_present = "dry_run")]
        reason: Option<String>,
        /// Sign, as a system administrator, what lies far from the profile.
        #[arg(long)]
        sign: bool,
        /// Only show what it would do.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the document of an old revision the newest one.
    Restore {
        /// platform, tenant:ID, system:ID or service:ID.
        scope: String,
        /// Its number.
        rev: i64,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Sign, as a system administrator, what lies far from the profile.
        #[arg(long)]
        sign: bool,
    },
    /// Say what the data of a service is for; its owner confirms a guess with it.
    Profile {
        /// Service.
        id: String,
        /// cache, store, queue or session.
        profile: String,
    },
}

//! The command line of `policy`.
//!
//! Invariant: one command, one action of the API; every flag says what it takes.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Which document of a policy.
#[derive(Debug, Args)]
pub struct Layer {
    /// platform, tenant:ID, system:ID, service:ID or instance:ID.
    #[arg(long, default_value = "platform")]
    pub scope: String,
    /// To which instances of the scope it applies: tier=core|important,env=prod.
    #[arg(long, default_value = "")]
    pub selector: String,
}

/// `policy`.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Policies with their levels and layers.
    List {
        /// Words that must occur.
        #[arg(short, default_value = "")]
        q: String,
        /// Only those with a layer in this tenant, system or service.
        #[arg(long = "in", default_value = "", value_name = "SCOPE")]
        scope: String,
    },
    /// What is in force of a policy at a scope, each field with its origin.
    Show {
        /// Policy.
        id: String,
        /// Which document.
        #[command(flatten)]
        layer: Layer,
        /// For one instance, selectors looked at.
        #[arg(long)]
        instance: Option<String>,
        /// Only the scope's own document, as YAML.
        #[arg(long)]
        document: bool,
    },
    /// Every policy of an instance, each field with its origin and what it beat.
    Effective {
        /// Instance.
        instance: String,
        /// Only this policy.
        #[arg(long)]
        policy: Option<String>,
    },
    /// Revisions of a policy's documents: who, when, why.
    History {
        /// Policy.
        id: String,
    },
    /// What stands against documents, by file, line and field.
    Lint {
        /// Files with a document or a list of them, YAML or JSON.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Run tests of policies on this machine: series as for promtool, and what fires when.
    Test {
        /// Files with documents and tests, YAML.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Policies as rule files for Prometheus: their state, or the text of one.
    Rules {
        /// File.
        name: Option<String>,
    },
    /// Open a document in $EDITOR, check it and publish it.
    Edit {
        /// Policy.
        id: String,
        /// Which document.
        #[command(flatten)]
        layer: Layer,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// What a document would have done over the past, beside what is in force.
    Backtest {
        /// Document, YAML or JSON.
        file: PathBuf,
        /// Since when: 7d, a date or a time.
        #[arg(long, default_value = "7d")]
        from: String,
        /// Until when; absent: now.
        #[arg(long, default_value = "")]
        to: String,
        /// Between samples: 60s; absent: as fits.
        #[arg(long, default_value = "")]
        step: String,
        /// Suggest thresholds that page at most so often a week.
        #[arg(long, value_name = "N")]
        pages_per_week: Option<f64>,
    },
    /// Publish a document; in force at once.
    Publish {
        /// Document, YAML or JSON.
        file: PathBuf,
        /// Why.
        #[arg(long, required_unless_present = "dry_run")]
        reason: Option<String>,
        /// Revision you saw; absent: the present one.
        #[arg(long)]
        rev: Option<i64>,
        /// Only show what stands against it and whom it would reach.
        #[arg(long)]
        dry_run: bool,
    },
    /// Make the document of an old revision the newest one.
    Restore {
        /// Policy.
        id: String,
        /// Its number.
        rev: i64,
        /// Which document.
        #[command(flatten)]
        layer: Layer,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Take a scope's document out of force: its fields are inherited again.
    Retire {
        /// Policy.
        id: String,
        /// Which document.
        #[command(flatten)]
        layer: Layer,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

//! The command line.
//!
//! Invariant: one command, one action of the API (or one thing on this machine); every flag says
//! what it takes.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use crate::acl_args::Acl;
pub use crate::explain_args::{Explain, Score, Whatif};
pub use crate::item_args::Item;
pub use crate::policy_args::{Layer, Policy};
pub use crate::respond_args::{Calendar, Maintenance, Silence};
pub use crate::score_policy_args::ScorePolicy;

/// Watches and runs fleets of Redis and Valkey.
#[derive(Debug, Parser)]
#[command(name = "cachewarden", version = server::VERSION, propagate_version = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Where and how, for commands against a server.
    #[command(flatten)]
    pub server: ServerArgs,
}

/// Which server, as whom, printed how.
#[derive(Debug, Clone, Args)]
pub struct ServerArgs {
    /// Address of the server; then CACHEWARDEN_URL, then the file `cachewarden login` wrote.
    #[arg(long, global = true, env = "CACHEWARDEN_URL", value_name = "URL")]
    pub url: Option<String>,
    /// Token; then CACHEWARDEN_TOKEN, then the file `cachewarden login` wrote.
    #[arg(long, global = true, env = "CACHEWARDEN_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// Form of the answer.
    #[arg(short, long, global = true, value_enum, default_value = "table")]
    pub output: Output,
}

/// Form of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// The answer of the API.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// Of lists: for a spreadsheet.
    Csv,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the server until SIGTERM or SIGINT.
    Serve {
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Check a configuration file without starting.
    Check {
        /// Configuration file.
        file: PathBuf,
    },
    /// Bring the store's schema up to date.
    Migrate {
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Start a whole fleet on this machine and show what happens to it.
    Demo {
        /// Unattended: exit 0 only if everything was observed.
        #[arg(long)]
        check: bool,
        /// Folder with redis-server, prometheus and prometheus-alertmanager.
        #[arg(long, value_name = "DIR")]
        engines: PathBuf,
    },
    /// Create the first account with the setup token the server printed.
    Setup {
        /// Instead: write a new wrapping key for store.key_file to this file, which must not exist.
        #[arg(long, value_name = "FILE", conflicts_with_all = ["name", "password_file", "setup_token"])]
        new_key: Option<PathBuf>,
        /// Who.
        #[command(flatten)]
        how: SignIn,
    },
    /// Print the version.
    Version {
        /// As JSON, with what was built in.
        #[arg(long)]
        json: bool,
    },
    /// Sign in and keep a token in ~/.config/cachewarden/cli.toml.
    Login(SignIn),
    /// Revoke that token and forget it.
    Logout,
    /// List things.
    Get(Get),
    /// Show one thing whole.
    Describe {
        /// What it is.
        #[arg(value_enum)]
        noun: Noun,
        /// Its id.
        id: String,
    },
    /// Say why something is as it is.
    #[command(subcommand)]
    Explain(Explain),
    /// Say what would be if something were different; changes nothing.
    #[command(subcommand)]
    Whatif(Whatif),
    /// Create or change what an inventory file names.
    Apply(Apply),
    /// Find services from an address, a Sentinel, a cluster node, a file or a URL, and watch them.
    Adopt(Box<Adopt>),
    /// Print the least access a monitor user needs on a service's processes.
    Acl(Acl),
    /// Set or forget the user and password of a service.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Plan, run, watch or cancel an operation.
    #[command(subcommand)]
    Op(Op),
    /// Say how far runbooks may go.
    #[command(subcommand)]
    Runbook(RunbookCommand),
    /// Say that you have seen an alert and take care of it.
    Ack {
        /// Its id, or the beginning of it.
        id: String,
        /// What you do about it.
        #[arg(long, default_value = "")]
        note: String,
    },
    /// Keep alerts from people.
    #[command(subcommand)]
    Silence(Silence),
    /// Withhold alerts of what somebody works on.
    #[command(subcommand)]
    Maintenance(Maintenance),
    /// Calendars that policies name.
    #[command(subcommand)]
    Calendar(Calendar),
    /// Define, test and read custom monitoring items.
    #[command(subcommand)]
    Item(Item),
    /// Say what is alerted on: thresholds, for whom, with what they would have done.
    #[command(subcommand)]
    Policy(Policy),
    /// Say how scores are made: weights, thresholds, what must be there.
    #[command(subcommand)]
    ScorePolicy(ScorePolicy),
    /// Read or check the audit trail.
    #[command(subcommand)]
    Audit(Audit),
    /// Tokens of yours.
    #[command(subcommand)]
    Token(Token),
    /// Show a service's parameters over its nodes: wished, running, in the file.
    Parameters {
        /// Service id.
        service: String,
        /// Only those that drift.
        #[arg(long)]
        drift: bool,
    },
    /// Ask one instance by a command that only reads; without one, line by line.
    Console {
        /// Instance.
        id: String,
        /// Print the rules of the user the console logs in as.
        #[arg(long)]
        acl: bool,
        /// With --acl: file with the user's password; hashed here.
        #[arg(long, value_name = "FILE", requires = "acl")]
        password_file: Option<PathBuf>,
        /// Command and arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
    /// Poll an instance every second for some minutes.
    Turbo {
        /// Instance.
        id: String,
        /// How long, 1 to 10.
        #[arg(long, default_value_t = 5, conflicts_with = "end")]
        minutes: u32,
        /// Instead: end it now.
        #[arg(long)]
        end: bool,
    },
}

/// Who signs in. The password is asked for on the terminal, or read from a file or a pipe.
#[derive(Debug, Args)]
pub struct SignIn {
    /// Name; asked for when it is missing.
    #[arg(long)]
    pub name: Option<String>,
    /// File with the password; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// Setup token (for `setup`); asked for when it is missing.
    #[arg(long, env = "CACHEWARDEN_SETUP_TOKEN", hide_env_values = true)]
    pub setup_token: Option<String>,
    /// How long the kept token lives.
    #[arg(long, default_value_t = 1)]
    pub days: u32,
}

/// What can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Nouns {
    /// Is the fleet fine.
    Overview,
    /// Who I am.
    Me,
    /// Tenants.
    Tenants,
    /// Business systems.
    Systems,
    /// Services.
    Services,
    /// Instances.
    Instances,
    /// Alerts.
    Alerts,
    /// Incidents.
    Incidents,
    /// Operations.
    Operations,
    /// Runbooks.
    Runbooks,
    /// Alerts of the past.
    AlertHistory,
    /// How fast alerts were answered.
    AlertResponse,
    /// The nightly report on alerts: which are noise.
    AlertQuality,
    /// Backups.
    Backups,
}

/// What can be shown whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Noun {
    /// A tenant.
    Tenant,
    /// A business system.
    System,
    /// A service.
    Service,
    /// An instance.
    Instance,
    /// An alert.
    Alert,
    /// An incident.
    Incident,
    /// An operation.
    Operation,
}

/// `get`.
#[derive(Debug, Args)]
pub struct Get {
    /// What to list.
    #[arg(value_enum)]
    pub nouns: Nouns,
    /// Words that must occur.
    #[arg(short, default_value = "")]
    pub q: String,
    /// Tenant, system or service.
    #[arg(long = "in", default_value = "", value_name = "SCOPE")]
    pub scope: String,
    /// What to sort by, `-` before it for downwards: services by name, score, mem, ops, clients,
    /// slow, alerts; instances by name, score, mem, ops.
    #[arg(long, default_value = "", allow_hyphen_values = true)]
    pub sort: String,
    /// Rows at most; absent: all.
    #[arg(long)]
    pub limit: Option<usize>,
    /// Of alert-history and alert-response: from=7d, to, policy, alertname, level, phase, instance,
    /// acknowledged, in_maintenance, reason.
    #[arg(long = "where", value_name = "NAME=VALUE")]
    pub filters: Vec<String>,
}

/// `apply`.
#[derive(Debug, Args)]
pub struct Apply {
    /// Inventory file, YAML or JSON.
    #[arg(short, long, value_name = "FILE")]
    pub file: PathBuf,
    /// Only show what would change.
    #[arg(long)]
    pub dry_run: bool,
    /// Remove what the file does not name inside its tenants.
    #[arg(long)]
    pub prune: bool,
    /// Number of removals expected, when they are more than a fifth.
    #[arg(long, value_name = "N")]
    pub prune_count: Option<usize>,
}

/// `adopt`.
#[derive(Debug, Args)]
pub struct Adopt {
    /// Addresses (host:port, redis://…, rediss://…), files (CSV, file_sd, prometheus.yml, one address a
    /// line) or URLs (http_sd). A master, a replica, a Sentinel or a cluster node will do.
    #[arg(required = true, value_name = "ADDRESS|FILE|URL")]
    pub seeds: Vec<String>,
    /// Tenant that gets them.
    #[arg(long, default_value = "default")]
    pub tenant: String,
    /// Business system they belong to.
    #[arg(long, default_value = "")]
    pub system: String,
    /// Name of the service, when only one is found.
    #[arg(long, default_value = "")]
    pub service: String,
    /// core, important, general or test.
    #[arg(long, default_value = "general")]
    pub tier: String,
    /// Allow operations and remediation on them.
    #[arg(long)]
    pub managed: bool,
    /// ACL user at the data nodes.
    #[arg(long, default_value = "")]
    pub user: String,
    /// File with the password of the data nodes; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// ACL user at the Sentinels.
    #[arg(long, default_value = "")]
    pub sentinel_user: String,
    /// File with the password of the Sentinels.
    #[arg(long, value_name = "FILE")]
    pub sentinel_password_file: Option<PathBuf>,
    /// TLS.
    #[command(flatten)]
    pub tls: AdoptTls,
    /// Network (CIDR) the tenant may be reached in from now on (repeatable).
    #[arg(long = "network", value_name = "CIDR")]
    pub networks: Vec<String>,
    /// Zone: of a network (CIDR=ZONE, repeatable) or of everything else (ZONE).
    #[arg(long = "zone", value_name = "ZONE|CIDR=ZONE")]
    pub zones: Vec<String>,
    /// Print the least access this monitor user needs.
    #[arg(long, value_name = "USER", num_args = 0..=1, default_missing_value = "cw-monitor")]
    pub acl: Option<String>,
    /// Only show what would be adopted.
    #[arg(long)]
    pub dry_run: bool,
    /// Do not ask.
    #[arg(long)]
    pub yes: bool,
}

/// TLS of what is adopted. Files are names in the server's folder `link.tls_dir`.
#[derive(Debug, Args)]
pub struct AdoptTls {
    /// Speak TLS.
    #[arg(long)]
    pub tls: bool,
    /// Authorities to trust: NAME in the tenant's folder, or shared/NAME.
    #[arg(long, value_name = "NAME")]
    pub ca: Option<String>,
    /// Our certificate.
    #[arg(long, value_name = "NAME", requires = "key")]
    pub cert: Option<String>,
    /// Its key.
    #[arg(long, value_name = "NAME", requires = "cert")]
    pub key: Option<String>,
    /// Name the servers' certificates carry.
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// Take any certificate.
    #[arg(long)]
    pub insecure: bool,
    /// The Sentinels speak plain TCP.
    #[arg(long)]
    pub plain_sentinels: bool,
}

/// `secret`.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Set the password, and the user when it changes too.
    Set {
        /// Service id.
        service: String,
        /// Of the data nodes (redis), the one a rotation brings in (redis-next), of the console's user
        /// (console), or of the Sentinels (sentinel).
        #[arg(long, default_value = "redis", value_parser = ["redis", "redis-next", "console", "sentinel"])]
        kind: String,
        /// ACL user; absent: the present one stays.
        #[arg(long)]
        user: Option<String>,
        /// File with the password; absent: asked for; `-` reads standard input.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Forget the password and the user: the service is read without AUTH.
    Remove {
        /// Service id.
        service: String,
        /// Of the data nodes (redis), the one a rotation brings in (redis-next), of the console's user
        /// (console), or of the Sentinels (sentinel).
        #[arg(long, default_value = "redis", value_parser = ["redis", "redis-next", "console", "sentinel"])]
        kind: String,
    },
}

/// `op`.
#[derive(Debug, Subcommand)]
pub enum Op {
    /// Make a plan and show it; changes nothing.
    Plan(Wish),
    /// Make a plan, confirm it, start it and watch it.
    Run {
        /// What.
        #[command(flatten)]
        wish: Wish,
        /// What the plan asks to be typed; asked for on a terminal when it is missing.
        #[arg(long)]
        confirm: Option<String>,
        /// Why.
        #[arg(long)]
        reason: String,
        /// The same key starts the same operation once.
        #[arg(long, value_name = "KEY")]
        idem_key: Option<String>,
        /// Only show the plan.
        #[arg(long)]
        dry_run: bool,
        /// Do not watch.
        #[arg(long)]
        detach: bool,
    },
    /// Follow an operation to its end.
    Watch {
        /// Its id.
        id: String,
    },
    /// Agree to another person's plan, or refuse it.
    Approve {
        /// Its id.
        id: String,
        /// Hash of the plan you agree to; absent: only shows the plan.
        #[arg(long, value_name = "HASH")]
        plan: Option<String>,
        /// Instead: refuse it.
        #[arg(long)]
        refuse: bool,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Wait before the next step.
    Pause {
        /// Its id.
        id: String,
    },
    /// Go on after a pause.
    Resume {
        /// Its id.
        id: String,
    },
    /// Stop an operation after its present step and undo it.
    Cancel {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long, default_value = "")]
        reason: String,
    },
}

/// What an operation is made from.
#[derive(Debug, Clone, Args)]
pub struct Wish {
    /// What: switchover, node_restart, param_change, password_rotate …
    pub kind: String,
    /// Service it changes; for evacuate and zone_restore the zone.
    pub service: String,
    /// Instance: the new master, or the node to restart.
    #[arg(long, value_name = "INSTANCE")]
    pub target: Option<String>,
    /// Further input: NAME=VALUE, the value as JSON where it is, else as text.
    #[arg(long = "param", value_name = "NAME=VALUE")]
    pub params: Vec<String>,
    /// For param_change: a parameter and its new value (repeatable).
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub set: Vec<String>,
}

/// `runbook`.
#[derive(Debug, Subcommand)]
pub enum RunbookCommand {
    /// Set how far a runbook may go: off, observe, ask, auto.
    Mode {
        /// Runbook.
        name: String,
        /// Mode.
        mode: String,
        /// platform, tenant:ID or service:ID.
        #[arg(long, default_value = "platform")]
        scope: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Start the plan an incident waits with.
    Approve {
        /// Incident.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Hash of the plan that was seen; otherwise the plan is shown and asked about.
        #[arg(long)]
        plan: Option<String>,
    },
    /// Stop (on) or allow (off) every automatic action.
    KillSwitch {
        /// on or off.
        #[arg(value_parser = ["on", "off"])]
        state: String,
        /// platform, tenant:ID, runbook:NAME or zone:ID.
        #[arg(long, default_value = "platform")]
        scope: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// `audit`.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Records, newest first.
    List {
        /// Rows at most.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Check every hash of the chains.
    Verify,
}

/// `token`.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Create a token and print it once.
    Create {
        /// What it is for.
        #[arg(long)]
        name: String,
        /// api, scrape or intake.
        #[arg(long, default_value = "api")]
        kind: String,
        /// How long it lives; absent: 90 days, or as long as the token you use now.
        #[arg(long)]
        days: Option<u32>,
        /// Right it gets (repeatable); absent: all of yours.
        #[arg(long = "right")]
        rights: Vec<String>,
        /// Scope it reaches (repeatable); absent: all of yours.
        #[arg(long = "scope")]
        scopes: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_cli_form_of_the_action_table_is_a_command() {
        for action in model::action::ACTIONS.iter().filter(|a| !a.cli.is_empty()) {
            let words: Vec<&str> = action.cli.split(['|', ' ']).take(2).collect();
            let command = Cli::command();
            let found = command.get_subcommands().any(|c| c.get_name() == words[1]);
            assert!(found, "{}: {}", action.id, action.cli);
        }
    }
}

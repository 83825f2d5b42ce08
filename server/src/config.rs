//! The configuration file: one TOML file, a section per crate plus the process' own.
//!
//! Invariant: closed (an unknown key is an error) and complete after `load`: every value was looked
//! at, so a process that started does not stumble over its file an hour later. Every refusal names
//! file and line or key, what was found and what is allowed. Refuses to know the inventory: business
//! things live in the store.

mod checks;
mod notes;
mod place;
mod source;

use std::path::{Path, PathBuf};

use model::cidr::Cidr;
use serde::Deserialize;

/// Everything the process is told at start.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where it was read from; none when it was made by a program.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// The listener.
    #[serde(default)]
    pub http: Http,
    /// What is logged.
    #[serde(default)]
    pub log: Log,
    /// Who may sign in, and how.
    #[serde(default)]
    pub auth: crate::auth::Config,
    /// The Prometheus query API; absent: in-memory history only.
    pub history: Option<History>,
    /// Where the state is.
    pub store: store::Config,
    /// Connections to Redis.
    #[serde(default)]
    pub link: link::Config,
    /// Polls and pages.
    #[serde(default)]
    pub exporter: exporter::Config,
    /// Judgement.
    #[serde(default)]
    pub scorer: scorer::Config,
    /// Alerts on their way out.
    #[serde(default)]
    pub alerter: alerter::Config,
    /// Operations and providers.
    #[serde(default)]
    pub ops: ops::Config,
    /// Pages.
    #[serde(default)]
    pub portal: portal::Config,
}

/// `[http]`: the listener and who may read metrics without a token.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// `address:port`.
    pub listen: String,
    /// How others reach us: in links, `generatorURL`, discovery and cookies.
    pub public_url: String,
    /// Networks that may read metrics and discovery without a token; loopback counts only for
    /// requests without a forwarding header.
    pub metrics_allow: Vec<Cidr>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// TLS; absent: plain HTTP.
    pub tls: Option<Tls>,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            listen: "127.0.0.1:9850".into(),
            public_url: "http://127.0.0.1:9850".into(),
            metrics_allow: vec!["127.0.0.0/8".parse().expect("a network")],
            trusted_proxies: Vec::new(),
            tls: None,
        }
    }
}

/// Files of the listener's certificate; read again at SIGHUP.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM, leaf first.
    pub cert_file: String,
    /// PEM, its key.
    pub key_file: String,
    /// PEM of authorities; when given, every client must show a certificate of one of them.
    pub client_ca_file: Option<String>,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or per target: `info,server=debug`.
    pub level: String,
    /// One JSON object or one line of text a record.
    pub format: LogFormat,
}

impl Default for Log {
    fn default() -> Log {
        Log { level: "info".into(), format: LogFormat::Text }
    }
}

/// Form of a log record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For programs.
    Json,
    /// For people.
    Text,
}

/// `[history]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct History {
    /// Base of the Prometheus query API.
    pub url: String,
}

/// Why a configuration file is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A line is wrong: syntax, an unknown key, a value of another kind.
    #[error("{}:{line}: {what}", file.display())]
    Line {
        /// The file.
        file: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What was found and what is allowed.
        what: String,
    },
    /// A value is out of its range, or a file it names is missing.
    #[error("{}: {what}", file.display())]
    Value {
        /// The file.
        file: PathBuf,
        /// Key, what was found and what is allowed.
        what: String,
    },
}

impl Config {
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| ConfigError::Unreadable { file: path.into(), source })?;
        let environment = |name: &str| std::env::var(name).ok();
        let config = Config::from_text(path, &text, &environment)?;
        Ok(Config { file: Some(path.into()), ..config })
    }

    /// Names of the sections in which `other` differs, apart from the level of the log.
    pub(crate) fn sections_that_differ(&self, other: &Config) -> Vec<&'static str> {
        let differs = [
            ("http", self.http != other.http),
            ("log", self.log.format != other.log.format),
            ("auth", self.auth != other.auth),
            ("history", self.history != other.history),
            ("store", self.store != other.store),
            ("link", self.link != other.link),
            ("exporter", self.exporter != other.exporter),
            ("scorer", self.scorer != other.scorer),
            ("alerter", self.alerter != other.alerter),
            ("ops", self.ops != other.ops),
            ("portal", self.portal != other.portal),
        ];
        differs.iter().filter(|(_, d)| *d).map(|(name, _)| *name).collect()
    }

    /// Parses and checks `text`; `environment` answers `${NAME}`.
    pub fn from_text(
        path: &Path,
        text: &str,
        environment: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Config, ConfigError> {
        let config: Config = source::parse(path, text, environment)?;
        match checks::first_fault(&config) {
            Some(what) => Err(ConfigError::of_value(path, text, what)),
            None => Ok(config),
        }
    }

    /// What is allowed but worth a look.
    pub(crate) fn notes(&self) -> Vec<String> {
        notes::notes(self)
    }

    /// A configuration that only says where the state is; everything else by default.
    pub fn of_store(url: &str, key_file: Option<&str>) -> Config {
        let store = store::Config {
            url: url.into(),
            key_file: key_file.map(str::to_string),
            key_env: None,
            key_command: None,
        };
        Config {
            file: None,
            http: Http::default(),
            log: Log::default(),
            auth: crate::auth::Config::default(),
            history: None,
            store,
            link: link::Config::default(),
            exporter: exporter::Config::default(),
            scorer: scorer::Config::default(),
            alerter: alerter::Config::default(),
            ops: ops::Config::default(),
            portal: portal::Config::default(),
        }
    }
}

impl ConfigError {
    /// A value that cannot work, at the line of the key `what` begins with.
    fn of_value(path: &Path, text: &str, what: String) -> ConfigError {
        match place::line(text, &what) {
            Some(line) => ConfigError::Line { file: path.into(), line, what },
            None => ConfigError::Value { file: path.into(), what },
        }
    }
}

/// What `cachewarden check FILE` does: loads without starting. Answers the things that are allowed
/// but worth a look, such as a wrapping key that does not exist yet; refuses a key that is there and
/// cannot be one.
pub fn check(path: &Path) -> Result<Vec<String>, ConfigError> {
    let config = Config::load(path)?;
    match checks::sealing_fault(&config) {
        None => Ok(config.notes()),
        Some(what) => {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            Err(ConfigError::of_value(path, &text, what))
        }
    }
}

#[cfg(test)]
mod tests;

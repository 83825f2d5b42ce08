//! Where log records go and which are kept; the level can change while the process runs.

use std::io::IsTerminal as _;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

use crate::config::{Log, LogFormat};

/// Changes the level of the running process.
#[derive(Clone)]
pub struct LogLevel(reload::Handle<EnvFilter, Registry>);

impl LogLevel {
    /// Puts `level` in force; refuses one that does not parse.
    pub fn set(&self, level: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(level).map_err(|e| format!("log.level: {e}"))?;
        self.0.reload(filter).map_err(|e| e.to_string())
    }
}

/// Starts logging to standard error. A second call in one process changes nothing but answers a
/// handle without effect.
pub fn start(log: &Log) -> LogLevel {
    let filter = EnvFilter::try_new(&log.level).unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let base = tracing_subscriber::registry().with(filter);
    let _ = match log.format {
        LogFormat::Json => base
            .with(fmt::layer().json().flatten_event(true).with_writer(std::io::stderr))
            .try_init(),
        LogFormat::Text => {
            // Colours are for a terminal; in a file or the journal they are noise between the words.
            let colours = std::io::stderr().is_terminal();
            base.with(fmt::layer().with_ansi(colours).with_writer(std::io::stderr)).try_init()
        }
    };
    LogLevel(handle)
}

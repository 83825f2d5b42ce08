//! Why a dial or a call failed.
//!
//! Invariant: the detail never holds a secret and never more than 200 characters, for it is shown
//! to people and logged. What a server answered to AUTH is not repeated: a server could echo what
//! we sent.

use std::io;

use model::reading::Reason;

/// Longest text kept of anything a server said; more helps nobody and fills logs.
pub(crate) const DETAIL_MAX: usize = 200;

/// A failed dial or call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{}: {detail}", reason.as_str())]
pub struct Error {
    /// The class, from the closed set.
    pub reason: Reason,
    /// For people: what exactly, at most 200 characters, never a secret.
    pub detail: String,
    server: Option<String>,
}

impl Error {
    /// An error found on our side.
    pub fn new(reason: Reason, detail: impl Into<String>) -> Error {
        Error { reason, detail: clean(&detail.into()), server: None }
    }

    /// An error line the server answered, without its leading `-`.
    pub fn answered(line: &str) -> Error {
        let text = clean(line);
        Error { reason: reason_of(line), detail: text.clone(), server: Some(text) }
    }

    /// The server's error line when it answered one (cut at 200 characters), such as
    /// `NOGOODSLAVE No suitable replica to promote`.
    pub fn server(&self) -> Option<&str> {
        self.server.as_deref()
    }

    pub(crate) fn io(error: &io::Error, doing: &str) -> Error {
        use io::ErrorKind::{ConnectionRefused, TimedOut};
        if let Some(said) = crate::tls::said(error) {
            return Error::new(Reason::Tls, said);
        }
        let reason = match error.kind() {
            ConnectionRefused => Reason::Refused,
            TimedOut => Reason::Timeout,
            _ => Reason::Reset,
        };
        Error::new(reason, format!("{doing}: {error}"))
    }
}

/// The class of a server's error line (without `-`); `protocol` for all that say nothing about
/// whether we may talk to the server.
pub fn reason_of(line: &str) -> Reason {
    let code = line.split(' ').next().unwrap_or("");
    match code {
        "NOAUTH" | "WRONGPASS" | "DENIED" => Reason::Auth,
        "NOPERM" => Reason::Noperm,
        "LOADING" => Reason::Loading,
        "BUSY" => Reason::Busy,
        "MASTERDOWN" => Reason::Masterdown,
        "ERR" if line.starts_with("ERR max number of clients") => Reason::Maxclients,
        "ERR" if line.starts_with("ERR invalid password") => Reason::Auth,
        "ERR" if line.starts_with("ERR AUTH ") => Reason::Auth,
        "ERR" if line.starts_with("ERR unknown command") => Reason::Noperm,
        _ => Reason::Protocol,
    }
}

/// The full line of a server error value.
pub(crate) fn line_of(error: &redis::ServerError) -> String {
    match error.details() {
        Some(details) => format!("{} {details}", error.code()),
        None => error.code().to_string(),
    }
}

/// One line, at most 200 characters, no control bytes (they would forge log lines).
pub(crate) fn clean(text: &str) -> String {
    text.chars().take(DETAIL_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_lines_have_the_reason_an_operator_expects() {
        for (line, reason) in [
            ("NOAUTH Authentication required.", Reason::Auth),
            ("WRONGPASS invalid username-password pair", Reason::Auth),
            ("ERR invalid password", Reason::Auth),
            ("NOPERM this user has no permissions", Reason::Noperm),
            ("ERR unknown command 'INFO'", Reason::Noperm),
            ("ERR max number of clients reached", Reason::Maxclients),
            ("LOADING Redis is loading the dataset in memory", Reason::Loading),
            ("BUSY Redis is busy running a script", Reason::Busy),
            ("MASTERDOWN Link with MASTER is down", Reason::Masterdown),
            ("ERR syntax error", Reason::Protocol),
            ("", Reason::Protocol),
        ] {
            assert_eq!(reason_of(line), reason, "{line}");
        }
    }

    #[test]
    fn details_are_one_short_line() {
        let error = Error::answered(&format!("ERR a\r\nb{}", "x".repeat(500)));
        assert_eq!(error.detail.chars().count(), DETAIL_MAX);
        assert!(!error.detail.contains(['\r', '\n']));
    }
}

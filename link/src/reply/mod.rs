//! Pure parsers of replies, shared by exporter and ops.
//!
//! Invariant: never a panic and never an invented value, whatever the bytes; what does not parse is
//! absent. Text is kept raw, at most 256 bytes: escaping is the encoder's work.

pub mod acl;
pub mod clients;
pub mod cluster;
pub mod config;
mod fold;
pub mod info;
pub mod latency;
pub mod module;
pub mod role;
pub mod sentinel;
pub mod shards;
pub mod slowlog;
mod table;

use redis::Value;

/// Longest text kept of a reply, bytes: a label value may not be longer.
pub const TEXT_MAX: usize = 256;

/// Reads replies that lie in memory as a server sent them, to their end: the reader and the budgets
/// of a connection, for captured replies and for fuzzing.
///
/// # Errors
/// `TooLarge`, `Protocol`, or `Reset` when the last reply is not whole.
pub fn replies(raw: &[u8]) -> Result<Vec<Value>, crate::Error> {
    use crate::resp::Fault;
    use model::reading::Reason;
    crate::resp::read_all(raw, crate::pipeline::INFO_BYTES_MAX).map_err(|fault| match fault {
        Fault::TooLarge(what) => crate::Error::new(Reason::TooLarge, what),
        Fault::Protocol(what) => crate::Error::new(Reason::Protocol, what),
        Fault::Closed | Fault::Io(_) => crate::Error::new(Reason::Reset, "ends within a reply"),
    })
}

/// The bytes of a bulk or simple string.
pub fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(b) => Some(b),
        Value::SimpleString(s) => Some(s.as_bytes()),
        Value::Okay => Some(b"OK"),
        _ => None,
    }
}

/// A string of the reply as text, invalid UTF-8 replaced, at most 256 bytes.
pub fn text(value: &Value) -> Option<String> {
    bytes(value).map(cut)
}

/// A number of the reply: an integer, or a string that holds one.
pub fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Int(i) => Some(*i as f64),
        other => parse_number(bytes(other)?),
    }
}

/// The elements of an array.
pub fn items(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// The server's error line when the value is one.
pub fn error(value: &Value) -> Option<String> {
    match value {
        Value::ServerError(e) => Some(crate::error::clean(&crate::error::line_of(e))),
        _ => None,
    }
}

/// Text of at most 256 bytes. Text that is longer, or not UTF-8, is cut at a character and ends in `~`
/// and a hash of all of it: two names that differ stay two names.
pub fn cut(raw: &[u8]) -> String {
    if raw.len() <= TEXT_MAX
        && let Ok(text) = std::str::from_utf8(raw)
    {
        return text.to_string();
    }
    let mut text = String::from_utf8_lossy(&raw[..raw.len().min(TEXT_MAX)]).into_owned();
    while text.len() > TEXT_MAX - MARK_LEN {
        text.pop();
    }
    // FNV-1a of 64 bits: of names that differ by accident none meet. Who makes two meet on purpose
    // merges two names of his own.
    let hash = raw.iter().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    format!("{text}~{hash:016x}")
}

/// Length of `~` and a hash.
const MARK_LEN: usize = 17;

/// A decimal number; plain digits take the short way.
pub(crate) fn parse_number(raw: &[u8]) -> Option<f64> {
    if (1..=15).contains(&raw.len()) && raw.iter().all(u8::is_ascii_digit) {
        return Some(raw.iter().fold(0u64, |n, b| n * 10 + u64::from(b - b'0')) as f64);
    }
    let parsed: f64 = std::str::from_utf8(raw).ok()?.parse().ok()?;
    parsed.is_finite().then_some(parsed)
}

/// `host:port` from its parts, IPv6 in brackets.
pub(crate) fn join_address(host: &str, port: &str) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

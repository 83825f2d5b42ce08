//! CONFIG GET *.
//!
//! Invariant: the value of a parameter that may hold a secret never leaves this parser.

use model::detail::MASKED;
use redis::Value;

use super::{bytes, cut, items};

/// Parameters kept of one reply; Redis 8 has 250, modules add some.
const PARAMETERS_MAX: usize = 512;

/// (name, value) by name, each name once; none when the reply is not one. Values of passwords are
/// `***`, empty ones stay empty.
pub fn read(value: &Value) -> Option<Vec<(String, String)>> {
    let flat = items(value)?;
    let mut out: Vec<(String, String)> = flat
        .chunks_exact(2)
        .take(PARAMETERS_MAX)
        .filter_map(|pair| {
            let name = cut(bytes(&pair[0])?);
            let value = bytes(&pair[1])?;
            let shown =
                if is_secret(&name) && !value.is_empty() { MASKED.into() } else { cut(value) };
            Some((name, shown))
        })
        .collect();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out.dedup_by(|later, first| later.0 == first.0);
    Some(out)
}

/// By name, so that a password a future version adds is covered: `requirepass`, `masterauth`,
/// `primaryauth`, `tls-key-file-pass`, `sentinel-pass`, `auth-pass` and their kin.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("pass")
        || name.ends_with("auth")
        || name.contains("secret")
        || name.contains("token")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_kept_and_whether_one_is_set_is() {
        let flat = [
            "requirepass",
            "hunter2",
            "masterauth",
            "",
            "primaryauth",
            "hunter2",
            "hz",
            "10",
            "tls-key-file-pass",
            "hunter2",
            "tls-auth-clients",
            "yes",
            "save",
            "3600 1",
        ];
        let words = flat.iter().map(|w| Value::BulkString(w.as_bytes().to_vec())).collect();
        let read = read(&Value::Array(words)).unwrap();
        assert!(!format!("{read:?}").contains("hunter2"));
        let get = |name: &str| read.iter().find(|p| p.0 == name).unwrap().1.as_str();
        assert_eq!((get("requirepass"), get("masterauth")), (MASKED, ""));
        assert_eq!((get("hz"), get("save"), get("tls-auth-clients")), ("10", "3600 1", "yes"));
        assert!(read.windows(2).all(|w| w[0].0 < w[1].0));
    }
}

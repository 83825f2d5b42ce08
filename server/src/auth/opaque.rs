//! Random values that prove something to whoever holds them: session, setup and bearer tokens.
//!
//! Invariant: 256 bits from the operating system; kept and compared only as SHA-256; the form token
//! of a session is derived from its cookie, so it is stored nowhere. Refuses to know HTTP.

use sha2::{Digest, Sha256};

/// A fresh value: 64 hex digits.
pub fn fresh() -> String {
    let mut bytes = [0u8; 32];
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    hex::encode(bytes)
}

/// What is kept of a value.
pub fn hash(value: &str) -> String {
    hex::encode(Sha256::digest(value.as_bytes()))
}

/// The form token of the session with this cookie: knowing it does not give the cookie.
pub fn csrf(cookie: &str) -> String {
    hash(&format!("cachewarden form token\n{cookie}"))
}

/// Compares without telling by time where the difference is.
pub fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

/// A bearer token in its parts.
#[derive(Debug, PartialEq, Eq)]
pub struct Bearer<'a> {
    /// Public part: finds the row.
    pub id: &'a str,
    /// The whole text: its hash is compared.
    pub whole: &'a str,
}

/// A fresh bearer token: (id, `cw_<id>_<secret>`).
pub fn fresh_bearer() -> (String, String) {
    let random = fresh();
    let id = random[..16].to_string();
    let token = format!("cw_{id}_{}", fresh());
    (id, token)
}

/// Reads `cw_<id>_<secret>`; `None` when it has another form.
pub fn bearer(text: &str) -> Option<Bearer<'_>> {
    let (id, secret) = text.strip_prefix("cw_")?.split_once('_')?;
    let hex = |s: &str| s.bytes().all(|b| b.is_ascii_hexdigit());
    (id.len() == 16 && secret.len() == 64 && hex(id) && hex(secret))
        .then_some(Bearer { id, whole: text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_round_trips_and_other_texts_are_none() {
        let (id, token) = fresh_bearer();
        assert_eq!(bearer(&token), Some(Bearer { id: &id, whole: &token }));
        for bad in ["", "cw_", "cw_a_b", &token[..80], &format!("{token}0"), &token[3..]] {
            assert_eq!(bearer(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn the_form_token_is_bound_to_its_cookie_and_does_not_hold_it() {
        let (a, b) = (fresh(), fresh());
        assert_ne!(csrf(&a), csrf(&b));
        assert!(!csrf(&a).contains(&a[..8]));
        assert_ne!(csrf(&a), hash(&a), "the kept hash must not be shown in a page");
    }

    #[test]
    fn two_values_are_the_same_only_when_every_byte_is() {
        assert!(same("abc", "abc"));
        assert!(!same("abc", "abd") && !same("abc", "ab") && !same("", "a"));
    }
}

//! The cookies we set and read.
//!
//! Invariant: the session cookie is out of reach of scripts, of plain HTTP beyond loopback and of
//! other hosts (`__Host-`); the two others hold words from a closed set.

use axum::http::HeaderMap;
use axum::http::header::COOKIE;

/// Name of the session cookie.
pub const SESSION: &str = "__Host-cw";
/// Chosen language.
pub const LANG: &str = "cw_lang";
/// Chosen colours.
pub const THEME: &str = "cw_theme";

/// A year: how long a choice of language or colours is remembered.
const YEAR_S: u32 = 31_536_000;

/// The value of cookie `name`; the first one when a client sends several.
pub fn get<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|line| line.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value)
}

/// `Set-Cookie` of a new session. Lax, not Strict: a link in a mail must find its reader signed in.
pub fn session(token: &str) -> String {
    format!("{SESSION}={token}; Path=/; HttpOnly; Secure; SameSite=Lax")
}

/// `Set-Cookie` that removes the session.
pub fn session_gone() -> String {
    format!("{SESSION}=; Path=/; HttpOnly; Secure; SameSite=Lax; Max-Age=0")
}

/// `Set-Cookie` of a choice.
pub fn choice(name: &str, value: &str) -> String {
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={YEAR_S}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn a_cookie_is_found_among_others_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("x__Host-cw=no; a=1; __Host-cw=yes"));
        assert_eq!(get(&headers, SESSION), Some("yes"));
        assert_eq!(get(&headers, "cw_lang"), None);
    }

    #[test]
    fn the_session_cookie_meets_the_rules_of_its_prefix() {
        let line = session("t");
        for part in ["Path=/", "HttpOnly", "Secure", "SameSite=Lax"] {
            assert!(line.contains(part), "{part}");
        }
        assert!(!line.contains("Domain"), "__Host- forbids a domain");
    }
}

//! Whether a change was asked for by a page of ours.
//!
//! Invariant: a browser's change passes only when the browser itself says it comes from our origin;
//! silence is a refusal. Refuses to know sessions and forms: the token is checked beside it.

use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN};

/// What the headers say of where a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A page of ours.
    Ours,
    /// A page of somebody else.
    Foreign,
    /// Nothing is said: not a browser, or a very old one.
    Silent,
}

/// Reads `Origin` and `Sec-Fetch-Site`. Ours is the public URL, and the host the client itself
/// addressed (localhost and 127.0.0.1 are two names of one portal).
pub fn source(headers: &HeaderMap, public_url: &str) -> Source {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let site = text("sec-fetch-site");
    if site.is_some_and(|s| s != "same-origin") {
        return Source::Foreign;
    }
    match text(ORIGIN.as_str()) {
        None if site.is_some() => Source::Ours,
        None => Source::Silent,
        Some(origin) if is_ours(origin, public_url, text(HOST.as_str())) => Source::Ours,
        Some(_) => Source::Foreign,
    }
}

fn is_ours(origin: &str, public_url: &str, host: Option<&str>) -> bool {
    let public = public_url.trim_end_matches('/');
    let authority = origin.split_once("://").map(|(_, a)| a);
    origin.eq_ignore_ascii_case(public)
        || authority.is_some_and(|a| host.is_some_and(|h| a.eq_ignore_ascii_case(h)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pairs: &[(&'static str, &'static str)]) -> Source {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap());
        }
        source(&headers, "https://cw.example.org/")
    }

    #[test]
    fn only_our_own_origin_is_ours() {
        assert_eq!(said(&[("origin", "https://cw.example.org")]), Source::Ours);
        assert_eq!(
            said(&[("origin", "http://127.0.0.1:9"), ("host", "127.0.0.1:9")]),
            Source::Ours
        );
        assert_eq!(said(&[("sec-fetch-site", "same-origin")]), Source::Ours);
        assert_eq!(said(&[]), Source::Silent);
        for foreign in [
            &[("origin", "https://evil.example")][..],
            &[("origin", "null")],
            &[("origin", "https://cw.example.org.evil.example")],
            &[("origin", "http://cw.example.org")],
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site"), ("origin", "https://cw.example.org")],
            &[("origin", "http://127.0.0.1:8"), ("host", "127.0.0.1:9")],
        ] {
            assert_eq!(said(foreign), Source::Foreign, "{foreign:?}");
        }
    }
}

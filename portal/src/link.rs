//! Links of the portal: the query of the present page with one parameter changed, and which targets
//! that came out of data may be followed.
//!
//! Invariant: a link out of data is relative to this site, `http:` or `https:`, or it is no link.

/// `path?query` with parameter `name` set to `value`, or removed when `None`. The page cursor is
/// dropped whenever something else changes: it belongs to the old list.
pub(crate) fn with(path: &str, query: &str, name: &str, value: Option<&str>) -> String {
    let mut pairs: Vec<String> = query
        .split('&')
        .filter(|pair| {
            let key = pair.split('=').next().unwrap_or_default();
            !pair.is_empty() && key != name && (key != "page" || keeps_cursor(name))
        })
        .map(str::to_owned)
        .collect();
    if let Some(value) = value {
        pairs.push(format!("{name}={}", encode(value)));
    }
    let path = if local(path) { path } else { "/" };
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// Whether a change of `name` leaves the rows of a list as they are.
fn keeps_cursor(name: &str) -> bool {
    matches!(name, "lang" | "theme" | "live")
}

/// Value of parameter `name` in a raw query, percent-decoded; empty when absent.
pub(crate) fn param(query: &str, name: &str) -> String {
    query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, value)| decode(value))
        .unwrap_or_default()
}

/// Percent-encodes everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for b in text.bytes() {
        match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                out.push(char::from(b));
            }
            _ => out.push_str(&format!("%{b:02X}")),
        }
    }
    out
}

fn decode(text: &str) -> String {
    let hex = |b: u8| char::from(b).to_digit(16);
    let bytes = text.as_bytes();
    let (mut out, mut i) = (Vec::with_capacity(bytes.len()), 0);
    while i < bytes.len() {
        let pair =
            (bytes.get(i + 1).copied().and_then(hex), bytes.get(i + 2).copied().and_then(hex));
        match (bytes[i], pair) {
            (b'%', (Some(high), Some(low))) => {
                out.push((high * 16 + low) as u8);
                i += 2;
            }
            (b'+', _) => out.push(b' '),
            (b, _) => out.push(b),
        }
        i += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Whether `target` stays on this site: one leading slash, nothing a browser reads as a host.
fn local(target: &str) -> bool {
    target.starts_with('/')
        && !target.starts_with("//")
        && !target.contains(['\\', '\n', '\r', '\t'])
}

/// The target as it may stand in `href`; `None` when it must not be followed.
pub(crate) fn safe(target: &str) -> Option<&str> {
    let clean = !target.chars().any(|c| c.is_control() || c == '\\');
    let lower = target.get(..8).unwrap_or(target).to_ascii_lowercase();
    let web = lower.starts_with("http://") || lower.starts_with("https://");
    (clean && (local(target) || web || target.starts_with('#'))).then_some(target)
}

/// The page of what an operation changes: a service, or the zone that is filed under the id.
pub(crate) fn about(service: &str) -> String {
    let zone = service.strip_prefix(model::batch::ZONE_TENANT).and_then(|s| s.strip_prefix('.'));
    match zone {
        Some(zone) => format!("/zones/{}/loss", encode(zone)),
        None => format!("/services/{}", encode(service)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changing_a_parameter_keeps_the_others_and_drops_the_cursor_of_the_old_list() {
        let q = "q=mem%3E80&sort=-mem&page=abc";
        assert_eq!(with("/s", q, "sort", Some("name")), "/s?q=mem%3E80&sort=name");
        assert_eq!(
            with("/s", q, "lang", Some("zh-CN")),
            "/s?q=mem%3E80&sort=-mem&page=abc&lang=zh-CN"
        );
        assert_eq!(with("/s", "live=15", "live", None), "/s");
        assert_eq!(with("//evil.example/", "", "live", Some("15")), "/?live=15");
    }

    #[test]
    fn only_relative_and_web_targets_are_links() {
        for good in ["/services/pay.cart", "https://runbooks.example/x", "HTTP://a", "#top"] {
            assert_eq!(safe(good), Some(good));
        }
        for bad in [
            "javascript:alert(1)",
            "//evil.example",
            "/\\evil",
            "data:text/html,x",
            "java\nscript:",
            "",
        ] {
            assert_eq!(safe(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_parameter_is_decoded() {
        assert_eq!(param("a=1&q=mem%3E80+%E6%94%AF%zz", "q"), "mem>80 支%zz");
        assert_eq!(param("a=1", "q"), "");
    }
}

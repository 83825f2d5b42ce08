//! MODULE LIST and the section `Modules` of INFO.

use model::detail::Module;
use redis::Value;

use super::{bytes, cut, items, number, parse_number};

/// Modules kept of one reply; a Redis with all of its own has 8.
const MODULES_MAX: usize = 64;

/// The modules of MODULE LIST; none when the reply is not one.
pub fn list(value: &Value) -> Option<Vec<Module>> {
    items(value)?.iter().take(MODULES_MAX).map(one).collect()
}

fn one(value: &Value) -> Option<Module> {
    let (mut name, mut version) = (None, None);
    for pair in items(value)?.chunks_exact(2) {
        match bytes(&pair[0]) {
            Some(b"name") => name = bytes(&pair[1]).map(cut),
            Some(b"ver") => version = number(&pair[1]),
            _ => {}
        }
    }
    Some(Module { name: name?.into(), version: version?, links: Default::default() })
}

/// The lines `module:name=…,ver=…,api=…,filters=…,usedby=[…],using=[…],options=[…]` of INFO modules.
pub fn info(raw: &[u8]) -> Vec<Module> {
    let lines = super::info::lines(raw).filter_map(|l| l.strip_prefix(b"module:"));
    lines.take(MODULES_MAX).filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Module> {
    let (mut name, mut version) = (None, None);
    let mut links: [Box<str>; 4] = Default::default();
    let mut rest = line;
    while !rest.is_empty() {
        let (pair, after) = pair(rest);
        rest = after;
        let Some(equals) = memchr::memchr(b'=', pair) else { continue };
        let value = &pair[equals + 1..];
        let link = match &pair[..equals] {
            b"name" => {
                name = Some(cut(value));
                continue;
            }
            b"ver" => {
                version = parse_number(value);
                continue;
            }
            b"api" => 0,
            b"filters" => 1,
            b"usedby" => 2,
            b"using" => 3,
            _ => continue,
        };
        links[link] = cut(value).into();
    }
    Some(Module { name: name?.into(), version: version?, links })
}

/// The text up to the next comma outside of brackets, and what follows it.
fn pair(raw: &[u8]) -> (&[u8], &[u8]) {
    let mut open = false;
    for (at, byte) in raw.iter().enumerate() {
        match byte {
            b'[' => open = true,
            b']' => open = false,
            b',' if !open => return (&raw[..at], &raw[at + 1..]),
            _ => {}
        }
    }
    (raw, &[])
}

/// Numbers of INFO modules whose names are in `wanted` (name in the reply, metric name), in the order
/// of `wanted`; the first value of a name counts.
pub fn values(raw: &[u8], wanted: &[(&str, &'static str)]) -> Vec<(&'static str, f64)> {
    let mut found: Vec<Option<f64>> = vec![None; wanted.len()];
    for line in super::info::lines(raw) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        let at = wanted.iter().position(|(name, _)| name.as_bytes() == &line[..colon]);
        if let Some(at) = at
            && found[at].is_none()
        {
            found[at] = parse_number(&line[colon + 1..]);
        }
    }
    wanted.iter().zip(found).filter_map(|((_, metric), n)| Some((*metric, n?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_line_is_read_with_commas_in_its_lists() {
        let raw = b"# Modules\r\nmodule:name=vectorset,ver=1,api=1,filters=0,usedby=[a,b],using=[],options=[x|y]\r\n";
        let read = info(raw);
        assert_eq!((&*read[0].name, read[0].version), ("vectorset", 1.0));
        assert_eq!(read[0].links, ["1", "0", "[a,b]", "[]"].map(Box::<str>::from));
        assert!(info(b"module:ver=1\r\nmodule:\r\n").is_empty());
    }

    #[test]
    fn values_come_under_the_names_asked_for_and_the_first_counts() {
        let raw = b"search_a:5\r\nsearch_a:6\r\nsearch_b:x\r\nother:1\r\n";
        let wanted = [("search_a", "redis_search_a"), ("search_b", "redis_search_b")];
        assert_eq!(values(raw, &wanted), [("redis_search_a", 5.0)]);
    }
}

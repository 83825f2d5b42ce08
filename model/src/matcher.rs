//! Matchers of silences and of inhibition rules, compiled, and what is wrong with some.
//!
//! Invariant: as Alertmanager's: a regular expression matches the whole value, a label that is not
//! there is the empty text, all matchers must hold.

use std::collections::BTreeMap;

use regex::{Regex, RegexBuilder};

use crate::silence::{MATCHERS_MAX, Matcher, TEXT_MAX};

/// Longest compiled expression, bytes: it is a person's, and runs for every alert.
const REGEX_SIZE_MAX: usize = 100_000;

/// Compiled matchers.
#[derive(Debug, Clone)]
pub struct Matchers(Vec<Compiled>);

#[derive(Debug, Clone)]
struct Compiled {
    name: String,
    test: Test,
    equal: bool,
}

#[derive(Debug, Clone)]
enum Test {
    Is(String),
    Like(Regex),
}

impl Matchers {
    /// Compiles them; an error names the matcher and what is wrong with it.
    pub fn compile(matchers: &[Matcher]) -> Result<Matchers, String> {
        let one = |m: &Matcher| {
            let test = match m.is_regex {
                false => Test::Is(m.value.clone()),
                true => {
                    let whole = format!("^(?:{})$", m.value);
                    let built = RegexBuilder::new(&whole).size_limit(REGEX_SIZE_MAX).build();
                    Test::Like(built.map_err(|e| format!("{m}: {e}"))?)
                }
            };
            Ok(Compiled { name: m.name.clone(), test, equal: m.is_equal })
        };
        Ok(Matchers(matchers.iter().map(one).collect::<Result<_, String>>()?))
    }

    /// Whether all of them hold.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|m| {
            let value = labels.get(&m.name).map_or("", String::as_str);
            let hit = match &m.test {
                Test::Is(text) => text == value,
                Test::Like(regex) => regex.is_match(value),
            };
            hit == m.equal
        })
    }
}

/// What is wrong with the matchers of a silence, in words.
pub fn check(matchers: &[Matcher]) -> Result<(), String> {
    if matchers.is_empty() || matchers.len() > MATCHERS_MAX {
        return Err(format!("1 to {MATCHERS_MAX} matchers"));
    }
    for m in matchers {
        if !is_label_name(&m.name) {
            return Err(format!("{:?} is no label name", m.name));
        }
        if m.value.chars().count() > TEXT_MAX {
            return Err(format!("{}: at most {TEXT_MAX} characters", m.name));
        }
    }
    let each = matchers.iter().map(|m| Matchers::compile(std::slice::from_ref(m)));
    let each = each.collect::<Result<Vec<_>, _>>()?;
    // One that an alert without labels meets is met by every alert there will ever be.
    match each.iter().all(|m| m.matches(&BTreeMap::new())) {
        true => Err("at least one matcher must need a label that is not empty".into()),
        false => Ok(()),
    }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`
pub fn is_label_name(name: &str) -> bool {
    let fine = |c: u8| c.is_ascii_alphanumeric() || c == b'_';
    !name.is_empty() && !name.as_bytes()[0].is_ascii_digit() && name.bytes().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(text: &str, labels: &[(&str, &str)]) -> bool {
        let labels = labels.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        Matchers::compile(&[Matcher::parse(text).unwrap()]).unwrap().matches(&labels)
    }

    #[test]
    fn matchers_hold_as_alertmanagers_do() {
        let labels = [("a", "bc")];
        for (text, hit) in [
            ("a=bc", true),
            ("a=b", false),
            ("a!=b", true),
            ("a=~b", false),
            ("a=~b.", true),
            ("a=~x|bc", true),
            ("a!~b.*", false),
            ("z=", true),
            ("z!=", false),
            ("z=~.*", true),
        ] {
            assert_eq!(matches(text, &labels), hit, "{text}");
        }
    }

    #[test]
    fn a_silence_that_would_mute_everything_or_cannot_be_read_is_refused() {
        let said = |texts: &[&str]| {
            let all: Vec<Matcher> = texts.iter().map(|t| Matcher::parse(t).unwrap()).collect();
            check(&all)
        };
        assert!(said(&["a=b"]).is_ok() && said(&["a=~.*", "b=c"]).is_ok());
        for bad in [&[][..], &["a=~.*"], &["a!=b"], &["a=~("], &["a-b=c"], &["a="]] {
            assert!(said(bad).is_err(), "{bad:?}");
        }
    }
}

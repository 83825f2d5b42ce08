//! A silence: alerts with these labels are not told to people until its end. The shape is
//! Alertmanager's, whoever keeps it.
//!
//! Invariant: what a silence reaches is bounded by equality matchers on `tenant`, `system` and
//! `service`; its scope is read from them, and from nothing else. Refuses to know regular
//! expressions: who matches compiles them.

use serde::{Deserialize, Serialize};

use crate::At;
use crate::right::Scope;

/// Matchers of one silence.
pub const MATCHERS_MAX: usize = 32;
/// Longest name, value and comment, characters.
pub const TEXT_MAX: usize = 1_000;
/// The longest silence, a year.
pub const LENGTH_MAX_MS: i64 = 366 * 86_400_000;

/// A condition on a label; one the alert lacks is the empty text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Matcher {
    /// Label.
    pub name: String,
    /// Text, or regular expression of the whole value.
    pub value: String,
    /// The value is a regular expression.
    #[serde(default)]
    pub is_regex: bool,
    /// It must match; false: it must not.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl Matcher {
    /// `name="value"`.
    pub fn equal(name: &str, value: &str) -> Matcher {
        Matcher { name: name.into(), value: value.into(), is_regex: false, is_equal: true }
    }

    /// From `name=value`, `name!=value`, `name=~regex` or `name!~regex`; quotes around the value
    /// are taken off.
    pub fn parse(text: &str) -> Result<Matcher, String> {
        let wrong = || format!("{text:?}: expected NAME=VALUE, NAME!=VALUE, NAME=~RE or NAME!~RE");
        let split = text.find(['=', '!']).ok_or_else(wrong)?;
        let (name, rest) = (text[..split].trim(), &text[split..]);
        let (op, value) = ["=~", "!~", "!=", "="]
            .into_iter()
            .find_map(|op| Some((op, rest.strip_prefix(op)?)))
            .ok_or_else(wrong)?;
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        let matcher = Matcher {
            name: name.into(),
            value: bare.into(),
            is_regex: op.ends_with('~'),
            is_equal: op.starts_with('='),
        };
        if name.is_empty() { Err(wrong()) } else { Ok(matcher) }
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let op = match (self.is_equal, self.is_regex) {
            (true, false) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (false, true) => "!~",
        };
        write!(f, "{}{op}{:?}", self.name, self.value)
    }
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Silence {
    /// Id, the keeper's.
    pub id: String,
    /// All of them must hold.
    pub matchers: Vec<Matcher>,
    /// Begin.
    pub starts_at: At,
    /// End.
    pub ends_at: At,
    /// Who made it.
    pub created_by: String,
    /// Why.
    pub comment: String,
    /// Alertmanager that keeps it; empty: we do.
    #[serde(default)]
    pub keeper: String,
}

impl Silence {
    /// Whether it is the same wish, kept by another Alertmanager.
    pub fn is_twin(&self, other: &Silence) -> bool {
        let wish = |s: &Silence| {
            let mut matchers = s.matchers.clone();
            matchers.sort_unstable();
            (matchers, s.ends_at, s.created_by.clone(), s.comment.clone())
        };
        self.id == other.id || wish(self) == wish(other)
    }

    /// `pending`, `active` or `expired`.
    pub fn state(&self, now: At) -> &'static str {
        match now {
            now if now >= self.ends_at => "expired",
            now if now < self.starts_at => "pending",
            _ => "active",
        }
    }

    /// What it is bounded to by its equality matchers. A system or a service without its tenant is
    /// bounded by nothing: their labels are slugs, and another tenant may have the same.
    pub fn scope(&self) -> Scope {
        let of = |name: &str| {
            let mut own = self.matchers.iter().filter(|m| m.name == name);
            own.find(|m| m.is_equal && !m.is_regex).map(|m| m.value.as_str())
        };
        let Some(tenant) = of("tenant").and_then(|t| t.parse::<crate::TenantId>().ok()) else {
            return Scope::Platform;
        };
        let whole = |slug: &str| format!("{tenant}.{slug}");
        if let Some(service) = of("service").and_then(|s| whole(s).parse().ok()) {
            return Scope::Service(service);
        }
        match of("system").and_then(|s| whole(s).parse().ok()) {
            Some(system) => Scope::System(system),
            None => Scope::Tenant(tenant),
        }
    }
}

/// The matchers that keep a silence inside `scope`.
pub fn bounds(scope: &Scope) -> Vec<Matcher> {
    let slug = |id: &str| id.split_once('.').map_or(id, |(_, slug)| slug).to_string();
    match scope {
        Scope::Platform => Vec::new(),
        Scope::Tenant(t) => vec![Matcher::equal("tenant", t.as_str())],
        Scope::System(s) => vec![
            Matcher::equal("tenant", s.tenant().as_str()),
            Matcher::equal("system", &slug(s.as_str())),
        ],
        Scope::Service(s) => vec![
            Matcher::equal("tenant", s.tenant().as_str()),
            Matcher::equal("service", &slug(s.as_str())),
        ],
    }
}

/// A silence in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SilenceItem {
    /// The silence.
    #[serde(flatten)]
    pub silence: Silence,
    /// Its matchers as text.
    pub text: String,
    /// What it is bounded to.
    pub scope: String,
    /// `pending`, `active` or `expired`.
    pub state: String,
    /// Alerts that fire and are silenced by it, of those the caller may see.
    pub alerts: u32,
    /// The caller may expire it.
    pub expirable: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn silence(matchers: Vec<Matcher>) -> Silence {
        let (id, created_by, comment, keeper) = Default::default();
        let (starts_at, ends_at) = (At::from_ms(1), At::from_ms(2));
        Silence { id, matchers, starts_at, ends_at, created_by, comment, keeper }
    }

    #[test]
    fn the_scope_of_a_silence_is_what_its_equality_matchers_bound_it_to() {
        for scope in ["platform", "tenant:pay", "system:pay.shop", "service:pay.cart"] {
            let scope = Scope::try_from(scope.to_string()).unwrap();
            assert_eq!(silence(bounds(&scope)).scope(), scope);
        }
        for (loose, scope) in [
            (Matcher::parse("tenant=~pay").unwrap(), Scope::Platform),
            (Matcher::parse("tenant!=pay").unwrap(), Scope::Platform),
            (Matcher::parse("service=cart").unwrap(), Scope::Platform),
        ] {
            assert_eq!(silence(vec![loose.clone()]).scope(), scope, "{loose}");
        }
    }

    #[test]
    fn a_matcher_round_trips_through_its_text() {
        for text in [r#"a="b""#, r#"a!="b""#, r#"a=~"b.*""#, r#"a!~"b|c""#, r#"a="""#] {
            assert_eq!(Matcher::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Matcher::parse("a = b").unwrap(), Matcher::equal("a", "b"));
        for bad in ["", "a", "=b", "a!b"] {
            assert!(Matcher::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_silence_in_alertmanagers_form_is_read_also_from_before_isequal() {
        let old: Matcher =
            serde_json::from_str(r#"{"name": "a", "value": "b", "isRegex": false}"#).unwrap();
        assert_eq!(old, Matcher::equal("a", "b"));
    }
}

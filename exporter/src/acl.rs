//! The least access a monitor user needs, as the server's own ACL rules.
//!
//! Invariant: made from the very commands that polls are made of, for that engine and version, so it
//! cannot fall behind them and holds nothing else: no keys, no categories, no command without its
//! subcommand where the server can tell them apart. Refuses to know passwords: it takes a hash.

mod proof;

use std::collections::BTreeSet;

use model::adopt::AclText;
use model::reading::Text;
use model::service::InstanceKind;

use crate::ability::Ability;
use crate::tier::Wishes;
use crate::{Config, ask, tier};

pub use proof::{Proof, Unproved, prove};

/// Commands that are a family; the server grants their members one by one.
const FAMILIES: [&str; 9] = [
    "acl",
    "client",
    "cluster",
    "commandlog",
    "config",
    "latency",
    "module",
    "sentinel",
    "slowlog",
];
/// Stands for a hash nobody gave.
const NO_HASH: &str = "<sha256 of the password>";

/// For whom.
#[derive(Debug, Clone, Copy)]
pub struct Monitor<'a> {
    /// Name of the user.
    pub user: &'a str,
    /// SHA-256 of its password, hex; empty: a placeholder.
    pub password_sha256: &'a str,
    /// Data node or Sentinel.
    pub kind: InstanceKind,
    /// Part of a cluster.
    pub cluster: bool,
    /// Channels it listens to, when it is a Sentinel.
    pub channels: &'a [&'a str],
}

/// The rules for a server that says `text` of itself; says why when such a server has no ACL.
pub fn acl(monitor: Monitor<'_>, text: &Text, config: &Config) -> Result<AclText, String> {
    let able = Ability::of(text, monitor.kind);
    let sentinel = monitor.kind == InstanceKind::Sentinel;
    let engine = match text.valkey_version.as_str() {
        "" => format!("redis {}", text.version),
        valkey => format!("valkey {valkey}"),
    };
    let least = if sentinel { (6, 2) } else { (6, 0) };
    if !able.at_least(least) {
        let (major, minor) = least;
        let what = if sentinel { "Sentinels" } else { "servers" };
        return Err(format!(
            "{engine}: {what} have users since {major}.{minor}; before that there is one password \
             for everybody (requirepass)"
        ));
    }
    let hash = if monitor.password_sha256.is_empty() { NO_HASH } else { monitor.password_sha256 };
    let mut rules = vec!["on".to_string(), format!("#{hash}")];
    if able.at_least((6, 2)) {
        rules.push("resetchannels".into());
        let heard = if sentinel { monitor.channels } else { &[] };
        rules.extend(heard.iter().map(|channel| format!("&{channel}")));
    }
    rules.push("-@all".into());
    let words = granted(monitor, able, config);
    let notes = notes(&words);
    rules.extend(words.iter().map(|word| format!("+{word}")));
    let (user, rules) = (monitor.user, rules.join(" "));
    Ok(AclText {
        kind: monitor.kind,
        engine,
        setuser: format!("ACL SETUSER {user} reset {rules}"),
        file: format!("user {user} {rules}"),
        notes,
    })
}

/// Commands in the form of ACL rules: `info`, `slowlog|get`.
fn granted(monitor: Monitor<'_>, able: Ability, config: &Config) -> BTreeSet<String> {
    let mut asked = ask::every(monitor.kind, monitor.cluster);
    asked.extend(tier::every(able, Wishes::of(config), monitor.cluster));
    let mut words: BTreeSet<String> = asked.iter().map(|words| rule(words)).collect();
    if monitor.kind == InstanceKind::Sentinel && !monitor.channels.is_empty() {
        words.insert("subscribe".into());
    }
    words
}

fn rule(words: &[String]) -> String {
    let lower = |i: usize| words.get(i).map(|w| w.to_ascii_lowercase()).unwrap_or_default();
    let name = lower(0);
    match FAMILIES.contains(&name.as_str()) {
        true => format!("{name}|{}", lower(1)),
        false => name,
    }
}

fn notes(words: &BTreeSet<String>) -> Vec<String> {
    let mut notes = vec![
        "paste it at the prompt of redis-cli or into the file; a shell reads # and & itself".into(),
    ];
    for (word, note) in [
        (
            "config|get",
            "config|get also shows requirepass and masterauth to whoever has the password",
        ),
        ("acl|list", "acl|list shows the hashes of all passwords"),
        ("slowlog|get", "slowlog|get shows arguments of slow commands"),
        ("sentinel|config", "sentinel|config holds SET too; servers cannot grant GET alone"),
    ] {
        if words.contains(word) {
            notes.push(format!("{note}; without it that part is missing and named so"));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(
        kind: InstanceKind,
        cluster: bool,
        redis: &str,
        valkey: &str,
    ) -> Result<String, String> {
        let text = Text { version: redis.into(), valkey_version: valkey.into(), ..Text::default() };
        let channels = ["+switch-master"];
        let monitor =
            Monitor { user: "cw", password_sha256: "", kind, cluster, channels: &channels };
        acl(monitor, &text, &Config::default()).map(|a| a.setuser)
    }

    #[test]
    fn each_engine_gets_the_commands_it_has_and_no_category_and_no_key() {
        let data = InstanceKind::Redis;
        let seven = made(data, false, "7.0.15", "").unwrap();
        assert!(seven.starts_with("ACL SETUSER cw reset on #<sha256"), "{seven}");
        for rule in ["+ping", "+info", "+role", "+slowlog|get", "+latency|latest", "+config|get"] {
            assert!(seven.contains(rule), "{rule} in {seven}");
        }
        assert!(!seven.contains('~') && !seven.contains("+@") && !seven.contains("cluster|"));
        assert!(!seven.contains("commandlog|"), "{seven}");
        assert!(made(data, true, "7.0.15", "").unwrap().contains("+cluster|shards"));
        assert!(!made(data, true, "6.2.14", "").unwrap().contains("+cluster|shards"));
        assert!(made(data, false, "7.2.4", "8.1.1").unwrap().contains("+commandlog|len"));
        assert!(!made(data, false, "6.0.20", "").unwrap().contains("channels"));
        assert!(made(data, false, "5.0.14", "").unwrap_err().contains("requirepass"));
    }

    #[test]
    fn a_sentinel_may_be_asked_and_listened_to_and_nothing_more() {
        let rules = made(InstanceKind::Sentinel, false, "7.0.15", "").unwrap();
        for rule in ["+sentinel|masters", "+sentinel|slaves", "+subscribe", "&+switch-master"] {
            assert!(rules.contains(rule), "{rule} in {rules}");
        }
        for never in ["+sentinel|failover", "+sentinel|set", "+slowlog", "allchannels", "&*"] {
            assert!(!rules.contains(never), "{never} in {rules}");
        }
        assert!(made(InstanceKind::Sentinel, false, "6.0.20", "").is_err());
    }
}

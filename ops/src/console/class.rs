//! Which class a command line is of.
//!
//! Invariants: what nobody has classed is forbidden; our overlay wins over the server's table, and a
//! subcommand counts as a command of its own; arguments that turn a read into something else (blocking,
//! storing, walking through other keys) change its class.

use super::table::{Spec, Table};

/// Elements a read may answer; a size probe stands before those that could answer more.
pub const ELEMENTS_MAX: u64 = 10_000;
/// Bytes of one string that is read whole.
pub const BYTES_MAX: u64 = 1 << 20;
/// Keys of one read: each may be large.
const KEYS_MAX: usize = 100;
/// COUNT of one SCAN: beyond it the server is held up.
const SCAN_COUNT_MAX: u64 = 1_000;

/// Class of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Reads little.
    Read,
    /// Reads as much as there is: asked for its size first.
    Bounded,
    /// Writes.
    Write,
    /// Disrupts.
    Dangerous,
    /// Only as an operation.
    Operation,
    /// Never.
    Forbidden,
}

impl Class {
    /// As written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::Read => "read",
            Class::Bounded => "bounded",
            Class::Write => "write",
            Class::Dangerous => "dangerous",
            Class::Operation => "operation",
            Class::Forbidden => "forbidden",
        }
    }
}

/// A size that has to be asked first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The commands; their answers are added up.
    pub commands: Vec<Vec<Vec<u8>>>,
    /// Largest sum that is let through.
    pub max: u64,
    /// What to use instead.
    pub instead: &'static str,
}

/// What a line is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Name, lower case, as `config|get`.
    pub name: String,
    /// Class.
    pub class: Class,
    /// Why, when it is not let through.
    pub why: String,
    /// What has to be asked before.
    pub probe: Option<Probe>,
}

use Class::{Bounded, Dangerous, Forbidden, Operation, Read, Write};

/// What we know of commands, whatever their server says. A container's name stands for those of its
/// subcommands that are not named.
const OVERLAY: &[(&str, Class)] = &[
    // Reads the table calls dangerous, or says nothing of.
    ("ping", Read),
    ("echo", Read),
    ("time", Read),
    ("info", Read),
    ("dbsize", Read),
    ("lastsave", Read),
    ("role", Read),
    ("memory|usage", Read),
    ("memory|doctor", Read),
    ("memory|stats", Read),
    ("memory|malloc-stats", Read),
    ("memory|help", Read),
    ("object", Read),
    ("slowlog|get", Read),
    ("slowlog|len", Read),
    ("slowlog|help", Read),
    ("latency|doctor", Read),
    ("latency|graph", Read),
    ("latency|histogram", Read),
    ("latency|history", Read),
    ("latency|latest", Read),
    ("latency|help", Read),
    ("client|list", Read),
    ("client|info", Read),
    ("client|id", Read),
    ("client|getname", Read),
    ("cluster|info", Read),
    ("cluster|nodes", Read),
    ("cluster|shards", Read),
    ("cluster|slots", Read),
    ("cluster|myid", Read),
    ("cluster|keyslot", Read),
    ("cluster|countkeysinslot", Read),
    ("cluster|links", Read),
    ("config|get", Read),
    ("acl|whoami", Read),
    ("acl|dryrun", Read),
    ("acl|cat", Read),
    ("xinfo", Read),
    ("command", Read),
    ("pubsub", Read),
    ("function|list", Read),
    ("function|stats", Read),
    ("script|exists", Read),
    // Reads that grow with what is there.
    ("hgetall", Bounded),
    ("hkeys", Bounded),
    ("hvals", Bounded),
    ("smembers", Bounded),
    ("lrange", Bounded),
    ("zrange", Bounded),
    ("zrevrange", Bounded),
    ("zrangebyscore", Bounded),
    ("zrevrangebyscore", Bounded),
    ("zrangebylex", Bounded),
    ("zrevrangebylex", Bounded),
    ("zcount", Read),
    ("sort_ro", Bounded),
    ("sinter", Bounded),
    ("sunion", Bounded),
    ("sdiff", Bounded),
    ("zunion", Bounded),
    ("zinter", Bounded),
    ("zdiff", Bounded),
    ("sintercard", Bounded),
    ("zintercard", Bounded),
    ("xrange", Bounded),
    ("xrevrange", Bounded),
    ("georadius_ro", Bounded),
    ("georadiusbymember_ro", Bounded),
    ("geosearch", Bounded),
    ("lpos", Bounded),
    ("hrandfield", Bounded),
    ("srandmember", Bounded),
    ("zrandmember", Bounded),
    ("pfcount", Read),
    // Disrupt.
    ("config|set", Dangerous),
    ("client|kill", Dangerous),
    ("client|pause", Dangerous),
    ("client|unpause", Dangerous),
    ("client|unblock", Dangerous),
    ("client|no-evict", Dangerous),
    ("slowlog|reset", Dangerous),
    ("latency|reset", Dangerous),
    ("bgsave", Dangerous),
    ("bgrewriteaof", Dangerous),
    ("memory|purge", Dangerous),
    ("script|kill", Dangerous),
    ("script|flush", Dangerous),
    ("script|load", Dangerous),
    ("function|load", Dangerous),
    ("function|delete", Dangerous),
    ("function|flush", Dangerous),
    ("function|kill", Dangerous),
    ("function|restore", Dangerous),
    ("eval", Dangerous),
    ("evalsha", Dangerous),
    ("eval_ro", Dangerous),
    ("evalsha_ro", Dangerous),
    ("fcall", Dangerous),
    ("fcall_ro", Dangerous),
    ("xgroup|destroy", Dangerous),
    ("flushdb", Dangerous),
    ("swapdb", Dangerous),
    ("restore", Dangerous),
    ("acl|setuser", Dangerous),
    ("acl|deluser", Dangerous),
    ("config|rewrite", Dangerous),
    ("acl|save", Dangerous),
    ("acl|load", Dangerous),
    ("publish", Dangerous),
    ("spublish", Dangerous),
    // Change the shape of the fleet.
    ("replicaof", Operation),
    ("slaveof", Operation),
    ("failover", Operation),
    ("cluster", Operation),
    ("sentinel", Operation),
    ("migrate", Operation),
    ("shutdown", Operation),
    // Never.
    ("keys", Forbidden),
    ("flushall", Forbidden),
    ("monitor", Forbidden),
    ("debug", Forbidden),
    ("save", Forbidden),
    ("psync", Forbidden),
    ("sync", Forbidden),
    ("replconf", Forbidden),
    ("pfdebug", Forbidden),
    ("pfselftest", Forbidden),
    ("restore-asking", Forbidden),
    ("module", Forbidden),
    ("client|reply", Forbidden),
    ("client|tracking", Forbidden),
    ("client|caching", Forbidden),
    ("client|setname", Forbidden),
    ("client|setinfo", Forbidden),
    ("multi", Forbidden),
    ("exec", Forbidden),
    ("discard", Forbidden),
    ("watch", Forbidden),
    ("unwatch", Forbidden),
    ("hello", Forbidden),
    ("auth", Forbidden),
    ("select", Forbidden),
    ("reset", Forbidden),
    ("quit", Forbidden),
    ("asking", Forbidden),
    ("readonly", Forbidden),
    ("readwrite", Forbidden),
    ("config|resetstat", Forbidden),
    ("subscribe", Forbidden),
    ("psubscribe", Forbidden),
    ("ssubscribe", Forbidden),
    ("unsubscribe", Forbidden),
    ("punsubscribe", Forbidden),
    ("sunsubscribe", Forbidden),
    ("wait", Forbidden),
    ("waitaof", Forbidden),
    ("acl|genpass", Forbidden),
    ("acl|log", Forbidden),
    ("acl|list", Forbidden),
    ("acl|getuser", Forbidden),
    ("acl|users", Forbidden),
    ("script|debug", Forbidden),
    ("function|dump", Forbidden),
    ("lolwut", Forbidden),
    ("object|help", Read),
    ("touch", Write),
    ("randomkey", Read),
];

/// The class of a command by name alone: what the console's ACL user is made from.
pub fn class_of(table: &Table, name: &str) -> Class {
    let Some(spec) = table.get(name) else { return Forbidden };
    by_name(spec, name)
}

fn by_name(spec: &Spec, name: &str) -> Class {
    let listed = |name: &str| OVERLAY.iter().find(|(n, _)| *n == name).map(|(_, c)| *c);
    let front = name.split_once('|').map(|(front, _)| front);
    if let Some(class) = listed(name).or_else(|| front.and_then(listed)) {
        return class;
    }
    if spec.container || spec.is("blocking") || spec.within("@blocking") {
        // XREAD may block and need not: its arguments say.
        return if name == "xread" { Bounded } else { Forbidden };
    }
    if spec.within("@dangerous") || spec.within("@admin") || spec.is("admin") {
        return Forbidden;
    }
    match (spec.is("write"), spec.is("readonly")) {
        (true, _) => Write,
        (false, true) => Read,
        // Not known to read: nobody has classed it.
        _ => Forbidden,
    }
}

/// Judges a line's words against the node's own table. No words are no line.
pub fn classify(table: &Table, words: &[Vec<u8>]) -> Verdict {
    let text = |at: usize| {
        words.get(at).map(|w| String::from_utf8_lossy(w).to_ascii_lowercase()).unwrap_or_default()
    };
    let (front, second) = (text(0), text(1));
    let full = format!("{front}|{second}");
    let name = match table.get(&front) {
        Some(spec) if spec.container => full,
        _ => front.clone(),
    };
    let verdict = |class: Class, why: &str| Verdict {
        name: name.clone(),
        class,
        why: why.into(),
        probe: None,
    };
    if front.is_empty() || front.contains('|') || !table.contains_key(&name) {
        return verdict(Forbidden, "this server has no such command, or nobody has classed it");
    }
    match class_of(table, &name) {
        Read => arguments(verdict(Read, ""), words),
        Bounded => arguments(verdict(Bounded, ""), words),
        Write => verdict(Write, "the console does not write: applications do"),
        Dangerous => verdict(Dangerous, "it disrupts: an operation with its checks does it"),
        Operation => verdict(Operation, "it changes the fleet: run it as an operation"),
        Forbidden => verdict(Forbidden, "it is not allowed here"),
    }
}

/// What the arguments make of a read.
fn arguments(mut verdict: Verdict, words: &[Vec<u8>]) -> Verdict {
    let upper: Vec<String> =
        words.iter().skip(1).map(|w| String::from_utf8_lossy(w).to_ascii_uppercase()).collect();
    let after = |word: &str| {
        let at = upper.iter().position(|w| w == word)?;
        upper.get(at + 1)?.parse::<u64>().ok()
    };
    let has = |word: &str| upper.iter().any(|w| w == word);
    let stop = |mut verdict: Verdict, why: &str| {
        verdict.class = Forbidden;
        verdict.why = why.into();
        verdict
    };
    match verdict.name.as_str() {
        "xread" if has("BLOCK") => return stop(verdict, "BLOCK holds the connection"),
        "xread" if after("COUNT").is_none_or(|n| n > SCAN_COUNT_MAX) => {
            return stop(verdict, "name a COUNT of at most 1000");
        }
        "sort_ro" if has("BY") || has("GET") => {
            return stop(verdict, "BY and GET walk through keys that are not named");
        }
        "scan" | "hscan" | "sscan" | "zscan"
            if after("COUNT").is_some_and(|n| n > SCAN_COUNT_MAX) =>
        {
            return stop(verdict, "a COUNT of at most 1000 is allowed");
        }
        "mget" | "pfcount" | "exists" if words.len() > KEYS_MAX + 1 => {
            return stop(verdict, "at most 100 keys are read at once");
        }
        "slowlog|get" if words.len() > 2 && upper.get(1).is_some_and(|n| n.starts_with('-')) => {
            return stop(verdict, "name how many");
        }
        _ => {}
    }
    if verdict.name != "xread" {
        match probe(&verdict.name, words) {
            Ok(probe) => verdict.probe = probe,
            Err(why) => return stop(verdict, why),
        }
    }
    verdict
}

/// Reads whose size is asked first.
const PROBED: &[&str] = &[
    "get",
    "lcs",
    "bitcount",
    "bitpos",
    "dump",
    "sort_ro",
    "hgetall",
    "hkeys",
    "hvals",
    "hrandfield",
    "smembers",
    "srandmember",
    "lrange",
    "lpos",
    "xrange",
    "xrevrange",
    "sinter",
    "sunion",
    "sdiff",
    "sintercard",
    "zunion",
    "zinter",
    "zdiff",
    "zintercard",
    "zrange",
    "zrevrange",
    "zrangebyscore",
    "zrevrangebyscore",
    "zrangebylex",
    "zrevrangebylex",
    "zrandmember",
    "geosearch",
    "georadius_ro",
    "georadiusbymember_ro",
];

/// How large what is read is.
fn probe(name: &str, words: &[Vec<u8>]) -> Result<Option<Probe>, &'static str> {
    if !PROBED.contains(&name) {
        return Ok(None);
    }
    let key = words.get(1).cloned().ok_or("name a key")?;
    let ask = |command: &str, keys: &[Vec<u8>], max: u64, instead: &'static str| {
        let one = |key: &Vec<u8>| vec![command.as_bytes().to_vec(), key.clone()];
        Ok(Some(Probe { commands: keys.iter().map(one).collect(), max, instead }))
    };
    let one = [key];
    match name {
        "get" | "lcs" | "bitcount" | "bitpos" => {
            let keys =
                if name == "lcs" { words.get(1..3).ok_or("name two keys")? } else { &one[..] };
            ask("STRLEN", keys, BYTES_MAX, "GETRANGE")
        }
        "hgetall" | "hkeys" | "hvals" | "hrandfield" => ask("HLEN", &one, ELEMENTS_MAX, "HSCAN"),
        "smembers" | "srandmember" => ask("SCARD", &one, ELEMENTS_MAX, "SSCAN"),
        "lrange" | "lpos" => ask("LLEN", &one, ELEMENTS_MAX, "LRANGE of a shorter list"),
        "xrange" | "xrevrange" => ask("XLEN", &one, ELEMENTS_MAX, "XREAD COUNT"),
        "sinter" | "sunion" | "sdiff" => {
            let keys = words.get(1..).unwrap_or_default();
            if keys.len() > KEYS_MAX {
                return Err("at most 100 keys are read at once");
            }
            ask("SCARD", keys, ELEMENTS_MAX, "SSCAN")
        }
        "sintercard" | "zunion" | "zinter" | "zdiff" | "zintercard" => {
            let command = if name == "sintercard" { "SCARD" } else { "ZCARD" };
            ask(command, numbered(words)?, ELEMENTS_MAX, "a scan of each key")
        }
        "zrange"
        | "zrevrange"
        | "zrangebyscore"
        | "zrevrangebyscore"
        | "zrangebylex"
        | "zrevrangebylex"
        | "zrandmember"
        | "geosearch"
        | "georadius_ro"
        | "georadiusbymember_ro" => ask("ZCARD", &one, ELEMENTS_MAX, "ZSCAN"),
        // Bytes of anything.
        _ => {
            let command = [b"MEMORY".to_vec(), b"USAGE".to_vec(), one[0].clone()];
            Ok(Some(Probe {
                commands: vec![command.to_vec()],
                max: BYTES_MAX,
                instead: "a scan of the key",
            }))
        }
    }
}

/// The keys behind a number of keys.
fn numbered(words: &[Vec<u8>]) -> Result<&[Vec<u8>], &'static str> {
    let wrong = "name how many keys, then the keys";
    let count = words.get(1).and_then(|w| std::str::from_utf8(w).ok()).and_then(|w| w.parse().ok());
    let count: usize = count.ok_or(wrong)?;
    if count > KEYS_MAX {
        return Err("at most 100 keys are read at once");
    }
    words.get(2..2 + count).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn table() -> Table {
        let spec = |flags: &[&str], categories: &[&str], container: bool| Spec {
            flags: flags.iter().map(|f| f.to_string()).collect(),
            categories: categories.iter().map(|c| c.to_string()).collect(),
            container,
        };
        let read = || spec(&["readonly"], &["@read"], false);
        let danger = || spec(&["admin"], &["@admin", "@dangerous"], false);
        [
            ("get", read()),
            ("hgetall", read()),
            ("scan", read()),
            ("sinter", read()),
            ("xread", spec(&["readonly", "blocking"], &["@blocking"], false)),
            ("sort_ro", spec(&["readonly"], &["@dangerous"], false)),
            ("set", spec(&["write"], &["@write"], false)),
            ("blpop", spec(&["write", "blocking"], &["@blocking"], false)),
            ("flushall", spec(&["write"], &["@dangerous"], false)),
            ("keys", spec(&["readonly"], &["@dangerous"], false)),
            ("eval", spec(&["noscript"], &["@scripting"], false)),
            ("replicaof", danger()),
            ("shutdown", danger()),
            ("brand.new", spec(&[], &[], false)),
            ("mod.read", read()),
            ("config", spec(&[], &[], true)),
            ("config|get", danger()),
            ("config|set", danger()),
            ("cluster", spec(&[], &[], true)),
            ("cluster|info", spec(&[], &[], false)),
            ("cluster|meet", danger()),
            ("client", spec(&[], &[], true)),
            ("client|kill", danger()),
        ]
        .into_iter()
        .map(|(name, spec)| (name.to_string(), spec))
        .collect()
    }

    fn class(line: &str) -> Class {
        classify(&table(), &crate::words::split(line).unwrap()).class
    }

    #[test]
    fn each_class_has_its_commands_in_any_disguise() {
        for (line, wished) in [
            ("GET k", Read),
            ("gEt k", Read),
            ("\"get\" k", Read),
            ("config get maxmemory", Read),
            ("CLUSTER info", Read),
            ("mod.read k", Read),
            ("HGETALL k", Bounded),
            ("SINTER a b", Bounded),
            ("SET k v", Write),
            ("CONFIG SET hz 1", Dangerous),
            ("EVAL \"return redis.call('FLUSHALL')\" 0", Dangerous),
            ("client KILL id 3", Dangerous),
            ("REPLICAOF no one", Operation),
            ("cluster MEET h 1", Operation),
            ("SHUTDOWN", Operation),
            ("FLUSHALL", Forbidden),
            ("keys *", Forbidden),
            ("BLPOP k 0", Forbidden),
            ("brand.new", Forbidden),
            ("not.there", Forbidden),
            ("config|set hz 1", Forbidden),
            ("CONFIG", Forbidden),
            ("config nothing", Forbidden),
            ("GET\\x00 k", Forbidden),
            ("\"GET\\x00\" k", Forbidden),
            ("\" GET\" k", Forbidden),
        ] {
            assert_eq!(class(line), wished, "{line}");
        }
    }

    #[test]
    fn arguments_that_block_walk_or_ask_for_too_much_are_stopped() {
        for line in [
            "XREAD BLOCK 0 STREAMS s $",
            "XREAD STREAMS s 0",
            "XREAD COUNT 5000 STREAMS s 0",
            "SORT_RO k BY w_*",
            "sort_ro k get # get o_*",
            "SCAN 0 COUNT 100000",
        ] {
            assert_eq!(class(line), Forbidden, "{line}");
        }
        assert_eq!(class("XREAD COUNT 10 STREAMS s 0"), Bounded);
        assert_eq!(class("SCAN 0 COUNT 100"), Read);
    }

    #[test]
    fn sizes_are_asked_of_every_key() {
        let words = crate::words::split("SINTER a b").unwrap();
        let probe = classify(&table(), &words).probe.unwrap();
        let asked: Vec<String> = probe
            .commands
            .iter()
            .map(|c| c.iter().map(|w| String::from_utf8_lossy(w)).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!((asked, probe.max), (vec!["SCARD a".into(), "SCARD b".into()], ELEMENTS_MAX));
        assert_eq!(class("GET"), Forbidden, "no key to ask for");
    }

    proptest! {
        #[test]
        fn no_line_reaches_more_than_its_command_may(line in "\\PC{0,40}") {
            if let Ok(words) = crate::words::split(&line)
                && !words.is_empty()
            {
                let verdict = classify(&table(), &words);
                let let_through = matches!(verdict.class, Read | Bounded);
                let known = class_of(&table(), &verdict.name);
                prop_assert!(!let_through || matches!(known, Read | Bounded), "{line}");
            }
        }
    }
}

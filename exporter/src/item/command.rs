//! Which commands an item may send, and why any other is refused.
//!
//! Invariant: an allow-list. Every command on it only reads, never blocks, costs the server a time
//! that does not grow with the data (or only with what is stated), and answers numbers or names: no
//! stored text leaves through an item. Refuses to know connections.

/// What a command costs the server, by what its time grows with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Nothing is sent.
    None,
    /// O(1).
    Constant,
    /// O(log N).
    Logarithmic,
    /// A bounded number of samples.
    Samples,
    /// The groups or consumers of one stream.
    Groups,
    /// A bounded part of the key space.
    Scan,
    /// A script whose length bounds it.
    Script,
}

impl Class {
    /// Its word in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Class::None => "none",
            Class::Constant => "constant",
            Class::Logarithmic => "logarithmic",
            Class::Samples => "samples",
            Class::Groups => "groups",
            Class::Scan => "scan",
            Class::Script => "script",
        }
    }
}

/// What the reply is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A number, or an aggregate of numbers.
    Numbers,
    /// A name of a small fixed set, to be compared.
    Word,
    /// A list of maps with a name in each: may give labels.
    Named,
}

/// One allowed command.
#[derive(Debug)]
pub(crate) struct Allowed {
    words: &'static [&'static str],
    /// Arguments after the words, least and most.
    args: (usize, usize),
    /// Which of them is a key; `ALL` for all, `NONE`.
    key: usize,
    pub(crate) class: Class,
    pub(crate) reply: Reply,
    /// Whether a script may call it too.
    in_scripts: bool,
}

const ALL: usize = usize::MAX;
const NONE: usize = usize::MAX - 1;
/// Keys of one command: one reply must stay small.
const KEYS_MAX: usize = 16;
/// MEMORY USAGE looks at so many elements of a value; 0 would mean all of them.
const SAMPLES_MAX: u32 = 100;

macro_rules! allowed {
    ($([$($w:literal)+] $least:literal..=$most:expr, $key:expr, $class:ident, $reply:ident, $script:literal;)*) => {
        const ALLOWED: &[Allowed] = &[$(Allowed {
            words: &[$($w),+], args: ($least, $most), key: $key, class: Class::$class,
            reply: Reply::$reply, in_scripts: $script,
        },)*];
    };
}

allowed! {
    ["LLEN"] 1..=1, 0, Constant, Numbers, true;
    ["SCARD"] 1..=1, 0, Constant, Numbers, true;
    ["ZCARD"] 1..=1, 0, Constant, Numbers, true;
    ["HLEN"] 1..=1, 0, Constant, Numbers, true;
    ["XLEN"] 1..=1, 0, Constant, Numbers, true;
    ["STRLEN"] 1..=1, 0, Constant, Numbers, true;
    ["HSTRLEN"] 2..=2, 0, Constant, Numbers, true;
    ["EXISTS"] 1..=KEYS_MAX, ALL, Constant, Numbers, true;
    ["TTL"] 1..=1, 0, Constant, Numbers, true;
    ["PTTL"] 1..=1, 0, Constant, Numbers, true;
    ["EXPIRETIME"] 1..=1, 0, Constant, Numbers, true;
    ["PEXPIRETIME"] 1..=1, 0, Constant, Numbers, true;
    ["GET"] 1..=1, 0, Constant, Numbers, true;
    ["HGET"] 2..=2, 0, Constant, Numbers, true;
    ["GETBIT"] 2..=2, 0, Constant, Numbers, true;
    ["SISMEMBER"] 2..=2, 0, Constant, Numbers, true;
    ["HEXISTS"] 2..=2, 0, Constant, Numbers, true;
    ["ZSCORE"] 2..=2, 0, Constant, Numbers, true;
    ["ZRANK"] 2..=2, 0, Logarithmic, Numbers, true;
    ["ZREVRANK"] 2..=2, 0, Logarithmic, Numbers, true;
    ["ZCOUNT"] 3..=3, 0, Logarithmic, Numbers, true;
    ["ZLEXCOUNT"] 3..=3, 0, Logarithmic, Numbers, true;
    ["TYPE"] 1..=1, 0, Constant, Word, false;
    ["OBJECT" "ENCODING"] 1..=1, 0, Constant, Word, false;
    ["OBJECT" "FREQ"] 1..=1, 0, Constant, Numbers, false;
    ["OBJECT" "IDLETIME"] 1..=1, 0, Constant, Numbers, false;
    ["OBJECT" "REFCOUNT"] 1..=1, 0, Constant, Numbers, false;
    ["MEMORY" "USAGE"] 1..=3, 0, Samples, Numbers, false;
    ["MEMORY" "STATS"] 0..=0, NONE, Constant, Numbers, false;
    ["XINFO" "STREAM"] 1..=1, 0, Constant, Numbers, false;
    ["XINFO" "GROUPS"] 1..=1, 0, Groups, Named, false;
    ["XINFO" "CONSUMERS"] 2..=2, 0, Groups, Named, false;
    ["XPENDING"] 2..=2, 0, Groups, Numbers, false;
    ["DBSIZE"] 0..=0, NONE, Constant, Numbers, false;
    ["LASTSAVE"] 0..=0, NONE, Constant, Numbers, false;
    ["SLOWLOG" "LEN"] 0..=0, NONE, Constant, Numbers, false;
    ["LATENCY" "LATEST"] 0..=0, NONE, Constant, Named, false;
    ["PUBSUB" "NUMSUB"] 1..=KEYS_MAX, NONE, Constant, Numbers, false;
    ["PUBSUB" "SHARDNUMSUB"] 1..=KEYS_MAX, NONE, Constant, Numbers, false;
    ["PUBSUB" "NUMPAT"] 0..=0, NONE, Constant, Numbers, false;
    ["CLUSTER" "COUNTKEYSINSLOT"] 1..=1, NONE, Constant, Numbers, false;
}

/// Commands people try, by why they are refused.
const WRITES: &[&str] = &[
    "SET",
    "SETEX",
    "SETNX",
    "GETSET",
    "GETDEL",
    "GETEX",
    "MSET",
    "APPEND",
    "INCR",
    "INCRBY",
    "DECR",
    "DECRBY",
    "DEL",
    "UNLINK",
    "EXPIRE",
    "PEXPIRE",
    "PERSIST",
    "RENAME",
    "LPUSH",
    "RPUSH",
    "LPOP",
    "RPOP",
    "LTRIM",
    "LREM",
    "LMOVE",
    "SADD",
    "SREM",
    "SPOP",
    "ZADD",
    "ZREM",
    "ZINCRBY",
    "ZPOPMIN",
    "ZPOPMAX",
    "HSET",
    "HDEL",
    "HINCRBY",
    "XADD",
    "XDEL",
    "XTRIM",
    "XACK",
    "XGROUP",
    "XCLAIM",
    "XAUTOCLAIM",
    "XREADGROUP",
    "SETBIT",
    "PFADD",
    "PFCOUNT",
    "PFMERGE",
    "FLUSHDB",
    "FLUSHALL",
    "COPY",
    "MOVE",
    "RESTORE",
    "MIGRATE",
    "SORT",
    "PUBLISH",
    "SPUBLISH",
    "SWAPDB",
    "EVAL",
    "EVALSHA",
    "FCALL",
];
const BLOCKS: &[&str] = &[
    "BLPOP",
    "BRPOP",
    "BLMOVE",
    "BRPOPLPUSH",
    "BLMPOP",
    "BZPOPMIN",
    "BZPOPMAX",
    "BZMPOP",
    "XREAD",
    "WAIT",
    "WAITAOF",
    "SUBSCRIBE",
    "PSUBSCRIBE",
    "SSUBSCRIBE",
    "MONITOR",
    "SYNC",
    "PSYNC",
];
const UNBOUNDED: &[&str] = &[
    "KEYS",
    "SCAN",
    "SSCAN",
    "HSCAN",
    "ZSCAN",
    "SMEMBERS",
    "HGETALL",
    "HKEYS",
    "HVALS",
    "LRANGE",
    "ZRANGE",
    "ZRANGEBYSCORE",
    "ZREVRANGE",
    "XRANGE",
    "XREVRANGE",
    "SINTER",
    "SUNION",
    "SDIFF",
    "SINTERCARD",
    "BITCOUNT",
    "BITPOS",
    "LINDEX",
    "LPOS",
    "MGET",
    "HMGET",
    "RANDOMKEY",
    "DUMP",
];
const ADMIN: &[&str] = &[
    "CONFIG",
    "SHUTDOWN",
    "DEBUG",
    "REPLICAOF",
    "SLAVEOF",
    "FAILOVER",
    "BGSAVE",
    "SAVE",
    "BGREWRITEAOF",
    "ACL",
    "AUTH",
    "CLIENT",
    "SCRIPT",
    "FUNCTION",
    "MODULE",
    "RESET",
    "SELECT",
    "MULTI",
    "EXEC",
    "WATCH",
    "QUIT",
    "HELLO",
    "READONLY",
    "READWRITE",
    "ASKING",
];

/// The command of `args`, or why it is refused: index of the argument, reason.
pub(crate) fn find(args: &[String]) -> Result<&'static Allowed, (usize, String)> {
    let Some(first) = args.first() else { return Err((0, "no command".into())) };
    let first = first.to_ascii_uppercase();
    let mut known = ALLOWED.iter().filter(|a| a.words[0] == first).peekable();
    if known.peek().is_none() {
        return Err((0, refusal(&first)));
    }
    let second = args.get(1).map(|w| w.to_ascii_uppercase()).unwrap_or_default();
    let fits = |a: &&Allowed| a.words.get(1).is_none_or(|w| *w == second);
    let Some(found) = known.clone().find(fits) else {
        let words: Vec<&str> = known.filter_map(|a| a.words.get(1).copied()).collect();
        return Err((1, format!("{first} {second}: only {} may be sent", words.join(", "))));
    };
    let given = args.len() - found.words.len();
    let (least, most) = found.args;
    if !(least..=most).contains(&given) {
        let wanted = if least == most { least.to_string() } else { format!("{least} to {most}") };
        let name = found.words.join(" ");
        return Err((
            args.len() - 1,
            format!("{name} takes {wanted} arguments, {given} are given"),
        ));
    }
    found.own_rules(args)?;
    Ok(found)
}

/// Whether a script may call the command `name`, or why not.
pub(crate) fn in_script(name: &str) -> Result<(), String> {
    let upper = name.to_ascii_uppercase();
    match ALLOWED.iter().find(|a| a.words == [upper.as_str()] && a.in_scripts) {
        Some(_) => Ok(()),
        None if ALLOWED.iter().any(|a| a.words[0] == upper) => {
            Err(format!("{upper} may not be called by a script; make it an item of its own"))
        }
        None => Err(refusal(&upper)),
    }
}

fn refusal(name: &str) -> String {
    let shown: String = name.chars().take(40).collect();
    let is = |list: &[&str]| list.contains(&name);
    match () {
        () if is(BLOCKS) => format!("{shown} blocks the connection"),
        () if name == "SCAN" || name == "KEYS" => format!(
            "{shown} walks over all keys; count keys with a source of kind scan, which has a budget"
        ),
        () if is(UNBOUNDED) => format!("{shown}: its time or its reply grows with the data"),
        () if name == "CONFIG" => "CONFIG: use a source of kind config".into(),
        () if name == "INFO" => "INFO: use a source of kind info".into(),
        () if matches!(name, "EVAL_RO" | "FCALL_RO") => {
            format!("{shown}: use a source of kind script or function")
        }
        () if is(WRITES) => format!("{shown} changes data, or may"),
        () if is(ADMIN) => format!("{shown} changes the server or the connection"),
        () => format!("{shown} is not on the list of commands an item may send"),
    }
}

impl Allowed {
    /// Rules of single commands beyond their number of arguments.
    fn own_rules(&self, args: &[String]) -> Result<(), (usize, String)> {
        match self.words {
            ["MEMORY", "USAGE"] if args.len() > 3 => {
                let samples = args.get(4).and_then(|n| n.parse::<u32>().ok());
                let fine = args[3].eq_ignore_ascii_case("samples")
                    && samples.is_some_and(|n| (1..=SAMPLES_MAX).contains(&n));
                let why = format!("expected SAMPLES with 1 to {SAMPLES_MAX}; 0 looks at all");
                if fine { Ok(()) } else { Err((3, why)) }
            }
            ["CLUSTER", "COUNTKEYSINSLOT"] => match args[2].parse::<u16>() {
                Ok(slot) if slot < link::slot::SLOTS => Ok(()),
                _ => Err((2, "expected a slot, 0 to 16383".into())),
            },
            _ => Ok(()),
        }
    }

    /// The keys among `args`.
    pub(crate) fn keys<'a>(&self, args: &'a [String]) -> Vec<&'a str> {
        let rest = &args[self.words.len().min(args.len())..];
        match self.key {
            ALL => rest.iter().map(String::as_str).collect(),
            NONE => Vec::new(),
            n => rest.get(n).map(String::as_str).into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(line: &str) -> Result<&'static Allowed, (usize, String)> {
        let args: Vec<String> = line.split(' ').map(String::from).collect();
        find(&args)
    }

    #[test]
    fn a_command_that_is_not_allowed_is_refused_with_its_reason_and_place() {
        for (line, place, why) in [
            ("SET a b", 0, "changes data"),
            ("blpop q 0", 0, "blocks"),
            ("KEYS *", 0, "budget"),
            ("SMEMBERS s", 0, "grows with the data"),
            ("CONFIG SET maxmemory 1", 0, "kind config"),
            ("EVAL return 0", 0, "changes data"),
            ("SHUTDOWN", 0, "changes the server"),
            ("FOO", 0, "not on the list"),
            ("OBJECT HELP", 1, "only ENCODING"),
            ("LLEN", 0, "takes 1 arguments"),
            ("LLEN a b", 2, "takes 1"),
            ("MEMORY USAGE k SAMPLES 0", 3, "SAMPLES"),
            ("XINFO STREAM s FULL", 3, "takes 1"),
            ("CLUSTER COUNTKEYSINSLOT 99999", 2, "slot"),
        ] {
            let (at, said) = ask(line).expect_err(line);
            assert!(at == place && said.contains(why), "{line}: {at} {said}");
        }
    }

    #[test]
    fn an_allowed_command_knows_its_keys() {
        let args = |line: &str| line.split(' ').map(String::from).collect::<Vec<_>>();
        for (line, keys) in [
            ("llen q", vec!["q"]),
            ("XINFO GROUPS s", vec!["s"]),
            ("EXISTS a b", vec!["a", "b"]),
            ("MEMORY USAGE k SAMPLES 5", vec!["k"]),
            ("DBSIZE", vec![]),
        ] {
            let args = args(line);
            assert_eq!(find(&args).unwrap().keys(&args), keys, "{line}");
        }
    }

    #[test]
    fn no_command_is_both_allowed_and_listed_as_dangerous() {
        for a in ALLOWED {
            for list in [WRITES, BLOCKS, UNBOUNDED] {
                assert!(!list.contains(&a.words[0]), "{:?}", a.words);
            }
        }
    }
}

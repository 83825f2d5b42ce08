//! The table of parameters. Defaults are those of a redis-server 7.0 without a file; a test asks one.

use super::Kind::{Bytes, BytesOrPercent, Events, Flag, Integer, OutputBuffer, Save, Words};
use super::Risk::{Data, Low, Service};
use super::Rule::{Clients, Disk, Eviction, Failover, Memory, Never, Plain, Replicas, Restart};
use super::{Kind, Param, Risk, Rule};

const MAX: i64 = i64::MAX;
const INT: i64 = i32::MAX as i64;
const MB: i64 = 1 << 20;

const POLICIES: &[&str] = &[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
];
const ROTATE: &str = "start a password_rotate: a bare change locks clients and replicas out";
const PROVISION: &str = "it is set when a node is made; a person changes the file and restarts";
const CODE: &str = "it runs code of others in the server; a person changes the file and restarts";

const fn p(
    name: &'static str,
    kind: Kind,
    unit: &'static str,
    risk: Risk,
    rule: Rule,
    default: &'static str,
) -> Param {
    Param { name, aliases: &[], kind, unit, risk, rule, since: (5, 0), default }
}

const fn also(mut p: Param, aliases: &'static [&'static str]) -> Param {
    p.aliases = aliases;
    p
}

const fn since(mut p: Param, major: u32, minor: u32) -> Param {
    p.since = (major, minor);
    p
}

/// Parameters of data nodes.
pub const NODE: &[Param] = &[
    p("maxmemory", Bytes(0, MAX), "bytes", Service, Memory, "0"),
    p("maxmemory-policy", Words(POLICIES), "", Service, Eviction, "noeviction"),
    p("maxmemory-samples", Integer(1, 64), "", Low, Plain, "5"),
    since(p("maxmemory-clients", BytesOrPercent, "bytes", Service, Plain, "0"), 7, 0),
    p("maxclients", Integer(1, INT), "", Service, Clients, "10000"),
    p("timeout", Integer(0, INT), "s", Service, Plain, "0"),
    p("tcp-keepalive", Integer(0, INT), "s", Low, Plain, "300"),
    p("slowlog-log-slower-than", Integer(-1, MAX), "us", Low, Plain, "10000"),
    p("slowlog-max-len", Integer(0, 1_000_000), "", Low, Plain, "128"),
    p("latency-monitor-threshold", Integer(0, MAX), "ms", Low, Plain, "0"),
    since(p("latency-tracking", Flag, "", Low, Plain, "yes"), 7, 0),
    p("hz", Integer(1, 500), "1/s", Low, Plain, "10"),
    p("dynamic-hz", Flag, "", Low, Plain, "yes"),
    p(
        "client-output-buffer-limit",
        OutputBuffer,
        "bytes, s",
        Service,
        Plain,
        "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60",
    ),
    p("client-query-buffer-limit", Bytes(MB, MAX), "bytes", Service, Plain, "1073741824"),
    p("repl-backlog-size", Bytes(16_384, MAX), "bytes", Low, Plain, "1048576"),
    p("repl-backlog-ttl", Integer(0, INT), "s", Low, Plain, "3600"),
    p("repl-timeout", Integer(1, INT), "s", Service, Plain, "60"),
    also(
        p("repl-ping-replica-period", Integer(1, INT), "s", Low, Plain, "10"),
        &["repl-ping-slave-period"],
    ),
    p("repl-diskless-sync", Flag, "", Low, Plain, "yes"),
    p("repl-diskless-sync-delay", Integer(0, INT), "s", Low, Plain, "5"),
    p("lazyfree-lazy-eviction", Flag, "", Low, Plain, "no"),
    p("lazyfree-lazy-expire", Flag, "", Low, Plain, "no"),
    p("lazyfree-lazy-server-del", Flag, "", Low, Plain, "no"),
    since(p("lazyfree-lazy-user-del", Flag, "", Low, Plain, "no"), 6, 0),
    since(p("lazyfree-lazy-user-flush", Flag, "", Low, Plain, "no"), 6, 2),
    also(p("replica-lazy-flush", Flag, "", Low, Plain, "no"), &["slave-lazy-flush"]),
    also(
        p("min-replicas-to-write", Integer(0, 64), "", Service, Replicas, "0"),
        &["min-slaves-to-write"],
    ),
    also(
        p("min-replicas-max-lag", Integer(0, 3_600), "s", Service, Plain, "10"),
        &["min-slaves-max-lag"],
    ),
    also(
        p("replica-serve-stale-data", Flag, "", Service, Plain, "yes"),
        &["slave-serve-stale-data"],
    ),
    p("appendonly", Flag, "", Service, Disk, "no"),
    p("appendfsync", Words(&["everysec", "always", "no"]), "", Service, Plain, "everysec"),
    p("no-appendfsync-on-rewrite", Flag, "", Low, Plain, "no"),
    p("auto-aof-rewrite-percentage", Integer(0, INT), "%", Low, Plain, "100"),
    p("auto-aof-rewrite-min-size", Bytes(0, MAX), "bytes", Low, Plain, "67108864"),
    p("save", Save, "s, changes", Service, Disk, "3600 1 300 100 60 10000"),
    p("stop-writes-on-bgsave-error", Flag, "", Service, Plain, "yes"),
    p("rdbcompression", Flag, "", Low, Plain, "yes"),
    p("activedefrag", Flag, "", Service, Plain, "no"),
    p("active-expire-effort", Integer(1, 10), "", Low, Plain, "1"),
    p("lfu-log-factor", Integer(0, INT), "", Low, Plain, "10"),
    p("lfu-decay-time", Integer(0, INT), "min", Low, Plain, "1"),
    p("notify-keyspace-events", Events, "", Low, Plain, ""),
    p("tracking-table-max-keys", Integer(0, MAX), "", Low, Plain, "1000000"),
    p("loglevel", Words(&["debug", "verbose", "notice", "warning"]), "", Low, Plain, "notice"),
    p("cluster-node-timeout", Integer(1_000, INT), "ms", Service, Failover, "15000"),
    p("cluster-require-full-coverage", Flag, "", Service, Plain, "yes"),
    since(p("cluster-allow-reads-when-down", Flag, "", Service, Plain, "no"), 6, 0),
    since(p("cluster-allow-replica-migration", Flag, "", Low, Plain, "yes"), 7, 0),
    also(
        p("cluster-replica-validity-factor", Integer(0, INT), "", Service, Plain, "10"),
        &["cluster-slave-validity-factor"],
    ),
    p("databases", Integer(1, INT), "", Data, Restart, "16"),
    since(p("io-threads", Integer(1, 128), "", Service, Restart, "1"), 6, 0),
    p("cluster-enabled", Flag, "", Data, Restart, "no"),
    p("port", Integer(0, 65_535), "", Data, Restart, "6379"),
    since(p("tls-port", Integer(0, 65_535), "", Data, Restart, "0"), 6, 0),
    since(p("tls-replication", Flag, "", Data, Restart, "no"), 6, 0),
    since(p("tls-cluster", Flag, "", Data, Restart, "no"), 6, 0),
    p("dir", Words(&[]), "", Data, Never(PROVISION), ""),
    p("dbfilename", Words(&[]), "", Data, Never(PROVISION), ""),
    p("rename-command", Words(&[]), "", Data, Never(PROVISION), ""),
    p("aclfile", Words(&[]), "", Data, Never(PROVISION), ""),
    p("loadmodule", Words(&[]), "", Data, Never(CODE), ""),
    p("enable-debug-command", Words(&[]), "", Data, Never(CODE), ""),
    p("enable-module-command", Words(&[]), "", Data, Never(CODE), ""),
    p("enable-protected-configs", Words(&[]), "", Data, Never(CODE), ""),
    p("requirepass", Words(&[]), "", Data, Never(ROTATE), ""),
    also(p("masterauth", Words(&[]), "", Data, Never(ROTATE), ""), &["primaryauth"]),
    also(p("masteruser", Words(&[]), "", Data, Never(ROTATE), ""), &["primaryuser"]),
];

/// Parameters Sentinels keep for a master.
pub const SENTINEL: &[Param] = &[
    p("down-after-milliseconds", Integer(1_000, 600_000), "ms", Service, Failover, "30000"),
    p("failover-timeout", Integer(10_000, 30_000), "ms", Service, Failover, "180000"),
    p("parallel-syncs", Integer(1, 16), "", Service, Plain, "1"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_are_in_the_form_the_server_answers() {
        let mut names: Vec<&str> = Vec::new();
        for param in NODE.iter().chain(SENTINEL) {
            names.push(param.name);
            names.extend(param.aliases);
            let fine = matches!(param.rule, Never(_)) || param.rule == Failover;
            let normal = param.normal(param.default, "");
            assert!(fine || normal.as_deref() == Ok(param.default), "{}: {normal:?}", param.name);
        }
        let n = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), n);
    }

    #[test]
    fn nothing_that_holds_a_secret_can_be_set_here() {
        for param in NODE.iter().chain(SENTINEL) {
            let secret = link::reply::config::is_secret(param.name);
            assert!(!secret || !param.is_mutable(), "{}", param.name);
        }
    }
}

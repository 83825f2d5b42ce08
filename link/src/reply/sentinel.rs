//! SENTINEL MASTERS, REPLICAS, SENTINELS, CKQUORUM and GET-MASTER-ADDR-BY-NAME.
//!
//! Invariant: read from RESP arrays only; names with commas or line breaks cannot shift a field.

use model::reading::{SentinelMaster, SentinelPeer};
use redis::Value;

use super::{bytes, items, join_address, number, text};

/// A replica of a master as a Sentinel lists it (SENTINEL REPLICAS).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Replica {
    /// Its name: `host:port` as the Sentinel knows it.
    pub name: String,
    /// Announced host.
    pub ip: String,
    /// Announced port.
    pub port: u16,
    /// `slave`, `s_down`, `o_down`, `disconnected` …
    pub flags: Vec<String>,
    /// Run id; empty when not learnt yet.
    pub run_id: String,
    /// `slave-priority`; 0: never promoted.
    pub priority: u32,
    /// Replication offset, bytes, up to 10 s old (Sentinel reads INFO that often).
    pub offset: f64,
    /// `ok` or `err`: its link to the master.
    pub master_link_status: String,
    /// Milliseconds its link has been down; 0 while up.
    pub master_link_down_ms: f64,
    /// `host:port` of the master it follows.
    pub master: String,
}

impl Replica {
    /// `host:port`.
    pub fn address(&self) -> String {
        join_address(&self.ip, &self.port.to_string())
    }

    /// Neither s_down nor o_down.
    pub fn is_ok(&self) -> bool {
        is_ok(&self.flags)
    }
}

/// Another Sentinel of the same master (SENTINEL SENTINELS).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Peer {
    /// Its run id.
    pub name: String,
    /// Announced host.
    pub ip: String,
    /// Announced port.
    pub port: u16,
    /// `sentinel`, `s_down`, `disconnected` …
    pub flags: Vec<String>,
    /// Run id.
    pub run_id: String,
    /// Milliseconds since it was last heard.
    pub last_hello_ms: f64,
}

impl Peer {
    /// `host:port`.
    pub fn address(&self) -> String {
        join_address(&self.ip, &self.port.to_string())
    }

    /// Neither s_down nor o_down.
    pub fn is_ok(&self) -> bool {
        is_ok(&self.flags)
    }

    /// The same as a fact of a reading, for the master of that name.
    pub fn of(self, master: &str) -> SentinelPeer {
        let Peer { name, ip, port, flags, run_id, .. } = self;
        SentinelPeer { master: master.into(), name, ip, port, run_id, flags: flags.join(",") }
    }
}

fn is_ok(flags: &[String]) -> bool {
    !flags.iter().any(|f| f == "s_down" || f == "o_down")
}

/// SENTINEL MASTERS; none when the reply is not one.
pub fn masters(value: &Value) -> Option<Vec<SentinelMaster>> {
    items(value)?.iter().map(|v| master(&Fields::of(v)?)).collect()
}

fn master(fields: &Fields<'_>) -> Option<SentinelMaster> {
    let flags = fields.text("flags");
    let status = status_of(&flags);
    Some(SentinelMaster {
        name: fields.required("name")?,
        address: join_address(&fields.required("ip")?, &fields.required("port")?),
        flags,
        replicas: fields.number("num-slaves")?,
        sentinels: fields.number("num-other-sentinels")? + 1.0,
        quorum: fields.number("quorum")?,
        config_epoch: fields.number("config-epoch").unwrap_or(0.0),
        down_after_ms: fields.number("down-after-milliseconds")?,
        failover_timeout_ms: fields.number("failover-timeout")?,
        parallel_syncs: fields.number("parallel-syncs")?,
        last_ok_ping_ms: fields.number("last-ok-ping-reply")?,
        status: status.to_string(),
        replicas_ok: None,
        sentinels_ok: None,
        ckquorum: None,
    })
}

/// As INFO sentinel prints it: o_down wins over s_down.
fn status_of(flags: &str) -> &'static str {
    let has = |flag| flags.split(',').any(|f| f == flag);
    match (has("o_down"), has("s_down")) {
        (true, _) => "odown",
        (_, true) => "sdown",
        _ => "ok",
    }
}

/// SENTINEL REPLICAS (or SLAVES) of one master; none when the reply is not one.
pub fn replicas(value: &Value) -> Option<Vec<Replica>> {
    items(value)?.iter().map(|v| replica(&Fields::of(v)?)).collect()
}

fn replica(fields: &Fields<'_>) -> Option<Replica> {
    let master = join_address(&fields.text("master-host"), &fields.text("master-port"));
    Some(Replica {
        name: fields.required("name")?,
        ip: fields.required("ip")?,
        port: fields.number("port")? as u16,
        flags: fields.flags(),
        run_id: fields.text("runid"),
        priority: fields.number("slave-priority").unwrap_or(100.0) as u32,
        offset: fields.number("slave-repl-offset").unwrap_or(0.0),
        master_link_status: fields.text("master-link-status"),
        master_link_down_ms: fields.number("master-link-down-time").unwrap_or(0.0),
        master,
    })
}

/// SENTINEL SENTINELS of one master; none when the reply is not one.
pub fn peers(value: &Value) -> Option<Vec<Peer>> {
    items(value)?.iter().map(|v| peer(&Fields::of(v)?)).collect()
}

fn peer(fields: &Fields<'_>) -> Option<Peer> {
    Some(Peer {
        name: fields.required("name")?,
        ip: fields.required("ip")?,
        port: fields.number("port")? as u16,
        flags: fields.flags(),
        run_id: fields.text("runid"),
        last_hello_ms: fields.number("last-hello-message").unwrap_or(0.0),
    })
}

/// SENTINEL CKQUORUM: whether a failover could be authorised, with the Sentinel's words.
pub fn ckquorum(value: &Value) -> Option<(bool, String)> {
    match super::error(value) {
        Some(said) => said.starts_with("NOQUORUM").then_some((false, said)),
        None => text(value).map(|said| (true, said)),
    }
}

/// SENTINEL GET-MASTER-ADDR-BY-NAME: `host:port`; none for an unknown name.
pub fn address(value: &Value) -> Option<String> {
    match items(value)? {
        [host, port] => Some(join_address(&text(host)?, &text(port)?)),
        _ => None,
    }
}

/// A flat array of names and values.
struct Fields<'a>(&'a [Value]);

impl<'a> Fields<'a> {
    fn of(value: &'a Value) -> Option<Fields<'a>> {
        items(value).filter(|all| all.len() % 2 == 0).map(Fields)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let mut pairs = self.0.chunks_exact(2);
        pairs.find(|pair| bytes(&pair[0]) == Some(name.as_bytes())).map(|pair| &pair[1])
    }

    fn required(&self, name: &str) -> Option<String> {
        self.get(name).and_then(text)
    }

    fn text(&self, name: &str) -> String {
        self.required(name).unwrap_or_default()
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.get(name).and_then(number)
    }

    fn flags(&self) -> Vec<String> {
        self.text("flags").split(',').map(str::to_string).collect()
    }
}

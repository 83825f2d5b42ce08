//! CLIENT LIST one by one, and closing a connection that is still the one that was meant.
//!
//! Invariant: a connection is closed by its id only, and ids are never given twice by a running
//! server; links between servers, subscribers of Sentinels and our own connections are no
//! applications.

use link::reply;

use super::conn::{Conn, Trouble};

/// Commands our own connections end with: whoever does nothing else is a monitor.
const WATCHING: [&str; 14] = [
    "acl", "client", "cluster", "config", "info", "latency", "memory", "module", "ping", "psync",
    "replconf", "role", "slowlog", "auth",
];

/// A connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) address: String,
    pub(crate) name: String,
    pub(crate) user: String,
    pub(crate) flags: String,
    pub(crate) command: String,
    pub(crate) age_s: i64,
    pub(crate) idle_s: i64,
    /// Query and output buffers, bytes.
    pub(crate) buffers_bytes: i64,
}

impl Client {
    /// Reads a line of CLIENT LIST; none when it names no id.
    pub(crate) fn of(line: &str) -> Option<Client> {
        let mut client = Client {
            id: 0,
            address: String::new(),
            name: String::new(),
            user: String::new(),
            flags: String::new(),
            command: String::new(),
            age_s: 0,
            idle_s: 0,
            buffers_bytes: 0,
        };
        for word in line.split(' ') {
            let Some((key, value)) = word.split_once('=') else { continue };
            let number = || value.parse::<i64>().unwrap_or_default();
            match key {
                "id" => client.id = value.parse().ok()?,
                "addr" => client.address = value.into(),
                "name" => client.name = value.into(),
                "user" => client.user = value.into(),
                "flags" => client.flags = value.into(),
                "cmd" => client.command = value.into(),
                "age" => client.age_s = number(),
                "idle" => client.idle_s = number(),
                "qbuf" | "obl" | "omem" => client.buffers_bytes += number(),
                _ => {}
            }
        }
        (client.id > 0).then_some(client)
    }

    /// A link of a replica to this master.
    pub(crate) fn is_replica(&self) -> bool {
        self.flags.contains('S') && !self.flags.contains('O')
    }

    /// Whether an application opened it: no link between servers, no monitor, no Sentinel, none of
    /// ours.
    pub(crate) fn is_application(&self) -> bool {
        let family = self.command.split('|').next().unwrap_or_default();
        let servers = self.flags.contains(['S', 'M', 'O']);
        !servers && !self.name.starts_with("sentinel-") && !WATCHING.contains(&family)
    }
}

impl Client {
    /// Whether a person may have it closed: no link between servers, no Sentinel, none that this
    /// process holds. An application that last said PING is one all the same.
    pub(crate) fn is_closable(&self) -> bool {
        let servers = self.flags.contains(['S', 'M', 'O']);
        !servers && !self.name.starts_with("sentinel-") && !link::is_own(&self.address)
    }
}

/// All connections of a node.
pub(super) async fn list(conn: &mut Conn<'_>) -> Result<Vec<Client>, Trouble> {
    let value = conn.ask(&["CLIENT", "LIST"]).await?;
    let text = String::from_utf8_lossy(reply::bytes(&value).unwrap_or_default()).into_owned();
    Ok(text.lines().filter_map(Client::of).collect())
}

/// Closes it; one that has gone by itself is closed.
pub(super) async fn kill(conn: &mut Conn<'_>, client: &Client) -> Result<(), Trouble> {
    conn.send(&["CLIENT", "KILL", "ID", &client.id.to_string(), "SKIPME", "yes"]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_and_servers_and_monitors_are_no_applications() {
        let of =
            |more: &str| Client::of(&format!("id=7 addr=10.0.0.9:5 name= age=9 {more}")).unwrap();
        let app = of("idle=3 flags=N cmd=get user=default qbuf=10 obl=1 omem=5");
        assert!(app.is_application());
        assert_eq!((app.id, app.age_s, app.idle_s, app.buffers_bytes), (7, 9, 3, 16));
        assert!(of("flags=S cmd=replconf user=default").is_replica());
        for other in [
            "flags=S cmd=replconf",
            "flags=M cmd=get",
            "flags=O cmd=monitor",
            "flags=N cmd=info",
            "flags=N cmd=config|get",
            "name=sentinel-ab12-cmd flags=N cmd=publish",
        ] {
            assert!(!of(other).is_application(), "{other}");
        }
        assert!(of("flags=N cmd=ping").is_closable(), "a pool that pings is an application");
        for other in ["flags=S cmd=replconf", "name=sentinel-ab12-cmd flags=N cmd=publish"] {
            assert!(!of(other).is_closable(), "{other}");
        }
        assert!(Client::of("garbage").is_none());
    }
}

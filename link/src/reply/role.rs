//! ROLE: a RESP array, which clients cannot forge lines into. It decides what a server is.

use model::reading::Role;
use redis::Value;

use super::{items, join_address, number, text};

/// What ROLE says.
#[derive(Debug, Clone, PartialEq)]
pub enum RoleReply {
    /// A master.
    Master {
        /// Replication offset, bytes.
        offset: f64,
        /// Replicas that are online: announced `host:port`, acknowledged offset in bytes.
        replicas: Vec<(String, f64)>,
    },
    /// A replica.
    Replica {
        /// `host:port` of its master.
        master: String,
        /// `connect`, `connecting`, `sync` or `connected`.
        link: String,
        /// Bytes received from the master; -1 before the first synchronisation.
        offset: f64,
    },
    /// A Sentinel, with the names of its masters.
    Sentinel(Vec<String>),
}

impl RoleReply {
    /// The role alone.
    pub fn role(&self) -> Role {
        match self {
            RoleReply::Master { .. } => Role::Master,
            RoleReply::Replica { .. } => Role::Replica,
            RoleReply::Sentinel(_) => Role::Sentinel,
        }
    }
}

/// Reads the reply; none when it has not the shape of one.
pub fn read(value: &Value) -> Option<RoleReply> {
    let parts = items(value)?;
    match text(parts.first()?)?.as_str() {
        "master" => Some(RoleReply::Master {
            offset: number(parts.get(1)?)?,
            replicas: items(parts.get(2)?)?.iter().filter_map(replica).collect(),
        }),
        "slave" => Some(RoleReply::Replica {
            master: join_address(&text(parts.get(1)?)?, &port(parts.get(2)?)?),
            link: text(parts.get(3)?)?,
            offset: number(parts.get(4)?)?,
        }),
        "sentinel" => {
            Some(RoleReply::Sentinel(items(parts.get(1)?)?.iter().filter_map(text).collect()))
        }
        _ => None,
    }
}

fn replica(value: &Value) -> Option<(String, f64)> {
    let parts = items(value)?;
    let address = join_address(&text(parts.first()?)?, &port(parts.get(1)?)?);
    Some((address, number(parts.get(2)?)?))
}

fn port(value: &Value) -> Option<String> {
    number(value).map(|n| format!("{n}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(raw: &str) -> Value {
        redis::parse_redis_value(raw.as_bytes()).unwrap()
    }

    #[test]
    fn the_three_shapes_of_role_are_read() {
        let master = parse(
            "*3\r\n$6\r\nmaster\r\n:42\r\n*1\r\n*3\r\n$3\r\nh-1\r\n$4\r\n6380\r\n$2\r\n40\r\n",
        );
        let replicas = vec![("h-1:6380".to_string(), 40.0)];
        assert_eq!(read(&master), Some(RoleReply::Master { offset: 42.0, replicas }));
        let replica =
            parse("*5\r\n$5\r\nslave\r\n$3\r\n::1\r\n:6379\r\n$9\r\nconnected\r\n:-1\r\n");
        let RoleReply::Replica { master, link, offset } = read(&replica).unwrap() else { panic!() };
        assert_eq!((master.as_str(), link.as_str(), offset), ("[::1]:6379", "connected", -1.0));
        let sentinel = parse("*2\r\n$8\r\nsentinel\r\n*1\r\n$2\r\nm1\r\n");
        assert_eq!(read(&sentinel), Some(RoleReply::Sentinel(vec!["m1".into()])));
        assert_eq!(read(&parse("*1\r\n$6\r\nmaster\r\n")), None);
        assert_eq!(read(&Value::Nil), None);
    }
}

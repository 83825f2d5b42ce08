//! CLIENT LIST, summed up.
//!
//! Invariant: groups are cut to the largest and the rest is summed, whatever names clients give
//! themselves; a line that is no list of `name=value` is left out.

use std::collections::BTreeMap;

use model::At;
use model::detail::{CLIENT_NUMBERS, ClientGroup, ClientLine, Clients};

use super::info::OVERFLOW;
use super::{cut, parse_number};

/// Groups kept of one kind, the rest summed in one more.
const GROUPS_MAX: usize = 50;
/// Clients kept one by one, when they are asked for.
const EACH_MAX: usize = 128;
/// Idle for longer than this is counted, seconds.
const IDLE_S: f64 = 3600.0;

/// Sums up a reply read at `at`; `each` keeps up to 128 clients one by one.
pub fn read(raw: &[u8], at: At, each: bool) -> Clients {
    let mut out = Clients { at, ..Clients::default() };
    let (mut names, mut users, mut hosts) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    let mut kinds = [0u32; KINDS.len()];
    for line in super::info::lines(raw) {
        let Some(client) = Client::of(line) else { continue };
        out.count += 1;
        sum(&mut out, &client);
        kinds[kind(client.flags, client.subscribed())] += 1;
        *names.entry(client.name).or_insert(0) += 1;
        if let Some(user) = client.user {
            *users.entry(user).or_insert(0) += 1;
        }
        *hosts.entry(client.host()).or_insert(0) += 1;
        if each && out.each.len() < EACH_MAX {
            out.each.push(client.line(at));
        }
    }
    out.kinds = KINDS.into_iter().zip(kinds).collect();
    out.by_name = largest(names);
    out.by_user = largest(users);
    out.by_address = largest(hosts);
    out
}

const KINDS: [&str; 5] = ["normal", "replica", "master", "pubsub", "monitor"];

fn kind(flags: &[u8], subscribed: bool) -> usize {
    if flags.contains(&b'S') {
        1
    } else if flags.contains(&b'M') {
        2
    } else if flags.contains(&b'O') {
        4
    } else if flags.contains(&b'P') || subscribed {
        3
    } else {
        0
    }
}

fn sum(out: &mut Clients, client: &Client<'_>) {
    let largest = |value: Option<f64>, so_far: &mut f64| *so_far = so_far.max(value.unwrap_or(0.0));
    largest(client.age, &mut out.age_s_max);
    largest(client.idle, &mut out.idle_s_max);
    out.idle_1h += u32::from(client.idle.is_some_and(|s| s > IDLE_S));
    let query = client.number("qbuf").zip(client.number("qbuf-free")).map(|(a, b)| a + b);
    largest(query, &mut out.query_buffer_bytes_max);
    let output = client.number("omem").map(|list| list + client.number("obl").unwrap_or(0.0));
    largest(output, &mut out.output_buffer_bytes_max);
    if let Some(bytes) = client.number("tot-mem") {
        *out.memory_bytes.get_or_insert(0.0) += bytes;
        largest(Some(bytes), out.memory_bytes_max.get_or_insert(0.0));
    }
}

/// Most clients first, equals by name.
fn largest(groups: BTreeMap<&[u8], u32>) -> Vec<ClientGroup> {
    let mut all: Vec<(&[u8], u32)> = groups.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    let rest: u32 = all.iter().skip(GROUPS_MAX).map(|(_, n)| n).sum();
    all.truncate(GROUPS_MAX);
    let mut out: Vec<ClientGroup> = all
        .into_iter()
        .map(|(text, count)| ClientGroup { text: cut(text).into(), count })
        .collect();
    // Names that differ beyond the cut are one group.
    let mut at = 0;
    while at < out.len() {
        match out[..at].iter().position(|g| g.text == out[at].text) {
            Some(first) => out[first].count += out.remove(at).count,
            None => at += 1,
        }
    }
    if rest > 0 {
        out.push(ClientGroup { text: OVERFLOW.into(), count: rest });
    }
    out
}

/// One line, taken apart once.
struct Client<'a> {
    id: &'a [u8],
    address: &'a [u8],
    name: &'a [u8],
    user: Option<&'a [u8]>,
    flags: &'a [u8],
    db: &'a [u8],
    resp: &'a [u8],
    age: Option<f64>,
    idle: Option<f64>,
    numbers: [f64; CLIENT_NUMBERS.len()],
}

impl<'a> Client<'a> {
    fn of(line: &'a [u8]) -> Option<Client<'a>> {
        let mut client = Client {
            id: b"",
            address: b"",
            name: b"",
            user: None,
            flags: b"",
            db: b"",
            resp: b"",
            age: None,
            idle: None,
            numbers: [f64::NAN; CLIENT_NUMBERS.len()],
        };
        for word in line.split(|b| *b == b' ') {
            let Some(equals) = memchr::memchr(b'=', word) else { continue };
            let value = &word[equals + 1..];
            match &word[..equals] {
                b"id" => client.id = value,
                b"addr" => client.address = value,
                b"name" => client.name = value,
                b"user" => client.user = Some(value),
                b"flags" => client.flags = value,
                b"db" => client.db = value,
                b"resp" => client.resp = value,
                b"age" => client.age = parse_number(value),
                b"idle" => client.idle = parse_number(value),
                other => client.set(other, value),
            }
        }
        (!client.id.is_empty()).then_some(client)
    }

    fn set(&mut self, name: &[u8], value: &[u8]) {
        if let Some(at) = CLIENT_NUMBERS.iter().position(|n| n.as_bytes() == name) {
            self.numbers[at] = parse_number(value).unwrap_or(f64::NAN);
        }
    }

    fn number(&self, name: &str) -> Option<f64> {
        let at = CLIENT_NUMBERS.iter().position(|n| *n == name)?;
        Some(self.numbers[at]).filter(|n| !n.is_nan())
    }

    fn subscribed(&self) -> bool {
        ["sub", "psub", "ssub"].iter().any(|n| self.number(n).is_some_and(|n| n > 0.0))
    }

    /// The address without its port.
    fn host(&self) -> &'a [u8] {
        let colon = memchr::memrchr(b':', self.address).unwrap_or(self.address.len());
        let host = &self.address[..colon];
        host.strip_prefix(b"[").and_then(|h| h.strip_suffix(b"]")).unwrap_or(host)
    }

    fn line(&self, at: At) -> ClientLine {
        let host = self.host();
        let user = self.user.unwrap_or(b"");
        let since = |seconds: Option<f64>| (at.seconds() - seconds.unwrap_or(f64::NAN)).floor();
        ClientLine {
            labels: [self.id, self.name, self.flags, self.db, host, user, self.resp]
                .map(|raw| cut(raw).into()),
            since_s: [since(self.age), since(self.idle)],
            numbers: self.numbers,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: At = At::from_ms(1_000_000);

    #[test]
    fn clients_are_counted_by_name_user_address_and_kind() {
        let raw = b"id=3 addr=10.0.0.1:5 name=web age=9 idle=0 flags=N db=0 qbuf=26 qbuf-free=20 obl=0 omem=0 tot-mem=100 user=app\n\
                    id=4 addr=10.0.0.1:6 name=web age=7300 idle=4000 flags=N db=0 qbuf=0 qbuf-free=0 obl=5 omem=70 tot-mem=300 user=app\n\
                    id=5 addr=[::1]:6 name= age=1 idle=0 flags=S db=0 user=default\n\
                    nonsense\n\
                    id=6 addr=10.0.0.2:6 name= age=1 idle=0 flags=N sub=2 user=default\n";
        let read = read(raw, T, true);
        assert_eq!((read.count, read.idle_1h, read.age_s_max), (4, 1, 7300.0));
        assert_eq!((read.query_buffer_bytes_max, read.output_buffer_bytes_max), (46.0, 75.0));
        assert_eq!((read.memory_bytes, read.memory_bytes_max), (Some(400.0), Some(300.0)));
        let groups = |of: &[ClientGroup]| -> Vec<(String, u32)> {
            of.iter().map(|g| (g.text.to_string(), g.count)).collect()
        };
        assert_eq!(groups(&read.by_name), [("".into(), 2), ("web".into(), 2)]);
        assert_eq!(groups(&read.by_user), [("app".into(), 2), ("default".into(), 2)]);
        let hosts: [(String, u32); 3] =
            [("10.0.0.1".into(), 2), ("10.0.0.2".into(), 1), ("::1".into(), 1)];
        assert_eq!(groups(&read.by_address), hosts);
        assert_eq!(read.kinds[..4], [("normal", 2), ("replica", 1), ("master", 0), ("pubsub", 1)]);
        assert_eq!((&*read.each[0].labels[4], read.each[0].since_s[0]), ("10.0.0.1", 991.0));
    }

    #[test]
    fn a_flood_of_names_is_summed() {
        let raw: String = (0..300).map(|i| format!("id={i} addr=1.1.1.1:1 name=n{i}\n")).collect();
        let read = read(raw.as_bytes(), T, false);
        assert_eq!(read.by_name.len(), GROUPS_MAX + 1);
        assert_eq!(read.by_name.iter().map(|g| g.count).sum::<u32>(), 300);
        assert_eq!(&*read.by_name[GROUPS_MAX].text, OVERFLOW);
        assert!(read.each.is_empty() && read.by_user.is_empty());
    }

    #[test]
    fn a_name_that_looks_like_a_field_stays_a_name() {
        let read = read(b"id=1 addr=1.1.1.1:1 name=user=admin age=3\n", T, false);
        assert_eq!(&*read.by_name[0].text, "user=admin");
        assert!(read.by_user.is_empty());
    }
}

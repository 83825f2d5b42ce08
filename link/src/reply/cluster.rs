//! CLUSTER NODES: one line per node.
//!
//! Invariant: a line that is not exactly one a node writes is dropped and counted as a conflict; a
//! node announced with a line break in its address therefore never passes silently.

use model::reading::{ClusterNode, ClusterView};

use super::cut;

/// Nodes read of one view. A cluster cannot work with more than 1000 nodes, says its specification.
const NODES_MAX: usize = 2000;
/// Slots of a cluster.
const SLOTS: u16 = 16384;

/// Reads a node's view; the second value counts lines no node would write.
pub fn nodes(raw: &[u8]) -> (ClusterView, u32) {
    let mut view = ClusterView::default();
    let mut conflicts = 0;
    let lines = raw.split(|b| *b == b'\n').map(|l| l.strip_suffix(b"\r").unwrap_or(l));
    for line in lines.filter(|l| !l.is_empty()) {
        match std::str::from_utf8(line).ok().and_then(node) {
            Some(node) if view.nodes.len() < NODES_MAX => {
                if node.flags.iter().any(|f| f == "myself") {
                    conflicts += u32::from(!view.my_id.is_empty());
                    view.my_id.clone_from(&node.id);
                }
                view.nodes.push(node);
            }
            _ => conflicts += 1,
        }
    }
    let found = view.nodes.len();
    view.nodes.sort_by(|a, b| a.id.cmp(&b.id));
    view.nodes.dedup_by(|later, first| later.id == first.id);
    conflicts += (found - view.nodes.len()) as u32;
    (view, conflicts)
}

fn node(line: &str) -> Option<ClusterNode> {
    let mut words = line.split(' ');
    let id = words.next().filter(|id| is_node_id(id))?;
    let address = address(words.next()?)?;
    let flags: Vec<String> = words.next()?.split(',').map(str::to_string).collect();
    let master = match words.next()? {
        "-" => None,
        id if is_node_id(id) => Some(id.to_string()),
        _ => return None,
    };
    let _ping_sent: i64 = words.next()?.parse().ok()?;
    let _pong_received: i64 = words.next()?.parse().ok()?;
    let epoch = words.next()?.parse().ok()?;
    let connected = match words.next()? {
        "connected" => true,
        "disconnected" => false,
        _ => return None,
    };
    let mut node = ClusterNode {
        id: id.to_string(),
        address,
        flags,
        master,
        epoch,
        connected,
        slots: Vec::new(),
        open_slots: Vec::new(),
    };
    for word in words {
        match word.starts_with('[') {
            true => node.open_slots.push(cut(word.as_bytes())),
            false => node.slots.push(range(word)?),
        }
    }
    Some(node)
}

fn is_node_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// `host:port` of `ip:port@bus[,hostname[,aux…]]`; empty when the node has no address yet.
fn address(word: &str) -> Option<String> {
    let plain = word.split(',').next()?;
    let plain = plain.split('@').next()?;
    if plain.starts_with(':') {
        return Some(String::new());
    }
    let (host, port) = plain.rsplit_once(':')?;
    let joined = super::join_address(host, port);
    model::id::split_address(&joined)?;
    Some(joined)
}

fn range(word: &str) -> Option<(u16, u16)> {
    let (from, to) = word.split_once('-').unwrap_or((word, word));
    let range: (u16, u16) = (from.parse().ok()?, to.parse().ok()?);
    (range.0 <= range.1 && range.1 < SLOTS).then_some(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_view_names_itself_its_masters_and_their_slots() {
        let raw = format!(
            "{A} 127.0.1.1:7000@17000,,shard-id=x myself,master - 0 1 3 connected 0-5 7 [9->-{B}]\n\
             {B} 127.0.2.1:7001@17001 slave {A} 0 1 3 disconnected\n"
        );
        let (view, conflicts) = nodes(raw.as_bytes());
        assert_eq!((conflicts, view.my_id.as_str(), view.nodes.len()), (0, A, 2));
        assert_eq!(view.nodes[0].slots, [(0, 5), (7, 7)]);
        assert_eq!(view.nodes[0].open_slots, [format!("[9->-{B}]")]);
        assert_eq!(view.nodes[0].address, "127.0.1.1:7000");
        assert_eq!((view.nodes[1].master.as_deref(), view.nodes[1].connected), (Some(A), false));
    }

    #[test]
    fn a_line_break_in_an_announced_address_is_seen_as_a_conflict() {
        let raw = format!(
            "{A} 127.0.1.1:7000@17000 myself,master - 0 1 3 connected 0-16383\n\
             {B} \n{B} 1:7001@17001 master - 0 1 9 connected 0-16383\n"
        );
        let (_, conflicts) = nodes(raw.as_bytes());
        assert!(conflicts >= 1);
    }

    #[test]
    fn a_node_listed_twice_is_a_conflict_and_the_first_wins() {
        let line = |epoch| format!("{A} 127.0.1.1:7000@17000 master - 0 1 {epoch} connected\n");
        let (view, conflicts) = nodes((line(1) + &line(2)).as_bytes());
        assert_eq!((view.nodes.len(), view.nodes[0].epoch, conflicts), (1, 1, 1));
    }
}

//! The topology of a service: rows are shards, columns are zones, cells are nodes, and a rail above
//! each row joins a master with the replicas it feeds.
//!
//! Invariant: every node of the value is drawn once, also when its zone or role is unknown; a
//! broken link is dashed and marked, an unknown state hatched.

use std::collections::BTreeSet;

use model::view::{InstanceItem, ShardLine};

use super::{escape, icon, n};
use crate::format;
use crate::helpers::kind;
use crate::words::{Arg, Voice};

const WIDTH: f64 = 1160.0;
const LABEL: f64 = 118.0;
const HEAD: f64 = 26.0;
const CELL: f64 = 54.0;
const GAP: f64 = 10.0;
/// Room above the cells of a row for the rail.
const RAIL: f64 = 16.0;
/// Width of a digit of the address at its size.
const DIGIT: f64 = 7.3;

/// The grid as SVG. `label` is what a screen reader says.
pub(crate) fn topology(shards: &[ShardLine], label: &str, voice: Voice<'_>) -> String {
    let zones: BTreeSet<&str> =
        shards.iter().flat_map(|s| &s.instances).map(|i| i.zone.as_str()).collect();
    let zones: Vec<&str> = zones.into_iter().collect();
    let grid = Grid { column: (WIDTH - LABEL) / zones.len().max(1) as f64, zones, voice };
    let height: f64 = HEAD + shards.iter().map(|s| grid.row_height(s)).sum::<f64>();
    let mut out = format!(
        r#"<svg class="topology" viewBox="0 0 {} {}" role="img" aria-label="{}">"#,
        n(WIDTH),
        n(height),
        escape(label)
    );
    grid.push_head(&mut out, shards, height);
    let mut y = HEAD;
    for shard in shards {
        grid.push_row(&mut out, shard, y);
        y += grid.row_height(shard);
    }
    out.push_str("</svg>");
    out
}

struct Grid<'a> {
    zones: Vec<&'a str>,
    column: f64,
    voice: Voice<'a>,
}

impl Grid<'_> {
    fn x(&self, zone: &str) -> f64 {
        let at = self.zones.iter().position(|z| *z == zone).unwrap_or(0);
        LABEL + at as f64 * self.column
    }

    /// Nodes of one zone stand below each other.
    fn row_height(&self, shard: &ShardLine) -> f64 {
        let in_zone = |zone: &&str| shard.instances.iter().filter(|i| i.zone == **zone).count();
        let most = self.zones.iter().map(in_zone).max().unwrap_or(1).max(1);
        RAIL + most as f64 * (CELL + 6.0) + GAP
    }

    fn push_head(&self, out: &mut String, shards: &[ShardLine], height: f64) {
        for zone in &self.zones {
            let here = || shards.iter().flat_map(|s| &s.instances).filter(|i| i.zone == **zone);
            let masters = here().filter(|i| i.role == "master").count();
            // Without every role, "no master" would be a guess.
            let count = if masters == 0 && here().any(|i| i.role.is_empty()) {
                String::new()
            } else {
                self.voice.say("topology-masters", &[("n", Arg::Number(masters as f64))])
            };
            let x = self.x(zone);
            let name =
                if zone.is_empty() { self.voice.say("unknown", &[]) } else { (*zone).into() };
            out.push_str(&format!(
                r#"<rect class="zone" x="{}" y="0" width="{}" height="{}" rx="8"/><text class="zone-name" x="{}" y="18">{}<tspan class="soft" dx="8">{}</tspan></text>"#,
                n(x), n(self.column - GAP), n(height), n(x + 10.0), escape(&name), escape(&count)
            ));
        }
    }

    fn push_row(&self, out: &mut String, shard: &ShardLine, y: f64) {
        let height = self.row_height(shard);
        if !shard.violations.is_empty() {
            out.push_str(&format!(
                r#"<rect class="violated" x="1" y="{}" width="{}" height="{}" rx="8"/>"#,
                n(y + 5.0),
                n(WIDTH - GAP),
                n(height - GAP)
            ));
        }
        self.push_label(out, shard, y + RAIL);
        let places = self.places(shard, y + RAIL);
        self.push_rail(out, &places, y + RAIL / 2.0);
        for (node, x, y) in &places {
            self.push_cell(out, node, *x, *y);
        }
    }

    fn places<'s>(&self, shard: &'s ShardLine, y: f64) -> Vec<(&'s InstanceItem, f64, f64)> {
        let mut used = vec![0.0; self.zones.len()];
        let place = |node: &'s InstanceItem| {
            let at = self.zones.iter().position(|z| *z == node.zone).unwrap_or(0);
            let level: f64 = used[at];
            used[at] += 1.0;
            (node, self.x(&node.zone) + 8.0, y + level * (CELL + 6.0))
        };
        shard.instances.iter().map(place).collect()
    }

    fn push_label(&self, out: &mut String, shard: &ShardLine, y: f64) {
        let number = shard.shard.to_string();
        let name = self.voice.say("topology-shard", &[("n", number.into())]);
        out.push_str(&format!(
            r#"<text class="shard-name" x="12" y="{}">{}</text>"#,
            n(y + 16.0),
            escape(&name)
        ));
        let k = kind::grade(shard.health.grade.as_str());
        let score = shard.health.score.map_or("–".to_owned(), format::score);
        out.push_str(&format!(
            r#"<g class="k-{k}" transform="translate(12 {})"><g class="shape">{}</g><text class="kfg" x="17" y="11">{score}</text></g>"#,
            n(y + 23.0),
            sized(k)
        ));
        if let Some(slots) = shard.slots {
            let text = self
                .voice
                .say("topology-slots", &[("n", format::grouped(f64::from(slots), 0).into())]);
            out.push_str(&format!(
                r#"<text class="soft" x="12" y="{}">{}</text>"#,
                n(y + 50.0),
                escape(&text)
            ));
        }
    }

    fn push_rail(&self, out: &mut String, places: &[(&InstanceItem, f64, f64)], y: f64) {
        let centre = |x: f64| x + (self.column - GAP - 16.0) / 2.0;
        let Some((_, master_x, master_y)) = places.iter().find(|p| p.0.role == "master") else {
            return;
        };
        let from = centre(*master_x);
        for (node, x, cell_y) in places.iter().filter(|p| p.0.role == "slave") {
            let class = match node.link_up {
                Some(true) => "rail",
                Some(false) => "rail rail-broken",
                None => "rail rail-unknown",
            };
            let to = centre(*x);
            // A broken link runs beside the good ones, not on top of them.
            let y = if node.link_up == Some(false) { y - 4.0 } else { y };
            let line = if (to - from).abs() < 1.0 {
                format!("M{} {}V{}", n(from), n(master_y + CELL), n(*cell_y))
            } else {
                format!("M{} {}V{}H{}V{}", n(from), n(*master_y), n(y), n(to), n(*cell_y))
            };
            out.push_str(&format!(
                r#"<path class="{class}" d="{line}"/><path class="{class} tip" d="M{} {}l4 -5h-8z"/>"#,
                n(to), n(*cell_y)
            ));
        }
    }

    fn push_cell(&self, out: &mut String, node: &InstanceItem, x: f64, y: f64) {
        let width = self.column - GAP - 16.0;
        let k = kind::verdict(&node.state);
        out.push_str(&format!(
            r#"<g class="node k-{k}" transform="translate({} {})"><title>{}</title><rect class="card" width="{}" height="{}" rx="6"/><path class="edge" d="M2.5 5v{}"/>"#,
            n(x), n(y), escape(&self.sentence(node)), n(width), n(CELL), n(CELL - 10.0)
        ));
        let (letter, class) = match node.role.as_str() {
            "master" => ("M", "role role-m"),
            "slave" => ("R", "role"),
            _ => ("?", "role role-u"),
        };
        out.push_str(&format!(
            r#"<g class="{class}"><rect x="11" y="8" width="18" height="18" rx="4"/><text x="20" y="21">{letter}</text></g>"#
        ));
        let room = ((width - 118.0) / DIGIT).max(9.0) as usize;
        out.push_str(&format!(
            r#"<text class="address" x="37" y="21.5">{}</text>"#,
            escape(&shorten(&node.address, room))
        ));
        let word = self.voice.word("verdict", &node.state);
        out.push_str(&format!(
            r#"<text class="kfg end" x="{}" y="21.5">{}</text><g class="shape" transform="translate({} 10)">{}</g>"#,
            n(width - 28.0), escape(&word), n(width - 23.0), sized(k)
        ));
        self.push_facts(out, node, width);
        out.push_str("</g>");
    }

    fn push_facts(&self, out: &mut String, node: &InstanceItem, width: f64) {
        let (left, right) = (37.0, width - 10.0);
        if node.state != "up" {
            let why = if node.reason.is_empty() {
                self.voice.say("unknown", &[])
            } else {
                crate::sentences::said(self.voice.lang, &node.reason)
            };
            let room = ((right - left) / 6.2) as usize;
            out.push_str(&format!(
                r#"<text class="soft" x="{}" y="43">{}</text>"#,
                n(left),
                escape(&shorten(&why, room))
            ));
            return;
        }
        let mut bar_end = right;
        if node.role == "slave" {
            let (text, class) = self.lag(node);
            out.push_str(&format!(
                r#"<text class="{class} end" x="{}" y="43">{}</text>"#,
                n(right),
                escape(&text)
            ));
            bar_end = right - 92.0;
        }
        let Some(used) = node.memory_used_bytes else { return };
        let limit = node.memory_max_bytes.filter(|m| *m > 0.0);
        let text = match limit {
            Some(max) => format!("{} · {}", format::bytes(used), format::percent(used / max)),
            None => format::bytes(used),
        };
        let Some(max) = limit else {
            out.push_str(&format!(
                r#"<text class="soft" x="{}" y="43">{}</text>"#,
                n(left),
                escape(&text)
            ));
            return;
        };
        let k = kind::ratio(used / max);
        let room = (bar_end - left - 112.0).clamp(20.0, 90.0);
        out.push_str(&format!(
            r#"<g class="k-{k}"><rect class="track" x="{l}" y="36" width="{w}" height="6" rx="3"/><rect class="level solid" x="{l}" y="36" width="{f}" height="6" rx="3"/></g><text class="soft" x="{t}" y="43">{}</text>"#,
            escape(&text), l = n(left), w = n(room), f = n(room * (used / max).clamp(0.0, 1.0)), t = n(left + room + 7.0)
        ));
    }

    fn lag(&self, node: &InstanceItem) -> (String, &'static str) {
        match (node.link_up, node.lag_bytes) {
            (Some(false), _) => (self.voice.say("topology-link-down", &[]), "bad"),
            (_, Some(lag)) => {
                (self.voice.say("topology-lag", &[("bytes", format::bytes(lag).into())]), "soft")
            }
            _ => (self.voice.say("topology-lag-unknown", &[]), "soft"),
        }
    }

    fn sentence(&self, node: &InstanceItem) -> String {
        let role = self.voice.word("role", if node.role.is_empty() { "none" } else { &node.role });
        let state = self.voice.word("verdict", &node.state);
        format!("{} · {role} · {} · {state} {}", node.address, node.zone, node.reason)
    }
}

/// A status shape without its own `svg` element, so that it can be moved into place.
fn sized(name: &str) -> String {
    let svg = icon(name);
    let body = svg.find('>').map_or("", |i| &svg[i + 1..]);
    format!(r#"<g transform="scale(0.8)">{}</g>"#, body.trim_end_matches("</svg>"))
}

/// Leaves the start and the port: what tells nodes of one host apart.
fn shorten(text: &str, room: usize) -> String {
    let length = text.chars().count();
    if length <= room {
        return text.to_owned();
    }
    let tail = 6.min(room / 2);
    let head: String = text.chars().take(room - tail - 1).collect();
    let end: String = text.chars().skip(length - tail).collect();
    format!("{head}…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_address_keeps_its_start_and_its_port() {
        assert_eq!(shorten("cart-redis-0.cart.svc.cluster.local:6379", 20), "cart-redis-0.…l:6379");
        assert_eq!(shorten("127.0.1.1:6379", 20), "127.0.1.1:6379");
    }
}

//! How often the source of a metric is read: how old a value may be.
//!
//! Invariant: follows from the commands the source names; a test holds it against the polls' own
//! tables, so a command that changes its tier changes it here too.

use super::Page;

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Known without asking a server: the inventory, what cachewarden itself does.
    Known,
    /// With every poll, 15 s unless configured otherwise.
    Poll,
    /// Every minute.
    Minute,
    /// Every five minutes.
    FiveMinutes,
    /// As its definition says.
    Item,
}

impl Tier {
    /// Its word on the reference page.
    pub fn as_str(self) -> &'static str {
        match self {
            Tier::Known => "–",
            Tier::Poll => "poll",
            Tier::Minute => "1 min",
            Tier::FiveMinutes => "5 min",
            Tier::Item => "item",
        }
    }
}

/// Commands that are not part of every poll.
const SLOWER: [(&str, Tier); 13] = [
    ("INFO latencystats", Tier::Minute),
    ("LATENCY HISTOGRAM", Tier::Minute),
    ("COMMANDLOG LEN", Tier::Minute),
    ("SLOWLOG GET", Tier::Minute),
    ("slow log", Tier::Minute),
    ("accept probe", Tier::Minute),
    ("CONFIG GET", Tier::FiveMinutes),
    ("ACL ", Tier::FiveMinutes),
    ("MODULE LIST", Tier::FiveMinutes),
    ("INFO modules", Tier::FiveMinutes),
    ("CLIENT LIST", Tier::FiveMinutes),
    ("CLUSTER SHARDS", Tier::FiveMinutes),
    ("CLUSTER SLOT-STATS", Tier::FiveMinutes),
];
/// Sources that are no server.
const KNOWN: [&str; 8] = [
    "constant",
    "inventory",
    "maintenance windows",
    "ops",
    "alerter",
    "policy",
    "encoder",
    "topology",
];

/// By the source; of several commands the slowest counts.
pub(crate) fn of(source: &str, page: Page) -> Tier {
    if KNOWN.contains(&source) {
        return Tier::Known;
    }
    if source == "custom items" {
        return Tier::Item;
    }
    // The newest entry is read with every poll; its id tells how many are new.
    let newest = page == Page::Scrape && source.contains("SLOWLOG GET 1");
    let named = SLOWER.iter().filter(|(part, _)| source.contains(part));
    let slower = named.filter(|(part, _)| !newest || *part != "SLOWLOG GET");
    slower.map(|(_, tier)| *tier).max().unwrap_or(Tier::Poll)
}

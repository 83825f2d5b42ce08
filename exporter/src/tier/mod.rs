//! The slower polls: what is read every minute and every five, on the connection of the fast ones.
//!
//! Invariant: they never make a poll fail that has read INFO; each part is asked for by itself, so the
//! one a server cannot answer in time or in bounds is known, paused and named in `missing`, and the
//! others go on. Times are spread by the instance, so a fleet that starts together does not ask
//! together. Results are kept until they are read again, until the server starts anew, or until they
//! are too old to pass for the present.

mod ask;
mod fill;
mod names;
mod slow;

use link::{Pipeline, Value};
use model::At;
use model::detail::Detail;
use model::field::Field;
use model::reading::{Facts, Reason};
use model::service::InstanceKind;

use crate::ability::Ability;
use ask::Ask;
pub(crate) use ask::{Wishes, every};
use slow::SlowWatch;

/// Between two readings of durations and logs.
const MINUTE_MS: i64 = 60_000;
/// Between two readings of all else.
const RARELY_MS: i64 = 300_000;
/// Everything is asked for the first time within this time of the first poll, so that a page is
/// complete within its first minute at the usual 15 s.
const FIRST_MS: i64 = 30_000;
/// A refused command is tried again after this time: an ACL may have been mended.
const RELEARN_MS: i64 = 300_000;
/// A part whose reply is above its budget is left alone for this time: asking costs a good poll, and
/// it will not soon be smaller. One that broke the connection otherwise is asked again after 1, 2, 4 …
/// minutes, up to this.
const PAUSE_MS: i64 = 3_600_000;
/// Put off so often in a row, a part is said to be missing.
const POSTPONED_MAX: u32 = 3;
/// CLIENT LIST is linear: 0.65 ms of the server and 280 kB for 1 050 clients. Up to the first number
/// it is asked every five minutes, up to the second every half hour, beyond it would burst its
/// budget of 1 MiB.
const CLIENTS_OFTEN: f64 = 2000.0;
const CLIENTS_MAX: f64 = 3000.0;
const CLIENTS_SELDOM_MS: i64 = 1_800_000;

/// A part of the slower polls: one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Minute,
    Settings,
    Clients,
    Cluster,
}

const PARTS: [Part; 4] = [Part::Minute, Part::Settings, Part::Clients, Part::Cluster];

impl Part {
    fn period_ms(self) -> i64 {
        if self == Part::Minute { MINUTE_MS } else { RARELY_MS }
    }

    /// Its name in `Facts::missing` when it as a whole could not be read.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Part::Minute => "LATENCY HISTOGRAM, SLOWLOG GET",
            Part::Settings => "CONFIG GET, ACL LIST",
            Part::Clients => "CLIENT LIST",
            Part::Cluster => "CLUSTER SHARDS",
        }
    }
}

/// How one part fares.
#[derive(Debug, Clone, Default)]
struct Course {
    /// Connections it broke in a row.
    breaks: u32,
    /// Polls in a row that had no time left for it.
    postponed: u32,
    /// Why as a whole it is not read at present.
    trouble: Option<String>,
}

/// A part to be asked for now.
pub(crate) struct Errand {
    pub(crate) part: Part,
    asks: Vec<Ask>,
    pub(crate) packed: Pipeline,
}

/// The slower polls of one instance.
pub(crate) struct Tiers {
    seed: u64,
    wishes: Wishes,
    able: Ability,
    /// By `Part as usize`; none before the first poll.
    due: Option<[At; PARTS.len()]>,
    courses: [Course; PARTS.len()],
    /// When each part was last known to be of the present; set with `due`.
    fresh: [At; PARTS.len()],
    /// So many clients that they are asked for seldom.
    seldom: bool,
    /// Which server process the results are of.
    run_id: String,
    slow: SlowWatch,
    kept: Detail,
    /// (command, the server's words, since).
    refused: Vec<(&'static str, String, At)>,
}

impl Tiers {
    /// For one instance; `seed` places it in time.
    pub(crate) fn new(seed: u64, wishes: Wishes) -> Tiers {
        Tiers {
            seed,
            wishes,
            able: Ability::default(),
            due: None,
            courses: Default::default(),
            fresh: [At::from_ms(0); PARTS.len()],
            seldom: false,
            run_id: String::new(),
            slow: SlowWatch::default(),
            kept: Detail::default(),
            refused: Vec::new(),
        }
    }

    /// Takes changed wishes.
    pub(crate) fn set_wishes(&mut self, wishes: Wishes) {
        self.wishes = wishes;
    }

    /// Looks at what a fast poll read, before the errands.
    pub(crate) fn meet(&mut self, facts: &Facts, kind: InstanceKind, now: At) {
        if self.run_id != facts.text.run_id {
            if !self.run_id.is_empty() {
                self.slow.restarted();
            }
            self.run_id.clone_from(&facts.text.run_id);
            self.kept = Detail::default();
            self.refused.clear();
            self.able = Ability::of(&facts.text, kind);
            self.due = None;
            self.courses = Default::default();
        }
        self.slow.meet(&facts.slowlog, now);
        if self.kept.slow.is_none() {
            self.kept.slow = self.slow.tally();
        }
        if self.due.is_none() {
            self.fresh = [now; PARTS.len()];
        }
        let due = self.due.get_or_insert_with(|| {
            PARTS.map(|part| now + (spread(self.seed, part) % FIRST_MS as u64) as i64)
        });
        if self.slow.hurries(&facts.slowlog) {
            let minute = &mut due[Part::Minute as usize];
            *minute = (*minute).min(now);
        }
    }

    /// The next part that is due and has something to ask; each is handed out once.
    pub(crate) fn next(&mut self, facts: &Facts, now: At) -> Option<Errand> {
        for part in PARTS {
            if self.due.is_none_or(|due| due[part as usize] > now) {
                continue;
            }
            self.schedule(part, now);
            let asks = self.asks(part, facts, now);
            if !asks.is_empty() {
                let args: Vec<Vec<String>> = asks.iter().map(|ask| ask.args()).collect();
                let args: Vec<Vec<&str>> =
                    args.iter().map(|a| a.iter().map(String::as_str).collect()).collect();
                let args: Vec<&[&str]> = args.iter().map(Vec::as_slice).collect();
                return Some(Errand { part, packed: Pipeline::new(&args), asks });
            }
            self.courses[part as usize] = Course::default();
            if part == Part::Minute {
                // Nothing new in the slow log: what is known of it is of the present.
                self.fresh[part as usize] = now;
            }
        }
        None
    }

    /// Puts an errand off to the next poll; the part is missing when that goes on.
    pub(crate) fn postpone(&mut self, errand: &Errand, now: At) {
        self.set_due(errand.part, now);
        let course = &mut self.courses[errand.part as usize];
        course.postponed = course.postponed.saturating_add(1);
        if course.postponed >= POSTPONED_MAX {
            let why = "the server takes more than half the deadline for the fast poll";
            course.trouble = Some(format!("put off {} times: {why}", course.postponed));
        }
    }

    /// The connection broke on an errand: leaves the part alone for a while.
    pub(crate) fn pause(&mut self, errand: &Errand, reason: Reason, why: String, now: At) {
        let course = &mut self.courses[errand.part as usize];
        // 2⁶ minutes are above the longest wait.
        let doubled = MINUTE_MS << course.breaks.min(6);
        let wait = if reason == Reason::TooLarge { PAUSE_MS } else { doubled.min(PAUSE_MS) };
        let breaks = course.breaks.saturating_add(1);
        *course = Course { breaks, postponed: 0, trouble: Some(why) };
        self.set_due(errand.part, now + wait);
    }

    /// Takes the replies to an errand.
    pub(crate) fn take(&mut self, errand: &Errand, replies: &[Value], facts: &Facts, now: At) {
        // A part may bear the name of its only command, so it is cleared first.
        self.refused.retain(|(command, _, _)| *command != errand.part.name());
        for (ask, reply) in errand.asks.iter().zip(replies) {
            match link::reply::error(reply) {
                Some(said) => self.refuse(ask.command(), said, now),
                None => self.refused.retain(|(command, _, _)| *command != ask.command()),
            }
        }
        self.courses[errand.part as usize] = Course::default();
        if replies.iter().any(|reply| link::reply::error(reply).is_none()) {
            self.fresh[errand.part as usize] = now;
        }
        let replies: Vec<(Ask, &Value)> = errand.asks.iter().copied().zip(replies).collect();
        let kept = &mut self.kept;
        match errand.part {
            Part::Minute => {
                if let Some((asked, entries)) = fill::slow_entries(&replies) {
                    self.slow.take(asked, entries, now);
                    kept.slow = self.slow.tally();
                }
                kept.latencies = fill::latencies(&replies, facts, now);
                kept.commandlog = fill::commandlog(&replies);
            }
            Part::Settings => kept.settings = Some(fill::settings(&replies, now)),
            Part::Clients => {
                let each = self.wishes.client_list;
                kept.clients = fill::clients(&replies, each, now).or(kept.clients.take());
            }
            Part::Cluster => kept.cluster = Some(fill::cluster(&replies, now)),
        }
    }

    /// Adds to a reading what is known, and what was refused or could not be read.
    pub(crate) fn complete(&self, facts: &mut Facts, now: At) {
        let mut detail = self.kept.clone();
        for part in PARTS.into_iter().filter(|part| self.is_stale(*part, now)) {
            match part {
                Part::Minute => {
                    (detail.latencies, detail.slow, detail.commandlog) = (None, None, None);
                }
                Part::Settings => detail.settings = None,
                Part::Clients => detail.clients = None,
                Part::Cluster => detail.cluster = None,
            }
        }
        facts.detail = detail;
        facts.missing.extend(self.refused.iter().map(|(command, why, _)| (*command, why.clone())));
        let troubles = PARTS.iter().zip(&self.courses);
        let troubles = troubles.filter_map(|(p, c)| Some((p.name(), c.trouble.clone()?)));
        facts.missing.extend(troubles);
    }

    /// Whether a part missed two of its times, and a minute: its values would pass for the present.
    fn is_stale(&self, part: Part, now: At) -> bool {
        let seldom = part == Part::Clients && self.seldom;
        let period = if seldom { CLIENTS_SELDOM_MS } else { part.period_ms() };
        now.since_ms(self.fresh[part as usize]) > 2 * period + MINUTE_MS
    }

    fn asks(&mut self, part: Part, facts: &Facts, now: At) -> Vec<Ask> {
        let able = self.able;
        let mut asks = match part {
            Part::Minute => ask::minute(able, self.wishes, |log| self.slow.wanted(log), facts),
            Part::Settings => ask::settings(able, self.wishes),
            Part::Clients => self.clients(facts, now),
            // The settings kept here say what the cluster counts.
            Part::Cluster => ask::cluster(able, self.kept.settings.as_deref(), facts),
        };
        let again = |since: At| now.since_ms(since) >= RELEARN_MS;
        asks.retain(|ask| {
            !self.refused.iter().any(|(c, _, since)| *c == ask.command() && !again(*since))
        });
        asks
    }

    fn clients(&mut self, facts: &Facts, now: At) -> Vec<Ask> {
        let connected = facts.values.get(Field::ConnectedClients).unwrap_or(0.0);
        if connected > CLIENTS_MAX {
            let why = format!("{connected} clients: the list would be above its budget");
            self.kept.clients = None;
            self.refuse(Part::Clients.name(), why, now);
            return Vec::new();
        }
        self.seldom = connected > CLIENTS_OFTEN;
        if self.seldom {
            self.set_due(Part::Clients, now + CLIENTS_SELDOM_MS);
        }
        vec![Ask::Clients]
    }

    fn refuse(&mut self, command: &'static str, why: String, now: At) {
        match self.refused.iter_mut().find(|(known, _, _)| *known == command) {
            Some(known) => (known.1, known.2) = (why, now),
            None => self.refused.push((command, why, now)),
        }
    }

    fn set_due(&mut self, part: Part, at: At) {
        if let Some(due) = &mut self.due {
            due[part as usize] = at;
        }
    }

    /// The next of the part's own times, at least half a period away.
    fn schedule(&mut self, part: Part, now: At) {
        let period = part.period_ms();
        let phase = (spread(self.seed, part) % period as u64) as i64;
        let earliest = now.ms() + period / 2;
        let next = earliest + (phase - earliest).rem_euclid(period);
        self.set_due(part, At::from_ms(next));
    }
}

/// A number of the instance and the part, well mixed.
fn spread(seed: u64, part: Part) -> u64 {
    let mixed = (seed ^ (part as u64 + 1)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 16
}

#[cfg(test)]
mod tests;

//! From polls of one shard's master to unbroken spans of good, bad and unknown time.
//!
//! Invariant: spans follow each other without gap or overlap. A bad one runs from the first failed
//! probe's sending to the first good reply; what cannot be told is unknown, never bad and never good.

use model::At;

/// What a span of time was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The master answered and took writes.
    Good,
    /// It did not.
    Bad,
    /// Nobody can say.
    Unknown,
}

/// What one poll says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// It answered and takes writes.
    Good,
    /// It cannot be used.
    Bad,
    /// It did not answer, and that is not confirmed yet.
    Pending,
    /// Nothing is known.
    Unknown,
}

/// A poll of a shard's master.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// When it was sent.
    pub began: At,
    /// When the answer was there, or the failure known.
    pub at: At,
    /// What it says.
    pub sight: Sight,
    /// Which process in which role; another one means that something happened in between.
    pub who: u64,
    /// Writes it refused so far.
    pub refusals: f64,
    /// Time between the ends of two polls above which nobody looked, ms.
    pub gap_ms: i64,
}

/// A span of one state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Span {
    /// From.
    pub from: At,
    /// To.
    pub to: At,
    /// What it was.
    pub state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Decided {
    at: At,
    state: State,
    who: u64,
    refusals: f64,
}

/// The latest decision, and what waits for one.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ledger {
    last: Option<Decided>,
    /// Sending of the first probe that failed without being confirmed, and the latest such probe.
    pending: Option<(At, At)>,
}

impl Ledger {
    /// A ledger that was kept until then by somebody who is gone.
    pub fn resumed(until: At) -> Ledger {
        let last = Decided { at: until, state: State::Unknown, who: 0, refusals: 0.0 };
        Ledger { last: Some(last), pending: None }
    }

    /// Takes a poll in; a poll that is not newer than the last one is nothing new.
    pub fn take(&mut self, look: &Look, out: &mut impl FnMut(Span)) {
        let latest = self.pending.map(|(_, at)| at).or(self.last.map(|l| l.at));
        if latest.is_some_and(|latest| look.at <= latest) {
            return;
        }
        let state = match look.sight {
            Sight::Pending => {
                let since = self.pending.map_or(look.began, |(since, _)| since);
                self.pending = Some((since, look.at));
                return;
            }
            Sight::Good => State::Good,
            Sight::Bad => State::Bad,
            Sight::Unknown => State::Unknown,
        };
        let mut cut = Cut { from: self.last.map(|l| l.at), out };
        // To its end: an answer that waited for us while we stood still proves nothing either.
        let gap = latest.is_some_and(|latest| look.at.since_ms(latest) > look.gap_ms);
        if gap {
            // Nobody looked: also an unconfirmed failure proves nothing any more.
            cut.until(look.at, State::Unknown);
        } else if let Some(last) = self.last {
            self.decide(last, look, state, &mut cut);
        }
        self.pending = None;
        let Look { at, who, refusals, .. } = *look;
        self.last = Some(Decided { at, state, who, refusals });
    }

    fn decide<F: FnMut(Span)>(
        &self,
        last: Decided,
        look: &Look,
        state: State,
        cut: &mut Cut<'_, F>,
    ) {
        if let Some((since, _)) = self.pending {
            cut.until(since, last.state);
            // Two answers around it: it was silent, that is certain. Unknown since: so was this.
            let then = if state == State::Unknown { State::Unknown } else { State::Bad };
            return cut.until(look.at, then);
        }
        match (last.state, state) {
            (State::Good, State::Good) => {
                let between = match () {
                    () if last.who != look.who => State::Unknown,
                    () if look.refusals > last.refusals => State::Bad,
                    () => State::Good,
                };
                cut.until(look.at, between);
            }
            // Until the answer came, it was what it had been.
            (before, State::Good) => cut.until(look.at, before),
            (before, after) => {
                cut.until(look.began, before);
                cut.until(look.at, after);
            }
        }
    }
}

/// Cuts time into spans.
struct Cut<'f, F: FnMut(Span)> {
    from: Option<At>,
    out: &'f mut F,
}

impl<F: FnMut(Span)> Cut<'_, F> {
    fn until(&mut self, to: At, state: State) {
        if let Some(from) = self.from.filter(|from| *from < to) {
            (self.out)(Span { from, to, state });
            self.from = Some(to);
        }
    }
}

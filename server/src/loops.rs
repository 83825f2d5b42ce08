//! The named loops: how each is paced and what is known of its health.
//!
//! Invariant: a round that fails is counted and logged once per change of its message, never fatal;
//! a panic ends the process, for nobody can say what the loop left half done. Refuses to know what
//! a round does.

mod alerting;
mod rounds;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use model::At;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::app::App;

/// What is known of one loop.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoopState {
    /// Rounds so far.
    pub rounds: u64,
    /// Of them failed.
    pub errors: u64,
    /// Duration of the latest round, seconds.
    pub duration_s: f64,
    /// End of the latest good round.
    pub last_success: Option<At>,
    /// Message of the latest round when it failed.
    pub error: String,
}

/// All loops by name.
#[derive(Default)]
pub struct LoopBook(Mutex<BTreeMap<&'static str, LoopState>>);

impl LoopBook {
    /// A copy, by name.
    pub fn states(&self) -> BTreeMap<&'static str, LoopState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the end of a round; answers whether the message is a new one.
    fn note(&self, name: &'static str, took: Duration, error: Option<String>, now: At) -> bool {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let state = book.entry(name).or_default();
        state.rounds += 1;
        state.duration_s = took.as_secs_f64();
        let new = error.as_ref().is_some_and(|e| *e != state.error);
        match error {
            Some(error) => {
                state.errors += 1;
                state.error = error;
            }
            None => {
                state.last_success = Some(now);
                state.error.clear();
            }
        }
        new
    }
}

/// When a loop runs.
pub(crate) struct Pace<'a> {
    /// At least this often.
    pub every: Duration,
    /// And whenever this is woken.
    pub wake: Option<&'a Notify>,
}

/// Runs `round` until `stop`; a round that has begun ends before the loop does.
pub(crate) async fn run<F, Fut>(
    app: &App,
    name: &'static str,
    pace: Pace<'_>,
    stop: CancellationToken,
    mut round: F,
) where
    F: FnMut(At) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    let mut timer = tokio::time::interval(pace.every);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        let woken = async {
            match pace.wake {
                Some(wake) => wake.notified().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            _ = timer.tick() => {}
            () = woken => {}
        }
        let began = Instant::now();
        let ended = round(app.now()).await;
        note(app, name, began.elapsed(), ended.err());
    }
}

/// Notes a round and logs its error when it is a new one.
pub(crate) fn note(app: &App, name: &'static str, took: Duration, error: Option<anyhow::Error>) {
    let said = error.map(|e| format!("{e:#}"));
    if app.loops.note(name, took, said.clone(), app.now())
        && let Some(said) = said
    {
        tracing::error!(
            name,
            error = said,
            "a round failed; it is repeated, and logged again when the message changes"
        );
    }
}

/// The loops of the process in two groups: those that begin things, and those that look.
pub(crate) struct Loops {
    deciding: Group,
    observing: Group,
}

struct Group {
    tasks: JoinSet<&'static str>,
    stop: CancellationToken,
}

impl Group {
    fn new() -> Group {
        Group { tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    fn spawn<Fut>(&mut self, name: &'static str, run: impl FnOnce(CancellationToken) -> Fut)
    where
        Fut: Future<Output = ()> + Send + 'static,
    {
        let run = run(self.stop.clone());
        self.tasks.spawn(async move {
            run.await;
            name
        });
    }

    /// Waits for a task that ended although nobody asked it to; for ever when none does.
    async fn broken(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok(name)) => format!("the loop {name} ended by itself"),
            Some(Err(e)) => format!("a loop panicked: {e}"),
            None => std::future::pending().await,
        }
    }

    async fn stop(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(e) = ended {
                tracing::error!(error = %e, "a loop ended badly");
            }
        }
    }
}

impl Loops {
    /// Starts every loop.
    pub(crate) fn start(app: &Arc<App>) -> Loops {
        let mut loops = Loops { deciding: Group::new(), observing: Group::new() };
        rounds::observe(app, &mut loops.observing);
        rounds::decide(app, &mut loops.deciding);
        loops
    }

    /// Waits for a loop that ended although nobody asked it to, and says how.
    pub(crate) async fn broken(&mut self) -> String {
        tokio::select! {
            why = self.deciding.broken() => why,
            why = self.observing.broken() => why,
        }
    }

    /// Ends the loops that begin things.
    pub(crate) async fn stop_deciding(&mut self) {
        self.deciding.stop().await;
    }

    /// Ends the others.
    pub(crate) async fn stop_observing(&mut self) {
        self.observing.stop().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_new_once_and_again_after_a_good_round() {
        let book = LoopBook::default();
        let note = |error: Option<&str>| {
            book.note("x", Duration::from_secs(2), error.map(str::to_string), At::from_ms(7))
        };
        assert_eq!([note(Some("a")), note(Some("a")), note(Some("b"))], [true, false, true]);
        assert!(!note(None));
        assert!(note(Some("b")));
        let state = &book.states()["x"];
        assert_eq!((state.rounds, state.errors, state.last_success), (5, 4, Some(At::from_ms(7))));
    }
}

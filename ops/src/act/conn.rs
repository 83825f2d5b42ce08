//! A conversation with one node of the operation's service.
//!
//! Invariant: what was read and what is sent then go over the same connection; every changing
//! command passes lease, deadline and journal first; "refused" (nothing happened) and "lost" (nobody
//! knows) are never mixed up.

use std::time::Duration;

use link::reply::{self, role::RoleReply};
use model::InstanceId;
use model::reading::Reason;

use super::{ActError, Cx};

/// Connecting to a healthy server takes milliseconds; behind this it is not one to act on.
const DIAL_MAX: Duration = Duration::from_secs(1);
/// Longest wait for one reply. Short, because clients may be held meanwhile.
const CALL_MAX: Duration = Duration::from_millis(700);

/// Why a command was not answered well.
#[derive(Debug, Clone)]
pub(super) enum Trouble {
    /// The server said no, or said something that rules the command out: it did not happen.
    Refused(String),
    /// No process listens there.
    Gone(String),
    /// No answer: it may have happened.
    Lost(String),
    /// We may not send.
    Barred(ActError),
}

impl From<Trouble> for ActError {
    fn from(trouble: Trouble) -> ActError {
        match trouble {
            Trouble::Refused(why) => ActError::Failed(why),
            Trouble::Gone(why) | Trouble::Lost(why) => ActError::Retry(why),
            Trouble::Barred(error) => error,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Trouble::Refused(why) | Trouble::Gone(why) | Trouble::Lost(why) => f.write_str(why),
            Trouble::Barred(error) => error.fmt(f),
        }
    }
}

/// A connection to a node or Sentinel.
pub(super) struct Conn<'c> {
    cx: &'c Cx<'c>,
    /// Whose.
    pub id: InstanceId,
    link: link::Link,
}

impl<'c> Conn<'c> {
    /// Connects by the inventory's address and the service's own secret.
    pub(super) async fn dial(cx: &'c Cx<'c>, id: &InstanceId) -> Result<Conn<'c>, Trouble> {
        let unknown = || Trouble::Refused(format!("{id}: its address or secret is not known"));
        let target = (cx.world.target)(id).ok_or_else(unknown)?;
        Conn::to(cx, id, &target).await
    }

    /// Connects to a node that is being made or was just struck out of the inventory.
    pub(super) async fn dial_new(cx: &'c Cx<'c>, id: &InstanceId) -> Result<Conn<'c>, Trouble> {
        let unknown = || Trouble::Refused(format!("{id}: no node of its service can be reached"));
        let target = cx.world.target_of_new(id).ok_or_else(unknown)?;
        Conn::to(cx, id, &target).await
    }

    async fn to(
        cx: &'c Cx<'c>,
        id: &InstanceId,
        target: &link::Target,
    ) -> Result<Conn<'c>, Trouble> {
        let link = link::dial(target, DIAL_MAX).await.map_err(|e| match e.reason {
            Reason::Refused => Trouble::Gone(format!("{id}: {e}")),
            _ => Trouble::Lost(format!("{id}: {e}")),
        })?;
        Ok(Conn { cx, id: id.clone(), link })
    }

    /// User and password this connection was made with, for a server that logs in there itself.
    pub(super) fn login(&self) -> Option<(String, model::secret::Secret)> {
        let target = self.cx.world.target_of_new(&self.id)?;
        Some((target.user, target.password?))
    }

    /// Replaces a broken connection.
    pub(super) async fn again(&mut self) -> Result<(), Trouble> {
        *self = Conn::dial(self.cx, &self.id).await?;
        Ok(())
    }

    /// A command that changes nothing.
    pub(super) async fn ask(&mut self, args: &[&str]) -> Result<link::Value, Trouble> {
        let answer = self.link.call(args, CALL_MAX).await;
        answer.map_err(|e| self.trouble(args, &e))
    }

    /// A command that changes something: lease and deadline are checked, the journal gets its line.
    pub(super) async fn send(&mut self, args: &[&str]) -> Result<link::Value, Trouble> {
        self.cx.command(&self.id, args.join(" ")).map_err(Trouble::Barred)?;
        let answer = self.link.call(args, CALL_MAX).await;
        answer.map_err(|e| self.trouble(args, &e))
    }

    /// The same with a longer wait, for commands that block their server.
    pub(super) async fn send_within(
        &mut self,
        args: &[&str],
        wait: Duration,
    ) -> Result<link::Value, Trouble> {
        self.cx.command(&self.id, args.join(" ")).map_err(Trouble::Barred)?;
        let answer = self.link.call(args, wait).await;
        answer.map_err(|e| self.trouble(args, &e))
    }

    /// A changing command that carries a secret: `shown` stands for it everywhere, errors included.
    pub(super) async fn send_secretly(
        &mut self,
        args: &[&str],
        shown: &str,
    ) -> Result<link::Value, Trouble> {
        self.cx.command(&self.id, shown).map_err(Trouble::Barred)?;
        let answer = self.link.call(args, CALL_MAX).await;
        answer.map_err(|e| self.trouble(&[shown], &e))
    }

    /// A command with secrets in it, or one of many of a line that was journalled before: the caller
    /// journals. It may take as long as `limit`.
    pub(super) async fn send_masked(
        &mut self,
        args: &[&str],
        masked: &str,
        limit: Duration,
    ) -> Result<link::Value, Trouble> {
        self.cx.may_send().map_err(Trouble::Barred)?;
        let answer = self.link.call(args, limit).await;
        answer.map_err(|e| self.trouble(&[masked], &e))
    }

    /// Commands with arguments of any bytes, in one exchange; the caller journals. `what` tells of them
    /// in messages.
    pub(super) async fn raw(
        &mut self,
        commands: &[&[&[u8]]],
        what: &str,
        limit: Duration,
    ) -> Result<Vec<link::Value>, Trouble> {
        self.cx.may_send().map_err(Trouble::Barred)?;
        let answer = self.link.pipeline(&link::Pipeline::raw(commands), limit).await;
        answer.map_err(|e| self.trouble(&[what], &e))
    }

    fn trouble(&self, args: &[&str], error: &link::Error) -> Trouble {
        let what = format!("{}: {} answered {error}", self.id, args.join(" "));
        match error.server() {
            Some(_) => Trouble::Refused(what),
            None => Trouble::Lost(format!("{}: {}: {error}", self.id, args.join(" "))),
        }
    }

    /// What the node says it is.
    pub(super) async fn role(&mut self) -> Result<RoleReply, Trouble> {
        let value = self.ask(&["ROLE"]).await?;
        reply::role::read(&value)
            .ok_or_else(|| Trouble::Refused(format!("{}: ROLE is not readable", self.id)))
    }

    /// Its offset, provided it is a master.
    pub(super) async fn master_offset(&mut self) -> Result<f64, Trouble> {
        match self.role().await? {
            RoleReply::Master { offset, .. } => Ok(offset),
            other => {
                let says = other.role().as_redis();
                Err(Trouble::Refused(format!("{} says {says}, expected master", self.id)))
            }
        }
    }

    /// The id of its process.
    pub(super) async fn run_id(&mut self) -> Result<String, Trouble> {
        let value = self.ask(&["INFO", "server"]).await?;
        let raw = reply::bytes(&value).unwrap_or_default();
        let run_id = reply::info::text(raw, "run_id").map(str::to_string);
        run_id.ok_or_else(|| Trouble::Refused(format!("{}: INFO has no run_id", self.id)))
    }

    /// One value of CONFIG GET.
    pub(super) async fn config(&mut self, name: &str) -> Result<String, Trouble> {
        let value = self.ask(&["CONFIG", "GET", name]).await?;
        let items = reply::items(&value).unwrap_or_default();
        let found = items.get(1).and_then(reply::text);
        found.ok_or_else(|| Trouble::Refused(format!("{}: CONFIG GET {name} is empty", self.id)))
    }
}

//! Who asks: passed to every store method that touches tenant data.
//!
//! Invariant: the rights in it were compiled from live grants when the request arrived; a caller is
//! never stored and never reused for another request.

use serde::{Deserialize, Serialize};

use crate::right::{Place, Right, Rights, Scope};
use crate::service::word;

word! {
    /// By which door.
    Via {
        /// A person with a browser.
        Portal = "portal",
        /// A token.
        #[default]
        Api = "api",
        /// The command line.
        Cli = "cli",
        /// The process itself.
        System = "system",
        /// An Alertmanager.
        Webhook = "webhook",
    }
}

/// Identity for the record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Actor {
    /// `local`, an OIDC issuer, `ldap`, `token`, `system`.
    pub issuer: String,
    /// Name at the issuer; loops: their name.
    pub subject: String,
    /// Staff id: who the person is over several accounts; empty for machines.
    pub staff_id: String,
    /// Token id, when one was used.
    pub token: Option<String>,
}

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Identity.
    pub actor: Actor,
    /// Door.
    pub via: Via,
    /// Network address, when there is one.
    pub address: Option<String>,
    /// Of the request; of the round for loops.
    pub request_id: String,
    /// What is granted, where.
    pub grants: Vec<(Rights, Scope)>,
}

/// The right is missing at that place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the right {right} is missing for {scope}")]
pub struct Denied {
    /// Which right.
    pub right: &'static str,
    /// Where.
    pub scope: String,
    /// Whether the caller may see the object at all (false: answer as if it did not exist).
    pub visible: bool,
}

impl Caller {
    /// The process itself, for the loop `name`: every right everywhere.
    pub fn system(name: &str, request_id: impl Into<String>) -> Caller {
        Caller {
            actor: Actor { issuer: "system".into(), subject: name.into(), ..Actor::default() },
            via: Via::System,
            address: None,
            request_id: request_id.into(),
            grants: vec![(Rights::ALL, Scope::Platform)],
        }
    }

    /// Whether the caller has `right` at `place`.
    pub fn may(&self, right: Right, place: &Place) -> bool {
        self.grants.iter().any(|(rights, scope)| rights.has(right) && scope.covers(place))
    }

    /// `may`, with the refusal to answer.
    pub fn require(&self, right: Right, place: &Place) -> Result<(), Denied> {
        if self.may(right, place) {
            return Ok(());
        }
        let visible = self.may(Right::FleetRead, place);
        Err(Denied { right: right.as_str(), scope: String::from(place.to_scope()), visible })
    }

    /// Whether the caller has `right` anywhere (menus, list pages).
    pub fn may_somewhere(&self, right: Right) -> bool {
        self.grants.iter().any(|(rights, _)| rights.has(right))
    }

    /// Scopes in which the caller has `right`.
    pub fn scopes(&self, right: Right) -> Vec<&Scope> {
        self.grants.iter().filter(|(r, _)| r.has(right)).map(|(_, s)| s).collect()
    }

    /// `issuer/subject`, the way people are named in rows.
    pub fn name(&self) -> String {
        format!("{}/{}", self.actor.issuer, self.actor.subject)
    }
}

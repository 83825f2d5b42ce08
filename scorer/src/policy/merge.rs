//! From the documents above a service to the one policy it is judged by.
//!
//! Invariant: per field the deepest setter wins; what a document above locked is never loosened, not
//! even by one that was there before the lock; whatever does not count is named with the reason. Pure.

use std::collections::BTreeMap;
use std::fmt;

use model::right::Scope;
use model::score_policy::{IgnoredField, ScorePolicyDoc};
use model::service::{Profile, ProfileFrom, Service};

use super::Policy;
use super::field::{Set, sets};

/// Who set a field: a document and its revision, or the inventory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Scope of the document.
    pub scope: Scope,
    /// Its revision; 0: the inventory says so.
    pub rev: i64,
}

impl Default for Origin {
    fn default() -> Origin {
        Origin { scope: Scope::Platform, rev: 0 }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scope = String::from(self.scope.clone()).replacen(':', " ", 1);
        match self.rev {
            0 => write!(f, "inventory of {scope}"),
            rev => write!(f, "{scope}, rev {rev}"),
        }
    }
}

/// What documents are laid upon.
#[derive(Debug, Clone, Default)]
pub struct Base {
    /// Profile when no document sets one.
    pub profile: Profile,
    /// The service, when it is one: a profile given to it counts as set there.
    pub service: Option<(Scope, ProfileFrom)>,
    /// Replicas the inventory declares; 0 where that is not known.
    pub replicas: u32,
}

impl Base {
    /// What the inventory says of a service.
    pub fn of(service: &Service) -> Base {
        Base {
            profile: service.profile,
            service: Some((Scope::Service(service.id.clone()), service.profile_from)),
            replicas: service.replicas_wanted,
        }
    }
}

/// One document in its place.
#[derive(Debug, Clone, Copy)]
pub struct Layer<'a> {
    /// The document.
    pub doc: &'a ScorePolicyDoc,
    /// Its revision.
    pub rev: i64,
}

/// A policy with what became of the documents.
#[derive(Debug, Clone)]
pub struct Merged {
    /// In force.
    pub policy: Policy,
    /// What does not count, and why.
    pub ignored: Vec<IgnoredField>,
    /// Fields and groups of fields that nothing below may loosen, with who said so first.
    pub locks: BTreeMap<String, Origin>,
    /// Replicas the inventory declares.
    pub(super) replicas: u32,
}

impl Merged {
    /// Who locked a field, itself or its group.
    pub fn lock(&self, field: &str) -> Option<&Origin> {
        let covers = |name: &str| {
            field == name || field.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'))
        };
        self.locks.iter().find(|(name, _)| covers(name)).map(|(_, origin)| origin)
    }

    /// Why a value cannot stand over what is in force here; none: it can.
    pub(super) fn objection(&self, field: &str, set: &Set<'_>, scope: &Scope) -> Option<String> {
        if *scope != Scope::Platform
            && let Some(why) = set.forbidden_below_platform(&self.policy)
        {
            return Some(why);
        }
        let lock = self.lock(field)?;
        let why = set.looser_than(&self.policy, self.replicas)?;
        Some(format!("{lock} locks it, and this is looser: {why}"))
    }

    fn set(&mut self, field: &str, set: Set<'_>, origin: &Origin) {
        if let Some(why) = self.objection(field, &set, &origin.scope) {
            let scope = String::from(origin.scope.clone());
            self.ignored.push(IgnoredField { scope, field: field.to_owned(), why });
            return;
        }
        set.apply(&mut self.policy, origin);
        self.policy.origins.insert(field.to_owned(), origin.clone());
    }

    fn take(&mut self, layer: &Layer<'_>) {
        let origin = Origin { scope: layer.doc.scope.clone(), rev: layer.rev };
        for (field, set) in sets(layer.doc) {
            self.set(&field, set, &origin);
        }
        for name in &layer.doc.locked {
            self.locks.entry(name.clone()).or_insert_with(|| origin.clone());
        }
        self.policy.revision = self.policy.revision.max(layer.rev);
    }
}

/// Lays documents, outermost first, upon what the inventory says.
pub fn merge(base: &Base, layers: &[Layer<'_>]) -> Merged {
    let mut merged = Merged {
        policy: Policy::for_profile(base.profile),
        ignored: Vec::new(),
        locks: BTreeMap::new(),
        replicas: base.replicas,
    };
    let is_service = |layer: &&Layer<'_>| matches!(layer.doc.scope, Scope::Service(_));
    for layer in layers.iter().filter(|l| !is_service(l)) {
        merged.take(layer);
    }
    if let Some((scope, ProfileFrom::Given)) = &base.service
        && merged.policy.origins.contains_key("profile")
    {
        let origin = Origin { scope: scope.clone(), rev: 0 };
        merged.set("profile", Set::Profile(base.profile), &origin);
    }
    for layer in layers.iter().filter(is_service) {
        merged.take(layer);
    }
    // Any words of a document that cannot be read any more were left out one by one; what is left
    // passes the check, or the built-in policy would be the safer one.
    if merged.policy.check().is_err() {
        merged.policy =
            Policy { revision: merged.policy.revision, ..Policy::for_profile(base.profile) };
    }
    merged
}

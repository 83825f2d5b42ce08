//! The policy of every service at one moment.
//!
//! Invariant: built whole from the revisions in force and the tree, then only read; a service that no
//! document reaches is judged by the built-in policy of its profile.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, LazyLock};

use model::ServiceId;
use model::inventory::Inventory;
use model::right::Scope;
use model::score::PolicyUse;
use model::score_policy::{IgnoredField, ScorePolicyRevision};
use model::service::{Profile, Service};

use super::Policy;
use super::merge::{Base, Layer, Merged, merge};

/// A service whose policy a change replaces.
#[derive(Debug, Clone)]
pub struct Replaced<'s> {
    /// The service.
    pub service: &'s Service,
    /// Its policy.
    pub before: Arc<Policy>,
    /// Its policy with the change.
    pub after: Arc<Policy>,
}

/// All policies.
#[derive(Debug, Clone, Default)]
pub struct Policies {
    /// Of the store when it was built.
    pub generation: i64,
    /// The built-in ones with another rise than the built-in one; none: as they are.
    risen: Option<[Arc<Policy>; 4]>,
    in_force: BTreeMap<String, ScorePolicyRevision>,
    services: HashMap<ServiceId, Arc<Policy>>,
}

/// Made once, so that a service that nothing changed keeps the very policy it was scored by.
static BUILTIN: LazyLock<[Arc<Policy>; 4]> =
    LazyLock::new(|| PROFILES.map(|profile| Arc::new(Policy::for_profile(profile))));

const PROFILES: [Profile; 4] = [Profile::Cache, Profile::Store, Profile::Queue, Profile::Session];

impl Policies {
    /// The policies of all services. Also what each document says in vain, with the reason.
    pub fn build(
        generation: i64,
        revisions: Vec<ScorePolicyRevision>,
        inventory: &Inventory,
    ) -> (Policies, Vec<IgnoredField>) {
        let key = |r: &ScorePolicyRevision| String::from(r.doc.scope.clone());
        let in_force = revisions.into_iter().map(|r| (key(&r), r)).collect();
        let mut policies = Policies { generation, in_force, ..Policies::default() };
        let mut ignored: Vec<IgnoredField> = Vec::new();
        for service in inventory.services.values() {
            let Some(merged) = policies.merged(service) else { continue };
            let fresh = merged.ignored.into_iter().filter(|i| !ignored.contains(i));
            let fresh: Vec<IgnoredField> = fresh.collect();
            ignored.extend(fresh);
            policies.services.insert(service.id.clone(), Arc::new(merged.policy));
        }
        (policies, ignored)
    }

    /// Which policy a service was judged by while these documents were in force.
    pub fn used_under(revisions: Vec<ScorePolicyRevision>, service: &Service) -> PolicyUse {
        let key = |r: &ScorePolicyRevision| String::from(r.doc.scope.clone());
        let in_force = revisions.into_iter().map(|r| (key(&r), r)).collect();
        let then = Policies { in_force, ..Policies::default() };
        then.merged(service).map_or_else(|| then.of(service).used(), |m| m.policy.used())
    }

    /// The policy of a service.
    pub fn of(&self, service: &Service) -> &Arc<Policy> {
        let builtin = &self.builtin()[service.profile as usize];
        if self.services.is_empty() {
            return builtin;
        }
        self.services.get(&service.id).unwrap_or(builtin)
    }

    /// With another time that a better grade must be earned for.
    pub fn rising_in(mut self, rise_s: u32) -> Policies {
        let rise_ms = i64::from(rise_s) * 1000;
        if rise_ms == self.rise_ms() {
            return self;
        }
        let with = |policy: &Arc<Policy>| Arc::new(Policy { rise_ms, ..Policy::clone(policy) });
        self.services.values_mut().for_each(|policy| *policy = with(policy));
        self.risen = Some(BUILTIN.each_ref().map(with));
        self
    }

    /// How long a better grade must be earned, ms.
    pub(crate) fn rise_ms(&self) -> i64 {
        self.builtin()[0].rise_ms
    }

    fn builtin(&self) -> &[Arc<Policy>; 4] {
        self.risen.as_ref().unwrap_or(&BUILTIN)
    }

    /// The document in force of a scope.
    pub fn revision(&self, scope: &Scope) -> Option<&ScorePolicyRevision> {
        self.in_force.get(&String::from(scope.clone()))
    }

    /// The policy of one service and of nothing else.
    pub(crate) fn one(service: &Service, policy: &Arc<Policy>) -> Policies {
        let services = HashMap::from([(service.id.clone(), policy.clone())]);
        Policies { services, ..Policies::default() }
    }

    /// As if `revision` were in force: of each of `services` its policy before and after, and what
    /// would not count any more.
    pub fn with<'s>(
        &self,
        revision: ScorePolicyRevision,
        services: impl Iterator<Item = &'s Service>,
    ) -> (Vec<Replaced<'s>>, Vec<IgnoredField>) {
        let mut next = Policies { in_force: self.in_force.clone(), ..Policies::default() };
        next.in_force.insert(String::from(revision.doc.scope.clone()), revision);
        let mut ignored: Vec<IgnoredField> = Vec::new();
        let mut all = Vec::new();
        for service in services {
            let merged = next.merged(service).expect("a document reaches it");
            let old = self.merged(service).map(|m| m.ignored).unwrap_or_default();
            let fresh = |i: &IgnoredField| {
                !old.iter().any(|o| (&o.scope, &o.field) == (&i.scope, &i.field))
            };
            for one in merged.ignored.into_iter().filter(fresh) {
                if !ignored.contains(&one) {
                    ignored.push(one);
                }
            }
            let (before, after) = (self.of(service).clone(), Arc::new(merged.policy));
            all.push(Replaced { service, before, after });
        }
        (all, ignored)
    }

    /// All documents in force, by scope.
    pub fn in_force(&self) -> impl Iterator<Item = &ScorePolicyRevision> {
        self.in_force.values()
    }

    /// What is in force at a scope, with its own document or without it.
    pub fn at(&self, scopes: &[Scope], base: &Base) -> Merged {
        let layers: Vec<Layer<'_>> = scopes.iter().filter_map(|s| self.layer(s)).collect();
        merge(base, &layers)
    }

    fn layer(&self, scope: &Scope) -> Option<Layer<'_>> {
        self.revision(scope).map(|r| Layer { doc: &r.doc, rev: r.rev })
    }

    /// Merges the documents above a service; none when there are none.
    fn merged(&self, service: &Service) -> Option<Merged> {
        let layers: Vec<Layer<'_>> = chain(service).iter().filter_map(|s| self.layer(s)).collect();
        (!layers.is_empty()).then(|| merge(&Base::of(service), &layers))
    }
}

/// The scopes a service lies in, outermost first.
pub(crate) fn chain(service: &Service) -> [Scope; 4] {
    [
        Scope::Platform,
        Scope::Tenant(service.id.tenant()),
        Scope::System(service.system.clone()),
        Scope::Service(service.id.clone()),
    ]
}

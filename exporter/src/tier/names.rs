//! Names of parameters, shared between instances.
//!
//! Invariant: instances of one version have the same 250 names, so a fleet holds them once a version;
//! a server that invents names gets its own copy and can push nobody out.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use model::detail::Parameters;

/// Lists remembered: a fleet runs a handful of versions, with and without modules.
const LISTS_MAX: usize = 64;

type Names = [Box<str>];

static KNOWN: Mutex<Vec<Weak<Names>>> = Mutex::new(Vec::new());

/// Parameters from pairs sorted by name.
pub(super) fn parameters(pairs: &[(String, String)]) -> Parameters {
    Parameters::new(shared(pairs), pairs.iter().map(|(_, value)| value.as_str()))
}

fn shared(pairs: &[(String, String)]) -> Arc<Names> {
    // Nothing is done under the lock that could fail, so a poisoned list is a good one.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    known.retain(|list| list.strong_count() > 0);
    let same = |list: &Arc<Names>| {
        list.len() == pairs.len() && list.iter().zip(pairs).all(|(a, (b, _))| **a == **b)
    };
    if let Some(found) = known.iter().filter_map(Weak::upgrade).find(same) {
        return found;
    }
    let new: Arc<Names> = pairs.iter().map(|(name, _)| name.as_str().into()).collect();
    if known.len() < LISTS_MAX {
        known.push(Arc::downgrade(&new));
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_of_one_version_share_their_names() {
        let pairs = |value: &str| vec![("zz-test-a".to_string(), value.to_string())];
        let (a, b) = (parameters(&pairs("1")), parameters(&pairs("2")));
        assert!(Arc::ptr_eq(a.names(), b.names()));
        assert_eq!((a.get("zz-test-a"), b.get("zz-test-a")), (Some("1"), Some("2")));
        let other = parameters(&[("zz-test-b".into(), String::new())]);
        assert!(!Arc::ptr_eq(a.names(), other.names()));
    }
}

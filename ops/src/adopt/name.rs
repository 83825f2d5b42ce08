//! Names of adopted services. Pure.
//!
//! Invariant: the same fleet gets the same names; a name that a person asked for is never changed,
//! a derived one is made unique by the address. Text of a server is reduced to a slug.

use std::collections::BTreeSet;

use model::id::is_slug;
use model::service::Mode;
use model::{ServiceId, TenantId};

use super::draft::Wish;
use super::group::Group;

/// Longest slug.
const SLUG_MAX: usize = 40;
/// The name a Sentinel's example configuration uses: it says nothing.
const NO_NAME: &str = "mymaster";

/// Gives names.
pub(super) struct Names<'a> {
    tenant: &'a TenantId,
    asked: &'a str,
    /// New services there are.
    fresh: usize,
    taken: BTreeSet<ServiceId>,
    /// Of them, those the inventory has.
    present: BTreeSet<ServiceId>,
}

impl<'a> Names<'a> {
    pub(super) fn new(wish: &'a Wish<'_>, fresh: usize) -> Names<'a> {
        let present: BTreeSet<ServiceId> = wish.present.services.keys().cloned().collect();
        let taken = present.clone();
        Names { tenant: wish.tenant, asked: &wish.doc.service, fresh, taken, present }
    }

    /// The id of a new service and where its name is from.
    pub(super) fn give(
        &mut self,
        group: &Group,
        hint: Option<&str>,
        conflicts: &mut Vec<String>,
    ) -> (ServiceId, &'static str) {
        let (slug, from) = self.wanted(group, hint, conflicts);
        let mut id = self.id(&slug);
        if self.taken.contains(&id) {
            if matches!(from, "asked" | "document") && self.present.contains(&id) {
                conflicts.push(format!("service {id} exists and has other nodes"));
            } else {
                id = self.id(&with_address(&slug, first(group)));
            }
        }
        self.taken.insert(id.clone());
        (id, from)
    }

    fn wanted(
        &self,
        group: &Group,
        hint: Option<&str>,
        conflicts: &mut Vec<String>,
    ) -> (String, &'static str) {
        if !self.asked.is_empty() && self.fresh > 1 {
            conflicts.push(format!(
                "{} new services were found, and one name is asked for: {}",
                self.fresh, self.asked
            ));
        } else if !self.asked.is_empty() {
            return (self.asked.to_string(), "asked");
        }
        if let Some(hint) = hint {
            return (hint.to_string(), "document");
        }
        let kind = match group.mode {
            Mode::Cluster => "cluster",
            Mode::Sentinels => "sentinels",
            Mode::Standalone | Mode::Sentinel => "redis",
        };
        match slug(&group.master_name) {
            Some(name) if name == NO_NAME => (with_address(&name, first(group)), "sentinel"),
            Some(name) => (name, "sentinel"),
            None => (with_address(kind, first(group)), "address"),
        }
    }

    fn id(&self, slug: &str) -> ServiceId {
        let fits = ServiceId::new(self.tenant, slug);
        fits.unwrap_or_else(|_| ServiceId::new(self.tenant, "unnamed").expect("two slugs"))
    }
}

/// The lowest address: it does not change with a failover.
fn first(group: &Group) -> &str {
    group.data.iter().chain(&group.sentinels).min().map_or("", String::as_str)
}

/// `text` with everything a slug cannot hold made a dash; none when nothing is left.
fn slug(text: &str) -> Option<String> {
    let keep = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let text: String = text.chars().map(keep).take(SLUG_MAX).collect();
    let text = text.trim_matches('-').to_string();
    is_slug(&text).then_some(text)
}

/// `redis-10-0-0-7-6379`; a long address as its hash.
fn with_address(name: &str, address: &str) -> String {
    let plain = slug(address).unwrap_or_default();
    let long = format!("{name}-{plain}");
    if is_slug(&long) {
        return long;
    }
    let hash = address.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
        (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let room = SLUG_MAX - 17;
    let short: String = name.chars().take(room).collect();
    format!("{}-{hash:016x}", short.trim_end_matches('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_slugs_whatever_a_server_says() {
        for (text, wanted) in [
            ("Cart_Prod.1", Some("cart-prod-1")),
            ("--x--", Some("x")),
            ("é", None),
            ("", None),
            ("\r\n", None),
        ] {
            assert_eq!(slug(text).as_deref(), wanted, "{text:?}");
        }
        assert_eq!(with_address("redis", "10.0.0.7:6379"), "redis-10-0-0-7-6379");
        for address in ["[2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff]:6379", "[::1]:6379"] {
            for name in ["redis", &"x".repeat(40)] {
                let made = with_address(name, address);
                assert!(is_slug(&made), "{made}");
                assert_eq!(made, with_address(name, address));
            }
        }
    }
}

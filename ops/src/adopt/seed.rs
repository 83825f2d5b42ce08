//! From what a person wrote to addresses: one address, or a document full of them. Pure.
//!
//! Invariant: a text that may hold a password is never repeated; what cannot be an address is refused
//! with the reason and the rest is taken. Refuses to resolve names and to open anything.

use model::InstanceId;
use model::adopt::RefusedAddress;
use model::id::{is_slug, split_address};

use super::document;

/// Port of an address without one.
const DEFAULT_PORT: u16 = 6379;
/// Longest part of a refused text that is repeated.
const SHOWN_MAX: usize = 200;

/// Whether the scheme of an address says something about TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Scheme {
    /// It does not.
    #[default]
    Unsaid,
    /// `redis://`
    Plain,
    /// `rediss://`
    Tls,
}

/// What a document says of an address beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hints {
    /// Slug of its service.
    pub service: Option<String>,
    /// Slug of its business system.
    pub system: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
}

impl Hints {
    /// Takes `text` as the value of a column or label; what is no slug is no hint.
    pub(super) fn set(&mut self, name: &str, text: &str) {
        let slot = match name {
            "service" => &mut self.service,
            "system" => &mut self.system,
            "zone" | "availability_zone" => &mut self.zone,
            _ => return,
        };
        if is_slug(text) {
            *slot = Some(text.to_string());
        }
    }
}

/// An address a person named.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Seed {
    /// `host:port`; the host may be a name.
    pub address: String,
    /// What its scheme says.
    pub scheme: Scheme,
    /// What stood beside it.
    pub hints: Hints,
}

/// Everything that was named.
#[derive(Debug, Default, PartialEq)]
pub struct Seeds {
    /// Addresses.
    pub seeds: Vec<Seed>,
    /// What is none.
    pub refused: Vec<RefusedAddress>,
}

impl Seeds {
    /// Takes one text with what stood beside it.
    pub(super) fn push(&mut self, text: &str, hints: &Hints) {
        match seed(text) {
            Ok(mut seed) => {
                let own = std::mem::replace(&mut seed.hints, hints.clone());
                seed.hints.service = seed.hints.service.or(own.service);
                self.seeds.push(seed);
            }
            Err(refused) => self.refused.push(refused),
        }
    }
}

/// Reads addresses and a document. Refuses the document whole, in words, when its form is not known.
pub fn seeds(addresses: &[String], text: &str) -> Result<Seeds, String> {
    let mut all = Seeds::default();
    for address in addresses {
        all.push(address, &Hints::default());
    }
    if !text.trim().is_empty() {
        document::read(text, &mut all)?;
    }
    Ok(all)
}

/// Reads one address: `host`, `host:port`, `redis://host:port/0`, or an instance id.
pub fn seed(text: &str) -> Result<Seed, RefusedAddress> {
    let text = text.trim();
    let (scheme, rest) = match text.split_once("://") {
        None => (Scheme::Unsaid, text),
        Some(("redis" | "valkey", rest)) => (Scheme::Plain, rest),
        Some(("rediss" | "valkeys", rest)) => (Scheme::Tls, rest),
        Some(_) => return Err(refused(text, "expected host:port, redis:// or rediss://")),
    };
    let mut hints = Hints::default();
    let rest = match (InstanceId::parse(rest), rest.rsplit_once('@')) {
        (Ok(id), _) => {
            hints.service = Some(id.service().slug().to_string());
            rest.split_once('@').map_or("", |(_, address)| address)
        }
        (Err(_), Some(("", address))) => address,
        (Err(_), Some((_, address))) => {
            let why = "an address holds no user and no password; say them apart";
            return Err(refused(address, why));
        }
        (Err(_), None) => rest,
    };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let with_port = match split_address(host) {
        Some(_) => host.to_string(),
        None => format!("{host}:{DEFAULT_PORT}"),
    };
    if split_address(&with_port).is_none() {
        return Err(refused(rest, "expected host:port, IPv6 in brackets"));
    }
    Ok(Seed { address: with_port, scheme, hints })
}

fn refused(text: &str, why: &str) -> RefusedAddress {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    RefusedAddress {
        // Whatever stands before an @ may be a password.
        address: plain
            .collect::<String>()
            .rsplit('@')
            .next()
            .unwrap_or_default()
            .chars()
            .take(SHOWN_MAX)
            .collect(),
        found_by: "named".into(),
        reason: "address".into(),
        detail: why.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_taken_in_every_form_it_is_written_in() {
        for (text, address, scheme) in [
            ("10.0.0.1", "10.0.0.1:6379", Scheme::Unsaid),
            (" 10.0.0.1:7000 ", "10.0.0.1:7000", Scheme::Unsaid),
            ("redis://cache-1:6380/0", "cache-1:6380", Scheme::Plain),
            ("rediss://[::1]:6379?db=1", "[::1]:6379", Scheme::Tls),
            ("redis://@10.0.0.1:7000", "10.0.0.1:7000", Scheme::Plain),
            ("valkey://10.0.0.1", "10.0.0.1:6379", Scheme::Plain),
        ] {
            let seed = seed(text).unwrap();
            assert_eq!((seed.address.as_str(), seed.scheme), (address, scheme), "{text}");
        }
        let own = seed("pay.cart@10.0.0.1:6379").unwrap();
        assert_eq!(
            (own.address.as_str(), own.hints.service.as_deref()),
            ("10.0.0.1:6379", Some("cart"))
        );
    }

    #[test]
    fn what_is_no_address_is_refused_and_a_password_in_it_is_not_repeated() {
        for bad in ["", "a b", "unix:///run/redis.sock", "http://10.0.0.1", "::1", "h:0", "h:x"] {
            assert!(seed(bad).is_err(), "{bad:?}");
        }
        for secret in ["redis://u:hunter2@10.0.0.1:6379", "hunter2@10.0.0.1", "redis://:hunter2@h"]
        {
            let said = seed(secret).unwrap_err();
            assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
        }
    }
}

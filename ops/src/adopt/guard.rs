//! Which addresses adoption may connect to. Pure.
//!
//! Invariant: nobody makes us dial what no tenant may reach: link-local and like addresses, our own
//! port, what lies outside the tenant's networks. Whether a person or a reply named the address makes
//! no difference here. Refuses to resolve names.

use std::net::{IpAddr, SocketAddr};

use model::cidr::{Cidr, never_dialled};

/// Why an address is not dialled: the reason's word and the words for people.
pub type Refusal = (&'static str, String);

/// What may be dialled.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    /// The tenant.
    pub tenant: String,
    /// Networks its servers lie in.
    pub networks: Vec<Cidr>,
    /// Where this process listens itself.
    pub own: Vec<SocketAddr>,
}

impl Guard {
    /// Whether `ip:port` may be dialled.
    pub fn check(&self, ip: IpAddr, port: u16) -> Result<(), Refusal> {
        let ip = ip.to_canonical();
        if never_dialled(ip) {
            let said = format!("{ip} is never dialled (unspecified, multicast or link-local)");
            return Err(("never", said));
        }
        let ours = |own: &SocketAddr| {
            own.port() == port && (own.ip().to_canonical() == ip || own.ip().is_unspecified())
        };
        if self.own.iter().any(ours) {
            return Err(("own", format!("{ip}:{port} is where this process listens itself")));
        }
        if !self.networks.iter().any(|n| n.covers(ip)) {
            let said = format!("{ip} is in none of the networks of tenant {}", self.tenant);
            return Err(("network", said));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_tenants_networks_are_dialled_and_some_addresses_never() {
        let guard = Guard {
            tenant: "pay".into(),
            networks: vec!["10.1.0.0/16".parse().unwrap(), "0.0.0.0/0".parse().unwrap()],
            own: vec!["10.1.0.1:9850".parse().unwrap()],
        };
        let why = |guard: &Guard, ip: &str, port| {
            guard.check(ip.parse().unwrap(), port).map_err(|(reason, _)| reason)
        };
        assert_eq!(why(&guard, "10.1.0.1", 6379), Ok(()));
        assert_eq!(why(&guard, "::ffff:10.1.0.1", 6379), Ok(()));
        assert_eq!(why(&guard, "10.1.0.1", 9850), Err("own"));
        for never in ["0.0.0.0", "169.254.169.254", "224.0.0.1", "255.255.255.255", "fe80::1", "::"]
        {
            assert_eq!(why(&guard, never, 6379), Err("never"), "{never}");
        }
        let narrow = Guard { networks: vec!["10.1.0.0/16".parse().unwrap()], ..guard };
        for outside in ["10.2.0.1", "127.0.0.1", "::1", "2001:db8::1"] {
            assert_eq!(why(&narrow, outside, 6379), Err("network"), "{outside}");
        }
        assert_eq!(why(&Guard::default(), "10.1.0.1", 6379), Err("network"), "none listed: none");
        let all = Guard { own: vec!["0.0.0.0:9850".parse().unwrap()], ..narrow };
        assert_eq!(why(&all, "10.1.7.7", 9850), Err("own"));
    }
}

//! How a service is reached beside its passwords: TLS, and who we are at its Sentinels.
//!
//! Invariant: files are named, never placed: a name is looked up in the folder of the service's own
//! tenant (or, as `shared/NAME`, in the folder for all), so no inventory can make the process read
//! another file, and no tenant can use the key of another. Refuses to know where those folders are.

use serde::{Deserialize, Serialize};

/// Prefix of names that are looked up in the folder for all tenants.
pub const SHARED: &str = "shared/";
/// Longest file name: what file systems take.
const NAME_MAX: usize = 255;
/// Longest ACL user name that is taken; Redis itself sets no limit.
const USER_MAX: usize = 128;

/// Access to a service's processes, passwords apart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Access {
    /// ACL user at the Sentinels; empty: the default user.
    pub sentinel_user: String,
    /// TLS; none: plain TCP.
    pub tls: Option<Tls>,
}

/// TLS settings of a service, as in the inventory file. Files are read at each dial, so that rotated
/// certificates need no restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// PEM of the authorities to trust; none: those of the operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<String>,
    /// PEM of our certificate chain, for servers that ask for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<String>,
    /// PEM of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<String>,
    /// Name the server's certificate must carry, sent as SNI; none: the host of the address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
    /// Take any certificate: the line is encrypted, but nobody knows to whom. Off unless said here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure: bool,
    /// The Sentinels of the service speak plain TCP.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub plain_sentinels: bool,
}

impl Tls {
    /// What is wrong with it: (key, why). Empty when it can be used.
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        let files = [
            ("ca_file", &self.ca_file),
            ("cert_file", &self.cert_file),
            ("key_file", &self.key_file),
        ];
        for (key, file) in files {
            if file.as_deref().is_some_and(|name| !is_file_name(name)) {
                let rule = "expected the name of a file in the tenant's TLS folder, or shared/NAME";
                faults.push((key, format!("{rule}: A-Z, a-z, 0-9, '.', '-', '_'")));
            }
        }
        if self.cert_file.is_some() != self.key_file.is_some() {
            faults.push(("key_file", "cert_file and key_file go together".into()));
        }
        if self.server_name.as_deref().is_some_and(|name| !is_server_name(name)) {
            faults.push(("server_name", "expected a DNS name or an IP address".into()));
        }
        if self.insecure && (self.ca_file.is_some() || self.server_name.is_some()) {
            let why = "checks nothing, so ca_file and server_name have no meaning beside it";
            faults.push(("insecure", why.into()));
        }
        faults
    }
}

/// Whether `text` can be the name of an ACL user: no blanks, no control characters.
pub fn is_user(text: &str) -> bool {
    text.len() <= USER_MAX && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn is_file_name(name: &str) -> bool {
    let name = name.strip_prefix(SHARED).unwrap_or(name);
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (1..=NAME_MAX).contains(&name.len()) && !name.starts_with('.') && name.chars().all(fine)
}

fn is_server_name(name: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (1..=253).contains(&name.len()) && name.chars().all(fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(tls: Tls) -> Vec<&'static str> {
        tls.faults().iter().map(|(key, _)| *key).collect()
    }

    #[test]
    fn a_file_is_a_name_and_leads_nowhere_else() {
        let ca = |name: &str| keys(Tls { ca_file: Some(name.into()), ..Tls::default() });
        for good in ["ca.pem", "shared/ca.pem", "a_b-c.1"] {
            assert!(ca(good).is_empty(), "{good}");
        }
        for bad in ["", "/etc/passwd", "../x", "a/b", "shared/../x", ".hidden", "shared/", "a b"] {
            assert_eq!(ca(bad), ["ca_file"], "{bad:?}");
        }
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        let file = || Some("x.pem".to_string());
        assert_eq!(keys(Tls { cert_file: file(), ..Tls::default() }), ["key_file"]);
        let insecure = Tls { insecure: true, ca_file: file(), ..Tls::default() };
        assert_eq!(keys(insecure), ["insecure"]);
        assert!(keys(Tls { insecure: true, ..Tls::default() }).is_empty());
    }
}

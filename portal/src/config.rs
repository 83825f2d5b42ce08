//! The `[portal]` section of the configuration file.
//!
//! Invariant: everything has a default, an unknown key is an error.

use serde::Deserialize;

use crate::Lang;

/// `[portal]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Language of people who did not choose one: `en` or `zh-CN`.
    pub language: String,
    /// Whom users of this installation ask for help.
    pub support: Support,
}

impl Default for Config {
    fn default() -> Config {
        Config { language: "en".into(), support: Support::default() }
    }
}

impl Config {
    /// Refuses what cannot be shown, naming the key and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        let language = &self.language;
        if !Lang::ALL.iter().any(|l| l.as_str() == language) {
            return Err(format!("portal.language = {language:?}: expected \"en\" or \"zh-CN\""));
        }
        let Support { mail, url } = &self.support;
        let web = ["http://", "https://"].iter().any(|scheme| url.starts_with(scheme));
        if !url.is_empty() && !web {
            return Err(format!("portal.support.url = {url:?}: expected http(s)://… or \"\""));
        }
        let parts =
            mail.split_once('@').filter(|(user, host)| !user.is_empty() && !host.is_empty());
        if !mail.is_empty() && (parts.is_none() || mail.contains(char::is_whitespace)) {
            return Err(format!("portal.support.mail = {mail:?}: expected user@host or \"\""));
        }
        Ok(())
    }
}

/// Support contacts of the installation; empty ones are not shown.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Support {
    /// Mail address.
    pub mail: String,
    /// Page of the help desk, `http:` or `https:`.
    pub url: String,
}

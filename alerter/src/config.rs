//! `[alerter]` of the configuration file.

use std::collections::BTreeMap;

use serde::Deserialize;

pub(crate) use model::matcher::is_label_name;

pub use crate::notify::config::{
    MailConfig, MailTls, ReceiverConfig, ReceiverKind, WatchdogConfig,
};

/// How alerts leave the house.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Seconds between two sendings of an alert that did not change; an Alertmanager forgets what
    /// is not repeated.
    pub resend_s: u32,
    /// Labels added to every alert, never overwriting one.
    pub external_labels: BTreeMap<String, String>,
    /// Alertmanagers; every alert goes to every one.
    pub alertmanager: Vec<AlertmanagerConfig>,
    /// Whom the built-in notifier tells while no Alertmanager is configured, and who is called when
    /// the Watchdog is silent.
    pub receiver: Vec<ReceiverConfig>,
    /// The server that takes our mail.
    pub mail: Option<MailConfig>,
    /// Who is called, past every Alertmanager, when the path of alerts is broken.
    pub watchdog: Option<WatchdogConfig>,
    /// Where rule files for Prometheus are written; none: it reads them from the API, or there are none.
    pub rules: Option<RulesConfig>,
}

/// `[alerter.rules]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RulesConfig {
    /// A folder of Prometheus' `rule_files`; only files of ours in it are touched.
    pub dir: String,
    /// `http://host:9090/-/reload`; none: somebody else reloads.
    #[serde(default)]
    pub reload_url: Option<String>,
}

/// One Alertmanager.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertmanagerConfig {
    /// `http://host:9093`, with a path prefix when it has one.
    pub url: String,
    /// File with a bearer token, read at every sending so that it can be rotated.
    #[serde(default)]
    pub bearer_file: Option<String>,
    /// User for basic authentication.
    #[serde(default)]
    pub basic_user: Option<String>,
    /// File with the password of `basic_user`, read at every sending.
    #[serde(default)]
    pub basic_password_file: Option<String>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            resend_s: 60,
            external_labels: BTreeMap::new(),
            alertmanager: Vec::new(),
            receiver: Vec::new(),
            mail: None,
            watchdog: None,
            rules: None,
        }
    }
}

impl Config {
    /// Refuses what cannot work, naming the key and what is allowed.
    pub fn check(&self) -> Result<(), String> {
        if !(5..=3600).contains(&self.resend_s) {
            return Err(format!("alerter.resend_s = {}: allowed are 5 to 3600", self.resend_s));
        }
        if let Some(name) = self.external_labels.keys().find(|n| !is_label_name(n)) {
            return Err(format!(
                "alerter.external_labels: {name:?} is no label name; allowed are a-z, A-Z, 0-9 and \
                 '_', not starting with a digit"
            ));
        }
        for (n, am) in self.alertmanager.iter().enumerate() {
            am.check(&format!("alerter.alertmanager[{n}]"))?;
        }
        crate::notify::config::check(self)?;
        if let Some(rules) = &self.rules {
            rules.check()?;
        }
        let mut urls: Vec<&str> = self.alertmanager.iter().map(AlertmanagerConfig::base).collect();
        urls.sort_unstable();
        match urls.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(format!("alerter.alertmanager: {} stands there twice", pair[0])),
            None => Ok(()),
        }
    }
}

impl RulesConfig {
    fn check(&self) -> Result<(), String> {
        if !std::path::Path::new(&self.dir).is_absolute() {
            return Err(format!("alerter.rules.dir = {:?}: expected a whole path", self.dir));
        }
        let Some(url) = &self.reload_url else { return Ok(()) };
        let parsed = reqwest::Url::parse(url).ok();
        match parsed.filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host()) {
            Some(_) => Ok(()),
            None => Err(format!(
                "alerter.rules.reload_url = {url:?}: expected http://host:port/-/reload"
            )),
        }
    }
}

impl AlertmanagerConfig {
    fn check(&self, key: &str) -> Result<(), String> {
        let url = &self.url;
        let parsed = reqwest::Url::parse(url).ok();
        let Some(parsed) =
            parsed.filter(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
        else {
            return Err(format!("{key}.url = {url:?}: expected http(s)://host:port"));
        };
        let more = parsed.query().is_some()
            || parsed.fragment().is_some()
            || !parsed.username().is_empty()
            || parsed.password().is_some();
        if more {
            // It may hold a password, so it is not repeated here.
            return Err(format!(
                "{key}.url: expected http(s)://host[:port][/path] without a user, a query or a \
                 fragment; a user goes to basic_user and basic_password_file"
            ));
        }
        if self.basic_user.is_some() != self.basic_password_file.is_some() {
            return Err(format!("{key}: basic_user and basic_password_file go together"));
        }
        if self.bearer_file.is_some() && self.basic_user.is_some() {
            return Err(format!("{key}: either bearer_file or basic_user"));
        }
        Ok(())
    }

    /// Where alerts are posted.
    pub(crate) fn endpoint(&self) -> String {
        format!("{}/api/v2/alerts", self.base())
    }

    /// The URL that paths are appended to.
    pub(crate) fn base(&self) -> &str {
        self.url.trim_end_matches('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        let am = |url: &str| AlertmanagerConfig {
            url: url.into(),
            bearer_file: None,
            basic_user: None,
            basic_password_file: None,
        };
        assert_eq!(Config::default().check(), Ok(()));
        let short = Config { resend_s: 1, ..Config::default() };
        assert!(short.check().unwrap_err().contains("resend_s"));
        let label = [("1a".to_string(), "x".to_string())].into();
        let label = Config { external_labels: label, ..Config::default() };
        assert!(label.check().unwrap_err().contains("external_labels"));
        let bad = Config { alertmanager: vec![am("localhost:9093")], ..Config::default() };
        assert!(bad.check().unwrap_err().contains("http"));
        for again in ["http://a:1", "http://a:1/"] {
            let twice = vec![am("http://a:1"), am(again)];
            let twice = Config { alertmanager: twice, ..Config::default() };
            assert!(twice.check().unwrap_err().contains("twice"), "{again}");
        }
        for more in ["http://u:geheim@a:1", "http://u@a:1", "http://a:1/?x=1", "http://a:1/#x"] {
            let more = Config { alertmanager: vec![am(more)], ..Config::default() };
            let said = more.check().unwrap_err();
            assert!(said.contains("without a user") && !said.contains("geheim"), "{said}");
        }
    }
}

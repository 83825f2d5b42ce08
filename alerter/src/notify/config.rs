//! `[[alerter.receiver]]`, `[alerter.mail]` and `[alerter.watchdog]`: whom we tell ourselves.
//!
//! Invariant: a secret stands in a file of its own, read at every sending so that it can be rotated.

use model::TenantId;
use serde::Deserialize;

use crate::config::Config;

/// How a receiver is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReceiverKind {
    /// `POST` of the webhook message Alertmanager sends, version 4, or of a body of its own.
    Webhook,
    /// A mail.
    Mail,
    /// PagerDuty's Events API, version 2.
    Pagerduty,
}

impl ReceiverKind {
    /// As in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            ReceiverKind::Webhook => "webhook",
            ReceiverKind::Mail => "mail",
            ReceiverKind::Pagerduty => "pagerduty",
        }
    }
}

/// Somebody who is told.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiverConfig {
    /// Its name in logs, series and the history.
    pub name: String,
    /// How.
    pub kind: ReceiverKind,
    /// Tenants it is told of; none: those that have no receiver of their own, and the platform.
    #[serde(default)]
    pub tenants: Vec<TenantId>,
    /// Where a webhook is posted; of PagerDuty its host, when it is not the usual one.
    #[serde(default)]
    pub url: String,
    /// File with a bearer token for the webhook.
    #[serde(default)]
    pub bearer_file: Option<String>,
    /// File with the webhook's body as a template, for what is not Alertmanager's form.
    #[serde(default)]
    pub body_file: Option<String>,
    /// File with the integration key of PagerDuty.
    #[serde(default)]
    pub routing_key_file: Option<String>,
    /// Addresses of a mail.
    #[serde(default)]
    pub to: Vec<String>,
    /// Whether it is told of ends.
    #[serde(default = "yes")]
    pub send_resolved: bool,
    /// Messages a minute, at most; the others wait.
    #[serde(default = "per_minute")]
    pub per_minute: u32,
}

fn yes() -> bool {
    true
}

/// More than one message every two seconds is read by nobody, and pagers cut off who sends more.
fn per_minute() -> u32 {
    30
}

/// How the connection to the mail server is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    /// Plain at first, then TLS; refused when the server cannot.
    #[default]
    Starttls,
    /// TLS from the start.
    Tls,
    /// None: for a server on this machine.
    None,
}

/// The server that takes our mail.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailConfig {
    /// Host.
    pub host: String,
    /// Port; none: the usual one of the protection.
    #[serde(default)]
    pub port: Option<u16>,
    /// Protection.
    #[serde(default)]
    pub tls: MailTls,
    /// Sender: `cachewarden <cw@example.com>`.
    pub from: String,
    /// Who signs in; none: nobody.
    #[serde(default)]
    pub user: Option<String>,
    /// File with his password.
    #[serde(default)]
    pub password_file: Option<String>,
}

/// Who is called when the Watchdog is silent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchdogConfig {
    /// Name of a receiver. It must not lead through the path that is watched.
    pub receiver: String,
    /// Evaluators whose Watchdog must come back: `embedded`, `prometheus`.
    #[serde(default = "embedded")]
    pub evaluators: Vec<String>,
}

fn embedded() -> Vec<String> {
    vec!["embedded".into()]
}

/// Refuses what cannot work, naming the key and what is allowed.
pub(crate) fn check(config: &Config) -> Result<(), String> {
    let mut names: Vec<&str> = Vec::new();
    for (n, receiver) in config.receiver.iter().enumerate() {
        let key = format!("alerter.receiver[{n}]");
        receiver.check(&key, config.mail.is_some())?;
        if names.contains(&receiver.name.as_str()) {
            return Err(format!("{key}.name: {:?} stands there twice", receiver.name));
        }
        names.push(&receiver.name);
    }
    let mut owned: Vec<&TenantId> = Vec::new();
    for tenant in config.receiver.iter().flat_map(|r| &r.tenants) {
        if owned.contains(&tenant) {
            return Err(format!("alerter.receiver: tenant {tenant} has two; one is told"));
        }
        owned.push(tenant);
    }
    if config.receiver.iter().filter(|r| r.tenants.is_empty()).count() > 1 {
        let why = "only one receiver may be without tenants: it is told of all the others";
        return Err(format!("alerter.receiver: {why}"));
    }
    if let Some(mail) = &config.mail {
        mail.check()?;
    }
    match &config.watchdog {
        Some(w) if !names.contains(&w.receiver.as_str()) => {
            Err(format!("alerter.watchdog.receiver = {:?}: no receiver of that name", w.receiver))
        }
        _ => Ok(()),
    }
}

impl ReceiverConfig {
    fn check(&self, key: &str, mail: bool) -> Result<(), String> {
        if !model::id::is_slug(&self.name) {
            return Err(format!("{key}.name = {:?}: expected a-z, 0-9 and '-'", self.name));
        }
        if !(1..=600).contains(&self.per_minute) {
            return Err(format!("{key}.per_minute = {}: allowed are 1 to 600", self.per_minute));
        }
        let web = |url: &str| {
            let parsed = reqwest::Url::parse(url).ok();
            parsed.is_some_and(|u| matches!(u.scheme(), "http" | "https") && u.has_host())
        };
        match self.kind {
            ReceiverKind::Webhook if !web(&self.url) => {
                Err(format!("{key}.url: expected http(s)://host[:port][/path]"))
            }
            ReceiverKind::Pagerduty if self.routing_key_file.is_none() => {
                Err(format!("{key}.routing_key_file: PagerDuty needs an integration key"))
            }
            ReceiverKind::Pagerduty if !self.url.is_empty() && !web(&self.url) => {
                Err(format!("{key}.url: expected http(s)://host[:port]"))
            }
            ReceiverKind::Mail if self.to.is_empty() => Err(format!("{key}.to: nobody is named")),
            ReceiverKind::Mail if !mail => Err(format!("{key}: mail needs [alerter.mail]")),
            ReceiverKind::Mail => match self.to.iter().find(|to| mailbox(to).is_none()) {
                Some(bad) => Err(format!("{key}.to: {bad:?} is no address")),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

impl MailConfig {
    fn check(&self) -> Result<(), String> {
        if mailbox(&self.from).is_none() {
            return Err(format!("alerter.mail.from: {:?} is no address", self.from));
        }
        if self.user.is_some() != self.password_file.is_some() {
            return Err("alerter.mail: user and password_file go together".into());
        }
        if self.user.is_some() && self.tls == MailTls::None {
            return Err("alerter.mail.tls = none: a password is not sent in the clear".into());
        }
        Ok(())
    }
}

/// An address with or without a name.
pub(crate) fn mailbox(text: &str) -> Option<lettre::message::Mailbox> {
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(toml: &str) -> String {
        let config: Config = serde_json::from_str(toml).unwrap();
        config.check().err().unwrap_or_default()
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_key() {
        for (json, word) in [
            (r#"{"receiver": [{"name": "a", "kind": "webhook"}]}"#, "url"),
            (r#"{"receiver": [{"name": "a", "kind": "pagerduty"}]}"#, "routing_key_file"),
            (r#"{"receiver": [{"name": "a", "kind": "mail", "to": ["x@y.z"]}]}"#, "alerter.mail"),
            (r#"{"watchdog": {"receiver": "a"}}"#, "no receiver of that name"),
            (
                r#"{"receiver": [{"name": "a", "kind": "webhook", "url": "http://h"},
                    {"name": "b", "kind": "webhook", "url": "http://h"}]}"#,
                "without tenants",
            ),
            (
                r#"{"receiver": [{"name": "a", "kind": "webhook", "url": "http://h",
                    "tenants": ["pay"]}, {"name": "b", "kind": "webhook", "url": "http://h",
                    "tenants": ["pay"]}]}"#,
                "has two",
            ),
            (
                r#"{"mail": {"host": "h", "from": "a@b.c", "tls": "none", "user": "u",
                    "password_file": "f"}}"#,
                "in the clear",
            ),
        ] {
            assert!(said(json).contains(word), "{json}: {}", said(json));
        }
        let good = r#"{"mail": {"host": "h", "from": "cachewarden <cw@b.c>"}, "receiver": [
            {"name": "oncall", "kind": "pagerduty", "routing_key_file": "f"},
            {"name": "pay", "kind": "mail", "to": ["x@y.z"], "tenants": ["pay"]}],
            "watchdog": {"receiver": "oncall"}}"#;
        assert_eq!(said(good), "");
    }
}

//! Handing one message to a receiver, and what its answer means.
//!
//! Invariant: an answer decides between taken, refused for good and not now; secrets are read from
//! their files at every sending and never logged.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::config::{MailConfig, MailTls, ReceiverConfig, ReceiverKind, mailbox};
use super::group::{Key, Notice};
use super::message;
use crate::send::{Answer, POST_TIMEOUT, answer, beginning, causes, plain, secret};

/// PagerDuty's host.
const PAGERDUTY: &str = "https://events.pagerduty.com";
/// A mail server may look things up before it answers.
const MAIL_TIMEOUT: Duration = Duration::from_secs(30);

/// What is needed to hand over.
pub(super) struct Hand<'a> {
    pub http: &'a reqwest::Client,
    pub mail: Option<&'a MailConfig>,
    pub public_url: &'a str,
    /// Explains scores, in mails.
    pub explains: Option<&'a crate::Explains>,
}

impl Hand<'_> {
    /// Hands the notice over.
    pub async fn over(&self, to: &ReceiverConfig, key: &Key, notice: &Notice) -> Answer {
        match to.kind {
            ReceiverKind::Webhook => self.webhook(to, key, notice).await,
            ReceiverKind::Pagerduty => self.pager(to, key, notice).await,
            ReceiverKind::Mail => self.mail(to, key, notice).await,
        }
    }

    async fn webhook(&self, to: &ReceiverConfig, key: &Key, notice: &Notice) -> Answer {
        let body = match &to.body_file {
            None => message::webhook(&to.name, key, notice, self.public_url).to_string(),
            Some(file) => match tokio::fs::read_to_string(file).await {
                Ok(template) => message::body(&template, key, notice, self.public_url),
                Err(e) => return Answer::Misconfigured(format!("{file}: {e}")),
            },
        };
        let mut request = self.http.post(&to.url).body(body);
        if let Some(file) = &to.bearer_file {
            match secret(file).await {
                Ok(token) => request = request.bearer_auth(token),
                Err(why) => return Answer::Misconfigured(why),
            }
        }
        post(request).await
    }

    async fn pager(&self, to: &ReceiverConfig, key: &Key, notice: &Notice) -> Answer {
        let file = to.routing_key_file.as_deref().unwrap_or_default();
        let routing_key = match secret(file).await {
            Ok(key) => key,
            Err(why) => return Answer::Misconfigured(why),
        };
        let mut event = message::pager(key, notice, self.public_url);
        event["routing_key"] = routing_key.into();
        let host = if to.url.is_empty() { PAGERDUTY } else { to.url.trim_end_matches('/') };
        post(self.http.post(format!("{host}/v2/enqueue")).body(event.to_string())).await
    }

    async fn mail(&self, to: &ReceiverConfig, key: &Key, notice: &Notice) -> Answer {
        let Some(config) = self.mail else {
            return Answer::Misconfigured("no [alerter.mail]".into());
        };
        let why = self.explains.map_or(String::new(), |explains| message::why(notice, explains));
        let message = match letter(config, to, (key, notice), &why) {
            Ok(message) => message,
            Err(why) => return Answer::Refused(why),
        };
        let transport = match transport(config).await {
            Ok(transport) => transport,
            Err(why) => return Answer::Misconfigured(why),
        };
        match transport.send(message).await {
            Ok(_) => Answer::Taken,
            Err(e) => {
                let why = plain(causes(&e).as_bytes());
                // The server's 5xx is for good; 4xx, its silence and our network are not.
                if e.is_permanent() { Answer::Refused(why) } else { Answer::Busy(why) }
            }
        }
    }
}

fn letter(
    config: &MailConfig,
    to: &ReceiverConfig,
    (key, notice): (&Key, &Notice),
    why: &str,
) -> Result<Message, String> {
    let from = mailbox(&config.from).ok_or("alerter.mail.from is no address")?;
    let mut builder = Message::builder().from(from).subject(message::title(key, notice));
    for address in to.to.iter().filter_map(|a| mailbox(a)) {
        builder = builder.to(address);
    }
    let text = message::text(notice) + why;
    builder.header(ContentType::TEXT_PLAIN).body(text).map_err(|e| e.to_string())
}

async fn transport(config: &MailConfig) -> Result<AsyncSmtpTransport<Tokio1Executor>, String> {
    let tls = || TlsParameters::new(config.host.clone()).map_err(|e| e.to_string());
    let (port, tls) = match config.tls {
        MailTls::Starttls => (587, Tls::Required(tls()?)),
        MailTls::Tls => (465, Tls::Wrapper(tls()?)),
        MailTls::None => (25, Tls::None),
    };
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&config.host)
        .port(config.port.unwrap_or(port))
        .tls(tls)
        .timeout(Some(MAIL_TIMEOUT));
    if let (Some(user), Some(file)) = (&config.user, &config.password_file) {
        builder = builder.credentials(Credentials::new(user.clone(), secret(file).await?));
    }
    Ok(builder.build())
}

async fn post(request: reqwest::RequestBuilder) -> Answer {
    let request = request.timeout(POST_TIMEOUT).header("content-type", "application/json");
    match request.send().await {
        Ok(response) => {
            let status = response.status().as_u16();
            answer(status, beginning(response).await)
        }
        Err(e) => Answer::Busy(causes(&e.without_url())),
    }
}

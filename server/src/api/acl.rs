//! The least access a monitor user needs on a service.
//!
//! Invariant: made for the engines and versions the processes said they are; takes the hash of a
//! password, never a password.

use std::collections::BTreeMap;
use std::sync::Arc;

use exporter::acl::{Monitor, acl};
use model::adopt::{AclDoc, AclText};
use model::reading::Text;
use model::service::{InstanceKind, Mode};
use serde_json::json;

use super::Api;
use super::ask::{Answer, Ask, Fail, invalid};
use super::sight::Sight;
use crate::watch::events::CHANNELS;

/// Name of the user when nobody says another.
const USER: &str = "cw-monitor";

/// `GET /services/{id}/acl`.
pub async fn get(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let service = sight.service(ask.id())?;
    let user = Some(ask.query("user")).filter(|u| !u.is_empty()).unwrap_or(USER);
    let wish = AclDoc { user: user.into(), password_sha256: ask.query("password_sha256").into() };
    check(&wish, "")?;
    let mut texts: BTreeMap<(InstanceKind, String), Text> = BTreeMap::new();
    for instance in sight.inventory.of_service(&service.id) {
        let row = api.app.board.row(&instance.id);
        let Some(good) = row.as_ref().and_then(|r| r.last_good.as_ref()) else { continue };
        let text = &good.facts.text;
        texts.insert(
            (instance.kind, format!("{} {}", text.version, text.valkey_version)),
            text.clone(),
        );
    }
    let mut items = Vec::new();
    for ((kind, _), text) in &texts {
        let made = rules(&api, &wish, (*kind, service.mode), text);
        items.push(made.map_err(|said| invalid("", said))?);
    }
    if items.is_empty() {
        let said = "no process of it has been read yet, so its engine and version are not known";
        return Err(invalid("", said));
    }
    Ok(Answer::ok(json!({ "items": items })))
}

/// Refuses names and hashes that would make another line of it. `at` stands before the field.
pub(super) fn check(wish: &AclDoc, at: &str) -> Result<(), Fail> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@' | ':');
    if !(1..=64).contains(&wish.user.len()) || !wish.user.chars().all(plain) {
        let rule = "allowed are 1 to 64 of A-Z, a-z, 0-9, '-', '_', '.', '@', ':'";
        return Err(invalid(&format!("{at}/user"), rule));
    }
    let hash = &wish.password_sha256;
    if !hash.is_empty() && (hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit())) {
        return Err(invalid(&format!("{at}/password_sha256"), "expected 64 hex digits"));
    }
    Ok(())
}

/// The rules for one kind of process.
pub(super) fn rules(
    api: &Api,
    wish: &AclDoc,
    (kind, mode): (InstanceKind, Mode),
    text: &Text,
) -> Result<AclText, String> {
    let monitor = Monitor {
        user: &wish.user,
        password_sha256: &wish.password_sha256.to_ascii_lowercase(),
        kind,
        cluster: mode == Mode::Cluster,
        channels: &CHANNELS,
    };
    acl(monitor, text, &api.app.config.exporter)
}

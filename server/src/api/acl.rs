//! The least access a monitor user needs on a service.
//!
//! Invariant: made for the engines and versions the processes said they are; takes the hash of a
//! password, never a password. A proof asks the processes themselves, by credentials that are used once
//! and kept nowhere, at addresses of the inventory only.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use exporter::acl::{Monitor, acl};
use futures_util::{StreamExt, stream};
use model::InstanceId;
use model::adopt::{AclDoc, AclProof, AclText};
use model::apply::AuthDoc;
use model::code::{Code, Problem};
use model::reading::Text;
use model::right::{Place, Right};
use model::service::{InstanceKind, Mode};
use serde::Deserialize;
use serde_json::json;
use store::AuditEntry;
use tokio::sync::Semaphore;

use super::Api;
use super::adopt::check_logins;
use super::ask::{Answer, Ask, Fail, invalid};
use super::sight::Sight;
use crate::watch::events::CHANNELS;

/// Name of the user when nobody says another.
const USER: &str = "cw-monitor";
/// Proofs at once, and processes asked at once in one: everybody's polls share the rate of dials.
static PROOFS: Semaphore = Semaphore::const_new(2);
const AT_ONCE: usize = 8;
/// To connect, and to try all commands: some 400 answers without any work behind them.
const CONNECT: Duration = Duration::from_secs(3);
const TRY: Duration = Duration::from_secs(10);

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

/// A body of `service.acl_proof`.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ProofDoc {
    /// The monitor user.
    user: String,
    /// Who asks the data nodes; absent: whoever polls them.
    auth: Option<AuthDoc>,
    /// Who asks the Sentinels.
    sentinel_auth: Option<AuthDoc>,
}

impl Default for ProofDoc {
    fn default() -> ProofDoc {
        ProofDoc { user: USER.into(), auth: None, sentinel_auth: None }
    }
}

/// `POST /services/{id}/acl/proof`.
pub async fn prove(api: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let sight = Sight::new(&api.app, &ask);
    let service = sight.service(ask.id())?;
    let place = Place::service(&service.id, &service.system);
    ask.require(Right::ServiceAdopt, &place)?;
    let doc: ProofDoc = ask.json()?;
    check(&AclDoc { user: doc.user.clone(), password_sha256: String::new() }, "")?;
    check_logins([("auth", &doc.auth), ("sentinel_auth", &doc.sentinel_auth)])?;
    let _place = PROOFS.try_acquire().map_err(|_| {
        let said = "two proofs are under way already";
        Problem::new(Code::OverCapacity, said, "Try again in half a minute.")
    })?;
    let mut entry = AuditEntry::new(ask.action.id, &service.id, place);
    let asks_as = doc.auth.as_ref().map(|auth| auth.user.as_str());
    entry.after = json!({ "user": doc.user, "as": asks_as });
    api.app.store.audit_write(&ask.caller, entry, ask.now).await?;
    let all: Vec<(InstanceId, InstanceKind)> =
        sight.inventory.of_service(&service.id).map(|i| (i.id.clone(), i.kind)).collect();
    let tries = all.into_iter().map(|of| proof(&api, &doc, of, service.mode));
    let mut items: Vec<AclProof> = stream::iter(tries).buffer_unordered(AT_ONCE).collect().await;
    items.sort_by(|a, b| a.instance.cmp(&b.instance));
    Ok(Answer::ok(json!({ "items": items })))
}

async fn proof(
    api: &Api,
    doc: &ProofDoc,
    (id, kind): (InstanceId, InstanceKind),
    mode: Mode,
) -> AclProof {
    let told = asked(api, doc, &id, kind, mode).await;
    let instance = id.to_string();
    match told {
        Ok(proof) => {
            let right = proof.lacking.is_empty() && proof.surplus.is_empty();
            let state = if right { "proved" } else { "wrong" }.into();
            let (tried, lacking, surplus) = (proof.tried, proof.lacking, proof.surplus);
            AclProof { instance, state, tried, lacking, surplus, ..AclProof::default() }
        }
        Err(detail) => {
            AclProof { instance, state: "unknown".into(), detail, ..AclProof::default() }
        }
    }
}

async fn asked(
    api: &Api,
    doc: &ProofDoc,
    id: &InstanceId,
    kind: InstanceKind,
    mode: Mode,
) -> Result<exporter::acl::Proof, String> {
    let known = api.app.targets.load().get(id).cloned();
    let mut target = known.ok_or("left the inventory")??;
    let auth = match kind {
        InstanceKind::Redis => &doc.auth,
        InstanceKind::Sentinel => &doc.sentinel_auth,
    };
    if let Some(auth) = auth {
        (target.user, target.password) = (auth.user.clone(), auth.password.clone());
    }
    let mut link = link::dial(&target, CONNECT).await.map_err(|e| e.to_string())?;
    let monitor = monitor(&doc.user, "", kind, mode);
    let proved = exporter::acl::prove(&mut link, monitor, &api.app.config.exporter, TRY).await;
    proved.map_err(|e| e.to_string())
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
    let hash = wish.password_sha256.to_ascii_lowercase();
    acl(monitor(&wish.user, &hash, kind, mode), text, &api.app.config.exporter)
}

fn monitor<'a>(user: &'a str, hash: &'a str, kind: InstanceKind, mode: Mode) -> Monitor<'a> {
    let cluster = mode == Mode::Cluster;
    Monitor { user, password_sha256: hash, kind, cluster, channels: &CHANNELS }
}

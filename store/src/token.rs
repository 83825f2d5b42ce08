//! Bearer tokens for programs.
//!
//! Invariant: only the hash of a token is kept; what it may do is at most what its owner may do at
//! that moment, for at most `TOKEN_DAYS_MAX`.

use model::At;
use model::caller::Caller;
use model::right::{Grant, Place, Right, Rights, Scope};
use serde_json::{Value, json};

use crate::grant::place_of;
use crate::idempotency::Replay;
use crate::{Account, AuditEntry, Error, Result, Store};

/// Longest life of a token, days: whatever runs longer gets a new one once a year.
pub const TOKEN_DAYS_MAX: i64 = 365;
/// Live tokens of one account: enough for every job of a team, too few to fill the table.
const TOKENS_MAX: i64 = 100;

/// What a token is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The API, as its owner or less.
    Api,
    /// `/metrics`, `/scrape`, `/sd`.
    Scrape,
    /// An Alertmanager's webhook.
    Intake,
}

impl TokenKind {
    /// As in JSON and in the table.
    pub fn as_str(self) -> &'static str {
        match self {
            TokenKind::Api => "api",
            TokenKind::Scrape => "scrape",
            TokenKind::Intake => "intake",
        }
    }
    /// From its word.
    pub fn parse(text: &str) -> Option<TokenKind> {
        [TokenKind::Api, TokenKind::Scrape, TokenKind::Intake]
            .into_iter()
            .find(|k| k.as_str() == text)
    }
    /// The right its owner must hold wherever the token reaches, when it is not an `api` one: who
    /// may read a fleet may let a program scrape it; alerts are posted on an administrator's word.
    pub fn owner_right(self) -> Option<Right> {
        match self {
            TokenKind::Api => None,
            TokenKind::Scrape => Some(Right::FleetRead),
            TokenKind::Intake => Some(Right::IntegrationEdit),
        }
    }
}

/// A token to be kept.
#[derive(Debug, Clone)]
pub struct NewToken {
    /// Public part.
    pub id: String,
    /// SHA-256 of the whole token, hex.
    pub hash: String,
    /// Kind.
    pub kind: TokenKind,
    /// What it is for, in the owner's words.
    pub name: String,
    /// Rights asked for; `api` only.
    pub rights: Rights,
    /// Where.
    pub scopes: Vec<Scope>,
    /// Until when.
    pub expires_at: At,
}

/// A live token.
#[derive(Debug, Clone)]
pub struct TokenRow {
    /// Public part.
    pub id: String,
    /// SHA-256 of the whole token, hex.
    pub hash: String,
    /// Kind.
    pub kind: TokenKind,
    /// Rights it was made with; `api` only.
    pub rights: Rights,
    /// Where.
    pub scopes: Vec<Scope>,
    /// Last use, to the minute.
    pub used_at: Option<At>,
    /// Until when.
    pub expires_at: At,
    /// Owner.
    pub account: Account,
    /// What is granted to the owner now.
    pub grants: Vec<Grant>,
}

#[derive(sqlx::FromRow)]
struct Row {
    hash: String,
    kind: String,
    rights: String,
    scopes: String,
    used_at: Option<i64>,
    expires_at: i64,
    #[sqlx(flatten)]
    account: Account,
}

impl Store {
    /// Keeps a token of the caller. With `replay`, the same request answers the same row again; the
    /// token itself was shown the first time and is kept nowhere.
    pub async fn token_create(
        &self,
        caller: &Caller,
        new: NewToken,
        replay: Option<Replay>,
        now: At,
    ) -> Result<()> {
        check(caller, &new, now)?;
        let words = json!(new.rights.words()).to_string();
        let scopes = json!(new.scopes).to_string();
        let mut tx = self.begin().await?;
        let owner: Option<String> = wr!(tx, c => sqlx::query_scalar(
            "SELECT id FROM account WHERE issuer = $1 AND subject = $2 AND NOT disabled")
            .bind(&caller.actor.issuer).bind(&caller.actor.subject).fetch_optional(c).await)?;
        let owner = owner.ok_or_else(|| Error::NotFound("your account".into()))?;
        if let Some(parent) = &caller.actor.token {
            let until: Option<i64> = wr!(tx, c => sqlx::query_scalar("SELECT expires_at FROM token WHERE id = $1")
                .bind(parent).fetch_optional(c).await)?;
            // Or whoever finds a token of an hour would have one of a year.
            if until.is_none_or(|until| new.expires_at.ms() > until) {
                let said = "expires_at: a token made by a token ends no later than that one";
                return Err(Error::Invalid(said.into()));
            }
        }
        let n: i64 = wr!(tx, c => sqlx::query_scalar(
            "SELECT count(*) FROM token WHERE account = $1 AND revoked_at IS NULL \
             AND expires_at > $2")
            .bind(&owner).bind(now.ms()).fetch_one(c).await)?;
        if n >= TOKENS_MAX {
            return Err(Error::Conflict(format!("{TOKENS_MAX} live tokens are the most")));
        }
        wr!(tx, c => sqlx::query(
            "INSERT INTO token (id, hash, kind, account, name, rights, scopes, created_at, \
             expires_at, used_at, revoked_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, NULL, NULL)")
            .bind(&new.id).bind(&new.hash).bind(new.kind.as_str()).bind(&owner).bind(&new.name)
            .bind(&words).bind(&scopes).bind(now.ms()).bind(new.expires_at.ms())
            .execute(c).await.map(|d| d.rows_affected()))?;
        if let Some(replay) = replay
            && !tx.replay_insert(caller, &replay, now).await?
        {
            return Err(Error::Conflict(format!("the key {:?} is in use", replay.key)));
        }
        let after = json!({ "kind": new.kind.as_str(), "name": new.name, "rights": new.rights.words(),
                            "scopes": new.scopes, "expires_at": new.expires_at });
        let place = new.scopes.first().map(place_of).unwrap_or_default();
        let entry = AuditEntry::new("token.create", &new.id, place).change(Value::Null, after);
        tx.audit(caller, entry, now).await?;
        tx.commit().await
    }

    /// The token of that id while it lives and its owner may come in. The hash is compared by the
    /// caller.
    pub async fn token_get(&self, id: &str, now: At) -> Result<Option<TokenRow>> {
        let row: Option<Row> = rd!(self, c => sqlx::query_as(
            "SELECT t.hash, t.kind, t.rights, t.scopes, t.used_at, t.expires_at, a.id, a.issuer, \
             a.subject, a.staff_id, a.display, a.disabled \
             FROM token t JOIN account a ON a.id = t.account \
             WHERE t.id = $1 AND t.revoked_at IS NULL AND t.expires_at > $2 AND NOT a.disabled")
            .bind(id).bind(now.ms()).fetch_optional(c).await)?;
        let Some(row) = row else { return Ok(None) };
        let broken = |e: String| Error::Internal(format!("token {id}: {e}"));
        let words: Vec<String> =
            serde_json::from_str(&row.rights).map_err(|e| broken(e.to_string()))?;
        let rights: Vec<Right> = words.iter().filter_map(|w| Right::parse(w)).collect();
        let grants = self.grant_live(&row.account.id, now).await?;
        Ok(Some(TokenRow {
            id: id.into(),
            hash: row.hash,
            kind: TokenKind::parse(&row.kind).ok_or_else(|| broken(row.kind))?,
            rights: Rights::of(&rights),
            scopes: serde_json::from_str(&row.scopes).map_err(|e| broken(e.to_string()))?,
            used_at: row.used_at.map(At::from_ms),
            expires_at: At::from_ms(row.expires_at),
            account: row.account,
            grants,
        }))
    }

    /// Notes a use.
    pub async fn token_touch(&self, id: &str, now: At) -> Result<()> {
        let mut tx = self.begin().await?;
        wr!(tx, c => sqlx::query("UPDATE token SET used_at = $2 WHERE id = $1")
            .bind(id).bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        tx.commit().await
    }

    /// Revokes a token of the caller.
    pub async fn token_revoke(&self, caller: &Caller, id: &str, now: At) -> Result<()> {
        let mut tx = self.begin().await?;
        let done = wr!(tx, c => sqlx::query(
            "UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL AND account = \
             (SELECT id FROM account WHERE issuer = $3 AND subject = $4)")
            .bind(id).bind(now.ms()).bind(&caller.actor.issuer).bind(&caller.actor.subject)
            .execute(c).await.map(|d| d.rows_affected()))?;
        if done == 0 {
            return Err(Error::NotFound(format!("token {id}")));
        }
        tx.audit(caller, AuditEntry::new("token.revoke", id, Place::platform()), now).await?;
        tx.commit().await
    }
}

/// A token never reaches further than the one who makes it.
fn check(caller: &Caller, new: &NewToken, now: At) -> Result<()> {
    if !caller.may_somewhere(Right::TokenCreate) {
        caller.require(Right::TokenCreate, &Place::platform())?;
    }
    if new.scopes.is_empty() {
        return Err(Error::Invalid("scopes: at least one is needed".into()));
    }
    if new.expires_at <= now || new.expires_at.since_ms(now) > TOKEN_DAYS_MAX * 86_400_000 {
        return Err(Error::Invalid(format!("expires_at: within {TOKEN_DAYS_MAX} days from now")));
    }
    // As its owner: what that is, is decided with each use.
    if new.rights == Rights::ALL && caller.actor.token.is_none() {
        return Ok(());
    }
    for scope in &new.scopes {
        let place = place_of(scope);
        for right in wanted(new) {
            caller.require(right, &place)?;
        }
    }
    Ok(())
}

fn wanted(new: &NewToken) -> Vec<Right> {
    match new.kind.owner_right() {
        Some(right) => vec![right],
        None => Right::ALL.iter().copied().filter(|r| new.rights.has(*r)).collect(),
    }
}

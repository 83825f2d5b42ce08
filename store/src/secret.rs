//! Secrets at rest: a wrapping key from outside, one data key per tenant, one sealed row per secret.
//!
//! Invariant: the database never holds a secret or a key in clear; a row that was altered, moved to
//! another id or another service does not open. Without the right wrapping key the store is sealed:
//! everything else works, secrets answer `Error::Sealed`. Refuses to know: what a secret is for.

use std::sync::OnceLock;

use aes_gcm_siv::aead::{Aead, KeyInit, Payload};
use aes_gcm_siv::{Aes256GcmSiv, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::At;
use model::caller::Caller;
use model::right::{Place, Right};
use model::secret::Secret;
use model::{ServiceId, TenantId};
use serde_json::json;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::audit::AuditEntry;
use crate::tx::Tx;
use crate::{Config, Error, Result, Store};

/// Bytes of every key: AES-256.
const KEY_BYTES: usize = 32;
/// Bytes of a nonce of GCM-SIV, which survives a repeated one.
const NONCE_BYTES: usize = 12;
/// Row of `setting` that tells a wrong wrapping key from a right one before any secret exists.
const PROBE: &str = "seal_probe";
const PROBE_TEXT: &str = "cachewarden";
/// A key command that hangs must not hang the start for ever.
const KEY_COMMAND_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);

/// Kind of the password of a service's data nodes.
pub const SECRET_REDIS: &str = "redis_user";
/// Kind of the password of a service's Sentinels.
pub const SECRET_SENTINEL: &str = "sentinel";

type Key = Zeroizing<[u8; KEY_BYTES]>;

/// The wrapping key, once it is known to be the right one.
#[derive(Default)]
pub(crate) struct Seal(OnceLock<Key>);

/// A new wrapping key as the key file holds it: 64 hex digits.
pub fn new_key() -> Result<Secret> {
    Ok(Secret::new(hex::encode(random::<KEY_BYTES>()?)))
}

/// A secret as it lies in the database; both base64.
struct Sealed {
    ciphertext: String,
    nonce: String,
}

#[derive(sqlx::FromRow)]
struct SecretRow {
    service: String,
    ciphertext: String,
    nonce: String,
    key_id: String,
    rev: i64,
}

#[derive(sqlx::FromRow)]
struct DataKeyRow {
    id: String,
    wrapped: String,
    nonce: String,
}

/// Id of the secret of that kind of a service: the row's id binds the service.
pub fn secret_id(service: &ServiceId, kind: &str) -> String {
    format!("{service}/{kind}")
}

impl Store {
    /// Reads the wrapping key that `config` names and proves it against this database (the first
    /// key ever used is the right one). `Error::Sealed` says what is missing; the store stays
    /// usable for everything but secrets.
    pub async fn unseal(&self, config: &Config) -> Result<()> {
        let key = wrapping_key(config).await?;
        match self.setting_get(PROBE).await? {
            Some(probe) => {
                let (nonce, ciphertext) = probe.split_once(':').unwrap_or_default();
                let sealed = Sealed { ciphertext: ciphertext.into(), nonce: nonce.into() };
                open(&key, PROBE, &sealed).map_err(|_| {
                    Error::Sealed("the wrapping key is not the one this store was made with".into())
                })?;
            }
            None => {
                let sealed = seal(&key, PROBE, PROBE_TEXT.as_bytes())?;
                let probe = format!("{}:{}", sealed.nonce, sealed.ciphertext);
                self.setting_put(PROBE, &probe).await?;
            }
        }
        let _ = self.seal.0.set(key);
        Ok(())
    }

    /// Whether secrets cannot be opened for want of the wrapping key.
    pub fn is_sealed(&self) -> bool {
        self.seal.0.get().is_none()
    }

    /// Seals `secret` as the one of that `kind` (`redis_user`, `sentinel` …) of `service`, in place
    /// of an older one. Answers its id. Needs `secret.edit` or, as part of an inventory,
    /// `tree.edit` there.
    pub async fn secret_put(
        &self,
        caller: &Caller,
        service: &ServiceId,
        kind: &str,
        secret: &Secret,
        now: At,
    ) -> Result<String> {
        let place = self.place_of_service(service).await?;
        if !caller.may(Right::TreeEdit, &place) {
            caller.require(Right::SecretEdit, &place)?;
        }
        let mut tx = self.begin().await?;
        let id = self.secret_write(&mut tx, caller, (service, kind, &place), secret, now).await?;
        tx.commit().await?;
        Ok(id)
    }

    /// Opens a secret for the process itself, which sends it only to the service it is bound to.
    pub async fn secret_open(&self, id: &str) -> Result<Secret> {
        let row: Option<SecretRow> = rd!(self, c => sqlx::query_as(SECRET)
            .bind(id).fetch_optional(c).await)?;
        let row = row.ok_or_else(|| Error::NotFound(format!("secret {id}")))?;
        let key: DataKeyRow = rd!(self, c => sqlx::query_as(
            "SELECT id, wrapped, nonce FROM data_key WHERE id = $1")
            .bind(&row.key_id).fetch_one(c).await)?;
        open_row(&self.unwrap_key(&key)?, id, row)
    }

    /// The secret of that kind of a service; none when nothing is stored.
    pub async fn secret_of(&self, service: &ServiceId, kind: &str) -> Result<Option<Secret>> {
        match self.secret_open(&secret_id(service, kind)).await {
            Ok(secret) => Ok(Some(secret)),
            Err(Error::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Whether the stored secret differs from `secret`, in a transaction. True when none is stored.
    pub(crate) async fn secret_differs(
        &self,
        tx: &mut Tx,
        service: &ServiceId,
        kind: &str,
        secret: &Secret,
    ) -> Result<bool> {
        let id = secret_id(service, kind);
        let row: Option<SecretRow> = wr!(tx, c => sqlx::query_as(SECRET)
            .bind(&id).fetch_optional(c).await)?;
        let Some(row) = row else { return Ok(true) };
        let key: DataKeyRow = wr!(tx, c => sqlx::query_as(
            "SELECT id, wrapped, nonce FROM data_key WHERE id = $1")
            .bind(&row.key_id).fetch_one(c).await)?;
        let stored = open_row(&self.unwrap_key(&key)?, &id, row)?;
        Ok(stored.reveal() != secret.reveal())
    }

    /// `secret_put` inside a transaction; the caller has authorised.
    pub(crate) async fn secret_write(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        (service, kind, place): (&ServiceId, &str, &Place),
        secret: &Secret,
        now: At,
    ) -> Result<String> {
        let tenant = service.tenant();
        let (key_id, key) = self.data_key(tx, &tenant, now).await?;
        let id = secret_id(service, kind);
        let before: Option<SecretRow> = wr!(tx, c => sqlx::query_as(SECRET)
            .bind(&id).fetch_optional(c).await)?;
        let sealed = seal(&key, &bound_to(&id), secret.reveal().as_bytes())?;
        let rev = before.as_ref().map_or(1, |b| b.rev + 1);
        wr!(tx, c => sqlx::query(
            "INSERT INTO secret (id, tenant, kind, service, ciphertext, nonce, key_id, rev) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET \
             ciphertext = excluded.ciphertext, nonce = excluded.nonce, \
             key_id = excluded.key_id, rev = excluded.rev")
            .bind(&id).bind(tenant.as_str()).bind(kind).bind(service.as_str())
            .bind(&sealed.ciphertext).bind(&sealed.nonce).bind(&key_id).bind(rev)
            .execute(c).await.map(|d| d.rows_affected()))?;
        let old = match before {
            Some(row) => open_row(&key, &id, row).ok(),
            None => None,
        };
        let mark = |s: &Secret| json!({ "hmac": hex::encode(hmac(&key, s.reveal().as_bytes())) });
        let before = old.as_ref().map_or(serde_json::Value::Null, mark);
        let entry = AuditEntry::new("secret.put", &id, place.clone()).change(before, mark(secret));
        tx.audit(caller, entry, now).await?;
        Ok(id)
    }

    /// The tenant's data key, made on first use.
    async fn data_key(&self, tx: &mut Tx, tenant: &TenantId, now: At) -> Result<(String, Key)> {
        let found: Option<DataKeyRow> = wr!(tx, c => sqlx::query_as(
            "SELECT id, wrapped, nonce FROM data_key WHERE tenant = $1 \
             ORDER BY created_at DESC LIMIT 1")
            .bind(tenant.as_str()).fetch_optional(c).await)?;
        if let Some(row) = found {
            let key = self.unwrap_key(&row)?;
            return Ok((row.id, key));
        }
        let id = uuid::Uuid::now_v7().to_string();
        let key: Key = Zeroizing::new(random::<KEY_BYTES>()?);
        let wrapped = seal(self.wrapping()?, &wrap_of(&id), key.as_slice())?;
        wr!(tx, c => sqlx::query(
            "INSERT INTO data_key (id, tenant, wrapped, nonce, created_at) \
             VALUES ($1, $2, $3, $4, $5)")
            .bind(&id).bind(tenant.as_str()).bind(&wrapped.ciphertext).bind(&wrapped.nonce)
            .bind(now.ms()).execute(c).await.map(|d| d.rows_affected()))?;
        Ok((id, key))
    }

    fn unwrap_key(&self, row: &DataKeyRow) -> Result<Key> {
        let sealed = Sealed { ciphertext: row.wrapped.clone(), nonce: row.nonce.clone() };
        let bytes = open(self.wrapping()?, &wrap_of(&row.id), &sealed)
            .map_err(|_| Error::Sealed("the wrapping key does not open a data key".into()))?;
        let key: [u8; KEY_BYTES] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| Error::Internal(format!("data key {} has a wrong length", row.id)))?;
        Ok(Zeroizing::new(key))
    }

    fn wrapping(&self) -> Result<&Key> {
        self.seal.0.get().ok_or_else(|| {
            Error::Sealed("no wrapping key; set store.key_file, key_env or key_command".into())
        })
    }
}

const SECRET: &str = "SELECT service, ciphertext, nonce, key_id, rev FROM secret WHERE id = $1";

fn bound_to(id: &str) -> String {
    format!("secret|ciphertext|{id}")
}

fn wrap_of(id: &str) -> String {
    format!("data_key|wrapped|{id}")
}

fn open_row(key: &Key, id: &str, row: SecretRow) -> Result<Secret> {
    let torn = || Error::Internal(format!("secret {id} was altered or moved; set it again"));
    if !id.starts_with(&format!("{}/", row.service)) {
        return Err(torn());
    }
    let sealed = Sealed { ciphertext: row.ciphertext, nonce: row.nonce };
    let bytes = open(key, &bound_to(id), &sealed).map_err(|_| torn())?;
    let text = std::str::from_utf8(&bytes).map_err(|_| torn())?;
    Ok(Secret::new(text.to_string()))
}

fn seal(key: &Key, bound: &str, clear: &[u8]) -> Result<Sealed> {
    let nonce = random::<NONCE_BYTES>()?;
    let ciphertext = cipher(key)
        .encrypt(Nonce::from_slice(&nonce), Payload { msg: clear, aad: bound.as_bytes() })
        .map_err(|_| Error::Internal("sealing failed".into()))?;
    Ok(Sealed { ciphertext: BASE64.encode(ciphertext), nonce: BASE64.encode(nonce) })
}

/// The clear bytes; `()` when key, binding or bytes are not those it was sealed with.
fn open(key: &Key, bound: &str, sealed: &Sealed) -> std::result::Result<Zeroizing<Vec<u8>>, ()> {
    let nonce = BASE64.decode(&sealed.nonce).map_err(drop)?;
    let ciphertext = BASE64.decode(&sealed.ciphertext).map_err(drop)?;
    if nonce.len() != NONCE_BYTES {
        return Err(());
    }
    cipher(key)
        .decrypt(
            Nonce::from_slice(&nonce),
            Payload { msg: ciphertext.as_slice(), aad: bound.as_bytes() },
        )
        .map(Zeroizing::new)
        .map_err(drop)
}

fn cipher(key: &Key) -> Aes256GcmSiv {
    Aes256GcmSiv::new_from_slice(key.as_slice()).expect("a key has 32 bytes")
}

fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| Error::Internal(format!("no random bytes: {e}")))?;
    Ok(bytes)
}

/// HMAC-SHA-256, so that the audit record shows that a secret changed and not what it is.
fn hmac(key: &Key, text: &[u8]) -> [u8; 32] {
    // A key shorter than the block of 64 bytes is padded with zeros.
    let pad = |with: u8| {
        let mut block = [with; 64];
        block.iter_mut().zip(key.iter()).for_each(|(b, k)| *b ^= k);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(text).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

async fn wrapping_key(config: &Config) -> Result<Key> {
    let (text, from) = match (&config.key_file, &config.key_env, &config.key_command) {
        (Some(file), _, _) => (read_key_file(file)?, format!("store.key_file {file}")),
        (_, Some(name), _) => {
            let text = std::env::var(name).map_err(|_| {
                Error::Sealed(format!("store.key_env: the variable {name} is not set"))
            })?;
            (Zeroizing::new(text), format!("store.key_env {name}"))
        }
        (_, _, Some(command)) => (run_key_command(command).await?, "store.key_command".into()),
        _ => {
            return Err(Error::Sealed(
                "no wrapping key is configured; set store.key_file, key_env or key_command".into(),
            ));
        }
    };
    let mut key: Key = Zeroizing::new([0; KEY_BYTES]);
    hex::decode_to_slice(text.trim(), key.as_mut_slice()).map_err(|_| {
        Error::Sealed(format!("{from}: expected 64 hex digits (openssl rand -hex 32)"))
    })?;
    Ok(key)
}

fn read_key_file(file: &str) -> Result<Zeroizing<String>> {
    std::fs::read_to_string(file).map(Zeroizing::new).map_err(|e| {
        Error::Sealed(format!(
            "store.key_file {file}: {e}; create it with `cachewarden setup --new-key {file}`, or \
             restore it from where it is kept"
        ))
    })
}

async fn run_key_command(command: &[String]) -> Result<Zeroizing<String>> {
    let said = |text: String| Error::Sealed(format!("store.key_command: {text}"));
    let (program, args) = command.split_first().ok_or_else(|| said("is empty".into()))?;
    let run = tokio::process::Command::new(program)
        .args(args)
        .stdin(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .kill_on_drop(true)
        .output();
    let out = tokio::time::timeout(KEY_COMMAND_DEADLINE, run)
        .await
        .map_err(|_| said(format!("{program} did not end within 10 s")))?
        .map_err(|e| said(format!("{program}: {e}")))?;
    if !out.status.success() {
        return Err(said(format!("{program} ended with {}", out.status)));
    }
    String::from_utf8(out.stdout)
        .map(Zeroizing::new)
        .map_err(|_| said(format!("{program} printed something that is not text")))
}

#[cfg(test)]
#[path = "secret/tests.rs"]
mod tests;

//! Senders of alerts that sign what they send instead of showing a token.
//!
//! `Authorization: CW-HMAC-SHA256 id=ID,ts=MS,nonce=N,sig=HEX`: ID is the public part of an intake
//! token, MS the time in milliseconds, N up to 64 characters that come once, HEX the HMAC-SHA256 of
//! `MS\nN\nBODY` under the lower-case hex SHA-256 of the whole token (which is all we keep of it).
//!
//! Invariant: only the intake takes it, and nothing is done for the sender before the signature was
//! held against the body, within five minutes of its time, once.

use std::net::IpAddr;

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use hmac::{Hmac, Mac};
use model::At;
use model::caller::Caller;
use model::code::Problem;
use sha2::Sha256;
use store::TokenKind;

use super::{not_signed_in, of_row, row_of};
use crate::api::ask::{Ask, Fail};
use crate::app::App;

const SCHEME: &str = "CW-HMAC-SHA256";
/// A signature is good that long before and after its time: clocks differ, replays wait.
const WINDOW_MS: i64 = 300_000;
/// Longest nonce.
const NONCE_MAX: usize = 64;

/// What the header says.
#[derive(Debug, PartialEq)]
pub struct Signed {
    id: String,
    at: At,
    nonce: String,
    signature: Vec<u8>,
}

/// The header of a signed message; none when it is something else.
pub fn given(headers: &HeaderMap) -> Option<Result<Signed, Problem>> {
    let text = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (how, rest) = text.split_once(' ')?;
    let wrong = || not_signed_in("the signature cannot be read: id, ts, nonce and sig are needed");
    match how.eq_ignore_ascii_case(SCHEME) {
        true => Some(read(rest).ok_or_else(wrong)),
        false => None,
    }
}

fn read(text: &str) -> Option<Signed> {
    let field = |name: &str| {
        let mut pairs = text.split(',').filter_map(|p| p.trim().split_once('='));
        pairs.find(|(n, _)| *n == name).map(|(_, value)| value)
    };
    let (id, nonce) = (field("id")?.to_string(), field("nonce")?.to_string());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !(1..=NONCE_MAX).contains(&nonce.len()) || !nonce.chars().all(plain) {
        return None;
    }
    let at = At::from_ms(field("ts")?.parse().ok()?);
    Some(Signed { id, at, nonce, signature: hex::decode(field("sig")?).ok()? })
}

/// Who says to have signed. Nothing is proven before `prove`.
pub async fn caller(
    app: &App,
    headers: &HeaderMap,
    peer: IpAddr,
    signed: &Signed,
) -> Result<Caller, Problem> {
    let now = app.now();
    let row = row_of(app, &signed.id, now).await?;
    if row.kind != TokenKind::Intake {
        return Err(not_signed_in("only a token of kind intake can sign"));
    }
    Ok(of_row(app, headers, peer, row))
}

/// Holds a signed message against its signature; one that is not signed is fine.
pub async fn prove(app: &App, ask: &Ask) -> Result<(), Fail> {
    let Some(signed) = given(&ask.headers).transpose()? else { return Ok(()) };
    let row = row_of(app, &signed.id, ask.now).await?;
    if !matches(&signed, &row.hash, &ask.body) {
        return Err(not_signed_in("the signature is not that of this message").into());
    }
    if ask.now.since_ms(signed.at).abs() > WINDOW_MS {
        let detail = format!("signed at {}, more than 5 minutes away from now", signed.at);
        return Err(not_signed_in(&detail).into());
    }
    match app.store.nonce_take(&signed.id, &signed.nonce, ask.now).await? {
        true => Ok(()),
        false => Err(not_signed_in("this signature was used before").into()),
    }
}

fn matches(signed: &Signed, key: &str, body: &[u8]) -> bool {
    let mac = Hmac::<Sha256>::new_from_slice(key.as_bytes());
    let Ok(mut mac) = mac else { return false };
    mac.update(format!("{}\n{}\n", signed.at.ms(), signed.nonce).as_bytes());
    mac.update(body);
    mac.verify_slice(&signed.signature).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_one_key_one_time_one_nonce_and_one_body() {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"key").unwrap();
        mac.update(b"1000\nn1\nbody");
        let sig = hex::encode(mac.finalize().into_bytes());
        let read_it = |ts: &str, nonce: &str| {
            read(&format!("id=abc, ts={ts},nonce={nonce},sig={sig}")).unwrap()
        };
        let good = read_it("1000", "n1");
        assert!(matches(&good, "key", b"body"));
        assert!(!matches(&good, "other", b"body") && !matches(&good, "key", b"bodY"));
        assert!(!matches(&read_it("1001", "n1"), "key", b"body"));
        assert!(!matches(&read_it("1000", "n2"), "key", b"body"));
        for bad in ["", "id=a", "id=a,ts=x,nonce=n,sig=00", "id=a,ts=1,nonce=,sig=00"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}

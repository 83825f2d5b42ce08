//! `adopt`: from something a person knows to watched services.
//!
//! Invariant: files and URLs are read here, on the machine of the person; the server gets addresses and
//! text. Nothing is adopted but what was shown before, unless the person said `--yes`; and then too it
//! is refused when the fleet changed between the two looks.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use model::adopt::{AdoptedService, Adoption};
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::args::{Adopt, AdoptTls, Output};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::one;
use crate::table::{Column, plain, print as table};
use crate::{secret, sign_in};

/// Longest document: what the server takes.
const DOCUMENT_MAX: usize = 8 << 20;
/// A discovery endpoint that needs longer is broken.
const FETCH_TIME: Duration = Duration::from_secs(10);

const NODES: &[Column] = &[
    ("  ADDRESS", "address"),
    ("ROLE", "role"),
    ("ENGINE", "engine"),
    ("VERSION", "version"),
    ("ZONE", "zone"),
    ("STATE", "state"),
    ("FOUND BY", "found_by"),
];
const REFUSED: &[Column] =
    &[("ADDRESS", "address"), ("REASON", "reason"), ("FOUND BY", "found_by"), ("DETAIL", "detail")];

/// Looks, shows, asks and adopts.
pub async fn adopt(client: &Client, wish: &Adopt, output: Output) -> Result<(), Fail> {
    let mut body = body(wish).await?;
    let looked = send(client, &body, true).await?;
    if wish.dry_run {
        return show(&looked, output);
    }
    let found: Adoption = parse(&looked)?;
    let some = found.services.iter().any(|s| matches!(s.state.as_str(), "new" | "grows"));
    if !some {
        show(&looked, output)?;
        return match found.services.iter().any(|s| s.state == "known") && found.refused.is_empty() {
            true => Ok(()),
            false => Err(Fail::Refused("nothing was adopted".into())),
        };
    }
    if !wish.yes {
        show(&looked, Output::Table)?;
        if !std::io::stdin().is_terminal() {
            return Err(Fail::Usage("nobody can be asked here: say --yes or --dry-run".into()));
        }
        if sign_in::ask("adopt? [y/N] ", false)?.trim() != "y" {
            return Err(Fail::Refused("nothing was adopted".into()));
        }
    }
    body.insert("hash".into(), found.hash.into());
    let done = send(client, &body, false).await?;
    show(&done, output)
}

async fn send(client: &Client, body: &Map<String, Value>, dry_run: bool) -> Result<Value, Fail> {
    let mut request = client.request(Method::POST, "/services/adopt").json(body);
    if dry_run {
        request = request.query(&[("dry_run", "1")]);
    }
    Ok(client.send(request).await?.value)
}

fn parse(answer: &Value) -> Result<Adoption, Fail> {
    serde_json::from_value(answer.clone()).map_err(|e| Fail::Other(anyhow::Error::new(e)))
}

async fn body(wish: &Adopt) -> Result<Map<String, Value>, Fail> {
    let mut body = Map::new();
    let mut seeds = Vec::new();
    let mut documents = Vec::new();
    for seed in &wish.seeds {
        if seed.starts_with("http://") || seed.starts_with("https://") {
            documents.push(fetch(seed).await?);
        } else if Path::new(seed).is_file() {
            documents.push(read(Path::new(seed))?);
        } else {
            seeds.push(seed.clone());
        }
    }
    if documents.len() > 1 {
        return Err(Fail::Usage("one file or URL at a time; addresses as many as you like".into()));
    }
    body.insert("seeds".into(), json!(seeds));
    let document = documents.pop().unwrap_or_default();
    for (name, value) in [
        ("document", &document),
        ("tenant", &wish.tenant),
        ("system", &wish.system),
        ("service", &wish.service),
        ("tier", &wish.tier),
    ] {
        body.insert(name.into(), value.clone().into());
    }
    body.insert("managed".into(), wish.managed.into());
    body.insert("networks".into(), json!(wish.networks));
    let mut zones = Map::new();
    for zone in &wish.zones {
        match zone.split_once('=') {
            Some((network, zone)) => drop(zones.insert(network.into(), zone.into())),
            None => drop(body.insert("zone".into(), zone.clone().into())),
        }
    }
    body.insert("zones".into(), zones.into());
    credentials(wish, &mut body)?;
    Ok(body)
}

fn credentials(wish: &Adopt, body: &mut Map<String, Value>) -> Result<(), Fail> {
    let mut hash = String::new();
    for (key, user, file) in [
        ("auth", &wish.user, &wish.password_file),
        ("sentinel_auth", &wish.sentinel_user, &wish.sentinel_password_file),
    ] {
        match file {
            Some(file) => {
                let password = sign_in::password(Some(file))?;
                if key == "auth" {
                    hash = server::acl_hash(&password);
                }
                body.insert(key.into(), json!({ "user": user, "password": password }));
            }
            None if user.is_empty() => {}
            None => return Err(Fail::Usage(format!("user {user} needs a password file"))),
        }
    }
    if let Some(tls) = tls(&wish.tls) {
        body.insert("tls".into(), tls);
    }
    if let Some(user) = &wish.acl {
        // The password of another user is not that of the monitor user.
        let hash = if *user == wish.user { hash } else { String::new() };
        body.insert("acl".into(), json!({ "user": user, "password_sha256": hash }));
    }
    Ok(())
}

fn tls(wish: &AdoptTls) -> Option<Value> {
    let mut tls = Map::new();
    for (key, value) in [
        ("ca_file", &wish.ca),
        ("cert_file", &wish.cert),
        ("key_file", &wish.key),
        ("server_name", &wish.server_name),
    ] {
        if let Some(value) = value {
            tls.insert(key.into(), value.clone().into());
        }
    }
    for (key, on) in [("insecure", wish.insecure), ("plain_sentinels", wish.plain_sentinels)] {
        if on {
            tls.insert(key.into(), true.into());
        }
    }
    (wish.tls || !tls.is_empty()).then(|| tls.into())
}

fn read(path: &Path) -> Result<String, Fail> {
    let said = |e: &dyn std::fmt::Display| Fail::Usage(format!("{}: {e}", path.display()));
    let size = std::fs::metadata(path).map_err(|e| said(&e))?.len();
    if size > DOCUMENT_MAX as u64 {
        return Err(said(&format!("{size} bytes, at most {DOCUMENT_MAX}")));
    }
    std::fs::read_to_string(path).map_err(|e| said(&e))
}

/// A service discovery document. Follows no redirect: the address was meant as it was written.
async fn fetch(url: &str) -> Result<String, Fail> {
    let said = |e: String| Fail::Unreachable(format!("{}: {e}", plain(url)));
    let http = reqwest::Client::builder()
        .timeout(FETCH_TIME)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| Fail::Other(e.into()))?;
    let mut answer = http.get(url).send().await.map_err(|e| said(e.without_url().to_string()))?;
    if !answer.status().is_success() {
        return Err(said(format!("answered {}", answer.status())));
    }
    let mut text = Vec::new();
    while let Some(part) = answer.chunk().await.map_err(|e| said(e.without_url().to_string()))? {
        text.extend_from_slice(&part);
        if text.len() > DOCUMENT_MAX {
            return Err(said(format!("more than {DOCUMENT_MAX} bytes")));
        }
    }
    String::from_utf8(text).map_err(|_| said("the answer is no text".into()))
}

fn show(answer: &Value, output: Output) -> Result<(), Fail> {
    if output != Output::Table {
        one(answer, output);
        return Ok(());
    }
    let adoption = parse(answer)?;
    for (service, raw) in
        adoption.services.iter().zip(answer["services"].as_array().into_iter().flatten())
    {
        show_service(service, raw);
    }
    if !adoption.refused.is_empty() {
        println!("not taken:");
        table(REFUSED, answer["refused"].as_array().map(Vec::as_slice).unwrap_or_default());
    }
    if adoption.unasked > 0 {
        println!("{} addresses were not asked for want of time; adopt again", adoption.unasked);
    }
    let count = |state: &str| adoption.services.iter().filter(|s| s.state == state).count();
    let (new, grows) = (count("new"), count("grows"));
    let verb = if adoption.dry_run { "would adopt" } else { "adopted" };
    let (known, conflict) = (count("known"), count("conflict"));
    println!("{verb} {new} services, {grows} get new nodes, {known} known, {conflict} in conflict");
    Ok(())
}

fn show_service(service: &AdoptedService, raw: &Value) {
    let mode = service.mode.as_str();
    let (id, state) = (plain(&service.id), &service.state);
    println!("{id}  {mode}  {state}  (system {}, name from {})", service.system, service.named_by);
    table(NODES, raw["nodes"].as_array().map(Vec::as_slice).unwrap_or_default());
    for note in &service.notes {
        println!("  note: {}", plain(note));
    }
    if !service.acl.is_empty() {
        println!();
        secret::print(raw["acl"].as_array().map(Vec::as_slice).unwrap_or_default());
    }
    println!();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_said_of_tls_is_plain_and_anything_said_is_not() {
        let none = AdoptTls {
            tls: false,
            ca: None,
            cert: None,
            key: None,
            server_name: None,
            insecure: false,
            plain_sentinels: false,
        };
        assert_eq!(tls(&none), None);
        assert_eq!(tls(&AdoptTls { tls: true, ..none }), Some(json!({})));
        let ca = AdoptTls {
            ca: Some("shared/ca.pem".into()),
            tls: false,
            cert: None,
            key: None,
            server_name: None,
            insecure: false,
            plain_sentinels: false,
        };
        assert_eq!(tls(&ca), Some(json!({ "ca_file": "shared/ca.pem" })));
    }
}

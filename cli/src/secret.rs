//! `secret` and `acl`: who we are at a service.
//!
//! Invariant: a password is read from a file or the terminal, sent once and never printed; for an ACL
//! it is hashed here and not sent at all.

use reqwest::Method;
use serde_json::{Value, json};

use crate::args::{Acl, Output, SecretCommand};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{one, segment};
use crate::sign_in;
use crate::table::{Column, print as table, text};

/// `secret`.
pub async fn secret(client: &Client, command: SecretCommand) -> Result<(), Fail> {
    let path = |service: &str, kind: &str| format!("/services/{}/secrets/{kind}", segment(service));
    match command {
        SecretCommand::Set { service, kind, user, password_file } => {
            let mut body = json!({ "password": sign_in::password(password_file.as_deref())? });
            if let Some(user) = user {
                body["user"] = user.into();
            }
            let request = client.request(Method::PUT, &path(&service, &kind)).json(&body);
            client.send(request).await?;
            println!("{service}: the {kind} password is set; the next poll uses it");
        }
        SecretCommand::Remove { service, kind } => {
            client.send(client.request(Method::DELETE, &path(&service, &kind))).await?;
            println!("{service}: the {kind} password is forgotten");
        }
    }
    Ok(())
}

const PROOFS: &[Column] = &[
    ("INSTANCE", "instance"),
    ("STATE", "state"),
    ("TRIED", "tried"),
    ("LACKING", "lacking"),
    ("SURPLUS", "surplus"),
    ("DETAIL", "detail"),
];

/// `acl`.
pub async fn acl(client: &Client, wish: &Acl, output: Output) -> Result<(), Fail> {
    if wish.prove {
        return prove(client, wish, output).await;
    }
    let mut query = vec![("user", wish.user.clone())];
    if let Some(file) = &wish.password_file {
        query.push(("password_sha256", server::acl_hash(&sign_in::password(Some(file))?)));
    }
    let path = format!("/services/{}/acl", segment(&wish.service));
    let answer = client.send(client.request(Method::GET, &path).query(&query)).await?.value;
    match output {
        Output::Table => print(answer["items"].as_array().map(Vec::as_slice).unwrap_or_default()),
        other => one(&answer, other),
    }
    Ok(())
}

/// Shows what every process says; not proved is a refusal, for scripts.
async fn prove(client: &Client, wish: &Acl, output: Output) -> Result<(), Fail> {
    let mut body = json!({ "user": wish.user });
    if let Some(file) = &wish.admin_password_file {
        let password = sign_in::password(Some(file))?;
        let auth = json!({ "user": wish.admin_user, "password": password });
        (body["auth"], body["sentinel_auth"]) = (auth.clone(), auth);
    } else if !wish.admin_user.is_empty() {
        return Err(Fail::Usage(format!("user {} needs a password file", wish.admin_user)));
    }
    let path = format!("/services/{}/acl/proof", segment(&wish.service));
    let answer = client.send(client.request(Method::POST, &path).json(&body)).await?.value;
    let items = answer["items"].as_array().cloned().unwrap_or_default();
    match output {
        Output::Table => table(PROOFS, &items),
        other => one(&answer, other),
    }
    match items.iter().all(|item| item["state"] == "proved") {
        true => Ok(()),
        false => Err(Fail::Refused("not proved everywhere".into())),
    }
}

/// Rules for people: ready to be pasted.
pub fn print(items: &[Value]) {
    for item in items {
        let kind = if item["kind"] == "sentinel" { "Sentinels" } else { "data nodes" };
        println!("# {kind}, {}", text(&item["engine"]));
        for note in item["notes"].as_array().into_iter().flatten() {
            println!("# {}", text(note));
        }
        println!("{}", text(&item["setuser"]));
        println!("# in users.acl, redis.conf or sentinel.conf:");
        println!("{}\n", text(&item["file"]));
    }
}

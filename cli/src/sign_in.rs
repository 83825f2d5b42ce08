//! `setup`, `login`, `logout`.
//!
//! Invariant: a password is read from the terminal without echo, a file or a pipe, never from the
//! command line; what is kept is a token that ends by itself, never the password.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use reqwest::Method;
use reqwest::header::{ORIGIN, SET_COOKIE};
use serde_json::{Value, json};

use crate::args::SignIn;
use crate::client::Client;
use crate::fail::Fail;
use crate::settings::{self, Kept};

/// Creates the first account and keeps a token of it.
pub async fn setup(client: &mut Client, how: &SignIn) -> Result<(), Fail> {
    let token = match &how.setup_token {
        Some(token) => token.clone(),
        None => ask("setup token: ", true)?,
    };
    enter(client, how, Some(token)).await
}

/// Signs in and keeps a token.
pub async fn login(client: &mut Client, how: &SignIn) -> Result<(), Fail> {
    enter(client, how, None).await
}

async fn enter(client: &mut Client, how: &SignIn, setup: Option<String>) -> Result<(), Fail> {
    let name = match &how.name {
        Some(name) => name.clone(),
        None => ask("name: ", false)?,
    };
    let password = password(how.password_file.as_deref())?;
    let mut body = json!({ "name": name, "password": password });
    if let Some(token) = setup {
        body["setup_token"] = token.into();
    }
    let request = client.bare(Method::POST, "/session").json(&body);
    let answer = client.send(request).await?;
    let cookie = answer.headers.get(SET_COOKIE).and_then(|v| v.to_str().ok());
    let cookie = cookie.and_then(|c| c.split(';').next()).unwrap_or_default().to_string();
    let csrf = text(&answer.value, "csrf");
    let with = |method: Method, path: &str| {
        let request = client.bare(method, path).header("cookie", &cookie);
        request.header("x-csrf-token", &csrf).header(ORIGIN, &client.settings.url)
    };
    let body = json!({ "kind": "api", "name": format!("cli on {}", host()), "days": how.days });
    let made = client.send(with(Method::POST, "/me/tokens").json(&body)).await;
    // The session was only the way to the token.
    let _ = client.send(with(Method::DELETE, "/session")).await;
    let made = made?.value;
    let url = client.settings.url.clone();
    let kept = Kept { url: Some(url.clone()), token: made["token"].as_str().map(str::to_string) };
    let path = settings::path().ok_or_else(no_home)?;
    settings::save(&path, &kept)?;
    client.settings.token = kept.token;
    println!("signed in to {url} as {}", text(&answer.value, "name"));
    println!("the token in {} ends {}", path.display(), text(&made, "expires_at"));
    Ok(())
}

/// Revokes the kept token and forgets it.
pub async fn logout(client: &Client) -> Result<(), Fail> {
    let path = settings::path().ok_or_else(no_home)?;
    if client.settings.token.is_none() {
        println!("nobody is signed in");
        return Ok(());
    }
    let ended = client.send(client.request(Method::DELETE, "/session")).await;
    match ended {
        Err(Fail::Problem(p)) if p.status == 401 => {}
        other => drop(other?),
    }
    settings::save(&path, &Kept { url: Some(client.settings.url.clone()), token: None })?;
    println!("signed out of {}", client.settings.url);
    Ok(())
}

fn no_home() -> Fail {
    Fail::Usage("neither HOME nor XDG_CONFIG_HOME says where to keep the token".into())
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
}

fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "this machine".into() } else { name.to_string() }
}

/// A password: the first line of `file`, of standard input for `-`, or typed.
pub fn password(file: Option<&Path>) -> Result<String, Fail> {
    let first_line = |text: String| text.lines().next().unwrap_or_default().to_string();
    match file {
        None => ask("password: ", true),
        Some(path) if path.as_os_str() == "-" => ask("", false),
        Some(path) => std::fs::read_to_string(path)
            .map(first_line)
            .map_err(|e| Fail::Usage(format!("{}: {e}", path.display()))),
    }
}

/// Reads a line; on a terminal after `prompt`, and without echo when it is secret.
pub fn ask(prompt: &str, secret: bool) -> Result<String, Fail> {
    let terminal = std::io::stdin().is_terminal();
    if terminal {
        eprint!("{prompt}");
        std::io::stderr().flush()?;
    }
    if terminal && secret {
        return without_echo();
    }
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim_end_matches(['\r', '\n']).to_string())
}

/// Reads a line that is not shown. A shell does it, which puts the terminal right however it ends:
/// after Ctrl-C this process could not.
fn without_echo() -> Result<String, Fail> {
    const SCRIPT: &str = "trap 'stty echo' EXIT; trap 'exit 130' INT TERM; stty -echo; \
        IFS= read -r line; printf %s \"$line\"";
    let mut shell = Command::new("sh");
    shell.args(["-c", SCRIPT]).stdin(Stdio::inherit()).stderr(Stdio::inherit());
    let read = shell.output()?;
    eprintln!();
    if !read.status.success() {
        return Err(Fail::Usage("nothing was typed".into()));
    }
    Ok(String::from_utf8_lossy(&read.stdout).into_owned())
}

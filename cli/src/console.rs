//! `console`: commands that only read, asked of one instance.
//!
//! Invariant: the line goes to the server as it was typed; class, rights and record are decided there.

use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

use model::console::ConsolePage;
use reqwest::Method;
use serde_json::json;

use crate::args::Output;
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{one, segment};
use crate::sign_in;
use crate::table::{plain, text};

/// One command, or lines until the end of the input.
pub async fn console(
    client: &Client,
    id: &str,
    command: &[String],
    output: Output,
) -> Result<(), Fail> {
    if !command.is_empty() {
        let line: Vec<String> = command.iter().map(|w| quoted(w)).collect();
        return ask(client, id, &line.join(" "), output).await;
    }
    let terminal = std::io::stdin().is_terminal();
    loop {
        if terminal {
            eprint!("{id}> ");
            std::io::stderr().flush()?;
        }
        let mut line = String::new();
        if std::io::stdin().lock().read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim().is_empty() {
            continue;
        }
        match ask(client, id, line.trim(), output).await {
            // The next line may be a better one.
            Err(e @ Fail::Problem(_)) if terminal => e.print(),
            other => other?,
        }
    }
}

async fn ask(client: &Client, id: &str, line: &str, output: Output) -> Result<(), Fail> {
    let path = format!("/instances/{}/console", segment(id));
    let request = client.request(Method::POST, &path).json(&json!({ "command": line }));
    let value = client.send(request).await?.value;
    if output != Output::Table {
        one(&value, output);
        return Ok(());
    }
    let page: ConsolePage =
        serde_json::from_value(value).map_err(|e| Fail::Other(anyhow::Error::new(e)))?;
    let Some(answer) = page.answer else { return Ok(()) };
    answer.text.lines().for_each(|line| println!("{}", plain(line)));
    if answer.cut {
        eprintln!("(more was answered than is shown)");
    }
    Ok(())
}

/// The rules of the user the console logs in as.
pub async fn acl(client: &Client, id: &str, password_file: Option<&Path>) -> Result<(), Fail> {
    let path = format!("/instances/{}/console/acl", segment(id));
    let mut request = client.request(Method::GET, &path);
    if let Some(file) = password_file {
        let hash = server::acl_hash(&sign_in::password(Some(file))?);
        request = request.query(&[("password_sha256", hash)]);
    }
    let answer = client.send(request).await?.value;
    println!("{}", text(&answer["setuser"]));
    Ok(())
}

/// A word as the console reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\');
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    let escaped: String = word.bytes().map(|b| format!("\\x{b:02x}")).collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_shell_stays_one_word() {
        assert_eq!(quoted("GET"), "GET");
        assert_eq!(quoted("a b"), "\"\\x61\\x20\\x62\"");
        assert_eq!(quoted(""), "\"\"");
    }
}

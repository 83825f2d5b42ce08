//! `apply`: an inventory file with the passwords it names beside it.
//!
//! Invariant: the file is checked here first, so that a fault names line and column, and sent as it was
//! written, so that the server's faults name its lines; a password is read from its file, sent once,
//! and never printed.

use std::fs;
use std::path::Path;

use model::apply::Diff;
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::Value;
use serde_saphyr::Spanned;

use crate::args::{Apply, Output};
use crate::client::Client;
use crate::fail::Fail;
use crate::read::one;
use crate::table::text;

/// Applies the file.
pub async fn apply(client: &Client, how: &Apply, output: Output) -> Result<(), Fail> {
    let text = read(&how.file)?;
    let mut query: Vec<(&str, String)> = Vec::new();
    for (name, on) in [("dry_run", how.dry_run), ("prune", how.prune)] {
        if on {
            query.push((name, "1".into()));
        }
    }
    if let Some(n) = how.prune_count {
        query.push(("prune_count", n.to_string()));
    }
    let request = client.request(Method::POST, "/apply").query(&query);
    let request = request.header(CONTENT_TYPE, "application/yaml").body(text);
    let answer = client.send(request).await?.value;
    match output {
        Output::Table => print(&answer)?,
        other => one(&answer, other),
    }
    Ok(())
}

fn print(answer: &Value) -> Result<(), Fail> {
    let diff: Diff =
        serde_json::from_value(answer.clone()).map_err(|e| Fail::Other(anyhow::Error::new(e)))?;
    for change in &diff.changes {
        println!("{:<7} {:<9} {}", change.what, change.kind, change.id);
        let (Some(before), Some(after)) = (change.before.as_object(), change.after.as_object())
        else {
            continue;
        };
        for (name, new) in after.iter().filter(|(name, new)| before.get(*name) != Some(new)) {
            let old = before.get(name).map_or("-".into(), text);
            println!("        {name}: {old} -> {}", text(new));
        }
    }
    let (changed, same) = (diff.changes.len(), diff.unchanged);
    let mode = if diff.dry_run { "would change" } else { "changed" };
    println!("{mode} {changed}, unchanged {same}");
    Ok(())
}

/// The places of password files in an inventory; all else is checked by the server's own form.
#[derive(Deserialize)]
struct Places {
    #[serde(default)]
    tenants: Vec<Tenant>,
}

#[derive(Deserialize)]
struct Tenant {
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    auth: Option<Access>,
    sentinel: Option<Access>,
}

#[derive(Deserialize)]
struct Access {
    password_file: Option<Spanned<String>>,
}

const KEY: &str = "password_file";

/// The text of the file with passwords in the place of password files, line by line as it was.
fn read(path: &Path) -> Result<String, Fail> {
    let shown = path.display();
    let usage = |said: String| Fail::Usage(format!("{shown}: {said}"));
    let mut text = fs::read_to_string(path).map_err(|e| usage(e.to_string()))?;
    server::inventory_file::parse(&text).map_err(usage)?;
    // As the server reads it: no lines quoted around a fault, one of them may hold a password.
    let options = serde_saphyr::options! { with_snippet: false };
    let places: Places =
        serde_saphyr::from_str_with_options(&text, options).map_err(|e| usage(e.to_string()))?;
    let services = places.tenants.into_iter().flat_map(|t| t.services);
    let access = services.flat_map(|s| [s.auth, s.sentinel]).flatten();
    let mut files: Vec<(usize, Spanned<String>)> = Vec::new();
    for file in access.filter_map(|a| a.password_file) {
        let at = file.defined.span().byte_offset().and_then(|at| usize::try_from(at).ok());
        files.push((at.ok_or_else(|| unclear(&shown, &file))?, file));
    }
    // From the end, so that the places before stay right; an alias names the same place twice.
    files.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    files.dedup_by_key(|(at, _)| *at);
    let folder = path.parent().unwrap_or(Path::new("."));
    for (at, file) in files {
        let password = password(&folder.join(&file.value))?;
        text = replaced(&text, at, &file, &password).ok_or_else(|| unclear(&shown, &file))?;
    }
    // A replacement that went wrong is seen here and not by the server. The file's own words are
    // not in the message, and the password is not.
    server::inventory_file::parse(&text)
        .map_err(|_| usage(format!("write each {KEY} as a key and a plain name on one line")))?;
    Ok(text)
}

fn unclear(shown: &std::path::Display<'_>, file: &Spanned<String>) -> Fail {
    let line = file.defined.line();
    Fail::Usage(format!("{shown}: line {line}: write {KEY} as a key and a plain name on one line"))
}

fn password(path: &Path) -> Result<String, Fail> {
    let text = fs::read_to_string(path)
        .map_err(|e| Fail::Usage(format!("password_file {}: {e}", path.display())))?;
    Ok(text.trim_end_matches(['\r', '\n']).to_string())
}

/// `text` with `password: "…"` where the file is named at byte `at`; none when the key does not stand
/// right before it.
fn replaced(text: &str, at: usize, file: &Spanned<String>, password: &str) -> Option<String> {
    let (before, rest) = (text.get(..at)?, text.get(at..)?);
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let quote = quote.map_or(String::new(), String::from);
    let rest = rest.strip_prefix(&quote)?.strip_prefix(file.value.as_str())?;
    let rest = rest.strip_prefix(&quote)?;
    let key = before.rfind(KEY)?;
    let between = &before[key + KEY.len()..];
    if !between.chars().all(|c| matches!(c, ' ' | ':' | '"' | '\'')) {
        return None;
    }
    // A JSON string is a YAML one, on one line.
    let password = serde_json::to_string(password).ok()?;
    Some(format!("{}password{between}{password}{rest}", &before[..key]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "version: 1\ntenants:\n- id: pay\n  systems: [{id: shop}]\n  services:\n  - \
        id: cart\n    system: shop\n    auth: {user: u, password_file: cart.password}\n    \
        instances: [{address: 10.1.0.7:6379, zone: az-1}]\n";

    #[test]
    fn a_password_file_is_read_beside_the_inventory() {
        let dir = tempfile::tempdir().unwrap();
        let secret = "s3: \"c\\r#et' é";
        fs::write(dir.path().join("cart.password"), format!("{secret}\n")).unwrap();
        let path = dir.path().join("inventory.yaml");
        for name in ["cart.password", "'cart.password'", "\"cart.password\""] {
            let file = FILE.replace("cart.password", name).replace("shop", "no");
            fs::write(&path, format!("# é\n{file}")).unwrap();
            let text = read(&path).unwrap();
            assert_eq!(text.lines().count(), file.lines().count() + 1);
            let doc = server::inventory_file::parse(&text).ok().unwrap();
            let service = &doc.tenants[0].services[0];
            let auth = service.auth.as_ref().unwrap();
            assert_eq!((auth.user.as_str(), service.system.as_str()), ("u", "no"));
            assert_eq!(auth.password.as_ref().unwrap().reveal(), secret);
            assert!(auth.password_file.is_none() && service.sentinel.is_none());
        }
        let plain = FILE.replace(", password_file: cart.password", "");
        fs::write(&path, &plain).unwrap();
        assert_eq!(read(&path).unwrap(), plain);
    }

    #[test]
    fn a_fault_quotes_no_line_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.yaml");
        for file in [
            FILE.replace("password_file: cart.password", "password: hunter2, usr: x"),
            FILE.replace("password_file: cart.password}", "password: hunter2"),
        ] {
            fs::write(&path, file).unwrap();
            let Err(Fail::Usage(said)) = read(&path) else { panic!("a fault passed") };
            assert!(said.contains("line") && !said.contains("hunter2"), "{said}");
        }
    }

    #[test]
    fn a_fault_names_file_and_line() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("inventory.yaml");
        fs::write(&path, "version: 1\ntenents: []\n").unwrap();
        let Err(Fail::Usage(said)) = read(&path) else { panic!("an unknown key passed") };
        assert!(said.contains("inventory.yaml") && said.contains("tenents"), "{said}");
        assert!(said.contains("line 2"), "{said}");
    }
}

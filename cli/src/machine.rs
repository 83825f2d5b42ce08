//! Commands on this machine: they read the configuration file and need no server.
//!
//! Invariant: `check` changes nothing; `migrate` is the only one that changes a PostgreSQL schema.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use server::Config;

use crate::fail::Fail;

/// Runs the server.
pub async fn serve(file: &Path) -> Result<(), Fail> {
    let config = load(file)?;
    Ok(server::serve(config).await?)
}

/// Says what is wrong with a configuration file, or worth a look.
pub fn check(file: &Path) -> Result<(), Fail> {
    let notes = server::check(file).map_err(|e| Fail::Usage(e.to_string()))?;
    for note in notes {
        println!("note: {note}");
    }
    println!("{}: ok", file.display());
    Ok(())
}

/// Brings the schema up to date.
pub async fn migrate(file: &Path) -> Result<(), Fail> {
    let config = load(file)?;
    let engine = server::migrate(&config).await?;
    println!("the {engine} store is up to date");
    Ok(())
}

/// Writes a new wrapping key, readable by its owner only. A file that is there stays: it may be the
/// key of a store.
pub fn new_key(file: &Path) -> Result<(), Fail> {
    let mut key = [0_u8; 32];
    getrandom::fill(&mut key).map_err(|e| anyhow::anyhow!("no randomness: {e}"))?;
    let text: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut options = std::fs::File::options();
    let at = |e: std::io::Error| anyhow::anyhow!("{}: {e}", file.display());
    let mut new = options.write(true).create_new(true).mode(0o600).open(file).map_err(at)?;
    new.write_all(format!("{text}\n").as_bytes()).and_then(|()| new.sync_all()).map_err(at)?;
    println!("{}: a new key; keep a copy elsewhere", file.display());
    Ok(())
}

/// Runs the demonstration; fails when its verdict does.
pub async fn demo(check: bool, engines: PathBuf) -> Result<(), Fail> {
    match server::demo::run(server::demo::Options { check, engines }).await? {
        true => Ok(()),
        false => Err(anyhow::anyhow!("not everything was observed, see the lines above").into()),
    }
}

/// Prints the version.
pub fn version(as_json: bool) -> Result<(), Fail> {
    if !as_json {
        println!("cachewarden {}", server::VERSION);
        return Ok(());
    }
    let value = json!({
        "name": "cachewarden",
        "version": server::VERSION,
        "ui": "plain",
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
    });
    println!("{value:#}");
    Ok(())
}

fn load(file: &Path) -> Result<Config, Fail> {
    Config::load(file).map_err(|e| Fail::Usage(e.to_string()))
}

//! `cachewarden migrate`: brings the store's schema up to date without starting anything.
//!
//! Invariant: the only place where a PostgreSQL schema is changed; a running process never does it.

use anyhow::Context as _;
use store::{Migrate, Store};

use crate::config::Config;

/// Migrates the store of `config`; answers the engine's name.
pub async fn migrate(config: &Config) -> anyhow::Result<&'static str> {
    let store = Store::open(&config.store, Migrate::Now).await.context("migrating the store")?;
    let engine = store.engine_name();
    store.close().await;
    Ok(engine)
}

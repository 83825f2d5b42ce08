//! The manual: one page for each alert, so that whoever is called at night can read on.
//!
//! Invariant: what is answered was built in; nothing of the request reaches a file system.

use std::sync::Arc;

use portal::{Page, manual};
use serde_json::json;

use super::ask::{Answer, Ask, Fail};
use super::{Api, list, problem};

/// `GET /docs`.
pub async fn list(_: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let pages = manual::RUNBOOKS.iter();
    let items: Vec<_> = pages
        .filter(|p| list::matches(ask.query("q"), &[p.name, p.title(), p.text]))
        .map(|p| json!({ "name": p.name, "title": p.title() }))
        .collect();
    let id = |item: &serde_json::Value| item["name"].as_str().unwrap_or_default().to_string();
    Ok(Answer::ok(list::page(&ask, items, id, ask.now)).page(Page::Docs))
}

/// `GET /docs/runbooks/{name}`.
pub async fn get(_: Arc<Api>, ask: Ask) -> Result<Answer, Fail> {
    let name = ask.id();
    let Some(page) = manual::RUNBOOKS.iter().find(|p| p.name == name) else {
        let names = manual::RUNBOOKS.iter().map(|p| p.name);
        return Err(problem::not_found_near("page of the manual", name, names).into());
    };
    let value = json!({ "name": page.name, "title": page.title(), "text": page.text });
    Ok(Answer::ok(value).page(Page::Doc))
}

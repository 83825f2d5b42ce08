//! The nightly report on the quality of alerts.
//!
//! Invariant: one report a day, whichever process makes it; a policy counts as silent only when the
//! history reaches back far enough to say so. Refuses to know pages.

use std::collections::BTreeSet;

use alerter::defaults;
use anyhow::Context as _;
use model::At;
use model::caller::Caller;
use model::quality::{QUALITY_DAYS, QualityLine, QualityReport, SILENT_DAYS};

use crate::app::App;

const DAY_MS: i64 = 86_400_000;

/// Makes the report of the day when it is due and nobody did. Days are UTC's.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    let day = day(now);
    if app.store.quality_has(&day).await.context("asking for the report")? {
        return Ok(());
    }
    let report = make(app, now).await?;
    let caller = caller(now);
    if app.store.quality_put(&caller, &day, &report, now).await.context("keeping the report")? {
        let wrong = report.items.iter().filter(|line| !line.verdicts.is_empty()).count();
        tracing::info!(day, policies = report.count, wrong, "the quality of alerts was looked at");
    }
    Ok(())
}

fn caller(now: At) -> Caller {
    Caller::system("quality", format!("quality-{}", now.ms()))
}

/// `2026-03-01`.
fn day(at: At) -> String {
    at.to_string().chars().take(10).collect()
}

/// The report as of now.
async fn make(app: &App, now: At) -> anyhow::Result<QualityReport> {
    let caller = caller(now);
    let mut items = app.store.quality_count(&caller, now).await.context("counting alerts")?;
    items.sort_by(|a, b| b.fired.cmp(&a.fired).then_with(|| a.policy.cmp(&b.policy)));
    let since = now - SILENT_DAYS * DAY_MS;
    // A young history knows of nothing that it was silent for months.
    if app.store.quality_since().await?.is_some_and(|first| first < since) {
        let fired: BTreeSet<String> = app.store.quality_fired(since).await?.into_iter().collect();
        let documents = app.store.policies(&caller).await?;
        let on = defaults::policies().iter().chain(&documents).filter(|d| d.enabled != Some(false));
        let all: BTreeSet<&str> = on.map(|d| d.policy.as_str()).collect();
        items.extend(all.into_iter().filter(|policy| !fired.contains(*policy)).map(silent));
    }
    let (count, from) = (items.len(), now - QUALITY_DAYS * DAY_MS);
    Ok(QualityReport { as_of: now, from, items, count, next: None })
}

fn silent(policy: &str) -> QualityLine {
    let mut line = QualityLine { policy: policy.into(), ..QualityLine::default() };
    line.verdicts = model::quality::verdicts(&line);
    line
}

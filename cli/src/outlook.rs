//! `explain capacity`, `explain slo` and `whatif zone-loss`: what is ahead, and what was.
//!
//! Invariant: an interval is printed as one; what is not known is said, never printed as 0.

use model::outlook::{CapacityPage, SloPage};
use model::zone_loss::ZoneLoss;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::args::Output;
use crate::client::Client;
use crate::fail::Fail;
use crate::read::{one, segment};
use crate::table::plain;

/// Answers when the limits of a service will be met.
pub async fn capacity(client: &Client, id: &str, output: Output) -> Result<(), Fail> {
    let value = client.get(&format!("/services/{}/capacity", segment(id))).await?;
    print(value, output, told_capacity)
}

/// Answers what the users of a service got.
pub async fn slo(client: &Client, id: &str, output: Output) -> Result<(), Fail> {
    let value = client.get(&format!("/services/{}/slo", segment(id))).await?;
    print(value, output, told_slo)
}

/// Answers what the loss of a zone would do.
pub async fn zone_loss(client: &Client, zone: &str, output: Output) -> Result<(), Fail> {
    let value = client.get(&format!("/zones/{}/loss", segment(zone))).await?;
    print(value, output, told_loss)
}

fn print<T: DeserializeOwned>(
    value: Value,
    output: Output,
    told: impl Fn(&T) -> String,
) -> Result<(), Fail> {
    if output != Output::Table {
        one(&value, output);
        return Ok(());
    }
    let page: T = serde_json::from_value(value).map_err(|e| Fail::Other(anyhow::Error::new(e)))?;
    print!("{}", told(&page));
    Ok(())
}

fn told_capacity(page: &CapacityPage) -> String {
    let mut out = format!(
        "service {}  {} whole days seen ({})\n",
        plain(&page.service),
        page.days,
        plain(&page.source)
    );
    if page.lines.is_empty() {
        out.push_str("  nothing with a limit was seen yet\n");
    }
    for line in &page.lines {
        out.push_str(&format!(
            "  shard {:<3} {:<12} {}\n",
            line.shard,
            plain(&line.resource),
            plain(&line.text)
        ));
        for step in &line.steps {
            let near = if step.near.is_empty() { "" } else { ", near " };
            out.push_str(&format!(
                "            jump of {:+.0} on {}{near}{}\n",
                step.by,
                step.at.to_string().get(..10).unwrap_or_default(),
                plain(&step.near)
            ));
        }
    }
    out
}

fn told_slo(page: &SloPage) -> String {
    let mut out = format!("service {}\n", plain(&page.service));
    let percent = |ratio: f64| format!("{:.4} %", ratio * 100.0);
    let between = |ends: [f64; 2]| match ends {
        [low, high] if low == high => percent(low),
        [low, high] => format!("{} to {}", percent(low), percent(high)),
    };
    match page.target {
        Some(target) => {
            let days = page.period_days;
            out.push_str(&format!("  target        {} over {days} days\n", percent(target)));
        }
        None => out.push_str("  target        none\n"),
    }
    let Some(availability) = page.availability else {
        out.push_str("  no second is counted yet: nothing was polled\n");
        return out;
    };
    out.push_str(&format!("  availability  {}\n", between(availability)));
    if let Some(adjusted) = page.adjusted {
        out.push_str(&format!("  adjusted      {} (without planned work)\n", between(adjusted)));
    }
    let s = &page.seconds;
    out.push_str(&format!(
        "  seconds       {:.1} good, {:.1} bad ({:.1} planned), {:.1} unknown\n",
        s.good, s.bad, s.bad_planned, s.unknown
    ));
    if let Some((left, all)) = page.budget_remaining.zip(page.budget_s) {
        out.push_str(&format!("  budget left   {} of {all:.0} s\n", between(left)));
    }
    for w in &page.windows {
        let burn = w.burn.map_or("no target".into(), |b| format!("{b:.2}"));
        out.push_str(&format!(
            "  {:>4}  burn {burn:<10} {:.1} s bad, {:.1} % unknown\n",
            plain(&w.window),
            w.bad_s,
            w.unknown_ratio * 100.0
        ));
    }
    for a in page.alerts.iter().filter(|a| a.holds) {
        out.push_str(&format!(
            "  {}: burns more than {} times too fast over {} and {}\n",
            plain(&a.kind),
            a.factor,
            plain(&a.long),
            plain(&a.short)
        ));
    }
    out
}

fn told_loss(loss: &ZoneLoss) -> String {
    let mut out = format!(
        "zone {}  {} instances: {} services down, {} degraded, {} unchanged\n",
        plain(&loss.zone),
        loss.instances,
        loss.down,
        loss.degraded,
        loss.ok
    );
    for s in &loss.services {
        let before = if s.was_down { " (down before)" } else { "" };
        out.push_str(&format!("  {:<9} {}{before}\n", s.outcome.as_str(), plain(&s.service)));
        for m in &s.moves {
            let lag =
                m.lag_bytes.map_or(String::new(), |b| format!(", {b:.0} bytes would be lost"));
            out.push_str(&format!("            {} → {}{lag}\n", plain(&m.from), plain(&m.to)));
        }
        for why in s.reasons.iter().chain(&s.breaks) {
            out.push_str(&format!("            {}\n", plain(why)));
        }
    }
    for h in loss.hosts.iter().filter(|h| h.over) {
        out.push_str(&format!("  host {} would be above 85 %\n", plain(&h.host)));
    }
    for l in loss.levels.iter().take(20) {
        let number = |s: Option<f64>| s.map_or("?".into(), |s| format!("{s:.2}"));
        out.push_str(&format!(
            "  {:<8} {:<30} {} → {}\n",
            l.level.as_str(),
            plain(&l.id),
            number(l.before),
            number(l.after)
        ));
    }
    out
}

//! Rule files of the policies that are Prometheus' to evaluate: written, checked, reloaded, and held
//! against what Prometheus says it runs; and how its copies differ from our own alerts.
//!
//! Invariant: a file is replaced whole or not at all; files Prometheus refuses are taken back and the
//! refusal is told. Refuses to know what a rule says.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use alerter::rules::{Emitted, RuleFile, emit};
use alerter::{RulesConfig, defaults};
use anyhow::{Context as _, bail};
use arc_swap::ArcSwap;
use model::At;
use model::alert::{Alert, Phase};
use model::audit::sha256_hex;
use model::inventory::Inventory;
use model::policy::{Engine, PolicyDoc, RuleFileItem};

use crate::app::App;

/// Longest wait for Prometheus to reload, or to say what it runs.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Longest run of promtool.
const CHECK_MAX: Duration = Duration::from_secs(20);
/// What our files are called: nothing else in the folder is touched.
const OURS: &str = "cw-";

/// What the policies in force say as rules, and how that stands with Prometheus.
#[derive(Default)]
pub(crate) struct RuleBook {
    emitted: ArcSwap<Emitted>,
    /// Policies that Prometheus shadows.
    both: ArcSwap<BTreeSet<String>>,
    state: Mutex<State>,
    /// Policy → alerts only we have, alerts only Prometheus has.
    differences: ArcSwap<BTreeMap<String, (usize, usize)>>,
}

#[derive(Default)]
struct State {
    /// Hash of what Prometheus runs; none: nothing was proved since the start.
    published: Option<String>,
    published_at: Option<At>,
    error: String,
}

impl RuleBook {
    /// Takes new policies or a new tree in. Called with every reload.
    pub fn take(&self, inventory: &Inventory, documents: &[PolicyDoc]) {
        let docs: Vec<PolicyDoc> = defaults::policies().iter().chain(documents).cloned().collect();
        let both = docs.iter().filter(|d| d.engine == Some(Engine::Both));
        self.both.store(Arc::new(both.map(|d| d.policy.clone()).collect()));
        self.emitted.store(Arc::new(emit(&docs, inventory)));
    }

    /// The files as they should be.
    pub fn emitted(&self) -> Arc<Emitted> {
        self.emitted.load_full()
    }

    /// A hash over all of them; empty: there are none.
    pub fn sha(&self) -> String {
        sha(&self.emitted.load().files)
    }

    /// The files with their state, for people.
    pub fn items(&self) -> Vec<RuleFileItem> {
        let emitted = self.emitted.load();
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let published = state.published.as_ref() == Some(&sha(&emitted.files));
        let item = |file: &RuleFile| RuleFileItem {
            name: file.name.clone(),
            policies: file.policies.clone(),
            sha: sha256_hex(file.text.as_bytes()),
            published_at: state.published_at.filter(|_| published),
            error: state.error.clone(),
        };
        emitted.files.iter().map(item).collect()
    }

    /// Hash of what Prometheus runs, as last proved; none: nothing was, since the start.
    pub fn published(&self) -> Option<String> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).published.clone()
    }

    /// How the shadows differ.
    pub fn differences(&self) -> Arc<BTreeMap<String, (usize, usize)>> {
        self.differences.load_full()
    }

    fn note(&self, outcome: Result<String, String>, now: At) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(sha) => {
                *state = State { published: Some(sha), published_at: Some(now), ..State::default() }
            }
            Err(why) => state.error = why,
        }
    }
}

fn sha(files: &[RuleFile]) -> String {
    if files.is_empty() {
        return String::new();
    }
    let all: Vec<&str> = files.iter().flat_map(|f| [f.name.as_str(), f.text.as_str()]).collect();
    sha256_hex(all.join("\n").as_bytes())
}

/// Publishes the files when they changed, and compares the shadows. A folder nobody configured is not
/// written; a remote Prometheus reads the files from the API.
pub(crate) async fn round(app: &App, now: At) -> anyhow::Result<()> {
    if let Some(config) = &app.config.alerter.rules {
        let (emitted, wanted) = (app.rules.emitted(), app.rules.sha());
        // Also nothing is published once: what an earlier process left would go on paging.
        if app.rules.published().as_ref() != Some(&wanted) {
            let outcome = publish(config, &emitted.files, &wanted).await;
            let told = outcome.map(|()| wanted).map_err(|e| format!("{e:#}"));
            if let Err(why) = &told {
                tracing::warn!(why, "the rule files are not in force; the old ones stay");
            }
            app.rules.note(told, now);
        }
    }
    compare(app, now).await
}

async fn publish(config: &RulesConfig, files: &[RuleFile], sha: &str) -> anyhow::Result<()> {
    let dir = Path::new(&config.dir);
    check(files).await?;
    let before = present(dir)?;
    write(dir, files)?;
    match reload(config, files).await {
        Ok(()) => {
            tracing::info!(sha, files = files.len(), "rule files are in force");
            Ok(())
        }
        Err(e) => {
            restore(dir, &before, files).context("taking the rule files back")?;
            Err(e)
        }
    }
}

/// `promtool check rules`, where there is one.
async fn check(files: &[RuleFile]) -> anyhow::Result<()> {
    if files.is_empty() {
        return Ok(());
    }
    let dir = std::env::temp_dir().join(format!("cachewarden-rules-{}", uuid::Uuid::now_v7()));
    std::fs::create_dir(&dir).context("a folder to check rules in")?;
    let paths: Vec<PathBuf> = files.iter().map(|f| dir.join(&f.name)).collect();
    let written: std::io::Result<()> =
        files.iter().zip(&paths).try_for_each(|(f, path)| std::fs::write(path, &f.text));
    let mut command = tokio::process::Command::new("promtool");
    command.args(["check", "rules"]).args(&paths).stdin(Stdio::null()).kill_on_drop(true);
    let ran = tokio::time::timeout(CHECK_MAX, command.output()).await;
    let _ = std::fs::remove_dir_all(&dir);
    written.context("writing rules to check them")?;
    match ran {
        Ok(Ok(out)) if !out.status.success() => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said: String = said.trim().chars().take(400).collect();
            bail!("promtool refuses the rules: {said}")
        }
        // Without promtool Prometheus itself is the judge.
        Ok(_) => Ok(()),
        Err(_) => bail!("promtool did not end within {} s", CHECK_MAX.as_secs()),
    }
}

/// Our files that lie there.
fn present(dir: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    let entries = std::fs::read_dir(dir);
    for entry in entries.with_context(|| format!("alerter.rules.dir {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.starts_with(OURS) && name.ends_with(".yml") {
            let text = std::fs::read_to_string(dir.join(&name)).unwrap_or_default();
            // Files of the same name that somebody else put there stay.
            if text.starts_with("# Written by cachewarden") {
                found.insert(name, text);
            }
        }
    }
    Ok(found)
}

fn write(dir: &Path, files: &[RuleFile]) -> anyhow::Result<()> {
    for file in files {
        let (path, fresh) = (dir.join(&file.name), dir.join(format!(".{}.new", file.name)));
        if path.exists() && !present(dir)?.contains_key(&file.name) {
            bail!("{} is there and not ours; move it away", path.display());
        }
        std::fs::write(&fresh, &file.text).with_context(|| fresh.display().to_string())?;
        std::fs::rename(&fresh, &path).with_context(|| path.display().to_string())?;
    }
    let wanted: BTreeSet<&str> = files.iter().map(|f| f.name.as_str()).collect();
    for name in present(dir)?.keys().filter(|name| !wanted.contains(name.as_str())) {
        std::fs::remove_file(dir.join(name)).with_context(|| name.clone())?;
    }
    Ok(())
}

fn restore(dir: &Path, before: &BTreeMap<String, String>, new: &[RuleFile]) -> anyhow::Result<()> {
    for file in new.iter().filter(|f| !before.contains_key(&f.name)) {
        std::fs::remove_file(dir.join(&file.name))?;
    }
    let old: Vec<RuleFile> = before
        .iter()
        .map(|(name, text)| RuleFile { name: name.clone(), text: text.clone(), policies: vec![] })
        .collect();
    write(dir, &old)
}

/// Makes Prometheus read them and proves that it runs every group.
async fn reload(config: &RulesConfig, files: &[RuleFile]) -> anyhow::Result<()> {
    let Some(url) = &config.reload_url else { return Ok(()) };
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
    let answer = http.post(url).send().await.map_err(|e| e.without_url());
    let answer = answer.context("Prometheus does not reload")?;
    if !answer.status().is_success() {
        let (status, said) = (answer.status(), answer.text().await.unwrap_or_default());
        let said: String = said.chars().take(300).collect();
        bail!("Prometheus refuses to reload: {status} {said}");
    }
    let Some(base) = url.strip_suffix("/-/reload") else { return Ok(()) };
    let answer = http.get(format!("{base}/api/v1/rules")).send().await.map_err(|e| e.without_url());
    let rules: serde_json::Value = answer.context("asking for the rules")?.json().await?;
    let groups = rules["data"]["groups"].as_array().cloned().unwrap_or_default();
    let runs = |policy: &String| groups.iter().any(|g| g["name"] == policy.as_str());
    match files.iter().flat_map(|f| &f.policies).find(|policy| !runs(policy)) {
        Some(missing) => {
            bail!("Prometheus does not run group {missing}: is the folder in rule_files?")
        }
        None => Ok(()),
    }
}

/// Holds the shadows of `engine: both` against our own alerts.
async fn compare(app: &App, now: At) -> anyhow::Result<()> {
    let both = app.rules.both.load_full();
    let Some(prometheus) = app.prometheus.as_ref().filter(|_| !both.is_empty()) else {
        app.rules.differences.store(Arc::default());
        return Ok(());
    };
    let query = "ALERTS{alertstate=\"firing\",shadow=\"true\"}";
    let theirs = prometheus.at(query, now).await.map_err(anyhow::Error::msg)?;
    let theirs = theirs.iter().map(|s| (s.label("policy").to_string(), key(&s.labels)));
    let fires = |a: &&Alert| {
        matches!(a.phase, Phase::Firing | Phase::Recovering) && both.contains(&a.policy)
    };
    let ours = app.alerter.snapshot();
    let ours = ours.iter().filter(fires).map(|a| (a.policy.clone(), key(&a.labels)));
    let found = differences(&both, ours.collect(), theirs.collect());
    for (policy, (here, there)) in found.iter().filter(|(_, (a, b))| a + b > 0) {
        tracing::debug!(policy, here, there, "the two engines differ");
    }
    app.rules.differences.store(Arc::new(found));
    Ok(())
}

type Keys = BTreeSet<(String, String)>;

fn differences(
    both: &BTreeSet<String>,
    ours: Keys,
    theirs: Keys,
) -> BTreeMap<String, (usize, usize)> {
    let mut all: BTreeMap<String, (usize, usize)> =
        both.iter().map(|policy| (policy.clone(), (0, 0))).collect();
    for (policy, _) in ours.difference(&theirs) {
        all.entry(policy.clone()).or_default().0 += 1;
    }
    for (policy, _) in theirs.difference(&ours) {
        all.entry(policy.clone()).or_default().1 += 1;
    }
    all
}

/// What names an alert in both engines: policy, level, and whose it is.
fn key(labels: &BTreeMap<String, String>) -> String {
    const WHOSE: [&str; 4] = ["level", "tenant", "service", "instance"];
    let own = labels.iter().filter(|(name, _)| WHOSE.contains(&name.as_str()));
    own.map(|(name, value)| format!("{name}={value:?}")).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> RuleFile {
        let text = format!("# Written by cachewarden\n{text}");
        RuleFile { name: name.into(), text, policies: vec!["p".into()] }
    }

    #[test]
    fn files_are_replaced_whole_and_only_ours_are_touched() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("own.yml"), "groups: []").unwrap();
        std::fs::write(dir.path().join("cw-foreign.yml"), "groups: []").unwrap();
        write(dir.path(), &[file("cw-memory.yml", "1"), file("cw-old.yml", "2")]).unwrap();
        let before = present(dir.path()).unwrap();
        assert_eq!(before.keys().collect::<Vec<_>>(), ["cw-memory.yml", "cw-old.yml"]);
        let new = [file("cw-memory.yml", "3"), file("cw-new.yml", "4")];
        write(dir.path(), &new).unwrap();
        let now = present(dir.path()).unwrap();
        assert_eq!(now.keys().collect::<Vec<_>>(), ["cw-memory.yml", "cw-new.yml"]);
        restore(dir.path(), &before, &new).unwrap();
        assert_eq!(present(dir.path()).unwrap(), before);
        assert!(dir.path().join("own.yml").exists() && dir.path().join("cw-foreign.yml").exists());
        let said = write(dir.path(), &[file("cw-foreign.yml", "5")]).unwrap_err().to_string();
        assert!(said.contains("not ours"), "{said}");
    }

    #[test]
    fn alerts_only_one_engine_has_are_counted_by_side() {
        let of = |names: &[&str]| -> Keys {
            names.iter().map(|n| ("p".to_string(), (*n).to_string())).collect()
        };
        let both = BTreeSet::from(["p".to_string(), "q".to_string()]);
        let found = differences(&both, of(&["a", "b", "c"]), of(&["b", "d"]));
        assert_eq!(found, BTreeMap::from([("p".into(), (2, 1)), ("q".into(), (0, 0))]));
    }
}

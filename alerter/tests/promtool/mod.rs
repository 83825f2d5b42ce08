//! Prometheus as the judge: series and questions go through `promtool test rules`, answers come back.
//!
//! Every question is asked as a test that expects nothing, so that promtool prints what it got.
#![allow(clippy::unwrap_used, reason = "clippy does not see that helpers here are tests too")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use model::policy::Span;

/// A series with its values, one per step; none: no sample.
pub struct Input {
    pub series: String,
    pub values: Vec<Option<f64>>,
}

/// Answers by (expression, seconds): labels and value of each series.
pub type Answers = BTreeMap<(String, i64), Vec<(String, f64)>>;

fn number(v: f64) -> String {
    match v {
        v if v.is_nan() => "NaN".into(),
        f64::INFINITY => "Inf".into(),
        f64::NEG_INFINITY => "-Inf".into(),
        v => format!("{v}"),
    }
}

/// Asks; `step_s` is the distance of the values and of evaluations, `rules` a rule file or empty.
pub fn ask(step_s: i64, rules: &str, inputs: &[Input], questions: &[(String, i64)]) -> Answers {
    let dir = std::env::temp_dir().join(format!("cw-promtool-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let name = format!("{:x}", rules.len() * 31 + questions.len() * 7 + inputs.len());
    let (file, rule_file) =
        (dir.join(format!("{name}.yml")), dir.join(format!("{name}-rules.yml")));
    std::fs::write(&rule_file, rules).unwrap();
    let listed = if rules.is_empty() { String::new() } else { format!("{rule_file:?}") };
    let mut yaml = format!(
        "rule_files: [{listed}]\nevaluation_interval: {step_s}s\ntests:\n  - interval: {step_s}s\n    \
         input_series:\n"
    );
    for input in inputs {
        let values: Vec<String> =
            input.values.iter().map(|v| v.map_or_else(|| "_".into(), number)).collect();
        let (series, values) = (&input.series, values.join(" "));
        write!(yaml, "      - series: '{series}'\n        values: '{values}'\n").unwrap();
    }
    yaml.push_str("    promql_expr_test:\n");
    for (expr, at_s) in questions {
        write!(yaml, "      - expr: '{expr}'\n        eval_time: {at_s}s\n").unwrap();
    }
    std::fs::write(&file, yaml).unwrap();
    let said = Command::new("promtool").args(["test", "rules"]).arg(&file).output().unwrap();
    let text = String::from_utf8(said.stderr).unwrap() + &String::from_utf8(said.stdout).unwrap();
    std::fs::remove_dir_all(&dir).ok();
    let answers = read(&text);
    assert!(!answers.is_empty(), "promtool answered nothing:\n{text}");
    answers
}

fn read(text: &str) -> Answers {
    let mut answers = Answers::new();
    let mut asked: Option<(String, i64)> = None;
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("expr: ") {
            let (expr, time) = rest.rsplit_once(", time: ").unwrap();
            let time =
                Span::try_from(time.trim_end_matches(", ").trim_end_matches(',').to_string());
            let expr: String = serde_json::from_str(expr).unwrap();
            asked = Some((expr, time.unwrap().ms / 1000));
        } else if let Some(got) = line.strip_prefix("got: ") {
            // Each sample is {labels} value; labels may hold commas.
            let samples = got.split_inclusive('}').collect::<Vec<_>>();
            let mut found = Vec::new();
            for pair in samples.windows(2) {
                let value = pair[1].trim_start().split([',', ' ']).next().unwrap();
                let labels = pair[0].split_once('{').map_or("", |(_, l)| l.trim_end_matches('}'));
                found.push((labels.to_string(), value.parse::<f64>().unwrap()));
            }
            answers.insert(asked.take().unwrap(), found);
        }
    }
    answers
}

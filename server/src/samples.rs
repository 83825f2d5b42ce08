//! Samples of the past out of Prometheus, as tracks of instances for a backtest.
//!
//! Invariant: an answer is bounded by the samples it was asked for; a sample that is not there stays
//! missing. Short spans are read raw, with the times of the scrapes; longer ones in steps.
//! Refuses to know policies.

use std::collections::BTreeMap;
use std::time::Duration;

use alerter::backtest::{Input, Line, Track};
use anyhow::{Context as _, bail};
use model::{At, InstanceId};
use serde::Deserialize;

/// Samples one question asks for: some 40 MB of answer.
const SAMPLES_MAX: i64 = 1_000_000;
/// Points of one series in one answer: Prometheus refuses more than 11 000.
const POINTS_MAX: i64 = 10_000;
/// Instances in one question: their names stand in it.
const NAMES_MAX: usize = 100;
/// A series of another scrape is as old as this at most; three scrapes.
const BEHIND_MS: i64 = 45_000;

/// What is asked for.
pub(crate) struct Wanted<'a> {
    /// The service.
    pub url: &'a str,
    /// Series.
    pub inputs: &'a [Input],
    /// Beginning.
    pub from: At,
    /// End.
    pub to: At,
    /// Between samples, ms; 0: as they were scraped.
    pub step_ms: i64,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    data: Option<Data<'a>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    result: Vec<Series<'a>>,
}

#[derive(Deserialize)]
struct Series<'a> {
    metric: BTreeMap<String, String>,
    #[serde(borrow, default)]
    values: Vec<(f64, &'a str)>,
}

/// One series: times in Unix ms, and values.
type Points = Vec<(i64, f64)>;

impl Wanted<'_> {
    /// How many instances one question takes.
    pub fn instances_at_once(&self) -> usize {
        let step = if self.step_ms > 0 { self.step_ms } else { 15_000 };
        let points = (self.to.since_ms(self.from) / step).clamp(1, POINTS_MAX);
        let fit = usize::try_from(SAMPLES_MAX / points).unwrap_or(1);
        fit.clamp(1, NAMES_MAX)
    }

    /// The tracks of these instances; one without samples has none.
    pub async fn tracks(
        &self,
        http: &reqwest::Client,
        ids: &[InstanceId],
        limit: Duration,
    ) -> anyhow::Result<Vec<Track>> {
        let end = tokio::time::Instant::now() + limit;
        let mut found: BTreeMap<InstanceId, Vec<(alerter::backtest::Fill, Points)>> =
            BTreeMap::new();
        for input in self.inputs {
            for (from, to) in self.spans() {
                let left = end.saturating_duration_since(tokio::time::Instant::now());
                let body = self.ask(http, input, ids, (from, to), left).await?;
                let answer: Answer<'_> =
                    serde_json::from_slice(&body).context("Prometheus answered something else")?;
                let Some(data) = answer.data else {
                    let said: String = answer.error.unwrap_or_default().chars().take(200).collect();
                    bail!("Prometheus refuses {}: {said}", input.name());
                };
                data.result.into_iter().for_each(|series| take(&mut found, input, series));
            }
        }
        let track = |(id, series)| self.track(id, series);
        Ok(found.into_iter().filter_map(track).collect())
    }

    /// The span in pieces one answer may hold.
    fn spans(&self) -> Vec<(At, At)> {
        if self.step_ms == 0 {
            return vec![(self.from, self.to)];
        }
        let piece = self.step_ms * POINTS_MAX;
        let mut all = Vec::new();
        let mut from = self.from;
        while from <= self.to {
            let to = (from + (piece - self.step_ms)).min(self.to);
            all.push((from, to));
            from = to + self.step_ms;
        }
        all
    }

    async fn ask(
        &self,
        http: &reqwest::Client,
        input: &Input,
        ids: &[InstanceId],
        (from, to): (At, At),
        limit: Duration,
    ) -> anyhow::Result<Vec<u8>> {
        let selector = selector(input, ids);
        let seconds = |at: At| format!("{:.3}", at.seconds());
        let (path, form) = match self.step_ms {
            0 => {
                let range = (to.since_ms(from) / 1000).max(1);
                let query = format!("{selector}[{range}s]");
                ("query", vec![("query", query), ("time", seconds(to))])
            }
            step => (
                "query_range",
                vec![
                    ("query", selector),
                    ("start", seconds(from)),
                    ("end", seconds(to)),
                    ("step", format!("{:.3}", step as f64 / 1000.0)),
                ],
            ),
        };
        let url = format!("{}/api/v1/{path}", self.url.trim_end_matches('/'));
        // As a form: the names of all instances are longer than an address may be.
        let encoded = reqwest::Url::parse_with_params(&url, form)?;
        let body = encoded.query().unwrap_or_default().to_string();
        let kind = "application/x-www-form-urlencoded";
        let request = http.post(url).timeout(limit).header("content-type", kind).body(body);
        // Without the address, which may hold a password.
        let response = request.send().await.map_err(|e| e.without_url());
        let body = response.context("Prometheus does not answer")?.bytes().await;
        Ok(body.map_err(|e| e.without_url()).context("Prometheus broke off")?.to_vec())
    }

    /// Brings the series of an instance to common times.
    fn track(
        &self,
        instance: InstanceId,
        mut series: Vec<(alerter::backtest::Fill, Points)>,
    ) -> Option<Track> {
        series.iter_mut().for_each(|(_, points)| points.sort_by_key(|(at, _)| *at));
        let times = self.times(&series);
        if times.is_empty() {
            return None;
        }
        let lines = series.into_iter().map(|(fill, points)| {
            let values =
                if self.step_ms > 0 { exact(&times, &points) } else { near(&times, &points) };
            Line { fill, values }
        });
        Some(Track { instance, lines: lines.collect(), times })
    }

    /// When it was sampled: when the polls were, and if nobody said, when anything was.
    fn times(&self, series: &[(alerter::backtest::Fill, Points)]) -> Vec<i64> {
        let up =
            |(fill, _): &&(alerter::backtest::Fill, Points)| *fill == alerter::backtest::Fill::Up;
        let polls: Vec<i64> =
            series.iter().filter(up).flat_map(|(_, p)| p).map(|(at, _)| *at).collect();
        let any = || series.iter().flat_map(|(_, p)| p).map(|(at, _)| *at).collect();
        let mut times: Vec<i64> = if polls.is_empty() { any() } else { polls };
        times.sort_unstable();
        times.dedup();
        times
    }
}

fn take(
    found: &mut BTreeMap<InstanceId, Vec<(alerter::backtest::Fill, Points)>>,
    input: &Input,
    series: Series<'_>,
) {
    let id = series.metric.get(input.id_label).and_then(|id| InstanceId::parse(id).ok());
    let (Some(id), Some(fill)) = (id, input.fill(&series.metric)) else { return };
    let points = series.values.iter().filter_map(|(t, value)| {
        let value = value.parse::<f64>().ok()?;
        Some(((t * 1000.0).round() as i64, value))
    });
    let all = found.entry(id).or_default();
    // One series in several pieces, or under labels that changed meanwhile, is one line; where a label
    // stands for parts that are summed, each part is its own.
    let summed = input.metric.starts_with("redis_db_keys");
    match all.iter_mut().find(|(known, _)| *known == fill).filter(|_| !summed) {
        Some((_, known)) => known.extend(points),
        None => all.push((fill, points.collect())),
    }
}

/// Values at exactly these times.
fn exact(times: &[i64], points: &[(i64, f64)]) -> Vec<f64> {
    let mut values = vec![f64::NAN; times.len()];
    for (at, value) in points {
        if let Ok(i) = times.binary_search(at) {
            values[i] = *value;
        }
    }
    values
}

/// Values at these times: of the same scrape, or the latest of another one. A series that comes with the
/// polls and is missing once was not read then.
fn near(times: &[i64], points: &[(i64, f64)]) -> Vec<f64> {
    let values = exact(times, points);
    if values.iter().any(|v| !v.is_nan()) {
        return values;
    }
    let latest = |at: &i64| {
        let end = points.partition_point(|(t, _)| t <= at);
        let last = points[..end].last().filter(|(t, _)| at - t <= BEHIND_MS);
        last.map_or(f64::NAN, |(_, value)| *value)
    };
    times.iter().map(latest).collect()
}

fn selector(input: &Input, ids: &[InstanceId]) -> String {
    // Ids hold dots and brackets of addresses; in a string of PromQL a backslash is written twice.
    let escaped = |id: &InstanceId| -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '@' | ':' | '-' | '_');
        let chars = id.as_str().chars();
        chars.map(|c| if plain(c) { c.to_string() } else { format!("\\\\{c}") }).collect()
    };
    let ids: Vec<String> = ids.iter().map(escaped).collect();
    let own = input.labels.iter().map(|(label, value)| format!("{label}={value:?},"));
    let own: String = own.collect();
    format!("{}{{{own}{}=~\"{}\"}}", input.metric, input.id_label, ids.join("|"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(inputs: &[Input], step_ms: i64, days: i64) -> Wanted<'_> {
        let to = At::from_ms(1_763_800_000_000);
        Wanted { url: "", inputs, from: to - days * 86_400_000, to, step_ms }
    }

    #[test]
    fn a_long_span_is_asked_for_in_pieces_that_meet() {
        let inputs = [Input::up()];
        let w = wanted(&inputs, 60_000, 30);
        let spans = w.spans();
        assert_eq!(spans.len(), 5);
        assert!(spans.windows(2).all(|p| p[0].1 + 60_000 == p[1].0));
        assert_eq!((spans[0].0, spans[4].1), (w.from, w.to));
        assert_eq!(w.instances_at_once(), 100);
        assert_eq!(wanted(&inputs, 0, 1).spans().len(), 1);
    }

    #[test]
    fn a_series_of_the_same_scrape_is_missing_when_it_is_and_one_of_another_is_the_latest() {
        let times = [15_000, 30_000, 45_000, 200_000];
        let same = near(&times, &[(15_000, 1.0), (45_000, 3.0)]);
        assert_eq!((same[0], same[2]), (1.0, 3.0));
        assert!(same[1].is_nan() && same[3].is_nan());
        let other = near(&times, &[(14_000, 1.0), (44_000, 2.0)]);
        assert_eq!(&other[..3], [1.0, 1.0, 2.0]);
        assert!(other[3].is_nan(), "too old");
    }

    #[test]
    fn an_id_is_one_alternative_of_the_query_and_nothing_more() {
        let ids = ["pay.cart@10.0.0.1:6379".parse().unwrap()];
        assert_eq!(
            selector(&Input::up(), &ids),
            r#"redis_up{instance=~"pay\\.cart@10\\.0\\.0\\.1:6379"}"#
        );
    }

    #[test]
    fn an_answer_becomes_tracks_of_common_times() {
        let body = br#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"instance":"pay.cart@10.0.0.1:6379"},"values":[[100,"1"],[160.5,"0"]]}]}}"#;
        let answer: Answer<'_> = serde_json::from_slice(body).unwrap();
        let mut found = BTreeMap::new();
        answer.data.unwrap().result.into_iter().for_each(|s| take(&mut found, &Input::up(), s));
        let (id, series) = found.pop_first().unwrap();
        let track = wanted(&[], 0, 1).track(id, series).unwrap();
        assert_eq!(
            (track.times, &track.lines[0].values[..]),
            (vec![100_000, 160_500], &[1.0, 0.0][..])
        );
    }
}

//! E3 and E12: the page of one target beside redis_exporter's: its price, its p99, and whether both
//! say the same of a server at rest.

use std::collections::BTreeMap;
use std::time::Instant;

use tests::process::Cachewarden;
use tests::wait;

use crate::figure::{Figure, quantile, ratio};
use crate::peer::{self, Release, Setup, Theirs};
use crate::{ROUNDS, Server, cpu, start, warm};

const CLIENTS: usize = 32;
/// Enough for a few seconds of CPU each; /proc counts in ticks of 10 ms.
const PAGES_OURS: usize = 32_000;
const PAGES_THEIRS: usize = 3_200;

/// Prints both figures, against each release.
pub async fn run() {
    let server = start(200);
    wait::until("redis-server listens", || async {
        std::net::TcpStream::connect((server.hosts[0].as_str(), server.port)).ok()
    })
    .await;
    warm(&server);
    let targets = server.targets();
    let services = peer::services(&targets, 1);
    let warden = peer::ours(services, targets.len(), Setup::default()).await;
    for release in peer::releases() {
        beside(&release, &server, &warden).await;
    }
}

async fn beside(release: &Release, server: &Server, warden: &Cachewarden) {
    let targets = server.targets();
    let theirs = Theirs::start(release);
    let http = reqwest::Client::builder().no_proxy().build().expect("client");
    theirs.answers(&http).await;
    let page = |i: usize| {
        let id = peer::id(&targets, 1, i % targets.len());
        format!("{}/scrape?target={id}", warden.url)
    };
    let their_page = |i: usize| theirs.url(&targets[i % targets.len()]);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        a.push(load(&http, warden.pid(), PAGES_OURS, &page).await);
        b.push(load(&http, theirs.pid(), PAGES_THEIRS, &their_page).await);
    }
    let median = |all: &[(f64, f64)], of: fn(&(f64, f64)) -> f64| {
        quantile(all.iter().map(of).collect(), 0.5)
    };
    let (name, end) = (format!("redis_exporter {}", release.version), release.suffix);
    let (ours_ms, theirs_ms) = (median(&a, |x| x.0), median(&b, |x| x.0));
    let said = format!("ours {ours_ms:.3} ms, {name} {theirs_ms:.3} ms a page, CPU, 32 at once");
    ratio(&format!("E3{end}"), ours_ms / theirs_ms, (1.0 / 8.0, 1.0 / 15.0), said);
    let (ours_ms, theirs_ms) = (median(&a, |x| x.1), median(&b, |x| x.1));
    let said = format!("ours {ours_ms:.2} ms, {name} {theirs_ms:.2} ms, p99, 32 at once");
    ratio(&format!("E3-p99{end}"), ours_ms / theirs_ms, (0.25, 0.25), said);
    equal(&http, release, &page(0), &their_page(0)).await;
}

/// CPU in ms a page and p99 in ms.
async fn load(
    http: &reqwest::Client,
    pid: u32,
    pages: usize,
    url: &impl Fn(usize) -> String,
) -> (f64, f64) {
    let before = cpu::of_process(pid);
    let mut clients = tokio::task::JoinSet::new();
    for client in 0..CLIENTS {
        let urls: Vec<String> = (0..16).map(|i| url(client + i)).collect();
        let http = http.clone();
        clients.spawn(async move {
            let mut took = Vec::with_capacity(pages / CLIENTS);
            for url in urls.iter().cycle().take(pages / CLIENTS) {
                let began = Instant::now();
                let answer = http.get(url).send().await.expect("an answer");
                let page = answer.text().await.expect("a page");
                assert!(page.contains("redis_up 1"), "{url}");
                took.push(began.elapsed().as_secs_f64() * 1000.0);
            }
            took
        });
    }
    let took: Vec<f64> = clients.join_all().await.into_iter().flatten().collect();
    let spent = cpu::of_process(pid) - before;
    (spent / pages as f64 * 1000.0, quantile(took, 0.99))
}

/// Counters both pages show. Scraping itself moves some: ours then lies between two of theirs.
async fn equal(http: &reqwest::Client, release: &Release, ours: &str, theirs: &str) {
    let page = async |url: &str| {
        let answer = http.get(url).send().await.expect("an answer");
        counters(&answer.text().await.expect("a page"))
    };
    let age = async || {
        let text = http.get(ours).send().await.expect("an answer").text().await.expect("a page");
        peer::value(&text, "cachewarden_reading_age_seconds").expect("its age")
    };
    // The reading between theirs must be newer than the first of theirs.
    let first = page(theirs).await;
    let began = Instant::now();
    wait::until("a newer reading", || async {
        (age().await < began.elapsed().as_secs_f64()).then_some(())
    })
    .await;
    let mine = page(ours).await;
    let last = page(theirs).await;
    let shared: Vec<&String> =
        mine.keys().filter(|k| first.contains_key(*k) && last.contains_key(*k)).collect();
    let differ: Vec<&String> = shared
        .iter()
        .copied()
        .filter(|k| !(first[*k] <= mine[*k] && mine[*k] <= last[*k]))
        .collect();
    let exact = shared.iter().filter(|k| first[**k] == last[**k]).count();
    let context = format!(
        "share of {} counters shared with {} that differ, {exact} of them not moved by scraping; {differ:?}",
        shared.len(),
        release.version
    );
    let value = differ.len() as f64 / shared.len().max(1) as f64;
    let id = &format!("E12{}", release.suffix);
    Figure { id, value, unit: "ratio", gate: 0.0, stretch: 0.0, context }.print();
}

/// Counters of a page about Redis, by series.
fn counters(page: &str) -> BTreeMap<String, f64> {
    let types: Vec<&str> = page
        .lines()
        .filter_map(|l| l.strip_prefix("# TYPE ")?.strip_suffix(" counter"))
        .filter(|name| name.starts_with("redis_") && !name.starts_with("redis_exporter_"))
        .collect();
    let is_counter = |series: &str| types.contains(&series.split('{').next().unwrap_or(series));
    page.lines()
        .filter(|l| !l.starts_with('#'))
        .filter_map(|l| l.rsplit_once(' '))
        .filter(|(series, _)| is_counter(series))
        .filter_map(|(series, v)| Some((series.to_string(), v.parse().ok()?)))
        .collect()
}

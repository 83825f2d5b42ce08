//! `/metrics`: the fleet's page. `/metrics/self`: the process' own.
//!
//! Invariant: a page is rendered at most once a second for all who see everything, and compressed
//! once, when the first asks for that; a reader with a scope gets a page of his part, never a cached
//! one of others. Rendering never holds up the polls: it has a thread of its own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::{ConnectInfo, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use exporter::Shard;
use exporter::encode::{
    self, CapacityPoint, CertificateEnd, FleetPage, Format, Rendered, SloPoint,
};
use model::At;
use model::code::{Code, Problem};
use model::inventory::Inventory;
use tokio::sync::Mutex;

use super::access::{self, Reader};
use super::around::{busy, refuse};
use super::discovery::{malformed, shard_of};
use super::dropped::DroppedBook;
use super::encoding::Encoding;
use crate::app::App;

/// Readers waiting for a page to be rendered; a part of the usual size takes some 50 ms, so the last
/// of them waits about two seconds, which a scrape lasts.
const WAITING_MAX: usize = 32;
/// Pages kept: parts and formats that are scraped at present. What comes on top is rendered for its
/// reader alone.
const PAGES_MAX: usize = 64;
/// Series of one page above which a Prometheus is better served in parts: its scrape of 15 s leaves
/// no room for more, and each sample costs it about 3 µs.
const PART_SERIES: u32 = 50_000;
/// A page this young is shared.
const FRESH_MS: i64 = 1_000;

/// The latest page of each shard and format.
#[derive(Default)]
pub(crate) struct PageCache {
    pages: Mutex<HashMap<Key, Page>>,
    /// What the pages of instances leave out.
    pub(super) dropped: DroppedBook,
    waiting: std::sync::atomic::AtomicUsize,
}

impl PageCache {
    /// Series of the largest page of the last minute; none when nobody read one.
    pub(crate) fn series_max(&self) -> Option<u32> {
        let pages = self.pages.try_lock().ok()?;
        pages.values().map(|page| page.series).max()
    }
}

/// Part of the fleet, and whether it is OpenMetrics.
type Key = (Option<Shard>, bool);

#[derive(Clone)]
struct Page {
    at: At,
    series: u32,
    plain: Bytes,
    packed: Arc<OnceLock<(Encoding, Bytes)>>,
}

impl Page {
    /// In an encoding; the first one that is asked for is kept.
    fn encoded(&self, encoding: Encoding) -> Bytes {
        if encoding == Encoding::Identity {
            return self.plain.clone();
        }
        let pack = || Bytes::from(encoding.pack(self.plain.to_vec()));
        match self.packed.get_or_init(|| (encoding, pack())) {
            (kept, bytes) if *kept == encoding => bytes.clone(),
            _ => pack(),
        }
    }
}

pub(super) async fn fleet(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Response {
    let reader = match access::reader(&app, &headers, peer).await {
        Ok(reader) => reader,
        Err(problem) => return refuse(problem),
    };
    let shard = match shard_of(&query) {
        Ok(shard) => shard,
        Err(detail) => return refuse(malformed(&detail)),
    };
    let format = Format::from_accept(accept(&headers));
    let encoding = Encoding::of(&headers);
    if !reader.sees_all() {
        let body = apart(move || encoding.pack(render(&app, &reader, shard, format).body));
        return answer_as(body.await.into(), format, encoding);
    }
    match shared(&app, reader, shard, format).await {
        Some(page) => {
            let body = apart(move || page.encoded(encoding)).await;
            answer_as(body, format, encoding)
        }
        None => busy("the page is being rendered for others"),
    }
}

/// Runs what takes long on a thread that polls do not need.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // Runs to its end once begun: it can only have panicked.
        Err(e) => std::panic::resume_unwind(e.into_panic()),
    }
}

pub(super) async fn own(
    State(app): State<Arc<App>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Response {
    match access::reader(&app, &headers, peer).await {
        Ok(reader) if reader.sees_all() => {
            let format = Format::from_accept(accept(&headers));
            let page = app.metrics.render(&app, app.now(), format);
            answer(page, format, Encoding::of(&headers))
        }
        Ok(_) => refuse(Problem::new(
            Code::RightMissing,
            "the process' own figures need metrics.scrape on the platform",
            "Use a scrape token whose scope is the platform.",
        )),
        Err(problem) => refuse(problem),
    }
}

async fn shared(
    app: &Arc<App>,
    reader: Reader,
    shard: Option<Shard>,
    format: Format,
) -> Option<Page> {
    use std::sync::atomic::Ordering::Relaxed;
    let cache = &app.pages;
    if cache.waiting.fetch_add(1, Relaxed) >= WAITING_MAX {
        cache.waiting.fetch_sub(1, Relaxed);
        return None;
    }
    let mut pages = cache.pages.lock().await;
    cache.waiting.fetch_sub(1, Relaxed);
    let (now, key) = (app.now(), (shard, format == Format::OpenMetrics));
    if let Some(page) = pages.get(&key).filter(|p| now.since_ms(p.at).abs() < FRESH_MS) {
        return Some(page.clone());
    }
    // Shards nobody asks for any more must not stay for ever.
    pages.retain(|_, page| now.since_ms(page.at).abs() < 60 * FRESH_MS);
    let mine = app.clone();
    let rendered = apart(move || render(&mine, &reader, shard, format)).await;
    say_when_large(rendered.series);
    let (series, plain) = (rendered.series, rendered.body.into());
    let page = Page { at: now, series, plain, packed: Arc::default() };
    if pages.len() < PAGES_MAX || pages.contains_key(&key) {
        pages.insert(key, page.clone());
    }
    Some(page)
}

/// Says once that a page should be scraped in parts. It is answered whole all the same: a series
/// that is cut away looks like a thing that is gone.
fn say_when_large(series: u32) {
    static SAID: std::sync::Once = std::sync::Once::new();
    if series > PART_SERIES {
        let parts = series.div_ceil(PART_SERIES);
        SAID.call_once(|| {
            tracing::warn!(series, parts, "a page of /metrics is large: scrape it as ?shard=i/n");
        });
    }
}

fn render(app: &App, reader: &Reader, shard: Option<Shard>, format: Format) -> Rendered {
    let now = app.now();
    let whole = app.inventory();
    let inventory = match reader.sees_all() {
        true => whole,
        false => Arc::new(reader.cut(&whole)),
    };
    let rows = app.board.rows();
    let rollup = app.board.rollup();
    let seen = app.fleet.load();
    let own = |id: &model::InstanceId| {
        reader.sees_all() || inventory.services.contains_key(&id.service())
    };
    let removed: Vec<_> =
        app.removed_instances().into_iter().filter(|gone| own(&gone.id)).collect();
    let alerts: Vec<_> = seen
        .alerts
        .iter()
        .filter(|a| match &a.service {
            Some(service) => inventory.services.contains_key(service),
            None => reader.sees_all(),
        })
        .cloned()
        .collect();
    let thresholds: Vec<_> = seen
        .thresholds
        .iter()
        .filter(|t| t.instance.as_ref().is_none_or(|i| inventory.instances.contains_key(i)))
        .cloned()
        .collect();
    let drift: Vec<_> = seen.drift.iter().filter(|point| own(&point.instance)).cloned().collect();
    let own_risk = |id: &model::ServiceId| inventory.services.contains_key(id);
    let zone_risks: Vec<_> =
        seen.zone_risks.iter().filter(|(id, ..)| own_risk(id)).cloned().collect();
    let refused = app.watching.strangers.refused();
    let accepts = app.watching.desks.accepts();
    let all = reader.sees_all();
    let mut page = FleetPage::new(&inventory, &rows, &rollup, now);
    page.alerts = &alerts;
    page.thresholds = &thresholds;
    page.zone_risks = &zone_risks;
    page.removed = &removed;
    page.maintenance = &seen.maintenance;
    let dropped = app.pages.dropped.all(&inventory);
    page.series_dropped = &dropped;
    page.drift = &drift;
    page.refused = &refused;
    let certificates = app.certificates.load();
    let shown = |c: &&CertificateEnd| c.service.is_some() || all;
    let certificates: Vec<_> = certificates.iter().filter(shown).cloned().collect();
    page.certificates = &certificates;
    page.accepts = &accepts;
    let (capacity, slo) = outlook(app, &inventory, now);
    (page.capacity, page.slo) = (&capacity, &slo);
    page.shard = shard;
    if all {
        app.pages.dropped.keep(&inventory);
        page.operations = &seen.operations;
        page.refusals = &seen.refusals;
        page.decisions = &seen.decisions;
    }
    encode::fleet(&page, format)
}

/// Days to full and objectives of the services in sight.
fn outlook(app: &App, inventory: &Inventory, now: At) -> (Vec<CapacityPoint>, Vec<SloPoint>) {
    let mut capacity = app.usage.points();
    capacity.retain(|p| inventory.services.contains_key(&p.service));
    let accounts = inventory.services.values().filter_map(|s| app.slo.point(app, s, now));
    (capacity, accounts.collect())
}

/// The `Accept` header.
pub(super) fn accept(headers: &HeaderMap) -> &str {
    headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

/// A page, compressed when asked for.
pub(super) fn answer(page: Vec<u8>, format: Format, encoding: Encoding) -> Response {
    answer_as(encoding.pack(page).into(), format, encoding)
}

fn answer_as(body: Bytes, format: Format, encoding: Encoding) -> Response {
    let kind = [(header::CONTENT_TYPE, format.content_type())];
    let mut response = (kind, body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept, accept-encoding"));
    if let Some(name) = encoding.name() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(name));
    }
    response
}

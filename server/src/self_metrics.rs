//! Figures about this process, for `/metrics/self`.
//!
//! Invariant: labels come from closed sets (reasons, loop names, status classes, configured
//! Alertmanagers), never from instances or requests, so the page stays small whatever the fleet is. Refuses to know the fleet.

mod openmetrics;

use exporter::encode::Format;
use model::At;
use model::reading::Reading;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry, TextEncoder,
};

use crate::app::App;

/// From a poll on loopback to one at its deadline, seconds.
const POLL_BUCKETS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];

/// The registry and what is counted as it happens; what can be read at any time is set when the
/// page is rendered.
pub struct SelfMetrics {
    registry: Registry,
    polls: IntCounterVec,
    poll_failures: IntCounterVec,
    poll_seconds: Histogram,
    /// Cycles whose time came while the one before was still running.
    pub polls_missed: IntCounter,
    /// Events of Sentinels heard.
    pub(crate) sentinel_events: IntCounterVec,
    /// Sentinels whose events are heard now.
    pub(crate) sentinel_subscriptions: IntGauge,
    stretch: IntGauge,
    page_series: IntGauge,
    /// Requests by status class.
    pub requests: IntCounterVec,
    /// Requests being answered.
    pub in_flight: IntGauge,
    /// Connections open.
    pub connections: IntGauge,
    /// A read of the store by the housekeeping loop, seconds.
    pub store_seconds: Histogram,
    /// 1 after a good reload (or the start), 0 after a refused one.
    pub config_reload_ok: IntGauge,
    rows: IntGauge,
    oldest_row_age: Gauge,
    sealed: IntGauge,
    portal: IntGaugeVec,
    loops: LoopFigures,
    alerts: AlertFigures,
}

impl Default for SelfMetrics {
    fn default() -> SelfMetrics {
        SelfMetrics::new().expect("the names are fixed and different")
    }
}

impl SelfMetrics {
    fn new() -> prometheus::Result<SelfMetrics> {
        let r = Registry::new();
        r.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let build = IntGauge::with_opts(
            Opts::new("cachewarden_build_info", "1, with the version as label.")
                .const_label("version", crate::VERSION),
        )?;
        build.set(1);
        r.register(Box::new(build))?;
        let metrics = SelfMetrics {
            polls: counters(&r, "polls_total", "Polls by outcome.", "result")?,
            poll_failures: counters(
                &r,
                "poll_failures_total",
                "Failed polls by reason.",
                "reason",
            )?,
            poll_seconds: histogram(&r, "poll_duration_seconds", "Duration of a whole poll.")?,
            polls_missed: counter(
                &r,
                "polls_missed_total",
                "Cycles that were due while the one before still ran.",
            )?,
            sentinel_events: counters(
                &r,
                "sentinel_events_total",
                "Events of Sentinels that made us look.",
                "event",
            )?,
            sentinel_subscriptions: gauge(
                &r,
                "sentinel_subscriptions",
                "Sentinels whose events are heard.",
            )?,
            page_series: gauge(
                &r,
                "metrics_page_series",
                "Series of the largest page of /metrics of the last minute; above 50000 scrape it in parts.",
            )?,
            stretch: gauge(
                &r,
                "schedule_stretch_level",
                "0 while polls begin in time; 1 to 3 while intervals of the less important instances are stretched.",
            )?,
            requests: counters(&r, "http_requests_total", "Answers by status class.", "class")?,
            in_flight: gauge(&r, "http_requests_in_flight", "Requests being answered.")?,
            connections: gauge(&r, "http_connections", "Open connections.")?,
            store_seconds: histogram(
                &r,
                "store_read_duration_seconds",
                "A small read of the store.",
            )?,
            config_reload_ok: gauge(
                &r,
                "config_last_reload_successful",
                "1 when the configuration was last read without a fault.",
            )?,
            rows: gauge(&r, "rows", "Instances with a reading.")?,
            oldest_row_age: float(&r, "oldest_row_age_seconds", "Age of the oldest reading.")?,
            sealed: gauge(&r, "sealed", "1 while the wrapping key is missing or wrong.")?,
            portal: portal_info(&r)?,
            loops: LoopFigures::new(&r)?,
            alerts: AlertFigures::new(&r)?,
            registry: r,
        };
        metrics.config_reload_ok.set(1);
        Ok(metrics)
    }

    /// Counts a poll.
    pub(crate) fn saw(&self, reading: &Reading) {
        let result = match (reading.up, &reading.failure) {
            (true, None) => "up",
            (true, Some(_)) => "partial",
            (false, _) => "failed",
        };
        self.polls.with_label_values(&[result]).inc();
        if let Some(failure) = &reading.failure {
            self.poll_failures.with_label_values(&[failure.reason.as_str()]).inc();
        }
        self.poll_seconds.observe(f64::from(reading.duration_us) / 1e6);
    }

    /// The page.
    pub(crate) fn render(&self, app: &App, now: At, format: Format) -> Vec<u8> {
        let rows = app.board.rows();
        self.rows.set(rows.len() as i64);
        let oldest = rows.iter().map(|r| r.reading.at).min();
        self.oldest_row_age.set(oldest.map_or(0.0, |at| now.since_ms(at) as f64 / 1000.0));
        self.sealed.set(i64::from(app.is_sealed()));
        if let Some(series) = app.pages.series_max() {
            self.page_series.set(i64::from(series));
        }
        self.stretch.set(i64::from(app.watching.load.level()));
        self.portal.with_label_values(&[app.public_url()]).set(1);
        self.loops.read(app);
        self.alerts.read(app, now);
        let mut page = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut page)
            .expect("writing to memory cannot fail");
        match format {
            Format::Text => page,
            Format::OpenMetrics => {
                openmetrics::of_text(&String::from_utf8_lossy(&page)).into_bytes()
            }
        }
    }
}

/// The trio of each loop.
struct LoopFigures {
    duration: GaugeVec,
    errors: IntCounterVec,
    success: GaugeVec,
}

impl LoopFigures {
    fn new(r: &Registry) -> prometheus::Result<LoopFigures> {
        let success = "loop_last_success_timestamp_seconds";
        Ok(LoopFigures {
            duration: by(r, "loop_duration_seconds", "Duration of the latest round.", "loop")?,
            errors: counters(r, "loop_errors_total", "Failed rounds.", "loop")?,
            success: by(r, success, "End of the latest good round.", "loop")?,
        })
    }

    fn read(&self, app: &App) {
        for (name, state) in app.loops.states() {
            self.duration.with_label_values(&[name]).set(state.duration_s);
            raise(&self.errors.with_label_values(&[name]), state.errors);
            if let Some(at) = state.last_success {
                self.success.with_label_values(&[name]).set(at.seconds());
            }
        }
    }
}

/// The alerter and its deliveries.
struct AlertFigures {
    evaluations: IntCounter,
    late: IntCounterVec,
    last_eval: Gauge,
    store_lag: Gauge,
    history_dropped: IntCounterVec,
    sent: IntCounterVec,
    retried: IntCounterVec,
    dropped: IntCounterVec,
    oldest_unsent: GaugeVec,
    watchdog_age: GaugeVec,
    errors: IntCounterVec,
    slots_missed: IntCounter,
    window_bytes: Gauge,
    intake: IntCounterVec,
    withheld: Gauge,
    unproven: GaugeVec,
    engine_diff: GaugeVec,
    rules_published: GaugeVec,
}

impl AlertFigures {
    fn new(r: &Registry) -> prometheus::Result<AlertFigures> {
        let dropped = Opts::new(name("notifications_dropped_total"), "Alerts given up, by reason.");
        let dropped = IntCounterVec::new(dropped, &["alertmanager", "reason"])?;
        r.register(Box::new(dropped.clone()))?;
        let late = "Samples that were not judged, by reason.";
        let last = "Time of the latest evaluation.";
        let lag = "Age of the oldest alert step that waits for the store.";
        let history = "Steps of alerts that are in no history, by reason.";
        let unsent = "Age of the oldest change an Alertmanager has not taken.";
        let errors = "Evaluations that failed; their alerts stayed as they were.";
        let slots = "Slots of the alerter's grid that nobody judged.";
        let watchdog = "Seconds since the Watchdog of an evaluator came back.";
        let taken = "Alerts posted by or listed in an Alertmanager, by what they did.";
        let withheld = "Live alerts that a maintenance or a calendar withholds.";
        let diff = "Alerts that fire in one engine only, of policies both evaluate.";
        let diff = Opts::new(name("alert_engine_diff"), diff);
        let engine_diff = GaugeVec::new(diff, &["policy", "side"])?;
        r.register(Box::new(engine_diff.clone()))?;
        let rules = "1, with the hash of the rule files Prometheus runs as label.";
        let unproven = "1: the Alertmanager proved nothing in the latest reconciliation.";
        Ok(AlertFigures {
            evaluations: counter(r, "alert_evaluations_total", "Policies judged.")?,
            late: counters(r, "alert_samples_dropped_total", late, "reason")?,
            last_eval: float(r, "alert_last_eval_timestamp_seconds", last)?,
            store_lag: float(r, "alert_store_lag_seconds", lag)?,
            history_dropped: counters(r, "alert_history_dropped_total", history, "reason")?,
            sent: counters(r, "notifications_sent_total", "Alerts taken.", "alertmanager")?,
            retried: counters(r, "notifications_retried_total", "Repeats.", "alertmanager")?,
            dropped,
            oldest_unsent: by(r, "notifications_oldest_unsent_seconds", unsent, "alertmanager")?,
            watchdog_age: by(r, "watchdog_age_seconds", watchdog, "evaluator")?,
            errors: counters(r, "alert_eval_errors_total", errors, "policy")?,
            slots_missed: counter(r, "alert_slots_missed_total", slots)?,
            window_bytes: float(r, "alert_window_bytes", "Memory of the alerter's windows.")?,
            intake: counters(r, "intake_total", taken, "result")?,
            withheld: float(r, "alerts_withheld", withheld)?,
            unproven: by(r, "alertmanager_unproven", unproven, "alertmanager")?,
            engine_diff,
            rules_published: by(r, "rules_published", rules, "sha")?,
        })
    }

    fn read(&self, app: &App, now: At) {
        let status = app.alerter.status(now);
        raise(&self.evaluations, status.evaluations);
        raise(&self.late.with_label_values(&["late"]), status.samples_late);
        self.last_eval.set(status.last_eval.seconds());
        self.store_lag.set(status.store_lag_seconds);
        raise(&self.history_dropped.with_label_values(&["refused"]), status.history_refused);
        raise(&self.history_dropped.with_label_values(&["overflow"]), status.history_lost);
        for am in &status.receivers {
            let url = am.url.as_str();
            raise(&self.sent.with_label_values(&[url]), am.sent);
            raise(&self.retried.with_label_values(&[url]), am.retried);
            raise(&self.dropped.with_label_values(&[url, "poison"]), am.dropped_poison);
            raise(&self.dropped.with_label_values(&[url, "expired"]), am.dropped_expired);
            self.oldest_unsent.with_label_values(&[url]).set(am.oldest_unsent_seconds);
        }
        for (policy, n) in &status.eval_errors {
            raise(&self.errors.with_label_values(&[policy]), *n);
        }
        raise(&self.slots_missed, status.slots_missed);
        self.window_bytes.set(status.window_bytes as f64);
        for (evaluator, age) in &status.watchdog_age_seconds {
            self.watchdog_age.with_label_values(&[evaluator]).set(*age);
        }
        for (result, n) in &status.intake {
            raise(&self.intake.with_label_values(&[*result]), *n);
        }
        self.withheld.set(status.withheld as f64);
        self.engine_diff.reset();
        for (policy, (embedded, prometheus)) in app.rules.differences().iter() {
            let side = |side: &str| self.engine_diff.with_label_values(&[policy.as_str(), side]);
            side("embedded").set(*embedded as f64);
            side("prometheus").set(*prometheus as f64);
        }
        self.rules_published.reset();
        let published = app.rules.published().filter(|sha| !sha.is_empty());
        if let Some(published) = published {
            self.rules_published.with_label_values(&[published.as_str()]).set(1.0);
        }
        self.unproven.reset();
        for (url, _) in &status.unproven {
            self.unproven.with_label_values(&[url]).set(1.0);
        }
    }
}

/// Dashboards link to the portal by it, so that nobody edits them.
fn portal_info(r: &Registry) -> prometheus::Result<IntGaugeVec> {
    let opts = Opts::new(name("portal_info"), "1, with the portal's address as label.");
    let g = IntGaugeVec::new(opts, &["url"])?;
    r.register(Box::new(g.clone()))?;
    Ok(g)
}

/// Brings a counter to what somebody else counted.
fn raise(counter: &IntCounter, to: u64) {
    counter.inc_by(to.saturating_sub(counter.get()));
}

fn name(short: &str) -> String {
    format!("cachewarden_{short}")
}

fn counter(r: &Registry, short: &str, help: &str) -> prometheus::Result<IntCounter> {
    let c = IntCounter::new(name(short), help)?;
    r.register(Box::new(c.clone()))?;
    Ok(c)
}

fn counters(
    r: &Registry,
    short: &str,
    help: &str,
    label: &str,
) -> prometheus::Result<IntCounterVec> {
    let c = IntCounterVec::new(Opts::new(name(short), help), &[label])?;
    r.register(Box::new(c.clone()))?;
    Ok(c)
}

fn gauge(r: &Registry, short: &str, help: &str) -> prometheus::Result<IntGauge> {
    let g = IntGauge::new(name(short), help)?;
    r.register(Box::new(g.clone()))?;
    Ok(g)
}

fn float(r: &Registry, short: &str, help: &str) -> prometheus::Result<Gauge> {
    let g = Gauge::new(name(short), help)?;
    r.register(Box::new(g.clone()))?;
    Ok(g)
}

fn by(r: &Registry, short: &str, help: &str, label: &str) -> prometheus::Result<GaugeVec> {
    let g = GaugeVec::new(Opts::new(name(short), help), &[label])?;
    r.register(Box::new(g.clone()))?;
    Ok(g)
}

fn histogram(r: &Registry, short: &str, help: &str) -> prometheus::Result<Histogram> {
    let opts = HistogramOpts::new(name(short), help).buckets(POLL_BUCKETS.to_vec());
    let h = Histogram::with_opts(opts)?;
    r.register(Box::new(h.clone()))?;
    Ok(h)
}

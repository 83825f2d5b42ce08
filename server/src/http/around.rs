//! What wraps every request: an id, a place among those in flight, an end after 30 s, a line in the
//! log.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use model::code::{Code, Problem};

use crate::app::App;

/// Requests answered at once: at 10 ms each far more than two cores can serve, so beyond it
/// everybody would only wait.
const IN_FLIGHT_MAX: i64 = 2_000;
/// Nothing holds a request longer; long work answers 202 and goes on by itself.
const REQUEST_TIME: Duration = Duration::from_secs(30);
/// Longest request id of a client that is kept.
const ID_MAX: usize = 64;

const ID: &str = "x-request-id";

pub(super) async fn around(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let id = id_of(request.headers());
    let value = HeaderValue::from_str(&id).expect("plain characters");
    request.headers_mut().insert(ID, value.clone());
    let (method, path) = (request.method().clone(), request.uri().path().to_string());
    let mut response = limited(&app, &path, request, next).await;
    response.headers_mut().insert(ID, value);
    let status = response.status();
    let class =
        ["1xx", "2xx", "3xx", "4xx", "5xx"][usize::from(status.as_u16() / 100).clamp(1, 5) - 1];
    app.metrics.requests.with_label_values(&[class]).inc();
    tracing::debug!(
        request_id = id,
        %method,
        path,
        status = status.as_u16(),
        ms = began.elapsed().as_millis() as u64,
        "answered"
    );
    response
}

/// Counts down when the answer is made, also when the client is gone before.
struct InFlight<'a>(&'a App);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

async fn limited(app: &App, path: &str, request: Request, next: Next) -> Response {
    app.metrics.in_flight.inc();
    let _held = InFlight(app);
    let answers_anyway = path == "/healthz" || path == "/metrics/self";
    if app.metrics.in_flight.get() > IN_FLIGHT_MAX && !answers_anyway {
        return busy("too many requests are being answered at this moment");
    }
    // A stream of events has no end.
    if path.ends_with("/live") {
        return next.run(request).await;
    }
    match tokio::time::timeout(REQUEST_TIME, next.run(request)).await {
        Ok(response) => response,
        Err(_) => busy("the request was not answered within 30 s"),
    }
}

/// 503 with a time to come back.
pub(super) fn busy(detail: &str) -> Response {
    let problem = Problem::new(Code::OverCapacity, detail, "Try again in some seconds.");
    let mut response = refuse(problem);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    response
}

/// A problem document.
pub(super) fn refuse(problem: Problem) -> Response {
    let status = axum::http::StatusCode::from_u16(problem.status);
    let body = serde_json::to_vec(&problem).expect("a problem is plain data");
    let kind = [(header::CONTENT_TYPE, "application/problem+json")];
    (status.expect("codes have valid statuses"), kind, body).into_response()
}

/// A handler panicked: the client learns that it is our fault, the log where.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|s| s.to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(panic = text, "a handler panicked");
    refuse(Problem::new(
        Code::Fault,
        "something went wrong on our side",
        "Try again; when it stays, send the request id to an administrator.",
    ))
}

/// The client's id when it is short and plain, else a new one.
fn id_of(headers: &HeaderMap) -> String {
    let given = headers.get(ID).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if (1..=ID_MAX).contains(&given.len()) && given.chars().all(plain) {
        return given.to_string();
    }
    uuid::Uuid::now_v7().simple().to_string()
}

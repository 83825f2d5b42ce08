//! The embedded files of the pages.
//!
//! Invariant: only what is compiled in; a file whose name holds its hash may be kept for ever.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// `GET /assets/*`, `/favicon.ico`.
pub async fn get(request: Request) -> Response {
    let Some(asset) = portal::asset(request.uri().path()) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let keep = match asset.immutable {
        true => "public, max-age=31536000, immutable",
        false => "public, max-age=3600",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static(keep)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, asset.bytes).into_response()
}

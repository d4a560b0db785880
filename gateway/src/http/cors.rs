//! What pages of other origins may do here: everything, since nothing here knows who asks.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::problem;

/// Answer to the question of a browser whether a page may send a request (Fetch standard, CORS preflight). A day, as far
/// as the browser keeps it.
const PREFLIGHT: [(HeaderName, HeaderValue); 5] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    (header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET")),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("authorization, cache-control, last-event-id"),
    ),
    (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400")),
    (header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS")),
];

/// Route of OPTIONS.
pub(super) async fn preflight() -> Response {
    (StatusCode::NO_CONTENT, PREFLIGHT).into_response()
}

/// Route of other methods.
pub(super) async fn other_method() -> Response {
    let message = "this path is read with GET";
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message, None);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
    response
}

/// Lets pages of other origins read an answer, and when to come back: there is nothing in it that they could not have
/// asked themselves.
pub(super) fn allow(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    let exposed = HeaderValue::from_static("retry-after");
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

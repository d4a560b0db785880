//! `GET /sse`: an event stream (WHATWG HTML, server-sent events) for clients behind proxies that break WebSocket.
//!
//! The request is an HTTP server's; once it is granted, a shard takes the socket over and writes the answer: the session is
//! that of a WebSocket client, its frames are events.

use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use wsgateway_access::Grant;

use super::Site;
use super::cors;
use super::identity::identify_request;
use super::pending::{Pending, Released, Takeover};
use super::place::{Busy, admit_fallback, enter};
use super::query::{Query, SubscribeRequest};
use crate::admission::Permit;
use crate::conn::Transport;
use crate::conn::events::{EventStream, event};
use crate::hub::Hub;
use crate::hub::arrivals::Handover;

/// Headers of every event stream.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // Whoever comes back is to find another pod, if this one has no place or stops.
    (header::CONNECTION, HeaderValue::from_static("close")),
    // nginx and those that follow it gather a response unless asked not to.
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
];

/// Route of the event stream.
pub(super) async fn events(
    State(site): State<Arc<Site>>,
    Extension(pending): Extension<Arc<Pending>>,
    query: Result<UrlQuery<Query>, QueryRejection>,
    (method, uri): (Method, Uri),
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let terms = site.terms.get();
    let checked = Query::read(query).and_then(|query| query.check(last, terms.command_bytes));
    let mut request = match checked {
        Ok(request) => request,
        Err(refusal) => return *refusal,
    };
    match enter(&site, &pending) {
        Err(busy) if understands_events(&headers) => return refuse(&busy),
        Err(busy) => return busy.into_response(),
        Ok(()) => {}
    }
    let grant = match identify_request(&site, &terms, &headers, uri.query()) {
        Ok(grant) => grant,
        Err(refusal) => return *refusal,
    };
    request.add_unasked(grant.as_ref());
    if method == Method::HEAD {
        return with_cors(HEADERS.into_response());
    }
    let permit = match admit_fallback(&site, &pending, grant.as_ref()) {
        Ok(permit) => permit,
        Err(busy) if understands_events(&headers) => return refuse(&busy),
        Err(busy) => return busy.into_response(),
    };
    let hub = site.hub.clone();
    let cors = terms.entry.cors(&headers).lines();
    pending.take_over(Takeover::new(move |released| async move {
        let socket = (released, cors.as_str());
        if let Err(error) = hand_over(&hub, socket, &request, (permit, grant)) {
            tracing::debug!(%error, "an event stream ended before it began");
        }
    }));
    // The connection ends here for HTTP.
    std::future::pending().await
}

/// Hands the socket to a shard, with what the client asks for.
fn hand_over(
    hub: &Hub,
    (released, cors): (Released, &str),
    request: &SubscribeRequest,
    (permit, grant): (Permit, Option<Arc<Grant>>),
) -> io::Result<()> {
    // The second command is acted on when what the first one catches up with has come.
    let again = request.command_for_values();
    let events = EventStream::new(request.snapshot, request.cursor.is_some(), again.is_some());
    hub.adopt(Handover {
        response: head_of_answer(cors).into_bytes(),
        commands: std::iter::once(request.command()).chain(again).collect(),
        transport: Transport::Events(events),
        grant,
        permit: Some(permit),
        ..Handover::new(released.into_parts()?.0)
    });
    Ok(())
}

fn understands_events(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|kind| kind.to_str().ok());
    accepted.any(|kinds| kinds.to_ascii_lowercase().contains("text/event-stream"))
}

/// A refusal in the form of an event stream: a browser's EventSource gives up for good after any status but 200.
fn refuse(busy: &Busy) -> Response {
    let close = json!({
        "type": "close",
        "code": busy.close,
        "reason": busy.code,
        "message": busy.message,
        "retryAfterMs": busy.retry_ms,
    });
    let mut out = format!("retry: {}\n", busy.retry_ms).into_bytes();
    event("close", &close.to_string(), &mut out);
    with_cors((HEADERS, out).into_response())
}

/// Lets pages of other origins read it, as far as they may connect.
fn with_cors(mut response: Response) -> Response {
    cors::allow(response.headers_mut());
    response
}

/// The status line and the headers. The body ends with the connection.
fn head_of_answer(cors: &str) -> String {
    let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
    for (name, value) in &HEADERS {
        let value = value.to_str().unwrap_or_default();
        head.extend([name.as_str(), ": ", value, "\r\n"]);
    }
    head + cors + "\r\n"
}

//! `GET /sse`: an event stream (WHATWG HTML, server-sent events) for clients behind proxies that break WebSocket.
//!
//! Every message is an event whose `id` is the cursor, so that a browser's EventSource resumes by itself.

use std::convert::Infallible;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;

use super::bridge::{Bridge, Said, head};
use super::query::Query;
use super::{Site, problem};

/// Events of one chunk: what has come at once leaves at once.
const CHUNK: usize = 16 << 10;

/// Route of the event stream.
pub(super) async fn events(
    State(site): State<Arc<Site>>,
    query: Result<UrlQuery<Query>, QueryRejection>,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let entered = Query::read(query).and_then(|query| query.enter(&site, last));
    let (wish, permit) = match entered {
        Ok(entered) => entered,
        Err(refusal) => return *refusal,
    };
    let bridge = match Bridge::open(&site, permit) {
        Ok(mut bridge) => bridge.send(&wish.command()).await.map(|()| bridge),
        Err(error) => Err(error),
    };
    let bridge = match bridge {
        Ok(bridge) => bridge,
        Err(error) => {
            tracing::warn!(%error, "cannot open an event stream");
            let message = "no more connections can be opened: try again";
            return problem(StatusCode::SERVICE_UNAVAILABLE, "overloaded", message, Some(2_000));
        }
    };
    let events = Events { bridge, epoch: Box::default(), ended: false };
    let body = stream::unfold(events, async |mut events: Events| {
        let chunk = events.next().await?;
        Some((Ok::<_, Infallible>(chunk), events))
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    // nginx and those that follow it gather a response unless told not to.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

/// A connection, spoken as events.
struct Events {
    bridge: Bridge,
    epoch: Box<str>,
    ended: bool,
}

impl Events {
    /// The next events, as many as are there.
    async fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let mut out = String::new();
        while out.is_empty() {
            let said = self.bridge.next().await;
            self.write(&mut out, said);
            while !self.ended && !out.is_empty() && out.len() < CHUNK && self.bridge.has_more() {
                let said = self.bridge.next().await;
                self.write(&mut out, said);
            }
            if self.ended && out.is_empty() {
                return None;
            }
        }
        Some(out)
    }

    fn write(&mut self, out: &mut String, said: Option<Said>) {
        match said {
            Some(Said::Push(push)) => self.push(out, &push),
            Some(Said::Ping) => out.push_str(":\n\n"),
            Some(Said::Close { code, reason }) => {
                self.ended = true;
                let close = serde_json::json!({ "type": "close", "code": code, "reason": reason });
                event(out, Some("close"), None, &close.to_string());
            }
            None => self.ended = true,
        }
    }

    fn push(&mut self, out: &mut String, push: &str) {
        let Some(head) = head(push) else { return };
        if let Some(epoch) = head.epoch {
            self.epoch = epoch;
        }
        if let Some(after) = head.after_ms {
            out.push_str(&format!("retry: {after}\n"));
        }
        // A last value is older than the cursor.
        let id =
            head.offset.filter(|_| !head.snapshot).map(|offset| format!("{}:{offset}", self.epoch));
        let kind = (head.kind != "message").then_some(&*head.kind);
        event(out, kind, id.as_deref(), push);
    }
}

/// Appends one event. JSON may have line ends between its tokens; each line becomes one of the event's.
fn event(out: &mut String, kind: Option<&str>, id: Option<&str>, data: &str) {
    if let Some(id) = id {
        out.push_str("id: ");
        out.push_str(id);
        out.push('\n');
    }
    if let Some(kind) = kind {
        out.push_str("event: ");
        out.push_str(kind);
        out.push('\n');
    }
    for line in data.split(['\n', '\r']) {
        out.push_str("data: ");
        out.push_str(line);
        out.push('\n');
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::event;

    #[test]
    fn an_event_has_an_id_a_kind_and_every_line_of_its_data() {
        let mut out = String::new();
        event(&mut out, Some("gap"), Some("e:7"), "{\"a\":\r1}");
        event(&mut out, None, None, "{}");
        assert_eq!(out, "id: e:7\nevent: gap\ndata: {\"a\":\ndata: 1}\n\ndata: {}\n\n");
    }
}

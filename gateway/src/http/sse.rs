//! `GET /sse`: an event stream (WHATWG HTML, server-sent events) for clients behind proxies that break WebSocket.
//!
//! The socket is taken over from HTTP, whose buffers are several times what a stream needs. Every message is an event whose `id` is the cursor, so that a browser's EventSource resumes by itself. On quiet
//! channels the heartbeat brings a younger `id`, without an event.

use std::fmt::Write;
use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Duration, Instant};

use super::Site;
use super::bridge::{Bridge, Head, Said, head};
use super::pending::{Pending, Takeover};
use super::place::Busy;
use super::query::{Cursor, Query, Wish};

/// Events of one chunk: what has come at once leaves at once.
const CHUNK: usize = 16 << 10;

/// Shortest time between two questions for the cursor: pings may come more often than commands are allowed.
const ASK_PAUSE: Duration = Duration::from_secs(2);

/// Bytes that a client may send behind its request: nothing there means anything.
const MOST_HEARD: usize = 32 << 10;

/// Headers of every event stream.
const HEADERS: [(HeaderName, HeaderValue); 5] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform")),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
    // Whoever comes back is to find another pod, if this one has no place or stops.
    (header::CONNECTION, HeaderValue::from_static("close")),
    // nginx and those that follow it gather a response unless told not to.
    (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
];

/// Route of the event stream.
pub(super) async fn events(
    State(site): State<Arc<Site>>,
    Extension(pending): Extension<Arc<Pending>>,
    query: Result<UrlQuery<Query>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Response {
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok());
    let wish = match Query::read(query).and_then(|query| query.check(last, site.command_bytes)) {
        Ok(wish) => wish,
        Err(refusal) => return *refusal,
    };
    if method == Method::HEAD {
        return HEADERS.into_response();
    }
    let mut bridge = match Bridge::enter(&site, &wish).await {
        Ok(bridge) => bridge,
        Err(busy) if understands_events(&headers) => return refuse(&busy),
        Err(busy) => return busy.into_response(),
    };
    let again = wish.command_for_values();
    if let Some(command) = &again {
        // The hub answers it when what the first one looks back for has come.
        bridge.say(command).await;
    }
    let events = Events {
        bridge,
        values: Values::of(&wish, again.is_some()),
        epoch: Box::default(),
        acknowledged: false,
        asked: None,
        ended: false,
    };
    pending.take_over(Takeover::new(|stream| events.run(stream)));
    // The connection ends here for HTTP.
    std::future::pending().await
}

/// Waits until the client has hung up, or says so much that it cannot mean it.
async fn hung_up(stream: &TcpStream) {
    let mut heard = 0;
    while heard < MOST_HEARD && stream.readable().await.is_ok() {
        match discard(stream) {
            Ok(0) => return,
            Ok(count) => heard += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    }
}

/// Reads what is there. The buffer is here so that no stream holds one while it waits.
fn discard(stream: &TcpStream) -> io::Result<usize> {
    stream.try_read(&mut [0; 4 << 10])
}

fn understands_events(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter().filter_map(|kind| kind.to_str().ok());
    accepted.any(|kinds| kinds.to_ascii_lowercase().contains("text/event-stream"))
}

/// A refusal in the form of an event stream: a browser's EventSource gives up for good after any status but 200.
fn refuse(busy: &Busy) -> Response {
    let close = json!({
        "type": "close",
        "code": 1013,
        "reason": busy.code,
        "message": busy.message,
        "retryAfterMs": busy.retry_ms,
    });
    let mut out = format!("retry: {}\n", busy.retry_ms);
    event(&mut out, Some("close"), None, &close.to_string());
    (HEADERS, out).into_response()
}

/// The status line and the headers. The body ends with the connection.
fn head_of_answer() -> String {
    let mut head = "HTTP/1.1 200 OK\r\n".to_owned();
    for (name, value) in &HEADERS {
        let value = value.to_str().unwrap_or_default();
        head.extend([name.as_str(), ": ", value, "\r\n"]);
    }
    head + "\r\n"
}

/// A connection, spoken as events.
struct Events {
    bridge: Bridge,
    epoch: Box<str>,
    values: Values,
    /// The client has its acknowledgement: others are answers to us.
    acknowledged: bool,
    /// When we asked for the cursor last.
    asked: Option<Instant>,
    ended: bool,
}

impl Events {
    /// Sends head and events until either side has enough.
    async fn run(mut self, mut stream: TcpStream) {
        let mut out = head_of_answer();
        loop {
            if stream.write_all(out.as_bytes()).await.is_err() {
                return;
            }
            // Whoever waits has no buffer.
            drop(out);
            let next = tokio::select! {
                next = self.next() => next,
                () = hung_up(&stream) => return,
            };
            let Some(more) = next else { break };
            out = more;
        }
        // Whatever becomes of it, the connection ends.
        let _ended = stream.shutdown().await;
    }

    /// The next events, as many as are there.
    async fn next(&mut self) -> Option<String> {
        if self.ended {
            return None;
        }
        let mut out = String::new();
        while out.is_empty() {
            let said = self.bridge.next().await;
            self.write(&mut out, said).await;
            while !self.ended && !out.is_empty() && out.len() < CHUNK && self.bridge.has_more() {
                let said = self.bridge.next().await;
                self.write(&mut out, said).await;
            }
            if self.ended && out.is_empty() {
                return None;
            }
        }
        Some(out)
    }

    async fn write(&mut self, out: &mut String, said: Option<Said>) {
        match said {
            Some(Said::Push(push)) => self.push(out, &push),
            Some(Said::Ping) => self.heartbeat(out).await,
            Some(Said::Close { code, reason }) => {
                self.ended = true;
                let close = json!({ "type": "close", "code": code, "reason": reason });
                event(out, Some("close"), None, &close.to_string());
            }
            None => self.ended = true,
        }
    }

    /// Lets proxies and the client hear something: the cursor, as soon as the shard has told it.
    async fn heartbeat(&mut self, out: &mut String) {
        let now = Instant::now();
        let due = self.asked.is_none_or(|asked| now - asked >= ASK_PAUSE);
        if self.acknowledged && due {
            self.asked = Some(now);
            self.bridge.ask().await;
        } else {
            out.push_str(":\n\n");
        }
    }

    fn push(&mut self, out: &mut String, push: &str) {
        let Some(head) = head(push) else { return };
        self.values.see(&head);
        if let Some(epoch) = head.epoch {
            self.epoch = epoch;
        }
        // A last value is older than the cursor.
        let offset = head.offset.filter(|_| !head.snapshot);
        let owed = self.values.owed;
        let id = |offset| Cursor { epoch: self.epoch.to_string(), offset, owed }.to_string();
        let id = offset.map(id);
        if head.kind == "subscription_ack" && std::mem::replace(&mut self.acknowledged, true) {
            // Without data it is no event, but browsers keep the id.
            let _written = write!(out, "id: {}\n\n", id.as_deref().unwrap_or_default());
            return;
        }
        if let Some(after) = head.after_ms {
            let _written = writeln!(out, "retry: {after}");
        }
        let kind = (head.kind != "message").then_some(&*head.kind);
        event(out, kind, id.as_deref(), push);
    }
}

/// Last values that were asked for: until all of them have been sent, every `id` says so.
#[derive(Debug, PartialEq, Eq)]
struct Values {
    owed: bool,
    /// They are asked for along with the channels, so that they come if something is gone.
    with_channels: bool,
    /// Commands that still look back; the last one brings what is owed.
    behind: u8,
}

impl Values {
    /// Of a request; `again` if they are asked for by a command of their own, too.
    fn of(wish: &Wish, again: bool) -> Self {
        let owed = wish.snapshot && (wish.cursor.is_none() || again);
        let behind = u8::from(wish.snapshot || wish.cursor.is_some()) + u8::from(again);
        Self { owed, with_channels: wish.snapshot, behind }
    }

    fn see(&mut self, head: &Head<'_>) {
        match &*head.kind {
            "subscription_ack" if head.recovered == Some(false) => self.owed |= self.with_channels,
            "live" => {
                self.behind = self.behind.saturating_sub(1);
                self.owed &= self.behind > 0;
            }
            _ => {}
        }
    }
}

/// Appends one event. JSON may have line ends between its tokens; each line becomes one of the event's.
fn event(out: &mut String, kind: Option<&str>, id: Option<&str>, data: &str) {
    for (field, value) in [("id: ", id), ("event: ", kind)] {
        if let Some(value) = value {
            out.extend([field, value, "\n"]);
        }
    }
    for line in data.split(['\n', '\r']) {
        out.extend(["data: ", line, "\n"]);
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

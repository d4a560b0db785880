//! `GET /poll`: one answer per request, for clients that can do nothing else.
//!
//! With a cursor: what has come behind it, at once if there is anything, else as soon as something comes or the wait is
//! over. Without: the cursor of this moment, to begin with, and the last values if they are asked for. A small answer
//! leaves whole; a large one as the client reads it, so that nobody holds it in memory.

mod answer;
mod gaps;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query as UrlQuery, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

use super::bridge::Bridge;
use super::pending::{Lent, Pending};
use super::place::Busy;
use super::query::{Query, Wish};
use super::{Site, problem};
use answer::{Answer, Broken, Late};

/// Wait of a client that names none, and the longest (s): below the patience of common proxies.
const WAIT: u64 = 25;
const MOST_WAIT: u64 = 55;

/// Bytes that are worth sending.
const CHUNK: usize = 16 << 10;

/// The largest answer that leaves whole: a socket takes it at once. Larger ones keep their place until they are out.
const WHOLE: usize = 2 * CHUNK;

/// Headers of every answer.
const HEADERS: [(HeaderName, HeaderValue); 3] = [
    (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
    (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
];

/// Route of the long-poll.
pub(super) async fn poll(
    State(site): State<Arc<Site>>,
    Extension(pending): Extension<Arc<Pending>>,
    query: Result<UrlQuery<Query>, QueryRejection>,
) -> Response {
    let checked = Query::read(query).and_then(|query| {
        let wait = Duration::from_secs(query.wait.unwrap_or(WAIT).min(MOST_WAIT));
        Ok((query.check(None, site.terms.get().command_bytes)?, wait))
    });
    let (wish, wait) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return *refusal,
    };
    match Bridge::enter(&site, &wish).await {
        Ok(bridge) => answer(&site, Poll::new(bridge, &wish, wait, pending.lend())).await,
        Err(busy) => busy.into_response(),
    }
}

/// Sends an answer, or says why there is none.
async fn answer(site: &Site, mut poll: Poll) -> Response {
    let first = poll.more().await;
    if let Some(broken) = poll.answer.broken() {
        return refuse(broken);
    }
    let keeps = poll.lent.has_room() && !poll.answer.leaving && !site.admission.is_closed();
    let body = match poll.answer.is_done() && first.len() <= WHOLE {
        true => Body::from(first),
        false => {
            let rest = stream::unfold(poll, async |mut poll| Some((poll.rest().await?, poll)));
            Body::from_stream(stream::iter([Ok(first)]).chain(rest))
        }
    };
    let mut response = (HEADERS, body).into_response();
    if !keeps {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    response
}

fn refuse(broken: &Broken) -> Response {
    match broken {
        Broken::Refused { code, message } => problem(StatusCode::BAD_REQUEST, code, message, None),
        Broken::Unavailable(message) => Busy::new("try_again", message.clone()).into_response(),
    }
}

/// A connection that is answered from.
#[derive(Debug)]
struct Poll {
    bridge: Bridge,
    answer: Answer,
    lent: Lent,
}

impl Poll {
    fn new(bridge: Bridge, wish: &Wish, wait: Duration, lent: Lent) -> Self {
        Self { bridge, answer: Answer::new(wish, Instant::now(), wait), lent }
    }

    /// The next piece of the answer: enough to be worth sending, or the end of it.
    async fn more(&mut self) -> String {
        let mut out = String::new();
        while !self.answer.is_done() && out.len() < CHUNK {
            let said = match self.answer.until() {
                Some(until) => timeout_at(until, self.bridge.next()).await,
                None => Ok(self.bridge.next().await),
            };
            match said {
                Ok(said) => self.answer.take(said, &mut out, Instant::now()),
                Err(_) if self.answer.late(&mut out) == Late::Ask => self.bridge.ask().await,
                Err(_) => {}
            }
        }
        if self.answer.is_done() {
            self.bridge.leave();
        }
        out
    }

    /// The same behind the first piece. A body that cannot be finished breaks off, so that nobody takes it for whole.
    async fn rest(&mut self) -> Option<io::Result<String>> {
        if self.answer.is_done() {
            return None;
        }
        let more = self.more().await;
        Some(match self.answer.broken() {
            None => Ok(more),
            Some(_) => Err(io::Error::other("the rest of the answer is not to be had")),
        })
    }
}
